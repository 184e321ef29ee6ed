/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer in rolling mode: it never gets a link, but an epoch each interval.  Its copy is this
 * one as it was a moment ago, always consistent, and how old it is is known.  lead.c ends the
 * epochs; here is when, and how large a part of one may be read while writes wait.
 *
 * A peer that cannot stage would be without a consistent copy for as long as what it lacks is
 * applied as it comes, each interval anew.  So it is in sync, and tried again after minutes.
 *
 * What an epoch is short of, it is late by: what was written since the last one goes in passes,
 * while writes go on, until the rest is small enough to be read under the freeze.  It is sent
 * when the freeze is over, so a slow link holds up no writer.
 */
#ifndef REPL_AGENT_ROLL_H
#define REPL_AGENT_ROLL_H

#include "core.h"

/* What a leader does next with a follower that stages. */
enum roll_step {
	ROLL_NOT,		/* it is not rolling: join */
	ROLL_WAIT,		/* nothing, before pair->timer */
	ROLL_PASS,
	ROLL_EPOCH,
};

/** roll_on - this node is primary, and the peer shall be rolling */
bool roll_on(const struct pair *p);

/** roll_set - how it is to be: an epoch each @interval_ms; 0: in sync.  Then core_get(). */
void roll_set(struct pair *p, uint32_t interval_ms);

/** roll_snapshot - it leads: waits for the next epoch no longer than it has to by now */
void roll_snapshot(struct pair *p);

/** roll_running - it is: as leader, or as follower, since its last session began */
bool roll_running(const struct pair *p);

/** roll_equal - the peer's copy is this one now */
void roll_equal(struct pair *p);

/** roll_sent - a pass has ended: @bytes more are staged there, and no longer dirty here */
void roll_sent(struct pair *p, uint64_t bytes);

/** roll_following - the peer follows: what it had of this copy it has still, or gives up */
void roll_following(struct pair *p);

/** roll_next - between two passes, the snapshot fresh */
enum roll_step roll_next(struct pair *p);

/** roll_begins - an epoch is about to be frozen: the peer's copy will not be newer than now */
void roll_begins(struct pair *p);

/** roll_late - its freeze did not last */
void roll_late(struct pair *p);

/** roll_done - the peer has it, and that is recorded */
void roll_done(struct pair *p);

/** roll_joined - the peer has got a link, for it could not stage */
void roll_joined(struct pair *p);

/** roll_unlinks - the pair is live, and is to be rolling instead; if not yet, status says why */
bool roll_unlinks(struct pair *p);

/** roll_age - Return: milliseconds since the peer's copy was equal to this one; -1: not known */
int64_t roll_age(const struct pair *p);

/** roll_behind - Return: bytes that the peer's copy lacked at the last snapshot, at most; -1: not known */
int64_t roll_behind(const struct pair *p);

/** roll_worst - Return: the oldest it has been in the last hour, milliseconds */
uint64_t roll_worst(const struct pair *p);

#endif /* REPL_AGENT_ROLL_H */
