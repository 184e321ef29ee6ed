#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=512 timeout=400 disks=24M,24M,24M
#
# Netlink commands that must be refused: in words, with an errno that fits, and with nothing changed. See the head of
# tests/vm/prog/nlbad.c for how a case is written.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"
# shellcheck source=tests/vm/hostile.sh
. "$(dirname "$0")/../hostile.sh"

cases() { # [COMMAND...] : nlbad's report on the cases on standard input
	relay "${WHO:-}" "$@" nlbad "${IN[@]}"
}
IN=()

# --- what there is ------------------------------------------------------------------------------------------------
# Volume 0 is primary: slot 1 is live to volume 1, slot 2 is a peer that is behind, slot 3 is free. Volume 2 has never been
# consistent; its slot 0 is a peer. ram0 waits to be attached, ram1 is mounted, ram2 is blank, ram3 is read-only.

modprobe tls
brd_load 4 16
knode_up /dev/vda /dev/vdb /dev/vdc
ok "a pair" knode_pair
ok "more slots" eval 'knode slot 0 2 3 && knode slot 2 0 1'
run_quiet mkfs.repl --name v9 /dev/ram0
run_quiet mkfs.ext4 -q /dev/ram1
mkdir -p /mnt/used
mount /dev/ram1 /mnt/used
run_quiet mkfs.repl --name v9 /dev/ram3
blockdev --setro /dev/ram3
node_add other 10.0.0.9
pattern_put /dev/repl0 before $((1 << 20))
sync
wait_for 20 "nothing is left to flush" knode_is 0 slot1.unflushed 0
sha0=$(data_sha /dev/vda "$(knode_get 0 size)")

# --- attributes ---------------------------------------------------------------------------------------------------

cases <<'EOF'
each-missing | | attach minor=9 name=v9 data_fd=rw:/dev/ram0 key=9
each-missing | | detach minor=0
each-missing | | role minor=0 role=1
each-missing | | freeze minor=0 gate=4 deadline_ms=1000
each-missing | | thaw minor=0 gate=4
each-missing | | slot_set minor=0 slot=3 kind=1 key=9
each-missing | | follow minor=1 slot=0 uuid=1
each-missing | | mark minor=0 slot_mask=4 extents=0+1
each-missing | | cut minor=0 slot=2 cut_flags=1
each-missing | | link_add minor=0 slot=2 sock_fd=tcp cookie=1 link_flags=0
each-missing | | link_del minor=0 slot=1
each-missing | | epoch minor=0
each-missing | | record minor=0 slot=2 generation=1 epoch=1
each-missing | | resize minor=2 size=16777216
each-missing | | replace minor=0 data_fd=rw:/dev/ram0
EINVAL | missing:generation | link_add minor=2 slot=0 sock_fd=tcp cookie=1 link_flags=2 epoch=1 history=1
EINVAL | missing:epoch | link_add minor=2 slot=0 sock_fd=tcp cookie=1 link_flags=2 generation=1 history=1
EINVAL | missing:history | link_add minor=2 slot=0 sock_fd=tcp cookie=1 link_flags=2 generation=1 epoch=1

each-length | | get minor=0
each-length | | attach minor=9 name=v9 data_fd=rw:/dev/ram0 key=9 meta_fd=rw:/dev/ram2 meta_end=1048576 on_peer_loss=0
each-length | | detach minor=0 flags=0
each-length | | role minor=0 role=1 flags=0
each-length | | freeze minor=0 gate=4 deadline_ms=1000
each-length | | thaw minor=0 gate=4
each-length | | slot_set minor=0 slot=3 kind=1 key=9 copy_id=1
each-length | | follow minor=1 slot=0 uuid=1 staged=1
each-length | | mark minor=0 slot_mask=4 extents=0+1
each-length | | cut minor=0 slot=2 cut_flags=2 hold_ms=100
each-length | | link_add minor=0 slot=2 sock_fd=tcp cookie=1 link_flags=0 timeout_ms=500 stuck_ms=500
each-length | | link_add minor=2 slot=0 sock_fd=tcp cookie=1 link_flags=2 generation=1 epoch=1 history=1
each-length | | link_del minor=0 slot=1
each-length | | epoch minor=0
each-length | | record minor=0 slot=2 generation=1 epoch=1
each-length | | resize minor=2 size=16777216
each-length | | replace minor=0 data_fd=rw:/dev/ram0 meta_fd=rw:/dev/ram2 meta_end=1048576 rate=1048576

