// SPDX-License-Identifier: GPL-2.0-or-later
#include "resolve.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comeback.h"
#include "id.h"
#include "pair.h"
#include "session.h"
#include "units.h"

bool resolve_saving(const struct pair *p)
{
	return p->phase >= PHASE_S_LEND_CUT && p->phase <= PHASE_S_SAVE;
}

static void say(struct pair *p, const struct msg_resolve *r, const char *text)
{
	struct {
		struct repl_msg_resolve m;
		char text[REPL_TEXT_MAX];
	} body;
	size_t length = strnlen(text, sizeof(body.text));

	msg_pack_resolve(r, &body.m);
	memcpy(body.text, text, length);
	session_send(p, REPL_MSG_RESOLVE, &body, sizeof(body.m) + length);
}

static void say_step(struct pair *p, enum repl_resolve_step step, const char *text)
{
	struct msg_resolve r = {
		.keep = p->resolve.ids.keep, .discard = p->resolve.ids.discard, .step = step,
		.no_save = step == REPL_RESOLVE_ASK && p->resolve.no_save,
	};

	say(p, &r, text);
}

/* Over: tells whoever waits for it, here or there. */
static void finish(struct pair *p, bool good, const char *text)
{
	struct resolve r = p->resolve;

	core_log(p->core, good ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, p->volume, p, "resolve: %s", text);
	core_reply(p->core, r.request, good, "%s: %s", p->volume->name, text);
	if (!good)
		say_step(p, REPL_RESOLVE_REFUSED, text);
	p->resolve = (struct resolve){ .step = RESOLVE_NONE };
	comeback_ended(p, good, r.saved[0], text);
}

void resolve_end(struct pair *p, const char *fmt, ...)
{
	char why[sizeof(struct err)], text[sizeof(struct err) + CORE_PATH_MAX + 128];
	bool saving = resolve_saving(p);
	/* Who leads learns of the follower's step later than it is taken, and may never. */
	bool begun = pair_leading(p) || pair_following(p);
	const char *so = begun ? "whether the other copy follows already, status shows"
			       : "nothing was discarded";
	va_list ap;

	if (p->resolve.step == RESOLVE_NONE)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (p->resolve.saved[0])
		snprintf(text, sizeof(text), "%s; %s, and what it had alone is saved there in %s", why,
			 so, p->resolve.saved);
	else
		snprintf(text, sizeof(text), "%s; %s", why, so);
	finish(p, false, text);
	if (saving)
		pair_leave(p, false, "split still: %s", why);
}

/* ---------------------------------------------- may it be resolved so? -- */

static const char *live_with(const struct pair *but)
{
	const struct volume *v = but->volume;

	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i] != but && (v->pair[i]->mine.flags & REPL_MV_LIVE))
			return v->pair[i]->peer->name;
	return NULL;
}

static bool under_way(const struct volume *v)
{
	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i]->resolve.step != RESOLVE_NONE)
			return true;
	return false;
}

static bool is_about(const struct resolution *r, const struct copy *keep,
		     const struct copy *discard)
{
	return id_equal(&r->keep, &keep->generation) && id_equal(&r->discard, &discard->generation);
}

/* What two copies say of themselves forbids it.  Return: 0, or -errno with words. */
static int forbid_copies(const struct pair *p, const struct resolution *r, bool keeps,
			 struct err *e)
{
	const struct volume *v = p->volume;
	const struct copy *keep = keeps ? &p->mine : &p->theirs;
	const struct copy *discard = keeps ? &p->theirs : &p->mine;
	struct verdict verdict = { .kind = VERDICT_SPLIT };

	if (!verdict_is_split(&p->mine, &p->theirs))
		return err_set(e, ENOENT, "there is no split with %s: %s", p->peer->name, p->reason);
	if (!is_about(r, keep, discard))
		return err_set(e, ESTALE, "the copies have changed since they were shown: look again "
			       "with repl-ctl resolve %s", v->name);
	if (discard->flags & REPL_MV_PRIMARY)
		return err_set(e, EBUSY, "%s is primary, and its copy would go: end what uses it and "
			       "make it secondary (there: repl-ctl secondary %s), then look again",
			       keeps ? p->peer->name : p->core->node, v->name);
	verdict_resolve(&verdict, r, &p->mine, &p->theirs);
	if (verdict.kind == VERDICT_REFUSE)
		return err_set(e, EINVAL, "%s", verdict.why);
	return 0;
}

