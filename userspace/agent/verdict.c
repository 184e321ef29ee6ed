// SPDX-License-Identifier: GPL-2.0-or-later
#include "verdict.h"

#include <inttypes.h>
#include <stdio.h>

#include "id.h"
#include "units.h"

/* Which side a rule favours.  A rule that says SIDE_NEITHER leaves it to the next. */
enum side { SIDE_NEITHER, SIDE_MINE, SIDE_THEIRS };

static bool has(const struct copy *c, uint32_t flags)
{
	return (c->flags & flags) == flags;
}

static enum side only(bool mine, bool theirs)
{
	if (mine == theirs)
		return SIDE_NEITHER;
	return mine ? SIDE_MINE : SIDE_THEIRS;
}

/* Whether the map that @of keeps speaks about the copy @about. */
static bool speaks(const struct copy *of, const struct copy *about)
{
	return has(of, REPL_MV_SLOT) && id_equal(&of->slot_copy_id, &about->copy_id);
}

/* How many generations ago @of went through @id; REPL_HISTORY: never, or nobody knows any more. */
static unsigned int went_by(const struct copy *of, const struct repl_id *id)
{
	unsigned int i = 0;

	while (i < REPL_HISTORY && (id_is_zero(&of->history[i]) || !id_equal(&of->history[i], id)))
		i++;
	return i;
}

/*
 * Whether @of went through @about's generation, and how its map relates to that.  The map
 * says what has changed since slot_generation.  It says enough, too, of a copy that came to
 * a later one since: that has committed an epoch, and this node stopped before it took note.
 */
static bool descends(const struct copy *of, const struct copy *about, bool *by_bitmap)
{
	unsigned int since = went_by(of, &of->slot_generation), at = went_by(of, &about->generation);

	*by_bitmap = speaks(of, about) &&
		     (id_equal(&of->slot_generation, &about->generation) ||
		      (since < REPL_HISTORY && at < since));
	return *by_bitmap || at < REPL_HISTORY;
}

bool verdict_went_on(const struct copy *c, const struct copy *than)
{
	bool by_bitmap;

	return !id_is_zero(&than->generation) && id_equal(&c->uuid, &than->uuid) &&
	       !id_equal(&c->generation, &than->generation) &&
	       descends(c, than, &by_bitmap) && !descends(than, c, &by_bitmap);
}

bool verdict_newer(const struct copy *c, const struct copy *than)
{
	return has(c, REPL_MV_CONSISTENT) && has(than, REPL_MV_CONSISTENT) && verdict_went_on(c, than);
}

static bool clean(const struct copy *c)
{
	return has(c, REPL_MV_CLEAN) && !has(c, REPL_MV_UNPROVEN);
}

static bool doubts(const struct copy *of, const struct copy *about)
{
	return !speaks(of, about) || of->slot_dirty_blocks;
}

static bool live_then(const struct copy *of, const struct copy *about)
{
	return has(of, REPL_MV_SLOT_LIVE) && speaks(of, about) &&
	       id_equal(&of->slot_generation, &of->generation);
}

static void set(struct verdict *out, enum verdict_kind kind, const char *why)
{
	out->kind = kind;
	snprintf(out->why, sizeof(out->why), "%s", why);
}

/* The leader is known: what stands in the way, and how much is to be copied. */
static void lead(struct verdict *out, enum side leader, bool full, const struct copy *mine,
		 const struct copy *theirs, const char *why)
{
	const struct copy *first = leader == SIDE_MINE ? mine : theirs;
	const struct copy *second = leader == SIDE_MINE ? theirs : mine;
	char a[UNITS_TEXT_MAX], b[UNITS_TEXT_MAX];

	if (has(second, REPL_MV_PRIMARY)) {
		out->kind = VERDICT_REFUSE;
		snprintf(out->why, sizeof(out->why),
			 "%s copy would have to follow (%s), but is primary: make it secondary",
			 second == mine ? "this" : "the other", why);
		return;
	}
	if (second->size < first->size) {
		out->kind = VERDICT_REFUSE;
		snprintf(out->why, sizeof(out->why),
			 "the copy that must follow is too small: it has %s (%" PRIu64
			 " bytes), the leader %s (%" PRIu64 " bytes): give it a larger device",
			 units_format_bytes(second->size, a), second->size,
			 units_format_bytes(first->size, b), first->size);
		return;
	}
	if (leader == SIDE_MINE)
		set(out, full ? VERDICT_LEAD_FULL : VERDICT_LEAD, why);
	else
		set(out, full ? VERDICT_FOLLOW_FULL : VERDICT_FOLLOW, why);
}

