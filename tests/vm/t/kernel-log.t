#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=768 timeout=600 disks=256M,256M with=fio
#
# The region log: after an unclean stop what was written lately is in doubt, and nothing else; and what is in doubt
# is enough to make the copies equal. A stop is made unclean by a disk that takes no write any more.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

SEED=${SEED:-$RANDOM}
RANDOM=$SEED
diag "seed $SEED"
REGION=256 # blocks
klog_allow 'Buffer I/O error|I/O error, dev|lost async page write|reset'

crash() { # the machine of copy 0 loses its power, as far as its disk can tell
	dm_break first
	run_quiet knode detach 0 force
	dm_heal first /dev/vda
	run_quiet knode attach 0 v0 /dev/mapper/first
}
write() { dd if=/dev/urandom of=/dev/repl0 bs=4k count="${2:-1}" seek="$1" oflag=direct conv=notrunc status=none; }
dirty() { knode_get 0 slot1.dirty; }
log_is_empty() { nap 0.5 && [[ $(fsck.repl --json /dev/mapper/first) == *'"regions_logged": 0,'* ]]; }

dm_linear first /dev/vda
knode_up /dev/mapper/first /dev/vdb
ok "joined" knode_pair

# A third node, which is away all the time; to step down and up again makes its map count on disk.
run_quiet knode slot 0 2 3
run_quiet knode settle 0 2
run_quiet knode secondary 0
run_quiet knode primary 0

diag "what was written lately"
for block in 100 5000 5100 20000; do write "$block"; done
is "$(knode_get 0 log_waits)" 3 "three regions had to be logged for four writes"
crash
is "$(dirty)" $((3 * REGION)) "their blocks are in doubt after a crash, and no others"
is "$(knode_get 0 slot2.dirty)" $((3 * REGION)) "for the node that was away, too"
ok "primary again, for its peer has stayed behind" knode primary 0 peer-dead
knode_catch_up 0 1
ok "joined" knode_join 0 1 crc

diag "what is on stable media everywhere is in no doubt"
write 100
wait_for 60 "the log is empty after a while" log_is_empty
crash
is "$(dirty)" 0 "no block is in doubt"
ok "primary, joined" eval 'knode primary 0 peer-dead && knode_join 0 1 crc'

diag "without the peer: its bits survive, too"
run_quiet knode leave 0 1
wait_for 20 "the gate opens" knode_is 0 gate 0
write 300 10
wait_for 60 "the log is empty after a while" log_is_empty
is "$(dirty)" 10 "ten blocks are dirty"
crash
is "$(dirty)" 10 "and after a crash still these ten"
ok "primary" knode primary 0 peer-dead
write 300 10
crash
is "$(dirty)" "$REGION" "written again, their region is in doubt"
ok "primary" knode primary 0 peer-dead
knode_catch_up 0 1
ok "joined" knode_join 0 1 crc
ok "equal" knode_equal 0 1

diag "what is logged, and what of the maps is written"
metadata() { # sectors of the first disk so far, while nobody writes
	local stat
	read -ra stat <"/sys/block/$(dmsetup info -c --noheadings -o blkdevname first)/stat"
	echo "${stat[6]}"
}
wait_for 60 "the log is empty after a while" log_is_empty
waits=$(knode_get 0 log_waits) writes=$(knode_get 0 log_writes)
run_quiet fio --name=cold --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=32 --rw=write:1020k --bs=4k \
	--size=192m --io_size=512k --allow_file_create=0
waits=$(($(knode_get 0 log_waits) - waits)) writes=$(($(knode_get 0 log_writes) - writes))
is "$waits" 128 "as many regions are logged as are written to for the first time"
ok "many with one write of the log ($writes writes)" [ "$writes" -le $((waits / 2)) ]
wait_for 60 "the log is empty after a while" log_is_empty
before=$(metadata)
ok "one block is marked" knode mark 0 4 5 1
is $(($(metadata) - before)) 8 "one page of one map is written, and nothing else"

diag "crashes in the middle of writing, while regions come and go"
for round in 1 2; do
	fio --name=load --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bsrange=4k-64k \
		--randseed=$((SEED + round)) --random_distribution=zoned:60/10:40/90 --size=200m --rate_iops=60 --fdatasync=50 \
		--runtime=60 --time_based --allow_file_create=0 >/dev/null 2>&1 &
	load=$!
	wait_for 20 "the log is used" eval '[ "$(knode_get 0 log_writes)" -gt 1 ]'
	sleep "$((6 + RANDOM % 9)).$((RANDOM % 10))" # not for a condition: a crash may come at any time
	# Disk and link at one instant: with a live peer it would go on without its disk.
	dmsetup suspend --nolockfs first
	run_quiet knode leave 1 0
	dm_break first
	wait "$load" || true
	crash
	ok "round $round: the other becomes primary" knode primary 1 peer-dead
	dd if=/dev/urandom of=/dev/repl1 bs=4k count=20 seek=$((RANDOM)) oflag=direct conv=notrunc status=none
	doubts=$(dirty)
	ok "round $round: little is in doubt ($doubts of 65000 blocks)" [ "$doubts" -lt 60000 ]
	knode_catch_up 1 0
	ok "round $round: and it is enough to make them equal" knode_equal 0 1
	ok "round $round: joined" knode_join 1 0 crc
	ok "round $round: the role goes back" eval 'knode secondary 1 && knode primary 0'
done

diag "an orderly stop leaves nothing in doubt"
write 9000
ok "down" knode_down
ok "the log is empty" log_is_empty
ok "up" run_quiet knode attach 0 v0 /dev/mapper/first
is "$(dirty)" 0 "nothing is dirty"
ok "down" run_quiet knode detach 0
dm_remove first
done_testing