/* Why it cannot be done now.  Return: 0, or -errno with words. */
static int forbid(const struct pair *p, const struct resolution *r, bool keeps, struct err *e)
{
	const char *third = live_with(p), *node = p->core->node;
	const struct pair *served = p->volume->served;
	int ret;

	if (!p->session || !p->have_theirs)
		return err_set(e, ENOTCONN, "%s is not connected, and both nodes must agree: %s",
			       p->peer->name, p->reason);
	if (under_way(p->volume))
		return err_set(e, EALREADY, "a split of this volume is being resolved already");
	ret = forbid_copies(p, r, keeps, e);
	if (ret)
		return ret;
	if (!keeps && third)
		return err_set(e, EBUSY, "%s is in sync with %s, whose copy would then be split from "
			       "it: take the volume down on %s first, and resolve that split "
			       "afterwards", node, third, third);
	if (keeps && served)
		return err_set(e, EBUSY, "%s follows %s, which is primary: keep %s instead", node,
			       served->peer->name, served->peer->name);
	/* What was begun for a resolve that was given up may not have ended. */
	if ((p->phase != PHASE_MEET && p->phase != PHASE_LOOK) || p->pending)
		return err_set(e, EBUSY, "something else is under way with %s: try again",
			       p->peer->name);
	return 0;
}

/* A release that knows nothing of the other side's map saves less than is lost. */
static int forbid_saving(const struct pair *p, struct err *e)
{
	if (p->session->features & REPL_HF_SPLIT_MAP)
		return 0;
	return err_set(e, EPROTO, "the release on %s cannot tell which blocks it has staged and not used, "
		       "so not all that would be lost would be saved: update it, then look again",
		       p->peer->name);
}

/* -------------------------------------------------- the discarded copy -- */

/* What only this copy had is safe, or nobody wants it: both may go on. */
static void agree(struct pair *p)
{
	p->resolve.step = RESOLVE_AGREED;
	p->resolve.deadline = p->core->now + CORE_RESOLVE_MS;
	say_step(p, REPL_RESOLVE_AGREED, p->resolve.saved);
}

static void cut_in(struct pair *p, enum phase phase)
{
	struct op op = {
		.kind = OP_CUT, .slot = (uint8_t)pair_slot(p), .flags = REPL_CUT_UNFROZEN,
	};

	if (pair_slot(p) < 0) {
		resolve_end(p, "there is no slot for the copy on %s any more: look again with repl-ctl resolve %s",
			    p->peer->name, p->volume->name);
		return;
	}
	p->phase = phase;
	core_op(p->volume, p, &op);
}

static void cut(struct pair *p)
{
	cut_in(p, PHASE_S_CUT);
}

/* Whoever knows nothing of this copy will overwrite all of it. */
static void mark_all(struct pair *p)
{
	struct op op = {
		.kind = OP_MARK, .mask = 1u << pair_slot(p), .extent_count = 1,
		.extents = calloc(1, sizeof(*op.extents)),
	};

	if (!op.extents)
		abort();
	op.extents->count = copy_blocks(p->mine.size);
	p->run.map_done = true;
	core_op(p->volume, p, &op);
}

/*
 * What this copy had sent to the other, and the other had staged, is clean here: of these
 * blocks only the other's map knows.
 */
static void take_map(struct pair *p)
{
	p->phase = PHASE_S_MAP;
	pair_reason(p, "split: takes in what %s knows to differ", p->peer->name);
	if (!verdict_speaks(&p->theirs, &p->mine)) {
		mark_all(p);
		return;
	}
	p->resolve.deadline = p->core->now + CORE_RESOLVE_MS;
	say_step(p, REPL_RESOLVE_MAP, "");
}

