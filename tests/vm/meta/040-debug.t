#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 timeout=500
#
# What only a kernel made to find mistakes can see fails the run, too.
# shellcheck source=tests/vm/meta/meta.sh
. "$(dirname "$0")/meta.sh"

[ "$(vm_kernel_kind "$meta_kernel")" = debug ] || skip_all "for a debug kernel: make check-debug"
meta_build
expect pass "a module that behaves" fault.t "--env FAULT=module-none" '^ok 3 - leaks and locks were watched' \
	'^ok 4 - kernel log is clean'
expect fail "memory that nobody has any more" fault.t "--env FAULT=module-leak" \
	'^not ok 4 - kernel log is clean' 'unreferenced object .*size 1024' 'comm "insmod"'
expect fail "two locks in two orders" fault.t "--env FAULT=module-inversion" \
	'^not ok 4 - kernel log is clean' 'possible circular locking' 'invert'
expect fail "memory that is used after it was freed" fault.t "--env FAULT=module-use-after-free" \
	'^not ok [0-9] - kernel log is clean' 'KASAN: use-after-free in (use_after_free|meta_init)'
expect fail "sleep under a spinlock" fault.t "--env FAULT=module-sleep" \
	'^not ok 4 - kernel log is clean' 'sleeping function called from invalid context'
done_testing
