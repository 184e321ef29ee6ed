// SPDX-License-Identifier: GPL-2.0-or-later
#include "save.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "dir.h"
#include "id.h"
#include "streamfile.h"
#include "units.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/*
 * From save_start() until the event fd is readable everything between the two lines is
 * the thread's, but for the two atomics.  Everything else is the loop's.
 */
struct save {
	struct pair_io *io;		/* NULL: its pair has gone */
	struct loop_watch watch;	/* of the event fd */
	struct agent *agent;
	uint32_t turn;
	uint64_t told;			/* bytes that the core knows of */
	int event_fd;
	atomic_bool cancelled;
	_Atomic uint64_t done;		/* bytes that were read */
	/* ---- */
	int cut_fd, data_fd;		/* of its own */
	int file_fd;
	uint64_t size;			/* of the volume */
	uint64_t expected;		/* bytes, at most */
	struct stream_info info;
	struct stream_file *out;
	uint8_t *buffer;		/* SAVE_CHUNK bytes */
	char dir[CORE_PATH_MAX];
	char name[REPL_NAME_MAX + REPL_NODE_MAX + 8];	/* VOLUME-NODE */
	char part[PATH_MAX], path[PATH_MAX];
	int error;
	struct err e;
	/* ---- */
};

/* -------------------------------------------------------- the thread's -- */

static int make_directory(struct save *s)
{
	struct stat st;
	int ret = dir_make_all(s->dir);

	if (!ret && stat(s->dir, &st))
		ret = -errno;
	if (ret)
		return err_set(&s->e, -ret, "%s: %s: make it, such that the agent's user may write "
			       "there, or name another directory", s->dir, strerror(-ret));
	if (!S_ISDIR(st.st_mode))
		return err_set(&s->e, ENOTDIR, "%s: is no directory: name another one", s->dir);
	return 0;
}

/* As much as it may become: each block a record of its own. */
static int check_room(struct save *s)
{
	uint64_t blocks = copy_blocks(s->expected), need, free_bytes;
	char has[UNITS_TEXT_MAX], wants[UNITS_TEXT_MAX];
	struct statvfs vfs;

	if (statvfs(s->dir, &vfs))
		return err_set(&s->e, errno, "%s: %s", s->dir, strerror(errno));
	need = blocks * (REPL_BLOCK_BYTES + STREAM_RECORD_BYTES) +
	       sizeof(struct repl_stream_header) + STREAM_END_BYTES;
	free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	if (free_bytes < need)
		return err_set(&s->e, ENOSPC, "%s has %s left, and %s may be needed: make room, or "
			       "name another directory", s->dir, units_format_bytes(free_bytes, has),
			       units_format_bytes(need, wants));
	return 0;
}

static int open_part(struct save *s)
{
	snprintf(s->part, sizeof(s->part), "%s/%s.part", s->dir, s->name);
	s->file_fd = open(s->part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->file_fd < 0)
		return err_set(&s->e, errno, "%s: %s: let the agent's user write there, or name "
			       "another directory", s->part, strerror(errno));
	s->info.time = (uint64_t)time(NULL);
	s->buffer = aligned_alloc(REPL_BLOCK_BYTES, SAVE_CHUNK);
	if (!s->buffer)
		return err_set(&s->e, ENOMEM, "out of memory");
	s->out = stream_file_new(s->file_fd, s->part, &s->info, &s->e);
	return s->out ? 0 : -EIO;
}

static int put_range(struct save *s, uint64_t offset, uint64_t end)
{
	int ret = 0;

	while (offset < end && !ret) {
		size_t length = end - offset < SAVE_CHUNK ? (size_t)(end - offset) : SAVE_CHUNK;
		ssize_t n = pread(s->data_fd, s->buffer, length, (off_t)offset);

		if (n != (ssize_t)length)
			return err_set(&s->e, n < 0 ? errno : EIO, "the backing device cannot be read at "
				       "byte %" PRIu64 ": %s", offset,
				       n < 0 ? strerror(errno) : "the read was short");
		if (atomic_load(&s->cancelled))
			return err_set(&s->e, ECANCELED, "given up");
		ret = stream_file_put(s->out, offset, s->buffer, length, &s->e);
		atomic_fetch_add(&s->done, length);
		offset += length;
	}
	return ret;
}

static int put_cut(struct save *s)
{
	struct repl_extent extent[SAVE_EXTENTS];
	ssize_t n = 0;
	int ret = 0;

	while (!ret && (n = read(s->cut_fd, extent, sizeof(extent))) > 0) {
		for (size_t i = 0; i < (size_t)n / sizeof(extent[0]) && !ret; i++) {
			uint64_t from = extent[i].block << REPL_BLOCK_SHIFT;
			uint64_t to = from + (extent[i].count << REPL_BLOCK_SHIFT);

			ret = put_range(s, from, to < s->size ? to : s->size);
		}
	}
	if (n < 0)
		return err_set(&s->e, errno, "the cut cannot be read: %s", strerror(errno));
	return ret;
}

/* Whole: durable under its name, or not there. */
static int keep(struct save *s)
{
	time_t now = (time_t)s->info.time;
	char when[32];
	struct tm tm;
	int ret;

	ret = stream_file_end(s->out, &s->e);
	if (ret)
		return ret;
	if (fsync(s->file_fd))
		return err_set(&s->e, errno, "%s: making it durable: %s", s->part, strerror(errno));
	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
	snprintf(s->path, sizeof(s->path), "%s/%s-%s.repl", s->dir, s->name, when);
	ret = dir_rename_new(s->part, s->path);
	if (ret)
		return err_set(&s->e, -ret, "%s: %s", s->path, strerror(-ret));
	ret = dir_sync(s->dir);
	return ret ? err_set(&s->e, -ret, "%s: making it durable: %s", s->dir, strerror(-ret)) : 0;
}

