// SPDX-License-Identifier: GPL-2.0-or-later
#include "model.h"

#include <stdio.h>
#include <string.h>

unsigned int model_nodes = 2, model_writes = 2;
struct wrong model_wrong;
const char *model_complaint;

void model_complain(const char *what)
{
	if (!model_complaint)
		model_complaint = what;
}

uint8_t model_all(void)
{
	return (uint8_t)((1u << model_writes) - 1);
}

struct mpair *model_pair(struct cluster *c, unsigned int a, unsigned int b)
{
	return &c->pair[a + b - 1];	/* 0-1, 0-2, 1-2 */
}

static const struct mpair *pair_of(const struct cluster *c, unsigned int a, unsigned int b)
{
	return &c->pair[a + b - 1];
}

bool model_connected(const struct cluster *c, unsigned int a, unsigned int b)
{
	return c->node[a].flags & c->node[b].flags & N_UP && pair_of(c, a, b)->cable;
}

static bool live(const struct cluster *c, unsigned int a, unsigned int b)
{
	return a != b && pair_of(c, a, b)->link == LINK_LIVE;
}

unsigned int model_live(struct cluster *c, unsigned int n)
{
	unsigned int links = 0;

	for (unsigned int i = 0; i < model_nodes; i++)
		links += live(c, n, i);
	return links;
}

bool model_half(struct cluster *c, unsigned int n)
{
	for (unsigned int i = 0; i < model_nodes; i++)
		if (i != n && pair_of(c, n, i)->link == LINK_HALF)
			return true;
	return false;
}

static bool has_slots(const struct mnode *m, unsigned int but)
{
	bool used = false;

	for (unsigned int i = 0; i < model_nodes; i++)
		used |= i != but && m->slot[i].flags & S_USED;
	return used;
}

uint8_t model_dirty(const struct mslot *s)
{
	return s->map | s->settling;
}

void model_start(struct cluster *c)
{
	memset(c, 0, sizeof(*c));
	for (unsigned int i = 0; i < NODES; i++)
		c->node[i].flags = N_SB_STOPPED;
	for (unsigned int i = 0; i < PAIRS; i++)
		c->pair[i].cable = 1;
}

/* --------------------------------------------------------------- links -- */

/* kmod/link.c: the bits are set, and a primary's gate is shut, in one step. */
static void lose_peer(struct mnode *m, unsigned int peer, bool had)
{
	struct mslot *s = &m->slot[peer];

	if (had && m->flags & N_UP && m->flags & N_PRIMARY) {
		if (!model_wrong.unflushed_forgotten)
			s->map |= s->unflushed;
		if (model_wrong.no_generation) {
			m->held = 0;
		} else {
			m->flags |= N_LOST;
		}
	}
	s->unflushed = 0;
}

/* share_end() */
void model_end_settling(struct mnode *m)
{
	for (unsigned int i = 0; i < model_nodes; i++) {
		if (!model_wrong.settling_lost)
			m->slot[i].map |= m->slot[i].settling;
		m->slot[i].settling = 0;
	}
}

void model_kill_link(struct cluster *c, unsigned int a, unsigned int b)
{
	struct mpair *p = model_pair(c, a, b);

	if (p->settles & 1)
		model_end_settling(&c->node[a < b ? a : b]);
	if (p->settles & 2)
		model_end_settling(&c->node[a < b ? b : a]);
	p->settles = 0;

	lose_peer(&c->node[a], b, p->link == LINK_LIVE || (p->link == LINK_HALF && p->leader == a));
	lose_peer(&c->node[b], a, p->link == LINK_LIVE || (p->link == LINK_HALF && p->leader == b));
	if (p->cut)
		c->node[a + b - p->leader].slot[p->leader].map |= p->cut;
	p->link = LINK_NONE;
	p->leader = p->step = p->followed = p->generation = p->cut = 0;
}

