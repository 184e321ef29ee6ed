/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The region log: which regions may have changed since the slot maps on disk were
 * last brought up to date.  After an unclean stop the blocks of these regions are
 * dirty for every slot, and no others: so a crash costs little copying, and a write
 * into a region that is logged already costs nothing.
 *
 * Invariant, on disk at every instant: for each slot that is not FULL, its map's image
 * together with the log covers every bit of its map in memory that matters.
 */
#ifndef REPL_LOG_H
#define REPL_LOG_H

#include "volume.h"

void log_prepare(struct volume *v);
int log_alloc(struct volume *v, struct region_log *log, u64 size, struct why *why);
void log_free(struct region_log *log);
int log_load(struct volume *v, struct why *why);
void log_mark_slot(struct volume *v, struct slot *slot);
int log_reset(struct volume *v, struct why *why);
int log_copy(struct volume *v, struct region_log *larger, u64 offset);
void log_grow(struct volume *v, struct region_log *larger);
void log_stop(struct volume *v);

void log_begin(struct volume *v);
void log_end(struct volume *v);
bool log_has(const struct volume *v, u64 offset, u64 length);
bool log_covers(const struct volume *v, u64 offset, u64 length);
void log_want(struct volume *v, u64 offset, u64 length);
u8 log_enter(struct volume *v, u64 offset, u64 length);
void log_leave(struct volume *v, u8 period);
void log_untold(struct volume *v);

#endif /* REPL_LOG_H */
