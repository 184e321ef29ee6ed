#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=768 timeout=900 disks=64M,64M,64M with=fio once=6.1
#
# Three nodes, and the primary loses its power under load: one survivor takes over with the consent of the other, which
# is in sync again after a copy of what was written lately. Then the primary and a peer are lost together.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

SEED=${SEED:-$RANDOM}
RANDOM=$SEED
diag "seed $SEED"
klog_allow 'Buffer I/O error|I/O error, dev|lost async page write|reset'
declare -A DISK=([a]=/dev/vda [b]=/dev/vdb [c]=/dev/vdc)

lose_link() { # NODE : which is live with one that is no more
	local slot
	slot=$(knode get "${NODE_MINOR[$1]}" | sed -n 's/^slot\([0-9]*\)\.link=1$/\1/p')
	run_quiet ip netns exec "$1" knode leave "${NODE_MINOR[$1]}" "$slot"
}
power_cut() { # NODE... : the primary, too
	local node
	# All at one instant: with a live peer the primary would go on without its disk.
	for node in "$@"; do
		agent_kill "$node"
		run_quiet dmsetup suspend --nolockfs "disk$node"
	done
	for node in a b c; do
		[[ " $* " = *" $node "* ]] || lose_link "$node"
	done
	for node in "$@"; do dm_break "disk$node"; done
	for node in "$@"; do run_quiet knode detach "${NODE_MINOR[$node]}" force; done
}
power_on() { # NODE
	dm_heal "disk$1" "${DISK[$1]}"
	agent_start "$1"
	run_quiet ctl "$1" up spool
}
behind() { status_of "$1" ".peers[name=$2].dirty_bytes"; } # NODE PEER
doubts() { echo $(($(behind "$1" "$2") + $(behind "$2" "$1"))); }
know_each_other() { [ "$(doubts "$1" "$2")" = 0 ]; }
full_copies() { cat "$(node_dir "$1")/log" "$(node_dir "$2")/log" | grep -c "leads with a full copy" || true; }

ZONE=8 # MiB that one load writes to
load() { # NODE MIB
	fio --name=load --filename="$(node_disk "$1")" --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite \
		--bsrange=4k-32k --offset="${2}m" --size=${ZONE}m --rate_iops=40 --fdatasync=20 --randseed="$SEED" \
		--runtime=200 --time_based --allow_file_create=0 >/dev/null 2>&1 &
	load=$!
	wait_for 60 "writes arrive" eval "[ \"\$(behind c ${3:-b})\" != 0 ]"
	sleep "$((1 + RANDOM % 6)).$((RANDOM % 10))" # not for a condition: a power cut may come at any time
}
precious() { # NODE : a write that is acknowledged, at the volume's end
	dd if=/dev/urandom of=/run/precious bs=64k count=4 status=none
	dd if=/run/precious of="$(node_disk "$1")" bs=64k seek=800 oflag=direct conv=notrunc,fdatasync status=none
}
has_precious() { # NODE
	[ "$(data_sha "$(node_disk "$1")" 262144 $((800 * 65536)))" = "$(sha256sum </run/precious | cut -d' ' -f1)" ]
}

for node in a b c; do
	dm_linear "disk$node" "${DISK[$node]}"
	repl_node "$node" "/dev/mapper/disk$node"
done
repl_config
repl_mkfs
ok "three nodes up, two peers live" repl_start a
ok "the two learn that they are equal" wait_for 120 "they are told" know_each_other b c
like "$(ctl b status)" "both follow a" "status says why they do not talk"
full=$(full_copies b c)

diag "the primary is lost"
load a 4
precious a
power_cut a
wait "$load" || true
wait_for 60 "the survivors have lost it" eval '! peer_is b a live && ! peer_is c a live'
found=$(doubts b c)
ok "what b and c are in doubt of is what was written lately ($found bytes)" [ "$found" -le $((2 * ZONE << 20)) ]
ok "b takes over" ctl b primary spool --peer-dead
ok "it has what was acknowledged" has_precious b
ok "c is in sync with it" wait_live b c 120
is "$(full_copies b c)" "$full" "for this nothing was copied in full"
ok "b and c are equal" copies_equal b c
power_on a
ok "a is back" wait_live b a 120
ok "all three are equal" copies_equal a b c

diag "the primary and a peer are lost together"
ok "a and c learn that they are equal" wait_for 120 "they are told" know_each_other a c
full=$(full_copies a c)
load b 20 a
precious b
power_cut b a
wait "$load" || true
wait_for 60 "the survivor has lost both" eval '! peer_is c b live'
ok "c takes over" ctl c primary spool --peer-dead
ok "it has what was acknowledged" has_precious c
power_on a
ok "a is in sync with it" wait_live c a 120
is "$(full_copies a c)" "$full" "for this nothing was copied in full"
power_on b
ok "b is back" wait_live c b 120
ok "all three are equal" copies_equal a b c
ok "everything down" repl_stop
for node in a b c; do dm_remove "disk$node"; done
done_testing
