// SPDX-License-Identifier: GPL-2.0-only
/* The module: a table of contents. */
#include <linux/module.h>
#include "apply.h"
#include "disk.h"
#include "netlink.h"
#include "volume.h"

static int __init repl_init(void)
{
	int err;

	err = volume_init();
	if (err)
		return err;
	err = apply_init();
	if (err)
		goto exit_volume;
	err = disk_init();
	if (err)
		goto exit_apply;
	err = netlink_init();
	if (err)
		goto exit_disk;
	return 0;

exit_disk:
	disk_exit();
exit_apply:
	apply_exit();
exit_volume:
	volume_exit();
	return err;
}

static void __exit repl_exit(void)
{
	netlink_exit();
	volume_exit();
	disk_exit();
	apply_exit();
}

module_init(repl_init);
module_exit(repl_exit);

MODULE_DESCRIPTION("Mirrors a block volume to its peers");
MODULE_LICENSE("GPL");
