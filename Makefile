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
DOCDIR ?= $(PREFIX)/share/doc/repl
# Pacemaker looks nowhere else.
OCFDIR ?= /usr/lib/ocf/resource.d
# A test that is about no kernel is run on one of them only; ONCE= runs all on each.
ONCE ?= 1
export REPL_VM_ONCE := $(ONCE)
# Tests in VMs at the same time. Each VM has two virtual CPUs; where processors are few they take turns on one.
JOBS ?= $(shell n=$$(nproc); echo $$((n > 4 ? n / 2 : n + 1)))

cache := $(or $(REPL_CACHE),$(HOME)/.cache/repl)
export REPL_CACHE := $(cache)
export REPL_BUILD := $(abspath $(BUILD))

# Installed before the included files ask pkg-config: a machine that has nothing but make gets through in one go.
deps_goals := $(filter check check-quick check-vm% check-debug check-kcsan check-cuts check-crash check-life check-plants check-sixteen fuzz-netlink demo bench,$(MAKECMDGOALS))
deps_of_check-quick := style
deps_of_check-debug := debug
deps_of_check-kcsan := debug
deps_of_demo := demo
deps_of_bench := bench
deps_groups := $(sort $(foreach goal,$(deps_goals),$(or $(deps_of_$(goal)),check)))
ifneq ($(deps_goals),)
ifndef DEPS_DONE
$(info $(shell scripts/deps $(deps_groups) >&2))
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
# A kernel that was built here brings its own; Debian's is where its headers package puts it.
kernel_build = $(or $(wildcard $(cache)/kernels/$(1)/build),/lib/modules/$(call kernel_version,$(1))/build)

.PHONY: module
module: $(addprefix module-,$(KERNELS)) ## the module for both kernels, in build/KERNEL/repl.ko

module-%: links-%
	@test -e $(call kernel_build,$*)/Makefile || \
		{ echo "no headers of kernel $* ($(call kernel_build,$*)): run scripts/deps build, or for the kernel that runs scripts/deps install" >&2; exit 1; }
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

.PHONY: tools userspace mkfs unit fuzz demo bench
tools: userspace mkfs ## the programs, in build/bin/

unit: ## unit tests of everything that runs in userspace

fuzz: ## random input for what reads foreign bytes (FUZZ_SECONDS=600: for long)

demo: ## two nodes, a failover and nothing lost, shown in a VM

bench: ## the deterministic benchmark

-include userspace/userspace.mk
-include mkfs/mkfs.mk
-include tests/unit/unit.mk
-include tests/fuzz/fuzz.mk
-include tests/vm/prog/prog.mk
-include tests/bench/bench.mk
-include tests/demo/demo.mk

# --- checks -------------------------------------------------------------------------------------------------------

# Of each recorded run, as long as nobody asks for others.
few_points = POINTS=$(or $(POINTS),110) BOOTED=$(or $(BOOTED),4)

.PHONY: check
check: all vm-programs ## everything: static checks, unit tests, short fuzzing, VM tests on both kernels, some crash points
	+@failed=; $(MAKE) --no-print-directory -k --output-sync=target check-quick unit fuzz || failed=" check-quick, unit or fuzz"; \
	$(MAKE) --no-print-directory check-vm $(few_points) WITH_CRASH="$(CRASH)" || failed="$$failed check-vm"; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }; echo "check: all passed"

.PHONY: check-quick
check-quick: ## static checks: style, sparse, shellcheck, clang
	+@scripts/check-style

