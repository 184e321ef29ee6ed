// SPDX-License-Identifier: GPL-2.0-or-later
#include "report.h"

#include <stdio.h>

#include "explain.h"
#include "id.h"
#include "key.h"

const char *report_role(const struct kernel_volume *k)
{
	return k->role == REPL_ROLE_PRIMARY ? "primary" : "secondary";
}

static json_t *report_id(const struct repl_id *id)
{
	char text[ID_TEXT_MAX];

	return id_is_zero(id) ? json_null() : json_string(id_format(id, text));
}

static json_t *report_text(const char *text)
{
	return text && *text ? json_string(text) : json_null();
}

static json_t *report_progress(const struct view_progress *p)
{
	if (!p->known)
		return json_null();
	return json_pack("{s:f, s:I, s:I, s:o}",
			 "percent", p->percent,
			 "bytes_left", (json_int_t)p->bytes_left,
			 "rate", (json_int_t)p->rate,
			 "eta_s", p->eta_s < 0 ? json_null() : json_integer(p->eta_s));
}

static json_t *report_caught_up(const struct view_caught_up *c)
{
	if (!c->known)
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:I, s:I}",
			 "bytes", (json_int_t)c->bytes,
			 "zero_bytes", (json_int_t)c->zero_bytes,
			 "compared_bytes", (json_int_t)c->compared_bytes,
			 "equal_bytes", (json_int_t)c->equal_bytes,
			 "passes", (json_int_t)c->passes);
}

static json_t *report_known(int64_t number)
{
	return number < 0 ? json_null() : json_integer(number);
}

/* How old the peer's state is: nothing while it is live, else how long it has not been; -1: it has none. */
static int64_t epoch_age(const struct view_peer *p)
{
	if (p->rolling.known && p->rolling.age_ms >= 0)
		return p->rolling.age_ms;
	if (!p->slot)
		return -1;
	return p->state == VIEW_LIVE ? 0 : (int64_t)p->slot->link_age_ms;
}

static json_t *report_mode(enum config_mode mode)
{
	if (!mode)
		return json_null();
	return json_string(mode == CONFIG_MODE_ROLLING ? "rolling" : "sync");
}

static json_t *report_rolling(const struct view_volume *vol, const struct view_peer *p)
{
	const struct view_rolling *r = &p->rolling;

	if (!r->known)
		return json_null();
	return json_pack("{s:I, s:o, s:o, s:I, s:o, s:b, s:o, s:o, s:o, s:o}",
			 "interval_ms", (json_int_t)r->interval_ms,
			 "policy", report_text(r->policy),
			 "on_return", report_text(r->on_return),
			 "held_percent", (json_int_t)r->held_percent,
			 "bound_ms", report_known(r->bound_ms), "late", r->late,
			 "epoch", report_known(explain_epoch(vol, p)),
			 "age_ms", report_known(r->age_ms),
			 "worst_ms", report_known(r->worst_ms),
			 "behind_bytes", report_known(r->age_ms < 0 ? -1 : explain_behind(vol, p)));
}

static json_t *report_slot(const struct kernel_slot *s)
{
	char text[KEY_TEXT_MAX];

	if (!s)
		return json_null();
	return json_pack("{s:i, s:s, s:o, s:o, s:I, s:b, s:I, s:I, s:I, s:I}",
			 "index", s->index,
			 "key", key_encode(s->key, text),
			 "copy_id", report_id(&s->copy_id),
			 "generation", report_id(&s->generation),
			 "epoch", (json_int_t)s->epoch,
			 "cut", s->cut,
			 "unflushed_bytes", (json_int_t)s->unflushed_bytes,
			 "sent_bytes", (json_int_t)s->sent_bytes,
			 "received_bytes", (json_int_t)s->received_bytes,
			 "link_age_ms", (json_int_t)s->link_age_ms);
}

static json_t *report_object(const json_t *object)
{
	return object ? json_deep_copy(object) : json_null();
}

static json_t *report_peer(const struct view_volume *vol, const struct view_peer *p)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
			 "name", p->name,
			 "state", view_state_word(p->state),
			 "mode", report_mode(p->mode),
			 "dirty_bytes", report_known(explain_behind(vol, p)),
			 "in_flight_bytes", report_known(p->slot ? (int64_t)p->slot->in_flight_bytes : -1),
			 "epoch_age_ms", report_known(epoch_age(p)),
			 "configured", p->configured,
			 "session", report_text(p->session),
			 "verdict", report_text(p->verdict),
			 "reason", report_text(p->reason),
			 "progress", report_progress(&p->progress),
			 "caught_up", report_caught_up(&p->caught_up),
			 "verify", report_object(p->verify),
			 "split", report_object(p->split),
			 "rolling", report_rolling(vol, p),
			 "slot", report_slot(p->slot));
}

static json_t *report_counters(const struct kernel_volume *k)
{
	static const char *const names[REPL_C_MAX + 1] = {
		[REPL_C_READS] = "reads",
		[REPL_C_READ_BYTES] = "read_bytes",
		[REPL_C_WRITES] = "writes",
		[REPL_C_WRITE_BYTES] = "write_bytes",
		[REPL_C_ZEROES] = "zeroes",
		[REPL_C_FLUSHES] = "flushes",
		[REPL_C_OVERLAPS] = "overlaps",
		[REPL_C_GATE_WAITS] = "gate_waits",
		[REPL_C_APPLIED_WRITES] = "applied_writes",
		[REPL_C_APPLIED_BYTES] = "applied_bytes",
		[REPL_C_ERRORS] = "errors",
		[REPL_C_META_WRITES] = "metadata_writes",
		[REPL_C_GENERATIONS] = "generations",
		[REPL_C_RESENDS] = "resends",
		[REPL_C_LOG_WAITS] = "log_waits",
		[REPL_C_LOG_WRITES] = "log_writes",
		[REPL_C_REMOTE_READS] = "remote_reads",
		[REPL_C_READ_REPAIRS] = "read_repairs",
		[REPL_C_HOLDS] = "holds",
		[REPL_C_HOLD_MAX_MS] = "hold_max_ms",
		[REPL_C_VOIDS] = "voids",
	};
	json_t *object = json_object();

	for (int i = 0; i <= REPL_C_MAX; i++) {
		if (names[i])
			json_object_set_new(object, names[i], json_integer(k->counter[i]));
	}
	return object;
}

