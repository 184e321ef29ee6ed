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

static bool says_device(const char *line)
{
	line += strspn(line, " \t");
	if (strncmp(line, "device", 6) != 0)
		return false;
	line += 6;
	line += strspn(line, " \t");
	return *line == '=' || *line == ':';
}

/* Return: how many lines were changed, or -errno. */
static int copy_lines(FILE *from, FILE *to, const char *device)
{
	char *line = NULL;
	size_t size = 0;
	int changed = 0;

	while (getline(&line, &size, from) >= 0) {
		if (says_device(line)) {
			fprintf(to, "device = %s\n", device);
			changed++;
		} else {
			fputs(line, to);
		}
	}
	free(line);
	return ferror(from) || ferror(to) ? -EIO : changed;
}

static int write_anew(FILE *from, const char *path, const char *fresh, const char *device,
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
	ret = copy_lines(from, to, device);
	if (ret == 1) {
		ret = fchmod(fileno(to), st.st_mode & 07777) || fchown(fileno(to), st.st_uid, st.st_gid) ||
		      fflush(to) || fsync(fileno(to)) ? -errno : 0;
		if (ret)
			err_set(e, -ret, "%s: %s", fresh, strerror(-ret));
	} else {
		ret = err_set(e, EINVAL, ret < 0 ? "%s cannot be copied" :
			      "%s has not exactly one line that says device =", path);
	}
	if (fclose(to) && !ret)
		ret = err_set(e, errno, "%s: %s", fresh, strerror(errno));
	if (!ret && rename(fresh, path))
		ret = err_set(e, errno, "%s: %s", path, strerror(errno));
	if (ret)
		unlink(fresh);
	return ret;
}

int edit_device(const char *path, const char *device, struct err *e)
{
	char fresh[PATH_MAX + 8];
	FILE *from = fopen(path, "re");
	int ret;

	if (!from)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	ret = write_anew(from, path, fresh, device, e);
	fclose(from);
	return ret;
}
