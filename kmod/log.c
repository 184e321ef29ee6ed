// SPDX-License-Identifier: GPL-2.0-only
/*
 * Locks: volume->io_lock for all bitmaps and counts.  The bitmaps are little-endian,
 * as on disk: a page of the log is a piece of ->logged.
 *
 * Two works, never one for both:
 *
 *   ->write	on volume->logger, alone there.  Writes pages of the log: with the bits
 *		that writes wait for, and without those that a cleaning has dropped.
 *		Nothing else writes the log while the volume is primary, so an older
 *		page never overtakes a newer one.
 *   ->clean	a step of control, now and then.  It finds regions that no write has
 *		touched for a period and whose writes have all ended, makes everybody who
 *		is live flush, saves what the maps say of them, and drops them.  With that
 *		flush a primary also knows what its peers have all of, and tells them:
 *		share.c.
 *
 * A region that is written again meanwhile is in ->busy of one of the two periods, and is
 * not dropped: log_enter() and the dropping are both under io_lock.
 */
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/blkdev.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include "detach.h"
#include "log.h"
#include "meta.h"
#include "netlink.h"
#include "request.h"
#include "role.h"
#include "slot.h"

enum log_limits {
	LOG_CLEAN_SECONDS	= 5,	/* a region stays logged for one to two of them */
};

static u64 region_of(const struct volume *v, u64 offset)
{
	return offset >> v->region_shift;
}

static unsigned long *page_bits(unsigned long *bits, unsigned long page)
{
	return bits + page * (MAP_PAGE_BYTES / sizeof(long));
}

/**
 * log_begin() - from here on writes are logged, if there is a slot
 * @v: the volume, io_lock held; primary
 */
void log_begin(struct volume *v)
{
	unsigned int i;

	lockdep_assert_held(&v->io_lock);
	if (v->diskless)
		return;
	for (i = 0; i < v->slots; i++)
		v->log.on |= v->slot[i].kind != REPL_SLOT_FREE;
	/* In another term it was another node whose word counted. */
	v->log.told = false;
	log_untold(v);
}

/**
 * log_end() - nothing is logged any more
 * @v: the volume, io_lock held; not primary, no write in flight; or diskless
 */
void log_end(struct volume *v)
{
	lockdep_assert_held(&v->io_lock);
	v->log.on = false;
}

/**
 * log_untold() - the peers have to be told anew which of them are equal
 * @v: the volume, io_lock held
 *
 * The first time names what comes after; the second one settles it.  A secondary tells
 * nobody, but may have a log from before that nothing else makes it look at.
 */
void log_untold(struct volume *v)
{
	lockdep_assert_held(&v->io_lock);
	v->log.untold = 2;
	queue_delayed_work(v->ops, &v->log.clean, LOG_CLEAN_SECONDS * HZ);
}

/**
 * log_covers() - may a write begin, as far as the log is concerned?
 * @v: the volume, io_lock held
 * @offset: bytes
 * @length: bytes, not 0
 */
bool log_covers(const struct volume *v, u64 offset, u64 length)
{
	lockdep_assert_held(&v->io_lock);
	return !v->log.on || log_has(v, offset, length);
}

/**
 * log_has() - is every region of a range in the log, durably?
 * @v: the volume, io_lock held
 * @offset: bytes
 * @length: bytes, not 0
 */
bool log_has(const struct volume *v, u64 offset, u64 length)
{
	u64 region, last = region_of(v, offset + length - 1);

	lockdep_assert_held(&v->io_lock);
	for (region = region_of(v, offset); region <= last; region++)
		if (!test_bit_le(region, v->log.logged))
			return false;
	return true;
}

/**
 * log_want() - have regions logged; volume->resume is queued when they are
 * @v: the volume, io_lock held
 * @offset: bytes
 * @length: bytes, not 0
 */
void log_want(struct volume *v, u64 offset, u64 length)
{
	u64 region, last = region_of(v, offset + length - 1);

	lockdep_assert_held(&v->io_lock);
	for (region = region_of(v, offset); region <= last; region++)
		if (!test_bit_le(region, v->log.logged) &&
		    !__test_and_set_bit_le(region, v->log.wanted))
			volume_count(v, REPL_C_LOG_WAITS, 1);
	v->log.waits = true;
	queue_work(v->logger, &v->log.write);
	/* A no-op while it is queued. */
	queue_delayed_work(v->ops, &v->log.clean, LOG_CLEAN_SECONDS * HZ);
}

