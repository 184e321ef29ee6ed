// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Session messages: what is packed is unpacked, and whatever a stranger sends is
 * refused before it is used.
 * needs: userspace/agent/msg.c
 */
#include "msg.h"

#include <endian.h>

#include "tap.h"

static struct err e;

static int header(uint16_t type, uint32_t length)
{
	struct repl_msg m;
	struct msg_header h;

	msg_pack_header(type, length, &m);
	return msg_unpack_header(&h, &m, &e);
}

static void headers(void)
{
	struct repl_msg m;
	struct msg_header h;

	ok(!header(REPL_MSG_PING, 0), "PING");
	ok(!header(REPL_MSG_BLOCKS, sizeof(struct repl_msg_range) + (1 << 20)), "1 MiB of BLOCKS");
	ok(header(REPL_MSG_BLOCKS, REPL_MSG_MAX + 1) < 0, "oversize: %s", e.text);
	ok(header(REPL_MSG_BLOCKS, 16) < 0, "BLOCKS without any: %s", e.text);
	ok(header(REPL_MSG_MAP, REPL_MSG_EXTENTS_MAX * 16 + 16) < 0, "too many extents: %s", e.text);
	ok(header(REPL_MSG_HELLO, 143) < 0, "a short HELLO: %s", e.text);
	ok(header(REPL_MSG_PING, 1) < 0, "a PING with a body: %s", e.text);
	ok(header(0, 0) < 0 && header(25, 0) < 0 && header(0xffff, 0) < 0, "unknown: %s", e.text);
	msg_pack_header(REPL_MSG_PING, 0, &m);
	m.magic ^= htole32(1);
	ok(msg_unpack_header(&h, &m, &e) < 0 && strstr(e.text, "protocol"), "magic: %s", e.text);
	msg_pack_header(REPL_MSG_PING, 0, &m);
	m.reserved2 = htole32(1);
	ok(msg_unpack_header(&h, &m, &e) < 0, "reserved: %s", e.text);
	is_text(msg_name(REPL_MSG_FOLLOW), "FOLLOW", "a name");
	is_text(msg_name(99), "an unknown message", "no name");
}

/* Whatever passes is within the limits that the receiver's buffers have. */
static void noise(uint64_t *rng)
{
	unsigned int passed = 0, wrong = 0;

	for (int i = 0; i < 200000; i++) {
		struct repl_msg m;
		struct msg_header h;

		msg_pack_header((uint16_t)random_below(rng, 30),
				(uint32_t)(random_next(rng) >> (32 + random_below(rng, 32))), &m);
		if (!random_below(rng, 10))
			((uint8_t *)&m)[random_below(rng, sizeof(m))] ^= 1 << random_below(rng, 8);
		if (msg_unpack_header(&h, &m, &e))
			continue;
		passed++;
		wrong += h.length > REPL_MSG_MAX || !strcmp(msg_name(h.type), msg_name(0)) ||
			 (h.type != REPL_MSG_BLOCKS && h.length > REPL_MSG_EXTENTS_MAX * 16);
	}
	ok(passed && !wrong, "%u random headers pass, all within the limits", passed);
}

static void hello(void)
{
	struct msg_hello in = { .version_min = 1, .version = 3, .node = "mail1", .volume = "spool" };
	struct repl_msg_hello m;
	struct msg_hello out;

	msg_pack_hello(&in, &m);
	ok(!msg_unpack_hello(&out, &m, &e) && out.version == 3 && !strcmp(out.node, "mail1") &&
	   !strcmp(out.volume, "spool"), "HELLO there and back");
	memcpy(m.node, "a\033[31mb", 7);
	ok(!msg_unpack_hello(&out, &m, &e) && !strcmp(out.node, "a?[31mb"), "no escapes reach a log");
	memset(m.volume, 'x', sizeof(m.volume));
	ok(msg_unpack_hello(&out, &m, &e) < 0, "a name without an end: %s", e.text);
	in.version_min = 4;
	msg_pack_hello(&in, &m);
	ok(msg_unpack_hello(&out, &m, &e) < 0, "a range the wrong way round: %s", e.text);
	in.version_min = 1;
	msg_pack_hello(&in, &m);
	m.features = htole64(1ull << 40);
	ok(!msg_unpack_hello(&out, &m, &e), "features that nobody knows are passed over");
	m.reserved = htole32(1);
	ok(msg_unpack_hello(&out, &m, &e) < 0 && strstr(e.text, "HELLO"), "reserved: %s", e.text);
}

/* What status, as JSON, could not say would make the peer vanish from it. */
static void texts(void)
{
	char out[REPL_TEXT_MAX];

	msg_text(out, "plain text ~", 12);
	is_text(out, "plain text ~", "words as they are");
	msg_text(out, "\xc3\xa4\xff\x80", 4);
	is_text(out, "????", "nothing but ASCII, whole UTF-8 or not");
	msg_text(out, "a\tb\x7f\0c", 6);
	is_text(out, "a?b?", "no control character, and nothing behind the end");
}

