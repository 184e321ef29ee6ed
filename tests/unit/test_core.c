// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One core and what it says to a peer that misbehaves, is silent or does not fit.
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c
 * needs: userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c userspace/agent/resolve.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c tests/unit/one_peer.c
 */
#include "one_peer.h"

#include <endian.h>
#include <errno.h>

#include "id.h"
#include "tap.h"

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

static void arbiters(void)
{
	struct repl_msg_ask ask = { .volume = { { 1 } }, .expect = { { 2 } }, .want = { { 3 } } };
	struct msg_hello h = { .version_min = 1, .version = 1, .node = "mail2" };
	struct repl_msg_hello m;

	begin(false);
	volume->set.arbiter = REPL_MA_NODE;
	come(1);
	hear_hello(1, 1, 1, "spool");
	ok(closed && strstr(refusal, "which the release on mail2 does not know"), "an arbiter is not for a release "
	   "that knows none: %s", refusal);
	clear();
	come(2);
	h.features = REPL_HF_ARBITER;
	snprintf(h.volume, sizeof(h.volume), "spool");
	msg_pack_hello(&h, &m);
	hear(2, REPL_MSG_HELLO, &m, sizeof(m));
	ok(!closed && sent[sent_count - 1].type == REPL_MSG_VOLUME, "it is for one that does");
	clear();
	come(3);
	h.features = REPL_HF_ARBITER | REPL_HF_ASKS;
	snprintf(h.volume, sizeof(h.volume), "of-others");
	msg_pack_hello(&h, &m);
	hear(3, REPL_MSG_HELLO, &m, sizeof(m));
	ok(!closed && sent_count == 1, "a witness knows no volume of that name, and waits for the question");
	hear(3, REPL_MSG_ASK, &ask, sizeof(ask));
	ok(!closed, "which is the shell's to answer");
	hear(3, REPL_MSG_STATE, &ask, sizeof(ask));
	ok(closed && strstr(refusal, "STATE does not belong"), "nothing else is said there: %s", refusal);
	clear();
	come(4);
	hear(4, REPL_MSG_HELLO, &m, sizeof(m));
	tick(CORE_DEAD_MS);
	ok(closed, "who asks nothing is not waited for");
	clear();
	come(5);
	hear(5, REPL_MSG_ASK, &ask, sizeof(ask));
	ok(closed && strstr(refusal, "ASK does not belong"), "nor asked without HELLO: %s", refusal);
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

static void reserved(void)
{
	struct msg_hello h = { .version_min = 1, .version = 1, .node = "mail2", .volume = "spool" };
	struct repl_msg_consent ask = { .generation = id(1), .granted = htole32(2) };
	struct repl_msg_hello m;
	struct copy c;

	begin(false);
	come(1);
	msg_pack_hello(&h, &m);
	m.reserved = htole32(1);
	hear(1, REPL_MSG_HELLO, &m, sizeof(m));
	ok(closed && strstr(refusal, "HELLO"), "HELLO's reserved field: %s", refusal);
	end();
	for (int i = 0; i < 2; i++) {
		live(1, &c);
		hear(1, i ? REPL_MSG_CONSENT : REPL_MSG_CONSENT_ASK, &ask, sizeof(ask));
		ok(closed && strstr(refusal, "CONSENT") && sent[0].type == REPL_MSG_REFUSE,
		   "neither consent nor none: %s", refusal);
		end();
	}
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

/* The leader's end of a link may fail while this one still waits: then it offers another. */
static void newer_offer(void)
{
	struct op_result given_up = { .error = -ECANCELED }, fine = { 0 };
	const struct repl_msg_link *m = (const struct repl_msg_link *)sent[0].body;

	follow(1);
	offer(1, 4);
	ok(op_count == 1 && ops[0].kind == OP_LINK_OPEN && ops[0].link.cookie == 4,
	   "an offer: the link is opened");
	offer(1, 5);
	ok(!closed && op_count == 2 && ops[1].kind == OP_LINK_OPEN && ops[1].link.cookie == 5,
	   "a newer one takes its place");
	core_op_done(volume, pair, OP_LINK_OPEN, ops[0].turn, &given_up);
	settle();
	ok(pair->phase == PHASE_F_LINK && !sent_count, "the older one's end says nothing");
	core_op_done(volume, pair, OP_LINK_OPEN, ops[1].turn, &fine);
	settle();
	ok(sent_count == 1 && sent[0].type == REPL_MSG_LINK_READY && le64toh(m->cookie) == 5,
	   "the newer one is ready");
	end();
	/* It may even have come up just before it was dropped. */
	follow(1);
	offer(1, 4);
	offer(1, 5);
	core_op_done(volume, pair, OP_LINK_OPEN, ops[0].turn, &fine);
	settle();
	ok(!sent_count && !pair->run.link_open, "an older link is not taken for the newer one");
	end();
}

static const struct repl_msg_consent *consent_asked(uint32_t conn)
{
	struct repl_msg_consent m = { .generation = id(1) };

	hear(conn, REPL_MSG_CONSENT_ASK, &m, sizeof(m));
	need(sent_count == 1 && sent[0].type == REPL_MSG_CONSENT, "it is answered");
	return (const struct repl_msg_consent *)sent[0].body;
}

/* It asks, so it is not primary now, whatever it said before. */
static void former_primary(void)
{
	const struct repl_msg_consent *m;
	struct copy c;

	live(1, &c);
	c.flags |= REPL_MV_PRIMARY;
	hear_copy(1, REPL_MSG_STATE, &c);
	clear();
	m = consent_asked(1);
	ok(m->granted, "who was primary when it was last heard of may ask%s%s",
	   m->granted ? "" : ": ", m->granted ? "" : (const char *)(m + 1));
	end();
}

static void hear_answer(uint32_t conn, bool granted, uint32_t question)
{
	struct msg_consent c = { .generation = id(1), .granted = granted, .question = question };
	struct repl_msg_consent m;

	msg_pack_consent(&c, &m);
	hear(conn, REPL_MSG_CONSENT, &m, sizeof(m));
}

static void hear_consent(uint32_t conn, bool granted)
{
	hear_answer(conn, granted, 0);
}

static void ask_primary(bool peer_dead)
{
	struct core_request r = { .id = 5, .volume = "spool", .peer_dead = peer_dead };

	clear();
	core_primary(&core, &r);
	settle();
}

/* The number of the question that was asked last. */
static uint32_t question(void)
{
	need(sent_count && sent[sent_count - 1].type == REPL_MSG_CONSENT_ASK, "the peer is asked");
	return le32toh(((const struct repl_msg_consent *)sent[sent_count - 1].body)->question);
}

static void answered_late(void)
{
	uint32_t first, second;
	struct copy c;

	live(1, &c);
	ask_primary(false);
	need(!question(), "a peer that does not know of numbers gets none");
	end();
	live(1, &c);
	core.sessions->features |= REPL_HF_QUESTION;
	ask_primary(false);
	first = question();
	tick(CORE_CONSENT_MS / 2);
	core_heard(&core, 1);
	tick(CORE_CONSENT_MS / 2);
	need(answer[0] == '0', "no answer");
	ask_primary(false);
	second = question();
	hear_answer(1, true, first);
	ok(!op_count && !answer[0] && first != second, "consent to an earlier question counts for nothing");
	hear_answer(1, true, second);
	ok(op_count && ops[op_count - 1].kind == OP_ROLE, "to this one it does");
	end();
}

static void role_done(int error)
{
	struct op_result r = { .error = error, .text = error ? "a peer was lost" : NULL };

	need(op_count == 1 && ops[0].kind == OP_ROLE, "with consent it begins");
	clear();
	core_op_done(volume, NULL, OP_ROLE, 0, &r);
	settle();
}

/* The peer is asked, and grants it. */
static void asked_and_granted(void)
{
	need(sent_count && sent[sent_count - 1].type == REPL_MSG_CONSENT_ASK && !op_count, "the peer is asked");
	hear_consent(1, true);
}

static void lost_while_told(void)
{
	unsigned int tries;
	struct copy c;

	live(1, &c);
	ask_primary(false);
	asked_and_granted();
	role_done(-ECONNABORTED);
	ok(!answer[0] && !op_count && !sent_count, "a peer that is lost while it is told: nobody has to say it again");
	c.generation = id(4);
	kernel.generation = kernel.slot[0].generation = id(4);
	tick(500);
	ok(!op_count && !answer[0], "but the peer is asked again");
	asked_and_granted();
	role_done(0);
	ok(answer[0] == '1', "and then it is primary: %s", answer);
	end();

	live(1, &c);
	ask_primary(false);
	for (tries = 0; tries < 20 && !answer[0]; tries++) {
		asked_and_granted();
		role_done(-ECONNABORTED);
		tick(answer[0] ? 0 : 500);
	}
	ok(answer[0] == '0' && strstr(answer, "a peer was lost") && tries == 11, "not for ever (%u): %s", tries, answer);
	end();

	live(1, &c);
	ask_primary(false);
	asked_and_granted();
	role_done(-ECONNABORTED);
	core_session_down(&core, 1, "closed");
	for (tries = 0; tries < 20 && !answer[0]; tries++)
		tick(500);
	ok(answer[0] == '0' && strstr(answer, "mail2 is not connected") && !op_count, "nor if it cannot be any more: %s", answer);
	end();
}

/* The arbiter's 10 s are over while the kernel is at it: nobody is told that there is no answer. */
static void arbiter_late(void)
{
	struct op_result r = { 0 };
	struct copy c;

	live(1, &c);
	volume->set.arbiter = REPL_MA_NODE;
	ask_primary(false);
	asked_and_granted();
	need(op_count == 1 && ops[0].kind == OP_LINK_DEL, "the link goes, before the arbiter is asked");
	for (unsigned int i = 0; i < 3; i++) {
		tick(CORE_ARBITER_MS / 2);
		core_heard(&core, 1);
	}
	ok(!answer[0], "as long as the kernel is at it nothing is said: %s", answer);
	kernel.slot[0].flags = 0;
	kernel.slot[0].link = REPL_LINK_CLOSING;
	core_op_done(volume, NULL, OP_LINK_DEL, 0, &r);
	settle();
	tick(CORE_ARBITER_MS);
	ok(answer[0] == '0' && strstr(answer, "no answer from the arbiter yet: it has not been asked yet"),
	   "then it is: %s", answer);
	end();
}

/* Whose consent may be in use gets none. */
static void not_both(void)
{
	struct copy c;

	live(1, &c);
	ask_primary(false);
	need(!answer[0] && sent_count == 1 && sent[0].type == REPL_MSG_CONSENT_ASK, "this side asks");
	clear();
	ok(consent_asked(1)->granted, "while it only asks, the lower key goes first");
	clear();
	hear_consent(1, true);
	need(op_count && ops[op_count - 1].kind == OP_ROLE, "with consent it begins");
	clear();
	ok(!consent_asked(1)->granted, "then it consents no more");
	end();
}

/* The peer's consent was heard in a session that is no more, and the kernel is about to use it. */
static void not_both_later(void)
{
	struct copy c;

	live(1, &c);
	ask_primary(false);
	hear_consent(1, true);
	need(op_count && ops[op_count - 1].kind == OP_ROLE, "with consent it begins");
	come(2);
	hear_hello(2, 1, 1, "spool");
	hear_copy(2, REPL_MSG_VOLUME, &c);
	clear();
	ok(!consent_asked(2)->granted, "nor in another session, as long as it begins");
	end();
}

/* A survivor of the same generation that is not live: it consents when the peer asks for itself as well. */
static void survive(void)
{
	struct copy c;

	begin(false);
	equal_copies(&c);
	come(1);
	hear_hello(1, 1, 1, "spool");
	hear_copy(1, REPL_MSG_VOLUME, &c);
	clear();
}

/* Its writes are here only if this copy is live with it. */
static void lost_after_consent(void)
{
	struct repl_msg_consent m;
	struct msg_consent ask = { .generation = id(1), .granted = true };
	struct copy c;

	survive();
	equal_copies(&c);
	msg_pack_consent(&ask, &m);
	hear(1, REPL_MSG_CONSENT_ASK, &m, sizeof(m));
	need(sent_count == 1 && ((const struct repl_msg_consent *)sent[0].body)->granted,
	     "a survivor consents to the other one");
	/* Without a link no kernel refuses the second one: it is the agents who must. */
	ask_primary(true);
	ok(answer[0] == '0' && strstr(answer, "consented to mail2"),
	   "who has just consented does not begin itself: %s", answer);
	core_session_down(&core, 1, "lost");
	core.now += CORE_CONSENT_MS;
	ask_primary(true);
	ok(answer[0] == '0' && strstr(answer, "newer when it was last seen"),
	   "which is lost: it may have begun, and written: %s", answer);
	/* It was not so. */
	come(2);
	hear_hello(2, 1, 1, "spool");
	hear_copy(2, REPL_MSG_VOLUME, &c);
	core_session_down(&core, 2, "lost");
	ask_primary(true);
	ok(!strstr(answer, "newer"), "seen again in the old generation, it had not: %s", answer);
	end();
}

/* It has had this node's consent, and what it does with that may take longer than the consent is good for. */
static void begins_late(void)
{
	struct repl_msg_consent m;
	struct msg_consent ask = { .generation = id(1), .granted = true };

	survive();
	msg_pack_consent(&ask, &m);
	hear(1, REPL_MSG_CONSENT_ASK, &m, sizeof(m));
	tick(CORE_CONSENT_MS - 1);
	core_heard(&core, 1);
	tick(2);
	core_get(volume);
	settle();
	core_session_down(&core, 1, "lost");
	ask_primary(true);
	ok(answer[0] == '0' && strstr(answer, "newer when it was last seen"),
	   "what it said before is no word that it has not begun: %s", answer);
	end();
}

static unsigned int says(uint16_t type)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < sent_count; i++)
		n += sent[i].type == type;
	return n;
}

