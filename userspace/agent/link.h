/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OP_LINK_OPEN: a link's connection, from the offer to a descriptor that the kernel
 * can adopt.  One side dials, the other waits for a connection with the cookie.  It
 * may come before the offer does, by another way: then it is parked.
 *
 * With TLS, LINK_HELLO and LINK_PROOF go over the keys that the kernel has, so both
 * directions work before the hand-over.  A plain link is known by a token that was
 * agreed over the TLS session; it is good once.
 */
#ifndef REPL_AGENT_LINK_H
#define REPL_AGENT_LINK_H

#include "conn.h"

/** link_start - begin OP_LINK_OPEN; one that is under way for the pair ends first */
void link_start(struct pair_io *io, const struct op *op);

/** link_drop - end it, and close what was proven but not adopted */
void link_drop(struct pair_io *io);

/** link_take - the core has found the pair of a connection that said LINK_HELLO */
void link_take(struct pair_io *io, struct conn *c, const struct msg_link *l);

/** link_park - a plain link's hello has arrived */
void link_park(struct conn *c);

/* For greet.c: the dialling side. */
const struct core_peer *link_peer(const struct linkopen *l);
bool link_is_plain(const struct linkopen *l);
void link_pack(const struct linkopen *l, struct repl_msg_link *m);
void link_pack_plain(const struct linkopen *l, struct repl_plain_hello *m);
void link_proven(struct conn *c, const void *body);
void link_connected(struct conn *c);
void link_failed(struct linkopen *l, const char *why);

/** link_tick - deadlines */
void link_tick(struct agent *a);
uint64_t link_deadline(const struct agent *a);

#endif /* REPL_AGENT_LINK_H */
