#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=640 timeout=600 disks=40M,40M once=6.1
#
# A rolling peer: at whatever moment it, its primary or the link is lost, it is a past state of the volume, and not
# older than its primary said. Writes are numbered, and each is complete before the next one, so a past state is all of
# them up to one.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

BLOCKS=6144 # 24 MiB
TIMES=/run/times
writes() { ordered write /dev/repl0 "$BLOCKS" "$1" $(($2 - $1 + 1)); } # FIRST LAST : on a
holds() { ordered check "$1" "$BLOCKS" || echo "no past state"; }      # DEVICE : the last write it has
now() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }
rolling() { peer_is a b rolling && peer_is b a rolling; }
age() { status_of a '.peers[0].rolling.age_ms // -1'; }
mode() { # MODE : on both, while the volume is in use
	sed -i "s/^mode = .*/mode = $1/" "$(node_dir a)"/volumes/*.conf "$(node_dir b)"/volumes/*.conf
	ctl a reload && ctl b reload
}

# Writes until /run/stop is there, and notes when each tenth was complete.
write_on() { # FIRST
	local n=$1
	: >$TIMES
	while [ ! -e /run/stop ] && writes "$n" $((n + 9)) 2>/dev/null; do
		n=$((n + 10))
		echo "$((n - 1)) $(now)" >>$TIMES
	done
}
stop_writing() {
	touch /run/stop
	wait "$writer" || true
	rm -f /run/stop
	written=$(tail -n 1 $TIMES | cut -d' ' -f1)
}
# Milliseconds before MOMENT at which write N, or a later one of its ten, was complete.
late() { awk -v n="$1" -v at="$2" '$1 >= n { print at - $2; exit }' $TIMES; } # N MOMENT

repl_node a /dev/vda
repl_node b /dev/vdb
repl_config "timeout = 2s" "staging-dir = /run/staging"
sed -i 's/^mode = .*/mode = rolling\ninterval = 500ms/' "$(node_dir a)"/volumes/*.conf "$(node_dir b)"/volumes/*.conf
repl_mkfs
modprobe tls
modprobe repl
for node in a b; do agent_start "$node"; done
for node in a b; do run_quiet ctl "$node" up spool; done
run_quiet ctl a primary spool --force
ok "b gets a first copy, and rolls" wait_for 90 "it rolls" rolling
ok "that is what to wait for" ctl a wait spool --for in-sync --timeout 30
is "$(status_of a .peers[name=b].mode)" rolling "status has its mode"
like "$(ctl a status spool)" "b, rolling each 500 ms: its copy is .* old; .* at worst in the last hour" \
	"and says how old its copy is"
ok "a pair that rolls is healthy" ctl a status --check
ok "no write goes over a link" [ "$(status_of a .peers[name=b].slot.sent_bytes)" = 0 ]
writes 1 300
caught_up() { [ "$(status_of a .peers[name=b].dirty_bytes)" = 0 ] && [ "$(age)" -lt 2000 ]; }
ok "what was written is on its way within an interval" wait_for 20 "nothing is left" caught_up
generation=$(status_of a .generation)
sleep 2 # four intervals: without writes nothing happens in them
is "$(status_of a .generation)" "$generation" "without writes no epoch ends"

next=301
for round in 1 2 3; do
	write_on "$next" &
	writer=$!
	# Not for a condition: it may come at any time.
	sleep "1.$((RANDOM % 10))"
	# What was complete so long before the question is in what it had, and has.
	at=$(now) said=$(age)
	case $round in
	1) link_cut b ;;
	2) agent_kill b ;;
	3) agent_kill a ;;
	esac
	sleep 1
	stop_writing
	next=$((written + 1))
	case $round in
	1 | 3) wait_for 20 "b has noticed" eval '! peer_is b a rolling' ;;
	# Not yet connected: what is looked at stands still.
	2) link_cut b && agent_start b ;;
	esac
	ok "round $round: b is consistent, perhaps after it has applied the rest" status_becomes b .consistent true 60
	has=$(holds /dev/vdb)
	diag "written $written, b has $has; its age was $said ms, it lacked what was written $(late "$has" "$at") ms before"
	ok "it is a past state ($has)" [ "$has" -ge 300 ]
	ok "which was reported as at least that old" [ "$(late "$has" "$at")" -le "$said" ]
	case $round in
	1 | 2) link_heal b ;;
	3) agent_start a ;;
	esac
	ok "it rolls again" wait_for 90 "it rolls" rolling
	ok "and gets the rest" wait_for 60 "nothing is left" caught_up
