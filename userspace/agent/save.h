/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OP_SAVE: the blocks of the pair's cut go into a file, as a stream.  A thread does it,
 * because files, unlike devices, may make anybody wait at any step: nothing else of the
 * agent waits with it.
 *
 * The file has its name only once it is whole and durable; until then it is NAME.part,
 * which the next one of the same volume and node takes over.
 */
#ifndef REPL_AGENT_SAVE_H
#define REPL_AGENT_SAVE_H

#include "agent.h"

enum save_limits {
	SAVE_CHUNK	= 256 << 10,	/* bytes of one read */
	SAVE_EXTENTS	= 256,
	SAVE_STACK	= 256 << 10,
	SAVE_TICK_MS	= 500,		/* between two looks at how far it is */
};

void save_start(struct pair_io *io, const struct op *op);

/** save_drop - give it up; OP_SAVE is answered when the thread has noticed */
void save_drop(struct pair_io *io);

/** save_orphan - the pair goes away: nothing more is answered */
void save_orphan(struct pair_io *io);

/** save_tick - tell the core how far they are */
void save_tick(struct agent *a);

/** save_deadline - when save_tick() wants to be called next, ms; UINT64_MAX: never */
uint64_t save_deadline(const struct agent *a);

#endif /* REPL_AGENT_SAVE_H */
