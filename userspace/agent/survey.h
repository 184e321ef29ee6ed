/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the volumes are on other nodes: each peer with which a session stands is asked, all at
 * once, and waited for a bounded time.  Part of the core; nodes.c says it in JSON.
 */
#ifndef REPL_AGENT_SURVEY_H
#define REPL_AGENT_SURVEY_H

#include "core.h"

enum { SURVEY_MS = 1500 };	/* who asks the agent waits for no more than 2 s in all */

/* Why a peer has told nothing. */
enum survey_state {
	SURVEY_ANSWERS,
	SURVEY_SILENT,		/* not in time */
	SURVEY_DISCONNECTED,
	SURVEY_UNASKED,		/* no volume that is up here has a copy there, so there is no session */
};

/** survey_begin - ACTION_SURVEYED for each peer, then the end of @request */
void survey_begin(struct core *c, uint32_t request);

/* For the parts of the core only. */
void survey_heard(struct session *s, const struct msg_header *h, const void *body);
void survey_tick(struct core *c);
uint64_t survey_deadline(const struct core *c);
void survey_gone(struct core *c, uint32_t request);
void survey_free_all(struct core *c);

#endif /* REPL_AGENT_SURVEY_H */