/* Both are consistent and of the same generation; neither is known to be equal. */
static enum side same_generation(const struct copy *mine, const struct copy *theirs, bool lower,
				 const char **why)
{
	enum side dirty = only(doubts(mine, theirs), doubts(theirs, mine));
	enum side side = only(has(mine, REPL_MV_PRIMARY), has(theirs, REPL_MV_PRIMARY));

	*why = "same generation, the primary leads";
	if (side)
		return side;
	*why = "same generation, only the leader holds changes";
	if (dirty && !(live_then(mine, theirs) && live_then(theirs, mine)))
		return dirty;
	*why = "same generation, the other stopped uncleanly";
	side = only(clean(mine), clean(theirs));
	if (side)
		return side;
	*why = "same generation, both stopped uncleanly, the former primary leads";
	side = only(has(mine, REPL_MV_WAS_PRIMARY), has(theirs, REPL_MV_WAS_PRIMARY));
	if (side && !clean(mine))
		return side;
	*why = "same generation, only the leader holds changes";
	if (dirty)
		return dirty;
	*why = "same generation, nothing else decides, the lower key leads";
	return lower ? SIDE_MINE : SIDE_THEIRS;
}

bool verdict_speaks(const struct copy *of, const struct copy *about)
{
	return speaks(of, about);
}

bool verdict_is_split(const struct copy *mine, const struct copy *theirs)
{
	bool by_bitmap;

	return has(mine, REPL_MV_CONSISTENT) && has(theirs, REPL_MV_CONSISTENT) &&
	       id_equal(&mine->uuid, &theirs->uuid) &&
	       !id_equal(&mine->generation, &theirs->generation) &&
	       descends(mine, theirs, &by_bitmap) == descends(theirs, mine, &by_bitmap);
}

void verdict_resolve(struct verdict *out, const struct resolution *r, const struct copy *mine,
		     const struct copy *theirs)
{
	enum side leader;

	if (out->kind != VERDICT_SPLIT)
		return;
	if (id_equal(&mine->generation, &r->keep) && id_equal(&theirs->generation, &r->discard))
		leader = SIDE_MINE;
	else if (id_equal(&mine->generation, &r->discard) && id_equal(&theirs->generation, &r->keep))
		leader = SIDE_THEIRS;
	else
		return;
	lead(out, leader, !speaks(mine, theirs) || !speaks(theirs, mine), mine, theirs,
	     "a person has decided which copy is kept");
}

/* The n-th generation back that a copy went through: 0 is the current one. */
static const struct repl_id *went_through(const struct copy *c, unsigned int n)
{
	return n ? &c->history[n - 1] : &c->generation;
}

struct repl_id verdict_common(const struct copy *mine, const struct copy *theirs)
{
	for (unsigned int i = 0; i <= REPL_HISTORY; i++)
		for (unsigned int j = 0; j <= REPL_HISTORY; j++)
			if (id_equal(went_through(mine, i), went_through(theirs, j)) &&
			    !id_is_zero(went_through(mine, i)))
				return *went_through(mine, i);
	return (struct repl_id){ { 0 } };
}

static void equal(struct verdict *out, const struct copy *mine, const struct copy *theirs,
		  bool lower)
{
	enum side leader = only(has(mine, REPL_MV_PRIMARY), has(theirs, REPL_MV_PRIMARY));

	if (!leader)
		leader = lower ? SIDE_MINE : SIDE_THEIRS;
	lead(out, leader, false, mine, theirs, "same generation, no block in doubt on either side");
	if (out->kind == VERDICT_LEAD)
		out->kind = VERDICT_EQUAL_LEAD;
	else if (out->kind == VERDICT_FOLLOW)
		out->kind = VERDICT_EQUAL_FOLLOW;
}

static void both_consistent(struct verdict *out, const struct copy *mine,
			    const struct copy *theirs, bool lower)
{
	bool i_descend, they_descend, my_bitmap, their_bitmap;
	enum side leader;
	const char *why;

	if (id_equal(&mine->generation, &theirs->generation)) {
		if (!doubts(mine, theirs) && !doubts(theirs, mine)) {
			equal(out, mine, theirs, lower);
			return;
		}
		leader = same_generation(mine, theirs, lower, &why);
		lead(out, leader, leader == SIDE_MINE ? !speaks(mine, theirs)
						      : !speaks(theirs, mine), mine, theirs, why);
		return;
	}
	i_descend = descends(mine, theirs, &my_bitmap);
	they_descend = descends(theirs, mine, &their_bitmap);
	leader = only(i_descend, they_descend);
	if (leader == SIDE_NEITHER) {
		set(out, VERDICT_SPLIT, "both copies were written alone since they last were equal: "
		    "repl-ctl resolve says what each would lose, and ends it");
		return;
	}
	lead(out, leader, leader == SIDE_MINE ? !my_bitmap : !their_bitmap, mine, theirs,
	     "the leader's generation continues the other's");
}

/*
 * The other may hold nearly all that was written after this one stood still, and be all that
 * is left of it: whoever it followed leads both, when that one is back, and only a person may
 * go without.  A promotion by force, of either, ends the wait: it begins a generation that
 * the other has not gone through, and a copy that is primary counts as consistent.
 */
