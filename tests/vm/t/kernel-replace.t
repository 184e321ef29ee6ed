#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=768 timeout=600 disks=64M,64M,64M,64M with=fio
#
# A primary whose disk has failed is given a new one under load: what is refused, what is on it at the end, and that it
# is no copy before.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

CONSISTENT=1 FAILED=4 FAILING=16 DISKLESS=32 REPLACING=64 GATE_CLOSED=98
flag() { [ $(($(knode_get "$1" flags) & $2)) != 0 ]; } # MINOR BIT
no_flag() { ! flag "$@"; }
consistent() { [ $(($(knode_get "$1" sb_flags) & CONSISTENT)) != 0 ]; }
gate_open() { [ $(($(knode_get "$1" gate) & GATE_CLOSED)) = 0 ]; }
write() { dd if=/dev/urandom of="/dev/repl$1" bs=4k count=1 seek="$2" oflag=direct conv=notrunc status=none "${@:3}"; }
refused() { # WORDS DEVICE [MINOR]
	not_ok "refused: $1" eval "knode replace ${3:-0} $2 2>/tmp/words"
	like "$(cat /tmp/words)" "$1" "in words"
}
fresh() { # DEVICE [ARG...] : a copy that never held anything, of the volume's size
	run_quiet mkfs.repl --force --name v0 --size "$size" "$@"
}
load_begin() { # MODE : overlapping, flushed, verified, until load_end
	fio --name=load --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=16 --rw="$1" --bsrange=4k-128k \
		--size=32m --runtime=600 --time_based --norandommap --fdatasync=40 --allow_file_create=0 --verify=crc32c \
		--verify_backlog=100 >/tmp/load.log 2>&1 &
	load=$!
}
load_end() {
	local status=0
	kill -INT "$load"
	wait "$load" || status=$?
	[ "$status" = 0 ] || [ "$status" = 128 ] || sed 's/^/# /' /tmp/load.log
	ok "the load has seen no error" [ "$status" = 0 -o "$status" = 128 ]
}
disk_equal() { # DEVICE : has what the peer has
	same "$1" /dev/mapper/second "$size"
}
klog_allow 'Buffer I/O error|I/O error, dev|lost async page write'

dm_linear first /dev/vda
dm_linear second /dev/vdb
knode_up /dev/mapper/first /dev/mapper/second
ok "two copies joined" knode_pair
size=$(knode_get 0 size)

diag "what is refused"
fresh /dev/vdc
refused "has not failed" /dev/vdc
refused "not primary" /dev/vdc 1
load_begin randwrite
wait_for 30 "writes have arrived" eval '[ "$(knode_get 1 applied)" -gt 50 ]'
dm_break first
wait_for 30 "the volume goes on without its disk" flag 0 $DISKLESS
wait_for 30 "its gate is open" gate_open 0
refused "is the one that has failed" /dev/mapper/first
refused "in use" /dev/vdb
refused "in use" /dev/mapper/second
refused "replicated volume itself" /dev/repl0
wipefs -qa /dev/vdc
dd if=/dev/zero of=/dev/vdc bs=1M status=none oflag=direct || true
refused "no superblock" /dev/vdc
run_quiet mkfs.repl --name other --size "$size" /dev/vdc
refused "holds volume 'other'" /dev/vdc
run_quiet mkfs.repl --force --name v0 --size 32M /dev/vdc
refused "was made for 33554432: mkfs.repl --size $size" /dev/vdc
fresh --slots 4 /dev/vdc
refused "mkfs.repl --slots 8 --block-size 4096 --region-size 1048576" /dev/vdc
run_quiet mkfs.repl --force --name v0 --adopt /dev/vdc
refused "holds a copy already" /dev/vdc
ok "nothing was begun" no_flag 0 $REPLACING

diag "a disk that is filled under load"
fresh /dev/vdc
generation=$(knode_get 0 generation)
ok "it begins" knode replace 0 /dev/vdc $((4 << 20))
ok "it is being filled" flag 0 $REPLACING
is "$(knode_get 0 backing)" vdc "it is the backing device"
is "$(cat /sys/block/repl0/queue/stable_writes)" 1 "pages still stay as they are while they are written"
refused "is being filled already" /dev/vdd
wait_for 60 "some of it is copied" eval '[ "$(knode_get 0 replaced)" -gt $((8 << 20)) ]'
ok "not all" eval '[ "$(knode_get 0 replaced)" -lt "$size" ]'
ok "the gate is open" gate_open 0
dd if=/dev/vdc of=/dev/vdd bs=1M iflag=direct oflag=direct conv=fsync status=none
like "$(fsck.repl /dev/vdc 2>&1 || true)" "generation *none" "on disk it is no copy yet"
wait_for 120 "it is full" no_flag 0 $REPLACING
ok "the volume has a disk again" no_flag 0 $((DISKLESS | FAILED | FAILING))
is "$(knode_get 0 slot1.link)" 1 "the peer is live"
is "$(knode_get 0 generation)" "$generation" "of the same generation"
sleep 2
load_end
reads=$(knode_get 0 remote_reads)
shared=$(data_sha /dev/repl0 "$size")
is "$(knode_get 0 remote_reads)" "$reads" "it is read here"
is "$(data_sha /dev/vdc "$size")" "$shared" "what is read is what it has"
ok "and what the peer has" disk_equal /dev/vdc
ok "writes are logged" eval 'write 0 3 && [ "$(knode_get 0 log_writes)" -gt 0 ]'

