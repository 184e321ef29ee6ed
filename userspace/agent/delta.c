// SPDX-License-Identifier: GPL-2.0-or-later
#include "delta.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "digest.h"
#include "pair.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/*
 * A chunk lives until its last run of blocks was sent: 'users' counts the runs that
 * are queued, and one for the read, the answer and the looking for zeros.  The delta
 * lives as long as a chunk does.
 */
struct delta {
	struct pair_io *io;		/* NULL: given up; only chunks keep it */
	struct conn *conn;
	uint32_t turn;
	int data_fd;
	uint64_t size;			/* bytes to stay within */
	struct msg_delta delta;
	struct suspect suspect;
	struct digest *digest;
	struct chunk *asked;		/* they wait for a WANT */
	struct repl_extent extent[DELTA_EXTENTS];
	unsigned int extent_at, extent_count;
	uint64_t next, end;		/* of the extent under way, bytes */
	bool all_read;			/* the cut has no more extents */
	unsigned int chunks, reading;
	size_t chunk_bytes;
	struct msg_range zeros;		/* found, not sent yet */
	uint64_t allowance_at;		/* rate limit: nothing is read before */
	bool pumping;
	bool hurry;			/* writes wait until all is read */
	bool told;			/* that it is */
};

struct chunk {
	struct chunk *next;		/* of those that were asked about */
	struct delta *delta;
	struct loop_op op;
	uint64_t offset;
	size_t length;
	unsigned int users;
	bool ask;
	uint8_t *data;
};

/* One run of blocks of a chunk, queued at the connection. */
struct run {
	struct conn_tx tx;
	struct chunk *chunk;
};

static void pump(struct delta *d);

static void put_delta(struct delta *d)
{
	if (d->io || d->chunks)
		return;
	digest_free(d->digest);
	free(d);
}

static void put_chunk(struct chunk *c)
{
	struct delta *d = c->delta;

	if (--c->users)
		return;
	d->chunks--;
	d->chunk_bytes -= c->length;
	free(c->data);
	free(c);
	if (d->io)
		pump(d);
	else
		put_delta(d);
}

static void finish(struct delta *d, int error, const char *text)
{
	struct pair_io *io = d->io;
	struct op_result r = { .error = error, .text = text, .moved = d->delta.moved };
	uint32_t turn = d->turn;

	d->conn->delta = NULL;
	/* Nobody will answer for what was asked; the delta goes with its last chunk. */
	d->io = NULL;
	io->delta = NULL;
	d->chunks++;
	for (struct chunk *c; (c = d->asked);) {
		d->asked = c->next;
		put_chunk(c);
	}
	d->chunks--;
	put_delta(d);
	agent_now(io->agent);
	core_op_done(io->pair->volume, io->pair, OP_DELTA_SEND, turn, &r);
}

void delta_drop(struct pair_io *io)
{
	if (io->delta)
		finish(io->delta, -ECANCELED, "given up");
}

/* ------------------------------------------------------------ sending --- */

static void flush_zeros(struct delta *d)
{
	struct repl_msg_range m = {
		.offset = htole64(d->zeros.offset), .length = htole64(d->zeros.length),
	};

	if (!d->zeros.length)
		return;
	conn_send(d->conn, REPL_MSG_ZEROS, &m, sizeof(m));
	d->delta.moved.zero_bytes += d->zeros.length;
	d->zeros.length = 0;
}

static void add_zeros(struct delta *d, uint64_t offset, uint64_t length)
{
	if (d->zeros.length && d->zeros.offset + d->zeros.length == offset &&
	    d->zeros.length + length <= REPL_MAX_ZEROES) {
		d->zeros.length += length;
		return;
	}
	flush_zeros(d);
	d->zeros = (struct msg_range){ .offset = offset, .length = length };
}

static void run_sent(struct conn_tx *tx)
{
	struct run *run = container(tx, struct run, tx);
	struct chunk *c = run->chunk;

	free(run);
	put_chunk(c);
}

