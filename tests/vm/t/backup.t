#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.12 mem=512 timeout=600 disks=16M,16M with=fsfreeze
#
# Backups of a volume in use, on the primary and on the secondary: each restored chain is the volume as it was at one
# instant; and whatever dies meanwhile, what comes next has all that changed since the last good one.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

mib=$((1024 * 1024))
mnt=/mnt/spool
box=/run/backups

gives() { # DESCRIPTION RC REGEX COMMAND...
	local what=$1 want=$2 words=$3 said rc=0
	shift 3
	said=$("$@" 2>&1 </dev/null) || rc=$?
	if [ "$rc" -eq "$want" ] && [[ $said =~ $words ]]; then
		pass "$what"
	else
		fail "$what" "exit code $rc: $said"
	fi
}

marks() { ctl "$1" mark list spool --json | jq -r ".marks[] | select(.name == \"$2\") | $3"; } # NODE MARK FILTER
sha_of() { data_sha "${NODE_DEV[$1]}" "$size"; }
restored() { # STREAM... : the sha of what comes out of a chain
	rm -f volume
	run_quiet repl-ctl restore "$@" volume || return 1
	sha_of_stdin <volume
}

# As a mail server does, without an end: a message, then its index.
write_mail() {
	local n=0
	while :; do
		n=$((n + 1))
		dd if=/dev/urandom of=$mnt/message.$((n % 60)) bs=4k count=5 conv=fsync status=none
		echo "$n" >>$mnt/index
		sync $mnt/index
	done
}

# Of a file system in use: its journal is what a crash at that instant leaves.
is_clean() { # STREAM...
	restored "$@" >/dev/null || return 1
	run_quiet e2fsck -fp volume
	[ $? -le 1 ] && run_quiet e2fsck -fn volume
}

mkdir -p $box $mnt
dm_linear deva /dev/vda
repl_node a /dev/mapper/deva
repl_node b /dev/vdb
repl_config
repl_mkfs
ok "live" repl_start a
size=$(volume_bytes a)
run_quiet mkfs.ext4 -q -F /dev/repl0
mount /dev/repl0 $mnt
cd $box || bail "no directory"
write_mail &
writer=$!

diag "while it is written to, on the primary and on the secondary"
gives "no increment without a mark" 1 'there is no mark nightly' ctl a backup spool --since nightly --output f
ok "a mark is made" ctl a mark add spool nightly
gives "which stands for nothing yet" 1 'stands for no stream yet' ctl a backup spool --since nightly --output f
gives "a full copy" 0 'a full copy, .*the mark nightly stands for it' ctl a backup spool --mark nightly --output full
gives "a full copy of the secondary" 0 'a full copy' ctl b backup spool --mark other --output b-full
gives "a first increment" 0 'what has changed' ctl a backup spool --since nightly --mark nightly --output one
gives "a second one" 0 'what has changed' ctl a backup spool --since nightly --mark nightly --output two
gives "one of the secondary" 0 'what has changed' ctl b backup spool --since other --mark other --output b-one
gives "a file that is there is not written over" 1 'is there already' ctl a backup spool --output two
is "$(marks a nightly .state)" ready "the mark stands for a stream"
is "$(marks a nightly .stream)" "$(repl-ctl backup --list two | sed -n 's/^  stream *//p')" "for the last one"

diag "at an instant that is known"
run_quiet fsfreeze -f $mnt
gives "a third increment" 0 'what has changed' ctl a backup spool --since nightly --mark nightly --output three
gives "of the secondary, too" 0 'what has changed' ctl b backup spool --since other --mark other --output b-two
sha_a=$(sha_of a)
sha_b=$(sha_of b)
run_quiet fsfreeze -u $mnt
is "$(restored full one two three)" "$sha_a" "the restored chain is what was on the primary's disk"
is "$(restored b-full b-one b-two)" "$sha_b" "and on the secondary's"
ok "of those that were taken in between the file system is in order" is_clean full one two
ok "of the secondary's, too" is_clean b-full b-one

