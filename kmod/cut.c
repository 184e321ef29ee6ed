// SPDX-License-Identifier: GPL-2.0-only
/*
 * A cut: one reader's list of the blocks that had changed at an instant.
 *
 * Creating one swaps the slot's map for an empty one, in a step; writes sampled
 * later set bits in the new map.  It is drained when the writes sampled before have
 * reached the backing device, answered upward or not.  It ends once: commit
 * drops the blocks, everything else, closing included, makes them dirty again.
 *
 * A frozen cut's blocks are what they were at that instant until the reader has released
 * them.  In the step in which a write would be sampled it is asked whether a cut holds one
 * of its blocks (cut_holds()): then it is not sampled, is in no map and on no link, nothing
 * of it is on its way to the disk or to a peer, and no drain, flush or freeze waits for it.
 * So a write is before a cut, and the cut waits for it; or after, and it waits for
 * the cut; and one of several blocks is on one side with all of them.  What stands in the
 * way of several cuts waits for all.  With each release volume->resume looks again.
 *
 * No write waits longer than the cut allows: cut_expire() makes the cut void, and so does a
 * lack of memory to note down what was released.  A void cut holds nothing, and is not committed.
 *
 * Locks: volume->io_lock for all of it but ->offer, which belongs to the reader, who is
 * alone: cut->reading excludes others.  ->map does not change until ->ended, which is set with
 * ->reading held or by the last user of the file.
 * Life: the file keeps the cut, the cut keeps the volume; cut_free() waits for ->expire.
 */
#include <linux/anon_inodes.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "cut.h"
#include "detach.h"
#include "gate.h"
#include "slot.h"

/*
 * The largest run that is handed out of a frozen cut: what is read of it cannot be overtaken
 * by what a write has come to wait for.
 */
enum { FROZEN_RUN = 256 };

struct cut {
	struct volume *volume;
	struct slot *slot;
	struct drain drain;
	wait_queue_head_t wait;
	bool drained;		/* set under io_lock, read anywhere */
	bool frozen;		/* writes wait; counts in volume->frozen */
	bool was_frozen;	/* from the beginning; fixed */
	bool is_void;		/* writes waited in vain */
	bool ended;
	u32 hold_ms;		/* fixed */
	u64 expires;		/* ktime_get_ns(), while ->expire is pending */
	struct delayed_work expire;	/* on repl_wq */
	struct mutex reading;	/* protects ->offer */
	struct repl_extent offer;	/* handed out, but not received by the reader yet */
	struct map map;
	u64 next;		/* block to read on from */
	struct map handed;	/* blocks from ->next on that were handed out before their turn */
	struct map released;	/* need not be in ->map */
};

/**
 * cut_blocks() - how many blocks an open cut holds
 * @cut: under volume->io_lock
 */
u64 cut_blocks(const struct cut *cut)
{
	return cut->map.set;
}

/**
 * cut_join_page() - add what an open cut holds to an image of a map's page
 * @cut: under volume->io_lock; its map does not change while it is open
 * @index: which page
 * @bytes: the image
 */
void cut_join_page(const struct cut *cut, unsigned long index, void *bytes)
{
	map_join_page(&cut->map, index, bytes);
}

static void cut_drained(struct drain *drain)
{
	struct cut *cut = container_of(drain, struct cut, drain);

	WRITE_ONCE(cut->drained, true);
	wake_up_all(&cut->wait);
}

/* ------------------------------------------------------------- waiting -- */

/* Does the cut hold one of these blocks?  The run from the first of them on, up to @end. */
static bool holds(const struct cut *cut, u64 from, u64 end)
{
	u64 first, count;

	return cut->frozen &&
	       map_next_without(&cut->map, &cut->released, from, end, &first, &count);
}

/**
 * cut_holds() - must a write wait for a reader?
 * @v: the volume, io_lock held; asked where ->frozen is not 0
 * @offset: bytes
 * @length: bytes, not 0
 *
 * Context: any.
 */
