// SPDX-License-Identifier: GPL-2.0-or-later
/* The superblock: layout, checksum, and that no damage passes for a valid one. */
#include <endian.h>
#include <errno.h>

#include "id.h"
#include "super.h"
#include "tap.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)
#define TIB (1ULL << 40)

enum {
	FUZZ_ROUNDS	= 20000,
	WHY_MAX		= 4096,
};

/* -- layout ---------------------------------------------------------------- */

static bool layout_holds(const struct super_layout *l, uint64_t end)
{
	uint64_t blocks = l->data_size / REPL_BLOCK_BYTES;
	uint64_t regions = (l->data_size + (1ULL << l->region_shift) - 1) >> l->region_shift;

	return l->data_size % 4096 == 0 && l->meta_offset % 4096 == 0 &&
	       l->map_bytes % 4096 == 0 && l->log_bytes % 4096 == 0 &&
	       l->map_bytes * 8 >= blocks && l->log_bytes * 8 >= regions &&
	       l->log_offset == l->slots * l->map_bytes &&
	       l->meta_size == l->log_offset + l->log_bytes + 8192 &&
	       l->meta_offset + l->meta_size == end;
}

static void test_internal(uint64_t size, unsigned int slots, unsigned int shift)
{
	struct super_layout l;
	struct err e = {};
	int ret = super_layout_internal(&l, size, slots, shift, &e);

	ok(ret == 0 && layout_holds(&l, size & ~4095ULL) && l.data_size == l.meta_offset,
	   "%llu bytes, %u slots, regions of 2^%u: %llu usable%s", (unsigned long long)size, slots,
	   shift, (unsigned long long)l.data_size, e.text);
}

static void test_layout(void)
{
	struct super_layout l;
	struct err e;

	test_internal(64 * MIB, 8, 20);
	test_internal(64 * MIB + 4095, 8, 20);
	test_internal(10 * GIB + 512, 1, 16);
	test_internal(2 * TIB, 16, 28);
	test_internal(1000 * TIB, 8, 20);
	ok(!super_layout_internal(&l, 64 * MIB, 8, 20, &e) && l.map_bytes == 4096 &&
	   l.log_bytes == 4096 && l.meta_size == 45056, "64 MiB: one page for each part");
	ok(!super_layout_internal(&l, 128 * MIB * 8, 8, 20, &e) && l.map_bytes == 32768,
	   "1 GiB: a map has 262144 bits");
	ok(!super_layout_internal(&l, MIB + 45056, 8, 20, &e) && l.data_size == MIB,
	   "the smallest device");
	ok(super_layout_internal(&l, MIB + 45055, 8, 20, &e) == -ENOSPC &&
	   strstr(e.text, "larger device"), "one byte less is refused: %s", e.text);
	ok(super_layout_internal(&l, 0, 8, 20, &e) == -ENOSPC, "an empty device is refused");
	ok(super_layout_internal(&l, UINT64_MAX, 8, 20, &e) == -EFBIG, "an endless one, too");
	ok(super_layout_internal(&l, REPL_DATA_MAX + TIB, 1, 20, &e) == -EFBIG,
	   "more than 1 PiB usable is refused");
	ok(super_layout_internal(&l, GIB, 0, 20, &e) == -EINVAL &&
	   super_layout_internal(&l, GIB, 17, 20, &e) == -EINVAL, "0 and 17 slots are refused");
	ok(super_layout_internal(&l, GIB, 8, 15, &e) == -EINVAL &&
	   super_layout_internal(&l, GIB, 8, 29, &e) == -EINVAL, "regions out of bounds are refused");
	ok(!super_layout_external(&l, GIB + 1000, MIB + 100, 8, 20, &e) && l.data_size == GIB &&
	   layout_holds(&l, MIB), "external: all the data device, the end of the other");
	ok(super_layout_external(&l, TIB, MIB, 8, 20, &e) == -ENOSPC &&
	   strstr(e.text, "metadata device"), "external and too small: %s", e.text);
	ok(super_layout_external(&l, 4096, MIB, 8, 20, &e) == -ENOSPC, "external, no data");
	ok(super_copy_offset(MIB, 0) == MIB - 4096 && super_copy_offset(MIB, 1) == MIB - 8192,
	   "the copies are the last two pages");
}

