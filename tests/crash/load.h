/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a load writes, as a function of seed, thread and operation: shared by who writes it
 * and by those who check it.
 */
#ifndef CRASH_LOAD_H
#define CRASH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum load_limits {
	LOAD_THREADS_MAX	= 8,
	LOAD_BLOCK		= 4096,
	LOAD_SECTOR		= 512,
	LOAD_BLOCKS_MAX		= 4,
	LOAD_NEAR		= 64,
};

/* One thread of a load; of a raw one, the blocks that are its own. */
struct load {
	uint64_t seed;
	unsigned int thread;
	uint64_t first, blocks;
};

static inline uint64_t load_mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static inline uint64_t load_draw(const struct load *l, int64_t op, uint64_t salt)
{
	return load_mix(load_mix(l->seed * 0x9e3779b97f4a7c15ULL + l->thread) +
			(uint64_t)op * 0xd1342543de82ef95ULL + salt);
}

static inline void load_fill(const struct load *l, uint64_t *to, size_t bytes, int64_t op,
			     uint64_t salt)
{
	uint64_t x = load_draw(l, op, salt);

	for (size_t i = 0; i < bytes / 8; i++) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		to[i] = x;
	}
}

static inline void load_raw_part(struct load *l, uint64_t bytes, unsigned int threads)
{
	l->blocks = bytes / LOAD_BLOCK / threads;
	l->first = l->blocks * l->thread;
}

static inline void load_raw_range(const struct load *l, int64_t op, uint64_t *first,
				  uint64_t *count)
{
	uint64_t r = load_draw(l, op, 1);

	*count = 1 + r % LOAD_BLOCKS_MAX;
	/* Half of them close together: the same blocks again, in flight or not yet flushed. */
	*first = l->first + (r >> 8) % ((r & 128 ? l->blocks : LOAD_NEAR) - LOAD_BLOCKS_MAX);
}

static inline void load_raw_sector(const struct load *l, uint64_t out[LOAD_SECTOR / 8],
				   uint64_t sector, int64_t op)
{
	uint64_t first, count;

	load_raw_range(l, op, &first, &count);
	out[0] = sector;
	out[1] = (uint64_t)op + 1;
	load_fill(l, out + 2, LOAD_SECTOR - 16, op, sector - first * (LOAD_BLOCK / LOAD_SECTOR));
}

/* For each block of the part the last operation up to @acked that wrote it, or -1. */
static inline void load_raw_least(const struct load *l, int64_t *least, int64_t acked)
{
	uint64_t first, count;

	for (uint64_t b = 0; b < l->blocks; b++)
		least[b] = -1;
	for (int64_t op = 0; op <= acked; op++) {
		load_raw_range(l, op, &first, &count);
		while (count--)
			least[first - l->first + count] = op;
	}
}

/* Return: NULL, or what is wrong with a sector that must have operation @least or a later one. */
static inline const char *load_raw_check(const struct load *l, const uint8_t *data,
					 uint64_t sector, int64_t least)
{
	uint64_t got[LOAD_SECTOR / 8], want[LOAD_SECTOR / 8];
	int64_t op;

	memcpy(got, data, sizeof(got));
	op = (int64_t)got[1] - 1;
	if (op < least)
		return "has an older operation than the last acknowledged one";
	if (op < 0)
		return NULL;
	load_raw_sector(l, want, sector, op);
	return memcmp(want, got, sizeof(got)) ? "has not what its operation wrote" : NULL;
}

#endif /* CRASH_LOAD_H */
