// SPDX-License-Identifier: GPL-2.0-or-later
#include "session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pair.h"
#include "survey.h"

struct session *session_find(struct core *c, uint32_t conn)
{
	for (struct session *s = c->sessions; s; s = s->next)
		if (s->conn == conn)
			return s;
	return NULL;
}

static void send_on(struct core *c, uint32_t conn, enum repl_msg_type type, const void *body,
		    size_t length)
{
	struct action *a = action_add(&c->actions, ACTION_SEND, length);

	a->conn = conn;
	a->type = type;
	if (length)
		memcpy(a->data, body, length);
}

void session_send(struct pair *p, enum repl_msg_type type, const void *body, size_t length)
{
	if (p->session && !p->session->closing)
		send_on(p->core, p->session->conn, type, body, length);
}

void session_send_copy(struct pair *p, enum repl_msg_type type, const struct copy *copy,
		       uint64_t cookie)
{
	struct repl_msg_volume m;
	struct copy c = *copy;

	if (cookie)
		c.cookie = cookie;
	copy_pack(&c, &m);
	session_send(p, type, &m, sizeof(m));
}

void session_pause(struct pair *p, bool pause)
{
	if (!p->session || p->run.paused == pause)
		return;
	p->run.paused = pause;
	action_add(&p->core->actions, pause ? ACTION_PAUSE : ACTION_RESUME, 0)->conn =
		p->session->conn;
}

void session_close(struct session *s)
{
	if (!s->closing)
		action_add(&s->core->actions, ACTION_CLOSE, 0)->conn = s->conn;
	s->closing = true;
}

void session_refuse(struct session *s, const char *fmt, ...)
{
	char text[REPL_TEXT_MAX];
	va_list ap;

	if (s->closing)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	core_log(s->core, LOG_LEVEL_WARN, s->pair ? s->pair->volume : NULL, s->pair,
		 "refused %s: %s", s->peer->name, text);
	snprintf(s->why, sizeof(s->why), "refused");
	if (s->pair)
		pair_reason(s->pair, "refused: %s", text);
	send_on(s->core, s->conn, REPL_MSG_REFUSE, text, strlen(text));
	session_close(s);
}

static void say_hello(struct session *s)
{
	struct msg_hello h = {
		.version_min = REPL_WIRE_VERSION_MIN, .version = REPL_WIRE_VERSION,
		.features = REPL_HF_VERIFY | REPL_HF_ARBITER | REPL_HF_SURVEY | REPL_HF_SPLIT_MAP |
			    REPL_HF_QUESTION,
	};
	struct repl_msg_hello m;

	snprintf(h.node, sizeof(h.node), "%s", s->core->node);
	if (!s->server)
		snprintf(h.volume, sizeof(h.volume), "%s", s->pair->volume->name);
	msg_pack_hello(&h, &m);
	send_on(s->core, s->conn, REPL_MSG_HELLO, &m, sizeof(m));
}

static struct pair *find_pair(struct volume *v, const struct core_peer *peer)
{
	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->peer == peer)
			return v->pair[i];
	return NULL;
}

void core_session_up(struct core *c, uint32_t conn, const struct core_peer *peer,
		     struct pair *pair)
{
	struct session *s = calloc(1, sizeof(*s));

	if (pair)
		pair->dialling = false;
	/* What has gone a moment ago, a volume or one peer of it, is freed when what was decided is carried out. */
	if (!s || (pair && (core_volume(c, pair->volume->name) != pair->volume ||
			    find_pair(pair->volume, peer) != pair))) {
		free(s);
		action_add(&c->actions, ACTION_CLOSE, 0)->conn = conn;
		return;
	}
	s->core = c;
	s->conn = conn;
	s->peer = peer;
	s->pair = pair;
	s->server = !pair;
	s->since = s->heard_at = c->now;
	s->next = c->sessions;
	c->sessions = s;
	if (s->server)
		say_hello(s);
}

/* The HELLOs are through: this is the pair's session now. */
static void session_open(struct session *s)
{
	struct pair *p = s->pair;
	struct session *old = p->session;

	s->open = true;
	s->ping_at = s->core->now + CORE_PING_MS;
	if (old && old != s) {
		core_log(s->core, LOG_LEVEL_INFO, p->volume, p,
			 "the peer has begun a new session: closing the old one");
		p->session = NULL;
		pair_session_lost(p, "replaced by a newer session");
		old->pair = NULL;
		session_close(old);
	}
	p->session = s;
	pair_session_open(p);
}

