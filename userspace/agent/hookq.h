/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Notices of one volume that wait for the programs which are told of them.  They are
 * handed out in order.  When many wait, of those about the same thing only the latest is
 * kept, which says how many it stands for: programs that are slow learn what is so now, and
 * the queue has a bound.  Pure.
 */
#ifndef REPL_AGENT_HOOKQ_H
#define REPL_AGENT_HOOKQ_H

#include "notice.h"

enum { HOOKQ_MANY = 16 };	/* so many wait in full */

struct hookq_entry {
	struct hookq_entry *next;
	struct notice notice;
	unsigned int skipped;	/* earlier ones about the same thing that were left out */
};

struct hookq {
	struct hookq_entry *first;
	unsigned int count;
};

/** hookq_add - at the end. Return: false when there was no memory for it. */
bool hookq_add(struct hookq *q, const struct notice *n);

/** hookq_take - the oldest, which free() releases; or NULL */
struct hookq_entry *hookq_take(struct hookq *q);

#endif /* REPL_AGENT_HOOKQ_H */
