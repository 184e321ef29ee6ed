#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# repl-backup with a repl-ctl that only remembers: what it takes, what it keeps, and what it never removes.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/../vm/tap.sh
. "$here/../vm/tap.sh"
backup=$here/../../scripts/repl-backup

box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
mkdir -p "$box"/{bin,state,store,etc/backup}
export BOX=$box

# state/now: seconds since 1970; state/stream: what the mark stands for; state/fails, state/bad: when they are there.
cat >"$box/bin/repl-ctl" <<'E2'
#!/usr/bin/env bash
set -eu
cd "$BOX/state"
shift 2
case $1-${2:-} in
role-*) cat role ;;
mark-list)
	[ ! -e no-marks ] || exit 1
	echo "MARK    STATE CHANGED SINCE STREAM"
	[ ! -e stream ] || echo "nightly ready      12 KiB $(cat stream)"
	;;
backup---list) [ ! -e bad ] ;;
backup-*)
	echo "$*" >>"$BOX/calls"
	[ ! -e fails ] || exit 1
	for file; do :; done
	n=$(($(cat count) + 1))
	echo "$n" >count
	# Byte 32 on: the id.
	{ head -c 32 /dev/zero; printf "$(printf '\\x%02x' "$n")"; head -c 15 /dev/zero; } >"$file"
	printf '%02x000000-0000-0000-0000-000000000000\n' "$n" >stream
	;;
