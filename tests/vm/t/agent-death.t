#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.12 mem=768 timeout=600 with=fio smp=1 icount=1
#
# The agents may die, or stand still, at any time: the application's I/O on a live pair does not notice. In virtual
# time, which counts instructions: a host that is busy with other things stalls nothing.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

ALLOWED=100 # ms beyond the control run

# A virtual clock runs ahead while a real disk works.
brd_load 2 64
repl_node a /dev/ram0
repl_node b /dev/ram1
repl_config
repl_mkfs
ok "live" repl_start a

# Worst completion time in ms of a verified load; what is given runs in the middle of it.
load_while() { # SECONDS COMMAND...
	local seconds=$1 pid
	shift
	fio --name=load --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bs=4k --size=32m \
		--rate_iops=300 --runtime="$seconds" --time_based --verify=crc32c --verify_backlog=500 --allow_file_create=0 \
		--output-format=json --output=/tmp/fio.json >/dev/null 2>&1 &
	pid=$!
	sleep 2 # the load is under way; the exact moment does not matter
	"$@" || return 1
	wait "$pid" || return 1
	jq '.jobs[0].write.clat_ns.max / 1000000 | ceil' /tmp/fio.json
}
errors() { jq '.jobs[0].total_err + .jobs[0].error' /tmp/fio.json; }

control=$(load_while 6 true)
diag "control run: worst completion $control ms"

before=$(ctl a status --json | jq -S '.volumes[0].peers[0] | {state}')
for node in a b; do
	ms=$(load_while 6 agent_kill "$node")
	is "$(errors)" 0 "agent of $node killed: no I/O error"
	ok "and no stall: worst completion $ms ms, control $control ms" [ "$ms" -le $((control + ALLOWED)) ]
	agent_start "$node"
	ok "agent of $node is back, and status is right" wait_live a b 60
	is "$(ctl a status --json | jq -S '.volumes[0].peers[0] | {state}')" "$before" "the link is the same as before"
done
is "$(knode get 0 | sed -n s/^generations=//p)" 1 "no link was lost: no new generation"

ms=$(load_while 6 agent_kill a STOP)
is "$(errors)" 0 "agent of a stopped: no I/O error"
ok "and no stall: worst completion $ms ms" [ "$ms" -le $((control + ALLOWED)) ]
agent_kill a CONT
ok "it goes on" wait_live a b 60
ok "both copies are equal" copies_equal a b
ok "everything down" repl_stop
done_testing
