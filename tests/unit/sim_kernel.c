// SPDX-License-Identifier: GPL-2.0-or-later
#include "sim_kernel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "id.h"

static struct repl_id random_id(struct sk *k)
{
	struct repl_id id;
	uint64_t a = k->random(k->random_arg) | 1, b = k->random(k->random_arg);

	memcpy(id.b, &a, 8);
	memcpy(id.b + 8, &b, 8);
	return id;
}

void sk_init(struct sk *k, uint64_t (*random)(void *arg), void *arg)
{
	memset(k, 0, sizeof(*k));
	k->random = random;
	k->random_arg = arg;
	k->copy_id = random_id(k);
	k->uuid = random_id(k);
	k->flags = REPL_SB_MAPS;
}

static uint64_t count(const bool *map)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < SK_BLOCKS; i++)
		n += map[i];
	return n;
}

void sk_get(const struct sk *k, struct kernel_volume *v, uint64_t now)
{
	memset(v, 0, sizeof(*v));
	v->uuid = k->uuid;
	v->copy_id = k->copy_id;
	v->generation = k->generation;
	memcpy(v->history, k->history, sizeof(v->history));
	v->epoch = k->epoch;
	v->staged = k->staged;
	v->size = SK_BLOCKS << REPL_BLOCK_SHIFT;
	v->sb_flags = k->flags;
	v->gate = (k->gate_join && now < k->gate_until ? REPL_GATE_JOIN : 0) |
		  (k->gate_lost ? REPL_GATE_PEER_LOST : 0);
	v->on_peer_loss = k->arbiter ? REPL_LOSS_ARBITER :
			  k->freezes ? REPL_LOSS_FREEZE : REPL_LOSS_CONTINUE;
	v->role = k->primary ? REPL_ROLE_PRIMARY : REPL_ROLE_SECONDARY;
	v->lbs_shift = REPL_BLOCK_SHIFT;
	v->slots = SK_SLOTS;
	for (unsigned int i = 0; i < SK_SLOTS; i++) {
		const struct sk_slot *s = &k->slot[i];
		struct kernel_slot *o = &v->slot[v->slot_count];

		if (!s->kind)
			continue;
		*o = (struct kernel_slot){
			.index = (uint8_t)i, .kind = s->kind, .copy_id = s->copy_id,
			.generation = s->generation, .flags = s->flags, .cut = s->cut_open,
			.dirty_blocks = count(s->dirty) + (s->cut_open ? count(s->cut) : 0),
			.link = s->link ? REPL_LINK_LIVE : REPL_LINK_NONE,
			.cookie = s->link ? s->link->cookie : 0,
			.sent_bytes = s->link ? s->link->bytes : 0,
		};
		memcpy(o->key, s->key, sizeof(o->key));
		v->slot_count++;
	}
}

/* --------------------------------------------------------------- links --- */

struct sk_link *sk_link_new(uint64_t cookie)
{
	struct sk_link *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	l->alive = true;
	l->cookie = cookie;
	return l;
}

void sk_link_put(struct sk_link *l)
{
	if (--l->held)
		return;
	free(l);
}

static bool queue(struct sk_link *l, struct sk *from, const struct sk_frame *f)
{
	if (!l->alive || l->frames == SK_FRAMES)
		return false;
	l->primary_end = l->end[0] == from ? 0 : 1;
	l->frame[l->frames++] = *f;
	l->bytes += f->generation ? 0 : REPL_BLOCK_BYTES;
	return true;
}

static void push_generation(struct sk *k, const struct repl_id *id)
{
	memmove(k->history + 1, k->history, sizeof(k->history) - sizeof(k->history[0]));
	k->history[0] = k->generation;
	k->generation = *id;
}

static void new_generation(struct sk *k, const struct repl_id *given)
{
	struct sk_frame f = {
		.generation = true, .id = id_is_zero(given) ? random_id(k) : *given,
		.previous = k->generation,
	};

	push_generation(k, &f.id);
	k->changed = true;
	for (unsigned int i = 0; i < SK_SLOTS; i++) {
		struct sk_slot *s = &k->slot[i];

		if (s->link && !queue(s->link, k, &f))
			s->link->alive = false;
	}
}

