// SPDX-License-Identifier: GPL-2.0-or-later
#include "redo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "id.h"
#include "pair.h"
#include "task.h"
#include "units.h"

static void step(struct volume *v, enum redo_step next, struct op *op)
{
	v->redo.step = next;
	op->staged = v->redo.what;
	core_op(v, NULL, op);
}

bool redo_active(const struct volume *v)
{
	return v->redo.step != REDO_NONE && v->redo.step != REDO_LEFT;
}

bool redo_stuck(const struct volume *v)
{
	return redo_active(v) && v->redo.failures;
}

/* The slot of whom this copy has followed; -1: there is none any more. */
static int leader_slot(const struct volume *v)
{
	const struct kernel_slot *s = copy_slot(&v->k, v->redo.what.key);

	return s ? s->index : -1;
}

static void seal(struct volume *v)
{
	struct op op = { .kind = OP_STAGE_SEAL };

	step(v, REDO_SEAL, &op);
}

static void give_up(struct volume *v)
{
	struct op op = {
		.kind = OP_FOLLOW, .slot = (uint8_t)leader_slot(v), .id = v->redo.what.uuid,
	};

	step(v, REDO_GIVE_UP, &op);
}

static void apply(struct volume *v)
{
	struct op op = { .kind = OP_STAGE_APPLY, .size = v->k.size };

	/* Those that are free as well: a backup that has just made one for itself is not known here yet. */
	op.mask = ((1u << v->k.slots) - 1) & ~(1u << leader_slot(v));
	v->redo.error = 0;
	step(v, REDO_APPLY, &op);
}

static void record(struct volume *v)
{
	struct op op = {
		.kind = OP_RECORD, .slot = (uint8_t)leader_slot(v), .id = v->redo.what.generation,
		.epoch = v->redo.what.epoch, .follow = true,
	};

	memcpy(op.history, v->redo.what.history, sizeof(op.history));
	step(v, REDO_RECORD, &op);
}

static void drop(struct volume *v)
{
	struct op op = { .kind = OP_STAGE_DROP };

	step(v, REDO_DROP, &op);
}

/* The kernel is asked again what it has recorded. */
static void look(struct volume *v)
{
	v->redo.step = REDO_LOOK;
	core_get(v);
}

static const char *words(const struct op_result *r)
{
	return r->text && r->text[0] ? r->text : strerror(-r->error);
}

static void end(struct volume *v)
{
	struct redo was = v->redo;

	v->redo = (struct redo){ 0 };
	core_get(v);
	if (was.pair && was.pair->turn == was.turn)
		follow_redone(was.pair, was.error, was.why);
}

static void clean_later(struct volume *v)
{
	v->redo.at = v->core->now + core_backoff(v->core, CORE_RETRY_MAX_MS, CORE_FULL_MS,
						 v->redo.failures++);
}

/*
 * Nothing waits for it: the superblock names this file no more, or is about to be overruled, so
 * that nobody applies it, whatever becomes of this copy.  Only its room and its name are in use.
 */
static void left(struct volume *v, const struct op_result *r)
{
	if (!v->stage_left)
		core_log(v->core, LOG_LEVEL_WARN, v, NULL, "%s; what is in it is not applied any more, but nothing "
			 "else can be staged before it is gone: let the agent remove files there, or remove it; "
			 "it is tried again", words(r));
	v->stage_left = true;
	end(v);
	v->redo.step = REDO_LEFT;
	clean_later(v);
}

static void gone(struct volume *v)
{
	if (v->stage_left)
		core_log(v->core, LOG_LEVEL_INFO, v, NULL, "the old staging file is gone");
	v->stage_left = false;
}

static void cleaned(struct volume *v, const struct op_result *r)
{
	/* Else a new file was made meanwhile, which took the old one away. */
	if (v->redo.step != REDO_LEFT)
		return;
	if (r->error) {
		clean_later(v);
		return;
	}
	gone(v);
	v->redo = (struct redo){ 0 };
}

