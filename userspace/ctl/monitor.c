// SPDX-License-Identifier: GPL-2.0-or-later
/* repl-ctl monitor: one line for everything that happens. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "config.h"
#include "ctl.h"
#include "err.h"
#include "kernel.h"
#include "report.h"

struct monitor {
	struct kernel *kernel;
	struct kernel_events *events;
	struct config_agent agent;	/* for the names of peers */
	struct kernel_volume *list;	/* as last read */
	size_t count;
	const char *only;		/* a volume, or NULL */
	bool json;
	bool broken;			/* nobody reads what is printed any more */
};

static const char *event_word(uint32_t event)
{
	switch (event) {
	case REPL_EVENT_UNSPEC:
		return "lost";
	case REPL_EVENT_ATTACHED:
		return "up";
	case REPL_EVENT_DETACHED:
		return "down";
	case REPL_EVENT_ROLE:
		return "role";
	case REPL_EVENT_LINK_UP:
		return "link-up";
	case REPL_EVENT_LINK_DOWN:
		return "link-down";
	case REPL_EVENT_GATE:
		return "gate";
	case REPL_EVENT_GENERATION:
		return "generation";
	case REPL_EVENT_ERROR:
		return "error";
	case REPL_EVENT_RESIZE:
		return "resize";
	case REPL_EVENT_REPLACE:
		return "replace";
	default:
		return "unknown";
	}
}

/* -- names ----------------------------------------------------------------- */

static struct kernel_volume *find_volume(const struct monitor *m, uint32_t minor)
{
	for (size_t i = 0; i < m->count; i++) {
		if (m->list[i].minor == minor)
			return &m->list[i];
	}
	return NULL;
}

/*
 * While a volume goes down the kernel lists it no more, but still has things to
 * say about it: what is gone from the list is kept until forget_volume().
 */
static void read_volumes(struct monitor *m)
{
	struct kernel_volume *list, *grown;
	size_t count;

	/* When that fails the old names still say more than none. */
	if (kernel_list(m->kernel, &list, &count, NULL))
		return;
	for (size_t i = 0; i < count; i++) {
		struct kernel_volume *known = find_volume(m, list[i].minor);

		if (known) {
			*known = list[i];
			continue;
		}
		grown = reallocarray(m->list, m->count + 1, sizeof(*grown));
		if (!grown)
			break;
		m->list = grown;
		m->list[m->count++] = list[i];
	}
	free(list);
}

static void forget_volume(struct monitor *m, uint32_t minor)
{
	struct kernel_volume *k = find_volume(m, minor);

	if (k)
		*k = m->list[--m->count];
}

static const char *peer_name(const struct monitor *m, const struct kernel_volume *k, int slot)
{
	for (int i = 0; k && slot >= 0 && i < k->slot_count; i++) {
		const struct config_peer *p;

		if (k->slot[i].index != slot)
			continue;
		p = config_find_peer_key(&m->agent, k->slot[i].key);
		return p ? p->name : NULL;
	}
	return NULL;
}

/* -- printing -------------------------------------------------------------- */

static void format_now(char *text, size_t size)
{
	struct timespec now;
	struct tm tm;
	size_t used;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	used = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &tm);
	used += snprintf(text + used, size - used, ".%03ld", now.tv_nsec / 1000000);
	strftime(text + used, size - used, "%z", &tm);
}

static void print_line(struct monitor *m, const char *volume, const char *word, const char *peer,
		       const char *text)
{
	char now[64];

	format_now(now, sizeof(now));
	if (m->json) {
		json_t *line = json_pack("{s:s, s:s?, s:s, s:s?, s:s?}", "time", now,
					 "volume", volume, "event", word, "peer", peer,
					 "text", *text ? text : NULL);

		if (line)
			json_dumpf(line, stdout, JSON_COMPACT);
		json_decref(line);
		putchar('\n');
	} else {
		printf("%s %s %s%s%s%s%s\n", now, volume ? volume : "-", word, peer ? " " : "",
		       peer ? peer : "", *text ? ": " : "", text);
	}
	/* A line that waits in a buffer is no monitor. */
	if (fflush(stdout) == EOF)
		m->broken = true;
}

