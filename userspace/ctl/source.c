// SPDX-License-Identifier: GPL-2.0-or-later
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "id.h"
#include "units.h"

enum { PROGRESS_EVERY = 64 << 20 };

int source_open(struct source *s, struct err *e)
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

void source_close(struct source *s)
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
static int take_piece(struct source *s, size_t want, source_take *take, void *arg, struct err *e)
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
	return item.kind == STREAM_NOTHING || !take ? 0 : take(arg, s, &item, e);
}

int source_pass(struct source *s, const char *what, source_take *take, void *arg, struct err *e)
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

int source_verify(struct source *s, struct err *e)
{
	int ret = source_pass(s, "verified", NULL, NULL, e);

	if (!ret && lseek(s->fd, 0, SEEK_SET) < 0)
		ret = err_set(e, errno, "%s: %s", s->path, strerror(errno));
	return ret;
}

/* -- telling --------------------------------------------------------------- */

static void print_id(const char *what, const struct repl_id *id)
{
	char text[ID_TEXT_MAX];

	if (!id_is_zero(id))
		printf("  %-12s%s\n", what, id_format(id, text));
}

void source_print(const struct source *s)
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

static int list_one(struct source *s, struct err *e)
{
	int ret = source_open(s, e);

	if (!ret)
		ret = source_pass(s, "verified", NULL, NULL, e);
	if (!ret)
		source_print(s);
	source_close(s);
	return ret;
}

int source_list(const struct ctl *ctl, char **path, int count)
{
	int ret = CTL_DONE;

	for (int i = 0; i < count; i++) {
		struct source s = { .ctl = ctl, .path = path[i], .fd = -1 };
		struct err e = { "" };

		if (list_one(&s, &e))
			ret = ctl_complain("%s", e.text);
	}
	return ret;
}
