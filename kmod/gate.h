/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gate: a set of reasons why writes wait.  Each holder removes only its own;
 * it is open when the set is empty.  A peer-loss freeze has no deadline, every
 * freeze that user space asked for has one.
 */
#ifndef REPL_GATE_H
#define REPL_GATE_H

#include "volume.h"

/* Shut until a new generation is durable on every live peer. */
#define GATE_GENERATION (REPL_GATE_PEER_LOST | REPL_GATE_DISK)

void gate_init(struct volume *v);
void gate_shut(struct volume *v, u32 reason);
void gate_open(struct volume *v, u32 reason);
void gate_recorded(struct volume *v, u64 losses, u32 reasons);
int gate_freeze(struct volume *v, u32 reason, u32 deadline_ms, struct ticket *ticket,
		struct why *why);
int gate_thaw(struct volume *v, u32 reason, struct why *why);
void gate_stop(struct volume *v);

void drain_start(struct volume *v, struct drain *drain);
void drain_cancel(struct volume *v, struct drain *drain);
void drain_check(struct volume *v);

#endif /* REPL_GATE_H */
