// SPDX-License-Identifier: GPL-2.0-or-later
#include "msg.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
	TEXT = REPL_TEXT_MAX,
	EXTENTS = REPL_MSG_EXTENTS_MAX * sizeof(struct repl_msg_extent),
	DIGESTS = sizeof(struct repl_msg_range) + REPL_DIGESTS_MAX * REPL_DIGEST_BYTES,
};

/* By type: the name, and the least and the most bytes of a body. */
static const struct {
	const char *name;
	uint32_t least, most;
} kinds[] = {
	[REPL_MSG_HELLO] = { "HELLO", sizeof(struct repl_msg_hello), sizeof(struct repl_msg_hello) },
	[REPL_MSG_REFUSE] = { "REFUSE", 0, TEXT },
	[REPL_MSG_VOLUME] = { "VOLUME", sizeof(struct repl_msg_volume),
			      sizeof(struct repl_msg_volume) },
	[REPL_MSG_GROW] = { "GROW", sizeof(struct repl_msg_grow), sizeof(struct repl_msg_grow) },
	[REPL_MSG_GROWN] = { "GROWN", sizeof(struct repl_msg_grow),
			     sizeof(struct repl_msg_grow) + TEXT },
	[REPL_MSG_MAP] = { "MAP", 0, EXTENTS },
	[REPL_MSG_DELTA_BEGIN] = { "DELTA_BEGIN", sizeof(struct repl_msg_delta),
				   sizeof(struct repl_msg_delta) },
	[REPL_MSG_BLOCKS] = { "BLOCKS", sizeof(struct repl_msg_range) + 1, REPL_MSG_MAX },
	[REPL_MSG_ZEROS] = { "ZEROS", sizeof(struct repl_msg_range), sizeof(struct repl_msg_range) },
	[REPL_MSG_DELTA_END] = { "DELTA_END", sizeof(struct repl_msg_delta),
				 sizeof(struct repl_msg_delta) },
	[REPL_MSG_DELTA_DONE] = { "DELTA_DONE", sizeof(struct repl_msg_delta),
				  sizeof(struct repl_msg_delta) },
	[REPL_MSG_LINK_OFFER] = { "LINK_OFFER", sizeof(struct repl_msg_link),
				  sizeof(struct repl_msg_link) },
	[REPL_MSG_LINK_READY] = { "LINK_READY", sizeof(struct repl_msg_link),
				  sizeof(struct repl_msg_link) },
	[REPL_MSG_LINK_ADOPT] = { "LINK_ADOPT", sizeof(struct repl_msg_volume),
				  sizeof(struct repl_msg_volume) },
	[REPL_MSG_LINK_LIVE] = { "LINK_LIVE", 0, 0 },
	[REPL_MSG_CONSENT_ASK] = { "CONSENT_ASK", sizeof(struct repl_msg_consent),
				   sizeof(struct repl_msg_consent) },
	[REPL_MSG_CONSENT] = { "CONSENT", sizeof(struct repl_msg_consent),
			       sizeof(struct repl_msg_consent) + TEXT },
	[REPL_MSG_STATE] = { "STATE", sizeof(struct repl_msg_volume),
			     sizeof(struct repl_msg_volume) },
	[REPL_MSG_PING] = { "PING", 0, 0 },
	[REPL_MSG_PONG] = { "PONG", 0, 0 },
	[REPL_MSG_LINK_HELLO] = { "LINK_HELLO", sizeof(struct repl_msg_link),
				  sizeof(struct repl_msg_link) },
	[REPL_MSG_LINK_PROOF] = { "LINK_PROOF", sizeof(struct repl_msg_link),
				  sizeof(struct repl_msg_link) },
	[REPL_MSG_FOLLOW] = { "FOLLOW", sizeof(struct repl_msg_volume),
			      sizeof(struct repl_msg_volume) },
	[REPL_MSG_FOLLOWING] = { "FOLLOWING", sizeof(struct repl_msg_volume),
				 sizeof(struct repl_msg_volume) },
	[REPL_MSG_COMMIT] = { "COMMIT", sizeof(struct repl_msg_volume),
			      sizeof(struct repl_msg_volume) },
	[REPL_MSG_COMMITTED] = { "COMMITTED", sizeof(struct repl_msg_volume),
				 sizeof(struct repl_msg_volume) },
	[REPL_MSG_DIGESTS] = { "DIGESTS", sizeof(struct repl_msg_range) + REPL_DIGEST_BYTES, DIGESTS },
	[REPL_MSG_WANT] = { "WANT", sizeof(struct repl_msg_want), sizeof(struct repl_msg_want) },
	[REPL_MSG_VERIFY] = { "VERIFY", sizeof(struct repl_msg_verify),
			      sizeof(struct repl_msg_verify) + TEXT },
	[REPL_MSG_ASK] = { "ASK", sizeof(struct repl_msg_ask), sizeof(struct repl_msg_ask) },
	[REPL_MSG_ANSWER] = { "ANSWER", sizeof(struct repl_msg_answer),
			      sizeof(struct repl_msg_answer) + TEXT },
	[REPL_MSG_RESOLVE] = { "RESOLVE", sizeof(struct repl_msg_resolve),
			       sizeof(struct repl_msg_resolve) + TEXT },
	[REPL_MSG_SURVEY] = { "SURVEY", sizeof(struct repl_msg_survey), sizeof(struct repl_msg_survey) },
	[REPL_MSG_SURVEYED] = { "SURVEYED", sizeof(struct repl_msg_surveyed), REPL_SURVEYED_MAX },
	[REPL_MSG_TAKE_OVER] = { "TAKE_OVER", sizeof(struct repl_msg_take_over),
				 sizeof(struct repl_msg_take_over) },
	[REPL_MSG_TAKEN] = { "TAKEN", sizeof(struct repl_msg_take_over),
			     sizeof(struct repl_msg_take_over) + TEXT },
};

