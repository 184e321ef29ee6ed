#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.12 mem=768 timeout=300 disks=24M,24M,24M with=fio
#
# A volume moves to a third server: a file system in use on a and b, under fio that verifies what it reads; c gets a copy
# meanwhile, takes it over with repl-ctl switch, and the old ones are removed. No write waits longer than a join may take.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

JOIN_LIMIT=1000 # ms
SLACK=3000      # ms: an emulated processor that all of this shares

out=
gives() { # DESCRIPTION RC REGEX COMMAND...
	local what=$1 want=$2 words=$3 rc=0
	shift 3
	out=$("$@" 2>&1) || rc=$?
	if [ "$rc" -eq "$want" ] && [[ $out =~ $words ]]; then
		pass "$what"
	else
		fail "$what" "exit code $rc: $out" "words: $words"
	fi
}

conf() { # NAME PEER... : the volume's file
	local name=$1 other
	shift
	printf '[volume]\ndevice = %s\nminor = %s\njoin-limit = %sms\n' "${NODE_DEV[$name]}" "${NODE_MINOR[$name]}" $JOIN_LIMIT
	for other in "$@"; do printf '\n[peer "%s"]\nmode = sync\n' "$other"; done
}
file() { echo "$(node_dir "$1")/volumes/spool.conf"; }

# There is no unit to start or stop.
mkdir -p /run/wrap
printf '#!/bin/sh\n' >/run/wrap/systemctl
chmod +x /run/wrap/systemctl
PATH=/run/wrap:$PATH

# Writes, reads what it has written and compares, until it is stopped; then says the longest write in ms.
load() { # NODE
	fio --name=load --filename="/mnt/$1/load" --size=6m --rw=randwrite --bsrange=4k-32k --direct=1 --ioengine=libaio \
		--iodepth=4 --verify=crc32c --verify_backlog=64 --verify_fatal=1 --norandommap --fdatasync=32 --runtime=600 \
		--time_based --output-format=json --output=/run/load.json >/run/load.log 2>&1 &
	loader=$!
}
load_ends() {
	local rc=0
	kill -INT $loader
	wait $loader || rc=$?
	sed -n '/^{/,$p' /run/load.json | jq -r '.jobs[0] | "\(.error) \(.write.total_ios) \(.write.lat_ns.max / 1000000 | floor)"' >/run/result
	diag "fio: exit code $rc, error, writes, longest write in ms: $(cat /run/result)"
}

repl_node a /dev/vda
repl_node b /dev/vdb
repl_node c /dev/vdc
for node in a b c; do
	dir=$(node_dir $node)
	agent_conf $node >"$dir/agent.conf"
	mkdir -p "$dir/failover" "/mnt/$node"
	printf 'mount = /mnt/%s\n' $node >"$dir/failover/spool.conf"
done
conf a b >"$(file a)"
conf b a >"$(file b)"
conf c a b >"$(file c)"
repl_mkfs
modprobe -a tls repl
for node in a b c; do agent_start $node; done
for node in a b; do run_quiet ctl $node up spool; done
run_quiet ctl a primary spool --force
ok "two nodes in sync" wait_live a b
run_quiet mkfs.ext4 -q -E nodiscard /dev/repl0
mount /dev/repl0 /mnt/a
load a
wait_for 30 "fio writes" test -s /mnt/a/load
uuid=$(status_of a .uuid)

# --- what is refused, and leaves the file as it was ---------------------------------------------------------------

cp "$(file a)" /run/before
gives "a node that agent.conf does not know" 1 'd has no section in .*/agent.conf; add \[peer "d"\]' ctl a peer add spool d
gives "a mode that there is none of: file and line" 1 'spool.conf:[0-9]+: .*mode' ctl a peer add spool c --mode perhaps
gives "a peer that is none" 1 'c is no peer of it' ctl a peer remove spool c
gives "the only peer that is in sync" 1 'the only peer that is in sync.*or say --force' ctl a peer remove spool b
ok "the file is as it was" cmp "$(file a)" /run/before
ok "and b is live" both_live a b

