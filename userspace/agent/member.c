// SPDX-License-Identifier: GPL-2.0-or-later
#include "member.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "id.h"
#include "lag.h"
#include "pair.h"
#include "redo.h"
#include "resolve.h"
#include "roll.h"
#include "session.h"
#include "task.h"
#include "verify.h"

enum { MEMBER_MS = 60000 };	/* for the last writes of a link, and the disk that they are for */

static struct pair *find(const struct volume *v, const struct core_peer *peer)
{
	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->peer == peer)
			return v->pair[i];
	return NULL;
}

static void start(struct volume *v, const struct core_peer *peer, uint32_t request, bool comes)
{
	v->task = (struct task){
		.kind = TASK_MEMBER, .request = request, .member = peer, .comes = comes,
		.deadline = v->core->now + MEMBER_MS,
	};
	core_get(v);
}

/* ---------------------------------------------------------- who comes --- */

struct pair *member_new(struct core *c, const struct core_request *r, const struct core_peer *peer)
{
	struct volume *v = task_volume(c, r);
	struct pair *p;

	if (!v)
		return NULL;
	if (find(v, peer)) {
		core_reply(c, r->id, true, "%s: %s is a peer already", v->name, peer->name);
		return NULL;
	}
	if (v->set.arbiter) {
		core_reply(c, r->id, false, "%s: it came up with an arbiter, which decides between two copies: "
			   "take it down and up again without one first", v->name);
		return NULL;
	}
	if (v->k.slot_count >= v->k.slots && !copy_slot(&v->k, peer->key)) {
		core_reply(c, r->id, false, "%s: " PAIR_NO_SLOT, v->name, v->k.slots);
		return NULL;
	}
	if (v->pair_count >= REPL_LINKS_MAX) {
		core_reply(c, r->id, false, "%s: it has %u peers, and no more can be live at a time: repl-ctl peer remove %s "
			   "one of them first", v->name, v->pair_count, v->name);
		return NULL;
	}
	p = core_pair_add(v, peer);
	if (!p) {
		core_reply(c, r->id, false, "%s: it has %u peers, no more are possible", v->name,
			   v->pair_count);
		return NULL;
	}
	p->phase = PHASE_HOLD;
	return p;
}

void member_begin(struct pair *p, uint32_t request)
{
	start(p->volume, p->peer, request, true);
}

static void came(struct volume *v, struct pair *p)
{
	char text[2 * CORE_REASON_MAX];

	pair_release(p);
	core_pair_start(p);
	snprintf(text, sizeof(text), "%s: %s is a peer now, and gets a full copy as soon as the volume is up there "
		 "and names this node; on the other nodes that have a copy: repl-ctl peer add %s %s",
		 v->name, p->peer->name, v->name, p->peer->name);
	task_end(v, true, text);
}

/*
 * What a copy holds is told of by its id, to third nodes, too: of two that have the same one
 * either would be believed to hold what the other does.
 */
bool member_clone(struct pair *p)
{
	const struct volume *v = p->volume;
	const char *of = id_equal(&p->theirs.copy_id, &v->k.copy_id) ? p->core->node : NULL;

	for (unsigned int i = 0; i < v->pair_count && !of; i++) {
		const struct kernel_slot *s = copy_slot(&v->k, v->pair[i]->peer->key);

		/* Under a key that is no more nobody comes: it may be that very node, which has another one now. */
		if (v->pair[i] != p && !v->pair[i]->peer->gone && s && id_equal(&p->theirs.copy_id, &s->copy_id))
			of = v->pair[i]->peer->name;
	}
	if (of)
		pair_reason(p, "refused: the disk there is a clone of the copy on %s: give it an identity of its own: "
			    "on %s take the volume down, and run mkfs.repl --force --name %s on its device", of,
			    p->peer->name, v->name);
	return of;
}

/* ----------------------------------------------------------- who goes --- */

/* Somebody is there of whom this copy is a replica, whoever leaves. */
static bool follows_another(const struct volume *v, const struct pair *p)
{
	return v->served && v->served != p && (v->served->mine.flags & REPL_MV_LIVE);
}

/*
 * A copy without peers asks nobody before it becomes primary.  So a secondary lets none go that
 * may be primary, or hold what it lacks: it cannot know that of one that it does not reach.
 */
static bool would_stand_alone(const struct volume *v, const struct pair *p)
{
	return v->k.role == REPL_ROLE_SECONDARY && (v->k.sb_flags & REPL_SB_CONSISTENT) &&
	       !follows_another(v, p);
}

