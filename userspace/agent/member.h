/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A volume that is up gets one more peer, or one less.  Part of the core.
 *
 * Who comes is a new replica: whatever slot its key may have here is freed first, so that
 * everything is dirty for it.  Who goes loses its link, then its slot, then the pair.
 */
#ifndef REPL_AGENT_MEMBER_H
#define REPL_AGENT_MEMBER_H

#include "core.h"

/**
 * member_new - a pair with @peer, which does nothing before member_begin()
 * Return: it; or NULL, and the request was answered.
 */
struct pair *member_new(struct core *c, const struct core_request *r, const struct core_peer *peer);

/** member_begin - what the shell keeps for it is there: go on; answers the request */
void member_begin(struct pair *p, uint32_t request);

/** member_remove - @node is no peer of it any more; answers when its slot is free */
void member_remove(struct core *c, const struct core_request *r, const char *node);

/** member_free - at an ACTION_FORGET that is ->ok: nothing refers to it any more */
void member_free(struct pair *p);

/* For the parts of the core only. */

/** member_clone - the peer's disk is a clone of another copy's; that is said then */
bool member_clone(struct pair *p);

void member_go(struct volume *v);
void member_snapshot(struct volume *v);
void member_op_done(struct volume *v, enum op_kind kind, const struct op_result *r);
void member_tick(struct volume *v);

/** member_leaves - @p is about to go: nothing is told of it any more */
bool member_leaves(const struct pair *p);

#endif /* REPL_AGENT_MEMBER_H */
