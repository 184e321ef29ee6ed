#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=768 timeout=600 files=scripts/repl-cluster
#
# As many servers as volumes, each primary for one and replica for another, from one table; a third server is the witness of
# each volume. Some lose their power at one instant, all that they have: what has a copy and its witness left is taken over
# by itself, or goes on; the rest stands still. Then they come back, and no write that was acknowledged is lost anywhere.
# make check plays four servers, of which two neighbours are lost: each case is there; make check-sixteen plays sixteen, of which any four are.
# --env NODES=N, KILL=N, SEED=N: the seed says which ones; VICTIMS="N N": these ones. STAGGER=S: one after the
# other, so many seconds apart; who is granted what depends on the moment then, and only the end is judged.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

NODES=${NODES:-4}
KILL=${KILL:-2}
[ "$NODES$KILL" != 42 ] || VICTIMS=${VICTIMS:-2 3}
SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$SEED
MIB=2
diag "seed $SEED"
klog_allow 'Buffer I/O error|I/O error, dev|lost async page write'

# Volume n: primary n, replica n + 1, witness n + 2.
after() { echo $((($1 - 1 + $2 + NODES) % NODES + 1)); } # N STEPS
replica() { after "$1" 1; }
witness() { after "$1" 2; }
minor_of() { if [ "$1" = "$2" ]; then echo $(($1 - 1)); else echo $((NODES + $1 - 1)); fi; } # VOLUME NODE
disk_of() { if [ "$1" = "$2" ]; then echo "v$1"; else echo "v$1.r"; fi; }                    # VOLUME NODE
all() { seq 1 "$NODES"; }
at() { REPL_VOLUME=v$1 status_of "n$2" "$3"; }                      # VOLUME NODE PATH
becomes() { REPL_VOLUME=v$1 status_becomes "n$2" "$3" "$4" "$5"; }  # VOLUME NODE PATH VALUE SECONDS
live() { [ "$(at "$1" "$2" ".peers[name=n$3].state")" = live ]; }    # VOLUME NODE PEER

# --- the stage ----------------------------------------------------------------------------------------------------

prepare() {
	local v n dir
	for n in $(all); do
		node_add "n$n" "10.0.0.$n"
		dir=$(node_dir "n$n")
		mkdir -p "$dir"
		repl-ctl genkey "$dir/key" >"$dir/pub"
	done
	{
		for n in $(all); do echo "node n$n 10.0.0.$n $(cat "$(node_dir "n$n")/pub")"; done
		for v in $(all); do
			echo "volume v$v n$v n$(replica "$v") /dev/mapper/v$v $((v - 1)) arbiter=node:n$(witness "$v")" \
				"takeover=auto takeover-after=1s join-limit=5s timeout=2s stuck-timeout=20s"
		done
	} >/run/table
	/repl/scripts/repl-cluster /run/table --out /run/nodes >/run/written || return 1
	# All servers are one machine here, which has one set of devices and minors, and one /etc and /run.
	for n in $(all); do
		dir=$(node_dir "n$n")
		sed -i "s,^key = .*,key = $dir/key\nsocket = $dir/agent.sock," "$dir/agent.conf"
	done
	for v in $(all); do
		sed -i "s,^device = .*,&.r,; s,^minor = .*,minor = $(minor_of "$v" 0)," \
			"$(node_dir "n$(replica "$v")")/volumes/v$v.conf"
	done
}

make_disks() {
	local v ram=0
	brd_load $((2 * NODES)) $MIB
	for v in $(all); do
		dm_linear "v$v" "/dev/ram$ram" && dm_linear "v$v.r" "/dev/ram$((ram + 1))" || return 1
		ram=$((ram + 2))
		mkfs.repl --name "v$v" "/dev/mapper/v$v" >/dev/null && mkfs.repl --name "v$v" "/dev/mapper/v$v.r" >/dev/null || return 1
	done
}

# The first generation has no entry yet at its witness: a person makes it.
make_primary() { # VOLUME
	local v=$1
	becomes "$v" "$v" ".peers[name=n$(replica "$v")].session" connected 60 >/dev/null || return 1
	run_quiet ctl "n$v" primary "v$v" || return 1
	run_quiet ctl "n$(witness "$v")" witness add "v$v" "$(at "$v" "$v" .uuid)" "$(at "$v" "$v" .generation)"
}

# --- those who write ----------------------------------------------------------------------------------------------

declare -A writer=() server=()

writes() { # VOLUME NODE
	server[$1]=$2
	innet "/run/netns/n$2" life write "/dev/repl$(minor_of "$1" "$2")" "/run/oracle.$1" 10 >"/run/app.$1" 2>&1 &
	writer[$1]=$!
}

