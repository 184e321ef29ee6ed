// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The follower's side; lead.c tells the order.
 *
 * What this copy doubts, the blocks of its own map for the leader, is read from a
 * cut that stays open to the end: it is committed only when the link is about to be
 * adopted, and closing it in any other case makes the blocks dirty again.
 *
 * A copy that is consistent stays as it is.  What comes is staged, and marked in this
 * copy's map for the leader before it is confirmed, so that whatever happens to the file
 * somebody knows of these blocks.  When the leader says which instant all of it makes up
 * (COMMIT, or LINK_ADOPT), it becomes this copy in one step that survives a crash (redo.c);
 * then what this copy doubted is settled, and so is what was marked.
 *
 * A copy that is not consistent has nothing to lose, that of a split is given up because a
 * person said so, and what was too large to be staged comes directly: then the copy is
 * durably given up (OP_FOLLOW) before the first block of the leader is written to it.
 */
#include "pair.h"

#include <stdio.h>
#include <string.h>

#include "arbiter.h"
#include "id.h"
#include "member.h"
#include "redo.h"
#include "resolve.h"
#include "session.h"
#include "task.h"

static void fail(struct pair *p, enum op_kind kind, const struct op_result *r)
{
	pair_leave(p, true, "could not %s: %s", op_name(kind),
		   r->text && r->text[0] ? r->text : strerror(-r->error));
}

static void look_then(struct pair *p, void (*then)(struct pair *p))
{
	p->then = then;
	core_get(p->volume);
}

static void following_words(struct pair *p)
{
	pair_reason(p, p->run.staged ? "follows %s; this copy stays consistent, as it was, meanwhile"
				     : "follows %s; this copy is not consistent until it is in sync",
		    p->peer->name);
}

static void say_following(struct pair *p)
{
	struct op op = { .kind = OP_MAP_SEND, .size = p->theirs.size };
	struct copy says = p->mine;

	if (p->run.staged)
		says.flags |= REPL_MV_STAGES;
	p->phase = PHASE_F_MAP;
	p->said = p->mine;
	following_words(p);
	session_send_copy(p, REPL_MSG_FOLLOWING, &says, p->run.nonce);
	core_op(p->volume, p, &op);
}

static void give_up_copy(struct pair *p, enum phase phase)
{
	struct op op = {
		.kind = OP_FOLLOW, .slot = (uint8_t)pair_slot(p), .id = p->theirs.uuid,
	};

	p->phase = phase;
	core_op(p->volume, p, &op);
}

static void cut(struct pair *p)
{
	struct op op = {
		.kind = OP_CUT, .slot = (uint8_t)pair_slot(p), .flags = REPL_CUT_UNFROZEN,
	};

	if (pair_slot(p) < 0) {
		pair_leave(p, true, "the slot that was assigned is not there");
		return;
	}
	p->phase = PHASE_F_CUT;
	core_op(p->volume, p, &op);
}

static void assign_slot(struct pair *p)
{
	if (pair_slot_known(p)) {
		cut(p);
		return;
	}
	p->phase = PHASE_F_SLOT;
	if (!pair_assign_slot(p))
		pair_leave(p, true, PAIR_NO_SLOT, p->volume->k.slots);
}

/*
 * Not primary when it was heard last, nor since: its generation would have come over the link.
 * Of a node that this agent has never heard nothing is known.
 */
static bool is_secondary(const struct pair *p)
{
	return !id_is_zero(&p->theirs.copy_id) && !(p->theirs.flags & REPL_MV_PRIMARY) &&
	       id_equal(&p->theirs.generation, &p->mine.generation);
}

/* For the sake of @p a link goes.  Where the other agent is away, the pair itself does nothing about it. */
static void unlink_for(const struct pair *p, struct pair *live)
{
	struct op op = { .kind = OP_LINK_DEL, .slot = (uint8_t)pair_slot(live) };

	if (task_may_begin(live))
		return;
	if (live->phase == PHASE_LIVE) {
		pair_unlink(live, "this copy is about to follow another");
	} else if (live->phase == PHASE_OFF && !live->pending && is_secondary(live)) {
		core_log(p->core, LOG_LEVEL_INFO, p->volume, live, "dropping the link: this copy is about to follow %s, "
			 "and the agent there is away", p->peer->name);
		core_op(p->volume, live, &op);
	}
}

