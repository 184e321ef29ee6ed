/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A cluster of agents' cores in one process: their kernels, the network between
 * them, and the clock are simulated, and a seed repeats a run to the last step.
 */
#ifndef TESTS_UNIT_SIM_H
#define TESTS_UNIT_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "core.h"
#include "register.h"
#include "sim_kernel.h"

enum { SIM_NODES_MAX = 3, SIM_COUNTERS_MS = 1000, SIM_STAGE_MAX = 16384, SIM_LOG_MAX = 1 << 16 };

struct sim_conn;
struct sim_event;
struct sim_node;

struct sim_pair {
	struct sim_node *node;
	struct pair *pair;
	struct sk_link *link;		/* proven, not adopted */
	uint32_t cut_turn, link_turn, delta_turn, apply_turn;
	bool cut_waiting, link_waiting, sending, applying, apply_ended, staging;
	int cut_slot;			/* -1: no cut */
	uint64_t link_cookie, link_since;
	struct msg_delta delta;		/* being sent */
	struct suspect suspect;
	unsigned int asked;		/* DIGESTS without a WANT yet */
	unsigned int delta_at;		/* next block */
	uint64_t delta_serial;
	struct msg_moved applied;
	uint32_t apply_mask;
	bool saving;
	uint32_t save_turn;
	unsigned int dials, offers, follows;	/* in this second */
};

/* Rules that are wrong: what a test must find. */
enum sim_plant {
	PLANT_NONE,
	PLANT_GENEROUS,		/* the register grants whatever it reads */
	PLANT_HOPEFUL,		/* no answer is taken for a grant */
	PLANT_FORGETFUL,	/* what was asked is not noted durably */
	PLANT_ADRIFT,		/* the kernel goes on without being told to */
};

struct sim_stage {
	bool open;			/* the agent knows of it */
	bool sealed;			/* durable, whole */
	struct staged what;
	unsigned int count, at;		/* blocks in it; applied */
	uint64_t block[SIM_STAGE_MAX], value[SIM_STAGE_MAX];
	struct sim_pair *owner;		/* of an unsealed one; NULL: none */
};

struct sim_node {
	struct sim *sim;
	unsigned int index;
	char name[16];
	uint8_t key[REPL_KEY_BYTES];
	bool running;			/* the agent; the kernel outlives it */
	bool powered;
	unsigned int incarnation;	/* of the agent */
	bool crashed;			/* its volume was not stopped cleanly */
	struct sim_stage stage;
	struct sim_stage unmounted;		/* what was staged, where nobody sees it */
	bool stage_fixed;			/* no file can be made there, or removed */
	unsigned int commits;			/* epochs that this copy has become */
	uint64_t kernel_busy;		/* ops are one at a time */
	struct core core;
	struct volume *volume;
	struct sk kernel;
	bool settling;
	bool late;			/* what is decided now is carried out at the end of the millisecond */
	unsigned int ticks;		/* in this millisecond */
	bool saved_block[SK_BLOCKS];	/* the last file that was saved: which, and what */
	uint64_t saved[SK_BLOCKS];
	unsigned int saves;
	bool noted;			/* of an ACTION_ASK; it is on a disk */
	struct repl_id noted_expect, noted_want;
	bool witness_cut;		/* from the witness */
	uint32_t request;
	bool request_ok;		/* of the last reply */
	char request_text[512];
	char told[512];			/* notices since the agent was started, "peer-lost;" and so on */
	bool told_live[SIM_NODES_MAX], told_any[SIM_NODES_MAX];
};

