// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who may become primary, and who consents to it.
 * needs: userspace/agent/promote.c
 */
#include "promote.h"

#include <linux/repl.h>

#include "tap.h"

static struct promote_facts f;
static struct promote_plan plan;

/* A consistent secondary with one peer that is connected, live and equal. */
static void fresh(void)
{
	f = (struct promote_facts){
		.volume = "spool", .consistent = true, .slots = 1, .peer_count = 1,
		.peer[0] = {
			.name = "mail2", .connected = true, .live = true, .consistent = true,
			.was_live = true,
		},
	};
}

static void planned(enum promote_step step, uint32_t flags, const char *words, const char *name)
{
	bool good;

	promote_plan(&plan, &f);
	good = plan.step == step && (step == PROMOTE_REFUSED || plan.flags == flags) &&
	       (!words || strstr(plan.text, words));
	ok(good, "%s", name);
	if (!good || step == PROMOTE_REFUSED)
		printf("#   step %d, flags %x: %s\n", plan.step, plan.flags, plan.text);
	if (step == PROMOTE_REFUSED)
		ok(!strncmp(plan.text, "spool: ", 7), "   it names the volume");
	fresh();
}

static void stuck(void)
{
	fresh();
	f.consistent = false;
	f.identity = true;
	f.peer[0].connected = f.peer[0].live = false;
	f.stuck = "/var/lib/repl/x cannot be read: Input/output error";
	planned(PROMOTE_REFUSED, 0, "cannot be read: Input/output error: mend that; or get it from the leader anew: repl-ctl down spool",
		"what would make it whole is there, and cannot be read: that is said before --force is");
}

static void agreed(void)
{
	fresh();
	planned(PROMOTE_ASK, 0, NULL, "a live peer is asked");
	f.primary = true;
	planned(PROMOTE_ALREADY, 0, NULL, "primary already");
	f.peer[0].primary = true;
	planned(PROMOTE_ASK, 0, NULL, "a live primary is asked: it may just have stepped down");
	f.peer[0].primary = true;
	f.peer[0].live = false;
	planned(PROMOTE_REFUSED, 0, "mail2 is primary", "a primary that is not live is in the way");
	f.peer[0].primary = true;
	f.force = true;
	planned(PROMOTE_REFUSED, 0, "mail2 is primary", "even with --force");
	f.peer[0].live = false;
	planned(PROMOTE_REFUSED, 0, "wait spool --for in-sync", "a peer that is behind");
	f.peer[0].live = false;
	f.peer[0].newer = true;
	planned(PROMOTE_REFUSED, 0, "wait until this one is in sync", "a peer that is ahead");
	f.peer[0].connected = f.peer[0].live = false;
	promote_plan(&plan, &f);
	ok(!strstr(plan.text, "--force"), "--force is not offered where the peer may be primary: %s", plan.text);
	planned(PROMOTE_REFUSED, 0, "off and stays off, say --peer-dead", "a peer that is away, and was in sync");
	f.peer[0].connected = f.peer[0].live = false;
	f.peer[0].outrun = true;
	planned(PROMOTE_REFUSED, 0, "mail2 was newer", "a peer that is away, and has gone on");
	f.peer[0].connected = f.peer[0].live = f.peer[0].was_live = false;
	planned(PROMOTE_REFUSED, 0, "--force", "a peer that is away, and was not");
	f.peer[0].connected = false;
	planned(PROMOTE_REFUSED, 0, "--peer-dead", "a link that stands, without an agent to ask");
	f.peer_count = f.slots = 0;
	planned(PROMOTE_GO, REPL_F_ALONE, NULL, "a volume without peers");
	f.peer_count = 0;
	planned(PROMOTE_REFUSED, 0, NULL, "a peer that is no longer configured");
	f.peer[1] = (struct promote_peer){ .name = "mail3", .was_live = true };
	f.peer_count = 2;
	planned(PROMOTE_REFUSED, 0, "mail3", "one of two peers is away, and may be primary");
	f.peer[1] = (struct promote_peer){ .name = "mail3" };
	f.peer_count = 2;
	planned(PROMOTE_ASK, 0, NULL, "one of two peers is away, but was not in sync");
}

