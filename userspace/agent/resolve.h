/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ending a split: a person has decided whose copy is kept.  Part of the core.
 *
 *	who is asked		tells the discarded copy's node: RESOLVE, ASK
 *	the discarded copy	RESOLVE, MAP: asks what the other's map has, and marks that in its own
 *	the kept copy		MAPs
 *	the discarded copy	cuts its map for the other, saves the cut's blocks, lets it go
 *	both			RESOLVE, AGREED: from now on the verdict is a leader
 *	the discarded copy	follows, as after any other verdict
 *
 * Its own map is not enough: what it had sent to the other, who had staged it, it has taken for
 * clean, and the other, who never came to use it, has noted it in its map.
 *
 * The decision is about two generations, and is forgotten with the session.  Until the
 * discarded copy is durably given up (OP_FOLLOW) nothing has happened but that there is a
 * file: whatever fails or dies before leaves the split as it was, to be resolved again.
 * Afterwards only one copy is consistent, and the verdict needs no decision any more.
 */
#ifndef REPL_AGENT_RESOLVE_H
#define REPL_AGENT_RESOLVE_H

#include "core.h"

/** resolve_judge - @p->verdict is fresh: a decision that is in force enters it */
void resolve_judge(struct pair *p);

/** resolve_heard - a RESOLVE; @text of @length bytes are its words */
void resolve_heard(struct pair *p, const struct msg_resolve *m, const void *text, size_t length);

/** resolve_following - the discarded copy is given up, durably: this is done */
void resolve_following(struct pair *p);

/** resolve_end - it cannot go on; @fmt says why */
void resolve_end(struct pair *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * resolve_yield - nobody has asked for it, but the volume's file: this copy is the discarded one, and saves
 * Return: 0, or -errno with words: nothing has begun.
 */
int resolve_yield(struct pair *p, struct err *e);

/** resolve_mapped - the kept copy's map is in this one's. Return: false if it is no split's */
bool resolve_mapped(struct pair *p);

bool resolve_saving(const struct pair *p);	/* in one of its phases, on either side */
void resolve_op_done(struct pair *p, enum op_kind kind, const struct op_result *r);
void resolve_changed(struct pair *p);		/* a snapshot, or a STATE, in one of these */
void resolve_progress(struct pair *p, uint64_t bytes);
void resolve_tick(struct pair *p);

#endif /* REPL_AGENT_RESOLVE_H */
