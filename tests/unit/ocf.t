#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The resource agent for Pacemaker, and the notify script of keepalived, against programs that only remember: each action
# and each exit code, the scores, and when a peer is declared dead.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/../vm/tap.sh
. "$here/../vm/tap.sh"
agent=$here/../../scripts/ocf/repl
notify=$here/../../scripts/keepalived/repl-keepalived

[ "$EUID" -eq 0 ] || skip_all 'the resource agent is for root alone'
command -v jq >/dev/null || skip_all 'no jq here'

box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
mkdir -p "$box"/{bin,etc/volumes}
export BOX=$box

fake() { # NAME ; the script on standard input
	printf '#!/usr/bin/env bash\ncd "$BOX/state"\ndid() { printf "%%s\\n" "$*" >>"$BOX/calls"; }\n%s\n' "$(cat)" >"$box/bin/$1"
	chmod +x "$box/bin/$1"
}

# state/role; state/consent: yes, no, dead (with --peer-dead only), or a number of refusals before dead
fake repl-ctl <<'E2'
[ "$1" = --config ] && shift 2
case $1 in
role)
	[ -e role ] || { echo "repl-ctl: the module does not answer" >&2; exit 1; }
	cat role
	[ "$(cat role)" != down ]
	;;
status)
	jq -n --arg role "$(cat role)" --slurpfile more more '{volumes: [{name: "other"}, {name: "spool", role: $role} + $more[0]]}'
	;;
*)
	did "$*"
	[ ! -e "fails-$1" ] || { echo "repl-ctl: spool: refused" >&2; exit 1; }
	case $1 in
	up | secondary) echo secondary >role ;;
	down) echo down >role ;;
	primary)
		case $(cat consent) in
		yes) ;;
		no) exit 1 ;;
		dead) [ "${3:-}" = --peer-dead ] || exit 1 ;;
		*)
			[ "${3:-}" = --peer-dead ] || exit 1
			n=$(($(cat consent) - 1))
			echo "$n" >consent
			[ "$n" -gt 0 ] || echo dead >consent
			exit 1
			;;
		esac
		echo primary >role
		;;
	esac
	;;
esac
E2
fake crm_attribute <<'E2'
case "$*" in
*stonith-enabled*) cat stonith ;;
*--delete*) rm -f score ;;
*--update*) echo "${*: -1}" >score ;;
*) exit 1 ;;
esac
E2
fake repl-failover <<'E2'
did "$*"
[ ! -e "fails-$1" ] || exit 1
[ "$1" != promote ] || [ "$(cat consent)" = yes ] || [ "${3:-}" = --peer-dead ]
E2
fake logger <<'E2'
E2
fake fence <<'E2'
did "fence $*"
[ ! -e fence-fails ]
E2

in_sync='{"consistent":true,"backing":{"failing":false,"diskless":false},"peers":[{"state":"live","session":"connected"}]}'
alone='{"consistent":true,"backing":{"failing":false,"diskless":false},"peers":[{"state":"disconnected","session":"disconnected"}]}'
behind='{"consistent":true,"backing":{"failing":false,"diskless":false},"peers":[{"state":"syncing","session":"connected"}]}'
torn='{"consistent":false,"backing":{"failing":false,"diskless":false},"peers":[{"state":"disconnected","session":"disconnected"}]}'
failing='{"consistent":true,"backing":{"failing":true,"diskless":false},"peers":[{"state":"live","session":"connected"}]}'

reset() { # [ROLE [FACTS]]
	rm -rf "$box/state"
	mkdir "$box/state"
	echo "${1:-secondary}" >"$box/state/role"
	echo "${2:-$in_sync}" >"$box/state/more"
	echo yes >"$box/state/consent"
	echo true >"$box/state/stonith"
	: >"$box/calls"
	: >"$box/etc/volumes/spool.conf"
}

ocf() { # ACTION [VARIABLE=VALUE...] : sets $code, $calls and $score
	local action=$1
	shift
	code=0
	out=$(env PATH="$box/bin:$PATH" OCF_RESKEY_volume=spool OCF_RESKEY_config="$box/etc" "$@" "$agent" "$action" 2>&1) || code=$?
	calls=$(cat "$box/calls")
	: >"$box/calls"
	score=$(cat "$box/state/score" 2>/dev/null || true)
}

