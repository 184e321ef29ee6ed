// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The log of crash_disk (tests/crash/disk): takes marks, and makes the content that the disks
 * could have after a power cut at some point of it.
 *
 *	crash begin | end | mark TEXT | save FILE | load FILE | files PREFIX
 *	crash list			the log in words
 *	crash audit			each acknowledgement: are the generations durable where they must be?
 *	crash point SEED N		lay point N of this seed down; what it is, as shell variables
 *	crash equal BYTES		do disks 0 and 1 begin with the same bytes?
 *	crash written DISK		bytes of data written since the point was laid down
 *	crash sweep SEED FIRST COUNT [MAIL]	check many points by what is on the disks, without bringing anything up
 *
 * Disk 0 is node a's, disk 1 is node b's, disk 2 has b's metadata in runs with external metadata.
 *
 * With CRASH_FILE=FILE in the environment it works on a saved log, on any machine.
 *
 * What a sweep checks of each point, of what the two nodes' disks say after the cut:
 *
 *  - each copy has a valid superblock, and none that is older than the last one that was completed;
 *  - where both are parts of the volume, each block in which they differ is in doubt on one of
 *    them: in a map, in a region of the log, or by FULL;
 *  - a copy that must have all that was acknowledged has it: of a raw load by its sectors, of mail
 *    by the command MAIL, which gets the copy's data on its standard input, and as arguments the
 *    load's seed and the last acknowledged operation of each thread.
 *
 * Of each PERIOD points the first two come just after an acknowledgement of a primary whose peer
 * is live: that peer loses its power, or both do, and comes up first, without the primary.
 *
 * needs: userspace/lib/super.c tests/crash/area.c
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../crash/area.h"
#include "../../crash/load.h"
#include "super.h"

enum { NODES = 2, HEAD_DISKS = CRASH_DISKS_MAX, PERIOD = 8 };

struct item {
	const struct crash_entry *e;
	const struct repl_super *super;	/* of node_of(e->disk) */
};

static struct item *items;
static uint32_t item_count;

static unsigned int node_of(unsigned int disk)
{
	return disk ? 1 : 0;
}

static char node_name(unsigned int node)
{
	return (char)('a' + node);
}

/* -------------------------------------------------------------- the log -- */

static const struct repl_super *entry_super(const struct crash_entry *e)
{
	const struct repl_super *sb = (const void *)entry_data(e);

	if (e->data != sizeof(*sb) || memcmp(sb->magic, REPL_SB_MAGIC, sizeof(sb->magic)))
		return NULL;
	return sb;
}

/* The log as an array.  What a superblock is, its content says. */
static void log_read(void)
{
	const uint8_t *at = (const uint8_t *)head + head->log_offset, *end = at + head->log_used;
	uint32_t room = 0;

	if (head->overflow)
		die("the log was too small for this run");
	while (at < end) {
		const struct crash_entry *e = (const void *)at;

		if (e->magic != CRASH_ENTRY || e->disk >= head->disks)
			die("the log is damaged at byte %td", at - (uint8_t *)head);
		if (item_count == room) {
			room = room ? room * 2 : 4096;
			items = realloc(items, room * sizeof(*items));
			if (!items)
				die("no memory");
		}
		items[item_count].e = e;
		items[item_count++].super = entry_super(e);
		at += sizeof(*e) + (e->data + 7) / 8 * 8;
	}
}

/* Return: what follows WORD in a mark, NULL if it is another one. */
static const char *mark_is(const struct crash_entry *e, const char *word, char text[CRASH_MARK_MAX + 1])
{
	size_t n = strlen(word);

	if (!(e->flags & CRASH_MARK))
		return NULL;
	memcpy(text, entry_data(e), e->data);
	text[e->data] = '\0';
	return !strncmp(text, word, n) && text[n] == ' ' ? text + n + 1 : NULL;
}

/* Files that the run has saved as marks "file NAME CONTENT": keys, configuration. */
static void files(const char *prefix)
{
	char text[CRASH_MARK_MAX + 1], path[512], name[256];
	const char *rest, *body;
	FILE *f;

	for (uint32_t i = 0; i < item_count; i++) {
		rest = mark_is(items[i].e, "file", text);
		if (!rest || sscanf(rest, "%255s", name) != 1)
			continue;
		body = rest + strlen(name) + 1;
		snprintf(path, sizeof(path), "%s/%s", prefix, name);
		f = fopen(path, "w");
		if (!f || fputs(body, f) == EOF || fputc('\n', f) == EOF || fclose(f))
			die("%s: %s", path, strerror(errno));
	}
}

