// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Clusters of two and three agents' cores through joins, promotions, faults and
 * crashes.  $SEED repeats a run, $VERBOSE=1 prints every line that the agents log.
 * needs: tests/unit/sim_witness.c userspace/agent/register.c userspace/agent/arbiter.c
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: tests/unit/sim.c tests/unit/sim_net.c tests/unit/sim_work.c tests/unit/sim_kernel.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c
 * needs: userspace/agent/pair.c userspace/agent/redo.c userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/resolve.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c userspace/agent/suspect.c
 */
#include "sim_story.h"

#include "tap.h"

/* ---------------------------------------------------------- scenarios --- */

static void first_join(unsigned int nodes, uint64_t seed)
{
	char name[64];

	snprintf(name, sizeof(name), "first join of %u", nodes);
	story_begin(nodes, seed);
	ok(sim_until(&sim, story_connected, 5000), "%s: connected", name);
	sim_run(&sim, 2000);
	ok(!sim_primary_node(&sim), "%s: new copies wait", name);
	sim.writing = true;
	ok(story_promote(&sim.node[nodes - 1], false, false), "%s: primary by consent: %s", name,
	   sim.node[nodes - 1].request_text);
	story_settled(name);
	story_finish(name);
}

static void hand_over(uint64_t seed)
{
	story_begin(2, seed);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	story_settled("hand-over");
	ok(!story_promote(&sim.node[1], false, false), "the other is refused: %s",
	   sim.node[1].request_text);
	ok(strstr(sim.node[1].request_text, "node0"), "and told who is primary");
	sim_secondary(&sim.node[0]);
	sim_until(&sim, sim_answered, 5000);
	sim.writing = true;
	ok(story_promote(&sim.node[1], false, false), "after the demotion it is granted: %s",
	   sim.node[1].request_text);
	sim_run(&sim, 1000);
	story_settled("hand-over back");
	/* It may become primary before the two have joined, or after. */
	ok(!strcmp(sim.node[0].told, "role-changed;peer-back node1;role-changed;") ||
	   !strcmp(sim.node[0].told, "peer-back node1;role-changed;role-changed;"),
	   "hand-over: what hooks are told: %s", sim.node[0].told);
	is_text(sim.node[1].told, "peer-back node0;role-changed;", "hand-over: and on the other node");
	story_finish("hand-over");
}

static void fail_over(uint64_t seed)
{
	story_begin(2, seed);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	story_settled("before the crash");
	sim.writing = true;
	sim_run(&sim, 500);
	sim_power_off(&sim.node[0]);
	sim_run(&sim, 100);
	ok(!story_promote(&sim.node[1], false, false), "not without a word about the peer: %s",
	   sim.node[1].request_text);
	sim_run(&sim, 100);
	ok(story_promote(&sim.node[1], false, true), "with --peer-dead: %s", sim.node[1].request_text);
	sim_run(&sim, 1000);
	is_text(sim.node[1].told, "peer-back node0;peer-lost node0;role-changed;",
		"fail-over: what hooks are told");
	sim_power_on(&sim.node[0]);
	story_settled("after the crash");
	is_text(sim.node[1].told, "peer-back node0;peer-lost node0;role-changed;peer-back node0;",
		"fail-over: and when the peer is back");
	ok(sim.node[1].kernel.primary && !sim.node[0].kernel.primary, "the survivor leads");
	ok(!story_promote(&sim.node[0], false, true), "a living peer is not dead: %s",
	   sim.node[0].request_text);
	story_finish("fail-over");
}

static unsigned int all_dirty(const struct sim_node *n)
{
	unsigned int dirty = 0;

	for (unsigned int i = 0; i < SK_SLOTS; i++)
		for (unsigned int b = 0; n->kernel.slot[i].kind && b < SK_BLOCKS; b++)
			dirty += n->kernel.slot[i].dirty[b];
	return dirty;
}

/* Two peers that never copied from one another, and what they differ in once their primary is lost. */
static void survivors(uint64_t seed)
{
	unsigned int found;

	story_begin(3, seed);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	story_settled("three nodes before the crash");
	sim_run(&sim, 1000);
	sim_power_off(&sim.node[0]);
	sim_run(&sim, 100);
	found = all_dirty(&sim.node[1]) + all_dirty(&sim.node[2]);
	ok(found < SK_BLOCKS, "the survivors are in doubt of what was written lately: %u blocks", found);
	ok(story_promote(&sim.node[1], false, true), "one takes over: %s", sim.node[1].request_text);
	ok(!story_promote(&sim.node[2], false, true), "not the other, too: %s", sim.node[2].request_text);
	sim_run(&sim, 5000);
	sim_power_on(&sim.node[0]);
	story_settled("three nodes after the crash");
	story_finish("three nodes, one lost");
}

