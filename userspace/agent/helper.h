/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asks the node's own failover helper, repl-failover serve, which has the rights that the
 * agent has not: to mount and to start services.  A socket that the administrator has to
 * enable; without it nothing is ever done for a peer.
 *
 * To it: "check VOLUME" or "take VOLUME".  From it: lines that say what it does, and at
 * the end "done" or "failed WHY".
 */
#ifndef REPL_AGENT_HELPER_H
#define REPL_AGENT_HELPER_H

#include "agent.h"

/** helper_ask - ACTION_HELP; core_helper_done() follows, maybe at once */
void helper_ask(struct agent *a, struct pair *p, bool check);

/** helper_forget - the pair is gone; what was begun goes on, and nobody is told */
void helper_forget(struct agent *a, const struct pair *p);

void helper_tick(struct agent *a);
uint64_t helper_deadline(const struct agent *a);

#endif /* REPL_AGENT_HELPER_H */
