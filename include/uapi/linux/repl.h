/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */
/*
 * The netlink interface of the repl kernel module.
 *
 * Generic netlink family REPL_GENL_NAME.  REPL_CMD_GET is free for all; every
 * other command needs CAP_NET_ADMIN.  A volume belongs to the network namespace
 * it was attached from: commands see and reach only that namespace's volumes,
 * but GET and DETACH in the first namespace reach all.
 *
 * Commands only start things.  One that takes time answers with REPL_A_TICKET,
 * a file descriptor: poll it for reading; a read gives one struct
 * repl_ticket_result.  Closing a ticket early cancels nothing.
 *
 * A refusal is an errno and, as extended ack, a sentence.  A refused command
 * has changed nothing.
 *
 * Below, [x] is optional, everything else is required.
 *
 * REPL_CMD_GET: with REPL_A_MINOR or REPL_A_NAME one volume, as dump all:
 *	REPL_A_MINOR, REPL_A_NAME, REPL_A_UUID, REPL_A_COPY_ID, REPL_A_SIZE,
 *	REPL_A_ROLE, REPL_A_GENERATION, REPL_A_EPOCH, REPL_A_HISTORY,
 *	REPL_A_SB_FLAGS, REPL_A_STAGED (0: none), REPL_A_LBS_SHIFT, REPL_A_REGION_SHIFT,
 *	REPL_A_SLOTS (how many),
 *	REPL_A_GATE (reasons, 0 is open), REPL_A_GATE_AGE_MS, REPL_A_OPENERS,
 *	REPL_A_BACKING (device name), REPL_A_META_END, REPL_A_ON_PEER_LOSS,
 *	REPL_A_ROOM (what REPL_A_SIZE could be, given the devices as they are now),
 *	REPL_A_VOLUME_FLAGS, [REPL_A_REPLACED, REPL_A_REPLACE_MS] (with
 *	REPL_VF_REPLACING: bytes copied to the new disk so far, and in what time),
 *	REPL_A_COUNTERS: nested enum repl_counter, all u64
 *	REPL_A_SLOT_INFO: one for each slot that is not free, nested:
 *		REPL_S_INDEX, REPL_S_KIND, REPL_S_KEY, REPL_S_COPY_ID,
 *		REPL_S_FLAGS, REPL_S_GENERATION, REPL_S_EPOCH,
 *		REPL_S_DIRTY_BLOCKS (both maps of an open cut), REPL_S_CUT (1: open),
 *		REPL_S_LINK, REPL_S_COOKIE, REPL_S_IN_FLIGHT_BYTES,
 *		REPL_S_UNFLUSHED_BYTES, REPL_S_SENT_BYTES, REPL_S_RECEIVED_BYTES,
 *		REPL_S_LINK_AGE_MS (since adopted, or since lost), [REPL_S_REASON]
 *
 * REPL_CMD_ATTACH: REPL_A_MINOR, REPL_A_NAME (must be the superblock's),
 *	REPL_A_DATA_FD (a block device opened for reading and writing),
 *	REPL_A_KEY (this node's), [REPL_A_META_FD] (external metadata),
 *	[REPL_A_META_END] (bytes; where the metadata area ends, when that is
 *	not the device's end), [REPL_A_ON_PEER_LOSS] -> REPL_A_TICKET.
 *	Comes up secondary, with no link.
 *
 * REPL_CMD_DETACH: REPL_A_MINOR, [REPL_A_FLAGS: REPL_F_FORCE] -> REPL_A_TICKET.
 *	Refused while somebody has the device open.  With REPL_F_FORCE the
 *	outstanding I/O fails first.
 *
 * REPL_CMD_ROLE: REPL_A_MINOR, REPL_A_ROLE, [REPL_A_FLAGS] -> REPL_A_TICKET.
 *	To primary: a new generation is made durable here and on every live peer
 *	first.  REPL_F_FORCE, REPL_F_PEER_DEAD are recorded in the superblock; a copy that
 *	is not consistent needs REPL_F_FORCE.  REPL_F_ALONE: refused unless no
 *	link is there.  [REPL_A_GENERATION]: the new generation, instead of a random one; with
 *	REPL_LOSS_ARBITER a copy that holds a volume needs it, force or not.  To secondary: waits
 *	up to a second for openers, then
 *	flushes everywhere; with REPL_F_FORCE fails the outstanding I/O instead.
 *	The module knows no proof; whether a promotion is right, the agent decides.
 *	Refused without a disk (REPL_VF_DISKLESS), forced or not.
 *
 * REPL_CMD_FREEZE: REPL_A_MINOR, REPL_A_GATE (exactly one of REPL_GATE_JOIN,
 *	REPL_GATE_ADMIN, REPL_GATE_SNAPSHOT), REPL_A_DEADLINE_MS (1..60000)
 *	-> REPL_A_TICKET, readable when all earlier writes are on the backing device.
 *	At the deadline the module thaws by itself.
 * REPL_CMD_THAW: REPL_A_MINOR, REPL_A_GATE.  Of REPL_GATE_PEER_LOST: makes
 *	the new generation and goes on without the peer -> REPL_A_TICKET, readable when
 *	writes pass again.  [REPL_A_GENERATION] as in ROLE; with REPL_LOSS_ARBITER it is required,
 *	and ends REPL_GATE_DISK, too.
 *
 * REPL_CMD_SLOT_SET: REPL_A_MINOR, REPL_A_SLOT, REPL_A_KIND, REPL_A_KEY,
 *	[REPL_A_COPY_ID] -> REPL_A_TICKET.  A new key, or a copy id other than the
 *	recorded one, makes every block of the slot dirty.  Kind REPL_SLOT_FREE
 *	frees it.  Refused while the slot has a link or a cut.
 *	A mark's slot goes to nobody else before it was freed, and is freed only by its key.
 *	The same copy id with another key gives the mark another name: no block changes,
 *	the maps are saved, and another mark of that name is freed in the same step, for good
 *	when the ticket is.
 *
 * REPL_CMD_FOLLOW: REPL_A_MINOR, REPL_A_SLOT (the leader's), REPL_A_UUID, [REPL_A_STAGED]
 *	-> REPL_A_TICKET.  Durably: this copy is given the volume of that UUID, is not
 *	consistent until LINK_ADD or COMMIT says so, and is not live in any slot.  With
 *	REPL_A_STAGED by what is in that file, which may be applied as long as GET names it:
 *	until this copy is consistent, or is told to follow in another way.
 *	Refused while primary, or without a disk.
 *
 * REPL_CMD_MARK: REPL_A_MINOR, REPL_A_SLOT_MASK, REPL_A_EXTENTS -> REPL_A_TICKET.
 *	Sets bits; slots of the mask that are free are passed over.  Refused for a
 *	slot that is live.  Told before the caller writes these blocks to the disk: a frozen
 *	cut of such a slot that still holds one of them becomes void.
 *
 * REPL_CMD_CUT: REPL_A_MINOR, REPL_A_SLOT, REPL_A_CUT_FLAGS (exactly one of
 *	REPL_CUT_UNFROZEN, REPL_CUT_FROZEN), with the latter [REPL_A_HOLD_MS]
 *	(1..REPL_HOLD_MAX_MS, or REPL_HOLD_MS) -> REPL_A_CUT_FD.  For a slot without a
 *	link, on a primary and on a secondary alike.  poll: readable when the writes before
 *	the cut have reached the backing device.  read: struct repl_extent[], in order, 0 at
 *	the end; before it is drained -EAGAIN.  ioctl REPL_CUT_IOC_COMMIT drops the blocks;
 *	REPL_CUT_IOC_ABORT, or closing, makes them dirty again.
 *	Frozen, the cut's blocks stay as they were at one instant: a later write to one waits,
 *	of an application as well as of a peer, until REPL_CUT_IOC_RELEASE says that it has
 *	been read.  Each block is handed out once, and those that a write waits for first: who
 *	asks for few extents at a time learns early of them.
 *	When a write has waited for REPL_A_HOLD_MS the cut is void: nothing waits any more, and
 *	COMMIT fails with ETIMEDOUT, as read and REPL_CUT_IOC_VALID do.  Whoever stores what
 *	was read asks VALID after the last release, and before it counts.
 *
 * REPL_CMD_LINK_ADD: REPL_A_MINOR, REPL_A_SLOT, REPL_A_SOCK_FD, REPL_A_COOKIE,
 *	REPL_A_LINK_FLAGS, [REPL_A_TIMEOUT_MS], [REPL_A_STUCK_MS]; with
 *	REPL_LINK_FOLLOW also REPL_A_GENERATION, REPL_A_EPOCH, REPL_A_HISTORY (the
 *	leader's) -> REPL_A_TICKET.  The slot's map must be empty, and no cut open.  Durably
 *	records the slot as live, then writes go over the link.  A leader that is
 *	primary must hold REPL_GATE_JOIN meanwhile, and it must be drained.
 *	The caller closes its descriptor after the ticket.
 * REPL_CMD_LINK_DEL: REPL_A_MINOR, REPL_A_SLOT -> REPL_A_TICKET, readable when the
 *	last I/O of that link is done.
 *
 * REPL_CMD_RESIZE: REPL_A_MINOR, REPL_A_SIZE (bytes, whole blocks) -> REPL_A_TICKET.
 *	Grows the volume into devices that have grown below it; the metadata move to the new
 *	end if they must.  Durable when the ticket is.  All links end, a primary goes on
 *	without its peers as after THAW of REPL_GATE_PEER_LOST, and the new blocks are dirty
 *	for every slot.  To the size it has: nothing.  Refused: fewer bytes, more than
 *	REPL_A_ROOM, while a cut is open, a primary with REPL_LOSS_ARBITER.
 *
 * REPL_CMD_REPLACE: REPL_A_MINOR, REPL_A_DATA_FD, [REPL_A_META_FD], [REPL_A_META_END] (as
 *	in ATTACH), [REPL_A_RATE] (bytes per second at most) -> REPL_A_TICKET, readable when
 *	the new disk is being filled; REPL_EVENT_REPLACE tells the end.  For a primary that goes
 *	on without its disk: writes go to the new one, too, and it is filled from a live peer.
 *	mkfs.repl must have made it for this volume, with the same size, slots, blocks and regions;
 *	it does not count as a copy before it is full.  The old devices stay open until the
 *	volume is down.  Given up when the role ends, or the last live peer is gone.
 *
 * REPL_CMD_EPOCH: REPL_A_MINOR -> REPL_A_TICKET.  A primary that is frozen with
 *	REPL_GATE_JOIN, and drained, begins a new generation and counts its epoch up by one,
 *	durably here and on every live peer.  What it holds in that freeze is all that there
 *	will ever be of the generation before, so a peer may commit that one.  -ETIMEDOUT: the
 *	freeze has ended meanwhile; the generation has begun, but the one before it has no such end.
 *
 * REPL_CMD_COMMIT: REPL_A_MINOR, REPL_A_SLOT, REPL_A_GENERATION, REPL_A_EPOCH, [REPL_A_HISTORY]
 *	-> REPL_A_TICKET.  The slot has no link.  Durably: this slot's copy and this one were
 *	equal at the end of that generation, in that epoch.  With a history: it is this copy that
 *	has become equal, and the other has gone on since: the data are flushed, then the
 *	superblock says consistent, that generation and history, that epoch.  Refused while primary,
 *	with a live link, or without a disk.
 *
 * Events: multicast group REPL_GENL_GROUP, REPL_CMD_EVENT with REPL_A_MINOR,
 *	REPL_A_EVENT, [REPL_A_SLOT], [REPL_A_TEXT].  They may be lost: an event says that
 *	a GET is worth while, no more.
 */
