// SPDX-License-Identifier: GPL-2.0-or-later
#include "cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libsmartcols.h>

#include "agent.h"
#include "err.h"
#include "explain.h"
#include "id.h"
#include "report.h"
#include "units.h"

enum { CLUSTER_MS = 2000 };	/* for the agent and all other nodes together; survey.h */

/* -- what other nodes have told -------------------------------------------- */

static uint64_t number(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

static void text(const json_t *object, const char *key, char *to, size_t size)
{
	const char *value = json_string_value(json_object_get(object, key));

	snprintf(to, size, "%s", value ? value : "");
}

static struct repl_id id(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));
	struct repl_id parsed = { 0 };

	if (!value || id_parse(value, &parsed))
		return (struct repl_id){ 0 };
	return parsed;
}

static void read_peers(const json_t *object, struct view_volume *vol, struct kernel_volume *k)
{
	const json_t *peer;
	size_t i;

	json_array_foreach(json_object_get(object, "peers"), i, peer) {
		struct view_peer *p = &vol->peer[vol->peer_count];
		struct kernel_slot *s = &k->slot[vol->peer_count];
		char state[16];

		if (vol->peer_count == REPL_SLOTS_MAX)
			return;
		vol->peer_count++;
		text(peer, "name", p->name, sizeof(p->name));
		text(peer, "state", state, sizeof(state));
		for (enum view_state n = VIEW_DISCONNECTED; n <= VIEW_LIVE; n++)
			if (!strcmp(state, view_state_word(n)))
				p->state = n;
		s->dirty_blocks = number(peer, "dirty_bytes") >> REPL_BLOCK_SHIFT;
		p->slot = s;
		p->configured = true;
	}
}

/* What is judged here is what the node itself would judge: by the same rules, from the same facts. */
static void read_volume(const json_t *object, struct view_volume *vol, struct kernel_volume *k)
{
	static const struct view there = { .elsewhere = true, .config_good = true, .module = true };

	text(object, "name", vol->name, sizeof(vol->name));
	if (number(object, "role")) {
		vol->kernel = k;
		k->role = (uint8_t)number(object, "role");
		k->uuid = id(object, "uuid");
		k->generation = id(object, "generation");
		k->epoch = number(object, "epoch");
		k->size = number(object, "size");
		k->gate_age_ms = number(object, "gate_age_ms");
		k->gate = (uint32_t)number(object, "gate");
		k->flags = (uint32_t)number(object, "flags");
		k->sb_flags = (uint32_t)number(object, "sb_flags");
		k->on_peer_loss = (uint8_t)number(object, "on_peer_loss");
		read_peers(object, vol, k);
	}
	explain_volume(&there, vol);
}

static void judge(struct cluster_node *n)
{
	for (size_t i = 0; i < n->count; i++)
		if (n->volume[i].health > n->health)
			n->health = n->volume[i].health;
	if (n->left_out && n->health < VIEW_DEGRADED)
		n->health = VIEW_DEGRADED;
	/* With one that shares no volume there is no connection that could be asked over. */
	if (n->reason[0] && strcmp(n->state, "unasked") && n->health < VIEW_DEGRADED)
		n->health = VIEW_DEGRADED;
}

static int read_node(struct cluster_node *n, const json_t *object, const char *only)
{
	const json_t *list = json_object_get(object, "volumes"), *volume;
	size_t most = json_array_size(list), i;
	char name[REPL_NAME_MAX];

	text(object, "node", n->name, sizeof(n->name));
	text(object, "state", n->state, sizeof(n->state));
	text(object, "reason", n->reason, sizeof(n->reason));
	n->left_out = (unsigned int)number(object, "left_out");
	n->told = calloc(most + 1, sizeof(*n->told));
	n->kernel = calloc(most + 1, sizeof(*n->kernel));
	if (!n->told || !n->kernel)
		return -ENOMEM;
	json_array_foreach(list, i, volume) {
		text(volume, "name", name, sizeof(name));
		if (only && strcmp(only, name) != 0)
			continue;
		read_volume(volume, &n->told[n->count], &n->kernel[n->count]);
		n->count++;
	}
	n->volume = n->told;
	judge(n);
	return 0;
}

static void unknown_node(struct cluster_node *n, const char *name, const char *why)
{
	snprintf(n->name, sizeof(n->name), "%s", name);
	snprintf(n->state, sizeof(n->state), "unknown");
	snprintf(n->reason, sizeof(n->reason), "%s", why);
	judge(n);
}

/* They are told in the order in which they came: shown are they in that of agent.conf. */
static size_t rank(const struct config_agent *a, const json_t *object)
{
	const char *name = json_string_value(json_object_get(object, "node"));
	size_t i = 0;

	while (i < a->peer_count && (!name || strcmp(a->peer[i].name, name) != 0))
		i++;
	return i;
}

static int read_nodes(struct cluster *c, const json_t *list, const char *only)
{
	const struct config_agent *a = &c->here->config.agent;
	const json_t *object;
	size_t i;
	int ret = 0;

	for (size_t place = 0; place <= a->peer_count; place++)
		json_array_foreach(list, i, object)
			if (!ret && rank(a, object) == place)
				ret = read_node(&c->node[c->count++], object, only);
	return ret;
}

