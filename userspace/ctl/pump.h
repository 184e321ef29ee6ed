/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a cut into a stream.  Some threads read, so that a disk has more than one thing to
 * do; each gives its blocks free as soon as they are in memory, so that no write waits for
 * whoever takes the stream.  What was read is written in the order in which the cut handed
 * it out.  Memory is bounded: when all of it is read and not written, reading waits.
 */
#ifndef REPL_CTL_PUMP_H
#define REPL_CTL_PUMP_H

#include <stdint.h>

#include <linux/repl.h>

#include "streamfile.h"

enum pump_limits {
	PUMP_CHUNK	= 1 << 20,	/* bytes of one read, at most */
	PUMP_CHUNKS	= 48,		/* read and not written yet, at most */
	PUMP_READERS	= 4,
};

struct pump {
	int data_fd;		/* opened past the page cache */
	uint64_t size;		/* of the volume, bytes */
	struct stream_file *out;
	/* The next blocks, one caller at a time. Return: 1, 0 at the end, or -errno with words. */
	int (*next)(void *arg, struct repl_extent *extent, struct err *e);
	/* They are in memory; many callers. Return: 0 or -errno with words. */
	int (*release)(void *arg, const struct repl_extent *extent, struct err *e);
	/* So many bytes more are written; the caller of pump_run() alone. */
	void (*wrote)(void *arg, uint64_t bytes);
	void *arg;
};

/** pump_run - all of it. Return: 0 or -errno with words. */
int pump_run(const struct pump *p, struct err *e);

#endif /* REPL_CTL_PUMP_H */
