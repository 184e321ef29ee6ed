/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A volume with an arbiter: no generation begins that the register does not read.  Part of
 * the core; register.h has the register's rule.
 *
 * Who asks has noted durably what it wants before, and asks for nothing else until there is
 * an answer.  What makes it safe, with one peer:
 *
 *   - a copy that is consistent and of generation G holds every write that was completed in
 *     G, and only such a copy asks, expecting G;
 *   - a primary that has lost its peer completes nothing (REPL_LOSS_ARBITER) before it has
 *     begun a generation that the register reads, or the peer is live again in the same one;
 *   - a secondary that wants to be primary has closed its link before it asks, and joins
 *     nobody before it has an answer.
 *
 * So from G goes on who was granted, alone, and with all that was completed in it.  The other
 * one is denied: a frozen primary then fails the I/O that waits, and is demoted.
 *
 * When an answer came is of no account, nor is a clock: a grant that nobody has used is as
 * good after a year.
 */
#ifndef REPL_AGENT_ARBITER_H
#define REPL_AGENT_ARBITER_H

#include "core.h"

/** arbiter_promote - the task's command: become primary, once the arbiter has granted it */
void arbiter_promote(struct volume *v);

/** arbiter_snapshot - the kernel was read: the next step */
void arbiter_snapshot(struct volume *v);

/** arbiter_op_done - Return: whether the op was the arbiter's */
bool arbiter_op_done(struct volume *v, enum op_kind kind, const struct op_result *r);

void arbiter_tick(struct volume *v);

/** arbiter_deadline - when arbiter_tick() is due; 0: never */
uint64_t arbiter_deadline(const struct volume *v);

/**
 * arbiter_binds - this copy may join nobody before there is an answer, or it is used
 * Return: why, for status; NULL: it may.
 */
const char *arbiter_binds(const struct volume *v);

/** arbiter_words - what the arbiter is waited for, to follow its name: "has been asked ..."; "" when it is nothing */
void arbiter_words(const struct volume *v, char *text, size_t size);

#endif /* REPL_AGENT_ARBITER_H */
