// SPDX-License-Identifier: GPL-2.0-or-later
/* Streams: what went in comes out, and no damage, cut or changed order passes for a stream. */
#include <endian.h>
#include <errno.h>

#include "id.h"
#include "stream.h"
#include "super.h"
#include "tap.h"

#define MIB (1ULL << 20)

enum { ROUNDS = 300, DAMAGES = 40, PIECES_MAX = 40, UNIT = 4096 };

/* A stream in memory, and where its pieces begin: the header, each record, the end. */
static struct {
	uint8_t *bytes;
	size_t length;
	size_t piece[PIECES_MAX];
	unsigned int pieces;
} built;

static uint8_t volume[4 * MIB], result[4 * MIB], expected[4 * MIB];
static uint64_t seed;

static void put(const void *bytes, size_t length)
{
	built.bytes = realloc(built.bytes, built.length + length);
	need(built.bytes, "memory");
	memcpy(built.bytes + built.length, bytes, length);
	built.length += length;
}

static void begin_piece(void)
{
	need(built.pieces < PIECES_MAX, "room for the pieces");
	built.piece[built.pieces++] = built.length;
}

static struct stream_info some_info(uint32_t kind)
{
	struct stream_info i = {
		.kind = kind, .flags = REPL_STREAM_CONSISTENT, .stream_id = id_random(),
		.uuid = id_random(), .copy_id = id_random(), .generation = id_random(), .epoch = 7,
		.base_copy_id = id_random(), .base_generation = id_random(), .base_epoch = 5,
		.data_size = sizeof(volume), .time = 1234567890, .lbs_shift = 12, .name = "spool",
		.node = "mail2",
	};

	return i;
}

static struct stream_out *begin(const struct stream_info *info)
{
	struct repl_stream_header h;
	struct stream_out *s;

	built.length = built.pieces = 0;
	s = stream_out_new(info, &h);
	need(s, "an encoder");
	begin_piece();
	put(&h, sizeof(h));
	return s;
}

static void end(struct stream_out *s)
{
	uint8_t bytes[STREAM_END_BYTES];

	stream_out_end(s, bytes);
	begin_piece();
	put(bytes, sizeof(bytes));
	stream_out_free(s);
}

static void data(struct stream_out *s, uint64_t offset, size_t length)
{
	struct repl_stream_record r;

	need(!stream_out_data(s, offset, volume + offset, length, &r), "a good range");
	begin_piece();
	put(&r, sizeof(r));
	put(volume + offset, length);
	memcpy(expected + offset, volume + offset, length);
}

static void zeros(struct stream_out *s, uint64_t offset, uint64_t length)
{
	struct repl_stream_record r;

	need(!stream_out_zeros(s, offset, length, &r), "a good range");
	begin_piece();
	put(&r, sizeof(r));
	memset(expected + offset, 0, length);
}

/* Random ranges in order. */
static void build(const struct stream_info *info)
{
	struct stream_out *s = begin(info);
	uint64_t at = 0;

	memset(expected, 0xee, sizeof(expected));
	for (;;) {
		uint64_t length = (1 + random_below(&seed, 40)) * UNIT;

		at += info->kind == REPL_STREAM_FULL ? 0 : random_below(&seed, 60) * UNIT;
		if (at + length > sizeof(volume) || built.pieces > PIECES_MAX - 4)
			break;
		if (random_below(&seed, 3))
			data(s, at, length);
		else
			zeros(s, at, length);
		at += length;
	}
	if (info->kind == REPL_STREAM_FULL && at < sizeof(volume))
		zeros(s, at, sizeof(volume) - at);
	end(s);
}

