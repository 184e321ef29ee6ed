// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * repl-ctl restore: what a stream holds goes to a device or a file.
 *
 * A stream that can be read twice is verified to its end before the first block is
 * written.  One from a pipe is verified block by block; when its end is missing, the
 * target has been written to, and the words say so.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "device.h"
#include "err.h"
#include "id.h"
#include "place.h"
#include "signature.h"
#include "stream.h"
#include "units.h"

enum { PROGRESS_EVERY = 64 << 20, MIB_SHIFT = 20 };

struct source {
	const struct ctl *ctl;
	const char *path;		/* "-" is standard input */
	int fd;
	bool again;			/* can be read a second time */
	uint64_t size;			/* bytes; 0: not known */
	uint64_t read, told;
	uint8_t *buffer;		/* STREAM_WANT_MAX bytes, aligned for direct writes */
	struct stream_in *in;
};

struct target {
	const char *path;
	struct device device;
	bool open, created, written;
};

/* What to do with each part of a stream. Return: 0 or -errno with words. */
typedef int take_fn(void *arg, const struct source *s, const struct stream_item *item,
		    struct err *e);

/* -- reading --------------------------------------------------------------- */

static int open_source(struct source *s, struct err *e)
{
	struct stat st;

	s->fd = strcmp(s->path, "-") ? open(s->path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (s->fd < 0)
		return err_set(e, errno, "%s: %s", s->path, strerror(errno));
	if (posix_memalign((void **)&s->buffer, REPL_BLOCK_BYTES, STREAM_WANT_MAX))
		return err_set(e, ENOMEM, "out of memory");
	if (fstat(s->fd, &st) == 0 && S_ISREG(st.st_mode)) {
		s->size = st.st_size;
		s->again = lseek(s->fd, 0, SEEK_CUR) == 0;
	}
	return 0;
}

static void close_source(struct source *s)
{
	stream_in_free(s->in);
	free(s->buffer);
	if (s->fd > STDIN_FILENO)
		close(s->fd);
}

static void show(struct source *s, const char *what)
{
	char done[UNITS_TEXT_MAX];

	if (!s->ctl->progress || s->read < s->told + PROGRESS_EVERY)
		return;
	s->told = s->read;
	units_format_bytes(s->read, done);
	if (s->size)
		fprintf(stderr, "\r\033[K%s: %s, %s, %d %%", s->path, what, done,
			(int)(s->read * 100 / s->size));
	else
		fprintf(stderr, "\r\033[K%s: %s, %s", s->path, what, done);
}

static void clear(const struct source *s)
{
	if (s->told)
		fputs("\r\033[K", stderr);
}

/* Return: how many bytes came before the end, or -errno. */
static ssize_t read_full(struct source *s, size_t want, struct err *e)
{
	size_t done = 0;

	while (done < want) {
		ssize_t got = read(s->fd, s->buffer + done, want - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set(e, errno, "%s: reading: %s", s->path, strerror(errno));
		if (!got)
			break;
		done += got;
	}
	s->read += done;
	return done;
}

/* One piece. Return: 0 or -errno with words. */
static int take_piece(struct source *s, size_t want, take_fn *take, void *arg, struct err *e)
{
	struct stream_item item;
	ssize_t got = read_full(s, want, e);
	int ret;

	if (got < 0)
		return got;
	if ((size_t)got < want)
		return err_set(e, ENODATA, "%s: ends after %llu bytes, before the stream does: it is not whole",
			       s->path, (unsigned long long)s->read);
	ret = stream_in_take(s->in, s->buffer, &item, e);
	if (ret)
		return err_set(e, -ret, "%s: %s", s->path, e->text);
	return item.kind == STREAM_NOTHING ? 0 : take(arg, s, &item, e);
}

/* The whole stream, from its beginning to its end. */
static int pass(struct source *s, const char *what, take_fn *take, void *arg, struct err *e)
{
	size_t want;
	int ret = 0;

	stream_in_free(s->in);
	s->in = stream_in_new();
	if (!s->in)
		return err_set(e, ENOMEM, "out of memory");
	s->read = s->told = 0;
	while (!ret && (want = stream_in_want(s->in))) {
		ret = take_piece(s, want, take, arg, e);
		show(s, what);
	}
	clear(s);
	if (!ret && read_full(s, 1, e) > 0)
		ret = err_set(e, EBADMSG, "%s: something follows after the stream's end", s->path);
	return ret;
}

static int take_nothing(void *arg, const struct source *s, const struct stream_item *item,
			struct err *e)
{
	(void)arg, (void)s, (void)item, (void)e;
	return 0;
}

/* -- telling --------------------------------------------------------------- */

static void print_id(const char *what, const struct repl_id *id)
{
	char text[ID_TEXT_MAX];

	if (!id_is_zero(id))
		printf("  %-12s%s\n", what, id_format(id, text));
}

static void print_what(const struct source *s)
{
	const struct stream_info *i = stream_in_info(s->in);
	const struct stream_totals *t = stream_in_totals(s->in);
	char size[UNITS_TEXT_MAX], data[UNITS_TEXT_MAX], zeros[UNITS_TEXT_MAX], when[64] = "";
	time_t time = (time_t)i->time;
	struct tm tm;

	if (gmtime_r(&time, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
	printf("%s: %s of volume %s, read on %s at %s\n", s->path,
	       i->kind == REPL_STREAM_FULL ? "a full copy" : "changed blocks", i->name, i->node, when);
	printf("  %-12s%s of blocks and %s of zeros, for a volume of %s%s\n", "holds",
	       units_format_bytes(t->data_bytes, data), units_format_bytes(t->zero_bytes, zeros),
	       units_format_bytes(i->data_size, size),
	       i->flags & REPL_STREAM_CONSISTENT ? "" : "; they are of no single instant");
	print_id("volume", &i->uuid);
	print_id("copy", &i->copy_id);
	print_id("generation", &i->generation);
	print_id("since", &i->base_generation);
	print_id("equal to", &i->base_copy_id);
	print_id("stream", &i->stream_id);
	print_id("continues", &i->parent_id);
	printf("  whole and undamaged\n");
}

static int list(struct source *s, struct err *e)
{
	int ret = pass(s, "verified", take_nothing, NULL, e);

	if (!ret)
		print_what(s);
	return ret;
}

/* -- writing --------------------------------------------------------------- */

/* What is there and may still be needed. */
static int check_signatures(const struct target *t, bool force, struct err *e)
{
	const struct device *d = &t->device;
	char found[256] = "data";
	int count;

	if (t->created)
		return 0;
	count = signature_find_copy(d, place_find(d->fd, d->size), found, sizeof(found), e);
	if (!count)
		count = signature_find(d, found, sizeof(found), e);
	if (!count && d->file && d->size) {
		strcpy(found, "data");
		count = 1;
	}
	if (count <= 0)
		return count;
	if (!force)
		return err_set(e, EEXIST, "%s: holds %s; --force writes over it", t->path, found);
	fprintf(stderr, "repl-ctl: %s: held %s\n", t->path, found);
	return 0;
}

static int create_file(struct target *t, uint64_t size, struct err *e)
{
	int fd = open(t->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int ret = 0;

	if (fd < 0)
		return err_set(e, errno, "%s: %s", t->path, strerror(errno));
	t->created = true;
	if (ftruncate(fd, size))
		ret = err_set(e, errno, "%s: making it %llu bytes long: %s", t->path,
			      (unsigned long long)size, strerror(errno));
	close(fd);
	return ret;
}

/* The stream's header is known. */
static int open_target(struct target *t, const struct stream_info *i, bool force, struct err *e)
{
	struct stat st;
	int ret = 0;

	if (stat(t->path, &st) && errno == ENOENT)
		ret = create_file(t, i->data_size, e);
	if (!ret)
		ret = device_open_exclusive(&t->device, t->path, true, e);
	if (ret)
		return ret;
	t->open = true;
	if (t->device.size < i->data_size)
		return err_set(e, ENOSPC, "%s: has %llu bytes, but the volume has %llu: give a larger one",
			       t->path, (unsigned long long)t->device.size,
			       (unsigned long long)i->data_size);
	if (!t->device.file && t->device.block_size > 1u << i->lbs_shift)
		return err_set(e, EINVAL, "%s: has blocks of %u bytes, but the volume's have %u: give another one",
			       t->path, t->device.block_size, 1u << i->lbs_shift);
	return check_signatures(t, force, e);
}

struct writing {
	struct target *t;
	bool force;
};

static int write_item(void *arg, const struct source *s, const struct stream_item *item,
		      struct err *e)
{
	struct writing *w = arg;
	struct target *t = w->t;

	switch (item->kind) {
	case STREAM_HEADER:
		return t->open ? 0 : open_target(t, stream_in_info(s->in), w->force, e);
	case STREAM_DATA:
		t->written = true;
		return device_write(&t->device, item->data, item->length, item->offset, e);
	case STREAM_ZEROS:
		t->written = true;
		return device_zero(&t->device, item->length, item->offset, e);
	default:
		return 0;
	}
}

static void close_target(struct target *t, bool good)
{
	if (t->open)
		device_close(&t->device);
	if (t->created && !good)
		unlink(t->path);
	else if (t->written && !good)
		ctl_complain("%s: has been written to and is not complete: restore it again from a whole stream",
			     t->path);
}

/* A second look is worth its time: half of a stream makes of a good copy a bad one. */
static int verify_first(struct source *s, struct err *e)
{
	int ret = pass(s, "verified", take_nothing, NULL, e);

	if (!ret && lseek(s->fd, 0, SEEK_SET) < 0)
		ret = err_set(e, errno, "%s: %s", s->path, strerror(errno));
	return ret;
}

static int restore(struct source *s, const char *path, bool force, struct err *e)
{
	struct target t = { .path = path, .device.fd = -1 };
	struct writing w = { &t, force };
	int ret = s->again ? verify_first(s, e) : 0;

	if (!ret && s->again)
		ret = open_target(&t, stream_in_info(s->in), force, e);
	if (!ret)
		ret = pass(s, "written", write_item, &w, e);
	if (!ret)
		ret = device_sync(&t.device, e);
	close_target(&t, !ret);
	if (ret)
		return ret;
	print_what(s);
	printf("%s: has these blocks now%s\n", path,
	       stream_in_info(s->in)->kind == REPL_STREAM_FULL ? "" : "; all others are as they were");
	return 0;
}

/* -- the command line ------------------------------------------------------ */

int ctl_restore(const struct ctl *ctl, int argc, char **argv)
{
	static const struct option table[] = {
		{ "list", no_argument, NULL, 'l' },
		{ "force", no_argument, NULL, 'f' },
		{}
	};
	struct source s = { .ctl = ctl, .fd = -1 };
	bool only_list = false, force = false;
	struct err e = { "" };
	int id, ret;

	while ((id = getopt_long(argc, argv, ":", table, NULL)) >= 0) {
		if (id != 'l' && id != 'f')
			return ctl_misuse(ctl, "unknown option %s", argv[optind - 1]);
		only_list |= id == 'l';
		force |= id == 'f';
	}
	if (only_list && force)
		return ctl_misuse(ctl, "--list writes nothing that could be forced");
	if (argc - optind != (only_list ? 1 : 2))
		return ctl_misuse(ctl, only_list ? "name one stream" : "name a stream and where it goes");
	s.path = argv[optind];
	ret = open_source(&s, &e);
	if (!ret)
		ret = only_list ? list(&s, &e) : restore(&s, argv[optind + 1], force, &e);
	close_source(&s);
	return ret ? ctl_complain("%s", e.text) : CTL_DONE;
}
