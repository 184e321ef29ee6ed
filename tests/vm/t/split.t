#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=512 timeout=600 disks=24M,24M
#
# Both nodes wrote alone: nothing is thrown away by itself, each side's loss is shown, and one command, on either node,
# ends it: what the loser had alone is in a file before it is overwritten.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

modprobe sch_netem
kib=1024
mib=$((1024 * kib))

gives() { # DESCRIPTION RC REGEX COMMAND...
	local what=$1 want=$2 words=$3 out rc=0
	shift 3
	out=$("$@" 2>&1 </dev/null) || rc=$?
	if [ "$rc" -eq "$want" ] && [[ $out =~ $words ]]; then
		pass "$what"
	else
		fail "$what" "exit code $rc: $out"
	fi
}

sha_of() { data_sha "${NODE_DEV[$1]}" "$size"; }
image_of() { dd if="${NODE_DEV[$1]}" of="$2" bs=64k iflag=direct,count_bytes count="$size" status=none; }
verdict_is() { [ "$(status_of "$1" '.peers[0].verdict')" = "$2" ]; }
is_split() { verdict_is a split && verdict_is b split; }
lost() { ! peer_is "$1" "$2" live && [ "$(status_of "$1" .peers[0].session)" != connected ]; }
dirty_kib() { status_of "$1" '.peers[0].dirty_bytes / 1024'; }

repl_node a /dev/vda
repl_node b /dev/vdb
mkdir /run/small
mount -t tmpfs -o size=256k none /run/small
repl_config "timeout = 3s" "save-dir = /run/saved/deep"
repl_mkfs
ok "live" repl_start a
size=$(volume_bytes a)
pattern_put /dev/repl0 base $((16 * mib))
ok "equal" copies_equal a b
image_of a /run/base

gives "a pair that is in sync has nothing to resolve" 0 'no split is known with b: in sync' ctl a resolve spool
gives "and is refused" 1 'nothing to resolve' ctl a resolve spool --keep a --yes

# --- both write alone ---------------------------------------------------------------------------------------------

link_cut b
ok "a notices" wait_for 60 "the loss of b" lost a b
ok "b notices" wait_for 60 "the loss of a" lost b a
gives "b is told that a is dead" 0 '' ctl b primary spool --peer-dead
pattern_put /dev/repl0 a-alone $mib $((4 * mib))
pattern_put /dev/repl1 b-alone $((512 * kib)) $((8 * mib))
pattern_put /dev/repl1 b-over-a $((64 * kib)) $((4 * mib))
dd if=/dev/zero of=/dev/repl1 bs=64k count=1 seek=160 oflag=direct conv=fsync status=none
is "$(dirty_kib a)" 1024 "a has changed 1 MiB"
is "$(dirty_kib b)" 640 "b has changed 640 KiB"
gives "with the peer away nothing can be resolved" 1 'no split is known with b: ' ctl a resolve spool --keep a --yes
link_heal b
ok "two primaries: a split all the same" wait_for 90 "the words" eval \
	'status_of a ".peers[0].reason" | grep -q "both are primary: make one of them secondary; it is a split"'
gives "what each would lose is shown" 0 'b +primary .*160 blocks, 640 KiB' ctl a resolve spool
gives "but none of them is given up while it is in use" 1 'b is primary, and its copy would go' \
	ctl a resolve spool --keep a --yes
ok "b is secondary" ctl b secondary spool
ok "a split, on both" wait_for 60 "the verdict" is_split
sha_a=$(sha_of a)
sha_b=$(sha_of b)
isnt "$sha_a" "$sha_b" "they differ"
image_of b /run/b-had

# --- what is shown ------------------------------------------------------------------------------------------------

for node in a b; do
	gives "status on $node names the way out" 0 'split: .*next: nothing is thrown away.*repl-ctl resolve spool' \
		ctl $node status
	gives "$node shows what a knows of" 0 'a +primary +[0-9a-f]{8} +256 blocks, 1 MiB +[0-9].* ago +up to 1[.]6' \
		ctl $node resolve spool
	gives "and b" 0 'b +secondary +[0-9a-f]{8} +160 blocks, 640 KiB +[0-9].* ago +up to 1[.]6' ctl $node resolve spool
	gives "and since when" 0 'last were equal \(generation [0-9a-f]{8}\)' ctl $node resolve spool
	gives "and how to go on" 0 'To keep b: repl-ctl resolve spool --keep b' ctl $node resolve spool
