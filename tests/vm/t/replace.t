#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.12 mem=768 timeout=900 disks=64M,64M,64M,64M,16M with=fio
#
# A disk dies and another one takes its place, while the volume is written to: on the primary, on the secondary, with an
# agent that dies meanwhile; with metadata on a device of their own; and what is refused.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

klog_allow 'Buffer I/O error|I/O error, dev|lost async page write|EXT4-fs'
state() { status_of "$1" .backing.state; }
state_is() { [ "$(state "$1")" = "$2" ]; }
refused() { # NODE WORDS [ARG...]
	local node=$1 words=$2
	shift 2
	not_ok "refused: $words" eval "ctl $node replace spool $* >/tmp/words 2>&1"
	like "$(cat /tmp/words)" "$words" "in words"
}
conf() { sed -n 's/^device = //p' "$(node_dir "$1")/volumes/spool.conf"; }
logged() { grep -qE -- "$2" "$(node_dir "$1")/log"; } # NODE REGEX
left() { status_of a '.backing.progress.bytes_left // 0'; }
less_left() { [ "$(left)" -lt "$1" ]; } # BYTES
unchanged() { state_is a failed && [ "$(conf a)" = /dev/mapper/deva ]; }

for n in a b c d; do dm_linear "dev$n" "/dev/vd$n"; done
repl_node a /dev/mapper/deva
repl_node b /dev/mapper/devb
repl_config "rate-limit = 5 MiB/s"
repl_mkfs
ok "live" repl_start a
fio --name=load --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=8 --rw=randrw --bsrange=4k-64k --size=32m \
	--runtime=1200 --time_based --norandommap --fdatasync=40 --allow_file_create=0 --verify=crc32c --verify_backlog=100 \
	>/tmp/load.log 2>&1 &
load=$!

diag "the primary's disk dies"
refused a "has not failed" --device /dev/mapper/devc
dm_break deva
wait_for 60 "the volume goes on without it" state_is a failed
like "$(ctl a status spool)" "repl-ctl replace spool --device" "status says what to do"
not_ok "it is not in sync" ctl a wait spool --for in-sync --timeout 1
refused a "is the disk that it has now"
refused a "No such file" --device /dev/mapper/none
refused a "no block device" --device /dev/null
refused a "is in use" --device /dev/mapper/devb
dm_remove devd
dm_create small "0 16384 linear /dev/vdd 0"
refused a "only [0-9]+ are usable" --device /dev/mapper/small
dm_remove small
dm_linear devd /dev/vdd
run_quiet mkfs.repl --name other /dev/mapper/devc
refused a 'volume "other"; --force overwrites it' --device /dev/mapper/devc
run_quiet mkfs.repl --force --name other /dev/mapper/devc
wipefs -qa /dev/mapper/devc
run_quiet mkfs.ext4 -q -F -L precious /dev/mapper/devc
refused a 'ext4 "precious"' --device /dev/mapper/devc
ok "nothing has changed" unchanged

diag "another one takes its place, while the volume is in use"
ok "replaced" ctl a replace spool --device /dev/mapper/devc --force
is "$(conf a)" /dev/mapper/devc "its file says so"
is "$(state a)" replacing "it is being filled"
wait_for 60 "some of it is" less_left $((56 << 20))
like "$(ctl a status spool)" "is being filled from a live peer: [0-9]+ %, [0-9.]+ MiB left" "status says how far"
is "$(status_of a .consistent)" false "it is no copy yet"
is "$(status_of a .health)" degraded "not healthy yet"
refused a "is being filled already" --device /dev/mapper/devd
agent_kill a
left=$(left)
wait_for 60 "it goes on without the agent" less_left "$left"
agent_start a
ok "in sync" ctl a wait spool --for in-sync --timeout 300
is "$(state a)" ok "the disk is as any other"
is "$(status_of a .consistent)" true "the copy counts"
ok "the agent has said how far it was" logged a "filled [0-9]+ % of"
ok "and when it was full" logged a "is full: the copy here is complete"
ok "the load has gone on" kill -0 "$load"
wait_live a b
kill -INT "$load"
ended=0
wait "$load" || ended=$?
[ "$ended" = 0 ] || [ "$ended" = 128 ] || sed 's/^/# /' /tmp/load.log
ok "the load has seen no error" [ "$ended" = 0 -o "$ended" = 128 ]
NODE_DEV[a]=/dev/mapper/devc
ok "equal" copies_equal a b
is "$(status_of a .health)" healthy "healthy"

