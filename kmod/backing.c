// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bio.h>
#include <linux/file.h>
#include <linux/fs.h>
#include "backing.h"
#include "map.h"

/**
 * backing_devt() - which block device a descriptor stands for
 * @fd: of the calling process
 * @devt: to fill in
 * @what: "data" or "metadata", for the words
 * @why: filled in on error
 *
 * A descriptor open for writing is the proof that the caller may write to that
 * device: a path with CAP_NET_ADMIN alone would not be.
 *
 * Context: the process that asked; may sleep.
 * Return: 0, -EBADF, -EACCES or -ENOTBLK.
 */
int backing_devt(int fd, dev_t *devt, const char *what, struct why *why)
{
	struct file *file = fget(fd);
	int err = 0;

	if (!file)
		return why_set(why, -EBADF, "the %s descriptor is not open", what);
	if (!S_ISBLK(file_inode(file)->i_mode))
		err = why_set(why, -ENOTBLK, "the %s descriptor is no block device", what);
	else if (!(file->f_mode & FMODE_WRITE) || !(file->f_mode & FMODE_READ))
		err = why_set(why, -EACCES, "the %s device must be opened for reading and writing",
			      what);
	else
		*devt = file_inode(file)->i_rdev;
	fput(file);
	return err;
}

/**
 * backing_open() - take a device exclusively
 * @backing: to fill in
 * @devt: which
 * @holder: identifies the one who holds it
 * @why: filled in on error
 *
 * The page cache of the device is written out and dropped: from here on it
 * would go stale without notice.
 *
 * Context: may sleep.
 */
int backing_open(struct backing *backing, dev_t devt, void *holder, struct why *why)
{
	int err = compat_bdev_open(&backing->handle, devt, holder);

	if (err == -EBUSY)
		return why_set(why, err, "device %u:%u is in use: something has mounted or claimed it",
			       MAJOR(devt), MINOR(devt));
	if (err)
		return why_set(why, err, "device %u:%u cannot be opened", MAJOR(devt), MINOR(devt));
	backing->bdev = compat_bdev(&backing->handle);
	backing->bytes = bdev_nr_bytes(backing->bdev);
	if (bdev_read_only(backing->bdev)) {
		backing_close(backing);
		return why_set(why, -EROFS, "device %u:%u is read-only", MAJOR(devt), MINOR(devt));
	}
	sync_blockdev(backing->bdev);
	invalidate_bdev(backing->bdev);
	return 0;
}

/**
 * backing_close() - give a device back
 * @backing: open or not
 *
 * Context: may sleep; the device is free for others on return.
 */
void backing_close(struct backing *backing)
{
	if (!backing->bdev)
		return;
	backing->bdev = NULL;
	compat_bdev_close(&backing->handle);
}

/**
 * backing_io() - read or write one MAP_PAGE_BYTES piece and wait for it
 * @backing: the device
 * @opf: REQ_OP_READ, or REQ_OP_WRITE with its flags
 * @offset: bytes
 * @page: the bytes
 *
 * Allocates nothing, so that it may stand in the way of a write.
 *
 * Context: may sleep, but not inside submit_bio.
 * Return: 0 or a negative errno.
 */
int backing_io(struct backing *backing, blk_opf_t opf, u64 offset, struct page *page)
{
	struct bio_vec vec;
	struct bio bio;
	int err;

	bio_init(&bio, backing->bdev, &vec, 1, opf);
	bio.bi_iter.bi_sector = offset >> SECTOR_SHIFT;
	__bio_add_page(&bio, page, MAP_PAGE_BYTES, 0);
	err = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return err;
}

/**
 * backing_zero() - make a range read as zeroes, with what the device offers
 * @backing: the device
 * @offset: bytes
 * @bytes: how many
 * @unmap: the space may be given back
 *
 * Context: may sleep, but not inside submit_bio.
 * Return: 0 or a negative errno.
 */
int backing_zero(struct backing *backing, u64 offset, u64 bytes, bool unmap)
{
	return blkdev_issue_zeroout(backing->bdev, offset >> SECTOR_SHIFT, bytes >> SECTOR_SHIFT,
				    GFP_NOIO, unmap ? 0 : BLKDEV_ZERO_NOUNMAP);
}