struct sim {
	unsigned int nodes;
	struct sim_node node[SIM_NODES_MAX];
	uint64_t now;
	uint64_t rng;
	uint64_t serial;
	struct sim_event *events;
	struct sim_conn *conns;
	struct sk_link *links[64];	/* of which an agent or a kernel may know */
	bool cut[SIM_NODES_MAX][SIM_NODES_MAX];	/* the network between two nodes */
	uint64_t cut_since[SIM_NODES_MAX][SIM_NODES_MAX];
	unsigned int op_failures;	/* of 1000 kernel commands, and of 1000 links */
	unsigned int half_links;	/* next ones of which the leader's end fails alone */
	uint16_t break_type;		/* of the message at which a session breaks; 0: none */
	unsigned int break_nth;		/* which of them, from 1 */
	bool break_after;		/* it still arrives; nothing behind it does */
	unsigned int save_ms;		/* saving takes this long at least */
	bool no_room;			/* nothing can be saved */
	bool writing;			/* an application writes on the primary */
	uint64_t written, acked[SK_BLOCKS];
	uint64_t counters_at;
	uint32_t join_limit_ms;
	unsigned int stage_most;	/* blocks that a staging file may have */
	bool no_direct;
	bool save_and_follow;		/* an old primary that is back */
	bool throttle;			/* writes wait for a rolling peer */
	uint32_t bound_ms;		/* of a rolling peer's age; 0: as it is by itself */
	uint32_t interval_ms;		/* agents that start are rolling; 0: in sync */
	bool ordered;			/* all writes are one line: a consistent copy is a prefix of it */
	uint16_t log_block[SIM_LOG_MAX];	/* by write, from 1; and the write before it to that block */
	uint32_t log_before[SIM_LOG_MAX], log_last[SK_BLOCKS];
	uint64_t link_bytes;		/* what a link's keys are good for; 0: anything */
	unsigned int links_made;
	bool arbiter;			/* with one, which is no node of these */
	uint32_t takeover_ms;
	struct register_entry witness;
	bool witness_down;
	unsigned int witness_loss;	/* of 1000 questions, and of 1000 answers */
	unsigned int grants;
	enum sim_plant plant;
	const char *broken;		/* the first invariant that did not hold */
	char detail[256];
	bool verbose;
};

/** sim_init - @nodes new copies; agents run, volumes are up, nobody is primary */
void sim_init(struct sim *s, unsigned int nodes, uint64_t seed);
void sim_exit(struct sim *s);

/** sim_init_arbiter - the same of two copies and a witness, which has no entry yet */
void sim_init_arbiter(struct sim *s, uint64_t seed, uint32_t takeover_ms);

/** sim_run - until @ms have passed, or an invariant breaks */
void sim_run(struct sim *s, uint64_t ms);

/** sim_until - until @fn holds or @ms have passed. Return: whether it holds. */
bool sim_until(struct sim *s, bool (*fn)(const struct sim *s), uint64_t ms);

uint64_t sim_random(struct sim *s, uint64_t below);

/* What happens to a cluster. */
void sim_agent_kill(struct sim_node *n);
void sim_agent_start(struct sim_node *n);
void sim_power_off(struct sim_node *n);
void sim_power_on(struct sim_node *n);
void sim_partition(struct sim *s, unsigned int a, unsigned int b, bool cut);
void sim_kill_links(struct sim_node *n);

/* The file system with the staging file, while no agent runs: it goes, and comes back as it was. */
void sim_unmount(struct sim_node *n);
void sim_mount(struct sim_node *n);

void sim_reset_sessions(struct sim_node *n);

/** sim_primary - "repl-ctl primary"; the answer is in n->request_ok and _text */
void sim_primary(struct sim_node *n, bool force, bool peer_dead);
void sim_secondary(struct sim_node *n);

/** sim_resolve - "repl-ctl resolve --keep", of the split as @n sees it now */
void sim_resolve(struct sim_node *n, const char *keep, bool no_save);

/* Conditions. */
struct sim_node *sim_primary_node(struct sim *s);
bool sim_all_live(const struct sim *s);		/* every pair with the primary, or all pairs */
bool sim_answered(const struct sim *s);		/* no request is under way */
void sim_roll(struct sim *s, uint32_t interval_ms);	/* all nodes change over */
/* What no copy has any more was never acknowledged, and is no part of what comes next: before somebody is promoted. */
void sim_forget(struct sim *s);

uint64_t sim_newest(const struct sim_node *n);	/* the number of the newest write that its disk has */
bool sim_prefix(const struct sim *s, const struct sim_node *n);	/* what it holds is all writes up to one */
bool sim_equal(const struct sim *s);		/* all copies, and every acknowledged write in them */

#endif /* TESTS_UNIT_SIM_H */
