// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two agents' cores, one of them rolling, through faults and crashes.  $SEED repeats
 * all of it, $RUNS of them; with ONE=1, the one whose seed it is.  $VERBOSE=1 prints what
 * the agents log.
 * needs: tests/unit/sim_witness.c userspace/agent/register.c userspace/agent/arbiter.c
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: tests/unit/sim.c tests/unit/sim_net.c tests/unit/sim_work.c tests/unit/sim_kernel.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c
 * needs: userspace/agent/pair.c userspace/agent/redo.c userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/resolve.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c userspace/agent/suspect.c
 */
#include "sim_story.h"

#include "roll.h"
#include "sim_private.h"
#include "tap.h"

static bool second_rolls(const struct sim *s)
{
	return s->node[0].running && s->node[1].running && roll_running(s->node[0].volume->pair[0]) &&
	       roll_running(s->node[1].volume->pair[0]);
}

enum { ROLL_STEP = 20, ROLL_STEPS = 8192 };

/* How many writes there were, step by step; and whether the replica is ever older than its leader says. */
static uint64_t writes_at[ROLL_STEPS];
static unsigned int steps;

/* What it lacks is told in full: as of the kernel's word, and with what is staged there only. */
static bool lacks_no_more_than_said(void)
{
	const struct sim_node *a = &sim.node[0], *b = &sim.node[1];
	uint64_t lacks = 0;

	if (!a->running || roll_age(story_pair(0)) < 0 || !(b->kernel.flags & REPL_SB_CONSISTENT) || b->kernel.primary)
		return true;
	core_get(a->volume);
	sim_settle(&sim.node[0]);
	for (unsigned int i = 0; i < SK_BLOCKS; i++)
		lacks += a->kernel.data[i] != b->kernel.data[i];
	if (roll_behind(story_pair(0)) >= (int64_t)(lacks << REPL_BLOCK_SHIFT))
		return true;
	printf("# the replica lacks %llu blocks, and is said to lack %lld\n", (unsigned long long)lacks,
	       (long long)roll_behind(story_pair(0)) >> REPL_BLOCK_SHIFT);
	return false;
}

static bool runs_and_is_as_old_as_said(uint64_t ms)
{
	const struct sim_node *a = &sim.node[0], *b = &sim.node[1];

	for (uint64_t i = 0; i < ms / ROLL_STEP && steps < ROLL_STEPS; i++) {
		int64_t age = a->running ? roll_age(story_pair(0)) : -1;

		writes_at[steps++] = sim.written;
		/* The last one that was begun then may have been in flight. */
		if (age >= 0 && (b->kernel.flags & REPL_SB_CONSISTENT) && !b->kernel.primary &&
		    (uint64_t)age / ROLL_STEP + 2 < steps &&
		    sim_newest(b) + 1 < writes_at[steps - 2 - (uint64_t)age / ROLL_STEP]) {
			printf("# the replica has write %llu, and is said to be %lld ms old: %llu were there\n",
			       (unsigned long long)sim_newest(b), (long long)age,
			       (unsigned long long)writes_at[steps - 2 - (uint64_t)age / ROLL_STEP]);
			return false;
		}
		sim_run(&sim, ROLL_STEP);
		if (!lacks_no_more_than_said())
			return false;
	}
	return true;
}

