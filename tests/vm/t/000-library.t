#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 disks=16M,32M mem=512 timeout=120
#
# The library and the image give what tests rely on.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"

ok "a command that succeeds" true
not_ok "a command that fails" false
is "$(printf 'a b')" "a b" "is"
like "abc" '^a.c$' "like"

is "$(dev_sectors "$(disk 0)")" 32768 "first disk has its size"
is "$(dev_sectors "$(disk 1)")" 65536 "second disk has its size"

pattern_put "$(disk 0)" seed1 1048576 4096
is "$(data_sha "$(disk 0)" 1048576 4096)" "$(pattern_sha seed1 1048576)" "pattern is read back"
isnt "$(data_sha "$(disk 0)" 1048576 0)" "$(pattern_sha seed1 1048576)" "and not at another place"

pattern_put "$(disk 1)" seed1 1048576 4096
ok "two disks have the same on them" same "$(disk 0)" "$(disk 1)" $((4 << 20))
printf x | dd of="$(disk 1)" bs=1 count=1 seek=$(((2 << 20) + 5000)) conv=notrunc status=none && sync "$(disk 1)"
is "$(same "$(disk 0)" "$(disk 1)" $((4 << 20)))" "$(disk 0) and $(disk 1) differ in block 513" "one byte is another: where"
ok "not before it" same "$(disk 0)" "$(disk 1)" $((513 * 4096))
not_ok "beyond their end they are not the same" same "$(disk 0)" "$(disk 1)" $((64 << 20))

brd_load 2 8
is "$(dev_sectors /dev/ram1)" 16384 "brd size"
dm_delay slow /dev/ram0 0 200
before=$(now_ms)
pattern_put /dev/mapper/slow x 4096
cmp_ok "$(($(now_ms) - before))" -ge 200 "dm-delay delays writes"
dm_break slow
not_ok "a broken device fails reads" data_sha /dev/mapper/slow 4096
dm_heal slow /dev/ram0
is "$(data_sha /dev/mapper/slow 4096)" "$(pattern_sha x 4096)" "a healed one reads what was written"
ok "dm device is removed" dm_remove slow
dm_flakey flaky /dev/ram1 0 60 error_writes
not_ok "dm-flakey fails writes" pattern_put /dev/mapper/flaky y 4096
dm_remove flaky

node_add a 10.0.0.1
node_add b 10.0.0.2
ok "nodes reach each other" in_node a ping -c 1 -W 5 10.0.0.2
link_cut b
not_ok "a cut link carries nothing" in_node a ping -c 1 -W 1 10.0.0.2
link_heal b
ok "a healed link carries again" wait_for 10 "ping" in_node a ping -c 1 -W 1 10.0.0.2
netem b delay 100ms
rtt=$(in_node a ping -c 2 -i 0.2 10.0.0.2 | sed -n 's/^rtt.*= \([0-9]*\).*/\1/p')
cmp_ok "$rtt" -ge 100 "netem delays what a node sends"
netem_clear b

mkfs.ext4 -q "$(disk 1)"
mount "$(disk 1)" /mnt
echo content >/mnt/file
umount /mnt
ok "ext4 is clean" e2fsck -fn "$(disk 1)"
for m in nbd loop null_blk tls nvme-tcp nvmet-tcp raid1 dm-log-writes drbd virtio_net sch_netem xfs; do
	ok "module $m" modprobe "$m"
done
not_ok "wait_for gives up" wait_for 1 "what never comes" false
done_testing
