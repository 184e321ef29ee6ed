// SPDX-License-Identifier: GPL-2.0-or-later
#include "roll.h"

#include <string.h>

#include "lag.h"
#include "pair.h"
#include "units.h"

enum roll_limits {
	ROLL_LEAST	= 256 << 10,	/* bytes to be read while writes wait */
	ROLL_MOST	= 8 << 20,
	ROLL_PASSES	= 8,		/* then it is tried, however much there is */
	ROLL_MINUTE	= 60000,	/* ms */
	ROLL_KEEP	= 60000,	/* ms; a link to a peer that cannot stage, at least, ... */
	ROLL_KEEP_MOST	= 1800000,	/* ... and at most */
};

bool roll_on(const struct pair *p)
{
	return p->roll.interval_ms && p->volume->k.role == REPL_ROLE_PRIMARY;
}

bool roll_running(const struct pair *p)
{
	return p->roll.interval_ms &&
	       ((pair_leading(p) && p->run.rolled) || (pair_following(p) && p->run.commit_nonce));
}

void roll_set(struct pair *p, uint32_t interval_ms)
{
	struct rolling *r = &p->roll;

	/* Who says so anew may have mended what kept it from staging. */
	if (!r->interval_ms) {
		r->joins = 0;
		r->keep_until = 0;
	}
	r->interval_ms = interval_ms;
	if (r->next_at > r->begun_at + interval_ms)
		r->next_at = r->begun_at + interval_ms;
}

void roll_snapshot(struct pair *p)
{
	uint64_t now = p->core->now;

	if (p->phase == PHASE_L_ROLL && (!roll_on(p) || p->timer > now + p->roll.interval_ms))
		p->timer = now;
}

/* The peer was @ms old just now. */
static void note_age(struct rolling *r, uint64_t now, uint64_t ms)
{
	uint64_t minute = now / ROLL_MINUTE;

	for (; r->minute < minute; r->minute++) {
		if (minute - r->minute > ROLL_MINUTES)
			r->minute = minute - ROLL_MINUTES;
		r->worst[(r->minute + 1) % ROLL_MINUTES] = 0;
	}
	if (ms > r->worst[minute % ROLL_MINUTES])
		r->worst[minute % ROLL_MINUTES] = ms;
}

static void equal_since(struct pair *p, uint64_t at)
{
	struct rolling *r = &p->roll;

	if (r->equal_at)
		note_age(r, p->core->now, p->core->now - r->equal_at);
	r->equal_at = at;
}

void roll_sent(struct pair *p, uint64_t bytes)
{
	p->roll.sent += bytes;
}

void roll_following(struct pair *p)
{
	/* What stages is consistent: its copy is the epoch that it was. */
	if (p->run.staged)
		return;
	equal_since(p, 0);
	lag_given_up(p);
}

void roll_equal(struct pair *p)
{
	equal_since(p, p->core->now);
}

static enum roll_step wait_until(struct pair *p, uint64_t until)
{
	char text[UNITS_TEXT_MAX];

	p->timer = until;
	pair_reason(p, "rolling: %s gets what was written each %s", p->peer->name,
		    units_format_duration(p->roll.interval_ms, text));
	return ROLL_WAIT;
}

enum roll_step roll_next(struct pair *p)
{
	uint64_t dirty = p->mine.slot_dirty_blocks << REPL_BLOCK_SHIFT, now = p->core->now;
	struct rolling *r = &p->roll;

	/* What it had staged before, and not used, it has told as its own doubts: that is dirty here now. */
	r->sent = p->run.staged_bytes;
	if (!roll_on(p) || !p->run.staged)
		return ROLL_NOT;
	if (!r->most)
		r->most = ROLL_MOST;
	if (p->run.rolled && !dirty && !p->run.staged_bytes) {
		equal_since(p, now);
		return wait_until(p, now + r->interval_ms);
	}
	if (now < r->next_at)
		return wait_until(p, r->next_at);
	/* What may be equal already is compared, which takes its time. */
	if (dirty && !p->copied.passes)
		return ROLL_PASS;
	return dirty <= r->most || p->run.passes >= ROLL_PASSES ? ROLL_EPOCH : ROLL_PASS;
}

void roll_begins(struct pair *p)
{
	p->roll.begun_at = p->core->now;
}

void roll_late(struct pair *p)
{
	p->roll.most /= 2;
	if (p->roll.most < ROLL_LEAST)
		p->roll.most = ROLL_LEAST;
}

void roll_done(struct pair *p)
{
	struct rolling *r = &p->roll;

	if (!roll_on(p))
		return;
	equal_since(p, r->begun_at);
	r->sent = 0;
	r->next_at = r->begun_at + r->interval_ms;
	r->most = r->most * 2 < ROLL_MOST ? r->most * 2 : ROLL_MOST;
	r->joins = 0;
	r->keep_until = 0;
	p->run.passes = p->run.join_failures = 0;
	p->run.allowance = 1;
	p->run.rolled = true;
}

/*
 * The first one may be of a copy that was not consistent anyway, or of one delta that was too
 * large.  If no epoch came after that, the next would be the same again: each time a freeze, a
 * generation, and a copy that is not consistent meanwhile.
 */
void roll_joined(struct pair *p)
{
	struct rolling *r = &p->roll;

	if (roll_on(p) && !p->run.staged && r->joins++)
		r->keep_until = p->core->now + core_backoff(p->core, ROLL_KEEP, ROLL_KEEP_MOST, r->joins - 2);
}

bool roll_unlinks(struct pair *p)
{
	uint64_t until = p->roll.keep_until, now = p->core->now;
	char text[UNITS_TEXT_MAX];

	if (!roll_on(p) || now >= until)
		return roll_on(p);
	pair_reason(p, "in sync, and not rolling: what it misses cannot be staged there (the log on %s says why); next try "
		    "in %s", p->peer->name, units_format_duration(until - now, text));
	return false;
}

int64_t roll_age(const struct pair *p)
{
	if (!roll_on(p) || !p->roll.equal_at)
		return -1;
	return (int64_t)(p->core->now - p->roll.equal_at);
}

int64_t roll_behind(const struct pair *p)
{
	if (!roll_on(p))
		return -1;
	return (int64_t)((p->mine.slot_dirty_blocks << REPL_BLOCK_SHIFT) + p->roll.sent);
}

uint64_t roll_worst(const struct pair *p)
{
	const struct rolling *r = &p->roll;
	uint64_t minute = p->core->now / ROLL_MINUTE, worst = roll_age(p) > 0 ? (uint64_t)roll_age(p) : 0;

	for (uint64_t i = 0; i < ROLL_MINUTES; i++)
		if (r->minute + ROLL_MINUTES > minute + i && r->minute >= i &&
		    r->worst[(r->minute - i) % ROLL_MINUTES] > worst)
			worst = r->worst[(r->minute - i) % ROLL_MINUTES];
	return worst;
}
