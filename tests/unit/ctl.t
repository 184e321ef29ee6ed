#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# repl-ctl without a kernel module: keys, command lines, and its conversation with an agent played by socat.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
# shellcheck source-path=SCRIPTDIR source=../vm/tap.sh
source "$here/../vm/tap.sh"

bin=${REPL_BUILD:-$here/../../build}/bin
dir=$(mktemp -d)
agent=
trap 'stop_agent; rm -rf "$dir"' EXIT
cd "$dir"
PATH=$bin:$PATH

out=
rc=0

run() { # COMMAND... : leaves what it printed in $out and its exit code in $rc
	rc=0
	out=$("$@" 2>&1 </dev/null) || rc=$?
}

gives() { # DESCRIPTION RC REGEX COMMAND...
	local what=$1 want=$2 words=$3
	shift 3
	run "$@"
	if [ "$rc" -eq "$want" ] && [[ $out =~ $words ]]; then
		pass "$what"
	else
		fail "$what" "exit code $rc: $out"
	fi
}

ctl() { repl-ctl --config etc "$@"; }

# An agent that notes the request in $dir/request and answers with what stands in $dir/answer.
start_agent() { # SHELL-COMMAND that answers
	stop_agent
	# The played agent expands it.
	# shellcheck disable=SC2016
	printf '#!/bin/sh\nread -r line\nprintf "%%s\\n" "$line" >request\n%s\n' "$1" >play
	chmod +x play
	socat UNIX-LISTEN:agent.sock,fork EXEC:./play 2>/dev/null &
	agent=$!
	wait_for 10 "the played agent" test -S agent.sock
}

stop_agent() {
	[ -n "$agent" ] || return 0
	kill "$agent" 2>/dev/null || true
	wait "$agent" 2>/dev/null || true
	agent=
	rm -f agent.sock
}

answer_with() { # LINE...
	printf '%s\n' "$@" >answer
	start_agent 'cat answer'
}

# --- keys ---------------------------------------------------------------------------------------------------------

run repl-ctl genkey key
is "$rc" 0 "a key is made"
public=$out
is "$(stat -c %a key)" 600 "and nobody else may read it"
is "$(wc -c <key)" 45 "one line of 44 characters"
is "$(repl-ctl pubkey key)" "$public" "its public key is printed, then and later"
is "$(repl-ctl pubkey <key)" "$public" "from standard input, too"
cp key before
gives "a key is never overwritten" 1 'exists; a new key would make this node a stranger' repl-ctl genkey key
ok "really" cmp key before
isnt "$(repl-ctl genkey)" "$(repl-ctl genkey)" "two keys differ"
chmod 644 key
gives "a key that others may read is refused" 1 'run chmod 600 key' repl-ctl pubkey key
chmod 600 key
gives "no key at all" 1 'repl-ctl genkey nokey' repl-ctl pubkey nokey
gives "not a key" 1 'a private key is expected' repl-ctl pubkey

# --- command lines ------------------------------------------------------------------------------------------------

gives "nothing" 2 '^usage:' repl-ctl
gives "help" 0 '^usage:' repl-ctl --help
gives "help for a command" 0 'usage: repl-ctl wait VOLUME --for' repl-ctl wait --help
gives "an unknown command" 2 'unknown command explode' repl-ctl explode
gives "an unknown option" 2 'unknown option --x' repl-ctl --x status
gives "an option of another command" 2 'up: unknown option --force' repl-ctl up spool --force
gives "wait for what?" 2 '--for is missing' repl-ctl wait spool
gives "wait for nonsense" 2 '--for dinner: connected, in-sync' repl-ctl wait spool --for dinner
gives "a timeout that is none" 2 '--timeout soon' repl-ctl wait spool --for connected --timeout soon
gives "an option without its value" 2 '--for needs a value' repl-ctl wait spool --for
gives "two overrides" 2 'exclude each other' repl-ctl primary spool --force --peer-dead
gives "no volume" 2 'name a volume' repl-ctl up
gives "two volumes at once as primary" 2 'exactly one volume' repl-ctl primary a b
gives "role without a volume" 2 'exactly one volume' repl-ctl role

# --- the agent ----------------------------------------------------------------------------------------------------

