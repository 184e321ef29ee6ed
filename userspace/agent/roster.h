/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The body of a SURVEYED message: how the volumes of a node are.  Pure. */
#ifndef REPL_AGENT_ROSTER_H
#define REPL_AGENT_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/repl.h>
#include <repl/wire.h>

#include "err.h"

struct roster_peer {
	char name[REPL_NODE_MAX];
	uint64_t dirty_bytes;
	uint32_t state;			/* enum repl_survey_state */
};

struct roster_volume {
	char name[REPL_NAME_MAX];
	struct repl_id uuid, generation;
	uint64_t epoch, size, gate_age_ms;
	uint32_t gate, flags, sb_flags;
	uint8_t role;			/* enum repl_role; 0: not up */
	uint8_t on_peer_loss;
	unsigned int peers;
	struct roster_peer peer[REPL_SLOTS_MAX];
};

struct roster {
	uint8_t body[REPL_SURVEYED_MAX] __attribute__((aligned(8)));
	size_t length;
	uint32_t volumes, left_out;
};

void roster_init(struct roster *r, uint64_t nonce);

/** roster_add - one volume more; one for which there is no room is counted */
void roster_add(struct roster *r, const struct roster_volume *v);

/**
 * roster_check - a body that came from elsewhere: all of it
 * Return: 0 or -EPROTO with words.
 */
int roster_check(const void *body, size_t length, struct err *e);

/**
 * roster_next - read one volume of a body that roster_check() has found good
 * @at: 0 at first
 * Return: false at the end.
 */
bool roster_next(const void *body, size_t length, size_t *at, struct roster_volume *v);

/** roster_state_word - disconnected, connecting, behind, syncing, live */
const char *roster_state_word(uint32_t state);

/** roster_state - of a word; REPL_SURVEY_DISCONNECTED of any other */
uint32_t roster_state(const char *word);

#endif /* REPL_AGENT_ROSTER_H */