/*
 * A copy follows one leader, and while its content changes it is equal to no other
 * node's.  So a leader that is primary, or whose generation is newer, is followed after
 * all other links have ended.  For the sake of any other no live link is given up: its
 * turn comes when something has changed, and then it is told.  Nor is any other followed
 * while a peer is away that was in sync: it may have gone on, and to follow means to
 * forget that it was.
 */
static bool bound_to_another(struct pair *p)
{
	const struct pair *other = pair_other_leader(p);
	struct volume *v = p->volume;
	bool stronger = pair_stronger(p), bound = false;
	const char *absent = NULL;

	for (unsigned int i = 0; !other && i < v->pair_count; i++) {
		struct pair *live = v->pair[i];

		if (live == p || !(live->mine.flags & REPL_MV_LIVE))
			continue;
		if (!stronger && !verdict_equal(p->verdict.kind))
			other = live;
		bound |= stronger;
		if (stronger)
			unlink_for(p, live);
		if (stronger && live->phase == PHASE_OFF && !is_secondary(live))
			pair_reason(p, "waits: this copy has a link with %s, whose agent is away, and which may be "
				    "primary: start the agent there", live->peer->name);
	}
	if (!other && !stronger && !verdict_equal(p->verdict.kind))
		absent = pair_absent(p);
	if (other || absent) {
		p->phase = PHASE_MEET;
		pair_reason(p, other ? "nothing to do: this copy goes with %s"
				     : "waits for %s, which was in sync when it was last seen",
			    other ? other->peer->name : absent);
	} else if (bound) {
		p->timer = p->core->now + CORE_RETRY_MIN_MS;
	}
	return other || absent || bound;
}

/*
 * What a person has decided to give up in a split, having seen it, and saved, is given up:
 * else the decision would be forgotten with the session.
 */
static bool stages(struct pair *p)
{
	const struct volume_settings *set = &p->volume->set;

	/* What was staged is lost with the session, and what was applied is not. */
	if (set->direct_apply && p->broken >= CORE_STAGE_TRIES && !p->direct) {
		core_log(p->core, LOG_LEVEL_WARN, p->volume, p, "%u attempts were broken off: what comes "
			 "next is applied as it comes, and this copy is not consistent until it is in sync",
			 p->broken);
		p->direct = true;
	}
	return set->stages && (p->mine.flags & REPL_MV_CONSISTENT) && !p->direct &&
	       p->resolve.step != RESOLVE_AGREED;
}

bool follow_waits_for_room(struct pair *p)
{
	if (!p->full_until || p->core->now >= p->full_until ||
	    !(p->mine.flags & REPL_MV_CONSISTENT))
		return false;
	p->timer = p->full_until;
	pair_reason(p, "this copy stays as it is: what is missing cannot be staged: give it more room "
		    "(staging-dir, staging-size in the volume's file), or say direct-apply = yes");
	return true;
}

/* A link that is closing may have brought a generation that is not recorded yet. */
static bool links_close(const struct volume *v)
{
	for (unsigned int i = 0; i < v->k.slot_count; i++)
		if (v->k.slot[i].link == REPL_LINK_CLOSING)
			return true;
	return false;
}

/* The snapshot is fresh: does this side judge as the leader does? */
static void agree(struct pair *p)
{
	const struct volume *v = p->volume;

	if (p->pending || p->closing || redo_active(v)) {
		pair_look(p, true);
		return;
	}
	pair_judge(p);
	if (member_clone(p)) {
		p->phase = PHASE_MEET;
		return;
	}
	if (arbiter_binds(v)) {
		p->phase = PHASE_MEET;
		pair_reason(p, "%s", arbiter_binds(v));
		return;
	}
	if (v->served && v->served != p) {
		p->phase = PHASE_MEET;
		pair_reason(p, "nothing to do: both follow %s", v->served->peer->name);
		return;
	}
	if (!verdict_follows(p->verdict.kind)) {
		core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "%s wants to lead, but: %s (%s)",
			 p->peer->name, verdict_name(p->verdict.kind), p->verdict.why);
		pair_look(p, true);
		return;
	}
	if (bound_to_another(p))
		return;
	/* Else all that is staged meanwhile could be in vain: redo(). */
	if (links_close(v)) {
		p->timer = p->core->now + CORE_RETRY_MIN_MS;
		pair_reason(p, "waits for the last writes of a link that closes");
		return;
	}
	if (follow_waits_for_room(p)) {
		p->phase = PHASE_MEET;
		return;
	}
	p->run.equal = verdict_equal(p->verdict.kind);
	p->run.staged = stages(p);
	p->run.generation = p->mine.generation;
	core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "follows %s: %s", p->peer->name,
		 p->verdict.why);
	assign_slot(p);
}

