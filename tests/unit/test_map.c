// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The module's bitmap against an array of bools: whatever happens, and with however little memory,
 * no set bit is lost and ->set is the truth.
 * needs: kmod/map.c tests/unit/shim/slab.c
 */
#include <linux/minmax.h>
#include <linux/slab.h>
#include "map.h"

#include "tap.h"

enum { PAGE = MAP_PAGE_BITS };

#define HUGE_BITS	(1ull << 38)	/* the map of 1 PiB in blocks of 4 KiB */

static uint64_t seed;

/* A map, and what it must say. */
struct pair {
	struct map map;
	bool *is;
};

static void pair_init(struct pair *p, u64 bits)
{
	need(!map_init(&p->map, bits), "a map");
	p->is = calloc(bits, sizeof(*p->is));
	need(p->is, "memory for the oracle");
}

static void pair_free(struct pair *p)
{
	map_free(&p->map);
	free(p->is);
}

/* ------------------------------------------------- map against oracle --- */

static bool wrong(const char *what, u64 number)
{
	printf("# %s: %llu\n", what, number);
	return false;
}

static bool bit_of(const u8 *page, u64 bit)
{
	bit &= MAP_PAGE_BITS - 1;
	return page[bit / 8] >> bit % 8 & 1;
}

static bool is_set(const struct map *map, u64 bit)
{
	u8 page[MAP_PAGE_BYTES];

	map_save_page(map, bit >> MAP_PAGE_SHIFT, page);
	return bit_of(page, bit);
}

static bool bits_right(const struct pair *p)
{
	u8 page[MAP_PAGE_BYTES];
	u64 bit, set = 0;

	for (bit = 0; bit < p->map.bits; bit++) {
		if (!(bit & (MAP_PAGE_BITS - 1)))
			map_save_page(&p->map, bit >> MAP_PAGE_SHIFT, page);
		if (bit_of(page, bit) != p->is[bit])
			return wrong(p->is[bit] ? "lost bit" : "bit that nobody set", bit);
		set += p->is[bit];
	}
	if (p->map.set != set || map_empty(&p->map) != !set)
		return wrong("->set lies, the truth is", set);
	return true;
}

static u64 oracle_find(const struct pair *p, u64 from, bool value)
{
	while (from < p->map.bits && p->is[from] != value)
		from++;
	return min(from, p->map.bits);
}

/* The run at or after @from; @next is where to go on. */
static bool run_right(const struct pair *p, u64 from, u64 *next)
{
	u64 first = 0, count = 0, expected = oracle_find(p, from, true);
	bool found = map_next(&p->map, from, &first, &count);

	*next = oracle_find(p, expected, false);
	if (found != (expected < p->map.bits))
		return wrong(found ? "a run after the last one" : "missed run", expected);
	if (found && (first != expected || count != *next - expected))
		return wrong("run of the wrong extent", expected);
	return true;
}

static bool runs_right(const struct pair *p)
{
	u64 from = 0, next;

	while (from < p->map.bits) {
		if (!run_right(p, from, &next))
			return false;
		from = next;
	}
	return run_right(p, random_below(&seed, p->map.bits), &next) &&
	       run_right(p, p->map.bits - 1, &next) && run_right(p, p->map.bits, &next) &&
	       run_right(p, p->map.bits + 1, &next) && run_right(p, UINT64_MAX, &next);
}

/* The first run at or after a random bit, before another, of what only one of two maps has. */
static bool without_right(const struct pair *p, const struct pair *without)
{
	u64 first = 0, count = 0, bits = p->map.bits, from = random_below(&seed, bits + 2);
	u64 end = random_below(&seed, 2) ? bits + random_below(&seed, 3) : random_below(&seed, bits);
	bool found = map_next_without(&p->map, &without->map, from, end, &first, &count);
	u64 stop = min(end, bits), expected = from, next;

	while (expected < stop && !(p->is[expected] && !without->is[expected]))
		expected++;
	for (next = expected; next < stop && p->is[next] && !without->is[next]; next++)
		;
	if (found != (expected < stop))
		return wrong(found ? "a run that is not there, from" : "missed run", expected);
	if (found && (first != expected || count != next - expected))
		return wrong("run of the wrong extent", expected);
	return true;
}

