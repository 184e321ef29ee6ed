/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Growing a volume on all its nodes: those that are secondary first, then the primary.
 * The node that was asked asks all others how much room they have, then tells them to
 * grow.  What is interrupted leaves some copies larger than others, which is allowed; the
 * same command finishes it.  Part of the core.
 */
#ifndef REPL_AGENT_RESIZE_H
#define REPL_AGENT_RESIZE_H

#include "core.h"

/* A copy of the volume, this node's own included. */
struct resize_copy {
	const char *name;
	bool primary;
	uint64_t size;		/* bytes that it has */
	uint64_t room;		/* bytes that it could have */
};

/**
 * resize_plan - how large the volume is to become
 * @copy: all there are, this node's first
 * @size: bytes as asked for; 0: as many as all have room for
 * @text: REPL_TEXT_MAX bytes; when the answer is 0, why
 * Return: bytes, a multiple of 4096, or 0.
 */
uint64_t resize_plan(const struct resize_copy *copy, unsigned int count, uint64_t size,
		     char text[REPL_TEXT_MAX]);

/** resize_go - something has changed: the next step, if it can be done */
void resize_go(struct volume *v);

/** resize_snapshot - answer the peers that have asked for this node's room */
void resize_snapshot(struct volume *v);

/** resize_op_done - this copy has grown, or could not */
void resize_op_done(struct volume *v, const struct op_result *r);

void resize_tick(struct volume *v);
void resize_peer_lost(struct pair *p);

/** resize_asked, resize_heard - GROW and GROWN; @why: words of @length bytes */
void resize_asked(struct pair *p, const struct msg_grow *m);
void resize_heard(struct pair *p, const struct msg_grow *m, const void *why, size_t length);

#endif /* REPL_AGENT_RESIZE_H */