static void consent(void)
{
	struct msg_consent in = { .generation = { { 7 } }, .granted = true, .question = 77 }, out;
	struct repl_msg_consent m;

	msg_pack_consent(&in, &m);
	ok(!msg_unpack_consent(&out, &m, &e) && out.granted && out.generation.b[0] == 7 && out.question == 77,
	   "CONSENT there and back");
	m.granted = 0;
	ok(!msg_unpack_consent(&out, &m, &e) && !out.granted, "none given");
	m.granted = htole32(2);
	ok(msg_unpack_consent(&out, &m, &e) < 0 && strstr(e.text, "CONSENT"), "neither: %s", e.text);
}

static void answers(void)
{
	struct msg_answer in = { .want = { { 7 } }, .answer = REPL_MN_DENIED }, out;
	struct repl_msg_answer m;

	msg_pack_answer(&in, &m);
	ok(!msg_unpack_answer(&out, &m, &e) && out.answer == REPL_MN_DENIED && out.want.b[0] == 7,
	   "ANSWER there and back");
	m.answer = htole32(REPL_MN_NO_ENTRY + 1);
	ok(msg_unpack_answer(&out, &m, &e) < 0 && strstr(e.text, "ANSWER"), "none that there is: %s", e.text);
	m.answer = 0;
	ok(msg_unpack_answer(&out, &m, &e) < 0, "nor nothing");
	m.answer = htole32(REPL_MN_GRANTED);
	m.reserved = htole32(1);
	ok(msg_unpack_answer(&out, &m, &e) < 0 && strstr(e.text, "reserved"), "reserved: %s", e.text);
}

static void resolve(void)
{
	struct msg_resolve in = {
		.keep = { { 7 } }, .discard = { { 8 } }, .step = REPL_RESOLVE_ASK, .no_save = true,
	}, out;
	struct repl_msg_resolve m;

	msg_pack_resolve(&in, &m);
	ok(!msg_unpack_resolve(&out, &m, &e) && out.no_save && out.step == REPL_RESOLVE_ASK &&
	   out.keep.b[0] == 7 && out.discard.b[0] == 8, "RESOLVE there and back");
	m.flags = htole32(2);
	ok(msg_unpack_resolve(&out, &m, &e) < 0 && strstr(e.text, "flags"), "an unknown flag: %s", e.text);
	in.step = REPL_RESOLVE_AGREED;
	msg_pack_resolve(&in, &m);
	ok(msg_unpack_resolve(&out, &m, &e) < 0, "a flag where it does not belong: %s", e.text);
	in.no_save = false;
	in.total_bytes = 5;
	msg_pack_resolve(&in, &m);
	ok(msg_unpack_resolve(&out, &m, &e) < 0, "bytes where none belong: %s", e.text);
	in.step = REPL_RESOLVE_PROGRESS;
	in.done_bytes = 3;
	msg_pack_resolve(&in, &m);
	ok(!msg_unpack_resolve(&out, &m, &e) && out.done_bytes == 3 && out.total_bytes == 5, "progress");
	m.step = 0;
	ok(msg_unpack_resolve(&out, &m, &e) < 0, "no step: %s", e.text);
	m.step = htole32(REPL_RESOLVE_STEPS);
	ok(msg_unpack_resolve(&out, &m, &e) < 0, "an unknown one");
}

static int range(uint64_t offset, uint64_t length)
{
	struct repl_msg_range m = { htole64(offset), htole64(length) };
	struct msg_range r;

	return msg_unpack_range(&r, &m, 1 << 20, &e);
}

static void ranges(void)
{
	ok(!range(0, 4096) && !range(1 << 19, 1 << 19), "ranges within the volume");
	ok(range(0, 0) < 0, "an empty one: %s", e.text);
	ok(range(1 << 20, 4096) < 0, "beyond the end: %s", e.text);
	ok(range((1 << 20) - 4096, 8192) < 0, "across the end");
	ok(range(UINT64_MAX - 4095, 8192) < 0 && range(4096, UINT64_MAX - 4095) < 0, "overflows");
	ok(range(512, 4096) < 0 && range(0, 512) < 0, "not on blocks: %s", e.text);
}

