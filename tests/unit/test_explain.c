// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What repl-ctl status makes of kernel, configuration and agent: states, health, reasons, next steps.
 * needs: userspace/ctl/explain.c userspace/ctl/view.c userspace/ctl/report.c userspace/ctl/agent.c
 */
#include "explain.h"
#include "report.h"
#include "tap.h"
#include "view.h"

/* One healthy pair: mail1, this node, is primary; mail2 is live. */
static struct config_agent agent;
static struct config_volume config;
static struct kernel_volume kernel;
static struct view view;
static struct view_volume vol;

static void healthy(void)
{
	struct kernel_slot *s = &kernel.slot[0];

	memset(&agent, 0, sizeof(agent));
	memset(&config, 0, sizeof(config));
	memset(&kernel, 0, sizeof(kernel));
	memset(&view, 0, sizeof(view));
	strcpy(agent.name, "mail1");
	strcpy(agent.peer[0].name, "mail2");
	memset(agent.peer[0].key.b, 2, REPL_KEY_BYTES);
	agent.peer_count = 1;
	strcpy(config.peer[0].name, "mail2");
	config.peer_count = 1;
	kernel.minor = 5;
	strcpy(kernel.name, "spool");
	strcpy(kernel.backing, "sdb1");
	kernel.role = REPL_ROLE_PRIMARY;
	kernel.sb_flags = REPL_SB_IDENTITY | REPL_SB_CONSISTENT;
	kernel.generation.b[0] = kernel.uuid.b[0] = 1;
	kernel.slot_count = 1;
	s->kind = REPL_SLOT_PEER;
	s->link = REPL_LINK_LIVE;
	memset(s->key, 2, REPL_KEY_BYTES);
	view.config_good = true;
	view.module = true;
}

static void judge(const char *answer)
{
	json_t *object = answer ? json_loads(answer, 0, NULL) : NULL;

	need(!answer || object, "JSON");
	memset(&vol, 0, sizeof(vol));
	strcpy(vol.name, "spool");
	vol.config = &config;
	vol.kernel = &kernel;
	view_merge_peers(&vol, &agent, object);
	explain_volume(&view, &vol);
	json_decref(object);
}

static void finds(enum view_health health, const char *reason, const char *next)
{
	bool found = false;

	for (size_t i = 0; i < vol.finding_count; i++)
		found |= strstr(vol.finding[i].reason, reason) && strstr(vol.finding[i].next, next);
	if (!ok(found && vol.health == health, "%s: %s -> %s", view_health_word(health), reason, next))
		printf("# got %s: %s -> %s\n", view_health_word(vol.health), vol.finding[0].reason,
		       vol.finding[0].next);
}

static void test_health(void)
{
	healthy();
	judge(NULL);
	ok(vol.health == VIEW_HEALTHY && !vol.finding_count, "a live pair is healthy");
	ok(vol.peer_count == 1 && !strcmp(vol.peer[0].name, "mail2") && vol.peer[0].configured &&
	   vol.peer[0].state == VIEW_LIVE, "slot and configuration are one peer");
	kernel.gate = REPL_GATE_JOIN;
	kernel.gate_age_ms = 100;
	judge(NULL);
	ok(vol.health == VIEW_HEALTHY, "a short freeze is no trouble");
	kernel.gate_age_ms = 60000;
	judge(NULL);
	finds(VIEW_DEGRADED, "frozen for 1 min by: join", "at its deadline");
	kernel.gate = REPL_GATE_JOIN | REPL_GATE_REPLACE;
	judge(NULL);
	finds(VIEW_DEGRADED, "frozen for 1 min by: join, replace", "see dmesg");
	ok(!strstr(vol.finding[0].next, "deadline"), "and nothing is said of a deadline that it does not have");
	kernel.gate = REPL_GATE_PEER_LOST | REPL_GATE_JOIN;
	judge(NULL);
	finds(VIEW_DOWN, "frozen for 1 min: a peer was lost", "repl-ctl resume spool");
	healthy();
	view.agent = VIEW_AGENT_DEAD;
	judge(NULL);
	finds(VIEW_DEGRADED, "no agent runs", "systemctl start repl-agent");
	healthy();
	view.agent = VIEW_AGENT_UNKNOWN;
	judge(NULL);
	ok(vol.health == VIEW_HEALTHY, "an agent that may not be asked is no trouble");
	view.agent = VIEW_AGENT_SILENT;
	judge(NULL);
	finds(VIEW_DEGRADED, "the agent does not answer: what is live goes on", "systemctl restart repl-agent");
}

