/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ops that the kernel carries out: tickets that are watched, and the pair's cut. */
#ifndef REPL_AGENT_KOPS_H
#define REPL_AGENT_KOPS_H

#include "agent.h"

/**
 * kops_begin - start a command of the kernel
 * @p: NULL: of the volume itself
 *
 * Its ticket is watched; agent_op_done() follows, at once when the kernel refuses.
 */
void kops_begin(struct agent *a, struct volume *v, struct pair *p, const struct op *op);

/** kops_forget - answers for a pair, or with @p NULL for the volume, are dropped from now on */
void kops_forget(struct agent *a, struct volume *v, struct pair *p);

typedef void kops_fn(void *arg, int error, const char *text);

/**
 * kops_ticket - watch a ticket for somebody else
 * @ticket: its descriptor, closed afterwards; negative: an error, told at once
 * @why: the words of that error
 */
void kops_ticket(struct agent *a, int ticket, const char *why, kops_fn *fn, void *arg);

/** kops_cut - OP_CUT */
void kops_cut(struct pair_io *io, const struct op *op);

/** kops_commit - OP_COMMIT */
void kops_commit(struct pair_io *io, const struct op *op);

/** kops_abort - close the pair's cut: its blocks are dirty again */
void kops_abort(struct pair_io *io);

/** kops_exit - let go of all tickets; what they stand for goes on */
void kops_exit(struct agent *a);

#endif /* REPL_AGENT_KOPS_H */
