# SPDX-License-Identifier: GPL-2.0-or-later
#
# Run make help for the targets.

BUILD ?= build
# The kernels that scripts/deps provides: the module is built for each of them, and the tests boot each.
KERNELS ?= 6.1 6.12
# The kernel that make install builds and installs the module for.
KVER ?= $(shell uname -r)
PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
UDEVDIR ?= $(PREFIX)/lib/udev/rules.d
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
# Tests in VMs at the same time; each VM has two virtual CPUs.
JOBS ?= $(shell n=$$(nproc); echo $$((n > 4 ? n / 2 : n > 1 ? 2 : 1)))

cache := $(or $(REPL_CACHE),$(HOME)/.cache/repl)
export REPL_CACHE := $(cache)
export REPL_BUILD := $(abspath $(BUILD))

# Installed before the included files ask pkg-config: a machine that has nothing but make gets through in one go.
deps_goals := $(filter check check-quick check-vm% demo bench,$(MAKECMDGOALS))
ifneq ($(deps_goals),)
ifndef DEPS_DONE
$(info $(shell scripts/deps $(sort $(patsubst check-vm%,check,$(patsubst check-quick,style,$(deps_goals)))) >&2))
$(if $(filter 0,$(.SHELLSTATUS)),,$(error scripts/deps failed))
export DEPS_DONE := 1
endif
endif

.PHONY: all
all: module tools ## the module for both kernels, and the programs

# --- the module ---------------------------------------------------------------------------------------------------
# Kbuild writes its objects beside the sources, so each kernel gets a tree of links to them. A link to a source that
# went away is removed, or kbuild would go on building it.

module_sources := $(wildcard Kbuild kmod/*.[chS] kmod/*/*.[chS])
kernel_version = $(if $(wildcard $(cache)/kernels/$(1)/version),$(shell cat $(cache)/kernels/$(1)/version),$(1))
kernel_build = /lib/modules/$(call kernel_version,$(1))/build

.PHONY: module
module: $(addprefix module-,$(KERNELS)) ## the module for both kernels, in build/KERNEL/repl.ko

module-%: links-%
	@test -e $(call kernel_build,$*)/Makefile || \
		{ echo "no headers of kernel $* ($(call kernel_build,$*)): run scripts/deps build" >&2; exit 1; }
	+@flock $(BUILD)/$*/lock $(MAKE) --no-print-directory -s -C $(call kernel_build,$*) \
		M=$(abspath $(BUILD))/$* $(KBUILD_FLAGS) modules

links-%:
	@mkdir -p $(BUILD)/$* $(addprefix $(BUILD)/$*/,$(sort $(dir $(module_sources))))
	@ln -sfn $(CURDIR)/include $(BUILD)/$*/include
	@for f in $(module_sources); do \
		[ -L $(BUILD)/$*/$$f ] || ln -sf $(CURDIR)/$$f $(BUILD)/$*/$$f; \
	done
	@find $(BUILD)/$* -xtype l -delete

# --- programs and tests: each directory's own file ----------------------------------------------------------------

.PHONY: tools userspace mkfs unit demo bench
tools: userspace mkfs ## the programs, in build/bin/

unit: ## unit tests of everything that runs in userspace

demo: ## two nodes, a failover and nothing lost, shown in a VM

bench: ## the deterministic benchmark

-include userspace/userspace.mk
-include mkfs/mkfs.mk
-include tests/unit/unit.mk
-include tests/vm/prog/prog.mk
-include tests/bench/bench.mk
-include tests/demo/demo.mk

# --- checks -------------------------------------------------------------------------------------------------------

.PHONY: check
check: all ## everything: static checks, unit tests, VM tests on both kernels
	+@failed=; for part in check-quick unit check-vm; do \
		$(MAKE) --no-print-directory $$part || failed="$$failed $$part"; \
	done; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }; echo "check: all passed"

