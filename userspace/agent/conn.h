/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A connection between two agents.
 *
 * Until its first message it is watched and read byte-exactly (greet.c), because it
 * may turn out to be a link, of which not a byte too much may be taken.  A session
 * then moves to the ring: one receive and one send under way at a time.
 *
 * Back-pressure is TCP's: a connection that is paused by the core, or stalled because
 * a delta's blocks wait for the disk, is not read.
 */
#ifndef REPL_AGENT_CONN_H
#define REPL_AGENT_CONN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "agent.h"

enum conn_limits {
	CONN_STRANGERS_MAX	= 64,
	CONN_GREET_MS		= 5000,		/* from accept or connect to the first message */
	CONN_LINGER_MS		= 1000,		/* to get a refusal across */
	CONN_BUFFER		= 256 << 10,
	CONN_FIRST_MAX		= sizeof(struct repl_msg) + REPL_TEXT_MAX,
	CONN_IOV_MAX		= 64,
};

enum conn_stage {
	CONN_CONNECT,		/* dialled; on the ring */
	CONN_PEEK,		/* accepted: TLS, or a plain link? */
	CONN_PLAIN,		/* a plain link's only message */
	CONN_TLS,
	CONN_FIRST,		/* the kernel has the keys; the first message */
	CONN_PARKED,		/* a link's, proven or waiting for its OP_LINK_OPEN */
	CONN_OPEN,		/* a session, on the ring */
	CONN_CLOSING,		/* lets a last message out */
	CONN_DEAD,		/* closed; freed when the ring is done with it */
};

enum conn_purpose { CONN_ACCEPTED, CONN_SESSION, CONN_LINK, CONN_ASK };

/* Something to be sent, embedded in what it belongs to. */
struct conn_tx {
	struct conn_tx *next;
	struct iovec iov[2];		/* moved on as it is sent */
	void (*done)(struct conn_tx *tx);	/* sent, or never will be */
	struct {
		struct repl_msg header;
		struct repl_msg_range range;
	} head;				/* for BLOCKS: what iov[0] points to */
};

struct conn {
	struct conn *next;
	struct agent *agent;
	uint32_t id;
	int fd;
	enum conn_stage stage;
	enum conn_purpose purpose;
	struct pair *pair;		/* dialled for it */
	struct linkopen *linkopen;	/* dialled for it */
	struct ask *ask;		/* dialled for it */
	const struct core_peer *peer;	/* proven by TLS */
	bool stranger;			/* counts as one */
	bool core_knows;		/* core_session_up() was called */
	char where[INET6_ADDRSTRLEN + 16];
	char why[400];			/* what ended it */
	uint64_t deadline;		/* 0: none */

	/* greet.c */
	struct loop_watch watch;
	struct tls *tls;
	struct sockaddr_storage address;
	struct __kernel_timespec timeout;
	struct loop_op connect_op;
	struct loop_op timeout_op;
	unsigned int pending;		/* requests on the ring */
	uint8_t first[CONN_FIRST_MAX] __attribute__((aligned(8)));
	size_t first_have;
	struct msg_link link;		/* CONN_PARKED: what it says it is */

	/* conn.c */
	struct loop_op recv_op, send_op;
	bool receiving, sending;
	bool consuming;			/* what was sent is leaving the queue */
	bool paused;			/* by the core */
	bool stalled;			/* by the delta that is applied */
	bool parsing;
	bool woken;			/* conn_tick() hands on what has waited */
	uint8_t *buffer;		/* CONN_BUFFER bytes */
	size_t start, end;		/* of what is not handed on yet */
	struct apply *apply;		/* where BLOCKS, ZEROS, DIGESTS and DELTA_END go */
	struct delta *delta;		/* where WANT goes */
	struct compare *compare;	/* where WANT and DIGESTS go when there is no delta */
	uint8_t *sink;			/* the rest of a BLOCKS payload goes here */
	size_t sink_left;		/* NULL sink: is thrown away */
	struct conn_tx *tx_first, **tx_last;
	struct msghdr msg;
	struct iovec iov[CONN_IOV_MAX];
};

/** conn_new - a connection of @fd, or without one yet (-1). Return: it, or NULL. */
struct conn *conn_new(struct agent *a, int fd, enum conn_purpose purpose);

struct conn *conn_find(struct agent *a, uint32_t id);

/** conn_open - the first message is through: a session, on the ring from now on */
void conn_open(struct conn *c);

/** conn_send - one message; copied */
void conn_send(struct conn *c, uint16_t type, const void *body, size_t length);

/** conn_send_tx - bulk: @tx and what it points to stay until ->done */
void conn_send_tx(struct conn *c, struct conn_tx *tx);

/** conn_pause - by the core: hand on no more messages */
void conn_pause(struct conn *c, bool pause);

/** conn_wake - the delta that is applied takes blocks again, or is over */
void conn_wake(struct conn *c);

/** conn_attach - BLOCKS, ZEROS, DIGESTS and DELTA_END go to @apply; NULL: they are thrown away */
void conn_attach(struct conn *c, struct apply *apply);

/** conn_close - after what was sent so far is out, or CONN_LINGER_MS */
void conn_close(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** conn_kill - now */
void conn_kill(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** conn_release - take the descriptor away from a connection that is not on the ring */
int conn_release(struct conn *c);

/** conn_tick - deadlines; frees what is dead */
void conn_tick(struct agent *a);

/** conn_deadline - the next one, ms; UINT64_MAX: none */
uint64_t conn_deadline(const struct agent *a);

/* greet.c */

/** greet_accepted - a connection has come in */
void greet_accepted(struct conn *c);

/** greet_connect - dial @address; then TLS, or a plain link's hello */
void greet_connect(struct conn *c, const struct sockaddr *address, socklen_t length);

/** greet_failed - it ended before the core or its link knew it: tell whom it concerns */
void greet_failed(struct conn *c);

/** greet_write - one small message on a connection that is not on the ring */
void greet_write(struct conn *c, uint16_t type, const void *body, size_t length);

#endif /* REPL_AGENT_CONN_H */
