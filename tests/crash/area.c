// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "area.h"

struct crash_head *head;

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("crash: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static int control_open(void)
{
	int fd = open("/dev/crash", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("/dev/crash: %s", strerror(errno));
	return fd;
}

void area_from_file(const char *file)
{
	struct crash_head shape;
	FILE *f = fopen(file, "r");

	if (!f || fread(&shape, sizeof(shape), 1, f) != 1 || shape.magic != CRASH_MAGIC)
		die("%s: %s", file, f ? "this is no log" : strerror(errno));
	fclose(f);
	head = calloc(1, shape.log_offset + shape.log_used);
	if (!head)
		die("no memory");
	*head = shape;
	head->log_bytes = shape.log_used;
	area_load(file);
}

void area_map(enum part part)
{
	int fd = control_open();
	size_t bytes;

	head = mmap(NULL, CRASH_HEAD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (head == MAP_FAILED || head->magic != CRASH_MAGIC)
		die("/dev/crash is not as expected");
	bytes = part == PART_HEAD ? CRASH_HEAD_BYTES : head->log_offset;
	bytes += part == PART_USED ? head->log_used : part == PART_ALL ? head->log_bytes : 0;
	munmap(head, CRASH_HEAD_BYTES);
	head = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (head == MAP_FAILED)
		die("/dev/crash: %s", strerror(errno));
	close(fd);
}

uint8_t *content(unsigned int disk)
{
	return (uint8_t *)head + CRASH_HEAD_BYTES + disk * head->disk_bytes;
}

const uint8_t *entry_data(const struct crash_entry *e)
{
	return (const uint8_t *)(e + 1);
}

void write_all(int fd, const void *data, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(fd, data, bytes < 1 << 20 ? bytes : 1 << 20);

		if (n <= 0)
			die("saving: %s", strerror(errno));
		data = (const uint8_t *)data + n;
		bytes -= (size_t)n;
	}
}

static void read_all(int fd, void *data, size_t bytes)
{
	while (bytes) {
		ssize_t n = read(fd, data, bytes < 1 << 20 ? bytes : 1 << 20);

		if (n <= 0)
			die("loading: %s", n ? strerror(errno) : "it ends too early");
		data = (uint8_t *)data + n;
		bytes -= (size_t)n;
	}
}

void area_save(const char *file)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		die("%s: %s", file, strerror(errno));
	write_all(fd, head, CRASH_HEAD_BYTES);
	write_all(fd, (uint8_t *)head + head->log_offset, head->log_used);
	if (fsync(fd) || close(fd))
		die("%s: %s", file, strerror(errno));
}

void area_load(const char *file)
{
	struct crash_head saved[CRASH_HEAD_BYTES / sizeof(struct crash_head) + 1];
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("%s: %s", file, strerror(errno));
	read_all(fd, saved, CRASH_HEAD_BYTES);
	if (saved->magic != CRASH_MAGIC || saved->disk_bytes != head->disk_bytes ||
	    saved->disks != head->disks || saved->log_used > head->log_bytes)
		die("%s is no log of disks like these", file);
	read_all(fd, (uint8_t *)head + head->log_offset, saved->log_used);
	head->log_used = saved->log_used;
	head->recording = 0;
	close(fd);
}

void area_mark(const char *text)
{
	int fd = control_open();

	if (write(fd, text, strlen(text)) < 0)
		die("mark: %s", strerror(errno));
	close(fd);
}
