/* SPDX-License-Identifier: GPL-2.0-only */
/* Where a copy's metadata lie, and how much data they can describe: arithmetic alone. */
#ifndef REPL_SHAPE_H
#define REPL_SHAPE_H

#include <linux/types.h>
#include <repl/format.h>

bool shape_ok(const struct repl_super *s, u64 data_bytes, u64 meta_bytes);
u64 shape_lacks(const struct repl_super *s, u64 size, u64 meta_bytes);
u64 shape_room(const struct repl_super *s, u64 data_bytes, u64 meta_bytes);
void shape_grow(struct repl_super *s, u64 size, u64 meta_bytes);

#endif /* REPL_SHAPE_H */
