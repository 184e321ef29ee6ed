// SPDX-License-Identifier: GPL-2.0-or-later
#include "survey.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pair.h"
#include "roster.h"
#include "session.h"

struct survey {
	struct survey *next;
	uint32_t request;
	uint64_t nonce;
	uint64_t deadline;
	uint32_t waits;			/* bit n: for core->peer[n] */
};

static void tell(struct survey *v, const struct core_peer *peer, enum survey_state state,
		 const void *body, size_t length, struct action_queue *q, const char *text)
{
	struct action *a = action_add(q, ACTION_SURVEYED, length);

	a->request = v->request;
	a->type = (uint16_t)state;
	snprintf(a->subject, sizeof(a->subject), "%s", peer->name);
	a->text = strdup(text);
	if (length)
		memcpy(a->data, body, length);
}

/* In the middle of bulk data an answer would come late: rather a session that is idle. */
static struct session *find_session(const struct core *c, const struct core_peer *peer)
{
	struct session *found = NULL;

	for (struct session *s = c->sessions; s; s = s->next) {
		if (s->peer != peer || !s->open || s->closing || s->asks || !s->pair)
			continue;
		if (s->pair->phase == PHASE_LIVE || s->pair->phase == PHASE_MEET)
			return s;
		found = s;
	}
	return found;
}

static const struct pair *find_pair(const struct core *c, const struct core_peer *peer)
{
	for (const struct volume *v = c->volumes; v; v = v->next)
		for (unsigned int i = 0; i < v->pair_count; i++)
			if (v->pair[i]->peer == peer)
				return v->pair[i];
	return NULL;
}

/* Return: whether its answer is to be waited for. */
static bool ask(struct core *c, struct survey *v, const struct core_peer *peer)
{
	struct repl_msg_survey m = { .nonce = htole64(v->nonce) };
	const struct session *s = find_session(c, peer);
	const struct pair *p = find_pair(c, peer);
	struct action *a;

	if (s && (s->features & REPL_HF_SURVEY)) {
		a = action_add(&c->actions, ACTION_SEND, sizeof(m));
		a->conn = s->conn;
		a->type = REPL_MSG_SURVEY;
		memcpy(a->data, &m, sizeof(m));
		return true;
	}
	if (s)
		tell(v, peer, SURVEY_SILENT, NULL, 0, &c->actions,
		     "its release does not tell: update that, or run repl-ctl status there");
	else if (p)
		tell(v, peer, SURVEY_DISCONNECTED, NULL, 0, &c->actions, p->reason);
	else
		tell(v, peer, SURVEY_UNASKED, NULL, 0, &c->actions,
		     "no volume that is up here has a copy there");
	return false;
}

static void finish(struct core *c, struct survey *v)
{
	struct survey **at = &c->surveys;

	while (*at != v)
		at = &(*at)->next;
	*at = v->next;
	for (unsigned int i = 0; i < c->peer_count; i++)
		if (v->waits & 1u << i)
			tell(v, &c->peer[i], SURVEY_SILENT, NULL, 0, &c->actions,
			     "connected, but it has not answered in time");
	core_reply(c, v->request, true, "%s", "");
	free(v);
}

void survey_begin(struct core *c, uint32_t request)
{
	struct survey *v = calloc(1, sizeof(*v));

	_Static_assert(sizeof(c->peer) / sizeof(c->peer[0]) <= 32, "a bit for each in ->waits");
	if (!v) {
		core_reply(c, request, false, "out of memory");
		return;
	}
	v->request = request;
	v->nonce = core_random(c);
	v->deadline = c->now + SURVEY_MS;
	v->next = c->surveys;
	c->surveys = v;
	for (unsigned int i = 0; i < c->peer_count; i++)
		if (!c->peer[i].gone && ask(c, v, &c->peer[i]))
			v->waits |= 1u << i;
	if (!v->waits)
		finish(c, v);
}

static void heard_answer(struct session *s, const void *body, uint32_t length)
{
	const struct repl_msg_surveyed *m = body;
	struct core *c = s->core;
	uint32_t bit = 1u << (s->peer - c->peer);
	struct survey *v = c->surveys;
	struct err e;

	if (roster_check(body, length, &e)) {
		session_refuse(s, "%s", e.text);
		return;
	}
	while (v && (v->nonce != le64toh(m->nonce) || !(v->waits & bit)))
		v = v->next;
	if (!v)
		return;		/* it comes too late */
	v->waits &= ~bit;
	tell(v, s->peer, SURVEY_ANSWERS, body, length, &c->actions, "");
	if (!v->waits)
		finish(c, v);
}

void survey_heard(struct session *s, const struct msg_header *h, const void *body)
{
	struct action *a;

	if (h->type == REPL_MSG_SURVEYED) {
		heard_answer(s, body, h->length);
		return;
	}
	a = action_add(&s->core->actions, ACTION_SURVEY, h->length);
	a->conn = s->conn;
	memcpy(a->data, body, h->length);
}

void survey_tick(struct core *c)
{
	struct survey *next;

	for (struct survey *v = c->surveys; v; v = next) {
		next = v->next;
		if (c->now >= v->deadline)
			finish(c, v);
	}
}

uint64_t survey_deadline(const struct core *c)
{
	uint64_t at = UINT64_MAX;

	for (const struct survey *v = c->surveys; v; v = v->next)
		if (v->deadline < at)
			at = v->deadline;
	return at;
}

void survey_gone(struct core *c, uint32_t request)
{
	for (struct survey *v = c->surveys; v; v = v->next)
		if (v->request == request)
			v->request = 0;
}

void survey_free_all(struct core *c)
{
	while (c->surveys) {
		struct survey *v = c->surveys;

		c->surveys = v->next;
		free(v);
	}
}