/* A page written out, and the same joined to an image that has bits of its own. */
static bool page_right(const struct pair *p, unsigned long page)
{
	u64 bit, start = (u64)page * PAGE, end = min(start + PAGE, p->map.bits);
	u8 bytes[MAP_PAGE_BYTES], image[MAP_PAGE_BYTES], own = random_next(&seed);
	bool clean = true;

	memset(bytes, 0x5a, sizeof(bytes));
	memset(image, own, sizeof(image));
	map_save_page(&p->map, page, bytes);
	map_join_page(&p->map, page, image);
	for (bit = start; bit < end; bit++) {
		bool had = own >> bit % 8 & 1;

		if ((bytes[bit % PAGE / 8] >> bit % 8 & 1) != p->is[bit])
			return wrong("bit saved wrongly", bit);
		if ((image[bit % PAGE / 8] >> bit % 8 & 1) != (p->is[bit] || had))
			return wrong("bit joined wrongly", bit);
		clean &= !p->is[bit];
	}
	if (clean != !p->map.page[page] || clean != map_page_empty(&p->map, page))
		return wrong("memory does not follow the bits of page", page);
	return true;
}

static bool pages_right(const struct pair *p)
{
	unsigned long page;

	for (page = 0; page < p->map.pages; page++)
		if (!page_right(p, page))
			return false;
	return true;
}

static bool right(const struct pair *p)
{
	return bits_right(p) && runs_right(p) && pages_right(p);
}

/* ---------------------------------------------------------- operations --- */

/* Where an operation allocates, and therefore may set more than it was told to. */
struct touched {
	u64 first, count;
};

static u64 random_bit(const struct map *map)
{
	u64 edge = random_below(&seed, map->pages + 1) * PAGE, before = random_below(&seed, 3);

	switch (random_below(&seed, 4)) {
	case 0:
		return min(edge > before ? edge - before : 0, map->bits - 1);
	case 1:
		return map->bits - 1 - random_below(&seed, min(map->bits, (u64)9));
	default:
		return random_below(&seed, map->bits);
	}
}

static u64 random_count(const struct map *map)
{
	switch (random_below(&seed, 8)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX - random_below(&seed, 3);
	case 2:
		return random_below(&seed, map->bits) + 1;
	case 3:
		return random_below(&seed, 3) * PAGE + random_below(&seed, 3);
	default:
		return random_below(&seed, 100) + 1;
	}
}

static void step_set(struct pair *p, struct touched *t)
{
	u64 first = random_bit(&p->map), count = random_count(&p->map);

	if (!random_below(&seed, 16))
		first = random_below(&seed, 2) ? p->map.bits : UINT64_MAX;
	map_set(&p->map, first, count);
	if (first >= p->map.bits)
		return;
	t->first = first;
	t->count = min(count, p->map.bits - first);
	memset(p->is + first, true, t->count);
}

/* Refused memory it sets less, never more: what of the range is set then, the oracle is told. */
static void step_try_set(struct pair *p)
{
	u64 bit, first = random_bit(&p->map), count = random_count(&p->map), missing = 0;
	bool all = map_try_set(&p->map, first, count);

	count = min(count, p->map.bits - first);
	for (bit = first; bit < first + count; bit++) {
		p->is[bit] |= all || is_set(&p->map, bit);
		missing += !p->is[bit];
	}
	if (!all && !missing)
		p->is[first] = wrong("refused, but all is set from", first);
}

static void step_all(struct pair *p, bool value)
{
	if (value)
		map_set(&p->map, 0, p->map.bits);
	else
		map_clear_all(&p->map);
	memset(p->is, value, p->map.bits);
}

static void load(struct pair *p, unsigned long page, const u8 *bytes, struct touched *t)
{
	u64 i;

	t->first = (u64)page * PAGE;
	t->count = min((u64)PAGE, p->map.bits - t->first);
	map_load_page(&p->map, page, bytes);
	for (i = 0; i < t->count; i++)
		p->is[t->first + i] = bytes[i / 8] >> i % 8 & 1;
}

/* Beyond the end of a map that ends inside its last page, the bytes are rubbish. */
static void step_load(struct pair *p, struct touched *t)
{
	unsigned int i, bit, how = random_below(&seed, 4);
	u8 bytes[MAP_PAGE_BYTES];

	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = how == 0 ? 0 : how == 1 ? 0xff : random_next(&seed);
	if (how == 2) {
		bit = random_below(&seed, min((u64)PAGE, p->map.bits));
		memset(bytes, 0, sizeof(bytes));
		bytes[bit / 8] = 1 << bit % 8;
		bytes[sizeof(bytes) - 1] |= 0x80;
	}
	load(p, random_below(&seed, p->map.pages), bytes, t);
}

static void step_copy(struct pair *to, const struct pair *from, struct touched *t)
{
	unsigned long page = random_below(&seed, from->map.pages);
	u8 bytes[MAP_PAGE_BYTES];

	map_save_page(&from->map, page, bytes);
	load(to, page, bytes, t);
}

