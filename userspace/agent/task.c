// SPDX-License-Identifier: GPL-2.0-or-later
#include "task.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arbiter.h"
#include "id.h"
#include "member.h"
#include "pair.h"
#include "promote.h"
#include "redo.h"
#include "replace.h"
#include "resize.h"
#include "resolve.h"
#include "roll.h"
#include "session.h"
#include "survey.h"
#include "verify.h"

enum task_limits {
	TASK_ASKS_AGAIN = 3,
	TASK_TRIES = 10,	/* of a promotion that a lost peer has broken off */
	TASK_PAUSE_MS = 500,
};

static const char *words(const struct op_result *r)
{
	return r->text && r->text[0] ? r->text : strerror(-r->error);
}

/* Whoever was asked fears that it has begun, and believes no word from before its consent expires. */
static void disclaim_later(struct volume *v)
{
	v->disclaim_at = v->core->now + CORE_CONSENT_MS + CORE_CONSENT_LATE_MS;
}

void task_end(struct volume *v, bool ok, const char *text)
{
	bool primary = v->task.kind == TASK_PRIMARY;

	core_log(v->core, ok ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, v, NULL, "%s", text);
	core_reply(v->core, v->task.request, ok, "%s", text);
	v->task = (struct task){ 0 };
	for (unsigned int i = 0; i < v->pair_count; i++) {
		struct pair *p = v->pair[i];

		if (primary && !ok && p->told)
			disclaim_later(v);
		p->asked = p->told = p->granted = false;
	}
}

static void disclaim(struct volume *v)
{
	v->disclaim_at = 0;
	for (unsigned int i = 0; i < v->pair_count; i++)
		v->pair[i]->say = true;
	core_get(v);
}

struct volume *task_volume(struct core *c, const struct core_request *r)
{
	struct volume *v = core_volume(c, r->volume);

	if (!v)
		core_reply(c, r->id, false, "%s: the volume is not up: run repl-ctl up %s", r->volume,
			   r->volume);
	else if (!v->known)
		core_reply(c, r->id, false, "%s: the volume is just coming up: try again", v->name);
	else if (v->arbiter.using)
		core_reply(c, r->id, false, "%s: the arbiter has answered, and its role is about to change: "
			   "see what becomes of that", v->name);
	else if (v->task.kind != TASK_NONE)
		core_reply(c, r->id, false, "%s: another command for it is under way: try again when "
			   "it has ended", v->name);
	else
		return v;
	return NULL;
}

/* ------------------------------------------------------------- waiting --- */

static bool is_so(const struct volume *v, enum wait_kind what)
{
	unsigned int live = 0;

	if (!v->known)
		return false;
	if (what == WAIT_PRIMARY)
		return v->k.role == REPL_ROLE_PRIMARY;
	if (what == WAIT_SECONDARY)
		return v->k.role == REPL_ROLE_SECONDARY;
	for (unsigned int i = 0; i < v->pair_count; i++) {
		const struct pair *p = v->pair[i];

		if (what == WAIT_CONNECTED && !(p->session && p->have_theirs))
			return false;
		/* Who is rolling is as much in sync as it shall be. */
		live += !strcmp(pair_state_word(p), "live") || roll_running(p);
	}
	/* Nothing is in sync with a copy that is not there. */
	if (what == WAIT_IN_SYNC && (v->k.flags & REPL_VF_DISKLESS))
		return false;
	/* Of more than two copies the secondaries go with one node, not with each other. */
	return what == WAIT_CONNECTED || (live && live == v->pair_count) ||
	       (live && v->k.role == REPL_ROLE_SECONDARY);
}

static void drop_waiter(struct core *c, struct waiter *w)
{
	struct waiter **at = &c->waiters;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	free(w);
}

static void no_peer(const struct volume *v, uint32_t request)
{
	core_reply(v->core, request, false, "%s: it has no peer that could be in sync", v->name);
}

static void check_waiters(struct volume *v)
{
	struct waiter *next;

	for (struct waiter *w = v->core->waiters; w; w = next) {
		next = w->next;
		if (w->volume != v)
			continue;
		if (is_so(v, w->what))
			core_reply(v->core, w->request, true, "%s", "");
		else if (w->what == WAIT_IN_SYNC && !v->pair_count)
			no_peer(v, w->request);
		else
			continue;
		drop_waiter(v->core, w);
	}
}

