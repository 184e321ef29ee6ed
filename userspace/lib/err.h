/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One sentence about what failed: the object, the fact, the next step. */
#ifndef REPL_ERR_H
#define REPL_ERR_H

struct err {
	char text[512];
};

/**
 * err_set - note why something failed
 * @e: where the sentence goes; NULL when nobody wants it
 * @errnum: a positive errno
 * @fmt: the sentence, without a newline
 *
 * Arguments may point into @e->text itself, so that a caller can put words
 * around what it was told.
 * Return: -@errnum, so that it can stand in a return statement.
 */
int err_set(struct err *e, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif /* REPL_ERR_H */
