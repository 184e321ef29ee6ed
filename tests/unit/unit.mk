# SPDX-License-Identifier: GPL-2.0-or-later
#
# Unit tests: every tests/unit/test_*.c becomes a program with address and undefined-behaviour checks, linked with the
# library and with the sources that a comment near its top names, as in "needs: userspace/agent/verdict.c"; every
# tests/unit/*.t is run as it is, with the built programs in $REPL_BUILD/bin. All print TAP.
#
# The module's pure files can be named too, as in "needs: kmod/map.c tests/unit/shim/slab.c": they are compiled as they
# are, against tests/unit/shim, which has the few functions of the kernel that they call.
#
# make unit UNIT="tests/unit/test_super.c tests/unit/mkfs.t" runs some; make unit SEED=7 repeats the random ones.

SAN_CFLAGS := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -Iuserspace/agent \
	-Iuserspace/ctl
SAN_ENV := ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1 $(if $(SEED),SEED=$(SEED))

unit_sources := $(wildcard tests/unit/test_*.c)
unit_scripts := $(wildcard tests/unit/*.t)
UNIT ?= $(unit_sources) $(unit_scripts)

unit_program = $(patsubst tests/unit/%.c,$(BUILD)/test/%,$(1))
unit_needs = $(shell sed -n '1,20s/.*needs: *\([^*]*\).*/\1/p' $(1))
san_object = $(patsubst %.c,$(BUILD)/san/%.o,$(1))
san_library := $(call san_object,$(lib_sources))
SHIM_CFLAGS := -Itests/unit/shim -iquote kmod

.PHONY: unit
unit: $(call unit_program,$(filter %.c,$(UNIT))) $(if $(filter %.t,$(UNIT)),userspace mkfs)
	@$(SAN_ENV) REPL_BUILD=$(abspath $(BUILD)) prove -j$(JOBS) -e '' \
		$(call unit_program,$(filter %.c,$(UNIT))) $(filter %.t,$(UNIT))

$(BUILD)/san/%.o: %.c $(BUILD)/obj/userspace.flags
	@mkdir -p $(@D)
	$(call user_say,CC) $(USER_CC) $(USER_CFLAGS_ALL) $(SAN_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/san/kmod/%.o $(BUILD)/san/tests/unit/shim/%.o: SAN_CFLAGS += $(SHIM_CFLAGS)

define unit_rule
$(if $(filter kmod/%,$(call unit_needs,$(1))),$(call san_object,$(1)): SAN_CFLAGS += $(SHIM_CFLAGS))

$(call unit_program,$(1)): $(call san_object,$(1) $(call unit_needs,$(1))) $(san_library)
	@mkdir -p $$(@D)
	$$(call user_say,LD) $$(USER_CC) $$(SAN_CFLAGS) $$(USER_LDFLAGS) -o $$@ $$^ $$(USER_LIBS)

-include $(patsubst %.o,%.d,$(call san_object,$(1) $(call unit_needs,$(1))))
endef
$(foreach test,$(unit_sources),$(eval $(call unit_rule,$(test))))

-include $(patsubst %.o,%.d,$(san_library))