bool cut_holds(const struct volume *v, u64 offset, u64 length)
{
	u64 first = offset >> REPL_BLOCK_SHIFT;
	u64 end = ((offset + length - 1) >> REPL_BLOCK_SHIFT) + 1;
	unsigned int i;

	lockdep_assert_held(&v->io_lock);
	for (i = 0; i < v->slots; i++)
		if (v->slot[i].cut && holds(v->slot[i].cut, first, end))
			return true;
	return false;
}

/* When the cut has held this write for too long; ktime_get_ns(). */
static u64 deadline(const struct cut *cut, const struct cut_wait *wait)
{
	return wait->since + (u64)min(cut->hold_ms, wait->patience_ms) * NSEC_PER_MSEC;
}

static void expire_at(struct cut *cut, u64 when)
{
	u64 now = ktime_get_ns();

	cut->expires = when;
	mod_delayed_work(repl_wq, &cut->expire, when > now ? nsecs_to_jiffies(when - now) + 1 : 0);
}

/* The next deadline of those who wait for the cut; U64_MAX: nobody does. */
static u64 next_deadline(const struct cut *cut)
{
	const struct cut_wait *wait;
	u64 next = U64_MAX;

	list_for_each_entry(wait, &cut->volume->waiting, entry)
		if (deadline(cut, wait) < next && holds(cut, wait->first, wait->last + 1))
			next = deadline(cut, wait);
	return next;
}

/**
 * cut_wait() - a write waits until no cut holds it any more
 * @v: the volume, io_lock held; cut_holds() is true of it
 * @wait: on ->waiting until cut_take_released(), with ->bio set
 * @offset: bytes
 * @length: bytes, not 0
 * @patience_ms: cuts that make it wait longer become void, whatever their own limit is
 *
 * Context: any.
 */
void cut_wait(struct volume *v, struct cut_wait *wait, u64 offset, u64 length, u32 patience_ms)
{
	unsigned int i;

	lockdep_assert_held(&v->io_lock);
	wait->first = offset >> REPL_BLOCK_SHIFT;
	wait->last = (offset + length - 1) >> REPL_BLOCK_SHIFT;
	wait->since = ktime_get_ns();
	wait->patience_ms = patience_ms;
	list_add_tail(&wait->entry, &v->waiting);
	volume_count(v, REPL_C_HOLDS, 1);
	for (i = 0; i < v->slots; i++) {
		struct cut *cut = v->slot[i].cut;

		if (cut && holds(cut, wait->first, wait->last + 1) &&
		    (!delayed_work_pending(&cut->expire) || deadline(cut, wait) < cut->expires))
			expire_at(cut, deadline(cut, wait));
	}
}

/* The cut holds nothing any more. */
static void cut_thaw(struct cut *cut)
{
	struct volume *v = cut->volume;

	lockdep_assert_held(&v->io_lock);
	if (!cut->frozen)
		return;
	cut->frozen = false;
	v->frozen--;
	cancel_delayed_work(&cut->expire);
	/* Who waits keeps the volume up: the work cannot come too late. */
	if (!list_empty(&v->waiting))
		queue_work(repl_wq, &v->resume);
}

/**
 * cut_void() - what the reader has, or will have, read is not what it was
 * @cut: open; volume->io_lock held
 *
 * It can only be closed then, and its blocks are dirty again.
 *
 * Context: any.
 */
void cut_void(struct cut *cut)
{
	lockdep_assert_held(&cut->volume->io_lock);
	if (cut->is_void)
		return;
	cut->is_void = true;
	volume_count(cut->volume, REPL_C_VOIDS, 1);
	cut_thaw(cut);
}

/**
 * cut_give_up() - a write must not wait: the cuts that hold it are void
 * @v: the volume, io_lock held
 * @offset: bytes
 * @length: bytes, not 0
 *
 * Context: any.
 */