/**
 * log_enter() - a write into logged regions begins, here or for a peer
 * @v: the volume, io_lock held
 * @offset: bytes
 * @length: bytes, not 0
 *
 * Return: for log_leave().
 */
u8 log_enter(struct volume *v, u64 offset, u64 length)
{
	struct region_log *log = &v->log;
	u64 region, last = region_of(v, offset + length - 1);

	lockdep_assert_held(&v->io_lock);
	for (region = region_of(v, offset); region <= last; region++)
		__set_bit_le(region, log->busy[log->period]);
	log->in_flight[log->period]++;
	return log->period;
}

/**
 * log_leave() - a write has ended here and on every live peer
 * @v: the volume, io_lock held
 * @period: what log_enter() returned
 */
void log_leave(struct volume *v, u8 period)
{
	lockdep_assert_held(&v->io_lock);
	v->log.in_flight[period]--;
}

/* --------------------------------------------------------------- write -- */

/* What the page is to say, if that differs from what it says. */
static bool page_prepare(struct volume *v, unsigned long page, bool dropping)
{
	struct region_log *log = &v->log;
	unsigned long *logged = page_bits(log->logged, page);
	unsigned long *wanted = page_bits(log->wanted, page);
	unsigned long *drop = page_bits(log->drop, page);
	bool drops, wants;

	lockdep_assert_held(&v->io_lock);
	/* What a broken device has lost may be anywhere: nothing leaves the log any more. */
	bitmap_andnot(drop, drop, page_bits(log->busy[0], page), MAP_PAGE_BITS);
	bitmap_andnot(drop, drop, page_bits(log->busy[1], page), MAP_PAGE_BITS);
	drops = dropping && !v->broken && !bitmap_empty(drop, MAP_PAGE_BITS);
	wants = !bitmap_empty(wanted, MAP_PAGE_BITS);
	if (drops) {
		bitmap_andnot(logged, logged, drop, MAP_PAGE_BITS);
		bitmap_zero(drop, MAP_PAGE_BITS);
	}
	if (drops || wants)
		bitmap_or(page_address(log->page), logged, wanted, MAP_PAGE_BITS);
	return drops || wants;
}

/* The page on disk says it: what was wanted is logged. */
static void page_written(struct volume *v, unsigned long page)
{
	const unsigned long *image = page_address(v->log.page);
	unsigned long *wanted = page_bits(v->log.wanted, page);

	lockdep_assert_held(&v->io_lock);
	bitmap_copy(page_bits(v->log.logged, page), image, MAP_PAGE_BITS);
	bitmap_andnot(wanted, wanted, image, MAP_PAGE_BITS);
}

/* @cached: something may be in the data's device's cache, and lost with a flush that fails. */
static int page_write(struct volume *v, unsigned long page, bool cached)
{
	u64 offset = meta_log_offset(v) + (u64)page * MAP_PAGE_BYTES;

	volume_count(v, REPL_C_LOG_WRITES, 1);
	if (cached && meta_on_data(v))
		return detach_write_log(v, offset, v->log.page);
	return backing_io(volume_meta(v), REQ_OP_WRITE | REQ_SYNC | REQ_META | REQ_FUA, offset,
			  v->log.page);
}

/* One pass over all pages.  Return: 1 when something was written, 0, or an error. */
static int log_pass(struct volume *v, bool dropping)
{
	int err, wrote = 0;
	unsigned long page;
	bool differs;

	for (page = 0; page < v->log.pages; page++) {
		spin_lock_irq(&v->io_lock);
		differs = page_prepare(v, page, dropping);
		spin_unlock_irq(&v->io_lock);
		if (!differs)
			continue;
		err = page_write(v, page, true);
		if (err)
			return err;
		spin_lock_irq(&v->io_lock);
		page_written(v, page);
		spin_unlock_irq(&v->io_lock);
		wrote = 1;
	}
	return wrote;
}

/*
 * Without a log no write may begin here: as with a generation that cannot be recorded.  What
 * came from a peer and waits has not begun, so this copy has no hole for it; whether it has one
 * for what was written before is decided by now: detach_write_log().
 */
