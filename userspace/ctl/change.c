// SPDX-License-Identifier: GPL-2.0-or-later
/* repl-ctl up, down, primary, secondary, wait, resize, reload: what the agent does for us. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <jansson.h>

#include "agent.h"
#include "ctl.h"
#include "err.h"
#include "kernel.h"
#include "openers.h"
#include "units.h"

struct change {
	const struct ctl *ctl;
	const char *volume;	/* NULL: the command is about none */
	bool force;
	bool peer_dead;
	const char *wait_for;
	bool has_timeout;
	uint64_t timeout_ms;
	uint64_t size;		/* 0: not given */
};

/* What a sentence is about. */
static const char *subject(const struct change *c)
{
	return c->volume ? c->volume : "agent";
}

/* -- progress -------------------------------------------------------------- */

static int line_width(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col)
		return 79;
	return size.ws_col - 1;
}

/* On a terminal one line that changes; what overrides a protection stays to be read. */
static void show_progress(void *arg, const char *text)
{
	const struct change *c = arg;
	char line[512];

	snprintf(line, sizeof(line), "%s: %s", subject(c), text);
	if (c->force || c->peer_dead)
		fprintf(stderr, "%s\n", line);
	else if (c->ctl->progress)
		fprintf(stderr, "\r\033[K%.*s", line_width(), line);
}

static void clear_progress(const struct change *c)
{
	if (c->ctl->progress && !c->force && !c->peer_dead)
		fputs("\r\033[K", stderr);
}

/* -- openers --------------------------------------------------------------- */

static void print_opener(void *arg, const struct opener *opener)
{
	const struct change *c = arg;
	char text[512];

	openers_describe(opener, text, sizeof(text));
	fprintf(stderr, "  %s: %s\n", c->volume, text);
}

static dev_t device_of(uint32_t minor_number)
{
	unsigned int major_part, minor_part;
	dev_t device = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/repl%u/dev", minor_number);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%u:%u", &major_part, &minor_part) == 2)
		device = makedev(major_part, minor_part);
	fclose(f);
	return device;
}

/* What an open device stands against: leaving it, and a new term while others still hold it from the last one. */
static bool concerns_openers(const char *command)
{
	return strcmp(command, "down") == 0 || strcmp(command, "secondary") == 0 ||
	       strcmp(command, "primary") == 0;
}

/* When a refusal may be somebody's open file: say whose. */
static void name_openers(const struct change *c)
{
	struct kernel_volume v;
	struct kernel *k;
	int known = 0;
	dev_t device;

	if (!concerns_openers(c->ctl->command))
		return;
	if (kernel_open(&k, NULL))
		return;
	if (kernel_get(k, c->volume, &v, NULL) == 0 && v.openers) {
		device = device_of(v.minor);
		if (device)
			known = openers_list(device, print_opener, (void *)c);
		if (known <= 0)
			fprintf(stderr, "  %s: open %u times, by nobody that can be seen from here\n",
				c->volume, v.openers);
	}
	kernel_close(k);
}

/* -- asking ---------------------------------------------------------------- */

static json_t *build_request(const struct change *c)
{
	json_t *request = json_pack("{s:s, s:s*, s:b, s:b}", "cmd", c->ctl->command,
				    "volume", c->volume, "force", c->force,
				    "peer_dead", c->peer_dead);

	if (c->wait_for)
		json_object_set_new(request, "for", json_string(c->wait_for));
	if (c->size)
		json_object_set_new(request, "size", json_integer((json_int_t)c->size));
	if (c->has_timeout)
		json_object_set_new(request, "timeout",
				    json_integer((c->timeout_ms + 999) / 1000));
	return request;
}

/* The agent may begin with the name that stands before its words here. */
static const char *answer_text(const struct change *c, const json_t *answer)
{
	const char *text = json_string_value(json_object_get(answer, "text"));
	size_t length = c->volume ? strlen(c->volume) : 0;

	if (text && length && strncmp(text, c->volume, length) == 0 &&
	    strncmp(text + length, ": ", 2) == 0)
		text += length + 2;
	return text;
}