/* What is in the way, in the words of status. */
static void time_out(struct waiter *w)
{
	static const char *const name[] = {
		[WAIT_CONNECTED] = "connected",
		[WAIT_IN_SYNC] = "in-sync",
		[WAIT_PRIMARY] = "primary",
		[WAIT_SECONDARY] = "secondary",
	};
	const struct volume *v = w->volume;
	char text[CORE_REASON_MAX * 2] = "";
	size_t at = 0;

	if (w->what == WAIT_IN_SYNC && (v->k.flags & REPL_VF_DISKLESS))
		at = (size_t)snprintf(text, sizeof(text), "; the disk here has failed%s",
				      v->filling ? ", and the new one is not full yet" : "");
	for (unsigned int i = 0; i < v->pair_count && at < sizeof(text) - 1; i++)
		if (w->what == WAIT_CONNECTED || w->what == WAIT_IN_SYNC)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "; %s: %s",
					       v->pair[i]->peer->name, v->pair[i]->reason);
	core_reply(v->core, w->request, false, "%s: waited in vain for %s%s", v->name, name[w->what], text);
}

void task_tick_waiters(struct core *c)
{
	struct waiter *next;

	for (struct waiter *w = c->waiters; w; w = next) {
		next = w->next;
		if (w->deadline && c->now >= w->deadline) {
			time_out(w);
			drop_waiter(c, w);
		}
	}
}

void core_wait(struct core *c, const struct core_request *r, enum wait_kind what,
	       uint64_t timeout_ms)
{
	struct volume *v = core_volume(c, r->volume);
	struct waiter *w;

	if (!v) {
		core_reply(c, r->id, false, "%s: the volume is not up: run repl-ctl up %s", r->volume,
			   r->volume);
		return;
	}
	if (what == WAIT_IN_SYNC && !v->pair_count) {
		no_peer(v, r->id);
		return;
	}
	w = calloc(1, sizeof(*w));
	if (!w) {
		core_reply(c, r->id, false, "out of memory");
		return;
	}
	w->volume = v;
	w->request = r->id;
	w->what = what;
	w->deadline = timeout_ms ? c->now + timeout_ms : 0;
	w->next = c->waiters;
	c->waiters = w;
	core_get(v);
}

void core_request_gone(struct core *c, uint32_t id)
{
	struct waiter *next;

	survey_gone(c, id);
	for (struct waiter *w = c->waiters; w; w = next) {
		next = w->next;
		if (w->request == id)
			drop_waiter(c, w);
	}
	for (struct volume *v = c->volumes; v; v = v->next) {
		if (v->task.request == id)
			v->task.request = 0;
		for (unsigned int i = 0; i < v->pair_count; i++) {
			if (v->pair[i]->resolve.request == id)
				v->pair[i]->resolve.request = 0;
			if (v->pair[i]->takeover.request == id)
				v->pair[i]->takeover.request = 0;
			if (v->pair[i]->verify && v->pair[i]->verify->request == id)
				v->pair[i]->verify->request = 0;
		}
	}
}

/* ---------------------------------------------------------- promotion --- */

/* Its copy went on where this one stood still, whatever has become of it since. */
static bool is_newer(const struct pair *p)
{
	return p->have_theirs && verdict_went_on(&p->theirs, &p->mine);
}

static void gather(struct promote_facts *f, struct volume *v)
{
	*f = (struct promote_facts){
		.volume = v->name, .size = v->k.size, .primary = v->k.role == REPL_ROLE_PRIMARY,
		/* What is being applied will be whole before it is promoted. */
		.consistent = (v->k.sb_flags & REPL_SB_CONSISTENT) ||
			      (redo_active(v) && !redo_stuck(v)),
		.stuck = redo_stuck(v) ? v->redo.why : NULL,
		.identity = v->k.sb_flags & REPL_SB_IDENTITY, .peer_count = v->pair_count,
		.arbiter = v->set.arbiter ? v->set.arbiter_is : NULL,
	};
	for (unsigned int i = 0; i < v->k.slot_count; i++)
		f->slots += v->k.slot[i].kind == REPL_SLOT_PEER;
	for (unsigned int i = 0; i < v->pair_count; i++) {
		const struct pair *p = v->pair[i];

		f->peer[i] = (struct promote_peer){
			.name = p->peer->name, .size = p->theirs.size,
			.there = p->session, .connected = p->session && p->have_theirs,
			.primary = p->theirs.flags & REPL_MV_PRIMARY,
			.consistent = p->theirs.flags & REPL_MV_CONSISTENT,
			.identity = p->theirs.flags & REPL_MV_IDENTITY,
			.live = p->mine.flags & REPL_MV_LIVE,
			.was_live = pair_was_live(p), .newer = is_newer(p),
			.outrun = pair_outrun(p),
			.diskless = (p->theirs.flags & REPL_MV_FAILING) &&
				    !(p->theirs.flags & REPL_MV_PRIMARY),
			.same_generation = id_equal(&p->theirs.generation, &p->mine.generation),
		};
	}
}

