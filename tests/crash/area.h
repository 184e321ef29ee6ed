/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory of crash_disk, or a saved log of it, for programs.
 */
#ifndef CRASH_AREA_H
#define CRASH_AREA_H

#include <stddef.h>
#include <stdint.h>

#include "disk/crash_disk.h"

extern struct crash_head *head;

void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Mapping is what takes the time: no more than is needed. */
enum part { PART_HEAD, PART_DISKS, PART_USED, PART_ALL };

void area_map(enum part part);
/* The same without /dev/crash, from a file. */
void area_from_file(const char *file);
void area_save(const char *file);
void area_load(const char *file);
void area_mark(const char *text);

uint8_t *content(unsigned int disk);
const uint8_t *entry_data(const struct crash_entry *e);
void write_all(int fd, const void *data, size_t bytes);

#endif /* CRASH_AREA_H */
