#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=512 timeout=300 disks=64M,64M,64M once=6.12
#
# A volume grows into a larger device: what is refused, what fails, and a power cut before each of its writes.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

OLD=$((8 << 20)) NEW=$((16 << 20))
klog_allow 'Buffer I/O error|I/O error, dev|lost async page write'

table() { echo "0 $(($1 >> 9)) ${2:-linear} /dev/vda ${3:-0}"; } # BYTES [TARGET ARGS]
attach() { run_quiet knode attach 0 v0 "${2:-/dev/mapper/first}" "end=$1"; } # META_END [DEVICE]
dirty_at() { knode cut 0 1 list | awk -v b="$1" '$1 <= b && b < $1 + $2 { found = 1 } END { exit !found }'; }
refused() { # WORDS BYTES
	not_ok "refused: $1" eval "knode resize 0 $2 2>/tmp/words"
	like "$(cat /tmp/words)" "$1" "in words"
}

modprobe repl
dm_create first "$(table $OLD)"
run_quiet mkfs.repl --name v0 /dev/mapper/first
attach $OLD
knode slot 0 1 2
knode settle 0 1
size=$(knode_get 0 size)

diag "what is refused"
is "$(knode_get 0 room)" "$size" "there is no room"
refused "it can grow" $((size - 4096))
refused "whole blocks" $((size + 512))
refused "too few for .* grow it first" $((OLD + (1 << 20)))
is "$(knode_get 0 size)" "$size" "nothing has changed"
ok "the same size is nothing to do" knode resize 0 "$size"
dm_reload first "$(table $((OLD + 16384)))"
is "$(knode_get 0 room)" "$size" "a few blocks more are too few: the new metadata would lie over the old"
refused "must grow by [0-9]+ bytes more" $((size + 16384))

diag "a device that fails where the new superblock would be"
run_quiet knode primary 0 force
dm_reload first "$(table $((NEW - 4096)))
$(((NEW - 4096) >> 9)) 8 error"
room=$(knode_get 0 room)
ok "there is room now" [ "$room" -gt $((NEW - (1 << 20))) ]
refused "cannot be written" "$room"
is "$(knode_get 0 size)" "$size" "it has its old size"
is "$(blockdev --getsize64 /dev/repl0)" "$size" "so has the disk"
ok "it works" run_quiet dd if=/dev/urandom of=/dev/repl0 bs=4k count=3 seek=100 oflag=direct
ok "down" knode detach 0
ok "up" attach $OLD

diag "growing, every write logged"
ok "down" knode detach 0
dm_reload first "$(table $NEW)"
dd if=/dev/vda of=/dev/vdb bs=1M count=$((NEW >> 20)) iflag=direct oflag=direct conv=fsync status=none
modprobe dm-log-writes
dm_create logged "0 $((NEW >> 9)) log-writes /dev/mapper/first /dev/vdc"
entries() { sync /dev/mapper/logged && dmsetup status logged | awk '{ print $4 }'; }
attach $OLD /dev/mapper/logged
run_quiet knode primary 0 force
pattern_put /dev/repl0 before $((64 << 10)) $((1 << 20))
begin=$(entries)
exec 7<>/dev/repl0
ok "it grows while it is open" knode resize 0 "$room"
is "$(knode_get 0 size)" "$room" "to the size that was asked for"
is "$(blockdev --getsize64 /dev/repl0)" "$room" "so does the disk"
is "$(cat /sys/block/repl0/queue/stable_writes)" 1 "which still wants stable pages"
exec 7>&-
ok "the new blocks are dirty, and the one that was written" eval "dirty_at $((room / 4096 - 1)) && dirty_at $((size / 4096)) && dirty_at 256"
not_ok "not all others are" dirty_at 1000
end=$(entries)
ok "fsck finds nothing" run_quiet fsck.repl /dev/mapper/logged
ok "the new blocks take writes, the old metadata's place, too" eval \
	"pattern_put /dev/repl0 after $((64 << 10)) $((OLD - (64 << 10))) && pattern_put /dev/repl0 last 65536 $((room - 65536))"
is "$(data_sha /dev/mapper/first 65536 $((OLD - (64 << 10))))" "$(pattern_sha after 65536)" "and they lie where they belong"
ok "down" knode detach 0
ok "up" attach $NEW /dev/mapper/logged
is "$(knode_get 0 size)" "$room" "it is as large"
not_ok "after an orderly stop not all is dirty" dirty_at 1000
ok "down" knode detach 0
dm_remove logged
dm_remove first

diag "a power cut before each of its writes ($begin to $end)"
bad="" smaller=0 larger=0
check_cut() { # how it stands after a cut
	local at=$OLD got
	fsck.repl --json /dev/mapper/third >/tmp/fsck.json 2>/dev/null || true
	if [ "$(jq -r .volume.name /tmp/fsck.json)" = v0 ]; then at=$NEW; fi
	attach $at /dev/mapper/third || return 1
	got=$(knode_get 0 size)
	case $got in
	"$size") smaller=$((smaller + 1)) ;;
	"$room") larger=$((larger + 1)) && dirty_at $((room / 4096 - 1)) && dirty_at $((size / 4096)) || return 1 ;;
	*) return 1 ;;
	esac
	dirty_at 256 || return 1
	[ "$(data_sha /dev/mapper/third 65536 $((1 << 20)))" = "$before" ] || return 1
	knode primary 0 force && knode resize 0 "$room" && knode detach 0 && fsck.repl /dev/mapper/third >/dev/null
}
before=$(pattern_sha before 65536)
dm_create third "0 $((NEW >> 9)) linear /dev/vda $((32 << 11))"
for ((n = begin; n <= end; n++)); do
	dd if=/dev/vdb of=/dev/mapper/third bs=1M count=$((NEW >> 20)) iflag=direct oflag=direct status=none
	logreplay /dev/vdc /dev/mapper/third "$n"
	check_cut >/tmp/cut.log 2>&1 || {
		bad+=" $n"
		sed 's/^/# /' /tmp/cut.log
		knode detach 0 force || true
	}
done
is "$bad" "" "after each cut it is the old volume or the new one, with all that was written, and grows again"
ok "there were $smaller cuts before and $larger after" [ "$smaller" -gt 3 -a "$larger" -gt 3 ]
dm_remove third
done_testing
