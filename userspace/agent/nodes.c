// SPDX-License-Identifier: GPL-2.0-or-later
#include "nodes.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "id.h"
#include "pair.h"
#include "roster.h"
#include "survey.h"

/* Whoever asks and does not read the answers gets no more of them. */
enum { UNSENT_MAX = 64 };

/* ------------------------------------------------- of this node, told -- */

static void add_peer(struct roster_volume *v, const char *name, uint32_t state,
		     const struct kernel_slot *slot)
{
	struct roster_peer *p;

	if (v->peers == REPL_SLOTS_MAX)
		return;
	p = &v->peer[v->peers++];
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->dirty_bytes = slot ? slot->dirty_blocks << REPL_BLOCK_SHIFT : v->size;
	/* Whether writes go over a link, the kernel alone knows. */
	p->state = slot && slot->link == REPL_LINK_LIVE ? REPL_SURVEY_LIVE :
		   state == REPL_SURVEY_LIVE ? REPL_SURVEY_BEHIND : state;
}

static void read_peers(const struct agent *a, struct roster_volume *v, const struct kernel_volume *k)
{
	const struct volume *volume = core_volume(&a->core, v->name);

	for (unsigned int i = 0; volume && i < volume->pair_count; i++) {
		const struct pair *p = volume->pair[i];

		add_peer(v, p->peer->name, roster_state(pair_state_word(p)), copy_slot(k, p->peer->key));
	}
}

static void read_kernel(struct roster_volume *v, const struct kernel_volume *k)
{
	*v = (struct roster_volume){
		.uuid = k->uuid, .generation = k->generation, .epoch = k->epoch, .size = k->size,
		.gate_age_ms = k->gate_age_ms, .gate = k->gate, .flags = k->flags,
		.sb_flags = k->sb_flags, .role = k->role, .on_peer_loss = k->on_peer_loss,
	};
	snprintf(v->name, sizeof(v->name), "%s", k->name);
}

static void gather(const struct agent *a, struct roster *r)
{
	struct kernel_volume *list = NULL;
	struct roster_volume v;
	size_t count = 0;

	/* One that is not heard of here is not up, as far as this node can tell. */
	if (kernel_list(a->kernel, &list, &count, NULL))
		count = 0;
	for (size_t i = 0; i < count; i++) {
		read_kernel(&v, &list[i]);
		read_peers(a, &v, &list[i]);
		roster_add(r, &v);
	}
	for (size_t i = 0; i < a->config.volume_count; i++) {
		const char *name = a->config.volume[i].name;
		size_t n = 0;

		while (n < count && strcmp(list[n].name, name) != 0)
			n++;
		if (n < count)
			continue;
		memset(&v, 0, sizeof(v));
		snprintf(v.name, sizeof(v.name), "%s", name);
		roster_add(r, &v);
	}
	free(list);
}

void nodes_tell(struct agent *a, struct conn *c, const struct repl_msg_survey *m)
{
	struct roster *r;
	unsigned int unsent = 0;

	for (const struct conn_tx *tx = c->tx_first; tx; tx = tx->next)
		unsent++;
	r = unsent < UNSENT_MAX ? malloc(sizeof(*r)) : NULL;
	if (!r)
		return;
	roster_init(r, le64toh(m->nonce));
	gather(a, r);
	conn_send(c, REPL_MSG_SURVEYED, r->body, r->length);
	free(r);
}

/* ------------------------------------------------- of others, shown ---- */

static json_t *id_json(const struct repl_id *id)
{
	char text[ID_TEXT_MAX];

	return id_is_zero(id) ? json_null() : json_string(id_format(id, text));
}

static json_t *volume_json(const struct roster_volume *v)
{
	json_t *peers = json_array();

	for (unsigned int i = 0; i < v->peers; i++)
		json_array_append_new(peers, json_pack("{s:s, s:s, s:I}", "name", v->peer[i].name, "state",
						       roster_state_word(v->peer[i].state), "dirty_bytes",
						       (json_int_t)v->peer[i].dirty_bytes));
	return json_pack("{s:s, s:i, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:o}", "name", v->name,
			 "role", v->role, "uuid", id_json(&v->uuid), "generation",
			 id_json(&v->generation), "epoch", (json_int_t)v->epoch, "size",
			 (json_int_t)v->size, "gate_age_ms", (json_int_t)v->gate_age_ms, "gate",
			 (json_int_t)v->gate, "flags", (json_int_t)v->flags, "sb_flags",
			 (json_int_t)v->sb_flags, "on_peer_loss", v->on_peer_loss, "peers", peers);
}

json_t *nodes_json(const struct agent *a, const struct action *act)
{
	static const char *const words[] = {
		[SURVEY_ANSWERS] = "answers",
		[SURVEY_SILENT] = "silent",
		[SURVEY_DISCONNECTED] = "disconnected",
		[SURVEY_UNASKED] = "unasked",
	};
	struct repl_msg_surveyed m = { 0 };
	json_t *volumes;
	struct roster_volume v;
	size_t at = 0;

	if (!config_find_peer(&a->config.agent, act->subject))
		return NULL;
	volumes = json_array();
	if (act->length)
		memcpy(&m, act->data, sizeof(m));
	while (act->length && roster_next(act->data, act->length, &at, &v))
		json_array_append_new(volumes, volume_json(&v));
	return json_pack("{s:s, s:s, s:s, s:I, s:o}", "node", act->subject, "state", words[act->type],
			 "reason", act->text ? act->text : "", "left_out",
			 (json_int_t)le32toh(m.left_out), "volumes", volumes);
}
