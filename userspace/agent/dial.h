/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a peer's configured address to one that connect() takes.  Names are looked up
 * in a thread of their own, because a name server that does not answer must not hold
 * up anything else.  Of several addresses each attempt takes the next.
 */
#ifndef REPL_AGENT_DIAL_H
#define REPL_AGENT_DIAL_H

#include <sys/socket.h>

#include "agent.h"

/* Of a look-up's thread: all memory is locked, and the usual 8 MiB would be, too. */
enum { DIAL_STACK = 256 << 10 };

struct dial;

/* @why is NULL on success; then @where is the address in words. */
typedef void dial_fn(void *arg, const struct sockaddr *address, socklen_t length,
		     const char *where, const char *why);

/** dial_init - Return: 0 or -errno with words */
int dial_init(struct agent *a, struct err *e);
void dial_exit(struct agent *a);

/**
 * dial_start - look a peer's address up; @fn is called once, perhaps before this returns
 * @handle: set for as long as it takes, for dial_cancel()
 */
void dial_start(struct agent *a, const struct core_peer *peer, dial_fn *fn, void *arg,
		struct dial **handle);

/** dial_cancel - @fn is not called any more; NULL is nothing to cancel */
void dial_cancel(struct dial *d);

/** dial_session - ACTION_DIAL */
void dial_session(struct agent *a, struct pair *p);

/** dial_words - an address for messages: "192.0.2.1:7788" */
void dial_words(const struct sockaddr *address, socklen_t length, char *text, size_t size);

#endif /* REPL_AGENT_DIAL_H */
