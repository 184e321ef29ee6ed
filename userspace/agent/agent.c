// SPDX-License-Identifier: GPL-2.0-or-later
/* Carries out what the core wants, one action after the other. */
#include "agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply.h"
#include "ask.h"
#include "bring.h"
#include "compare.h"
#include "conn.h"
#include "control.h"
#include "delta.h"
#include "dial.h"
#include "helper.h"
#include "hook.h"
#include "kops.h"
#include "link.h"
#include "log.h"
#include "mapsend.h"
#include "member.h"
#include "nodes.h"
#include "save.h"
#include "stage.h"
#include "witness.h"

void agent_now(struct agent *a)
{
	a->core.now = loop_now();
}

void agent_op_done(struct agent *a, struct volume *v, struct pair *p, enum op_kind kind,
		   uint32_t turn, int error, const char *text)
{
	struct op_result r = { .error = error, .text = error ? text : NULL };

	agent_now(a);
	core_op_done(v, p, kind, turn, &r);
}

const struct config_address *agent_peer_address(const struct agent *a,
						const struct core_peer *peer)
{
	const struct config_peer *p = config_find_peer_key(&a->config.agent, peer->key);

	return p ? &p->address : NULL;
}

static void get(struct agent *a, struct volume *v)
{
	struct kernel_volume k;
	struct err e = { "" };
	int ret = kernel_get(a->kernel, v->name, &k, &e);

	agent_now(a);
	if (!ret)
		bring_moved(v, &k);
	if (!ret)
		core_snapshot(v, &k);
	else if (ret == -ENODEV)
		core_snapshot(v, NULL);
	else if (core_no_snapshot(v))
		log_error(v->name, "the kernel does not answer: %s", e.text);
}

static void drop_work(struct pair_io *io)
{
	delta_drop(io);
	mapsend_drop(io);
	apply_drop(io);
	stage_abandon(io);
	save_drop(io);
	compare_drop(io);
	link_drop(io);
	kops_abort(io);
}

static void forget(struct agent *a, struct pair *p)
{
	struct pair_io *io = agent_pair_io(p);

	kops_forget(a, p->volume, p);
	helper_forget(a, p);
	apply_orphan(io);
	save_orphan(io);
	drop_work(io);
	dial_cancel(io->dial);
	for (struct conn *c = a->conns; c; c = c->next) {
		if (c->pair != p)
			continue;
		c->pair = NULL;
		conn_kill(c, "the volume was taken down");
	}
	free(io);
	p->io = NULL;
}

static struct conn *pair_conn(struct agent *a, const struct pair *p)
{
	return p->session ? conn_find(a, p->session->conn) : NULL;
}

static void begin(struct agent *a, const struct action *act)
{
	struct pair_io *io = act->pair ? agent_pair_io(act->pair) : NULL;
	const struct op *op = &act->op;

	switch (op->kind) {
	case OP_CUT:
		kops_cut(io, op);
		break;
	case OP_COMMIT:
		kops_commit(io, op);
		break;
	case OP_LINK_OPEN:
		link_start(io, op);
		break;
	case OP_MAP_SEND:
		mapsend_start(io, pair_conn(a, act->pair), op);
		break;
	case OP_DELTA_SEND:
		delta_start(io, pair_conn(a, act->pair), op);
		break;
	case OP_DELTA_APPLY:
		apply_start(io, pair_conn(a, act->pair), op);
		break;
	case OP_STAGE_SEAL:
		stage_seal(a, act->volume, op);
		break;
	case OP_STAGE_APPLY:
		apply_staged(a, act->volume, op);
		break;
	case OP_STAGE_DROP:
		stage_drop(a, act->volume, op);
		break;
	case OP_STAGE_CLEAN:
		stage_clean(a, act->volume, op);
		break;
	case OP_STAGE_FIND:
		stage_look(a, act->volume);
		break;
	case OP_SAVE:
		save_start(io, op);
		break;
	case OP_VERIFY_OPEN:
	case OP_VERIFY_TAKE:
	case OP_VERIFY_COMPARE:
	case OP_VERIFY_SEAL:
	case OP_VERIFY_SERVE:
		compare_begin(io, pair_conn(a, act->pair), op);
		break;
	default:
		kops_begin(a, act->volume, act->pair, op);
		break;
	}
}

