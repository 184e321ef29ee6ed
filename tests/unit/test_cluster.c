// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What other nodes have told becomes a table's lines, an exit code and stable JSON; who has
 * not told counts as degraded, who could not be asked does not count.
 * needs: userspace/ctl/cluster.c userspace/ctl/explain.c userspace/ctl/report.c userspace/ctl/view.c userspace/ctl/agent.c
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "ctl.h"
#include "tap.h"

static struct view here;
static struct cluster c;

int ctl_complain(const char *fmt, ...)
{
	(void)fmt;
	return CTL_FAILED;
}

static const char healthy[] =
	"{\"name\":\"spool\",\"role\":1,\"uuid\":\"11111111-0000-0000-0000-000000000001\","
	"\"generation\":\"22222222-0000-0000-0000-000000000002\",\"epoch\":3,\"size\":1048576,\"gate_age_ms\":0,"
	"\"gate\":0,\"flags\":0,\"sb_flags\":9,\"on_peer_loss\":0,"
	"\"peers\":[{\"name\":\"mail1\",\"state\":\"live\",\"dirty_bytes\":0}]}";
static const char behind[] =
	"{\"name\":\"other\",\"role\":2,\"uuid\":null,\"generation\":null,\"epoch\":0,\"size\":4096,\"gate_age_ms\":0,"
	"\"gate\":0,\"flags\":0,\"sb_flags\":9,\"on_peer_loss\":0,"
	"\"peers\":[{\"name\":\"mail1\",\"state\":\"behind\",\"dirty_bytes\":4096}]}";
static const char rolling[] =
	"{\"name\":\"far\",\"role\":1,\"uuid\":null,\"generation\":null,\"epoch\":0,\"size\":4096,\"gate_age_ms\":0,"
	"\"gate\":0,\"flags\":0,\"sb_flags\":9,\"on_peer_loss\":0,"
	"\"peers\":[{\"name\":\"mail1\",\"state\":\"rolling\",\"dirty_bytes\":4096}]}";
static const char down[] = "{\"name\":\"third\",\"role\":0,\"peers\":[]}";

static void reads(const char *only, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void reads(const char *only, const char *fmt, ...)
{
	char text[8192];
	json_t *answer;
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	cluster_free(&c);
	answer = *text ? json_loads(text, 0, NULL) : NULL;
	need(!*text || answer, "the answer is JSON");
	need(!cluster_read(&c, &here, answer, "no agent answers", only), "it is read");
	json_decref(answer);
}

static void answers(void)
{
	json_t *report, *volume;

	reads(NULL, "{\"nodes\":[{\"node\":\"mail2\",\"state\":\"answers\",\"reason\":\"\",\"left_out\":0,\"volumes\":[%s]}]}",
	      healthy);
	is_number(c.count, 2, "this node and another");
	is_text(c.node[0].state, "here", "this one first");
	is_number(cluster_health(&c), VIEW_HEALTHY, "all is well");
	report = cluster_report(&c);
	volume = json_array_get(json_object_get(json_array_get(json_object_get(report, "nodes"), 1), "volumes"), 0);
	is_text(json_string_value(json_object_get(volume, "role")), "secondary", "JSON: its role");
	is_text(json_string_value(json_object_get(volume, "health")), "healthy", "its health");
	is_text(json_string_value(json_object_get(volume, "uuid")), "11111111-0000-0000-0000-000000000001", "its uuid");
	ok(json_is_true(json_object_get(volume, "consistent")) && json_is_false(json_object_get(volume, "frozen")),
	   "what it is");
	is_text(json_string_value(json_object_get(json_array_get(json_object_get(volume, "peers"), 0), "state")), "live",
		"and its peers");
	json_decref(report);
	reads(NULL, "{\"nodes\":[{\"node\":\"mail2\",\"state\":\"answers\",\"volumes\":[%s,%s]}]}", healthy, behind);
	is_number(cluster_health(&c), VIEW_DEGRADED, "one that is behind");
	ok(c.node[1].count == 2 && strstr(c.node[1].volume[1].finding[0].reason, "mail1 is connected but behind"),
	   "is said to be: %s", c.node[1].volume[1].finding[0].reason);
	reads(NULL, "{\"nodes\":[{\"node\":\"mail2\",\"state\":\"answers\",\"volumes\":[%s,%s]}]}", healthy, rolling);
	is_number(c.node[1].volume[1].peer[0].state, VIEW_ROLLING, "one that is rolling");
	is_number(cluster_health(&c), VIEW_HEALTHY, "is as it shall be");
	reads("spool", "{\"nodes\":[{\"node\":\"mail2\",\"state\":\"answers\",\"volumes\":[%s,%s]}]}", healthy, behind);
	ok(c.node[1].count == 1 && cluster_health(&c) == VIEW_HEALTHY, "only one volume is looked at");
	reads(NULL, "{\"nodes\":[{\"node\":\"mail2\",\"state\":\"answers\",\"volumes\":[%s,%s]}]}", down, behind);
	is_number(cluster_health(&c), VIEW_DOWN, "one that is not up there");
	ok(!strcmp(c.node[1].volume[0].finding[0].reason, "is not up there") &&
	   !strcmp(c.node[1].volume[0].finding[0].next, "there: repl-ctl up third"), "which is said of it, not of this node: %s",
	   c.node[1].volume[0].finding[0].reason);
	reads(NULL, "{\"nodes\":[{\"node\":\"mail2\",\"state\":\"answers\",\"left_out\":7,\"volumes\":[%s]}]}", healthy);
	is_number(cluster_health(&c), VIEW_DEGRADED, "what was left out is not known to be well");
}

/* A node tells less of a volume than it knows: what was not told is not made up. */
static void troubles(void)
{
	static const char form[] =
		"{\"nodes\":[{\"node\":\"mail2\",\"state\":\"answers\",\"volumes\":[{\"name\":\"spool\",\"role\":2,"
		"\"size\":4096,\"gate_age_ms\":5000,\"gate\":%u,\"flags\":%u,\"sb_flags\":9,\"on_peer_loss\":%u,"
		"\"peers\":[]}]}]}";
	static const struct {
		unsigned int gate, flags, policy;
		const char *words;
	} told[] = {
		{ 0, REPL_VF_FAILED, REPL_LOSS_CONTINUE, "the backing device there has failed" },
		{ 0, REPL_VF_DISKLESS, REPL_LOSS_CONTINUE,
		  "the backing device there has failed: the volume goes on from its live peers, there is no copy on that node" },
		{ 0, REPL_VF_DISKLESS | REPL_VF_REPLACING, REPL_LOSS_CONTINUE,
		  "a new disk is being filled from a live peer; until then there is no copy there" },
		{ REPL_GATE_PEER_LOST, 0, REPL_LOSS_ARBITER,
		  "writes have been frozen for 5 s: a peer was lost, and the arbiter has not let it go on" },
		{ 0, REPL_VF_FAILING, REPL_LOSS_CONTINUE,
		  "all I/O fails there: its disk has failed, and it reaches no peer that has everything" },
	};

	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		reads(NULL, form, told[i].gate, told[i].flags, told[i].policy);
		is_text(c.node[1].volume[0].finding[0].reason, told[i].words, "what was told, and no more");
	}
}

