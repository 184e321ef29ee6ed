#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=640 timeout=900 disks=40M,40M once=6.12
#
# A replica that catches up is a past state of the volume at every moment: its primary is lost in the middle, or its
# own agent, also while it applies what it has staged. Writes are numbered, and each is complete before the next one, so
# a past state is all of them up to one.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

BLOCKS=6144 # 24 MiB
writes() { ordered write /dev/repl0 "$BLOCKS" "$1" $(($2 - $1 + 1)); } # FIRST LAST : on a
holds() { ordered check "$1" "$BLOCKS" || echo "no past state"; } # DEVICE : the last write it has
consistent() { status_of "$1" .consistent; }
apart() { # FIRST LAST : writes that b does not get
	link_cut b
	wait_for 60 "a notices the loss" eval '[ "$(peer_state a b)" != live ]'
	writes "$1" "$2"
	link_heal b
	wait_for 60 "b follows" peer_is b a syncing
}

dm_linear diskb /dev/vdb
repl_node a /dev/vda
repl_node b /dev/mapper/diskb
repl_config "rate-limit = 8 MiB/s" "timeout = 2s" "staging-dir = /run/staging" "direct-apply = no"
# What is staged must be worth an epoch of its own.
sed -i 's/^join-limit = .*/join-limit = 1s/' "$(node_dir a)"/volumes/*.conf "$(node_dir b)"/volumes/*.conf
repl_mkfs
ok "two nodes, in sync" repl_start a
ok "what is written" writes 1 500
is "$(holds /dev/vdb)" 500 "and on b"

diag "the agent of the leader dies in the middle"
apart 501 4500
wait_for 60 "it is copied" eval '[ -e /run/staging/*.stage ]'
is "$(status_of b .staged.state)-$(status_of b .staged.from)" receiving-a "status says that it is, and from whom"
sleep 0.5 # not for a condition: it may come at any time
agent_kill a
is "$(consistent b)" true "the replica stays consistent"
is "$(holds /dev/vdb)" 500 "and is what it was"

diag "the agent of the replica dies while it applies"
# Its disk is so slow that the moment can be met.
run_quiet dm_reload diskb "$(dm_delay_table /dev/vdb 0 400 0)"
agent_start a
ok "it begins to apply" status_becomes b .consistent false 90
is "$(status_of b .staged.state)" applying "as status says"
agent_kill b
run_quiet dm_heal diskb /dev/vdb
is "$(consistent b)" false "it is neither the old state nor the new one"
epoch=$(status_of a .epoch)
ok "an epoch has ended on the leader ($epoch)" [ "$epoch" -ge 1 ]
agent_kill a
agent_start b
ok "the rest is applied, without a leader" status_becomes b .consistent true 60
is "$(holds /dev/vdb)" 4500 "it is a later state of the volume"
is "$(status_of b .epoch)" $((epoch - 1)) "that of the epoch which has ended"
wait_for 20 "what was staged is gone" eval '[ ! -e /run/staging/*.stage ]'
agent_start a
ok "and in sync it is" wait_live a b
ok "with equal copies" copies_equal a b
is "$(status_of b .staged)" null "nothing is staged any more"

diag "what is being applied is out of sight when the agent begins, and comes back when newer blocks have come directly"
run_quiet dm_reload diskb "$(dm_delay_table /dev/vdb 0 400 0)"
apart 4501 8500
ok "it begins to apply" status_becomes b .consistent false 120
agent_kill b
run_quiet dm_heal diskb /dev/vdb
mkdir /run/aside
mv /run/staging/*.stage /run/aside
writes 8501 8600
agent_start b
ok "it says what is missing" wait_for 20 "the log" grep -q 'what was being applied is not in /run/staging' "$(node_dir b)/log"
wait_for 60 "it is copied directly" peer_is b a syncing
sleep 0.7 # not for a condition: it may come at any time
agent_kill b
is "$(consistent b)" false "the copying is not through"
mv /run/aside/*.stage /run/staging
agent_start b
ok "the file is not taken for what is missing" wait_for 20 "the log" grep -q 'this copy does not wait for' "$(node_dir b)/log"
ok "in sync" wait_live a b
is "$(holds /dev/vdb)" 8600 "with all that was written"
ok "and equal copies" copies_equal a b
ok "the file is gone" eval '[ ! -e /run/staging/*.stage ]'

diag "the leader is lost in the middle, for good"
apart 8601 11600
wait_for 60 "it is copied" eval '[ -e /run/staging/*.stage ]'
sleep 0.4 # not for a condition: it may come at any time
agent_kill a
run_quiet knode detach 0 force
like "$(ctl b primary spool 2>&1 || true)" "force" "the replica is behind, and asks for force"
ok "with it, it becomes primary" ctl b primary spool --force
is "$(consistent b)" true "it is consistent"
is "$(holds /dev/repl1)" 8600 "and what it was before"
agent_start a
run_quiet ctl a up spool
ok "what the lost one had alone is not thrown away" wait_for 60 "a split is seen" eval \
	'ctl b status | grep -q split'
ok "everything down" repl_stop
dm_remove diskb
done_testing