static void thaw(struct agent *a, struct volume *v, enum repl_gate gate)
{
	struct err e = { "" };
	int ret = kernel_thaw(a->kernel, agent_volume_io(v)->minor, gate, &e);

	/* The deadline may have come first. */
	if (ret && ret != -ENOENT && ret != -EALREADY)
		log_debug(v->name, "thaw: %s", e.text);
}

/* What is in flight may end as it likes: the answer that says when is not waited for. */
static void hold(struct agent *a, struct volume *v, enum repl_gate gate, uint32_t ms)
{
	struct err e = { "" };
	int ticket = kernel_freeze(a->kernel, agent_volume_io(v)->minor, gate, ms, &e);

	if (ticket >= 0)
		close(ticket);
	else
		log_debug(v->name, "hold: %s", e.text);
}

static void carry_out(struct agent *a, const struct action *act)
{
	struct conn *c = act->conn ? conn_find(a, act->conn) : NULL;

	switch (act->kind) {
	case ACTION_GET:
		get(a, act->volume);
		break;
	case ACTION_DIAL:
		dial_session(a, act->pair);
		break;
	case ACTION_SEND:
		if (c)
			conn_send(c, act->type, act->data, act->length);
		break;
	case ACTION_CLOSE:
		if (c)
			conn_close(c, "closed");
		break;
	case ACTION_PAUSE:
	case ACTION_RESUME:
		if (c)
			conn_pause(c, act->kind == ACTION_PAUSE);
		break;
	case ACTION_LINK_TAKE:
		if (c)
			link_take(agent_pair_io(act->pair), c, &act->link);
		break;
	case ACTION_ABORT:
		drop_work(agent_pair_io(act->pair));
		break;
	case ACTION_THAW:
		thaw(a, act->volume, (enum repl_gate)act->op.flags);
		break;
	case ACTION_HOLD:
		hold(a, act->volume, (enum repl_gate)act->op.flags, act->op.deadline_ms);
		break;
	case ACTION_OP:
		begin(a, act);
		break;
	case ACTION_ASK:
		ask_start(a, act->volume, &act->expect, &act->want);
		break;
	case ACTION_ASKED:
		ask_done(act->volume);
		break;
	case ACTION_SURVEY:
		if (c)
			nodes_tell(a, c, (const struct repl_msg_survey *)act->data);
		break;
	case ACTION_SURVEYED:
		control_surveyed(a, act);
		break;
	case ACTION_REGISTER:
		if (c)
			witness_asked(a, c, act->data);
		break;
	case ACTION_FORGET:
		forget(a, act->pair);
		if (act->ok)
			member_free(act->pair);
		break;
	case ACTION_REMOVED:
		bring_down(a, act->volume);
		core_volume_free(act->volume);
		break;
	case ACTION_HOOK:
		hook_tell(a, (const struct notice *)act->data);
		break;
	case ACTION_HELP:
		helper_ask(a, act->pair, act->ok);
		break;
	case ACTION_LOG:
		log_line(act->level, act->subject[0] ? act->subject : NULL, "%s",
			 act->text ? act->text : "");
		break;
	case ACTION_PROGRESS:
		control_progress(a, act->request, act->text);
		break;
	case ACTION_REPLY:
		control_reply(a, act->request, act->ok, act->text);
		break;
	}
}

void agent_settle(struct agent *a)
{
	struct action *act;

	if (a->settling)
		return;
	a->settling = true;
	while ((act = action_take(&a->core.actions))) {
		carry_out(a, act);
		action_free(act);
	}
	a->settling = false;
}

/* ------------------------------------------------------------- events --- */

static void event(void *arg, const struct kernel_event *ev)
{
	struct agent *a = arg;

	agent_now(a);
	if (ev->event == REPL_EVENT_UNSPEC) {
		core_event(&a->core, NULL);
		return;
	}
	for (struct volume *v = a->core.volumes; v; v = v->next) {
		if (agent_volume_io(v)->minor != ev->minor)
			continue;
		log_debug(v->name, "kernel: %s", ev->text);
		core_event(&a->core, v);
	}
}

void agent_events(struct loop_watch *w, uint32_t events)
{
	struct agent *a = (struct agent *)((char *)w - offsetof(struct agent, event_watch));
	struct err e = { "" };

	(void)events;
	if (kernel_events_read(a->events, event, a, &e)) {
		log_error(NULL, "the kernel's events cannot be read: %s", e.text);
		core_event(&a->core, NULL);
	}
}
