// SPDX-License-Identifier: GPL-2.0-or-later
/* innet NETNS COMMAND [ARG...] - as nsenter --net=NETNS. link: static */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int net = argc > 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;

	if (net < 0 || setns(net, CLONE_NEWNET)) {
		fprintf(stderr, "innet: %s: %s\n", argc > 1 ? argv[1] : "NETNS", strerror(errno));
		return 125;
	}
	execvp(argv[2], argv + 2);
	fprintf(stderr, "innet: %s: %s\n", argv[2], strerror(errno));
	return errno == ENOENT ? 127 : 126;
}
