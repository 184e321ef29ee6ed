/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which blocks have come already, when they come in any order.  Pieces of 128 MiB of which
 * none or all blocks have come take no memory but a pointer; the worst case is 32 MiB per TiB.
 */
#ifndef REPL_LIB_SEEN_H
#define REPL_LIB_SEEN_H

#include <stdbool.h>
#include <stdint.h>

struct seen;

/** seen_new - nothing has come. Return: NULL without memory. */
struct seen *seen_new(uint64_t blocks);
void seen_free(struct seen *s);

/** seen_any - whether one of @count blocks from @first has come; all within the bounds */
bool seen_any(const struct seen *s, uint64_t first, uint64_t count);

/** seen_add - they have come. Return: 0 or -ENOMEM, then perhaps some of them have. */
int seen_add(struct seen *s, uint64_t first, uint64_t count);

#endif /* REPL_LIB_SEEN_H */
