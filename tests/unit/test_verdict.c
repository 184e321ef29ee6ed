// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The verdict over every pair of a small domain of copies: what must hold of all of
 * them, and the table of docs/PROTOCOL.md row by row.
 * needs: userspace/agent/verdict.c userspace/agent/copy.c
 */
#include "verdict.h"

#include "tap.h"

enum { LOWER = true, SIZE = 64 << 20 };

static struct repl_id id(uint8_t n)
{
	struct repl_id i = { { n } };

	return i;
}

static bool same(const struct repl_id *a, const struct repl_id *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* ------------------------------------------------------- the domain ----- */

enum { IDENTITIES = 5, STOPS = 3, ROLES = 3, GENERATIONS = 3, SLOTS = 10, HISTORIES = 3 };
enum { COPIES = IDENTITIES * STOPS * ROLES * GENERATIONS * SLOTS * HISTORIES };

static unsigned int take(unsigned int *n, unsigned int of)
{
	unsigned int digit = *n % of;

	*n /= of;
	return digit;
}

static void set_slot(struct copy *c, unsigned int slot, uint8_t other)
{
	if (!slot)
		return;
	c->flags |= REPL_MV_SLOT;
	c->slot_copy_id = id(slot == 1 ? 99 : other);
	c->slot_generation = id(1);
	if (slot == 1) {
		c->slot_dirty_blocks = 7;
		return;
	}
	slot -= 2;
	c->slot_generation = id(slot & 1 ? 2 : 1);
	c->slot_dirty_blocks = slot & 2 ? 7 : 0;
	if (slot & 4)
		c->flags |= REPL_MV_SLOT_LIVE;
}

static struct copy make(unsigned int n, uint8_t self, uint8_t other)
{
	static const uint32_t stops[] = { REPL_MV_CLEAN, 0, REPL_MV_UNPROVEN };
	static const uint32_t roles[] = {
		0, REPL_MV_WAS_PRIMARY, REPL_MV_WAS_PRIMARY | REPL_MV_PRIMARY,
	};
	struct copy c = { .copy_id = id(self), .size = SIZE, .lbs_shift = 12 };
	unsigned int identity = take(&n, IDENTITIES), history;

	if (identity)
		c.flags |= REPL_MV_IDENTITY;
	if (identity > 2)
		c.flags |= REPL_MV_CONSISTENT;
	c.uuid = id(identity == 2 || identity == 4 ? 12 : 11);
	c.flags |= stops[take(&n, STOPS)];
	c.flags |= roles[take(&n, ROLES)];
	c.generation = id((uint8_t)(1 + take(&n, GENERATIONS)));
	set_slot(&c, take(&n, SLOTS), other);
	history = take(&n, HISTORIES);
	if (history)
		c.history[0] = id((uint8_t)history);
	return c;
}

/* ------------------------------------------------ what always holds ----- */

static bool has(const struct copy *c, uint32_t flags)
{
	return (c->flags & flags) == flags;
}

static bool speaks(const struct copy *of, const struct copy *about)
{
	return has(of, REPL_MV_SLOT) && same(&of->slot_copy_id, &about->copy_id);
}

static bool descends(const struct copy *of, const struct copy *about)
{
	return same(&of->history[0], &about->generation) ||
	       (speaks(of, about) && same(&of->slot_generation, &about->generation));
}

static bool clean(const struct copy *c)
{
	return has(c, REPL_MV_CLEAN) && !has(c, REPL_MV_UNPROVEN);
}

static bool was_live(const struct copy *of, const struct copy *about)
{
	return speaks(of, about) && has(of, REPL_MV_SLOT_LIVE) &&
	       same(&of->slot_generation, &of->generation);
}

static const char *leader_rule(const struct copy *lead, const struct copy *follow,
			       enum verdict_kind kind)
{
	bool generation = same(&lead->generation, &follow->generation);

	if (!has(lead, REPL_MV_CONSISTENT))
		return "the leader is consistent";
	if (has(follow, REPL_MV_PRIMARY))
		return "a primary does not follow";
	if (!verdict_full(kind) && !speaks(lead, follow))
		return "a bitmap is only used when it speaks of the other copy";
	if (verdict_equal(kind) &&
	    (!generation || !speaks(follow, lead) || lead->slot_dirty_blocks ||
	     follow->slot_dirty_blocks || !has(follow, REPL_MV_CONSISTENT)))
		return "equal means: same generation, both maps empty and about each other";
	if (!has(follow, REPL_MV_CONSISTENT))
		return NULL;
	if (!generation && (!descends(lead, follow) || descends(follow, lead)))
		return "of two generations the one that continues the other leads";
	if (!generation && !verdict_full(kind) &&
	    !same(&lead->slot_generation, &follow->generation))
		return "a bitmap of another generation is not used";
	if (generation && !verdict_equal(kind) && !has(lead, REPL_MV_PRIMARY) &&
	    was_live(lead, follow) && was_live(follow, lead) && clean(follow) && !clean(lead))
		return "of two that were live the one that stopped cleanly leads";
	return NULL;
}

static const char *other_rule(const struct copy *a, const struct copy *b, enum verdict_kind kind)
{
	bool both_consistent = has(a, REPL_MV_CONSISTENT) && has(b, REPL_MV_CONSISTENT);
	bool unrelated = has(a, REPL_MV_IDENTITY) && has(b, REPL_MV_IDENTITY) &&
			 !same(&a->uuid, &b->uuid);

	if (kind == VERDICT_WAIT && both_consistent)
		return "two consistent copies never wait";
	if (kind == VERDICT_WAIT && has(a, REPL_MV_CONSISTENT) && !verdict_went_on(b, a))
		return "one waits for a copy that is not consistent only if that went on";
	if (kind == VERDICT_UNRELATED && !unrelated)
		return "unrelated copies have two identities";
	if (kind == VERDICT_SPLIT &&
	    (!both_consistent || same(&a->generation, &b->generation) ||
	     descends(a, b) != descends(b, a)))
		return "a split has two generations of which none continues the other";
	if (kind == VERDICT_REFUSE && !has(a, REPL_MV_PRIMARY) && !has(b, REPL_MV_PRIMARY))
		return "without a primary nothing of this domain is refused";
	if (has(a, REPL_MV_PRIMARY) && has(b, REPL_MV_PRIMARY) && kind != VERDICT_REFUSE)
		return "two primaries are refused";
	if (unrelated && kind != VERDICT_UNRELATED && kind != VERDICT_REFUSE)
		return "two identities never meet";
	return NULL;
}

/* Who goes on alone is newer, and stays so when something else forbids that the other follows. */
static const char *newer_rule(const struct copy *a, const struct copy *b, enum verdict_kind kind)
{
	bool two = has(a, REPL_MV_CONSISTENT) && has(b, REPL_MV_CONSISTENT) &&
		   !same(&a->generation, &b->generation);

	if (verdict_newer(a, b) && (!two || kind == VERDICT_SPLIT || kind == VERDICT_UNRELATED))
		return "only one line of writes has newer and older copies";
	if (verdict_newer(a, b) && (verdict_newer(b, a) || verdict_follows(kind)))
		return "the newer copy does not follow";
	if (two && verdict_leads(kind) && !verdict_newer(a, b))
		return "of two generations the newer one leads";
	return NULL;
}

static const char *broken_rule(const struct copy *a, const struct copy *b, enum verdict_kind kind)
{
	if (verdict_leads(kind))
		return leader_rule(a, b, kind);
	if (verdict_follows(kind))
		return leader_rule(b, a, kind);
	return other_rule(a, b, kind);
}

/* A decision about exactly these two makes of a split a leader and a follower, and of nothing else. */
static const char *resolve_rule(const struct copy *a, const struct copy *b, const struct verdict *judged)
{
	struct resolution r = { .keep = a->generation, .discard = b->generation };
	struct resolution other = { .keep = a->generation, .discard = id(9) };
	struct verdict v = *judged, w = *judged;

	verdict_resolve(&v, &other, a, b);
	if (v.kind != judged->kind)
		return "a decision about other copies changes nothing";
	verdict_resolve(&v, &r, a, b);
	verdict_resolve(&w, &r, b, a);
	if (judged->kind != VERDICT_SPLIT)
		return v.kind == judged->kind ? NULL : "only a split can be decided about";
	if (!verdict_is_split(a, b))
		return "what is a split is known to be one";
	if (w.kind != verdict_mirror(v.kind))
		return "both sides take a decision alike";
	if (has(b, REPL_MV_PRIMARY))
		return v.kind == VERDICT_REFUSE ? NULL : "a primary is not discarded";
	if (!verdict_leads(v.kind) || verdict_equal(v.kind))
		return "the copy that is kept leads";
	if (v.kind == VERDICT_LEAD && (!speaks(a, b) || !speaks(b, a)))
		return "by map only when both maps are about the other copy";
	return NULL;
}

static void check_all(void)
{
	static struct copy here[COPIES], there[COPIES];
	unsigned long seen[VERDICT_REFUSE + 1] = { 0 }, mirrored = 0, pairs = 0;
	const char *rule = NULL;
	struct verdict mine, theirs;

	for (unsigned int i = 0; i < COPIES; i++) {
		here[i] = make(i, 21, 22);
		there[i] = make(i, 22, 21);
	}
	/* Every copy here against every other of a step that no period of the digits divides. */
	for (unsigned int i = 0; i < COPIES && !rule; i++) {
		for (unsigned int j = i % 7; j < COPIES && !rule; j += 7) {
			verdict(&mine, &here[i], &there[j], LOWER);
			verdict(&theirs, &there[j], &here[i], !LOWER);
			pairs++;
			seen[mine.kind]++;
			mirrored += theirs.kind == verdict_mirror(mine.kind);
			rule = broken_rule(&here[i], &there[j], mine.kind);
			if (!rule)
				rule = newer_rule(&here[i], &there[j], mine.kind);
			if (!rule)
				rule = resolve_rule(&here[i], &there[j], &mine);
			if (rule)
				printf("# copies %u and %u: %s (%s)\n", i, j, verdict_name(mine.kind),
				       mine.why);
		}
	}
	ok(!rule, "every verdict keeps the rules%s%s", rule ? ": broken: " : "", rule ? rule : "");
	is_number((long long)mirrored, (long long)pairs, "the other side gets the mirror image");
	for (int kind = 0; kind <= VERDICT_REFUSE; kind++)
		ok(seen[kind], "the domain holds cases of: %s (%lu)", verdict_name(kind), seen[kind]);
}

/* ------------------------------------------------- the table's rows ----- */

static struct copy live_copy(uint8_t self, uint8_t other)
{
	struct copy c = {
		.copy_id = id(self), .uuid = id(11), .generation = id(1), .size = SIZE,
		.lbs_shift = 12, .slot_copy_id = id(other), .slot_generation = id(1),
		.flags = REPL_MV_IDENTITY | REPL_MV_CONSISTENT | REPL_MV_CLEAN | REPL_MV_SLOT |
			 REPL_MV_SLOT_LIVE,
	};

	return c;
}

static struct copy a, b;

static void fresh(void)
{
	a = live_copy(21, 22);
	b = live_copy(22, 21);
}

static void judged(enum verdict_kind expected, const char *name)
{
	struct verdict v, w;

	verdict(&v, &a, &b, LOWER);
	verdict(&w, &b, &a, !LOWER);
	if (!ok(v.kind == expected && w.kind == verdict_mirror(expected), "%s: %s", name,
		verdict_name(expected)))
		printf("#      got: %s (%s)\n", verdict_name(v.kind), v.why);
	fresh();
}

static void same_generation(void)
{
	fresh();
	judged(VERDICT_EQUAL_LEAD, "two clean stops, the lower key");
	b.flags |= REPL_MV_PRIMARY;
	judged(VERDICT_EQUAL_FOLLOW, "nothing in doubt, but the other is primary");
	b.flags |= REPL_MV_PRIMARY;
	a.slot_dirty_blocks = 1;
	judged(VERDICT_FOLLOW, "the primary leads, whoever holds changes");
	a.flags &= ~REPL_MV_CLEAN;
	a.flags |= REPL_MV_UNPROVEN | REPL_MV_WAS_PRIMARY;
	a.slot_dirty_blocks = 5;
	judged(VERDICT_FOLLOW, "a primary that crashed follows the peer that was live");
	a.flags &= ~REPL_MV_CLEAN;
	b.flags &= ~REPL_MV_CLEAN;
	b.flags |= REPL_MV_WAS_PRIMARY;
	a.slot_dirty_blocks = b.slot_dirty_blocks = 5;
	judged(VERDICT_FOLLOW, "both crashed, the former primary leads");
	b.slot_dirty_blocks = 5;
	judged(VERDICT_FOLLOW, "both clean, only the other holds changes");
	b.flags &= ~(REPL_MV_SLOT_LIVE | REPL_MV_CLEAN);
	b.slot_dirty_blocks = 5;
	judged(VERDICT_FOLLOW, "not live then, only the other holds changes, clean or not");
	a.slot_dirty_blocks = b.slot_dirty_blocks = 5;
	judged(VERDICT_LEAD, "both hold changes, both clean: the lower key");
	a.slot_copy_id = id(99);
	b.slot_dirty_blocks = 5;
	judged(VERDICT_LEAD_FULL, "the leader's map speaks of another copy");
}

static void two_generations(void)
{
	fresh();
	a.generation = id(2);
	judged(VERDICT_LEAD, "the other stands where we were last equal");
	a.generation = id(2);
	a.slot_generation = id(3);
	a.history[4] = id(1);
	judged(VERDICT_LEAD_FULL, "the other's generation is in the history");
	a.generation = id(2);
	a.slot_copy_id = id(99);
	a.history[0] = id(1);
	judged(VERDICT_LEAD_FULL, "the same, but it is another copy");
	a.generation = id(2);
	b.generation = id(3);
	judged(VERDICT_SPLIT, "both went on alone");
	a.generation = id(2);
	b.flags |= REPL_MV_PRIMARY;
	judged(VERDICT_REFUSE, "a primary that is outdated");
	b.generation = id(2);
	b.flags |= REPL_MV_PRIMARY;
	judged(VERDICT_FOLLOW, "the other went on, and is primary");
}

static void decided(enum verdict_kind expected, const struct resolution *r, const char *name)
{
	struct verdict v;

	verdict(&v, &a, &b, LOWER);
	verdict_resolve(&v, r, &a, &b);
	if (!ok(v.kind == expected, "%s: %s", name, verdict_name(expected)))
		printf("#      got: %s (%s)\n", verdict_name(v.kind), v.why);
}

static void resolutions(void)
{
	struct resolution mine = { .keep = id(2), .discard = id(3) };
	struct resolution theirs = { .keep = id(3), .discard = id(2) };
	struct resolution old = { .keep = id(2), .discard = id(4) };
	struct repl_id common;

	fresh();
	a.generation = id(2);
	b.generation = id(3);
	decided(VERDICT_LEAD, &mine, "this copy is kept");
	decided(VERDICT_FOLLOW, &theirs, "the other one is");
	decided(VERDICT_SPLIT, &old, "what was decided about an earlier copy");
	b.slot_copy_id = id(99);
	decided(VERDICT_LEAD_FULL, &mine, "the other's map is about another copy");
	a.size = SIZE / 2;
	decided(VERDICT_REFUSE, &theirs, "the one that must follow is too small");
	a.size = SIZE;
	a.flags |= REPL_MV_PRIMARY;
	decided(VERDICT_REFUSE, &theirs, "the one that must follow is in use");
	b.flags |= REPL_MV_PRIMARY;
	ok(verdict_is_split(&a, &b), "two primaries may be a split");
	a.history[2] = id(7);
	b.history[0] = id(6);
	b.history[1] = id(7);
	common = verdict_common(&a, &b);
	ok(common.b[0] == 7, "the last generation that both went through");
	b.history[1] = id(5);
	common = verdict_common(&a, &b);
	ok(!common.b[0], "or none that is known");
}

static void first_copy(void)
{
	fresh();
	a.flags = b.flags = 0;
	judged(VERDICT_WAIT, "two new copies");
	b.flags = 0;
	judged(VERDICT_LEAD_FULL, "one new copy");
	b.flags &= ~REPL_MV_CONSISTENT;
	judged(VERDICT_LEAD, "a copy that was interrupted");
	b.flags &= ~REPL_MV_CONSISTENT;
	a.slot_copy_id = id(99);
	judged(VERDICT_LEAD_FULL, "an interrupted copy that was replaced");
	b.flags &= ~REPL_MV_CONSISTENT;
	b.uuid = id(12);
	judged(VERDICT_UNRELATED, "an interrupted copy of another volume");
}

/* What it has beyond the other may be all that is left of it. */
static void half_but_newer(void)
{
	fresh();
	b.generation = id(2);
	b.history[0] = id(1);
	b.slot_generation = id(1);
	b.flags &= ~REPL_MV_CONSISTENT;
	ok(verdict_went_on(&b, &a) && !verdict_newer(&b, &a), "one that went on, and is not whole");
	judged(VERDICT_WAIT, "is not overwritten by one that stood still");
	fresh();
	a.generation = id(3);
	a.history[0] = id(1);
	b.generation = id(2);
	b.history[0] = id(1);
	b.slot_generation = id(1);
	b.flags &= ~REPL_MV_CONSISTENT;
	judged(VERDICT_LEAD, "until somebody has been promoted by force: it went another way then");
	fresh();
	b.generation = id(2);
	b.history[0] = id(1);
	b.slot_generation = id(1);
	b.flags &= ~(REPL_MV_CONSISTENT | REPL_MV_IDENTITY);
	judged(VERDICT_LEAD_FULL, "one that holds nothing is no reason to wait");
}

static void misfits(void)
{
	struct verdict v;

	fresh();
	b.size = SIZE / 2;
	judged(VERDICT_REFUSE, "a follower that is too small");
	fresh();
	b.size = SIZE / 2;
	verdict(&v, &a, &b, LOWER);
	ok(strstr(v.why, "32 MiB") && strstr(v.why, "64 MiB"), "both sizes are named: %s", v.why);
	fresh();
	b.size = SIZE * 2;
	judged(VERDICT_EQUAL_LEAD, "a follower that is larger");
	b.lbs_shift = 9;
	judged(VERDICT_REFUSE, "other block sizes");
	b.flags |= REPL_MV_LINK_PLAIN;
	judged(VERDICT_REFUSE, "encryption on one side only");
	b.arbiter = REPL_MA_COMMAND;
	judged(VERDICT_REFUSE, "an arbiter on one side only");
	a.arbiter = b.arbiter = REPL_MA_NODE;
	b.arbiter_tag[1] = 1;
	judged(VERDICT_REFUSE, "two arbiters");
	b.generation = id(2);
	b.history[0] = id(1);
	b.flags |= REPL_MV_LINK_PLAIN;
	ok(verdict_newer(&b, &a) && !verdict_newer(&a, &b), "and the newer copy is known all the same");
	judged(VERDICT_REFUSE, "which leads nobody");
	a.flags |= REPL_MV_PRIMARY;
	b.flags |= REPL_MV_PRIMARY;
	judged(VERDICT_REFUSE, "two primaries");
	a.flags |= REPL_MV_PRIMARY | REPL_MV_FAILING;
	judged(VERDICT_REFUSE, "a primary whose disk has failed leads nobody");
	b.flags |= REPL_MV_FAILING;
	judged(VERDICT_REFUSE, "and follows nobody");
	b.uuid = id(12);
	judged(VERDICT_UNRELATED, "two volumes");
}

int main(void)
{
	check_all();
	same_generation();
	two_generations();
	resolutions();
	first_copy();
	half_but_newer();
	misfits();
	return tap_end();
}