static bool send_blocks(struct chunk *c, size_t from, size_t length)
{
	struct run *run = calloc(1, sizeof(*run));

	if (!run)
		return false;
	msg_pack_header(REPL_MSG_BLOCKS, (uint32_t)(sizeof(run->tx.head.range) + length),
			&run->tx.head.header);
	run->tx.head.range.offset = htole64(c->offset + from);
	run->tx.head.range.length = htole64(length);
	run->tx.iov[0] = (struct iovec){ &run->tx.head, sizeof(run->tx.head) };
	run->tx.iov[1] = (struct iovec){ c->data + from, length };
	run->tx.done = run_sent;
	run->chunk = c;
	c->users++;
	c->delta->delta.moved.sent_bytes += length;
	conn_send_tx(c->delta->conn, &run->tx);
	return true;
}

static size_t block_at(const struct chunk *c, size_t at)
{
	return c->length - at < REPL_BLOCK_BYTES ? c->length - at : REPL_BLOCK_BYTES;
}

enum fate { SKIP, ZERO, SEND };

/* What becomes of the block at @at; without @want all of them are wanted. */
static enum fate fate_of(const struct chunk *c, size_t at, const struct msg_want *want)
{
	if (want && !msg_wants(want, at >> REPL_BLOCK_SHIFT))
		return SKIP;
	return digest_is_zero(c->data + at, block_at(c, at)) ? ZERO : SEND;
}

/* Cuts a chunk into runs of blocks that are zero, that are sent, and that are equal. */
static bool send_chunk(struct chunk *c, const struct msg_want *want)
{
	size_t at = 0, from;
	enum fate fate;

	while (at < c->length) {
		from = at;
		fate = fate_of(c, at, want);
		do
			at += block_at(c, at);
		while (at < c->length && fate_of(c, at, want) == fate);
		if (fate == SKIP)
			c->delta->delta.moved.equal_bytes += at - from;
		else if (fate == ZERO)
			add_zeros(c->delta, c->offset + from, at - from);
		else if (!send_blocks(c, from, at - from))
			return false;
	}
	return true;
}

/* Its digests go first; it stays in memory for the answer. */
static bool ask(struct chunk *c)
{
	struct delta *d = c->delta;
	size_t blocks = (size_t)copy_blocks(c->length);
	struct {
		struct repl_msg_range range;
		struct repl_digest digest[DELTA_CHUNK / REPL_BLOCK_BYTES];
	} m = { .range = { htole64(c->offset), htole64(c->length) } };

	if (!digest_blocks(d->digest, c->offset, c->data, c->length, m.digest))
		return false;
	d->delta.moved.compared_bytes += c->length;
	c->next = d->asked;
	d->asked = c;
	c->users++;
	conn_send(d->conn, REPL_MSG_DIGESTS, &m, sizeof(m.range) + blocks * sizeof(m.digest[0]));
	return true;
}

/* Follows what has become of a chunk; the connection may have ended with it. */
static void chunk_done(struct chunk *c, bool good)
{
	struct delta *d = c->delta;

	if (d->io && good)
		core_progress(d->io->pair, c->length);
	else if (d->io)
		finish(d, -ENOMEM, "out of memory");
	put_chunk(c);
}

int delta_want(struct delta *d, const struct repl_msg_want *m)
{
	uint64_t equal = d->delta.moved.equal_bytes;
	struct chunk **at = &d->asked, *c;
	struct msg_want want;
	struct err e;
	bool good;

	if (msg_unpack_want(&want, m, d->size, &e)) {
		pair_protocol(d->io->pair, "%s", e.text);
		return -EPROTO;
	}
	while (*at && ((*at)->offset != want.range.offset || (*at)->length != want.range.length))
		at = &(*at)->next;
	c = *at;
	if (!c) {
		pair_protocol(d->io->pair, "a WANT for blocks that were not asked about");
		return -EPROTO;
	}
	*at = c->next;
	good = send_chunk(c, &want);
	suspect_told(&d->suspect, c->length, d->delta.moved.equal_bytes - equal);
	chunk_done(c, good);
	return 0;
}