static void arbitrated(void)
{
	fresh();
	f.arbiter = "node:mail3";
	promote_plan(&plan, &f);
	ok(plan.step == PROMOTE_ARBITER && plan.ask == 1, "an arbiter: a live peer is asked first");
	fresh();
	f.arbiter = "node:mail3";
	f.peer[0].connected = f.peer[0].live = false;
	promote_plan(&plan, &f);
	ok(plan.step == PROMOTE_ARBITER && !plan.ask, "an arbiter: a peer that is away need not be dead");
	fresh();
	f.arbiter = "node:mail3";
	f.granted = "mail2";
	planned(PROMOTE_ARBITER, 0, NULL, "an arbiter: who has consented is not bound");
	f.arbiter = "node:mail3";
	f.identity = f.force = true;
	planned(PROMOTE_REFUSED, 0, "node:mail3, decides", "an arbiter: not by force");
	f.arbiter = "node:mail3";
	f.identity = f.peer_dead = true;
	planned(PROMOTE_REFUSED, 0, "--peer-dead does not", "an arbiter: not by a dead peer");
	f.arbiter = "node:mail3";
	f.peer[0].newer = true;
	planned(PROMOTE_REFUSED, 0, "newer", "an arbiter: not past a peer that is ahead");
	f.arbiter = "node:mail3";
	f.peer[0].primary = true;
	f.peer[0].live = false;
	planned(PROMOTE_REFUSED, 0, "mail2 is primary", "an arbiter: not past a primary");
	f.arbiter = "node:mail3";
	f.consistent = false;
	f.identity = true;
	planned(PROMOTE_REFUSED, 0, "not consistent", "an arbiter: not with half a copy");
	f.arbiter = "node:mail3";
	f.consistent = f.peer[0].live = f.peer[0].consistent = false;
	f.force = true;
	planned(PROMOTE_GO, REPL_F_FORCE, NULL, "an arbiter: of a new volume it knows nothing");
}

static void asserted(void)
{
	fresh();
	f.peer_dead = true;
	f.peer[0].connected = f.peer[0].live = false;
	planned(PROMOTE_GO, REPL_F_PEER_DEAD | REPL_F_ALONE, NULL, "the peer is said to be dead");
	f.peer_dead = true;
	f.peer[0].connected = false;
	promote_plan(&plan, &f);
	ok(plan.unlink, "a link to it is dropped first");
	fresh();
	f.peer_dead = f.peer[0].outrun = true;
	f.peer[0].connected = f.peer[0].live = false;
	planned(PROMOTE_REFUSED, 0, "mail2 was newer", "dead, and known to have gone on");
	f.peer[1] = (struct promote_peer){ .name = "mail3", .connected = true, .newer = true };
	f.peer_count = 2;
	f.peer_dead = true;
	f.peer[0].connected = f.peer[0].live = false;
	planned(PROMOTE_REFUSED, 0, "mail3 is newer, but not whole: bring back the node that it followed",
		"dead, and a third copy went on with it, though that one is not whole");
	f.peer[1] = (struct promote_peer){ .name = "mail3", .connected = true, .newer = true };
	f.peer_count = 2;
	f.force = true;
	f.peer[0].connected = f.peer[0].live = false;
	planned(PROMOTE_GO, REPL_F_FORCE, NULL, "by force all the same");
	f.peer_dead = true;
	planned(PROMOTE_REFUSED, 0, "answers", "it is not dead, it answers");
	f.peer_dead = f.peer[0].there = true;
	f.peer[0].connected = f.peer[0].live = false;
	planned(PROMOTE_REFUSED, 0, "has not told yet", "nor is one that has just come, or is about to begin");
	f.peer_dead = true;
	f.peer[0].connected = f.peer[0].live = f.peer[0].was_live = false;
	planned(PROMOTE_REFUSED, 0, "--force", "dead, but it may hold more");
	f.peer_dead = true;
	f.consistent = false;
	f.peer[0].connected = f.peer[0].live = false;
	planned(PROMOTE_REFUSED, 0, "not consistent", "dead, but this copy is no use");
	f.peer_dead = true;
	f.peer[0].connected = f.peer[0].live = false;
	f.peer[1] = (struct promote_peer){
		.name = "mail3", .connected = true, .consistent = true,
		.same_generation = true,
	};
	f.peer_count = 2;
	planned(PROMOTE_ASK, REPL_F_PEER_DEAD | REPL_F_ALONE, NULL, "another survivor is asked");
	f.peer_dead = true;
	f.peer[0].connected = f.peer[0].live = false;
	f.peer[1] = (struct promote_peer){ .name = "mail3", .connected = true, .consistent = true };
	f.peer_count = 2;
	planned(PROMOTE_GO, REPL_F_PEER_DEAD | REPL_F_ALONE, NULL, "one of an older line is not");
	f.peer_dead = true;
	f.peer[0].connected = f.peer[0].live = false;
	f.peer[1] = (struct promote_peer){
		.name = "mail3", .connected = true, .live = true, .consistent = true, .was_live = true,
	};
	f.peer_count = 2;
	planned(PROMOTE_ASK, REPL_F_PEER_DEAD, NULL, "a third node is asked all the same");
	is_number(plan.ask, 2, "that one only");
	f.force = true;
	f.peer[0].connected = f.peer[0].live = false;
	planned(PROMOTE_GO, REPL_F_FORCE, NULL, "--force asks nobody");
}