void cut_give_up(struct volume *v, u64 offset, u64 length)
{
	u64 first = offset >> REPL_BLOCK_SHIFT;
	u64 end = ((offset + length - 1) >> REPL_BLOCK_SHIFT) + 1;
	unsigned int i;

	lockdep_assert_held(&v->io_lock);
	for (i = 0; i < v->slots; i++)
		if (v->slot[i].cut && holds(v->slot[i].cut, first, end))
			cut_void(v->slot[i].cut);
}

/**
 * cut_take_released() - who waits for no cut any more?
 * @v: the volume, io_lock held
 * @released: to move them to
 *
 * Context: volume->resume, which tries them again.
 */
void cut_take_released(struct volume *v, struct list_head *released)
{
	struct cut_wait *wait, *next;
	u64 now = ktime_get_ns();

	lockdep_assert_held(&v->io_lock);
	list_for_each_entry_safe(wait, next, &v->waiting, entry) {
		u64 blocks = wait->last - wait->first + 1;

		if (cut_holds(v, wait->first << REPL_BLOCK_SHIFT, blocks << REPL_BLOCK_SHIFT))
			continue;
		list_move_tail(&wait->entry, released);
		v->hold_max_ms = max(v->hold_max_ms, div_u64(now - wait->since, NSEC_PER_MSEC));
	}
}

static void cut_expire(struct work_struct *work)
{
	struct cut *cut = container_of(to_delayed_work(work), struct cut, expire);
	struct volume *v = cut->volume;
	u64 next;

	spin_lock_irq(&v->io_lock);
	next = next_deadline(cut);
	if (next <= ktime_get_ns())
		cut_void(cut);
	else if (next != U64_MAX)
		expire_at(cut, next);
	spin_unlock_irq(&v->io_lock);
}

/* ------------------------------------------------------------- reading -- */

/* Return: 0, -EINVAL when it had ended already, or -ETIMEDOUT, not ended, for the commit of a void one. */
static int cut_end(struct cut *cut, bool commit)
{
	struct volume *v = cut->volume;
	int err = 0;

	spin_lock_irq(&v->io_lock);
	if (cut->ended) {
		err = -EINVAL;
	} else if (commit && cut->is_void) {
		err = -ETIMEDOUT;
	} else {
		cut->ended = true;
		drain_cancel(v, &cut->drain);
		cut_thaw(cut);
		/* A slot that was freed meanwhile has no map, and no consumer. */
		if (commit)
			slot_touch_map(v, cut->slot, &cut->map);
		else if (cut->slot->map.page)
			map_merge(&cut->slot->map, &cut->map);
		cut->slot->cut = NULL;
	}
	spin_unlock_irq(&v->io_lock);
	return err;
}

static __poll_t cut_poll(struct file *file, struct poll_table_struct *table)
{
	struct cut *cut = file->private_data;

	poll_wait(file, &cut->wait, table);
	return READ_ONCE(cut->drained) ? EPOLLIN | EPOLLRDNORM : 0;
}

/* The next run in order, of what was not handed out before its turn. */
static bool offer_next(struct cut *cut)
{
	struct repl_extent *offer = &cut->offer;

	if (!map_next_without(&cut->map, &cut->handed, cut->next, cut->map.bits, &offer->block,
			      &offer->count)) {
		offer->count = 0;
		return false;
	}
	if (cut->was_frozen)
		offer->count = min_t(u64, offer->count, FROZEN_RUN);
	cut->next = offer->block + offer->count;
	return true;
}

/* What a write waits for, who waits longest first. */
static bool offer_wanted(struct cut *cut)
{
	struct repl_extent *offer = &cut->offer;
	const struct cut_wait *wait;

	list_for_each_entry(wait, &cut->volume->waiting, entry) {
		if (!map_next_without(&cut->map, &cut->handed, max(wait->first, cut->next),
				      wait->last + 1, &offer->block, &offer->count))
			continue;
		offer->count = min_t(u64, offer->count, FROZEN_RUN);
		if (map_try_set(&cut->handed, offer->block, offer->count))
			return true;
		cut_void(cut);
		break;
	}
	offer->count = 0;
	return false;
}

