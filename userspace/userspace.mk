# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds the library, repl-agent and repl-ctl. Included by the Makefile; defines what mkfs.mk and unit.mk use too.

BUILD ?= build
USER_CC ?= $(if $(filter default,$(origin CC)),gcc,$(CC))
USER_PACKAGES := libnl-3.0 libnl-genl-3.0 libssl libcrypto liburing blkid smartcols jansson inih libsystemd
USER_CFLAGS ?= -O2 -g
USER_CFLAGS_ALL := $(USER_CFLAGS) -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -pthread \
	-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-fstack-protector-strong -fPIE -Iinclude -Iinclude/uapi -Iuserspace/lib -Imkfs \
	$(shell pkg-config --cflags $(USER_PACKAGES))
USER_HARDEN := $(if $(filter -O%,$(filter-out -O0,$(USER_CFLAGS))),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
USER_LIBS := $(shell pkg-config --libs $(USER_PACKAGES))
USER_LDFLAGS := -pie -pthread -Wl,-z,relro,-z,now -Wl,--as-needed $(LDFLAGS)

lib_sources := $(wildcard userspace/lib/*.c)
agent_sources := $(wildcard userspace/agent/*.c)
# Beside its own: what mkfs.repl, too, knows of devices.
ctl_sources := $(wildcard userspace/ctl/*.c) mkfs/device.c mkfs/signature.c
# One short line for each step; with V=1 the whole command, with make -s nothing.
user_say = $(if $(V),,@$(if $(findstring s,$(firstword -$(MAKEFLAGS))),,printf '  %-3s %s\n' $(1) $@;))
user_object = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

USER_LIB := $(BUILD)/obj/userspace/librepl.a
USER_BINARIES := $(if $(agent_sources),$(BUILD)/bin/repl-agent) $(if $(ctl_sources),$(BUILD)/bin/repl-ctl)

.PHONY: userspace
userspace: $(USER_LIB) $(USER_BINARIES)

# A changed compiler or flag rebuilds everything that was built with the old one.
user_flags := $(USER_CC) $(USER_CFLAGS_ALL) $(USER_HARDEN) $(USER_LDFLAGS)
$(BUILD)/obj/userspace.flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(user_flags)' | cmp -s - $@ || printf '%s\n' '$(user_flags)' >$@
.PHONY: FORCE
FORCE:

$(BUILD)/obj/%.o: %.c $(BUILD)/obj/userspace.flags
	@mkdir -p $(@D)
	$(call user_say,CC) $(USER_CC) $(USER_CFLAGS_ALL) $(USER_HARDEN) -MMD -MP -c -o $@ $<

$(USER_LIB): $(call user_object,$(lib_sources))
	@rm -f $@
	$(call user_say,AR) $(AR) rcs $@ $^

define user_link
@mkdir -p $(@D)
$(call user_say,LD) $(USER_CC) $(USER_LDFLAGS) -o $@ $(filter %.o,$^) $(USER_LIB) $(USER_LIBS)
endef

$(BUILD)/bin/repl-agent: $(call user_object,$(agent_sources)) $(USER_LIB)
	$(user_link)

$(BUILD)/bin/repl-ctl: $(call user_object,$(ctl_sources)) $(USER_LIB)
	$(user_link)

-include $(patsubst %.o,%.d,$(call user_object,$(lib_sources) $(agent_sources) $(ctl_sources)))
