// SPDX-License-Identifier: GPL-2.0-or-later
#include "stream.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "seen.h"
#include "super.h"

/* What encoder and decoder keep alike: the same checks on both sides of a pipe. */
struct track {
	struct stream_info info;
	struct stream_totals totals;
	uint32_t crc;			/* of the header: its records carry it */
	uint64_t next;			/* nothing may lie before it */
	struct seen *seen;		/* with REPL_STREAM_ANY_ORDER: what has come, instead */
	EVP_MD_CTX *digest;		/* of all but the END record */
};

struct stream_out {
	struct track t;
};

enum want { WANT_HEADER, WANT_RECORD, WANT_DATA, WANT_END, WANT_NOTHING };

struct stream_in {
	struct track t;
	enum want want;
	uint64_t sequence;		/* of the next record */
	uint64_t offset, length;	/* of the DATA record under way */
	uint32_t payload_crc;
	uint8_t sum[REPL_STREAM_DIGEST_BYTES];	/* at the END record */
};

static bool track_init(struct track *t)
{
	t->digest = EVP_MD_CTX_new();
	return t->digest && EVP_DigestInit_ex(t->digest, EVP_sha256(), NULL);
}

/* The header is known. Return: false without memory. */
static bool track_begin(struct track *t)
{
	if (!(t->info.features & REPL_STREAM_ANY_ORDER))
		return true;
	t->seen = seen_new((t->info.data_size + REPL_BLOCK_BYTES - 1) >> REPL_BLOCK_SHIFT);
	return t->seen;
}

static void track_free(struct track *t)
{
	seen_free(t->seen);
	EVP_MD_CTX_free(t->digest);
}

static void add(struct track *t, const void *data, size_t length)
{
	if (!EVP_DigestUpdate(t->digest, data, length))
		abort();	/* of SHA-256 in memory nothing can fail */
}

static void sum_up(struct track *t, uint8_t sum[REPL_STREAM_DIGEST_BYTES])
{
	if (!EVP_DigestFinal_ex(t->digest, sum, NULL))
		abort();
}

static uint64_t blocks_of(uint64_t length)
{
	return (length + REPL_BLOCK_BYTES - 1) >> REPL_BLOCK_SHIFT;
}

/* Return: why a range cannot come next, or NULL. */
static const char *range_fault(const struct track *t, uint64_t offset, uint64_t length)
{
	uint64_t unit = (1ull << t->info.lbs_shift) - 1, end;

	if (!length || (offset & unit) || (length & unit))
		return "a range that is not whole logical blocks";
	if (__builtin_add_overflow(offset, length, &end) || end > t->info.data_size)
		return "a range beyond the end of the volume";
	if (t->seen) {
		if (offset % REPL_BLOCK_BYTES || (length % REPL_BLOCK_BYTES && end != t->info.data_size))
			return "a range that is not whole blocks";
		if (seen_any(t->seen, offset >> REPL_BLOCK_SHIFT, blocks_of(length)))
			return "a range that has come already";
		return NULL;
	}
	if (offset < t->next)
		return "a range that is not behind the one before it";
	if (t->info.kind == REPL_STREAM_FULL && offset != t->next)
		return "a gap in a full copy";
	return NULL;
}

/* Return: 0 or -ENOMEM. */
static int advance(struct track *t, uint64_t offset, uint64_t length, bool zeros)
{
	t->next = offset + length;
	t->totals.records++;
	*(zeros ? &t->totals.zero_bytes : &t->totals.data_bytes) += length;
	return t->seen ? seen_add(t->seen, offset >> REPL_BLOCK_SHIFT, blocks_of(length)) : 0;
}

/* Each byte came once at most, so what counts is how many. */
static bool is_all(const struct track *t)
{
	return t->totals.data_bytes + t->totals.zero_bytes == t->info.data_size;
}

static uint32_t header_crc(const struct repl_stream_header *h)
{
	struct repl_stream_header copy = *h;

	copy.crc = 0;
	return super_crc32c(&copy, sizeof(copy));
}

static uint32_t record_crc(const struct repl_stream_record *r)
{
	return super_crc32c(r, offsetof(struct repl_stream_record, header_crc));
}

/* ------------------------------------------------------------- encoding -- */

