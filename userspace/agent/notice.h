/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What programs of the administrator are told: changes of a volume, each once.  Part of
 * the core; hook.c runs the programs.
 *
 * A change is a difference between what was told last and what is so now, so nothing is
 * told twice, and what was undone before anybody looked is not told at all.  What an agent
 * finds when it starts was the same before: nothing is told of it, but for a split.
 */
#ifndef REPL_AGENT_NOTICE_H
#define REPL_AGENT_NOTICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <repl/format.h>
#include <repl/wire.h>

struct volume;

enum notice_kind {
	NOTICE_PEER_LOST,	/* it no longer has every write */
	NOTICE_PEER_BACK,	/* it has */
	NOTICE_ROLE,
	NOTICE_SPLIT,
	NOTICE_FROZEN,		/* writes wait, and have for NOTICE_FROZEN_MS */
	NOTICE_THAWED,
	NOTICE_DEVICE_FAILED,
	NOTICE_DEVICE_BACK,
	NOTICE_PEER_LATE,	/* a rolling one's copy is older than it may be */
	NOTICE_PEER_IN_TIME,
	NOTICE_KINDS
};

enum { NOTICE_FROZEN_MS = 2000 };

struct notice {
	enum notice_kind kind;
	uint32_t minor;
	char volume[REPL_NAME_MAX];
	char peer[REPL_NODE_MAX];	/* "": about none */
	char role[16];			/* now: primary, secondary or down */
	char was[16];			/* NOTICE_ROLE: before */
	char reason[REPL_TEXT_MAX];	/* for people; may be "" */
};

/* What was told of a volume, and of a pair. */
struct notice_volume {
	bool known;
	bool frozen, failed;
	uint8_t role;
	uint64_t frozen_since;	/* 0: writes do not wait */
	uint64_t look_at;	/* 0: never */
};

struct notice_pair {
	bool live, split, late;
};

/** notice_look - something may have changed */
void notice_look(struct volume *v);

/** notice_tick - ->look_at may have come */
void notice_tick(struct volume *v);

/** notice_removed - the volume is down; nothing more is told of it */
void notice_removed(struct volume *v, const char *why);

/** notice_name - "peer-lost" */
const char *notice_name(enum notice_kind kind);

/**
 * notice_same - whether the one takes the place of the other
 * Return: true when both are about the same thing, of which only the latest state matters
 */
bool notice_same(const struct notice *a, const struct notice *b);

#endif /* REPL_AGENT_NOTICE_H */
