#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=512 timeout=300 disks=24M,24M
#
# A secondary whose copy counts no more, or whose region log cannot be written, says so durably, wherever it still can.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

klog_allow 'Buffer I/O error|I/O error, dev|lost async page write'
CONSISTENT=1 FAILED=4
consistent() { echo $(($(knode_get 1 sb_flags) & CONSISTENT)); }
failed() { [ $(($(knode_get 1 flags) & FAILED)) != 0 ]; }
write() { dd if=/dev/urandom of=/dev/repl0 bs=4k count=1 seek="$1" oflag=direct conv=notrunc status=none; }
all_dirty() { is "$(knode_get 1 slot0.dirty)" $(($(knode_get 1 size) / 4096)) "all of it is in doubt"; }

END=$(dev_sectors /dev/vdb) BAD=$((5000 * 8)) LOG=$(($(dev_sectors /dev/vdb) - 24)) # sectors
SUPER=($((END - 8)) $((END - 16)))
second_fails() { # SECTOR... : these blocks of the second disk, in ascending order, can be neither written nor read
	local at=0 sector table=
	for sector in "$@" "$END"; do
		[ "$sector" = "$at" ] || table+="$at $((sector - at)) linear /dev/vdb $at"$'\n'
		[ "$sector" = "$END" ] || table+="$sector 8 error"$'\n'
		at=$((sector + 8))
	done
	dm_reload second "$table"
}
in_force() { # which of the superblocks counts
	local counts
	counts=$(fsck.repl --json /dev/mapper/second | grep -o '"counts": [a-z]*' || true)
	[[ $counts = *true*false* ]] && echo 0 || echo 1
}
rest_of() { # SECTOR : of a superblock, but for its first 512 bytes
	dd if=/dev/vdb bs=512 skip=$(($1 + 1)) count=7 iflag=direct status=none | sha_of_stdin
}
again() { # the second copy comes up as its disk has it
	ok "down" knode detach 1
	dm_heal second /dev/vdb
	ok "up again" run_quiet knode attach 1 v1 /dev/mapper/second
}
back() { # and is made whole
	knode_copy 0 1
	ok "it is live again" knode_join 0 1 crc
	is "$(consistent)" 1 "it counts again"
}

dm_linear first /dev/vda
dm_linear second /dev/vdb
knode_up /dev/mapper/first /dev/mapper/second
ok "joined" knode_pair

diag "where the older superblock is, nothing can be written"
now=$(in_force)
rest=$(rest_of "${SUPER[now]}")
second_fails "$BAD" "${SUPER[1 - now]}"
ok "the primary's write passes" write 5000
wait_for 20 "the link ends" knode_is 0 slot1.link 0
wait_for 20 "that copy is not trusted" eval '[ "$(consistent)" = 0 ]'
nap 0.5
not_ok "that it could not be recorded is not said" klog_has "that cannot be recorded"
ok "down" knode detach 1
is "$(rest_of "${SUPER[now]}")" "$rest" "of the other one nothing has changed but the first 512 bytes"
dm_heal second /dev/vdb
ok "up again" run_quiet knode attach 1 v1 /dev/mapper/second
is "$(consistent)" 0 "it is known after that"
all_dirty
not_ok "no promotion" run_quiet knode primary 1 peer-dead
back

diag "no superblock can be written, and then they can"
second_fails "$BAD" "${SUPER[1]}" "${SUPER[0]}"
ok "the primary's write passes" write 5000
wait_for 20 "the link ends" knode_is 0 slot1.link 0
wait_for 20 "that copy is not trusted" eval '[ "$(consistent)" = 0 ]'
wait_for 20 "it is said that this is not recorded" klog_has "that cannot be recorded"
dm_heal second /dev/vdb
again
is "$(consistent)" 0 "it is known after that"
back

diag "the region log cannot be written"
ok "a third node may lack what comes" knode slot 1 2 3
write 100
is "$(knode_get 1 log_writes)" 1 "it is logged"
second_fails "$LOG"
before=$(data_sha /dev/vdb 4096 $((3000 * 4096)))
ok "the primary's write passes" write 3000
wait_for 20 "the link ends" knode_is 0 slot1.link 0
is "$(knode_get 1 slot0.reason)" "the region log here cannot be written" "with the reason"
wait_for 20 "that copy is not trusted: the error may have been that of a lost cache" eval '[ "$(consistent)" = 0 ]'
ok "a device has failed" failed
ok "there is an event" klog_has "the region log on .* cannot be written"
all_dirty
not_ok "no promotion" run_quiet knode primary 1 peer-dead
wait_for 20 "nothing is left of the link" knode_is 1 slot0.link 0
is "$(data_sha /dev/vdb 4096 $((3000 * 4096)))" "$before" "what could not be logged was not written"
again
is "$(consistent)" 0 "it is known after that"
back
ok "a write" write 3000
ok "equal" knode_equal 0 1

diag "maps are saved, and a write fails before they are flushed"
written() { # sectors of the second disk so far, which a flush is not
	local stat
	read -ra stat <"/sys/block/$(dmsetup info -c --noheadings -o blkdevname second)/stat"
	echo "${stat[6]}"
}
log_is_empty() { nap 0.5 && [[ $(fsck.repl --json /dev/mapper/second) == *'"regions_logged": 0,'* ]]; }
wait_for 60 "nothing else is on its way" log_is_empty
modprobe dm-delay
# A flush takes four seconds.
dm_reload second "0 $BAD delay /dev/vdb 0 0 /dev/vdb 0 0 /dev/vdb 0 4000
$BAD 8 error
$((BAD + 8)) $((END - BAD - 8)) linear /dev/vdb $((BAD + 8))"
before=$(written)
knode mark 1 4 5 1 >/run/words 2>&1 &
mark=$!
wait_for 20 "a map is written" eval "[ \$(written) -gt $before ]"
ok "the primary's write passes" write 5000
ended=0
wait $mark || ended=$?
is "$ended" 1 "whoever has failed may have been told of the map, too"
like "$(cat /run/words)" "maps cannot be written" "in words"
wait_for 30 "that copy is not trusted" eval '[ "$(consistent)" = 0 ]'
dm_heal second /dev/vdb
ok "another time it is good" knode mark 1 4 5 1
again
back

ok "down" knode_down
dm_remove first
dm_remove second
done_testing