static void step_merge(struct pair *into, struct pair *from)
{
	u64 bit;

	map_merge(&into->map, &from->map);
	for (bit = 0; bit < into->map.bits; bit++)
		into->is[bit] |= from->is[bit];
	memset(from->is, false, from->map.bits);
}

static const char *step(struct pair *a, struct pair *b, struct touched *t)
{
	switch (random_below(&seed, 24)) {
	case 0:
		step_all(a, true);
		return "map_set() of all";
	case 1:
		step_all(a, false);
		return "map_clear_all()";
	case 2:
	case 3:
		step_merge(a, b);
		return "map_merge()";
	case 4:
		map_swap(&a->map, &b->map);
		swap(a->is, b->is);
		return "map_swap()";
	case 5:
	case 6:
	case 7:
		step_load(a, t);
		return "map_load_page()";
	case 8:
		step_copy(a, b, t);
		return "map_save_page() and map_load_page()";
	case 9:
	case 10:
	case 11:
		step_try_set(a);
		return "map_try_set()";
	default:
		step_set(a, t);
		return "map_set()";
	}
}

/* -------------------------------------------------------- random walks --- */

/* A page that differs from the oracle must be all dirty; then the oracle learns that it is. */
static bool settle_page(struct pair *p, u64 start, unsigned long *excuses)
{
	u64 bit, end = min(start + PAGE, p->map.bits);

	for (bit = start; bit < end && is_set(&p->map, bit) == p->is[bit]; bit++)
		;
	if (bit == end)
		return true;
	if (!*excuses)
		return wrong("a page differs that was not refused memory, at bit", bit);
	--*excuses;
	for (bit = start; bit < end; bit++)
		if (!is_set(&p->map, bit))
			return wrong("no memory for its page, but clean: bit", bit);
	memset(p->is + start, true, end - start);
	return true;
}

static bool settle(struct pair *p, const struct touched *t, unsigned long refused)
{
	u64 start;

	for (start = t->first / PAGE * PAGE; start < t->first + t->count; start += PAGE)
		if (!settle_page(p, start, &refused))
			return false;
	return true;
}

static bool walk_step(struct pair *a, struct pair *b, bool scarce)
{
	unsigned long refused = shim_slab.refused;
	struct touched t = { 0, 0 };
	const char *did;

	shim_slab.grants = scarce ? random_below(&seed, 3) : SHIM_SLAB_NO_LIMIT;
	did = step(a, b, &t);
	if (settle(a, &t, shim_slab.refused - refused) && right(a) && right(b) &&
	    without_right(a, b) && without_right(b, a))
		return true;
	printf("# after %s\n", did);
	return false;
}

static void test_walk(u64 bits, bool scarce)
{
	unsigned long slept = shim_slab.slept;
	struct pair pair[2];
	unsigned int i, first, steps = bits < PAGE / 4 ? 400 : 120;

	pair_init(&pair[0], bits);
	pair_init(&pair[1], bits);
	for (i = 0; i < steps; i++) {
		first = random_below(&seed, 2);
		if (!walk_step(&pair[first], &pair[!first], scarce))
			break;
	}
	shim_slab.grants = SHIM_SLAB_NO_LIMIT;
	ok(i == steps && shim_slab.slept == slept + 2, "%llu bits, %s: as the oracle, never asleep",
	   bits, scarce ? "little memory" : "enough memory");
	pair_free(&pair[0]);
	pair_free(&pair[1]);
	if (shim_slab.live)
		ok(false, "%llu bits: %lu allocations are left", bits, shim_slab.live);
}

static void test_walks(void)
{
	static const u64 odd[] = { 1, 2, 100, 1000, PAGE + 8, PAGE + 63, 3 * PAGE - 1, 3 * PAGE,
				   3 * PAGE + 1, 3 * PAGE + 17 };
	unsigned long refused = shim_slab.refused;
	unsigned int i, shift;
	u64 bits;

	for (shift = 2; shift <= 16; shift++) {
		for (bits = (1u << shift) - 1; bits <= (1u << shift) + 1; bits++) {
			test_walk(bits, false);
			test_walk(bits, true);
		}
	}
	for (i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		test_walk(odd[i], false);
		test_walk(odd[i], true);
	}
	ok(shim_slab.refused > refused + 100, "memory really ran out: %lu times",
	   shim_slab.refused - refused);
}

/* --------------------------------------------------------- by example --- */

/* Four pages, the last of them short. */
enum { TAIL = 100, SMALL = 3 * PAGE + TAIL };

static struct map small_map(void)
{
	struct map map;

	need(!map_init(&map, SMALL), "a map");
	return map;
}

