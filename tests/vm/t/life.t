#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=768 timeout=900 crash_disk=1
#
# Random life: three nodes, an application that writes all the time, and whatever happens to servers, at random: power
# cuts of one, two or all, with what their disks had in a cache; cables, of a node or between two; agents; disks that are
# slow or fail; copies that are taken down; roles that move, by consent, for a dead peer, and by force. After each life
# every acknowledged write is there, all copies are equal, and there was never a second primary.
# --env SEED=N begins with that seed, SEEDS=N lives N lives, EVENTS=N makes N things happen in each.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
SEEDS=${SEEDS:-1}
EVENTS=${EVENTS:-12}
ORACLE=/run/oracle
RATE=30
DISK_MIB=16
klog_allow 'Buffer I/O error|I/O error, dev|lost async page write|reset'

NODES=(a b c)
declare -A power=() cable=() agent=() slow=()
primary=''    # who writes; empty: nobody
last=''       # who wrote last
writer=''     # its process
parted=()     # two nodes that do not reach each other, while both see the third
returned=''   # somebody has just come back, or is about to be caught up
forced=''     # a node was promoted that lacked something: others may be split from it
violations=() # what must not be

# Who has all that was acknowledged, flushed or not, since its primary was lost. What was not flushed lies in the caches of
# the primary and of its live peers, and is lost with the power of all of these, as on any disk; but not before.
declare -A whole=()