static void pack_header(const struct stream_info *i, struct repl_stream_header *h)
{
	*h = (struct repl_stream_header){
		.version = htole32(REPL_STREAM_VERSION), .features = htole64(i->features),
		.kind = htole32(i->kind),
		.flags = htole32(i->flags), .stream_id = i->stream_id, .parent_id = i->parent_id,
		.uuid = i->uuid, .copy_id = i->copy_id, .generation = i->generation,
		.epoch = htole64(i->epoch), .base_copy_id = i->base_copy_id,
		.base_generation = i->base_generation, .base_epoch = htole64(i->base_epoch),
		.data_size = htole64(i->data_size), .time = htole64(i->time),
		.lbs_shift = i->lbs_shift,
	};
	memcpy(h->magic, REPL_STREAM_MAGIC, sizeof(h->magic));
	memcpy(h->name, i->name, strnlen(i->name, sizeof(h->name) - 1));
	memcpy(h->node, i->node, strnlen(i->node, sizeof(h->node) - 1));
	h->crc = htole32(header_crc(h));
}

struct stream_out *stream_out_new(const struct stream_info *info,
				  struct repl_stream_header *header)
{
	struct stream_out *s = calloc(1, sizeof(*s));

	if (!s || !track_init(&s->t)) {
		stream_out_free(s);
		return NULL;
	}
	s->t.info = *info;
	if (!track_begin(&s->t)) {
		stream_out_free(s);
		return NULL;
	}
	pack_header(info, header);
	s->t.crc = le32toh(header->crc);
	add(&s->t, header, sizeof(*header));
	return s;
}

void stream_out_free(struct stream_out *s)
{
	if (s)
		track_free(&s->t);
	free(s);
}

static void pack_record(const struct track *t, enum repl_stream_record_type type, uint64_t offset,
			uint64_t length, uint32_t payload_crc, struct repl_stream_record *r)
{
	*r = (struct repl_stream_record){
		.magic = htole32(REPL_STREAM_RECORD), .type = htole16(type),
		.sequence = htole64(t->totals.records), .offset = htole64(offset),
		.length = htole64(length), .stream = htole32(t->crc),
		.payload_crc = htole32(payload_crc),
	};
	r->header_crc = htole32(record_crc(r));
}

int stream_out_data(struct stream_out *s, uint64_t offset, const void *data, size_t length,
		    struct repl_stream_record *record)
{
	if (range_fault(&s->t, offset, length) || length > REPL_STREAM_DATA_MAX)
		return -EINVAL;
	pack_record(&s->t, REPL_STREAM_DATA, offset, length, super_crc32c(data, length), record);
	add(&s->t, record, sizeof(*record));
	add(&s->t, data, length);
	return advance(&s->t, offset, length, false);
}

int stream_out_zeros(struct stream_out *s, uint64_t offset, uint64_t length,
		     struct repl_stream_record *record)
{
	if (range_fault(&s->t, offset, length))
		return -EINVAL;
	pack_record(&s->t, REPL_STREAM_ZEROS, offset, length, 0, record);
	add(&s->t, record, sizeof(*record));
	return advance(&s->t, offset, length, true);
}

void stream_out_end(struct stream_out *s, uint8_t out[STREAM_END_BYTES])
{
	struct repl_stream_end end = {
		.records = htole64(s->t.totals.records),
		.data_bytes = htole64(s->t.totals.data_bytes),
		.zero_bytes = htole64(s->t.totals.zero_bytes),
	};
	struct repl_stream_record r;

	sum_up(&s->t, end.sha256);
	pack_record(&s->t, REPL_STREAM_END, 0, sizeof(end), super_crc32c(&end, sizeof(end)), &r);
	memcpy(out, &r, sizeof(r));
	memcpy(out + sizeof(r), &end, sizeof(end));
}

const struct stream_totals *stream_out_totals(const struct stream_out *s)
{
	return &s->t.totals;
}

/* ------------------------------------------------------------- decoding -- */

struct stream_in *stream_in_new(void)
{
	struct stream_in *s = calloc(1, sizeof(*s));

	if (s && track_init(&s->t))
		return s;
	stream_in_free(s);
	return NULL;
}

void stream_in_free(struct stream_in *s)
{
	if (s)
		track_free(&s->t);
	free(s);
}

