// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * newer DEVICE version|features|flags - commit the superblock once, as a newer format would
 *
 * The copy that does not count is written, with a higher sequence number, and with something
 * in the field named that nobody knows yet.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/fs.h>
#include <unistd.h>
#include "super.h"

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "newer: %s: %s\n", what, strerror(errno));
	exit(1);
}

int main(int argc, char **argv)
{
	static struct repl_super copy[REPL_SB_COPIES];
	struct err e = { 0 };
	uint64_t size, end;
	int fd, chosen;

	if (argc != 3)
		return 2;
	fd = open(argv[1], O_RDWR | O_EXCL);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size))
		die(argv[1]);
	end = size / REPL_META_ALIGN * REPL_META_ALIGN;
	for (unsigned int i = 0; i < REPL_SB_COPIES; i++)
		if (pread(fd, &copy[i], sizeof(copy[i]), (off_t)super_copy_offset(end, i)) != sizeof(copy[i]))
			die("read");
	chosen = super_choose(copy, &e);
	if (chosen < 0) {
		fprintf(stderr, "newer: %s\n", e.text);
		return 1;
	}
	copy[!chosen] = copy[chosen];
	copy[!chosen].sequence = htole64(le64toh(copy[chosen].sequence) + 1);
	if (!strcmp(argv[2], "version"))
		copy[!chosen].version = htole32(REPL_FORMAT_VERSION + 1);
	else if (!strcmp(argv[2], "features"))
		copy[!chosen].features = htole64(1ULL << 63);
	else
		copy[!chosen].flags |= htole32(1U << 31);
	super_seal(&copy[!chosen]);
	if (pwrite(fd, &copy[!chosen], sizeof(copy[0]), (off_t)super_copy_offset(end, (unsigned int)!chosen)) !=
	    sizeof(copy[0]) || fsync(fd) || close(fd))
		die("write");
	return 0;
}