static void log_failed(struct volume *v, int err)
{
	bool goes_on;

	volume_count(v, REPL_C_ERRORS, 1);
	spin_lock_irq(&v->io_lock);
	v->broken = true;
	v->log.failed = true;
	goes_on = detach_locked(v);
	if (!goes_on) {
		slot_end_links(v, "the region log here cannot be written");
		v->failing |= v->primary;
	}
	/* Without a disk nothing waits for the log; an apply that does is answered. */
	queue_work(repl_wq, &v->resume);
	spin_unlock_irq(&v->io_lock);
	if (goes_on)
		return;
	/* Its flush may have been told that pages of them, saved and not yet flushed, are lost. */
	meta_maps_lost(v);
	request_fail_parked(v);
	queue_work(v->ops, &v->lost);
	netlink_event(v, REPL_EVENT_ERROR, -1,
		      "%s: the region log on %pg cannot be written, error %d",
		      READ_ONCE(v->failing) ? "I/O fails from now on" : "no peer can write here",
		      volume_meta(v)->bdev, err);
}

static void log_write(struct work_struct *work)
{
	struct volume *v = container_of(work, struct volume, log.write);
	bool dropping;
	int err;

	do {
		spin_lock_irq(&v->io_lock);
		dropping = v->log.dropping;
		spin_unlock_irq(&v->io_lock);
		err = log_pass(v, dropping);
		spin_lock_irq(&v->io_lock);
		/* A dropping that began during the pass has asked for another. */
		if (dropping)
			v->log.dropping = false;
		v->log.waits = false;
		if (err > 0)
			queue_work(repl_wq, &v->resume);
		spin_unlock_irq(&v->io_lock);
	} while (err > 0);
	if (err < 0)
		log_failed(v, err);
}

/* --------------------------------------------------------------- clean -- */

enum clean_work {
	CLEAN_DROP	= 1 << 0,	/* regions may be dropped, after what is asked for below */
	CLEAN_TELL	= 1 << 1,	/* peers may be told what is settled, after a flush */
	CLEAN_AGAIN	= 1 << 2,	/* there will be more to do, though nobody writes */
};

/* The periods' sets are not touched while a dropping looks at them. */
static bool clean_may_begin(const struct volume *v)
{
	lockdep_assert_held(&v->io_lock);
	return !v->gate && !v->log.dropping && !v->log.in_flight[!v->log.period] &&
	       !slot_any_closing(v);
}

static void next_period(struct region_log *log, bool told)
{
	log->period = !log->period;
	log->told = told;
}

/* All writes of the periods before the current one have ended.  Return: enum clean_work. */
static unsigned int clean_begin(struct volume *v)
{
	struct region_log *log = &v->log;
	unsigned int work = 0;
	unsigned long page;

	lockdep_assert_held(&v->io_lock);
	log->losses = v->losses;
	for (page = 0; page < log->pages; page++) {
		unsigned long *logged = page_bits(log->logged, page);

		if (bitmap_andnot(page_bits(log->drop, page), logged,
				  page_bits(log->busy[log->period], page), MAP_PAGE_BITS))
			work |= CLEAN_DROP;
		if (!bitmap_empty(logged, MAP_PAGE_BITS))
			work |= CLEAN_AGAIN;
		bitmap_zero(page_bits(log->busy[!log->period], page), MAP_PAGE_BITS);
	}
	if (log->seen != v->sampled)
		log_untold(v);
	log->seen = v->sampled;
	if (v->primary && v->live > 1 && log->untold)
		work |= CLEAN_TELL;
	if (!(work & (CLEAN_DROP | CLEAN_TELL)))
		next_period(log, false);
	return work;
}

static unsigned int clean_look(struct volume *v)
{
	unsigned int work = CLEAN_AGAIN;

	spin_lock_irq(&v->io_lock);
	if (v->broken || v->failing)
		work = 0;
	else if (clean_may_begin(v))
		work = clean_begin(v);
	if (v->primary && v->log.on)
		work |= CLEAN_AGAIN;
	spin_unlock_irq(&v->io_lock);
	return work;
}

/* Return: whether the next period may begin with what the peers have been told. */
static bool clean_tell(struct volume *v)
{
	bool name;

	spin_lock_irq(&v->io_lock);
	name = v->log.told;
	/* From the first frame on, until the next period has begun behind all of them. */
	v->log.told = false;
	spin_unlock_irq(&v->io_lock);
	return role_tell_settled(v, name);
}

/* A link that was lost meanwhile has not flushed, and its bits may have come too late. */
static void clean_end(struct volume *v, unsigned int work, bool told)
{
	struct region_log *log = &v->log;

	spin_lock_irq(&v->io_lock);
	if (v->losses == log->losses && !v->broken && !v->failing) {
		next_period(log, told);
		log->untold -= told && log->untold;
		log->dropping = work & CLEAN_DROP;
		if (log->dropping)
			queue_work(v->logger, &log->write);
	}
	spin_unlock_irq(&v->io_lock);
}

