// SPDX-License-Identifier: GPL-2.0-or-later
#include "status.h"

#include <stdio.h>
#include <string.h>

#include "arbiter.h"
#include "comeback.h"
#include "id.h"
#include "key.h"
#include "lag.h"
#include "pair.h"
#include "redo.h"
#include "resolve.h"
#include "roll.h"
#include "stage.h"
#include "verify.h"

static json_t *progress(const struct pair *p)
{
	const struct procedure *run = &p->run;
	uint64_t ms = p->core->now - run->began_at;
	uint64_t done = run->done_bytes < run->left_bytes ? run->done_bytes : run->left_bytes;
	uint64_t left = run->left_bytes - done;
	uint64_t rate = ms ? run->done_bytes * 1000 / ms : 0;

	if ((!pair_leading(p) && !pair_following(p) && !resolve_saving(p)) || !run->left_bytes)
		return json_null();
	return json_pack("{s:f, s:I, s:I, s:o}", "percent",
			 (double)done * 100 / (double)run->left_bytes, "bytes_left", (json_int_t)left,
			 "rate", (json_int_t)rate, "eta_s",
			 rate ? json_integer((json_int_t)(left / rate)) : json_null());
}

static json_t *copied(const struct copied *c)
{
	if (!c->passes)
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:I, s:i}",
			 "bytes", (json_int_t)c->moved.sent_bytes,
			 "zero_bytes", (json_int_t)c->moved.zero_bytes,
			 "compared_bytes", (json_int_t)c->moved.compared_bytes,
			 "equal_bytes", (json_int_t)c->moved.equal_bytes,
			 "passes", (int)c->passes);
}

static uint64_t in_map(const struct copy *c, const struct copy *other)
{
	return verdict_speaks(c, other) ? c->slot_dirty_blocks : copy_blocks(c->size);
}

/*
 * One side of a split: what its map has.  Of what it had sent to the other, who had staged it
 * and not used it, only the other's map knows; so what it may lose is in one of the two.
 */
static json_t *side(const char *node, const struct copy *c, uint64_t age_ms,
		    const struct copy *other)
{
	uint64_t blocks = in_map(c, other), most = blocks + in_map(other, c);
	char generation[ID_TEXT_MAX];

	if (most > copy_blocks(c->size))
		most = copy_blocks(c->size);
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:o}", "node", node, "role",
			 c->flags & REPL_MV_PRIMARY ? "primary" : "secondary", "generation",
			 id_format(&c->generation, generation), "blocks", (json_int_t)blocks, "bytes",
			 (json_int_t)(blocks << REPL_BLOCK_SHIFT), "loses_bytes",
			 (json_int_t)(most << REPL_BLOCK_SHIFT), "alone_ms",
			 c->alone_ms ? json_integer((json_int_t)(c->alone_ms + age_ms)) : json_null());
}

static json_t *split(const struct pair *p)
{
	struct repl_id common = verdict_common(&p->mine, &p->theirs);
	uint64_t now = p->core->now;
	char text[ID_TEXT_MAX];

	if (!p->have_theirs || !verdict_is_split(&p->mine, &p->theirs))
		return json_null();
	return json_pack("{s:o, s:[o, o], s:s}", "common",
			 id_is_zero(&common) ? json_null() : json_string(id_format(&common, text)),
			 "sides", side(p->core->node, &p->mine, now - p->volume->known_at, &p->theirs),
			 side(p->peer->name, &p->theirs, now - p->theirs_at, &p->mine), "save_dir",
			 agent_volume_io(p->volume)->save_dir);
}

static const char *changed_on(const struct pair *p, enum judge_side side)
{
	return side == JUDGE_HERE ? p->core->node : side == JUDGE_PEER ? p->peer->name :
	       side == JUDGE_BOTH ? "both" : NULL;
}

static json_t *ranges(const struct pair *p)
{
	json_t *list = json_array();

	for (size_t i = 0; i < p->verified.ranges; i++) {
		const struct judge_range *r = &p->verified.range[i];

		json_array_append_new(list, json_pack("{s:I, s:I, s:s?}", "offset",
						      (json_int_t)(r->block << REPL_BLOCK_SHIFT), "length",
						      (json_int_t)(r->count << REPL_BLOCK_SHIFT),
						      "changed_on", changed_on(p, r->side)));
	}
	return list;
}

/* The comparison under way, and what the last one has found. */
static json_t *verify(const struct pair *p)
{
	const struct verified *d = &p->verified;
	int percent = verify_percent(p);

	if (!d->at && percent < 0)
		return json_null();
	return json_pack("{s:o, s:o, s:b, s:I, s:I, s:I, s:I, s:b, s:o}",
			 "percent", percent < 0 ? json_null() : json_integer(percent),
			 "age_ms", d->at ? json_integer((json_int_t)(p->core->now - d->at)) : json_null(),
			 "scrub", d->scrub,
			 "equal_bytes", (json_int_t)(d->equal << REPL_BLOCK_SHIFT),
			 "differ_bytes", (json_int_t)(d->differ << REPL_BLOCK_SHIFT),
			 "not_compared_bytes", (json_int_t)(d->not_compared << REPL_BLOCK_SHIFT),
			 "repaired_bytes", (json_int_t)(d->repaired << REPL_BLOCK_SHIFT),
			 "coarse", d->coarse, "ranges", ranges(p));
}