static void kill_links(struct cluster *c, unsigned int n, unsigned int but)
{
	for (unsigned int i = 0; i < model_nodes; i++)
		if (i != n && i != but)
			model_kill_link(c, n, i);
}

/* ------------------------------------------------------- generations ---- */

/* kmod/role.c: record_generation(), on a live secondary. */
static bool adopt(struct cluster *c, unsigned int k, unsigned int from, uint8_t previous)
{
	struct mnode *m = &c->node[k];

	if (m->flags & N_PRIMARY || m->generation != previous)
		return false;
	for (unsigned int i = 0; i < model_nodes; i++)
		if (i != k && i != from && live(c, k, i))
			model_kill_link(c, k, i);
	m->history |= (uint16_t)(1u << m->generation);
	m->generation = c->node[from].generation;
	if (!model_wrong.not_flushed)
		m->stable = m->content;
	m->slot[from].generation = m->generation;
	return true;
}

static uint8_t fresh_generation(struct cluster *c, uint8_t previous)
{
	for (uint8_t g = 1; g < GENERATIONS; g++) {
		if (c->ancestors[g])
			continue;
		/* Its own bit says that it is taken. */
		c->ancestors[g] = (uint16_t)(1u << g | (previous ? c->ancestors[previous] : 0));
		return g;
	}
	return 0;
}

/* begin_generation(): durable here, then on every live peer.  Return: false when it crashed. */
bool model_generation(struct cluster *c, unsigned int n, uint16_t set, uint16_t clear,
		      enum promote_end end)
{
	struct mnode *m = &c->node[n];
	uint8_t previous = m->generation;

	if (previous)
		m->history |= (uint16_t)(1u << previous);
	m->generation = fresh_generation(c, previous);
	/* What it begins with does not go with a power cut. */
	if (!model_wrong.not_flushed)
		m->stable = m->content;
	m->flags = (uint16_t)((m->flags & ~clear) | set);
	if (!m->uuid)
		m->uuid = m->generation;
	if (end == CRASH_COMMITTED) {
		model_crash(c, n, true);
		return false;
	}
	for (unsigned int i = 0; i < model_nodes; i++) {
		if (!live(c, n, i) || model_wrong.peers_not_told || end == LOST_UNTOLD)
			continue;
		if (!adopt(c, i, n, previous))
			model_complain("a live peer refuses the generation");
		else if (end == PROMOTED)
			m->slot[i].generation = m->generation;
	}
	if (end == CRASH_ADOPTED) {
		model_crash(c, n, true);
		return false;
	}
	return true;
}

/* role_lost_work(): also what a frozen volume does when it is told to go on. */
static bool after_loss(struct cluster *c, unsigned int n, enum promote_end end)
{
	struct mnode *m = &c->node[n];

	if (!(m->flags & N_LOST) || model_half(c, n) || end > CRASH_ADOPTED)
		return false;
	if (end == CRASH_ADOPTED && !model_live(c, n))
		return false;
	if (!model_generation(c, n, 0, 0, end))
		return true;
	m->flags &= (uint16_t)~N_LOST;
	c->acked |= m->held;
	m->firm |= m->held;
	for (unsigned int i = 0; i < model_nodes; i++)
		if (live(c, n, i))
			c->node[i].firm |= m->held;
	m->held = 0;
	return true;
}

/* ------------------------------------------------------------- writes --- */

static void put(struct mnode *m, uint8_t w, bool firm)
{
	m->content |= w;
	m->firm |= firm ? w : 0;
}

/* kmod/share.c: a write that a live peer applies; what a third node has of it, it does not know. */
static void apply(struct cluster *c, unsigned int k, unsigned int from, uint8_t w, bool firm)
{
	struct mnode *m = &c->node[k];

	if (has_slots(m, from) && !model_wrong.others_not_logged)
		m->logged |= w;
	put(m, w, firm);
	for (unsigned int i = 0; i < model_nodes; i++) {
		if (i == k || i == from || !(m->slot[i].flags & S_USED))
			continue;
		if (live(c, k, i))
			model_kill_link(c, k, i);
		if (!model_wrong.others_not_marked)
			m->slot[i].map |= w;
	}
}

