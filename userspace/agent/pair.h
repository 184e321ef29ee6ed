/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One volume and one peer: the order of events between two agents.  Part of the core.
 *
 *	pair.c		meeting: look at the kernel, tell the peer, judge, live
 *	lead.c		the leader's side of copying and joining
 *	follow.c	the follower's
 *	resolve.c	ending a split: the loser saves, then follows
 *
 * A procedure (leading or following) has a turn number.  Leaving it raises the
 * number, so that answers of its ops no longer move anything; the next one begins
 * only when none of them is under way any more.
 *
 * STATE is the way out for both: a side that leaves says STATE, and the other side,
 * hearing it inside a procedure, leaves too.  Messages of a procedure that was left
 * may still be on their way; they are passed over.
 */
#ifndef REPL_AGENT_PAIR_H
#define REPL_AGENT_PAIR_H

#include "core.h"

void pair_session_open(struct pair *p);
void pair_session_lost(struct pair *p, const char *why);
void pair_message(struct pair *p, const struct msg_header *h, const void *body);
void pair_snapshot(struct pair *p);
void pair_tick(struct pair *p);
void pair_op_done(struct pair *p, enum op_kind kind, uint32_t turn, const struct op_result *r);

/** pair_look - read the kernel and go on from there; @say: tell the peer in any case */
void pair_look(struct pair *p, bool say);

/** pair_judge - the verdict about ->mine and ->theirs, with what a person has decided */
void pair_judge(struct pair *p);

/** pair_leave - give the procedure up; waits a while before the next one when it @failed */
void pair_leave(struct pair *p, bool failed, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** pair_finish - the procedure is through: tell the peer, and be live */
void pair_finish(struct pair *p);

/** pair_unlink - drop a live link, then look again */
void pair_unlink(struct pair *p, const char *why);

/** pair_other_leader - another pair of the volume whose leader this copy follows just now */
const struct pair *pair_other_leader(const struct pair *p);

/** pair_was_live - equal to this copy in the current generation, when it was last seen */
bool pair_was_live(const struct pair *p);

/** pair_ahead - this copy is an epoch of the peer's, which has gone on from it; durably known */
bool pair_ahead(const struct pair *p);

/** pair_outrun - the peer's copy was newer than this one when it was last seen */
bool pair_outrun(const struct pair *p);

/** pair_absent - another peer of which that is so, and who is away or primary: it may have gone on */
const char *pair_absent(const struct pair *but);

/** pair_stronger - a leader for whom links with others are given up: primary, or newer */
bool pair_stronger(const struct pair *p);

/** pair_hold - leave, and begin nothing before pair_release() */
void pair_hold(struct pair *p);
void pair_release(struct pair *p);

/** pair_protocol - the peer broke the protocol: say so and close the session */
void pair_protocol(struct pair *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** pair_reason - what status shows */
void pair_reason(struct pair *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** pair_slot - the slot of this pair's peer; -1: none yet */
int pair_slot(const struct pair *p);

/** pair_slot_known - whether that slot is of the very copy the peer has now */
bool pair_slot_known(const struct pair *p);

/* For who cannot go on when pair_assign_slot() fails; its argument: volume->k.slots. */
#define PAIR_NO_SLOT "all %u slots of this copy are in use: make it anew with more, or free one"

/**
 * pair_assign_slot - begin OP_SLOT_SET: the peer's slot, or a free one, for the copy it has now
 * Return: false when all slots are in use; nothing has begun then.
 */
bool pair_assign_slot(struct pair *p);

/** pair_copied - a pass has been confirmed: what it moved counts */
void pair_copied(struct pair *p, const struct msg_delta *d);

bool pair_leading(const struct pair *p);
bool pair_following(const struct pair *p);

/* What status shows. */
const char *pair_session_word(const struct pair *p);
const char *pair_state_word(const struct pair *p);

/* lead.c */
void lead_start(struct pair *p);
void lead_following(struct pair *p, const struct copy *theirs);
void lead_map(struct pair *p, const void *body, uint32_t length);
/** lead_map_step - a MARK of what a MAP says has ended */
void lead_map_step(struct pair *p);
void lead_ready(struct pair *p, const struct msg_link *l);
void lead_delta_done(struct pair *p, const struct msg_delta *d);
/** lead_all_read - what is being sent was read: the freeze for it can end */
void lead_all_read(struct pair *p);
void lead_committed(struct pair *p, const struct copy *theirs);
void lead_link_live(struct pair *p);
void lead_op_done(struct pair *p, enum op_kind kind, const struct op_result *r);
void lead_snapshot(struct pair *p);
void lead_tick(struct pair *p);
void lead_leave(struct pair *p);	/* undo what the volume was told for this pair */
/** lead_take_back - begin to, if a join was broken where nobody knows its end; Return: whether so */
bool lead_take_back(struct pair *p);

/* follow.c */
void follow_start(struct pair *p, const struct copy *theirs, uint64_t nonce);
void follow_delta(struct pair *p, const struct msg_delta *d);
void follow_offer(struct pair *p, const struct msg_link *l);
void follow_adopt(struct pair *p, const struct copy *theirs);
/** follow_waits_for_room - the last delta could not be staged, and it is too early to try again */
bool follow_waits_for_room(struct pair *p);
void follow_commit(struct pair *p, const struct copy *theirs);
void follow_redone(struct pair *p, int error, const char *why);
void follow_op_done(struct pair *p, enum op_kind kind, const struct op_result *r);
void follow_snapshot(struct pair *p);
void follow_tick(struct pair *p);

#endif /* REPL_AGENT_PAIR_H */