violation() { violations+=("$1"); diag "VIOLATION: $1"; }
# Sets picked: in a subshell RANDOM would be another one, which no seed gives back.
pick() { picked=${*:$((RANDOM % $# + 1)):1}; }
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

app_check() { # all|flushed|lossy : on the primary
	local out
	if out=$(life check "$(node_disk "$primary")" "$ORACLE" "$1" 2>&1); then
		diag "checked on $primary ($1): ${out##*$'\n'}"
	else
		violation "on $primary: ${out//$'\n'/; }"
	fi
}

# --- what happens -------------------------------------------------------------------------------------------------

# The kernels are asked: of the primary alone it would be one that is long gone, and back without its cache.
note_whole() { # the primary is about to be no more
	local node
	whole=([$primary]=1)
	for node in $(live_peers "$primary"); do
		if peer_is "$node" "$primary" live; then whole[$node]=1; fi
	done
}

# All at one instant: from the first step to the last nothing reaches a disk that stands still. So a primary among them
# acknowledges nothing more and can begin no generation; who is live then has all of it.
power_cut() { # NODE... : what their disks had in a cache may be lost, and not a byte comes after
	local node
	for node in "$@"; do run_quiet dmsetup suspend --nolockfs "disk-$node"; done
	if [[ " $* " == *" ${primary:-none} "* ]]; then note_whole; fi
	for node in "$@"; do
		link_cut "$node"
		if [ "$node" = "$primary" ]; then kill -KILL "$writer"; fi
		[ -z "${agent[$node]}" ] || kill -KILL "$(agent_pid "$node")"
	done
	for node in "$@"; do power_gone "$node"; done
}

power_gone() { # NODE
	local node=$1
	printf 'cut %s %s' "${NODE_MINOR[$node]}" "$RANDOM" >/dev/crash
	run_quiet dmsetup load "disk-$node" --table "$(dm_error_table "/dev/mapper/disk-$node")"
	run_quiet dmsetup resume "disk-$node"
	if [ "$node" = "$primary" ]; then app_stop KILL; fi
	if [ -n "${agent[$node]}" ]; then
		wait "$(agent_pid "$node")" 2>/dev/null || true
		rm -f "$(node_dir "$node")/agent.sock"
	fi
	in_node "$node" knode detach "${NODE_MINOR[$node]}" force >/dev/null 2>&1 || violation "$node does not go down"
	power[$node]='' agent[$node]='' cable[$node]='' slow[$node]='' whole[$node]=''
	[ "$node" != "$primary" ] || primary=''
}

power_on() { # NODE
	local node=$1
	dm_heal "disk-$node" "${DISK[$node]}"
	link_heal "$node"
	agent_start "$node"
	run_quiet ctl "$node" up spool || violation "$node does not come up"
	power[$node]=1 agent[$node]=1 cable[$node]=1 slow[$node]=''
	# A primary that comes back may lead who was live with it: with what it had flushed.
	[ -n "$primary" ] || whole=()
}

agent_dies() { agent_kill "$1" && agent[$1]=''; }
agent_lives() { agent_start "$1" && agent[$1]=1; }

disk_slow() { # NODE
	modprobe -q dm-delay
	dm_reload "disk-$1" "$(dm_delay_table "${DISK[$1]}" 0 "$((RANDOM % 60))" "$((RANDOM % 200))")"
	slow[$1]=1
}
disk_fast() { dm_heal "disk-$1" "${DISK[$1]}" && slow[$1]=''; }

# Packets to an address that nobody has: as between two switches that have lost each other.
part() { # NODE NODE
	parted=("$1" "$2")
	in_node "$1" ip neigh replace "${NODE_IP[$2]}" lladdr 02:00:00:00:00:99 nud permanent dev eth0
	in_node "$2" ip neigh replace "${NODE_IP[$1]}" lladdr 02:00:00:00:00:99 nud permanent dev eth0
}
unite() {
	in_node "${parted[0]}" ip neigh del "${NODE_IP[${parted[1]}]}" dev eth0
	in_node "${parted[1]}" ip neigh del "${NODE_IP[${parted[0]}]}" dev eth0
	parted=()
}
is_parted() { [[ " ${parted[*]} " == *" $1 "* && " ${parted[*]} " == *" $2 "* ]]; } # NODE NODE

# In order, while the primary writes; and it is back when it wants to be.
down_and_up() { # NODE
	run_quiet ctl "$1" down spool || violation "$1 does not go down in order"
	let_it_run $((RANDOM % 3000))
	run_quiet ctl "$1" up spool || violation "$1 does not come up"
}

# A disk that fails, and then answers again, with what it had: nobody may believe it.
disk_fails() { # NODE
	dm_break "disk-$1"
	wait_for 60 "$primary to notice that the disk of $1 has failed" eval "! peer_is $primary $1 live" ||
		violation "$primary writes on to $1, whose disk has failed"
	let_it_run $((RANDOM % 2000))
	# That it cannot say so on its disk is an error.
	ctl "$1" down spool >/dev/null 2>&1 || true
	[ "$(role "$1")" = off ] || violation "$1 does not go down without its disk"
	dm_heal "disk-$1" "${DISK[$1]}"
	slow[$1]=''
	run_quiet ctl "$1" up spool || violation "$1 does not come up with its disk"
}

reachable() { [ -n "${power[$1]}" ] && [ -n "${agent[$1]}" ] && [ -n "${cable[$1]}" ] && ! is_parted "$1" "$primary"; } # NODE

who_can_is_live() {
	local node
	for node in "${NODES[@]}"; do
		if [ "$node" = "$primary" ] || ! reachable "$node"; then continue; fi
		both_live "$primary" "$node" || return 1
	done
}

# For a moment nobody writes: who is live has the same, now, and not only in the end, when most has been written over.
compare() {
	local node
	wait_for 20 "who can be live to be it" who_can_is_live || true
	app_stop TERM
	for node in "${NODES[@]}"; do
		if [ "$node" = "$primary" ] || ! both_live "$primary" "$node"; then continue; fi
		copies_equal "$primary" "$node" || violation "the copies differ: $node is live with $primary"
	done
	app_start
}

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
	note_whole
	run_quiet ctl "$from" secondary spool || { violation "$from does not become secondary"; app_start; return; }
	primary=''
	promote "$to" || promote "$from" || return 0
	app_check "$(check_mode)"
	app_start
}

check_mode() { if [ -n "${whole[$primary]:-}" ]; then echo all; else echo flushed; fi; }

take_over() { # NODE : its primary is off, and no other node is
	wait_for 30 "$1 to take over" promote "$1" --peer-dead || return 1
	app_check "$(check_mode)"
	app_start
}

# The primary loses its power, perhaps with others; a copy that had everything takes over, the others being what they are.
fail_over() { # [NODE...]
	local dead=$primary heirs heir
	power_cut "$primary" "$@"
	mapfile -t heirs < <(for heir in "${NODES[@]}"; do [ -z "${whole[$heir]:-}" ] || echo "$heir"; done)
	for heir in "${heirs[@]}"; do
		if [ -z "${agent[$heir]}" ] || [ -z "${cable[$heir]}" ]; then continue; fi
		take_over "$heir" && return
		violation "$heir was in sync with $dead, which is off, and does not take over"
	done
	diag "nobody could take over from $dead"
}

# The power of the primary and of all who were live with it; one of these comes back alone: with what was flushed.
black_out() {
	local dead=$primary live heir
	mapfile -t live < <(for heir in $(live_peers "$primary"); do if peer_is "$heir" "$primary" live; then echo "$heir"; fi; done)
	[ ${#live[@]} -gt 0 ] || return 1
	diag "power of $primary ${live[*]}"
	power_cut "$primary" "${live[@]}"
	pick "${live[@]}"
	heir=$picked
	let_it_run $((RANDOM % 2000))
	power_on "$heir"
	if is_parted "$heir" "$dead"; then return 0; fi
	take_over "$heir" || violation "$heir was in sync with $dead, which is off, and does not take over"
}

take_in_order() { # NODE : if it may
	promote "$1" || return 1
	app_check "$(if [ -n "$forced" ]; then echo lossy; else check_mode; fi)"
	app_start
}

# Nobody is left who has everything: the loss is accepted, in so many words.
take_by_force() { # NODE
	promote "$1" --force || return 0
	forced=1
	app_check lossy
	app_start
}

# What was on its way to it was not there, and must be sent again: seen at once, before it is written over.
away() { # NODE
	link_cut "$1"
	wait_for 60 "$primary to notice that $1 is away" eval "! peer_is $primary $1 live" || violation "$primary waits for $1, which is away"
	link_heal "$1"
	compare
}

alive() { [ -n "${power[$1]}" ] && [ -n "${agent[$1]}" ]; } # NODE

# Draws until something can happen: what a life is counts in things that did happen.
event() {
	local tries
	for ((tries = 0; tries < 50; tries++)); do
		pick "${NODES[@]}"
		if happens "$picked" $((RANDOM % 21)); then break; fi
	done
	# What was forgotten of who was away is seen now, or perhaps never.
	if [ -n "$returned" ] && [ -n "$primary" ] && reachable "$primary" && chance 60; then
		diag "copies"
		compare
	fi
	returned=''
	count_primaries
	let_it_run $((RANDOM % 1500))
}

happens() { # NODE KIND
	local node=$1 other
	pick "${NODES[@]}"
	other=$picked
	case $2 in
	0)
		[ -n "${power[$node]}" ] && [ "$node" != "$primary" ] || return 1
		diag "power of $node"
		power_cut "$node"
		;;
	1)
		[ -n "${power[$node]}" ] && [ -n "${power[$other]}" ] && [ "$node" != "$other" ] || return 1
		diag "power of $node and $other"
		if [ "$node" = "$primary" ]; then fail_over "$other"; elif [ "$other" = "$primary" ]; then fail_over "$node"; else power_cut "$node" "$other"; fi
		;;
	2)
		[ -n "$primary" ] && [ "$(in_sync | wc -l)" -gt 1 ] || return 1
		diag "power of the primary $primary"
		fail_over
		;;
	3) [ -n "$primary" ] && black_out || return 1 ;;
	4 | 5)
		[ -z "${power[$node]}" ] || return 1
		diag "$node comes back"
		power_on "$node"
		returned=1
		;;
	6)
		[ -n "${power[$node]}" ] || return 1
		if [ -n "${cable[$node]}" ]; then
			diag "cable of $node"
			link_cut "$node"
			cable[$node]=''
		else
			diag "cable of $node again"
			link_heal "$node"
			cable[$node]=1 returned=1
		fi
		;;
	7)
		[ -n "${cable[$node]}" ] || return 1
		diag "connections of $node"
		link_reset "$node"
		returned=1
		;;
	8)
		[ -n "${power[$node]}" ] || return 1
		if [ -n "${agent[$node]}" ]; then diag "agent of $node"; agent_dies "$node"; else diag "agent of $node again"; agent_lives "$node"; fi
		;;
	9)
		[ -n "${power[$node]}" ] || return 1
		if [ -n "${slow[$node]}" ]; then diag "disk of $node fast"; disk_fast "$node"; else diag "disk of $node slow"; disk_slow "$node"; fi
		;;
	10 | 11)
		[ -n "$primary" ] && [ "$node" != "$primary" ] && alive "$node" && alive "$primary" || return 1
		! is_parted "$node" "$primary" && in_sync | grep -qx "$node" || return 1
		diag "$node takes over from $primary"
		hand_over "$node"
		;;
	12)
		[ -z "$primary" ] && alive "$node" || return 1
		if [ "$node" != "$last" ] && chance 30; then
			diag "$node by force"
			take_by_force "$node"
		else
			diag "$node, if it may"
			take_in_order "$node"
		fi
		;;
	13)
		if [ ${#parted[@]} -gt 0 ]; then
			diag "${parted[*]} see each other"
			unite
			returned=1
		else
			[ "$node" != "$other" ] || return 1
			diag "$node and $other do not see each other"
			part "$node" "$other"
		fi
		;;
	14)
		[ -n "$primary" ] && [ "$node" != "$primary" ] && alive "$node" || return 1
		diag "$node is taken down, in order"
		down_and_up "$node"
		;;
	15)
		[ -n "$primary" ] && [ "$node" != "$primary" ] && alive "$node" && both_live "$primary" "$node" || return 1
		diag "disk of $node fails"
		disk_fails "$node"
		;;
	16 | 17)
		# More is broken by chance than is mended, and of a dead cluster nothing is learnt.
		diag "all is mended"
		mend
		wait_for 60 "somebody to be primary" find_primary || return 0
		compare
		;;
	1[89] | 20)
		[ -n "$primary" ] && [ "$node" != "$primary" ] && reachable "$node" && both_live "$primary" "$node" || return 1
		diag "$node is away for a moment"
		away "$node"
		;;
	esac
}

