// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A delta from one file to another: read, compared by digests, cut into blocks and zeros,
 * sent through a socket that takes little at a time, received, written and flushed.
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
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "apply.h"
#include "conn.h"
#include "delta.h"
#include "log.h"
#include "mapsend.h"
#include "pair.h"
#include "stage.h"

#include "tap.h"

enum { BLOCKS = 4096, RUNS_MAX = BLOCKS };

/* What a delta is about: of 100 blocks, and for how many of them a decision holds. */
struct content {
	unsigned int zero, dirty, equal;
	unsigned int run;
};

static const struct content some = { .zero = 50, .dirty = 50, .run = 10 };

static const struct {
	struct content content;
	enum suspect_kind kind;
	int socket_bytes;
	const char *name;
} cases[] = {
	{ { 0, 100, 0, 50 }, SUSPECT_NOTHING, 1 << 20, "everything" },
	{ { 100, 100, 0, 50 }, SUSPECT_NOTHING, 4096, "all zeros" },
	{ { 50, 50, 0, 3 }, SUSPECT_NOTHING, 4096, "short runs through a narrow socket" },
	{ { 50, 50, 0, 3 }, SUSPECT_NOTHING, 1 << 20, "short runs through a wide one" },
	{ { 30, 60, 0, 200 }, SUSPECT_NOTHING, 30000, "long runs" },
	{ { 0, 0, 0, 10 }, SUSPECT_NOTHING, 4096, "nothing" },
	{ { 20, 100, 100, 50 }, SUSPECT_ALL, 1 << 20, "all is equal" },
	{ { 20, 100, 95, 3 }, SUSPECT_ALL, 4096, "most is equal, through a narrow socket" },
	{ { 20, 60, 70, 3 }, SUSPECT_ALL, 1 << 20, "short runs, some equal" },
	{ { 20, 100, 0, 50 }, SUSPECT_ALL, 30000, "suspected, and all of it differs" },
	{ { 20, 100, 100, 50 }, SUSPECT_SAMPLE, 1 << 20, "not suspected, and all is equal" },
	{ { 20, 100, 0, 50 }, SUSPECT_SAMPLE, 1 << 20, "not suspected, and all of it differs" },
	{ { 20, 90, 40, 400 }, SUSPECT_SAMPLE, 1 << 20, "by turns" },
	{ { 0, 0, 0, 10 }, SUSPECT_ALL, 4096, "nothing to compare" },
};

static struct agent agent;
static uint64_t rng;
static uint8_t source[BLOCKS][REPL_BLOCK_BYTES], target[BLOCKS][REPL_BLOCK_BYTES];
static uint8_t before[BLOCKS][REPL_BLOCK_BYTES];
static bool dirty[BLOCKS];

static uint64_t random64(void *arg)
{
	return random_next(arg);
}

static int file_of(const void *data, size_t size)
{
	char path[] = "/tmp/repl-bulk.XXXXXX";
	int fd = mkstemp(path);

	need(fd >= 0, "a temporary file");
	unlink(path);
	need(pwrite(fd, data, size, 0) == (ssize_t)size, "its content");
	return fd;
}

/* The extents as a cut gives them. */
static int cut_of(void)
{
	static struct repl_extent extent[RUNS_MAX];
	size_t n = 0;

	for (uint64_t b = 0; b < BLOCKS; b++) {
		if (!dirty[b])
			continue;
		if (n && extent[n - 1].block + extent[n - 1].count == b)
			extent[n - 1].count++;
		else
			extent[n++] = (struct repl_extent){ b, 1 };
	}
	return file_of(extent, n * sizeof(extent[0]));
}

/* One end: a volume of this agent, its pair, and the connection. */
struct end {
	struct volume_io vio;
	struct pair_io io;
	struct volume *volume;
	struct conn *conn;
	uint32_t conn_id;
	int data_fd;
};