static void role_ends(int error)
{
	struct op_result r = { .error = error };

	core_op_done(volume, NULL, OP_ROLE, 0, &r);
	settle();
}

/* This side is the one that begins; its link with a dead third node takes long to end. */
/* Of three one is dead, to which a link is left; the other survivor is asked. */
static void survivor_asks(void)
{
	survive();
	third_node(0);
	third_live();
	core_get(volume);
	settle();
	ask_primary(true);
}

static void asks_until_it_begins(void)
{
	struct op_result r = { 0 };

	survivor_asks();
	need(says(REPL_MSG_CONSENT_ASK) == 1, "the other survivor is asked");
	hear_consent(1, true);
	need(op_count == 1 && ops[0].kind == OP_LINK_DEL, "then the link to the dead one goes");
	tick(CORE_CONSENT_MS - 1);
	core_heard(&core, 1);
	clear();
	core_op_done(volume, NULL, OP_LINK_DEL, 0, &r);
	settle();
	ok(!op_count && says(REPL_MSG_CONSENT_ASK) == 1, "which took as long as the consent is good for: it is asked again");
	hear_consent(1, true);
	ok(op_count == 1 && ops[0].kind == OP_ROLE, "and then it begins");
	clear();
	kernel.slot_count = 1;
	core_get(volume);
	settle();
	ok(!says(REPL_MSG_STATE), "while it begins, it does not say that it has not");
	core_heard(&core, 1);
	role_ends(-EIO);
	ok(says(REPL_MSG_STATE) == 1, "it does when it could not");
	clear();
	tick(CORE_CONSENT_MS - 1);
	core_heard(&core, 1);
	tick(CORE_CONSENT_LATE_MS + 1);
	ok(says(REPL_MSG_STATE) == 1, "and when nobody's consent is in force any more");
	end();
}

