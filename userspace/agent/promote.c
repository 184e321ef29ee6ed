// SPDX-License-Identifier: GPL-2.0-or-later
#include "promote.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <linux/repl.h>

#include "units.h"

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

/*
 * A peer that said that it is primary.  One that is live is asked for its consent
 * anyway: it may have been demoted a moment ago, and it knows best.
 */
static const struct promote_peer *find_primary(const struct promote_facts *f)
{
	for (unsigned int i = 0; i < f->peer_count; i++)
		if (f->peer[i].connected && f->peer[i].primary && (!f->peer[i].live || f->force))
			return &f->peer[i];
	return NULL;
}

/*
 * The record says that it was in sync, but only up to where the two copies parted: it has
 * been back since and could not be caught up with.
 */
static const char *find_outrun(const struct promote_facts *f)
{
	for (unsigned int i = 0; i < f->peer_count; i++)
		if (f->peer[i].outrun && !f->peer[i].connected)
			return f->peer[i].name;
	return NULL;
}

static void refuse_outrun(struct promote_plan *plan, const struct promote_facts *f,
			  const char *name)
{
	refuse(plan, "%s: the copy on %s was newer when it was last seen: connect it and let this "
	       "one catch up, or accept the loss of what it wrote with --force", f->volume, name);
}

static const struct promote_peer *find_newer(const struct promote_facts *f)
{
	const struct promote_peer *newer = NULL;

	for (unsigned int i = 0; i < f->peer_count; i++)
		if (f->peer[i].connected && f->peer[i].newer && (!newer || f->peer[i].consistent))
			newer = &f->peer[i];
	return newer;
}

static void refuse_newer(struct promote_plan *plan, const struct promote_facts *f,
			 const struct promote_peer *newer)
{
	if (newer->consistent)
		refuse(plan, "%s: the copy on %s is newer: wait until this one is in sync with it "
		       "(repl-ctl wait %s --for in-sync), or promote %s", f->volume, newer->name,
		       f->volume, newer->name);
	else
		refuse(plan, "%s: the copy on %s is newer, but not whole: bring back the node that it followed, "
		       "which leads both; if that is lost for good, take this older copy with --force, or the "
		       "one on %s as it is, with --force there", f->volume, newer->name, newer->name);
}

/* It was catching up: half of it is older than the other half, and no consent mends that. */
static void refuse_incomplete(struct promote_plan *plan, const struct promote_facts *f)
{
	const char *complete = NULL;

	for (unsigned int i = 0; i < f->peer_count; i++)
		if (f->peer[i].connected && f->peer[i].consistent)
			complete = f->peer[i].name;
	if (f->stuck)
		refuse(plan, "%s: this copy is not consistent until what was staged for it is applied, which is "
		       "tried again and again: %s: mend that; or get it from the leader anew: repl-ctl down %s, "
		       "remove that file (status --json names it), repl-ctl up %s; only if no other copy is left, "
		       "take this one half changed with --force", f->volume, f->stuck, f->volume, f->volume);
	else if (complete)
		refuse(plan, "%s: this copy is not consistent, the one on %s is: wait until it is in "
		       "sync (repl-ctl wait %s --for in-sync), or promote %s", f->volume, complete,
		       f->volume, complete);
	else
		refuse(plan, "%s: this copy was catching up and is not consistent, and no peer is "
		       "connected whose copy is: connect the one that it followed; only if all such "
		       "copies are lost for good, take what is here with --force", f->volume);
}

/*
 * Somebody asserts that a peer is off.  It must have been in sync when it was last
 * seen: then nothing that it acknowledged is missing here.
 */
static void plan_peer_dead(struct promote_plan *plan, const struct promote_facts *f)
{
	const struct promote_peer *newer = find_newer(f);
	const char *dead = NULL, *answers = NULL, *silent = NULL, *outrun = find_outrun(f);
	bool live = false;

	for (unsigned int i = 0; i < f->peer_count; i++) {
		const struct promote_peer *p = &f->peer[i];

		/* One that is not live has survived the dead one, too: it could begin at once. */
		if (p->connected && (p->live || (p->consistent && p->same_generation)))
			plan->ask |= 1u << i;
		live |= p->connected && p->live;
		if (p->was_live && p->connected)
			answers = p->name;
		else if (p->was_live && p->there)
			silent = p->name;
		else if (p->was_live)
			dead = p->name;
	}
	if (f->stuck) {
		refuse_incomplete(plan, f);
	} else if (!f->consistent) {
		refuse(plan, "%s: this copy is not consistent, and that the peer is dead does not "
		       "change it: bring back a consistent copy", f->volume);
	} else if (newer) {
		refuse_newer(plan, f, newer);
	} else if (outrun) {
		refuse_outrun(plan, f, outrun);
	} else if (silent) {
		/* It may be about to become primary itself, and tells nobody what it is meanwhile. */
		refuse(plan, "%s: %s is not dead: its agent is connected, and has not told yet what it has: try again "
		       "in some seconds; if it is gone by then, this will do", f->volume, silent);
	} else if (dead) {
		plan->step = plan->ask ? PROMOTE_ASK : PROMOTE_GO;
		plan->unlink = true;
		plan->flags = REPL_F_PEER_DEAD | (live ? 0 : REPL_F_ALONE);
	} else if (answers) {
		refuse(plan, "%s: %s is not dead, its agent answers: promote without --peer-dead",
		       f->volume, answers);
	} else {
		refuse(plan, "%s: no peer was in sync when it was last seen, so it may hold writes "
		       "that this copy lacks: promote the other node, or accept the loss with "
		       "--force", f->volume);
	}
}