/* Whoever waits for the peer to take what was read, writers need not. */
static void tell_read(struct delta *d)
{
	if (!d->hurry || d->told || d->reading || !d->all_read || d->next != d->end)
		return;
	d->told = true;
	agent_now(d->io->agent);
	if (d->turn == d->io->pair->turn)
		lead_all_read(d->io->pair);
}

static void chunk_read(struct loop_op *op, int res)
{
	struct chunk *c = container(op, struct chunk, op);
	struct delta *d = c->delta;
	char text[200];

	d->reading--;
	if (!d->io) {
		put_chunk(c);
	} else if (res != (int)c->length) {
		snprintf(text, sizeof(text), "the backing device cannot be read at byte %llu: %s",
			 (unsigned long long)c->offset,
			 res < 0 ? strerror(-res) : "the read was short");
		finish(d, res < 0 ? res : -EIO, text);
		put_chunk(c);
	} else if (!c->ask) {
		tell_read(d);
		chunk_done(c, send_chunk(c, NULL));
	} else {
		if (!ask(c))
			finish(d, -ENOMEM, "the digests cannot be made");
		put_chunk(c);
	}
}

/* ------------------------------------------------------------ reading --- */

/* The next range to read; false: there is none, or the cut failed (*error). */
static bool next_range(struct delta *d, struct msg_range *r, int *error)
{
	ssize_t n;

	while (d->next == d->end) {
		if (d->extent_at == d->extent_count) {
			n = d->all_read ? 0 : read(d->io->cut_fd, d->extent, sizeof(d->extent));
			if (n < 0)
				*error = -errno;
			d->all_read = n <= 0;
			d->extent_at = 0;
			d->extent_count = n > 0 ? (unsigned int)((size_t)n / sizeof(d->extent[0])) : 0;
			if (n <= 0)
				return false;
		}
		d->next = d->extent[d->extent_at].block << REPL_BLOCK_SHIFT;
		d->end = d->next + (d->extent[d->extent_at].count << REPL_BLOCK_SHIFT);
		d->extent_at++;
		if (d->end > d->size)
			d->end = d->size;
		if (d->next > d->end)
			d->next = d->end;
	}
	r->offset = d->next;
	r->length = d->end - d->next < DELTA_CHUNK ? d->end - d->next : DELTA_CHUNK;
	d->next += r->length;
	return true;
}

static bool read_chunk(struct delta *d, const struct msg_range *r, bool ask_next)
{
	struct loop *l = &d->io->agent->loop;
	struct chunk *c = calloc(1, sizeof(*c));
	struct io_uring_sqe *sqe;

	if (!c)
		return false;
	c->data = aligned_alloc(REPL_BLOCK_BYTES, (r->length + REPL_BLOCK_BYTES - 1) &
				~(size_t)(REPL_BLOCK_BYTES - 1));
	if (!c->data) {
		free(c);
		return false;
	}
	c->delta = d;
	c->offset = r->offset;
	c->length = r->length;
	c->users = 1;
	c->ask = ask_next;
	c->op.done = chunk_read;
	d->chunks++;
	d->reading++;
	d->chunk_bytes += c->length;
	sqe = loop_sqe(l, &c->op);
	io_uring_prep_read(sqe, d->data_fd, c->data, (unsigned int)c->length, c->offset);
	io_uring_sqe_set_data(sqe, &c->op);
	return true;
}

