// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two superblock copies, damaged, or with their checksums made right: the one that is
 * chosen describes areas that lie within its device.  Of a layout, fsck.repl and the module must
 * say the same, whatever the numbers: what one lets pass, the other would trip over.
 * needs: tests/fuzz/trap.c kmod/shape.c
 */
#include <linux/kernel.h>
#include "shape.h"

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

/* What mkfs.repl makes, with a layout. */
static void make(struct repl_super *sb, const struct super_layout *l)
{
	memset(sb, 0, sizeof(*sb));
	memcpy(sb->magic, REPL_SB_MAGIC, sizeof(sb->magic));
	sb->version = htole32(REPL_FORMAT_VERSION);
	sb->sequence = htole64(1);
	sb->lbs_shift = REPL_BLOCK_SHIFT;
	sb->copy_id.b[0] = 1;
	memcpy(sb->name, "spool", 5);
	super_set_layout(sb, l);
}

/* A few bytes for each number: what it is, or by how many pages or bytes it is more or less. */
static uint64_t vary(uint64_t number, const uint8_t *data)
{
	int64_t by = (int8_t)data[1];

	switch (data[0] % 4) {
	case 0:
		return number;
	case 1:
		return number + (uint64_t)(by * REPL_META_ALIGN);
	case 2:
		return number + (uint64_t)by;
	default:
		return data[0] & 0x80 ? (uint64_t)data[1] << data[0] / 4 % 64 : number << data[1] % 64;
	}
}

static void agree(const struct super_layout *valid, const uint8_t *data, size_t size)
{
	struct super_layout l = *valid;
	uint64_t *number[] = { &l.data_size, &l.meta_offset, &l.map_bytes, &l.log_offset, &l.log_bytes, &l.meta_size };
	enum { NUMBERS = sizeof(number) / sizeof(number[0]), FIRST = 4 };
	struct repl_super sb;
	bool here, there;

	if (size < FIRST + 2 * NUMBERS)
		return;
	for (unsigned int i = 0; i < NUMBERS; i++)
		*number[i] = vary(*number[i], data + FIRST + 2 * i);
	if (data[0] & 0x20) {
		/* Or else the sums would hardly ever be right. */
		l.log_offset = l.map_bytes * l.slots;
		l.meta_size = l.log_offset + l.log_bytes + REPL_SB_COPIES * REPL_SB_BYTES;
	}
	make(&sb, &l);
	sb.region_shift = (uint8_t)vary(sb.region_shift, data + 1);
	super_seal(&sb);
	here = !super_verify(&sb, NULL, NULL) &&
	       !super_verify_place(&sb, SIZE, l.meta_offset + l.meta_size, false, NULL, NULL) &&
	       l.meta_offset + l.meta_size <= SIZE;
	there = shape_ok(&sb, SIZE, SIZE);
	trap_unless(here == there);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct repl_super copy[REPL_SB_COPIES];
	struct super_layout l;
	struct err e = { "" };
	int chosen;

	if (!size)
		return 0;
	super_layout_internal(&l, SIZE, 1 + data[0] % REPL_SLOTS_MAX, REPL_REGION_SHIFT_MIN, &e);
	agree(&l, data, size);
	for (unsigned int i = 0; i < REPL_SB_COPIES; i++)
		make(&copy[i], &l);
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
