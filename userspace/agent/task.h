/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an administrator asks for: roles, taking down, waiting.  One task at a time
 * for each volume.  Part of the core; promote.c has the rules.
 */
#ifndef REPL_AGENT_TASK_H
#define REPL_AGENT_TASK_H

#include "core.h"

/** task_go - something has changed: the next step of the volume's task, if it can be done */
void task_go(struct volume *v);
/** task_volume - the volume of a request; answers the request when it cannot be served now */
struct volume *task_volume(struct core *c, const struct core_request *r);

/** task_end - the task is over: log and reply */
void task_end(struct volume *v, bool ok, const char *text);

void task_op_done(struct volume *v, enum op_kind kind, const struct op_result *r);
void task_tick(struct volume *v);
void task_tick_waiters(struct core *c);

/** task_peer_changed - it is gone, or has told something new */
void task_peer_changed(struct pair *p);

void task_consent_asked(struct pair *p, const struct msg_consent *m);

/** task_consent_heard - @why: words of @length bytes when it was refused */
void task_consent_heard(struct pair *p, const struct msg_consent *m, const void *why,
			size_t length);

/** task_begins - the kernel may make this node primary at any moment: nothing is said that would deny it */
bool task_begins(const struct volume *v);

/**
 * task_may_begin - the peer has this node's consent to a promotion, and has not used it here: a generation that
 * somebody else tells of may be the one that is on its way over the very link
 */
bool task_may_begin(const struct pair *p);

/** task_removed - the kernel no longer has the volume: forget it, too */
void task_removed(struct volume *v, const char *why);

#endif /* REPL_AGENT_TASK_H */
