// SPDX-License-Identifier: GPL-2.0-or-later
/* The ops that take time: bulk data, links, and the commands of the kernel. */
#include "sim_private.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pair.h"
#include "verdict.h"

/* ----------------------------------------------------------- bulk data -- */

static void send_some(struct sim_event *ev);

static void end_delta(struct sim_pair *io, int error, const char *why)
{
	struct op_result r = { .error = error, .text = why, .moved = io->delta.moved };

	if (!io->sending)
		return;
	io->sending = false;
	io->node->core.now = io->node->sim->now;
	core_op_done(io->pair->volume, io->pair, OP_DELTA_SEND, io->delta_turn, &r);
}

static void send_some_later(struct sim_pair *io)
{
	struct sim_event *ev = sim_event(io->node, 1 + sim_random(io->node->sim, 5), send_some);

	ev->pair = io->pair;
	ev->value = io->delta_serial;
}

static void send_blocks(struct sim_pair *io, struct sim_conn *c, unsigned int end,
			const struct sim_block *b, unsigned int count)
{
	bool ask = suspect_next(&io->suspect);

	if (ask) {
		io->asked++;
		io->delta.moved.compared_bytes += count * REPL_BLOCK_BYTES;
	} else {
		io->delta.moved.sent_bytes += count * REPL_BLOCK_BYTES;
		core_progress(io->pair, count * REPL_BLOCK_BYTES);
	}
	net_post(c, !end, ask ? REPL_MSG_DIGESTS : REPL_MSG_BLOCKS, b, count * sizeof(*b));
}

/* A few blocks as they are now, then more a little later; of a frozen cut, as they were. */
static void send_some(struct sim_event *ev)
{
	struct sim_pair *io = sim_io(ev->pair);
	struct sim_node *n = ev->node;
	struct sk_slot *slot;
	struct sim_block b[CHUNK];
	struct repl_msg_delta m;
	struct sim_conn *c;
	unsigned int end, count = 0;

	c = net_pair_conn(n, ev->pair, &end);
	if (!io->sending || io->delta_serial != ev->value)
		return;
	if (!c || io->cut_slot < 0) {
		end_delta(io, -ENOTCONN, "the session is gone");
		return;
	}
	slot = &n->kernel.slot[io->cut_slot];
	for (; io->delta_at < SK_BLOCKS && count < CHUNK; io->delta_at++) {
		if (!slot->cut[io->delta_at])
			continue;
		b[count].block = io->delta_at;
		b[count++].value = n->kernel.data[io->delta_at];
		sk_release(&n->kernel, (unsigned int)io->cut_slot, io->delta_at);
	}
	if (count) {
		send_blocks(io, c, end, b, count);
		send_some_later(io);
		return;
	}
	if (io->asked)
		return;		/* the last answer goes on */
	msg_pack_delta(&io->delta, &m);
	net_post(c, !end, REPL_MSG_DELTA_END, &m, sizeof(m));
	end_delta(io, 0, NULL);
}

static void send_delta(struct sim_node *n, struct pair *p, const struct op *op)
{
	struct sim_pair *io = sim_io(p);
	struct repl_msg_delta m;
	struct sim_event *ev;
	struct sim_conn *c;
	unsigned int end;

	io->sending = true;
	io->delta_turn = op->turn;
	io->delta = op->delta;
	suspect_begin(&io->suspect, op->suspect);
	io->asked = 0;
	io->delta_at = 0;
	io->delta_serial = ++n->sim->serial;
	c = net_pair_conn(n, p, &end);
	if (c) {
		msg_pack_delta(&io->delta, &m);
		net_post(c, !end, REPL_MSG_DELTA_BEGIN, &m, sizeof(m));
	}
	ev = sim_event(n, 1, send_some);
	ev->pair = p;
	ev->value = io->delta_serial;
}

static void end_apply(struct sim_pair *io, int error, const char *why)
{
	struct op_result r = { .error = error, .text = why, .moved = io->applied };

	if (!io->applying)
		return;
	io->applying = false;
	io->node->core.now = io->node->sim->now;
	core_op_done(io->pair->volume, io->pair, OP_DELTA_APPLY, io->apply_turn, &r);
}

