// SPDX-License-Identifier: GPL-2.0-or-later
#include "resize.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pair.h"
#include "redo.h"
#include "session.h"
#include "task.h"
#include "units.h"

/* ------------------------------------------------------------ the plan -- */

static const char *bytes(uint64_t n, char text[UNITS_TEXT_MAX + 40])
{
	char human[UNITS_TEXT_MAX];

	snprintf(text, UNITS_TEXT_MAX + 40, "%s (%" PRIu64 " bytes)", units_format_bytes(n, human),
		 n);
	return text;
}

/* The copy that decides how large the volume is: the primary's, or this node's. */
static const struct resize_copy *volume_copy(const struct resize_copy *copy, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (copy[i].primary)
			return &copy[i];
	return copy;
}

/* Who lacks how much, everybody who does. */
static void name_small(const struct resize_copy *copy, unsigned int count, uint64_t size,
		       char text[REPL_TEXT_MAX])
{
	char room[UNITS_TEXT_MAX + 40], lacks[UNITS_TEXT_MAX + 40];
	size_t at = 0;

	for (unsigned int i = 0; i < count && at < REPL_TEXT_MAX - 1; i++)
		if (copy[i].room < size)
			at += (size_t)snprintf(text + at, REPL_TEXT_MAX - at,
					       "%s%s has room for %s only, %s too few", at ? "; " : "",
					       copy[i].name, bytes(copy[i].room, room),
					       bytes(size - copy[i].room, lacks));
	if (at < REPL_TEXT_MAX - 1)
		snprintf(text + at, REPL_TEXT_MAX - at, ": make its device larger first");
}

uint64_t resize_plan(const struct resize_copy *copy, unsigned int count, uint64_t size,
		     char text[REPL_TEXT_MAX])
{
	const struct resize_copy *now = volume_copy(copy, count), *least = copy;
	char is[UNITS_TEXT_MAX + 40];
	bool done = true;

	for (unsigned int i = 0; i < count; i++)
		if (copy[i].room < least->room)
			least = &copy[i];
	text[0] = '\0';
	if (!size)
		size = least->room;
	else if (size < now->size || size % REPL_BLOCK_BYTES)
		snprintf(text, REPL_TEXT_MAX, "it has %s: it can grow, by whole blocks of 4 KiB, but "
			 "not shrink", bytes(now->size, is));
	if (!text[0] && size > least->room)
		name_small(copy, count, size, text);
	for (unsigned int i = 0; i < count; i++)
		done &= copy[i].size >= size;
	if (!text[0] && (size < now->size || done))
		snprintf(text, REPL_TEXT_MAX, "it has %s already, and %s has room for no more: make the "
			 "devices of all nodes larger first", bytes(now->size, is), least->name);
	return text[0] ? 0 : size;
}

/* ---------------------------------------------------------- this copy --- */

/*
 * No procedure of any pair may hold a cut or a link while the kernel grows.  While they are held
 * nobody catches up, and no other command is taken: so that is not waited for without end, and
 * less long than by the node that may have asked for it, which is to hear why.
 */
static void begin_here(struct volume *v)
{
	v->task.here = RESIZE_HOLD;
	v->task.deadline = v->core->now + (v->task.asker ? CORE_RESIZE_MS / 2 : CORE_RESIZE_MS);
	for (unsigned int i = 0; i < v->pair_count; i++)
		pair_hold(v->pair[i]);
}

static void here_go(struct volume *v)
{
	struct op op = { .kind = OP_RESIZE, .size = v->task.size };

	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->pending)
			return;
	if (v->task.here != RESIZE_HOLD || v->pending || redo_active(v))
		return;
	v->task.here = RESIZE_OP;
	v->task.begun = true;
	core_op(v, NULL, &op);
}

static void release(struct volume *v)
{
	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->phase == PHASE_HOLD)
			pair_release(v->pair[i]);
	core_get(v);
}