/* Decodes @length bytes. Return: 0 when they are a whole stream, else the error. */
static int decode(const uint8_t *bytes, size_t length, struct stream_in **out, struct err *e)
{
	struct stream_in *s = stream_in_new();
	size_t at = 0, want;
	int ret = 0;

	need(s, "a decoder");
	memset(result, 0xee, sizeof(result));
	e->text[0] = '\0';
	while (!ret && (want = stream_in_want(s))) {
		struct stream_item item;
		uint8_t *piece;

		need(want <= STREAM_WANT_MAX, "a bounded wish");
		if (want > length - at) {
			ret = err_set(e, ENODATA, "ends early");
			break;
		}
		/* A copy of its own: reading one byte too much is found. */
		piece = malloc(want);
		memcpy(piece, bytes + at, want);
		at += want;
		ret = stream_in_take(s, piece, &item, e);
		if (!ret && item.kind == STREAM_DATA)
			memcpy(result + item.offset, item.data, item.length);
		else if (!ret && item.kind == STREAM_ZEROS)
			memset(result + item.offset, 0, item.length);
		free(piece);
	}
	if (!ret && at != length)
		ret = err_set(e, EBADMSG, "something follows");
	if (out)
		*out = s;
	else
		stream_in_free(s);
	return ret;
}

static void test_roundtrip(void)
{
	struct stream_info info = some_info(REPL_STREAM_CHANGES);
	const struct stream_info *got;
	struct stream_in *s;
	struct err e;
	bool good = true;

	for (int i = 0; i < ROUNDS / 10; i++) {
		build(&info);
		if (decode(built.bytes, built.length, NULL, &e) || memcmp(result, expected, sizeof(result)))
			good = false;
	}
	ok(good, "what went in comes out, and nothing else is touched");
	info = some_info(REPL_STREAM_FULL);
	build(&info);
	ok(!decode(built.bytes, built.length, &s, &e), "a full copy: %s", e.text);
	got = stream_in_info(s);
	ok(got->kind == REPL_STREAM_FULL && got->flags == info.flags && got->epoch == 7 &&
	   got->base_epoch == 5 && got->time == info.time && got->data_size == sizeof(volume) &&
	   id_equal(&got->stream_id, &info.stream_id) && id_equal(&got->uuid, &info.uuid) &&
	   id_equal(&got->copy_id, &info.copy_id) && id_equal(&got->generation, &info.generation) &&
	   id_equal(&got->base_copy_id, &info.base_copy_id) &&
	   id_equal(&got->base_generation, &info.base_generation) && got->lbs_shift == 12,
	   "the header says what it was told");
	is_text(got->name, "spool", "and the volume's name");
	is_text(got->node, "mail2", "and the node's");
	ok(stream_in_totals(s)->data_bytes + stream_in_totals(s)->zero_bytes == sizeof(volume),
	   "a full copy is all of the volume");
	stream_in_free(s);
	info = some_info(REPL_STREAM_CHANGES);
	end(begin(&info));
	ok(!decode(built.bytes, built.length, NULL, &e), "no change at all is a stream, too");
}

/* ----------------------------------------------------------- damage ------ */

static void test_bits(void)
{
	struct stream_info info = some_info(REPL_STREAM_CHANGES);
	unsigned int passed = 0;
	struct err e;

	for (int i = 0; i < ROUNDS; i++) {
		if (i % DAMAGES == 0)
			build(&info);
		size_t at = random_below(&seed, built.length);
		uint8_t bit = 1u << random_below(&seed, 8);

		built.bytes[at] ^= bit;
		if (!decode(built.bytes, built.length, NULL, &e)) {
			printf("# byte %zu, bit %x\n", at, bit);
			passed++;
		}
		built.bytes[at] ^= bit;
	}
	is_number(passed, 0, "a bit that is turned over is found, wherever it is");
	/* Most bytes are data: each of the others once. */
	build(&info);
	for (unsigned int p = 0; p < built.pieces; p++) {
		size_t length = p ? sizeof(struct repl_stream_record)
				  : sizeof(struct repl_stream_header);

		for (size_t at = built.piece[p]; at < built.piece[p] + length; at++) {
			built.bytes[at] ^= 0x10;
			passed += !decode(built.bytes, built.length, NULL, &e);
			built.bytes[at] ^= 0x10;
		}
		if (p == 3)
			p = built.pieces - 2;	/* and the end */
	}
	is_number(passed, 0, "every byte of a header counts");
}

