// SPDX-License-Identifier: GPL-2.0-or-later
#include "witness.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "conn.h"
#include "id.h"
#include "key.h"
#include "log.h"

static const char *holder_name(const struct agent *a, const struct register_entry *r)
{
	const struct core_peer *p = r->held ? core_peer_by_key(&a->core, r->holder) : NULL;

	if (!r->held)
		return "nobody";
	return p ? p->name : "a node that agent.conf does not name";
}

static bool has_copy(const struct agent *a, const struct repl_id *uuid)
{
	for (const struct volume *v = a->core.volumes; v; v = v->next)
		if (v->known && id_equal(&v->k.uuid, uuid))
			return true;
	return false;
}

static void reads(const struct agent *a, const struct register_entry *r, char *text, size_t size)
{
	char generation[ID_TEXT_MAX];

	snprintf(text, size, "the register reads %s, held by %s", id_format(&r->generation, generation),
		 holder_name(a, r));
}

/* The answer leaves only after what it says is on stable media. */
static enum repl_msg_answer_kind decide(struct agent *a, const struct repl_msg_ask *m,
					const struct core_peer *who, char text[REPL_TEXT_MAX])
{
	struct register_entry r, before;
	struct err e = { "" };
	int ret;

	if (has_copy(a, &m->volume)) {
		snprintf(text, REPL_TEXT_MAX, "this node has a copy of the volume, and is no witness for it");
		return REPL_MN_UNKNOWN;
	}
	ret = register_load(REGISTER_DIR, &m->volume, &r, &e);
	if (ret) {
		snprintf(text, REPL_TEXT_MAX, "%.400s", e.text);
		return ret == -ENOENT ? REPL_MN_NO_ENTRY : REPL_MN_UNKNOWN;
	}
	before = r;
	if (!register_ask(&r, &m->expect, &m->want, who->key)) {
		reads(a, &r, text, REPL_TEXT_MAX);
		return REPL_MN_DENIED;
	}
	/* One that is granted again may have been written, and its name not be on stable media yet. */
	if ((memcmp(&before, &r, sizeof(r)) || memcmp(&m->expect, &m->want, sizeof(m->want))) &&
	    register_store(REGISTER_DIR, &r, &e)) {
		snprintf(text, REPL_TEXT_MAX, "%.400s", e.text);
		return REPL_MN_UNKNOWN;
	}
	text[0] = '\0';
	return REPL_MN_GRANTED;
}

void witness_asked(struct agent *a, struct conn *c, const void *body)
{
	static const char *const word[] = {
		[REPL_MN_GRANTED] = "granted", [REPL_MN_DENIED] = "denied",
		[REPL_MN_UNKNOWN] = "not answered", [REPL_MN_NO_ENTRY] = "not answered",
	};
	struct {
		struct repl_msg_answer m;
		char text[REPL_TEXT_MAX];
	} out = { .text = "" };
	char expect[ID_TEXT_MAX], want[ID_TEXT_MAX], uuid[ID_TEXT_MAX];
	struct msg_answer says;
	struct repl_msg_ask m;

	memcpy(&m, body, sizeof(m));
	says.want = m.want;
	says.answer = decide(a, &m, c->peer, out.text);
	msg_pack_answer(&says, &out.m);
	/* To be asked whether it reads what it reads is no news. */
	if (!id_equal(&m.expect, &m.want) || says.answer != REPL_MN_GRANTED)
		log_info(NULL, "%s asks, for volume %s, to replace generation %s by %s: %s%s%s", c->peer->name,
			 id_format(&m.volume, uuid), id_format(&m.expect, expect),
			 id_format(&m.want, want), word[says.answer], out.text[0] ? ": " : "", out.text);
	conn_send(c, REPL_MSG_ANSWER, &out, sizeof(out.m) + strlen(out.text));
}

/* ------------------------------------------------------------ entries --- */

int witness_add(struct agent *a, const char *name, const struct repl_id *uuid,
		const struct repl_id *generation, bool force, struct err *e)
{
	struct register_entry r, old;
	char text[REPL_TEXT_MAX], id[ID_TEXT_MAX];
	int ret;

	if (has_copy(a, uuid))
		return err_set(e, EEXIST, "this node has a copy of the volume: the witness must be a third one");
	ret = register_load(REGISTER_DIR, uuid, &old, e);
	if (!ret && !force) {
		if (id_equal(&old.generation, generation))
			return 0;
		reads(a, &old, text, sizeof(text));
		return err_set(e, EEXIST, "there is an entry for volume %s, and %s: only if that node is not "
			       "primary any more, and the generation that you name counts, say --force",
			       id_format(uuid, id), text);
	}
	if (ret && ret != -ENOENT && !force)
		return err_set(e, -ret, "%.300s; only if the generation that you name counts, make the entry anew "
			       "with --force", e->text);
	r = (struct register_entry){ .volume = *uuid, .generation = *generation };
	snprintf(r.name, sizeof(r.name), "%s", name);
	ret = register_store(REGISTER_DIR, &r, e);
	if (!ret)
		log_info(name, "is a witness for volume %s from now on", id_format(uuid, id));
	return ret;
}

struct search {
	const char *name;
	struct repl_id uuid;
	unsigned int found;
};

static void match(void *arg, const struct register_entry *r, const char *why)
{
	struct search *s = arg;

	(void)why;
	if (!r || strcmp(r->name, s->name))
		return;
	s->uuid = r->volume;
	s->found++;
}

int witness_remove(const char *which, struct err *e)
{
	struct search s = { .name = which };
	int ret;

	if (id_parse(which, &s.uuid)) {
		ret = register_each(REGISTER_DIR, match, &s, e);
		if (ret)
			return ret;
		if (s.found != 1)
			return err_set(e, ENOENT, s.found ? "%s: several entries have that name: say which by UUID, see "
				       "repl-ctl witness list" : "%s: there is no entry of that name, see repl-ctl "
				       "witness list", which);
	}
	return register_remove(REGISTER_DIR, &s.uuid, e);
}

struct listing {
	const struct agent *agent;
	json_t *entries;
};

static void append(void *arg, const struct register_entry *r, const char *why)
{
	struct listing *l = arg;
	char uuid[ID_TEXT_MAX], generation[ID_TEXT_MAX];

	if (!r)
		json_array_append_new(l->entries, json_pack("{s:s}", "damaged", why));
	else
		json_array_append_new(l->entries,
				      json_pack("{s:s, s:s, s:s, s:s}", "name", r->name, "uuid",
						id_format(&r->volume, uuid), "generation",
						id_format(&r->generation, generation), "holder",
						holder_name(l->agent, r)));
}

json_t *witness_json(const struct agent *a)
{
	struct listing l = { .agent = a, .entries = json_array() };
	struct err e;

	if (!register_each(REGISTER_DIR, append, &l, &e))
		return json_pack("{s:b, s:o}", "ok", 1, "witness", l.entries);
	json_decref(l.entries);
	return json_pack("{s:b, s:s, s:i}", "ok", 0, "text", e.text, "code", 1);
}
