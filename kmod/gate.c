// SPDX-License-Identifier: GPL-2.0-only
/* Everything here is guarded by volume->io_lock; see gate.h. */
#include <linux/ktime.h>
#include <linux/slab.h>
#include "gate.h"
#include "netlink.h"

struct freeze {
	struct drain drain;
	struct ticket *ticket;
};

static const char *gate_name(u32 reason)
{
	switch (reason) {
	case REPL_GATE_JOIN:
		return "join";
	case REPL_GATE_PEER_LOST:
		return "peer-lost";
	case REPL_GATE_ADMIN:
		return "administrator";
	case REPL_GATE_SNAPSHOT:
		return "snapshot";
	case REPL_GATE_DISK:
		return "disk";
	case REPL_GATE_REPLACE:
		return "replace";
	default:
		return "resize";
	}
}

/**
 * drain_check() - tell those whose writes have all reached the backing device
 * @v: the volume, io_lock held
 */
void drain_check(struct volume *v)
{
	struct drain *drain, *next;
	u64 oldest = U64_MAX;

	lockdep_assert_held(&v->io_lock);
	if (!list_empty(&v->writes))
		oldest = list_first_entry(&v->writes, struct sampled, entry)->number;
	list_for_each_entry_safe(drain, next, &v->drains, entry) {
		if (drain->upto >= oldest)
			break;
		list_del_init(&drain->entry);
		drain->done(drain);
	}
}

/**
 * drain_start() - wait for the writes sampled so far; ->done may be called at once
 * @v: the volume, io_lock held
 * @drain: with ->done set
 */
void drain_start(struct volume *v, struct drain *drain)
{
	lockdep_assert_held(&v->io_lock);
	drain->upto = v->sampled;
	list_add_tail(&drain->entry, &v->drains);
	drain_check(v);
}

/**
 * drain_cancel() - stop waiting; harmless when it is over
 * @v: the volume, io_lock held
 * @drain: started before
 */
void drain_cancel(struct volume *v, struct drain *drain)
{
	lockdep_assert_held(&v->io_lock);
	list_del_init(&drain->entry);
}

/* It opens by itself, should whoever has shut it be gone. */
static void gate_arm(struct gate_timer *timer, unsigned long delay)
{
	timer->until = jiffies + delay;
	mod_delayed_work(repl_wq, &timer->work, delay);
}

/**
 * gate_shut() - add a reason
 * @v: the volume, io_lock held
 * @reason: one bit; of REPL_GATE_USER: its timer is armed, or has just run out and waits for io_lock
 */
void gate_shut(struct volume *v, u32 reason)
{
	lockdep_assert_held(&v->io_lock);
	if (reason & REPL_GATE_USER) {
		struct gate_timer *timer = &v->deadline[__ffs(reason)];

		if (WARN_ON_ONCE(!work_busy(&timer->work.work)))
			gate_arm(timer, HZ);
	}
	if (!v->gate)
		v->gate_since = ktime_get_ns();
	v->gate |= reason;
}

/**
 * gate_open() - remove a reason; the last one lets the parked writes go on
 * @v: the volume, io_lock held
 * @reason: one bit, set or not
 */
void gate_open(struct volume *v, u32 reason)
{
	lockdep_assert_held(&v->io_lock);
	v->gate &= ~reason;
	/* Once stopped the volume may be freed any time, and nothing is parked any more. */
	if (!v->gate && !v->gate_stopped)
		queue_work(repl_wq, &v->resume);
}

/**
 * gate_recorded() - no write waits any more for a generation
 * @v: the volume, io_lock held
 * @losses: volume->losses that it was made after; or it needs none: all are back, or all I/O fails
 * @reasons: of GATE_GENERATION, those that it ends
 */
void gate_recorded(struct volume *v, u64 losses, u32 reasons)
{
	if (reasons & REPL_GATE_PEER_LOST)
		v->lost_slots = 0;
	v->recorded = losses;
	gate_open(v, reasons);
}