/* A mistake counts where it may be in force: for its own volume, or, of the agent's file, for all. */
static void test_config(void)
{
	healthy();
	view.config_good = false;
	strcpy(view.config_problem, "etc/agent.conf:8: neither");
	judge(NULL);
	finds(VIEW_DEGRADED, "the configuration has a mistake: etc/agent.conf:8: neither", "repl-agent --check");
	vol.kernel = NULL;
	explain_volume(&view, &vol);
	finds(VIEW_DOWN, "the configuration has a mistake", "repl-agent --check");
	view.config.agent_good = true;
	judge(NULL);
	ok(vol.health == VIEW_HEALTHY, "a mistake in another volume's file is that one's");
	config.bad = true;
	judge(NULL);
	finds(VIEW_DEGRADED, "the configuration has a mistake", "repl-agent --check");
}

static void test_arbiter(void)
{
	static const char waits[] =
		"{\"arbiter\":{\"is\":\"node:mail3\",\"state\":\"asked\",\"waits\":"
		"\"has been asked for 12 s whether this node may go on without its peer: nobody answers\"}}";

	healthy();
	kernel.on_peer_loss = REPL_LOSS_ARBITER;
	kernel.gate = REPL_GATE_PEER_LOST;
	kernel.gate_age_ms = 12000;
	judge(waits);
	finds(VIEW_DOWN, "writes have been frozen for 12 s: a peer was lost; arbiter node:mail3: has been asked for 12 s "
	      "whether this node may go on without its peer: nobody answers", "see that the arbiter answers");
	judge(NULL);
	finds(VIEW_DOWN, "a peer was lost; arbiter: has not been asked", "only it asks the arbiter");
	kernel.gate = 0;
	kernel.role = REPL_ROLE_SECONDARY;
	judge(waits);
	finds(VIEW_DEGRADED, "arbiter node:mail3: has been asked for 12 s", "it is asked until it does");
}

static void test_replace(void)
{
	healthy();
	kernel.flags = REPL_VF_FAILED | REPL_VF_DISKLESS;
	judge(NULL);
	finds(VIEW_DEGRADED, "sdb1 has failed", "repl-ctl replace spool --device DEVICE; the volume");
	strcpy(config.metadata, "/dev/ssd");
	judge(NULL);
	finds(VIEW_DEGRADED, "sdb1 has failed", "repl-ctl replace spool --device DEVICE --metadata DEVICE; the volume");
	kernel.role = REPL_ROLE_SECONDARY;
	kernel.flags = REPL_VF_FAILED;
	judge(NULL);
	finds(VIEW_DEGRADED, "sdb1 has failed", "replace spool --device DEVICE --metadata DEVICE");
}

static void test_filling(void)
{
	healthy();
	kernel.flags = REPL_VF_FAILED | REPL_VF_DISKLESS | REPL_VF_REPLACING;
	kernel.size = 100ULL << 30;
	kernel.replaced = 25ULL << 30;
	kernel.replace_ms = 100000;
	judge(NULL);
	finds(VIEW_DEGRADED, "the new disk sdb1 is being filled from a live peer: 25 %, 75 GiB left, 256 MiB/s, about 5 min",
	      "repl-ctl wait spool --for in-sync");
	is_number(vol.finding_count, 1, "and nothing else");
	kernel.replaced = kernel.replace_ms = 0;
	judge(NULL);
	finds(VIEW_DEGRADED, "0 %, 100 GiB left, 0 B/s; until then", "repl-ctl wait");
}

