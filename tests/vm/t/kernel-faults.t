#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=768 timeout=500 disks=64M,64M,64M,2G,2G with=fio
#
# A stop that cannot be recorded, links that end in the middle of a role change, three nodes and their
# generations, and zeroing that a peer is slow to do.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

FAILING=16
flag() { [ $(($(knode_get "$1" flags) & $2)) != 0 ]; } # MINOR BIT
no_flag() { ! flag "$@"; }
write() { dd if=/dev/urandom of="/dev/repl$1" bs=4k count=1 seek="$2" oflag=direct conv=notrunc status=none "${@:3}"; }
took() { # COMMAND... : milliseconds
	local start
	start=$(now_ms)
	run_quiet "$@"
	echo $(($(now_ms) - start))
}

diag "a volume without peers whose stop is not recorded"
klog_allow 'Buffer I/O error|I/O error, dev|reset|lost async page write'
dm_linear first /dev/vda
knode_up /dev/mapper/first
run_quiet knode primary 0 force
dm_break first
run_quiet knode detach 0 force
dm_heal first /dev/vda
run_quiet knode attach 0 v0 /dev/mapper/first
ok "it has crashed" eval '[ $(($(knode_get 0 sb_flags) & 512)) != 0 ]'
ok "it becomes primary alone" knode primary 0 alone
ok "and is as good as any" eval '[ $(($(knode_get 0 sb_flags) & 512)) = 0 ]'
ok "down" knode_down

diag "a demotion that cannot be recorded"
knode_up /dev/mapper/first
run_quiet knode primary 0 force
size=$(($(knode_get 0 size) / 512))
dm_reload first "0 $size linear /dev/vda 0
$size $(($(dev_sectors /dev/vda) - size)) error"
not_ok "is an error" knode secondary 0
dm_heal first /dev/vda
ok "on disk it is primary still" eval '[ $(($(knode_get 0 sb_flags) & 4)) != 0 ]'
ok "the next try succeeds" knode secondary 0
ok "and is recorded" eval '[ $(($(knode_get 0 sb_flags) & 4)) = 0 ]'
ok "down" knode_down

diag "a disk that can be read, but not written"
modprobe -q dm-flakey
dm_reload first "$(dm_flakey_table /dev/vda 0 3600 error_writes)"
not_ok "does not come up" knode attach 0 v0 /dev/mapper/first
dm_heal first /dev/vda
ok "healed, it does" knode attach 0 v0 /dev/mapper/first
ok "down again" knode detach 0

diag "a pair"
knode_up /dev/mapper/first /dev/vdb /dev/vdc
ok "two copies joined" knode_pair
ok "a volume on a volume is refused" eval '! knode attach 9 v9 /dev/repl0 2>/tmp/why'
ok "in words" grep -q "replicated volume itself" /tmp/why

diag "a disk fails below a primary that is alone"
run_quiet knode leave 0 1
wait_for 20 "the gate opens" knode_is 0 gate 0
ok "a write, so that the region is logged" write 0 5
dm_break first
not_ok "the error goes up" write 0 5
ok "the volume does not give up" no_flag 0 $FAILING
dm_reload first "0 33792 linear /dev/vda 0
33792 8 error
33800 $(($(dev_sectors /dev/vda) - 33800)) linear /dev/vda 33800"
not_ok "so does that of one sector of a large write" dd if=/dev/urandom of=/dev/repl0 bs=1M count=1 seek=16 oflag=direct conv=notrunc status=none
dm_heal first /dev/vda
ok "the next write passes" write 0 5
# Of a bio that is split the last piece ends last, and ends it all.
echo 64 >/sys/block/repl0/queue/max_sectors_kb
dm_reload first "0 32776 linear /dev/vda 0
32776 8 error
32784 $(($(dev_sectors /dev/vda) - 32784)) linear /dev/vda 32784"
not_ok "an error in the first piece of a split write goes up" dd if=/dev/urandom of=/dev/repl0 bs=1M count=1 seek=16 oflag=direct conv=notrunc status=none
not_ok "and of a split read" dd if=/dev/repl0 of=/dev/null bs=1M count=1 skip=16 iflag=direct status=none
dm_heal first /dev/vda
echo 1024 >/sys/block/repl0/queue/max_sectors_kb
ok "healed, it can be written" dd if=/dev/urandom of=/dev/repl0 bs=1M count=1 seek=16 oflag=direct conv=notrunc status=none

