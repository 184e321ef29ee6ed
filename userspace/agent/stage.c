// SPDX-License-Identifier: GPL-2.0-or-later
#include "stage.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "dir.h"
#include "id.h"
#include "log.h"
#include "super.h"
#include "units.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

static void path_of(const struct volume_io *vio, char path[CONFIG_STAGING_DIR_MAX + 64])
{
	char id[ID_TEXT_MAX];

	snprintf(path, CONFIG_STAGING_DIR_MAX + 64, "%s/%s.stage", vio->staging_dir,
		 id_format(&vio->copy_id, id));
}

void stage_put(struct stage *st)
{
	if (!st || --st->users)
		return;
	close(st->fd);
	free(st);
}

static void close_stage(struct volume_io *vio)
{
	stage_put(vio->stage);
	vio->stage = NULL;
}

/* A name that is gone durably cannot be found and applied by somebody later. */
static int remove_file(struct volume_io *vio)
{
	char path[CONFIG_STAGING_DIR_MAX + 64];

	path_of(vio, path);
	close_stage(vio);
	if (unlink(path))
		return errno == ENOENT ? 0 : -errno;
	return dir_sync(vio->staging_dir);
}

/* Half of what is free belongs to everybody else. */
static uint64_t most(const struct volume_io *vio, int fd)
{
	struct statvfs st;
	uint64_t free_bytes;

	/* Some that lie in memory do not know how much there is. */
	if (fstatvfs(fd, &st) || !st.f_blocks)
		return vio->staging_size;
	free_bytes = (uint64_t)st.f_bavail * st.f_frsize / 2;
	return free_bytes < vio->staging_size ? free_bytes : vio->staging_size;
}

