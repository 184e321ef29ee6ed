// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What programs of the administrator are told, that each change is told once and in order,
 * and how the programs are run.
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c
 * needs: userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c userspace/agent/promote.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c userspace/agent/resolve.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c userspace/agent/suspect.c userspace/agent/hookq.c
 * needs: userspace/agent/hookrun.c tests/unit/one_peer.c
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hookq.h"
#include "hookrun.h"
#include "one_peer.h"
#include "tap.h"

enum { WAIT_MS = 5000 };

static char dir[] = "/tmp/repl-hooks.XXXXXX";

/* -- what is told ---------------------------------------------------------- */

/* What was told since the last look, as one text; "" is nothing. */
static const char *told(void)
{
	return notices;
}

static void look(void)
{
	notices[0] = '\0';
	core_event(&core, volume);
	settle();
}

static void link_lost(void)
{
	kernel.slot[0].link = REPL_LINK_NONE;
	kernel.slot[0].flags = 0;
	snprintf(kernel.slot[0].reason, sizeof(kernel.slot[0].reason), "nothing was heard");
}

static void peers(void)
{
	struct copy c;

	live(7, &c);
	/* As an agent that was just started. */
	volume->noticed = (struct notice_volume){ 0 };
	pair->noticed = (struct notice_pair){ 0 };
	look();
	tick(1);
	is_text(told(), "", "a peer that is live when the agent starts is no news");
	link_lost();
	look();
	is_text(told(), "peer-lost mail2 secondary nothing was heard;", "a link that is lost is told, and why");
	look();
	tick(1);
	is_text(told(), "", "once");
	kernel.slot[0].link = REPL_LINK_LIVE;
	kernel.slot[0].flags = REPL_SS_LIVE;
	look();
	is_text(told(), "peer-back mail2 secondary;", "and that it is back");
	look();
	is_text(told(), "", "once, too");
	core_session_down(&core, 7, "reset");
	settle();
	tick(1);
	is_text(told(), "", "a session that is lost while the link lives is none of that");
	end();
}

static void roles(void)
{
	struct copy c;

	live(7, &c);
	kernel.role = REPL_ROLE_PRIMARY;
	look();
	is_text(told(), "role-changed primary was secondary;", "a new role is told, and the old one");
	look();
	is_text(told(), "", "once");
	notices[0] = '\0';
	detached = true;
	look();
	is_text(told(), "role-changed down was primary the volume is down;", "a volume that goes down is told");
	detached = false;
	end();
}

static void gates(void)
{
	struct copy c;

	live(7, &c);
	kernel.role = REPL_ROLE_PRIMARY;
	look();
	kernel.gate = REPL_GATE_JOIN;
	look();
	tick(NOTICE_FROZEN_MS);
	is_text(told(), "", "a join that holds writes is not told");
	kernel.gate = REPL_GATE_PEER_LOST;
	look();
	tick(NOTICE_FROZEN_MS / 2);
	kernel.gate = 0;
	look();
	tick(NOTICE_FROZEN_MS);
	is_text(told(), "", "nor is a moment of it");
	kernel.gate = REPL_GATE_PEER_LOST;
	look();
	ok(core_deadline(&core) <= core.now + NOTICE_FROZEN_MS, "a deadline is set for one that lasts");
	tick(NOTICE_FROZEN_MS);
	is_text(told(), "frozen primary a peer is lost, and on-peer-loss is freeze: bring it back; or, if this node must go on "
		"alone and no other is primary: repl-ctl resume;",
		"then it is told, and what to do");
	notices[0] = '\0';
	tick(NOTICE_FROZEN_MS);
	is_text(told(), "", "once");
	kernel.gate = 0;
	look();
	is_text(told(), "thawed primary;", "and its end");
	notices[0] = '\0';
	kernel.on_peer_loss = REPL_LOSS_ARBITER;
	kernel.gate = REPL_GATE_PEER_LOST;
	look();
	tick(NOTICE_FROZEN_MS);
	is_text(told(), "frozen primary a peer is lost, and the arbiter has not let this node go on: see repl-ctl status;",
		"with an arbiter resume is no way out");
	kernel.on_peer_loss = REPL_LOSS_CONTINUE;
	kernel.gate = 0;
	end();
}

