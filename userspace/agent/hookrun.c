// SPDX-License-Identifier: GPL-2.0-or-later
#include "hookrun.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/prctl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 400, FILES = 1024 };

/* A program that runs. */
struct run {
	const char *name;
	pid_t pid;
	int pidfd, out;		/* -1: it is over, or it has closed it */
	char line[LINE];
	size_t have;
	bool told;		/* SIGTERM was sent */
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Nobody may read it any more: that is no reason to stop. */
static void __attribute__((format(printf, 2, 3))) say(const char *name, const char *fmt, ...)
{
	char text[2 * PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dprintf(STDOUT_FILENO, "%s: %s\n", name, text);
}

void hookrun_plain(void)
{
	struct rlimit files = { FILES, FILES };
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (write(fd, "0", 1) != 1)
			say("hooks", "oom_score_adj stays: %s", strerror(errno));
		close(fd);
	}
	/* Without the capability for it the agent never had the mark. */
	if (prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) > 0 && prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0))
		say("hooks", "the mark of being needed for writing stays: %s", strerror(errno));
	if (setrlimit(RLIMIT_NOFILE, &files))
		say("hooks", "the limit of open files stays: %s", strerror(errno));
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
		say("hooks", "capabilities stay: %s", strerror(errno));
}

/* -- which ----------------------------------------------------------------- */

/* Whoever could write to it would decide what runs here. */
static const char *unsafe(const struct stat *st)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return "belongs to neither root nor the user the agent runs as";
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return "can be written to by others than its owner";
	return NULL;
}

/* What editors and packages leave beside a file is not meant. */
static int is_meant(const struct dirent *d)
{
	size_t length = strlen(d->d_name);

	return d->d_name[0] != '.' && d->d_name[length - 1] != '~' &&
	       !strstr(d->d_name, ".dpkg-") && !strstr(d->d_name, ".rpm");
}

/* Return: 1 it is to be run, 0 it is none, -1 it may not. */
static int may_run(const char *path, const char *name)
{
	const char *why;
	struct stat st;

	if (stat(path, &st)) {
		say(name, "left out: %s", strerror(errno));
		return -1;
	}
	if (!S_ISREG(st.st_mode) || !(st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)))
		return 0;
	why = unsafe(&st);
	if (why)
		say(name, "left out: %s %s", path, why);
	return why ? -1 : 1;
}

/* -- one program ----------------------------------------------------------- */

static void put_line(struct run *r)
{
	if (r->have)
		say(r->name, "%.*s", (int)r->have, r->line);
	r->have = 0;
}

/* What is there; a line that is too long is printed in pieces. */
static void take_output(struct run *r)
{
	char bytes[4096];
	ssize_t n = read(r->out, bytes, sizeof(bytes));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] == '\n' || r->have == sizeof(r->line))
			put_line(r);
		if (bytes[i] != '\n')
			r->line[r->have++] = bytes[i] == '\t' || !(bytes[i] >= 0 && bytes[i] < ' ') ?
					     bytes[i] : '?';
	}
	if (n > 0)
		return;
	close(r->out);
	r->out = -1;
}

static void __attribute__((noreturn)) become(const char *path, char **argv, int out)
{
	int null = open("/dev/null", O_RDONLY);

	setsid();
	signal(SIGPIPE, SIG_DFL);
	if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
	    dup2(out, STDERR_FILENO) >= 0) {
		close_range(STDERR_FILENO + 1, UINT_MAX, 0);
		execv(path, argv);
	}
	dprintf(STDERR_FILENO, "cannot be run: %s\n", strerror(errno));
	_exit(126);
}

static bool begin(struct run *r, const char *path, char **argv)
{
	int out[2];

	if (pipe2(out, O_CLOEXEC)) {
		say(r->name, "pipe: %s", strerror(errno));
		return false;
	}
	r->pid = fork();
	if (!r->pid)
		become(path, argv, out[1]);
	close(out[1]);
	r->out = out[0];
	r->pidfd = r->pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, r->pid, 0);
	if (r->pidfd >= 0) {
		fcntl(r->out, F_SETFL, O_NONBLOCK);
		return true;
	}
	say(r->name, "cannot be run: %s", strerror(errno));
	if (r->pid > 0) {
		kill(r->pid, SIGKILL);
		waitpid(r->pid, NULL, 0);
	}
	close(r->out);
	return false;
}

/* Everything that it has started is in its session's first group, unless it wanted otherwise. */
static void hurry(struct run *r, const struct hookrun *h, uint64_t *deadline)
{
	if (!r->told)
		say(r->name, "has run for %llu s: it is ended",
		    (unsigned long long)h->timeout_ms / 1000);
	kill(-r->pid, r->told ? SIGKILL : SIGTERM);
	r->told = true;
	*deadline = now_ms() + h->grace_ms;
}

/* Return: its status, as of waitpid(). */
static int await(struct run *r, const struct hookrun *h)
{
	uint64_t deadline = now_ms() + h->timeout_ms;
	int status = 0;

	while (r->pidfd >= 0) {
		struct pollfd fds[2] = { { .fd = r->pidfd, .events = POLLIN },
					 { .fd = r->out, .events = POLLIN } };
		uint64_t now = now_ms();

		if (now >= deadline) {
			hurry(r, h, &deadline);
			continue;
		}
		poll(fds, 2, (int)(deadline - now));
		if (fds[1].revents)
			take_output(r);
		if (!(fds[0].revents & POLLIN))
			continue;
		waitpid(r->pid, &status, 0);
		close(r->pidfd);
		r->pidfd = -1;
	}
	/* What it left behind may hold the other end open for ever: what there is, and no more. */
	while (r->out >= 0) {
		struct pollfd rest = { .fd = r->out, .events = POLLIN };

		if (poll(&rest, 1, 0) <= 0)
			break;
		take_output(r);
	}
	put_line(r);
	if (r->out >= 0)
		close(r->out);
	return status;
}

static bool run_one(const struct hookrun *h, const char *path, const char *name)
{
	struct run r = { .name = name, .out = -1, .pidfd = -1 };
	int status;

	h->argv[0] = (char *)path;
	if (!begin(&r, path, h->argv))
		return false;
	status = await(&r, h);
	if (WIFSIGNALED(status))
		say(name, "ended by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		say(name, "failed with exit code %d", WEXITSTATUS(status));
	return status == 0;
}

/* -- all of them ----------------------------------------------------------- */

int hookrun(const struct hookrun *h)
{
	struct dirent **list = NULL;
	char path[PATH_MAX];
	const char *why = NULL;
	struct stat st;
	int count, failed = 0;

	signal(SIGPIPE, SIG_IGN);
	if (stat(h->dir, &st)) {
		if (errno == ENOENT)
			return 0;
		why = strerror(errno);
	} else {
		why = unsafe(&st);
	}
	count = why ? -1 : scandir(h->dir, &list, is_meant, alphasort);
	if (count < 0) {
		say("hooks", "none is run: %s: %s", h->dir, why ? why : strerror(errno));
		return 1;
	}
	for (int i = 0; i < count; i++) {
		const char *name = list[i]->d_name;
		int ret = -1;

		if ((size_t)snprintf(path, sizeof(path), "%s/%s", h->dir, name) < sizeof(path))
			ret = may_run(path, name);
		if (ret < 0 || (ret && !run_one(h, path, name)))
			failed++;
		free(list[i]);
	}
	free(list);
	return failed;
}