static void print_id(const struct repl_id *id)
{
	for (int i = 0; i < 4; i++)
		printf("%02x", id->b[i]);
}

static void print_super(const struct repl_super *sb)
{
	printf(" superblock %" PRIu64 " flags %#x generation ", le64toh(sb->sequence), le32toh(sb->flags));
	print_id(&sb->generation);
	for (unsigned int i = 0; i < sb->slots; i++) {
		if (!sb->slot[i].kind)
			continue;
		printf(" slot %u flags %#x at ", i, le32toh(sb->slot[i].flags));
		print_id(&sb->slot[i].generation);
	}
}

static void list(void)
{
	for (uint32_t i = 0; i < item_count; i++) {
		const struct crash_entry *e = items[i].e;

		printf("%u ", i);
		if (e->flags & CRASH_MARK) {
			printf("mark %.*s\n", (int)e->data, (const char *)entry_data(e));
			continue;
		}
		printf("disk %u%s%s%s %" PRIu64 " +%u", e->disk, e->flags & CRASH_PREFLUSH ? " flush" : "",
		       e->length ? e->flags & CRASH_ZERO ? " zero" : " write" : "",
		       e->flags & CRASH_FUA ? " fua" : "", (uint64_t)e->offset, e->length);
		if (items[i].super)
			print_super(items[i].super);
		printf("\n");
	}
}

/* ------------------------------------------------- what the copies claim -- */

