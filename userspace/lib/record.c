// SPDX-License-Identifier: GPL-2.0-or-later
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dir.h"

enum { DIGEST = 32, DIGEST_LINE = sizeof("sha256 = \n") - 1 + 2 * DIGEST };

static int digest_line(const char *text, size_t length, char line[DIGEST_LINE + 1])
{
	unsigned char digest[DIGEST];
	char *at = line;

	if (!EVP_Digest(text, length, digest, NULL, EVP_sha256(), NULL))
		return -EIO;
	at += sprintf(at, "sha256 = ");
	for (int i = 0; i < DIGEST; i++)
		at += sprintf(at, "%02x", digest[i]);
	strcpy(at, "\n");
	return 0;
}

static int write_all(int fd, const char *bytes, size_t length)
{
	while (length) {
		ssize_t n = write(fd, bytes, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		bytes += n;
		length -= (size_t)n;
	}
	return 0;
}

static int write_file(const char *path, const char *bytes, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), ret;

	if (fd < 0)
		return -errno;
	ret = write_all(fd, bytes, length);
	if (!ret && fsync(fd))
		ret = -errno;
	if (close(fd) && !ret)
		ret = -errno;
	return ret;
}

int record_write(const char *dir, const char *name, const char *text, struct err *e)
{
	char path[PATH_MAX], fresh[PATH_MAX], whole[RECORD_MAX + DIGEST_LINE + 1];
	size_t length = strlen(text);
	int ret;

	if (length >= RECORD_MAX ||
	    snprintf(fresh, sizeof(fresh), "%s/%s.new", dir, name) >= (int)sizeof(fresh))
		return err_set(e, ENAMETOOLONG, "%s/%s: too long", dir, name);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	memcpy(whole, text, length);
	ret = digest_line(text, length, whole + length);
	if (!ret)
		ret = dir_make(dir);
	if (!ret)
		ret = write_file(fresh, whole, length + DIGEST_LINE);
	if (!ret && rename(fresh, path))
		ret = -errno;
	if (!ret)
		ret = dir_sync(dir);
	return ret ? err_set(e, -ret, "%s cannot be written durably: %s", path, strerror(-ret)) : 0;
}

/* Return: bytes read, which may be more than there is room for, or -errno. */
static ssize_t read_file(const char *path, char *bytes, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (have < size && (n = read(fd, bytes + have, size - have)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		have += (size_t)n;
	}
	if (n < 0)
		n = -errno;
	close(fd);
	return n < 0 ? n : (ssize_t)have;
}

int record_read(const char *dir, const char *name, char text[RECORD_MAX], struct err *e)
{
	char path[PATH_MAX], whole[RECORD_MAX + DIGEST_LINE + 1], line[DIGEST_LINE + 1];
	size_t length;
	ssize_t n;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return err_set(e, ENAMETOOLONG, "%s/%s: too long", dir, name);
	n = read_file(path, whole, sizeof(whole));
	if (n < 0)
		return n == -ENOENT ? -ENOENT : err_set(e, (int)-n, "%s cannot be read: %s", path,
							strerror((int)-n));
	length = n > DIGEST_LINE ? (size_t)n - DIGEST_LINE : 0;
	if (!length || length >= RECORD_MAX || memchr(whole, '\0', (size_t)n) ||
	    digest_line(whole, length, line) || memcmp(line, whole + length, DIGEST_LINE))
		return err_set(e, EBADMSG, "%s is damaged: its checksum does not fit its content", path);
	memcpy(text, whole, length);
	text[length] = '\0';
	return 0;
}

int record_remove(const char *dir, const char *name, struct err *e)
{
	char path[PATH_MAX];
	int ret = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (!unlink(path))
		ret = dir_sync(dir);
	else if (errno != ENOENT)
		ret = -errno;
	return ret ? err_set(e, -ret, "%s cannot be removed: %s", path, strerror(-ret)) : 0;
}

int record_value(const char *text, const char *key, char *value, size_t size)
{
	size_t length = strlen(key);

	for (const char *line = text; line && *line; line = strchr(line, '\n') + 1) {
		const char *end = strchr(line, '\n');

		if (!end)
			break;
		if (strncmp(line, key, length) || strncmp(line + length, " = ", 3))
			continue;
		line += length + 3;
		if ((size_t)(end - line) >= size)
			break;
		memcpy(value, line, (size_t)(end - line));
		value[end - line] = '\0';
		return 0;
	}
	return -EBADMSG;
}
