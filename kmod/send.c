// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sender of a link: one thread that puts answers, legs and beats on the
 * socket, in this order of preference.  Nothing else writes to the socket.
 *
 * While there is more than one thing to send at a time the thread is of SCHED_BATCH: where a
 * processor is idle, or who has queued a leg waits for it, it runs at once as ever; but it does
 * not push from the processor who is still queueing, or a receiver that has still something to
 * read.  What has come together by then goes out as one stream of full packets (MSG_MORE), and
 * at the latest when the other's slice is over.  Who sends one thing at a time is waited for,
 * and pushes: see sender_policy().
 *
 * A peer may answer a leg before the send call has returned, rightly or not.
 * While a leg is LEG_SENDING its end is therefore left to the sender, so that its
 * pages are never read after ->done.
 */
#include <linux/crc32c.h>
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <uapi/linux/sched/types.h>
#include <net/sock.h>
#include "apply.h"
#include "link.h"
#include "netlink.h"

/* The tx page holds as many headers as are sent in one go. */
#define HEADERS_PER_PAGE (PAGE_SIZE / sizeof(struct repl_frame))

/* A thread of one thing at a time pushes after so many, but for each such-and-such one. */
enum { SENDER_ALONE = 16, SENDER_PROBE = 64 };

/* After a send call that has returned @n; false when the link is to end. */
static bool send_may_go_on(struct link *link, int n)
{
	if (n > 0) {
		WRITE_ONCE(link->spoke_at, jiffies);
		return true;
	}
	if (READ_ONCE(link->dead))
		return false;
	switch (n) {
	case -ENOMEM:
		/*
		 * Encryption wants memory for a record before it takes any of its bytes.  Where
		 * memory is short, writes that go out here may be all that can free it.
		 */
		schedule_timeout_uninterruptible(1);
		fallthrough;
	case -EAGAIN:
		return true;
	}
	link_kill(link, "sending failed, error %d", n);
	return false;
}

/* All of @msg, however often the socket is full; false when the link is to end. */
static bool send_all(struct link *link, struct msghdr *msg)
{
	while (msg_data_left(msg))
		if (!send_may_go_on(link, sock_sendmsg(link->sock, msg)))
			return false;
	return true;
}

/* The first @bytes of the tx page. */
static bool send_headers(struct link *link, unsigned int bytes, int flags)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL | flags };

	bvec_set_page(&link->tx_vec[0], link->tx_page, bytes, 0);
	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, link->tx_vec, 1, bytes);
	return send_all(link, &msg);
}

/* Header and payload in one call, copied: encryption makes full records of it. */
static bool send_gathered(struct link *link, const struct bio *bio, struct bvec_iter iter,
			  int flags)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL | flags };
	size_t bytes = sizeof(struct repl_frame) + iter.bi_size;
	struct bio_vec *vec = link->tx_vec;
	unsigned int n = 1;

	bvec_set_page(&vec[0], link->tx_page, sizeof(struct repl_frame), 0);
	while (iter.bi_size && n <= BIO_MAX_VECS) {
		vec[n] = mp_bvec_iter_bvec(bio->bi_io_vec, iter);
		bio_advance_iter(bio, &iter, vec[n].bv_len);
		n++;
	}
	if (WARN_ON_ONCE(iter.bi_size)) {
		link_kill(link, "a write has more segments than the disk declares");
		return false;
	}
	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, vec, n, bytes);
	return send_all(link, &msg);
}

/* One page by reference: it stays as it is until the write completes (link_stop()). */
static bool send_page(struct link *link, const struct bio_vec *bv, int flags)
{
	unsigned int done = 0;

	while (done < bv->bv_len) {
		int n = compat_send_page(link->sock, bv->bv_page, bv->bv_offset + done,
					 bv->bv_len - done, flags | MSG_NOSIGNAL);

		if (!send_may_go_on(link, n))
			return false;
		done += max(n, 0);
	}
	return true;
}

/* A page of the slab has no reference of its own to give: it is copied. */
static bool send_copy(struct link *link, const struct bio_vec *bv, int flags)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL | flags };

	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, bv, 1, bv->bv_len);
	return send_all(link, &msg);
}

