#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=512 timeout=300 disks=64M,64M with=fio
#
# The kernel module alone, copies in one kernel joined over loopback, no agent: mirroring, marks, freezes, roles.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"

brd_load 1 64
dev=(/dev/vda /dev/vdb /dev/ram0)
modprobe repl

get() { knode get "$1" | sed -n "s/^$2=//p"; }
size() { knode get "$1" | sed -n 's/^size=//p'; }
equal() { same "$1" "$2" "$bytes"; }
work() { # SECONDS : random writes with overlaps, discards, FUA and flushes
	run_quiet fio --name=w --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=64 --rw=randtrimwrite \
		--bsrange=4k-128k --size=48m --runtime="$1" --time_based --randrepeat=0 --norandommap --allow_file_create=0
}
writes() {
	run_quiet fio --name=w --filename=/dev/repl0 --direct=1 --ioengine=libaio --iodepth=64 --rw=randwrite \
		--bsrange=4k-256k --size=48m --runtime="$1" --time_based --randrepeat=0 --norandommap --fdatasync=50 \
		--verify=crc32c --verify_backlog=200 --allow_file_create=0
}

for i in 0 1 2; do
	ok "metadata of copy $i" run_quiet mkfs.repl --name "v$i" "${dev[$i]}"
	ok "copy $i comes up" knode attach "$i" "v$i" "${dev[$i]}"
	is "$(cat "/sys/block/repl$i/queue/stable_writes")" 1 "it wants pages that stay as they are while they are written"
done
bytes=$(size 0)
ok "a secondary cannot be opened" bash -c '! dd if=/dev/repl0 of=/dev/null count=1 2>/dev/null'
not_ok "a copy that was never consistent is not promoted without force" knode primary 0
ok "the first becomes primary" knode primary 0 force
ok "it can be written" run_quiet dd if=/dev/urandom of=/dev/repl0 bs=64k count=100 oflag=direct
# iostat: without a peer and, below, with one, where it is another path.
accounted() { # : reads, their sectors, writes and theirs that 5 writes of 64 KiB and 3 reads of them add; what is under way
	local was now
	read -ra was </sys/block/repl0/stat
	run_quiet dd if=/dev/urandom of=/dev/repl0 bs=64k count=5 oflag=direct
	run_quiet dd if=/dev/repl0 of=/dev/null bs=64k count=3 iflag=direct
	read -ra now </sys/block/repl0/stat
	echo $((now[0] - was[0])) $((now[2] - was[2])) $((now[4] - was[4])) $((now[6] - was[6])) "${now[8]}"
}
is "$(accounted)" "3 384 5 640 0" "what iostat shows without a peer"
ok "slots" eval 'knode slot 0 0 1 && knode slot 1 0 2'
is "$(get 0 slot0.dirty)" "$((bytes / 4096))" "a new slot is dirty throughout"
not_ok "a slot that is behind gets no link" knode join 0 0 1 0
run_quiet dd if=/dev/vda of=/dev/vdb bs=1M iflag=direct,count_bytes oflag=direct count="$bytes"
knode settle 0 0
knode settle 1 0
ok "both are joined" knode join 0 0 1 0 crc
is "$(get 0 slot0.link)" 1 "live"
is "$(cat /sys/block/repl0/queue/stable_writes)" 1 "pages stay as they are with a peer, too"
is "$(accounted)" "3 384 5 640 0" "what iostat shows with one"
is "$(get 0 generation)" "$(get 1 generation)" "the same generation"
ok "writes with overlaps verify" writes 4
ok "random sizes at depth 64, overlaps and discards" work 3
ok "both copies are equal" equal /dev/vda /dev/vdb
diag "overlaps: $(get 0 overlaps), writes $(get 0 writes), applied $(get 1 applied)"
ok "zeroes" run_quiet blkdiscard -z -o 1M -l 20M /dev/repl0
ok "both copies are equal" equal /dev/vda /dev/vdb
# The block layer makes a chain of the pieces, and of what reads and writes it back.
limit=/sys/block/repl0/queue/max_sectors_kb
whole=$(cat $limit)
echo 64 >$limit
pattern 5 $((6 << 20)) >/run/pieces
ok "writes that the block layer splits" run_quiet dd if=/run/pieces of=/dev/repl0 bs=1M seek=8 oflag=direct
ok "come back whole from reads that it splits" \
	cmp <(dd if=/dev/repl0 bs=1M skip=8 count=6 iflag=direct status=none) /run/pieces
ok "both copies are equal" equal /dev/vda /dev/vdb
echo "$whole" >$limit
rm /run/pieces

# Frozen while a page is on its way: whoever wants to change it has to wait, or the copies would get what he is at.
change_it() { # : says whether it could be changed
	mount -t ext4 /dev/repl0 /mnt
	dd if=/dev/zero of=/mnt/file bs=4k count=1 conv=fsync status=none
	knode freeze 0 60000
	mkfifo /tmp/go
	stable /mnt/file </tmp/go >/tmp/stable &
	exec 8>/tmp/go
	wait_for 20 "the page is on its way" grep -q written /tmp/stable
	echo >&8
	wait_for 20 "what comes of it" grep -qE 'waits|changed' /tmp/stable
	knode thaw 0
	wait $!
	exec 8>&-
	rm /tmp/go
	umount /mnt
	tail -n 1 /tmp/stable
}
run_quiet mkfs.ext4 -q -F -O ^has_journal /dev/repl0
is "$(change_it)" waits "a page that is being written does not change"
echo 0 >/sys/block/repl0/queue/stable_writes
is "$(change_it)" changed "with that switched off it does"
echo 1 >/sys/block/repl0/queue/stable_writes
ok "both copies are equal" equal /dev/vda /dev/vdb

