// SPDX-License-Identifier: GPL-2.0-or-later
#include "dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int dir_sync(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ret = fd < 0 || fsync(fd) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return ret;
}

int dir_sync_above(const char *path)
{
	char above[PATH_MAX];
	char *slash;

	if ((size_t)snprintf(above, sizeof(above), "%s", path) >= sizeof(above))
		return -ENAMETOOLONG;
	slash = strrchr(above, '/');
	if (!slash)
		return dir_sync(".");
	slash[slash == above] = '\0';
	return dir_sync(above);
}

/* A directory that is made here is an entry of the one above it, which must not be lost either. */
int dir_make(const char *dir)
{
	if (mkdir(dir, 0700))
		return errno == EEXIST ? 0 : -errno;
	return dir_sync_above(dir);
}

int dir_make_all(const char *dir)
{
	char path[PATH_MAX];
	struct stat st;
	int ret = 0;

	if ((size_t)snprintf(path, sizeof(path), "%s", dir) >= sizeof(path))
		return -ENAMETOOLONG;
	for (char *slash = strchr(path + 1, '/'); slash && !ret; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		/* Who may not write there, or cannot, need not, if it is there. */
		if (stat(path, &st))
			ret = dir_make(path);
		*slash = '/';
	}
	return ret ? ret : stat(path, &st) ? dir_make(path) : 0;
}

int dir_rename_new(const char *from, const char *to)
{
	struct stat st;

	if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE))
		return 0;
	/* Some file systems, those of a network among them, cannot look and rename in one step. */
	if (errno != EINVAL)
		return -errno;
	if (!lstat(to, &st))
		return -EEXIST;
	return rename(from, to) ? -errno : 0;
}