static void __attribute__((format(printf, 2, 3))) fail(struct volume *v, const char *fmt, ...)
{
	char text[CORE_REASON_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (v->task.here == RESIZE_OP) {
		/* What the kernel has begun ends first. */
		snprintf(v->task.failed, sizeof(v->task.failed), "%s", text);
		return;
	}
	release(v);
	task_end(v, false, text);
}

static void answer(struct pair *p, bool well, const char *text)
{
	const struct volume *v = p->volume;
	struct msg_grow says = { .size = v->k.size, .room = v->k.room, .ok = well };
	struct {
		struct repl_msg_grow m;
		char text[REPL_TEXT_MAX];
	} m;

	msg_pack_grow(&says, &m.m);
	snprintf(m.text, sizeof(m.text), "%s", text);
	session_send(p, REPL_MSG_GROWN, &m, sizeof(m.m) + strlen(m.text));
}

void resize_op_done(struct volume *v, const struct op_result *r)
{
	struct pair *asker = v->task.asker;
	const char *why = r->text && r->text[0] ? r->text : r->error ? strerror(-r->error) : "";

	v->task.begun = false;
	v->task.here = RESIZE_DONE;
	release(v);
	if (asker) {
		answer(asker, !r->error, why);
		v->task = (struct task){ 0 };
	} else if (r->error) {
		fail(v, "%s: %s could not grow: %s", v->name, v->core->node, why);
	} else if (v->task.failed[0]) {
		fail(v, "%s", v->task.failed);
	} else {
		resize_go(v);
	}
}

/* --------------------------------------------------- who asks all others -- */

static void ask(struct pair *p, unsigned int index, uint64_t size)
{
	struct msg_grow question = { .size = size };
	struct repl_msg_grow m;

	msg_pack_grow(&question, &m);
	p->volume->task.waits |= 1u << index;
	p->volume->task.deadline = p->core->now + CORE_RESIZE_MS;
	session_send(p, REPL_MSG_GROW, &m, sizeof(m));
}

void core_resize(struct core *c, const struct core_request *r)
{
	struct volume *v = task_volume(c, r);

	if (!v)
		return;
	if (redo_stuck(v)) {
		core_reply(c, r->id, false, "%s: what was staged here cannot be applied, and every copy must grow: mend "
			   "that first: %s", v->name, v->redo.why);
		return;
	}
	for (unsigned int i = 0; v->set.arbiter && i < v->pair_count; i++) {
		if (v->k.role != REPL_ROLE_PRIMARY && !(v->pair[i]->theirs.flags & REPL_MV_PRIMARY))
			continue;
		core_reply(c, r->id, false, "%s: it has an arbiter, and does not grow while it is in use: make "
			   "it secondary (repl-ctl secondary %s), resize it, and make it primary again",
			   v->name, v->name);
		return;
	}
	for (unsigned int i = 0; i < v->pair_count; i++) {
		const struct pair *p = v->pair[i];

		if (p->session && p->have_theirs)
			continue;
		core_reply(c, r->id, false, "%s: %s is away, and every copy must grow: connect it first (%s)",
			   v->name, p->peer->name, p->reason);
		return;
	}
	v->task = (struct task){ .kind = TASK_RESIZE, .request = r->id, .size = r->size };
	for (unsigned int i = 0; i < v->pair_count; i++)
		ask(v->pair[i], i, 0);
	core_get(v);
}

static bool plan(struct volume *v)
{
	struct resize_copy copy[REPL_SLOTS_MAX + 1] = { {
		.name = v->core->node, .primary = v->k.role == REPL_ROLE_PRIMARY,
		.size = v->k.size, .room = v->k.room,
	} };
	char text[REPL_TEXT_MAX];

	for (unsigned int i = 0; i < v->pair_count; i++)
		copy[i + 1] = (struct resize_copy){
			.name = v->pair[i]->peer->name, .size = v->pair[i]->grown.size,
			.room = v->pair[i]->grown.room,
			.primary = v->pair[i]->theirs.flags & REPL_MV_PRIMARY,
		};
	v->task.size = resize_plan(copy, v->pair_count + 1, v->task.size, text);
	if (!v->task.size)
		fail(v, "%s: %s", v->name, text);
	return v->task.size;
}

/* Everybody who is secondary, or else the primary. */
static void tell(struct volume *v, bool primary)
{
	for (unsigned int i = 0; i < v->pair_count; i++) {
		struct pair *p = v->pair[i];

		if (!(p->theirs.flags & REPL_MV_PRIMARY) == !primary && p->grown.size < v->task.size)
			ask(p, i, v->task.size);
	}
	if ((v->k.role == REPL_ROLE_PRIMARY) == primary && v->k.size < v->task.size)
		begin_here(v);
}

static void next_step(struct volume *v)
{
	char text[256], human[UNITS_TEXT_MAX];

	v->task.deadline = 0;
	switch (v->task.step++) {
	case 0:
		if (plan(v))
			tell(v, false);
		break;
	case 1:
		tell(v, true);
		break;
	default:
		snprintf(text, sizeof(text), "%s: has %s now; the new blocks are copied as any others",
			 v->name, units_format_bytes(v->task.size, human));
		task_end(v, true, text);
		break;
	}
}

static bool here_busy(const struct volume *v)
{
	return v->task.here == RESIZE_HOLD || v->task.here == RESIZE_OP;
}

void resize_go(struct volume *v)
{
	if (v->task.here == RESIZE_HOLD)
		here_go(v);
	while (v->task.kind == TASK_RESIZE && v->task.looked && !v->task.waits && !here_busy(v))
		next_step(v);
	if (v->task.here == RESIZE_HOLD)
		here_go(v);
}

void resize_heard(struct pair *p, const struct msg_grow *m, const void *why, size_t length)
{
	struct volume *v = p->volume;
	char text[REPL_TEXT_MAX];

	for (unsigned int i = 0; i < v->pair_count; i++) {
		if (v->pair[i] != p || v->task.kind != TASK_RESIZE || !(v->task.waits & 1u << i))
			continue;
		v->task.waits &= ~(1u << i);
		p->grown = *m;
		msg_text(text, why, length);
		if (m->ok)
			resize_go(v);
		else
			fail(v, "%s: %s could not grow: %s", v->name, p->peer->name, text);
		return;
	}
}

void resize_peer_lost(struct pair *p)
{
	struct volume *v = p->volume;

	p->asks_room = false;
	if (v->task.asker == p)
		core_log(v->core, LOG_LEVEL_WARN, v, p, "it asked for this copy to grow, and was lost meanwhile");
	for (unsigned int i = 0; i < v->pair_count; i++) {
		if (v->pair[i] != p || v->task.kind != TASK_RESIZE || !(v->task.waits & 1u << i))
			continue;
		v->task.waits = 0;
		fail(v, "%s: %s was disconnected before it said that it has grown: see status, and run "
		     "the same command again", v->name, p->peer->name);
		return;
	}
}

/* Held, and what it waits for has not ended. */
static void give_up_here(struct volume *v)
{
	const char *why = redo_active(v) ? "what was staged there is being applied still: try again when that is done"
					 : "what it does with a peer has not ended in time: try again";

	if (v->task.kind == TASK_RESIZE) {
		fail(v, "%s: %s could not grow: %s", v->name, v->core->node, why);
		return;
	}
	answer(v->task.asker, false, why);
	fail(v, "%s: did not grow: %s", v->name, why);
}

void resize_tick(struct volume *v)
{
	/* What the kernel has begun has none: it ends the task. */
	v->task.deadline = 0;
	for (unsigned int i = 0; i < v->pair_count; i++) {
		if (!(v->task.waits & 1u << i))
			continue;
		v->task.waits = 0;
		fail(v, "%s: %s did not say whether it has grown: see status, and run the same command "
		     "again", v->name, v->pair[i]->peer->name);
		return;
	}
	if (v->task.here == RESIZE_HOLD)
		give_up_here(v);
}

/* ----------------------------------------------------------- who is asked -- */

void resize_snapshot(struct volume *v)
{
	v->task.looked = true;
	for (unsigned int i = 0; i < v->pair_count; i++) {
		if (!v->pair[i]->asks_room)
			continue;
		v->pair[i]->asks_room = false;
		answer(v->pair[i], true, "");
	}
}

void resize_asked(struct pair *p, const struct msg_grow *m)
{
	struct volume *v = p->volume;

	if (!m->size) {
		p->asks_room = true;
		core_get(v);
	} else if (v->k.size >= m->size) {
		answer(p, true, "");
	} else if (v->task.kind != TASK_NONE) {
		answer(p, false, "another command for it is under way there: try again when it has ended");
	} else if (redo_stuck(v)) {
		answer(p, false, "what was staged there cannot be applied: mend that first, see status there");
	} else {
		core_log(v->core, LOG_LEVEL_INFO, v, p, "asks for %" PRIu64 " bytes: this copy grows",
			 m->size);
		v->task = (struct task){ .kind = TASK_GROW, .size = m->size, .asker = p };
		begin_here(v);
		resize_go(v);
	}
}