done

# --- what is refused changes nothing ------------------------------------------------------------------------------

gives "a node that is none" 1 'mail9 is neither b nor a' ctl b resolve spool --keep mail9 --yes
gives "without a terminal and --yes" 1 'no terminal to ask at; say --yes' ctl b resolve spool --keep a
gives "the one in use" 1 'a is primary, and its copy would go' ctl b resolve spool --keep b --yes
gives "a directory of the other node" 1 'b is where it would be saved' ctl a resolve spool --keep a --yes --save-to /run/saved
gives "without saving, and not forced" 2 'needs --force, too' ctl b resolve spool --keep a --yes --no-save
gives "no room: refused, with numbers" 1 'small has 256 KiB left, and 1[.][56][0-9]* MiB may be needed.*nothing was discarded' \
	ctl b resolve spool --keep a --yes --save-to /run/small
gives "no directory" 1 'is no directory.*nothing was discarded' ctl b resolve spool --keep a --yes --save-to /run/base
is "$(ls -A /run/small)" "" "nothing is left of what was not saved"
ok "a split still" wait_for 30 "the verdict" is_split
is "$(sha_of a)-$(sha_of b)" "$sha_a-$sha_b" "nothing was changed on either"

# --- resolved where it goes ---------------------------------------------------------------------------------------

pattern_put /dev/repl0 a-later $((64 * kib)) $((12 * mib))
sha_a=$(sha_of a)
gives "a is kept, said on b" 0 'a is kept, b follows it now; what only b had is saved there in /run/saved/deep/spool-b-' \
	ctl b resolve spool --keep a --yes
ok "live" wait_live a b
ok "equal" copies_equal a b
is "$(sha_of b)" "$sha_a" "with all that a had"
like "$(status_of a '.peers[0].caught_up | .bytes + .zero_bytes < 4194304')" true "by map, no full copy"
file=$(echo /run/saved/deep/spool-b-*.repl)
is "$(stat -c %a "$file")" 600 "the file is nobody else's to read"
gives "it says what it is" 0 'changed blocks of volume spool, read on b .*1[.]5[0-9]* MiB of blocks and 64 KiB of zeros' \
	repl-ctl restore --list "$file"
ok "over what both had" run_quiet repl-ctl restore --force "$file" /run/base
ok "it is what b had" cmp /run/base /run/b-had
ok "the log has a line for each step" eval 'grep -q "resolve: saves 1[.]6[0-9]* MiB" /run/nodes/b/log &&
	grep -q "resolve: saved in /run/saved" /run/nodes/b/log && grep -q "resolve: b gives its own changes up" /run/nodes/a/log &&
	grep -q "resolve: a is kept, b follows it now" /run/nodes/a/log'
gives "a second time there is nothing" 1 'no split is known with b: in sync' ctl a resolve spool --keep a --yes

# --- resolved where it is kept ------------------------------------------------------------------------------------

image_of a /run/base
link_cut b
ok "a notices again" wait_for 60 "the loss of b" lost a b
ok "b notices again" wait_for 60 "the loss of a" lost b a
ok "b is told again that a is dead" ctl b primary spool --peer-dead
pattern_put /dev/repl0 a-again $((128 * kib)) $((5 * mib))
pattern_put /dev/repl1 b-again $((256 * kib)) $((9 * mib))
ok "a is secondary" ctl a secondary spool
link_heal b
ok "a split again" wait_for 90 "the verdict" is_split
image_of a /run/a-had
sha_b=$(sha_of b)
gives "b is kept, said on b" 0 'b is kept, a follows it now; what only a had is saved there in /run/saved/deep/spool-a-' \
	ctl b resolve spool --keep b --yes
