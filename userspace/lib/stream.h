/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams of repl/stream.h, encoded and decoded without input or output: the encoder
 * gives the bytes to write, the decoder says how many it wants next.
 */
#ifndef REPL_LIB_STREAM_H
#define REPL_LIB_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <repl/stream.h>

#include "err.h"

/* What a stream says of itself: the header in this machine's byte order. */
struct stream_info {
	uint32_t kind;			/* enum repl_stream_kind */
	uint32_t flags;			/* enum repl_stream_flags */
	uint64_t features;		/* enum repl_stream_features */
	struct repl_id stream_id, parent_id;
	struct repl_id uuid, copy_id, generation;
	uint64_t epoch;
	struct repl_id base_copy_id, base_generation;
	uint64_t base_epoch;
	uint64_t data_size;
	uint64_t time;
	uint8_t lbs_shift;
	char name[REPL_NAME_MAX];
	char node[REPL_STREAM_NODE_MAX];
};

struct stream_totals {
	uint64_t records;
	uint64_t data_bytes;
	uint64_t zero_bytes;
};

enum stream_limits {
	/* More than this the decoder never wants at a time. */
	STREAM_WANT_MAX		= REPL_STREAM_DATA_MAX,
	STREAM_RECORD_BYTES	= sizeof(struct repl_stream_record),
	STREAM_END_BYTES	= sizeof(struct repl_stream_record) + sizeof(struct repl_stream_end),
};

/* ------------------------------------------------------------- encoding -- */

struct stream_out;

/**
 * stream_out_new - begin
 * @header: what comes first
 * Return: the encoder, or NULL without memory.
 */
struct stream_out *stream_out_new(const struct stream_info *info,
				  struct repl_stream_header *header);
void stream_out_free(struct stream_out *s);

/**
 * stream_out_data - a range and its bytes
 * @length: 1 to REPL_STREAM_DATA_MAX
 * @record: to be written, and then @data
 * Return: 0; -EINVAL when the range is none, comes too late or a second time; or -ENOMEM.
 */
int stream_out_data(struct stream_out *s, uint64_t offset, const void *data, size_t length,
		    struct repl_stream_record *record);

/** stream_out_zeros - a range that reads as zero */
int stream_out_zeros(struct stream_out *s, uint64_t offset, uint64_t length,
		     struct repl_stream_record *record);

/** stream_out_end - what comes last */
void stream_out_end(struct stream_out *s, uint8_t end[STREAM_END_BYTES]);

/** stream_out_totals - what went in so far */
const struct stream_totals *stream_out_totals(const struct stream_out *s);

/* ------------------------------------------------------------- decoding -- */

struct stream_in;

enum stream_item_kind {
	STREAM_NOTHING,		/* go on */
	STREAM_HEADER,		/* stream_in_info() */
	STREAM_DATA,
	STREAM_ZEROS,
	STREAM_END,		/* complete and undamaged; nothing may follow */
};

struct stream_item {
	enum stream_item_kind kind;
	uint64_t offset, length;
	const void *data;	/* STREAM_DATA: the bytes that were handed in */
};

struct stream_in *stream_in_new(void);
void stream_in_free(struct stream_in *s);

/** stream_in_want - how many bytes stream_in_take() needs next; 0: it is complete */
size_t stream_in_want(const struct stream_in *s);

/**
 * stream_in_take - exactly as many bytes as it wanted
 * @item: what is certain now
 * Return: 0; -EPROTO (no stream, or one of a later version), -EBADMSG (damaged) or -ENOMEM
 *	with words.  After an error nothing more may be handed in.
 */
int stream_in_take(struct stream_in *s, const void *bytes, struct stream_item *item,
		   struct err *e);

const struct stream_info *stream_in_info(const struct stream_in *s);
const struct stream_totals *stream_in_totals(const struct stream_in *s);

#endif /* REPL_LIB_STREAM_H */
