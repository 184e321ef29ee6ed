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
	LAG_SLICE_MAX	= 250,		/* ms in which writes go on for a part */
	LAG_SHARE_MAX	= 90,		/* percent of that in which they wait, before they wait all the time */
	LAG_GRACE	= 1000,		/* ms after which the kernel ends a slice, if this agent has not */
	LAG_HOLD	= 10000,	/* ms after which it ends a freeze that this agent has not renewed ... */
	LAG_RENEW	= 5000,		/* ... so long before */
	LAG_BRIDGE	= 1000,
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

/* Who compares uses the same gate.  That is none of a rolling pair, but of one that has just been in sync. */
static bool is_compared(const struct volume *v)
{
	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->verify)
			return true;
	return false;
}

unsigned int lag_share(const struct pair *p)
{
	uint64_t bound = lag_bound(p), from = bound / 2, ms = lag(p);

	if (!p->lag.throttle || !p->lag.known || ms <= from || is_compared(p->volume))
		return 0;
	return ms < bound ? (unsigned int)((ms - from) * 100 / (bound - from)) : 100;
}

static const char *what_waits(const struct pair *p)
{
	if (!p->lag.throttle)
		return "";
	return p->lag.known ? "; writes wait until it is younger, see repl-ctl status" :
	       "; no write waits for it: it has had no epoch since this agent began";
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
			 "node is%s; it is %s: %s", age, bound, what_waits(p), pair_state_word(p), p->reason);
}

/* An epoch that comes late each time is one thing to be told of, not many: it is over at half of the bound. */
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

/* ------------------------------------------------------- writes wait --- */

static void gate(struct pair *p, enum action_kind kind, enum repl_gate gate, uint32_t ms)
{
	struct action *a = action_add(&p->core->actions, kind, 0);

	/* Not of the pair: it is carried out though that goes. */
	a->volume = p->volume;
	a->op.flags = gate;
	a->op.deadline_ms = ms;
}

static bool is_joining(const struct volume *v)
{
	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->run.frozen)
			return true;
	return false;
}

/*
 * A freeze that stands cannot be prolonged, and what waits would go on as soon as it is ended:
 * meanwhile the gate of the joins holds it.  All four commands are carried out one after the
 * other with nothing of this agent's in between, so no join finds its gate shut, nor opened; and
 * while one is about to hold, or holds it, it is left alone.
 */
static void hold(struct pair *p, uint32_t ms)
{
	bool shut = p->lag.held_until > p->core->now, bridge = shut && !is_joining(p->volume);

	if (bridge)
		gate(p, ACTION_HOLD, REPL_GATE_JOIN, LAG_BRIDGE);
	if (shut)
		gate(p, ACTION_THAW, REPL_GATE_SNAPSHOT, 0);
	gate(p, ACTION_HOLD, REPL_GATE_SNAPSHOT, ms);
	if (bridge)
		gate(p, ACTION_THAW, REPL_GATE_JOIN, 0);
	p->lag.held_until = p->core->now + ms;
}

static void release(struct pair *p)
{
	struct lag *l = &p->lag;

	/* After its deadline the gate may be somebody else's. */
	if (l->held_until > p->core->now)
		gate(p, ACTION_THAW, REPL_GATE_SNAPSHOT, 0);
	l->held_until = l->thaw_at = 0;
}

static uint64_t slice(const struct pair *p)
{
	uint64_t ms = lag_bound(p) / 8;

	return ms < LAG_LOOK_MIN ? LAG_LOOK_MIN : ms > LAG_SLICE_MAX ? LAG_SLICE_MAX : ms;
}

static void throttle(struct pair *p)
{
	unsigned int share = lag_share(p);
	uint64_t now = p->core->now, ms;
	struct lag *l = &p->lag;

	if (share == 100) {
		l->thaw_at = 0;
		if (l->held_until < now + LAG_RENEW)
			hold(p, LAG_HOLD);
		return;
	}
	if (l->held_until && (!share || !l->thaw_at))
		release(p);
	if (!share || l->held_until || now < l->slice_at)
		return;
	ms = slice(p) * (share < LAG_SHARE_MAX ? share : LAG_SHARE_MAX) / 100;
	if (!ms)
		return;
	hold(p, (uint32_t)ms + LAG_GRACE);
	l->thaw_at = now + ms;
	l->slice_at = now + slice(p);
}

void lag_end(struct pair *p)
{
	release(p);
	p->lag.look_at = 0;
}

/* ------------------------------------------------------------ events --- */

static void look_again(struct pair *p)
{
	uint64_t every = lag_bound(p) / 8;

	if (every < LAG_LOOK_MIN)
		every = LAG_LOOK_MIN;
	if (every > LAG_LOOK_MAX)
		every = LAG_LOOK_MAX;
	if (lag_share(p))
		every = slice(p);
	p->lag.look_at = roll_on(p) && !(p->mine.flags & REPL_MV_LIVE) ? p->core->now + every : 0;
}

void lag_snapshot(struct volume *v)
{
	for (unsigned int i = 0; i < v->pair_count; i++) {
		struct pair *p = v->pair[i];

		follow_age(p);
		judge(p);
		throttle(p);
		if (p->lag.look_at <= p->core->now || !p->lag.since)
			look_again(p);
	}
}

void lag_tick(struct pair *p)
{
	if (p->lag.thaw_at && p->core->now >= p->lag.thaw_at)
		release(p);
	if (!p->lag.look_at || p->core->now < p->lag.look_at)
		return;
	look_again(p);
	core_get(p->volume);
}

void lag_set(struct pair *p, bool throttle, uint32_t bound_ms)
{
	p->lag.throttle = throttle;
	p->lag.bound_ms = bound_ms;
	p->lag.look_at = 0;
}

void lag_given_up(struct pair *p)
{
	p->lag.known = false;
}