ok "live" wait_live b a
ok "equal" copies_equal a b
is "$(sha_of a)" "$sha_b" "with all that b had"
ok "over what both had" run_quiet repl-ctl restore --force /run/saved/deep/spool-a-*.repl /run/base
ok "the file is what a had" cmp /run/base /run/a-had

# --- agents that die on the way -----------------------------------------------------------------------------------

link_cut a
ok "a notices once more" wait_for 60 "the loss of b" lost a b
ok "b notices once more" wait_for 60 "the loss of a" lost b a
ok "a is told that b is dead" ctl a primary spool --peer-dead
pattern_put /dev/repl0 a-third $((64 * kib)) $((6 * mib))
pattern_put /dev/repl1 b-third $((64 * kib)) $((7 * mib))
ok "a is secondary" ctl a secondary spool
link_heal a
ok "a split once more" wait_for 90 "the verdict" is_split
sha_b=$(sha_of b)
# Its session stands for ten seconds, but it will never answer.
agent_kill b STOP
ctl a resolve spool --keep b --yes >/run/answer 2>&1 </dev/null &
ok "a saves nothing before it has b's map" wait_for 8 "the words" eval \
	'status_of a ".peers[0].reason" | grep -q "takes in what b knows to differ"'
is "$(grep -c "resolve: saved in" /run/nodes/a/log)" 1 "but the file from before"
agent_kill a
agent_kill b CONT
agent_start a
ok "a's agent died before b agreed: a split still" wait_for 90 "the verdict" is_split
gives "which is resolved again" 0 'b is kept, a follows it now; what only a had is gone' \
	ctl b resolve spool --keep b --yes --no-save --force
ok "live" wait_live b a
ok "equal" copies_equal a b
is "$(sha_of a)" "$sha_b" "with all that b had"

# --- passes that were staged, and never used ----------------------------------------------------------------------

passes() { [ "$(status_of a '.peers[0].caught_up.passes // 0')" -ge "$1" ]; }
# More than may be left for a join, or to end an epoch, however slow this machine is beside the link.
busy() {
	local i
	for ((i = 0; ; i++)); do
		pattern_put /dev/repl0 "busy-$i" $((6 * mib)) $((8 * mib))
		sleep 0.2
	done
}

image_of a /run/base
ok "b leaves" ctl b secondary spool
ok "a is primary" ctl a primary spool
link_cut b
ok "a notices b's loss" wait_for 60 "the loss of b" lost a b
pattern_put /dev/repl0 a-staged $mib $((2 * mib))
netem a rate 8mbit
link_heal b
busy &
busy=$!
ok "b follows" wait_for 60 "a to lead" peer_is a b syncing # from here on its passes count anew
ok "two passes are staged on b" wait_for 180 "them" passes 2
link_cut b
kill "$busy"
wait "$busy" || true
netem_clear a
ok "a notices, in the middle" wait_for 60 "the loss of b" lost a b
ok "b notices, in the middle" wait_for 60 "the loss of a" lost b a
is "$(status_of b .consistent)" true "b is consistent"
ok "b is promoted as it was" ctl b primary spool --force
image_of b /run/b-had
ok "without what it had staged" cmp /run/b-had /run/base
pattern_put /dev/repl1 b-fourth $((64 * kib)) $((18 * mib))
ok "a is secondary" ctl a secondary spool
link_heal b
ok "a split after that" wait_for 90 "the verdict" is_split
image_of a /run/a-had
cmp_ok "$(dirty_kib a)" -lt 7168 "a's own map has not all that it had alone: $(dirty_kib a) KiB"
rm -f /run/saved/deep/spool-a-*.repl
gives "b is kept, said on b" 0 'b is kept, a follows it now; what only a had is saved there in /run/saved/deep/spool-a-' \
	ctl b resolve spool --keep b --yes
ok "over what both had" run_quiet repl-ctl restore --force /run/saved/deep/spool-a-*.repl /run/base
ok "all that a had is in the file" cmp /run/base /run/a-had
ok "live" wait_live b a
ok "equal" copies_equal a b

ok "everything down" repl_stop
done_testing