void sk_link_lost(struct sk *k, unsigned int slot)
{
	struct sk_slot *s = &k->slot[slot];
	struct sk_link *l = s->link;

	if (!l)
		return;
	l->alive = false;
	for (unsigned int i = 0; i < l->frames; i++)
		if (!l->frame[i].generation && l->end[l->primary_end] == k)
			s->dirty[l->frame[i].block] = true;
	/* What was answered, but perhaps not flushed there. */
	for (unsigned int i = 0; k->primary && i < 4; i++)
		s->dirty[k->random(k->random_arg) % SK_BLOCKS] = true;
	l->end[l->end[0] == k ? 0 : 1] = NULL;
	s->link = NULL;
	s->pending = 0;
	sk_link_put(l);
	k->changed = true;
	if (!k->primary)
		return;
	if (!k->arbiter && !k->freezes) {
		new_generation(k, &(struct repl_id){ { 0 } });
		return;
	}
	k->gate_lost = true;
	k->lost |= 1u << slot;
	k->going_on = false;
}

void sk_go_on(struct sk *k)
{
	if (!k->going_on)
		return;
	k->going_on = k->gate_lost = false;
	new_generation(k, &(struct repl_id){ { 0 } });
}

/* A peer is live again.  With an arbiter there is but one, and nothing has completed without it. */
static void is_back(struct sk *k, unsigned int slot)
{
	k->lost &= ~(1u << slot);
	if (k->arbiter) {
		k->gate_lost = false;
	} else if (k->gate_lost && !k->lost) {
		k->going_on = true;
		if (k->hasty || k->random(k->random_arg) % 2)
			sk_go_on(k);
	}
}

bool sk_completes(const struct sk *k)
{
	for (unsigned int i = 0; i < SK_SLOTS; i++)
		if (k->slot[i].link && !k->slot[i].link->alive)
			return false;
	return k->primary && !k->gate_lost;
}

static void mark_others(struct sk *k, unsigned int except, uint64_t block)
{
	for (unsigned int i = 0; i < SK_SLOTS; i++) {
		struct sk_slot *s = &k->slot[i];

		if (i == except || !s->kind)
			continue;
		if (s->link)
			sk_link_lost(k, i);
		s->dirty[block] = true;
	}
}

/* Who has waited too long for a block makes the cut void. */
static void expire(const struct sk *k, struct sk_slot *s)
{
	for (unsigned int b = 0; b < SK_BLOCKS && s->cut_open && s->frozen; b++)
		if (s->wanted[b] && !s->released[b] && k->now - s->wanted[b] >= REPL_HOLD_MS) {
			s->frozen = false;
			s->is_void = true;
		}
}

/* Must a write to this block wait for the reader of a cut? */
static bool held(struct sk *k, uint64_t block)
{
	bool waits = false;

	for (unsigned int i = 0; i < SK_SLOTS; i++) {
		struct sk_slot *s = &k->slot[i];

		expire(k, s);
		if (!s->cut_open || !s->frozen || !s->cut[block] || s->released[block])
			continue;
		if (!s->wanted[block])
			s->wanted[block] = k->now;
		waits = true;
	}
	return waits;
}

static bool deliver(struct sk_link *l, const struct sk_frame *f, struct sk *from, struct sk *to,
		    unsigned int to_slot)
{
	if (f->generation) {
		if (to->primary || !id_equal(&to->generation, &f->previous))
			return false;
		push_generation(to, &f->id);
		to->slot[to_slot].generation = f->id;
		/* Its answer. */
		from->slot[l->slot[l->primary_end]].generation = f->id;
		to->changed = true;
		return true;
	}
	if (to->primary)
		return false;
	mark_others(to, to_slot, f->block);
	to->data[f->block] = f->value;
	to->cached[f->block] = false;
	from->slot[l->slot[l->primary_end]].pending--;
	return true;
}

