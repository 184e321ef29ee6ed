// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The leader's side.
 *
 *	FOLLOW ->			the follower stops using its copy
 *	<- FOLLOWING, MAP..., MAP	its doubts are added to this side's map
 *	passes: cut, DELTA_BEGIN, blocks, DELTA_END -> , <- DELTA_DONE, commit
 *	until what is left takes less than half of the join limit; then
 *	LINK_OFFER -> , <- LINK_READY	the link's connection stands on both sides
 *	freeze, one more pass, adopt the link, thaw, LINK_ADOPT -> , <- LINK_LIVE
 *
 * Every pass is complete in itself: its cut is committed only after the follower has
 * flushed it.  So a freeze that ends early (the module thaws by itself) costs
 * nothing but another attempt; the kernel refuses to adopt a link without it.
 *
 * A follower whose copy is consistent stages what it gets, and has marked it in its own
 * map, durably, before it says DELTA_DONE: one of the two knows of every block that
 * differs.  Its copy moves in one step, to an instant: that of the join, or, when more is
 * staged than could be applied while writers wait,
 *
 *	freeze, cut, end the generation, send, look whether the freeze has held, thaw
 *	<- DELTA_DONE, COMMIT ->, <- COMMITTED, record that the follower has that generation
 *
 * The generation that ended is exactly what all passes have brought together, and the new
 * one is durable before the follower may take the old one: so of two consistent copies in
 * one generation neither ever lacks a completed write that the other has.
 */
#include "pair.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "id.h"
#include "resolve.h"
#include "roll.h"
#include "session.h"
#include "task.h"
#include "units.h"

static void next_step(struct pair *p);
static void join_failed(struct pair *p, const char *why);

static uint64_t dirty_bytes(const struct pair *p)
{
	return p->mine.slot_dirty_blocks << REPL_BLOCK_SHIFT;
}

static const char *words(const struct op_result *r)
{
	return r->text && r->text[0] ? r->text : strerror(-r->error);
}

/* Gives back what the whole volume was told for this pair. */
static void release_volume(struct pair *p)
{
	struct volume *v = p->volume;

	if (p->run.frozen) {
		struct action *a = action_add(&p->core->actions, ACTION_THAW, 0);

		a->volume = v;
		a->pair = p;
		a->op.flags = REPL_GATE_JOIN;
	}
	p->run.frozen = false;
	if (v->joining != p)
		return;
	v->joining = NULL;
	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->phase == PHASE_L_TURN)
			v->pair[i]->timer = p->core->now;
}

void lead_leave(struct pair *p)
{
	release_volume(p);
}

void lead_start(struct pair *p)
{
	p->copied = (struct copied){ 0 };
	p->run.nonce = core_random(p->core) | 1;
	p->run.equal = verdict_equal(p->verdict.kind);
	p->run.full = verdict_full(p->verdict.kind);
	p->run.fresh = !(p->theirs.flags & REPL_MV_IDENTITY);
	p->run.allowance = 1;
	p->phase = PHASE_L_FOLLOW;
	p->said = p->mine;
	pair_reason(p, "waits for %s to follow", p->peer->name);
	session_send_copy(p, REPL_MSG_FOLLOW, &p->mine, p->run.nonce);
}

/* ----------------------------------------------- what both sides doubt -- */

static void mark(struct pair *p, const struct repl_extent *extents, size_t count)
{
	struct op op = {
		.kind = OP_MARK, .mask = 1u << pair_slot(p), .extent_count = count,
		.extents = malloc(count * sizeof(*extents)),
	};

	if (!op.extents)
		abort();
	memcpy(op.extents, extents, count * sizeof(*extents));
	core_op(p->volume, p, &op);
}

/* The slot is the follower's: take in its map, and on a first copy everything. */
static void take_map(struct pair *p)
{
	p->phase = PHASE_L_MAP;
	pair_reason(p, "takes in what %s doubts", p->peer->name);
	if (pair_slot(p) < 0) {
		pair_leave(p, true, "the slot that was assigned is not there");
		return;
	}
	if (p->run.full) {
		struct repl_extent all = { .count = copy_blocks(p->mine.size) };

		mark(p, &all, 1);
	}
	session_pause(p, false);
}