/* A step of control.  What fails here is tried again, and found out by others. */
static void log_clean(struct work_struct *work)
{
	struct volume *v = container_of(to_delayed_work(work), struct volume, log.clean);
	unsigned int noio = memalloc_noio_save();
	unsigned int todo = clean_look(v);
	struct why why = {};

	if (todo & (CLEAN_DROP | CLEAN_TELL)) {
		if (!role_flush_live(v, &why) &&
		    (!(todo & CLEAN_DROP) || !meta_checkpoint(v, true, &why)))
			clean_end(v, todo, (todo & CLEAN_TELL) && clean_tell(v));
	}
	memalloc_noio_restore(noio);
	if (todo & CLEAN_AGAIN)
		queue_delayed_work(v->ops, &v->log.clean, LOG_CLEAN_SECONDS * HZ);
}

/* ------------------------------------------------------ birth and end -- */

/**
 * log_alloc() - make an empty log in memory
 * @v: the volume
 * @log: to fill in; log_free() it, whatever is returned
 * @size: of the volume, bytes
 * @why: filled in on error
 *
 * Context: control; may sleep.
 */
int log_alloc(struct volume *v, struct region_log *log, u64 size, struct why *why)
{
	size_t bytes;

	log->regions = DIV_ROUND_UP_ULL(size, 1ull << v->region_shift);
	/* The machine's bit operations go no further. */
	if (log->regions > INT_MAX)
		return why_set(why, -EFBIG, "%s: %llu regions are too many: mkfs.repl with larger ones",
			       v->name, log->regions);
	log->pages = DIV_ROUND_UP_ULL(log->regions, MAP_PAGE_BITS);
	bytes = log->pages * MAP_PAGE_BYTES;
	log->logged = kvzalloc(bytes, GFP_KERNEL);
	log->wanted = kvzalloc(bytes, GFP_KERNEL);
	log->drop = kvzalloc(bytes, GFP_KERNEL);
	log->busy[0] = kvzalloc(bytes, GFP_KERNEL);
	log->busy[1] = kvzalloc(bytes, GFP_KERNEL);
	log->page = alloc_page(GFP_KERNEL);
	if (log->logged && log->wanted && log->drop && log->busy[0] && log->busy[1] && log->page)
		return 0;
	return why_set(why, -ENOMEM, "%s: no memory for the log of %llu regions", v->name,
		       log->regions);
}

/**
 * log_prepare() - what log_stop() may be called for
 * @v: nobody else knows it yet
 */
void log_prepare(struct volume *v)
{
	INIT_LIST_HEAD(&v->log.applies);
	INIT_WORK(&v->log.write, log_write);
	INIT_DELAYED_WORK(&v->log.clean, log_clean);
}

/**
 * log_free() - give back what log_alloc() took
 * @log: which no logger uses any more, or zeroes
 */
void log_free(struct region_log *log)
{
	kvfree(log->logged);
	kvfree(log->wanted);
	kvfree(log->drop);
	kvfree(log->busy[0]);
	kvfree(log->busy[1]);
	if (log->page)
		__free_page(log->page);
}

/**
 * log_load() - read the log as the last term left it
 * @v: the volume, nobody else knows it yet
 * @why: filled in on error
 *
 * Context: control; may sleep.
 */
int log_load(struct volume *v, struct why *why)
{
	struct region_log *log = &v->log;
	unsigned long page;
	int err;

	for (page = 0; page < log->pages; page++) {
		err = backing_io(volume_meta(v), REQ_OP_READ,
				 meta_log_offset(v) + (u64)page * MAP_PAGE_BYTES, log->page);
		if (err)
			return why_set(why, err, "%s: the region log cannot be read from %pg",
				       v->name, volume_meta(v)->bdev);
		memcpy(page_bits(log->logged, page), page_address(log->page), MAP_PAGE_BYTES);
	}
	return 0;
}

/**
 * log_mark_slot() - every block of a logged region is dirty for this slot
 * @v: the volume, nobody else knows it yet
 * @slot: its map loaded
 */
