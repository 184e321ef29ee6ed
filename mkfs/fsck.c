// SPDX-License-Identifier: GPL-2.0-or-later
/* fsck.repl: show a copy's metadata and what is wrong with them. Changes nothing. */
#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <repl/format.h>

#include "device.h"
#include "err.h"
#include "id.h"
#include "key.h"
#include "place.h"
#include "super.h"
#include "units.h"

/* As fsck(8) has them. */
enum exit_code {
	EXIT_CLEAN	= 0,
	EXIT_ERRORS	= 4,
	EXIT_FAILED	= 8,
	EXIT_USAGE	= 16,
};

enum fsck_limits {
	FSCK_CHUNK	= 1 << 20,
	FSCK_PROBLEMS	= 64,
};

static const char usage_text[] =
"usage: fsck.repl [OPTION...] DEVICE\n"
"\n"
"Prints the metadata of a volume's copy and checks them. Changes nothing on it.\n"
"\n"
"  --metadata DEVICE   the metadata lie on this device\n"
"  --meta-end BYTES    the metadata end here, not at the device's end, nor where\n"
"                      this node's agent has noted\n"
"  --json              print one JSON object\n"
"  --help              show this\n"
"\n"
"Exit status: 0 no errors, 4 errors found, 8 cannot read, 16 usage.\n";

struct options {
	const char *device;
	const char *metadata;
	uint64_t meta_end;	/* 0: not given */
	bool json;
};

/* Everything that was found out; printed as text or as JSON at the end. */
struct report {
	struct device data;
	struct device meta;
	const struct device *where;	/* of the two, the one that holds the metadata */
	bool in_use;
	uint64_t meta_end;
	struct repl_super copy[REPL_SB_COPIES];
	int valid[REPL_SB_COPIES];	/* 0, or the errno of super_verify() */
	int chosen;			/* a copy, or a negative errno */
	uint64_t regions;
	uint64_t logged;		/* regions that the log names */
	uint64_t dirty[REPL_SLOTS_MAX];	/* blocks that each slot would be attached with */
	char *problem[FSCK_PROBLEMS];
	size_t problems;
	size_t untold;			/* beyond FSCK_PROBLEMS */
	const char *prefix;		/* of the problems that come now */
};

static void add_problem(void *arg, const char *reason)
{
	struct report *r = arg;

	if (r->problems == FSCK_PROBLEMS ||
	    asprintf(&r->problem[r->problems], "%s%s", r->prefix, reason) < 0) {
		r->untold++;
		return;
	}
	r->problems++;
}

/* -- checking -------------------------------------------------------------- */

/* What mkfs.repl wrote and nothing ever changes. */
static bool same_copy(const struct repl_super *a, const struct repl_super *b)
{
	struct super_layout la, lb;

	memset(&la, 0, sizeof(la));
	memset(&lb, 0, sizeof(lb));
	super_get_layout(a, &la);
	super_get_layout(b, &lb);
	return id_equal(&a->copy_id, &b->copy_id) && memcmp(&la, &lb, sizeof(la)) == 0 &&
	       memcmp(a->name, b->name, sizeof(a->name)) == 0 && a->lbs_shift == b->lbs_shift;
}

static void check_copies(struct report *r)
{
	static const char *const prefix[REPL_SB_COPIES] = {
		"superblock copy 0: ", "superblock copy 1: "
	};
	const struct repl_super *c = r->copy;

	for (unsigned int i = 0; i < REPL_SB_COPIES; i++) {
		r->prefix = prefix[i];
		r->valid[i] = super_verify(&c[i], add_problem, r);
	}
	r->prefix = "";
	r->chosen = super_choose(c, NULL);
	if (r->valid[0] || r->valid[1])
		return;
	if (!same_copy(&c[0], &c[1]))
		add_problem(r, "the superblock copies describe different copies of a volume");
	else if (c[0].sequence == c[1].sequence && memcmp(&c[0], &c[1], sizeof(c[0])) != 0)
		add_problem(r, "the superblock copies have the same sequence number and differ");
}

static uint64_t count_bits(const uint8_t *data, uint64_t bits)
{
	uint64_t count = 0;

	for (; bits >= 8; bits -= 8)
		count += __builtin_popcount(*data++);
	if (bits)
		count += __builtin_popcount(*data & ((1u << bits) - 1));
	return count;
}