static void agent_restart(uint64_t seed)
{
	struct repl_id generation;

	story_begin(2, seed);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	sim_until(&sim, sim_all_live, 60000);
	generation = sim.node[0].kernel.generation;
	sim_agent_kill(&sim.node[0]);
	sim_run(&sim, 3000);
	sim_agent_start(&sim.node[0]);
	sim_run(&sim, 3000);
	sim_agent_kill(&sim.node[1]);
	sim_agent_kill(&sim.node[0]);
	sim_run(&sim, 1000);
	sim_agent_start(&sim.node[1]);
	sim_agent_start(&sim.node[0]);
	story_settled("agents restart");
	ok(!memcmp(&generation, &sim.node[0].kernel.generation, sizeof(generation)),
	   "the kernels did not notice: the generation is the same");
	story_finish("agents restart");
}

static void simultaneous(uint64_t seed)
{
	story_begin(2, seed);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim_until(&sim, sim_all_live, 60000);
	sim_secondary(&sim.node[0]);
	sim_until(&sim, sim_answered, 5000);
	sim_primary(&sim.node[0], false, false);
	sim_primary(&sim.node[1], false, false);
	sim_until(&sim, sim_answered, 30000);
	ok(sim.node[0].kernel.primary + sim.node[1].kernel.primary <= 1,
	   "two ask at once: at most one is granted");
	story_settled("two ask at once");
	story_finish("two ask at once");
}

/* Nobody writes, so no delta tells the follower that the leader has begun anew. */
static void half_a_link(uint64_t seed)
{
	story_begin(2, seed);
	sim_until(&sim, story_connected, 5000);
	sim.half_links = 3;
	story_promote(&sim.node[0], false, false);
	ok(sim_until(&sim, sim_all_live, 5000) && !sim.half_links,
	   "three links of which the leader's end fails: live within 5 s");
	story_finish("half a link");
}

static bool many_links(const struct sim *s)
{
	return s->links_made >= 6;
}

/* Links end before their keys are worn, and others take their place under the load. */
static void worn_keys(uint64_t seed)
{
	story_begin(2, seed);
	for (unsigned int i = 0; i < 2; i++)
		sim.node[i].core.link_bytes = 48 << 20;
	/* Between two looks this load adds more to so small a limit than any to the real one. */
	sim.link_bytes = 96 << 20;
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	ok(sim_until(&sim, many_links, 3600000), "worn keys: links are replaced");
	ok(sim.written > 5 * ((48ull << 20) * 8 / 10 >> REPL_BLOCK_SHIFT),
	   "worn keys: none of them much earlier than needed: %llu writes",
	   (unsigned long long)sim.written);
	story_settled("worn keys");
	story_finish("worn keys");
}

static void rounds(uint64_t seed)
{
	unsigned int granted = 0;

	story_begin(3, seed);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	for (unsigned int i = 1; i < 7; i++) {
		sim.writing = true;
		sim_until(&sim, sim_all_live, 60000);
		sim.writing = false;
		sim_run(&sim, 200);
		sim_secondary(sim_primary_node(&sim));
		sim_until(&sim, sim_answered, 5000);
		sim_until(&sim, sim_all_live, 60000);
		granted += story_promote(&sim.node[i % 3], false, false);
	}
	is_number(granted, 6, "three nodes in turn: each is granted it");
	story_settled("three nodes in turn");
	story_finish("three nodes in turn");
}

/*
 * The role goes to another node before the three have settled, so the messages of pairs
 * that begin to follow cross those of pairs that leave.  Return: all live again each time.
 */
