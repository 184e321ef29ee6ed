// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two copies that are written to while they are compared: what is found differs, what differs
 * is found; stored digests; and what the core does when things go wrong in the middle.
 * needs: userspace/agent/judge.c userspace/agent/sums.c userspace/agent/verify.c
 * needs: tests/unit/one_peer.c userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c
 * needs: userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c userspace/agent/resolve.c
 * needs: userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/copy.c
 * needs: userspace/agent/msg.c userspace/agent/action.c userspace/agent/suspect.c
 */
#include "judge.h"

#include <errno.h>
#include <unistd.h>

#include "one_peer.h"
#include "sums.h"
#include "tap.h"
#include "verify.h"

/* ---------------------------------------------------------------- judge -- */

enum { BLOCKS = 600, FLIGHT = 40, STEPS = 4000 };

/*
 * A write sets its bit, then reaches both sides at times of their own.  No two of a block are
 * in flight at a time, as the kernel sees to.
 */
static struct {
	uint32_t here[BLOCKS], peer[BLOCKS], next;
	bool dirty[BLOCKS];
	struct {
		uint32_t value;
		bool here, peer;	/* still to come */
	} flight[BLOCKS];
	unsigned int flying;
	bool bad[BLOCKS];
} w;

static void land(uint64_t *rng, unsigned int n)
{
	bool both = random_below(rng, 2);

	if (w.flight[n].here && (both || random_below(rng, 2))) {
		w.here[n] = w.flight[n].value;
		w.flight[n].here = false;
	}
	if (w.flight[n].peer && (both || random_below(rng, 2))) {
		w.peer[n] = w.flight[n].value;
		w.flight[n].peer = false;
	}
	w.flying = 0;
	for (unsigned int i = 0; i < BLOCKS; i++)
		w.flying += w.flight[i].here || w.flight[i].peer;
}

static void some_writes(uint64_t *rng, bool begin, unsigned int hot)
{
	for (unsigned int i = random_below(rng, 6); i; i--) {
		unsigned int n = (unsigned int)random_below(rng, random_below(rng, 2) ? hot : BLOCKS);

		if (w.flight[n].here || w.flight[n].peer) {
			land(rng, n);
		} else if (begin && w.flying < FLIGHT) {
			w.dirty[n] = true;
			w.bad[n] = false;
			w.flight[n].value = ++w.next;
			w.flight[n].here = w.flight[n].peer = true;
			w.flying++;
		}
	}
	for (unsigned int n = 0; n < BLOCKS; n++)
		if ((w.flight[n].here || w.flight[n].peer) && !random_below(rng, begin ? 8 : 2))
			land(rng, n);
}

static void take_cut(struct judge *j)
{
	for (unsigned int n = 0; n < BLOCKS; n++) {
		if (j && w.dirty[n])
			judge_written(j, n, 1);
		w.dirty[n] = false;
	}
}

static void pass(uint64_t *rng, struct judge *j, unsigned int hot)
{
	bool barrier = false;
	uint64_t at = 0, first, count;

	judge_begin(j, judge_tired(j));
	if (j->held || (j->candidates && random_below(rng, 4))) {
		while (w.flying)
			some_writes(rng, false, hot);
		barrier = true;
	}
	while ((count = judge_next(j, &at, 1 + random_below(rng, 20), &first))) {
		for (uint64_t n = first; n < first + count; n++) {
			uint32_t here = w.here[n];

			if (!j->held || !random_below(rng, 50))
				some_writes(rng, true, hot);
			judge_told(j, n, here != w.peer[n] ? JUDGE_DIFFERS : 0);
		}
	}
	take_cut(j);
	judge_end(j, barrier);
}

static bool in_ranges(const struct judge *j, unsigned int n)
{
	for (size_t i = 0; i < j->ranges; i++)
		if (n >= j->range[i].block && n - j->range[i].block < j->range[i].count)
			return true;
	return false;
}

