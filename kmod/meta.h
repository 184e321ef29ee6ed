/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A volume's metadata on disk: superblock copies and slot maps.  Only control
 * reads and writes them (volume.h, rule 2).
 */
#ifndef REPL_META_H
#define REPL_META_H

#include "volume.h"

int meta_read(struct volume *v, const u64 *known_end, struct why *why);
struct repl_super *meta_edit(struct volume *v);
int meta_commit(struct volume *v, struct why *why);
int meta_load_maps(struct volume *v, struct why *why);
int meta_save_maps(struct volume *v, bool *count, struct why *why);
void meta_maps_count(struct repl_super *s);

static inline bool id_equal(const struct repl_id *a, const struct repl_id *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static inline bool id_is_zero(const struct repl_id *a)
{
	return !memchr_inv(a, 0, sizeof(*a));
}

#endif /* REPL_META_H */
