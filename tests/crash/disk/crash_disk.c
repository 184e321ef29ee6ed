// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Disks in memory, with a write cache, for all nodes of a test: every write with its
 * data, every flush, FUA and the oracle's marks go into one log in the order in which
 * they are done.  From that log a program makes the content that any set of the
 * disks could have after a power cut at any point.
 *
 * While it records, one worker does everything, in an order of its own and with pauses:
 * a flush covers what was completed before it was done, and no more.  What is not in the
 * log yet has not been completed.
 *
 * While it does not, the parameter "fail" makes a disk fail: "DISK N once" the N-th bio of
 * that disk from now on, "late" the same after all of it was done, "all" that one and what
 * follows, and "DISK 0 once" none.  Read, it says how many bios are still to go, and how many
 * have failed since it was written.
 *
 * With cache=1 there is no log, but a stable copy of each disk, which a flush brings up to
 * date; the same worker does everything, all the time.  "cut DISK SEED", written to
 * /dev/crash, is a power cut that the disk comes back from: of each block that was written
 * and not flushed since, the seed says whether it is as it was, or as it was last flushed.
 * Blocks, not sectors: who writes to it knows a block by its content, and points of a log
 * tear them.
 *
 * Locks: queue_lock for the queue; log_lock for the log, and for the disks' content
 * while recording, and with cache=1; fault_lock for the fault.
 */
#include <linux/bitmap.h>
#include <linux/blkdev.h>
#include <linux/delay.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "crash_disk.h"

static unsigned int disks = 3;
module_param(disks, uint, 0444);
static unsigned int mib = 16;
module_param(mib, uint, 0444);
static unsigned int log_mib = 96;
module_param(log_mib, uint, 0444);
static bool cache;
module_param(cache, bool, 0444);

static struct crash_head *head;
static struct gendisk *disk_of[CRASH_DISKS_MAX];
static int major;
static u64 area_bytes;
/* With cache=1: of all disks, what a flush has made stable, and which blocks are not. */
static void *stable;
static unsigned long *unflushed;

static DEFINE_SPINLOCK(queue_lock);
static struct bio_list queue;
static DEFINE_MUTEX(log_lock);
static DEFINE_SPINLOCK(count_lock);
static struct workqueue_struct *wq;

static unsigned int bio_disk(struct bio *bio)
{
	return bio->bi_bdev->bd_disk->first_minor;
}

static void *content(unsigned int disk, u64 offset)
{
	return (void *)head + CRASH_HEAD_BYTES + disk * head->disk_bytes + offset;
}

/* --------------------------------------------------- what is to fail -- */

static DEFINE_SPINLOCK(fault_lock);
static struct {
	unsigned int disk;
	unsigned int left;	/* the one that makes it 0 fails */
	unsigned int hits;
	bool late, all, failing;
} fault;

static int fault_set(const char *text, const struct kernel_param *param)
{
	unsigned int disk, left;
	char how[8];

	if (sscanf(text, "%u %u %7s", &disk, &left, how) != 3)
		return -EINVAL;
	spin_lock_irq(&fault_lock);
	fault.disk = disk;
	fault.left = left;
	fault.hits = 0;
	fault.late = !strcmp(how, "late");
	fault.all = !strcmp(how, "all");
	fault.failing = false;
	spin_unlock_irq(&fault_lock);
	return 0;
}

static int fault_get(char *text, const struct kernel_param *param)
{
	return sysfs_emit(text, "%u %u\n", READ_ONCE(fault.left), READ_ONCE(fault.hits));
}

static const struct kernel_param_ops fault_ops = { .set = fault_set, .get = fault_get };
module_param_cb(fail, &fault_ops, NULL, 0644);

/* Return: whether this one fails; if so, @late: after it was done. */
static bool fault_hits(struct bio *bio, bool *late)
{
	unsigned long flags;
	bool hit;

	spin_lock_irqsave(&fault_lock, flags);
	hit = fault.failing;
	if (bio_disk(bio) != fault.disk)
		hit = false;
	else if (fault.left && --fault.left == 0)
		hit = true;
	fault.failing |= hit && fault.all;
	fault.hits += hit;
	*late = fault.late;
	spin_unlock_irqrestore(&fault_lock, flags);
	return hit;
}