static void open_end(struct end *e, const char *name, int fd, int data_fd)
{
	static const uint8_t key[REPL_KEY_BYTES] = { 9 };
	struct volume_settings set = { .join_limit_ms = 200 };
	const struct core_peer *peer = core_peer_by_key(&agent.core, key);

	if (!peer)
		peer = core_peer_add(&agent.core, "peer", key);
	e->vio.data_fd = e->data_fd = data_fd;
	e->volume = core_volume_up(&agent.core, name, &set, false, &e->vio);
	e->io.agent = &agent;
	e->io.pair = core_pair_add(e->volume, peer);
	e->io.pair->io = &e->io;
	e->io.cut_fd = e->io.link_fd = -1;
	e->io.cut_watch.fd = -1;
	e->io.pair->pending = 1;
	e->conn = conn_new(&agent, fd, CONN_ACCEPTED);
	e->conn_id = e->conn->id;
	conn_open(e->conn);
}

static void hang_up(const struct end *e)
{
	struct conn *c = conn_find(&agent, e->conn_id);

	if (c)
		conn_kill(c, "the test is over");
}

static bool done(const struct end *e)
{
	return !e->io.pair->pending;
}

static void turn(void)
{
	agent_settle(&agent);
	delta_tick(&agent);
	conn_tick(&agent);
	loop_run(&agent.loop, 4);
}

static void close_end(struct end *e)
{
	hang_up(e);
	for (int i = 0; i < 5; i++)
		turn();
	close(e->data_fd);
	agent.core.volumes = e->volume->next;
	core_volume_free(e->volume);
}

static void fill(const struct content *f)
{
	bool zero = false, d = false, equal = false;

	for (unsigned int b = 0; b < BLOCKS; b++) {
		if (!random_below(&rng, f->run))
			zero = random_below(&rng, 100) < f->zero;
		if (!random_below(&rng, f->run))
			d = random_below(&rng, 100) < f->dirty;
		if (!random_below(&rng, f->run))
			equal = random_below(&rng, 100) < f->equal;
		dirty[b] = d;
		memset(source[b], 0, sizeof(source[b]));
		memset(before[b], (int)(b % 255) + 1, sizeof(before[b]));
		/* One byte anywhere makes a block that is not zero. */
		if (!zero)
			source[b][random_below(&rng, REPL_BLOCK_BYTES)] = (uint8_t)(b % 255) + 1;
		/* What is equal, or differs by one bit. */
		if (equal)
			memcpy(before[b], source[b], sizeof(before[b]));
		else if (f->equal && !zero && random_below(&rng, 2)) {
			memcpy(before[b], source[b], sizeof(before[b]));
			before[b][random_below(&rng, REPL_BLOCK_BYTES)] ^= 1u << random_below(&rng, 8);
		}
	}
}

static const char *wrong(void)
{
	for (unsigned int b = 0; b < BLOCKS; b++) {
		if (memcmp(target[b], dirty[b] ? source[b] : before[b], REPL_BLOCK_BYTES))
			return dirty[b] ? "a dirty block was not copied" : "a clean block was touched";
	}
	return NULL;
}

/* How many bytes of the delta were equal to begin with, and how many there were at all. */
static uint64_t equal_bytes(uint64_t *all)
{
	uint64_t equal = 0;

	*all = 0;
	for (unsigned int b = 0; b < BLOCKS; b++) {
		if (!dirty[b])
			continue;
		*all += REPL_BLOCK_BYTES;
		if (!memcmp(source[b], before[b], REPL_BLOCK_BYTES))
			equal += REPL_BLOCK_BYTES;
	}
	return equal;
}

static void counts(const struct end *leader, const struct end *follower, enum suspect_kind kind,
		   unsigned int equal_percent, const char *name)
{
	const struct msg_moved *m = &leader->io.pair->run.delta.moved;
	uint64_t all, equal = equal_bytes(&all);

	ok(!memcmp(m, &follower->io.pair->run.delta.moved, sizeof(*m)) &&
	   m->sent_bytes + m->zero_bytes + m->equal_bytes == all, "%s: both count all of it", name);
	if (kind == SUSPECT_NOTHING)
		ok(!m->compared_bytes && !m->equal_bytes, "%s: nothing is compared", name);
	else if (kind == SUSPECT_ALL && equal_percent >= 50)
		ok(m->compared_bytes == all && m->equal_bytes == equal,
		   "%s: all is compared, and what is equal is not sent: %llu of %llu bytes", name,
		   (unsigned long long)m->equal_bytes, (unsigned long long)all);
	else
		ok(m->equal_bytes <= equal && m->compared_bytes <= all, "%s: %llu of %llu bytes are compared",
		   name, (unsigned long long)m->compared_bytes, (unsigned long long)all);
}

