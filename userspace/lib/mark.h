/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A mark's name, as it lies in its slot's key: a name, zeroes, and in the last byte what is
 * the matter with it.  The kernel compares keys and knows nothing else of them.
 */
#ifndef REPL_LIB_MARK_H
#define REPL_LIB_MARK_H

#include <stdbool.h>
#include <stdint.h>

#include <repl/format.h>

enum mark_limits {
	MARK_NAME_MAX	= REPL_KEY_BYTES - 1,	/* with the terminating zero */
};

enum mark_state {
	MARK_READY	= 0,	/* it stands for the stream whose id is the slot's copy id */
	MARK_PENDING	= 1,	/* it will, as soon as somebody says that the stream is safe */
	MARK_WRITING	= 2,	/* that stream is being written, or its writer has died */
	MARK_STATES,
};

/* What verify remembers of itself is a mark, too, which is no backup's. */
#define MARK_VERIFY	"verify"

/** mark_valid_name - letters, digits and any of . _ - after the first, at most 30 */
bool mark_valid_name(const char *name);

/** mark_pack - @name is a valid one */
void mark_pack(const char *name, enum mark_state state, uint8_t key[REPL_KEY_BYTES]);

/** mark_unpack - Return: false when the key is none that mark_pack() makes. */
bool mark_unpack(const uint8_t key[REPL_KEY_BYTES], char name[MARK_NAME_MAX],
		 enum mark_state *state);

#endif /* REPL_LIB_MARK_H */