static bool version_fits(struct session *s, const struct msg_hello *h)
{
	if (h->version >= REPL_WIRE_VERSION_MIN && h->version_min <= REPL_WIRE_VERSION)
		return true;
	session_refuse(s, "%s speaks protocol versions %d to %d, %s speaks %u to %u: update the "
		       "older one", s->core->node, REPL_WIRE_VERSION_MIN, REPL_WIRE_VERSION,
		       s->peer->name, h->version_min, h->version);
	return false;
}

/* Which of this node's pairs a connection that was accepted is about. */
static struct pair *wanted_pair(struct session *s, const char *name)
{
	struct volume *v = core_volume(s->core, name);
	struct pair *p;

	if (!v) {
		session_refuse(s, "volume %s is not up on %s: run repl-ctl up %s there", name,
			       s->core->node, name);
		return NULL;
	}
	p = find_pair(v, s->peer);
	if (!p)
		session_refuse(s, "%s is not a peer of volume %s on %s: add it to the volume's file there "
			       "with repl-ctl peer add %s %s; or, if it was removed on purpose, on %s: repl-ctl down "
			       "%s", s->peer->name, name, s->core->node, name, s->peer->name, s->peer->name, name);
	return p;
}

static void heard_hello(struct session *s, const struct repl_msg_hello *m)
{
	struct msg_hello h;
	struct err e;

	if (msg_unpack_hello(&h, m, &e)) {
		session_refuse(s, "%s", e.text);
		return;
	}
	if (!version_fits(s, &h))
		return;
	s->features = h.features;
	if (strcmp(h.node, s->peer->name))
		core_log(s->core, LOG_LEVEL_WARN, NULL, s->pair,
			 "the node that agent.conf names %s calls itself %s", s->peer->name, h.node);
	if (s->server && (h.features & REPL_HF_ASKS)) {
		s->open = s->asks = true;
		return;
	}
	if (s->server) {
		s->pair = wanted_pair(s, h.volume);
		if (!s->pair)
			return;
	}
	if (s->pair->volume->set.arbiter && !(h.features & REPL_HF_ARBITER)) {
		session_refuse(s, "volume %s has an arbiter on %s, which the release on %s does not know: "
			       "update that", s->pair->volume->name, s->core->node, s->peer->name);
		return;
	}
	if (!s->server)
		say_hello(s);
	session_open(s);
}

/* This node is the witness; what its register says is the shell's to read. */
static void heard_ask(struct session *s, const struct msg_header *h, const void *body)
{
	struct action *a;

	if (h->type != REPL_MSG_ASK) {
		session_refuse(s, "%s does not belong here", msg_name(h->type));
		return;
	}
	a = action_add(&s->core->actions, ACTION_REGISTER, h->length);
	a->conn = s->conn;
	memcpy(a->data, body, h->length);
}

static void heard_link_hello(struct session *s, const struct repl_msg_link *m)
{
	struct msg_link l;
	struct action *a;
	struct pair *p;
	struct err e;

	if (msg_unpack_link(&l, m, &e)) {
		session_refuse(s, "%s", e.text);
		return;
	}
	p = wanted_pair(s, l.volume);
	if (!p)
		return;
	a = action_add(&s->core->actions, ACTION_LINK_TAKE, 0);
	a->conn = s->conn;
	a->pair = p;
	a->volume = p->volume;
	a->link = l;
	/* The connection is no session: what becomes of it is OP_LINK_OPEN's affair. */
	for (struct session **at = &s->core->sessions; *at; at = &(*at)->next) {
		if (*at == s) {
			*at = s->next;
			free(s);
			return;
		}
	}
}

static void heard_refusal(struct session *s, const void *body, size_t length)
{
	char text[REPL_TEXT_MAX];

	msg_text(text, body, length);
	snprintf(s->why, sizeof(s->why), "%s refuses", s->peer->name);
	core_log(s->core, LOG_LEVEL_WARN, s->pair ? s->pair->volume : NULL, s->pair,
		 "%s refuses: %s", s->peer->name, text);
	if (s->pair)
		pair_reason(s->pair, "%s refuses: %s", s->peer->name, text);
	session_close(s);
}

void session_message(struct session *s, const struct msg_header *h, const void *body)
{
	if (!s || s->closing)
		return;
	s->heard_at = s->core->now;
	if (h->type == REPL_MSG_REFUSE)
		heard_refusal(s, body, h->length);
	else if (s->open && h->type == REPL_MSG_PING)
		send_on(s->core, s->conn, REPL_MSG_PONG, NULL, 0);
	else if (s->open && h->type == REPL_MSG_PONG)
		return;
	else if (s->open && s->asks)
		heard_ask(s, h, body);
	else if (s->open && (h->type == REPL_MSG_SURVEY || h->type == REPL_MSG_SURVEYED))
		survey_heard(s, h, body);
	else if (s->open && h->type != REPL_MSG_HELLO && h->type != REPL_MSG_LINK_HELLO &&
		 h->type != REPL_MSG_LINK_PROOF)
		pair_message(s->pair, h, body);
	else if (!s->open && h->type == REPL_MSG_HELLO)
		heard_hello(s, body);
	else if (!s->open && s->server && h->type == REPL_MSG_LINK_HELLO)
		heard_link_hello(s, body);
	else
		session_refuse(s, "%s does not belong here", msg_name(h->type));
}

