/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The old primary of a rolling pair is back, and its replica was made primary by force: it has
 * writes that nobody else has, which is a split.  With on-return = save-and-follow it says itself
 * what a person would say, repl-ctl resolve --keep THE-PRIMARY: its blocks are saved in a file
 * first, and nothing is given up before that is durable (resolve.c).  If they cannot be saved
 * it stays as it is, says so, and tries again after minutes.
 *
 * Who is that, its slot tells: the peer has gone on from an epoch that was recorded here, by the
 * one that led.  The replica itself has noted that the other is ahead; so one that was promoted
 * in vain, and comes back to its primary, is never taken for it, and waits for a person.
 */
#ifndef REPL_AGENT_COMEBACK_H
#define REPL_AGENT_COMEBACK_H

#include "core.h"

/** comeback_set - what the volume's file says */
void comeback_set(struct pair *p, bool follows);

/** comeback_snapshot - pairs have looked at a fresh snapshot; begins what is due */
void comeback_snapshot(struct volume *v);

/** comeback_ended - what was begun has ended, @good or not, perhaps when it was @saved already; @text says how */
void comeback_ended(struct pair *p, bool good, bool saved, const char *text);

#endif /* REPL_AGENT_COMEBACK_H */
