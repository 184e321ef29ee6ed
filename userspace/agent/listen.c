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

enum { COMPLAIN_MS = 10000, BATCH = 16 };

/* Watched, not on the ring: after this process was killed the port is free at once. */
struct listener {
	struct listener *next;
	struct agent *agent;
	struct loop_watch watch;
	int fd;
	uint64_t complained_at;
};

/* The port is open to everybody: one line every ten seconds is enough. */
static bool may_complain(struct listener *l)
{
	uint64_t now = loop_now();

	if (l->complained_at && now < l->complained_at + COMPLAIN_MS)
		return false;
	l->complained_at = now;
	return true;
}

static void take(struct listener *l, int fd, const struct sockaddr *from, socklen_t length)
{
	struct agent *a = l->agent;
	struct conn *c;

	if (a->strangers >= CONN_STRANGERS_MAX) {
		if (may_complain(l))
			log_warn(NULL, "%d connections wait to be authenticated: closing new ones",
				 CONN_STRANGERS_MAX);
		close(fd);
		return;
	}
	c = conn_new(a, fd, CONN_ACCEPTED);
	if (!c) {
		close(fd);
		return;
	}
	dial_words(from, length, c->where, sizeof(c->where));
	greet_accepted(c);
}

static void ready(struct loop_watch *w, uint32_t events)
{
	struct listener *l = container(w, struct listener, watch);

	(void)events;
	for (int i = 0; i < BATCH; i++) {
		struct sockaddr_storage from;
		socklen_t length = sizeof(from);
		int fd = accept4(l->fd, (struct sockaddr *)&from, &length,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			take(l, fd, (struct sockaddr *)&from, length);
			continue;
		}
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED && may_complain(l))
			log_warn(NULL, "connections cannot be accepted: %s", strerror(errno));
		return;
	}
}

/*
 * An address need not be there yet when this machine comes up, and may go and come back:
 * what is said of it here counts whenever it is there.
 */
static void prepare(int fd, int family)
{
	int one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
		setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one));
	} else {
		setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
	}
}

static int listen_on(struct agent *a, const struct addrinfo *ai, struct err *e)
{
	char where[INET6_ADDRSTRLEN + 16];
	struct listener *l;
	int ret;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	dial_words(ai->ai_addr, ai->ai_addrlen, where, sizeof(where));
	if (fd < 0)
		return err_set(e, errno, "%s: %s", where, strerror(errno));
	prepare(fd, ai->ai_family);
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
	l->watch.fd = -1;
	l->watch.ready = ready;
	l->next = a->listeners;
	a->listeners = l;
	ret = loop_watch(&a->loop, &l->watch, fd, EPOLLIN);
	if (ret)
		return err_set(e, -ret, "cannot watch %s: %s", where, strerror(-ret));
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
		loop_unwatch(&a->loop, &l->watch);
		close(l->fd);
		free(l);
	}
}
