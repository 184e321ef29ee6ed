#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 timeout=500
#
# What a module can do wrong fails the run, and says what it was.
# shellcheck source=tests/vm/meta/meta.sh
. "$(dirname "$0")/meta.sh"

meta_build
expect pass "a module that behaves" fault.t "--env FAULT=module-none" '^ok 2 - modules unload' '^ok 3 - kernel log is clean'
expect fail "a warning" fault.t "--env FAULT=module-warn" \
	'^ok 2 - modules unload' '^not ok 3 - kernel log is clean' '^# .*planted warning'
expect fail "an oops" fault.t "--env FAULT=module-oops" \
	'^not ok 2 - the VM lives until' '^not ok 3 - kernel log is clean' 'NULL pointer dereference'
expect fail "a panic" fault.t "--env FAULT=module-panic" \
	'^not ok 2 - the VM lives until' 'Kernel panic - not syncing: planted panic'
expect fail "a task that waits for ever" fault.t "--env FAULT=module-stuck --timeout 10" \
	'^not ok 2 - the test ends within [0-9]+ s' 'task:insmod'
expect fail "a processor that never comes back" fault.t "--env FAULT=module-lockup --timeout 10" \
	'^not ok 2 - the test ends within [0-9]+ s' 'lock_up'
expect fail "a module that will not unload" fault.t "--env FAULT=module-pin" \
	'^not ok 2 - modules unload' 'repl_meta is in use'
expect fail "a cache that outlives its module" fault.t "--env FAULT=module-cache" \
	'^not ok 2 - modules unload' 'left: .*repl_left'
done_testing
