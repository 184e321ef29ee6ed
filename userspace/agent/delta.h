/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OP_DELTA_SEND: the blocks of a drained cut, read from the backing device and sent.
 *
 * Several reads are under way at a time; what is read waits in the connection's queue
 * until the peer takes it, and only then the next read begins: memory is bounded, and
 * the peer sets the pace.  Blocks of zeros travel as ranges.
 */
#ifndef REPL_AGENT_DELTA_H
#define REPL_AGENT_DELTA_H

#include "agent.h"
#include "conn.h"

enum delta_limits {
	DELTA_CHUNK	= 256 << 10,	/* bytes of one read */
	DELTA_READS	= 32,		/* read or queued at a time */
	DELTA_BYTES	= 4 << 20,	/* the same, in bytes */
	DELTA_EXTENTS	= 256,		/* taken from the cut at a time */
};

/** delta_start - begin; answers with agent_op_done() */
void delta_start(struct pair_io *io, struct conn *c, const struct op *op);

/** delta_drop - give up: the answer is -ECANCELED */
void delta_drop(struct pair_io *io);

/** delta_tick - a delta that was slowed down goes on */
void delta_tick(struct agent *a);
uint64_t delta_deadline(const struct agent *a);

#endif /* REPL_AGENT_DELTA_H */
