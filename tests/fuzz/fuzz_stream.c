// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A saved stream: no bytes are believed that are not all there.
 * needs: tests/fuzz/trap.c
 */
#include "stream.h"

#include <stdlib.h>
#include <string.h>

#include "super.h"
#include "trap.h"

/* Most inputs would fail at a checksum: bit 0 of the first byte makes the header's right. */
static void mend(uint8_t *bytes, size_t size)
{
	struct repl_stream_header *h = (void *)bytes;

	if (size < sizeof(*h))
		return;
	memcpy(h->magic, REPL_STREAM_MAGIC, sizeof(h->magic));
	h->crc = 0;
	h->crc = super_crc32c(h, sizeof(*h));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(size + 1);
	struct stream_in *s = stream_in_new();
	struct stream_item item = { 0 };
	struct err e = { "" };
	size_t at = 0, want;
	int ret = 0;

	trap_unless(s && bytes);
	if (size > 1) {
		memcpy(bytes, data + 1, --size);
		if (data[0] & 1)
			mend(bytes, size);
		while (!ret && (want = stream_in_want(s)) && want <= size - at) {
			trap_unless(want <= STREAM_WANT_MAX);
			ret = stream_in_take(s, bytes + at, &item, &e);
			at += want;
			trap_unless(!ret || e.text[0]);
			if (!ret && (item.kind == STREAM_DATA || item.kind == STREAM_ZEROS))
				trap_unless(item.length && item.offset + item.length > item.offset);
		}
	}
	stream_in_free(s);
	free(bytes);
	return 0;
}