static bool known(uint16_t type)
{
	return type < sizeof(kinds) / sizeof(kinds[0]) && kinds[type].name;
}

const char *msg_name(uint16_t type)
{
	return known(type) ? kinds[type].name : "an unknown message";
}

void msg_pack_header(uint16_t type, uint32_t length, struct repl_msg *m)
{
	*m = (struct repl_msg){
		.magic = htole32(REPL_MSG_MAGIC), .type = htole16(type), .length = htole32(length),
	};
}

int msg_unpack_header(struct msg_header *h, const struct repl_msg *m, struct err *e)
{
	h->type = le16toh(m->type);
	h->length = le32toh(m->length);
	if (le32toh(m->magic) != REPL_MSG_MAGIC)
		return err_set(e, EPROTO, "this is not repl's protocol: a message begins with %08x",
			       le32toh(m->magic));
	if (m->reserved || m->reserved2)
		return err_set(e, EPROTO, "a message header's reserved field is not zero");
	if (!known(h->type))
		return err_set(e, EPROTO, "message type %u is unknown", h->type);
	if (h->length < kinds[h->type].least || h->length > kinds[h->type].most)
		return err_set(e, EPROTO, "a %s message of %u bytes: it has %u to %u",
			       kinds[h->type].name, h->length, kinds[h->type].least,
			       kinds[h->type].most);
	return 0;
}

static bool terminated(const char *text, size_t size)
{
	return memchr(text, '\0', size);
}

void msg_pack_hello(const struct msg_hello *h, struct repl_msg_hello *m)
{
	*m = (struct repl_msg_hello){
		.version_min = htole16(h->version_min), .version = htole16(h->version),
		.features = htole64(h->features),
	};
	memcpy(m->node, h->node, strnlen(h->node, sizeof(m->node) - 1));
	memcpy(m->volume, h->volume, strnlen(h->volume, sizeof(m->volume) - 1));
}