/* Sampled once for each slot: its link, or its bits. */
static void mirror(struct cluster *c, unsigned int n, uint8_t w, unsigned int but, bool firm)
{
	struct mnode *m = &c->node[n];

	if (has_slots(m, NODES))
		m->logged |= w;
	put(m, w, firm);
	for (unsigned int i = 0; i < model_nodes; i++) {
		if (i == n || !(m->slot[i].flags & S_USED))
			continue;
		if (live(c, n, i) && i != but) {
			m->slot[i].unflushed |= w;
			apply(c, i, n, w, firm);
		} else {
			m->slot[i].map |= w;
		}
	}
}

static bool may_write(struct cluster *c, unsigned int n)
{
	const struct mnode *m = &c->node[n];

	return m->flags & N_PRIMARY && !(m->flags & N_LOST) && !model_half(c, n) &&
	       c->writes < model_writes;
}

static uint8_t next_write(struct cluster *c)
{
	return (uint8_t)(1u << c->writes++);
}

static bool do_write(struct cluster *c, unsigned int n)
{
	uint8_t w;

	if (!may_write(c, n))
		return false;
	w = next_write(c);
	mirror(c, n, w, n, true);
	c->acked |= w;
	return true;
}

/* The primary's power fails in the middle of a write: here, or there, or on both. */
static bool do_torn(struct cluster *c, unsigned int n, uint8_t variant)
{
	bool there = variant & 1, here = variant & 2;
	struct mnode *m = &c->node[n];
	uint8_t w;

	if (!may_write(c, n) || variant == 0 || (there && !model_live(c, n)))
		return false;
	w = next_write(c);
	if (has_slots(m, NODES))
		m->logged |= w;
	if (here)
		put(m, w, false);
	for (unsigned int i = 0; there && i < model_nodes; i++)
		if (live(c, n, i))
			apply(c, i, n, w, false);
	model_crash(c, n, here);
	return true;
}

static void flush_copy(struct cluster *c, unsigned int n)
{
	c->node[n].stable = c->node[n].content;
}

static void flush_live(struct cluster *c, unsigned int n)
{
	flush_copy(c, n);
	for (unsigned int i = 0; i < model_nodes; i++) {
		if (!live(c, n, i))
			continue;
		flush_copy(c, i);
		c->node[n].slot[i].unflushed = 0;
	}
}

static bool do_flush(struct cluster *c, unsigned int n)
{
	const struct mnode *m = &c->node[n];

	if (!(m->flags & N_PRIMARY) || m->flags & N_LOST || model_half(c, n))
		return false;
	flush_live(c, n);
	c->synced |= c->acked & m->content;
	return true;
}

/* meta_checkpoint(): with what open cuts hold. */
static void checkpoint(struct cluster *c, unsigned int n)
{
	struct mnode *m = &c->node[n];

	for (unsigned int i = 0; i < model_nodes; i++) {
		m->slot[i].saved = model_dirty(&m->slot[i]);
		if (i != n && pair_of(c, n, i)->leader == i)
			m->slot[i].saved |= pair_of(c, n, i)->cut;
	}
}

/* kmod/log.c: regions leave the log once all is flushed and the maps are saved. */
static bool do_clean(struct cluster *c, unsigned int n)
{
	struct mnode *m = &c->node[n];

	if (!m->logged || !(m->flags & N_UP) || m->flags & N_LOST || model_half(c, n))
		return false;
	if (m->flags & N_PRIMARY)
		flush_live(c, n);
	else
		flush_copy(c, n);
	checkpoint(c, n);
	m->logged = 0;
	return true;
}

static uint8_t end_of(unsigned int k, unsigned int n)
{
	return k < n ? 1 : 2;
}

