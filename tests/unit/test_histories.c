// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every history of two nodes, and of three, up to a depth: writes, crashes in all
 * places, stops, cables, catching up step by step, promotions of all kinds, new disks.
 * The verdicts and the plans of promotion are the real ones, what the module records is
 * modelled (model.h).  Then wrong rules are planted, one by one: each must be caught,
 * in the words that are expected.
 *
 * DEPTH=n goes deeper; a violation prints the shortest history that leads to it.
 * needs: tests/unit/model.c tests/unit/model_join.c userspace/agent/verdict.c
 * needs: userspace/agent/promote.c
 */
#include "model.h"

#include "tap.h"

enum { EVENTS_MAX = 256 };

/* A state seen: how it was reached, for the tale. */
struct seen {
	uint32_t parent;
	struct event event;
};

static struct search {
	uint64_t *table;		/* hashes of canonical states; 0: free */
	size_t slots, used;
	struct seen *seen;
	struct cluster *now, *next;	/* states of this depth and of the next */
	uint32_t *now_at, *next_at;	/* where they are in ->seen */
	size_t now_count, next_count, next_room;
} s;

static uint64_t hash(const void *data, size_t length)
{
	const uint8_t *p = data;
	uint64_t h = 0x9e3779b97f4a7c15;

	for (size_t i = 0; i < length; i += 2)
		h = (h ^ (p[i] | (uint64_t)p[i + 1] << 8)) * 0xff51afd7ed558ccd, h ^= h >> 32;
	return h ? h : 1;
}
_Static_assert(sizeof(struct cluster) % 2 == 0, "hashed by two bytes");

static bool enter(uint64_t h)
{
	size_t i;

	for (i = h & (s.slots - 1); s.table[i]; i = (i + 1) & (s.slots - 1))
		if (s.table[i] == h)
			return false;
	s.table[i] = h;
	return true;
}

static void grow(void)
{
	uint64_t *old = s.table;
	size_t slots = s.slots;

	s.slots = slots ? slots * 2 : 1 << 16;
	s.table = calloc(s.slots, sizeof(*s.table));
	s.seen = realloc(s.seen, s.slots / 2 * sizeof(*s.seen));
	need(s.table && s.seen, "memory");
	for (size_t i = 0; i < slots; i++)
		if (old[i])
			enter(old[i]);
	free(old);
}

/* A state of the next depth, unless it was seen. */
static void found(const struct cluster *c, uint32_t parent, struct event e)
{
	if (s.used + 1 >= s.slots / 2)
		grow();
	if (!enter(hash(c, sizeof(*c))))
		return;
	if (s.next_count == s.next_room) {
		s.next_room = s.next_room ? s.next_room * 2 : 1024;
		s.next = realloc(s.next, s.next_room * sizeof(*s.next));
		s.next_at = realloc(s.next_at, s.next_room * sizeof(*s.next_at));
		need(s.next && s.next_at, "memory");
	}
	s.next_at[s.next_count] = (uint32_t)s.used;
	s.next[s.next_count++] = *c;
	s.seen[s.used++] = (struct seen){ parent, e };
}

static void tell(uint32_t at)
{
	if (!at)
		return;
	tell(s.seen[at].parent);
	model_print(s.seen[at].event);
}

static void forget(void)
{
	free(s.table);
	free(s.seen);
	free(s.now);
	free(s.next);
	free(s.now_at);
	free(s.next_at);
	s = (struct search){ 0 };
}

static void swap_depths(void)
{
	free(s.now);
	free(s.now_at);
	s.now = s.next;
	s.now_at = s.next_at;
	s.now_count = s.next_count;
	s.next = NULL;
	s.next_at = NULL;
	s.next_count = s.next_room = 0;
}

/* Return: false when something was violated; @tale: print how. */
static bool expand(size_t at, const struct event *event, unsigned int events, bool tale)
{
	for (unsigned int i = 0; i < events; i++) {
		struct cluster c = s.now[at];

		if (!model_do(&c, event[i]))
			continue;
		model_settle(&c);
		model_canonical(&c);
		if (!model_complaint)
			model_check(&c);
		if (model_complaint) {
			if (tale) {
				printf("# %s:\n", model_complaint);
				tell(s.now_at[at]);
				model_print(event[i]);
			}
			return false;
		}
		found(&c, s.now_at[at], event[i]);
	}
	return true;
}

/* Breadth first, so that the first violation is a shortest one. */
static bool search(const struct cluster *from, unsigned int depth, bool tale)
{
	struct event event[EVENTS_MAX], none = { 0 };
	unsigned int events = model_events(event);
	bool good = true;

	model_complaint = NULL;
	found(from, 0, none);
	for (unsigned int d = 0; good && d < depth; d++) {
		swap_depths();
		for (size_t i = 0; good && i < s.now_count; i++)
			good = expand(i, event, events, tale);
	}
	return good;
}

static void must(struct cluster *c, enum event_kind kind, unsigned int a, unsigned int b,
		 unsigned int variant)
{
	struct event e = { kind, (uint8_t)a, (uint8_t)b, (uint8_t)variant };

	need(model_do(c, e), "the start of all histories");
}

