// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * repl-ctl restore: what streams hold goes to a device or a file.
 *
 * Streams that can be read twice are verified to their ends, and that each continues the one
 * before it, before the first block is written.  One from a pipe is verified block by block;
 * when its end is missing, the target has been written to, and the words say so.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain.h"
#include "device.h"
#include "err.h"
#include "id.h"
#include "place.h"
#include "signature.h"
#include "source.h"

struct target {
	const char *path;
	struct device device;
	bool open, created, written;
};

struct restore {
	const struct ctl *ctl;
	char **path;			/* of the streams, in order */
	int count;
	bool force;
	struct stream_info *info;	/* of those that were verified */
	int at;				/* which of them is written */
	struct target target;
};

/* -- the target ------------------------------------------------------------ */

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

/* -- the streams ----------------------------------------------------------- */

/* May it be put where those before it have been? */
static int check_link(const struct restore *r, const struct stream_info *i, int n, struct err *e)
{
	if (n)
		return chain_next(&r->info[n - 1], r->path[n - 1], i, r->path[n], e);
	/* Alone, and over whatever is there: that is what was asked for. */
	return r->count == 1 && r->force ? 0 : chain_first(i, r->path[0], r->count > 1, e);
}

/* Half of a chain makes of a good copy a bad one: all of it is read before. */
static int verify(struct restore *r, int n, struct source *s, struct err *e)
{
	int ret;

	if (!s->again)
		return err_set(e, EINVAL, "%s: can be read only once, but a chain is verified before it is used: "
			       "put it into a file", s->path);
	ret = source_verify(s, e);
	if (ret)
		return ret;
	r->info[n] = *stream_in_info(s->in);
	return check_link(r, &r->info[n], n, e);
}

static int write_item(void *arg, const struct source *s, const struct stream_item *item,
		      struct err *e)
{
	struct restore *r = arg;
	struct target *t = &r->target;
	int ret;

	switch (item->kind) {
	case STREAM_HEADER:
		if (t->open && id_equal(&stream_in_info(s->in)->stream_id, &r->info[r->at].stream_id))
			return 0;
		if (t->open)
			return err_set(e, EBADMSG, "%s: is not what was verified: it has changed since", s->path);
		ret = check_link(r, stream_in_info(s->in), 0, e);
		return ret ? ret : open_target(t, stream_in_info(s->in), r->force, e);
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

static int write_one(struct restore *r, int n, struct source *s, struct err *e)
{
	int ret;

	r->at = n;
	ret = source_pass(s, "written", write_item, r, e);
	if (ret)
		return ret;
	r->info[n] = *stream_in_info(s->in);
	source_print(s);
	return 0;
}

/* One after the other: only one is open, and in memory, at a time. */
static int each(struct restore *r, int (*what)(struct restore *r, int n, struct source *s, struct err *e),
		struct err *e)
{
	int ret = 0;

	for (int n = 0; n < r->count && !ret; n++) {
		struct source s = { .ctl = r->ctl, .path = r->path[n], .fd = -1 };

		ret = source_open(&s, e);
		if (!ret)
			ret = what(r, n, &s, e);
		source_close(&s);
	}
	return ret;
}

static bool is_pipe(const struct restore *r)
{
	struct stat st;

	if (r->count > 1)
		return false;
	if (strcmp(r->path[0], "-") == 0)
		return fstat(STDIN_FILENO, &st) || !S_ISREG(st.st_mode) ||
		       lseek(STDIN_FILENO, 0, SEEK_CUR) != 0;
	return stat(r->path[0], &st) == 0 && !S_ISREG(st.st_mode);
}

static int restore(struct restore *r, struct err *e)
{
	int ret = 0;

	if (!is_pipe(r)) {
		ret = each(r, verify, e);
		if (!ret)
			ret = open_target(&r->target, &r->info[r->count - 1], r->force, e);
	}
	if (!ret)
		ret = each(r, write_one, e);
	if (!ret)
		ret = device_sync(&r->target.device, e);
	close_target(&r->target, !ret);
	if (!ret)
		printf("%s: has these blocks now%s\n", r->target.path,
		       r->info[0].kind == REPL_STREAM_FULL ? "" : "; all others are as they were");
	return ret;
}

/* -- the command line ------------------------------------------------------ */

int ctl_restore(const struct ctl *ctl, int argc, char **argv)
{
	static const struct option table[] = {
		{ "list", no_argument, NULL, 'l' },
		{ "force", no_argument, NULL, 'f' },
		{}
	};
	struct restore r = { .ctl = ctl, .target.device.fd = -1 };
	bool only_list = false;
	struct err e = { "" };
	int id, ret;

	while ((id = getopt_long(argc, argv, ":", table, NULL)) >= 0) {
		if (id != 'l' && id != 'f')
			return ctl_misuse(ctl, "unknown option %s", argv[optind - 1]);
		only_list |= id == 'l';
		r.force |= id == 'f';
	}
	if (only_list && r.force)
		return ctl_misuse(ctl, "--list writes nothing that could be forced");
	if (argc - optind < (only_list ? 1 : 2))
		return ctl_misuse(ctl, only_list ? "name a stream" : "name a stream and where it goes");
	if (only_list)
		return source_list(ctl, argv + optind, argc - optind);
	r.path = argv + optind;
	r.count = argc - optind - 1;
	r.target.path = argv[argc - 1];
	r.info = calloc((size_t)r.count, sizeof(*r.info));
	ret = r.info ? restore(&r, &e) : err_set(&e, ENOMEM, "out of memory");
	free(r.info);
	return ret ? ctl_complain("%s", e.text) : CTL_DONE;
}