static bool only_copy(const struct volume *v, const struct pair *p)
{
	return p && v->k.role == REPL_ROLE_PRIMARY && (p->mine.flags & REPL_MV_LIVE) && core_count_live(v) == 1;
}

/* On the replica itself it is the primary that rolls, and what is lacking here is the question. */
static bool only_replica(const struct volume *v, const struct pair *p)
{
	return p && v->k.role == REPL_ROLE_PRIMARY && roll_running(p) && !core_count_live(v);
}

/* Return: whether anything is against it; then the request was answered. */
static bool refused(struct volume *v, const struct pair *p, const struct core_request *r, const char *node)
{
	struct core *c = v->core;

	if (v->set.arbiter)
		core_reply(c, r->id, false, "%s: it came up with an arbiter, which decides between two copies: "
			   "take it down and up again without one first", v->name);
	else if (redo_stuck(v))
		core_reply(c, r->id, false, "%s: what was staged here cannot be applied: mend that first, or remove the file "
			   "between repl-ctl down %s and up: %s", v->name, v->name, v->redo.why);
	else if (redo_active(v))
		core_reply(c, r->id, false, "%s: what was staged here is being applied: try again when that is "
			   "done, see repl-ctl status %s", v->name, v->name);
	else if (p && (p->takeover.deadline || p->takeover.serves))
		core_reply(c, r->id, false, "%s: it is being handed over between here and %s: try again when that "
			   "has ended", v->name, node);
	else if (only_copy(v, p) && (v->k.flags & REPL_VF_DISKLESS))
		core_reply(c, r->id, false, "%s: the disk here has failed, and %s holds the only copy there is: "
			   "replace the disk first, repl-ctl replace %s", v->name, node, v->name);
	else if (!r->force && (only_copy(v, p) || only_replica(v, p)))
		core_reply(c, r->id, false, "%s: %s is the only peer that is in sync, without it this is the only "
			   "copy: let another one get in sync first, or say --force", v->name, node);
	else if (!r->force && would_stand_alone(v, p))
		core_reply(c, r->id, false, "%s: %s may be primary, or hold what this copy lacks, and without it "
			   "this one would be a volume of its own: remove this node there, repl-ctl peer remove %s "
			   "%s, and take it down here, repl-ctl down %s; or say --force", v->name, node, v->name,
			   c->node, v->name);
	else
		return false;
	return true;
}

/*
 * A node that was made anew has the name that it had, and another key: of those of one name first
 * who is a peer now, and of these who is in agent.conf; what an old key has left is a slot.
 */
static const struct core_peer *find_named(const struct volume *v, const char *node)
{
	const struct core *c = v->core;
	const struct core_peer *found = NULL;

	for (unsigned int i = 0; i < v->pair_count; i++)
		if (!strcmp(v->pair[i]->peer->name, node) && (!found || found->gone))
			found = v->pair[i]->peer;
	for (unsigned int i = 0; i < c->peer_count && !found; i++)
		if (!strcmp(c->peer[i].name, node) && copy_slot(&v->k, c->peer[i].key))
			found = &c->peer[i];
	return found;
}

void member_remove(struct core *c, const struct core_request *r, const char *node)
{
	struct volume *v = task_volume(c, r);
	const struct core_peer *peer = v ? find_named(v, node) : NULL;
	struct pair *p = peer ? find(v, peer) : NULL;

	if (!v)
		return;
	if (!peer) {
		core_reply(c, r->id, false, "%s: %s is no peer of it: repl-ctl status %s names them", v->name,
			   node, v->name);
		return;
	}
	if (refused(v, p, r, node))
		return;
	start(v, peer, r->id, false);
	if (!p)
		return;
	resolve_end(p, "%s is no peer any more", node);
	verify_end(p, "%s is no peer any more", node);
	pair_hold(p);
}

/* Requests that wait in the queue and would find the pair gone. */
static void drop_requests(struct pair *p)
{
	struct action_queue *q = &p->core->actions;
	struct action **at = &q->first, *a;

	while ((a = *at)) {
		if (a->pair != p || a->kind == ACTION_FORGET) {
			at = &a->next;
			continue;
		}
		*at = a->next;
		action_free(a);
	}
	q->last = at;
}

static void refuse_sessions(struct pair *p, bool comes)
{
	const struct volume *v = p->volume;
	const char *node = p->peer->name;

	for (struct session *s = p->core->sessions; s; s = s->next) {
		if (s->pair != p)
			continue;
		if (!comes)
			session_refuse(s, "%s was removed from the peers of volume %s on %s, and its copy gets nothing "
				       "from there any more: if that copy is not needed, on %s run repl-ctl down %s; "
				       "if it is to be a volume of its own, repl-ctl peer remove %s %s --force", node,
				       v->name, p->core->node, node, v->name, v->name, p->core->node);
		session_close(s);
		s->pair = NULL;
	}
}

