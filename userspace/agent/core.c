// SPDX-License-Identifier: GPL-2.0-or-later
#include "core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arbiter.h"
#include "comeback.h"
#include "lag.h"
#include "member.h"
#include "pair.h"
#include "redo.h"
#include "replace.h"
#include "resize.h"
#include "session.h"
#include "survey.h"
#include "task.h"

void core_log(struct core *c, enum log_level level, const struct volume *v,
	      const struct pair *p, const char *fmt, ...)
{
	struct action *a = action_add(&c->actions, ACTION_LOG, 0);
	va_list ap;

	a->level = level;
	if (p)
		snprintf(a->subject, sizeof(a->subject), "%s/%s", p->volume->name, p->peer->name);
	else if (v)
		snprintf(a->subject, sizeof(a->subject), "%s", v->name);
	va_start(ap, fmt);
	if (vasprintf(&a->text, fmt, ap) < 0)
		a->text = NULL;
	va_end(ap);
}

void core_reply(struct core *c, uint32_t request, bool ok, const char *fmt, ...)
{
	struct action *a;
	va_list ap;

	if (!request)
		return;
	a = action_add(&c->actions, ACTION_REPLY, 0);
	a->request = request;
	a->ok = ok;
	va_start(ap, fmt);
	if (vasprintf(&a->text, fmt, ap) < 0)
		a->text = NULL;
	va_end(ap);
}

void core_get(struct volume *v)
{
	action_add(&v->core->actions, ACTION_GET, 0)->volume = v;
}

void core_op(struct volume *v, struct pair *p, const struct op *op)
{
	struct action *a = action_add(&v->core->actions, ACTION_OP, 0);

	a->volume = v;
	a->pair = p;
	a->op = *op;
	if (p) {
		a->op.turn = p->turn;
		p->pending++;
	} else {
		v->pending++;
	}
}

uint64_t core_random(struct core *c)
{
	return c->random(c->random_arg);
}

uint64_t core_backoff(struct core *c, uint64_t least, uint64_t most, unsigned int failures)
{
	uint64_t ms = failures < 16 ? least << failures : most;

	if (ms > most)
		ms = most;
	return ms - core_random(c) % (ms / 4 + 1);
}

void core_init(struct core *c, const char *node, const uint8_t key[REPL_KEY_BYTES],
	       uint64_t (*random)(void *arg), void *arg)
{
	memset(c, 0, sizeof(*c));
	snprintf(c->node, sizeof(c->node), "%s", node);
	memcpy(c->key, key, REPL_KEY_BYTES);
	c->random = random;
	c->random_arg = arg;
	action_init(&c->actions);
}

/* Return: which of them; ->peer_count: none. */
static unsigned int find_peer(const struct core *c, const uint8_t key[REPL_KEY_BYTES])
{
	unsigned int i = 0;

	while (i < c->peer_count && memcmp(c->peer[i].key, key, REPL_KEY_BYTES) != 0)
		i++;
	return i;
}

/* Pairs and sessions refer to them, so none is ever taken away. */
void core_peers_gone(struct core *c)
{
	for (unsigned int i = 0; i < c->peer_count; i++)
		c->peer[i].gone = true;
}

const struct core_peer *core_peer_add(struct core *c, const char *name,
				      const uint8_t key[REPL_KEY_BYTES])
{
	unsigned int i = find_peer(c, key);
	struct core_peer *p = &c->peer[i];

	if (i == sizeof(c->peer) / sizeof(c->peer[0]))
		return NULL;
	if (i == c->peer_count)
		c->peer_count++;
	p->gone = false;
	snprintf(p->name, sizeof(p->name), "%s", name);
	memcpy(p->key, key, REPL_KEY_BYTES);
	p->lower = memcmp(c->key, key, REPL_KEY_BYTES) < 0;
	return p;
}

const struct core_peer *core_peer_by_key(const struct core *c, const uint8_t key[REPL_KEY_BYTES])
{
	unsigned int i = find_peer(c, key);

	return i < c->peer_count ? &c->peer[i] : NULL;
}

