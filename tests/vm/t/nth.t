#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.12 mem=512 timeout=900 crash_disk=1
#
# Every step of a pair, with the Nth access to one of its disks failing: N = 1, 2, 3 ... until the step succeeds without
# having met it. Once; once, but the disk had done it; and for good from there on. After each: what the copies differ in
# is in doubt, the step is repeated, while another access fails, until it succeeds, and everything acknowledged is there.
# A coarse choice of N, unless GRID=fine; STEPS="attach join" are some of the steps; the seed is printed.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

SEED=${SEED:-$RANDOM}
RANDOM=$SEED
CONSISTENT=1 FAILED=4 FAILING=16 DISKLESS=32 REPLACING=64
FAIL=/sys/module/crash_disk/parameters/fail
MIB=4 # of a disk
klog_allow 'Buffer I/O error|I/O error, dev|lost async page write'

declare -A V=() EVER=()
DISK=(0 1) # which crash disk a copy is on
HITS=0 LATER=0 AGAIN=()

# --- faults and state ---------------------------------------------------------------------------------------------

arm() { echo "$1 $2 $3" >"$FAIL"; } # DISK N once|late|all
disarm() { # sets HITS
	read -r _ HITS <"$FAIL"
	arm 0 0 once
}

# One process for all commands: starting one takes longer than most of them.
ask() { # COMMAND... : sets SAID, line by line; returns what the program would
	local line
	SAID=()
	printf '%s\n' "$*" >&5
	while IFS= read -r line <&6; do
		case $line in
		"= "*) return "${line#= }" ;;
		*) SAID+=("$line") ;;
		esac
	done
	return 1
}
knode() {
	local rc=0
	ask "$@" || rc=$?
	[ "${#SAID[@]}" = 0 ] || printf '%s\n' "${SAID[@]}"
	return "$rc"
}
look() { # MINOR : sets V
	local line rc=0
	V=()
	ask get "$1" || rc=$?
	for line in "${SAID[@]}"; do V[${line%%=*}]=${line#*=}; done
	return "$rc"
}
has() { [ $((${V[flags]:-0} & $1)) != 0 ]; } # BIT
is_live() { look 0 && [ "${V[slot1.link]:-0}" = 1 ] && look 1 && [ "${V[slot0.link]:-0}" = 1 ]; }
# Nothing is being torn down, or dealt with.
is_quiet() { # MINOR
	look "$1" || return 0
	[ "${V[slot$((1 - $1)).link]:-0}" != 2 ] && { [ $((V[gate] & ~16)) = 0 ] || has $FAILING; }
}
quiet() { wait_for 20 "copy 0 has dealt with it" is_quiet 0 && wait_for 20 "copy 1 has dealt with it" is_quiet 1; }

device() { # DISK : as it is given to a copy
	echo "/dev/mapper/disk$1"
}
fresh() { # DISK [ARG...] : a copy that never held anything
	arm 0 0 once
	mkfs.repl --force --name v0 "$(device "$1")" "${@:2}"
}

# --- a pair, whatever has become of it ----------------------------------------------------------------------------

attached() { # MINOR
	if look "$1"; then
		# What has failed is taken down, as a person would, who then looks at the disk.
		has $((FAILING | DISKLESS)) || { has $FAILED && [ "${V[role]}" = 2 ]; } || return 0
		knode detach "$1" force || true
	fi
	look "$1" || knode attach "$1" "v$1" "$(device "${DISK[$1]}")"
}

leader() { # sets LEAD: a primary, or who is consistent, or newer
	local -A a=() b=()
	local key
	look 0 && for key in "${!V[@]}"; do a[$key]=${V[$key]}; done
	look 1 && for key in "${!V[@]}"; do b[$key]=${V[$key]}; done
	LEAD=0
	if [ "${a[role]}" = 2 ]; then return; fi
	if [ "${b[role]}" = 2 ] || [ $((a[sb_flags] & CONSISTENT)) = 0 ]; then
		LEAD=1
	elif [ $((b[sb_flags] & CONSISTENT)) != 0 ] && [ "${a[generation]}" != "${b[generation]}" ]; then
		[[ ${b[history]} != *"${a[generation]}"* ]] || LEAD=1
	fi
}

# What they differ in is in doubt on one of them; a copy that says itself that it is none has all in doubt.
doubts() {
	local bytes other rc=0
	look 0 && bytes=${V[size]} && look 1 && other=${V[size]}
	[ "$bytes" -le "$other" ] || bytes=$other
	if is_live; then : >/run/doubts; else
		knode cut 0 1 list >/run/doubts && knode cut 1 0 list >>/run/doubts || return 1
	fi
	same "$(device "${DISK[0]}")" "$(device "${DISK[1]}")" "$bytes" /run/doubts || rc=$?
	case $rc in 1) WRONG=1 ;; 2) return 1 ;; esac # 2: a read has failed
	[ "${#AGAIN[@]}" = 0 ] || arm "${AGAIN[@]}" once
	AGAIN=()
}