void lead_following(struct pair *p, const struct copy *theirs)
{
	bool expected = p->phase == PHASE_L_FOLLOW && theirs->cookie == p->run.nonce;

	p->theirs = *theirs;
	p->theirs.cookie = 0;
	p->theirs.flags &= ~(uint32_t)REPL_MV_STAGES;
	if (!expected) {
		/*
		 * Of a procedure that was left, at a message that crossed FOLLOW.  The copy is given
		 * up, which will not be told again; and its node must be told to leave, too: another
		 * FOLLOW, which ends that, never comes if this copy follows somebody else by now.
		 */
		if (p->phase == PHASE_MEET)
			pair_look(p, true);
		else if (!pair_leading(p))
			p->say = true;
		return;
	}
	p->run.staged = theirs->flags & REPL_MV_STAGES;
	roll_following(p);
	resolve_following(p);
	session_pause(p, true);
	if (pair_slot_known(p)) {
		take_map(p);
		return;
	}
	p->phase = PHASE_L_SLOT;
	if (!pair_assign_slot(p))
		pair_leave(p, true, PAIR_NO_SLOT, p->volume->k.slots);
}

void lead_map_step(struct pair *p)
{
	session_pause(p, p->pending >= CORE_MARKS_MAX);
	if (p->run.map_done && !p->pending) {
		session_pause(p, false);
		if (resolve_mapped(p))
			return;
		p->phase = PHASE_L_COMMIT;
		p->then = next_step;
		core_get(p->volume);
	}
}

void lead_map(struct pair *p, const void *body, uint32_t length)
{
	struct repl_extent extent[REPL_MSG_EXTENTS_MAX];
	struct err e;
	int count;

	if ((p->phase != PHASE_L_MAP && p->phase != PHASE_S_MAP) || p->run.map_done)
		return;
	count = msg_unpack_extents(extent, body, length, copy_blocks(p->mine.size), &e);
	if (count < 0) {
		pair_protocol(p, "%s", e.text);
		return;
	}
	for (int i = 0; i < count; i += REPL_EXTENTS_MAX)
		mark(p, extent + i, count - i < REPL_EXTENTS_MAX ? (size_t)(count - i)
							       : REPL_EXTENTS_MAX);
	p->run.map_done = !length;
	lead_map_step(p);
}

/* ----------------------------------------------------------- one pass --- */

static void cut(struct pair *p)
{
	struct op op = {
		.kind = OP_CUT, .slot = (uint8_t)pair_slot(p), .flags = REPL_CUT_UNFROZEN,
	};

	p->phase = PHASE_L_CUT;
	p->run.began_at = p->core->now;
	p->run.done_bytes = 0;
	core_op(p->volume, p, &op);
}

/*
 * What is only suspected to differ.  A copy that holds the volume, or was being given
 * it, may have any of what is dirty: after a crash or a lost link nobody knows, a full
 * copy goes to one that was left long ago, and a broken copy begins anew.  One that never
 * held anything has it only if somebody put it there.  What was written since the last
 * pass differs; and writers wait for the last one.
 */
static enum suspect_kind suspect(const struct pair *p)
{
	if (p->run.last || p->copied.passes)
		return SUSPECT_NOTHING;
	return p->run.fresh ? SUSPECT_SAMPLE : SUSPECT_ALL;
}

static void first_pass_words(struct pair *p)
{
	char text[UNITS_TEXT_MAX];

	if (p->run.start_at)
		return;
	p->run.start_at = p->run.words_at = p->core->now;
	p->run.total_bytes = dirty_bytes(p);
	if (p->run.total_bytes)
		core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "%s %s %s %s",
			 suspect(p) == SUSPECT_ALL ? "comparing" : "copying",
			 units_format_bytes(p->run.total_bytes, text),
			 suspect(p) == SUSPECT_ALL ? "with" : "to", p->peer->name);
}

