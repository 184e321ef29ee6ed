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
gives "replace without a volume" 2 'exactly one volume' repl-ctl replace --device /dev/sdc
gives "replace by a relative path" 2 '--device sdc: an absolute path' repl-ctl replace spool --device sdc
gives "nor its metadata by one" 2 '--metadata sdd: an absolute path' \
	repl-ctl replace spool --device /dev/sdc --metadata sdd
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
run ctl wait spool --for connected --timeout 0
is "$(jq -c .timeout request)" 0 "a wait of no time at all"
run ctl wait spool --for connected
is "$(jq -c '[.for, .timeout]' request)" '["connected",null]' "wait without an end"
run ctl reload
is "$(jq -c '[.cmd, .volume]' request)" '["reload",null]' "what reload asks for"

gives "replace in no volume's place" 1 'there is no etc/volumes/other.conf' ctl replace other

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

# --- peers --------------------------------------------------------------------------------------------------------

cp etc/agent.conf agent.conf.saved
printf '[peer "mail9"]\naddress = 192.0.2.9\npublic-key = %s\n' "$(repl-ctl genkey | repl-ctl pubkey)" >>etc/agent.conf
cp etc/volumes/spool.conf before.conf
answer_with '{"ok":true,"text":"spool: mail9 is a peer now"}'
gives "one peer more" 0 '^spool: mail9 is a peer now' ctl peer add spool mail9
is "$(jq -c '[.cmd, .volume, .node]' request)" '["peer-add","spool","mail9"]' "the agent is asked"
is "$(tail -n 2 etc/volumes/spool.conf | tr '\n' ' ')" '[peer "mail9"] mode = sync ' "and the file names it"
gives "once more: the agent may not know" 0 'mail9 is a peer now' ctl peer add spool mail9
is "$(grep -c mail9 etc/volumes/spool.conf)" 1 "the file names it once"
gives "and once more, with the mode that it has" 0 'mail9 is a peer now' ctl peer add spool mail9 --mode sync
cp etc/volumes/spool.conf with.conf
rm request
gives "with another mode" 1 \
	'spool: mail9 is a peer already, and its file says mode = sync: change it there .etc/volumes/spool.conf:6.*, then repl-ctl reload' \
	ctl peer add spool mail9 --mode rolling
not_ok "the agent is not asked" test -e request
ok "and the file is what it was" cmp etc/volumes/spool.conf with.conf
answer_with '{"ok":false,"text":"spool: mail9 is the only one"}'
cp etc/volumes/spool.conf with.conf
gives "what the agent refuses" 1 'spool: mail9 is the only one.*says what it said before' ctl peer remove spool mail9
ok "is taken back" cmp etc/volumes/spool.conf with.conf
stop_agent
gives "without an agent nothing is done" 1 'no agent answers' ctl peer remove spool mail9
ok "either" cmp etc/volumes/spool.conf with.conf
answer_with '{"ok":true,"text":"spool: mail9 is no peer any more"}'
gives "one less" 0 'is no peer any more' ctl peer remove spool mail9 --force
is "$(jq -c '[.cmd, .node, .force]' request)" '["peer-remove","mail9",true]' "and how"
ok "the file is what it was" cmp etc/volumes/spool.conf before.conf
gives "a stranger" 1 'mail8 has no section in etc/agent.conf; add' ctl peer add spool mail8
gives "this node" 1 'mail1 is this node' ctl peer add spool mail1
gives "a mode that is none" 1 'spool.conf:[0-9]+: mode' ctl peer add spool mail9 --mode perhaps
gives "no such volume" 1 'volumes/other.conf: No such file' ctl peer add other mail9
gives "neither" 2 'add or remove is expected' ctl peer change spool mail9
gives "of what?" 2 'name a volume and a node' ctl peer add spool
gives "a mode for one that goes" 2 '--mode goes with add' ctl peer remove spool mail9 --mode sync
gives "force for one that comes" 2 '--force goes with remove' ctl peer add spool mail9 --force
cp agent.conf.saved etc/agent.conf

# --- a split ------------------------------------------------------------------------------------------------------

