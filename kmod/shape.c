// SPDX-License-Identifier: GPL-2.0-only
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include "map.h"
#include "shape.h"

enum { SECTOR_BITS = 9 };

static u64 align_down(u64 bytes)
{
	return bytes & ~(u64)(REPL_META_ALIGN - 1);
}

static bool is_external(const struct repl_super *s)
{
	return le32_to_cpu(s->flags) & REPL_SB_EXTERNAL;
}

/* A bit for each 1 << @shift bytes of @size, in whole pages. */
static u64 bitmap_bytes(u64 size, unsigned int shift)
{
	u64 bits = (size + (1ull << shift) - 1) >> shift;

	return (bits + MAP_PAGE_BITS - 1) / MAP_PAGE_BITS * MAP_PAGE_BYTES;
}

/* Of the whole metadata area for @size bytes of data. */
static u64 area_bytes(const struct repl_super *s, u64 size)
{
	return s->slots * bitmap_bytes(size, REPL_BLOCK_SHIFT) +
	       bitmap_bytes(size, s->region_shift) + REPL_SB_COPIES * REPL_SB_BYTES;
}

static u64 area_end(const struct repl_super *s)
{
	return le64_to_cpu(s->meta_offset) + le64_to_cpu(s->meta_size);
}

/**
 * shape_ok() - do the parts lie within their devices, and not over each other?
 * @s: with a valid checksum, but whatever numbers
 * @data_bytes: of the data's device
 * @meta_bytes: of the device that the metadata lie on, perhaps the same
 */
bool shape_ok(const struct repl_super *s, u64 data_bytes, u64 meta_bytes)
{
	u64 size = le64_to_cpu(s->data_size);
	u64 start = le64_to_cpu(s->meta_offset);
	u64 area = le64_to_cpu(s->meta_size);
	u64 map = le64_to_cpu(s->map_bytes);
	u64 maps = map * s->slots;
	u64 log = le64_to_cpu(s->log_bytes);

	if (!s->slots || s->slots > REPL_SLOTS_MAX || s->block_shift != REPL_BLOCK_SHIFT ||
	    s->lbs_shift < SECTOR_BITS || s->lbs_shift > REPL_BLOCK_SHIFT ||
	    s->region_shift < REPL_REGION_SHIFT_MIN || s->region_shift > REPL_REGION_SHIFT_MAX)
		return false;
	if (size < REPL_DATA_MIN || size > REPL_DATA_MAX || size % REPL_BLOCK_BYTES ||
	    size > data_bytes || (!is_external(s) && size > start))
		return false;
	if (map % REPL_META_ALIGN || map > REPL_DATA_MAX ||
	    map < bitmap_bytes(size, REPL_BLOCK_SHIFT) ||
	    le64_to_cpu(s->log_offset) != maps || log > REPL_DATA_MAX || log % REPL_META_ALIGN ||
	    log < bitmap_bytes(size, s->region_shift))
		return false;
	return start % REPL_META_ALIGN == 0 && area <= meta_bytes && start <= meta_bytes - area &&
	       area == maps + log + REPL_SB_COPIES * REPL_SB_BYTES;
}

/* The metadata can describe @size bytes where they are. */
static bool stays(const struct repl_super *s, u64 size)
{
	return (is_external(s) || size <= le64_to_cpu(s->meta_offset)) &&
	       bitmap_bytes(size, REPL_BLOCK_SHIFT) <= le64_to_cpu(s->map_bytes) &&
	       bitmap_bytes(size, s->region_shift) <= le64_to_cpu(s->log_bytes);
}

/**
 * shape_lacks() - how much larger must the metadata's device be for that much data?
 * @s: a good one
 * @size: bytes of data, at most REPL_DATA_MAX
 * @meta_bytes: of the device that the metadata lie on
 *
 * A new area may not overlap the old one, which counts until the new one is whole.
 *
 * Return: bytes; 0 when it is large enough.
 */
u64 shape_lacks(const struct repl_super *s, u64 size, u64 meta_bytes)
{
	u64 need = max(area_end(s), is_external(s) ? 0 : size) + area_bytes(s, size);
	u64 end = align_down(meta_bytes);

	return stays(s, size) || need <= end ? 0 : need - end;
}

/**
 * shape_room() - how large may the data become?
 * @s: a good one
 * @data_bytes: of the data's device, now
 * @meta_bytes: of the device that the metadata lie on, now
 *
 * Return: bytes, at least as many as there are.
 */
u64 shape_room(const struct repl_super *s, u64 data_bytes, u64 meta_bytes)
{
	u64 room = min(le64_to_cpu(s->map_bytes) * 8 << REPL_BLOCK_SHIFT,
		       le64_to_cpu(s->log_bytes) * 8 << s->region_shift);
	u64 most = align_down(data_bytes);

	if (!is_external(s)) {
		room = min(room, le64_to_cpu(s->meta_offset));
		most -= min(most, area_bytes(s, most));
	}
	/* The machine's bit operations go no further than INT_MAX regions. */
	most = min3(most, (u64)REPL_DATA_MAX, (u64)INT_MAX << s->region_shift);
	if (most > room && shape_lacks(s, most, meta_bytes))
		most = room;
	most = min(most, align_down(data_bytes));
	return max(most, le64_to_cpu(s->data_size));
}

/**
 * shape_grow() - describe a larger volume, with the metadata at the end of their device if need be
 * @s: to change
 * @size: at most shape_room()
 * @meta_bytes: of the device that the metadata lie on
 */
void shape_grow(struct repl_super *s, u64 size, u64 meta_bytes)
{
	if (!stays(s, size)) {
		u64 map = bitmap_bytes(size, REPL_BLOCK_SHIFT);
		u64 area = area_bytes(s, size);

		s->meta_offset = cpu_to_le64(align_down(meta_bytes) - area);
		s->meta_size = cpu_to_le64(area);
		s->map_bytes = cpu_to_le64(map);
		s->log_offset = cpu_to_le64(map * s->slots);
		s->log_bytes = cpu_to_le64(bitmap_bytes(size, s->region_shift));
	}
	s->data_size = cpu_to_le64(size);
}