static void plan_to_ask(struct volume *v, uint32_t who)
{
	v->task.ask = who;
	v->task.question = ++v->core->questions;
	v->task.deadline = v->core->now + CORE_CONSENT_MS;
	/* Nobody's consent is older than this. */
	v->task.good_until = v->task.deadline - CORE_CONSENT_LATE_MS;
	for (unsigned int i = 0; i < v->pair_count; i++) {
		v->pair[i]->asked = who & 1u << i;
		v->pair[i]->told = v->pair[i]->granted = false;
	}
}

/* Only this side's end of the link is live: the peer must refuse, and cannot adopt a generation. */
static bool is_joining(const struct pair *p)
{
	return p->phase == PHASE_L_ADD || p->phase == PHASE_L_ADOPT;
}

static bool numbers(const struct pair *p)
{
	return p->session && (p->session->features & REPL_HF_QUESTION);
}

static void ask(struct pair *p)
{
	struct volume *v = p->volume;
	struct msg_consent question = {
		.generation = v->k.generation, .granted = v->task.flags & REPL_F_PEER_DEAD,
		.question = numbers(p) ? v->task.question : 0,
	};
	struct repl_msg_consent m;

	if (p->told)
		return;
	p->told = true;
	msg_pack_consent(&question, &m);
	session_send(p, REPL_MSG_CONSENT_ASK, &m, sizeof(m));
}

/*
 * To whom this copy has consented, while that may still come true: whoever has begun its
 * generation, in which this copy is by now, has had the use of it.  One that is away is
 * believed to have begun it only if @dead: then it is said to be off.
 */
static const char *consented_to(const struct volume *v, bool dead)
{
	const struct pair *p = NULL;

	if (!v->consent_to || v->core->now >= v->consent_until)
		return NULL;
	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->peer == v->consent_to)
			p = v->pair[i];
	if (p && !id_equal(&v->consent_from, &v->k.generation) &&
	    (p->have_theirs ? id_equal(&p->theirs.generation, &v->k.generation) : dead))
		return NULL;
	return v->consent_to->name;
}

bool task_may_begin(const struct pair *p)
{
	const struct volume *v = p->volume;

	return v->consent_to == p->peer && v->core->now < v->consent_until &&
	       id_equal(&v->consent_from, &v->k.generation);
}

/* Of two that begin at once and are live with each other the kernels refuse one; else nobody does. */
static const char *begins_unseen(const struct volume *v, bool dead)
{
	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->peer == v->consent_to && (v->pair[i]->mine.flags & REPL_MV_LIVE))
			return NULL;
	return consented_to(v, dead);
}

/* By what is known now. */
static bool plan_promotion(struct promote_plan *plan, struct volume *v, bool force, bool peer_dead)
{
	struct promote_facts facts;

	gather(&facts, v);
	facts.force = force;
	facts.peer_dead = peer_dead;
	facts.granted = begins_unseen(v, peer_dead);
	promote_plan(plan, &facts);
	return plan->step != PROMOTE_REFUSED && plan->step != PROMOTE_ALREADY;
}

static void go_by_plan(struct volume *v, const struct promote_plan *plan)
{
	v->task.flags = plan->flags;
	v->task.unlink = plan->unlink;
	v->task.forget = v->task.force && redo_stuck(v);
	v->task.arbiter = plan->step == PROMOTE_ARBITER;
	if (plan->ask)
		plan_to_ask(v, plan->ask);
	task_go(v);
}

