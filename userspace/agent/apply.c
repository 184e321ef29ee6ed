// SPDX-License-Identifier: GPL-2.0-or-later
#include "apply.h"

#include <endian.h>
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
#include <unistd.h>

#include "conn.h"
#include "digest.h"
#include "kops.h"
#include "pair.h"
#include "stage.h"
#include "super.h"

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
	bool by_hand;
	uint8_t *data;		/* NULL: zeros */
	/* In the staging file. */
	struct repl_stage_record record;
	struct iovec iov[2];
};

/* Blocks that the leader asks about; it lives until its answer was sent. */
struct compare {
	struct apply *apply;
	struct loop_op op;
	struct conn_tx tx;
	uint64_t offset;
	uint64_t length;
	uint8_t *data;		/* as they are here; NULL: compared */
	struct repl_digest theirs[REPL_DIGESTS_MAX];
	struct {
		struct repl_msg header;
		struct repl_msg_want want;
	} answer;
};

/*
 * It lives until its last range and its flush are done, also when it was given up; of
 * its answers it does not wait for the way out.
 */
struct apply {
	struct pair_io *io;	/* NULL: given up */
	struct agent *agent;
	struct conn *conn;	/* NULL: gone */
	uint32_t turn;
	int data_fd;
	uint32_t minor;
	uint32_t mask;		/* slots to MARK first */
	uint64_t size;
	struct stage *stage;	/* what is written goes there, or comes from there */
	struct volume_io *vio;	/* of a replay, which has no ->io; NULL: none, or given up */
	struct volume *volume;
	bool replay, stage_failed;
	uint64_t at;		/* in the file */
	bool empty;		/* announced so: this copy may not have been given up */
	struct msg_delta delta;	/* of DELTA_END */
	struct msg_moved moved;
	struct digest *digest;
	struct range *filling;	/* the connection fills it */
	struct range *unmarked, **last;	/* wait for the next MARK */
	struct range *marking;	/* wait for the MARK under way */
	unsigned int ranges;	/* all of them */
	unsigned int compares;	/* being read */
	unsigned int answers;	/* on their way out */
	uint64_t bytes;
	bool ended, flushing, finished;
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

static void put_apply(struct apply *ap)
{
	if (!ap->finished || ap->answers)
		return;
	digest_free(ap->digest);
	stage_put(ap->stage);
	free(ap);
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
		.error = ap->error, .text = ap->why, .moved = ap->moved, .staging = ap->stage_failed,
	};

