// SPDX-License-Identifier: GPL-2.0-only
/* See lower.h for who holds what. */
#include <linux/blkdev.h>
#include "lower.h"

/**
 * lower_init() - be ready to go down
 * @lower: to fill in
 * @upper: as it came from the block layer
 * @clones: where a clone is taken from
 * @gfp: for that
 *
 * Context: as @gfp says.
 * Return: false without memory.
 */
bool lower_init(struct lower *lower, struct bio *upper, struct bio_set *clones, gfp_t gfp)
{
	lower->upper = upper;
	lower->clone = NULL;
	if (likely(!bio_flagged(upper, BIO_CHAIN)))
		return true;
	lower->clone = bio_alloc_clone(upper->bi_bdev, upper, gfp, clones);
	return lower->clone;
}

/**
 * lower_drop() - it was not submitted, and will not be
 * @lower: the upper bio stays as it is
 */
void lower_drop(struct lower *lower)
{
	if (unlikely(lower->clone))
		bio_put(lower->clone);
}

static void upper_done(struct bio *upper)
{
	struct lower *lower = upper->bi_private;

	/* What counts requests by its flags must not find the device again that has done so. */
	upper->bi_bdev = lower->bdev;
	upper->bi_end_io = lower->end_io;
	upper->bi_private = lower->private;
	lower->done(lower, upper->bi_status);
}

static void clone_done(struct bio *clone)
{
	struct lower *lower = clone->bi_private;

	lower->done(lower, clone->bi_status);
}

/**
 * lower_submit() - send it down
 * @lower: from lower_init()
 * @bdev: where to
 * @without: flags that it loses
 * @done: called once, in any context, with what became of it
 *
 * Context: ->submit_bio, or may sleep.
 */
void lower_submit(struct lower *lower, struct block_device *bdev, blk_opf_t without,
		  void (*done)(struct lower *lower, blk_status_t status))
{
	struct bio *bio = lower->clone;

	lower->done = done;
	if (likely(!bio)) {
		bio = lower->upper;
		lower->bdev = bio->bi_bdev;
		lower->end_io = bio->bi_end_io;
		lower->private = bio->bi_private;
		bio->bi_end_io = upper_done;
		/* The lower device's group has not accounted for it. */
		bio_clear_flag(bio, BIO_CGROUP_ACCT);
	} else {
		bio->bi_end_io = clone_done;
	}
	bio->bi_private = lower;
	bio->bi_opf &= ~without;
	bio_set_dev(bio, bdev);
	submit_bio_noacct(bio);
}

/**
 * lower_end() - complete the upper bio
 * @upper: it was not submitted, or is back
 * @clone: of struct lower, which may be gone
 * @status: for it
 *
 * Context: any.
 */
void lower_end(struct bio *upper, struct bio *clone, blk_status_t status)
{
	if (likely(!clone)) {
		upper->bi_status = status;
	} else {
		bio_put(clone);
		/* It ends in its chain's last piece, and has the others' errors by now. */
		if (status)
			upper->bi_status = status;
	}
	bio_endio(upper);
}
