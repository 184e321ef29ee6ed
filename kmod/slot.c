// SPDX-License-Identifier: GPL-2.0-only
/* The upper half is the data path's, under io_lock; the lower half is control's. */
#include <linux/bitmap.h>
#include <linux/slab.h>
#include "cut.h"
#include "detach.h"
#include "gate.h"
#include "link.h"
#include "log.h"
#include "meta.h"
#include "netlink.h"
#include "share.h"
#include "slot.h"

/**
 * slot_alloc_maps() - empty maps, and what tells that their image on disk is stale
 * @size: of the volume, bytes
 * @maps: its maps and ->touched are filled in; else zeroes
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM, with nothing allocated.
 */
int slot_alloc_maps(u64 size, struct slot *maps)
{
	u64 blocks = size >> REPL_BLOCK_SHIFT;

	if (!map_init(&maps->map, blocks) && !map_init(&maps->settling, blocks)) {
		maps->touched = kvcalloc(BITS_TO_LONGS(maps->map.pages), sizeof(long), GFP_KERNEL);
		if (maps->touched)
			return 0;
	}
	slot_free_maps(maps);
	return -ENOMEM;
}

/**
 * slot_free_maps() - give back all memory
 * @maps: of slot_alloc_maps(), or zeroes
 *
 * Context: may sleep.
 */
void slot_free_maps(struct slot *maps)
{
	map_free(&maps->map);
	map_free(&maps->settling);
	kvfree(maps->touched);
	maps->touched = NULL;
}

/* Who has @to without maps takes those of @from. */
static void move_maps(struct slot *to, struct slot *from)
{
	swap(to->map, from->map);
	swap(to->settling, from->settling);
	swap(to->touched, from->touched);
}

static void touch(struct slot *slot, u64 first, u64 last)
{
	last = min(last, slot->map.bits - 1);
	first >>= MAP_PAGE_SHIFT;
	last >>= MAP_PAGE_SHIFT;
	if (likely(first == last))
		__set_bit(first, slot->touched);
	else
		bitmap_set(slot->touched, first, last - first + 1);
}

/**
 * slot_touch_page() - a page of the map has to be saved
 * @v: the volume
 * @slot: whose map
 * @page: which
 *
 * Context: any; no lock held.
 */
void slot_touch_page(struct volume *v, struct slot *slot, unsigned long page)
{
	unsigned long flags;

	spin_lock_irqsave(&v->io_lock, flags);
	if (slot->touched)
		__set_bit(page, slot->touched);
	spin_unlock_irqrestore(&v->io_lock, flags);
}

/**
 * slot_touch_map() - the bits of a map have been taken from the slot's for good
 * @v: the volume, io_lock held
 * @slot: whose; perhaps free by now
 * @gone: as large as the slot's
 */
void slot_touch_map(struct volume *v, struct slot *slot, const struct map *gone)
{
	unsigned long page;

	lockdep_assert_held(&v->io_lock);
	for (page = 0; slot->touched && page < gone->pages; page++)
		if (!map_page_empty(gone, page))
			__set_bit(page, slot->touched);
}

/**
 * slot_mark() - a range has changed, or may have
 * @v: the volume, io_lock held
 * @slot: without a link
 * @offset: bytes
 * @length: bytes, not 0
 */
void slot_mark(struct volume *v, struct slot *slot, u64 offset, u64 length)
{
	u64 first = offset >> REPL_BLOCK_SHIFT;
	u64 last = (offset + length - 1) >> REPL_BLOCK_SHIFT;

	lockdep_assert_held(&v->io_lock);
	/* Who is live lacks nothing, and nobody would look for this: so it is live no more. */
	if (WARN_ON_ONCE(slot->link))
		link_kill_locked(slot->link, "blocks were marked that it has");
	map_set(&slot->map, first, last - first + 1);
	touch(slot, first, last);
}

/**
 * slot_any_closing() - is I/O of a dead link still under way?
 * @v: the volume, io_lock held
 */
bool slot_any_closing(const struct volume *v)
{
	unsigned int i;

	lockdep_assert_held(&v->io_lock);
	for (i = 0; i < v->slots; i++)
		if (v->slot[i].closing)
			return true;
	return false;
}

/**
 * slot_end_links() - no peer is live any more
 * @v: the volume, io_lock held
 * @reason: in words, for the slots
 */