/*
 * Nothing was ever written to any copy: there is nothing to lose, only to agree on.
 * Whoever is not asked could begin elsewhere at the same time, so all are.
 */
static void plan_first(struct promote_plan *plan, const struct promote_facts *f)
{
	for (unsigned int i = 0; i < f->peer_count; i++) {
		const struct promote_peer *p = &f->peer[i];

		if (!p->connected) {
			refuse(plan, "%s: this copy was never consistent and %s is not connected, so it "
			       "cannot agree to begin with this one: connect it, or begin here with "
			       "--force", f->volume, p->name);
			return;
		}
		if (p->consistent) {
			refuse(plan, "%s: this copy is not consistent, the one on %s is: wait until it is "
			       "in sync (repl-ctl wait %s --for in-sync), or promote %s", f->volume,
			       p->name, f->volume, p->name);
			return;
		}
		if (p->identity) {
			refuse(plan, "%s: this copy was never consistent, and the one on %s is a part of "
			       "a volume that somebody holds: connect who does, or begin anew here with "
			       "--force", f->volume, p->name);
			return;
		}
		plan->ask |= 1u << i;
	}
	if (!f->peer_count && f->slots) {
		refuse(plan, "%s: this copy is not consistent, and a peer that it knew is no longer "
		       "configured: configure it, or begin here with --force", f->volume);
		return;
	}
	plan->step = plan->ask ? PROMOTE_ASK : PROMOTE_GO;
	plan->flags = REPL_F_FORCE;
}

/* A peer that was in sync when it was last seen, and may be primary now for all one knows. */
static const char *find_absent(const struct promote_facts *f)
{
	for (unsigned int i = 0; i < f->peer_count; i++)
		if (f->peer[i].was_live && !f->peer[i].connected)
			return f->peer[i].name;
	return NULL;
}

/*
 * Its own copy is gone, and what it wrote without one was complete only when every peer
 * that was live in its generation had it.
 */
static bool left_all_here(const struct promote_peer *p)
{
	return p->connected && p->diskless && p->was_live && p->same_generation;
}

static void plan_agreed(struct promote_plan *plan, const struct promote_facts *f)
{
	const struct promote_peer *newer = find_newer(f);
	const char *behind = NULL, *absent = find_absent(f);
	const char *outrun = find_outrun(f);

	for (unsigned int i = 0; i < f->peer_count; i++) {
		if ((f->peer[i].live && f->peer[i].connected) || left_all_here(&f->peer[i]))
			plan->ask |= 1u << i;
		else if (f->peer[i].connected)
			behind = f->peer[i].name;
	}
	if (newer) {
		refuse_newer(plan, f, newer);
	} else if (outrun) {
		refuse_outrun(plan, f, outrun);
	} else if (absent) {
		refuse(plan, "%s: %s is not connected and cannot consent, and it was in sync when it "
		       "was last seen: connect it; or, if you know that it is off and stays off, say "
		       "--peer-dead. If it may still be running, do not: both would go on writing",
		       f->volume, absent);
	} else if (plan->ask) {
		plan->step = PROMOTE_ASK;
	} else if (!f->peer_count && !f->slots) {
		plan->step = PROMOTE_GO;
		plan->flags = REPL_F_ALONE;
	} else if (behind) {
		refuse(plan, "%s: %s is there, but not in sync: wait until it is "
		       "(repl-ctl wait %s --for in-sync)", f->volume, behind, f->volume);
	} else {
		refuse(plan, "%s: no peer is connected that could consent, and none was in sync when "
		       "it was last seen: connect one, or go on without its last writes with "
		       "--force", f->volume);
	}
}

/*
 * The arbiter knows who may go on from here.  A live peer is asked all the same: it may be
 * primary, and to ask the arbiter is to end that.
 */
