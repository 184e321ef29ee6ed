/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may become primary: two pure functions, one for the node that asks and one
 * for the node that is asked.
 */
#ifndef REPL_AGENT_PROMOTE_H
#define REPL_AGENT_PROMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include <repl/format.h>
#include <repl/wire.h>

/* A configured peer of the volume, as the asking node sees it. */
struct promote_peer {
	const char *name;
	uint64_t size;		/* bytes; 0: not known */
	bool there;		/* a session is up: its agent lives, whatever it has told */
	bool connected;		/* a session is up, and its VOLUME has arrived */
	bool primary;		/* as it said last */
	bool live;		/* the link stands */
	bool consistent;	/* its copy */
	bool identity;		/* its copy holds a volume, or a part of one */
	bool newer;		/* its copy continues this one: others went on without this node */
	bool outrun;		/* so it was when it was last seen */
	bool was_live;		/* its slot is recorded live in the current generation */
	bool diskless;		/* it is not primary, and its disk has failed */
	bool same_generation;	/* as this copy's */
};

struct promote_facts {
	const char *volume;
	uint64_t size;		/* bytes */
	bool primary;
	bool consistent;
	const char *stuck;	/* why what would make it consistent cannot be applied; NULL: nothing of that kind */
	bool identity;		/* this copy holds a volume, or a part of one */
	bool force, peer_dead;	/* what the administrator said */
	const char *arbiter;	/* who decides, or NULL */
	const char *granted;	/* whom this node has consented to, who may still begin, or NULL */
	unsigned int slots;	/* peer slots in use, configured or not */
	unsigned int peer_count;
	struct promote_peer peer[REPL_SLOTS_MAX];
};

enum promote_step {
	PROMOTE_REFUSED,
	PROMOTE_ALREADY,
	PROMOTE_ASK,		/* consent of every peer of 'ask', then as PROMOTE_GO */
	PROMOTE_GO,
	PROMOTE_ARBITER,	/* consent of every peer of 'ask', if any; then the arbiter's */
};

struct promote_plan {
	enum promote_step step;
	uint32_t flags;		/* enum repl_flags for the kernel */
	uint32_t ask;		/* bit n: peer n must consent */
	bool unlink;		/* first drop the links of all peers but those of 'ask' */
	char text[512];		/* PROMOTE_REFUSED: the reason and the way out */
};

/** promote_plan - what it takes to make this node primary */
void promote_plan(struct promote_plan *plan, const struct promote_facts *facts);

/* What the node that is asked for its consent knows. */
struct promote_consent {
	const char *node;		/* who asks */
	bool primary;			/* this node is */
	const char *knows_primary;	/* another peer that is, or NULL */
	bool live;			/* the link to the asking node stands */
	bool diskless;			/* this node's disk has failed */
	bool consistent;		/* this copy */
	bool identity;			/* it holds a volume, or a part of one */
	bool same_generation;
	bool about_to;			/* this node asks for itself, and goes first */
	const char *newer;		/* a third peer whose copy continues this one, or NULL */
	const char *absent;		/* a third peer that was in sync, but is not connected, or NULL */
	bool peer_dead;			/* the asking node's administrator says that it is off */
	const char *linked;		/* a third peer whose link to this node stands, or NULL */
	const char *granted;		/* whom it has consented to, who may still begin, or NULL */
};

/**
 * promote_consent - whether to consent
 * @text: when refused, why
 */
bool promote_consent(const struct promote_consent *c, char text[REPL_TEXT_MAX]);

#endif /* REPL_AGENT_PROMOTE_H */
