// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two superblock copies, damaged, or with their checksums made right: the one that is
 * chosen describes areas that lie within its device.
 * needs: tests/fuzz/trap.c
 */
#include "super.h"

#include <endian.h>
#include <string.h>

#include "trap.h"

enum { SIZE = 64 << 20 };

static void check_place(const struct repl_super *sb)
{
	bool external = le32toh(sb->flags) & REPL_SB_EXTERNAL;
	unsigned int reports = 0;
	struct super_layout l;
	uint64_t end;

	super_get_layout(sb, &l);
	end = l.meta_offset + l.meta_size;
	if (super_verify_place(sb, SIZE, end, external, trap_silent, &reports)) {
		trap_unless(reports);
		return;
	}
	trap_unless(l.data_size <= SIZE);
	trap_unless(l.slots && l.slots <= REPL_SLOTS_MAX);
	trap_unless(l.map_bytes * l.slots <= l.log_offset);
	trap_unless(l.log_offset + l.log_bytes <= l.meta_size);
	trap_unless(external || l.data_size <= l.meta_offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct repl_super copy[REPL_SB_COPIES];
	struct super_layout l;
	struct err e = { "" };
	int chosen;

	if (!size)
		return 0;
	memset(copy, 0, sizeof(copy));
	super_layout_internal(&l, SIZE, 1 + data[0] % REPL_SLOTS_MAX, REPL_REGION_SHIFT_MIN, &e);
	for (unsigned int i = 0; i < REPL_SB_COPIES; i++) {
		memcpy(copy[i].magic, REPL_SB_MAGIC, sizeof(copy[i].magic));
		super_set_layout(&copy[i], &l);
	}
	/* Pairs of a place and a byte change what was valid. */
	for (size_t i = 1; i + 2 < size; i += 3)
		((uint8_t *)copy)[(data[i] | data[i + 1] << 8) % sizeof(copy)] = data[i + 2];
	for (unsigned int i = 0; i < REPL_SB_COPIES; i++)
		if (data[0] & 0x40 << i)
			super_seal(&copy[i]);
	chosen = super_choose(copy, &e);
	trap_unless(chosen < REPL_SB_COPIES && (chosen >= 0 || e.text[0]));
	if (chosen >= 0)
		check_place(&copy[chosen]);
	return 0;
}
