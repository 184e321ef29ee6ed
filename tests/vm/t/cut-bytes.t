#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=512 timeout=900 disks=24M,24M
#
# All connections are reset after N bytes one way, wherever that is: in a handshake, between agent and kernel, in a
# catching up, in the join, in a flush, in live writes. Whatever N is, the pair ends live and equal, and no agent dies.
# Each way takes every fifth of some lengths. Then the same, of a link that is up and not encrypted, so that the module's
# own frames break anywhere. GRID=fine takes steps of 199 bytes, both ways, up to where the first live writes are, and
# each byte of the first frames, which takes hours: make check-cuts.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

grid=(1 500 1400 2300 3200 4500 7000 12000 30000 90000 400000) step=5
frames=(1 29 8250)
if [ "${GRID:-coarse}" = fine ]; then
	mapfile -t grid < <(seq 1 199 30000)
	mapfile -t frames < <(seq 1 200)
	step=1
fi

relay_start() { # NAME WAY PEER : what the node NAME says to its peer goes this way
	in_node "$1" relay serve /run/relay "$2" 127.0.0.1 9999 "${NODE_IP[$3]}" 7788 &
	sed -i "s/^address = .*/address = 127.0.0.1:9999/" "$(node_dir "$1")/agent.conf"
}

repl_node a /dev/vda
repl_node b /dev/vdb
repl_config "timeout = 4s"
relay_start a 0 b
relay_start b 1 a
# Every node's.
# shellcheck disable=SC2119
repl_mkfs
ok "live through relays" repl_start a

# Writes a little all the time, a flush with every fourth.
writer() {
	local n=0
	while [ -e /run/writing ]; do
		n=$((n + 1))
		pattern "$SEED.$n" 8192 | dd of=/dev/repl0 bs=8k iflag=fullblock oflag=direct,seek_bytes \
			seek=$((n * 7919 % 2000 * 8192)) conv=notrunc status=none
		[ $((n % 4)) != 0 ] || dd if=/dev/repl0 of=/dev/repl0 bs=4k count=1 oflag=direct conv=notrunc,fsync status=none
	done
}

hit() { [ "$(relay left /run/relay)" = "-1 -1" ]; }
alive() { kill -0 "$(agent_pid a)" && kill -0 "$(agent_pid b)"; }

# The next N bytes one way are the last ones. WORDS: which connections there are.
cut_after() { # WAY BYTES WORDS
	local way=$1 n=$2 what="way $1, $2 bytes, $3"
	relay arm /run/relay "$way" "$n"
	touch /run/writing
	writer &
	ok "$what: reached" wait_for 60 "byte $n" hit
	rm /run/writing
	wait $! || fail "$what: no write fails"
	relay arm /run/relay "$way" -1
	if wait_live a b 60 && alive && copies_equal a b; then
		pass "$what: live and equal"
	else
		fail "$what" "$(tail -n 5 "$(node_dir a)/log" "$(node_dir b)/log")"
	fi
}

SEED=${SEED:-cut}
for way in 0 1; do
	for ((i = way % step; i < ${#grid[@]}; i += step)); do
		# From the first byte of the first connection on.
		relay cut /run/relay
		cut_after "$way" "${grid[i]}" "from the first on"
	done
done

for node in a b; do
	sed -i 's/^\[volume\]/&\nencryption = none/' "$(node_dir "$node")/volumes/spool.conf"
	run_quiet ctl "$node" reload
done
relay cut /run/relay
ok "live, and not encrypted" wait_live a b 60
for n in "${frames[@]}"; do
	for way in 0 1; do cut_after "$way" "$n" "of a link that is up"; done
done
ok "everything down" repl_stop
done_testing
