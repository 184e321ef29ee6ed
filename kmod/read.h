/* SPDX-License-Identifier: GPL-2.0-only */
/* Reads that a live peer can serve: all when the disk here is gone, else those it fails. */
#ifndef REPL_READ_H
#define REPL_READ_H

#include "volume.h"

void read_submit(struct volume *v, struct bio *bio);
int read_init_volume(struct volume *v);
void read_exit_volume(struct volume *v);

/* Else a read is the disk's alone. */
static inline bool read_has_peer(const struct volume *v)
{
	return READ_ONCE(v->live) || READ_ONCE(v->diskless);
}

#endif /* REPL_READ_H */