static void gate_deadline(struct work_struct *work)
{
	struct gate_timer *timer = container_of(to_delayed_work(work), struct gate_timer, work);
	struct volume *v = timer->volume;
	bool held;

	spin_lock_irq(&v->io_lock);
	/* A thaw and a new freeze may have come between the timer and this lock. */
	held = (v->gate & timer->reason) && time_after_eq(jiffies, timer->until);
	if (held)
		gate_open(v, timer->reason);
	spin_unlock_irq(&v->io_lock);
	if (held)
		netlink_event(v, REPL_EVENT_GATE, -1, "freeze '%s' ended at its deadline",
			      gate_name(timer->reason));
}

/**
 * gate_init() - prepare an open gate
 * @v: a volume nobody else knows yet
 */
void gate_init(struct volume *v)
{
	unsigned int bit;

	for (bit = 0; bit < VOLUME_GATES; bit++) {
		INIT_DELAYED_WORK(&v->deadline[bit].work, gate_deadline);
		v->deadline[bit].volume = v;
		v->deadline[bit].reason = 1u << bit;
	}
}

static void freeze_drained(struct drain *drain)
{
	struct freeze *freeze = container_of(drain, struct freeze, drain);

	ticket_finish(freeze->ticket, 0, NULL);
	kfree(freeze);
}

/**
 * gate_freeze() - shut the gate on behalf of user space
 * @v: the volume
 * @reason: one bit of REPL_GATE_USER
 * @deadline_ms: when it opens by itself
 * @ticket: finished when all earlier writes are on the backing device; consumed
 *	unless an error is returned
 * @why: filled in on error
 *
 * Context: may sleep.
 */
int gate_freeze(struct volume *v, u32 reason, u32 deadline_ms, struct ticket *ticket,
		struct why *why)
{
	struct freeze *freeze = kzalloc(sizeof(*freeze), GFP_KERNEL);
	unsigned int bit = __ffs(reason);

	if (!freeze)
		return why_set(why, -ENOMEM, "%s: no memory to freeze it", v->name);
	freeze->ticket = ticket;
	freeze->drain.done = freeze_drained;

	spin_lock_irq(&v->io_lock);
	if (v->gate_stopped) {
		spin_unlock_irq(&v->io_lock);
		kfree(freeze);
		return why_set(why, -ESHUTDOWN, "%s is being taken down", v->name);
	}
	if (v->gate & reason) {
		spin_unlock_irq(&v->io_lock);
		kfree(freeze);
		return why_set(why, -EALREADY, "%s is frozen already, reason '%s': thaw it first",
			       v->name, gate_name(reason));
	}
	gate_arm(&v->deadline[bit], msecs_to_jiffies(deadline_ms));
	gate_shut(v, reason);
	drain_start(v, &freeze->drain);
	spin_unlock_irq(&v->io_lock);
	return 0;
}

/**
 * gate_thaw() - remove user space's own reason
 * @v: the volume
 * @reason: one bit of REPL_GATE_USER
 * @why: filled in on error
 *
 * Context: may sleep.
 * Return: 0, or -ENOENT when that reason was not set, or no longer.
 */
int gate_thaw(struct volume *v, u32 reason, struct why *why)
{
	bool held;

	cancel_delayed_work(&v->deadline[__ffs(reason)].work);
	spin_lock_irq(&v->io_lock);
	held = v->gate & reason;
	gate_open(v, reason);
	spin_unlock_irq(&v->io_lock);
	return held ? 0 : why_set(why, -ENOENT, "%s is not frozen for '%s', or no longer",
				  v->name, gate_name(reason));
}

/**
 * gate_stop() - end all timers; the volume goes away
 * @v: the volume
 *
 * Context: may sleep.
 */
void gate_stop(struct volume *v)
{
	unsigned int bit;

	spin_lock_irq(&v->io_lock);
	v->gate_stopped = true;
	spin_unlock_irq(&v->io_lock);
	for (bit = 0; bit < VOLUME_GATES; bit++)
		cancel_delayed_work_sync(&v->deadline[bit].work);
}
