/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An arbiter's register: for one volume the generation that counts, and whose it is.  It
 * changes only by being asked, expecting what it reads; so of several who expect the same,
 * one gets what it wants, whoever comes first, and however often each of them asks.
 *
 * register_ask() is the rule, and pure.  The rest keeps registers in files, one for each
 * volume, on the node that is the witness.
 */
#ifndef REPL_AGENT_REGISTER_H
#define REPL_AGENT_REGISTER_H

#include <stdbool.h>
#include <stdint.h>

#include <repl/format.h>

#include "err.h"

#define REGISTER_DIR "/var/lib/repl/witness"

struct register_entry {
	struct repl_id volume;			/* its UUID */
	char name[REPL_NAME_MAX];		/* for people */
	struct repl_id generation;
	bool held;				/* somebody has asked since the entry was made */
	uint8_t holder[REPL_KEY_BYTES];		/* who; zero until then */
};

enum register_answer {
	REGISTER_GRANTED	= 1,
	REGISTER_DENIED		= 2,	/* it reads something else, and will never read 'expect' again */
	REGISTER_UNKNOWN	= 3,	/* no answer: ask again, for the same */
};

/**
 * register_ask - compare, and swap
 * @expect: what the node has, and was live in
 * @want: a generation that has never been
 * @node: its public key
 *
 * Grants when the register reads @expect, and again when it reads @want for this @node.
 * Return: whether it granted; @r has changed only then, and perhaps not.
 */
bool register_ask(struct register_entry *r, const struct repl_id *expect,
		  const struct repl_id *want, const uint8_t node[REPL_KEY_BYTES]);

/**
 * register_load - the entry of a volume
 * Return: 0; -ENOENT when there is none, or another -errno, with words.
 */
int register_load(const char *dir, const struct repl_id *volume, struct register_entry *r,
		  struct err *e);

/** register_store - durably. Return: 0 or -errno with words; then nothing may be told of it. */
int register_store(const char *dir, const struct register_entry *r, struct err *e);

/** register_remove - durably. Return: 0; -ENOENT when there is none; or -errno with words. */
int register_remove(const char *dir, const struct repl_id *volume, struct err *e);

/**
 * register_each - all entries; @fn gets NULL and words for one that cannot be read
 * Return: 0 or -errno with words.
 */
int register_each(const char *dir, void (*fn)(void *arg, const struct register_entry *r,
					      const char *why), void *arg, struct err *e);

/** register_answer_name - for messages */
const char *register_answer_name(enum register_answer answer);

#endif /* REPL_AGENT_REGISTER_H */