bool resolve_mapped(struct pair *p)
{
	if (p->phase != PHASE_S_MAP)
		return false;
	p->resolve.deadline = 0;
	cut(p);
	return true;
}

/* A copy that has not met the other one counts as changed from its first block to its last. */
static void assign_slot(struct pair *p)
{
	if (!pair_assign_slot(p))
		resolve_end(p, PAIR_NO_SLOT, p->volume->k.slots);
}

static void save(struct pair *p)
{
	struct op op = {
		.kind = OP_SAVE, .slot = (uint8_t)pair_slot(p), .size = p->mine.size,
	};
	char text[UNITS_TEXT_MAX];

	p->phase = PHASE_S_SAVE;
	p->run.began_at = p->run.words_at = p->core->now;
	p->run.left_bytes = p->mine.slot_dirty_blocks << REPL_BLOCK_SHIFT;
	pair_reason(p, "split: saves what only this copy has");
	core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "resolve: saves %s that the other copy may not have",
		 units_format_bytes(p->run.left_bytes, text));
	core_op(p->volume, p, &op);
}

static void begin(struct pair *p)
{
	char keep[ID_TEXT_MAX], discard[ID_TEXT_MAX];

	core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "resolve: %s is kept (generation %s), this "
		 "copy's own changes go (generation %s)", p->peer->name,
		 id_format(&p->resolve.ids.keep, keep), id_format(&p->resolve.ids.discard, discard));
	if (p->resolve.no_save) {
		agree(p);
		pair_look(p, true);
		return;
	}
	p->resolve.step = RESOLVE_SAVING;
	memset(&p->run, 0, sizeof(p->run));
	p->timer = 0;
	p->phase = PHASE_S_SLOT;
	if (verdict_speaks(&p->mine, &p->theirs))
		take_map(p);
	else
		assign_slot(p);
}

static void saved(struct pair *p, const char *path)
{
	snprintf(p->resolve.saved, sizeof(p->resolve.saved), "%s", path);
	core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "resolve: saved in %s", path);
	agree(p);
	/* The cut's blocks are dirty again: they are what the other copy must send. */
	pair_leave(p, false, "split, and resolved: waits for %s to lead", p->peer->name);
}

static void lend_op_done(struct pair *p, enum op_kind kind);

void resolve_op_done(struct pair *p, enum op_kind kind, const struct op_result *r)
{
	if (r->error) {
		resolve_end(p, "could not %s: %s", op_name(kind),
			    r->text && r->text[0] ? r->text : strerror(-r->error));
	} else if (p->resolve.keeps) {
		lend_op_done(p, kind);
	} else if (kind == OP_SLOT_SET) {
		p->then = cut;
		core_get(p->volume);
	} else if (kind == OP_MARK) {
		p->resolve.deadline = p->core->now + CORE_RESOLVE_MS;
		lead_map_step(p);
	} else if (kind == OP_CUT) {
		/* What it holds is in 'dirty' of a newer snapshot. */
		p->then = save;
		core_get(p->volume);
	} else if (kind == OP_SAVE) {
		saved(p, r->text);
	}
}

void resolve_changed(struct pair *p)
{
	bool keeps = p->resolve.keeps;
	const struct copy *keep = keeps ? &p->mine : &p->theirs;
	const struct copy *discard = keeps ? &p->theirs : &p->mine;
	const char *third = keeps ? NULL : live_with(p);

	if (!is_about(&p->resolve.ids, keep, discard) || (discard->flags & REPL_MV_PRIMARY))
		resolve_end(p, "the copies have changed meanwhile: look again with repl-ctl resolve %s",
			    p->volume->name);
	else if (third)
		resolve_end(p, "this copy goes with %s now", third);
}