int cluster_read(struct cluster *c, const struct view *here, const json_t *answer, const char *why,
		 const char *only)
{
	const json_t *list = json_object_get(answer, "nodes");
	const struct config_agent *a = &here->config.agent;
	int ret;

	*c = (struct cluster){ .here = here };
	c->node = calloc(1 + json_array_size(list) + a->peer_count, sizeof(*c->node));
	if (!c->node)
		return -ENOMEM;
	c->count = 1;
	snprintf(c->node->name, sizeof(c->node->name), "%s", a->name);
	snprintf(c->node->state, sizeof(c->node->state), "here");
	c->node->volume = here->volume;
	c->node->count = here->count;
	judge(c->node);
	/* Whose the mistake is may not even be among the volumes. */
	if (!here->config_good && !only && c->node->health < VIEW_DEGRADED)
		c->node->health = VIEW_DEGRADED;
	ret = read_nodes(c, list, only);
	for (size_t i = 0; !answer && i < a->peer_count; i++)
		unknown_node(&c->node[c->count++], a->peer[i].name, why);
	return ret;
}

void cluster_free(struct cluster *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->node[i].told);
		free(c->node[i].kernel);
	}
	free(c->node);
	*c = (struct cluster){ 0 };
}

enum view_health cluster_health(const struct cluster *c)
{
	enum view_health worst = VIEW_HEALTHY;

	/* A monitoring check that finds nothing to look at must not say that all is well. */
	if (!c->here->count && !c->here->config_good)
		return VIEW_DOWN;
	for (size_t i = 0; i < c->count; i++)
		if (c->node[i].health > worst)
			worst = c->node[i].health;
	return worst;
}

/* -- JSON ------------------------------------------------------------------ */

static json_t *report_id(const struct repl_id *what)
{
	char to[ID_TEXT_MAX];

	return id_is_zero(what) ? json_null() : json_string(id_format(what, to));
}

static json_t *report_text(const char *words)
{
	return *words ? json_string(words) : json_null();
}

static json_t *report_volume(const struct view_volume *vol)
{
	const struct kernel_volume *k = vol->kernel;
	json_t *object, *peers = json_array();

	for (size_t i = 0; i < vol->peer_count; i++) {
		int64_t behind = explain_behind(vol, &vol->peer[i]);

		json_array_append_new(peers, json_pack("{s:s, s:s, s:o}", "name", vol->peer[i].name, "state",
						       view_state_word(vol->peer[i].state), "dirty_bytes",
						       behind < 0 ? json_null() : json_integer(behind)));
	}
	object = json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", vol->name, "role",
			   k ? report_role(k) : "down", "health", view_health_word(vol->health), "reason",
			   report_text(vol->finding_count ? vol->finding[0].reason : ""), "peers", peers);
	if (!object)
		return NULL;
	json_object_set_new(object, "uuid", k ? report_id(&k->uuid) : json_null());
	json_object_set_new(object, "generation", k ? report_id(&k->generation) : json_null());
	json_object_set_new(object, "epoch", k ? json_integer((json_int_t)k->epoch) : json_null());
	json_object_set_new(object, "size", k ? json_integer((json_int_t)k->size) : json_null());
	json_object_set_new(object, "consistent", !k ? json_null() :
			    json_boolean((k->sb_flags & REPL_SB_CONSISTENT) &&
					 !(k->flags & REPL_VF_DISKLESS)));
	json_object_set_new(object, "frozen", k ? json_boolean(k->gate) : json_null());
	return object;
}

json_t *cluster_report(const struct cluster *c)
{
	json_t *nodes = json_array();

	for (size_t i = 0; i < c->count; i++) {
		const struct cluster_node *n = &c->node[i];
		json_t *volumes = json_array();

		for (size_t j = 0; j < n->count; j++)
			json_array_append_new(volumes, report_volume(&n->volume[j]));
		json_array_append_new(nodes, json_pack("{s:s, s:s, s:o, s:s, s:i, s:o}", "node", n->name, "state",
						       n->state, "reason", report_text(n->reason),
						       "health", view_health_word(n->health), "left_out",
						       (int)n->left_out, "volumes", volumes));
	}
	return json_pack("{s:s, s:o}", "health", view_health_word(cluster_health(c)), "nodes", nodes);
}

/* -- table ----------------------------------------------------------------- */

enum column { COL_NODE, COL_VOLUME, COL_ROLE, COL_HEALTH, COL_PEERS, COL_COUNT };

/* "mail2 live, mail3 behind 4 MiB" */
static const char *list_peers(const struct view_volume *vol, char *to, size_t size)
{
	char behind[UNITS_TEXT_MAX];
	size_t used = 0;

	*to = '\0';
	for (size_t i = 0; i < vol->peer_count && used < size; i++) {
		const struct view_peer *p = &vol->peer[i];
		int64_t bytes = explain_behind(vol, p);

		used += (size_t)snprintf(to + used, size - used, "%s%s %s%s%s", i ? ", " : "", p->name,
					 view_state_word(p->state), bytes > 0 ? " " : "",
					 bytes > 0 ? units_format_bytes((uint64_t)bytes, behind) : "");
	}
	return to;
}

