// SPDX-License-Identifier: GPL-2.0-only
/*
 * The secondary's side of a write: pages, a bio, an answer.
 *
 * Order: the primary never has two overlapping writes in flight, so all may be
 * submitted as they come.  Memory: one receiver fills one apply at a time, from
 * its link's pool that holds a whole one; bios in flight give their pages back without
 * help of the socket, so the receiver never waits for something that
 * only its own progress can release.  What waits for the reader of a cut goes on when the
 * reader, a process of this node, has read, at the latest after the cut's limit.
 */
#include <linux/blkdev.h>
#include <linux/mempool.h>
#include <linux/sched.h>
#include "apply.h"
#include "detach.h"
#include "netlink.h"
#include "role.h"
#include "share.h"

static struct bio_set apply_bios;

static blk_opf_t apply_opf(const struct frame *frame)
{
	blk_opf_t opf = REQ_OP_WRITE;

	if (frame->type == REPL_FRAME_READ)
		return REQ_OP_READ | REQ_SYNC;
	if (frame->type == REPL_FRAME_FLUSH)
		return opf | REQ_PREFLUSH;
	if (frame->flags & REPL_FF_FUA)
		opf |= REQ_FUA;
	if (frame->flags & REPL_FF_PREFLUSH)
		opf |= REQ_PREFLUSH;
	if (frame->flags & REPL_FF_SYNC)
		opf |= REQ_SYNC | REQ_IDLE;
	return opf;
}

/* Bytes of pages that it needs here. */
static u32 apply_bytes(const struct frame *frame)
{
	return frame->type == REPL_FRAME_WRITE || frame->type == REPL_FRAME_READ ?
	       frame->length : 0;
}

/* Counts an apply in, as soon as there is room; false when the link is dead. */
static bool apply_enter(struct link *link, u32 payload)
{
	bool alive, flood;

	spin_lock_irq(&link->lock);
	wait_event_lock_irq(link->applied, READ_ONCE(link->dead) ||
			    link->applying_bytes + payload <= LINK_RECEIVE_BYTES, link->lock);
	alive = !READ_ONCE(link->dead);
	/* One more: the peer may have got the DATA, or the answers, that the sender here has in hand. */
	flood = alive && link->applying > REPL_MAX_OUTSTANDING;
	if (flood)
		alive = false;
	if (alive) {
		link->applying++;
		link->applying_bytes += payload;
	}
	spin_unlock_irq(&link->lock);
	if (flood)
		link_kill(link, "the peer has sent more requests than it may leave unanswered");
	return alive;
}

/**
 * apply_alloc() - room for a request that arrived, and its payload
 * @link: over which
 * @frame: checked
 *
 * Context: the receiver; waits for earlier applies, if there are too many.
 * Return: NULL when the link is dead.
 */
struct apply *apply_alloc(struct link *link, const struct frame *frame)
{
	u32 payload = apply_bytes(frame);
	struct apply *apply;
	struct bio *bio;

	/* Else what it waits for may be a write that waits for the receiver. */
	WARN_ON_ONCE(!(current->flags & PF_MEMALLOC));
	if (!apply_enter(link, payload))
		return NULL;
	bio = bio_alloc_bioset(link->volume->data.bdev, DIV_ROUND_UP(payload, PAGE_SIZE),
			       apply_opf(frame), GFP_NOIO, &apply_bios);
	apply = container_of(bio, struct apply, bio);
	apply->link = link;
	apply->frame = *frame;
	apply->shared = false;
	apply->alone = false;
	apply->logged = false;
	/* That is how share_again() tells it from an application's. */
	apply->wait.bio = NULL;
	bio->bi_iter.bi_sector = frame->offset >> SECTOR_SHIFT;
	for (; payload; payload -= min_t(u32, payload, PAGE_SIZE))
		__bio_add_page(bio, mempool_alloc(&link->pages, GFP_NOIO),
			       min_t(u32, payload, PAGE_SIZE), 0);
	return apply;
}

/**
 * apply_free() - nobody needs it any more
 * @apply: its I/O is done, its answer sent or in vain
 *
 * Context: any.  The link may be gone on return.
 */
void apply_free(struct apply *apply)
{
	struct link *link = apply->link;
	u32 payload = apply_bytes(&apply->frame);
	struct bvec_iter_all iter;
	unsigned long flags;
	struct bio_vec *bv;

	bio_for_each_segment_all(bv, &apply->bio, iter)
		mempool_free(bv->bv_page, &link->pages);
	bio_put(&apply->bio);
	/* The teardown looks at the count under this lock, so it frees after the unlock. */
	spin_lock_irqsave(&link->lock, flags);
	link->applying--;
	link->applying_bytes -= payload;
	wake_up_all(&link->applied);
	spin_unlock_irqrestore(&link->lock, flags);
}

