/* SPDX-License-Identifier: GPL-2.0-or-later */
/* INI files against a table of what they may say; every mistake gets its line. */
#ifndef REPL_RULES_H
#define REPL_RULES_H

#include <stddef.h>

/* Told of each problem, one sentence that starts with "file:line: " or "file: ". */
typedef void rules_report(void *arg, const char *text);

enum rules_flags {
	RULES_REQUIRED	= 1 << 0,
	RULES_REPEAT	= 1 << 1,	/* may stand several times */
};

struct rules_key {
	const char *name;
	unsigned int flags;
	size_t offset;			/* of the field in the section's object */
	/* Returns 0, or a negative errno: then the file says something wrong. */
	int (*set)(void *field, const char *value);
	const char *expected;		/* completes "expected ..." */
};

struct rules_section {
	const char *name;		/* [name], or [name "LABEL"] when labelled */
	int labelled;
	unsigned int flags;
	/*
	 * The object that the section fills.  NULL: refused, with the reason in
	 * *@why.  @label is NULL in a section without one.
	 */
	void *(*open)(void *root, const char *label, unsigned int line, const char **why);
	const struct rules_key *keys;	/* ends with a NULL name; at most 32 */
};

/**
 * rules_parse - read a whole file
 * @text: its @length bytes
 * @path: for messages
 * @sections: ends with a NULL name; at most 32
 * @root: handed to open()
 * Return: how many problems were reported.
 */
unsigned int rules_parse(const char *text, size_t length, const char *path,
			 const struct rules_section *sections, void *root,
			 rules_report *report, void *arg);

#endif /* REPL_RULES_H */