struct volume *core_volume(const struct core *c, const char *name)
{
	for (struct volume *v = c->volumes; v; v = v->next)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

struct volume *core_volume_up(struct core *c, const char *name,
			      const struct volume_settings *set, bool unclean, void *io)
{
	struct volume *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->core = c;
	v->io = io;
	v->set = *set;
	v->unclean = unclean;
	snprintf(v->name, sizeof(v->name), "%s", name);
	v->next = c->volumes;
	c->volumes = v;
	return v;
}

struct pair *core_pair_add(struct volume *v, const struct core_peer *peer)
{
	struct pair *p;

	if (v->pair_count == REPL_SLOTS_MAX)
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->core = v->core;
	p->volume = v;
	p->peer = peer;
	p->phase = PHASE_OFF;
	snprintf(p->reason, sizeof(p->reason), "not connected yet");
	v->pair[v->pair_count++] = p;
	return p;
}

void core_pair_start(struct pair *p)
{
	if (p->session)
		return;
	if (p->peer->lower)
		p->dial_at = p->core->now;
	else
		/* Nobody dials when one of the two has a wrong key for the other. */
		pair_reason(p, "it is %s that connects to this node, and it has not yet: see status there, "
			    "and compare each node's repl-ctl pubkey with the other's agent.conf",
			    p->peer->name);
}

void core_start(struct volume *v)
{
	for (unsigned int i = 0; i < v->pair_count; i++)
		core_pair_start(v->pair[i]);
	core_get(v);
}

/* The pair whose peer is primary and sends its writes here, if any. */
static const struct pair *find_server(const struct volume *v)
{
	if (v->k.role == REPL_ROLE_PRIMARY)
		return NULL;
	for (unsigned int i = 0; i < v->pair_count; i++) {
		const struct pair *p = v->pair[i];

		if (p->have_theirs && (p->theirs.flags & REPL_MV_PRIMARY) &&
		    (p->mine.flags & REPL_MV_LIVE))
			return p;
	}
	return NULL;
}

unsigned int core_count_live(const struct volume *v)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < v->pair_count; i++)
		n += !!(v->pair[i]->mine.flags & REPL_MV_LIVE);
	return n;
}

static void read_copy(struct pair *p)
{
	const struct volume *v = p->volume;

	copy_read(&p->mine, &v->k, p->peer->key, v->set.plain, v->unclean);
	p->mine.arbiter = v->set.arbiter;
	memcpy(p->mine.arbiter_tag, v->set.arbiter_tag, sizeof(p->mine.arbiter_tag));
}

void core_snapshot(struct volume *v, const struct kernel_volume *k)
{
	unsigned int live = core_count_live(v);

	if (!k && v->task.kind == TASK_DOWN && v->task.begun)
		return;		/* its ticket will say so */
	if (!k) {
		core_log(v->core, LOG_LEVEL_WARN, v, NULL,
			 "the kernel no longer has this volume: bring it back with repl-ctl up");
		task_removed(v, "the volume is down");
		return;
	}
	v->k = *k;
	v->get_at = 0;
	v->get_failures = 0;
	v->known = true;
	v->known_at = v->core->now;
	for (unsigned int i = 0; i < v->k.slot_count; i++)
		if (v->k.slot[i].link == REPL_LINK_LIVE)
			v->unclean = false;
	for (unsigned int i = 0; i < v->pair_count; i++)
		read_copy(v->pair[i]);
	v->served = find_server(v);
	redo_snapshot(v);
	/* Peers that were told nothing, or waited in vain, may have their turn now. */
	for (unsigned int i = 0; i < v->pair_count && live > core_count_live(v); i++)
		v->pair[i]->say = true;
	/* First: what it has begun keeps pairs from joining. */
	arbiter_snapshot(v);
	for (unsigned int i = 0; i < v->pair_count; i++)
		pair_snapshot(v->pair[i]);
	lag_snapshot(v);
	comeback_snapshot(v);
	resize_snapshot(v);
	replace_snapshot(v);
	member_snapshot(v);
	task_go(v);
	notice_look(v);
}