/* Return: where the data go, or NULL. */
static void *log_append(unsigned int disk, unsigned int flags, u64 offset, u32 length, u32 data)
{
	u32 bytes = sizeof(struct crash_entry) + round_up(data, 8);
	struct crash_entry *entry = (void *)head + head->log_offset + head->log_used;

	lockdep_assert_held(&log_lock);
	if (head->log_used + bytes > head->log_bytes) {
		head->overflow = 1;
		return NULL;
	}
	*entry = (struct crash_entry) {
		.magic = CRASH_ENTRY, .disk = disk, .flags = flags, .offset = offset,
		.length = length, .data = data,
	};
	head->log_used += bytes;
	return entry + 1;
}

static void copy_bio(struct bio *bio, void *place, bool out)
{
	struct bvec_iter iter;
	struct bio_vec bv;

	bio_for_each_segment(bv, bio, iter) {
		if (out)
			memcpy_to_bvec(&bv, place);
		else
			memcpy_from_bvec(place, &bv);
		place += bv.bv_len;
	}
}

static void change(struct bio *bio)
{
	u64 offset = bio->bi_iter.bi_sector << SECTOR_SHIFT;

	if (bio_op(bio) == REQ_OP_WRITE)
		copy_bio(bio, content(bio_disk(bio), offset), false);
	else if (bio_op(bio) != REQ_OP_FLUSH)
		memset(content(bio_disk(bio), offset), 0, bio->bi_iter.bi_size);
}

static void record(struct bio *bio)
{
	u64 offset = bio->bi_iter.bi_sector << SECTOR_SHIFT;
	u32 length = bio->bi_iter.bi_size;
	bool zero = bio_op(bio) == REQ_OP_DISCARD || bio_op(bio) == REQ_OP_WRITE_ZEROES;
	unsigned int flags = (bio->bi_opf & REQ_PREFLUSH ? CRASH_PREFLUSH : 0) |
			     (bio->bi_opf & REQ_FUA ? CRASH_FUA : 0) | (zero ? CRASH_ZERO : 0);
	void *place;

	mutex_lock(&log_lock);
	change(bio);
	place = log_append(bio_disk(bio), flags, offset, length, zero ? 0 : length);
	if (place && !zero && length)
		copy_bio(bio, place, false);
	mutex_unlock(&log_lock);
}

/* Blocks from @first on are stable, as they are now. */
static void settle(unsigned long first, unsigned long end)
{
	unsigned long block = first;

	lockdep_assert_held(&log_lock);
	for_each_set_bit_from(block, unflushed, end)
		memcpy(stable + block * PAGE_SIZE, content(0, block * PAGE_SIZE), PAGE_SIZE);
	bitmap_clear(unflushed, first, end - first);
}

static void change_cached(struct bio *bio)
{
	unsigned long blocks = head->disk_bytes / PAGE_SIZE, from = bio_disk(bio) * blocks;
	u64 offset = bio->bi_iter.bi_sector << SECTOR_SHIFT;
	unsigned long first = from + offset / PAGE_SIZE;
	unsigned long end = from + DIV_ROUND_UP(offset + bio->bi_iter.bi_size, PAGE_SIZE);

	mutex_lock(&log_lock);
	if (bio->bi_opf & REQ_PREFLUSH)
		settle(from, from + blocks);
	if (bio->bi_iter.bi_size) {
		change(bio);
		bitmap_set(unflushed, first, end - first);
		if (bio->bi_opf & REQ_FUA)
			settle(first, end);
	}
	mutex_unlock(&log_lock);
}

/* All of what is in the cache is lost, in half of all cases; or some, by a coin; or nothing. */
static void power_cut(unsigned int disk, u64 seed)
{
	unsigned long blocks = head->disk_bytes / PAGE_SIZE, block = disk * blocks;
	unsigned long lost = 0, all = 0, end = block + blocks;
	struct rnd_state state;
	unsigned int kind;

	prandom_seed_state(&state, seed);
	kind = prandom_u32_state(&state) % 4;
	mutex_lock(&log_lock);
	for_each_set_bit_from(block, unflushed, end) {
		all++;
		if (kind == 3 || (kind == 2 && prandom_u32_state(&state) % 2))
			continue;
		memcpy(content(0, block * PAGE_SIZE), stable + block * PAGE_SIZE, PAGE_SIZE);
		lost++;
	}
	/* What has survived is on the disk, for good. */
	settle(disk * blocks, end);
	mutex_unlock(&log_lock);
	pr_info("crash%u: power cut, %lu of %lu blocks in the cache are lost\n", disk, lost, all);
}

