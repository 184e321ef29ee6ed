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
 * Before all this it is sampled, in one step with its bits (struct sampled), unless a frozen
 * cut's reader has not read yet what it would change: cut.c.  Flushes do not wait for what waits
 * so: it is not answered.
 *
 * Locks: volume->io_lock for all maps and lists; a SETTLED needs the superblock, too.
 * An apply that waits for the log is on volume->log.applies, counted in link->applying: the
 * teardown of its link waits for it, the logger for nothing of the link.  What waits is
 * bounded like all that was received (apply.c), and overlaps nothing, since it is unanswered.
 */
#include "apply.h"
#include "cut.h"
#include "detach.h"
#include "gate.h"
#include "link.h"
#include "log.h"
#include "meta.h"
#include "share.h"
#include "slot.h"

/*
 * This copy changes by the hand of one peer.  A link to a third node ends: it would mirror
 * nothing of this.
 */
static void sample(struct volume *v, struct apply *apply)
{
	unsigned int i;

	lockdep_assert_held(&v->io_lock);
	for (i = 0; i < v->slots; i++) {
		struct slot *slot = &v->slot[i];

		if (slot == apply->link->slot || !slot->kind)
			continue;
		if (slot->link)
			link_kill_locked(slot->link, "another node writes to this copy now");
		slot_mark(v, slot, apply->frame.offset, apply->frame.length);
		apply->shared = true;
	}
	apply->alone = !apply->shared;
	if (apply->alone) {
		atomic_inc(&v->unsampled);
		return;
	}
	apply->sample.number = ++v->sampled;
	list_add_tail(&apply->sample.entry, &v->writes);
}

enum beginning { BEGINS, WAITS, REFUSED, IN_VAIN };

/*
 * A peer that writes is primary: an attempt to promote this node at the same time ends here,
 * before it does harm.
 */
static enum beginning try_begin(struct apply *apply)
{
	u64 offset = apply->frame.offset, length = apply->frame.length;
	struct volume *v = apply->link->volume;
	enum beginning begun = BEGINS;

	spin_lock_irq(&v->io_lock);
	v->promoting = false;
	if (v->primary) {
		begun = REFUSED;
	} else if (unlikely(v->frozen) && cut_holds(v, offset, length)) {
		/* Of a dead link nothing may wait: share_drop() has been, perhaps. */
		begun = apply->link->dead ? IN_VAIN : WAITS;
		if (begun == WAITS)
			cut_wait(v, &apply->wait, offset, length, apply->link->stuck_ms / 2);
	} else {
		sample(v, apply);
	}
	spin_unlock_irq(&v->io_lock);
	return begun;
}

/**
 * share_begin() - a write, or zeroing, has come complete: it begins now, or later
 * @apply: not begun; the caller gives it away
 *
 * Context: a receiver, or volume->resume.
 * Return: false when its link is to end, or has.
 */
bool share_begin(struct apply *apply)
{
	switch (try_begin(apply)) {
	case BEGINS:
		apply_submit(apply);
		return true;
	case WAITS:
		return true;
	case REFUSED:
		link_kill(apply->link, "the peer has sent a write, but this node is primary");
		break;
	case IN_VAIN:
		break;
	}
	apply_free(apply);
	return false;
}

/**
 * share_again() - let applies begin that do not wait for the reader of a cut any more
 * @waits: struct cut_wait; those of applications stay there
 *
 * Context: volume->resume.
 */
void share_again(struct list_head *waits)
{
	struct cut_wait *wait, *next;

	list_for_each_entry_safe(wait, next, waits, entry) {
		if (wait->bio)
			continue;
		list_del(&wait->entry);
		share_begin(container_of(wait, struct apply, wait));
	}
}

/**
 * share_drop() - forget what came over a link and has not begun
 * @link: dead, its receiver stopped
 *
 * It was not answered, so the peer knows that it may be missing here.
 *
 * Context: the link's teardown.
 */
void share_drop(struct link *link)
{
	struct volume *v = link->volume;
	struct cut_wait *wait, *next;
	LIST_HEAD(dropped);

	spin_lock_irq(&v->io_lock);
	list_for_each_entry_safe(wait, next, &v->waiting, entry)
		if (!wait->bio && container_of(wait, struct apply, wait)->link == link)
			list_move(&wait->entry, &dropped);
	spin_unlock_irq(&v->io_lock);
	list_for_each_entry_safe(wait, next, &dropped, entry)
		apply_free(container_of(wait, struct apply, wait));
}

/**
 * share_enter() - may an apply begin, as far as the region log is concerned?
 * @apply: sampled
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

	/* Pairs with share_wait_unsampled(); an atomic that returns something is a barrier. */
	if (apply->alone && atomic_dec_and_test(&v->unsampled) && waitqueue_active(&v->quiet))
		wake_up_all(&v->quiet);
	if (!apply->shared)
		return;
	spin_lock_irqsave(&v->io_lock, flags);
	if (apply->logged)
		log_leave(v, apply->period);
	list_del(&apply->sample.entry);
	if (!list_empty(&v->drains))
		drain_check(v);
	spin_unlock_irqrestore(&v->io_lock, flags);
}

/**
 * share_wait_unsampled() - wait for a peer's writes that count for no slot
 * @v: the volume; one of its slots has just come into use: none of them begins any more
 *
 * Context: control; they need the disk only.
 */
void share_wait_unsampled(struct volume *v)
{
	wait_event(v->quiet, !atomic_read(&v->unsampled));
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
	struct repl_frame_settled settled;
	struct volume *v = op->volume;
	struct repl_super *s;
	unsigned int i;
	int err;

	spin_lock_irq(&v->io_lock);
	v->settled_queued = false;
	settled = v->settled;
	spin_unlock_irq(&v->io_lock);
	if (v->primary || !id_equal(&v->super.generation, &settled.generation))
		return 0;
	err = meta_save_maps(v, why);
	if (err)
		return err;
	s = meta_edit(v);
	for (i = 0; i < s->slots; i++) {
		struct repl_super_slot *record = &s->slot[i];

		if (!names(&settled, record) || READ_ONCE(v->slot[i].link))
			continue;
		record->flags &= ~cpu_to_le32(REPL_SS_FULL | REPL_SS_LIVE);
		record->generation = s->generation;
		record->epoch = s->epoch;
	}
	return meta_commit(v, why);
}

/* One at a time, which takes the newest: a peer may send them faster than they are recorded. */
static void queue_record(struct volume *v)
{
	struct op *op = op_create(v, record_settled, GFP_NOIO);

	if (op) {
		op_queue(op);
		return;
	}
	/* The next one is recorded. */
	spin_lock_irq(&v->io_lock);
	v->settled_queued = false;
	spin_unlock_irq(&v->io_lock);
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
	bool mine, queued, record = false;

	mutex_lock(&v->super_lock);
	spin_lock_irq(&v->io_lock);
	mine = v->primary;
	if (!mine && !link->dead)
		record = settle_slots(v, link, &apply->settled);
	if (record)
		v->settled = apply->settled;
	queued = v->settled_queued;
	v->settled_queued |= record;
	spin_unlock_irq(&v->io_lock);
	mutex_unlock(&v->super_lock);
	if (record && !queued)
		queue_record(v);
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
