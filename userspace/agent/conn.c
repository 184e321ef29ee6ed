// SPDX-License-Identifier: GPL-2.0-or-later
#include "conn.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apply.h"
#include "compare.h"
#include "delta.h"
#include "link.h"
#include "log.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* A message that owns its bytes. */
struct message {
	struct conn_tx tx;
	uint8_t bytes[];
};

_Static_assert(CONN_GREET_MS == 5000, "late() says so in words");

static void receive(struct conn *c);
static void flush(struct conn *c);
static void parse(struct conn *c);

struct conn *conn_find(struct agent *a, uint32_t id)
{
	for (struct conn *c = a->conns; c; c = c->next)
		if (c->id == id && c->stage != CONN_DEAD)
			return c;
	return NULL;
}

/* ------------------------------------------------------------- ending --- */

static void drop_tx(struct conn *c)
{
	struct conn_tx *tx;

	while ((tx = c->tx_first)) {
		c->tx_first = tx->next;
		if (!c->tx_first)
			c->tx_last = &c->tx_first;
		tx->done(tx);
	}
}

/* Requests still on the ring end soon: the socket is shut down. */
static void die(struct conn *c)
{
	struct agent *a = c->agent;

	if (c->stage == CONN_DEAD)
		return;
	c->stage = CONN_DEAD;
	c->deadline = 0;
	loop_unwatch(&a->loop, &c->watch);
	tls_free(c->tls);
	c->tls = NULL;
	if (c->stranger)
		a->strangers--;
	c->stranger = false;
	if (c->fd >= 0)
		shutdown(c->fd, SHUT_RDWR);
	if (!c->sending)
		drop_tx(c);
	if (c->apply)
		apply_conn_gone(c->apply);
	c->apply = NULL;
	agent_now(a);
	if (c->core_knows)
		core_session_down(&a->core, c->id, c->why);
	else
		greet_failed(c);
}

static void note(struct conn *c, const char *fmt, va_list ap)
{
	if (!c->why[0])
		vsnprintf(c->why, sizeof(c->why), fmt, ap);
}

void conn_kill(struct conn *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	note(c, fmt, ap);
	va_end(ap);
	die(c);
}

static void linger(struct loop_watch *w, uint32_t events)
{
	struct conn *c = container(w, struct conn, watch);
	uint8_t waste[4096];
	ssize_t n = read(c->fd, waste, sizeof(waste));

	(void)events;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		die(c);
}

void conn_close(struct conn *c, const char *fmt, ...)
{
	bool ring = c->stage == CONN_OPEN;
	va_list ap;

	if (c->stage >= CONN_CLOSING)
		return;
	va_start(ap, fmt);
	note(c, fmt, ap);
	va_end(ap);
	if (!ring && c->stage != CONN_FIRST) {
		die(c);
		return;
	}
	c->stage = CONN_CLOSING;
	c->deadline = loop_now() + CONN_LINGER_MS;
	c->start = c->end = 0;
	c->sink = NULL;
	c->sink_left = 0;
	if (ring) {
		flush(c);
		receive(c);
	} else {
		shutdown(c->fd, SHUT_WR);
		loop_unwatch(&c->agent->loop, &c->watch);
		c->watch.ready = linger;
		if (loop_watch(&c->agent->loop, &c->watch, c->fd, EPOLLIN))
			die(c);
	}
}

int conn_release(struct conn *c)
{
	int fd = c->fd;

	loop_unwatch(&c->agent->loop, &c->watch);
	c->fd = -1;
	c->stage = CONN_DEAD;
	if (c->stranger)
		c->agent->strangers--;
	c->stranger = false;
	return fd;
}