/* share_settle(), of a SETTLED that comes to @k. */
static void settle(struct cluster *c, unsigned int k, unsigned int from)
{
	struct mpair *p = model_pair(c, k, from);
	struct mnode *m = &c->node[k];
	bool counts = c->node[from].told && p->settles & end_of(k, from);

	for (unsigned int i = 0; i < model_nodes; i++) {
		struct mslot *s = &m->slot[i];

		if (i == k || i == from || live(c, k, i) || !(s->flags & S_USED))
			continue;
		if (counts && m->generation == c->node[from].generation && s->flags & S_CURRENT &&
		    (live(c, from, i) || model_wrong.absent_named)) {
			s->settling = 0;
			if (s->flags & (S_FULL | S_LIVE) || s->generation != m->generation) {
				flush_copy(c, k);
				checkpoint(c, k);
				s->flags &= (uint8_t)~(S_FULL | S_LIVE);
				s->generation = m->generation;
			}
		}
		s->settling |= s->map;
		s->map = 0;
	}
	p->settles |= end_of(k, from);
}

/* role_tell_settled(), after a flush everywhere. */
static bool do_tell(struct cluster *c, unsigned int n)
{
	struct mnode *m = &c->node[n];

	if (!(m->flags & N_PRIMARY) || m->flags & N_LOST || model_half(c, n) || model_live(c, n) < 2)
		return false;
	flush_live(c, n);
	for (unsigned int i = 0; i < model_nodes; i++)
		if (live(c, n, i))
			settle(c, i, n);
	m->told = 1;
	return true;
}

/* ------------------------------------------------- stops and starts ----- */

void model_crash(struct cluster *c, unsigned int n, bool keep)
{
	struct mnode *m = &c->node[n];

	/* Chance may leave more. */
	m->firm &= m->stable & c->synced;
	if (!keep)
		m->content = m->stable;
	m->stable = m->content;
	m->flags &= (uint16_t)~(N_UP | N_PRIMARY | N_LOST);
	m->held = m->told = 0;
	kill_links(c, n, n);
	for (unsigned int i = 0; i < model_nodes; i++) {
		m->slot[i].map = m->slot[i].settling = 0;
		m->outrun[i] = 0;
	}
}

static bool do_crash(struct cluster *c, unsigned int n, bool keep)
{
	const struct mnode *m = &c->node[n];

	if (!(m->flags & N_UP) || (keep && m->content == m->stable))
		return false;
	model_crash(c, n, keep);
	return true;
}

void model_save_maps(struct cluster *c, unsigned int n)
{
	struct mnode *m = &c->node[n];

	m->stable = m->content;
	checkpoint(c, n);
	for (unsigned int i = 0; i < model_nodes; i++)
		m->slot[i].flags &= (uint8_t)~S_FULL;
	m->logged = 0;
}

/* role_demote(); by force the write in flight fails, and all links end. */
static bool do_demote(struct cluster *c, unsigned int n, bool force)
{
	struct mnode *m = &c->node[n];

	if (!(m->flags & N_PRIMARY) || model_half(c, n) || (m->held && !force))
		return false;
	if (force)
		kill_links(c, n, n);
	else
		flush_live(c, n);
	m->flags &= (uint16_t)~(N_PRIMARY | N_LOST | N_SB_PRIMARY);
	m->held = m->told = 0;
	model_save_maps(c, n);
	return true;
}

static bool do_stop(struct cluster *c, unsigned int n)
{
	struct mnode *m = &c->node[n];

	if (!(m->flags & N_UP) || model_half(c, n))
		return false;
	if (m->flags & N_PRIMARY && !do_demote(c, n, false))
		return false;
	kill_links(c, n, n);
	model_save_maps(c, n);
	m->flags = (uint16_t)((m->flags & ~N_UP) | N_SB_STOPPED);
	for (unsigned int i = 0; i < model_nodes; i++) {
		m->slot[i].map = m->slot[i].settling = 0;
		m->outrun[i] = 0;
	}
	return true;
}

