// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two copies and a witness through partitions, crashes and lost messages: never two primaries
 * that complete writes, nothing acknowledged is lost, and when all is well again it goes on.
 * $SEED repeats a run, $VERBOSE=1 prints what the agents log, $RUNS is how many.
 * needs: userspace/agent/verify.c userspace/agent/judge.c userspace/agent/redo.c
 * needs: tests/unit/sim.c tests/unit/sim_net.c tests/unit/sim_work.c tests/unit/sim_kernel.c
 * needs: tests/unit/sim_witness.c userspace/agent/register.c userspace/agent/arbiter.c userspace/agent/notice.c userspace/agent/takeover.c
 * needs: userspace/agent/core.c userspace/agent/session.c userspace/agent/pair.c
 * needs: userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/resolve.c
 * needs: userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c userspace/agent/suspect.c
 */
#include "sim_story.h"

#include "arbiter.h"
#include "id.h"
#include "tap.h"

static bool promote(struct sim_node *n)
{
	return story_promote(n, false, false);
}

static void show(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct sim_node *n = &sim.node[i];
		char text[CORE_REASON_MAX] = "";

		if (n->running)
			arbiter_words(n->volume, text, sizeof(text));
		printf("# %s: %s%s%s%s; %s; %s\n", n->name, n->kernel.primary ? "primary" : "secondary",
		       n->kernel.gate_lost ? ", frozen" : "", n->running ? "" : ", no agent",
		       n->noted ? ", noted" : "", text, n->running ? n->volume->pair[0]->reason : "");
	}
}

/* Both in sync, node0 is primary, and the witness has an entry. */
static void begin(uint64_t seed, uint32_t takeover_ms)
{
	sim_init_arbiter(&sim, seed, takeover_ms);
	sim.verbose = story_verbose;
	sim_until(&sim, story_connected, 5000);
	promote(&sim.node[0]);
	sim.witness.generation = sim.node[0].kernel.generation;
	sim_until(&sim, sim_all_live, 60000);
	sim.writing = true;
	sim_run(&sim, 300);
}

static void finish(const char *name)
{
	bool live = sim_until(&sim, sim_all_live, 180000), equal;

	sim.writing = false;
	sim_run(&sim, 500);
	equal = sim_equal(&sim);
	ok(live, "%s: live in the end", name);
	ok(equal, "%s: the copies are equal, and no acknowledged write is lost", name);
	ok(!sim.broken, "%s: no invariant is broken%s%s", name, sim.broken ? ": " : "",
	   sim.broken ? sim.broken : "");
	if (!live || !equal)
		show();
	sim_exit(&sim);
}

static bool goes_on(const struct sim *s)
{
	return sk_completes(&s->node[0].kernel) || sk_completes(&s->node[1].kernel);
}

static bool one_demoted(const struct sim *s)
{
	return s->node[0].kernel.primary + s->node[1].kernel.primary == 1 && goes_on(s);
}

static bool frozen(const struct sim *s)
{
	return s->node[0].kernel.gate_lost;
}

/* ---------------------------------------------------------- scenarios --- */

static void peer_lost(uint64_t seed)
{
	begin(seed, 0);
	sim_power_off(&sim.node[1]);
	ok(sim_until(&sim, frozen, 20000), "peer lost: frozen at first");
	ok(sim_until(&sim, goes_on, 5000) && sim.node[0].kernel.primary, "and goes on by the grant");
	ok(id_equal(&sim.witness.generation, &sim.node[0].kernel.generation) && !sim.node[0].noted,
	   "register and superblock agree, and nothing is noted any more");
	sim_run(&sim, 500);
	sim_power_on(&sim.node[1]);
	finish("peer lost");
}