static void apply_flushed(struct sim_event *ev)
{
	if (!sim_io(ev->pair)->apply_ended || sim_io(ev->pair)->apply_turn != ev->value)
		return;
	sk_flush(&ev->node->kernel);
	end_apply(sim_io(ev->pair), 0, NULL);
}

/*
 * Digests of one DIGESTS message: the values are their own digests.  What differs is
 * wanted; 'bytes', which a WANT has in its first element, is what was asked about.
 */
static void compare(struct sim_pair *io, const struct message *m)
{
	const struct sim_block *theirs = (const struct sim_block *)m->body;
	size_t count = m->length / sizeof(*theirs);
	struct sim_block want[1 + CHUNK] = { { .block = count * REPL_BLOCK_BYTES } };
	struct sim_conn *c;
	unsigned int end;
	size_t n = 1;

	for (size_t i = 0; i < count; i++)
		if (io->node->kernel.data[theirs[i].block] != theirs[i].value)
			want[n++] = theirs[i];
	io->applied.compared_bytes += count * REPL_BLOCK_BYTES;
	io->applied.equal_bytes += (count - (n - 1)) * REPL_BLOCK_BYTES;
	core_progress(io->pair, (count - (n - 1)) * REPL_BLOCK_BYTES);
	c = net_pair_conn(io->node, io->pair, &end);
	if (c)
		net_post(c, !end, REPL_MSG_WANT, want, n * sizeof(want[0]));
}

/* What the leader kept in memory is sent, whatever was written to it since. */
static void wanted(struct sim_pair *io, const struct message *m)
{
	const struct sim_block *want = (const struct sim_block *)m->body;
	size_t count = m->length / sizeof(*want) - 1;
	uint64_t bytes = want[0].block, equal = bytes - count * REPL_BLOCK_BYTES;
	struct sim_conn *c;
	unsigned int end;

	c = net_pair_conn(io->node, io->pair, &end);
	if (!io->sending || !c)
		return;
	if (!io->asked--)
		sim_broke(io->node->sim, "only what was asked is answered", io->node->name);
	if (count)
		net_post(c, !end, REPL_MSG_BLOCKS, want + 1, count * sizeof(*want));
	io->delta.moved.sent_bytes += count * REPL_BLOCK_BYTES;
	io->delta.moved.equal_bytes += equal;
	suspect_told(&io->suspect, bytes, equal);
	core_progress(io->pair, bytes);
	if (io->delta_at == SK_BLOCKS && !io->asked)
		send_some_later(io);
}

/* The blocks are marked for their leader, and wait. */
static void stage_blocks(struct sim_node *n, struct sim_pair *io, const struct message *m)
{
	struct op_result r = { .error = -ENOSPC, .staging = true, .text = "no room", .moved = io->applied };

	for (size_t i = 0; i < m->length / 16; i++) {
		uint64_t block = m->body[2 * i];

		if (n->stage.count == n->sim->stage_most) {
			io->applying = false;
			io->node->core.now = io->node->sim->now;
			core_op_done(io->pair->volume, io->pair, OP_DELTA_APPLY, io->apply_turn, &r);
			return;
		}
		for (unsigned int slot = 0; slot < SK_SLOTS; slot++)
			if (io->apply_mask & 1u << slot)
				n->kernel.slot[slot].dirty[block] = true;
		n->stage.block[n->stage.count] = block;
		n->stage.value[n->stage.count++] = m->body[2 * i + 1];
	}
	io->applied.sent_bytes += m->length / 16 * REPL_BLOCK_BYTES;
}

void work_bulk(struct sim_node *n, struct pair *p, const struct message *m)
{
	struct sim_pair *io = sim_io(p);
	struct sim_event *ev;

	if (m->type == REPL_MSG_WANT)
		wanted(io, m);
	if (m->type == REPL_MSG_WANT || !io->applying)
		return;		/* of a procedure that was left */
	if (m->type == REPL_MSG_DELTA_END) {
		io->apply_ended = true;
		ev = sim_event(n, 1 + sim_random(n->sim, 10), apply_flushed);
		ev->pair = p;
		ev->value = io->apply_turn;
		return;
	}
	if (m->type == REPL_MSG_DIGESTS) {
		compare(io, m);
		return;
	}
	if (io->staging) {
		stage_blocks(n, io, m);
		return;
	}
	if (n->kernel.flags & REPL_SB_CONSISTENT)
		sim_broke(n->sim, "a consistent copy is not overwritten", n->name);
	for (size_t i = 0; i < m->length / 16; i++)
		sk_apply(&n->kernel, io->apply_mask, m->body[2 * i], m->body[2 * i + 1]);
	io->applied.sent_bytes += m->length / 16 * REPL_BLOCK_BYTES;
}