/* All up, the first is primary, all in sync; if there are three, the others know that they are equal. */
static void prepare(struct cluster *c, unsigned int nodes, unsigned int writes)
{
	model_nodes = nodes;
	model_writes = writes;
	model_start(c);
	for (unsigned int i = 0; i < nodes; i++)
		must(c, EV_START, i, 0, 0);
	must(c, EV_PROMOTE, 0, 0, 0);
	for (unsigned int i = 1; i < nodes; i++)
		must(c, EV_SYNC, 0, i, 0);
	model_settle(c);
	for (unsigned int i = 0; nodes > 2 && i < 2; i++)
		must(c, EV_TELL, 0, 0, 0);
	model_canonical(c);
}

static unsigned int depth_of(unsigned int usual)
{
	const char *text = getenv("DEPTH");

	return text ? (unsigned int)atoi(text) : usual;
}

static void all_histories(unsigned int nodes, unsigned int writes, unsigned int depth, bool fresh)
{
	struct cluster c;
	bool good;

	prepare(&c, nodes, writes);
	if (fresh)
		model_start(&c);
	good = search(&c, depth, true);
	ok(good, "%u nodes%s, %u writes, %u events: %zu states, nothing is violated",
	   nodes, fresh ? " fresh from mkfs" : "", writes, depth, s.used);
	forget();
}

static const struct wrong planted[] = {
	{ .name = "the higher key leads, on both sides", .higher_key = true, .nodes = 2,
	  .caught = "no mirror images" },
	{ .name = "an unclean stop is ignored", .clean_ignored = true, .nodes = 2,
	  .caught = "an acknowledged write" },
	{ .name = "the older generation leads", .newer_ignored = true, .nodes = 2,
	  .caught = "newer data" },
	{ .name = "a verdict clears bits", .verdict_clears = true, .nodes = 2,
	  .caught = "in sync and differ" },
	{ .name = "no generation after a loss", .no_generation = true, .nodes = 2,
	  .caught = "lacks an acknowledged write" },
	{ .name = "a generation is not durable on the peer", .peers_not_told = true, .nodes = 2,
	  .caught = "of two generations" },
	{ .name = "unflushed regions are forgotten", .unflushed_forgotten = true, .nodes = 2,
	  .caught = "in sync and differ" },
	{ .name = "the region log is not read", .log_ignored = true, .nodes = 2,
	  .caught = "in sync and differ" },
	{ .name = "the follower's doubts are not asked for", .follower_map_ignored = true,
	  .nodes = 2, .caught = "in sync and differ" },
	{ .name = "a delta is confirmed before the device was flushed", .delta_not_flushed = true,
	  .nodes = 2, .caught = "in sync and differ" },
	{ .name = "a copy is not given up before it is written", .kept_consistent = true,
	  .nodes = 2, .caught = "copies change hands for ever" },
	{ .name = "a crash is not recorded", .crash_unrecorded = true, .nodes = 2,
	  .caught = "an acknowledged write" },
	{ .name = "a generation begins on a volatile cache", .not_flushed = true, .nodes = 2,
	  .caught = "an acknowledged write" },
	{ .name = "an absent peer is ignored", .absent_ignored = true, .nodes = 3,
	  .caught = "two primaries" },
	{ .name = "whoever is asked consents", .consent_given = true, .nodes = 3,
	  .caught = "two primaries" },
	{ .name = "a crashed copy leads before all who may know more were asked",
	  .unasked_ignored = true, .nodes = 3, .caught = "an acknowledged write" },
	{ .name = "a copy goes back to an older generation", .goes_back = true, .nodes = 3,
	  .caught = "of two generations" },
	{ .name = "third nodes are not marked", .others_not_marked = true, .nodes = 3,
	  .caught = "in sync and differ" },
	{ .name = "a secondary logs nothing", .others_not_logged = true, .nodes = 3,
	  .caught = "in sync and differ" },
	{ .name = "who is away is said to be equal", .absent_named = true, .nodes = 3,
	  .caught = "in sync and differ" },
	{ .name = "what was not settled is forgotten with the link", .settling_lost = true, .nodes = 3,
	  .caught = "in sync and differ" },
	{ .name = "what a delta changes is not marked for third nodes", .delta_not_marked = true,
	  .nodes = 3, .caught = "in sync and differ" },
	{ .name = "what is marked is not saved", .mark_not_saved = true, .nodes = 3, .caught = "in sync and differ" },
	{ .name = "one leads while it follows", .leads_incomplete = true, .nodes = 3,
	  .caught = "not consistent leads" },
};

static void wrong_rules(void)
{
	for (unsigned int i = 0; i < sizeof(planted) / sizeof(planted[0]); i++) {
		const struct wrong *w = &planted[i];
		struct cluster c;
		bool good;

		prepare(&c, w->nodes, 2);
		model_wrong = *w;
		good = search(&c, 9, getenv("TALES"));
		ok(!good && strstr(model_complaint, w->caught), "caught: %s: %s", w->name,
		   good ? "nothing was violated" : model_complaint);
		model_wrong = (struct wrong){ 0 };
		forget();
	}
}

int main(void)
{
	all_histories(2, 2, depth_of(6), true);
	all_histories(2, 3, depth_of(6), false);
	all_histories(3, 2, depth_of(4), false);
	wrong_rules();
	return tap_end();
}