EINVAL | | attach minor=9 name~0*00 data_fd=rw:/dev/ram0 key=9
EINVAL | | attach minor=9 name~3*41 data_fd=rw:/dev/ram0 key=9
ERANGE/EINVAL | | attach minor=9 name~64*41 data_fd=rw:/dev/ram0 key=9
EINVAL | whole number | mark minor=0 slot_mask=4 extents~15*00
EINVAL | whole number | mark minor=0 slot_mask=4 extents~17*00
ERANGE/EINVAL | | mark minor=0 slot_mask=4 extents~16400*00
EINVAL | whole number | link_add minor=2 slot=0 sock_fd=tcp cookie=1 link_flags=2 generation=1 epoch=1 history~15*01
EINVAL | whole number | record minor=2 slot=0 generation=1 epoch=1 history~15*01
ERANGE/EINVAL | | link_add minor=2 slot=0 sock_fd=tcp cookie=1 link_flags=2 generation=1 epoch=1 history~272*01

# Those that answers have are none of a command's, and those that nobody has are nobody's.
EINVAL | | get minor=0 openers=1
EINVAL | | role minor=0 role=1 openers=1
EINVAL | | role minor=0 role=1 #0~4*00
EINVAL | | detach minor=0 #1~0*00
EINVAL | | detach minor=0 #23~4*00
EINVAL | | detach minor=0 #44~4*00
EINVAL | | detach minor=0 #1000~4*00
EINVAL | | detach minor=0 #32770~4*00
EOPNOTSUPP | - | none minor=0
EOPNOTSUPP | - | event minor=0
EOPNOTSUPP | - | after_last minor=0
EOPNOTSUPP | - | 255 minor=0
EOF

# --- values -------------------------------------------------------------------------------------------------------

cases <<'EOF'
ERANGE | | get minor=1024
ERANGE | | attach minor=1024 name=v9 data_fd=rw:/dev/ram0 key=9
ERANGE | | detach minor=4294967295
ERANGE | | attach minor=9 name=v9 data_fd=rw:/dev/ram0 key=9 on_peer_loss=3
ERANGE | | role minor=0 role=0
ERANGE | | role minor=0 role=3
EINVAL | | role minor=0 role=1 flags=8
EINVAL | | role minor=0 role=1 flags=0x80000000
EINVAL | | detach minor=0 flags=8
EINVAL | | freeze minor=0 gate=16 deadline_ms=1000
EINVAL | | freeze minor=0 gate=0x80000000 deadline_ms=1000
EINVAL | exactly one reason | freeze minor=0 gate=0 deadline_ms=1000
EINVAL | exactly one reason | freeze minor=0 gate=5 deadline_ms=1000
EINVAL | exactly one reason | freeze minor=0 gate=2 deadline_ms=1000
ERANGE | | freeze minor=0 gate=4 deadline_ms=0
ERANGE | | freeze minor=0 gate=4 deadline_ms=60001
EINVAL | exactly one reason | thaw minor=0 gate=0
EINVAL | exactly one reason | thaw minor=0 gate=6
EINVAL | | thaw minor=0 gate=16
ERANGE | | slot_set minor=0 slot=3 kind=3 key=9
ERANGE | | slot_set minor=0 slot=16 kind=1 key=9
ERANGE | | cut minor=0 slot=255 cut_flags=1
EINVAL | | mark minor=0 slot_mask=0x10000 extents=0+1
EINVAL | | cut minor=0 slot=2 cut_flags=4
ERANGE | | cut minor=0 slot=2 cut_flags=2 hold_ms=0
ERANGE | | cut minor=0 slot=2 cut_flags=2 hold_ms=60001
EINVAL | | link_add minor=0 slot=2 sock_fd=tcp cookie=1 link_flags=8
ERANGE | | link_add minor=0 slot=2 sock_fd=tcp cookie=1 link_flags=0 timeout_ms=499
ERANGE | | link_add minor=0 slot=2 sock_fd=tcp cookie=1 link_flags=0 timeout_ms=600001
ERANGE | | link_add minor=0 slot=2 sock_fd=tcp cookie=1 link_flags=0 stuck_ms=0

