// SPDX-License-Identifier: GPL-2.0-or-later
#include "view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "err.h"
#include "explain.h"
#include "key.h"

enum {
	VIEW_AGENT_MS	= 2000,	/* a status that hangs with the agent would be worth nothing */
	VIEW_KEY_CHARS	= 8,
};

const char *view_state_word(enum view_state state)
{
	static const char *const words[] = {
		[VIEW_DISCONNECTED] = "disconnected",
		[VIEW_CONNECTING] = "connecting",
		[VIEW_BEHIND] = "behind",
		[VIEW_SYNCING] = "syncing",
		[VIEW_ROLLING] = "rolling",
		[VIEW_LIVE] = "live",
	};

	return words[state];
}

const char *view_health_word(enum view_health health)
{
	static const char *const words[] = {
		[VIEW_HEALTHY] = "healthy",
		[VIEW_DEGRADED] = "degraded",
		[VIEW_DOWN] = "down",
	};

	return words[health];
}

/* -- peers ----------------------------------------------------------------- */

static struct view_peer *find_peer(struct view_volume *vol, const char *name)
{
	for (size_t i = 0; i < vol->peer_count; i++) {
		if (strcmp(vol->peer[i].name, name) == 0)
			return &vol->peer[i];
	}
	return NULL;
}

static struct view_peer *add_peer(struct view_volume *vol, const char *name)
{
	struct view_peer *p = find_peer(vol, name);

	if (p || vol->peer_count == VIEW_PEERS_MAX)
		return p;
	p = &vol->peer[vol->peer_count++];
	memset(p, 0, sizeof(*p));
	snprintf(p->name, sizeof(p->name), "%s", name);
	return p;
}

static void add_slot(struct view_volume *vol, const struct config_agent *agent,
		     const struct kernel_slot *slot)
{
	const struct config_peer *known = config_find_peer_key(agent, slot->key);
	char text[KEY_TEXT_MAX + 8];
	struct view_peer *p;

	key_encode(slot->key, text);
	strcpy(text + VIEW_KEY_CHARS, "...");
	p = add_peer(vol, known ? known->name : text);
	if (!p)
		return;
	p->slot = slot;
	p->state = slot->link == REPL_LINK_LIVE ? VIEW_LIVE : VIEW_DISCONNECTED;
	snprintf(p->reason, sizeof(p->reason), "%s", slot->reason);
}

static void copy_text(const json_t *object, const char *key, char *to, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (text && *text)
		snprintf(to, size, "%s", text);
}

static void read_progress(const json_t *object, struct view_progress *p)
{
	const json_t *eta = json_object_get(object, "eta_s");

	if (!json_is_object(object))
		return;
	p->known = true;
	p->percent = json_number_value(json_object_get(object, "percent"));
	p->bytes_left = json_number_value(json_object_get(object, "bytes_left"));
	p->rate = json_number_value(json_object_get(object, "rate"));
	p->eta_s = json_is_number(eta) ? (int64_t)json_number_value(eta) : -1;
}

static void read_caught_up(const json_t *object, struct view_caught_up *c)
{
	if (!json_is_object(object))
		return;
	c->known = true;
	c->bytes = json_number_value(json_object_get(object, "bytes"));
	c->zero_bytes = json_number_value(json_object_get(object, "zero_bytes"));
	c->compared_bytes = json_number_value(json_object_get(object, "compared_bytes"));
	c->equal_bytes = json_number_value(json_object_get(object, "equal_bytes"));
	c->passes = json_number_value(json_object_get(object, "passes"));
}

static int64_t read_known(const json_t *object, const char *key)
{
	const json_t *number = json_object_get(object, key);

	return json_is_number(number) ? (int64_t)json_number_value(number) : -1;
}