/* The cut is drained, and the snapshot newer than it: what it holds is in 'dirty'. */
static void send_delta(struct pair *p)
{
	struct op op = { .kind = OP_DELTA_SEND, .suspect = suspect(p) };

	first_pass_words(p);
	p->run.sent = p->mine;
	p->run.left_bytes = dirty_bytes(p);
	p->run.delta = (struct msg_delta){
		.id = ++p->run.delta_id, .flags = p->run.last ? REPL_MD_LAST : 0,
		.blocks = p->mine.slot_dirty_blocks,
		.generation = p->mine.generation, .epoch = p->mine.epoch,
	};
	for (unsigned int i = 0; i < REPL_DIGEST_KEY_BYTES; i += 8) {
		uint64_t bits = core_random(p->core);

		memcpy(p->run.delta.digest_key + i, &bits, 8);
	}
	op.delta = p->run.delta;
	op.hurry = p->run.last || p->run.instant;
	op.size = p->mine.size;
	p->phase = PHASE_L_SEND;
	pair_reason(p, op.suspect == SUSPECT_ALL ? "compares with %s, and copies what differs"
						 : "copies to %s", p->peer->name);
	core_op(p->volume, p, &op);
}

static void measure(struct pair *p)
{
	uint64_t ms = p->core->now - p->run.began_at;
	const struct msg_moved *m = &p->run.delta.moved;
	uint64_t bytes = m->sent_bytes + m->zero_bytes + m->equal_bytes;

	if (bytes < CORE_RATE_BYTES)
		return;
	p->run.rate = bytes * 1000 / (ms ? ms : 1);
	if (!p->run.rate)
		p->run.rate = 1;
}

void lead_delta_done(struct pair *p, const struct msg_delta *d)
{
	const struct msg_moved *m = &p->run.delta.moved;
	struct op op = { .kind = OP_COMMIT };

	if (p->phase != PHASE_L_DONE || d->id != p->run.delta.id)
		return;
	if (memcmp(&d->moved, m, sizeof(*m))) {
		pair_leave(p, true, "%s applied %" PRIu64 "+%" PRIu64 " bytes of %" PRIu64 "+%"
			   PRIu64, p->peer->name, d->moved.sent_bytes, d->moved.zero_bytes,
			   m->sent_bytes, m->zero_bytes);
		return;
	}
	measure(p);
	if (p->run.staged) {
		p->run.staged_bytes += m->sent_bytes + m->zero_bytes;
		roll_sent(p, m->sent_bytes + m->zero_bytes);
	}
	pair_copied(p, d);
	p->run.passes++;
	p->phase = PHASE_L_COMMIT;
	core_op(p->volume, p, &op);
}

/* ------------------------------------------------------- one epoch --- */

static void freeze(struct pair *p)
{
	struct op op = {
		.kind = OP_FREEZE, .flags = REPL_GATE_JOIN,
		.deadline_ms = p->volume->set.join_limit_ms,
	};

	p->volume->joining = p;
	p->phase = PHASE_L_FREEZE;
	p->timer = 0;
	p->run.frozen = true;
	core_op(p->volume, p, &op);
}

/* A pass that may become an epoch; if not, it is one like any other. */
static void instant(struct pair *p)
{
	p->run.instant = true;
	p->run.ended = p->run.all_read = p->run.held = false;
	roll_begins(p);
	pair_reason(p, "ends an epoch");
	freeze(p);
}

/*
 * Frozen, and cut: what this copy is now is all of its generation, once that has ended.
 * A secondary's has: nobody writes to it.
 */
static void end_generation(struct pair *p)
{
	struct op op = { .kind = OP_EPOCH };

	p->run.epoch = p->mine;
	p->run.ended = true;
	if (!(p->mine.flags & REPL_MV_PRIMARY)) {
		send_delta(p);
		return;
	}
	p->phase = PHASE_L_EPOCH;
	core_op(p->volume, p, &op);
}

static void epoch_ended(struct pair *p, const struct op_result *r)
{
	if (r->error) {
		core_log(p->core, LOG_LEVEL_DEBUG, p->volume, p, "no epoch: %s", words(r));
		p->run.ended = false;
	}
	p->then = send_delta;
	core_get(p->volume);
}