void core_primary(struct core *c, const struct core_request *r)
{
	struct volume *v = task_volume(c, r);
	struct promote_plan plan;

	if (!v)
		return;
	if (v->set.arbiter && (v->arbiter.spoiled[0] || (v->k.flags & REPL_VF_ZOMBIE))) {
		core_reply(c, r->id, false, "%s: %s", v->name, v->arbiter.spoiled[0] ? v->arbiter.spoiled :
			   "somebody still has it open since its forced demotion: end that first");
		return;
	}
	if (!plan_promotion(&plan, v, r->force, r->peer_dead)) {
		core_reply(c, r->id, plan.step == PROMOTE_ALREADY, "%s", plan.text);
		return;
	}
	v->task = (struct task){
		.kind = TASK_PRIMARY, .request = r->id, .force = r->force, .peer_dead = r->peer_dead,
	};
	go_by_plan(v, &plan);
}

/* ->granted goes with it: this node may consent to another one's promotion until it asks again. */
static void pause_promotion(struct volume *v)
{
	for (unsigned int i = 0; i < v->pair_count; i++) {
		if (v->pair[i]->told)
			disclaim_later(v);
		v->pair[i]->asked = v->pair[i]->told = v->pair[i]->granted = false;
	}
	v->task.begun = false;
	v->task.pauses = true;
	v->task.deadline = v->core->now + TASK_PAUSE_MS;
	core_get(v);
}

/*
 * A peer was lost while it was told the new generation: another had told it first, say, and it
 * went to follow that.  Whoever lost it cannot know better than to say it again.
 */
static bool begin_again(struct volume *v, const struct op_result *r)
{
	if (v->task.kind != TASK_PRIMARY || v->task.arbiter || r->error != -ECONNABORTED ||
	    v->task.tries++ == TASK_TRIES)
		return false;
	core_log(v->core, LOG_LEVEL_INFO, v, NULL, "not primary yet: %s; it is tried again", words(r));
	pause_promotion(v);
	return true;
}

static void pause_ended(struct volume *v)
{
	struct promote_plan plan;
	/* Only this task could have made it primary. */
	bool can = plan_promotion(&plan, v, v->task.force, v->task.peer_dead);

	v->task.pauses = false;
	v->task.deadline = 0;
	if (can)
		go_by_plan(v, &plan);
	else if (v->task.tries++ < TASK_TRIES)
		pause_promotion(v);
	else
		task_end(v, false, plan.text);
}

/* Nobody waits for ever; but what was asked is asked on. */
static void tell_unanswered(struct volume *v)
{
	char words[CORE_REASON_MAX + 128], text[2 * CORE_REASON_MAX];

	arbiter_words(v, words, sizeof(words));
	snprintf(text, sizeof(text), "%s: no answer from the arbiter yet: it %s; as soon as it grants it, this "
		 "node is primary", v->name, words);
	task_end(v, false, text);
}

/*
 * The links took long to end, or what was staged to be applied: whoever has consented may have
 * consented to another node by now.
 */
static void ask_again(struct volume *v)
{
	char text[256];

	for (unsigned int i = 0; i < v->pair_count; i++) {
		if (!(v->task.ask & 1u << i) || v->pair[i]->session)
			continue;
		snprintf(text, sizeof(text), "%s: %s was disconnected, and its consent has expired: try again",
			 v->name, v->pair[i]->peer->name);
		task_end(v, false, text);
		return;
	}
	if (v->task.asked_again++ == TASK_ASKS_AGAIN) {
		snprintf(text, sizeof(text), "%s: the peers consent so late that it cannot be used: look at the load "
			 "there and at the network between, and try again", v->name);
		task_end(v, false, text);
		return;
	}
	core_log(v->core, LOG_LEVEL_INFO, v, NULL, "the consents have expired meanwhile: asking once more");
	plan_to_ask(v, v->task.ask);
	/* What was applied may have brought another generation, which is to be named. */
	core_get(v);
}

/* Whoever said --force before this could not mean a copy that is half changed. */
static void tell_stuck(struct volume *v)
{
	char text[2 * CORE_REASON_MAX];

	snprintf(text, sizeof(text), "%s: what was staged for this copy is being applied, and that has just failed: %s: "
		 "it is tried again: see repl-ctl status %s, and say it again when that is done; or, to take this copy "
		 "half changed, now that this is known, with --force", v->name, v->redo.why, v->name);
	task_end(v, false, text);
}

