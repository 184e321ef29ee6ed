// SPDX-License-Identifier: GPL-2.0-or-later
#include "pump.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct chunk {
	uint64_t offset;
	size_t length;
	bool ready;		/* read */
};

/*
 * Chunks first to last are taken, in the order of the cut.  A chunk is its reader's until
 * it is ready, then the writer's until first moves on; ->lock protects everything else.
 */
struct ring {
	const struct pump *pump;
	pthread_mutex_t lock;
	pthread_cond_t room, ready;
	uint64_t first, last;
	struct repl_extent rest;	/* handed out by the cut, not read yet */
	bool ended;			/* the cut has no more */
	int error;
	struct err e;
	struct chunk chunk[PUMP_CHUNKS];
	uint8_t *memory;
};

static uint8_t *memory_of(const struct ring *r, uint64_t n)
{
	return r->memory + n % PUMP_CHUNKS * PUMP_CHUNK;
}

/* The first error counts. */
static void fail(struct ring *r, int error, const struct err *e)
{
	if (!r->error) {
		r->error = error;
		r->e = *e;
	}
	pthread_cond_broadcast(&r->room);
	pthread_cond_broadcast(&r->ready);
}

/* Return: whether there is something to read, *n and *piece say what and whereto. */
static bool take(struct ring *r, uint64_t *n, struct repl_extent *piece)
{
	struct err e = { "" };
	int ret;

	while (!r->error && !r->ended && r->last - r->first == PUMP_CHUNKS)
		pthread_cond_wait(&r->room, &r->lock);
	if (r->error || r->ended)
		return false;
	if (!r->rest.count) {
		ret = r->pump->next(r->pump->arg, &r->rest, &e);
		if (ret < 0)
			fail(r, ret, &e);
		if (!ret) {
			r->ended = true;
			pthread_cond_broadcast(&r->room);
			pthread_cond_broadcast(&r->ready);
		}
		if (ret <= 0)
			return false;
	}
	*piece = r->rest;
	if (piece->count > PUMP_CHUNK >> REPL_BLOCK_SHIFT)
		piece->count = PUMP_CHUNK >> REPL_BLOCK_SHIFT;
	r->rest.block += piece->count;
	r->rest.count -= piece->count;
	*n = r->last++;
	return true;
}

static int read_piece(const struct ring *r, uint64_t n, const struct repl_extent *piece,
		      struct chunk *c, struct err *e)
{
	const struct pump *p = r->pump;
	ssize_t got;

	c->offset = piece->block << REPL_BLOCK_SHIFT;
	c->length = piece->count << REPL_BLOCK_SHIFT;
	if (c->offset >= p->size)
		return err_set(e, EINVAL, "the cut has blocks beyond the volume's end");
	if (c->length > p->size - c->offset)
		c->length = p->size - c->offset;
	do
		got = pread(p->data_fd, memory_of(r, n), c->length, (off_t)c->offset);
	while (got < 0 && errno == EINTR);
	if (got != (ssize_t)c->length)
		return err_set(e, got < 0 ? errno : EIO, "the backing device cannot be read at byte %" PRIu64
			       ": %s", c->offset, got < 0 ? strerror(errno) : "the read was short");
	return p->release(p->arg, piece, e);
}

static void *reader(void *arg)
{
	struct ring *r = arg;
	struct repl_extent piece;
	struct err e = { "" };
	uint64_t n;
	int ret;

	pthread_mutex_lock(&r->lock);
	while (take(r, &n, &piece)) {
		struct chunk *c = &r->chunk[n % PUMP_CHUNKS];

		c->ready = false;
		pthread_mutex_unlock(&r->lock);
		ret = read_piece(r, n, &piece, c, &e);
		pthread_mutex_lock(&r->lock);
		if (ret)
			fail(r, ret, &e);
		c->ready = true;
		pthread_cond_signal(&r->ready);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

/* Return: whether the first chunk is there to be written. */
static bool wait_ready(struct ring *r)
{
	while (!r->error && !(r->ended && r->first == r->last) &&
	       !(r->first < r->last && r->chunk[r->first % PUMP_CHUNKS].ready))
		pthread_cond_wait(&r->ready, &r->lock);
	return !r->error && r->first < r->last;
}

static void write_all(struct ring *r)
{
	const struct pump *p = r->pump;
	struct err e = { "" };
	int ret;

	pthread_mutex_lock(&r->lock);
	while (wait_ready(r)) {
		const struct chunk *c = &r->chunk[r->first % PUMP_CHUNKS];
		uint64_t length = c->length;

		pthread_mutex_unlock(&r->lock);
		ret = stream_file_put(p->out, c->offset, memory_of(r, r->first), length, &e);
		if (!ret)
			p->wrote(p->arg, length);
		pthread_mutex_lock(&r->lock);
		if (ret)
			fail(r, ret, &e);
		r->first++;
		pthread_cond_signal(&r->room);
	}
	pthread_mutex_unlock(&r->lock);
}

int pump_run(const struct pump *p, struct err *e)
{
	struct ring *r = calloc(1, sizeof(*r));
	pthread_t thread[PUMP_READERS];
	unsigned int started = 0;
	int ret;

	if (!r || posix_memalign((void **)&r->memory, REPL_BLOCK_BYTES,
				 (size_t)PUMP_CHUNKS * PUMP_CHUNK)) {
		free(r);
		return err_set(e, ENOMEM, "out of memory");
	}
	r->pump = p;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->room, NULL);
	pthread_cond_init(&r->ready, NULL);
	while (started < PUMP_READERS && !pthread_create(&thread[started], NULL, reader, r))
		started++;
	if (started)
		write_all(r);
	else
		r->error = err_set(&r->e, EAGAIN, "no thread can be started");
	while (started)
		pthread_join(thread[--started], NULL);
	ret = r->error;
	if (ret)
		*e = r->e;
	pthread_cond_destroy(&r->ready);
	pthread_cond_destroy(&r->room);
	pthread_mutex_destroy(&r->lock);
	free(r->memory);
	free(r);
	return ret;
}
