/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tells the administrator's programs of changes.  For each change one process is begun, in
 * which hookrun.c runs the programs one after the other; of one volume, one at a time.
 * Nothing of the agent waits for it: its descriptors are watched as others are, and what
 * it prints goes into the log.
 */
#ifndef REPL_AGENT_HOOK_H
#define REPL_AGENT_HOOK_H

#include "agent.h"
#include "notice.h"

/** hook_tell - ACTION_HOOK */
void hook_tell(struct agent *a, const struct notice *n);

/** hook_stop - the agent ends; programs that run go on, and nobody reads what they print */
void hook_stop(struct agent *a);

#endif /* REPL_AGENT_HOOK_H */