static void under_writes(uint64_t *rng)
{
	unsigned int false_alarms = 0, missed = 0, uncounted = 0, planted = 0, skipped = 0;

	for (unsigned int round = 0; round < 300; round++) {
		struct judge *j = judge_new(BLOCKS);
		unsigned int hot = 1 + (unsigned int)random_below(rng, 20);
		bool before[BLOCKS];

		memset(&w, 0, sizeof(w));
		for (unsigned int i = random_below(rng, 16); i; i--) {
			unsigned int n = (unsigned int)random_below(rng, BLOCKS);

			w.peer[n] = ~0u;
			w.bad[n] = true;
		}
		memcpy(before, w.bad, sizeof(before));
		for (unsigned int i = 0; i < 20; i++)
			some_writes(rng, true, hot);
		take_cut(NULL);
		do
			while (j->todo_count && !j->held)
				pass(rng, j, hot);
		while (judge_leave(j));
		for (unsigned int n = 0; n < BLOCKS; n++) {
			false_alarms += in_ranges(j, n) && !before[n];
			planted += w.bad[n];
			/* What is written over is well again, whenever it was. */
			missed += w.bad[n] && !in_ranges(j, n);
		}
		skipped += (unsigned int)j->not_compared;
		uncounted += j->equal + j->differ + j->not_compared != BLOCKS;
		judge_free(j);
	}
	ok(!false_alarms, "300 comparisons under writes, no false alarm");
	ok(planted > 50 && !missed, "%u blocks that differ, all found", planted);
	ok(!uncounted, "each block is equal, differs or was not compared (%u were not)", skipped);
}

static void windows(void)
{
	struct judge *j = judge_new(3ULL * JUDGE_WINDOW + 5);
	uint64_t at, first, n, seen = 0;

	do {
		judge_begin(j, false);
		for (at = 0; (n = judge_next(j, &at, 1000, &first)); seen += n)
			for (uint64_t b = first; b < first + n; b++)
				judge_told(j, b, 0);
		judge_end(j, false);
	} while (judge_leave(j));
	ok(seen == j->blocks && j->equal == seen && !j->not_compared, "a large volume, window by window");
	judge_free(j);
}

static void sides(void)
{
	static const unsigned int found[] = {
		JUDGE_DIFFERS, JUDGE_DIFFERS | JUDGE_KNOWN, JUDGE_DIFFERS | JUDGE_CHANGED, JUDGE_CHANGED,
		JUDGE_KNOWN,
	};
	struct judge *j = judge_new(5);

	for (int i = 0; i < 2; i++) {
		judge_begin(j, false);
		for (unsigned int n = 0; n < 5; n++)
			judge_told(j, n, found[n]);
		judge_end(j, true);
	}
	judge_leave(j);
	ok(j->ranges == 4 && j->range[0].side == JUDGE_UNKNOWN && j->range[1].side == JUDGE_PEER &&
	   j->range[2].side == JUDGE_HERE && j->range[3].side == JUDGE_BOTH,
	   "what is stored tells which side has changed");
	judge_free(j);
}

static void many(void)
{
	enum { ALL = 4 * JUDGE_RANGES };
	struct judge *j = judge_new(ALL);
	unsigned int missed = 0;

	for (int i = 0; i < 2; i++) {
		judge_begin(j, false);
		for (unsigned int n = 0; n < ALL; n++)
			judge_told(j, n, n % 2 ? JUDGE_DIFFERS : 0);
		judge_end(j, true);
	}
	judge_leave(j);
	for (unsigned int n = 1; n < ALL; n += 2)
		missed += !in_ranges(j, n);
	ok(j->ranges == JUDGE_RANGES && j->coarse && j->differ == ALL / 2 && !missed,
	   "more ranges than are kept: they grow, and none is forgotten");
	judge_free(j);
}

/* ---------------------------------------------------------------- sums -- */

static struct repl_digest digest(uint64_t n)
{
	struct repl_digest d = { { 0 } };

	memcpy(d.b, &n, sizeof(n));
	return d;
}

static void damage(const char *path, off_t at)
{
	FILE *f = fopen(path, "r+");
	int c;

	need(f && !fseek(f, at, SEEK_SET), "the file");
	c = fgetc(f);
	fseek(f, at, SEEK_SET);
	fputc(c ^ 1, f);
	fclose(f);
}