static void reap(struct conn *c)
{
	tls_free(c->tls);
	drop_tx(c);
	free(c->buffer);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

/* What a connection's time ran out on. */
static const char *late(const struct conn *c)
{
	switch (c->stage) {
	case CONN_PEEK:
	case CONN_PLAIN:
		return "nothing came within 5 s: it is not a repl-agent";
	case CONN_TLS:
		return "the TLS handshake did not end within 5 s: is it a repl-agent, and the network sound?";
	case CONN_FIRST:
		return "no HELLO came within 5 s: see the log of its agent";
	case CONN_PARKED:
		return "it offers a link that was not agreed on, or is no longer wanted: closed after 5 s";
	default:
		return "timed out";
	}
}

void conn_tick(struct agent *a)
{
	struct conn **at = &a->conns;
	uint64_t now = loop_now();
	struct conn *c;

	for (c = a->conns; c; c = c->next) {
		if (c->deadline && now >= c->deadline)
			conn_kill(c, "%s: %s", c->where, late(c));
		if (c->stalled)
			core_heard(&a->core, c->id);
		if (c->woken)
			parse(c);
	}
	/* Whoever still uses a dead one is told to let go before it is freed. */
	agent_settle(a);
	while ((c = *at)) {
		if (c->stage == CONN_DEAD && !c->pending && !c->parsing) {
			*at = c->next;
			reap(c);
		} else {
			at = &c->next;
		}
	}
}

uint64_t conn_deadline(const struct agent *a)
{
	uint64_t at = UINT64_MAX;

	for (const struct conn *c = a->conns; c; c = c->next)
		if (c->deadline && c->deadline < at)
			at = c->deadline;
	return at;
}

struct conn *conn_new(struct agent *a, int fd, enum conn_purpose purpose)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->agent = a;
	c->fd = fd;
	c->purpose = purpose;
	c->watch.fd = -1;
	c->tx_last = &c->tx_first;
	c->deadline = loop_now() + CONN_GREET_MS;
	do
		c->id = ++a->last_conn;
	while (!c->id || (a->conns && conn_find(a, c->id)));
	c->next = a->conns;
	a->conns = c;
	return c;
}

/* ------------------------------------------------------------ sending --- */

static size_t gather(struct conn *c)
{
	size_t n = 0;

	for (struct conn_tx *tx = c->tx_first; tx && n + 2 <= CONN_IOV_MAX; tx = tx->next)
		for (int i = 0; i < 2; i++)
			if (tx->iov[i].iov_len)
				c->iov[n++] = tx->iov[i];
	return n;
}

static void flush(struct conn *c)
{
	struct io_uring_sqe *sqe;

	if (c->sending || c->consuming || c->stage < CONN_OPEN || c->stage == CONN_DEAD)
		return;
	if (!c->tx_first) {
		if (c->stage == CONN_CLOSING)
			shutdown(c->fd, SHUT_WR);
		return;
	}
	c->msg = (struct msghdr){ .msg_iov = c->iov, .msg_iovlen = gather(c) };
	sqe = loop_sqe(&c->agent->loop, &c->send_op);
	io_uring_prep_sendmsg(sqe, c->fd, &c->msg, MSG_NOSIGNAL);
	io_uring_sqe_set_data(sqe, &c->send_op);
	c->sending = true;
	c->pending++;
}

/*
 * What was sent leaves the queue.  Who hears of it may queue more: that must not be
 * sent before the rest of what was sent is gone from the queue, or it goes out twice.
 */
static void consume(struct conn *c, size_t sent)
{
	c->consuming = true;
	while (sent && c->tx_first) {
		struct conn_tx *tx = c->tx_first;

		for (int i = 0; i < 2; i++) {
			size_t n = tx->iov[i].iov_len < sent ? tx->iov[i].iov_len : sent;

			tx->iov[i].iov_base = (uint8_t *)tx->iov[i].iov_base + n;
			tx->iov[i].iov_len -= n;
			sent -= n;
		}
		if (tx->iov[0].iov_len || tx->iov[1].iov_len)
			break;
		c->tx_first = tx->next;
		if (!c->tx_first)
			c->tx_last = &c->tx_first;
		tx->done(tx);
	}
	c->consuming = false;
}

static void sent(struct loop_op *op, int res)
{
	struct conn *c = container(op, struct conn, send_op);

	c->sending = false;
	c->pending--;
	if (c->stage == CONN_DEAD) {
		drop_tx(c);
		return;
	}
	if (res < 0 && res != -EAGAIN && res != -EINTR) {
		conn_kill(c, "sending to %s failed: %s", c->where, strerror(-res));
		return;
	}
	if (res > 0)
		consume(c, (size_t)res);
	flush(c);
}

