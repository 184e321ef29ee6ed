// SPDX-License-Identifier: GPL-2.0-or-later
/* mkfs.repl: make a device into one copy of a replicated volume. */
#include <endian.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <repl/format.h>

#include "config.h"
#include "device.h"
#include "err.h"
#include "id.h"
#include "place.h"
#include "signature.h"
#include "super.h"
#include "units.h"

enum exit_code {
	EXIT_FAILED	= 1,
	EXIT_USAGE	= 2,
};

static const char usage_text[] =
"usage: mkfs.repl --name NAME [OPTION...] DEVICE\n"
"\n"
"Makes DEVICE into this node's copy of a replicated volume. Nothing but the\n"
"metadata area is written: it lies at the device's end, or on another device.\n"
"\n"
"  --name NAME         of the volume: the same on every node\n"
"  --adopt             the data on DEVICE are good: they become the volume\n"
"  --metadata DEVICE   put the metadata at the end of this device instead\n"
"  --slots N           room for N consumers of changes (default 8, at most 16)\n"
"  --size SIZE         make the volume smaller than it could be\n"
"  --block-size BYTES  512 or 4096: what /dev/replN offers (default 4096; with\n"
"                      --adopt that of DEVICE)\n"
"  --region-size SIZE  64K to 256M, a power of two (default 1M)\n"
"  --force             overwrite known signatures; accept a regular file; with\n"
"                      --adopt: I know that the end of DEVICE is free\n"
"  --help              show this\n";

struct options {
	const char *name;
	const char *device;
	const char *metadata;
	bool adopt;
	bool force;
	unsigned int slots;
	unsigned int block_size;	/* 0: not given */
	unsigned int region_shift;
	uint64_t size;			/* 0: not given */
};

struct copy {
	const struct options *o;
	struct device data;
	struct device meta;		/* with --metadata */
	const struct device *where;	/* of the two, the one that holds the metadata */
	struct super_layout layout;
	unsigned int block_size;
};

/* -- the command line ------------------------------------------------------ */