#ifndef _UAPI_LINUX_REPL_H
#define _UAPI_LINUX_REPL_H

#include <linux/types.h>
#include <linux/ioctl.h>

#define REPL_GENL_NAME		"repl"
#define REPL_GENL_VERSION	1
#define REPL_GENL_GROUP		"events"

enum repl_uapi_limits {
	REPL_MINORS_MAX		= 1024,
	REPL_LINKS_MAX		= 4,	/* live links of one volume */
	REPL_EXTENTS_MAX	= 1024,	/* of one MARK */
	REPL_TEXT_BYTES		= 240,
	REPL_DEADLINE_MAX_MS	= 60000,
	REPL_TIMEOUT_MIN_MS	= 500,
	REPL_TIMEOUT_MAX_MS	= 600000,
	REPL_TIMEOUT_MS		= 10000,
	REPL_STUCK_MS		= 60000,
	REPL_HOLD_MS		= 2000,
	REPL_HOLD_MAX_MS	= 60000,
};

enum repl_cmd {
	REPL_CMD_UNSPEC,
	REPL_CMD_GET,
	REPL_CMD_ATTACH,
	REPL_CMD_DETACH,
	REPL_CMD_ROLE,
	REPL_CMD_FREEZE,
	REPL_CMD_THAW,
	REPL_CMD_SLOT_SET,
	REPL_CMD_FOLLOW,
	REPL_CMD_MARK,
	REPL_CMD_CUT,
	REPL_CMD_LINK_ADD,
	REPL_CMD_LINK_DEL,
	REPL_CMD_RESIZE,
	REPL_CMD_REPLACE,
	REPL_CMD_EPOCH,
	REPL_CMD_COMMIT,
	REPL_CMD_EVENT,
	__REPL_CMD_MAX
};
#define REPL_CMD_MAX (__REPL_CMD_MAX - 1)

