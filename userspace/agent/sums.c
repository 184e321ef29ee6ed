// SPDX-License-Identifier: GPL-2.0-or-later
#include "sums.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir.h"
#include "id.h"
#include "super.h"

#define SUMS_MAGIC "REPLSUM1"

enum { SUMS_SEALED = 1 };

/* Little-endian; what follows is zero. */
struct header {
	uint8_t magic[8];	/*  0 */
	uint32_t version;	/*  8 is 1 */
	uint32_t flags;		/* 12 SUMS_SEALED */
	struct repl_id copy_id;	/* 16 */
	struct repl_id uuid;	/* 32 */
	uint64_t size;		/* 48 */
	uint8_t key[REPL_DIGEST_KEY_BYTES];	/* 56 */
	uint32_t crc;		/* 72 CRC32C of the 72 bytes before it */
	uint8_t zero[SUMS_HEADER_BYTES - 76];
};

struct page {
	uint64_t digest[SUMS_PAGE_BLOCKS];	/* 0: none */
	uint32_t crc;		/* 4088 CRC32C of the 4088 bytes before it */
	uint32_t used;		/* 4092 is 1; a page of zeroes was never written */
};

_Static_assert(sizeof(struct header) == SUMS_HEADER_BYTES, "as documented");
_Static_assert(sizeof(struct page) == SUMS_PAGE_BYTES, "as documented");

struct sums {
	int fd;
	struct header header;
	struct page page;
	uint64_t at;		/* which page it is */
	bool have, dirty;
};

char *sums_path(const char *dir, const struct repl_id *copy_id, char *path, size_t size)
{
	char id[ID_TEXT_MAX];

	snprintf(path, size, "%s/%s.sums", dir, id_format(copy_id, id));
	return path;
}

static uint32_t page_crc(const struct page *p)
{
	return htole32(super_crc32c(p, offsetof(struct page, crc)));
}

static uint32_t header_crc(const struct header *h)
{
	return htole32(super_crc32c(h, offsetof(struct header, crc)));
}

static int write_header(struct sums *s)
{
	s->header.crc = header_crc(&s->header);
	if (pwrite(s->fd, &s->header, sizeof(s->header), 0) == sizeof(s->header))
		return 0;
	return errno ? -errno : -EIO;
}

static void set_about(struct header *h, const struct sums_about *about)
{
	memcpy(h->magic, SUMS_MAGIC, sizeof(h->magic));
	h->version = htole32(1);
	h->copy_id = about->copy_id;
	h->uuid = about->uuid;
	h->size = htole64(about->size);
}

struct sums *sums_create(const char *path, const struct sums_about *about,
			 const uint8_t key[REPL_DIGEST_KEY_BYTES], struct err *e)
{
	struct sums *s = calloc(1, sizeof(*s));
	char *copy = strdup(path);
	int ret = 0;

	if (copy)
		mkdir(dirname(copy), 0755);
	free(copy);
	if (!s) {
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	set_about(&s->header, about);
	memcpy(s->header.key, key, sizeof(s->header.key));
	s->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->fd < 0 || fchmod(s->fd, 0600))
		ret = -errno;
	if (!ret)
		ret = write_header(s);
	if (!ret && fsync(s->fd))
		ret = -errno;
	if (!ret)
		/* The name is durable, too: a file of before must not come back. */
		ret = dir_sync_above(path);
	if (!ret)
		return s;
	err_set(e, -ret, "%s: %s", path, strerror(-ret));
	sums_close(s);
	return NULL;
}