ENODEV | no volume with this minor | get minor=9
ENODEV | no volume with this minor | detach minor=9
ENODEV | no volume with this minor | role minor=9 role=1
ENODEV | no volume with this minor | freeze minor=9 gate=4 deadline_ms=1000
ENODEV | no volume with this minor | thaw minor=9 gate=4
ENODEV | no volume with this minor | thaw minor=9 gate=2
ENODEV | no volume with this minor | slot_set minor=9 slot=0 kind=1 key=9
ENODEV | no volume with this minor | follow minor=9 slot=0 uuid=1
ENODEV | no volume with this minor | mark minor=9 slot_mask=1 extents=0+1
ENODEV | no volume with this minor | cut minor=9 slot=0 cut_flags=1
ENODEV | no volume with this minor | link_add minor=9 slot=0 sock_fd=tcp cookie=1 link_flags=0
ENODEV | no volume with this minor | link_del minor=9 slot=0
ENODEV | no volume of this name | get name=v9
ENODEV/EINVAL | | get
EINVAL | fewer slots | slot_set minor=0 slot=8 kind=1 key=9
EINVAL | fewer slots | follow minor=1 slot=15 uuid=1
EINVAL | fewer slots | cut minor=0 slot=8 cut_flags=1
EINVAL | fewer slots | link_add minor=0 slot=8 sock_fd=tcp cookie=1 link_flags=0
EINVAL | fewer slots | link_del minor=0 slot=8
EOF

# --- descriptors --------------------------------------------------------------------------------------------------

touch /tmp/file
cases <<'EOF'
EBADF | data descriptor is not open | attach minor=9 name=v9 data_fd=-1 key=9
EBADF | data descriptor is not open | attach minor=9 name=v9 data_fd=1000 key=9
EBADF | data descriptor is not open | attach minor=9 name=v9 data_fd=path:/dev/ram0 key=9
ENOTBLK | no block device | attach minor=9 name=v9 data_fd=rw:/tmp/file key=9
ENOTBLK | no block device | attach minor=9 name=v9 data_fd=ro:/tmp key=9
ENOTBLK | no block device | attach minor=9 name=v9 data_fd=rw:/dev/null key=9
ENOTBLK | no block device | attach minor=9 name=v9 data_fd=tcp key=9
ENOTBLK | no block device | attach minor=9 name=v9 data_fd=pipe key=9
ENOTBLK | no block device | attach minor=9 name=v9 data_fd=epoll key=9
EACCES | reading and writing | attach minor=9 name=v9 data_fd=ro:/dev/ram0 key=9
EACCES | reading and writing | attach minor=9 name=v9 data_fd=wo:/dev/ram0 key=9
EROFS/EACCES | read-only | attach minor=9 name=v9 data_fd=rw:/dev/ram3 key=9
ENOTBLK | metadata descriptor is no block device | attach minor=9 name=v9 data_fd=rw:/dev/ram0 key=9 meta_fd=rw:/tmp/file
EACCES | metadata device must be opened | attach minor=9 name=v9 data_fd=rw:/dev/ram0 key=9 meta_fd=ro:/dev/ram2