/* What waits for the reader of a cut is passed by what comes after it. */
void sk_pump(struct sk_link *l)
{
	unsigned int at = 0;

	while (l->alive && at < l->frames && l->end[0] && l->end[1]) {
		struct sk *from = l->end[l->primary_end], *to = l->end[!l->primary_end];
		struct sk_frame f = l->frame[at];

		if (!f.generation && !to->primary && held(to, f.block)) {
			at++;
			continue;
		}
		if (!deliver(l, &f, from, to, l->slot[!l->primary_end])) {
			l->alive = false;
			return;
		}
		l->frames--;
		memmove(l->frame + at, l->frame + at + 1, (l->frames - at) * sizeof(l->frame[0]));
	}
}

/* What a SETTLED says to @k of a copy that it names. */
static void settled(struct sk *k, const struct sk *named, const struct repl_id *generation)
{
	for (unsigned int i = 0; i < SK_SLOTS; i++) {
		struct sk_slot *s = &k->slot[i];

		if (!s->kind || s->link || !id_equal(&s->copy_id, &named->copy_id) ||
		    !id_equal(&k->generation, generation))
			continue;
		memset(s->dirty, false, sizeof(s->dirty));
		s->flags = 0;
		s->generation = *generation;
	}
}

void sk_settle(struct sk *k)
{
	struct sk *peer[SK_SLOTS];
	unsigned int peers = 0;

	for (unsigned int i = 0; i < SK_SLOTS; i++) {
		const struct sk_link *l = k->slot[i].link;

		if (!l)
			continue;
		/* Not all writes have ended, or one that is live has not flushed. */
		if (!l->alive || l->frames || !l->end[0] || !l->end[1])
			return;
		peer[peers++] = l->end[l->end[0] == k];
	}
	for (unsigned int i = 0; k->primary && !k->write_pending && i < peers; i++)
		for (unsigned int n = 0; n < peers; n++)
			if (n != i)
				settled(peer[i], peer[n], &k->generation);
}

/* -------------------------------------------------------------- writes --- */

bool sk_write(struct sk *k, uint64_t block, uint64_t value, uint64_t now)
{
	struct sk_frame f = { .block = block, .value = value };

	k->now = now;
	if (!k->primary || k->write_pending || k->gate_lost ||
	    (k->gate_join && now < k->gate_until && !k->leaky) || now < k->hold_until ||
	    held(k, block))
		return false;
	for (unsigned int i = 0; i < SK_SLOTS; i++)
		if (k->slot[i].link && (!k->slot[i].link->alive ||
					k->slot[i].link->frames == SK_FRAMES))
			return false;
	for (unsigned int i = 0; i < SK_SLOTS; i++) {
		struct sk_slot *s = &k->slot[i];

		if (s->link && queue(s->link, k, &f))
			s->pending++;
		else if (s->kind)
			s->dirty[block] = true;
	}
	k->data[block] = value;
	k->cached[block] = false;
	k->write_pending = true;
	k->write_block = block;
	k->write_value = value;
	return true;
}

void sk_apply(struct sk *k, uint32_t mask, uint64_t block, uint64_t value)
{
	for (unsigned int i = 0; i < SK_SLOTS; i++)
		if ((mask & 1u << i) && k->slot[i].kind)
			k->slot[i].dirty[block] = true;
	if (!k->cached[block])
		k->stable[block] = k->data[block];
	k->cached[block] = true;
	k->data[block] = value;
}

void sk_flush(struct sk *k)
{
	memset(k->cached, false, sizeof(k->cached));
}

void sk_reboot(struct sk *k)
{
	for (unsigned int b = 0; b < SK_BLOCKS; b++)
		if (k->cached[b] && k->random(k->random_arg) % 4)
			k->data[b] = k->stable[b];
	sk_flush(k);
	if (k->primary)
		k->flags |= REPL_SB_UNPROVEN;
	k->flags &= ~(uint32_t)REPL_SB_PRIMARY;
	for (unsigned int i = 0; i < SK_SLOTS; i++) {
		struct sk_slot *s = &k->slot[i];
		struct sk_link *l = s->link;

		if (l) {
			l->alive = false;
			l->end[l->end[0] == k ? 0 : 1] = NULL;
			sk_link_put(l);
		}
		s->link = NULL;
		s->pending = 0;
		for (unsigned int b = 0; b < SK_BLOCKS; b++)
			s->dirty[b] |= s->cut_open && s->cut[b];
		s->cut_open = false;
		/* What a primary has logged; here that is all.  A secondary has less. */
		if (k->primary)
			memset(s->dirty, true, sizeof(s->dirty));
		else
			s->dirty[k->random(k->random_arg) % SK_BLOCKS] = true;
	}
	k->primary = k->gate_join = k->gate_lost = k->going_on = k->write_pending = false;
	k->hold_until = 0;
	k->lost = 0;
}