static int create(struct volume_io *vio, struct err *e)
{
	struct stage *st = calloc(1, sizeof(*st));
	int ret;

	if (!st)
		return err_set(e, ENOMEM, "out of memory");
	ret = dir_make_all(vio->staging_dir);
	if (!ret)
		ret = remove_file(vio);
	path_of(vio, st->path);
	st->fd = ret ? -1 : open(st->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (st->fd < 0) {
		ret = ret ? ret : -errno;
		err_set(e, -ret, "%s cannot be created: %s", st->path, strerror(-ret));
		free(st);
		return ret;
	}
	st->users = 1;
	vio->stage = st;
	ret = dir_sync(vio->staging_dir);
	if (ret || getrandom(&st->file, sizeof(st->file), 0) != sizeof(st->file)) {
		close_stage(vio);
		return err_set(e, EIO, "%s cannot be made durable", vio->staging_dir);
	}
	st->at = REPL_STAGE_DATA;
	st->most = most(vio, st->fd);
	return 0;
}

int stage_begin(struct pair_io *io, struct err *e)
{
	struct volume_io *vio = agent_volume_io(io->pair->volume);
	int ret;

	if (vio->stage && vio->stage->owner == io) {
		vio->stage->pass++;
		return 0;
	}
	ret = create(vio, e);
	if (!ret)
		vio->stage->owner = io;
	return ret;
}

static void count(struct stage *st, const struct repl_stage_record *r)
{
	st->chain = super_crc32c((uint32_t[]){ st->chain, r->crc }, 8);
	st->records++;
	st->bytes += le64toh(r->length);
}

static uint64_t payload(const struct repl_stage_record *r)
{
	return le32toh(r->flags) & REPL_STAGE_ZEROES ? 0 : le64toh(r->length);
}

int stage_add(struct stage *st, uint64_t offset, uint64_t length, const uint8_t *data,
	      struct repl_stage_record *record, uint64_t *at, struct err *e)
{
	uint64_t size = sizeof(*record) + (data ? length : 0);
	char text[UNITS_TEXT_MAX];

	if (st->at + size > st->most)
		return err_set(e, ENOSPC, "%s has %s, and may not have more", st->path,
			       units_format_bytes(st->at, text));
	*record = (struct repl_stage_record){
		.magic = htole32(REPL_STAGE_RECORD), .pass = htole32(st->pass),
		.sequence = htole64(st->records), .offset = htole64(offset),
		.length = htole64(length), .file = st->file,
		.flags = htole32(data ? 0 : REPL_STAGE_ZEROES),
		.payload_crc = htole32(data ? super_crc32c(data, length) : 0),
	};
	record->crc = htole32(super_crc32c(record, offsetof(struct repl_stage_record, crc)));
	count(st, record);
	*at = st->at;
	st->at += size;
	return 0;
}

void stage_rewind(struct stage *st)
{
	st->chain = 0;
	st->records = st->bytes = 0;
}

bool stage_check(struct stage *st, const struct repl_stage_record *r, uint64_t at)
{
	uint64_t length = le64toh(r->length);

	if (le32toh(r->magic) != REPL_STAGE_RECORD || r->file != st->file ||
	    le32toh(r->crc) != super_crc32c(r, offsetof(struct repl_stage_record, crc)) ||
	    le64toh(r->sequence) != st->records || !length ||
	    length > REPL_DATA_MAX || payload(r) > REPL_MSG_MAX ||
	    at + sizeof(*r) + payload(r) > st->at)
		return false;
	count(st, r);
	return true;
}

bool stage_is_whole(const struct stage *st)
{
	return st->records == le64toh(st->header.records) &&
	       st->chain == le32toh(st->header.chain) && st->bytes == le64toh(st->header.bytes);
}

/* ------------------------------------------------------------- sealing -- */

static void fill_header(struct stage *st, const struct volume_io *vio, const struct staged *what)
{
	struct repl_stage_header *h = &st->header;

	*h = (struct repl_stage_header){
		.magic = REPL_STAGE_MAGIC, .version = htole32(REPL_STAGE_VERSION), .file = st->file,
		.chain = htole32(st->chain), .records = htole64(st->records),
		.bytes = htole64(st->bytes), .end = htole64(st->at), .copy_id = vio->copy_id,
		.uuid = what->uuid, .base_generation = what->base_generation,
		.base_epoch = htole64(what->base_epoch), .generation = what->generation,
		.epoch = htole64(what->epoch),
	};
	memcpy(h->key, what->key, sizeof(h->key));
	memcpy(h->history, what->history, sizeof(h->history));
	h->crc = htole32(super_crc32c(h, sizeof(*h)));
}

/* Its checksum, and a random number: another file with that name is not to be expected. */
static uint64_t name_of(const struct repl_stage_header *h)
{
	uint64_t name = le32toh(h->crc) | (uint64_t)le32toh(h->file) << 32;

	return name ? name : 1;
}

static void tell(const struct repl_stage_header *h, struct staged *what)
{
	*what = (struct staged){
		.uuid = h->uuid, .generation = h->generation, .epoch = le64toh(h->epoch),
		.base_generation = h->base_generation, .base_epoch = le64toh(h->base_epoch),
		.bytes = le64toh(h->bytes), .file = name_of(h),
	};
	memcpy(what->key, h->key, sizeof(what->key));
	memcpy(what->history, h->history, sizeof(what->history));
}

static void sealed(struct stage *st, int error)
{
	struct staged what;
	struct op_result r = {
		.error = error, .staging = error, .moved.sent_bytes = st->bytes, .staged = &what,
	};
	char text[CONFIG_STAGING_DIR_MAX + 160];

	tell(&st->header, &what);
	if (error) {
		snprintf(text, sizeof(text), "%s cannot be made durable: %s", st->path, strerror(-error));
		r.text = text;
	}
	agent_now(st->agent);
	if (st->volume)
		core_op_done(st->volume, NULL, OP_STAGE_SEAL, 0, &r);
	stage_put(st);
}

static void seal_step(struct loop_op *op, int res);

/* The records first: a header that is there says that all of them are. */
static void seal_next(struct stage *st)
{
	struct io_uring_sqe *sqe = loop_sqe(&st->agent->loop, &st->op);

	st->op.done = seal_step;
	if (st->step == 1)
		io_uring_prep_write(sqe, st->fd, &st->header, sizeof(st->header), 0);
	else
		io_uring_prep_fsync(sqe, st->fd, 0);
	io_uring_sqe_set_data(sqe, &st->op);
}

static void seal_step(struct loop_op *op, int res)
{
	struct stage *st = container(op, struct stage, op);

	if (res < 0 || (st->step == 1 && res != sizeof(st->header))) {
		sealed(st, res < 0 ? res : -ENOSPC);
	} else if (++st->step <= 2) {
		seal_next(st);
	} else {
		sealed(st, 0);
	}
}

void stage_seal(struct agent *a, struct volume *v, const struct op *op)
{
	struct volume_io *vio = agent_volume_io(v);
	struct stage *st = vio->stage;
	struct op_result r = { 0 };

	if (!st || !st->bytes) {
		agent_now(a);
		core_op_done(v, NULL, OP_STAGE_SEAL, 0, &r);
		return;
	}
	st->users++;
	st->owner = NULL;
	st->agent = a;
	st->volume = v;
	st->step = 0;
	fill_header(st, vio, &op->staged);
	seal_next(st);
}

static void removed(struct agent *a, struct volume *v, enum op_kind kind, int ret)
{
	char path[CONFIG_STAGING_DIR_MAX + 64], text[sizeof(path) + 80];

	path_of(agent_volume_io(v), path);
	snprintf(text, sizeof(text), "%s cannot be removed: %s", path, strerror(-ret));
	agent_op_done(a, v, NULL, kind, 0, ret, text);
}

void stage_drop(struct agent *a, struct volume *v, const struct op *op)
{
	removed(a, v, op->kind, remove_file(agent_volume_io(v)));
}

void stage_clean(struct agent *a, struct volume *v, const struct op *op)
{
	struct volume_io *vio = agent_volume_io(v);

	/* Who has made a new one has removed the old one before. */
	removed(a, v, op->kind, vio->stage ? 0 : remove_file(vio));
}

void stage_clear(struct volume_io *vio)
{
	remove_file(vio);
}

void stage_abandon(struct pair_io *io)
{
	struct volume_io *vio = agent_volume_io(io->pair->volume);

	if (vio && vio->stage && vio->stage->owner == io)
		remove_file(vio);
}

/* ---------------------------------------------------------- found again -- */

static bool is_good(const struct repl_stage_header *h, const struct volume_io *vio)
{
	struct repl_stage_header copy = *h;

	copy.crc = 0;
	return !memcmp(h->magic, REPL_STAGE_MAGIC, sizeof(h->magic)) &&
	       le32toh(h->version) == REPL_STAGE_VERSION &&
	       le32toh(h->crc) == super_crc32c(&copy, sizeof(copy)) &&
	       id_equal(&h->copy_id, &vio->copy_id);
}

int stage_find(struct volume_io *vio, const char *name, struct staged *what, struct err *e)
{
	struct stage *st = calloc(1, sizeof(*st));
	ssize_t n = -1;
	int ret;

	if (!st)
		abort();
	path_of(vio, st->path);
	st->fd = open(st->path, O_RDWR | O_CLOEXEC);
	if (st->fd >= 0)
		n = pread(st->fd, &st->header, sizeof(st->header), 0);
	if (n < 0) {
		ret = errno == ENOENT || errno == ENOTDIR ? 0 : err_set(e, errno, "%s cannot be read: %s", st->path,
						    strerror(errno));
		if (st->fd >= 0)
			close(st->fd);
		free(st);
		return ret;
	}
	st->users = 1;
	vio->stage = st;
	if (n == sizeof(st->header) && is_good(&st->header, vio)) {
		st->file = st->header.file;
		st->at = le64toh(st->header.end);
		tell(&st->header, what);
		return 1;
	}
	/* It was never whole, so nothing of it was applied. */
	ret = remove_file(vio);
	if (ret)
		log_warn(name, "a staging file that is not whole cannot be removed: %s", strerror(-ret));
	return 0;
}

void stage_look(struct agent *a, struct volume *v)
{
	struct err e = { "" };
	struct staged what;
	int ret = stage_find(agent_volume_io(v), v->name, &what, &e);
	struct op_result r = {
		.error = ret > 0 ? 0 : ret ? ret : -ENOENT, .text = e.text, .staged = &what,
	};

	agent_now(a);
	core_op_done(v, NULL, OP_STAGE_FIND, 0, &r);
}

void stage_forget(struct volume_io *vio)
{
	if (vio->stage)
		vio->stage->volume = NULL;
	close_stage(vio);
}
