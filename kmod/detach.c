// SPDX-License-Identifier: GPL-2.0-only
/* What is noted here at once, in any context, and what control then makes durable. */
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
	unsigned int i;

	spin_lock_irqsave(&v->io_lock, flags);
	v->broken = true;
	if (!detach_locked(v) && !v->diskless) {
		slot_end_links(v, "the backing device here has failed a write");
		for (i = 0; i < v->slots; i++)
			if (v->slot[i].kind)
				slot_mark(v, &v->slot[i], offset, length);
	}
	spin_unlock_irqrestore(&v->io_lock, flags);
}

/**
 * detach_flush_lost() - a flush has failed that no user of the volume asked for
 * @v: the volume
 *
 * What the device's cache has lost may be anything, and it reports that once: the next
 * fsync would succeed.  So a primary with nobody to go on from fails.
 *
 * Context: any; no lock held.
 */
void detach_flush_lost(struct volume *v)
{
	unsigned long flags;

	detach_failed(v, 0, v->size);
	spin_lock_irqsave(&v->io_lock, flags);
	if (v->primary && !v->diskless) {
		v->failing = true;
		queue_work(v->ops, &v->lost);
	}
	spin_unlock_irqrestore(&v->io_lock, flags);
}

/**
 * detach_doubt() - a secondary has failed to write what a peer sent, or to flush it
 * @v: the volume
 *
 * The peer learns it from the answer.  Should it die before it can act on it, this copy
 * must not be taken for one that is in sync.
 *
 * Context: any; no lock held.
 */
void detach_doubt(struct volume *v)
{
	unsigned long flags;

	spin_lock_irqsave(&v->io_lock, flags);
	v->broken = true;
	if (!v->primary && !v->doubt) {
		v->doubt = true;
		queue_work(v->ops, &v->lost);
	}
	spin_unlock_irqrestore(&v->io_lock, flags);
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
		      "the backing device %pg has failed a write of the peer: this copy is not consistent until it has caught up",
		      v->data.bdev);
	if (meta_distrust(v, &why))
		netlink_event(v, REPL_EVENT_ERROR, -1, "that cannot be recorded: %s", why.text);
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
