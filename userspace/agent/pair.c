// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "arbiter.h"
#include "id.h"
#include "member.h"
#include "redo.h"
#include "resize.h"
#include "resolve.h"
#include "roll.h"
#include "session.h"
#include "task.h"
#include "units.h"
#include "verify.h"

bool pair_leading(const struct pair *p)
{
	return p->phase >= PHASE_L_FOLLOW && p->phase <= PHASE_L_ROLL;
}

bool pair_following(const struct pair *p)
{
	return p->phase >= PHASE_F_LOOK && p->phase <= PHASE_F_ADD;
}

void pair_reason(struct pair *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->reason, sizeof(p->reason), fmt, ap);
	va_end(ap);
}

void pair_protocol(struct pair *p, const char *fmt, ...)
{
	char text[CORE_REASON_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (p->session)
		session_refuse(p->session, "%s", text);
}

int pair_slot(const struct pair *p)
{
	const struct kernel_slot *s = copy_slot(&p->volume->k, p->peer->key);

	return s ? s->index : -1;
}

bool pair_slot_known(const struct pair *p)
{
	return pair_slot(p) >= 0 && id_equal(&p->mine.slot_copy_id, &p->theirs.copy_id);
}

/*
 * A slot that another pair has just been given is not in the snapshot yet, so the
 * pairs of a volume prefer different ones.  Where two still collide the kernel refuses the
 * second only if the slot has a link or a cut by then; else the slot is its, and the first
 * peer, whose slot is in no later snapshot, is given another one.
 */
static int free_slot(const struct pair *p)
{
	const struct volume *v = p->volume;
	unsigned int used = 0, mine = 0;

	for (unsigned int i = 0; i < v->k.slot_count; i++)
		used |= 1u << v->k.slot[i].index;
	for (unsigned int i = 0; i < v->pair_count && v->pair[i] != p; i++)
		mine += pair_slot(v->pair[i]) < 0;
	for (int slot = 0; slot < v->k.slots; slot++)
		if (!(used & 1u << slot) && !mine--)
			return slot;
	return -1;
}

bool pair_assign_slot(struct pair *p)
{
	struct op op = { .kind = OP_SLOT_SET, .flags = REPL_SLOT_PEER, .id = p->theirs.copy_id };
	int slot = pair_slot(p);

	if (slot < 0)
		slot = free_slot(p);
	if (slot < 0)
		return false;
	op.slot = (uint8_t)slot;
	memcpy(op.key, p->peer->key, sizeof(op.key));
	core_op(p->volume, p, &op);
	return true;
}

/* What kept this side from answering other leaders has changed: they have their turn. */
static void tell_others(struct pair *p)
{
	struct volume *v = p->volume;

	for (unsigned int i = 0; i < v->pair_count; i++)
		if (v->pair[i] != p && v->pair[i]->phase == PHASE_MEET)
			v->pair[i]->say = true;
	core_get(v);
}

static void abandon(struct pair *p)
{
	struct action *a;

	verify_left(p, "the pair is not in sync any more");
	if (pair_following(p)) {
		tell_others(p);
		p->broken += p->run.staged && p->run.done_bytes && !redo_active(p->volume);
	}
	lead_leave(p);
	session_pause(p, false);
	a = action_add(&p->core->actions, ACTION_ABORT, 0);
	a->pair = p;
	a->volume = p->volume;
	p->turn++;
	p->then = NULL;
	p->timer = 0;
	memset(&p->run, 0, sizeof(p->run));
}

static void retry_later(struct pair *p)
{
	p->retry_at = p->core->now + core_backoff(p->core, CORE_RETRY_MIN_MS, CORE_RETRY_MAX_MS,
						  p->failures++);
}

void pair_leave(struct pair *p, bool failed, const char *fmt, ...)
{
	char text[CORE_REASON_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	core_log(p->core, failed ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, p->volume, p, "%s", text);
	pair_reason(p, "%s", text);
	abandon(p);
	if (failed)
		retry_later(p);
	if (p->session)
		pair_look(p, true);
	else
		p->phase = PHASE_OFF;
}

void pair_look(struct pair *p, bool say)
{
	verify_left(p, "the pair is not in sync any more");
	p->phase = PHASE_LOOK;
	p->say |= say;
	p->timer = 0;
	core_get(p->volume);
}

static void say_state(struct pair *p)
{
	session_send_copy(p, p->have_said ? REPL_MSG_STATE : REPL_MSG_VOLUME, &p->mine, 0);
	p->said = p->mine;
	p->have_said = true;
	p->say = false;
}

void pair_copied(struct pair *p, const struct msg_delta *d)
{
	p->copied.moved.sent_bytes += d->moved.sent_bytes;
	p->copied.moved.zero_bytes += d->moved.zero_bytes;
	p->copied.moved.compared_bytes += d->moved.compared_bytes;
	p->copied.moved.equal_bytes += d->moved.equal_bytes;
	p->copied.passes++;
}

void pair_finish(struct pair *p)
{
	const struct msg_moved *m = &p->copied.moved;
	char bytes[UNITS_TEXT_MAX], zeroes[UNITS_TEXT_MAX], compared[UNITS_TEXT_MAX], equal[UNITS_TEXT_MAX];

	core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "caught up: %s and %s of zeroes in %u passes; "
		 "%s compared, %s of it equal", units_format_bytes(m->sent_bytes, bytes),
		 units_format_bytes(m->zero_bytes, zeroes), p->copied.passes,
		 units_format_bytes(m->compared_bytes, compared),
		 units_format_bytes(m->equal_bytes, equal));
	abandon(p);
	pair_look(p, true);
}

static void live(struct pair *p)
{
	bool news = p->phase != PHASE_LIVE;

	p->phase = PHASE_LIVE;
	/* What it begins from here on is adopted here, or the link is lost. */
	p->outrun = (struct repl_id){ 0 };
	p->unsure = (struct staged_peer){ 0 };
	p->roll.equal_at = 0;
	p->timer = p->core->now + CORE_WORN_MS;
	p->failures = 0;
	p->direct = false;
	p->broken = 0;
	p->full_until = 0;
	p->dial_failures = 0;
	p->retry_at = 0;
	pair_reason(p, "in sync");
	if (news)
		core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "live");
	verify_live(p);
}

