/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking the agent: one JSON object per line over its unix socket. */
#ifndef REPL_CTL_AGENT_H
#define REPL_CTL_AGENT_H

#include <jansson.h>

#include "err.h"

typedef void agent_progress(void *arg, const char *text);

/**
 * agent_ask - send one request and wait for its final answer
 * @config_dir: whose agent.conf names the socket; without a readable one the
 *	default socket is tried
 * @request: the caller's
 * @timeout_ms: of silence; 0 waits as long as the agent works
 * @progress: told of what the agent says meanwhile; may be NULL
 * @answer: the final object, which json_decref() frees
 * Return: 0 when an answer came, be it a refusal; -ECONNREFUSED or -ENOENT when no
 *	agent runs, -EACCES when this user may not ask, or another -errno.
 */
int agent_ask(const char *config_dir, json_t *request, int timeout_ms, agent_progress *progress,
	      void *arg, json_t **answer, struct err *e);

#endif /* REPL_CTL_AGENT_H */
