// SPDX-License-Identifier: GPL-2.0-only
/*
 * Crash safety in two rules (docs/FORMAT.md has the argument): a superblock is
 * written to the place of the older copy; and what the maps on disk lack, the region
 * log has, or the slot's record says FULL.
 */
#include <linux/bitmap.h>
#include <linux/crc32c.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include "cut.h"
#include "detach.h"
#include "log.h"
#include "meta.h"
#include "netlink.h"
#include "shape.h"
#include "slot.h"

static u32 super_crc(struct repl_super *super)
{
	__le32 stored = super->crc;
	u32 crc;

	super->crc = 0;
	crc = ~crc32c(~0u, super, sizeof(*super));
	super->crc = stored;
	return crc;
}

static u64 copy_offset(u64 meta_end, unsigned int copy)
{
	return meta_end - (copy + 1) * REPL_SB_BYTES;
}

static u64 area_end(const struct repl_super *s)
{
	return le64_to_cpu(s->meta_offset) + le64_to_cpu(s->meta_size);
}

/* Return: NULL, or why this copy is none. */
static const char *super_damaged(struct repl_super *s)
{
	if (memcmp(s->magic, REPL_SB_MAGIC, sizeof(s->magic)))
		return "no superblock";
	return le32_to_cpu(s->crc) != super_crc(s) ? "a damaged superblock" : NULL;
}

/* Return: NULL, or why this copy cannot be used, which a newer module has written. */
static const char *super_unknown(const struct repl_super *s)
{
	if (le32_to_cpu(s->version) != REPL_FORMAT_VERSION)
		return "a format version this module does not know";
	if (s->features)
		return "features this module does not know";
	if (le32_to_cpu(s->flags) & ~REPL_SB_FLAGS_ALL)
		return "flags this module does not know";
	return NULL;
}

/*
 * The newer copy that is none of those which a crash has damaged.  When it is unknown the older
 * one does not count: what has happened since stands in the newer one.
 */
static int super_choose(struct volume *v, struct backing *where, u64 meta_end, u8 *chosen,
			struct why *why)
{
	struct repl_super *s = page_address(v->meta_page);
	const char *wrong = NULL;
	bool found = false;
	unsigned int copy;

	for (copy = 0; copy < REPL_SB_COPIES; copy++) {
		const char *bad = "a read error";

		if (!backing_io(where, REQ_OP_READ, copy_offset(meta_end, copy), v->meta_page))
			bad = super_damaged(s);
		if (bad) {
			wrong = bad;
		} else if (!found || le64_to_cpu(s->sequence) > le64_to_cpu(v->next->sequence)) {
			*v->next = *s;
			*chosen = copy;
			found = true;
		}
	}
	if (found) {
		wrong = super_unknown(v->next);
		return wrong ? why_set(why, -EINVAL, "%s: %pg has %s: a newer release has written it, use that one here",
				       v->name, where->bdev, wrong) : 0;
	}
	return why_set(why, -EINVAL, "%s: %pg has %s where its metadata should be: check device=, and fsck.repl (--meta-end, if it was resized); mkfs.repl only if no copy was ever here",
		       v->name, where->bdev, wrong);
}

/**
 * meta_find() - find a superblock on devices for this volume, and check it
 * @v: into whose ->next it is read
 * @data: open
 * @meta: open, or not: then the metadata are on @data
 * @known_end: where the metadata area ends, bytes; NULL: with the device
 * @copy: which of the two it is
 * @why: filled in on error
 *
 * Context: control; may sleep.
 */
