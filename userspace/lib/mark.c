// SPDX-License-Identifier: GPL-2.0-or-later
#include "mark.h"

#include <string.h>

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool mark_valid_name(const char *name)
{
	size_t length = strlen(name);

	if (!length || length >= MARK_NAME_MAX || !is_plain(name[0]))
		return false;
	for (size_t i = 1; i < length; i++)
		if (!is_plain(name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

void mark_pack(const char *name, enum mark_state state, uint8_t key[REPL_KEY_BYTES])
{
	memset(key, 0, REPL_KEY_BYTES);
	memcpy(key, name, strnlen(name, MARK_NAME_MAX - 1));
	key[REPL_KEY_BYTES - 1] = state;
}

bool mark_unpack(const uint8_t key[REPL_KEY_BYTES], char name[MARK_NAME_MAX],
		 enum mark_state *state)
{
	uint8_t again[REPL_KEY_BYTES];

	memcpy(name, key, MARK_NAME_MAX);
	name[MARK_NAME_MAX - 1] = '\0';
	*state = key[REPL_KEY_BYTES - 1];
	if (key[REPL_KEY_BYTES - 1] >= MARK_STATES || !mark_valid_name(name))
		return false;
	mark_pack(name, *state, again);
	return !memcmp(again, key, sizeof(again));
}