diag "what is refused before anything is written"
head -c -100 two >short
cp one bent
printf X | dd of=bent bs=1 seek=$(($(stat -c %s one) / 2)) conv=notrunc status=none
rm -f volume
gives "a chain with a stream cut off" 1 'not whole' repl-ctl restore full one short volume
gives "with a damaged one" 1 'damaged' repl-ctl restore full bent volume
gives "with one missing" 1 'one is missing' repl-ctl restore full two volume
not_ok "nothing is there" test -e volume

diag "what dies meanwhile"
mkfifo pipe
exec 4<>pipe
before=$(marks a nightly .stream)
being_written() { marks a nightly .state | grep -q "being written"; }
# In the background only: $! is the program itself.
full_of_a() { exec nsenter --net=/run/netns/a -- repl-ctl --config "$(node_dir a)" backup spool --mark nightly; }
full_of_a >pipe 2>/dev/null &
backup=$!
wait_for 30 "a full copy is being written" being_written
kill -KILL "$backup"
wait "$backup" 2>/dev/null || true
wait_for 30 "its cut is gone" eval '! being_written'
is "$(marks a nightly 'select(.state == "ready") | .stream')" "$before" "killed: the mark stands where it stood"
exec 4>&-
exec 4<>pipe
full_of_a >pipe 2>words &
backup=$!
wait_for 30 "another one is being written" being_written
agent_kill a
cat <pipe >four 4>&- &
reader=$!
exec 4>&-
ended=0
wait "$backup" || ended=$?
is "$ended" 0 "the agent killed: the backup goes on"
wait "$reader"
agent_start a
like "$(cat words)" 'repl-ctl mark commit spool nightly' "it says how the mark moves"
is "$(marks a nightly 'select(.state == "ready") | .stream')" "$before" "which it does not by itself"
gives "but when told" 0 'stands for stream' ctl a mark commit spool nightly
is "$(marks a nightly .state)" ready "there is one of that name again"

diag "a disk that is too slow for the writers"
dm_reload deva "$(dm_delay_table /dev/vda 1500 0 0)"
ctl a backup spool --since nightly --mark nightly --hold 100 --output five >words 2>&1 &
backup=$!
wait_for 60 "a write had to wait too long" grep -q 'the cut is void.*trying again' words
dm_reload deva "$(dm_linear_table /dev/vda)"
ended=0
wait "$backup" || ended=$?
is "$ended" 0 "it is tried again, and done"
kill "$writer"
wait "$writer" 2>/dev/null || true
wait_live a b
run_quiet fsfreeze -f $mnt
ok "a last one" ctl a backup spool --since nightly --mark nightly --output six
sha_a=$(sha_of a)
run_quiet fsfreeze -u $mnt
is "$(restored four five six)" "$sha_a" "of all this nothing is missing"

diag "marks outlive a stop, and a crash"
umount $mnt
pattern_put /dev/repl0 clean $mib $((2 * mib))
ok "down and up" eval 'run_quiet ctl a secondary spool && run_quiet ctl a down spool && run_quiet ctl a up spool && wait_live a b && run_quiet ctl a primary spool'
pattern_put /dev/repl0 crash $mib $((8 * mib))
dd if=/dev/vda of=/run/crashed bs=1M iflag=direct status=none
ok "down" eval 'run_quiet ctl a secondary spool && run_quiet ctl a down spool'
dd if=/run/crashed of=/dev/vda bs=1M oflag=direct conv=fsync status=none
ok "up as after a crash" eval 'run_quiet ctl a up spool && wait_live a b'
ok "an increment" ctl a backup spool --since nightly --mark nightly --output seven
is "$(restored four five six seven)" "$(sha_of a)" "has what was written before either"
cmp_ok "$(stat -c %s seven)" -lt $((8 * mib)) "and not much more"

ok "marks are removed" eval 'run_quiet ctl a mark remove spool nightly && run_quiet ctl b mark remove spool other'
is "$(ctl a mark list spool)" "spool: no marks" "none is left"
cd /
ok "everything down" repl_stop
dm_remove deva
done_testing