static void send_map(struct sim_node *n, struct pair *p, const struct op *op)
{
	struct sim_pair *io = sim_io(p);
	struct repl_msg_extent e[SK_BLOCKS];
	struct sim_conn *c;
	unsigned int end;
	size_t count = 0;

	c = net_pair_conn(n, p, &end);
	if (!c || io->cut_slot < 0) {
		sim_op_done(n, p->volume, p, op->kind, op->turn, -ENOTCONN, "the session is gone");
		return;
	}
	for (uint64_t b = 0; b < SK_BLOCKS; b++)
		if (n->kernel.slot[io->cut_slot].cut[b])
			e[count++] = (struct repl_msg_extent){ htole64(b), htole64(1) };
	for (size_t i = 0; i < count; i += 100)
		net_post(c, !end, REPL_MSG_MAP, e + i, (count - i < 100 ? count - i : 100) * sizeof(e[0]));
	net_post(c, !end, REPL_MSG_MAP, NULL, 0);
	sim_op_done(n, p->volume, p, op->kind, op->turn, 0, NULL);
}

/* ------------------------------------------------------ saving, a split -- */

static void end_save(struct sim_pair *io, int error, const char *text)
{
	if (!io->saving)
		return;
	io->saving = false;
	sim_op_done(io->node, io->pair->volume, io->pair, OP_SAVE, io->save_turn, error, text);
}

static void save_some(struct sim_event *ev)
{
	struct sim_pair *io = sim_io(ev->pair);
	struct sim_node *n = ev->node;
	const struct sk_slot *slot;

	if (!io->saving || io->save_turn != ev->value)
		return;
	if (io->cut_slot < 0 || n->sim->no_room || sim_random(n->sim, 1000) < n->sim->op_failures) {
		end_save(io, -ENOSPC, "a failure that the test made");
		return;
	}
	slot = &n->kernel.slot[io->cut_slot];
	for (unsigned int b = 0; b < SK_BLOCKS; b++) {
		n->saved_block[b] = slot->cut[b];
		n->saved[b] = slot->cut[b] ? n->kernel.data[b] : 0;
	}
	n->saves++;
	end_save(io, 0, "saved.repl");
}

static void save(struct sim_node *n, struct pair *p, const struct op *op)
{
	struct sim_event *ev;

	sim_io(p)->saving = true;
	sim_io(p)->save_turn = op->turn;
	ev = sim_event(n, 1 + n->sim->save_ms + sim_random(n->sim, 3000), save_some);
	ev->pair = p;
	ev->value = op->turn;
}

/* What a person has said of a split when the kernel is told to give the copy up: the session may end before it does. */
enum { DECIDED = 1, NOT_SAVED = 2 };

static uint64_t decision(const struct pair *p)
{
	bool decided = p->resolve.step == RESOLVE_AGREED && !p->resolve.keeps;

	return (decided ? DECIDED : 0) | (p->resolve.no_save ? NOT_SAVED : 0);
}

/* A copy that was written alone goes only when a person has said so, and what it had was saved. */
static void check_given_up(struct sim_node *n, const struct pair *p, uint64_t said)
{
	const struct sk_slot *slot = &n->kernel.slot[sim_io(p)->cut_slot < 0 ? 0 : sim_io(p)->cut_slot];
	const uint64_t *kept = sim_peer_node(n->sim, p->peer)->kernel.data;
	/* Else what differs may have been written there since, over what both had. */
	bool rests = !n->sim->writing;

	if (!(n->kernel.flags & REPL_SB_CONSISTENT) || !verdict_is_split(&p->mine, &p->theirs))
		return;
	if (!(said & DECIDED)) {
		sim_broke(n->sim, "a split copy is not given up by itself", n->name);
		return;
	}
	for (unsigned int b = 0; b < SK_BLOCKS && !(said & NOT_SAVED); b++)
		if ((slot->dirty[b] || slot->cut[b] || (rests && n->kernel.data[b] != kept[b])) &&
		    (!n->saved_block[b] || n->saved[b] != n->kernel.data[b]))
			sim_broke(n->sim, "what is given up was saved", n->name);
}