void redo_begin(struct pair *p, const struct copy *to)
{
	struct volume *v = p->volume;
	struct staged *what = &v->redo.what;

	v->redo = (struct redo){ .pair = p, .turn = p->turn };
	*what = (struct staged){
		.uuid = to->uuid, .generation = to->generation, .epoch = to->epoch,
		.base_generation = v->k.generation, .base_epoch = v->k.epoch,
	};
	memcpy(what->history, to->history, sizeof(what->history));
	memcpy(what->key, p->peer->key, sizeof(what->key));
	seal(v);
}

void redo_forget(struct volume *v)
{
	core_log(v->core, LOG_LEVEL_WARN, v, NULL, "what was staged and could not be applied is dropped: "
		 "%s", v->redo.why);
	v->redo.pair = NULL;
	drop(v);
}

/* Between GIVE_UP and RECORD there is no way back: the same again, from the beginning. */
static void again(struct volume *v, enum op_kind kind, const struct op_result *r)
{
	struct redo *redo = &v->redo;

	snprintf(redo->why, sizeof(redo->why), "could not %s: %s", op_name(kind), words(r));
	if (!redo->failures)
		core_log(v->core, LOG_LEVEL_ERROR, v, NULL, "%s; this copy is not consistent until it "
			 "can, and it is tried again", redo->why);
	redo->step = REDO_WAIT;
	redo->at = v->core->now + core_backoff(v->core, CORE_RETRY_MIN_MS, CORE_RETRY_MAX_MS,
					       redo->failures++);
}

/* Nothing else makes this copy consistent again, short of a leader that is there: it is not given up. */
static void find_later(struct volume *v, const char *why)
{
	struct redo *redo = &v->redo;

	snprintf(redo->why, sizeof(redo->why), "%s", why);
	if (!redo->failures)
		core_log(v->core, LOG_LEVEL_ERROR, v, NULL, "%s; this copy is not consistent until it can be "
			 "read, which is tried again; who removes that file gives it up", why);
	redo->step = REDO_WAIT;
	redo->at = v->core->now + core_backoff(v->core, CORE_RETRY_MIN_MS, CORE_RETRY_MAX_MS,
					       redo->failures++);
}

static void found(struct volume *v, const struct op_result *r)
{
	if (r->error && r->error != -ENOENT) {
		find_later(v, r->text);
		return;
	}
	if (r->error) {
		core_log(v->core, LOG_LEVEL_WARN, v, NULL, "nothing is staged any more: this copy is not "
			 "consistent until it has caught up");
		v->redo = (struct redo){ 0 };
	} else {
		core_staged(v, r->staged);
	}
	core_get(v);
}

/* The file itself is damaged: there is no second one. */
static void lost(struct volume *v, const char *text)
{
	v->redo.error = -EBADMSG;
	snprintf(v->redo.why, sizeof(v->redo.why), "%s", text);
	core_log(v->core, LOG_LEVEL_ERROR, v, NULL, "a delta was being applied, and the rest of it is lost "
		 "(%s): this copy is not consistent until it has caught up", text);
	drop(v);
}

static void failed(struct volume *v, enum op_kind kind, const struct op_result *r)
{
	struct redo *redo = &v->redo;

	if (redo->step == REDO_APPLY && r->error == -EBADMSG) {
		lost(v, r->text ? r->text : "damaged");
	} else if (redo->step == REDO_APPLY || (redo->step == REDO_RECORD && redo->what.bytes)) {
		again(v, kind, r);
	} else if (redo->step == REDO_DROP) {
		left(v, r);
	} else {
		redo->error = r->error;
		snprintf(redo->why, sizeof(redo->why), "could not %s: %s", op_name(kind), words(r));
		if (redo->step == REDO_GIVE_UP && redo->failures)
			again(v, kind, r);
		else if (redo->step == REDO_GIVE_UP)
			look(v);	/* it may be recorded all the same */
		else
			drop(v);
	}
}