static void first(void)
{
	fresh();
	f.consistent = f.peer[0].consistent = f.peer[0].live = f.peer[0].was_live = false;
	planned(PROMOTE_ASK, REPL_F_FORCE, NULL, "two new copies: the peer is asked");
	f.consistent = f.peer[0].consistent = f.peer[0].live = f.peer[0].connected = false;
	planned(PROMOTE_REFUSED, 0, "--force", "two new copies, the peer is away");
	f.consistent = f.peer[0].live = false;
	planned(PROMOTE_REFUSED, 0, "promote mail2", "a new copy beside one that is consistent");
	f.consistent = false;
	f.peer_count = f.slots = 0;
	planned(PROMOTE_GO, REPL_F_FORCE, NULL, "a new copy without peers");
	f.consistent = f.peer[0].consistent = f.peer[0].live = f.peer[0].was_live = false;
	f.peer[0].identity = true;
	planned(PROMOTE_REFUSED, 0, "part of a volume", "a new copy beside an incomplete one");
}

/* A copy that was left while it caught up is none to begin with, whoever agrees. */
static void incomplete(void)
{
	fresh();
	f.identity = true;
	f.consistent = f.peer[0].live = f.peer[0].was_live = false;
	planned(PROMOTE_REFUSED, 0, "promote mail2", "an incomplete copy beside a complete one");
	f.identity = true;
	f.consistent = f.peer[0].consistent = f.peer[0].live = f.peer[0].was_live = false;
	planned(PROMOTE_REFUSED, 0, "connect the one that it followed", "two incomplete copies");
	f.identity = true;
	f.consistent = f.peer[0].live = f.peer[0].was_live = f.peer[0].connected = false;
	planned(PROMOTE_REFUSED, 0, "connect the one that it followed",
		"an incomplete copy, the complete one is away");
	f.identity = f.force = true;
	f.consistent = f.peer[0].live = f.peer[0].connected = false;
	planned(PROMOTE_GO, REPL_F_FORCE, NULL, "with --force an incomplete copy is taken");
}

static void consented_itself(void)
{
	fresh();
	f.granted = "mail2";
	planned(PROMOTE_REFUSED, 0, "just consented to mail2", "a node that has just consented");
	f.granted = "mail2";
	f.force = true;
	planned(PROMOTE_GO, REPL_F_FORCE, NULL, "--force is stronger");
	f.granted = "mail2";
	f.identity = true;
	f.consistent = f.peer[0].live = f.peer[0].was_live = false;
	planned(PROMOTE_REFUSED, 0, "not consistent", "what does not pass by itself is said first");
}

/* A peer with less room than this copy has could never follow it again. */
static void smaller_peer(void)
{
	fresh();
	f.size = 2 << 20;
	f.peer[0].size = 1 << 20;
	planned(PROMOTE_REFUSED, 0, "2 MiB (2097152 bytes), the one on mail2 only 1 MiB (1048576 bytes)",
		"a live peer that is smaller: both sizes");
	f.size = 2 << 20;
	f.peer[0].size = 1 << 20;
	planned(PROMOTE_REFUSED, 0, "mkfs.repl --force --name spool --size 1048576",
		"how to make this copy as small");
	f.size = 2 << 20;
	f.peer[0].size = 1 << 20;
	planned(PROMOTE_REFUSED, 0, "promote mail2", "or who may be promoted instead");
	f.size = f.peer[0].size = 2 << 20;
	planned(PROMOTE_ASK, 0, NULL, "one of the same size is asked");
	f.size = 1 << 20;
	f.peer[0].size = 2 << 20;
	planned(PROMOTE_ASK, 0, NULL, "a larger one, too");
	f.size = 2 << 20;
	planned(PROMOTE_ASK, 0, NULL, "one whose size is not known, too");
	f.size = 2 << 20;
	f.peer[1] = (struct promote_peer){ .name = "mail3", .size = 1 << 20 };
	f.peer_count = 2;
	planned(PROMOTE_ASK, 0, NULL, "one that is away and was not in sync stops nobody");
	f.size = 2 << 20;
	f.peer[1] = (struct promote_peer){ .name = "mail3", .connected = true, .size = 1 << 20 };
	f.peer_count = 2;
	planned(PROMOTE_REFUSED, 0, "mail3", "one that is there, but not in sync, does");
	f.size = 2 << 20;
	f.peer[0].size = 1 << 20;
	f.consistent = f.peer[0].consistent = f.peer[0].live = f.peer[0].was_live = false;
	planned(PROMOTE_REFUSED, 0, "mail2", "the first primary of new copies");
	f.size = 2 << 20;
	f.peer[0].size = 1 << 20;
	f.peer_dead = true;
	f.peer[0].connected = f.peer[0].live = false;
	planned(PROMOTE_GO, REPL_F_PEER_DEAD | REPL_F_ALONE, NULL,
		"a smaller peer that is dead does not keep the service down");
	f.size = 2 << 20;
	f.peer[0].size = 1 << 20;
	f.force = true;
	planned(PROMOTE_GO, REPL_F_FORCE, NULL, "--force leaves it behind");
	f.size = 2 << 20;
	f.peer[0].size = 1 << 20;
	f.peer[0].live = false;
	planned(PROMOTE_REFUSED, 0, "wait spool --for in-sync", "what stands in the way first is said first");
}

