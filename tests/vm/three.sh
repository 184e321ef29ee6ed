# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Three nodes, two live peers at once; one lost and back; another one becomes primary.
# A test includes lib.sh and repl.sh, sets THREE_ENCRYPTION to tls or none, and includes this.

load() { # NODE SECONDS
	fio --name=load --filename="$(node_disk "$1")" --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite \
		--bsrange=4k-64k --size=32m --runtime="$2" --time_based --norandommap --fdatasync=50 --allow_file_create=0
}

repl_node a /dev/vda
repl_node b /dev/vdb
repl_node c /dev/vdc
repl_config "encryption = $THREE_ENCRYPTION"
repl_mkfs
ok "three nodes up, two peers live" repl_start a
ok "load on all three" load a 4
ok "all three are equal" copies_equal a b c

link_cut c
ok "load while c is lost: b stays live" load a 3
wait_for 60 "c is behind" eval '[ "$(peer_state a c)" != live ]'
is "$(peer_state a b)" live "b is live"
is "$(status_of a .generation)" "$(status_of b .generation)" "a and b are in the same generation"
isnt "$(status_of a .generation)" "$(status_of c .generation)" "c is in an older one"
ok "b has every byte" copies_equal a b
link_heal c
ok "c catches up" wait_live a c 120
ok "all three are equal again" copies_equal a b c

ok "a gives the role back" ctl a secondary spool
ok "b takes it with the consent of the live peers" ctl b primary spool
ok "a is live with b" wait_live b a 120
ok "c is live with b" wait_live b c 120
ok "load in the other direction" load b 3

# The messages of pairs that begin cross those of pairs that end.
in_turn() {
	local i from=b to=a
	for ((i = 0; i < 6; i++)); do
		ctl "$from" secondary spool && ctl "$to" primary spool || return 1
		wait_live "$to" "$from" 120 && wait_live "$to" c 120 || return 1
		read -r from to <<<"$to $from"
	done
}
ok "a and b take turns, and c follows each" in_turn
ok "all three are equal at the end" copies_equal a b c
for node in a b c; do ctl "$node" status | sed 's/^/# /'; done
ok "everything down" repl_stop
done_testing
