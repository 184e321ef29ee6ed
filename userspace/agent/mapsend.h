/* SPDX-License-Identifier: GPL-2.0-or-later */
/* OP_MAP_SEND: the extents of the follower's cut as MAP messages, and an empty one. */
#ifndef REPL_AGENT_MAPSEND_H
#define REPL_AGENT_MAPSEND_H

#include "agent.h"
#include "conn.h"

/** mapsend_start - begin; answers with agent_op_done() */
void mapsend_start(struct pair_io *io, struct conn *c, const struct op *op);

/** mapsend_drop - give up: the answer is -ECANCELED */
void mapsend_drop(struct pair_io *io);

#endif /* REPL_AGENT_MAPSEND_H */