static void count(struct bio *bio)
{
	if (bio->bi_iter.bi_sector << SECTOR_SHIFT >= head->data_bytes)
		return;
	spin_lock(&count_lock);
	head->written[bio_disk(bio)] += bio->bi_iter.bi_size;
	spin_unlock(&count_lock);
}

/* Without its record: nobody looks for one when a disk fails. */
static void fail(struct bio *bio, bool late)
{
	if (late && op_is_write(bio_op(bio)))
		change(bio);
	bio_io_error(bio);
}

static void perform(struct bio *bio, bool queued)
{
	if (!op_is_write(bio_op(bio)))
		copy_bio(bio, content(bio_disk(bio), bio->bi_iter.bi_sector << SECTOR_SHIFT), true);
	else if (cache)
		change_cached(bio);
	else if (queued)
		record(bio);
	else
		change(bio);
	if (!queued && op_is_write(bio_op(bio)))
		count(bio);
	bio_endio(bio);
}

/* One of those that wait, whichever came first. */
static struct bio *take(void)
{
	struct bio_list rest = BIO_EMPTY_LIST;
	struct bio *bio = NULL, *next;
	unsigned int skip;

	spin_lock(&queue_lock);
	skip = bio_list_empty(&queue) ? 0 : get_random_u32() % min(bio_list_size(&queue), 16u);
	while ((next = bio_list_pop(&queue))) {
		if (skip-- == 0)
			bio = next;
		else
			bio_list_add(&rest, next);
	}
	queue = rest;
	spin_unlock(&queue_lock);
	return bio;
}

static void work_fn(struct work_struct *work)
{
	struct bio *bio;

	while ((bio = take())) {
		perform(bio, true);
		if (get_random_u32() % 4 == 0)
			usleep_range(20, 400);
	}
}
static DECLARE_WORK(work, work_fn);

static void crash_submit_bio(struct bio *bio)
{
	bool late;

	bio = bio_split_to_limits(bio);
	if (!bio)
		return;
	if (!READ_ONCE(head->recording) && !cache) {
		if (fault_hits(bio, &late)) {
			fail(bio, late);
			return;
		}
		perform(bio, false);
		return;
	}
	spin_lock(&queue_lock);
	bio_list_add(&queue, bio);
	spin_unlock(&queue_lock);
	queue_work(wq, &work);
}

static const struct block_device_operations crash_fops = {
	.owner		= THIS_MODULE,
	.submit_bio	= crash_submit_bio,
};

/* ------------------------------------------------------ for the program -- */

static ssize_t control_write(struct file *file, const char __user *text, size_t length,
			     loff_t *pos)
{
	char mark[CRASH_MARK_MAX + 1];
	unsigned int disk;
	void *place;
	u64 seed;

	if (!length || length > CRASH_MARK_MAX)
		return -EINVAL;
	if (copy_from_user(mark, text, length))
		return -EFAULT;
	if (cache) {
		mark[length] = '\0';
		if (sscanf(mark, "cut %u %llu", &disk, &seed) != 2 || disk >= disks)
			return -EINVAL;
		power_cut(disk, seed);
		return length;
	}
	mutex_lock(&log_lock);
	place = log_append(0, CRASH_MARK, 0, length, length);
	if (place)
		memcpy(place, mark, length);
	mutex_unlock(&log_lock);
	return place ? length : -ENOSPC;
}

static int control_mmap(struct file *file, struct vm_area_struct *vma)
{
	return remap_vmalloc_range(vma, head, vma->vm_pgoff);
}

static const struct file_operations control_fops = {
	.owner	= THIS_MODULE,
	.write	= control_write,
	.mmap	= control_mmap,
};

