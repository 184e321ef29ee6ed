#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=512 timeout=200 disks=24M,24M
#
# A disk that loses its cache says so to one flush only, perhaps to one that the module made for reasons of its own: then
# no fsync may succeed that comes after it, and no copy count as whole that has lost what a peer believes to be there.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

klog_allow 'Buffer I/O error|I/O error, dev|lost async page write'
CONSISTENT=1 # as in sb_flags

# All is written and read as ever, but for one block that nobody uses: so a flush, which goes to all of the table, fails.
UNUSED=8000
lose_cache() { # NAME DEV
	modprobe -q dm-flakey
	dm_reload "$1" "0 $UNUSED linear $2 0
$UNUSED 8 flakey $2 $UNUSED 0 3600 1 error_writes
$((UNUSED + 8)) $(($(dev_sectors "$2") - UNUSED - 8)) linear $2 $((UNUSED + 8))"
}
consistent() { echo $(($(knode_get "$1" sb_flags) & CONSISTENT)); }
synced() { run_quiet dd if=/dev/urandom of=/dev/repl0 bs=4k count=1 seek=7 conv=notrunc,fsync; }
alone() { # a primary without a live peer
	knode_up /dev/mapper/first /dev/mapper/second
	run_quiet knode_slots 0 1 && run_quiet knode primary 0 force && synced
}
failed() { # WHAT : by a flush that was the module's own
	not_ok "$1 fails" eval "$2 >/tmp/words 2>&1"
	dm_heal first /dev/vda
	not_ok "and the fsync after it" synced
	ok "down" eval 'knode detach 0 force && knode detach 1'
}

for n in first:/dev/vda second:/dev/vdb; do dm_linear "${n%%:*}" "${n#*:}"; done

diag "a primary without a live peer"
ok "up" alone
lose_cache first /dev/vda
ok "(no write fails)" run_quiet dd if=/dev/urandom of=/dev/repl0 bs=4k count=1 seek=9 oflag=direct conv=notrunc
failed "the end of an epoch" 'knode epoch 0'
ok "up" alone
lose_cache first /dev/vda
failed "a demotion" 'knode secondary 0'
ok "up" alone
lose_cache first /dev/vda
failed "a mark" 'knode mark 0 2 5 1'

diag "a primary with a live peer goes on from that"
knode_up /dev/mapper/first /dev/mapper/second
ok "joined" knode_pair
lose_cache first /dev/vda
not_ok "a mark fails" knode mark 0 4 5 1
dm_heal first /dev/vda
ok "an fsync is good: the peer has all" synced
ok "down" eval 'knode detach 0 force && knode detach 1'

diag "a secondary that nobody is live with is as after a power cut"
ok "up" alone
ok "secondary" knode secondary 0
mkfifo /run/go
knode cut 0 1 later </run/go >/run/words 2>&1 & cut=$!
exec 5>/run/go
wait_for 10 "somebody to compare it with a peer's" grep -q open /run/words
lose_cache first /dev/vda
not_ok "a mark fails" knode mark 0 2 5 1
dm_heal first /dev/vda
exec 5>&-
committed=0
wait $cut || committed=$?
is "$committed" 1 "what was found equal before does not count"
like "$(cat /run/words)" "commit" "it is the commit that is refused"
is "$(knode_get 0 slot1.dirty)" $(($(knode_get 0 size) / 4096)) "all of it is in doubt"
is "$(consistent 0)" 1 "it counts: it may be the newest copy"
ok "it can be primary again" knode primary 0 peer-dead
ok "down" eval 'knode detach 0 force && knode detach 1'

diag "a secondary that is live"
knode_up /dev/mapper/first /dev/mapper/second
ok "joined" knode_pair
is "$(consistent 1)" 1 "it counts"
ok "written" synced
lose_cache second /dev/vdb
not_ok "a mark there fails" knode mark 1 4 5 1
dm_heal second /dev/vdb
wait_for 10 "its link to end" knode_is 0 slot1.link 0
wait_for 10 "the doubt to be recorded" eval '[ "$(consistent 1)" = 0 ]'
is "$(knode_get 1 slot0.dirty)" $(($(knode_get 1 size) / 4096)) "all of it is in doubt"
not_ok "no promotion" eval 'knode primary 1 >/tmp/words 2>&1'
like "$(cat /tmp/words)" "not consistent" "in words"

ok "down" knode detach 1 force
ok "up again" run_quiet knode attach 1 v1 /dev/mapper/second
is "$(consistent 1)-$(knode_get 1 slot0.dirty)" "0-$(($(knode_get 1 size) / 4096))" "it is known after that, too"

diag "and that catches up"
ok "it follows" run_quiet knode follow 1 0 0
lose_cache second /dev/vdb
not_ok "a mark there fails: something of what was brought is lost" knode mark 1 4 5 1
dm_heal second /dev/vdb
ok "what comes after is good" run_quiet knode mark 1 4 5 1
not_ok "but it has not become equal" eval 'knode commit 1 0 0 >/tmp/words 2>&1'
like "$(cat /tmp/words)" "has failed a write or a flush: catch up again" "in words"
diag "and that is about to join"
ok "it follows from the beginning" run_quiet knode follow 1 0 0
knode_copy 0 1
ok "it becomes equal" run_quiet knode commit 1 0 0
ok "it is to be overwritten again" run_quiet knode follow 1 0 0
lose_cache second /dev/vdb
not_ok "a mark there fails" knode mark 1 4 5 1
dm_heal second /dev/vdb
run_quiet knode settle 1 0
not_ok "it does not join" eval 'knode_join 0 1 crc >/tmp/words 2>&1'
like "$(cat /tmp/words)" "has failed a write or a flush: catch up again" "in words"
wait_for 20 "the leader's end to be gone" knode_is 0 slot1.link 0
ok "it follows from the beginning" run_quiet knode follow 1 0 0
knode_copy 0 1
ok "and joins" knode_join 0 1 crc
is "$(consistent 1)" 1 "it counts again"

ok "down" eval 'knode detach 0 force && knode detach 1'
dm_remove first
dm_remove second
done_testing
