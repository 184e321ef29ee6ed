// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A delta from one file to another: read, cut into blocks and zeros, sent through a
 * socket that takes little at a time, received, written and flushed.
 * needs: userspace/agent/core.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/lead.c
 * needs: userspace/agent/follow.c userspace/agent/task.c userspace/agent/promote.c userspace/agent/verdict.c
 * needs: userspace/agent/copy.c userspace/agent/msg.c userspace/agent/action.c userspace/agent/agent.c
 * needs: userspace/agent/loop.c userspace/agent/conn.c userspace/agent/greet.c userspace/agent/link.c
 * needs: userspace/agent/dial.c userspace/agent/kops.c userspace/agent/delta.c userspace/agent/mapsend.c
 * needs: userspace/agent/apply.c userspace/agent/bring.c userspace/agent/control.c userspace/agent/status.c
 * needs: userspace/agent/tls.c userspace/agent/ktls.c
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "apply.h"
#include "conn.h"
#include "delta.h"
#include "log.h"
#include "mapsend.h"

#include "tap.h"

enum { BLOCKS = 4096, RUNS_MAX = BLOCKS };

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
	loop_run(&agent.loop, 20);
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

static void fill(unsigned int zero_percent, unsigned int dirty_percent, unsigned int run)
{
	bool zero = false, d = false;

	for (unsigned int b = 0; b < BLOCKS; b++) {
		if (!random_below(&rng, run))
			zero = random_below(&rng, 100) < zero_percent;
		if (!random_below(&rng, run))
			d = random_below(&rng, 100) < dirty_percent;
		dirty[b] = d;
		memset(source[b], 0, sizeof(source[b]));
		memset(before[b], (int)(b % 255) + 1, sizeof(before[b]));
		/* One byte anywhere makes a block that is not zero. */
		if (!zero)
			source[b][random_below(&rng, REPL_BLOCK_BYTES)] = (uint8_t)(b % 255) + 1;
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

static void copy(unsigned int zero_percent, unsigned int dirty_percent, unsigned int run,
		 int socket_bytes, const char *name)
{
	struct end leader = { 0 }, follower = { 0 };
	struct op op = { .kind = OP_DELTA_SEND, .size = sizeof(source), .delta.id = 1 };
	struct op apply = { .kind = OP_DELTA_APPLY, .size = sizeof(source), .delta.id = 1 };
	unsigned int pings = 0, turns = 0;
	const char *what;
	int pair[2];

	fill(zero_percent, dirty_percent, run);
	need(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), "a socket pair");
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &socket_bytes, sizeof(socket_bytes));
	open_end(&leader, "leader", pair[0], file_of(source, sizeof(source)));
	open_end(&follower, "follower", pair[1], file_of(before, sizeof(before)));
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
	close(leader.io.cut_fd);
	close_end(&follower);
	close_end(&leader);
}

/* The session ends in the middle: both ops are answered, and nothing is left. */
static void cut_short(unsigned int turns)
{
	struct end leader = { 0 }, follower = { 0 };
	struct op op = { .kind = OP_DELTA_SEND, .size = sizeof(source), .delta.id = 1 };
	struct op apply = { .kind = OP_DELTA_APPLY, .size = sizeof(source), .delta.id = 1 };
	int pair[2], small = 20000;

	fill(20, 80, 10);
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
	copy(0, 100, 50, 1 << 20, "everything");
	copy(100, 100, 50, 4096, "all zeros");
	copy(50, 50, 3, 4096, "short runs through a narrow socket");
	copy(50, 50, 3, 1 << 20, "short runs through a wide one");
	copy(30, 60, 200, 30000, "long runs");
	copy(0, 0, 10, 4096, "nothing");
	for (unsigned int i = 0; i < 12; i++)
		cut_short(i * i);
	core_exit(&agent.core);
	loop_exit(&agent.loop);
	return tap_end();
}
