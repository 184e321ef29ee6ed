#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=768 timeout=300 disks=96M,96M with=fio once=6.12
#
# A mounted volume grows on both nodes while it is written to; what stands in the way is said in words.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

klog_allow 'EXT4-fs'
table() { echo "0 $(($1 << 11)) linear /dev/vd$2 0"; } # MIB DISK
grow_device() { dm_reload "dev$1" "$(table "$2" "$1")"; }
refused() { # NODE WORDS [ARG...]
	local node=$1 words=$2
	shift 2
	not_ok "refused: $words" eval "ctl $node resize spool $* 2>/tmp/words"
	like "$(cat /tmp/words)" "$words" "in words"
}

dm_create deva "$(table 32 a)"
dm_create devb "$(table 32 b)"
repl_node a /dev/mapper/deva
repl_node b /dev/mapper/devb
repl_config "on-peer-loss = freeze"
repl_mkfs
ok "live" repl_start a
size=$(volume_bytes a)
run_quiet mkfs.ext4 -q -F /dev/repl0
mkdir -p /mnt/spool
mount /dev/repl0 /mnt/spool
pattern before $((4 << 20)) >/mnt/spool/before

diag "what stands in the way"
refused a "has room for no more"
refused a "not shrink" --size 16M
grow_device a 64
refused a "has room for no more"
refused a "b has room for .* only" --size 60M
is "$(volume_bytes a)" "$size" "nothing has changed"
is "$(peer_state a b)" live "they are live still"
grow_device b 56
link_cut b
wait_for 60 "a notices" eval '[ "$(peer_state a b)" != live ]'
wait_for 60 "a has no session" eval 'ctl a status --json | grep -q "\"disconnected\|nothing was heard" || ! ctl a resize spool 2>/dev/null'
refused a "away"
link_heal b
ok "live again" wait_live a b 120

diag "growing under load"
fio --name=load --directory=/mnt/spool --ioengine=libaio --iodepth=8 --rw=randwrite --bs=4k --size=4m --direct=1 \
	--runtime=600 --time_based --fdatasync=16 >/tmp/load.log 2>&1 &
load=$!
wait_for 20 "the load writes" test -s /mnt/spool/load.0.0
ok "it grows" run_quiet ctl a resize spool
room=$(volume_bytes a)
ok "by what the smaller device has ($room)" [ "$room" -gt $((55 << 20)) -a "$room" -le $((56 << 20)) ]
is "$(volume_bytes b)" "$room" "on b, too"
is "$(blockdev --getsize64 /dev/repl0)" "$room" "the disk says so"
ok "live again" wait_live a b 120
ok "the load has gone on" kill -0 "$load"
ok "the file system takes it, mounted" run_quiet resize2fs /dev/repl0
ok "and has room for what did not fit before" eval "pattern after $((28 << 20)) >/mnt/spool/after && sync -f /mnt/spool"
kill -INT "$load"
ended=0
wait "$load" || ended=$?
ok "the load ends without an error" [ "$ended" = 0 -o "$ended" = 128 ]
umount /mnt/spool
ok "live" wait_live a b 120
ok "equal" copies_equal a b
refused a "has room for no more"

diag "the other way round: asked on the secondary"
grow_device a 80
grow_device b 80
ok "it grows" run_quiet ctl b resize spool --size 70M
is "$(volume_bytes a)" $((70 << 20)) "to the size that was asked for"
is "$(status_of b .size)" $((70 << 20)) "on both"
ok "live again" wait_live a b 120
ok "b takes over, larger" eval 'run_quiet ctl a secondary spool && run_quiet ctl b primary spool'
mount /dev/repl1 /mnt/spool
is "$(sha256sum </mnt/spool/after | cut -d' ' -f1)" "$(pattern_sha after $((28 << 20)))" "with all that was written"
umount /mnt/spool
ok "down" repl_stop

diag "the devices have grown, the volume has not: its metadata are found where they were"
grow_device a 92
grow_device b 92
for node in a b; do
	ok "fsck.repl finds those of $node" run_quiet fsck.repl "${NODE_DEV[$node]}"
	agent_start "$node"
	ok "up finds them" run_quiet ctl "$node" up spool
	is "$(volume_bytes "$node")" $((70 << 20)) "as large as before"
done
ok "live, and primary again" eval 'wait_live a b 120 && run_quiet ctl a primary spool'
ok "equal" copies_equal a b
ok "down" repl_stop
dm_remove deva
dm_remove devb
done_testing
