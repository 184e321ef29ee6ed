// SPDX-License-Identifier: GPL-2.0-or-later
#include "verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "id.h"
#include "mark.h"
#include "pair.h"
#include "session.h"
#include "task.h"
#include "units.h"

/* The mark's name, as it lies in the key of its slot: zeroes behind it. */
#define MARK MARK_VERIFY

enum {
	ANSWER_MS	= 10000,	/* for the peer's READY */
	STUCK_MS	= 60000,	/* no block has been compared */
	QUIET_MS	= 2,		/* between two looks at what is in flight */
};

static const char *words(const struct op_result *r)
{
	return r->text && r->text[0] ? r->text : strerror(-r->error);
}

static void say(struct pair *p, enum repl_verify_step step, const uint8_t *key, const char *text)
{
	struct {
		struct repl_msg_verify m;
		char text[REPL_TEXT_MAX];
	} body;
	struct msg_verify v = { .step = step };
	size_t length = strnlen(text, sizeof(body.text));

	if (key)
		memcpy(v.key, key, sizeof(v.key));
	msg_pack_verify(&v, &body.m);
	memcpy(body.text, text, length);
	session_send(p, REPL_MSG_VERIFY, &body, sizeof(body.m) + length);
}

static void thaw(struct pair *p)
{
	struct action *a;

	if (!p->verify->frozen)
		return;
	p->verify->frozen = false;
	a = action_add(&p->core->actions, ACTION_THAW, 0);
	a->volume = p->volume;
	a->pair = p;
	a->op.flags = REPL_GATE_SNAPSHOT;
}

/* What is under way ends, and moves nothing. */
static void drop_work(struct pair *p)
{
	struct action *a = action_add(&p->core->actions, ACTION_ABORT, 0);

	a->pair = p;
	a->volume = p->volume;
	p->turn++;
}

/* Over: tells whoever waits for it, here or there. */
static void finish(struct pair *p, bool good, const char *text)
{
	struct verify *v = p->verify;

	core_log(p->core, good ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, p->volume, p, "%s: %s",
		 v->scrub ? "scrub" : "verify", text);
	core_reply(p->core, v->request, good, "%s: %s", p->volume->name, text);
	thaw(p);
	if (v->step < VERIFY_UNLINK) {
		say(p, REPL_VERIFY_END, NULL, "");
		drop_work(p);
	}
	judge_free(v->judge);
	free(v);
	p->verify = NULL;
}

void verify_end(struct pair *p, const char *fmt, ...)
{
	char why[CORE_REASON_MAX], text[CORE_REASON_MAX + 128];
	va_list ap;

	if (p->serves) {
		p->serves = false;
		drop_work(p);
	}
	if (!p->verify)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (p->verify->step >= VERIFY_REJOIN)
		snprintf(text, sizeof(text), "%s; the blocks are marked, and are copied when the pair is in sync again", why);
	else if (p->verify->step >= VERIFY_UNLINK)
		snprintf(text, sizeof(text), "%s; whether the blocks are repaired is not known: verify again", why);
	else
		snprintf(text, sizeof(text), "given up: %s; nothing was changed", why);
	finish(p, false, text);
}

void verify_left(struct pair *p, const char *why)
{
	if (p->serves || (p->verify && p->verify->step < VERIFY_UNLINK))
		verify_end(p, "%s", why);
}

void verify_free(struct pair *p)
{
	if (p->verify)
		judge_free(p->verify->judge);
	free(p->verify);
	free(p->verified.range);
	p->verify = NULL;
	p->verified.range = NULL;
}

/* -------------------------------------------------------------- result -- */

static uint64_t bytes(uint64_t blocks)
{
	return blocks << REPL_BLOCK_SHIFT;
}

/* Blocks of ranges that are wrong here, as far as is known. */
static uint64_t wrong_here(const struct verified *d)
{
	uint64_t blocks = 0;

	for (size_t i = 0; i < d->ranges; i++)
		if (d->range[i].side == JUDGE_HERE || d->range[i].side == JUDGE_BOTH)
			blocks += d->range[i].count;
	return blocks;
}

static const char *side_words(enum judge_side side, const char *here, const char *peer)
{
	return side == JUDGE_HERE ? here : side == JUDGE_PEER ? peer :
	       side == JUDGE_BOTH ? "both" : "one of the two";
}

