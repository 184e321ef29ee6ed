# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Library of the test scripts that run inside a test VM.
set -euo pipefail

# shellcheck source=tests/vm/tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"

# --- kernel log ---------------------------------------------------------------------------------------------------

# A kernel message that this test provokes on purpose does not spoil the log (extended regular expression).
klog_allow() { printf 'vm: klog-allow %s\n' "$1"; }

klog_has() { dmesg | grep -qE -- "$1"; }

# --- nodes: network namespaces on one bridge ----------------------------------------------------------------------

node_add() { # NAME IP : eth0 of the node is the far end of v-NAME
	local name=$1 ip=$2
	[[ $ip == */* ]] || ip+=/24
	[ -e /sys/class/net/nodes ] || run_quiet ip link add nodes type bridge forward_delay 0 mcast_snooping 0
	ip link set nodes up
	ip netns add "$name"
	ip link add "v-$name" type veth peer name eth0 netns "$name"
	ip link set "v-$name" master nodes up
	in_node "$name" ip link set lo up
	in_node "$name" ip link set eth0 up
	in_node "$name" ip addr add "$ip" dev eth0
}

# Enters only the network namespace: mounts and /sys stay those of the whole VM.
in_node() { # NAME COMMAND [ARG...]
	local name=$1
	shift
	innet "/run/netns/$name" "$@"
}

node_del() { ip netns del "$1"; }

# Packets vanish in both directions while both ends still see a carrier, as behind a dead switch.
link_cut() { ip link set "v-$1" nomaster; }
link_heal() { ip link set "v-$1" master nodes; }

# The node sees its cable pulled.
link_unplug() { ip link set "v-$1" down; }
link_plug() { ip link set "v-$1" up; }

# Every TCP connection of the node ends, on both sides at once, as by a firewall that was restarted.
link_reset() {
	modprobe -a inet_diag tcp_diag
	in_node "$1" ss -K -t state established >/dev/null
}

netem() { # NODE ARG... : on what the node sends, such as: delay 20ms loss 1% rate 10mbit
	local name=$1
	shift
	in_node "$name" tc qdisc replace dev eth0 root netem "$@"
}

netem_clear() { in_node "$1" tc qdisc del dev eth0 root 2>/dev/null || true; }

# --- block devices ------------------------------------------------------------------------------------------------

brd_load() { # COUNT MIB : /dev/ram0 ... ; fresh ones, if brd was loaded before
	[ ! -d /sys/module/brd ] || rmmod brd
	modprobe brd rd_nr="$1" rd_size="$(($2 * 1024))"
}

dev_sectors() { blockdev --getsz "$1"; }

dm_create() { # NAME TABLE : /dev/mapper/NAME
	modprobe -q -a dm-mod "dm-$(awk '{ print $3 }' <<<"$2")" 2>/dev/null || true
	run_quiet dmsetup create "$1" --table "$2"
}

dm_reload() { # NAME TABLE : outstanding I/O is drained first
	run_quiet dmsetup suspend --nolockfs "$1" && run_quiet dmsetup load "$1" <<<"$2" && run_quiet dmsetup resume "$1"
}

dm_remove() { run_quiet dmsetup remove --retry "$1"; }

dm_linear_table() { echo "0 $(dev_sectors "$1") linear $1 0"; }

dm_linear() { # NAME DEV
	dm_create "$1" "$(dm_linear_table "$2")"
}

dm_delay_table() { # DEV READ_MS WRITE_MS FLUSH_MS
	echo "0 $(dev_sectors "$1") delay $1 0 $2 $1 0 $3 $1 0 $4"
}

dm_delay() { # NAME DEV READ_MS [WRITE_MS [FLUSH_MS]]
	local write=${4:-$3}
	dm_create "$1" "$(dm_delay_table "$2" "$3" "$write" "${5:-$write}")"
}

dm_error_table() { echo "0 $(dev_sectors "$1") error"; }

dm_flakey_table() { # DEV UP_S DOWN_S [FEATURE...]
	local dev=$1 up=$2 down=$3
	shift 3
	echo "0 $(dev_sectors "$dev") flakey $dev 0 $up $down${1:+ $# $*}"
}

dm_flakey() { # NAME DEV UP_S DOWN_S [FEATURE...]
	local name=$1
	shift
	dm_create "$name" "$(dm_flakey_table "$@")"
}

# Every I/O fails from now on, until dm_heal.
dm_break() { # NAME
	dm_reload "$1" "0 $(dev_sectors "/dev/mapper/$1") error"
}

dm_heal() { # NAME DEV
	dm_reload "$1" "$(dm_linear_table "$2")"
}

disk() { # N : the Nth --disk, from 0
	local letters=abcdefghijklmnop
	echo "/dev/vd${letters:$1:1}"
}

# --- contents -----------------------------------------------------------------------------------------------------

# What is on the device, not what a page cache holds of it.
data_sha() { # DEV BYTES (multiple of 4096) [OFFSET]
	dd if="$1" bs=64k iflag=direct,count_bytes,skip_bytes count="$2" skip="${3:-0}" status=none | sha_of_stdin
}

# Linked statically, and so started four times as fast as the other one.
sha_of_stdin() {
	local sum
	sum=$(busybox sha256sum)
	echo "${sum%% *}"
}

# pattern SEED BYTES, a program of the tests, prints reproducible bytes that do not compress.
pattern_sha() { pattern "$1" "$2" | sha_of_stdin; }

pattern_put() { # DEV SEED BYTES (multiple of 4096) [OFFSET] : O_DIRECT, then flushed
	pattern "$2" "$3" | dd of="$1" bs=64k iflag=fullblock oflag=direct,seek_bytes seek="${4:-0}" conv=notrunc,fsync status=none
}
