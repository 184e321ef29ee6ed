// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From a bare connection to its first message.
 *
 *	accepted:  peek 8 bytes: a plain link's hello, or TLS
 *	TLS:       handshake, keys to the kernel; the side that accepted sends HELLO
 *	first:     one message, read to its last byte and not further
 *
 * Nothing of this is on the ring but the connect(): the descriptor may become a
 * link's, and then this process must be able to let go of it.
 */
#include "conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ask.h"
#include "ktls.h"
#include "link.h"
#include "log.h"

enum { STRANGERS_MS = 10000, STRANGERS_LINES = 20 };

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* The port is open to everybody: who floods it must not flood the log. */
static void log_stranger(const char *why)
{
	static uint64_t since;
	static unsigned int lines, kept_back;
	uint64_t now = loop_now();

	if (now >= since + STRANGERS_MS) {
		if (kept_back)
			log_info(NULL, "%u more connections were refused meanwhile", kept_back);
		since = now;
		lines = kept_back = 0;
	}
	if (++lines > STRANGERS_LINES)
		kept_back++;
	else
		log_info(NULL, "%s", why);
}

void greet_failed(struct conn *c)
{
	if (c->purpose == CONN_SESSION && c->pair)
		core_dial_failed(c->pair, c->why);
	else if (c->purpose == CONN_LINK && c->linkopen)
		link_failed(c->linkopen, c->why);
	else if (c->purpose == CONN_ASK && c->ask)
		ask_failed(c->ask, c->why);
	else if (c->purpose == CONN_ACCEPTED)
		log_stranger(c->why);
	c->pair = NULL;
	c->linkopen = NULL;
	c->ask = NULL;
}

void greet_write(struct conn *c, uint16_t type, const void *body, size_t length)
{
	struct {
		struct repl_msg header;
		uint8_t body[REPL_TEXT_MAX];
	} m;
	size_t size = sizeof(m.header) + length;
	ssize_t n;

	if (length > sizeof(m.body)) {
		conn_kill(c, "%s: a first message of %zu bytes", c->where, length);
		return;
	}
	msg_pack_header(type, (uint32_t)length, &m.header);
	if (length)
		memcpy(m.body, body, length);
	/* Nothing was sent before: the socket's buffer has room, or the peer is no agent. */
	n = send(c->fd, &m, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n != (ssize_t)size)
		conn_kill(c, "sending to %s failed: %s", c->where,
			  n < 0 ? strerror(errno) : "it takes no more");
}

/* ------------------------------------------------------ first message --- */

/* A link's connection: the server's HELLO, our LINK_HELLO, its LINK_PROOF. */
static void link_message(struct conn *c, const struct msg_header *h, const void *body)
{
	char text[REPL_TEXT_MAX];
	struct repl_msg_link m;

	if (h->type == REPL_MSG_REFUSE) {
		msg_text(text, body, h->length);
		conn_kill(c, "%s refuses the link: %s", c->where, text);
	} else if (h->type == REPL_MSG_HELLO) {
		link_pack(c->linkopen, &m);
		greet_write(c, REPL_MSG_LINK_HELLO, &m, sizeof(m));
	} else if (h->type == REPL_MSG_LINK_PROOF) {
		link_proven(c, body);
	} else {
		conn_kill(c, "%s answers a link with %s", c->where, msg_name(h->type));
	}
}

static void first_message(struct conn *c)
{
	struct agent *a = c->agent;
	struct repl_msg raw;
	struct msg_header h;
	struct err e;

	memcpy(&raw, c->first, sizeof(raw));
	msg_unpack_header(&h, &raw, &e);
	c->first_have = 0;
	if (c->purpose == CONN_LINK) {
		link_message(c, &h, c->first + sizeof(raw));
		return;
	}
	if (c->purpose == CONN_ASK) {
		ask_message(c, &h, c->first + sizeof(raw));
		return;
	}
	if (h.type == REPL_MSG_HELLO)
		conn_open(c);
	if (c->stage == CONN_DEAD)
		return;
	agent_now(a);
	core_message(&a->core, c->id, &h, c->first + sizeof(raw));
}

/* How much of the first message is still missing; negative: it is none. */
static ssize_t missing(struct conn *c, struct err *e)
{
	struct repl_msg raw;
	struct msg_header h;

	if (c->first_have < sizeof(raw))
		return (ssize_t)(sizeof(raw) - c->first_have);
	memcpy(&raw, c->first, sizeof(raw));
	if (msg_unpack_header(&h, &raw, e))
		return -EPROTO;
	if (h.length > sizeof(c->first) - sizeof(raw))
		return err_set(e, EPROTO, "a first message of %u bytes", h.length);
	return (ssize_t)(sizeof(raw) + h.length - c->first_have);
}

