// SPDX-License-Identifier: GPL-2.0-only
/*
 * A cut: one reader's list of the blocks that had changed at an instant.
 *
 * Creating one swaps the slot's map for an empty one, in a step; writes sampled
 * later set bits in the new map.  It is drained when the writes sampled before have
 * reached the backing device, answered upward or not.  It ends once: commit
 * drops the blocks, everything else, closing included, makes them dirty again.
 *
 * Locks: volume->io_lock for what makes slot->cut and cut->ended; cut->map and
 * cut->next belong to the reader, who is alone: cut->reading excludes others.
 * Life: the file keeps the cut, the cut keeps the volume.
 */
#include <linux/anon_inodes.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "cut.h"
#include "detach.h"
#include "gate.h"
#include "slot.h"

struct cut {
	struct volume *volume;
	struct slot *slot;
	struct drain drain;
	wait_queue_head_t wait;
	bool drained;		/* set under io_lock, read anywhere */
	bool ended;		/* io_lock */
	struct mutex reading;	/* protects ->next, and ->map until ->ended */
	struct map map;
	u64 next;		/* block to read on from */
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

/* Return: false when it had ended already. */
static bool cut_end(struct cut *cut, bool commit)
{
	struct volume *v = cut->volume;
	bool first;

	spin_lock_irq(&v->io_lock);
	first = !cut->ended;
	if (first) {
		cut->ended = true;
		drain_cancel(v, &cut->drain);
		/* A slot that was freed meanwhile has no map, and no consumer. */
		if (commit)
			slot_touch_map(v, cut->slot, &cut->map);
		else if (cut->slot->map.page)
			map_merge(&cut->slot->map, &cut->map);
		cut->slot->cut = NULL;
	}
	spin_unlock_irq(&v->io_lock);
	return first;
}

static __poll_t cut_poll(struct file *file, struct poll_table_struct *table)
{
	struct cut *cut = file->private_data;

	poll_wait(file, &cut->wait, table);
	return READ_ONCE(cut->drained) ? EPOLLIN | EPOLLRDNORM : 0;
}

static ssize_t cut_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	struct cut *cut = file->private_data;
	struct repl_extent extent;
	ssize_t done = 0;

	if (size < sizeof(extent))
		return -EINVAL;
	if (!READ_ONCE(cut->drained))
		return -EAGAIN;
	if (mutex_lock_interruptible(&cut->reading))
		return -EINTR;
	while (!cut->ended && size - done >= sizeof(extent) &&
	       map_next(&cut->map, cut->next, &extent.block, &extent.count)) {
		if (copy_to_user(to + done, &extent, sizeof(extent))) {
			done = done ?: -EFAULT;
			break;
		}
		cut->next = extent.block + extent.count;
		done += sizeof(extent);
	}
	mutex_unlock(&cut->reading);
	return done;
}

static long cut_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct cut *cut = file->private_data;
	bool first;

	if (cmd != REPL_CUT_IOC_COMMIT && cmd != REPL_CUT_IOC_ABORT)
		return -ENOTTY;
	if (cmd == REPL_CUT_IOC_COMMIT && !READ_ONCE(cut->drained))
		return -EBUSY;
	/* What was read of a disk that is gone may be old. */
	if (cmd == REPL_CUT_IOC_COMMIT && READ_ONCE(cut->volume->diskless))
		return -EIO;
	mutex_lock(&cut->reading);
	first = cut_end(cut, cmd == REPL_CUT_IOC_COMMIT);
	mutex_unlock(&cut->reading);
	return first ? 0 : -EINVAL;
}

static void cut_free(struct cut *cut)
{
	map_free(&cut->map);
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
	}
	spin_unlock_irq(&v->io_lock);
	return err;
}

/**
 * cut_create() - take the changes of a slot up to now
 * @v: the volume
 * @index: of the slot
 * @flags: enum repl_cut_flags
 * @why: filled in on error
 *
 * Context: the process that asked; may sleep.
 * Return: a file descriptor, or a negative errno.
 */
int cut_create(struct volume *v, u8 index, u32 flags, struct why *why)
{
	struct cut *cut;
	int err, fd;

	if (flags != REPL_CUT_UNFROZEN)
		return why_set(why, -EOPNOTSUPP, "%s: only unfrozen cuts are possible", v->name);
	cut = kzalloc(sizeof(*cut), GFP_KERNEL);
	if (!cut)
		return -ENOMEM;
	cut->volume = v;
	cut->slot = &v->slot[index];
	cut->drain.done = cut_drained;
	INIT_LIST_HEAD(&cut->drain.entry);
	init_waitqueue_head(&cut->wait);
	mutex_init(&cut->reading);
	volume_get(v);
	err = map_init(&cut->map, v->size >> REPL_BLOCK_SHIFT);
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
