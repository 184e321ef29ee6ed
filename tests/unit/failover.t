#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# repl-failover against programs that only remember: what it does, in which order, and what it leaves alone.
# A fake keeps its state as files in $box/state and writes each change to $box/calls.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/../vm/tap.sh
. "$here/../vm/tap.sh"
failover=$here/../../scripts/repl-failover

box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
mkdir -p "$box"/{bin,etc/failover,etc/volumes}
export BOX=$box
cat >"$box/fake.sh" <<'E2'
set -eu
cd "$BOX/state"
did() { printf '%s\n' "$*" >>"$BOX/calls"; }
E2

fake() { # NAME ; the script on standard input
	printf '#!/usr/bin/env bash\n. %q\n%s\n' "$box/fake.sh" "$(cat)" >"$box/bin/$1"
	chmod +x "$box/bin/$1"
}

# state/role; state/peer: live, gone (no consent, --peer-dead granted) or lost (neither, as long as it counts down)
fake repl-ctl <<'E2'
[ "$1" = --config ] && shift 2
case $1 in
role)
	[ -e role ] || { echo "repl-ctl: spool: the module does not answer" >&2; exit 1; }
	cat role
	[ "$(cat role)" != down ] || { echo "repl-ctl: spool: no such volume" >&2; exit 1; }
	;;
primary)
	did "$*"
	case $(cat peer) in
	live) ;;
	mute) exec /bin/sleep 60 ;;
	gone) [ "${3:-}" = --peer-dead ] || { echo "spool: no peer is connected that could consent" >&2; exit 1; } ;;
	lost)
		echo $(($(cat countdown) - 1)) >countdown
		[ "$(cat countdown)" -gt 0 ] || echo gone >peer
		echo "spool: mail1 is not dead, its agent answers" >&2
		exit 1
		;;
	esac
	echo primary >role
	;;
secondary)
	did "$*"
	[ ! -e mounted ] || { echo "spool: is open" >&2; exit 1; }
	echo secondary >role
	;;
esac
E2
fake findmnt <<'E2'
[ -e mounted ] || exit 0
# As if of a subvolume: only with -v without its name.
if [[ $1 = *v* ]]; then cat mounted; else sed 's,$,[/@],' mounted; fi
E2
fake mount <<'E2'
did "mount $*"
[ "$(cat role)" = primary ] || { echo "mount: read-only" >&2; exit 32; }
[ ! -e mount-fails ] || exit 32
# A helper that stays, as those of some file systems do.
if [ -e helper ]; then /bin/sleep 20 >/dev/null 2>&1 & fi
readlink -f "$5" >mounted
E2
fake umount <<'E2'
did "umount $*"
[ ! -e busy ] || { echo "umount: target is busy" >&2; exit 32; }
rm mounted
E2
fake e2fsck <<'E2'
did "e2fsck $*"
echo "clean"
exit "$(cat fsck-code)"
E2
fake systemctl <<'E2'
case $1 in
cat) [ ! -e "unknown-$2" ] ;;
is-active) [ -e "active-$3" ] ;;
start)
	did "$*"
	[ ! -e "fails-$2" ] || exit 1
	[ -e mounted ] || { echo "started before its file system was mounted" >>"$BOX/calls"; exit 1; }
	: >"active-$2"
	;;
stop)
	did "$*"
	rm -f "active-$2"
	;;
esac
E2
fake sleep <<'E2'
did "sleep"
E2

reset() { # as on a healthy secondary
	rm -rf "$box/state"
	mkdir "$box/state"
	echo secondary >"$box/state/role"
	echo live >"$box/state/peer"
	echo 0 >"$box/state/fsck-code"
	: >"$box/calls"
	printf '[volume]\ndevice = /dev/vdb\nminor = 3\n[peer "mail1"]\nmode = sync\n' >"$box/etc/volumes/spool.conf"
	printf '# what stands on it\nmount = %s\nfstype=ext4\noptions=noatime,nodev\nunits=a.service, b.service\n' \
		"$box/mnt" >"$box/etc/failover/spool.conf"
}

run() { # ARG... : sets $code and $out, and $calls without the pauses
	code=0
	out=$(PATH=$box/bin:$PATH "$failover" --config "$box/etc" "$@" 2>&1) || code=$?
	calls=$(grep -vx sleep "$box/calls" || true)
	: >"$box/calls"
}

