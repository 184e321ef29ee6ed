// SPDX-License-Identifier: GPL-2.0-only
/* What is noted here at once, in any context, and what control then makes durable. */
#include "cut.h"
#include "detach.h"
#include "gate.h"
#include "log.h"
#include "meta.h"
#include "netlink.h"
#include "replace.h"
#include "slot.h"

/**
 * detach_begin() - from here on the volume goes on without a disk here
 * @v: the volume, io_lock held; primary
 *
 * The gate is shut until a step of control has told the disk and the live peers.
 *
 * Context: any.
 */
void detach_begin(struct volume *v)
{
	lockdep_assert_held(&v->io_lock);
	WRITE_ONCE(v->diskless, true);
	v->broken = true;
	v->detaching = true;
	/* A generation that is being made at this moment does not count: a step follows. */
	v->losses++;
	log_end(v);
	gate_shut(v, REPL_GATE_DISK);
	queue_work(v->ops, &v->lost);
}

/**
 * detach_locked() - a device here has failed: can the volume go on without?
 * @v: the volume, io_lock held
 *
 * If so, it does from here on, and the gate is shut until the peers are told.
 *
 * Context: any.
 * Return: false when there is nobody to go on from, or nothing to go on with.
 */
bool detach_locked(struct volume *v)
{
	lockdep_assert_held(&v->io_lock);
	if (!v->primary || v->failing)
		return false;
	if (v->diskless) {
		replace_broken(v);
		return true;
	}
	if (!v->live)
		return false;
	detach_begin(v);
	return true;
}

static void failed_locked(struct volume *v, u64 offset, u64 length, const char *reason)
{
	unsigned int i;

	lockdep_assert_held(&v->io_lock);
	v->broken = true;
	if (detach_locked(v) || v->diskless)
		return;
	slot_end_links(v, reason);
	for (i = 0; i < v->slots; i++)
		if (v->slot[i].kind)
			slot_mark(v, &v->slot[i], offset, length);
}

/**
 * detach_failed() - a write, or a flush, of a device here has failed
 * @v: the volume
 * @offset: bytes; what may be lost here
 * @length: bytes
 *
 * Who stays without a disk has the live peers' copies: what they have not lost is what
 * counts, and the maps of the others say already what those lack.
 *
 * Context: any; no lock held.
 */
void detach_failed(struct volume *v, u64 offset, u64 length)
{
	unsigned long flags;

	spin_lock_irqsave(&v->io_lock, flags);
	failed_locked(v, offset, length, "the backing device here has failed a write");
	spin_unlock_irqrestore(&v->io_lock, flags);
}

static void doubt_locked(struct volume *v)
{
	lockdep_assert_held(&v->io_lock);
	v->broken = true;
	if (v->primary)
		return;
	v->hole = true;
	v->doubt = true;
	queue_work(v->ops, &v->lost);
}

/**
 * detach_doubt() - a secondary has failed to write what a peer sent, or to flush it
 * @v: the volume; nothing happens to a primary's copy
 *
 * The peer learns it from the answer.  Should it die before it can act on it, this copy
 * must not be taken for one that is in sync.  Nor may a catch-up that is under way end
 * well: what is missing may be what it has brought.  See detach_hole().
 *
 * Context: any; no lock held.
 */
void detach_doubt(struct volume *v)
{
	unsigned long flags;

	spin_lock_irqsave(&v->io_lock, flags);
	doubt_locked(v);
	spin_unlock_irqrestore(&v->io_lock, flags);
}

/**
 * detach_flush_lost() - a flush of the data's device has failed
 * @v: the volume
 * @reason: of the end of its links, in words
 *
 * What the device's cache has lost may be anything.  So a primary with nobody to go on from
 * fails; and a secondary's copy is in doubt if somebody may take for durable what it has got:
 * a live peer, whose next flush would succeed, or whoever brings it up to date.  Else it is as
 * after a power cut: what was not flushed is dirty with the peers, and it may be the newest.
 * But who has compared it with them, and found it equal, does that under a cut, which must not
 * be committed then: the bits that are set here would go with it.
 *
 * Context: any; no lock held.
 */
void detach_flush_lost(struct volume *v, const char *reason)
{
	bool partial = !(READ_ONCE(v->super.flags) & cpu_to_le32(REPL_SB_CONSISTENT));
	unsigned long flags;
	unsigned int i;
	bool believed;

	spin_lock_irqsave(&v->io_lock, flags);
	believed = partial || v->live || slot_any_closing(v);
	failed_locked(v, 0, v->size, reason);
	for (i = 0; i < v->slots && !v->primary; i++)
		if (v->slot[i].cut)
			cut_void(v->slot[i].cut);
	if (v->primary && !v->diskless) {
		v->failing = true;
		queue_work(v->ops, &v->lost);
	} else if (believed) {
		doubt_locked(v);
	}
	spin_unlock_irqrestore(&v->io_lock, flags);
}

/* A flush of the data's device that nobody has asked for but the module. */
struct own_flush {
	struct bio bio;
	struct bio_vec vec;		/* of a page that is written with it */
	struct volume *volume;
	const char *failed;		/* what it is, if it fails, in words */
	struct completion done;
};

static void own_flush_done(struct bio *bio)
{
	struct own_flush *flush = container_of(bio, struct own_flush, bio);

	if (bio->bi_status)
		detach_flush_lost(flush->volume, flush->failed);
	complete(&flush->done);
}