void slot_end_links(struct volume *v, const char *reason)
{
	unsigned int i;

	lockdep_assert_held(&v->io_lock);
	for (i = 0; i < v->slots; i++) {
		if (!v->slot[i].link)
			continue;
		/* Who has sent what failed here is told so. */
		v->slot[i].link->polite = !v->primary;
		link_kill_locked(v->slot[i].link, reason);
	}
}

/**
 * slot_dirty() - how many blocks its consumer does not have
 * @slot: under volume->io_lock
 *
 * Return: blocks; one that is dirty in the map and in a cut, say, counts twice.
 */
u64 slot_dirty(const struct slot *slot)
{
	return slot->map.set + slot->settling.set + (slot->cut ? cut_blocks(slot->cut) : 0);
}

/**
 * slot_not_joinable() - why a link cannot be adopted now
 * @v: the volume, io_lock held
 * @slot: the peer's
 * @why: filled in
 *
 * Return: true when it cannot.
 */
bool slot_not_joinable(struct volume *v, struct slot *slot, struct why *why)
{
	lockdep_assert_held(&v->io_lock);
	if (slot->kind != REPL_SLOT_PEER)
		return why_set(why, -ENOENT, "%s: slot %u is no peer's", v->name, slot->index);
	if (slot->link || slot->closing)
		return why_set(why, -EBUSY, "%s: slot %u has a link, or its last one is not done",
			       v->name, slot->index);
	if (slot->cut || slot_dirty(slot))
		return why_set(why, -EBUSY, "%s: slot %u is %llu blocks behind: catch up first",
			       v->name, slot->index, slot_dirty(slot));
	if (v->live >= REPL_LINKS_MAX)
		return why_set(why, -EUSERS, "%s: %u peers are live already, which is the limit: remove a peer, repl-ctl peer remove",
			       v->name, v->live);
	if (v->failing)
		return why_set(why, -EIO, "%s: its I/O is failing: demote it first", v->name);
	if (v->diskless)
		return detach_refuse(v, why);
	if (v->primary && (!(v->gate & REPL_GATE_JOIN) || !list_empty(&v->writes)))
		return why_set(why, -EAGAIN,
			       "%s: writes go on: freeze it for the join, and wait for the ticket",
			       v->name);
	return false;
}

/* ------------------------------------------------------------- control -- */

/**
 * slot_any_peer() - is there another copy, or was there ever one?
 * @s: a superblock
 */
bool slot_any_peer(const struct repl_super *s)
{
	unsigned int i;

	for (i = 0; i < s->slots; i++)
		if (s->slot[i].kind == REPL_SLOT_PEER)
			return true;
	return false;
}

/* A freeze for lost peers ends when each of them is back, or none of the volume's any more. */
static void grant_resume(struct volume *v)
{
	spin_lock_irq(&v->io_lock);
	if (v->primary && (v->gate & REPL_GATE_PEER_LOST) && !v->lost_slots) {
		v->resume_granted = true;
		queue_work(v->ops, &v->lost);
	}
	spin_unlock_irq(&v->io_lock);
}

static bool slot_busy(struct volume *v, struct slot *slot)
{
	bool busy;

	spin_lock_irq(&v->io_lock);
	busy = slot->link || slot->closing || slot->cut;
	spin_unlock_irq(&v->io_lock);
	return busy;
}

/* The superblock in force says that it is free. */
static void slot_forget(struct volume *v, struct slot *slot)
{
	struct slot gone = {};

	spin_lock_irq(&v->io_lock);
	/* A cut that has begun meanwhile finds no map to come back to: cut_end(). */
	slot->kind = REPL_SLOT_FREE;
	v->used &= ~(1u << slot->index);
	/* An arbiter may still let that copy go on: it is not forgotten before a grant. */
	if (v->on_peer_loss != REPL_LOSS_ARBITER)
		v->lost_slots &= ~(1u << slot->index);
	move_maps(&gone, slot);
	spin_unlock_irq(&v->io_lock);
	slot_free_maps(&gone);
	if (v->on_peer_loss == REPL_LOSS_FREEZE)
		grant_resume(v);
}

static int slot_release(struct volume *v, struct slot *slot, struct why *why)
{
	int err;

	memset(&meta_edit(v)->slot[slot->index], 0, sizeof(struct repl_super_slot));
	err = meta_commit(v, why);
	if (!err)
		slot_forget(v, slot);
	return err;
}