static void witness_away(uint64_t seed)
{
	char text[CORE_REASON_MAX];

	begin(seed, 0);
	sim.witness_down = true;
	sim_power_off(&sim.node[1]);
	sim_run(&sim, 60000);
	ok(frozen(&sim) && !goes_on(&sim), "no witness: frozen");
	arbiter_words(sim.node[0].volume, text, sizeof(text));
	ok(strstr(text, "go on without its peer") && strstr(text, "nobody answers"), "and says why: %s",
	   text);
	sim_agent_kill(&sim.node[0]);
	sim_run(&sim, 1000);
	sim_agent_start(&sim.node[0]);
	sim_run(&sim, 10000);
	ok(frozen(&sim), "another agent does not change it");
	sim.witness_down = false;
	ok(sim_until(&sim, goes_on, 60000), "it goes on when the witness is back");
	sim_power_on(&sim.node[1]);
	finish("no witness");
}

/* The link fails for a moment while nobody can be asked: the two go on together. */
static void blip(uint64_t seed)
{
	struct repl_id before;

	begin(seed, 0);
	before = sim.node[0].kernel.generation;
	sim.witness_down = true;
	sim_kill_links(&sim.node[0]);
	ok(sim_until(&sim, frozen, 5000), "a link that fails: frozen");
	ok(sim_until(&sim, goes_on, 60000) && id_equal(&before, &sim.node[0].kernel.generation),
	   "the peer is back before the witness is: it goes on in the same generation");
	sim_run(&sim, 2000);
	sim.witness_down = false;
	sim_run(&sim, 60000);
	ok(id_equal(&sim.witness.generation, &sim.node[0].kernel.generation),
	   "what was granted late is begun: the register is not ahead");
	finish("a link that fails");
}

static void partitioned(uint64_t seed, bool node1_wins)
{
	const char *name = node1_wins ? "the secondary takes over" : "the primary goes on";

	begin(seed, 0);
	sim_partition(&sim, 0, 1, true);
	sim.node[!node1_wins].witness_cut = true;
	sim_until(&sim, frozen, 20000);
	sim_run(&sim, 12000);
	if (node1_wins)
		ok(promote(&sim.node[1]), "%s: granted: %s", name, sim.node[1].request_text);
	else
		ok(sim_until(&sim, goes_on, 30000), "%s: granted", name);
	sim_run(&sim, 1000);
	sim.node[0].witness_cut = sim.node[1].witness_cut = false;
	if (node1_wins)
		ok(sim_until(&sim, one_demoted, 60000) && sim.node[1].kernel.primary,
		   "%s: the former primary learns that it has lost, of the witness alone", name);
	else
		ok(!promote(&sim.node[1]) && strstr(sim.node[1].request_text, "denied"), "%s: the other is "
		   "denied it: %s", name, sim.node[1].request_text);
	sim_run(&sim, 500);
	sim_partition(&sim, 0, 1, false);
	finish(name);
}

static void graceful(uint64_t seed)
{
	begin(seed, 0);
	ok(!promote(&sim.node[1]), "while the other is primary: %s", sim.node[1].request_text);
	ok(sim.node[0].kernel.primary && goes_on(&sim), "which has not noticed");
	for (unsigned int i = 0; i < 4; i++) {
		struct sim_node *from = &sim.node[i % 2], *to = &sim.node[!(i % 2)];

		sim.writing = false;
		sim_run(&sim, 200);
		sim_secondary(from);
		sim_until(&sim, sim_answered, 5000);
		ok(promote(to), "handed over: %s", to->request_text);
		ok(id_equal(&sim.witness.generation, &to->kernel.generation), "through the register");
		sim.writing = true;
		sim_until(&sim, sim_all_live, 60000);
	}
	finish("hand-over");
}

/* Granted, and dead before it could begin: only this node can, and it does when it is told to. */
static void dies_granted(uint64_t seed)
{
	unsigned int grants;

	begin(seed, 0);
	sim_power_off(&sim.node[1]);
	sim_until(&sim, frozen, 20000);
	grants = sim.grants;
	while (sim.grants == grants && !sim.broken)
		sim_run(&sim, 1);
	sim_power_off(&sim.node[0]);
	sim_power_on(&sim.node[1]);
	sim_run(&sim, 3000);
	ok(!promote(&sim.node[1]), "the other cannot know that nothing was written: %s",
	   sim.node[1].request_text);
	sim_power_on(&sim.node[0]);
	sim_run(&sim, 3000);
	ok(promote(&sim.node[0]), "the holder can: %s", sim.node[0].request_text);
	finish("dies when granted");
}