static bool send_pages(struct link *link, const struct leg *leg, int flags)
{
	struct bvec_iter iter;
	struct bio_vec bv;
	bool ok;

	__bio_for_each_segment(bv, leg->bio, iter, leg->iter) {
		int more = iter.bi_size > bv.bv_len ? MSG_MORE : flags;

		ok = sendpage_ok(bv.bv_page) ? send_page(link, &bv, more) :
					       send_copy(link, &bv, more);
		if (!ok)
			return false;
	}
	return true;
}

/**
 * link_payload_crc() - the checksum that goes with a payload
 * @bio: whose pages hold it
 * @part: which part of them
 *
 * Context: any.
 */
u32 link_payload_crc(const struct bio *bio, struct bvec_iter part)
{
	struct bvec_iter iter;
	struct bio_vec bv;
	u32 crc = ~0u;

	__bio_for_each_segment(bv, bio, iter, part) {
		void *at = bvec_kmap_local(&bv);

		crc = crc32c(crc, at, bv.bv_len);
		kunmap_local(at);
	}
	return ~crc;
}

/* @flags: MSG_MORE when another frame follows at once. */
static bool send_leg(struct link *link, const struct leg *leg, int flags)
{
	struct repl_frame *wire = page_address(link->tx_page);
	struct frame frame = {
		.type = leg->type,
		.flags = leg->flags,
		.cookie = link->cookie,
		.tag = leg->tag,
		.length = leg->length,
		.offset = leg->offset,
	};

	bool payload = leg->type == REPL_FRAME_WRITE;

	if (payload && link->crc) {
		frame.flags |= REPL_FF_CRC;
		frame.payload_crc = link_payload_crc(leg->bio, leg->iter);
	}
	frame_pack(wire, &frame);
	if (leg->data) {
		memcpy(wire + 1, leg->data, leg->length);
		frame.flags |= REPL_FF_CRC;
		frame.payload_crc = ~crc32c(~0u, leg->data, leg->length);
		frame_pack(wire, &frame);
		return send_headers(link, sizeof(*wire) + leg->length, flags);
	}
	if (!payload)
		return send_headers(link, sizeof(*wire), flags);
	if (link->tls)
		return send_gathered(link, leg->bio, leg->iter, flags);
	return send_headers(link, sizeof(*wire), MSG_MORE) && send_pages(link, leg, flags);
}

/* ---------------------------------------------------------------- legs -- */

static void leg_release_tag(struct link *link, struct leg *leg)
{
	u16 index = leg->tag & (LINK_TAGS - 1);

	link->by_tag[index] = NULL;
	link->free_tags[link->free++] = index;
}

static struct list_head *leg_list(struct link *link, const struct leg *leg)
{
	return leg->type == REPL_FRAME_ZEROES ? &link->zeroes : &link->queue;
}

static void leg_count_zeroes(struct link *link, const struct leg *leg, int sign)
{
	if (leg->type != REPL_FRAME_ZEROES)
		return;
	link->zero_bytes += sign * (s64)leg->length;
	link->zero_legs += sign;
}

/* Its success is known: what it says about stable media is remembered here. */
static void leg_settle(struct link *link, struct leg *leg)
{
	u8 shift = link->volume->region_shift;

	lockdep_assert_held(&link->lock);
	list_del(&leg->entry);
	leg_release_tag(link, leg);
	link->in_flight_bytes -= leg->length;
	leg_count_zeroes(link, leg, -1);
	/* Good for the set that was put aside when it was sent; without one, for nothing. */
	if (leg->flushes && !WARN_ON_ONCE(!link->flushing)) {
		map_clear_all(&link->unflushed[!link->filling]);
		link->flushing = false;
	} else if ((leg->type == REPL_FRAME_WRITE || leg->type == REPL_FRAME_ZEROES) &&
		   !(leg->flags & REPL_FF_FUA)) {
		u64 first = leg->offset >> shift;
		u64 last = (leg->offset + leg->length - 1) >> shift;

		map_set(&link->unflushed[link->filling], first, last - first + 1);
	}
}

/*
 * Zeroing is cheap to ask for and slow to do: it is not asked for faster than it can be
 * answered within the stuck-timeout, and leaves tags for the others.
 */
