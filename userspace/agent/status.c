// SPDX-License-Identifier: GPL-2.0-or-later
#include "status.h"

#include <stdio.h>
#include <string.h>

#include "key.h"
#include "pair.h"

static json_t *progress(const struct pair *p)
{
	const struct procedure *run = &p->run;
	uint64_t ms = p->core->now - run->began_at;
	uint64_t done = run->done_bytes < run->left_bytes ? run->done_bytes : run->left_bytes;
	uint64_t left = run->left_bytes - done;
	uint64_t rate = ms ? run->done_bytes * 1000 / ms : 0;

	if ((!pair_leading(p) && !pair_following(p)) || !run->left_bytes)
		return json_null();
	return json_pack("{s:f, s:I, s:I, s:o}", "percent",
			 (double)done * 100 / (double)run->left_bytes, "bytes_left", (json_int_t)left,
			 "rate", (json_int_t)rate, "eta_s",
			 rate ? json_integer((json_int_t)(left / rate)) : json_null());
}

static json_t *pair_json(const struct pair *p)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "name", p->peer->name,
			 "session", pair_session_word(p), "state", pair_state_word(p),
			 "verdict", p->judged ? verdict_name(p->verdict.kind) : "",
			 "reason", p->reason, "progress", progress(p));
}

static json_t *volume_json(const struct volume *v)
{
	json_t *peers = json_array();

	for (unsigned int i = 0; i < v->pair_count; i++)
		json_array_append_new(peers, pair_json(v->pair[i]));
	return json_pack("{s:s, s:o}", "name", v->name, "peers", peers);
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