static int take_answer(const struct change *c, json_t *answer)
{
	const char *text = answer_text(c, answer);

	if (json_is_true(json_object_get(answer, "ok"))) {
		if (text && *text)
			printf("%s: %s\n", subject(c), text);
		return CTL_DONE;
	}
	ctl_complain("%s: %s", subject(c), text ? text : "refuses and gives no reason");
	if (c->volume)
		name_openers(c);
	return json_integer_value(json_object_get(answer, "code")) == CTL_USAGE ? CTL_USAGE :
									       CTL_FAILED;
}

static int make_change(struct change *c)
{
	json_t *request = build_request(c);
	json_t *answer;
	struct err e;
	int ret;

	if (!request)
		return ctl_complain("%s: this is no text that can be sent as a name", subject(c));
	ret = agent_ask(c->ctl->config_dir, request, 0, show_progress, c, &answer, &e);
	json_decref(request);
	clear_progress(c);
	if (ret)
		return ctl_complain("%s: %s", subject(c), e.text);
	ret = take_answer(c, answer);
	json_decref(answer);
	return ret;
}

/* -- command lines --------------------------------------------------------- */

enum allowed {
	ALLOW_FORCE	= 1 << 0,
	ALLOW_PEER_DEAD	= 1 << 1,
	ALLOW_WAIT	= 1 << 2,
	ALLOW_SEVERAL	= 1 << 3,
	ALLOW_SIZE	= 1 << 4,
};

/* "30" are seconds. */
static int parse_timeout(const char *text, uint64_t *ms)
{
	char *end;

	if (text[strspn(text, "0123456789")])
		return units_parse_duration(text, ms);
	errno = 0;
	*ms = strtoull(text, &end, 10);
	return errno || !*text || __builtin_mul_overflow(*ms, 1000, ms) ? -EINVAL : 0;
}

static bool is_condition(const char *text)
{
	return strcmp(text, "connected") == 0 || strcmp(text, "in-sync") == 0 ||
	       strcmp(text, "primary") == 0 || strcmp(text, "secondary") == 0;
}

static int parse_option(struct change *c, int id, unsigned int allowed, char **argv)
{
	if (id == 'f' && (allowed & ALLOW_FORCE)) {
		c->force = true;
	} else if (id == 'd' && (allowed & ALLOW_PEER_DEAD)) {
		c->peer_dead = true;
	} else if (id == 'w' && (allowed & ALLOW_WAIT)) {
		c->wait_for = optarg;
		if (!is_condition(optarg))
			return ctl_misuse(c->ctl, "--for %s: connected, in-sync, primary or secondary is expected",
					  optarg);
	} else if (id == 's' && (allowed & ALLOW_SIZE)) {
		if (units_parse_size(optarg, &c->size) || !c->size)
			return ctl_misuse(c->ctl, "--size %s: bytes, or a number with K, M, G or T is expected",
					  optarg);
	} else if (id == 't' && (allowed & ALLOW_WAIT)) {
		c->has_timeout = true;
		if (parse_timeout(optarg, &c->timeout_ms))
			return ctl_misuse(c->ctl, "--timeout %s: a number of seconds is expected", optarg);
	} else {
		return ctl_misuse(c->ctl, id == ':' ? "%s needs a value" : "unknown option %s",
				  argv[optind - 1]);
	}
	return CTL_DONE;
}

static int run_change(const struct ctl *ctl, int argc, char **argv, unsigned int allowed)
{
	static const struct option table[] = {
		{ "force", no_argument, NULL, 'f' },
		{ "peer-dead", no_argument, NULL, 'd' },
		{ "for", required_argument, NULL, 'w' },
		{ "timeout", required_argument, NULL, 't' },
		{ "size", required_argument, NULL, 's' },
		{}
	};
	struct change c = { .ctl = ctl };
	int id, worst = CTL_DONE;

	while ((id = getopt_long(argc, argv, ":", table, NULL)) >= 0) {
		if (parse_option(&c, id, allowed, argv))
			return CTL_USAGE;
	}
	if (c.force && c.peer_dead)
		return ctl_misuse(ctl, "--force and --peer-dead exclude each other");
	if ((allowed & ALLOW_WAIT) && !c.wait_for)
		return ctl_misuse(ctl, "--for is missing: what shall be waited for?");
	if (optind == argc)
		return ctl_misuse(ctl, "name a volume");
	if (argc - optind > 1 && !(allowed & ALLOW_SEVERAL))
		return ctl_misuse(ctl, "exactly one volume is expected");
	for (; optind < argc; optind++) {
		int ret;

		c.volume = argv[optind];
		ret = make_change(&c);
		if (ret)
			worst = ret;
	}
	return worst;
}