void follow_start(struct pair *p, const struct copy *theirs, uint64_t nonce)
{
	p->theirs = *theirs;
	memset(&p->run, 0, sizeof(p->run));
	p->copied = (struct copied){ 0 };
	p->roll.equal_at = 0;	/* the peer is ahead of this copy now, not behind */
	p->run.nonce = nonce;
	p->phase = PHASE_F_LOOK;
	p->timer = 0;
	look_then(p, agree);
}

/* Those that are free as well: a backup that has just made one for itself is not known here yet. */
static uint32_t other_slots(const struct pair *p)
{
	return ((1u << p->volume->k.slots) - 1) & ~(1u << pair_slot(p));
}

static void apply(struct pair *p)
{
	struct op op = {
		.kind = OP_DELTA_APPLY, .delta = p->run.delta, .stage = p->run.staged,
		.mask = p->run.staged ? 1u << pair_slot(p) : other_slots(p),
		.size = p->mine.size < p->theirs.size ? p->mine.size : p->theirs.size,
	};

	p->phase = PHASE_F_APPLY;
	p->run.last = p->run.delta.flags & REPL_MD_LAST;
	p->run.last_done = false;
	p->run.done_bytes = 0;
	p->run.left_bytes = p->run.delta.blocks << REPL_BLOCK_SHIFT;
	p->run.began_at = p->core->now;
	core_op(p->volume, p, &op);
	session_pause(p, false);
}

static bool linked_elsewhere(const struct pair *p)
{
	const struct volume *v = p->volume;

	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i] != p && (v->pair[i]->mine.flags & REPL_MV_LIVE))
			return true;
	return false;
}

void follow_delta(struct pair *p, const struct msg_delta *d)
{
	if (!pair_following(p))
		return;
	if (p->phase != PHASE_F_READY && p->phase != PHASE_F_LINK) {
		pair_protocol(p, "DELTA_BEGIN before the one before it was done");
		return;
	}
	/* Followed beside other links, since nothing was to be copied: one of the two has gone on since. */
	if (!p->run.followed && ((p->run.staged && d->blocks) ||
				 !id_equal(&d->generation, &p->mine.generation)) &&
	    (!p->run.staged || linked_elsewhere(p))) {
		pair_leave(p, true, "the copies are no longer of the same generation");
		return;
	}
	p->run.delta = *d;
	/* What follows is for OP_DELTA_APPLY, which may have to wait. */
	session_pause(p, true);
	if (d->blocks && !p->run.followed && !p->run.staged)
		give_up_copy(p, PHASE_F_BEGIN);
	else
		apply(p);
}

static void applied(struct pair *p, const struct op_result *r)
{
	struct repl_msg_delta m;

	p->run.delta.moved = r->moved;
	pair_copied(p, &p->run.delta);
	if (p->run.staged)
		p->run.staged_bytes += r->moved.sent_bytes + r->moved.zero_bytes;
	p->run.last_done = p->run.last;
	p->phase = PHASE_F_READY;
	msg_pack_delta(&p->run.delta, &m);
	session_send(p, REPL_MSG_DELTA_DONE, &m, sizeof(m));
}

void follow_offer(struct pair *p, const struct msg_link *l)
{
	struct op op = { .kind = OP_LINK_OPEN, .link = *l, .dial = p->peer->lower };

	if (p->phase != PHASE_F_READY && p->phase != PHASE_F_LINK)
		return;
	if (l->plain != p->volume->set.plain || strcmp(l->volume, p->volume->name)) {
		pair_protocol(p, "a link %s TLS for volume %s was not agreed",
			      l->plain ? "without" : "with", l->volume);
		return;
	}
	/* The leader's end of an older offer has failed: this end, ready or not, goes, too. */
	p->phase = PHASE_F_LINK;
	p->run.opening++;
	p->run.cookie = l->cookie;
	p->run.link_open = false;
	p->run.last_done = false;
	core_op(p->volume, p, &op);
}

