/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Volumes come up: by command, or because the kernel has them already. */
#ifndef REPL_AGENT_BRING_H
#define REPL_AGENT_BRING_H

#include "agent.h"

/** bring_up - "up": read the configuration anew, attach, and answer the request */
void bring_up(struct agent *a, uint32_t request, const char *name);

/** bring_peer_add - "peer-add": the volume's file names @node now */
void bring_peer_add(struct agent *a, const struct core_request *r, const char *node);

/** bring_peer_remove - "peer-remove": it does not any more */
void bring_peer_remove(struct agent *a, const struct core_request *r, const char *node);

/** bring_found - at start: take over every volume that the kernel has */
void bring_found(struct agent *a);

/** bring_down - drop what was kept for a volume */
void bring_down(struct agent *a, struct volume *v);

/** bring_moved - when the metadata lie elsewhere now: note it */
void bring_moved(struct volume *v, const struct kernel_volume *k);

/**
 * bring_replace - "replace": hold the new device ready, and ask the core
 * @device: a path; "": what the volume's file says now
 * @metadata: the same
 */
void bring_replace(struct agent *a, const struct core_request *r, const char *device,
		   const char *metadata);

/** bring_replace_begin - OP_REPLACE. Return: a ticket or -errno. */
int bring_replace_begin(struct agent *a, struct volume *v, struct err *e);

/** bring_replaced - how that ended */
void bring_replaced(struct volume *v, bool done);

/**
 * bring_config - read the configuration anew; new peers and addresses count at once
 * @volume: the one it is read for: mistakes in other volumes' files do not matter, these
 *	stay as they were; NULL: any mistake does
 *
 * Return: 0 or -errno with the first problem in words; then the old one stays.
 */
int bring_config(struct agent *a, const char *volume, struct err *e);

#endif /* REPL_AGENT_BRING_H */
