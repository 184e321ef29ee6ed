/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a node knows of its own copy of a volume, and what it tells a peer of it:
 * struct repl_msg_volume in this machine's byte order.  Pure.
 */
#ifndef REPL_AGENT_COPY_H
#define REPL_AGENT_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include <repl/wire.h>

#include "err.h"
#include "kernel.h"

struct copy {
	struct repl_id uuid;
	struct repl_id copy_id;
	struct repl_id generation;
	uint64_t epoch;
	uint64_t size;			/* bytes */
	uint32_t flags;			/* enum repl_msg_volume_flags */
	uint8_t lbs_shift;
	uint8_t arbiter;		/* enum repl_msg_arbiter */
	uint8_t arbiter_tag[2];
	struct repl_id slot_copy_id;	/* of the receiver, as this node's map has it */
	struct repl_id slot_generation;
	uint64_t slot_epoch;
	uint64_t slot_dirty_blocks;
	uint64_t cookie;
	uint64_t alone_ms;		/* since the last link ended; 0: not known; 1 at least */
	struct repl_id history[REPL_HISTORY];
};

/* A staging file: from which epoch of this copy to which of whose. */
struct staged {
	struct repl_id uuid;
	struct repl_id generation, history[REPL_HISTORY];
	uint64_t epoch;
	struct repl_id base_generation;
	uint64_t base_epoch;
	uint8_t key[REPL_KEY_BYTES];	/* of the node that was followed */
	uint64_t bytes;			/* in blocks, and of zeroes */
	uint64_t file;			/* names it, as repl_super.staged does; 0: there is none */
};

/** copy_slot - the slot that belongs to a peer's public key, or NULL */
const struct kernel_slot *copy_slot(const struct kernel_volume *k,
				    const uint8_t key[REPL_KEY_BYTES]);

/**
 * copy_read - what to tell the peer with @key
 * @plain: links of this volume are configured without TLS
 * @unclean: the stop before this one was not clean, and no peer has made up for it;
 *	the superblock's flag cannot tell while the volume is up
 */
void copy_read(struct copy *c, const struct kernel_volume *k, const uint8_t key[REPL_KEY_BYTES],
	       bool plain, bool unclean);

/** copy_same_arbiter - whether both ask the same one, or none, as far as can be told */
static inline bool copy_same_arbiter(const struct copy *a, const struct copy *b)
{
	return a->arbiter == b->arbiter && a->arbiter_tag[0] == b->arbiter_tag[0] &&
	       a->arbiter_tag[1] == b->arbiter_tag[1];
}

/** copy_same - whether a verdict, or what follows from it, could not tell @a from @b */
bool copy_same(const struct copy *a, const struct copy *b);

/** copy_pack - to wire order */
void copy_pack(const struct copy *c, struct repl_msg_volume *m);

/**
 * copy_unpack - from wire order, every field checked
 * Return: 0 or -EPROTO with words.
 */
int copy_unpack(struct copy *c, const struct repl_msg_volume *m, struct err *e);

/** copy_blocks - of the volume, the last one may be partial */
static inline uint64_t copy_blocks(uint64_t size)
{
	return (size + REPL_BLOCK_BYTES - 1) >> REPL_BLOCK_SHIFT;
}

#endif /* REPL_AGENT_COPY_H */