/* ------------------------------------------------------------- staging -- */

static void drop_stage(struct sim_node *n)
{
	n->stage.open = false;
	n->stage.owner = NULL;
	if (n->stage_fixed)
		return;
	n->stage.sealed = false;
	n->stage.count = 0;
}

void sim_unmount(struct sim_node *n)
{
	n->stage.open = false;
	n->stage.owner = NULL;
	n->unmounted = n->stage;
	drop_stage(n);
}

void sim_mount(struct sim_node *n)
{
	n->stage = n->unmounted;
}

void work_start(struct sim_node *n)
{
	if (!n->stage.sealed) {
		drop_stage(n);
		return;
	}
	n->stage.open = true;
	core_staged(n->volume, &n->stage.what);
}

static void stage_step(struct sim_event *ev);

static void stage_later(struct sim_node *n, const struct op *op)
{
	struct sim_event *ev = sim_event(n, 1 + sim_random(n->sim, 10), stage_step);

	ev->volume = n->volume;
	ev->op = *op;
}

static void apply_some(struct sim_node *n, uint32_t mask)
{
	if (n->kernel.flags & REPL_SB_CONSISTENT)
		sim_broke(n->sim, "a consistent copy is not overwritten", n->name);
	for (unsigned int i = 0; i < CHUNK && n->stage.at < n->stage.count; i++, n->stage.at++)
		sk_apply(&n->kernel, mask, n->stage.block[n->stage.at], n->stage.value[n->stage.at]);
}

static void seal_stage(struct sim_node *n, const struct staged *what, struct op_result *r)
{
	if (!n->stage.open || !n->stage.count)
		return;
	r->moved.sent_bytes = n->stage.count * REPL_BLOCK_BYTES;
	n->stage.what = *what;
	n->stage.what.bytes = r->moved.sent_bytes;
	n->stage.what.file = ++n->sim->serial;
	n->stage.sealed = true;
	r->staged = &n->stage.what;
}

static void stage_step(struct sim_event *ev)
{
	struct sim_node *n = ev->node;
	struct op_result r = { 0 };

	if (sim_random(n->sim, 1000) < n->sim->op_failures ||
	    (ev->op.kind == OP_STAGE_DROP && n->stage_fixed)) {
		r.error = -EIO;
		r.text = "a failure that the test made";
		n->stage.open &= ev->op.kind != OP_STAGE_DROP;
	} else if (ev->op.kind == OP_STAGE_SEAL) {
		seal_stage(n, &ev->op.staged, &r);
	} else if (ev->op.kind == OP_STAGE_DROP) {
		drop_stage(n);
	} else if (!n->stage.open || !n->stage.sealed) {
		sim_broke(n->sim, "what is applied was staged, and whole", n->name);
	} else if (n->stage.at < n->stage.count) {
		apply_some(n, ev->op.mask);
		stage_later(n, &ev->op);
		return;
	} else {
		sk_flush(&n->kernel);
	}
	n->core.now = n->sim->now;
	core_op_done(ev->volume, NULL, ev->op.kind, ev->op.turn, &r);
}

/* At once, as the shell does. */
static void clean_stage(struct sim_node *n, const struct op *op)
{
	bool fails = n->stage_fixed || sim_random(n->sim, 1000) < n->sim->op_failures;

	if (!fails && !n->stage.open)
		drop_stage(n);
	sim_op_done(n, n->volume, NULL, op->kind, op->turn, fails ? -EIO : 0, "a failure that the test made");
}

