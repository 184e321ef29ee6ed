// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One core that follows, or leads though it is secondary: what it marks, and what it takes for
 * one instant.
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c
 * needs: userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c userspace/agent/resolve.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c tests/unit/one_peer.c
 */
#include "one_peer.h"

#include <errno.h>
#include <string.h>

#include "redo.h"
#include "tap.h"

/* A backup makes its slot by itself: the agent may not know of it yet. */
static void applied_directly(void)
{
	struct msg_delta d = { .id = 1, .blocks = 1, .generation = id(1) };
	struct repl_msg_delta m;

	follow(1);
	msg_pack_delta(&d, &m);
	hear(1, REPL_MSG_DELTA_BEGIN, &m, sizeof(m));
	ok(op_count && ops[op_count - 1].kind == OP_FOLLOW && !ops[op_count - 1].staged.file,
	   "what is copied directly is given up for no file");
	done(OP_FOLLOW, 0);
	ok(op_count && ops[op_count - 1].kind == OP_DELTA_APPLY && ops[op_count - 1].mask == 0xe,
	   "what is applied directly is marked for all slots but the leader's: %x", ops[op_count - 1].mask);
	end();
}

/* As secondary, up to where the peer, which stages, is asked for its doubts. */
static void leads(void)
{
	struct copy c, asked;
	struct err e;
	unsigned int i = 0;

	begin(true);
	equal_copies(&c);
	kernel.generation = id(2);
	kernel.history[0] = id(1);
	kernel.slot[0].flags = 0;
	come(1);
	hear_hello(1, 1, 1, "spool");
	hear_copy(1, REPL_MSG_VOLUME, &c);
	while (i < sent_count && sent[i].type != REPL_MSG_FOLLOW)
		i++;
	need(i < sent_count && !copy_unpack(&asked, (const void *)sent[i].body, &e), "this side leads");
	c.cookie = asked.cookie;
	c.flags |= REPL_MV_STAGES;
	hear_copy(1, REPL_MSG_FOLLOWING, &c);
	need(pair->phase == PHASE_L_MAP, "the peer follows");
	clear();
}

/* Of a secondary no generation ends: what was read is of the one that it had, if it has it still. */
static bool commits(bool moves)
{
	struct repl_msg_delta m;

	leads();
	pair->run.staged_bytes = 1ULL << 40;
	hear(1, REPL_MSG_MAP, NULL, 0);
	done(OP_FREEZE, 0);
	kernel.gate = REPL_GATE_JOIN;
	done(OP_CUT, 0);
	done(OP_DELTA_SEND, 0);
	msg_pack_delta(&pair->run.delta, &m);
	hear(1, REPL_MSG_DELTA_DONE, &m, sizeof(m));
	if (moves)
		kernel.generation = id(3);
	sent_count = 0;
	done(OP_COMMIT, 0);
	for (unsigned int i = 0; i < sent_count; i++)
		if (sent[i].type == REPL_MSG_COMMIT)
			return true;
	return false;
}

static void instants(void)
{
	ok(commits(false), "a secondary that leads, and has stayed as it was, ends an epoch");
	end();
	ok(!commits(true), "one that has become another meanwhile does not");
	end();
}

/* Who is primary, or newer, is followed; what is staged then is applied whenever that one says so. */
static void follows_meanwhile(void)
{
	struct copy c = other_copy();
	struct pair *other;

	leads();
	other = third_node(2);
	c.copy_id = id(23);
	c.generation = id(3);
	c.history[0] = id(2);
	c.flags |= REPL_MV_PRIMARY;
	hear_copy(2, REPL_MSG_VOLUME, &c);
	need(pair->phase == PHASE_L_MAP, "a third node that is primary is there");
	c.cookie = 78;
	hear_copy(2, REPL_MSG_FOLLOW, &c);
	ok(pair_following(other), "it is followed: %s", other->reason);
	ok(!pair_leading(pair), "and nobody is led meanwhile: %s", pair->reason);
	end();
}

static void found(const struct staged *what, int error)
{
	struct op_result r = { .error = error, .text = "it cannot be read", .staged = what };

	need(op_count && ops[op_count - 1].kind == OP_STAGE_FIND, "it is looked for");
	core_op_done(volume, NULL, OP_STAGE_FIND, 0, &r);
	settle();
}

