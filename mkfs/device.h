/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A block device, or a file that stands for one, as mkfs.repl and fsck.repl use it. */
#ifndef REPL_DEVICE_H
#define REPL_DEVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <repl/format.h>

#include "err.h"

struct device {
	const char *path;
	int fd;
	uint64_t size;			/* bytes */
	unsigned int block_size;	/* logical, bytes */
	bool file;			/* a regular file */
	dev_t number;			/* of a block device; else 0 */
};

/**
 * device_open_exclusive - open for writing, past the page cache, and nobody else's
 * @allow_file: take a regular file, too
 * Return: 0 or -errno; what is in use is told with who uses it.
 */
int device_open_exclusive(struct device *d, const char *path, bool allow_file, struct err *e);

/**
 * device_open_readonly - open for looking
 * @in_use: whether somebody holds it, so that it may change while it is read
 */
int device_open_readonly(struct device *d, const char *path, bool *in_use, struct err *e);

void device_close(struct device *d);

/** device_read - exactly @bytes at @offset; both and @data aligned to 4 KiB. Return: 0 or -errno. */
int device_read(const struct device *d, void *data, size_t bytes, uint64_t offset, struct err *e);

/** device_write - the same; not durable before device_sync() */
int device_write(const struct device *d, const void *data, size_t bytes, uint64_t offset,
		 struct err *e);

/** device_zero - make @bytes at @offset read as zero. Return: 0 or -errno. */
int device_zero(const struct device *d, uint64_t bytes, uint64_t offset, struct err *e);

/** device_sync - all written so far to stable media. Return: 0 or -errno. */
int device_sync(const struct device *d, struct err *e);

/**
 * device_read_supers - both superblock copies of a metadata area
 * @meta_end: where the area ends, 4 KiB aligned, at least two superblocks in
 */
int device_read_supers(const struct device *d, uint64_t meta_end,
		       struct repl_super copy[REPL_SB_COPIES], struct err *e);

/** device_meta_end - where the metadata area of a device ends: its last whole 4 KiB */
uint64_t device_meta_end(const struct device *d);

#endif /* REPL_DEVICE_H */
