#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=512 timeout=300 disks=64M,64M with=fio
#
# The kernel module alone, two copies in one kernel joined over loopback, no agent: mirroring, marks, roles.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"

brd_load 1 64
dev=(/dev/vda /dev/vdb /dev/ram0)
modprobe repl

get() { knode get "$1" | sed -n "s/^$2=//p"; }
size() { knode get "$1" | sed -n 's/^size=//p'; }
equal() { [ "$(data_sha "$1" "$bytes")" = "$(data_sha "$2" "$bytes")" ]; }
work() { # SECONDS : random writes with overlaps, discards, FUA and flushes
	run_quiet fio --name=w --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=64 --rw=randtrimwrite \
		--bsrange=4k-128k --size=48m --runtime="$1" --time_based --randrepeat=0 --norandommap --allow_file_create=0
}
writes() {
	run_quiet fio --name=w --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=64 --rw=randwrite \
		--bsrange=4k-256k --size=48m --runtime="$1" --time_based --randrepeat=0 --norandommap --fdatasync=50 \
		--verify=crc32c --verify_backlog=200 --allow_file_create=0
}

for i in 0 1 2; do
	ok "metadata of copy $i" run_quiet mkfs.repl --name "v$i" "${dev[$i]}"
	ok "copy $i comes up" knode attach "$i" "v$i" "${dev[$i]}"
done
bytes=$(size 0)
ok "a secondary cannot be opened" bash -c '! dd if=/dev/repl0 of=/dev/null count=1 2>/dev/null'
not_ok "a copy that was never consistent is not promoted without force" knode primary 0
ok "the first becomes primary" knode primary 0 force
ok "it can be written" run_quiet dd if=/dev/urandom of=/dev/repl0 bs=64k count=100 oflag=direct
ok "slots" eval 'knode slot 0 0 1 && knode slot 1 0 2'
is "$(get 0 slot0.dirty)" "$((bytes / 4096))" "a new slot is dirty throughout"
not_ok "a slot that is behind gets no link" knode join 0 0 1 0
run_quiet dd if=/dev/vda of=/dev/vdb bs=1M iflag=direct,count_bytes oflag=direct count="$bytes"
knode settle 0 0
knode settle 1 0
ok "both are joined" knode join 0 0 1 0 crc
is "$(get 0 slot0.link)" 1 "live"
is "$(get 0 generation)" "$(get 1 generation)" "the same generation"
ok "writes with overlaps verify" writes 4
ok "random sizes at depth 64, overlaps and discards" work 3
ok "both copies are equal" equal /dev/vda /dev/vdb
diag "overlaps: $(get 0 overlaps), writes $(get 0 writes), applied $(get 1 applied)"
ok "zeroes" run_quiet blkdiscard -z -o 1M -l 20M /dev/repl0
ok "both copies are equal" equal /dev/vda /dev/vdb

before=$(get 0 generation)
sync
ok "the link is closed" knode leave 1 0
wait_for 10 "the leader sees it" eval '[ "$(get 0 slot0.link)" = 0 ]'
wait_for 10 "the gate opens" eval '[ "$(get 0 gate)" = 0 ]'
isnt "$(get 0 generation)" "$before" "a new generation"
is "$(get 1 generation)" "$before" "history of the other"
run_quiet dd if=/dev/urandom of=/dev/repl0 bs=4k count=10 seek=1000 oflag=direct
diag "dirty after ten blocks: $(get 0 slot0.dirty)"
ok "demotion" knode secondary 0
ok "down" knode detach 0
ok "up again" knode attach 0 v0 /dev/vda
ok "after a clean stop the map is still there" eval '[ "$(get 0 slot0.dirty)" -ge 10 -a "$(get 0 slot0.dirty)" -lt 3000 ]'
for i in 0 1 2; do ok "down $i" knode detach "$i"; done
done_testing
