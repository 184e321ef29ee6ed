// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Frame headers: their bytes, their bounds, and that no damaged or hostile one gets through.
 * needs: kmod/frame.c
 */
#include "super.h"

#include "frame.h"
#include "tap.h"

#define COOKIE	0x1122334455667788ull
#define PART	0x12000u		/* a length that every range has room for */

enum { LBS = 512 };

static const struct frame_limits limits = { .size = 1ull << 40, .lbs = LBS, .cookie = COOKIE };
static uint64_t seed;

/* What frame_unpack() says: it ends in an error that somebody reads. */
static const char ALIEN[] = "something that is no frame";
static const char DAMAGED[] = "a damaged header";
static const char COOKIES[] = "a frame of another link";
static const char STATUS[] = "a status out of bounds";
static const char TYPE[] = "an unknown type";
static const char FLAGS[] = "flags that do not belong to its type";
static const char LENGTH[] = "a length out of bounds";
static const char BLOCKS[] = "a range that is no whole number of blocks";
static const char BEYOND[] = "a range beyond the end of the volume";
static const char RANGE[] = "a range where none belongs";
static const char GENERATION[] = "a generation of the wrong length";
static const char SETTLED[] = "a settlement of the wrong length";

/* What the protocol says of each type. */
static const struct kind {
	u8 type;
	u16 flags;		/* may be set */
	u32 max;		/* bytes of the longest range; 0 when it has none */
	u32 length;		/* otherwise */
	bool payload;
	const char *name;
} kinds[] = {
	{ REPL_FRAME_WRITE, REPL_FF_FUA | REPL_FF_PREFLUSH | REPL_FF_CRC | REPL_FF_SYNC, 1 << 20, 0,
	  true, "WRITE" },
	{ REPL_FRAME_ZEROES, REPL_FF_FUA | REPL_FF_UNMAP, 1 << 24, 0, false, "ZEROES" },
	{ REPL_FRAME_FLUSH, 0, 0, 0, false, "FLUSH" },
	{ REPL_FRAME_GENERATION, REPL_FF_CRC, 0, 40, true, "GENERATION" },
	{ REPL_FRAME_BEAT, 0, 0, 0, false, "BEAT" },
	{ REPL_FRAME_ANSWER, 0, 0, 0, false, "ANSWER" },
	{ REPL_FRAME_CLOSE, 0, 0, 0, false, "CLOSE" },
	{ REPL_FRAME_READ, 0, 1 << 20, 0, false, "READ" },
	{ REPL_FRAME_DATA, REPL_FF_CRC, 1 << 20, 0, true, "DATA" },
	{ REPL_FRAME_SETTLED, REPL_FF_CRC, 0, 80, true, "SETTLED" },
};

enum { KINDS = sizeof(kinds) / sizeof(*kinds), WIRE_BITS = 8 * sizeof(struct repl_frame) };

/* A valid frame that says as little as its type allows. */
static struct frame plain(const struct kind *kind)
{
	return (struct frame){
		.type = kind->type,
		.length = kind->max ? PART : kind->length,
		.cookie = COOKIE,
	};
}

static struct frame a_write(u64 offset, u32 length)
{
	return (struct frame){
		.type = REPL_FRAME_WRITE, .cookie = COOKIE, .offset = offset, .length = length,
	};
}

static const char *refusal_by(const struct frame *frame, const struct frame_limits *l)
{
	struct repl_frame wire;
	struct frame out;

	frame_pack(&wire, frame);
	return frame_unpack(&out, &wire, l);
}

static const char *refusal(const struct frame *frame)
{
	return refusal_by(frame, &limits);
}

static bool refused(const struct frame *frame, const char *why)
{
	const char *got = refusal(frame);

	return got && !strcmp(got, why);
}

/* NULL: it must be accepted. */
static void is_refused(const struct frame *frame, const char *why, const char *name)
{
	const char *got = refusal(frame);

	is_text(got ?: "accepted", why ?: "accepted", name);
}

static void seal(struct repl_frame *wire)
{
	wire->header_crc = htole32(super_crc32c(wire, offsetof(struct repl_frame, header_crc)));
}