/* -- verification ---------------------------------------------------------- */

static struct repl_super sample(void)
{
	struct repl_super sb = {};
	struct super_layout l;

	need(!super_layout_internal(&l, GIB, 8, 20, NULL), "a layout");
	memcpy(sb.magic, REPL_SB_MAGIC, sizeof(sb.magic));
	sb.version = htole32(REPL_FORMAT_VERSION);
	sb.sequence = htole64(2);
	sb.lbs_shift = 12;
	sb.flags = htole32(REPL_SB_IDENTITY | REPL_SB_CONSISTENT | REPL_SB_MAPS);
	super_set_layout(&sb, &l);
	/* Not random, so that a seed repeats everything. */
	memset(&sb.uuid, 0x11, sizeof(sb.uuid));
	memset(&sb.copy_id, 0x22, sizeof(sb.copy_id));
	memset(&sb.generation, 0x33, sizeof(sb.generation));
	strcpy((char *)sb.name, "spool");
	sb.slot[0].kind = REPL_SLOT_PEER;
	sb.slot[0].key[0] = 1;
	super_seal(&sb);
	return sb;
}

static void note(void *arg, const char *reason)
{
	size_t used = strlen(arg);

	snprintf((char *)arg + used, WHY_MAX - used, "%s%s", used ? "; " : "", reason);
}

