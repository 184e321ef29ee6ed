// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * repl-agent: everything that needs judgement.  It may die at any time: the kernel
 * carries a healthy pair's writes without it, and it goes on where it was.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <linux/prctl.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "agent.h"
#include "ask.h"
#include "bring.h"
#include "compare.h"
#include "conn.h"
#include "control.h"
#include "delta.h"
#include "dial.h"
#include "helper.h"
#include "hook.h"
#include "hookrun.h"
#include "kops.h"
#include "ktls.h"
#include "link.h"
#include "listen.h"
#include "log.h"
#include "save.h"

enum { FILES = 65536, IDLE_MS = 60000, LARGE_ALLOCATION = 64 << 20 };

static struct agent agent;

static uint64_t random64(void *arg)
{
	uint64_t bits;

	(void)arg;
	if (getrandom(&bits, sizeof(bits), 0) != sizeof(bits))
		abort();
	return bits;
}

static void report(void *arg, const char *text)
{
	(void)arg;
	log_error(NULL, "%s", text);
}

/* ------------------------------------------------------------- process -- */

/*
 * This process may have to run when memory is short because its volumes do not write:
 * it must neither be paged out, nor wait for writes when it allocates.
 */
static void stay_in_memory(void)
{
	struct rlimit files = { FILES, FILES };

	mallopt(M_MMAP_THRESHOLD, LARGE_ALLOCATION);
	mallopt(M_TRIM_THRESHOLD, LARGE_ALLOCATION);
	if (setrlimit(RLIMIT_NOFILE, &files))
		log_warn(NULL, "the limit of open files stays as it is: %s", strerror(errno));
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		log_warn(NULL, "memory cannot be locked (%s): give the agent CAP_IPC_LOCK, or it may "
			 "stall when memory is short", strerror(errno));
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		log_warn(NULL, "it cannot be marked as needed for writing (%s): give the agent "
			 "CAP_SYS_RESOURCE", strerror(errno));
}

/*
 * Into the background, unless a service manager or a person watches.  The parent stays
 * until the child says that it is ready.  Return: where to say so, or -1.
 */
static int detach(bool foreground)
{
	int ready[2], status = 1;
	char c;

	if (foreground || getenv("NOTIFY_SOCKET"))
		return -1;
	if (pipe(ready)) {
		log_error(NULL, "pipe: %s", strerror(errno));
		exit(1);
	}
	switch (fork()) {
	case -1:
		log_error(NULL, "fork: %s", strerror(errno));
		exit(1);
	case 0:
		close(ready[0]);
		setsid();
		if (chdir("/"))
			log_warn(NULL, "/: %s", strerror(errno));
		return ready[1];
	default:
		close(ready[1]);
		if (read(ready[0], &c, 1) == 1)
			status = 0;
		exit(status);
	}
}

static void tell_ready(int fd)
{
	sd_notify(0, "READY=1\nSTATUS=running");
	if (fd < 0)
		return;
	if (write(fd, "", 1) != 1)
		log_warn(NULL, "nobody waits for this agent to be ready");
	close(fd);
}

static void signalled(struct loop_watch *w, uint32_t events)
{
	struct agent *a = (struct agent *)((char *)w - offsetof(struct agent, signal_watch));
	struct signalfd_siginfo info;

	(void)events;
	while (read(w->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			a->reload = true;
		else
			a->quit = true;
	}
}

static int watch_signals(struct agent *a, struct err *e)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	a->signal_watch = (struct loop_watch){ .fd = -1, .ready = signalled };
	if (fd < 0 || loop_watch(&a->loop, &a->signal_watch, fd, EPOLLIN))
		return err_set(e, errno, "signalfd: %s", strerror(errno));
	return 0;
}

/* --------------------------------------------------------------- start -- */

static int load_key(struct agent *a, struct err *e)
{
	struct key_private priv;
	int ret = key_load_private(a->config.agent.key_path, &priv, e);

	if (ret)
		return ret;
	ret = key_derive_public(&priv, &a->key, e);
	if (!ret) {
		a->tls = tls_ctx_new(priv.b, e);
		ret = a->tls ? 0 : -EIO;
	}
	key_wipe(&priv, sizeof(priv));
	return ret;
}

static int watch_kernel(struct agent *a, struct err *e)
{
	int ret = kernel_open(&a->kernel, e);

	if (ret)
		return ret;
	ret = kernel_events_open(&a->events, e);
	if (ret)
		return ret;
	a->event_watch = (struct loop_watch){ .fd = -1, .ready = agent_events };
	return loop_watch(&a->loop, &a->event_watch, kernel_events_fd(a->events), EPOLLIN);
}

static int start(struct agent *a, struct err *e)
{
	int ret = load_key(a, e);

	if (!ret)
		ret = loop_init(&a->loop, e);
	if (!ret)
		ret = watch_signals(a, e);
	if (!ret)
		ret = watch_kernel(a, e);
	if (!ret)
		ret = dial_init(a, e);
	if (ret)
		return ret;
	core_init(&a->core, a->config.agent.name, a->key.b, random64, NULL);
	a->core.link_bytes = KTLS_AES_GCM_BYTES;
	agent_now(a);
	ret = control_start(a, e);
	if (!ret)
		ret = listen_start(a, e);
	if (!ret)
		bring_found(a);
	return ret;
}