/* An answer that comes too late for who asked by command is used all the same. */
static void late_answer(uint64_t seed)
{
	begin(seed, 0);
	sim_power_off(&sim.node[0]);
	sim_run(&sim, 100);
	sim.witness_down = true;
	sim_primary(&sim.node[1], true, false);
	ok(!sim.node[1].request_ok && strstr(sim.node[1].request_text, "--force does not change it"),
	   "force does not help: %s", sim.node[1].request_text);
	sim_primary(&sim.node[1], false, true);
	ok(!sim.node[1].request_ok && strstr(sim.node[1].request_text, "--peer-dead does not change it"),
	   "nor does a dead peer: %s", sim.node[1].request_text);
	ok(!promote(&sim.node[1]) && strstr(sim.node[1].request_text, "as soon as"), "no answer in time: %s",
	   sim.node[1].request_text);
	sim.witness_down = false;
	ok(sim_until(&sim, goes_on, 60000) && sim.node[1].kernel.primary, "granted later: primary then");
	sim_power_on(&sim.node[0]);
	finish("a late answer");
}

static void takeover(uint64_t seed)
{
	uint64_t began;

	begin(seed, 5000);
	sim_agent_kill(&sim.node[0]);
	sim_run(&sim, 30000);
	ok(sim.node[0].kernel.primary && !sim.node[1].kernel.primary && goes_on(&sim),
	   "takeover: a dead agent is no dead primary");
	sim_agent_start(&sim.node[0]);
	sim_until(&sim, sim_all_live, 60000);
	began = sim.now;
	sim_power_off(&sim.node[0]);
	ok(sim_until(&sim, goes_on, 60000) && sim.node[1].kernel.primary, "takeover: by itself");
	ok(sim.now - began >= 5000, "takeover: after the time that was said: %llu ms",
	   (unsigned long long)(sim.now - began));
	sim_power_on(&sim.node[0]);
	sim_until(&sim, sim_all_live, 60000);
	sim.writing = false;
	sim_run(&sim, 200);
	sim_secondary(&sim.node[1]);
	sim_run(&sim, 30000);
	ok(!goes_on(&sim), "takeover: not from one that was demoted");
	sim_power_off(&sim.node[1]);
	sim_run(&sim, 30000);
	ok(!goes_on(&sim), "takeover: nor when that is switched off then");
	sim_power_on(&sim.node[1]);
	finish("takeover");
}

/* With its grant in hand, but not primary yet: nobody else can be any more, whoever comes back. */
static void takeover_dies(uint64_t seed)
{
	unsigned int grants;

	begin(seed, 5000);
	sim_power_off(&sim.node[0]);
	for (grants = sim.grants; sim.grants == grants && !sim.broken;)
		sim_run(&sim, 1);
	sim_power_off(&sim.node[1]);
	sim_power_on(&sim.node[0]);
	sim_run(&sim, 3000);
	sim_power_on(&sim.node[1]);
	ok(sim_until(&sim, goes_on, 60000) && sim.node[1].kernel.primary,
	   "takeover: it dies when granted, and goes on by itself when it is back");
	finish("takeover, dies when granted");
}

/* --------------------------------------------------------------- chaos -- */

static void operator_acts(void)
{
	struct sim_node *n = &sim.node[sim_random(&sim, 2)];

	if (sim_random(&sim, 3))
		sim_primary(n, false, false);
	else
		sim_secondary(n);
}

static void fault(void)
{
	struct sim_node *n = &sim.node[sim_random(&sim, 2)];

	switch (sim_random(&sim, 12)) {
	case 0:
		sim_agent_kill(n);
		break;
	case 1:
		sim_power_off(n);
		break;
	case 2:
	case 3:
		sim_power_on(n);
		break;
	case 4:
		sim_partition(&sim, 0, 1, true);
		break;
	case 5:
		sim_partition(&sim, 0, 1, false);
		break;
	case 6:
		n->witness_cut = !n->witness_cut;
		break;
	case 7:
		sim.witness_down = !sim.witness_down;
		break;
	case 8:
		sim_kill_links(n);
		break;
	case 9:
		sim_reset_sessions(n);
		break;
	default:
		operator_acts();
		break;
	}
}

