#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.12 timeout=700
#
# Two machines; the primary's power is cut in the middle of writing. What it had acknowledged is on the other, which takes
# over; the dead one comes back, follows, and the role goes back.
# shellcheck source=tests/vm/multi.sh
. "$(dirname "$0")/../multi.sh"
# shellcheck source=tests/vm/machines.sh
. "$(dirname "$0")/../machines.sh"

role() { vm_exec "$1" 'repl-ctl role spool'; }
sha() { # NAME : of the data area
	vm_exec "$1" '. /repl/tests/vm/lib.sh; data_sha /dev/vda "$(repl-ctl status spool --json | jq ".volumes[0].size")"'
}

vm_start one --disk 48M --mem 512
vm_start two --disk 48M --mem 512
machine_prepare one
machine_prepare two
ok "one is up" machine_up one two
ok "two is up" machine_up two one
ok "one is primary" vm_exec one 'repl-ctl primary spool --force'
ok "first copy" wait_for 120 "in sync" machine_in_sync one
ok "a file system" vm_exec one 'mkfs.ext4 -q /dev/repl0 && mkdir -p /mnt/m && mount /dev/repl0 /mnt/m'

ok "thirty files, each acknowledged by fsync" vm_exec one '
	. /repl/tests/vm/lib.sh
	for i in $(seq 30); do pattern "mail $i" 20000 | dd of=/mnt/m/$i bs=20000 iflag=fullblock conv=fsync status=none; done'
vm_exec one '(cd /mnt/m; i=100; while :; do head -c 50000 /dev/urandom >$i; sync $i; i=$((i + 1)); done) >/dev/null 2>&1 </dev/null &'
wait_for 30 "the load runs" vm_exec one '[ -e /mnt/m/103 ]'
vm_kill one

not_ok "no promotion without a word about the peer" vm_exec two 'repl-ctl primary spool'
ok "two takes over: its peer is dead" wait_for 90 "promotion" vm_exec two 'repl-ctl primary spool --peer-dead'
ok "the file system is clean after its journal" vm_exec two 'e2fsck -fp /dev/repl0 || [ $? = 1 ]'
ok "it mounts" vm_exec two 'mkdir -p /mnt/m && mount /dev/repl0 /mnt/m'
ok "every acknowledged file is there, with its bytes" vm_exec two '
	. /repl/tests/vm/lib.sh
	for i in $(seq 30); do
		[ "$(sha256sum </mnt/m/$i | cut -d" " -f1)" = "$(pattern_sha "mail $i" 20000)" ] || { echo "file $i"; exit 1; }
	done'
ok "status says how it became primary" vm_exec two 'repl-ctl status spool --json | jq -e ".volumes[0].begun_by == \"peer-dead\"" >/dev/null'

vm_start one --disk 48M --mem 512
ok "one comes back" machine_up one two
is "$(role one)" secondary "it does not think that it is primary"
ok "it catches up while two goes on" vm_exec two 'for i in $(seq 200 210); do head -c 50000 /dev/urandom >/mnt/m/$i; done; sync'
ok "in sync again" wait_for 120 "in sync" machine_in_sync two
ok "two gives the role back" vm_exec two 'umount /mnt/m && repl-ctl secondary spool'
ok "one takes it, by consent" vm_exec one 'repl-ctl primary spool'
is "$(sha one)" "$(sha two)" "both copies are equal"
ok "what two wrote is on one" vm_exec one 'mkdir -p /mnt/m; mount /dev/repl0 /mnt/m && [ -s /mnt/m/210 ] && umount /mnt/m'
ok "down" vm_exec one 'repl-ctl down spool; pkill repl-agent; while pkill -0 repl-agent; do sleep 0.1; done; rmmod repl'
ok "down" vm_exec two 'repl-ctl down spool; pkill repl-agent; while pkill -0 repl-agent; do sleep 0.1; done; rmmod repl'
multi_done
