/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The volumes of this node and of those that its agent has a session with. */
#ifndef REPL_CTL_CLUSTER_H
#define REPL_CTL_CLUSTER_H

#include <stdbool.h>

#include <jansson.h>

#include "ctl.h"
#include "view.h"

struct cluster_node {
	char name[REPL_NODE_MAX];
	char state[16];			/* here, answers, silent, disconnected, unasked, unknown */
	char reason[VIEW_WORDS_MAX];	/* why it has told nothing; "" it has */
	unsigned int left_out;		/* volumes that it has not told of: they were too many */
	enum view_health health;	/* the worst there is */
	const struct view_volume *volume;
	size_t count;
	/* Of another node: what ->volume points into. */
	struct view_volume *told;
	struct kernel_volume *kernel;
};

struct cluster {
	const struct view *here;
	struct cluster_node *node;	/* this one first */
	size_t count;
};

/**
 * cluster_read - from what the agent has told
 * @here: this node, as view_open() has found it
 * @answer: the agent's, to "nodes"; NULL: it has not answered
 * @why: then
 * @only: a volume's name; NULL: all
 *
 * Return: 0, or -ENOMEM; cluster_free() it in either case.
 */
int cluster_read(struct cluster *c, const struct view *here, const json_t *answer, const char *why,
		 const char *only);
void cluster_free(struct cluster *c);

/** cluster_report - as status --all-nodes --json prints it. Return: NULL without memory. */
json_t *cluster_report(const struct cluster *c);

/** cluster_health - the worst of all; of a node that should have told and has not, degraded */
enum view_health cluster_health(const struct cluster *c);

/** cluster_status - status --all-nodes. Return: enum ctl_exit. */
int cluster_status(const struct ctl *ctl, const char *only, bool json, bool check);

#endif /* REPL_CTL_CLUSTER_H */