static void log_ranges(struct pair *p)
{
	const struct verified *d = &p->verified;

	for (size_t i = 0; i < d->ranges && i < VERIFY_WORDS_RANGES; i++)
		core_log(p->core, LOG_LEVEL_ERROR, p->volume, p, "%" PRIu64 " bytes at %" PRIu64
			 " differ; changed on %s", bytes(d->range[i].count), bytes(d->range[i].block),
			 side_words(d->range[i].side, p->core->node, p->peer->name));
	if (d->ranges > VERIFY_WORDS_RANGES)
		core_log(p->core, LOG_LEVEL_ERROR, p->volume, p, "and %zu ranges more: repl-ctl status "
			 "--json has them", d->ranges - VERIFY_WORDS_RANGES);
}

static void keep_result(struct pair *p)
{
	struct judge *j = p->verify->judge;

	free(p->verified.range);
	p->verified = (struct verified){
		.at = p->core->now, .scrub = p->verify->scrub, .equal = j->equal, .differ = j->differ,
		.not_compared = j->not_compared, .range = j->range, .ranges = j->ranges,
		.coarse = j->coarse,
	};
	j->range = NULL;
	log_ranges(p);
}

static void repair(struct pair *p)
{
	p->verify->step = VERIFY_UNLINK;
	say(p, REPL_VERIFY_END, NULL, "");
	drop_work(p);
	pair_unlink(p, "the blocks that differ are copied anew");
}

static void result(struct pair *p)
{
	const struct verified *d = &p->verified;
	char equal[UNITS_TEXT_MAX], differ[UNITS_TEXT_MAX], missed[UNITS_TEXT_MAX];
	char text[CORE_REASON_MAX * 2];
	uint64_t here;
	size_t at;

	keep_result(p);
	here = wrong_here(d);
	at = (size_t)snprintf(text, sizeof(text), "%s equal on %s and %s",
			      units_format_bytes(bytes(d->equal), equal), p->core->node, p->peer->name);
	if (d->differ)
		at += (size_t)snprintf(text + at, sizeof(text) - at, ", %s differ in %zu range%s",
				       units_format_bytes(bytes(d->differ), differ), d->ranges,
				       d->ranges == 1 ? "" : "s");
	if (d->not_compared)
		at += (size_t)snprintf(text + at, sizeof(text) - at, ", %s not compared: written all the time",
				       units_format_bytes(bytes(d->not_compared), missed));
	if (p->verify->unstored[0])
		at += (size_t)snprintf(text + at, sizeof(text) - at, "; no digests are stored for a scrub: %s",
				       p->verify->unstored);
	if (!d->differ) {
		finish(p, true, text);
		return;
	}
	if (p->verify->repair && !here) {
		repair(p);
		return;
	}
	if (here)
		snprintf(text + at, sizeof(text) - at, "; %s of it changed here: take %s's: make it primary (repl-ctl secondary %s here, repl-ctl primary %s there), then there: repl-ctl verify %s --peer %s --repair %s",
			 units_format_bytes(bytes(here), equal), p->peer->name, p->volume->name,
			 p->volume->name, p->volume->name, p->core->node, p->peer->name);
	else
		snprintf(text + at, sizeof(text) - at, "; to copy %s's blocks to %s: repl-ctl verify %s --peer %s --repair %s",
			 p->core->node, p->peer->name, p->volume->name, p->peer->name, p->core->node);
	finish(p, false, text);
}

bool verify_unlinked(struct pair *p, const struct op_result *r)
{
	const struct verified *d = &p->verified;
	struct op op = { .kind = OP_MARK };

	if (!p->verify || p->verify->step < VERIFY_UNLINK || p->verify->step > VERIFY_MARK)
		return false;
	if (r->error) {
		verify_end(p, "it cannot be repaired: %s", words(r));
		return false;
	}
	if (p->verify->step == VERIFY_MARK) {
		p->verify->step = VERIFY_REJOIN;
		return false;
	}
	p->verify->step = VERIFY_MARK;
	op.mask = 1u << pair_slot(p);
	op.extents = calloc(d->ranges, sizeof(*op.extents));
	if (!op.extents)
		abort();
	op.extent_count = d->ranges;
	for (size_t i = 0; i < d->ranges; i++)
		op.extents[i] = (struct repl_extent){
			.block = d->range[i].block, .count = d->range[i].count,
		};
	core_op(p->volume, p, &op);
	return true;
}

