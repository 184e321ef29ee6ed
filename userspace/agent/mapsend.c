// SPDX-License-Identifier: GPL-2.0-or-later
#include "mapsend.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* One MAP is queued at a time; the tx may outlive the op. */
struct mapsend {
	struct pair_io *io;		/* NULL: given up */
	struct conn *conn;
	uint32_t turn;
	bool queued;
	struct conn_tx tx;
	struct repl_extent extent[REPL_MSG_EXTENTS_MAX];
	struct {
		struct repl_msg header;
		struct repl_msg_extent extent[REPL_MSG_EXTENTS_MAX];
	} m;
};

static void put(struct mapsend *s)
{
	if (!s->io && !s->queued)
		free(s);
}

static void finish(struct mapsend *s, int error, const char *text)
{
	struct pair_io *io = s->io;
	uint32_t turn = s->turn;

	s->io = NULL;
	io->mapsend = NULL;
	put(s);
	agent_op_done(io->agent, io->pair->volume, io->pair, OP_MAP_SEND, turn, error, text);
}

void mapsend_drop(struct pair_io *io)
{
	if (io->mapsend)
		finish(io->mapsend, -ECANCELED, "given up");
}

static void more(struct mapsend *s);

static void map_sent(struct conn_tx *tx)
{
	struct mapsend *s = container(tx, struct mapsend, tx);

	s->queued = false;
	if (s->io)
		more(s);
	else
		put(s);
}

static void more(struct mapsend *s)
{
	size_t count, length;
	ssize_t n;

	if (s->conn->stage != CONN_OPEN) {
		finish(s, -ECONNRESET, "the session has ended");
		return;
	}
	n = read(s->io->cut_fd, s->extent, sizeof(s->extent));
	count = n > 0 ? (size_t)n / sizeof(s->extent[0]) : 0;
	length = count * sizeof(s->m.extent[0]);
	if (n < 0) {
		finish(s, -errno, "the cut cannot be read");
		return;
	}
	if (!count) {
		conn_send(s->conn, REPL_MSG_MAP, NULL, 0);
		finish(s, 0, NULL);
		return;
	}
	msg_pack_header(REPL_MSG_MAP, (uint32_t)length, &s->m.header);
	for (size_t i = 0; i < count; i++) {
		s->m.extent[i].block = htole64(s->extent[i].block);
		s->m.extent[i].count = htole64(s->extent[i].count);
	}
	s->tx = (struct conn_tx){
		.iov[0] = { &s->m, sizeof(s->m.header) + length }, .done = map_sent,
	};
	s->queued = true;
	conn_send_tx(s->conn, &s->tx);
}

void mapsend_start(struct pair_io *io, struct conn *c, const struct op *op)
{
	struct mapsend *s;

	mapsend_drop(io);
	s = calloc(1, sizeof(*s));
	if (!s || !c || io->cut_fd < 0) {
		free(s);
		agent_op_done(io->agent, io->pair->volume, io->pair, OP_MAP_SEND, op->turn, -ENOTCONN,
			      "the session or the cut is gone");
		return;
	}
	s->io = io;
	s->conn = c;
	s->turn = op->turn;
	io->mapsend = s;
	more(s);
}
