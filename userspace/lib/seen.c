// SPDX-License-Identifier: GPL-2.0-or-later
#include "seen.h"

#include <errno.h>
#include <stdlib.h>

enum { PIECE_SHIFT = 15, PIECE_BLOCKS = 1 << PIECE_SHIFT };

struct piece {
	uint32_t count;
	uint8_t bit[PIECE_BLOCKS / 8];
};

struct seen {
	uint64_t blocks;
	struct piece *piece[];		/* NULL: none of its blocks; &all: each of them */
};

static struct piece all;

struct seen *seen_new(uint64_t blocks)
{
	uint64_t pieces = (blocks + PIECE_BLOCKS - 1) >> PIECE_SHIFT;
	struct seen *s = calloc(1, sizeof(*s) + pieces * sizeof(s->piece[0]));

	if (s)
		s->blocks = blocks;
	return s;
}

void seen_free(struct seen *s)
{
	uint64_t pieces = s ? (s->blocks + PIECE_BLOCKS - 1) >> PIECE_SHIFT : 0;

	for (uint64_t i = 0; i < pieces; i++)
		if (s->piece[i] != &all)
			free(s->piece[i]);
	free(s);
}

/* Return: how many of @count blocks from @first are in the piece of @first. */
static uint32_t in_piece(uint64_t first, uint64_t count)
{
	uint64_t left = PIECE_BLOCKS - (first & (PIECE_BLOCKS - 1));

	return (uint32_t)(count < left ? count : left);
}

static bool has(const struct piece *p, uint32_t bit)
{
	return p->bit[bit / 8] & 1u << bit % 8;
}

bool seen_any(const struct seen *s, uint64_t first, uint64_t count)
{
	while (count) {
		const struct piece *p = s->piece[first >> PIECE_SHIFT];
		uint32_t n = in_piece(first, count), from = first & (PIECE_BLOCKS - 1);

		if (p == &all)
			return true;
		for (uint32_t i = 0; p && i < n; i++)
			if (has(p, from + i))
				return true;
		first += n;
		count -= n;
	}
	return false;
}

static int add_piece(struct piece **at, uint32_t from, uint32_t n)
{
	struct piece *p = *at;

	if (p == &all)
		return 0;
	if (!p && n < PIECE_BLOCKS) {
		p = *at = calloc(1, sizeof(*p));
		if (!p)
			return -ENOMEM;
	}
	for (uint32_t i = 0; p && i < n; i++) {
		p->count += !has(p, from + i);
		p->bit[(from + i) / 8] |= 1u << (from + i) % 8;
	}
	if (!p || p->count == PIECE_BLOCKS) {
		free(p);
		*at = &all;
	}
	return 0;
}

int seen_add(struct seen *s, uint64_t first, uint64_t count)
{
	int ret = 0;

	while (count && !ret) {
		uint32_t n = in_piece(first, count);

		ret = add_piece(&s->piece[first >> PIECE_SHIFT], first & (PIECE_BLOCKS - 1), n);
		first += n;
		count -= n;
	}
	return ret;
}
