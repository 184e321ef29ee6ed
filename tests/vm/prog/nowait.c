// SPDX-License-Identifier: GPL-2.0-or-later
/* nowait DEVICE - writes a block of zeroes that may not wait, and prints the errno's words, or "written". */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum { BYTES = 4096 };

int main(int argc, char **argv)
{
	struct iovec iov = { .iov_base = aligned_alloc(BYTES, BYTES), .iov_len = BYTES };
	int fd = argc == 2 ? open(argv[1], O_RDWR | O_DIRECT) : -1;

	if (fd < 0 || !iov.iov_base)
		return 2;
	memset(iov.iov_base, 0, BYTES);
	printf("%s\n", pwritev2(fd, &iov, 1, 0, RWF_NOWAIT) < 0 ? strerror(errno) : "written");
	return 0;
}