static int own_flush(struct volume *v, struct own_flush *flush, const char *failed)
{
	int err;

	flush->volume = v;
	flush->failed = failed;
	init_completion(&flush->done);
	flush->bio.bi_end_io = own_flush_done;
	submit_bio(&flush->bio);
	/* An array may take minutes, which is no task that hangs. */
	while (!wait_for_completion_io_timeout(&flush->done, 20 * HZ))
		;
	err = blk_status_to_errno(flush->bio.bi_status);
	bio_uninit(&flush->bio);
	return err;
}

/**
 * detach_flush() - flush the data's device, for reasons of the module's own
 * @v: the volume, not diskless
 *
 * The device reports a cache that it has lost once, to whoever has asked: the next fsync, or a
 * peer's next flush, would succeed.  So what follows from an error is done before anybody
 * else can be answered, in the end of this one.
 *
 * Context: may sleep, but not inside submit_bio.  No lock held.  Allocates nothing.
 * Return: 0 or a negative errno.
 */
int detach_flush(struct volume *v)
{
	struct own_flush flush;

	bio_init(&flush.bio, v->data.bdev, NULL, 0, REQ_OP_WRITE | REQ_PREFLUSH);
	return own_flush(v, &flush, "the backing device here has failed a write");
}

/**
 * detach_write_log() - write a page of the region log, durably
 * @v: the volume, whose metadata are on the data's device
 * @offset: bytes
 * @page: MAP_PAGE_BYTES
 *
 * A device that knows no FUA writes and then flushes, and does not say which of the two has
 * failed: so an error is one of detach_flush().
 *
 * Context: may sleep, but not inside submit_bio.  No lock held.  Allocates nothing.
 * Return: 0 or a negative errno.
 */
int detach_write_log(struct volume *v, u64 offset, struct page *page)
{
	struct own_flush flush;

	bio_init(&flush.bio, volume_meta(v)->bdev, &flush.vec, 1,
		 REQ_OP_WRITE | REQ_SYNC | REQ_META | REQ_FUA);
	flush.bio.bi_iter.bi_sector = offset >> SECTOR_SHIFT;
	__bio_add_page(&flush.bio, page, MAP_PAGE_BYTES, 0);
	return own_flush(v, &flush, "the region log here cannot be written");
}

static void record_detached(struct volume *v)
{
	struct why why = {};
	int err = meta_give_up(v, &why);

	netlink_event(v, REPL_EVENT_ERROR, -1,
		      "the backing device %pg has failed: the volume goes on from its live peers, without a copy here%s%s",
		      v->data.bdev, err ? "; that cannot be recorded: " : "", why.text);
}

static void record_doubt(struct volume *v)
{
	struct why why = {};

	netlink_event(v, REPL_EVENT_ERROR, -1,
		      "the backing device %pg has failed a write or a flush: this copy is not consistent until it has caught up",
		      v->data.bdev);
	/* Their pages may have been in the cache that is lost, whoever was told of it. */
	meta_maps_lost(v);
	if (meta_distrust(v, &why))
		netlink_event(v, REPL_EVENT_ERROR, -1, "that cannot be recorded: %s", why.text);
	/* A device that refuses even this would raise it again, and again. */
	spin_lock_irq(&v->io_lock);
	v->doubt = false;
	spin_unlock_irq(&v->io_lock);
}

/**
 * detach_record() - make durable what a failure of a device means for the copy here
 * @v: the volume, whose device may have failed
 *
 * Context: control; may sleep.
 */
void detach_record(struct volume *v)
{
	bool detaching, doubt;

	spin_lock_irq(&v->io_lock);
	detaching = v->detaching;
	doubt = v->doubt;
	v->detaching = false;
	v->doubt = false;
	spin_unlock_irq(&v->io_lock);
	if (detaching)
		record_detached(v);
	else if (doubt && !v->primary)
		record_doubt(v);
}

/**
 * detach_hole() - may this copy be called its leader's, once it is flushed?
 * @v: a secondary that has caught up
 * @why: filled in
 *
 * Not when the device has failed since the catch-up began: a flush that fails says so once, and
 * the one that is next succeeds without what was lost.  It begins again (slot_follow()), with
 * all that came by then sent, or applied, once more.
 *
 * Context: control; nothing of a peer is on its way to the disk.
 * Return: 0 or -EIO.
 */
int detach_hole(struct volume *v, struct why *why)
{
	return READ_ONCE(v->hole) ? why_set(why, -EIO, "%s: %pg has failed a write or a flush: catch up again",
				 v->name, v->data.bdev) : 0;
}

/**
 * detach_mended() - a secondary has caught up, and flushed: its copy is whole again
 * @v: the volume, live as a follower
 *
 * Context: control.
 */
void detach_mended(struct volume *v)
{
	spin_lock_irq(&v->io_lock);
	v->broken = v->doubt;
	spin_unlock_irq(&v->io_lock);
}

/**
 * detach_refuse() - nothing can be copied from, or to, a disk that is gone
 * @v: the volume, diskless
 * @why: filled in
 *
 * Return: -EIO.
 */
int detach_refuse(struct volume *v, struct why *why)
{
	return why_set(why, -EIO,
		       "%s: its disk has failed, there is no copy here: repl-ctl replace %s",
		       v->name, v->name);
}
