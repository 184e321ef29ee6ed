// SPDX-License-Identifier: GPL-2.0-only
/*
 * The receiver of a link: one thread that reads frames, checks them, and hands
 * them on.  It believes nothing: what does not fit ends the link, in words.
 */
#include <linux/crc32c.h>
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <net/sock.h>
#include "apply.h"
#include "link.h"
#include "netlink.h"
#include "share.h"

/* Progress inside a large payload is life too: so much is awaited at a time. */
#define RECEIVE_STEP (64 << 10)

static bool receive_failed(struct link *link, int n)
{
	if (READ_ONCE(link->dead))
		return false;
	if (n == 0)
		link_kill(link, "the connection was closed by the peer");
	else
		link_kill(link, "receiving failed, error %d", n);
	return false;
}

static int receive_some(struct link *link, struct msghdr *msg, int flags)
{
	int n;

	WRITE_ONCE(link->heard_at, jiffies);
	/* Pairs with link_tick(). */
	smp_store_release(&link->listening, true);
	n = sock_recvmsg(link->sock, msg, flags | MSG_NOSIGNAL);
	WRITE_ONCE(link->listening, false);
	return n;
}

/* What has come with the last header, then what the socket has. */
static bool receive_iter(struct link *link, struct msghdr *msg)
{
	unsigned int kept = min_t(size_t, link->rx_kept, msg_data_left(msg));

	if (kept) {
		kept = copy_to_iter(page_address(link->rx_page) + link->rx_at, kept, &msg->msg_iter);
		link->rx_at += kept;
		link->rx_kept -= kept;
	}
	while (msg_data_left(msg)) {
		int n = receive_some(link, msg, MSG_WAITALL);

		if (n <= 0)
			return receive_failed(link, n);
	}
	return true;
}

/*
 * With a header comes a page of what the socket has after it: of answers, many are taken at a
 * time and end without a call between them; of a write it is, as a rule, the first page.
 */
static bool receive_header(struct link *link)
{
	unsigned int have = min_t(unsigned int, link->rx_kept, sizeof(link->rx_frame));
	void *header = &link->rx_frame, *page = page_address(link->rx_page);

	memcpy(header, page + link->rx_at, have);
	link->rx_at += have;
	link->rx_kept -= have;
	while (have < sizeof(link->rx_frame)) {
		unsigned int left = sizeof(link->rx_frame) - have;
		struct msghdr msg = {};
		struct bio_vec vec[2];
		int n;

		bvec_set_page(&vec[0], virt_to_page(header + have), left,
			      offset_in_page(header + have));
		bvec_set_page(&vec[1], link->rx_page, PAGE_SIZE, 0);
		iov_iter_bvec(&msg.msg_iter, ITER_DEST, vec, 2, left + PAGE_SIZE);
		n = receive_some(link, &msg, 0);
		if (n <= 0)
			return receive_failed(link, n);
		have += n;
	}
	if (have > sizeof(link->rx_frame)) {
		link->rx_at = 0;
		link->rx_kept = have - sizeof(link->rx_frame);
	}
	return true;
}

static bool receive_bytes(struct link *link, void *to, size_t bytes)
{
	struct kvec vec = { .iov_base = to, .iov_len = bytes };
	struct msghdr msg = {};

	iov_iter_kvec(&msg.msg_iter, ITER_DEST, &vec, 1, bytes);
	return receive_iter(link, &msg);
}

/* The beginning of a payload need not be copied: its page is taken.  Return: so many bytes. */
static unsigned int receive_swapped(struct link *link, struct bio_vec *first)
{
	unsigned int kept = link->rx_kept;

	if (link->rx_at || first->bv_len < PAGE_SIZE)
		return 0;
	swap(first->bv_page, link->rx_page);
	link->rx_kept = 0;
	return kept;
}

static bool receive_pages(struct link *link, struct bio *bio)
{
	unsigned int have = receive_swapped(link, bio->bi_io_vec);
	unsigned int i = 0;

	while (i < bio->bi_vcnt) {
		struct msghdr msg = {};
		unsigned int bytes = 0, n = 0;

		while (i + n < bio->bi_vcnt && bytes < RECEIVE_STEP)
			bytes += bio->bi_io_vec[i + n++].bv_len;
		iov_iter_bvec(&msg.msg_iter, ITER_DEST, &bio->bi_io_vec[i], n, bytes);
		iov_iter_advance(&msg.msg_iter, have);
		have = 0;
		if (!receive_iter(link, &msg))
			return false;
		i += n;
	}
	return true;
}

static u32 pages_crc(const struct bio *bio)
{
	u32 crc = ~0u;
	unsigned int i;

	for (i = 0; i < bio->bi_vcnt; i++)
		crc = crc32c(crc, page_address(bio->bi_io_vec[i].bv_page),
			     bio->bi_io_vec[i].bv_len);
	return ~crc;
}

