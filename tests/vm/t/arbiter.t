#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=768 timeout=400 disks=16M,16M
#
# Two copies and a witness: a primary that is cut off freezes, the other one takes over by itself, the former primary fails
# what waited and follows; without the witness nobody goes on.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

copy_conf() { # NAME PEER
	printf '[volume]\ndevice = %s\nminor = %s\narbiter = node:w\ntakeover = auto\ntakeover-after = 1s\n' \
		"${NODE_DEV[$1]}" "${NODE_MINOR[$1]}"
	printf 'join-limit = 5s\ntimeout = 2s\nstuck-timeout = 10s\n\n[peer "%s"]\nmode = sync\n' "$2"
}

# Block n says n. What was acknowledged is in the first file, what ended it in the second one.
write_on() { # NODE : until a write fails
	local i
	rm -f /run/acked /run/ended
	for ((i = 0; i < 3000; i++)); do
		printf '%4096d' "$i" | dd of="$(node_disk "$1")" bs=4096 seek="$i" oflag=direct,dsync iflag=fullblock \
			conv=notrunc status=none 2>/run/error || break
		echo "$i" >>/run/acked
	done
	echo "$i" >/run/ended
}

nothing_lost() { # NODE
	local count
	count=$(wc -l </run/acked)
	[ "$count" -gt 0 ] || return 1
	dd if="$(node_disk "$1")" bs=4096 count="$count" status=none | fold -w 4096 | awk '{ print $1 }' >/run/read
	cmp /run/acked /run/read
}

waits() { status_of "$1" .arbiter.waits; } # NODE
says() { [[ $(waits "$1") =~ $2 ]]; }       # NODE REGEX
reads() { in_node w repl-ctl --config "$(node_dir w)" witness list --json | jq -r '.[0].generation'; }
agrees() { [ "$(status_of "$1" .generation)" = "$(reads)" ] && [ "$(status_of "$1" .arbiter.state)" = idle ]; }

refuses() { # WORDS COMMAND...
	local words=$1 out
	shift
	if out=$("$@" 2>&1); then return 1; fi
	[[ $out =~ $words ]] || {
		echo "$out"
		return 1
	}
}

dm_linear disk_a /dev/vda
repl_node a /dev/mapper/disk_a
repl_node b /dev/vdb
repl_node w none
for node in a b w; do agent_conf "$node" >"$(node_dir "$node")/agent.conf"; done
copy_conf a b >"$(node_dir a)/volumes/spool.conf"
copy_conf b a >"$(node_dir b)/volumes/spool.conf"
repl_mkfs a b
modprobe -a tls repl
for node in a b w; do agent_start "$node"; done
for node in a b; do run_quiet ctl "$node" up spool; done
ok "the agents meet" ctl a wait spool --for connected --timeout 30
ok "a is the first primary" ctl a primary spool
ok "a and b are live" wait_live a b

# --- the entry ----------------------------------------------------------------------------------------------------

ok "a says that the witness has no entry" wait_for 20 "words" eval '[[ $(status_of a .arbiter.said) =~ "no entry" ]]'
entry=$(status_of a .arbiter.said | sed -n 's/.*run there: repl-ctl //p')
# shellcheck disable=SC2086
ok "what it says to type makes one: $entry" ctl w $entry
ok "another generation is refused" refuses "there is an entry" \
	ctl w witness add spool "$(status_of a .uuid)" "$(cat /proc/sys/kernel/random/uuid)"
ok "the register reads what a is in, and a knows" wait_for 40 "agreement" eval '[ "$(status_of a .arbiter.answer)" = granted ]'
ok "force is refused" refuses "does not change it" ctl b primary spool --peer-dead

# --- the primary is cut off ---------------------------------------------------------------------------------------

write_on a &
wait_for 20 "some writes" eval '[ "$(wc -l </run/acked)" -ge 10 ]'
link_cut a
ok "a is frozen, and says what it waits for" wait_for 30 "words" says a "^has been asked for .* whether this node may go on without its peer: "
ok "repl-ctl resume does not let it go on" refuses "has an arbiter" ctl a resume spool
ok "b takes over by itself" status_becomes b .role primary 60
is "$(cat /run/ended 2>/dev/null)" "" "what waits at a has neither completed nor failed"
ok "register and superblock agree" wait_for 10 "agreement" agrees b
run_quiet dd if=/dev/urandom of="$(node_disk b)" bs=4096 seek=3500 count=10 oflag=direct status=none
link_heal a
ok "a has lost: it becomes secondary" status_becomes a .role secondary 40
ok "and the write that waited has failed" wait_for 20 "the end of the writer" test -s /run/ended
ok "in words" grep -i "error" /run/error
ok "a follows b" wait_live b a
ok "no acknowledged write is lost" nothing_lost b
ok "the copies are equal" copies_equal a b

# --- without the witness ------------------------------------------------------------------------------------------

agent_kill w
link_cut a
ok "without the witness b is frozen, and says why" wait_for 30 "words" says b "go on without its peer: 10.0.0.3:7788"
is "$(status_of b .frozen_by)" peer-lost "frozen by the lost peer"
agent_start w
ok "it goes on when the witness is back" status_becomes b .frozen false 40
ok "in a generation that the register reads" wait_for 10 "agreement" agrees b
link_heal a
ok "a is live again" wait_live b a

# --- a hand-over passes the register, too -------------------------------------------------------------------------

ok "b gives the role back" ctl b secondary spool
ok "a takes it" ctl a primary spool
ok "through the register" wait_for 10 "agreement" agrees a

# --- nor does a disk that fails change that -----------------------------------------------------------------------

klog_allow 'Buffer I/O error|I/O error, dev|blk_update_request'
agent_kill w
dm_break disk_a
dd if=/dev/urandom of=/run/late bs=4096 count=5 status=none
dd if=/run/late of="$(node_disk a)" bs=4096 seek=3600 oflag=direct,dsync status=none 2>/run/error &
late=$!
ok "without its disk, too, a asks before a write is complete" wait_for 30 "words" says a "^has been asked for "
ok "and waits" kill -0 "$late"
is "$(status_of a .frozen_by)" disk "frozen by the disk"
agent_start w
ok "it goes on when it is granted" status_becomes a .frozen false 40
ok "in a generation that the register reads" wait_for 10 "agreement" agrees a
is "$(status_of b .generation)" "$(status_of a .generation)" "and that b is in"
rc=0
wait "$late" || rc=$?
is "$rc" 0 "the write that waited is good"
ok "a gives the role back" ctl a secondary spool
ok "b takes it" ctl b primary spool
ok "through the register" wait_for 10 "agreement" agrees b
dd if="$(node_disk b)" bs=4096 skip=3600 count=5 iflag=direct of=/run/there status=none
ok "and what a has written without a disk" cmp /run/late /run/there
for node in a b; do ctl "$node" status | sed 's/^/# /'; done
ctl w witness list | sed 's/^/# /'
for node in a b; do run_quiet ctl "$node" down spool; done
for node in a b w; do agent_kill "$node" TERM; done
done_testing