/* Applies a change, seals again, and expects a refusal that names this reason. */
#define refuses(change, errnum, words) do { \
	struct repl_super sb = sample(); \
	char why[WHY_MAX] = ""; \
	int ret; \
	change; \
	super_seal(&sb); \
	ret = super_verify(&sb, note, why); \
	if (!ok(ret == -(errnum) && strstr(why, words), "%s: %s", #change, words)) \
		printf("# got %d: %s\n", ret, why); \
} while (0)

static void test_header(void)
{
	refuses(sb.magic[0] = 'x', ENODATA, "no superblock");
	refuses(sb.version = htole32(2), EPROTONOSUPPORT, "version 2");
	refuses(sb.features = htole64(1), EPROTONOSUPPORT, "features 0x1");
	refuses(sb.flags |= htole32(1 << 10), EPROTONOSUPPORT, "unknown flags 0x400");
	refuses(sb.sequence = 0, EINVAL, "sequence number");
	refuses(sb.slots = 0, EINVAL, "slots");
	refuses(sb.slots = 17, EINVAL, "region log does not follow");
	refuses(sb.region_shift = 99, EINVAL, "region shift 99");
	refuses(sb.region_shift = 15, EINVAL, "region shift 15");
	refuses(sb.block_shift = 13, EINVAL, "block shift 13");
	refuses(sb.lbs_shift = 8, EINVAL, "logical block shift 8");
	refuses(sb.lbs_shift = 13, EINVAL, "logical block shift 13");
	refuses(memset(sb.name, 0, 64), EINVAL, "name is empty");
	refuses(memset(sb.name, 'x', 64), EINVAL, "not terminated");
	refuses(sb.name[63] = 1, EINVAL, "follow the end");
	refuses(sb.name[0] = 27, EINVAL, "printable");
	refuses(sb.reserved[503] = 1, EINVAL, "reserved");
	refuses(sb.reserved2[0] = 1, EINVAL, "reserved");
}

static void test_identity(void)
{
	refuses(memset(&sb.copy_id, 0, 16), EINVAL, "copy has no id");
	refuses(memset(&sb.uuid, 0, 16), EINVAL, "uuid is zero");
	refuses(memset(&sb.generation, 0, 16), EINVAL, "generation is zero");
	refuses(sb.flags = htole32(REPL_SB_CONSISTENT), EINVAL, "belongs to no volume");
	refuses(sb.history[3] = id_random(), EINVAL, "history");
	refuses(sb.slot[1].kind = 3, EINVAL, "slot 1: unknown kind 3");
	refuses(sb.slot[8].kind = REPL_SLOT_MARK, EINVAL, "slot 8 is used");
	refuses(sb.slot[0].flags = htole32(8), EINVAL, "slot 0: unknown flags");
	refuses(sb.slot[0].key[0] = 0, EINVAL, "without a key");
	refuses(sb.slot[15].reserved[0] = 1, EINVAL, "slot 15: reserved");
	refuses(sb.slot[2].pad0[1] = 1, EINVAL, "slot 2: reserved");
}

static void test_geometry(void)
{
	refuses(sb.data_size = 0, EINVAL, "out of bounds");
	refuses(sb.data_size = htole64(UINT64_MAX), EINVAL, "out of bounds");
	refuses(sb.data_size = htole64(16 * MIB + 512), EINVAL, "multiple of 4 KiB");
	refuses(sb.data_size = htole64(2 * GIB), EINVAL, "overlap");
	refuses(sb.data_size = htole64(TIB); sb.meta_offset = htole64(TIB), EINVAL, "too small");
	refuses(sb.map_bytes = htole64(UINT64_MAX - 4095), EINVAL, "impossibly large");
	refuses(sb.log_bytes = htole64(1ULL << 63), EINVAL, "impossibly large");
	refuses(sb.meta_offset = htole64(1ULL << 62), EINVAL, "impossibly large");
	refuses(sb.meta_offset = htole64(GIB + 1), EINVAL, "not aligned");
	refuses(sb.log_offset = 0, EINVAL, "does not follow");
	refuses(sb.meta_size = htole64(4096), EINVAL, "that of its parts");
	refuses(sb.log_bytes = 0, EINVAL, "parts");
}

static void test_checksum(void)
{
	struct repl_super sb = sample();
	char why[WHY_MAX] = "";
	int caught = 0;

	ok(super_crc32c("123456789", 9) == 0xe3069283, "CRC32C of the check string");
	ok(super_crc32c("", 0) == 0, "CRC32C of nothing");
	ok(super_verify(&sb, NULL, NULL) == 0, "a good superblock is accepted");
	for (size_t byte = 0; byte < sizeof(sb); byte++) {
		for (int bit = 0; bit < 8; bit++) {
			((uint8_t *)&sb)[byte] ^= 1 << bit;
			caught += super_verify(&sb, NULL, NULL) != 0;
			((uint8_t *)&sb)[byte] ^= 1 << bit;
		}
	}
	is_number(caught, REPL_SB_BYTES * 8, "every single flipped bit is noticed");
	sb.name[0] ^= 1;
	ok(super_verify(&sb, note, why) == -EBADMSG && strstr(why, "checksum"), "and named: %s", why);
}

static void misplaced(const struct repl_super *sb, uint64_t size, uint64_t end, bool external,
		      const char *words)
{
	char why[WHY_MAX] = "";

	ok(super_verify_place(sb, size, end, external, note, why) == -EINVAL && strstr(why, words),
	   "misplaced: %s", why);
}

static void test_place(void)
{
	struct repl_super sb = sample();

	ok(!super_verify_place(&sb, GIB, GIB, false, NULL, NULL), "where it says it is");
	misplaced(&sb, GIB, GIB + 4096, false, "found to end");
	misplaced(&sb, 512 * MIB, GIB, false, "device only 536870912");
	misplaced(&sb, GIB, GIB, true, "--metadata");
	sb.flags |= htole32(REPL_SB_EXTERNAL);
	misplaced(&sb, GIB, GIB, false, "another device");
}

/* -- two copies ------------------------------------------------------------ */

static void test_choice(void)
{
	struct repl_super c[2] = { sample(), {} };
	struct err e;

	c[1] = c[0];
	c[1].sequence = htole64(3);
	super_seal(&c[1]);
	is_number(super_choose(c, &e), 1, "the newer copy counts");
	c[1].sequence = htole64(1);
	super_seal(&c[1]);
	is_number(super_choose(c, &e), 0, "whichever it is");
	c[0].sequence = htole64(UINT64_MAX);
	super_seal(&c[0]);
	is_number(super_choose(c, &e), 0, "up to the largest number");
	c[0].name[0] = 'x';
	is_number(super_choose(c, &e), 1, "a damaged newer copy does not count");
	c[1].version = htole32(9);
	super_seal(&c[1]);
	ok(super_choose(c, &e) < 0 && strstr(e.text, "checksum") && strstr(e.text, "version 9"),
	   "neither: %s", e.text);
	c[0] = sample();
	c[0].sequence = htole64(4);
	super_seal(&c[0]);
	c[1] = c[0];
	c[1].features = htole64(8);
	super_seal(&c[1]);
	is_number(super_choose(c, &e), 0, "what is unknown, and not newer, does not count");
	c[1].sequence = htole64(5);
	super_seal(&c[1]);
	ok(super_choose(c, &e) == -EPROTONOSUPPORT && strstr(e.text, "features 0x8"),
	   "what is unknown, and newer, is no reason to go back to the older one: %s", e.text);
	c[1].features = 0;
	c[1].flags = htole32(1U << 31);
	super_seal(&c[1]);
	ok(super_choose(c, &e) == -EPROTONOSUPPORT && strstr(e.text, "flags 0x8"), "nor is a flag: %s", e.text);
	memset(c, 0, sizeof(c));
	is_number(super_choose(c, &e), -ENODATA, "two blank ones are no superblock");
	c[1] = sample();
	c[1].name[0] = 'x';
	is_number(super_choose(c, &e), -EBADMSG, "one blank and one damaged: damaged");
}

/* A write that the power cut short: any prefix of a new superblock over the old. */
static void test_torn(void)
{
	struct repl_super old[2] = { sample(), {} }, fresh, torn[2];
	int wrong = 0;

	old[1] = old[0];
	old[1].sequence = htole64(1);
	super_seal(&old[1]);
	fresh = old[1];
	fresh.sequence = htole64(3);
	fresh.epoch = htole64(77);
	fresh.generation = id_random();
	fresh.slot[7].kind = REPL_SLOT_MARK;
	super_seal(&fresh);
	for (size_t bytes = 0; bytes <= sizeof(fresh); bytes++) {
		int chosen;

		memcpy(torn, old, sizeof(torn));
		memcpy(&torn[1], &fresh, bytes);
		chosen = super_choose(torn, NULL);
		if (chosen == 1 ? memcmp(&torn[1], &fresh, sizeof(fresh)) : chosen != 0)
			wrong++;
	}
	is_number(wrong, 0, "a write torn at any byte: the old state or the new one");
}

/* -- random damage --------------------------------------------------------- */

static void damage(struct repl_super *sb, uint64_t *state)
{
	uint64_t count = 1 + random_below(state, 8);

	/* Mostly the header, where the numbers are. */
	while (count--) {
		size_t limit = random_below(state, 4) ? 256 : sizeof(*sb);

		((uint8_t *)sb)[random_below(state, limit)] = random_below(state, 3) ?
			random_next(state) : 0xff;
	}
}

/* Even with a right checksum nothing may pass that would lead outside of the device. */
static void test_fuzz(uint64_t seed)
{
	uint64_t state = seed;
	int insane = 0, refused = 0;

	for (int i = 0; i < FUZZ_ROUNDS; i++) {
		struct repl_super sb = sample();
		struct super_layout l;

		damage(&sb, &state);
		if (random_below(&state, 8))
			super_seal(&sb);
		if (super_verify(&sb, NULL, NULL)) {
			refused++;
			continue;
		}
		super_get_layout(&sb, &l);
		if (!layout_holds(&l, l.meta_offset + l.meta_size) ||
		    (!(le32toh(sb.flags) & REPL_SB_EXTERNAL) && l.meta_offset < l.data_size))
			insane++;
	}
	is_number(insane, 0, "no damaged superblock with an impossible layout passes");
	ok(refused > FUZZ_ROUNDS / 10 && refused < FUZZ_ROUNDS, "the damage mattered: %d of %d refused",
	   refused, FUZZ_ROUNDS);
}

int main(void)
{
	test_layout();
	test_header();
	test_identity();
	test_geometry();
	test_checksum();
	test_place();
	test_choice();
	test_torn();
	test_fuzz(random_seed());
	return tap_end();
}