static void devices(void)
{
	struct copy c;

	live(7, &c);
	kernel.flags = REPL_VF_FAILED;
	look();
	is_text(told(), "device-failed secondary the disk has failed a write or a flush;", "a disk that fails is told");
	kernel.flags |= REPL_VF_DISKLESS;
	look();
	is_text(told(), "", "once, whatever becomes of it");
	kernel.flags = 0;
	look();
	is_text(told(), "device-back secondary;", "and that it was replaced");
	end();
}

static void splits(void)
{
	struct copy c;

	begin(false);
	equal_copies(&c);
	kernel.generation = id(30);
	kernel.history[0] = id(1);
	kernel.slot[0].dirty_blocks = 5;
	c.generation = id(31);
	c.history[0] = id(1);
	c.slot_dirty_blocks = 6;
	notices[0] = '\0';
	come(7);
	hear_hello(7, 1, 1, "spool");
	hear_copy(7, REPL_MSG_VOLUME, &c);
	ok(pair->verdict.kind == VERDICT_SPLIT, "both wrote alone");
	ok(!strncmp(told(), "split-found mail2 secondary", 27), "which is told: %s", told());
	notices[0] = '\0';
	core_session_down(&core, 7, "reset");
	settle();
	tick(1);
	come(8);
	hear_hello(8, 1, 1, "spool");
	hear_copy(8, REPL_MSG_VOLUME, &c);
	ok(pair->verdict.kind == VERDICT_SPLIT, "the peer comes again");
	is_text(told(), "", "and the same split is not told again");
	end();
}

/* -- the queue ------------------------------------------------------------- */

static struct notice notice(enum notice_kind kind, const char *name)
{
	struct notice n = { .kind = kind };

	snprintf(n.volume, sizeof(n.volume), "spool");
	snprintf(n.peer, sizeof(n.peer), "%s", name);
	return n;
}

static void queue(void)
{
	struct hookq q = { 0 };
	struct hookq_entry *e;
	struct notice lost = notice(NOTICE_PEER_LOST, "a"), back = notice(NOTICE_PEER_BACK, "a");
	struct notice other = notice(NOTICE_PEER_LOST, "b"), role = notice(NOTICE_ROLE, "");
	unsigned int i, skipped = 0, rest = 0;

	for (i = 0; i < HOOKQ_MANY / 2; i++)
		need(hookq_add(&q, &lost) && hookq_add(&q, &back), "memory");
	for (i = 0; (e = hookq_take(&q)); i++) {
		skipped += e->skipped || e->notice.kind != (i % 2 ? NOTICE_PEER_BACK : NOTICE_PEER_LOST);
		free(e);
	}
	ok(i == HOOKQ_MANY && !skipped, "queue: a few wait in full and in order");
	hookq_add(&q, &other);
	hookq_add(&q, &role);
	for (i = 0; i < 1000; i++)
		hookq_add(&q, i % 2 ? &back : &lost);
	ok(q.count <= HOOKQ_MANY, "queue: a thousand are %u in the queue", q.count);
	e = hookq_take(&q);
	ok(e && !strcmp(e->notice.peer, "b") && !e->skipped, "queue: of others none is left out");
	free(e);
	e = hookq_take(&q);
	ok(e && e->notice.kind == NOTICE_ROLE && !e->skipped, "queue: and the order stays");
	free(e);
	skipped = 0;
	for (i = 0; (e = hookq_take(&q)); rest = e->notice.kind, free(e))
		skipped += e->skipped, i++;
	ok(rest == NOTICE_PEER_BACK && skipped + i == 1000,
	   "queue: the last is what is so now, and %u + %u make all", skipped, i);
}

/* -- programs -------------------------------------------------------------- */

static void program(const char *name, mode_t mode, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	need(f, path);
	fprintf(f, "#!/bin/sh\n%s\n", text);
	fclose(f);
	need(!chmod(path, mode), path);
}

