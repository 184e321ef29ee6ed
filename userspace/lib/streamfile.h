/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stream on its way into a descriptor: blocks go in as they are read, what is zero in
 * them comes out as ranges.  Writes may wait, as long as whoever reads them does.
 */
#ifndef REPL_LIB_STREAMFILE_H
#define REPL_LIB_STREAMFILE_H

#include "stream.h"

struct stream_file;

/**
 * stream_file_new - write the header
 * @fd: stays the caller's
 * @name: of what is written to, for words; stays the caller's
 * Return: NULL with words: out of memory, or it cannot be written.
 */
struct stream_file *stream_file_new(int fd, const char *name, const struct stream_info *info,
				    struct err *e);
void stream_file_free(struct stream_file *f);

/**
 * stream_file_put - a range and its bytes
 * @length: 1 to REPL_STREAM_DATA_MAX
 * Return: 0 or -errno with words.
 */
int stream_file_put(struct stream_file *f, uint64_t offset, const uint8_t *data, size_t length,
		    struct err *e);

/** stream_file_end - write what is left, and the end. Return: 0 or -errno with words. */
int stream_file_end(struct stream_file *f, struct err *e);

/** stream_file_totals - what went in so far, but for zeros that may go on */
const struct stream_totals *stream_file_totals(const struct stream_file *f);

/** stream_file_bytes - how many bytes were written */
uint64_t stream_file_bytes(const struct stream_file *f);

#endif /* REPL_LIB_STREAMFILE_H */
