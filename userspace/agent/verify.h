/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Comparing two copies that are in sync and written to.  Part of the core; judge.h argues
 * why there is no false alarm.
 *
 *	this side (primary, or no side is)	the peer
 *	a slot for the mark; digests opened
 *	VERIFY, BEGIN ->			<- READY
 *	cut of the mark
 *	DIGESTS ... ->				reads its own blocks; <- WANT: these differ
 *	cut of the mark: what was written meanwhile is not judged
 *	... the next pass, the next window ...
 *	VERIFY, END ->
 *
 * It lives in PHASE_LIVE alone: whatever ends that, ends it, in words, and nothing has
 * changed.  No writer is held but for the barrier, and for the few blocks that are written
 * all the time; at most for join-limit.
 *
 * A repair is no way of its own: the link is dropped, the blocks are marked for the peer, and
 * the pair catches up as after any loss.  So a crash in between leaves at worst what was.
 */
#ifndef REPL_AGENT_VERIFY_H
#define REPL_AGENT_VERIFY_H

#include "core.h"

/** verify_end - whatever is compared with this peer, for either side, is given up; @fmt says why */
void verify_end(struct pair *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** verify_left - the pair is not in sync any more; a repair wants it so */
void verify_left(struct pair *p, const char *why);

/** verify_heard - a VERIFY; @text of @length bytes are its words */
void verify_heard(struct pair *p, const struct msg_verify *m, const void *text, size_t length);

void verify_snapshot(struct pair *p);	/* in PHASE_LIVE */
void verify_op_done(struct pair *p, enum op_kind kind, const struct op_result *r);
void verify_live(struct pair *p);	/* the pair is in sync, again */
void verify_tick(struct pair *p);

/** verify_unlinked - a link was dropped. Return: whether it was for a repair, which goes on. */
bool verify_unlinked(struct pair *p, const struct op_result *r);

/** verify_percent - of the volume compared; -1: nothing is under way */
int verify_percent(const struct pair *p);

/** verify_free - the volume goes away */
void verify_free(struct pair *p);

#endif /* REPL_AGENT_VERIFY_H */
