// SPDX-License-Identifier: GPL-2.0-only
/*
 * A write that comes over a link is dirty for every other slot, block by block, as a
 * primary's is for a peer that is not live; and its region is in the region log here
 * before it begins, so that a crash loses none of these bits.
 *
 * A third copy may have it too, from the same primary, which alone can know.  It says so
 * with SETTLED: the copies that are named hold what came over this link before the SETTLED
 * before it, durably.  So a slot has two maps.  ->map takes new blocks; SETTLED moves them
 * to ->settling, and drops what ->settling had if the slot's copy is named.  What is not
 * named stays, and adds up.
 *
 * Why this clears no bit too many (rule 2, "only by a confirmed, durable copy"): the
 * primary sends a SETTLED, has all answers, begins a period, waits until all writes of the
 * periods before have ended everywhere, flushes on every live peer, and sends the next.  What
 * is here in ->settling came before the first of the two, so it had begun before the period
 * did: a peer that was live then has answered it, and flushed it since; one that has joined
 * since was made equal to the primary, which had it.  The same flush was answered here.
 * The generation in it says that both were of one generation, so what is in a map is all
 * in which the two copies differ, however the slot began.
 *
 * Locks: volume->io_lock for all maps and lists; a SETTLED needs the superblock, too.
 * An apply that waits for the log is on volume->log.applies, counted in link->applying: the
 * teardown of its link waits for it, the logger for nothing of the link.  What waits is
 * bounded like all that was received (apply.c), and overlaps nothing, since it is unanswered.
 */
#include "apply.h"
#include "detach.h"
#include "link.h"
#include "log.h"
#include "meta.h"
#include "share.h"
#include "slot.h"

/**
 * share_mark() - this copy changes by the hand of one peer
 * @apply: a write, not begun
 *
 * A link to a third node ends: it would mirror nothing of this.  A peer that writes is
 * primary: an attempt to promote this node at the same time ends here, before it
 * does harm.
 *
 * Context: a receiver.
 * Return: false when this node is primary.
 */
bool share_mark(struct apply *apply)
{
	struct volume *v = apply->link->volume;
	unsigned int i;
	bool mine;

	spin_lock_irq(&v->io_lock);
	mine = v->primary;
	v->promoting = false;
	for (i = 0; !mine && i < v->slots; i++) {
		struct slot *slot = &v->slot[i];

		if (slot == apply->link->slot || !slot->kind)
			continue;
		if (slot->link)
			link_kill_locked(slot->link, "another node writes to this copy now");
		slot_mark(v, slot, apply->frame.offset, apply->frame.length);
		apply->shared = true;
	}
	spin_unlock_irq(&v->io_lock);
	return !mine;
}

/**
 * share_enter() - may an apply begin, as far as the region log is concerned?
 * @apply: share_mark() has seen it
 *
 * Return: false: it waits; share_resume() goes on with it, perhaps at once.
 */
bool share_enter(struct apply *apply)
{
	struct volume *v = apply->link->volume;
	u64 offset = apply->frame.offset, length = apply->frame.length;
	bool may;

	spin_lock_irq(&v->io_lock);
	may = log_has(v, offset, length);
	if (may) {
		apply->logged = true;
		apply->period = log_enter(v, offset, length);
	} else {
		log_want(v, offset, length);
		list_add_tail(&apply->entry, &v->log.applies);
	}
	spin_unlock_irq(&v->io_lock);
	return may;
}

/**
 * share_leave() - an apply has ended, if it ever began
 * @apply: any
 *
 * Context: any, interrupts included.
 */
void share_leave(struct apply *apply)
{
	struct volume *v = apply->link->volume;
	unsigned long flags;

	if (!apply->logged)
		return;
	spin_lock_irqsave(&v->io_lock, flags);
	log_leave(v, apply->period);
	spin_unlock_irqrestore(&v->io_lock, flags);
}

/**
 * share_resume() - let applies go on whose regions are logged, or cannot be
 * @v: the volume
 *
 * Context: volume->resume.
 */
