#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# scripts/arbiter/etcd against an etcdctl that keeps its one key in a file.
set -u
cd "$(dirname "$0")/../.." || exit 1

n=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
key=/repl/11111111-2222-3333-4444-555555555555
uuid=${key#/repl/}

cat >"$work/etcdctl" <<'EOF'
#!/bin/bash
# Knows: get KEY --print-value-only; txn with one compare, one put and one get.
[ ! -e "$STORE.down" ] || exit 1
case $1 in
get)
	cat "$STORE" 2>/dev/null || true
	;;
txn)
	mapfile -t line
	[ ! -e "$STORE.lost" ] || exit 1
	[ ! -e "$STORE.race" ] || mv "$STORE.race" "$STORE"
	[[ ${line[0]} == 'value("'*'") = "'"$(cat "$STORE")"'"' && -z ${line[1]} && -z ${line[3]} ]] || {
		echo FAILURE
		exit
	}
	[[ ${line[2]} =~ ^put\ [^\ ]+\ \"(.*)\"$ ]] || exit 1
	echo "${BASH_REMATCH[1]}" >"$STORE"
	[ ! -e "$STORE.mute" ] || exit 1
	echo SUCCESS
	;;
*) exit 1 ;;
esac
EOF
chmod +x "$work/etcdctl"
export STORE=$work/store PATH=$work:$PATH

asks() { # DESCRIPTION STATUS REGISTER EXPECT WANT NODE : REGISTER is what it must read afterwards
	local out rc=0 reads
	out=$(scripts/arbiter/etcd spool "$uuid" "$4" "$5" "$6" 2>&1) || rc=$?
	reads=$(cat "$STORE" 2>/dev/null)
	n=$((n + 1))
	if [ "$rc" = "$2" ] && [ "$reads" = "$3" ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		echo "# exit status $rc, register: $reads, words: $out"
		failed=1
	fi
}

asks "no entry: no answer" 2 "" g1 g2 a
# Whoever asks may be the one whose generation is old: what it expects must not look like what to put there.
words=$(scripts/arbiter/etcd spool "$uuid" g1 g2 a 2>&1)
n=$((n + 1))
if [[ $words == *"etcdctl put $key 'GENERATION -'" && $words == *"--json shows on the primary"* && $words != *g1* ]]; then
	echo "ok $n - no entry: how to make it, but not with what"
else
	echo "not ok $n - no entry: how to make it, but not with what"
	echo "# words: $words"
	failed=1
fi
echo "g1 -" >"$STORE"
asks "another expectation is denied" 1 "g1 -" g0 g2 a
asks "the expected one is swapped" 0 "g2 a" g1 g2 a
asks "the same again: granted" 0 "g2 a" g1 g2 a
asks "not to another node" 1 "g2 a" g1 g2 b
asks "what it does not read any more is denied" 1 "g2 a" g1 g3 b
asks "from there somebody else may go on" 0 "g3 b" g2 g3 b
touch "$STORE.down"
asks "etcd is down: no answer" 2 "g3 b" g3 g4 a
rm "$STORE.down"
touch "$STORE.lost"
asks "the transaction was lost: no answer" 2 "g3 b" g3 g4 a
rm "$STORE.lost"
touch "$STORE.mute"
asks "the answer was lost: no answer" 2 "g4 a" g3 g4 a
rm "$STORE.mute"
asks "and granted when it is asked again" 0 "g4 a" g3 g4 a
echo "g9 b" >"$STORE.race"
asks "somebody was faster: not granted" 2 "g9 b" g4 g5 a
asks "and denied the next time" 1 "g9 b" g4 g5 a
echo "1..$n"
exit $failed
