#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=512 timeout=240 disks=48M,48M
#
# A flush is answered only by the peer's own flush, a FUA write only when the peer has it on stable media: the peer's
# backing device has a write cache and takes long for each flush. And then the caches are lost with the power.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

DELAY=2500
# The device below must have a write cache, or the delay never sees a flush.
is "$(cat /sys/block/vdb/queue/write_cache)" "write back" "the peer's disk has a write cache"
dm_delay slow /dev/vdb 0 0 0
knode_up /dev/vda /dev/mapper/slow
ok "joined" knode_pair
dm_reload slow "$(dm_delay_table /dev/vdb 0 0 $DELAY)"

took() { # COMMAND... : milliseconds
	local start
	start=$(now_ms)
	run_quiet "$@"
	echo $(($(now_ms) - start))
}
write() { dd if=/dev/urandom of=/dev/repl0 bs=4k count=1 seek="$1" oflag=direct conv=notrunc "${@:2}"; }

ms=$(took write 1)
ok "a plain write does not wait for the flush ($ms ms)" [ "$ms" -lt $DELAY ]
ms=$(took write 2 conv=notrunc,fdatasync)
ok "write and fdatasync wait for the peer's flush ($ms ms)" [ "$ms" -ge $DELAY ]
ms=$(took write 3 oflag=direct,dsync)
ok "so does a write with dsync, which brings a flush of its own ($ms ms)" [ "$ms" -ge $DELAY ]
wait_for 20 "the periodic flush empties the set" knode_is 0 slot1.unflushed 0
run_quiet write 5
flushes=$(knode_get 0 flushes)
sync /dev/repl0 &
flush=$!
wait_for 20 "a flush is under way" eval "[ \$(knode_get 0 flushes) -gt $flushes ]"
run_quiet write 300
wait $flush
is "$(knode_get 0 slot1.unflushed)" $((1 << 20)) "it is good for what was answered before it, not for a write of another region after"
wait_for 20 "the periodic flush empties the set" knode_is 0 slot1.unflushed 0
run_quiet write 4
isnt "$(knode_get 0 slot1.unflushed)" 0 "an answered write is remembered as unflushed"
run_quiet knode leave 1 0
wait_for 10 "the link's end" knode_is 0 slot1.link 0
is "$(knode_get 0 slot1.dirty)" 256 "what was not flushed is dirty: one region of 1 MiB"
wait_for 10 "the gate opens again" knode_is 0 gate 0
ok "down" knode_down
dm_remove slow

diag "a FUA write and nothing after it: with O_DSYNC, over a block that a file has already"
brd_load 3 8
modprobe dm-log-writes
dm_linear peer /dev/ram1
knode_up /dev/ram0 /dev/mapper/peer
ok "joined" knode_pair
run_quiet mkfs.ext4 -q -F -O ^has_journal /dev/repl0
mount /dev/repl0 /mnt
dd if=/dev/urandom of=/mnt/file bs=4k count=5 conv=fsync status=none
sync
wait_for 20 "the periodic flush empties the set" knode_is 0 slot1.unflushed 0
dm_reload peer "0 $(dev_sectors /dev/ram1) log-writes /dev/ram1 /dev/ram2"
flushes=$(knode_get 0 flushes)
for block in 0 1 2 3 4; do
	dd if=/dev/urandom of=/mnt/file bs=4k count=1 seek=$block oflag=direct,dsync conv=notrunc status=none
done
is "$(knode_get 0 flushes)" $((flushes + 5)) "five of them, and no flush"
is "$(knode_get 0 slot1.unflushed)" 0 "the peer has flushed them: none is remembered as unflushed"
dm_heal peer /dev/ram1
is "$(logreplay /dev/ram2)" 5 "on the peer's disk each is a FUA write"
umount /mnt
ok "down" knode_down
dm_remove peer

# dm-log-writes has a write in its log when a flush was done that came later, or at once with FUA: so the log is what a
# disk has on stable media, and nothing else.
diag "power cuts just after an acknowledgement"
brd_load 6 8
for i in 0 1; do dm_linear "disk$i" "/dev/ram$i"; done
knode_up /dev/mapper/disk0 /dev/mapper/disk1
ok "joined" knode_pair
for i in 0 1; do
	dm_reload "disk$i" "0 $(dev_sectors "/dev/ram$i") log-writes /dev/ram$i /dev/ram$((i + 2))"
	dd if="/dev/ram$i" of="/dev/ram$((i + 4))" bs=1M iflag=direct oflag=direct status=none
done
stable() { dmsetup status "disk$1" | awk '{ print $4 }'; } # NODE : entries of its log
rests() { # NODE : whatever has been done is in the log
	local before
	before=$(stable "$1")
	sleep 0.2
	[ "$(stable "$1")" = "$before" ]
}
pattern_put /dev/repl0 synced 65536 $((1 << 20)) # with fsync
# The module itself flushes every few seconds. A cut counts when it has not: when it still remembers the write later.
tries=0
loose_and_cut() {
	tries=$((tries + 1))
	pattern "loose $tries" 65536 | dd of=/dev/repl0 bs=64k iflag=fullblock oflag=direct seek=32 conv=notrunc status=none
	for i in 0 1; do
		wait_for 20 "the log of disk $i" rests "$i"
		cut[i]=$(stable "$i")
	done
	sleep 0.3
	[ "$(knode_get 0 slot1.unflushed)" != 0 ]
}
wait_for 60 "a moment without a flush" loose_and_cut
for i in 1 0; do run_quiet knode detach "$i" force; done
for i in 0 1; do
	dm_remove "disk$i"
	run_quiet logreplay "/dev/ram$((i + 2))" "/dev/ram$((i + 4))" "${cut[i]}"
	run_quiet knode attach "$i" "v$i" "/dev/ram$((i + 4))"
done
ok "the primary is lost, the secondary's cache as well: it takes over" knode primary 1 peer-dead
is "$(data_sha /dev/repl1 65536 $((1 << 20)))" "$(pattern_sha synced 65536)" "with what was synced"
isnt "$(data_sha /dev/repl1 65536 $((2 << 20)))" "$(pattern_sha "loose $tries" 65536)" "what nobody has flushed is lost: the cut was one"
ok "both have lost their power, and the former primary comes back alone" knode primary 0 peer-dead
is "$(data_sha /dev/repl0 65536 $((1 << 20)))" "$(pattern_sha synced 65536)" "with what was synced"
ok "down" knode_down
done_testing