static void primary_go(struct volume *v)
{
	struct op op = { .kind = OP_ROLE, .role = REPL_ROLE_PRIMARY, .flags = v->task.flags };
	bool all = true;

	if (v->task.pauses)
		return;
	for (unsigned int i = 0; i < v->pair_count; i++) {
		bool joins = v->task.deadline && is_joining(v->pair[i]);

		if (!joins && (!v->pair[i]->asked || v->pair[i]->granted))
			continue;
		if (!joins)
			ask(v->pair[i]);
		all = false;
	}
	if (!all)
		return;
	if (v->task.arbiter) {
		v->task.begun = true;
		v->task.deadline = v->core->now + CORE_ARBITER_MS;
		arbiter_promote(v);
		return;
	}
	v->task.deadline = 0;
	for (unsigned int i = 0; v->task.unlink && i < v->pair_count; i++) {
		struct op del = { .kind = OP_LINK_DEL, .slot = (uint8_t)pair_slot(v->pair[i]) };

		if (!v->pair[i]->asked && (v->pair[i]->mine.flags & REPL_MV_LIVE))
			core_op(v, NULL, &del);
	}
	v->task.unlink = false;
	if (redo_stuck(v) && v->redo.step == REDO_WAIT && !v->task.forget) {
		tell_stuck(v);
		return;
	}
	if (redo_stuck(v) && v->redo.step == REDO_WAIT)
		redo_forget(v);
	if (v->pending || redo_active(v))
		return;
	if (v->task.good_until && v->core->now >= v->task.good_until) {
		ask_again(v);
		return;
	}
	v->task.begun = true;
	core_op(v, NULL, &op);
}

/* An older one may have been granted so long ago that the peer has consented to another node since. */
static bool is_answer(const struct pair *p, const struct msg_consent *m)
{
	const struct volume *v = p->volume;

	return v->task.kind == TASK_PRIMARY && !v->task.begun && p->asked &&
	       id_equal(&m->generation, &v->k.generation) &&
	       (m->question == v->task.question || !numbers(p));
}

void task_consent_heard(struct pair *p, const struct msg_consent *m, const void *why,
			size_t length)
{
	struct volume *v = p->volume;
	char text[REPL_TEXT_MAX], all[REPL_TEXT_MAX + 256];

	if (!is_answer(p, m)) {
		/* It came too late to be used, and has made the peer fear what will not be. */
		if (m->granted)
			disclaim_later(v);
		return;
	}
	if (m->granted) {
		p->granted = true;
		task_go(v);
		return;
	}
	msg_text(text, why, length);
	snprintf(all, sizeof(all), "%s: %s does not consent: %s", v->name, p->peer->name, text);
	task_end(v, false, all);
}

void task_peer_changed(struct pair *p)
{
	struct volume *v = p->volume;
	char text[256];

	if (v->task.kind == TASK_PRIMARY && !v->task.begun && p->asked && !p->granted &&
	    !p->session) {
		snprintf(text, sizeof(text), "%s: %s was disconnected before it consented: try again",
			 v->name, p->peer->name);
		task_end(v, false, text);
	}
	if (!p->session) {
		resize_peer_lost(p);
		takeover_end(p, "it was disconnected before it answered");
	}
	check_waiters(v);
}

/* While its consent to this copy's promotion may be used, it must not get this copy's. */
static bool is_about_to(const struct pair *p)
{
	return p->volume->task.kind == TASK_PRIMARY &&
	       (p->peer->lower || p->granted || task_begins(p->volume));
}

static const char *other_primary(const struct pair *but)
{
	const struct volume *v = but->volume;

	for (unsigned int i = 0; i < v->pair_count; i++) {
		const struct pair *p = v->pair[i];

		if (p != but && p->have_theirs && (p->theirs.flags & REPL_MV_PRIMARY))
			return p->peer->name;
	}
	return NULL;
}

static const char *newer_peer(const struct pair *but)
{
	const struct volume *v = but->volume;

	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i] != but && (is_newer(v->pair[i]) ||
					  (!v->pair[i]->have_theirs && pair_ahead(v->pair[i]))))
			return v->pair[i]->peer->name;
	return NULL;
}

bool task_begins(const struct volume *v)
{
	return v->task.kind == TASK_PRIMARY && v->task.begun && !v->task.arbiter;
}

static const char *linked_peer(const struct pair *but)
{
	const struct volume *v = but->volume;

	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i] != but && (v->pair[i]->mine.flags & REPL_MV_LIVE))
			return v->pair[i]->peer->name;
	return NULL;
}