int meta_find(struct volume *v, struct backing *data, struct backing *meta, const u64 *known_end,
	      u8 *copy, struct why *why)
{
	struct backing *where = meta->bdev ? meta : data;
	u64 end = round_down(where->bytes, REPL_META_ALIGN);
	struct repl_super *s = v->next;
	int err;

	if (known_end) {
		end = *known_end;
		if (end % REPL_META_ALIGN || end > where->bytes)
			return why_set(why, -EINVAL, "%s: no metadata area can end at byte %llu",
				       v->name, end);
	}
	if (end < REPL_SB_COPIES * REPL_SB_BYTES)
		return why_set(why, -ENOSPC, "%s: %pg is too small to hold metadata", v->name,
			       where->bdev);
	err = super_choose(v, where, end, copy, why);
	if (err)
		return err;
	if (!shape_ok(s, data->bytes, where->bytes))
		return why_set(why, -EINVAL,
			       "%s: the superblock does not fit %pg: was the device shrunk? see fsck.repl --meta-end",
			       v->name, data->bdev);
	if (!(le32_to_cpu(s->flags) & REPL_SB_EXTERNAL) != !meta->bdev)
		return why_set(why, -EINVAL, "%s: the metadata are %s: see fsck.repl", v->name,
			       meta->bdev ? "internal, but a metadata device is configured" :
					      "on a device of their own, which is not configured");
	if (strnlen(s->name, sizeof(s->name)) == sizeof(s->name) || strcmp(s->name, v->name))
		return why_set(why, -EINVAL, "%s: the device holds volume '%.*s': check device=",
			       v->name, (int)sizeof(s->name) - 1, s->name);
	if (1u << s->lbs_shift < bdev_logical_block_size(data->bdev))
		return why_set(why, -EINVAL,
			       "%s: blocks of %u bytes cannot be written to %pg, whose blocks have %u",
			       v->name, 1u << s->lbs_shift, data->bdev,
			       bdev_logical_block_size(data->bdev));
	if (area_end(s) == end)
		return 0;
	return why_set(why, -EINVAL,
		       "%s: the superblock says that it lies elsewhere: was the device resized? see fsck.repl --meta-end",
		       v->name);
}

/**
 * meta_read() - find the volume's superblock, and take its shape from it
 * @v: its devices open
 * @known_end: where the metadata area ends, bytes; NULL: with the device
 * @why: filled in on error
 *
 * Context: control, before anybody else knows the volume.
 */
int meta_read(struct volume *v, const u64 *known_end, struct why *why)
{
	const struct repl_super *s = v->next;
	int err = meta_find(v, &v->data, &v->meta, known_end, &v->super_copy, why);

	if (err)
		return err;
	v->super = *s;
	v->size = le64_to_cpu(s->data_size);
	v->slots = s->slots;
	v->lbs_shift = s->lbs_shift;
	v->region_shift = s->region_shift;
	return 0;
}

/**
 * meta_edit() - a copy of the superblock to change
 * @v: the volume
 *
 * Context: control, without I/O for the sake of memory, as all of it.  Whoever edits commits,
 * or nothing has happened.
 */
struct repl_super *meta_edit(struct volume *v)
{
	/* A step that waits for memory here may wait for a write that waits for the step. */
	WARN_ON_ONCE(!(current->flags & PF_MEMALLOC_NOIO));
	*v->next = v->super;
	return v->next;
}

/**
 * meta_on_data() - do the metadata and the data share a device, and so a cache?
 * @v: the volume
 *
 * Also when they have partitions of their own on it: a flush is the whole disk's.
 */
bool meta_on_data(struct volume *v)
{
	return volume_meta(v)->bdev->bd_disk == v->data.bdev->bd_disk;
}

/* On the data's own device a flush is for the data, too; without a disk nothing there counts. */
static int meta_flush(struct volume *v)
{
	return meta_on_data(v) && !READ_ONCE(v->diskless) ? detach_flush(v) :
							    blkdev_issue_flush(volume_meta(v)->bdev);
}

/**
 * meta_maps_lost() - nobody knows what of the maps has got there: all of it is saved again
 * @v: the volume, where a flush of the metadata's device has failed, whosever it was
 *
 * Context: process; no lock held.
 */
void meta_maps_lost(struct volume *v)
{
	unsigned int slot;

	spin_lock_irq(&v->io_lock);
	for (slot = 0; slot < v->slots; slot++)
		if (v->slot[slot].touched)
			bitmap_fill(v->slot[slot].touched, v->slot[slot].map.pages);
	spin_unlock_irq(&v->io_lock);
}

/*
 * The edited superblock, sealed, to one of its places, as the one @ahead of that in force.  Not
 * by one bio that flushes, too: its error would not tell a bad sector from a cache that is lost.
 */