static bool hurried(uint64_t seed)
{
	bool good = true;

	story_begin(3, seed);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	for (unsigned int i = 0; i < 12 && good && !sim.broken; i++) {
		struct sim_node *from;

		good = sim_until(&sim, sim_all_live, 60000);
		from = sim_primary_node(&sim);
		good = good && from;
		if (!good)
			break;
		sim_secondary(from);
		sim_until(&sim, sim_answered, 5000);
		sim_run(&sim, sim_random(&sim, 3) * sim_random(&sim, 40));
		for (unsigned int n = 1; good && n < 4 && !sim_primary_node(&sim); n++)
			story_promote(&sim.node[(from->index + n) % 3], false, false);
	}
	good = good && sim_until(&sim, sim_all_live, 60000);
	sim.writing = false;
	sim_run(&sim, 500);
	good = good && !sim.broken && sim_equal(&sim);
	if (!good) {
		printf("# seed %llu: %s %s\n", (unsigned long long)seed,
		       sim.broken ? sim.broken : "not live, or not equal", sim.detail);
		story_show();
	}
	sim_exit(&sim);
	return good;
}

static void hurried_rounds(uint64_t seed, unsigned int runs)
{
	unsigned int bad = 0;

	for (unsigned int i = 0; i < runs; i++)
		bad += !hurried(random_next(&seed));
	ok(!bad, "three nodes in turn, without waiting: %u of %u runs fail", bad, runs);
}

/* ------------------------------------------------- ends at a message --- */

/*
 * A primary dies under load, the other goes on, the dead one comes back; and while it
 * catches up the session ends at one message, which is lost or is the last that
 * arrives.  What is confirmed on one side only must not count on the other.
 * Return: whether that message came, in *@came; and whether all was well.
 */
static bool ends_at(uint16_t type, unsigned int nth, bool after, bool power, uint64_t seed, bool *came)
{
	bool good;

	story_begin(2, seed);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	sim_until(&sim, sim_all_live, 60000);
	sim_run(&sim, 300);
	sim_power_off(&sim.node[0]);
	sim_run(&sim, 100);
	story_promote(&sim.node[1], false, true);
	sim_run(&sim, 200 + sim_random(&sim, 300));
	sim.break_type = type;
	sim.break_nth = nth;
	sim.break_after = after;
	sim_power_on(&sim.node[0]);
	for (unsigned int ms = 0; sim.break_type && ms < 20000; ms++)
		sim_run(&sim, 1);
	*came = !sim.break_type;
	sim.break_type = 0;
	/* What the device of the one that catches up has not flushed may be gone as well. */
	if (power) {
		sim_run(&sim, sim_random(&sim, 20));
		sim_power_off(&sim.node[0]);
		sim_run(&sim, 50);
		sim_power_on(&sim.node[0]);
	}
	good = sim_until(&sim, sim_all_live, 120000);
	sim.writing = false;
	sim_run(&sim, 500);
	good = good && !sim.broken && sim_equal(&sim);
	if (!good) {
		printf("# %s %u, %s%s, seed %llu: %s %s\n", msg_name(type), nth, after ? "the last" : "lost",
		       power ? ", power fails" : "", (unsigned long long)seed,
		       sim.broken ? sim.broken : "not live, or not equal", sim.detail);
		story_show();
	}
	sim_exit(&sim);
	return good;
}

