/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SHIM_LINUX_CRC32C_H
#define SHIM_LINUX_CRC32C_H

#include <linux/types.h>

/** crc32c - the bare remainder, one bit at a time: the caller inverts it before and after */
static inline u32 crc32c(u32 crc, const void *data, unsigned int bytes)
{
	const u8 *at = data;
	unsigned int bit;

	for (; bytes; at++, bytes--) {
		crc ^= *at;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return crc;
}

#endif /* SHIM_LINUX_CRC32C_H */