static void test_cuts(void)
{
	struct stream_info info = some_info(REPL_STREAM_CHANGES);
	unsigned int passed = 0;
	struct err e;

	build(&info);
	for (unsigned int p = 0; p < built.pieces; p++)
		passed += !decode(built.bytes, built.piece[p], NULL, &e);
	for (int i = 0; i < DAMAGES; i++)
		passed += !decode(built.bytes, random_below(&seed, built.length), NULL, &e);
	passed += !decode(built.bytes, built.length - 1, NULL, &e);
	is_number(passed, 0, "a stream that is cut off is found, also between two records");
	put("x", 1);
	ok(decode(built.bytes, built.length, NULL, &e), "a byte after the end is found: %s", e.text);
}

/* The stream again, its pieces in the order that @order says. */
static int reordered(const unsigned int *order, unsigned int count)
{
	uint8_t *bytes = malloc(2 * built.length);
	size_t length = 0;
	struct err e;
	int ret;

	for (unsigned int i = 0; i < count; i++) {
		unsigned int p = order[i];
		size_t until = p + 1 < built.pieces ? built.piece[p + 1] : built.length;

		memcpy(bytes + length, built.bytes + built.piece[p], until - built.piece[p]);
		length += until - built.piece[p];
	}
	ret = decode(bytes, length, NULL, &e);
	free(bytes);
	return ret;
}

static void test_order(void)
{
	struct stream_info info = some_info(REPL_STREAM_CHANGES);
	unsigned int order[PIECES_MAX + 1], passed[3] = { 0 };

	for (int i = 0; i < DAMAGES; i++) {
		unsigned int a, b, n;

		do
			build(&info);
		while (built.pieces < 5);
		n = built.pieces;
		a = 1 + (unsigned int)random_below(&seed, n - 3);
		b = a + 1;
		for (unsigned int p = 0; p < n; p++)
			order[p] = p;
		need(!reordered(order, n), "the right order");
		order[a] = b;
		order[b] = a;
		passed[0] += !reordered(order, n);
		for (unsigned int p = 0; p < n - 1; p++)
			order[p] = p < a ? p : p + 1;
		passed[1] += !reordered(order, n - 1);
		for (unsigned int p = 0; p < n + 1; p++)
			order[p] = p <= a ? p : p - 1;
		passed[2] += !reordered(order, n + 1);
	}
	is_number(passed[0], 0, "two records that changed places are found");
	is_number(passed[1], 0, "a record that is missing is found");
	is_number(passed[2], 0, "a record that comes twice is found");
}

/* A record of another stream of the same shape, at the same place. */
static void test_splice(void)
{
	struct stream_info info = some_info(REPL_STREAM_CHANGES);
	struct stream_out *s = begin(&info);
	size_t from, length;
	uint8_t *other;
	struct err e;

	data(s, 0, UNIT);
	data(s, UNIT, UNIT);
	end(s);
	from = built.piece[1];
	length = built.piece[2] - from;
	other = malloc(length);
	memcpy(other, built.bytes + from, length);
	info.stream_id = id_random();
	s = begin(&info);
	data(s, 0, UNIT);
	data(s, UNIT, UNIT);
	end(s);
	memcpy(built.bytes + from, other, length);
	ok(decode(built.bytes, built.length, NULL, &e) == -EBADMSG &&
	   strstr(e.text, "another stream"), "a record of another stream is found: %s", e.text);
	free(other);
}

/* -------------------------------------------- what a hostile writer sends -- */