static void one_consistent(struct verdict *out, const struct copy *mine,
			   const struct copy *theirs, enum side leader)
{
	const struct copy *first = leader == SIDE_MINE ? mine : theirs;
	const struct copy *second = leader == SIDE_MINE ? theirs : mine;
	bool full = !has(second, REPL_MV_IDENTITY) || !speaks(first, second);

	if (has(second, REPL_MV_IDENTITY) && verdict_went_on(second, first)) {
		snprintf(out->why, sizeof(out->why), "%s copy is whole but older, %s went on and is not whole: "
			 "bring back the node that one followed; or promote one of the two with --force, and "
			 "what only the other has is lost", first == mine ? "this" : "the other",
			 first == mine ? "the other" : "this");
		out->kind = VERDICT_WAIT;
		return;
	}
	lead(out, leader, full, mine, theirs, "only the leader's copy is consistent");
}

void verdict(struct verdict *out, const struct copy *mine, const struct copy *theirs, bool lower)
{
	enum side consistent = only(has(mine, REPL_MV_CONSISTENT),
				    has(theirs, REPL_MV_CONSISTENT));

	if (has(mine, REPL_MV_PRIMARY) && has(theirs, REPL_MV_PRIMARY)) {
		set(out, VERDICT_REFUSE, verdict_is_split(mine, theirs) ?
		    "both are primary: make one of them secondary; it is a split, and repl-ctl resolve "
		    "then says what each would lose" : "both are primary: make one of them secondary");
	} else if (has(mine, REPL_MV_FAILING) || has(theirs, REPL_MV_FAILING)) {
		out->kind = VERDICT_REFUSE;
		snprintf(out->why, sizeof(out->why), "the disk of %s copy has failed: repl-ctl "
			 "replace puts another one in its place, there",
			 has(mine, REPL_MV_FAILING) ? "this" : "the other");
	} else if (has(mine, REPL_MV_LINK_PLAIN) != has(theirs, REPL_MV_LINK_PLAIN)) {
		set(out, VERDICT_REFUSE, "one side says encryption = none, the other does not: "
		    "make the volume's files agree");
	} else if (!copy_same_arbiter(mine, theirs)) {
		set(out, VERDICT_REFUSE, "the two sides do not name the same arbiter: make the volume's "
		    "files agree");
	} else if (mine->lbs_shift != theirs->lbs_shift) {
		out->kind = VERDICT_REFUSE;
		snprintf(out->why, sizeof(out->why), "the logical block sizes differ: %u here, %u "
			 "there: make one copy anew with mkfs.repl", 1u << mine->lbs_shift,
			 1u << theirs->lbs_shift);
	} else if (has(mine, REPL_MV_IDENTITY) && has(theirs, REPL_MV_IDENTITY) &&
		   !id_equal(&mine->uuid, &theirs->uuid)) {
		set(out, VERDICT_UNRELATED, "the copies belong to two different volumes: make the "
		    "one that is not wanted anew with mkfs.repl");
	} else if (consistent) {
		one_consistent(out, mine, theirs, consistent);
	} else if (!has(mine, REPL_MV_CONSISTENT)) {
		set(out, VERDICT_WAIT, "neither copy is consistent: make primary the one that "
		    "shall be the first");
	} else {
		both_consistent(out, mine, theirs, lower);
	}
}

enum verdict_kind verdict_mirror(enum verdict_kind kind)
{
	switch (kind) {
	case VERDICT_EQUAL_LEAD: return VERDICT_EQUAL_FOLLOW;
	case VERDICT_EQUAL_FOLLOW: return VERDICT_EQUAL_LEAD;
	case VERDICT_LEAD: return VERDICT_FOLLOW;
	case VERDICT_FOLLOW: return VERDICT_LEAD;
	case VERDICT_LEAD_FULL: return VERDICT_FOLLOW_FULL;
	case VERDICT_FOLLOW_FULL: return VERDICT_LEAD_FULL;
	case VERDICT_WAIT:
	case VERDICT_SPLIT:
	case VERDICT_UNRELATED:
	case VERDICT_REFUSE:
		break;
	}
	return kind;
}

const char *verdict_name(enum verdict_kind kind)
{
	static const char *const name[] = {
		[VERDICT_WAIT] = "wait",
		[VERDICT_EQUAL_LEAD] = "equal, leads",
		[VERDICT_EQUAL_FOLLOW] = "equal, follows",
		[VERDICT_LEAD] = "leads",
		[VERDICT_FOLLOW] = "follows",
		[VERDICT_LEAD_FULL] = "leads with a full copy",
		[VERDICT_FOLLOW_FULL] = "follows with a full copy",
		[VERDICT_SPLIT] = "split",
		[VERDICT_UNRELATED] = "unrelated",
		[VERDICT_REFUSE] = "refused",
	};

	return name[kind];
}
