/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stream in a file or on standard input, read to its end, once or several times. */
#ifndef REPL_CTL_SOURCE_H
#define REPL_CTL_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl.h"
#include "stream.h"

struct source {
	const struct ctl *ctl;
	const char *path;		/* "-" is standard input */
	int fd;
	bool again;			/* can be read a second time */
	uint64_t size;			/* bytes; 0: not known */
	uint64_t read, told;
	uint8_t *buffer;		/* STREAM_WANT_MAX bytes, aligned for direct writes */
	struct stream_in *in;
};

/* What to do with each part of a stream. Return: 0 or -errno with words. */
typedef int source_take(void *arg, const struct source *s, const struct stream_item *item,
			struct err *e);

/** source_open - ->ctl and ->path are set, all else zero */
int source_open(struct source *s, struct err *e);
void source_close(struct source *s);

/**
 * source_pass - the whole stream, from where it is read now to its end
 * @what: is done, for the progress on a terminal
 * @take: may be NULL: then it is only verified
 * Return: 0 or -errno with words.
 */
int source_pass(struct source *s, const char *what, source_take *take, void *arg, struct err *e);

/** source_verify - a whole pass, then back to its beginning; it can be read again */
int source_verify(struct source *s, struct err *e);

/** source_print - say on standard output what it is; it was read to its end */
void source_print(const struct source *s);

/** source_list - verify and print each. Return: enum ctl_exit. */
int source_list(const struct ctl *ctl, char **path, int count);

#endif /* REPL_CTL_SOURCE_H */