static void stored(void)
{
	struct sums_about about = { .copy_id = id(1), .uuid = id(2), .size = 4096ULL * 2000 }, other;
	uint8_t key[REPL_DIGEST_KEY_BYTES] = { 7 }, again[REPL_DIGEST_KEY_BYTES];
	char dir[] = "/tmp/sums.XXXXXX", path[128];
	struct repl_digest d;
	struct sums *s;
	struct err e = { "" };
	bool good = true;

	need(mkdtemp(dir), "a directory");
	sums_path(dir, &about.copy_id, path, sizeof(path));
	s = sums_create(path, &about, key, &e);
	need(s, e.text);
	for (uint64_t n = 0; n < 1500; n++) {
		d = digest(n);
		good = good && !sums_put(s, n, 1, &d);
	}
	good = good && !sums_drop(s, 505, 20) && sums_fd(s) >= 0;
	sums_close(s);
	ok(!sums_load(path, &about, again, &e) && strstr(e.text, "not completed"), "not sealed: %s", e.text);
	s = sums_create(path, &about, key, &e);
	for (uint64_t n = 0; n < 1500; n++) {
		d = digest(n);
		good = good && !sums_put(s, n, 1, &d);
	}
	good = good && !sums_drop(s, 505, 20) && !sums_seal(s);
	sums_close(s);
	s = sums_load(path, &about, again, &e);
	need(s, e.text);
	for (uint64_t n = 0; n < 2000; n++) {
		int expected = n < 505 || (n >= 525 && n < 1500) ? 1 : 0;
		struct repl_digest wrong = digest(n + 1);

		d = digest(n);
		/* A digest of zeroes is stored as another one, which must not be that of "1". */
		if (n)
			good = good && sums_get(s, n, &d) == expected &&
			       sums_get(s, n, &wrong) == -expected;
	}
	ok(good && !memcmp(key, again, sizeof(key)), "what is put is there, what is dropped is not");
	sums_close(s);
	damage(path, SUMS_HEADER_BYTES + SUMS_PAGE_BYTES + 9);
	s = sums_load(path, &about, again, &e);
	need(s, e.text);
	d = digest(520 + 20);
	good = !sums_get(s, 540, &d);
	d = digest(1200);
	ok(good && sums_get(s, 1200, &d) == 1, "a damaged page holds nothing, the others all");
	sums_close(s);
	other = about;
	other.size += 4096;
	ok(!sums_load(path, &other, again, &e) && strstr(e.text, "grown"), "another size: %s", e.text);
	other = about;
	other.uuid = id(9);
	ok(!sums_load(path, &other, again, &e), "another volume: %s", e.text);
	damage(path, 20);
	ok(!sums_load(path, &about, again, &e) && strstr(e.text, "damaged"), "a damaged header: %s", e.text);
	unlink(path);
	ok(!sums_load(path, &about, again, &e), "none: %s", e.text);
	rmdir(dir);
	s = sums_create(path, &about, key, &e);
	ok(s, "it makes its directory %s", e.text);
	sums_close(s);
	unlink(path);
	rmdir(dir);
}

/* ---------------------------------------------------------------- core -- */

static void ask(const char *repair, bool scrub)
{
	struct core_request r = { .id = 5, .volume = "spool" };
	struct core_verify d = { .peer = "", .repair = repair, .scrub = scrub };

	core_verify(&core, &r, &d);
	settle();
}

static void say_verify(uint32_t conn, enum repl_verify_step step, const char *text)
{
	struct {
		struct repl_msg_verify m;
		char text[64];
	} body;
	struct msg_verify v = { .step = step };

	msg_pack_verify(&v, &body.m);
	memcpy(body.text, text, strlen(text));
	hear(conn, REPL_MSG_VERIFY, &body, (uint32_t)(sizeof(body.m) + strlen(text)));
}

static void with_features(uint32_t conn, bool primary)
{
	struct copy c;

	live(conn, &c);
	pair->session->features = REPL_HF_VERIFY;
	kernel.slot[1] = (struct kernel_slot){ .index = 1, .kind = REPL_SLOT_MARK, .key = "verify" };
	kernel.slot_count = 2;
	if (primary)
		kernel.role = REPL_ROLE_PRIMARY;
	core_event(&core, volume);
	settle();
	clear();
}

