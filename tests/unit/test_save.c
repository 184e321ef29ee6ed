// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a split's loser had, from a device and a cut, both played by files, into a stream:
 * exactly the cut's blocks, whole or not there.
 * needs: userspace/agent/verify.c userspace/agent/judge.c userspace/agent/compare.c userspace/agent/sums.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c
 * needs: userspace/agent/follow.c userspace/agent/task.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/resolve.c userspace/agent/save.c
 * needs: userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/nodes.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c userspace/agent/register.c userspace/agent/ask.c userspace/agent/witness.c
 * needs: userspace/agent/copy.c userspace/agent/msg.c userspace/agent/action.c userspace/agent/agent.c userspace/agent/helper.c userspace/agent/hook.c userspace/agent/hookq.c
 * needs: userspace/agent/loop.c userspace/agent/conn.c userspace/agent/greet.c userspace/agent/link.c
 * needs: userspace/agent/dial.c userspace/agent/kops.c userspace/agent/delta.c userspace/agent/mapsend.c
 * needs: userspace/agent/apply.c userspace/agent/stage.c userspace/agent/bring.c userspace/agent/control.c userspace/agent/status.c
 * needs: userspace/agent/tls.c userspace/agent/ktls.c userspace/agent/digest.c userspace/agent/suspect.c
 */
#include "save.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "id.h"
#include "pair.h"
#include "stream.h"
#include "tap.h"

enum { SIZE = (8 << 20) - 1024, BLOCKS = 2048, ROUNDS = 12 };

static struct agent agent;
static struct volume *volume;
static struct volume_io vio;
static struct pair_io io;
static struct pair *pair;
static uint8_t data[BLOCKS * REPL_BLOCK_BYTES], restored[sizeof(data)], expected[sizeof(data)];
static bool dirty[BLOCKS];
static uint64_t seed;
static char root[] = "/tmp/test_save.XXXXXX";

static ino_t synced[ROUNDS * 8];
static unsigned int syncs;

/* In place of the library's. */
int fsync(int fd)
{
	struct stat st;

	if (syncs < sizeof(synced) / sizeof(synced[0]) && !fstat(fd, &st))
		synced[syncs++] = st.st_ino;
	return (int)syscall(SYS_fsync, fd);
}

static bool was_synced(const char *path)
{
	struct stat st;

	need(!stat(path, &st), path);
	for (unsigned int i = 0; i < syncs; i++)
		if (synced[i] == st.st_ino)
			return true;
	return false;
}

static int file_of(const void *bytes, size_t length)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/XXXXXX", root);
	fd = mkstemp(path);
	need(fd >= 0 && !unlink(path) && pwrite(fd, bytes, length, 0) == (ssize_t)length, "a file");
	return fd;
}

static void fill(void)
{
	memset(expected, 0xee, sizeof(expected));
	for (unsigned int b = 0; b < BLOCKS; b++) {
		uint8_t *block = data + (size_t)b * REPL_BLOCK_BYTES;

		memset(block, 0, REPL_BLOCK_BYTES);
		dirty[b] = random_below(&seed, 3) == 0 || b == BLOCKS - 1;
		if (random_below(&seed, 4))
			memset(block, (int)random_below(&seed, 255) + 1, 1 + random_below(&seed, 4095));
		if (dirty[b])
			memcpy(expected + (size_t)b * REPL_BLOCK_BYTES, block, REPL_BLOCK_BYTES);
	}
}

static int cut(void)
{
	struct repl_extent extent[BLOCKS];
	size_t n = 0;

	for (unsigned int b = 0; b < BLOCKS; b++) {
		if (!dirty[b])
			continue;
		if (n && extent[n - 1].block + extent[n - 1].count == b)
			extent[n - 1].count++;
		else
			extent[n++] = (struct repl_extent){ b, 1 };
	}
	return file_of(extent, n * sizeof(extent[0]));
}

static void open_pair(void)
{
	static const uint8_t key[REPL_KEY_BYTES] = { 9 };
	struct volume_settings set = { .join_limit_ms = 200 };

	volume = core_volume_up(&agent.core, "spool", &set, false, &vio);
	pair = core_pair_add(volume, core_peer_add(&agent.core, "mail1", key));
	pair->io = &io;
	io.agent = &agent;
	io.pair = pair;
	io.cut_fd = io.link_fd = -1;
	io.cut_watch.fd = -1;
	pair->mine = (struct copy){
		.uuid = { { 1 } }, .copy_id = { { 2 } }, .generation = { { 3 } }, .size = SIZE,
		.lbs_shift = 9, .history = { { { 5 } } },
	};
	pair->theirs = (struct copy){
		.copy_id = { { 4 } }, .generation = { { 6 } }, .history = { { { 5 } } },
	};
}

