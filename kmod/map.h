/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A bitmap that is built of pages on demand.
 *
 * A page that is all clean or all dirty takes no memory: its pointer is NULL or
 * MAP_ALL.  Setting bits therefore never fails: without memory for a page the
 * whole page becomes dirty, which costs copying and loses nothing.  Where a bit too
 * many would be wrong, map_try_set() says that there was none.
 *
 * A map has no lock: each belongs to something that has one, named where the
 * map is a member.  All functions but map_init() and map_free() may be called
 * in any context.
 */
#ifndef REPL_MAP_H
#define REPL_MAP_H

#include <linux/types.h>

enum map_geometry {
	MAP_PAGE_BYTES	= 4096,		/* as on disk, whatever the machine's pages are */
	MAP_PAGE_SHIFT	= 15,
	MAP_PAGE_BITS	= 1 << MAP_PAGE_SHIFT,
};

struct map {
	u64 bits;		/* how many there are */
	u64 set;		/* how many of them are one */
	unsigned long pages;
	void **page;		/* NULL, MAP_ALL, or MAP_PAGE_BYTES of bits, little-endian */
};

int map_init(struct map *map, u64 bits);
void map_free(struct map *map);
void map_set(struct map *map, u64 first, u64 count);
bool map_try_set(struct map *map, u64 first, u64 count);
void map_clear_all(struct map *map);
bool map_next(const struct map *map, u64 from, u64 *first, u64 *count);
bool map_next_without(const struct map *map, const struct map *without, u64 from, u64 end,
		      u64 *first, u64 *count);
void map_merge(struct map *into, struct map *from);
void map_swap(struct map *a, struct map *b);
void map_grow(struct map *map, struct map *larger);
void map_load_page(struct map *map, unsigned long index, const void *bytes);
void map_save_page(const struct map *map, unsigned long index, void *bytes);
void map_join_page(const struct map *map, unsigned long index, void *bytes);

static inline bool map_page_empty(const struct map *map, unsigned long index)
{
	return !map->page[index];
}

static inline bool map_empty(const struct map *map)
{
	return !map->set;
}

#endif /* REPL_MAP_H */