all_calls="primary spool
e2fsck -p /dev/repl3
mount -t ext4 -o noatime,nodev /dev/repl3 $box/mnt
systemctl_start a.service
systemctl_start b.service"
all_calls=${all_calls//systemctl_start/start}

# --- promote ------------------------------------------------------------------------------------------------------

reset
run promote spool
is "$code" 0 'promote succeeds on a healthy secondary'
is "$calls" "$all_calls" 'it becomes primary, checks, mounts, and starts the units in their order'
lines=$(grep -c '^repl-failover: spool: ' <<<"$out")
is "$lines" "$(wc -l <<<"$out")" 'every line names the volume'

run promote spool
is "$code" 0 'a second promote succeeds'
is "$calls" '' 'and does nothing'

reset
echo gone >"$box/state/peer"
run promote spool --timeout 0
is "$code" 1 'without a peer that consents, promote fails'
is "$calls" 'primary spool' 'it never said --peer-dead, let alone --force, by itself'
like "$out" 'no peer is connected that could consent' 'and gives the reason'

run promote spool --peer-dead
is "$code" 0 'vouched for, it succeeds'
is "$calls" "primary spool
primary spool --peer-dead
${all_calls#*$'\n'}" 'consent is asked for first, then the peer declared dead'

reset
run promote spool --peer-dead
is "$calls" "$all_calls" 'a peer that consents is not declared dead'

reset
echo lost >"$box/state/peer"
echo 5 >"$box/state/countdown"
run promote spool --peer-dead
is "$code" 0 'a dead peer that still counts as connected is waited out'
is "$(grep -c 'not yet primary' <<<"$out")" 1 'and an unchanged reason is said once'

reset
echo lost >"$box/state/peer"
echo 999999 >"$box/state/countdown"
run promote spool --peer-dead --timeout 0
is "$code" 1 'a peer that answers is not declared dead'
like "$out" 'its agent answers' 'the refusal is shown'
unlike "$calls" 'mount|start|force' 'and nothing else was touched'

reset
echo down >"$box/state/role"
run promote spool
is "$code" 1 'a volume that is not up cannot be promoted'
like "$out" 'it is down on this node: run repl-ctl up spool, then this again' 'which is said, and what to do'
is "$calls" '' 'and nothing was tried'

reset
rm "$box/state/role"
run promote spool
is "$code" 1 'nor one whose role cannot be told'
like "$out" 'its role is unknown: repl-ctl: spool: the module does not answer' 'and why is said'

reset
sed 's/^one_answer=15/one_answer=1/' "$failover" >"$box/failover"
chmod +x "$box/failover"
echo mute >"$box/state/peer"
code=0
out=$(PATH=$box/bin:$PATH "$box/failover" --config "$box/etc" promote spool --timeout 0 2>&1) || code=$?
is "$code" 1 'an agent that does not answer is not waited for without an end'
like "$out" 'no answer from the agent for 1 s' 'and that is said'

reset
: >"$box/state/helper"
run promote spool
is "$code" 0 'something that the mount leaves running'
code=0
PATH=$box/bin:$PATH timeout 10 "$failover" --config "$box/etc" promote spool >/dev/null || code=$?
is "$code" 0 'does not keep the next run waiting'

# --- file system and units ----------------------------------------------------------------------------------------

for rc in 1 2; do
	reset
	echo $rc >"$box/state/fsck-code"
	run promote spool
	is "$code" 0 "errors that the check corrected (exit code $rc) do not stop a promotion"
done
reset
echo 4 >"$box/state/fsck-code"
run promote spool
is "$code" 1 'errors that it did not correct do'
unlike "$calls" 'mount -t|start' 'nothing was mounted or started'
echo 0 >"$box/state/fsck-code"
run promote spool
is "$calls" "${all_calls#*$'\n'}" 'the next run goes on where it stopped'

reset
: >"$box/state/mount-fails"
run promote spool
is "$code" 1 'a mount that fails stops it'
unlike "$calls" 'start' 'before any unit'

reset
sed -i 's/ext4/xfs/' "$box/etc/failover/spool.conf"
run promote spool
unlike "$calls" 'fsck' 'xfs is not checked, it recovers at mount'
like "$calls" 'mount -t xfs' 'but mounted'

reset
echo /dev/sda1 >"$box/state/mounted"
run promote spool
is "$code" 1 'something else at the mount point stops it'
unlike "$calls" 'mount -t|start' 'and is left alone'

reset
: >"$box/state/fails-a.service"
run promote spool
is "$code" 1 'a unit that does not start stops it'
unlike "$calls" 'start b.service' 'the next unit is not started'
rm "$box/state/fails-a.service"
run promote spool
is "$calls" "start a.service
start b.service" 'a later run starts what is missing'

# --- demote -------------------------------------------------------------------------------------------------------

reset
run promote spool
run demote spool
is "$code" 0 'demote succeeds'
is "$calls" "stop b.service
stop a.service
umount $box/mnt
secondary spool" 'units are stopped in the reverse order, then it unmounts and becomes secondary'
run demote spool
is "$code" 0 'a second demote succeeds'
unlike "$calls" 'umount|secondary' 'and neither unmounts nor changes the role'

reset
run promote spool
: >"$box/state/busy"
run demote spool
is "$code" 1 'a busy mount stops demote'
like "$out" "fuser -vm $box/mnt" 'and how to find the users is said'
unlike "$calls" 'secondary' 'it stays primary'
rm "$box/state/busy"
run demote spool
is "$code" 0 'demote goes on when the mount is free'
is "$(cat "$box/state/role")" secondary 'and ends secondary'

reset
run promote spool
echo /dev/sda1 >"$box/state/mounted"
run demote spool
is "$code" 1 'another file system at the mount point is not unmounted'
unlike "$calls" 'umount' 'really not'

reset
echo down >"$box/state/role"
run demote spool
is "$code" 0 'a volume that is down has been left already'
like "$out" 'already down' 'as is said'

# --- status -------------------------------------------------------------------------------------------------------

reset
run status spool
is "$code" 3 'status: 3 when none of it is here'
run promote spool
run status spool
is "$code" 0 'status: 0 when all of it is here'
rm "$box/state/active-b.service"
run status spool
is "$code" 1 'status: 1 when a part is'
like "$out" 'b.service: inactive' 'and which part is missing'
is "$calls" '' 'status changes nothing'

# --- check and serve ----------------------------------------------------------------------------------------------

reset
run check spool
is "$code" 0 'check: nothing is against it'
is "$calls" '' 'and it changes nothing'
echo down >"$box/state/role"
run check spool
is "$code" 1 'check: a volume that is down'
like "$out" 'repl-ctl up spool' 'and what to do'
reset
: >"$box/state/unknown-b.service"
run check spool
is "$code" 1 'check: a unit that is not there'
like "$out" 'b.service is no unit of this node' 'is named'
reset
echo /dev/sda1 >"$box/state/mounted"
run check spool
is "$code" 1 'check: something else at the mount point'

serves() { # REQUEST : sets $code, $out and $calls
	code=0
	out=$(printf '%s\n' "$1" | PATH=$box/bin:$PATH "$failover" --config "$box/etc" serve 2>/dev/null) || code=$?
	calls=$(grep -vx sleep "$box/calls" || true)
	: >"$box/calls"
}

reset
serves 'check spool'
is "${out##*$'\n'}" 'done' 'serve: check, and nothing is against it'
is "$calls" '' 'nor is anything changed'
serves 'take spool'
is "${out##*$'\n'}" 'done' 'serve: take'
is "$calls" "$all_calls" 'does what promote does'
reset
: >"$box/state/fails-b.service"
serves 'take spool'
like "${out##*$'\n'}" '^failed repl-failover: spool: b.service did not start' 'serve: what fails is said at the end'
like "$calls" "start b.service.*stop a.service.*umount $box/mnt.*secondary spool" 'and what was begun is undone'
is "$(cat "$box/state/role")" secondary 'the volume is free for the other node'
reset
: >"$box/state/fails-b.service"
: >"$box/state/busy"
serves 'take spool'
like "${out##*$'\n'}" '^failed .*b.service did not start.*could not be undone.*is in use' 'serve: also when it cannot be'
reset
rm "$box/etc/failover/spool.conf"
serves 'check spool'
like "${out##*$'\n'}" '^failed .*failover/spool.conf is not there' 'serve: a volume without configuration'
for request in '' 'demote spool' 'take' 'take ../spool' 'take spool --peer-dead' 'promote spool' 'take $(touch x)'; do
	reset
	serves "$request"
	like "$out" '^failed this is no request' "serve: '$request' is none"
	is "$calls" '' 'and nothing is done'
done
run serve spool
is "$code" 2 'serve takes no volume from the command line'
# Whoever asked has gone: what was begun is finished.
reset
{ echo 'take spool'; sleep 1; } | PATH=$box/bin:$PATH "$failover" --config "$box/etc" serve 2>/dev/null | true
wait_for 20 'the services to run' test -e "$box/state/active-b.service"
is "$(cat "$box/state/role")" primary 'serve: who asked has gone, and it is finished all the same'

# --- configuration ------------------------------------------------------------------------------------------------

reset
echo 'device=/dev/mapper/x' >>"$box/etc/failover/spool.conf"
run promote spool
like "$calls" 'mount -t ext4 -o noatime,nodev /dev/mapper/x' 'device= is used instead of the minor'

# What mount stores is where the link leads to.
reset
mkdir -p "$box/dev"
: >"$box/dev/repl3"
ln -sf repl3 "$box/dev/spool"
echo "device=$box/dev/spool" >>"$box/etc/failover/spool.conf"
run promote spool
run promote spool
is "$code-$calls" '0-' 'of a device that is a link a second promote finds it mounted'
run status spool
is "$code" 0 'status, too'
run demote spool
is "$code" 0 'and demote leaves it'
is "$(cat "$box/state/role")" secondary 'to the end'

for minor in 'minor=4' 'minor : 4' '  minor = 4 ; the spool' $'minor\t=\t04\t; x = 5'; do
	reset
	printf '; minor = 1\n[volume] ; this one\ndevice = /dev/vdb\n%s\n[peer "mail1"]\nmode = sync\n' "$minor" \
		>"$box/etc/volumes/spool.conf"
	run promote spool
	like "$calls" 'e2fsck -p /dev/repl4'$'\n' "'$minor' is read as the agent does"
done
reset
echo '[volume]' >"$box/etc/volumes/spool.conf"
run promote spool
is "$code" 1 'no minor at all is an error'
like "$out" 'has not exactly one minor = NUMBER' 'which is said'

for case in 'colour=red|unknown key' 'mount=/x|already in line 2' 'nonsense|not key=value'; do
	reset
	echo "${case%|*}" >>"$box/etc/failover/spool.conf"
	run promote spool
	is "$code" 1 "'${case%|*}' in the configuration is an error"
	like "$out" "spool.conf:6: .*${case#*|}" 'with file, line and fact'
	is "$calls" '' 'and nothing is done'
done
reset
sed -i s/^mount.*/mount=srv/ "$box/etc/failover/spool.conf"
run promote spool
is "$code" 1 'a relative mount point is an error'
reset
rm "$box/etc/failover/spool.conf"
run demote spool
is "$code" 1 'a volume without configuration is an error'

for args in '' 'promote' 'promote spool other' 'explode spool' 'promote ../x' 'demote spool --peer-dead' \
	'promote spool --force' 'promote spool --timeout' 'promote spool --timeout x'; do
	reset
	# Words of a command line.
	# shellcheck disable=SC2086
	run $args
	is "$code" 2 "usage error: '$args'"
	is "$calls" '' 'nothing is done'
done

reset
rm "$box/etc/volumes/spool.conf"
run promote spool
is "$code" 1 'a volume that this node does not have is an error'
like "$out" 'volumes/spool.conf is not there' 'which is said'

# Two at once: the second waits for the first, and finds everything done.
reset
fake sleep <<'E2'
did "sleep"
exec /bin/sleep 0.1
E2
echo lost >"$box/state/peer"
echo 40 >"$box/state/countdown"
(run promote spool --peer-dead; exit "$code") &
wait_for 10 'the first run is under way' grep -q primary "$box/calls"
cp "$box/calls" "$box/before"
code=0
PATH=$box/bin:$PATH timeout 10 "$failover" --config "$box/etc" status spool >"$box/looked" || code=$?
is "$code-$(cat "$box/state/role")" 3-secondary 'status does not wait for a run that is under way'
out=$(PATH=$box/bin:$PATH "$failover" --config "$box/etc" promote spool --peer-dead)
wait $!
like "$out" 'another repl-failover of this volume is running: waiting for it' 'who has to wait says so'
like "$out" 'already primary' 'two runs at once: the second begins when the first has ended'
is "$(cat "$box/state/role")" primary 'and both succeed'

done_testing
