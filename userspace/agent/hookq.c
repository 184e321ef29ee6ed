// SPDX-License-Identifier: GPL-2.0-or-later
#include "hookq.h"

#include <stdlib.h>

static struct hookq_entry *later(const struct hookq_entry *e)
{
	for (struct hookq_entry *l = e->next; l; l = l->next)
		if (notice_same(&e->notice, &l->notice))
			return l;
	return NULL;
}

static void compact(struct hookq *q)
{
	struct hookq_entry **at = &q->first;

	while (*at) {
		struct hookq_entry *e = *at, *l = later(e);

		if (!l) {
			at = &e->next;
			continue;
		}
		l->skipped += e->skipped + 1;
		*at = e->next;
		free(e);
		q->count--;
	}
}

bool hookq_add(struct hookq *q, const struct notice *n)
{
	struct hookq_entry *e = calloc(1, sizeof(*e)), **at = &q->first;

	if (!e)
		return false;
	e->notice = *n;
	while (*at)
		at = &(*at)->next;
	*at = e;
	if (++q->count > HOOKQ_MANY)
		compact(q);
	return true;
}

struct hookq_entry *hookq_take(struct hookq *q)
{
	struct hookq_entry *e = q->first;

	if (!e)
		return NULL;
	q->first = e->next;
	q->count--;
	return e;
}