void lead_all_read(struct pair *p)
{
	if (p->phase != PHASE_L_SEND || !p->run.instant)
		return;
	p->run.all_read = true;
	core_get(p->volume);
}

/* Everything was read.  If the freeze still stands, it has stood all the time: no other began. */
static void look_at_freeze(struct pair *p)
{
	if (!p->run.instant || !p->run.all_read || !p->run.frozen)
		return;
	p->run.held = p->volume->k.gate & REPL_GATE_JOIN;
	release_volume(p);
}

static void commit_epoch(struct pair *p)
{
	/* A secondary's has not ended by itself, and no freeze holds what it follows. */
	bool same = (p->mine.flags & REPL_MV_PRIMARY) ||
		    id_equal(&p->mine.generation, &p->run.epoch.generation);
	bool whole = p->run.ended && p->run.held && same;

	p->run.instant = false;
	if (!whole) {
		roll_late(p);
		join_failed(p, "the epoch did not end within the join limit");
		return;
	}
	p->run.commit_nonce = core_random(p->core) | 1;
	p->phase = PHASE_L_COMMITTING;
	pair_reason(p, "waits for %s to apply what it has staged", p->peer->name);
	session_send_copy(p, REPL_MSG_COMMIT, &p->run.epoch, p->run.commit_nonce);
}

void lead_committed(struct pair *p, const struct copy *theirs)
{
	struct op op = {
		.kind = OP_RECORD, .slot = (uint8_t)pair_slot(p), .id = p->run.epoch.generation,
		.epoch = p->run.epoch.epoch,
	};

	if (p->phase != PHASE_L_COMMITTING || theirs->cookie != p->run.commit_nonce)
		return;
	p->theirs = *theirs;
	p->theirs.cookie = 0;
	p->run.staged_bytes = 0;
	p->phase = PHASE_L_EQUAL;
	core_op(p->volume, p, &op);
}

/* --------------------------------------------------------------- join --- */

static void offer_link(struct pair *p)
{
	struct repl_msg_link m;
	struct op op = { .kind = OP_LINK_OPEN, .dial = p->peer->lower };

	p->volume->joining = p;
	p->run.link_open = p->run.link_ready = false;
	p->run.cookie = core_random(p->core) | 1;
	op.link.cookie = p->run.cookie;
	op.link.plain = p->volume->set.plain;
	snprintf(op.link.volume, sizeof(op.link.volume), "%s", p->volume->name);
	for (unsigned int i = 0; op.link.plain && i < REPL_TOKEN_BYTES; i += 8) {
		uint64_t bits = core_random(p->core);

		memcpy(op.link.token + i, &bits, 8);
	}
	p->phase = PHASE_L_LINK;
	p->timer = p->core->now + CORE_LINK_MS;
	pair_reason(p, "connects the link");
	msg_pack_link(&op.link, &m);
	session_send(p, REPL_MSG_LINK_OFFER, &m, sizeof(m));
	core_op(p->volume, p, &op);
}

static void freeze_for_link(struct pair *p)
{
	if (!p->run.link_open || !p->run.link_ready)
		return;
	p->run.last = true;
	freeze(p);
}

/* The kernel refuses one more, after writers were held for it. */
static bool links_full(const struct volume *v)
{
	unsigned int live = 0;

	for (unsigned int i = 0; i < v->k.slot_count; i++)
		live += v->k.slot[i].link == REPL_LINK_LIVE;
	return live >= REPL_LINKS_MAX;
}

static void wait_for_links(struct pair *p)
{
	p->phase = PHASE_L_TURN;
	p->timer = p->core->now + CORE_LINKS_MS;
	pair_reason(p, "cannot be in sync: %u links are live, and no more are possible: it joins as soon as another peer is "
		    "gone (repl-ctl peer remove %s NODE)", REPL_LINKS_MAX, p->volume->name);
}