/* A delta is to be staged, if there can be a file for it. */
static void open_stage(struct sim_node *n, struct sim_pair *io, const struct op *op)
{
	struct op_result r = { .error = -EROFS, .staging = true, .text = "no file can be made" };

	if (n->stage.owner == io)
		return;
	if (n->stage_fixed) {
		io->applying = false;
		n->core.now = n->sim->now;
		core_op_done(io->pair->volume, io->pair, op->kind, op->turn, &r);
		return;
	}
	if (n->stage.sealed && !(n->kernel.flags & REPL_SB_CONSISTENT))
		sim_broke(n->sim, "a file that may be needed is not written over", n->name);
	drop_stage(n);
	n->stage.open = true;
	n->stage.owner = io;
}

static void begin_stage(struct sim_node *n, const struct op *op)
{
	n->stage.owner = NULL;		/* it is the volume's now */
	n->stage.at = 0;
	stage_later(n, op);
}

/* --------------------------------------------------------------- links -- */

void work_forget_link(struct sim *s, struct sk_link *l)
{
	for (unsigned int i = 0; i < sizeof(s->links) / sizeof(s->links[0]); i++)
		if (s->links[i] == l)
			s->links[i] = NULL;
	sk_link_put(l);
}

static void remember_link(struct sim *s, struct sk_link *l)
{
	for (unsigned int i = 0; i < sizeof(s->links) / sizeof(s->links[0]); i++) {
		if (s->links[i])
			continue;
		s->links[i] = l;
		l->held++;
		return;
	}
	sim_broke(s, "links end", "too many are open");
}

static void drop_proven(struct sim_pair *io)
{
	if (!io->link)
		return;
	/* The connection closes unless a kernel holds it, too. */
	if (!io->link->end[0] || (io->link->end[0] != &io->node->kernel &&
				  io->link->end[1] != &io->node->kernel))
		io->link->alive = false;
	sk_link_put(io->link);
	io->link = NULL;
}

static void end_link_open(struct sim_pair *io, struct sk_link *l, int error, const char *why)
{
	io->link_waiting = false;
	io->link = l;
	sim_op_done(io->node, io->pair->volume, io->pair, OP_LINK_OPEN, io->link_turn, error, why);
}

static void link_timeout(struct sim_event *ev)
{
	struct sim_pair *io = sim_io(ev->pair);

	if (io->link_waiting && io->link_cookie == ev->value)
		end_link_open(io, NULL, -ETIMEDOUT, "the peer did not connect in time");
}

static struct sim_pair *other_end(struct sim_pair *io)
{
	struct sim_node *other = sim_peer_node(io->node->sim, io->pair->peer);

	if (!other->running || !other->volume || sim_is_cut(io->node->sim, io->node, other))
		return NULL;
	for (unsigned int i = 0; i < other->volume->pair_count; i++)
		if (!memcmp(other->volume->pair[i]->peer->key, io->node->key, REPL_KEY_BYTES))
			return sim_io(other->volume->pair[i]);
	return NULL;
}

/* Of two ends that should meet one fails and says so; the other waits on. */
static bool fails_half(struct sim_pair *a, struct sim_pair *b)
{
	struct sim *s = a->node->sim;
	struct sim_pair *io = pair_leading(a->pair) ? a : b;

	if (s->half_links)
		s->half_links--;
	else if (sim_random(s, 1000) < s->op_failures)
		io = sim_random(s, 2) ? a : b;
	else
		return false;
	end_link_open(io, NULL, -ECONNABORTED, "a failure that the test made");
	sim_settle(io->node);
	return true;
}

static void match_link(struct sim_event *ev)
{
	struct sim_pair *io = sim_io(ev->pair), *other = other_end(io);
	struct sk_link *l;

	if (!io->link_waiting || io->link_cookie != ev->value || !other || !other->link_waiting ||
	    other->link_cookie != io->link_cookie || fails_half(io, other))
		return;
	l = sk_link_new(io->link_cookie);
	l->held = 2;
	remember_link(io->node->sim, l);
	io->node->sim->links_made++;
	end_link_open(io, l, 0, NULL);
	end_link_open(other, l, 0, NULL);
	sim_settle(other->node);
}

