#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=768 timeout=400 disks=64M,64M with=fio
#
# Two nodes from the first copy to the last role change, over plain links: see tests/vm/pair.sh.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"
# shellcheck disable=SC2034
PAIR_ENCRYPTION=none
# shellcheck source=tests/vm/pair.sh
. "$(dirname "$0")/../pair.sh"
