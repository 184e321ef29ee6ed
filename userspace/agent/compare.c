// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is asked about is bounded by COMPARE_ASKS, on both sides, so nobody has to wait for
 * a socket: the peer always reads, and answers at most so much.  The session stays good for
 * everything else meanwhile, consent to a promotion above all.
 *
 * A chunk lives until its read and its answer are done.  The rest lives as long as one does.
 */
#include "compare.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "digest.h"
#include "pair.h"
#include "place.h"
#include "sums.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

enum { CHUNK_BLOCKS = COMPARE_CHUNK / REPL_BLOCK_BYTES };

struct compare {
	struct pair_io *io;		/* NULL: given up; only chunks and a sync keep it */
	struct agent *agent;
	struct conn *conn;		/* NULL: none of its messages are for us now */
	struct digest *digest;
	struct sums *sums;		/* NULL: nothing is stored */
	bool stored;			/* it has digests of before */
	uint64_t id;			/* of the verify; serving: 0 */
	int data_fd;
	uint64_t size;			/* bytes to stay within */

	enum op_kind kind;		/* the op under way; OP_NONE */
	uint32_t turn;
	uint64_t at;			/* OP_VERIFY_COMPARE: the block to look on from */
	uint64_t budget;		/* blocks */
	uint64_t allowance_at;		/* rate limit: nothing is read before */
	bool pumping;

	struct chunk *asked;		/* wait for a WANT */
	unsigned int chunks;
	struct loop_op sync;
	bool syncing, sealed;
};

struct chunk {
	struct chunk *next;
	struct compare *compare;
	struct loop_op op;
	uint64_t offset, length;
	uint8_t *data;
	struct repl_digest digest[REPL_DIGESTS_MAX];	/* of this side; serving: of the peer */
};

static void pump(struct compare *cmp);

static void put_compare(struct compare *cmp)
{
	if (cmp->io || cmp->chunks || cmp->syncing)
		return;
	digest_free(cmp->digest);
	sums_close(cmp->sums);
	free(cmp);
}

static void free_chunk(struct chunk *c)
{
	struct compare *cmp = c->compare;

	cmp->chunks--;
	free(c->data);
	free(c);
	put_compare(cmp);
}

static void detach(struct compare *cmp)
{
	if (cmp->conn)
		cmp->conn->compare = NULL;
	cmp->conn = NULL;
}

/* NULL: it has ended, and compare_drop() comes next. */
static struct verify *verify_of(const struct compare *cmp)
{
	struct verify *v = cmp->io ? cmp->io->pair->verify : NULL;

	return v && v->id == cmp->id ? v : NULL;
}

static void finish(struct compare *cmp, int error, const char *text)
{
	struct pair_io *io = cmp->io;
	enum op_kind kind = cmp->kind;

	cmp->kind = OP_NONE;
	detach(cmp);
	if (kind != OP_NONE)
		agent_op_done(io->agent, io->pair->volume, io->pair, kind, cmp->turn, error, text);
}

void compare_drop(struct pair_io *io)
{
	struct compare *cmp = io->compare;

	if (!cmp)
		return;
	io->compare = NULL;
	finish(cmp, -ECANCELED, "given up");
	cmp->io = NULL;
	cmp->chunks++;
	for (struct chunk *c; (c = cmp->asked);) {
		cmp->asked = c->next;
		free_chunk(c);
	}
	cmp->chunks--;
	put_compare(cmp);
}

/* What a disk does not take is not stored: the comparison goes on. */
static void sums_failed(struct compare *cmp, int error)
{
	struct verify *v = verify_of(cmp);

	if (!error || !cmp->sums)
		return;
	if (v)
		snprintf(v->unstored, sizeof(v->unstored), "%s cannot be written: %s", PLACE_DIR,
			 strerror(-error));
	sums_close(cmp->sums);
	cmp->sums = NULL;
}

/* ------------------------------------------------------------- reading -- */

