// SPDX-License-Identifier: GPL-2.0-or-later
#include "judge.h"

#include <stdlib.h>
#include <string.h>

static bool has(const judge_map m, uint64_t n)
{
	return m[n / 8] & 1u << n % 8;
}

static void put(judge_map m, uint64_t n, bool value)
{
	if (value)
		m[n / 8] |= (uint8_t)(1u << n % 8);
	else
		m[n / 8] &= (uint8_t)~(1u << n % 8);
}

static void open_window(struct judge *j, uint64_t first)
{
	j->first = first;
	j->count = j->blocks - first < JUDGE_WINDOW ? j->blocks - first : JUDGE_WINDOW;
	j->pass = 0;
	j->held = false;
	j->todo_count = j->count;
	j->candidates = 0;
	memset(j->todo, 0xff, sizeof(j->todo));
	memset(j->wrong, 0, sizeof(j->wrong));
	memset(j->candidate, 0, sizeof(j->candidate));
}

struct judge *judge_new(uint64_t blocks)
{
	struct judge *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->range = calloc(JUDGE_RANGES, sizeof(*j->range));
	if (!j->range) {
		free(j);
		return NULL;
	}
	j->blocks = blocks;
	open_window(j, 0);
	return j;
}

void judge_free(struct judge *j)
{
	if (j)
		free(j->range);
	free(j);
}

void judge_begin(struct judge *j, bool held)
{
	j->held = held;
	memset(j->told, 0, sizeof(j->told));
	memset(j->written, 0, sizeof(j->written));
}

uint64_t judge_next(const struct judge *j, uint64_t *at, uint64_t most, uint64_t *first)
{
	uint64_t n = *at > j->first ? *at - j->first : 0, from;

	while (n < j->count && !has(j->todo, n))
		n++;
	from = n;
	while (n < j->count && n - from < most && has(j->todo, n))
		n++;
	*first = j->first + from;
	*at = j->first + n;
	return n - from;
}

void judge_told(struct judge *j, uint64_t block, unsigned int found)
{
	uint64_t n = block - j->first;

	if (block < j->first || n >= j->count || !has(j->todo, n))
		return;
	put(j->told, n, true);
	put(j->wrong, n, found & (JUDGE_DIFFERS | JUDGE_CHANGED));
	put(j->changed, n, found & JUDGE_CHANGED);
	/* Who has changed, and is equal all the same, has changed with the peer. */
	put(j->known, n, found & JUDGE_CHANGED ? !(found & JUDGE_DIFFERS) : !!(found & JUDGE_KNOWN));
}

void judge_written(struct judge *j, uint64_t block, uint64_t count)
{
	uint64_t end = block + count, last = j->first + j->count;

	if (block < j->first)
		block = j->first;
	if (end > last)
		end = last;
	for (; block < end; block++)
		put(j->written, block - j->first, true);
}

static void finished(struct judge *j, uint64_t n)
{
	put(j->todo, n, false);
	j->todo_count--;
}

void judge_end(struct judge *j, bool barrier)
{
	j->candidates = 0;
	for (uint64_t n = 0; n < j->count; n++) {
		bool sure = has(j->told, n) && !has(j->written, n);
		bool before = has(j->candidate, n);

		if (!has(j->todo, n))
			continue;
		put(j->candidate, n, false);
		if (sure && !has(j->wrong, n)) {
			j->equal++;
			finished(j, n);
		} else if (sure && barrier && (before || j->held)) {
			j->differ++;
			finished(j, n);
		} else if (sure) {
			put(j->candidate, n, true);
			j->candidates++;
		} else {
			put(j->wrong, n, false);
		}
	}
	j->pass++;
	j->passes++;
}

bool judge_tired(const struct judge *j)
{
	return j->pass >= JUDGE_PASSES;
}

static enum judge_side side_of(const struct judge *j, uint64_t n)
{
	if (has(j->changed, n))
		return has(j->known, n) ? JUDGE_BOTH : JUDGE_HERE;
	return has(j->known, n) ? JUDGE_PEER : JUDGE_UNKNOWN;
}

static void report(struct judge *j, uint64_t block, enum judge_side side)
{
	struct judge_range *last = j->ranges ? &j->range[j->ranges - 1] : NULL;

	if (last && last->side == side && last->block + last->count == block) {
		last->count++;
	} else if (j->ranges < JUDGE_RANGES) {
		j->range[j->ranges++] = (struct judge_range){ block, 1, side };
	} else {
		last->count = block - last->block + 1;
		if (last->side != side)
			last->side = JUDGE_UNKNOWN;
		j->coarse = true;
	}
}

bool judge_leave(struct judge *j)
{
	for (uint64_t n = 0; n < j->count; n++)
		if (has(j->wrong, n) && !has(j->todo, n))
			report(j, j->first + n, side_of(j, n));
	j->not_compared += j->todo_count;
	j->todo_count = 0;
	if (j->first + j->count == j->blocks)
		return false;
	open_window(j, j->first + j->count);
	return true;
}

uint64_t judge_done(const struct judge *j)
{
	return j->first + j->count - j->todo_count;
}
