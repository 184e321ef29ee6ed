#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=512 timeout=240 disks=48M,48M with=fio
#
# A flush is answered only by the peer's own flush, a FUA write only when the peer has it on stable media.
# The peer's backing device has a write cache and takes long for each flush.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"

DELAY=2500
# The device below must have a write cache, or the delay never sees a flush.
is "$(cat /sys/block/vdb/queue/write_cache)" "write back" "the peer's disk has a write cache"
dm_delay slow /dev/vdb 0 0 0
knode_up /dev/vda /dev/mapper/slow
ok "joined" knode_pair
dm_reload slow "$(dm_delay_table /dev/vdb 0 0 $DELAY)"

took() { # COMMAND... : milliseconds
	local start
	start=$(now_ms)
	run_quiet "$@"
	echo $(($(now_ms) - start))
}
write() { dd if=/dev/urandom of=/dev/repl0 bs=4k count=1 seek="$1" oflag=direct conv=notrunc "${@:2}"; }

ms=$(took write 1)
ok "a plain write does not wait for the flush ($ms ms)" [ "$ms" -lt $DELAY ]
ms=$(took write 2 conv=notrunc,fdatasync)
ok "write and fdatasync wait for the peer's flush ($ms ms)" [ "$ms" -ge $DELAY ]
ms=$(took write 3 oflag=direct,dsync)
ok "a FUA write waits for the peer's stable media ($ms ms)" [ "$ms" -ge $DELAY ]
wait_for 20 "the periodic flush empties the set" knode_is 0 slot1.unflushed 0
run_quiet write 4
isnt "$(knode_get 0 slot1.unflushed)" 0 "an answered write is remembered as unflushed"
run_quiet knode leave 1 0
wait_for 10 "the link's end" knode_is 0 slot1.link 0
is "$(knode_get 0 slot1.dirty)" 256 "what was not flushed is dirty: one region of 1 MiB"
wait_for 10 "the gate opens again" knode_is 0 gate 0
ok "down" knode_down
dm_remove slow
done_testing