void conn_send_tx(struct conn *c, struct conn_tx *tx)
{
	tx->next = NULL;
	*c->tx_last = tx;
	c->tx_last = &tx->next;
	if (c->stage != CONN_DEAD)
		flush(c);
	else if (!c->sending)
		drop_tx(c);
}

static void message_sent(struct conn_tx *tx)
{
	free(container(tx, struct message, tx));
}

void conn_send(struct conn *c, uint16_t type, const void *body, size_t length)
{
	struct repl_msg header;
	struct message *m;

	if (c->stage == CONN_FIRST) {
		greet_write(c, type, body, length);
		return;
	}
	if (c->stage != CONN_OPEN)
		return;
	m = malloc(sizeof(*m) + sizeof(header) + length);
	if (!m) {
		conn_kill(c, "out of memory");
		return;
	}
	msg_pack_header(type, (uint32_t)length, &header);
	memcpy(m->bytes, &header, sizeof(header));
	if (length)
		memcpy(m->bytes + sizeof(header), body, length);
	m->tx = (struct conn_tx){
		.iov[0] = { m->bytes, sizeof(header) + length }, .done = message_sent,
	};
	conn_send_tx(c, &m->tx);
}

/* ---------------------------------------------------------- receiving --- */

/* Moves what has arrived of a BLOCKS payload to where it belongs. */
static void drain_into_sink(struct conn *c)
{
	size_t n = c->end - c->start;

	if (n > c->sink_left)
		n = c->sink_left;
	if (c->sink) {
		memcpy(c->sink, c->buffer + c->start, n);
		c->sink += n;
	}
	c->start += n;
	c->sink_left -= n;
	if (c->sink_left || !c->sink)
		return;
	c->sink = NULL;
	apply_filled(c->apply);
}

/*
 * To whom it belongs; what belongs to a procedure that was left is passed over.
 * Return: as of the functions of apply.h.
 */
static int hand_on_bulk(struct conn *c, const struct msg_header *h, const uint8_t *body)
{
	union {
		struct repl_msg_range range;
		struct repl_msg_delta delta;
		struct repl_msg_want want;
		struct {
			struct repl_msg_range range;
			struct repl_digest digest[REPL_DIGESTS_MAX];
		} digests;
	} m;

	memcpy(&m, body, h->type == REPL_MSG_BLOCKS ? sizeof(m.range) : h->length);
	if (h->type == REPL_MSG_WANT && c->delta)
		return delta_want(c->delta, &m.want);
	if (h->type == REPL_MSG_WANT)
		return c->compare ? compare_want(c->compare, &m.want) : 0;
	if (h->type == REPL_MSG_DIGESTS && !c->apply && c->compare)
		return compare_digests(c->compare, &m.range, m.digests.digest, h->length);
	if (!c->apply)
		return 0;
	switch (h->type) {
	case REPL_MSG_DELTA_END:
		return apply_end(c->apply, &m.delta);
	case REPL_MSG_ZEROS:
		return apply_zeros(c->apply, &m.range);
	case REPL_MSG_DIGESTS:
		return apply_digests(c->apply, &m.range, m.digests.digest, h->length);
	default:
		return apply_blocks(c->apply, &m.range, h->length - sizeof(m.range), &c->sink);
	}
}

/* Return: false when the message must wait: its bytes stay. */
static bool bulk_message(struct conn *c, const struct msg_header *h, const uint8_t *body)
{
	int ret;

	c->sink = NULL;
	ret = hand_on_bulk(c, h, body);
	if (ret == -EAGAIN) {
		c->stalled = true;
		return false;
	}
	if (ret < 0)	/* it has said why; the session is being refused */
		return false;
	c->start += sizeof(struct repl_msg) +
		    (h->type == REPL_MSG_BLOCKS ? sizeof(struct repl_msg_range) : h->length);
	if (h->type == REPL_MSG_BLOCKS)
		c->sink_left = h->length - sizeof(struct repl_msg_range);
	return true;
}

static bool is_bulk(uint16_t type)
{
	return type == REPL_MSG_BLOCKS || type == REPL_MSG_ZEROS || type == REPL_MSG_DIGESTS ||
	       type == REPL_MSG_WANT || type == REPL_MSG_DELTA_END;
}

