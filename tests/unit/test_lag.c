// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A rolling peer's copy that grows too old, in the simulator: who is told, and which writes wait.
 * $SEED repeats it; $VERBOSE=1 prints what the agents log.
 * needs: tests/unit/sim_witness.c userspace/agent/register.c userspace/agent/arbiter.c
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: tests/unit/sim.c tests/unit/sim_net.c tests/unit/sim_work.c tests/unit/sim_kernel.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c
 * needs: userspace/agent/pair.c userspace/agent/redo.c userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/resolve.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c userspace/agent/suspect.c
 */
#include "sim_story.h"

#include "lag.h"
#include "roll.h"
#include "sim_private.h"
#include "tap.h"

enum { BOUND = 2000, SLICE = 250, HOLD = 10000 };

static bool rolls(const struct sim *s)
{
	return s->node[0].running && s->node[1].running && roll_running(story_pair(0)) && roll_age(story_pair(0)) >= 0 &&
	       roll_running(story_pair(1));
}

static void begin(uint64_t seed, bool throttle)
{
	story_begin(2, seed);
	sim.ordered = true;
	sim.throttle = throttle;
	sim.bound_ms = BOUND;
	sim_roll(&sim, 200);
	sim_until(&sim, story_connected, 5000);
	story_promote(&sim.node[0], false, false);
	sim.writing = true;
	need(sim_until(&sim, rolls, 60000), "it rolls");
	sim_run(&sim, 5000);
}

/* How often it was told since the agent was started. */
static unsigned int told(const char *what)
{
	unsigned int n = 0;

	for (const char *at = sim.node[0].told; (at = strstr(at, what)); at++)
		n++;
	return n;
}

static bool is_late(const struct sim *s)
{
	return s->node[0].running && story_pair(0)->lag.late;
}

static bool is_in_time(const struct sim *s)
{
	return s->node[0].running && !story_pair(0)->lag.late;
}

static bool is_held(const struct sim *s)
{
	return s->node[0].running && lag_share(story_pair(0)) == 100 && s->now < s->node[0].kernel.hold_until;
}

static void alarm_story(uint64_t seed)
{
	uint64_t at;

	begin(seed, false);
	is_number(told("peer-late"), 0, "of a copy that keeps up nothing is told");
	sim_partition(&sim, 0, 1, true);
	at = sim.now;
	ok(sim_until(&sim, is_late, 2 * BOUND), "a copy becomes too old");
	ok(sim.now - at >= BOUND - 1000 && sim.now - at <= BOUND + BOUND / 4, "when its age is the bound, or an eighth of it later: %llu ms",
	   (unsigned long long)(sim.now - at));
	sim_run(&sim, 60000);
	is_number(told("peer-late node1;"), 1, "it is told once");
	is_number(told("peer-in-time"), 0, "while it lasts");
	sim_partition(&sim, 0, 1, false);
	ok(sim_until(&sim, is_in_time, 60000), "an epoch ends that");
	sim_run(&sim, 5000);
	is_number(told("peer-in-time node1;"), 1, "which is told, too");
	is_number(told("peer-late"), 1, "once each");
	story_finish("a copy that is too old");
}

/* Nobody writes: what is away lacks nothing, however long. */
static void quiet(uint64_t seed)
{
	begin(seed, false);
	sim.writing = false;
	sim_run(&sim, 3000);
	sim_partition(&sim, 0, 1, true);
	sim_run(&sim, 60000);
	ok(!is_late(&sim) && !told("peer-late"), "a peer that is away is not too old for what nobody has written");
	ok(roll_age(story_pair(0)) <= BOUND / 4, "its copy is this one: %lld ms", (long long)roll_age(story_pair(0)));
	sim.writing = true;
	ok(sim_until(&sim, is_late, 2 * BOUND), "with writes it becomes so");
	story_finish("a peer that is away");
}

/* An agent that has just begun knows of no age; but of what it has seen itself. */
static void unknown(uint64_t seed)
{
	begin(seed, false);
	sim_partition(&sim, 0, 1, true);
	sim_agent_kill(&sim.node[0]);
	sim_agent_start(&sim.node[0]);
	sim_run(&sim, BOUND / 2);
	ok(!is_late(&sim) && roll_age(story_pair(0)) < 0, "after a start its age is not known");
	ok(sim_until(&sim, is_late, BOUND), "but it is too old when there was no epoch for so long");
	sim.writing = false;
	sim_run(&sim, 500);
	sim_secondary(&sim.node[0]);
	sim_until(&sim, sim_answered, 30000);
	sim_run(&sim, 100);
	ok(!sim.node[0].kernel.primary && is_in_time(&sim), "for who is no primary it never is");
	story_finish("an agent that has just begun");
}