/* Nothing of it is under way: the volume's other pairs go on as if it had never been. */
static void drop(struct pair *p, bool comes)
{
	struct volume *v = p->volume;
	unsigned int i = 0;
	struct action *a;

	refuse_sessions(p, comes);
	takeover_end(p, "it is no peer any more");
	lag_end(p);
	p->session = NULL;
	p->turn++;
	p->then = NULL;
	while (v->pair[i] != p)
		i++;
	memmove(&v->pair[i], &v->pair[i + 1], (--v->pair_count - i) * sizeof(v->pair[0]));
	if (v->served == p)
		v->served = NULL;
	if (v->redo.pair == p)
		v->redo.pair = NULL;
	drop_requests(p);
	a = action_add(&v->core->actions, ACTION_FORGET, 0);
	a->pair = p;
	a->volume = v;
	a->ok = true;
}

void member_free(struct pair *p)
{
	drop_requests(p);
	verify_free(p);
	free(p);
}

static void went(struct volume *v, struct pair *p)
{
	const char *node = v->task.member->name;
	char text[2 * CORE_REASON_MAX];

	if (p)
		drop(p, false);
	snprintf(text, sizeof(text), "%s: %s is no peer any more, and its slot is free: if it ever returns, it gets a "
		 "full copy; on %s: repl-ctl down %s; on other nodes that name it: peer remove %s %s",
		 v->name, node, node, v->name, v->name, node);
	task_end(v, true, text);
	core_get(v);
}

/* -------------------------------------------------------------- steps --- */

static void failed(struct volume *v, const char *why)
{
	struct pair *p = find(v, v->task.member);
	bool comes = v->task.comes;
	char text[2 * CORE_REASON_MAX];

	snprintf(text, sizeof(text), "%s: %s: %s", v->name, v->task.member->name, why);
	task_end(v, false, text);
	if (p && comes)
		drop(p, true);
	else if (p)
		pair_release(p);
	core_get(v);
}

static void next_op(struct volume *v, const struct op *op)
{
	/* What comes next is decided by what the kernel says then. */
	v->task.looked = false;
	core_op(v, NULL, op);
}

/*
 * The link first, which sets the bits of what it leaves unanswered; then the slot.  Where the loss
 * of a peer freezes the volume, it goes on when no slot is left that was lost.
 */
void member_go(struct volume *v)
{
	struct pair *p = find(v, v->task.member);
	const struct kernel_slot *s = copy_slot(&v->k, v->task.member->key);
	struct op op = { .slot = s ? s->index : 0 };

	if (!v->task.looked || v->pending || (p && p->pending))
		return;
	if (s && s->link == REPL_LINK_LIVE) {
		op.kind = OP_LINK_DEL;
		next_op(v, &op);
	} else if (s && s->link == REPL_LINK_CLOSING) {
		v->get_at = v->core->now + CORE_CLOSING_MS;
	} else if (s) {
		op.kind = OP_SLOT_SET;
		op.flags = REPL_SLOT_FREE;
		memcpy(op.key, v->task.member->key, sizeof(op.key));
		next_op(v, &op);
	} else if (v->task.comes) {
		came(v, p);
	} else {
		went(v, p);
	}
}

void member_snapshot(struct volume *v)
{
	if (v->task.kind == TASK_MEMBER)
		v->task.looked = true;
}

/* A cut that has just ended may still hold the slot; and a freeze may be over by itself. */
void member_op_done(struct volume *v, enum op_kind kind, const struct op_result *r)
{
	char text[CORE_REASON_MAX];

	if (r->error && r->error != -EBUSY && r->error != -ENOENT) {
		snprintf(text, sizeof(text), "could not %s: %s",
			 kind == OP_SLOT_SET ? "free its slot" : op_name(kind), r->text && r->text[0] ? r->text : strerror(-r->error));
		failed(v, text);
	} else if (r->error) {
		v->get_at = v->core->now + CORE_CLOSING_MS;
	} else {
		core_get(v);
	}
}

void member_tick(struct volume *v)
{
	failed(v, "its link or a cut of its blocks has not ended in time: try again");
}

bool member_leaves(const struct pair *p)
{
	const struct task *t = &p->volume->task;

	return t->kind == TASK_MEMBER && !t->comes && t->member == p->peer;
}
