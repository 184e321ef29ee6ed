# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copies driven by hand through knode, without agents: volume vN with minor N on the Nth device. Include after lib.sh.

KNODE_DEV=()

knode_up() { # DEVICE... : metadata, module, all secondary
	local i
	modprobe repl
	KNODE_DEV=("$@")
	for i in "${!KNODE_DEV[@]}"; do
		run_quiet mkfs.repl --force --name "v$i" "${KNODE_DEV[i]}" && run_quiet knode attach "$i" "v$i" "${KNODE_DEV[i]}"
	done
}

knode_get() { # MINOR KEY
	local line
	while IFS= read -r line; do
		[ "${line%%=*}" != "$2" ] || echo "${line#*=}"
	done < <(knode get "$1")
}

knode_is() { [ "$(knode_get "$1" "$2")" = "$3" ]; } # MINOR KEY VALUE

# Peer number n is the volume of minor n - 1, on every copy in slot n - 1.
knode_slots() { # MINOR...
	local a b
	for a in "$@"; do
		for b in "$@"; do
			[ "$a" = "$b" ] || run_quiet knode slot "$a" "$b" "$((b + 1))" "$b"
		done
	done
}

# A full copy by hand: nothing writes meanwhile.
knode_copy() { # FROM_MINOR TO_MINOR
	dd if="${KNODE_DEV[$1]}" of="${KNODE_DEV[$2]}" bs=1M iflag=direct,count_bytes oflag=direct conv=fsync \
		count="$(knode_get "$1" size)" status=none
	run_quiet knode settle "$1" "$2"
	run_quiet knode settle "$2" "$1"
}

# Ships what either side doubts, from the first to the second.
knode_catch_up() { # FROM_MINOR TO_MINOR
	knode cut "$1" "$2" list >/run/extents
	knode cut "$2" "$1" list >>/run/extents
	blocks "${KNODE_DEV[$1]}" "${KNODE_DEV[$2]}" </run/extents
	# Third copies may lack these now, as the agent says, too.
	[ ${#KNODE_DEV[@]} -le 2 ] || run_quiet knode mark "$2" $(((1 << ${#KNODE_DEV[@]}) - 1 & ~(1 << $1 | 1 << $2))) </run/extents
	run_quiet knode settle "$1" "$2"
	run_quiet knode settle "$2" "$1"
}

knode_join() { # LEADER FOLLOWER [crc]
	run_quiet knode join "$1" "$2" "$2" "$1" "${@:3}"
}

knode_equal() { # MINOR MINOR
	same "${KNODE_DEV[$1]}" "${KNODE_DEV[$2]}" "$(knode_get "$1" size)"
}

knode_pair() { # the first two copies: 0 primary, 1 live
	knode_slots 0 1 && run_quiet knode primary 0 force && knode_copy 0 1 && knode_join 0 1 crc
}

knode_down() {
	local i
	for i in "${!KNODE_DEV[@]}"; do run_quiet knode detach "$i" || return 1; done
}
