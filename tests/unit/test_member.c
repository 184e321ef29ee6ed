// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A peer comes and goes while a volume is up: what is refused, in which order the link and
 * the slot go, and that nothing of it is left.
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c
 * needs: userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c userspace/agent/promote.c userspace/agent/pair.c userspace/agent/redo.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c userspace/agent/resolve.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c userspace/agent/suspect.c
 * needs: tests/unit/one_peer.c
 */
#include <errno.h>

#include "member.h"
#include "one_peer.h"
#include "tap.h"

enum { REQUEST = 5, CONN = 7 };

static void in_sync(uint8_t role)
{
	struct copy c;

	live(CONN, &c);
	kernel.role = role;
	kernel.on_peer_loss = REPL_LOSS_CONTINUE;
	core_event(&core, volume);
	settle();
	clear();
}

static void removes(const char *node, bool force)
{
	struct core_request r = { .id = REQUEST, .volume = "spool", .force = force };

	clear();
	member_remove(&core, &r, node);
	settle();
}

static struct pair *adds(const struct core_peer *who)
{
	struct core_request r = { .id = REQUEST, .volume = "spool" };
	struct pair *p;

	clear();
	p = member_new(&core, &r, who);
	if (p)
		member_begin(p, REQUEST);
	settle();
	return p;
}

static enum op_kind last_op(void)
{
	return op_count ? ops[(op_count - 1) % SENT].kind : OP_NONE;
}

/* The volume's op that was begun last ends so. */
static void ends(enum op_kind kind, int error)
{
	struct op_result r = { .error = error };

	need(last_op() == kind, op_name(kind));
	core_op_done(volume, NULL, kind, 0, &r);
	settle();
}

static void refused(void)
{
	in_sync(REPL_ROLE_PRIMARY);
	removes("mail9", false);
	ok(answer[0] == '0' && strstr(answer, "mail9 is no peer of it"), "who is none: %s", answer);
	removes("mail2", false);
	ok(answer[0] == '0' && strstr(answer, "the only peer that is in sync") && !op_count,
	   "the only copy beside a primary's: %s", answer);
	volume->set.arbiter = REPL_MA_NODE;
	removes("mail2", true);
	ok(answer[0] == '0' && strstr(answer, "arbiter"), "with an arbiter, even by force: %s", answer);
	volume->set.arbiter = 0;
	kernel.flags |= REPL_VF_DISKLESS;
	core_event(&core, volume);
	settle();
	removes("mail2", true);
	ok(answer[0] == '0' && strstr(answer, "holds the only copy there is") && !op_count,
	   "the only copy at all, even by force: %s", answer);
	kernel.flags &= ~REPL_VF_DISKLESS;
	core_event(&core, volume);
	settle();
	pair->takeover.serves = true;
	removes("mail2", true);
	ok(answer[0] == '0' && strstr(answer, "handed over"), "in the middle of a switch: %s", answer);
	ok(volume->pair_count == 1 && pair->phase == PHASE_LIVE, "and the pair is what it was");
	end();
}

static void goes(void)
{
	in_sync(REPL_ROLE_PRIMARY);
	removes("mail2", true);
	is_text(answer, "", "not done at once");
	is_number(last_op(), OP_LINK_DEL, "the link goes first");
	kernel.slot[0].link = REPL_LINK_CLOSING;
	ends(OP_LINK_DEL, 0);
	is_number(op_count, 1, "its last writes are waited for");
	tick(CORE_CLOSING_MS);
	is_number(op_count, 1, "and looked for again");
	kernel.slot[0].link = REPL_LINK_NONE;
	tick(CORE_CLOSING_MS);
	is_number(last_op(), OP_SLOT_SET, "then the slot");
	is_number(ops[op_count - 1].flags, REPL_SLOT_FREE, "which is free then");
	ends(OP_SLOT_SET, -EBUSY);
	tick(CORE_CLOSING_MS);
	is_number(op_count, 3, "tried again while a cut holds it");
	kernel.slot_count = 0;
	ends(OP_SLOT_SET, 0);
	ok(answer[0] == '1' && strstr(answer, "full copy"), "done, and what it means: %s", answer);
	ok(strstr(refusal, "on mail2 run repl-ctl down spool") && closed, "the other side is told: %s", refusal);
	is_number(volume->pair_count, 0, "the pair is gone");
	is_text(notices, "", "nobody is told of a loss");
	core_session_down(&core, CONN, "closed");
	come(CONN + 1);
	hear_hello(CONN + 1, 1, 1, "spool");
	ok(strstr(refusal, "is not a peer of volume spool") && strstr(refusal, "peer add spool mail2"),
	   "who comes back is told what to do: %s", refusal);
	end();
}

