// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * same DEVICE DEVICE BYTES [DOUBTS] - whether the two begin with the same BYTES, a multiple of 4096, as they are on the
 * devices and not in a page cache. Exit code 1: they do not, and it says where. DOUBTS is a file of "BLOCK COUNT" lines:
 * those blocks may differ. An emulated processor compares ten times as fast as it digests.
 * link: static
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 1 << 20, BLOCK = 4096 };

static char *piece[2], *doubted;
static int fd[2];

static void look(const char *const name[2], off_t at, size_t length)
{
	for (int i = 0; i < 2; i++) {
		ssize_t n = pread(fd[i], piece[i], length, at);

		if (n == (ssize_t)length)
			continue;
		fprintf(stderr, "same: %s: %s at byte %lld\n", name[i], n < 0 ? strerror(errno) : "it ends",
			(long long)at);
		exit(2);
	}
}

static int differs(const char *const name[2], off_t at, size_t length)
{
	size_t i;

	if (!memcmp(piece[0], piece[1], length))
		return 0;
	for (i = 0; i < length; i += BLOCK) {
		off_t block = (at + (off_t)i) / BLOCK;

		if ((doubted && doubted[block]) || !memcmp(piece[0] + i, piece[1] + i, BLOCK))
			continue;
		printf("%s and %s differ in block %lld\n", name[0], name[1], (long long)block);
		return 1;
	}
	return 0;
}

static void read_doubts(const char *path, off_t bytes)
{
	unsigned long long block, count, blocks = (unsigned long long)bytes / BLOCK;
	FILE *file = fopen(path, "r");

	doubted = calloc(1, blocks);
	if (!file || !doubted) {
		fprintf(stderr, "same: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	while (fscanf(file, "%llu %llu", &block, &count) == 2)
		for (; count && block < blocks; block++, count--)
			doubted[block] = 1;
	fclose(file);
}

int main(int argc, char **argv)
{
	const char *const name[2] = { argc > 3 ? argv[1] : NULL, argc > 3 ? argv[2] : NULL };
	off_t at, bytes = argc > 3 ? strtoll(argv[3], NULL, 10) : 0;
	size_t length;

	if (bytes <= 0 || bytes % BLOCK) {
		fprintf(stderr, "give DEVICE DEVICE BYTES [DOUBTS]\n");
		return 2;
	}
	if (argc > 4)
		read_doubts(argv[4], bytes);
	for (int i = 0; i < 2; i++) {
		fd[i] = open(name[i], O_RDONLY | O_DIRECT | O_CLOEXEC);
		piece[i] = aligned_alloc(BLOCK, PIECE);
		if (fd[i] < 0 || !piece[i]) {
			fprintf(stderr, "same: %s: %s\n", name[i], strerror(errno));
			return 2;
		}
	}
	for (at = 0; at < bytes; at += (off_t)length) {
		length = bytes - at < PIECE ? (size_t)(bytes - at) : PIECE;
		look(name, at, length);
		if (differs(name, at, length))
			return 1;
	}
	return 0;
}