static void link_open(struct pair *p)
{
	struct msg_link l = { .cookie = p->run.cookie, .plain = p->volume->set.plain };
	struct repl_msg_link m;

	p->run.link_open = true;
	if (p->phase == PHASE_F_LINK)
		p->phase = PHASE_F_READY;
	snprintf(l.volume, sizeof(l.volume), "%s", p->volume->name);
	msg_pack_link(&l, &m);
	session_send(p, REPL_MSG_LINK_READY, &m, sizeof(m));
}

/* ------------------------------------------------ what was staged counts -- */

/*
 * The staging file cannot be written, or is full.  This copy has lost nothing; but behind
 * for ever it would lose more every day if the leader's were to go.  So, unless a person has
 * said otherwise, the next attempt is one without it.
 */
static void not_staged(struct pair *p, const char *why)
{
	if (p->volume->set.direct_apply) {
		p->direct = true;
		core_log(p->core, LOG_LEVEL_WARN, p->volume, p, "what comes next is applied as it comes, "
			 "and this copy is not consistent until it is in sync: direct-apply = no in the "
			 "volume's file forbids that");
	} else {
		p->full_until = p->core->now + CORE_FULL_MS;
	}
	pair_leave(p, true, "what is missing here cannot be staged: %s", why);
}

static void settle(struct pair *p, enum op_kind kind)
{
	struct op op = {
		.kind = kind, .slot = (uint8_t)pair_slot(p), .flags = REPL_CUT_UNFROZEN,
	};

	p->phase = PHASE_F_COMMIT;
	core_op(p->volume, p, &op);
}

static void add_link(struct pair *p);

/*
 * The cut is closed, and the snapshot newer: if this copy is still the same, so it was when the
 * cut was made, and nothing is in it that came from elsewhere since.
 */
static void commit_marked(struct pair *p)
{
	settle(p, OP_COMMIT);
}

/* All doubts are settled: this copy's own, which the leader had taken in, and what was marked. */
static void settled(struct pair *p)
{
	if (p->run.cut_open) {
		p->run.cut_open = false;
		if (p->run.staged) {
			settle(p, OP_CUT);
			return;
		}
	}
	if (p->run.adopting) {
		add_link(p);
		return;
	}
	p->phase = PHASE_F_READY;
	p->broken = 0;
	p->run.staged_bytes = p->run.done_bytes = p->run.left_bytes = 0;
	p->said = p->mine;
	following_words(p);
	session_send_copy(p, REPL_MSG_COMMITTED, &p->mine, p->run.commit_nonce);
}

void follow_redone(struct pair *p, int error, const char *why)
{
	if (p->phase != PHASE_F_REDO)
		return;
	if (error)
		not_staged(p, why);
	else
		settle(p, p->run.cut_open ? OP_COMMIT : OP_CUT);
}

/*
 * The snapshot is fresh.  The kernel records whatever generation it is told, so it must not have
 * another one by then than this side knows of: none comes without a link, and no link comes
 * while this copy follows.
 */
static void redo(struct pair *p)
{
	if (linked_elsewhere(p) || links_close(p->volume)) {
		pair_leave(p, true, "what is staged counts when this copy has no other link, and it has one");
		return;
	}
	p->phase = PHASE_F_REDO;
	p->run.generation = p->run.epoch.generation;
	pair_reason(p, "applies what was staged");
	redo_begin(p, &p->run.epoch);
}

/* The leader's word is about the copy that this one was: is it still? */
static void look_before(struct pair *p, const struct copy *to, void (*then)(struct pair *p))
{
	p->phase = PHASE_F_COMMIT;
	p->run.epoch = *to;
	look_then(p, then);
}

void follow_commit(struct pair *p, const struct copy *theirs)
{
	if (!pair_following(p))
		return;
	if (p->phase != PHASE_F_READY || !p->run.staged || redo_active(p->volume)) {
		pair_leave(p, true, "%s ends an epoch that was not staged here", p->peer->name);
		return;
	}
	p->run.commit_nonce = theirs->cookie;
	look_before(p, theirs, redo);
}

