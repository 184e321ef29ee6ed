// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A link's frame header, as it comes and with its checksum made right: what is let
 * through lies within the volume.
 * needs: kmod/frame.c tests/fuzz/trap.c
 */
#include <string.h>

#include "super.h"

#include "frame.h"

#include "trap.h"

#define COOKIE 0x1122334455667788ull

static const struct frame_limits limits = { .size = 1 << 30, .lbs = 4096, .cookie = COOKIE };

static void check(const struct repl_frame *wire)
{
	struct frame f;

	if (frame_unpack(&f, wire, &limits))
		return;
	trap_unless(f.cookie == COOKIE);
	trap_unless(frame_payload(&f) <= 1 << 20);
	if (f.type == REPL_FRAME_WRITE || f.type == REPL_FRAME_ZEROES) {
		trap_unless(f.length && f.length % limits.lbs == 0 && f.offset % limits.lbs == 0);
		trap_unless(f.offset <= limits.size && f.length <= limits.size - f.offset);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct repl_frame wire = { 0 };
	struct frame f = { 0 };

	memcpy(&wire, data, size < sizeof(wire) ? size : sizeof(wire));
	check(&wire);
	memcpy(&f, data, size < sizeof(f) ? size : sizeof(f));
	f.cookie = size & 1 ? COOKIE : f.cookie;
	frame_pack(&wire, &f);
	check(&wire);
	return 0;
}
