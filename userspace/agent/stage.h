/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The volume's staging file (repl/stage.h): made, added to, made whole, found again.
 * What is added is not durable before stage_seal().
 */
#ifndef REPL_AGENT_STAGE_H
#define REPL_AGENT_STAGE_H

#include <repl/stage.h>

#include "agent.h"

struct stage {
	unsigned int users;		/* the volume, what is being written or read, sealing */
	int fd;				/* open as long as there is one: the ring may not have seen it yet */
	char path[CONFIG_STAGING_DIR_MAX + 64];
	struct pair_io *owner;		/* adds to it; NULL: it is the volume's, to be applied */
	uint64_t at;			/* where the next record goes; of a whole one: its end */
	uint64_t most;			/* the file may have so many bytes */
	uint32_t file, pass, chain;
	uint64_t records, bytes;
	/* OP_STAGE_SEAL, under way. */
	struct loop_op op;
	struct agent *agent;
	struct volume *volume;		/* NULL: it is gone, and the file stays as it is */
	struct repl_stage_header header;
	unsigned int step;
};

void stage_put(struct stage *st);

/** stage_begin - a delta of @io comes: to its file, or to a new one. Return: 0 or -errno. */
int stage_begin(struct pair_io *io, struct err *e);

/**
 * stage_add - make a record
 * @data: NULL for zeroes
 * @at: where it goes, followed by @data; the caller writes both
 * Return: 0, or -ENOSPC with words when the file would be larger than it may be.
 */
int stage_add(struct stage *st, uint64_t offset, uint64_t length, const uint8_t *data,
	      struct repl_stage_record *record, uint64_t *at, struct err *e);

/**
 * stage_check - whether a record that was read is the next one
 * Return: false: the file is damaged.
 */
bool stage_check(struct stage *st, const struct repl_stage_record *record, uint64_t at);

/** stage_rewind - it is read from the beginning */
void stage_rewind(struct stage *st);

/** stage_is_whole - whether what was read is all that was written */
bool stage_is_whole(const struct stage *st);

/** stage_seal - OP_STAGE_SEAL */
void stage_seal(struct agent *a, struct volume *v, const struct op *op);

/** stage_drop - OP_STAGE_DROP */
void stage_drop(struct agent *a, struct volume *v, const struct op *op);

/** stage_clean - OP_STAGE_CLEAN */
void stage_clean(struct agent *a, struct volume *v, const struct op *op);

/** stage_clear - this copy is about to be copied directly: whatever is staged goes, if it can */
void stage_clear(struct volume_io *vio);

/** stage_abandon - the pair has left: a file that it added to goes */
void stage_abandon(struct pair_io *io);

/**
 * stage_find - after a start: a whole file of this copy; what is none is removed
 * Return: 1 and *@what filled in; 0 when there is none; or -errno with words, when that cannot
 *	be known: whatever it is stays.
 */
int stage_find(struct volume_io *vio, const char *name, struct staged *what, struct err *e);

/** stage_look - OP_STAGE_FIND */
void stage_look(struct agent *a, struct volume *v);

/** stage_forget - the volume goes; the file stays */
void stage_forget(struct volume_io *vio);

#endif /* REPL_AGENT_STAGE_H */