static void open_link(struct sim_node *n, struct pair *p, const struct op *op)
{
	struct sim_pair *io = sim_io(p);
	struct sim_event *ev;

	drop_proven(io);
	if (io->link_waiting)
		end_link_open(io, NULL, -ECANCELED, "given up");
	io->link_waiting = true;
	io->link_turn = op->turn;
	io->link_cookie = op->link.cookie;
	ev = sim_event(n, 2 * LATENCY_MS, match_link);
	ev->pair = p;
	ev->value = io->link_cookie;
	ev = sim_event(n, LINK_OPEN_MS, link_timeout);
	ev->pair = p;
	ev->value = io->link_cookie;
}

static void learn_loss(struct sim_event *ev)
{
	struct sk_slot *slot = &ev->node->kernel.slot[ev->value];

	if (slot->link && !slot->link->alive)
		sk_link_lost(&ev->node->kernel, (unsigned int)ev->value);
}

void work_pump_links(struct sim *s)
{
	for (unsigned int i = 0; i < sizeof(s->links) / sizeof(s->links[0]); i++) {
		struct sk_link *l = s->links[i];

		if (!l)
			continue;
		if (l->held == 1) {
			work_forget_link(s, l);
			continue;
		}
		for (int end = 0; end < 2; end++)
			if (l->end[end])
				l->end[end]->now = s->now;
		sk_pump(l);
		for (int end = 0; end < 2 && !l->alive; end++) {
			for (unsigned int n = 0; n < s->nodes; n++) {
				if (l->end[end] != &s->node[n].kernel)
					continue;
				sim_event(&s->node[n], LATENCY_MS, learn_loss)->value = l->slot[end];
			}
		}
	}
}

/* -------------------------------------------------------------- kernel -- */

static void drained(struct sim_event *ev)
{
	struct sim_pair *io = sim_io(ev->pair);

	if (!io->cut_waiting || io->cut_turn != ev->value)
		return;
	io->cut_waiting = false;
	sim_op_done(ev->node, ev->pair->volume, ev->pair, OP_CUT, io->cut_turn, 0, NULL);
}

static void begin_cut(struct sim_node *n, struct pair *p, const struct op *op)
{
	struct sim_pair *io = sim_io(p);
	const char *why = NULL;
	int error = sk_op(&n->kernel, op, NULL, n->sim->now, &why);
	struct sim_event *ev;

	if (error) {
		sim_op_done(n, p->volume, p, OP_CUT, op->turn, error, why);
		return;
	}
	io->cut_slot = op->slot;
	io->cut_waiting = true;
	io->cut_turn = op->turn;
	ev = sim_event(n, 1 + sim_random(n->sim, 5), drained);
	ev->pair = p;
	ev->value = op->turn;
}

static void commit(struct sim_node *n, struct pair *p, const struct op *op)
{
	struct sim_pair *io = sim_io(p);
	struct op real = *op;
	const char *why = "no cut is open";
	int error = -EBADF;

	if (io->cut_slot >= 0) {
		real.slot = (uint8_t)io->cut_slot;
		error = sk_op(&n->kernel, &real, NULL, n->sim->now, &why);
		/* It is closed, whatever came of it. */
		sk_abort(&n->kernel, real.slot);
	}
	io->cut_slot = -1;
	sim_op_done(n, p->volume, p, OP_COMMIT, op->turn, error, why);
}

/* What waits for a generation has reached the disk all the same. */
static bool writes_end(const struct sk *k)
{
	return k->write_pending && !k->gate_lost;
}