/* Straight to where the reader wants it; nobody else looks there before link_answered(). */
static bool receive_data(struct link *link, const struct frame *frame)
{
	struct leg *leg = link_reading(link, frame);
	struct bvec_iter iter;

	if (!leg) {
		link_kill(link, "the peer has sent data that nobody asked for");
		return false;
	}
	iter = leg->iter;
	while (iter.bi_size) {
		struct bio_vec bv = mp_bvec_iter_bvec(leg->bio->bi_io_vec, iter);
		struct msghdr msg = {};

		bv.bv_len = min_t(unsigned int, bv.bv_len, RECEIVE_STEP);
		iov_iter_bvec(&msg.msg_iter, ITER_DEST, &bv, 1, bv.bv_len);
		if (!receive_iter(link, &msg))
			return false;
		bio_advance_iter(leg->bio, &iter, bv.bv_len);
	}
	WRITE_ONCE(link->received_bytes, link->received_bytes + frame->length);
	leg->filled = !(frame->flags & REPL_FF_CRC) ||
		      link_payload_crc(leg->bio, leg->iter) == frame->payload_crc;
	link_answered(link, frame->tag, leg->filled ? REPL_STATUS_OK : REPL_STATUS_RESEND);
	return !READ_ONCE(link->dead);
}

static bool changes_data(const struct frame *frame)
{
	return frame->type == REPL_FRAME_WRITE || frame->type == REPL_FRAME_ZEROES;
}

/* What only a primary asks for.  NULL: anything else. */
static const char *primary_asks(const struct frame *frame)
{
	if (frame->type == REPL_FRAME_READ)
		return "read";
	return changes_data(frame) ? "write" : NULL;
}

static bool payload_damaged(const struct apply *apply, const struct frame *frame)
{
	if (!(frame->flags & REPL_FF_CRC))
		return false;
	if (frame->type != REPL_FRAME_WRITE)
		return ~crc32c(~0u, &apply->generation, frame->length) != frame->payload_crc;
	return pages_crc(&apply->bio) != frame->payload_crc;
}

/* What is not data has its length checked: it is one of the apply's structs. */
static bool receive_payload(struct link *link, struct apply *apply)
{
	if (!frame_payload(&apply->frame))
		return true;
	if (apply->frame.type == REPL_FRAME_WRITE)
		return receive_pages(link, &apply->bio);
	return receive_bytes(link, &apply->generation, apply->frame.length);
}

static bool receive_request(struct link *link, const struct frame *frame)
{
	const char *asks = primary_asks(frame);
	struct apply *apply;

	apply = apply_alloc(link, frame);
	if (!apply)
		return false;
	if (!receive_payload(link, apply)) {
		apply_free(apply);
		return false;
	}
	if (frame->type == REPL_FRAME_WRITE)
		WRITE_ONCE(link->received_bytes, link->received_bytes + frame->length);
	/* Asked again under the lock when it begins; one that is damaged is not asked for again. */
	if (asks && READ_ONCE(link->volume->primary)) {
		link_kill(link, "the peer has sent a %s, but this node is primary", asks);
		apply_free(apply);
		return false;
	}
	if (payload_damaged(apply, frame)) {
		apply_answer(apply, REPL_STATUS_RESEND);
		return true;
	}
	if (changes_data(frame))
		return share_begin(apply);
	/* A GENERATION is refused by an answer, in its own time: two nodes may promote at once. */
	apply_submit(apply);
	return true;
}

/* One frame; false: the link is to end. */
static bool receiver_step(struct link *link)
{
	const struct frame_limits limits = {
		.size = link->volume->size,
		.lbs = 1u << link->volume->lbs_shift,
		.cookie = link->cookie,
	};
	struct frame frame;
	const char *wrong;

	if (!receive_header(link))
		return false;
	wrong = frame_unpack(&frame, &link->rx_frame, &limits);
	if (wrong) {
		link_kill(link, "the peer sent %s", wrong);
		return false;
	}
	switch (frame.type) {
	case REPL_FRAME_BEAT:
		return true;
	case REPL_FRAME_ANSWER:
		link_answered(link, frame.tag, frame.status);
		return !READ_ONCE(link->dead);
	case REPL_FRAME_DATA:
		return receive_data(link, &frame);
	case REPL_FRAME_CLOSE:
		link_kill(link, "the peer has closed the link");
		return false;
	default:
		return receive_request(link, &frame);
	}
}

/**
 * link_receiver() - thread function
 * @data: the link
 *
 * After the link's death it touches nothing and waits to be stopped.
 */
int link_receiver(void *data)
{
	struct link *link = data;
	unsigned int noreclaim = memalloc_noreclaim_save();

	while (!kthread_should_stop() && receiver_step(link))
		;
	memalloc_noreclaim_restore(noreclaim);
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}