/* Counts the bits that are set among the first @bits of a bitmap. */
static int count_bitmap(const struct device *d, uint64_t offset, uint64_t bits, uint64_t *count,
			struct err *e)
{
	const uint64_t chunk_bits = (uint64_t)FSCK_CHUNK * 8;
	void *buffer;
	int ret = 0;

	*count = 0;
	if (posix_memalign(&buffer, REPL_META_ALIGN, FSCK_CHUNK))
		return err_set(e, ENOMEM, "out of memory");
	while (bits && !ret) {
		uint64_t now = bits < chunk_bits ? bits : chunk_bits;
		size_t bytes = (now / 8 + REPL_META_ALIGN) & ~(uint64_t)(REPL_META_ALIGN - 1);

		if (bytes > FSCK_CHUNK)
			bytes = FSCK_CHUNK;
		ret = device_read(d, buffer, bytes, offset, e);
		if (!ret)
			*count += count_bits(buffer, now);
		bits -= now;
		offset += bytes;
	}
	free(buffer);
	return ret;
}

/* Otherwise every block is dirty, whatever the map says. */
static bool map_counts(const struct repl_super *sb, unsigned int slot)
{
	return (le32toh(sb->flags) & REPL_SB_MAPS) &&
	       !(le32toh(sb->slot[slot].flags) & REPL_SS_FULL);
}

static void read_bitmaps(struct report *r)
{
	const struct repl_super *sb = &r->copy[r->chosen];
	struct super_layout l;
	struct err e;

	super_get_layout(sb, &l);
	r->regions = (l.data_size + (1ULL << l.region_shift) - 1) >> l.region_shift;
	r->prefix = "region log: ";
	if (count_bitmap(r->where, l.meta_offset + l.log_offset, r->regions, &r->logged, &e))
		add_problem(r, e.text);
	r->prefix = "slot map: ";
	for (unsigned int i = 0; i < l.slots; i++) {
		if (sb->slot[i].kind == REPL_SLOT_FREE)
			continue;
		if (!map_counts(sb, i))
			r->dirty[i] = l.data_size >> REPL_BLOCK_SHIFT;
		else if (count_bitmap(r->where, l.meta_offset + i * l.map_bytes,
				 l.data_size >> REPL_BLOCK_SHIFT, &r->dirty[i], &e))
			add_problem(r, e.text);
	}
	r->prefix = "";
}

static int check(struct report *r, const struct options *o, struct err *e)
{
	int ret;

	ret = device_read_supers(r->where, r->meta_end, r->copy, e);
	if (ret)
		return ret;
	if (super_is_blank(&r->copy[0]) && super_is_blank(&r->copy[1]))
		return err_set(e, ENODATA,
			       "%s: holds no repl metadata that end at byte %llu; they may lie on another device (--metadata) or before a part that was added (--meta-end)",
			       r->where->path, (unsigned long long)r->meta_end);
	check_copies(r);
	if (r->chosen < 0)
		return 0;
	if (super_verify_place(&r->copy[r->chosen], r->data.size, r->meta_end, !!o->metadata,
			       add_problem, r))
		return 0;
	read_bitmaps(r);
	/* Who had to say it once need not say it again; nor need repl-ctl up be told. */
	if (o->meta_end && place_note(&r->copy[r->chosen].copy_id, r->meta_end, e))
		fprintf(stderr, "fsck.repl: %s\n", e->text);
	return 0;
}

/* -- words ----------------------------------------------------------------- */

static const struct flag_word {
	uint32_t flag;
	const char *word;
} super_words[] = {
	{ REPL_SB_CONSISTENT,	"consistent" },
	{ REPL_SB_MAPS,		"maps" },
	{ REPL_SB_PRIMARY,	"primary" },
	{ REPL_SB_IDENTITY,	"identity" },
	{ REPL_SB_EXTERNAL,	"external" },
	{ REPL_SB_BY_PEER_DEAD,	"by-peer-dead" },
	{ REPL_SB_BY_FORCE,	"by-force" },
	{ REPL_SB_UNPROVEN,	"unproven" },
	{ REPL_SB_STOPPED,	"stopped" },
	{ REPL_SB_CRASHED,	"crashed" },
	{}
}, slot_words[] = {
	{ REPL_SS_LIVE,		"live" },
	{ REPL_SS_FULL,		"full" },
	{ REPL_SS_AHEAD,	"ahead" },
	{}
};