static bool same(const struct frame *a, const struct frame *b)
{
	return a->type == b->type && a->status == b->status && a->flags == b->flags &&
	       a->tag == b->tag && a->length == b->length && a->offset == b->offset &&
	       a->cookie == b->cookie && a->payload_crc == b->payload_crc;
}

/* -------------------------------------------------------------- bytes --- */

static void is_packed(const struct frame *frame, const u8 *golden, const char *name)
{
	const struct frame_limits l = { 1ull << 50, LBS, frame->cookie };
	struct repl_frame wire;
	struct frame out;
	unsigned int i;

	/* The header must not keep anything of the memory that it is made in. */
	for (i = 0; i < 256; i += 0x55) {
		memset(&wire, i, sizeof(wire));
		frame_pack(&wire, frame);
		ok(!memcmp(&wire, golden, sizeof(wire)), "%s: its bytes, over memory of %#x", name,
		   i);
	}
	memcpy(&wire, golden, sizeof(wire));
	ok(!frame_unpack(&out, &wire, &l) && same(&out, frame), "%s: from its bytes", name);
}

static void test_golden(void)
{
	static const struct frame write = {
		.type = REPL_FRAME_WRITE,
		.flags = REPL_FF_FUA | REPL_FF_PREFLUSH | REPL_FF_CRC | REPL_FF_SYNC,
		.cookie = COOKIE,
		.tag = 0xa1b2c3d4,
		.length = 0x12000,
		.offset = 0x123456789000,
		.payload_crc = 0xcafebabe,
	};
	static const u8 write_bytes[] = {
		0x52, 0x45, 0x50, 0x4c, 0x01, 0x00, 0x1b, 0x00,
		0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
		0xd4, 0xc3, 0xb2, 0xa1, 0x00, 0x20, 0x01, 0x00,
		0x00, 0x90, 0x78, 0x56, 0x34, 0x12, 0x00, 0x00,
		0xbe, 0xba, 0xfe, 0xca, 0x6f, 0xdf, 0xd3, 0x3f,
	};
	static const struct frame answer = {
		.type = REPL_FRAME_ANSWER,
		.status = REPL_STATUS_RESEND,
		.cookie = 0x8877665544332211,
		.tag = 1,
	};
	static const u8 answer_bytes[] = {
		0x52, 0x45, 0x50, 0x4c, 0x06, 0x03, 0x00, 0x00,
		0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
		0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0xce, 0x95, 0x4c, 0x2b,
	};

	is_packed(&write, write_bytes, "a WRITE");
	is_packed(&answer, answer_bytes, "an ANSWER");
}

/* ------------------------------------------------------------- bounds --- */

static void test_ranges(const struct kind *kind)
{
	const u32 lbs = LBS, max = kind->max;
	const u64 size = limits.size;
	const struct {
		u64 offset;
		u32 length;
		const char *why;
		const char *name;
	} cases[] = {
		{ 0, lbs, NULL, "one block" },
		{ 0, max, NULL, "the longest range" },
		{ 0, 0, LENGTH, "an empty range" },
		{ 0, max + lbs, LENGTH, "a block more than the longest range" },
		{ 0, max + 1, LENGTH, "a byte more than the longest range" },
		{ 0, UINT32_MAX, LENGTH, "the largest length" },
		{ 0, UINT32_MAX - lbs + 1, LENGTH, "the largest length in blocks" },
		{ 0, 1, BLOCKS, "a length of one byte" },
		{ 0, lbs - 1, BLOCKS, "a block less a byte" },
		{ 0, lbs + 1, BLOCKS, "a block and a byte" },
		{ 1, lbs, BLOCKS, "at a byte" },
		{ lbs / 2, lbs / 2, BLOCKS, "half a block that ends on a boundary" },
		{ size - lbs, lbs, NULL, "the last block" },
		{ size - max, max, NULL, "the longest range that ends with the volume" },
		{ size - lbs, 2 * lbs, BEYOND, "over the end" },
		{ size, lbs, BEYOND, "behind the end" },
		{ size + lbs, lbs, BEYOND, "well behind the end" },
		{ 1ull << 63, lbs, BEYOND, "at 2^63" },
		{ 0 - (u64)lbs, lbs, BEYOND, "at the end of 2^64: the sum is 0" },
		{ 0 - (u64)lbs, 2 * lbs, BEYOND, "around 2^64: the sum is small" },
		{ 0 - (u64)max, max, BEYOND, "the longest range to 2^64" },
		{ UINT64_MAX, lbs, BLOCKS, "at 2^64 - 1" },
	};
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct frame frame = plain(kind);
		char name[128];

		frame.offset = cases[i].offset;
		frame.length = cases[i].length;
		snprintf(name, sizeof(name), "%s: %s", kind->name, cases[i].name);
		is_refused(&frame, cases[i].why, name);
	}
}

