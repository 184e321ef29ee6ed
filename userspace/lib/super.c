// SPDX-License-Identifier: GPL-2.0-or-later
#include "super.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "id.h"

/* -- layout ---------------------------------------------------------------- */

static uint64_t align_down(uint64_t bytes)
{
	return bytes & ~(uint64_t)(REPL_META_ALIGN - 1);
}

static uint64_t align_up(uint64_t bytes)
{
	return align_down(bytes + REPL_META_ALIGN - 1);
}

/* Bytes of a bitmap with one bit for each 1 << @shift bytes of @size, aligned. */
static uint64_t bitmap_bytes(uint64_t size, unsigned int shift)
{
	uint64_t bits = (size + (1ULL << shift) - 1) >> shift;

	return align_up((bits + 7) / 8);
}

static uint64_t meta_bytes(uint64_t log_offset, uint64_t log_bytes)
{
	return log_offset + log_bytes + REPL_SB_COPIES * REPL_SB_BYTES;
}

static int layout_parts(struct super_layout *l, uint64_t size, unsigned int slots,
			unsigned int region_shift, struct err *e)
{
	if (slots < 1 || slots > REPL_SLOTS_MAX)
		return err_set(e, EINVAL, "%u slots: 1 to %d can be reserved", slots,
			       REPL_SLOTS_MAX);
	if (region_shift < REPL_REGION_SHIFT_MIN || region_shift > REPL_REGION_SHIFT_MAX)
		return err_set(e, EINVAL, "a region is a power of two from 64 KiB to 256 MiB");
	if (size > 2 * REPL_DATA_MAX)
		return err_set(e, EFBIG, "the device is larger than 1 PiB; a volume cannot be");
	l->slots = slots;
	l->region_shift = region_shift;
	l->map_bytes = bitmap_bytes(size, REPL_BLOCK_SHIFT);
	l->log_offset = slots * l->map_bytes;
	l->log_bytes = bitmap_bytes(size, region_shift);
	l->meta_size = meta_bytes(l->log_offset, l->log_bytes);
	return 0;
}

static int check_data_size(const struct super_layout *l, struct err *e)
{
	if (l->data_size < REPL_DATA_MIN)
		return err_set(e, ENOSPC, "only %llu bytes would be usable; a volume has at least 1 MiB",
			       (unsigned long long)l->data_size);
	if (l->data_size > REPL_DATA_MAX)
		return err_set(e, EFBIG, "%llu bytes would be usable; a volume has at most 1 PiB",
			       (unsigned long long)l->data_size);
	return 0;
}

int super_layout_internal(struct super_layout *l, uint64_t device_size, unsigned int slots,
			  unsigned int region_shift, struct err *e)
{
	uint64_t end = align_down(device_size);
	/* Sized for the whole device: a little generous, and needs no iteration. */
	int ret = layout_parts(l, end, slots, region_shift, e);

	if (ret)
		return ret;
	if (end < l->meta_size + REPL_DATA_MIN)
		return err_set(e, ENOSPC,
			       "the device has %llu bytes, too few for %llu bytes of metadata and 1 MiB of data; reserve fewer slots or take a larger device",
			       (unsigned long long)device_size, (unsigned long long)l->meta_size);
	l->meta_offset = end - l->meta_size;
	l->data_size = l->meta_offset;
	return check_data_size(l, e);
}

int super_layout_external(struct super_layout *l, uint64_t data_size, uint64_t meta_device_size,
			  unsigned int slots, unsigned int region_shift, struct err *e)
{
	uint64_t end = align_down(meta_device_size);
	int ret;

	l->data_size = align_down(data_size);
	ret = layout_parts(l, l->data_size, slots, region_shift, e);
	if (ret)
		return ret;
	if (end < l->meta_size)
		return err_set(e, ENOSPC,
			       "the metadata device has %llu bytes, but %llu are needed; reserve fewer slots or take a larger device",
			       (unsigned long long)meta_device_size,
			       (unsigned long long)l->meta_size);
	l->meta_offset = end - l->meta_size;
	return check_data_size(l, e);
}

uint64_t super_copy_offset(uint64_t meta_end, unsigned int copy)
{
	return meta_end - (copy + 1) * (uint64_t)REPL_SB_BYTES;
}

