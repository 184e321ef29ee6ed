// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A load whose every byte follows from a seed, and that says in the log of crash_disk what has been
 * acknowledged: "ack THREAD OPERATION", after the fsync of that operation has returned.
 *
 *	crashload mail DIR SEED THREADS STATE		deliver mail until the file STATE.stop is there
 *	crashload raw DEVICE SEED THREADS STATE		write blocks of a device, O_DIRECT
 *	crashload verify-mail DIR SEED ACKED...		the last acknowledged operation of each thread
 *	crashload verify-raw DEVICE SEED ACKED...
 *
 * Each thread goes on where STATE.THREAD says that the last run has ended.
 *
 * Mail, operation i of a thread: write a new file under another name, fsync it, rename it, delete an old one,
 * fsync the directory, overwrite a record of the index, fdatasync that.  After the acknowledgement the last
 * KEEP files are there and older ones are not.
 *
 * Raw: each thread has a part of the device; operation i writes a few blocks that each name i, and every fourth
 * one ends with an fdatasync and is acknowledged.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../crash/load.h"

enum {
	KEEP		= 10,
	MAIL_MAX	= 48 << 10,
	RECORDS		= 32,
	RECORD_BYTES	= 64,
	RAW_SYNC	= 4,
	PAUSE_US	= 200000,
};

static struct load me;
static unsigned int failures;

static void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

static void die(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	fputs("crashload: ", stderr);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, ": %s\n", strerror(err));
	va_end(ap);
	exit(1);
}

static void wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void wrong(const char *fmt, ...)
{
	va_list ap;

	if (failures++ > 10)
		return;
	va_start(ap, fmt);
	printf("thread %u: ", me.thread);
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
}

static void acknowledge(int64_t op)
{
	static int fd = -1;
	char text[64];
	int n;

	if (fd < 0)
		fd = open("/dev/crash", O_WRONLY | O_CLOEXEC);
	n = snprintf(text, sizeof(text), "ack %u %" PRId64, me.thread, op);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		die("/dev/crash");
}

/* As mail comes; so that regions come to rest while the load runs, and the log stays small. */
static void pause_after(int64_t op)
{
	usleep((useconds_t)(load_draw(&me, op, 4) % PAUSE_US));
}

static int64_t state_read(const char *state)
{
	char name[256];
	int64_t op = 0;
	FILE *f;

	snprintf(name, sizeof(name), "%s.%u", state, me.thread);
	f = fopen(name, "r");
	if (f && fscanf(f, "%" SCNd64, &op) != 1)
		die("%s", name);
	if (f)
		fclose(f);
	return op;
}

static void state_write(const char *state, int64_t op)
{
	char name[256];
	FILE *f;

	snprintf(name, sizeof(name), "%s.%u", state, me.thread);
	f = fopen(name, "w");
	if (!f || fprintf(f, "%" PRId64 "\n", op) < 0 || fclose(f))
		die("%s", name);
}

static bool stopped(const char *state)
{
	char name[256];

	snprintf(name, sizeof(name), "%s.stop", state);
	return !access(name, F_OK);
}

/* ----------------------------------------------------------------- mail -- */

static size_t mail_bytes(int64_t op)
{
	uint64_t r = load_draw(&me, op, 1);

	/* Mostly small. */
	return (r % 4 ? 64 + (r >> 8) % 4000 : 64 + (r >> 8) % (MAIL_MAX - 64)) & ~7ULL;
}

static void mail_name(char name[64], int64_t op)
{
	snprintf(name, 64, "%u/%" PRId64, me.thread, op);
}

static void mail_deliver(int64_t op)
{
	static uint64_t data[MAIL_MAX / 8];
	size_t bytes = mail_bytes(op);
	char tmp[64], name[64];
	int fd;

	snprintf(tmp, sizeof(tmp), "%u/tmp", me.thread);
	mail_name(name, op);
	load_fill(&me, data, bytes, op, 2);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes || fsync(fd) || close(fd))
		die("%s", name);
	if (rename(tmp, name))
		die("rename to %s", name);
	mail_name(name, op - KEEP);
	if (unlink(name) && errno != ENOENT)
		die("unlink %s", name);
}

static void mail_operate(int dir, int index, int64_t op)
{
	uint64_t record[RECORD_BYTES / 8];

	mail_deliver(op);
	if (fsync(dir))
		die("fsync of a directory");
	record[0] = (uint64_t)op;
	load_fill(&me, record + 1, sizeof(record) - 8, op, 3);
	if (pwrite(index, record, sizeof(record), op % RECORDS * RECORD_BYTES) != sizeof(record) || fdatasync(index))
		die("the index");
	acknowledge(op);
}

static void mail_run(const char *state)
{
	int64_t op = state_read(state);
	char name[64];
	int dir, index;

	snprintf(name, sizeof(name), "%u", me.thread);
	if (mkdir(name, 0755) && errno != EEXIST)
		die("mkdir %s", name);
	dir = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	index = openat(dir, "index", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (dir < 0 || index < 0)
		die("%s", name);
	/* Known to be there from the first acknowledgement on. */
	sync();
	for (; !stopped(state); op++) {
		mail_operate(dir, index, op);
		pause_after(op);
	}
	state_write(state, op);
}

static void mail_verify_file(int64_t op, bool needed)
{
	static uint64_t want[MAIL_MAX / 8], got[MAIL_MAX / 8 + 1];
	size_t bytes = mail_bytes(op);
	char name[64];
	ssize_t n;
	int fd;

	mail_name(name, op);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && !needed)
		return;
	if (fd < 0) {
		wrong("%s: %s", name, strerror(errno));
		return;
	}
	n = read(fd, got, sizeof(got));
	close(fd);
	load_fill(&me, want, bytes, op, 2);
	if (n != (ssize_t)bytes)
		wrong("%s has %zd bytes, not %zu", name, n, bytes);
	else if (memcmp(want, got, bytes))
		wrong("%s has another content", name);
}