void core_heard(struct core *c, uint32_t conn)
{
	struct session *s = session_find(c, conn);

	if (s)
		s->heard_at = c->now;
}

static void dial_later(struct pair *p)
{
	p->dialling = false;
	if (!p->peer->lower)
		return;
	p->dial_at = p->core->now + core_backoff(p->core, CORE_DIAL_MIN_MS, CORE_DIAL_MAX_MS,
						 p->dial_failures);
	p->dial_failures++;
}

void core_dial_failed(struct pair *p, const char *why)
{
	if (!p->dial_failures || strcmp(p->reason, why))
		core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "%s", why);
	pair_reason(p, "%s", why);
	dial_later(p);
}

void core_session_down(struct core *c, uint32_t conn, const char *why)
{
	for (struct session **at = &c->sessions; *at; at = &(*at)->next) {
		struct session *s = *at;
		struct pair *p = s->pair;

		if (s->conn != conn)
			continue;
		*at = s->next;
		if (p && p->session == s) {
			p->session = NULL;
			if (c->now >= s->since + CORE_DEAD_MS)
				p->dial_failures = 0;
			pair_session_lost(p, s->why[0] ? s->why : why);
			dial_later(p);
		} else if (p && !p->session && !s->server) {
			/* One that is refused goes on trying: one line for each new reason. */
			if (strcmp(p->reason, why))
				core_log(c, LOG_LEVEL_INFO, p->volume, p, "%s", why);
			if (!s->closing)
				pair_reason(p, "%s", why);
			dial_later(p);
		} else if (!p && !s->closing && !s->asks) {
			core_log(c, LOG_LEVEL_WARN, NULL, NULL, "%s, before it said what it wants: %s",
				 s->peer->name, why);
		}
		free(s);
		return;
	}
}

static void session_check(struct session *s)
{
	struct core *c = s->core;

	if (s->closing)
		return;
	if (s->pair && s->pair->run.paused)
		s->heard_at = c->now;	/* it is this side that does not listen */
	if (s->asks) {
		/* One question, and its answer: whoever has more comes again. */
		if (c->now >= s->since + CORE_DEAD_MS)
			session_close(s);
		return;
	}
	if (!s->open && c->now >= s->since + CORE_HELLO_MS) {
		session_refuse(s, "no HELLO within %d s", CORE_HELLO_MS / 1000);
	} else if (s->open && c->now >= s->heard_at + CORE_DEAD_MS) {
		core_log(c, LOG_LEVEL_WARN, s->pair->volume, s->pair,
			 "nothing heard for %d s: closing the session", CORE_DEAD_MS / 1000);
		snprintf(s->why, sizeof(s->why), "nothing was heard for %d s", CORE_DEAD_MS / 1000);
		session_close(s);
	} else if (s->open && c->now >= s->ping_at) {
		send_on(c, s->conn, REPL_MSG_PING, NULL, 0);
		s->ping_at = c->now + CORE_PING_MS;
	}
}

void session_tick(struct core *c)
{
	for (struct session *s = c->sessions; s; s = s->next)
		session_check(s);
	for (struct volume *v = c->volumes; v; v = v->next) {
		for (unsigned int i = 0; i < v->pair_count; i++) {
			struct pair *p = v->pair[i];
			struct action *a;

			if (p->session || p->dialling || !p->dial_at || c->now < p->dial_at)
				continue;
			p->dialling = true;
			p->dial_at = 0;
			a = action_add(&c->actions, ACTION_DIAL, 0);
			a->pair = p;
			a->volume = v;
		}
	}
}

uint64_t session_deadline(const struct core *c)
{
	uint64_t at = UINT64_MAX;

	for (const struct session *s = c->sessions; s; s = s->next) {
		uint64_t when = s->open ? s->ping_at : s->since + CORE_HELLO_MS;

		if (s->asks)
			when = s->since + CORE_DEAD_MS;

		if (!s->closing && when < at)
			at = when;
	}
	return at;
}

void session_free_all(struct core *c)
{
	while (c->sessions) {
		struct session *s = c->sessions;

		c->sessions = s->next;
		free(s);
	}
}