static void test_no_range(const struct kind *kind)
{
	const char *why = !kind->length ? RANGE :
			  kind->type == REPL_FRAME_SETTLED ? SETTLED : GENERATION;
	struct frame frame = plain(kind);
	char name[128];
	u64 offset;
	u32 length;
	bool all;

	snprintf(name, sizeof(name), "%s: its only length", kind->name);
	is_refused(&frame, NULL, name);
	for (all = true, offset = 1; offset; offset <<= 1) {
		frame.offset = offset;
		all &= refused(&frame, why);
	}
	ok(all, "%s: no bit of an offset is accepted", kind->name);
	frame.offset = 0;
	for (all = true, length = 0; length < 3 * LBS; length++) {
		frame.length = length;
		if (length != kind->length)
			all &= refused(&frame, why);
	}
	frame.length = UINT32_MAX;
	all &= refused(&frame, why);
	ok(all, "%s: no other length is accepted", kind->name);
}

static void test_flags(const struct kind *kind)
{
	struct frame frame = plain(kind);
	unsigned int flags;
	bool all = true;

	for (flags = 0; flags <= UINT16_MAX; flags++) {
		frame.flags = flags;
		all &= flags & ~kind->flags ? refused(&frame, FLAGS) : !refusal(&frame);
	}
	ok(all, "%s: its own flags in every combination, and no others", kind->name);
}

static void test_status(const struct kind *kind)
{
	unsigned int status, max = kind->type == REPL_FRAME_ANSWER ? 4 : 0;
	struct frame frame = plain(kind);
	bool all = true;

	for (status = 0; status <= UINT8_MAX; status++) {
		frame.status = status;
		all &= status > max ? refused(&frame, STATUS) : !refusal(&frame);
	}
	ok(all, "%s: a status from 0 to %u", kind->name, max);
}

static void test_types(void)
{
	unsigned int type, i;
	bool all = true;

	for (type = 0; type <= UINT8_MAX; type++) {
		struct frame frame = { .type = type, .cookie = COOKIE };

		for (i = 0; i < KINDS; i++)
			if (kinds[i].type == type)
				frame = plain(&kinds[i]);
		all &= type >= 1 && type <= 10 ? !refusal(&frame) : refused(&frame, TYPE);
	}
	ok(all, "types 1 to 10, and no others");
}

static void test_kinds(void)
{
	unsigned int i;

	for (i = 0; i < KINDS; i++) {
		const struct kind *kind = &kinds[i];
		struct frame frame = plain(kind);

		ok(frame_payload(&frame) == (kind->payload ? frame.length : 0),
		   "%s: %s payload", kind->name, kind->payload ? "its length is its" : "no");
		if (kind->max)
			test_ranges(kind);
		else
			test_no_range(kind);
		test_flags(kind);
		test_status(kind);
	}
	test_types();
}

static void test_identity(void)
{
	struct frame frame = plain(&kinds[0]), out;
	struct repl_frame wire;
	bool cookie = true, magic = true;
	unsigned int i;

	for (i = 0; i < 64; i++) {
		frame.cookie = COOKIE ^ 1ull << i;
		cookie &= refused(&frame, COOKIES);
	}
	ok(cookie, "a cookie that differs in any bit");
	frame.cookie = COOKIE;
	for (i = 0; i < 32; i++) {
		frame_pack(&wire, &frame);
		wire.magic ^= htole32(1u << i);
		seal(&wire);
		magic &= !strcmp(frame_unpack(&out, &wire, &limits) ?: "", ALIEN);
	}
	ok(magic, "a magic that differs in any bit, well sealed");
}