/* That it is a past state all the time, the simulator itself looks at. */
static bool rolls(uint64_t seed, bool leaky)
{
	struct sim_node *b = &sim.node[1];
	bool good;

	story_begin(2, seed);
	steps = 0;
	sim.ordered = true;
	/* Of a run or two writes wait for the peer, whatever happens. */
	sim.throttle = sim_random(&sim, 2);
	sim.bound_ms = sim.throttle ? 500 + (uint32_t)sim_random(&sim, 1000) : 0;
	sim_roll(&sim, 200);
	sim.node[0].kernel.leaky = leaky;
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	good = sim_until(&sim, second_rolls, 60000) && runs_and_is_as_old_as_said(5000);
	if (good && b->commits < 5)
		good = false;
	sim.op_failures = (unsigned int)sim_random(&sim, 2) * 30;
	for (unsigned int i = 0; good && i < 4; i++) {
		story_happens(sim_random(&sim, MISHAPS));
		good = runs_and_is_as_old_as_said(sim_random(&sim, sim_random(&sim, 2) ? 40 : 3000));
		for (unsigned int n = 0; n < 2; n++)
			sim_power_on(&sim.node[n]);
		if (!sim_primary_node(&sim)) {
			sim_until(&sim, story_connected, 5000);
			/* A write that a live peer did not get, and that was lost here, is in no line any more. */
			sim_forget(&sim);
			story_promote(&sim.node[0], true, false);
		}
		good = good && runs_and_is_as_old_as_said(1000 + sim_random(&sim, 2000));
	}
	sim.op_failures = 0;
	/* The kernel may have refused it. */
	if (!sim_primary_node(&sim) && sim_until(&sim, story_connected, 20000)) {
		sim_forget(&sim);
		story_promote(&sim.node[0], true, false);
	}
	good = good && sim_until(&sim, second_rolls, 120000);
	sim_roll(&sim, 0);
	good = good && sim_until(&sim, sim_all_live, 120000);
	sim.writing = false;
	sim_run(&sim, 500);
	good = good && !sim.broken && sim_equal(&sim);
	if (!good && !leaky) {
		printf("# ONE=1 SEED=%llu: %s %s, %u epochs\n", (unsigned long long)seed,
		       sim.broken ? sim.broken : "not as it should be", sim.detail, b->commits);
		story_show();
	}
	sim_exit(&sim);
	return good;
}

static void rolling(uint64_t seed, unsigned int runs)
{
	unsigned int bad = 0;

	for (unsigned int i = 0; i < 2 * runs; i++)
		bad += !rolls(random_next(&seed), false);
	ok(!bad, "a rolling peer is a past state, as old as is said: %u of %u runs fail", bad, 2 * runs);
	bad = 0;
	for (unsigned int i = 0; i < 5 && !bad; i++)
		bad += !rolls(random_next(&seed), true);
	ok(bad, "planted, a freeze that holds no write is found");
}

static bool first_is_live(const struct sim *s)
{
	return s->node[0].running && story_pair(0)->phase == PHASE_LIVE;
}

static bool first_joins(const struct sim *s)
{
	return s->node[0].running && story_pair(0)->phase == PHASE_L_LINK;
}

/*
 * The disk there takes nothing in: what it misses can only be applied as it comes, and its copy is
 * not consistent for as long as that takes.  So it is rather in sync, which needs no staging.
 */
static void cannot_stage(uint64_t seed)
{
	const struct sim_node *b = &sim.node[1];
	unsigned int bad = 0, links;

	story_begin(2, seed);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	need(sim_until(&sim, sim_all_live, 60000), "a pair that is live");
	sim.stage_most = 1;
	sim_roll(&sim, 200);
	links = sim.links_made;
	for (unsigned int i = 0; i < 6000; i++) {
		sim_run(&sim, 100);
		bad += !(b->kernel.flags & REPL_SB_CONSISTENT);
	}
	links = sim.links_made - links;
	ok(links > 2 && links < 8, "a rolling peer that cannot stage is tried again at times: %u links in 600 s", links);
	ok(bad < 300, "and has a copy all the time, but for %u.%u s of them", bad / 10, bad % 10);
	ok(first_is_live(&sim) && strstr(story_pair(0)->reason, "cannot be staged there"), "which status says: %s",
	   story_pair(0)->reason);
	sim.stage_most = SIM_STAGE_MAX;
	ok(sim_until(&sim, second_rolls, 1800000), "once it can, it rolls");
	sim_run(&sim, 5000);
	sim.stage_most = 1;
	ok(sim_until(&sim, first_joins, 60000), "one epoch that is too large goes directly");
	sim.stage_most = SIM_STAGE_MAX;
	ok(sim_until(&sim, second_rolls, 5000), "after which there is no pause");
	story_finish("a rolling peer that cannot stage");
}