static void plan_arbiter(struct promote_plan *plan, const struct promote_facts *f)
{
	const struct promote_peer *newer = find_newer(f);

	for (unsigned int i = 0; i < f->peer_count; i++)
		if (f->peer[i].connected && f->peer[i].live)
			plan->ask |= 1u << i;
	plan->step = PROMOTE_ARBITER;
	if (newer)
		refuse_newer(plan, f, newer);
}

static void refuse_override(struct promote_plan *plan, const struct promote_facts *f)
{
	refuse(plan, "%s: the arbiter, %s, decides whether this node may become primary, and %s "
	       "does not change it: say it without; to go on without the arbiter for good, take "
	       "the volume down, say arbiter = none in its file, bring it up and say it again",
	       f->volume, f->arbiter, f->force ? "--force" : "--peer-dead");
}

/*
 * A copy follows only one that is no larger.  Once this one was primary, a smaller peer
 * could never follow again, and a write beyond its end would end its link.
 */
static void refuse_larger(struct promote_plan *plan, const struct promote_facts *f)
{
	char mine[UNITS_TEXT_MAX], theirs[UNITS_TEXT_MAX];

	for (unsigned int i = 0; i < f->peer_count; i++) {
		const struct promote_peer *p = &f->peer[i];

		if (!p->connected || !p->size || p->size >= f->size)
			continue;
		refuse(plan, "%s: this copy has %s (%" PRIu64 " bytes), the one on %s only %s (%" PRIu64
		       " bytes) and could not follow it: %s%s%smake this copy anew with that size "
		       "(mkfs.repl --force --name %s --size %" PRIu64 "), or leave %s behind with "
		       "--force", f->volume, units_format_bytes(f->size, mine), f->size, p->name,
		       units_format_bytes(p->size, theirs), p->size, p->live ? "promote " : "",
		       p->live ? p->name : "", p->live ? ", " : "", f->volume, p->size, p->name);
		return;
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
	} else if (f->arbiter && f->identity && (f->force || f->peer_dead)) {
		refuse_override(plan, f);
	} else if (f->force) {
		plan->step = PROMOTE_GO;
		plan->flags = REPL_F_FORCE;
	} else if (f->granted && (f->consistent ? !f->arbiter : !f->identity)) {
		/* It passes in some seconds; that a copy is incomplete does not, and is said below. */
		refuse(plan, "%s: this node has just consented to %s becoming primary: see what becomes "
		       "of that, or try again in some seconds", f->volume, f->granted);
	} else if (f->arbiter && f->consistent) {
		plan_arbiter(plan, f);
	} else if (f->peer_dead) {
		plan_peer_dead(plan, f);
	} else if (f->consistent) {
		plan_agreed(plan, f);
	} else if (f->identity) {
		refuse_incomplete(plan, f);
	} else {
		plan_first(plan, f);
	}
	if (!f->force && plan->step >= PROMOTE_ASK)
		refuse_larger(plan, f);
}

bool promote_consent(const struct promote_consent *c, char text[REPL_TEXT_MAX])
{
	text[0] = '\0';
	if (c->primary)
		snprintf(text, REPL_TEXT_MAX, "it is primary itself: make it secondary first");
	else if (c->knows_primary)
		snprintf(text, REPL_TEXT_MAX, "%s is primary", c->knows_primary);
	else if (c->about_to)
		snprintf(text, REPL_TEXT_MAX, "it is about to become primary itself");
	else if (c->granted && strcmp(c->granted, c->node))
		snprintf(text, REPL_TEXT_MAX, "it has just consented to %s", c->granted);
	else if (c->newer)
		snprintf(text, REPL_TEXT_MAX, "the copy on %s is newer: wait until all are in sync",
			 c->newer);
	else if (c->absent && !c->peer_dead)
		snprintf(text, REPL_TEXT_MAX, "%s was in sync with it when it was last seen and may "
			 "be primary: connect it, or say --peer-dead", c->absent);
	else if (c->identity && !c->consistent)
		snprintf(text, REPL_TEXT_MAX, "its copy is a part of a volume that somebody holds: "
			 "connect who does");
	else if (c->consistent && !c->live && c->peer_dead && c->linked)
		snprintf(text, REPL_TEXT_MAX, "it is live with %s, which is not dead then", c->linked);
	else if (c->consistent && !c->live && !c->diskless &&
		 !(c->peer_dead && c->same_generation))
		snprintf(text, REPL_TEXT_MAX, "the two copies are not in sync");
	else if (c->consistent && !c->same_generation)
		snprintf(text, REPL_TEXT_MAX, "the two copies are not of the same generation");
	return !text[0];
}