void task_consent_asked(struct pair *p, const struct msg_consent *m)
{
	struct volume *v = p->volume;
	struct promote_consent c = {
		.node = p->peer->name, .primary = v->k.role == REPL_ROLE_PRIMARY,
		.knows_primary = other_primary(p), .live = p->mine.flags & REPL_MV_LIVE,
		.diskless = v->k.flags & REPL_VF_DISKLESS,
		.consistent = v->k.sb_flags & REPL_SB_CONSISTENT,
		.identity = v->k.sb_flags & REPL_SB_IDENTITY,
		.same_generation = id_equal(&m->generation, &v->k.generation),
		.about_to = is_about_to(p),
		.newer = newer_peer(p), .absent = pair_absent(p), .peer_dead = m->granted,
		.linked = linked_peer(p), .granted = consented_to(v, m->granted),
	};
	struct {
		struct repl_msg_consent m;
		char text[REPL_TEXT_MAX];
	} answer;
	struct msg_consent says = { .generation = m->generation, .question = m->question };

	says.granted = promote_consent(&c, answer.text);
	msg_pack_consent(&says, &answer.m);
	if (says.granted) {
		v->consent_to = p->peer;
		v->consent_until = v->core->now + CORE_CONSENT_MS;
		v->consent_from = v->k.generation;
		/* Without a link nothing here will tell that it has begun, should it be lost then. */
		if (!(p->mine.flags & REPL_MV_LIVE)) {
			p->outrun = v->k.generation;
			p->begins_until = v->consent_until;
		}
	}
	core_log(v->core, LOG_LEVEL_INFO, v, p, "%s to its becoming primary%s%s",
		 says.granted ? "consented" : "did not consent", says.granted ? "" : ": ", answer.text);
	session_send(p, REPL_MSG_CONSENT, &answer, sizeof(answer.m) + strlen(answer.text));
}

/* ---------------------------------------------------- the other tasks --- */

void core_secondary(struct core *c, const struct core_request *r)
{
	struct volume *v = task_volume(c, r);
	struct op op = {
		.kind = OP_ROLE, .role = REPL_ROLE_SECONDARY, .flags = r->force ? REPL_F_FORCE : 0,
	};

	if (!v)
		return;
	if (v->k.role == REPL_ROLE_SECONDARY) {
		core_reply(c, r->id, true, "%s", "");
		return;
	}
	v->task = (struct task){ .kind = TASK_SECONDARY, .request = r->id, .begun = true };
	core_op(v, NULL, &op);
}

void core_down(struct core *c, const struct core_request *r)
{
	struct volume *v = task_volume(c, r);

	if (!v)
		return;
	v->task = (struct task){ .kind = TASK_DOWN, .request = r->id, .force = r->force };
	for (unsigned int i = 0; i < v->pair_count; i++)
		pair_hold(v->pair[i]);
	task_go(v);
}

static void down_go(struct volume *v)
{
	struct op op = { .kind = OP_DETACH, .flags = v->task.force ? REPL_F_FORCE : 0 };

	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->pending)
			return;
	if (v->pending)
		return;
	v->task.begun = true;
	core_op(v, NULL, &op);
}

void task_go(struct volume *v)
{
	check_waiters(v);
	if (v->task.begun)
		return;
	if (v->task.kind == TASK_RESIZE || v->task.kind == TASK_GROW)
		resize_go(v);
	else if (v->task.kind == TASK_PRIMARY)
		primary_go(v);
	else if (v->task.kind == TASK_REPLACE)
		replace_go(v);
	else if (v->task.kind == TASK_MEMBER)
		member_go(v);
	else if (v->task.kind == TASK_DOWN)
		down_go(v);
}

void task_op_done(struct volume *v, enum op_kind kind, const struct op_result *r)
{
	enum task_kind task = v->task.kind;
	char text[CORE_REASON_MAX];

	if (redo_op_done(v, kind, r)) {
		task_go(v);
		return;
	}
	if (kind == OP_RESIZE) {
		resize_op_done(v, r);
		return;
	}
	if (kind == OP_REPLACE) {
		replace_op_done(v, r);
		return;
	}
	if (task == TASK_MEMBER) {
		member_op_done(v, kind, r);
		return;
	}
	if (!v->task.begun) {
		if (r->error)
			core_log(v->core, LOG_LEVEL_WARN, v, NULL, "could not %s: %s", op_name(kind),
				 words(r));
		task_go(v);
		return;
	}
	if (r->error && begin_again(v, r))
		return;
	if (!r->error && task == TASK_DOWN) {
		task_removed(v, "down");
		return;
	}
	if (r->error)
		snprintf(text, sizeof(text), "%s: could not %s: %s", v->name, op_name(kind), words(r));
	else
		snprintf(text, sizeof(text), "%s: %s", v->name,
			 task == TASK_PRIMARY ? "primary now" : "secondary now");
	task_end(v, !r->error, text);
	for (unsigned int i = 0; task == TASK_DOWN && i < v->pair_count; i++)
		pair_release(v->pair[i]);
	core_get(v);
}