static const char *kind_word(unsigned int kind)
{
	return kind == REPL_SLOT_PEER ? "peer" : kind == REPL_SLOT_MARK ? "mark" : "free";
}

static bool is_zero_key(const uint8_t *key)
{
	static const uint8_t zero[REPL_KEY_BYTES];

	return memcmp(key, zero, sizeof(zero)) == 0;
}

/* -- text ------------------------------------------------------------------ */

static void print_flags(const struct flag_word *word, uint32_t flags)
{
	if (!flags)
		printf(" none");
	for (; word->word; word++) {
		if (flags & word->flag)
			printf(" %s", word->word);
	}
	printf("\n");
}

static void print_bytes(const char *what, uint64_t bytes)
{
	char human[UNITS_TEXT_MAX];

	printf("  %-11s %llu bytes (%s)\n", what, (unsigned long long)bytes,
	       units_format_bytes(bytes, human));
}

static void print_id(const char *what, const struct repl_id *id)
{
	char text[ID_TEXT_MAX];

	printf("  %-11s %s\n", what, id_is_zero(id) ? "none" : id_format(id, text));
}

/* Whatever is on the disk must not reach a terminal as control characters. */
static void print_mark_name(const uint8_t *name)
{
	printf("  %-11s ", "name");
	for (unsigned int i = 0; i < REPL_KEY_BYTES && name[i]; i++)
		putchar(isgraph(name[i]) ? name[i] : '?');
	putchar('\n');
}

static void print_slot(const struct report *r, unsigned int index)
{
	const struct repl_super_slot *s = &r->copy[r->chosen].slot[index];
	char text[KEY_TEXT_MAX];

	printf("slot %u: %s\n", index, kind_word(s->kind));
	if (s->kind == REPL_SLOT_PEER)
		printf("  %-11s %s\n", "key", key_encode(s->key, text));
	else
		print_mark_name(s->key);
	printf("  %-11s", "flags");
	print_flags(slot_words, le32toh(s->flags));
	print_id("copy", &s->copy_id);
	print_id("generation", &s->generation);
	printf("  %-11s %llu\n", "epoch", (unsigned long long)le64toh(s->epoch));
	printf("  %-11s %llu blocks%s\n", "dirty", (unsigned long long)r->dirty[index],
	       map_counts(&r->copy[r->chosen], index) ? "" : ": all of them, the map does not count");
}

static void print_super(const struct report *r)
{
	const struct repl_super *sb = &r->copy[r->chosen];
	char text[KEY_TEXT_MAX];
	struct super_layout l;

	super_get_layout(sb, &l);
	printf("volume \"%s\"\n", (const char *)sb->name);
	print_id("uuid", &sb->uuid);
	print_id("copy", &sb->copy_id);
	printf("  %-11s", "flags");
	print_flags(super_words, le32toh(sb->flags));
	print_id("generation", &sb->generation);
	for (unsigned int i = 0; i < REPL_HISTORY && !id_is_zero(&sb->history[i]); i++)
		print_id(i ? "" : "history", &sb->history[i]);
	printf("  %-11s %llu\n", "epoch", (unsigned long long)le64toh(sb->epoch));
	if (sb->staged)
		printf("  %-11s %016llx, which is being applied\n", "staged",
		       (unsigned long long)le64toh(sb->staged));
	printf("  %-11s %s\n", "node", is_zero_key(sb->key) ? "none yet" : key_encode(sb->key, text));
	print_bytes("data", l.data_size);
	printf("  %-11s %u bytes\n", "block", 1u << sb->lbs_shift);
	print_bytes("region", 1ULL << sb->region_shift);
	print_bytes("metadata", l.meta_size);
	printf("  %-11s byte %llu of %s\n", "at", (unsigned long long)l.meta_offset, r->where->path);
	printf("  %-11s %u, %llu bytes of map each\n", "slots", l.slots,
	       (unsigned long long)l.map_bytes);
	printf("  %-11s %llu of %llu regions\n", "region log", (unsigned long long)r->logged,
	       (unsigned long long)r->regions);
	for (unsigned int i = 0; i < l.slots; i++) {
		if (sb->slot[i].kind != REPL_SLOT_FREE)
			print_slot(r, i);
	}
}

