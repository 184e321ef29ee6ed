/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Little-endian bitmaps, byte by byte: the same on every machine, and exact about where they end. */
#ifndef SHIM_LINUX_BITOPS_H
#define SHIM_LINUX_BITOPS_H

#include <linux/types.h>

static inline int test_bit_le(int bit, const void *map)
{
	return ((const u8 *)map)[bit / 8] >> bit % 8 & 1;
}

static inline int __test_and_set_bit_le(int bit, void *map)
{
	int old = test_bit_le(bit, map);

	((u8 *)map)[bit / 8] |= 1u << bit % 8;
	return old;
}

/* The first bit of @size from @from on whose byte, after exclusive or with @flip, has it set. */
static inline unsigned long shim_find_bit(const u8 *map, unsigned long size, unsigned long from,
					  u8 flip)
{
	while (from < size) {
		unsigned int rest = (u8)(map[from / 8] ^ flip) >> from % 8;

		if (rest) {
			from += __builtin_ctz(rest);
			return from < size ? from : size;
		}
		from = (from / 8 + 1) * 8;
	}
	return size;
}

static inline unsigned long find_next_bit_le(const void *map, unsigned long size,
					     unsigned long from)
{
	return shim_find_bit(map, size, from, 0);
}

static inline unsigned long find_next_zero_bit_le(const void *map, unsigned long size,
						  unsigned long from)
{
	return shim_find_bit(map, size, from, 0xff);
}

#endif /* SHIM_LINUX_BITOPS_H */
