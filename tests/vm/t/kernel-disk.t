#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.12 mem=768 timeout=500 disks=64M,64M,64M with=fio
#
# A disk that fails while a peer is live: the primary goes on without it, reads are repaired, and a copy that missed
# something is never trusted.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

CONSISTENT=1 FAILED=4 FAILING=16 DISKLESS=32 GATE_CLOSED=34
flag() { [ $(($(knode_get "$1" flags) & $2)) != 0 ]; } # MINOR BIT
no_flag() { ! flag "$@"; }
consistent() { [ $(($(knode_get "$1" sb_flags) & CONSISTENT)) != 0 ]; }
gate_open() { [ $(($(knode_get "$1" gate) & GATE_CLOSED)) = 0 ]; }
write() { dd if=/dev/urandom of="/dev/repl$1" bs=4k count=1 seek="$2" oflag=direct conv=notrunc status=none "${@:3}"; }
sha() { data_sha "$1" $((32 << 20)); }
load() { # MODE SECONDS : overlapping, flushed, verified, also at the end
	fio --name=load --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=16 --rw="$1" --bsrange=4k-128k \
		--size=32m --runtime="$2" --time_based --norandommap --fdatasync=40 --allow_file_create=0 --verify=crc32c \
		--verify_backlog=100 >/tmp/load.log 2>&1
}
klog_allow 'Buffer I/O error|I/O error, dev|lost async page write'

diag "the primary's disk fails under load, all of it"
dm_linear first /dev/vda
dm_linear second /dev/vdb
knode_up /dev/mapper/first /dev/mapper/second
ok "two copies joined" knode_pair
before=$(knode_get 0 generation)
load randwrite 12 &
pid=$!
wait_for 30 "writes have arrived" eval '[ "$(knode_get 1 applied)" -gt 50 ]'
dm_break first
status=0
wait "$pid" || status=$?
[ "$status" = 0 ] || sed 's/^/# /' /tmp/load.log
is "$status" 0 "the load has seen no error"
ok "the volume goes on without its disk" flag 0 $DISKLESS
ok "and does not fail" no_flag 0 $FAILING
ok "its gate is open" gate_open 0
is "$(knode_get 0 slot1.link)" 1 "the peer is live"
ok "reads came over the link" eval '[ "$(knode_get 0 remote_reads)" -gt 0 ]'
isnt "$(knode_get 0 generation)" "$before" "a new generation has begun"
is "$(knode_get 1 generation)" "$(knode_get 0 generation)" "on the peer, too"
ok "a write" write 0 3
ok "a flush" run_quiet dd if=/dev/zero of=/dev/repl0 bs=4k count=1 conv=notrunc,fsync
ok "zeroes" run_quiet blkdiscard -z -o 1M -l 4M /dev/repl0
acknowledged=$(sha /dev/repl0)
is "$(sha /dev/mapper/second)" "$acknowledged" "what is read is what the peer has"
not_ok "nothing is copied from a disk that is gone" knode cut 0 1

diag "then the peer goes, too"
run_quiet knode leave 1 0
wait_for 20 "the volume fails" flag 0 $FAILING
not_ok "a write is an error" write 0 5
not_ok "a read is an error" dd if=/dev/repl0 of=/dev/null bs=4k count=1 iflag=direct status=none
ok "demoted by force" knode secondary 0 force
not_ok "it is not promoted again, by nobody" knode primary 0 force
ok "the peer takes over" knode primary 1 peer-dead
is "$(sha /dev/repl1)" "$acknowledged" "with all that was acknowledged"
ok "down" knode detach 0
dm_heal first /dev/vda
ok "the healed disk is attached again" knode attach 0 v0 /dev/mapper/first
# Nothing could be written there: what it says is old, and that is what makes it lose.
isnt "$(knode_get 0 generation)" "$(knode_get 1 generation)" "its generation is an old one"
knode_copy 1 0
ok "it follows" knode_join 1 0 crc
ok "equal" knode_equal 0 1
ok "the role goes back" eval 'knode secondary 1 && knode primary 0'

diag "only its data fail: the copy says itself that it is none"
before=$(knode_get 0 generation)
# On the peer's disk only what lies behind the data takes long.
slow=$(($(knode_get 1 size) / 512))
modprobe dm-delay
dm_reload second "0 $slow linear /dev/vdb 0
$slow $(($(dev_sectors /dev/vdb) - slow)) delay /dev/vdb $slow 0 /dev/vdb $slow 3000 /dev/vdb $slow 0"
dm_reload first "0 98304 error
98304 $(($(dev_sectors /dev/vda) - 98304)) linear /dev/vda 98304"
start=$(now_ms)
ok "a write passes" write 0 7
ms=$(($(now_ms) - start))
isnt "$(knode_get 1 generation)" "$before" "the peer has a new generation by then"
ok "durably ($ms ms)" [ "$ms" -ge 3000 ]
dm_heal second /dev/vdb
ok "without the disk" flag 0 $DISKLESS
ok "an orderly demotion" knode secondary 0
ok "the peer becomes primary over the link" knode primary 1
ok "and writes" write 1 8
wait_for 20 "which the other answers as failed" knode_is 1 slot0.link 0
ok "down" knode detach 0
dm_heal first /dev/vda
ok "up again" knode attach 0 v0 /dev/mapper/first
not_ok "the copy is not consistent" consistent 0
is "$(knode_get 0 slot1.dirty)" $(($(knode_get 0 size) / 4096)) "all of it is in doubt"
not_ok "nor promoted" knode primary 0 peer-dead
knode_copy 1 0
ok "it follows" knode_join 1 0 crc
ok "it is consistent again" consistent 0

