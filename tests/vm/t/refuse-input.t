#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=768 timeout=600 disks=16M,16M
#
# What people get wrong, in files and on command lines: refused with the place, the fact and the next step; nothing is
# changed by it, and an agent that runs goes on with what it had.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

DIR=$(node_dir a)
VOLUMES=$DIR/volumes

refuses() { # DESCRIPTION RC REGEX COMMAND...
	local what=$1 want=$2 words=$3 rc=0 out
	shift 3
	out=$("$@" 2>&1) || rc=$?
	if [ "$rc" -eq "$want" ] && [[ $out =~ $words ]]; then
		pass "$what"
	else
		fail "$what" "exit code $rc, expected $want" "got:   $out" "regex: $words"
	fi
}

# All that the running volume is, superblock writes included.
facts() {
	status_of a '[.role, .uuid, .generation, .epoch, .consistent, .frozen, .counters.metadata_writes] | tostring'
}
whole_sha() { data_sha "$1" "$(blockdev --getsize64 "$1")"; } # DEVICE

repl_node a /dev/vda >/dev/null
repl_node b /dev/vdb >/dev/null
repl_config
sed -i '/^$/,$d' "$VOLUMES/spool.conf" # no peer: nobody is waited for
brd_load 3 8
run_quiet mkfs.repl --name spool /dev/vda
modprobe tls
modprobe repl
ok "a good configuration" in_node a repl-agent --config "$DIR" --check
agent_start a
ok "up" ctl a up spool
ok "primary" ctl a primary spool --force
run_quiet pattern_put /dev/repl0 good $((1 << 20))
cp -a "$DIR" /run/good
good() { # puts the good files back
	rm -f "$VOLUMES"/*
	cp -a /run/good/agent.conf /run/good/key "$DIR/"
	cp -a /run/good/volumes/. "$VOLUMES/"
}
before=$(facts)
data=$(data_sha /dev/vda "$(volume_bytes a)")
fds() { find "/proc/$(agent_pid a)/fd" -mindepth 1 | wc -l; }
fds_are() { [ "$(fds)" = "$1" ]; }
base=$(fds)

# --- configuration ------------------------------------------------------------------------------------------------

start_again() { timeout 30 nsenter --net=/run/netns/a -- repl-agent --config "$DIR" --foreground 2>&1 | tee "$DIR/why"; }

# --check, an agent that starts, and one that runs: all say the same of the files as they are now.
bad_files() { # DESCRIPTION REGEX
	refuses "$1: no agent starts" 1 "$2" start_again
	unlike "$(cat "$DIR/why")" 'another agent answers' "$1: nor tries to"
	bad_volume "$@"
}
bad_volume() { # DESCRIPTION REGEX
	refuses "$1: --check" 1 "$2" in_node a repl-agent --config "$DIR" --check
	refuses "$1: reload keeps the old configuration" 1 "^repl-ctl: agent: .*$2.*the configuration stays as it was" \
		ctl a reload
	like "$(tail -n 3 "$DIR/log")" "error: .*$2.*the configuration stays as it was" "$1: the log says so"
	is "$(facts)" "$before" "$1: the volume is as it was"
	good
}

sed -i '/^name/a colour = red' "$DIR/agent.conf"
bad_files "an unknown key" 'agent.conf:3: unknown key colour in \[node\]; expected name, key, listen, socket'
printf '[nodes]\n' >>"$DIR/agent.conf"
bad_files "an unknown section" 'agent.conf:11: \[nodes\]: unknown section; expected \[node\], \[peer "NAME"\]'
sed -i 's/^listen = .*/listen = 10.0.0.1:99999/' "$DIR/agent.conf"
bad_files "a bad port" 'agent.conf:4: listen = 10.0.0.1:99999: expected address:port'
sed -i 's/^public-key = .*/public-key = secret/' "$DIR/agent.conf"
bad_files "a bad key" "agent.conf:10: public-key = secret: expected the peer's public key, 44 base64 characters"
sed -i '/^name/d' "$DIR/agent.conf"
bad_files "a missing key" 'agent.conf:1: \[node\] lacks name; expected a name'
printf 'mtu = 9000\n' >>"$VOLUMES/spool.conf"
bad_volume "an unknown key of a volume" 'spool.conf:5: unknown key mtu in \[volume\]; expected device, metadata, minor'
sed -i 's/^minor = .*/minor = 5000/' "$VOLUMES/spool.conf"
bad_volume "a bad minor" 'spool.conf:3: minor = 5000: expected a number from 0 to 1023'
printf 'timeout = 1ms\non-peer-loss = hope\n' >>"$VOLUMES/spool.conf"
bad_volume "a bad time" 'spool.conf:5: timeout = 1ms: expected a time from 500ms to 10min'
printf 'on-peer-loss = hope\n' >>"$VOLUMES/spool.conf"
bad_volume "a bad policy" 'spool.conf:5: on-peer-loss = hope: expected continue or freeze'
printf '[peer "zoe"]\n' >>"$VOLUMES/spool.conf"
bad_volume "a peer that agent.conf does not know" \
	'spool.conf:5: peer zoe has no section in /run/nodes/a/agent.conf; add \[peer "zoe"\] there'
printf '[peer "no one"]\n' >>"$VOLUMES/spool.conf"
bad_volume "a peer with a bad name" 'spool.conf:5: \[peer "no one"\]: is no name: letters, digits'
attic() { printf '[volume]\ndevice = %s\nminor = %s\n' "$1" "$2" >"$VOLUMES/attic.conf"; } # DEVICE MINOR
attic /dev/vdb 0
bad_volume "a minor twice" 'spool.conf: minor 0 is also asked for by /run/nodes/a/volumes/attic.conf; give one of them another'
attic /dev/vda 7
bad_volume "a device twice" 'spool.conf: device /dev/vda is also used by /run/nodes/a/volumes/attic.conf; give each volume its own'

# What only this machine can tell is read when an agent starts, or a volume comes up.
check_alone() { # DESCRIPTION REGEX
	refuses "$1: --check" 1 "$2" in_node a repl-agent --config "$DIR" --check
}
rm "$DIR/key"
check_alone "no key" 'key: /run/nodes/a/key: no such key file; make one with: repl-ctl genkey /run/nodes/a/key'
refuses "no key: no agent starts" 1 'no such key file; make one with: repl-ctl genkey' start_again
good
chmod 644 "$DIR/key"
check_alone "a key that others may read" 'key: /run/nodes/a/key: others may read .*0644.*run chmod 600 /run/nodes/a/key'
refuses "a key that others may read: no agent starts" 1 'run chmod 600 /run/nodes/a/key' start_again
good
refuses "a second agent" 1 'another agent answers at /run/nodes/a/agent.sock: stop it first' start_again
ok "the first one answers" ctl a status

# --- a volume that cannot come up ---------------------------------------------------------------------------------

# The device is left as it is, byte for byte; the words come from --check too where it can know.
no_attic() { # DESCRIPTION DEVICE REGEX [CHECK-REGEX]
	local sha=''
	[ ! -b "$2" ] || sha=$(whole_sha "$2")
	[ -e "$VOLUMES/attic.conf" ] || attic "$2" 7
	refuses "$1: up" 1 "^repl-ctl: attic: .*$3" ctl a up attic
	[ -z "${4:-}" ] || check_alone "$1" "$4"
	[ -z "$sha" ] || is "$(whole_sha "$2")" "$sha" "$1: the device is as it was"
	is "$(facts)" "$before" "$1: the other volume, too"
	good
}

refuses "no file" 1 'attic: there is no /run/nodes/a/volumes/attic.conf: describe the volume there, or correct the name' \
	ctl a up attic
no_attic "no device" /dev/nothing '/dev/nothing: No such file or directory; create it, or correct' \
	'attic.conf: device /dev/nothing: No such file or directory; create it, or correct device ='
no_attic "a file" /etc/passwd '/etc/passwd is no block device; correct' 'attic.conf: device /etc/passwd is no block device; correct device ='
no_attic "no metadata" /dev/ram0 'ram0 has no superblock where its metadata should be: check device=, and fsck.repl .*; mkfs.repl only if no copy was ever here'
run_quiet mkfs.repl --name other /dev/ram0
no_attic "another volume's" /dev/ram0 "the device holds volume 'other': check device="
printf 'xyz' | dd of=/dev/ram0 bs=1 seek=$((8 * 1024 * 1024 - 4000)) conv=notrunc,fsync status=none
printf 'xyz' | dd of=/dev/ram0 bs=1 seek=$((8 * 1024 * 1024 - 8000)) conv=notrunc,fsync status=none
no_attic "damaged metadata" /dev/ram0 'ram0 has a damaged superblock where its metadata should be: check device=, and fsck.repl'
for what in version features flags; do
	run_quiet mkfs.repl --force --name attic /dev/ram0
	ok "the superblock gets $what of a newer format" newer /dev/ram0 "$what"
	no_attic "$what of a newer format" /dev/ram0 "ram0 has .*$what.* this module does not know: a newer release has written it"
done
ln -s /dev/vda /run/by-another-name
no_attic "a device that another volume has" /run/by-another-name \
	'/run/by-another-name is in use: used by volume spool; free it, or correct' \
	'device /dev/vda is the same as /run/by-another-name of .*/attic.conf; give each volume its own'
mkfs.ext4 -q -F /dev/ram1
mount -o ro,noload /dev/ram1 /mnt
no_attic "a mounted device" /dev/ram1 '/dev/ram1 is in use: mounted on /mnt; free it, or correct'
umount /mnt
dm_linear claimed /dev/ram1
no_attic "a device below another one" /dev/ram1 '/dev/ram1 is in use: used by /dev/dm-0; free it, or correct'
dm_remove claimed
run_quiet mkfs.repl --name attic --metadata /dev/ram2 --force /dev/ram1
no_attic "metadata that lie elsewhere" /dev/ram1 'ram1 has no superblock where its metadata should be'
dm_create shrunk "0 8192 linear /dev/ram1 0"
attic /dev/mapper/shrunk 7
printf 'metadata = /dev/ram2\n' >>"$VOLUMES/attic.conf"
no_attic "a device that was shrunk" /dev/mapper/shrunk 'the superblock does not fit dm-0: was the device shrunk[?] see fsck.repl --meta-end'
dm_remove shrunk
run_quiet mkfs.repl --name attic --force /dev/ram1
dd if=/dev/zero of=/dev/ram2 bs=1M count=8 oflag=direct status=none
attic /dev/ram1 7
printf 'metadata = /dev/ram2\n' >>"$VOLUMES/attic.conf"
no_attic "a metadata device without metadata" /dev/ram1 'ram2 has no superblock where its metadata should be: check device='
blockdev --setro /dev/ram1
no_attic "a read-only device" /dev/ram1 '(/dev/ram1 cannot be opened for reading and writing|device 1:1 is read-only)'
blockdev --setrw /dev/ram1
attic /dev/ram1 7
ok "and when nothing is wrong, it comes up" ctl a up attic
ok "and goes down" ctl a down attic
echo '[volume' >"$VOLUMES/beta.conf"
ok "a mistake in another volume's file is none of its own" ctl a up attic
ok "down again" ctl a down attic
attic /dev/ram1 0
refuses "one against another volume's file is" 1 'attic: .*minor 0 is also asked for by .*/attic.conf' ctl a up attic
good

# --- mkfs.repl ----------------------------------------------------------------------------------------------------

no_mkfs() { # DESCRIPTION RC REGEX DEVICE OPTION...
	local what=$1 want=$2 words=$3 device=$4 sha
	shift 4
	sha=$(whole_sha "$device")
	refuses "mkfs.repl: $what" "$want" "mkfs.repl: $words" mkfs.repl --name attic "$@" "$device"
	is "$(whole_sha "$device")" "$sha" "mkfs.repl: $what: the device is as it was"
}

wipefs -q -a /dev/ram1
dd if=/dev/zero of=/dev/ram1 bs=1M count=8 oflag=direct status=none
mkfs.ext4 -q -F -L mail /dev/ram1
no_mkfs "a file system" 1 '/dev/ram1: holds ext4 "mail"; --force overwrites it, if nobody needs it any more' /dev/ram1
no_mkfs "a file system that reaches to the end" 1 '/dev/ram1: its file system reaches to .*shrink the file system first, or' \
	/dev/ram1 --adopt
mount -o ro,noload /dev/ram1 /mnt
no_mkfs "a mounted device, even with --force" 1 '/dev/ram1: is in use: mounted on /mnt; free it first' /dev/ram1 --force
umount /mnt
refuses "mkfs.repl: the device of a volume that is up" 1 '/dev/vda: is in use: .*; free it first' \
	mkfs.repl --name spool --force /dev/vda
no_mkfs "too few slots" 2 '--slots 0: a number from 1 to 16 is expected' /dev/ram1 --force --slots 0
no_mkfs "too many slots" 2 '--slots 17: a number from 1 to 16 is expected' /dev/ram1 --force --slots 17
no_mkfs "too small a size" 2 '--size 64K: at least 1M is expected' /dev/ram1 --force --size 64K
no_mkfs "a size that the device does not have" 1 '/dev/ram1: --size asks for 1073741824 bytes, but only [0-9]+ are usable' \
	/dev/ram1 --force --size 1G
no_mkfs "a bad name" 2 '--name a/b: letters, digits' /dev/ram1 --force --name a/b
dm_create tiny "0 160 linear /dev/ram2 0"
no_mkfs "a device that is too small" 1 '/dev/mapper/tiny: .*too few for [0-9]+ bytes of metadata' /dev/mapper/tiny --force
dm_remove tiny

# --- repl-ctl -----------------------------------------------------------------------------------------------------

for command in down secondary "primary --force" "wait --for primary --timeout 1"; do
	# The words of the command line.
	# shellcheck disable=SC2086
	refuses "repl-ctl ${command%% *} of an unknown volume" 1 \
		'^repl-ctl: nothing: the volume is not up: run repl-ctl up nothing' ctl a $command nothing
done
refuses "repl-ctl resume of an unknown volume" 1 '^repl-ctl: nothing: is not up on this node: repl-ctl up nothing, or see repl-ctl status for the names$' ctl a resume nothing
refuses "repl-ctl status of an unknown volume" 1 '^repl-ctl: nothing: no such volume is configured or up here' \
	ctl a status nothing
refuses "repl-ctl role of an unknown volume" 1 'down' ctl a role nothing
refuses "an unknown command" 2 'unknown command explode; see repl-ctl --help' ctl a explode
as_nobody() { in_node a setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
refuses "not root" 1 '^repl-ctl: spool: only root, and the user the agent runs as, may change something: use sudo' \
	as_nobody repl-ctl --config "$DIR" down spool
refuses "not root, and no agent needed" 1 'the kernel refuses: this needs CAP_NET_ADMIN; run it as root' as_nobody knode thaw 0
ok "looking is allowed" as_nobody repl-ctl --config "$DIR" status
is "$(facts)" "$before" "the volume is as it was"

ok "the agent's descriptors are as many as before" wait_for 20 "descriptors" fds_are "$base"
ok "a good configuration is read again" ctl a reload
agent_kill a TERM
refuses "no agent" 1 '^repl-ctl: spool: no agent answers at /run/nodes/a/agent.sock; start it: systemctl start repl-agent' \
	ctl a down spool
is "$(ctl a role spool)" primary "the volume does not mind"
attic /dev/ram1 none
agent_start a
ok "one volume's mistake keeps no agent from starting" ctl a status spool
like "$(cat "$DIR/log")" 'attic: left out for the mistake in its file' "which says what it leaves out"
refuses "and why" 1 'attic.conf:3: minor = none: expected a number' ctl a up attic
good
is "$(facts | jq -c 'del(.[6])')" "$(jq -c 'del(.[6])' <<<"$before")" "it is the same to a new agent"
is "$(data_sha /dev/vda "$(volume_bytes a)")" "$data" "and not one byte has changed"
ok "down" ctl a down spool
agent_kill a TERM
ok "fsck.repl" fsck.repl /dev/vda
done_testing
