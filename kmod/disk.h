/* SPDX-License-Identifier: GPL-2.0-only */
/* /dev/replN: what the block layer and file systems see of a volume. */
#ifndef REPL_DISK_H
#define REPL_DISK_H

#include "volume.h"

int disk_create(struct volume *v, struct why *why);
void disk_destroy(struct volume *v);
bool disk_is_ours(dev_t devt);

int disk_init(void);
void disk_exit(void);

#endif /* REPL_DISK_H */