static void print_text(const struct report *r)
{
	if (r->in_use)
		printf("%s: is in use: what follows may change while it is read\n", r->where->path);
	for (unsigned int i = 0; i < REPL_SB_COPIES; i++) {
		printf("superblock copy %u at byte %llu: ", i,
		       (unsigned long long)super_copy_offset(r->meta_end, i));
		if (r->valid[i])
			printf("%s\n", r->valid[i] == -ENODATA ? "none" : "not valid");
		else
			printf("sequence %llu%s\n",
			       (unsigned long long)le64toh(r->copy[i].sequence),
			       r->chosen == (int)i ? ", counts" : "");
	}
	if (r->chosen >= 0)
		print_super(r);
	for (size_t i = 0; i < r->problems; i++)
		printf("error: %s\n", r->problem[i]);
	if (r->untold)
		printf("error: %zu more\n", r->untold);
	if (!r->problems && !r->untold)
		printf("no errors\n");
	else if (r->chosen >= 0 && (r->valid[0] || r->valid[1]))
		printf("The volume can be used: the valid copy counts, and the other is overwritten next.\n");
}

/* -- JSON ------------------------------------------------------------------ */

static json_t *json_id(const struct repl_id *id)
{
	char text[ID_TEXT_MAX];

	return id_is_zero(id) ? json_null() : json_string(id_format(id, text));
}

static json_t *json_key(const uint8_t *key)
{
	char text[KEY_TEXT_MAX];

	return is_zero_key(key) ? json_null() : json_string(key_encode(key, text));
}

static json_t *json_flags(const struct flag_word *word, uint32_t flags)
{
	json_t *list = json_array();

	for (; word->word; word++) {
		if (flags & word->flag)
			json_array_append_new(list, json_string(word->word));
	}
	return list;
}

static json_t *json_slot(const struct report *r, unsigned int index)
{
	const struct repl_super_slot *s = &r->copy[r->chosen].slot[index];

	return json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:I, s:I}",
			 "index", index,
			 "kind", kind_word(s->kind),
			 "key", json_key(s->key),
			 "flags", json_flags(slot_words, le32toh(s->flags)),
			 "copy_id", json_id(&s->copy_id),
			 "generation", json_id(&s->generation),
			 "epoch", (json_int_t)le64toh(s->epoch),
			 "dirty_blocks", (json_int_t)r->dirty[index]);
}

/* By which name the superblock knows it: a number, which is no number to compute with. */
static json_t *json_staged(uint64_t staged)
{
	char text[17];

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)staged);
	return staged ? json_string(text) : json_null();
}

static json_t *json_super(const struct report *r)
{
	const struct repl_super *sb = &r->copy[r->chosen];
	json_t *history = json_array();
	json_t *slots = json_array();
	struct super_layout l;

	super_get_layout(sb, &l);
	for (unsigned int i = 0; i < REPL_HISTORY && !id_is_zero(&sb->history[i]); i++)
		json_array_append_new(history, json_id(&sb->history[i]));
	for (unsigned int i = 0; i < l.slots; i++) {
		if (sb->slot[i].kind != REPL_SLOT_FREE)
			json_array_append_new(slots, json_slot(r, i));
	}
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o,"
			 " s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
			 "name", (const char *)sb->name,
			 "uuid", json_id(&sb->uuid),
			 "copy_id", json_id(&sb->copy_id),
			 "flags", json_flags(super_words, le32toh(sb->flags)),
			 "generation", json_id(&sb->generation),
			 "history", history,
			 "epoch", (json_int_t)le64toh(sb->epoch),
			 "staged", json_staged(le64toh(sb->staged)),
			 "node_key", json_key(sb->key),
			 "data_bytes", (json_int_t)l.data_size,
			 "block_bytes", (json_int_t)1 << sb->lbs_shift,
			 "region_bytes", (json_int_t)1 << sb->region_shift,
			 "meta_offset", (json_int_t)l.meta_offset,
			 "meta_bytes", (json_int_t)l.meta_size,
			 "map_bytes", (json_int_t)l.map_bytes,
			 "log_bytes", (json_int_t)l.log_bytes,
			 "slots_reserved", (json_int_t)l.slots,
			 "regions", (json_int_t)r->regions,
			 "regions_logged", (json_int_t)r->logged,
			 "slots", slots);
}

