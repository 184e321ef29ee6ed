/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The differences between the supported kernels, and nowhere else: 6.1 and
 * 6.12.  By feature: the code beside it reads as if written for the newer one.
 *
 * HAVE_SENDPAGE comes from Kbuild, because a struct member cannot be probed
 * here.  MSG_SPLICE_PAGES says nothing: late 6.1 defines it without a meaning.
 */
#ifndef REPL_COMPAT_H
#define REPL_COMPAT_H

#include <linux/blkdev.h>
#include <linux/file.h>
#include <linux/net.h>
#include <linux/socket.h>

#ifdef BLK_FEAT_STABLE_WRITES	/* limits are set by value, a bdev is a file */

struct compat_bdev {
	struct file *file;
};

static inline int compat_bdev_open(struct compat_bdev *c, dev_t dev, void *holder)
{
	c->file = bdev_file_open_by_dev(dev, BLK_OPEN_READ | BLK_OPEN_WRITE, holder, NULL);
	return PTR_ERR_OR_ZERO(c->file);
}

/* Context: the caller's own, so that the device is free when this returns. */
static inline void compat_bdev_close(struct compat_bdev *c)
{
	__fput_sync(c->file);
}

static inline struct block_device *compat_bdev(const struct compat_bdev *c)
{
	return file_bdev(c->file);
}

#define COMPAT_OPEN_ARGS	struct gendisk *disk, blk_mode_t mode
#define COMPAT_RELEASE_ARGS	struct gendisk *disk
#define COMPAT_OPEN_DISK	disk

#else

struct compat_bdev {
	struct block_device *bdev;
};

static inline int compat_bdev_open(struct compat_bdev *c, dev_t dev, void *holder)
{
	c->bdev = blkdev_get_by_dev(dev, FMODE_READ | FMODE_WRITE | FMODE_EXCL, holder);
	return PTR_ERR_OR_ZERO(c->bdev);
}

static inline void compat_bdev_close(struct compat_bdev *c)
{
	blkdev_put(c->bdev, FMODE_READ | FMODE_WRITE | FMODE_EXCL);
}

static inline struct block_device *compat_bdev(const struct compat_bdev *c)
{
	return c->bdev;
}

#define COMPAT_OPEN_ARGS	struct block_device *bdev, fmode_t mode
#define COMPAT_RELEASE_ARGS	struct gendisk *disk, fmode_t mode
#define COMPAT_OPEN_DISK	(bdev->bd_disk)

#endif

/* What a replicated disk declares; bytes, except where the name says sectors. */
struct compat_limits {
	unsigned int lbs;
	unsigned int max_io_sectors;
	unsigned int max_zero_sectors;
	bool discard;
};

/* Bytes.  One above the largest discard would let the block layer split none of them. */
static inline unsigned int compat_granularity(const struct compat_limits *l, unsigned int pbs,
					      struct block_device *lower)
{
	return min(max(pbs, bdev_discard_granularity(lower)),
		   l->max_zero_sectors << SECTOR_SHIFT);
}

#ifdef BLK_FEAT_STABLE_WRITES

static inline struct gendisk *compat_alloc_disk(const struct compat_limits *l,
						struct block_device *lower)
{
	struct queue_limits lim;

	blk_set_stacking_limits(&lim);
	lim.logical_block_size = l->lbs;
	lim.physical_block_size = max(l->lbs, bdev_physical_block_size(lower));
	lim.io_min = lim.physical_block_size;
	lim.max_hw_sectors = l->max_io_sectors;
	lim.max_segments = BIO_MAX_VECS;
	lim.max_zone_append_sectors = 0;
	lim.dma_alignment = max_t(unsigned int, lim.dma_alignment, bdev_dma_alignment(lower));
	lim.max_write_zeroes_sectors = l->max_zero_sectors;
	if (l->discard) {
		lim.max_hw_discard_sectors = l->max_zero_sectors;
		lim.discard_granularity = compat_granularity(l, lim.physical_block_size, lower);
	} else {
		lim.max_hw_discard_sectors = 0;
	}
	lim.features = BLK_FEAT_WRITE_CACHE | BLK_FEAT_FUA | BLK_FEAT_STABLE_WRITES |
		       BLK_FEAT_IO_STAT;
	if (bdev_nowait(lower))
		lim.features |= BLK_FEAT_NOWAIT;
	return blk_alloc_disk(&lim, NUMA_NO_NODE);
}