static bool read_chunk(struct compare *cmp, struct chunk *c,
		       void (*done)(struct loop_op *op, int res))
{
	struct io_uring_sqe *sqe;

	c->data = aligned_alloc(REPL_BLOCK_BYTES, copy_blocks(c->length) << REPL_BLOCK_SHIFT);
	if (!c->data) {
		free(c);
		return false;
	}
	c->compare = cmp;
	c->op.done = done;
	cmp->chunks++;
	sqe = loop_sqe(&cmp->agent->loop, &c->op);
	io_uring_prep_read(sqe, cmp->data_fd, c->data, (unsigned int)c->length, c->offset);
	io_uring_sqe_set_data(sqe, &c->op);
	return true;
}

/* Return: whether the chunk was read, and belongs to something that goes on. */
static bool was_read(struct chunk *c, int res)
{
	struct compare *cmp = c->compare;
	char text[200];

	if (!cmp->io)
		return false;
	if (res == (int)c->length)
		return true;
	snprintf(text, sizeof(text), "the backing device on %s cannot be read at byte %" PRIu64 ": %s",
		 cmp->agent->core.node, c->offset, res < 0 ? strerror(-res) : "the read was short");
	finish(cmp, res < 0 ? res : -EIO, text);
	return false;
}

/* ----------------------------------------------------- the peer compares -- */

static void serve_read(struct loop_op *op, int res)
{
	struct chunk *c = container(op, struct chunk, op);
	struct compare *cmp = c->compare;
	struct msg_want want = { .range = { c->offset, c->length } };
	struct repl_digest mine[REPL_DIGESTS_MAX];
	struct repl_msg_want m;

	if (was_read(c, res) && cmp->conn) {
		if (digest_blocks(cmp->digest, c->offset, c->data, c->length, mine)) {
			for (size_t n = 0; n < copy_blocks(c->length); n++)
				if (memcmp(&mine[n], &c->digest[n], sizeof(mine[n])))
					want.blocks[n / 8] |= (uint8_t)(1u << n % 8);
			msg_pack_want(&want, &m);
			conn_send(cmp->conn, REPL_MSG_WANT, &m, sizeof(m));
		} else {
			finish(cmp, -ENOMEM, "the digests cannot be made");
		}
	}
	free_chunk(c);
}

int compare_digests(struct compare *cmp, const struct repl_msg_range *m,
		    const struct repl_digest *digest, size_t length)
{
	struct msg_range range;
	struct chunk *c;
	struct err e;

	if (cmp->kind != OP_VERIFY_SERVE)
		return 0;
	if (msg_unpack_digests(&range, m, length, cmp->size, &e)) {
		pair_protocol(cmp->io->pair, "%s", e.text);
		return -EPROTO;
	}
	if (cmp->chunks >= COMPARE_ASKS) {
		pair_protocol(cmp->io->pair, "more than %d DIGESTS at a time", COMPARE_ASKS);
		return -EPROTO;
	}
	c = calloc(1, sizeof(*c));
	if (c) {
		c->offset = range.offset;
		c->length = range.length;
		memcpy(c->digest, digest, length - sizeof(*m));
	}
	if (!c || !read_chunk(cmp, c, serve_read))
		finish(cmp, -ENOMEM, "out of memory");
	return 0;
}

/* -------------------------------------------------------- this side asks -- */

static void asked_read(struct loop_op *op, int res)
{
	struct chunk *c = container(op, struct chunk, op);
	struct compare *cmp = c->compare;
	size_t blocks = (size_t)copy_blocks(c->length);
	struct {
		struct repl_msg_range range;
		struct repl_digest digest[CHUNK_BLOCKS];
	} m = { .range = { htole64(c->offset), htole64(c->length) } };

	if (!was_read(c, res) || !cmp->conn) {
		free_chunk(c);
		return;
	}
	if (!digest_blocks(cmp->digest, c->offset, c->data, c->length, c->digest)) {
		finish(cmp, -ENOMEM, "the digests cannot be made");
		free_chunk(c);
		return;
	}
	free(c->data);
	c->data = NULL;
	c->next = cmp->asked;
	cmp->asked = c;
	memcpy(m.digest, c->digest, blocks * sizeof(m.digest[0]));
	conn_send(cmp->conn, REPL_MSG_DIGESTS, &m, sizeof(m.range) + blocks * sizeof(m.digest[0]));
}

