#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=640 timeout=500 disks=18M,18M with=fio
#
# Copies are compared while they are written to, with no false alarm; a byte that changes on either disk by itself is
# found, with the side on which it has, and repaired when that is asked for; a link that is lost in the middle ends it.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

repl_node a /dev/vda
repl_node b /dev/vdb
repl_config "rate-limit = 12 MiB/s" "encryption = none"
repl_mkfs
pattern_put /dev/vda first $((16 << 20))
ok "live" repl_start a

flip() { # DEVICE BLOCK : one bit of it, behind everybody's back
	dd if="$1" of=/tmp/block bs=4k count=1 skip="$2" iflag=direct status=none
	printf '%b' "\\x$(printf %x $((0x$(od -An -tx1 -j7 -N1 /tmp/block | tr -d ' ') ^ 4)))" |
		dd of=/tmp/block bs=1 seek=7 conv=notrunc status=none
	dd if=/tmp/block of="$1" bs=4k count=1 seek="$2" oflag=direct conv=notrunc status=none
}
found() { # FILTER : of the last command with --json
	jq -r ".verify | $1" /tmp/found
}
compare() { # NODE COMMAND [ARG...] : into /tmp/found
	local node=$1 ret=0
	shift
	ctl "$node" "$@" --json >/tmp/found 2>/tmp/words || ret=$?
	jq -c 'del(.verify.ranges)' /tmp/found 2>/dev/null | sed 's/^/# /'
	return $ret
}

not_ok "no scrub before a verify" eval 'ctl a scrub spool 2>/tmp/words'
like "$(cat /tmp/words)" "run repl-ctl verify spool first" "in words"
not_ok "not on the secondary" eval 'ctl b verify spool 2>/tmp/words'
like "$(cat /tmp/words)" "a is primary.*run it there" "in words"

diag "under load"
fio --name=load --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite --bsrange=4k-16k --size=8m \
	--runtime=3600 --time_based --norandommap --fdatasync=100 --rate_iops=300 --allow_file_create=0 >/tmp/load.log 2>&1 &
load=$!
before=$(status_of a .counters.writes)
more_written() { [ "$(status_of a .counters.writes)" -gt "$((before + 200))" ]; }
wait_for 60 "the load to run" more_written
ok "no false alarm" compare a verify spool
is "$(found .differ_bytes)" 0 "nothing differs"
cmp_ok "$(found .equal_bytes)" -ge $((12 << 20)) "and most of it was compared"
flip /dev/vdb 2600
not_ok "a bit of the secondary's disk is found" compare a verify spool
is "$(found '.ranges | length') $(found .ranges[0].offset) $(found .ranges[0].length)" "1 $((2600 * 4096)) 4096" "and nothing else"
is "$(found .ranges[0].changed_on)" b "it has changed there"
like "$(ctl a status spool)" "copy on b differs.*" "status says so"
is "$(status_of a .health)" degraded "and that it is not well"
ok "repaired, under load" compare a verify spool --repair a
ok "live" wait_live a b
kill -INT "$load"
wait "$load" || true
ok "a scrub finds nothing more" compare a scrub spool
is "$(found .differ_bytes)" 0 "nothing differs"
is "$(status_of a .health)" healthy "healthy"

diag "a link that is lost in the middle"
ctl a verify spool >/tmp/lost 2>&1 &
verify=$!
wait_for 30 "the comparison" eval '[ "$(status_of a ".peers[0].verify.percent // empty")" != "" ]'
run_quiet ctl b down spool
given_up=0
wait $verify || given_up=$?
is "$given_up" 1 "is given up"
like "$(cat /tmp/lost)" "given up: .*nothing was changed" "in words"
ok "up" run_quiet ctl b up spool
ok "live" wait_live a b

diag "the primary's disk"
flip /dev/vda 3200
not_ok "a scrub finds it" compare a scrub spool
is "$(found '.ranges | length') $(found .ranges[0].offset) $(found .ranges[0].changed_on)" "1 $((3200 * 4096)) a" \
	"and on which side"
not_ok "the wrong side's block is not taken" eval 'ctl a verify spool --repair a >/tmp/words 2>&1'
like "$(cat /tmp/words)" "changed here: take b's" "in words"
ok "roles change" eval 'run_quiet ctl a secondary spool && run_quiet ctl b primary spool'
ok "repaired from the other side" compare b verify spool --repair b
ok "live" wait_live b a
ok "equal" copies_equal a b
is "$(data_sha /dev/vda $((8 << 20)) $((8 << 20)))" "$(pattern first $((16 << 20)) | tail -c $((8 << 20)) | sha_of_stdin)" "as it was written"
ok "down" repl_stop
done_testing
