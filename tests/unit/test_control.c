// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The administrator's socket among many who ask: what any local user can hold of it is
 * bounded, and root comes through.
 * needs: userspace/agent/arbiter.c userspace/agent/register.c userspace/agent/ask.c userspace/agent/witness.c
 * needs: userspace/agent/verify.c userspace/agent/judge.c userspace/agent/compare.c userspace/agent/sums.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c
 * needs: userspace/agent/follow.c userspace/agent/task.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/nodes.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/resolve.c userspace/agent/save.c
 * needs: userspace/agent/copy.c userspace/agent/msg.c userspace/agent/action.c userspace/agent/agent.c userspace/agent/helper.c userspace/agent/hook.c userspace/agent/hookq.c
 * needs: userspace/agent/loop.c userspace/agent/conn.c userspace/agent/greet.c userspace/agent/link.c
 * needs: userspace/agent/dial.c userspace/agent/kops.c userspace/agent/delta.c userspace/agent/mapsend.c
 * needs: userspace/agent/apply.c userspace/agent/stage.c userspace/agent/bring.c userspace/agent/control.c userspace/agent/status.c
 * needs: userspace/agent/tls.c userspace/agent/ktls.c userspace/agent/digest.c userspace/agent/suspect.c
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent.h"
#include "control.h"
#include "log.h"

#include "tap.h"

enum { VOLUMES = 2000, SLACK = 1 << 20, ANSWER = 2 << 20 };

/* The address sanitizer's; its header is not everywhere. */
size_t __sanitizer_get_current_allocated_bytes(void);

static struct agent agent;
static uint64_t rng;
static char dir[] = "/tmp/repl-control.XXXXXX";
static bool stranger;		/* whoever connects now is not root */
static char answer[ANSWER];

/* In place of the library's: who is at the other end is the test's to say. */
int getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
	int ret = (int)syscall(SYS_getsockopt, fd, level, name, value, length);

	if (!ret && level == SOL_SOCKET && name == SO_PEERCRED)
		((struct ucred *)value)->uid = stranger ? geteuid() + 1 : geteuid();
	return ret;
}

static size_t allocated(void)
{
	return __sanitizer_get_current_allocated_bytes();
}

static uint64_t random64(void *arg)
{
	return random_next(arg);
}

/* Everything that is ready; replies of the core go where the shell would send them. */
static void turn(void)
{
	struct action *a;

	for (int i = 0; i < 3; i++) {
		loop_run(&agent.loop, 1);
		while ((a = action_take(&agent.core.actions))) {
			if (a->kind == ACTION_REPLY)
				control_reply(&agent, a->request, a->ok, a->text);
			action_free(a);
		}
	}
}

static int come(bool a_stranger)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	stranger = a_stranger;
	memcpy(to.sun_path, agent.config.agent.socket, sizeof(to.sun_path));
	need(fd >= 0 && !connect(fd, (struct sockaddr *)&to, sizeof(to)), "a connection");
	turn();
	return fd;
}

static bool put(int fd, const char *text)
{
	bool all = send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);

	turn();
	return all;
}

static bool ended(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_PEEK) == 0;
}

/* The next line in answer[], or "" when none comes. */
static const char *get(int fd)
{
	size_t have = 0;
	char *end = NULL;

	for (unsigned int idle = 0; idle < 20 && !end;) {
		ssize_t n = recv(fd, answer + have, sizeof(answer) - 1 - have, MSG_PEEK);

		if (n <= 0) {
			if (!n)
				break;
			turn();
			idle++;
			continue;
		}
		end = memchr(answer + have, '\n', (size_t)n);
		n = recv(fd, answer + have, end ? (size_t)(end - answer) - have + 1 : (size_t)n, 0);
		need(n > 0, "what is there can be read");
		have += (size_t)n;
	}
	answer[end ? (size_t)(end - answer) : have] = '\0';
	return answer;
}

static const char *ask(int fd, const char *text)
{
	return put(fd, text) ? get(fd) : "";
}

/* -------------------------------------------------------------- tests --- */