void verify_live(struct pair *p)
{
	struct verified *d = &p->verified;
	char text[CORE_REASON_MAX], size[UNITS_TEXT_MAX];

	if (!p->verify || p->verify->step != VERIFY_REJOIN)
		return;
	snprintf(text, sizeof(text), "%s differed and were copied from %s to %s, which is in sync again",
		 units_format_bytes(bytes(d->differ), size), p->core->node, p->peer->name);
	d->repaired = d->differ;
	d->differ = d->ranges = 0;
	finish(p, true, text);
}

/* ------------------------------------------------------------ progress -- */

int verify_percent(const struct pair *p)
{
	const struct judge *j = p->verify ? p->verify->judge : NULL;

	return j ? (int)(judge_done(j) * 100 / j->blocks) : -1;
}

void core_compared(struct pair *p, uint64_t blocks)
{
	struct verify *v = p->verify;
	char left[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX];
	uint64_t ms = p->core->now - v->began_at, wait = p->core->now - v->words_at, done;
	struct action *a;
	int percent;

	v->moved_at = p->core->now;
	v->blocks += blocks;
	if (wait < CORE_WORDS_MIN_MS)
		return;
	v->words_at = p->core->now;
	done = judge_done(v->judge);
	/* Of the pass under way nothing is judged yet. */
	if (!v->judge->pass && v->pass_blocks + v->judge->first < v->judge->blocks)
		done = v->judge->first + (v->blocks - v->pass_blocks);
	if (done > v->judge->blocks)
		done = v->judge->blocks;
	percent = (int)(done * 100 / v->judge->blocks);
	units_format_bytes(bytes(v->judge->blocks - done), left);
	units_format_bytes(bytes(v->blocks) * 1000 / (ms ? ms : 1), rate);
	if (percent / 10 != v->words_percent / 10)
		core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "compared %d %%, %s left, %s/s",
			 percent, left, rate);
	v->words_percent = percent;
	if (!v->request)
		return;
	a = action_add(&p->core->actions, ACTION_PROGRESS, 0);
	a->request = v->request;
	if (asprintf(&a->text, "compared with %s: %d %%, %s left, %s/s", p->peer->name, percent,
		     left, rate) < 0)
		a->text = NULL;
}

/* -------------------------------------------------------------- a pass -- */

static int mark_slot(const struct volume *v)
{
	uint8_t key[REPL_KEY_BYTES] = MARK;

	for (unsigned int i = 0; i < v->k.slot_count; i++)
		if (v->k.slot[i].kind == REPL_SLOT_MARK &&
		    !memcmp(v->k.slot[i].key, key, sizeof(key)))
			return v->k.slot[i].index;
	return -1;
}

static uint64_t in_flight(const struct pair *p)
{
	const struct kernel_slot *s = copy_slot(&p->volume->k, p->peer->key);

	return s ? s->in_flight_bytes : 0;
}

static void begin_op(struct pair *p, enum verify_step step, struct op *op)
{
	p->verify->step = step;
	core_op(p->volume, p, op);
}

static void look(struct pair *p, enum verify_step step)
{
	p->verify->step = step;
	core_get(p->volume);
}

static void cut(struct pair *p)
{
	int slot = mark_slot(p->volume);
	struct op op = { .kind = OP_CUT, .slot = (uint8_t)slot, .flags = REPL_CUT_UNFROZEN };

	if (slot < 0)
		verify_end(p, "the mark '" MARK "' was removed");
	else
		begin_op(p, VERIFY_CUT, &op);
}

static void compare(struct pair *p)
{
	struct op op = {
		.kind = OP_VERIFY_COMPARE, .size = p->verify->judge->held ? JUDGE_HELD : UINT64_MAX,
	};

	p->verify->moved_at = p->core->now;
	p->verify->timer = p->core->now + STUCK_MS;
	p->verify->pass_blocks = p->verify->blocks;
	begin_op(p, VERIFY_COMPARE, &op);
}

/*
 * The barrier: what was sampled before the last cut is answered.  Bytes in flight are
 * counted in the step that samples a write, so none seen is enough.  Where there are always
 * some, writers wait until there are none.
 */