void pair_unlink(struct pair *p, const char *why)
{
	struct op op = { .kind = OP_LINK_DEL, .slot = (uint8_t)pair_slot(p) };

	verify_left(p, why);
	core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "dropping the link: %s", why);
	p->phase = PHASE_UNLINK;
	p->timer = 0;
	core_op(p->volume, p, &op);
}

/* One line for each verdict that is new, with what it was made of. */
static void log_verdict(struct pair *p)
{
	char text[CORE_REASON_MAX], mine[ID_TEXT_MAX], theirs[ID_TEXT_MAX];

	snprintf(text, sizeof(text), "verdict: %s (%s); here: generation %s, flags %x, %s dirty; "
		 "there: %s, flags %x, %s dirty", verdict_name(p->verdict.kind), p->verdict.why,
		 id_format(&p->mine.generation, mine), p->mine.flags,
		 p->mine.slot_dirty_blocks ? "blocks" : "nothing",
		 id_format(&p->theirs.generation, theirs), p->theirs.flags,
		 p->theirs.slot_dirty_blocks ? "blocks" : "nothing");
	if (!strcmp(text, p->logged))
		return;
	memcpy(p->logged, text, sizeof(p->logged));
	core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "%s", text);
}

void pair_judge(struct pair *p)
{
	verdict(&p->verdict, &p->mine, &p->theirs, p->peer->lower);
	resolve_judge(p);
}

/* It was feared to have gone on, or to be about to, and has not: it says nothing while it is. */
static void forget_outrun(struct pair *p)
{
	if (id_equal(&p->theirs.generation, &p->mine.generation) && p->told_at >= p->begins_until)
		p->outrun = (struct repl_id){ 0 };
}

static void judge(struct pair *p)
{
	pair_judge(p);
	p->judged = true;
	if (verdict_went_on(&p->theirs, &p->mine))
		p->outrun = p->mine.generation;
	else
		forget_outrun(p);
	log_verdict(p);
}

bool pair_was_live(const struct pair *p)
{
	return (p->mine.flags & REPL_MV_SLOT_LIVE) &&
	       id_equal(&p->mine.slot_generation, &p->mine.generation);
}