TESTS ?= $(wildcard tests/vm/t/*.t)
HOST_TESTS ?= $(wildcard tests/vm/meta/*.t tests/vm/multi/*.t)
CRASH ?= $(wildcard tests/crash/conf/*)
# By the limits that they set themselves, so that no long one is left for the end.
longest_first = $(shell for t in $(1); do echo "$$(sed -n '1,20s/^\# vm:.* timeout=\([0-9]*\).*/\1/p' $$t) $$t"; done | \
	sed 's/^ /600 /' | sort -rn | cut -d' ' -f2)
run_vm_tests = $(if $(strip $(1)),prove --timer -j$(JOBS) -e tests/vm/any $(1))
on_kernel = $(addprefix $(1):,$(call longest_first,$(TESTS) $(HOST_TESTS)))

# All in one run, so that no processor waits for the last test of one kernel before the first of the next.
.PHONY: check-vm
check-vm: $(addprefix module-,$(KERNELS)) tools vm-programs ## VM tests on both kernels (TESTS="tests/vm/t/010-x.t ..." for some)
	@echo "VM tests on kernels $(KERNELS)$(if $(WITH_CRASH), and crash points)"
	@$(call run_vm_tests,$(addprefix crash:,$(WITH_CRASH)) $(foreach kernel,$(KERNELS),$(call on_kernel,$(kernel))))

check-vm-%: module-% tools vm-programs
	@echo "VM tests on kernel $*"
	@$(call run_vm_tests,$(call on_kernel,$*))

# A kernel that finds mistakes is several times slower, and its VMs need twice the memory; tests/vm/run knows the latter.
special_kernel = +@tests/vm/kernel/build $(1) && \
	REPL_VM_TIMEOUT_SCALE=$${REPL_VM_TIMEOUT_SCALE:-4} $(MAKE) --no-print-directory check-vm-6.1-$(1) ONCE= TESTS="$(2)" \
		HOST_TESTS="$(3)"

.PHONY: check-debug
check-debug: ## VM tests on a kernel with KASAN, lockdep, kmemleak (built once, half an hour)
	$(call special_kernel,debug,$(TESTS),$(HOST_TESTS))

.PHONY: check-kcsan
check-kcsan: ## a stress test on a kernel that finds data races (built once, half an hour)
	$(call special_kernel,kcsan,$(if $(filter command,$(origin TESTS)),$(TESTS),tests/vm/t/stress.t),)

.PHONY: check-cuts
check-cuts: module-6.1 tools vm-programs ## connections that are reset after every so many bytes (an hour)
	@tests/vm/run --kernel 6.1 --timeout 10800 --env GRID=fine tests/vm/t/cut-bytes.t

.PHONY: fuzz-netlink
fuzz-netlink: module-$(LIFE_KERNEL) tools vm-programs ## random netlink messages to the module, as root (FUZZ_SECONDS=600 SEED=s LIFE_KERNEL=k)
	@tests/vm/run --kernel $(LIFE_KERNEL) --timeout $$(($(or $(FUZZ_SECONDS),600) + 1200)) --env FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) \
		$(if $(SEED),--env SEED=$(SEED)) tests/vm/t/kernel-fuzz.t

LIVES ?= 10
LIFE_SEED ?= $(shell date +%s)
LIFE_KERNEL ?= 6.1
one_life = tests/vm/run --kernel $(LIFE_KERNEL) --env SEED=$$seed --env SEEDS=1 --env EVENTS=25 tests/vm/t/life.t

.PHONY: check-life
check-life: module-$(LIFE_KERNEL) tools vm-programs ## random life of three nodes, for hours (LIVES=n LIFE_SEED=s LIFE_KERNEL=k)
	@failed=0; for seed in $$(seq $(LIFE_SEED) $$(($(LIFE_SEED) + $(LIVES) - 1))); do \
		if $(one_life) >$(BUILD)/life.$$seed.log 2>&1; then result=passed; else result=FAILED; failed=1; fi; \
		echo "$$(git describe --always --dirty) kernel $(LIFE_KERNEL) seed $$seed $$result" | tee -a $(BUILD)/life.results; \
	done; exit $$failed

SERVERS ?= 16
KILL ?= 4
.PHONY: check-sixteen
check-sixteen: module-$(LIFE_KERNEL) tools vm-programs ## sixteen servers, of which any four are lost (SERVERS=n KILL=n LIFE_KERNEL=k SEED=s)
	@tests/vm/run --kernel $(LIFE_KERNEL) --mem 2048 --timeout 1200 --env NODES=$(SERVERS) --env KILL=$(KILL) \
		$(if $(SEED),--env SEED=$(SEED)) tests/vm/t/sixteen.t

.PHONY: check-plants
check-plants: tools vm-programs ## planted bugs, each must be found (PLANTS="tests/plant/x.patch ..." TRIES=n LIVES=n POINTS=n SEED=s)
	@tests/plant/run $(PLANTS)