static void went_well(struct volume *v, const struct op_result *r)
{
	struct redo *redo = &v->redo;

	switch (redo->step) {
	case REDO_SEAL:
		redo->what.bytes = r->moved.sent_bytes + r->moved.zero_bytes;
		redo->what.file = r->staged ? r->staged->file : 0;
		if (redo->what.bytes)
			give_up(v);
		else
			record(v);
		break;
	case REDO_GIVE_UP:
		apply(v);
		break;
	case REDO_APPLY:
		record(v);
		break;
	case REDO_RECORD:
		/* It is the leader's copy now: how this one stopped once has no bearing on it. */
		v->unclean = false;
		drop(v);
		break;
	default:
		gone(v);
		end(v);
		break;
	}
}

bool redo_op_done(struct volume *v, enum op_kind kind, const struct op_result *r)
{
	if (kind != OP_STAGE_SEAL && kind != OP_FOLLOW && kind != OP_STAGE_APPLY &&
	    kind != OP_RECORD && kind != OP_STAGE_DROP && kind != OP_STAGE_FIND &&
	    kind != OP_STAGE_CLEAN)
		return false;
	if (kind == OP_STAGE_FIND)
		found(v, r);
	else if (kind == OP_STAGE_CLEAN)
		cleaned(v, r);
	else if (r->error)
		failed(v, kind, r);
	else
		went_well(v, r);
	return true;
}

/*
 * Whether the superblock says that this very file is being applied.  That the file begins where
 * this copy is would not do: it may have been out of sight, on a file system that was not mounted,
 * while newer blocks came directly, and a copy that they are in is of the generation that it was.
 */
static bool names(const struct volume *v, const struct staged *what)
{
	return what->file && what->file == v->k.staged && what->base_epoch == v->k.epoch &&
	       id_equal(&what->base_generation, &v->k.generation);
}

static void resume(struct volume *v)
{
	const struct staged *what = &v->redo.what;
	char text[UNITS_TEXT_MAX];

	if (v->k.sb_flags & REPL_SB_CONSISTENT) {
		drop(v);
	} else if (!names(v, what)) {
		core_log(v->core, LOG_LEVEL_WARN, v, NULL, "a staging file was found that this copy does not "
			 "wait for: what is in it is older than this copy, or for another one");
		drop(v);
	} else if (leader_slot(v) < 0) {
		lost(v, "the node that it came from has no slot any more");
	} else {
		core_log(v->core, LOG_LEVEL_INFO, v, NULL, "applying what was staged, %s, to reach "
			 "epoch %" PRIu64, units_format_bytes(what->bytes, text), what->epoch);
		/* What has made it fail may be a disk that has lost some of it: that must be known to begin anew. */
		if (v->redo.failures)
			give_up(v);
		else
			apply(v);
	}
}

void redo_snapshot(struct volume *v)
{
	if (v->redo.step == REDO_LOOK && v->task.kind != TASK_DOWN)
		resume(v);
}

void redo_tick(struct volume *v)
{
	struct op op = { .kind = OP_STAGE_FIND }, clean = { .kind = OP_STAGE_CLEAN };

	if (!v->redo.at || v->core->now < v->redo.at)
		return;
	if (v->redo.step == REDO_LEFT) {
		v->redo.at = 0;
		core_op(v, NULL, &clean);
	} else if (v->redo.step == REDO_WAIT && v->redo.unread) {
		step(v, REDO_FIND, &op);
	} else if (v->redo.step == REDO_WAIT) {
		look(v);
	}
}

void core_staged(struct volume *v, const struct staged *what)
{
	v->redo = (struct redo){ .step = REDO_LOOK, .what = *what };
}

void core_unread(struct volume *v, const char *why)
{
	v->redo = (struct redo){ .unread = true };
	find_later(v, why);
}