static int parse_power(const char *text, unsigned int min_shift, unsigned int max_shift,
		       unsigned int *shift)
{
	uint64_t bytes;

	if (units_parse_size(text, &bytes))
		return -EINVAL;
	for (unsigned int i = min_shift; i <= max_shift; i++) {
		if (bytes == 1ULL << i) {
			*shift = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_slots(const char *text, unsigned int *slots)
{
	char *end;

	if (strspn(text, "0123456789") != strlen(text) || !*text)
		return -EINVAL;
	errno = 0;
	*slots = strtoul(text, &end, 10);
	return errno || *slots < 1 || *slots > REPL_SLOTS_MAX ? -EINVAL : 0;
}

static int usage_error(const char *fmt, const char *value)
{
	fputs("mkfs.repl: ", stderr);
	fprintf(stderr, fmt, value);
	fputs("; see mkfs.repl --help\n", stderr);
	return -EINVAL;
}

enum option_id { OPT_NAME = 256, OPT_ADOPT, OPT_METADATA, OPT_SLOTS, OPT_SIZE, OPT_BLOCK_SIZE,
		 OPT_REGION_SIZE, OPT_FORCE };

static int take_option(struct options *o, int id, const char *value)
{
	unsigned int shift;

	switch (id) {
	case OPT_NAME:
		o->name = value;
		return config_valid_name(value) ? 0 :
		       usage_error("--name %s: letters, digits, '.', '_' and '-' make a name, at most 63, a letter or digit first",
				   value);
	case OPT_ADOPT:
		o->adopt = true;
		return 0;
	case OPT_FORCE:
		o->force = true;
		return 0;
	case OPT_METADATA:
		o->metadata = value;
		return 0;
	case OPT_SLOTS:
		return parse_slots(value, &o->slots) ?
		       usage_error("--slots %s: a number from 1 to 16 is expected", value) : 0;
	case OPT_SIZE:
		if (units_parse_size(value, &o->size) || o->size < REPL_DATA_MIN)
			return usage_error("--size %s: at least 1M is expected", value);
		return 0;
	case OPT_BLOCK_SIZE:
		if (parse_power(value, 9, 12, &shift) || (shift != 9 && shift != 12))
			return usage_error("--block-size %s: 512 or 4096 is expected", value);
		o->block_size = 1 << shift;
		return 0;
	case OPT_REGION_SIZE:
		return parse_power(value, REPL_REGION_SHIFT_MIN, REPL_REGION_SHIFT_MAX,
				   &o->region_shift) ?
		       usage_error("--region-size %s: a power of two from 64K to 256M is expected",
				   value) : 0;
	default:
		/* getopt_long() has said what is wrong. */
		return -EINVAL;
	}
}

static int parse_options(struct options *o, int argc, char **argv)
{
	static const struct option table[] = {
		{ "name", required_argument, NULL, OPT_NAME },
		{ "adopt", no_argument, NULL, OPT_ADOPT },
		{ "metadata", required_argument, NULL, OPT_METADATA },
		{ "slots", required_argument, NULL, OPT_SLOTS },
		{ "size", required_argument, NULL, OPT_SIZE },
		{ "block-size", required_argument, NULL, OPT_BLOCK_SIZE },
		{ "region-size", required_argument, NULL, OPT_REGION_SIZE },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	int id;

	while ((id = getopt_long(argc, argv, "h", table, NULL)) >= 0) {
		if (id == 'h') {
			fputs(usage_text, stdout);
			exit(EXIT_SUCCESS);
		}
		if (take_option(o, id, optarg))
			return -EINVAL;
	}
	if (argc - optind != 1)
		return usage_error("%s", argc == optind ? "name the device" :
				   "exactly one device is expected");
	if (!o->name)
		return usage_error("%s", "--name is missing");
	o->device = argv[optind];
	return 0;
}

/* -- what lies there ------------------------------------------------------- */

/* @data_expected: a file system is what --adopt is for. */
static int check_signatures(const struct device *d, const struct options *o, bool data_expected,
			    struct err *e)
{
	char found[256];
	int count;

	count = signature_find_copy(d, place_find(d->fd, d->size), found, sizeof(found), e);
	if (!count && !data_expected)
		count = signature_find(d, found, sizeof(found), e);
	if (count <= 0)
		return count;
	if (!o->force)
		return err_set(e, EEXIST,
			       "%s: holds %s; --force overwrites it, if nobody needs it any more",
			       d->path, found);
	fprintf(stderr, "mkfs.repl: %s: held %s\n", d->path, found);
	return 0;
}

static int check_adopted(const struct copy *c, struct err *e)
{
	uint64_t reach;
	int ret;

	if (c->layout.data_size == c->data.size)
		return 0;
	ret = signature_reach(&c->data, &reach, e);
	if (ret == -ENOTSUP && c->o->force)
		return 0;
	if (ret == -ENOTSUP)
		return err_set(e, EBUSY,
			       "%s: cannot tell whether its data end before byte %llu, where the volume would end; put the metadata on another device with --metadata, or make sure that the end is free and use --force",
			       c->data.path, (unsigned long long)c->layout.data_size);
	if (ret)
		return ret;
	if (reach > c->layout.data_size)
		return err_set(e, ENOSPC,
			       "%s: its file system reaches to byte %llu, but the volume would end at byte %llu; shrink the file system first, or put the metadata on another device with --metadata",
			       c->data.path, (unsigned long long)reach,
			       (unsigned long long)c->layout.data_size);
	return 0;
}

/* -- planning -------------------------------------------------------------- */

static int choose_block_size(struct copy *c, struct err *e)
{
	const struct options *o = c->o;
	unsigned int native = c->data.block_size;

	c->block_size = o->block_size ? o->block_size : o->adopt ? native : REPL_BLOCK_BYTES;
	if (native > REPL_BLOCK_BYTES)
		return err_set(e, EINVAL, "%s: has blocks of %u bytes; at most 4096 are supported",
			       c->data.path, native);
	if (c->block_size < native)
		return err_set(e, EINVAL, "%s: has blocks of %u bytes; --block-size cannot be smaller",
			       c->data.path, native);
	if (o->adopt && c->block_size != native)
		return err_set(e, EINVAL,
			       "%s: has blocks of %u bytes, and its data may rely on that; leave --block-size out",
			       c->data.path, native);
	return 0;
}

static int plan(struct copy *c, struct err *e)
{
	const struct options *o = c->o;
	struct super_layout *l = &c->layout;
	struct err why;
	int ret;

	ret = choose_block_size(c, e);
	if (ret)
		return ret;
	if (o->metadata)
		ret = super_layout_external(l, c->data.size, c->meta.size, o->slots,
					    o->region_shift, &why);
	else
		ret = super_layout_internal(l, c->data.size, o->slots, o->region_shift, &why);
	if (ret)
		return err_set(e, -ret, "%s: %s", ret == -ENOSPC ? c->where->path : c->data.path,
			       why.text);
	if (o->size > l->data_size)
		return err_set(e, ENOSPC, "%s: --size asks for %llu bytes, but only %llu are usable",
			       c->data.path, (unsigned long long)o->size,
			       (unsigned long long)l->data_size);
	if (o->size)
		l->data_size = o->size - o->size % REPL_BLOCK_BYTES;
	return o->adopt ? check_adopted(c, e) : 0;
}

static void fill_super(const struct copy *c, struct repl_super *sb)
{
	uint32_t flags = REPL_SB_MAPS | REPL_SB_STOPPED;

	memset(sb, 0, sizeof(*sb));
	memcpy(sb->magic, REPL_SB_MAGIC, sizeof(sb->magic));
	sb->version = htole32(REPL_FORMAT_VERSION);
	super_set_layout(sb, &c->layout);
	sb->lbs_shift = __builtin_ctz(c->block_size);
	sb->copy_id = id_random();
	strcpy((char *)sb->name, c->o->name);
	if (c->o->metadata)
		flags |= REPL_SB_EXTERNAL;
	if (c->o->adopt) {
		flags |= REPL_SB_IDENTITY | REPL_SB_CONSISTENT;
		sb->uuid = id_random();
		sb->generation = id_random();
	}
	sb->flags = htole32(flags);
}

/* -- writing --------------------------------------------------------------- */

static int write_super(const struct copy *c, struct repl_super *sb, unsigned int copy,
		       uint64_t sequence, struct err *e)
{
	uint64_t end = c->layout.meta_offset + c->layout.meta_size;
	void *buffer;
	int ret;

	if (posix_memalign(&buffer, REPL_META_ALIGN, REPL_SB_BYTES))
		return err_set(e, ENOMEM, "out of memory");
	sb->sequence = htole64(sequence);
	super_seal(sb);
	memcpy(buffer, sb, sizeof(*sb));
	ret = device_write(c->where, buffer, sizeof(*sb), super_copy_offset(end, copy), e);
	free(buffer);
	return ret;
}

static int clear_stale_at(const struct device *d, uint64_t end, struct err *e)
{
	uint64_t bytes = REPL_SB_COPIES * REPL_SB_BYTES;
	char found[256];
	int ret;

	ret = signature_find_copy(d, end, found, sizeof(found), e);
	if (ret <= 0)
		return ret;
	ret = device_zero(d, bytes, end - bytes, e);
	return ret ? ret : device_sync(d, e);
}

/*
 * Superblocks of a former life, at the end of a device or where the agent has noted one,
 * would be found first by a later fsck.
 */
static int clear_stale(const struct device *d, struct err *e)
{
	int ret = clear_stale_at(d, place_find(d->fd, d->size), e);

	return ret ? ret : clear_stale_at(d, device_meta_end(d), e);
}

/*
 * Until the last step there is no valid superblock: whatever interrupts this
 * leaves a device that is no copy, never one with somebody else's maps.
 */
static int write_copy(const struct copy *c, struct repl_super *sb, struct err *e)
{
	const struct super_layout *l = &c->layout;
	int ret;

	ret = clear_stale(&c->data, e);
	if (!ret && c->o->metadata)
		ret = clear_stale(&c->meta, e);
	if (!ret)
		ret = device_zero(c->where, l->meta_size, l->meta_offset, e);
	if (!ret)
		ret = device_sync(c->where, e);
	if (!ret)
		ret = write_super(c, sb, 1, 1, e);
	if (!ret)
		ret = write_super(c, sb, 0, 2, e);
	return ret ? ret : device_sync(c->where, e);
}

static void print_size(const char *what, uint64_t bytes, const char *rest)
{
	char human[UNITS_TEXT_MAX];

	printf("  %-10s %llu bytes (%s)%s", what, (unsigned long long)bytes,
	       units_format_bytes(bytes, human), rest);
}

static void print_copy(const struct copy *c, const struct repl_super *sb)
{
	const struct super_layout *l = &c->layout;
	char id[ID_TEXT_MAX], human[UNITS_TEXT_MAX];

	printf("%s: a copy of volume \"%s\"\n", c->data.path, c->o->name);
	print_size("usable", l->data_size, "");
	printf(", blocks of %u bytes\n", c->block_size);
	print_size("metadata", l->meta_size, "");
	printf(" on %s, from byte %llu to its end\n", c->where->path,
	       (unsigned long long)l->meta_offset);
	printf("  %-10s %u\n", "slots", l->slots);
	printf("  %-10s %s\n", "region", units_format_bytes(1ULL << l->region_shift, human));
	printf("  %-10s %s\n", "copy", id_format(&sb->copy_id, id));
	if (c->o->adopt)
		printf("  %-10s %s: the data in place are the volume\n", "volume",
		       id_format(&sb->uuid, id));
	else
		printf("  %-10s none yet: it is given one by its first leader, or by promotion with --force\n",
		       "volume");
	printf("Next: describe it in %s/volumes/%s.conf, then run: repl-ctl up %s\n", CONFIG_DIR,
	       c->o->name, c->o->name);
}

/* -- main ------------------------------------------------------------------ */

static int check_different(const struct options *o, struct err *e)
{
	struct stat data, meta;

	if (stat(o->device, &data) == 0 && stat(o->metadata, &meta) == 0 &&
	    (S_ISBLK(data.st_mode) ? data.st_rdev == meta.st_rdev && S_ISBLK(meta.st_mode) :
				     data.st_dev == meta.st_dev && data.st_ino == meta.st_ino))
		return err_set(e, EINVAL,
			       "%s: is the data device itself; without --metadata the metadata lie at its end",
			       o->metadata);
	return 0;
}

static int make_copy(struct copy *c, struct err *e)
{
	const struct options *o = c->o;
	struct repl_super sb;
	int ret;

	ret = check_signatures(&c->data, o, o->adopt, e);
	if (!ret && o->metadata)
		ret = check_signatures(&c->meta, o, false, e);
	if (!ret)
		ret = plan(c, e);
	if (ret)
		return ret;
	fill_super(c, &sb);
	ret = write_copy(c, &sb, e);
	if (!ret)
		print_copy(c, &sb);
	return ret;
}

static int run(const struct options *o, struct err *e)
{
	struct copy c = { .o = o };
	int ret;

	if (o->metadata) {
		ret = check_different(o, e);
		if (ret)
			return ret;
	}
	ret = device_open_exclusive(&c.data, o->device, o->force, e);
	if (ret)
		return ret;
	c.where = &c.data;
	if (o->metadata) {
		ret = device_open_exclusive(&c.meta, o->metadata, o->force, e);
		if (ret)
			goto close_data;
		c.where = &c.meta;
	}
	ret = make_copy(&c, e);
	if (o->metadata)
		device_close(&c.meta);
close_data:
	device_close(&c.data);
	return ret;
}

int main(int argc, char **argv)
{
	struct options o = {
		.slots = REPL_SLOTS_DEFAULT,
		.region_shift = REPL_REGION_SHIFT,
	};
	struct err e;

	if (parse_options(&o, argc, argv))
		return EXIT_USAGE;
	if (run(&o, &e)) {
		fprintf(stderr, "mkfs.repl: %s\n", e.text);
		return EXIT_FAILED;
	}
	if (fflush(stdout) == EOF) {
		perror("mkfs.repl: standard output");
		return EXIT_FAILED;
	}
	return EXIT_SUCCESS;
}