ENOTSOCK | no socket | link_add minor=0 slot=2 sock_fd=rw:/dev/ram0 cookie=1 link_flags=0
ENOTSOCK | no socket | link_add minor=0 slot=2 sock_fd=rw:/tmp/file cookie=1 link_flags=0
ENOTSOCK | no socket | link_add minor=0 slot=2 sock_fd=pipe cookie=1 link_flags=0
EBADF | | link_add minor=0 slot=2 sock_fd=-1 cookie=1 link_flags=0
EPROTOTYPE | no TCP socket | link_add minor=0 slot=2 sock_fd=udp cookie=1 link_flags=0
EPROTOTYPE | no TCP socket | link_add minor=0 slot=2 sock_fd=unix cookie=1 link_flags=0
EPROTOTYPE | no TCP socket | link_add minor=0 slot=2 sock_fd=netlink cookie=1 link_flags=0
ENOTCONN | not connected | link_add minor=0 slot=2 sock_fd=tcp-idle cookie=1 link_flags=0
ENOTCONN | not connected | link_add minor=0 slot=2 sock_fd=tcp-listen cookie=1 link_flags=0
ENOTCONN | not connected | link_add minor=0 slot=2 sock_fd=tcp-half cookie=1 link_flags=0
ENOTCONN | not connected | link_add minor=0 slot=2 sock_fd=tcp-shut cookie=1 link_flags=0
EXDEV | another network namespace | link_add minor=0 slot=2 sock_fd=netns:/run/netns/other cookie=1 link_flags=0
EPROTO | no TLS keys in both directions | link_add minor=0 slot=2 sock_fd=tcp cookie=1 link_flags=1
EPROTO | no TLS keys in both directions | link_add minor=0 slot=2 sock_fd=tls-bare cookie=1 link_flags=1
EPROTO | no TLS keys in both directions | link_add minor=0 slot=2 sock_fd=tls-tx cookie=1 link_flags=1
EPROTO | no TLS keys in both directions | link_add minor=0 slot=2 sock_fd=tls-rx cookie=1 link_flags=1
EPROTO | announced without | link_add minor=0 slot=2 sock_fd=tls cookie=1 link_flags=0
EPROTO | announced without | link_add minor=0 slot=2 sock_fd=tls-bare cookie=1 link_flags=0
EOF

# --- attach -------------------------------------------------------------------------------------------------------

cases <<'EOF'
EEXIST | minor 0 is taken | attach minor=0 name=v9 data_fd=rw:/dev/ram0 key=9
EEXIST | v0 is up already | attach minor=9 name=v0 data_fd=rw:/dev/ram0 key=9
EBUSY | in use | attach minor=9 name=v9 data_fd=rw:/dev/ram1 key=9
EBUSY | in use | attach minor=9 name=v9 data_fd=rw:/dev/vda key=9
EBUSY | in use | attach minor=9 name=v9 data_fd=rw:/dev/ram0 key=9 meta_fd=rw:/dev/ram1
EINVAL | no superblock | attach minor=9 name=v9 data_fd=rw:/dev/ram2 key=9
EINVAL | no superblock | attach minor=9 name=v9 data_fd=rw:/dev/ram0 key=9 meta_fd=rw:/dev/ram2
EINVAL | cannot hold the data and be | attach minor=9 name=v9 data_fd=rw:/dev/ram0 key=9 meta_fd=rw:/dev/ram0
EINVAL | holds volume 'v9' | attach minor=9 name=v8 data_fd=rw:/dev/ram0 key=9
EINVAL | holds volume 'v9' | attach minor=9 name=v99 data_fd=rw:/dev/ram0 key=9
EINVAL | can end at | attach minor=9 name=v9 data_fd=rw:/dev/ram0 key=9 meta_end=4097
EINVAL | can end at | attach minor=9 name=v9 data_fd=rw:/dev/ram0 key=9 meta_end=16781312
EINVAL | can end at | attach minor=9 name=v9 data_fd=rw:/dev/ram0 key=9 meta_end=0xfffffffffffff000
ENOSPC/EINVAL | | attach minor=9 name=v9 data_fd=rw:/dev/ram0 key=9 meta_end=0
ENOSPC/EINVAL | | attach minor=9 name=v9 data_fd=rw:/dev/ram0 key=9 meta_end=4096
EINVAL | no superblock | attach minor=9 name=v9 data_fd=rw:/dev/ram0 key=9 meta_end=8388608
EOF
ok "what was refused is not held: its device can be attached" knode attach 9 v9 /dev/ram0
cases <<'EOF'
EEXIST | is up already | attach minor=10 name=v9 data_fd=rw:/dev/ram0 key=9
EBUSY | in use | attach minor=10 name=v10 data_fd=rw:/dev/ram0 key=9
EOF
ok "down again" knode detach 9