int msg_unpack_hello(struct msg_hello *h, const struct repl_msg_hello *m, struct err *e)
{
	if (!terminated(m->node, sizeof(m->node)) || !terminated(m->volume, sizeof(m->volume)))
		return err_set(e, EPROTO, "a HELLO with a name that has no end");
	if (m->reserved)
		return err_set(e, EPROTO, "a HELLO whose reserved field is not zero");
	*h = (struct msg_hello){
		.version_min = le16toh(m->version_min), .version = le16toh(m->version),
		.features = le64toh(m->features),
	};
	msg_text(h->node, m->node, strlen(m->node));
	msg_text(h->volume, m->volume, strlen(m->volume));
	if (h->version_min > h->version)
		return err_set(e, EPROTO, "a HELLO with versions %u to %u", h->version_min,
			       h->version);
	return 0;
}

void msg_pack_answer(const struct msg_answer *a, struct repl_msg_answer *m)
{
	*m = (struct repl_msg_answer){ .want = a->want, .answer = htole32(a->answer) };
}

int msg_unpack_answer(struct msg_answer *a, const struct repl_msg_answer *m, struct err *e)
{
	uint32_t answer = le32toh(m->answer);

	if (m->reserved)
		return err_set(e, EPROTO, "an ANSWER whose reserved field is not zero");
	if (answer < REPL_MN_GRANTED || answer > REPL_MN_NO_ENTRY)
		return err_set(e, EPROTO, "an ANSWER that is none of those that there are");
	*a = (struct msg_answer){ .want = m->want, .answer = answer };
	return 0;
}

void msg_pack_delta(const struct msg_delta *d, struct repl_msg_delta *m)
{
	*m = (struct repl_msg_delta){
		.id = htole64(d->id), .flags = htole32(d->flags), .blocks = htole64(d->blocks),
		.sent_bytes = htole64(d->moved.sent_bytes),
		.zero_bytes = htole64(d->moved.zero_bytes),
		.compared_bytes = htole64(d->moved.compared_bytes),
		.equal_bytes = htole64(d->moved.equal_bytes),
		.generation = d->generation, .epoch = htole64(d->epoch),
	};
	memcpy(m->digest_key, d->digest_key, sizeof(m->digest_key));
}

int msg_unpack_delta(struct msg_delta *d, const struct repl_msg_delta *m, struct err *e)
{
	*d = (struct msg_delta){
		.id = le64toh(m->id), .flags = le32toh(m->flags), .blocks = le64toh(m->blocks),
		.moved = {
			.sent_bytes = le64toh(m->sent_bytes),
			.zero_bytes = le64toh(m->zero_bytes),
			.compared_bytes = le64toh(m->compared_bytes),
			.equal_bytes = le64toh(m->equal_bytes),
		},
		.generation = m->generation, .epoch = le64toh(m->epoch),
	};
	memcpy(d->digest_key, m->digest_key, sizeof(d->digest_key));
	if ((d->flags & ~(uint32_t)REPL_MD_ALL) || m->reserved)
		return err_set(e, EPROTO, "a delta with unknown flags %x", d->flags);
	return 0;
}

void msg_pack_link(const struct msg_link *l, struct repl_msg_link *m)
{
	*m = (struct repl_msg_link){
		.cookie = htole64(l->cookie), .plain = htole32(l->plain),
	};
	memcpy(m->token, l->token, sizeof(m->token));
	memcpy(m->volume, l->volume, strnlen(l->volume, sizeof(m->volume) - 1));
}

int msg_unpack_link(struct msg_link *l, const struct repl_msg_link *m, struct err *e)
{
	if (!terminated(m->volume, sizeof(m->volume)))
		return err_set(e, EPROTO, "a link for a volume whose name has no end");
	if (le32toh(m->plain) > 1 || m->reserved)
		return err_set(e, EPROTO, "a link message's reserved field is not zero");
	if (!m->cookie)
		return err_set(e, EPROTO, "a link without a cookie");
	*l = (struct msg_link){ .cookie = le64toh(m->cookie), .plain = m->plain };
	memcpy(l->token, m->token, sizeof(l->token));
	msg_text(l->volume, m->volume, strlen(m->volume));
	return 0;
}

