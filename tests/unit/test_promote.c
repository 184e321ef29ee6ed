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
	planned(PROMOTE_REFUSED, 0, "newer", "a peer that is ahead");
	f.peer[0].connected = f.peer[0].live = false;
	planned(PROMOTE_REFUSED, 0, "--peer-dead", "a peer that is away, and was in sync");
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
	f.peer_dead = true;
	planned(PROMOTE_REFUSED, 0, "answers", "it is not dead, it answers");
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
	c.asking = c.lower = true;
	consents(false, "about to", "who asks itself and has the lower key does not");
	c.asking = true;
	consents(true, NULL, "who asks itself and has the higher key does");
	c.granted = "mail3";
	consents(false, "consented to mail3", "who has just consented to another does not");
	c.granted = "mail1";
	consents(true, NULL, "to the same it may again");
	c.live = false;
	consents(false, "not in sync", "who is not live does not");
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
}

int main(void)
{
	agreed();
	asserted();
	first();
	consent();
	return tap_end();
}
