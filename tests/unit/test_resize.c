// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A volume that grows: who grows when, and what becomes of it when one does not.
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c
 * needs: userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c userspace/agent/resolve.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c tests/unit/one_peer.c
 */
#include "one_peer.h"

#include <errno.h>

#include "tap.h"

static void hear_grown(uint32_t conn, uint64_t size, uint64_t room, bool well)
{
	struct msg_grow g = { .size = size, .room = room, .ok = well };
	struct repl_msg_grow m;

	msg_pack_grow(&g, &m);
	hear(conn, REPL_MSG_GROWN, &m, sizeof(m));
}

static struct msg_grow last_grow(uint16_t type)
{
	struct msg_grow g = { .ok = false };

	for (unsigned int i = 0; i < sent_count && i < SENT; i++)
		if (sent[i].type == type)
			need(!msg_unpack_grow(&g, (const void *)sent[i].body, NULL), "a GROW");
	return g;
}

/* The op of the volume itself that was begun last ends so. */
static void volume_done(enum op_kind kind, int error)
{
	struct op_result r = { .error = error, .text = error ? "no room" : "" };

	need(op_count && ops[(op_count - 1) % SENT].kind == kind, op_name(kind));
	core_op_done(volume, NULL, kind, 0, &r);
	settle();
}

/* @role: of this node, which is live with the other */
static void ask_resize(uint8_t role, uint64_t size)
{
	struct core_request r = { .id = 4, .volume = "spool", .size = size };
	struct copy c;

	live(1, &c);
	kernel.role = role;
	kernel.room = 2 * SIZE;
	if (role != REPL_ROLE_PRIMARY)
		c.flags |= REPL_MV_PRIMARY;
	hear_copy(1, REPL_MSG_STATE, &c);
	clear();
	core_resize(&core, &r);
	settle();
}

static void grows(void)
{
	ask_resize(REPL_ROLE_PRIMARY, 0);
	is_number(last_grow(REPL_MSG_GROW).size, 0, "the other is asked how much room it has");
	is_number(op_count, 0, "nothing happens before it has said so");
	hear_grown(1, SIZE, SIZE + 8192, true);
	is_number(last_grow(REPL_MSG_GROW).size, SIZE + 8192, "it grows first, to what both have room for");
	is_number(op_count, 0, "and this side waits for it");
	hear_grown(1, SIZE + 8192, SIZE + 8192, true);
	ok(op_count == 1 && ops[0].kind == OP_RESIZE && ops[0].size == SIZE + 8192, "then this side grows");
	ok(pair->phase == PHASE_HOLD, "with nothing else going on");
	volume_done(OP_RESIZE, 0);
	ok(answer[0] == '1' && pair->phase != PHASE_HOLD, "done: %s", answer);
	end();

	ask_resize(REPL_ROLE_SECONDARY, SIZE + 4096);
	hear_grown(1, SIZE, 3 * SIZE, true);
	ok(op_count == 1 && ops[0].size == SIZE + 4096 && !last_grow(REPL_MSG_GROW).size,
	   "asked on the secondary, that one grows first");
	kernel.size = SIZE + 4096;
	volume_done(OP_RESIZE, 0);
	is_number(last_grow(REPL_MSG_GROW).size, SIZE + 4096, "then the primary is told to");
	hear_grown(1, SIZE, 3 * SIZE, false);
	ok(answer[0] == '0' && strstr(answer, "mail2 could not grow"), "who could not is named: %s", answer);
	end();
}

static void grows_not(void)
{
	struct core_request r = { .id = 4, .volume = "spool" };

	begin(false);
	core_resize(&core, &r);
	settle();
	ok(answer[0] == '0' && strstr(answer, "mail2 is away"), "a peer that is away: %s", answer);
	end();

	ask_resize(REPL_ROLE_PRIMARY, SIZE + 8192);
	hear_grown(1, SIZE, SIZE + 4096, true);
	ok(answer[0] == '0' && strstr(answer, "mail2 has room for") && strstr(answer, "4096 bytes) too few"),
	   "a peer that is too small: %s", answer);
	is_number(op_count, 0, "nothing was begun");
	end();

	ask_resize(REPL_ROLE_PRIMARY, SIZE - 4096);
	hear_grown(1, SIZE, 2 * SIZE, true);
	ok(answer[0] == '0' && strstr(answer, "not shrink"), "fewer bytes: %s", answer);
	end();

	ask_resize(REPL_ROLE_PRIMARY, 0);
	hear_grown(1, SIZE, SIZE, true);
	ok(answer[0] == '0' && strstr(answer, "mail2 has room for no more"), "no room: %s", answer);
	end();

	ask_resize(REPL_ROLE_PRIMARY, 0);
	core_session_down(&core, 1, "gone");
	settle();
	ok(answer[0] == '0' && strstr(answer, "disconnected"), "lost meanwhile: %s", answer);
	end();

	ask_resize(REPL_ROLE_PRIMARY, 0);
	for (int i = 0; i < 8 && !answer[0]; i++) {
		core_heard(&core, 1);
		tick(CORE_RESIZE_MS / 8 + 1);
	}
	ok(answer[0] == '0' && strstr(answer, "did not say"), "no answer: %s", answer);
	end();

	ask_resize(REPL_ROLE_PRIMARY, 0);
	hear_grown(1, SIZE + 4096, SIZE + 4096, true);
	volume_done(OP_RESIZE, -5);
	ok(answer[0] == '0' && strstr(answer, "mail1 could not grow: no room"), "this side fails: %s", answer);
	ok(pair->phase != PHASE_HOLD && volume->task.kind == TASK_NONE, "and goes on as before");
	end();
}