static void quiet(struct pair *p)
{
	struct verify *v = p->verify;
	bool writes = p->volume->k.role == REPL_ROLE_PRIMARY;
	struct op op = {
		.kind = OP_FREEZE, .flags = REPL_GATE_SNAPSHOT,
		.deadline_ms = p->volume->set.join_limit_ms,
	};

	/* The deadline has come first: this pass has no barrier. */
	if (v->frozen && !(p->volume->k.gate & REPL_GATE_SNAPSHOT)) {
		v->frozen = false;
		compare(p);
	} else if (!in_flight(p) && (!v->judge->held || v->frozen || !writes)) {
		v->barrier = true;
		if (!v->judge->held)
			thaw(p);
		compare(p);
	} else if (!v->frozen) {
		begin_op(p, VERIFY_FREEZE, &op);
	} else {
		v->timer = p->core->now + QUIET_MS;
	}
}

static void seal(struct pair *p)
{
	struct op op = { .kind = OP_VERIFY_SEAL };

	begin_op(p, VERIFY_SEAL, &op);
}

static void next_pass(struct pair *p)
{
	struct verify *v = p->verify;
	struct judge *j = v->judge;

	while (!j->todo_count || j->held) {
		if (!judge_leave(j)) {
			seal(p);
			return;
		}
	}
	judge_begin(j, judge_tired(j));
	v->barrier = false;
	if (j->held || j->candidates)
		look(p, VERIFY_QUIET);
	else
		compare(p);
}

static void commit(struct pair *p)
{
	struct op op = { .kind = OP_COMMIT };

	begin_op(p, VERIFY_COMMIT, &op);
}

static void cut_done(struct pair *p)
{
	struct op op = { .kind = OP_VERIFY_TAKE };

	/* What was written before says nothing of digests that are new. */
	if (p->verify->fresh && !p->verify->stored)
		commit(p);
	else
		begin_op(p, VERIFY_TAKE, &op);
}

static void committed(struct pair *p)
{
	struct verify *v = p->verify;

	if (!v->fresh)
		judge_end(v->judge, v->barrier);
	v->fresh = false;
	next_pass(p);
}

static void opened(struct pair *p)
{
	p->verify->step = VERIFY_BEGIN;
	p->verify->timer = p->core->now + ANSWER_MS;
	say(p, REPL_VERIFY_BEGIN, p->verify->key, "");
}

static void open_digests(struct pair *p)
{
	struct op op = { .kind = OP_VERIFY_OPEN };

	begin_op(p, VERIFY_OPEN, &op);
}

/* -------------------------------------------------------------- events -- */

static void served(struct pair *p, const struct op_result *r)
{
	p->serves = false;
	say(p, REPL_VERIFY_REFUSED, NULL, words(r));
}

void verify_op_done(struct pair *p, enum op_kind kind, const struct op_result *r)
{
	struct verify *v = p->verify;

	if (kind == OP_VERIFY_SERVE) {
		served(p, r);
		return;
	}
	if (!v)
		return;
	v->timer = 0;
	/* Who cannot freeze now has no barrier in this pass, and tries again in the next. */
	if (r->error && kind != OP_FREEZE) {
		verify_end(p, "could not %s: %s", op_name(kind), words(r));
		return;
	}
	switch (v->step) {
	case VERIFY_SLOT:
		look(p, VERIFY_SLOT);
		break;
	case VERIFY_OPEN:
		opened(p);
		break;
	case VERIFY_CUT:
		cut_done(p);
		break;
	case VERIFY_TAKE:
		commit(p);
		break;
	case VERIFY_COMMIT:
		committed(p);
		break;
	case VERIFY_FREEZE:
		v->frozen = !r->error;
		if (v->frozen)
			look(p, VERIFY_QUIET);
		else
			compare(p);
		break;
	case VERIFY_COMPARE:
		thaw(p);
		look(p, VERIFY_LOOK);
		break;
	case VERIFY_SEAL:
		result(p);
		break;
	default:
		break;
	}
}

