// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * stable FILE - changes a page through a mapping while it is on its way to a disk that stands still.
 *
 * Once "written" is printed, its writing has begun.  What comes on standard input then lets the page be changed: "waits"
 * when that has to wait, "changed" when not.  FILE has at least a page, on stable media.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 4096, SECONDS = 2 };

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDWR) : -1, status;
	volatile char *page = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pid_t child;

	if (page == MAP_FAILED)
		return 2;
	page[0]++;
	if (sync_file_range(fd, 0, BYTES, SYNC_FILE_RANGE_WRITE))
		return 2;
	printf("written\n");
	fflush(stdout);
	getchar();
	/* A store that waits for the page ends with the disk only: not even a signal ends it before. */
	child = fork();
	if (!child) {
		page[1]++;
		_exit(0);
	}
	for (int i = 0; i < SECONDS * 10; i++) {
		if (waitpid(child, &status, WNOHANG)) {
			printf("changed\n");
			return 0;
		}
		usleep(100000);
	}
	printf("waits\n");
	fflush(stdout);
	waitpid(child, &status, 0);
	return 0;
}
