// SPDX-License-Identifier: GPL-2.0-or-later
#include "notice.h"

#include <stdio.h>
#include <string.h>

#include "lag.h"
#include "member.h"
#include "pair.h"
#include "roll.h"

/* Each is shut for long by a loss or by a person; all others are moments of other things. */
#define LONG_GATES ((uint32_t)(REPL_GATE_PEER_LOST | REPL_GATE_ADMIN))

static const char *role_word(uint8_t role)
{
	return role == REPL_ROLE_PRIMARY ? "primary" : "secondary";
}

const char *notice_name(enum notice_kind kind)
{
	static const char *const name[NOTICE_KINDS] = {
		[NOTICE_PEER_LOST] = "peer-lost",
		[NOTICE_PEER_BACK] = "peer-back",
		[NOTICE_ROLE] = "role-changed",
		[NOTICE_SPLIT] = "split-found",
		[NOTICE_FROZEN] = "frozen",
		[NOTICE_THAWED] = "thawed",
		[NOTICE_DEVICE_FAILED] = "device-failed",
		[NOTICE_DEVICE_BACK] = "device-back",
		[NOTICE_PEER_LATE] = "peer-late",
		[NOTICE_PEER_IN_TIME] = "peer-in-time",
	};

	return name[kind];
}

/* The first of those kinds that are about the same thing. */
static enum notice_kind subject(enum notice_kind kind)
{
	switch (kind) {
	case NOTICE_PEER_BACK:
		return NOTICE_PEER_LOST;
	case NOTICE_THAWED:
		return NOTICE_FROZEN;
	case NOTICE_DEVICE_BACK:
		return NOTICE_DEVICE_FAILED;
	case NOTICE_PEER_IN_TIME:
		return NOTICE_PEER_LATE;
	default:
		return kind;
	}
}

bool notice_same(const struct notice *a, const struct notice *b)
{
	return subject(a->kind) == subject(b->kind) && !strcmp(a->volume, b->volume) &&
	       !strcmp(a->peer, b->peer);
}

static struct notice *tell(struct volume *v, const struct pair *p, enum notice_kind kind,
			   const char *reason)
{
	struct action *a = action_add(&v->core->actions, ACTION_HOOK, sizeof(struct notice));
	struct notice *n = (struct notice *)a->data;

	*n = (struct notice){ .kind = kind, .minor = v->k.minor };
	snprintf(n->volume, sizeof(n->volume), "%s", v->name);
	snprintf(n->peer, sizeof(n->peer), "%s", p ? p->peer->name : "");
	snprintf(n->role, sizeof(n->role), "%s", role_word(v->k.role));
	snprintf(n->reason, sizeof(n->reason), "%s", reason);
	return n;
}

static bool is_live(const struct pair *p)
{
	/* A replica that gets its epochs is none that is lost. */
	return !strcmp(pair_state_word(p), "live") || (p->session && roll_running(p));
}

/* Why the kernel gave the link up, or what the pair waits for since. */
static const char *why_lost(const struct pair *p)
{
	const struct kernel_slot *s = copy_slot(&p->volume->k, p->peer->key);

	return s && s->reason[0] ? s->reason : p->reason;
}

static void look_lag(struct pair *p)
{
	char text[REPL_TEXT_MAX] = "";

	if (p->lag.late == p->noticed.late)
		return;
	p->noticed.late = p->lag.late;
	if (p->lag.late)
		lag_words(p, text, sizeof(text));
	tell(p->volume, p, p->lag.late ? NOTICE_PEER_LATE : NOTICE_PEER_IN_TIME, text);
}

static void look_pair(struct pair *p)
{
	bool live = is_live(p);
	bool split = !live && p->judged && p->verdict.kind == VERDICT_SPLIT;

	if (member_leaves(p))
		return;
	if (live != p->noticed.live)
		tell(p->volume, p, live ? NOTICE_PEER_BACK : NOTICE_PEER_LOST,
		     live ? "" : why_lost(p));
	p->noticed.live = live;
	look_lag(p);
	/* A peer that is away leaves the last verdict in force. */
	if (!p->judged && !live)
		return;
	if (split && !p->noticed.split)
		tell(p->volume, p, NOTICE_SPLIT, p->verdict.why);
	p->noticed.split = split;
}

static void look_role(struct volume *v)
{
	if (v->k.role == v->noticed.role)
		return;
	snprintf(tell(v, NULL, NOTICE_ROLE, "")->was, sizeof(((struct notice *)0)->was), "%s",
		 role_word(v->noticed.role));
	v->noticed.role = v->k.role;
}

static const char *why_frozen(const struct volume *v)
{
	if (!(v->k.gate & REPL_GATE_PEER_LOST))
		return "an administrator has frozen it";
	return v->k.on_peer_loss == REPL_LOSS_ARBITER ?
	       "a peer is lost, and the arbiter has not let this node go on: see repl-ctl status" :
	       "a peer is lost, and on-peer-loss is freeze: bring it back; or, if this node must go on alone and no other "
	       "is primary: repl-ctl resume";
}

/* A gate that a loss has shut opens by itself, most of the time, and at once. */
static void look_gate(struct volume *v)
{
	struct notice_volume *told = &v->noticed;

	told->look_at = 0;
	if (!(v->k.gate & LONG_GATES)) {
		told->frozen_since = 0;
		if (told->frozen)
			tell(v, NULL, NOTICE_THAWED, "");
		told->frozen = false;
		return;
	}
	if (!told->frozen_since)
		told->frozen_since = v->core->now;
	if (told->frozen)
		return;
	if (v->core->now < told->frozen_since + NOTICE_FROZEN_MS) {
		told->look_at = told->frozen_since + NOTICE_FROZEN_MS;
		return;
	}
	tell(v, NULL, NOTICE_FROZEN, why_frozen(v));
	told->frozen = true;
}

static bool device_failed(const struct volume *v)
{
	return v->k.flags & (REPL_VF_FAILED | REPL_VF_DISKLESS);
}

static void look_device(struct volume *v)
{
	bool failed = device_failed(v);

	if (failed != v->noticed.failed)
		tell(v, NULL, failed ? NOTICE_DEVICE_FAILED : NOTICE_DEVICE_BACK,
		     !failed ? "" : v->k.flags & REPL_VF_DISKLESS ?
		     "the disk has failed, and the volume goes on from a peer" :
		     "the disk has failed a write or a flush");
	v->noticed.failed = failed;
}

/* As it is found. */
static void first_look(struct volume *v)
{
	v->noticed.known = true;
	v->noticed.role = v->k.role;
	v->noticed.failed = device_failed(v);
	for (unsigned int i = 0; i < v->pair_count; i++)
		v->pair[i]->noticed.live = is_live(v->pair[i]);
}

void notice_look(struct volume *v)
{
	if (!v->known || v->gone)
		return;
	if (!v->noticed.known)
		first_look(v);
	look_role(v);
	look_device(v);
	for (unsigned int i = 0; i < v->pair_count; i++)
		look_pair(v->pair[i]);
	look_gate(v);
}

void notice_tick(struct volume *v)
{
	if (!v->noticed.look_at || v->core->now < v->noticed.look_at)
		return;
	v->noticed.look_at = 0;
	core_get(v);
}

void notice_removed(struct volume *v, const char *why)
{
	struct notice *n;

	v->gone = true;
	if (!v->noticed.known)
		return;
	n = tell(v, NULL, NOTICE_ROLE, why);
	snprintf(n->role, sizeof(n->role), "down");
	snprintf(n->was, sizeof(n->was), "%s", role_word(v->noticed.role));
}
