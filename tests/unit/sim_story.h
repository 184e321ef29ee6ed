/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stories in the simulator are told with. Here as a whole, because what counts a program's tests is static. */
#ifndef TESTS_UNIT_SIM_STORY_H
#define TESTS_UNIT_SIM_STORY_H

#include "pair.h"
#include "sim.h"
#include "tap.h"

static struct sim sim;
static bool story_verbose;	/* print every line that the agents log */

static inline void story_begin(unsigned int nodes, uint64_t seed)
{
	sim_init(&sim, nodes, seed);
	sim.verbose = story_verbose;
}

static inline void story_finish(const char *name)
{
	ok(!sim.broken, "%s: no invariant is broken%s%s%s%s", name, sim.broken ? ": " : "",
	   sim.broken ? sim.broken : "", sim.broken ? ": " : "", sim.broken ? sim.detail : "");
	sim_exit(&sim);
}

static inline bool story_connected(const struct sim *s)
{
	for (unsigned int i = 0; i < s->nodes; i++)
		for (unsigned int p = 0; p < s->node[i].volume->pair_count; p++)
			if (!s->node[i].volume->pair[p]->have_theirs)
				return false;
	return true;
}

static inline bool story_promote(struct sim_node *n, bool force, bool peer_dead)
{
	sim_primary(n, force, peer_dead);
	sim_until(&sim, sim_answered, 30000);
	return n->request_ok && n->kernel.primary;
}

/* node0 is primary and has written more that node1 lacks than a join may apply, until both @meet again. */
static inline void story_apart(uint64_t seed, bool (*meet)(const struct sim *s))
{
	story_begin(2, seed);
	sim.ordered = true;
	sim.join_limit_ms = 60;
	for (unsigned int i = 0; i < 2; i++)
		sim.node[i].volume->set.join_limit_ms = sim.join_limit_ms;
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	sim_until(&sim, sim_all_live, 60000);
	sim_partition(&sim, 0, 1, true);
	sim_run(&sim, 13000 + sim_random(&sim, 2000));
	sim_partition(&sim, 0, 1, false);
	sim_until(&sim, meet, 60000);
}

static inline void story_show(void)
{
	for (unsigned int i = 0; i < sim.nodes; i++) {
		struct sim_node *n = &sim.node[i];

		printf("# %s: %s%s\n", n->name, n->kernel.primary ? "primary" : "secondary",
		       n->running ? "" : ", no agent");
		for (unsigned int p = 0; n->running && p < n->volume->pair_count; p++)
			printf("#   %s: phase %d, %s, %s\n", n->volume->pair[p]->peer->name,
			       n->volume->pair[p]->phase, pair_state_word(n->volume->pair[p]),
			       n->volume->pair[p]->reason);
	}
}

static inline bool story_settled(const char *name)
{
	bool live = sim_until(&sim, sim_all_live, 120000), equal;

	sim.writing = false;
	sim_run(&sim, 200);
	equal = sim_equal(&sim);
	ok(live, "%s: live in the end", name);
	ok(equal, "%s: copies are equal and no acknowledged write is lost", name);
	if (!live || !equal)
		story_show();
	return live && equal;
}

static inline struct pair *story_pair(unsigned int n)
{
	return sim.node[n].volume->pair[0];
}

/* What happens to a catching up at one moment of it. */
enum mishap { KILL_LEADER, KILL_FOLLOWER, POWER_LEADER, POWER_FOLLOWER, RESET, MISHAPS };

static inline void story_happens(enum mishap what)
{
	if (what == KILL_LEADER || what == KILL_FOLLOWER)
		sim_agent_kill(&sim.node[what == KILL_FOLLOWER]);
	else if (what == POWER_LEADER || what == POWER_FOLLOWER)
		sim_power_off(&sim.node[what == POWER_FOLLOWER]);
	else
		sim_reset_sessions(&sim.node[0]);
}

#endif /* TESTS_UNIT_SIM_STORY_H */
