// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From a cut, played by a list, and a device, played by a file, into a stream: all of it,
 * in whatever order the cut says, and each block given free once, after it was read.
 * needs: userspace/ctl/pump.c
 */
#include "pump.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "id.h"
#include "tap.h"

enum { SIZE = (24 << 20) - 1024, BLOCKS = (SIZE + 4095) / 4096, EXTENTS_MAX = 4096 };

static uint8_t device[BLOCKS * REPL_BLOCK_BYTES], restored[sizeof(device)];
static struct repl_extent list[EXTENTS_MAX];
static unsigned int count, at;
static bool dirty[BLOCKS];
static unsigned int freed[BLOCKS];
static unsigned int callers;		/* of next() at a time */
static int next_error, release_error;	/* at the last extent */
static bool spoil;			/* what was given free is written over at once */
static uint64_t told, seed;
static int device_fd;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int file_of(const void *bytes, size_t length)
{
	char path[] = "/tmp/test_pump.XXXXXX";
	int fd = mkstemp(path);

	need(fd >= 0 && !unlink(path) && pwrite(fd, bytes, length, 0) == (ssize_t)length, "a file");
	return fd;
}

static int next(void *arg, struct repl_extent *extent, struct err *e)
{
	int ret = at < count;

	(void)arg;
	need(!__atomic_fetch_add(&callers, 1, __ATOMIC_SEQ_CST), "one asks at a time");
	if (next_error && at + 1 >= count)
		ret = err_set(e, next_error, "no more is to be had");
	else if (ret)
		*extent = list[at++];
	__atomic_fetch_sub(&callers, 1, __ATOMIC_SEQ_CST);
	return ret;
}

static int release(void *arg, const struct repl_extent *extent, struct err *e)
{
	static const uint8_t rubbish[REPL_BLOCK_BYTES] = { 0xdb };
	int ret = 0;

	(void)arg;
	pthread_mutex_lock(&lock);
	for (uint64_t b = extent->block; b < extent->block + extent->count; b++) {
		freed[b]++;
		if (spoil)
			need(pwrite(device_fd, rubbish, sizeof(rubbish), (off_t)(b << 12)) > 0, "a write");
	}
	if (release_error && at >= count)
		ret = err_set(e, release_error, "it does not let go");
	pthread_mutex_unlock(&lock);
	return ret;
}

static void wrote(void *arg, uint64_t bytes)
{
	(void)arg;
	told += bytes;
}

/* Extents of up to @most blocks, shuffled; @all: of the whole volume. */
static void fill(unsigned int most, bool all)
{
	uint64_t b = 0;

	memset(dirty, 0, sizeof(dirty));
	memset(freed, 0, sizeof(freed));
	memset(device, 0, sizeof(device));
	told = 0;
	count = at = 0;
	for (size_t i = 0; i < BLOCKS; i++)
		if (random_below(&seed, 3))
			memset(device + i * 4096, (int)random_below(&seed, 255) + 1, 4096);
	while (b < BLOCKS && count < EXTENTS_MAX) {
		uint64_t n = 1 + random_below(&seed, most);

		n = n < BLOCKS - b ? n : BLOCKS - b;
		if (all || random_below(&seed, 2)) {
			list[count++] = (struct repl_extent){ b, n };
			memset(dirty + b, true, n);
		}
		b += n;
	}
	for (unsigned int i = count; i > 1; i--) {
		unsigned int j = (unsigned int)random_below(&seed, i);
		struct repl_extent x = list[j];

		list[j] = list[i - 1];
		list[i - 1] = x;
	}
	device_fd = file_of(device, sizeof(device));
}

static int run(int out_fd, uint32_t kind, struct err *e)
{
	struct stream_info info = {
		.kind = kind, .features = REPL_STREAM_ANY_ORDER, .stream_id = id_random(),
		.data_size = SIZE, .lbs_shift = 10,
	};
	struct pump p = {
		.data_fd = device_fd, .size = SIZE, .next = next, .release = release, .wrote = wrote,
	};
	int ret;

	e->text[0] = '\0';
	p.out = stream_file_new(out_fd, "the output", &info, e);
	need(p.out, "a stream");
	ret = pump_run(&p, e);
	if (!ret)
		ret = stream_file_end(p.out, e);
	stream_file_free(p.out);
	close(device_fd);
	return ret;
}

