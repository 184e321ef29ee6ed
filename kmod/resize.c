// SPDX-License-Identifier: GPL-2.0-only
/*
 * One step of control.  docs/FORMAT.md argues why a crash at any of its writes leaves
 * the old volume or the new one.
 *
 * Who could hold something of the old size is kept out first: the gate is shut, so no
 * write begins and nothing is to be logged; cuts are refused while it is, and one that is
 * open refuses the resize; links are ended, and their I/O waited for.  A link made
 * before and joined afterwards is refused for its number of regions.
 *
 * Memory is allocated before, so that afterwards only a device can fail.
 */
#include <linux/bitmap.h>
#include <linux/slab.h>
#include "gate.h"
#include "link.h"
#include "log.h"
#include "meta.h"
#include "netlink.h"
#include "resize.h"
#include "role.h"
#include "shape.h"
#include "share.h"
#include "slot.h"

/* What the volume will have; afterwards, what it had. */
struct larger {
	struct slot maps[REPL_SLOTS_MAX];
	struct region_log log;
	u32 full;		/* slots whose record says FULL from before */
};

static void larger_free(struct larger *larger)
{
	unsigned int i;

	for (i = 0; i < REPL_SLOTS_MAX; i++)
		slot_free_maps(&larger->maps[i]);
	log_free(&larger->log);
	kfree(larger);
}

static struct larger *larger_alloc(struct volume *v, u64 size, struct why *why)
{
	struct larger *larger = kzalloc(sizeof(*larger), GFP_KERNEL);
	unsigned int i;
	int err;

	if (!larger) {
		why_set(why, -ENOMEM, "%s: no memory to grow", v->name);
		return NULL;
	}
	err = log_alloc(v, &larger->log, size, why);
	for (i = 0; i < v->slots && !err; i++)
		if (v->slot[i].kind)
			err = slot_alloc_maps(size, &larger->maps[i]);
	if (!err)
		return larger;
	why_set(why, err, "%s: no memory for the maps of %llu bytes", v->name, size);
	larger_free(larger);
	return NULL;
}

static int refuse(struct volume *v, u64 size, struct why *why)
{
	u64 data = bdev_nr_bytes(v->data.bdev), meta = bdev_nr_bytes(volume_meta(v)->bdev);

	if (size < v->size || size % REPL_BLOCK_BYTES)
		return why_set(why, -EINVAL,
			       "%s has %llu bytes: it can grow, by whole blocks, but not to %llu",
			       v->name, v->size, size);
	if (v->broken || v->failing)
		return why_set(why, -EIO, "%s: %pg has failed: take it down and look at the device",
			       v->name, v->data.bdev);
	if (size <= shape_room(&v->super, data, meta))
		return 0;
	if (size > data || size > REPL_DATA_MAX)
		return why_set(why, -ENOSPC, "%s: %pg has %llu bytes, too few for %llu: grow it first",
			       v->name, v->data.bdev, data, size);
	return why_set(why, -ENOSPC,
		       "%s: %pg must grow by %llu bytes more: the metadata for %llu bytes need room of their own",
		       v->name, volume_meta(v)->bdev, shape_lacks(&v->super, size, meta), size);
}

/* Return: false with the gate as it was when a cut is open. */
static bool keep_out(struct volume *v)
{
	unsigned int i;
	bool cut = false;

	spin_lock_irq(&v->io_lock);
	for (i = 0; i < v->slots; i++)
		cut |= v->slot[i].cut != NULL;
	if (!cut)
		gate_shut(v, REPL_GATE_RESIZE);
	spin_unlock_irq(&v->io_lock);
	return !cut;
}

/* Peers whose bits cover the new blocks are behind: a primary goes on without them. */
static int end_links(struct volume *v, struct why *why)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < v->slots; i++)
		link_close(v, &v->slot[i], "the volume grows");
	if (READ_ONCE(v->gate) & REPL_GATE_PEER_LOST) {
		/* That of the teardown; nothing is left that could start another. */
		cancel_work(&v->lost);
		err = role_go_on(v, &(struct repl_id){}, why);
	}
	if (!err)
		role_wait_quiet(v);
	return err;
}

/*
 * The new superblock may have got there or not.  The old one's next but one is newer than
 * it; without that, nobody could say which of the two counts after a crash.
 */
static void take_back(struct volume *v, const struct repl_super *grown)
{
	struct why ignored = {};
	int err;

	if (grown)
		meta_wipe(v, grown);
	meta_edit(v);
	err = meta_commit(v, &ignored);
	meta_edit(v);
	if (!err)
		err = meta_commit(v, &ignored);
	if (!err)
		return;
	spin_lock_irq(&v->io_lock);
	v->broken = true;
	v->failing |= v->primary;
	slot_end_links(v, "the metadata here cannot be written");
	spin_unlock_irq(&v->io_lock);
}