void msg_pack_consent(const struct msg_consent *c, struct repl_msg_consent *m)
{
	*m = (struct repl_msg_consent){
		.generation = c->generation, .granted = htole32(c->granted), .question = htole32(c->question),
	};
}

int msg_unpack_consent(struct msg_consent *c, const struct repl_msg_consent *m, struct err *e)
{
	if (le32toh(m->granted) > 1)
		return err_set(e, EPROTO, "a CONSENT that says neither yes nor no");
	*c = (struct msg_consent){
		.generation = m->generation, .granted = m->granted, .question = le32toh(m->question),
	};
	return 0;
}

void msg_pack_resolve(const struct msg_resolve *r, struct repl_msg_resolve *m)
{
	*m = (struct repl_msg_resolve){
		.keep = r->keep, .discard = r->discard, .step = htole32(r->step),
		.flags = htole32(r->no_save ? REPL_MR_NO_SAVE : 0),
		.done_bytes = htole64(r->done_bytes), .total_bytes = htole64(r->total_bytes),
	};
}

int msg_unpack_resolve(struct msg_resolve *r, const struct repl_msg_resolve *m, struct err *e)
{
	uint32_t step = le32toh(m->step), flags = le32toh(m->flags);

	*r = (struct msg_resolve){
		.keep = m->keep, .discard = m->discard, .step = step,
		.no_save = flags & REPL_MR_NO_SAVE, .done_bytes = le64toh(m->done_bytes),
		.total_bytes = le64toh(m->total_bytes),
	};
	if (!step || step >= REPL_RESOLVE_STEPS)
		return err_set(e, EPROTO, "a RESOLVE of an unknown step");
	if (flags & ~(uint32_t)REPL_MR_ALL || (flags && step != REPL_RESOLVE_ASK))
		return err_set(e, EPROTO, "a RESOLVE with unknown flags");
	if (step != REPL_RESOLVE_PROGRESS && (r->done_bytes || r->total_bytes))
		return err_set(e, EPROTO, "a RESOLVE that counts bytes where none belong");
	return 0;
}

void msg_pack_grow(const struct msg_grow *g, struct repl_msg_grow *m)
{
	*m = (struct repl_msg_grow){
		.size = htole64(g->size), .room = htole64(g->room), .ok = htole32(g->ok),
	};
}

int msg_unpack_grow(struct msg_grow *g, const struct repl_msg_grow *m, struct err *e)
{
	*g = (struct msg_grow){ .size = le64toh(m->size), .room = le64toh(m->room), .ok = m->ok };
	if (m->reserved || le32toh(m->ok) > 1)
		return err_set(e, EPROTO, "a GROW whose reserved fields are not zero");
	if (g->size > REPL_DATA_MAX || g->room > REPL_DATA_MAX || g->size % REPL_BLOCK_BYTES)
		return err_set(e, EPROTO, "a GROW to an impossible size");
	return 0;
}

void msg_pack_take_over(const struct msg_take_over *t, struct repl_msg_take_over *m)
{
	*m = (struct repl_msg_take_over){ .nonce = htole64(t->nonce), .step = htole32(t->step) };
}

int msg_unpack_take_over(struct msg_take_over *t, uint16_t type,
			 const struct repl_msg_take_over *m, struct err *e)
{
	uint32_t step = le32toh(m->step);
	bool asks = step == REPL_TAKE_OVER_CHECK || step == REPL_TAKE_OVER_TAKE;

	*t = (struct msg_take_over){ .nonce = le64toh(m->nonce), .step = step };
	if (m->reserved)
		return err_set(e, EPROTO, "a %s whose reserved field is not zero", msg_name(type));
	if (!step || step >= REPL_TAKE_OVER_STEPS || asks != (type == REPL_MSG_TAKE_OVER))
		return err_set(e, EPROTO, "a %s of an unknown step", msg_name(type));
	return 0;
}

void msg_pack_verify(const struct msg_verify *v, struct repl_msg_verify *m)
{
	*m = (struct repl_msg_verify){ .step = htole32(v->step) };
	memcpy(m->key, v->key, sizeof(m->key));
}

