// SPDX-License-Identifier: GPL-2.0-only
#include <linux/build_bug.h>
#include <linux/crc32c.h>
#include <linux/kernel.h>
#include <linux/stddef.h>
#include "frame.h"

#define HEADER_CRC_BYTES offsetof(struct repl_frame, header_crc)

static u32 header_crc(const struct repl_frame *wire)
{
	return ~crc32c(~0u, wire, HEADER_CRC_BYTES);
}

/**
 * frame_pack() - make the header that goes over the wire
 * @wire: to fill in, all of it
 * @frame: what it says
 */
void frame_pack(struct repl_frame *wire, const struct frame *frame)
{
	wire->magic = cpu_to_le32(REPL_FRAME_MAGIC);
	wire->type = frame->type;
	wire->status = frame->status;
	wire->flags = cpu_to_le16(frame->flags);
	wire->cookie = cpu_to_le64(frame->cookie);
	wire->tag = cpu_to_le32(frame->tag);
	wire->length = cpu_to_le32(frame->length);
	wire->offset = cpu_to_le64(frame->offset);
	wire->payload_crc = cpu_to_le32(frame->payload_crc);
	wire->header_crc = cpu_to_le32(header_crc(wire));
}

static const char *check_range(const struct frame *f, const struct frame_limits *limits, u32 max)
{
	if (!f->length || f->length > max)
		return "a length out of bounds";
	if ((f->offset | f->length) & (limits->lbs - 1))
		return "a range that is no whole number of blocks";
	if (f->offset > limits->size || f->length > limits->size - f->offset)
		return "a range beyond the end of the volume";
	return NULL;
}

static const char *check_empty(const struct frame *f)
{
	return f->length || f->offset ? "a range where none belongs" : NULL;
}

static const char *check_flags(const struct frame *f, u16 allowed)
{
	return f->flags & ~allowed ? "flags that do not belong to its type" : NULL;
}

static const char *check_type(const struct frame *f, const struct frame_limits *limits)
{
	const char *why;

	switch (f->type) {
	case REPL_FRAME_WRITE:
		why = check_range(f, limits, REPL_MAX_IO);
		return why ?: check_flags(f, REPL_FF_FUA | REPL_FF_PREFLUSH | REPL_FF_CRC |
					     REPL_FF_SYNC);
	case REPL_FRAME_ZEROES:
		why = check_range(f, limits, REPL_MAX_ZEROES);
		return why ?: check_flags(f, REPL_FF_FUA | REPL_FF_UNMAP);
	case REPL_FRAME_READ:
		why = check_range(f, limits, REPL_MAX_IO);
		return why ?: check_flags(f, 0);
	case REPL_FRAME_DATA:
		why = check_range(f, limits, REPL_MAX_IO);
		return why ?: check_flags(f, REPL_FF_CRC);
	case REPL_FRAME_GENERATION:
		if (f->length != sizeof(struct repl_frame_generation) || f->offset)
			return "a generation of the wrong length";
		return check_flags(f, REPL_FF_CRC);
	case REPL_FRAME_SETTLED:
		if (f->length != sizeof(struct repl_frame_settled) || f->offset)
			return "a settlement of the wrong length";
		return check_flags(f, REPL_FF_CRC);
	case REPL_FRAME_FLUSH:
	case REPL_FRAME_BEAT:
	case REPL_FRAME_ANSWER:
	case REPL_FRAME_CLOSE:
		why = check_empty(f);
		return why ?: check_flags(f, 0);
	default:
		return "an unknown type";
	}
}

/**
 * frame_unpack() - check a header that arrived, and translate it
 * @frame: to fill in
 * @wire: as it came
 * @limits: of the volume and the link
 *
 * Return: NULL, or what is wrong with it, to follow the words "it sent".
 * Nothing of @frame may be used then.
 */
const char *frame_unpack(struct frame *frame, const struct repl_frame *wire,
			 const struct frame_limits *limits)
{
	if (le32_to_cpu(wire->magic) != REPL_FRAME_MAGIC)
		return "something that is no frame";
	if (le32_to_cpu(wire->header_crc) != header_crc(wire))
		return "a damaged header";
	frame->type = wire->type;
	frame->status = wire->status;
	frame->flags = le16_to_cpu(wire->flags);
	frame->cookie = le64_to_cpu(wire->cookie);
	frame->tag = le32_to_cpu(wire->tag);
	frame->length = le32_to_cpu(wire->length);
	frame->offset = le64_to_cpu(wire->offset);
	frame->payload_crc = le32_to_cpu(wire->payload_crc);
	if (frame->cookie != limits->cookie)
		return "a frame of another link";
	if (frame->status > REPL_STATUS_MAX ||
	    (frame->status && frame->type != REPL_FRAME_ANSWER))
		return "a status out of bounds";
	return check_type(frame, limits);
}