static bool zeroes_may_go(const struct link *link, const struct leg *leg)
{
	return !link->zero_legs || (link->zero_legs < LINK_ZERO_LEGS &&
				    link->zero_bytes + leg->length <= LINK_ZERO_BYTES);
}

/*
 * The next leg to send; NULL: none, or no tag.  Zeroing first: its bounds keep it from
 * crowding out the rest, and it would wait for ever behind a queue that never empties.
 */
static struct leg *leg_next(struct link *link)
{
	struct leg *leg;

	lockdep_assert_held(&link->lock);
	if (!link->free)
		return NULL;
	leg = list_first_entry_or_null(&link->zeroes, struct leg, entry);
	if (leg && zeroes_may_go(link, leg))
		return leg;
	return list_first_entry_or_null(&link->queue, struct leg, entry);
}

/* The next leg, with a tag and LEG_SENDING. */
static struct leg *leg_take(struct link *link)
{
	struct leg *leg = leg_next(link);
	u16 index;

	if (!leg)
		return NULL;
	leg_count_zeroes(link, leg, 1);
	index = link->free_tags[--link->free];
	leg->tag = (link->tag_turn++ << LINK_TAG_BITS) | index;
	link->by_tag[index] = leg;
	leg->state = LEG_SENDING;
	leg->sent_at = jiffies;
	list_move_tail(&leg->entry, &link->sent);
	/*
	 * A flush covers what was answered before it is sent.  Only one set can wait
	 * for an answer; a flush that finds it taken leaves the sets alone.
	 */
	if (leg->type == REPL_FRAME_FLUSH && !link->flushing) {
		link->filling = !link->filling;
		link->flushing = true;
		leg->flushes = true;
	}
	return leg;
}

/* From the pages as they are now, which is what counts. */
static void leg_requeue(struct link *link, struct leg *leg)
{
	lockdep_assert_held(&link->lock);
	leg_release_tag(link, leg);
	leg_count_zeroes(link, leg, -1);
	leg->again = false;
	leg->state = LEG_QUEUED;
	list_move(&leg->entry, leg_list(link, leg));
	volume_count(link->volume, REPL_C_RESENDS, 1);
}

static void leg_sent(struct link *link, struct leg *leg)
{
	unsigned long flags;
	bool ended;

	spin_lock_irqsave(&link->lock, flags);
	link->sent_bytes += leg->type == REPL_FRAME_WRITE ? leg->length : 0;
	ended = leg->answered;
	if (ended)
		leg_settle(link, leg);
	else if (leg->again)
		leg_requeue(link, leg);
	else
		leg->state = LEG_SENT;
	spin_unlock_irqrestore(&link->lock, flags);
	if (ended)
		leg->done(leg, leg->refused ? LEG_REFUSED : LEG_OK);
}

/**
 * link_queue() - send a frame that wants an answer
 * @link: alive
 * @leg: filled in by its owner, from ->owner to ->data
 *
 * Context: any; volume->io_lock held, under which @link is alive.
 */
void link_queue(struct link *link, struct leg *leg)
{
	lockdep_assert_held(&link->volume->io_lock);
	leg->state = LEG_QUEUED;
	leg->answered = false;
	leg->refused = false;
	leg->again = false;
	leg->filled = false;
	leg->flushes = false;
	leg->tries = 0;
	spin_lock(&link->lock);
	list_add_tail(&leg->entry, leg_list(link, leg));
	link->in_flight_bytes += leg->length;
	spin_unlock(&link->lock);
	wake_up(&link->wait);
}

/* The payload arrived damaged: once more, if that helps. */
static bool leg_again(struct link *link, struct leg *leg)
{
	lockdep_assert_held(&link->lock);
	if (leg->again || ++leg->tries > LINK_TRIES)
		return false;
	if (leg->state == LEG_SENDING) {
		leg->again = true;
		return true;
	}
	leg_requeue(link, leg);
	wake_up(&link->wait);
	return true;
}

static const char *status_words(u8 status)
{
	switch (status) {
	case REPL_STATUS_IO:
		return "the peer's backing device has failed a write";
	case REPL_STATUS_NOSPACE:
		return "the peer's backing device is full";
	case REPL_STATUS_RESEND:
		return "a payload arrived damaged again and again";
	default:
		return "the peer has refused a request in its role";
	}
}