static void told(unsigned int found)
{
	struct judge *j = pair->verify->judge;
	uint64_t at = 0, first, n;

	while ((n = judge_next(j, &at, 64, &first)))
		for (uint64_t b = first; b < first + n; b++)
			judge_told(j, b, b == 3 ? found : 0);
}

/* From the op that begins a pass to the next one, or the end. */
static void one_pass(unsigned int found)
{
	told(found);
	done(OP_VERIFY_COMPARE, 0);
	done(OP_CUT, 0);
	done(OP_VERIFY_TAKE, 0);
	done(OP_COMMIT, 0);
}

static void begin_passes(uint32_t conn)
{
	done(OP_VERIFY_OPEN, 0);
	say_verify(conn, REPL_VERIFY_READY, "");
	done(OP_CUT, 0);
	done(OP_COMMIT, 0);
}

static bool last_op(enum op_kind kind)
{
	return op_count && ops[(op_count - 1) % SENT].kind == kind;
}

static void whole(void)
{
	with_features(1, true);
	ask("", false);
	ok(last_op(OP_VERIFY_OPEN), "the mark is there: the digests are opened");
	begin_passes(1);
	one_pass(0);
	done(OP_VERIFY_SEAL, 0);
	ok(answer[0] == '1' && strstr(answer, "equal on mail1 and mail2") && !pair->verify, "%s", answer);
	ok(sent[(sent_count - 1) % SENT].type == REPL_MSG_VERIFY, "the peer is told");
	ask("", false);
	begin_passes(1);
	kernel.slot[0].in_flight_bytes = 4096;
	one_pass(JUDGE_DIFFERS);
	ok(last_op(OP_FREEZE) && ops[(op_count - 1) % SENT].flags == REPL_GATE_SNAPSHOT,
	   "a block differs, and something is in flight: writes wait");
	kernel.gate = REPL_GATE_SNAPSHOT;
	done(OP_FREEZE, 0);
	tick(2);
	ok(last_op(OP_FREEZE), "as long as something is");
	kernel.slot[0].in_flight_bytes = 0;
	tick(2);
	ok(last_op(OP_VERIFY_COMPARE), "then it is read again");
	one_pass(JUDGE_DIFFERS);
	done(OP_VERIFY_SEAL, 0);
	ok(answer[0] == '0' && strstr(answer, "4 KiB differ in 1 range"), "%s", answer);
	ok(pair->verified.ranges == 1 && pair->verified.range[0].block == 3 &&
	   pair->verified.range[0].count == 1, "it is kept");
	end();
}

static void missed_barrier(void)
{
	with_features(1, true);
	ask("", false);
	begin_passes(1);
	kernel.slot[0].in_flight_bytes = 4096;
	for (int i = 0; i < JUDGE_PASSES + 1; i++) {
		if (!last_op(OP_VERIFY_COMPARE))
			done(OP_FREEZE, i % 2 ? -EALREADY : 0);
		one_pass(JUDGE_DIFFERS);
	}
	done(OP_VERIFY_SEAL, 0);
	ok(answer[0] == '1' && !strstr(answer, "differ") && strstr(answer, "4 KiB not compared"),
	   "never a barrier, never an alarm: %s", answer);
	end();
}

static void repaired(void)
{
	with_features(1, true);
	ask("mail1", false);
	begin_passes(1);
	one_pass(JUDGE_DIFFERS);
	one_pass(JUDGE_DIFFERS);
	done(OP_VERIFY_SEAL, 0);
	ok(last_op(OP_LINK_DEL) && !answer[0], "to repair, the link goes");
	kernel.slot[0].link = REPL_LINK_NONE;
	done(OP_LINK_DEL, 0);
	ok(last_op(OP_MARK) && ops[(op_count - 1) % SENT].mask == 1 && pair->phase == PHASE_UNLINK,
	   "and the blocks are marked before the pair meets");
	done(OP_MARK, 0);
	ok(pair->phase == PHASE_MEET && pair->verify, "then it meets");
	core_session_down(&core, 1, "gone");
	settle();
	ok(answer[0] == '0' && strstr(answer, "are marked"), "lost before it is in sync: %s", answer);
	end();

	with_features(1, true);
	ask("mail1", true);
	begin_passes(1);
	one_pass(JUDGE_DIFFERS | JUDGE_CHANGED);
	one_pass(JUDGE_DIFFERS | JUDGE_CHANGED);
	done(OP_VERIFY_SEAL, 0);
	ok(answer[0] == '0' && strstr(answer, "take mail2's") && pair->phase == PHASE_LIVE,
	   "a block that has changed here is not copied: %s", answer);
	end();
}

