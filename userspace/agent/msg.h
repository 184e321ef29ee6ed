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

/* What becomes of a delta's blocks; both sides count. */
struct msg_moved {
	uint64_t sent_bytes;		/* as they are */
	uint64_t zero_bytes;		/* as ranges of zeroes */
	uint64_t compared_bytes;	/* by digests, first; if they differ, they are sent, too */
	uint64_t equal_bytes;		/* by digests, and not sent */
};

struct msg_delta {
	uint64_t id;
	uint32_t flags;
	uint64_t blocks;
	struct msg_moved moved;
	struct repl_id generation;
	uint64_t epoch;
	uint8_t digest_key[REPL_DIGEST_KEY_BYTES];
};

struct msg_link {
	uint64_t cookie;
	uint8_t token[REPL_TOKEN_BYTES];
	bool plain;
	char volume[REPL_NAME_MAX];
};

struct msg_consent {
	struct repl_id generation;
	bool granted;		/* in a question: peers that do not answer are known to be off */
	uint32_t question;	/* which one; 0: it has no number */
};

struct msg_resolve {
	struct repl_id keep, discard;
	enum repl_resolve_step step;
	bool no_save;
	uint64_t done_bytes, total_bytes;
};

struct msg_grow {
	uint64_t size;
	uint64_t room;
	bool ok;
};

struct msg_take_over {
	uint64_t nonce;
	enum repl_take_over_step step;
};

struct msg_verify {
	enum repl_verify_step step;
	uint8_t key[REPL_DIGEST_KEY_BYTES];
};

struct msg_answer {
	struct repl_id want;
	enum repl_msg_answer_kind answer;
};

struct msg_range {
	uint64_t offset;
	uint64_t length;
};

struct msg_want {
	struct msg_range range;
	uint8_t blocks[REPL_DIGESTS_MAX / 8];
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

void msg_pack_answer(const struct msg_answer *a, struct repl_msg_answer *m);
int msg_unpack_answer(struct msg_answer *a, const struct repl_msg_answer *m, struct err *e);

void msg_pack_delta(const struct msg_delta *d, struct repl_msg_delta *m);
int msg_unpack_delta(struct msg_delta *d, const struct repl_msg_delta *m, struct err *e);

void msg_pack_link(const struct msg_link *l, struct repl_msg_link *m);
int msg_unpack_link(struct msg_link *l, const struct repl_msg_link *m, struct err *e);

void msg_pack_consent(const struct msg_consent *c, struct repl_msg_consent *m);
int msg_unpack_consent(struct msg_consent *c, const struct repl_msg_consent *m, struct err *e);

void msg_pack_resolve(const struct msg_resolve *r, struct repl_msg_resolve *m);
int msg_unpack_resolve(struct msg_resolve *r, const struct repl_msg_resolve *m, struct err *e);
void msg_pack_grow(const struct msg_grow *g, struct repl_msg_grow *m);
int msg_unpack_grow(struct msg_grow *g, const struct repl_msg_grow *m, struct err *e);

void msg_pack_take_over(const struct msg_take_over *t, struct repl_msg_take_over *m);
/** msg_unpack_take_over - @type: REPL_MSG_TAKE_OVER or REPL_MSG_TAKEN, which have other steps */
int msg_unpack_take_over(struct msg_take_over *t, uint16_t type,
			 const struct repl_msg_take_over *m, struct err *e);
void msg_pack_verify(const struct msg_verify *v, struct repl_msg_verify *m);
int msg_unpack_verify(struct msg_verify *v, const struct repl_msg_verify *m, struct err *e);

/**
 * msg_unpack_range - a BLOCKS or ZEROS message's range
 * @size: the volume's, bytes; the range must lie within it, on 4 KiB but for its end
 */
int msg_unpack_range(struct msg_range *r, const struct repl_msg_range *m, uint64_t size,
		     struct err *e);

/**
 * msg_unpack_digests - the range of a DIGESTS message
 * @length: bytes of the whole body, which must have a digest for each block
 */
int msg_unpack_digests(struct msg_range *r, const struct repl_msg_range *m, size_t length,
		       uint64_t size, struct err *e);

void msg_pack_want(const struct msg_want *w, struct repl_msg_want *m);
int msg_unpack_want(struct msg_want *w, const struct repl_msg_want *m, uint64_t size,
		    struct err *e);

/** msg_wants - whether block @n of the range is wanted */
static inline bool msg_wants(const struct msg_want *w, size_t n)
{
	return w->blocks[n / 8] & 1u << n % 8;
}

/**
 * msg_unpack_extents - a MAP message's body
 * @length: bytes, a multiple of an extent's
 * @blocks: the volume's; what lies beyond is cut off
 * @out: room for REPL_MSG_EXTENTS_MAX
 * Return: how many extents are left, or -EPROTO.
 */
int msg_unpack_extents(struct repl_extent *out, const struct repl_msg_extent *m, size_t length,
		       uint64_t blocks, struct err *e);

/**
 * msg_text - words from the other side, made printable
 * @out: holds REPL_TEXT_MAX bytes
 *
 * ASCII alone is let through: of anything else nobody knows whether it is whole UTF-8,
 * which JSON demands of a text, or means something to a terminal.
 */
void msg_text(char *out, const void *body, size_t length);

#endif /* REPL_AGENT_MSG_H */
