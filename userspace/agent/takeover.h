/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Graceful hand-over: the node that serves a volume asks another one whether it could take
 * it over, and later to do it.  Part of the core.
 *
 * The asked node's own failover configuration says what is done there, in a process that
 * has the rights for it (helper.c); of this a peer can choose nothing but the moment.  The
 * promotion that is a part of it needs consent, as any other, so nothing that goes wrong
 * here can make a second primary.
 */
#ifndef REPL_AGENT_TAKEOVER_H
#define REPL_AGENT_TAKEOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <repl/wire.h>

struct core;
struct core_request;
struct msg_take_over;
struct pair;
struct volume;

struct takeover {
	/* This node asks: */
	uint32_t request;		/* who waits for the answer; 0: nobody */
	uint64_t nonce;
	uint64_t deadline;		/* 0: nothing was asked */
	/* It is asked, and the helper is at work: */
	bool serves;
	enum repl_take_over_step step;
	uint64_t asked_nonce;
};

/**
 * core_take_over - ask @node to take the volume over
 * @check: only whether it could, while this node is primary; else this node has left it
 *
 * Answers when the other node has; what it does meanwhile comes as progress.
 */
void core_take_over(struct core *c, const struct core_request *r, const char *node, bool check);

/** core_helper_line - the helper that ACTION_HELP began says what it does */
void core_helper_line(struct pair *p, const char *text);

/** core_helper_done - it has ended. @text: why not, when it is not @well */
void core_helper_done(struct pair *p, bool well, const char *text);

void takeover_asked(struct pair *p, const struct msg_take_over *m);

/** takeover_heard - @words: of @length bytes */
void takeover_heard(struct pair *p, const struct msg_take_over *m, const void *words,
		    size_t length);

/** takeover_end - whoever waits here for the peer's answer waits in vain */
void takeover_end(struct pair *p, const char *why);

void takeover_tick(struct pair *p);

#endif /* REPL_AGENT_TAKEOVER_H */
