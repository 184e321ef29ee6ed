/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 128-bit identifiers: compared and printed, never computed with. */
#ifndef REPL_ID_H
#define REPL_ID_H

#include <stdbool.h>

#include <repl/format.h>

enum id_limits {
	ID_TEXT_MAX = 37,	/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" and the zero */
};

/**
 * id_random - make a new id, never the zero one
 *
 * Takes its bytes from getrandom(); may wait early at boot, and aborts the
 * process when the kernel has no random numbers at all: an id that is not
 * unique would be worse.
 */
struct repl_id id_random(void);

/** id_is_zero - whether @id says "none" */
bool id_is_zero(const struct repl_id *id);

/** id_equal - whether both are the same id */
bool id_equal(const struct repl_id *a, const struct repl_id *b);

/**
 * id_format - write @id as 36 lower case characters in a UUID's grouping
 * Return: @text.
 */
char *id_format(const struct repl_id *id, char text[ID_TEXT_MAX]);

/**
 * id_parse - read what id_format() wrote, upper case too
 * Return: 0, or -EINVAL; then @id is untouched.
 */
int id_parse(const char *text, struct repl_id *id);

#endif /* REPL_ID_H */
