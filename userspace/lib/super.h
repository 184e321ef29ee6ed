/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The superblock and the layout of the metadata area, as pure functions: no
 * input or output, so that mkfs.repl, fsck.repl and the tests share them.
 */
#ifndef REPL_SUPER_H
#define REPL_SUPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <repl/format.h>

#include "err.h"

struct super_layout {
	uint64_t data_size;	/* of the volume */
	uint64_t meta_offset;	/* from byte 0 of the device that holds the metadata */
	uint64_t meta_size;
	uint64_t map_bytes;
	uint64_t log_offset;	/* from meta_offset */
	uint64_t log_bytes;
	unsigned int slots;
	unsigned int region_shift;
};

/**
 * super_layout_internal - metadata at the end of the data device itself
 * @device_size: bytes; what lies beyond the last whole 4 KiB stays unused
 * @slots: 1..REPL_SLOTS_MAX
 * @region_shift: REPL_REGION_SHIFT_MIN..REPL_REGION_SHIFT_MAX
 * Return: 0, -EINVAL (bad parameter), -ENOSPC (device too small) or -EFBIG, with words.
 */
int super_layout_internal(struct super_layout *l, uint64_t device_size, unsigned int slots,
			  unsigned int region_shift, struct err *e);

/**
 * super_layout_external - metadata at the end of another device
 * @data_size: bytes of the data device
 * @meta_device_size: bytes of the metadata device
 * Return: as super_layout_internal().
 */
int super_layout_external(struct super_layout *l, uint64_t data_size, uint64_t meta_device_size,
			  unsigned int slots, unsigned int region_shift, struct err *e);

/**
 * super_copy_offset - where superblock copy @copy (0 or 1) lies
 * @meta_end: meta_offset + meta_size
 * Return: bytes from the device's start.
 */
uint64_t super_copy_offset(uint64_t meta_end, unsigned int copy);

/** super_set_layout - write @l into @sb */
void super_set_layout(struct repl_super *sb, const struct super_layout *l);

/** super_get_layout - the reverse; checks nothing */
void super_get_layout(const struct repl_super *sb, struct super_layout *l);

/** super_crc32c - CRC32C (Castagnoli) of @bytes bytes; of "123456789" it is 0xe3069283 */
uint32_t super_crc32c(const void *data, size_t bytes);

/** super_seal - compute and store the checksum: the last thing before a write */
void super_seal(struct repl_super *sb);

/** super_is_blank - whether the magic is missing: no repl superblock at all */
bool super_is_blank(const struct repl_super *sb);

typedef void super_report(void *arg, const char *reason);

/**
 * super_verify - check everything that a superblock says by itself
 * @report: called with each reason in words; may be NULL
 * Return: 0, -ENODATA (blank), -EBADMSG (damaged: checksum), -EPROTONOSUPPORT
 *	(version or feature from the future) or -EINVAL (contradicts itself).
 */
int super_verify(const struct repl_super *sb, super_report *report, void *arg);

/**
 * super_verify_place - check a superblock that super_verify() accepts against its device
 * @data_device_size: bytes of the device that holds the data
 * @meta_end: where the metadata area that it was read from ends
 * @external: whether it was read from a metadata device
 * Return: 0 or -EINVAL after @report.
 */
int super_verify_place(const struct repl_super *sb, uint64_t data_device_size,
		       uint64_t meta_end, bool external, super_report *report, void *arg);

/**
 * super_choose - which of the two copies counts
 * @copy: both, as read
 * Return: 0 or 1, the valid one with the higher sequence number; else -errno as
 *	super_verify() of the better of them.
 */
int super_choose(const struct repl_super copy[REPL_SB_COPIES], struct err *e);

#endif /* REPL_SUPER_H */