static void copy(const struct content *f, enum suspect_kind kind, int socket_bytes,
		 const char *name)
{
	struct end leader = { 0 }, follower = { 0 };
	struct op op = {
		.kind = OP_DELTA_SEND, .size = sizeof(source), .suspect = kind,
		.delta = { .id = 1, .digest_key = { 1, 2, 3 } },
	};
	struct op apply = {
		.kind = OP_DELTA_APPLY, .size = sizeof(source), .delta = op.delta,
	};
	unsigned int pings = 0, turns = 0;
	const char *what;
	int pair[2];

	fill(f);
	apply.delta.blocks = BLOCKS;
	need(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), "a socket pair");
	for (int i = 0; i < 2; i++)
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &socket_bytes, sizeof(socket_bytes));
	open_end(&leader, "leader", pair[0], file_of(source, sizeof(source)));
	open_end(&follower, "follower", pair[1], file_of(before, sizeof(before)));
	leader.io.pair->phase = PHASE_L_SEND;
	follower.io.pair->phase = PHASE_F_APPLY;
	leader.io.cut_fd = cut_of();
	apply_start(&follower.io, follower.conn, &apply);
	delta_start(&leader.io, leader.conn, &op);
	/* Other messages travel in between, in both directions. */
	while ((!done(&leader) || !done(&follower)) && turns++ < 20000) {
		if (!random_below(&rng, 3) && ++pings)
			conn_send(leader.conn, REPL_MSG_PING, NULL, 0);
		if (!random_below(&rng, 3))
			conn_send(follower.conn, REPL_MSG_PING, NULL, 0);
		turn();
	}
	ok(done(&leader) && done(&follower), "%s: it ends", name);
	need(pread(follower.data_fd, target, sizeof(target), 0) == sizeof(target), "the copy");
	what = wrong();
	ok(!what, "%s: exactly the dirty blocks are copied, %u messages in between%s%s", name, pings,
	   what ? ": " : "", what ? what : "");
	counts(&leader, &follower, kind, f->equal, name);
	close(leader.io.cut_fd);
	close_end(&follower);
	close_end(&leader);
}

/* The session ends in the middle: both ops are answered, and nothing is left. */
static void cut_short(unsigned int turns)
{
	struct end leader = { 0 }, follower = { 0 };
	struct op op = {
		.kind = OP_DELTA_SEND, .size = sizeof(source), .delta.id = 1,
		.suspect = turns % 2 ? SUSPECT_ALL : SUSPECT_NOTHING,
	};
	struct op apply = {
		.kind = OP_DELTA_APPLY, .size = sizeof(source), .delta = { .id = 1, .blocks = BLOCKS },
	};
	int pair[2], small = 20000;

	fill(&(struct content){ .zero = 20, .dirty = 80, .equal = 30, .run = 10 });
	need(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), "a socket pair");
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	open_end(&leader, "leader", pair[0], file_of(source, sizeof(source)));
	open_end(&follower, "follower", pair[1], file_of(before, sizeof(before)));
	leader.io.cut_fd = cut_of();
	apply_start(&follower.io, follower.conn, &apply);
	delta_start(&leader.io, leader.conn, &op);
	for (unsigned int i = 0; i < turns; i++)
		turn();
	hang_up(&leader);
	delta_drop(&leader.io);
	for (unsigned int i = 0; i < 200 && !(done(&leader) && done(&follower)); i++)
		turn();
	ok(done(&leader) && done(&follower), "cut short after %u turns: both ends are told", turns);
	close(leader.io.cut_fd);
	close_end(&follower);
	close_end(&leader);
}

/* ------------------------------------------------------------- staging -- */

/* Nobody carries out what the core wants: there is no kernel here. */
static void forget_actions(void)
{
	struct action *a;

	while ((a = action_take(&agent.core.actions)))
		action_free(a);
}