/* What makes this copy consistent again may be in a file that cannot be read just now. */
static void unread(void)
{
	struct staged what = { .base_generation = id(1), .generation = id(2), .file = 9 };
	struct copy c;

	begin(false);
	equal_copies(&c);
	memcpy(what.key, peer->key, sizeof(what.key));
	kernel.sb_flags &= ~(uint32_t)REPL_SB_CONSISTENT;
	kernel.staged = 9;
	core_unread(volume, "it cannot be read");
	core_get(volume);
	tick(0);
	ok(redo_stuck(volume) && !strcmp(volume->redo.why, "it cannot be read"), "a staged file that cannot be read "
	   "is not given up");
	tick(CORE_RETRY_MIN_MS);
	found(NULL, -EIO);
	ok(redo_stuck(volume), "nor the second time");
	clear();
	tick(CORE_RETRY_MAX_MS);
	found(&what, 0);
	ok(ops[op_count - 1].kind == OP_STAGE_APPLY, "once it can be read it is applied: %s", op_name(ops[op_count - 1].kind));
	end();
	begin(false);
	kernel.sb_flags &= ~(uint32_t)REPL_SB_CONSISTENT;
	core_unread(volume, "it cannot be read");
	tick(CORE_RETRY_MIN_MS);
	found(NULL, -ENOENT);
	ok(!redo_active(volume), "a person has removed it: this copy has to catch up");
	end();
}

/* Beside other links, up to where the leader has adopted its end: all is staged, and nothing differs. */
static void adopts(void)
{
	struct msg_delta d = { .id = 1, .flags = REPL_MD_LAST, .generation = id(1) };
	struct repl_msg_delta m;

	follow(1);
	volume->set.direct_apply = true;
	pair->run.staged = true;
	offer(1, 4);
	done(OP_LINK_OPEN, 0);
	msg_pack_delta(&d, &m);
	hear(1, REPL_MSG_DELTA_BEGIN, &m, sizeof(m));
	done(OP_DELTA_APPLY, 0);
	need(pair->phase == PHASE_F_READY && pair->run.last_done, "the last delta is done");
}

static void hear_adopt(void)
{
	struct copy c = other_copy();

	c.cookie = 4;
	clear();
	hear_copy(1, REPL_MSG_LINK_ADOPT, &c);
}

/*
 * A third node is promoted with this one's consent, and its writes come here in a generation of
 * its own.  What the leader of before says then is about a copy that is no more.
 */
static void goes_on_beside(void)
{
	adopts();
	kernel.generation = id(2);
	hear_adopt();
	ok(!op_count && !pair_following(pair), "nothing is recorded that this copy has left: %s", pair->reason);
	ok(!pair->direct, "nor is the copy given up for it the next time");
	end();
	adopts();
	hear_adopt();
	done(OP_COMMIT, 0);
	need(ops[op_count - 1].kind == OP_CUT, "what was marked is cut");
	kernel.generation = id(2);
	done(OP_CUT, 0);
	ok(ops[op_count - 1].kind == OP_CUT && !pair_following(pair),
	   "what has come with another generation is not taken for settled: %s", pair->reason);
	end();
	adopts();
	hear_adopt();
	done(OP_COMMIT, 0);
	done(OP_CUT, 0);
	done(OP_COMMIT, 0);
	ok(ops[op_count - 1].kind == OP_LINK_ADD, "else the link is adopted: %s", op_name(ops[op_count - 1].kind));
	end();
}

/* The leader has another generation, which is recorded only where no link can bring one. */
static void records_alone(uint8_t link)
{
	struct copy c = other_copy();
	struct msg_delta d = { .id = 1, .flags = REPL_MD_LAST, .generation = id(3) };
	struct repl_msg_delta m;

	adopts();
	offer(1, 4);
	done(OP_LINK_OPEN, 0);
	msg_pack_delta(&d, &m);
	hear(1, REPL_MSG_DELTA_BEGIN, &m, sizeof(m));
	done(OP_DELTA_APPLY, 0);
	kernel.slot[1] = (struct kernel_slot){ .index = 1, .kind = REPL_SLOT_PEER, .link = link };
	kernel.slot_count = 2;
	c.cookie = 4;
	c.generation = id(3);
	clear();
	hear_copy(1, REPL_MSG_LINK_ADOPT, &c);
	ok(link == REPL_LINK_NONE ? op_count && ops[op_count - 1].kind == OP_STAGE_SEAL
				  : !op_count && !pair_following(pair),
	   "a generation is recorded %s: %s", link == REPL_LINK_NONE ? "without other links"
								     : "only when the last one has closed", pair->reason);
	end();
}

/* Passes, and each session of @sessions is heard of. */
static void some_time(uint32_t sessions)
{
	for (unsigned int i = 0; i < 5; i++) {
		tick(CORE_RETRY_MIN_MS);
		for (uint32_t conn = 1; conn <= sessions; conn++)
			core_heard(&core, conn);
	}
}