void log_mark_slot(struct volume *v, struct slot *slot)
{
	struct region_log *log = &v->log;
	u64 region;

	for (region = find_next_bit_le(log->logged, log->regions, 0); region < log->regions;
	     region = find_next_bit_le(log->logged, log->regions, region + 1)) {
		spin_lock_irq(&v->io_lock);
		slot_mark(v, slot, region << v->region_shift, 1ull << v->region_shift);
		spin_unlock_irq(&v->io_lock);
	}
}

/* Return: whether the page had a bit. */
static bool page_reset(struct volume *v, unsigned long page)
{
	struct region_log *log = &v->log;
	bool had;

	spin_lock_irq(&v->io_lock);
	had = !bitmap_empty(page_bits(log->logged, page), MAP_PAGE_BITS);
	bitmap_zero(page_bits(log->logged, page), MAP_PAGE_BITS);
	bitmap_zero(page_bits(log->wanted, page), MAP_PAGE_BITS);
	bitmap_zero(page_bits(log->drop, page), MAP_PAGE_BITS);
	bitmap_zero(page_bits(log->busy[0], page), MAP_PAGE_BITS);
	bitmap_zero(page_bits(log->busy[1], page), MAP_PAGE_BITS);
	spin_unlock_irq(&v->io_lock);
	return had;
}

/**
 * log_reset() - the maps on disk say it all: empty the log
 * @v: not primary, no write in flight; the superblock that followed the maps is durable
 * @why: filled in on error; more is logged than need be then
 *
 * Context: control; may sleep.
 */
int log_reset(struct volume *v, struct why *why)
{
	unsigned long page;
	int err;

	/* It may be in the middle of a page with bits that nobody waits for any more. */
	cancel_work_sync(&v->log.write);
	spin_lock_irq(&v->io_lock);
	v->log.dropping = false;
	v->log.waits = false;
	spin_unlock_irq(&v->io_lock);
	/* What has parked itself at the last moment fails. */
	queue_work(repl_wq, &v->resume);
	for (page = 0; page < v->log.pages; page++) {
		if (!page_reset(v, page))
			continue;
		memset(page_address(v->log.page), 0, MAP_PAGE_BYTES);
		/* All else was flushed: nothing can have been lost. */
		err = page_write(v, page, false);
		if (err)
			return why_set(why, err, "%s: the region log on %pg cannot be written",
				       v->name, volume_meta(v)->bdev);
	}
	return 0;
}

/**
 * log_copy() - write the log as it is to another place
 * @v: the gate is shut and no write in flight: nothing is wanted
 * @larger: log_alloc()ed for more regions
 * @offset: of the place, bytes; not durable before the next flush, such as that of meta_commit()
 *
 * Context: control; may sleep.
 * Return: 0 or a negative errno.
 */
int log_copy(struct volume *v, struct region_log *larger, u64 offset)
{
	unsigned long page;
	int err = 0;

	flush_work(&v->log.write);
	for (page = 0; page < larger->pages && !err; page++) {
		clear_page(page_address(larger->page));
		if (page < v->log.pages)
			memcpy(page_address(larger->page), page_bits(v->log.logged, page),
			       MAP_PAGE_BYTES);
		volume_count(v, REPL_C_LOG_WRITES, 1);
		err = backing_io(volume_meta(v), REQ_OP_WRITE | REQ_SYNC | REQ_META,
				 offset + (u64)page * MAP_PAGE_BYTES, larger->page);
	}
	return err;
}

/**
 * log_grow() - go on in larger bitmaps
 * @v: as for log_copy(), and io_lock held
 * @larger: given the smaller ones
 */
void log_grow(struct volume *v, struct region_log *larger)
{
	size_t bytes = v->log.pages * MAP_PAGE_BYTES;
	struct region_log *log = &v->log;

	lockdep_assert_held(&v->io_lock);
	memcpy(larger->logged, log->logged, bytes);
	memcpy(larger->busy[0], log->busy[0], bytes);
	memcpy(larger->busy[1], log->busy[1], bytes);
	swap(log->regions, larger->regions);
	swap(log->pages, larger->pages);
	swap(log->logged, larger->logged);
	swap(log->wanted, larger->wanted);
	swap(log->drop, larger->drop);
	swap(log->busy[0], larger->busy[0]);
	swap(log->busy[1], larger->busy[1]);
}

/**
 * log_stop() - end both works; the volume goes away
 * @v: not primary, no write in flight
 *
 * Context: control; may sleep.
 */
void log_stop(struct volume *v)
{
	cancel_delayed_work_sync(&v->log.clean);
	cancel_work_sync(&v->log.write);
}