static void heal(void)
{
	sim.op_failures = sim.witness_loss = 0;
	sim.witness_down = false;
	sim_partition(&sim, 0, 1, false);
	for (unsigned int i = 0; i < 2; i++) {
		sim.node[i].witness_cut = false;
		sim_power_on(&sim.node[i]);
	}
}

/* Return: what went wrong, or NULL. */
static const char *chaos(uint64_t seed, uint32_t takeover_ms)
{
	const char *bad = NULL;

	begin(seed, takeover_ms);
	sim.op_failures = 20;
	sim.witness_loss = 200;
	for (int i = 0; i < 60 && !sim.broken; i++) {
		sim_run(&sim, 20 + sim_random(&sim, sim_random(&sim, 4) ? 400 : 15000));
		fault();
	}
	heal();
	sim_run(&sim, 60000);
	/* Whoever may, when a person tries both. */
	for (int i = 0; i < 6 && !goes_on(&sim) && !sim.broken; i++) {
		promote(&sim.node[i % 2]);
		sim_run(&sim, 5000);
	}
	if (!sim.broken && !goes_on(&sim))
		bad = "nobody goes on";
	else if (!sim_until(&sim, sim_all_live, 180000))
		bad = "not live";
	sim.writing = false;
	sim_run(&sim, 500);
	if (!bad && !sim_equal(&sim))
		bad = "not equal, or a write is lost";
	if (sim.broken)
		bad = sim.broken;
	if (bad && !sim.plant) {
		printf("# SEED=%llu: %s %s\n", (unsigned long long)seed, bad, sim.detail);
		show();
	}
	sim_exit(&sim);
	return bad;
}

static void chaoses(uint64_t seed, unsigned int runs, uint32_t takeover_ms)
{
	unsigned int bad = 0;

	sim.plant = PLANT_NONE;
	for (unsigned int i = 0; i < runs; i++)
		bad += chaos(seed + i, takeover_ms) != NULL;
	ok(!bad, "chaos%s: %u of %u runs fail", takeover_ms ? " with takeover" : "", bad, runs);
}

static void planted(enum sim_plant plant, const char *name, uint64_t seed)
{
	const char *found = NULL;
	unsigned int runs = 0;

	while (!found && runs < 60) {
		sim.plant = plant;
		found = chaos(seed + runs++, 3000);
	}
	sim.plant = PLANT_NONE;
	ok(found, "%s: found after %u runs: %s", name, runs, found ? found : "never");
}

int main(void)
{
	uint64_t seed = random_seed(), first = seed;
	unsigned int runs = getenv("RUNS") ? (unsigned int)atoi(getenv("RUNS")) : 30;

	story_verbose = getenv("VERBOSE");
	if (getenv("CHAOS")) {
		ok(!chaos(seed, (uint32_t)atoi(getenv("CHAOS"))), "chaos");
		return tap_end();
	}
	peer_lost(random_next(&seed));
	witness_away(random_next(&seed));
	blip(random_next(&seed));
	partitioned(random_next(&seed), false);
	partitioned(random_next(&seed), true);
	graceful(random_next(&seed));
	dies_granted(random_next(&seed));
	late_answer(random_next(&seed));
	takeover(random_next(&seed));
	takeover_dies(random_next(&seed));
	chaoses(first, runs, 0);
	chaoses(first, runs, 3000);
	planted(PLANT_GENEROUS, "a register that grants everything", first);
	planted(PLANT_HOPEFUL, "no answer that is taken for a grant", first);
	planted(PLANT_FORGETFUL, "questions that are not noted", first);
	planted(PLANT_ADRIFT, "a kernel that goes on by itself", first);
	return tap_end();
}
