// SPDX-License-Identifier: GPL-2.0-only
/*
 * While the new disk is filled the volume stays ->diskless, with all that detach.h says
 * of it: reads come from a live peer, nobody can join, superblocks are only made visible.
 * But from the step that has taken the disk (->replacing) writes go to it, too, and
 * a live peer is copied to it, piece by piece from the first block to the last:
 *
 *   claim	The piece's range enters ->writes_by_range: no write begins there any more.
 *   read	When those that were there have ended: READ over a link, from one live peer,
 *		then the next.
 *   write	To the new disk; then the range is given back.
 *
 * So after its turn a piece is here what it is on every live peer, and stays so.
 *
 * On the new disk lies what mkfs.repl has written, until all is copied: after a crash
 * it is a copy that has never held anything.  Then, with the gate shut and no write in
 * flight, everything is flushed here and on the live peers, the maps are saved, the log is
 * empty, and the superblock in force is written: with that, this is a copy.  It has the
 * id of the one that failed, because what the peers' maps say of that is true of it.  The
 * failed disk, should it come back, is older than the generation in which the peers
 * know the copy of this id.  When it cannot be told whether the superblock got there, the
 * new disk has failed, and a new generation says so.
 *
 * Locks: io_lock for ->replacing and struct replacement; a piece that is PIECE_BUSY belongs
 * to its leg, then to its bio.
 * Life: control makes a replacement and frees it, when no piece is under way.  The
 * devices that failed stay open until the volume is down: a read that they have never
 * answered may still be there.
 */
#include <linux/blk-mq.h>
#include <linux/math64.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include "detach.h"
#include "disk.h"
#include "gate.h"
#include "link.h"
#include "log.h"
#include "meta.h"
#include "netlink.h"
#include "range.h"
#include "replace.h"
#include "role.h"
#include "slot.h"

enum replace_limits {
	PIECES		= 4,		/* under way at a time */
	PIECE_BYTES	= 256 << 10,
	PIECE_PAGES	= PIECE_BYTES >> PAGE_SHIFT,
	STOP_MS		= 2000,		/* for writes in flight to end */
	RATE_MS		= 50,		/* between two looks whether the next piece may begin */
};

enum piece_state { PIECE_IDLE, PIECE_CLAIMED, PIECE_BUSY };

struct piece {
	struct volume *volume;
	enum piece_state state;
	struct span range;
	u32 bytes;
	unsigned int next;		/* the slot to ask next */
	struct leg leg;
	struct bio_vec vec[PIECE_PAGES];
	struct bio bio;			/* last: ->bi_io_vec is ->vec; made for each write */
};

struct replacement {
	u64 begun, done;		/* bytes: claimed so far, copied so far */
	u64 since;			/* ktime_get_ns() */
	u64 rate;			/* bytes per second at most; 0: any number */
	unsigned int busy;		/* pieces that are not idle */
	bool unreadable;		/* on every live peer */
	struct piece *piece[PIECES];
};

struct retired {
	struct retired *next;
	struct backing data, meta;
};

/* ---------------------------------------------------------------- copy -- */

/* Any context, io_lock held. */
static void piece_end(struct volume *v, struct piece *piece)
{
	struct replacement *r = v->replacement;

	lockdep_assert_held(&v->io_lock);
	range_release(v, &piece->range);
	piece->state = PIECE_IDLE;
	r->busy--;
	v->reading--;
	wake_up_all(&v->quiet);
	mod_delayed_work(repl_wq, &v->copy, 0);
}

/**
 * replace_broken() - the new disk has failed
 * @v: the volume, io_lock held; diskless
 *
 * Nothing is written to it from here on.  What is in flight there does not count.
 */
void replace_broken(struct volume *v)
{
	lockdep_assert_held(&v->io_lock);
	if (!v->replacing)
		return;
	v->replacing = false;
	mod_delayed_work(repl_wq, &v->copy, 0);
}

static void piece_written(struct bio *bio)
{
	struct piece *piece = container_of(bio, struct piece, bio);
	struct volume *v = piece->volume;
	blk_status_t status = bio->bi_status;
	unsigned long flags;

	bio_uninit(bio);
	if (status)
		volume_count(v, REPL_C_ERRORS, 1);
	spin_lock_irqsave(&v->io_lock, flags);
	if (status)
		replace_broken(v);
	else
		v->replacement->done += piece->bytes;
	piece_end(v, piece);
	spin_unlock_irqrestore(&v->io_lock, flags);
}

