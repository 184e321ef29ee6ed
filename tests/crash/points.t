#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=1024
#
# Two nodes work, and everything that their disks do is recorded. Then the power is cut at many points of that record,
# of either node or of both, and what comes up must have every byte that had been acknowledged. tests/crash/run starts
# it; docs/TESTING.md says how to look at one point again.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../vm/lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../vm/repl.sh"
# shellcheck source=tests/crash/record.sh
. "$(dirname "$0")/record.sh"
# shellcheck source=tests/crash/check.sh
. "$(dirname "$0")/check.sh"

# Set by tests/crash/run: CRASH_LOAD mail|raw, CRASH_ENCRYPTION tls|none, CRASH_EXTERNAL 0|1, CRASH_SEED, CRASH_FIRST,
# CRASH_POINTS, CRASH_REPLAY 0|1.
CRASH_MIB=24
CRASH_THREADS=3
klog_allow 'Buffer I/O error on dev repl|lost async page write'

insmod /repl/crash_disk.ko disks=3 mib="$CRASH_MIB" log_mib=160
modprobe -a tls repl
diag "seed $CRASH_SEED, $CRASH_LOAD, encryption $CRASH_ENCRYPTION, external metadata $CRASH_EXTERNAL"
crash_nodes
if [ "$CRASH_REPLAY" = 1 ]; then
	crash_reload
else
	crash_record
	ok "every acknowledgement came in a generation that is durable where it must be" crash audit
fi
crash_check_all
for node in a b; do agent_kill "$node" TERM; done
rmmod crash_disk
done_testing
