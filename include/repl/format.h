/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The on-disk format of a repl volume: what mkfs.repl writes, what the kernel
 * module keeps up to date, what fsck.repl checks.  docs/FORMAT.md argues why a
 * crash at any write leaves a valid state.
 *
 * The metadata area lies at the end of the backing device (internal) or fills
 * another device (external).  Offsets below are relative to its start.
 *
 *	+----------------------------+ 0
 *	| slot map 0                 |   map_bytes each, one per slot
 *	| ...                        |
 *	| slot map n-1               |
 *	+----------------------------+ log_offset
 *	| region log                 |   log_bytes
 *	+----------------------------+ meta_size - 2 * REPL_SB_BYTES
 *	| superblock copy 1          |
 *	| superblock copy 0          |
 *	+----------------------------+ meta_size
 *
 * All integers are little-endian.  All sizes and offsets are bytes unless the
 * name says otherwise.
 */
#ifndef REPL_FORMAT_H
#define REPL_FORMAT_H

#include <linux/types.h>

#define REPL_SB_MAGIC		"REPLVOL1"
#define REPL_FORMAT_VERSION	1

enum repl_format_limits {
	REPL_SB_BYTES		= 4096,
	REPL_SB_COPIES		= 2,
	REPL_BLOCK_SHIFT	= 12,	/* a dirty map's unit: 4 KiB */
	REPL_BLOCK_BYTES	= 1 << REPL_BLOCK_SHIFT,
	REPL_META_ALIGN		= 1 << 12,	/* every part starts and ends on it */
	REPL_NAME_MAX		= 64,	/* with the terminating zero */
	REPL_UUID_BYTES		= 16,
	REPL_KEY_BYTES		= 32,	/* an Ed25519 public key */
	REPL_HISTORY		= 16,	/* generations before the current one, newest first */
	REPL_SLOTS_DEFAULT	= 8,
	REPL_SLOTS_MAX		= 16,
	REPL_REGION_SHIFT_MIN	= 16,	/* 64 KiB */
	REPL_REGION_SHIFT	= 20,	/* 1 MiB, the default */
	REPL_REGION_SHIFT_MAX	= 28,	/* 256 MiB */
};

/* The smallest data area a volume may have, and the largest: 1 PiB. */
#define REPL_DATA_MIN		(1ULL << 20)
#define REPL_DATA_MAX		(1ULL << 50)

/* An identifier that is compared and printed, never computed with. */
struct repl_id {
	__u8 b[REPL_UUID_BYTES];
};

/* repl_super.flags */
enum repl_super_flags {
	/* The data are those of one instant of the volume, and usable. */
	REPL_SB_CONSISTENT	= 1 << 0,
	/*
	 * The slot maps on disk and the region log together say all there is to say; else
	 * every block counts as dirty.
	 */
	REPL_SB_MAPS		= 1 << 1,
	/* The volume was primary here when this superblock was written. */
	REPL_SB_PRIMARY		= 1 << 2,
	/* This copy holds, or is being given, the volume that 'uuid' names. */
	REPL_SB_IDENTITY	= 1 << 3,
	/* The metadata lie on a device of their own. */
	REPL_SB_EXTERNAL	= 1 << 4,
	/* The current generation began with --peer-dead, or with --force. */
	REPL_SB_BY_PEER_DEAD	= 1 << 5,
	REPL_SB_BY_FORCE	= 1 << 6,
	/* The last stop as primary was unclean, and no peer has agreed since. */
	REPL_SB_UNPROVEN	= 1 << 7,
	/* The volume was taken down in order, and is not up. */
	REPL_SB_STOPPED		= 1 << 8,
	/* The last stop was none of that kind, and no peer has agreed since. */
	REPL_SB_CRASHED		= 1 << 9,
	REPL_SB_FLAGS_ALL	= (1 << 10) - 1,
};

enum repl_slot_kind {
	REPL_SLOT_FREE		= 0,
	REPL_SLOT_PEER		= 1,
	REPL_SLOT_MARK		= 2,	/* a consumer that is no node: backup, verify */
};