static void piece_write(struct piece *piece)
{
	struct volume *v = piece->volume;
	struct bio *bio = &piece->bio;

	bio_init(bio, v->data.bdev, piece->vec, PIECE_PAGES, REQ_OP_WRITE);
	bio->bi_vcnt = DIV_ROUND_UP(piece->bytes, PAGE_SIZE);
	bio->bi_iter.bi_sector = piece->range.start;
	bio->bi_iter.bi_size = piece->bytes;
	bio->bi_end_io = piece_written;
	submit_bio_noacct(bio);
}

static bool piece_ask(struct volume *v, struct piece *piece);

/* A receiver, or a link's teardown. */
static void piece_read(struct leg *leg, enum leg_end end)
{
	struct piece *piece = leg->owner;
	struct volume *v = piece->volume;
	bool again = false;

	if (end == LEG_OK && READ_ONCE(v->replacing)) {
		piece_write(piece);
		return;
	}
	spin_lock_irq(&v->io_lock);
	if (end != LEG_OK)
		again = piece_ask(v, piece);
	if (!again)
		piece_end(v, piece);
	spin_unlock_irq(&v->io_lock);
}

/* Asks the next live peer.  Return: false when there is none. */
static bool piece_ask(struct volume *v, struct piece *piece)
{
	struct leg *leg = &piece->leg;
	struct link *link = NULL;

	lockdep_assert_held(&v->io_lock);
	while (!link && v->replacing && !v->failing && piece->next < v->slots)
		link = v->slot[piece->next++].link;
	if (!link) {
		v->replacement->unreadable |= v->replacing;
		replace_broken(v);
		return false;
	}
	leg->owner = piece;
	leg->done = piece_read;
	leg->type = REPL_FRAME_READ;
	leg->offset = (u64)piece->range.start << SECTOR_SHIFT;
	leg->length = piece->bytes;
	leg->flags = 0;
	leg->data = NULL;
	leg->bio = &piece->bio;
	leg->iter = (struct bvec_iter){ .bi_size = piece->bytes };
	link_queue(link, leg);
	return true;
}

static bool piece_claim(struct volume *v, struct piece *piece)
{
	struct replacement *r = v->replacement;
	u64 ms = div_u64(ktime_get_ns() - r->since, NSEC_PER_MSEC);

	lockdep_assert_held(&v->io_lock);
	if (r->begun == v->size ||
	    (r->rate && div64_u64(r->begun * MSEC_PER_SEC, r->rate) > ms))
		return false;
	piece->bytes = min_t(u64, PIECE_BYTES, v->size - r->begun);
	piece->range.start = r->begun >> SECTOR_SHIFT;
	piece->range.last = piece->range.start + (piece->bytes >> SECTOR_SHIFT) - 1;
	piece->next = 0;
	piece->state = PIECE_CLAIMED;
	range_claim(v, &piece->range);
	r->begun += piece->bytes;
	r->busy++;
	/* The devices stay open, and nobody leaves the role. */
	v->reading++;
	return true;
}

/* What can be done with a piece now. */
static void piece_go(struct volume *v, struct piece *piece)
{
	bool going = v->replacing && !v->failing;

	lockdep_assert_held(&v->io_lock);
	if (piece->state == PIECE_IDLE && (!going || !piece_claim(v, piece)))
		return;
	if (piece->state != PIECE_CLAIMED)
		return;
	if (going && !range_alone(v, &piece->range)) {
		v->copy_waits = true;
		return;
	}
	piece->state = PIECE_BUSY;
	if (!going || !piece_ask(v, piece))
		piece_end(v, piece);
}

/* Whoever has ended a piece, or what a piece waited for, calls it. */
static void copy(struct work_struct *work)
{
	struct volume *v = container_of(to_delayed_work(work), struct volume, copy);
	struct replacement *r;
	unsigned int i;

	spin_lock_irq(&v->io_lock);
	r = v->replacement;
	for (i = 0; r && i < PIECES; i++)
		piece_go(v, r->piece[i]);
	if (r && !r->busy && (!v->replacing || v->failing || r->begun == v->size))
		queue_delayed_work(v->ops, &v->settle, 0);
	else if (r && r->rate)
		queue_delayed_work(repl_wq, &v->copy, msecs_to_jiffies(RATE_MS));
	spin_unlock_irq(&v->io_lock);
}

