#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.12 mem=768 timeout=900 disks=20M,20M,20M
#
# Who is not the peer, or not yet: refused in words that say what to do, nothing changes on either side, and the right
# peer is let in afterwards. Garbage on the port disturbs no live pair.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

A=10.0.0.1:7788
B=10.0.0.2:7788

# --- words --------------------------------------------------------------------------------------------------------

declare -A LOG_FROM=([a]=0 [b]=0)

log_of() { tail -n "+$((LOG_FROM[$1] + 1))" "$(node_dir "$1")/log"; } # NODE : since log_mark
log_mark() { for node in a b; do LOG_FROM[$node]=$(wc -l <"$(node_dir "$node")/log"); done; }

status_says() { ctl "$1" status | grep -qE -- "$2"; } # NODE REGEX
log_says() { log_of "$1" | grep -qE -- "$2"; }        # NODE REGEX

# Told in its own time: a refused node goes on trying.
tells() { # DESCRIPTION status|log NODE REGEX
	if wait_for 60 "$1" "$2_says" "$3" "$4"; then
		pass "$1"
	else
		fail "$1" "$(ctl "$3" status 2>&1)" "$(log_of "$3" | tail -n 20)"
	fi
}

# --- what must not change -----------------------------------------------------------------------------------------

# Role, identity, generation, what each slot lacks, how often anything of this was written, and the data.
state() { # NODE
	status_of "$1" '[.role, .uuid, .generation, .epoch, .consistent, .frozen, .counters.generations,
		.counters.metadata_writes, [.peers[] | select(.slot) | [.slot.key, .slot.generation, .dirty_bytes]]] | tostring'
	data_sha "${NODE_DEV[$1]}" "$(volume_bytes "$1")"
}

# Of a volume that is down. Coming up is recorded, so the superblock's sequence number is left out.
copy() { # DEVICE
	fsck.repl "$1" --json | jq -c '.volume | [.uuid, .copy_id, .generation, .epoch, .flags, .slots]'
	data_sha "$1" "$(fsck.repl "$1" --json | jq .volume.data_bytes)"
}

fds() { find "/proc/$(agent_pid "$1")/fd" -mindepth 1 | wc -l; } # NODE
fds_are() { [ "$(fds "$1")" = "$2" ]; }

unchanged() { # DESCRIPTION : since before=$(state a)
	is "$(state a)" "$before" "$1: nothing has changed on a"
}

# --- two nodes, and keys in a known order -------------------------------------------------------------------------

# The node with the lower key dials: who finds out what depends on it.
key_hex() { base64 -d <<<"$1" | od -An -v -tx1 | tr -d ' \n'; }
mkdir -p /run/keys
for i in 1 2 3 4 5; do
	repl-ctl genkey /run/keys/new$i >/run/keys/new$i.pub
	printf '%s new%s\n' "$(key_hex "$(cat /run/keys/new$i.pub)")" "$i"
done | sort | while read -r _ name; do
	n=$((${n:-0} + 1))
	mv "/run/keys/$name" /run/keys/$n
	mv "/run/keys/$name.pub" /run/keys/$n.pub
done
key() { cat "/run/keys/$1.pub"; }            # N : the nth of five
key_re() { key "$1" | sed 's/[+]/[+]/g'; } # N : as a regular expression

for node in a b; do repl_node "$node" "/dev/vd$node" >/dev/null; done
take_key() { # NODE N
	cp "/run/keys/$2" "$(node_dir "$1")/key"
	cp "/run/keys/$2.pub" "$(node_dir "$1")/pub"
}
take_key a 2
take_key b 4
repl_config
node_add x 10.0.0.9 # nobody's

set_peer_key() { # NODE N : what it takes for the other's key
	sed -i "s,^public-key = .*,public-key = $(key "$2")," "$(node_dir "$1")/agent.conf"
}
right_keys() { set_peer_key a 4 && set_peer_key b 2; }

restart() { # NODE
	agent_kill "$1" TERM
	agent_start "$1"
}

hello() { # NODE connect|listen ADDRESS KEY VOLUME WHAT : see hello.c
	in_node "$1" hello "$2" "$3" "/run/keys/$4" b "$5" "$6" 2>&1
}

repl_mkfs
pattern_put /dev/vda first $((4 << 20))
ok "a pair" repl_start a
run_quiet pattern_put /dev/repl0 second $((1 << 20)) $((8 << 20))
ok "b goes down" ctl b down spool
wait_for 60 "a notices" eval '! peer_is a b live'
run_quiet pattern_put /dev/repl0 missed $((400 << 10)) $((16 << 20))
sync
copy_b=$(copy /dev/vdb)
before=$(state a)
is "$(status_of a '.peers[0].dirty_bytes')" 409600 "b lacks 400 KiB"