# --- what it is ---------------------------------------------------------------------------------------------------

reset
ocf meta-data
is "$code" 0 'meta-data'
for action in start stop monitor promote demote notify validate-all; do
	like "$out" "<action name=\"$action\"" "it has $action"
done
if command -v xmllint >/dev/null; then
	ok 'it is XML' xmllint --nonet --noout - <<<"$(grep -v DOCTYPE <<<"$out")"
fi
ocf explode
is "$code" 3 'an action that it does not have: unimplemented'
ocf validate-all
is "$code" 0 'validate-all: all is right'
ocf validate-all OCF_RESKEY_volume=../x
is "$code" 6 'validate-all: no name of a volume: configured wrongly'
ocf validate-all OCF_RESKEY_volume=
is "$code" 6 'nor none at all'
ocf validate-all OCF_RESKEY_fencing=perhaps
is "$code" 6 'validate-all: a value that is none'
ocf validate-all OCF_RESKEY_config=/nonexistent
is "$code" 5 'validate-all: a volume that this node does not have: not installed'
ocf start OCF_RESKEY_config=/nonexistent
is "$code-$calls" 5- 'which is not started'
ocf monitor OCF_RESKEY_config=/nonexistent
is "$code" 7 'a probe finds it not running there'
ocf stop OCF_RESKEY_config=/nonexistent
is "$code" 0 'and there is nothing to stop'
if code=0; setpriv --reuid=65534 --clear-groups "$agent" start >/dev/null 2>&1 || code=$?; [ "$code" -ne 126 ]; then
	is "$code" 4 'for others than root: no permission'
fi

# --- start, stop, monitor -----------------------------------------------------------------------------------------

reset down
ocf monitor
is "$code-$calls" 7- 'monitor: down is not running, and nothing is done'
ocf start
is "$code" 0 'start'
is "$calls" "up spool
wait spool --for connected --timeout 10" 'brings it up, and waits for its peers'
is "$score" 1000 'in sync it may be promoted'
ocf start
is "$code" 0 'a second start'
unlike "$calls" 'up spool' 'does not bring it up again'
reset down
: >"$box/state/fails-up"
ocf start
is "$code" 1 'start: what cannot be brought up has failed'
reset down
: >"$box/state/fails-wait"
ocf start
is "$code" 0 'start: peers that are away do not keep it from starting'
reset primary
ocf start
is "$(cat "$box/state/role")" secondary 'start: what is primary outside of the cluster becomes a secondary'
reset
ocf monitor
is "$code-$calls" 0- 'monitor: a secondary runs'
reset primary
ocf monitor
is "$code-$score" 8-10000 'monitor: a primary is promoted, and stays where it is'
reset primary "$failing"
ocf monitor
is "$code-$score" 9- 'monitor: a primary whose I/O fails is failed, and not to be promoted'
reset
rm "$box/state/role"
for action in monitor start stop promote demote; do
	ocf $action
	is "$code" 1 "$action: a role that cannot be told is an error"
done
reset
ocf stop
is "$code-$calls" '0-down spool' 'stop takes it down'
is "$score" '' 'and its score away'
ocf stop
is "$code-$calls" 0- 'a second stop has nothing to do'
reset primary
ocf stop
is "$code-$calls" '0-secondary spool
down spool' 'stop of a primary'
reset primary
: >"$box/state/fails-secondary"
ocf stop
is "$code-$calls" '1-secondary spool' 'stop: in use it fails, and the cluster fences'
reset
: >"$box/state/fails-down"
ocf stop
is "$code" 1 'stop: what cannot be taken down has failed'

# --- scores -------------------------------------------------------------------------------------------------------

for case in "1000|$in_sync" "50|$alone" "|$behind" "|$torn" "|$failing"; do
	reset secondary "${case#*|}"
	echo 77 >"$box/state/score"
	ocf monitor
	is "$score" "${case%%|*}" "score '${case%%|*}' for ${case#*|}"
done
reset secondary "$behind"
echo 1000 >"$box/state/score"
ocf notify
is "$code-$score" 0- 'notify looks anew'
reset down
ocf notify
is "$code-$score-$calls" 0-- 'notify: nothing of what is down'

# --- promote, demote ----------------------------------------------------------------------------------------------