/* ------------------------------------------------------------- control -- */

static void piece_free(struct piece *piece)
{
	unsigned int i;

	for (i = 0; piece && i < PIECE_PAGES; i++)
		if (piece->vec[i].bv_page)
			__free_page(piece->vec[i].bv_page);
	kfree(piece);
}

static struct piece *piece_alloc(struct volume *v)
{
	struct piece *piece = kzalloc(sizeof(*piece), GFP_KERNEL);
	unsigned int i;

	if (!piece)
		return NULL;
	piece->volume = v;
	/* A READ looks at the pages only. */
	piece->bio.bi_io_vec = piece->vec;
	for (i = 0; i < PIECE_PAGES; i++) {
		struct page *page = alloc_page(GFP_KERNEL);

		if (!page) {
			piece_free(piece);
			return NULL;
		}
		bvec_set_page(&piece->vec[i], page, PAGE_SIZE, 0);
	}
	return piece;
}

static void replacement_free(struct replacement *r)
{
	unsigned int i;

	for (i = 0; r && i < PIECES; i++)
		piece_free(r->piece[i]);
	kfree(r);
}

static struct replacement *replacement_alloc(struct volume *v, u64 rate)
{
	struct replacement *r = kzalloc(sizeof(*r), GFP_KERNEL);
	unsigned int i;

	if (!r)
		return NULL;
	r->rate = rate;
	for (i = 0; i < PIECES; i++) {
		r->piece[i] = piece_alloc(v);
		if (!r->piece[i]) {
			replacement_free(r);
			return NULL;
		}
	}
	return r;
}

/* Nothing is in flight, and no link has died whose bits may still come. */
static bool is_still(struct volume *v)
{
	lockdep_assert_held(&v->io_lock);
	return !v->in_flight && !slot_any_closing(v);
}

/*
 * The gate shut by REPL_GATE_REPLACE, and no write in flight.  One that is held for a
 * generation waits for control, which is here: then there is another time.
 */
static int stop_writes(struct volume *v, u64 *losses, struct why *why)
{
	bool stopped;

	spin_lock_irq(&v->io_lock);
	gate_shut(v, REPL_GATE_REPLACE);
	wait_event_lock_irq_timeout(v->quiet, is_still(v) || v->failing ||
				    (v->gate & GATE_GENERATION), v->io_lock,
				    msecs_to_jiffies(STOP_MS));
	stopped = is_still(v) && !v->failing && !(v->gate & GATE_GENERATION);
	*losses = v->losses;
	if (!stopped)
		gate_open(v, REPL_GATE_REPLACE);
	spin_unlock_irq(&v->io_lock);
	return stopped ? 0 : why_set(why, -EAGAIN,
				     "%s: writes in flight have not ended: try again", v->name);
}

static void let_writes_go(struct volume *v)
{
	spin_lock_irq(&v->io_lock);
	gate_open(v, REPL_GATE_REPLACE);
	spin_unlock_irq(&v->io_lock);
}

/* Flushed here and on the live peers, and the maps on the new disk.  -EAGAIN: not now. */
static int save(struct volume *v, bool yield, struct why *why)
{
	int err = role_flush_live(v, why);

	if (err)
		return READ_ONCE(v->replacing) ? -EAGAIN : err;
	return meta_checkpoint(v, yield, why);
}

/* Whose link has died since has perhaps not flushed, and its bits may have come too late. */
static bool lost_since(struct volume *v, u64 losses)
{
	bool lost;

	spin_lock_irq(&v->io_lock);
	lost = v->losses != losses;
	spin_unlock_irq(&v->io_lock);
	return lost;
}

static void touch_maps(struct volume *v)
{
	unsigned int i;

	spin_lock_irq(&v->io_lock);
	for (i = 0; i < v->slots; i++)
		slot_touch_map(v, &v->slot[i], &v->slot[i].map);
	spin_unlock_irq(&v->io_lock);
}

