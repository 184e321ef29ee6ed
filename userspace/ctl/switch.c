// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * repl-ctl switch: hand a volume, and what stands on it, to another node.
 *
 * What can be known is asked before anything is stopped.  Then repl-failover leaves the
 * volume here, and the other node's takes it over.  When either fails, this node takes it
 * back: it needs the other's consent for that, as for any promotion, so a node that has
 * become primary after all keeps it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "agent.h"
#include "ctl.h"
#include "err.h"

struct switching {
	const struct ctl *ctl;
	const char *volume;
	const char *node;
	double began;		/* when the service here was stopped */
};

static const int held[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Nobody may be there to read it any more; what is under way goes on. */
static void pass_on(int from)
{
	char text[4096];
	ssize_t n = read(from, text, sizeof(text));

	if (n > 0) {
		fwrite(text, 1, (size_t)n, stdout);
		fflush(stdout);
	}
}

/* Return: its exit status.  What it leaves running may hold @out open for ever. */
static int follow(pid_t pid, int out)
{
	struct pollfd fds[2] = { { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN },
				 { .fd = out, .events = POLLIN } };
	int status = 0;

	fcntl(out, F_SETFL, O_NONBLOCK);
	while (fds[0].fd >= 0 && !(fds[0].revents & POLLIN) && (poll(fds, 2, -1) >= 0 || errno == EINTR)) {
		if (fds[1].revents & POLLIN)
			pass_on(out);
		else if (fds[1].revents)
			fds[1].fd = -1;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	pass_on(out);
	if (fds[0].fd >= 0)
		close(fds[0].fd);
	close(out);
	return WIFEXITED(status) ? WEXITSTATUS(status) : CTL_FAILED;
}

static void __attribute__((noreturn)) become(const struct switching *s, const char *verb, int out)
{
	/* The terminal's signals are not for it, nor for what it starts. */
	setsid();
	for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++)
		signal(held[i], SIG_DFL);
	if (dup2(out, STDOUT_FILENO) >= 0 && dup2(out, STDERR_FILENO) >= 0)
		execlp("repl-failover", "repl-failover", "--config", s->ctl->config_dir, verb, s->volume,
		       (char *)NULL);
	ctl_complain("repl-failover: %s", strerror(errno));
	_exit(127);
}

/*
 * repl-failover VERB VOLUME; what it says comes out here.
 * Return: its exit code, or 127 when it cannot be run.
 */
static int failover(const struct switching *s, const char *verb)
{
	int out[2];
	pid_t pid;

	fflush(stdout);
	if (pipe2(out, O_CLOEXEC))
		return ctl_complain("pipe: %s", strerror(errno));
	pid = fork();
	if (!pid)
		become(s, verb, out[1]);
	close(out[1]);
	if (pid > 0)
		return follow(pid, out[0]);
	close(out[0]);
	return ctl_complain("fork: %s", strerror(errno));
}

static void show_line(void *arg, const char *text)
{
	const struct switching *s = arg;

	printf("%s: %s: %s\n", s->node, s->volume, text);
	fflush(stdout);
}

/* Return: CTL_DONE, or CTL_FAILED after it was said why not. */
static int ask(const struct switching *s, bool check)
{
	json_t *request = json_pack("{s:s, s:s, s:s, s:b}", "cmd", "take-over", "volume", s->volume,
				    "node", s->node, "check", check);
	const char *text;
	json_t *answer;
	struct err e;
	int ret;

	if (!request)
		return ctl_complain("%s, %s: this is no text that can be sent as a name", s->volume,
				    s->node);
	ret = agent_ask(s->ctl->config_dir, request, 0, check ? NULL : show_line, (void *)s, &answer,
			&e);
	json_decref(request);
	if (ret)
		return ctl_complain("%s: %s", s->volume, e.text);
	ret = json_is_true(json_object_get(answer, "ok")) ? CTL_DONE : CTL_FAILED;
	text = json_string_value(json_object_get(answer, "text"));
	if (ret)
		ctl_complain("%s", text ? text : "the agent refuses and gives no reason");
	json_decref(answer);
	return ret;
}

/* A hand-over that is cut in two would leave the volume with nobody. */
static void hold_signals(void)
{
	for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++)
		signal(held[i], SIG_IGN);
}

static int take_back(const struct switching *s, const char *what)
{
	ctl_complain("%s: %s: this node takes it back", s->volume, what);
	if (failover(s, "promote"))
		return ctl_complain("%s: possibly no node serves it now: look at repl-ctl status on both, then run "
				    "repl-failover promote %s on one", s->volume, s->volume);
	return ctl_complain("%s: not handed over; served by this node again, after %.1f s without service",
			    s->volume, now() - s->began);
}

static int hand_over(struct switching *s)
{
	hold_signals();
	s->began = now();
	if (failover(s, "demote"))
		return take_back(s, "could not be left here");
	if (ask(s, false))
		return take_back(s, "was not taken over");
	printf("%s: served by %s now; %.1f s without service\n", s->volume, s->node, now() - s->began);
	return CTL_DONE;
}

static int check(const struct switching *s)
{
	if (failover(s, "check") || ask(s, true))
		return ctl_complain("%s: nothing was stopped", s->volume);
	return CTL_DONE;
}

int ctl_switch(const struct ctl *ctl, int argc, char **argv)
{
	static const struct option table[] = {
		{ "to", required_argument, NULL, 't' },
		{ "check", no_argument, NULL, 'c' },
		{}
	};
	struct switching s = { .ctl = ctl };
	bool only_check = false;
	int id;

	while ((id = getopt_long(argc, argv, ":", table, NULL)) >= 0) {
		if (id == 't')
			s.node = optarg;
		else if (id == 'c')
			only_check = true;
		else
			return ctl_misuse(ctl, id == ':' ? "%s needs a value" : "unknown option %s",
					  argv[optind - 1]);
	}
	if (!s.node)
		return ctl_misuse(ctl, "--to is missing: which node shall take it over?");
	if (argc - optind != 1)
		return ctl_misuse(ctl, "exactly one volume is expected");
	s.volume = argv[optind];
	if (check(&s))
		return CTL_FAILED;
	if (!only_check)
		return hand_over(&s);
	printf("%s: %s can take it over; nothing was changed\n", s.volume, s.node);
	return CTL_DONE;
}
