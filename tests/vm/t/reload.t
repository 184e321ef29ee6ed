#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=384 timeout=400 once=6.12
#
# A hundred times the module is loaded and unloaded, with volumes that came and went in between, in order or by force:
# nothing is left, and no memory is lost.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

SEED=${SEED:-$RANDOM}
RANDOM=$SEED
diag "seed $SEED"
ROUNDS=100 VOLUMES=8
klog_allow 'Buffer I/O error|I/O error, dev|lost async page write'

attach_one() { run_quiet knode attach "$1" "v$1" "/dev/ram$1"; }
taken() { # bytes of memory that is neither free nor can be given back at once
	echo 3 >/proc/sys/vm/drop_caches
	awk '$1 ~ /^(SUnreclaim|KernelStack|PageTables|Percpu|VmallocUsed):$/ { kib += $2 } END { print kib * 1024 }' /proc/meminfo
}
left() { # what a module that is gone must not leave
	find /sys/kernel/slab /sys/block /sys/module -maxdepth 1 -name 'repl*' 2>/dev/null
	grep -o '^repl[^ ]*' /proc/slabinfo || true
	pgrep -x 'repl[^ ]*' || true
}

live_pair() { # 0 primary, 1 live
	knode primary 0 force && knode settle 0 1 && knode settle 1 0 && knode join 0 1 1 0 crc &&
		dd if=/dev/urandom of=/dev/repl0 bs=64k count=4 oflag=direct conv=notrunc status=none
}

round() {
	local n=$((1 + RANDOM % VOLUMES)) how=$((RANDOM % 4)) i holder=""
	modprobe repl || return 1
	for ((i = 0; i < n; i++)); do attach_one "$i" || return 1; done
	if [ "$n" -gt 1 ]; then
		live_pair || return 1
		if [ "$how" = 1 ]; then
			knode leave 1 0 || return 1
			knode cut 1 0 hold &
			holder=$!
			wait_for 10 "the cut" eval '[ "$(knode_get 1 slot0.cut)" = 1 ]'
		fi
	fi
	for ((i = n - 1; i >= 0; i--)); do
		if [ "$how" = 0 ]; then run_quiet knode detach "$i" || return 1; else run_quiet knode detach "$i" force || return 1; fi
	done
	[ -z "$holder" ] || { kill "$holder" && wait "$holder"; } 2>/dev/null || true
	wait_for 10 "the module unloads" rmmod repl
	[ -z "$(left)" ] || { left; return 1; }
}

brd_load $VOLUMES 4
for ((i = 0; i < VOLUMES; i++)); do run_quiet mkfs.repl --name "v$i" "/dev/ram$i"; done
modprobe repl
attach_one 0 && attach_one 1 && knode_slots 0 1 && knode detach 0 && knode detach 1
rmmod repl
bad=""
for ((n = 1; n <= ROUNDS; n++)); do
	round >/tmp/round.log 2>&1 || {
		bad+=" $n"
		sed 's/^/# /' /tmp/round.log
		break
	}
	[ "$n" != 20 ] || before=$(taken)
done
is "$bad" "" "$ROUNDS rounds, each ends with the module gone and nothing left"
grown=$((($(taken) - ${before:-0}) / 1024))
ok "eighty rounds later the kernel holds no more memory ($grown KiB)" [ "$grown" -lt 2048 ]
done_testing
