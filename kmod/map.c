// SPDX-License-Identifier: GPL-2.0-only
/* See map.h for what a map is and who locks it. */
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>
#include "map.h"

#define MAP_ALL ((void *)1)

/* How many bits the page has: all of them, but for the last one. */
static u64 page_bits(const struct map *map, unsigned long index)
{
	return min_t(u64, MAP_PAGE_BITS, map->bits - ((u64)index << MAP_PAGE_SHIFT));
}

static u64 page_set(const struct map *map, unsigned long index)
{
	const void *page = map->page[index];

	if (!page)
		return 0;
	if (page == MAP_ALL)
		return page_bits(map, index);
	return bitmap_weight(page, MAP_PAGE_BITS);
}

static void page_drop(struct map *map, unsigned long index)
{
	if (map->page[index] != MAP_ALL)
		kfree(map->page[index]);
	map->page[index] = NULL;
}

static void page_set_all(struct map *map, unsigned long index)
{
	map->set += page_bits(map, index) - page_set(map, index);
	page_drop(map, index);
	map->page[index] = MAP_ALL;
}

/*
 * Bits @first to @first + @count - 1 of one page, which is not MAP_ALL.  Return: false, with
 * none set, without memory.
 */
static bool page_set_range(struct map *map, unsigned long index, unsigned int first,
			   unsigned int count)
{
	void *page = map->page[index];

	if (!page) {
		page = kzalloc(MAP_PAGE_BYTES, GFP_ATOMIC | __GFP_NOWARN);
		if (!page)
			return false;
		map->page[index] = page;
	}
	for (; count; first++, count--)
		if (!__test_and_set_bit_le(first, page))
			map->set++;
	return true;
}

/**
 * map_init() - make an empty map
 * @map: to fill in
 * @bits: how many bits it has, at least one
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int map_init(struct map *map, u64 bits)
{
	map->bits = bits;
	map->set = 0;
	map->pages = (bits + MAP_PAGE_BITS - 1) >> MAP_PAGE_SHIFT;
	map->page = kvcalloc(map->pages, sizeof(*map->page), GFP_KERNEL);
	return map->page ? 0 : -ENOMEM;
}

/**
 * map_free() - give back all memory
 * @map: a map, or zeroes
 *
 * Context: may sleep.
 */
void map_free(struct map *map)
{
	if (!map->page)
		return;
	map_clear_all(map);
	kvfree(map->page);
	map->page = NULL;
	map->pages = 0;
}

/* Without memory for a page: with @more, all of its bits are set, else nothing more, and false. */
static bool set(struct map *map, u64 first, u64 count, bool more)
{
	if (first >= map->bits)
		return true;
	count = min(count, map->bits - first);
	while (count) {
		unsigned long index = first >> MAP_PAGE_SHIFT;
		unsigned int in_page = first & (MAP_PAGE_BITS - 1);
		unsigned int n = min_t(u64, count, page_bits(map, index) - in_page);

		if (n == page_bits(map, index))
			page_set_all(map, index);
		else if (map->page[index] != MAP_ALL &&
			 !page_set_range(map, index, in_page, n)) {
			if (!more)
				return false;
			page_set_all(map, index);
		}
		first += n;
		count -= n;
	}
	return true;
}

/**
 * map_set() - set @count bits from @first on
 * @map: the map
 * @first: the first bit
 * @count: how many bits; what lies beyond the end of the map is ignored
 */
void map_set(struct map *map, u64 first, u64 count)
{
	/* One block, set already: most writes go where others went before. */
	if (count == 1 && first < map->bits) {
		const void *page = map->page[first >> MAP_PAGE_SHIFT];

		if (page == MAP_ALL || (page && test_bit_le(first & (MAP_PAGE_BITS - 1), page)))
			return;
	}
	set(map, first, count, true);
}

/**
 * map_try_set() - set @count bits from @first on, and no others
 * @map: the map
 * @first: the first bit
 * @count: how many bits; what lies beyond the end of the map is ignored
 *
 * Return: false when some of them are not set, for want of memory.
 */
bool map_try_set(struct map *map, u64 first, u64 count)
{
	return set(map, first, count, false);
}

/**
 * map_clear_all() - clear every bit
 * @map: the map; afterwards its pages take no memory
 */
void map_clear_all(struct map *map)
{
	unsigned long i;

	for (i = 0; i < map->pages; i++)
		page_drop(map, i);
	map->set = 0;
}

/* The first bit from @from on that is @value; @end, of the map or less, when there is none. */
static u64 find(const struct map *map, u64 from, u64 end, bool value)
{
	while (from < end) {
		unsigned long index = from >> MAP_PAGE_SHIFT;
		u64 start = (u64)index << MAP_PAGE_SHIFT;
		unsigned long size = min_t(u64, MAP_PAGE_BITS, end - start);
		const void *page = map->page[index];
		unsigned long bit;

		if (!page || page == MAP_ALL)
			bit = !!page == value ? from - start : size;
		else if (value)
			bit = find_next_bit_le(page, size, from - start);
		else
			bit = find_next_zero_bit_le(page, size, from - start);
		if (bit < size)
			return start + bit;
		from = start + size;
	}
	return end;
}

