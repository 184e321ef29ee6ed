// SPDX-License-Identifier: GPL-2.0-or-later
#include "edit.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "dir.h"

/* What the file is to say. */
struct edit {
	const char *device;
	const char *metadata;	/* NULL: as it is */
	unsigned int devices, metadatas;	/* lines that said it before */
};

static bool says(const char *line, const char *key)
{
	size_t length = strlen(key);

	line += strspn(line, " \t");
	if (strncmp(line, key, length) != 0)
		return false;
	line += length;
	line += strspn(line, " \t");
	return *line == '=' || *line == ':';
}

/* Where metadata go that the file has no line for, is known only when all of it was read. */
static int count_lines(FILE *from, struct edit *edit)
{
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, from) >= 0) {
		edit->devices += says(line, "device");
		edit->metadatas += says(line, "metadata");
	}
	free(line);
	if (ferror(from))
		return -EIO;
	rewind(from);
	return 0;
}

static int copy_lines(FILE *from, FILE *to, const struct edit *edit)
{
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, from) >= 0) {
		if (says(line, "device")) {
			fprintf(to, "device = %s\n", edit->device);
			if (edit->metadata && !edit->metadatas)
				fprintf(to, "metadata = %s\n", edit->metadata);
		} else if (edit->metadata && says(line, "metadata")) {
			fprintf(to, "metadata = %s\n", edit->metadata);
		} else {
			fputs(line, to);
		}
	}
	free(line);
	return ferror(from) || ferror(to) ? -EIO : 0;
}

static int check_lines(FILE *from, const char *path, struct edit *edit, struct err *e)
{
	if (count_lines(from, edit))
		return err_set(e, EIO, "%s cannot be read", path);
	if (edit->devices != 1)
		return err_set(e, EINVAL, "%s has not exactly one line that says device =", path);
	if (edit->metadata && edit->metadatas > 1)
		return err_set(e, EINVAL, "%s has more than one line that says metadata =", path);
	return 0;
}

/* A name in a directory is durable once the directory is. */
static int synced(const char *path, struct err *e)
{
	int ret = dir_sync_above(path);

	return ret ? err_set(e, -ret, "%s: making its name durable: %s", path, strerror(-ret)) : 0;
}

static int fill(FILE *to, const char *text, size_t length, const struct stat *st)
{
	if (fwrite(text, 1, length, to) != length || fflush(to) ||
	    fchmod(fileno(to), st->st_mode & 07777) || fchown(fileno(to), st->st_uid, st->st_gid) ||
	    fsync(fileno(to)))
		return errno ? -errno : -EIO;
	return 0;
}

