/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * This node is the arbiter of volumes of which it has no copy.  An entry is made by a
 * person, who knows which generation counts; without one nothing is answered.
 */
#ifndef REPL_AGENT_WITNESS_H
#define REPL_AGENT_WITNESS_H

#include <jansson.h>

#include "agent.h"

/** witness_asked - @body is a struct repl_msg_ask of the session @c; answers it there */
void witness_asked(struct agent *a, struct conn *c, const void *body);

/**
 * witness_add - begin to be the arbiter of a volume
 * @force: even if there is an entry, which then is forgotten
 * Return: 0 or -errno with words.
 */
int witness_add(struct agent *a, const char *name, const struct repl_id *uuid,
		const struct repl_id *generation, bool force, struct err *e);

/** witness_remove - @which: a UUID, or a name that only one entry has */
int witness_remove(const char *which, struct err *e);

/** witness_json - all entries: {"ok":true,"witness":[...]} */
json_t *witness_json(const struct agent *a);

#endif /* REPL_AGENT_WITNESS_H */
