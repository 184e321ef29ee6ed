// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writes that are numbered, each complete before the next begins, so that any past state of a device is all of
 * them up to one.  link: static
 *
 *	ordered write DEVICE BLOCKS FROM COUNT	write FROM, FROM + 1, ...
 *	ordered check DEVICE BLOCKS		is it all writes up to one?  prints the number of that
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 4096 };

/* Where write n goes: a multiplicative hash, so that no block is far from its last write. */
static uint64_t place(uint64_t n, uint64_t blocks)
{
	return (n * 0x9e3779b97f4a7c15ULL >> 20) % blocks;
}

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int write_all(int fd, uint64_t blocks, uint64_t from, uint64_t count, uint64_t *buffer)
{
	for (uint64_t n = from; n < from + count; n++) {
		for (unsigned int i = 0; i < BLOCK / 8; i++)
			buffer[i] = n;
		if (pwrite(fd, buffer, BLOCK, (off_t)(place(n, blocks) * BLOCK)) != BLOCK)
			return fail("write");
	}
	return fsync(fd) ? fail("fsync") : 0;
}

static int check(int fd, uint64_t blocks, uint64_t *buffer)
{
	uint64_t *found = calloc(blocks, 8), *want = calloc(blocks, 8), newest = 0;

	if (!found || !want)
		return fail("memory");
	for (uint64_t b = 0; b < blocks; b++) {
		if (pread(fd, buffer, BLOCK, (off_t)(b * BLOCK)) != BLOCK)
			return fail("read");
		found[b] = buffer[0];
		for (unsigned int i = 1; i < BLOCK / 8; i++) {
			if (buffer[i] == buffer[0])
				continue;
			fprintf(stderr, "block %llu is torn\n", (unsigned long long)b);
			return 1;
		}
		if (found[b] > newest)
			newest = found[b];
	}
	for (uint64_t n = 1; n <= newest; n++)
		want[place(n, blocks)] = n;
	for (uint64_t b = 0; b < blocks; b++) {
		if (found[b] == want[b])
			continue;
		fprintf(stderr, "block %llu has write %llu, but at write %llu it had %llu\n",
			(unsigned long long)b, (unsigned long long)found[b], (unsigned long long)newest,
			(unsigned long long)want[b]);
		return 1;
	}
	printf("%llu\n", (unsigned long long)newest);
	return 0;
}

int main(int argc, char **argv)
{
	int writes = argc == 6 && !strcmp(argv[1], "write");
	uint64_t *buffer = aligned_alloc(BLOCK, BLOCK);
	int fd;

	if (!writes && (argc != 4 || strcmp(argv[1], "check"))) {
		fprintf(stderr, "give write DEVICE BLOCKS FROM COUNT, or check DEVICE BLOCKS\n");
		return 2;
	}
	fd = open(argv[2], (writes ? O_WRONLY : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || !buffer)
		return fail(argv[2]);
	if (writes)
		return write_all(fd, strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10),
				 strtoull(argv[5], NULL, 10), buffer);
	return check(fd, strtoull(argv[3], NULL, 10), buffer);
}
