// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A disk is replaced: when the agent hands the new one to the kernel, what it says of the filling.
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c
 * needs: userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c userspace/agent/resolve.c
 * needs: userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c
 */
#include "core.h"

#include <errno.h>

#include "tap.h"

enum { SIZE = 64 << 20 };

static struct core core;
static struct volume *volume;
static struct pair *pair;
static struct kernel_volume kernel;
static struct op last_op;
static unsigned int op_count;
static char answer[1024], logged[1024];

static uint64_t rng(void *arg)
{
	return random_next(arg);
}

static void settle(void)
{
	struct action *a;

	while ((a = action_take(&core.actions))) {
		if (a->kind == ACTION_GET)
			core_snapshot(a->volume, &kernel);
		else if (a->kind == ACTION_LOG)
			snprintf(logged, sizeof(logged), "%s", a->text);
		else if (a->kind == ACTION_REPLY)
			snprintf(answer, sizeof(answer), "%d %s", a->ok, a->text);
		if (a->kind == ACTION_OP) {
			last_op = a->op;
			op_count++;
		}
		action_free(a);
	}
}

static void clear(void)
{
	op_count = 0;
	answer[0] = logged[0] = '\0';
}

static void tick(uint64_t ms)
{
	core.now += ms;
	core_tick(&core);
	settle();
}

static void end(void)
{
	core_exit(&core);
}

static void volume_done(enum op_kind kind, int error)
{
	struct op_result r = { .error = error, .text = error ? "no room" : "" };

	need(op_count && last_op.kind == kind, op_name(kind));
	core_op_done(volume, NULL, kind, 0, &r);
	settle();
}

static void ask_replace(uint8_t role, uint32_t flags)
{
	static uint64_t state;
	struct volume_settings set = { .join_limit_ms = 200, .timeout_ms = 10000 };
	struct core_request r = { .id = 4, .volume = "spool" };
	uint8_t mine[REPL_KEY_BYTES] = { 5 }, theirs[REPL_KEY_BYTES] = { 2 };

	core_init(&core, "mail1", mine, rng, &state);
	core.now = 1000;
	kernel = (struct kernel_volume){
		.copy_id = { { 21 } }, .uuid = { { 11 } }, .generation = { { 1 } }, .size = SIZE,
		.lbs_shift = 12, .slots = 4, .role = role, .flags = flags, .backing = "sdb",
		.sb_flags = REPL_SB_IDENTITY | REPL_SB_CONSISTENT | REPL_SB_MAPS,
	};
	volume = core_volume_up(&core, "spool", &set, false, NULL);
	pair = core_pair_add(volume, core_peer_add(&core, "mail2", theirs));
	core_start(volume);
	settle();
	clear();
	core_replace(&core, &r);
	settle();
}

static void replaces(void)
{
	struct core_request r = { .id = 5, .volume = "spool" };

	ask_replace(REPL_ROLE_PRIMARY, REPL_VF_DISKLESS | REPL_VF_FAILED);
	ok(op_count == 1 && last_op.kind == OP_REPLACE, "the new disk is handed to the kernel");
	core_secondary(&core, &r);
	settle();
	ok(answer[0] == '0' && strstr(answer, "another command"), "nothing else meanwhile: %s", answer);
	kernel.flags |= REPL_VF_REPLACING;
	snprintf(kernel.backing, sizeof(kernel.backing), "sdc");
	volume_done(OP_REPLACE, 0);
	ok(answer[0] == '1' && strstr(answer, "is being filled"), "done: %s", answer);
	ok(strstr(logged, "filling sdc: 64 MiB left"), "it is said: %s", logged);
	clear();
	core_wait(&core, &r, WAIT_IN_SYNC, 500);
	settle();
	tick(500);
	ok(answer[0] == '0' && strstr(answer, "the disk here has failed, and the new one is not full yet"),
	   "nothing is in sync with a copy that is not there: %s", answer);
	clear();
	kernel.replaced = SIZE / 2;
	kernel.replace_ms = 1000;
	tick(CORE_FILL_MS);
	ok(strstr(logged, "filled 50 % of sdc, 32 MiB left, 32 MiB/s"), "how far it is, from time to time: %s",
	   logged);
	clear();
	kernel.replaced += 4096;
	tick(CORE_FILL_MS);
	ok(!logged[0], "not for every little step");
	core_replace(&core, &r);
	settle();
	ok(answer[0] == '0' && strstr(answer, "being filled already"), "not twice: %s", answer);
	kernel.flags = 0;
	tick(CORE_FILL_MS);
	ok(strstr(logged, "sdc is full: the copy here is complete"), "the end is said: %s", logged);
	end();
}

static void replaces_not(void)
{
	ask_replace(REPL_ROLE_PRIMARY, 0);
	ok(answer[0] == '0' && strstr(answer, "has not failed") && !op_count, "a good disk: %s", answer);
	end();
	ask_replace(REPL_ROLE_SECONDARY, REPL_VF_FAILED);
	ok(answer[0] == '0' && strstr(answer, "gets a full copy"), "a secondary's: %s", answer);
	end();
	ask_replace(REPL_ROLE_PRIMARY, REPL_VF_DISKLESS | REPL_VF_FAILING);
	ok(answer[0] == '0' && strstr(answer, "no live peer"), "without a peer: %s", answer);
	end();
	ask_replace(REPL_ROLE_PRIMARY, REPL_VF_DISKLESS);
	volume_done(OP_REPLACE, -22);
	ok(answer[0] == '0' && strstr(answer, "could not be replaced: no room"), "refused by the kernel: %s",
	   answer);
	ok(volume->task.kind == TASK_NONE, "and over");
	end();
	ask_replace(REPL_ROLE_PRIMARY, REPL_VF_DISKLESS);
	kernel.flags |= REPL_VF_REPLACING;
	volume_done(OP_REPLACE, 0);
	clear();
	kernel.flags &= ~(uint32_t)REPL_VF_REPLACING;
	core_event(&core, volume);
	settle();
	ok(strstr(logged, "was not filled to the end"), "given up by the kernel: %s", logged);
	end();
}

/* What a procedure may still read of the old disk ends first. */
static void waits(void)
{
	struct core_request r = { .id = 4, .volume = "spool" };

	ask_replace(REPL_ROLE_PRIMARY, 0);
	kernel.flags = REPL_VF_DISKLESS;
	core_event(&core, volume);
	settle();
	clear();
	pair->pending = 1;
	core_replace(&core, &r);
	settle();
	is_number(op_count, 0, "a pair has something under way: nothing happens yet");
	core_op_done(volume, pair, OP_CUT, pair->turn - 1, &(struct op_result){ .error = -ECANCELED });
	settle();
	ok(op_count == 1 && last_op.kind == OP_REPLACE, "then it is handed over");
	end();
}

int main(void)
{
	replaces();
	replaces_not();
	waits();
	return tap_end();
}