	detach(ap);
	ap->finished = true;
	ap->io = NULL;
	if (io) {
		io->apply = NULL;
		agent_now(io->agent);
		core_op_done(io->pair->volume, io->pair, OP_DELTA_APPLY, ap->turn, &r);
	} else if (ap->vio) {
		ap->vio->replay = NULL;
		agent_now(ap->agent);
		core_op_done(ap->volume, NULL, OP_STAGE_APPLY, ap->turn, &r);
	}
	put_apply(ap);
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

static void staged(struct loop_op *op, int res)
{
	struct range *r = container(op, struct range, op);
	struct apply *ap = r->apply;

	if (res < 0 || (size_t)res != r->iov[0].iov_len + r->iov[1].iov_len) {
		ap->stage_failed |= !ap->error;
		fail(ap, res < 0 ? res : -ENOSPC, "%s cannot be written: %s", ap->stage->path,
		     res < 0 ? strerror(-res) : "no space is left");
	} else if (ap->io) {
		core_progress(ap->io->pair, r->length);
	}
	put_range(r);
	go_on(ap);
}

static void stage_range(struct range *r)
{
	struct apply *ap = r->apply;
	struct io_uring_sqe *sqe;
	struct err e = { "" };
	uint64_t at;
	int ret = ap->error ? ap->error : stage_add(ap->stage, r->offset, r->length, r->data,
						    &r->record, &at, &e);

	if (ret) {
		ap->stage_failed |= !ap->error;
		fail(ap, ret, "%s", e.text);
		put_range(r);
		return;
	}
	r->iov[0] = (struct iovec){ &r->record, sizeof(r->record) };
	r->iov[1] = (struct iovec){ r->data, r->data ? r->length : 0 };
	r->op.done = staged;
	sqe = loop_sqe(&ap->agent->loop, &r->op);
	io_uring_prep_writev(sqe, ap->stage->fd, r->iov, r->data ? 2 : 1, at);
	io_uring_sqe_set_data(sqe, &r->op);
}

static void written(struct loop_op *op, int res)
{
	struct range *r = container(op, struct range, op);
	struct apply *ap = r->apply;

	/* Others may have been on their way when the first one was refused. */
	if (!ap->error && !r->data && !r->by_hand && (res == -EOPNOTSUPP || res == -EINVAL)) {
		ap->by_hand = true;
		write_range(r);
		return;
	}
	if (res > 0 && r->by_hand) {
		r->written += (uint64_t)res;
		if (!ap->error && r->written < r->length) {
			write_range(r);
			return;
		}
	}
	if (res < 0 || (r->data && (uint64_t)res != r->length) || (r->by_hand && !res))
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
	r->by_hand = !r->data && ap->by_hand;
	if (r->data)
		io_uring_prep_write(sqe, ap->data_fd, r->data, (unsigned int)r->length, r->offset);
	else if (r->by_hand)
		io_uring_prep_write(sqe, ap->data_fd, zero_pages,
				    left < ZERO_PAGES ? (unsigned int)left : ZERO_PAGES,
				    r->offset + r->written);
	else
		io_uring_prep_fallocate(sqe, ap->data_fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
					(off_t)r->offset, (off_t)r->length);
	io_uring_sqe_set_data(sqe, &r->op);
}

static void write_list(struct apply *ap, struct range **list)
{
	struct range *r;

	while ((r = *list)) {
		*list = r->next;
		if (ap->stage && !ap->replay)
			stage_range(r);
		else
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
		write_list(ap, &ap->marking);
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

static void read_file(struct apply *ap);

/* Something has changed: the next step.  May free @ap. */
static void go_on(struct apply *ap)
{
	if (ap->flushing || ap->finished)
		return;
	if (ap->error) {
		detach(ap);
		drop_list(&ap->unmarked);
		ap->last = &ap->unmarked;
		if (!ap->ranges && !ap->compares)
			finish(ap);
		return;
	}
	if (ap->unmarked && !ap->mask) {
		ap->last = &ap->unmarked;
		write_list(ap, &ap->unmarked);
	} else if (ap->unmarked && !ap->marking) {
		mark(ap);
		return;
	}
	if (ap->error)
		go_on(ap);	/* the staging file is full */
	else if (ap->ended && !ap->ranges && ap->stage && !ap->replay && !ap->moved.compared_bytes)
		finish(ap);	/* nothing here speaks of what the device has */
	else if (ap->ended && !ap->ranges)
		flush(ap);
	else if (ap->replay)
		read_file(ap);
	else if (ap->conn)
		conn_wake(ap->conn);
}

/* ---------------------------------------------------- what was staged --- */

static void damaged(struct apply *ap)
{
	fail(ap, -EBADMSG, "%s is damaged at byte %" PRIu64, ap->stage->path, ap->at);
}

static void add(struct apply *ap, struct range *r);

static void file_read(struct loop_op *op, int res)
{
	struct range *r = container(op, struct range, op);
	struct apply *ap = r->apply;

	if (!ap->error && res != (int)r->length)
		fail(ap, res < 0 ? res : -EBADMSG, "%s cannot be read: %s", ap->stage->path,
		     res < 0 ? strerror(-res) : "it is too short");
	else if (!ap->error && le32toh(r->record.payload_crc) != super_crc32c(r->data, r->length))
		damaged(ap);
	if (!ap->error) {
		add(ap, r);
		return;
	}
	put_range(r);
	go_on(ap);
}

/* Return: the range that the next record is about; NULL: none, for now or for good. */
static struct range *next_record(struct apply *ap)
{
	struct repl_stage_record record;
	struct range *r;
	ssize_t n = pread(ap->stage->fd, &record, sizeof(record), (off_t)ap->at);
	uint64_t offset = le64toh(record.offset), length = le64toh(record.length);

	if (n < 0) {
		fail(ap, -errno, "%s cannot be read: %s", ap->stage->path, strerror(errno));
		return NULL;
	}
	/* A block that an earlier pass has is written when that one's is. */
	if (n == sizeof(record) && le32toh(record.pass) != ap->stage->pass && ap->ranges)
		return NULL;
	if (n != sizeof(record) || !stage_check(ap->stage, &record, ap->at) ||
	    offset > ap->size || length > ap->size - offset) {
		damaged(ap);
		return NULL;
	}
	r = calloc(1, sizeof(*r));
	if (r && !(le32toh(record.flags) & REPL_STAGE_ZEROES))
		r->data = aligned_alloc(REPL_BLOCK_BYTES, copy_blocks(length) << REPL_BLOCK_SHIFT);
	if (!r || (!r->data && !(le32toh(record.flags) & REPL_STAGE_ZEROES))) {
		free(r);
		fail(ap, -ENOMEM, "out of memory");
		return NULL;
	}
	ap->stage->pass = le32toh(record.pass);
	r->apply = ap;
	r->record = record;
	r->offset = offset;
	r->length = length;
	ap->ranges++;
	ap->bytes += r->data ? length : 0;
	return r;
}

/*
 * Records are read ahead of the writes, as far as memory is allowed.  A range without data
 * is added when all that was taken was looked at: that may end the apply.
 */
static void read_file(struct apply *ap)
{
	struct io_uring_sqe *sqe;
	struct range *r;

	while (!ap->error && ap->at < ap->stage->at && ap->ranges < APPLY_RANGES &&
	       ap->bytes < APPLY_BYTES) {
		r = next_record(ap);
		if (!r)
			break;
		ap->at += sizeof(r->record) + (r->data ? r->length : 0);
		if (!r->data) {
			r->next = NULL;
			*ap->last = r;
			ap->last = &r->next;
			continue;
		}
		r->op.done = file_read;
		sqe = loop_sqe(&ap->agent->loop, &r->op);
		io_uring_prep_read(sqe, ap->stage->fd, r->data, (unsigned int)r->length,
				   ap->at - r->length);
		io_uring_sqe_set_data(sqe, &r->op);
	}
	if (!ap->error && ap->at == ap->stage->at && !ap->ended) {
		ap->ended = true;
		if (!stage_is_whole(ap->stage))
			damaged(ap);
	}
	if (ap->error || (ap->unmarked && !ap->marking) || (ap->ended && !ap->ranges))
		go_on(ap);
}

void apply_staged(struct agent *a, struct volume *v, const struct op *op)
{
	struct volume_io *vio = agent_volume_io(v);
	struct apply *ap = calloc(1, sizeof(*ap));

	if (!zero_pages)
		zero_pages = aligned_alloc(REPL_BLOCK_BYTES, ZERO_PAGES);
	if (!ap || !vio->stage || !zero_pages) {
		free(ap);
		agent_op_done(a, v, NULL, OP_STAGE_APPLY, op->turn, vio->stage ? -ENOMEM : -EBADMSG,
			      vio->stage ? "out of memory" : "the staging file is gone");
		return;
	}
	memset(zero_pages, 0, ZERO_PAGES);
	ap->agent = a;
	ap->vio = vio;
	ap->volume = v;
	ap->turn = op->turn;
	ap->replay = true;
	ap->stage = vio->stage;
	ap->stage->users++;
	ap->data_fd = vio->data_fd;
	ap->minor = vio->minor;
	ap->mask = op->mask;
	ap->size = op->size;
	ap->at = REPL_STAGE_DATA;
	ap->last = &ap->unmarked;
	vio->replay = ap;
	stage_rewind(ap->stage);
	read_file(ap);
}

void apply_forget(struct volume_io *vio)
{
	struct apply *ap = vio->replay;

	if (!ap)
		return;
	vio->replay = NULL;
	ap->vio = NULL;
	fail(ap, -ECANCELED, "given up");
	go_on(ap);
}

/* ----------------------------------------------------------- comparing -- */

static void drop_compare(struct compare *c)
{
	free(c->data);
	free(c);
}

static void answer_sent(struct conn_tx *tx)
{
	struct compare *c = container(tx, struct compare, tx);
	struct apply *ap = c->apply;

	ap->answers--;
	drop_compare(c);
	if (ap->finished)
		put_apply(ap);
	else
		go_on(ap);
}

/* Says which blocks are not those of the leader. */
static bool answer(struct compare *c)
{
	struct apply *ap = c->apply;
	struct msg_want want = { .range = { c->offset, c->length } };
	struct repl_digest mine[REPL_DIGESTS_MAX];
	uint64_t equal = 0;

	if (!digest_blocks(ap->digest, c->offset, c->data, c->length, mine))
		return false;
	for (size_t n = 0; n < copy_blocks(c->length); n++) {
		uint64_t left = c->length - n * REPL_BLOCK_BYTES;

		if (memcmp(&mine[n], &c->theirs[n], sizeof(mine[n])))
			want.blocks[n / 8] |= (uint8_t)(1u << n % 8);
		else
			equal += left < REPL_BLOCK_BYTES ? left : REPL_BLOCK_BYTES;
	}
	free(c->data);
	c->data = NULL;
	ap->moved.equal_bytes += equal;
	if (ap->io)
		core_progress(ap->io->pair, equal);
	msg_pack_header(REPL_MSG_WANT, sizeof(c->answer.want), &c->answer.header);
	msg_pack_want(&want, &c->answer.want);
	c->tx = (struct conn_tx){
		.iov[0] = { &c->answer, sizeof(c->answer) }, .done = answer_sent,
	};
	ap->answers++;
	conn_send_tx(ap->conn, &c->tx);
	return true;
}

static void compare_read(struct loop_op *op, int res)
{
	struct compare *c = container(op, struct compare, op);
	struct apply *ap = c->apply;

	ap->compares--;
	ap->bytes -= c->length;
	if (!ap->error && (res < 0 || (uint64_t)res != c->length))
		fail(ap, res < 0 ? res : -EIO, "the backing device cannot be read at byte %" PRIu64
		     ": %s", c->offset, res < 0 ? strerror(-res) : "the read was short");
	if (!ap->error && !answer(c))
		fail(ap, -ENOMEM, "digests cannot be made");
	if (ap->error)
		drop_compare(c);
	go_on(ap);
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

static bool too_late(struct apply *ap)
{
	if (ap->ended)
		refuse(ap, "blocks after DELTA_END");
	else if (ap->empty)
		refuse(ap, "blocks in a delta that was announced with none");
	return ap->ended || ap->empty;
}

static int new_range(struct apply *ap, const struct repl_msg_range *m, struct range **out)
{
	struct msg_range range;
	struct range *r;
	struct err e;

	if (too_late(ap))
		return -EPROTO;
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
	ap->moved.sent_bytes += r->length;
	add(ap, r);
}

int apply_zeros(struct apply *ap, const struct repl_msg_range *m)
{
	struct range *r;
	int ret = new_range(ap, m, &r);

	if (ret)
		return ret;
	ap->moved.zero_bytes += r->length;
	add(ap, r);
	return 0;
}

int apply_digests(struct apply *ap, const struct repl_msg_range *m,
		  const struct repl_digest *digest, size_t length)
{
	struct io_uring_sqe *sqe;
	struct msg_range range;
	struct compare *c;
	struct err e;

	if (too_late(ap))
		return -EPROTO;
	if (msg_unpack_digests(&range, m, length, ap->size, &e))
		return refuse(ap, e.text);
	if (ap->compares >= APPLY_RANGES || ap->bytes >= APPLY_BYTES ||
	    ap->answers >= APPLY_ANSWERS)
		return -EAGAIN;
	c = calloc(1, sizeof(*c));
	if (c)
		c->data = aligned_alloc(REPL_BLOCK_BYTES,
					copy_blocks(range.length) << REPL_BLOCK_SHIFT);
	if (!c || !c->data) {
		free(c);
		return -EAGAIN;
	}
	c->apply = ap;
	c->offset = range.offset;
	c->length = range.length;
	memcpy(c->theirs, digest, length - sizeof(*m));
	ap->moved.compared_bytes += c->length;
	ap->compares++;
	ap->bytes += c->length;
	c->op.done = compare_read;
	sqe = loop_sqe(&ap->agent->loop, &c->op);
	io_uring_prep_read(sqe, ap->data_fd, c->data, (unsigned int)c->length, c->offset);
	io_uring_sqe_set_data(sqe, &c->op);
	return 0;
}

int apply_end(struct apply *ap, const struct repl_msg_delta *m)
{
	struct err e;

	if (ap->ended)
		return refuse(ap, "a second DELTA_END");
	if (ap->compares)
		return refuse(ap, "DELTA_END before the last digests were answered");
	if (msg_unpack_delta(&ap->delta, m, &e))
		return refuse(ap, e.text);
	if (memcmp(&ap->delta.moved, &ap->moved, sizeof(ap->moved)))
		return refuse(ap, "DELTA_END counts other bytes than have come");
	ap->ended = true;
	go_on(ap);
	return 0;
}

void apply_start(struct pair_io *io, struct conn *c, const struct op *op)
{
	struct apply *ap = calloc(1, sizeof(*ap));
	struct err e = { "" };

	if (!zero_pages)
		zero_pages = aligned_alloc(REPL_BLOCK_BYTES, ZERO_PAGES);
	if (op->stage && c && !io->apply && stage_begin(io, &e)) {
		struct op_result r = { .error = -EIO, .staging = true, .text = e.text };

		free(ap);
		agent_now(io->agent);
		core_op_done(io->pair->volume, io->pair, OP_DELTA_APPLY, op->turn, &r);
		return;
	}
	if (ap)
		ap->digest = digest_new(op->delta.digest_key);
	if (!ap || !ap->digest || !c || !zero_pages || io->apply) {
		if (ap)
			digest_free(ap->digest);
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
	ap->stage = op->stage ? agent_volume_io(io->pair->volume)->stage : NULL;
	if (ap->stage)
		ap->stage->users++;
	ap->size = op->size;
	ap->empty = !op->delta.blocks;
	ap->last = &ap->unmarked;
	io->apply = ap;
	conn_attach(c, ap);
}