/**
 * link_reading() - which READ an arriving payload belongs to
 * @link: the receiver's
 * @frame: of a DATA, checked
 *
 * The leg stays what it is until link_answered(): only the receiver ends a leg that was
 * sent, but for the teardown, which stops the receiver first.
 *
 * Context: the receiver.
 * Return: NULL when nobody has asked for it.
 */
struct leg *link_reading(struct link *link, const struct frame *frame)
{
	struct leg *leg;

	spin_lock_irq(&link->lock);
	leg = link->by_tag[frame->tag & (LINK_TAGS - 1)];
	if (leg && (leg->tag != frame->tag || leg->answered || leg->again ||
		    leg->type != REPL_FRAME_READ || leg->offset != frame->offset ||
		    leg->length != frame->length))
		leg = NULL;
	spin_unlock_irq(&link->lock);
	return leg;
}

/* What a peer may say no to, and stay a peer. */
static bool may_refuse(const struct leg *leg, u8 status)
{
	return (leg->type == REPL_FRAME_GENERATION && status == REPL_STATUS_REFUSED) ||
	       (leg->type == REPL_FRAME_READ && status == REPL_STATUS_IO);
}

/**
 * link_answered() - the peer has answered a request
 * @link: the receiver's
 * @tag: of the request
 * @status: enum repl_frame_status
 *
 * A failure ends the link, and the leg with it: the teardown sets its bits.
 *
 * Context: the receiver.
 */
void link_answered(struct link *link, u32 tag, u8 status)
{
	struct leg *leg, *ended = NULL;
	bool bad = false, more = false, refused;

	spin_lock_irq(&link->lock);
	leg = link->by_tag[tag & (LINK_TAGS - 1)];
	if (!leg || leg->tag != tag || leg->answered ||
	    (leg->type == REPL_FRAME_READ && status == REPL_STATUS_OK && !leg->filled)) {
		bad = true;
	} else if (status == REPL_STATUS_RESEND) {
		if (!leg_again(link, leg))
			bad = true;
	} else {
		refused = may_refuse(leg, status);
		if (status != REPL_STATUS_OK && !refused) {
			bad = true;
		} else {
			leg->refused = refused;
			leg->answered = true;
			if (leg->state == LEG_SENT) {
				leg_settle(link, leg);
				ended = leg;
				/* It may have been waiting for this tag, or for less zeroing. */
				more = leg_next(link);
			}
		}
	}
	spin_unlock_irq(&link->lock);
	if (more)
		wake_up(&link->wait);
	if (ended)
		ended->done(ended, ended->refused ? LEG_REFUSED : LEG_OK);
	if (bad && status == REPL_STATUS_OK)
		link_kill(link, "the peer has answered a request that was not made");
	else if (bad)
		link_kill(link, "%s", status_words(status));
}

/* -------------------------------------------------------------- thread -- */

/* Its pages go back to a pool that has no reference to wait for: they are copied. */
static bool send_data(struct link *link, struct apply *apply)
{
	struct bvec_iter iter = { .bi_size = apply->frame.length };
	struct frame frame = {
		.type = REPL_FRAME_DATA,
		.cookie = link->cookie,
		.tag = apply->frame.tag,
		.length = apply->frame.length,
		.offset = apply->frame.offset,
	};
	bool ok;

	if (link->crc) {
		frame.flags |= REPL_FF_CRC;
		frame.payload_crc = link_payload_crc(&apply->bio, iter);
	}
	frame_pack(page_address(link->tx_page), &frame);
	ok = send_gathered(link, &apply->bio, iter, 0);
	if (ok)
		link->sent_bytes += frame.length;
	apply_free(apply);
	return ok;
}

static bool send_answers(struct link *link, struct list_head *answers)
{
	struct repl_frame *wire = page_address(link->tx_page);
	struct apply *apply, *next;
	unsigned int n = 0;

	list_for_each_entry_safe(apply, next, answers, entry) {
		struct frame frame = {
			.type = REPL_FRAME_ANSWER,
			.status = apply->status,
			.cookie = link->cookie,
			.tag = apply->frame.tag,
		};

		list_del(&apply->entry);
		frame_pack(&wire[n++], &frame);
		apply_free(apply);
	}
	return send_headers(link, n * sizeof(*wire), 0);
}

