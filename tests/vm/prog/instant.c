// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * instant - frozen cuts of a volume that is being written.
 *
 *	instant write DEVICE BLOCKS SEED
 *		writes number 1, 2, 3, ... one after the other, each of one to four blocks somewhere in
 *		the first BLOCKS, until SIGTERM; then prints the last number
 *	instant read MINOR SLOT BACKING IMAGE BLOCKS HOLD_MS [PAUSE_US]
 *		reads a frozen cut, puts what is below BLOCKS into the file IMAGE, commits; prints "valid", or
 *		"void" and then takes the cut back
 *	instant check IMAGE BLOCKS SEED
 *		prints the number of the write after which the first BLOCKS were so, or fails
 *	instant cut MINOR SLOT HOLD_MS
 *		does what it reads line by line: read, release BLOCK COUNT, valid, commit, abort; answers with a line
 * link: static
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kernel.h"

enum { BLOCK = 4096, WRITE_MAX = 4, RUN_MAX = 256, DRAIN_MS = 60000 };

static uint8_t buffer[RUN_MAX * BLOCK] __attribute__((aligned(BLOCK)));
static volatile sig_atomic_t stopped;

static int fail(const char *what)
{
	fprintf(stderr, "instant: %s: %s\n", what, strerror(errno));
	return 1;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9;
	x ^= x >> 27;
	x *= 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* Where write @number goes. */
static void place(uint64_t seed, uint64_t number, uint64_t blocks, uint64_t *first, uint64_t *count)
{
	uint64_t random = mix(seed * 1000003 + number);

	*count = 1 + random % WRITE_MAX;
	*first = (random >> 8) % (blocks - *count + 1);
}

static void on_term(int signal)
{
	(void)signal;
	stopped = 1;
}

static int do_write(char **arg)
{
	uint64_t blocks = strtoull(arg[1], NULL, 0), seed = strtoull(arg[2], NULL, 0), number = 0;
	int fd = open(arg[0], O_WRONLY | O_DIRECT);

	if (fd < 0)
		return fail(arg[0]);
	signal(SIGTERM, on_term);
	while (!stopped) {
		uint64_t first, count, words[2];

		place(seed, ++number, blocks, &first, &count);
		for (uint64_t i = 0; i < count; i++) {
			words[0] = number;
			words[1] = first + i;
			for (size_t at = 0; at < BLOCK; at += sizeof(words))
				memcpy(buffer + i * BLOCK + at, words, sizeof(words));
		}
		if (pwrite(fd, buffer, count * BLOCK, (off_t)first * BLOCK) != (ssize_t)(count * BLOCK))
			return fail("write");
	}
	printf("%" PRIu64 "\n", number);
	return 0;
}

/* The number in a block, all of which must be of one write; 0: never written. */
static bool number_of(const uint8_t *block, uint64_t at, uint64_t *number)
{
	uint64_t words[2];

	memcpy(number, block, sizeof(*number));
	for (size_t i = 0; i < BLOCK; i += sizeof(words)) {
		memcpy(words, block + i, sizeof(words));
		if (words[0] != *number || words[1] != (*number ? at : 0))
			return false;
	}
	return true;
}

static int do_check(char **arg)
{
	uint64_t blocks = strtoull(arg[1], NULL, 0), seed = strtoull(arg[2], NULL, 0), last = 0;
	uint64_t *is = calloc(blocks, sizeof(*is)), *should = calloc(blocks, sizeof(*should));
	int fd = open(arg[0], O_RDONLY), wrong = 0;

	if (fd < 0 || !is || !should)
		return fail(arg[0]);
	for (uint64_t b = 0; b < blocks; b++) {
		if (pread(fd, buffer, BLOCK, (off_t)b * BLOCK) != BLOCK)
			return fail(arg[0]);
		if (!number_of(buffer, b, &is[b])) {
			fprintf(stderr, "block %" PRIu64 " is of two writes\n", b);
			wrong++;
		}
		if (is[b] > last)
			last = is[b];
	}
	for (uint64_t n = 1; n <= last; n++) {
		uint64_t first, count;

		place(seed, n, blocks, &first, &count);
		while (count--)
			should[first + count] = n;
	}
	for (uint64_t b = 0; b < blocks; b++) {
		if (is[b] == should[b])
			continue;
		fprintf(stderr, "block %" PRIu64 " is of write %" PRIu64 ", not of %" PRIu64 " as after write %" PRIu64 "\n",
			b, is[b], should[b], last);
		wrong++;
	}
	printf("%" PRIu64 "\n", last);
	return wrong ? 1 : 0;
}

/* Return: the descriptor of a frozen cut that is drained, or negative. */
static int open_cut(const char *minor, const char *slot, const char *hold_ms)
{
	struct err e = { "" };
	struct pollfd p = { .events = POLLIN };
	struct kernel *kernel;

	if (kernel_open(&kernel, &e)) {
		fprintf(stderr, "instant: %s\n", e.text);
		return -1;
	}
	p.fd = kernel_cut(kernel, (uint32_t)atoi(minor), (uint8_t)atoi(slot), REPL_CUT_FROZEN,
			  (uint32_t)atoi(hold_ms), &e);
	if (p.fd < 0)
		fprintf(stderr, "instant: %s\n", e.text);
	else if (poll(&p, 1, DRAIN_MS) != 1)
		p.fd = fail("drain");
	kernel_close(kernel);
	return p.fd;
}

static int copy(int from, int to, const struct repl_extent *extent, uint64_t blocks)
{
	for (uint64_t at = 0; at < extent->count; at += RUN_MAX) {
		uint64_t left = extent->count - at, first = extent->block + at;
		uint64_t now = left < RUN_MAX ? left : RUN_MAX;
		uint64_t kept = first >= blocks ? 0 : blocks - first < now ? blocks - first : now;

		if (pread(from, buffer, now * BLOCK, (off_t)first * BLOCK) != (ssize_t)(now * BLOCK))
			return fail("read");
		if (pwrite(to, buffer, kept * BLOCK, (off_t)first * BLOCK) != (ssize_t)(kept * BLOCK))
			return fail("image");
	}
	return 0;
}

static int do_read(char **arg)
{
	uint64_t blocks = strtoull(arg[4], NULL, 0);
	int cut = open_cut(arg[0], arg[1], arg[5]), from = open(arg[2], O_RDONLY | O_DIRECT);
	int to = open(arg[3], O_WRONLY | O_CREAT, 0600);
	struct err e = { "" };
	struct repl_extent extent;
	ssize_t n;

	if (cut < 0 || from < 0 || to < 0 || ftruncate(to, (off_t)blocks * BLOCK))
		return fail(arg[2]);
	while ((n = read(cut, &extent, sizeof(extent))) == sizeof(extent)) {
		if (copy(from, to, &extent, blocks))
			return 1;
		if (arg[6])
			usleep((useconds_t)atoi(arg[6]));
		if (kernel_cut_release(cut, &extent, &e))
			return fail("release");
	}
	if (n && errno != ETIMEDOUT)
		return fail("read of the cut");
	if (n || kernel_cut_valid(cut, &e)) {
		printf("void\n");
		return 0;
	}
	if (ioctl(cut, REPL_CUT_IOC_COMMIT))
		return fail("commit");
	printf("valid\n");
	return 0;
}

static void answer(int cut, const char *line)
{
	struct repl_extent extent;
	struct err e = { "" };
	ssize_t n = 0;

	if (!strncmp(line, "read", 4)) {
		n = read(cut, &extent, sizeof(extent));
		if (n == sizeof(extent)) {
			printf("%llu %llu\n", (unsigned long long)extent.block,
			       (unsigned long long)extent.count);
			return;
		}
	} else if (sscanf(line, "release %llu %llu", &extent.block, &extent.count) == 2) {
		n = kernel_cut_release(cut, &extent, &e);
	} else if (!strncmp(line, "valid", 5)) {
		n = kernel_cut_valid(cut, &e);
	} else if (!strncmp(line, "commit", 6)) {
		n = ioctl(cut, REPL_CUT_IOC_COMMIT);
	} else {
		n = ioctl(cut, REPL_CUT_IOC_ABORT);
	}
	printf("%s\n", n ? strerror(errno) : !strncmp(line, "read", 4) ? "end" : "ok");
}

static int do_cut(char **arg)
{
	int cut = open_cut(arg[0], arg[1], arg[2]);
	char line[128];

	if (cut < 0)
		return 1;
	printf("drained\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		answer(cut, line);
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "write"))
		return do_write(argv + 2);
	if (argc >= 8 && argc <= 9 && !strcmp(argv[1], "read"))
		return do_read(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "check"))
		return do_check(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "cut"))
		return do_cut(argv + 2);
	fprintf(stderr, "usage: see the head of tests/vm/prog/instant.c\n");
	return 2;
}
