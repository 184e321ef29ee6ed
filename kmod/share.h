/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a secondary knows of third copies: which blocks of what its primary sends they
 * may lack.  When the primary is lost, the survivors have nothing else to settle.
 */
#ifndef REPL_SHARE_H
#define REPL_SHARE_H

#include "apply.h"
#include "volume.h"

bool share_begin(struct apply *apply);
void share_again(struct list_head *waits);
void share_drop(struct link *link);
bool share_enter(struct apply *apply);
void share_leave(struct apply *apply);
void share_wait_unsampled(struct volume *v);
void share_resume(struct volume *v);
void share_settle(struct apply *apply);
void share_end(struct volume *v);

#endif /* REPL_SHARE_H */
