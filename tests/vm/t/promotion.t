#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=768 timeout=700 disks=48M,48M
#
# Who may become primary, and with what in hand: consent, a dead peer, a copy that is behind, the old primary's return,
# a split; and repl-failover, which gets by without --force.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

out=
rc=0

runs() { # COMMAND... : its output in $out, its exit code in $rc
	rc=0
	out=$("$@" 2>&1) || rc=$?
}

gives() { # DESCRIPTION RC REGEX COMMAND...
	local what=$1 want=$2 words=$3
	shift 3
	runs "$@"
	if [ "$rc" -eq "$want" ] && [[ $out =~ $words ]]; then
		pass "$what"
	else
		fail "$what" "exit code $rc: $out" "words: $words"
	fi
}

# --- files --------------------------------------------------------------------------------------------------------

put_file() { # DIRECTORY NAME : 20000 bytes that its name determines, on stable media when this returns
	pattern "$2" 20000 | dd of="$1/$2" bs=20000 iflag=fullblock conv=fsync status=none
}

files_are() { # DIRECTORY NAME...
	local dir=$1 name
	shift
	for name in "$@"; do
		[ "$(sha256sum <"$dir/$name" | cut -d' ' -f1)" = "$(pattern_sha "$name" 20000)" ] || {
			echo "$dir/$name is not what was written"
			return 1
		}
	done
}

mount_on() { # NODE : checked first, as after any stop
	local rc=0
	mkdir -p "/mnt/$1"
	run_quiet e2fsck -fp "$(node_disk "$1")" || rc=$?
	[ "$rc" -le 1 ] && run_quiet mount -t ext4 "$(node_disk "$1")" "/mnt/$1"
}

mounted() { findmnt -rn -o SOURCE --mountpoint "/mnt/$1" || true; } # NODE

sha_of() { data_sha "${NODE_DEV[$1]}" "$(volume_bytes "$1")"; }

# --- conditions ---------------------------------------------------------------------------------------------------

# The two agents talk. In status "disconnected" would also be said of a peer that is being dialled.
session_is() { # NODE PEER WORD
	[ "$(status_of "$1" ".peers[name=$2].session")" = "$3" ]
}
session_lost() { ! session_is "$1" "$2" connected; }
says() { [[ $(status_of "$1" '.peers[0].reason') =~ $2 ]]; } # NODE REGEX

# --- two nodes ----------------------------------------------------------------------------------------------------

dm_linear disk-a /dev/vda
repl_node a /dev/mapper/disk-a
repl_node b /dev/vdb
repl_config "timeout = 5s"
# Every node's.
# shellcheck disable=SC2119
repl_mkfs
ok "live" repl_start a
run_quiet mkfs.ext4 -q -F /dev/repl0
ok "a file system on a" mount_on a
ok "with files" eval 'put_file /mnt/a first && put_file /mnt/a second'

# --- the secondary stays shut -------------------------------------------------------------------------------------

for mode in ro rw; do
	read -r how us < <(opentime /dev/repl1 "$mode")
	is "$how" EROFS "opening the secondary ($mode) is refused: read-only file system"
	cmp_ok "$us" -lt 1000000 "at once ($us us)"
done
gives "dd says so in words" 1 'Read-only file system' dd if=/dev/repl1 of=/dev/null bs=4k count=1
mkdir -p /mnt/b
for how in ro ro,noload rw; do
	gives "it cannot be mounted -o $how" 32 'read-only|write-protected' mount -t ext4 -o "$how" /dev/repl1 /mnt/b
done
is "$(mounted b)" "" "nothing is mounted"

# --- while the other is primary -----------------------------------------------------------------------------------

gives "no second primary: whose consent is missing, and what to do" 1 \
	'spool: a does not consent: it is primary itself: make it secondary first' ctl b primary spool
gives "no --peer-dead while the peer answers" 1 'spool: a is not dead, its agent answers: promote without --peer-dead' \
	ctl b primary spool --peer-dead
is "$(ctl a role spool)-$(ctl b role spool)" primary-secondary "the roles are what they were"
ok "and a goes on" put_file /mnt/a third
is "$(status_of a .counters.generations)" 1 "in the same generation: nothing has happened"
gives "a mounted volume does not become secondary" 1 'mounted on /mnt/a' ctl a secondary spool

# --- by consent ---------------------------------------------------------------------------------------------------

ok "a is left" umount /mnt/a
ok "a gives the role back" ctl a secondary spool
ok "b takes it, by consent" ctl b primary spool
is "$(status_of b .begun_by)" null "no override is recorded"
unlike "$(ctl b status)" 'begun with' "nor told"
ok "the file system comes up on b" mount_on b
ok "with all files" files_are /mnt/b first second third
ok "b writes" put_file /mnt/b fourth

# --- with repl-failover -------------------------------------------------------------------------------------------