/* Return: 1 with something in ->offer, 0 at the end, -ETIMEDOUT when the cut is void. */
static int cut_offer(struct cut *cut)
{
	struct volume *v = cut->volume;
	int ret = 0;

	lockdep_assert_held(&cut->reading);
	spin_lock_irq(&v->io_lock);
	if (!cut->ended && !cut->is_void &&
	    (cut->offer.count || (cut->frozen && offer_wanted(cut)) || offer_next(cut)))
		ret = 1;
	if (cut->is_void)
		ret = -ETIMEDOUT;
	spin_unlock_irq(&v->io_lock);
	return ret;
}

static ssize_t cut_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	struct cut *cut = file->private_data;
	ssize_t done = 0;
	int ret = 0;

	if (size < sizeof(cut->offer))
		return -EINVAL;
	if (!READ_ONCE(cut->drained))
		return -EAGAIN;
	if (mutex_lock_interruptible(&cut->reading))
		return -EINTR;
	while (size - done >= sizeof(cut->offer)) {
		ret = cut_offer(cut);
		if (ret > 0 && copy_to_user(to + done, &cut->offer, sizeof(cut->offer)))
			ret = -EFAULT;
		if (ret <= 0)
			break;
		cut->offer.count = 0;
		done += sizeof(cut->offer);
	}
	mutex_unlock(&cut->reading);
	return ret < 0 && !done ? ret : done;
}

static int cut_ioc_release(struct cut *cut, const struct repl_extent __user *from)
{
	struct volume *v = cut->volume;
	struct repl_extent extent;

	if (copy_from_user(&extent, from, sizeof(extent)))
		return -EFAULT;
	spin_lock_irq(&v->io_lock);
	if (cut->frozen) {
		if (!map_try_set(&cut->released, extent.block, extent.count))
			cut_void(cut);
		else if (!list_empty(&v->waiting))
			queue_work(repl_wq, &v->resume);
	}
	spin_unlock_irq(&v->io_lock);
	return 0;
}

static int cut_valid(const struct cut *cut)
{
	struct volume *v = cut->volume;
	int err = 0;

	spin_lock_irq(&v->io_lock);
	if (cut->ended)
		err = -EINVAL;
	else if (cut->is_void)
		err = -ETIMEDOUT;
	else if (!cut->drained)
		err = -EBUSY;
	else if (v->diskless)
		err = -EIO;
	spin_unlock_irq(&v->io_lock);
	return err;
}

static int cut_ioc_end(struct cut *cut, bool commit)
{
	int err;

	if (commit && !READ_ONCE(cut->drained))
		return -EBUSY;
	/* What was read of a disk that is gone may be old. */
	if (commit && READ_ONCE(cut->volume->diskless))
		return -EIO;
	mutex_lock(&cut->reading);
	err = cut_end(cut, commit);
	mutex_unlock(&cut->reading);
	return err;
}

static long cut_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct cut *cut = file->private_data;

	switch (cmd) {
	case REPL_CUT_IOC_COMMIT:
	case REPL_CUT_IOC_ABORT:
		return cut_ioc_end(cut, cmd == REPL_CUT_IOC_COMMIT);
	case REPL_CUT_IOC_RELEASE:
		return cut_ioc_release(cut, (const void __user *)arg);
	case REPL_CUT_IOC_VALID:
		return cut_valid(cut);
	default:
		return -ENOTTY;
	}
}

static void cut_free(struct cut *cut)
{
	cancel_delayed_work_sync(&cut->expire);
	map_free(&cut->map);
	map_free(&cut->handed);
	map_free(&cut->released);
	volume_put(cut->volume);
	kfree(cut);
}

