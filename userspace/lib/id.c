// SPDX-License-Identifier: GPL-2.0-or-later
#include "id.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* A dash follows these bytes of an id. */
static bool dash_after(unsigned int byte)
{
	return byte == 3 || byte == 5 || byte == 7 || byte == 9;
}

struct repl_id id_random(void)
{
	struct repl_id id = {};
	ssize_t got;

	do {
		got = getrandom(&id, sizeof(id), 0);
		if (got < 0 && errno != EINTR)
			abort();
	} while (got != (ssize_t)sizeof(id) || id_is_zero(&id));
	return id;
}

bool id_is_zero(const struct repl_id *id)
{
	static const struct repl_id zero;

	return id_equal(id, &zero);
}

bool id_equal(const struct repl_id *a, const struct repl_id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

char *id_format(const struct repl_id *id, char text[ID_TEXT_MAX])
{
	char *at = text;

	for (unsigned int i = 0; i < sizeof(id->b); i++) {
		at += sprintf(at, "%02x", id->b[i]);
		if (dash_after(i))
			*at++ = '-';
	}
	*at = '\0';
	return text;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int id_parse(const char *text, struct repl_id *id)
{
	struct repl_id parsed;

	for (unsigned int i = 0; i < sizeof(parsed.b); i++) {
		int high = hex_digit(text[0]);
		int low = high < 0 ? -1 : hex_digit(text[1]);

		if (low < 0)
			return -EINVAL;
		parsed.b[i] = high << 4 | low;
		text += 2;
		if (dash_after(i) && *text++ != '-')
			return -EINVAL;
	}
	if (*text)
		return -EINVAL;
	*id = parsed;
	return 0;
}