diag "three nodes: a new generation of one is none of the third's"
knode_slots 0 1 2
knode_copy 0 1
knode_copy 0 2
ok "two peers join" eval 'knode_join 0 1 && knode_join 0 2'
ok "the primary steps down" knode secondary 0
ok "one peer becomes primary" knode primary 1
is "$(knode_get 0 generation)" "$(knode_get 1 generation)" "its link brings the generation"
wait_for 10 "the link to the node that was not told ends" knode_is 0 slot2.link 0
isnt "$(knode_get 2 generation)" "$(knode_get 1 generation)" "which has the old one"

diag "an attempt to promote a secondary under load"
fio --name=load --filename=/dev/repl1 --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bs=4k --size=32m \
	--runtime=6 --time_based --allow_file_create=0 >/tmp/load.log 2>&1 &
load=$!
wait_for 10 "writes arrive" eval '[ "$(knode_get 0 applied)" -gt 20 ]'
for _ in 1 2 3 4 5; do ! knode primary 0 2>/dev/null || fail "promoted beside a live primary"; done
is "$(knode_get 0 slot1.link)" 1 "the link has survived five attempts"
ended=0
wait "$load" || ended=$?
is "$ended" 0 "the load has seen nothing of it"
is "$(knode_get 0 generation)" "$(knode_get 1 generation)" "the generation is the same on both"
ok "equal" knode_equal 0 1
ok "down" eval 'knode secondary 1 && knode_down'
dm_remove first

diag "a link is lost while the peer records the new generation"
dm_linear second /dev/vdb
knode_up /dev/vda /dev/mapper/second
knode_slots 0 1
run_quiet knode primary 0 force
knode_copy 0 1
ok "joined" knode_join 0 1 plain 2000
ok "no primary" knode secondary 0
dmsetup suspend --nolockfs second
not_ok "promotion fails when the peer does not answer" knode primary 0
dmsetup resume second
wait_for 20 "the links are gone" eval 'knode_is 0 slot1.link 0 && knode_is 1 slot0.link 0'
wait_for 20 "the peer has recorded it" eval '[ "$(knode_get 0 generation)" = "$(knode_get 1 generation)" ]'
is "$(knode_get 0 slot1.dirty)" 0 "no block is in doubt"
ok "down" knode_down
dm_remove second

diag "a disk that takes four seconds to write data, but not metadata"
SLOW=65536 # sectors
dm_create second "0 $SLOW delay /dev/vdb 0 0 /dev/vdb 0 4000 /dev/vdb 0 0
$SLOW $(($(dev_sectors /dev/vdb) - SLOW)) linear /dev/vdb $SLOW"
knode_up /dev/vda /dev/mapper/second
knode_slots 0 1
run_quiet knode primary 0 force
# The other way round: that disk is quick to read.
run_quiet dd if=/dev/vdb of=/dev/vda bs=1M iflag=direct,count_bytes oflag=direct,dsync count="$(knode_get 0 size)"
run_quiet knode settle 0 1
run_quiet knode settle 1 0
ok "joined, with a timeout of less than that" knode_join 0 1 plain 300000 2500
ok "more is written than the peer takes in at a time" run_quiet fio --name=much --filename=/dev/repl0 --direct=1 \
	--ioengine=libaio --iodepth=32 --rw=write --bs=1m --size=30m --allow_file_create=0
is "$(knode_get 0 slot1.link)" 1 "who waits for a disk is not taken for dead, nor takes the other for dead"
is "$(knode_get 1 applied)" 30 "and all of it has arrived"
put() { pattern "$2" 65536 | dd of="/dev/repl$1" bs=64k iflag=fullblock oflag=direct seek="$3" conv=notrunc status=none; } # MINOR SEED AT
is_there() { [ "$(data_sha /dev/vdb 65536 $(($2 << 16)))" = "$(pattern_sha "$1" 65536)" ]; } # SEED AT : on the slow disk
late() { # SEED AT : a write is on its way to the slow disk when its link is lost
	local applied
	applied=$(knode_get 1 applied)
	put 0 "$1" "$2" &
	wait_for 20 "it has arrived" eval "[ \$(knode_get 1 applied) -gt $applied ]"
	run_quiet knode leave 0 1
	wait_for 20 "the loss is noticed" eval '[ "$(knode_get 1 slot0.link)" != 1 ]'
}
late one 3
ok "no other copy is followed" run_quiet knode follow 1 0 0
ok "before what came over the last link is on the disk" is_there one 3
wait
run_quiet knode settle 0 1
run_quiet knode settle 1 0
ok "joined again" knode_join 0 1 plain 300000
late two 5
ok "nor is the node promoted" run_quiet knode primary 1 peer-dead
ok "before it is" is_there two 5
wait

