/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two nodes meet: who copies from whom.  A pure function of what each says of its
 * copy; both sides compute it from the same two descriptions and get mirror images.
 * docs/PROTOCOL.md prints the table.  A verdict clears no bit: it only says whose
 * blocks settle the doubts of both.
 */
#ifndef REPL_AGENT_VERDICT_H
#define REPL_AGENT_VERDICT_H

#include <stdbool.h>

#include "copy.h"

enum verdict_kind {
	VERDICT_WAIT,		/* neither is consistent, or only the one that stood still: somebody must begin */
	VERDICT_EQUAL_LEAD,	/* nothing to copy; I lead the join */
	VERDICT_EQUAL_FOLLOW,
	VERDICT_LEAD,		/* my blocks, by the union of both maps */
	VERDICT_FOLLOW,
	VERDICT_LEAD_FULL,	/* my blocks, all of them */
	VERDICT_FOLLOW_FULL,
	VERDICT_SPLIT,		/* both wrote alone: a person decides */
	VERDICT_UNRELATED,	/* two different volumes */
	VERDICT_REFUSE,		/* related, but not now: verdict.why says what is in the way */
};

struct verdict {
	enum verdict_kind kind;
	char why[240];		/* the rule that decided */
};

/**
 * verdict - judge two copies
 * @lower: this node's public key is the lower one: the last tie breaker
 */
void verdict(struct verdict *out, const struct copy *mine, const struct copy *theirs, bool lower);

/* What a person has decided about a split: between these two generations, and no others. */
struct resolution {
	struct repl_id keep;
	struct repl_id discard;
};

/**
 * verdict_resolve - a split becomes what a person has decided
 *
 * @out says VERDICT_SPLIT, of the same two copies; it stays so when the decision is
 * not about them.  By map when both maps speak about the other copy: what differs is then
 * in one of them.
 */
void verdict_resolve(struct verdict *out, const struct resolution *r, const struct copy *mine,
		     const struct copy *theirs);

/** verdict_is_split - both were written alone, whatever else may be in the way */
bool verdict_is_split(const struct copy *mine, const struct copy *theirs);

/** verdict_speaks - whether the map that @of keeps is about the copy @about */
bool verdict_speaks(const struct copy *of, const struct copy *about);

/** verdict_common - the newest generation that both went through; zero: none is known */
struct repl_id verdict_common(const struct copy *mine, const struct copy *theirs);

/** verdict_went_on - whether a copy, consistent or not, went on where another stands still */
bool verdict_went_on(const struct copy *c, const struct copy *than);

/**
 * verdict_newer - the same of two consistent copies
 *
 * Also when something else keeps them from catching up, such as a mistake in a file.
 */
bool verdict_newer(const struct copy *c, const struct copy *than);

/** verdict_mirror - what the other side gets */
enum verdict_kind verdict_mirror(enum verdict_kind kind);

/** verdict_name - in words, for status and log */
const char *verdict_name(enum verdict_kind kind);

static inline bool verdict_leads(enum verdict_kind kind)
{
	return kind == VERDICT_EQUAL_LEAD || kind == VERDICT_LEAD || kind == VERDICT_LEAD_FULL;
}

static inline bool verdict_follows(enum verdict_kind kind)
{
	return kind == VERDICT_EQUAL_FOLLOW || kind == VERDICT_FOLLOW ||
	       kind == VERDICT_FOLLOW_FULL;
}

static inline bool verdict_full(enum verdict_kind kind)
{
	return kind == VERDICT_LEAD_FULL || kind == VERDICT_FOLLOW_FULL;
}

static inline bool verdict_equal(enum verdict_kind kind)
{
	return kind == VERDICT_EQUAL_LEAD || kind == VERDICT_EQUAL_FOLLOW;
}

#endif /* REPL_AGENT_VERDICT_H */