static bool rolls_slowly(uint64_t seed)
{
	story_begin(2, seed);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim_until(&sim, sim_all_live, 60000);
	sim.writing = true;
	sim_roll(&sim, 200);
	sim_until(&sim, second_rolls, 60000);
	sim_roll(&sim, 3600000);
	sim_run(&sim, 5000);
	return second_rolls(&sim) && story_pair(0)->phase == PHASE_L_ROLL;
}

/* In the middle of a long interval: what a person says counts then, not when it is over. */
static void changes(uint64_t seed)
{
	unsigned int commits;

	need(rolls_slowly(seed), "an epoch each hour");
	commits = sim.node[1].commits;
	sim_roll(&sim, 200);
	sim_run(&sim, 2000);
	ok(sim.node[1].commits > commits + 3, "a shorter interval: %u epochs in 2 s", sim.node[1].commits - commits);
	story_finish("a shorter interval");
	need(rolls_slowly(seed), "an epoch each hour");
	sim_roll(&sim, 0);
	ok(sim_until(&sim, sim_all_live, 10000), "a peer that is to be in sync");
	story_settled("that is in sync");
	story_finish("a peer that is to be in sync");
	need(rolls_slowly(seed), "an epoch each hour");
	sim.writing = false;
	/* One that is under way keeps it primary. */
	sim_run(&sim, 200);
	sim_secondary(&sim.node[0]);
	sim_run(&sim, 10000);
	ok(!sim.node[0].kernel.primary && first_is_live(&sim), "and one of whom no copy is primary any more");
	story_settled("with two secondaries");
	story_finish("a demotion");
}

static bool second_is_given_up(const struct sim *s)
{
	return s->node[0].running && !(s->node[1].kernel.flags & REPL_SB_CONSISTENT) &&
	       story_pair(0)->phase == PHASE_L_SEND;
}

/* What status says is so: no age of a copy that is none, or is no older one of this; nothing left where nothing is. */
static void figures(uint64_t seed)
{
	need(rolls_slowly(seed), "an epoch each hour");
	sim_roll(&sim, 200);
	sim.writing = false;
	sim_run(&sim, 2000);
	ok(story_pair(1)->phase == PHASE_F_READY && !story_pair(1)->run.left_bytes,
	   "between two epochs nothing is left to be copied");
	ok(strstr(story_pair(1)->reason, "stays consistent"), "nor is anything applied: %s", story_pair(1)->reason);
	ok(roll_age(story_pair(0)) >= 0, "its age is known");
	sim_roll(&sim, 3600000);
	sim_run(&sim, 500);
	sim_secondary(&sim.node[0]);
	sim_until(&sim, sim_answered, 5000);
	ok(!sim.node[0].kernel.primary && roll_age(story_pair(0)) < 0, "but not by who is primary no more");
	story_finish("figures of a demotion");
	need(rolls_slowly(seed), "an epoch each hour");
	sim.stage_most = 1;
	sim_roll(&sim, 200);
	ok(sim_until(&sim, second_is_given_up, 10000), "a copy is given up");
	is_number((uint64_t)roll_age(story_pair(0)), (uint64_t)-1, "then it is not a copy of some age");
	story_finish("figures of a copy that is given up");
}

int main(void)
{
	unsigned int runs = getenv("RUNS") ? (unsigned int)atoi(getenv("RUNS")) : 30;
	uint64_t seed = random_seed();

	story_verbose = getenv("VERBOSE");
	if (getenv("ONE")) {
		ok(rolls(seed, false), "a rolling peer is a past state, as old as is said");
	} else {
		cannot_stage(random_next(&seed));
		changes(random_next(&seed));
		figures(random_next(&seed));
		rolling(seed, runs);
	}
	return tap_end();
}