/* The instant: the gate is shut, no write is in flight, and all is on stable media. */
static int take(struct volume *v, struct why *why)
{
	int err = meta_settle(v, why);

	spin_lock_irq(&v->io_lock);
	v->replacing = false;
	if (err) {
		detach_begin(v);
	} else if (v->failing) {
		/* The last live peer went at this moment: the copy is complete, the volume has failed. */
		err = -EIO;
	} else {
		WRITE_ONCE(v->diskless, false);
		v->broken = false;
		log_begin(v);
	}
	gate_open(v, REPL_GATE_REPLACE);
	spin_unlock_irq(&v->io_lock);
	return err;
}

/*
 * All is copied.  Most is saved while writes go on, the rest with the gate shut.  Return:
 * -EAGAIN when it has to be tried again, another error when the disk has failed.
 */
static int settle(struct volume *v, struct why *why)
{
	u64 losses;
	int err;

	touch_maps(v);
	err = save(v, true, why);
	if (!err)
		err = stop_writes(v, &losses, why);
	if (err)
		return err;
	/* A write that was in flight may have failed here. */
	err = READ_ONCE(v->replacing) ? save(v, false, why) : -EIO;
	if (!err)
		err = log_reset(v, why);
	if (!err && lost_since(v, losses))
		err = -EAGAIN;
	if (!err)
		return take(v, why);
	let_writes_go(v);
	return err;
}

/* Waits until no piece is under way; nothing is begun any more. */
static void forget(struct volume *v)
{
	struct replacement *r;

	spin_lock_irq(&v->io_lock);
	replace_broken(v);
	r = v->replacement;
	if (r)
		wait_event_lock_irq(v->quiet, !r->busy, v->io_lock);
	v->replacement = NULL;
	spin_unlock_irq(&v->io_lock);
	replacement_free(r);
}

static void settle_step(struct volume *v)
{
	struct why why = {};
	bool going, all, unreadable;
	int err = -EIO;

	if (!v->replacement)
		return;
	spin_lock_irq(&v->io_lock);
	going = v->replacing && !v->failing;
	all = going && v->replacement->done == v->size;
	unreadable = v->replacement->unreadable;
	spin_unlock_irq(&v->io_lock);
	/* Queued by the last moment of the one before this. */
	if (going && !all && !unreadable)
		return;
	if (all)
		err = settle(v, &why);
	if (err == -EAGAIN) {
		queue_delayed_work(v->ops, &v->settle, HZ);
		return;
	}
	forget(v);
	if (err)
		netlink_event(v, REPL_EVENT_REPLACE, -1,
			      "%pg does not become the copy here: %s%s%s; the volume is as before",
			      v->data.bdev, READ_ONCE(v->failing) ? "no live peer is left" :
			      unreadable ? "a block cannot be read from any live peer" :
			      "it has failed", why.text[0] ? ", " : "", why.text);
	else
		netlink_event(v, REPL_EVENT_REPLACE, -1, "%pg is the copy here, complete",
			      v->data.bdev);
}

static void settle_work(struct work_struct *work)
{
	unsigned int noio = memalloc_noio_save();

	settle_step(container_of(to_delayed_work(work), struct volume, settle));
	memalloc_noio_restore(noio);
}

/**
 * replace_end() - a replacement under way is given up
 * @v: whose role ends, or whose links have ended
 *
 * The new disk is left as a copy that has never held anything.
 *
 * Context: control; may sleep.
 */
void replace_end(struct volume *v)
{
	if (!v->replacement)
		return;
	forget(v);
	netlink_event(v, REPL_EVENT_REPLACE, -1,
		      "%pg was not filled to the end, and is no copy of the volume", v->data.bdev);
}

/* --------------------------------------------------------------- begin -- */

static int refuse(struct volume *v, struct why *why)
{
	unsigned int i;
	bool cut = false;

	if (!v->primary)
		return why_set(why, -EINVAL,
			       "%s is not primary here: take it down, replace the disk, and it gets a full copy",
			       v->name);
	if (v->replacement)
		return why_set(why, -EBUSY, "%s: %pg is being filled already", v->name, v->data.bdev);
	if (READ_ONCE(v->failing))
		return why_set(why, -EIO,
			       "%s: its I/O fails, there is no live peer to copy from: demote it by force",
			       v->name);
	if (!v->diskless)
		return why_set(why, -EEXIST, "%s: %pg has not failed", v->name, v->data.bdev);
	if ((READ_ONCE(v->gate) & GATE_GENERATION) || work_busy(&v->log.write))
		return why_set(why, -EAGAIN, "%s: a failure is just being dealt with: try again",
			       v->name);
	spin_lock_irq(&v->io_lock);
	for (i = 0; i < v->slots; i++)
		cut |= v->slot[i].cut != NULL;
	spin_unlock_irq(&v->io_lock);
	return cut ? why_set(why, -EBUSY, "%s has an open cut: end it first", v->name) : 0;
}

