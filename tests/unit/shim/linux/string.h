/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SHIM_LINUX_STRING_H
#define SHIM_LINUX_STRING_H

#include <string.h>

/** memchr_inv - the first byte that is not @value; NULL when all are */
static inline void *memchr_inv(const void *start, int value, size_t bytes)
{
	const unsigned char *at = start;

	for (; bytes; at++, bytes--)
		if (*at != (unsigned char)value)
			return (void *)at;
	return NULL;
}

#endif /* SHIM_LINUX_STRING_H */
