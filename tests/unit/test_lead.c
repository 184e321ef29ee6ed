// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One core that leads, or is asked to: messages that cross, and what comes as a link is adopted.
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c
 * needs: userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c userspace/agent/resolve.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c tests/unit/one_peer.c
 */
#include "one_peer.h"

#include "id.h"
#include "tap.h"

/* The last FOLLOW that was sent is of @c. */
static bool asked_to_follow(struct copy *c)
{
	const struct repl_msg_volume *follow = NULL;
	struct err e;

	for (unsigned int i = 0; i < sent_count; i++)
		if (sent[i].type == REPL_MSG_FOLLOW)
			follow = (const void *)sent[i].body;
	return follow && !copy_unpack(c, follow, &e);
}

/*
 * The leader leaves at a message that crosses its FOLLOW, so the follower begins alone.  No
 * later FOLLOW may come to end that: by then the leader itself may follow a third node.
 */
static void follows_nobody(void)
{
	struct copy c, state = { 0 };

	begin(true);
	equal_copies(&c);
	come(1);
	hear_hello(1, 1, 1, "spool");
	hear_copy(1, REPL_MSG_VOLUME, &c);
	need(asked_to_follow(&state), "this side leads");
	c.slot_dirty_blocks = 1;
	hear_copy(1, REPL_MSG_STATE, &c);
	need(pair->phase == PHASE_MEET, "a STATE that crossed FOLLOW: it leads no more");
	clear();
	c.cookie = state.cookie;
	hear_copy(1, REPL_MSG_FOLLOWING, &c);
	ok(sent_count && (sent[0].type == REPL_MSG_STATE || sent[0].type == REPL_MSG_VOLUME),
	   "who follows a procedure that was left is told so");
	end();
}

/* As leader, primary, up to where a peer that stages is about to tell what it doubts. */
static void leads(uint32_t conn)
{
	struct copy c, state = { 0 };

	begin(true);
	equal_copies(&c);
	kernel.role = REPL_ROLE_PRIMARY;
	kernel.generation = id(2);
	kernel.history[0] = id(1);
	kernel.slot[0].flags = 0;
	come(conn);
	hear_hello(conn, 1, 1, "spool");
	hear_copy(conn, REPL_MSG_VOLUME, &c);
	need(asked_to_follow(&state), "this side leads");
	c.cookie = state.cookie;
	c.flags |= REPL_MV_STAGES;
	hear_copy(conn, REPL_MSG_FOLLOWING, &c);
}

/* The same up to where the kernel adopts the link. */
static void adopts_here(uint32_t conn)
{
	struct msg_link l = { .volume = "spool" };
	struct repl_msg_link ready;
	struct repl_msg_delta delta;

	leads(conn);
	hear(conn, REPL_MSG_MAP, NULL, 0);
	done(OP_LINK_OPEN, 0);
	l.cookie = pair->run.cookie;
	msg_pack_link(&l, &ready);
	hear(conn, REPL_MSG_LINK_READY, &ready, sizeof(ready));
	kernel.gate = REPL_GATE_JOIN;
	done(OP_FREEZE, 0);
	done(OP_CUT, 0);
	done(OP_DELTA_SEND, 0);
	msg_pack_delta(&pair->run.delta, &delta);
	hear(conn, REPL_MSG_DELTA_DONE, &delta, sizeof(delta));
	done(OP_COMMIT, 0);
	kernel.slot[0].flags = REPL_SS_LIVE;
	kernel.slot[0].link = REPL_LINK_LIVE;
	kernel.slot[0].cookie = l.cookie;
	kernel.slot[0].generation = id(2);
}

/* The peer is told. */
static void adopted_here(uint32_t conn)
{
	adopts_here(conn);
	done(OP_LINK_ADD, 0);
	need(pair->phase == PHASE_L_ADOPT, "the link is adopted here");
	clear();
}

