// SPDX-License-Identifier: GPL-2.0-or-later
#include "config.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

unsigned int sense_say(config_report *report, void *arg, const char *fmt, ...)
{
	char text[2 * PATH_MAX + 512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (report)
		report(arg, text);
	return 1;
}

/*
 * What is to be done when a peer is lost is the arbiter's to say: with one, writes freeze, and
 * nothing else makes sense.  REPL_LOSS_ARBITER has stood for "not said" so far.
 */
static unsigned int settle_arbiter(struct config_volume *v, config_report *report, void *arg)
{
	unsigned int problems = 0;

	if (!v->arbiter) {
		if (v->on_peer_loss == REPL_LOSS_ARBITER)
			v->on_peer_loss = REPL_LOSS_CONTINUE;
		if (v->takeover)
			problems += sense_say(report, arg, "%s: takeover = auto needs an arbiter: without one two "
					"nodes could both be primary; add arbiter = node:NAME, or leave it manual",
					v->path);
		return problems;
	}
	if (v->on_peer_loss == REPL_LOSS_CONTINUE)
		problems += sense_say(report, arg, "%s: on-peer-loss = continue goes on without asking the "
				"arbiter; leave it out, or say arbiter = none", v->path);
	v->on_peer_loss = REPL_LOSS_ARBITER;
	if (!v->direct_apply)
		problems += sense_say(report, arg, "%s: direct-apply = no is not possible with an arbiter; "
				"leave it out, or say arbiter = none", v->path);
	if (v->peer_count != 1)
		problems += sense_say(report, arg, "%s: an arbiter decides between this node and one peer, and "
				"there are %zu peers: say arbiter = none, or name one [peer]", v->path,
				v->peer_count);
	for (size_t i = 0; v->arbiter == CONFIG_ARBITER_NODE && i < v->peer_count; i++)
		if (!strcmp(v->peer[i].name, v->arbiter_is))
			problems += sense_say(report, arg, "%s: arbiter = node:%s has a copy of the volume "
					"itself; it must be a third node", v->path, v->arbiter_is);
	return problems;
}

static unsigned int check(const struct config_volume *v, config_report *report, void *arg)
{
	unsigned int problems = 0;

	if (v->stuck_timeout_ms < v->timeout_ms)
		problems += sense_say(report, arg, "%s: stuck-timeout is shorter than timeout; make it at least "
				"%u ms", v->path, v->timeout_ms);
	if (v->device[0] && strcmp(v->device, v->metadata) == 0) {
		sense_say(report, arg,
		    "%s: device and metadata are both %s; leave metadata out when it lies on the device",
		    v->path, v->device);
		problems++;
	}
	return problems;
}

/* An epoch ends a generation, and a third copy would soon be of one that nobody remembers. */
static unsigned int check_rolling(const struct config_volume *v, config_report *report, void *arg)
{
	const struct config_volume_peer *p = v->peer;

	while (p < v->peer + v->peer_count && p->mode != CONFIG_MODE_ROLLING)
		p++;
	if (p == v->peer + v->peer_count)
		return 0;
	/* Between two epochs a copy that keeps up is an interval old, and what sending takes. */
	if (p->lag_bound_ms && p->lag_bound_ms < 2 * p->interval_ms)
		return sense_say(report, arg, "%s:%u: lag-bound is %u ms, and a copy that gets what was written each %u ms is "
				 "older by itself; make it at least twice the interval", v->path, p->line, p->lag_bound_ms,
				 p->interval_ms);
	if (p->throttle && !p->lag_bound_ms)
		return sense_say(report, arg, "%s:%u: on-lag = throttle needs lag-bound: how old the copy may become before "
				 "writes stop; such as lag-bound = 30s", v->path, p->line);
	if (v->arbiter)
		return sense_say(report, arg, "%s:%u: mode = rolling is not possible with an arbiter, which would "
				 "have to grant every epoch; say mode = sync, or arbiter = none", v->path, p->line);
	if (v->on_peer_loss == REPL_LOSS_FREEZE)
		return sense_say(report, arg, "%s:%u: mode = rolling and on-peer-loss = freeze contradict each other: "
				 "writes go on without a rolling peer all the time; leave on-peer-loss out",
				 v->path, p->line);
	if (v->peer_count > 1)
		return sense_say(report, arg, "%s:%u: mode = rolling is possible with one peer only, and there "
				 "are %zu; say mode = sync", v->path, p->line, v->peer_count);
	return 0;
}

unsigned int sense_live(const struct config_volume *v, config_report *report, void *arg)
{
	unsigned int sync = 0;

	for (size_t i = 0; i < v->peer_count; i++)
		if (v->peer[i].mode == CONFIG_MODE_SYNC && ++sync > REPL_LINKS_MAX)
			return sense_say(report, arg, "%s:%u: %s is one peer too many: at most %u can be live; leave it out, or "
					 "another one", v->path, v->peer[i].line, v->peer[i].name, REPL_LINKS_MAX);
	return 0;
}

unsigned int sense_volume(struct config_volume *v, config_report *report, void *arg)
{
	unsigned int problems = settle_arbiter(v, report, arg);

	problems += check(v, report, arg);
	return problems + check_rolling(v, report, arg);
}
