/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors of every kind that somebody might hand to the module, by a word for each. */
#ifndef TESTS_VM_PROG_FDS_H
#define TESTS_VM_PROG_FDS_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/tls.h>

#ifndef TCP_ULP
#define TCP_ULP 31
#endif

/* Both ends of a TCP connection over the loopback device of this network namespace. */
static inline bool fds_tcp_pair(int fd[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	bool ok;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	fd[1] = -1;
	ok = !bind(listener, (struct sockaddr *)&at, len) && !listen(listener, 1) &&
	     !getsockname(listener, (struct sockaddr *)&at, &len) &&
	     !connect(fd[0], (struct sockaddr *)&at, len);
	if (ok)
		fd[1] = accept(listener, NULL, NULL);
	close(listener);
	return fd[1] >= 0;
}

/* The same key for both directions: whoever sends with @key is understood by who receives with it. */
static inline bool fds_tls_key(int fd, int direction, uint8_t key)
{
	struct tls12_crypto_info_aes_gcm_128 info = {
		.info = { .version = TLS_1_3_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128 },
	};

	memset(info.key, key, sizeof(info.key));
	return !setsockopt(fd, SOL_TLS, direction, &info, sizeof(info));
}

static inline bool fds_tls(int fd, uint8_t tx, uint8_t rx)
{
	return !setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) &&
	       (!tx || fds_tls_key(fd, TLS_TX, tx)) && (!rx || fds_tls_key(fd, TLS_RX, rx));
}

/* One end of a connection; @far is the other, which stays open. */
static inline int fds_tcp(const char *how, int *far)
{
	int fd[2];

	if (!fds_tcp_pair(fd))
		return -1;
	*far = fd[1];
	if (!strcmp(how, "tcp-half"))
		shutdown(fd[1], SHUT_WR);
	if (!strcmp(how, "tcp-shut"))
		shutdown(fd[0], SHUT_RDWR);
	if ((!strcmp(how, "tls") && !fds_tls(fd[0], 1, 2)) ||
	    (!strcmp(how, "tls-tx") && !fds_tls(fd[0], 1, 0)) ||
	    (!strcmp(how, "tls-rx") && !fds_tls(fd[0], 0, 2)) ||
	    (!strcmp(how, "tls-bare") && !fds_tls(fd[0], 0, 0)))
		return -1;
	return fd[0];
}

static inline int fds_listener(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 1) ? -1 : fd;
}

/* A connection that lives in the network namespace @path. */
static inline int fds_elsewhere(const char *path, int *far)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int there = open(path, O_RDONLY | O_CLOEXEC), fd = -1;

	if (here >= 0 && there >= 0 && !setns(there, CLONE_NEWNET)) {
		fd = fds_tcp("tcp", far);
		if (setns(here, CLONE_NEWNET))
			fd = -1;
	}
	close(here);
	close(there);
	return fd;
}

static inline int fds_pipe(void)
{
	int fd[2];

	if (pipe(fd))
		return -1;
	close(fd[1]);
	return fd[0];
}

/*
 * rw:PATH ro:PATH wo:PATH path:PATH, netns:PATH, tcp..., and what stands below.  Return:
 * a descriptor or a negative number; @far is another one to keep open beside it, or -1.
 */
static inline int fds_open(const char *word, int *far)
{
	static const struct {
		const char *word;
		int flags;
	} opens[] = {
		{ "rw:", O_RDWR }, { "ro:", O_RDONLY }, { "wo:", O_WRONLY }, { "path:", O_PATH },
	};
	unsigned int i;

	*far = -1;
	for (i = 0; i < sizeof(opens) / sizeof(*opens); i++)
		if (!strncmp(word, opens[i].word, strlen(opens[i].word)))
			return open(word + strlen(opens[i].word), opens[i].flags | O_CLOEXEC);
	if (!strncmp(word, "netns:", 6))
		return fds_elsewhere(word + 6, far);
	if (!strcmp(word, "tcp-idle"))
		return socket(AF_INET, SOCK_STREAM, 0);
	if (!strcmp(word, "tcp-listen"))
		return fds_listener();
	if (!strncmp(word, "tcp", 3) || !strncmp(word, "tls", 3))
		return fds_tcp(word, far);
	if (!strcmp(word, "udp"))
		return socket(AF_INET, SOCK_DGRAM, 0);
	if (!strcmp(word, "unix"))
		return socket(AF_UNIX, SOCK_STREAM, 0);
	if (!strcmp(word, "netlink"))
		return socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	if (!strcmp(word, "pipe"))
		return fds_pipe();
	if (!strcmp(word, "epoll"))
		return epoll_create1(0);
	return -1;
}

#endif /* TESTS_VM_PROG_FDS_H */
