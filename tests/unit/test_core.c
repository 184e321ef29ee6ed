// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One core and what it says to a peer that misbehaves, is silent or does not fit.
 * needs: userspace/agent/core.c userspace/agent/session.c userspace/agent/pair.c
 * needs: userspace/agent/lead.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c
 */
#include "core.h"
#include "pair.h"

#include <endian.h>

#include "tap.h"

enum { SIZE = 64 << 20, SENT = 64 };

static struct core core;
static struct volume *volume;
static struct pair *pair;
static struct kernel_volume kernel;
static const struct core_peer *peer;

/* What it did since clear(). */
static struct {
	uint16_t type;
	uint8_t body[512];
} sent[SENT];
static unsigned int sent_count, closed, dials, taken;
static char refusal[REPL_TEXT_MAX], answer[1024];

static uint64_t rng(void *arg)
{
	return random_next(arg);
}

static struct repl_id id(uint8_t n)
{
	return (struct repl_id){ { n } };
}

static void clear(void)
{
	sent_count = closed = dials = taken = 0;
	refusal[0] = answer[0] = '\0';
}

static void settle(void)
{
	struct action *a;

	while ((a = action_take(&core.actions))) {
		switch (a->kind) {
		case ACTION_GET:
			core_snapshot(a->volume, &kernel);
			break;
		case ACTION_SEND:
			if (a->type == REPL_MSG_REFUSE)
				msg_text(refusal, a->data, a->length);
			sent[sent_count % SENT].type = a->type;
			memcpy(sent[sent_count % SENT].body, a->data,
			       a->length < 512 ? a->length : 512);
			sent_count++;
			break;
		case ACTION_CLOSE:
			closed++;
			break;
		case ACTION_DIAL:
			dials++;
			break;
		case ACTION_LINK_TAKE:
			taken++;
			break;
		case ACTION_REPLY:
			snprintf(answer, sizeof(answer), "%d %s", a->ok, a->text);
			break;
		default:
			break;
		}
		action_free(a);
	}
}

static void begin(bool lower)
{
	static uint64_t state;
	struct volume_settings set = { .join_limit_ms = 200, .timeout_ms = 10000 };
	uint8_t mine[REPL_KEY_BYTES] = { 5 }, theirs[REPL_KEY_BYTES] = { lower ? 9 : 2 };

	state = random_next(&state);
	core_init(&core, "mail1", mine, rng, &state);
	core.now = 1000;
	peer = core_peer_add(&core, "mail2", theirs);
	memset(&kernel, 0, sizeof(kernel));
	kernel.copy_id = id(21);
	kernel.uuid = id(11);
	kernel.generation = id(1);
	kernel.size = SIZE;
	kernel.lbs_shift = 12;
	kernel.slots = 4;
	kernel.role = REPL_ROLE_SECONDARY;
	kernel.sb_flags = REPL_SB_IDENTITY | REPL_SB_CONSISTENT | REPL_SB_CLEAN;
	volume = core_volume_up(&core, "spool", &set, false, NULL);
	pair = core_pair_add(volume, peer);
	core_start(volume);
	settle();
	clear();
}

static void end(void)
{
	core_exit(&core);
}

static void hear(uint32_t conn, uint16_t type, const void *body, uint32_t length)
{
	struct msg_header h = { .type = type, .length = length };

	core_message(&core, conn, &h, body);
	settle();
}

static void hear_hello(uint32_t conn, uint16_t least, uint16_t most, const char *name)
{
	struct msg_hello h = { .version_min = least, .version = most, .node = "mail2" };
	struct repl_msg_hello m;

	snprintf(h.volume, sizeof(h.volume), "%s", name);
	msg_pack_hello(&h, &m);
	hear(conn, REPL_MSG_HELLO, &m, sizeof(m));
}

static void come(uint32_t conn)
{
	core_session_up(&core, conn, peer, NULL);
	settle();
}

static struct copy other_copy(void)
{
	struct copy c = {
		.copy_id = id(22), .uuid = id(11), .generation = id(1), .size = SIZE, .lbs_shift = 12,
		.flags = REPL_MV_IDENTITY | REPL_MV_CONSISTENT | REPL_MV_CLEAN,
	};

	return c;
}