int msg_unpack_verify(struct msg_verify *v, const struct repl_msg_verify *m, struct err *e)
{
	uint32_t step = le32toh(m->step);

	if (!step || step >= REPL_VERIFY_STEPS)
		return err_set(e, EPROTO, "a VERIFY of an unknown step");
	if (m->reserved)
		return err_set(e, EPROTO, "a VERIFY whose reserved field is not zero");
	v->step = step;
	memcpy(v->key, m->key, sizeof(v->key));
	return 0;
}

int msg_unpack_range(struct msg_range *r, const struct repl_msg_range *m, uint64_t size,
		     struct err *e)
{
	r->offset = le64toh(m->offset);
	r->length = le64toh(m->length);
	if (!r->length || r->offset >= size || r->length > size - r->offset)
		return err_set(e, EPROTO, "%" PRIu64 " bytes at %" PRIu64 " do not lie in a volume "
			       "of %" PRIu64 " bytes", r->length, r->offset, size);
	if (r->offset % REPL_BLOCK_BYTES ||
	    (r->length % REPL_BLOCK_BYTES && r->offset + r->length != size))
		return err_set(e, EPROTO, "%" PRIu64 " bytes at %" PRIu64 " are not whole blocks",
			       r->length, r->offset);
	return 0;
}

int msg_unpack_digests(struct msg_range *r, const struct repl_msg_range *m, size_t length,
		       uint64_t size, struct err *e)
{
	uint64_t blocks;

	if (msg_unpack_range(r, m, size, e))
		return -EPROTO;
	blocks = copy_blocks(r->length);
	if (blocks > REPL_DIGESTS_MAX || length != sizeof(*m) + blocks * REPL_DIGEST_BYTES)
		return err_set(e, EPROTO, "a DIGESTS message of %zu bytes for %" PRIu64 " blocks",
			       length, blocks);
	return 0;
}

void msg_pack_want(const struct msg_want *w, struct repl_msg_want *m)
{
	*m = (struct repl_msg_want){
		.offset = htole64(w->range.offset), .length = htole64(w->range.length),
	};
	memcpy(m->blocks, w->blocks, sizeof(m->blocks));
}

int msg_unpack_want(struct msg_want *w, const struct repl_msg_want *m, uint64_t size,
		    struct err *e)
{
	struct repl_msg_range range = { m->offset, m->length };

	if (msg_unpack_range(&w->range, &range, size, e))
		return -EPROTO;
	memcpy(w->blocks, m->blocks, sizeof(w->blocks));
	for (uint64_t n = copy_blocks(w->range.length); n < REPL_DIGESTS_MAX; n++)
		if (msg_wants(w, n))
			return err_set(e, EPROTO, "a WANT for blocks behind its range");
	if (copy_blocks(w->range.length) > REPL_DIGESTS_MAX)
		return err_set(e, EPROTO, "a WANT of %" PRIu64 " bytes", w->range.length);
	return 0;
}

int msg_unpack_extents(struct repl_extent *out, const struct repl_msg_extent *m, size_t length,
		       uint64_t blocks, struct err *e)
{
	size_t count = length / sizeof(*m);
	int n = 0;

	if (length % sizeof(*m))
		return err_set(e, EPROTO, "a MAP message of %zu bytes is not whole extents", length);
	for (size_t i = 0; i < count; i++) {
		uint64_t block = le64toh(m[i].block), run = le64toh(m[i].count);

		if (!run || block + run < block)
			return err_set(e, EPROTO, "an extent of %" PRIu64 " blocks at block %" PRIu64,
				       run, block);
		if (block >= blocks)
			continue;
		out[n++] = (struct repl_extent){
			.block = block, .count = run < blocks - block ? run : blocks - block,
		};
	}
	return n;
}

void msg_text(char *out, const void *body, size_t length)
{
	const unsigned char *in = body;
	size_t n = 0;

	while (n < length && n < REPL_TEXT_MAX - 1 && in[n]) {
		out[n] = in[n] >= ' ' && in[n] < 0x7f ? (char)in[n] : '?';
		n++;
	}
	out[n] = '\0';
}