void resolve_progress(struct pair *p, uint64_t bytes)
{
	struct procedure *run = &p->run;
	struct msg_resolve r = {
		.keep = p->resolve.ids.keep, .discard = p->resolve.ids.discard,
		.step = REPL_RESOLVE_PROGRESS, .total_bytes = run->left_bytes,
	};
	char left[UNITS_TEXT_MAX];
	struct action *a;

	run->done_bytes += bytes;
	if (p->core->now < run->words_at + CORE_WORDS_MIN_MS || !run->left_bytes)
		return;
	run->words_at = p->core->now;
	r.done_bytes = run->done_bytes < run->left_bytes ? run->done_bytes : run->left_bytes;
	units_format_bytes(run->left_bytes - r.done_bytes, left);
	pair_reason(p, "split: saves what only this copy has, %s left", left);
	if (p->resolve.remote)
		say(p, &r, "");
	if (!p->resolve.request)
		return;
	a = action_add(&p->core->actions, ACTION_PROGRESS, 0);
	a->request = p->resolve.request;
	a->text = strdup(p->reason);
}

/* --------------------------------------------------------- the kept one -- */

static void heard_progress(struct pair *p, const struct msg_resolve *m)
{
	char left[UNITS_TEXT_MAX];
	struct action *a;

	p->resolve.deadline = p->core->now + CORE_RESOLVE_MS;
	units_format_bytes(m->total_bytes > m->done_bytes ? m->total_bytes - m->done_bytes : 0, left);
	pair_reason(p, "split: %s saves what only it has, %s left", p->peer->name, left);
	if (!p->resolve.request)
		return;
	a = action_add(&p->core->actions, ACTION_PROGRESS, 0);
	a->request = p->resolve.request;
	a->text = strdup(p->reason);
}

static void refuse(struct pair *p, const struct msg_resolve *m, const char *why)
{
	struct msg_resolve r = {
		.keep = m->keep, .discard = m->discard, .step = REPL_RESOLVE_REFUSED,
	};

	core_log(p->core, LOG_LEVEL_WARN, p->volume, p, "resolve: refused: %s", why);
	say(p, &r, why);
}

/* The same as when it was asked for here, or if it would be now. */
static int forbid_still(struct pair *p, const struct msg_resolve *m, struct err *e)
{
	struct resolution ids = { m->keep, m->discard };
	struct resolve asked = p->resolve;
	int ret;

	p->resolve = (struct resolve){ .step = RESOLVE_NONE };
	ret = forbid(p, &ids, true, e);
	p->resolve = asked;
	p->resolve.ids = ids;
	return ret;
}

/*
 * What this copy has staged and not used is noted in its map for the other, who must save it.
 * To tell it a cut is enough: it is closed at once, and what it holds is dirty again.
 */
static void heard_map(struct pair *p, const struct msg_resolve *m)
{
	struct err e;
	int ret = forbid_still(p, m, &e);

	p->resolve.keeps = true;
	if (p->resolve.step == RESOLVE_NONE) {
		p->resolve.step = RESOLVE_ASKED;
		p->resolve.remote = true;
	}
	if (ret) {
		resolve_end(p, "%s", e.text);
		return;
	}
	p->resolve.deadline = p->core->now + CORE_RESOLVE_MS;
	memset(&p->run, 0, sizeof(p->run));
	p->timer = 0;
	pair_reason(p, "split: tells %s what this copy knows to differ", p->peer->name);
	cut_in(p, PHASE_S_LEND_CUT);
}

static void lend_op_done(struct pair *p, enum op_kind kind)
{
	struct op op = { .kind = OP_MAP_SEND, .size = p->theirs.size };

	if (kind == OP_CUT) {
		p->phase = PHASE_S_LEND;
		core_op(p->volume, p, &op);
	} else if (kind == OP_MAP_SEND) {
		/* Said there: nobody waits for it here, and AGREED is judged anew. */
		if (p->resolve.remote)
			p->resolve = (struct resolve){ .step = RESOLVE_NONE };
		pair_leave(p, false, "split: waits for %s to save what only it has", p->peer->name);
	}
}