/* A node that was primary and lost its disk, then its link to this one. */
static void diskless_peer(void)
{
	fresh();
	f.peer[0].live = false;
	f.peer[0].diskless = f.peer[0].same_generation = true;
	planned(PROMOTE_ASK, 0, NULL, "a former primary without a disk, live to its end, is asked");
	f.peer[0].live = f.peer[0].was_live = false;
	f.peer[0].diskless = f.peer[0].same_generation = true;
	planned(PROMOTE_REFUSED, 0, "not in sync", "one that had gone on without this copy is not");
	f.peer[0].live = false;
	f.peer[0].diskless = true;
	planned(PROMOTE_REFUSED, 0, "not in sync", "nor one of another generation");
	f.peer[0].live = false;
	f.peer[0].same_generation = true;
	planned(PROMOTE_REFUSED, 0, "not in sync", "nor one that has a disk");
}

static struct promote_consent c;

static void consents(bool expected, const char *words, const char *name)
{
	char text[REPL_TEXT_MAX];
	bool granted = promote_consent(&c, text);

	ok(granted == expected && (expected ? !text[0] : !!strstr(text, words)), "%s%s%s", name,
	   granted ? "" : ": ", text);
	c = (struct promote_consent){
		.node = "mail1", .live = true, .consistent = true, .same_generation = true,
	};
}

static void consent(void)
{
	char text[REPL_TEXT_MAX] = "";

	promote_consent(&c, text);
	c = (struct promote_consent){
		.node = "mail1", .live = true, .consistent = true, .same_generation = true,
	};
	consents(true, NULL, "a live and equal secondary consents");
	c.primary = true;
	consents(false, "primary itself", "a primary does not");
	c.knows_primary = "mail3";
	consents(false, "mail3 is primary", "who knows a primary does not");
	c.about_to = true;
	consents(false, "about to", "who asks itself and goes first does not");
	c.granted = "mail3";
	consents(false, "consented to mail3", "who has just consented to another does not");
	c.granted = "mail1";
	consents(true, NULL, "to the same it may again");
	c.live = false;
	consents(false, "not in sync", "who is not live does not");
	c.live = false;
	c.peer_dead = true;
	consents(true, NULL, "unless both have survived the one that is said to be dead");
	c.live = false;
	c.peer_dead = true;
	c.linked = "mail3";
	consents(false, "mail3, which is not dead", "but not when it still goes with that one");
	c.live = c.same_generation = false;
	c.peer_dead = true;
	consents(false, "not in sync", "in the same generation, that is");
	c.same_generation = false;
	consents(false, "generation", "who is of another generation does not");
	c.newer = "mail3";
	consents(false, "mail3", "who knows a newer copy does not");
	c.absent = "mail3";
	consents(false, "mail3", "who misses a peer that was in sync does not");
	c.absent = "mail3";
	c.peer_dead = true;
	consents(true, NULL, "unless that one is said to be dead");
	c.consistent = c.live = c.same_generation = false;
	consents(true, NULL, "a new copy has nothing to lose");
	c.identity = true;
	c.consistent = c.live = c.same_generation = false;
	consents(false, "part of a volume", "an incomplete copy has");
}

int main(void)
{
	agreed();
	stuck();
	arbitrated();
	asserted();
	first();
	incomplete();
	consented_itself();
	smaller_peer();
	diskless_peer();
	consent();
	return tap_end();
}
