// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a write:
 *
 *   submit	  The gate is shut, a region is not logged yet, or a write in flight
 *		  overlaps and must not be
 *		  overtaken on the way to a peer: parked as a bio, and request_resume()
 *		  tries again.  So is what would change a block that a frozen cut's reader
 *		  has not read (cut.c).  Nothing is waited for inside submit_bio.
 *   sample	  Under io_lock, once: for every slot exactly one of a leg on its live
 *		  link, or its bits.  From here to "done" a bit or a leg stands for
 *		  the write, whatever happens to links meanwhile.
 *   local	  The bio itself goes to the backing device (lower.h).
 *   done	  Local and all legs have ended.  A leg that was lost with its link
 *		  has set its bits by then (link_teardown()); the write is held until
 *		  the gate opens, that is until the new generation is durable.
 *   end	  The upper bio completes.
 *
 * Who holds a request: its ->pending counts the local write and each leg.  Who
 * drops the last one owns it, and no lock is needed to look at it then.  A leg
 * reads the pages of the upper bio, which therefore must not end before
 * the link has let go of the leg: that is what leg->done means.
 *
 * Writes are tracked for overlaps only while a link is live: without one no order
 * between copies can be hurt, and a link is adopted only when no write is in
 * flight.
 *
 * A local write that failed is good if a peer has it and the volume goes on without its
 * disk (detach.h): it is held like one whose peer was lost.
 */
#include <linux/blkdev.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "cut.h"
#include "detach.h"
#include "gate.h"
#include "log.h"
#include "netlink.h"
#include "request.h"
#include "share.h"
#include "slot.h"

enum { REQUESTS_RESERVED = 64 };

static bool is_flush(const struct bio *bio)
{
	return !bio_sectors(bio);
}

static bool is_zero(const struct bio *bio)
{
	return bio_op(bio) == REQ_OP_DISCARD || bio_op(bio) == REQ_OP_WRITE_ZEROES;
}

static void request_end(struct request *req)
{
	struct bio *upper = req->upper, *clone = req->lower.clone;
	blk_status_t status = req->status;

	if (!req->flush)
		compat_account_end(upper, req->range.last - req->range.start + 1, req->started);
	pool_put(&req->volume->requests, req);
	lower_end(upper, clone, status);
}

/*
 * All legs and the local write have ended: nobody else knows @req, but the range tree.
 * Return: false when it has to wait for the gate.
 */
static bool request_done(struct volume *v, struct request *req)
{
	bool held, doubtful, late;

	lockdep_assert_held(&v->io_lock);
	if (req->tracked)
		range_release(v, &req->range);
	if (req->logged)
		log_leave(v, req->period);
	/* It may have come behind a flush of the module's own, which was told of the lost cache. */
	late = op_is_flush(req->upper->bi_opf) && (v->failing || (v->gate & REPL_GATE_DISK));
	doubtful = req->lost || req->status || late;
	if ((req->status && v->diskless) || req->remote)
		req->status = req->acked ? BLK_STS_OK : BLK_STS_IOERR;
	if (doubtful && v->failing)
		req->status = BLK_STS_IOERR;
	held = doubtful && !req->status && (v->gate & GATE_GENERATION) && !v->failing;
	if (held)
		list_add_tail(&req->sample.entry, &v->held);
	else if (!--v->in_flight)
		wake_up_all(&v->quiet);
	return !held;
}

static void request_put(struct request *req)
{
	struct volume *v = req->volume;
	unsigned long flags;
	bool ended;

	if (!atomic_dec_and_test(&req->pending))
		return;
	spin_lock_irqsave(&v->io_lock, flags);
	ended = request_done(v, req);
	spin_unlock_irqrestore(&v->io_lock, flags);
	if (ended)
		request_end(req);
}

static void request_leg_done(struct leg *leg, enum leg_end end)
{
	struct request *req = leg->owner;

	/* Only ever set, and read after the last put: no lock. */
	if (end == LEG_LOST)
		WRITE_ONCE(req->lost, true);
	else
		WRITE_ONCE(req->acked, true);
	request_put(req);
}

