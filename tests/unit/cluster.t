#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# repl-cluster: what it makes of a table, that the agent takes it, and what it refuses.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/../vm/tap.sh
. "$here/../vm/tap.sh"
cluster=$here/../../scripts/repl-cluster
build=${REPL_BUILD:-$here/../../build}

box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
table=$box/table
out=$box/out

key() { printf '%042dA=' "$1"; }

run() { # ARG... : sets $code and $words
	code=0
	words=$("$cluster" "$@" 2>&1) || code=$?
}

# Sixteen servers: each is primary of one volume, and the next one has its replica.
sixteen() {
	local i
	for i in {1..16}; do echo "node mail$i 10.0.0.$i $(key "$i")"; done
	for i in {1..16}; do echo "volume spool$i mail$i mail$((i % 16 + 1)) /dev/vg0/spool$i $i"; done
}

sixteen >"$table"
run "$table" --check
is "$code" 0 'sixteen servers: no mistake'
like "$words" '16 nodes, 16 volumes' 'as is said'
ok 'and nothing was written' [ ! -e "$out" ]
run "$table" --out "$out"
is "$code" 0 'sixteen servers: written'
is "$(find "$out" -name agent.conf | wc -l)-$(find "$out" -path '*/volumes/*.conf' | wc -l)" 16-32 'a file for each node, and one for each copy'
is "$(grep -c '^\[peer' "$out/mail3/agent.conf")" 2 'a node knows those with which it shares a volume'
like "$(cat "$out/mail16/volumes/spool16.conf")" 'Meant to be primary: mail16.*device = /dev/vg0/spool16.*minor = 16.*\[peer "mail1"\]' \
	'a volume has its device, its minor, its peer'
unlike "$(cat "$out/mail16/volumes/spool16.conf")" 'peer "mail16"' 'and not itself for one'
run "$table" --out "$out"
is "$code-$words" 0- 'a second time there is nothing to write'
cp -r "$out" "$box/first"
rm -r "$out"
run "$table" --out "$out"
ok 'what it writes depends on the table alone' diff -r "$box/first" "$out"
sed -i '/^volume spool5 /d' "$table"
run "$table" --out "$out"
like "$words" 'no longer in the table, left alone: .*/mail5/volumes/spool5.conf' 'what the table no longer has is named'
ok 'and left alone' [ -e "$out/mail5/volumes/spool5.conf" ]

# The agent reads it as it was meant: what it finds missing is of this machine.
if [ -x "$build/bin/repl-agent" ]; then
	"$build/bin/repl-ctl" genkey "$box/key" >/dev/null
	printf '%s\n' "node a 10.0.0.1 $(key 1)" "node b fd00::2 $(key 2)" "node c [fd00::3]:99 $(key 3)" \
		'volume s a b,c /dev/null 3 on-peer-loss=freeze encryption=none timeout=5s # two replicas' >"$table"
	rm -r "$out"
	run "$table" --out "$out"
	is "$code" 0 'two replicas, IPv6, options'
	for node in a b c; do
		sed -i "s,/etc/repl/key,$box/key," "$out/$node/agent.conf"
		words=$("$build/bin/repl-agent" --config "$out/$node" --check 2>&1 || true)
		is "$(grep -vc '/dev/null' <<<"$words")" 0 "the agent of $node finds no mistake but the device"
	done
	like "$(cat "$out/a/agent.conf")" '\[fd00::2\]:7788.*\[fd00::3\]:99' 'addresses have their ports'
fi

rm -rf "$out"
printf '%s\n' "node a 10.0.0.1 $(key 1)" "node b 10.0.0.2 $(key 2)" "node w 10.0.0.3 $(key 3)" "node z 10.0.0.4 $(key 4)" \
	'volume s a b /dev/null 3 arbiter=node:w takeover=auto takeover-after=5s' >"$table"
run "$table" --out "$out"
is "$code" 0 'a volume with a witness'
is "$(grep -h '^\[peer' "$out"/{a,b,w}/agent.conf | sort | uniq -c | tr -s ' ' | tr '\n' ' ')" \
	' 2 [peer "a"]  2 [peer "b"]  2 [peer "w"] ' 'the copies and the witness know each other'
