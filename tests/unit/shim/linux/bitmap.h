/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SHIM_LINUX_BITMAP_H
#define SHIM_LINUX_BITMAP_H

#include <linux/bitops.h>

/* Both are for whole words only: there the order of bytes does not matter. */
#define SHIM_WORDS(bits) ((bits) / (8 * sizeof(unsigned long)))

static inline unsigned int bitmap_weight(const unsigned long *map, unsigned int bits)
{
	unsigned int i, weight = 0;

	for (i = 0; i < SHIM_WORDS(bits); i++)
		weight += __builtin_popcountl(map[i]);
	return weight;
}

static inline void bitmap_or(unsigned long *to, const unsigned long *a, const unsigned long *b,
			     unsigned int bits)
{
	unsigned int i;

	for (i = 0; i < SHIM_WORDS(bits); i++)
		to[i] = a[i] | b[i];
}

#endif /* SHIM_LINUX_BITMAP_H */