/* Its consumer is another one now: nothing it had counts. */
static int slot_assign(struct volume *v, struct slot *slot, const struct op *op, struct why *why)
{
	struct repl_super_slot *record = &meta_edit(v)->slot[slot->index];
	struct slot fresh = {};
	int err;

	if (!slot->kind) {
		err = slot_alloc_maps(v->size, &fresh);
		if (err)
			return why_set(why, err, "%s: no memory for the map of slot %u", v->name,
				       slot->index);
	}
	memset(record, 0, sizeof(*record));
	record->kind = op->u.slot.kind;
	record->flags = cpu_to_le32(REPL_SS_FULL);
	memcpy(record->key, op->u.slot.key, sizeof(record->key));
	if (op->u.slot.has_copy)
		record->copy_id = op->u.slot.copy;
	err = meta_commit(v, why);
	if (err) {
		slot_free_maps(&fresh);
		return err;
	}
	spin_lock_irq(&v->io_lock);
	if (fresh.touched)
		move_maps(slot, &fresh);
	slot_mark(v, slot, 0, v->size);
	slot->kind = op->u.slot.kind;
	v->used |= 1u << slot->index;
	/* What is in flight is not logged: the slot is full. */
	if (v->primary)
		log_begin(v);
	spin_unlock_irq(&v->io_lock);
	/* Of a peer's writes under way the map did not know: a cut must not have been before them. */
	share_wait_unsampled(v);
	spin_lock_irq(&v->io_lock);
	slot_mark(v, slot, 0, v->size);
	spin_unlock_irq(&v->io_lock);
	return 0;
}

/* Return: the other slot that has this key, or NULL. */
static struct slot *key_in_other_slot(struct volume *v, const struct op *op)
{
	unsigned int i;

	for (i = 0; i < v->slots; i++)
		if (i != op->u.slot.slot && v->super.slot[i].kind == op->u.slot.kind &&
		    !memcmp(v->super.slot[i].key, op->u.slot.key, REPL_KEY_BYTES))
			return &v->slot[i];
	return NULL;
}

/* A peer's slot may be taken by another peer; what a mark stands for nobody else would know. */
static int mark_refuse(struct volume *v, const struct op *op, struct why *why)
{
	const struct repl_super_slot *record = &v->super.slot[op->u.slot.slot];
	u8 kind = op->u.slot.kind;

	if (record->kind == REPL_SLOT_MARK && kind == REPL_SLOT_FREE &&
	    memcmp(record->key, op->u.slot.key, REPL_KEY_BYTES))
		return why_set(why, -ENOENT, "%s: slot %u is not that mark's", v->name,
			       op->u.slot.slot);
	if (record->kind != kind && (kind == REPL_SLOT_MARK || record->kind == REPL_SLOT_MARK) &&
	    record->kind != REPL_SLOT_FREE && kind != REPL_SLOT_FREE)
		return why_set(why, -EEXIST, "%s: slot %u is a %s's: take another one", v->name,
			       op->u.slot.slot, kind == REPL_SLOT_MARK ? "peer" : "mark");
	if (record->kind == REPL_SLOT_MARK && kind == REPL_SLOT_MARK &&
	    (!op->u.slot.has_copy || id_is_zero(&op->u.slot.copy) ||
	     !id_equal(&op->u.slot.copy, &record->copy_id)))
		return why_set(why, -EEXIST, "%s: slot %u is another mark's: free it first", v->name,
			       op->u.slot.slot);
	return 0;
}

/*
 * A mark is known by its copy id, and gets another name: none of its blocks changes.  Who had
 * that name is gone by the same superblock, so after a crash one of the two has it.
 *
 * The record stops saying FULL: it did since the mark was made, for the writes that were in
 * flight then and not logged.  Either a cut has taken their blocks since, which waited for
 * them, or they are dirty in the map that is saved here.  Writes go on meanwhile: their
 * regions are in the log.
 */
static int mark_rename(struct volume *v, struct slot *slot, const struct op *op, struct why *why)
{
	struct slot *other = key_in_other_slot(v, op);
	struct repl_super_slot *record;
	struct repl_super *s;
	int err;

	if (other && slot_busy(v, other))
		return why_set(why, -EBUSY, "%s: slot %u has a cut: end it first", v->name,
			       other->index);
	err = meta_save_maps(v, why);
	if (err)
		return err;
	s = meta_edit(v);
	record = &s->slot[slot->index];
	memcpy(record->key, op->u.slot.key, sizeof(record->key));
	record->flags &= ~cpu_to_le32(REPL_SS_FULL);
	record->generation = s->generation;
	record->epoch = s->epoch;
	if (other)
		memset(&s->slot[other->index], 0, sizeof(*record));
	err = meta_commit(v, why);
	if (!err && other)
		slot_forget(v, other);
	return err;
}