/* The backing device has failed a write, or a flush: the copies may differ. */
static void request_broken(struct request *req)
{
	struct volume *v = req->volume;

	volume_count(v, REPL_C_ERRORS, 1);
	/* What the device's cache has lost with a flush, or with a write's own, may be anything. */
	if (op_is_flush(req->upper->bi_opf))
		detach_failed(v, 0, v->size);
	else
		detach_failed(v, (u64)req->range.start << SECTOR_SHIFT,
				      (u64)(req->range.last - req->range.start + 1) << SECTOR_SHIFT);
}

/* Any context, interrupts included. */
static void request_local_done(struct request *req, blk_status_t status)
{
	struct volume *v = req->volume;
	bool ended = false;
	unsigned long flags;

	req->status = status;
	if (unlikely(status))
		request_broken(req);
	spin_lock_irqsave(&v->io_lock, flags);
	if (!req->flush) {
		list_del(&req->sample.entry);
		if (!list_empty(&v->drains))
			drain_check(v);
	}
	if (atomic_dec_and_test(&req->pending))
		ended = request_done(v, req);
	spin_unlock_irqrestore(&v->io_lock, flags);
	if (ended)
		request_end(req);
}

static void request_lower_done(struct lower *lower, blk_status_t status)
{
	request_local_done(container_of(lower, struct request, lower), status);
}

static void request_zero(struct work_struct *work)
{
	struct request *req = container_of(work, struct request, zero);
	int err = backing_zero(&req->volume->data, (u64)req->range.start << SECTOR_SHIFT,
			       (u64)(req->range.last - req->range.start + 1) << SECTOR_SHIFT,
			       bio_op(req->upper) == REQ_OP_DISCARD ||
			       !(req->upper->bi_opf & REQ_NOUNMAP));

	if (!err && (req->upper->bi_opf & REQ_FUA))
		err = blkdev_issue_flush(req->volume->data.bdev);
	request_local_done(req, errno_to_blk_status(err));
}

static void request_leg_fill(struct request *req, struct leg *leg)
{
	const struct bio *bio = req->upper;

	leg->owner = req;
	leg->done = request_leg_done;
	leg->offset = (u64)req->range.start << SECTOR_SHIFT;
	leg->length = bio->bi_iter.bi_size;
	leg->flags = (bio->bi_opf & REQ_FUA ? REPL_FF_FUA : 0);
	leg->bio = NULL;
	leg->data = NULL;
	if (is_flush(bio)) {
		leg->type = REPL_FRAME_FLUSH;
		leg->offset = 0;
		leg->flags = 0;
	} else if (is_zero(bio)) {
		leg->type = REPL_FRAME_ZEROES;
		if (bio_op(bio) == REQ_OP_DISCARD || !(bio->bi_opf & REQ_NOUNMAP))
			leg->flags |= REPL_FF_UNMAP;
	} else {
		leg->type = REPL_FRAME_WRITE;
		leg->flags |= (bio->bi_opf & REQ_PREFLUSH ? REPL_FF_PREFLUSH : 0) |
			      (bio->bi_opf & REQ_SYNC ? REPL_FF_SYNC : 0);
		leg->bio = req->upper;
		leg->iter = bio->bi_iter;
	}
}

/*
 * Not each live peer was asked, and so nobody knows who has this.  No link stays, what was sent
 * over them becomes dirty, as does this for all; and it is held until that is a new generation.
 */
static void request_distrust(struct volume *v, struct request *req, u64 offset)
{
	unsigned int i;

	lockdep_assert_held(&v->io_lock);
	slot_end_links(v, "a write has missed a live peer");
	req->lost = true;
	for (i = 0; i < v->slots && !req->flush; i++)
		if (v->slot[i].kind)
			slot_mark(v, &v->slot[i], offset, req->upper->bi_iter.bi_size);
}

