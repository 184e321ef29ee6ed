/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACTION_ASK: a volume's arbiter is asked, a witness over a connection of its own, or a
 * program.  What is asked is noted durably first.  One question of a volume at a time; each
 * ends with core_answered(), unless another one takes its place.
 *
 * A program is run as
 *
 *	PATH VOLUME UUID EXPECT WANT NODE
 *
 * and grants with 0, denies with 1; any other end, or none within ASK_COMMAND_MS, is no
 * answer, and it is run again for the same.
 */
#ifndef REPL_AGENT_ASK_H
#define REPL_AGENT_ASK_H

#include "agent.h"

struct ask;

enum ask_limits {
	ASK_COMMAND_MS	= 60000,
	ASK_WORDS_MAX	= 300,		/* of what a program prints */
};

/** ask_start - @expect and @want the same: only whether it reads so, and nothing is noted */
void ask_start(struct agent *a, struct volume *v, const struct repl_id *expect,
	       const struct repl_id *want);

/** ask_done - ACTION_ASKED: the note goes */
void ask_done(struct volume *v);

/** ask_found - before core_start(): what was noted and never answered */
void ask_found(struct volume *v, const struct kernel_volume *k);

/** ask_stop - the volume goes; its note stays */
void ask_stop(struct volume *v);

/* For greet.c. */
const struct core_peer *ask_peer(const struct ask *k);
void ask_message(struct conn *c, const struct msg_header *h, const void *body);
void ask_failed(struct ask *k, const char *why);

/** ask_tick - deadlines */
void ask_tick(struct agent *a);
uint64_t ask_deadline(const struct agent *a);

#endif /* REPL_AGENT_ASK_H */