static void refusals(void)
{
	with_features(1, true);
	ask("mail2", false);
	ok(answer[0] == '0' && strstr(answer, "repl-ctl primary"), "from the peer: %s", answer);
	ask("mail9", false);
	ok(answer[0] == '0' && strstr(answer, "mail9"), "from nobody: %s", answer);
	pair->session->features = 0;
	ask("", false);
	ok(answer[0] == '0' && strstr(answer, "older"), "an older peer: %s", answer);
	pair->session->features = REPL_HF_VERIFY;
	ask("", false);
	ok(pair->verify, "one");
	ask("", false);
	ok(answer[0] == '0' && strstr(answer, "under way"), "and only one: %s", answer);
	done(OP_VERIFY_OPEN, -ENOENT);
	ok(answer[0] == '0' && !pair->verify && pair->phase == PHASE_LIVE, "no digests: %s", answer);
	ask("", false);
	done(OP_VERIFY_OPEN, 0);
	say_verify(1, REPL_VERIFY_REFUSED, "no time");
	ok(answer[0] == '0' && strstr(answer, "mail2: no time"), "refused there: %s", answer);
	ask("", false);
	done(OP_VERIFY_OPEN, 0);
	tick(10000);
	ok(!pair->verify || !pair->session, "no answer: %s", answer);
	end();
}

static void lost(void)
{
	uint32_t turn;

	with_features(1, true);
	ask("", false);
	begin_passes(1);
	turn = pair->turn;
	kernel.slot[0].link = REPL_LINK_NONE;
	core_event(&core, volume);
	settle();
	ok(answer[0] == '0' && strstr(answer, "the link is lost") && strstr(answer, "nothing was changed") &&
	   !pair->verify && pair->turn != turn, "the link: %s", answer);
	end();

	with_features(1, false);
	ask("", false);
	begin_passes(1);
	kernel.generation = id(9);
	core_event(&core, volume);
	settle();
	ok(answer[0] == '0' && strstr(answer, "become primary"), "a promotion: %s", answer);
	end();

	with_features(1, true);
	ask("", false);
	done(OP_VERIFY_OPEN, 0);
	say_verify(1, REPL_VERIFY_READY, "");
	kernel.slot_count = 1;
	done(OP_CUT, -ENOENT);
	ok(answer[0] == '0' && !pair->verify, "the mark: %s", answer);
	end();
}

static void serving(void)
{
	with_features(1, false);
	say_verify(1, REPL_VERIFY_BEGIN, "");
	ok(last_op(OP_VERIFY_SERVE) && pair->serves && sent[(sent_count - 1) % SENT].type == REPL_MSG_VERIFY,
	   "the peer compares: it is served");
	done(OP_VERIFY_SERVE, -EIO);
	ok(!pair->serves && sent_count == 2, "a disk that cannot be read: it is told");
	say_verify(1, REPL_VERIFY_BEGIN, "");
	say_verify(1, REPL_VERIFY_END, "");
	ok(!pair->serves, "it has ended");
	say_verify(1, REPL_VERIFY_BEGIN, "");
	say_verify(1, REPL_VERIFY_BEGIN, "");
	ok(strstr(refusal, "before the one before"), "twice: %s", refusal);
	end();
}

int main(void)
{
	uint64_t seed = random_seed();

	under_writes(&seed);
	windows();
	sides();
	many();
	stored();
	whole();
	missed_barrier();
	repaired();
	refusals();
	lost();
	serving();
	return tap_end();
}