/* One block of an answer: to the judge, and what is equal into the file. */
static void tell(struct compare *cmp, const struct chunk *c, size_t n, bool differs)
{
	uint64_t block = (c->offset >> REPL_BLOCK_SHIFT) + n;
	unsigned int found = differs ? JUDGE_DIFFERS : 0;
	int stored = cmp->stored && cmp->sums ? sums_get(cmp->sums, block, &c->digest[n]) : 0;

	/* Copies that are equal are right, for a verify: it says what is stored from now on. */
	if (!differs && !verify_of(cmp)->scrub)
		stored = 0;
	if (stored)
		found |= stored > 0 ? JUDGE_KNOWN : JUDGE_CHANGED;
	judge_told(verify_of(cmp)->judge, block, found);
	if (cmp->sums && !differs && stored >= 0)
		sums_failed(cmp, sums_put(cmp->sums, block, 1, &c->digest[n]));
}

int compare_want(struct compare *cmp, const struct repl_msg_want *m)
{
	struct chunk **at = &cmp->asked, *c;
	struct msg_want want;
	struct err e;

	if (cmp->kind != OP_VERIFY_COMPARE || !verify_of(cmp))
		return 0;
	if (msg_unpack_want(&want, m, cmp->size, &e)) {
		pair_protocol(cmp->io->pair, "%s", e.text);
		return -EPROTO;
	}
	while (*at && ((*at)->offset != want.range.offset || (*at)->length != want.range.length))
		at = &(*at)->next;
	c = *at;
	if (!c) {
		pair_protocol(cmp->io->pair, "a WANT for blocks that were not asked about");
		return -EPROTO;
	}
	*at = c->next;
	for (size_t n = 0; n < copy_blocks(c->length); n++)
		tell(cmp, c, n, msg_wants(&want, n));
	agent_now(cmp->agent);
	core_compared(cmp->io->pair, copy_blocks(c->length));
	free_chunk(c);
	pump(cmp);
	agent_settle(cmp->agent);
	return 0;
}

/* Return: true when it must wait, to stay within the volume's rate limit. */
static bool too_fast(struct compare *cmp, uint64_t bytes)
{
	uint64_t limit = agent_volume_io(cmp->io->pair->volume)->rate_limit, now = loop_now();

	if (!limit || verify_of(cmp)->judge->held)
		return false;
	if (now < cmp->allowance_at)
		return true;
	cmp->allowance_at = (cmp->allowance_at > now - 100 ? cmp->allowance_at : now) +
			    bytes * 1000 / limit;
	return false;
}

static void pump(struct compare *cmp)
{
	uint64_t first, count = 0, most;
	struct chunk *c;

	if (cmp->pumping || cmp->kind != OP_VERIFY_COMPARE || !verify_of(cmp))
		return;
	if (!cmp->conn || cmp->conn->stage != CONN_OPEN) {
		finish(cmp, -ECONNRESET, "the session has ended");
		return;
	}
	cmp->pumping = true;
	while (cmp->chunks < COMPARE_ASKS && cmp->budget) {
		if (too_fast(cmp, 0))
			break;
		most = cmp->budget < CHUNK_BLOCKS ? cmp->budget : CHUNK_BLOCKS;
		count = judge_next(verify_of(cmp)->judge, &cmp->at, most, &first);
		if (!count)
			cmp->budget = 0;
		if (!count)
			break;
		cmp->budget -= count;
		c = calloc(1, sizeof(*c));
		if (c) {
			c->offset = first << REPL_BLOCK_SHIFT;
			c->length = count << REPL_BLOCK_SHIFT;
			if (c->length > cmp->size - c->offset)
				c->length = cmp->size - c->offset;
			too_fast(cmp, c->length);
		}
		if (!c || !read_chunk(cmp, c, asked_read)) {
			finish(cmp, -ENOMEM, "out of memory");
			break;
		}
	}
	cmp->pumping = false;
	if (cmp->kind == OP_VERIFY_COMPARE && !cmp->budget && !cmp->chunks)
		finish(cmp, 0, NULL);
}

