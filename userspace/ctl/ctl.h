/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the subcommands of repl-ctl share. */
#ifndef REPL_CTL_H
#define REPL_CTL_H

#include <stdbool.h>

enum ctl_exit {
	CTL_DONE	= 0,
	CTL_FAILED	= 1,
	CTL_USAGE	= 2,
	CTL_DEGRADED	= 3,	/* status --check */
	CTL_DOWN	= 4,	/* status --check */
};

struct ctl {
	const char *config_dir;
	const char *command;	/* the subcommand's name */
	bool colour;		/* on standard output */
	bool progress;		/* standard error is a terminal */
};

/*
 * Each takes what follows its name on the command line, argv[0] being the name,
 * and returns an enum ctl_exit.
 */
int ctl_up(const struct ctl *ctl, int argc, char **argv);
int ctl_down(const struct ctl *ctl, int argc, char **argv);
int ctl_primary(const struct ctl *ctl, int argc, char **argv);
int ctl_secondary(const struct ctl *ctl, int argc, char **argv);
int ctl_switch(const struct ctl *ctl, int argc, char **argv);
int ctl_wait(const struct ctl *ctl, int argc, char **argv);
int ctl_resize(const struct ctl *ctl, int argc, char **argv);
int ctl_peer(const struct ctl *ctl, int argc, char **argv);
int ctl_replace(const struct ctl *ctl, int argc, char **argv);
int ctl_reload(const struct ctl *ctl, int argc, char **argv);
int ctl_resume(const struct ctl *ctl, int argc, char **argv);
int ctl_status(const struct ctl *ctl, int argc, char **argv);
int ctl_check(const struct ctl *ctl, int argc, char **argv);
int ctl_role(const struct ctl *ctl, int argc, char **argv);
int ctl_resolve(const struct ctl *ctl, int argc, char **argv);
int ctl_mark(const struct ctl *ctl, int argc, char **argv);
int ctl_backup(const struct ctl *ctl, int argc, char **argv);
int ctl_verify(const struct ctl *ctl, int argc, char **argv);
int ctl_restore(const struct ctl *ctl, int argc, char **argv);
int ctl_monitor(const struct ctl *ctl, int argc, char **argv);
int ctl_witness(const struct ctl *ctl, int argc, char **argv);
int ctl_genkey(const struct ctl *ctl, int argc, char **argv);
int ctl_pubkey(const struct ctl *ctl, int argc, char **argv);

/** ctl_complain - "repl-ctl: SENTENCE" on standard error. Return: CTL_FAILED. */
int ctl_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** ctl_misuse - the same, and where to read more. Return: CTL_USAGE. */
int ctl_misuse(const struct ctl *ctl, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif /* REPL_CTL_H */