/* The dirty blocks, to @to, which stages them. */
static void stage_pass(struct end *to)
{
	struct end leader = { 0 };
	struct op op = { .kind = OP_DELTA_SEND, .size = sizeof(source), .delta.id = 1 };
	struct op apply = {
		.kind = OP_DELTA_APPLY, .size = sizeof(source), .stage = true,
		.delta = { .id = 1, .blocks = BLOCKS },
	};
	int pair[2];

	need(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), "a socket pair");
	if (to->volume) {
		to->conn = conn_new(&agent, pair[1], CONN_ACCEPTED);
		conn_open(to->conn);
	} else {
		open_end(to, "follower", pair[1], file_of(before, sizeof(before)));
	}
	open_end(&leader, "leader", pair[0], file_of(source, sizeof(source)));
	to->conn_id = to->conn->id;
	to->io.pair->pending = 1;
	to->io.pair->phase = PHASE_F_APPLY;
	leader.io.pair->phase = PHASE_L_SEND;
	leader.io.cut_fd = cut_of();
	apply_start(&to->io, to->conn, &apply);
	delta_start(&leader.io, leader.conn, &op);
	for (unsigned int i = 0; i < 20000 && (!done(&leader) || !done(to)); i++) {
		forget_actions();
		turn();
	}
	forget_actions();
	need(done(&leader) && done(to), "it is staged");
	close(leader.io.cut_fd);
	hang_up(to);
	close_end(&leader);
}

static bool is_file(const struct end *e, const void *want)
{
	need(pread(e->data_fd, target, sizeof(target), 0) == sizeof(target), "the copy");
	return !memcmp(target, want, sizeof(target));
}

/* A step of redo.c; the core takes note, and nobody carries out what it wants next. */
static void redo_step(struct end *e, enum redo_step step,
		      void (*fn)(struct agent *a, struct volume *v, const struct op *op),
		      const struct op *op)
{
	e->volume->redo.step = step;
	e->volume->pending++;
	fn(&agent, e->volume, op);
	for (unsigned int i = 0; i < 2000 && e->volume->redo.step == step; i++)
		loop_run(&agent.loop, 4);
	forget_actions();
	e->volume->pending = 0;
}

static void damage(const struct end *e, off_t at)
{
	const struct stage *st = e->vio.stage;
	uint8_t byte;

	need(pread(st->fd, &byte, 1, at) == 1, "a byte of the file");
	byte ^= 4;
	need(pwrite(st->fd, &byte, 1, at) == 1, "and a wrong one");
}

/* Also the next start may be able to read it. */
static void unreadable(struct end *e, const char *path)
{
	char aside[sizeof(((struct stage *)0)->path) + 8];
	struct staged found;
	struct err err = { "" };
	struct stat st;

	snprintf(aside, sizeof(aside), "%s.aside", path);
	stage_forget(&e->vio);
	/* Its first bytes cannot be read, as if the disk said so. */
	need(!rename(path, aside) && !symlink("/proc/self/mem", path), "a file that cannot be read");
	is_number(stage_find(&e->vio, "follower", &found, &err), -EIO, "staged: one that cannot be read");
	ok(!lstat(path, &st) && strstr(err.text, "Input/output error"), "staged: it stays: %s", err.text);
	need(!unlink(path) && !mkdir(path, 0700), "and one that cannot be opened");
	is_number(stage_find(&e->vio, "follower", &found, &err), -EISDIR, "staged: one that cannot be opened");
	need(!rmdir(path) && !rename(aside, path), "as it was");
	ok(stage_find(&e->vio, "follower", &found, &err) > 0 && found.epoch == 3, "staged: later it can be read");
}

static void is_left(struct end *e, const char *path)
{
	struct op drop = { .kind = OP_STAGE_DROP }, clean = { .kind = OP_STAGE_CLEAN };
	int fd;

	need(!mkdir(path, 0700), "what is no file, in its place");
	redo_step(e, REDO_DROP, stage_drop, &drop);
	is_number(e->volume->redo.step, REDO_LEFT, "staged: one that cannot be removed is remembered");
	fd = rmdir(path) ? -1 : open(path, O_CREAT | O_WRONLY, 0600);
	need(fd >= 0, "a file again");
	close(fd);
	redo_step(e, REDO_LEFT, stage_clean, &clean);
	ok(e->volume->redo.step == REDO_NONE && access(path, F_OK), "staged: and removed when it can be");
}

