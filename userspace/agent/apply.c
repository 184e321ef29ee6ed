// SPDX-License-Identifier: GPL-2.0-or-later
#include "apply.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "conn.h"
#include "kops.h"
#include "pair.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

enum { ZERO_PAGES = 1 << 20 };	/* bytes of one write of zeros, where the device has no better way */

/* A range on its way to the device. */
struct range {
	struct range *next;
	struct apply *apply;
	struct loop_op op;
	uint64_t offset;
	uint64_t length;
	uint64_t written;	/* of zeros that are written by hand */
	uint8_t *data;		/* NULL: zeros */
};

/* It lives until its last range and its flush are done, also when it was given up. */
struct apply {
	struct pair_io *io;	/* NULL: given up */
	struct agent *agent;
	struct conn *conn;	/* NULL: gone */
	uint32_t turn;
	int data_fd;
	uint32_t minor;
	uint32_t mask;		/* slots to MARK first */
	uint64_t size;
	struct msg_delta delta;	/* of DELTA_END */
	uint64_t sent_bytes, zero_bytes;
	struct range *filling;	/* the connection fills it */
	struct range *unmarked, **last;	/* wait for the next MARK */
	struct range *marking;	/* wait for the MARK under way */
	unsigned int ranges;	/* all of them */
	uint64_t bytes;
	bool ended, flushing;
	bool by_hand;		/* the device cannot be told to write zeros */
	int error;
	char why[200];
	struct loop_op flush_op;
};

static uint8_t *zero_pages;

static void go_on(struct apply *ap);

static void put_range(struct range *r)
{
	struct apply *ap = r->apply;

	ap->ranges--;
	if (r->data)
		ap->bytes -= r->length;
	free(r->data);
	free(r);
}

static void drop_list(struct range **list)
{
	struct range *r;

	while ((r = *list)) {
		*list = r->next;
		put_range(r);
	}
}

static void detach(struct apply *ap)
{
	struct conn *c = ap->conn;

	ap->conn = NULL;
	if (ap->filling)
		put_range(ap->filling);
	ap->filling = NULL;
	if (c)
		conn_attach(c, NULL);
}

static void finish(struct apply *ap)
{
	struct pair_io *io = ap->io;
	struct op_result r = {
		.error = ap->error, .text = ap->why, .sent_bytes = ap->sent_bytes,
		.zero_bytes = ap->zero_bytes,
	};

	detach(ap);
	if (io) {
		io->apply = NULL;
		agent_now(io->agent);
		core_op_done(io->pair->volume, io->pair, OP_DELTA_APPLY, ap->turn, &r);
	}
	free(ap);
}