/* ------------------------------------------------------------- control --- */

static int refuse(const char **why, int error, const char *text)
{
	*why = text;
	return -error;
}

static int slot_set(struct sk *k, const struct op *op, const char **why)
{
	struct sk_slot *s = &k->slot[op->slot];

	if (s->kind && !memcmp(s->key, op->key, sizeof(s->key)) && id_equal(&s->copy_id, &op->id))
		return 0;
	if (s->link || s->cut_open)
		return refuse(why, EBUSY, "the slot has a link or a cut");
	for (unsigned int i = 0; i < SK_SLOTS; i++)
		if (i != op->slot && k->slot[i].kind && !memcmp(k->slot[i].key, op->key, sizeof(s->key)))
			return refuse(why, EEXIST, "that peer has another slot already");
	memset(s, 0, sizeof(*s));
	s->kind = REPL_SLOT_PEER;
	memcpy(s->key, op->key, sizeof(s->key));
	s->copy_id = op->id;
	s->flags = REPL_SS_FULL;
	memset(s->dirty, true, sizeof(s->dirty));
	return 0;
}

static int follow(struct sk *k, const struct op *op, const char **why)
{
	if (k->primary)
		return refuse(why, EBUSY, "primary here");
	for (unsigned int i = 0; i < SK_SLOTS; i++)
		if (k->slot[i].link)
			return refuse(why, EBUSY, "a live link");
	k->uuid = op->id;
	k->flags |= REPL_SB_IDENTITY;
	k->flags &= ~(uint32_t)REPL_SB_CONSISTENT;
	k->staged = op->staged.file;
	for (unsigned int i = 0; i < SK_SLOTS; i++)
		k->slot[i].flags &= ~(uint32_t)REPL_SS_LIVE;
	return 0;
}

static int mark(struct sk *k, const struct op *op, const char **why)
{
	for (unsigned int i = 0; i < SK_SLOTS; i++)
		if ((op->mask & 1u << i) && k->slot[i].link)
			return refuse(why, EBUSY, "the slot is live");
	for (size_t e = 0; e < op->extent_count; e++)
		for (uint64_t b = 0; b < op->extents[e].count; b++)
			for (unsigned int i = 0; i < SK_SLOTS; i++)
				if (op->mask & 1u << i)
					k->slot[i].dirty[op->extents[e].block + b] = true;
	return 0;
}

static int link_add(struct sk *k, const struct op *op, struct sk_link *l, uint64_t now,
		    const char **why)
{
	struct sk_slot *s = &k->slot[op->slot];
	int end = l && l->end[0] ? 1 : 0;

	if (!l || !l->alive)
		return refuse(why, ENOTCONN, "the connection is gone");
	if (s->kind != REPL_SLOT_PEER || s->link || s->cut_open || count(s->dirty))
		return refuse(why, EBUSY, "the slot is behind, or has a link or a cut");
	/* What waits for a generation has reached the disk all the same. */
	if (k->primary && (!k->gate_join || now >= k->gate_until ||
			   (k->write_pending && !k->gate_lost)))
		return refuse(why, EAGAIN, "writes go on");
	if ((op->flags & REPL_LINK_FOLLOW) && k->primary)
		return refuse(why, EBUSY, "primary here and cannot follow");
	if ((op->flags & REPL_LINK_FOLLOW) && (k->flags & REPL_SB_CONSISTENT) &&
	    memcmp(&k->generation, &op->id, sizeof(op->id)))
		return refuse(why, EBUSY, "of another generation");
	if (op->flags & REPL_LINK_FOLLOW) {
		k->generation = op->id;
		k->epoch = op->epoch;
		memcpy(k->history, op->history, sizeof(k->history));
		k->flags |= REPL_SB_CONSISTENT | REPL_SB_IDENTITY;
	}
	k->flags &= ~(uint32_t)REPL_SB_UNPROVEN;
	s->flags = REPL_SS_LIVE;
	s->generation = k->generation;
	s->link = l;
	s->pending = 0;
	l->held++;
	l->end[end] = k;
	l->slot[end] = op->slot;
	k->changed = true;
	is_back(k, op->slot);
	sk_pump(l);
	return 0;
}