static void start_pass(struct compare *cmp, struct conn *c, const struct op *op)
{
	cmp->at = 0;
	cmp->budget = op->size;
	if (c) {
		cmp->conn = c;
		c->compare = cmp;
	}
	pump(cmp);
}

/* ------------------------------------------------- the cut and the file -- */

static void start_sync(struct compare *cmp);

static void synced(struct loop_op *op, int res)
{
	struct compare *cmp = container(op, struct compare, sync);

	cmp->syncing = false;
	if (!cmp->io) {
		put_compare(cmp);
		return;
	}
	if (res < 0)
		sums_failed(cmp, res);
	/* The data first, then the word that they count; both are durable before it is said. */
	if (cmp->kind == OP_VERIFY_SEAL && cmp->sums && !cmp->stored && !cmp->sealed) {
		cmp->sealed = true;
		sums_failed(cmp, sums_seal(cmp->sums));
		if (cmp->sums) {
			start_sync(cmp);
			return;
		}
	}
	/* Blocks are dropped only behind their digests. */
	if (res < 0 && cmp->kind == OP_VERIFY_TAKE)
		finish(cmp, res, "the digests that are stored cannot be changed");
	else
		finish(cmp, 0, NULL);
}

static void start_sync(struct compare *cmp)
{
	struct io_uring_sqe *sqe;
	int fd = cmp->sums ? sums_fd(cmp->sums) : -1;

	if (fd < 0) {
		sums_failed(cmp, -EIO);
		finish(cmp, cmp->stored ? -EIO : 0, "the digests that are stored cannot be changed");
		return;
	}
	cmp->syncing = true;
	cmp->sync.done = synced;
	sqe = loop_sqe(&cmp->agent->loop, &cmp->sync);
	io_uring_prep_fsync(sqe, fd, 0);
	io_uring_sqe_set_data(sqe, &cmp->sync);
}

static void take(struct compare *cmp)
{
	struct judge *j = verify_of(cmp)->judge;
	struct repl_extent extent[COMPARE_EXTENTS];
	ssize_t n;

	while ((n = read(cmp->io->cut_fd, extent, sizeof(extent))) > 0) {
		for (size_t i = 0; i < (size_t)n / sizeof(extent[0]); i++) {
			judge_written(j, extent[i].block, extent[i].count);
			if (cmp->sums)
				sums_failed(cmp, sums_drop(cmp->sums, extent[i].block, extent[i].count));
		}
	}
	if (n < 0)
		finish(cmp, -errno, "the cut cannot be read");
	else if (cmp->stored)
		start_sync(cmp);
	else
		finish(cmp, 0, NULL);
}

static void seal(struct compare *cmp)
{
	if (cmp->sums)
		start_sync(cmp);
	else
		finish(cmp, 0, NULL);
}

