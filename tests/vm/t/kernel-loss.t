#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.12 mem=512 timeout=400 disks=48M,48M,48M with=fio
#
# Links that die under load, three copies, roles that change over a live link.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

load() { # SECONDS [ARG...]
	fio --name=load --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite --bsrange=4k-64k \
		--size=32m --runtime="$1" --time_based --norandommap --fdatasync=20 --allow_file_create=0 "${@:2}"
}
# Ships the dirty blocks of a cut by hand.
catch_up() { # FROM TO
	knode cut "$1" "$2" list | blocks "${KNODE_DEV[$1]}" "${KNODE_DEV[$2]}"
	run_quiet knode settle "$1" "$2"
	run_quiet knode settle "$2" "$1"
}

modprobe dm-delay
dm_linear second /dev/vdb
knode_up /dev/vda /dev/mapper/second /dev/vdc
ok "two copies joined" knode_pair
ok "equal from the start" knode_equal 0 1

load 4 >/tmp/load.log 2>&1 &
pid=$!
sleep 1
ok "the follower drops the link under load" knode leave 1 0
ended=0; wait "$pid" || ended=$?
is "$ended" 0 "the load ends without an error"
[ "$TAP_FAILED" = 0 ] || sed "s/^/# /" /tmp/load.log
is "$(knode_get 0 gate)" 0 "the gate is open"
isnt "$(knode_get 0 slot1.dirty)" 0 "blocks are dirty"
ok "a node that was live is not promoted while the primary is the one it follows" knode_is 1 role 1
catch_up 0 1
ok "what was dirty makes the copies equal" knode_equal 0 1
ok "joined again" knode_join 0 1
sync

knode_slots 0 1 2
knode_copy 0 2
ok "a third copy joins" knode_join 0 2 crc
ok "load on three copies" load 3
ok "all three are equal (0 and 1)" knode_equal 0 1
ok "all three are equal (0 and 2)" knode_equal 0 2
for gap in 0 0.03; do
	applied=$(knode_get 2 applied)
	load 2 >/tmp/load.log 2>&1 &
	pid=$!
	wait_for 10 "writes arrive" eval "[ \$(knode_get 2 applied) -gt $applied ]"
	knode leave 2 0 &
	leaving=$!
	sleep $gap # by chance before, in or after the step for the first loss
	run_quiet knode leave 1 0
	wait $leaving
	ended=0; wait "$pid" || ended=$?
	is "$ended" 0 "two peers are lost, $gap s apart: the load has seen nothing of it"
	isnt "$(knode_get 0 generation)" "$(knode_get 1 generation)" "the second loss has made a generation, too"
	isnt "$(knode_get 0 generation)" "$(knode_get 2 generation)" "which the first one lost does not have"
	catch_up 0 1
	catch_up 0 2
	ok "what was dirty makes all copies equal" eval 'knode_equal 0 1 && knode_equal 0 2'
	ok "both join again" eval 'knode_join 0 1 && knode_join 0 2 crc'
done

# Only what lies behind the data takes long on the remaining peer's disk; the region is in its log by the first write.
slow=$(($(knode_get 1 size) / 512))
dm_reload second "0 $slow linear /dev/vdb 0
$slow $(($(dev_sectors /dev/vdb) - slow)) delay /dev/vdb $slow 0 /dev/vdb $slow 3000 /dev/vdb $slow 0"
one_write() { dd if=/dev/urandom of=/dev/repl0 bs=4k count=1 seek=77 oflag=direct conv=notrunc status=none; }
one_write
logged=$(knode_get 1 log_writes)
start=$(now_ms)
one_write
ms=$(($(now_ms) - start))
ok "a write waits for no metadata of a peer ($ms ms)" [ "$ms" -lt 3000 ]
before=$(knode_get 0 generation)
start=$(now_ms)
ok "one of two is lost" knode leave 2 0
wait_for 10 "it is noticed" eval '[ "$(knode_get 0 slot2.link)" != 1 ]'
one_write
ms=$(($(now_ms) - start))
is "$(knode_get 1 generation)-$(knode_get 1 log_writes)" "$(knode_get 0 generation)-$logged" "the first write after that finds the generation on the remaining peer"
ok "and has waited until it was durable there ($ms ms)" [ "$ms" -ge 3000 ]
dm_heal second /dev/vdb
isnt "$(knode_get 0 generation)" "$before" "a new generation"
is "$(knode_get 1 generation)" "$(knode_get 0 generation)" "the remaining peer has it, too"
is "$(knode_get 2 generation)" "$before" "the lost one does not"

