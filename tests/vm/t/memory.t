#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=304 threads=multi timeout=400 disks=320M,320M with=mkswap,swapon,swapoff once=6.12
#
# Little memory, both nodes in it, and a slow peer: pages that only the volume can take are all there is to free. Swap
# lies on the volume, then a file system with more dirty pages than memory would like. Over TLS, which needs memory for
# every record; WAYS="none tls" does it without first.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

meminfo() { awk -v what="$1:" '$1 == what { print $2 * 1024 }' /proc/meminfo; }
used_swap() { echo $(($(meminfo SwapTotal) - $(meminfo SwapFree))); }
holds() { [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$(pattern_sha "$2" "$3")" ]; } # FILE SEED BYTES

swap_on_it() { # what does not fit into memory is swapped out over the link
	local bytes=$((($(meminfo MemAvailable) + (48 << 20)) & ~0xfffff))
	run_quiet mkswap /dev/repl0
	ok "$1: swap on the volume" run_quiet swapon /dev/repl0
	mount -t tmpfs -o size=100% none /mnt
	ok "$1: $((bytes >> 20)) MiB are kept" eval "pattern $1 $bytes >/mnt/kept"
	ok "$1: $(($(used_swap) >> 20)) MiB of it outside of memory" [ "$(used_swap)" -gt $((24 << 20)) ]
	ok "$1: read again, it is what it was" holds /mnt/kept "$1" "$bytes"
	umount /mnt
	ok "$1: swap is given back" run_quiet swapoff /dev/repl0
}

dirty_cache() {
	local bytes=$((96 << 20))
	run_quiet mkfs.ext4 -q -F /dev/repl0
	mount /dev/repl0 /mnt
	ok "$1: $((bytes >> 20)) MiB through a page cache that holds on to what it can" eval "pattern file-$1 $bytes >/mnt/file"
	ok "$1: synced" sync -f /mnt
	echo 3 >/proc/sys/vm/drop_caches
	ok "$1: read again" holds /mnt/file "file-$1" "$bytes"
	umount /mnt
}

klog_allow 'EXT4-fs|Adding .*swap'
[ ! -e /proc/sys/kernel/hung_task_timeout_secs ] || echo 90 >/proc/sys/kernel/hung_task_timeout_secs
echo 80 >/proc/sys/vm/dirty_ratio
echo 70 >/proc/sys/vm/dirty_background_ratio
dm_delay slow /dev/vdb 0 10 10
repl_node a /dev/vda
repl_node b /dev/mapper/slow
first=1
for encryption in ${WAYS:-tls}; do
	repl_config "encryption = $encryption" "stuck-timeout = 5min" "timeout = 60s"
	[ "$first" = 0 ] || repl_mkfs
	modprobe -a tls repl
	for node in a b; do agent_start "$node" && run_quiet ctl "$node" up spool; done
	if [ "$first" = 1 ]; then run_quiet ctl a primary spool --force; else
		wait_live a b 120
		run_quiet ctl a primary spool
	fi
	first=0
	ok "$encryption: live" wait_live a b 120
	generation=$(status_of a .generation)
	swap_on_it "$encryption"
	dirty_cache "$encryption"
	is "$(status_of a .generation)" "$generation" "$encryption: the peer was never lost"
	ok "$encryption: equal" copies_equal a b
	ok "$encryption: down" repl_stop
done
dm_remove slow
done_testing
