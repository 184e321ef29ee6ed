// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * needs: userspace/agent/tls.c userspace/agent/ktls.c userspace/agent/msg.c
 *
 * hello connect|listen ADDRESS:PORT KEYFILE NODE VOLUME WHAT - a session with an agent, by somebody who holds a right
 * key and begins wrongly.  Prints what the agent says, a line a message, and how it ended.  WHAT is one of:
 *
 *	version=N	a HELLO of protocol version N and no other
 *	endless		a HELLO whose names have no end
 *	magic		a message that is none
 *	long		a message that announces more than its type may have
 *	early		a message of an open session, before any HELLO
 *	link		a LINK_HELLO for a link that nobody has offered
 *	silent		nothing
 *
 * Exit code 0 when the TLS handshake was done; else 1, with why.
 */
#include <endian.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config.h"
#include "key.h"
#include "ktls.h"
#include "msg.h"
#include "tls.h"

enum { PATIENCE_S = 60, BODY_MAX = 4096 };

static struct err err;

static void __attribute__((noreturn)) give_up(const char *what)
{
	fprintf(stderr, "hello: %s: %s\n", what, err.text[0] ? err.text : strerror(errno));
	exit(1);
}

static bool anybody(const uint8_t key[REPL_KEY_BYTES], void *arg)
{
	(void)key;
	(void)arg;
	return true;
}

/* ------------------------------------------------------------- connection -- */

static int listen_once(int fd, const struct addrinfo *ai)
{
	int one = 1, accepted;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, 1))
		give_up("listening");
	accepted = accept(fd, NULL, NULL);
	if (accepted < 0)
		give_up("nobody connects");
	close(fd);
	return accepted;
}

static int open_connection(const char *where, bool serve)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *ai;
	struct timeval patience = { .tv_sec = PATIENCE_S };
	struct config_address address;
	int fd;

	if (config_parse_address(where, &address) ||
	    getaddrinfo(address.host, address.port, &hints, &ai))
		give_up(where);
	fd = socket(ai->ai_family, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (serve)
		fd = listen_once(fd, ai);
	else if (connect(fd, ai->ai_addr, ai->ai_addrlen))
		give_up(where);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	freeaddrinfo(ai);
	return fd;
}

