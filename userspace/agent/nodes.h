/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The volumes of this node, told to another one; and those of others, told to the administrator. */
#ifndef REPL_AGENT_NODES_H
#define REPL_AGENT_NODES_H

#include <jansson.h>

#include "agent.h"

/** nodes_tell - ACTION_SURVEY: answer a peer's question */
void nodes_tell(struct agent *a, struct conn *c, const struct repl_msg_survey *m);

/**
 * nodes_json - ACTION_SURVEYED, as an object of the answer's "nodes"
 * Return: NULL for a node that agent.conf does not name any more.
 */
json_t *nodes_json(const struct agent *a, const struct action *act);

#endif /* REPL_AGENT_NODES_H */