/* Each record is that of the last acknowledged operation with its place, or of the one after the last. */
static void mail_verify_index(int64_t acked)
{
	uint64_t want[RECORD_BYTES / 8], got[RECORD_BYTES / 8];
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "%u/index", me.thread);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	for (int64_t op = acked; op >= 0 && op > acked - RECORDS + 1; op--) {
		if (pread(fd, got, sizeof(got), op % RECORDS * RECORD_BYTES) != sizeof(got)) {
			wrong("%s cannot be read at %" PRId64, name, op);
			break;
		}
		want[0] = (uint64_t)op;
		load_fill(&me, want + 1, sizeof(want) - 8, op, 3);
		if (memcmp(want, got, sizeof(want)))
			wrong("%s lacks record %" PRId64, name, op);
	}
	close(fd);
}

static void mail_verify(int64_t acked)
{
	char name[64];

	if (acked < 0)
		return;
	/* Of the next operation anything up to all of it may be there. */
	for (int64_t op = acked + 1; op >= 0 && op > acked - KEEP; op--)
		mail_verify_file(op, op <= acked && op > acked + 1 - KEEP);
	mail_name(name, acked - KEEP);
	if (acked >= KEEP && !access(name, F_OK))
		wrong("%s is there again", name);
	mail_verify_index(acked);
}

/* ------------------------------------------------------------------ raw -- */

static void raw_part(int fd, unsigned int threads)
{
	uint64_t bytes;

	if (ioctl(fd, BLKGETSIZE64, &bytes))
		die("the size");
	load_raw_part(&me, bytes, threads);
}

static void raw_run(const char *device, unsigned int threads, const char *state)
{
	int fd = open(device, O_RDWR | O_DIRECT | O_CLOEXEC);
	uint64_t *data, first, count, sector;
	int64_t op = state_read(state);
	ssize_t bytes;

	if (fd < 0 || posix_memalign((void **)&data, LOAD_BLOCK, LOAD_BLOCKS_MAX * LOAD_BLOCK))
		die("%s", device);
	raw_part(fd, threads);
	for (; !stopped(state); op++) {
		load_raw_range(&me, op, &first, &count);
		sector = first * LOAD_BLOCK / LOAD_SECTOR;
		bytes = (ssize_t)count * LOAD_BLOCK;
		for (uint64_t s = 0; s < (uint64_t)bytes / LOAD_SECTOR; s++)
			load_raw_sector(&me, data + s * LOAD_SECTOR / 8, sector + s, op);
		if (pwrite(fd, data, (size_t)bytes, (off_t)first * LOAD_BLOCK) != bytes)
			die("%s", device);
		pause_after(op);
		if (op % RAW_SYNC != RAW_SYNC - 1)
			continue;
		if (fdatasync(fd))
			die("%s", device);
		acknowledge(op);
	}
	state_write(state, op);
}

static void raw_verify(const char *device, unsigned int threads, int64_t acked)
{
	int fd = open(device, O_RDONLY | O_DIRECT | O_CLOEXEC);
	uint64_t bytes, sector;
	const char *what;
	int64_t *least;
	uint8_t *data;

	if (acked < 0)
		return;
	if (fd < 0)
		die("%s", device);
	raw_part(fd, threads);
	bytes = me.blocks * LOAD_BLOCK;
	sector = me.first * LOAD_BLOCK / LOAD_SECTOR;
	least = malloc(me.blocks * sizeof(*least));
	if (!least || posix_memalign((void **)&data, LOAD_BLOCK, bytes))
		die("memory");
	load_raw_least(&me, least, acked);
	if (pread(fd, data, bytes, (off_t)me.first * LOAD_BLOCK) != (ssize_t)bytes)
		die("reading %s", device);
	for (uint64_t s = 0; s < bytes / LOAD_SECTOR; s++) {
		what = load_raw_check(&me, data + s * LOAD_SECTOR, sector + s, least[s * LOAD_SECTOR / LOAD_BLOCK]);
		if (what)
			wrong("sector %" PRIu64 " %s", sector + s, what);
	}
	close(fd);
	free(data);
	free(least);
}

/* ----------------------------------------------------------------- main -- */

static int run(bool mail, const char *where, unsigned int threads, const char *state)
{
	int status, failed = 0;

	for (me.thread = 0; me.thread < threads; me.thread++) {
		if (fork())
			continue;
		if (mail)
			mail_run(state);
		else
			raw_run(where, threads, state);
		exit(0);
	}
	while (wait(&status) > 0)
		failed |= status;
	return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
	bool mail, verify;

	if (argc < 5)
		return 2;
	verify = !strncmp(argv[1], "verify-", 7);
	mail = strstr(argv[1], "mail");
	me.seed = strtoull(argv[3], NULL, 10);
	if (mail && chdir(argv[2]))
		die("%s", argv[2]);
	if (!verify)
		return argc == 6 ? run(mail, argv[2], (unsigned int)atoi(argv[4]), argv[5]) : 2;
	for (me.thread = 0; me.thread < (unsigned int)argc - 4; me.thread++) {
		if (mail)
			mail_verify(atoll(argv[4 + me.thread]));
		else
			raw_verify(argv[2], (unsigned int)argc - 4, atoll(argv[4 + me.thread]));
	}
	return failures ? 1 : 0;
}