static void adopt(struct pair *p)
{
	if (p->run.staged && (p->run.staged_bytes ||
			      !id_equal(&p->run.epoch.generation, &p->mine.generation)))
		redo(p);
	else
		settle(p, p->run.cut_open ? OP_COMMIT : OP_CUT);
}

/* The leader has adopted its end: this copy is the leader's volume, and takes its name. */
void follow_adopt(struct pair *p, const struct copy *theirs)
{
	if (!pair_following(p))
		return;
	if (p->phase != PHASE_F_READY || !p->run.last_done || !p->run.link_open ||
	    theirs->cookie != p->run.cookie ||
	    !id_equal(&theirs->generation, &p->run.delta.generation)) {
		pair_leave(p, true, "%s has adopted a link that was not ready here", p->peer->name);
		return;
	}
	p->theirs = *theirs;
	p->run.adopting = true;
	look_before(p, theirs, adopt);
}

static void add_link(struct pair *p)
{
	struct op op = {
		.kind = OP_LINK_ADD, .slot = (uint8_t)pair_slot(p), .cookie = p->run.cookie,
		.flags = REPL_LINK_FOLLOW | (p->volume->set.plain ? REPL_LINK_CRC : REPL_LINK_TLS),
		.id = p->theirs.generation, .epoch = p->theirs.epoch,
	};

	memcpy(op.history, p->theirs.history, sizeof(op.history));
	p->phase = PHASE_F_ADD;
	core_op(p->volume, p, &op);
}

void follow_op_done(struct pair *p, enum op_kind kind, const struct op_result *r)
{
	if (r->error && r->staging) {
		not_staged(p, r->text);
		return;
	}
	if (r->error && kind != OP_LINK_OPEN) {
		fail(p, kind, r);
		return;
	}
	switch (kind) {
	case OP_SLOT_SET:
		look_then(p, cut);
		break;
	case OP_CUT:
		if (p->phase == PHASE_F_COMMIT) {
			look_then(p, commit_marked);
			break;
		}
		p->run.cut_open = true;
		if (p->run.equal || p->run.staged)
			look_then(p, say_following);
		else
			give_up_copy(p, PHASE_F_FOLLOW);
		break;
	case OP_FOLLOW:
		p->run.followed = true;
		resolve_following(p);
		if (p->phase == PHASE_F_BEGIN)
			apply(p);
		else
			look_then(p, say_following);
		break;
	case OP_MAP_SEND:
		p->phase = PHASE_F_READY;
		break;
	case OP_DELTA_APPLY:
		applied(p, r);
		break;
	case OP_LINK_OPEN:
		if (--p->run.opening)
			break;	/* a newer offer has taken its place */
		if (r->error) {
			if (p->phase == PHASE_F_LINK)
				p->phase = PHASE_F_READY;
			core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "the link did not come up: %s",
				 r->text ? r->text : strerror(-r->error));
		} else {
			link_open(p);
		}
		break;
	case OP_COMMIT:
		look_then(p, settled);
		break;
	case OP_LINK_ADD:
		session_send(p, REPL_MSG_LINK_LIVE, NULL, 0);
		pair_finish(p);
		break;
	default:
		break;
	}
}

void follow_tick(struct pair *p)
{
	if (p->phase == PHASE_F_LOOK)
		look_then(p, agree);
}

/*
 * What came over a link that this copy has beside has made it another one: the leader does not
 * have that, nor is it what the two have agreed about.  In the phases that are left out it is
 * this procedure that changes it, or may; and the kernel adds no link in another generation.
 */
static bool is_another(const struct pair *p)
{
	return p->phase != PHASE_F_LOOK && p->phase != PHASE_F_REDO && p->phase != PHASE_F_ADD &&
	       !id_equal(&p->run.generation, &p->mine.generation);
}

void follow_snapshot(struct pair *p)
{
	const struct volume *v = p->volume;

	if (v->k.role == REPL_ROLE_PRIMARY)
		pair_leave(p, true, "this copy is primary now and follows nobody");
	else if (v->served && v->served != p)
		pair_leave(p, false, "%s is primary now: this copy goes with it", v->served->peer->name);
	else if (is_another(p))
		pair_leave(p, true, "this copy has gone on with another node since it began to follow %s",
			   p->peer->name);
}