static void staged(bool full)
{
	static uint8_t expected[BLOCKS][REPL_BLOCK_BYTES];
	char dir[] = "/tmp/repl-stage.XXXXXX", path[sizeof(((struct stage *)0)->path)];
	struct end e = { 0 };
	struct op op = {
		.size = sizeof(source), .staged = { .generation = { { 7 } }, .epoch = 3, .base_epoch = 2 },
	};
	struct staged found;
	struct err err;

	need(mkdtemp(dir), "a directory");
	snprintf(e.vio.staging_dir, sizeof(e.vio.staging_dir), "%s/deep/er", dir);
	e.vio.staging_size = full ? 1 << 20 : 1 << 30;
	e.vio.copy_id.b[0] = 5;
	fill(&some);
	memcpy(expected, before, sizeof(expected));
	for (unsigned int pass = 0; pass < 3; pass++) {
		for (unsigned int b = 0; b < BLOCKS; b++) {
			if (pass)
				source[b][7] = (uint8_t)(b + pass);
			dirty[b] = pass ? random_below(&rng, 2) : dirty[b];
			if (dirty[b])
				memcpy(expected[b], source[b], sizeof(expected[b]));
		}
		stage_pass(&e);
	}
	ok(is_file(&e, before), "staged: the copy stays as it is");
	if (full) {
		ok(e.io.pair->full_until, "staged: what has no room is refused: %s", e.io.pair->reason);
		stage_abandon(&e.io);
	} else {
		snprintf(path, sizeof(path), "%s", e.vio.stage->path);
		redo_step(&e, REDO_SEAL, stage_seal, &op);
		stage_forget(&e.vio);
		ok(stage_find(&e.vio, "follower", &found, &err) > 0 && found.epoch == 3 && found.base_epoch == 2 &&
		   found.generation.b[0] == 7 && found.bytes, "staged: a whole file is found again");
		ok(found.file && found.file == e.volume->redo.what.file, "staged: by the name that it was made whole with");
		unreadable(&e, path);
		/* In the middle of a payload; then as it was. */
		damage(&e, (off_t)e.vio.stage->at - 9);
		redo_step(&e, REDO_APPLY, apply_staged, &op);
		is_number(e.volume->redo.error, -EBADMSG, "staged: a damaged one is no copy");
		damage(&e, (off_t)e.vio.stage->at - 9);
		redo_step(&e, REDO_APPLY, apply_staged, &op);
		ok(is_file(&e, expected), "staged: applied, each block as the last pass has it");
		redo_step(&e, REDO_APPLY, apply_staged, &op);
		ok(is_file(&e, expected), "staged: once more, and nothing changes");
		/* Its header torn. */
		damage(&e, 100);
		stage_forget(&e.vio);
		ok(!stage_find(&e.vio, "follower", &found, &err) && access(path, F_OK), "staged: one that is not whole is removed");
		is_left(&e, path);
	}
	close_end(&e);
	snprintf(path, sizeof(path), "%s/deep/er", dir);
	ok(!rmdir(path), "staged: nothing is left");
	snprintf(path, sizeof(path), "%s/deep", dir);
	rmdir(path);
	rmdir(dir);
}

/* A session, so that what is refused has words. */
static struct pair *talk(struct end *e, struct session *s)
{
	struct pair *p = e->io.pair;

	*s = (struct session){
		.core = &agent.core, .open = true, .conn = e->conn_id, .peer = p->peer, .pair = p,
	};
	p->session = s;
	return p;
}

/* A follower gives its copy up only for a delta that has blocks: others bring none. */
static void not_announced(uint16_t type)
{
	struct end follower = { 0 };
	struct op apply = { .kind = OP_DELTA_APPLY, .size = sizeof(source), .delta.id = 1 };
	struct {
		struct repl_msg header;
		struct repl_msg_range range;
		uint8_t data[REPL_BLOCK_BYTES];
	} m = { .range.length = htole64(REPL_BLOCK_BYTES) };
	size_t length = sizeof(m.range) + (type == REPL_MSG_BLOCKS ? sizeof(m.data) :
					   type == REPL_MSG_DIGESTS ? REPL_DIGEST_BYTES : 0);
	struct session s;
	struct pair *p;
	int pair[2];

	fill(&some);
	need(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), "a socket pair");
	open_end(&follower, "follower", pair[1], file_of(before, sizeof(before)));
	p = talk(&follower, &s);
	apply_start(&follower.io, follower.conn, &apply);
	msg_pack_header(type, (uint32_t)length, &m.header);
	need(write(pair[0], &m, sizeof(m.header) + length) > 0, "a message");
	for (int i = 0; i < 5; i++)
		turn();
	ok(strstr(p->reason, "announced with none"), "%s in a delta of no blocks: %s", msg_name(type),
	   p->reason);
	need(pread(follower.data_fd, target, sizeof(target), 0) == sizeof(target), "the copy");
	ok(!memcmp(target, before, sizeof(target)), "nothing of it is written");
	p->session = NULL;
	close(pair[0]);
	close_end(&follower);
}