static void test_flags(void)
{
	healthy();
	kernel.flags = REPL_VF_FAILED;
	kernel.counter[REPL_C_ERRORS] = 3;
	judge(NULL);
	finds(VIEW_DEGRADED, "sdb1 has failed 3 times", "move the work there");
	kernel.slot[0].link = REPL_LINK_NONE;
	judge(NULL);
	finds(VIEW_DEGRADED, "sdb1 has failed 3 times", "no peer has everything");
	healthy();
	kernel.flags = REPL_VF_FAILED | REPL_VF_DISKLESS;
	judge(NULL);
	finds(VIEW_DEGRADED, "sdb1 has failed: the volume goes on from its live peers", "repl-ctl replace spool");
	is_number(vol.finding_count, 1, "it is said once");
	kernel.role = REPL_ROLE_SECONDARY;
	judge(NULL);
	finds(VIEW_DEGRADED, "sdb1 has failed: there is no copy here", "DEVICE; it then gets a full copy");
	kernel.flags = REPL_VF_FAILED;
	judge(NULL);
	finds(VIEW_DEGRADED, "sdb1 has failed a write of the peer", "repl-ctl replace spool");
	test_replace();
	test_filling();
	healthy();
	kernel.flags = REPL_VF_FAILED | REPL_VF_DISKLESS | REPL_VF_FAILING;
	judge(NULL);
	finds(VIEW_DOWN, "no peer is within reach", "repl-ctl secondary spool --force");
	healthy();
	kernel.flags = REPL_VF_ZOMBIE | REPL_VF_NO_FLUSH | REPL_VF_NO_STABLE;
	judge(NULL);
	is_number(vol.finding_count, 3, "three flags, three findings");
	finds(VIEW_DEGRADED, "still hold /dev/repl5", "repl-ctl down spool");
	finds(VIEW_DEGRADED, "write cache flag", "/sys/block/repl5/queue/write_cache");
	healthy();
	kernel.sb_flags = 0;
	judge(NULL);
	finds(VIEW_DEGRADED, "never held any data", "repl-ctl primary spool; only if its peers cannot be reached yet, with --force");
	kernel.sb_flags = REPL_SB_IDENTITY;
	judge(NULL);
	finds(VIEW_DEGRADED, "cannot take over", "repl-ctl wait spool --for in-sync");
	kernel.sb_flags = REPL_SB_IDENTITY | REPL_SB_CONSISTENT | REPL_SB_UNPROVEN;
	judge(NULL);
	finds(VIEW_DEGRADED, "stopped uncleanly", "--peer-dead");
}

static void test_absent(void)
{
	healthy();
	judge(NULL);
	vol.kernel = NULL;
	explain_volume(&view, &vol);
	finds(VIEW_DOWN, "not up on this node", "repl-ctl up spool");
	view.agent = VIEW_AGENT_DEAD;
	explain_volume(&view, &vol);
	finds(VIEW_DOWN, "no agent runs", "systemctl start repl-agent");
	view.module = false;
	strcpy(view.module_problem, "the repl kernel module is not loaded");
	explain_volume(&view, &vol);
	finds(VIEW_DOWN, "module is not loaded", "modprobe repl");
}