/* Return: true when the catch-up must wait, to stay within the volume's rate limit. */
static bool too_fast(struct delta *d, size_t bytes)
{
	const struct volume_io *vio = agent_volume_io(d->io->pair->volume);
	uint64_t now = loop_now();

	/* What goes under a freeze: nobody wins when it is slow. */
	if (!vio->rate_limit || d->hurry)
		return false;
	if (now < d->allowance_at)
		return true;
	d->allowance_at = (d->allowance_at > now - 100 ? d->allowance_at : now) +
			  bytes * 1000 / vio->rate_limit;
	return false;
}

static void say_end(struct delta *d)
{
	struct repl_msg_delta m;

	flush_zeros(d);
	msg_pack_delta(&d->delta, &m);
	conn_send(d->conn, REPL_MSG_DELTA_END, &m, sizeof(m));
	finish(d, 0, NULL);
}

static bool has_room(const struct delta *d)
{
	if (d->hurry)
		return d->chunks < DELTA_HURRY_READS && d->chunk_bytes < DELTA_HURRY;
	return d->chunks < DELTA_READS &&
	       d->chunk_bytes < (d->suspect.kind == SUSPECT_ALL ? DELTA_ASKED : DELTA_BYTES);
}

static void pump(struct delta *d)
{
	struct msg_range r;
	int error = 0;

	if (d->pumping)
		return;
	if (d->conn->stage != CONN_OPEN) {
		finish(d, -ECONNRESET, "the session has ended");
		return;
	}
	d->pumping = true;
	while (has_room(d)) {
		if (loop_now() < d->allowance_at && too_fast(d, 0))
			break;
		if (!next_range(d, &r, &error))
			break;
		too_fast(d, r.length);
		if (!read_chunk(d, &r, suspect_next(&d->suspect))) {
			error = -ENOMEM;
			break;
		}
	}
	d->pumping = false;
	if (!error)
		tell_read(d);
	if (error)
		finish(d, error, "the cut cannot be read");
	else if (d->all_read && d->next == d->end && !d->chunks)
		say_end(d);
}

void delta_start(struct pair_io *io, struct conn *c, const struct op *op)
{
	struct repl_msg_delta m;
	struct delta *d = calloc(1, sizeof(*d));

	delta_drop(io);
	if (d)
		d->digest = digest_new(op->delta.digest_key);
	if (!d || !d->digest || !c || io->cut_fd < 0) {
		if (d)
			digest_free(d->digest);
		free(d);
		agent_op_done(io->agent, io->pair->volume, io->pair, OP_DELTA_SEND, op->turn, -ENOTCONN,
			      "the session or the cut is gone, or memory is out");
		return;
	}
	d->io = io;
	d->conn = c;
	d->turn = op->turn;
	d->data_fd = agent_volume_io(io->pair->volume)->data_fd;
	d->size = op->size;
	d->delta = op->delta;
	d->hurry = op->hurry;
	suspect_begin(&d->suspect, op->suspect);
	io->delta = d;
	c->delta = d;
	msg_pack_delta(&d->delta, &m);
	conn_send(c, REPL_MSG_DELTA_BEGIN, &m, sizeof(m));
	pump(d);
}

void delta_tick(struct agent *a)
{
	uint64_t now = loop_now();

	for (struct volume *v = a->core.volumes; v; v = v->next) {
		for (unsigned int i = 0; i < v->pair_count; i++) {
			struct pair_io *io = agent_pair_io(v->pair[i]);

			if (io->delta && io->delta->allowance_at && now >= io->delta->allowance_at)
				pump(io->delta);
		}
	}
}

uint64_t delta_deadline(const struct agent *a)
{
	uint64_t at = UINT64_MAX, now = loop_now();

	for (const struct volume *v = a->core.volumes; v; v = v->next) {
		for (unsigned int i = 0; i < v->pair_count; i++) {
			const struct pair_io *io = agent_pair_io(v->pair[i]);

			if (io->delta && io->delta->allowance_at > now && io->delta->allowance_at < at)
				at = io->delta->allowance_at;
		}
	}
	return at;
}