static void elsewhere_unproven(void)
{
	reads(NULL, "{\"nodes\":[{\"node\":\"mail2\",\"state\":\"answers\",\"volumes\":[{\"name\":\"spool\",\"role\":1,"
	      "\"sb_flags\":%u,\"peers\":[]}]}]}", REPL_SB_IDENTITY | REPL_SB_CONSISTENT | REPL_SB_UNPROVEN);
	is_text(c.node[1].volume[0].finding[0].reason,
		"that node stopped uncleanly as primary, and no peer has confirmed its data since", "nor is this node meant");
}

static void silence(void)
{
	reads(NULL, "{\"nodes\":[{\"node\":\"mail2\",\"state\":\"silent\",\"reason\":\"not in time\",\"volumes\":[]}]}");
	is_number(cluster_health(&c), VIEW_DEGRADED, "who does not answer");
	reads(NULL, "{\"nodes\":[{\"node\":\"mail2\",\"state\":\"disconnected\",\"reason\":\"timed out\",\"volumes\":[]}]}");
	is_number(cluster_health(&c), VIEW_DEGRADED, "who is not there");
	reads(NULL, "{\"nodes\":[{\"node\":\"mail3\",\"state\":\"unasked\",\"reason\":\"shares none\",\"volumes\":[]}]}");
	is_number(cluster_health(&c), VIEW_HEALTHY, "a witness, say, with whom there is no session");
	here.config.agent.peer_count = 1;
	strcpy(here.config.agent.peer[0].name, "mail2");
	reads(NULL, "%s", "");
	ok(c.count == 2 && !strcmp(c.node[1].state, "unknown") && !strcmp(c.node[1].reason, "no agent answers"),
	   "without the agent nothing is known of others");
	is_number(cluster_health(&c), VIEW_DEGRADED, "and that is not well");
	here.config_good = false;
	is_number(cluster_health(&c), VIEW_DOWN, "nothing to look at is not well either");
	here.count = 1;
	here.volume = &(struct view_volume){ .name = "spool" };
	reads(NULL, "{\"nodes\":[]}");
	is_number(cluster_health(&c), VIEW_DEGRADED, "nor is a mistake in the configuration, whosever it is");
	reads("spool", "{\"nodes\":[]}");
	is_number(cluster_health(&c), VIEW_HEALTHY, "but of another volume than the one that is looked at");
	cluster_free(&c);
	here.count = 0;
	here.volume = NULL;
	here.config_good = true;
	here.config.agent.peer_count = 0;
}

static void order(void)
{
	here.config.agent.peer_count = 2;
	strcpy(here.config.agent.peer[0].name, "mail2");
	strcpy(here.config.agent.peer[1].name, "mail3");
	reads(NULL, "{\"nodes\":[{\"node\":\"mail9\"},{\"node\":\"mail3\"},{\"node\":\"mail2\"}]}");
	ok(c.count == 4 && !strcmp(c.node[1].name, "mail2") && !strcmp(c.node[2].name, "mail3") &&
	   !strcmp(c.node[3].name, "mail9"), "the order is that of agent.conf");
	here.config.agent.peer_count = 0;
}

static void strange(void)
{
	reads(NULL, "{\"nodes\":[{},{\"node\":3,\"volumes\":[{},{\"role\":\"x\",\"name\":\"a\",\"peers\":7}]}]}");
	ok(c.count == 3 && c.node[2].count == 2, "what is no answer of an agent breaks nothing");
}

int main(void)
{
	here.module = true;
	here.config_good = true;
	strcpy(here.config.agent.name, "mail1");
	answers();
	troubles();
	elsewhere_unproven();
	silence();
	order();
	strange();
	cluster_free(&c);
	return tap_end();
}
