/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop: one thread, one io_uring.
 *
 * Sessions' bytes, the backing devices and connect() are requests on the ring.  A
 * pending request keeps its file alive, even past the death of this process, so what
 * must close when it is closed is never on the ring: cuts, tickets, netlink,
 * listening sockets, connections that may become a link.  Those are watched through
 * an epoll descriptor, and only that one is polled by the ring.
 */
#ifndef REPL_AGENT_LOOP_H
#define REPL_AGENT_LOOP_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "err.h"

/* A request on the ring, embedded in what it belongs to. */
struct loop_op {
	void (*done)(struct loop_op *op, int res);
};

/* A descriptor that is watched, embedded in what it belongs to. */
struct loop_watch {
	int fd;			/* -1: not watched */
	uint32_t events;	/* EPOLLIN, EPOLLOUT; level-triggered */
	void (*ready)(struct loop_watch *w, uint32_t events);
};

struct loop {
	struct io_uring ring;
	int epoll_fd;
	struct loop_op poll_op;
	struct loop_watch *delivering[64];	/* of the batch under way; unwatched ones are NULL */
};

/** loop_init - Return: 0 or -errno with words */
int loop_init(struct loop *l, struct err *e);
void loop_exit(struct loop *l);

/**
 * loop_sqe - a request to be filled by an io_uring_prep_...() function
 * @op: ->done is called exactly once, from loop_run()
 * Return: the request, never NULL.
 */
struct io_uring_sqe *loop_sqe(struct loop *l, struct loop_op *op);

/** loop_watch - begin, or change @events. Return: 0 or -errno. */
int loop_watch(struct loop *l, struct loop_watch *w, int fd, uint32_t events);

/** loop_unwatch - before @fd is closed; harmless twice */
void loop_unwatch(struct loop *l, struct loop_watch *w);

/** loop_run - submit, wait for something or @timeout_ms, and deliver what has come */
void loop_run(struct loop *l, uint64_t timeout_ms);

/** loop_now - monotonic ms */
uint64_t loop_now(void);

#endif /* REPL_AGENT_LOOP_H */