size_t stream_in_want(const struct stream_in *s)
{
	switch (s->want) {
	case WANT_HEADER:
		return sizeof(struct repl_stream_header);
	case WANT_RECORD:
		return sizeof(struct repl_stream_record);
	case WANT_DATA:
		return s->length;
	case WANT_END:
		return sizeof(struct repl_stream_end);
	case WANT_NOTHING:
		break;
	}
	return 0;
}

static bool all_zero(const void *data, size_t length)
{
	const uint8_t *at = data;

	while (length--)
		if (*at++)
			return false;
	return true;
}

static bool is_name(const uint8_t *text, size_t size)
{
	size_t length = strnlen((const char *)text, size);

	for (size_t i = 0; i < length; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	return length < size && all_zero(text + length, size - length);
}

static const char *header_fault(const struct stream_info *i, const struct repl_stream_header *h)
{
	if (i->kind != REPL_STREAM_FULL && i->kind != REPL_STREAM_CHANGES)
		return "is of an unknown kind";
	if (i->flags & ~(uint32_t)REPL_STREAM_FLAGS_ALL)
		return "has unknown flags";
	if (i->lbs_shift < 9 || i->lbs_shift > REPL_BLOCK_SHIFT)
		return "has an impossible block size";
	if (i->data_size < REPL_DATA_MIN || i->data_size > REPL_DATA_MAX)
		return "has an impossible size";
	if (!is_name(h->name, sizeof(h->name)) || !is_name(h->node, sizeof(h->node)))
		return "has a name that is none";
	if (!all_zero(h->pad, sizeof(h->pad)) || !all_zero(h->reserved, sizeof(h->reserved)))
		return "has reserved bytes that are not zero";
	return NULL;
}

static int take_header(struct stream_in *s, const void *bytes, struct stream_item *item,
		       struct err *e)
{
	struct stream_info *i = &s->t.info;
	struct repl_stream_header h;
	const char *fault;

	memcpy(&h, bytes, sizeof(h));
	if (memcmp(h.magic, REPL_STREAM_MAGIC, sizeof(h.magic)))
		return err_set(e, EPROTO, "is no stream of repl");
	if (le32toh(h.crc) != header_crc(&h))
		return err_set(e, EBADMSG, "the header is damaged");
	if (le32toh(h.version) != REPL_STREAM_VERSION ||
	    (le64toh(h.features) & ~(uint64_t)REPL_STREAM_FEATURES_ALL))
		return err_set(e, EPROTO, "is of version %u with features %" PRIx64 ", which this "
			       "program does not know: use a newer one", le32toh(h.version),
			       le64toh(h.features));
	*i = (struct stream_info){
		.kind = le32toh(h.kind), .flags = le32toh(h.flags), .stream_id = h.stream_id,
		.parent_id = h.parent_id, .uuid = h.uuid, .copy_id = h.copy_id,
		.generation = h.generation, .epoch = le64toh(h.epoch),
		.base_copy_id = h.base_copy_id, .base_generation = h.base_generation,
		.base_epoch = le64toh(h.base_epoch), .data_size = le64toh(h.data_size),
		.time = le64toh(h.time), .lbs_shift = h.lbs_shift, .features = le64toh(h.features),
	};
	fault = header_fault(i, &h);
	if (fault)
		return err_set(e, EPROTO, "%s", fault);
	memcpy(i->name, h.name, sizeof(i->name));
	memcpy(i->node, h.node, sizeof(i->node));
	if (!track_begin(&s->t))
		return err_set(e, ENOMEM, "out of memory");
	s->t.crc = le32toh(h.crc);
	add(&s->t, bytes, sizeof(h));
	s->want = WANT_RECORD;
	item->kind = STREAM_HEADER;
	return 0;
}

/* What every record must be, whatever its type. */
static const char *record_fault(const struct stream_in *s, const struct repl_stream_record *r)
{
	if (le32toh(r->magic) != REPL_STREAM_RECORD || le32toh(r->header_crc) != record_crc(r))
		return "a record's header is damaged";
	if (le32toh(r->stream) != s->t.crc)
		return "a record of another stream";
	if (le64toh(r->sequence) != s->sequence)
		return "a record is missing, or comes twice or in another order";
	if (r->flags || r->reserved)
		return "a record with unknown flags";
	return NULL;
}

static const char *begin_record(struct stream_in *s, const struct repl_stream_record *r,
				struct stream_item *item)
{
	const char *fault = NULL;

	s->offset = le64toh(r->offset);
	s->length = le64toh(r->length);
	s->payload_crc = le32toh(r->payload_crc);
	switch (le16toh(r->type)) {
	case REPL_STREAM_DATA:
		fault = s->length > REPL_STREAM_DATA_MAX ? "a record that is too long"
							 : range_fault(&s->t, s->offset, s->length);
		s->want = WANT_DATA;
		break;
	case REPL_STREAM_ZEROS:
		fault = r->payload_crc ? "zeros with a checksum"
				       : range_fault(&s->t, s->offset, s->length);
		*item = (struct stream_item){ STREAM_ZEROS, s->offset, s->length, NULL };
		if (!fault && advance(&s->t, s->offset, s->length, true))
			fault = "there is no memory to check it";
		break;
	case REPL_STREAM_END:
		if (s->offset || s->length != sizeof(struct repl_stream_end))
			fault = "an end that is none";
		s->want = WANT_END;
		break;
	default:
		fault = "a record of an unknown type";
	}
	return fault;
}

static int take_record(struct stream_in *s, const void *bytes, struct stream_item *item,
		       struct err *e)
{
	struct repl_stream_record r;
	const char *fault;

	memcpy(&r, bytes, sizeof(r));
	fault = record_fault(s, &r);
	if (!fault)
		fault = begin_record(s, &r, item);
	if (fault) {
		item->kind = STREAM_NOTHING;
		return err_set(e, EBADMSG, "record %" PRIu64 ": %s", s->sequence, fault);
	}
	s->sequence++;
	if (s->want == WANT_END)
		sum_up(&s->t, s->sum);
	else
		add(&s->t, bytes, sizeof(r));
	return 0;
}

static int take_data(struct stream_in *s, const void *bytes, struct stream_item *item,
		     struct err *e)
{
	if (super_crc32c(bytes, s->length) != s->payload_crc)
		return err_set(e, EBADMSG, "record %" PRIu64 ": its data are damaged", s->sequence - 1);
	add(&s->t, bytes, s->length);
	if (advance(&s->t, s->offset, s->length, false))
		return err_set(e, ENOMEM, "out of memory");
	*item = (struct stream_item){ STREAM_DATA, s->offset, s->length, bytes };
	s->want = WANT_RECORD;
	return 0;
}

static int take_end(struct stream_in *s, const void *bytes, struct stream_item *item,
		    struct err *e)
{
	const struct stream_totals *t = &s->t.totals;
	struct repl_stream_end end;

	memcpy(&end, bytes, sizeof(end));
	if (super_crc32c(&end, sizeof(end)) != s->payload_crc || end.reserved)
		return err_set(e, EBADMSG, "the end is damaged");
	if (le64toh(end.records) != t->records || le64toh(end.data_bytes) != t->data_bytes ||
	    le64toh(end.zero_bytes) != t->zero_bytes)
		return err_set(e, EBADMSG, "the end counts other records than have come");
	if (memcmp(end.sha256, s->sum, sizeof(s->sum)))
		return err_set(e, EBADMSG, "the digest over everything is another one");
	if (s->t.info.kind == REPL_STREAM_FULL && !is_all(&s->t))
		return err_set(e, EBADMSG, "a full copy that ends before the volume does");
	item->kind = STREAM_END;
	s->want = WANT_NOTHING;
	return 0;
}

int stream_in_take(struct stream_in *s, const void *bytes, struct stream_item *item,
		   struct err *e)
{
	*item = (struct stream_item){ .kind = STREAM_NOTHING };
	switch (s->want) {
	case WANT_HEADER:
		return take_header(s, bytes, item, e);
	case WANT_RECORD:
		return take_record(s, bytes, item, e);
	case WANT_DATA:
		return take_data(s, bytes, item, e);
	case WANT_END:
		return take_end(s, bytes, item, e);
	case WANT_NOTHING:
		break;
	}
	return err_set(e, EBADMSG, "something follows after the end");
}

const struct stream_info *stream_in_info(const struct stream_in *s)
{
	return &s->t.info;
}

const struct stream_totals *stream_in_totals(const struct stream_in *s)
{
	return &s->t.totals;
}
