# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Nodes of repl inside one test VM: each has a network namespace, a configuration directory, an agent, and a copy of
# one volume named "spool". Include after lib.sh.

REPL_NODES=()
REPL_VOLUME=spool
declare -A NODE_IP=() NODE_DEV=() NODE_MINOR=()

node_dir() { echo "/run/nodes/$1"; }

# --- configuration ------------------------------------------------------------------------------------------------

repl_node() { # NAME DEVICE : the nth gets 10.0.0.n and minor n - 1
	local name=$1 n=$((${#REPL_NODES[@]} + 1)) dir
	dir=$(node_dir "$name")
	REPL_NODES+=("$name")
	NODE_IP[$name]=10.0.0.$n NODE_DEV[$name]=$2 NODE_MINOR[$name]=$((n - 1))
	if [ ! -e "/run/netns/$name" ]; then node_add "$name" "${NODE_IP[$name]}"; fi
	mkdir -p "$dir/volumes"
	repl-ctl genkey "$dir/key"
	repl-ctl pubkey <"$dir/key" >"$dir/pub"
}

agent_conf() { # NAME
	local dir other
	dir=$(node_dir "$1")
	printf '[node]\nname = %s\nkey = %s\nlisten = %s:7788\nsocket = %s\nfailover-socket = %s\n' \
		"$1" "$dir/key" "${NODE_IP[$1]}" "$dir/agent.sock" "$dir/failover.sock"
	for other in "${REPL_NODES[@]}"; do
		[ "$other" = "$1" ] || printf '\n[peer "%s"]\naddress = %s:7788\npublic-key = %s\n' \
			"$other" "${NODE_IP[$other]}" "$(cat "$(node_dir "$other")/pub")"
	done
}

volume_conf() { # NAME [LINE...] : more lines for its [volume] section
	local name=$1 other
	shift
	printf '[volume]\ndevice = %s\nminor = %s\n' "${NODE_DEV[$name]}" "${NODE_MINOR[$name]}"
	printf '%s\n' "$@"
	for other in "${REPL_NODES[@]}"; do
		[ "$other" = "$name" ] || printf '\n[peer "%s"]\nmode = sync\n' "$other"
	done
}

repl_config() { # [LINE...] : writes every node's files; call after the last repl_node
	local name dir
	for name in "${REPL_NODES[@]}"; do
		dir=$(node_dir "$name")
		agent_conf "$name" >"$dir/agent.conf"
		# Slow machines need more time for the last delta than a server does.
		volume_conf "$name" "join-limit = 5s" "$@" >"$dir/volumes/$REPL_VOLUME.conf"
	done
}

repl_mkfs() { # [NAME...]
	local name
	for name in "${@:-"${REPL_NODES[@]}"}"; do
		run_quiet mkfs.repl --name "$REPL_VOLUME" "${NODE_DEV[$name]}"
	done
}

# --- agents and commands ------------------------------------------------------------------------------------------

agent_start() { # NAME
	local dir
	dir=$(node_dir "$1")
	# Not through in_node: $! must be the agent, not a shell that waits for it.
	nsenter --net="/run/netns/$1" -- repl-agent --config "$dir" --foreground >>"$dir/log" 2>&1 &
	echo $! >"$dir/pid"
	wait_for 20 "agent of $1 listens" test -S "$dir/agent.sock"
}

agent_pid() { cat "$(node_dir "$1")/pid"; }

agent_kill() { # NAME [SIGNAL]
	local pid
	pid=$(agent_pid "$1")
	kill "-${2:-KILL}" "$pid"
	[ "${2:-KILL}" = STOP ] || [ "${2:-KILL}" = CONT ] || {
		# Not always a child of this shell, so wait alone may not do.
		wait "$pid" 2>/dev/null || wait_for 20 "the agent of $1 to end" eval "! kill -0 $pid"
		rm -f "$(node_dir "$1")/agent.sock"
	}
}

ctl() { # NAME SUBCOMMAND [ARG...]
	local name=$1
	shift
	in_node "$name" repl-ctl --config "$(node_dir "$name")" "$@"
}

# The helper that repl-failover.socket would start; what it runs gets these variables.
failover_listen() { # NAME [VARIABLE=VALUE...]
	local name=$1 dir
	dir=$(node_dir "$name")
	shift
	printf '#!/bin/bash\nexec repl-failover --config %s serve\n' "$dir" >"$dir/serve"
	chmod +x "$dir/serve"
	in_node "$name" env "$@" socat "UNIX-LISTEN:$dir/failover.sock,fork" "EXEC:$dir/serve" >>"$dir/served" 2>&1 &
	wait_for 20 "the helper of $name" test -S "$dir/failover.sock"
}

node_disk() { echo "/dev/repl${NODE_MINOR[$1]}"; }

# For a path alone there is a quicker way than jq.
status_of() { # NAME FILTER : of the volume's object, a path of field or what jq understands
	if [[ $2 =~ ^(\.[a-z_]+(\[[a-z0-9_=]+\])?)+$ ]]; then
		field "/run/netns/$1" "$(node_dir "$1")" "$REPL_VOLUME" "$2"
	else
		ctl "$1" status --json | jq -r ".volumes[] | select(.name == \"$REPL_VOLUME\") | $2"
	fi
}

status_becomes() { # NAME PATH VALUE SECONDS
	field "/run/netns/$1" "$(node_dir "$1")" "$REPL_VOLUME" "$2" "$3" $(($4 * ${VM_WAIT_SCALE:-1}))
}

peer_state() { # NAME PEER
	status_of "$1" ".peers[name=$2].state"
}

peer_is() { [ "$(peer_state "$1" "$2")" = "$3" ]; } # NAME PEER STATE

both_live() { peer_is "$1" "$2" live && peer_is "$2" "$1" live; }

wait_live() { # NAME PEER [SECONDS]
	local seconds=${3:-90}
	# It may be lost again between the two.
	if status_becomes "$1" ".peers[name=$2].state" live "$seconds" >/dev/null &&
		status_becomes "$2" ".peers[name=$1].state" live "$seconds" >/dev/null &&
		wait_for "$seconds" "$1 and $2 live" both_live "$1" "$2"; then
		return
	fi
	ctl "$1" status || true
	ctl "$2" status || true
	tail -n 20 "$(node_dir "$1")/log" "$(node_dir "$2")/log"
	return 1
}

# The whole way: agents, volumes, a first primary, everybody live.
repl_start() { # FIRST_PRIMARY
	local name
	modprobe tls
	modprobe repl
	for name in "${REPL_NODES[@]}"; do agent_start "$name"; done
	for name in "${REPL_NODES[@]}"; do run_quiet ctl "$name" up "$REPL_VOLUME"; done
	run_quiet ctl "$1" primary "$REPL_VOLUME" --force
	for name in "${REPL_NODES[@]}"; do
		[ "$name" = "$1" ] || wait_live "$1" "$name"
	done
}

repl_stop() {
	local name
	for name in "${REPL_NODES[@]}"; do run_quiet ctl "$name" down "$REPL_VOLUME" || return 1; done
	for name in "${REPL_NODES[@]}"; do agent_kill "$name" TERM; done
}

# --- contents -----------------------------------------------------------------------------------------------------

volume_bytes() { status_of "$1" .size; }

copies_equal() { # NAME NAME... : the data areas of the backing devices, as they are on stable media
	local name bytes
	bytes=$(volume_bytes "$1")
	for name in "${@:2}"; do
		[ "$(volume_bytes "$name")" = "$bytes" ] || { echo "$name is of another size than $1"; return 1; }
		same "${NODE_DEV[$1]}" "${NODE_DEV[$name]}" "$bytes" || return 1
	done
}