reset
ocf promote
is "$code-$calls-$score" '0-primary spool-10000' 'promote, with consent'
ocf promote
is "$code-$calls" 0- 'a second promote has nothing to do'
reset down
ocf promote
is "$code-$calls" 7- 'promote: what is down is not running'
reset secondary "$alone"
echo dead >"$box/state/consent"
ocf promote
is "$code" 1 'promote: a peer that is away is not dead by itself'
unlike "$calls" 'peer-dead|force' 'nor is anything overridden'
ocf promote OCF_RESKEY_fencing=true
is "$code-$calls" '0-primary spool
primary spool --peer-dead' 'with fencing=true it is, after its consent was asked for'
reset secondary "$alone"
echo dead >"$box/state/consent"
echo false >"$box/state/stonith"
ocf promote OCF_RESKEY_fencing=true
is "$code" 1 'but not while the cluster has fencing switched off'
unlike "$calls" 'peer-dead' 'really not'
like "$out" 'stonith-enabled is false' 'which is said'
reset secondary "$alone"
echo 2 >"$box/state/consent"
ocf promote OCF_RESKEY_fencing=true
is "$code" 0 'a peer that still counts as connected is asked again'
reset secondary "$alone"
echo no >"$box/state/consent"
ocf promote OCF_RESKEY_fencing=true
is "$code-$(wc -l <<<"$calls")" 1-6 'and not for ever'
unlike "$calls" 'force' 'nothing is forced'
reset primary
ocf demote
is "$code-$calls-$score" '0-secondary spool-1000' 'demote'
ocf demote
is "$code-$calls" 0- 'a second demote has nothing to do'
reset primary
: >"$box/state/fails-secondary"
ocf demote
is "$code" 9 'demote: in use it stays promoted, and has failed'
reset down
ocf demote
is "$code" 7 'demote: what is down is not running'

# --- keepalived ---------------------------------------------------------------------------------------------------

notifies() { # ARG... : sets $code and $calls
	code=0
	env PATH="$box/bin:$PATH" REPL_KEEPALIVED_RUN="$box/run" "$notify" "$@" >/dev/null 2>&1 || code=$?
	calls=$(cat "$box/calls")
	: >"$box/calls"
}

reset
notifies spool INSTANCE mail MASTER 100
is "$code-$calls" '0-promote spool' 'keepalived: MASTER promotes'
for state in BACKUP FAULT STOP; do
	notifies spool INSTANCE mail $state
	is "$code-$calls" '0-demote spool' "keepalived: $state leaves it"
done
echo no >"$box/state/consent"
notifies spool INSTANCE mail MASTER 100
is "$code-$calls" '1-promote spool' 'keepalived: without consent, and without a fence, nothing is declared dead'
notifies --fence fence spool INSTANCE mail MASTER 100
is "$code-$calls" '0-promote spool
fence spool
promote spool --peer-dead' 'keepalived: with one the peer is switched off first'
: >"$box/state/fence-fails"
notifies --fence fence spool INSTANCE mail MASTER 100
is "$code-$calls" '1-promote spool
fence spool' 'keepalived: a fence that fails has switched nothing off'
: >"$box/state/fails-demote"
notifies spool INSTANCE mail BACKUP
is "$code" 1 'keepalived: what cannot be left is an error'
notifies spool INSTANCE mail DANCING
is "$code-$calls" 2- 'keepalived: a state that is none'
notifies spool
is "$code" 2 'keepalived: too few words'

check=$(sed -n 's,^\tscript "/usr/local/sbin/repl-keepalived \(.*\)"$,\1,p' "$here/../../scripts/keepalived/keepalived.conf")
is "$check" '--usable spool' 'keepalived: what the example asks for'
diskless='{"consistent":false,"backing":{"failing":false,"diskless":true},"peers":[{"state":"live","session":"connected"}]}'
hopeless='{"consistent":false,"backing":{"failing":true,"diskless":true},"peers":[]}'
for case in "0 secondary $in_sync" "1 secondary $torn" "0 primary $in_sync" "0 primary $diskless" "1 secondary $diskless" \
	"1 primary $hopeless" "1 down $torn"; do
	read -r want role facts <<<"$case"
	reset "$role" "$facts"
	# Words of a command line.
	# shellcheck disable=SC2086
	notifies $check
	is "$code-$calls" "$want-" "keepalived: usable or not: $role, $facts"
done

done_testing
