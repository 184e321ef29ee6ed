// SPDX-License-Identifier: GPL-2.0-or-later
#include "comeback.h"

#include <errno.h>
#include <stdio.h>

#include "id.h"
#include "pair.h"
#include "resolve.h"
#include "units.h"

enum comeback_limits {
	COMEBACK_MS	= 300000,	/* it has failed: before the next try, at least, ... */
	COMEBACK_MOST	= 14400000,	/* ... and at most */
};

void comeback_set(struct pair *p, bool follows)
{
	/* Who says so anew may have made room. */
	p->comeback.retry_at = 0;
	p->comeback.follows = follows;
}

static bool went_through(const struct copy *c, const struct repl_id *id)
{
	for (unsigned int i = 0; i < REPL_HISTORY; i++)
		if (id_equal(&c->history[i], id))
			return true;
	return false;
}

/* The peer is primary, and has gone on from an epoch of which this copy was the primary. */
static bool was_its_primary(const struct pair *p)
{
	const struct kernel_slot *s = copy_slot(&p->volume->k, p->peer->key);

	return s && !(s->flags & REPL_SS_AHEAD) && !id_is_zero(&s->generation) &&
	       verdict_speaks(&p->mine, &p->theirs) && (p->theirs.flags & REPL_MV_PRIMARY) &&
	       went_through(&p->theirs, &s->generation);
}

static bool is_split(const struct pair *p)
{
	return p->session && p->phase == PHASE_MEET && p->judged && p->verdict.kind == VERDICT_SPLIT &&
	       p->resolve.step == RESOLVE_NONE;
}

static void says(struct pair *p)
{
	char text[UNITS_TEXT_MAX];

	units_format_duration(p->comeback.retry_at - p->core->now, text);
	pair_reason(p, "split: on-return has failed, it does not follow %s: %s; next try in %s", p->peer->name,
		    p->comeback.why, text);
}

static void later(struct pair *p, const char *why)
{
	char text[UNITS_TEXT_MAX];

	snprintf(p->comeback.why, sizeof(p->comeback.why), "%s", why);
	p->comeback.retry_at = p->core->now + core_backoff(p->core, COMEBACK_MS, COMEBACK_MOST, p->comeback.failures++);
	units_format_duration(p->comeback.retry_at - p->core->now, text);
	core_log(p->core, LOG_LEVEL_ERROR, p->volume, p, "on-return: this copy does not follow: %s; next try in %s, or see repl-ctl "
		 "resolve %s", why, text, p->volume->name);
}

static void begin(struct pair *p)
{
	struct err e;
	int ret = resolve_yield(p, &e);

	if (!ret) {
		p->comeback.begun = true;
		core_log(p->core, LOG_LEVEL_WARN, p->volume, p, "on-return: this node is back, and %s was made primary without it: "
			 "what only this copy has is saved, then it follows", p->peer->name);
	} else if (ret != -EBUSY && ret != -ENOTCONN && ret != -EALREADY && ret != -ESTALE) {
		later(p, e.text);
		says(p);
	}
}

void comeback_snapshot(struct volume *v)
{
	for (unsigned int i = 0; i < v->pair_count; i++) {
		struct pair *p = v->pair[i];

		if (!p->comeback.follows || v->k.role != REPL_ROLE_SECONDARY || v->task.kind != TASK_NONE ||
		    !is_split(p) || !was_its_primary(p))
			continue;
		if (p->core->now < p->comeback.retry_at)
			says(p);
		else
			begin(p);
	}
}

void comeback_ended(struct pair *p, bool good, bool saved, const char *text)
{
	if (!p->comeback.begun)
		return;
	p->comeback.begun = false;
	p->comeback.retry_at = 0;
	if (good) {
		p->comeback.failures = 0;
		return;
	}
	/*
	 * A session that was lost says nothing of what can be saved: the next one begins anew.  But a
	 * file that was saved stays, and each try makes another one.
	 */
	if (p->session || saved)
		later(p, text);
}