int ctl_up(const struct ctl *ctl, int argc, char **argv)
{
	return run_change(ctl, argc, argv, ALLOW_SEVERAL);
}

int ctl_down(const struct ctl *ctl, int argc, char **argv)
{
	return run_change(ctl, argc, argv, ALLOW_SEVERAL | ALLOW_FORCE);
}

int ctl_primary(const struct ctl *ctl, int argc, char **argv)
{
	return run_change(ctl, argc, argv, ALLOW_FORCE | ALLOW_PEER_DEAD);
}

int ctl_secondary(const struct ctl *ctl, int argc, char **argv)
{
	return run_change(ctl, argc, argv, ALLOW_SEVERAL | ALLOW_FORCE);
}

int ctl_wait(const struct ctl *ctl, int argc, char **argv)
{
	return run_change(ctl, argc, argv, ALLOW_WAIT);
}

int ctl_resize(const struct ctl *ctl, int argc, char **argv)
{
	return run_change(ctl, argc, argv, ALLOW_SIZE);
}

int ctl_reload(const struct ctl *ctl, int argc, char **argv)
{
	struct change c = { .ctl = ctl };

	if (argc > 1)
		return ctl_misuse(ctl, "%s: no argument is expected", argv[1]);
	return make_change(&c);
}

/* -- without the agent ----------------------------------------------------- */

/* A new generation is written here and by each live peer: seconds, where a disk is slow. */
#define RESUME_WAIT_MS 60000

/* The way out that needs neither agent nor arbiter. */
static int fail_writes(struct kernel *k, const struct kernel_volume *v, const char *name)
{
	struct err e;

	if (kernel_ticket_wait(kernel_role(k, v->minor, REPL_ROLE_SECONDARY, REPL_F_FORCE, NULL, &e),
			       RESUME_WAIT_MS, &e))
		return ctl_complain("%s: %s", name, e.text);
	printf("%s: what waited has failed, and it is secondary now\n", name);
	return CTL_DONE;
}

static int resume(struct kernel *k, const char *name, bool fail)
{
	struct kernel_volume v;
	struct err e;

	if (kernel_get(k, name, &v, &e))
		return ctl_complain("%s: %s", name, e.text);
	if (!(v.gate & (REPL_GATE_PEER_LOST | REPL_GATE_DISK)) || v.role != REPL_ROLE_PRIMARY) {
		printf("%s: writes are not frozen by a lost peer; nothing to do\n", name);
		return CTL_DONE;
	}
	if (fail)
		return fail_writes(k, &v, name);
	if (v.on_peer_loss == REPL_LOSS_ARBITER)
		return ctl_complain("%s: it has an arbiter, which alone lets it go on: see repl-ctl status; to let "
				    "what waits fail instead, and make this node secondary, say --fail", name);
	if (kernel_ticket_wait(kernel_resume(k, v.minor, NULL, &e), RESUME_WAIT_MS, &e))
		return ctl_complain("%s: %s", name, e.text);
	printf("%s: goes on without the lost peer; what it misses is sent when it is back\n", name);
	return CTL_DONE;
}

int ctl_resume(const struct ctl *ctl, int argc, char **argv)
{
	struct kernel *k;
	struct err e;
	int ret;

	static const struct option table[] = {
		{ "fail", no_argument, NULL, 'f' },
		{}
	};
	bool fail = false;
	int id;

	while ((id = getopt_long(argc, argv, ":", table, NULL)) >= 0) {
		if (id != 'f')
			return ctl_misuse(ctl, "unknown option %s", argv[optind - 1]);
		fail = true;
	}
	if (argc - optind != 1)
		return ctl_misuse(ctl, "exactly one volume is expected");
	if (kernel_open(&k, &e))
		return ctl_complain("%s: %s", argv[optind], e.text);
	ret = resume(k, argv[optind], fail);
	kernel_close(k);
	return ret;
}
