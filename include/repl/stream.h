/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A stream: blocks of a volume in a file or a pipe, such that every damage, a missing
 * end and a changed order are found.  docs/FORMAT.md tells what is checked.
 *
 *	struct repl_stream_header
 *	struct repl_stream_record, DATA: its bytes		any number of these two
 *	struct repl_stream_record, ZEROS
 *	struct repl_stream_record, END: struct repl_stream_end
 *
 * All integers are little-endian.  A reserved field is zero and must be zero.
 */
#ifndef REPL_STREAM_H
#define REPL_STREAM_H

#include <linux/types.h>
#include "format.h"

#define REPL_STREAM_MAGIC	"REPLSTRM"
#define REPL_STREAM_RECORD	0x43525352u	/* "RSRC" */

enum repl_stream_limits {
	REPL_STREAM_VERSION	= 1,
	REPL_STREAM_DATA_MAX	= 1 << 20,	/* bytes of one DATA record */
	REPL_STREAM_DIGEST_BYTES = 32,		/* SHA-256 */
	REPL_STREAM_NODE_MAX	= 64,
};

enum repl_stream_kind {
	REPL_STREAM_FULL	= 1,	/* every byte of the volume */
	REPL_STREAM_CHANGES	= 2,	/* what may differ from the base */
};

/* repl_stream_header.flags */
enum repl_stream_flags {
	/* The blocks, put over the base where there is one, are those of one instant. */
	REPL_STREAM_CONSISTENT	= 1 << 0,
	REPL_STREAM_FLAGS_ALL	= (1 << 1) - 1,
};

/* repl_stream_header.features */
enum repl_stream_features {
	/*
	 * Records come in any order, each block of 4 KiB in one only: those that were about to
	 * be written over were read first.
	 */
	REPL_STREAM_ANY_ORDER	= 1 << 0,
	REPL_STREAM_FEATURES_ALL = (1 << 1) - 1,
};

struct repl_stream_header {
	__u8	magic[8];		/*   0 REPL_STREAM_MAGIC */
	__le32	version;		/*   8 REPL_STREAM_VERSION */
	__le32	crc;			/*  12 CRC32C of the header, this field as zero */
	__le64	features;		/*  16 enum repl_stream_features; unknown bit: refuse */
	__le32	kind;			/*  24 enum repl_stream_kind */
	__le32	flags;			/*  28 enum repl_stream_flags */
	struct repl_id	stream_id;	/*  32 random */
	struct repl_id	parent_id;	/*  48 the stream whose result is the base; zero: none */
	struct repl_id	uuid;		/*  64 the volume */
	struct repl_id	copy_id;	/*  80 the copy that was read */
	struct repl_id	generation;	/*  96 its generation */
	__le64	epoch;			/* 112 its epoch */
	struct repl_id	base_copy_id;	/* 120 CHANGES: the copy it was equal to; zero: itself */
	struct repl_id	base_generation;	/* 136 CHANGES: in which; zero: not known */
	__le64	base_epoch;		/* 152 */
	__le64	data_size;		/* 160 of the volume, bytes */
	__le64	time;			/* 168 when the first block was read, s since 1970 */
	__u8	lbs_shift;		/* 176 log2 of the logical block size, 9..12 */
	__u8	pad[7];			/* 177 zero */
	__u8	name[REPL_NAME_MAX];	/* 184 of the volume */
	__u8	node[REPL_STREAM_NODE_MAX];	/* 248 that wrote this */
	__u8	reserved[200];		/* 312 zero */
};

enum repl_stream_record_type {
	REPL_STREAM_DATA	= 1,	/* 'length' bytes follow */
	REPL_STREAM_ZEROS	= 2,	/* the range reads as zero */
	REPL_STREAM_END		= 3,	/* struct repl_stream_end follows, and nothing after it */
};

struct repl_stream_record {
	__le32	magic;			/*  0 REPL_STREAM_RECORD */
	__le16	type;			/*  4 enum repl_stream_record_type */
	__le16	flags;			/*  6 zero */
	__le64	sequence;		/*  8 0, 1, 2, ... */
	__le64	offset;			/* 16 bytes; see REPL_STREAM_ANY_ORDER */
	__le64	length;			/* 24 bytes; END: of what follows */
	__le32	stream;			/* 32 the header's crc: whose record this is */
	__le32	payload_crc;		/* 36 CRC32C of what follows; ZEROS: 0 */
	__le32	reserved;		/* 40 zero */
	__le32	header_crc;		/* 44 CRC32C of the 44 bytes before it */
};

struct repl_stream_end {
	__le64	records;		/*  0 before this one */
	__le64	data_bytes;		/*  8 in DATA records */
	__le64	zero_bytes;		/* 16 in ZEROS records */
	__le64	reserved;		/* 24 zero */
	__u8	sha256[REPL_STREAM_DIGEST_BYTES];	/* 32 of all bytes before the END record */
};

_Static_assert(sizeof(struct repl_stream_header) == 512, "a stream's header is 512 bytes");
_Static_assert(sizeof(struct repl_stream_record) == 48, "a record's header is 48 bytes");
_Static_assert(sizeof(struct repl_stream_end) == 64, "as documented");
_Static_assert(__builtin_offsetof(struct repl_stream_header, data_size) == 160, "as documented");
_Static_assert(__builtin_offsetof(struct repl_stream_header, name) == 184, "as documented");

#endif /* REPL_STREAM_H */