static int with_header(const char *what, void (*change)(struct repl_stream_header *h))
{
	struct stream_info info = some_info(REPL_STREAM_CHANGES);
	struct repl_stream_header h;
	struct err e;
	int ret;

	end(begin(&info));
	memcpy(&h, built.bytes, sizeof(h));
	change(&h);
	h.crc = 0;
	h.crc = htole32(super_crc32c(&h, sizeof(h)));
	ret = decode((uint8_t *)&h, sizeof(h), NULL, &e);
	ok(ret == -EPROTO, "a header with %s is refused: %s", what, e.text);
	return ret;
}

static void h_version(struct repl_stream_header *h) { h->version = htole32(2); }
static void h_feature(struct repl_stream_header *h) { h->features = htole64(2); }
static void h_kind(struct repl_stream_header *h) { h->kind = htole32(3); }
static void h_flags(struct repl_stream_header *h) { h->flags = htole32(2); }
static void h_shift(struct repl_stream_header *h) { h->lbs_shift = 13; }
static void h_size(struct repl_stream_header *h) { h->data_size = htole64(1); }
static void h_huge(struct repl_stream_header *h) { h->data_size = htole64(~0ull); }
static void h_name(struct repl_stream_header *h) { memset(h->name, 'x', sizeof(h->name)); }
static void h_bell(struct repl_stream_header *h) { h->node[0] = 7; }
static void h_pad(struct repl_stream_header *h) { h->pad[3] = 1; }
static void h_reserved(struct repl_stream_header *h) { h->reserved[199] = 1; }

static void with_record(const char *what, struct repl_stream_record r)
{
	struct stream_info info = some_info(REPL_STREAM_CHANGES);
	struct repl_stream_header h;
	struct err e;
	int ret;

	end(begin(&info));
	memcpy(&h, built.bytes, sizeof(h));
	built.length = sizeof(h);
	r.magic = htole32(REPL_STREAM_RECORD);
	r.stream = h.crc;
	r.header_crc = htole32(super_crc32c(&r, offsetof(struct repl_stream_record, header_crc)));
	put(&r, sizeof(r));
	ret = decode(built.bytes, built.length, NULL, &e);
	ok(ret == -EBADMSG, "%s is refused: %s", what, e.text);
}

static void test_hostile(void)
{
	with_header("another version", h_version);
	with_header("an unknown feature", h_feature);
	with_header("an unknown kind", h_kind);
	with_header("an unknown flag", h_flags);
	with_header("an impossible block size", h_shift);
	with_header("an impossible size", h_size);
	with_header("a size beyond all", h_huge);
	with_header("a name without an end", h_name);
	with_header("a name that rings", h_bell);
	with_header("padding", h_pad);
	with_header("a reserved byte", h_reserved);
#define RECORD(...) ((struct repl_stream_record){ __VA_ARGS__ })
	with_record("an unknown type", RECORD(.type = htole16(4), .length = htole64(UNIT)));
	with_record("a record without length", RECORD(.type = htole16(REPL_STREAM_DATA)));
	with_record("a record that is too long",
		    RECORD(.type = htole16(REPL_STREAM_DATA), .length = htole64(2 * MIB)));
	with_record("half a block", RECORD(.type = htole16(REPL_STREAM_ZEROS), .length = htole64(512)));
	with_record("a range beyond the end",
		    RECORD(.type = htole16(REPL_STREAM_ZEROS), .offset = htole64(sizeof(volume)),
			   .length = htole64(UNIT)));
	with_record("a range that wraps around",
		    RECORD(.type = htole16(REPL_STREAM_ZEROS), .offset = htole64(-(uint64_t)UNIT),
			   .length = htole64(2 * UNIT)));
	with_record("flags", RECORD(.type = htole16(REPL_STREAM_ZEROS), .flags = htole16(1),
				    .length = htole64(UNIT)));
	with_record("an end of another length",
		    RECORD(.type = htole16(REPL_STREAM_END), .length = htole64(UNIT)));
}