static void removed_program(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
}

/* Runs them in a process of their own; @text is what comes out. Return: its exit code. */
static int run_all(const char *where, uint64_t timeout_ms, char *text, size_t size)
{
	char *argv[] = { NULL, "peer-lost", "spool", "mail2", NULL };
	struct hookrun h = { .dir = where, .argv = argv, .timeout_ms = timeout_ms, .grace_ms = 300 };
	int out[2], status = 0;
	size_t have = 0;
	ssize_t n;
	pid_t pid;

	need(!pipe(out), "a pipe");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(out[0]);
		dup2(out[1], STDOUT_FILENO);
		setenv("REPL_EVENT", "peer-lost", 1);
		_exit(hookrun(&h));
	}
	close(out[1]);
	while (have < size - 1 && (n = read(out[0], text + have, size - 1 - have)) > 0)
		have += (size_t)n;
	text[have] = '\0';
	close(out[0]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void programs(void)
{
	char text[4096], expected[512];
	uint64_t began;

	need(mkdtemp(dir), "a directory");
	ok(!run_all("/nonexistent/hooks", WAIT_MS, text, sizeof(text)) && !text[0],
	   "programs: a directory that is not there is no mistake");
	program("20-second", 0755, "echo \"$2 $3\"; printf end >&2");
	program("10-first", 0755, "echo \"$REPL_EVENT $1\"");
	program("notes.txt", 0644, "echo wrong");
	program(".hidden", 0755, "echo wrong");
	program("10-first~", 0755, "echo wrong");
	is_number(run_all(dir, WAIT_MS, text, sizeof(text)), 0, "programs: all succeed");
	is_text(text, "10-first: peer-lost peer-lost\n20-second: spool mail2\n20-second: end\n",
		"programs: in the order of their names, with what they are told");

	program("10-first", 0755, "exit 3");
	is_number(run_all(dir, WAIT_MS, text, sizeof(text)), 1, "programs: one fails");
	is_text(text, "10-first: failed with exit code 3\n20-second: spool mail2\n20-second: end\n",
		"programs: which is said, and the next one runs");

	program("10-first", 0777, "echo wrong");
	snprintf(expected, sizeof(expected), "10-first: left out: %s/10-first can be written to by others "
		 "than its owner\n20-second: spool mail2\n20-second: end\n", dir);
	is_number(run_all(dir, WAIT_MS, text, sizeof(text)), 1, "programs: one that anybody can write to");
	is_text(text, expected, "programs: is not run, which is said");

	program("10-first", 0755, "trap '' TERM; echo begun; sleep 100 & wait; sleep 100");
	began = (uint64_t)time(NULL);
	is_number(run_all(dir, 500, text, sizeof(text)), 1, "programs: one that does not end");
	ok((uint64_t)time(NULL) - began < 30, "programs: is ended");
	ok(strstr(text, "10-first: begun\n") && strstr(text, "it is ended") &&
	   strstr(text, "ended by signal 9") && strstr(text, "20-second: end"),
	   "programs: by force, if need be, and the next one runs");

	program("10-first", 0755, "sleep 100 & echo left");
	began = (uint64_t)time(NULL);
	is_number(run_all(dir, 60000, text, sizeof(text)), 0, "programs: what one leaves behind");
	ok((uint64_t)time(NULL) - began < 30, "programs: is not waited for");

	chmod(dir, 0777);
	is_number(run_all(dir, WAIT_MS, text, sizeof(text)), 1, "programs: a directory that anybody can write to");
	ok(strstr(text, "none is run") && !strstr(text, "20-second"), "programs: is not looked into");
	chmod(dir, 0755);
	removed_program("10-first");
	removed_program("10-first~");
	removed_program("20-second");
	removed_program("notes.txt");
	removed_program(".hidden");
	rmdir(dir);
}

int main(void)
{
	peers();
	roles();
	gates();
	devices();
	splits();
	queue();
	programs();
	return tap_end();
}
