/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Cuts, and writes that wait until the reader of a frozen one has read what they would
 * change.  See cut.c.
 */
#ifndef REPL_CUT_H
#define REPL_CUT_H

#include "volume.h"

/* A write that is not sampled yet, on volume->waiting.  Guarded by volume->io_lock. */
struct cut_wait {
	struct list_head entry;
	u64 first, last;	/* blocks */
	u64 since;		/* ktime_get_ns() */
	u32 patience_ms;	/* longest that it can wait, whatever a cut's limit is */
	struct bio *bio;	/* the application's, and this is kmalloc()ed; NULL: an apply's own */
};

int cut_create(struct volume *v, u8 index, u32 flags, u32 hold_ms, struct why *why);
u64 cut_blocks(const struct cut *cut);
void cut_join_page(const struct cut *cut, unsigned long index, void *bytes);

bool cut_holds(const struct volume *v, u64 offset, u64 length);
void cut_wait(struct volume *v, struct cut_wait *wait, u64 offset, u64 length, u32 patience_ms);
void cut_give_up(struct volume *v, u64 offset, u64 length);
void cut_void(struct cut *cut);
void cut_take_released(struct volume *v, struct list_head *released);

#endif /* REPL_CUT_H */