/**
 * slot_set() - REPL_CMD_SLOT_SET
 * @op: control
 * @why: filled in on error
 */
int slot_set(struct op *op, struct why *why)
{
	struct volume *v = op->volume;
	struct slot *slot = &v->slot[op->u.slot.slot];
	const struct repl_super_slot *record = &v->super.slot[op->u.slot.slot];
	bool same = record->kind == op->u.slot.kind &&
		    !memcmp(record->key, op->u.slot.key, REPL_KEY_BYTES);
	bool same_copy = !op->u.slot.has_copy || id_equal(&record->copy_id, &op->u.slot.copy);
	int err;

	if (op->u.slot.kind == REPL_SLOT_FREE && record->kind == REPL_SLOT_FREE)
		return 0;
	if (same && same_copy)
		return 0;
	err = mark_refuse(v, op, why);
	if (err)
		return err;
	if (slot_busy(v, slot))
		return why_set(why, -EBUSY, "%s: slot %u has a link or a cut: end it first", v->name,
			       slot->index);
	if (op->u.slot.kind == REPL_SLOT_FREE)
		return slot_release(v, slot, why);
	if (record->kind == REPL_SLOT_MARK)
		return mark_rename(v, slot, op, why);
	if (key_in_other_slot(v, op))
		return why_set(why, -EEXIST, "%s: %s has another slot already", v->name,
			       op->u.slot.kind == REPL_SLOT_MARK ? "a mark of that name" : "that peer");
	return slot_assign(v, slot, op, why);
}

/*
 * What lies beyond the end is ignored.  One extent at a time: each may be the whole volume,
 * and no step of control comes between, which alone could make the slot live or free.
 */
static void mark_extent(struct volume *v, struct slot *slot, const struct repl_extent *extent)
{
	u64 count;

	if (extent->block >= slot->map.bits || !extent->count)
		return;
	count = min(extent->count, slot->map.bits - extent->block);
	spin_lock_irq(&v->io_lock);
	slot_mark(v, slot, extent->block << REPL_BLOCK_SHIFT, count << REPL_BLOCK_SHIFT);
	/* Whoever marks is about to write there, past the cuts: what they hold will not stand still. */
	if (slot->cut)
		cut_give_up(v, extent->block << REPL_BLOCK_SHIFT, count << REPL_BLOCK_SHIFT);
	spin_unlock_irq(&v->io_lock);
}

/**
 * slot_mark_extents() - REPL_CMD_MARK
 * @op: control
 * @why: filled in on error
 */
int slot_mark_extents(struct op *op, struct why *why)
{
	struct volume *v = op->volume;
	unsigned int i, n;
	int err = 0;

	spin_lock_irq(&v->io_lock);
	for (i = 0; i < v->slots; i++)
		if ((op->u.mark.mask & (1u << i)) && v->slot[i].link)
			err = why_set(why, -EBUSY, "%s: slot %u is live, its map must be empty",
				      v->name, i);
	spin_unlock_irq(&v->io_lock);
	for (i = 0; !err && i < v->slots; i++)
		for (n = 0; (op->u.mark.mask & (1u << i)) && v->slot[i].kind &&
			    n < op->u.mark.count; n++)
			mark_extent(v, &v->slot[i], &op->u.mark.extents[n]);
	/* No write goes with them that would log their regions. */
	return err ?: meta_save_maps(v, why);
}

/* Old writes on their way to the disk must not land on newer ones. */
static void wait_for_closing(struct volume *v)
{
	spin_lock_irq(&v->io_lock);
	wait_event_lock_irq(v->quiet, !slot_any_closing(v), v->io_lock);
	spin_unlock_irq(&v->io_lock);
}

/**
 * slot_follow() - REPL_CMD_FOLLOW
 * @op: control
 * @why: filled in on error
 */
