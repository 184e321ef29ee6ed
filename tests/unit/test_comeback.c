// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The primary of a rolling pair is lost, its replica is made primary by force, and then the old one
 * is back, in the simulator: that nothing is given up that was not saved it looks at itself.
 * $SEED repeats it, $RUNS of them; $VERBOSE=1 prints what the agents log.
 * needs: tests/unit/sim_witness.c userspace/agent/register.c userspace/agent/arbiter.c
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: tests/unit/sim.c tests/unit/sim_net.c tests/unit/sim_work.c tests/unit/sim_kernel.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c
 * needs: userspace/agent/pair.c userspace/agent/redo.c userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/resolve.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c userspace/agent/suspect.c
 */
#include "sim_story.h"

#include "comeback.h"
#include "roll.h"
#include "sim_private.h"
#include "tap.h"

static bool rolls(unsigned int first)
{
	return sim.node[0].running && sim.node[1].running && roll_running(story_pair(first)) && roll_running(story_pair(!first)) &&
	       sim.node[first].kernel.primary;
}

static bool first_rolls(const struct sim *s)
{
	(void)s;
	return rolls(0);
}

static bool second_rolls(const struct sim *s)
{
	(void)s;
	return rolls(1);
}

static bool is_split(const struct sim *s)
{
	return s->node[0].running && s->node[1].running && story_pair(0)->judged &&
	       story_pair(0)->verdict.kind == VERDICT_SPLIT;
}

/* node0 has written what node1 has not, and is gone; node1 goes on, and writes. */
static void begin(uint64_t seed, bool follows)
{
	story_begin(2, seed);
	sim.save_and_follow = follows;
	for (unsigned int i = 0; i < 2; i++)
		comeback_set(story_pair(i), follows);
	sim_roll(&sim, 200);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	need(sim_until(&sim, first_rolls, 60000), "it rolls");
	sim_run(&sim, 1000 + sim_random(&sim, 500));
	sim_partition(&sim, 0, 1, true);
	sim_run(&sim, 1000);
	sim_power_off(&sim.node[0]);
	sim_run(&sim, 12000);
	/* Nobody has any more what it had alone. */
	sim_forget(&sim);
	need(story_promote(&sim.node[1], true, false), "the replica is primary");
	sim_run(&sim, 500);
	sim.writing = false;
	sim_run(&sim, 100);
	sim_partition(&sim, 0, 1, false);
	sim_power_on(&sim.node[0]);
}

/* All that only node0 had is in the file: @had, where that is not what node1 has. */
static bool file_has(const uint64_t *had)
{
	const struct sim_node *a = &sim.node[0];

	for (unsigned int b = 0; b < SK_BLOCKS; b++)
		if (had[b] != sim.node[1].kernel.data[b] && (!a->saved_block[b] || a->saved[b] != had[b]))
			return false;
	return true;
}

static void follows(uint64_t seed)
{
	uint64_t had[SK_BLOCKS];
	bool rolled;

	begin(seed, true);
	memcpy(had, sim.node[0].kernel.data, sizeof(had));
	rolled = sim_until(&sim, second_rolls, 120000);
	ok(rolled, "an old primary that is back follows, and rolls");
	if (!rolled)
		story_show();
	is_number(sim.node[0].saves, 1, "when it has saved, once");
	ok(file_has(had), "all that only it had");
	sim.writing = true;
	sim_run(&sim, 2000);
	story_finish("an old primary that follows");
}

static void waits(uint64_t seed)
{
	uint64_t had[SK_BLOCKS];

	begin(seed, false);
	memcpy(had, sim.node[0].kernel.data, sizeof(had));
	ok(sim_until(&sim, is_split, 60000), "without the policy it is a split");
	sim_run(&sim, 120000);
	ok(is_split(&sim) && !sim.node[0].saves && !memcmp(had, sim.node[0].kernel.data, sizeof(had)), "which waits for a person");
	story_finish("an old primary that waits");
}

static void no_room(uint64_t seed)
{
	uint64_t had[SK_BLOCKS];

	begin(seed, true);
	sim.no_room = true;
	memcpy(had, sim.node[0].kernel.data, sizeof(had));
	sim_run(&sim, 60000);
	ok(is_split(&sim) && !memcmp(had, sim.node[0].kernel.data, sizeof(had)), "what cannot be saved is not given up");
	ok(strstr(story_pair(0)->reason, "does not follow") && strstr(story_pair(0)->reason, "could not"), "and it says so: %s",
	   story_pair(0)->reason);
	sim.no_room = false;
	sim_run(&sim, 120000);
	ok(is_split(&sim), "it is not tried again and again");
	ok(sim_until(&sim, second_rolls, 400000) && file_has(had), "but after minutes, and when there is room it follows");
	story_finish("an old primary that cannot save");
}

/* Two that say nothing of who is right: neither is primary, or it is the old one that is again. */
static void is_not_meant(uint64_t seed)
{
	begin(seed, true);
	sim_secondary(&sim.node[1]);
	sim_until(&sim, sim_answered, 5000);
	need(!sim.node[1].kernel.primary, "nobody is primary");
	sim_until(&sim, is_split, 60000);
	sim_run(&sim, 60000);
	ok(is_split(&sim) && !sim.node[0].saves && !sim.node[1].saves, "where nobody is primary a person decides");
	sim_partition(&sim, 0, 1, true);
	sim_run(&sim, 15000);
	need(story_promote(&sim.node[0], true, false), "the old primary goes on");
	sim_partition(&sim, 0, 1, false);
	sim_run(&sim, 60000);
	ok(is_split(&sim) && !sim.node[0].saves && !sim.node[1].saves, "a replica that was promoted in vain does not follow by itself");
	story_finish("two of which nobody knows");
}

/* Whatever breaks while it saves or begins to follow. */
static void mishaps(uint64_t seed, unsigned int runs)
{
	unsigned int bad = 0;

	for (unsigned int i = 0; i < runs; i++) {
		uint64_t had[SK_BLOCKS], one = random_next(&seed);

		begin(one, true);
		memcpy(had, sim.node[0].kernel.data, sizeof(had));
		for (unsigned int n = 0; n < 3; n++) {
			sim_run(&sim, sim_random(&sim, 4000));
			switch (sim_random(&sim, 4)) {
			case 0:
				sim_agent_kill(&sim.node[sim_random(&sim, 2)]);
				break;
			case 1:
				sim_power_off(&sim.node[0]);
				break;
			case 2:
				sim_reset_sessions(&sim.node[sim_random(&sim, 2)]);
				break;
			default:
				sim.no_room = true;
				sim_run(&sim, 2000);
				sim.no_room = false;
				break;
			}
			for (unsigned int a = 0; a < 2; a++)
				sim_power_on(&sim.node[a]);
		}
		if (!sim_until(&sim, second_rolls, 2000000) || sim.broken || !sim.node[0].saves || !file_has(had)) {
			printf("# SEED of one: %llu: %s %s\n", (unsigned long long)one, sim.broken ? sim.broken : "", sim.detail);
			story_show();
			bad++;
		}
		sim_exit(&sim);
	}
	ok(!bad, "an old primary follows in the end, whatever breaks meanwhile: %u of %u fail", bad, runs);
}

int main(void)
{
	unsigned int runs = getenv("RUNS") ? (unsigned int)atoi(getenv("RUNS")) : 20;
	uint64_t seed = random_seed();

	story_verbose = getenv("VERBOSE");
	follows(random_next(&seed));
	waits(random_next(&seed));
	no_room(random_next(&seed));
	is_not_meant(random_next(&seed));
	mishaps(random_next(&seed), runs);
	return tap_end();
}