static int role(struct sk *k, const struct op *op, const char **why)
{
	unsigned int links = 0;

	if (op->role == REPL_ROLE_SECONDARY) {
		if (k->write_pending && !(op->flags & REPL_F_FORCE))
			return refuse(why, EBUSY, "a write is under way");
		for (unsigned int i = 0; i < SK_SLOTS && (op->flags & REPL_F_FORCE); i++)
			sk_link_lost(k, i);
		k->primary = k->gate_lost = k->going_on = k->write_pending = false;
		k->lost = 0;
		k->flags &= ~(uint32_t)REPL_SB_PRIMARY;
		k->changed = true;
		return 0;
	}
	if (k->primary)
		return 0;
	if (!(k->flags & REPL_SB_CONSISTENT) && !(op->flags & REPL_F_FORCE))
		return refuse(why, EINVAL, "not consistent");
	if (k->arbiter && id_is_zero(&op->id) && (k->flags & REPL_SB_IDENTITY))
		return refuse(why, EPERM, "it has an arbiter");
	for (unsigned int i = 0; i < SK_SLOTS; i++) {
		struct sk_link *l = k->slot[i].link;

		links += l != NULL;
		/* A generation must get there before this node is primary. */
		if (l && (!l->alive || !l->end[0] || !l->end[1]))
			return refuse(why, EAGAIN, "a peer was lost meanwhile");
	}
	if (links && (op->flags & REPL_F_ALONE))
		return refuse(why, EBUSY, "a link is there");
	k->flags |= REPL_SB_PRIMARY | REPL_SB_CONSISTENT | REPL_SB_IDENTITY;
	if ((op->flags & (REPL_F_FORCE | REPL_F_PEER_DEAD)) || !id_is_zero(&op->id))
		k->flags &= ~(uint32_t)REPL_SB_UNPROVEN;
	new_generation(k, &op->id);
	for (unsigned int i = 0; i < SK_SLOTS; i++)
		if (k->slot[i].link)
			sk_pump(k->slot[i].link);
	for (unsigned int i = 0; i < SK_SLOTS; i++)
		if (k->slot[i].link && (!k->slot[i].link->alive || k->slot[i].link->frames))
			return refuse(why, EAGAIN, "a peer did not take the generation");
	k->primary = true;
	k->by_consent = !k->asserted;
	return 0;
}

static int epoch(struct sk *k, uint64_t now, const char **why)
{
	if (!k->primary || !k->gate_join || now >= k->gate_until || k->write_pending)
		return refuse(why, EAGAIN, "writes go on");
	if (k->arbiter)
		return refuse(why, EPERM, "it has an arbiter");
	k->epoch++;
	new_generation(k, &(struct repl_id){ { 0 } });
	return 0;
}

static int record(struct sk *k, const struct op *op, const char **why)
{
	struct sk_slot *s = &k->slot[op->slot];

	if (op->slot >= SK_SLOTS || s->kind != REPL_SLOT_PEER)
		return refuse(why, ENOENT, "the slot is no peer's");
	for (unsigned int i = 0; i < SK_SLOTS; i++)
		if (k->slot[i].link && (op->follow || i == op->slot))
			return refuse(why, EBUSY, "a live link");
	if (op->follow && k->primary)
		return refuse(why, EBUSY, "primary here");
	s->flags &= ~(uint32_t)(REPL_SS_LIVE | REPL_SS_AHEAD);
	s->generation = op->id;
	if (!op->follow)
		return 0;
	sk_flush(k);
	k->generation = op->id;
	k->epoch = op->epoch;
	memcpy(k->history, op->history, sizeof(k->history));
	k->flags |= REPL_SB_CONSISTENT | REPL_SB_IDENTITY;
	k->flags &= ~(uint32_t)REPL_SB_UNPROVEN;
	s->flags |= REPL_SS_AHEAD;
	return 0;
}

