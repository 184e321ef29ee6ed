/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OP_DELTA_APPLY: what the leader sends goes to the backing device, and is flushed.
 *
 * Or they go to the staging file, marked in the leader's own slot first: what is confirmed
 * to the leader is then known here, whatever becomes of the file.  OP_STAGE_APPLY takes them
 * from there, with the same machinery; a later pass may have a block that an earlier one had,
 * so it begins when that one's have all been written.
 *
 * Before a block is written every other slot of this copy learns of it: ranges that
 * arrive while one MARK is under way share the next.  What is not written yet is
 * bounded; beyond it the connection is not read.
 *
 * Digests are compared with those of the blocks that are here.  Nothing changes these
 * meanwhile: this copy is secondary, no link is live, and a delta brings a block once.
 * What is equal may lie in the device's cache only, or have been written by whatever
 * was here before a crash: the flush at the end is for it, too, and is never left out.
 *
 * Also not read is a connection on which too many answers wait to be sent.  That is no
 * wait for progress on the same socket in a circle: a leader always reads (delta.h).
 */
#ifndef REPL_AGENT_APPLY_H
#define REPL_AGENT_APPLY_H

#include "agent.h"

enum apply_limits {
	APPLY_BYTES	= 4 << 20,	/* received and not written, or read and not compared, yet */
	APPLY_RANGES	= 64,
	APPLY_ANSWERS	= 256,		/* to digests, not sent yet */
};

/** apply_start - begin; answers with agent_op_done() after DELTA_END and a flush */
void apply_start(struct pair_io *io, struct conn *c, const struct op *op);

/** apply_drop - give up: the answer is -ECANCELED, after the writes under way are done */
void apply_drop(struct pair_io *io);

/** apply_orphan - the same, but @io goes away now and nobody wants the answer */
void apply_orphan(struct pair_io *io);

/*
 * From the connection.  Return: 0; -EAGAIN: not now, conn_wake() follows; another
 * -errno: the message was wrong, and the session is being refused.
 */

/** apply_blocks - a BLOCKS message of @length bytes payload begins; they go to *@sink */
int apply_blocks(struct apply *ap, const struct repl_msg_range *m, size_t length, uint8_t **sink);

/** apply_filled - the payload is complete */
void apply_filled(struct apply *ap);
int apply_zeros(struct apply *ap, const struct repl_msg_range *m);

/** apply_digests - @length: of the whole message's body; @digest may hold less than it says */
int apply_digests(struct apply *ap, const struct repl_msg_range *m,
		  const struct repl_digest *digest, size_t length);
int apply_end(struct apply *ap, const struct repl_msg_delta *m);

/** apply_staged - OP_STAGE_APPLY: the volume's staging file goes to the backing device, and that is flushed */
void apply_staged(struct agent *a, struct volume *v, const struct op *op);

/** apply_forget - the volume goes away, and nobody wants the answer */
void apply_forget(struct volume_io *vio);

/** apply_conn_gone - the connection has ended: it must not be touched any more */
void apply_conn_gone(struct apply *ap);

#endif /* REPL_AGENT_APPLY_H */
