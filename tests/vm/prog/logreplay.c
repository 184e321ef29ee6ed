// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * logreplay - what a disk holds when the power fails between two writes.
 *
 *	logreplay LOG DEVICE COUNT	carry out the first COUNT writes that dm-log-writes has logged
 *
 * The log's layout is that of the kernel's dm-log-writes target, version 1.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_MAGIC 0x6a736677736872ULL

enum { FLAG_DISCARD = 1 << 2, FLAG_MARK = 1 << 3, CHUNK = 1 << 20 };

struct log_super {
	uint64_t magic, version, entries;
	uint32_t sector_bytes;
} __attribute__((packed));

struct log_entry {
	uint64_t sector, sectors, flags, data_bytes;
} __attribute__((packed));

static int fail(const char *what)
{
	fprintf(stderr, "logreplay: %s: %s\n", what, errno ? strerror(errno) : "not as expected");
	return 1;
}

static int copy(int from, int to, uint64_t at, uint64_t offset, uint64_t bytes)
{
	static char buffer[CHUNK];

	while (bytes) {
		size_t now = bytes < CHUNK ? bytes : CHUNK;

		if (pread(from, buffer, now, (off_t)at) != (ssize_t)now ||
		    pwrite(to, buffer, now, (off_t)offset) != (ssize_t)now)
			return -1;
		at += now;
		offset += now;
		bytes -= now;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct log_super super;
	struct log_entry e;
	uint64_t at, sector;
	int log, device;

	if (argc != 4)
		return 2;
	log = open(argv[1], O_RDONLY | O_CLOEXEC);
	device = open(argv[2], O_WRONLY | O_CLOEXEC);
	if (log < 0 || device < 0 || pread(log, &super, sizeof(super), 0) != sizeof(super))
		return fail("open");
	errno = 0;
	sector = le32toh(super.sector_bytes);
	if (le64toh(super.magic) != LOG_MAGIC || le64toh(super.version) != 1 || !sector)
		return fail("the log");
	if (le64toh(super.entries) < strtoull(argv[3], NULL, 0))
		return fail("the log is shorter");
	at = sector;
	for (uint64_t left = strtoull(argv[3], NULL, 0); left; left--) {
		uint64_t bytes;

		if (pread(log, &e, sizeof(e), (off_t)at) != sizeof(e))
			return fail("an entry");
		at += sector;
		bytes = le64toh(e.sectors) * sector;
		if (le64toh(e.flags) & (FLAG_DISCARD | FLAG_MARK))
			continue;
		if (copy(log, device, at, le64toh(e.sector) * sector, bytes))
			return fail("a write");
		at += bytes;
	}
	return fsync(device) ? fail("sync") : 0;
}
