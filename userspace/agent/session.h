/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Authenticated connections: dialling with back-off, the HELLOs, which pair a
 * connection belongs to, and whether the other side still lives.  Part of the core.
 *
 * The side that accepted speaks first: its HELLO names no volume.  The side that
 * dialled answers with the volume it wants.  Of two sessions for one pair the
 * newest wins: the other side knows best when it has begun anew.
 */
#ifndef REPL_AGENT_SESSION_H
#define REPL_AGENT_SESSION_H

#include "core.h"

struct session *session_find(struct core *c, uint32_t conn);

/** session_message - @s may be NULL: the connection has just been given up */
void session_message(struct session *s, const struct msg_header *h, const void *body);

void session_tick(struct core *c);
uint64_t session_deadline(const struct core *c);

/** session_send - one message to the pair's peer; nothing without a session */
void session_send(struct pair *p, enum repl_msg_type type, const void *body, size_t length);
void session_send_copy(struct pair *p, enum repl_msg_type type, const struct copy *copy,
		       uint64_t cookie);

/** session_pause - hold the session's messages back, or hand them on again */
void session_pause(struct pair *p, bool pause);

/** session_refuse - tell the other side why, and close */
void session_refuse(struct session *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** session_close - without a word */
void session_close(struct session *s);

void session_free_all(struct core *c);

#endif /* REPL_AGENT_SESSION_H */
