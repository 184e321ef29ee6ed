// SPDX-License-Identifier: GPL-2.0-or-later
#include "replace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "task.h"
#include "units.h"

/* Why there is nothing to replace, or no way; NULL: there is. */
static const char *obstacle(const struct kernel_volume *k)
{
	if (k->flags & REPL_VF_REPLACING)
		return "a new disk is being filled already: see status";
	if (k->role != REPL_ROLE_PRIMARY)
		return "it is not primary here: take it down, make the new disk a copy with mkfs.repl, and "
		       "bring it up: it gets a full copy";
	if (k->flags & REPL_VF_FAILING)
		return "all its I/O fails, and no live peer is there to copy from: make it secondary with "
		       "--force, and a peer that was in sync primary";
	if (!(k->flags & REPL_VF_DISKLESS))
		return "its disk has not failed";
	return NULL;
}

void core_replace(struct core *c, const struct core_request *r)
{
	struct volume *v = task_volume(c, r);
	const char *why = v ? obstacle(&v->k) : NULL;

	if (!v)
		return;
	if (why) {
		core_reply(c, r->id, false, "%s: %s", v->name, why);
		return;
	}
	v->task = (struct task){ .kind = TASK_REPLACE, .request = r->id };
	core_log(c, LOG_LEVEL_INFO, v, NULL, "the disk %s has failed and is to be replaced", v->k.backing);
	task_go(v);
}

/* What a procedure still reads of the old disk ends first. */
void replace_go(struct volume *v)
{
	struct op op = { .kind = OP_REPLACE };

	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->pending)
			return;
	if (v->pending)
		return;
	v->task.begun = true;
	core_op(v, NULL, &op);
}

void replace_op_done(struct volume *v, const struct op_result *r)
{
	const char *why = r->text && r->text[0] ? r->text : r->error ? strerror(-r->error) : "";
	char text[CORE_REASON_MAX];

	if (r->error)
		snprintf(text, sizeof(text), "%s: the disk could not be replaced: %s", v->name, why);
	else
		snprintf(text, sizeof(text), "%s: the new disk is being filled from a live peer, which status "
			 "shows; until then there is no copy here", v->name);
	task_end(v, !r->error, text);
	core_get(v);
}

/* ------------------------------------------------------------ progress -- */

static void begun(struct volume *v)
{
	char left[UNITS_TEXT_MAX];

	v->fill_words_at = v->core->now;
	v->fill_percent = 0;
	core_log(v->core, LOG_LEVEL_INFO, v, NULL, "filling %s: %s left", v->k.backing,
		 units_format_bytes(v->k.size - v->k.replaced, left));
}

static void ended(struct volume *v)
{
	if (v->k.flags & REPL_VF_DISKLESS)
		core_log(v->core, LOG_LEVEL_WARN, v, NULL,
			 "%s was not filled to the end: the kernel's log says why, and there is no copy here",
			 v->k.backing);
	else
		core_log(v->core, LOG_LEVEL_INFO, v, NULL, "%s is full: the copy here is complete",
			 v->k.backing);
}

static void progress(struct volume *v)
{
	uint64_t percent = v->k.size ? v->k.replaced * 100 / v->k.size : 0;
	uint64_t ms = v->core->now - v->fill_words_at;
	char left[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX];

	if (ms < CORE_WORDS_MIN_MS || (percent / 10 == v->fill_percent / 10 && ms < CORE_WORDS_MS))
		return;
	v->fill_words_at = v->core->now;
	v->fill_percent = (unsigned int)percent;
	core_log(v->core, LOG_LEVEL_INFO, v, NULL, "filled %" PRIu64 " %% of %s, %s left, %s/s", percent,
		 v->k.backing, units_format_bytes(v->k.size - v->k.replaced, left),
		 units_format_bytes(v->k.replaced * 1000 / (v->k.replace_ms ? v->k.replace_ms : 1), rate));
}

void replace_snapshot(struct volume *v)
{
	bool filling = v->k.flags & REPL_VF_REPLACING, was = v->filling;

	v->filling = filling;
	v->fill_at = filling ? v->core->now + CORE_FILL_MS : 0;
	if (filling && !was)
		begun(v);
	else if (filling)
		progress(v);
	else if (was)
		ended(v);
}

void replace_tick(struct volume *v)
{
	if (!v->fill_at || v->core->now < v->fill_at)
		return;
	v->fill_at = 0;
	core_get(v);
}