bool core_no_snapshot(struct volume *v)
{
	/* Procedures wait for it. */
	v->get_at = v->core->now + core_backoff(v->core, CORE_RETRY_MIN_MS, CORE_RETRY_MAX_MS,
						v->get_failures);
	return !v->get_failures++;
}

static void get_again(struct volume *v)
{
	if (!v->get_at || v->core->now < v->get_at)
		return;
	v->get_at = 0;
	core_get(v);
}

void core_event(struct core *c, struct volume *v)
{
	if (v) {
		core_get(v);
		return;
	}
	for (v = c->volumes; v; v = v->next)
		core_get(v);
}

/* What a message was about may have gone with its session. */
static void look_all(struct core *c)
{
	for (struct volume *v = c->volumes; v; v = v->next)
		notice_look(v);
}

void core_message(struct core *c, uint32_t conn, const struct msg_header *h, const void *body)
{
	session_message(session_find(c, conn), h, body);
	look_all(c);
}

void core_op_done(struct volume *v, struct pair *p, enum op_kind kind, uint32_t turn,
		  const struct op_result *r)
{
	if (p) {
		p->pending--;
		pair_op_done(p, kind, turn, r);
		task_go(v);
	} else {
		v->pending--;
		if (!arbiter_op_done(v, kind, r))
			task_op_done(v, kind, r);
	}
	notice_look(v);
}

void core_tick(struct core *c)
{
	struct volume *next;

	session_tick(c);
	survey_tick(c);
	for (struct volume *v = c->volumes; v; v = next) {
		next = v->next;
		for (unsigned int i = 0; i < v->pair_count; i++) {
			pair_tick(v->pair[i]);
			lag_tick(v->pair[i]);
		}
		redo_tick(v);
		get_again(v);
		replace_tick(v);
		arbiter_tick(v);
		task_tick(v);
		notice_tick(v);
	}
	task_tick_waiters(c);
	look_all(c);
}

static void sooner(uint64_t *at, uint64_t when)
{
	if (when && when < *at)
		*at = when;
}

uint64_t core_deadline(const struct core *c)
{
	uint64_t at = session_deadline(c);

	sooner(&at, survey_deadline(c));

	for (const struct volume *v = c->volumes; v; v = v->next) {
		for (unsigned int i = 0; i < v->pair_count; i++) {
			const struct pair *p = v->pair[i];

			if (!p->session && !p->dialling)
				sooner(&at, p->dial_at);
			sooner(&at, p->timer);
			sooner(&at, p->resolve.deadline);
			sooner(&at, p->takeover.deadline);
			sooner(&at, p->lag.look_at);
			sooner(&at, p->lag.thaw_at);
			sooner(&at, p->verify ? p->verify->timer : 0);
		}
		sooner(&at, v->task.deadline);
		sooner(&at, v->disclaim_at);
		if (v->redo.step == REDO_WAIT || v->redo.step == REDO_LEFT)
			sooner(&at, v->redo.at);
		sooner(&at, v->get_at);
		sooner(&at, v->fill_at);
		sooner(&at, v->noticed.look_at);
		sooner(&at, arbiter_deadline(v));
	}
	for (const struct waiter *w = c->waiters; w; w = w->next)
		sooner(&at, w->deadline);
	return at;
}

void core_exit(struct core *c)
{
	struct action *a;

	while (c->volumes) {
		struct volume *v = c->volumes;

		c->volumes = v->next;
		core_volume_free(v);
	}
	session_free_all(c);
	survey_free_all(c);
	while (c->waiters) {
		struct waiter *w = c->waiters;

		c->waiters = w->next;
		free(w);
	}
	while ((a = action_take(&c->actions)))
		action_free(a);
}