/**
 * map_next() - find the next run of set bits
 * @map: the map
 * @from: where to begin
 * @first: the run's first bit
 * @count: its length
 *
 * Return: false when there is none.
 */
bool map_next(const struct map *map, u64 from, u64 *first, u64 *count)
{
	*first = find(map, from, map->bits, true);
	if (*first == map->bits)
		return false;
	*count = find(map, *first, map->bits, false) - *first;
	return true;
}

/**
 * map_next_without() - find the next run of bits that are set in one map and not in another
 * @map: the one
 * @without: the other, of the same size
 * @from: where to begin
 * @end: where to stop: nothing from there on counts
 * @first: the run's first bit
 * @count: its length
 *
 * Return: false when there is none.
 */
bool map_next_without(const struct map *map, const struct map *without, u64 from, u64 end,
		      u64 *first, u64 *count)
{
	end = min(end, map->bits);
	while (from < end) {
		u64 set = find(map, from, end, true);

		from = find(without, set, end, false);
		if (from == set)
			break;
	}
	if (from >= end)
		return false;
	*first = from;
	end = find(map, from, end, false);
	*count = find(without, from, end, true) - from;
	return true;
}

/**
 * map_merge() - set in one map all bits of another
 * @into: keeps its own bits
 * @from: of the same size; empty afterwards
 */
void map_merge(struct map *into, struct map *from)
{
	unsigned long i;

	for (i = 0; i < from->pages; i++) {
		if (!from->page[i])
			continue;
		if (from->page[i] == MAP_ALL) {
			page_set_all(into, i);
		} else if (!into->page[i]) {
			swap(into->page[i], from->page[i]);
			into->set += page_set(into, i);
		} else if (into->page[i] != MAP_ALL) {
			into->set -= page_set(into, i);
			bitmap_or(into->page[i], into->page[i], from->page[i], MAP_PAGE_BITS);
			into->set += page_set(into, i);
		}
	}
	map_clear_all(from);
}

/**
 * map_swap() - exchange two maps of the same size
 * @a: one
 * @b: the other
 */
void map_swap(struct map *a, struct map *b)
{
	swap(*a, *b);
}

/**
 * map_grow() - give a map more bits, which are set
 * @map: the map
 * @larger: empty, with as many bits as there shall be; afterwards the old shell, with nothing in it
 */
void map_grow(struct map *map, struct map *larger)
{
	unsigned long last = map->pages - 1;

	memcpy(larger->page, map->page, map->pages * sizeof(*map->page));
	memset(map->page, 0, map->pages * sizeof(*map->page));
	larger->set = map->set;
	/* All dirty, it has more bits now. */
	if (larger->page[last] == MAP_ALL)
		larger->set += page_bits(larger, last) - page_bits(map, last);
	map_set(larger, map->bits, larger->bits - map->bits);
	map->set = 0;
	map_swap(map, larger);
}

/**
 * map_load_page() - replace one page by what was on disk
 * @map: the map
 * @index: which page
 * @bytes: MAP_PAGE_BYTES of them; bits beyond the map's end are ignored
 */
void map_load_page(struct map *map, unsigned long index, const void *bytes)
{
	unsigned int size = page_bits(map, index);
	unsigned int bit;

	map->set -= page_set(map, index);
	page_drop(map, index);
	if (!memchr_inv(bytes, 0, MAP_PAGE_BYTES))
		return;
	if (size == MAP_PAGE_BITS && !memchr_inv(bytes, 0xff, MAP_PAGE_BYTES)) {
		page_set_all(map, index);
		return;
	}
	for (bit = find_next_bit_le(bytes, size, 0); bit < size;
	     bit = find_next_bit_le(bytes, size, bit + 1)) {
		if (page_set_range(map, index, bit, 1))
			continue;
		page_set_all(map, index);
		return;
	}
}

/**
 * map_save_page() - write one page out as it stands on disk
 * @map: the map
 * @index: which page
 * @bytes: MAP_PAGE_BYTES to fill
 */
void map_save_page(const struct map *map, unsigned long index, void *bytes)
{
	const void *page = map->page[index];

	if (page && page != MAP_ALL)
		memcpy(bytes, page, MAP_PAGE_BYTES);
	else
		memset(bytes, page ? 0xff : 0, MAP_PAGE_BYTES);
}

/**
 * map_join_page() - set in an image of a page what is set in the map, too
 * @map: the map
 * @index: which page
 * @bytes: MAP_PAGE_BYTES
 */
void map_join_page(const struct map *map, unsigned long index, void *bytes)
{
	const void *page = map->page[index];

	if (page == MAP_ALL)
		memset(bytes, 0xff, MAP_PAGE_BYTES);
	else if (page)
		bitmap_or(bytes, bytes, page, MAP_PAGE_BITS);
}
