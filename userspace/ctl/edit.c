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

static int write_anew(FILE *from, const char *path, const char *fresh, const struct edit *edit,
		      struct err *e)
{
	struct stat st;
	FILE *to;
	int ret;

	if (fstat(fileno(from), &st) < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	to = fopen(fresh, "we");
	if (!to)
		return err_set(e, errno, "%s: %s", fresh, strerror(errno));
	ret = copy_lines(from, to, edit);
	if (ret) {
		err_set(e, -ret, "%s cannot be copied", path);
	} else {
		ret = fchmod(fileno(to), st.st_mode & 07777) || fchown(fileno(to), st.st_uid, st.st_gid) ||
		      fflush(to) || fsync(fileno(to)) ? -errno : 0;
		if (ret)
			err_set(e, -ret, "%s: %s", fresh, strerror(-ret));
	}
	if (fclose(to) && !ret)
		ret = err_set(e, errno, "%s: %s", fresh, strerror(errno));
	if (!ret && rename(fresh, path))
		ret = err_set(e, errno, "%s: %s", path, strerror(errno));
	if (ret)
		unlink(fresh);
	return ret;
}

int edit_device(const char *path, const char *device, const char *metadata, struct err *e)
{
	struct edit edit = { .device = device, .metadata = metadata };
	char fresh[PATH_MAX + 8];
	FILE *from = fopen(path, "re");
	int ret;

	if (!from)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	ret = check_lines(from, path, &edit, e);
	if (!ret)
		ret = write_anew(from, path, fresh, &edit, e);
	fclose(from);
	return ret;
}