/* Still live, as the last pass was read: what it found may count. */
void verify_snapshot(struct pair *p)
{
	struct verify *v = p->verify;

	if (!v || v->step >= VERIFY_UNLINK)
		return;
	if (p->volume->k.role != v->role)
		verify_end(p, "this node has another role now");
	else if (v->role != REPL_ROLE_PRIMARY && !id_equal(&p->volume->k.generation, &v->generation))
		verify_end(p, "a node has become primary");
	else if (p->volume->k.size != v->size)
		verify_end(p, "the volume has grown");
	else if (p->volume->k.flags & REPL_VF_DISKLESS)
		verify_end(p, "the disk here has failed");
	else if (v->step == VERIFY_SLOT && mark_slot(p->volume) >= 0)
		open_digests(p);
	else if (v->step == VERIFY_QUIET && !v->timer)
		quiet(p);
	else if (v->step == VERIFY_LOOK)
		cut(p);
}

void verify_tick(struct pair *p)
{
	struct verify *v = p->verify;

	if (!v || !v->timer || p->core->now < v->timer)
		return;
	v->timer = 0;
	if (v->step == VERIFY_QUIET)
		core_get(p->volume);
	else if (v->step == VERIFY_BEGIN)
		verify_end(p, "%s does not answer", p->peer->name);
	else if (v->step == VERIFY_COMPARE && p->core->now < v->moved_at + STUCK_MS)
		v->timer = v->moved_at + STUCK_MS;
	else if (v->step == VERIFY_COMPARE)
		verify_end(p, "nothing was compared for %d s", STUCK_MS / 1000);
}

static void serve(struct pair *p, const struct msg_verify *m)
{
	struct op op = {
		.kind = OP_VERIFY_SERVE,
		.size = p->mine.size < p->theirs.size ? p->mine.size : p->theirs.size,
	};

	if (p->serves) {
		pair_protocol(p, "a VERIFY before the one before it has ended");
		return;
	}
	if (p->verify || p->phase != PHASE_LIVE) {
		say(p, REPL_VERIFY_REFUSED, NULL, p->verify ? "it compares the other way round just now" :
		    "it is not in sync there");
		return;
	}
	p->serves = true;
	memcpy(op.delta.digest_key, m->key, sizeof(m->key));
	core_op(p->volume, p, &op);
	say(p, REPL_VERIFY_READY, NULL, "");
}

void verify_heard(struct pair *p, const struct msg_verify *m, const void *body, size_t length)
{
	char text[REPL_TEXT_MAX];

	switch (m->step) {
	case REPL_VERIFY_BEGIN:
		serve(p, m);
		break;
	case REPL_VERIFY_READY:
		if (!p->verify || p->verify->step != VERIFY_BEGIN)
			break;
		p->verify->timer = 0;
		cut(p);
		break;
	case REPL_VERIFY_REFUSED:
		msg_text(text, body, length);
		if (p->verify && p->verify->step < VERIFY_UNLINK)
			verify_end(p, "%s: %s", p->peer->name, text);
		break;
	default:
		if (!p->serves)
			break;
		p->serves = false;
		drop_work(p);
		break;
	}
}

/* --------------------------------------------------------------- begin -- */

static int free_slot(const struct volume *v)
{
	unsigned int used = 0;

	for (unsigned int i = 0; i < v->k.slot_count; i++)
		used |= 1u << v->k.slot[i].index;
	/* Those for peers are taken from the other end. */
	for (int slot = v->k.slots - 1; slot >= 0; slot--)
		if (!(used & 1u << slot))
			return slot;
	return -1;
}

static struct pair *under_way(const struct volume *v)
{
	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->verify)
			return v->pair[i];
	return NULL;
}

/* Whom to compare with: the one that is named, or the only one.  Return: NULL with words. */
static struct pair *choose(const struct volume *v, const char *name, struct err *e)
{
	struct pair *found = NULL;

	for (unsigned int i = 0; i < v->pair_count; i++) {
		if (name[0] && strcmp(v->pair[i]->peer->name, name))
			continue;
		if (found) {
			err_set(e, EINVAL, "it has more than one peer: name one with --peer");
			return NULL;
		}
		found = v->pair[i];
	}
	if (!found && name[0])
		err_set(e, ENOENT, "%s is none of its peers", name);
	else if (!found)
		err_set(e, ENOENT, "it has no peer to compare with");
	return found;
}