enum repl_attr {
	REPL_A_UNSPEC,
	REPL_A_PAD,
	REPL_A_MINOR,		/* u32 */
	REPL_A_NAME,		/* string, at most 63 bytes */
	REPL_A_UUID,		/* 16 bytes */
	REPL_A_COPY_ID,		/* 16 bytes */
	REPL_A_SIZE,		/* u64, bytes */
	REPL_A_ROLE,		/* u8, enum repl_role */
	REPL_A_GENERATION,	/* 16 bytes */
	REPL_A_EPOCH,		/* u64 */
	REPL_A_HISTORY,		/* up to 16 times 16 bytes, newest first */
	REPL_A_SB_FLAGS,	/* u32, enum repl_super_flags of repl/format.h */
	REPL_A_LBS_SHIFT,	/* u8 */
	REPL_A_REGION_SHIFT,	/* u8 */
	REPL_A_SLOTS,		/* u8 */
	REPL_A_GATE,		/* u32, enum repl_gate */
	REPL_A_GATE_AGE_MS,	/* u64 */
	REPL_A_OPENERS,		/* u32 */
	REPL_A_BACKING,		/* string */
	REPL_A_META_END,	/* u64, bytes */
	REPL_A_ROOM,		/* u64, bytes */
	REPL_A_ON_PEER_LOSS,	/* u8, enum repl_on_peer_loss */
	REPL_A_VOLUME_FLAGS,	/* u32, enum repl_volume_flags */
	REPL_A_COUNTERS,	/* nested, enum repl_counter */
	REPL_A_SLOT_INFO,	/* nested, enum repl_slot_attr */
	REPL_A_TICKET,		/* s32, a file descriptor */
	REPL_A_FLAGS,		/* u32, enum repl_flags */
	REPL_A_DATA_FD,		/* s32 */
	REPL_A_META_FD,		/* s32 */
	REPL_A_KEY,		/* 32 bytes */
	REPL_A_DEADLINE_MS,	/* u32 */
	REPL_A_SLOT,		/* u8 */
	REPL_A_SLOT_MASK,	/* u32, bit n is slot n */
	REPL_A_KIND,		/* u8, enum repl_slot_kind of repl/format.h */
	REPL_A_EXTENTS,		/* struct repl_extent[] */
	REPL_A_CUT_FLAGS,	/* u32, enum repl_cut_flags */
	REPL_A_CUT_FD,		/* s32 */
	REPL_A_SOCK_FD,		/* s32 */
	REPL_A_COOKIE,		/* u64 */
	REPL_A_LINK_FLAGS,	/* u32, enum repl_link_flags */
	REPL_A_TIMEOUT_MS,	/* u32 */
	REPL_A_STUCK_MS,	/* u32 */
	REPL_A_RATE,		/* u64, bytes per second */
	REPL_A_REPLACED,	/* u64, bytes */
	REPL_A_REPLACE_MS,	/* u64 */
	REPL_A_EVENT,		/* u32, enum repl_event */
	REPL_A_TEXT,		/* string */
	REPL_A_HOLD_MS,		/* u32 */
	REPL_A_STAGED,		/* u64, names a staging file; repl/stage.h */
	__REPL_A_MAX
};
#define REPL_A_MAX (__REPL_A_MAX - 1)

