// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Clusters that freeze when a peer is lost.  $SEED repeats a run, $VERBOSE=1 prints every
 * line that the agents log.
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

/* Of one or two peers each is lost in turn; what ends the freeze begins a generation as they join. */
static void frozen(unsigned int nodes, uint64_t seed)
{
	unsigned int froze = 0, back = 0;
	uint64_t written;

	story_begin(nodes, seed);
	for (unsigned int i = 0; i < nodes; i++)
		sim.node[i].kernel.freezes = sim.node[i].kernel.hasty = true;
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	sim_until(&sim, sim_all_live, 60000);
	for (unsigned int i = 0; i < 6; i++) {
		unsigned int peer = 1 + i % (nodes - 1);

		sim_partition(&sim, 0, peer, true);
		sim_run(&sim, 13000 + sim_random(&sim, 3000));
		written = sim.written;
		sim_run(&sim, 5000);
		froze += sim.node[0].kernel.gate_lost && sim.written == written;
		sim_partition(&sim, 0, peer, false);
		back += sim_until(&sim, sim_all_live, 20000);
	}
	ok(froze == 6, "frozen, %u nodes: nothing is written while a peer is lost, %u of 6 times", nodes, froze);
	ok(back == 6, "frozen, %u nodes: live again within 20 s, %u of 6 times", nodes, back);
	story_settled("frozen");
	ok(!sim.node[0].kernel.gate_lost && sim.written > written, "frozen, %u nodes: it goes on", nodes);
	story_finish("frozen");
}

int main(void)
{
	uint64_t seed = random_seed();

	story_verbose = getenv("VERBOSE");
	for (unsigned int nodes = 2; nodes <= 3; nodes++)
		frozen(nodes, random_next(&seed));
	return tap_end();
}
