#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# mkfs.repl and fsck.repl on plain files: what is refused, what is written and, above all, what is not.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
# shellcheck source-path=SCRIPTDIR source=../vm/tap.sh
source "$here/../vm/tap.sh"

bin=${REPL_BUILD:-$here/../../build}/bin
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
PATH=$bin:$PATH:/sbin:/usr/sbin

mib=$((1024 * 1024))
out=
rc=0

run() { # COMMAND... : leaves what it printed in $out and its exit code in $rc
	rc=0
	out=$("$@" 2>&1) || rc=$?
}

refuses() { # DESCRIPTION RC REGEX COMMAND...
	local what=$1 want=$2 words=$3
	shift 3
	run "$@"
	if [ "$rc" -eq "$want" ] && [[ $out =~ $words ]]; then
		pass "$what"
	else
		fail "$what" "exit code $rc: $out"
	fi
}

field() { # FILE JQ-FILTER [FSCK-OPTION...]
	local file=$1 filter=$2
	shift 2
	fsck.repl "$file" --json "$@" | jq -c "$filter"
}

# A device whose every byte is known, so that any stray write shows.
pattern() { # FILE MIB
	printf 'nothing may change these\nbytes%.0s' {1..30} >"$1"
	truncate -s 1K "$1"
	while [ "$(stat -c %s "$1")" -lt $(($2 * mib)) ]; do
		cat "$1" "$1" >"$1.twice"
		mv "$1.twice" "$1"
	done
}