/* Within half of the time that writers may be held. */
static bool is_small(const struct pair *p, uint64_t bytes)
{
	uint64_t rate = p->run.rate ? p->run.rate : CORE_RATE_GUESS;

	return bytes * 1000 / rate < p->volume->set.join_limit_ms / 2;
}

/*
 * May @p apply what it has staged while writers are held?  Where a lost peer holds them anyway it
 * may take its time, and must: no epoch ends before that peer is back.
 */
static bool may_apply_held(const struct pair *p)
{
	return is_small(p, p->run.staged_bytes) || (p->volume->k.gate & REPL_GATE_PEER_LOST);
}

/* Between two passes, the snapshot fresh: join, or copy what has come up meanwhile. */
static void next_step(struct pair *p)
{
	struct volume *v = p->volume;

	switch (roll_next(p)) {
	case ROLL_WAIT:
		p->phase = PHASE_L_ROLL;
		return;
	case ROLL_PASS:
		cut(p);
		return;
	case ROLL_EPOCH:
		instant(p);
		return;
	case ROLL_NOT:
		break;
	}
	if (is_small(p, dirty_bytes(p)) && (p->run.passes >= p->run.allowance || !dirty_bytes(p))) {
		if (v->joining && v->joining != p) {
			p->phase = PHASE_L_TURN;
			pair_reason(p, "waits until %s has joined", v->joining->peer->name);
		} else if (!may_apply_held(p)) {
			instant(p);
		} else if (links_full(v)) {
			wait_for_links(p);
		} else {
			offer_link(p);
		}
		return;
	}
	if (p->run.passes && p->run.passes % CORE_PASSES_MANY == 0)
		core_log(p->core, LOG_LEVEL_WARN, v, p, "still behind after %u passes: writes come "
			 "about as fast as they can be copied", p->run.passes);
	cut(p);
}

/* This attempt to join has failed: more passes, longer pauses, and another one. */
static void join_failed(struct pair *p, const char *why)
{
	struct action *a;

	core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "not joined yet (attempt %u): %s",
		 ++p->run.join_failures, why);
	release_volume(p);
	a = action_add(&p->core->actions, ACTION_ABORT, 0);
	a->pair = p;
	a->volume = p->volume;
	p->run.last = p->run.instant = false;
	p->run.passes = 0;
	p->run.allowance *= 2;
	if (p->run.allowance > CORE_ALLOWANCE_MAX)
		p->run.allowance = CORE_ALLOWANCE_MAX;
	p->phase = PHASE_L_PAUSE;
	p->timer = p->core->now + core_backoff(p->core, CORE_RETRY_MIN_MS, CORE_RETRY_MAX_MS,
					       p->run.join_failures);
	pair_reason(p, "not joined after %u attempts: %s", p->run.join_failures, why);
}

/*
 * The last delta is committed.  What the follower has is this volume as it is now,
 * if the gate is still shut and no new generation was made meanwhile.
 */
static void add_link(struct pair *p)
{
	const struct volume *v = p->volume;
	struct op op = {
		.kind = OP_LINK_ADD, .slot = (uint8_t)pair_slot(p), .cookie = p->run.cookie,
		.flags = v->set.plain ? REPL_LINK_CRC : REPL_LINK_TLS,
	};

	if (!(v->k.gate & REPL_GATE_JOIN)) {
		join_failed(p, "the last delta took longer than the join limit");
	} else if (dirty_bytes(p) || !id_equal(&p->mine.generation, &p->run.sent.generation)) {
		join_failed(p, "the volume has changed during the last delta");
	} else {
		p->run.sent = p->mine;
		p->phase = PHASE_L_ADD;
		if (p->run.staged)
			p->unsure = (struct staged_peer){ p->theirs.generation, p->theirs.epoch };
		core_op(p->volume, p, &op);
	}
}

/*
 * Adopted: from here on a failure is the loss of a link, which the kernel deals with.
 *
 * The volume may have begun a generation since, one that goes on from the freeze which this
 * peer's loss has caused: the kernel tells the peer over the link, where that is what comes
 * first.  So the peer is called by the generation that the two had in common.  Not if the new
 * one began before the link was adopted, which the slot's record tells: nobody tells the peer.
 */
