// SPDX-License-Identifier: GPL-2.0-only
/*
 * Crash safety in two rules (docs/FORMAT.md has the argument): a superblock is
 * written to the place of the older copy, and the maps are believed only if the
 * superblock that says so was written after them.
 */
#include <linux/crc32c.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include "meta.h"
#include "netlink.h"

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

/* Return: NULL, or why this copy cannot be used. */
static const char *super_check(struct repl_super *s)
{
	if (memcmp(s->magic, REPL_SB_MAGIC, sizeof(s->magic)))
		return "no superblock";
	if (le32_to_cpu(s->crc) != super_crc(s))
		return "a damaged superblock";
	if (le32_to_cpu(s->version) != REPL_FORMAT_VERSION)
		return "a format version this module does not know";
	if (s->features)
		return "features this module does not know";
	if (le32_to_cpu(s->flags) & ~REPL_SB_FLAGS_ALL)
		return "flags this module does not know";
	return NULL;
}

static bool super_geometry_ok(const struct repl_super *s, u64 data_bytes, u64 meta_bytes)
{
	u64 size = le64_to_cpu(s->data_size);
	u64 start = le64_to_cpu(s->meta_offset);
	u64 area = le64_to_cpu(s->meta_size);
	u64 map = le64_to_cpu(s->map_bytes);
	u64 maps = map * s->slots;
	bool external = le32_to_cpu(s->flags) & REPL_SB_EXTERNAL;

	if (!s->slots || s->slots > REPL_SLOTS_MAX || s->block_shift != REPL_BLOCK_SHIFT ||
	    s->lbs_shift < SECTOR_SHIFT || s->lbs_shift > REPL_BLOCK_SHIFT ||
	    s->region_shift < REPL_REGION_SHIFT_MIN || s->region_shift > REPL_REGION_SHIFT_MAX)
		return false;
	if (size < REPL_DATA_MIN || size > REPL_DATA_MAX || size % REPL_BLOCK_BYTES ||
	    size > data_bytes || (!external && size > start))
		return false;
	if (map % REPL_META_ALIGN || map > REPL_DATA_MAX ||
	    map < DIV_ROUND_UP_ULL(size >> REPL_BLOCK_SHIFT, MAP_PAGE_BITS) * MAP_PAGE_BYTES ||
	    le64_to_cpu(s->log_offset) != maps || le64_to_cpu(s->log_bytes) > REPL_DATA_MAX)
		return false;
	return start % REPL_META_ALIGN == 0 && area <= meta_bytes && start <= meta_bytes - area &&
	       area == maps + le64_to_cpu(s->log_bytes) + REPL_SB_COPIES * REPL_SB_BYTES;
}

/* The newer valid copy; reasons are those of the last one that was not. */
static int super_choose(struct volume *v, u64 meta_end, struct why *why)
{
	struct repl_super *s = page_address(v->meta_page);
	const char *wrong = NULL;
	bool found = false;
	unsigned int copy;
	int err;

	for (copy = 0; copy < REPL_SB_COPIES; copy++) {
		err = backing_io(volume_meta(v), REQ_OP_READ, copy_offset(meta_end, copy),
				 v->meta_page);
		if (err) {
			wrong = "a read error";
			continue;
		}
		wrong = super_check(s) ?: wrong;
		if (super_check(s))
			continue;
		if (!found || le64_to_cpu(s->sequence) > le64_to_cpu(v->next->sequence)) {
			*v->next = *s;
			v->super_copy = copy;
		}
		found = true;
	}
	if (found)
		return 0;
	return why_set(why, -EINVAL, "%s: %pg has %s where its metadata should be: run mkfs.repl, or fsck.repl",
		       v->name, volume_meta(v)->bdev, wrong);
}

/**
 * meta_read() - find and check the superblock, and take the volume's shape from it
 * @v: its devices open
 * @known_end: where the metadata area ends, bytes; NULL: with the device
 * @why: filled in on error
 *
 * Context: control, before anybody else knows the volume.
 */
