/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A rolling peer that does not keep up, and one that is away does not: its copy grows old, and
 * with this node all is lost that was written since.  How old it may become a person has said
 * (lag-bound), and what happens then (on-lag):
 *
 *	alarm		when it is older people are told, once, and again when that is over
 *	throttle	that, and writes wait: from half of the bound on for a growing share of the
 *			time, at the bound all the time, until the copy is younger again
 *
 * Of a copy that has no known age, since this agent has just begun, it is told when it must be
 * too old: when the agent has looked for so long and there was no epoch.  No write waits for it:
 * a first copy may take hours, and who was promoted since the other node died has no replica.
 *
 * Writes wait behind REPL_GATE_SNAPSHOT, which a verify shuts else, and only of a pair in sync;
 * joins and epochs have a gate of their own, and neither ends the other's freeze.  Each freeze
 * has a deadline, kept by the kernel: an agent that dies lets writes go on within LAG_HOLD, and
 * then nothing bounds the loss.
 */
#ifndef REPL_AGENT_LAG_H
#define REPL_AGENT_LAG_H

#include "core.h"

/** lag_set - what the volume's file says. @bound_ms: 0: ten intervals and ten seconds. Then core_get(). */
void lag_set(struct pair *p, bool throttle, uint32_t bound_ms);

/** lag_snapshot - the snapshot is fresh, and the volume's pairs have looked at it */
void lag_snapshot(struct volume *v);

/** lag_tick - a deadline may have come */
void lag_tick(struct pair *p);

/** lag_given_up - the peer's copy is consistent no more: it is not this one, whatever is dirty */
void lag_given_up(struct pair *p);

/** lag_end - the pair goes, and no write waits for it any more */
void lag_end(struct pair *p);

/** lag_bound - Return: milliseconds */
uint64_t lag_bound(const struct pair *p);

/** lag_share - Return: percent of the time in which writes wait */
unsigned int lag_share(const struct pair *p);

/** lag_words - why people are told of it */
void lag_words(const struct pair *p, char *text, size_t size);

#endif /* REPL_AGENT_LAG_H */
