/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One core with one volume and one peer: what it does is recorded, and what the kernel and
 * the peer say comes from the test.
 */
#ifndef TESTS_UNIT_ONE_PEER_H
#define TESTS_UNIT_ONE_PEER_H

#include "core.h"
#include "pair.h"

enum { SIZE = 64 << 20, SENT = 64 };

struct sent {
	uint16_t type;
	uint8_t body[512] __attribute__((aligned(8)));
};

extern struct core core;
extern struct volume *volume;
extern struct pair *pair;
extern struct kernel_volume kernel;	/* what it answers */
extern const struct core_peer *peer;
extern struct sent sent[SENT];
extern unsigned int sent_count, closed, dials, taken;
extern struct op ops[SENT];
extern unsigned int op_count, removed, helps;
extern struct repl_extent marked;	/* the first one of the last OP_MARK */
extern bool detached;			/* the kernel has no such volume */
extern char refusal[REPL_TEXT_MAX], answer[1024];
extern char notices[4096];		/* what hooks are told, since clear() */
extern char warning[1024];		/* the last one that was logged */
extern unsigned int warnings;

extern char surveyed[4096];		/* "mail2 1 0 why;": a state, bytes, words */
extern unsigned int surveys;		/* SURVEYs that the shell is to answer */

struct repl_id id(uint8_t n);
void clear(void);
void settle(void);
void begin(bool lower);
void end(void);
void hear(uint32_t conn, uint16_t type, const void *body, uint32_t length);
void hear_hello(uint32_t conn, uint16_t least, uint16_t most, const char *name);
void come(uint32_t conn);
struct copy other_copy(void);
void hear_copy(uint32_t conn, uint16_t type, const struct copy *c);
void tick(uint64_t ms);
/* The op that was begun last ends so. */
void done(enum op_kind kind, int error);
/* This copy and the other are equal: each has a slot for the other, and nothing in it. */
void equal_copies(struct copy *c);
/* A peer more, mail3, in the session @conn, or in none: 0. */
struct pair *third_node(uint32_t conn);
/* Its slot, with a live link; the kernel is not read. */
void third_live(void);
/* To where the leader decides what comes next. */
void follow(uint32_t conn);
void offer(uint32_t conn, uint64_t cookie);
/* In sync with the other side, whose copy is @c. */
void live(uint32_t conn, struct copy *c);

#endif /* TESTS_UNIT_ONE_PEER_H */