int meta_read(struct volume *v, const u64 *known_end, struct why *why)
{
	u64 end = round_down(volume_meta(v)->bytes, REPL_META_ALIGN);
	struct repl_super *s = v->next;
	int err;

	if (known_end) {
		end = *known_end;
		if (end % REPL_META_ALIGN || end > volume_meta(v)->bytes)
			return why_set(why, -EINVAL, "%s: no metadata area can end at byte %llu",
				       v->name, end);
	}
	if (end < REPL_SB_COPIES * REPL_SB_BYTES)
		return why_set(why, -ENOSPC, "%s: %pg is too small to hold metadata", v->name,
			       volume_meta(v)->bdev);
	err = super_choose(v, end, why);
	if (err)
		return err;
	if (!super_geometry_ok(s, v->data.bytes, volume_meta(v)->bytes))
		return why_set(why, -EINVAL,
			       "%s: the superblock does not fit %pg: was the device shrunk?",
			       v->name, v->data.bdev);
	if (!(le32_to_cpu(s->flags) & REPL_SB_EXTERNAL) != !v->meta.bdev)
		return why_set(why, -EINVAL, "%s: the metadata are %s: see fsck.repl", v->name,
			       v->meta.bdev ? "internal, but a metadata device is configured" :
					      "on a device of their own, which is not configured");
	if (strnlen(s->name, sizeof(s->name)) == sizeof(s->name) || strcmp(s->name, v->name))
		return why_set(why, -EINVAL, "%s: the device holds volume '%.*s': check device=",
			       v->name, (int)sizeof(s->name) - 1, s->name);
	if (1u << s->lbs_shift < bdev_logical_block_size(v->data.bdev))
		return why_set(why, -EINVAL,
			       "%s: blocks of %u bytes cannot be written to %pg, whose blocks have %u",
			       v->name, 1u << s->lbs_shift, v->data.bdev,
			       bdev_logical_block_size(v->data.bdev));
	v->super = *s;
	v->size = le64_to_cpu(s->data_size);
	v->slots = s->slots;
	v->lbs_shift = s->lbs_shift;
	v->region_shift = s->region_shift;
	v->meta_offset = le64_to_cpu(s->meta_offset);
	if (v->meta_offset + le64_to_cpu(s->meta_size) == end)
		return 0;
	return why_set(why, -EINVAL,
		       "%s: the superblock says that it lies elsewhere: was the device resized?",
		       v->name);
}

/**
 * meta_edit() - a copy of the superblock to change
 * @v: the volume
 *
 * Context: control.  Whoever edits commits, or nothing has happened.
 */
struct repl_super *meta_edit(struct volume *v)
{
	*v->next = v->super;
	return v->next;
}

/**
 * meta_commit() - make the edited superblock durable, then visible
 * @v: the volume
 * @why: filled in on error; the old one is in force then
 *
 * Context: control; may sleep.  Allocates nothing.
 */
int meta_commit(struct volume *v, struct why *why)
{
	struct repl_super *s = v->next;
	unsigned int copy = !v->super_copy;
	u64 end = v->meta_offset + le64_to_cpu(s->meta_size);
	int err;

	s->sequence = cpu_to_le64(le64_to_cpu(v->super.sequence) + 1);
	s->crc = cpu_to_le32(super_crc(s));
	memcpy(page_address(v->meta_page), s, sizeof(*s));
	err = backing_io(volume_meta(v), REQ_OP_WRITE | REQ_SYNC | REQ_META | REQ_PREFLUSH | REQ_FUA,
			 copy_offset(end, copy), v->meta_page);
	if (err) {
		volume_count(v, REPL_C_ERRORS, 1);
		return why_set(why, err, "%s: the superblock on %pg cannot be written", v->name,
			       volume_meta(v)->bdev);
	}
	volume_count(v, REPL_C_META_WRITES, 1);
	v->super_copy = copy;
	mutex_lock(&v->super_lock);
	v->super = *s;
	mutex_unlock(&v->super_lock);
	return 0;
}