static int open_one(struct volume *v, struct backing *backing, dev_t devt, struct why *why)
{
	if (disk_is_ours(devt))
		return why_set(why, -EINVAL, "%s: device %u:%u is a replicated volume itself", v->name,
			       MAJOR(devt), MINOR(devt));
	/* The claim is by holder, who may have it twice. */
	if (devt == v->data.bdev->bd_dev || (v->meta.bdev && devt == v->meta.bdev->bd_dev))
		return why_set(why, -EBUSY, "%s: device %u:%u is the one that has failed, or its metadata's",
			       v->name, MAJOR(devt), MINOR(devt));
	return backing_open(backing, devt, v, why);
}

/* What mkfs.repl makes for this volume, and nothing that was ever used. */
static int check_fresh(struct volume *v, const struct backing *data, struct why *why)
{
	const struct repl_super *s = v->next;

	if (le32_to_cpu(s->flags) & (REPL_SB_CONSISTENT | REPL_SB_IDENTITY))
		return why_set(why, -EEXIST, "%s: %pg holds a copy already: mkfs.repl it first",
			       v->name, data->bdev);
	if (le64_to_cpu(s->data_size) != v->size)
		return why_set(why, -EINVAL,
			       "%s has %llu bytes, %pg was made for %llu: mkfs.repl --size %llu",
			       v->name, v->size, data->bdev, le64_to_cpu(s->data_size), v->size);
	if (s->slots != v->slots || s->lbs_shift != v->lbs_shift ||
	    s->region_shift != v->region_shift)
		return why_set(why, -EINVAL,
			       "%s: %pg was made with other parameters: mkfs.repl --slots %u --block-size %u --region-size %u",
			       v->name, data->bdev, v->slots, 1u << v->lbs_shift,
			       1u << v->region_shift);
	/* What the volume's users may hand down was settled when the volume came up. */
	if (bdev_dma_alignment(data->bdev) > queue_dma_alignment(v->disk->queue))
		return why_set(why, -EINVAL,
			       "%s: %pg needs buffers aligned to %u bytes, the volume promises %u: take it down, replace the disk in the configuration, up again",
			       v->name, data->bdev, bdev_dma_alignment(data->bdev) + 1,
			       queue_dma_alignment(v->disk->queue) + 1);
	return 0;
}

/* From here on ->next is where the new disk's metadata lie. */
static int take_in(struct volume *v, const struct op *op, struct retired *fresh, u8 *copy,
		   struct why *why)
{
	const u64 *end = op->u.attach.has_end ? &op->u.attach.meta_end : NULL;
	int err = open_one(v, &fresh->data, op->u.attach.data, why);

	if (!err && op->u.attach.has_meta && op->u.attach.meta == op->u.attach.data)
		err = why_set(why, -EINVAL, "%s: %pg cannot hold the data and be their external metadata",
			      v->name, fresh->data.bdev);
	if (!err && op->u.attach.has_meta)
		err = open_one(v, &fresh->meta, op->u.attach.meta, why);
	if (!err)
		err = meta_find(v, &fresh->data, &fresh->meta, end, copy, why);
	return err ?: check_fresh(v, &fresh->data, why);
}

/*
 * The superblock in force moves to where the new disk's lies.  Its records stay; what is
 * FULL stays it.
 */
static void move_super(struct volume *v, u8 copy)
{
	struct repl_super *s = &v->super, *fresh = v->next;
	__le32 external = cpu_to_le32(REPL_SB_EXTERNAL);

	lockdep_assert_held(&v->super_lock);
	s->sequence = cpu_to_le64(max(le64_to_cpu(s->sequence), le64_to_cpu(fresh->sequence)));
	s->flags = (s->flags & ~external) | (fresh->flags & external);
	s->meta_offset = fresh->meta_offset;
	s->meta_size = fresh->meta_size;
	s->map_bytes = fresh->map_bytes;
	s->log_offset = fresh->log_offset;
	s->log_bytes = fresh->log_bytes;
	v->super_copy = copy;
}

