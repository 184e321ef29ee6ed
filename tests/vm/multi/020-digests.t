#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.12 timeout=700
#
# What a copy costs that is mostly equal. Two machines with large sparse disks: the first copy of nothing writes nothing;
# and when the primary's power is cut under load, its return costs reads of what was in doubt, and the network only what
# differs. The counters are those that a person sees.
# shellcheck source=tests/vm/multi.sh
. "$(dirname "$0")/../multi.sh"
# shellcheck source=tests/vm/machines.sh
. "$(dirname "$0")/../machines.sh"

SIZE=8G
BLOCK=4096
REGION=$((1 << 20))

caught_up() { # NAME FIELD
	vm_exec "$1" "repl-ctl status spool --json | jq '.volumes[0].peers[0].caught_up.$2'"
}
figures() { # NAME WORDS SECONDS
	diag "$2: $3 s; $(vm_exec "$1" "repl-ctl status spool | grep 'last catching up'" | sed 's/^ *//')"
}
disk_kib() { du -k "$multi_dir/$1/disk0" | cut -f1; } # NAME : what its sparse disk takes on the host
logged() { vm_exec "$1" 'fsck.repl --json /dev/vda | jq .volume.regions_logged'; }

vm_start one --disk $SIZE --mem 512 --with fio
vm_start two --disk $SIZE --mem 512 --with fio
machine_prepare one
machine_prepare two
ok "one is up" machine_up one two
ok "two is up" machine_up two one
before=$(disk_kib two)
ok "one is primary" vm_exec one 'repl-ctl primary spool --force'
start=$SECONDS
ok "first copy" wait_for 1200 "in sync" machine_in_sync one
figures one "the first copy of $SIZE that were never written" $((SECONDS - start))
size=$(vm_exec one 'repl-ctl status spool --json | jq ".volumes[0].size"')
is $(($(caught_up one bytes) + $(caught_up one zero_bytes) + $(caught_up one equal_bytes))) "$size" "all of it was looked at"
is "$(caught_up one bytes)" 0 "no block was sent"
is "$(caught_up two equal_bytes)" "$(caught_up one equal_bytes)" "both sides count alike"
cmp_ok $(($(disk_kib two) - before)) -le $((64 << 10)) "a sparse disk stays sparse"

load='fio --name=load --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=4 --rw=randwrite --bs=4k --rate_iops=20
	--time_based --allow_file_create=0 --randseed=7'
ok "written all over it" vm_exec one "${load//$'\n'/} --runtime=10 --end_fsync=1"
vm_exec one "setsid ${load//$'\n'/} --runtime=1000 </dev/null >/run/fio 2>&1 &"
writes() { vm_exec one 'repl-ctl status spool --json | jq .volumes[0].counters.writes'; }
load_runs() { [ "$(writes)" -gt $(($1 + 60)) ]; }
wait_for 60 "the load runs" load_runs "$(writes)"
vm_kill one
ok "two takes over: its peer is dead" wait_for 90 "promotion" vm_exec two 'repl-ctl primary spool --peer-dead'
ok "it writes a hundred blocks" vm_exec two "dd if=/dev/urandom of=/dev/repl0 bs=$BLOCK count=100 seek=5000 oflag=direct conv=notrunc,fsync"

vm_start one --disk $SIZE --mem 512 --with fio
regions=$(logged one)
dirty=$(vm_exec two 'repl-ctl status spool --json | jq ".volumes[0].peers[0].dirty_bytes"')
diag "in doubt: $regions regions logged by the dead one, $dirty bytes not known to be there by two"
cmp_ok "$regions" -gt 0 "the dead one had logged regions"
start=$SECONDS
ok "one comes back" machine_up one two
ok "in sync again" wait_for 120 "in sync" machine_in_sync two
took=$((SECONDS - start))
figures two "in sync again after the crash" "$took"
cmp_ok "$took" -le $((30 * ${REPL_VM_TIMEOUT_SCALE:-1})) "in seconds, however large the volume is"
compared=$(caught_up two compared_bytes) moved=$(($(caught_up two bytes) + $(caught_up two zero_bytes)))
cmp_ok "$compared" -ge $((regions * REGION)) "all that was in doubt was compared"
cmp_ok "$compared" -le $((regions * REGION + dirty)) "and nothing else was read"
cmp_ok "$moved" -ge $((100 * BLOCK)) "what two has written was sent"
# Beside it at most what was in flight when the power went.
cmp_ok "$moved" -le $((116 * BLOCK)) "and hardly anything else: only blocks that differ"
is "$(caught_up one equal_bytes)" "$(caught_up two equal_bytes)" "both sides count alike"

ok "down" vm_exec two 'repl-ctl secondary spool; repl-ctl down spool; pkill repl-agent; while pkill -0 repl-agent; do sleep 0.1; done; rmmod repl; sync'
ok "down" vm_exec one 'repl-ctl down spool; pkill repl-agent; while pkill -0 repl-agent; do sleep 0.1; done; rmmod repl; sync'
ok "both copies are equal, byte for byte" cmp -n "$size" "$multi_dir/one/disk0" "$multi_dir/two/disk0"
multi_done