catch_up() { # LEADER FOLLOWER
	knode follow "$2" "$1" "$1" && knode cut "$1" "$2" list >/run/extents && knode cut "$2" "$1" list >>/run/extents &&
		blocks "$(device "${DISK[$1]}")" "$(device "${DISK[$2]}")" </run/extents && knode settle "$1" "$2" && knode settle "$2" "$1"
}

mend() { # both up, live, equal
	quiet
	# A new disk knows of no peer.
	attached 0 && attached 1 && knode_slots 0 1 && quiet && doubts || return 1
	if ! is_live; then
		leader
		catch_up "$LEAD" $((1 - LEAD)) &&
			knode join "$LEAD" $((1 - LEAD)) $((1 - LEAD)) "$LEAD" crc || return 1
	fi
	home && is_live
}

home() { # copy 0 is primary
	if look 1 && [ "${V[role]}" = 2 ]; then knode secondary 1 || return 1; fi
	if ! look 0 || [ "${V[role]}" != 2 ]; then knode primary 0; fi
}

# --- the steps: what is done before, and what may fail ------------------------------------------------------------

some() { life some /dev/repl0 /run/oracle "$1"; } # COUNT

prepare_attach() { some 4 && knode secondary 0 && knode detach 0; }
step_attach() { look 0 || knode attach 0 v0 "$(device "${DISK[0]}")"; }

prepare_promote() { knode secondary 0; }
step_promote() { knode primary 0; }

prepare_join() { knode leave 0 1 && quiet && some 4 && catch_up 0 1; }
step_join() { is_live || knode join 0 1 1 0 crc; }

prepare_write() { :; }
step_write() { some 12; }

prepare_alone() { knode leave 0 1 && quiet; }
step_alone() { some 12; }

prepare_demote() { some 4; }
step_demote() { knode secondary 0; }

# Of a secondary alone there may be nothing left to write.
prepare_detach() { some 4; }
step_detach() { ! look 0 || { knode secondary 0 && knode detach 0; }; }

# The power of copy 0 is gone, as far as its disk can tell.
prepare_recover() {
	some 8
	arm "${DISK[0]}" 1 all
	knode detach 0 force || true
	arm 0 0 once
}
step_recover() { mend; }

prepare_replace() {
	local old=${DISK[0]}
	# What was replaced before is free now.
	knode detach 0 force && mend || return 1
	arm "$old" 1 all
	some 1
	arm 0 0 once
	DISK[0]=$SPARE SPARE=$old
	quiet
	look 0 && fresh "${DISK[0]}" --size "${V[size]}"
}
filled() { look 0 && ! has $REPLACING; }
step_replace() {
	look 0 && has $DISKLESS || return 0
	knode replace 0 "$(device "${DISK[0]}")" && wait_for 60 "it is filled" filled && look 0 && ! has $DISKLESS
}

# --- one round ----------------------------------------------------------------------------------------------------

quietly() { # COMMAND...
	"$@" >>/run/words 2>&1
}