.PHONY: check-quick
check-quick: ## static checks: style, sparse, shellcheck, clang
	+@scripts/check-style

.PHONY: check-vm
check-vm: ## VM tests on both kernels (TESTS="tests/vm/t/010-x.t ..." for some)
	+@failed=; for kernel in $(KERNELS); do \
		$(MAKE) --no-print-directory check-vm-$$kernel || failed="$$failed $$kernel"; \
	done; \
	[ -z "$$failed" ] || { echo "VM tests failed on kernel$$failed" >&2; exit 1; }

TESTS ?= $(wildcard tests/vm/t/*.t)
HOST_TESTS ?= $(wildcard tests/vm/meta/*.t tests/vm/multi/*.t)

check-vm-%: module-% tools vm-programs
	@echo "VM tests on kernel $*"
	@$(if $(TESTS),prove -j$(JOBS) -e 'tests/vm/run --kernel $*' $(TESTS))
	@$(if $(HOST_TESTS),REPL_VM_KERNEL=$* prove -j$(JOBS) -e bash $(HOST_TESTS))

# --- installation -------------------------------------------------------------------------------------------------

programs = $(wildcard $(BUILD)/bin/*) $(wildcard scripts/repl-*)
units := $(wildcard scripts/systemd/*)
rules := $(wildcard scripts/udev/*.rules)
sysusers := $(wildcard scripts/sysusers/*.conf)
manuals := $(wildcard docs/man/*.[1-9])
manual_path = $(MANDIR)/man$(patsubst .%,%,$(suffix $(1)))/$(notdir $(1))

.PHONY: install
install: tools module-$(KVER) ## programs, module for KVER, units, udev rule, manuals (DESTDIR, PREFIX)
	install -d $(DESTDIR)$(SBINDIR)
	$(foreach f,$(programs),install -m 755 $f $(DESTDIR)$(SBINDIR)/$(notdir $f) &&) true
	$(foreach f,$(units),install -d $(DESTDIR)$(UNITDIR) && \
		sed 's,@SBINDIR@,$(SBINDIR),g' $f >$(DESTDIR)$(UNITDIR)/$(notdir $f) &&) true
	$(foreach f,$(rules),install -D -m 644 $f $(DESTDIR)$(UDEVDIR)/$(notdir $f) &&) true
	$(foreach f,$(sysusers),install -D -m 644 $f $(DESTDIR)$(SYSUSERSDIR)/$(notdir $f) &&) true
	$(foreach f,$(manuals),install -D -m 644 $f $(DESTDIR)$(call manual_path,$f) &&) true
	$(MAKE) -C $(call kernel_build,$(KVER)) M=$(abspath $(BUILD))/$(KVER) \
		$(if $(DESTDIR),INSTALL_MOD_PATH=$(abspath $(DESTDIR))) CONFIG_MODULE_SIG_ALL= modules_install
	$(if $(DESTDIR),,depmod $(call kernel_version,$(KVER)))

.PHONY: uninstall
uninstall: ## remove what install put there
	rm -f $(addprefix $(DESTDIR)$(SBINDIR)/,$(notdir $(programs)))
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(units)))
	rm -f $(addprefix $(DESTDIR)$(UDEVDIR)/,$(notdir $(rules)))
	rm -f $(addprefix $(DESTDIR)$(SYSUSERSDIR)/,$(notdir $(sysusers)))
	rm -f $(foreach f,$(manuals),$(DESTDIR)$(call manual_path,$f))
	rm -f $(wildcard $(addprefix $(DESTDIR)/lib/modules/$(call kernel_version,$(KVER))/*/repl,.ko .ko.xz .ko.zst .ko.gz))
	$(if $(DESTDIR),,depmod $(call kernel_version,$(KVER)))

.PHONY: clean
clean: ## remove build/ (kernels and images in the cache stay)
	rm -rf $(BUILD)

.PHONY: help
help: ## this text
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18