/* Writes that may be lost with this node are those of so long before it; a renewed freeze lets none through. */
static void bounded(uint64_t seed)
{
	uint64_t written, at;
	unsigned int thaws;

	begin(seed, true);
	written = sim.written;
	sim_run(&sim, 5000);
	ok(sim.written > written && !lag_share(story_pair(0)), "no write waits for a copy that keeps up");
	sim_partition(&sim, 0, 1, true);
	at = sim.now;
	sim_until(&sim, is_held, 2 * BOUND);
	ok(sim.now - at <= BOUND + SLICE, "at the bound writes stop: after %llu ms", (unsigned long long)(sim.now - at));
	sim_run(&sim, SLICE);
	written = sim.written;
	thaws = sim.node[0].kernel.thaws;
	sim_run(&sim, 60000);
	ok(sim.written == written && sim.node[0].kernel.thaws == thaws, "and none goes on for as long as it lasts: %llu",
	   (unsigned long long)(sim.written - written));
	is_number(told("peer-late node1;"), 1, "of which people are told");
	sim_partition(&sim, 0, 1, false);
	ok(sim_until(&sim, rolls, 60000) && sim_until(&sim, is_in_time, 5000), "the peer is back, and young");
	written = sim.written;
	sim_run(&sim, 1000);
	ok(sim.written > written + 100 && !lag_share(story_pair(0)), "and writes go on: %llu",
	   (unsigned long long)(sim.written - written));
	story_finish("bounded");
}

/* From half of the bound on, less and less. */
static void slower(uint64_t seed)
{
	uint64_t before, written, slowed;

	begin(seed, true);
	written = sim.written;
	sim_run(&sim, BOUND / 4);
	before = sim.written - written;
	sim_partition(&sim, 0, 1, true);
	sim_run(&sim, BOUND * 3 / 4);
	written = sim.written;
	sim_run(&sim, BOUND / 4 - 200);
	slowed = sim.written - written;
	ok(slowed && slowed < before * 3 / 4, "writes become slower before they stop: %llu of %llu", (unsigned long long)slowed,
	   (unsigned long long)before);
	story_finish("slower");
}

/* Neither an agent that dies nor one that begins keeps writes waiting for what it does not know. */
static void dies(uint64_t seed)
{
	uint64_t written;

	begin(seed, true);
	sim_partition(&sim, 0, 1, true);
	need(sim_until(&sim, is_held, 2 * BOUND), "writes wait");
	sim_run(&sim, 20000);
	sim_agent_kill(&sim.node[0]);
	sim_run(&sim, HOLD);
	written = sim.written;
	sim_run(&sim, 1000);
	ok(sim.written > written, "an agent that dies lets them go on, by the freeze's own deadline");
	sim_agent_start(&sim.node[0]);
	sim_run(&sim, 10 * BOUND);
	ok(is_late(&sim) && !lag_share(story_pair(0)), "one that begins is loud, and stops none");
	story_finish("an agent that dies");
}

/* What a person says counts at once: another policy, another mode, another role. */
static void let_go(uint64_t seed, unsigned int how)
{
	static const char *const name[] = { "on-lag = alarm", "mode = sync", "a demotion" };
	unsigned int thaws;

	begin(seed, true);
	sim_partition(&sim, 0, 1, true);
	need(sim_until(&sim, is_held, 2 * BOUND), "writes wait");
	sim.writing = false;
	sim_run(&sim, 1000);
	thaws = sim.node[0].kernel.thaws;
	if (how == 0) {
		sim.throttle = false;
		sim_roll(&sim, 200);
	} else if (how == 1) {
		sim_roll(&sim, 0);
	} else {
		sim_secondary(&sim.node[0]);
	}
	sim_run(&sim, 30);
	sim_until(&sim, sim_answered, 5000);
	ok(sim.node[0].kernel.hold_until <= sim.now && sim.node[0].kernel.thaws > thaws, "%s lets writes go on, at once",
	   name[how]);
	story_finish(name[how]);
}

/* A gate has one freeze at a time: an epoch's own is not ended, nor prolonged, by who holds writes for long. */
static void renewed(uint64_t seed)
{
	struct sim_node *a = &sim.node[0];
	struct pair *p;

	begin(seed, true);
	sim_partition(&sim, 0, 1, true);
	need(sim_until(&sim, is_held, 2 * BOUND), "writes wait");
	sim_run(&sim, 20000);
	need(!story_pair(0)->session, "the session is lost");
	p = story_pair(0);
	p->lag.held_until = sim.now + 1;	/* as if it were high time */
	p->run.frozen = true;
	a->kernel.gate_join = true;
	a->kernel.gate_until = sim.now + 300;
	core_get(a->volume);
	sim_settle(a);
	ok(a->kernel.gate_join && a->kernel.gate_until == sim.now + 300 && a->kernel.hold_until > sim.now + 9000,
	   "a join's freeze is left alone");
	p->run.frozen = false;
	a->kernel.gate_join = false;
	p->lag.held_until = sim.now + 1;
	core_get(a->volume);
	sim_settle(a);
	ok(!a->kernel.gate_join, "and its gate is open after it has bridged a moment");
	lag_end(p);
	sim_settle(a);
	is_number(a->kernel.hold_until, 0, "nothing waits for a peer that goes");
	story_finish("a freeze that is renewed");
}

int main(void)
{
	uint64_t seed = random_seed();

	story_verbose = getenv("VERBOSE");
	alarm_story(random_next(&seed));
	quiet(random_next(&seed));
	unknown(random_next(&seed));
	bounded(random_next(&seed));
	slower(random_next(&seed));
	dies(random_next(&seed));
	for (unsigned int how = 0; how < 3; how++)
		let_go(random_next(&seed), how);
	renewed(random_next(&seed));
	return tap_end();
}