/* Only a primary knows how old a peer's copy is. */
static json_t *rolling(const struct pair *p)
{
	int64_t age = roll_age(p), behind = roll_behind(p);

	if (!p->roll.interval_ms)
		return json_null();
	return json_pack("{s:I, s:I, s:b, s:s, s:i, s:s, s:o, s:o, s:o}",
			 "interval_ms", (json_int_t)p->roll.interval_ms,
			 "bound_ms", (json_int_t)lag_bound(p), "late", p->lag.late,
			 "policy", p->lag.throttle ? "throttle" : "alarm",
			 "held_percent", (int)lag_share(p),
			 "on_return", p->comeback.follows ? "save-and-follow" : "wait",
			 "age_ms", age < 0 ? json_null() : json_integer(age),
			 "worst_ms", age < 0 ? json_null() : json_integer((json_int_t)roll_worst(p)),
			 "behind_bytes", behind < 0 ? json_null() : json_integer(behind));
}

static json_t *pair_json(const struct pair *p)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "name", p->peer->name,
			 "session", pair_session_word(p), "state", pair_state_word(p),
			 "verdict", p->judged ? verdict_name(p->verdict.kind) : "",
			 "reason", p->reason, "progress", progress(p), "caught_up",
			 copied(&p->copied), "split", split(p), "verify", verify(p), "rolling",
			 rolling(p));
}

static const char *arbiter_state(const struct arbiter *a)
{
	switch (a->step) {
	case ARBITER_UNLINK:
	case ARBITER_ASKS:
		return "asked";
	case ARBITER_GRANTED:
		return "granted";
	case ARBITER_IDLE:
		break;
	}
	return a->spoiled[0] ? "unusable" : "idle";
}

static json_t *arbiter_json(const struct volume *v)
{
	const struct arbiter *a = &v->arbiter;
	char waits[CORE_REASON_MAX + 128], expect[ID_TEXT_MAX], want[ID_TEXT_MAX];
	bool open = a->step == ARBITER_ASKS || a->step == ARBITER_GRANTED;
	uint64_t now = v->core->now;

	if (!v->set.arbiter)
		return json_null();
	arbiter_words(v, waits, sizeof(waits));
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:o}", "is", v->set.arbiter_is,
			 "state", arbiter_state(a), "expect",
			 open ? json_string(id_format(&a->expect, expect)) : json_null(), "want",
			 open ? json_string(id_format(&a->want, want)) : json_null(), "waiting_ms",
			 a->step == ARBITER_IDLE ? json_null() : json_integer((json_int_t)(now - a->since)),
			 "answer", a->answer ? json_string(register_answer_name(a->answer)) : json_null(),
			 "answer_age_ms", a->answer ? json_integer((json_int_t)(now - a->answered_at))
						    : json_null(), "said", a->last, "waits", waits,
			 "takeover_ms", v->set.takeover_ms ? json_integer(v->set.takeover_ms)
							   : json_null());
}

/* What waits in a file until it becomes, in one step, this copy. */
static json_t *staged(const struct volume *v)
{
	const struct volume_io *vio = agent_volume_io(v);
	const struct stage *st = vio->stage;
	const char *state = redo_stuck(v) ? "stuck" : redo_active(v) ? "applying" : "receiving";

	if (!st && !redo_active(v))
		return json_null();
	return json_pack("{s:s, s:o, s:I, s:I, s:I, s:o, s:o}", "state", state, "from",
			 st && st->owner ? json_string(st->owner->pair->peer->name) : json_null(),
			 "bytes", (json_int_t)(st ? st->bytes : v->redo.what.bytes),
			 "file_bytes", (json_int_t)(st ? st->at : 0),
			 "limit_bytes", (json_int_t)vio->staging_size,
			 "file", st ? json_string(st->path) : json_null(),
			 "reason", redo_stuck(v) ? json_string(v->redo.why) : json_null());
}

static json_t *volume_json(const struct volume *v)
{
	json_t *peers = json_array();

	for (unsigned int i = 0; i < v->pair_count; i++)
		json_array_append_new(peers, pair_json(v->pair[i]));
	return json_pack("{s:s, s:o, s:o, s:o}", "name", v->name, "arbiter", arbiter_json(v), "staged",
			 staged(v), "peers", peers);
}

json_t *status_json(const struct agent *a, const char *volume)
{
	json_t *volumes = json_array();

	for (const struct volume *v = a->core.volumes; v; v = v->next)
		if (!volume[0] || !strcmp(v->name, volume))
			json_array_append_new(volumes, volume_json(v));
	return json_pack("{s:b, s:s, s:o}", "ok", 1, "node", a->core.node, "volumes", volumes);
}

json_t *status_peers(const struct agent *a)
{
	json_t *peers = json_array();

	for (size_t i = 0; i < a->config.agent.peer_count; i++) {
		const struct config_peer *p = &a->config.agent.peer[i];
		char key[KEY_TEXT_MAX], address[CONFIG_HOST_MAX + CONFIG_PORT_MAX + 4];

		snprintf(address, sizeof(address), strchr(p->address.host, ':') ? "[%s]:%s" : "%s:%s",
			 p->address.host, p->address.port);
		json_array_append_new(peers, json_pack("{s:s, s:s, s:s}", "name", p->name, "address",
						       address, "public_key",
						       key_encode(p->key.b, key)));
	}
	return json_pack("{s:b, s:s, s:o}", "ok", 1, "node", a->core.node, "peers", peers);
}