bool pair_ahead(const struct pair *p)
{
	const struct kernel_slot *s = copy_slot(&p->volume->k, p->peer->key);

	return s && (s->flags & REPL_SS_AHEAD) && id_equal(&s->generation, &p->mine.generation);
}

bool pair_outrun(const struct pair *p)
{
	if (pair_ahead(p))
		return true;
	return !id_is_zero(&p->outrun) && id_equal(&p->outrun, &p->mine.generation);
}

const char *pair_absent(const struct pair *but)
{
	const struct volume *v = but->volume;

	for (unsigned int i = 0; i < v->pair_count; i++) {
		const struct pair *p = v->pair[i];

		if (p != but && pair_was_live(p) &&
		    (!p->session || !p->have_theirs || (p->theirs.flags & REPL_MV_PRIMARY)))
			return p->peer->name;
	}
	return NULL;
}

/*
 * After an unclean stop a peer that was in sync may hold what was lost here.  Whoever has
 * joined this copy makes it count as whole, so the first to join must be one of whom this
 * side knows that it leads; and no other may still know more.
 */
static const char *unasked(const struct pair *but)
{
	const struct volume *v = but->volume;

	if ((but->mine.flags & REPL_MV_CLEAN) && !(but->mine.flags & REPL_MV_UNPROVEN))
		return NULL;
	for (unsigned int i = 0; i < v->pair_count; i++) {
		const struct pair *p = v->pair[i];

		if (p != but && pair_was_live(p) && !(p->mine.flags & REPL_MV_LIVE) &&
		    !(p->session && p->judged && verdict_leads(p->verdict.kind)))
			return p->peer->name;
	}
	return NULL;
}

bool pair_stronger(const struct pair *p)
{
	return (p->theirs.flags & REPL_MV_PRIMARY) ||
	       !id_equal(&p->theirs.generation, &p->mine.generation);
}

const struct pair *pair_other_leader(const struct pair *p)
{
	const struct volume *v = p->volume;

	for (unsigned int i = 0; i < v->pair_count; i++)
		/* One that still looks may find that it must not, unless nothing can stop it. */
		if (v->pair[i] != p && pair_following(v->pair[i]) &&
		    (v->pair[i]->phase != PHASE_F_LOOK || pair_stronger(v->pair[i])))
			return v->pair[i];
	return NULL;
}

/*
 * What two copies that follow one primary have in common, the primary tells each of them;
 * for this they need slots for one another.
 */
static void know_third(struct pair *p)
{
	if ((p->theirs.flags & REPL_MV_CONSISTENT) && id_equal(&p->theirs.uuid, &p->mine.uuid) &&
	    !pair_slot_known(p) && p->core->now >= p->retry_at)
		pair_assign_slot(p);
}

static void third_known(struct pair *p, const struct op_result *r)
{
	if (r->error) {
		core_log(p->core, LOG_LEVEL_WARN, p->volume, p, "no slot for this copy: %s",
			 r->text && r->text[0] ? r->text : strerror(-r->error));
		retry_later(p);
	}
	pair_look(p, false);
}

static void decide_verdict(struct pair *p)
{
	const struct volume *v = p->volume;
	const struct pair *other = pair_other_leader(p);

	judge(p);
	if (member_clone(p))
		return;
	if (redo_active(v)) {
		pair_reason(p, "waits until what was staged is applied");
		return;
	}
	if (arbiter_binds(v)) {
		pair_reason(p, "%s", arbiter_binds(v));
		return;
	}
	if (other) {
		pair_reason(p, "waits until this copy has caught up with %s", other->peer->name);
		return;
	}
	if (v->served && v->served != p) {
		pair_reason(p, "nothing to do: both follow %s", v->served->peer->name);
		if (!p->pending)
			know_third(p);
	} else if (verdict_follows(p->verdict.kind) && follow_waits_for_room(p)) {
		return;
	} else if (verdict_follows(p->verdict.kind)) {
		pair_reason(p, "waits for %s to lead: %s", p->peer->name, p->verdict.why);
	} else if (!verdict_leads(p->verdict.kind)) {
		if (p->resolve.step == RESOLVE_NONE)
			pair_reason(p, "%s: %s", verdict_name(p->verdict.kind), p->verdict.why);
		if (p->verdict.kind == VERDICT_SPLIT)
			p->timer = p->core->now + CORE_SPLIT_MS;
	} else if (unasked(p)) {
		pair_reason(p, "waits for %s, which was in sync when this copy stopped uncleanly",
			    unasked(p));
	} else if (p->core->now < p->retry_at) {
		p->timer = p->retry_at;
	} else {
		lead_start(p);
	}
}

