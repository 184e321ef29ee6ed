// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Other nodes are asked how their volumes are: each gives one answer or none, in bounded time
 * and bounded size, and what comes is checked to its last byte.
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c
 * needs: userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c userspace/agent/promote.c userspace/agent/pair.c userspace/agent/redo.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c
 * needs: userspace/agent/resolve.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c userspace/agent/suspect.c
 * needs: tests/unit/one_peer.c
 */
#include <endian.h>

#include "one_peer.h"
#include "roster.h"
#include "survey.h"
#include "tap.h"

enum { REQUEST = 5, CONN = 7 };

static uint64_t rng;
static struct roster roster;
static struct roster_volume spool;

/* -- the body --------------------------------------------------------------- */

static void make(unsigned int volumes, unsigned int peers)
{
	roster_init(&roster, 42);
	spool = (struct roster_volume){
		.name = "spool", .uuid = id(1), .generation = id(2), .epoch = 3, .size = SIZE,
		.gate_age_ms = 4, .gate = REPL_GATE_JOIN, .flags = REPL_VF_FAILED,
		.sb_flags = REPL_SB_CONSISTENT, .role = REPL_ROLE_PRIMARY,
		.on_peer_loss = REPL_LOSS_FREEZE, .peers = peers,
	};
	for (unsigned int i = 0; i < peers; i++) {
		snprintf(spool.peer[i].name, sizeof(spool.peer[i].name), "mail%u", i);
		spool.peer[i].dirty_bytes = 4096 * i;
		spool.peer[i].state = i % REPL_SURVEY_STATES;
	}
	while (volumes--)
		roster_add(&roster, &spool);
}

static void there_and_back(void)
{
	static struct roster_volume v;
	struct err e = { "" };
	unsigned int n = 0;
	size_t at = 0;

	make(3, REPL_SLOTS_MAX);
	is_number(roster_check(roster.body, roster.length, &e), 0, "what was packed is good");
	while (roster_next(roster.body, roster.length, &at, &v)) {
		n++;
		ok(!memcmp(&v, &spool, sizeof(v)), "volume %u is what it was", n);
	}
	is_number(n, 3, "and all are there");
	make(1, 1);
	memcpy(roster.body + sizeof(struct repl_msg_surveyed), "\033[2J", 4);
	at = 0;
	need(roster_next(roster.body, roster.length, &at, &v), "a volume");
	is_text(v.name, "?[2Jl", "names go to no terminal as they are");
	make(1000, 2);
	ok(roster.length <= REPL_SURVEYED_MAX && roster.left_out == 1000 - roster.volumes && roster.left_out,
	   "more than there is room for is counted: %u", roster.left_out);
	is_number(roster_check(roster.body, roster.length, &e), 0, "and the rest is good");
	ok(!strcmp(roster_state_word(REPL_SURVEY_LIVE), "live") && roster_state("behind") == REPL_SURVEY_BEHIND &&
	   roster_state("?") == REPL_SURVEY_DISCONNECTED, "states have words");
	is_text(roster_state_word(roster_state("rolling")), "rolling", "all that a pair may be in");
}

static void nameless(size_t at, const char *words)
{
	struct err e = { "" };

	make(1, 1);
	memset(roster.body + at, 'x', REPL_NAME_MAX);
	ok(roster_check(roster.body, roster.length, &e) < 0 && strstr(e.text, words), "refused: %s", e.text);
}

static void damaged(size_t at, uint8_t byte, size_t length, const char *words)
{
	struct err e = { "" };

	make(2, 2);
	roster.body[at] = byte;
	ok(roster_check(roster.body, length ? length : roster.length, &e) < 0 && strstr(e.text, words),
	   "refused: %s", e.text);
}

static void nonsense(void)
{
	size_t v = sizeof(struct repl_msg_surveyed), p = v + sizeof(struct repl_msg_survey_volume);

	damaged(8, 3, 0, "counts other volumes");
	damaged(v + 132, 3, 0, "unknown role");
	damaged(v + 133, 9, 0, "unknown role");
	damaged(v + 135, 1, 0, "unknown role");
	damaged(v + 134, 17, 0, "17 peers");
	damaged(v + 134, 9, 0, "9 peers");
	damaged(p + 72, REPL_SURVEY_STATES, 0, "unknown state");
	damaged(p + 76, 1, 0, "unknown state");
	damaged(0, 0, v + 10, "ends within a volume");
	damaged(0, 0, p + 10, "2 peers");
	nameless(v, "a volume whose name has no end");
	nameless(p, "a peer whose name has no end");
	/* Whatever a peer sends is read no further than it reaches. */
	for (int i = 0; i < 20000; i++) {
		static struct roster_volume read;
		struct err e;
		size_t at = 0, cut = sizeof(struct repl_msg_surveyed);

		make(3, 3);
		for (int n = 0; n < 4; n++)
			roster.body[16 + random_next(&rng) % (roster.length - 16)] = (uint8_t)random_next(&rng);
		if (i % 2)
			cut += random_next(&rng) % (roster.length - cut);
		else
			cut = roster.length;
		if (!roster_check(roster.body, cut, &e))
			while (roster_next(roster.body, cut, &at, &read))
				need(read.peers <= REPL_SLOTS_MAX, "no more peers than there can be");
	}
	ok(true, "random damage is refused, or does none");
}