diag "the secondary's disk fails"
dm_break first
ok "the primary's write passes" write 1 9
wait_for 20 "the link ends" knode_is 1 slot0.link 0
is "$(knode_get 1 slot0.reason)" "the peer's backing device has failed a write" "with the reason"
ok "the secondary says so" flag 0 $FAILED
wait_for 10 "its copy is not trusted" eval '! consistent 0'
not_ok "it is not promoted when the primary dies" knode primary 0 peer-dead
dm_heal first /dev/vda
knode_copy 1 0
ok "it catches up" knode_join 1 0 crc
ok "and is trusted again" consistent 0
ok "no disk has failed" no_flag 0 $FAILED

diag "the secondary's disk fails one sector of a large write"
dm_reload first "0 33792 linear /dev/vda 0
33792 8 error
33800 $(($(dev_sectors /dev/vda) - 33800)) linear /dev/vda 33800"
ok "the primary's write passes" dd if=/dev/urandom of=/dev/repl1 bs=1M count=1 seek=16 oflag=direct conv=notrunc status=none
wait_for 20 "the link ends" knode_is 1 slot0.link 0
is "$(knode_get 1 slot0.reason)" "the peer's backing device has failed a write" "with the reason, though the rest was written"
cmp_ok "$(knode_get 1 slot0.dirty)" -ge 256 "all of that write is dirty"
wait_for 10 "that copy is not trusted" eval '! consistent 0'
dm_heal first /dev/vda
knode_copy 1 0
ok "it catches up once more" knode_join 1 0 crc

diag "both disks fail"
dm_break second
ok "the primary's goes first, and it goes on" write 1 10
ok "without a disk" flag 1 $DISKLESS
dm_break first
not_ok "then the other's, and the error goes up" write 1 11
ok "the volume fails" flag 1 $FAILING
ok "down" eval 'run_quiet knode detach 1 force; run_quiet knode detach 0 force; true'
dm_remove first
dm_remove second

diag "sectors that cannot be read are read from the peer, and written anew"
# A chunk of a snapshot reads as the device below until it is written: as a disk does that reallocates a bad sector.
pattern_put /dev/vda sectors $((32 << 20))
dm_linear first /dev/vda
dm_create sectors "0 $(dev_sectors /dev/vda) snapshot /dev/mapper/first /dev/vdc N 8"
knode_up /dev/mapper/sectors /dev/vdb
ok "joined" knode_pair
dm_reload first "0 7176 linear /dev/vda 0
7176 8 error
7184 $(($(dev_sectors /dev/vda) - 7184)) linear /dev/vda 7184"
not_ok "the disk cannot read one of them" dd if=/dev/mapper/sectors of=/dev/null bs=4k count=1 skip=897 iflag=direct status=none
is "$(data_sha /dev/repl0 $((32 << 20)))" "$(pattern_sha sectors $((32 << 20)))" "the volume reads as it was written"
is "$(knode_get 0 read_repairs)" 1 "one read was repaired"
ok "both disks are equal again" knode_equal 0 1
ok "a disk that repairs itself is not given up" no_flag 0 $((DISKLESS | FAILED))
reads=$(knode_get 0 remote_reads)
is "$(data_sha /dev/repl0 $((32 << 20)))" "$(pattern_sha sectors $((32 << 20)))" "it reads well now"
is "$(knode_get 0 remote_reads)" "$reads" "without the peer"

diag "no sector can be read, under load"
dm_break first
ok "the load has seen no error" load randrw 8
ok "reads were repaired" eval '[ "$(knode_get 0 read_repairs)" -gt 10 ]'
ok "the disk is not given up" no_flag 0 $DISKLESS
# Reads what is left, and so repairs it.
shared=$(sha /dev/repl0)
is "$(sha /dev/mapper/sectors)" "$shared" "the disk can be read again"
is "$(sha /dev/vdb)" "$shared" "and is equal to the peer's"

diag "without a peer a read error is one"
pattern_put /dev/vda sectors $((1 << 20)) $((40 << 20))
run_quiet knode leave 0 1
wait_for 20 "the gate opens" knode_is 0 gate 0
not_ok "an error" dd if=/dev/repl0 of=/dev/null bs=64k count=16 skip=640 iflag=direct status=none
ok "down" knode_down
dm_remove sectors
dm_remove first
done_testing