is "$(grep -c '^\[peer' "$out/z/agent.conf")" 0 'and nobody else'
is "$(grep -c '^\[peer' "$out/a/volumes/s.conf")" 1 'but the witness has no copy'
like "$(cat "$out/a/volumes/s.conf")" 'arbiter = node:w.*takeover = auto.*takeover-after = 5s' 'and is named'
ok 'it has no file of the volume' [ ! -e "$out/w/volumes/s.conf" ]

refused() { # DESCRIPTION WORDS LINE...
	local what=$1 regex=$2
	shift 2
	rm -rf "$out"
	{
		echo "node a 10.0.0.1 $(key 1)"
		echo "node b 10.0.0.2 $(key 2)"
		echo 'volume s a b /dev/vg0/s 1'
		printf '%s\n' "$@"
	} >"$table"
	run "$table" --out "$out"
	is "$code" 1 "refused: $what"
	like "$words" "table:[0-9]+: .*$regex" 'with file, line and fact'
	ok 'and nothing is written' [ ! -e "$out" ]
}

refused 'a node that is not there' "node 'c' is not in the table" 'volume t a c /dev/vg0/t 2'
refused 'a minor twice on a node' 'minor 1 on b is that of s' 'volume t b a /dev/vg0/t 1'
refused 'a device twice on a node' '/dev/vg0/s on a is that of s' 'volume t a b /dev/vg0/s 2'
refused 'a volume twice' 'already in line 3' 'volume s a b /dev/vg0/t 2'
refused 'an arbiter that is not there' "its arbiter, node 'w', is not in the table" 'volume t a b /dev/vg0/t 2 arbiter=node:w'
refused 'an arbiter with a copy' 'its arbiter b has a copy of it' 'volume t a b /dev/vg0/t 2 arbiter=node:b'
refused 'an arbiter between three' 'an arbiter decides between two copies, and there are 3' \
	"node c 10.0.0.3 $(key 3)" "node w 10.0.0.4 $(key 4)" 'volume t a b,c /dev/vg0/t 2 arbiter=node:w'
refused 'a program between three' 'an arbiter decides between two copies, and there are 3' \
	"node c 10.0.0.3 $(key 3)" 'volume t a b,c /dev/vg0/t 2 arbiter=command:/bin/ask'
refused 'a node twice' 'already in line 1' "node a 10.0.0.3 $(key 3)"
refused 'an address twice' 'has the address of a' "node c 10.0.0.1:7788 $(key 3)"
refused 'a key twice' 'has the public key of b' "node c 10.0.0.3 $(key 2)"
refused 'a key that is none' 'is no public key' 'node c 10.0.0.3 short'
refused 'an address that is none' 'is no address' "node c 10.0.0.3:x $(key 3)"
refused 'two copies on one node' 'a would have two copies' 'volume t a a /dev/vg0/t 2'
refused 'more copies than can be live' 'volume t: 6 copies, 5 are the limit: leave some of its replicas out' \
	"node c 10.0.0.3 $(key 3)" "node d 10.0.0.4 $(key 4)" "node e 10.0.0.5 $(key 5)" "node f 10.0.0.6 $(key 6)" \
	'volume t a b,c,d,e,f /dev/vg0/t 2'
refused 'a minor that is none' 'number below 1024' 'volume t a b /dev/vg0/t 1024'
refused 'a relative device' 'absolute path' 'volume t a b vg0/t 2'
refused 'a key of a volume that is none' "KEY=VALUE is expected" 'volume t a b /dev/vg0/t 2 colour=red'
refused 'a name that is none' "'../t' is no name" 'volume ../t a b /dev/vg0/t 2'
refused 'a word that is none' 'begins with node or volume' 'volumes t a b /dev/vg0/t 2'
refused 'a line that is too short' 'is expected' 'volume t a b'

sixteen >"$table"
mkdir -p "$out/mail1"
echo '[node]' >"$out/mail1/agent.conf"
run "$table" --out "$out"
is "$code" 1 'a file that somebody else has written is not overwritten'
like "$words" 'mail1/agent.conf was not made by repl-cluster' 'and named'
is "$(find "$out" -type f | wc -l)" 1 'and nothing else is written'
run "$table" --out "$out" --force
is "$code" 0 'but with --force'
for args in '' "$table" "$table --out" "$table --check --out $out" "$table other --check" '--explode'; do
	# Words of a command line.
	# shellcheck disable=SC2086
	run $args
	is "$code" 2 "usage error: '${args//"$box"/}'"
done

done_testing