/* Exactly one of leg and bits for every slot, and the write's place in the order. */
static void request_sample(struct volume *v, struct request *req)
{
	u64 offset = (u64)req->range.start << SECTOR_SHIFT;
	unsigned long used;

	lockdep_assert_held(&v->io_lock);
	v->in_flight++;
	req->remote = v->diskless && !v->replacing;
	if (!req->flush) {
		req->sample.number = ++v->sampled;
		req->logged = v->log.on;
		if (req->logged)
			req->period = log_enter(v, offset, req->upper->bi_iter.bi_size);
		list_add_tail(&req->sample.entry, &v->writes);
		if (v->live) {
			range_claim(v, &req->range);
			req->tracked = true;
		}
	}
	for (used = v->used; used; used &= used - 1) {
		struct slot *slot = &v->slot[__ffs(used)];

		if (slot->link) {
			struct leg *leg = &req->leg[req->legs++];

			request_leg_fill(req, leg);
			atomic_inc(&req->pending);
			link_queue(slot->link, leg);
		} else if (!req->flush) {
			slot_mark(v, slot, offset, req->upper->bi_iter.bi_size);
		}
	}
	if (WARN_ON_ONCE(req->legs != v->live))
		request_distrust(v, req, offset);
}

enum passage { GO, PARK, WAIT, FAIL };

/*
 * In the step in which it would be sampled: WAIT when the reader of a cut has to read first, and
 * @req->upper is its release's to start again.
 */
static enum passage request_wait(struct volume *v, const struct request *req)
{
	u64 offset = (u64)req->range.start << SECTOR_SHIFT;
	u32 length = req->upper->bi_iter.bi_size;
	struct cut_wait *wait;

	lockdep_assert_held(&v->io_lock);
	/* A flush is about writes that were answered. */
	if (is_flush(req->upper) || !cut_holds(v, offset, length))
		return GO;
	if (req->upper->bi_opf & REQ_NOWAIT)
		return PARK;
	wait = kmalloc(sizeof(*wait), GFP_ATOMIC | __GFP_NOWARN);
	if (!wait) {
		cut_give_up(v, offset, length);
		return GO;
	}
	wait->bio = req->upper;
	cut_wait(v, wait, offset, length, U32_MAX);
	return WAIT;
}

static enum passage request_try(struct volume *v, struct request *req)
{
	lockdep_assert_held(&v->io_lock);
	if (unlikely(!v->primary || v->failing))
		return FAIL;
	if (unlikely(v->gate))
		return PARK;
	if (!req->flush &&
	    unlikely(!log_covers(v, (u64)req->range.start << SECTOR_SHIFT, req->upper->bi_iter.bi_size))) {
		log_want(v, (u64)req->range.start << SECTOR_SHIFT, req->upper->bi_iter.bi_size);
		return PARK;
	}
	if (!req->flush && range_busy(v, &req->range)) {
		v->overlap_waits = true;
		return PARK;
	}
	if (unlikely(v->frozen)) {
		enum passage passage = request_wait(v, req);

		if (passage != GO)
			return passage;
	}
	request_sample(v, req);
	return GO;
}

static void request_local(struct request *req)
{
	if (unlikely(req->remote)) {
		request_local_done(req, BLK_STS_OK);
		return;
	}
	if (is_zero(req->upper)) {
		INIT_WORK(&req->zero, request_zero);
		queue_work(req->volume->zeroing, &req->zero);
		return;
	}
	/* A local "would block" or polling would look like a dead disk. */
	lower_submit(&req->lower, req->volume->data.bdev, REQ_NOWAIT | REQ_POLLED,
		     request_lower_done);
}

static struct request *request_alloc(struct volume *v, struct bio *bio)
{
	gfp_t gfp = bio->bi_opf & REQ_NOWAIT ? GFP_NOWAIT | __GFP_NOWARN : GFP_NOIO;
	struct request *req = pool_get(&v->requests, gfp);

