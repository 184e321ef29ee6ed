# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds mkfs.repl and fsck.repl. Included after userspace/userspace.mk.

mkfs_sources := mkfs/mkfs.c mkfs/fsck.c mkfs/device.c mkfs/signature.c

.PHONY: mkfs
mkfs: $(BUILD)/bin/mkfs.repl $(BUILD)/bin/fsck.repl

$(BUILD)/bin/mkfs.repl: $(call user_object,mkfs/mkfs.c mkfs/device.c mkfs/signature.c) $(USER_LIB)
	$(user_link)

$(BUILD)/bin/fsck.repl: $(call user_object,mkfs/fsck.c mkfs/device.c) $(USER_LIB)
	$(user_link)

-include $(patsubst %.o,%.d,$(call user_object,$(mkfs_sources)))
