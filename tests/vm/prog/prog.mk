# SPDX-License-Identifier: GPL-2.0-or-later
#
# Programs that only tests inside a VM use: each tests/vm/prog/NAME.c becomes build/vm/prog/NAME, linked with the library
# and with the sources that a comment near its top names, as in "needs: userspace/agent/tls.c".

prog_sources := $(wildcard tests/vm/prog/*.c)
prog_program = $(patsubst tests/vm/prog/%.c,$(BUILD)/vm/prog/%,$(1))
prog_needs = $(shell sed -n '1,30s/.*needs: *\([^*]*\).*/\1/p' $(1))

.PHONY: vm-programs
vm-programs: $(call prog_program,$(prog_sources))

$(BUILD)/obj/tests/vm/prog/%.o: USER_CFLAGS_ALL += -Iuserspace/agent

define prog_rule
$(call prog_program,$(1)): $(call user_object,$(1) $(call prog_needs,$(1))) $(USER_LIB)
	$$(user_link)
-include $(patsubst %.o,%.d,$(call user_object,$(1)))
endef
$(foreach prog,$(prog_sources),$(eval $(call prog_rule,$(prog))))