static bool add_line(struct libscols_table *table, const char *const cell[COL_COUNT])
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	int ret = line ? 0 : -ENOMEM;

	for (int i = 0; i < COL_COUNT && !ret; i++)
		ret = scols_line_set_data(line, (size_t)i, cell[i]);
	return !ret;
}

static bool add_node(struct libscols_table *table, const struct cluster_node *n)
{
	char peers[2 * VIEW_WORDS_MAX], words[2 * VIEW_WORDS_MAX];
	bool good = true;

	for (size_t i = 0; i < n->count && good; i++) {
		const struct view_volume *vol = &n->volume[i];

		good = add_line(table, (const char *[]){ n->name, vol->name,
							 vol->kernel ? report_role(vol->kernel) : "down",
							 view_health_word(vol->health),
							 list_peers(vol, peers, sizeof(peers)) });
	}
	snprintf(words, sizeof(words), "%s", n->reason[0] ? n->reason : "no volumes");
	if (n->left_out)
		snprintf(words, sizeof(words), "%u more: run repl-ctl status there", n->left_out);
	if (good && (!n->count || n->left_out))
		good = add_line(table, (const char *[]){ n->name, "-", "-", n->state, words });
	return good;
}

static int print_table(const struct ctl *ctl, const struct cluster *c)
{
	static const char *const heads[COL_COUNT] = { "NODE", "VOLUME", "ROLE", "HEALTH", "PEERS" };
	struct libscols_table *table = scols_new_table();
	bool good = table;

	for (int i = 0; i < COL_COUNT && good; i++)
		good = scols_table_new_column(table, heads[i], 0, 0);
	for (size_t i = 0; i < c->count && good; i++)
		good = add_node(table, &c->node[i]);
	if (good)
		good = !scols_print_table(table);
	scols_unref_table(table);
	if (!good)
		return ctl_complain("%s: out of memory", ctl->command);
	for (size_t i = 0; i < c->count; i++)
		for (size_t j = 0; j < c->node[i].count; j++)
			if (c->node[i].volume[j].finding_count)
				printf("%s, %s: %s\n", c->node[i].name, c->node[i].volume[j].name,
				       c->node[i].volume[j].finding[0].reason);
	return CTL_DONE;
}

static bool has_volume(const struct cluster *c)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->node[i].count)
			return true;
	return false;
}

static int show(const struct ctl *ctl, const struct cluster *c, const char *only, bool json, bool check)
{
	static const int codes[] = {
		[VIEW_HEALTHY] = CTL_DONE,
		[VIEW_DEGRADED] = CTL_DEGRADED,
		[VIEW_DOWN] = CTL_DOWN,
	};
	int ret = CTL_DONE;

	if (only && !has_volume(c)) {
		ctl_complain("%s: no node that has told has such a volume", only);
		return check ? CTL_DOWN : CTL_FAILED;
	}
	if (json) {
		json_t *root = cluster_report(c);

		if (!root || json_dumpf(root, stdout, JSON_INDENT(2)))
			ret = ctl_complain("standard output: cannot write");
		json_decref(root);
		putchar('\n');
	} else {
		ret = print_table(ctl, c);
	}
	return ret || !check ? ret : codes[cluster_health(c)];
}

static int ask(const struct ctl *ctl, json_t **answer, struct err *e)
{
	json_t *request = json_pack("{s:s}", "cmd", "nodes");
	int ret = agent_ask(ctl->config_dir, request, CLUSTER_MS, NULL, NULL, answer, e);
	const char *words;

	json_decref(request);
	if (ret || json_is_array(json_object_get(*answer, "nodes")))
		return ret;
	words = json_string_value(json_object_get(*answer, "text"));
	ret = err_set(e, EPROTO, "the agent here does not tell: %s", words ? words : "no reason is given");
	json_decref(*answer);
	return ret;
}

int cluster_status(const struct ctl *ctl, const char *only, bool json, bool check)
{
	struct view *here = malloc(sizeof(*here));
	json_t *answer = NULL;
	struct err e = { "" };
	struct cluster c;
	int ret;

	if (!here || view_open(here, ctl->config_dir, only)) {
		free(here);
		return ctl_complain("out of memory");
	}
	if (here->agent != VIEW_AGENT_ANSWERS)
		err_set(&e, ETIMEDOUT, "%s", here->agent_problem);
	else if (ask(ctl, &answer, &e))
		answer = NULL;
	ret = cluster_read(&c, here, answer, e.text, only);
	ret = ret ? ctl_complain("out of memory") : show(ctl, &c, only, json, check);
	if (!here->config_good)
		fprintf(stderr, "repl-ctl: %s (repl-agent --check tells all that is wrong)\n",
			here->config_problem);
	cluster_free(&c);
	json_decref(answer);
	view_close(here);
	free(here);
	return ret;
}
