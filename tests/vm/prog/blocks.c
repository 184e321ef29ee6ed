// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * blocks FROM TO - copies ranges between devices, past the page cache; on standard input "BLOCK COUNT" lines, in 4 KiB.
 * link: static
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 4096, AT_ONCE = 256 };

static void die(const char *what)
{
	fprintf(stderr, "blocks: %s: %s\n", what, strerror(errno));
	exit(1);
}

int main(int argc, char **argv)
{
	static char buffer[AT_ONCE * BLOCK] __attribute__((aligned(BLOCK)));
	unsigned long long block, count;
	int from, to;

	if (argc != 3)
		die("give FROM TO");
	from = open(argv[1], O_RDONLY | O_DIRECT);
	if (from < 0)
		die(argv[1]);
	to = open(argv[2], O_WRONLY | O_DIRECT);
	if (to < 0)
		die(argv[2]);
	while (scanf("%llu %llu", &block, &count) == 2) {
		while (count) {
			size_t now = count < AT_ONCE ? (size_t)count : AT_ONCE;
			off_t at = (off_t)block * BLOCK;

			if (pread(from, buffer, now * BLOCK, at) != (ssize_t)(now * BLOCK))
				die(argv[1]);
			if (pwrite(to, buffer, now * BLOCK, at) != (ssize_t)(now * BLOCK))
				die(argv[2]);
			block += now;
			count -= now;
		}
	}
	return 0;
}
