// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A volume changes hands: what is checked before anything is asked of the other node, what
 * the other node refuses before its helper is asked, and that every question gets one answer.
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c
 * needs: userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c userspace/agent/promote.c userspace/agent/pair.c userspace/agent/redo.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c userspace/agent/resolve.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c userspace/agent/suspect.c
 * needs: tests/unit/one_peer.c
 */
#include <endian.h>

#include "one_peer.h"
#include "tap.h"

enum { REQUEST = 5, CONN = 7 };

/* One that is in sync, this node being @role. */
static void pair_of_two(uint8_t role)
{
	struct copy c;

	live(CONN, &c);
	kernel.role = role;
	core_event(&core, volume);
	settle();
	clear();
}

static void asks(const char *node, bool check)
{
	struct core_request r = { .id = REQUEST, .volume = "spool" };

	core_take_over(&core, &r, node, check);
	settle();
}

static const struct repl_msg_take_over *last_sent(uint16_t type)
{
	const struct sent *s = sent_count ? &sent[(sent_count - 1) % SENT] : NULL;

	need(s && s->type == type, "a message was sent");
	return (const struct repl_msg_take_over *)s->body;
}

static uint32_t step_sent(uint16_t type)
{
	return le32toh(last_sent(type)->step);
}

static void hears(uint16_t type, enum repl_take_over_step step, uint64_t nonce, const char *text)
{
	struct {
		struct repl_msg_take_over m;
		char text[REPL_TEXT_MAX];
	} m = { 0 };
	struct msg_take_over t = { .nonce = nonce, .step = step };

	msg_pack_take_over(&t, &m.m);
	memcpy(m.text, text, strlen(text));
	hear(CONN, type, &m, (uint32_t)(sizeof(m.m) + strlen(text)));
}

static uint64_t nonce_sent(void)
{
	return le64toh(last_sent(REPL_MSG_TAKE_OVER)->nonce);
}

static void refused_here(const char *node, bool check, const char *words)
{
	clear();
	asks(node, check);
	ok(answer[0] == '0' && strstr(answer, words) && !sent_count, "refused, and nothing asked: %s",
	   answer);
}

static void who_hands_over(void)
{
	pair_of_two(REPL_ROLE_PRIMARY);
	refused_here("mail9", true, "mail9 has no copy of it");
	refused_here("mail1", true, "mail1 is this node");
	refused_here("mail2", false, "is still primary here");
	clear();
	asks("mail2", true);
	is_number(step_sent(REPL_MSG_TAKE_OVER), REPL_TAKE_OVER_CHECK, "the other node is asked whether it could");
	is_text(answer, "", "and the answer is waited for");
	refused_here("mail2", true, "is being asked already");
	pair->takeover.deadline = 0;
	kernel.role = REPL_ROLE_SECONDARY;
	core_event(&core, volume);
	settle();
	refused_here("mail2", true, "is not primary here");
	kernel.role = REPL_ROLE_PRIMARY;
	kernel.slot[0].link = REPL_LINK_NONE;
	core_event(&core, volume);
	settle();
	refused_here("mail2", true, "mail2 is not in sync");
	core_session_down(&core, CONN, "reset");
	settle();
	refused_here("mail2", true, "mail2 is not connected");
	end();
}

static void answers(void)
{
	uint64_t nonce;

	pair_of_two(REPL_ROLE_SECONDARY);
	asks("mail2", false);
	is_number(step_sent(REPL_MSG_TAKE_OVER), REPL_TAKE_OVER_TAKE, "after it was left here: take it");
	nonce = nonce_sent();
	hears(REPL_MSG_TAKEN, REPL_TAKE_OVER_DONE, nonce + 1, "");
	is_text(answer, "", "an answer to another question is none");
	hears(REPL_MSG_TAKEN, REPL_TAKE_OVER_PROGRESS, nonce, "mounted");
	is_text(answer, "", "nor is progress");
	hears(REPL_MSG_TAKEN, REPL_TAKE_OVER_DONE, nonce, "");
	is_text(answer, "1 ", "done");
	clear();
	hears(REPL_MSG_TAKEN, REPL_TAKE_OVER_DONE, nonce, "");
	is_text(answer, "", "once");
	asks("mail2", false);
	hears(REPL_MSG_TAKEN, REPL_TAKE_OVER_REFUSED, nonce_sent(), "no such unit");
	is_text(answer, "0 spool: mail2: no such unit", "refused, in its words");
	clear();
	asks("mail2", false);
	tick(CORE_HELP_MS + CORE_DEAD_MS);
	ok(answer[0] == '0' && strstr(answer, "mail2"), "no answer at all: %s", answer);
	end();
	pair_of_two(REPL_ROLE_SECONDARY);
	asks("mail2", false);
	core_session_down(&core, CONN, "reset");
	settle();
	ok(answer[0] == '0' && strstr(answer, "was disconnected before it answered: what it has done is not known"),
	   "a peer that is lost meanwhile: %s", answer);
	end();
}

