// SPDX-License-Identifier: GPL-2.0-or-later
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include "openers.h"
#include "super.h"

enum device_limits {
	DEVICE_ZERO_CHUNK	= 1 << 20,
	DEVICE_FILE_BLOCK	= 512,	/* logical block size of a regular file */
};

/* -- opening --------------------------------------------------------------- */

static void keep_first(void *arg, const struct opener *opener)
{
	struct err *words = arg;

	if (!words->text[0])
		openers_describe(opener, words->text, sizeof(words->text));
}

static int busy(const char *path, struct err *e)
{
	struct err who = {};
	struct stat st;

	if (stat(path, &st) == 0)
		openers_list(st.st_rdev, keep_first, &who);
	return err_set(e, EBUSY, "%s: is in use: %s; free it first", path,
		       who.text[0] ? who.text : "by the kernel");
}

static int read_geometry(struct device *d, struct err *e)
{
	int block_size;
	struct stat st;

	if (fstat(d->fd, &st) < 0)
		return err_set(e, errno, "%s: %s", d->path, strerror(errno));
	if (S_ISREG(st.st_mode)) {
		d->file = true;
		d->size = st.st_size;
		d->block_size = DEVICE_FILE_BLOCK;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return err_set(e, ENOTBLK, "%s: is no block device", d->path);
	if (ioctl(d->fd, BLKGETSIZE64, &d->size) < 0 || ioctl(d->fd, BLKSSZGET, &block_size) < 0)
		return err_set(e, errno, "%s: cannot read its size: %s", d->path, strerror(errno));
	d->number = st.st_rdev;
	d->block_size = block_size;
	return 0;
}

/* Direct access is refused by some file systems, never by a block device. */
static int open_direct(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECT | O_CLOEXEC | O_NOCTTY);

	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
	return fd;
}

int device_open_exclusive(struct device *d, const char *path, bool allow_file, struct err *e)
{
	int read_only = 0;
	struct stat st;
	int ret;

	memset(d, 0, sizeof(*d));
	d->path = path;
	d->fd = -1;
	if (stat(path, &st) < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	if (S_ISREG(st.st_mode) && !allow_file)
		return err_set(e, ENOTBLK, "%s: is a file, no block device; --force takes it as one",
			       path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, ENOTBLK, "%s: is no block device", path);
	/* On a block device, without O_CREAT, this claims it for this process. */
	d->fd = open_direct(path, O_RDWR | (S_ISBLK(st.st_mode) ? O_EXCL : 0));
	if (d->fd < 0 && errno == EBUSY)
		return busy(path, e);
	if (d->fd < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	ret = read_geometry(d, e);
	if (!ret && !d->file && ioctl(d->fd, BLKROGET, &read_only) == 0 && read_only)
		ret = err_set(e, EROFS, "%s: is read-only; make it writable with blockdev --setrw",
			      path);
	if (ret)
		device_close(d);
	return ret;
}

int device_open_readonly(struct device *d, const char *path, bool *in_use, struct err *e)
{
	int ret, claim;

	memset(d, 0, sizeof(*d));
	d->path = path;
	d->fd = open_direct(path, O_RDONLY);
	if (d->fd < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	ret = read_geometry(d, e);
	if (ret) {
		device_close(d);
		return ret;
	}
	claim = d->file ? -1 : open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	*in_use = !d->file && claim < 0 && errno == EBUSY;
	if (claim >= 0)
		close(claim);
	return 0;
}

void device_close(struct device *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

/* -- input and output ------------------------------------------------------ */

int device_read(const struct device *d, void *data, size_t bytes, uint64_t offset, struct err *e)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t got = pread(d->fd, (char *)data + done, bytes - done, offset + done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set(e, errno, "%s: reading at byte %llu: %s", d->path,
				       (unsigned long long)offset, strerror(errno));
		if (got == 0)
			return err_set(e, EIO, "%s: ends before byte %llu", d->path,
				       (unsigned long long)(offset + bytes));
		done += got;
	}
	return 0;
}

int device_write(const struct device *d, const void *data, size_t bytes, uint64_t offset,
		 struct err *e)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t put = pwrite(d->fd, (const char *)data + done, bytes - done,
				     offset + done);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return err_set(e, put ? errno : EIO, "%s: writing at byte %llu: %s",
				       d->path, (unsigned long long)offset,
				       strerror(put ? errno : EIO));
		done += put;
	}
	return 0;
}

static int write_zeros(const struct device *d, uint64_t bytes, uint64_t offset, struct err *e)
{
	int ret = 0;
	void *zeros;

	if (posix_memalign(&zeros, REPL_META_ALIGN, DEVICE_ZERO_CHUNK))
		return err_set(e, ENOMEM, "out of memory");
	memset(zeros, 0, DEVICE_ZERO_CHUNK);
	while (bytes && !ret) {
		size_t chunk = bytes < DEVICE_ZERO_CHUNK ? bytes : DEVICE_ZERO_CHUNK;

		ret = device_write(d, zeros, chunk, offset, e);
		bytes -= chunk;
		offset += chunk;
	}
	free(zeros);
	return ret;
}

int device_zero(const struct device *d, uint64_t bytes, uint64_t offset, struct err *e)
{
	uint64_t range[2] = { offset, bytes };

	/* The kernel knows the device's fastest way, and writes zeros where there is none. */
	if (!d->file && ioctl(d->fd, BLKZEROOUT, range) == 0)
		return 0;
	return write_zeros(d, bytes, offset, e);
}

int device_sync(const struct device *d, struct err *e)
{
	if (fsync(d->fd) < 0)
		return err_set(e, errno, "%s: making it durable: %s", d->path, strerror(errno));
	return 0;
}

uint64_t device_meta_end(const struct device *d)
{
	return d->size - d->size % REPL_META_ALIGN;
}

int device_read_supers(const struct device *d, uint64_t meta_end,
		       struct repl_super copy[REPL_SB_COPIES], struct err *e)
{
	void *buffer;
	int ret = 0;

	if (meta_end < REPL_SB_COPIES * REPL_SB_BYTES || meta_end > d->size)
		return err_set(e, EINVAL, "%s: has %llu bytes; no superblock ends at byte %llu",
			       d->path, (unsigned long long)d->size,
			       (unsigned long long)meta_end);
	if (posix_memalign(&buffer, REPL_META_ALIGN, REPL_SB_BYTES))
		return err_set(e, ENOMEM, "out of memory");
	for (unsigned int i = 0; i < REPL_SB_COPIES && !ret; i++) {
		ret = device_read(d, buffer, REPL_SB_BYTES, super_copy_offset(meta_end, i), e);
		memcpy(&copy[i], buffer, REPL_SB_BYTES);
	}
	free(buffer);
	return ret;
}