static int print_json(const struct report *r)
{
	json_t *problems = json_array();
	json_t *copies = json_array();
	json_t *root;
	int ret;

	for (unsigned int i = 0; i < REPL_SB_COPIES; i++) {
		json_t *sequence = r->valid[i] ? json_null() :
				   json_integer(le64toh(r->copy[i].sequence));

		json_array_append_new(copies, json_pack("{s:I, s:b, s:o, s:b}",
			"offset", (json_int_t)super_copy_offset(r->meta_end, i),
			"valid", !r->valid[i], "sequence", sequence,
			"counts", r->chosen == (int)i));
	}
	for (size_t i = 0; i < r->problems; i++)
		json_array_append_new(problems, json_string(r->problem[i]));
	root = json_pack("{s:s, s:s, s:b, s:o, s:o, s:o}",
			 "device", r->data.path,
			 "metadata_device", r->where->path,
			 "in_use", r->in_use,
			 "copies", copies,
			 "volume", r->chosen >= 0 ? json_super(r) : json_null(),
			 "errors", problems);
	ret = root ? json_dumpf(root, stdout, JSON_INDENT(2)) : -1;
	if (!ret)
		putchar('\n');
	json_decref(root);
	return ret;
}

/* -- main ------------------------------------------------------------------ */

static int parse_options(struct options *o, int argc, char **argv)
{
	static const struct option table[] = {
		{ "metadata", required_argument, NULL, 'm' },
		{ "meta-end", required_argument, NULL, 'e' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	int id;

	while ((id = getopt_long(argc, argv, "h", table, NULL)) >= 0) {
		switch (id) {
		case 'h':
			fputs(usage_text, stdout);
			exit(EXIT_CLEAN);
		case 'm':
			o->metadata = optarg;
			break;
		case 'j':
			o->json = true;
			break;
		case 'e':
			if (!units_parse_size(optarg, &o->meta_end) && o->meta_end &&
			    o->meta_end % REPL_META_ALIGN == 0)
				break;
			fprintf(stderr, "fsck.repl: --meta-end %s: a multiple of 4096 is expected\n",
				optarg);
			return -EINVAL;
		default:
			return -EINVAL;
		}
	}
	if (argc - optind != 1) {
		fputs("fsck.repl: exactly one device is expected; see fsck.repl --help\n", stderr);
		return -EINVAL;
	}
	o->device = argv[optind];
	return 0;
}

static int open_devices(struct report *r, const struct options *o, struct err *e)
{
	bool meta_in_use = false;
	int ret;

	ret = device_open_readonly(&r->data, o->device, &r->in_use, e);
	if (ret)
		return ret;
	r->where = &r->data;
	if (o->metadata) {
		ret = device_open_readonly(&r->meta, o->metadata, &meta_in_use, e);
		if (ret) {
			device_close(&r->data);
			return ret;
		}
		r->where = &r->meta;
		r->in_use |= meta_in_use;
	}
	r->meta_end = o->meta_end ? o->meta_end : place_find(r->where->fd, r->where->size);
	return 0;
}

static void close_devices(struct report *r, const struct options *o)
{
	if (o->metadata)
		device_close(&r->meta);
	device_close(&r->data);
}

static int run(struct report *r, const struct options *o)
{
	struct err e;
	int ret;

	ret = open_devices(r, o, &e);
	if (!ret) {
		ret = check(r, o, &e);
		close_devices(r, o);
	}
	if (ret) {
		fprintf(stderr, "fsck.repl: %s\n", e.text);
		return EXIT_FAILED;
	}
	if (!o->json)
		print_text(r);
	else if (print_json(r))
		return EXIT_FAILED;
	if (fflush(stdout) == EOF) {
		perror("fsck.repl: standard output");
		return EXIT_FAILED;
	}
	return r->problems || r->untold ? EXIT_ERRORS : EXIT_CLEAN;
}

int main(int argc, char **argv)
{
	struct options o = {};
	struct report *r;
	int ret;

	if (parse_options(&o, argc, argv))
		return EXIT_USAGE;
	r = calloc(1, sizeof(*r));
	if (!r) {
		perror("fsck.repl");
		return EXIT_FAILED;
	}
	r->prefix = "";
	ret = run(r, &o);
	for (size_t i = 0; i < r->problems; i++)
		free(r->problem[i]);
	free(r);
	return ret;
}
