/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All that is known of this node's volumes: what the configuration asks for,
 * what the kernel has, and what the agent adds.  Any of the three may be missing.
 */
#ifndef REPL_CTL_VIEW_H
#define REPL_CTL_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "config.h"
#include "kernel.h"

enum view_limits {
	VIEW_PEERS_MAX		= 2 * REPL_SLOTS_MAX,	/* with a slot, configured, or both */
	VIEW_FINDINGS_MAX	= 8,
	VIEW_WORDS_MAX		= 512,
};

/* In the order of how much there is to worry about. */
enum view_state {
	VIEW_DISCONNECTED,
	VIEW_CONNECTING,
	VIEW_BEHIND,
	VIEW_SYNCING,
	VIEW_ROLLING,
	VIEW_LIVE,
};

enum view_health {
	VIEW_HEALTHY,
	VIEW_DEGRADED,
	VIEW_DOWN,
};

struct view_progress {
	bool known;
	double percent;
	uint64_t bytes_left;
	uint64_t rate;		/* bytes/s */
	int64_t eta_s;		/* -1: unknown */
};

/* What the last catching up has moved, or the one under way so far. */
struct view_caught_up {
	bool known;
	uint64_t bytes;		/* that were sent */
	uint64_t zero_bytes;	/* told as ranges */
	uint64_t compared_bytes;	/* by digests */
	uint64_t equal_bytes;	/* of these: not sent */
	unsigned int passes;
};

/* Of a peer in rolling mode. */
struct view_rolling {
	bool known;
	uint64_t interval_ms;
	int64_t age_ms, worst_ms;	/* of its copy; -1: not known */
	int64_t behind_bytes;		/* what it lacks, what is staged there included; -1: not known */
	int64_t bound_ms;		/* how old it may be; -1: an agent that does not say */
	char policy[16];		/* what happens then: alarm, throttle; "" unknown */
	char on_return[16];		/* wait, save-and-follow; "" unknown */
	unsigned int held_percent;	/* of the time writes wait */
	bool late;			/* it is older, or was not yet young again since */
};

struct view_peer {
	char name[REPL_NODE_MAX];	/* or the start of its key, when nobody named it */
	enum view_state state;
	const struct kernel_slot *slot;	/* NULL: never met */
	bool configured;		/* the volume's file names it */
	enum config_mode mode;		/* 0: not known */
	char session[16];		/* as the agent says; "" unknown */
	char verdict[VIEW_WORDS_MAX];
	char reason[VIEW_WORDS_MAX];	/* why it is not live; "" unknown */
	struct view_progress progress;
	struct view_caught_up caught_up;
	struct view_rolling rolling;
	const json_t *verify;		/* the agent's, of the view's answer; NULL: never compared */
	const json_t *split;		/* the same; NULL: none is known */
};

/* Who is asked before a generation begins, and what became of it. */
struct view_arbiter {
	bool known;			/* there is one, and the agent has told */
	char is[VIEW_WORDS_MAX];	/* "node:mail3" */
	char state[16];			/* idle, asked, granted, unusable */
	char waits[VIEW_WORDS_MAX];	/* what for, and why in vain so far; "" nothing */
	char answer[16];		/* the last one; "" none yet */
	char said[VIEW_WORDS_MAX];
	int64_t answer_age_ms;		/* -1: none yet */
};

/* Something that is wrong, and what to do about it. */
struct view_finding {
	enum view_health health;
	char reason[VIEW_WORDS_MAX];
	char next[VIEW_WORDS_MAX];
};

struct view_volume {
	char name[REPL_NAME_MAX];
	const struct config_volume *config;	/* NULL: not configured */
	const struct kernel_volume *kernel;	/* NULL: not up */
	struct view_peer peer[VIEW_PEERS_MAX];
	size_t peer_count;
	struct view_arbiter arbiter;
	json_t *staged;		/* as the agent says it; part of view.answer; NULL: not told, or null */
	json_t *arbiter_object;	/* the same as the agent says it; part of view.answer; NULL: none */
	enum view_health health;
	struct view_finding finding[VIEW_FINDINGS_MAX];	/* of the volume, then of its peers */
	size_t finding_count;
};

enum view_agent {
	VIEW_AGENT_ANSWERS,
	VIEW_AGENT_DEAD,
	VIEW_AGENT_UNKNOWN,	/* may not be asked: it may be well */
	VIEW_AGENT_SILENT,	/* has not answered in time, or with nothing that can be understood */
};

struct view {
	struct config config;
	bool elsewhere;				/* what another node has told of its own */
	bool config_good;
	char config_problem[VIEW_WORDS_MAX];	/* the first one */
	bool module;				/* the kernel module answers */
	char module_problem[VIEW_WORDS_MAX];
	enum view_agent agent;
	char agent_problem[VIEW_WORDS_MAX];
	json_t *answer;				/* the agent's; NULL without one */
	struct kernel_volume *list;
	size_t list_count;
	struct view_volume *volume;
	size_t count;
};

/**
 * view_open - gather everything
 * @config_dir: the configuration
 * @only: one volume's name, or NULL for all
 * Return: 0, or -ENOMEM.  What could not be reached is noted in @v, not an error.
 */
int view_open(struct view *v, const char *config_dir, const char *only);
void view_close(struct view *v);

/** view_state_word - one of disconnected, connecting, behind, syncing, rolling, live */
const char *view_state_word(enum view_state state);

/** view_health_word - healthy, degraded or down */
const char *view_health_word(enum view_health health);

/**
 * view_merge_peers - fill @vol's peers from its kernel and configured parts
 * @agent: for the names of keys
 * @answer: the agent's object for this volume, or NULL
 */
void view_merge_peers(struct view_volume *vol, const struct config_agent *agent, json_t *answer);

#endif /* REPL_CTL_VIEW_H */
