// SPDX-License-Identifier: GPL-2.0-or-later
#include "arbiter.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "id.h"
#include "pair.h"
#include "task.h"
#include "units.h"

static bool is_primary(const struct volume *v)
{
	return v->k.role == REPL_ROLE_PRIMARY;
}

/* Writes wait for a generation, and have not failed yet. */
static bool is_frozen(const struct volume *v)
{
	return is_primary(v) && (v->k.gate & (REPL_GATE_PEER_LOST | REPL_GATE_DISK)) &&
	       !(v->k.flags & REPL_VF_FAILING);
}

static bool is_open(const struct arbiter *a)
{
	return a->step == ARBITER_ASKS || a->step == ARBITER_GRANTED;
}

static const char *words(const struct op_result *r)
{
	return r->text && r->text[0] ? r->text : strerror(-r->error);
}

static void note(struct arbiter *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct arbiter *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->last, sizeof(a->last), fmt, ap);
	va_end(ap);
}

static struct repl_id random_id(struct core *c)
{
	uint64_t bits[2] = { core_random(c) | 1, core_random(c) };
	struct repl_id id;

	memcpy(&id, bits, sizeof(id));
	return id;
}

/* The task that waits for the answer, if one does. */
static void end_task(struct volume *v, bool ok, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void end_task(struct volume *v, bool ok, const char *fmt, ...)
{
	char text[CORE_REASON_MAX + 2 * REPL_NAME_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (v->task.kind == TASK_PRIMARY && v->task.arbiter)
		task_end(v, ok, text);
	else
		core_log(v->core, ok ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, v, NULL, "%s", text);
}

/* Whoever waited for this copy has its turn. */
static void release_pairs(struct volume *v)
{
	for (unsigned int i = 0; i < v->pair_count; i++)
		v->pair[i]->say = true;
	core_get(v);
}

/* There is nothing to wait for any more: neither to be asked, nor to be used. */
static void forget(struct volume *v)
{
	struct arbiter *a = &v->arbiter;

	if (is_open(a))
		action_add(&v->core->actions, ACTION_ASKED, 0)->volume = v;
	a->step = ARBITER_IDLE;
	a->promotes = a->asking = false;
	a->at = 0;
	release_pairs(v);
}

/* ------------------------------------------------------------- asking --- */

static void ask(struct volume *v, const struct repl_id *expect, const struct repl_id *want)
{
	struct action *act = action_add(&v->core->actions, ACTION_ASK, 0);

	act->volume = v;
	act->expect = *expect;
	act->want = *want;
	v->arbiter.asking = true;
	v->arbiter.at = 0;
}

static void begin_to_ask(struct volume *v)
{
	struct arbiter *a = &v->arbiter;

	a->step = ARBITER_ASKS;
	a->expect = v->k.generation;
	a->want = random_id(v->core);
	a->since = v->core->now;
	a->failures = 0;
	a->asking = false;
	note(a, "not answered yet");
	core_log(v->core, LOG_LEVEL_INFO, v, NULL, "asks the arbiter, %s, whether it may %s",
		 v->set.arbiter_is, is_primary(v) ? "go on" : "become primary");
	ask(v, &a->expect, &a->want);
}

static void ask_later(struct volume *v)
{
	struct arbiter *a = &v->arbiter;

	a->at = v->core->now + core_backoff(v->core, CORE_ASK_MIN_MS, CORE_ASK_MAX_MS, a->failures++);
}

static void denied(struct volume *v)
{
	struct arbiter *a = &v->arbiter;

	if (is_primary(v)) {
		a->lost = true;		/* if it is frozen still: go_primary() */
		core_log(v->core, LOG_LEVEL_WARN, v, NULL, "the arbiter has denied it: %s", a->last);
	} else {
		end_task(v, false, "%s: the arbiter, %s, has denied it: %s", v->name, v->set.arbiter_is,
			 a->last);
	}
	forget(v);
}

/* What a primary in sync hears long before it would need a grant. */
static void checked(struct volume *v, enum register_answer answer, const char *text)
{
	struct arbiter *a = &v->arbiter;
	char before[sizeof(a->last)];

	memcpy(before, a->last, sizeof(before));
	a->checking = false;
	if (answer == REGISTER_GRANTED) {
		a->failures = 0;
		a->checked = v->k.generation;
		note(a, "it agrees with this generation");
	} else {
		note(a, "%s", text);
		if (strcmp(before, a->last))
			core_log(v->core, LOG_LEVEL_WARN, v, NULL, "the arbiter, %s, would not let this node go "
				 "on without its peer: %s", v->set.arbiter_is, text);
		ask_later(v);
	}
}

void core_answered(struct volume *v, const struct repl_id *want, enum register_answer answer,
		   const char *text)
{
	struct arbiter *a = &v->arbiter;

	a->answer = answer;
	a->answered_at = v->core->now;
	if (a->step == ARBITER_IDLE && a->checking) {
		a->asking = false;
		checked(v, answer, text);
		return;
	}
	if (a->step != ARBITER_ASKS || !a->asking || !id_equal(want, &a->want))
		return;
	a->asking = false;
	switch (answer) {
	case REGISTER_GRANTED:
		a->step = ARBITER_GRANTED;
		note(a, "granted");
		core_log(v->core, LOG_LEVEL_INFO, v, NULL, "the arbiter has granted it");
		core_get(v);
		break;
	case REGISTER_DENIED:
		note(a, "%s", text);
		denied(v);
		break;
	case REGISTER_UNKNOWN:
		if (strcmp(a->last, text))
			core_log(v->core, LOG_LEVEL_WARN, v, NULL, "the arbiter, %s, gives no answer: %s",
				 v->set.arbiter_is, text);
		note(a, "%s", text);
		ask_later(v);
		break;
	}
}

void core_arbiter_found(struct volume *v, const struct repl_id *expect, const struct repl_id *want)
{
	struct arbiter *a = &v->arbiter;

	a->step = ARBITER_ASKS;
	a->expect = *expect;
	a->want = *want;
	/* If that is granted, nobody else can be primary any more, nor will anybody think of it. */
	a->promotes = v->set.takeover_ms;
	a->since = a->at = v->core->now;
	note(a, "asked before the agent was started anew, and not answered then");
}

void core_arbiter_spoiled(struct volume *v, const char *why)
{
	snprintf(v->arbiter.spoiled, sizeof(v->arbiter.spoiled), "%s", why);
	core_log(v->core, LOG_LEVEL_ERROR, v, NULL, "%s", why);
}

/* -------------------------------------------------------------- using --- */

static void begin_op(struct volume *v, const struct op *op)
{
	v->arbiter.using = op->kind;
	core_op(v, NULL, op);
}

/* Return: whether a link has yet to be dropped, or to end. */
static bool drop_links(struct volume *v)
{
	for (unsigned int i = 0; i < v->k.slot_count; i++) {
		const struct kernel_slot *s = &v->k.slot[i];
		struct op op = { .kind = OP_LINK_DEL, .slot = s->index };

		if (s->link == REPL_LINK_NONE)
			continue;
		if (s->link == REPL_LINK_LIVE)
			begin_op(v, &op);
		else
			v->arbiter.at = v->core->now + CORE_CLOSING_MS;
		return true;
	}
	return false;
}

/* A peer's copy went on from where this one stands: the register reads something else. */
static const struct pair *overtaken_by(const struct volume *v)
{
	for (unsigned int i = 0; i < v->pair_count; i++) {
		const struct pair *p = v->pair[i];

		if (p->session && p->have_theirs && verdict_newer(&p->theirs, &p->mine))
			return p;
	}
	return NULL;
}

/* Somebody else has been granted it, or nobody ever will be from here. */
static void demote(struct volume *v)
{
	struct op op = { .kind = OP_ROLE, .role = REPL_ROLE_SECONDARY, .flags = REPL_F_FORCE };

	core_log(v->core, LOG_LEVEL_WARN, v, NULL, "this node has lost the arbitration: the I/O that "
		 "waits fails, and it becomes secondary");
	begin_op(v, &op);
}

static void go_on(struct volume *v)
{
	struct op op = { .kind = OP_RESUME, .id = v->arbiter.want };

	if (is_frozen(v))
		begin_op(v, &op);
	else
		/* The peer is back, but the register reads what nobody has begun: catch up with it. */
		drop_links(v);
}

static void check_register(struct volume *v)
{
	struct arbiter *a = &v->arbiter;

	if (v->set.arbiter != REPL_MA_NODE || !(v->k.sb_flags & REPL_SB_IDENTITY) || a->asking ||
	    id_equal(&a->checked, &v->k.generation) || v->core->now < a->at)
		return;
	a->checking = true;
	ask(v, &v->k.generation, &v->k.generation);
}

static void go_primary(struct volume *v)
{
	struct arbiter *a = &v->arbiter;
	const struct pair *ahead = overtaken_by(v);
	bool lost = a->lost || ahead;

	a->lost = false;
	if (is_frozen(v) && lost) {
		if (ahead)
			note(a, "%s went on", ahead->peer->name);
		demote(v);
	} else if (is_frozen(v) && a->step == ARBITER_IDLE && !a->spoiled[0]) {
		a->checking = false;
		begin_to_ask(v);
	} else if (a->step == ARBITER_GRANTED && v->core->now >= a->at) {
		go_on(v);
	} else if (a->step == ARBITER_IDLE && !is_frozen(v)) {
		check_register(v);
	}
}

static void become_primary(struct volume *v)
{
	struct op op = {
		.kind = OP_ROLE, .role = REPL_ROLE_PRIMARY, .flags = REPL_F_ALONE,
		.id = v->arbiter.want,
	};

	if (!drop_links(v))
		begin_op(v, &op);
}

static void go_secondary(struct volume *v)
{
	struct arbiter *a = &v->arbiter;
	const struct pair *ahead = overtaken_by(v);

	a->lost = false;
	if (a->step == ARBITER_IDLE)
		return;
	if (ahead) {
		note(a, "%s went on", ahead->peer->name);
		end_task(v, false, "%s: %s went on meanwhile: this copy follows it", v->name,
			 ahead->peer->name);
		forget(v);
	} else if (a->step == ARBITER_UNLINK && !(v->k.sb_flags & REPL_SB_CONSISTENT)) {
		end_task(v, false, "%s: this copy is not consistent", v->name);
		forget(v);
	} else if (a->step == ARBITER_UNLINK) {
		if (!drop_links(v))
			begin_to_ask(v);
	} else if (a->step == ARBITER_GRANTED && a->promotes && v->core->now >= a->at) {
		become_primary(v);
	}
}

/* The answer is in use, or can be of no use any more. */
static void settle(struct volume *v)
{
	struct arbiter *a = &v->arbiter;

	if (!is_open(a) || id_equal(&v->k.generation, &a->expect))
		return;
	if (id_equal(&v->k.generation, &a->want)) {
		a->checked = a->want;
		note(a, "granted, and begun");
	} else {
		core_log(v->core, LOG_LEVEL_INFO, v, NULL, "the arbiter need not be asked any more: this "
			 "copy is of another generation now");
	}
	forget(v);
}

/* ------------------------------------------------------------ takeover -- */

/* While its primary is gone: since when, and in which generation it led this copy. */
static void watch_primary(struct volume *v)
{
	struct arbiter *a = &v->arbiter;
	bool gone = !v->served;

	if (v->served)
		a->led = v->k.generation;
	else if (is_primary(v) || !id_equal(&a->led, &v->k.generation))
		a->led = (struct repl_id){ 0 };
	for (unsigned int i = 0; i < v->pair_count; i++) {
		const struct pair *p = v->pair[i];

		if (p->mine.flags & REPL_MV_LIVE)
			gone = false;
		if (!p->session || !p->have_theirs)
			continue;
		if (p->theirs.flags & REPL_MV_PRIMARY)
			gone = false;
		else if (!(p->theirs.flags & REPL_MV_UNPROVEN))
			a->led = (struct repl_id){ 0 };	/* it was demoted: somebody wanted that */
	}
	if (!v->set.takeover_ms || id_is_zero(&a->led) || !gone)
		a->takeover_at = a->takeovers = 0;
	else if (!a->takeover_at)
		a->takeover_at = v->core->now + v->set.takeover_ms;
}

static void take_over(struct volume *v)
{
	struct arbiter *a = &v->arbiter;

	a->takeover_at = v->core->now + core_backoff(v->core, v->set.takeover_ms, CORE_TAKEOVER_MAX_MS,
						     a->takeovers++);
	if (v->task.kind != TASK_NONE || a->spoiled[0] || a->promotes ||
	    !(v->k.sb_flags & REPL_SB_CONSISTENT) || (v->k.flags & (REPL_VF_DISKLESS | REPL_VF_ZOMBIE)))
		return;
	core_log(v->core, LOG_LEVEL_WARN, v, NULL, "the primary is gone: this node wants to take over");
	arbiter_promote(v);
}

/* -------------------------------------------------------------- events -- */

static void next_step(struct volume *v)
{
	if (!v->set.arbiter || !v->known || v->arbiter.using || v->pending ||
	    v->task.kind == TASK_DOWN)
		return;
	settle(v);
	if (is_primary(v))
		go_primary(v);
	else
		go_secondary(v);
}

void arbiter_promote(struct volume *v)
{
	struct arbiter *a = &v->arbiter;

	a->promotes = true;
	a->lost = false;
	a->checking = false;
	/* A person waits now: what was put off is tried at once. */
	a->at = v->core->now;
	if (a->step == ARBITER_IDLE) {
		a->step = ARBITER_UNLINK;
		a->since = v->core->now;
		a->asking = false;
	}
	for (unsigned int i = 0; i < v->pair_count; i++)
		if (pair_leading(v->pair[i]) || pair_following(v->pair[i]))
			pair_leave(v->pair[i], false, "this node asks the arbiter whether it may become primary");
	core_get(v);
}

void arbiter_snapshot(struct volume *v)
{
	if (!v->set.arbiter)
		return;
	watch_primary(v);
	next_step(v);
}

bool arbiter_op_done(struct volume *v, enum op_kind kind, const struct op_result *r)
{
	struct arbiter *a = &v->arbiter;
	bool promoted = kind == OP_ROLE && !is_primary(v);

	if (a->using != kind)
		return false;
	a->using = OP_NONE;
	if (r->error && kind == OP_LINK_DEL) {
		core_log(v->core, LOG_LEVEL_INFO, v, NULL, "could not %s: %s", op_name(kind), words(r));
	} else if (r->error) {
		note(a, "%scould not %s: %s", a->step == ARBITER_GRANTED ? "granted, but " : "",
		     op_name(kind), words(r));
		end_task(v, false, "%s: %s; it is tried again", v->name, a->last);
		a->at = v->core->now + core_backoff(v->core, CORE_RETRY_MIN_MS, CORE_RETRY_MAX_MS,
						    a->failures++);
	} else if (promoted) {
		end_task(v, true, "%s: primary now", v->name);
	} else if (kind == OP_RESUME) {
		core_log(v->core, LOG_LEVEL_INFO, v, NULL, "goes on without the lost peer");
	}
	core_get(v);
	return true;
}

void arbiter_tick(struct volume *v)
{
	struct arbiter *a = &v->arbiter;

	if (!v->set.arbiter || !v->known)
		return;
	if (a->at && v->core->now >= a->at) {
		if (a->step == ARBITER_ASKS && !a->asking) {
			ask(v, &a->expect, &a->want);
		} else {
			a->at = 0;
			core_get(v);
		}
	}
	if (a->takeover_at && v->core->now >= a->takeover_at)
		take_over(v);
}

uint64_t arbiter_deadline(const struct volume *v)
{
	const struct arbiter *a = &v->arbiter;

	if (!v->known)
		return 0;
	if (!v->set.arbiter || !a->takeover_at || (a->at && a->at < a->takeover_at))
		return a->at;
	return a->takeover_at;
}

const char *arbiter_binds(const struct volume *v)
{
	const struct arbiter *a = &v->arbiter;

	if (!v->set.arbiter || is_primary(v) || a->step == ARBITER_IDLE)
		return NULL;
	if (a->step == ARBITER_GRANTED)
		return "waits until this node is primary: the arbiter has granted it";
	return "waits for the arbiter, whom this node has asked";
}

void arbiter_words(const struct volume *v, char *text, size_t size)
{
	const struct arbiter *a = &v->arbiter;
	const char *may = is_primary(v) ? "go on without its peer" : "become primary";
	char age[UNITS_TEXT_MAX];

	text[0] = '\0';
	if (a->spoiled[0])
		snprintf(text, size, "%s", a->spoiled);
	else if (a->step == ARBITER_UNLINK)
		snprintf(text, size, "has not been asked yet: the last writes of the link that this node closes must end first");
	else if (a->step == ARBITER_ASKS)
		snprintf(text, size, "has been asked for %s whether this node may %s: %s",
			 units_format_duration(v->core->now - a->since, age), may, a->last);
	else if (a->step == ARBITER_GRANTED && !is_primary(v) && !a->promotes)
		snprintf(text, size, "has let this node alone go on: use that with repl-ctl primary %s", v->name);
	else if (a->step == ARBITER_GRANTED)
		snprintf(text, size, "has granted that this node may %s: %s", may, a->last);
}