/* A leader that asks and asks, and does not read: what waits for it is bounded. */
static void deaf_leader(void)
{
	enum { ASKED = 3000 };
	struct end follower = { 0 };
	struct op apply = {
		.kind = OP_DELTA_APPLY, .size = sizeof(source), .delta = { .id = 1, .blocks = BLOCKS },
	};
	struct {
		struct repl_msg header;
		struct repl_msg_range range;
		struct repl_digest digest;
	} m = { .range.length = htole64(REPL_BLOCK_BYTES) };
	struct {
		struct repl_msg header;
		struct repl_msg_want want;
	} answer[ASKED];
	size_t asked = 0, stuck, last = 1, got = 0;
	int pair[2], small = 4096;

	fill(&some);
	need(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), "a socket pair");
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	open_end(&follower, "follower", pair[1], file_of(before, sizeof(before)));
	apply_start(&follower.io, follower.conn, &apply);
	msg_pack_header(REPL_MSG_DIGESTS, sizeof(m) - sizeof(m.header), &m.header);
	while (asked < ASKED && asked != last) {
		last = asked;
		for (int i = 0; i < 10; i++) {
			while (asked < ASKED && write(pair[0], &m, sizeof(m)) == sizeof(m))
				asked++;
			turn();
		}
	}
	stuck = asked;
	ok(follower.conn->stalled, "a leader that does not read is not read any more");
	for (unsigned int i = 0; i < 4000 && got < sizeof(answer); i++) {
		ssize_t n = read(pair[0], (uint8_t *)answer + got, sizeof(answer) - got);

		got += n > 0 ? (size_t)n : 0;
		while (asked < ASKED && write(pair[0], &m, sizeof(m)) == sizeof(m))
			asked++;
		turn();
	}
	ok(got == sizeof(answer), "once it reads, all it asked is answered: it was stopped after %zu of %u",
	   stuck, ASKED);
	close(pair[0]);
	close_end(&follower);
}

/* An answer that nobody asked for. */
static void wrong_want(uint64_t offset, const char *words)
{
	struct end leader = { 0 };
	struct op op = {
		.kind = OP_DELTA_SEND, .size = sizeof(source), .delta.id = 1, .suspect = SUSPECT_ALL,
	};
	struct {
		struct repl_msg header;
		struct repl_msg_want want;
	} m = { .want = { htole64(offset), htole64(REPL_BLOCK_BYTES), { 0 } } };
	struct session s;
	struct pair *p;
	int pair[2];

	fill(&(struct content){ .dirty = 100, .run = 1 });
	need(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), "a socket pair");
	open_end(&leader, "leader", pair[1], file_of(source, sizeof(source)));
	leader.io.cut_fd = cut_of();
	p = talk(&leader, &s);
	delta_start(&leader.io, leader.conn, &op);
	msg_pack_header(REPL_MSG_WANT, sizeof(m.want), &m.header);
	need(write(pair[0], &m, sizeof(m)) > 0, "a message");
	for (int i = 0; i < 5; i++)
		turn();
	ok(strstr(p->reason, words), "a wrong WANT: %s", p->reason);
	delta_drop(&leader.io);
	ok(done(&leader), "which ends the delta");
	p->session = NULL;
	close(pair[0]);
	close(leader.io.cut_fd);
	close_end(&leader);
}