static u64 map_offset(struct volume *v, unsigned int slot, unsigned long page)
{
	return v->meta_offset + slot * le64_to_cpu(v->super.map_bytes) + (u64)page * MAP_PAGE_BYTES;
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

/**
 * meta_load_maps() - make the slots' maps as they were at the last stop
 * @v: its superblock read
 * @why: filled in on error
 *
 * After a stop that was not clean every block of every slot is dirty.
 *
 * Context: control, before anybody else knows the volume.
 */
int meta_load_maps(struct volume *v, struct why *why)
{
	bool clean = le32_to_cpu(v->super.flags) & REPL_SB_CLEAN;
	unsigned int i;
	int err;

	for (i = 0; i < v->slots; i++) {
		const struct repl_super_slot *record = &v->super.slot[i];
		struct slot *slot = &v->slot[i];

		slot->index = i;
		slot->since = ktime_get_ns();
		if (record->kind == REPL_SLOT_FREE)
			continue;
		err = map_init(&slot->map, v->size >> REPL_BLOCK_SHIFT);
		if (err)
			return why_set(why, err, "%s: no memory for the map of slot %u", v->name, i);
		slot->kind = record->kind;
		if (!clean || (le32_to_cpu(record->flags) & REPL_SS_FULL))
			map_set_all(&slot->map);
		else
			err = load_map(v, slot, why);
		if (err)
			return err;
	}
	return 0;
}

static u64 cuts_begun(struct volume *v)
{
	u64 cuts;

	spin_lock_irq(&v->io_lock);
	cuts = v->cuts;
	spin_unlock_irq(&v->io_lock);
	return cuts;
}

static bool cut_open(struct volume *v)
{
	bool open = false;
	unsigned int i;

	spin_lock_irq(&v->io_lock);
	for (i = 0; i < v->slots; i++)
		open |= v->slot[i].cut != NULL;
	spin_unlock_irq(&v->io_lock);
	return open;
}

/**
 * meta_save_maps() - write the slots' maps; the caller's next commit says they count
 * @v: not primary, no write in flight, no link closing
 * @count: set when they say all there is to say: no cut was open, and none has begun
 * @why: filled in on error
 *
 * The data are flushed first: a map without a bit claims that its block is on
 * stable media here, too.
 *
 * Context: control; may sleep.
 */
int meta_save_maps(struct volume *v, bool *count, struct why *why)
{
	int err = blkdev_issue_flush(v->data.bdev);
	u64 cuts = cuts_begun(v);
	bool open = cut_open(v);
	unsigned int slot;
	unsigned long i;

	if (err)
		return why_set(why, err, "%s: %pg cannot be flushed", v->name, v->data.bdev);
	for (slot = 0; slot < v->slots; slot++) {
		for (i = 0; i < v->slot[slot].map.pages; i++) {
			spin_lock_irq(&v->io_lock);
			map_save_page(&v->slot[slot].map, i, page_address(v->meta_page));
			spin_unlock_irq(&v->io_lock);
			err = backing_io(volume_meta(v), REQ_OP_WRITE | REQ_META,
					 map_offset(v, slot, i), v->meta_page);
			if (err)
				return why_set(why, err, "%s: the maps cannot be written to %pg",
					       v->name, volume_meta(v)->bdev);
		}
	}
	/* A cut takes a map's bits away, to bring them back perhaps: a map saved meanwhile lacks them. */
	*count = !open && cuts_begun(v) == cuts && !v->broken;
	return 0;
}

/**
 * meta_maps_count() - let an edited superblock say that the maps on disk say it all
 * @s: being edited
 */
void meta_maps_count(struct repl_super *s)
{
	unsigned int i;

	s->flags |= cpu_to_le32(REPL_SB_CLEAN);
	for (i = 0; i < s->slots; i++)
		s->slot[i].flags &= ~cpu_to_le32(REPL_SS_FULL);
}
