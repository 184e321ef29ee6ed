#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: smp=1 mem=256
#
# Tests nothing, or with SKIP=1 says why.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../../lib.sh"

[ "${SKIP:-0}" = 0 ] || skip_all "for the test's sake"
done_testing