static void test_states(void)
{
	healthy();
	kernel.slot[0].link = REPL_LINK_NONE;
	kernel.slot[0].dirty_blocks = 3;
	strcpy(kernel.slot[0].reason, "no byte for 10 s");
	judge(NULL);
	is_number(vol.peer[0].state, VIEW_DISCONNECTED, "no link and no agent: disconnected");
	is_number(explain_behind(&vol, &vol.peer[0]), 12288, "behind by its dirty blocks");
	finds(VIEW_DEGRADED, "mail2 is not connected: no byte for 10 s", "see that mail2 is on");
	view.agent = VIEW_AGENT_DEAD;
	judge(NULL);
	finds(VIEW_DEGRADED, "mail2 is not connected", "on this node");
	view.agent = VIEW_AGENT_ANSWERS;
	judge("{\"peers\":[{\"name\":\"mail2\",\"session\":\"connecting\",\"state\":\"connecting\","
	      "\"reason\":\"connection refused\",\"progress\":null}]}");
	is_number(vol.peer[0].state, VIEW_CONNECTING, "the agent knows what comes before a link");
	finds(VIEW_DEGRADED, "mail2 is not connected: connection refused", "its agent runs");
	judge("{\"peers\":[{\"name\":\"mail2\",\"state\":\"syncing\",\"progress\":{\"percent\":41.6,"
	      "\"bytes_left\":3221225472,\"rate\":104857600,\"eta_s\":31}}]}");
	finds(VIEW_DEGRADED, "mail2 is catching up: 42 %, 3 GiB left, about 31 s", "repl-ctl wait spool");
	judge("{\"peers\":[{\"name\":\"mail2\",\"state\":\"syncing\",\"progress\":{\"percent\":1}}]}");
	ok(strstr(vol.finding[0].reason, "1 %, 0 B left") && !strstr(vol.finding[0].reason, "about"),
	   "without an estimate none is printed");
	judge("{\"peers\":[{\"name\":\"mail2\",\"state\":\"behind\",\"verdict\":\"split\","
	      "\"reason\":\"both sides wrote alone\"}]}");
	finds(VIEW_DEGRADED, "connected but behind: both sides wrote alone",
	      "repl-ctl resolve spool");
	judge("{\"peers\":[{\"name\":\"mail2\",\"state\":\"behind\",\"verdict\":\"refused\","
	      "\"reason\":\"both are primary: make one of them secondary\"}]}");
	finds(VIEW_DEGRADED, "connected but behind: both are primary", "if the reason names something to do, do that");
	judge("{\"peers\":[{\"name\":\"mail2\",\"state\":\"syncing\",\"caught_up\":"
	      "{\"bytes\":8192,\"zero_bytes\":4096,\"compared_bytes\":20480,"
	      "\"equal_bytes\":12288,\"passes\":3}}]}");
	ok(vol.peer[0].caught_up.known && vol.peer[0].caught_up.bytes == 8192 &&
	   vol.peer[0].caught_up.zero_bytes == 4096 && vol.peer[0].caught_up.passes == 3 &&
	   vol.peer[0].caught_up.compared_bytes == 20480 &&
	   vol.peer[0].caught_up.equal_bytes == 12288,
	   "what catching up has moved");
	judge("{\"peers\":[{\"name\":\"mail2\",\"state\":\"live\"}]}");
	is_number(vol.peer[0].state, VIEW_BEHIND, "live is what the kernel says, not the agent");
	kernel.slot[0].link = REPL_LINK_LIVE;
	judge("{\"peers\":[{\"name\":\"mail2\",\"state\":\"disconnected\"}]}");
	is_number(vol.peer[0].state, VIEW_LIVE, "also the other way round");
	ok(!vol.finding_count, "nothing to say without words from the agent");
	judge("{\"peers\":[{\"name\":\"mail2\",\"state\":\"live\",\"session\":\"connected\","
	      "\"reason\":\"in sync\"}]}");
	ok(!vol.finding_count, "a live pair whose agents talk");
	judge("{\"peers\":[{\"name\":\"mail2\",\"state\":\"live\",\"session\":\"connecting\","
	      "\"reason\":\"wrong key\"}]}");
	finds(VIEW_HEALTHY, "mail2 is live, but the agents are not connected: wrong key", "comes back");
}

static void test_peers(void)
{
	healthy();
	memset(kernel.slot[0].key, 9, REPL_KEY_BYTES);
	kernel.slot[1].kind = REPL_SLOT_MARK;
	kernel.slot_count = 2;
	judge("{\"peers\":[{\"name\":\"mail3\",\"state\":\"connecting\"},{\"state\":\"live\"},7]}");
	is_number(vol.peer_count, 3, "configured, in a slot, told by the agent: three peers, no mark");
	ok(!strcmp(vol.peer[0].name, "mail2") && !vol.peer[0].slot, "configured and never met");
	ok(!strcmp(vol.peer[1].name, "CQkJCQkJ...") && vol.peer[1].state == VIEW_LIVE,
	   "a key without a name is shown as it starts: %s", vol.peer[1].name);
	ok(!strcmp(vol.peer[2].name, "mail3") && !vol.peer[2].configured, "known to the agent alone");
	judge("{\"peers\":{\"name\":1}}");
	is_number(vol.peer_count, 2, "nonsense from the agent adds nobody");
	judge("[]");
	is_number(vol.peer_count, 2, "nor does a list");
}

static bool has(const json_t *object, const char *const *keys)
{
	for (; *keys; keys++) {
		if (!json_object_get(object, *keys)) {
			printf("# %s is missing\n", *keys);
			return false;
		}
	}
	return true;
}