# --- roles, gates, slots, cuts ------------------------------------------------------------------------------------

exec 7>/dev/repl0
cases <<'EOF'
EBUSY | is open (1 openers) | role minor=0 role=1
EBUSY | is open (1 openers) | detach minor=0
EOF
exec 7>&-
cases <<'EOF'
= | | role minor=0 role=2
= | | role minor=0 role=2 flags=3
= | | role minor=1 role=1
ENODATA | not consistent | role minor=2 role=2
ENODATA | not consistent | role minor=2 role=2 flags=2
EISCONN | has a live link | role minor=1 role=2 flags=4
~ECONNABORTED | refused | role minor=1 role=2
EBUSY | is primary here | follow minor=0 slot=2 uuid=1
EBUSY | has a live link | follow minor=1 slot=0 uuid=1
ENOENT | no peer's | follow minor=2 slot=5 uuid=1

ENOENT | not frozen for 'administrator' | thaw minor=0 gate=4
ENOENT | not frozen for 'join' | thaw minor=0 gate=1
ENOENT | not frozen for a lost peer | thaw minor=0 gate=2
0 | | freeze minor=0 gate=4 deadline_ms=60000
EALREADY | frozen already, reason 'administrator' | freeze minor=0 gate=4 deadline_ms=60000
ENOENT | not frozen for 'snapshot' | thaw minor=0 gate=8
0 | | thaw minor=0 gate=4
ENOENT | or no longer | thaw minor=0 gate=4

EBUSY | has a link | slot_set minor=0 slot=1 kind=1 key=9
EBUSY | has a link | slot_set minor=0 slot=1 kind=0 key=2
EBUSY | has a link | slot_set minor=0 slot=1 kind=1 key=2 copy_id=9
EEXIST | another slot | slot_set minor=0 slot=3 kind=1 key=2
= | | slot_set minor=0 slot=1 kind=1 key=2
= | | slot_set minor=0 slot=3 kind=0 key=9
EEXIST | is a peer's | slot_set minor=0 slot=2 kind=2 key=7
0 | | slot_set minor=0 slot=3 kind=2 key=7 copy_id=7
= | | slot_set minor=0 slot=3 kind=2 key=7
EEXIST | is a mark's | slot_set minor=0 slot=3 kind=1 key=9
EEXIST | another mark's | slot_set minor=0 slot=3 kind=2 key=8
EEXIST | another mark's | slot_set minor=0 slot=3 kind=2 key=8 copy_id=9
EEXIST | another mark's | slot_set minor=0 slot=3 kind=2 key=7 copy_id=9
EEXIST | of that name | slot_set minor=0 slot=4 kind=2 key=7
ENOENT | not that mark's | slot_set minor=0 slot=3 kind=0 key=8
0 | | slot_set minor=0 slot=3 kind=2 key=8 copy_id=7
0 | | slot_set minor=0 slot=4 kind=2 key=6 copy_id=6
0 | | cut>c minor=0 slot=3 cut_flags=1
EBUSY | slot 3 has a cut | slot_set minor=0 slot=4 kind=2 key=8 copy_id=6
0 | | close c
0 | | slot_set minor=0 slot=4 kind=2 key=8 copy_id=6
= | | slot_set minor=0 slot=3 kind=0 key=8
0 | | slot_set minor=0 slot=4 kind=0 key=8
EBUSY | is live | mark minor=0 slot_mask=2 extents=0+1
EBUSY | is live | mark minor=0 slot_mask=0xffff extents=0+1
EBUSY | is live | mark minor=1 slot_mask=1 extents=0+1