int slot_follow(struct op *op, struct why *why)
{
	struct volume *v = op->volume;
	struct repl_super *s;
	unsigned int i;
	bool hole;
	int err;

	if (v->primary)
		return why_set(why, -EBUSY, "%s is primary here: demote it first", v->name);
	if (v->super.slot[op->u.slot.slot].kind != REPL_SLOT_PEER)
		return why_set(why, -ENOENT, "%s: slot %u is no peer's", v->name, op->u.slot.slot);
	if (v->live)
		return why_set(why, -EBUSY, "%s has a live link: end it first", v->name);
	if (v->diskless)
		return detach_refuse(v, why);
	wait_for_closing(v);
	s = meta_edit(v);
	s->uuid = op->u.slot.copy;
	s->flags |= cpu_to_le32(REPL_SB_IDENTITY);
	s->flags &= ~cpu_to_le32(REPL_SB_CONSISTENT);
	/* Zero, too: what was to be applied before is older than what comes now. */
	s->staged = cpu_to_le64(op->u.slot.staged);
	for (i = 0; i < s->slots; i++)
		s->slot[i].flags &= ~cpu_to_le32(REPL_SS_LIVE);
	/* What was lost before is dirty, here or there, and will be brought; from here on it counts. */
	spin_lock_irq(&v->io_lock);
	hole = v->hole;
	v->hole = false;
	spin_unlock_irq(&v->io_lock);
	err = meta_commit(v, why);
	if (err && hole)
		detach_doubt(v);
	return err;
}

/* Return: 0 when all that this copy has got, as far as anybody knows, is on stable media. */
static int flush_whole(struct volume *v, bool follows, struct why *why)
{
	int err = follows ? detach_hole(v, why) : 0;

	if (err)
		return err;
	err = detach_flush(v);
	return err ? why_set(why, err, "%s: %pg cannot be flushed", v->name, v->data.bdev) : 0;
}

static int commit_refused(struct volume *v, const struct op *op, struct why *why)
{
	const struct slot *slot = &v->slot[op->u.link.slot];
	int err = 0;

	if (v->super.slot[op->u.link.slot].kind != REPL_SLOT_PEER)
		return why_set(why, -ENOENT, "%s: slot %u is no peer's", v->name, op->u.link.slot);
	if (id_is_zero(&op->u.link.generation))
		return why_set(why, -EINVAL, "%s: nothing can be equal in no generation", v->name);
	spin_lock_irq(&v->io_lock);
	if (op->u.link.flags & REPL_LINK_FOLLOW) {
		if (v->primary)
			err = why_set(why, -EBUSY, "%s is primary here: demote it first", v->name);
		else if (v->live)
			err = why_set(why, -EBUSY, "%s has a live link: end it first", v->name);
		else if (v->diskless)
			err = detach_refuse(v, why);
	} else if (slot->link || slot->closing) {
		err = why_set(why, -EBUSY, "%s: slot %u has a link, or its last one is not done",
			      v->name, slot->index);
	}
	spin_unlock_irq(&v->io_lock);
	return err;
}

/* This copy is the leader's of that generation; and where that one is now, it is newer. */
static void record_follow(struct repl_super *s, const struct op *op)
{
	s->generation = op->u.link.generation;
	s->epoch = cpu_to_le64(op->u.link.epoch);
	memcpy(s->history, op->u.link.history, sizeof(s->history));
	s->flags |= cpu_to_le32(REPL_SB_CONSISTENT | REPL_SB_IDENTITY);
	s->flags &= ~cpu_to_le32(REPL_SB_BY_PEER_DEAD | REPL_SB_BY_FORCE | REPL_SB_PRIMARY |
				 REPL_SB_UNPROVEN | REPL_SB_CRASHED);
	s->slot[op->u.link.slot].flags |= cpu_to_le32(REPL_SS_AHEAD);
}

/**
 * slot_commit() - REPL_CMD_COMMIT
 * @op: control; REPL_LINK_FOLLOW in its flags: this copy is the one that has become equal
 * @why: filled in on error
 */
int slot_commit(struct op *op, struct why *why)
{
	bool follows = op->u.link.flags & REPL_LINK_FOLLOW;
	struct volume *v = op->volume;
	struct repl_super_slot *record;
	struct repl_super *s;
	int err;

	if (follows)
		wait_for_closing(v);
	err = commit_refused(v, op, why);
	/* The generation speaks of what is on stable media, not of what a cache holds. */
	if (!err && follows)
		err = flush_whole(v, true, why);
	if (err)
		return err;
	s = meta_edit(v);
	record = &s->slot[op->u.link.slot];
	record->generation = op->u.link.generation;
	record->epoch = cpu_to_le64(op->u.link.epoch);
	record->flags &= ~cpu_to_le32(REPL_SS_LIVE | REPL_SS_AHEAD);
	if (follows)
		record_follow(s, op);
	err = meta_commit(v, why);
	if (!err && follows)
		detach_mended(v);
	return err;
}