/* Volumes other than that of the other tests. */
static void test_limits(void)
{
	const u64 last = 0 - 4096ull;
	const struct {
		struct frame_limits limits;
		u64 offset;
		u32 length;
		const char *why;
		const char *name;
	} cases[] = {
		{ { 1 << 20, 4096, COOKIE }, 4096, 4096, NULL, "blocks of 4 KiB" },
		{ { 1 << 20, 4096, COOKIE }, 512, 4096, BLOCKS, "blocks of 4 KiB, at 512 bytes" },
		{ { 1 << 20, 4096, COOKIE }, 0, 512, BLOCKS, "blocks of 4 KiB, 512 bytes long" },
		{ { 512, 512, COOKIE }, 0, 512, NULL, "a volume of one block" },
		{ { 512, 512, COOKIE }, 0, 1024, BEYOND, "a volume of one block, over its end" },
		{ { 512, 512, COOKIE }, 512, 512, BEYOND, "a volume of one block, behind it" },
		{ { 0, 512, COOKIE }, 0, 512, BEYOND, "a volume of no size" },
		{ { last, 4096, COOKIE }, last - 4096, 4096, NULL, "2^64: its last block" },
		{ { last, 4096, COOKIE }, last - 4096, 8192, BEYOND, "2^64: over the end" },
		{ { last, 4096, COOKIE }, last, 4096, BEYOND, "2^64: behind the end" },
		{ { last, 4096, COOKIE }, last, 8192, BEYOND, "2^64: around it, the sum is small" },
	};
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct frame frame = a_write(cases[i].offset, cases[i].length);
		const char *got = refusal_by(&frame, &cases[i].limits);

		is_text(got ?: "accepted", cases[i].why ?: "accepted", cases[i].name);
	}
}

/* ------------------------------------------------------------- random --- */

static u32 random_length(u32 max)
{
	return (random_below(&seed, max / LBS) + 1) * LBS;
}

static struct frame random_frame(void)
{
	const struct kind *kind = &kinds[random_below(&seed, KINDS)];
	struct frame frame = plain(kind);

	frame.flags = random_next(&seed) & kind->flags;
	frame.tag = random_next(&seed);
	frame.payload_crc = random_next(&seed);
	if (kind->type == REPL_FRAME_ANSWER)
		frame.status = random_below(&seed, REPL_STATUS_MAX + 1);
	if (kind->max) {
		frame.length = random_length(kind->max);
		frame.offset = random_below(&seed, (limits.size - frame.length) / LBS + 1) * LBS;
	}
	return frame;
}

static void test_round_trip(void)
{
	unsigned int i, bad = 0;

	for (i = 0; i < 100000; i++) {
		struct frame frame = random_frame(), out;
		struct repl_frame wire;

		frame_pack(&wire, &frame);
		bad += frame_unpack(&out, &wire, &limits) || !same(&frame, &out);
	}
	is_number(bad, 0, "100000 valid frames arrive as they were sent");
}

static void flip(struct repl_frame *wire, unsigned int bit)
{
	((u8 *)wire)[bit / 8] ^= 1 << bit % 8;
}

static bool is_damage(const struct repl_frame *wire)
{
	struct frame out;
	const char *why = frame_unpack(&out, wire, &limits);

	return why && (!strcmp(why, ALIEN) || !strcmp(why, DAMAGED));
}

/* Every damage of one bit, of two bits, and of one byte. */
static bool all_damage_refused(struct repl_frame *wire)
{
	unsigned int a, b;
	bool all = true;

	for (a = 0; a < WIRE_BITS; a++) {
		flip(wire, a);
		all &= is_damage(wire);
		for (b = a + 1; b < WIRE_BITS; b++) {
			flip(wire, b);
			all &= is_damage(wire);
			flip(wire, b);
		}
		flip(wire, a);
	}
	for (a = 0; a < sizeof(*wire); a++) {
		for (b = 1; b <= UINT8_MAX; b++) {
			((u8 *)wire)[a] ^= b;
			all &= is_damage(wire);
			((u8 *)wire)[a] ^= b;
		}
	}
	return all && !is_damage(wire);
}

static void test_damage(void)
{
	struct repl_frame wire = { 0 };
	unsigned int i;

	ok(is_damage(&wire), "zeroes are refused");
	memset(&wire, 0xff, sizeof(wire));
	ok(is_damage(&wire), "ones are refused");
	for (i = 0; i < KINDS; i++) {
		struct frame frame = plain(&kinds[i]);

		frame.flags = kinds[i].flags;
		frame.tag = random_next(&seed);
		frame_pack(&wire, &frame);
		ok(all_damage_refused(&wire), "%s: every flip of one bit, two bits, or a byte",
		   kinds[i].name);
	}
}