static void read_rolling(const json_t *object, struct view_rolling *r)
{
	if (!json_is_object(object))
		return;
	r->known = true;
	r->interval_ms = json_number_value(json_object_get(object, "interval_ms"));
	r->age_ms = read_known(object, "age_ms");
	r->worst_ms = read_known(object, "worst_ms");
	r->bound_ms = read_known(object, "bound_ms");
	copy_text(object, "policy", r->policy, sizeof(r->policy));
	copy_text(object, "on_return", r->on_return, sizeof(r->on_return));
	r->held_percent = (unsigned int)json_number_value(json_object_get(object, "held_percent"));
	r->late = json_is_true(json_object_get(object, "late"));
	r->behind_bytes = read_known(object, "behind_bytes");
}

static const json_t *object_of(const json_t *object, const char *key)
{
	const json_t *member = json_object_get(object, key);

	return json_is_object(member) ? member : NULL;
}

static void add_answer(struct view_volume *vol, const json_t *object)
{
	char name[REPL_NODE_MAX] = "";
	char state[16] = "";
	struct view_peer *p;

	copy_text(object, "name", name, sizeof(name));
	p = *name ? add_peer(vol, name) : NULL;
	if (!p)
		return;
	copy_text(object, "state", state, sizeof(state));
	copy_text(object, "session", p->session, sizeof(p->session));
	copy_text(object, "verdict", p->verdict, sizeof(p->verdict));
	copy_text(object, "reason", p->reason, sizeof(p->reason));
	read_progress(json_object_get(object, "progress"), &p->progress);
	read_caught_up(json_object_get(object, "caught_up"), &p->caught_up);
	read_rolling(json_object_get(object, "rolling"), &p->rolling);
	/* What it goes by may be older than the file. */
	p->mode = p->rolling.known ? CONFIG_MODE_ROLLING : CONFIG_MODE_SYNC;
	p->verify = object_of(object, "verify");
	p->split = object_of(object, "split");
	/* Whether writes go over a link, the kernel alone knows; what comes before, the agent. */
	if (p->state == VIEW_LIVE)
		return;
	for (enum view_state s = VIEW_DISCONNECTED; s < VIEW_LIVE; s++) {
		if (strcmp(state, view_state_word(s)) == 0)
			p->state = s;
	}
	if (strcmp(state, view_state_word(VIEW_LIVE)) == 0)
		p->state = VIEW_BEHIND;
}

static void read_arbiter(struct view_volume *vol, json_t *object)
{
	struct view_arbiter *a = &vol->arbiter;
	const json_t *age = json_object_get(object, "answer_age_ms");

	if (!json_is_object(object))
		return;
	vol->arbiter_object = object;
	a->known = true;
	copy_text(object, "is", a->is, sizeof(a->is));
	copy_text(object, "state", a->state, sizeof(a->state));
	copy_text(object, "waits", a->waits, sizeof(a->waits));
	copy_text(object, "answer", a->answer, sizeof(a->answer));
	copy_text(object, "said", a->said, sizeof(a->said));
	a->answer_age_ms = json_is_integer(age) ? (int64_t)json_integer_value(age) : -1;
}

void view_merge_peers(struct view_volume *vol, const struct config_agent *agent, json_t *answer)
{
	json_t *object;
	size_t index;

	for (size_t i = 0; vol->config && i < vol->config->peer_count; i++) {
		struct view_peer *p = add_peer(vol, vol->config->peer[i].name);

		if (!p)
			continue;
		p->configured = true;
		p->mode = vol->config->peer[i].mode;
	}
	for (size_t i = 0; vol->kernel && i < vol->kernel->slot_count; i++) {
		if (vol->kernel->slot[i].kind == REPL_SLOT_PEER)
			add_slot(vol, agent, &vol->kernel->slot[i]);
	}
	json_array_foreach(json_object_get(answer, "peers"), index, object)
		add_answer(vol, object);
	read_arbiter(vol, json_object_get(answer, "arbiter"));
	vol->staged = json_object_get(answer, "staged");
}

