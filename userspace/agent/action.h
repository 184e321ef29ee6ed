/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the core wants done.  The core never does anything itself: it appends
 * actions, and the shell (or a simulator) takes them off in order.
 *
 * Those with an 'op' take time.  Each is answered by exactly one core_op_done(),
 * also when ACTION_ABORT or a closed session cut it short.
 */
#ifndef REPL_AGENT_ACTION_H
#define REPL_AGENT_ACTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/repl.h>
#include <repl/wire.h>

#include "copy.h"
#include "log.h"
#include "msg.h"
#include "suspect.h"

struct pair;
struct volume;

enum action_kind {
	ACTION_GET,		/* read the volume from the kernel -> core_snapshot() */
	ACTION_DIAL,		/* connect the pair -> core_session_up() or core_dial_failed() */
	ACTION_SEND,		/* 'type' and 'data' on connection 'conn' */
	ACTION_CLOSE,		/* connection 'conn', once what was sent before is out */
	ACTION_PAUSE,		/* hand on no more messages of 'conn' ... */
	ACTION_RESUME,		/* ... until this */
	ACTION_LINK_TAKE,	/* 'conn' is a link's connection, for 'pair', with 'link' */
	ACTION_ABORT,		/* the pair's bulk work, its cut and its link that was not adopted */
	ACTION_THAW,		/* take the volume's gate of op.flags back */
	ACTION_HOLD,		/* shut that gate for op.deadline_ms, unless it is; nobody waits for what is in flight */
	ACTION_OP,		/* begin 'op' */
	ACTION_ASK,		/* the volume's arbiter, about 'expect' and 'want', which are noted first */
	ACTION_ASKED,		/* drop that note: it has been answered, and the answer is in use or of none */
	ACTION_SURVEY,		/* 'data' is a SURVEY of 'conn': tell it of the volumes here */
	ACTION_SURVEYED,	/* to the request 'request': 'data' is what the peer 'subject' has told, 'type' and 'text' why nothing */
	ACTION_REGISTER,	/* this node is the witness: 'data' is an ASK of 'conn', 'pair' is NULL */
	ACTION_FORGET,		/* the pair is gone: drop what the shell keeps for it; 'ok': then member_free() */
	ACTION_REMOVED,		/* the volume is down: drop what the shell keeps for it */
	ACTION_HOOK,		/* 'data' is a struct notice: programs may want to know */
	ACTION_HELP,		/* ask this node's failover helper, for 'pair'; 'ok': only to check */
	ACTION_LOG,		/* 'level', 'subject', 'text' */
	ACTION_PROGRESS,	/* 'text' to the request 'request' */
	ACTION_REPLY,		/* 'ok', 'text' end the request 'request' */
};

enum op_kind {
	OP_NONE,
	/* Tickets of the kernel. */
	OP_SLOT_SET,
	OP_FOLLOW,
	OP_MARK,
	OP_FREEZE,		/* for the reason in 'flags' */
	OP_LINK_ADD,		/* of the connection that OP_LINK_OPEN made */
	OP_LINK_DEL,
	OP_ROLE,
	OP_RESUME,		/* begin the generation 'id', without the lost peers */
	OP_RESIZE,
	OP_REPLACE,		/* the disk, by the one that the shell holds ready; done: it is being filled */
	OP_DETACH,
	OP_EPOCH,		/* the generation ends in this freeze, a new one begins */
	OP_RECORD,		/* equal to the slot's copy at the end of a generation; 'follow': it is this copy */
	/* The pair's cut; at most one. */
	OP_CUT,			/* done: drained */
	OP_COMMIT,
	/* Connections and bulk data. */
	OP_LINK_OPEN,		/* dial or await the link's connection; done: proven */
	OP_MAP_SEND,		/* the extents of the cut as MAP messages, and an empty one */
	OP_DELTA_SEND,		/* DELTA_BEGIN, the blocks of the cut, DELTA_END */
	OP_DELTA_APPLY,		/* until DELTA_END, and flushed */
	OP_STAGE_SEAL,		/* the volume's staging file is whole; 'moved' says how much is in it */
	OP_STAGE_APPLY,		/* its blocks, marked for the slots of 'mask' first, and flushed */
	OP_STAGE_DROP,
	OP_STAGE_CLEAN,		/* the same of an old one, unless a new one has taken its place */
	OP_STAGE_FIND,		/* once more what could not be read at the start; 'staged' says what it is */
	OP_SAVE,		/* the blocks of the cut as a stream; done: durable, 'text' is the file */
	/* What a verify does, of pair->verify.  compare.c. */
	OP_VERIFY_OPEN,		/* digests: new ones, or those that are stored */
	OP_VERIFY_TAKE,		/* the cut's blocks were written */
	OP_VERIFY_COMPARE,	/* a pass; done: all is told to the judge */
	OP_VERIFY_SEAL,		/* the digests are complete, durably */
	OP_VERIFY_SERVE,	/* the peer compares: answer its DIGESTS, made with delta.digest_key */
};

