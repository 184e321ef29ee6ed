// SPDX-License-Identifier: GPL-2.0-or-later
#include "link.h"

#include <endian.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dial.h"
#include "log.h"

enum { LINK_OPEN_MS = 10000 };

struct linkopen {
	struct pair_io *io;
	struct msg_link link;
	uint32_t turn;
	bool dial;
	struct conn *conn;	/* dialled, not proven yet */
	struct dial *dialling;
	uint64_t deadline;
};

static void finish(struct linkopen *l, int fd, int error, const char *why)
{
	struct pair_io *io = l->io;
	uint32_t turn = l->turn;

	if (l->conn) {
		l->conn->linkopen = NULL;
		conn_kill(l->conn, "%s", why ? why : "the link was given up");
	}
	dial_cancel(l->dialling);
	OPENSSL_cleanse(&l->link, sizeof(l->link));
	free(l);
	io->linkopen = NULL;
	io->link_fd = fd;
	agent_op_done(io->agent, io->pair->volume, io->pair, OP_LINK_OPEN, turn, error, why);
}

void link_failed(struct linkopen *l, const char *why)
{
	l->conn = NULL;
	finish(l, -1, -ECONNABORTED, why);
}

static void close_fd(struct pair_io *io)
{
	if (io->link_fd >= 0)
		close(io->link_fd);
	io->link_fd = -1;
}

void link_drop(struct pair_io *io)
{
	if (io->linkopen)
		finish(io->linkopen, -1, -ECANCELED, "given up");
	close_fd(io);
}

/* The connection is the link's: it leaves the agent's hands. */
static void adopt(struct linkopen *l, struct conn *c)
{
	int fd = conn_release(c);

	c->linkopen = NULL;
	l->conn = NULL;
	finish(l, fd, 0, NULL);
}

const struct core_peer *link_peer(const struct linkopen *l)
{
	return l->io->pair->peer;
}

bool link_is_plain(const struct linkopen *l)
{
	return l->link.plain;
}

void link_pack(const struct linkopen *l, struct repl_msg_link *m)
{
	struct msg_link plainless = { .cookie = l->link.cookie };

	snprintf(plainless.volume, sizeof(plainless.volume), "%s", l->link.volume);
	msg_pack_link(&plainless, m);
}

void link_pack_plain(const struct linkopen *l, struct repl_plain_hello *m)
{
	memcpy(m->magic, REPL_PLAIN_MAGIC, sizeof(m->magic));
	m->cookie = htole64(l->link.cookie);
	memcpy(m->token, l->link.token, sizeof(m->token));
}

void link_proven(struct conn *c, const void *body)
{
	struct repl_msg_link m;
	struct msg_link l;
	struct err e;

	memcpy(&m, body, sizeof(m));
	if (msg_unpack_link(&l, &m, &e) || l.cookie != c->linkopen->link.cookie)
		conn_kill(c, "%s proves another link than the one that was offered", c->where);
	else
		adopt(c->linkopen, c);
}

void link_connected(struct conn *c)
{
	adopt(c->linkopen, c);
}

/* --------------------------------------------------- the waiting side --- */

static bool fits(const struct linkopen *l, const struct conn *c)
{
	if (l->dial || c->link.cookie != l->link.cookie || c->link.plain != l->link.plain)
		return false;
	if (l->link.plain)
		return !CRYPTO_memcmp(c->link.token, l->link.token, REPL_TOKEN_BYTES);
	return c->peer == l->io->pair->peer && !strcmp(c->link.volume, l->link.volume);
}

static void accept_link(struct linkopen *l, struct conn *c)
{
	struct repl_msg_link m;

	if (!l->link.plain) {
		link_pack(l, &m);
		greet_write(c, REPL_MSG_LINK_PROOF, &m, sizeof(m));
		if (c->stage == CONN_DEAD)
			return;
	}
	adopt(l, c);
}

static void park(struct conn *c)
{
	loop_unwatch(&c->agent->loop, &c->watch);
	c->stage = CONN_PARKED;	/* its deadline goes on */
}

void link_take(struct pair_io *io, struct conn *c, const struct msg_link *l)
{
	c->core_knows = false;	/* the core has forgotten it as a session */
	c->link = *l;
	park(c);
	if (io->linkopen && fits(io->linkopen, c))
		accept_link(io->linkopen, c);
}

void link_park(struct conn *c)
{
	struct agent *a = c->agent;

	park(c);
	for (struct volume *v = a->core.volumes; v; v = v->next) {
		for (unsigned int i = 0; i < v->pair_count; i++) {
			struct pair_io *io = agent_pair_io(v->pair[i]);

			if (io->linkopen && fits(io->linkopen, c)) {
				accept_link(io->linkopen, c);
				return;
			}
		}
	}
}

/* ---------------------------------------------------- the dialling side -- */

static void resolved(void *arg, const struct sockaddr *address, socklen_t length,
		     const char *where, const char *why)
{
	struct linkopen *l = arg;
	struct agent *a = l->io->agent;

	l->dialling = NULL;
	if (why) {
		finish(l, -1, -EHOSTUNREACH, why);
		return;
	}
	l->conn = conn_new(a, -1, CONN_LINK);
	if (!l->conn) {
		finish(l, -1, -ENOMEM, "out of memory");
		return;
	}
	snprintf(l->conn->where, sizeof(l->conn->where), "%s", where);
	l->conn->linkopen = l;
	greet_connect(l->conn, address, length);
}

void link_start(struct pair_io *io, const struct op *op)
{
	struct agent *a = io->agent;
	struct linkopen *l;

	link_drop(io);
	l = calloc(1, sizeof(*l));
	if (!l) {
		agent_op_done(a, io->pair->volume, io->pair, OP_LINK_OPEN, op->turn, -ENOMEM,
			      "out of memory");
		return;
	}
	l->io = io;
	l->link = op->link;
	l->turn = op->turn;
	l->dial = op->dial;
	l->deadline = loop_now() + LINK_OPEN_MS;
	io->linkopen = l;
	if (l->dial) {
		dial_start(a, io->pair->peer, resolved, l, &l->dialling);
		return;
	}
	for (struct conn *c = a->conns; c; c = c->next) {
		if (c->stage == CONN_PARKED && fits(l, c)) {
			accept_link(l, c);
			return;
		}
	}
}

void link_tick(struct agent *a)
{
	uint64_t now = loop_now();

	for (struct volume *v = a->core.volumes; v; v = v->next) {
		for (unsigned int i = 0; i < v->pair_count; i++) {
			struct pair_io *io = agent_pair_io(v->pair[i]);

			if (io->linkopen && now >= io->linkopen->deadline)
				finish(io->linkopen, -1, -ETIMEDOUT,
				       io->linkopen->dial ? "the peer's end did not answer in time"
							  : "the peer did not connect in time");
		}
	}
}

uint64_t link_deadline(const struct agent *a)
{
	uint64_t at = UINT64_MAX;

	for (const struct volume *v = a->core.volumes; v; v = v->next) {
		for (unsigned int i = 0; i < v->pair_count; i++) {
			const struct pair_io *io = agent_pair_io(v->pair[i]);

			if (io->linkopen && io->linkopen->deadline < at)
				at = io->linkopen->deadline;
		}
	}
	return at;
}
