/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A volume's metadata on disk: superblock copies and slot maps.  Only control
 * reads and writes them (volume.h, rule 2); the region log is in log.c.
 */
#ifndef REPL_META_H
#define REPL_META_H

#include "volume.h"

int meta_find(struct volume *v, struct backing *data, struct backing *meta, const u64 *known_end,
	      u8 *copy, struct why *why);
bool meta_on_data(struct volume *v);
int meta_read(struct volume *v, const u64 *known_end, struct why *why);
struct repl_super *meta_edit(struct volume *v);
int meta_commit(struct volume *v, struct why *why);
int meta_settle(struct volume *v, struct why *why);
int meta_wipe(struct volume *v, const struct repl_super *s);
int meta_give_up(struct volume *v, struct why *why);
int meta_distrust(struct volume *v, struct why *why);
void meta_maps_lost(struct volume *v);
int meta_load_maps(struct volume *v, struct why *why);
int meta_checkpoint(struct volume *v, bool yield, struct why *why);
int meta_save_maps(struct volume *v, struct why *why);
void meta_maps_count(struct repl_super *s);
u64 meta_log_offset(const struct volume *v);

static inline bool id_equal(const struct repl_id *a, const struct repl_id *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static inline bool id_is_zero(const struct repl_id *a)
{
	return !memchr_inv(a, 0, sizeof(*a));
}

#endif /* REPL_META_H */
