// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One core in a split, and a peer that is played: what is asked before the discarded copy saves.
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c
 * needs: userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c userspace/agent/resolve.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c tests/unit/one_peer.c
 */
#include "one_peer.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "tap.h"

/* Both went on from generation 1: this copy to 2, the other, whose slot is @slot, to 3. */
static void split(uint64_t features, bool slot)
{
	struct copy c;

	begin(false);
	equal_copies(&c);
	kernel.generation = id(2);
	kernel.history[0] = id(1);
	kernel.slot[0].flags = 0;
	c.generation = id(3);
	c.history[0] = id(1);
	c.flags &= ~(uint32_t)REPL_MV_SLOT_LIVE;
	if (!slot) {
		c.flags &= ~(uint32_t)REPL_MV_SLOT;
		c.slot_copy_id = c.slot_generation = (struct repl_id){ 0 };
	}
	come(1);
	hear_hello(1, 1, 1, "spool");
	pair->session->features = features;
	hear_copy(1, REPL_MSG_VOLUME, &c);
	need(pair->verdict.kind == VERDICT_SPLIT, "a split");
	clear();
}

/* A person says here that @keep is kept. */
static void decide(const char *keep, bool no_save)
{
	struct core_request r = { .id = 1, .volume = "spool" };
	struct core_resolution d = { .keep = keep, .no_save = no_save, .save_to = "" };
	bool mine = !strcmp(keep, "mail1");

	answer[0] = '\0';
	d.shown.keep = id(mine ? 2 : 3);
	d.shown.discard = id(mine ? 3 : 2);
	core_resolve(&core, &r, &d);
	settle();
}

/* The peer says so; its copy is kept, or goes. */
static void hear_step(enum repl_resolve_step step, bool kept, const char *words)
{
	struct msg_resolve r = { .keep = id(kept ? 3 : 2), .discard = id(kept ? 2 : 3), .step = step };
	struct {
		struct repl_msg_resolve m;
		char text[64];
	} body;

	msg_pack_resolve(&r, &body.m);
	memcpy(body.text, words, strlen(words));
	hear(1, REPL_MSG_RESOLVE, &body, (uint32_t)(sizeof(body.m) + strlen(words)));
}

/* The step of the last RESOLVE that was sent; 0: none. */
static unsigned int said(void)
{
	struct msg_resolve r = { .step = 0 };
	struct err e;

	for (unsigned int i = 0; i < sent_count; i++)
		if (sent[i].type == REPL_MSG_RESOLVE)
			msg_unpack_resolve(&r, (const void *)sent[i].body, &e);
	return r.step;
}

static bool op_is(enum op_kind kind)
{
	return op_count && ops[op_count - 1].kind == kind;
}

static void map_says(uint64_t block, uint64_t count)
{
	struct repl_msg_extent x = { htole64(block), htole64(count) };

	hear(1, REPL_MSG_MAP, &x, sizeof(x));
}

static void is_discarded(void)
{
	split(REPL_HF_SPLIT_MAP, true);
	decide("mail2", false);
	ok(said() == REPL_RESOLVE_MAP && !op_count, "the kept copy's map is asked for, before anything is cut");
	map_says(7, 2);
	ok(op_is(OP_MARK) && marked.block == 7 && marked.count == 2, "what it says is marked");
	hear(1, REPL_MSG_MAP, NULL, 0);
	ok(!op_is(OP_CUT), "while that is under way nothing is cut");
	done(OP_MARK, 0);
	ok(op_is(OP_CUT), "then it is: %s", op_name(ops[op_count - 1].kind));
	done(OP_CUT, 0);
	ok(op_is(OP_SAVE), "and saved: %s", pair->reason);
	end();

	split(REPL_HF_SPLIT_MAP, true);
	decide("mail2", false);
	hear_step(REPL_RESOLVE_REFUSED, true, "the cut failed");
	ok(strstr(answer, "0 spool: mail2: the cut failed"), "no map, nothing is saved or given up: %s", answer);
	ok(pair->resolve.step == RESOLVE_NONE && !op_count, "and the split is as it was");
	end();

	split(REPL_HF_SPLIT_MAP, true);
	decide("mail2", false);
	map_says(7, 2);
	core_session_down(&core, 1, "reset");
	settle();
	ok(strstr(answer, "nothing was discarded"), "half a map: %s", answer);
	end();

	split(REPL_HF_SPLIT_MAP, false);
	decide("mail2", false);
	ok(op_is(OP_MARK) && !marked.block && marked.count == SIZE >> REPL_BLOCK_SHIFT,
	   "of one that knows nothing of this copy no map is asked for: all is marked");
	done(OP_MARK, 0);
	ok(op_is(OP_CUT), "and saved");
	end();
}

static void is_kept(void)
{
	split(REPL_HF_SPLIT_MAP, true);
	decide("mail1", false);
	ok(said() == REPL_RESOLVE_ASK, "the other one is asked to save");
	hear_step(REPL_RESOLVE_MAP, false, "");
	ok(op_is(OP_CUT), "it wants this copy's map, which is cut");
	done(OP_CUT, 0);
	ok(op_is(OP_MAP_SEND), "and told");
	done(OP_MAP_SEND, 0);
	ok(pair->phase == PHASE_MEET && pair->resolve.step == RESOLVE_ASKED, "then it saves: %s", pair->reason);
	hear_step(REPL_RESOLVE_AGREED, false, "/saved");
	ok(pair->resolve.step == RESOLVE_AGREED, "it has");
	end();

	split(REPL_HF_SPLIT_MAP, true);
	hear_step(REPL_RESOLVE_MAP, false, "");
	done(OP_CUT, -EIO);
	ok(said() == REPL_RESOLVE_REFUSED && pair->resolve.step == RESOLVE_NONE,
	   "a map that cannot be read is refused");
	ok(pair->phase == PHASE_MEET, "and the split is as it was: %s", pair->reason);
	end();

	split(REPL_HF_SPLIT_MAP, true);
	hear_step(REPL_RESOLVE_MAP, false, "");
	kernel.generation = id(4);
	core_event(&core, volume);
	settle();
	ok(said() == REPL_RESOLVE_REFUSED, "so is that of a copy which nobody has looked at");
	end();
}

static void older_release(void)
{
	split(0, true);
	decide("mail2", false);
	ok(strstr(answer, "0 spool: the release on mail2 cannot tell"), "one that tells no map: %s", answer);
	decide("mail1", false);
	ok(strstr(answer, "0 spool: the release on mail2 cannot tell") && !said(), "nor asks for one");
	hear_step(REPL_RESOLVE_ASK, true, "");
	ok(said() == REPL_RESOLVE_REFUSED && !op_count, "asked from there it is refused, too");
	clear();
	hear_step(REPL_RESOLVE_AGREED, false, "/saved");
	ok(said() == REPL_RESOLVE_REFUSED && pair->resolve.step == RESOLVE_NONE, "what it has saved is not enough");
	clear();
	decide("mail1", true);
	ok(said() == REPL_RESOLVE_ASK, "but where nothing is saved it needs none");
	end();
}

int main(void)
{
	is_discarded();
	is_kept();
	older_release();
	return tap_end();
}
