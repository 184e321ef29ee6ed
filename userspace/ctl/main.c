// SPDX-License-Identifier: GPL-2.0-or-later
/* repl-ctl: what a person or a failover script types. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "ctl.h"

static const struct subcommand {
	const char *name;
	const char *arguments;
	const char *help;
	int (*run)(const struct ctl *ctl, int argc, char **argv);
} subcommands[] = {
	{ "status", "[VOLUME] [--json] [--check] [--all-nodes]",
	  "Show volumes, their peers, and what to do about whatever is wrong; --all-nodes: as other nodes see theirs.",
	  ctl_status },
	{ "check", "[VOLUME]",
	  "The same as status --check: exit 0 healthy, 3 degraded, 4 down.", ctl_check },
	{ "role", "VOLUME",
	  "Print one word: primary, secondary or down.", ctl_role },
	{ "up", "VOLUME...",
	  "Bring volumes up as secondary and connect to their peers.", ctl_up },
	{ "down", "VOLUME... [--force]",
	  "Take volumes down; with --force fail the I/O that is outstanding.", ctl_down },
	{ "primary", "VOLUME [--peer-dead|--force]",
	  "Make this node the one that uses the volume.", ctl_primary },
	{ "secondary", "VOLUME... [--force]",
	  "Stop using volumes here, so that a peer may.", ctl_secondary },
	{ "switch", "VOLUME --to NODE [--check]",
	  "Hand a volume and what stands on it to another node; --check: only say whether it would work.",
	  ctl_switch },
	{ "wait", "VOLUME --for connected|in-sync|primary|secondary [--timeout S]",
	  "Wait until the peers are connected or in sync, or this node has a role.", ctl_wait },
	{ "resize", "VOLUME [--size SIZE]",
	  "Grow a volume on all nodes, into devices that were made larger below it.", ctl_resize },
	{ "peer", "add VOLUME NODE [--mode MODE] | remove VOLUME NODE [--force]",
	  "Give a volume one more copy on another node, or one less, while it is in use.", ctl_peer },
	{ "replace", "VOLUME [--device DEVICE] [--metadata DEVICE] [--force]",
	  "Put another disk in the place of one that has failed, while the volume is in use.",
	  ctl_replace },
	{ "resume", "VOLUME [--fail]",
	  "Go on without a lost peer when writes are frozen; with --fail, fail them. Needs no agent.",
	  ctl_resume },
	{ "witness", "add VOLUME UUID GENERATION [--force] | remove VOLUME|UUID | list [--json]",
	  "Be the arbiter of a volume whose copies are on other nodes, or no longer.", ctl_witness },
	{ "reload", "",
	  "Make the agent read its configuration again.", ctl_reload },
	{ "monitor", "[VOLUME] [--json]",
	  "Print a line for everything that happens, until interrupted.", ctl_monitor },
	{ "resolve", "VOLUME [--keep NODE [--yes] [--save-to DIR | --no-save --force]]",
	  "Show what each side of a split would lose; with --keep, end it.", ctl_resolve },
	{ "mark", "add|list|remove|commit VOLUME [NAME] [--json]",
	  "Marks remember what has changed since a backup; commit: what went into a pipe is safe.",
	  ctl_mark },
	{ "backup", "VOLUME [--since MARK] [--mark NEW] [--output FILE [--force] [--json]] [--hold TIME]\n"
	  "         | --list FILE...",
	  "Write a volume in use, or what has changed since a mark, as a stream of one instant.",
	  ctl_backup },
	{ "verify", "VOLUME [--peer NODE] [--repair FROM-NODE] [--json] | VOLUME --stop",
	  "Compare the copies while they are written to; with --repair make those blocks equal.",
	  ctl_verify },
	{ "scrub", "VOLUME [--peer NODE] [--json] | VOLUME --stop",
	  "The same, and say which side's blocks have changed since the last verify.", ctl_verify },
	{ "restore", "FILE...|- DEVICE|FILE [--force] | --list FILE...|-",
	  "Write the blocks that streams hold; --list only verifies them and says what they hold.",
	  ctl_restore },
	{ "genkey", "[FILE]",
	  "Make this node's private key; with FILE, print its public key.", ctl_genkey },
	{ "pubkey", "[FILE]",
	  "Print the public key of the private key in FILE or on standard input.", ctl_pubkey },
	{}
};

static void print_usage(FILE *to)
{
	const struct subcommand *s;

	fputs("usage: repl-ctl [--config DIR] COMMAND [ARGUMENT...]\n\n", to);
	for (s = subcommands; s->name; s++)
		fprintf(to, "  %s %s\n      %s\n", s->name, s->arguments, s->help);
	fprintf(to, "\n  --config DIR  where the configuration lies (default %s)\n"
		"  --help        show this; after a command, only that command\n\n"
		"Exit status: 0 done, 1 refused or failed, 2 usage.\n", CONFIG_DIR);
}

int ctl_complain(const char *fmt, ...)
{
	va_list args;

	/* What was printed so far belongs before it. */
	fflush(stdout);
	fputs("repl-ctl: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return CTL_FAILED;
}

int ctl_misuse(const struct ctl *ctl, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "repl-ctl %s: ", ctl->command);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "; see repl-ctl %s --help\n", ctl->command);
	return CTL_USAGE;
}

static bool want_colour(void)
{
	const char *term = getenv("TERM");
	const char *none = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && !(none && *none) && term && strcmp(term, "dumb") != 0;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	}
	return false;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	const struct subcommand *s = subcommands;

	while (s->name && strcmp(s->name, argv[0]) != 0)
		s++;
	if (!s->name) {
		fprintf(stderr, "repl-ctl: unknown command %s; see repl-ctl --help\n", argv[0]);
		return CTL_USAGE;
	}
	if (asks_for_help(argc, argv)) {
		printf("usage: repl-ctl %s%s%s\n%s\n", s->name, *s->arguments ? " " : "", s->arguments,
		       s->help);
		return CTL_DONE;
	}
	ctl->command = s->name;
	return s->run(ctl, argc, argv);
}

int main(int argc, char **argv)
{
	struct ctl ctl = {
		.config_dir = CONFIG_DIR,
		.colour = want_colour(),
		.progress = isatty(STDERR_FILENO),
	};
	int at = 1;
	int ret;

	for (; at < argc && argv[at][0] == '-'; at++) {
		if (strcmp(argv[at], "--config") == 0 && at + 1 < argc) {
			ctl.config_dir = argv[++at];
		} else if (strncmp(argv[at], "--config=", 9) == 0) {
			ctl.config_dir = argv[at] + 9;
		} else if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
			print_usage(stdout);
			return CTL_DONE;
		} else {
			fprintf(stderr, "repl-ctl: unknown option %s; see repl-ctl --help\n", argv[at]);
			return CTL_USAGE;
		}
	}
	if (at == argc) {
		print_usage(stderr);
		return CTL_USAGE;
	}
	ret = run(&ctl, argc - at, argv + at);
	if (fflush(stdout) == EOF && ret == CTL_DONE) {
		perror("repl-ctl: standard output");
		return CTL_FAILED;
	}
	return ret;
}
