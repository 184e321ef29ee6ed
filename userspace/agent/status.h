/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the agent knows beyond the kernel, as JSON. */
#ifndef REPL_AGENT_STATUS_H
#define REPL_AGENT_STATUS_H

#include <jansson.h>

#include "agent.h"

/** status_json - of one volume, or of all when @volume is empty; a new reference */
json_t *status_json(const struct agent *a, const char *volume);

/** status_peers - the nodes of agent.conf; a new reference */
json_t *status_peers(const struct agent *a);

#endif /* REPL_AGENT_STATUS_H */