/* repl_super_slot.flags */
enum repl_slot_flags {
	/* In 'generation' every write went over this slot's link, as far as this node knows. */
	REPL_SS_LIVE		= 1 << 0,
	/* Set by the administrator or by a first copy: every block of the map counts as dirty. */
	REPL_SS_FULL		= 1 << 1,
	/* The copy there has gone on from 'generation': this one is all of it, and older. */
	REPL_SS_AHEAD		= 1 << 2,
	REPL_SS_FLAGS_ALL	= (1 << 3) - 1,
};

/* One consumer of the volume's changes. */
struct repl_super_slot {
	__u8	kind;				/*   0 enum repl_slot_kind */
	__u8	pad0[3];			/*   1 zero */
	__le32	flags;				/*   4 enum repl_slot_flags */
	struct repl_id	copy_id;		/*   8 the copy this slot's map speaks about */
	struct repl_id	generation;		/*  24 at which both were last equal */
	__le64	epoch;				/*  40 the same */
	__u8	key[REPL_KEY_BYTES];		/*  48 the peer's public key; a mark's name */
	__u8	reserved[16];			/*  80 zero */
};						/*  96 */

struct repl_super {
	__u8	magic[8];			/*    0 REPL_SB_MAGIC */
	__le32	version;			/*    8 REPL_FORMAT_VERSION */
	__le32	crc;				/*   12 CRC32C of all bytes, this field as zero */
	__le64	sequence;			/*   16 the newer valid copy counts */
	__le64	features;			/*   24 unknown bit: refuse to attach; none yet */
	__le32	flags;				/*   32 enum repl_super_flags */
	__u8	slots;				/*   36 how many slots were reserved */
	__u8	region_shift;			/*   37 log2 of a region's bytes */
	__u8	block_shift;			/*   38 REPL_BLOCK_SHIFT */
	__u8	lbs_shift;			/*   39 log2 of the logical block size, 9..12 */
	struct repl_id	uuid;			/*   40 the volume, the same in every copy */
	struct repl_id	copy_id;		/*   56 this copy, made by mkfs.repl, never shared */
	struct repl_id	generation;		/*   72 the current one */
	__le64	epoch;				/*   88 */
	__le64	data_size;			/*   96 of /dev/replN, from the device's byte 0 */
	__le64	meta_offset;			/*  104 start of the metadata area on its device */
	__le64	meta_size;			/*  112 */
	__le64	map_bytes;			/*  120 of one slot's map, 4 KiB aligned */
	__le64	log_offset;			/*  128 of the region log */
	__le64	log_bytes;			/*  136 */
	__u8	key[REPL_KEY_BYTES];		/*  144 the node that attached this copy last */
	__u8	name[REPL_NAME_MAX];		/*  176 */
	struct repl_id	history[REPL_HISTORY];	/*  240 */
	__le64	staged;				/*  496 the file that is being applied; 0: none */
	__u8	reserved[504];			/*  504 zero */
	struct repl_super_slot	slot[REPL_SLOTS_MAX];	/* 1008 */
	__u8	reserved2[REPL_SB_BYTES - 1008 - REPL_SLOTS_MAX * 96];	/* zero */
};

_Static_assert(sizeof(struct repl_id) == 16, "an id is 16 bytes");
_Static_assert(sizeof(struct repl_super_slot) == 96, "a slot record is 96 bytes");
_Static_assert(sizeof(struct repl_super) == REPL_SB_BYTES, "a superblock is one block");
_Static_assert(__builtin_offsetof(struct repl_super, uuid) == 40, "offsets as documented");
_Static_assert(__builtin_offsetof(struct repl_super, epoch) == 88, "offsets as documented");
_Static_assert(__builtin_offsetof(struct repl_super, key) == 144, "offsets as documented");
_Static_assert(__builtin_offsetof(struct repl_super, history) == 240, "offsets as documented");
_Static_assert(__builtin_offsetof(struct repl_super, staged) == 496, "offsets as documented");
_Static_assert(__builtin_offsetof(struct repl_super, slot) == 1008, "offsets as documented");

/* A map holds bit n of block n in byte n / 8, bit n % 8. */

#endif /* REPL_FORMAT_H */
