// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a read while a peer is live:
 *
 *   local	The backing device reads (lower.h); when that succeeds, all is done.
 *		Left out when there is no disk any more.
 *   remote	READ goes over a link.  The first live peer is asked, then the next.
 *   repair	What came is written to where the local read has failed.
 *
 * A repair must not overtake, nor undo, a write: its range is in volume->writes_by_range
 * from before the READ is sent until the data are written, so that overlapping writes
 * wait.  Where a write is there first the read is only served: the write puts the sectors
 * right, or finds the disk broken.  The repair has pages of its own, because nothing keeps
 * a reader from changing its buffer; without memory for them the read is only served.
 *
 * Who holds a read: the bio that is down, then the work, then the leg, then the repair's bio: one at a
 * time.  It keeps the volume.  From remote on it counts in ->reading: then the devices
 * stay open, and nobody leaves the role.
 */
#include <linux/blkdev.h>
#include <linux/slab.h>
#include "detach.h"
#include "link.h"
#include "lower.h"
#include "read.h"
#include "request.h"

enum { READS_RESERVED = 64 };

struct read {
	struct lower lower;
	struct volume *volume;		/* a reference */
	struct bio *upper;
	struct bvec_iter iter;		/* of ->upper as it came */
	unsigned long started;		/* jiffies */
	struct bio *repair;		/* with pages of its own; NULL: only served */
	struct span range;		/* taken while ->repair is set */
	unsigned int next;		/* the slot to ask next */
	struct leg leg;
	struct work_struct work;
};

static void repair_free(struct bio *repair)
{
	struct bvec_iter_all iter;
	struct bio_vec *bv;

	if (!repair)
		return;
	bio_for_each_segment_all(bv, repair, iter)
		__free_page(bv->bv_page);
	bio_uninit(repair);
	kfree(repair);
}

/* NULL without memory: for it nothing waits, since the reader may be what frees some. */
static struct bio *repair_alloc(struct volume *v, const struct read *read)
{
	unsigned int left = read->iter.bi_size, pages = DIV_ROUND_UP(left, PAGE_SIZE);
	struct bio *bio = bio_kmalloc(pages, GFP_NOWAIT | __GFP_NOWARN);

	if (!bio)
		return NULL;
	bio_init(bio, v->data.bdev, bio->bi_inline_vecs, pages, REQ_OP_WRITE | REQ_SYNC);
	bio->bi_iter.bi_sector = read->iter.bi_sector;
	while (left) {
		struct page *page = alloc_page(GFP_NOWAIT | __GFP_NOWARN);

		if (!page) {
			repair_free(bio);
			return NULL;
		}
		__bio_add_page(bio, page, min_t(unsigned int, left, PAGE_SIZE), 0);
		left -= min_t(unsigned int, left, PAGE_SIZE);
	}
	return bio;
}

static void read_end(struct read *read, blk_status_t status)
{
	struct bio *upper = read->upper, *clone = read->lower.clone;
	struct volume *v = read->volume;

	compat_account_end(upper, read->iter.bi_size >> SECTOR_SHIFT, read->started);
	pool_put(&v->reads, read);
	lower_end(upper, clone, status);
	volume_put(v);
}

/* Leaves the stage that counts in ->reading. */
static void remote_end(struct read *read, blk_status_t status)
{
	struct volume *v = read->volume;
	unsigned long flags;

	spin_lock_irqsave(&v->io_lock, flags);
	if (read->repair)
		range_release(v, &read->range);
	if (!--v->reading)
		wake_up_all(&v->quiet);
	spin_unlock_irqrestore(&v->io_lock, flags);
	repair_free(read->repair);
	read_end(read, status);
}

static void repair_done(struct bio *bio)
{
	struct read *read = bio->bi_private;
	struct volume *v = read->volume;

	if (!bio->bi_status) {
		volume_count(v, REPL_C_READ_REPAIRS, 1);
	} else {
		volume_count(v, REPL_C_ERRORS, 1);
		/* The disk may be given up by now; the one that replaces it has not failed. */
		if (!READ_ONCE(v->diskless))
			detach_failed(v, (u64)read->iter.bi_sector << SECTOR_SHIFT,
				      read->iter.bi_size);
	}
	/* The reader has its data, wherever they came from. */
	remote_end(read, BLK_STS_OK);
}

static void repair_write(struct read *read)
{
	struct bvec_iter to = read->iter, from = read->repair->bi_iter;

	bio_copy_data_iter(read->upper, &to, read->repair, &from);
	if (READ_ONCE(read->volume->diskless)) {
		remote_end(read, BLK_STS_OK);
		return;
	}
	read->repair->bi_end_io = repair_done;
	read->repair->bi_private = read;
	submit_bio_noacct(read->repair);
}