/* Return: whether the op was answered. */
static bool run(bool drop)
{
	struct op op = { .kind = OP_SAVE, .size = SIZE, .turn = pair->turn };

	pair->phase = PHASE_S_SAVE;
	pair->resolve.step = RESOLVE_SAVING;
	pair->resolve.saved[0] = '\0';
	pair->pending = 1;
	pair->mine.slot_dirty_blocks = BLOCKS;
	save_start(&io, &op);
	if (drop)
		save_drop(&io);
	for (int i = 0; i < 1000 && pair->pending; i++) {
		save_tick(&agent);
		loop_run(&agent.loop, 20);
	}
	return !pair->pending;
}

static bool was_saved(void)
{
	return pair->resolve.step == RESOLVE_AGREED && pair->resolve.saved[0];
}

static unsigned int files_in(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned int n = 0;

	for (struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static struct stream_in *decode(const char *path, struct err *e)
{
	struct stream_in *in = stream_in_new();
	FILE *f = fopen(path, "re");
	static uint8_t buffer[STREAM_WANT_MAX];
	struct stream_item item;
	size_t want;
	int ret = f ? 0 : -1;

	memset(restored, 0xee, sizeof(restored));
	while (!ret && (want = stream_in_want(in))) {
		ret = fread(buffer, 1, want, f) == want ? stream_in_take(in, buffer, &item, e) : -1;
		if (!ret && item.kind == STREAM_DATA)
			memcpy(restored + item.offset, item.data, item.length);
		else if (!ret && item.kind == STREAM_ZEROS)
			memset(restored + item.offset, 0, item.length);
	}
	if (f)
		fclose(f);
	if (!ret)
		return in;
	stream_in_free(in);
	return NULL;
}

static void test_rounds(void)
{
	const struct stream_info *i = NULL;
	struct stream_in *in = NULL;
	unsigned int good = 0;
	char above[64];
	struct stat st;
	struct err e;

	for (int round = 0; round < ROUNDS; round++) {
		stream_in_free(in);
		in = NULL;
		fill();
		vio.data_fd = file_of(data, sizeof(data));
		io.cut_fd = cut();
		if (run(false) && was_saved())
			in = decode(pair->resolve.saved, &e);
		/* Of the last block only a part is the volume's. */
		good += in && !memcmp(restored, expected, SIZE);
		if (in && round < ROUNDS - 1)
			unlink(pair->resolve.saved);
		close(vio.data_fd);
		close(io.cut_fd);
	}
	is_number(good, ROUNDS, "a file has exactly the cut's blocks, as they are on the device");
	need(in, "a stream");
	i = stream_in_info(in);
	ok(i->kind == REPL_STREAM_CHANGES && i->generation.b[0] == 3 && i->base_copy_id.b[0] == 4 &&
	   i->base_generation.b[0] == 5 && i->data_size == SIZE, "it says since when");
	is_text(i->node, "mail2", "and who wrote it");
	ok(!stat(pair->resolve.saved, &st) && (st.st_mode & 0777) == 0600, "nobody else may read it");
	is_number(files_in(vio.save_dir), 1, "the directory was made, and nothing else is in it");
	snprintf(above, sizeof(above), "%s/a", root);
	ok(was_synced(vio.save_dir) && was_synced(above) && was_synced(root),
	   "durably, with what was made above it");
	stream_in_free(in);
}

static void test_failures(void)
{
	char blocked[64];

	fill();
	vio.data_fd = file_of(data, sizeof(data) / 2);
	io.cut_fd = cut();
	ok(run(false) && !was_saved(), "a device that cannot be read");
	close(vio.data_fd);
	vio.data_fd = file_of(data, sizeof(data));
	ok(run(true) && !was_saved(), "given up on the way");
	is_number(files_in(vio.save_dir), 1, "nothing of them is left");
	snprintf(blocked, sizeof(blocked), "%s/file", root);
	close(open(blocked, O_CREAT | O_WRONLY, 0600));
	snprintf(pair->resolve.save_to, sizeof(pair->resolve.save_to), "%s", blocked);
	ok(run(false) && !was_saved(), "a directory that is none");
	unlink(blocked);
	snprintf(vio.save_dir, sizeof(vio.save_dir), "/proc/nothing/here");
	ok(run(false) && !was_saved(), "one that cannot be made");
	close(vio.data_fd);
	close(io.cut_fd);
}

static uint64_t rng(void *arg)
{
	return random_next(arg);
}

static const uint8_t own_key[REPL_KEY_BYTES] = { 5 };

int main(void)
{
	char command[64];
	struct err e;

	seed = random_seed();
	need(mkdtemp(root), "a directory");
	need(!loop_init(&agent.loop, &e), e.text);
	core_init(&agent.core, "mail2", own_key, rng, &seed);
	snprintf(vio.save_dir, sizeof(vio.save_dir), "%s/a/b", root);
	open_pair();
	test_rounds();
	test_failures();
	core_exit(&agent.core);
	loop_exit(&agent.loop);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	need(!system(command), "tidying up");
	return tap_end();
}