done

diag "rolling and back, in use"
write_on "$next" &
writer=$!
ok "a peer that shall be in sync" mode sync
ok "gets its link" wait_live a b
ok "one that shall not" mode rolling
ok "loses it" wait_for 60 "it rolls" rolling
stop_writing
next=$((written + 1))
ok "and gets the rest" wait_for 60 "nothing is left" caught_up
is "$(holds /dev/vdb)" "$written" "all that was written"

diag "writes that wait for a replica"
policy() { # alarm|throttle : on a, while the volume is in use
	sed -i "/^lag-bound/d; /^on-lag/d; s/^interval = .*/&\nlag-bound = 3s\non-lag = $1/" "$(node_dir a)"/volumes/*.conf
	ctl a reload
}
ok "writes shall wait for a copy that is older than 3 s" policy throttle
write_on "$next" &
writer=$!
sleep 2
n=$(tail -n 1 $TIMES | cut -d' ' -f1)
sleep 2
ok "none waits for one that keeps up" [ "$(tail -n 1 $TIMES | cut -d' ' -f1)" -gt "$((n + 30))" ]
link_cut b
ok "they wait for one that is away" status_becomes a ".peers[name=b].rolling.held_percent" 100 30
sleep 1 # what was begun is complete
at=$(now) n=$(tail -n 1 $TIMES)
sleep 12 # the freeze is renewed twice
is "$(tail -n 1 $TIMES)" "$n" "and none goes on"
diag "the last one was complete $((at - ${n#* })) ms before that; $(ctl a status spool | grep rolling)"
like "$(cat "$(node_dir a)/log")" "copy is .* old, and lag-bound is 3 s: .*; writes wait" "which the log says"
agent_kill a
goes_on() { [ "$(tail -n 1 $TIMES)" != "$n" ]; }
ok "when the agent dies they go on" wait_for 15 "writes go on" goes_on
agent_start a
link_heal b
ok "it rolls again" wait_for 90 "it rolls" rolling
stop_writing
next=$((written + 1))
ok "and gets the rest" wait_for 60 "nothing is left" caught_up
ok "writes shall not wait" policy alarm

diag "the primary is lost"
write_on "$next" &
writer=$!
sleep 1.2 # not for a condition: it may come at any time
agent_kill a
run_quiet knode detach 0 force
stop_writing
wait_for 20 "b has noticed" eval '! peer_is b a rolling'
ok "b is consistent" status_becomes b .consistent true 60
has=$(holds /dev/vdb)
like "$(ctl b primary spool 2>&1 || true)" "force" "the replica may lack something, and asks for force"
not_ok "nor is a word about the peer enough" ctl b primary spool --peer-dead
ok "with it, it becomes primary" ctl b primary spool --force
is "$(holds /dev/repl1)" "$has" "and is what it was before"
agent_start a
run_quiet ctl a up spool
ok "what the lost one had alone is not thrown away" wait_for 60 "a split is seen" eval \
	'ctl b status | grep -q split'
sed -i "s|^interval = .*|&\non-return = save-and-follow|" "$(node_dir a)"/volumes/*.conf
ok "unless its file says so" ctl a reload
ok "then it saves what only it has, and follows" wait_for 60 "it rolls" eval 'peer_is a b rolling && peer_is b a rolling'
file=$(ls /var/lib/repl/saved/spool-a-*.repl)
ok "the file is whole" repl-ctl backup --list "$file"
diag "$(repl-ctl backup --list "$file" | tail -n 1); $(grep on-return "$(node_dir a)/log")"
wait_for 30 "nothing is left" eval '[ "$(status_of b ".peers[name=a].dirty_bytes")" = 0 ]'
is "$(holds /dev/vda)" "$has" "and its copy is the other one's"
ok "everything down" repl_stop
done_testing
