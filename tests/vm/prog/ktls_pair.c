// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * needs: userspace/agent/tls.c userspace/agent/ktls.c
 *
 * ktls_pair WHAT [ARG...] - both ends of one TLS connection over the loopback device, the
 * agents' ends with their keys in the kernel.  Exit code 0 when what WHAT says held.
 *
 *	agents BYTES			both in the kernel, both directions at once
 *	openssl SUITE client|server BYTES	the other end is plain OpenSSL in that role
 *	early				data waits before the client's keys are installed
 *	refused open|closed		the server does not list the client's key
 *	bye | keyupdate | garbage	what the peer sends instead of data
 *	twice				the same keys a second time
 *	unavailable			the kernel's TLS cannot be loaded by this process
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../unit/tls_ends.h"

enum {
	BULK_CHUNK	= 48 * 1024,	/* three full records */
	PATIENCE	= 10000,	/* ms */
};

static void __attribute__((noreturn)) give_up(const char *what, const char *why)
{
	fprintf(stderr, "ktls_pair: %s: %s\n", what, why);
	exit(1);
}

static void expect(bool fact, const char *what, const struct err *err)
{
	if (!fact)
		give_up(what, err && err->text[0] ? err->text : "it does not hold");
}

static void tcp_pair(int fds[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	expect(listener >= 0 && !bind(listener, (struct sockaddr *)&address, size) &&
	       !listen(listener, 1) && !getsockname(listener, (struct sockaddr *)&address, &size),
	       "a listening socket", NULL);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	expect(fds[0] >= 0 && !connect(fds[0], (struct sockaddr *)&address, size),
	       "a connection", NULL);
	fds[1] = accept(listener, NULL, NULL);
	expect(fds[1] >= 0, "an accepted connection", NULL);
	close(listener);
}

/* ------------------------------------------------------------- handshakes -- */

/* An agent's end with its socket: the loop that tls.h describes. */
struct agent {
	struct end end;
	int fd;
};

static void agent_send_pending(struct agent *agent)
{
	uint8_t bytes[CHUNK];
	size_t n;

	while ((n = tls_take(agent->end.tls, bytes, sizeof(bytes))) > 0)
		expect(send(agent->fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n, "send", NULL);
}

static void *agent_shake(void *arg)
{
	struct agent *agent = arg;
	uint8_t bytes[CHUNK];
	ssize_t n;

	agent_send_pending(agent);
	while (tls_state(agent->end.tls) == TLS_HANDSHAKE) {
		n = recv(agent->fd, bytes, sizeof(bytes), 0);
		expect(n >= 0, "receive of the handshake", NULL);
		end_feed(&agent->end, bytes, (size_t)n);
		agent_send_pending(agent);
	}
	return NULL;
}

static void *foreign_shake(void *arg)
{
	struct foreign *f = arg;

	expect(SSL_do_handshake(f->ssl) == 1, "OpenSSL's handshake", NULL);
	return NULL;
}

static void both(void *(*one)(void *arg), void *one_arg, void *(*two)(void *arg), void *two_arg)
{
	pthread_t thread;

	expect(!pthread_create(&thread, NULL, one, one_arg), "a thread", NULL);
	two(two_arg);
	pthread_join(thread, NULL);
}

/* Both ends after the handshake, no keys in the kernel yet. */
static void agents_shake(struct agent *client, struct agent *server, const struct node *listed)
{
	int fds[2];

	tcp_pair(fds);
	client->fd = fds[0];
	server->fd = fds[1];
	end_open(&client->end, &alice, false, &bob);
	end_open(&server->end, &bob, true, listed);
	both(agent_shake, client, agent_shake, server);
	expect(end_done(&client->end), "the client's handshake", &client->end.err);
}

static void agent_install(struct agent *agent)
{
	expect(!tls_install(agent->end.tls, agent->fd, &agent->end.err), "tls_install",
	       &agent->end.err);
}

static void agent_close(struct agent *agent)
{
	end_close(&agent->end);
	close(agent->fd);
}

/* -------------------------------------------------------------------- bulk -- */

/* One direction: @total bytes that follow from @seed, in pieces of all sizes. */
struct flow {
	int fd;			/* used unless there is 'ssl' */
	SSL *ssl;
	uint64_t seed;
	size_t total;
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void *flow_send(void *arg)
{
	struct flow *flow = arg;
	uint64_t bytes = flow->seed, sizes = ~flow->seed;
	uint8_t *buffer = malloc(BULK_CHUNK);
	size_t left = flow->total;

	expect(buffer, "memory", NULL);
	while (left) {
		size_t n = 1 + next_random(&sizes) % BULK_CHUNK;
		ssize_t sent;

		n = n < left ? n : left;
		for (size_t i = 0; i < n; i++)
			buffer[i] = (uint8_t)(next_random(&bytes) >> 24);
		sent = flow->ssl ? SSL_write(flow->ssl, buffer, (int)n) :
				   send(flow->fd, buffer, n, MSG_NOSIGNAL);
		expect(sent == (ssize_t)n, "send", NULL);
		left -= n;
	}
	free(buffer);
	return NULL;
}

static void *flow_receive(void *arg)
{
	struct flow *flow = arg;
	uint8_t *buffer = malloc(BULK_CHUNK);
	uint64_t bytes = flow->seed;
	size_t left = flow->total;
	struct err err;

	expect(buffer, "memory", NULL);
	while (left) {
		size_t n = left < BULK_CHUNK ? left : BULK_CHUNK;
		ssize_t got = flow->ssl ? SSL_read(flow->ssl, buffer, (int)n) :
					  recv(flow->fd, buffer, n, 0);

		if (got <= 0) {
			ktls_explain(flow->fd, got ? errno : 0, &err);
			give_up("receive", err.text);
		}
		for (ssize_t i = 0; i < got; i++)
			expect(buffer[i] == (uint8_t)(next_random(&bytes) >> 24),
			       "the bytes that were sent", NULL);
		left -= (size_t)got;
	}
	free(buffer);
	return NULL;
}

static void agents(size_t total)
{
	struct agent client, server;
	struct flow to_server, to_client;
	pthread_t threads[4];

	agents_shake(&client, &server, &alice);
	agent_install(&server);
	agent_install(&client);
	to_client = (struct flow){ .fd = server.fd, .seed = 7, .total = total };
	to_server = (struct flow){ .fd = client.fd, .seed = 8, .total = total };
	struct flow at_client = to_client, at_server = to_server;

	at_client.fd = client.fd;
	at_server.fd = server.fd;
	expect(!pthread_create(&threads[0], NULL, flow_send, &to_client) &&
	       !pthread_create(&threads[1], NULL, flow_send, &to_server) &&
	       !pthread_create(&threads[2], NULL, flow_receive, &at_client) &&
	       !pthread_create(&threads[3], NULL, flow_receive, &at_server), "threads", NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	agent_close(&client);
	agent_close(&server);
}

/* ------------------------------------------------------------ OpenSSL peers -- */

static void foreign_connect(struct foreign *f, struct agent *agent, const char *suite, bool serves)
{
	int fds[2];

	tcp_pair(fds);
	foreign_open(f, serves);
	foreign_be(f, &alice);
	expect(SSL_CTX_set_ciphersuites(f->ctx, suite) == 1 &&
	       SSL_CTX_set_num_tickets(f->ctx, 0) == 1, "the cipher suite", NULL);
	foreign_start(f);
	expect(SSL_set_fd(f->ssl, fds[serves]) == 1, "a socket for OpenSSL", NULL);
	agent->fd = fds[!serves];
	end_open(&agent->end, &bob, !serves, &alice);
	both(foreign_shake, f, agent_shake, agent);
	expect(end_done(&agent->end), "the handshake", &agent->end.err);
	agent_install(agent);
}

static void foreign_disconnect(struct foreign *f, struct agent *agent)
{
	close(SSL_get_fd(f->ssl));
	foreign_close(f);
	agent_close(agent);
}

static void openssl(const char *suite, bool serves, size_t total)
{
	struct flow ours = { .seed = 9, .total = total };
	struct flow theirs = ours;
	struct agent agent;
	struct foreign f;

	foreign_connect(&f, &agent, suite, serves);
	ours.fd = agent.fd;
	theirs.ssl = f.ssl;
	theirs.fd = -1;
	/* The server speaks first. */
	both(flow_send, serves ? &theirs : &ours, flow_receive, serves ? &ours : &theirs);
	both(flow_send, serves ? &ours : &theirs, flow_receive, serves ? &theirs : &ours);
	foreign_disconnect(&f, &agent);
}

/* ----------------------------------------------------------------- oddities -- */

static void wait_for_bytes(int fd, int bytes)
{
	struct pollfd poll_in = { .fd = fd, .events = POLLIN };
	int have = 0;

	expect(poll(&poll_in, 1, PATIENCE) == 1, "something to arrive", NULL);
	for (int i = 0; i < PATIENCE && have < bytes; i++) {
		expect(!ioctl(fd, FIONREAD, &have), "FIONREAD", NULL);
		usleep(1000);
	}
	expect(have >= bytes, "all of it to arrive", NULL);
}

static void early(void)
{
	static const int sizes[] = { 100, 20000, 5 };
	struct pollfd poll_in = { .events = POLLIN };
	struct agent client, server;
	uint8_t bytes[20000] = { 1, 2, 3 }, got[sizeof(bytes)];
	int total = 0;

	agents_shake(&client, &server, &alice);
	agent_install(&server);
	for (int i = 0; i < 3; i++) {
		expect(send(server.fd, bytes, (size_t)sizes[i], 0) == sizes[i], "send", NULL);
		total += sizes[i];
	}
	wait_for_bytes(client.fd, total);
	agent_install(&client);
	poll_in.fd = client.fd;
	expect(poll(&poll_in, 1, PATIENCE) == 1 && poll_in.revents == POLLIN,
	       "poll() sees what arrived before the keys", NULL);
	for (int i = 0; i < 3; i++)
		expect(recv(client.fd, got, (size_t)sizes[i], MSG_WAITALL) == sizes[i] &&
		       !memcmp(got, bytes, (size_t)sizes[i]), "the waiting data", NULL);
	agent_close(&client);
	agent_close(&server);
}

/* The next receive fails with @ret as ktls_explain() puts it, and with @words. */
static void expect_end(int fd, int ret, const char *words)
{
	struct err err = { "" };
	uint8_t byte;
	ssize_t n = recv(fd, &byte, 1, 0);
	int got;

	expect(n <= 0, "the receive to fail", NULL);
	got = ktls_explain(fd, n ? errno : 0, &err);
	printf("%s\n", err.text);
	expect(got == ret && strstr(err.text, words), words, &err);
}

static void refused(bool closed)
{
	struct agent client, server;
	struct err *err = &client.end.err;
	int ret;

	agents_shake(&client, &server, &mallory);
	expect(end_failed(&server.end, -EACCES, "not in agent.conf"), "the server to refuse",
	       &server.end.err);
	if (closed)
		shutdown(server.fd, SHUT_WR);
	wait_for_bytes(client.fd, RECORD_HEADER);
	ret = tls_install(client.end.tls, client.fd, err);
	if (closed) {
		printf("%s\n", err->text);
		expect(ret == -ENOTCONN && strstr(err->text, "may not list this node's key"),
		       "words about the refusal", err);
	} else {
		expect(!ret, "tls_install", err);
		expect_end(client.fd, -EACCES, "does not list this node's key");
	}
	agent_close(&client);
	agent_close(&server);
}

static void bye(void)
{
	struct agent agent;
	struct foreign f;

	foreign_connect(&f, &agent, "TLS_AES_128_GCM_SHA256", true);
	SSL_shutdown(f.ssl);
	expect_end(agent.fd, -ECONNRESET, "closed the connection");
	foreign_disconnect(&f, &agent);
}

static void keyupdate(void)
{
	struct agent agent;
	struct foreign f;

	foreign_connect(&f, &agent, "TLS_AES_128_GCM_SHA256", true);
	expect(SSL_key_update(f.ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
	       SSL_do_handshake(f.ssl) == 1, "a key update of OpenSSL", NULL);
	expect_end(agent.fd, -EPROTO, "record of type 22");
	foreign_disconnect(&f, &agent);
}

static void garbage(void)
{
	static const uint8_t record[RECORD_HEADER + 32] = { 23, 3, 3, 0, 32, 1, 2, 3 };
	struct agent client, server;

	agents_shake(&client, &server, &alice);
	agent_install(&client);
	expect(send(server.fd, record, sizeof(record), 0) == sizeof(record), "send", NULL);
	expect_end(client.fd, -EBADMSG, "does not decrypt");
	agent_close(&client);
	agent_close(&server);
}

static void twice(void)
{
	struct agent client, server;
	struct err *err = &client.end.err;

	agents_shake(&client, &server, &alice);
	agent_install(&client);
	expect(tls_install(client.end.tls, client.fd, err) == -EINVAL &&
	       strstr(err->text, "used before"), "a refusal", err);
	printf("%s\n", err->text);
	expect(tls_install(server.end.tls, client.fd, err) == -EEXIST &&
	       strstr(err->text, "installed already"), "a refusal of other keys", err);
	printf("%s\n", err->text);
	agent_close(&client);
	agent_close(&server);
}

static void unavailable(void)
{
	struct agent client, server;
	struct err *err = &client.end.err;

	agents_shake(&client, &server, &alice);
	expect(tls_install(client.end.tls, client.fd, err) == -ENOENT &&
	       strstr(err->text, "modprobe tls"), "a refusal that says what to do", err);
	printf("%s\n", err->text);
	agent_close(&client);
	agent_close(&server);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	const char *arg = argc > 2 ? argv[2] : "";

	nodes_open();
	if (!strcmp(what, "agents") && argc == 3)
		agents(strtoul(arg, NULL, 0));
	else if (!strcmp(what, "openssl") && argc == 5)
		openssl(arg, !strcmp(argv[3], "server"), strtoul(argv[4], NULL, 0));
	else if (!strcmp(what, "early"))
		early();
	else if (!strcmp(what, "refused") && argc == 3)
		refused(!strcmp(arg, "closed"));
	else if (!strcmp(what, "bye"))
		bye();
	else if (!strcmp(what, "keyupdate"))
		keyupdate();
	else if (!strcmp(what, "garbage"))
		garbage();
	else if (!strcmp(what, "twice"))
		twice();
	else if (!strcmp(what, "unavailable"))
		unavailable();
	else
		give_up("usage", "see the head of ktls_pair.c");
	nodes_close();
	return 0;
}
