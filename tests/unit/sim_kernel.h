/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel module as far as the agent can tell: one volume of a few blocks, its
 * slots, cuts and links, with the refusals of the real one.  A block's content is the
 * number of the write that it had last.
 */
#ifndef TESTS_UNIT_SIM_KERNEL_H
#define TESTS_UNIT_SIM_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "action.h"
#include "kernel.h"

enum sk_limits {
	SK_BLOCKS	= 256,	/* the least that a volume may have: 1 MiB */
	SK_SLOTS	= 4,
	SK_FRAMES	= 64,
};

struct sk;

struct sk_frame {
	bool generation;	/* else a write */
	uint64_t block, value;
	struct repl_id id, previous;
};

/* A link's connection.  Freed when both ends have let go. */
struct sk_link {
	bool alive;
	uint64_t cookie;
	unsigned int held;		/* by slots and by agents that proved it */
	struct sk *end[2];		/* adopted by */
	unsigned int slot[2];
	unsigned int primary_end;	/* who sends the frames */
	struct sk_frame frame[SK_FRAMES];
	unsigned int frames;
	uint64_t bytes;			/* of writes, since it began */
};

struct sk_slot {
	uint8_t kind;
	uint8_t key[REPL_KEY_BYTES];
	struct repl_id copy_id, generation;
	uint32_t flags;
	bool dirty[SK_BLOCKS];
	bool cut[SK_BLOCKS];
	bool cut_open;
	/* Of a frozen cut: */
	bool frozen;			/* false, too, when it is void */
	bool is_void;
	bool released[SK_BLOCKS];
	uint64_t wanted[SK_BLOCKS];	/* since when a write waits for it, ms; 0: none does */
	struct sk_link *link;
	uint64_t pending;		/* writes not answered by this peer */
};

struct sk {
	bool primary;
	bool arbiter;			/* REPL_LOSS_ARBITER */
	bool freezes;			/* REPL_LOSS_FREEZE */
	bool gate_lost;			/* a peer was lost: nothing completes */
	uint32_t lost;			/* slots, of one that freezes */
	bool going_on;			/* they are back: a new generation is about to begin */
	bool hasty;			/* it has begun before the agent looks, each time */
	bool asserted;			/* somebody insists: --force, --peer-dead */
	bool by_consent;		/* of this term as primary */
	struct repl_id uuid, copy_id, generation, history[REPL_HISTORY];
	uint64_t epoch;
	uint64_t staged;		/* the file that is being applied; 0: none */
	uint32_t flags;			/* enum repl_super_flags */
	struct sk_slot slot[SK_SLOTS];
	uint64_t data[SK_BLOCKS];
	uint64_t stable[SK_BLOCKS];	/* what a block of a delta replaced, ... */
	bool cached[SK_BLOCKS];		/* ... if the device has not been flushed since */
	bool gate_join;
	bool leaky;			/* planted: the freeze for a join holds no write */
	uint64_t gate_until;		/* ms */
	uint64_t hold_until;		/* ms; REPL_GATE_SNAPSHOT */
	unsigned int thaws;		/* so often a gate was opened and none was left shut */
	uint64_t now;			/* ms; of the last call that said it */
	bool changed;			/* an event is due */
	bool write_pending;		/* at most one at a time */
	uint64_t write_block, write_value;
	uint64_t (*random)(void *arg);
	void *random_arg;
};

/** sk_init - a copy that mkfs.repl has just made */
void sk_init(struct sk *k, uint64_t (*random)(void *arg), void *arg);

/** sk_get - what REPL_CMD_GET says */
void sk_get(const struct sk *k, struct kernel_volume *v, uint64_t now);

/** sk_op - a command; @link for OP_LINK_ADD. Return: 0, or -errno with *why */
int sk_op(struct sk *k, const struct op *op, struct sk_link *link, uint64_t now,
	  const char **why);

void sk_abort(struct sk *k, unsigned int slot);

/** sk_release - a block of a frozen cut has been read */
void sk_release(struct sk *k, unsigned int slot, uint64_t block);

/** sk_valid - 0, or -ETIMEDOUT when the slot's cut is void */
int sk_valid(struct sk *k, unsigned int slot);
void sk_hold(struct sk *k, uint32_t gate, uint32_t ms, uint64_t now);
void sk_thaw(struct sk *k, uint32_t gate, uint64_t now);

/** sk_write - an application's write. Return: false: it must wait */
bool sk_write(struct sk *k, uint64_t block, uint64_t value, uint64_t now);

/** sk_go_on - one whose lost peers are back ends its freeze with a new generation */
void sk_go_on(struct sk *k);

/** sk_settle - a primary tells its peers what all of them have, if they have it */
void sk_settle(struct sk *k);

/** sk_pump - deliver what can be delivered */
void sk_pump(struct sk_link *l);

/** sk_link_lost - one end learns that its link is gone */
void sk_link_lost(struct sk *k, unsigned int slot);

/** sk_apply - a block of a delta, told to the slots of @mask first; volatile until sk_flush() */
void sk_apply(struct sk *k, uint32_t mask, uint64_t block, uint64_t value);

/** sk_flush - the backing device */
void sk_flush(struct sk *k);

/** sk_completes - a primary whose writes may complete: it does not wait, nor would it before it knows */
bool sk_completes(const struct sk *k);

/** sk_reboot - power is gone and back; of what was not flushed, some may be there */
void sk_reboot(struct sk *k);

struct sk_link *sk_link_new(uint64_t cookie);
void sk_link_put(struct sk_link *l);

#endif /* TESTS_UNIT_SIM_KERNEL_H */
