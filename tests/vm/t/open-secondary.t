#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: kernel=6.1,6.12 mem=512 smp=1 icount=1 timeout=200 disks=16M
#
# A volume that is not primary refuses every open, at once: in virtual time, so the figure is the same on any machine.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

LIMIT=10000 # microseconds
brd_load 1 16
knode_up /dev/ram0
is "$(cat /sys/block/repl0/ro)" 1 "a secondary's disk is read-only"
for mode in ro rw; do
	read -r how us < <(opentime /dev/repl0 "$mode")
	is "$how" EROFS "an open ($mode) is refused as read-only file system"
	ok "in $us microseconds" [ "$us" -lt $LIMIT ]
done
not_ok "it cannot be mounted, not even read-only" mount -t ext4 -o ro,noload /dev/repl0 /mnt
ok "primary" knode primary 0 force
read -r how us < <(opentime /dev/repl0 rw)
is "$how" opened "a primary's disk opens"
is "$(cat /sys/block/repl0/ro)" 0 "and is not read-only"
ok "secondary again" knode secondary 0
read -r how us < <(opentime /dev/repl0 ro)
is "$how" EROFS "refused again"
ok "down" knode_down
done_testing