static void refuse(struct conn *c, const char *text)
{
	conn_send(c, REPL_MSG_REFUSE, text, strnlen(text, REPL_TEXT_MAX - 1));
	conn_close(c, "%s sent nonsense: %s", c->where, text);
}

/* Return: false when nothing more can be handed on now. */
static bool parse_one(struct conn *c)
{
	static uint64_t body[(CONN_BUFFER + 7) / 8];
	size_t have = c->end - c->start, need;
	struct repl_msg raw;
	struct msg_header h;
	struct err e;

	if (have < sizeof(raw))
		return false;
	memcpy(&raw, c->buffer + c->start, sizeof(raw));
	if (msg_unpack_header(&h, &raw, &e)) {
		refuse(c, e.text);
		return false;
	}
	need = sizeof(raw) + (h.type == REPL_MSG_BLOCKS ? sizeof(struct repl_msg_range) : h.length);
	if (have < need)
		return false;
	if (is_bulk(h.type))
		return bulk_message(c, &h, c->buffer + c->start + sizeof(raw));
	memcpy(body, c->buffer + c->start + sizeof(raw), h.length);
	c->start += need;
	core_message(&c->agent->core, c->id, &h, body);
	agent_settle(c->agent);
	return true;
}

static void parse(struct conn *c)
{
	c->woken = false;
	if (c->parsing)
		return;
	c->parsing = true;
	while (c->stage == CONN_OPEN && !c->paused && !c->stalled) {
		if (c->sink_left && c->start == c->end)
			break;
		if (c->sink_left)
			drain_into_sink(c);
		else if (!parse_one(c))
			break;
	}
	c->parsing = false;
	receive(c);
}

static void received(struct loop_op *op, int res)
{
	struct conn *c = container(op, struct conn, recv_op);

	c->receiving = false;
	c->pending--;
	if (c->stage == CONN_DEAD)
		return;
	if (res == -EAGAIN || res == -EINTR) {
		receive(c);
		return;
	}
	if (res <= 0) {
		conn_kill(c, "%s closed the connection%s%s", c->where, res ? ": " : "",
			  res ? strerror(-res) : "");
		return;
	}
	if (c->stage == CONN_CLOSING) {
		receive(c);
		return;
	}
	agent_now(c->agent);
	core_heard(&c->agent->core, c->id);
	c->end += (size_t)res;
	parse(c);
}

static void receive(struct conn *c)
{
	struct io_uring_sqe *sqe;

	if (c->receiving || c->stage < CONN_OPEN || c->stage == CONN_DEAD)
		return;
	if (c->stage == CONN_OPEN && (c->paused || c->stalled))
		return;
	if (c->start == c->end) {
		c->start = c->end = 0;
	} else if (c->start) {
		memmove(c->buffer, c->buffer + c->start, c->end - c->start);
		c->end -= c->start;
		c->start = 0;
	}
	sqe = loop_sqe(&c->agent->loop, &c->recv_op);
	io_uring_prep_recv(sqe, c->fd, c->buffer + c->end, CONN_BUFFER - c->end, 0);
	io_uring_sqe_set_data(sqe, &c->recv_op);
	c->receiving = true;
	c->pending++;
}

void conn_open(struct conn *c)
{
	loop_unwatch(&c->agent->loop, &c->watch);
	c->buffer = malloc(CONN_BUFFER);
	if (!c->buffer) {
		conn_kill(c, "out of memory");
		return;
	}
	c->recv_op.done = received;
	c->send_op.done = sent;
	c->deadline = 0;
	c->stage = CONN_OPEN;
	receive(c);
}

void conn_pause(struct conn *c, bool pause)
{
	c->paused = pause;
	c->woken = !pause;
}

void conn_wake(struct conn *c)
{
	if (c->stalled)
		c->woken = true;
	c->stalled = false;
}

void conn_attach(struct conn *c, struct apply *apply)
{
	/* The rest of a payload that nobody wants any more is thrown away. */
	c->apply = apply;
	if (apply)
		return;
	c->sink = NULL;
	conn_wake(c);
}
