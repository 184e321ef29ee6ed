/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The other end of a link, in user space: one end of a TCP connection goes to the module,
 * which takes it for another node's kernel, and the other end stays here.
 */
#ifndef TESTS_VM_PROG_PEER_H
#define TESTS_VM_PROG_PEER_H

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <repl/wire.h>

#include "fds.h"
#include "kernel.h"
#include "super.h"

enum {
	PEER_WAIT_MS	= 120000,
	PEER_TIMEOUT_MS	= 300000,	/* of the link: a slow machine is not what ends it */
	PEER_COOKIE	= 77,
	PEER_PAYLOAD	= REPL_MAX_IO,
};

struct peer {
	struct kernel *kernel;
	uint32_t minor;
	uint8_t slot;
	bool primary;			/* the volume, when the link was adopted */
	uint32_t timeout_ms, stuck_ms;	/* 0: longer than any test */
	const char *tls;		/* NULL, or what badpeer.c calls so */
	int fd;				/* our end; -1 */
	struct repl_id generation;	/* the volume's, when the link was adopted */
	struct repl_frame got;		/* the last frame, and what came with it */
	uint8_t payload[PEER_PAYLOAD];
};

static inline void __attribute__((noreturn)) peer_die(const char *what, const struct err *e)
{
	printf("failed: %s: %s\n", what, e && e->text[0] ? e->text : strerror(errno));
	exit(1);
}

static inline uint64_t peer_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ----------------------------------------------------------- adoption --- */

static inline void peer_get(struct peer *p, struct kernel_volume *v)
{
	struct err e = { 0 };

	if (kernel_get_minor(p->kernel, p->minor, v, &e))
		peer_die("get", &e);
}

static inline const struct kernel_slot *peer_slot(const struct peer *p,
						  const struct kernel_volume *v)
{
	unsigned int i;

	for (i = 0; i < v->slot_count; i++)
		if (v->slot[i].index == p->slot)
			return &v->slot[i];
	peer_die("the slot is free", NULL);
}

/* Drops the slot's dirty blocks, as if they had been copied. */
static inline void peer_settle(struct peer *p)
{
	struct err e = { 0 };
	int fd = kernel_cut(p->kernel, p->minor, p->slot, REPL_CUT_UNFROZEN, 0, &e);
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	if (fd < 0 || poll(&poll_fd, 1, PEER_WAIT_MS) != 1 || ioctl(fd, REPL_CUT_IOC_COMMIT))
		peer_die("settle", &e);
	close(fd);
}

static inline void peer_ticket(int ticket, const char *what, struct err *e)
{
	if (kernel_ticket_wait(ticket, PEER_WAIT_MS, e))
		peer_die(what, e);
}

static inline void peer_adopt(struct peer *p, const struct kernel_volume *v, int sock)
{
	struct kernel_link link = {
		.minor = p->minor, .slot = p->slot, .sock_fd = sock, .cookie = PEER_COOKIE,
		.flags = REPL_LINK_CRC, .timeout_ms = p->timeout_ms ?: PEER_TIMEOUT_MS,
		.stuck_ms = p->stuck_ms ?: PEER_TIMEOUT_MS,
	};
	struct err e = { 0 };

	if (p->tls)
		link.flags |= REPL_LINK_TLS;
	if (p->primary) {
		peer_ticket(kernel_freeze(p->kernel, p->minor, REPL_GATE_JOIN,
					  REPL_DEADLINE_MAX_MS, &e), "freeze", &e);
		/* What was written since it was settled; now nothing is. */
		peer_settle(p);
	} else {
		link.flags |= REPL_LINK_FOLLOW;
		link.generation = v->generation;
		link.epoch = v->epoch;
		memcpy(link.history, v->history, sizeof(link.history));
	}
	peer_ticket(kernel_link_add(p->kernel, &link, &e), "link", &e);
	if (p->primary && kernel_thaw(p->kernel, p->minor, REPL_GATE_JOIN, &e))
		peer_die("thaw", &e);
}

static inline bool peer_encrypt(const struct peer *p, const int fd[2])
{
	uint8_t key = strcmp(p->tls, "tls-wrong") ? 2 : 3;

	return fds_tls(fd[0], 1, 2) && (!strcmp(p->tls, "tls-raw") || fds_tls(fd[1], key, 1));
}