/* Both have told the other: go on, or wait for a change. */
static void decide(struct pair *p)
{
	bool mine = p->mine.flags & REPL_MV_LIVE, theirs;

	p->timer = 0;
	if (!p->have_theirs) {
		pair_reason(p, "waits for %s to describe its copy; if that lasts, repl-ctl status %s there says why",
			    p->peer->name, p->volume->name);
		return;
	}
	theirs = p->theirs.flags & REPL_MV_LIVE;
	if (mine && theirs && p->mine.cookie == p->theirs.cookie)
		live(p);
	else if (mine && p->core->now < p->retry_at)
		p->timer = p->retry_at;
	else if (mine)
		pair_unlink(p, theirs ? "the two sides hold different ones"
				      : "the other side has none");
	else if (theirs)
		pair_reason(p, "waits for %s to drop an old link", p->peer->name);
	else
		decide_verdict(p);
}

/* In a split both want to know how much each would lose; else some is enough to know. */
static bool counts_differ(const struct pair *p)
{
	return p->judged && p->verdict.kind == VERDICT_SPLIT &&
	       p->mine.slot_dirty_blocks != p->said.slot_dirty_blocks;
}

/* The snapshot that pair_look() asked for is here. */
static void looked(struct pair *p)
{
	if (p->pending || (task_begins(p->volume) && !(p->mine.flags & REPL_MV_LIVE)))
		return;
	if (redo_active(p->volume)) {
		pair_reason(p, redo_stuck(p->volume) ? "%s" : "waits until what was staged is applied",
			    p->volume->redo.why);
		return;
	}
	if (p->closing) {
		uint64_t wait = core_backoff(p->core, CORE_CLOSING_MS, CORE_CLOSING_MAX_MS,
					     p->looks++);

		pair_reason(p, "waits for the last writes of the old link");
		p->timer = p->core->now + wait;
		return;
	}
	p->looks = 0;
	if (lead_take_back(p))
		return;
	p->phase = PHASE_MEET;
	if (p->say || !p->have_said || !copy_same(&p->mine, &p->said) || counts_differ(p))
		say_state(p);
	decide(p);
}

/*
 * The kernel cannot give a link new keys, so it is replaced before they are worn.  Its
 * bytes are those of the data: a tenth is left for headers, and for what is written until
 * the next look.
 */
static bool worn(const struct pair *p)
{
	const struct kernel_slot *s = copy_slot(&p->volume->k, p->peer->key);
	uint64_t most = p->core->link_bytes / 10 * 9;

	return most && !p->volume->set.plain && s &&
	       (s->sent_bytes >= most || s->received_bytes >= most);
}

static void live_snapshot(struct pair *p)
{
	const struct volume *v = p->volume;
	int slot = pair_slot(p);

	if (!p->timer)
		p->timer = p->core->now + CORE_WORN_MS;
	if (!(p->mine.flags & REPL_MV_LIVE) || p->mine.cookie != p->said.cookie) {
		const char *why = "unknown";

		for (unsigned int i = 0; i < v->k.slot_count; i++)
			if (v->k.slot[i].index == slot && v->k.slot[i].reason[0])
				why = v->k.slot[i].reason;
		core_log(p->core, LOG_LEVEL_WARN, v, p, "the link is lost: %s", why);
		verify_end(p, "the link is lost: %s", why);
		pair_look(p, false);
	} else if (v->served && v->served != p) {
		pair_unlink(p, "both sides follow the primary");
	} else if (roll_unlinks(p)) {
		pair_unlink(p, "this peer is a rolling one");
	} else if (v->k.role == REPL_ROLE_PRIMARY && worn(p)) {
		pair_unlink(p, "it has carried as much as its keys are good for, a new one follows");
	} else {
		if (!copy_same(&p->mine, &p->said))
			say_state(p);
		verify_snapshot(p);
	}
}