/* The next run from @from on is just this one. */
static void is_run(const struct map *map, u64 from, u64 first, u64 count, const char *name)
{
	u64 f = 0, n = 0;

	if (!ok(map_next(map, from, &f, &n) && f == first && n == count, "%s", name))
		printf("# expected %llu at %llu, got %llu at %llu\n", count, first, n, f);
}

static void test_init(void)
{
	struct map map = { 0 };

	map_free(&map);
	shim_slab.grants = 0;
	is_number(map_init(&map, SMALL), -ENOMEM, "no memory for a map: -ENOMEM");
	shim_slab.grants = SHIM_SLAB_NO_LIMIT;
	map_free(&map);
	is_number(shim_slab.live, 0, "freeing zeroes, or what did not begin, does nothing");

	map = small_map();
	ok(map_empty(&map) && map.pages == 4 && map.bits == SMALL, "a new map is empty");
	map_set(&map, 5, 5);
	map_free(&map);
	map_free(&map);
	is_number(shim_slab.live, 0, "a map can be freed twice");
	is_number(map.pages, 0, "... and has no pages that somebody would look at");
}

static void test_shortage(void)
{
	struct map map = small_map();
	u8 bytes[MAP_PAGE_BYTES] = { 0 };

	shim_slab.grants = 0;
	map_set(&map, PAGE + 7, 1);
	is_run(&map, 0, PAGE, PAGE, "no memory for a page: all of it is dirty, and no other");
	is_number(map.set, PAGE, "... and counted");
	map_set(&map, 3 * PAGE + 7, 1);
	is_run(&map, 2 * PAGE, 3 * PAGE, TAIL, "the short last page: as far as the map goes");
	is_number(map.set, PAGE + TAIL, "... and counted");
	map_set(&map, PAGE - 1, PAGE + 2);
	is_run(&map, 0, 0, SMALL, "a range without memory: every page that it touches");

	map_clear_all(&map);
	bytes[2] = 1;
	map_load_page(&map, 2, bytes);
	is_run(&map, 0, 2 * PAGE, PAGE, "a page loaded without memory is all dirty");
	bytes[2] = 0;
	map_load_page(&map, 2, bytes);
	ok(map_empty(&map), "a clean page is loaded without memory");

	shim_slab.grants = 1;
	map_set(&map, 3, 1);
	map_set(&map, PAGE + 3, 1);
	shim_slab.grants = SHIM_SLAB_NO_LIMIT;
	is_run(&map, 0, 3, 1, "memory for one page of two: that one is exact");
	is_run(&map, 4, PAGE, PAGE, "... and the other all dirty");
	map_set(&map, PAGE + 5, 9);
	is_number(map.set, PAGE + 1, "memory comes back: what is dirty stays so");
	map_free(&map);
}

/* Bits on both sides of what was the end, in each of the kinds of page that may be the last one. */
static void test_grow(void)
{
	static const u64 sizes[] = { SMALL + 1, 4 * PAGE - 1, 4 * PAGE, 4 * PAGE + 1, 9 * PAGE + 7 };
	struct map map, larger;
	unsigned int i, kind;
	bool right = true;

	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		for (kind = 0; kind < 3; kind++) {
			map = small_map();
			map_set(&map, 7, 1);
			if (kind)
				map_set(&map, 3 * PAGE, kind == 1 ? 3 : TAIL);
			need(!map_init(&larger, sizes[i]), "a map");
			map_grow(&map, &larger);
			map_free(&larger);
			right &= map.bits == sizes[i] && is_set(&map, 7) && !is_set(&map, 8) &&
				 is_set(&map, 3 * PAGE + 2) == !!kind &&
				 is_set(&map, SMALL - 1) == (kind == 2) && is_set(&map, SMALL) &&
				 is_set(&map, sizes[i] - 1) &&
				 map.set == 1 + (kind == 1 ? 3 : kind ? TAIL : 0) + sizes[i] - SMALL;
			map_clear_all(&map);
			right &= map_empty(&map);
			map_free(&map);
		}
	}
	ok(right, "a map that grows keeps its bits, and has the new ones set");
	is_number(shim_slab.live, 0, "... and both shells can be freed");
}