mkdir -p etc/volumes
cat >etc/agent.conf <<EOF
[node]
name = mail1
key = $dir/key
socket = $dir/agent.sock
[peer "mail2"]
address = 192.0.2.2
public-key = $public
EOF
printf '[volume]\ndevice = /dev/spool\nminor = 900\n[peer "mail2"]\n' >etc/volumes/spool.conf

gives "no agent: how to start it" 1 "no agent answers at $dir/agent.sock; start it" ctl up spool

answer_with '{"ok":true}'
run ctl up spool
is "$rc$out" 0 "done, and silent"
is "$(jq -c . request)" '{"cmd":"up","volume":"spool","force":false,"peer_dead":false}' "what up asks for"
run ctl primary spool --peer-dead
is "$(jq -c '[.cmd, .force, .peer_dead]' request)" '["primary",false,true]' "what primary --peer-dead asks for"
run ctl primary --force spool
is "$(jq -c '[.cmd, .force, .peer_dead]' request)" '["primary",true,false]' "what primary --force asks for"
run ctl wait spool --for in-sync --timeout 1500ms
is "$(jq -c '[.cmd, .for, .timeout]' request)" '["wait","in-sync",2]' "what wait asks for"
run ctl wait spool --for connected
is "$(jq -c '[.for, .timeout]' request)" '["connected",null]' "wait without an end"
run ctl reload
is "$(jq -c '[.cmd, .volume]' request)" '["reload",null]' "what reload asks for"

answer_with '{"progress":"41 %"}' '{"ok":true,"text":"in sync after 3 s"}'
run ctl wait spool --for in-sync
is "$out" 'spool: in sync after 3 s' "without a terminal progress is not shown"
answer_with '{"progress":"4 MiB will be lost"}' '{"ok":true}'
run ctl primary spool --force
is "$out" 'spool: 4 MiB will be lost' "but what is lost is"

answer_with '{"ok":false,"text":"peer mail2 is primary","code":1}'
gives "a refusal and its words" 1 '^repl-ctl: spool: peer mail2 is primary$' ctl primary spool
answer_with '{"ok":false,"text":"spool: peer mail2 is primary","code":1}'
gives "the name is said once" 1 '^repl-ctl: spool: peer mail2 is primary$' ctl primary spool
run ctl down spool other
is "$rc $(grep -c 'mail2 is primary' <<<"$out")" '1 2' "every volume is tried"
answer_with '{"ok":false}'
gives "a refusal without words" 1 'gives no reason' ctl down spool
answer_with 'hello'
gives "nonsense" 1 'of different versions' ctl up spool
start_agent 'exit 0'
gives "an agent that dies" 1 'ended before it answered' ctl up spool

# --- status -------------------------------------------------------------------------------------------------------

if [ -d /sys/module/repl ]; then
	skip "the repl module is loaded on this machine" "status without a module"
else
	answer_with '{"ok":true,"volumes":[]}'
	gives "status without a module" 0 'spool  down.*why:  .*not loaded.*next: modprobe repl' ctl status
	gives "check says down" 4 'spool  down' ctl check
	gives "status --check, too" 4 'spool  down' ctl status --check spool
	run ctl status --json
	is "$(jq -c '[.node, .module, .agent, .volumes[0].name, .volumes[0].role, .volumes[0].health]' <<<"$out")" \
		'["mail1",false,"running","spool","down","down"]' "as JSON"
	start_agent 'cat >/dev/null'
	before=$(now_ms)
	run ctl status --json
	cmp_ok $(($(now_ms) - before)) -lt 10000 "an agent that hangs does not hang status"
	is "$(jq -r .agent <<<"$out")" unknown "it is only unknown"
	stop_agent
	run ctl status --json
	is "$(jq -r .agent <<<"$out")" dead "an agent that is gone is dead"
	gives "role without a module" 1 '^down' ctl role spool
	gives "resume without a module" 1 'not loaded' ctl resume spool
	gives "monitor without a module" 1 'not loaded' ctl monitor
fi
gives "an unknown volume" 1 'nothing: no such volume' ctl status nothing
gives "check of an unknown volume" 4 'no such volume' ctl check nothing
echo nonsense >>etc/agent.conf
gives "a mistake in the configuration is told" 0 'agent.conf:8: neither' ctl status
gives "check without any configuration" 4 'no volumes' repl-ctl --config nowhere check

done_testing