/* After a link's end nothing is confirmed any more, but the peer may hear why it has ended. */
static bool send_failure(struct link *link)
{
	struct apply *apply;
	LIST_HEAD(failed);

	spin_lock_irq(&link->lock);
	list_for_each_entry(apply, &link->answers, entry) {
		if (apply->status == REPL_STATUS_IO || apply->status == REPL_STATUS_NOSPACE) {
			list_move(&apply->entry, &failed);
			break;
		}
	}
	spin_unlock_irq(&link->lock);
	return list_empty(&failed) || send_answers(link, &failed);
}

static bool send_simple(struct link *link, u8 type)
{
	struct frame frame = { .type = type, .cookie = link->cookie };

	frame_pack(page_address(link->tx_page), &frame);
	return send_headers(link, sizeof(struct repl_frame), 0);
}

static bool sender_idle(struct link *link)
{
	unsigned long flags;
	bool idle;

	spin_lock_irqsave(&link->lock, flags);
	idle = list_empty(&link->answers) && !READ_ONCE(link->beat) && !leg_next(link);
	spin_unlock_irqrestore(&link->lock, flags);
	return idle;
}

/*
 * Where all processors are busy a lone write, or its answer, would wait for somebody's slice to
 * end, while nothing comes that could go with it: after some of them the sender pushes, as any
 * thread that has slept does.  Then each would go alone even if more could come together, so
 * now and then one does not push.
 */
static void sender_policy(struct link *link)
{
	struct sched_attr attr = { .sched_policy = SCHED_BATCH };
	bool pushes;

	link->alone = link->frames > 1 ? 0 : link->alone + 1;
	link->frames = 0;
	pushes = link->alone >= SENDER_ALONE && link->alone % SENDER_PROBE;
	if (link->pushes == pushes)
		return;
	link->pushes = pushes;
	if (pushes)
		attr.sched_policy = SCHED_NORMAL;
	WARN_ON_ONCE(sched_setattr_nocheck(current, &attr));
}

/* One thing to send, if there is one; false: the link is to end. */
static bool sender_step(struct link *link, bool *more)
{
	struct apply *apply, *next, *data = NULL;
	struct leg *leg = NULL;
	LIST_HEAD(answers);
	unsigned int n = 0;

	spin_lock_irq(&link->lock);
	list_for_each_entry_safe(apply, next, &link->answers, entry) {
		if (n == HEADERS_PER_PAGE || (n && apply_has_data(apply)))
			break;
		list_move_tail(&apply->entry, &answers);
		n++;
		if (apply_has_data(apply)) {
			data = apply;
			break;
		}
	}
	if (!n)
		leg = leg_take(link);
	/* Only this thread takes legs: what is there stays until the next step. */
	*more = leg_next(link);
	spin_unlock_irq(&link->lock);
	link->frames += n + !!leg;
	if (data)
		return send_data(link, data);
	if (n)
		return send_answers(link, &answers);
	if (leg) {
		if (!send_leg(link, leg, *more ? MSG_MORE : 0))
			return false;
		leg_sent(link, leg);
		return true;
	}
	if (READ_ONCE(link->beat)) {
		WRITE_ONCE(link->beat, false);
		return send_simple(link, REPL_FRAME_BEAT);
	}
	return true;
}

/**
 * link_sender() - thread function
 * @data: the link
 *
 * After the link's death it touches nothing and waits to be stopped.
 */
int link_sender(void *data)
{
	struct link *link = data;
	unsigned int noreclaim = memalloc_noreclaim_save();
	bool ok = true, more = false;

	link->pushes = true;
	while (ok && !kthread_should_stop()) {
		if (!more && sender_idle(link)) {
			sender_policy(link);
			wait_event_interruptible(link->wait, kthread_should_stop() ||
						 READ_ONCE(link->dead) || !sender_idle(link));
		}
		if (READ_ONCE(link->dead))
			break;
		ok = sender_step(link, &more);
	}
	if (ok && READ_ONCE(link->polite) && send_failure(link))
		send_simple(link, REPL_FRAME_CLOSE);
	memalloc_noreclaim_restore(noreclaim);
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}