static void adopted(struct pair *p)
{
	struct copy says = p->mine;

	if (!(p->mine.flags & REPL_MV_LIVE)) {
		pair_leave(p, true, "the link was lost as soon as it was adopted");
		return;
	}
	if (!id_equal(&p->mine.slot_generation, &p->run.sent.generation)) {
		pair_leave(p, true, "a new generation began before the link was adopted");
		return;
	}
	release_volume(p);
	p->phase = PHASE_L_ADOPT;
	pair_reason(p, "waits for %s to adopt the link", p->peer->name);
	says.generation = p->run.sent.generation;
	says.epoch = p->run.sent.epoch;
	memcpy(says.history, p->run.sent.history, sizeof(says.history));
	session_send_copy(p, REPL_MSG_LINK_ADOPT, &says, 0);
}

void lead_ready(struct pair *p, const struct msg_link *l)
{
	if (p->phase != PHASE_L_LINK || l->cookie != p->run.cookie)
		return;
	p->run.link_ready = true;
	freeze_for_link(p);
}

void lead_link_live(struct pair *p)
{
	if (p->phase != PHASE_L_ADOPT)
		return;
	p->theirs.flags |= REPL_MV_LIVE;
	p->theirs.cookie = p->run.cookie;
	p->unsure = (struct staged_peer){ 0 };
	roll_joined(p);
	pair_finish(p);
}

/*
 * The link has ended before the peer said that it had adopted it, and it had staged what it was
 * sent: its copy may be what it was before.  The slot says that it is this copy's equal; so
 * that is taken back, or the peer would be taken for one that was set back behind our back, and
 * be copied in full.  Nothing is lost by it: what it staged it has in its own map, durably, and
 * what was written since the link was adopted is in this one's.
 */
bool lead_take_back(struct pair *p)
{
	struct op op = {
		.kind = OP_RECORD, .slot = (uint8_t)pair_slot(p), .id = p->unsure.generation,
		.epoch = p->unsure.epoch,
	};
	bool needed = !id_is_zero(&p->unsure.generation) && !(p->mine.flags & REPL_MV_LIVE) &&
		      pair_slot(p) >= 0 && !id_equal(&p->mine.slot_generation, &op.id);

	if (!(p->mine.flags & REPL_MV_LIVE))
		p->unsure = (struct staged_peer){ 0 };
	if (needed)
		core_op(p->volume, p, &op);
	return needed;
}

/* -------------------------------------------------------------- events --- */

static void op_failed(struct pair *p, enum op_kind kind, const struct op_result *r)
{
	char text[CORE_REASON_MAX];

	snprintf(text, sizeof(text), "could not %s: %s", op_name(kind), words(r));
	if (kind == OP_LINK_OPEN || kind == OP_FREEZE || kind == OP_LINK_ADD)
		join_failed(p, text);
	else
		pair_leave(p, true, "%s", text);
}

void lead_op_done(struct pair *p, enum op_kind kind, const struct op_result *r)
{
	if (r->error && kind != OP_EPOCH) {
		if (p->phase != PHASE_L_PAUSE)
			op_failed(p, kind, r);
		return;
	}
	switch (kind) {
	case OP_SLOT_SET:
		p->run.full = false;	/* the kernel has marked everything */
		p->then = take_map;
		core_get(p->volume);
		break;
	case OP_MARK:
		lead_map_step(p);
		break;
	case OP_FREEZE:
		cut(p);
		break;
	case OP_CUT:
		p->then = p->run.instant ? end_generation : send_delta;
		core_get(p->volume);
		break;
	case OP_EPOCH:
		epoch_ended(p, r);
		break;
	case OP_DELTA_SEND:
		p->run.delta.moved = r->moved;
		p->phase = PHASE_L_DONE;
		p->run.all_read = true;
		if (p->run.instant)
			core_get(p->volume);
		break;
	case OP_COMMIT:
		p->then = p->run.last ? add_link : p->run.instant ? commit_epoch : next_step;
		core_get(p->volume);
		break;
	case OP_RECORD:
		roll_done(p);
		p->phase = PHASE_L_COMMIT;
		p->then = next_step;
		core_get(p->volume);
		break;
	case OP_LINK_OPEN:
		if (p->phase != PHASE_L_LINK)
			break;
		p->run.link_open = true;
		freeze_for_link(p);
		break;
	case OP_LINK_ADD:
		p->then = adopted;
		core_get(p->volume);
		break;
	default:
		break;
	}
}