/* Ranges that are good, for the most part, and counts that are not. */
static void random_body(uint16_t type, uint8_t *body, size_t length)
{
	struct repl_msg_range range = {
		htole64((random_below(&rng, BLOCKS) << REPL_BLOCK_SHIFT) + !random_below(&rng, 20)),
		htole64((1 + random_below(&rng, 300)) << REPL_BLOCK_SHIFT),
	};

	for (size_t i = 0; i < length; i++)
		body[i] = random_below(&rng, 2) ? (uint8_t)random_next(&rng) : 0;
	if (type == REPL_MSG_DIGESTS && random_below(&rng, 10))
		range.length = htole64((length - sizeof(range)) / REPL_DIGEST_BYTES << REPL_BLOCK_SHIFT);
	if (type == REPL_MSG_BLOCKS && random_below(&rng, 10))
		range.length = htole64(length - sizeof(range));
	if (type != REPL_MSG_DELTA_END)
		memcpy(body, &range, sizeof(range));
}

/*
 * Bulk messages with whatever in them: they are taken or refused, nothing is written
 * beyond the volume, and all that was begun ends.
 */
static void noise(bool leads)
{
	static const uint16_t types[] = {
		REPL_MSG_BLOCKS, REPL_MSG_ZEROS, REPL_MSG_DIGESTS, REPL_MSG_WANT, REPL_MSG_DELTA_END,
	};
	static uint8_t m[sizeof(struct repl_msg) + (64 << 10)];
	struct end end = { 0 };
	struct op op = {
		.kind = leads ? OP_DELTA_SEND : OP_DELTA_APPLY, .size = sizeof(source),
		.suspect = SUSPECT_ALL, .delta = { .id = 1, .blocks = BLOCKS },
	};
	struct repl_msg header;
	struct msg_header h;
	struct session s;
	struct pair *p;
	struct err e;
	int pair[2];

	need(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), "a socket pair");
	open_end(&end, "one", pair[1], file_of(source, sizeof(source)));
	p = talk(&end, &s);
	end.io.cut_fd = cut_of();
	if (leads)
		delta_start(&end.io, end.conn, &op);
	else
		apply_start(&end.io, end.conn, &op);
	for (unsigned int i = 0; i < 40; i++) {
		uint16_t type = types[random_below(&rng, random_below(&rng, 10) ? 3 : 5)];
		uint32_t length = 16 + (uint32_t)random_below(&rng, 16) * 4096;

		if (type == REPL_MSG_DIGESTS)
			length = 16 * (2 + (uint32_t)random_below(&rng, 300));
		else if (type == REPL_MSG_ZEROS)
			length = sizeof(struct repl_msg_range);
		else if (type != REPL_MSG_BLOCKS)
			length = type == REPL_MSG_WANT ? sizeof(struct repl_msg_want)
						       : sizeof(struct repl_msg_delta);
		msg_pack_header(type, length, &header);
		if (msg_unpack_header(&h, &header, &e))
			continue;
		memcpy(m, &header, sizeof(header));
		random_body(type, m + sizeof(header), length);
		if (write(pair[0], m, sizeof(header) + length) < 0)
			break;
		turn();
	}
	hang_up(&end);
	delta_drop(&end.io);
	apply_drop(&end.io);
	for (unsigned int i = 0; i < 200 && !done(&end); i++)
		turn();
	if (!done(&end) || lseek(end.data_fd, 0, SEEK_END) != sizeof(source))
		ok(false, "random messages: %s", p->reason);
	p->session = NULL;
	close(pair[0]);
	close(end.io.cut_fd);
	close_end(&end);
}

int main(void)
{
	static const uint8_t key[REPL_KEY_BYTES] = { 5 };
	struct err e;

	rng = random_seed();
	log_open("test_bulk", LOG_LEVEL_ERROR);
	if (loop_init(&agent.loop, &e)) {
		printf("1..0 # SKIP %s\n", e.text);
		return 0;
	}
	core_init(&agent.core, "node", key, random64, &rng);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		copy(&cases[i].content, cases[i].kind, cases[i].socket_bytes, cases[i].name);
	staged(false);
	staged(true);
	not_announced(REPL_MSG_BLOCKS);
	not_announced(REPL_MSG_ZEROS);
	not_announced(REPL_MSG_DIGESTS);
	deaf_leader();
	wrong_want(0, "not asked about");
	wrong_want(sizeof(source), "do not lie in a volume");
	for (unsigned int i = 0; i < 12; i++)
		cut_short(i * i);
	for (unsigned int i = 0; i < 30; i++)
		noise(i % 3 == 0);
	ok(true, "random messages are taken or refused");
	core_exit(&agent.core);
	loop_exit(&agent.loop);
	return tap_end();
}