static void digests(void)
{
	struct repl_msg_range m = { htole64(8192), htole64(3 * 4096) };
	struct msg_range r;

	ok(!msg_unpack_digests(&r, &m, 16 + 3 * 16, 1 << 20, &e) && r.offset == 8192 &&
	   r.length == 3 * 4096, "DIGESTS, one for each block");
	ok(msg_unpack_digests(&r, &m, 16 + 2 * 16, 1 << 20, &e) < 0, "one is missing: %s", e.text);
	ok(msg_unpack_digests(&r, &m, 16 + 4 * 16, 1 << 20, &e) < 0, "one too many: %s", e.text);
	ok(msg_unpack_digests(&r, &m, 16 + 3 * 16 - 1, 1 << 20, &e) < 0, "not whole: %s", e.text);
	ok(!msg_unpack_digests(&r, &m, 16 + 3 * 16, 8192 + 2 * 4096 + 512, &e) == false,
	   "beyond the end: %s", e.text);
	m.length = htole64(2 * 4096 + 512);
	ok(!msg_unpack_digests(&r, &m, 16 + 3 * 16, 8192 + 2 * 4096 + 512, &e),
	   "the volume's last block may be partial");
	m = (struct repl_msg_range){ 0, htole64(257 * 4096) };
	ok(msg_unpack_digests(&r, &m, 16 + 257 * 16, 2 << 20, &e) < 0, "too many blocks: %s", e.text);
	ok(header(REPL_MSG_DIGESTS, 16 + 257 * 16) < 0 && header(REPL_MSG_DIGESTS, 16) < 0 &&
	   !header(REPL_MSG_DIGESTS, 16 + 256 * 16), "which the header says, too: %s", e.text);
}

static void wants(void)
{
	struct msg_want in = { .range = { 4096, 10 * 4096 }, .blocks = { 0x81, 0x02 } }, out;
	struct repl_msg_want m;

	msg_pack_want(&in, &m);
	ok(!msg_unpack_want(&out, &m, 1 << 20, &e) && !memcmp(&in, &out, sizeof(in)) &&
	   msg_wants(&out, 0) && msg_wants(&out, 7) && msg_wants(&out, 9) && !msg_wants(&out, 8),
	   "WANT there and back");
	m.blocks[1] = 4;
	ok(msg_unpack_want(&out, &m, 1 << 20, &e) < 0, "block 10 of 10: %s", e.text);
	m.blocks[1] = 0;
	m.blocks[31] = 0x80;
	ok(msg_unpack_want(&out, &m, 1 << 20, &e) < 0, "the last bit: %s", e.text);
	in.range = (struct msg_range){ 0, 1 << 20 };
	msg_pack_want(&in, &m);
	m.blocks[31] = 0x80;
	ok(!msg_unpack_want(&out, &m, 1 << 20, &e) && msg_wants(&out, 255), "of 256 it is good");
	in.range.length = 257 * 4096;
	msg_pack_want(&in, &m);
	ok(msg_unpack_want(&out, &m, 2 << 20, &e) < 0, "257 blocks: %s", e.text);
	ok(msg_unpack_want(&out, &m, 1 << 20, &e) < 0, "beyond the end: %s", e.text);
}

static void extents(void)
{
	static struct repl_extent out[REPL_MSG_EXTENTS_MAX];
	struct repl_msg_extent m[3] = {
		{ htole64(1), htole64(2) }, { htole64(90), htole64(50) }, { htole64(100), htole64(1) },
	};

	is_number(msg_unpack_extents(out, m, sizeof(m), 100, &e), 2,
		  "what lies beyond the smaller volume is cut off");
	ok(out[1].block == 90 && out[1].count == 10, "to its last block");
	ok(msg_unpack_extents(out, m, sizeof(m) - 1, 100, &e) < 0, "half an extent: %s", e.text);
	m[0].count = 0;
	ok(msg_unpack_extents(out, m, sizeof(m), 100, &e) < 0, "an empty extent: %s", e.text);
	m[0].count = htole64(UINT64_MAX);
	ok(msg_unpack_extents(out, m, sizeof(m), 100, &e) < 0, "one that overflows: %s", e.text);
}

static void deltas_and_links(void)
{
	struct msg_delta d = { .id = 7, .flags = REPL_MD_LAST, .blocks = 3,
			       .moved = { .sent_bytes = 8192, .equal_bytes = 4096 } }, d2;
	struct msg_link l = { .cookie = 9, .plain = true, .volume = "spool" }, l2;
	struct repl_msg_delta md;
	struct repl_msg_link ml;

	msg_pack_delta(&d, &md);
	ok(!msg_unpack_delta(&d2, &md, &e) && d2.id == 7 && d2.flags == REPL_MD_LAST && d2.blocks == 3 &&
	   d2.moved.sent_bytes == 8192 && d2.moved.equal_bytes == 4096, "delta there and back");
	md.flags = htole32(2);
	ok(msg_unpack_delta(&d2, &md, &e) < 0, "an unknown flag: %s", e.text);
	msg_pack_link(&l, &ml);
	ok(!msg_unpack_link(&l2, &ml, &e) && l2.plain && l2.cookie == 9, "link there and back");
	ml.plain = htole32(2);
	ok(msg_unpack_link(&l2, &ml, &e) < 0, "neither plain nor not");
	l.cookie = 0;
	msg_pack_link(&l, &ml);
	ok(msg_unpack_link(&l2, &ml, &e) < 0, "no cookie: %s", e.text);
}

int main(void)
{
	uint64_t rng = random_seed();

	headers();
	noise(&rng);
	hello();
	texts();
	consent();
	answers();
	resolve();
	ranges();
	digests();
	wants();
	extents();
	deltas_and_links();
	return tap_end();
}
