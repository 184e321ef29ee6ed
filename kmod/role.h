/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Roles and generations: who may write here, and the id of the unbroken line of
 * writes that goes on.  A new generation is durable here and on every live peer
 * before its first write completes.
 */
#ifndef REPL_ROLE_H
#define REPL_ROLE_H

#include "volume.h"

struct apply;

int role_alloc_calls(struct volume *v);
void role_free_calls(struct volume *v);
int role_change(struct op *op, struct why *why);
int role_demote(struct volume *v, bool force, struct why *why);
void role_peer_lost(struct volume *v);
void role_lost_work(struct work_struct *work);
int role_go_on(struct volume *v, const struct repl_id *given, struct why *why);
int role_resume(struct op *op, struct why *why);
int role_epoch(struct op *op, struct why *why);
void role_adopt_generation(struct apply *apply);
int role_flush_live(struct volume *v, struct why *why);
bool role_tell_settled(struct volume *v, bool name);
void role_wait_quiet(struct volume *v);

#endif /* REPL_ROLE_H */