static void shares(void)
{
	int fd[CONTROL_OTHERS_MAX], root[CONTROL_CLIENTS_MAX - CONTROL_OTHERS_MAX], more;
	unsigned int served = 0;

	for (int i = 0; i < CONTROL_OTHERS_MAX; i++)
		fd[i] = come(true);
	for (int i = 0; i < CONTROL_OTHERS_MAX; i++)
		served += !!strstr(ask(fd[i], "{\"cmd\":\"peers\"}\n"), "\"ok\":true");
	is_number(served, CONTROL_OTHERS_MAX, "many who may change nothing are served at a time");
	more = come(true);
	get(more);
	ok(strstr(answer, "\"ok\":false") && strstr(answer, "try again") && ended(more),
	   "one more is sent away in words: %s", answer);
	close(more);
	served = 0;
	for (int i = 0; i < CONTROL_CLIENTS_MAX - CONTROL_OTHERS_MAX; i++) {
		root[i] = come(false);
		served += !!strstr(ask(root[i], "{\"cmd\":\"peers\"}\n"), "\"ok\":true");
	}
	is_number(served, CONTROL_CLIENTS_MAX - CONTROL_OTHERS_MAX, "root has a share of its own");
	more = come(false);
	ok(strstr(get(more), "\"ok\":false") && ended(more), "and a bound: %s", answer);
	close(more);
	close(fd[0]);
	turn();
	fd[0] = come(true);
	ok(strstr(ask(fd[0], "{\"cmd\":\"peers\"}\n"), "\"ok\":true"), "who leaves makes room");
	for (int i = 0; i < CONTROL_OTHERS_MAX; i++)
		close(fd[i]);
	for (int i = 0; i < CONTROL_CLIENTS_MAX - CONTROL_OTHERS_MAX; i++)
		close(root[i]);
	turn();
	is_number((long long)control_deadline(&agent), -1, "nobody is left");
}

static void idle(void)
{
	uint64_t now = loop_now();
	int silent = come(true), half = come(false), waiting = come(true);

	put(half, "{\"cmd\":");
	put(waiting, "{\"cmd\":\"wait\",\"volume\":\"v0\",\"for\":\"connected\",\"timeout\":500}\n");
	ok(control_deadline(&agent) >= now + CONTROL_IDLE_MS &&
	   control_deadline(&agent) <= loop_now() + CONTROL_IDLE_MS, "when somebody is idle for too long");
	control_tick(&agent, now + CONTROL_IDLE_MS - 1);
	turn();
	ok(!ended(silent) && !ended(half), "for a while one may say nothing");
	control_tick(&agent, loop_now() + CONTROL_IDLE_MS);
	turn();
	ok(ended(silent) && ended(half), "then the connection ends, root's too");
	ok(!ended(waiting) && control_deadline(&agent) == UINT64_MAX,
	   "who waits for an answer is not idle");
	agent.core.now += 501000;
	core_tick(&agent.core);
	ok(strstr(get(waiting), "\"ok\":false") && control_deadline(&agent) < UINT64_MAX,
	   "until it has come: %s", answer);
	close(silent);
	close(half);
	close(waiting);
	turn();
}

/* What is not read is bounded for all strangers together, and nobody else pays for it. */
static void unread(void)
{
	size_t before = allocated(), most = 0;
	int fd[CONTROL_OTHERS_MAX], root;
	unsigned int sent_away = 0;

	for (int i = 0; i < CONTROL_OTHERS_MAX; i++) {
		size_t bytes;

		fd[i] = come(true);
		put(fd[i], "{\"cmd\":\"status\"}\n");
		bytes = allocated() - before;
		most = bytes > most ? bytes : most;
	}
	for (int i = 0; i < CONTROL_OTHERS_MAX; i++) {
		while (recv(fd[i], answer, sizeof(answer), 0) > 0)
			;
		sent_away += ended(fd[i]);
	}
	ok(most <= CONTROL_UNREAD_MAX + SLACK, "unread replies take at most %d MiB: %zu bytes",
	   CONTROL_UNREAD_MAX >> 20, most);
	ok(sent_away && sent_away < CONTROL_OTHERS_MAX, "whose reply finds no room is sent away: %u",
	   sent_away);
	root = come(false);
	ask(root, "{\"cmd\":\"status\"}\n");
	ok(strlen(answer) > CONTROL_UNREAD_MAX / CONTROL_OTHERS_MAX &&
	   !strcmp(answer + strlen(answer) - 2, "]}"), "root's reply comes whole: %zu bytes",
	   strlen(answer));
	for (int i = 0; i < CONTROL_OTHERS_MAX; i++)
		close(fd[i]);
	turn();
	ok(allocated() - before < SLACK, "what was read is given back");
	close(root);
	turn();
}

