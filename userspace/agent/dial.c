// SPDX-License-Identifier: GPL-2.0-or-later
#include "dial.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "conn.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/*
 * One look-up.  The thread owns host, port, result and error until it puts the dial on
 * resolver->done; the rest is the loop's, and stays there when the dial is cancelled.
 */
struct dial {
	struct dial *next;
	struct agent *agent;
	const struct core_peer *peer;
	dial_fn *fn;			/* NULL: cancelled */
	void *arg;
	struct dial **handle;
	struct config_address address;
	struct addrinfo *result;
	int error;			/* EAI_... */
};

struct resolver {
	struct loop_watch watch;
	int event_fd;
	unsigned int turn;		/* which of several addresses is next */
	unsigned int running;
	pthread_mutex_t lock;		/* protects ->done */
	struct dial *done;
};

static struct addrinfo hints(int flags)
{
	return (struct addrinfo){
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
		.ai_flags = flags | AI_NUMERICSERV,
	};
}

void dial_words(const struct sockaddr *address, socklen_t length, char *text, size_t size)
{
	char host[INET6_ADDRSTRLEN + 1], port[8];

	if (getnameinfo(address, length, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(text, size, "an unknown address");
	else
		snprintf(text, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

/* Tells who asked; frees the dial. */
static void deliver(struct dial *d)
{
	struct addrinfo *ai = d->result;
	unsigned int n = 0;
	char text[512], where[INET6_ADDRSTRLEN + 16];

	if (d->fn) {
		*d->handle = NULL;
		if (d->error || !ai) {
			snprintf(text, sizeof(text), "%s's address %s cannot be found: %s",
				 d->peer->name, d->address.host, gai_strerror(d->error));
			d->fn(d->arg, NULL, 0, NULL, text);
		} else {
			for (struct addrinfo *i = ai; i; i = i->ai_next)
				n++;
			for (n = d->agent->resolver->turn++ % n; n; n--)
				ai = ai->ai_next;
			dial_words(ai->ai_addr, ai->ai_addrlen, where, sizeof(where));
			d->fn(d->arg, ai->ai_addr, ai->ai_addrlen, where, NULL);
		}
	}
	if (d->result)
		freeaddrinfo(d->result);
	free(d);
}

static void *look_up(void *arg)
{
	struct dial *d = arg;
	struct resolver *r = d->agent->resolver;
	struct addrinfo h = hints(AI_ADDRCONFIG);
	uint64_t one = 1;

	d->error = getaddrinfo(d->address.host, d->address.port, &h, &d->result);
	pthread_mutex_lock(&r->lock);
	d->next = r->done;
	r->done = d;
	pthread_mutex_unlock(&r->lock);
	if (write(r->event_fd, &one, sizeof(one)) != sizeof(one))
		abort();	/* an eventfd that is read takes a write */
	return NULL;
}

static void looked_up(struct loop_watch *w, uint32_t events)
{
	struct resolver *r = container(w, struct resolver, watch);
	struct dial *d, *next;
	uint64_t count;

	(void)events;
	if (read(r->event_fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&r->lock);
	d = r->done;
	r->done = NULL;
	pthread_mutex_unlock(&r->lock);
	for (; d; d = next) {
		next = d->next;
		r->running--;
		deliver(d);
	}
}

static bool start_thread(struct dial *d)
{
	pthread_attr_t attr;
	pthread_t thread;
	bool started;

	if (pthread_attr_init(&attr))
		return false;
	started = !pthread_attr_setstacksize(&attr, DIAL_STACK) &&
		  !pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) &&
		  !pthread_create(&thread, &attr, look_up, d);
	pthread_attr_destroy(&attr);
	return started;
}

void dial_start(struct agent *a, const struct core_peer *peer, dial_fn *fn, void *arg,
		struct dial **handle)
{
	const struct config_address *address = agent_peer_address(a, peer);
	struct addrinfo h = hints(AI_NUMERICHOST);
	struct dial *d;

	*handle = NULL;
	d = address ? calloc(1, sizeof(*d)) : NULL;
	if (!d) {
		fn(arg, NULL, 0, NULL, address ? "out of memory"
					       : "agent.conf has another key for this peer, or "
						 "none: correct it, or take the volume down and up");
		return;
	}
	*d = (struct dial){
		.agent = a, .peer = peer, .fn = fn, .arg = arg, .handle = handle,
		.address = *address,
	};
	*handle = d;
	d->error = getaddrinfo(d->address.host, d->address.port, &h, &d->result);
	if (!d->error) {
		deliver(d);
		return;
	}
	d->result = NULL;
	a->resolver->running++;
	if (start_thread(d))
		return;
	a->resolver->running--;
	d->error = EAI_AGAIN;
	deliver(d);
}

void dial_cancel(struct dial *d)
{
	if (!d)
		return;
	*d->handle = NULL;
	d->fn = NULL;
}

int dial_init(struct agent *a, struct err *e)
{
	struct resolver *r = calloc(1, sizeof(*r));

	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	r->watch.fd = -1;
	r->watch.ready = looked_up;
	pthread_mutex_init(&r->lock, NULL);
	r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->event_fd < 0 || loop_watch(&a->loop, &r->watch, r->event_fd, EPOLLIN)) {
		free(r);
		return err_set(e, errno, "eventfd: %s", strerror(errno));
	}
	a->resolver = r;
	return 0;
}

void dial_exit(struct agent *a)
{
	struct resolver *r = a->resolver;

	loop_unwatch(&a->loop, &r->watch);
	/* A look-up that still runs holds it; the process ends anyway. */
	if (r->running)
		return;
	close(r->event_fd);
	free(r);
	a->resolver = NULL;
}

/* ------------------------------------------------------------ sessions -- */

static void dial_resolved(void *arg, const struct sockaddr *address, socklen_t length,
			  const char *where, const char *why)
{
	struct pair_io *io = arg;
	struct agent *a = io->agent;
	struct conn *c;

	if (why) {
		core_dial_failed(io->pair, why);
		return;
	}
	c = conn_new(a, -1, CONN_SESSION);
	if (!c) {
		core_dial_failed(io->pair, "out of memory");
		return;
	}
	c->pair = io->pair;
	snprintf(c->where, sizeof(c->where), "%s", where);
	greet_connect(c, address, length);
}

void dial_session(struct agent *a, struct pair *p)
{
	struct pair_io *io = agent_pair_io(p);

	dial_start(a, p->peer, dial_resolved, io, &io->dial);
}
