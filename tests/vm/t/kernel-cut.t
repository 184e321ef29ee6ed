#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=512 timeout=300 disks=32M,32M with=fio
#
# Frozen cuts: what is read is one instant, on the primary and on a secondary, whoever writes meanwhile; and who writes
# waits for the reader, for nothing else, and not for long.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

SEED=${SEED:-$RANDOM}
diag "seed $SEED"
BLOCKS=256 # that are written in order

# A cut that does what it is told, by a name.
declare -A TO FROM READER
cut_open() { # NAME MINOR SLOT HOLD_MS
	local to from
	mkfifo "/run/$1.to" "/run/$1.from"
	instant cut "$2" "$3" "$4" <"/run/$1.to" >"/run/$1.from" &
	READER[$1]=$!
	exec {to}>"/run/$1.to" {from}<"/run/$1.from"
	TO[$1]=$to FROM[$1]=$from
	rm "/run/$1.to" "/run/$1.from"
	heard "$1" >/dev/null
}
heard() { # NAME
	local line
	read -r -t 30 -u "${FROM[$1]}" line && echo "$line"
}
tell() { # NAME WORD...
	echo "${*:2}" >&"${TO[$1]}"
	heard "$1"
}
cut_close() { # NAME
	local to=${TO[$1]} from=${FROM[$1]}
	exec {to}>&- {from}<&-
	wait "${READER[$1]}" || true
}
write() { dd if=/dev/urandom of=/dev/repl0 bs=4k count="${2:-1}" seek="$1" oflag=direct conv=notrunc status=none; }
LATE=0
held() { # BLOCK COUNT : a write to it waits for a reader
	local holds
	holds=$(knode_get "${MINOR:-0}" holds)
	write "$@" &
	LATE=$!
	wait_for 20 "a write waits" knode_is "${MINOR:-0}" holds $((holds + 1))
}
waits() { kill -0 "$LATE"; }
late_ends() { # EXIT_STATUS DESCRIPTION : in this shell, whose child the write is
	local ended=0
	if wait_for 20 "the write ends" eval '! kill -0 "$LATE"'; then
		wait "$LATE" || ended=$?
		is "$ended" "$1" "$2"
	else
		fail "$2"
	fi
}
is_dirty() { knode_is "$1" "slot$2.dirty" "$3"; } # MINOR SLOT BLOCKS

knode_up /dev/vda /dev/vdb
ok "a pair" knode_pair
for minor in 0 1; do run_quiet knode slot $minor 2 3; done
run_quiet knode slot 0 3 4
dd if=/dev/zero of=/dev/repl0 bs=4k count=$BLOCKS oflag=direct conv=notrunc status=none
for minor in 0 1; do
	run_quiet knode settle $minor 2
	: >/run/image$minor
done

diag "one instant"
instant write /dev/repl0 $BLOCKS "$SEED" >/run/last &
writer=$!
fio --name=load --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bsrange=4k-32k --offset=4m \
	--size=4m --runtime=300 --time_based --allow_file_create=0 >/dev/null 2>&1 &
load=$!
wait_for 20 "it is being written" eval '[ "$(knode_get 1 slot2.dirty)" -gt 20 ]'
for minor in 0 1; do
	disk=(/dev/vda /dev/vdb)
	last=0
	for pause in 0 0 0 3000; do
		is "$(instant read $minor 2 "${disk[minor]}" /run/image$minor $BLOCKS 30000 $pause)" valid "minor $minor, a pause of $pause us: read"
		now=$(instant check /run/image$minor $BLOCKS "$SEED") || fail "which is no instant, seed $SEED"
		cmp_ok "$now" -gt "$last" "which is as after write $now, later than $last"
		last=$now
	done
	cmp_ok "$(knode_get $minor holds)" -gt 0 "writes have waited"
	is "$(knode_get $minor voids)" 0 "none in vain"
done
kill "$load" "$writer"
wait "$load" || true
wait "$writer"
for minor in 0 1; do
	is "$(instant read $minor 2 "${disk[minor]}" /run/image$minor $BLOCKS 30000)" valid "minor $minor, without a load: read"
	is "$(instant check /run/image$minor $BLOCKS "$SEED")" "$(cat /run/last)" "which is all that was written"
	ok "and nothing is dirty" is_dirty $minor 2 0
done

