#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The units of scripts/systemd: that systemd takes them, that nothing there gives up, and for which devices a volume
# waits before it comes up.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/../vm/tap.sh
. "$here/../vm/tap.sh"
units=$here/../../scripts/systemd

box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
mkdir -p "$box"/{bin,volumes,units}

setting() { sed -n "s/^$2=//p" "$units/$1"; } # UNIT KEY

for unit in repl-agent.service repl-volume@.service; do
	is "$(sed -n '/^\[Unit\]/,/^\[Service\]/s/^StartLimitIntervalSec=//p' "$units/$unit")" 0 "$unit is tried without an end"
done
is "$(setting repl-agent.service Restart)" always 'the agent comes back'
is "$(setting repl-volume@.service Restart)" on-failure 'a volume that could not come up is tried again'

if command -v systemd-analyze >/dev/null; then
	# systemd looks whether the programs are there.
	for unit in "$units"/*; do sed 's,@SBINDIR@/[a-z-]*,/bin/true,' "$unit" >"$box/units/$(basename "$unit")"; done
	for unit in repl-volume@.service repl-backup@.service repl-backup@.timer repl-primary@.service repl@.target; do
		cp "$box/units/$unit" "$box/units/${unit/@/@spool}"
	done
	cp "$box/units/repl-failover@.service" "$box/units/repl-failover@0.service"
	words=$(systemd-analyze verify --man=no "$box"/units/repl-agent.service "$box"/units/*@spool.* \
		"$box"/units/repl-failover.socket "$box"/units/repl-failover@0.service 2>&1 |
		grep -F "$box/units" || true)
	is "$words" '' 'systemd finds nothing to complain about'
else
	skip 'no systemd-analyze here' 'systemd finds nothing to complain about'
fi

printf '#!/bin/sh\nprintf "%%s " "$@" >>"%s/waited"\n' "$box" >"$box/bin/udevadm"
chmod +x "$box/bin/udevadm"

waits_for() { # LINE... : what a volume with this file waits for
	local command
	printf '%s\n' "$@" >"$box/volumes/spool.conf"
	: >"$box/waited"
	command=$(setting repl-volume@.service ExecStartPre)
	command=${command#"-/bin/sh -c '"}
	command=${command%"' sh %i"}
	command=${command//'$$'/'$'}
	PATH=$box/bin:$PATH sh -c "${command//\/etc\/repl\/volumes/$box/volumes}" sh spool
	sed 's/wait --timeout=60 //g; s/ $//' "$box/waited"
}

is "$(waits_for '[volume]' 'device = /dev/vg0/spool' 'minor = 0')" /dev/vg0/spool 'it waits for its device'
is "$(waits_for '[volume]' 'device=/dev/a' "$(printf '\tmetadata : /dev/b ; an SSD')" '[peer "mail2"]')" '/dev/a /dev/b' \
	'and for that of its metadata'
is "$(waits_for '[volume]' '; device = /dev/old' 'device: /dev/disk/by-path/pci-0000:00:1f.2-ata-1')" \
	/dev/disk/by-path/pci-0000:00:1f.2-ata-1 'whatever the path has in it'

done_testing
