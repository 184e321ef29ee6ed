// SPDX-License-Identifier: GPL-2.0-or-later
/* repl-ctl verify, scrub: what the agents compare, and what they have found. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "agent.h"
#include "ctl.h"
#include "err.h"
#include "units.h"

enum { STATUS_MS = 5000, RANGES_SHOWN = 20 };

struct options {
	const struct ctl *ctl;
	const char *volume, *peer, *repair;
	bool json, stop;
	struct timespec began;
};

static void show_progress(void *arg, const char *text)
{
	const struct options *o = arg;
	struct winsize size;
	int width = 79;

	if (!o->ctl->progress)
		return;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
		width = size.ws_col - 1;
	fprintf(stderr, "\r\033[K%.*s", width, text);
}

static json_t *find(const json_t *list, const char *name)
{
	json_t *object;
	size_t i;

	json_array_foreach(list, i, object) {
		const char *text = json_string_value(json_object_get(object, "name"));

		if (text && strcmp(text, name) == 0)
			return object;
	}
	return NULL;
}

/* Of the peers, the one that was compared last: with one volume there is one at a time. */
static json_t *newest(const json_t *peers, const char *name)
{
	json_t *object, *best = NULL;
	double least = 0;
	size_t i;

	if (name)
		return find(peers, name);
	json_array_foreach(peers, i, object) {
		const json_t *age = json_object_get(json_object_get(object, "verify"), "age_ms");

		if (json_is_number(age) && (!best || json_number_value(age) < least)) {
			best = object;
			least = json_number_value(age);
		}
	}
	return best;
}

/* What was refused leaves an older result as it was: that is none of this command. */
static json_t *fresh(const struct options *o, json_t *peer)
{
	json_t *verify = json_object_get(peer, "verify");
	const json_t *age = json_object_get(verify, "age_ms");
	struct timespec now;
	double ms;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (double)(now.tv_sec - o->began.tv_sec) * 1000 +
	     (double)(now.tv_nsec - o->began.tv_nsec) / 1000000;
	return json_is_number(age) && json_number_value(age) <= ms ? verify : NULL;
}

static void print_ranges(const json_t *list)
{
	json_t *range;
	size_t i;

	json_array_foreach(list, i, range) {
		const char *side = json_string_value(json_object_get(range, "changed_on"));

		if (i == RANGES_SHOWN) {
			printf("  and %zu more: see repl-ctl status --json\n", json_array_size(list) - i);
			break;
		}
		printf("  %lld bytes at %lld differ%s%s\n",
		       (long long)json_integer_value(json_object_get(range, "length")),
		       (long long)json_integer_value(json_object_get(range, "offset")),
		       side ? "; changed on " : "", side ? side : "");
	}
}

/* What the agent keeps: as JSON all of it, for a person the ranges. */
static int print_found(const struct options *o, json_t *answer)
{
	json_t *request = json_pack("{s:s, s:s}", "cmd", "status", "volume", o->volume);
	json_t *status = NULL, *peer, *root;
	struct err e;
	int ret = CTL_DONE;

	if (!request || agent_ask(o->ctl->config_dir, request, STATUS_MS, NULL, NULL, &status, &e)) {
		json_decref(request);
		return ctl_complain("%s: %s", o->volume, request ? e.text : "out of memory");
	}
	json_decref(request);
	peer = newest(json_object_get(find(json_object_get(status, "volumes"), o->volume), "peers"),
		      o->peer);
	if (o->json) {
		root = json_pack("{s:s, s:O, s:O?, s:O?, s:O?}", "volume", o->volume,
				 "ok", json_object_get(answer, "ok"), "text", json_object_get(answer, "text"),
				 "peer", json_object_get(peer, "name"),
				 "verify", fresh(o, peer));
		if (!root || json_dumpf(root, stdout, JSON_INDENT(2)))
			ret = ctl_complain("standard output: cannot write");
		else
			putchar('\n');
		json_decref(root);
	} else {
		print_ranges(json_object_get(fresh(o, peer), "ranges"));
	}
	json_decref(status);
	return ret;
}

static int run(struct options *o)
{
	json_t *request = json_pack("{s:s, s:s, s:s*, s:s*, s:b}", "cmd", o->ctl->command,
				    "volume", o->volume, "peer", o->peer, "repair", o->repair,
				    "stop", o->stop);
	json_t *answer = NULL;
	const char *text;
	struct err e;
	bool ok;
	int ret;

	clock_gettime(CLOCK_MONOTONIC, &o->began);
	if (!request)
		return ctl_complain("%s: this is no text that can be sent as a name", o->volume);
	ret = agent_ask(o->ctl->config_dir, request, 0, show_progress, o, &answer, &e);
	json_decref(request);
	if (o->ctl->progress)
		fputs("\r\033[K", stderr);
	if (ret)
		return ctl_complain("%s: %s", o->volume, e.text);
	ok = json_is_true(json_object_get(answer, "ok"));
	text = json_string_value(json_object_get(answer, "text"));
	if (ok && !o->json)
		printf("%s\n", text ? text : "");
	else if (!o->json)
		ctl_complain("%s", text ? text : "the agent refuses and gives no reason");
	if (!o->stop && (o->json || !ok))
		ret = print_found(o, answer);
	json_decref(answer);
	return ok ? ret : CTL_FAILED;
}

int ctl_verify(const struct ctl *ctl, int argc, char **argv)
{
	static const struct option table[] = {
		{ "peer", required_argument, NULL, 'p' },
		{ "repair", required_argument, NULL, 'r' },
		{ "json", no_argument, NULL, 'j' },
		{ "stop", no_argument, NULL, 's' },
		{}
	};
	bool scrub = strcmp(ctl->command, "scrub") == 0;
	struct options o = { .ctl = ctl };
	int id;

	while ((id = getopt_long(argc, argv, ":", table, NULL)) >= 0) {
		if (id == 'p')
			o.peer = optarg;
		else if (id == 'r' && !scrub)
			o.repair = optarg;
		else if (id == 'j')
			o.json = true;
		else if (id == 's')
			o.stop = true;
		else
			return ctl_misuse(ctl, id == ':' ? "%s needs a value" : "unknown option %s",
					  argv[optind - 1]);
	}
	if (argc - optind != 1)
		return ctl_misuse(ctl, "exactly one volume is expected");
	if (o.stop && (o.peer || o.repair || o.json))
		return ctl_misuse(ctl, "--stop goes with nothing else");
	o.volume = argv[optind];
	return run(&o);
}