void super_set_layout(struct repl_super *sb, const struct super_layout *l)
{
	sb->slots = l->slots;
	sb->region_shift = l->region_shift;
	sb->block_shift = REPL_BLOCK_SHIFT;
	sb->data_size = htole64(l->data_size);
	sb->meta_offset = htole64(l->meta_offset);
	sb->meta_size = htole64(l->meta_size);
	sb->map_bytes = htole64(l->map_bytes);
	sb->log_offset = htole64(l->log_offset);
	sb->log_bytes = htole64(l->log_bytes);
}

void super_get_layout(const struct repl_super *sb, struct super_layout *l)
{
	l->slots = sb->slots;
	l->region_shift = sb->region_shift;
	l->data_size = le64toh(sb->data_size);
	l->meta_offset = le64toh(sb->meta_offset);
	l->meta_size = le64toh(sb->meta_size);
	l->map_bytes = le64toh(sb->map_bytes);
	l->log_offset = le64toh(sb->log_offset);
	l->log_bytes = le64toh(sb->log_bytes);
}

/* -- checksum -------------------------------------------------------------- */

static uint32_t crc_add(uint32_t crc, const void *data, size_t bytes)
{
	/* CRC32C of the 16 values of a nibble, reflected polynomial 0x82f63b78. */
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
		0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
		0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};
	const uint8_t *at = data;

	while (bytes--) {
		crc ^= *at++;
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return crc;
}

uint32_t super_crc32c(const void *data, size_t bytes)
{
	return ~crc_add(~0u, data, bytes);
}

static uint32_t super_crc(const struct repl_super *sb)
{
	static const uint8_t zero[sizeof(sb->crc)];
	size_t before = offsetof(struct repl_super, crc);
	size_t after = before + sizeof(sb->crc);
	uint32_t crc = crc_add(~0u, sb, before);

	crc = crc_add(crc, zero, sizeof(zero));
	return ~crc_add(crc, (const uint8_t *)sb + after, sizeof(*sb) - after);
}

void super_seal(struct repl_super *sb)
{
	sb->crc = htole32(super_crc(sb));
}

/* -- checks ---------------------------------------------------------------- */

struct verifier {
	const struct repl_super *sb;
	super_report *report;
	void *arg;
	int ret;
};