static void read_first(struct loop_watch *w, uint32_t events)
{
	struct conn *c = container(w, struct conn, watch);
	struct err e = { "" };
	ssize_t want, n;

	(void)events;
	for (;;) {
		want = missing(c, &e);
		if (want < 0) {
			conn_send(c, REPL_MSG_REFUSE, e.text, strlen(e.text));
			conn_close(c, "%s sent nonsense: %s", c->where, e.text);
			return;
		}
		if (!want) {
			first_message(c);
			return;
		}
		n = read(c->fd, c->first + c->first_have, (size_t)want);
		if (n <= 0) {
			if (n < 0 && (errno == EAGAIN || errno == EINTR))
				return;
			ktls_explain(c->fd, n ? errno : 0, &e);
			conn_kill(c, "%s: %s", c->where, e.text);
			return;
		}
		c->first_have += (size_t)n;
	}
}

/* ---------------------------------------------------------------- TLS --- */

/* The peer is known and the kernel has the keys. */
static void authenticated(struct conn *c)
{
	struct agent *a = c->agent;
	const uint8_t *key = tls_peer_key(c->tls);
	struct err e;

	c->peer = key ? core_peer_by_key(&a->core, key) : NULL;
	if (!c->peer) {
		conn_kill(c, "%s: its key belongs to no peer of agent.conf", c->where);
		return;
	}
	if (c->purpose != CONN_ACCEPTED) {
		const struct core_peer *meant = c->pair ? c->pair->peer :
						c->ask ? ask_peer(c->ask) : link_peer(c->linkopen);

		if (c->peer != meant) {
			conn_kill(c, "%s is %s, but %s was expected: check the addresses in agent.conf",
				  c->where, c->peer->name, meant->name);
			return;
		}
	}
	if (tls_install(c->tls, c->fd, &e)) {
		conn_kill(c, "%s: %s", c->where, e.text);
		return;
	}
	tls_free(c->tls);
	c->tls = NULL;
	if (c->stranger)
		a->strangers--;
	c->stranger = false;
	c->stage = CONN_FIRST;
	c->watch.ready = read_first;
	if (loop_watch(&a->loop, &c->watch, c->fd, EPOLLIN)) {
		conn_kill(c, "%s: it cannot be watched", c->where);
		return;
	}
	if (c->purpose == CONN_LINK || c->purpose == CONN_ASK)
		return;
	agent_now(a);
	c->core_knows = true;
	core_session_up(&a->core, c->id, c->peer, c->pair);
	c->pair = NULL;
}

/* Return: false when the rest must wait for room in the socket. */
static bool send_pending(struct conn *c)
{
	uint8_t out[4096];

	while (tls_pending_out(c->tls)) {
		size_t n = tls_take(c->tls, out, sizeof(out));
		ssize_t done = send(c->fd, out, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		/* A handshake fits an empty socket buffer; a peer that stops it up is none. */
		if (done != (ssize_t)n)
			return false;
	}
	return true;
}

static void handshake(struct loop_watch *w, uint32_t events)
{
	struct conn *c = container(w, struct conn, watch);
	struct err e = { "" };
	uint8_t in[4096];
	ssize_t n = 0;

	(void)events;
	if (!send_pending(c)) {
		conn_kill(c, "%s: the TLS handshake cannot be sent", c->where);
		return;
	}
	while (tls_state(c->tls) == TLS_HANDSHAKE) {
		n = read(c->fd, in, sizeof(in));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			conn_kill(c, "%s: %s", c->where, strerror(errno));
			return;
		}
		tls_feed(c->tls, in, (size_t)n, &e);
		if (!send_pending(c))
			break;
	}
	if (tls_state(c->tls) == TLS_DONE && !tls_pending_out(c->tls))
		authenticated(c);
	else
		conn_kill(c, "%s: TLS: %s", c->where, e.text[0] ? e.text : "cannot be sent");
}

static bool known_key(const uint8_t key[REPL_KEY_BYTES], void *arg)
{
	struct agent *a = arg;

	return config_find_peer_key(&a->config.agent, key) && core_peer_by_key(&a->core, key);
}

