// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gendisk.  It keeps a reference to its volume until the last opener is gone
 * (->free_disk), which may be long after the volume was taken down by force.
 */
#include <linux/blkdev.h>
#include <linux/module.h>
#include <linux/part_stat.h>
#include "disk.h"
#include "gate.h"
#include "read.h"
#include "request.h"

static int disk_major;

/* Under disk->open_mutex, under which open_ok changes. */
static int disk_open(COMPAT_OPEN_ARGS)
{
	struct volume *v = COMPAT_OPEN_DISK->private_data;

	return READ_ONCE(v->open_ok) ? 0 : -EROFS;
}

/* For iostat.  Nobody here sees such a read end: it counts, and takes no time. */
static void disk_account(struct bio *bio)
{
	part_stat_lock();
	part_stat_inc(bio->bi_bdev, ios[STAT_READ]);
	part_stat_add(bio->bi_bdev, sectors[STAT_READ], bio_sectors(bio));
	part_stat_unlock();
}

static void disk_submit_bio(struct bio *bio)
{
	struct volume *v = bio->bi_bdev->bd_disk->private_data;

	bio = bio_split_to_limits(bio);
	if (!bio)
		return;
	if (op_is_write(bio_op(bio))) {
		request_submit(v, bio);
		return;
	}
	if (unlikely(!READ_ONCE(v->primary) || READ_ONCE(v->failing))) {
		bio_io_error(bio);
		return;
	}
	/* A disk that was replaced may have been able to. */
	if (unlikely(bio->bi_opf & REQ_NOWAIT) && !bdev_nowait(v->data.bdev)) {
		bio_wouldblock_error(bio);
		return;
	}
	volume_count(v, REPL_C_READS, 1);
	volume_count(v, REPL_C_READ_BYTES, bio->bi_iter.bi_size);
	if (read_has_peer(v)) {
		read_submit(v, bio);
		return;
	}
	disk_account(bio);
	bio_set_dev(bio, v->data.bdev);
	submit_bio_noacct(bio);
}

static void disk_free(struct gendisk *disk)
{
	volume_put(disk->private_data);
}

static const struct block_device_operations disk_fops = {
	.owner		= THIS_MODULE,
	.open		= disk_open,
	.submit_bio	= disk_submit_bio,
	.free_disk	= disk_free,
};

static ssize_t role_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct volume *v = dev_to_disk(dev)->private_data;

	return sysfs_emit(buf, "%s\n", READ_ONCE(v->primary) ? "primary" : "secondary");
}
static DEVICE_ATTR_RO(role);

static ssize_t name_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct volume *v = dev_to_disk(dev)->private_data;

	return sysfs_emit(buf, "%s\n", v->name);
}
static DEVICE_ATTR_RO(name);

static struct attribute *disk_attrs[] = {
	&dev_attr_role.attr,
	&dev_attr_name.attr,
	NULL,
};

static const struct attribute_group disk_group = {
	.name	= "repl",
	.attrs	= disk_attrs,
};

static const struct attribute_group *disk_groups[] = { &disk_group, NULL };

static struct gendisk *disk_alloc(struct volume *v)
{
	struct compat_limits limits = {
		.lbs = 1u << v->lbs_shift,
		.max_io_sectors = REPL_MAX_IO >> SECTOR_SHIFT,
		.max_zero_sectors = REPL_MAX_ZEROES >> SECTOR_SHIFT,
		/* Without it below, a discard would write zeroes over the whole range. */
		.discard = bdev_write_zeroes_sectors(v->data.bdev) > 0,
	};

	return compat_alloc_disk(&limits, v->data.bdev);
}

/**
 * disk_create() - make /dev/replN, secondary: nobody can open it
 * @v: attached, but not yet known to others
 * @why: filled in on error
 *
 * Context: control; may sleep.
 */
int disk_create(struct volume *v, struct why *why)
{
	struct gendisk *disk = disk_alloc(v);
	int err;

	if (IS_ERR(disk))
		return why_set(why, PTR_ERR(disk), "%s: no memory for a disk", v->name);
	disk->major = disk_major;
	disk->first_minor = v->minor;
	disk->minors = 1;
	disk->flags |= GENHD_FL_NO_PART;
	disk->fops = &disk_fops;
	disk->private_data = v;
	volume_get(v);
	snprintf(disk->disk_name, sizeof(disk->disk_name), "repl%u", v->minor);
	set_capacity(disk, v->size >> SECTOR_SHIFT);
	set_disk_ro(disk, true);
	v->disk = disk;
	err = device_add_disk(NULL, disk, disk_groups);
	if (err) {
		v->disk = NULL;
		put_disk(disk);
		/* ->free_disk is called only for a disk that was added. */
		volume_put(v);
		return why_set(why, err, "%s: /dev/repl%u cannot be made, error %d", v->name,
			       v->minor, err);
	}
	return 0;
}

/**
 * disk_destroy() - take /dev/replN away
 * @v: not primary, no write in flight
 *
 * Context: control; may sleep.
 */
void disk_destroy(struct volume *v)
{
	struct gendisk *disk = v->disk;

	if (v->zombie)
		blk_mark_disk_dead(disk);
	del_gendisk(disk);
	mutex_lock(&v->super_lock);
	v->disk = NULL;
	mutex_unlock(&v->super_lock);
	put_disk(disk);
}

/**
 * disk_is_ours() - is this the disk of a volume?
 * @devt: any block device
 */
bool disk_is_ours(dev_t devt)
{
	return MAJOR(devt) == disk_major;
}

int disk_init(void)
{
	disk_major = register_blkdev(0, "repl");
	return disk_major < 0 ? disk_major : 0;
}

void disk_exit(void)
{
	unregister_blkdev(disk_major, "repl");
}
