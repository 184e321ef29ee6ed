#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.12 mem=512 timeout=1200 disks=24M,24M,24M
#
# Thousands of random netlink messages, most of them nearly right, while disks come, go and are written to. The seed is
# printed; tests/vm/run --env SEED=N sends the same messages again. FUZZ_SECONDS=N: for so long (make fuzz-netlink).
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"
# shellcheck source=tests/vm/hostile.sh
. "$(dirname "$0")/../hostile.sh"

klog_allow 'Buffer I/O error on dev repl|I/O error, dev repl|lost (async|sync) page write|netlink: .* (invalid length|bytes leftover)'
disks=(/dev/vda /dev/vdb /dev/vdc)
modprobe tls
modprobe repl
for i in "${!disks[@]}"; do run_quiet mkfs.repl --name "v$i" "${disks[i]}"; done
brd_load 2 4
ok "a link beside it" lasting_link /dev/ram0 /dev/ram1
amount=12000
[ -z "${FUZZ_SECONDS:-}" ] || amount=${FUZZ_SECONDS}s
relay "" timeout -s KILL $((1000 + ${FUZZ_SECONDS:-0})) nlfuzz "$amount" "${disks[@]}"
for i in "${!disks[@]}"; do
	ok "what the messages have left on ${disks[i]} can be attached" knode attach "$i" "v$i" "${disks[i]}"
	ok "and taken down" knode detach "$i"
	unlike "$(fsck.repl "${disks[i]}" 2>&1)" 'checksum is' "both copies of the superblock are whole"
	run_quiet blkdiscard -f "${disks[i]}"
done
knode_up /dev/vda /dev/vdb
ok "after it a pair can be made as ever" knode_pair
run_quiet pattern_put /dev/repl0 after $((1 << 20))
ok "and mirrors" knode_equal 0 1
is "$(knode_get 100 slot0.link)" 1 "the link beside it has lived through all this"
ok "down" eval 'knode_down && lasting_link_down'
done_testing