static void kernel_op(struct sim_event *ev)
{
	struct sim_node *n = ev->node;
	struct sim *s = n->sim;
	struct sim_pair *io = ev->pair ? sim_io(ev->pair) : NULL;
	const char *why = "a failure that the test made";
	int error = -EIO;

	if (ev->op.kind == OP_FREEZE && n->kernel.gate_join && writes_end(&n->kernel)) {
		struct sim_event *again = sim_event(n, 1, kernel_op);

		again->pair = ev->pair;
		again->volume = ev->volume;
		again->op = ev->op;
		return;
	}
	if (ev->op.kind == OP_FOLLOW && ev->pair)
		check_given_up(n, ev->pair, ev->value);
	if (ev->op.kind == OP_FOLLOW && !ev->pair && !n->stage.sealed)
		sim_broke(s, "a copy is left only for what is staged, and whole", n->name);
	n->commits += ev->op.kind == OP_RECORD && ev->op.follow;
	if (sim_random(s, 1000) >= s->op_failures) {
		/* The shell removes the file before blocks are written past it. */
		if (ev->op.kind == OP_FOLLOW && ev->pair)
			drop_stage(n);
		error = sk_op(&n->kernel, &ev->op, io ? io->link : NULL, s->now, &why);
	}
	if (!error && ev->op.kind == OP_FREEZE && writes_end(&n->kernel)) {
		struct sim_event *again = sim_event(n, 1, kernel_op);

		again->pair = ev->pair;
		again->volume = ev->volume;
		again->op = ev->op;
		return;
	}
	if (ev->op.kind == OP_LINK_ADD && io)
		drop_proven(io);
	sim_op_done(n, ev->volume, ev->pair, ev->op.kind, ev->op.turn, error, why);
	free(ev->op.extents);
}

void work_begin(struct sim_node *n, struct action *a)
{
	struct sim *s = n->sim;
	struct sim_event *ev;

	switch (a->op.kind) {
	case OP_CUT:
		begin_cut(n, a->pair, &a->op);
		return;
	case OP_COMMIT:
		commit(n, a->pair, &a->op);
		return;
	case OP_LINK_OPEN:
		open_link(n, a->pair, &a->op);
		return;
	case OP_MAP_SEND:
		send_map(n, a->pair, &a->op);
		return;
	case OP_DELTA_SEND:
		send_delta(n, a->pair, &a->op);
		return;
	case OP_DELTA_APPLY:
		sim_io(a->pair)->applying = true;
		sim_io(a->pair)->apply_ended = false;
		sim_io(a->pair)->applied = (struct msg_moved){ 0 };
		sim_io(a->pair)->apply_turn = a->op.turn;
		sim_io(a->pair)->apply_mask = a->op.mask;
		sim_io(a->pair)->staging = a->op.stage;
		if (a->op.stage)
			open_stage(n, sim_io(a->pair), &a->op);
		return;
	case OP_STAGE_SEAL:
	case OP_STAGE_APPLY:
	case OP_STAGE_DROP:
		begin_stage(n, &a->op);
		return;
	case OP_STAGE_CLEAN:
		clean_stage(n, &a->op);
		return;
	case OP_SAVE:
		save(n, a->pair, &a->op);
		return;
	default:
		break;
	}
	if (n->kernel_busy < s->now)
		n->kernel_busy = s->now;
	n->kernel_busy += 1 + sim_random(s, 5);
	ev = sim_event(n, n->kernel_busy - s->now, kernel_op);
	ev->pair = a->pair;
	ev->volume = a->volume;
	ev->op = a->op;
	ev->value = a->pair ? decision(a->pair) : 0;
	a->op.extents = NULL;
}

void work_drop(struct sim_node *n, struct sim_pair *io)
{
	end_delta(io, -ECANCELED, "given up");
	end_apply(io, -ECANCELED, "given up");
	end_save(io, -ECANCELED, "given up");
	if (n->stage.owner == io)
		drop_stage(n);
	drop_proven(io);
	if (io->link_waiting)
		end_link_open(io, NULL, -ECANCELED, "given up");
	if (io->cut_slot >= 0)
		sk_abort(&n->kernel, (unsigned int)io->cut_slot);
	io->cut_slot = -1;
	if (io->cut_waiting) {
		io->cut_waiting = false;
		sim_op_done(n, io->pair->volume, io->pair, OP_CUT, io->cut_turn, -ECANCELED, "given up");
	}
}

/* The descriptors close: cuts end, connections that nobody adopted die. */
void work_forget(struct sim_node *n, struct sim_pair *io)
{
	if (n->stage.owner == io)
		n->stage.owner = NULL;
	drop_proven(io);
	if (io->cut_slot >= 0)
		sk_abort(&n->kernel, (unsigned int)io->cut_slot);
	free(io);
}

bool work_outlives_agent(const struct sim_event *ev)
{
	return ev->run == learn_loss || witness_outlives_agent(ev);
}