static void told_to_grow(void)
{
	struct repl_msg_grow m;
	struct copy c;

	live(1, &c);
	kernel.room = 2 * SIZE;
	msg_pack_grow(&(struct msg_grow){ .size = 0 }, &m);
	hear(1, REPL_MSG_GROW, &m, sizeof(m));
	ok(last_grow(REPL_MSG_GROWN).room == 2 * SIZE && last_grow(REPL_MSG_GROWN).size == SIZE,
	   "asked for its room, it says so");
	clear();
	msg_pack_grow(&(struct msg_grow){ .size = SIZE + 4096 }, &m);
	hear(1, REPL_MSG_GROW, &m, sizeof(m));
	ok(op_count == 1 && ops[0].kind == OP_RESIZE && !sent_count, "told to grow, it does");
	kernel.size = SIZE + 4096;
	volume_done(OP_RESIZE, 0);
	ok(last_grow(REPL_MSG_GROWN).ok, "and says when it is done");
	clear();
	hear(1, REPL_MSG_GROW, &m, sizeof(m));
	ok(last_grow(REPL_MSG_GROWN).ok && !op_count, "once more is nothing to do");
	m.reserved = 1;
	hear(1, REPL_MSG_GROW, &m, sizeof(m));
	ok(strstr(refusal, "reserved"), "rubbish is refused: %s", refusal);
	end();
}

static void minute_passes(void)
{
	for (int i = 0; i < 8; i++) {
		core_heard(&core, 1);
		tick(CORE_RESIZE_MS / 8 + 1);
	}
}

static void stuck(void)
{
	struct core_request r = { .id = 4, .volume = "spool" };
	struct repl_msg_grow m;
	struct copy c;

	live(1, &c);
	kernel.room = 2 * SIZE;
	core_unread(volume, "the file cannot be read");
	core_resize(&core, &r);
	settle();
	ok(answer[0] == '0' && strstr(answer, "the file cannot be read") && volume->task.kind == TASK_NONE,
	   "what is staged and stuck: nothing is begun: %s", answer);
	clear();
	msg_pack_grow(&(struct msg_grow){ .size = SIZE + 4096 }, &m);
	hear(1, REPL_MSG_GROW, &m, sizeof(m));
	ok(sent_count == 1 && sent[0].type == REPL_MSG_GROWN && !last_grow(REPL_MSG_GROWN).ok &&
	   volume->task.kind == TASK_NONE, "nor when a peer asks, which is told so");
	end();
	/* It was not, when it began. */
	live(1, &c);
	kernel.room = 2 * SIZE;
	volume->redo.step = REDO_APPLY;
	hear(1, REPL_MSG_GROW, &m, sizeof(m));
	ok(pair->phase == PHASE_HOLD && !sent_count, "what is just being applied is waited for");
	minute_passes();
	ok(last_grow(REPL_MSG_GROWN).size == SIZE && !last_grow(REPL_MSG_GROWN).ok && volume->task.kind == TASK_NONE &&
	   pair->phase != PHASE_HOLD, "but not for ever");
	end();
}

/* Asked here, where nobody is primary: both grow at once. */
static void both_grow(bool held)
{
	ask_resize(REPL_ROLE_SECONDARY, SIZE + 4096);
	pair->theirs.flags &= ~(uint32_t)REPL_MV_PRIMARY;
	pair->pending += held;
	hear_grown(1, SIZE, 2 * SIZE, true);
	hear_grown(1, SIZE + 4096, 2 * SIZE, true);
	need(volume->task.kind == TASK_RESIZE && !volume->task.waits && pair->phase == PHASE_HOLD,
	     "the peer has grown, and this side has not yet");
	minute_passes();
	ok(core_deadline(&core) > core.now, "no deadline stays in the past");
}

static void takes_long(void)
{
	both_grow(false);
	kernel.size = SIZE + 4096;
	volume_done(OP_RESIZE, 0);
	ok(answer[0] == '1', "a kernel that takes its time is waited for: %s", answer);
	end();
	both_grow(true);
	ok(answer[0] == '0' && volume->task.kind == TASK_NONE && pair->phase != PHASE_HOLD,
	   "a procedure that does not end is not: %s", answer);
	pair->pending--;
	end();
	ask_resize(REPL_ROLE_SECONDARY, SIZE + 4096);
	pair->theirs.flags &= ~(uint32_t)REPL_MV_PRIMARY;
	hear_grown(1, SIZE, 2 * SIZE, true);
	core_session_down(&core, 1, "gone");
	settle();
	ok(!answer[0], "the peer is lost while this side grows");
	tick(CORE_RESIZE_MS + 1);
	ok(core_deadline(&core) > core.now, "no deadline stays in the past then, either");
	volume_done(OP_RESIZE, 0);
	ok(answer[0] == '0' && strstr(answer, "disconnected"), "and that is told: %s", answer);
	end();
}

int main(void)
{
	grows();
	grows_not();
	told_to_grow();
	stuck();
	takes_long();
	return tap_end();
}