/* volume_attach(): record_attach() and meta_load_maps(). */
static bool do_start(struct cluster *c, unsigned int n)
{
	struct mnode *m = &c->node[n];

	if (m->flags & N_UP)
		return false;
	for (unsigned int i = 0; i < model_nodes; i++) {
		struct mslot *s = &m->slot[i];

		if (!(s->flags & S_USED))
			continue;
		s->map = s->saved | (model_wrong.log_ignored ? 0 : m->logged);
		if (s->flags & S_FULL)
			s->map = model_all();
	}
	if (!(m->flags & N_SB_STOPPED) && !model_wrong.crash_unrecorded) {
		m->flags |= N_SB_CRASHED;
		if (m->flags & N_SB_PRIMARY)
			m->flags |= N_SB_UNPROVEN;
	}
	m->flags &= (uint16_t)~(N_SB_PRIMARY | N_SB_STOPPED);
	m->flags |= N_UP;
	return true;
}

/*
 * A new copy in the place of one: a disk was replaced.  That gives up writes that were
 * never flushed, too: a survivor that crashed proves itself with the new copy, which
 * cannot know better.
 */
static bool do_mkfs(struct cluster *c, unsigned int n)
{
	struct mnode *m = &c->node[n];

	if (m->flags & N_UP || !has_slots(m, NODES))
		return false;
	memset(m, 0, sizeof(*m));
	m->flags = N_SB_STOPPED;
	c->excused |= c->acked & (uint8_t)~c->synced;
	for (unsigned int i = 0; i < model_nodes; i++)
		c->node[i].slot[n].flags &= (uint8_t)~S_CURRENT;
	return true;
}

/*
 * A cable is pulled out.  Variant 1 and 2: with a write in flight that has not, or has,
 * reached the other side; it is answered only when a new generation stands.
 */
static bool do_unplug(struct cluster *c, unsigned int a, unsigned int b, uint8_t variant)
{
	unsigned int n = c->node[a].flags & N_PRIMARY ? a : b, other = a + b - n;
	uint8_t w;

	if (!pair_of(c, a, b)->cable)
		return false;
	if (variant && (!live(c, a, b) || !may_write(c, n)))
		return false;
	if (variant) {
		w = next_write(c);
		mirror(c, n, w, other, false);
		if (variant == 2)
			apply(c, other, n, w, false);
		c->node[n].held |= w;
	}
	model_kill_link(c, a, b);
	if (model_wrong.no_generation && variant)
		c->acked |= w;
	model_pair(c, a, b)->cable = 0;
	return true;
}

static bool do_plug(struct cluster *c, unsigned int a, unsigned int b)
{
	struct mpair *p = model_pair(c, a, b);

	if (p->cable)
		return false;
	p->cable = 1;
	return true;
}

/* ------------------------------------------------------------- events --- */

bool model_do(struct cluster *c, struct event e)
{
	switch (e.kind) {
	case EV_WRITE: return do_write(c, e.node);
	case EV_TORN: return do_torn(c, e.node, e.variant);
	case EV_FLUSH: return do_flush(c, e.node);
	case EV_CLEAN: return do_clean(c, e.node);
	case EV_TELL: return do_tell(c, e.node);
	case EV_GENERATION: return after_loss(c, e.node, e.variant);
	case EV_CRASH: return do_crash(c, e.node, e.variant);
	case EV_STOP: return do_stop(c, e.node);
	case EV_START: return do_start(c, e.node);
	case EV_PROMOTE: return model_promote(c, e.node, e.peer, e.variant);
	case EV_DEMOTE: return do_demote(c, e.node, e.variant);
	case EV_MKFS: return do_mkfs(c, e.node);
	case EV_UNPLUG: return do_unplug(c, e.node, e.peer, e.variant);
	case EV_PLUG: return do_plug(c, e.node, e.peer);
	case EV_STEP: return model_step(c, e.node, e.peer, e.variant);
	default: return model_sync(c, e.node, e.peer);
	}
}

