// SPDX-License-Identifier: GPL-2.0-or-later
#include "takeover.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pair.h"
#include "session.h"
#include "task.h"

static void say(struct pair *p, enum repl_msg_type type, enum repl_take_over_step step,
		uint64_t nonce, const char *text)
{
	struct msg_take_over says = { .nonce = nonce, .step = step };
	struct {
		struct repl_msg_take_over m;
		char text[REPL_TEXT_MAX];
	} m;

	msg_pack_take_over(&says, &m.m);
	snprintf(m.text, sizeof(m.text), "%s", text);
	session_send(p, type, &m, sizeof(m.m) + strlen(m.text));
}

static bool is_live(const struct pair *p)
{
	return !strcmp(pair_state_word(p), "live");
}

/* ---------------------------------------------------- who hands over --- */

static struct pair *find(struct volume *v, const char *node)
{
	for (unsigned int i = 0; i < v->pair_count; i++)
		if (!strcmp(v->pair[i]->peer->name, node))
			return v->pair[i];
	return NULL;
}

static void refuse_role(struct volume *v, uint32_t request, bool check)
{
	for (unsigned int i = 0; i < v->pair_count; i++) {
		const struct pair *p = v->pair[i];

		if (!check || !p->have_theirs || !(p->theirs.flags & REPL_MV_PRIMARY))
			continue;
		core_reply(v->core, request, false, "%s: %s is primary: run this there", v->name,
			   p->peer->name);
		return;
	}
	core_reply(v->core, request, false, check ? "%s: is not primary here: there is nothing to hand over" :
		   "%s: is still primary here", v->name);
}

/* Return: whether anything is against it; then the request was answered. */
static bool refused(struct volume *v, const struct pair *p, const struct core_request *r,
		    const char *node, bool check)
{
	struct core *c = v->core;

	if (!p && !strcmp(node, c->node))
		core_reply(c, r->id, false, "%s: %s is this node: name the one that shall take it over",
			   v->name, node);
	else if (!p)
		core_reply(c, r->id, false, "%s: %s has no copy of it: name a peer of its file", v->name,
			   node);
	else if ((v->k.role == REPL_ROLE_PRIMARY) != check)
		refuse_role(v, r->id, check);
	else if (!p->session || !p->have_theirs)
		core_reply(c, r->id, false, "%s: %s is not connected: %s", v->name, node, p->reason);
	else if (!is_live(p))
		core_reply(c, r->id, false, "%s: %s is not in sync (%s): see repl-ctl wait %s --for in-sync",
			   v->name, node, p->reason, v->name);
	else if (p->takeover.deadline)
		core_reply(c, r->id, false, "%s: %s is being asked already: try again when that has ended",
			   v->name, node);
	else
		return false;
	return true;
}

void core_take_over(struct core *c, const struct core_request *r, const char *node, bool check)
{
	struct volume *v = task_volume(c, r);
	struct pair *p = v ? find(v, node) : NULL;

	if (!v || refused(v, p, r, node, check))
		return;
	p->takeover.request = r->id;
	p->takeover.nonce = core_random(c);
	p->takeover.deadline = c->now + (check ? CORE_HELP_CHECK_MS : CORE_HELP_MS) + CORE_DEAD_MS;
	say(p, REPL_MSG_TAKE_OVER, check ? REPL_TAKE_OVER_CHECK : REPL_TAKE_OVER_TAKE,
	    p->takeover.nonce, "");
}

static void reply(struct pair *p, bool well, const char *text)
{
	core_reply(p->core, p->takeover.request, well, "%s", text);
	p->takeover.request = 0;
	p->takeover.deadline = 0;
}

void takeover_heard(struct pair *p, const struct msg_take_over *m, const void *words,
		    size_t length)
{
	char text[REPL_TEXT_MAX], all[REPL_TEXT_MAX + REPL_NAME_MAX + REPL_NODE_MAX + 8];
	struct action *a;

	if (!p->takeover.deadline || m->nonce != p->takeover.nonce)
		return;
	msg_text(text, words, length);
	if (m->step == REPL_TAKE_OVER_PROGRESS) {
		if (!p->takeover.request)
			return;
		a = action_add(&p->core->actions, ACTION_PROGRESS, 0);
		a->request = p->takeover.request;
		a->text = strdup(text);
		return;
	}
	snprintf(all, sizeof(all), "%s: %s: %s", p->volume->name, p->peer->name, text);
	reply(p, m->step == REPL_TAKE_OVER_DONE, m->step == REPL_TAKE_OVER_DONE ? "" : all);
}