/*
 * Nobody may have looked at the old device and not yet used it: submit_bio is kept empty,
 * and a resume that has begun ends.  The gate is shut and no write in flight.
 */
static int switch_disks(struct volume *v, struct retired *fresh, u8 copy, struct replacement *r,
			struct why *why)
{
	struct request_queue *q = v->disk->queue;
	int err = 0;

	blk_freeze_queue_start(q);
	if (!blk_mq_freeze_queue_wait_timeout(q, msecs_to_jiffies(STOP_MS)))
		err = why_set(why, -EAGAIN, "%s: I/O that is being submitted does not end: try again",
			      v->name);
	flush_work(&v->resume);
	if (!err) {
		mutex_lock(&v->super_lock);
		move_super(v, copy);
		spin_lock_irq(&v->io_lock);
		swap(v->data, fresh->data);
		swap(v->meta, fresh->meta);
		fresh->next = v->retired;
		v->retired = fresh;
		r->since = ktime_get_ns();
		v->replacement = r;
		v->replacing = true;
		spin_unlock_irq(&v->io_lock);
		mutex_unlock(&v->super_lock);
	}
	blk_mq_unfreeze_queue(q);
	/* It may have begun a write of the old device again meanwhile; that finds the gate shut. */
	flush_work(&v->resume);
	return err;
}

static int begin(struct volume *v, const struct op *op, struct retired *fresh,
		 struct replacement *r, struct why *why)
{
	u64 losses;
	int err;
	u8 copy;

	err = take_in(v, op, fresh, &copy, why);
	if (!err)
		err = stop_writes(v, &losses, why);
	if (err)
		return err;
	err = switch_disks(v, fresh, copy, r, why);
	let_writes_go(v);
	return err;
}

/**
 * replace() - REPL_CMD_REPLACE
 * @op: control
 * @why: filled in on error
 *
 * Return: 0 as soon as the new disk is being filled.
 */
int replace(struct op *op, struct why *why)
{
	struct volume *v = op->volume;
	struct replacement *r;
	struct retired *fresh;
	int err = refuse(v, why);

	if (err)
		return err;
	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL);
	r = replacement_alloc(v, op->u.attach.rate);
	if (!fresh || !r)
		err = why_set(why, -ENOMEM, "%s: no memory to fill a disk", v->name);
	else
		err = begin(v, op, fresh, r, why);
	if (err) {
		replacement_free(r);
		if (fresh) {
			backing_close(&fresh->meta);
			backing_close(&fresh->data);
		}
		kfree(fresh);
		return err;
	}
	netlink_event(v, REPL_EVENT_REPLACE, -1, "%pg is being filled from a live peer",
		      v->data.bdev);
	mod_delayed_work(repl_wq, &v->copy, 0);
	return 0;
}

/* ------------------------------------------------------ birth and end -- */

/**
 * replace_view() - how far is the filling of a new disk?
 * @v: the volume, io_lock held
 * @done: bytes
 * @since: ktime_get_ns() when it began
 *
 * Return: false when none is being filled.
 */
bool replace_view(struct volume *v, u64 *done, u64 *since)
{
	lockdep_assert_held(&v->io_lock);
	if (!v->replacement)
		return false;
	*done = v->replacement->done;
	*since = v->replacement->since;
	return true;
}

/**
 * replace_init() - what replace_stop() may be called for
 * @v: nobody else knows it yet
 */
void replace_init(struct volume *v)
{
	INIT_DELAYED_WORK(&v->copy, copy);
	INIT_DELAYED_WORK(&v->settle, settle_work);
}

/**
 * replace_stop() - end both works; the volume goes away
 * @v: not primary, so nothing is being filled
 *
 * Context: control; may sleep.
 */
void replace_stop(struct volume *v)
{
	cancel_delayed_work_sync(&v->copy);
	cancel_delayed_work_sync(&v->settle);
}

/**
 * replace_close_retired() - let go of the devices that were replaced
 * @v: its disk is gone; super_lock held
 */
void replace_close_retired(struct volume *v)
{
	lockdep_assert_held(&v->super_lock);
	while (v->retired) {
		struct retired *old = v->retired;

		v->retired = old->next;
		backing_close(&old->meta);
		backing_close(&old->data);
		kfree(old);
	}
}
