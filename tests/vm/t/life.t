#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=768 timeout=900 disks=12M,12M,12M
#
# Random life: three nodes, an application that writes all the time, and whatever happens to servers, at random: power
# cuts of one or two, cables, agents, slow disks, roles that move, by consent, for a dead peer, and by force. After each
# life every acknowledged write is there, all copies are equal, and there was never a second primary.
# --env SEED=N begins with that seed, SEEDS=N lives N lives, EVENTS=N makes N things happen in each.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
SEEDS=${SEEDS:-1}
EVENTS=${EVENTS:-12}
ORACLE=/run/oracle
RATE=50
klog_allow 'Buffer I/O error|I/O error, dev|lost async page write|reset'

NODES=(a b c)
declare -A power=() cable=() agent=() slow=()
primary=''    # who writes; empty: nobody
last=''       # who wrote last
writer=''     # its process
forced=''     # a node was promoted that lacked something: others may be split from it
violations=() # what must not be

violation() { violations+=("$1"); diag "VIOLATION: $1"; }
pick() { printf '%s\n' "${@:$((RANDOM % $# + 1)):1}"; }
chance() { [ $((RANDOM % 100)) -lt "$1" ]; } # PERCENT
let_it_run() { sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"; } # MS : for chance, not as proof

# --- what the module says, whether the agents live or not -----------------------------------------------------------

role() { cat "/sys/block/repl${NODE_MINOR[$1]}/repl/role" 2>/dev/null || echo off; }
live_peers() { ctl "$1" status --json | jq -r '.volumes[0].peers[] | select(.state == "live") | .name'; }
verdict_is() { status_of "$1" '.peers[].verdict' | grep -q "$2"; } # NODE WORD

count_primaries() {
	local node who=()
	for node in "${NODES[@]}"; do [ "$(role "$node")" != primary ] || who+=("$node"); done
	[ ${#who[@]} -le 1 ] || violation "two primaries: ${who[*]}"
}

# --- the application --------------------------------------------------------------------------------------------

app_start() {
	nsenter --net="/run/netns/$primary" -- life write "$(node_disk "$primary")" "$ORACLE" "$RATE" >/run/app 2>&1 &
	writer=$!
	last=$primary
}

app_stop() { # SIGNAL : on TERM it ends well, or a write has failed
	local rc=0
	[ -n "$writer" ] || return 0
	kill "-$1" "$writer" 2>/dev/null || true
	wait "$writer" || rc=$?
	writer=''
	# 143: it had not even begun.
	[ "$1" != TERM ] || [ "$rc" = 0 ] || [ "$rc" = 143 ] ||
		violation "a write has failed on $primary: $rc, $(tail -n 1 /run/app 2>&1)"
}

app_check() { # [lossy] : on the primary
	local out
	if out=$(life check "$(node_disk "$primary")" "$ORACLE" "$@" 2>&1); then
		diag "checked on $primary: ${out##*$'\n'}"
	else
		violation "on $primary: ${out//$'\n'/; }"
	fi
}

# --- what happens -------------------------------------------------------------------------------------------------

# All at one instant: between the first step and the last nothing reaches the disk, so no generation can begin there.
power_cut() { # NODE : what it had written stays, and not a byte comes after
	local node=$1
	run_quiet dmsetup suspend --nolockfs "disk-$node"
	link_cut "$node"
	if [ "$node" = "$primary" ]; then kill -KILL "$writer"; fi
	[ -z "${agent[$node]}" ] || kill -KILL "$(agent_pid "$node")"
	run_quiet dmsetup load "disk-$node" --table "$(dm_error_table "/dev/mapper/disk-$node")"
	run_quiet dmsetup resume "disk-$node"
	if [ "$node" = "$primary" ]; then app_stop KILL; fi
	if [ -n "${agent[$node]}" ]; then
		wait "$(agent_pid "$node")" 2>/dev/null || true
		rm -f "$(node_dir "$node")/agent.sock"
	fi
	in_node "$node" knode detach "${NODE_MINOR[$node]}" force >/dev/null 2>&1 || violation "$node does not go down"
	power[$node]='' agent[$node]='' cable[$node]='' slow[$node]=''
	[ "$node" != "$primary" ] || primary=''
}

power_on() { # NODE
	local node=$1
	dm_heal "disk-$node" "${DISK[$node]}"
	link_heal "$node"
	agent_start "$node"
	run_quiet ctl "$node" up spool || violation "$node does not come up"
	power[$node]=1 agent[$node]=1 cable[$node]=1 slow[$node]=''
}

agent_dies() { agent_kill "$1" && agent[$1]=''; }
agent_lives() { agent_start "$1" && agent[$1]=1; }

disk_slow() { # NODE
	modprobe -q dm-delay
	dm_reload "disk-$1" "$(dm_delay_table "${DISK[$1]}" 0 "$((RANDOM % 60))" "$((RANDOM % 200))")"
	slow[$1]=1
}
disk_fast() { dm_heal "disk-$1" "${DISK[$1]}" && slow[$1]=''; }

# Everybody of whom the primary knows that they have all it acknowledged, and itself.
in_sync() { [ -z "$primary" ] || { echo "$primary"; live_peers "$primary"; }; }

promote() { # NODE [ARG...] : refusals are ordinary, the words are shown
	local node=$1 out
	shift
	if out=$(ctl "$node" primary spool "$@" 2>&1); then
		primary=$node
		return 0
	fi
	diag "$node: ${out//$'\n'/ }"
	return 1
}

hand_over() { # TO : in order, by consent
	local to=$1 from=$primary
	app_stop TERM
	run_quiet ctl "$from" secondary spool || { violation "$from does not become secondary"; app_start; return; }
	primary=''
	promote "$to" || promote "$from" || return 0
	app_check
	app_start
}

# The primary loses its power; a copy that had everything takes over, the others being what they are.
fail_over() {
	local dead=$primary heirs heir
	mapfile -t heirs < <(in_sync | grep -vx "$dead")
	power_cut "$dead"
	for heir in "${heirs[@]}"; do
		if [ -z "${agent[$heir]}" ] || [ -z "${cable[$heir]}" ]; then continue; fi
		if wait_for 30 "$heir to take over" promote "$heir" --peer-dead; then
			app_check
			app_start
			return
		fi
		violation "$heir was in sync with $dead, which is off, and does not take over"
	done
	diag "nobody could take over from $dead"
}

# Nobody is left who has everything: the loss is accepted, in so many words.
take_by_force() { # NODE
	promote "$1" --force || return 0
	forced=1
	app_check lossy
	app_start
}

event() {
	local node
	node=$(pick "${NODES[@]}")
	case $((RANDOM % 12)) in
	0 | 1) if [ -n "${power[$node]}" ] && [ "$node" != "$primary" ]; then diag "power of $node"; power_cut "$node"; fi ;;
	2) if [ -n "$primary" ] && [ "$(in_sync | wc -l)" -gt 1 ]; then diag "power of the primary $primary"; fail_over; fi ;;
	3 | 4) if [ -z "${power[$node]}" ]; then diag "$node comes back"; power_on "$node"; fi ;;
	5)
		if [ -z "${power[$node]}" ]; then return; fi
		if [ -n "${cable[$node]}" ]; then
			diag "cable of $node"
			link_cut "$node"
			cable[$node]=''
		else
			diag "cable of $node again"
			link_heal "$node"
			cable[$node]=1
		fi
		;;
	6) if [ -n "${cable[$node]}" ]; then diag "connections of $node"; link_reset "$node"; fi ;;
	7)
		if [ -z "${power[$node]}" ]; then return; fi
		if [ -n "${agent[$node]}" ]; then diag "agent of $node"; agent_dies "$node"; else diag "agent of $node again"; agent_lives "$node"; fi
		;;
	8)
		if [ -z "${power[$node]}" ]; then return; fi
		if [ -n "${slow[$node]}" ]; then diag "disk of $node fast"; disk_fast "$node"; else diag "disk of $node slow"; disk_slow "$node"; fi
		;;
	9 | 10)
		if [ -n "$primary" ] && [ "$node" != "$primary" ] && [ -n "${agent[$node]}${agent[$primary]}" ] &&
			[ -n "${agent[$primary]}" ] && [ -n "${agent[$node]}" ] && in_sync | grep -qx "$node"; then
			diag "$node takes over from $primary"
			hand_over "$node"
		fi
		;;
	11)
		if [ -z "$primary" ] && [ -n "${power[$node]}" ] && [ -n "${agent[$node]}" ] && [ "$node" != "$last" ] && chance 50; then
			diag "$node by force"
			take_by_force "$node"
		fi
		;;
	esac
	count_primaries
	let_it_run $((RANDOM % 1500))
}