static int forbid(const struct pair *p, const struct core_verify *d, struct err *e)
{
	const struct volume *v = p->volume;
	const char *peer = p->peer->name;

	if (under_way(v))
		return err_set(e, EBUSY, "a comparison with %s is under way, %d %%: wait for it, or end it with --stop",
			       under_way(v)->peer->name, verify_percent(under_way(v)));
	if (v->k.flags & REPL_VF_DISKLESS)
		return err_set(e, EIO, "the disk here has failed: there is nothing to compare");
	if (v->served)
		return err_set(e, EROFS, "%s is primary, and only where the writes come from can be told what they touch: run it there",
			       v->served->peer->name);
	if (p->phase != PHASE_LIVE || !p->session)
		return err_set(e, ENOTCONN, "%s is not in sync (%s): wait with repl-ctl wait %s --for in-sync",
			       peer, p->reason, v->name);
	if (p->serves)
		return err_set(e, EBUSY, "%s compares with this node just now", peer);
	if (!(p->session->features & REPL_HF_VERIFY))
		return err_set(e, ENOTSUP, "%s runs an older repl, which cannot compare: update it", peer);
	if (d->repair[0] && !strcmp(d->repair, peer) && v->k.role == REPL_ROLE_PRIMARY)
		return err_set(e, EROFS, "what is repaired is the copy that is not primary: to take %s's blocks, run repl-ctl secondary %s here, repl-ctl primary %s there, then there: repl-ctl verify %s --peer %s --repair %s",
			       peer, v->name, v->name, v->name, v->core->node, peer);
	if (d->repair[0] && !strcmp(d->repair, peer))
		return err_set(e, EROFS, "to take %s's blocks, run it there: repl-ctl verify %s --peer %s --repair %s",
			       peer, v->name, v->core->node, peer);
	if (d->repair[0] && strcmp(d->repair, v->core->node))
		return err_set(e, ENOENT, "--repair %s: %s or %s is expected, whose blocks are the right ones",
			       d->repair, v->core->node, peer);
	if (mark_slot(v) < 0 && free_slot(v) < 0)
		return err_set(e, ENOSPC, "all %u slots of this copy are in use, and the mark '" MARK
			       "' needs one: repl-ctl mark list %s, then mark remove one", v->k.slots, v->name);
	return 0;
}

static void start(struct pair *p, uint32_t request, const struct core_verify *d)
{
	const struct volume *v = p->volume;
	struct verify *f = calloc(1, sizeof(*f));
	struct op op = {
		.kind = OP_SLOT_SET, .flags = REPL_SLOT_MARK, .slot = (uint8_t)free_slot(v), .key = MARK,
	};

	if (f)
		f->judge = judge_new(copy_blocks(v->k.size));
	if (!f || !f->judge) {
		free(f);
		core_reply(p->core, request, false, "%s: out of memory", v->name);
		return;
	}
	f->id = core_random(p->core) | 1;
	f->request = request;
	f->scrub = d->scrub;
	f->repair = d->repair[0];
	f->fresh = true;
	f->role = v->k.role;
	f->size = v->k.size;
	f->generation = v->k.generation;
	f->began_at = f->words_at = p->core->now;
	for (unsigned int i = 0; i < sizeof(f->key); i += 8) {
		uint64_t bits = core_random(p->core);

		memcpy(f->key + i, &bits, 8);
	}
	p->verify = f;
	core_log(p->core, LOG_LEVEL_INFO, v, p, "%s: comparing the copies", d->scrub ? "scrub" : "verify");
	if (mark_slot(v) >= 0)
		open_digests(p);
	else
		begin_op(p, VERIFY_SLOT, &op);
}

static void stop(struct volume *v, uint32_t request)
{
	struct pair *p = under_way(v);

	if (!p || p->verify->step >= VERIFY_UNLINK) {
		core_reply(v->core, request, false, "%s: nothing is compared now", v->name);
		return;
	}
	verify_end(p, "it was stopped");
	core_reply(v->core, request, true, "%s: stopped", v->name);
}

void core_verify(struct core *c, const struct core_request *r, const struct core_verify *d)
{
	struct volume *v = task_volume(c, r);
	struct err e = { "" };
	struct pair *p;

	if (!v)
		return;
	if (d->stop) {
		stop(v, r->id);
		return;
	}
	p = choose(v, d->peer, &e);
	if (!p || forbid(p, d, &e))
		core_reply(c, r->id, false, "%s: %s", v->name, e.text);
	else
		start(p, r->id, d);
}
