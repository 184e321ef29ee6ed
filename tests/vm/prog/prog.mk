# SPDX-License-Identifier: GPL-2.0-or-later
#
# Programs that only tests inside a VM use: each tests/vm/prog/NAME.c becomes build/vm/prog/NAME, linked with the library
# and with the sources that a comment near its top names, as in "needs: userspace/agent/tls.c".

prog_sources := $(wildcard tests/vm/prog/*.c)
prog_program = $(patsubst tests/vm/prog/%.c,$(BUILD)/vm/prog/%,$(1))
prog_needs = $(shell sed -n '1,30s/.*needs: *\([^*]*\).*/\1/p' $(1))

# An emulated processor spends most of a short program's time in the dynamic linker. So those of which tests start
# hundreds say "link: static"; and so that it starts faster, too, repl-ctl is linked once more for the VMs, from the objects
# of the one that is installed, with libcrypto inside. Not all: a VM holds them in its memory.
prog_static := $(shell grep -l 'link: static' $(prog_sources))
$(call prog_program,$(prog_static)): USER_LIBS := $(filter-out -lsystemd -lsmartcols,$(USER_LIBS))
$(call prog_program,$(prog_static)): USER_LDFLAGS += -static -Wl,--no-warnings # of resolvers: all addresses are numbers
$(BUILD)/vm/quick/%: USER_LIBS := $(patsubst -lcrypto,-l:libcrypto.a,$(USER_LIBS))

.PHONY: vm-programs
vm-programs: $(call prog_program,$(prog_sources)) $(BUILD)/vm/quick/repl-ctl

$(BUILD)/vm/quick/repl-ctl: $(call user_object,$(ctl_sources)) $(USER_LIB)
	$(user_link)

$(BUILD)/obj/tests/vm/prog/%.o: USER_CFLAGS_ALL += -Iuserspace/agent

define prog_rule
$(call prog_program,$(1)): $(call user_object,$(1) $(call prog_needs,$(1))) $(USER_LIB)
	$$(user_link)
-include $(patsubst %.o,%.d,$(call user_object,$(1)))
endef
$(foreach prog,$(prog_sources),$(eval $(call prog_rule,$(prog))))