# --- a volume that the other side does not have -------------------------------------------------------------------

tells "not up there: a says so" status a 'b refuses: volume spool is not up on b: run repl-ctl up spool there'
tells "and b's log" log b 'refused a: volume spool is not up on b'
unchanged "not up there"

# --- a copy that does not fit -------------------------------------------------------------------------------------

b_device() { # DEVICE [LINE...]
	NODE_DEV[b]=$1
	shift
	volume_conf b "join-limit = 5s" "$@" >"$(node_dir b)/volumes/spool.conf"
}

# b comes up with what its configuration says now, and a, which leads, and b itself say why this cannot be.
misfit() { # DESCRIPTION VERDICT WORDS
	local copy
	copy=$(copy "${NODE_DEV[b]}")
	run_quiet ctl b up spool
	tells "$1: a says so" status a "b is connected but behind: $2: $3"
	tells "$1: b says so" status b "a is connected but behind: $2: $3"
	tells "$1: b's log, too" log b "verdict: $2 .$3"
	unchanged "$1"
	run_quiet ctl b down spool
	is "$(copy "${NODE_DEV[b]}")" "$copy" "$1: nothing has changed on b's device"
	log_mark
}

log_mark
b_device /dev/vdb "encryption = none"
misfit "one wants plain links" refused 'one side says encryption = none, the other does not: make the volume.s files agree'
is "$(copy /dev/vdb)" "$copy_b" "b's copy is what it was when it went down"

run_quiet mkfs.repl --name spool --size 8M /dev/vdc
b_device /dev/vdc
misfit "a follower that is too small" refused \
	'the copy that must follow is too small: it has 8 MiB \(8388608 bytes\), the leader .* MiB \(.* bytes\): give it a larger device'

run_quiet mkfs.repl --name spool --force /dev/vdc
sed -i '/^.peer/,$d' "$(node_dir b)/volumes/spool.conf"
run_quiet ctl b up spool
tells "b does not list a as a peer: a says so" status a \
	'b refuses: a is not a peer of volume spool on b: add it to the volume.s file there'
run_quiet ctl b primary spool --force
run_quiet pattern_put /dev/repl1 foreign $((1 << 20))
run_quiet agent_kill b TERM
b_device /dev/vdc
before_b=$(state b)
agent_start b
words='refused: both are primary: make one of them secondary'
tells "two that were primary alone: a says so" status a "b is connected but behind: $words"
tells "two that were primary alone: b says so" status b "a is connected but behind: $words"
unchanged "two that were primary alone"
is "$(state b)" "$before_b" "two that were primary alone: nor on b"
run_quiet ctl b secondary spool
run_quiet ctl b down spool
misfit "two volumes" unrelated 'the copies belong to two different volumes: make the one that is not wanted anew with mkfs.repl'
b_device /dev/vdb

# --- a version, a message -----------------------------------------------------------------------------------------

run_quiet agent_kill b TERM
wait_for 60 "a sees it go" status_says a 'Connection refused'
base=$(fds a)

refused() { # DESCRIPTION WHAT WORDS [VOLUME] : what a answers somebody with b's key, and logs
	local out
	log_mark
	out=$(hello b connect $A 4 "${4:-spool}" "$2")
	like "$out" "REFUSE: $3" "$1: told"
	tells "$1: logged" log a "$3"
	ok "$1: its descriptor is closed" wait_for 60 "descriptors" fds_are a "$base"
	unchanged "$1"
}
refused "another version" version=99 'a speaks protocol versions 1 to 1, b speaks 99 to 99: update the older one'
refused "an unknown volume" version=1 'volume attic is not up on a: run repl-ctl up attic there' attic
refused "names without an end" endless 'a HELLO with a name that has no end'
refused "no message" magic "this is not repl's protocol"
refused "a message too long" long 'a HELLO message of 4294967295 bytes'
refused "a message too early" early 'LINK_LIVE does not belong here'

log_mark
like "$(hello b connect $A 4 spool silent)" '^HELLO.end: ' "silence: the connection is closed"
tells "silence: logged" log a 'b, before it said what it wants: 10\.0\.0\.2:[0-9]+: no HELLO came within 5 s: see the log'
like "$(hello b connect $A 4 spool link)" '^HELLO.end: ' "a link that nobody offered: closed"
tells "a link that nobody offered: logged" log a '10\.0\.0\.2:[0-9]+: it offers a link that was not agreed on'
ok "its descriptors are closed" wait_for 60 "descriptors" fds_are a "$base"