diag "it is a copy like any other"
ok "down" knode detach 0
ok "what was there in between, when the power had failed" knode attach 0 v0 /dev/vdd
not_ok "is no copy" consistent 0
not_ok "nor promoted" knode primary 0 peer-dead
ok "down" knode detach 0
ok "up" knode attach 0 v0 /dev/vdc
ok "consistent" consistent 0
is "$(knode_get 0 slot1.dirty)" 0 "it knows that the peer lacks nothing"
ok "they join without copying" knode_join 0 1 crc
ok "primary" knode primary 0
ok "the failed disk is free" run_quiet dmsetup remove first
ok "down again" eval 'knode secondary 0 && knode detach 0'
dm_linear third /dev/vdc
KNODE_DEV[0]=/dev/mapper/third
ok "up, where it can be made to fail" knode attach 0 v0 /dev/mapper/third
ok "joined" eval 'knode_join 0 1 crc && knode primary 0'

diag "the new disk fails while it is filled"
load_begin randrw
dm_break third
wait_for 30 "without a disk" eval 'flag 0 $DISKLESS && gate_open 0'
dm_linear fourth /dev/vda
fresh /dev/mapper/fourth
ok "it begins" knode replace 0 /dev/mapper/fourth $((2 << 20))
wait_for 60 "some of it is copied" eval '[ "$(knode_get 0 replaced)" -gt $((2 << 20)) ]'
dm_break fourth
wait_for 30 "it is given up" no_flag 0 $REPLACING
ok "the volume goes on" flag 0 $DISKLESS
ok "and does not fail" no_flag 0 $FAILING
ok "klog" klog_has "does not become the copy here"

diag "its superblock cannot be written"
sectors=$(dev_sectors /dev/vdd)
dm_create fifth "$(dm_linear_table /dev/vdd)"
fresh /dev/mapper/fifth
generation=$(knode_get 0 generation)
ok "it begins" knode replace 0 /dev/mapper/fifth
dm_reload fifth "0 $((sectors - 16)) linear /dev/vdd 0
$((sectors - 16)) 16 error"
wait_for 60 "it is given up" no_flag 0 $REPLACING
ok "the volume goes on" flag 0 $DISKLESS
wait_for 30 "the gate is open" gate_open 0
isnt "$(knode_get 0 generation)" "$generation" "it goes on in a new generation"
is "$(knode_get 1 generation)" "$(knode_get 0 generation)" "so does the peer"
ok "and does not fail" no_flag 0 $FAILING
load_end

diag "a write fails when all is copied, and before the disk counts"
modprobe dm-delay
dm_linear seventh /dev/vda
fresh /dev/mapper/seventh
dm_reload second "$(dm_delay_table /dev/vdb 0 0 6000)"
ok "it begins" knode replace 0 /dev/mapper/seventh
wait_for 60 "all is copied" knode_is 0 replaced "$size"
dm_reload seventh "0 114688 error
114688 $(($(dev_sectors /dev/vda) - 114688)) linear /dev/vda 114688"
ok "a write" write 0 3
wait_for 60 "it is given up" no_flag 0 $REPLACING
ok "the volume goes on without it" flag 0 $DISKLESS
dm_heal second /dev/vdb

diag "the role ends meanwhile"
dm_create sixth "$(dm_linear_table /dev/vdc)"
fresh /dev/mapper/sixth
ok "it begins" knode replace 0 /dev/mapper/sixth $((1 << 20))
ok "demoted" knode secondary 0
ok "nothing is filled any more" no_flag 0 $REPLACING
ok "down" knode detach 0
ok "up" knode attach 0 v0 /dev/mapper/sixth
not_ok "what was begun is no copy" consistent 0
KNODE_DEV[0]=/dev/mapper/sixth
knode_slots 0 1
knode_copy 1 0
ok "it catches up as any" eval 'knode_join 1 0 crc && knode primary 0'

diag "the last live peer goes meanwhile"
dm_break sixth
write 0 5
wait_for 30 "without a disk" eval 'flag 0 $DISKLESS && gate_open 0'
dm_heal fifth /dev/vdd
fresh /dev/mapper/fifth
ok "it begins" knode replace 0 /dev/mapper/fifth $((1 << 20))
run_quiet knode leave 1 0
wait_for 30 "the volume fails" flag 0 $FAILING
wait_for 30 "it is given up" no_flag 0 $REPLACING
refused "no live peer" /dev/vda
ok "down by force" eval 'run_quiet knode detach 0 force; ! knode get 0 >/dev/null 2>&1'
ok "the new disk is no copy" eval 'knode attach 0 v0 /dev/mapper/fifth && ! consistent 0'
ok "down" knode_down
for name in second third fourth fifth sixth seventh; do dm_remove "$name"; done
done_testing