static struct miscdevice control = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "crash",
	.fops	= &control_fops,
};

/* ------------------------------------------------------ birth and end -- */

#ifdef BLK_FEAT_STABLE_WRITES
static struct gendisk *alloc_disk_cached(void)
{
	struct queue_limits lim = {
		.max_hw_discard_sectors = 1 << 15,
		.max_write_zeroes_sectors = 1 << 15,
		.discard_granularity = PAGE_SIZE,
		.features = BLK_FEAT_WRITE_CACHE | BLK_FEAT_FUA,
	};

	return blk_alloc_disk(&lim, NUMA_NO_NODE);
}
#else
static struct gendisk *alloc_disk_cached(void)
{
	struct gendisk *disk = blk_alloc_disk(NUMA_NO_NODE);

	if (!disk)
		return ERR_PTR(-ENOMEM);
	blk_queue_max_discard_sectors(disk->queue, 1 << 15);
	blk_queue_max_write_zeroes_sectors(disk->queue, 1 << 15);
	disk->queue->limits.discard_granularity = PAGE_SIZE;
	blk_queue_write_cache(disk->queue, true, true);
	return disk;
}
#endif

static void disks_remove(void)
{
	unsigned int i;

	for (i = 0; i < disks; i++) {
		if (!disk_of[i])
			continue;
		del_gendisk(disk_of[i]);
		put_disk(disk_of[i]);
	}
}

static int disk_add(unsigned int n)
{
	struct gendisk *disk = alloc_disk_cached();
	int err;

	if (IS_ERR(disk))
		return PTR_ERR(disk);
	disk->major = major;
	disk->first_minor = n;
	disk->minors = 1;
	disk->flags |= GENHD_FL_NO_PART;
	disk->fops = &crash_fops;
	snprintf(disk->disk_name, sizeof(disk->disk_name), "crash%u", n);
	set_capacity(disk, head->disk_bytes >> SECTOR_SHIFT);
	err = add_disk(disk);
	if (err)
		put_disk(disk);
	else
		disk_of[n] = disk;
	return err;
}

static void area_free(void)
{
	vfree(unflushed);
	vfree(stable);
	vfree(head);
}

static int area_make(void)
{
	u64 disk_bytes = (u64)mib << 20;

	if (!disks || disks > CRASH_DISKS_MAX || !mib || !log_mib)
		return -EINVAL;
	area_bytes = CRASH_HEAD_BYTES + disks * disk_bytes + ((u64)log_mib << 20);
	head = vmalloc_user(area_bytes);
	if (head && cache) {
		stable = vzalloc(disks * disk_bytes);
		unflushed = vzalloc(BITS_TO_LONGS(disks * disk_bytes / PAGE_SIZE) * sizeof(long));
	}
	if (!head || (cache && (!stable || !unflushed))) {
		area_free();
		return -ENOMEM;
	}
	head->magic = CRASH_MAGIC;
	head->disk_bytes = disk_bytes;
	head->disks = disks;
	head->log_offset = CRASH_HEAD_BYTES + disks * disk_bytes;
	head->log_bytes = (u64)log_mib << 20;
	return 0;
}

static int __init crash_init(void)
{
	unsigned int i;
	int err = area_make();

	if (err)
		return err;
	bio_list_init(&queue);
	err = -ENOMEM;
	wq = alloc_workqueue("crash", WQ_UNBOUND | WQ_MEM_RECLAIM, 1);
	if (!wq)
		goto no_wq;
	err = major = register_blkdev(0, "crash");
	if (err < 0)
		goto no_major;
	err = misc_register(&control);
	if (err)
		goto no_control;
	for (i = 0; i < disks && !err; i++)
		err = disk_add(i);
	if (!err)
		return 0;
	disks_remove();
	misc_deregister(&control);
no_control:
	unregister_blkdev(major, "crash");
no_major:
	destroy_workqueue(wq);
no_wq:
	area_free();
	return err;
}

static void __exit crash_exit(void)
{
	disks_remove();
	misc_deregister(&control);
	unregister_blkdev(major, "crash");
	destroy_workqueue(wq);
	area_free();
}

module_init(crash_init);
module_exit(crash_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("disks whose power can be cut, for tests of repl");
