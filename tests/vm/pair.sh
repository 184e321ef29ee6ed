# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The whole path with two nodes: first copy, live mirroring, a break and what it costs, roles that change hands.
# A test includes lib.sh and repl.sh, sets PAIR_ENCRYPTION to tls or none, and includes this.

repl_node a /dev/vda
repl_node b /dev/vdb
repl_config "encryption = $PAIR_ENCRYPTION"
repl_mkfs
pattern_put /dev/vda first $((16 << 20))
ok "first copy and join" repl_start a
ok "equal after the first copy" copies_equal a b
is "$(ctl a role spool)" primary "role of a, in one word"
is "$(ctl b role spool)" secondary "role of b"
is "$(pattern_sha first $((16 << 20)))" "$(data_sha /dev/vdb $((16 << 20)))" "what a had before is on b"

load() { # SECONDS
	fio --name=load --filename="$(node_disk "$1")" --direct=1 --ioengine=libaio --iodepth=64 --rw=randwrite \
		--bsrange=4k-128k --size=40m --runtime="$2" --time_based --norandommap --fdatasync=40 \
		--allow_file_create=0 --verify=crc32c --verify_backlog=500 "${@:3}"
}
ok "random writes with overlaps at depth 64 verify" load a 4
is "$(cat /sys/block/repl0/queue/fua)" 1 "the disk takes FUA"
ok "and those with FUA" load a 3 --sync=dsync
ok "zeroes" run_quiet blkdiscard -z -o 2M -l 8M /dev/repl0
ok "discards" run_quiet blkdiscard -o 20M -l 5M /dev/repl0
ok "equal after that" copies_equal a b

ok "flushed" run_quiet dd if=/dev/zero of=/dev/repl0 bs=4k count=1 conv=notrunc,fsync
link_cut b
run_quiet pattern_put /dev/repl0 while-apart $((400 << 10)) $((30 << 20)) &
writer=$!
wait_for 60 "a notices the loss" eval '[ "$(peer_state a b)" != live ]'
wait "$writer"
dirty=$(status_of a '.peers[0].dirty_bytes')
is "$dirty" $((400 << 10)) "exactly what was written after the flush is dirty"
link_heal b
ok "caught up after the break" wait_live a b 120
is "$(status_of a '.peers[0].caught_up.bytes')" $((400 << 10)) "which is what was sent, and no more"
ok "equal after the break" copies_equal a b
before=$(status_of a .generation)
isnt "$before" "" "a generation is shown"

not_ok "no second primary" ctl b primary spool
ok "a gives the role back" ctl a secondary spool
ok "b takes it with a's consent" ctl b primary spool
is "$(ctl b role spool)" primary "b is primary"
ok "b's writes" load b 3
ok "equal in the other direction" copies_equal a b
ok "and back" eval 'ctl b secondary spool && ctl a primary spool'
ok "status for people" ctl a status
ctl a status | sed 's/^/# /'
ok "everything down" repl_stop
done_testing
