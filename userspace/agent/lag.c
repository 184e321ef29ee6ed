// SPDX-License-Identifier: GPL-2.0-or-later
#include "lag.h"

#include <stdio.h>

#include "pair.h"
#include "roll.h"
#include "units.h"

enum lag_limits {
	LAG_INTERVALS	= 10,
	LAG_MS		= 10000,
	LAG_LOOK_MIN	= 50,		/* ms between two looks at a peer that may become too old ... */
	LAG_LOOK_MAX	= 5000,
};

uint64_t lag_bound(const struct pair *p)
{
	return p->lag.bound_ms ? p->lag.bound_ms : (uint64_t)p->roll.interval_ms * LAG_INTERVALS + LAG_MS;
}

/* How old the copy is at least; one of which that is not known has been so since this agent looks. */
static uint64_t lag(const struct pair *p)
{
	return p->lag.since ? p->core->now - p->lag.since : 0;
}

/*
 * While nothing is dirty, and nothing waits there, the copy is this one: of a peer that is away,
 * too, who would else be too old for what was never written.
 */
static bool is_equal(const struct pair *p)
{
	return p->lag.known && pair_slot(p) >= 0 && !roll_behind(p) && !pair_leading(p) && !pair_following(p);
}

static void follow_age(struct pair *p)
{
	struct lag *l = &p->lag;
	uint64_t now = p->core->now;

	if (!roll_on(p)) {
		l->since = 0;
		l->known = false;
		return;
	}
	if (p->mine.flags & REPL_MV_LIVE) {
		l->since = now;
		l->known = true;
	} else if (p->roll.equal_at) {
		l->known = true;
		if (is_equal(p))
			roll_equal(p);
		l->since = p->roll.equal_at;
	} else if (!l->since) {
		l->since = now;
	}
}

void lag_words(const struct pair *p, char *text, size_t size)
{
	char age[UNITS_TEXT_MAX], bound[UNITS_TEXT_MAX];

	units_format_duration(lag(p), age);
	units_format_duration(lag_bound(p), bound);
	if (!p->lag.late)
		snprintf(text, size, "its copy is no longer too old");
	else
		snprintf(text, size, "its copy is %s old, and lag-bound is %s: what was written since is lost if this "
			 "node is; it is %s: %s", age, bound, pair_state_word(p), p->reason);
}

/* Once when it becomes too old; and when that is over, which one that is as old as half of it again is. */
static void judge(struct pair *p)
{
	char text[2 * CORE_REASON_MAX];
	uint64_t ms = lag(p);

	if (p->lag.late == (ms > (p->lag.late ? lag_bound(p) / 2 : lag_bound(p))))
		return;
	p->lag.late = !p->lag.late;
	lag_words(p, text, sizeof(text));
	core_log(p->core, p->lag.late ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, p->volume, p, "%s", text);
}

static void look_again(struct pair *p)
{
	struct lag *l = &p->lag;
	uint64_t every = lag_bound(p) / 8;

	if (every < LAG_LOOK_MIN)
		every = LAG_LOOK_MIN;
	if (every > LAG_LOOK_MAX)
		every = LAG_LOOK_MAX;
	l->look_at = roll_on(p) && !(p->mine.flags & REPL_MV_LIVE) ? p->core->now + every : 0;
}

void lag_snapshot(struct volume *v)
{
	for (unsigned int i = 0; i < v->pair_count; i++) {
		struct pair *p = v->pair[i];

		follow_age(p);
		judge(p);
		if (p->lag.look_at <= p->core->now || !p->lag.since)
			look_again(p);
	}
}

void lag_tick(struct pair *p)
{
	if (!p->lag.look_at || p->core->now < p->lag.look_at)
		return;
	look_again(p);
	core_get(p->volume);
}

void lag_set(struct pair *p, uint32_t bound_ms)
{
	p->lag.bound_ms = bound_ms;
	p->lag.look_at = 0;
}

void lag_given_up(struct pair *p)
{
	p->lag.known = false;
}