void pair_snapshot(struct pair *p)
{
	const struct kernel_slot *s = copy_slot(&p->volume->k, p->peer->key);
	void (*then)(struct pair *p) = p->then;

	p->closing = s && s->link == REPL_LINK_CLOSING;
	switch (p->phase) {
	case PHASE_LOOK:
		looked(p);
		return;
	case PHASE_MEET:
		if (p->closing || p->say || !copy_same(&p->mine, &p->said))
			pair_look(p, false);
		else
			decide(p);
		return;
	case PHASE_LIVE:
		live_snapshot(p);
		return;
	default:
		break;
	}
	if (pair_leading(p))
		lead_snapshot(p);
	else if (pair_following(p))
		follow_snapshot(p);
	else if (resolve_saving(p))
		resolve_changed(p);
	if (then && p->then == then) {
		p->then = NULL;
		then(p);
	}
}

void pair_session_open(struct pair *p)
{
	core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "connected");
	p->have_theirs = p->have_said = p->judged = false;
	p->asked = p->granted = false;
	p->logged[0] = '\0';
	p->run.paused = false;
	if (p->phase == PHASE_HOLD && p->volume->task.kind == TASK_DOWN)
		session_refuse(p->session, "volume %s is being taken down on %s", p->volume->name,
			       p->core->node);
	else if (p->phase != PHASE_HOLD)
		pair_look(p, true);
}

void pair_session_lost(struct pair *p, const char *why)
{
	bool held = p->phase == PHASE_HOLD;

	resolve_end(p, "%s was disconnected: %s", p->peer->name, why);
	verify_end(p, "%s was disconnected: %s", p->peer->name, why);
	core_log(p->core, LOG_LEVEL_WARN, p->volume, p, "disconnected: %s", why);
	p->run.paused = false;
	if (!held)
		abandon(p);
	p->phase = held ? PHASE_HOLD : PHASE_OFF;
	p->have_theirs = p->have_said = p->judged = false;
	if (strncmp(p->reason, "refused", 7) && !strstr(p->reason, " refuses: "))
		pair_reason(p, "disconnected: %s", why);
	task_peer_changed(p);
	core_get(p->volume);
}

void pair_hold(struct pair *p)
{
	resolve_end(p, "the volume is being taken down");
	verify_end(p, "the volume is being taken down, or grows");
	if (p->phase != PHASE_HOLD)
		abandon(p);
	p->phase = PHASE_HOLD;
}

void pair_release(struct pair *p)
{
	p->phase = PHASE_OFF;
	if (p->session)
		pair_look(p, true);
}

/* The peer has described its copy: outside of a procedure to judge by, inside to leave it. */
static void heard_state(struct pair *p, const struct copy *theirs)
{
	p->theirs = *theirs;
	p->told_at = p->core->now;
	if (!p->have_theirs)
		tell_others(p);
	p->have_theirs = true;
	task_peer_changed(p);
	if (p->phase == PHASE_MEET || p->phase == PHASE_LIVE) {
		if (p->phase == PHASE_LIVE && (theirs->flags & REPL_MV_LIVE) &&
		    theirs->cookie == p->mine.cookie)
			core_get(p->volume);
		else
			pair_look(p, false);
	} else if (p->phase == PHASE_L_FOLLOW) {
		retry_later(p);
		abandon(p);
		pair_look(p, false);
	} else if (pair_leading(p)) {
		pair_leave(p, true, "%s has left the procedure", p->peer->name);
	} else if (pair_following(p)) {
		core_log(p->core, LOG_LEVEL_INFO, p->volume, p, "%s has left the procedure",
			 p->peer->name);
		abandon(p);
		pair_look(p, false);
	} else if (resolve_saving(p)) {
		resolve_changed(p);
	}
}

/* The peer leads: agree when this side judges so too, else tell it what it does not know. */
static void heard_follow(struct pair *p, struct copy *theirs)
{
	uint64_t nonce = theirs->cookie;

	theirs->cookie = 0;
	if (p->phase == PHASE_MEET || pair_following(p)) {
		if (pair_following(p))
			abandon(p);
		p->theirs = *theirs;
		p->have_theirs = true;
		follow_start(p, theirs, nonce);
	} else if (p->phase == PHASE_LIVE || pair_leading(p)) {
		heard_state(p, theirs);
	} else {
		p->theirs = *theirs;
		p->have_theirs = true;
		p->say = true;
	}
}

