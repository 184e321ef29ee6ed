// SPDX-License-Identifier: GPL-2.0-or-later
#include "copy.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "id.h"

static const struct {
	uint32_t super, wire;
} flag_pairs[] = {
	{ REPL_SB_IDENTITY, REPL_MV_IDENTITY },
	{ REPL_SB_CONSISTENT, REPL_MV_CONSISTENT },
	{ REPL_SB_UNPROVEN, REPL_MV_UNPROVEN },
	{ REPL_SB_PRIMARY, REPL_MV_WAS_PRIMARY },
	{ REPL_SB_UNPROVEN, REPL_MV_WAS_PRIMARY },
};

const struct kernel_slot *copy_slot(const struct kernel_volume *k,
				    const uint8_t key[REPL_KEY_BYTES])
{
	for (unsigned int i = 0; i < k->slot_count; i++) {
		const struct kernel_slot *s = &k->slot[i];

		if (s->kind == REPL_SLOT_PEER && !memcmp(s->key, key, REPL_KEY_BYTES))
			return s;
	}
	return NULL;
}

void copy_read(struct copy *c, const struct kernel_volume *k, const uint8_t key[REPL_KEY_BYTES],
	       bool plain, bool unclean)
{
	const struct kernel_slot *s = copy_slot(k, key);

	*c = (struct copy){
		.uuid = k->uuid, .copy_id = k->copy_id, .generation = k->generation,
		.epoch = k->epoch, .size = k->size, .lbs_shift = k->lbs_shift,
	};
	memcpy(c->history, k->history, sizeof(c->history));
	for (unsigned int i = 0; i < sizeof(flag_pairs) / sizeof(flag_pairs[0]); i++)
		if (k->sb_flags & flag_pairs[i].super)
			c->flags |= flag_pairs[i].wire;
	if (k->role == REPL_ROLE_PRIMARY)
		c->flags |= REPL_MV_PRIMARY;
	if (!unclean && !(k->sb_flags & REPL_SB_CRASHED))
		c->flags |= REPL_MV_CLEAN;
	if (plain)
		c->flags |= REPL_MV_LINK_PLAIN;
	if (k->flags & (REPL_VF_FAILING | REPL_VF_DISKLESS))
		c->flags |= REPL_MV_FAILING;
	if (!s)
		return;
	c->flags |= REPL_MV_SLOT;
	if (s->flags & REPL_SS_LIVE)
		c->flags |= REPL_MV_SLOT_LIVE;
	c->slot_copy_id = s->copy_id;
	c->slot_generation = s->generation;
	c->slot_epoch = s->epoch;
	c->slot_dirty_blocks = s->dirty_blocks;
	/* The age counts from the attaching, too: only a link that has ended has a reason. */
	if (s->link == REPL_LINK_NONE && s->reason[0])
		c->alone_ms = s->link_age_ms ? s->link_age_ms : 1;
	if (s->link == REPL_LINK_LIVE) {
		c->flags |= REPL_MV_LIVE;
		c->cookie = s->cookie;
	}
}

bool copy_same(const struct copy *a, const struct copy *b)
{
	return a->flags == b->flags && a->cookie == b->cookie && a->size == b->size &&
	       a->lbs_shift == b->lbs_shift && copy_same_arbiter(a, b) && !a->slot_dirty_blocks == !b->slot_dirty_blocks &&
	       id_equal(&a->uuid, &b->uuid) && id_equal(&a->copy_id, &b->copy_id) &&
	       id_equal(&a->generation, &b->generation) &&
	       id_equal(&a->slot_copy_id, &b->slot_copy_id) &&
	       id_equal(&a->slot_generation, &b->slot_generation) &&
	       !memcmp(a->history, b->history, sizeof(a->history));
}

void copy_pack(const struct copy *c, struct repl_msg_volume *m)
{
	*m = (struct repl_msg_volume){
		.uuid = c->uuid, .copy_id = c->copy_id, .generation = c->generation,
		.epoch = htole64(c->epoch), .data_size = htole64(c->size),
		.flags = htole32(c->flags), .lbs_shift = c->lbs_shift, .arbiter = c->arbiter,
		.arbiter_tag = { c->arbiter_tag[0], c->arbiter_tag[1] },
		.slot_copy_id = c->slot_copy_id, .slot_generation = c->slot_generation,
		.slot_epoch = htole64(c->slot_epoch),
		.slot_dirty_blocks = htole64(c->slot_dirty_blocks),
		.cookie = htole64(c->cookie), .alone_ms = htole64(c->alone_ms),
	};
	memcpy(m->history, c->history, sizeof(m->history));
}

static const char *copy_fault(const struct copy *c)
{
	if (c->flags & ~(uint32_t)REPL_MV_ALL)
		return "unknown flags";
	if (c->arbiter > REPL_MA_MAX || (c->arbiter != REPL_MA_NODE &&
					 (c->arbiter_tag[0] || c->arbiter_tag[1])))
		return "an unknown kind of arbiter";
	if (c->lbs_shift < 9 || c->lbs_shift > REPL_BLOCK_SHIFT)
		return "an impossible block size";
	if (c->size < REPL_DATA_MIN || c->size > REPL_DATA_MAX)
		return "an impossible size";
	if (c->slot_dirty_blocks > 2 * copy_blocks(c->size))
		return "more dirty blocks than there are blocks";
	if (id_is_zero(&c->copy_id))
		return "no copy id";
	if ((c->flags & REPL_MV_CONSISTENT) && !(c->flags & REPL_MV_IDENTITY))
		return "consistent data without an identity";
	if ((c->flags & REPL_MV_SLOT_LIVE) && !(c->flags & REPL_MV_SLOT))
		return "a live slot that is not there";
	return NULL;
}

int copy_unpack(struct copy *c, const struct repl_msg_volume *m, struct err *e)
{
	const char *fault;

	*c = (struct copy){
		.uuid = m->uuid, .copy_id = m->copy_id, .generation = m->generation,
		.epoch = le64toh(m->epoch), .size = le64toh(m->data_size),
		.flags = le32toh(m->flags), .lbs_shift = m->lbs_shift, .arbiter = m->arbiter,
		.arbiter_tag = { m->arbiter_tag[0], m->arbiter_tag[1] },
		.slot_copy_id = m->slot_copy_id, .slot_generation = m->slot_generation,
		.slot_epoch = le64toh(m->slot_epoch),
		.slot_dirty_blocks = le64toh(m->slot_dirty_blocks),
		.cookie = le64toh(m->cookie), .alone_ms = le64toh(m->alone_ms),
	};
	memcpy(c->history, m->history, sizeof(c->history));
	fault = copy_fault(c);
	if (fault)
		return err_set(e, EPROTO, "the description of the other copy claims %s", fault);
	return 0;
}