static void test_memory(void)
{
	struct map map = small_map(), other = small_map();

	is_number(shim_slab.live, 2, "an empty map has no pages");
	map_set(&map, 0, map.bits);
	is_number(shim_slab.live, 2, "nor has one that is all dirty");
	map_clear_all(&map);
	map_set(&map, PAGE, 2 * PAGE + TAIL);
	is_number(shim_slab.live, 2, "nor one with whole pages set");
	map_clear_all(&map);
	map_set(&map, PAGE / 2, 2 * PAGE);
	is_number(shim_slab.live, 4, "a range has pages only at its ends");
	map_set(&map, 0, PAGE);
	is_number(shim_slab.live, 3, "a page that becomes all dirty is given back");

	map_set(&other, 1, 1);
	map_set(&other, 2 * PAGE + PAGE - 1, 1);
	map_set(&other, 3 * PAGE, 1);
	shim_slab.grants = 0;
	map_merge(&map, &other);
	shim_slab.grants = SHIM_SLAB_NO_LIMIT;
	ok(map_empty(&other) && shim_slab.live == 4, "a merge takes no memory, and gives back");
	is_run(&map, 0, 0, 2 * PAGE + PAGE / 2, "a merge keeps the bits that were there");
	is_run(&map, 2 * PAGE + PAGE / 2, 3 * PAGE - 1, 2, "... and adds the other's");
	is_number(map.set, 2 * PAGE + PAGE / 2 + 2, "... and counts them");
	map_clear_all(&map);
	is_number(shim_slab.live, 2, "clearing gives all pages back");
	map_free(&map);
	map_free(&other);
	is_number(shim_slab.live, 0, "freeing gives everything back");
}

static void test_ends(void)
{
	struct map map = small_map();
	u8 bytes[MAP_PAGE_BYTES];
	unsigned long live;

	map_set(&map, SMALL, 1);
	map_set(&map, SMALL + 1, UINT64_MAX);
	map_set(&map, UINT64_MAX, UINT64_MAX);
	map_set(&map, 0, 0);
	map_set(&map, SMALL - 1, 0);
	ok(map_empty(&map), "nothing is set beyond the end, or by a count of zero");
	map_set(&map, SMALL - 2, UINT64_MAX);
	is_run(&map, 0, SMALL - 2, 2, "a range that goes beyond the end stops there");
	map_clear_all(&map);

	memset(bytes, 0, sizeof(bytes));
	memset(bytes + TAIL / 8 + 1, 0xff, sizeof(bytes) - TAIL / 8 - 1);
	bytes[TAIL / 8] = (0xff << TAIL % 8) & 0xff;
	map_load_page(&map, 3, bytes);
	ok(map_empty(&map), "bits beyond the end are not loaded");
	is_number(shim_slab.live, 1, "... and take no memory");
	memset(bytes, 0xff, sizeof(bytes));
	map_load_page(&map, 3, bytes);
	is_number(map.set, TAIL, "nor are they counted");
	live = shim_slab.live;
	map_load_page(&map, 1, bytes);
	is_number(shim_slab.live, live, "a whole page that is all dirty is loaded without memory");
	is_number(map.set, PAGE + TAIL, "... and counted");
	map_set(&map, 0, map.bits);
	is_number(map.set, SMALL, "nor when all is set");
	map_save_page(&map, 3, bytes);
	map_load_page(&map, 3, bytes);
	is_number(map.set, SMALL, "nor when that is written out and read back");
	map_free(&map);
}

/* No oracle is as large: what may go wrong here is a number that is cut to 32 bits. */
static void test_huge(void)
{
	const u64 at = (1ull << 32) + 3 * PAGE + 5;
	struct map map, other;

	need(!map_init(&map, HUGE_BITS) && !map_init(&other, HUGE_BITS), "two maps of 2^38 bits");
	map_set(&map, at, 1);
	is_run(&map, 0, at, 1, "2^38 bits: a bit beyond 2^32 is found");
	ok(is_set(&map, at) && !is_set(&map, at - (1ull << 32)), "... and is no other");
	map_set(&other, 1ull << 37, 1ull << 36);
	map_set(&other, HUGE_BITS - 1, UINT64_MAX);
	is_run(&other, 0, 1ull << 37, 1ull << 36, "a run of 2^36");
	is_run(&other, 3ull << 36, HUGE_BITS - 1, 1, "the last bit");
	map_merge(&map, &other);
	ok(map.set == (1ull << 36) + 2 && map_empty(&other), "merged, and counted");
	map_swap(&map, &other);
	ok(other.set == (1ull << 36) + 2 && map_empty(&map), "swapped");
	map_set(&other, 0, other.bits);
	is_run(&other, 0, 0, HUGE_BITS, "all of it is one run");
	ok(other.set == HUGE_BITS && shim_slab.live == 2, "... counted, without a page");
	map_free(&map);
	map_free(&other);
}

int main(void)
{
	seed = random_seed();
	test_init();
	test_grow();
	test_shortage();
	test_memory();
	test_ends();
	test_huge();
	test_walks();
	return tap_end();
}