poke() { # FILE BYTE : overwrites three bytes there
	printf 'xyz' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# --- a fresh copy -------------------------------------------------------------------------------------------------

pattern plain 64
cp plain before
refuses "a plain file needs --force" 1 'is a file, no block device' mkfs.repl --name spool plain
ok "and was not touched" cmp plain before

run mkfs.repl --name spool --force plain
is "$rc" 0 "a copy is made"
like "$out" 'usable +67063808 bytes \(63.95 MiB\)' "what will be usable is printed"
like "$out" 'metadata +45056 bytes .* from byte 67063808 to its end' "and where the metadata lie"
ok "the data area is untouched" cmp -n 67063808 plain before
run fsck.repl plain
is "$rc" 0 "fsck.repl finds no error"
like "$out" 'no errors' "and says so"
is "$(field plain '.volume.flags')" '["maps","stopped"]' "fresh: not consistent, no identity"
is "$(field plain '[.volume.uuid, .volume.generation]')" '[null,null]' "fresh: no volume, no generation"
is "$(field plain '[.copies[].sequence]')" '[2,1]' "sequence numbers 2 and 1"
is "$(field plain '[.volume | .name, .data_bytes, .block_bytes, .region_bytes, .slots_reserved]')" \
	'["spool",67063808,4096,1048576,8]' "geometry as printed"
is "$(tail -c 45056 plain | head -c 36864 | tr -d '\0' | wc -c)" 0 "maps and log are zero"
is "$(head -c 67104776 plain | tail -c 8)" REPLVOL1 "copy 0 is the last 4 KiB"
is "$(head -c 67100680 plain | tail -c 8)" REPLVOL1 "copy 1 is before it"

first=$(field plain .volume.copy_id)
run mkfs.repl --name spool --force plain
is "$rc" 0 "with --force it is made anew"
isnt "$(field plain .volume.copy_id)" "$first" "with another copy id"

# --- options ------------------------------------------------------------------------------------------------------

truncate -s 1G big
run mkfs.repl --name a.b-c_9 --force --slots 2 --region-size 64K --block-size 512 --size 100M big
is "$rc" 0 "every option"
is "$(field big '[.volume | .name, .data_bytes, .block_bytes, .region_bytes, .slots_reserved, .map_bytes, .log_bytes]')" \
	'["a.b-c_9",104857600,512,65536,2,32768,4096]' "every option counts"
truncate -s $((64 * mib + 1234)) odd
run mkfs.repl --name odd --force odd
is "$(field odd '[.volume.data_bytes, .copies[0].offset]')" '[67063808,67104768]' \
	"what is beyond the last 4 KiB is left alone"
truncate -s 100K tiny
refuses "a device that is too small" 1 'too few for 45056 bytes of metadata' mkfs.repl --name a --force tiny
refuses "--size beyond the device" 1 'only [0-9]+ are usable' mkfs.repl --name a --force --size 2G big
for bad in "--slots 0" "--slots 17" "--slots x" "--region-size 32K" "--region-size 3M" "--block-size 1024" "--size 1K" \
	"--name a/b" "--name .a" "--unknown"; do
	# The option and its value are two words.
	# shellcheck disable=SC2086
	refuses "$bad" 2 "mkfs.repl" mkfs.repl --name a --force $bad big
done
refuses "no name" 2 'name is missing' mkfs.repl big
refuses "no device" 2 'name the device' mkfs.repl --name a
refuses "two devices" 2 'exactly one' mkfs.repl --name a big odd
refuses "no such device" 1 'No such file' mkfs.repl --name a --force nothing
refuses "a directory" 1 'no block device' mkfs.repl --name a --force .

# --- signatures ---------------------------------------------------------------------------------------------------

truncate -s 64M ext
mke2fs -q -F -t ext4 -L mail ext
cp ext before
run mkfs.repl --name a --force ext
like "$out" 'held ext4 "mail"' "a file system is named"
ok "and its data are not wiped" cmp -n 67063808 ext before

# A block device: what --force would allow on a file is refused here.
loop=
if [ "$(id -u)" -eq 0 ] && loop=$(losetup -f --show ext 2>/dev/null); then
	trap 'losetup -d "$loop"; rm -rf "$dir"' EXIT
	refuses "a copy is not overwritten" 1 'holds the metadata of repl volume "a"; --force' mkfs.repl --name x "$loop"
	dd if=/dev/zero of="$loop" bs=4096 seek=$((64 * mib / 4096 - 2)) count=2 oflag=direct status=none
	refuses "a file system is not overwritten" 1 'holds ext4 "mail"; --force' mkfs.repl --name x "$loop"
	mke2fs -q -F -t ext4 "$loop" 61440k
	ok "adopting one that leaves room needs no --force" mkfs.repl --name x --adopt "$loop"
	blockdev --setro "$loop"
	refuses "a read-only device" 1 'is read-only' mkfs.repl --name x --force "$loop"
	blockdev --setrw "$loop"
	exec 9<>"$loop"
	run fsck.repl "$loop"
	unlike "$out" 'is in use' "an open device is not in use"
	exec 9<&-
	mkdir mnt
	if mount "$loop" mnt 2>/dev/null; then
		refuses "a mounted device is refused, and where it is mounted" 1 "mounted on $dir/mnt" \
			mkfs.repl --name x --force "$loop"
		umount mnt
	else
		skip "cannot mount here" "a mounted device is refused"
	fi
	losetup -d "$loop"
	trap 'rm -rf "$dir"' EXIT
else
	skip "no loop device for this user" "signatures and use of a block device"
fi

# --- adopting -----------------------------------------------------------------------------------------------------

mke2fs -q -F -t ext4 ext 64M
cp ext before
refuses "a file system that reaches into the metadata" 1 'reaches to byte 67108864.*shrink' \
	mkfs.repl --name a --adopt --force ext
ok "is not touched" cmp ext before
mke2fs -q -F -t ext4 ext 61440k
truncate -s 64M ext
run mkfs.repl --name a --adopt --force ext
is "$rc" 0 "one that leaves room is adopted"
is "$(field ext .volume.flags)" '["consistent","maps","identity","stopped"]' "adopted: consistent, with an identity"
is "$(field ext '[.volume.uuid, .volume.generation] | map(length)')" '[36,36]' "a random volume id and generation"
is "$(field ext .volume.block_bytes)" 512 "and the device's own block size"
ok "the file system is in order" e2fsck -fn ext
refuses "its block size cannot be changed" 1 'its data may rely on that' \
	mkfs.repl --name a --adopt --force --block-size 4096 ext
refuses "nor the volume be made smaller than it" 1 'reaches to byte' \
	mkfs.repl --name a --adopt --force --size 30M ext

# The superblock of an XFS of 4096 blocks of 4096 bytes, then of one as large as the device.
pattern xfs 64
printf 'XFSB\0\0\x10\0\0\0\0\0\0\0\x10\0' | dd of=xfs conv=notrunc status=none
run mkfs.repl --name a --adopt --force xfs
is "$rc" 0 "an XFS that leaves room is adopted"
printf 'XFSB\0\0\x10\0\0\0\0\0\0\0\x40\0' | dd of=xfs conv=notrunc status=none
refuses "an XFS that does not is refused" 1 'reaches to byte 67108864' mkfs.repl --name a --adopt --force xfs

# --- external metadata --------------------------------------------------------------------------------------------

mke2fs -q -F -t ext4 ext 64M
cp ext before
truncate -s 1M meta
run mkfs.repl --name a --adopt --force --metadata meta ext
is "$rc" 0 "a full file system is adopted with external metadata"
ok "and not one byte of it changes" cmp ext before
is "$(field ext '[.volume.data_bytes, .volume.meta_offset]' --metadata meta)" "[67108864,$((mib - 45056))]" \
	"all of the device is usable"
is "$(field ext .volume.flags --metadata meta)" '["consistent","maps","identity","external","stopped"]' "flags say external"
refuses "external metadata are not found on the data device" 8 'holds no repl metadata' fsck.repl ext
refuses "metadata without their data" 4 'lie on another device' fsck.repl meta
refuses "the data device as its own metadata device" 1 'is the data device itself' \
	mkfs.repl --name a --force --metadata ext ext
truncate -s 20K small
refuses "a metadata device that is too small" 1 'small: .*45056 are needed' \
	mkfs.repl --name a --force --metadata small ext
mkfs.repl --name old --force plain >/dev/null 2>&1
run mkfs.repl --name new --force --metadata meta plain
is "$rc" 0 "metadata move to another device"
refuses "and the stale superblock is gone" 8 'holds no repl metadata' fsck.repl plain

# --- damage -------------------------------------------------------------------------------------------------------

truncate -s 64M plain
mkfs.repl --name spool --force plain >/dev/null 2>&1
cp plain good
poke plain $((64 * mib - 3000))
refuses "a damaged copy 0: the other counts" 4 'copy 1 .*sequence 1, counts.*error: superblock copy 0: the checksum' \
	fsck.repl plain
is "$(field plain '[.copies[].valid]' || true)" '[false,true]' "as JSON"
poke plain $((64 * mib - 7000))
refuses "both damaged" 4 'copy 0: the checksum.*copy 1: the checksum' fsck.repl plain
cp good plain
dd if=/dev/zero of=plain bs=4096 count=1 seek=$((64 * mib / 4096 - 1)) conv=notrunc status=none
refuses "copy 0 gone" 4 'error: superblock copy 0: there is no superblock' fsck.repl plain
cp good plain
mkfs.repl --name spool --force plain >/dev/null 2>&1
dd if=good of=plain bs=4096 count=1 skip=$((64 * mib / 4096 - 2)) seek=$((64 * mib / 4096 - 2)) conv=notrunc status=none
refuses "copies of two different lives" 4 'describe different copies' fsck.repl plain
cp good plain
truncate -s 65M plain
refuses "after the device grew" 8 'meta-end' fsck.repl plain
run fsck.repl --meta-end 64M plain
is "$rc" 0 "the old end is found with --meta-end"
truncate -s 0 empty
refuses "an empty device" 8 'no superblock ends' fsck.repl empty
refuses "no such device" 8 'No such file' fsck.repl nothing
refuses "fsck.repl without a device" 16 'exactly one device' fsck.repl

done_testing