enum repl_slot_attr {
	REPL_S_UNSPEC,
	REPL_S_PAD,
	REPL_S_INDEX,		/* u8 */
	REPL_S_KIND,		/* u8 */
	REPL_S_KEY,		/* 32 bytes */
	REPL_S_COPY_ID,		/* 16 bytes */
	REPL_S_FLAGS,		/* u32, enum repl_slot_flags of repl/format.h */
	REPL_S_GENERATION,	/* 16 bytes */
	REPL_S_EPOCH,		/* u64 */
	REPL_S_DIRTY_BLOCKS,	/* u64 */
	REPL_S_CUT,		/* u8 */
	REPL_S_LINK,		/* u8, enum repl_link_state */
	REPL_S_COOKIE,		/* u64 */
	REPL_S_IN_FLIGHT_BYTES,	/* u64 */
	REPL_S_UNFLUSHED_BYTES,	/* u64: regions answered, but not flushed */
	REPL_S_SENT_BYTES,	/* u64, of payload */
	REPL_S_RECEIVED_BYTES,	/* u64, of payload */
	REPL_S_LINK_AGE_MS,	/* u64 */
	REPL_S_REASON,		/* string: why the last link ended */
	__REPL_S_MAX
};
#define REPL_S_MAX (__REPL_S_MAX - 1)