static void start_tls(struct conn *c)
{
	struct agent *a = c->agent;
	struct err e;

	/* A session that ended in the middle of a large pass would begin it anew, for ever. */
	if (c->purpose == CONN_SESSION)
		c->tls = tls_new_lasting(a->tls, known_key, a, &e);
	else
		c->tls = tls_new(a->tls, c->purpose == CONN_ACCEPTED, known_key, a, &e);
	if (!c->tls) {
		conn_kill(c, "%s: %s", c->where, e.text);
		return;
	}
	c->stage = CONN_TLS;
	c->watch.ready = handshake;
	if (loop_watch(&a->loop, &c->watch, c->fd, EPOLLIN))
		conn_kill(c, "%s: it cannot be watched", c->where);
	else
		handshake(&c->watch, 0);
}

/* --------------------------------------------------------- plain link --- */

static void read_plain(struct loop_watch *w, uint32_t events)
{
	struct conn *c = container(w, struct conn, watch);
	struct repl_plain_hello m;
	ssize_t n = read(c->fd, c->first + c->first_have, sizeof(m) - c->first_have);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_kill(c, "%s closed a plain link before its hello", c->where);
		return;
	}
	c->first_have += (size_t)n;
	if (c->first_have < sizeof(m))
		return;
	memcpy(&m, c->first, sizeof(m));
	c->link = (struct msg_link){ .cookie = le64toh(m.cookie), .plain = true };
	memcpy(c->link.token, m.token, sizeof(m.token));
	link_park(c);
}

static void peek(struct loop_watch *w, uint32_t events)
{
	struct conn *c = container(w, struct conn, watch);
	uint8_t head[8];
	ssize_t n = recv(c->fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);
	int one = 1;

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < (ssize_t)sizeof(head)) {
		conn_kill(c, "%s: closed the connection at once: it is not a repl-agent", c->where);
		return;
	}
	setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
	if (memcmp(head, REPL_PLAIN_MAGIC, sizeof(head))) {
		start_tls(c);
		return;
	}
	c->stage = CONN_PLAIN;
	c->watch.ready = read_plain;
	read_plain(w, 0);
}

void greet_accepted(struct conn *c)
{
	int one = 1, eight = 8;

	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &eight, sizeof(eight));
	c->stranger = true;
	c->agent->strangers++;
	c->stage = CONN_PEEK;
	c->watch.ready = peek;
	if (loop_watch(&c->agent->loop, &c->watch, c->fd, EPOLLIN))
		conn_kill(c, "%s: it cannot be watched", c->where);
}

/* ------------------------------------------------------------ connect --- */

static void say_plain(struct conn *c)
{
	struct repl_plain_hello m;

	link_pack_plain(c->linkopen, &m);
	if (send(c->fd, &m, sizeof(m), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(m))
		link_connected(c);
	else
		conn_kill(c, "%s: the plain link's hello cannot be sent", c->where);
}

static void connected(struct loop_op *op, int res)
{
	struct conn *c = container(op, struct conn, connect_op);

	c->pending--;
	if (c->stage == CONN_DEAD)
		return;
	if (res) {
		conn_kill(c, "%s: %s", c->where,
			  strerror(res == -ECANCELED ? ETIMEDOUT : -res));
		return;
	}
	if (c->purpose == CONN_LINK && link_is_plain(c->linkopen))
		say_plain(c);
	else
		start_tls(c);
}

static void timed(struct loop_op *op, int res)
{
	(void)res;
	container(op, struct conn, timeout_op)->pending--;
}

void greet_connect(struct conn *c, const struct sockaddr *address, socklen_t length)
{
	struct loop *l = &c->agent->loop;
	struct io_uring_sqe *sqe;
	int one = 1;

	c->stage = CONN_CONNECT;
	c->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		conn_kill(c, "%s: %s", c->where, strerror(errno));
		return;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	memcpy(&c->address, address, length);
	c->timeout.tv_sec = CONN_GREET_MS / 1000;
	c->connect_op.done = connected;
	c->timeout_op.done = timed;
	sqe = loop_sqe(l, &c->connect_op);
	io_uring_prep_connect(sqe, c->fd, (struct sockaddr *)&c->address, length);
	io_uring_sqe_set_data(sqe, &c->connect_op);
	sqe->flags |= IOSQE_IO_LINK;
	sqe = loop_sqe(l, &c->timeout_op);
	io_uring_prep_link_timeout(sqe, &c->timeout, 0);
	io_uring_sqe_set_data(sqe, &c->timeout_op);
	c->pending += 2;
}
