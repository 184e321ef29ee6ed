/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which blocks of two copies differ, though writes go on meanwhile.  Pure.
 *
 * A volume is compared in windows, a window in passes.  A pass lies between two cuts of a
 * mark: both sides read its blocks in between, and the second cut tells which of them were
 * written meanwhile, on either side, since a write sets its bits before it is submitted
 * to any.  Of these nothing is known; they are in the next pass.  A block that was not
 * written and is equal, is done.  One that differs may have been on its way to the peer when
 * the pass began: it is in the next pass, too.  That pass begins behind a barrier: what
 * was sampled before its first cut has been answered before its first read.  A block
 * that differs again, and was not written in either, differs.
 *
 * Blocks that are written all the time are left after some passes.  The last pass is held:
 * writes wait while it reads.  Held or not, what its cut names is not judged.  So a
 * barrier that was missed, or a hold that was too short, makes blocks "not compared", and
 * never a false alarm.
 *
 * Memory: 7 bits for each block of a window, and the ranges that were found.
 */
#ifndef REPL_AGENT_JUDGE_H
#define REPL_AGENT_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum judge_limits {
	JUDGE_WINDOW	= 1 << 18,	/* blocks: 1 GiB */
	JUDGE_PASSES	= 5,		/* of a window, before the one that is held */
	JUDGE_HELD	= 512,		/* blocks that the held pass compares: writers wait for it */
	JUDGE_RANGES	= 1024,		/* then they grow to cover what is between, too */
};

/* What was found about a block when both sides had read it. */
enum judge_found {
	JUDGE_DIFFERS	= 1 << 0,	/* the peer's is another than this side's */
	JUDGE_CHANGED	= 1 << 1,	/* this side's is not the one that was stored */
	JUDGE_KNOWN	= 1 << 2,	/* this side's is the one that was stored */
};

/* Which side's block is not what was written last. */
enum judge_side {
	JUDGE_UNKNOWN,		/* they differ, and nothing was stored */
	JUDGE_HERE,
	JUDGE_PEER,
	JUDGE_BOTH,
};

struct judge_range {
	uint64_t block, count;
	enum judge_side side;
};

typedef uint8_t judge_map[JUDGE_WINDOW / 8];

struct judge {
	uint64_t blocks;		/* of the volume */
	uint64_t first, count;		/* of this window */
	unsigned int pass;		/* of this window, from 0 */
	bool held;			/* the pass under way */
	uint64_t todo_count;
	uint64_t candidates;		/* of these: differed in the last pass */
	uint64_t equal, differ, not_compared;	/* blocks; of all windows so far */
	uint64_t passes;		/* of all windows */
	struct judge_range *range;	/* in order */
	size_t ranges;
	bool coarse;			/* some of them hold equal blocks, too */
	judge_map todo, told, wrong, written, candidate, changed, known;
};

/** judge_new - begin with the first window of @blocks blocks. Return: it, or NULL. */
struct judge *judge_new(uint64_t blocks);
void judge_free(struct judge *j);

/** judge_begin - a pass begins; @held: writes wait while it reads */
void judge_begin(struct judge *j, bool held);

/**
 * judge_next - what is to be compared in this pass
 * @at: where to look on from, a block; moved on
 * @most: blocks
 * Return: how many blocks from *@first on; 0: there are no more.
 */
uint64_t judge_next(const struct judge *j, uint64_t *at, uint64_t most, uint64_t *first);

/** judge_told - both sides have read @block, after the pass began; @found: enum judge_found */
void judge_told(struct judge *j, uint64_t block, unsigned int found);

/** judge_written - the cut that ends the pass names these blocks */
void judge_written(struct judge *j, uint64_t block, uint64_t count);

/**
 * judge_end - the cut that ends the pass has been taken in
 * @barrier: all that was sampled before the pass had been answered before it read
 */
void judge_end(struct judge *j, bool barrier);

/** judge_tired - it is time for the held pass */
bool judge_tired(const struct judge *j);

/**
 * judge_leave - end this window: what is left in it is not compared
 * Return: false when it was the last one.
 */
bool judge_leave(struct judge *j);

/** judge_done - blocks that need no more comparing, in all windows */
uint64_t judge_done(const struct judge *j);

#endif /* REPL_AGENT_JUDGE_H */