static json_t *report_findings(const struct view_volume *vol)
{
	json_t *list = json_array();

	for (size_t i = 0; i < vol->finding_count; i++) {
		const struct view_finding *f = &vol->finding[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:s}",
						      "health", view_health_word(f->health),
						      "reason", f->reason, "next", f->next));
	}
	return list;
}

static json_t *report_backing(const struct kernel_volume *k)
{
	bool gone = k->flags & (REPL_VF_DISKLESS | REPL_VF_FAILING | REPL_VF_FAILED);
	struct view_progress filling;

	explain_filling(k, &filling);
	return json_pack("{s:s, s:s, s:o, s:b, s:b, s:b, s:I, s:I}",
			 "device", k->backing,
			 "state", filling.known ? "replacing" : gone ? "failed" : "ok",
			 "progress", report_progress(&filling),
			 "diskless", !!(k->flags & REPL_VF_DISKLESS),
			 "failed", !!(k->flags & REPL_VF_FAILED),
			 "failing", !!(k->flags & REPL_VF_FAILING),
			 "errors", (json_int_t)k->counter[REPL_C_ERRORS],
			 "metadata_end", (json_int_t)k->meta_end);
}

/* What only a volume that is up has; all of it null for one that is not. */
static void add_kernel(json_t *object, const struct kernel_volume *k)
{
	char device[32], gate[64];

	if (!k) {
		static const char *const names[] = {
			"uuid", "device", "size", "room", "generation", "epoch", "consistent", "frozen",
			"frozen_by", "frozen_ms", "backing", "openers", "clean", "begun_by", "unproven", "counters",
		};

		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			json_object_set_new(object, names[i], json_null());
		return;
	}
	snprintf(device, sizeof(device), "/dev/repl%u", k->minor);
	json_object_set_new(object, "uuid", report_id(&k->uuid));
	json_object_set_new(object, "device", json_string(device));
	json_object_set_new(object, "size", json_integer(k->size));
	json_object_set_new(object, "room", json_integer(k->room));
	json_object_set_new(object, "generation", report_id(&k->generation));
	json_object_set_new(object, "epoch", json_integer(k->epoch));
	json_object_set_new(object, "consistent", json_boolean((k->sb_flags & REPL_SB_CONSISTENT) &&
					 !(k->flags & REPL_VF_DISKLESS)));
	json_object_set_new(object, "frozen", json_boolean(k->gate));
	json_object_set_new(object, "frozen_by",
			    report_text(explain_gate(k->gate, gate, sizeof(gate))));
	json_object_set_new(object, "frozen_ms", json_integer(k->gate ? k->gate_age_ms : 0));
	json_object_set_new(object, "backing", report_backing(k));
	json_object_set_new(object, "openers", json_integer(k->openers));
	json_object_set_new(object, "clean", json_boolean(!(k->sb_flags & REPL_SB_CRASHED)));
	json_object_set_new(object, "begun_by", report_text(explain_begun(k->sb_flags)));
	json_object_set_new(object, "unproven", json_boolean(k->sb_flags & REPL_SB_UNPROVEN));
	json_object_set_new(object, "counters", report_counters(k));
}

static json_t *report_volume(const struct view_volume *vol)
{
	json_t *peers = json_array();
	json_t *object;

	for (size_t i = 0; i < vol->peer_count; i++)
		json_array_append_new(peers, report_peer(vol, &vol->peer[i]));
	object = json_pack("{s:s, s:s, s:s, s:b, s:o, s:o}",
			   "name", vol->name,
			   "role", vol->kernel ? report_role(vol->kernel) : "down",
			   "health", view_health_word(vol->health),
			   "configured", !!vol->config,
			   "findings", report_findings(vol),
			   "peers", peers);
	if (object)
		json_object_set_new(object, "arbiter", vol->arbiter_object ?
				    json_incref(vol->arbiter_object) : json_null());
	if (object)
		json_object_set_new(object, "staged", vol->staged ? json_incref(vol->staged) : json_null());
	if (object)
		add_kernel(object, vol->kernel);
	return object;
}

json_t *report_view(const struct view *v)
{
	static const char *const agent_words[] = {
		[VIEW_AGENT_ANSWERS] = "running",
		[VIEW_AGENT_DEAD] = "dead",
		[VIEW_AGENT_UNKNOWN] = "unknown",
		[VIEW_AGENT_SILENT] = "unknown",
	};
	json_t *volumes = json_array();

	for (size_t i = 0; i < v->count; i++)
		json_array_append_new(volumes, report_volume(&v->volume[i]));
	return json_pack("{s:o, s:b, s:s, s:o, s:o}",
			 "node", report_text(v->config.agent.name),
			 "module", v->module,
			 "agent", agent_words[v->agent],
			 "configuration_error", report_text(v->config_problem),
			 "volumes", volumes);
}
