// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * relay - pass TCP connections on, until so many bytes have gone one way: then all of them are reset.
 *
 *	relay serve FILE WAY IP PORT TO_IP TO_PORT	what the one who connects sends goes this WAY (0 or 1)
 *	relay arm FILE WAY BYTES	reset once, after so many more bytes this way
 *	relay cut FILE			reset now
 *	relay left FILE			bytes to go both ways, -1: not armed
 *
 * Those that name the same FILE belong together: they count together, and are reset together.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CHUNK		= 64 << 10,
	LOOK_MS		= 20,	/* how long a reset somewhere else goes unnoticed */
	WRITE_MS	= 1000,
};

struct shared {
	atomic_long left[2];	/* bytes until the reset; -1: not armed */
	atomic_uint resets;
};

struct connection {
	int fd[2];		/* of the one who has connected, of the one he wanted */
	unsigned int resets;	/* as they were when it began */
};

static struct shared *shared;
static unsigned int way;
static struct sockaddr_in target = { .sin_family = AF_INET };

static void __attribute__((noreturn)) die(const char *what)
{
	perror(what);
	exit(1);
}

static void open_shared(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct shared fresh;
	bool empty;

	if (fd < 0)
		die(path);
	empty = lseek(fd, 0, SEEK_END) == 0;
	if (empty) {
		memset(&fresh, 0, sizeof(fresh));
		atomic_init(&fresh.left[0], -1);
		atomic_init(&fresh.left[1], -1);
		if (pwrite(fd, &fresh, sizeof(fresh), 0) != sizeof(fresh))
			die(path);
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED)
		die(path);
	close(fd);
}

/* How many of these bytes may pass; fewer, and they are the last ones. */
static ssize_t allowed(unsigned int to, ssize_t bytes)
{
	long left = atomic_load(&shared->left[to]);

	while (left >= 0) {
		long rest = left > bytes ? left - bytes : -1;

		if (atomic_compare_exchange_weak(&shared->left[to], &left, rest))
			return left > bytes ? bytes : left;
	}
	return bytes;
}

static bool send_all(int fd, const char *at, ssize_t bytes)
{
	while (bytes > 0) {
		ssize_t n = send(fd, at, (size_t)bytes, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		at += n;
		bytes -= n;
	}
	return true;
}

/* One read, one way; false: the connection is to end. */
static bool pass_on(const struct connection *c, unsigned int from, char *buffer)
{
	unsigned int to = from ? !way : way;
	ssize_t n = recv(c->fd[from], buffer, CHUNK, 0), may;

	if (n <= 0)
		return false;
	may = allowed(to, n);
	if (!send_all(c->fd[!from], buffer, may))
		return false;
	if (may == n)
		return true;
	atomic_fetch_add(&shared->resets, 1);
	return false;
}

static void *serve(void *arg)
{
	struct linger at_once = { .l_onoff = 1 };
	struct connection *c = arg;
	char *buffer = malloc(CHUNK);
	bool going = buffer;
	int i;

	while (going && atomic_load(&shared->resets) == c->resets) {
		struct pollfd p[2] = { { .fd = c->fd[0], .events = POLLIN },
				       { .fd = c->fd[1], .events = POLLIN } };

		if (poll(p, 2, LOOK_MS) < 0)
			break;
		for (i = 0; going && i < 2; i++)
			if (p[i].revents)
				going = pass_on(c, (unsigned int)i, buffer);
	}
	for (i = 0; i < 2; i++) {
		setsockopt(c->fd[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		close(c->fd[i]);
	}
	free(buffer);
	free(c);
	return NULL;
}

static void accept_one(int listener)
{
	struct timeval limit = { .tv_sec = WRITE_MS / 1000 };
	struct connection *c = calloc(1, sizeof(*c));
	pthread_t thread;

	if (!c)
		die("memory");
	c->fd[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	c->fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	c->resets = atomic_load(&shared->resets);
	setsockopt(c->fd[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(c->fd[1], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (c->fd[0] < 0 || connect(c->fd[1], (struct sockaddr *)&target, sizeof(target)) ||
	    pthread_create(&thread, NULL, serve, c)) {
		close(c->fd[0]);
		close(c->fd[1]);
		free(c);
		return;
	}
	pthread_detach(thread);
}

static int listen_at(const char *ip, const char *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (inet_pton(AF_INET, ip, &at.sin_addr) != 1)
		die(ip);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 16))
		die(ip);
	return fd;
}

int main(int argc, char **argv)
{
	int fd;

	if (argc < 3)
		die("usage: see the head of tests/vm/prog/relay.c");
	open_shared(argv[2]);
	if (!strcmp(argv[1], "arm") && argc == 5) {
		atomic_store(&shared->left[atoi(argv[3]) & 1], atol(argv[4]));
	} else if (!strcmp(argv[1], "cut")) {
		atomic_fetch_add(&shared->resets, 1);
	} else if (!strcmp(argv[1], "left")) {
		printf("%ld %ld\n", atomic_load(&shared->left[0]), atomic_load(&shared->left[1]));
	} else if (!strcmp(argv[1], "serve") && argc == 8) {
		way = atoi(argv[3]) & 1;
		fd = listen_at(argv[4], argv[5]);
		target.sin_port = htons((uint16_t)atoi(argv[7]));
		if (inet_pton(AF_INET, argv[6], &target.sin_addr) != 1)
			die(argv[6]);
		for (;;)
			accept_one(fd);
	} else {
		die("usage: see the head of tests/vm/prog/relay.c");
	}
	return 0;
}
