/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From one epoch to the next: what was staged becomes this copy.  Part of the core.
 *
 *	SEAL	the staging file is whole and says which epoch it leads to; durable
 *	GIVE_UP	durably: this copy is not consistent.  From here on the file is a redo log
 *	APPLY	its blocks are written, and the device is flushed
 *	RECORD	durably: this copy is consistent, in that generation and epoch
 *	DROP	the file goes
 *
 * It is the volume's, not a pair's: from GIVE_UP to RECORD the copy is neither the old
 * epoch nor the new one, so nothing that happens to the pair, its session or its leader
 * stops it, and while it goes on there is no promotion, no leader, no follower.  After a
 * crash the agent finds the file, and goes on where the superblock says that it was:
 *
 *	consistent: the file was never needed, or is no longer; it goes
 *	not consistent, and the superblock names this file: APPLY
 *	not consistent, and it names another or none: newer blocks have come since, or may have; it goes
 *
 * A file that is there and cannot be read says nothing of itself.  If the superblock names one
 * it is looked at again, until it can be read, or is gone.  One that should go and cannot be removed
 * is void by the same rule: it holds up nothing but what would be staged next, and is tried again.
 *
 * When nothing was staged the content is the new epoch's already: SEAL, RECORD, DROP.
 */
#ifndef REPL_AGENT_REDO_H
#define REPL_AGENT_REDO_H

#include "core.h"

/** redo_begin - the leader says that what was staged is, all together, the epoch of @to */
void redo_begin(struct pair *p, const struct copy *to);

/** redo_active - this copy is on its way; nobody else may touch it */
bool redo_active(const struct volume *v);

/** redo_stuck - it cannot be finished for now; ->redo.why says why */
bool redo_stuck(const struct volume *v);

/** redo_forget - somebody insists on this copy as it is: the file goes, and what it would have done */
void redo_forget(struct volume *v);

/** redo_op_done - Return: whether @kind is an op of this file */
bool redo_op_done(struct volume *v, enum op_kind kind, const struct op_result *r);
void redo_snapshot(struct volume *v);
void redo_tick(struct volume *v);

#endif /* REPL_AGENT_REDO_H */