void share_resume(struct volume *v)
{
	struct apply *apply, *next;
	LIST_HEAD(list);
	bool failed;

	spin_lock_irq(&v->io_lock);
	list_splice_init(&v->log.applies, &list);
	failed = v->log.failed;
	v->log.failed = false;
	spin_unlock_irq(&v->io_lock);
	list_for_each_entry_safe(apply, next, &list, entry) {
		list_del(&apply->entry);
		if (failed)
			apply_answer(apply, REPL_STATUS_IO);
		else
			apply_submit(apply);
	}
}

/* ------------------------------------------------------------- settled -- */

static bool names(const struct repl_frame_settled *settled, const struct repl_super_slot *record)
{
	unsigned int i;

	for (i = 0; record->kind == REPL_SLOT_PEER && i < REPL_MAX_SETTLED; i++)
		if (!id_is_zero(&record->copy_id) && id_equal(&settled->copy[i], &record->copy_id))
			return true;
	return false;
}

static bool is_recorded(const struct repl_super *s, const struct repl_super_slot *record)
{
	return !(le32_to_cpu(record->flags) & (REPL_SS_FULL | REPL_SS_LIVE)) &&
	       id_equal(&record->generation, &s->generation);
}

/*
 * What this generation's maps say is all in which the named copies differ from this one:
 * durably so, once the maps are.  Not live: for that, they would have to be each other's peers.
 */
static int record_settled(struct op *op, struct why *why)
{
	struct volume *v = op->volume;
	struct repl_super *s;
	unsigned int i;
	int err;

	if (v->primary || !id_equal(&v->super.generation, &op->u.settled.generation))
		return 0;
	err = meta_save_maps(v, why);
	if (err) {
		/* A flush that has failed may have lost what the peer was told is here. */
		if (READ_ONCE(v->broken))
			detach_doubt(v);
		return err;
	}
	s = meta_edit(v);
	for (i = 0; i < s->slots; i++) {
		struct repl_super_slot *record = &s->slot[i];

		if (!names(&op->u.settled, record) || READ_ONCE(v->slot[i].link))
			continue;
		record->flags &= ~cpu_to_le32(REPL_SS_FULL | REPL_SS_LIVE);
		record->generation = s->generation;
		record->epoch = s->epoch;
	}
	return meta_commit(v, why);
}

/* Return: whether there is something to record. */
static bool settle_slots(struct volume *v, struct link *link,
			 const struct repl_frame_settled *settled)
{
	bool counts = link->settles && id_equal(&settled->generation, &v->super.generation);
	bool record = false;
	unsigned int i;

	lockdep_assert_held(&v->io_lock);
	for (i = 0; i < v->slots; i++) {
		struct slot *slot = &v->slot[i];

		if (slot == link->slot || slot->kind != REPL_SLOT_PEER || slot->link)
			continue;
		if (counts && names(settled, &v->super.slot[i])) {
			slot_touch_map(v, slot, &slot->settling);
			map_clear_all(&slot->settling);
			record |= !is_recorded(&v->super, &v->super.slot[i]);
		}
		map_merge(&slot->settling, &slot->map);
	}
	link->settles = true;
	return record;
}

/**
 * share_settle() - a SETTLED has come
 * @apply: complete; it is answered
 *
 * Context: the receiver.
 */
void share_settle(struct apply *apply)
{
	struct link *link = apply->link;
	struct volume *v = link->volume;
	bool mine, record = false;
	struct op *op;

	mutex_lock(&v->super_lock);
	spin_lock_irq(&v->io_lock);
	mine = v->primary;
	if (!mine && !link->dead)
		record = settle_slots(v, link, &apply->settled);
	spin_unlock_irq(&v->io_lock);
	mutex_unlock(&v->super_lock);
	/* Without memory the next one is recorded. */
	op = record ? op_create(v, record_settled, GFP_NOIO) : NULL;
	if (op) {
		op->u.settled = apply->settled;
		op_queue(op);
	}
	apply_answer(apply, mine ? REPL_STATUS_REFUSED : REPL_STATUS_OK);
}

/**
 * share_end() - who could settle the rest is gone, or writes no more
 * @v: the volume, io_lock held
 */
void share_end(struct volume *v)
{
	unsigned int i;

	lockdep_assert_held(&v->io_lock);
	for (i = 0; i < v->slots; i++)
		if (v->slot[i].kind)
			map_merge(&v->slot[i].map, &v->slot[i].settling);
}