static int cut_release(struct inode *inode, struct file *file)
{
	struct cut *cut = file->private_data;

	cut_end(cut, false);
	cut_free(cut);
	return 0;
}

static const struct file_operations cut_fops = {
	.owner		= THIS_MODULE,
	.poll		= cut_poll,
	.read		= cut_read,
	.unlocked_ioctl	= cut_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.release	= cut_release,
	.llseek		= noop_llseek,
};

/* Who waits already, for another cut, may wait for this one, too. */
static void cut_freeze(struct cut *cut)
{
	u64 next;

	lockdep_assert_held(&cut->volume->io_lock);
	cut->frozen = true;
	cut->volume->frozen++;
	next = next_deadline(cut);
	if (next != U64_MAX)
		expire_at(cut, next);
}

static int cut_begin(struct volume *v, struct cut *cut, struct why *why)
{
	struct slot *slot = cut->slot;
	int err = 0;

	spin_lock_irq(&v->io_lock);
	if (v->diskless)
		err = detach_refuse(v, why);
	else if (!slot->kind)
		err = why_set(why, -ENOENT, "%s: slot %u is free", v->name, slot->index);
	else if (slot->cut)
		err = why_set(why, -EBUSY, "%s: slot %u has an open cut already", v->name,
			      slot->index);
	else if ((v->gate & REPL_GATE_RESIZE) || cut->map.bits != slot->map.bits)
		err = why_set(why, -EAGAIN, "%s is growing: try again", v->name);
	else if (slot->link || slot->closing)
		err = why_set(why, -EBUSY, "%s: slot %u has a link, or its last one is not done",
			      v->name, slot->index);
	if (!err) {
		/* What is settling is dirty, too, and would never be read. */
		map_merge(&slot->map, &slot->settling);
		map_swap(&slot->map, &cut->map);
		slot->cut = cut;
		drain_start(v, &cut->drain);
		if (cut->was_frozen)
			cut_freeze(cut);
	}
	spin_unlock_irq(&v->io_lock);
	return err;
}

static struct cut *cut_alloc(struct volume *v, u8 index)
{
	struct cut *cut = kzalloc(sizeof(*cut), GFP_KERNEL);

	if (!cut)
		return NULL;
	cut->volume = v;
	cut->slot = &v->slot[index];
	cut->drain.done = cut_drained;
	INIT_LIST_HEAD(&cut->drain.entry);
	init_waitqueue_head(&cut->wait);
	INIT_DELAYED_WORK(&cut->expire, cut_expire);
	mutex_init(&cut->reading);
	volume_get(v);
	return cut;
}

/**
 * cut_create() - take the changes of a slot up to now
 * @v: the volume
 * @index: of the slot
 * @flags: enum repl_cut_flags
 * @hold_ms: of a frozen one: a write that has waited so long makes it void
 * @why: filled in on error
 *
 * Context: the process that asked; may sleep.
 * Return: a file descriptor, or a negative errno.
 */
int cut_create(struct volume *v, u8 index, u32 flags, u32 hold_ms, struct why *why)
{
	u64 blocks = v->size >> REPL_BLOCK_SHIFT;
	struct cut *cut;
	int err, fd;

	if (hweight32(flags) != 1)
		return why_set(why, -EINVAL, "%s: a cut is either frozen or unfrozen", v->name);
	cut = cut_alloc(v, index);
	if (!cut)
		return -ENOMEM;
	cut->was_frozen = flags == REPL_CUT_FROZEN;
	cut->hold_ms = hold_ms;
	err = map_init(&cut->map, blocks);
	if (!err)
		err = map_init(&cut->handed, blocks);
	if (!err)
		err = map_init(&cut->released, blocks);
	if (err)
		goto free;
	err = cut_begin(v, cut, why);
	if (err)
		goto free;
	fd = anon_inode_getfd("[repl-cut]", &cut_fops, cut, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	err = fd;
	cut_end(cut, false);
free:
	cut_free(cut);
	return err;
}