ENOENT | slot 3 is free | cut minor=0 slot=3 cut_flags=1
EBUSY | slot 1 has a link | cut minor=0 slot=1 cut_flags=1
EINVAL | either frozen or unfrozen | cut minor=0 slot=2 cut_flags=0
EINVAL | either frozen or unfrozen | cut minor=0 slot=2 cut_flags=3
0 | | cut>c minor=0 slot=2 cut_flags=1
EBUSY | has an open cut | cut minor=0 slot=2 cut_flags=1
EBUSY | a link or a cut | slot_set minor=0 slot=2 kind=0 key=3
EBUSY | blocks behind | link_add minor=0 slot=2 sock_fd=tcp cookie=1 link_flags=0
EINVAL | | read c 15
EINVAL | | read c 0
ENOTTY | | ioctl c
EBADF/EINVAL | | write c
0 | | read c 16
0 | | abort c
EINVAL | | commit c
EINVAL | | abort c
0 | | read c 16
0 | | close c
0 | | cut>c minor=0 slot=2 cut_flags=1
0 | | release c whole
EFAULT | | release c
0 | | valid c
0 | | commit c
EINVAL | | valid c
0 | | close c
0 | | cut>c minor=0 slot=2 cut_flags=2
EBUSY | has an open cut | cut minor=0 slot=2 cut_flags=2
EBUSY | a link or a cut | slot_set minor=0 slot=2 kind=0 key=3
EFAULT | | release c
0 | | release c whole
0 | | valid c
0 | | abort c
EINVAL | | valid c
0 | | release c whole
0 | | close c
0 | | mark minor=0 slot_mask=4 extents=0+1
0 | | cut>c minor=0 slot=2 cut_flags=2
0 | | mark minor=0 slot_mask=4 extents=1+1
0 | | valid c
0 | | mark minor=0 slot_mask=4 extents=0+1
ETIMEDOUT | | valid c
ETIMEDOUT | | commit c
0 | | close c
0 | | cut>c minor=0 slot=2 cut_flags=2 hold_ms=60000
0 | | commit c
EINVAL | | commit c
EINVAL | | abort c
0 | | close c

# Slot 2 of volume 0 is clean now: a link could be adopted, but for what is wrong.
EAGAIN/EBUSY | writes go on | link_add minor=0 slot=2 sock_fd=tcp cookie=1 link_flags=0
0 | | freeze minor=0 gate=1 deadline_ms=60000
EBUSY | cannot follow | link_add minor=0 slot=2 sock_fd=tcp cookie=1 link_flags=2 generation=1 epoch=1 history=1
EBUSY | slot 1 has a link | link_add minor=0 slot=1 sock_fd=tcp cookie=1 link_flags=0
ENOENT/EBUSY | no peer's | link_add minor=0 slot=3 sock_fd=tcp cookie=1 link_flags=0
EINVAL | in no generation | record minor=0 slot=2 generation=0 epoch=1
EBUSY | is primary here | record minor=0 slot=2 generation=1 epoch=1 history=1
EBUSY | has a link | record minor=0 slot=1 generation=1 epoch=1
ENOENT | no peer's | record minor=0 slot=3 generation=1 epoch=1
EBUSY | has a live link | record minor=1 slot=0 generation=1 epoch=1 history=1
0 | | thaw minor=0 gate=1
EAGAIN | writes go on | epoch minor=0
EINVAL | is not primary | epoch minor=1
0 | | mark minor=0 slot_mask=0xfffc extents=0+1
EBUSY | 1 blocks behind | link_add minor=0 slot=2 sock_fd=tcp cookie=1 link_flags=0
= | | link_del minor=0 slot=2
= | | link_del minor=0 slot=3
EOF

