# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds mkfs.repl and fsck.repl. Included after userspace/userspace.mk.

mkfs_sources := mkfs/mkfs.c mkfs/device.c mkfs/signature.c
fsck_sources := mkfs/fsck.c mkfs/device.c

.PHONY: mkfs
mkfs: $(BUILD)/bin/mkfs.repl $(BUILD)/bin/fsck.repl

$(BUILD)/bin/mkfs.repl: $(call user_object,$(mkfs_sources)) $(USER_LIB)
	$(user_link)

$(BUILD)/bin/fsck.repl: $(call user_object,$(fsck_sources)) $(USER_LIB)
	$(user_link)

-include $(patsubst %.o,%.d,$(call user_object,$(mkfs_sources) $(fsck_sources)))