/* The rules once more, in arithmetic that cannot overflow. */
static bool is_valid(const struct frame *f, const struct frame_limits *l)
{
	const struct kind *kind = kinds;

	while (kind < kinds + KINDS && kind->type != f->type)
		kind++;
	if (kind == kinds + KINDS || f->cookie != l->cookie || f->flags & ~kind->flags ||
	    f->status > (kind->type == REPL_FRAME_ANSWER ? 4 : 0))
		return false;
	if (!kind->max)
		return f->length == kind->length && !f->offset;
	return f->length && f->length <= kind->max && f->length % l->lbs == 0 &&
	       f->offset % l->lbs == 0 && (unsigned __int128)f->offset + f->length <= l->size;
}

static u64 odd_number(const struct frame_limits *l)
{
	const u64 from[] = { 0, l->lbs, l->size, 1 << 20, 1 << 24, 1ull << 32, 1ull << 63, 40 };
	u64 n = from[random_below(&seed, sizeof(from) / sizeof(*from))];

	switch (random_below(&seed, 4)) {
	case 0:
		return n + random_below(&seed, 5) - 2;
	case 1:
		return n + (random_below(&seed, 5) - 2) * l->lbs;
	default:
		return n;
	}
}

/* A valid frame of which some fields are made odd: what an attacker would seal and send. */
static struct frame hostile_frame(const struct frame_limits *l)
{
	struct frame frame = random_frame();
	unsigned int n;

	for (n = random_below(&seed, 4); n; n--) {
		switch (random_below(&seed, 6)) {
		case 0:
			frame.type = random_below(&seed, 10);
			break;
		case 1:
			frame.status = random_below(&seed, 8);
			break;
		case 2:
			frame.flags = 1u << random_below(&seed, 16);
			break;
		case 3:
			frame.offset = odd_number(l);
			break;
		case 4:
			frame.cookie ^= !random_below(&seed, 4);
			break;
		default:
			frame.length = odd_number(l);
		}
	}
	return frame;
}

static void test_hostile(void)
{
	static const struct frame_limits volumes[] = {
		{ 1ull << 40, LBS, COOKIE },
		{ 1 << 20, 4096, COOKIE },
		{ LBS, LBS, COOKIE },
		{ 0 - 4096ull, 4096, COOKIE },
	};
	unsigned int i, bad = 0, accepted = 0, refusals = 0;

	for (i = 0; i < 400000; i++) {
		const struct frame_limits *l = &volumes[i % 4];
		struct frame frame = hostile_frame(l), out;
		struct repl_frame wire;

		frame_pack(&wire, &frame);
		if (frame_unpack(&out, &wire, l)) {
			refusals++;
			bad += is_valid(&frame, l);
		} else {
			accepted++;
			bad += !is_valid(&frame, l) || !same(&frame, &out);
		}
	}
	is_number(bad, 0, "400000 hostile headers: accepted when and only when valid");
	ok(accepted > 10000 && refusals > 10000, "... %u accepted, %u refused", accepted, refusals);
}

/* Bytes without any shape, some of them well sealed. */
static void test_noise(void)
{
	unsigned int i, b, bad = 0;

	for (i = 0; i < 200000; i++) {
		struct repl_frame wire;
		struct frame out;
		const char *why;

		for (b = 0; b < sizeof(wire); b++)
			((u8 *)&wire)[b] = random_next(&seed);
		if (i % 2)
			wire.magic = htole32(REPL_FRAME_MAGIC);
		if (i % 4 == 3)
			seal(&wire);
		why = frame_unpack(&out, &wire, &limits);
		bad += !why || (i % 2 && !strcmp(why, ALIEN)) ||
		       (i % 4 == 3 && !strcmp(why, DAMAGED));
	}
	is_number(bad, 0, "200000 headers of noise are refused for what is wrong with them");
}

int main(void)
{
	seed = random_seed();
	test_golden();
	test_kinds();
	test_identity();
	test_limits();
	test_round_trip();
	test_damage();
	test_hostile();
	test_noise();
	return tap_end();
}