void takeover_end(struct pair *p, const char *why)
{
	char text[CORE_REASON_MAX];

	if (!p->takeover.deadline)
		return;
	snprintf(text, sizeof(text), "%s: %s: %s: what it has done is not known: see repl-ctl status there",
		 p->volume->name, p->peer->name, why);
	reply(p, false, text);
}

void takeover_tick(struct pair *p)
{
	if (p->takeover.deadline && p->core->now >= p->takeover.deadline)
		takeover_end(p, "it did not answer in time");
}

/* ---------------------------------------------------- who takes over --- */

/* What promote_plan() would refuse, when the other node has left it already. */
static bool too_large(const struct volume *v, char text[REPL_TEXT_MAX])
{
	for (unsigned int i = 0; i < v->pair_count; i++) {
		const struct pair *p = v->pair[i];

		if (!p->session || !p->have_theirs || !p->theirs.size || p->theirs.size >= v->k.size)
			continue;
		snprintf(text, REPL_TEXT_MAX, "its copy has %" PRIu64 " bytes, the one on %s only %" PRIu64 " and could "
			 "not follow it: there take the volume down, and make the copy anew with that size "
			 "(mkfs.repl --force --name %s --size %" PRIu64 ")", v->k.size, p->peer->name,
			 p->theirs.size, v->name, p->theirs.size);
		return true;
	}
	return false;
}

static const char *against(const struct pair *p, char text[REPL_TEXT_MAX])
{
	const struct volume *v = p->volume;

	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->takeover.serves)
			return "another switch is under way there: try again when that has ended";
	if (!v->known || v->k.role == REPL_ROLE_PRIMARY)
		return "is primary itself";
	if (v->task.kind != TASK_NONE)
		return "another command for it is under way there: try again when it has ended";
	if (v->k.flags & (REPL_VF_DISKLESS | REPL_VF_FAILED))
		return "its disk has failed: see repl-ctl status there";
	if (!is_live(p))
		return "it is not in sync: see repl-ctl status there";
	return too_large(v, text) ? text : NULL;
}

void takeover_asked(struct pair *p, const struct msg_take_over *m)
{
	char text[REPL_TEXT_MAX];
	const char *why = against(p, text);
	struct action *a;

	core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "asks %s%s%s",
		 m->step == REPL_TAKE_OVER_CHECK ? "whether this node could take it over" :
						   "this node to take it over",
		 why ? ", which is refused: " : "", why ? why : "");
	if (why) {
		say(p, REPL_MSG_TAKEN, REPL_TAKE_OVER_REFUSED, m->nonce, why);
		return;
	}
	p->takeover.serves = true;
	p->takeover.step = m->step;
	p->takeover.asked_nonce = m->nonce;
	a = action_add(&p->core->actions, ACTION_HELP, 0);
	a->volume = p->volume;
	a->pair = p;
	a->ok = m->step == REPL_TAKE_OVER_CHECK;
}

void core_helper_line(struct pair *p, const char *text)
{
	core_log(p->core, LOG_LEVEL_INFO, p->volume, NULL, "%s", text);
	say(p, REPL_MSG_TAKEN, REPL_TAKE_OVER_PROGRESS, p->takeover.asked_nonce, text);
}

void core_helper_done(struct pair *p, bool well, const char *text)
{
	bool check = p->takeover.step == REPL_TAKE_OVER_CHECK;

	p->takeover.serves = false;
	if (!well)
		core_log(p->core, LOG_LEVEL_WARN, p->volume, p, "%s: %s",
			 check ? "could not take it over" : "has not taken it over", text);
	else if (!check)
		core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "taken over");
	say(p, REPL_MSG_TAKEN, well ? REPL_TAKE_OVER_DONE : REPL_TAKE_OVER_REFUSED,
	    p->takeover.asked_nonce, text);
}
