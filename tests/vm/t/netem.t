#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.12 mem=768 timeout=700 disks=48M,48M with=fio
#
# Bad networks: loss, delay with jitter, reordering, duplicates, damaged packets, and a cable that is pulled, each under a
# verified load. The application sees no error; back on a good network the pair is live and equal. Links are plain, with
# checksums of their own: what TCP's checksum lets through must not reach a disk.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

LOAD_SECONDS=15

repl_node a /dev/vda
repl_node b /dev/vdb
repl_config "encryption = none"
# Every node's.
# shellcheck disable=SC2119
repl_mkfs
modprobe sch_netem
ok "live" repl_start a

load() {
	fio --name=load --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bsrange=4k-32k \
		--size=24m --runtime=$LOAD_SECONDS --time_based --norandommap --fdatasync=30 \
		--allow_file_create=0 --verify=crc32c --verify_backlog=200 --output-format=json --output=/run/fio.json
}
# Words of warning may stand before the object.
result() { sed -n '/^{/,$p' /run/fio.json | jq "$1"; }
written() { result '.jobs[0].write.total_ios'; }
errors() { result '.jobs[0].error + .jobs[0].total_err'; }
sent_packets() { in_node "$1" tc -s qdisc show dev eth0 | awk '/Sent/ { print $4; exit }'; }
damaged_packets() { # that a receiver has found, in a header or by TCP's checksum
	local node
	for node in a b; do
		in_node $node awk '/^(Ip|Tcp): [A-Z]/ { for (i = 2; i <= NF; i++) name[i] = $1 $i; next }
			/^(Ip|Tcp):/ { for (i = 2; i <= NF; i++) n[name[i]] = $i }
			END { print n["Ip:InHdrErrors"] + n["Tcp:InCsumErrors"] }' /proc/net/snmp
	done | awk '{ sum += $1 } END { print sum }'
}
dropped_packets() { in_node "$1" tc -s qdisc show dev eth0 | sed -n 's/.*dropped \([0-9]*\).*/\1/p' | head -n 1; }

well_again() { # WHAT
	is "$(errors)" 0 "$1: fio saw no error"
	cmp_ok "$(written)" -ge 20 "$1: and wrote ($(written) writes)"
	ok "$1: live on a good network" wait_live a b 120
	ok "$1: equal" copies_equal a b
}

bad() { # WHAT NETEM-ARGUMENTS...
	local what=$1 node packets
	shift
	for node in a b; do netem $node "$@"; done
	ok "$what: the load ends" load
	packets=$(sent_packets a)
	diag "$what: $packets packets sent by a, $(dropped_packets a) dropped; $(peer_state a b)"
	cmp_ok "$packets" -ge 100 "$what: they went through netem"
	for node in a b; do netem_clear $node; done
	well_again "$what"
}

bad "loss" loss 5%
bad "delay" delay 30ms 10ms
bad "reorder" delay 10ms reorder 25% 50%
bad "duplicate" duplicate 20%
is "$(damaged_packets)" 0 "no packet was damaged so far"
bad "corrupt" corrupt 0.5%
cmp_ok "$(damaged_packets)" -ge 1 "corrupt: $(damaged_packets) packets were found damaged"

# The cable out and in, twice: once shorter than any timeout, once longer than all.
before=$(status_of a .counters.writes)
more_written() { [ "$(status_of a .counters.writes)" -gt "$before" ]; }
load >/dev/null 2>&1 &
loader=$!
wait_for 60 "the load to run" more_written
link_cut b
sleep 2 # shorter than the timeout of 10 s, so that nothing is to be waited for
link_heal b
link_unplug a
wait_for 60 "the loss of b" eval '! peer_is a b live'
link_plug a
if wait $loader; then pass "cable: the load ends"; else fail "cable: the load ends"; fi
well_again "cable"

ok "everything down" repl_stop
done_testing