static void test_encoder(void)
{
	struct stream_info info = some_info(REPL_STREAM_FULL);
	struct repl_stream_record r;
	struct stream_out *s = begin(&info);
	uint8_t bytes[STREAM_END_BYTES];
	struct err e;

	ok(stream_out_zeros(s, UNIT, UNIT, &r) == -EINVAL, "a full copy has no gap");
	ok(stream_out_data(s, 0, volume, 2 * MIB, &r) == -EINVAL, "nor a record that is too long");
	data(s, 0, MIB);
	ok(stream_out_data(s, 0, volume, UNIT, &r) == -EINVAL, "nor one that comes too late");
	stream_out_end(s, bytes);
	put(bytes, sizeof(bytes));
	stream_out_free(s);
	ok(decode(built.bytes, built.length, NULL, &e) == -EBADMSG &&
	   strstr(e.text, "ends before"), "a full copy that is none is found: %s", e.text);
}

static void put_range(struct stream_out *s, uint64_t offset, size_t length)
{
	if (random_below(&seed, 2))
		zeros(s, offset, length);
	else
		data(s, offset, length);
}

/* Each block once, in any order: what an old reader refuses by its feature. */
static void test_any_order(void)
{
	struct stream_info info = some_info(REPL_STREAM_FULL);
	unsigned int order[16], n = 16, passed = 0;
	struct repl_stream_record r;
	struct stream_out *s;
	struct err e;
	bool good = true;

	info.features = REPL_STREAM_ANY_ORDER;
	for (int round = 0; round < ROUNDS / 10; round++) {
		for (unsigned int i = 0; i < n; i++)
			order[i] = i;
		for (unsigned int i = n; i > 1; i--) {
			unsigned int j = (unsigned int)random_below(&seed, i), x = order[j];

			order[j] = order[i - 1];
			order[i - 1] = x;
		}
		s = begin(&info);
		for (unsigned int i = 0; i < n; i++)
			put_range(s, order[i] * (sizeof(volume) / n), sizeof(volume) / n);
		end(s);
		good &= !decode(built.bytes, built.length, NULL, &e) &&
			!memcmp(result, expected, sizeof(result));
		/* Without one of the ranges it is no full copy. */
		s = begin(&info);
		for (unsigned int i = 1; i < n; i++)
			zeros(s, order[i] * (sizeof(volume) / n), sizeof(volume) / n);
		good &= stream_out_zeros(s, order[n - 1] * (sizeof(volume) / n) + UNIT, UNIT, &r) == -EINVAL;
		end(s);
		passed += !decode(built.bytes, built.length, NULL, &e);
		if (round)
			continue;
		s = begin(&info);
		ok(stream_out_zeros(s, 512, UNIT, &r) == -EINVAL && stream_out_zeros(s, 0, 512, &r) == -EINVAL,
		   "so is half of one");
		stream_out_free(s);
	}
	ok(good, "records in any order: what went in comes out, and no block comes twice");
	is_number(passed, 0, "a missing one is found");
	/* The last block may be a part of one, and memory does not follow the size. */
	info.data_size = REPL_DATA_MAX - 512;
	info.lbs_shift = 9;
	s = begin(&info);
	ok(!stream_out_zeros(s, 1 << 30, info.data_size - (1 << 30), &r) &&
	   !stream_out_zeros(s, 0, 1 << 30, &r), "a petabyte of zeros");
	ok(stream_out_zeros(s, info.data_size - 512, 512, &r) == -EINVAL, "and none of it twice");
	stream_out_free(s);
}

int main(void)
{
	seed = random_seed();
	for (size_t i = 0; i < sizeof(volume); i += 8) {
		uint64_t bits = random_next(&seed);

		memcpy(volume + i, &bits, 8);
	}
	test_roundtrip();
	test_bits();
	test_cuts();
	test_order();
	test_splice();
	test_hostile();
	test_encoder();
	test_any_order();
	free(built.bytes);
	return tap_end();
}