void task_tick(struct volume *v)
{
	char text[256];

	if (v->disclaim_at && v->core->now >= v->disclaim_at)
		disclaim(v);
	if (!v->task.deadline || v->core->now < v->task.deadline)
		return;
	if (v->task.kind == TASK_RESIZE || v->task.kind == TASK_GROW) {
		resize_tick(v);
		return;
	}
	if (v->task.kind == TASK_MEMBER) {
		member_tick(v);
		return;
	}
	if (v->task.pauses) {
		pause_ended(v);
		return;
	}
	if (v->task.kind == TASK_PRIMARY && v->task.arbiter && v->task.begun) {
		/* It may have been granted: the kernel is at it, and says how that went. */
		if (v->arbiter.using == OP_NONE)
			tell_unanswered(v);
		else
			v->task.deadline = v->core->now + TASK_PAUSE_MS;
		return;
	}
	snprintf(text, sizeof(text), "%s: a peer was joining all the time: try again", v->name);
	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->asked && v->pair[i]->told && !v->pair[i]->granted)
			snprintf(text, sizeof(text), "%s: %s did not answer whether it consents: try "
				 "again", v->name, v->pair[i]->peer->name);
	task_end(v, false, text);
}

/* ----------------------------------------------------------- removal ---- */

/*
 * What was asked for and not begun yet: the answer would find the volume gone a second
 * time, or somebody else's with its minor, or freed.
 */
static void drop_requests(struct volume *v)
{
	struct action_queue *q = &v->core->actions;
	struct action **at = &q->first, *a;

	while ((a = *at)) {
		bool asks = a->kind == ACTION_GET || a->kind == ACTION_OP ||
			    a->kind == ACTION_DIAL || a->kind == ACTION_THAW ||
			    a->kind == ACTION_ABORT || a->kind == ACTION_HELP ||
			    a->kind == ACTION_ASK || a->kind == ACTION_HOLD;

		if (asks && (a->volume == v || (a->pair && a->pair->volume == v))) {
			*at = a->next;
			action_free(a);
		} else {
			at = &a->next;
		}
	}
	q->last = at;
}

void task_removed(struct volume *v, const char *why)
{
	struct core *c = v->core;
	struct volume **at = &c->volumes;
	struct action *a;

	for (struct waiter *w = c->waiters, *next; w; w = next) {
		next = w->next;
		if (w->volume != v)
			continue;
		core_reply(c, w->request, false, "%s: %s", v->name, why);
		drop_waiter(c, w);
	}
	/* Without a task nobody is told: it is a line in the log, after the one that says how it went. */
	task_end(v, v->task.kind == TASK_DOWN || v->task.kind == TASK_NONE, why);
	notice_removed(v, why);
	for (unsigned int i = 0; i < v->pair_count; i++) {
		resolve_end(v->pair[i], "%s", why);
		takeover_end(v->pair[i], why);
		verify_end(v->pair[i], "%s", why);
	}
	for (struct session *s = c->sessions; s; s = s->next) {
		if (!s->pair || s->pair->volume != v)
			continue;
		session_refuse(s, "volume %s was taken down on %s", v->name, c->node);
		s->pair = NULL;
		session_close(s);
	}
	for (unsigned int i = 0; i < v->pair_count; i++) {
		/* What is under way ends while it is forgotten, and must move nothing. */
		v->pair[i]->phase = PHASE_HOLD;
		v->pair[i]->turn++;
		v->pair[i]->then = NULL;
		a = action_add(&c->actions, ACTION_FORGET, 0);
		a->pair = v->pair[i];
		a->volume = v;
	}
	while (*at != v)
		at = &(*at)->next;
	*at = v->next;
	drop_requests(v);
	action_add(&c->actions, ACTION_REMOVED, 0)->volume = v;
}

void core_volume_free(struct volume *v)
{
	drop_requests(v);
	for (unsigned int i = 0; i < v->pair_count; i++) {
		verify_free(v->pair[i]);
		free(v->pair[i]);
	}
	free(v);
}