/**
 * apply_answer() - tell the peer how it went
 * @apply: whose I/O is done
 * @status: enum repl_frame_status
 *
 * Context: any, interrupts included.
 */
void apply_answer(struct apply *apply, u8 status)
{
	struct link *link = apply->link;
	unsigned long flags;
	bool in_vain;

	apply->status = status;
	share_leave(apply);
	spin_lock_irqsave(&link->lock, flags);
	in_vain = link->stopped;
	if (!in_vain) {
		list_add_tail(&apply->entry, &link->answers);
		wake_up(&link->wait);
	}
	spin_unlock_irqrestore(&link->lock, flags);
	if (in_vain)
		apply_free(apply);
}

/*
 * Of what the peer had sent while it was primary itself, to who is primary now.  Of a disk that
 * went since it says nothing: a new one gets everything.
 */
static bool is_late_flush(const struct apply *apply)
{
	return apply->frame.type == REPL_FRAME_FLUSH && READ_ONCE(apply->link->volume->primary);
}

static u8 apply_status(struct apply *apply, blk_status_t status)
{
	struct volume *v = apply->link->volume;

	if (likely(status == BLK_STS_OK))
		return REPL_STATUS_OK;
	volume_count(v, REPL_C_ERRORS, 1);
	/* The device says once what it has lost, and the next fsync here would succeed. */
	if (is_late_flush(apply)) {
		/* Of a disk that is being replaced nothing is asked any more. */
		if (READ_ONCE(v->diskless))
			return REPL_STATUS_OK;
		detach_flush_lost(v, "the backing device here has failed a flush");
		return READ_ONCE(v->diskless) ? REPL_STATUS_OK : REPL_STATUS_IO;
	}
	if (apply->frame.type != REPL_FRAME_READ)
		detach_doubt(v);
	return status == BLK_STS_NOSPC ? REPL_STATUS_NOSPACE : REPL_STATUS_IO;
}

static void apply_bio_done(struct bio *bio)
{
	struct apply *apply = container_of(bio, struct apply, bio);

	apply_answer(apply, apply_status(apply, bio->bi_status));
}

static void apply_zero(struct work_struct *work)
{
	struct apply *apply = container_of(work, struct apply, work);
	struct volume *v = apply->link->volume;
	int err = backing_zero(&v->data, apply->frame.offset, apply->frame.length,
			       apply->frame.flags & REPL_FF_UNMAP);

	if (!err && (apply->frame.flags & REPL_FF_FUA))
		err = blkdev_issue_flush(v->data.bdev);
	apply_answer(apply, apply_status(apply, errno_to_blk_status(err)));
}

/**
 * apply_submit() - do what arrived
 * @apply: complete, its payload received
 *
 * Context: the receiver; share_resume().
 */
void apply_submit(struct apply *apply)
{
	struct volume *v = apply->link->volume;

	if (apply->frame.type == REPL_FRAME_GENERATION) {
		role_adopt_generation(apply);
		return;
	}
	/* It was primary without a disk, and the one who took over has not noticed yet. */
	if (READ_ONCE(v->diskless)) {
		apply_answer(apply, is_late_flush(apply) ? REPL_STATUS_OK : REPL_STATUS_IO);
		return;
	}
	if (apply->shared && !share_enter(apply))
		return;
	switch (apply->frame.type) {
	case REPL_FRAME_SETTLED:
		share_settle(apply);
		return;
	case REPL_FRAME_ZEROES:
		INIT_WORK(&apply->work, apply_zero);
		queue_work(v->zeroing, &apply->work);
		return;
	case REPL_FRAME_WRITE:
		volume_count(v, REPL_C_APPLIED_WRITES, 1);
		volume_count(v, REPL_C_APPLIED_BYTES, apply->frame.length);
		break;
	}
	apply->bio.bi_end_io = apply_bio_done;
	submit_bio_noacct(&apply->bio);
}

/**
 * apply_take_generation() - who gets it answers or frees it
 * @link: under whose lock, or whose teardown, the caller knows it
 *
 * Return: NULL when somebody else was first.
 */
struct apply *apply_take_generation(struct link *link)
{
	struct apply *apply;
	unsigned long flags;

	spin_lock_irqsave(&link->lock, flags);
	apply = link->generation;
	link->generation = NULL;
	spin_unlock_irqrestore(&link->lock, flags);
	return apply;
}

int apply_init(void)
{
	return bioset_init(&apply_bios, 64, offsetof(struct apply, bio), BIOSET_NEED_BVECS);
}

void apply_exit(void)
{
	bioset_exit(&apply_bios);
}