/* The other side was told to follow by a person there, or by one here. */
static void heard_agreed(struct pair *p, const struct msg_resolve *m, const char *where)
{
	struct err e;
	int ret = forbid_still(p, m, &e);

	if (!ret && where[0])
		ret = forbid_saving(p, &e);
	if (ret) {
		p->resolve.step = RESOLVE_ASKED;
		resolve_end(p, "%s", e.text);
		return;
	}
	p->resolve.step = RESOLVE_AGREED;
	p->resolve.keeps = true;
	p->resolve.deadline = p->core->now + CORE_RESOLVE_MS;
	snprintf(p->resolve.saved, sizeof(p->resolve.saved), "%s", where);
	core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "resolve: %s gives its own changes up%s%s",
		 p->peer->name, where[0] ? ", they are saved there in " : ", unsaved", where);
	pair_look(p, false);
}

/* ---------------------------------------------------------------- both --- */

static void heard_ask(struct pair *p, const struct msg_resolve *m)
{
	struct resolution ids = { m->keep, m->discard };
	struct err e;

	if (forbid(p, &ids, false, &e) || (!m->no_save && forbid_saving(p, &e))) {
		refuse(p, m, e.text);
		return;
	}
	p->resolve = (struct resolve){ .ids = ids, .remote = true, .no_save = m->no_save };
	begin(p);
}

/* The other side cannot go on.  It knows that already, so it is not told. */
static void heard_refused(struct pair *p, const char *text)
{
	struct resolve r = p->resolve;

	core_log(p->core, LOG_LEVEL_WARN, p->volume, p, "resolve: %s: %s", p->peer->name, text);
	core_reply(p->core, r.request, false, "%s: %s: %s", p->volume->name, p->peer->name, text);
	p->resolve = (struct resolve){ .step = RESOLVE_NONE };
	comeback_ended(p, false, r.saved[0], text);
	if (resolve_saving(p))
		pair_leave(p, false, "split still: %s: %s", p->peer->name, text);
}

void resolve_heard(struct pair *p, const struct msg_resolve *m, const void *words, size_t length)
{
	bool ours = id_equal(&m->keep, &p->resolve.ids.keep) &&
		    id_equal(&m->discard, &p->resolve.ids.discard);
	enum resolve_step step = p->resolve.step;
	char text[REPL_TEXT_MAX];

	msg_text(text, words, length);
	switch (m->step) {
	case REPL_RESOLVE_ASK:
		heard_ask(p, m);
		break;
	case REPL_RESOLVE_PROGRESS:
		if (step == RESOLVE_ASKED && ours)
			heard_progress(p, m);
		break;
	case REPL_RESOLVE_REFUSED:
		if (step != RESOLVE_NONE && ours)
			heard_refused(p, text);
		break;
	case REPL_RESOLVE_MAP:
		if (step == RESOLVE_NONE || (step == RESOLVE_ASKED && ours))
			heard_map(p, m);
		else
			refuse(p, m, "the same split is being resolved otherwise here");
		break;
	case REPL_RESOLVE_AGREED:
		if (step == RESOLVE_NONE || (step == RESOLVE_ASKED && ours))
			heard_agreed(p, m, text);
		else
			refuse(p, m, "the same split is being resolved otherwise here");
		break;
	default:
		break;
	}
}

void resolve_judge(struct pair *p)
{
	if (p->resolve.step != RESOLVE_AGREED)
		return;
	verdict_resolve(&p->verdict, &p->resolve.ids, &p->mine, &p->theirs);
	if (p->verdict.kind == VERDICT_SPLIT || p->verdict.kind == VERDICT_REFUSE)
		resolve_end(p, "the copies have changed meanwhile: look again with repl-ctl resolve %s",
			    p->volume->name);
}

void resolve_following(struct pair *p)
{
	char text[CORE_REASON_MAX + CORE_PATH_MAX];
	const struct resolve *r = &p->resolve;
	const char *keep = r->keeps ? p->core->node : p->peer->name;
	const char *loser = r->keeps ? p->peer->name : p->core->node;

	if (r->step != RESOLVE_AGREED)
		return;
	if (r->saved[0])
		snprintf(text, sizeof(text), "%s is kept, %s follows it now; what only %s had is saved "
			 "there in %s", keep, loser, loser, r->saved);
	else
		snprintf(text, sizeof(text), "%s is kept, %s follows it now; what only %s had is gone",
			 keep, loser, loser);
	finish(p, true, text);
}