/* Those of other steps, and what is sent of a delta so large, or so full of zeroes, as none is here. */
static bool must_come(uint16_t type)
{
	static const uint16_t others[] = {
		REPL_MSG_REFUSE, REPL_MSG_ZEROS, REPL_MSG_CONSENT_ASK, REPL_MSG_CONSENT,
		REPL_MSG_LINK_HELLO, REPL_MSG_LINK_PROOF, REPL_MSG_RESOLVE, REPL_MSG_GROW,
		REPL_MSG_GROWN, REPL_MSG_COMMIT, REPL_MSG_COMMITTED,
	};

	for (unsigned int i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (others[i] == type)
			return false;
	return true;
}

/* Of every kind of message the first ones; there are many of those that a delta consists of. */
static void ends_anywhere(uint64_t seed)
{
	enum { TIMES = 4 };
	unsigned int runs = 0, bad = 0, missed = 0, came;
	bool hit;

	for (uint16_t type = REPL_MSG_HELLO; strcmp(msg_name(type), msg_name(0)); type++) {
		came = 0;
		for (unsigned int i = 0; i < TIMES * 4; i++, runs++) {
			bad += !ends_at(type, 1 + i / 4, i & 1, i & 2, random_next(&seed), &hit);
			came += hit;
		}
		if (!came && must_come(type)) {
			printf("# no %s\n", msg_name(type));
			missed++;
		}
	}
	is_number(missed, 0, "each message that must come has come");
	ok(!bad, "the session ends at any message of a catching up: %u of %u runs fail", bad, runs);
}

/* -------------------------------------------------------------- epochs -- */

static bool second_syncs(const struct sim *s)
{
	return s->node[1].running && pair_following(s->node[1].volume->pair[0]);
}

static bool second_commits(const struct sim *s)
{
	return s->node[1].running && s->node[1].volume->redo.step == REDO_APPLY;
}

static void catches_up(uint64_t seed)
{
	uint64_t epoch;

	story_apart(seed, second_syncs);
	epoch = sim.node[0].kernel.epoch;
	ok(sim_until(&sim, sim_all_live, 60000), "epochs: in sync after a long time apart");
	ok(sim.node[1].commits >= 2, "epochs: by way of one in between: %u", sim.node[1].commits);
	ok(sim.node[0].kernel.epoch > epoch, "epochs: it has a number of its own");
	story_settled("epochs");
	story_finish("epochs");
	story_apart(seed, second_syncs);
	sim.stage_most = 40;
	ok(sim_until(&sim, sim_all_live, 60000), "epochs: in sync, though it did not fit");
	is_number(sim.node[1].commits, 0, "epochs: directly");
	story_settled("epochs, directly");
	story_finish("epochs, directly");
	story_apart(seed, second_syncs);
	sim.no_direct = true;
	sim_agent_kill(&sim.node[1]);
	sim.stage_most = 40;
	sim_agent_start(&sim.node[1]);
	sim_run(&sim, 10000);
	sim.writing = false;
	sim_run(&sim, 100000);
	ok(sim.node[1].kernel.flags & REPL_SB_CONSISTENT, "epochs: where that is not allowed it stays as it was");
	ok(strstr(story_pair(1)->reason, "cannot be staged"), "epochs: and says so: %s", story_pair(1)->reason);
	sim.stage_most = SIM_STAGE_MAX;
	ok(sim_until(&sim, sim_all_live, 400000), "epochs: with more room it goes on by itself");
	story_settled("epochs, with more room");
	story_finish("epochs, with more room");
}

/*
 * At any moment, and once more a little later: then the leader is lost for good, and its
 * replica is promoted.  It holds one past state.  Return: whether all was so.
 */
static bool dies_at(uint64_t seed, bool applying)
{
	struct sim_node *a = &sim.node[0], *b = &sim.node[1];
	bool good;

	story_apart(seed, second_syncs);
	if (applying)
		sim_until(&sim, second_commits, 5000);
	sim_run(&sim, sim_random(&sim, applying ? 60 : 400));
	story_happens(sim_random(&sim, MISHAPS));
	sim_run(&sim, sim_random(&sim, sim_random(&sim, 2) ? 20 : 3000));
	for (unsigned int i = 0; i < 2; i++)
		sim_power_on(&sim.node[i]);
	sim_run(&sim, sim_random(&sim, 2000));
	sim.writing = false;
	sim_power_off(a);
	sim_run(&sim, sim_random(&sim, 30));
	if (sim_random(&sim, 2)) {
		sim_power_off(b);
		sim_power_on(b);
	}
	sim_run(&sim, 2000);
	good = !sim.broken && (b->kernel.flags & REPL_SB_CONSISTENT) && sim_prefix(&sim, b);
	/* It may have been in sync, and a proof is enough then. */
	good = good && (story_promote(b, false, true) || story_promote(b, true, false));
	good = good && sim_prefix(&sim, b);
	if (!good) {
		printf("# seed %llu: %s %s: %s\n", (unsigned long long)seed,
		       sim.broken ? sim.broken : "no past state", sim.detail, b->request_text);
		story_show();
	}
	sim_exit(&sim);
	return good;
}

/* The same, but the leader comes back: nothing is lost, and both are equal in the end. */
static bool goes_on_after(uint64_t seed, bool applying)
{
	bool good;

	story_apart(seed, second_syncs);
	sim.op_failures = (unsigned int)sim_random(&sim, 2) * 30;
	for (unsigned int i = 0; i < 3; i++) {
		if (applying)
			sim_until(&sim, second_commits, 5000);
		sim_run(&sim, sim_random(&sim, applying ? 60 : 400));
		story_happens(sim_random(&sim, MISHAPS));
		sim_run(&sim, sim_random(&sim, sim_random(&sim, 2) ? 20 : 3000));
		for (unsigned int n = 0; n < 2; n++)
			sim_power_on(&sim.node[n]);
		if (!sim_primary_node(&sim)) {
			sim_until(&sim, story_connected, 5000);
			sim_forget(&sim);
			story_promote(&sim.node[0], true, false);
		}
	}
	sim.op_failures = 0;
	good = sim_until(&sim, sim_all_live, 120000);
	sim.writing = false;
	sim_run(&sim, 500);
	good = good && !sim.broken && sim_equal(&sim);
	if (!good) {
		printf("# seed %llu: %s %s\n", (unsigned long long)seed,
		       sim.broken ? sim.broken : "not live, or not equal", sim.detail);
		story_show();
	}
	sim_exit(&sim);
	return good;
}

static void epochs(uint64_t seed, unsigned int runs)
{
	unsigned int bad = 0;

	catches_up(random_next(&seed));
	for (unsigned int i = 0; i < 4 * runs; i++)
		bad += !dies_at(random_next(&seed), i & 1);
	ok(!bad, "a replica is a past state, whenever its leader dies: %u of %u runs fail", bad, 4 * runs);
	bad = 0;
	for (unsigned int i = 0; i < 4 * runs; i++)
		bad += !goes_on_after(random_next(&seed), i & 1);
	ok(!bad, "a catching up goes on after any crash: %u of %u runs fail", bad, 4 * runs);
}

/* -------------------------------------------------------------- splits -- */

static bool split(const struct sim *s)
{
	for (unsigned int i = 0; i < s->nodes; i++)
		if (!s->node[i].running || story_pair(i)->phase != PHASE_MEET || !story_pair(i)->judged ||
		    story_pair(i)->verdict.kind != VERDICT_SPLIT)
			return false;
	return true;
}

/* From now on only what this copy has counts as acknowledged. */
static void kept(const struct sim_node *n)
{
	memcpy(sim.acked, n->kernel.data, sizeof(sim.acked));
}

/* Nobody writes any more, and they meet as secondary and, perhaps, primary. */
static bool meet_split(struct sim_node *demoted)
{
	sim.writing = false;
	sim_run(&sim, 200);
	sim_secondary(demoted);
	sim_until(&sim, sim_answered, 5000);
	sim_partition(&sim, 0, 1, false);
	return sim_until(&sim, split, 60000);
}

/* Both wrote alone; node0 goes on as primary, node1 is secondary again. */
static bool make_split(uint64_t seed)
{
	story_begin(2, seed);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	sim_until(&sim, sim_all_live, 60000);
	sim_partition(&sim, 0, 1, true);
	sim_run(&sim, 15000);
	if (!story_promote(&sim.node[1], true, false))
		return false;
	sim_run(&sim, 300);
	return meet_split(&sim.node[1]);
}

static bool resolved(struct sim_node *n, const char *keep, bool no_save)
{
	sim_resolve(n, keep, no_save);
	sim_until(&sim, sim_answered, 120000);
	return n->request_ok;
}

static void refuses(struct sim_node *n, const char *keep, const char *words, const char *name)
{
	bool done = resolved(n, keep, false);

	ok(!done && strstr(n->request_text, words), "split: %s: %s", name, n->request_text);
}

/* Everything that only the loser had is in the file, as it was; and what the other knows to differ. */
static bool file_has(const struct sim_node *n, const uint64_t *data, const bool *dirty, const bool *theirs)
{
	for (unsigned int b = 0; b < SK_BLOCKS; b++)
		if ((dirty[b] || theirs[b] || n->saved_block[b]) && (!n->saved_block[b] || n->saved[b] != data[b]))
			return false;
	return true;
}

static void splits(uint64_t seed, unsigned int where, bool no_save)
{
	static uint64_t here[SK_BLOCKS], there[SK_BLOCKS];
	static bool dirty[SK_BLOCKS], theirs[SK_BLOCKS];
	struct sim_node *keep = &sim.node[0], *lose = &sim.node[1];
	struct verdict v;

	ok(make_split(seed), "split: found on both sides");
	memcpy(here, keep->kernel.data, sizeof(here));
	memcpy(there, lose->kernel.data, sizeof(there));
	memcpy(dirty, lose->kernel.slot[0].dirty, sizeof(dirty));
	memcpy(theirs, keep->kernel.slot[0].dirty, sizeof(theirs));
	ok(memcmp(here, there, sizeof(here)), "split: the copies differ");
	sim_run(&sim, 60000);
	ok(!memcmp(here, keep->kernel.data, sizeof(here)) &&
	   !memcmp(there, lose->kernel.data, sizeof(there)), "split: nothing happens by itself");
	ok(story_pair(0)->mine.slot_dirty_blocks && story_pair(1)->theirs.slot_dirty_blocks ==
	   story_pair(0)->mine.slot_dirty_blocks, "split: each knows what the other would lose");
	refuses(keep, "node7", "node7 has no copy", "a node that is none");
	refuses(keep, "node1", "node0 is primary, and its copy would go", "the one in use");
	refuses(lose, "node1", "node0 is primary, and its copy would go", "the same, from there");
	sim_partition(&sim, 0, 1, true);
	sim_run(&sim, 15000);
	refuses(keep, "node0", "node1 is not connected", "with the peer away");
	sim_partition(&sim, 0, 1, false);
	sim_until(&sim, split, 60000);
	kept(keep);
	sim.writing = true;
	ok(resolved(&sim.node[where], "node0", no_save), "split: resolved on node%u: %s", where,
	   sim.node[where].request_text);
	ok(no_save ? !lose->saves : file_has(lose, there, dirty, theirs),
	   "split: what node1 had alone was %ssaved", no_save ? "not " : "");
	story_settled("after a split");
	verdict(&v, &story_pair(0)->mine, &story_pair(0)->theirs, true);
	ok(v.kind != VERDICT_SPLIT, "and are one volume again");
	refuses(keep, "node0", "there is no split", "a second time");
	story_finish("split");
}

/*
 * node0 has gone on and is caught up with, by passes that are staged; then the connection is
 * gone for good.  What came in these passes node0 takes for node1's affair, which has dropped
 * it, and is promoted by force.
 */
static bool staged_split(uint64_t seed, uint16_t at, unsigned int nth)
{
	story_apart(seed, second_syncs);
	sim.break_type = at;
	sim.break_nth = nth;
	for (unsigned int ms = 0; sim.break_type && ms < 20000; ms++)
		sim_run(&sim, 1);
	sim_partition(&sim, 0, 1, true);
	sim.writing = sim.ordered = false;
	if (sim.break_type || sim.node[1].commits)
		return false;
	sim_run(&sim, 15000);
	if (!story_promote(&sim.node[1], true, false))
		return false;
	sim.writing = true;
	sim_run(&sim, 100);
	return meet_split(&sim.node[0]);
}

/* Whatever differs is in the file, though the loser's own map does not have all of it. */
static void saves_what_was_staged(uint64_t seed, unsigned int where, uint16_t at, unsigned int nth)
{
	static uint64_t there[SK_BLOCKS];
	const struct sim_node *keep = &sim.node[1], *lose = &sim.node[0];
	unsigned int missing = 0, unknown = 0;

	need(staged_split(seed, at, nth), "split: after a pass that was staged");
	memcpy(there, lose->kernel.data, sizeof(there));
	for (unsigned int b = 0; b < SK_BLOCKS; b++)
		unknown += there[b] != keep->kernel.data[b] && !lose->kernel.slot[0].dirty[b];
	ok(unknown, "split: %u blocks are not in the loser's map", unknown);
	ok(resolved(&sim.node[where], "node1", false), "split: resolved on node%u: %s", where,
	   sim.node[where].request_text);
	kept(keep);
	for (unsigned int b = 0; b < SK_BLOCKS; b++)
		missing += there[b] != keep->kernel.data[b] &&
			   (!lose->saved_block[b] || lose->saved[b] != there[b]);
	ok(!missing, "split: all of them are saved: %u are not", missing);
	story_settled("after a split with something staged");
	story_finish("a split with something staged");
}

/* The kept node's generation is another one by the time the file is whole. */
static void changed_meanwhile(uint64_t seed)
{
	struct sim_node *keep = &sim.node[0], *lose = &sim.node[1];

	make_split(seed);
	sim_secondary(keep);
	sim_until(&sim, sim_answered, 5000);
	sim_until(&sim, split, 60000);
	sim.save_ms = 3000;
	sim_resolve(lose, "node0", false);
	sim_run(&sim, 20);
	ok(lose->request, "split: saving");
	sim_primary(keep, true, false);
	sim_until(&sim, sim_answered, 60000);
	ok(!lose->request_ok && strstr(lose->request_text, "changed meanwhile"),
	   "split: what nobody has looked at is not decided about: %s", lose->request_text);
	ok(sim_until(&sim, split, 60000), "split still");
	kept(keep);
	sim.writing = true;
	ok(resolved(lose, "node0", false), "split: after another look it is: %s", lose->request_text);
	story_settled("after a change");
	story_finish("changed meanwhile");
}

/*
 * The agents die, sessions break and ops fail at any step of a resolve; another one, with the
 * same or the other copy kept, begins at any time.  What is given up was saved, and in the
 * end there is one volume.
 */
static bool split_chaos(uint64_t seed)
{
	bool good = seed % 3 ? make_split(seed) : staged_split(seed, REPL_MSG_COMMIT, 1);

	sim.op_failures = 20;
	for (int i = 0; i < 25 && good && !sim.broken; i++) {
		struct sim_node *n = &sim.node[sim_random(&sim, 2)];

		switch (sim_random(&sim, 8)) {
		case 0:
			sim_agent_kill(n);
			break;
		case 1:
			sim_reset_sessions(n);
			break;
		case 2:
			sim_secondary(n);
			break;
		case 3:
			sim_primary(n, true, false);
			break;
		case 4:
			sim.break_type = sim_random(&sim, 2) ? REPL_MSG_MAP : REPL_MSG_RESOLVE;
			sim.break_nth = 1 + (unsigned int)sim_random(&sim, 4);
			break;
		default:
			sim_resolve(n, sim.node[sim_random(&sim, 2)].name, false);
			break;
		}
		sim_run(&sim, 1 + sim_random(&sim, sim_random(&sim, 2) ? 50 : 5000));
		for (unsigned int a = 0; a < 2 && sim_random(&sim, 2); a++)
			sim_agent_start(&sim.node[a]);
	}
	sim.op_failures = 0;
	sim.break_type = 0;
	for (unsigned int a = 0; a < 2; a++)
		sim_agent_start(&sim.node[a]);
	sim_run(&sim, 15000);
	/* Both may be primary by force. */
	if (sim.node[0].kernel.primary && sim.node[1].kernel.primary) {
		sim_secondary(&sim.node[1]);
		sim_until(&sim, sim_answered, 5000);
		sim_run(&sim, 5000);
	}
	sim_run(&sim, 70000);
	for (int i = 0; i < 5 && split(&sim); i++) {
		resolved(&sim.node[i % 2], sim.node[1].kernel.primary ? "node1" : "node0", false);
		sim_run(&sim, 1000);
	}
	good = good && sim_until(&sim, sim_all_live, 120000) && !sim.broken &&
	       !memcmp(sim.node[0].kernel.data, sim.node[1].kernel.data, sizeof(sim.acked));
	if (!good) {
		printf("# SEED=%llu of a split fails: %s %s\n", (unsigned long long)seed,
		       sim.broken ? sim.broken : "not live, or not equal", sim.detail);
		story_show();
	}
	sim_exit(&sim);
	return good;
}

/* --------------------------------------------------------------- chaos -- */

static void operator_acts(void)
{
	struct sim_node *n = &sim.node[sim_random(&sim, sim.nodes)];

	if (sim_primary_node(&sim) && sim_random(&sim, 2))
		sim_secondary(sim_primary_node(&sim));
	else
		sim_primary(n, false, false);
}

/*
 * Power fails, and the primary changes under faults, in pairs only.  Of three nodes one
 * may be lost in the middle of following the primary, then follow the third, and with
 * that forget what the primary has written meanwhile: their consent does not keep
 * three nodes together under any faults, and nothing but an arbiter can.
 */
static void fault(void)
{
	struct sim_node *n = &sim.node[sim_random(&sim, sim.nodes)];
	unsigned int a = (unsigned int)sim_random(&sim, sim.nodes);
	unsigned int b = (a + 1) % sim.nodes;

	switch (sim_random(&sim, sim.nodes == 2 ? 10 : 8)) {
	case 0:
		sim_agent_kill(n);
		break;
	case 1:
	case 2:
		sim_agent_start(n);
		break;
	case 8:
		sim_power_off(n);
		break;
	case 9:
		for (unsigned int i = 0; i < sim.nodes; i++)
			sim_power_on(&sim.node[i]);
		break;
	case 3:
		sim_partition(&sim, a, b, true);
		break;
	case 4:
		sim_partition(&sim, a, b, false);
		break;
	case 5:
		sim_kill_links(n);
		break;
	case 6:
		sim_reset_sessions(n);
		break;
	default:
		if (sim.nodes == 2)
			operator_acts();
		break;
	}
}

static bool chaos(unsigned int nodes, uint64_t seed, bool freezes)
{
	bool good;

	story_begin(nodes, seed);
	for (unsigned int i = 0; i < nodes; i++)
		sim.node[i].kernel.freezes = freezes;
	sim.writing = true;
	sim.op_failures = 20;
	sim_until(&sim, story_connected, 5000);
	sim_primary(&sim.node[0], false, false);
	for (int i = 0; i < 60 && !sim.broken; i++) {
		sim_run(&sim, 20 + sim_random(&sim, sim_random(&sim, 4) ? 400 : 12000));
		fault();
	}
	sim.op_failures = 0;
	for (unsigned int a = 0; a < nodes; a++) {
		sim_power_on(&sim.node[a]);
		sim_partition(&sim, a, (a + 1) % nodes, false);
	}
	sim_run(&sim, 15000);
	/* Whoever was primary last may still be; if not, somebody has to begin. */
	for (int i = 0; i < 10 && !sim_primary_node(&sim) && !sim.broken; i++) {
		story_promote(&sim.node[i % nodes], false, false);
		sim_run(&sim, 1000);
	}
	good = sim_until(&sim, sim_all_live, 120000);
	sim.writing = false;
	sim_run(&sim, 500);
	good = good && !sim.broken && sim_equal(&sim);
	if (!good) {
		printf("# SEED=%llu of %u nodes%s fails: %s %s\n", (unsigned long long)seed, nodes,
		       freezes ? " that freeze" : "", sim.broken ? sim.broken : "not live, or not equal",
		       sim.detail);
		story_show();
	}
	sim_exit(&sim);
	return good;
}

int main(void)
{
	const char *only = getenv("CHAOS");
	uint64_t seed = random_seed(), first = seed;
	unsigned int bad = 0, runs = getenv("RUNS") ? (unsigned int)atoi(getenv("RUNS")) : 30;

	story_verbose = getenv("VERBOSE");
	if (only && !strcmp(only, "epochs")) {
		epochs(seed, runs);
		return tap_end();
	}
	if (only && !strncmp(only, "goes", 4)) {
		ok(goes_on_after(seed, !strcmp(only, "goes-applying")), "one that goes on");
		return tap_end();
	}
	if (only) {
		ok(atoi(only) ? chaos((unsigned int)atoi(only), seed, strstr(only, "freeze")) : split_chaos(seed),
		   "chaos");
		return tap_end();
	}
	first_join(2, random_next(&seed));
	first_join(3, random_next(&seed));
	hand_over(random_next(&seed));
	fail_over(random_next(&seed));
	agent_restart(random_next(&seed));
	simultaneous(random_next(&seed));
	half_a_link(random_next(&seed));
	worn_keys(random_next(&seed));
	rounds(random_next(&seed));
	hurried_rounds(random_next(&seed), runs);
	splits(random_next(&seed), 0, false);
	splits(random_next(&seed), 1, false);
	splits(random_next(&seed), 1, true);
	saves_what_was_staged(random_next(&seed), 0, REPL_MSG_DELTA_BEGIN, 2);
	saves_what_was_staged(random_next(&seed), 1, REPL_MSG_COMMIT, 1);
	changed_meanwhile(random_next(&seed));
	survivors(random_next(&seed));
	ends_anywhere(random_next(&seed));
	epochs(random_next(&seed), runs);
	for (unsigned int i = 0; i < 2 * runs; i++)
		bad += !split_chaos(first + i);
	ok(!bad, "chaos in a split: %u of %u runs fail", bad, 2 * runs);
	for (unsigned int nodes = 2; nodes <= 3; nodes++) {
		bad = 0;
		for (unsigned int i = 0; i < 2 * runs; i++)
			bad += !chaos(nodes, first + i / 2, i % 2);
		ok(!bad, "chaos among %u nodes: %u of %u runs fail", nodes, bad, 2 * runs);
	}
	return tap_end();
}