# --- and then all is mended -----------------------------------------------------------------------------------------

mend() {
	local node
	for node in "${NODES[@]}"; do
		[ -n "${power[$node]}" ] || power_on "$node"
		[ -z "${slow[$node]}" ] || disk_fast "$node"
		[ -n "${cable[$node]}" ] || { link_heal "$node"; cable[$node]=1; }
		[ -n "${agent[$node]}" ] || agent_lives "$node"
	done
}

make_anew() { # NODE : it holds what nobody else has, and that was given up when another was promoted by force
	run_quiet ctl "$1" down spool && run_quiet mkfs.repl --force --name spool "${NODE_DEV[$1]}" && run_quiet ctl "$1" up spool
}

# After a promotion by force some may be split from the new line: that is said, and nothing else happens to them.
settle_split() {
	local node
	[ -n "$forced" ] || return 0
	for node in "${NODES[@]}"; do
		[ "$node" != "$primary" ] || continue
		wait_for 60 "$node: a verdict" eval "peer_is $node $primary live || verdict_is $node split || [ \"\$(peer_state $node $primary)\" = syncing ]" || true
		if verdict_is "$node" split; then
			diag "$node is split from $primary: it is made anew"
			make_anew "$node" || violation "$node cannot be made anew"
		fi
	done
}

