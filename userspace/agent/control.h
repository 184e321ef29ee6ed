/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The administrator's socket: one JSON object per line in each direction.
 *
 *	{"cmd":"up|down|primary|secondary|resize|replace|wait|resolve|verify|scrub|
 *	 peer-add|peer-remove|status|nodes|peers|reload",
 *	 "volume":"spool", "size":0, "device":"/dev/sdc",
 *	 "force":false, "peer_dead":false, "for":"in-sync", "timeout":30,
 *	 "keep":"mail1", "keep_generation":"...", "discard_generation":"...", "no_save":false,
 *	 "save_to":"/srv", "peer":"mail2", "repair":"mail1", "stop":false,
 *	 "node":"mail3"}
 *
 * is answered by any number of {"progress":"..."} and one {"ok":...}.  Everybody may
 * look; only root and the agent's own user may change something.  What all others hold
 * together is bounded, in connections and in memory, which is locked: root must come
 * through whoever else asks.
 */
#ifndef REPL_AGENT_CONTROL_H
#define REPL_AGENT_CONTROL_H

#include "agent.h"

enum control_limits {
	CONTROL_LINE_MAX	= 4096,		/* bytes of a request */
	CONTROL_CLIENTS_MAX	= 64,
	CONTROL_OTHERS_MAX	= 48,		/* of these: who may change nothing */
	CONTROL_UNREAD_MAX	= 4 << 20,	/* bytes of one client's replies; of all others' together */
	CONTROL_IDLE_MS		= 60000,	/* nothing moves, and no request is under way */
};

/** control_start - listen on the configured socket. Return: 0 or -errno with words. */
int control_start(struct agent *a, struct err *e);
void control_stop(struct agent *a);

void control_progress(struct agent *a, uint32_t request, const char *text);
void control_reply(struct agent *a, uint32_t request, bool ok, const char *text);

/** control_surveyed - ACTION_SURVEYED: it becomes a part of the answer */
void control_surveyed(struct agent *a, const struct action *act);

/** control_tick - end who is idle */
void control_tick(struct agent *a, uint64_t now);

/** control_deadline - when control_tick() wants to be called next, ms; UINT64_MAX: never */
uint64_t control_deadline(const struct agent *a);

#endif /* REPL_AGENT_CONTROL_H */
