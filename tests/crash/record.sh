# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The recorded run: two nodes whose disks are those of crash_disk, a load, and what befalls a pair in a year.

CRASH_SAVED=/dev/vda # the host's file for the log
CRASH_LOAD=${CRASH_LOAD:?}
crash_state=/run/load

crash_nodes() {
	repl_node a /dev/crash0
	repl_node b /dev/crash1
	crash_config
}

crash_config() {
	repl_config "encryption = $CRASH_ENCRYPTION" "timeout = 3s" "stuck-timeout = 20s"
	if [ "$CRASH_EXTERNAL" = 1 ]; then
		sed -i 's,^device.*,&\nmetadata = /dev/crash2,' "$(node_dir b)/volumes/$REPL_VOLUME.conf"
	fi
}

crash_mkfs() {
	local external=()
	[ "$CRASH_EXTERNAL" = 0 ] || external=(--metadata /dev/crash2)
	run_quiet mkfs.repl --name "$REPL_VOLUME" --region-size 64K --size $((CRASH_MIB - 1))M /dev/crash0
	run_quiet mkfs.repl --name "$REPL_VOLUME" --region-size 64K --size $((CRASH_MIB - 1))M "${external[@]}" /dev/crash1
}

load_start() { # NODE
	local disk
	disk=$(node_disk "$1")
	rm -f $crash_state.stop
	if [ "$CRASH_LOAD" = mail ]; then
		mkdir -p /mnt/m
		mount -o noatime "$disk" /mnt/m
		crashload mail /mnt/m "$CRASH_SEED" "$CRASH_THREADS" $crash_state &
	else
		crashload raw "$disk" "$CRASH_SEED" "$CRASH_THREADS" $crash_state &
	fi
	crash_load=$!
}

load_stop() {
	touch $crash_state.stop
	wait "$crash_load"
	[ "$CRASH_LOAD" != mail ] || umount /mnt/m
}

not_live() { ! peer_is "$1" "$2" live; }

copies_same() { crash equal $(((CRASH_MIB - 1) << 20)); }

come_together() { # LEADER FOLLOWER : live again, and equal once the load has ended
	wait_live "$1" "$2" 300
	load_stop
	copies_same
	pass "$1 and $2 have equal copies"
}

# Each step must succeed: what was not reached is not tested.
crash_record() {
	local node
	crash begin
	for node in a b; do crash mark "file $node $(cat "$(node_dir $node)/key")"; done
	crash mark "file seed $CRASH_SEED"
	crash mark "load $CRASH_LOAD $CRASH_SEED $CRASH_THREADS"
	crash_mkfs
	repl_start a
	[ "$CRASH_LOAD" != mail ] || run_quiet mkfs.ext4 -q -b 4096 -J size=4 "$(node_disk a)"
	sync
	crash mark start

	# The region log is cleaned every 5 seconds, of what has rested for as long.
	load_start a
	sleep 12
	crash mark "note b goes away"
	link_cut b
	wait_for 60 "a notices" not_live a b
	# So long that the maps are saved and regions leave the log while b is behind.
	sleep 11
	crash mark "note b comes back"
	link_heal b
	come_together a b

	crash mark "note the roles change"
	run_quiet ctl a secondary spool
	run_quiet ctl b primary spool
	load_start b
	sleep 7
	crash mark "note a is taken down"
	run_quiet ctl a down spool
	sleep 1
	run_quiet ctl a up spool
	come_together b a

	crash mark "note nobody writes"
	sleep 11
	load_start b
	sleep 1
	crash mark "note the connection breaks"
	link_reset b
	come_together b a
	run_quiet ctl b secondary spool
	crash end
	for node in b a; do run_quiet ctl "$node" down spool; done
	crash save "$CRASH_SAVED"
}

# Another boot: the record of an earlier one, and the keys that its copies know.
crash_reload() {
	local node
	mkdir -p /run/files
	crash load "$CRASH_SAVED"
	crash files /run/files
	CRASH_SEED=$(cat /run/files/seed)
	for node in a b; do
		cat /run/files/$node >"$(node_dir $node)/key"
		repl-ctl pubkey <"$(node_dir $node)/key" >"$(node_dir $node)/pub"
	done
	crash_config
	for node in a b; do agent_start $node; done
}
