#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.12 mem=512 timeout=700 disks=32M,32M
#
# repl-ctl switch: a volume and the service on it go to the other node and back, under a writer that syncs every line; a
# step that fails over there brings it back; hooks see each change, in order.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

wrap=/run/wrap
mkdir -p $wrap

# The unit is a writer: a line counts once it was synced, and /run/acked says so. $NODE is whose systemctl this is.
cat >$wrap/writer <<'END'
#!/bin/bash
log=/mnt/$NODE/log
touch "$log"
n=$(wc -l <"$log")
while :; do
	n=$((n + 1))
	echo "line $n of $NODE" >>"$log"
	sync "$log" || exit 1
	echo "line $n of $NODE" >>/run/acked
done
END
cat >$wrap/systemctl <<'END'
#!/bin/bash
pid=/run/unit.$NODE
case $1 in
cat) [ "${*: -1}" = mail.service ] ;;
is-active) [ -e "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null ;;
start)
	[ ! -e "/run/fails.$NODE" ] || exit 1
	setsid /run/wrap/writer >/dev/null 2>&1 </dev/null &
	echo $! >"$pid"
	;;
stop)
	[ -e "$pid" ] || exit 0
	kill "$(cat "$pid")" 2>/dev/null
	while kill -0 "$(cat "$pid")" 2>/dev/null; do sleep 0.1; done
	rm "$pid"
	;;
esac
END
cat >$wrap/hook <<'END'
#!/bin/sh
echo "$REPL_EVENT $REPL_ROLE $REPL_WAS $REPL_PEER" >>"/run/hooks.$REPL_NODE"
END
chmod +x $wrap/*

on() { # NODE PROGRAM [ARG...]
	local node=$1
	shift
	in_node "$node" env NODE="$node" PATH="$wrap:$PATH" "$@"
}

failover() { # NODE VERB
	on "$1" repl-failover --config "$(node_dir "$1")" "$2" spool
}

switches() { # DESCRIPTION CODE REGEX FROM TO [OPTION]
	local what=$1 code=$2 regex=$3 from=$4 to=$5 out rc=0
	shift 5
	out=$(on "$from" repl-ctl --config "$(node_dir "$from")" switch spool --to "$to" "$@" 2>&1) || rc=$?
	if [ "$rc" -eq "$code" ] && [[ $out =~ $regex ]]; then
		pass "$what"
		diag "${out##*$'\n'}"
	else
		fail "$what" "exit code $rc, expected $code, with: $regex" "$out"
	fi
}

mounted() { findmnt -n "/mnt/$1" >/dev/null; }
serves() { [ "$(ctl "$1" role spool)" = primary ] && mounted "$1" && on "$1" systemctl is-active --quiet mail.service; }
idle() { [ "$(ctl "$1" role spool)" = secondary ] && ! mounted "$1" && ! on "$1" systemctl is-active --quiet mail.service; }
lines() { wc -l </run/acked; }
goes_on() { local n; n=$(lines); wait_for 30 "lines more than $n" eval "[ \$(lines) -gt $n ]"; }
# Every line that was synced is there; the one that the writer was ended at may be, too.
nothing_lost() {
	local missing
	missing=$(head -n "$(lines)" /run/acked | grep -Fxv -f "/mnt/$1/log" || true)
	[ -z "$missing" ] || printf 'lost: %s\n' "$missing"
	[ -z "$missing" ]
}

repl_node a /dev/vda
repl_node b /dev/vdb
repl_config
repl_mkfs
for node in a b; do
	dir=$(node_dir $node)
	mkdir -p "$dir/failover" "$dir/hooks" "/mnt/$node"
	printf 'mount = /mnt/%s\nunits = mail.service\n' $node >"$dir/failover/spool.conf"
	cp $wrap/hook "$dir/hooks/10-log"
done
ok "two nodes in sync" repl_start a
ok "a file system" run_quiet mkfs.ext4 -q /dev/repl0
ok "a serves it" failover a promote
ok "the writer writes" goes_on

switches "without a helper on b nothing is begun, and what is missing is said" 1 \
	'systemctl enable --now .*repl-failover.socket there.*nothing was stopped' a b
ok "a serves it as before" serves a
failover_listen a NODE=a PATH="$wrap:$PATH"
failover_listen b NODE=b PATH="$wrap:$PATH"
switches "not from the node that does not have it" 1 'a is primary: run this there.*nothing was stopped' b a
switches "--check finds nothing against it" 0 'b can take it over; nothing was changed' a b --check
ok "a serves it still" serves a

for round in 1 2 3; do
	switches "$round: a hands over to b" 0 'served by b now; [0-9.]+ s without service' a b
	ok "$round: b serves it, a has left it" eval 'serves b && idle a'
	ok "$round: b's writer writes" goes_on
	switches "$round: and back" 0 'served by a now; [0-9.]+ s without service' b a
	ok "$round: a serves it, b has left it" eval 'serves a && idle b'
	ok "$round: a's writer writes" goes_on
done
ok "no synced line was lost" nothing_lost a

: >/run/fails.b
switches "the service does not start on b: that is said, and a takes it back" 1 \
	'mail.service did not start.*this node takes it back.*served by this node again, after [0-9.]+ s' a b
ok "a serves it, b has left it" eval 'serves a && idle b'
ok "a's writer writes again" goes_on

ok "the service is stopped" failover a demote
ok "equal" copies_equal a b
ok "mounted once more" eval 'ctl a primary spool && mount /dev/repl0 /mnt/a'
ok "nothing that was synced is lost" nothing_lost a
umount /mnt/a

roles() { sed -n 's/^role-changed \([a-z]*\) .*/\1/p' "/run/hooks.$1" | tr '\n' ' '; }
there_and_back='secondary primary secondary primary secondary primary secondary primary '
ok "hooks are through" wait_for 30 "the last of a's hooks" eval '[ "$(roles a | wc -w)" = 11 ]'
is "$(roles a)" "primary ${there_and_back}secondary primary " "hooks on a saw each change of its role, in order"
is "$(roles b)" "primary ${there_and_back% primary } " "and on b"
is "$(grep -c peer-lost /run/hooks.a /run/hooks.b | cut -d: -f2 | tr '\n' ' ')" "0 0 " "nobody was lost meanwhile"
ok "everything down" repl_stop
done_testing