# The other way round: a dials, and the answer is a HELLO of another version.
like "$(hello b listen $B 4 spool version=99)" 'REFUSE: a speaks protocol versions 1 to 1, b speaks 99 to 99' \
	"another version is answered: told"
tells "and a's status says so" status a \
	'b is not connected: refused: a speaks protocol versions 1 to 1, b speaks 99 to 99: update the older one'
unchanged "another version is answered"

# --- keys ---------------------------------------------------------------------------------------------------------

log_mark
out=$(hello b connect $A 3 spool version=1)
like "$out" "does not list this node's key|hung up" "a stranger's key: refused in the handshake"
tells "and a's log has the key, and what to do" log a \
	"10\.0\.0\.2:[0-9]+: TLS: peer's key $(key_re 3) is not in agent.conf: add a \[peer\] with it if wanted"
ok "its descriptor is closed" wait_for 60 "descriptors" fds_are a "$base"
unchanged "a stranger's key"

agent_start b
run_quiet ctl b up spool
wait_live a b 120
ok "the same key, listed, is let in" both_live a b
is "$(status_of a '.peers[0].caught_up.bytes + .peers[0].caught_up.zero_bytes')" 409600 "and gets what it lacked, no more"
ok "both copies are equal" copies_equal a b

# A live pair again, so that the agents of both may come and go: a link outlives them.
before=$(state a) before_b=$(state b)
wrong_key() { # DESCRIPTION A-TAKES-FOR-B B-TAKES-FOR-A
	set_peer_key a "$2"
	set_peer_key b "$3"
	restart a
	restart b
	what=$1
}
stays() {
	ok "$what: what is live stays so" eval '[ "$(knode_link 0)-$(knode_link 1)" = 1-1 ]'
	unchanged "$what"
	is "$(state b)" "$before_b" "$what: nor on b"
}
knode_link() { knode get "$1" | sed -n 's/^slot[0-9]*\.link=//p'; } # MINOR

wrong_key "a has a wrong key for b, a dials" 3 2
tells "$what: a says so" status a "b is not connected: 10.0.0.2:7788: TLS: peer's key $(key_re 4) is not in agent.conf as that peer's public-key: correct it"
tells "$what: b says so" log b "10\.0\.0\.1:[0-9]+: TLS: peer does not list this node's key $(key_re 4): add it to its agent.conf"
stays
wrong_key "b has a wrong key for a, a dials" 4 3
tells "$what: a says so" status a \
	"10.0.0.2:7788: (peer does not list this node's key: add it to its agent.conf|.*it may not list this node's key)"
tells "$what: b says so" log b "10\.0\.0\.1:[0-9]+: TLS: peer's key $(key_re 2) is not in agent.conf: add a .peer. with it if wanted"
stays
wrong_key "b has a wrong key for a, both dial" 4 5
tells "$what: b says so" status b "a is not connected: 10.0.0.1:7788: TLS: peer's key $(key_re 2) is not in agent.conf as that peer's public-key"
tells "$what: and once more in its log" log b "10\.0\.0\.1:[0-9]+: TLS: peer's key $(key_re 2) is not in agent.conf: add"
stays
wrong_key "a has a wrong key for b, nobody dials" 1 2
tells "$what: a says what to compare" status a "b is not connected: it is b that connects to this node.* repl-ctl pubkey with the other's agent.conf"
tells "$what: b, too" status b "a is live, but the agents are not connected: it is a that connects to this node"
stays
right_keys
restart a
restart b
ok "with the right keys they are connected again" wait_for 60 "a session" eval \
	'[ "$(status_of a ".peers[0].session")-$(status_of b ".peers[0].session")" = connected-connected ]'
wait_live a b 60
what="right keys again"
stays

# A key that is changed while the agents run counts for new connections, and the live pair is as it was.
base=$(fds a)
set_peer_key a 3
ok "reload" ctl a reload
what="a wrong key, read by reload"
stays
restart b
tells "$what: the next connection is refused in words" status a 'agent.conf has another key for this peer, or none: correct it'
stays
right_keys
ok "reload" ctl a reload
ok "with the right key it is connected again" wait_for 60 "a session" eval '[ "$(status_of b ".peers[0].session")" = connected ]'
wait_live a b 60
ok "a's descriptors are as many as before" wait_for 60 "descriptors" fds_are a "$base"
stays

# --- garbage ------------------------------------------------------------------------------------------------------

session_of() { grep -c 'spool/b: connected' "$(node_dir a)/log"; }

