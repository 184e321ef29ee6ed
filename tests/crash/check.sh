# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The check of one point after another. The agents stay; the volume goes up and down.

crash_shipped=0 crash_most=0 crash_done=0

in_sync() { # NODE
	ctl "$1" wait spool --for in-sync --timeout 60
}

other() { if [ "$1" = a ]; then echo b; else echo a; fi; }

# What an operator does with one node, while the other is off.
promote_alone() { # NODE
	ctl "$1" primary spool --peer-dead && return 0
	# It was alone already, and says that it cannot know what became of the other.
	[[ $live != *$1* ]] && ctl "$1" primary spool --force
}

verify_mail() { # NODE
	local disk bad=0
	disk=$(node_disk "$1")
	mount -o noatime "$disk" /mnt/m || return 1
	# shellcheck disable=SC2086
	crashload verify-mail /mnt/m "$CRASH_SEED" $acked || bad=1
	date >/mnt/m/after
	umount /mnt/m
	e2fsck -fn "$disk" || bad=1
	return $bad
}

verify_raw() { # NODE
	# shellcheck disable=SC2086
	crashload verify-raw "$(node_disk "$1")" "$CRASH_SEED" $acked || return 1
	pattern_put "$(node_disk "$1")" after 4096 $((4096 * (tail % 4000)))
}

data_disk() { if [ "$1" = a ]; then echo 0; else echo 1; fi; } # NODE

# Only what one of the two copies doubted on its disk, and what was written here while the other was off, is looked at to
# make them equal, let alone sent. No allowance: what is in doubt is counted in whole regions already.
caught_up_with() { # BYTES : written here
	local node looked=0 sent=0 words
	for node in a b; do
		words=$(ctl $node status spool --json | jq -r '.volumes[0].peers[0].caught_up |
			"\(.bytes + .zero_bytes) \(.bytes + .zero_bytes + .equal_bytes)"')
		[ "${words% *}" -le "$sent" ] || sent=${words% *}
		[ "${words#* }" -le "$looked" ] || looked=${words#* }
	done
	crash_shipped=$((crash_shipped + sent))
	[ "$sent" -le "$crash_most" ] || crash_most=$sent
	echo "in doubt $doubt, written here $1, looked at $looked, sent $sent"
	[ "$looked" -le $((doubt + $1)) ]
}

check_point() {
	local node leader bytes
	if [ "$first" = ab ]; then
		ctl a up spool && ctl b up spool && in_sync a && caught_up_with 0 || return 1
		leader=a
		[ "$primary" != b ] || leader=b
		[ $((tail % 4)) != 0 ] || leader=$(other $leader)
		ctl "$leader" primary spool || return 1
	else
		leader=$first
		ctl "$leader" up spool && promote_alone "$leader" || return 1
	fi
	[ "$all" = none ] || "verify_$CRASH_LOAD" "$leader" || return 1
	if [ "$first" != ab ]; then
		node=$(other "$first") bytes=$(crash written "$(data_disk "$first")")
		ctl "$node" up spool && in_sync "$leader" && caught_up_with "$bytes" || return 1
	fi
	in_sync "$leader" || return 1
	ctl "$leader" secondary spool || return 1
	crash equal $(((CRASH_MIB - 1) << 20)) || return 1
	for node in a b; do ctl $node down spool || return 1; done
}

crash_point() { # NUMBER
	local point of cut all primary live first last tail acked doubt words node
	eval "$(crash point "$CRASH_SEED" "$1")"
	# shellcheck disable=SC2086
	acked=$(echo $acked | cut -d' ' -f1-$CRASH_THREADS)
	words="point $1: before entry $point of $of ($last), power cut: $cut, primary: $primary, first up: $first"
	crash_done=$((crash_done + 1))
	if check_point >/run/point 2>&1; then
		pass "$words"
		return
	fi
	fail "$words" "all had $all, live by the record of $live, acknowledged $acked" "this point again: tests/crash/run --again --first $1 --points 1 --sweep 1 tests/crash/conf/..."
	sed 's/^/#   /' /run/point
	for node in a b; do
		ctl $node status spool 2>&1 | sed "s/^/#   $node: /"
		tail -n 8 "$(node_dir $node)/log" | sed "s/^/#   $node: /"
	done
	! findmnt -n /mnt/m >/dev/null || umount /mnt/m
	# The next point is to start anew, whatever has happened in this one.
	for node in a b; do
		kill -0 "$(agent_pid $node)" 2>/dev/null || {
			rm -f "$(node_dir $node)/agent.sock"
			agent_start $node
		}
		ctl $node down spool --force >/dev/null 2>&1 || true
	done
}

crash_check_all() {
	local n start
	[ "$CRASH_POINTS" -gt 0 ] || return 0
	mkdir -p /mnt/m
	start=$(now_ms)
	for ((n = CRASH_FIRST; n < CRASH_FIRST + CRASH_POINTS; n++)); do
		crash_point "$n"
	done
	diag "$crash_done points, $((($(now_ms) - start) / crash_done)) ms each; to catch up $((crash_shipped / crash_done / 1024)) KiB were sent on average, $((crash_most / 1024)) KiB at most"
}
