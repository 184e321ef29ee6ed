// SPDX-License-Identifier: GPL-2.0-or-later
#include "hook.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hookq.h"
#include "log.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

enum { LINE = 600, LINES = 100, VARS = 10 };

/* Of a volume, while something is to be told of it. */
struct hooks {
	struct hooks *next;
	struct agent *agent;
	char volume[REPL_NAME_MAX];
	struct hookq queue;
	/* The process under way; each descriptor -1 when it is closed. */
	pid_t pid;
	struct loop_watch over, out;
	char line[LINE];
	size_t have;
	unsigned int lines;
};

static void go_on(struct hooks *h);

static char **environment(const struct agent *a, const struct hookq_entry *e, char **vars)
{
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	const struct notice *n = &e->notice;
	char device[32], skipped[16];
	const char *const value[VARS][2] = {
		{ "EVENT", notice_name(n->kind) }, { "VOLUME", n->volume }, { "DEVICE", device },
		{ "NODE", a->config.agent.name }, { "ROLE", n->role }, { "WAS", n->was },
		{ "PEER", n->peer }, { "REASON", n->reason }, { "SKIPPED", skipped },
		{ "CONFIG", a->config.dir },
	};

	snprintf(device, sizeof(device), "/dev/repl%u", n->minor);
	snprintf(skipped, sizeof(skipped), "%u", e->skipped);
	for (unsigned int i = 0; i < VARS; i++)
		if (asprintf(&vars[i], "REPL_%s=%s", value[i][0], value[i][1]) < 0)
			vars[i] = NULL;
	vars[VARS] = path;
	vars[VARS + 1] = NULL;
	for (unsigned int i = 0; i < VARS; i++)
		if (!vars[i])
			return NULL;
	return vars;
}

/*
 * A new process of this program: a fork alone would share this one's locked memory for as
 * long as the programs run.
 */
static int spawn(struct hooks *h, const char *dir, const struct notice *n, char **vars, int out)
{
	char *argv[] = { "repl-agent", "--run-hooks", (char *)dir, (char *)notice_name(n->kind),
			 (char *)n->volume, (char *)n->peer, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int ret;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
				 POSIX_SPAWN_SETSID);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, out, STDERR_FILENO);
	ret = posix_spawn(&h->pid, "/proc/self/exe", &files, &attr, argv, vars);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return -ret;
}

static void put_line(struct hooks *h)
{
	if (h->have && h->lines++ < LINES)
		log_info(h->volume, "hook %.*s", (int)h->have, h->line);
	else if (h->have && h->lines == LINES + 1)
		log_warn(h->volume, "hooks print more than %d lines: the rest is left out", LINES);
	h->have = 0;
}

static void close_watch(struct hooks *h, struct loop_watch *w)
{
	int fd = w->fd;

	loop_unwatch(&h->agent->loop, w);
	if (fd >= 0)
		close(fd);
}

static void readable(struct loop_watch *w, uint32_t events)
{
	struct hooks *h = container(w, struct hooks, out);
	char bytes[4096];
	ssize_t n = read(w->fd, bytes, sizeof(bytes));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] == '\n' || h->have == sizeof(h->line))
			put_line(h);
		if (bytes[i] != '\n')
			h->line[h->have++] = bytes[i];
	}
	if (n > 0)
		return;
	put_line(h);
	close_watch(h, w);
	if (h->over.fd < 0)
		go_on(h);
}

/* The programs' own output goes through that process, so nothing comes after its end. */
static void over(struct loop_watch *w, uint32_t events)
{
	struct hooks *h = container(w, struct hooks, over);

	(void)events;
	waitpid(h->pid, NULL, WNOHANG);
	close_watch(h, w);
	if (h->out.fd < 0)
		go_on(h);
}

static int watch(struct hooks *h, int out)
{
	int pidfd = (int)syscall(SYS_pidfd_open, h->pid, 0);
	int ret = pidfd < 0 ? -errno : loop_watch(&h->agent->loop, &h->over, pidfd, EPOLLIN);

	if (ret) {
		if (pidfd >= 0)
			close(pidfd);
		return ret;
	}
	ret = loop_watch(&h->agent->loop, &h->out, out, EPOLLIN);
	if (ret)
		close_watch(h, &h->over);
	return ret;
}

static int begin(struct hooks *h, const struct hookq_entry *e, const char *dir)
{
	char *vars[VARS + 2] = { NULL };
	int out[2], ret = -ENOMEM;

	if (pipe2(out, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	/* Whoever writes there may wait; this side must not. */
	fcntl(out[1], F_SETFL, 0);
	if (environment(h->agent, e, vars))
		ret = spawn(h, dir, &e->notice, vars, out[1]);
	for (unsigned int i = 0; i < VARS; i++)
		free(vars[i]);
	close(out[1]);
	h->lines = 0;
	if (!ret)
		ret = watch(h, out[0]);
	if (ret)
		close(out[0]);
	return ret;
}

static void forget(struct hooks *h)
{
	struct hooks **at = &h->agent->hooks;
	struct hookq_entry *e;

	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	while ((e = hookq_take(&h->queue)))
		free(e);
	free(h);
}

/* The next notice for which there are programs; none: nothing is kept. */
static void go_on(struct hooks *h)
{
	char dir[PATH_MAX + sizeof("/hooks")];
	struct hookq_entry *e;
	int ret = -1;

	snprintf(dir, sizeof(dir), "%s/hooks", h->agent->config.dir);
	while (ret && (e = hookq_take(&h->queue))) {
		if (!access(dir, F_OK)) {
			ret = begin(h, e, dir);
			if (ret)
				log_warn(h->volume, "hooks cannot be told of %s: %s",
					 notice_name(e->notice.kind), strerror(-ret));
		}
		free(e);
	}
	if (ret)
		forget(h);
}

static struct hooks *find(struct agent *a, const char *volume)
{
	for (struct hooks *h = a->hooks; h; h = h->next)
		if (!strcmp(h->volume, volume))
			return h;
	return NULL;
}

void hook_tell(struct agent *a, const struct notice *n)
{
	struct hooks *h = find(a, n->volume);
	bool idle = !h;

	if (idle) {
		h = calloc(1, sizeof(*h));
		if (!h)
			return;
		h->agent = a;
		h->over = (struct loop_watch){ .fd = -1, .ready = over };
		h->out = (struct loop_watch){ .fd = -1, .ready = readable };
		snprintf(h->volume, sizeof(h->volume), "%s", n->volume);
		h->next = a->hooks;
		a->hooks = h;
	}
	if (!hookq_add(&h->queue, n))
		log_warn(n->volume, "hooks are not told of %s: out of memory", notice_name(n->kind));
	if (idle)
		go_on(h);
}

void hook_stop(struct agent *a)
{
	while (a->hooks) {
		struct hooks *h = a->hooks;

		close_watch(h, &h->over);
		close_watch(h, &h->out);
		forget(h);
	}
}