/* By a message on another connection, say, after its own turn in conn_tick(). */
static bool any_woken(const struct agent *a)
{
	for (const struct conn *c = a->conns; c; c = c->next)
		if (c->woken)
			return true;
	return false;
}

static uint64_t timeout(struct agent *a)
{
	uint64_t now = loop_now(), at = now + IDLE_MS;
	uint64_t deadlines[] = {
		core_deadline(&a->core), conn_deadline(a), link_deadline(a), delta_deadline(a),
		control_deadline(a), save_deadline(a), helper_deadline(a),
		compare_deadline(a), ask_deadline(a),
	};

	if (any_woken(a))
		return 0;
	for (size_t i = 0; i < sizeof(deadlines) / sizeof(deadlines[0]); i++)
		if (deadlines[i] < at)
			at = deadlines[i];
	return at > now ? at - now : 0;
}

static void reload(struct agent *a)
{
	struct err e = { "" };

	a->reload = false;
	if (!bring_config(a, NULL, &e))
		log_info(NULL, "the configuration was read anew");
}

static void run(struct agent *a)
{
	uint64_t watchdog_us = 0, alive_at = 0;

	sd_watchdog_enabled(0, &watchdog_us);
	while (!a->quit) {
		agent_now(a);
		core_tick(&a->core);
		link_tick(a);
		delta_tick(a);
		save_tick(a);
		helper_tick(a);
		compare_tick(a);
		ask_tick(a);
		control_tick(a, loop_now());
		agent_settle(a);
		conn_tick(a);
		agent_settle(a);
		if (a->reload)
			reload(a);
		if (watchdog_us && loop_now() >= alive_at) {
			sd_notify(0, "WATCHDOG=1");
			alive_at = loop_now() + watchdog_us / 3000;
		}
		loop_run(&a->loop, watchdog_us && timeout(a) > watchdog_us / 3000
					   ? watchdog_us / 3000 : timeout(a));
	}
}

/* The volumes stay: their links are the kernel's. */
static void stop(struct agent *a)
{
	sd_notify(0, "STOPPING=1");
	log_info(NULL, "stopping; volumes and their links stay as they are");
	hook_stop(a);
	control_stop(a);
	listen_stop(a);
	kops_exit(a);
	kernel_events_close(a->events);
	kernel_close(a->kernel);
	tls_ctx_free(a->tls);
	config_free(&a->config);
}

static void left_out(void *arg, const char *name)
{
	(void)arg;
	log_error(name, "left out for the mistake in its file: correct that, then run repl-ctl up %s",
		  name);
}

/* One volume's mistake must not keep the others down, at three in the morning. */
static bool load(struct agent *a, const char *dir)
{
	int ret = config_load(dir, &a->config, report, NULL);

	return !ret || (ret != -ENOMEM && config_keep_good(&a->config, NULL, left_out, NULL));
}

static int check(const char *dir)
{
	struct config c;
	int ret = config_load(dir, &c, report, NULL);

	if (!ret)
		ret = config_check_devices(&c, report, NULL);
	if (!ret)
		printf("%s: %zu peers, %zu volumes, no mistake found\n", dir, c.agent.peer_count,
		       c.volume_count);
	config_free(&c);
	return ret ? 1 : 0;
}

/* What hook.c begins: repl-agent --run-hooks DIR EVENT VOLUME PEER. */
static int run_hooks(char **argv)
{
	struct hookrun h = {
		.dir = argv[2], .argv = argv + 2, .timeout_ms = HOOKRUN_TIMEOUT_MS,
		.grace_ms = HOOKRUN_GRACE_MS,
	};

	hookrun_plain();
	return hookrun(&h) ? 1 : 0;
}

static void usage(FILE *to)
{
	fprintf(to, "usage: repl-agent [--config DIR] [--check] [--foreground] [--verbose]\n"
		"  --config DIR   read DIR/agent.conf and DIR/volumes/*.conf (default %s)\n"
		"  --check        verify the configuration and exit\n"
		"  --foreground   do not go into the background\n"
		"  --verbose      log every step\n", CONFIG_DIR);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, 'k' },
		{ "foreground", no_argument, NULL, 'f' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	bool only_check = false, foreground = false, verbose = false;
	char path[PATH_MAX];
	const char *dir = CONFIG_DIR;
	struct err e = { "" };
	int c, ready;

	if (argc == 6 && !strcmp(argv[1], "--run-hooks"))
		return run_hooks(argv);
	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 'c':
			dir = optarg;
			break;
		case 'k':
			only_check = true;
			break;
		case 'f':
			foreground = true;
			break;
		case 'v':
			verbose = true;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind != argc) {
		usage(stderr);
		return 2;
	}
	log_open("repl-agent", verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if (realpath(dir, path))
		dir = path;	/* the working directory will be another one */
	if (only_check)
		return check(dir);
	if (!load(&agent, dir))
		return 1;
	ready = detach(foreground);
	stay_in_memory();
	if (start(&agent, &e)) {
		log_error(NULL, "%s", e.text);
		return 1;
	}
	tell_ready(ready);
	run(&agent);
	stop(&agent);
	return 0;
}