static void heard_copy(struct pair *p, uint16_t type, const struct repl_msg_volume *m)
{
	struct copy theirs;
	struct err e;

	if (copy_unpack(&theirs, m, &e)) {
		pair_protocol(p, "%s", e.text);
		return;
	}
	p->theirs_at = p->core->now;
	switch (type) {
	case REPL_MSG_FOLLOW:
		heard_follow(p, &theirs);
		break;
	case REPL_MSG_FOLLOWING:
		lead_following(p, &theirs);
		break;
	case REPL_MSG_LINK_ADOPT:
		follow_adopt(p, &theirs);
		break;
	case REPL_MSG_COMMIT:
		follow_commit(p, &theirs);
		break;
	case REPL_MSG_COMMITTED:
		lead_committed(p, &theirs);
		break;
	default:
		heard_state(p, &theirs);
		break;
	}
}

static void heard_delta(struct pair *p, uint16_t type, const struct repl_msg_delta *m)
{
	struct msg_delta d;
	struct err e;

	if (msg_unpack_delta(&d, m, &e))
		pair_protocol(p, "%s", e.text);
	else if (type == REPL_MSG_DELTA_BEGIN)
		follow_delta(p, &d);
	else
		lead_delta_done(p, &d);
}

static void heard_link(struct pair *p, uint16_t type, const struct repl_msg_link *m)
{
	struct msg_link l;
	struct err e;

	if (msg_unpack_link(&l, m, &e))
		pair_protocol(p, "%s", e.text);
	else if (type == REPL_MSG_LINK_OFFER)
		follow_offer(p, &l);
	else
		lead_ready(p, &l);
}

static void heard_consent(struct pair *p, const struct msg_header *h, const void *body)
{
	const struct repl_msg_consent *m = body;
	struct msg_consent c;
	struct err e;

	if (msg_unpack_consent(&c, m, &e))
		pair_protocol(p, "%s", e.text);
	else if (h->type == REPL_MSG_CONSENT_ASK)
		task_consent_asked(p, &c);
	else
		task_consent_heard(p, &c, m + 1, h->length - sizeof(*m));
}

static void heard_resolve(struct pair *p, const struct msg_header *h, const void *body)
{
	const struct repl_msg_resolve *m = body;
	struct msg_resolve r;
	struct err e;

	if (msg_unpack_resolve(&r, m, &e))
		pair_protocol(p, "%s", e.text);
	else
		resolve_heard(p, &r, m + 1, h->length - sizeof(*m));
}

static void heard_grow(struct pair *p, const struct msg_header *h, const void *body)
{
	const struct repl_msg_grow *m = body;
	struct msg_grow g;
	struct err e;

	if (msg_unpack_grow(&g, m, &e))
		pair_protocol(p, "%s", e.text);
	else if (h->type == REPL_MSG_GROW)
		resize_asked(p, &g);
	else
		resize_heard(p, &g, m + 1, h->length - sizeof(*m));
}

static void heard_take_over(struct pair *p, const struct msg_header *h, const void *body)
{
	const struct repl_msg_take_over *m = body;
	struct msg_take_over t;
	struct err e;

	if (msg_unpack_take_over(&t, h->type, m, &e))
		pair_protocol(p, "%s", e.text);
	else if (h->type == REPL_MSG_TAKE_OVER)
		takeover_asked(p, &t);
	else
		takeover_heard(p, &t, m + 1, h->length - sizeof(*m));
}

static void heard_verify(struct pair *p, const struct msg_header *h, const void *body)
{
	const struct repl_msg_verify *m = body;
	struct msg_verify v;
	struct err e;

	if (msg_unpack_verify(&v, m, &e))
		pair_protocol(p, "%s", e.text);
	else
		verify_heard(p, &v, m + 1, h->length - sizeof(*m));
}

/* What changes nothing here but what is known of the peer, or is about growing. */
static bool heard_in_hold(uint16_t type)
{
	return type == REPL_MSG_VOLUME || type == REPL_MSG_STATE || type == REPL_MSG_FOLLOW ||
	       type == REPL_MSG_GROW || type == REPL_MSG_GROWN;
}

