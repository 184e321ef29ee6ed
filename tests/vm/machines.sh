# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two machines of repl, each a VM with one disk, for host tests. Include after multi.sh.

declare -A machine_key=() machine_pub=()

# Keys and metadata. They are kept on the host, since a killed VM forgets all but its disk.
machine_prepare() { # NAME
	vm_exec "$1" 'mkfs.repl --name spool /dev/vda >/dev/null'
	machine_key[$1]=$(vm_exec "$1" 'repl-ctl genkey 2>/dev/null')
	machine_pub[$1]=$(vm_exec "$1" "echo ${machine_key[$1]} | repl-ctl pubkey")
}

# What is needed after each boot: files, module, agent, volume.
machine_up() { # NAME PEER
	vm_exec "$1" "
		mkdir -p /etc/repl/volumes /run/repl; umask 077; echo ${machine_key[$1]} >/etc/repl/key
		printf '%s\n' '[node]' 'name = $1' 'key = /etc/repl/key' 'listen = $(vm_ip "$1"):7788' \
			'[peer \"$2\"]' 'address = $(vm_ip "$2"):7788' 'public-key = ${machine_pub[$2]}' >/etc/repl/agent.conf
		printf '%s\n' '[volume]' 'device = /dev/vda' 'minor = 0' 'join-limit = 5s' 'timeout = 20s' \
			'[peer \"$2\"]' 'mode = sync' >/etc/repl/volumes/spool.conf
		modprobe tls; modprobe repl
		setsid repl-agent --foreground >/run/agent.log 2>&1 </dev/null &
		for i in \$(seq 100); do [ ! -S /run/repl/agent.sock ] || break; sleep 0.2; done
		repl-ctl up spool"
}

machine_in_sync() { vm_exec "$1" 'repl-ctl wait spool --for in-sync --timeout 5'; }