/* Somebody waits for the peer to be in sync as it is removed. */
static void waited_for(void)
{
	struct core_request r = { .id = REQUEST + 1, .volume = "spool" };

	in_sync(REPL_ROLE_PRIMARY);
	removes("mail2", true);
	kernel.slot[0].link = REPL_LINK_NONE;
	kernel.slot[0].flags = 0;
	ends(OP_LINK_DEL, 0);
	core_wait(&core, &r, WAIT_IN_SYNC, 0);
	settle();
	is_text(answer, "", "who waits for it waits on, ...");
	kernel.slot_count = 0;
	ends(OP_SLOT_SET, 0);
	core_event(&core, volume);
	settle();
	ok(answer[0] == '0' && strstr(answer, "no peer that could be in sync"), "... and is told in the end: %s",
	   answer);
	end();
}

static void goes_not(void)
{
	in_sync(REPL_ROLE_SECONDARY);
	volume->k.sb_flags = kernel.sb_flags |= REPL_SB_CONSISTENT;
	removes("mail2", false);
	ok(answer[0] == '0' && strstr(answer, "may be primary, or hold what this copy lacks") && !op_count,
	   "a secondary without peers would ask nobody: %s", answer);
	volume->served = pair;
	removes("mail2", false);
	ok(answer[0] == '0' && !op_count, "nor does it let go whom it follows");
	volume->served = NULL;
	removes("mial2", false);
	ok(strstr(answer, "mial2 is no peer of it"), "a name that is none is said to be none: %s", answer);
	removes("mail2", true);
	is_number(last_op(), OP_LINK_DEL, "but by force");
	kernel.slot[0].link = REPL_LINK_NONE;
	ends(OP_LINK_DEL, 0);
	ends(OP_SLOT_SET, -EIO);
	ok(answer[0] == '0' && strstr(answer, "free its slot"), "the disk refuses: %s", answer);
	ok(volume->pair_count == 1 && pair->phase != PHASE_HOLD, "the pair meets anew");
	kernel.sb_flags &= ~REPL_SB_CONSISTENT;
	core_event(&core, volume);
	settle();
	removes("mail2", false);
	is_number(last_op(), OP_SLOT_SET, "a copy that does not count lets anybody go");
	ends(OP_SLOT_SET, -EBUSY);
	for (int i = 0; i < 70 && !answer[0]; i++) {
		tick(1000);
		if (last_op() == OP_SLOT_SET && !answer[0])
			core_op_done(volume, NULL, OP_SLOT_SET, 0, &(struct op_result){ .error = -EBUSY });
		settle();
	}
	ok(answer[0] == '0' && strstr(answer, "in time"), "nor is it waited for without end: %s", answer);
	end();
}

/*
 * Its last op ends, and a handshake that it had begun to dial, before what was decided is carried
 * out: the pair is freed only then.
 */
static void goes_while_dialling(void)
{
	struct core_request r = { .id = REQUEST, .volume = "spool", .force = true };
	struct op_result fine = { 0 };

	begin(true);
	tick(1);
	need(dials == 1, "this side dials");
	core_op(volume, pair, &(struct op){ .kind = OP_MARK });
	settle();
	member_remove(&core, &r, "mail2");
	settle();
	need(volume->pair_count == 1, "it is not gone while something is under way");
	core_op_done(volume, pair, OP_MARK, pair->turn, &fine);
	need(!volume->pair_count, "with the last op it is");
	core_session_up(&core, CONN, peer, pair);
	settle();
	is_number(closed, 1, "a connection for a pair that has just gone is closed");
	hear_hello(CONN, 1, 1, "");
	ok(!sent_count, "and nothing is said on it");
	end();
}