# --- and then all is mended -----------------------------------------------------------------------------------------

mend() {
	local node
	[ ${#parted[@]} = 0 ] || unite
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
		if take_in_order "$node"; then return 0; fi
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
	# What is wrong is looked at as it is.
	for ((n = 0; n < EVENTS && ${#violations[@]} == before; n++)); do event; done
	mend
	wait_for 120 "somebody to be primary" find_primary || violation "nobody can be primary"
	[ -n "$primary" ] || return 0
	settle_split
	# On a slow machine writes may come faster than they can be caught up with.
	wait_for 60 "all in sync, while it writes" all_in_sync || true
	app_stop TERM
	wait_for 180 "all in sync" all_in_sync || violation "not all are in sync"
	count_primaries
	app_check all
	copies_equal "${NODES[@]}" || violation "the copies differ"
	is "${#violations[@]}" "$before" "seed $1: nothing acknowledged is lost, all copies are equal, one primary"
	if [ "${#violations[@]}" != "$before" ]; then
		for n in "${NODES[@]}"; do ctl "$n" status | sed 's/^/# /'; tail -n 30 "$(node_dir "$n")/log" | sed "s/^/# $n: /"; done
	fi
	app_start
}

# --- the stage ----------------------------------------------------------------------------------------------------

# Disks with a cache.
insmod /repl/crash_disk.ko cache=1 disks=3 mib=$DISK_MIB log_mib=1
declare -A DISK=([a]=/dev/crash0 [b]=/dev/crash1 [c]=/dev/crash2)
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
app_check all
app_start
for ((seed = SEED; seed < SEED + SEEDS && ${#violations[@]} == 0; seed++)); do one_life "$seed"; done
app_stop TERM
is "${#violations[@]}" 0 "no violation: ${violations[*]:-none}"
ok "everything down" repl_stop
for node in "${NODES[@]}"; do dm_remove "disk-$node"; done
rmmod crash_disk
done_testing
