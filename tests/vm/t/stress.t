#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=512 threads=multi timeout=400 disks=48M,48M with=fio
#
# All at once: deep overlapping writes, links that break, roles that change hands, status that is asked for all the time.
# It ends with equal copies; on a kernel that finds data races, with none.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

knode_up /dev/vda /dev/vdb
ok "a pair" knode_pair
touch /run/polling
for minor in 0 1; do
	while [ -e /run/polling ]; do knode get $minor >/dev/null 2>&1; done &
done

load() { # MINOR SECONDS
	fio --name=load --filename="/dev/repl$1" --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite --bsrange=4k-64k \
		--size=40m --runtime="$2" --time_based --norandommap --fdatasync=20 --allow_file_create=0
}

other() { echo $((1 - $1)); }

primary=0
for round in 1 2 3; do
	peer=$(other "$primary")
	load "$primary" 6 >/tmp/load.log 2>&1 &
	load=$!
	sleep 2
	run_quiet knode leave "$peer" "$primary"
	wait_for 30 "the loss" eval "knode_is $primary slot$peer.link 0"
	wait_for 30 "the gate opens" knode_is "$primary" gate 0
	ended=0
	wait "$load" || ended=$?
	is "$ended" 0 "round $round: the load has seen nothing of a link that broke"
	knode_copy "$primary" "$peer"
	ok "round $round: joined again" knode_join "$primary" "$peer" crc
	ok "round $round: load" load "$primary" 3
	ok "round $round: roles change" eval "knode secondary $primary && knode primary $peer"
	primary=$peer
done
rm /run/polling
wait
ok "equal" knode_equal 0 1
ok "down" knode_down
done_testing
