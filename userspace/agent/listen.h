/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where other agents connect to. */
#ifndef REPL_AGENT_LISTEN_H
#define REPL_AGENT_LISTEN_H

#include "agent.h"

/** listen_start - on every configured address. Return: 0 or -errno with words. */
int listen_start(struct agent *a, struct err *e);
void listen_stop(struct agent *a);

#endif /* REPL_AGENT_LISTEN_H */
