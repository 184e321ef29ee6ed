/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A cluster of two or three copies in a few hundred bytes, for test_histories.c: what
 * the superblocks and maps say, what the module does to them, what the devices hold.
 * The judgement is the real one: verdict.c and promote.c.
 *
 * Each write has a block, and a region of the log, of its own: so sets of writes, of
 * blocks and of regions are all one byte.  Generations are numbered in the order in
 * which they were made; 0 is none.
 *
 * The ghosts, which no real node knows, are what the checks compare with.
 */
#ifndef TESTS_UNIT_MODEL_H
#define TESTS_UNIT_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "verdict.h"

enum { NODES = 3, PAIRS = 3, GENERATIONS = 16, WRITES_MAX = 4 };

enum node_flags {
	N_UP		= 1 << 0,
	N_PRIMARY	= 1 << 1,	/* in the kernel's memory */
	N_LOST		= 1 << 2,	/* the gate is shut for a lost peer */
	/* The superblock. */
	N_SB_CONSISTENT	= 1 << 3,
	N_SB_PRIMARY	= 1 << 4,
	N_SB_IDENTITY	= 1 << 5,
	N_SB_UNPROVEN	= 1 << 6,
	N_SB_STOPPED	= 1 << 7,
	N_SB_CRASHED	= 1 << 8,
};

enum slot_flags {
	S_USED		= 1 << 0,
	S_CURRENT	= 1 << 1,	/* speaks of the copy that the peer has today */
	S_LIVE		= 1 << 2,
	S_FULL		= 1 << 3,
};

struct mslot {
	uint8_t flags;
	uint8_t generation;
	uint8_t map;		/* in memory */
	uint8_t settling;	/* the same: written before the last SETTLED */
	uint8_t saved;		/* on disk */
	uint8_t unflushed;	/* answered over the link, not flushed there */
};

struct mnode {
	uint16_t flags;
	uint16_t history;	/* a set of generations */
	uint8_t generation, uuid;
	uint8_t content;	/* writes that a read would find */
	uint8_t stable;		/* of them, what a power cut leaves for certain */
	uint8_t logged;
	uint8_t held;		/* writes in flight when the peer was lost: not answered */
	uint8_t told;		/* as primary: there was a SETTLED since this term began */
	uint8_t outrun[NODES];	/* generation here in which the peer's copy was newer */
	struct mslot slot[NODES];
	uint8_t firm;		/* ghost: acknowledged here and never at risk since */
};

enum link_state { LINK_NONE, LINK_HALF, LINK_LIVE };	/* half: only the leader has adopted it */

struct mpair {
	uint8_t cable;		/* the agents reach each other */
	uint8_t link;
	uint8_t leader;
	uint8_t step;		/* 0: nothing under way; 1: agreed; 2: copied */
	uint8_t followed;	/* the follower's copy is given up */
	uint8_t generation;	/* of the leader, when it copied */
	uint8_t cut;		/* the follower's doubts: bits of its map, until it has joined */
	uint8_t settles;	/* 1, 2: the first, the second of the two has got a SETTLED over the link */
};

struct cluster {
	struct mnode node[NODES];
	struct mpair pair[PAIRS];
	/* Ghosts. */
	uint16_t ancestors[GENERATIONS];
	uint8_t writes;		/* made so far */
	uint8_t acked;		/* told to the application */
	uint8_t synced;		/* and flushed since */
	uint8_t excused;	/* an operator has accepted the loss */
	uint8_t parted;		/* an operator has gone on without; not to be destroyed */
	uint8_t word;		/* an operator has said --peer-dead or --force */
};

/* What is planted, to see that it is caught; all false: the rules as they are. */
struct wrong {
	const char *name;
	const char *caught;		/* in which words */
	unsigned int nodes;
	/* The verdict. */
	bool higher_key, clean_ignored, live_ignored, newer_ignored;
	/* Promotion. */
	bool absent_ignored, consent_given;
	/* The kernel, and what agents do with it. */
	bool verdict_clears, no_generation, unflushed_forgotten, log_ignored, follower_map_ignored;
	bool kept_consistent, others_not_marked, others_not_logged, peers_not_told;
	bool delta_not_flushed, delta_not_marked, absent_named, settling_lost;
	bool mark_not_saved, crash_unrecorded, leads_incomplete, not_flushed, unasked_ignored, goes_back;
};

enum event_kind {
	EV_WRITE, EV_TORN, EV_FLUSH, EV_CLEAN, EV_TELL, EV_GENERATION, EV_CRASH, EV_STOP, EV_START,
	EV_PROMOTE, EV_DEMOTE, EV_MKFS, EV_UNPLUG, EV_PLUG, EV_STEP, EV_SYNC, EV_KINDS
};

struct event {
	uint8_t kind, node, peer, variant;
};

extern unsigned int model_nodes, model_writes;	/* how many there are, how many are made */
extern struct wrong model_wrong;
extern const char *model_complaint;		/* NULL, or what was violated */

/** model_start - two or three copies fresh from mkfs, all down, all cables in place */
void model_start(struct cluster *c);

/** model_events - all events that may be tried. Return: how many */
unsigned int model_events(struct event *out);

/** model_do - Return: false when the event is not possible in this state */
bool model_do(struct cluster *c, struct event e);

/** model_settle - what agents do without being asked: remember who was newer, meet third copies */
void model_settle(struct cluster *c);

/** model_check - what must hold in every state; sets model_complaint */
void model_check(const struct cluster *c);

/** model_canonical - equal states become equal bytes */
void model_canonical(struct cluster *c);

void model_print(struct event e);

/* Parts, for the checks. */
bool model_connected(const struct cluster *c, unsigned int a, unsigned int b);
struct copy model_copy(const struct cluster *c, unsigned int of, unsigned int about);
void model_verdict(struct verdict *out, const struct cluster *c, unsigned int mine,
		   unsigned int theirs);
struct mpair *model_pair(struct cluster *c, unsigned int a, unsigned int b);
bool model_promote(struct cluster *c, unsigned int n, unsigned int peer, uint8_t variant);

enum promote_how { BY_CONSENT, BY_PEER_DEAD, BY_FORCE, PROMOTE_HOWS };
/* Where a promotion ends early; the link is lost in the last two. */
enum promote_end { PROMOTED, CRASH_COMMITTED, CRASH_ADOPTED, LOST_ADOPTED, LOST_UNTOLD,
	PROMOTE_ENDS };

/* Of model.c, for model_join.c. */
void model_complain(const char *what);
void model_kill_link(struct cluster *c, unsigned int a, unsigned int b);
void model_crash(struct cluster *c, unsigned int n, bool keep);
bool model_generation(struct cluster *c, unsigned int n, uint16_t set, uint16_t clear,
		      enum promote_end end);
uint8_t model_all(void);
bool model_half(struct cluster *c, unsigned int n);
unsigned int model_live(struct cluster *c, unsigned int n);
uint8_t model_dirty(const struct mslot *s);
void model_save_maps(struct cluster *c, unsigned int n);
void model_end_settling(struct mnode *m);
bool model_step(struct cluster *c, unsigned int a, unsigned int b, uint8_t variant);
bool model_sync(struct cluster *c, unsigned int a, unsigned int b);

enum step_variant { STEP_WHOLE, STEP_BROKEN, STEP_UNCOMMITTED, STEP_VARIANTS };

#endif /* TESTS_UNIT_MODEL_H */
