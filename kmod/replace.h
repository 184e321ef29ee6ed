/* SPDX-License-Identifier: GPL-2.0-only */
/* A primary that goes on without its disk is given a new one, and fills it. */
#ifndef REPL_REPLACE_H
#define REPL_REPLACE_H

#include "volume.h"

int replace(struct op *op, struct why *why);
void replace_broken(struct volume *v);
void replace_end(struct volume *v);
bool replace_view(struct volume *v, u64 *done, u64 *since);
void replace_init(struct volume *v);
void replace_stop(struct volume *v);
void replace_close_retired(struct volume *v);

#endif /* REPL_REPLACE_H */