struct op {
	enum op_kind kind;
	uint32_t turn;		/* handed back to core_op_done() */
	uint8_t slot;
	uint8_t role;
	uint32_t flags;
	uint32_t mask;		/* slots to MARK; OP_DELTA_APPLY: before a block is written */
	uint32_t deadline_ms;
	uint64_t cookie;
	uint64_t epoch;
	uint64_t size;		/* bytes; OP_MAP_SEND: of the leader's volume; OP_RESIZE: to grow to */
	uint8_t key[REPL_KEY_BYTES];
	struct repl_id id;	/* SLOT_SET: copy id, FOLLOW: uuid; LINK_ADD, ROLE, RESUME: generation */
	struct repl_id history[REPL_HISTORY];
	struct msg_delta delta;
	bool hurry;		/* OP_DELTA_SEND: writers wait for it */
	enum suspect_kind suspect;	/* OP_DELTA_SEND: what is compared before it is sent */
	struct msg_link link;
	bool stage;		/* OP_DELTA_APPLY: into the staging file */
	bool follow;		/* OP_RECORD */
	struct staged staged;	/* OP_STAGE_SEAL; OP_FOLLOW: its 'file' is applied then */
	bool dial;		/* OP_LINK_OPEN: this side connects */
	struct repl_extent *extents;	/* OP_MARK: owned by the action */
	size_t extent_count;
};

struct op_result {
	int error;		/* 0 or negative errno */
	bool staging;		/* it was the staging file that failed, nothing else */
	const char *text;	/* why; OP_SAVE: where; or NULL */
	struct msg_moved moved;	/* OP_DELTA_SEND, OP_DELTA_APPLY */
	const struct staged *staged;	/* OP_STAGE_FIND; OP_STAGE_SEAL, unless it is empty */
};

struct action {
	struct action *next;
	enum action_kind kind;
	struct volume *volume;
	struct pair *pair;	/* NULL: of the volume, or of a connection */
	uint32_t conn;
	uint32_t request;
	uint16_t type;		/* ACTION_SEND: enum repl_msg_type */
	bool ok;
	enum log_level level;
	char subject[REPL_NAME_MAX + REPL_NODE_MAX];
	struct op op;
	struct msg_link link;
	struct repl_id expect, want;
	size_t length;
	char *text;		/* a sentence; owned */
	uint8_t data[] __attribute__((aligned(8)));	/* ACTION_SEND: the body; ACTION_HOOK: a struct notice */
};

struct action_queue {
	struct action *first;
	struct action **last;
};

void action_init(struct action_queue *q);

/**
 * action_add - append an action
 * @length: bytes of ->data
 * Return: the action, all zero but for its kind.  Aborts when memory is out: the
 *	agent's memory is locked, and the kernel goes on without it.
 */
struct action *action_add(struct action_queue *q, enum action_kind kind, size_t length);

/** action_take - the oldest action, or NULL; action_free() it */
struct action *action_take(struct action_queue *q);

void action_free(struct action *a);

/** op_name - of a kind, for messages */
const char *op_name(enum op_kind kind);

#endif /* REPL_AGENT_ACTION_H */