void resolve_tick(struct pair *p)
{
	if (!p->resolve.deadline || p->core->now < p->resolve.deadline)
		return;
	p->resolve.deadline = 0;
	/* One that has begun to follow ends by itself, so or so; a map is taken as fast as it is marked there. */
	if (pair_leading(p) || pair_following(p) || p->phase == PHASE_S_LEND)
		p->resolve.deadline = p->core->now + CORE_RESOLVE_MS;
	else if (p->resolve.step == RESOLVE_ASKED)
		resolve_end(p, "%s has said nothing for %d s: see its log, and try again",
			    p->peer->name, CORE_RESOLVE_MS / 1000);
	else
		resolve_end(p, "%s has not gone on within %d s: see its log, and try again",
			    p->peer->name, CORE_RESOLVE_MS / 1000);
}

int resolve_yield(struct pair *p, struct err *e)
{
	struct resolution ids = { .keep = p->theirs.generation, .discard = p->mine.generation };
	int ret = forbid(p, &ids, false, e);

	if (!ret)
		ret = forbid_saving(p, e);
	if (ret)
		return ret;
	p->resolve = (struct resolve){ .ids = ids };
	begin(p);
	return 0;
}

/* ------------------------------------------------------------- request --- */

/* Of which pair the person speaks; answers the request when there is none. */
static struct pair *find_pair(struct core *c, struct volume *v, const struct core_request *r,
			      const struct core_resolution *d, bool *keeps)
{
	struct pair *found = NULL;

	*keeps = !strcmp(d->keep, c->node);
	for (unsigned int i = 0; i < v->pair_count; i++) {
		struct pair *p = v->pair[i];

		if (!*keeps && !strcmp(d->keep, p->peer->name))
			return p;
		/* Of several peers the one whose copy was shown. */
		if (*keeps && (!found || id_equal(&p->theirs.generation, &d->shown.discard)))
			found = p;
	}
	if (!found)
		core_reply(c, r->id, false, "%s: %s has no copy of this volume: see repl-ctl status %s "
			   "for who has", v->name, d->keep, v->name);
	return found;
}

void core_resolve(struct core *c, const struct core_request *r, const struct core_resolution *d)
{
	struct volume *v = core_volume(c, r->volume);
	struct pair *p;
	struct err e;
	bool keeps;
	int ret;

	if (!v || !v->known) {
		core_reply(c, r->id, false, "%s: the volume is not up: run repl-ctl up %s", r->volume,
			   r->volume);
		return;
	}
	p = find_pair(c, v, r, d, &keeps);
	if (!p)
		return;
	ret = forbid(p, &d->shown, keeps, &e);
	if (!ret && !d->no_save)
		ret = forbid_saving(p, &e);
	if (!ret && keeps && d->save_to[0])
		ret = err_set(&e, EINVAL, "%s is where it would be saved: run this there, or set "
			      "save-dir in the volume's file there", p->peer->name);
	if (!ret && strlen(d->save_to) >= CORE_PATH_MAX / 2)
		ret = err_set(&e, ENAMETOOLONG, "the name of the directory is too long");
	if (ret) {
		core_reply(c, r->id, false, "%s: %s", v->name, e.text);
		return;
	}
	p->resolve = (struct resolve){
		.ids = d->shown, .keeps = keeps, .no_save = d->no_save, .request = r->id,
	};
	snprintf(p->resolve.save_to, sizeof(p->resolve.save_to), "%s", d->save_to);
	if (!keeps) {
		begin(p);
		return;
	}
	p->resolve.step = RESOLVE_ASKED;
	p->resolve.deadline = c->now + CORE_RESOLVE_MS;
	pair_reason(p, "split: waits for %s to save what only it has", p->peer->name);
	say_step(p, REPL_RESOLVE_ASK, "");
}