/* Return: whether the file is a whole stream, with exactly the dirty blocks. */
static bool decodes(int fd)
{
	struct stream_in *s = stream_in_new();
	uint8_t *buffer = malloc(STREAM_WANT_MAX);
	struct stream_item item;
	struct err e = { "" };
	bool good = true;
	size_t want;

	memset(restored, 0xee, sizeof(restored));
	lseek(fd, 0, SEEK_SET);
	while (good && (want = stream_in_want(s))) {
		good = read(fd, buffer, want) == (ssize_t)want && !stream_in_take(s, buffer, &item, &e);
		if (good && item.kind == STREAM_DATA)
			memcpy(restored + item.offset, item.data, item.length);
		if (good && item.kind == STREAM_ZEROS)
			memset(restored + item.offset, 0, item.length);
	}
	for (size_t i = 0; good && i < SIZE; i++)
		good = restored[i] == (dirty[i / 4096] ? device[i] : 0xee);
	if (e.text[0])
		printf("# %s\n", e.text);
	free(buffer);
	stream_in_free(s);
	return good;
}

static bool each_freed_once(void)
{
	for (unsigned int b = 0; b < BLOCKS; b++)
		if (freed[b] != dirty[b])
			return false;
	return true;
}

static void *drain(void *arg)
{
	static char buffer[1 << 16];
	int *fd = arg;

	while (read(fd[0], buffer, sizeof(buffer)) > 0)
		usleep(20);
	return NULL;
}

static void test_whole(void)
{
	bool same = true, once = true, all_told = true;
	struct err e;

	for (int round = 0; round < 6; round++) {
		int out = file_of("", 0);

		fill(round % 2 ? 3 : 900, round % 3 == 0);
		spoil = round >= 3;
		need(!run(out, round % 3 ? REPL_STREAM_CHANGES : REPL_STREAM_FULL, &e), e.text);
		same &= decodes(out);
		once &= each_freed_once();
		all_told &= told > 0 && told <= SIZE;
		close(out);
	}
	spoil = false;
	ok(same, "what the cut names is in the stream, whatever the order, and nothing else");
	ok(once, "each block is given free once, and was read before it is written over");
	ok(all_told, "how far it is, is told");
	fill(10, false);
	count = 0;
	memset(dirty, 0, sizeof(dirty));
	int out = file_of("", 0);

	ok(!run(out, REPL_STREAM_CHANGES, &e) && decodes(out), "a cut without a block is a stream, too");
	close(out);
}

static void test_errors(void)
{
	struct err e;
	int out = file_of("", 0), full = open("/dev/full", O_WRONLY);

	fill(100, true);
	next_error = EIO;
	ok(run(out, REPL_STREAM_FULL, &e) == -EIO && strstr(e.text, "no more"), "a cut that fails: %s", e.text);
	next_error = 0;
	fill(100, true);
	release_error = EBADF;
	ok(run(out, REPL_STREAM_FULL, &e) == -EBADF && strstr(e.text, "let go"), "a release that fails: %s",
	   e.text);
	release_error = 0;
	fill(100, true);
	need(!ftruncate(device_fd, SIZE / 2), "a short device");
	ok(run(out, REPL_STREAM_FULL, &e) == -EIO && strstr(e.text, "cannot be read at byte"),
	   "a device that fails: %s", e.text);
	fill(100, true);
	list[count / 2].block = BLOCKS;
	ok(run(out, REPL_STREAM_FULL, &e) == -EINVAL && strstr(e.text, "beyond"), "a block that is none: %s",
	   e.text);
	fill(100, true);
	list[count - 1] = list[0];
	ok(run(out, REPL_STREAM_FULL, &e) == -EINVAL, "a block that comes twice: %s", e.text);
	if (full >= 0) {
		struct stream_info info = { .kind = REPL_STREAM_FULL, .data_size = SIZE, .lbs_shift = 10 };

		ok(!stream_file_new(full, "the disk", &info, &e) && strstr(e.text, "the disk: No space"),
		   "an output that is full: %s", e.text);
		close(full);
	}
	close(out);
}

/* Nobody takes what is written for a while, then somebody does, slowly, then nobody any more. */
static void test_slow(void)
{
	pthread_t thread;
	struct err e;
	int fd[2];

	need(!pipe(fd), "a pipe");
	fill(100, true);
	need(!pthread_create(&thread, NULL, drain, fd), "a thread");
	ok(!run(fd[1], REPL_STREAM_FULL, &e), "a slow pipe gets all of it");
	close(fd[1]);
	pthread_join(thread, NULL);
	close(fd[0]);
	ok(each_freed_once(), "and every block was given free");
}

int main(void)
{
	seed = random_seed();
	test_whole();
	test_errors();
	test_slow();
	return tap_end();
}