static void refused_there(const char *words)
{
	hears(REPL_MSG_TAKE_OVER, REPL_TAKE_OVER_TAKE, 1, "");
	ok(step_sent(REPL_MSG_TAKEN) == REPL_TAKE_OVER_REFUSED && !helps &&
	   strstr((const char *)(last_sent(REPL_MSG_TAKEN) + 1), words),
	   "refused, and the helper not asked: %s", (const char *)(last_sent(REPL_MSG_TAKEN) + 1));
	clear();
}

static void who_takes_over(void)
{
	pair_of_two(REPL_ROLE_PRIMARY);
	refused_there("is primary itself");
	kernel.role = REPL_ROLE_SECONDARY;
	kernel.flags = REPL_VF_FAILED;
	core_event(&core, volume);
	settle();
	refused_there("its disk has failed");
	kernel.flags = 0;
	kernel.size += 4096;
	core_event(&core, volume);
	settle();
	refused_there("could not follow it: there take the volume down");
	kernel.size -= 4096;
	core_event(&core, volume);
	settle();
	clear();
	hears(REPL_MSG_TAKE_OVER, REPL_TAKE_OVER_TAKE, 42, "");
	is_number(helps, 1, "else the helper is asked");
	ok(!sent_count, "and the answer is its own");
	core_helper_line(pair, "mounted");
	settle();
	is_number(step_sent(REPL_MSG_TAKEN), REPL_TAKE_OVER_PROGRESS, "what it says is passed on");
	helps = 0;
	refused_there("another switch is under way there");
	core_helper_done(pair, false, "no such unit");
	settle();
	ok(step_sent(REPL_MSG_TAKEN) == REPL_TAKE_OVER_REFUSED &&
	   le64toh(last_sent(REPL_MSG_TAKEN)->nonce) == 42 &&
	   !strcmp((const char *)(last_sent(REPL_MSG_TAKEN) + 1), "no such unit"), "and why it failed");
	clear();
	hears(REPL_MSG_TAKE_OVER, REPL_TAKE_OVER_CHECK, 43, "");
	core_helper_done(pair, true, "");
	settle();
	is_number(step_sent(REPL_MSG_TAKEN), REPL_TAKE_OVER_DONE, "and that it could");
	clear();
	/* Its helper goes on, whoever asked. */
	hears(REPL_MSG_TAKE_OVER, REPL_TAKE_OVER_TAKE, 44, "");
	core_session_down(&core, CONN, "reset");
	settle();
	core_helper_done(pair, true, "");
	settle();
	ok(!pair->takeover.serves, "an answer that nobody can be given ends it, too");
	end();
}

static void nonsense(void)
{
	pair_of_two(REPL_ROLE_SECONDARY);
	hears(REPL_MSG_TAKE_OVER, REPL_TAKE_OVER_DONE, 1, "");
	ok(!helps && closed && strstr(refusal, "unknown step"), "a step that does not belong: %s", refusal);
	end();
	pair_of_two(REPL_ROLE_SECONDARY);
	hears(REPL_MSG_TAKEN, REPL_TAKE_OVER_TAKE, 1, "");
	ok(closed && strstr(refusal, "unknown step"), "nor in an answer: %s", refusal);
	end();
}

int main(void)
{
	who_hands_over();
	answers();
	who_takes_over();
	nonsense();
	return tap_end();
}