static int resume(struct sk *k, const struct op *op, const char **why)
{
	if (!k->primary || !k->gate_lost)
		return refuse(why, ENOENT, "not frozen for a lost peer");
	if (id_is_zero(&op->id))
		return refuse(why, EPERM, "it has an arbiter");
	new_generation(k, &op->id);
	k->gate_lost = false;
	return 0;
}

static int cut(struct sk *k, const struct op *op, const char **why)
{
	struct sk_slot *s = &k->slot[op->slot];

	if (!s->kind || s->link || s->cut_open)
		return refuse(why, EBUSY, "the slot has a link or a cut");
	if (op->flags != REPL_CUT_UNFROZEN && op->flags != REPL_CUT_FROZEN)
		return refuse(why, EINVAL, "a cut is either frozen or unfrozen");
	memcpy(s->cut, s->dirty, sizeof(s->cut));
	memset(s->dirty, false, sizeof(s->dirty));
	memset(s->released, false, sizeof(s->released));
	memset(s->wanted, 0, sizeof(s->wanted));
	s->cut_open = true;
	s->frozen = op->flags == REPL_CUT_FROZEN;
	s->is_void = false;
	return 0;
}

void sk_release(struct sk *k, unsigned int slot, uint64_t block)
{
	k->slot[slot].released[block] = true;
}

int sk_valid(struct sk *k, unsigned int slot)
{
	struct sk_slot *s = &k->slot[slot];

	expire(k, s);
	return !s->cut_open ? -EINVAL : s->is_void ? -ETIMEDOUT : 0;
}

void sk_abort(struct sk *k, unsigned int slot)
{
	struct sk_slot *s = &k->slot[slot];

	for (unsigned int i = 0; s->cut_open && i < SK_BLOCKS; i++)
		s->dirty[i] |= s->cut[i];
	s->cut_open = false;
}

static bool join_shut(const struct sk *k, uint64_t now)
{
	return k->gate_join && now < k->gate_until;
}

/* As the module: refused while it is shut. */
void sk_hold(struct sk *k, uint32_t gate, uint32_t ms, uint64_t now)
{
	if (gate == REPL_GATE_SNAPSHOT && now >= k->hold_until) {
		k->hold_until = now + ms;
	} else if (gate == REPL_GATE_JOIN && !join_shut(k, now)) {
		k->gate_join = true;
		k->gate_until = now + ms;
	}
}

void sk_thaw(struct sk *k, uint32_t gate, uint64_t now)
{
	bool shut = join_shut(k, now) || now < k->hold_until;

	if (gate == REPL_GATE_SNAPSHOT)
		k->hold_until = 0;
	else
		k->gate_join = false;
	k->thaws += shut && !join_shut(k, now) && now >= k->hold_until;
}

static int command(struct sk *k, const struct op *op, struct sk_link *link, uint64_t now,
		   const char **why)
{
	k->now = now;
	switch (op->kind) {
	case OP_SLOT_SET:
		return slot_set(k, op, why);
	case OP_FOLLOW:
		return follow(k, op, why);
	case OP_MARK:
		return mark(k, op, why);
	case OP_FREEZE:
		k->gate_join = true;
		k->gate_until = now + op->deadline_ms;
		return 0;
	case OP_EPOCH:
		return epoch(k, now, why);
	case OP_RECORD:
		return record(k, op, why);
	case OP_LINK_ADD:
		return link_add(k, op, link, now, why);
	case OP_LINK_DEL:
		sk_link_lost(k, op->slot);
		return 0;
	case OP_ROLE:
		return role(k, op, why);
	case OP_RESUME:
		return resume(k, op, why);
	case OP_CUT:
		return cut(k, op, why);
	case OP_COMMIT:
		if (sk_valid(k, op->slot) == -ETIMEDOUT)
			return refuse(why, ETIMEDOUT, "the cut is void");
		k->slot[op->slot].cut_open = false;
		return 0;
	default:
		return refuse(why, EOPNOTSUPP, "not simulated");
	}
}

int sk_op(struct sk *k, const struct op *op, struct sk_link *link, uint64_t now,
	  const char **why)
{
	int error = command(k, op, link, now, why);

	if (k->flags & REPL_SB_CONSISTENT)
		k->staged = 0;
	return error;
}