static int save(struct save *s)
{
	int ret = make_directory(s);

	if (!ret)
		ret = check_room(s);
	if (!ret)
		ret = open_part(s);
	if (!ret)
		ret = put_cut(s);
	return ret ? ret : keep(s);
}

static void *run(void *arg)
{
	struct save *s = arg;
	uint64_t one = 1;

	s->error = save(s);
	if (s->error && s->file_fd >= 0)
		unlink(s->part);
	if (s->file_fd >= 0)
		close(s->file_fd);
	close(s->cut_fd);
	close(s->data_fd);
	stream_file_free(s->out);
	free(s->buffer);
	/* From here on it may be freed. */
	if (write(s->event_fd, &one, sizeof(one)) != sizeof(one))
		abort();	/* an eventfd that was never written takes one */
	return NULL;
}

/* ---------------------------------------------------------- the loop's -- */

static void ended(struct loop_watch *w, uint32_t events)
{
	struct save *s = container(w, struct save, watch);
	struct agent *a = s->agent;
	struct op_result r = { .error = s->error, .text = s->error ? s->e.text : s->path };

	(void)events;
	loop_unwatch(&a->loop, w);
	close(s->event_fd);
	if (s->io) {
		s->io->save = NULL;
		agent_now(a);
		core_op_done(s->io->pair->volume, s->io->pair, OP_SAVE, s->turn, &r);
	}
	free(s);
}

static void fill(struct save *s, const struct pair *p, const struct op *op)
{
	const struct volume *v = p->volume;
	const char *dir = p->resolve.save_to;

	s->size = op->size;
	s->expected = p->mine.slot_dirty_blocks << REPL_BLOCK_SHIFT;
	s->info = (struct stream_info){
		.kind = REPL_STREAM_CHANGES, .flags = REPL_STREAM_CONSISTENT,
		.stream_id = id_random(), .uuid = p->mine.uuid, .copy_id = p->mine.copy_id,
		.generation = p->mine.generation, .epoch = p->mine.epoch,
		.base_copy_id = p->theirs.copy_id,
		.base_generation = verdict_common(&p->mine, &p->theirs),
		.base_epoch = p->mine.slot_epoch, .data_size = op->size,
		.lbs_shift = p->mine.lbs_shift,
	};
	snprintf(s->info.name, sizeof(s->info.name), "%s", v->name);
	snprintf(s->info.node, sizeof(s->info.node), "%s", p->core->node);
	snprintf(s->dir, sizeof(s->dir), "%s", dir[0] ? dir : agent_volume_io(v)->save_dir);
	snprintf(s->name, sizeof(s->name), "%s-%s", v->name, p->core->node);
}

static bool start_thread(struct save *s)
{
	pthread_attr_t attr;
	pthread_t thread;
	bool started;

	if (pthread_attr_init(&attr))
		return false;
	started = !pthread_attr_setstacksize(&attr, SAVE_STACK) &&
		  !pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) &&
		  !pthread_create(&thread, &attr, run, s);
	pthread_attr_destroy(&attr);
	return started;
}

void save_start(struct pair_io *io, const struct op *op)
{
	struct agent *a = io->agent;
	struct save *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->agent = a;
	s->turn = op->turn;
	s->watch.fd = -1;
	s->watch.ready = ended;
	s->file_fd = -1;
	fill(s, io->pair, op);
	s->cut_fd = fcntl(io->cut_fd, F_DUPFD_CLOEXEC, 0);
	s->data_fd = fcntl(agent_volume_io(io->pair->volume)->data_fd, F_DUPFD_CLOEXEC, 0);
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->cut_fd >= 0 && s->data_fd >= 0 && s->event_fd >= 0 && !io->save &&
	    !loop_watch(&a->loop, &s->watch, s->event_fd, EPOLLIN)) {
		s->io = io;
		io->save = s;
		if (start_thread(s))
			return;
		io->save = NULL;
		loop_unwatch(&a->loop, &s->watch);
	}
	if (s->cut_fd >= 0)
		close(s->cut_fd);
	if (s->data_fd >= 0)
		close(s->data_fd);
	if (s->event_fd >= 0)
		close(s->event_fd);
	free(s);
	agent_op_done(a, io->pair->volume, io->pair, OP_SAVE, op->turn, -EAGAIN,
		      "the cut is gone, or there is no thread for it");
}

void save_drop(struct pair_io *io)
{
	if (io->save)
		atomic_store(&io->save->cancelled, true);
}

void save_orphan(struct pair_io *io)
{
	if (!io->save)
		return;
	save_drop(io);
	io->save->io = NULL;
	io->save = NULL;
}

void save_tick(struct agent *a)
{
	for (struct volume *v = a->core.volumes; v; v = v->next) {
		for (unsigned int i = 0; i < v->pair_count; i++) {
			struct save *s = agent_pair_io(v->pair[i])->save;
			uint64_t done = s ? atomic_load(&s->done) : 0;

			if (!s || done == s->told)
				continue;
			core_progress(v->pair[i], done - s->told);
			s->told = done;
		}
	}
}

uint64_t save_deadline(const struct agent *a)
{
	for (const struct volume *v = a->core.volumes; v; v = v->next)
		for (unsigned int i = 0; i < v->pair_count; i++)
			if (agent_pair_io(v->pair[i])->save)
				return loop_now() + SAVE_TICK_MS;
	return UINT64_MAX;
}