static void fail(struct apply *ap, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void fail(struct apply *ap, int error, const char *fmt, ...)
{
	va_list args;

	if (ap->error)
		return;
	ap->error = error;
	va_start(args, fmt);
	vsnprintf(ap->why, sizeof(ap->why), fmt, args);
	va_end(args);
}

void apply_drop(struct pair_io *io)
{
	struct apply *ap = io->apply;

	if (!ap)
		return;
	fail(ap, -ECANCELED, "given up");
	go_on(ap);
}

void apply_orphan(struct pair_io *io)
{
	if (!io->apply)
		return;
	io->apply->io = NULL;
	apply_drop(io);
	io->apply = NULL;
}

void apply_conn_gone(struct apply *ap)
{
	ap->conn = NULL;
	fail(ap, -ECONNRESET, "the session has ended");
	go_on(ap);
}

/* ------------------------------------------------------------- writing -- */

static void write_range(struct range *r);

static void written(struct loop_op *op, int res)
{
	struct range *r = container(op, struct range, op);
	struct apply *ap = r->apply;

	if (!ap->error && !r->data && !ap->by_hand && (res == -EOPNOTSUPP || res == -EINVAL)) {
		ap->by_hand = true;
		write_range(r);
		return;
	}
	if (res > 0 && !r->data) {
		r->written += (uint64_t)res;
		if (!ap->error && r->written < r->length) {
			write_range(r);
			return;
		}
	}
	if (res < 0 || (r->data && (uint64_t)res != r->length))
		fail(ap, res < 0 ? res : -EIO, "the backing device cannot be written at byte %" PRIu64
		     ": %s", r->offset, res < 0 ? strerror(-res) : "the write was short");
	else if (ap->io)
		core_progress(ap->io->pair, r->length);
	put_range(r);
	go_on(ap);
}

static void write_range(struct range *r)
{
	struct apply *ap = r->apply;
	struct io_uring_sqe *sqe = loop_sqe(&ap->agent->loop, &r->op);
	uint64_t left = r->length - r->written;

	r->op.done = written;
	if (r->data)
		io_uring_prep_write(sqe, ap->data_fd, r->data, (unsigned int)r->length, r->offset);
	else if (ap->by_hand)
		io_uring_prep_write(sqe, ap->data_fd, zero_pages,
				    left < ZERO_PAGES ? (unsigned int)left : ZERO_PAGES,
				    r->offset + r->written);
	else
		io_uring_prep_fallocate(sqe, ap->data_fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
					(off_t)r->offset, (off_t)r->length);
	io_uring_sqe_set_data(sqe, &r->op);
}

static void write_list(struct range **list)
{
	struct range *r;

	while ((r = *list)) {
		*list = r->next;
		write_range(r);
	}
}

static void marked(void *arg, int error, const char *text)
{
	struct apply *ap = arg;

	if (error)
		fail(ap, error, "the blocks cannot be marked for the other peers: %s", text);
	if (ap->error)
		drop_list(&ap->marking);
	else
		write_list(&ap->marking);
	go_on(ap);
}

static void mark(struct apply *ap)
{
	struct repl_extent extent[APPLY_RANGES];
	struct err e = { "" };
	size_t n = 0;
	int ticket;

	ap->marking = ap->unmarked;
	ap->unmarked = NULL;
	ap->last = &ap->unmarked;
	for (struct range *r = ap->marking; r; r = r->next)
		extent[n++] = (struct repl_extent){
			.block = r->offset >> REPL_BLOCK_SHIFT, .count = copy_blocks(r->length),
		};
	ticket = kernel_mark(ap->agent->kernel, ap->minor, ap->mask, extent, n, &e);
	kops_ticket(ap->agent, ticket, e.text, marked, ap);
}

static void flushed(struct loop_op *op, int res)
{
	struct apply *ap = container(op, struct apply, flush_op);

	if (res < 0)
		fail(ap, res, "the backing device cannot be flushed: %s", strerror(-res));
	finish(ap);
}

static void flush(struct apply *ap)
{
	struct io_uring_sqe *sqe = loop_sqe(&ap->agent->loop, &ap->flush_op);

	ap->flushing = true;
	ap->flush_op.done = flushed;
	io_uring_prep_fsync(sqe, ap->data_fd, IORING_FSYNC_DATASYNC);
	io_uring_sqe_set_data(sqe, &ap->flush_op);
}

/* Something has changed: the next step.  May free @ap. */
static void go_on(struct apply *ap)
{
	if (ap->flushing)
		return;
	if (ap->error) {
		detach(ap);
		drop_list(&ap->unmarked);
		ap->last = &ap->unmarked;
		if (!ap->ranges)
			finish(ap);
		return;
	}
	if (ap->unmarked && !ap->mask) {
		ap->last = &ap->unmarked;
		write_list(&ap->unmarked);
	} else if (ap->unmarked && !ap->marking) {
		mark(ap);
		return;
	}
	if (ap->ended && !ap->ranges)
		flush(ap);
	else if (ap->conn)
		conn_wake(ap->conn);
}

/* ---------------------------------------------------------- receiving --- */

static void add(struct apply *ap, struct range *r)
{
	r->next = NULL;
	*ap->last = r;
	ap->last = &r->next;
	go_on(ap);
}

static int refuse(struct apply *ap, const char *why)
{
	if (ap->io)
		pair_protocol(ap->io->pair, "%s", why);
	return -EPROTO;
}

static int new_range(struct apply *ap, const struct repl_msg_range *m, struct range **out)
{
	struct msg_range range;
	struct range *r;
	struct err e;

	if (ap->ended)
		return refuse(ap, "blocks after DELTA_END");
	if (msg_unpack_range(&range, m, ap->size, &e))
		return refuse(ap, e.text);
	if (ap->ranges >= APPLY_RANGES || ap->bytes >= APPLY_BYTES)
		return -EAGAIN;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -EAGAIN;
	r->apply = ap;
	r->offset = range.offset;
	r->length = range.length;
	ap->ranges++;
	*out = r;
	return 0;
}

int apply_blocks(struct apply *ap, const struct repl_msg_range *m, size_t length, uint8_t **sink)
{
	size_t room = (length + REPL_BLOCK_BYTES - 1) & ~(size_t)(REPL_BLOCK_BYTES - 1);
	struct range *r;
	int ret = new_range(ap, m, &r);

	if (ret)
		return ret;
	if (r->length != length) {
		put_range(r);
		return refuse(ap, "a BLOCKS message with another length than its range");
	}
	r->data = aligned_alloc(REPL_BLOCK_BYTES, room);
	if (!r->data) {
		put_range(r);
		return -EAGAIN;
	}
	ap->bytes += length;
	ap->filling = r;
	*sink = r->data;
	return 0;
}

void apply_filled(struct apply *ap)
{
	struct range *r = ap->filling;

	ap->filling = NULL;
	ap->sent_bytes += r->length;
	add(ap, r);
}

int apply_zeros(struct apply *ap, const struct repl_msg_range *m)
{
	struct range *r;
	int ret = new_range(ap, m, &r);

	if (ret)
		return ret;
	ap->zero_bytes += r->length;
	add(ap, r);
	return 0;
}

int apply_end(struct apply *ap, const struct repl_msg_delta *m)
{
	struct err e;

	if (ap->ended)
		return refuse(ap, "a second DELTA_END");
	if (msg_unpack_delta(&ap->delta, m, &e))
		return refuse(ap, e.text);
	if (ap->delta.sent_bytes != ap->sent_bytes || ap->delta.zero_bytes != ap->zero_bytes)
		return refuse(ap, "DELTA_END counts other bytes than have come");
	ap->ended = true;
	go_on(ap);
	return 0;
}

void apply_start(struct pair_io *io, struct conn *c, const struct op *op)
{
	struct apply *ap = calloc(1, sizeof(*ap));

	if (!zero_pages)
		zero_pages = aligned_alloc(REPL_BLOCK_BYTES, ZERO_PAGES);
	if (!ap || !c || !zero_pages || io->apply) {
		free(ap);
		agent_op_done(io->agent, io->pair->volume, io->pair, OP_DELTA_APPLY, op->turn,
			      -ENOTCONN, "the session is gone, or memory is out");
		return;
	}
	memset(zero_pages, 0, ZERO_PAGES);
	ap->io = io;
	ap->agent = io->agent;
	ap->conn = c;
	ap->turn = op->turn;
	ap->data_fd = agent_volume_io(io->pair->volume)->data_fd;
	ap->minor = agent_volume_io(io->pair->volume)->minor;
	ap->mask = op->mask;
	ap->size = op->size;
	ap->last = &ap->unmarked;
	io->apply = ap;
	conn_attach(c, ap);
}
