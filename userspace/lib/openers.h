/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who has a block device open: so that "busy" comes with a name. */
#ifndef REPL_OPENERS_H
#define REPL_OPENERS_H

#include <stddef.h>
#include <sys/types.h>

enum opener_kind {
	OPENER_PROCESS,		/* @pid has it open; @text is its command */
	OPENER_MOUNT,		/* @text is the mount point; @pid lives where it is mounted */
	OPENER_SWAP,
	OPENER_HOLDER,		/* @text is the block device on top: dm-0, md1 */
};

struct opener {
	enum opener_kind kind;
	pid_t pid;
	const char *text;
};

typedef void openers_fn(void *arg, const struct opener *opener);

/**
 * openers_list - find who uses a block device
 * @device: its number
 * @fn: called for each; the calling process itself is left out
 *
 * Looks into every mount namespace, and sees only what the caller may see: as
 * root everything.  A process that comes or goes meanwhile may be missed.
 * Return: how many were found, or a negative errno when /proc cannot be read.
 */
int openers_list(dev_t device, openers_fn *fn, void *arg);

/**
 * openers_describe - one opener in words: "mounted on /var/mail", "open in fio (pid 12)"
 * @text: where to, of @size bytes
 */
void openers_describe(const struct opener *opener, char *text, size_t size);

#endif /* REPL_OPENERS_H */