# systemctl only remembers; repl-ctl is the real one, and what it was told is kept.
wrap=/run/wrap
mkdir -p $wrap /run/units
cat >$wrap/systemctl <<'END'
#!/bin/bash
unit=${*: -1}
case $1 in
is-active) [ -e "/run/units/$NODE.$unit" ] ;;
start) : >"/run/units/$NODE.$unit" ;;
stop) rm -f "/run/units/$NODE.$unit" ;;
*) exit 1 ;;
esac
END
cat >$wrap/repl-ctl <<'END'
#!/bin/bash
printf '%s:' "$NODE" >>/run/argv
printf ' %s' "$@" >>/run/argv
printf '\n' >>/run/argv
exec /usr/bin/repl-ctl "$@"
END
chmod +x $wrap/*
for node in a b; do
	mkdir -p "$(node_dir $node)/failover"
	printf 'mount = /mnt/%s\nunits = mail.service\n' $node >"$(node_dir $node)/failover/spool.conf"
done

failover() { # NODE VERB [OPTION...]
	local node=$1 verb=$2
	shift 2
	in_node "$node" env NODE="$node" PATH="$wrap:$PATH" repl-failover --config "$(node_dir "$node")" "$verb" spool "$@"
}

gives "failover: a is not promoted while b has the role" 1 'b does not consent: it is primary itself' \
	failover a promote --timeout 1
gives "nor with --peer-dead" 1 'b is not dead, its agent answers' failover a promote --peer-dead --timeout 1
ok "files on b were not harmed" files_are /mnt/b first fourth
ok "failover: demote on b" failover b demote
is "$(mounted b)" "" "b has nothing mounted"
gives "failover: promote on a" 0 "primary: the agent has agreed.*mounted /dev/repl0 on /mnt/a.*started mail.service" \
	failover a promote
ok "all files are on a" files_are /mnt/a first second third fourth
gives "failover: status on a: all of it" 0 'primary.*mail.service: active' failover a status
gives "failover: status on b: none of it" 3 'secondary.*nothing mounted.*mail.service: inactive' failover b status

# --- the primary dies ---------------------------------------------------------------------------------------------

for i in 1 2 3 4 5 6 7 8; do put_file /mnt/a "mail-$i"; done
link_cut a
dm_break disk-a
agent_kill a
ok "b's agent notices" wait_for 60 "the session to end" session_lost b a
gives "without a word about a, b is not promoted: why, and what to say" 1 \
	'spool: a is not connected and cannot consent, and it was in sync.*say --peer-dead' ctl b primary spool
is "$(ctl b role spool)" secondary "b is what it was"
ok "with --peer-dead it is" ctl b primary spool --peer-dead
is "$(status_of b .begun_by)" peer-dead "which is recorded: JSON"
like "$(ctl b status)" 'begun with --peer-dead' "and told"
ok "the file system comes up" mount_on b
ok "what was fsynced is there" files_are /mnt/b first second third fourth mail-{1..8}
ok "b writes on" put_file /mnt/b after-death

# What is left of a goes as with the power: the disk is as it was at the break.
umount -l /mnt/a
ok "the dead node's volume is gone" wait_for 60 "it goes" knode detach 0 force
rm -f /run/units/a.*
dm_heal disk-a /dev/vda
agent_start a
ok "a comes back, still alone" ctl a up spool
is "$(ctl a role spool)" secondary "it does not take itself for primary"
gives "nor its data for the newest" 0 'stopped uncleanly as primary, and no peer has confirmed' ctl a status
gives "and is not promoted" 1 'b is not connected and cannot consent' ctl a primary spool
link_heal a
ok "a and b meet" wait_for 60 "a session" session_is a b connected
gives "b is in the way now" 1 'b (does not consent: it is primary itself|is primary): make it secondary first' \
	ctl a primary spool
ok "a follows and is live" wait_live b a 180
ok "because b's generation continues its own" grep -q 'follows b: .*continues the other' "$(node_dir a)/log"
ok "b has lost nothing" files_are /mnt/b mail-{1..8} after-death

umount /mnt/b
ok "both are equal" copies_equal a b
ok "both down" eval 'ctl b down spool && ctl a down spool'
like "$(fsck.repl --json /dev/vdb | jq -c .volume.flags)" '"by-peer-dead"' "fsck.repl shows how b became primary: JSON"
like "$(fsck.repl /dev/vdb)" 'by-peer-dead' "and in words"
ok "both up" eval 'ctl a up spool && ctl b up spool'
ok "live again" wait_live a b 120
ok "b by consent" ctl b primary spool
is "$(status_of b .begun_by)" null "a term that began by consent is not recorded as forced"

# --- a node that is behind ----------------------------------------------------------------------------------------

behind='wait until.*repl-ctl wait spool --for in-sync.*or promote b'
link_cut a
pattern_put /dev/repl1 behind $((16 << 20)) $((16 << 20))
ok "b goes on alone" wait_for 60 "the loss of a" eval '! peer_is b a live'
ok "and gives the role back" ctl b secondary spool
netem b rate 8mbit
link_heal a
ok "a is catching up, slowly" wait_for 90 "a to follow" peer_is a b syncing
is "$(status_of a .consistent)" true "and consistent meanwhile"
wait_for 30 "its consent to b to be over" eval '[[ $(ctl a primary spool 2>&1) != *consented* ]]'
gives "a, behind, is not promoted: why, and the way out" 1 "copy on b is newer: $behind" ctl a primary spool
gives "nor with --peer-dead" 1 "copy on b is newer: $behind" ctl a primary spool --peer-dead
gives "nor is b, as long as a cannot consent" 1 'a is there, but not in sync: wait until it is' ctl b primary spool
link_cut a
ok "b is gone" wait_for 60 "the session to end" session_lost a b
gives "left half way a is not promoted" 1 'copy on b was newer when it was last seen.*--force' ctl a primary spool
gives "nor with --peer-dead" 1 'copy on b was newer when it was last seen.*--force' ctl a primary spool --peer-dead
is "$(ctl a role spool)-$(ctl b role spool)" secondary-secondary "the roles are what they were"
netem_clear b
link_heal a
ok "it catches up" wait_live b a 120
ok "and is equal" copies_equal a b

# --- split --------------------------------------------------------------------------------------------------------

gives "failover: promote on a" 0 'mounted /dev/repl0' failover a promote
ok "a has a file" put_file /mnt/a before
link_cut b
ok "a goes on alone" put_file /mnt/a a-alone
gives "failover: promote on b, told a falsehood" 0 'the peer being vouched for as off' failover b promote --peer-dead --timeout 60
ok "b has what both had" files_are /mnt/b first mail-8 before
ok "but not what a wrote alone" [ ! -e /mnt/b/a-alone ]
ok "b writes" put_file /mnt/b b-alone
umount /mnt/a /mnt/b
sync
sha_a=$(sha_of a)
sha_b=$(sha_of b)
isnt "$sha_a" "$sha_b" "they differ"
link_heal b
ok "two primaries: both say what to do" eval "wait_for 90 a says a 'both are primary: make one of them secondary' &&
	wait_for 30 b says b 'both are primary: make one of them secondary'"
gives "status shows it" 0 'b is connected but behind: refused: both are primary' ctl a status
ok "a is made secondary" ctl a secondary spool
ok "then it is a split, on both" eval "wait_for 60 a says a '^split: both copies were written alone' &&
	wait_for 60 b says b '^split: both copies were written alone'"
for node in a b; do
	gives "status on $node says so, and the way out" 0 \
		'connected but behind: split:.*next: nothing is thrown away.*repl-ctl resolve spool' ctl $node status
done
gives "a is not promoted again" 1 'b is primary: make it secondary first' ctl a primary spool
gives "nor with --peer-dead" 1 'b is primary: make it secondary first' ctl a primary spool --peer-dead
agent_kill a
agent_start a
ok "after a's agent was restarted, too" wait_for 90 "the split is found" says a '^split: '
is "$(sha_of a)-$(sha_of b)" "$sha_a-$sha_b" "nothing was overwritten on either"
ok "a is down" ctl a down spool
ok "a's copy can still be saved: its file system is as a left it" eval \
	'mount -o ro,noload /dev/mapper/disk-a /mnt/a && files_are /mnt/a first before a-alone && umount /mnt/a'
ok "a's copy is given up" run_quiet mkfs.repl --force --name spool /dev/mapper/disk-a
ok "and made anew" eval 'ctl a up spool && wait_live b a 120'
is "$(sha_of a)-$(sha_of b)" "$sha_b-$sha_b" "from b's"

# --- behind, and never let in -------------------------------------------------------------------------------------

# b goes on without a; when they meet, something stands in the way of catching up; then b dies.
link_cut a
pattern_put /dev/repl1 later 65536 $((20 << 20))
ok "b goes on alone once more" wait_for 60 "the loss of a" eval '! peer_is b a live'
agent_kill b
sed -i '/^minor/a encryption = none' "$(node_dir b)/volumes/spool.conf"
agent_start b
link_heal a
ok "they meet, and cannot agree" wait_for 90 "a refusal" says a 'one side says encryption = none'
link_cut a
ok "b is gone again" wait_for 60 "the session to end" session_lost a b
is "$(status_of a .consistent)" true "a's copy is a whole one, of an earlier time"
for how in '' --peer-dead; do
	# shellcheck disable=SC2086
	gives "a is not promoted${how:+ with $how}: it has learnt that b went on, and says so" 1 \
		'copy on b was newer when it was last seen: connect it.*--force' ctl a primary spool $how
done
is "$(ctl a role spool)" secondary "a is what it was"
agent_kill b
sed -i '/^encryption/d' "$(node_dir b)/volumes/spool.conf"
agent_start b
link_heal a
ok "with the mistake mended a catches up" wait_live b a 120
ok "and has what b wrote" copies_equal a b

# --- without force ------------------------------------------------------------------------------------------------

sed 's/^/# /' /run/argv
cmp_ok "$(grep -c 'primary spool' /run/argv)" -ge 6 "failover promoted by way of repl-ctl"
ok "--peer-dead only after the peer did not consent" awk \
	'/--peer-dead/ && before !~ / primary spool$/ { exit 1 } { before = $0 }' /run/argv
is "$(grep -c -e --force /run/argv)" 0 "and never said --force"
ok "everything down" repl_stop
dm_remove disk-a
done_testing