static bool id_same(const struct repl_id *a, const struct repl_id *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static unsigned int meta_disk(unsigned int node)
{
	if (!node)
		return 0;
	for (uint32_t i = 0; i < item_count; i++)
		if (items[i].super && items[i].e->disk == 2)
			return 2;
	return 1;
}

/* A node's last superblock before entry @end, in the log. */
static const struct repl_super *last_super(unsigned int node, uint32_t end)
{
	while (end--)
		if (items[end].super && node_of(items[end].e->disk) == node)
			return items[end].super;
	return NULL;
}

/* The one that was completed last before entry @end: a superblock counts when it has been flushed. */
static const struct repl_super *sure_super(unsigned int node, uint32_t end)
{
	while (end--) {
		const struct crash_entry *e = items[end].e;

		if ((e->flags & CRASH_MARK) || e->disk != meta_disk(node))
			continue;
		if (items[end].super && (e->flags & CRASH_FUA))
			return items[end].super;
		if (e->flags & CRASH_PREFLUSH)
			return last_super(node, end);
	}
	return NULL;
}

/* The generation that began last before entry @end. */
static const struct repl_id *newest_generation(uint32_t end)
{
	static const struct repl_id zero;
	const struct repl_id *newest = &zero, *seen[1024];
	unsigned int count = 0, j;

	for (uint32_t i = 0; i < end; i++) {
		const struct repl_id *id = items[i].super ? &items[i].super->generation : &zero;

		if (id_same(id, newest) || id_same(id, &zero))
			continue;
		for (j = 0; j < count && !id_same(seen[j], id); j++)
			;
		if (j < count)
			continue;
		if (count == 1024)
			die("too many generations");
		seen[count++] = id;
		newest = id;
	}
	return newest;
}

static bool flag(const struct repl_super *sb, uint32_t bits)
{
	return sb && (le32toh(sb->flags) & bits) == bits;
}

static bool peer_live(const struct repl_super *sb)
{
	for (unsigned int i = 0; i < sb->slots; i++)
		if (sb->slot[i].kind == REPL_SLOT_PEER && (le32toh(sb->slot[i].flags) & REPL_SS_LIVE) &&
		    id_same(&sb->slot[i].generation, &sb->generation))
			return true;
	return false;
}

/* Everything that was acknowledged before entry @end is on this node. */
static bool has_all(unsigned int node, uint32_t end)
{
	/* The last entry may not have been completed. */
	const struct repl_super *sb = sure_super(node, end - 1);

	return flag(sb, REPL_SB_CONSISTENT) && id_same(&sb->generation, newest_generation(end)) &&
	       last_super(node, end) == sb;
}

/*
 * Nobody may have been told that something is durable in a generation that is not: not here,
 * and not on a peer that the primary counts as live.
 */
static int audit(void)
{
	char text[CRASH_MARK_MAX + 1];
	unsigned int acks = 0, wrong = 0;

	for (uint32_t i = 1; i < item_count; i++) {
		const struct repl_super *sb[NODES];

		if (!mark_is(items[i].e, "ack", text))
			continue;
		acks++;
		for (unsigned int n = 0; n < NODES; n++)
			sb[n] = last_super(n, i);
		if (!has_all(0, i + 1) && !has_all(1, i + 1)) {
			printf("entry %u: acknowledged, and no node has it in the newest generation\n", i);
			wrong++;
		}
		for (unsigned int n = 0; n < NODES; n++) {
			if (!flag(sb[n], REPL_SB_PRIMARY) || !peer_live(sb[n]) ||
			    id_same(&sb[n]->generation, &sb[!n]->generation))
				continue;
			printf("entry %u: acknowledged in a generation that the live peer of %c does not have\n",
			       i, node_name(n));
			wrong++;
		}
	}
	printf("%u acknowledgements, %u wrong\n", acks, wrong);
	return wrong || !acks;
}

/* ----------------------------------------------------------- the points -- */

static uint64_t random_state;

static uint64_t random_next(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static uint32_t random_below(uint32_t n)
{
	return n ? (uint32_t)(random_next() % n) : 0;
}

static uint32_t run_start(void)
{
	for (uint32_t i = 0; i < item_count; i++)
		if ((items[i].e->flags & CRASH_MARK) && items[i].e->data == 5 &&
		    !memcmp(entry_data(items[i].e), "start", 5))
			return i + 1;
	die("the log has no mark 'start'");
}

/* A random entry for which @wanted holds, or just a random one. */
static uint32_t choose(uint32_t start, bool (*wanted)(const struct item *))
{
	for (unsigned int tries = 0; tries < 20000; tries++) {
		uint32_t i = start + random_below(item_count - start);

		if (wanted(&items[i]))
			return i;
	}
	return start + random_below(item_count - start);
}

static bool is_any(const struct item *it)
{
	return it;
}

static bool is_flush(const struct item *it)
{
	return it->e->flags & (CRASH_PREFLUSH | CRASH_FUA);
}

static bool is_super(const struct item *it)
{
	return it->super;
}

static bool is_ack(const struct item *it)
{
	return it->e->flags & CRASH_MARK;
}

/* A point is before the entry of that number, or after it. */
static uint32_t choose_point(void)
{
	uint32_t start = run_start(), kind = random_below(100);
	uint32_t at = kind < 20 ? choose(start, is_super) : kind < 50 ? choose(start, is_flush) :
		      kind < 65 ? choose(start, is_ack) : choose(start, is_any);

	return at + random_below(2);
}

static void apply(const struct crash_entry *e, uint32_t from, uint32_t bytes)
{
	uint8_t *to = content(e->disk) + e->offset + from;

	if (e->flags & CRASH_ZERO)
		memset(to, 0, bytes);
	else
		memcpy(to, entry_data(e) + from, bytes);
}

/* In a cache when the power went: there, not there, or some of its sectors. */
static void apply_maybe(const struct crash_entry *e)
{
	uint32_t kind = random_below(3);

	if (kind == 0)
		return;
	if (kind == 1) {
		apply(e, 0, e->length);
		return;
	}
	for (uint32_t at = 0; at < e->length; at += CRASH_SECTOR)
		if (random_below(2))
			apply(e, at, CRASH_SECTOR);
}

/* The content of all disks at entry @end, the power of the nodes in @cut gone. */
static void lay_down(uint32_t end, unsigned int cut)
{
	uint32_t stable[HEAD_DISKS] = { 0 };
	enum { NOTHING, FLUSHED, ALL } last = random_below(3);

	for (uint32_t i = 0; i < end; i++)
		/* A flush that was the last may not have been completed. */
		if ((items[i].e->flags & CRASH_PREFLUSH) && (i + 1 < end || last != NOTHING))
			stable[items[i].e->disk] = i;
	for (unsigned int disk = 0; disk < head->disks; disk++)
		memset(content(disk), 0, head->disk_bytes);
	for (uint32_t i = 0; i < end; i++) {
		const struct crash_entry *e = items[i].e;

		if ((e->flags & CRASH_MARK) || !e->length)
			continue;
		/* And before its flush has been, nothing of a write is anywhere. */
		if (i + 1 == end && (e->flags & CRASH_PREFLUSH) && last == NOTHING && (cut & 1u << node_of(e->disk)))
			continue;
		if (!(cut & 1u << node_of(e->disk)) || i < stable[e->disk] ||
		    ((e->flags & CRASH_FUA) && (i + 1 < end || last == ALL)))
			apply(e, 0, e->length);
		else
			apply_maybe(e);
	}
	memset(head->written, 0, sizeof(head->written));
	head->data_bytes = le64toh(last_super(0, item_count)->data_size);
}

struct spot {
	uint32_t end;		/* entries before it have been done */
	unsigned int cut;	/* sets of nodes: who loses its power, */
	unsigned int all;	/* who has all that was acknowledged, */
	unsigned int primary;	/* who was primary, */
	unsigned int live;	/* whose last superblock has its peer live, */
	unsigned int first;	/* who comes up first */
	int64_t acked[LOAD_THREADS_MAX];
};

static void find_acks(struct spot *spot)
{
	char text[CRASH_MARK_MAX + 1];
	const char *rest;
	unsigned int thread;
	int64_t op;

	for (unsigned int t = 0; t < LOAD_THREADS_MAX; t++)
		spot->acked[t] = -1;
	for (uint32_t i = 0; i < spot->end; i++) {
		rest = mark_is(items[i].e, "ack", text);
		if (rest && sscanf(rest, "%u %" SCNd64, &thread, &op) == 2 && thread < LOAD_THREADS_MAX)
			spot->acked[thread] = op;
	}
}

/* What the copies claim before entry @end. */
static void spot_at(struct spot *spot, uint32_t end)
{
	spot->end = end;
	spot->all = spot->primary = spot->live = 0;
	for (unsigned int n = 0; n < NODES; n++) {
		const struct repl_super *sb = last_super(n, end);

		spot->all |= has_all(n, end) ? 1u << n : 0;
		spot->primary |= flag(sb, REPL_SB_PRIMARY) ? 1u << n : 0;
		spot->live |= sb && peer_live(sb) ? 1u << n : 0;
	}
}

/* An fsync has just returned, and the peer has it too: now the peer, or both, and the primary for good. */
static void spot_acknowledged(struct spot *spot, bool both)
{
	char text[CRASH_MARK_MAX + 1];
	uint32_t start = run_start();

	for (unsigned int tries = 0; tries < 10000; tries++) {
		uint32_t at = choose(start, is_ack);

		if (!mark_is(items[at].e, "ack", text))
			continue;
		spot_at(spot, at + 1);
		if (spot->all != 3 || spot->primary == 3 || !(spot->primary & spot->live))
			continue;
		spot->first = 3 ^ spot->primary;
		spot->cut = both ? 3 : spot->first;
		return;
	}
	die("no acknowledgement of a primary with a live peer");
}

static void spot_anywhere(struct spot *spot)
{
	unsigned int tries = 0;

	do
		spot_at(spot, choose_point());
	while (!spot->all && ++tries < 100);
	spot->cut = 1 + random_below(3);
	spot->first = 1 + random_below(3);
	if (spot->first != 3 && !(spot->all & spot->first))
		spot->first = 3;
}

/* Point @number of @seed, laid down. */
static void spot_make(struct spot *spot, uint64_t seed, uint64_t number)
{
	memset(spot, 0, sizeof(*spot));
	random_state = seed * 1000003 + number;
	random_next();
	if (number % PERIOD < 2)
		spot_acknowledged(spot, number % PERIOD);
	else
		spot_anywhere(spot);
	find_acks(spot);
	lay_down(spot->end, spot->cut);
}

static const char *nodes_text(unsigned int set)
{
	static const char *const text[] = { "none", "a", "b", "ab" };

	return text[set & 3];
}

static const char *last_text(const struct item *it)
{
	return is_super(it) ? "superblock" : is_flush(it) ? "flush" : is_ack(it) ? "mark" : "write";
}

/* -------------------------------------------- what lies on the disks then -- */

/* One node's copy as a module would find it. */
struct copy {
	const struct repl_super *sb;
	const uint8_t *meta;	/* the disk with the metadata */
	unsigned int slot;	/* of the other copy; as many as there are if none */
};

static const struct repl_super *newest_super(const uint8_t *disk)
{
	const struct repl_super *best = NULL;

	for (unsigned int i = 0; i < REPL_SB_COPIES; i++) {
		const struct repl_super *sb = (const void *)(disk + super_copy_offset(head->disk_bytes, i));

		if (super_is_blank(sb) || super_verify(sb, NULL, NULL))
			continue;
		if (!best || le64toh(sb->sequence) > le64toh(best->sequence))
			best = sb;
	}
	return best;
}

static bool in_doubt(const struct copy *c, uint64_t block)
{
	const struct repl_super *sb = c->sb;
	const uint8_t *area = c->meta + le64toh(sb->meta_offset);
	const uint8_t *map = area + c->slot * le64toh(sb->map_bytes);
	const uint8_t *log = area + le64toh(sb->log_offset);
	uint64_t region = block * REPL_BLOCK_BYTES >> sb->region_shift;

	if (!flag(sb, REPL_SB_MAPS) || (le32toh(sb->slot[c->slot].flags) & REPL_SS_FULL))
		return true;
	return (map[block / 8] >> block % 8 & 1) || (log[region / 8] >> region % 8 & 1);
}

/* What the log says of the load that it has, and who judges it. */
struct swept_load {
	bool raw;
	uint64_t seed;
	unsigned int threads;
	const char *judge;	/* NULL: nobody */
};

static bool find_slot(struct copy *of, const struct copy *about)
{
	for (of->slot = 0; of->slot < of->sb->slots; of->slot++)
		if (of->sb->slot[of->slot].kind == REPL_SLOT_PEER &&
		    id_same(&of->sb->slot[of->slot].copy_id, &about->sb->copy_id))
			return true;
	return false;
}

static void find_copies(struct copy c[NODES])
{
	for (unsigned int n = 0; n < NODES; n++) {
		c[n].meta = content(meta_disk(n));
		c[n].sb = newest_super(c[n].meta);
	}
}

/* The map is about the generation that the other copy is in. */
static bool maps(const struct copy *of, const struct copy *about)
{
	return id_same(&of->sb->slot[of->slot].generation, &about->sb->generation);
}

/*
 * How much one copy says that it may not have in common with the other.  All of it, where no map is about the
 * generation of the other: so it is between the two moments in which the ends of a link are adopted.
 */
static uint64_t doubted_bytes(struct copy c[NODES])
{
	uint64_t all = head->data_bytes, bytes = 0;

	if (!c[0].sb || !c[1].sb || !find_slot(&c[0], &c[1]) || !find_slot(&c[1], &c[0]))
		return all;
	if (!id_same(&c[0].sb->generation, &c[1].sb->generation) && !maps(&c[0], &c[1]) && !maps(&c[1], &c[0]))
		return all;
	for (uint64_t block = 0; block < all / REPL_BLOCK_BYTES; block++)
		if (in_doubt(&c[0], block) || in_doubt(&c[1], block))
			bytes += REPL_BLOCK_BYTES;
	return bytes;
}

static void point(uint64_t seed, uint64_t number)
{
	struct copy c[NODES] = { 0 };
	struct spot spot;

	spot_make(&spot, seed, number);
	printf("point=%u of=%u cut=%s all=%s primary=%s live=%s first=%s last=%s tail=%u\n", spot.end, item_count,
	       nodes_text(spot.cut), nodes_text(spot.all), nodes_text(spot.primary), nodes_text(spot.live),
	       nodes_text(spot.first), last_text(&items[spot.end - 1]), random_below(1u << 30));
	printf("acked='");
	for (unsigned int t = 0; t < LOAD_THREADS_MAX; t++)
		printf("%s%" PRId64, t ? " " : "", spot.acked[t]);
	printf("'\n");
	find_copies(c);
	printf("doubt=%" PRIu64 "\n", doubted_bytes(c));
}

/* Return: how many blocks differ and nobody doubts. */
static unsigned int sweep_doubts(struct copy c[NODES])
{
	uint64_t bytes = le64toh(c[0].sb->data_size);
	const uint8_t *a = content(0), *b = content(1);
	unsigned int lost = 0;

	if (!flag(c[0].sb, REPL_SB_IDENTITY) || !flag(c[1].sb, REPL_SB_IDENTITY) ||
	    !find_slot(&c[0], &c[1]) || !find_slot(&c[1], &c[0]))
		return 0;
	for (uint64_t at = 0; at < bytes; at += REPL_BLOCK_BYTES) {
		if (!memcmp(a + at, b + at, REPL_BLOCK_BYTES) || in_doubt(&c[0], at / REPL_BLOCK_BYTES) ||
		    in_doubt(&c[1], at / REPL_BLOCK_BYTES))
			continue;
		if (!lost++)
			printf("# block %" PRIu64 " differs and is in doubt on neither side\n", at / REPL_BLOCK_BYTES);
	}
	return lost;
}

static unsigned int sweep_raw(const struct spot *spot, unsigned int node, uint64_t seed,
			      unsigned int threads, uint64_t bytes)
{
	struct load l = { .seed = seed };
	const char *what;
	int64_t *least;

	for (l.thread = 0; l.thread < threads; l.thread++) {
		if (spot->acked[l.thread] < 0)
			continue;
		load_raw_part(&l, bytes, threads);
		least = malloc(l.blocks * sizeof(*least));
		if (!least)
			die("no memory");
		load_raw_least(&l, least, spot->acked[l.thread]);
		for (uint64_t b = 0; b < l.blocks * (LOAD_BLOCK / LOAD_SECTOR); b++) {
			uint64_t sector = l.first * (LOAD_BLOCK / LOAD_SECTOR) + b;

			what = load_raw_check(&l, content(node) + sector * LOAD_SECTOR, sector,
					      least[b / (LOAD_BLOCK / LOAD_SECTOR)]);
			if (!what)
				continue;
			printf("# %c: thread %u, acknowledged %" PRId64 ": sector %" PRIu64 " %s\n", node_name(node),
			       l.thread, spot->acked[l.thread], sector, what);
			free(least);
			return 1;
		}
		free(least);
	}
	return 0;
}

/* The superblock that was completed last must be there, or a newer one. */
static unsigned int sweep_super(const struct spot *spot, unsigned int node, const struct copy *c)
{
	const struct repl_super *sure = sure_super(node, spot->end - 1);

	if (!c->sb) {
		printf("# %c: no valid superblock\n", node_name(node));
		return 1;
	}
	if (sure && le64toh(c->sb->sequence) < le64toh(sure->sequence)) {
		printf("# %c: superblock %" PRIu64 ", but %" PRIu64 " had been completed\n", node_name(node),
		       le64toh(c->sb->sequence), le64toh(sure->sequence));
		return 1;
	}
	return 0;
}

static unsigned int sweep_mail(const struct spot *spot, unsigned int node, const struct swept_load *load,
			       uint64_t bytes)
{
	char command[1024];
	int used = snprintf(command, sizeof(command), "%s %" PRIu64, load->judge, load->seed);
	FILE *judge;

	for (unsigned int t = 0; t < load->threads && used < (int)sizeof(command); t++)
		used += snprintf(command + used, sizeof(command) - (size_t)used, " %" PRId64, spot->acked[t]);
	if (used >= (int)sizeof(command))
		die("the command is too long");
	fflush(stdout);
	judge = popen(command, "w");
	if (!judge)
		die("%s: %s", command, strerror(errno));
	fwrite(content(node), 1, bytes, judge);
	if (!pclose(judge))
		return 0;
	printf("# %c: that was its mail\n", node_name(node));
	return 1;
}

static unsigned int sweep_point(const struct spot *spot, const struct swept_load *load)
{
	struct copy c[NODES] = { 0 };
	unsigned int wrong = 0;

	find_copies(c);
	for (unsigned int n = 0; n < NODES; n++)
		wrong += sweep_super(spot, n, &c[n]);
	if (wrong)
		return wrong;
	wrong += sweep_doubts(c);
	for (unsigned int n = 0; n < NODES; n++) {
		if (!(spot->all & 1u << n))
			continue;
		if (load->raw)
			wrong += sweep_raw(spot, n, load->seed, load->threads, le64toh(c[n].sb->data_size));
		/* It takes long: of two that must have it, who has lost its power. */
		else if (load->judge && ((spot->cut & 1u << n) || !(spot->cut & spot->all)))
			wrong += sweep_mail(spot, n, load, le64toh(c[n].sb->data_size));
	}
	return wrong;
}

/* "load raw|mail SEED THREADS" */
static void find_load(struct swept_load *load)
{
	char text[CRASH_MARK_MAX + 1], word[8];
	const char *rest;

	for (uint32_t i = 0; i < item_count; i++) {
		rest = mark_is(items[i].e, "load", text);
		if (rest && sscanf(rest, "%7s %" SCNu64 " %u", word, &load->seed, &load->threads) == 3 &&
		    load->threads <= LOAD_THREADS_MAX) {
			load->raw = !strcmp(word, "raw");
			return;
		}
	}
	die("the log has no mark 'load'");
}

static int sweep(uint64_t seed, uint64_t first, uint64_t count, const char *judge)
{
	struct swept_load load = { .judge = judge };
	unsigned int cuts[4] = { 0 };
	uint64_t bad = 0;
	struct spot spot;

	find_load(&load);

	for (uint64_t n = first; n < first + count; n++) {
		spot_make(&spot, seed, n);
		cuts[spot.cut]++;
		if (!sweep_point(&spot, &load))
			continue;
		printf("# point %" PRIu64 " of seed %" PRIu64 ": before entry %u of %u (%s), power cut: %s, primary: %s, "
		       "all acknowledged was on: %s\n", n, seed, spot.end, item_count,
		       last_text(&items[spot.end - 1]), nodes_text(spot.cut), nodes_text(spot.primary),
		       nodes_text(spot.all));
		if (++bad == 10)
			break;
	}
	printf("# %" PRIu64 " points (cut: a %u, b %u, both %u), %" PRIu64 " bad\n", count, cuts[1], cuts[2], cuts[3],
	       bad);
	return bad ? 1 : 0;
}

static int equal(uint64_t bytes)
{
	const uint8_t *a = content(0), *b = content(1);

	if (bytes > head->disk_bytes)
		die("%" PRIu64 " bytes are more than a disk has", bytes);
	if (!memcmp(a, b, bytes))
		return 0;
	for (uint64_t at = 0; at < bytes; at += REPL_BLOCK_BYTES)
		if (memcmp(a + at, b + at, REPL_BLOCK_BYTES))
			printf("block %" PRIu64 " differs\n", at / REPL_BLOCK_BYTES);
	return 1;
}

static enum part part_of(const char *verb)
{
	static const struct { const char *verb; enum part part; } parts[] = {
		{ "begin", PART_HEAD }, { "end", PART_HEAD }, { "written", PART_HEAD },
		{ "equal", PART_DISKS }, { "load", PART_ALL },
	};

	for (unsigned int i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!strcmp(verb, parts[i].verb))
			return parts[i].part;
	return PART_USED;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (argc == 3 && !strcmp(verb, "mark")) {
		area_mark(argv[2]);
		return 0;
	}
	if (getenv("CRASH_FILE"))
		area_from_file(getenv("CRASH_FILE"));
	else
		area_map(part_of(verb));
	if (argc == 2 && (!strcmp(verb, "begin") || !strcmp(verb, "end"))) {
		if (*verb == 'b')
			head->log_used = 0;
		head->recording = *verb == 'b';
	} else if (argc == 3 && !strcmp(verb, "save")) {
		area_save(argv[2]);
	} else if (argc == 3 && !strcmp(verb, "load")) {
		area_load(argv[2]);
	} else if (argc == 3 && !strcmp(verb, "equal")) {
		return equal(strtoull(argv[2], NULL, 10));
	} else if (argc == 3 && !strcmp(verb, "written")) {
		printf("%" PRIu64 "\n", (uint64_t)head->written[strtoul(argv[2], NULL, 10) % HEAD_DISKS]);
	} else {
		log_read();
		if (argc == 3 && !strcmp(verb, "files"))
			files(argv[2]);
		else if (argc == 2 && !strcmp(verb, "list"))
			list();
		else if (argc == 2 && !strcmp(verb, "audit"))
			return audit();
		else if ((argc == 5 || argc == 6) && !strcmp(verb, "sweep"))
			return sweep(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10),
				     strtoull(argv[4], NULL, 10), argv[5]);
		else if (argc == 4 && !strcmp(verb, "point"))
			point(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
		else
			return 2;
	}
	return 0;
}