keep=11111111-0000-0000-0000-000000000001 lose=22222222-0000-0000-0000-000000000002
sides() { # ROLE-OF-MAIL1 ROLE-OF-MAIL2 : what the agent says of a split
	printf '{"ok":true,"node":"mail1","volumes":[{"name":"spool","peers":[{"name":"mail2","reason":"split: ...","split":
		{"common":"33333333-0000-0000-0000-000000000003","save_dir":"/x","sides":[
		{"node":"mail1","role":"%s","generation":"%s","blocks":1,"bytes":4096,"loses_bytes":2101248,"alone_ms":null},
		{"node":"mail2","role":"%s","generation":"%s","blocks":512,"bytes":2097152,"loses_bytes":2101248,"alone_ms":3600000}]}}]}]}' \
		"$1" $keep "$2" $lose | tr -d '\n\t' >shown
	echo >>shown
	printf '%s\n' '{"progress":"saves"}' '{"ok":true,"text":"spool: mail1 is kept"}' >answer
	rm -f request
	# The played agent expands it.
	# shellcheck disable=SC2016
	start_agent 'case "$line" in *\"resolve\"*) cat answer ;; *) cat shown ;; esac'
}
asked() { jq -c "[.cmd, .volume, .keep, .keep_generation, .discard_generation, .no_save, .save_to]" request; }

sides primary secondary
gives "what each side would lose" 0 'mail1 +primary +11111111 +1 block, 4 KiB +not known +up to 2' ctl resolve spool
like "$out" 'mail2 +secondary +22222222 +512 blocks, 2 MiB +1 h( 0 min)? ago +up to 2' "and the other"
like "$out" 'mail2 loses what it has written alone, up to 2.* MiB: saved' "which has sent some of it to the one that is kept"
like "$out" 'generation 33333333' "since when"
like "$out" 'To keep mail1: repl-ctl resolve spool --keep mail1' "and how to end it"
is "$(jq -r .cmd request)" status "nothing was asked for"
gives "without a terminal it wants --yes" 1 'no terminal to ask at; say --yes' ctl resolve spool --keep mail1
is "$(jq -r .cmd request)" status "and asks for nothing"
gives "the one in use" 1 'mail1 is primary, and its copy would go' ctl resolve spool --keep mail2 --yes
is "$(jq -r .cmd request)" status "is not asked for either"
gives "a node that has none" 1 'mail3 is neither mail1 nor mail2' ctl resolve spool --keep mail3 --yes
gives "with --yes" 0 'spool: mail1 is kept.*repl-ctl wait spool --for in-sync' ctl resolve spool --keep mail1 --yes
is "$(asked)" "[\"resolve\",\"spool\",\"mail1\",\"$keep\",\"$lose\",false,\"\"]" "what was shown is what is decided about"
run ctl resolve spool --keep mail1 --yes --save-to .
is "$(jq -r .save_to request)" "$(pwd -P)" "the agent gets a whole path"
run ctl resolve spool --keep mail1 --yes --save-to new/saved
is "$(jq -r .save_to request)" "$(pwd -P)/new/saved" "of what it is to make, too"
run ctl resolve spool --keep mail1 --yes --no-save --force
is "$(jq -r .no_save request)" true "nothing saved, when forced"
gives "not forced" 2 'it needs --force, too' ctl resolve spool --keep mail1 --yes --no-save
gives "forced without need" 2 'only for --no-save' ctl resolve spool --keep mail1 --yes --force
gives "saved and not" 2 'exclude each other' ctl resolve spool --keep mail1 --save-to . --no-save --force
gives "whom?" 2 '--keep is missing' ctl resolve spool --yes
gives "of which volume?" 2 'exactly one volume' ctl resolve --keep mail1
echo '{"ok":false,"text":"spool: the copies have changed","code":1}' >answer
gives "a refusal" 1 '^repl-ctl: spool: the copies have changed$' \
	bash -c 'repl-ctl --config etc resolve spool --keep mail1 --yes 2>&1 >/dev/null'
sides secondary secondary
sed -i 's/"loses_bytes":[0-9]*,//g' shown
gives "an agent of an older release" 0 'mail2 +secondary +22222222 +512 blocks, 2 MiB +1 h( 0 min)? ago +not known' ctl resolve spool
like "$out" 'mail2 loses what it has written alone, how much is not known: ' "what it does not tell is no number"
unlike "$out" 'up to' "anywhere"
gives "it would save less than is lost" 1 'older release, which may save less than is lost: restart it' \
	ctl resolve spool --keep mail1 --yes
is "$(jq -r .cmd request)" status "so it is not asked to"
run ctl resolve spool --keep mail1 --yes --no-save --force
is "$(jq -r .no_save request)" true "nothing saved, it may"
echo '{"ok":true,"volumes":[{"name":"spool","peers":[{"name":"mail2","reason":"in sync","split":null}]}]}' >shown
gives "no split" 0 'no split is known with mail2: in sync' ctl resolve spool
gives "nothing to decide" 1 'nothing to resolve' ctl resolve spool --keep mail1 --yes
echo '{"ok":true,"volumes":[]}' >shown
gives "a volume that is not up" 1 'is not up on this node' ctl resolve spool

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
