// SPDX-License-Identifier: GPL-2.0-or-later
#include "streamfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

struct stream_file {
	int fd;
	const char *name;
	struct stream_out *out;
	uint64_t zeros, zeros_length;	/* a run that was found, not written yet */
	uint64_t bytes;
};

static int write_all(struct stream_file *f, const void *first, size_t length, const void *second,
		     size_t more, struct err *e)
{
	struct iovec iov[2] = { { (void *)first, length }, { (void *)second, more } };
	struct iovec *at = iov;

	while (at < iov + 2) {
		ssize_t n = writev(f->fd, at, (int)(iov + 2 - at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, errno, "%s: %s", f->name, strerror(errno));
		f->bytes += (size_t)n;
		for (; at < iov + 2 && (size_t)n >= at->iov_len; at++)
			n -= (ssize_t)at->iov_len;
		if (at < iov + 2) {
			at->iov_base = (char *)at->iov_base + n;
			at->iov_len -= (size_t)n;
		}
	}
	return 0;
}

struct stream_file *stream_file_new(int fd, const char *name, const struct stream_info *info,
				    struct err *e)
{
	struct stream_file *f = calloc(1, sizeof(*f));
	struct repl_stream_header header;

	if (f) {
		f->fd = fd;
		f->name = name;
		f->out = stream_out_new(info, &header);
	}
	if (!f || !f->out)
		err_set(e, ENOMEM, "out of memory");
	else if (!write_all(f, &header, sizeof(header), NULL, 0, e))
		return f;
	stream_file_free(f);
	return NULL;
}

void stream_file_free(struct stream_file *f)
{
	if (f)
		stream_out_free(f->out);
	free(f);
}

static int refused(int error, struct err *e)
{
	return error == -ENOMEM ? err_set(e, ENOMEM, "out of memory")
				: err_set(e, EINVAL, "the cut's blocks are out of order");
}

static int put_zeros(struct stream_file *f, struct err *e)
{
	uint64_t length = f->zeros_length;
	struct repl_stream_record r;
	int ret;

	f->zeros_length = 0;
	if (!length)
		return 0;
	ret = stream_out_zeros(f->out, f->zeros, length, &r);
	return ret ? refused(ret, e) : write_all(f, &r, sizeof(r), NULL, 0, e);
}

static int put_run(struct stream_file *f, uint64_t offset, const uint8_t *data, size_t length,
		   bool zero, struct err *e)
{
	struct repl_stream_record r;
	int ret;

	if (zero && f->zeros_length && f->zeros + f->zeros_length == offset) {
		f->zeros_length += length;
		return 0;
	}
	ret = put_zeros(f, e);
	if (ret)
		return ret;
	if (zero) {
		f->zeros = offset;
		f->zeros_length = length;
		return 0;
	}
	ret = stream_out_data(f->out, offset, data, length, &r);
	return ret ? refused(ret, e) : write_all(f, &r, sizeof(r), data, length, e);
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

static size_t block_at(size_t length, size_t at)
{
	return length - at < REPL_BLOCK_BYTES ? length - at : REPL_BLOCK_BYTES;
}

/* In runs that are zero and runs that are not. */
int stream_file_put(struct stream_file *f, uint64_t offset, const uint8_t *data, size_t length,
		    struct err *e)
{
	size_t at = 0, from;
	int ret = 0;

	while (at < length && !ret) {
		bool zero = is_zero(data + at, block_at(length, at));

		from = at;
		do
			at += block_at(length, at);
		while (at < length && is_zero(data + at, block_at(length, at)) == zero);
		ret = put_run(f, offset + from, data + from, at - from, zero, e);
	}
	return ret;
}

int stream_file_end(struct stream_file *f, struct err *e)
{
	uint8_t end[STREAM_END_BYTES];
	int ret = put_zeros(f, e);

	if (ret)
		return ret;
	stream_out_end(f->out, end);
	return write_all(f, end, sizeof(end), NULL, 0, e);
}

const struct stream_totals *stream_file_totals(const struct stream_file *f)
{
	return stream_out_totals(f->out);
}

uint64_t stream_file_bytes(const struct stream_file *f)
{
	return f->bytes;
}