diag "it is the one that comes up"
ok "down" eval 'run_quiet ctl a secondary spool && run_quiet ctl a down spool'
ok "the failed disk is free" dm_remove deva
dm_linear deva /dev/vda
ok "up" run_quiet ctl a up spool
ok "live" wait_live a b
is "$(status_of a '.peers[0].caught_up.bytes // 0')" 0 "with nothing to copy"
ok "primary" run_quiet ctl a primary spool

diag "the secondary's disk dies"
dm_break devb
pattern_put /dev/repl0 lost $((1 << 20)) $((8 << 20))
wait_for 60 "it says so" state_is b failed
like "$(ctl b status spool)" "repl-ctl replace spool --device" "and what to do"
refused b "is the disk that it has now"
refused b "is in use" --device /dev/mapper/devc
ok "replaced" ctl b replace spool --device /dev/mapper/devd --force
is "$(conf b)" /dev/mapper/devd "its file says so"
ok "live" wait_live a b 200
NODE_DEV[b]=/dev/mapper/devd
ok "equal" copies_equal a b
is "$(status_of b .health)" healthy "healthy"
is "$(data_sha /dev/repl0 $((1 << 20)) $((8 << 20)))" "$(pattern_sha lost $((1 << 20)))" "what was written meanwhile is there"

diag "a primary whose role is given away meanwhile"
dm_break devc
pattern_put /dev/repl0 more $((1 << 20)) $((9 << 20))
wait_for 60 "without a disk" state_is a failed
ok "replaced" ctl a replace spool --device /dev/mapper/deva --force
ok "switched" eval 'run_quiet ctl a secondary spool && run_quiet ctl b primary spool'
is "$(state a)" failed "it is not filled any more"
refused a "is the disk that it has now"
ok "down and up" eval 'run_quiet ctl a down spool && run_quiet ctl a up spool'
ok "live" wait_live a b 200
NODE_DEV[a]=/dev/mapper/deva
ok "equal" copies_equal a b
is "$(data_sha /dev/repl1 $((1 << 20)) $((9 << 20)))" "$(pattern_sha more $((1 << 20)))" "with all that was written"

diag "metadata on a device of their own: a secondary gets them"
metadata() { sed -n 's/^metadata = //p' "$(node_dir a)/volumes/spool.conf"; }
for n in b c; do dm_remove "dev$n"; dm_linear "dev$n" "/dev/vd$n"; done
for n in 0 1; do dm_create "meta$n" "0 16384 linear /dev/vde $((n * 16384))"; done
dm_break deva
pattern_put /dev/repl1 third $((1 << 20)) $((10 << 20))
wait_for 60 "without a disk" state_is a failed
refused a "meta9: No such file" --device /dev/mapper/devb --metadata /dev/mapper/meta9
refused a "is in use: name another device for the metadata" --device /dev/mapper/devb --metadata /dev/mapper/devd
ok "replaced" ctl a replace spool --device /dev/mapper/devb --metadata /dev/mapper/meta0 --force
is "$(conf a) $(metadata)" "/dev/mapper/devb /dev/mapper/meta0" "its file says both"
ok "live" wait_live a b 200
NODE_DEV[a]=/dev/mapper/devb
ok "equal" copies_equal a b

diag "and a primary, whose metadata's device is as good as ever, other ones"
dm_remove deva
dm_linear deva /dev/vda
ok "switched" eval 'run_quiet ctl b secondary spool && run_quiet ctl a primary spool'
dm_break devb
pattern_put /dev/repl0 fourth $((1 << 20)) $((11 << 20))
wait_for 60 "without a disk" state_is a failed
like "$(ctl a status spool)" "--device DEVICE --metadata DEVICE" "status says what to do"
refused a "/dev/mapper/meta0, which is in use until the volume goes down: name another one .* with --metadata" \
	--device /dev/mapper/deva --force
ok "replaced" ctl a replace spool --device /dev/mapper/deva --metadata /dev/mapper/meta1 --force
is "$(conf a) $(metadata)" "/dev/mapper/deva /dev/mapper/meta1" "its file says both"
ok "in sync" ctl a wait spool --for in-sync --timeout 300
NODE_DEV[a]=/dev/mapper/deva
ok "equal" copies_equal a b
ok "it is what comes up" eval 'run_quiet ctl a secondary spool && run_quiet ctl a down spool && run_quiet ctl a up spool'
ok "live" wait_live a b
is "$(data_sha /dev/mapper/deva $((1 << 20)) $((11 << 20)))" "$(pattern_sha fourth $((1 << 20)))" "with what was written"
ok "down" repl_stop
for n in deva devb devc devd meta0 meta1; do dm_remove "$n"; done
done_testing
