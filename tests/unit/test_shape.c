// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How a volume grows, as the module computes it: at every edge the new shape is one that both the module and
 * fsck.repl accept, that lies beyond the old one, and that leaves no room unused.
 * needs: kmod/shape.c
 */
#include <linux/kernel.h>
#include "shape.h"

#include "err.h"
#include "super.h"
#include "tap.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)
#define TIB (1ULL << 40)

static uint64_t seed;

/* What mkfs.repl makes of a device, external metadata if @meta. */
static void make(struct repl_super *sb, uint64_t device, uint64_t meta, unsigned int slots,
		 unsigned int shift)
{
	struct super_layout l;

	memset(sb, 0, sizeof(*sb));
	memcpy(sb->magic, REPL_SB_MAGIC, sizeof(sb->magic));
	sb->version = htole32(REPL_FORMAT_VERSION);
	sb->sequence = htole64(1);
	sb->lbs_shift = 12;
	sb->copy_id.b[0] = 1;
	strcpy((char *)sb->name, "spool");
	sb->flags = htole32(meta ? REPL_SB_EXTERNAL : 0);
	need(!(meta ? super_layout_external(&l, device, meta, slots, shift, NULL) :
		      super_layout_internal(&l, device, slots, shift, NULL)), "a layout");
	super_set_layout(sb, &l);
}

static uint64_t area_end(const struct repl_super *sb)
{
	return le64toh(sb->meta_offset) + le64toh(sb->meta_size);
}

static bool note(const char *what, uint64_t number)
{
	printf("# %s: %llu\n", what, (unsigned long long)number);
	return false;
}

static void print_reason(void *arg, const char *reason)
{
	(void)arg;
	printf("# %s\n", reason);
}

/* To @size on devices of these sizes. */
static bool grows(const struct repl_super *from, uint64_t size, uint64_t device, uint64_t meta)
{
	struct repl_super to = *from;
	uint64_t where = meta ? meta : device;
	bool moves;

	shape_grow(&to, size, where);
	moves = to.meta_offset != from->meta_offset;
	super_seal(&to);
	if (le64toh(to.data_size) != size || !shape_ok(&to, device, where))
		return note("the module does not accept its own shape for", size);
	if (super_verify(&to, print_reason, NULL) ||
	    super_verify_place(&to, device, area_end(&to), meta, print_reason, NULL))
		return note("fsck.repl does not accept the shape for", size);
	if (moves && le64toh(to.meta_offset) < area_end(from))
		return note("the new metadata lie over the old for", size);
	if (moves && area_end(&to) != where / 4096 * 4096)
		return note("the new metadata do not end with the device for", size);
	return moves || area_end(&to) == area_end(from);
}

/* From one device size to another: all the room there is can be used, and no block more. */
static bool room_right(const struct repl_super *from, uint64_t device, uint64_t meta)
{
	uint64_t where = meta ? meta : device, old = le64toh(from->data_size);
	uint64_t room = shape_room(from, device, where);

	if (room < old || room % 4096)
		return note("impossible room", room);
	if (room == old)
		return true;
	if (shape_lacks(from, room, where))
		return note("it lacks something for its room of", room);
	return grows(from, room, device, meta) && grows(from, (old + room) / 8192 * 4096, device, meta) &&
	       grows(from, old + 4096, device, meta);
}

static void test_edges(void)
{
	static const uint64_t edges[] = { 2 * MIB, 128 * MIB, 256 * MIB, GIB, 32 * GIB, TIB, 1024 * TIB };
	static const unsigned int slots[] = { 1, 8, 16 }, shifts[] = { 16, 20, 28 };
	struct repl_super from;
	bool right = true;

	for (size_t e = 0; e < sizeof(edges) / sizeof(edges[0]); e++)
		for (unsigned int s = 0; s < 9; s++)
			for (int off = -3; off <= 3; off++) {
				make(&from, 2 * MIB, 0, slots[s / 3], shifts[s % 3]);
				right &= room_right(&from, edges[e] + (uint64_t)(off * 4096), 0);
				make(&from, edges[e] + (uint64_t)(off * 4096), 0, slots[s / 3], shifts[s % 3]);
				right &= room_right(&from, edges[e] + edges[e] / 2, 0);
				right &= room_right(&from, edges[e] + 4 * MIB, 0);
			}
	ok(right, "internal metadata, at powers of two and around them");
}

static void test_random(void)
{
	struct repl_super from;
	bool right = true;

	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t device = 2 * MIB + (random_next(&seed) >> (24 + random_below(&seed, 16)));
		uint64_t grown = device + (random_next(&seed) >> (26 + random_below(&seed, 30)));
		uint64_t meta = random_below(&seed, 2) ? device / 1024 + MIB : 0;
		uint64_t meta_grown = meta ? meta + (random_next(&seed) >> (34 + random_below(&seed, 20))) : 0;

		make(&from, device, meta, 1 + random_below(&seed, 16), 16 + random_below(&seed, 13));
		if (!room_right(&from, grown, meta_grown)) {
			right = note("round", i);
			break;
		}
	}
	ok(right, "any device that grows to any other, metadata inside or not");
}

static void test_room(void)
{
	struct repl_super sb;
	struct super_layout l;

	make(&sb, GIB, 0, 8, 20);
	is_number(shape_room(&sb, GIB, GIB), le64toh(sb.data_size), "a device that has not grown has no room");
	is_number(shape_room(&sb, GIB / 2, GIB / 2), le64toh(sb.data_size), "nor one that has shrunk");
	is_number(shape_room(&sb, GIB + 4096, GIB + 4096), le64toh(sb.data_size),
		  "nor one that grew by less than the metadata take");
	is_number(shape_lacks(&sb, GIB + 4096, GIB + 8192),
		  le64toh(sb.meta_size) + 4096 * 8 - 4096, "and how much it lacks is known");
	need(!super_layout_internal(&l, 2 * GIB, 8, 20, NULL), "a layout");
	is_number(shape_room(&sb, 2 * GIB, 2 * GIB), l.data_size, "one that has doubled has room as if made anew");
	make(&sb, GIB, MIB, 8, 20);
	is_number(shape_room(&sb, 2 * GIB, MIB), GIB, "external: the maps have no room to grow");
	is_number(shape_room(&sb, 2 * GIB, 3 * MIB), 2 * GIB, "until their device has");
	make(&sb, GIB - 8 * MIB, MIB, 8, 20);
	is_number(shape_room(&sb, 2 * GIB, MIB), GIB, "what the maps can hold, they can where they are");
}

int main(void)
{
	seed = random_seed();
	test_edges();
	test_random();
	test_room();
	return tap_end();
}