/* -- volumes --------------------------------------------------------------- */

static struct view_volume *add_volume(struct view *v, const char *name)
{
	struct view_volume *grown;

	for (size_t i = 0; i < v->count; i++) {
		if (strcmp(v->volume[i].name, name) == 0)
			return &v->volume[i];
	}
	grown = reallocarray(v->volume, v->count + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	v->volume = grown;
	grown = &grown[v->count++];
	memset(grown, 0, sizeof(*grown));
	snprintf(grown->name, sizeof(grown->name), "%s", name);
	return grown;
}

static int merge_volumes(struct view *v, const char *only)
{
	struct view_volume *vol;

	for (size_t i = 0; i < v->config.volume_count; i++) {
		const struct config_volume *config = &v->config.volume[i];

		if (only && strcmp(only, config->name) != 0)
			continue;
		vol = add_volume(v, config->name);
		if (!vol)
			return -ENOMEM;
		vol->config = config;
	}
	for (size_t i = 0; i < v->list_count; i++) {
		if (only && strcmp(only, v->list[i].name) != 0)
			continue;
		vol = add_volume(v, v->list[i].name);
		if (!vol)
			return -ENOMEM;
		vol->kernel = &v->list[i];
	}
	return 0;
}

static json_t *answer_for(const struct view *v, const char *name)
{
	json_t *object;
	size_t index;

	json_array_foreach(json_object_get(v->answer, "volumes"), index, object) {
		const char *text = json_string_value(json_object_get(object, "name"));

		if (text && strcmp(text, name) == 0)
			return object;
	}
	return NULL;
}

/* -- gathering ------------------------------------------------------------- */

static void keep_first(void *arg, const char *text)
{
	struct view *v = arg;

	if (!v->config_problem[0])
		snprintf(v->config_problem, sizeof(v->config_problem), "%s", text);
}

static void ask_kernel(struct view *v)
{
	struct kernel *k;
	struct err e;

	if (kernel_open(&k, &e) == 0) {
		v->module = kernel_list(k, &v->list, &v->list_count, &e) == 0;
		kernel_close(k);
	}
	if (!v->module)
		snprintf(v->module_problem, sizeof(v->module_problem), "%s", e.text);
}

static int ask_agent(struct view *v, const char *config_dir)
{
	json_t *request = json_pack("{s:s}", "cmd", "status");
	struct err e;
	int ret;

	if (!request)
		return -ENOMEM;
	ret = agent_ask(config_dir, request, VIEW_AGENT_MS, NULL, NULL, &v->answer, &e);
	json_decref(request);
	if (!ret)
		return 0;
	v->agent = ret == -ENOENT || ret == -ECONNREFUSED ? VIEW_AGENT_DEAD :
		   ret == -EACCES ? VIEW_AGENT_UNKNOWN : VIEW_AGENT_SILENT;
	snprintf(v->agent_problem, sizeof(v->agent_problem), "%s", e.text);
	return 0;
}

int view_open(struct view *v, const char *config_dir, const char *only)
{
	int ret;

	memset(v, 0, sizeof(*v));
	ret = config_load(config_dir, &v->config, keep_first, v);
	if (ret == -ENOMEM)
		goto close_view;
	v->config_good = !ret;
	ask_kernel(v);
	ret = ask_agent(v, config_dir);
	if (!ret)
		ret = merge_volumes(v, only);
	if (ret)
		goto close_view;
	for (size_t i = 0; i < v->count; i++) {
		view_merge_peers(&v->volume[i], &v->config.agent, answer_for(v, v->volume[i].name));
		explain_volume(v, &v->volume[i]);
	}
	return 0;

close_view:
	view_close(v);
	return ret;
}

void view_close(struct view *v)
{
	json_decref(v->answer);
	free(v->list);
	free(v->volume);
	config_free(&v->config);
	memset(v, 0, sizeof(*v));
}
