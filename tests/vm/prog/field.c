// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * field NETNS CONFIG_DIR VOLUME PATH [VALUE SECONDS] - one value of what repl-ctl status --json prints.
 *
 * PATH is such as .peers[0].reason or .peers[name=b].state. With VALUE it waits until that is the value, or, of one that
 * begins with ~, until the value matches the rest as an extended regular expression; it prints the value, and fails when
 * SECONDS have passed. In place of repl-ctl and jq, of which every call costs an emulated processor half a second
 * before it looks at anything.
 *
 * link: static
 * needs: userspace/ctl/agent.c userspace/ctl/edit.c userspace/ctl/explain.c userspace/ctl/report.c userspace/ctl/view.c
 */
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "../../../userspace/ctl/report.h"
#include "../../../userspace/ctl/view.h"

enum {
	PATH_MAX_BYTES	= 256,
	EVERY_MS	= 50,
};

static void die(const char *what, const char *of)
{
	fprintf(stderr, "field: %s: %s\n", of, what);
	exit(2);
}

/* Of an array, the element that a selector such as 0 or name=b means. */
static json_t *element(json_t *array, char *selector)
{
	char *value = strchr(selector, '=');
	size_t i;
	json_t *o;

	if (!value)
		return json_array_get(array, strtoul(selector, NULL, 10));
	*value++ = '\0';
	json_array_foreach(array, i, o) {
		const char *text = json_string_value(json_object_get(o, selector));

		if (text && !strcmp(text, value))
			return o;
	}
	return NULL;
}

static json_t *find(json_t *o, const char *path)
{
	char copy[PATH_MAX_BYTES], *save, *selector;

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *step = strtok_r(copy, ".", &save); step && o; step = strtok_r(NULL, ".", &save)) {
		selector = strchr(step, '[');
		if (selector)
			*selector++ = '\0';
		o = json_object_get(o, step);
		if (selector)
			o = element(o, strtok(selector, "]"));
	}
	return o;
}

/* As jq -r prints it. */
static char *text_of(json_t *value)
{
	char *text = !value || json_is_null(value) ? strdup("null") :
		     json_is_string(value) ? strdup(json_string_value(value)) :
		     json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

	if (!text)
		die("out of memory", "a value");
	return text;
}

static char *look(const char *config_dir, const char *volume, const char *path)
{
	static struct view v;
	char *text = NULL;
	json_t *root, *o;
	size_t i;

	if (view_open(&v, config_dir, volume))
		die("out of memory", config_dir);
	root = report_view(&v);
	if (!root)
		die("out of memory", config_dir);
	json_array_foreach(json_object_get(root, "volumes"), i, o) {
		if (!strcmp(json_string_value(json_object_get(o, "name")), volume))
			text = text_of(find(o, path));
	}
	json_decref(root);
	view_close(&v);
	return text ? text : strdup("");
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int wait_until(char **argv, const char *want, double seconds)
{
	double end = now() + seconds;
	regex_t re;
	char *got;

	if (*want == '~' && regcomp(&re, want + 1, REG_EXTENDED | REG_NOSUB))
		die("no regular expression", want);
	for (;;) {
		got = look(argv[2], argv[3], argv[4]);
		if (*want == '~' ? !regexec(&re, got, 0, NULL, 0) : !strcmp(got, want)) {
			puts(got);
			return 0;
		}
		if (now() >= end)
			break;
		free(got);
		usleep(EVERY_MS * 1000);
	}
	fprintf(stderr, "%s is %s, not %s\n", argv[4], got, want);
	return 1;
}

int main(int argc, char **argv)
{
	int net;

	if (argc != 5 && argc != 7)
		die("give NETNS CONFIG_DIR VOLUME PATH [VALUE SECONDS]", "arguments");
	net = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (net < 0 || setns(net, CLONE_NEWNET))
		die(strerror(errno), argv[1]);
	if (argc == 7)
		return wait_until(argv, argv[5], atof(argv[6]));
	puts(look(argv[2], argv[3], argv[4]));
	return 0;
}