struct sums *sums_load(const char *path, const struct sums_about *about,
		       uint8_t key[REPL_DIGEST_KEY_BYTES], struct err *e)
{
	struct sums *s = calloc(1, sizeof(*s));
	struct header want = { 0 };
	const char *why = NULL;
	ssize_t n;

	if (!s) {
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	s->fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (s->fd < 0) {
		err_set(e, errno, "%s: %s", path, strerror(errno));
		sums_close(s);
		return NULL;
	}
	n = pread(s->fd, &s->header, sizeof(s->header), 0);
	set_about(&want, about);
	if (n != sizeof(s->header) || s->header.crc != header_crc(&s->header))
		why = "its header is damaged";
	else if (memcmp(s->header.magic, want.magic, sizeof(want.magic)) ||
		 s->header.version != want.version)
		why = "it is of another version";
	else if (!(le32toh(s->header.flags) & SUMS_SEALED))
		why = "it was not completed";
	else if (!id_equal(&s->header.copy_id, &want.copy_id) ||
		 !id_equal(&s->header.uuid, &want.uuid) || s->header.size != want.size)
		why = "it is about another copy, or the volume has grown since";
	if (!why) {
		memcpy(key, s->header.key, REPL_DIGEST_KEY_BYTES);
		return s;
	}
	err_set(e, ESTALE, "%s: %s", path, why);
	sums_close(s);
	return NULL;
}

static int save_page(struct sums *s)
{
	off_t offset = (off_t)(SUMS_HEADER_BYTES + s->at * SUMS_PAGE_BYTES);

	if (!s->have || !s->dirty)
		return 0;
	s->dirty = false;
	s->page.used = htole32(1);
	s->page.crc = page_crc(&s->page);
	errno = 0;
	if (pwrite(s->fd, &s->page, sizeof(s->page), offset) == sizeof(s->page))
		return 0;
	return errno ? -errno : -EIO;
}

/* What is damaged, or was never written, holds nothing. */
static int take_page(struct sums *s, uint64_t at)
{
	off_t offset = (off_t)(SUMS_HEADER_BYTES + at * SUMS_PAGE_BYTES);
	int ret;

	if (s->have && s->at == at)
		return 0;
	ret = save_page(s);
	if (ret)
		return ret;
	s->have = true;
	s->at = at;
	if (pread(s->fd, &s->page, sizeof(s->page), offset) != sizeof(s->page) ||
	    s->page.crc != page_crc(&s->page) || le32toh(s->page.used) != 1)
		memset(&s->page, 0, sizeof(s->page));
	return 0;
}

void sums_close(struct sums *s)
{
	if (!s)
		return;
	if (s->fd >= 0) {
		save_page(s);
		close(s->fd);
	}
	free(s);
}

/* Never 0, which is none. */
static uint64_t short_digest(const struct repl_digest *digest)
{
	uint64_t bits;

	memcpy(&bits, digest->b, sizeof(bits));
	return bits ? bits : htole64(1);
}

static int set(struct sums *s, uint64_t block, uint64_t value)
{
	int ret = take_page(s, block / SUMS_PAGE_BLOCKS);

	if (ret || s->page.digest[block % SUMS_PAGE_BLOCKS] == value)
		return ret;
	s->page.digest[block % SUMS_PAGE_BLOCKS] = value;
	s->dirty = true;
	return 0;
}

int sums_put(struct sums *s, uint64_t block, uint64_t count, const struct repl_digest *digest)
{
	int ret = 0;

	for (uint64_t n = 0; n < count && !ret; n++)
		ret = set(s, block + n, short_digest(&digest[n]));
	return ret;
}

int sums_drop(struct sums *s, uint64_t block, uint64_t count)
{
	uint64_t blocks = (le64toh(s->header.size) + REPL_BLOCK_BYTES - 1) / REPL_BLOCK_BYTES;
	int ret = 0;

	for (uint64_t n = 0; n < count && block + n < blocks && !ret; n++)
		ret = set(s, block + n, 0);
	return ret;
}

int sums_get(struct sums *s, uint64_t block, const struct repl_digest *digest)
{
	uint64_t value;

	if (take_page(s, block / SUMS_PAGE_BLOCKS))
		return 0;
	value = s->page.digest[block % SUMS_PAGE_BLOCKS];
	if (!value)
		return 0;
	return value == short_digest(digest) ? 1 : -1;
}

int sums_fd(const struct sums *s)
{
	/* The page in memory is part of it. */
	return save_page((struct sums *)s) ? -1 : s->fd;
}

int sums_seal(struct sums *s)
{
	s->header.flags = htole32(SUMS_SEALED);
	return write_header(s);
}