diag "who waits is served first"
write 0 600
cut_open a 0 2 60000
is "$(tell a read)" "0 256" "a run of blocks is handed out in pieces"
held 500
is "$(tell a read)" "500 1" "what a write waits for comes next"
is "$(tell a read)" "256 244" "then it goes on in order"
is "$(tell a read)" "501 99" "without what was handed out"
is "$(tell a read)" "end" "to the end"
ok "the write waits until its block is released" waits
ok "a flush does not wait for it" run_quiet timeout 20 dd if=/dev/zero of=/dev/repl0 count=0 conv=notrunc,fsync
ok "nor does a write elsewhere" write 1000
is "$(nowait /dev/repl0)" "Resource temporarily unavailable" "who may not wait is told so"
is "$(tell a release 500 1)" ok "released"
late_ends 0 "the write goes on"
is "$(tell a release 0 256)" ok "so is the rest of it"
is "$(nowait /dev/repl0)" "written" "and a write that may not wait passes"
holds=$(knode_get 0 holds)
blkdiscard -z -o 0 -l 4M /dev/repl0 &
LATE=$!
wait_for 20 "it waits" knode_is 0 holds $((holds + 1))
pass "zeroing of a range waits for each block of it"
for at in 256 400 560; do tell a release $at 100 >/dev/null; done
nap 0.3
ok "until the last" waits
tell a release 0 600 >/dev/null
late_ends 0 "it goes on"
is "$(tell a valid)" ok "nobody has waited in vain"
is "$(tell a commit)" ok "committed"
ok "what was written since is dirty, once" is_dirty 0 2 1024
cut_close a

diag "two cuts"
for slot in 2 3; do run_quiet knode settle 0 $slot; done
write 0 10
cut_open a 0 2 60000
held 5
cut_open b 0 3 60000
is "$(tell b read)" "5 1" "who waits for one waits for the other, which is told"
tell a release 5 1 >/dev/null
nap 0.3
ok "that one is released does not help" waits
tell b release 5 1 >/dev/null
late_ends 0 "that both are does"
is "$(tell b abort)" ok "one is aborted"
ok "its blocks are dirty again" is_dirty 0 3 10
cut_close b
held 6
kill -9 "${READER[a]}"
late_ends 0 "the reader of the other dies: who waits goes on"
cut_close a
ok "its blocks are dirty again" is_dirty 0 2 10

diag "a reader that is too slow"
start=$(now_ms)
cut_open a 0 2 700
held 3
late_ends 0 "a write goes on all the same"
took=$(($(now_ms) - start))
ok "after as long as was allowed ($took ms)" [ "$took" -ge 700 ]
cmp_ok "$(knode_get 0 hold_max_ms)" -ge 700 "which status shows"
is "$(knode_get 0 voids)" 1 "and that there was one"
ok "the next does not wait" run_quiet timeout 20 dd if=/dev/urandom of=/dev/repl0 bs=4k count=1 seek=4 oflag=direct conv=notrunc status=none
is "$(tell a read)" "Connection timed out" "nothing more is handed out"
is "$(tell a release 0 10)" ok "releases are of no use"
is "$(tell a valid)" "Connection timed out" "the cut is void"
is "$(tell a commit)" "Connection timed out" "and is not committed"
ok "it has its blocks until it ends" is_dirty 0 2 12
cut_close a
ok "then they are dirty again" is_dirty 0 2 10

diag "a secondary"
run_quiet knode settle 1 2
write 0 10
cut_open a 1 2 60000
MINOR=1 held 5
is "$(tell a read)" "5 1" "the reader is told what the peer waits for"
ok "other writes pass" write 300
ok "and so do flushes" run_quiet timeout 20 dd if=/dev/zero of=/dev/repl0 count=0 conv=notrunc,fsync
ok "it waits still" waits
tell a release 5 1 >/dev/null
late_ends 0 "released, it goes on"
MINOR=1 held 7
run_quiet knode leave 0 1
late_ends 0 "a link that ends does not wait for the reader, nor does the write"
wait_for 20 "both ends are gone" eval 'knode_is 0 slot1.link 0 && knode_is 1 slot0.link 0'
is "$(tell a valid)" ok "the cut has not noticed"
is "$(tell a commit)" ok "and is committed"
cut_close a
knode_catch_up 0 1
ok "the peer is back" knode_join 0 1 crc
ok "equal" knode_equal 0 1

diag "an end with a cut open"
write 0 10
cut_open a 0 2 60000
held 5
ok "demoted by force" knode secondary 0 force
late_ends 1 "the write fails"
ok "down" knode_down
not_ok "the module stays while a cut is open" rmmod repl
is "$(tell a valid)" ok "which can be asked"
cut_close a
ok "and goes when it is closed" wait_for 20 "it is unused" rmmod repl
done_testing