static void comes(void)
{
	uint8_t key[REPL_KEY_BYTES] = { 9 };
	const struct core_peer *third;
	struct pair *p;

	in_sync(REPL_ROLE_PRIMARY);
	third = core_peer_add(&core, "mail3", key);
	ok(!adds(peer) && answer[0] == '1', "one that is there already: %s", answer);
	kernel.slots = 1;
	core_event(&core, volume);
	settle();
	ok(!adds(third) && strstr(answer, "slots"), "without a free slot: %s", answer);
	kernel.slots = 4;
	core_event(&core, volume);
	settle();
	p = adds(third);
	ok(p && answer[0] == '1', "a new one: %s", answer);
	is_number(volume->pair_count, 2, "is one more");
	is_number(op_count, 0, "nothing had to be freed");
	tick(1);
	is_number(dials, 1, "and is dialled");
	ok(pair->phase == PHASE_LIVE, "the other one is live all the time");
	end();
	in_sync(REPL_ROLE_PRIMARY);
	third = core_peer_add(&core, "mail3", key);
	kernel.slot[1] = (struct kernel_slot){ .index = 1, .kind = REPL_SLOT_PEER };
	memcpy(kernel.slot[1].key, key, sizeof(key));
	kernel.slot_count = 2;
	core_event(&core, volume);
	settle();
	adds(third);
	is_number(last_op(), OP_SLOT_SET, "a slot that was left from earlier is not its");
	is_number(ops[op_count - 1].flags, REPL_SLOT_FREE, "it is freed");
	kernel.slot_count = 1;
	ends(OP_SLOT_SET, 0);
	ok(answer[0] == '1', "then it comes: %s", answer);
	end();
}

/* A fifth would get a full copy, and then wait for one of the others to go. */
static void one_too_many(void)
{
	uint8_t key[REPL_KEY_BYTES] = {};

	in_sync(REPL_ROLE_PRIMARY);
	kernel.slots = 8;
	core_event(&core, volume);
	settle();
	for (key[0] = 9; key[0] < 9 + REPL_LINKS_MAX - 1; key[0]++)
		need(adds(core_peer_add(&core, "another", key)), "as many as can be live");
	ok(!adds(core_peer_add(&core, "one more", key)) && answer[0] == '0' && strstr(answer, "peer remove"),
	   "no more than can be live: %s", answer);
	end();
}

/* The disk is where it was, and so is the slot of before. */
static void new_key(void)
{
	uint8_t key[REPL_KEY_BYTES] = { 9 };
	struct copy c = other_copy();
	struct pair *p;

	in_sync(REPL_ROLE_PRIMARY);
	core_peers_gone(&core);
	p = adds(core_peer_add(&core, "mail2", key));
	need(p, "the same node, with another key");
	core_session_up(&core, CONN + 1, p->peer, p);
	hear_hello(CONN + 1, 1, 1, "");
	hear_copy(CONN + 1, REPL_MSG_VOLUME, &c);
	ok(!strstr(p->reason, "clone"), "who has another key now is no clone of itself: %s", p->reason);
	end();
}

static void clones(void)
{
	uint8_t key[REPL_KEY_BYTES] = { 9 };
	struct copy c = other_copy();
	struct pair *p;

	in_sync(REPL_ROLE_PRIMARY);
	p = adds(core_peer_add(&core, "mail3", key));
	need(p, "a third copy");
	core_session_up(&core, CONN + 1, p->peer, p);
	hear_hello(CONN + 1, 1, 1, "");
	clear();
	hear_copy(CONN + 1, REPL_MSG_VOLUME, &c);
	ok(strstr(p->reason, "a clone of the copy on mail2") && !op_count && p->phase == PHASE_MEET,
	   "the disk of another replica is none of its own: %s", p->reason);
	c.copy_id = kernel.copy_id;
	hear_copy(CONN + 1, REPL_MSG_STATE, &c);
	ok(strstr(p->reason, "a clone of the copy on mail1"), "nor is this node's: %s", p->reason);
	c.copy_id = id(33);
	hear_copy(CONN + 1, REPL_MSG_STATE, &c);
	ok(p->phase == PHASE_L_FOLLOW, "with an identity of its own it is led");
	end();
}

/* Whoever leads, also by force: a clone is followed no more than it is led. */
static void followed_clone(void)
{
	struct copy c;

	begin(false);
	equal_copies(&c);
	c.copy_id = kernel.copy_id;
	c.generation = id(2);
	c.history[0] = id(1);
	c.flags |= REPL_MV_PRIMARY;
	come(CONN);
	hear_hello(CONN, 1, 1, "spool");
	hear_copy(CONN, REPL_MSG_VOLUME, &c);
	need(strstr(pair->reason, "a clone of the copy on mail1"), "a clone that is primary");
	clear();
	c.cookie = 77;
	hear_copy(CONN, REPL_MSG_FOLLOW, &c);
	ok(!pair_following(pair) && !op_count && strstr(pair->reason, "a clone of the copy on mail1"),
	   "a clone that leads is not followed: %s", pair->reason);
	end();
}

int main(void)
{
	refused();
	goes();
	waited_for();
	goes_not();
	goes_while_dialling();
	comes();
	one_too_many();
	new_key();
	clones();
	followed_clone();
	return tap_end();
}
