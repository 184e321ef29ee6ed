// SPDX-License-Identifier: GPL-2.0-or-later
#include "signature.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <blkid.h>

#include "super.h"

/* Through a descriptor of its own: the library reads through the page cache. */
static blkid_probe open_probe(const struct device *d, int *fd, struct err *e)
{
	char path[64];
	blkid_probe probe;

	/* By descriptor, not by name, so that it is certainly the same device. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", d->fd);
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0) {
		err_set(e, errno, "%s: %s", d->path, strerror(errno));
		return NULL;
	}
	probe = blkid_new_probe();
	if (probe && blkid_probe_set_device(probe, *fd, 0, 0) == 0)
		return probe;
	blkid_free_probe(probe);
	close(*fd);
	err_set(e, EIO, "%s: libblkid cannot look at it", d->path);
	return NULL;
}

static void describe(blkid_probe probe, char *text, size_t size)
{
	const char *type, *label;
	size_t used = strlen(text);

	if (used)
		used += snprintf(text + used, size - used, ", ");
	if (used >= size)
		return;
	if (blkid_probe_lookup_value(probe, "TYPE", &type, NULL) == 0) {
		if (blkid_probe_lookup_value(probe, "LABEL", &label, NULL) == 0)
			snprintf(text + used, size - used, "%s \"%s\"", type, label);
		else
			snprintf(text + used, size - used, "%s", type);
	} else if (blkid_probe_lookup_value(probe, "PTTYPE", &type, NULL) == 0) {
		snprintf(text + used, size - used, "a partition table (%s)", type);
	} else {
		snprintf(text + used, size - used, "something that libblkid knows");
	}
}

int signature_find(const struct device *d, char *text, size_t size, struct err *e)
{
	blkid_probe probe;
	int count = 0;
	int fd, ret;

	*text = '\0';
	probe = open_probe(d, &fd, e);
	if (!probe)
		return -EIO;
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL |
					  BLKID_SUBLKS_BADCSUM);
	blkid_probe_enable_partitions(probe, 1);
	while ((ret = blkid_do_probe(probe)) == 0) {
		describe(probe, text, size);
		count++;
	}
	blkid_free_probe(probe);
	close(fd);
	if (ret < 0)
		return err_set(e, EIO, "%s: libblkid failed to read it", d->path);
	return count;
}

int signature_find_copy(const struct device *d, uint64_t end, char *text, size_t size,
			struct err *e)
{
	struct repl_super *super;
	int ret = 0;

	*text = '\0';
	if (end < REPL_SB_COPIES * REPL_SB_BYTES)
		return 0;
	super = calloc(REPL_SB_COPIES, sizeof(*super));
	if (!super)
		return err_set(e, ENOMEM, "out of memory");
	ret = device_read_supers(d, end, super, e);
	for (unsigned int i = 0; i < REPL_SB_COPIES && !ret; i++) {
		if (super_is_blank(&super[i]))
			continue;
		snprintf(text, size, "the metadata of repl volume \"%.*s\"",
			 (int)sizeof(super[i].name), super[i].name);
		ret = 1;
	}
	free(super);
	return ret;
}

#ifdef BLKID_SUBLKS_FSINFO

int signature_reach(const struct device *d, uint64_t *end, struct err *e)
{
	const char *last, *block;
	blkid_probe probe;
	int fd, ret = -ENOTSUP;

	probe = open_probe(d, &fd, e);
	if (!probe)
		return -EIO;
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_FSINFO);
	if (blkid_do_safeprobe(probe) == 0 &&
	    blkid_probe_lookup_value(probe, "FSLASTBLOCK", &last, NULL) == 0 &&
	    blkid_probe_lookup_value(probe, "FSBLOCKSIZE", &block, NULL) == 0) {
		*end = strtoull(last, NULL, 10) * strtoull(block, NULL, 10);
		ret = 0;
	}
	blkid_free_probe(probe);
	close(fd);
	return ret;
}

#else /* libblkid before 2.39 does not tell sizes: the two common file systems do */

static uint32_t le32_at(const uint8_t *at)
{
	return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t be32_at(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

/* ext2, ext3 and ext4: the superblock starts at byte 1024. */
static int ext_reach(const uint8_t *head, uint64_t *end)
{
	const uint8_t *sb = head + 1024;
	unsigned int shift = le32_at(sb + 24);
	uint64_t blocks = le32_at(sb + 4);

	if ((sb[56] | sb[57] << 8) != 0xef53 || shift > 6)
		return -ENOTSUP;
	if (le32_at(sb + 96) & 0x80)		/* 64-bit block numbers */
		blocks |= (uint64_t)le32_at(sb + 336) << 32;
	return __builtin_mul_overflow(blocks, 1024ULL << shift, end) ? -ENOTSUP : 0;
}

static int xfs_reach(const uint8_t *head, uint64_t *end)
{
	uint64_t blocks = (uint64_t)be32_at(head + 8) << 32 | be32_at(head + 12);

	if (memcmp(head, "XFSB", 4) != 0)
		return -ENOTSUP;
	return __builtin_mul_overflow(blocks, (uint64_t)be32_at(head + 4), end) ? -ENOTSUP : 0;
}

int signature_reach(const struct device *d, uint64_t *end, struct err *e)
{
	void *head;
	int ret;

	if (posix_memalign(&head, REPL_META_ALIGN, REPL_META_ALIGN))
		return err_set(e, ENOMEM, "out of memory");
	ret = device_read(d, head, REPL_META_ALIGN, 0, e);
	if (!ret) {
		ret = xfs_reach(head, end);
		if (ret)
			ret = ext_reach(head, end);
	}
	free(head);
	return ret;
}

#endif /* BLKID_SUBLKS_FSINFO */