static void hear_copy(uint32_t conn, uint16_t type, const struct copy *c)
{
	struct repl_msg_volume m;

	copy_pack(c, &m);
	hear(conn, type, &m, sizeof(m));
}

static void tick(uint64_t ms)
{
	core.now += ms;
	core_tick(&core);
	settle();
}

/* -------------------------------------------------------------- tests --- */

static void hellos(void)
{
	begin(false);
	come(1);
	ok(sent_count == 1 && sent[0].type == REPL_MSG_HELLO, "who accepts speaks first");
	hear_hello(1, 2, 7, "spool");
	ok(closed && strstr(refusal, "2 to 7"), "a version from the future: %s", refusal);
	clear();
	come(2);
	hear_hello(2, 1, 1, "nonsense");
	ok(closed && strstr(refusal, "repl-ctl up nonsense"), "a volume that is not up: %s", refusal);
	clear();
	come(3);
	hear(3, REPL_MSG_PING, NULL, 0);
	ok(closed && strstr(refusal, "PING"), "anything before HELLO: %s", refusal);
	clear();
	come(4);
	tick(CORE_HELLO_MS);
	ok(closed && refusal[0], "no HELLO at all: %s", refusal);
	clear();
	come(5);
	hear_hello(5, 1, 4, "spool");
	ok(!closed && sent[sent_count - 1].type == REPL_MSG_VOLUME, "a range that overlaps is taken");
	clear();
	hear_hello(5, 1, 1, "spool");
	ok(closed && strstr(refusal, "HELLO"), "a second HELLO: %s", refusal);
	end();
}

static void not_a_peer(void)
{
	uint8_t key[REPL_KEY_BYTES] = { 7 };
	const struct core_peer *third;

	begin(false);
	third = core_peer_add(&core, "mail3", key);
	core_session_up(&core, 1, third, NULL);
	hear_hello(1, 1, 1, "spool");
	ok(closed && strstr(refusal, "mail3 is not a peer"), "a node of another volume: %s", refusal);
	end();
}

static void newest_wins(void)
{
	begin(false);
	come(1);
	hear_hello(1, 1, 1, "spool");
	clear();
	come(2);
	hear_hello(2, 1, 1, "spool");
	ok(closed == 1 && pair->session && pair->session->conn == 2, "the newest session wins");
	core_session_down(&core, 1, "closed");
	settle();
	ok(pair->session && pair->session->conn == 2, "the end of the old one changes nothing");
	end();
}

static void silence(void)
{
	unsigned int pings = 0;

	begin(false);
	come(1);
	hear_hello(1, 1, 1, "spool");
	clear();
	for (unsigned int i = 0; i < 9; i++)
		tick(1000);
	for (unsigned int i = 0; i < sent_count; i++)
		pings += sent[i].type == REPL_MSG_PING;
	is_number(pings, 4, "a PING every two seconds");
	ok(!closed, "nine seconds of silence are borne");
	core_heard(&core, 1);
	tick(9000);
	ok(!closed, "any byte counts");
	tick(1000);
	ok(closed == 1, "after ten the session is closed");
	clear();
	core_session_down(&core, 1, "closed");
	tick(60000);
	is_number(dials, 0, "who has the higher key does not dial");
	end();
}

static void back_off(void)
{
	uint64_t gaps[12], last;

	begin(true);
	tick(0);
	is_number(dials, 1, "who has the lower key dials at once");
	for (unsigned int i = 0; i < 12; i++) {
		last = core.now;
		core_dial_failed(pair, "nobody there");
		settle();
		clear();
		while (!dials)
			tick(10);
		gaps[i] = core.now - last;
	}
	ok(gaps[0] >= 70 && gaps[0] <= 110, "first after about 100 ms (%llu)",
	   (unsigned long long)gaps[0]);
	ok(gaps[3] > 500 && gaps[3] <= 810, "doubling (%llu)", (unsigned long long)gaps[3]);
	ok(gaps[11] >= 3700 && gaps[11] <= 5010, "to five seconds (%llu)",
	   (unsigned long long)gaps[11]);
	end();
}

static void met(const struct copy *c, const char *words, const char *name)
{
	begin(false);
	come(1);
	hear_hello(1, 1, 1, "spool");
	hear_copy(1, REPL_MSG_VOLUME, c);
	ok(strstr(pair->reason, words), "%s: %s", name, pair->reason);
	ok(!closed && !strcmp(pair_session_word(pair), "connected"), "   and the session stays");
	end();
}

