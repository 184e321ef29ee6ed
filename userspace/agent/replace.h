/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A primary whose disk has failed goes on from its live peers; it is given another one while
 * it is in use, and the kernel fills that.  A secondary needs none of this: it goes down, and
 * comes up with a new copy.  Part of the core.
 */
#ifndef REPL_AGENT_REPLACE_H
#define REPL_AGENT_REPLACE_H

#include "core.h"

/** replace_go - something has changed: hand the new disk over, if that can be done */
void replace_go(struct volume *v);

/** replace_op_done - it is being filled, or was refused */
void replace_op_done(struct volume *v, const struct op_result *r);

/** replace_snapshot - the kernel was read: how far is it? */
void replace_snapshot(struct volume *v);

void replace_tick(struct volume *v);

#endif /* REPL_AGENT_REPLACE_H */
