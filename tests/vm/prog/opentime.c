// SPDX-License-Identifier: GPL-2.0-or-later
/* opentime DEVICE ro|rw - prints the errno's name of an open, and how long it took in microseconds. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int main(int argc, char **argv)
{
	struct timespec from, to;
	int fd;

	if (argc != 3)
		return 2;
	clock_gettime(CLOCK_MONOTONIC, &from);
	fd = open(argv[1], !strcmp(argv[2], "rw") ? O_RDWR : O_RDONLY);
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%s %lld\n", fd >= 0 ? "opened" : errno == EROFS ? "EROFS" : strerror(errno),
	       (to.tv_sec - from.tv_sec) * 1000000LL + (to.tv_nsec - from.tv_nsec) / 1000);
	return 0;
}