	if (!req)
		return NULL;
	if (!lower_init(&req->lower, bio, &v->write_clones, gfp)) {
		pool_put(&v->requests, req);
		return NULL;
	}
	req->volume = v;
	req->upper = bio;
	req->range.start = bio->bi_iter.bi_sector;
	req->range.last = req->range.start + max(bio_sectors(bio), 1u) - 1;
	atomic_set(&req->pending, 1);
	req->flush = is_flush(bio);
	req->tracked = false;
	req->lost = false;
	req->acked = false;
	req->remote = false;
	req->logged = false;
	req->status = BLK_STS_OK;
	req->legs = 0;
	return req;
}

static void request_count(struct volume *v, const struct bio *bio)
{
	if (is_zero(bio)) {
		volume_count(v, REPL_C_ZEROES, 1);
	} else if (!is_flush(bio)) {
		volume_count(v, REPL_C_WRITES, 1);
		volume_count(v, REPL_C_WRITE_BYTES, bio->bi_iter.bi_size);
	}
	if (op_is_flush(bio->bi_opf))
		volume_count(v, REPL_C_FLUSHES, 1);
}

/*
 * Try once.  Return: false when it must wait and is the caller's to park; else
 * it is under way, waits for the reader of a cut, or has failed.
 */
static bool request_start(struct volume *v, struct bio *bio)
{
	enum passage passage;
	struct request *req;
	unsigned long flags;

	/* Looked at again under the lock; here because the device may be closed already. */
	if (unlikely(!READ_ONCE(v->primary) || READ_ONCE(v->failing))) {
		bio_io_error(bio);
		return true;
	}
	req = request_alloc(v, bio);
	if (!req) {
		bio_wouldblock_error(bio);
		return true;
	}
	spin_lock_irqsave(&v->io_lock, flags);
	passage = request_try(v, req);
	spin_unlock_irqrestore(&v->io_lock, flags);
	if (passage == GO) {
		request_count(v, bio);
		if (!req->flush)
			req->started = compat_account_start(bio);
		request_local(req);
		return true;
	}
	lower_drop(&req->lower);
	pool_put(&v->requests, req);
	if (passage == FAIL)
		bio_io_error(bio);
	return passage != PARK;
}

static void request_park(struct volume *v, struct bio *bio)
{
	unsigned long flags;
	bool now;

	if (bio->bi_opf & REQ_NOWAIT) {
		bio_wouldblock_error(bio);
		return;
	}
	spin_lock_irqsave(&v->io_lock, flags);
	if (!v->primary || v->failing) {
		spin_unlock_irqrestore(&v->io_lock, flags);
		bio_io_error(bio);
		return;
	}
	if (v->gate)
		volume_count(v, REPL_C_GATE_WAITS, 1);
	else if (v->overlap_waits)
		volume_count(v, REPL_C_OVERLAPS, 1);
	bio_list_add(&v->parked, bio);
	/* What it waits for may have ended since request_try() looked. */
	now = !v->gate && !v->overlap_waits && !v->log.waits;
	spin_unlock_irqrestore(&v->io_lock, flags);
	if (now)
		queue_work(repl_wq, &v->resume);
}

/**
 * request_submit() - take a write from the block layer
 * @v: the volume
 * @bio: a write, flush, discard or write-zeroes, within the disk's limits
 *
 * Context: ->submit_bio; waits for nothing but memory.
 */
void request_submit(struct volume *v, struct bio *bio)
{
	if (!request_start(v, bio))
		request_park(v, bio);
}

/* Moves those of writes that do not wait for the reader of a cut any more. */
static void bios_of(struct list_head *waits, struct bio_list *list)
{
	struct cut_wait *wait, *next;

	list_for_each_entry_safe(wait, next, waits, entry) {
		bio_list_add(list, wait->bio);
		kfree(wait);
	}
}

/**
 * request_resume() - let parked writes go on, in order, as far as they can
 * @work: volume->resume
 */
