/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A backing device: where a volume's blocks, or its metadata, live locally.
 * Held exclusively as long as the volume is up.
 */
#ifndef REPL_BACKING_H
#define REPL_BACKING_H

#include <linux/blkdev.h>
#include "compat.h"
#include "ticket.h"

struct backing {
	struct compat_bdev handle;
	struct block_device *bdev;	/* NULL: not open */
	u64 bytes;
};

int backing_devt(int fd, dev_t *devt, const char *what, struct why *why);
int backing_open(struct backing *backing, dev_t devt, void *holder, struct why *why);
void backing_close(struct backing *backing);
int backing_io(struct backing *backing, blk_opf_t opf, u64 offset, struct page *page);
int backing_zero(struct backing *backing, u64 offset, u64 bytes, bool unmap);

#endif /* REPL_BACKING_H */