static void open_sums(struct compare *cmp)
{
	struct pair *p = cmp->io->pair;
	const struct kernel_volume *k = &p->volume->k;
	struct sums_about about = { .copy_id = k->copy_id, .uuid = k->uuid, .size = k->size };
	char path[sizeof(PLACE_DIR) + 64], why[700];
	struct verify *v = p->verify;
	struct err e = { "" };

	cmp->id = v->id;
	sums_path(PLACE_DIR, &k->copy_id, path, sizeof(path));
	cmp->sums = sums_load(path, &about, v->key, &e);
	cmp->stored = v->stored = cmp->sums;
	if (!cmp->sums && v->scrub) {
		snprintf(why, sizeof(why), "no digests are stored here (%s): run repl-ctl verify %s first",
			 e.text, p->volume->name);
		finish(cmp, -ENOENT, why);
		return;
	}
	if (!cmp->sums)
		cmp->sums = sums_create(path, &about, v->key, &e);
	if (!cmp->sums)
		snprintf(v->unstored, sizeof(v->unstored), "%.*s", (int)sizeof(v->unstored) - 1, e.text);
	cmp->digest = digest_new(v->key);
	finish(cmp, cmp->digest ? 0 : -ENOMEM, "out of memory");
}

static struct compare *compare_new(struct pair_io *io)
{
	struct compare *cmp = calloc(1, sizeof(*cmp));

	if (!cmp)
		abort();
	compare_drop(io);
	cmp->io = io;
	cmp->agent = io->agent;
	cmp->data_fd = agent_volume_io(io->pair->volume)->data_fd;
	cmp->size = io->pair->volume->k.size;
	io->compare = cmp;
	return cmp;
}

static void serve(struct compare *cmp, struct conn *c, const struct op *op)
{
	cmp->size = op->size;
	cmp->digest = digest_new(op->delta.digest_key);
	if (!cmp->digest || !c) {
		finish(cmp, -ENOMEM, "out of memory");
		return;
	}
	cmp->conn = c;
	c->compare = cmp;
}

void compare_begin(struct pair_io *io, struct conn *c, const struct op *op)
{
	struct compare *cmp = io->compare;

	if (op->kind == OP_VERIFY_OPEN || op->kind == OP_VERIFY_SERVE)
		cmp = compare_new(io);
	if (!cmp || (op->kind > OP_VERIFY_OPEN && op->kind < OP_VERIFY_SERVE && !verify_of(cmp)) ||
	    (op->kind == OP_VERIFY_OPEN && !io->pair->verify)) {
		agent_op_done(io->agent, io->pair->volume, io->pair, op->kind, op->turn, -ECANCELED,
			      "given up");
		return;
	}
	cmp->kind = op->kind;
	cmp->turn = op->turn;
	if (op->kind == OP_VERIFY_OPEN)
		open_sums(cmp);
	else if (op->kind == OP_VERIFY_SERVE)
		serve(cmp, c, op);
	else if (op->kind == OP_VERIFY_TAKE)
		take(cmp);
	else if (op->kind == OP_VERIFY_COMPARE)
		start_pass(cmp, c, op);
	else
		seal(cmp);
}

/* -------------------------------------------------------------- pacing -- */

static bool waits(const struct compare *cmp)
{
	return cmp && cmp->kind == OP_VERIFY_COMPARE && verify_of(cmp) &&
	       cmp->chunks < COMPARE_ASKS && cmp->budget && cmp->allowance_at;
}

void compare_tick(struct agent *a)
{
	uint64_t now = loop_now();

	for (struct volume *v = a->core.volumes; v; v = v->next) {
		for (unsigned int i = 0; i < v->pair_count; i++) {
			struct compare *cmp = agent_pair_io(v->pair[i])->compare;

			if (waits(cmp) && now >= cmp->allowance_at)
				pump(cmp);
		}
	}
}

uint64_t compare_deadline(const struct agent *a)
{
	uint64_t at = UINT64_MAX, now = loop_now();

	for (const struct volume *v = a->core.volumes; v; v = v->next) {
		for (unsigned int i = 0; i < v->pair_count; i++) {
			const struct compare *cmp = agent_pair_io(v->pair[i])->compare;

			if (waits(cmp) && cmp->allowance_at > now && cmp->allowance_at < at)
				at = cmp->allowance_at;
		}
	}
	return at;
}