/*
 * A follower that is bound to another says nothing, and waits for a change.  What binds it
 * may not hold against a primary, or a newer generation: this is the change.
 */
static bool asked_too_early(const struct pair *p)
{
	return p->phase == PHASE_L_FOLLOW &&
	       (((p->mine.flags ^ p->said.flags) & REPL_MV_PRIMARY) ||
		!id_equal(&p->mine.generation, &p->said.generation));
}

void lead_snapshot(struct pair *p)
{
	const struct volume *v = p->volume;
	/* A link that is up already, and has all the peer lacks, brings what the other one tells of. */
	bool waits = p->phase == PHASE_L_ADOPT && task_may_begin(p);
	const struct pair *other = waits || (p->mine.flags & REPL_MV_PRIMARY) ? NULL : pair_other_leader(p);

	look_at_freeze(p);
	roll_snapshot(p);
	/* Without a timer it waits for another that joins, and is told. */
	if (p->phase == PHASE_L_TURN && p->timer && !links_full(v))
		p->timer = p->core->now;
	if (v->served && v->served != p)
		pair_leave(p, false, "%s is primary now: it leads", v->served->peer->name);
	else if (other)
		pair_leave(p, false, "this copy is about to follow %s: it leads nobody meanwhile",
			   other->peer->name);
	else if (!(p->mine.flags & REPL_MV_CONSISTENT))
		pair_leave(p, false, "this copy is being caught up itself now: it leads nobody");
	else if (p->mine.flags & REPL_MV_FAILING)
		pair_leave(p, false, "the disk here has failed: nothing can be copied from it");
	else if (asked_too_early(p))
		pair_leave(p, false, "this copy has changed since %s was asked to follow: once more",
			   p->peer->name);
	else if (p->phase == PHASE_L_ADOPT && !(p->mine.flags & REPL_MV_LIVE))
		pair_leave(p, true, "the link was lost before %s adopted it", p->peer->name);
}

void lead_tick(struct pair *p)
{
	if (p->phase == PHASE_L_LINK) {
		join_failed(p, p->run.link_open ? "the peer's end of the link did not come up"
						: "the link did not come up");
	} else if (p->phase == PHASE_L_TURN || p->phase == PHASE_L_PAUSE ||
		   p->phase == PHASE_L_ROLL) {
		if (p->pending) {
			p->timer = p->core->now + CORE_RETRY_MIN_MS;
			return;
		}
		p->phase = PHASE_L_COMMIT;
		p->then = next_step;
		core_get(p->volume);
	}
}

void core_progress(struct pair *p, uint64_t bytes)
{
	uint64_t done, total, percent, ms;
	char left[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX];

	if (resolve_saving(p)) {
		resolve_progress(p, bytes);
		return;
	}
	p->run.done_bytes += bytes;
	if (!pair_leading(p) || p->run.last || !p->run.left_bytes)
		return;
	total = p->run.left_bytes;
	done = p->run.done_bytes < total ? p->run.done_bytes : total;
	percent = done * 100 / total;
	ms = p->core->now - p->run.words_at;
	if (ms < CORE_WORDS_MIN_MS ||
	    (percent / 10 == p->run.words_percent / 10 && ms < CORE_WORDS_MS))
		return;
	ms = p->core->now - p->run.began_at;
	p->run.words_percent = (unsigned int)percent;
	p->run.words_at = p->core->now;
	core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "copied %" PRIu64 " %%, %s left, %s/s",
		 percent, units_format_bytes(total - done, left),
		 units_format_bytes(p->run.done_bytes * 1000 / (ms ? ms : 1), rate));
}