stops() { # VOLUME SIGNAL
	[ -n "${writer[$1]:-}" ] || return 0
	kill "-$2" "${writer[$1]}" 2>/dev/null || true
	wait "${writer[$1]}" 2>/dev/null || true
	writer[$1]=''
}

nothing_lost() { # VOLUME NODE : what was acknowledged is there, and nothing that nobody wrote
	life check "/dev/repl$(minor_of "$1" "$2")" "/run/oracle.$1" >"/run/check.$1" 2>&1 || {
		cat "/run/check.$1"
		return 1
	}
}

# --- power --------------------------------------------------------------------------------------------------------

declare -A dead=()

disks_of() { echo "v$1" "v$(after "$1" -1).r"; } # NODE : after(N, -1) is whose replica it is

# Nobody among them sees another one go first: who is granted something by a witness that is lost a moment later is another
# story. Without its agent a node begins nothing, since it can ask nobody; that its sessions end at once saves 10 s.
power_cuts() { # NODE...
	local n disk pids=()
	for n in "$@"; do pids+=("$(agent_pid "n$n")"); done
	kill -KILL "${pids[@]}"
	for n in "$@"; do echo "link set v-n$n nomaster"; done | ip -batch -
	for n in "$@"; do
		dead[$n]=1
		for disk in $(disks_of "$n"); do
			run_quiet dmsetup suspend --nolockfs "$disk"
			run_quiet dmsetup load "$disk" --table "$(dm_error_table "/dev/mapper/$disk")"
			run_quiet dmsetup resume "$disk"
		done
		rm -f "$(node_dir "n$n")/agent.sock"
	done
}

# What is left of it in this machine's memory.
clear_away() { # NODE
	local n=$1 m
	# A write that waits in the kernel ends with the volume, and its writer with that.
	kill -KILL "${writer[$n]}" 2>/dev/null || true
	for m in $((n - 1)) $((NODES + $(after "$n" -1) - 1)); do
		wait_for 60 "minor $m of n$n to go" knode detach "$m" force >/dev/null 2>&1 || return 1
	done
	stops "$n" KILL
	wait "$(agent_pid "n$n")" 2>/dev/null || true
}

power_on() { # NODE
	local n=$1 i=0 disk
	for disk in $(disks_of "$n"); do
		if [ "$i" = 0 ]; then dm_heal "$disk" "/dev/ram$((2 * (n - 1)))"; else
			dm_heal "$disk" "/dev/ram$((2 * ($(after "$n" -1) - 1) + 1))"
		fi
		i=1
	done
	link_heal "n$n"
	agent_start "n$n"
	run_quiet ctl "n$n" up "v$n" "v$(after "$n" -1)"
	dead[$n]=''
}

# --- what becomes of a volume -------------------------------------------------------------------------------------

gone() { [ -n "${dead[$1]:-}" ]; }

# Who must serve it by itself while others are away: a node; "frozen", or nobody.
heir() { # VOLUME
	local p=$1 r w
	r=$(replica "$1") w=$(witness "$1")
	if ! gone "$p" && ! gone "$r"; then
		echo "$p"
	elif gone "$p" && gone "$r"; then
		echo nobody
	elif gone "$w"; then
		if gone "$p"; then echo nobody; else echo frozen; fi
	elif gone "$p"; then
		echo "$r"
	else
		echo "$p"
	fi
}

# Serves it, and a write completes.
serves() { # VOLUME NODE
	becomes "$1" "$2" .role primary 90 >/dev/null && becomes "$1" "$2" .frozen false 90 >/dev/null
}

stands() { # VOLUME NODE : nobody has taken it over, or lets a write pass
	case "$(at "$1" "$2" .role)-$(at "$1" "$2" .frozen)" in
	secondary-* | primary-true) ;;
	*) return 1 ;;
	esac
}

check_lost() { # VOLUME : while they are away
	local v=$1 who
	who=$(heir "$v")
	case $who in
	nobody | frozen)
		[ "$who" = nobody ] || becomes "$v" "$v" .frozen true 60 >/dev/null || return 1
		for node in $v $(replica "$v"); do gone "$node" || stands "$v" "$node" || return 1; done
		;;
	*)
		serves "$v" "$who" || return 1
		[ "$who" = "${server[$v]}" ] || {
			stops "$v" KILL
			nothing_lost "$v" "$who" && writes "$v" "$who"
		}
		;;
	esac
}

check_still() { # VOLUME : that nobody serves
	local node
	case $(heir "$1") in
	nobody | frozen) for node in $1 $(replica "$1"); do gone "$node" || stands "$1" "$node" || return 1; done ;;
	esac
}