enum repl_counter {
	REPL_C_UNSPEC,
	REPL_C_PAD,
	REPL_C_READS,
	REPL_C_READ_BYTES,
	REPL_C_WRITES,
	REPL_C_WRITE_BYTES,
	REPL_C_ZEROES,		/* discards and write-zeroes */
	REPL_C_FLUSHES,		/* flushes and FUA writes */
	REPL_C_OVERLAPS,	/* writes that waited for one they overlap */
	REPL_C_GATE_WAITS,	/* writes that waited for the gate */
	REPL_C_APPLIED_WRITES,	/* from a peer */
	REPL_C_APPLIED_BYTES,
	REPL_C_ERRORS,		/* of the backing device */
	REPL_C_META_WRITES,
	REPL_C_GENERATIONS,	/* made here since attach */
	REPL_C_RESENDS,		/* payloads that arrived damaged */
	REPL_C_LOG_WAITS,	/* regions that a write had to wait for, to be logged */
	REPL_C_LOG_WRITES,	/* pages of the region log */
	REPL_C_REMOTE_READS,	/* answered by a peer */
	REPL_C_READ_REPAIRS,	/* of them: written back here, after the local read had failed */
	REPL_C_HOLDS,		/* writes that waited for the reader of a frozen cut */
	REPL_C_HOLD_MAX_MS,	/* the longest of these waits: not a sum */
	REPL_C_VOIDS,		/* frozen cuts that became void */
	__REPL_C_MAX
};
#define REPL_C_MAX (__REPL_C_MAX - 1)

enum repl_role {
	REPL_ROLE_SECONDARY	= 1,
	REPL_ROLE_PRIMARY	= 2,
};