static void test_report(void)
{
	static const char *const top[] = { "node", "module", "agent", "volumes", NULL };
	static const char *const volume[] = {
		"name", "uuid", "device", "role", "size", "generation", "epoch", "consistent", "frozen",
		"backing", "peers", "health", "findings", "openers", "counters", NULL
	};
	static const char *const peer[] = {
		"name", "state", "mode", "dirty_bytes", "in_flight_bytes", "epoch_age_ms", "reason",
		"progress", "caught_up", "rolling", "verify", "split", "slot", NULL
	};
	json_t *root, *object;

	healthy();
	judge(NULL);
	view.volume = &vol;
	view.count = 1;
	root = report_view(&view);
	need(root, "a report");
	object = json_array_get(json_object_get(root, "volumes"), 0);
	ok(has(root, top), "the report's keys");
	ok(has(object, volume), "a volume's keys");
	ok(has(json_array_get(json_object_get(object, "peers"), 0), peer), "a peer's keys");
	is_text(json_string_value(json_object_get(object, "device")), "/dev/repl5", "the device");
	is_text(json_string_value(json_object_get(object, "role")), "primary", "the role");
	ok(json_is_false(json_object_get(object, "frozen")), "frozen is true or false");
	json_decref(root);
	vol.kernel = NULL;
	root = report_view(&view);
	object = json_array_get(json_object_get(root, "volumes"), 0);
	ok(has(object, volume), "a volume that is down has the same keys");
	is_text(json_string_value(json_object_get(object, "role")), "down", "and the role down");
	json_decref(root);
}

static json_t *peer_of(const json_t *root, size_t n)
{
	const json_t *volume = json_array_get(json_object_get(root, "volumes"), 0);

	return json_array_get(json_object_get(volume, "peers"), n);
}

static bool null_in(const json_t *root, const char *key)
{
	return json_is_null(json_object_get(peer_of(root, 0), key));
}

/* A program that watches must not take what nobody knows for a number that is well. */
static void test_unknown(void)
{
	json_t *root;

	healthy();
	kernel.slot_count = 0;
	kernel.size = 1 << 20;
	judge(NULL);
	view.volume = &vol;
	view.count = 1;
	root = report_view(&view);
	is_number(json_integer_value(json_object_get(peer_of(root, 0), "dirty_bytes")), 1 << 20,
		  "a peer that was never met lacks everything");
	ok(null_in(root, "in_flight_bytes") && null_in(root, "epoch_age_ms") && null_in(root, "mode"), "all else is null");
	json_decref(root);
	vol.kernel = NULL;
	root = report_view(&view);
	ok(null_in(root, "dirty_bytes"), "of a volume that is down that is not known either");
	json_decref(root);
}

static const char *mode_said(const char *answer)
{
	static char said[16];
	json_t *root;

	judge(answer);
	view.volume = &vol;
	view.count = 1;
	root = report_view(&view);
	snprintf(said, sizeof(said), "%s", null_in(root, "mode") ? "null" :
		 json_string_value(json_object_get(peer_of(root, 0), "mode")));
	json_decref(root);
	return said;
}

static void test_mode(void)
{
	healthy();
	config.peer[0].mode = CONFIG_MODE_ROLLING;
	is_text(mode_said(NULL), "rolling", "the mode is the file's while no agent answers");
	is_text(mode_said("{\"peers\":[{\"name\":\"mail2\",\"rolling\":null}]}"), "sync", "but what the agent goes by, when one does");
	config.peer[0].mode = CONFIG_MODE_SYNC;
	is_text(mode_said("{\"peers\":[{\"name\":\"mail2\",\"rolling\":{\"interval_ms\":1000}}]}"), "rolling",
		"the other way round, too");
	config.peer_count = 0;
	is_text(mode_said(NULL), "null", "of one that no file names it is not known");
}

static int64_t number_of(const json_t *object, const char *key)
{
	const json_t *number = json_object_get(object, key);

	return json_is_integer(number) ? (int64_t)json_integer_value(number) : -1;
}