static bool read_ask(struct read *read);

static void leg_done(struct leg *leg, enum leg_end end)
{
	struct read *read = leg->owner;

	if (end != LEG_OK) {
		if (!read_ask(read))
			remote_end(read, BLK_STS_IOERR);
		return;
	}
	volume_count(read->volume, REPL_C_REMOTE_READS, 1);
	if (read->repair)
		repair_write(read);
	else
		remote_end(read, BLK_STS_OK);
}

/* Asks the next live peer; false: there is none. */
static bool read_ask(struct read *read)
{
	struct bio *to = read->repair ?: read->upper;
	struct volume *v = read->volume;
	struct leg *leg = &read->leg;
	struct link *link = NULL;
	unsigned long flags;

	leg->owner = read;
	leg->done = leg_done;
	leg->type = REPL_FRAME_READ;
	leg->offset = (u64)read->iter.bi_sector << SECTOR_SHIFT;
	leg->length = read->iter.bi_size;
	leg->flags = 0;
	leg->data = NULL;
	leg->bio = to;
	leg->iter = read->repair ? to->bi_iter : read->iter;
	spin_lock_irqsave(&v->io_lock, flags);
	while (!link && !v->failing && read->next < v->slots)
		link = v->slot[read->next++].link;
	if (link)
		link_queue(link, leg);
	spin_unlock_irqrestore(&v->io_lock, flags);
	return link;
}

static void read_remote(struct work_struct *work)
{
	struct read *read = container_of(work, struct read, work);
	struct volume *v = read->volume;
	struct bio *repair = NULL;
	bool primary, free;

	spin_lock_irq(&v->io_lock);
	primary = v->primary && !v->failing;
	/* From here on the devices stay open. */
	v->reading += primary;
	spin_unlock_irq(&v->io_lock);
	if (!primary) {
		read_end(read, BLK_STS_IOERR);
		return;
	}
	if (!READ_ONCE(v->diskless))
		repair = repair_alloc(v, read);
	if (repair) {
		read->range.start = read->iter.bi_sector;
		read->range.last = read->iter.bi_sector + (read->iter.bi_size >> SECTOR_SHIFT) - 1;
		spin_lock_irq(&v->io_lock);
		free = range_take(v, &read->range);
		spin_unlock_irq(&v->io_lock);
		if (free)
			read->repair = repair;
		else
			repair_free(repair);
	}
	if (!read_ask(read))
		remote_end(read, BLK_STS_IOERR);
}

static void local_done(struct lower *lower, blk_status_t status)
{
	struct read *read = container_of(lower, struct read, lower);

	/* A reader that may not wait gets to hear so. */
	if (likely(!status) || status == BLK_STS_AGAIN) {
		read_end(read, status);
		return;
	}
	volume_count(read->volume, REPL_C_ERRORS, 1);
	INIT_WORK(&read->work, read_remote);
	queue_work(repl_wq, &read->work);
}

/**
 * read_submit() - a read that a peer can serve, should the disk here not
 * @v: the volume, primary
 * @bio: a read, within the disk's limits
 *
 * Context: ->submit_bio; waits for nothing but memory.
 */
void read_submit(struct volume *v, struct bio *bio)
{
	gfp_t gfp = bio->bi_opf & REQ_NOWAIT ? GFP_NOWAIT | __GFP_NOWARN : GFP_NOIO;
	struct read *read = pool_get(&v->reads, gfp);

	if (read && !lower_init(&read->lower, bio, &v->read_clones, gfp)) {
		pool_put(&v->reads, read);
		read = NULL;
	}
	if (!read) {
		bio_wouldblock_error(bio);
		return;
	}
	volume_get(v);
	read->volume = v;
	read->upper = bio;
	read->iter = bio->bi_iter;
	read->started = compat_account_start(bio);
	read->repair = NULL;
	read->next = 0;
	if (READ_ONCE(v->diskless)) {
		INIT_WORK(&read->work, read_remote);
		queue_work(repl_wq, &read->work);
		return;
	}
	lower_submit(&read->lower, v->data.bdev, REQ_POLLED, local_done);
}

/**
 * read_init_volume() - the volume's own reserve of reads
 * @v: nobody else knows it yet
 *
 * Context: may sleep.
 */
int read_init_volume(struct volume *v)
{
	int err = bioset_init(&v->read_clones, READS_RESERVED, 0, 0);

	return err ?: pool_init(&v->reads, READS_RESERVED, sizeof(struct read));
}

/**
 * read_exit_volume() - free it
 * @v: no read is left; read_init_volume() may have failed
 */
void read_exit_volume(struct volume *v)
{
	pool_exit(&v->reads);
	bioset_exit(&v->read_clones);
}
