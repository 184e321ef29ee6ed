// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A volume goes, and in the same breath something else happens to it: the kernel's answer and any other event may come
 * in one round of the agent's loop, in either order, before what was decided is carried out.  Whatever outlives the
 * volume shows as a use after free.
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c
 * needs: userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c userspace/agent/resolve.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c tests/unit/one_peer.c
 */
#include "one_peer.h"

#include <errno.h>

#include "tap.h"

enum { CONN = 1, DIALLED = 7, STEPS_MAX = 12 };

struct named {
	const char *name;
	void (*fn)(void);
};

/* ------------------------------------------------- how far the pair has come -- */

static void alone(void)
{
	begin(true);
}

static void dialling(void)
{
	begin(true);
	tick(1);
}

static void without_hello(void)
{
	begin(false);
	come(CONN);
}

static void with_hello(void)
{
	begin(false);
	come(CONN);
	hear_hello(CONN, 1, 1, "spool");
}

static void dialled(void)
{
	begin(true);
	tick(1);
	core_session_up(&core, CONN, peer, pair);
	settle();
}

static void following(void)
{
	follow(CONN);
}

static void in_sync(void)
{
	struct copy c;

	live(CONN, &c);
}

static const struct named stages[] = {
	{ "no session", alone }, { "a dial under way", dialling },
	{ "a session before HELLO", without_hello }, { "a session after HELLO", with_hello },
	{ "a dialled session", dialled }, { "a follower", following }, { "a live pair", in_sync },
};

/* ----------------------------------------------------- what happens with it -- */

static struct op pending;		/* of the pair, if there is one */
static bool have_pending;

static void nothing(void)
{
}

static void handshake_ends(void)
{
	core_session_up(&core, DIALLED, peer, pair->dialling ? pair : NULL);
}

static void dial_fails(void)
{
	if (pair->dialling)
		core_dial_failed(pair, "nobody answers");
}

static void session_ends(void)
{
	core_session_down(&core, CONN, "reset");
}

static void op_ends(void)
{
	struct op_result r = { 0 };

	if (have_pending)
		core_op_done(volume, pair, pending.kind, pending.turn, &r);
}

static void op_fails(void)
{
	struct op_result r = { .error = -EIO, .text = "made to fail" };

	if (have_pending)
		core_op_done(volume, pair, pending.kind, pending.turn, &r);
}

static void asker_goes(void)
{
	core_request_gone(&core, 4);
}

static void somebody_promotes(void)
{
	struct core_request r = { .id = 5, .volume = "spool", .force = true };

	core_primary(&core, &r);
}

static void progress(void)
{
	core_progress(pair, 4096);
}

static const struct named events[] = {
	{ "nothing", nothing }, { "the end of a handshake", handshake_ends },
	{ "a dial that fails", dial_fails }, { "the end of the session", session_ends },
	{ "the end of an op", op_ends }, { "an op that fails", op_fails },
	{ "who asked goes away", asker_goes }, { "a command", somebody_promotes },
	{ "progress", progress },
};

/* ---------------------------------------------------------------- one case -- */

/* Until the kernel is asked to let go of the volume: false when that never comes. */
static bool ask_down(void)
{
	struct core_request r = { .id = 4, .volume = "spool", .force = true };

	have_pending = op_count > 0;
	if (have_pending)
		pending = ops[(op_count - 1) % SENT];
	core_down(&core, &r);
	settle();
	for (unsigned int i = 0; i < STEPS_MAX; i++) {
		const struct op *op = op_count ? &ops[(op_count - 1) % SENT] : NULL;
		struct op_result good = { 0 };

		if (op && op->kind == OP_DETACH)
			return true;
		if (op)
			core_op_done(volume, NULL, op->kind, op->turn, &good);
		settle();
		tick(100);
	}
	return false;
}

static void goes(unsigned int stage, unsigned int event, bool first)
{
	struct op_result gone = { 0 };
	struct repl_msg_hello m = { 0 };
	struct msg_header h = { .type = REPL_MSG_HELLO, .length = sizeof(m) };
	unsigned int before = removed;
	bool asked;

	stages[stage].fn();
	asked = ask_down();
	if (asked) {
		detached = true;
		if (first)
			events[event].fn();
		core_op_done(volume, NULL, OP_DETACH, 0, &gone);
		if (!first)
			events[event].fn();
		settle();
	}
	ok(asked && removed == before + 1, "%s, and %s %s: the volume is removed, once",
	   stages[stage].name, events[event].name, first ? "before" : "after");
	/* Connections close in their own time, and may say something until then. */
	tick(10);
	core_message(&core, CONN, &h, &m);
	core_message(&core, DIALLED, &h, &m);
	settle();
	core_session_down(&core, CONN, "closed");
	core_session_down(&core, DIALLED, "closed");
	settle();
	tick(60000);
	detached = false;
	end();
}

int main(void)
{
	for (unsigned int s = 0; s < sizeof(stages) / sizeof(*stages); s++)
		for (unsigned int e = 0; e < sizeof(events) / sizeof(*events); e++)
			for (int first = 0; first < 2; first++)
				goes(s, e, first);
	return tap_end();
}
