/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A ticket: how a command that takes time tells its end.  One reference belongs
 * to the command, one to the file descriptor; either may go first.
 */
#ifndef REPL_TICKET_H
#define REPL_TICKET_H

#include <linux/compiler_attributes.h>
#include <linux/errno.h>
#include <uapi/linux/repl.h>

struct ticket;

/* Why something was refused, in words; empty as long as nothing was. */
struct why {
	char text[REPL_TEXT_BYTES];
};

__printf(3, 4) int why_set(struct why *why, int error, const char *fmt, ...);

struct ticket *ticket_create(void);
int ticket_install(struct ticket *ticket);
void ticket_finish(struct ticket *ticket, int error, const struct why *why);

#endif /* REPL_TICKET_H */