# --- a third copy -------------------------------------------------------------------------------------------------

gives "a gets a third copy on c" 0 'c is a peer now.*peer add spool c' ctl a peer add spool c
gives "and b" 0 'c is a peer now' ctl b peer add spool c
ok "c comes up" ctl c up spool
ok "c is live, while a is in use" wait_live a c
is "$(status_of c .uuid)" "$uuid" "it is the same volume"
isnt "$(status_of a '.peers[name=b].slot.copy_id')" "$(status_of a '.peers[name=c].slot.copy_id')" "and another copy"
ok "b is live still" both_live a b
load_ends
read -r error writes longest </run/result
is "$error" 0 "fio read what it had written"
cmp_ok "$writes" -gt 100 "while it wrote"
cmp_ok "$longest" -lt $((JOIN_LIMIT + SLACK)) "and no write waited longer than a join may take"
sha=$(sha_of_stdin </mnt/a/load)

# --- all nodes, seen from one -------------------------------------------------------------------------------------

states() { ctl "$1" status --all-nodes --json | jq -r '[.health, (.nodes[] | .node, .state, (.volumes[] | .role, .peers[].state))] | join(" ")'; }
is "$(states b)" "healthy b here secondary live behind a answers primary live live c answers secondary live behind" \
	"b tells how it is on all three"
gives "as a table, and with the health of the worst" 0 'c +spool +secondary +healthy +[ab] (live|behind)' ctl b status --all-nodes --check
agent_kill c STOP
before=$(now_ms)
gives "an agent that hangs" 3 'c +- +- +silent +connected, but it has not answered' ctl a status spool --all-nodes --check
cmp_ok $(($(now_ms) - before)) -lt 4000 "is not waited for longer than 2 s, and what the command takes"
agent_kill c CONT

# --- c takes it over ----------------------------------------------------------------------------------------------

failover_listen c
gives "a hands over to c" 0 'served by c now' ctl a switch spool --to c
is "$(sha_of_stdin </mnt/c/load)" "$sha" "the file is what it was"
ok "a and b follow c" eval 'wait_live c a && wait_live c b'
umount /mnt/c
ok "all three are equal" copies_equal a b c

# --- the old ones go ----------------------------------------------------------------------------------------------

gives "a is removed" 0 'a is no peer any more, and its slot is free.*full copy' ctl c peer remove spool a
is "$(grep -c '^\[peer' "$(file c)")" 1 "the file of c names one peer less"
is "$(status_of c .peers | grep -c '"a"')" 0 "and status"
is "$(status_of c .frozen)-$(peer_state c b)" false-live "c goes on with b"
ok "a is told what to do" wait_for 20 "words" eval '[[ $(status_of a ".peers[name=c].reason") =~ "repl-ctl down spool" ]]'
gives "b, too" 0 'a is no peer any more' ctl b peer remove spool a
gives "b is the only one left" 1 'the only peer that is in sync' ctl c peer remove spool b
pattern_put /dev/repl2 after 65536 0
ok "what is written now is on b" copies_equal b c
isnt "$(data_sha /dev/vda "$(volume_bytes c)")" "$(data_sha /dev/vdc "$(volume_bytes c)")" "and not on a"
gives "it may go by force" 0 'b is no peer any more' ctl c peer remove spool b --force
is "$(grep -c '^\[peer' "$(file c)")" 0 "c is alone"
ok "and in use" eval 'pattern_put /dev/repl2 alone 65536 65536 && [ "$(ctl c role spool)" = primary ]'

# --- one that returns gets a full copy ----------------------------------------------------------------------------

gives "b comes back" 0 'b is a peer now' ctl c peer add spool b
ok "and is live" wait_live c b
ok "because all of it was copied or compared" grep -q 'verdict: leads with a full copy' "$(node_dir c)/log"
ok "equal" copies_equal b c
for node in a b c; do ctl $node down spool; done
for node in a b c; do agent_kill $node TERM; done
done_testing
