// SPDX-License-Identifier: GPL-2.0-or-later
#include "place.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir.h"
#include "id.h"
#include "super.h"

enum { PLACE_PATH_MAX = sizeof(PLACE_DIR) + ID_TEXT_MAX + 8 };

static int write_file(const char *path, uint64_t end)
{
	char text[64];
	int length = snprintf(text, sizeof(text), "metadata-end = %" PRIu64 "\n", end);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, (size_t)length) != length || fsync(fd))
		ret = errno ? -errno : -EIO;
	close(fd);
	return ret;
}

int place_note(const struct repl_id *copy_id, uint64_t end, struct err *e)
{
	char path[PLACE_PATH_MAX], fresh[PLACE_PATH_MAX], id[ID_TEXT_MAX];
	/* A file in a directory that is lost is lost, too. */
	int ret = mkdir(PLACE_DIR, 0755) ? 0 : dir_sync_above(PLACE_DIR);

	id_format(copy_id, id);
	snprintf(path, sizeof(path), "%s/%s", PLACE_DIR, id);
	snprintf(fresh, sizeof(fresh), "%s/%s.new", PLACE_DIR, id);
	if (!ret)
		ret = write_file(fresh, end);
	if (!ret && rename(fresh, path))
		ret = -errno;
	if (!ret)
		ret = dir_sync(PLACE_DIR);
	return ret ? err_set(e, -ret, "%s: where the metadata lie cannot be noted: %s; when the device below was grown, fsck.repl --meta-end %" PRIu64 " finds them",
			     path, strerror(-ret), end) : 0;
}

/* Return: the sequence number of the superblock that counts at @end; 0: there is none. */
static uint64_t look(int fd, uint64_t size, uint64_t end, struct repl_id *copy_id)
{
	struct repl_super *super;
	uint64_t sequence = 0;
	int chosen;

	if (end % REPL_META_ALIGN || end > size || end < REPL_SB_COPIES * REPL_SB_BYTES ||
	    posix_memalign((void **)&super, REPL_META_ALIGN, REPL_SB_COPIES * REPL_SB_BYTES))
		return 0;
	memset(super, 0, REPL_SB_COPIES * REPL_SB_BYTES);
	for (unsigned int i = 0; i < REPL_SB_COPIES; i++)
		if (pread(fd, &super[i], REPL_SB_BYTES, (off_t)super_copy_offset(end, i)) !=
		    REPL_SB_BYTES)
			memset(&super[i], 0, REPL_SB_BYTES);
	chosen = super_choose(super, NULL);
	if (chosen >= 0) {
		sequence = le64toh(super[chosen].sequence);
		*copy_id = super[chosen].copy_id;
	}
	free(super);
	return sequence;
}

static bool read_file(const char *name, struct repl_id *copy_id, uint64_t *end)
{
	char path[PLACE_PATH_MAX];
	bool found = false;
	FILE *f;

	if (id_parse(name, copy_id))
		return false;
	snprintf(path, sizeof(path), "%s/%.*s", PLACE_DIR, ID_TEXT_MAX, name);
	f = fopen(path, "re");
	if (!f)
		return false;
	found = fscanf(f, "metadata-end = %" SCNu64, end) == 1;
	fclose(f);
	return found;
}

uint64_t place_find(int fd, uint64_t size)
{
	uint64_t last = size - size % REPL_META_ALIGN, best = last;
	struct repl_id at_end = { 0 }, noted, found;
	uint64_t newest = look(fd, size, last, &at_end), end;
	DIR *dir = opendir(PLACE_DIR);
	bool known = false;
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		uint64_t sequence;

		if (!read_file(d->d_name, &noted, &end))
			continue;
		sequence = look(fd, size, end, &found);
		if (!sequence || !id_equal(&found, &noted))
			continue;
		/* What lies at the end may be of a former life; a noted copy is not. */
		if (sequence > newest || (!known && !id_equal(&at_end, &noted))) {
			newest = sequence;
			best = end;
		}
		known = true;
	}
	if (dir)
		closedir(dir);
	return best;
}
