// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What was staged long ago, and comes into sight again: it is applied over nothing that is newer.
 * Two agents' cores; $SEED repeats all of it, $RUNS of them.  $VERBOSE=1 prints what they log.
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

static bool follows(const struct sim *s)
{
	return s->node[1].running && pair_following(s->node[1].volume->pair[0]);
}

static bool is_whole(const struct sim *s)
{
	return s->node[1].stage.sealed;
}

static bool applies(const struct sim *s)
{
	return s->node[1].running && s->node[1].volume->redo.step == REDO_APPLY;
}

/* Blocks of its leader have come past the file, and the leader counts them as brought. */
static bool is_copied_directly(const struct sim *s)
{
	const struct pair *p = s->node[1].running ? s->node[1].volume->pair[0] : NULL;

	return p && pair_following(p) && p->run.followed && p->copied.passes > 1;
}

static bool is_done(const struct sim *s)
{
	return s->node[1].running && !s->node[1].volume->redo.step;
}

static bool ends_well(uint64_t seed)
{
	bool good;

	good = !sim.broken && sim_until(&sim, sim_all_live, 120000);
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

/*
 * The replica loses its power with a whole file, before this copy is given up for it or after, and
 * comes up without the file system that it is on.  So it is copied directly.  Then that file system is
 * mounted again.  *@met: the moments were.
 */
static bool comes_back(uint64_t seed, bool applying, bool *met)
{
	struct sim_node *b = &sim.node[1];

	story_apart(seed, follows);
	*met = sim_until(&sim, applying ? applies : is_whole, 30000);
	if (applying)
		sim_run(&sim, sim_random(&sim, 30));
	sim_power_off(b);
	sim_unmount(b);
	/* Nor is there room elsewhere. */
	sim.stage_most = 0;
	sim_power_on(b);
	*met = *met && b->unmounted.sealed && sim_until(&sim, is_copied_directly, 30000);
	if (sim_random(&sim, 2))
		sim_power_off(b);
	else
		sim_agent_kill(b);
	sim_mount(b);
	sim.stage_most = SIM_STAGE_MAX;
	sim_power_on(b);
	return ends_well(seed);
}

/* What was applied cannot be removed, nor another file made: the replica goes on without. */
static bool stays(uint64_t seed, bool *met)
{
	struct sim_node *b = &sim.node[1];

	story_apart(seed, follows);
	*met = sim_until(&sim, applies, 30000);
	b->stage_fixed = true;
	*met = *met && sim_until(&sim, sim_all_live, 120000) && b->stage.sealed &&
	       b->volume->redo.step == REDO_LEFT;
	for (unsigned int i = 0; i < 3; i++) {
		sim_partition(&sim, 0, 1, true);
		sim_run(&sim, 12000 + sim_random(&sim, 2000));
		sim_partition(&sim, 0, 1, false);
		sim_run(&sim, sim_random(&sim, 2000));
		story_happens(sim_random(&sim, 2) ? KILL_FOLLOWER : POWER_FOLLOWER);
		sim_run(&sim, sim_random(&sim, 100));
		sim_power_on(b);
		*met = *met && sim_until(&sim, sim_all_live, 120000) && b->stage.sealed;
	}
	b->stage_fixed = false;
	*met = *met && sim_until(&sim, is_done, CORE_FULL_MS + 1000) && !b->stage.sealed;
	return ends_well(seed);
}

int main(void)
{
	unsigned int runs = getenv("RUNS") ? (unsigned int)atoi(getenv("RUNS")) : 30;
	unsigned int bad = 0, missed = 0;
	uint64_t seed = random_seed();
	bool met;

	story_verbose = getenv("VERBOSE");
	for (unsigned int i = 0; i < 2 * runs; i++) {
		bad += !comes_back(random_next(&seed), i & 1, &met);
		missed += !met;
	}
	ok(!bad, "a file that was out of sight is not applied over what is newer: %u of %u runs fail", bad, 2 * runs);
	ok(missed < runs / 2, "and there was one, mostly: %u of %u had none", missed, 2 * runs);
	bad = missed = 0;
	for (unsigned int i = 0; i < runs / 3; i++) {
		bad += !stays(random_next(&seed), &met);
		missed += !met;
	}
	ok(!bad, "nor is one that cannot be removed: %u of %u runs fail", bad, runs / 3);
	ok(!missed, "the replica is in sync all the same, and the file goes as soon as it can: not in %u", missed);
	return tap_end();
}