/* Each consent comes when it is about to expire. */
static void asks_no_more(void)
{
	struct op_result r = { 0 };
	unsigned int asked = 0;

	survivor_asks();
	while (!answer[0] && asked < 20) {
		need(says(REPL_MSG_CONSENT_ASK) == 1, "the other survivor is asked");
		asked++;
		clear();
		tick(CORE_CONSENT_MS - 1);
		core_heard(&core, 1);
		hear_consent(1, true);
		if (op_count && ops[0].kind == OP_LINK_DEL) {
			kernel.slot_count = 1;
			core_op_done(volume, NULL, OP_LINK_DEL, 0, &r);
			settle();
			op_count = 0;
		}
	}
	ok(asked == 4 && !op_count && answer[0] == '0' && strstr(answer, "so late"),
	   "it is not asked again without end: %u times: %s", asked, answer);
	clear();
	hear_consent(1, true);
	tick(CORE_CONSENT_MS - 1);
	core_heard(&core, 1);
	tick(CORE_CONSENT_LATE_MS + 1);
	ok(says(REPL_MSG_STATE) == 1, "a consent that comes after all that is not left in force without a word");
	end();
}

static void asks_in_vain(void)
{
	struct op_result r = { 0 };

	survive();
	kernel.slot[0].flags = REPL_SS_LIVE;
	volume->task = (struct task){ .kind = TASK_PRIMARY, .request = 5, .ask = 1, .good_until = core.now + 8000 };
	pair->asked = pair->granted = true;
	core_op(volume, NULL, &(struct op){ .kind = OP_LINK_DEL });
	settle();
	core_session_down(&core, 1, "lost");
	core.now += 8000;
	core_op_done(volume, NULL, OP_LINK_DEL, 0, &r);
	settle();
	ok(answer[0] == '0' && strstr(answer, "mail2 was disconnected, and its consent has expired"),
	   "whose consent has expired, and who is away, is not taken to consent: %s", answer);
	end();
}