static void misfits(void)
{
	struct copy c = other_copy();

	c.uuid = id(12);
	met(&c, "two different volumes", "another volume");
	c = other_copy();
	c.size = SIZE / 2;
	c.flags = 0;
	met(&c, "32 MiB", "a follower that is too small");
	c = other_copy();
	c.lbs_shift = 9;
	met(&c, "block sizes differ", "other blocks");
	c = other_copy();
	c.generation = id(7);
	met(&c, "split", "a split");
}

static void nonsense(void)
{
	struct copy c = other_copy();
	struct repl_msg_volume m;

	begin(false);
	come(1);
	hear_hello(1, 1, 1, "spool");
	copy_pack(&c, &m);
	m.flags |= htole32(1u << 30);
	hear(1, REPL_MSG_VOLUME, &m, sizeof(m));
	ok(closed && strstr(refusal, "unknown flags"), "flags: %s", refusal);
	end();
	begin(false);
	come(1);
	hear_hello(1, 1, 1, "spool");
	c.size = 17;
	hear_copy(1, REPL_MSG_VOLUME, &c);
	ok(closed && strstr(refusal, "impossible size"), "size: %s", refusal);
	end();
	begin(false);
	come(1);
	hear_hello(1, 1, 1, "spool");
	hear(1, REPL_MSG_LINK_PROOF, &m, sizeof(struct repl_msg_link));
	ok(closed && refusal[0], "a link's message in a session: %s", refusal);
	end();
}

static void left_over(void)
{
	struct copy c = other_copy();
	struct repl_msg_delta d = { .id = htole64(3) };
	struct repl_msg_link l = { .cookie = htole64(4) };

	begin(false);
	come(1);
	hear_hello(1, 1, 1, "spool");
	hear_copy(1, REPL_MSG_VOLUME, &c);
	hear(1, REPL_MSG_MAP, NULL, 0);
	hear(1, REPL_MSG_DELTA_BEGIN, &d, sizeof(d));
	hear(1, REPL_MSG_DELTA_DONE, &d, sizeof(d));
	hear(1, REPL_MSG_LINK_READY, &l, sizeof(l));
	hear(1, REPL_MSG_LINK_LIVE, NULL, 0);
	hear_copy(1, REPL_MSG_FOLLOWING, &c);
	hear_copy(1, REPL_MSG_LINK_ADOPT, &c);
	ok(!closed, "what is left of a procedure that was given up is passed over");
	end();
}

static void links(void)
{
	struct msg_link l = { .cookie = 7, .volume = "spool" };
	struct repl_msg_link m;

	begin(false);
	msg_pack_link(&l, &m);
	come(1);
	hear(1, REPL_MSG_LINK_HELLO, &m, sizeof(m));
	ok(taken == 1 && !closed && !core.sessions, "a link's connection is no session");
	snprintf(l.volume, sizeof(l.volume), "other");
	msg_pack_link(&l, &m);
	come(2);
	hear(2, REPL_MSG_LINK_HELLO, &m, sizeof(m));
	ok(closed && strstr(refusal, "other"), "a link for a volume that is not up: %s", refusal);
	end();
}

static void requests(void)
{
	struct core_request r = { .id = 4, .volume = "nonsense" };

	begin(false);
	core_primary(&core, &r);
	settle();
	ok(strstr(answer, "0 nonsense: the volume is not up"), "a volume that is not up: %s", answer);
	r.volume = "spool";
	core_primary(&core, &r);
	settle();
	ok(answer[0] == '0' && strstr(answer, "no peer is connected"), "alone: %s", answer);
	core_secondary(&core, &r);
	settle();
	ok(answer[0] == '1', "secondary already");
	core_wait(&core, &r, WAIT_CONNECTED, 500);
	settle();
	clear();
	tick(501);
	ok(answer[0] == '0' && strstr(answer, "mail2"), "a wait that ends: %s", answer);
	core_wait(&core, &r, WAIT_SECONDARY, 500);
	settle();
	ok(answer[0] == '1', "a wait for what is so already");
	end();
}

int main(void)
{
	hellos();
	not_a_peer();
	newest_wins();
	silence();
	back_off();
	misfits();
	nonsense();
	left_over();
	links();
	requests();
	return tap_end();
}
