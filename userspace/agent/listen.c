// SPDX-License-Identifier: GPL-2.0-or-later
#include "listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"
#include "dial.h"
#include "log.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

enum { COMPLAIN_MS = 10000, PAUSE_MS = 100 };

struct listener {
	struct listener *next;
	struct agent *agent;
	int fd;
	struct loop_op op;
	struct loop_op pause_op;
	struct __kernel_timespec pause;
	struct sockaddr_storage from;
	socklen_t from_length;
	uint64_t complained_at;
};

static void arm(struct listener *l)
{
	struct io_uring_sqe *sqe = loop_sqe(&l->agent->loop, &l->op);

	l->from_length = sizeof(l->from);
	io_uring_prep_accept(sqe, l->fd, (struct sockaddr *)&l->from, &l->from_length,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
	io_uring_sqe_set_data(sqe, &l->op);
}

/* The port is open to everybody: one line every ten seconds is enough. */
static bool may_complain(struct listener *l)
{
	uint64_t now = loop_now();

	if (l->complained_at && now < l->complained_at + COMPLAIN_MS)
		return false;
	l->complained_at = now;
	return true;
}

static void rested(struct loop_op *op, int res)
{
	(void)res;
	arm(container(op, struct listener, pause_op));
}

static void accepted(struct loop_op *op, int res)
{
	struct listener *l = container(op, struct listener, op);
	struct agent *a = l->agent;
	struct io_uring_sqe *sqe;
	struct conn *c;

	if (res == -ECANCELED)
		return;
	if (res < 0 && res != -EINTR && res != -ECONNABORTED) {
		if (may_complain(l))
			log_warn(NULL, "connections cannot be accepted: %s", strerror(-res));
		sqe = loop_sqe(&a->loop, &l->pause_op);
		l->pause.tv_nsec = PAUSE_MS * 1000000LL;
		io_uring_prep_timeout(sqe, &l->pause, 0, 0);
		io_uring_sqe_set_data(sqe, &l->pause_op);
		return;
	}
	if (res >= 0 && a->strangers >= CONN_STRANGERS_MAX) {
		if (may_complain(l))
			log_warn(NULL, "%d connections wait to be authenticated: closing new ones",
				 CONN_STRANGERS_MAX);
		close(res);
	} else if (res >= 0) {
		c = conn_new(a, res, CONN_ACCEPTED);
		if (c) {
			dial_words((struct sockaddr *)&l->from, l->from_length, c->where,
				   sizeof(c->where));
			greet_accepted(c);
		} else {
			close(res);
		}
	}
	arm(l);
}

static int listen_on(struct agent *a, const struct addrinfo *ai, struct err *e)
{
	char where[INET6_ADDRSTRLEN + 16];
	struct listener *l;
	int one = 1, ret;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	dial_words(ai->ai_addr, ai->ai_addrlen, where, sizeof(where));
	if (fd < 0)
		return err_set(e, errno, "%s: %s", where, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, 128)) {
		ret = err_set(e, errno, "cannot listen on %s: %s", where, strerror(errno));
		close(fd);
		return ret;
	}
	l = calloc(1, sizeof(*l));
	if (!l) {
		close(fd);
		return err_set(e, ENOMEM, "out of memory");
	}
	l->agent = a;
	l->fd = fd;
	l->op.done = accepted;
	l->pause_op.done = rested;
	l->next = a->listeners;
	a->listeners = l;
	arm(l);
	log_info(NULL, "listening on %s", where);
	return 0;
}

int listen_start(struct agent *a, struct err *e)
{
	for (size_t i = 0; i < a->config.agent.listen_count; i++) {
		const struct config_address *address = &a->config.agent.listen[i];
		struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
		struct addrinfo *list;
		bool done;
		int ret = getaddrinfo(address->host[0] ? address->host : NULL, address->port, &hints,
				      &list);

		if (ret)
			return err_set(e, EADDRNOTAVAIL, "cannot listen on %s port %s: %s", address->host,
				       address->port, gai_strerror(ret));
		/* "Every address" on a machine without IPv6 is every address that it has. */
		done = false;
		for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
			ret = listen_on(a, ai, e);
			done |= !ret;
		}
		freeaddrinfo(list);
		if (!done)
			return ret;
	}
	return 0;
}

void listen_stop(struct agent *a)
{
	while (a->listeners) {
		struct listener *l = a->listeners;

		a->listeners = l->next;
		shutdown(l->fd, SHUT_RDWR);
		close(l->fd);
		free(l);
	}
}
