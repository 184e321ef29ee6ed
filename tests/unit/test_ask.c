// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program that is an arbiter: what it is told, and what its end means.
 * needs: userspace/agent/verify.c userspace/agent/judge.c userspace/agent/redo.c userspace/agent/compare.c userspace/agent/sums.c userspace/agent/stage.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c
 * needs: userspace/agent/follow.c userspace/agent/task.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/resolve.c userspace/agent/save.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/nodes.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c userspace/agent/register.c userspace/agent/ask.c userspace/agent/witness.c
 * needs: userspace/agent/copy.c userspace/agent/msg.c userspace/agent/action.c userspace/agent/agent.c userspace/agent/helper.c userspace/agent/hook.c userspace/agent/hookq.c
 * needs: userspace/agent/loop.c userspace/agent/conn.c userspace/agent/greet.c userspace/agent/link.c
 * needs: userspace/agent/dial.c userspace/agent/kops.c userspace/agent/delta.c userspace/agent/mapsend.c
 * needs: userspace/agent/apply.c userspace/agent/bring.c userspace/agent/control.c userspace/agent/status.c
 * needs: userspace/agent/tls.c userspace/agent/ktls.c userspace/agent/digest.c userspace/agent/suspect.c
 */
#include "ask.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tap.h"

static struct agent agent;
static struct volume *volume;
static struct volume_io vio = { .data_fd = -1 };
static char root[] = "/tmp/test_ask.XXXXXX";

static bool undying;		/* what is killed, as if it waited for a disk */

/* In place of the library's. */
int kill(pid_t pid, int number)
{
	return undying ? 0 : (int)syscall(SYS_kill, pid, number);
}

static uint64_t zero(void *arg)
{
	(void)arg;
	return 0;
}

static void program(const char *body)
{
	FILE *f;

	snprintf(vio.arbiter_is, sizeof(vio.arbiter_is), "%s/program", root);
	unlink(vio.arbiter_is);
	f = fopen(vio.arbiter_is, "w");
	need(f && fprintf(f, "#!/bin/sh\n%s\n", body) > 0 && !fclose(f) && !chmod(vio.arbiter_is, 0700),
	     vio.arbiter_is);
}

/* Asks whether it reads what there is, of which nothing is noted. */
static enum register_answer asks(void)
{
	struct arbiter *a = &volume->arbiter;
	struct repl_id id = { { 1, 2, 3 } };

	*a = (struct arbiter){ .checking = true, .asking = true };
	ask_start(&agent, volume, &id, &id);
	for (int i = 0; !a->answer && i < 1000; i++) {
		loop_run(&agent.loop, 100);
		agent_now(&agent);
	}
	return a->answer;
}

static void gives(const char *body, enum register_answer expected, const char *words,
		  const char *name)
{
	enum register_answer got;

	program(body);
	got = asks();
	ok(got == expected && strstr(volume->arbiter.last, words), "%s: %s, %s", name,
	   register_answer_name(got), volume->arbiter.last);
	ok(!vio.ask, "%s: and nothing is left of it", name);
}

static void begins(void)
{
	struct repl_id id = { { 1 } };

	volume->arbiter = (struct arbiter){ .checking = true, .asking = true };
	ask_start(&agent, volume, &id, &id);
}

static void does_not_end(void)
{
	uint64_t before = loop_now();
	char body[128], end[64];
	FILE *f;

	snprintf(end, sizeof(end), "%s/end", root);
	snprintf(body, sizeof(body), "while [ ! -e %s ]; do sleep 0.1; done", end);
	program(body);
	undying = true;
	begins();
	ask_stop(volume);
	ok(loop_now() - before < 10000, "one that does not end when it is killed is not waited for");
	program("exit 0");
	ok(asks() == REGISTER_UNKNOWN && strstr(volume->arbiter.last, "has not ended yet"), "nor is there another one: %s",
	   volume->arbiter.last);
	undying = false;
	f = fopen(end, "w");
	need(f && !fclose(f), end);
	while (asks() != REGISTER_GRANTED && loop_now() - before < 60000)
		usleep(100000);
	is_number(volume->arbiter.answer, REGISTER_GRANTED, "until it has");
}

int main(void)
{
	struct volume_settings set = { .arbiter = REPL_MA_COMMAND };
	uint8_t key[REPL_KEY_BYTES] = { 1 };
	char command[64];
	struct err e;

	need(mkdtemp(root) && !loop_init(&agent.loop, &e), "a loop");
	core_init(&agent.core, "mail1", key, zero, NULL);
	volume = core_volume_up(&agent.core, "spool", &set, false, &vio);
	volume->known = true;
	vio.arbiter = CONFIG_ARBITER_COMMAND;
	gives("exit 0", REGISTER_GRANTED, "agrees", "0 grants");
	gives("echo 'it reads another one'; echo more; exit 1", REGISTER_DENIED, "it reads another one",
	      "1 denies, with its first line");
	gives("exit 2", REGISTER_UNKNOWN, "it ended with status 2", "any other end is none");
	gives("kill -9 $$", REGISTER_UNKNOWN, "it was killed by signal 9", "a signal is none");
	gives("echo no route >&2; exit 7", REGISTER_UNKNOWN, "status 7: no route", "errors are words, too");
	gives("yes | head -c 1000000; exit 1", REGISTER_DENIED, "y", "who says very much is heard to the end");
	gives("printf '\\033[2J\\001bad'; exit 1", REGISTER_DENIED, "bad", "not all of it is for a terminal");
	ok(!strchr(volume->arbiter.last, '\033') && !strchr(volume->arbiter.last, '\001'), "and is not let through");
	gives("[ \"$*\" = 'spool 00000000-0000-0000-0000-000000000000 01020300-0000-0000-0000-000000000000 "
	      "01020300-0000-0000-0000-000000000000 mail1' ]", REGISTER_GRANTED, "agrees", "it is told all");
	gives("read -r x; [ -z \"$x\" ] && kill -PIPE $$", REGISTER_UNKNOWN, "signal 13",
	      "it reads nothing, and signals are as usual");
	program("exit 0");
	unlink(vio.arbiter_is);
	ok(asks() == REGISTER_UNKNOWN && strstr(volume->arbiter.last, "cannot be run"), "one that is not there: %s",
	   volume->arbiter.last);
	program("sleep 1000");
	begins();
	ok(ask_deadline(&agent) != UINT64_MAX, "it has a deadline");
	ask_stop(volume);
	ok(!vio.ask && !volume->arbiter.answer && ask_deadline(&agent) == UINT64_MAX,
	   "given up: it is ended, and answers nothing");
	does_not_end();
	core_exit(&agent.core);
	loop_exit(&agent.loop);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	need(!system(command), command);
	return tap_end();
}