static const struct kind {
	const char *name;
	uint8_t variants;
	uint8_t peers;		/* 1: of unordered pairs, 2: of ordered ones */
} kinds[EV_KINDS] = {
	[EV_WRITE] = { "write", 1, 0 },
	[EV_TORN] = { "crash in a write", 4, 0 },
	[EV_FLUSH] = { "flush", 1, 0 },
	[EV_CLEAN] = { "clean the log", 1, 0 },
	[EV_TELL] = { "tell who is equal", 1, 0 },
	[EV_GENERATION] = { "a generation after a loss", 3, 0 },
	[EV_CRASH] = { "crash", 2, 0 },
	[EV_STOP] = { "stop", 1, 0 },
	[EV_START] = { "start", 1, 0 },
	[EV_PROMOTE] = { "promote", PROMOTE_HOWS * PROMOTE_ENDS, 0 },
	[EV_DEMOTE] = { "demote", 2, 0 },
	[EV_MKFS] = { "mkfs", 1, 0 },
	[EV_UNPLUG] = { "unplug", 3, 1 },
	[EV_PLUG] = { "plug", 1, 1 },
	[EV_STEP] = { "step", STEP_VARIANTS, 2 },
	[EV_SYNC] = { "sync", 1, 2 },
};

unsigned int model_events(struct event *out)
{
	unsigned int n = 0;

	for (uint8_t kind = 0; kind < EV_KINDS; kind++)
		for (uint8_t a = 0; a < model_nodes; a++)
			for (uint8_t b = 0; b < (kinds[kind].peers ? model_nodes : 1); b++)
				for (uint8_t v = 0; v < kinds[kind].variants; v++) {
					if (kinds[kind].peers && (a == b || (kinds[kind].peers == 1 && b < a)))
						continue;
					out[n++] = (struct event){ kind, a, b, v };
				}
	return n;
}

void model_print(struct event e)
{
	printf("#   %s %c", kinds[e.kind].name, 'a' + e.node);
	if (kinds[e.kind].peers)
		printf(" %c", 'a' + e.peer);
	printf(kinds[e.kind].variants > 1 ? " (%u)\n" : "\n", e.variant);
}

/* ------------------------------------------------------------ identity -- */

struct renaming {
	uint8_t to[GENERATIONS];
	uint8_t count;
};

static uint8_t rename_one(struct renaming *r, uint8_t g)
{
	if (g && !r->to[g])
		r->to[g] = ++r->count;
	return r->to[g];
}

static uint16_t rename_set(struct renaming *r, uint16_t set, bool only_known)
{
	uint16_t out = 0;

	for (uint8_t g = 1; g < GENERATIONS; g++)
		if (set & 1u << g && (!only_known || r->to[g]))
			out |= (uint16_t)(1u << rename_one(r, g));
	return out;
}

void model_canonical(struct cluster *c)
{
	uint16_t ancestors[GENERATIONS] = { 0 };
	struct renaming r = { .count = 0 };

	for (unsigned int i = 0; i < model_nodes; i++) {
		struct mnode *m = &c->node[i];

		m->generation = rename_one(&r, m->generation);
		m->uuid = rename_one(&r, m->uuid);
		for (unsigned int k = 0; k < model_nodes; k++) {
			m->slot[k].generation = rename_one(&r, m->slot[k].generation);
			m->outrun[k] = rename_one(&r, m->outrun[k]);
		}
		m->history = rename_set(&r, m->history, false);
	}
	for (unsigned int i = 0; i < PAIRS; i++)
		c->pair[i].generation = rename_one(&r, c->pair[i].generation);
	for (uint8_t g = 1; g < GENERATIONS; g++)
		if (r.to[g])
			ancestors[r.to[g]] = rename_set(&r, c->ancestors[g], true);
	memcpy(c->ancestors, ancestors, sizeof(ancestors));
}