static void pipelined(void)
{
	size_t before = allocated(), bytes, first;
	unsigned int replies = 0;
	int fd = come(false);

	for (int i = 0; i < 20; i++)
		put(fd, "{\"cmd\":\"status\"}\n");
	bytes = allocated() - before;
	first = strlen(get(fd));
	ok(first && bytes < 2 * first, "the next request waits until the last reply is read");
	replies += !!first;
	while (strlen(get(fd)) == first)
		replies++;
	is_number(replies, 20, "then it is answered, too");
	close(fd);
	turn();
}

static void too_much(void)
{
	char line[6000];
	int fd = come(true);

	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	ok(strstr(ask(fd, line), "too long"), "a line without an end: %s", answer);
	close(fd);
	fd = come(true);
	put(fd, "{\"cmd\":\"wait\",\"volume\":\"v0\",\"for\":\"connected\",\"timeout\":5}\n");
	put(fd, line);
	ok(!strlen(get(fd)), "behind a request that runs it waits");
	agent.core.now += 5001;
	core_tick(&agent.core);
	ok(strstr(get(fd), "waited in vain for connected"), "the request is answered: %s", answer);
	ok(strstr(get(fd), "too long"), "then the line: %s", answer);
	close(fd);
	turn();
}

/* None at all is not "for ever". */
static void timeouts(void)
{
	static const char *const timeout[] = { "0", "0.0001", "1e300" };
	int fd = come(true);

	for (size_t i = 0; i < sizeof(timeout) / sizeof(timeout[0]); i++) {
		char line[128];

		snprintf(line, sizeof(line),
			 "{\"cmd\":\"wait\",\"volume\":\"v0\",\"for\":\"connected\",\"timeout\":%s}\n", timeout[i]);
		put(fd, line);
		ok(agent.core.waiters && agent.core.waiters->deadline > agent.core.now,
		   "a wait of %s s has an end", timeout[i]);
		if (i == 2)
			break;
		agent.core.now += 1000;
		core_tick(&agent.core);
		ok(strstr(get(fd), "waited in vain for connected"), "which comes: %s", answer);
	}
	close(fd);
	turn();
	ok(!agent.core.waiters, "whoever hangs up waits no more");
	fd = come(true);
	put(fd, "{\"cmd\":\"wait\",\"volume\":\"v0\",\"for\":\"connected\"}\n");
	ok(agent.core.waiters && !agent.core.waiters->deadline, "with no time given it has none");
	close(fd);
	turn();
}

static void only_root(void)
{
	int fd = come(true);

	ok(strstr(ask(fd, "{\"cmd\":\"primary\",\"volume\":\"v0\"}\n"), "only root"),
	   "who is not root changes nothing: %s", answer);
	close(fd);
	turn();
}

int main(void)
{
	static const uint8_t key[REPL_KEY_BYTES] = { 5 }, theirs[REPL_KEY_BYTES] = { 9 };
	struct volume_settings set = { .join_limit_ms = 200 };
	const struct core_peer *peer;
	static struct volume_io io;
	struct err e;

	rng = random_seed();
	log_open("test_control", LOG_LEVEL_ERROR);
	if (loop_init(&agent.loop, &e)) {
		printf("1..0 # SKIP %s\n", e.text);
		return 0;
	}
	core_init(&agent.core, "node", key, random64, &rng);
	agent_now(&agent);
	peer = core_peer_add(&agent.core, "peer", theirs);
	for (int i = 0; i < VOLUMES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "v%d", i);
		core_pair_add(core_volume_up(&agent.core, name, &set, false, &io), peer);
	}
	need(mkdtemp(dir), "a directory");
	snprintf(agent.config.agent.socket, sizeof(agent.config.agent.socket), "%s/sock", dir);
	need(!control_start(&agent, &e), e.text);
	shares();
	idle();
	unread();
	pipelined();
	too_much();
	timeouts();
	only_root();
	control_stop(&agent);
	core_exit(&agent.core);
	loop_exit(&agent.loop);
	rmdir(dir);
	return tap_end();
}