begun() { # SEED AT : a write of the new primary, under way
	local writes
	writes=$(knode_get 1 writes)
	put 1 "$1" "$2" &
	wait_for 20 "it has begun" eval "[ \$(knode_get 1 writes) -gt $writes ]"
}
begun three 7
knode cut 1 0 list >/tmp/cut
ok "a cut is read when the writes before it are on the disk" is_there three 7
ok "and has them" awk '$1 <= 112 && 128 <= $1 + $2 { found = 1 } END { exit !found }' /tmp/cut
begun four 9
ok "a freeze" knode freeze 1 60000
ok "is reported when the writes before it are on the disk" is_there four 9
ok "thawed" knode thaw 1
wait
ok "down" knode_down
dm_remove second

diag "frozen for one peer, resumed, then frozen for another that comes back"
knode_up /dev/vda /dev/vdb /dev/vdc
run_quiet knode detach 0
run_quiet knode attach 0 v0 /dev/vda freeze
knode_slots 0 1 2
run_quiet knode primary 0 force
knode_copy 0 1
knode_copy 0 2
ok "two peers join" eval 'knode_join 0 1 && knode_join 0 2'
run_quiet knode leave 1 0
wait_for 10 "frozen for the first" knode_is 0 gate 2
ok "resumed" knode resume 0
is "$(knode_get 0 gate)" 0 "open"
run_quiet knode leave 2 0
wait_for 10 "frozen for the second" knode_is 0 gate 2
run_quiet knode settle 0 2
run_quiet knode settle 2 0
ok "the second comes back" knode_join 0 2
wait_for 10 "the freeze ends by itself" knode_is 0 gate 0
ok "a write passes" write 0 1

diag "freezes that end while their volume goes down"
for _ in 1 2 3 4 5 6 7 8; do
	(for _ in 1 2 3 4 5 6 7 8 9; do knode freeze 2 5000 && knode thaw 2; done) >/dev/null 2>&1 &
	other=$!
	knode detach 2
	wait "$other" || true
	knode attach 2 v2 /dev/vdc
done
pass "eight times"
ok "down" knode_down

diag "zeroing that the peer is slow to do"
dm_linear slow /dev/vde
knode_up /dev/vdd /dev/mapper/slow
knode_slots 0 1
run_quiet knode primary 0 force
run_quiet knode settle 0 1
run_quiet knode settle 1 0
ok "joined" knode_join 0 1
ms=$(took blkdiscard -z -l 1792M /dev/repl0)
# The bound is reached six times; a beat comes every 2.5 s.
ok "zeroing goes on when it is answered, not with the next beat ($ms ms)" [ "$ms" -lt 10000 ]
dmsetup suspend --nolockfs slow
blkdiscard -z -l 1G /dev/repl0 &
zeroing=$!
wait_for 20 "zeroing is under way" eval '[ "$(knode_get 0 slot1.in_flight)" -ge $((256 << 20)) ]'
applied=$(knode_get 1 applied)
# Not dd, whose seek waits for the other's ioctl.
run_quiet fio --name=one --filename=/dev/repl0 --direct=1 --ioengine=psync --rw=write --bs=4k --offset=1600m --size=4k \
	--allow_file_create=0 &
writing=$!
ok "a write does not wait for the zeroing before it" wait_for 20 "the write is at the peer" knode_is 1 applied $((applied + 1))
ok "which has got nowhere" kill -0 "$zeroing"
dmsetup resume slow
ended=0
wait "$zeroing" "$writing" || ended=$?
is "$ended" 0 "both end"
ok "down" knode_down
dm_remove slow
done_testing