static inline bool compat_flushes(struct gendisk *disk)
{
	return blk_queue_write_cache(disk->queue);
}

/* What iostat shows.  Both while ->bi_bdev is this disk's. */
static inline unsigned long compat_account_start(const struct bio *bio)
{
	return bdev_start_io_acct(bio->bi_bdev, bio_op(bio), jiffies);
}

static inline void compat_account_end(const struct bio *bio, unsigned int sectors,
				      unsigned long started)
{
	bdev_end_io_acct(bio->bi_bdev, bio_op(bio), sectors, started);
}

#else

static inline struct gendisk *compat_alloc_disk(const struct compat_limits *l,
						struct block_device *lower)
{
	struct gendisk *disk = blk_alloc_disk(NUMA_NO_NODE);
	struct request_queue *q;

	if (!disk)
		return ERR_PTR(-ENOMEM);
	q = disk->queue;
	blk_set_stacking_limits(&q->limits);
	blk_queue_logical_block_size(q, l->lbs);
	blk_queue_physical_block_size(q, max(l->lbs, bdev_physical_block_size(lower)));
	blk_queue_max_hw_sectors(q, l->max_io_sectors);
	blk_queue_max_segments(q, BIO_MAX_VECS);
	blk_queue_update_dma_alignment(q, bdev_dma_alignment(lower));
	blk_queue_max_write_zeroes_sectors(q, l->max_zero_sectors);
	if (l->discard) {
		blk_queue_max_discard_sectors(q, l->max_zero_sectors);
		q->limits.discard_granularity =
			compat_granularity(l, queue_physical_block_size(q), lower);
	} else {
		blk_queue_max_discard_sectors(q, 0);
	}
	blk_queue_write_cache(q, true, true);
	blk_queue_flag_set(QUEUE_FLAG_STABLE_WRITES, q);
	blk_queue_flag_set(QUEUE_FLAG_IO_STAT, q);
	if (bdev_nowait(lower))
		blk_queue_flag_set(QUEUE_FLAG_NOWAIT, q);
	return disk;
}

static inline bool compat_flushes(struct gendisk *disk)
{
	return test_bit(QUEUE_FLAG_WC, &disk->queue->queue_flags);
}

static inline unsigned long compat_account_start(const struct bio *bio)
{
	return bdev_start_io_acct(bio->bi_bdev, bio_sectors(bio), bio_op(bio), jiffies);
}

static inline void compat_account_end(const struct bio *bio, unsigned int sectors,
				      unsigned long started)
{
	bdev_end_io_acct(bio->bi_bdev, bio_op(bio), started);
}

#endif

static inline bool compat_stable(struct gendisk *disk)
{
	return bdev_stable_writes(disk->part0);
}

/**
 * compat_send_page() - hand a page to TCP without copying it
 * @sock: a plain TCP socket
 * @page: not a slab page, and unchanged until the peer has it
 * @offset: bytes into the page
 * @len: bytes
 * @flags: MSG_*
 *
 * Return: bytes taken, or a negative errno.
 */
static inline int compat_send_page(struct socket *sock, struct page *page, unsigned int offset,
				   unsigned int len, int flags)
{
#ifdef HAVE_SENDPAGE
	return kernel_sendpage(sock, page, offset, len, flags);
#else
	struct msghdr msg = { .msg_flags = flags | MSG_SPLICE_PAGES };
	struct bio_vec bv;

	bvec_set_page(&bv, page, len, offset);
	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, &bv, 1, len);
	return sock_sendmsg(sock, &msg);
#endif
}

#endif /* REPL_COMPAT_H */