/*
 * This node has consented to the third's promotion, which the other has learnt of first: its
 * generation continues this copy's, and it would be followed.
 */
static void learns_late(void)
{
	struct repl_msg_consent m;
	struct msg_consent ask = { .generation = id(1) };
	struct copy c = other_copy();
	struct pair *third;

	follow(1);
	third_live();
	third = third_node(2);
	c.copy_id = id(23);
	c.cookie = 9;
	c.flags |= REPL_MV_SLOT | REPL_MV_SLOT_LIVE | REPL_MV_LIVE;
	c.slot_copy_id = kernel.copy_id;
	c.slot_generation = id(1);
	hear_copy(2, REPL_MSG_VOLUME, &c);
	need(third->phase == PHASE_LIVE, "a live link with a third node");
	msg_pack_consent(&ask, &m);
	hear(2, REPL_MSG_CONSENT_ASK, &m, sizeof(m));
	need(volume->consent_to == third->peer, "to whose promotion this node consents");
	c = other_copy();
	c.generation = id(2);
	c.history[0] = id(1);
	hear_copy(1, REPL_MSG_VOLUME, &c);
	clear();
	c.cookie = 77;
	hear_copy(1, REPL_MSG_FOLLOW, &c);
	some_time(2);
	ok(!op_count && third->phase == PHASE_LIVE, "the link with who is about to begin stays: %s", pair->reason);
	tick(CORE_CONSENT_MS - 1000);
	core_heard(&core, 1);
	core_heard(&core, 2);
	tick(1000);
	ok(op_count && ops[0].kind == OP_LINK_DEL, "for as long as the consent is good for");
	end();
}

/* What that may bring would make all that was staged meanwhile void. */
static void waits_for_what_closes(void)
{
	struct copy c;

	begin(false);
	equal_copies(&c);
	c.flags |= REPL_MV_PRIMARY;
	c.generation = id(2);
	c.history[0] = id(1);
	kernel.slot[1] = (struct kernel_slot){ .index = 1, .kind = REPL_SLOT_PEER, .link = REPL_LINK_CLOSING };
	kernel.slot_count = 2;
	come(1);
	hear_hello(1, 1, 1, "spool");
	hear_copy(1, REPL_MSG_VOLUME, &c);
	clear();
	c.cookie = 77;
	hear_copy(1, REPL_MSG_FOLLOW, &c);
	some_time(1);
	ok(!op_count && pair->phase == PHASE_F_LOOK, "nobody is followed as long as a link closes: %s", pair->reason);
	kernel.slot[1].link = REPL_LINK_NONE;
	tick(CORE_RETRY_MIN_MS);
	ok(op_count == 1 && ops[0].kind == OP_CUT, "and then it is");
	end();
}

/* Whose writes come here by now. */
static void served_by_another(void)
{
	struct copy c = other_copy();

	adopts();
	third_live();
	third_node(2);
	ok(pair_following(pair), "beside the link with a third node");
	c.copy_id = id(23);
	c.cookie = 9;
	c.flags |= REPL_MV_PRIMARY | REPL_MV_LIVE;
	hear_copy(2, REPL_MSG_VOLUME, &c);
	core_event(&core, volume);
	settle();
	ok(!pair_following(pair), "which is primary now: it is followed alone: %s", pair->reason);
	end();
}

static void by_force(void)
{
	struct core_request r = { .id = 5, .volume = "spool", .force = true };

	clear();
	core_primary(&core, &r);
	settle();
}

static void of_the_volume(enum op_kind kind, int error, const char *text, const struct staged *what)
{
	struct op_result r = { .error = error, .text = text, .staged = what, .moved.sent_bytes = 4096 };

	need(op_count && ops[op_count - 1].kind == kind, op_name(kind));
	core_op_done(volume, NULL, kind, 0, &r);
	settle();
}

/* It will be whole before it is promoted: so says who is told nothing else. */
static void forced_while_applied(void)
{
	struct staged what = { .base_generation = id(1), .generation = id(2), .file = 9 };
	struct copy c;

	begin(false);
	equal_copies(&c);
	memcpy(what.key, peer->key, sizeof(what.key));
	kernel.sb_flags &= ~(uint32_t)REPL_SB_CONSISTENT;
	kernel.staged = 9;
	core_staged(volume, &what);
	core_get(volume);
	settle();
	need(op_count && ops[op_count - 1].kind == OP_STAGE_APPLY, "what was staged is being applied");
	by_force();
	ok(!answer[0] && !op_count, "a promotion by force waits until a copy is whole");
	core_op_done(volume, NULL, OP_STAGE_APPLY, 0, &(struct op_result){ .error = -EIO, .text = "an error that passes" });
	settle();
	ok(answer[0] == '0' && strstr(answer, "an error that passes") && !op_count && redo_active(volume),
	   "if that fails nothing is dropped, and it ends: %s", answer);
	by_force();
	ok(op_count == 1 && ops[0].kind == OP_STAGE_DROP, "said again, it takes the copy as it is");
	of_the_volume(OP_STAGE_DROP, 0, NULL, NULL);
	ok(ops[op_count - 1].kind == OP_ROLE, "and begins");
	end();
}