ok "a third copy, on a disk with other discards" eval 'knode slot 0 2 3 && knode slot 2 0 1'
run_quiet dd if=/dev/vda of=/dev/ram0 bs=1M iflag=direct,count_bytes oflag=direct count="$bytes"
knode settle 0 2
knode settle 2 0
ok "joined" knode join 0 2 2 0 crc
ok "discards and writes of random sizes" work 2
ok "discards off the grid of any disk" eval 'run_quiet blkdiscard -o 4096 -l 20480 /dev/repl0 && run_quiet blkdiscard -o 5M -l $((9 * 4096)) /dev/repl0'
ok "all copies are equal" eval 'equal /dev/vda /dev/vdb && equal /dev/vda /dev/ram0'
run_quiet knode leave 2 0
wait_for 10 "the gate opens" eval '[ "$(get 0 slot2.link)-$(get 0 gate)" = 0-0 ]'

first_bytes() { data_sha "$1" $((4 << 20)); }
buffered() { pattern "$1" $((4 << 20)) | dd of=/dev/repl0 bs=64k iflag=fullblock conv=notrunc status=none; } # SEED
ok "written through the page cache, and closed" buffered first
ok "secondary at once" knode secondary 0
is "$(first_bytes /dev/vda)" "$(pattern_sha first $((4 << 20)))" "all of it is on the disk"
is "$(first_bytes /dev/vdb)" "$(pattern_sha first $((4 << 20)))" "and on the peer's"
ok "primary" knode primary 0
ok "frozen" knode freeze 0 60000
waits=$(get 0 gate_waits)
buffered second &
closing=$!
wait_for 20 "the last close waits for the freeze" eval "[ \$(get 0 gate_waits) -gt $waits ]"
is "$(timeout 30 nowait /dev/repl0)" "Resource temporarily unavailable" "a write that may not wait gets to hear so"
not_ok "no demotion while it is being closed" timeout 20 knode secondary 0
ok "it is still being closed" kill -0 $closing
ok "thawed" knode thaw 0
ended=0; wait $closing || ended=$?
is "$ended" 0 "closed"
ok "now it need not wait" wait_for 20 "the write" eval '[ "$(nowait /dev/repl0)" = written ]'
ok "secondary" knode secondary 0
is "$(data_sha /dev/vdb $((3 << 20)) $((1 << 20)))" "$(data_sha /dev/vda $((3 << 20)) $((1 << 20)))" "both copies are equal"
is "$(data_sha /dev/vdb $((3 << 20)) $((1 << 20)))" "$(pattern second $((4 << 20)) | tail -c $((3 << 20)) | sha256sum | cut -d' ' -f1)" \
	"all of it is on the peer's disk"
ok "primary" knode primary 0
ok "a freeze that nobody ends" knode freeze 0 500
ok "a write goes on after its deadline" timeout 60 dd if=/dev/urandom of=/dev/repl0 bs=4k count=1 oflag=direct conv=notrunc status=none

before=$(get 0 generation)
sync
ok "the link is closed" knode leave 1 0
wait_for 10 "the leader sees it" eval '[ "$(get 0 slot0.link)" = 0 ]'
wait_for 10 "the gate opens" eval '[ "$(get 0 gate)" = 0 ]'
isnt "$(get 0 generation)" "$before" "a new generation"
is "$(get 1 generation)" "$before" "history of the other"
run_quiet dd if=/dev/urandom of=/dev/repl0 bs=4k count=10 seek=1000 oflag=direct
diag "dirty after ten blocks: $(get 0 slot0.dirty)"
ok "demotion" knode secondary 0
is "$(fsck.repl --json /dev/vda | jq '.volume.slots[] | select(.index == 0) | .dirty_blocks')" "$(get 0 slot0.dirty)" \
	"from here on the disk says itself what the peer lacks"
ok "down" knode detach 0
ok "up again" knode attach 0 v0 /dev/vda
ok "after a clean stop the map is still there" eval '[ "$(get 0 slot0.dirty)" -ge 10 -a "$(get 0 slot0.dirty)" -lt 3000 ]'

diag "a copy that is given up for what was staged says for which file, until it counts again"
file=1311768467463790320
ok "given up for one" knode follow 1 0 0 $file
is "$(get 1 staged)" $file "it is named"
ok "down" knode detach 1
is "$(fsck.repl --json /dev/vdb | jq -r .volume.staged)" 123456789abcdef0 "on the disk"
ok "up again" knode attach 1 v1 /dev/vdb
is "$(get 1 staged)" $file "and after a restart"
ok "given up to be copied directly" knode follow 1 0 0
is "$(get 1 staged)" 0 "none is named"
ok "given up for one" knode follow 1 0 0 $file
ok "it has become equal" knode commit 1 0 0
is "$(get 1 staged)" 0 "none is named"
ok "down" knode detach 1
is "$(fsck.repl --json /dev/vdb | jq -r .volume.staged)" null "on the disk"
ok "up again" knode attach 1 v1 /dev/vdb
for i in 0 1 2; do ok "down $i" knode detach "$i"; done

# A buffer at an odd place is the caller's mistake, and must not be taken for the disk's.
dm_create sealed "0 $(dev_sectors /dev/vdb) crypt cipher_null-ecb - 0 /dev/vdb 0 1 sector_size:4096"
ok "on a disk that encrypts blocks of 4096 bytes" run_quiet mkfs.repl --force --name v0 /dev/mapper/sealed
run_quiet knode attach 0 v0 /dev/mapper/sealed
is "$(cat /sys/block/repl0/queue/dma_alignment)" 4095 "buffers must be aligned as that disk wants it"
run_quiet knode detach 0
dm_remove sealed
done_testing
