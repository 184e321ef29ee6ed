// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * logreplay - what a disk holds when the power fails between two writes.
 *
 *	logreplay LOG DEVICE COUNT	carry out the first COUNT writes that dm-log-writes has logged
 *	logreplay LOG			how many FUA writes it has logged
 *
 * The log's layout is that of the kernel's dm-log-writes target, version 1.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_MAGIC 0x6a736677736872ULL

enum { FLAG_FUA = 1 << 1, FLAG_DISCARD = 1 << 2, FLAG_MARK = 1 << 3, CHUNK = 1 << 20 };

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
	uint64_t at, sector, left, fua = 0;
	struct log_super super;
	struct log_entry e;
	int log, device = -1;
	bool counts = argc == 2;

	if (argc != 4 && !counts)
		return 2;
	log = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (!counts)
		device = open(argv[2], O_WRONLY | O_CLOEXEC);
	if (log < 0 || (!counts && device < 0) || pread(log, &super, sizeof(super), 0) != sizeof(super))
		return fail("open");
	errno = 0;
	sector = le32toh(super.sector_bytes);
	if (le64toh(super.magic) != LOG_MAGIC || le64toh(super.version) != 1 || !sector)
		return fail("the log");
	left = counts ? le64toh(super.entries) : strtoull(argv[3], NULL, 0);
	if (le64toh(super.entries) < left)
		return fail("the log is shorter");
	for (at = sector; left; left--) {
		uint64_t bytes;

		if (pread(log, &e, sizeof(e), (off_t)at) != sizeof(e))
			return fail("an entry");
		at += sector;
		bytes = le64toh(e.sectors) * sector;
		if (le64toh(e.flags) & (FLAG_DISCARD | FLAG_MARK))
			continue;
		fua += !!(le64toh(e.flags) & FLAG_FUA);
		if (!counts && copy(log, device, at, le64toh(e.sector) * sector, bytes))
			return fail("a write");
		at += bytes;
	}
	if (!counts)
		return fsync(device) ? fail("sync") : 0;
	printf("%llu\n", (unsigned long long)fua);
	return 0;
}