/* What is staged there is dirty here no more, and lost with this node all the same. */
static void test_rolling(void)
{
	json_t *root;
	const json_t *rolling;

	healthy();
	kernel.slot[0].link = REPL_LINK_NONE;
	kernel.slot[0].dirty_blocks = 2;
	kernel.slot[0].epoch = 17;
	kernel.slot[0].generation.b[0] = 1;
	judge("{\"peers\":[{\"name\":\"mail2\",\"state\":\"rolling\",\"rolling\":{\"interval_ms\":1000,"
	      "\"age_ms\":700,\"on_return\":\"save-and-follow\",\"policy\":\"alarm\",\"worst_ms\":1900,\"behind_bytes\":65536}}]}");
	view.volume = &vol;
	view.count = 1;
	root = report_view(&view);
	rolling = json_object_get(peer_of(root, 0), "rolling");
	is_number((uint64_t)number_of(rolling, "epoch"), 17, "of a rolling peer's copy its epoch is told");
	is_number((uint64_t)number_of(rolling, "age_ms"), 700, "its age");
	is_text(json_string_value(json_object_get(rolling, "policy")), "alarm", "what happens when it is too old");
	is_text(json_string_value(json_object_get(rolling, "on_return")), "save-and-follow", "and when this node is lost, and back");
	is_number((uint64_t)number_of(rolling, "behind_bytes"), 65536, "and what it lacks, of which a part is staged there");
	is_number((uint64_t)number_of(peer_of(root, 0), "dirty_bytes"), 65536, "which is what the peer lacks");
	json_decref(root);
	is_number(vol.health, VIEW_HEALTHY, "one that is young enough is well");
	judge("{\"peers\":[{\"name\":\"mail2\",\"state\":\"rolling\",\"rolling\":{\"interval_ms\":1000,\"bound_ms\":30000,"
	      "\"age_ms\":29000,\"late\":true}}]}");
	ok(vol.health == VIEW_DEGRADED && strstr(vol.finding[0].reason, "29 s old, it should never be older than 30 s"),
	   "one that was too old is until it is young again: %s", vol.finding[0].reason);
	judge("{\"peers\":[{\"name\":\"mail2\",\"state\":\"disconnected\",\"rolling\":{\"interval_ms\":1000,\"bound_ms\":30000,"
	      "\"age_ms\":null,\"late\":true}}]}");
	ok(vol.finding_count == 2 && strstr(vol.finding[1].reason, "is too old"), "one that is away, too: %s", vol.finding[1].reason);
	judge("{\"peers\":[{\"name\":\"mail2\",\"state\":\"rolling\",\"rolling\":{\"interval_ms\":1000,\"age_ms\":21000}}]}");
	ok(vol.health == VIEW_DEGRADED && strstr(vol.finding[0].reason, "older than 20 s"), "an agent that names no bound: %s",
	   vol.finding[0].reason);
	kernel.gate = REPL_GATE_SNAPSHOT;
	kernel.gate_age_ms = 60000;
	judge("{\"peers\":[{\"name\":\"mail2\",\"state\":\"rolling\",\"rolling\":{\"interval_ms\":1000,\"bound_ms\":30000,"
	      "\"age_ms\":90000,\"late\":true,\"policy\":\"throttle\",\"held_percent\":100}}]}");
	ok(vol.finding_count == 1 && strstr(vol.finding[0].reason, "writes wait until it is younger") &&
	   strstr(vol.finding[0].next, "on-lag = alarm"), "that writes wait for it is said once, and what lets them go on");
	kernel.gate = 0;
	kernel.slot[0].dirty_blocks = 100;
	is_number((uint64_t)explain_behind(&vol, &vol.peer[0]), 100 * 4096, "never less than the kernel says");
	kernel.role = REPL_ROLE_SECONDARY;
	is_number((uint64_t)explain_epoch(&vol, &vol.peer[0]), (uint64_t)-1, "on the replica the epoch of its peer is not known");
}

static void test_split(void)
{
	json_t *root, *answer = json_loads("{\"peers\":[{\"name\":\"mail2\",\"split\":{\"common\":null,\"sides\":[7]}}]}", 0, NULL);

	healthy();
	judge(NULL);
	need(answer, "JSON");
	view_merge_peers(&vol, &agent, answer);
	view.volume = &vol;
	view.count = 1;
	root = report_view(&view);
	ok(json_is_array(json_object_get(json_object_get(peer_of(root, 0), "split"), "sides")), "a split is shown as the agent tells it");
	json_decref(root);
	json_decref(answer);
}

/* The answer that the view points into must be there. */
static void test_verify(void)
{
	json_t *answer = json_loads("{\"peers\":[{\"name\":\"mail2\",\"verify\":{\"differ_bytes\":4096}}]}", 0, NULL);

	healthy();
	judge(NULL);
	need(answer, "JSON");
	view_merge_peers(&vol, &agent, answer);
	explain_volume(&view, &vol);
	finds(VIEW_DEGRADED, "4 KiB of the copy on mail2 differs", "make it primary, and there: repl-ctl verify spool --repair ITS-NAME");
	json_decref(answer);
}

int main(void)
{
	test_config();
	test_arbiter();
	test_unknown();
	test_mode();
	test_rolling();
	test_split();
	test_verify();
	test_health();
	test_flags();
	test_absent();
	test_states();
	test_peers();
	test_report();
	return tap_end();
}
