/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OP_DELTA_SEND: the blocks of a drained cut, read from the backing device and sent.
 *
 * Several reads are under way at a time; what is read waits in the connection's queue
 * until the peer takes it, and only then the next read begins: memory is bounded, and
 * the peer sets the pace.  Blocks of zeros travel as ranges.
 *
 * Of a chunk that is only suspected (suspect.h) the digests go first, and it is kept
 * until the follower has answered which of its blocks it lacks.  Those are sent from
 * the memory that the digests were made of, and the others are as good as sent: the
 * follower had the same bytes, and flushes before it confirms.  A block that is written
 * after the cut is dirty again in the slot's new map, whether it was read before that
 * write, after it or in its middle, and whatever was made of what was read; the cut's
 * commit does not touch that map.  So a digest never speaks for more than the cut.
 */
#ifndef REPL_AGENT_DELTA_H
#define REPL_AGENT_DELTA_H

#include "agent.h"
#include "conn.h"

enum delta_limits {
	DELTA_CHUNK	= 256 << 10,	/* bytes of one read */
	DELTA_READS	= 128,		/* read, queued or asked about at a time */
	DELTA_BYTES	= 4 << 20,	/* the same, in bytes */
	DELTA_HURRY	= 16 << 20,	/* bytes, while writers wait: read now, sent later */
	DELTA_HURRY_READS = 2048,
	DELTA_ASKED	= 16 << 20,	/* bytes, if the next is to be asked about: a round trip each */
	DELTA_EXTENTS	= 256,		/* taken from the cut at a time */
};

/** delta_start - begin; answers with agent_op_done() */
void delta_start(struct pair_io *io, struct conn *c, const struct op *op);

/**
 * delta_want - the follower's answer to a DIGESTS message
 *
 * Nothing here waits: what is wanted is queued, from memory that is counted.  So the
 * leader always reads, and a follower may wait until its answers are read.
 *
 * Return: 0 or -EPROTO; the session is being refused then.
 */
int delta_want(struct delta *d, const struct repl_msg_want *m);

/** delta_drop - give up: the answer is -ECANCELED */
void delta_drop(struct pair_io *io);

/** delta_tick - a delta that was slowed down goes on */
void delta_tick(struct agent *a);
uint64_t delta_deadline(const struct agent *a);

#endif /* REPL_AGENT_DELTA_H */