static void smaller_peer(void)
{
	struct core_request r = { .id = 4, .volume = "spool" };
	struct copy c;

	live(1, &c);
	c.size = SIZE / 2;
	hear_copy(1, REPL_MSG_STATE, &c);
	core_primary(&core, &r);
	settle();
	ok(answer[0] == '0' && strstr(answer, "64 MiB") && strstr(answer, "mail2 only 32 MiB"),
	   "a peer that could never follow again: %s", answer);
	end();
}

/* What the kernel says of the link's bytes, and what this side then does with the link. */
static bool drops_link(uint8_t role, uint64_t sent_bytes, uint64_t received_bytes, bool plain)
{
	struct copy c;
	bool drops;

	live(1, &c);
	core.link_bytes = 1000;
	volume->set.plain = plain;
	kernel.role = role;
	kernel.slot[0].sent_bytes = sent_bytes;
	kernel.slot[0].received_bytes = received_bytes;
	tick(CORE_WORN_MS);
	drops = op_count == 1 && ops[0].kind == OP_LINK_DEL && pair->phase == PHASE_UNLINK;
	if (!drops)
		need(!op_count && pair->phase == PHASE_LIVE, "else nothing is done");
	end();
	return drops;
}

static void worn_keys(void)
{
	struct copy c;

	ok(!drops_link(REPL_ROLE_PRIMARY, 899, 899, false), "a link goes on while its keys are good");
	ok(drops_link(REPL_ROLE_PRIMARY, 900, 0, false), "with nine tenths sent it is replaced");
	ok(drops_link(REPL_ROLE_PRIMARY, 0, 900, false), "or received");
	ok(!drops_link(REPL_ROLE_SECONDARY, 900, 900, false), "by the primary only");
	ok(!drops_link(REPL_ROLE_PRIMARY, 900, 900, true), "without TLS there is nothing to replace");
	/* Nothing else may make this side look: it does so by itself, again and again. */
	live(1, &c);
	core.link_bytes = 1000;
	kernel.role = REPL_ROLE_PRIMARY;
	for (int i = 0; i < 5; i++)
		tick(CORE_WORN_MS);
	kernel.slot[0].sent_bytes = 950;
	tick(CORE_WORN_MS);
	ok(op_count == 1 && ops[0].kind == OP_LINK_DEL, "it looks every few seconds");
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

/* The kernel's event and its answer to the command may be read in one go, the event first. */
static void down_with_an_event(void)
{
	struct core_request r = { .id = 4, .volume = "spool" };
	struct op_result gone = { 0 };

	begin(true);
	core_down(&core, &r);
	settle();
	ok(op_count && ops[(op_count - 1) % SENT].kind == OP_DETACH, "down is begun");
	detached = true;
	core_event(&core, volume);
	core_op_done(volume, NULL, OP_DETACH, 0, &gone);
	settle();
	detached = false;
	is_number(removed, 1, "the volume is removed once, though the kernel was asked about it");
	ok(answer[0] == '1', "down has succeeded: %s", answer);
	end();
}

/* Somebody else has taken the volume down, in the middle of a command: that is done only if it was to be down. */
static void gone_meanwhile(bool down)
{
	struct core_request r = { .id = 4, .volume = "spool" };
	struct op op = { .kind = OP_MARK };
	struct copy c;

	live(1, &c);
	core_op(volume, pair, &op);
	if (down)
		core_down(&core, &r);
	else
		core_primary(&core, &r);
	settle();
	need(!answer[0], "a command is under way");
	detached = true;
	core_event(&core, volume);
	settle();
	detached = false;
	ok(answer[0] == (down ? '1' : '0'), "a volume that goes away in the middle of %s: %s",
	   down ? "being taken down" : "a promotion", answer);
	end();
}

/* The answer to the command and the end of a handshake may be read in one go, the answer first. */
static void down_as_a_handshake_ends(void)
{
	struct core_request r = { .id = 4, .volume = "spool" };
	struct op_result gone = { 0 };
	unsigned int before;

	begin(true);
	tick(1);
	core_down(&core, &r);
	settle();
	detached = true;
	before = closed;
	core_op_done(volume, NULL, OP_DETACH, 0, &gone);
	core_session_up(&core, 7, peer, pair);
	settle();
	ok(!core.sessions && closed == before + 1, "no session outlives its volume");
	tick(10);
	hear_hello(7, 1, 1, "");
	core_session_down(&core, 7, "closed");
	settle();
	detached = false;
	end();
}

int main(void)
{
	hellos();
	not_a_peer();
	arbiters();
	newest_wins();
	silence();
	back_off();
	misfits();
	nonsense();
	reserved();
	left_over();
	links();
	newer_offer();
	former_primary();
	answered_late();
	lost_while_told();
	arbiter_late();
	not_both();
	not_both_later();
	lost_after_consent();
	begins_late();
	asks_until_it_begins();
	asks_no_more();
	asks_in_vain();
	smaller_peer();
	worn_keys();
	requests();
	down_with_an_event();
	gone_meanwhile(false);
	gone_meanwhile(true);
	down_as_a_handshake_ends();
	return tap_end();
}
