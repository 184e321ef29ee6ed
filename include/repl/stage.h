/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The staging file: deltas that wait, on the follower, until they become its copy in one
 * step; then the redo log of that step.  docs/FORMAT.md says why it survives a crash.
 *
 *	header			4096 bytes, written last: with it the file is whole
 *	record, its bytes	48 bytes and at most 1 MiB and 4 KiB; none follow one of zeroes
 *	...
 *
 * All integers are little-endian.  While it is applied the superblock names it, by the bytes 12
 * to 19 of the header as one number (1, should that be 0): no other file is ever applied.
 */
#ifndef REPL_STAGE_H
#define REPL_STAGE_H

#include <linux/types.h>

#include <repl/format.h>

#define REPL_STAGE_MAGIC	"REPLSTAG"
#define REPL_STAGE_RECORD	0x52545352u	/* "RSTR" */

enum repl_stage_limits {
	REPL_STAGE_VERSION	= 1,
	REPL_STAGE_DATA		= 4096,		/* where the records begin */
};

enum repl_stage_flags {
	REPL_STAGE_ZEROES	= 1 << 0,	/* of a record: the range is zero, no bytes follow */
};

struct repl_stage_record {
	__le32	magic;			/*  0 REPL_STAGE_RECORD */
	__le32	pass;			/*  4 those of a later one go over those of an earlier one */
	__le64	sequence;		/*  8 0, 1, 2, ... */
	__le64	offset;			/* 16 in the volume, bytes */
	__le64	length;			/* 24 bytes */
	__le32	file;			/* 32 the header's */
	__le32	flags;			/* 36 enum repl_stage_flags */
	__le32	payload_crc;		/* 40 CRC32C; 0 of zeroes */
	__le32	crc;			/* 44 CRC32C of the 44 bytes before it */
};

struct repl_stage_header {
	__u8	magic[8];		/*   0 REPL_STAGE_MAGIC */
	__le32	version;		/*   8 */
	__le32	crc;			/*  12 CRC32C of the 4096 bytes, this field as zero */
	__le32	file;			/*  16 random */
	__le32	chain;			/*  20 CRC32C over all records' crc, in order */
	__le64	records;		/*  24 */
	__le64	bytes;			/*  32 in blocks, and of zeroes */
	__le64	end;			/*  40 of the last record, in the file */
	struct repl_id	copy_id;	/*  48 of the copy that this is for */
	struct repl_id	uuid;		/*  64 of the volume */
	struct repl_id	base_generation; /* 80 that copy's, when the file was made whole */
	__le64	base_epoch;		/*  96 the same */
	struct repl_id	generation;	/* 104 that it is in when all of this is applied */
	__le64	epoch;			/* 120 the same */
	__u8	key[REPL_KEY_BYTES];	/* 128 of the node that was followed */
	struct repl_id	history[REPL_HISTORY]; /* 160 */
	__u8	reserved[3680];		/* 416 zero */
};

_Static_assert(sizeof(struct repl_stage_record) == 48, "as documented");
_Static_assert(sizeof(struct repl_stage_header) == REPL_STAGE_DATA, "as documented");

#endif /* REPL_STAGE_H */