/* A file that begins where this copy is, which is not consistent since the superblock says @named. */
static enum op_kind finds(uint64_t named)
{
	struct staged what = { .base_generation = id(1), .generation = id(2), .file = 9 };
	enum op_kind kind;
	struct copy c;

	begin(false);
	equal_copies(&c);
	memcpy(what.key, peer->key, sizeof(what.key));
	kernel.sb_flags &= ~(uint32_t)REPL_SB_CONSISTENT;
	kernel.staged = named;
	core_staged(volume, &what);
	core_get(volume);
	tick(0);
	need(op_count, "something is done about it");
	kind = ops[op_count - 1].kind;
	end();
	return kind;
}

/* Newer blocks may have come since it was in sight last. */
static void named(void)
{
	struct staged what = { .base_generation = id(1), .generation = id(2), .file = 9 };
	struct copy c;

	is_text(op_name(finds(9)), op_name(OP_STAGE_APPLY), "the file that the superblock names is applied");
	is_text(op_name(finds(8)), op_name(OP_STAGE_DROP), "another one is not");
	is_text(op_name(finds(0)), op_name(OP_STAGE_DROP), "nor is any when it names none");
	begin(false);
	equal_copies(&c);
	memcpy(what.key, peer->key, sizeof(what.key));
	core_get(volume);
	settle();
	redo_begin(pair, &c);
	settle();
	of_the_volume(OP_STAGE_SEAL, 0, NULL, &what);
	ok(ops[op_count - 1].kind == OP_FOLLOW && ops[op_count - 1].staged.file == 9,
	   "this copy is given up for the file that was made whole");
	end();
}

/* It is void, and must keep nobody from catching up, or from becoming primary. */
static void left(void)
{
	static const char why[] = "/staging/file cannot be removed: Read-only file system";
	struct staged what = { .base_generation = id(1), .generation = id(2), .file = 9 };
	struct copy c;

	begin(false);
	equal_copies(&c);
	core_staged(volume, &what);
	core_get(volume);
	settle();
	of_the_volume(OP_STAGE_DROP, -EROFS, why, NULL);
	ok(!redo_active(volume) && warnings == 1 && strstr(warning, why) && strstr(warning, "remove it"),
	   "a file that cannot be removed holds up nothing: %s", warning);
	for (unsigned int i = 0; i < 20; i++) {
		clear();
		tick(CORE_FULL_MS);
		of_the_volume(OP_STAGE_CLEAN, -EROFS, why, NULL);
		need(!warnings, "it is said once");
	}
	ok(core_deadline(&core) > core.now, "it is tried again, with pauses");
	tick(CORE_FULL_MS);
	redo_begin(pair, &c);
	settle();
	of_the_volume(OP_STAGE_SEAL, 0, NULL, &what);
	is_number(volume->redo.step, REDO_GIVE_UP, "meanwhile a new one may be made, and whole");
	core_op_done(volume, NULL, OP_STAGE_CLEAN, 0, &(struct op_result){ .error = 0 });
	settle();
	is_number(volume->redo.step, REDO_GIVE_UP, "with which what was left has nothing to do");
	end();
	begin(false);
	core_staged(volume, &what);
	core_get(volume);
	settle();
	of_the_volume(OP_STAGE_DROP, -EROFS, why, NULL);
	tick(CORE_FULL_MS);
	of_the_volume(OP_STAGE_CLEAN, 0, NULL, NULL);
	clear();
	tick(CORE_FULL_MS);
	ok(volume->redo.step == REDO_NONE && !op_count, "gone, it is not removed again");
	end();
}

int main(void)
{
	forced_while_applied();
	applied_directly();
	goes_on_beside();
	records_alone(REPL_LINK_NONE);
	records_alone(REPL_LINK_CLOSING);
	waits_for_what_closes();
	learns_late();
	served_by_another();
	unread();
	named();
	left();
	instants();
	follows_meanwhile();
	return tap_end();
}