/* Who reads it meanwhile, or after a crash, finds all of one of the two. */
static int write_anew(const char *path, const char *text, size_t length, struct err *e)
{
	char fresh[PATH_MAX + 8];
	struct stat st;
	FILE *to;
	int ret;

	if (stat(path, &st) < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	to = fopen(fresh, "we");
	if (!to)
		return err_set(e, errno, "%s: %s", fresh, strerror(errno));
	ret = fill(to, text, length, &st);
	if (fclose(to) && !ret)
		ret = -errno;
	if (ret)
		err_set(e, -ret, "%s: %s", fresh, strerror(-ret));
	else if (rename(fresh, path))
		ret = err_set(e, errno, "%s: %s", path, strerror(errno));
	else
		return synced(path, e);
	unlink(fresh);
	return ret;
}

int edit_device(const char *path, const char *device, const char *metadata, struct err *e)
{
	struct edit edit = { .device = device, .metadata = metadata };
	FILE *from = fopen(path, "re"), *to;
	char *text = NULL;
	size_t length = 0;
	int ret;

	if (!from)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	ret = check_lines(from, path, &edit, e);
	to = ret ? NULL : open_memstream(&text, &length);
	if (to) {
		ret = copy_lines(from, to, &edit);
		if (fclose(to) || ret)
			ret = err_set(e, EIO, "%s cannot be copied", path);
	} else if (!ret) {
		ret = err_set(e, ENOMEM, "out of memory");
	}
	if (!ret)
		ret = write_anew(path, text, length, e);
	free(text);
	fclose(from);
	return ret;
}

/* -- peers ----------------------------------------------------------------- */

static int read_whole(const char *path, char **text, size_t *length, struct err *e)
{
	FILE *from = fopen(path, "re"), *to;
	char line[4096];
	size_t n;
	int ret = 0;

	*text = NULL;
	if (!from)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	to = open_memstream(text, length);
	while (to && (n = fread(line, 1, sizeof(line), from)))
		fwrite(line, 1, n, to);
	if (ferror(from))
		ret = err_set(e, EIO, "%s cannot be read", path);
	fclose(from);
	if (!to || fclose(to))
		ret = err_set(e, ENOMEM, "out of memory");
	if (ret)
		free(*text);
	return ret;
}

static void keep_first(void *arg, const char *text)
{
	struct err *e = arg;

	if (!e->text[0])
		snprintf(e->text, sizeof(e->text), "%s", text);
}

/* As the agent will read it. */
static int parse(const char *path, const char *text, size_t length, struct config_volume *v, struct err *e)
{
	e->text[0] = '\0';
	return config_parse_volume(text, length, path, v, keep_first, e);
}

/* The line of the peer's section; 0: the file does not name it. */
static unsigned int line_of(const struct config_volume *v, const char *node)
{
	for (size_t i = 0; i < v->peer_count; i++)
		if (!strcmp(v->peer[i].name, node))
			return v->peer[i].line;
	return 0;
}

static const char *next_line(const char *line)
{
	const char *end = strchr(line, '\n');

	return end ? end + 1 : line + strlen(line);
}

static bool says_nothing(const char *line)
{
	line += strspn(line, " \t\r");
	return !*line || *line == '\n' || *line == '#' || *line == ';';
}

/*
 * Leaves out the section that begins in line @number, up to its last key: what stands below
 * may be about the section that follows.
 */
static void put_without(FILE *to, const char *text, unsigned int number)
{
	const char *section = text, *end, *at;

	while (--number)
		section = next_line(section);
	end = next_line(section);
	for (at = end; *at && at[strspn(at, " \t")] != '['; at = next_line(at))
		if (!says_nothing(at))
			end = next_line(at);
	/* The empty line above belongs to it, too. */
	at = section;
	if (at - text >= 2 && at[-1] == '\n' && at[-2] == '\n')
		at--;
	fwrite(text, 1, (size_t)(at - text), to);
	fputs(end, to);
}

static void put_with(FILE *to, const char *text, const char *node, const char *mode)
{
	size_t length = strlen(text);

	fputs(text, to);
	fprintf(to, "%s\n[peer \"%s\"]\nmode = %s\n", length && text[length - 1] != '\n' ? "\n" : "",
		node, mode);
}

/* Both before and after it must be a file that the agent takes. */
static int change_peer(const char *path, const char *old, const char *node, const char *mode,
		       struct config_volume *v, struct err *e)
{
	char *text = NULL;
	size_t length = 0;
	unsigned int line;
	FILE *to;
	int ret = parse(path, old, strlen(old), v, e);

	if (ret)
		return ret;
	line = line_of(v, node);
	if (line && mode)
		return err_set(e, EEXIST, "%s:%u: names %s already", path, line, node);
	if (!line && !mode)
		return err_set(e, ENOENT, "%s does not name %s", path, node);
	to = open_memstream(&text, &length);
	if (!to)
		return err_set(e, ENOMEM, "out of memory");
	if (mode)
		put_with(to, old, node, mode);
	else
		put_without(to, old, line);
	ret = fclose(to) ? err_set(e, ENOMEM, "out of memory") : parse(path, text, length, v, e);
	if (!ret)
		ret = write_anew(path, text, length, e);
	free(text);
	return ret;
}

int edit_peer(const char *path, const char *node, const char *mode, char **old, struct err *e)
{
	struct config_volume *v = malloc(sizeof(*v));
	size_t length;
	int ret;

	if (!v)
		return err_set(e, ENOMEM, "out of memory");
	ret = read_whole(path, old, &length, e);
	if (!ret) {
		ret = strlen(*old) == length ? change_peer(path, *old, node, mode, v, e) :
					       err_set(e, EINVAL, "%s holds bytes that are no text", path);
		if (ret)
			free(*old);
	}
	free(v);
	return ret;
}

int edit_restore(const char *path, const char *text, struct err *e)
{
	return write_anew(path, text, strlen(text), e);
}
