/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory that crash_disk shares with the program crash: a head, the content of all
 * disks, and one log of all that was done to them, in the order in which it was done.
 */
#ifndef CRASH_DISK_H
#define CRASH_DISK_H

#include <linux/types.h>

#define CRASH_MAGIC	0x3148535243ULL
#define CRASH_ENTRY	0x59524e45U

enum crash_limits {
	CRASH_HEAD_BYTES	= 4096,
	CRASH_DISKS_MAX		= 8,
	CRASH_MARK_MAX		= 1024,
	CRASH_SECTOR		= 512,
};

struct crash_head {
	__u64	magic;
	__u64	disk_bytes;	/* of each disk; disk n lies at CRASH_HEAD_BYTES + n * disk_bytes */
	__u64	log_offset;	/* from the start of the head */
	__u64	log_bytes;	/* room */
	__u64	log_used;
	__u32	disks;
	__u32	recording;	/* set by the program */
	__u32	overflow;	/* the log was too small */
	__u32	pad;
	__u64	data_bytes;	/* set by the program: where each disk's metadata begin */
	__u64	written[CRASH_DISKS_MAX];	/* bytes below that, while not recording */
};

enum crash_flags {
	CRASH_PREFLUSH	= 1 << 0,	/* what had been done to this disk before is stable */
	CRASH_FUA	= 1 << 1,	/* and so is this, when it is done */
	CRASH_ZERO	= 1 << 2,	/* zeroes, no data follow */
	CRASH_MARK	= 1 << 3,	/* the oracle's: 'length' bytes of text follow */
};

/* What follows is padded to whole 8 bytes. */
struct crash_entry {
	__u32	magic;
	__u16	disk;
	__u16	flags;
	__u64	offset;		/* bytes */
	__u32	length;		/* bytes; 0 for a flush alone */
	__u32	data;		/* bytes that follow */
};

#endif /* CRASH_DISK_H */