# Whoever is primary; with nobody, whom the witness lets: it may have granted it to one that died before it made use of it.
find_server() { # VOLUME
	local v=$1 node
	for node in $v $(replica "$v"); do
		if [ "$(at "$v" "$node" .role)" = primary ]; then
			found=$node
			return 0
		fi
	done
	for node in $v $(replica "$v"); do
		ctl "n$node" primary "v$v" >>"/run/primary.$v" 2>&1 && return 1
	done
	return 1
}

check_back() { # VOLUME : when all are there again
	local v=$1 other
	wait_for 120 "somebody to serve v$v" find_server "$v" || return 1
	other=$v
	[ "$found" != "$v" ] || other=$(replica "$v")
	becomes "$v" "$found" ".peers[name=n$other].state" live 120 >/dev/null || return 1
	becomes "$v" "$found" .frozen false 60 >/dev/null || return 1
	stops "$v" TERM
	nothing_lost "$v" "$found" || return 1
	server[$v]=$found
}

equal() { # VOLUME
	local size
	size=$(at "$1" "$1" .size)
	same "/dev/mapper/v$1" "/dev/mapper/v$1.r" "$size"
}

tell() { # VOLUME
	local v=$1 node
	cat "/run/primary.$v" 2>/dev/null || true
	for node in $v $(replica "$v"); do
		gone "$node" || ctl "n$node" status "v$v" || true
		grep -E "(^|[ :])v${v}[/:]" "$(node_dir "n$node")/log" | tail -n 30 || true
	done
}

each() { # FUNCTION : for every volume; says which ones fail
	local v bad=''
	for v in $(all); do
		"$1" "$v" || {
			bad+=" v$v"
			tell "$v"
		}
	done
	[ -z "$bad" ] || echo "not so:$bad"
	[ -z "$bad" ]
}

# Not through ok(), which has a subshell: what they note is needed.
check_each() { # DESCRIPTION FUNCTION
	local out=/run/each rc=0
	each "$2" >$out 2>&1 || rc=1
	if [ $rc = 0 ]; then pass "$1"; else fail "$1" "$(cat $out)"; fi
}

# --- the play -----------------------------------------------------------------------------------------------------

ok "$NODES servers, $NODES volumes, from one table of $((2 * NODES)) lines" prepare
modprobe -a tls repl
ok "disks" make_disks
for n in $(all); do agent_start "n$n"; done
for n in $(all); do run_quiet ctl "n$n" up "v$n" "v$(after "$n" -1)"; done
check_each "each is primary for one" make_primary
for v in $(all); do
	becomes "$v" "$v" ".peers[name=n$(replica "$v")].state" live 120 >/dev/null || fail "v$v is live" "it is not"
	nothing_lost "$v" "$v" || fail "v$v is empty" "it is not"
	writes "$v" "$v"
done
pass "and replica for another, in sync, and in use"

victims=()
mapfile -t left < <(all)
for ((n = 0; n < KILL; n++)); do
	i=$((RANDOM % ${#left[@]}))
	victims+=("${left[i]}")
	left=("${left[@]:0:i}" "${left[@]:i + 1}")
done
[ -z "${VICTIMS:-}" ] || read -ra victims <<<"$VICTIMS"
diag "servers that lose their power: ${victims[*]}"
began=$(now_ms)
if [ -n "${STAGGER:-}" ]; then
	for n in "${victims[@]}"; do
		power_cuts "$n"
		sleep "$STAGGER"
	done
else
	power_cuts "${victims[@]}"
fi
for n in "${victims[@]}"; do clear_away "$n" || fail "n$n is gone" "its volumes do not go down"; done
for v in $(all); do diag "v$v: primary n$v, replica n$(replica "$v"), witness n$(witness "$v"): $(heir "$v")"; done
if [ -z "${STAGGER:-}" ]; then
	check_each "what has a copy and its witness left is served, the rest stands still; nothing is lost" check_lost
	check_each "and stands still to the end" check_still
fi
diag "after $((($(now_ms) - began) / 1000)) s"

for n in "${victims[@]}"; do power_on "$n" || fail "n$n comes back" "it does not"; done
check_each "they come back: all is served and in sync, and no acknowledged write is lost" check_back
check_each "all copies are equal" equal
gives() { rc=0 && out=$(ctl n1 status --all-nodes --check 2>&1) || rc=$?; }
gives
is "$rc" 0 "one server sees those with which it shares a volume, and all is well there"
while IFS= read -r line; do diag "$line"; done <<<"$out"
for n in $(all); do run_quiet ctl "n$n" down "v$n" "v$(after "$n" -1)"; done
for n in $(all); do agent_kill "n$n" TERM; done
for v in $(all); do dm_remove "v$v" && dm_remove "v$v.r"; done
done_testing