enum repl_flags {
	REPL_F_FORCE		= 1 << 0,
	REPL_F_PEER_DEAD	= 1 << 1,
	REPL_F_ALONE		= 1 << 2,
	REPL_F_ALL		= (1 << 3) - 1,
};

/* Why writes wait.  Each holder removes only its own bit. */
enum repl_gate {
	REPL_GATE_JOIN		= 1 << 0,
	REPL_GATE_PEER_LOST	= 1 << 1,	/* set by the module alone */
	REPL_GATE_ADMIN		= 1 << 2,
	REPL_GATE_SNAPSHOT	= 1 << 3,
	REPL_GATE_RESIZE	= 1 << 4,	/* set by the module alone */
	REPL_GATE_DISK		= 1 << 5,	/* set by the module alone: its own disk has failed */
	REPL_GATE_REPLACE	= 1 << 6,	/* set by the module alone */
	REPL_GATE_USER		= REPL_GATE_JOIN | REPL_GATE_ADMIN | REPL_GATE_SNAPSHOT,
};

enum repl_on_peer_loss {
	REPL_LOSS_CONTINUE	= 0,
	REPL_LOSS_FREEZE	= 1,
	/* As FREEZE, also when the disk here has failed; and every generation is given from outside. */
	REPL_LOSS_ARBITER	= 2,
};

enum repl_volume_flags {
	REPL_VF_NO_FLUSH	= 1 << 0,	/* somebody switched the disk's write cache flag off */
	REPL_VF_ZOMBIE		= 1 << 1,	/* openers of a forcibly ended term remain */
	REPL_VF_FAILED		= 1 << 2,	/* the backing device has failed a write or a flush */
	REPL_VF_NO_STABLE	= 1 << 3,	/* the disk lost its stable pages flag */
	REPL_VF_FAILING		= 1 << 4,	/* the volume fails all I/O, until it is demoted */
	REPL_VF_DISKLESS	= 1 << 5,	/* it goes on from live peers; nothing here is read or written */
	REPL_VF_REPLACING	= 1 << 6,	/* diskless, but a new disk is being filled */
};

enum repl_cut_flags {
	REPL_CUT_UNFROZEN	= 1 << 0,
	REPL_CUT_FROZEN		= 1 << 1,
	REPL_CUT_ALL		= (1 << 2) - 1,
};

enum repl_link_flags {
	REPL_LINK_TLS		= 1 << 0,	/* both directions must be offloaded already */
	REPL_LINK_FOLLOW	= 1 << 1,	/* this side takes over the other's generation */
	REPL_LINK_CRC		= 1 << 2,	/* send payload checksums */
	REPL_LINK_ALL		= (1 << 3) - 1,
};

enum repl_link_state {
	REPL_LINK_NONE		= 0,
	REPL_LINK_LIVE		= 1,
	REPL_LINK_CLOSING	= 2,	/* dead, but I/O that came over it is not done */
};

enum repl_event {
	REPL_EVENT_UNSPEC,
	REPL_EVENT_ATTACHED,
	REPL_EVENT_DETACHED,
	REPL_EVENT_ROLE,
	REPL_EVENT_LINK_UP,
	REPL_EVENT_LINK_DOWN,
	REPL_EVENT_GATE,
	REPL_EVENT_GENERATION,
	REPL_EVENT_ERROR,
	REPL_EVENT_RESIZE,
	REPL_EVENT_REPLACE,
};

struct repl_ticket_result {
	__s32	error;			/* 0, or a negative errno */
	__u32	reserved;
	char	text[REPL_TEXT_BYTES];	/* what was refused and why; empty on success */
};

struct repl_extent {
	__u64	block;		/* of 4 KiB */
	__u64	count;		/* blocks */
};

#define REPL_CUT_IOC_COMMIT	_IO('R', 1)
#define REPL_CUT_IOC_ABORT	_IO('R', 2)
#define REPL_CUT_IOC_RELEASE	_IOW('R', 3, struct repl_extent)
#define REPL_CUT_IOC_VALID	_IO('R', 4)

#endif /* _UAPI_LINUX_REPL_H */
