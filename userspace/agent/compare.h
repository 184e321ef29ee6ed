/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bulk of a verify: blocks are read, digested and asked about; or, for the peer's verify,
 * what is asked about is read and answered.  One for a pair, from its first op to
 * compare_drop().
 */
#ifndef REPL_AGENT_COMPARE_H
#define REPL_AGENT_COMPARE_H

#include "conn.h"

enum compare_limits {
	COMPARE_CHUNK	= 256 << 10,	/* bytes of one read */
	COMPARE_ASKS	= 32,		/* read or asked about at a time; nor may the peer ask more */
	COMPARE_EXTENTS	= 256,		/* taken from the cut at a time */
};

/** compare_begin - an OP_VERIFY_...; answers with agent_op_done() */
void compare_begin(struct pair_io *io, struct conn *c, const struct op *op);

/** compare_want - the peer's answer to a DIGESTS. Return: 0, or -EPROTO: it was refused. */
int compare_want(struct compare *cmp, const struct repl_msg_want *m);

/** compare_digests - the peer asks; @length: of the body. Return: 0, or -EPROTO: it was refused. */
int compare_digests(struct compare *cmp, const struct repl_msg_range *m,
		    const struct repl_digest *digest, size_t length);

/** compare_drop - give up: an op under way is answered with -ECANCELED */
void compare_drop(struct pair_io *io);

/** compare_tick - one that was slowed down goes on */
void compare_tick(struct agent *a);
uint64_t compare_deadline(const struct agent *a);

#endif /* REPL_AGENT_COMPARE_H */