/* Its loss had frozen the volume: the kernel ends that with a new generation, as soon as it is live. */
static void goes_on_at_adoption(void)
{
	const struct repl_msg_volume *adopt = NULL;
	struct copy c;
	struct err e;

	adopts_here(1);
	memmove(&kernel.history[1], &kernel.history[0], sizeof(kernel.history[0]));
	kernel.history[0] = id(2);
	kernel.generation = id(3);
	done(OP_LINK_ADD, 0);
	for (unsigned int i = 0; i < sent_count; i++)
		if (sent[i].type == REPL_MSG_LINK_ADOPT)
			adopt = (const void *)sent[i].body;
	ok(adopt && !copy_unpack(&c, adopt, &e) && id_equal(&c.generation, (struct repl_id[]){ id(2) }) &&
	   id_equal(&c.history[0], (struct repl_id[]){ id(1) }),
	   "a generation that begins with the link: the peer is told the one that it has, the kernel tells the next");
	end();

	adopts_here(1);
	kernel.generation = kernel.slot[0].generation = id(3);
	done(OP_LINK_ADD, 0);
	ok(pair->phase != PHASE_L_ADOPT && strstr(pair->reason, "before the link was adopted"),
	   "one that began before it, of which nobody tells the peer: not joined (%s)", pair->reason);
	end();
}

/*
 * The peer stages, so it may be what it was before, though the slot says that it is equal: by
 * that it would be copied in full.
 */
static void broken_at_adoption(void)
{
	struct copy c;

	adopted_here(1);
	core_session_down(&core, 1, "closed");
	kernel.gate = 0;
	kernel.slot[0].link = REPL_LINK_NONE;
	kernel.slot[0].flags = 0;
	kernel.history[1] = id(1);
	kernel.history[0] = id(2);
	kernel.generation = id(3);
	equal_copies(&c);
	kernel.slot[0].generation = id(2);
	kernel.slot[0].flags = 0;
	come(2);
	hear_hello(2, 1, 1, "spool");
	ok(op_count == 1 && ops[0].kind == OP_RECORD && id_equal(&ops[0].id, (struct repl_id[]){ id(1) }),
	   "a join that was broken at adoption: what the slot says of the peer is taken back");
	kernel.slot[0].generation = id(1);
	done(OP_RECORD, 0);
	hear_copy(2, REPL_MSG_VOLUME, &c);
	ok(pair->verdict.kind == VERDICT_LEAD, "so it gets what has changed, and no more: %s",
	   verdict_name(pair->verdict.kind));
	clear();
	core_get(volume);
	settle();
	ok(!op_count, "once");
	end();
}

/* It was told that the peer has adopted it: nothing is taken back. */
static void lost_after_adoption(void)
{
	struct copy c;

	adopted_here(1);
	hear(1, REPL_MSG_LINK_LIVE, NULL, 0);
	core_session_down(&core, 1, "closed");
	kernel.slot[0].link = REPL_LINK_NONE;
	equal_copies(&c);
	kernel.slot[0].generation = id(2);
	kernel.slot[0].flags = 0;
	c.generation = id(2);
	come(2);
	hear_hello(2, 1, 1, "spool");
	hear_copy(2, REPL_MSG_VOLUME, &c);
	for (unsigned int i = 0; i < op_count; i++)
		need(ops[i].kind != OP_RECORD, "what the peer has said counts");
	ok(verdict_leads(pair->verdict.kind) && !verdict_full(pair->verdict.kind),
	   "a link that is lost later: nothing is taken back");
	end();
}

/*
 * Who is asked to follow, and is bound to a third that is away, says nothing until something
 * changes.  It would follow a primary.
 */
static void promoted_while_it_waits(void)
{
	struct copy c, state;

	begin(true);
	equal_copies(&c);
	come(1);
	hear_hello(1, 1, 1, "spool");
	hear_copy(1, REPL_MSG_VOLUME, &c);
	need(asked_to_follow(&state) && pair->phase == PHASE_L_FOLLOW, "this side leads");
	clear();
	core_get(volume);
	settle();
	need(!sent_count, "as long as nothing changes, it waits");
	kernel.role = REPL_ROLE_PRIMARY;
	kernel.generation = id(2);
	core_get(volume);
	settle();
	ok(asked_to_follow(&state) && (state.flags & REPL_MV_PRIMARY) &&
	   id_equal(&state.generation, &kernel.generation),
	   "who has become primary asks again to be followed");
	end();
}

