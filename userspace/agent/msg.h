/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The session messages of repl/wire.h: headers checked, bodies checked, packed and
 * unpacked.  Pure.
 */
#ifndef REPL_AGENT_MSG_H
#define REPL_AGENT_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/repl.h>
#include <repl/wire.h>

#include "copy.h"
#include "err.h"

struct msg_header {
	uint16_t type;		/* enum repl_msg_type */
	uint32_t length;	/* bytes of the body, within the limits of the type */
};

struct msg_hello {
	uint16_t version_min;
	uint16_t version;
	uint64_t features;
	char node[REPL_NODE_MAX];
	char volume[REPL_NAME_MAX];
};

struct msg_delta {
	uint64_t id;
	uint32_t flags;
	uint64_t blocks;
	uint64_t sent_bytes;
	uint64_t zero_bytes;
	struct repl_id generation;
	uint64_t epoch;
};

struct msg_link {
	uint64_t cookie;
	uint8_t token[REPL_TOKEN_BYTES];
	bool plain;
	char volume[REPL_NAME_MAX];
};

struct msg_range {
	uint64_t offset;
	uint64_t length;
};

/** msg_name - of a type, for messages; never NULL */
const char *msg_name(uint16_t type);

void msg_pack_header(uint16_t type, uint32_t length, struct repl_msg *m);

/**
 * msg_unpack_header - check magic, type, reserved fields and the type's lengths
 * Return: 0 or -EPROTO with words.
 */
int msg_unpack_header(struct msg_header *h, const struct repl_msg *m, struct err *e);

void msg_pack_hello(const struct msg_hello *h, struct repl_msg_hello *m);
int msg_unpack_hello(struct msg_hello *h, const struct repl_msg_hello *m, struct err *e);

void msg_pack_delta(const struct msg_delta *d, struct repl_msg_delta *m);
int msg_unpack_delta(struct msg_delta *d, const struct repl_msg_delta *m, struct err *e);

void msg_pack_link(const struct msg_link *l, struct repl_msg_link *m);
int msg_unpack_link(struct msg_link *l, const struct repl_msg_link *m, struct err *e);

/**
 * msg_unpack_range - a BLOCKS or ZEROS message's range
 * @size: the volume's, bytes; the range must lie within it, on 4 KiB but for its end
 */
int msg_unpack_range(struct msg_range *r, const struct repl_msg_range *m, uint64_t size,
		     struct err *e);

/**
 * msg_unpack_extents - a MAP message's body
 * @length: bytes, a multiple of an extent's
 * @blocks: the volume's; what lies beyond is cut off
 * @out: room for REPL_MSG_EXTENTS_MAX
 * Return: how many extents are left, or -EPROTO.
 */
int msg_unpack_extents(struct repl_extent *out, const struct repl_msg_extent *m, size_t length,
		       uint64_t blocks, struct err *e);

/** msg_text - words from the other side, made printable; @out holds REPL_TEXT_MAX bytes */
void msg_text(char *out, const void *body, size_t length);

#endif /* REPL_AGENT_MSG_H */
