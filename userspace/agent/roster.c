// SPDX-License-Identifier: GPL-2.0-or-later
#include "roster.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "msg.h"

static const char *const states[REPL_SURVEY_STATES] = {
	[REPL_SURVEY_DISCONNECTED] = "disconnected",
	[REPL_SURVEY_CONNECTING] = "connecting",
	[REPL_SURVEY_BEHIND] = "behind",
	[REPL_SURVEY_SYNCING] = "syncing",
	[REPL_SURVEY_LIVE] = "live",
	[REPL_SURVEY_ROLLING] = "rolling",
};

const char *roster_state_word(uint32_t state)
{
	return states[state];
}

uint32_t roster_state(const char *word)
{
	for (uint32_t i = 0; i < REPL_SURVEY_STATES; i++)
		if (!strcmp(states[i], word))
			return i;
	return REPL_SURVEY_DISCONNECTED;
}

static void put_head(struct roster *r)
{
	struct repl_msg_surveyed m;

	memcpy(&m, r->body, sizeof(m));
	m.volumes = htole32(r->volumes);
	m.left_out = htole32(r->left_out);
	memcpy(r->body, &m, sizeof(m));
}

void roster_init(struct roster *r, uint64_t nonce)
{
	struct repl_msg_surveyed m = { .nonce = htole64(nonce) };

	memcpy(r->body, &m, sizeof(m));
	r->length = sizeof(m);
	r->volumes = r->left_out = 0;
}

void roster_add(struct roster *r, const struct roster_volume *v)
{
	struct repl_msg_survey_volume m = {
		.uuid = v->uuid, .generation = v->generation, .epoch = htole64(v->epoch),
		.size = htole64(v->size), .gate_age_ms = htole64(v->gate_age_ms),
		.gate = htole32(v->gate), .flags = htole32(v->flags),
		.sb_flags = htole32(v->sb_flags), .role = v->role,
		.on_peer_loss = v->on_peer_loss, .peers = (uint8_t)v->peers,
	};

	if (r->length + sizeof(m) + v->peers * sizeof(struct repl_msg_survey_peer) > sizeof(r->body)) {
		r->left_out++;
		put_head(r);
		return;
	}
	memcpy(m.name, v->name, strnlen(v->name, sizeof(m.name) - 1));
	memcpy(r->body + r->length, &m, sizeof(m));
	r->length += sizeof(m);
	for (unsigned int i = 0; i < v->peers; i++) {
		struct repl_msg_survey_peer p = {
			.dirty_bytes = htole64(v->peer[i].dirty_bytes),
			.state = htole32(v->peer[i].state),
		};

		memcpy(p.name, v->peer[i].name, strnlen(v->peer[i].name, sizeof(p.name) - 1));
		memcpy(r->body + r->length, &p, sizeof(p));
		r->length += sizeof(p);
	}
	r->volumes++;
	put_head(r);
}

static int check_peers(const uint8_t *at, unsigned int count, struct err *e)
{
	struct repl_msg_survey_peer p;

	for (; count--; at += sizeof(p)) {
		memcpy(&p, at, sizeof(p));
		if (!memchr(p.name, '\0', sizeof(p.name)))
			return err_set(e, EPROTO, "a SURVEYED with a peer whose name has no end");
		if (le32toh(p.state) >= REPL_SURVEY_STATES || p.reserved)
			return err_set(e, EPROTO, "a SURVEYED with a peer in an unknown state");
	}
	return 0;
}

/* Return: the bytes of the volume and its peers, or -EPROTO. */
static ssize_t check_volume(const uint8_t *at, size_t left, struct err *e)
{
	struct repl_msg_survey_volume m;
	size_t size;

	if (left < sizeof(m))
		return err_set(e, EPROTO, "a SURVEYED that ends within a volume");
	memcpy(&m, at, sizeof(m));
	size = sizeof(m) + m.peers * sizeof(struct repl_msg_survey_peer);
	if (!memchr(m.name, '\0', sizeof(m.name)))
		return err_set(e, EPROTO, "a SURVEYED with a volume whose name has no end");
	if (m.role > REPL_ROLE_PRIMARY || m.on_peer_loss > REPL_LOSS_ARBITER || m.reserved)
		return err_set(e, EPROTO, "a SURVEYED with a volume in an unknown role");
	if (m.peers > REPL_SLOTS_MAX || size > left)
		return err_set(e, EPROTO, "a SURVEYED with a volume of %u peers", m.peers);
	if (check_peers(at + sizeof(m), m.peers, e))
		return -EPROTO;
	return (ssize_t)size;
}

int roster_check(const void *body, size_t length, struct err *e)
{
	struct repl_msg_surveyed m;
	size_t at = sizeof(m);
	uint32_t volumes = 0;

	memcpy(&m, body, sizeof(m));
	while (at < length) {
		ssize_t n = check_volume((const uint8_t *)body + at, length - at, e);

		if (n < 0)
			return (int)n;
		at += (size_t)n;
		volumes++;
	}
	if (volumes != le32toh(m.volumes))
		return err_set(e, EPROTO, "a SURVEYED that counts other volumes than it has");
	return 0;
}

bool roster_next(const void *body, size_t length, size_t *at, struct roster_volume *v)
{
	struct repl_msg_survey_volume m;
	struct repl_msg_survey_peer p;

	if (!*at)
		*at = sizeof(struct repl_msg_surveyed);
	if (*at >= length)
		return false;
	memcpy(&m, (const uint8_t *)body + *at, sizeof(m));
	*at += sizeof(m);
	*v = (struct roster_volume){
		.uuid = m.uuid, .generation = m.generation, .epoch = le64toh(m.epoch),
		.size = le64toh(m.size), .gate_age_ms = le64toh(m.gate_age_ms),
		.gate = le32toh(m.gate), .flags = le32toh(m.flags), .sb_flags = le32toh(m.sb_flags),
		.role = m.role, .on_peer_loss = m.on_peer_loss, .peers = m.peers,
	};
	/* Names go to terminals: as words of strangers do. */
	msg_text(v->name, m.name, strlen(m.name));
	for (unsigned int i = 0; i < v->peers; i++) {
		memcpy(&p, (const uint8_t *)body + *at, sizeof(p));
		*at += sizeof(p);
		msg_text(v->peer[i].name, p.name, strlen(p.name));
		v->peer[i].dirty_bytes = le64toh(p.dirty_bytes);
		v->peer[i].state = le32toh(p.state);
	}
	return true;
}