.PHONY: check-crash
check-crash: all vm-programs ## crash points (POINTS=1000 BOOTED=8 SEED=random, for each of tests/crash/conf)
	@prove -j$(JOBS) -e tests/crash/run $(CRASH)

# --- installation -------------------------------------------------------------------------------------------------

programs = $(wildcard $(BUILD)/bin/*) $(wildcard scripts/repl-*) $(wildcard scripts/keepalived/repl-*)
units := $(wildcard scripts/systemd/*)
rules := $(wildcard scripts/udev/*.rules)
sysusers := $(wildcard scripts/sysusers/*.conf)
manuals := $(wildcard docs/man/*.[1-9])
# As its directory is named: examples of other programs' configuration have one each.
examples := docs/pacemaker.md $(wildcard scripts/keepalived/*.conf scripts/multipath/*.conf)
example_path = $(DOCDIR)/$(if $(filter scripts/%,$(1)),$(patsubst scripts/%,%,$(1)),$(notdir $(1)))
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
	$(foreach f,$(examples),install -D -m 644 $f $(DESTDIR)$(call example_path,$f) &&) true
	install -D -m 755 scripts/ocf/repl $(DESTDIR)$(OCFDIR)/repl/repl
	$(MAKE) -C $(call kernel_build,$(KVER)) M=$(abspath $(BUILD))/$(KVER) \
		$(if $(DESTDIR),INSTALL_MOD_PATH=$(abspath $(DESTDIR))) CONFIG_MODULE_SIG_ALL= modules_install
	$(if $(DESTDIR),,depmod $(call kernel_version,$(KVER)))

# DKMS builds from a tree of its own, for each kernel when that is installed: nobody has to remember it.
dkms := repl-$(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' scripts/dkms.conf)
DKMSDIR ?= /usr/src

.PHONY: install-dkms
install-dkms: ## sources of the module for DKMS, which builds it for every kernel that comes (apt install dkms)
	@# What it has built of an older tree under this version would count as built.
	[ ! -e $(DESTDIR)$(DKMSDIR)/$(dkms) ] || $(if $(DESTDIR),true,dkms remove --all $(subst -,/,$(dkms)))
	rm -rf $(DESTDIR)$(DKMSDIR)/$(dkms)
	$(foreach f,Kbuild $(filter-out Kbuild,$(module_sources)) $(shell find include -name '*.h'),install -D -m 644 $f $(DESTDIR)$(DKMSDIR)/$(dkms)/$f &&) true
	install -m 644 scripts/dkms.conf $(DESTDIR)$(DKMSDIR)/$(dkms)/dkms.conf
	$(if $(DESTDIR),,dkms install --force $(subst -,/,$(dkms)))

.PHONY: uninstall
uninstall: ## remove what install put there
	rm -f $(addprefix $(DESTDIR)$(SBINDIR)/,$(notdir $(programs)))
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(units)))
	rm -f $(addprefix $(DESTDIR)$(UDEVDIR)/,$(notdir $(rules)))
	rm -f $(addprefix $(DESTDIR)$(SYSUSERSDIR)/,$(notdir $(sysusers)))
	rm -f $(foreach f,$(manuals),$(DESTDIR)$(call manual_path,$f))
	rm -f $(foreach f,$(examples),$(DESTDIR)$(call example_path,$f)) $(DESTDIR)$(OCFDIR)/repl/repl
	[ ! -e $(DESTDIR)$(DKMSDIR)/$(dkms) ] || $(if $(DESTDIR),true,dkms remove --all $(subst -,/,$(dkms)))
	rm -rf $(DESTDIR)$(DKMSDIR)/$(dkms)
	[ ! -d $(DESTDIR)/lib/modules/$(call kernel_version,$(KVER)) ] || \
		find $(DESTDIR)/lib/modules/$(call kernel_version,$(KVER)) -name 'repl.ko' -delete -o -name 'repl.ko.[xzg]*' -delete
	$(if $(DESTDIR),,depmod $(call kernel_version,$(KVER)))

.PHONY: clean
clean: ## remove build/ (kernels and images in the cache stay)
	rm -rf $(BUILD)

.PHONY: help
help: ## this text
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18