log_mark
base=$(fds a) sessions=$(session_of)
generations=$(status_of a .counters.generations)
(while [ ! -e /run/enough ]; do
	pattern_put /dev/repl0 "load $((n = ${n:-0} + 1))" $((256 << 10)) $((n % 8 << 20)) || echo failed >/run/failed
done) &
load=$!

send() { in_node x socat -t 2 - "TCP:$A" >/dev/null 2>&1 || true; } # standard input
pattern garbage 4096 | send
tells "noise: logged, with where it came from" log a '10\.0\.0\.9:[0-9]+: TLS: peer does not speak TLS: it is not a repl-agent'
printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' | send
log_mark
printf 'abc' | send
tells "three bytes" log a '10\.0\.0\.9:[0-9]+: closed the connection at once: it is not a repl-agent'
log_mark
(printf 'REPLPLN1' && pattern token 40) | send
tells "a plain link with a token that nobody gave" log a '10\.0\.0\.9:[0-9]+ .*plain link|10\.0\.0\.9:[0-9]+: it offers a link that was not agreed on'
log_mark
socat -u TCP-LISTEN:9999,reuseaddr OPEN:/run/clienthello,creat 2>/dev/null &
wait_for 20 "a listener" eval 'ss -ltn | grep -q :9999'
timeout 5 openssl s_client -tls1_3 -groups X25519 -connect 127.0.0.1:9999 </dev/null >/dev/null 2>&1 || true
cmp_ok "$(stat -c %s /run/clienthello)" -gt 100 "a ClientHello of another program"
(cat /run/clienthello && pattern behind 4096) | send
tells "a ClientHello and noise behind it" log a '10\.0\.0\.9:[0-9]+: TLS: .*(it is not a repl-agent|the peer.s log may say more)'
log_mark
in_node x timeout 5 openssl s_client -tls1_3 -groups X25519 -connect "$A" </dev/null >/dev/null 2>&1 || true
tells "a TLS client without a certificate" log a '10\.0\.0\.9:[0-9]+: TLS: peer shows no certificate: it is not a repl-agent'
log_mark
in_node x timeout 30 bash -c "exec 3<>/dev/tcp/${A/:/\/}; read -r -u 3" || true
tells "nothing at all" log a '10\.0\.0\.9:[0-9]+: nothing came within 5 s: it is not a repl-agent'
log_mark
hello b connect $A 3 spool version=1 >/dev/null || true
tells "a stranger's key" log a "10\.0\.0\.2:[0-9]+: TLS: peer's key $(key_re 3) is not in agent.conf"
ok "a's descriptors are as many as before" wait_for 60 "descriptors" fds_are a "$base"

# Three times what may wait to be authenticated, held open.
log_mark
start=$(now_ms)
mkfifo /run/never
in_node x bash -c "for i in {1..200}; do exec {fd}<>/dev/tcp/${A/:/\/}; done; : >/run/flooded; read -r <>/run/never" 2>/dev/null &
flood=$!
wait_for 60 "the flood" test -e /run/flooded
# One more may just be on its way out.
cmp_ok "$(fds a)" -le $((base + 65)) "200 connections: no more than 64 are kept waiting"
tells "and the log says so" log a '64 connections wait to be authenticated: closing new ones'
ok "and they are closed while the other side still holds them" wait_for 60 "descriptors" fds_are a "$base"
in_node x bash -c "for i in {1..300}; do exec {fd}<>/dev/tcp/${A/:/\\/} && echo noise >&\$fd; exec {fd}>&-; done" 2>/dev/null || true
# 20 lines and a sum in 10 s, and the live pair's own.
cmp_ok "$(log_of a | wc -l)" -le $((30 + 21 * (($(now_ms) - start) / 10000 + 2))) "500 connections do not fill the log"
kill "$flood"

: >/run/enough
wait "$load" || true
not_ok "no write has failed" test -e /run/failed
ok "the pair was live all the time" eval '[ "$(knode_link 0)-$(knode_link 1)" = 1-1 ]'
is "$(session_of)" "$sessions" "in the same session"
is "$(status_of a .counters.generations)" "$generations" "and the same generation"
ok "both copies are equal" copies_equal a b

restart b
ok "the right peer is let in" wait_for 60 "a session" eval '[ "$(status_of b ".peers[0].session")" = connected ]'
wait_live a b 60
ok "a's descriptors are as many as before" wait_for 60 "descriptors" fds_are a "$base"
ok "everything down" repl_stop
for disk in vda vdb; do ok "fsck.repl /dev/$disk" fsck.repl "/dev/$disk"; done
done_testing
