/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small file that is either there as it was written last, whole and on stable media, or
 * as it was before: what must survive a power cut, and must not be believed in part.
 *
 * Text: the lines that it was given, and one with their SHA-256.
 */
#ifndef REPL_RECORD_H
#define REPL_RECORD_H

#include <stddef.h>

#include "err.h"

enum record_limits {
	RECORD_MAX	= 4096,		/* bytes of the lines */
	RECORD_NAME_MAX	= 64,		/* of the file, with the zero */
};

/**
 * record_write - replace DIR/NAME
 * @dir: is made if it is not there; what is above it must be
 * @text: lines, each with its newline
 * Return: 0 when it is on stable media, or -errno: then the file is as it was or as it shall
 *	be, and whoever must know which writes it again.
 */
int record_write(const char *dir, const char *name, const char *text, struct err *e);

/**
 * record_read - the lines, checked
 * Return: 0; -ENOENT when there is no such file, which needs no words; -EBADMSG when it is
 *	not what was written, or another -errno, with words.
 */
int record_read(const char *dir, const char *name, char text[RECORD_MAX], struct err *e);

/** record_remove - durably; one that is not there is removed. Return: 0 or -errno. */
int record_remove(const char *dir, const char *name, struct err *e);

/**
 * record_value - the rest of the line "KEY = ..."
 * Return: 0, or -EBADMSG when there is no such line, or it does not fit into @size bytes.
 */
int record_value(const char *text, const char *key, char *value, size_t size);

#endif /* REPL_RECORD_H */
