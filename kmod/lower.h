/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What goes down to the backing device for an upper bio: that bio itself, its end taken
 * over until it is back; or a clone, when the upper bio is one of a chain.  The end of
 * such a one tells of the others in its chain, too, which may wait for what waits for it.
 *
 * Who holds it: whoever has the upper bio, from lower_init() to lower_end(), and between
 * lower_submit() and ->done() the block layer.
 */
#ifndef REPL_LOWER_H
#define REPL_LOWER_H

#include <linux/bio.h>

struct lower {
	struct bio *upper;
	struct bio *clone;		/* NULL: ->upper goes down itself */
	void (*done)(struct lower *lower, blk_status_t status);
	/* What ->upper had, while it is down. */
	struct block_device *bdev;
	bio_end_io_t *end_io;
	void *private;
};

bool lower_init(struct lower *lower, struct bio *upper, struct bio_set *clones, gfp_t gfp);
void lower_drop(struct lower *lower);
void lower_submit(struct lower *lower, struct block_device *bdev, blk_opf_t without,
		  void (*done)(struct lower *lower, blk_status_t status));
void lower_end(struct bio *upper, struct bio *clone, blk_status_t status);

#endif /* REPL_LOWER_H */
