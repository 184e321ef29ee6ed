/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The administrator's socket: one JSON object per line in each direction.
 *
 *	{"cmd":"up|down|primary|secondary|wait|status|peers|reload", "volume":"spool",
 *	 "force":false, "peer_dead":false, "for":"in-sync", "timeout":30}
 *
 * is answered by any number of {"progress":"..."} and one {"ok":...}.  Everybody may
 * look; only root and the agent's own user may change something.
 */
#ifndef REPL_AGENT_CONTROL_H
#define REPL_AGENT_CONTROL_H

#include "agent.h"

/** control_start - listen on the configured socket. Return: 0 or -errno with words. */
int control_start(struct agent *a, struct err *e);
void control_stop(struct agent *a);

void control_progress(struct agent *a, uint32_t request, const char *text);
void control_reply(struct agent *a, uint32_t request, bool ok, const char *text);

#endif /* REPL_AGENT_CONTROL_H */