ok "demotion over a live link" knode secondary 0
is "$(knode_get 0 slot1.link)" 1 "the link stays"
primaries() { echo $(($(knode_get 0 role) + $(knode_get 1 role) - 2)); }
most=0
for _ in {1..20}; do
	knode primary 0 2>/dev/null &
	one=$!
	knode primary 1 2>/dev/null &
	other=$!
	wait $one || true
	wait $other || true
	[ "$(primaries)" -le "$most" ] || most=$(primaries)
	run_quiet knode secondary 0 && run_quiet knode secondary 1
done
is "$most" 1 "twenty times both want to be primary at once: never both are, and not always none"
is "$(knode_get 0 slot1.link)-$(knode_get 1 slot0.link)" 1-1 "the link has survived"
is "$(knode_get 0 generation)" "$(knode_get 1 generation)" "in one generation"
ok "the other becomes primary over the same link" knode primary 1
is "$(knode_get 0 generation)" "$(knode_get 1 generation)" "its generation is here"
not_ok "two primaries" knode primary 0
is "$(knode_get 0 slot1.link)" 1 "the attempt has not hurt the link"
is "$(knode_get 0 generation)" "$(knode_get 1 generation)" "nor the generation"
run_quiet dd if=/dev/urandom of=/dev/repl1 bs=64k count=64 oflag=direct,dsync
ok "its writes arrive" knode_equal 0 1
isnt "$(knode_get 0 slot2.dirty)" 0 "toward the third they are in doubt"
exec 7>/dev/repl1
not_ok "no demotion while it is open" knode secondary 1
exec 7>&-
ok "demotion when it is closed" knode secondary 1
ok "and back" knode primary 0
ok "down" knode_down
dm_remove second
KNODE_DEV[1]=/dev/vdb

knode attach 0 v0 /dev/vda freeze
knode attach 1 v1 /dev/vdb
ok "primary again, by force" knode primary 0 force
catch_up 0 1
ok "joined, to freeze when the peer is lost" knode_join 0 1
load 30 --number_ios=400 >/tmp/load.log 2>&1 &
pid=$!
wait_for 10 "writes arrive" eval '[ "$(knode_get 1 applied)" -gt 20 ]'
ok "the peer is lost" knode leave 1 0
wait_for 10 "frozen" eval '[ "$(knode_get 0 gate)" = 2 ]'
writes=$(knode_get 0 writes)
sleep 1
is "$(knode_get 0 writes)" "$writes" "no write passes"
not_ok "no epoch ends" eval 'knode epoch 0 2>/tmp/why'
like "$(cat /tmp/why)" "next generation waits for the lost peer" "in words"
ok "resume" knode resume 0
ended=0; wait "$pid" || ended=$?
is "$ended" 0 "the load goes on to its end"
catch_up 0 1
ok "equal after that" knode_equal 0 1
ok "joined again" knode_join 0 1
ok "and lost" knode leave 1 0
wait_for 10 "frozen" eval '[ "$(knode_get 0 gate)" = 2 ]'
ok "who was lost is no peer any more" knode slot 0 1 0
wait_for 10 "writes go on" eval '[ "$(knode_get 0 gate)" = 0 ]'

exec 7</dev/repl0
load 30 >/tmp/load.log 2>&1 &
pid=$!
sleep 1
ok "forced demotion under load" knode secondary 0 force
ended=0; wait "$pid" || ended=$?
isnt "$ended" 0 "the load has failed"
not_ok "no promotion while somebody has it open from before" eval 'knode primary 0 force 2>/tmp/why'
ok "in words" grep -q 'still has it open since its forced demotion' /tmp/why
exec 7<&-
ok "promotion when it is closed" knode primary 0 force
klog_allow 'Buffer I/O error on dev repl0|I/O error, dev repl0'
ok "down" knode detach 0
ok "down" knode detach 1
done_testing