static void print_state(struct monitor *m)
{
	for (size_t i = 0; i < m->count; i++) {
		const struct kernel_volume *k = &m->list[i];
		unsigned int live = 0, peers = 0;
		char text[128];

		if (m->only && strcmp(m->only, k->name) != 0)
			continue;
		for (int j = 0; j < k->slot_count; j++) {
			peers += k->slot[j].kind == REPL_SLOT_PEER;
			live += k->slot[j].link == REPL_LINK_LIVE;
		}
		snprintf(text, sizeof(text), "%s, %u of %u peers live%s", report_role(k), live, peers,
			 k->gate ? ", writes frozen" : "");
		print_line(m, k->name, "state", NULL, text);
	}
}

static void take_event(void *arg, const struct kernel_event *event)
{
	const struct kernel_volume *k;
	struct monitor *m = arg;
	char number[32], name[REPL_NAME_MAX];

	if (event->event == REPL_EVENT_UNSPEC) {
		print_line(m, NULL, event_word(event->event), NULL,
			   "events were lost; this is how it is now");
		m->count = 0;
		read_volumes(m);
		print_state(m);
		return;
	}
	read_volumes(m);
	k = find_volume(m, event->minor);
	snprintf(number, sizeof(number), "repl%u", event->minor);
	snprintf(name, sizeof(name), "%s", k ? k->name : number);
	if (!m->only || strcmp(m->only, name) == 0)
		print_line(m, name, event_word(event->event), peer_name(m, k, event->slot),
			   event->text);
	if (event->event == REPL_EVENT_DETACHED)
		forget_volume(m, event->minor);
}

/* -- main ------------------------------------------------------------------ */

/* Interrupted is how it ends, and no failure: also the reader going away. */
static int follow(struct monitor *m)
{
	struct pollfd p[2] = { { .events = POLLIN }, { .events = POLLIN } };
	int ret = CTL_DONE;
	sigset_t signals;
	struct err e;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	p[0].fd = kernel_events_fd(m->events);
	p[1].fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (p[1].fd < 0)
		return ctl_complain("cannot wait for signals: %s", strerror(errno));
	read_volumes(m);
	print_state(m);
	while (!m->broken && !p[1].revents && ret == CTL_DONE) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			ret = ctl_complain("waiting for events: %s", strerror(errno));
		else if (p[0].revents && kernel_events_read(m->events, take_event, m, &e))
			ret = ctl_complain("%s", e.text);
	}
	close(p[1].fd);
	return ret;
}

static int run(const struct ctl *ctl, struct monitor *m)
{
	struct err e;
	int ret = CTL_FAILED;

	/* Peers without a name are told by slot alone. */
	config_load_agent(ctl->config_dir, &m->agent, NULL, NULL);
	if (kernel_open(&m->kernel, &e))
		return ctl_complain("%s", e.text);
	/* Subscribed before the state is read, so that nothing falls in between. */
	if (kernel_events_open(&m->events, &e)) {
		ctl_complain("%s", e.text);
		goto close_kernel;
	}
	ret = follow(m);
	free(m->list);
	kernel_events_close(m->events);
close_kernel:
	kernel_close(m->kernel);
	return ret;
}

int ctl_monitor(const struct ctl *ctl, int argc, char **argv)
{
	static const struct option table[] = {
		{ "json", no_argument, NULL, 'j' },
		{}
	};
	struct monitor *m;
	int id, ret;

	m = calloc(1, sizeof(*m));
	if (!m)
		return ctl_complain("out of memory");
	while ((id = getopt_long(argc, argv, ":", table, NULL)) >= 0) {
		if (id == 'j') {
			m->json = true;
			continue;
		}
		ret = ctl_misuse(ctl, "unknown option %s", argv[optind - 1]);
		goto free_monitor;
	}
	if (argc - optind > 1) {
		ret = ctl_misuse(ctl, "at most one volume is expected");
		goto free_monitor;
	}
	m->only = argv[optind];
	ret = run(ctl, m);
free_monitor:
	free(m);
	return ret;
}