static int super_write(struct volume *v, unsigned int copy, unsigned int ahead)
{
	struct repl_super *s = v->next;
	int err = meta_flush(v);

	/* Torn, it would leave none.  Only what says that this copy is none may lie there. */
	if (WARN_ON_ONCE(copy == v->super_copy && (s->flags & cpu_to_le32(REPL_SB_CONSISTENT))))
		copy = !copy;
	/* By whatever it has become so: what it was being given then is in it, or older. */
	if (s->flags & cpu_to_le32(REPL_SB_CONSISTENT))
		s->staged = 0;
	s->sequence = cpu_to_le64(le64_to_cpu(v->super.sequence) + ahead);
	s->crc = cpu_to_le32(super_crc(s));
	memcpy(page_address(v->meta_page), s, sizeof(*s));
	if (!err)
		err = backing_io(volume_meta(v), REQ_OP_WRITE | REQ_SYNC | REQ_META,
				 copy_offset(area_end(s), copy), v->meta_page);
	return err ?: meta_flush(v);
}

static int commit_failed(struct volume *v, int err, struct why *why)
{
	volume_count(v, REPL_C_ERRORS, 1);
	/* It may have been the flush, with pages of the maps before it that were not flushed yet. */
	meta_maps_lost(v);
	spin_lock_irq(&v->io_lock);
	v->broken |= meta_on_data(v);
	detach_locked(v);
	spin_unlock_irq(&v->io_lock);
	return why_set(why, err, "%s: the superblock on %pg cannot be written", v->name,
		       volume_meta(v)->bdev);
}

static void super_show(struct volume *v)
{
	mutex_lock(&v->super_lock);
	v->super = *v->next;
	mutex_unlock(&v->super_lock);
}

static int super_commit(struct volume *v, struct why *why)
{
	int err = super_write(v, !v->super_copy, 1);

	if (err)
		return commit_failed(v, err, why);
	volume_count(v, REPL_C_META_WRITES, 1);
	v->super_copy = !v->super_copy;
	super_show(v);
	return 0;
}

/**
 * meta_commit() - make the edited superblock durable, then visible
 * @v: the volume
 * @why: filled in on error; the old one is in force then
 *
 * Without a disk it is only made visible: what is durable are the live peers' own, and
 * the disk says that its copy does not count (meta_give_up()).
 *
 * Context: control; may sleep.  Allocates nothing.
 */
int meta_commit(struct volume *v, struct why *why)
{
	if (!READ_ONCE(v->diskless))
		return super_commit(v, why);
	super_show(v);
	return 0;
}

/**
 * meta_settle() - make the superblock in force that of a new disk
 * @v: diskless; all that it says is true of the new disk
 * @why: filled in on error; then it may have got there or not
 *
 * Context: control; may sleep.  Allocates nothing.
 */
int meta_settle(struct volume *v, struct why *why)
{
	meta_edit(v);
	return super_commit(v, why);
}

/**
 * meta_wipe() - leave no superblock at a place
 * @v: the volume, whose own superblock is elsewhere
 * @s: describes the place
 *
 * Context: control; may sleep.  Allocates nothing.
 * Return: 0 or a negative errno.
 */
int meta_wipe(struct volume *v, const struct repl_super *s)
{
	unsigned int copy;
	int err = 0;

	memset(page_address(v->meta_page), 0, MAP_PAGE_BYTES);
	for (copy = 0; copy < REPL_SB_COPIES && !err; copy++)
		err = backing_io(volume_meta(v), REQ_OP_WRITE | REQ_SYNC | REQ_META,
				 copy_offset(area_end(s), copy), v->meta_page);
	return err ?: meta_flush(v);
}

/**
 * meta_give_up() - let the disk say that its copy does not count any more
 * @v: diskless
 * @why: filled in when neither superblock can be written
 *
 * Not consistent, live nowhere, all in doubt: only a full copy brings it back.  What is in
 * force in memory stays as it is: it speaks about the volume, which goes on.
 *
 * Context: control; may sleep.
 */