/* -- asking ------------------------------------------------------------------ */

static void connected(uint64_t features)
{
	struct msg_hello h = { .version_min = 1, .version = 1, .features = features, .node = "mail2", .volume = "spool" };
	struct repl_msg_hello m;

	begin(false);
	come(CONN);
	msg_pack_hello(&h, &m);
	hear(CONN, REPL_MSG_HELLO, &m, sizeof(m));
	clear();
	surveyed[0] = '\0';
}

static void asks(void)
{
	clear();
	surveyed[0] = '\0';
	survey_begin(&core, REQUEST);
	settle();
}

static uint64_t nonce_sent(void)
{
	for (unsigned int i = sent_count; i--;)
		if (sent[i % SENT].type == REPL_MSG_SURVEY)
			return le64toh(((const struct repl_msg_survey *)sent[i % SENT].body)->nonce);
	return 0;
}

static void answers(uint64_t nonce)
{
	make(1, 1);
	((struct repl_msg_surveyed *)roster.body)->nonce = htole64(nonce);
	hear(CONN, REPL_MSG_SURVEYED, roster.body, (uint32_t)roster.length);
}

static void who_asks(void)
{
	uint8_t key[REPL_KEY_BYTES] = { 9 };
	uint64_t nonce;

	connected(REPL_HF_SURVEY);
	core_peer_add(&core, "mail3", key);
	asks();
	is_text(surveyed, "mail3 3 0 no volume that is up here has a copy there;", "who shares no volume is not asked");
	nonce = nonce_sent();
	ok(nonce && !answer[0], "the others are, and waited for");
	answers(nonce + 1);
	ok(!answer[0] && !closed, "an answer to another question is none");
	answers(nonce);
	ok(strstr(surveyed, "mail2 0 "), "what it has told is handed on: %s", surveyed);
	is_text(answer, "1 ", "and that is all");
	clear();
	answers(nonce);
	ok(!answer[0] && !closed, "a second one is none");
	asks();
	tick(SURVEY_MS - 1);
	is_text(answer, "", "one that does not answer is waited for");
	is_number(core_deadline(&core) <= core.now + 1, 1, "and no longer");
	tick(1);
	is_text(answer, "1 ", "than that");
	ok(strstr(surveyed, "mail2 1 0 connected, but it has not answered"), "which is told: %s", surveyed);
	asks();
	core_request_gone(&core, REQUEST);
	tick(SURVEY_MS);
	is_text(answer, "", "nobody may wait for it any more");
	answers(1);
	asks();
	core_session_down(&core, CONN, "reset");
	settle();
	asks();
	ok(strstr(surveyed, "mail2 2 0 disconnected: reset"), "without a session there is nobody to ask: %s", surveyed);
	end();
	connected(0);
	asks();
	ok(!nonce_sent() && strstr(surveyed, "its release does not tell") && answer[0] == '1',
	   "an older release is not asked: %s", surveyed);
	end();
}

static void who_is_asked(void)
{
	struct repl_msg_survey m = { .nonce = htole64(7) };

	connected(REPL_HF_SURVEY);
	surveys = 0;
	hear(CONN, REPL_MSG_SURVEY, &m, sizeof(m));
	is_number(surveys, 1, "a question is the shell's to answer");
	ok(!closed, "and breaks nothing");
	make(2, 2);
	roster.body[8] = 9;
	hear(CONN, REPL_MSG_SURVEYED, roster.body, (uint32_t)roster.length);
	ok(closed && strstr(refusal, "counts other volumes"), "nonsense ends the session: %s", refusal);
	end();
	begin(false);
	come(CONN);
	hear(CONN, REPL_MSG_SURVEY, &m, sizeof(m));
	ok(closed && strstr(refusal, "SURVEY does not belong"), "nor before HELLO: %s", refusal);
	end();
}

int main(void)
{
	rng = random_seed();
	there_and_back();
	nonsense();
	who_asks();
	who_is_asked();
	return tap_end();
}