static void send_pending(struct tls *tls, int fd)
{
	uint8_t bytes[4096];
	size_t n;

	while ((n = tls_take(tls, bytes, sizeof(bytes))) > 0)
		if (send(fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
			give_up("sending");
}

static void shake(const char *key_path, int fd, bool serve)
{
	struct key_private key;
	struct tls_ctx *ctx;
	uint8_t bytes[4096];
	struct tls *tls;

	if (key_load_private(key_path, &key, &err))
		give_up("key");
	ctx = tls_ctx_new(key.b, &err);
	tls = ctx ? tls_new(ctx, serve, anybody, NULL, &err) : NULL;
	if (!tls)
		give_up("TLS");
	send_pending(tls, fd);
	while (tls_state(tls) == TLS_HANDSHAKE) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

		if (n < 0)
			give_up("handshake");
		tls_feed(tls, bytes, (size_t)n, &err);
		send_pending(tls, fd);
	}
	if (tls_state(tls) != TLS_DONE || tls_install(tls, fd, &err))
		give_up("handshake");
	tls_free(tls);
	tls_ctx_free(ctx);
}

/* --------------------------------------------------------------- messages -- */

static void tell(int fd, const struct repl_msg *header, const void *body, size_t length)
{
	uint8_t bytes[sizeof(*header) + BODY_MAX];

	memcpy(bytes, header, sizeof(*header));
	memcpy(bytes + sizeof(*header), body, length);
	if (send(fd, bytes, sizeof(*header) + length, MSG_NOSIGNAL) < 0)
		give_up("sending a message");
}

static void tell_hello(int fd, const char *node, const char *volume, unsigned int version,
		       bool endless)
{
	struct msg_hello h = { .version_min = (uint16_t)version, .version = (uint16_t)version };
	struct repl_msg_hello m;
	struct repl_msg header;

	snprintf(h.node, sizeof(h.node), "%s", node);
	snprintf(h.volume, sizeof(h.volume), "%s", volume);
	msg_pack_hello(&h, &m);
	if (endless)
		memset(m.node, 'x', sizeof(m.node) + sizeof(m.volume));
	msg_pack_header(REPL_MSG_HELLO, sizeof(m), &header);
	tell(fd, &header, &m, sizeof(m));
}

static void tell_link(int fd, const char *volume)
{
	struct msg_link l = { .cookie = 0x1234 };
	struct repl_msg_link m;
	struct repl_msg header;

	snprintf(l.volume, sizeof(l.volume), "%s", volume);
	msg_pack_link(&l, &m);
	msg_pack_header(REPL_MSG_LINK_HELLO, sizeof(m), &header);
	tell(fd, &header, &m, sizeof(m));
}

static void begin(int fd, const char *node, const char *volume, const char *what)
{
	uint8_t none[BODY_MAX] = { 0 };
	struct repl_msg header;

	if (!strncmp(what, "version=", 8)) {
		tell_hello(fd, node, volume, (unsigned int)atoi(what + 8), false);
	} else if (!strcmp(what, "endless")) {
		tell_hello(fd, node, volume, REPL_WIRE_VERSION, true);
	} else if (!strcmp(what, "magic")) {
		msg_pack_header(REPL_MSG_HELLO, 0, &header);
		header.magic = htole32(0x20544547);	/* "GET " */
		tell(fd, &header, none, sizeof(none));
	} else if (!strcmp(what, "long")) {
		msg_pack_header(REPL_MSG_HELLO, UINT32_MAX, &header);
		tell(fd, &header, none, sizeof(none));
	} else if (!strcmp(what, "early")) {
		msg_pack_header(REPL_MSG_LINK_LIVE, 0, &header);
		tell(fd, &header, none, 0);
	} else if (!strcmp(what, "link")) {
		tell_link(fd, volume);
	} else if (strcmp(what, "silent")) {
		errno = EINVAL;
		give_up(what);
	}
}

/* Return: false once there is nothing more, with why in err. */
static bool take(int fd, void *bytes, size_t size)
{
	ssize_t n = size ? recv(fd, bytes, size, MSG_WAITALL) : 0;

	if (n == (ssize_t)size)
		return true;
	ktls_explain(fd, n < 0 ? errno : 0, &err);
	return false;
}

/* Return: false once there is nothing more. */
static bool hear(int fd)
{
	char text[REPL_TEXT_MAX];
	uint8_t body[BODY_MAX];
	struct msg_header h;
	struct repl_msg raw;

	if (!take(fd, &raw, sizeof(raw)))
		return false;
	if (msg_unpack_header(&h, &raw, &err) || h.length > sizeof(body))
		give_up("the agent's message");
	if (!take(fd, body, h.length))
		return false;
	msg_text(text, body, h.type == REPL_MSG_REFUSE ? h.length : 0);
	printf("%s%s%s\n", msg_name(h.type), text[0] ? ": " : "", text);
	fflush(stdout);
	return true;
}

int main(int argc, char **argv)
{
	bool serve;
	int fd;

	if (argc != 7) {
		fprintf(stderr, "usage: see the head of hello.c\n");
		return 2;
	}
	serve = !strcmp(argv[1], "listen");
	fd = open_connection(argv[2], serve);
	shake(argv[3], fd, serve);
	/* The side that accepted speaks first. */
	if (serve || hear(fd))
		begin(fd, argv[4], argv[5], argv[6]);
	while (err.text[0] == '\0' && hear(fd))
		;
	printf("end: %s\n", err.text);
	close(fd);
	return 0;
}
