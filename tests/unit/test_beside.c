// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Three copies of which one follows another beside its link with the third, or has a link with
 * it that nobody can drop.  $SEED repeats a run, $VERBOSE=1 prints every line that the agents log.
 * needs: tests/unit/sim_witness.c userspace/agent/register.c userspace/agent/arbiter.c
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: tests/unit/sim.c tests/unit/sim_net.c tests/unit/sim_work.c tests/unit/sim_kernel.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c
 * needs: userspace/agent/pair.c userspace/agent/redo.c userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/resolve.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c userspace/agent/suspect.c
 */
#include "sim_story.h"

#include "id.h"
#include "tap.h"

enum { LEADER, FOLLOWER, OTHER };

static struct pair *pair_of(unsigned int n, unsigned int with)
{
	return sim.node[n].volume->pair[with - (with > n)];
}

static bool follows(const struct sim *s)
{
	(void)s;
	return pair_of(FOLLOWER, LEADER)->phase == PHASE_F_LINK;
}

/*
 * All are equal and secondary.  One follows another beside its link with the third, and the
 * link with its leader does not come up.
 */
static void follow_beside(uint64_t seed)
{
	struct sim_node *f = &sim.node[FOLLOWER];

	story_begin(3, seed);
	sim_until(&sim, story_connected, 5000);
	story_promote(f, false, false);
	sim.writing = true;
	sim_until(&sim, sim_all_live, 60000);
	sim.writing = false;
	sim_run(&sim, 2000);
	/* The other two know each other only by what their primary has told them. */
	sim_partition(&sim, LEADER, OTHER, true);
	sim_secondary(f);
	sim_until(&sim, sim_answered, 5000);
	sim.half_links = ~0u;
	sk_link_lost(&f->kernel, (unsigned int)pair_slot(pair_of(FOLLOWER, LEADER)));
	need(sim_until(&sim, follows, 60000), "one follows beside its link with the third");
}

/* The third is promoted, writes with the follower's copy alone, and is gone. */
static void goes_on_beside(uint64_t seed)
{
	struct sim_node *f = &sim.node[FOLLOWER], *p = &sim.node[OTHER];
	struct repl_id generation;

	follow_beside(seed);
	need(story_promote(p, false, false), p->request_text);
	sim.writing = true;
	sim_run(&sim, 300);
	sim.writing = false;
	sim_run(&sim, 20);
	generation = p->kernel.generation;
	sim_power_off(p);
	sim.half_links = 0;
	sim_run(&sim, 20000);
	ok(!sim.broken && id_equal(&generation, &f->kernel.generation),
	   "what is followed beside a link does not take back what came over it%s%s: %s", sim.broken ? ": " : "",
	   sim.broken ? sim.broken : "", pair_of(FOLLOWER, LEADER)->reason);
	sim_partition(&sim, LEADER, OTHER, false);
	sim_power_on(p);
	sim_until(&sim, story_connected, 20000);
	sim_run(&sim, 5000);
	ok(story_promote(f, false, false), "and goes on from there: %s", f->request_text);
	story_settled("beside");
	story_finish("beside");
}

/*
 * Of two survivors that differ one begins with the other's consent, which its kernel takes long
 * to do; they lose each other.  Return: false: they happen not to differ.
 */
static bool begins_late(uint64_t seed)
{
	struct sim_node *a = &sim.node[LEADER], *c = &sim.node[FOLLOWER];

	story_begin(3, seed);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[OTHER], false, false);
	sim.writing = true;
	sim_until(&sim, sim_all_live, 60000);
	sim_run(&sim, 500);
	sim_power_off(&sim.node[OTHER]);
	sim.writing = false;
	sim_run(&sim, 500);
	if (pair_of(LEADER, FOLLOWER)->mine.flags & REPL_MV_LIVE) {
		sim_exit(&sim);
		return false;
	}
	a->kernel_busy = sim.now + 15000 + sim_random(&sim, 20000);
	sim_primary(a, false, true);
	sim_run(&sim, 1000 + sim_random(&sim, 11000));
	if (sim_random(&sim, 2))
		sim_reset_sessions(a);
	sim_run(&sim, 1000);
	sim_partition(&sim, LEADER, FOLLOWER, true);
	for (unsigned int i = 0; i < 20; i++) {
		sim_run(&sim, 2000);
		story_promote(c, false, true);
	}
	ok(a->kernel.primary + c->kernel.primary == 1, "two survivors, one begins late: one is primary: %s",
	   c->request_text);
	sim_partition(&sim, LEADER, FOLLOWER, false);
	sim_power_on(&sim.node[OTHER]);
	story_settled("begins late");
	story_finish("begins late");
	return true;
}

static bool beside_joined(const struct sim *s)
{
	(void)s;
	return pair_of(1, 2)->phase == PHASE_LIVE && pair_of(2, 1)->phase == PHASE_LIVE;
}

static bool first_joined(const struct sim *s)
{
	(void)s;
	return pair_of(0, 1)->phase == PHASE_LIVE && pair_of(1, 0)->phase == PHASE_LIVE;
}

/* The primary goes on without two peers, which join each other; then one of their agents is away. */
static void agent_away(uint64_t seed, bool restarted)
{
	story_begin(3, seed);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	sim_until(&sim, sim_all_live, 60000);
	sim.writing = false;
	sim_run(&sim, 2000);
	sim_partition(&sim, 0, 1, true);
	sim_partition(&sim, 0, 2, true);
	need(sim_until(&sim, beside_joined, 60000), "two peers that have lost their primary join");
	sim.writing = true;
	sim_run(&sim, 15000);
	sim_agent_kill(&sim.node[2]);
	if (restarted) {
		sim_agent_kill(&sim.node[1]);
		sim_agent_start(&sim.node[1]);
	}
	sim_run(&sim, 1000);
	sim_partition(&sim, 0, 1, false);
	if (restarted) {
		sim_run(&sim, 30000);
		ok(strstr(pair_of(1, 0)->reason, "link with node2, whose agent is away"),
		   "a link with a node of which nothing is known stays, and status says so: %s", pair_of(1, 0)->reason);
	} else {
		ok(sim_until(&sim, first_joined, 30000), "a link with a node whose agent is away does not keep "
		   "this copy from its primary: %s", pair_of(1, 0)->reason);
	}
	sim_agent_start(&sim.node[2]);
	sim_partition(&sim, 0, 2, false);
	story_settled("an agent is away");
	story_finish("an agent is away");
}

int main(void)
{
	uint64_t seed = random_seed();

	story_verbose = getenv("VERBOSE");
	for (unsigned int i = 0; i < 10; i++)
		goes_on_beside(random_next(&seed));
	for (unsigned int i = 0; i < 10;)
		i += begins_late(random_next(&seed));
	for (unsigned int i = 0; i < 8; i++)
		agent_away(random_next(&seed), i & 1);
	return tap_end();
}