/* From the commit on this is the larger volume.  Its maps do not count before they are saved. */
static int write_down(struct volume *v, struct larger *larger, u64 size, struct why *why)
{
	struct repl_super *old = kmemdup(&v->super, sizeof(v->super), GFP_KERNEL);
	struct repl_super *s = meta_edit(v);
	unsigned int i;
	bool moves;
	int err;

	if (!old)
		return why_set(why, -ENOMEM, "%s: no memory to grow", v->name);
	shape_grow(s, size, bdev_nr_bytes(volume_meta(v)->bdev));
	moves = s->meta_offset != old->meta_offset;
	for (i = 0; i < v->slots; i++) {
		larger->full |= (le32_to_cpu(s->slot[i].flags) & REPL_SS_FULL) ? 1u << i : 0;
		if (s->slot[i].kind != REPL_SLOT_FREE)
			s->slot[i].flags |= cpu_to_le32(REPL_SS_FULL);
	}
	err = moves ? meta_wipe(v, s) : 0;
	if (!err)
		err = log_copy(v, &larger->log,
			       le64_to_cpu(s->meta_offset) + le64_to_cpu(s->log_offset));
	if (err) {
		why_set(why, err, "%s: %pg cannot be written at its new end", v->name,
			volume_meta(v)->bdev);
	} else {
		err = meta_commit(v, why);
		if (err)
			take_back(v, moves ? s : NULL);
		else if (moves)
			/* Harmless when it fails: what is found at the end has a higher number. */
			meta_wipe(v, old);
	}
	kfree(old);
	return err;
}

static void switch_over(struct volume *v, struct larger *larger, u64 size)
{
	unsigned int i;

	mutex_lock(&v->super_lock);
	spin_lock_irq(&v->io_lock);
	v->size = size;
	/* With the last link nothing is settled any more. */
	share_end(v);
	for (i = 0; i < v->slots; i++) {
		struct slot *slot = &v->slot[i];

		if (!slot->kind)
			continue;
		map_grow(&slot->map, &larger->maps[i].map);
		map_swap(&slot->settling, &larger->maps[i].settling);
		swap(slot->touched, larger->maps[i].touched);
		bitmap_fill(slot->touched, slot->map.pages);
	}
	log_grow(v, &larger->log);
	spin_unlock_irq(&v->io_lock);
	mutex_unlock(&v->super_lock);
}

/*
 * Writes go on.  They are logged, no link is live before this step ends, and a slot that was
 * FULL before stays it: the maps on disk with the log say it all for the others.
 */
static int save(struct volume *v, u32 full, struct why *why)
{
	unsigned int i;
	int err = meta_save_maps(v, why);

	if (err)
		return err;
	meta_edit(v);
	for (i = 0; i < v->slots; i++)
		if (!(full & 1u << i))
			v->next->slot[i].flags &= ~cpu_to_le32(REPL_SS_FULL);
	return meta_commit(v, why);
}

/**
 * resize() - REPL_CMD_RESIZE
 * @op: control
 * @why: filled in on error
 */
int resize(struct op *op, struct why *why)
{
	struct volume *v = op->volume;
	struct larger *larger;
	int err = refuse(v, op->u.size, why);

	if (err || op->u.size == v->size)
		return err;
	/* All links end, and the generation that must follow is not for this step to ask for. */
	if (v->primary && v->on_peer_loss == REPL_LOSS_ARBITER)
		return why_set(why, -EBUSY, "%s has an arbiter, and cannot grow while it is primary",
			       v->name);
	larger = larger_alloc(v, op->u.size, why);
	if (!larger)
		return -ENOMEM;
	if (!keep_out(v)) {
		larger_free(larger);
		return why_set(why, -EBUSY, "%s has an open cut: end it first", v->name);
	}
	err = end_links(v, why);
	if (!err)
		err = write_down(v, larger, op->u.size, why);
	if (!err) {
		switch_over(v, larger, op->u.size);
		set_capacity_and_notify(v->disk, v->size >> SECTOR_SHIFT);
	}
	spin_lock_irq(&v->io_lock);
	gate_open(v, REPL_GATE_RESIZE);
	spin_unlock_irq(&v->io_lock);
	if (!err) {
		netlink_event(v, REPL_EVENT_RESIZE, -1, "%llu bytes now", v->size);
		err = save(v, larger->full, why);
	}
	larger_free(larger);
	return err;
}
