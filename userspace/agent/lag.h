/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A rolling peer that does not keep up, and one that is away does not: its copy grows old, and
 * with this node all is lost that was written since.  How old it may become a person has said
 * (lag-bound); when it is older people are told, once, and again when that is over.
 *
 * Of a copy that has no known age, since this agent has just begun, it is told when it must be
 * too old: when the agent has looked for so long and there was no epoch.
 */
#ifndef REPL_AGENT_LAG_H
#define REPL_AGENT_LAG_H

#include "core.h"

/** lag_set - what the volume's file says. @bound_ms: 0: ten intervals and ten seconds */
void lag_set(struct pair *p, uint32_t bound_ms);

/** lag_snapshot - the snapshot is fresh, and the volume's pairs have looked at it */
void lag_snapshot(struct volume *v);

/** lag_tick - ->look_at may have come */
void lag_tick(struct pair *p);

/** lag_given_up - the peer's copy is consistent no more: it is not this one, whatever is dirty */
void lag_given_up(struct pair *p);

/** lag_bound - Return: milliseconds */
uint64_t lag_bound(const struct pair *p);

/** lag_words - why people are told of it */
void lag_words(const struct pair *p, char *text, size_t size);

#endif /* REPL_AGENT_LAG_H */