# What would make a superblock that fsck.repl calls damaged.
cases <<'EOF'
0 | | cut>c minor=2 slot=0 cut_flags=1
0 | | commit c
0 | | close c
0 | | mark minor=2 slot_mask=1 extents=0+1
EOF

# --- who may ------------------------------------------------------------------------------------------------------

everything() { # ERRNO WORDS : each command that changes something, as it would be right
	sed "s/^/$1 | $2 | /" <<-'EOF'
		attach minor=9 name=v9 data_fd=0 key=9
		detach minor=2
		role minor=2 role=2 flags=1
		freeze minor=0 gate=4 deadline_ms=100
		thaw minor=0 gate=4
		slot_set minor=2 slot=3 kind=1 key=9
		follow minor=2 slot=0 uuid=1
		mark minor=2 slot_mask=1 extents=0+1
		cut minor=2 slot=0 cut_flags=1
		link_add minor=2 slot=0 sock_fd=tcp-idle cookie=1 link_flags=0
		link_del minor=0 slot=1
		epoch minor=0
		record minor=0 slot=2 generation=1 epoch=1
		resize minor=2 size=16777216
		replace minor=0 data_fd=0
	EOF
}
nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
WHO="an unprivileged user: " cases "${nobody[@]}" < <(everything EPERM -; echo '= | | get minor=0')
WHO="a user who is root in a user namespace only: " cases "${nobody[@]}" unshare -Ur < <(everything EPERM -)
WHO="root of a user and network namespace only: " cases "${nobody[@]}" unshare -Urn < <(everything EPERM -)
IN=(--in /run/netns/other)
WHO="root of another network namespace: " cases < <(
	everything ENODEV "no volume with this minor" | grep -v data_fd
	echo 'ENODEV | no volume with this minor | replace minor=0 data_fd=rw:/dev/ram0'
	echo 'ENODEV | no volume | get minor=0'
	echo 'ENODEV | no volume | get name=v0'
	echo "EEXIST | of another namespace | attach minor=0 name=v0 data_fd=rw:/dev/ram0 key=9"
	echo "EBUSY | in use | attach minor=9 name=v0 data_fd=rw:/dev/vda key=9"
)
IN=()
volumes() { "$@" repl-ctl status --json | jq '.volumes | length'; }
is "$(volumes in_node other)" 0 "it sees none of the volumes"
is "$(volumes)" 3 "the first namespace sees all three"
ok "a volume of the other namespace" in_node other knode attach 9 v9 /dev/ram0
cases <<'EOF'
= | | get minor=9
ENODEV | no volume with this minor | role minor=9 role=2 flags=1
ENODEV | no volume with this minor | slot_set minor=9 slot=0 kind=1 key=1
ENODEV | no volume with this minor | freeze minor=9 gate=4 deadline_ms=100
0 | | detach minor=9
EOF

# --- nothing has happened -----------------------------------------------------------------------------------------

is "$(knode_get 0 slot1.link)" 1 "after all that the link is live"
is "$(data_sha /dev/vda "$(knode_get 0 size)")" "$sha0" "no byte has changed"
ok "writes go on" pattern_put /dev/repl0 after $((1 << 20))
ok "and arrive" knode_equal 0 1
umount /mnt/used
ok "down" knode_down
done_testing