static void fault(struct verifier *v, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The first fault decides what super_verify() returns: they come gravest first. */
static void fault(struct verifier *v, int errnum, const char *fmt, ...)
{
	char text[256];
	va_list args;

	if (!v->ret)
		v->ret = -errnum;
	if (!v->report)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	v->report(v->arg, text);
}

static bool all_zero(const void *data, size_t bytes)
{
	const uint8_t *at = data;

	while (bytes--) {
		if (*at++)
			return false;
	}
	return true;
}

static bool is_printable(const uint8_t *text, size_t length)
{
	while (length--) {
		if (*text <= ' ' || *text++ > '~')
			return false;
	}
	return true;
}

bool super_is_blank(const struct repl_super *sb)
{
	return memcmp(sb->magic, REPL_SB_MAGIC, sizeof(sb->magic)) != 0;
}

static void verify_header(struct verifier *v)
{
	const struct repl_super *sb = v->sb;
	uint32_t flags = le32toh(sb->flags);
	size_t length = strnlen((const char *)sb->name, sizeof(sb->name));

	if (flags & ~REPL_SB_FLAGS_ALL)
		fault(v, EPROTONOSUPPORT, "unknown flags 0x%x", flags & ~REPL_SB_FLAGS_ALL);
	if (!le64toh(sb->sequence))
		fault(v, EINVAL, "the sequence number is 0");
	if (sb->slots < 1 || sb->slots > REPL_SLOTS_MAX)
		fault(v, EINVAL, "%u slots reserved, 1 to %d are possible", sb->slots,
		      REPL_SLOTS_MAX);
	if (sb->region_shift < REPL_REGION_SHIFT_MIN || sb->region_shift > REPL_REGION_SHIFT_MAX)
		fault(v, EINVAL, "region shift %u is not in %d..%d", sb->region_shift,
		      REPL_REGION_SHIFT_MIN, REPL_REGION_SHIFT_MAX);
	if (sb->block_shift != REPL_BLOCK_SHIFT)
		fault(v, EINVAL, "block shift %u is not %d", sb->block_shift, REPL_BLOCK_SHIFT);
	if (sb->lbs_shift < 9 || sb->lbs_shift > 12)
		fault(v, EINVAL, "logical block shift %u is not in 9..12", sb->lbs_shift);
	if (!length || length == sizeof(sb->name))
		fault(v, EINVAL, "the name is empty or not terminated");
	else if (!all_zero(sb->name + length, sizeof(sb->name) - length))
		fault(v, EINVAL, "bytes follow the end of the name");
	else if (!is_printable(sb->name, length))
		fault(v, EINVAL, "the name holds bytes that are no printable ASCII");
	if (!all_zero(sb->reserved, sizeof(sb->reserved)) ||
	    !all_zero(sb->reserved2, sizeof(sb->reserved2)))
		fault(v, EINVAL, "reserved bytes are not zero");
}

static void verify_identity(struct verifier *v)
{
	const struct repl_super *sb = v->sb;
	uint32_t flags = le32toh(sb->flags);
	bool ended = false;

	if (id_is_zero(&sb->copy_id))
		fault(v, EINVAL, "the copy has no id");
	if ((flags & REPL_SB_IDENTITY) && id_is_zero(&sb->uuid))
		fault(v, EINVAL, "flags say that the copy belongs to a volume, but its uuid is zero");
	if ((flags & REPL_SB_CONSISTENT) && !(flags & REPL_SB_IDENTITY))
		fault(v, EINVAL, "flags say consistent, but the copy belongs to no volume");
	if ((flags & REPL_SB_CONSISTENT) && id_is_zero(&sb->generation))
		fault(v, EINVAL, "flags say consistent, but the generation is zero");
	for (unsigned int i = 0; i < REPL_HISTORY; i++) {
		if (id_is_zero(&sb->history[i]))
			ended = true;
		else if (ended)
			fault(v, EINVAL, "generation %u of the history follows an empty one", i);
	}
}

static void verify_geometry(struct verifier *v)
{
	struct super_layout l;

	super_get_layout(v->sb, &l);
	if (l.data_size < REPL_DATA_MIN || l.data_size > REPL_DATA_MAX) {
		fault(v, EINVAL, "the data size, %llu, is out of bounds",
		      (unsigned long long)l.data_size);
		return;
	}
	/* Bounds first: everything below may then be added up without overflow. */
	if (l.map_bytes > REPL_DATA_MAX || l.log_bytes > REPL_DATA_MAX ||
	    l.meta_offset > 4 * REPL_DATA_MAX) {
		fault(v, EINVAL, "the map, the log or the metadata offset is impossibly large");
		return;
	}
	if (l.data_size % REPL_BLOCK_BYTES)
		fault(v, EINVAL, "the data size, %llu, is no multiple of 4 KiB",
		      (unsigned long long)l.data_size);
	if (l.meta_offset % REPL_META_ALIGN || l.map_bytes % REPL_META_ALIGN ||
	    l.log_bytes % REPL_META_ALIGN)
		fault(v, EINVAL, "a part of the metadata is not aligned to 4 KiB");
	if (l.map_bytes < bitmap_bytes(l.data_size, REPL_BLOCK_SHIFT))
		fault(v, EINVAL, "a map of %llu bytes is too small for the data",
		      (unsigned long long)l.map_bytes);
	if (l.region_shift <= REPL_REGION_SHIFT_MAX &&
	    l.log_bytes < bitmap_bytes(l.data_size, l.region_shift))
		fault(v, EINVAL, "a region log of %llu bytes is too small for the data",
		      (unsigned long long)l.log_bytes);
	if (l.log_offset != l.slots * l.map_bytes)
		fault(v, EINVAL, "the region log does not follow the maps");
	if (l.meta_size != meta_bytes(l.log_offset, l.log_bytes))
		fault(v, EINVAL, "the metadata's size is not that of its parts");
	if (!(le32toh(v->sb->flags) & REPL_SB_EXTERNAL) && l.meta_offset < l.data_size)
		fault(v, EINVAL, "the data overlap the metadata");
}

static void verify_slots(struct verifier *v)
{
	for (unsigned int i = 0; i < REPL_SLOTS_MAX; i++) {
		const struct repl_super_slot *slot = &v->sb->slot[i];
		uint32_t flags = le32toh(slot->flags);

		if (slot->kind > REPL_SLOT_MARK)
			fault(v, EINVAL, "slot %u: unknown kind %u", i, slot->kind);
		if (slot->kind != REPL_SLOT_FREE && i >= v->sb->slots)
			fault(v, EINVAL, "slot %u is used, but only %u were reserved", i,
			      v->sb->slots);
		if (flags & ~REPL_SS_FLAGS_ALL)
			fault(v, EINVAL, "slot %u: unknown flags 0x%x", i,
			      flags & ~REPL_SS_FLAGS_ALL);
		if (slot->kind == REPL_SLOT_PEER && all_zero(slot->key, sizeof(slot->key)))
			fault(v, EINVAL, "slot %u: a peer without a key", i);
		if (!all_zero(slot->pad0, sizeof(slot->pad0)) ||
		    !all_zero(slot->reserved, sizeof(slot->reserved)))
			fault(v, EINVAL, "slot %u: reserved bytes are not zero", i);
	}
}

int super_verify(const struct repl_super *sb, super_report *report, void *arg)
{
	struct verifier v = { .sb = sb, .report = report, .arg = arg };
	uint32_t crc = super_crc(sb);

	if (super_is_blank(sb)) {
		fault(&v, ENODATA, "there is no superblock");
		return v.ret;
	}
	/* What a damaged or a future superblock says beyond this means nothing. */
	if (le32toh(sb->crc) != crc) {
		fault(&v, EBADMSG, "the checksum is 0x%08x, but the content gives 0x%08x",
		      le32toh(sb->crc), crc);
		return v.ret;
	}
	if (le32toh(sb->version) != REPL_FORMAT_VERSION) {
		fault(&v, EPROTONOSUPPORT, "format version %u; this program knows version %d",
		      le32toh(sb->version), REPL_FORMAT_VERSION);
		return v.ret;
	}
	if (le64toh(sb->features)) {
		fault(&v, EPROTONOSUPPORT, "features 0x%llx that this program does not know",
		      (unsigned long long)le64toh(sb->features));
		return v.ret;
	}
	verify_header(&v);
	verify_identity(&v);
	verify_geometry(&v);
	verify_slots(&v);
	return v.ret;
}

int super_verify_place(const struct repl_super *sb, uint64_t data_device_size,
		       uint64_t meta_end, bool external, super_report *report, void *arg)
{
	struct verifier v = { .sb = sb, .report = report, .arg = arg };
	bool says_external = le32toh(sb->flags) & REPL_SB_EXTERNAL;
	struct super_layout l;

	super_get_layout(sb, &l);
	if (says_external && !external)
		fault(&v, EINVAL, "this is the metadata of a volume whose data lie on another device");
	if (!says_external && external)
		fault(&v, EINVAL, "this superblock's data lie on the same device; leave --metadata out");
	if (l.meta_offset + l.meta_size != meta_end)
		fault(&v, EINVAL, "the metadata say that they end at byte %llu, but were found to end at %llu",
		      (unsigned long long)(l.meta_offset + l.meta_size),
		      (unsigned long long)meta_end);
	if (l.data_size > data_device_size)
		fault(&v, EINVAL, "the volume has %llu bytes, but the device only %llu",
		      (unsigned long long)l.data_size, (unsigned long long)data_device_size);
	return v.ret;
}

static void keep_first(void *arg, const char *reason)
{
	char *text = arg;

	if (!*text)
		snprintf(text, 256, "%s", reason);
}

int super_choose(const struct repl_super copy[REPL_SB_COPIES], struct err *e)
{
	char why[REPL_SB_COPIES][256] = {};
	int ret[REPL_SB_COPIES];

	for (unsigned int i = 0; i < REPL_SB_COPIES; i++)
		ret[i] = super_verify(&copy[i], keep_first, why[i]);
	if (!ret[0] && !ret[1])
		return le64toh(copy[1].sequence) > le64toh(copy[0].sequence);
	for (unsigned int i = 0; i < REPL_SB_COPIES; i++)
		if (ret[i] == -EPROTONOSUPPORT && le64toh(copy[i].sequence) > le64toh(copy[!i].sequence))
			return err_set(e, EPROTONOSUPPORT, "superblock copy %u is the newer one, and of a newer format, which only newer programs and modules can use: %s",
				       i, why[i]);
	if (!ret[0] || !ret[1])
		return !!ret[0];
	/* "No superblock" says less than whatever is wrong with the other copy. */
	if (ret[0] == -ENODATA && ret[1] == -ENODATA)
		return err_set(e, ENODATA, "there is no superblock");
	err_set(e, EINVAL, "neither superblock copy is usable: copy 0: %s; copy 1: %s", why[0], why[1]);
	return ret[0] == -ENODATA ? ret[1] : ret[0];
}
