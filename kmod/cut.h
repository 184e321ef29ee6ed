/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef REPL_CUT_H
#define REPL_CUT_H

#include "volume.h"

int cut_create(struct volume *v, u8 index, u32 flags, struct why *why);
u64 cut_blocks(const struct cut *cut);
void cut_join_page(const struct cut *cut, unsigned long index, void *bytes);

#endif /* REPL_CUT_H */
