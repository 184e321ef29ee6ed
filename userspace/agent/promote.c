// SPDX-License-Identifier: GPL-2.0-or-later
#include "promote.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <linux/repl.h>

static void refuse(struct promote_plan *plan, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void refuse(struct promote_plan *plan, const char *fmt, ...)
{
	va_list ap;

	plan->step = PROMOTE_REFUSED;
	va_start(ap, fmt);
	vsnprintf(plan->text, sizeof(plan->text), fmt, ap);
	va_end(ap);
}

static const struct promote_peer *find_primary(const struct promote_facts *f)
{
	for (unsigned int i = 0; i < f->peer_count; i++)
		if (f->peer[i].connected && f->peer[i].primary)
			return &f->peer[i];
	return NULL;
}

/*
 * Somebody asserts that a peer is off.  It must have been in sync when it was last
 * seen: then nothing that it acknowledged is missing here.
 */
static void plan_peer_dead(struct promote_plan *plan, const struct promote_facts *f)
{
	const char *dead = NULL, *answers = NULL;

	for (unsigned int i = 0; i < f->peer_count; i++) {
		const struct promote_peer *p = &f->peer[i];

		if (p->connected && p->live)
			plan->ask |= 1u << i;
		if (p->was_live && p->connected)
			answers = p->name;
		else if (p->was_live)
			dead = p->name;
	}
	if (!f->consistent) {
		refuse(plan, "%s: this copy is not consistent, and that the peer is dead does not "
		       "change it: bring back a consistent copy", f->volume);
	} else if (dead) {
		plan->step = plan->ask ? PROMOTE_ASK : PROMOTE_GO;
		plan->unlink = true;
		plan->flags = REPL_F_PEER_DEAD | (plan->ask ? 0 : REPL_F_ALONE);
	} else if (answers) {
		refuse(plan, "%s: %s is not dead, its agent answers: promote without --peer-dead",
		       f->volume, answers);
	} else {
		refuse(plan, "%s: no peer was in sync when it was last seen, so it may hold writes "
		       "that this copy lacks: promote the other node, or accept the loss with "
		       "--force", f->volume);
	}
}

/* Nothing was ever written to any copy: there is nothing to lose, only to agree on. */
static void plan_first(struct promote_plan *plan, const struct promote_facts *f)
{
	for (unsigned int i = 0; i < f->peer_count; i++) {
		if (!f->peer[i].connected)
			continue;
		if (f->peer[i].consistent) {
			refuse(plan, "%s: this copy is not consistent, the one on %s is: wait until "
			       "it is in sync (repl-ctl wait %s --for in-sync), or promote %s",
			       f->volume, f->peer[i].name, f->volume, f->peer[i].name);
			return;
		}
		plan->ask |= 1u << i;
	}
	if (!plan->ask && (f->peer_count || f->slots)) {
		refuse(plan, "%s: this copy was never consistent and no peer is connected that "
		       "could agree to begin with it: connect one, or begin here with --force",
		       f->volume);
		return;
	}
	plan->step = plan->ask ? PROMOTE_ASK : PROMOTE_GO;
	plan->flags = REPL_F_FORCE;
}

static void plan_agreed(struct promote_plan *plan, const struct promote_facts *f)
{
	const char *behind = NULL;

	for (unsigned int i = 0; i < f->peer_count; i++) {
		if (f->peer[i].live && f->peer[i].connected)
			plan->ask |= 1u << i;
		else if (f->peer[i].connected)
			behind = f->peer[i].name;
		else if (f->peer[i].live)
			behind = behind ? behind : f->peer[i].name;
	}
	if (plan->ask) {
		plan->step = PROMOTE_ASK;
	} else if (!f->peer_count && !f->slots) {
		plan->step = PROMOTE_GO;
		plan->flags = REPL_F_ALONE;
	} else if (behind) {
		refuse(plan, "%s: %s is there, but not in sync: wait until it is "
		       "(repl-ctl wait %s --for in-sync)", f->volume, behind, f->volume);
	} else {
		refuse(plan, "%s: no peer is connected that could consent: if the peer is known to "
		       "be off, say --peer-dead; to go on without knowing, and perhaps without "
		       "its last writes, --force", f->volume);
	}
}

void promote_plan(struct promote_plan *plan, const struct promote_facts *f)
{
	const struct promote_peer *primary = find_primary(f);

	memset(plan, 0, sizeof(*plan));
	if (f->primary) {
		plan->step = PROMOTE_ALREADY;
	} else if (primary) {
		refuse(plan, "%s: %s is primary: make it secondary first (repl-ctl secondary %s on "
		       "%s)", f->volume, primary->name, f->volume, primary->name);
	} else if (f->force) {
		plan->step = PROMOTE_GO;
		plan->flags = REPL_F_FORCE;
	} else if (f->peer_dead) {
		plan_peer_dead(plan, f);
	} else if (f->consistent) {
		plan_agreed(plan, f);
	} else {
		plan_first(plan, f);
	}
}

bool promote_consent(const struct promote_consent *c, char text[REPL_TEXT_MAX])
{
	text[0] = '\0';
	if (c->primary)
		snprintf(text, REPL_TEXT_MAX, "this node is primary itself");
	else if (c->knows_primary)
		snprintf(text, REPL_TEXT_MAX, "%s is primary", c->knows_primary);
	else if (c->asking && c->lower)
		snprintf(text, REPL_TEXT_MAX, "this node is about to become primary itself");
	else if (c->granted && strcmp(c->granted, c->node))
		snprintf(text, REPL_TEXT_MAX, "this node has just consented to %s", c->granted);
	else if (c->consistent && !c->live)
		snprintf(text, REPL_TEXT_MAX, "the two copies are not in sync");
	else if (c->consistent && !c->same_generation)
		snprintf(text, REPL_TEXT_MAX, "the two copies are not of the same generation");
	return !text[0];
}
