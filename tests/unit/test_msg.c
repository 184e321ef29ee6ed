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
	ok(header(0, 0) < 0 && header(23, 0) < 0 && header(0xffff, 0) < 0, "unknown: %s", e.text);
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
	struct msg_delta d = { .id = 7, .flags = REPL_MD_LAST, .blocks = 3, .sent_bytes = 8192 }, d2;
	struct msg_link l = { .cookie = 9, .plain = true, .volume = "spool" }, l2;
	struct repl_msg_delta md;
	struct repl_msg_link ml;

	msg_pack_delta(&d, &md);
	ok(!msg_unpack_delta(&d2, &md, &e) && d2.id == 7 && d2.flags == REPL_MD_LAST && d2.blocks == 3 &&
	   d2.sent_bytes == 8192, "delta there and back");
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
	ranges();
	extents();
	deltas_and_links();
	return tap_end();
}