/* The kernel would refuse one more: writers are not held for what is known to be refused. */
static void links_are_many(void)
{
	leads(1);
	kernel.slots = kernel.slot_count = 8;
	for (uint8_t i = 1; i < 8; i++)
		kernel.slot[i] = (struct kernel_slot){
			.index = i, .kind = REPL_SLOT_PEER, .link = i <= REPL_LINKS_MAX ? REPL_LINK_LIVE : 0,
		};
	hear(1, REPL_MSG_MAP, NULL, 0);
	for (unsigned int i = 0; i < 120; i++) {
		core_heard(&core, 1);
		tick(5000);
	}
	ok(!op_count && strstr(pair->reason, "4 links are live"), "with as many links as can be it waits: %s", pair->reason);
	kernel.slot[2].link = REPL_LINK_NONE;
	core_event(&core, volume);
	settle();
	tick(0);
	ok(op_count == 1 && ops[0].kind == OP_LINK_OPEN, "until there is one less");
	end();
}

/* Much is staged: an epoch ends before the join, but where a lost peer holds writers none can. */
static enum op_kind joins(uint32_t gate)
{
	enum op_kind kind;

	leads(1);
	kernel.gate = gate;
	pair->run.staged = true;
	pair->run.staged_bytes = 1ULL << 40;
	hear(1, REPL_MSG_MAP, NULL, 0);
	need(op_count, "something is done");
	kind = ops[0].kind;
	end();
	return kind;
}

static void much_is_staged(void)
{
	is_text(op_name(joins(0)), op_name(OP_FREEZE), "what takes long to apply is applied before writers are held");
	is_text(op_name(joins(REPL_GATE_PEER_LOST)), op_name(OP_LINK_OPEN), "unless they are held until the peer is back");
}

/*
 * This node has consented to the promotion of the peer, which is about to say that it has adopted
 * the link.  A third has learnt of the new generation first, and would be followed.
 */
static void learns_late(void)
{
	struct repl_msg_consent m;
	struct msg_consent ask = { .generation = id(2) };
	struct copy c;
	struct pair *third;

	adopted_here(1);
	kernel.role = REPL_ROLE_SECONDARY;
	kernel.gate = 0;
	c = other_copy();
	c.copy_id = id(23);
	c.generation = c.slot_generation = id(2);
	c.history[0] = id(1);
	third = third_node(2);
	third_live();
	kernel.slot[1].flags = 0;
	kernel.slot[1].link = REPL_LINK_NONE;
	kernel.slot[1].generation = id(2);
	core_get(volume);
	settle();
	hear_copy(2, REPL_MSG_VOLUME, &c);
	need(pair->phase == PHASE_L_ADOPT, "a secondary that leads, up to where the peer is to adopt the link");
	msg_pack_consent(&ask, &m);
	hear(1, REPL_MSG_CONSENT_ASK, &m, sizeof(m));
	need(volume->consent_to == pair->peer, "to whose promotion this node consents");
	c.generation = id(3);
	c.history[0] = id(2);
	c.history[1] = id(1);
	hear_copy(2, REPL_MSG_VOLUME, &c);
	clear();
	c.cookie = 77;
	hear_copy(2, REPL_MSG_FOLLOW, &c);
	core_heard(&core, 1);
	need(pair_following(third), "what the third tells would be followed");
	ok(!op_count && pair->phase == PHASE_L_ADOPT, "the link with who is about to begin stays: %s", pair->reason);
	for (unsigned int i = 0; i < 3; i++) {
		tick(CORE_CONSENT_MS / 2);
		core_heard(&core, 1);
		core_heard(&core, 2);
	}
	ok(pair->phase != PHASE_L_ADOPT, "for as long as the consent is good for: %s", pair->reason);
	end();
}

int main(void)
{
	much_is_staged();
	learns_late();
	follows_nobody();
	links_are_many();
	goes_on_at_adoption();
	broken_at_adoption();
	lost_after_adoption();
	promoted_while_it_waits();
	return tap_end();
}
