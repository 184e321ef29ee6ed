// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who a node of agent.conf is: its key.  Names go from one key to another while volumes are up,
 * and keys from one name to another.
 * needs: userspace/agent/arbiter.c userspace/agent/register.c userspace/agent/ask.c userspace/agent/witness.c
 * needs: userspace/agent/verify.c userspace/agent/judge.c userspace/agent/compare.c userspace/agent/sums.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c
 * needs: userspace/agent/follow.c userspace/agent/task.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/nodes.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/resolve.c userspace/agent/save.c
 * needs: userspace/agent/copy.c userspace/agent/msg.c userspace/agent/action.c userspace/agent/agent.c userspace/agent/helper.c userspace/agent/hook.c userspace/agent/hookq.c
 * needs: userspace/agent/loop.c userspace/agent/conn.c userspace/agent/greet.c userspace/agent/link.c
 * needs: userspace/agent/dial.c userspace/agent/kops.c userspace/agent/delta.c userspace/agent/mapsend.c
 * needs: userspace/agent/apply.c userspace/agent/stage.c userspace/agent/bring.c userspace/agent/control.c userspace/agent/status.c
 * needs: userspace/agent/tls.c userspace/agent/ktls.c userspace/agent/digest.c userspace/agent/suspect.c
 */
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "bring.h"
#include "key.h"
#include "log.h"
#include "member.h"
#include "pair.h"
#include "survey.h"

#include "tap.h"

#define KEY_A "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
#define KEY_B "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static struct agent agent;
static struct volume *volume;
static struct kernel_volume kernel;
static uint8_t key_a[REPL_KEY_BYTES], key_b[REPL_KEY_BYTES];
static uint64_t rng;
static char dir[] = "/tmp/repl-peers.XXXXXX";
static char answer[1024], surveyed[1024];

static uint64_t random64(void *arg)
{
	return random_next(arg);
}

static void settle(void)
{
	struct action *a;

	while ((a = action_take(&agent.core.actions))) {
		if (a->kind == ACTION_GET)
			core_snapshot(a->volume, &kernel);
		else if (a->kind == ACTION_REPLY)
			snprintf(answer, sizeof(answer), "%d %s", a->ok, a->text);
		else if (a->kind == ACTION_SURVEYED)
			snprintf(surveyed + strlen(surveyed), sizeof(surveyed) - strlen(surveyed), "%s;", a->subject);
		else if (a->kind == ACTION_FORGET && a->ok)
			member_free(a->pair);
		action_free(a);
	}
}

static void put(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	need(f && fputs(text, f) >= 0 && !fclose(f), path);
}

/* What the files say by now. */
static void says(const char *name, const char *key, const char *peer)
{
	char text[512];
	struct err e;

	snprintf(text, sizeof(text), "[node]\nname = mail1\nkey = %s/key\n[peer \"%s\"]\naddress = 10.0.0.2\n"
		 "public-key = %s\n", dir, name, key);
	put("agent.conf", text);
	snprintf(text, sizeof(text), "[volume]\ndevice = /dev/null\nminor = 1\n%s", peer);
	put("volumes/spool.conf", text);
	need(!bring_config(&agent, NULL, &e), e.text);
	settle();
}

static void slot(const uint8_t key[REPL_KEY_BYTES])
{
	struct kernel_slot *s = &kernel.slot[kernel.slot_count];

	*s = (struct kernel_slot){ .index = (uint8_t)kernel.slot_count++, .kind = REPL_SLOT_PEER };
	memcpy(s->key, key, sizeof(s->key));
	core_event(&agent.core, volume);
	settle();
}

static void up(const uint8_t key[REPL_KEY_BYTES])
{
	struct volume_settings set = { .join_limit_ms = 200 };

	kernel = (struct kernel_volume){
		.name = "spool", .slots = 4, .size = 1 << 20, .lbs_shift = 12, .role = REPL_ROLE_PRIMARY,
		.on_peer_loss = REPL_LOSS_CONTINUE,
	};
	volume = core_volume_up(&agent.core, "spool", &set, false, NULL);
	core_pair_add(volume, core_peer_by_key(&agent.core, key));
	core_start(volume);
	settle();
}