find_primary() {
	local node
	[ -z "$primary" ] || return 0
	for node in $last "${NODES[@]}"; do
		if promote "$node"; then
			app_check ${forced:+lossy}
			app_start
			return 0
		fi
	done
	return 1
}

all_in_sync() {
	local node
	for node in "${NODES[@]}"; do
		[ "$node" = "$primary" ] || both_live "$primary" "$node" || return 1
	done
}

one_life() { # SEED
	local n before=${#violations[@]}
	RANDOM=$1
	forced=''
	diag "seed $1"
	for ((n = 0; n < EVENTS; n++)); do event; done
	mend
	wait_for 120 "somebody to be primary" find_primary || violation "nobody can be primary"
	[ -n "$primary" ] || return 0
	settle_split
	# On a slow machine writes may come faster than they can be caught up with.
	wait_for 60 "all in sync, while it writes" all_in_sync || true
	app_stop TERM
	wait_for 180 "all in sync" all_in_sync || violation "not all are in sync"
	count_primaries
	app_check
	copies_equal "${NODES[@]}" || violation "the copies differ"
	is "${#violations[@]}" "$before" "seed $1: nothing acknowledged is lost, all copies are equal, one primary"
	if [ "${#violations[@]}" != "$before" ]; then
		for n in "${NODES[@]}"; do ctl "$n" status | sed 's/^/# /'; tail -n 30 "$(node_dir "$n")/log" | sed "s/^/# $n: /"; done
	fi
	app_start
}

# --- the stage ----------------------------------------------------------------------------------------------------

declare -A DISK=([a]=/dev/vda [b]=/dev/vdb [c]=/dev/vdc)
for node in "${NODES[@]}"; do
	dm_linear "disk-$node" "${DISK[$node]}"
	repl_node "$node" "/dev/mapper/disk-$node"
	power[$node]=1 agent[$node]=1 cable[$node]=1 slow[$node]=''
done
# Everything happens sooner than on a server.
repl_config "timeout = 2s" "stuck-timeout = 10s"
# Every node's.
# shellcheck disable=SC2119
repl_mkfs
ok "three nodes live" repl_start a
primary=a
app_check
app_start
for ((seed = SEED; seed < SEED + SEEDS && ${#violations[@]} == 0; seed++)); do one_life "$seed"; done
app_stop TERM
is "${#violations[@]}" 0 "no violation: ${violations[*]:-none}"
ok "everything down" repl_stop
for node in "${NODES[@]}"; do dm_remove "disk-$node"; done
done_testing
