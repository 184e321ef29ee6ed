#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=768 timeout=900 disks=64M,64M,64M with=fio once=6.1
#
# Three copies, and the primary is lost: what the two others may differ in is little, and it is enough. So it is
# when one of these has lost its power in the same moment. A disk that takes no write any more stands for a power cut.
# --env SEED=N repeats a run, --env ROUNDS=N makes more of it.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

SEED=${SEED:-$RANDOM}
RANDOM=$SEED
diag "seed $SEED"
REGION=256 # blocks
ZONE=8     # regions that one load writes to
klog_allow 'Buffer I/O error|I/O error, dev|lost async page write|reset'

DISK=(/dev/vda /dev/vdb /dev/vdc)
crash() { # MINOR... : machines lose their power, as far as their disks and their peers can tell
	local minor
	# All at one instant: with a live peer the primary would go on without its disk.
	for minor in "$@"; do run_quiet dmsetup suspend --nolockfs "disk$minor"; done
	for ((minor = 1; minor < ${#KNODE_DEV[@]}; minor++)); do
		[[ " $* " = *" $minor "* ]] || run_quiet knode leave "$minor" 0
	done
	for minor in "$@"; do dm_break "disk$minor"; done
	for minor in "$@"; do run_quiet knode detach "$minor" force; done
}
return_from_crash() { # MINOR
	dm_heal "disk$1" "${DISK[$1]}"
	run_quiet knode attach "$1" "v$1" "/dev/mapper/disk$1"
}
write() { # MINOR BLOCK [COUNT]
	dd if=/dev/urandom of="/dev/repl$1" bs=4k count="${3:-1}" seek="$2" oflag=direct conv=notrunc status=none
}
dirty() { knode_get "$1" "slot$2.dirty"; } # MINOR OF_MINOR
doubts() { echo $(($(dirty "$1" "$2") + $(dirty "$2" "$1"))); }
settled() { [ "$(doubts "$1" "$2")" = 0 ]; }
links_are_gone() { knode_is "$1" slot0.link 0 && knode_is "$2" slot0.link 0; }

for minor in 0 1 2; do dm_linear "disk$minor" "${DISK[minor]}"; done
knode_up /dev/mapper/disk0 /dev/mapper/disk1 /dev/mapper/disk2
BLOCKS=$(($(knode_get 0 size) / 4096))
knode_slots 0 1 2
ok "0 is primary" knode primary 0 force
ok "1 is made equal to it, and joined" eval 'knode_copy 0 1 && knode_join 0 1 crc'
ok "2 likewise" eval 'knode_copy 0 2 && knode_join 0 2 crc'
is "$(dirty 1 2)" "$BLOCKS" "1 knows nothing of 2 at first"

diag "what both have in common, the primary tells"
write 0 5000
ok "1 and 2 learn that they are equal" wait_for 60 "they are told" settled 1 2
for block in 100 5000 5001 9000; do write 0 "$block"; done
is "$(dirty 1 2) $(dirty 2 1)" "4 4" "what was written lately they do not know of each other"
ok "until they are told" wait_for 60 "they are told" settled 1 2

diag "a third copy that is away misses what is written, and keeps missing it"
run_quiet knode leave 0 2
wait_for 20 "the gate opens" knode_is 0 gate 0
write 0 300 10
ok "and again written, it is missed once" write 0 300 10
sleep 16 # three cleanings, none of which may name it
is "$(dirty 1 2)" 10 "1 remembers that 2 misses ten blocks"
knode_catch_up 0 2
ok "2 is back" knode_join 0 2 crc
ok "and 1 learns of it" wait_for 60 "1 is told" settled 1 2
ok "all are equal" eval 'knode_equal 0 1 && knode_equal 0 2'

load() { # ROUND
	fio --name=load --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bsrange=4k-32k \
		--randseed=$((SEED + $1)) --offset=$((1 + ($1 - 1) % 6 * ZONE))m --size=${ZONE}m --rate_iops=40 --fdatasync=50 \
		--runtime=120 --time_based --allow_file_create=0 >/dev/null 2>&1 &
	load=$!
	wait_for 20 "writes arrive" eval '[ "$(dirty 1 2)" != 0 ]'
	sleep "$((1 + RANDOM % 9)).$((RANDOM % 10))" # not for a condition: a crash may come at any time
}

round() { # ROUND LEADER FOLLOWER CRASHED... : who is left, the first of them becomes primary
	local round=$1 lead=$2 follow=$3 found
	shift 3
	load "$round"
	crash "$@"
	wait "$load" || true
	[ $# = 1 ] || return_from_crash "$2"
	wait_for 20 "the survivors have lost their links" links_are_gone 1 2
	found=$(doubts 1 2)
	diag "round $round: $found of $BLOCKS blocks in doubt"
	# Of what a crash has left in its log, whole regions; the zone's ends may lie in the middle of two.
	ok "round $round: only what was written lately is in doubt" [ "$found" -le $((2 * (ZONE + 1) * REGION)) ]
	ok "round $round: $lead becomes primary" knode primary "$lead" peer-dead
	dd if=/dev/urandom of="/dev/repl$lead" bs=4k count=5 seek=$((RANDOM % 10000)) oflag=direct conv=notrunc status=none
	knode_catch_up "$lead" "$follow"
	ok "round $round: that is enough to make the survivors equal" knode_equal "$lead" "$follow"
	ok "round $round: $follow is live with $lead" knode_join "$lead" "$follow" crc
	dd if=/dev/urandom of="/dev/repl$lead" bs=4k count=5 seek=$((RANDOM % 10000)) oflag=direct conv=notrunc status=none
	return_from_crash 0
	ok "round $round: little is in doubt of the lost one" [ "$(doubts "$lead" 0)" -le $((3 * (ZONE + 1) * REGION)) ]
	knode_catch_up "$lead" 0
	ok "round $round: 0 is back" knode_join "$lead" 0 crc
	ok "round $round: 0 and $follow know of each other" wait_for 60 "they are told" settled 0 "$follow"
	ok "round $round: all are equal" eval 'knode_equal 0 1 && knode_equal 0 2'
	ok "round $round: the role goes back" eval "knode secondary $lead && knode primary 0"
	knode_catch_up 0 "$follow"
	ok "round $round: $follow is live with 0" knode_join 0 "$follow" crc
	ok "round $round: the two others know of each other" wait_for 60 "they are told" settled 1 2
}

# Who is left to lead alternates, in the rounds of one run and from run to run.
n=0 turn=$((RANDOM % 2))
take_turns() { # HOW : alone, or with the follower's power lost, too
	local lead=$((1 + (n + turn) % 2))
	n=$((n + 1))
	if [ "$1" = alone ]; then
		round "$n" "$lead" $((3 - lead)) 0
	else
		round "$n" "$lead" $((3 - lead)) 0 $((3 - lead))
	fi
}
for ((rounds = 0; rounds < ${ROUNDS:-1}; rounds++)); do
	diag "the primary is lost in the middle of writing"
	take_turns alone
	diag "the primary and a peer are lost together"
	take_turns both
done

diag "a peer cannot write its log"
bytes=$(knode_get 1 size)
dm_reload disk1 "0 $((bytes / 512)) linear ${DISK[1]} 0
$((bytes / 512)) $(($(dev_sectors "${DISK[1]}") - bytes / 512)) error"
before=$(data_sha "${DISK[1]}" 4096 $((16000 * 4096)))
ok "a write to a region that is not in it is complete without that peer" write 0 16000
wait_for 20 "the gate opens" knode_is 0 gate 0
is "$(knode_get 0 slot1.link) $(knode_get 0 slot2.link)" "0 1" "which is live no more, while the other one is"
is "$(knode_get 1 slot0.reason)" "the region log here cannot be written" "and says why"
wait_for 20 "nothing is left of the link" knode_is 1 slot0.link 0
is "$(data_sha "${DISK[1]}" 4096 $((16000 * 4096)))" "$before" "it has not written what it could not log"
isnt "$(data_sha "${DISK[2]}" 4096 $((16000 * 4096)))" "$before" "as the other one has"
dm_heal disk1 "${DISK[1]}"
knode_catch_up 0 1
ok "with its disk mended it is back" knode_join 0 1 crc
write 0 16000
ok "all are equal" eval 'knode_equal 0 1 && knode_equal 0 2'

ok "down" knode_down
for minor in 0 1 2; do dm_remove "disk$minor"; done

diag "four copies: what the others have is told of three"
brd_load 4 24
DISK=(/dev/ram0 /dev/ram1 /dev/ram2 /dev/ram3)
for minor in 0 1 2 3; do dm_linear "disk$minor" "${DISK[minor]}"; done
knode_up /dev/mapper/disk0 /dev/mapper/disk1 /dev/mapper/disk2 /dev/mapper/disk3
knode_slots 0 1 2 3
run_quiet knode primary 0 force
for minor in 1 2 3; do ok "$minor joins" eval 'knode_copy 0 $minor && knode_join 0 $minor crc'; done
all_settled() { settled 1 2 && settled 1 3 && settled 2 3; }
ok "each of three learns that it is equal to both others" wait_for 60 "they are told" all_settled
write 0 100 10
is "$(dirty 1 2) $(dirty 1 3) $(dirty 2 1) $(dirty 2 3) $(dirty 3 1) $(dirty 3 2)" "10 10 10 10 10 10" \
	"what was written lately none knows of any other"
crash 0
for minor in 1 2 3; do wait_for 20 "$minor has lost its link" knode_is "$minor" slot0.link 0; done
ok "1 becomes primary" knode primary 1 peer-dead
for minor in 2 3; do
	knode_catch_up 1 "$minor"
	ok "what was in doubt makes $minor equal to it" knode_equal 1 "$minor"
	ok "$minor is live with it" knode_join 1 "$minor" crc
done
write 1 200
ok "all three are equal" eval 'knode_equal 1 2 && knode_equal 1 3'
ok "down" eval 'for minor in 1 2 3; do knode detach $minor; done'
done_testing
