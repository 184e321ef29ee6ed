#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 timeout=500
#
# What a test script can do wrong fails the run, and says what it was.
# shellcheck source=tests/vm/meta/meta.sh
. "$(dirname "$0")/meta.sh"

meta_build
expect pass "a good test passes" fault.t "--env FAULT=none" \
	'^ok 1 - the script runs' '^ok 2 - modules unload' '^ok 3 - kernel log is clean' '^1\.\.3$'
expect fail "a failing check" fault.t "--env FAULT=not-ok" '^not ok 2 - one is two' '^# +expected: 2|^# expected: 2'
expect fail "a check that a command fails which is not there" fault.t "--env FAULT=missing" '^not ok 2 - it fails' 'was not run'
expect_errors=('^# words of its own' '^# not ok 2 - a command fails')
expect fail "a check whose command says why" fault.t "--env FAULT=words" '^not ok 2 - a command fails'
expect fail "a script that dies" fault.t "--env FAULT=dies" '^not ok 2 - the test script exits with 0 \(it was 1\)'
expect fail "a script that stops half way" fault.t "--env FAULT=half" '^not ok 2 - the test script reaches its end'
expect fail "fewer tests than planned" fault.t "--env FAULT=plan" '^not ok 2 - as many tests as planned \(7 planned, 1 run\)'
expect fail "a script that hangs" fault.t "--env FAULT=hangs --timeout 5" '^not ok 2 - the test ends within [0-9]+ s'
expect fail "a VM that ends early" fault.t "--env FAULT=powers-off" '^not ok 2 - the VM lives until the test has ended'
expect fail "a test that tests nothing" nothing.t "" '^not ok 1 - the test tests something'
expect pass "a test that is skipped" nothing.t "--env SKIP=1" "^1\.\.0 # SKIP for the test's sake"
expect fail "a program that crashes" fault.t "--env FAULT=segfault" '^not ok [0-9]+ - kernel log is clean' 'segfault at'
expect fail "a bad line in the kernel log" fault.t "--env FAULT=klog" '^not ok 3 - kernel log is clean' 'BUG: planted'
expect pass "an announced line in the kernel log" fault.t "--env FAULT=klog-allowed" '^ok 3 - kernel log is clean'
done_testing
