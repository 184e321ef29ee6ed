/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Slots: the consumers of a volume's changes.  For each write and each slot
 * exactly one holds: it goes over the slot's link, or its bits are set.
 */
#ifndef REPL_SLOT_H
#define REPL_SLOT_H

#include "volume.h"

int slot_alloc_maps(u64 size, struct slot *maps);
void slot_free_maps(struct slot *maps);
void slot_touch_page(struct volume *v, struct slot *slot, unsigned long page);
void slot_touch_map(struct volume *v, struct slot *slot, const struct map *gone);
void slot_mark(struct volume *v, struct slot *slot, u64 offset, u64 length);
void slot_end_links(struct volume *v, const char *reason);
bool slot_any_closing(const struct volume *v);
bool slot_any_peer(const struct repl_super *s);
bool slot_not_joinable(struct volume *v, struct slot *slot, struct why *why);
u64 slot_dirty(const struct slot *slot);

int slot_set(struct op *op, struct why *why);
int slot_mark_extents(struct op *op, struct why *why);
int slot_follow(struct op *op, struct why *why);
int slot_commit(struct op *op, struct why *why);
int slot_join(struct op *op, struct why *why);
void slot_join_drop(struct op *op);
int slot_leave(struct op *op, struct why *why);

#endif /* REPL_SLOT_H */