static void record_join(struct volume *v, const struct op *op)
{
	struct repl_super *s = meta_edit(v);
	struct repl_super_slot *record = &s->slot[op->u.link.slot];

	if (op->u.link.flags & REPL_LINK_FOLLOW) {
		s->generation = op->u.link.generation;
		s->epoch = cpu_to_le64(op->u.link.epoch);
		memcpy(s->history, op->u.link.history, sizeof(s->history));
		s->flags |= cpu_to_le32(REPL_SB_CONSISTENT | REPL_SB_IDENTITY);
		s->flags &= ~cpu_to_le32(REPL_SB_BY_PEER_DEAD | REPL_SB_BY_FORCE | REPL_SB_PRIMARY);
	}
	s->flags &= ~cpu_to_le32(REPL_SB_UNPROVEN | REPL_SB_CRASHED);
	record->flags |= cpu_to_le32(REPL_SS_LIVE);
	record->flags &= ~cpu_to_le32(REPL_SS_FULL | REPL_SS_AHEAD);
	record->generation = s->generation;
	record->epoch = s->epoch;
}

static bool join_refused(struct volume *v, const struct op *op, struct why *why)
{
	bool refused;

	spin_lock_irq(&v->io_lock);
	refused = slot_not_joinable(v, &v->slot[op->u.link.slot], why);
	spin_unlock_irq(&v->io_lock);
	if (refused)
		return true;
	if (op->u.link.link->unflushed[0].bits != v->log.regions)
		return why_set(why, -EAGAIN, "%s has grown since the link was made: make another",
			       v->name);
	if ((op->u.link.flags & REPL_LINK_FOLLOW) && v->primary)
		return why_set(why, -EBUSY, "%s is primary here and cannot follow", v->name);
	/* A copy that was not given up is one of the leader's generation, or has gone on since. */
	if ((op->u.link.flags & REPL_LINK_FOLLOW) &&
	    (le32_to_cpu(v->super.flags) & REPL_SB_CONSISTENT) &&
	    !id_equal(&v->super.generation, &op->u.link.generation))
		return why_set(why, -EBUSY, "%s: this copy is of another generation: it must follow first",
			       v->name);
	return false;
}

/**
 * slot_join() - REPL_CMD_LINK_ADD: the slot becomes live
 * @op: control
 * @why: filled in on error
 *
 * Durable first, then live.  A freeze that has reached its deadline meanwhile
 * is noticed by link_publish(), and the record taken back: then writes have gone on
 * without the peer, and it has not been told that it is live.
 */
int slot_join(struct op *op, struct why *why)
{
	struct volume *v = op->volume;
	__le32 doubts = v->super.flags & cpu_to_le32(REPL_SB_UNPROVEN | REPL_SB_CRASHED);
	struct link *link = op->u.link.link;
	struct repl_super *s;
	int err;

	if (op->u.link.flags & REPL_LINK_FOLLOW)
		wait_for_closing(v);
	if (join_refused(v, op, why))
		return -EBUSY;
	/* An empty map says that the data are on stable media here, too. */
	err = flush_whole(v, op->u.link.flags & REPL_LINK_FOLLOW, why);
	if (err)
		return err;
	record_join(v, op);
	err = meta_commit(v, why);
	if (err)
		return err;
	err = link_start(link, why);
	if (err)
		goto forget;
	err = link_publish(link, why);
	if (err)
		goto stop;
	op->u.link.link = NULL;
	if (op->u.link.flags & REPL_LINK_FOLLOW)
		detach_mended(v);
	grant_resume(v);
	netlink_event(v, REPL_EVENT_LINK_UP, op->u.link.slot, "the link is live");
	return 0;

stop:
	link_abandon(link);
forget:
	s = meta_edit(v);
	s->slot[op->u.link.slot].flags &= ~cpu_to_le32(REPL_SS_LIVE);
	/* Who follows has the leader's copy; who leads has nobody yet who has proved it. */
	if (!(op->u.link.flags & REPL_LINK_FOLLOW))
		s->flags |= doubts;
	meta_commit(v, why);
	return err;
}

/**
 * slot_join_drop() - the link of a join that did not happen
 * @op: run, or never run
 */
void slot_join_drop(struct op *op)
{
	if (op->u.link.link)
		link_destroy(op->u.link.link);
}

/**
 * slot_leave() - REPL_CMD_LINK_DEL
 * @op: control
 * @why: never filled in
 */
int slot_leave(struct op *op, struct why *why)
{
	link_close(op->volume, &op->volume->slot[op->u.slot.slot], "the link was closed here");
	return 0;
}
