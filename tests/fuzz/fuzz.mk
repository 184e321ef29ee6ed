# SPDX-License-Identifier: GPL-2.0-or-later
#
# Fuzzers: every tests/fuzz/fuzz_*.c becomes a program of libFuzzer with address and undefined-behaviour checks, linked
# with the library and with the sources that its first lines name, as unit tests are.
#
# make fuzz runs each for a few seconds, from its corpus and always the same way; make fuzz FUZZ_SECONDS=600 runs each
# for that long with other random numbers each time and keeps what is new in build/fuzz/corpus; FUZZ="config stream" runs
# some. An input that fails stays in build/fuzz: build/fuzz/fuzz_NAME FILE repeats it.

FUZZ_SECONDS ?=
FUZZ ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_CC ?= clang
FUZZ_CFLAGS := -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Iuserspace/agent -Itests/fuzz
FUZZ_RUNS := 3000

fuzz_sources := $(wildcard tests/fuzz/fuzz_*.c)
fuzz_object = $(patsubst %.c,$(BUILD)/fuzz/%.o,$(1))
fuzz_library := $(call fuzz_object,$(filter-out userspace/lib/kernel.c,$(lib_sources)))

.PHONY: fuzz
fuzz: $(patsubst %,$(BUILD)/fuzz/fuzz_%,$(FUZZ))
	@set -e; for name in $(FUZZ); do \
		mkdir -p $(BUILD)/fuzz/corpus/$$name; \
		echo "fuzz $$name"; \
		$(BUILD)/fuzz/fuzz_$$name -verbosity=0 -print_final_stats=1 -timeout=20 \
			-artifact_prefix=$(BUILD)/fuzz/$$name- -max_len=4096 \
			$(if $(FUZZ_SECONDS),-max_total_time=$(FUZZ_SECONDS),-seed=1 -runs=$(FUZZ_RUNS)) \
			$(BUILD)/fuzz/corpus/$$name tests/fuzz/corpus/$$name >$(BUILD)/fuzz/$$name.log 2>&1 || \
			{ cat $(BUILD)/fuzz/$$name.log; exit 1; }; \
		grep -E 'number_of_executed|new_units' $(BUILD)/fuzz/$$name.log; \
	done

$(BUILD)/fuzz/%.o: %.c $(BUILD)/obj/userspace.flags
	@mkdir -p $(@D)
	$(call user_say,CC) $(FUZZ_CC) $(USER_CFLAGS_ALL) $(FUZZ_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/kmod/%.o: FUZZ_CFLAGS += $(SHIM_CFLAGS)

define fuzz_rule
$(if $(filter kmod/%,$(call unit_needs,$(1))),$(call fuzz_object,$(1)): FUZZ_CFLAGS += $(SHIM_CFLAGS))

$(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(1)): $(call fuzz_object,$(1) $(call unit_needs,$(1))) $(fuzz_library)
	@mkdir -p $$(@D)
	$$(call user_say,LD) $$(FUZZ_CC) $$(FUZZ_CFLAGS) -o $$@ $$^ $$(USER_LIBS)

-include $(patsubst %.o,%.d,$(call fuzz_object,$(1) $(call unit_needs,$(1))))
endef
$(foreach fuzzer,$(fuzz_sources),$(eval $(call fuzz_rule,$(fuzzer))))

-include $(patsubst %.o,%.d,$(fuzz_library))