esac
E2
cat >"$box/bin/date" <<'E2'
#!/usr/bin/env bash
case "$*" in
-d*) exec /bin/date "$@" ;;
-u*) exec /bin/date -u -d "@$(cat "$BOX/state/now")" "${@:2}" ;;
*) exec /bin/date -d "@$(cat "$BOX/state/now")" "$@" ;;
esac
E2
chmod +x "$box"/bin/*
export PATH=$box/bin:$PATH

out=
rc=0
run() { # [ARG...] : leaves what it printed in $out, its exit code in $rc, and what was asked for in $box/calls
	rc=0
	: >"$box/calls"
	out=$("$backup" --config "$box/etc" "${@:-spool}" 2>&1) || rc=$?
}
conf() { printf '%s\n' "directory = $box/store" "$@" >"$box/etc/backup/spool.conf"; }
night() { echo $(($(cat "$box/state/now") + 86400)) >"$box/state/now"; }
kinds() { for f in "$box"/store/spool-*.repl; do f=${f%.repl} && printf '%s ' "${f##*-}"; done; }
start() { # : a fresh directory
	rm -rf "$box/store" "$box"/state/*
	mkdir "$box/store"
	echo 1800000000 >"$box/state/now"
	echo 0 >"$box/state/count"
	echo secondary >"$box/state/role"
}

# --- the rhythm ---------------------------------------------------------------------------------------------------

start
conf 'full-every = 3' 'keep = 2' '# a comment' ''
run
is "$rc" 0 'the first run'
like "$out" 'all of it is read: there is none yet' 'takes all'
is "$(cat "$box/calls")" "backup spool --mark nightly --output $box/store/spool-20270115T080000Z-full.repl" 'with a mark, and a date'
night
run
is "$(cat "$box/calls")" "backup spool --mark nightly --since nightly --output $box/store/spool-20270116T080000Z-incr.repl" \
	'the second one takes what has changed'
like "$out" 'spool-20270116T080000Z-incr.repl is whole' 'and says so'
night
# A little earlier in the night than usual.
echo $(($(cat "$box/state/now") - 3000)) >"$box/state/now"
run
night
run
is "$(kinds)" 'full incr incr full ' 'a full one after three days, though not to the second'
for _ in 1 2 3; do
	night
	run
done
is "$(kinds)" 'full incr incr full ' 'two full ones are kept: the oldest went, with what followed it'
like "$out" 'removed spool-20270117.*incr.*removed spool-20270116.*incr.*removed spool-20270115.*full' \
	'what continues it goes first'
run --list spool
is "$(printf '%s\n' "$out" | wc -l)" 2 'a line for each chain'
like "$out" "MiB: $box/store/spool-20270118T[0-9]*Z-full.repl $box/store/spool-20270119.*incr.repl .*incr.repl" 'as restore wants it'

# --- when the chain is broken -------------------------------------------------------------------------------------

start
conf 'full-every = 30'
run
night
echo ff000000-0000-0000-0000-000000000000 >"$box/state/stream"
run
like "$out" 'stands for another stream than spool-20270115T080000Z-full.repl' 'somebody else has moved the mark'
is "$(kinds)" 'full full ' 'a full one'
night
rm "$box/state/stream"
run
like "$out" 'there is no mark nightly here' 'the mark is gone, or this is another node'
is "$(kinds)" 'full full full ' 'a full one'
night
touch "$box/state/no-marks"
run
is "$rc" 1 'the marks cannot be read'
is "$(kinds)" 'full full full ' 'nothing is taken'
rm "$box/state/no-marks"

# --- what fails removes nothing -----------------------------------------------------------------------------------

start
conf 'full-every = 1' 'keep = 1'
run
night
touch "$box/state/fails"
run
is "$rc" 1 'a backup that fails'
like "$out" 'what there is stays' 'in words'
is "$(kinds)" 'full ' 'the one before stays'
rm "$box/state/fails"
touch "$box/state/bad"
run
is "$rc" 1 'one that is not good when read back'
like "$out" 'is not good when it is read back' 'in words'
is "$(kinds)" 'full ' 'it does not count, and the one before stays'
ok 'and it can be looked at' test -e "$box/store/spool-20270116T080000Z-full.repl.bad"
rm "$box/state/bad"
: >"$box/store/spool-20270101T000000Z-full.repl.part"
: >"$box/store/other-20270101T000000Z-full.repl"
# The lock of one volume says nothing about another one's.
: >"$box/store/spool-2-20270101T000000Z-full.repl.part"
run
is "$rc" 0 'a good one'
ok "another volume's, which may be written just now, stays" test -e "$box/store/spool-2-20270101T000000Z-full.repl.part"
is "$(kinds)" 'full ' 'takes its place'
ok 'what belongs to others stays' test -e "$box/store/other-20270101T000000Z-full.repl"
not_ok 'what a run has left that died is gone' test -e "$box/store/spool-20270101T000000Z-full.repl.part"

# --- volumes whose names begin alike, in one directory ------------------------------------------------------------

start
names=(spool spool-2 spool-archive spool-20260101T000000Z)
for name in "${names[@]}"; do
	printf '%s\n' "directory = $box/store" 'full-every = 1' 'keep = 1' >"$box/etc/backup/$name.conf"
	rm -f "$box/state/stream"
	run "$name"
	is "$rc" 0 "$name: the first one"
	like "$out" 'all of it is read: there is none yet' 'what the others have is none of it'
done
night
run spool
like "$out" 'removed spool-20270115T080000Z-full.repl' 'what is older than need be goes'
is "$(printf '%s\n' "$out" | grep -c removed)" 1 'and nothing else'
for name in "${names[@]:1}"; do
	ok "$name: its backup stays" test -e "$box/store/$name-20270115T080000Z-full.repl"
	run --list "$name"
	is "$(printf '%s\n' "$out" | wc -l)" 1 'and is listed with it alone'
done
run --list spool
unlike "$out" 'spool-2-|spool-archive|spool-20260101T' 'not with a volume whose name is shorter'

# --- where, and when not ------------------------------------------------------------------------------------------

conf 'role = primary'
run
is "$rc" 0 'on the other node'
like "$out" 'is secondary here: nothing to do' 'in words'
is "$(cat "$box/calls")" '' 'nothing is done'
echo down >"$box/state/role"
run
is "$rc" 0 'nor is it where the volume is down, since a primary is up'
conf 'role = secondary'
run
is "$rc" 1 'down where the backups are taken'
like "$out" 'spool: is down here: no backup can be taken; repl-ctl up spool' 'in words'
is "$(cat "$box/calls")" '' 'nothing is tried'
echo secondary >"$box/state/role"
conf 'role = secondary' 'hold = 5s' 'mark = weekly'
run
like "$(cat "$box/calls")" '--mark weekly --hold 5s' 'what is configured is passed on'
conf
exec 8>"$box/store/.spool.lock"
flock 8
run
is "$rc" 75 'while another one runs'
like "$out" 'another run is under way' 'in words'
exec 8>&-
rm -r "$box/store"
run
is "$rc" 1 'without its directory'
like "$out" 'is not there: mount what holds the backups' 'which is not made: a disk may be missing'

# --- configuration ------------------------------------------------------------------------------------------------

mkdir "$box/store"
wrong() { # DESCRIPTION WORDS LINE...
	conf "${@:3}"
	run
	is "$rc" 2 "$1"
	like "$out" "$2" 'in words'
}
wrong 'an unknown key' "spool.conf:2: unknown key 'kep'" 'kep = 3'
wrong 'no number' 'keep= is how many' 'keep = 0'
wrong 'no days' 'full-every= is a number of days' 'full-every = weekly'
wrong 'no role' 'role= is any, primary or secondary' 'role = both'
wrong 'a key twice' 'keep is already in line 2' 'keep = 1' 'keep = 2'
wrong 'no key at all' 'is not key=value' 'keep'
echo 'directory = store' >"$box/etc/backup/spool.conf"
run
is "$rc" 2 'a relative directory'
run none
is "$rc" 2 'a volume without a file'
like "$out" 'none.conf is not there: write it' 'in words'
run ../spool
is "$rc" 2 'a name that is none'
run --list
is "$rc" 2 'no volume'

done_testing
