/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ranges of the volume in which only one does something at a time: a write in flight while a
 * link is live, a repair, a piece that is copied to a new disk.
 */
#ifndef REPL_RANGE_H
#define REPL_RANGE_H

#include "volume.h"

/* Part of the volume that must not be written meanwhile.  Guarded by volume->io_lock. */
struct span {
	struct rb_node node;		/* volume->writes_by_range */
	sector_t start, last, subtree_last;
};

bool range_take(struct volume *v, struct span *range);
void range_claim(struct volume *v, struct span *range);
bool range_alone(struct volume *v, struct span *range);
bool range_busy(struct volume *v, const struct span *range);
void range_release(struct volume *v, struct span *range);

#endif /* REPL_RANGE_H */
