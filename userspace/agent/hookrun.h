/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs the programs of a hooks directory, one after the other, in a process of its own.
 * docs/man/repl-agent.8 tells what they get.
 */
#ifndef REPL_AGENT_HOOKRUN_H
#define REPL_AGENT_HOOKRUN_H

#include <stdint.h>

enum {
	HOOKRUN_TIMEOUT_MS	= 30000,	/* for each program, then SIGTERM */
	HOOKRUN_GRACE_MS	= 5000,		/* then SIGKILL */
};

struct hookrun {
	const char *dir;
	char **argv;		/* of each program; argv[0] is set to its path, the last one is NULL */
	uint64_t timeout_ms, grace_ms;
};

/**
 * hookrun_plain - give up what the agent needs and no program of others should have
 *
 * Capabilities, the place above the killer of processes, and the mark of being needed for
 * writing.  Lines on standard output say what could not be given up.
 */
void hookrun_plain(void);

/**
 * hookrun - run all; "NAME: LINE" on standard output is what they print, and how they fail
 * Return: how many failed, or could not be run; a directory that is not there has none.
 */
int hookrun(const struct hookrun *h);

#endif /* REPL_AGENT_HOOKRUN_H */
