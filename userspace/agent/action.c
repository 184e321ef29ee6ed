// SPDX-License-Identifier: GPL-2.0-or-later
#include "action.h"

#include <stdio.h>
#include <stdlib.h>

void action_init(struct action_queue *q)
{
	q->first = NULL;
	q->last = &q->first;
}

struct action *action_add(struct action_queue *q, enum action_kind kind, size_t length)
{
	struct action *a = calloc(1, sizeof(*a) + length);

	if (!a) {
		perror("repl-agent: out of memory");
		abort();
	}
	a->kind = kind;
	a->length = length;
	*q->last = a;
	q->last = &a->next;
	return a;
}

struct action *action_take(struct action_queue *q)
{
	struct action *a = q->first;

	if (!a)
		return NULL;
	q->first = a->next;
	if (!q->first)
		q->last = &q->first;
	return a;
}

void action_free(struct action *a)
{
	if (!a)
		return;
	free(a->op.extents);
	free(a->text);
	free(a);
}

const char *op_name(enum op_kind kind)
{
	static const char *const name[] = {
		[OP_NONE] = "nothing",
		[OP_SLOT_SET] = "assign a slot",
		[OP_FOLLOW] = "stop using this copy",
		[OP_MARK] = "mark blocks",
		[OP_FREEZE] = "freeze the volume",
		[OP_LINK_ADD] = "adopt the link",
		[OP_LINK_DEL] = "drop the link",
		[OP_ROLE] = "change the role",
		[OP_RESUME] = "go on without the lost peer",
		[OP_RESIZE] = "grow",
		[OP_REPLACE] = "replace the disk",
		[OP_DETACH] = "take the volume down",
		[OP_EPOCH] = "end the epoch",
		[OP_RECORD] = "record the epoch",
		[OP_CUT] = "cut",
		[OP_COMMIT] = "commit the cut",
		[OP_LINK_OPEN] = "connect the link",
		[OP_MAP_SEND] = "send the map",
		[OP_DELTA_SEND] = "send a delta",
		[OP_DELTA_APPLY] = "apply a delta",
		[OP_STAGE_SEAL] = "complete the staging file",
		[OP_STAGE_APPLY] = "apply what was staged",
		[OP_STAGE_DROP] = "remove the staging file",
		[OP_STAGE_CLEAN] = "remove an old staging file",
		[OP_STAGE_FIND] = "read the staging file",
		[OP_SAVE] = "save what only this copy has",
		[OP_VERIFY_OPEN] = "open the digests",
		[OP_VERIFY_TAKE] = "read what was written",
		[OP_VERIFY_COMPARE] = "compare",
		[OP_VERIFY_SEAL] = "store the digests",
		[OP_VERIFY_SERVE] = "answer the comparison",
	};

	return name[kind];
}