void pair_message(struct pair *p, const struct msg_header *h, const void *body)
{
	if (p->phase == PHASE_HOLD && !heard_in_hold(h->type))
		return;
	switch (h->type) {
	case REPL_MSG_VOLUME:
	case REPL_MSG_STATE:
	case REPL_MSG_FOLLOW:
	case REPL_MSG_FOLLOWING:
	case REPL_MSG_LINK_ADOPT:
	case REPL_MSG_COMMIT:
	case REPL_MSG_COMMITTED:
		heard_copy(p, h->type, body);
		break;
	case REPL_MSG_DELTA_BEGIN:
	case REPL_MSG_DELTA_DONE:
		heard_delta(p, h->type, body);
		break;
	case REPL_MSG_LINK_OFFER:
	case REPL_MSG_LINK_READY:
		heard_link(p, h->type, body);
		break;
	case REPL_MSG_MAP:
		lead_map(p, body, h->length);
		break;
	case REPL_MSG_LINK_LIVE:
		lead_link_live(p);
		break;
	case REPL_MSG_CONSENT_ASK:
	case REPL_MSG_CONSENT:
		heard_consent(p, h, body);
		break;
	case REPL_MSG_RESOLVE:
		heard_resolve(p, h, body);
		break;
	case REPL_MSG_GROW:
	case REPL_MSG_GROWN:
		heard_grow(p, h, body);
		break;
	case REPL_MSG_TAKE_OVER:
	case REPL_MSG_TAKEN:
		heard_take_over(p, h, body);
		break;
	case REPL_MSG_VERIFY:
		heard_verify(p, h, body);
		break;
	default:
		pair_protocol(p, "%s does not belong here", msg_name(h->type));
		break;
	}
}

void pair_op_done(struct pair *p, enum op_kind kind, uint32_t turn, const struct op_result *r)
{
	if (turn != p->turn || p->phase == PHASE_LOOK) {
		if (p->phase == PHASE_LOOK && !p->pending)
			core_get(p->volume);
		return;
	}
	if (p->phase == PHASE_MEET) {
		third_known(p, r);
	} else if (p->phase == PHASE_UNLINK) {
		if (r->error) {
			core_log(p->core, LOG_LEVEL_WARN, p->volume, p,
				 "the link could not be dropped: %s", r->text ? r->text : "");
			retry_later(p);
		}
		if (!verify_unlinked(p, r))
			pair_look(p, true);
	} else if (p->phase == PHASE_LIVE) {
		verify_op_done(p, kind, r);
	} else if (pair_leading(p)) {
		lead_op_done(p, kind, r);
	} else if (pair_following(p)) {
		follow_op_done(p, kind, r);
	} else if (resolve_saving(p)) {
		resolve_op_done(p, kind, r);
	}
}

/* The leader waits for this copy to follow: it is told, and asks again. */
static void follow_retry(struct pair *p)
{
	p->full_until = 0;
	pair_look(p, true);
}

void pair_tick(struct pair *p)
{
	resolve_tick(p);
	takeover_tick(p);
	verify_tick(p);
	if (!p->timer || p->core->now < p->timer)
		return;
	p->timer = 0;
	if (p->phase == PHASE_LOOK || p->phase == PHASE_LIVE)
		core_get(p->volume);
	else if (p->phase == PHASE_MEET && p->full_until && p->core->now >= p->full_until)
		follow_retry(p);
	else if (p->phase == PHASE_MEET && p->verdict.kind == VERDICT_SPLIT)
		pair_look(p, false);
	else if (p->phase == PHASE_MEET)
		decide(p);
	else if (pair_leading(p))
		lead_tick(p);
	else
		follow_tick(p);
}

const char *pair_session_word(const struct pair *p)
{
	if (p->session)
		return "connected";
	return p->dialling || p->dial_at ? "connecting" : "disconnected";
}

const char *pair_state_word(const struct pair *p)
{
	if (p->mine.flags & REPL_MV_LIVE && !pair_leading(p) && !pair_following(p))
		return "live";
	if (!p->session)
		return pair_session_word(p);
	if (roll_running(p))
		return "rolling";
	return pair_leading(p) || pair_following(p) ? "syncing" : "behind";
}
