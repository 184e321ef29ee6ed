/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What already lies on a device. */
#ifndef REPL_SIGNATURE_H
#define REPL_SIGNATURE_H

#include <stddef.h>
#include <stdint.h>

#include "device.h"
#include "err.h"

/**
 * signature_find - name every file system, raid, swap or partition table on a device
 * @text: a list in words, of @size bytes; "" when there is none
 * Return: how many there are, or -errno.
 */
int signature_find(const struct device *d, char *text, size_t size, struct err *e);

/**
 * signature_find_copy - a copy of a repl volume, which no library knows
 * @end: where its metadata would end: place_find()
 * @text: what it is, in words, of @size bytes; "" when there is none
 * Return: 1, 0 when there is none, or -errno.
 */
int signature_find_copy(const struct device *d, uint64_t end, char *text, size_t size,
			struct err *e);

/**
 * signature_reach - how far the file system on a device reaches
 * @end: bytes from the device's start; the first byte that it does not claim
 * Return: 0, -ENOTSUP when what lies there does not tell, or -errno.
 */
int signature_reach(const struct device *d, uint64_t *end, struct err *e);

#endif /* REPL_SIGNATURE_H */