void request_resume(struct work_struct *work)
{
	struct volume *v = container_of(work, struct volume, resume);
	struct bio_list again = BIO_EMPTY_LIST;
	struct bio_list list = BIO_EMPTY_LIST;
	LIST_HEAD(released);
	struct bio *bio;

	share_resume(v);
	spin_lock_irq(&v->io_lock);
	cut_take_released(v, &released);
	bio_list_merge(&list, &v->parked);
	bio_list_init(&v->parked);
	v->overlap_waits = false;
	spin_unlock_irq(&v->io_lock);

	share_again(&released);
	bios_of(&released, &list);
	while ((bio = bio_list_pop(&list)))
		if (!request_start(v, bio))
			bio_list_add(&again, bio);
	if (bio_list_empty(&again))
		return;

	spin_lock_irq(&v->io_lock);
	bio_list_merge_head(&v->parked, &again);
	/* Whoever has failed what was parked since then has not seen these. */
	if (!v->primary || v->failing || (!v->gate && !v->overlap_waits && !v->log.waits))
		queue_work(repl_wq, &v->resume);
	spin_unlock_irq(&v->io_lock);
}

/**
 * request_release_held() - complete what waited for the new generation
 * @v: the volume
 *
 * Nothing, when another loss has shut the gate again: that one's generation is yet to come.
 * Should the gate be open for a loss without one, it is shut again, and a step makes it.
 *
 * Context: process; io_lock not held.
 */
void request_release_held(struct volume *v)
{
	struct request *req, *next;
	LIST_HEAD(list);
	bool failing;

	spin_lock_irq(&v->io_lock);
	failing = v->failing;
	if (!failing && !(v->gate & GATE_GENERATION) && !list_empty(&v->held) &&
	    WARN_ON_ONCE(v->recorded != v->losses)) {
		gate_shut(v, REPL_GATE_PEER_LOST);
		queue_work(v->ops, &v->lost);
	}
	if (failing || !(v->gate & GATE_GENERATION))
		list_splice_init(&v->held, &list);
	list_for_each_entry(req, &list, sample.entry)
		if (!--v->in_flight)
			wake_up_all(&v->quiet);
	spin_unlock_irq(&v->io_lock);

	list_for_each_entry_safe(req, next, &list, sample.entry) {
		if (failing)
			req->status = BLK_STS_IOERR;
		request_end(req);
	}
}

/**
 * request_fail_parked() - end all parked writes with an error
 * @v: the volume; it is failing, or no longer primary
 *
 * Context: process; io_lock not held.
 */
void request_fail_parked(struct volume *v)
{
	struct bio_list list = BIO_EMPTY_LIST;
	struct cut_wait *wait, *next;
	LIST_HEAD(waits);
	struct bio *bio;

	spin_lock_irq(&v->io_lock);
	bio_list_merge(&list, &v->parked);
	bio_list_init(&v->parked);
	list_for_each_entry_safe(wait, next, &v->waiting, entry)
		if (wait->bio)
			list_move_tail(&wait->entry, &waits);
	spin_unlock_irq(&v->io_lock);
	bios_of(&waits, &list);
	while ((bio = bio_list_pop(&list)))
		bio_io_error(bio);
}

/**
 * request_init_volume() - the volume's own reserve of requests
 * @v: nobody else knows it yet
 *
 * One for each volume: those that a freeze holds must not starve another volume.
 *
 * Context: may sleep.
 */
int request_init_volume(struct volume *v)
{
	int err = bioset_init(&v->write_clones, REQUESTS_RESERVED, 0, 0);

	return err ?: pool_init(&v->requests, REQUESTS_RESERVED, sizeof(struct request));
}

/**
 * request_exit_volume() - free it
 * @v: no request is left; request_init_volume() may have failed
 */
void request_exit_volume(struct volume *v)
{
	pool_exit(&v->requests);
	bioset_exit(&v->write_clones);
}