int meta_give_up(struct volume *v, struct why *why)
{
	struct repl_super *s = meta_edit(v);
	unsigned int i;

	s->flags &= ~cpu_to_le32(REPL_SB_CONSISTENT);
	for (i = 0; i < s->slots; i++) {
		s->slot[i].flags &= ~cpu_to_le32(REPL_SS_LIVE);
		if (s->slot[i].kind != REPL_SLOT_FREE)
			s->slot[i].flags |= cpu_to_le32(REPL_SS_FULL);
	}
	/*
	 * Any newer valid copy will do: a bad sector may be in one of the two places only.  The
	 * next number may be there, of a commit that failed when its last flush did.
	 */
	if (!super_write(v, !v->super_copy, 2) || !super_write(v, v->super_copy, 3))
		return 0;
	return why_set(why, -EIO, "the superblock cannot be written");
}

/* All of it is dirty because nobody knows what is lost: that is to be known after a restart, too. */
static void mark_full(struct volume *v, struct repl_super *s)
{
	unsigned int i;

	spin_lock_irq(&v->io_lock);
	for (i = 0; i < s->slots; i++)
		if (v->slot[i].kind && v->slot[i].map.set == v->slot[i].map.bits)
			s->slot[i].flags |= cpu_to_le32(REPL_SS_FULL);
	spin_unlock_irq(&v->io_lock);
}

/*
 * To the place of the superblock in force, where the other one cannot be written.  It differs
 * in the first 512 bytes only: torn, it is one or the other, and never neither.  Which slot is
 * FULL lies further on, so it says for all of them that the maps do not count.
 */
static int distrust_in_place(struct volume *v)
{
	int err;

	meta_edit(v)->flags &= ~cpu_to_le32(REPL_SB_CONSISTENT | REPL_SB_MAPS);
	/* The next number may be in the other place, as in meta_give_up(). */
	err = super_write(v, v->super_copy, 2);
	/* Also when it may not be there: nobody trusts it here, and what is next has a number above. */
	super_show(v);
	return err;
}

/**
 * meta_distrust() - this copy is not consistent until it has caught up
 * @v: not primary
 * @why: filled in on error: then it is so until the volume is taken down, at least
 *
 * Context: control; may sleep.
 */
int meta_distrust(struct volume *v, struct why *why)
{
	struct repl_super *s = meta_edit(v);
	int err;

	s->flags &= ~cpu_to_le32(REPL_SB_CONSISTENT);
	mark_full(v, s);
	/* Once more: its own flush may have been the next one to fail. */
	err = meta_commit(v, why);
	if (err)
		err = meta_commit(v, why);
	return err ? distrust_in_place(v) : 0;
}

/**
 * meta_log_offset() - where the region log lies
 * @v: the volume
 *
 * Return: bytes, on volume_meta().
 */
u64 meta_log_offset(const struct volume *v)
{
	return le64_to_cpu(v->super.meta_offset) + le64_to_cpu(v->super.log_offset);
}

static u64 map_offset(struct volume *v, unsigned int slot, unsigned long page)
{
	return le64_to_cpu(v->super.meta_offset) + slot * le64_to_cpu(v->super.map_bytes) +
	       (u64)page * MAP_PAGE_BYTES;
}

static int load_map(struct volume *v, struct slot *slot, struct why *why)
{
	unsigned long i;
	int err;

	for (i = 0; i < slot->map.pages; i++) {
		err = backing_io(volume_meta(v), REQ_OP_READ, map_offset(v, slot->index, i),
				 v->meta_page);
		if (err)
			return why_set(why, err, "%s: the map of slot %u cannot be read from %pg",
				       v->name, slot->index, volume_meta(v)->bdev);
		map_load_page(&slot->map, i, page_address(v->meta_page));
	}
	return 0;
}

static int load_slot(struct volume *v, struct slot *slot, struct why *why)
{
	const struct repl_super_slot *record = &v->super.slot[slot->index];
	int err = slot_alloc_maps(v->size, slot);

	if (err)
		return why_set(why, err, "%s: no memory for the map of slot %u", v->name,
			       slot->index);
	slot->kind = record->kind;
	if (slot->kind)
		v->used |= 1u << slot->index;
	if (!(le32_to_cpu(v->super.flags) & REPL_SB_MAPS) ||
	    (le32_to_cpu(record->flags) & REPL_SS_FULL)) {
		spin_lock_irq(&v->io_lock);
		slot_mark(v, slot, 0, v->size);
		spin_unlock_irq(&v->io_lock);
		return 0;
	}
	err = load_map(v, slot, why);
	if (!err)
		log_mark_slot(v, slot);
	return err;
}