static void down(void)
{
	core_snapshot(volume, NULL);
	settle();
	core_volume_free(volume);
}

/* Return: whether the one that goes is the one with this key. */
static bool removes(const char *node, const uint8_t key[REPL_KEY_BYTES])
{
	struct core_request r = { .id = 1, .volume = "spool" };
	unsigned int at = 0;
	bool right;

	answer[0] = '\0';
	member_remove(&agent.core, &r, node);
	right = volume->task.kind == TASK_MEMBER && !memcmp(volume->task.member->key, key, REPL_KEY_BYTES);
	settle();
	if (!right)
		return false;
	while (at < kernel.slot_count && memcmp(kernel.slot[at].key, key, REPL_KEY_BYTES) != 0)
		at++;
	if (at < kernel.slot_count) {
		memmove(&kernel.slot[at], &kernel.slot[at + 1], (kernel.slot_count - at) * sizeof(kernel.slot[0]));
		kernel.slot_count--;
		core_op_done(volume, NULL, OP_SLOT_SET, 0, &(struct op_result){ 0 });
		settle();
	}
	return answer[0] == '1';
}

static void adds(const uint8_t key[REPL_KEY_BYTES])
{
	struct core_request r = { .id = 1, .volume = "spool" };
	struct pair *p = member_new(&agent.core, &r, core_peer_by_key(&agent.core, key));

	need(p, "a pair");
	member_begin(p, 1);
	settle();
}

/* Made anew, with another key; the volume stays up. */
static void new_key(void)
{
	says("mail2", KEY_A, "[peer \"mail2\"]\n");
	up(key_a);
	slot(key_a);
	says("mail2", KEY_B, "[peer \"mail2\"]\n");
	survey_begin(&agent.core, 2);
	settle();
	is_text(surveyed, "mail2;", "a node with another key is one node");
	ok(removes("mail2", key_a), "the pair with its old key can be removed: %s", answer);
	adds(key_b);
	ok(removes("mail2", key_b), "and the one with its new key: %s", answer);
	ok(!removes("mail2", key_b) && strstr(answer, "is no peer of it"), "then there is none: %s", answer);
	down();
}

/* The same, but the volume came up again meanwhile. */
static void old_slot(void)
{
	says("mail2", KEY_B, "[peer \"mail2\"]\n");
	up(key_b);
	slot(key_a);
	slot(key_b);
	ok(removes("mail2", key_b), "who replicates goes first: %s", answer);
	is_number(volume->pair_count, 0, "and does no more");
	ok(removes("mail2", key_a), "then the slot of the old key: %s", answer);
	down();
}

static void new_name(void)
{
	says("mail2", KEY_B, "[peer \"mail2\"]\n");
	up(key_b);
	slot(key_b);
	says("store", KEY_B, "[peer \"store\"]\nmode = rolling\ninterval = 2s\n");
	is_text(volume->pair[0]->peer->name, "store", "a node with another name is called by it");
	is_number(volume->pair[0]->roll.interval_ms, 2000, "what the volume's file says of it counts");
	ok(removes("store", key_b), "it can be removed: %s", answer);
	down();
}

int main(void)
{
	static const uint8_t key[REPL_KEY_BYTES] = { 5 };
	char path[128];

	rng = random_seed();
	log_open("test_peers", LOG_LEVEL_ERROR);
	need(mkdtemp(dir), "a directory");
	snprintf(path, sizeof(path), "%s/volumes", dir);
	need(!mkdir(path, 0700), path);
	need(!key_decode(KEY_A, key_a) && !key_decode(KEY_B, key_b), "two keys");
	snprintf(agent.config.dir, sizeof(agent.config.dir), "%s", dir);
	core_init(&agent.core, "mail1", key, random64, &rng);
	new_key();
	old_slot();
	new_name();
	core_exit(&agent.core);
	config_free(&agent.config);
	snprintf(path, sizeof(path), "rm -r %s", dir);
	need(!system(path), path);
	return tap_end();
}