/* The volume's slot becomes live; its other copy is this program. */
static inline void peer_join(struct peer *p)
{
	struct kernel_volume v;
	int fd[2];

	peer_get(p, &v);
	p->primary = v.role == REPL_ROLE_PRIMARY;
	p->generation = v.generation;
	if (!fds_tcp_pair(fd) || (p->tls && !peer_encrypt(p, fd)))
		peer_die("a connection", NULL);
	if (!p->primary)
		peer_settle(p);
	peer_adopt(p, &v, fd[0]);
	close(fd[0]);
	p->fd = fd[1];
}

/* ------------------------------------------------------------- frames --- */

static inline void peer_seal(struct repl_frame *f)
{
	f->header_crc = htole32(super_crc32c(f, offsetof(struct repl_frame, header_crc)));
}

/* The link's own, and empty: to be filled in, and sealed. */
static inline struct repl_frame peer_frame(uint8_t type, uint32_t tag)
{
	return (struct repl_frame){
		.magic = htole32(REPL_FRAME_MAGIC), .type = type, .cookie = htole64(PEER_COOKIE),
		.tag = htole32(tag),
	};
}

/* False when the module has closed the connection. */
static inline bool peer_send(struct peer *p, const void *from, size_t bytes)
{
	const uint8_t *at = from;

	while (bytes) {
		ssize_t n = send(p->fd, at, bytes, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		at += n;
		bytes -= (size_t)n;
	}
	return true;
}

/* False at the end of the connection, or when nothing more comes for @ms. */
static inline bool peer_receive(struct peer *p, void *to, size_t bytes, int ms)
{
	struct pollfd poll_fd = { .fd = p->fd, .events = POLLIN };
	uint8_t *at = to;

	while (bytes) {
		ssize_t n;

		if (poll(&poll_fd, 1, ms) != 1) {
			errno = ETIMEDOUT;
			return false;
		}
		n = recv(p->fd, at, bytes, MSG_DONTWAIT);
		if (n <= 0 && !(n < 0 && errno == EAGAIN)) {
			errno = n ? errno : EPIPE;
			return false;
		}
		at += n > 0 ? n : 0;
		bytes -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

/*
 * Over loopback what lies in our receive queue are the writer's own pages.  Once the module has aborted the connection
 * its writes end, and the writer may fill them again: nothing that is read after a reset counts.
 */
static inline bool peer_was_reset(const struct peer *p)
{
	struct pollfd poll_fd = { .fd = p->fd };

	return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLERR | POLLHUP));
}

static inline bool peer_has_payload(uint8_t type)
{
	return type == REPL_FRAME_WRITE || type == REPL_FRAME_GENERATION || type == REPL_FRAME_SETTLED;
}

/* What comes from the module must be right, whatever we have sent. */
static inline bool peer_next(struct peer *p, int ms)
{
	struct repl_frame *f = &p->got;
	uint32_t length;

	if (!peer_receive(p, f, sizeof(*f), ms))
		return false;
	if (le32toh(f->magic) != REPL_FRAME_MAGIC || le64toh(f->cookie) != PEER_COOKIE ||
	    le32toh(f->header_crc) != super_crc32c(f, offsetof(struct repl_frame, header_crc)))
		peer_die("the module has sent a bad frame", NULL);
	if (!peer_has_payload(f->type))
		return true;
	length = le32toh(f->length);
	if (length > sizeof(p->payload) || !peer_receive(p, p->payload, length, ms))
		return false;
	if (!(le16toh(f->flags) & REPL_FF_CRC) ||
	    super_crc32c(p->payload, length) == le32toh(f->payload_crc))
		return true;
	if (!peer_was_reset(p))
		peer_die("the module has sent a damaged payload", NULL);
	return false;
}

static inline bool peer_is_request(const struct repl_frame *f)
{
	return (f->type >= REPL_FRAME_WRITE && f->type <= REPL_FRAME_GENERATION) ||
	       f->type == REPL_FRAME_SETTLED;
}

static inline bool peer_answer(struct peer *p, uint32_t tag, uint8_t status)
{
	struct repl_frame f = peer_frame(REPL_FRAME_ANSWER, tag);

	f.status = status;
	peer_seal(&f);
	return peer_send(p, &f, sizeof(f));
}

#endif /* TESTS_VM_PROG_PEER_H */
