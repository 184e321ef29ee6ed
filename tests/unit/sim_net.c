// SPDX-License-Identifier: GPL-2.0-or-later
/* The network: connections that keep the order, latency, and cables that are cut. */
#include "sim_private.h"

#include <stdlib.h>
#include <string.h>

void net_post(struct sim_conn *c, unsigned int to, uint16_t type, const void *body,
		 size_t length)
{
	struct sim *s = c->node[to]->sim;
	struct message *m = calloc(1, sizeof(*m) + length);

	m->at = s->now + LATENCY_MS + sim_random(s, LATENCY_MS);
	m->type = type;
	m->length = length;
	if (length)
		memcpy(m->body, body, length);
	*c->last[to] = m;
	c->last[to] = &m->next;
}

static void conn_down(struct sim_conn *c, unsigned int end, const char *why)
{
	struct sim_node *n = c->node[end];

	if (!c->open[end])
		return;
	c->open[end] = false;
	if (!n->running || n->incarnation != c->incarnation[end])
		return;
	n->core.now = n->sim->now;
	core_session_down(&n->core, c->id, why);
}

static void hand_on(struct sim_conn *c, unsigned int end, const struct message *m)
{
	struct sim_node *n = c->node[end];
	struct msg_header h = { .type = m->type, .length = (uint32_t)m->length };

	if (!m->type) {
		conn_down(c, end, "the other side closed the connection");
		return;
	}
	n->core.now = n->sim->now;
	core_heard(&n->core, c->id);
	if (m->type == REPL_MSG_BLOCKS || m->type == REPL_MSG_DELTA_END ||
	    m->type == REPL_MSG_DIGESTS || m->type == REPL_MSG_WANT) {
		for (struct session *x = n->core.sessions; x; x = x->next)
			if (x->conn == c->id && x->pair)
				work_bulk(n, x->pair, m);
		return;
	}
	core_message(&n->core, c->id, &h, m->body);
}

static void drop_messages(struct sim_conn *c)
{
	for (int end = 0; end < 2; end++) {
		while (c->first[end]) {
			struct message *m = c->first[end];

			c->first[end] = m->next;
			free(m);
		}
		c->last[end] = &c->first[end];
	}
}

/* Nothing that is on its way in this connection arrives any more, in either direction. */
static void lose(struct sim_conn *c)
{
	drop_messages(c);
	for (unsigned int end = 0; end < 2; end++) {
		conn_down(c, end, "the connection was reset");
		sim_settle(c->node[end]);
	}
}

/* Whether the connection ends with this message: the one that a test has chosen. */
static bool is_last(struct sim *s, const struct message *m)
{
	if (!s->break_type || m->type != s->break_type || --s->break_nth)
		return false;
	s->break_type = 0;
	return true;
}

/* Delivers what is due; a cut network holds everything back, as TCP does. */
void net_pump(struct sim *s, struct sim_conn *c)
{
	for (unsigned int end = 0; end < 2; end++) {
		while (c->first[end] && c->first[end]->at <= s->now && !c->paused[end] &&
		       !sim_is_cut(s, c->node[0], c->node[1])) {
			struct message *m = c->first[end];
			bool last;

			c->first[end] = m->next;
			if (!c->first[end])
				c->last[end] = &c->first[end];
			last = c->open[end] && is_last(s, m);
			if (c->open[end] && (!last || s->break_after)) {
				hand_on(c, end, m);
				c->node[end]->late = false;
				sim_settle(c->node[end]);
			}
			free(m);
			if (last)
				lose(c);
		}
	}
}

struct sim_conn *net_find(struct sim *s, uint32_t id)
{
	for (struct sim_conn *c = s->conns; c; c = c->next)
		if (c->id == id)
			return c;
	return NULL;
}

void net_close(struct sim_conn *c, unsigned int end)
{
	net_post(c, !end, 0, NULL, 0);
	conn_down(c, end, "closed");
}

void net_reap(struct sim *s)
{
	for (struct sim_conn **at = &s->conns; *at;) {
		struct sim_conn *c = *at;

		if (c->open[0] || c->open[1]) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		drop_messages(c);
		free(c);
	}
}

static void dialled(struct sim_event *ev)
{
	struct sim_node *n = ev->node, *other = sim_peer_node(n->sim, ev->pair->peer);
	struct sim *s = n->sim;
	struct sim_conn *c;

	n->core.now = s->now;
	if (!other->running || sim_is_cut(s, n, other)) {
		core_dial_failed(ev->pair, "nobody answers");
		return;
	}
	c = calloc(1, sizeof(*c));
	c->id = (uint32_t)(s->serial += 1);
	c->node[0] = n;
	c->node[1] = other;
	for (int end = 0; end < 2; end++) {
		c->incarnation[end] = c->node[end]->incarnation;
		c->open[end] = true;
		c->last[end] = &c->first[end];
	}
	c->next = s->conns;
	s->conns = c;
	core_session_up(&n->core, c->id, ev->pair->peer, ev->pair);
	other->core.now = s->now;
	core_session_up(&other->core, c->id, core_peer_by_key(&other->core, n->key), NULL);
	sim_settle(other);
}

struct sim_conn *net_pair_conn(struct sim_node *n, const struct pair *p, unsigned int *end)
{
	struct sim_conn *c = p->session ? net_find(n->sim, p->session->conn) : NULL;

	if (c)
		*end = c->node[0] == n ? 0 : 1;
	return c;
}

void net_dial(struct sim_node *n, struct pair *p)
{
	sim_event(n, LATENCY_MS + sim_random(n->sim, 10), dialled)->pair = p;
}