round() { # STEP DISK N HOW
	local step=$1 what="$1: access $3 to disk $2, $4" tries=0 rc=0
	WRONG=0
	: >/run/words
	if ! quietly prepare_"$step"; then
		fail "$what: what comes before" "$(tail -n 20 /run/words)"
		quietly mend || bail "the pair cannot be mended"
		HITS=0
		return
	fi
	arm "${DISK[$2]}" "$3" "$4"
	quietly step_"$step" || rc=1
	disarm
	if [ "$HITS" = 0 ]; then
		[ "$rc" = 0 ] || fail "$what: not met, and yet an error" "$(tail -n 20 /run/words)"
	else
		EVER[$step]=$((${EVER[$step]:-0} + 1))
		[ "$rc" = 0 ] || EVER[$step.failed]=$((${EVER[$step.failed]:-0} + 1))
	fi
	[ "$HITS" = 0 ] || [ "$LATER" = 0 ] || AGAIN=("${DISK[$2]}" "$LATER")
	until quietly mend; do
		tries=$((tries + 1))
		[ "$tries" -lt 5 ] || break
	done
	rc=$HITS AGAIN=()
	disarm
	EVER[again]=$((${EVER[again]:-0} + HITS))
	HITS=$rc
	if [ "$tries" = 5 ] || ! knode_equal_now || ! quietly life check /dev/repl0 /run/oracle || [ "$WRONG" = 1 ]; then
		fail "$what, then $LATER" "$(tail -n 30 /run/words)" "$(dmesg | grep repl | tail -n 12)"
		BAD=$((BAD + 1))
		[ "$BAD" -lt 5 ] || bail "five are enough"
	fi
}
knode_equal_now() {
	look 0 && quietly same "$(device "${DISK[0]}")" "$(device "${DISK[1]}")" "${V[size]}"
}

begin() {
	local i
	rm -f /run/oracle
	for i in 0 1; do
		# The oracle begins with zeroes.
		dd if=/dev/zero of="/dev/crash${DISK[i]}" bs=1M count=$MIB oflag=direct status=none
		mkfs.repl --force --name "v$i" "$(device "${DISK[i]}")" && knode attach $i "v$i" "$(device "${DISK[i]}")" || return 1
	done
	knode_slots 0 1 && knode primary 0 force && knode settle 0 1 && knode settle 1 0 && knode join 0 1 1 0 crc && some 8
}

insmod /repl/crash_disk.ko disks=3 mib=$MIB log_mib=1
modprobe repl
coproc command knode - 2>>/run/words
teller=$COPROC_PID
exec 5>&"${COPROC[1]}" 6<&"${COPROC[0]}"
for i in 0 1 2; do dm_create "disk$i" "0 $((MIB << 11)) linear /dev/crash$i 0"; done
SPARE=2 BAD=0
begin >/run/words 2>&1 || bail "a pair: $(cat /run/words)"
diag "seed $SEED"

ways=(random)
[ "${GRID:-coarse}" != fine ] || ways=(once late all)
next() { # sets how, and after the first one n
	if [ "$way" != random ]; then how=$way n=$((n + 1)); else
		how=once n=$((n + 1 + RANDOM % (1 + n)))
		case $((RANDOM % 3)) in 0) how=late ;; 1) how=all ;; esac
	fi
}
for step in ${STEPS:-attach promote join write alone demote detach recover replace}; do
	start=$(now_ms) rounds=0 BAD=0
	for disk in 0 1; do
		for way in "${ways[@]}"; do
			for ((n = 0; n < 200;)); do
				next
				LATER=$((RANDOM % 8))
				round "$step" "$disk" "$n" "$how"
				rounds=$((rounds + 1))
				[ "$HITS" != 0 ] || break
			done
		done
	done
	diag "$step: $rounds rounds in $(($(now_ms) - start)) ms, $((${EVER[$step]:-0})) met, of which $((${EVER[$step.failed]:-0})) ended it"
	ok "$step: in the end live, equal, with everything that was acknowledged" [ "$BAD" = 0 ]
	cmp_ok "${EVER[$step]:-0}" -gt 0 "$step: an access has failed"
done
quietly knode detach 0 || fail "down" "$(tail -n 5 /run/words)"
quietly knode detach 1 || fail "down"
kill "$teller"
wait "$teller" || true
for i in 0 1 2; do dm_remove "disk$i"; done
rmmod crash_disk
done_testing