/**
 * meta_load_maps() - make the slots' maps as they were at the last stop
 * @v: its superblock read
 * @why: filled in on error
 *
 * After a stop that was not clean: as they were saved last, and all blocks of the
 * regions in the log.
 *
 * Context: control, before anybody else knows the volume.
 */
int meta_load_maps(struct volume *v, struct why *why)
{
	int err = log_alloc(v, &v->log, v->size, why);
	unsigned int i;

	if (!err)
		err = log_load(v, why);
	for (i = 0; i < v->slots && !err; i++) {
		v->slot[i].index = i;
		v->slot[i].since = ktime_get_ns();
		if (v->super.slot[i].kind != REPL_SLOT_FREE)
			err = load_slot(v, &v->slot[i], why);
	}
	return err;
}

static int save_page(struct volume *v, struct slot *slot, unsigned long page)
{
	bool touched = false;
	int err;

	spin_lock_irq(&v->io_lock);
	if (slot->touched && test_bit(page, slot->touched)) {
		__clear_bit(page, slot->touched);
		map_save_page(&slot->map, page, page_address(v->meta_page));
		map_join_page(&slot->settling, page, page_address(v->meta_page));
		/* They are dirty until the cut's reader has committed it. */
		if (slot->cut)
			cut_join_page(slot->cut, page, page_address(v->meta_page));
		touched = true;
	}
	spin_unlock_irq(&v->io_lock);
	if (!touched)
		return 0;
	err = backing_io(volume_meta(v), REQ_OP_WRITE | REQ_META,
			 map_offset(v, slot->index, page), v->meta_page);
	if (err)
		slot_touch_page(v, slot, page);
	return err;
}

/**
 * meta_checkpoint() - bring the maps on disk up to date, durably
 * @v: the volume; writes may go on, and are in the region log
 * @yield: give up as soon as the gate is shut, which needs control to open
 * @why: filled in on error
 *
 * Context: control; may sleep.  Allocates nothing.
 */
int meta_checkpoint(struct volume *v, bool yield, struct why *why)
{
	bool broken = READ_ONCE(v->broken);
	unsigned int slot;
	unsigned long i;
	int err = 0;

	for (slot = 0; slot < v->slots; slot++)
		for (i = 0; i < v->slot[slot].map.pages && !err; i++)
			err = yield && READ_ONCE(v->gate) ? -EAGAIN :
							    save_page(v, &v->slot[slot], i);
	if (!err) {
		err = meta_flush(v);
		/* That the pages were lost before, the log's flush may have been told, or a peer's. */
		if (!err && !broken && READ_ONCE(v->broken))
			err = -EIO;
		if (err)
			meta_maps_lost(v);
	}
	if (!err)
		return 0;
	if (err == -EAGAIN)
		return why_set(why, err, "%s: writes have stopped meanwhile", v->name);
	volume_count(v, REPL_C_ERRORS, 1);
	return why_set(why, err, "%s: the maps cannot be written to %pg", v->name,
		       volume_meta(v)->bdev);
}

/**
 * meta_save_maps() - write the slots' maps; the caller's next commit says they count
 * @v: no write in flight, no link closing; or what is written meanwhile is in the region log
 * @why: filled in on error
 *
 * The data are flushed first: a map without a bit claims that its block is on
 * stable media here, too.
 *
 * Context: control; may sleep.
 */
int meta_save_maps(struct volume *v, struct why *why)
{
	int err;

	if (v->diskless)
		return detach_refuse(v, why);
	err = detach_flush(v);
	if (!err)
		return meta_checkpoint(v, false, why);
	return why_set(why, err, "%s: %pg cannot be flushed", v->name, v->data.bdev);
}

/**
 * meta_maps_count() - let an edited superblock say that the maps on disk say it all
 * @s: being edited
 */
void meta_maps_count(struct repl_super *s)
{
	unsigned int i;

	s->flags |= cpu_to_le32(REPL_SB_MAPS);
	for (i = 0; i < s->slots; i++)
		s->slot[i].flags &= ~cpu_to_le32(REPL_SS_FULL);
}
