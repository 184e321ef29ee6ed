/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Packing and checking of link frames.  Pure: no I/O, no state, any context.
 * Compiled in user space too, where it is tested and fuzzed.
 */
#ifndef REPL_FRAME_H
#define REPL_FRAME_H

#include <linux/types.h>
#include <repl/wire.h>

/* A frame header in the machine's own byte order, its magic and CRC checked. */
struct frame {
	u8 type;
	u8 status;
	u16 flags;
	u32 tag;
	u32 length;		/* bytes */
	u64 offset;		/* bytes */
	u64 cookie;
	u32 payload_crc;
};

/* What the receiver of a frame knows of its volume. */
struct frame_limits {
	u64 size;		/* bytes */
	u32 lbs;		/* logical block size, bytes */
	u64 cookie;
};

void frame_pack(struct repl_frame *wire, const struct frame *frame);
const char *frame_unpack(struct frame *frame, const struct repl_frame *wire,
			 const struct frame_limits *limits);

/* Bytes that follow the header. */
static inline u32 frame_payload(const struct frame *frame)
{
	return frame->type == REPL_FRAME_WRITE || frame->type == REPL_FRAME_GENERATION ||
	       frame->type == REPL_FRAME_SETTLED || frame->type == REPL_FRAME_DATA ?
	       frame->length : 0;
}

#endif /* REPL_FRAME_H */
