#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=512 timeout=1200 disks=5M,5M
#
# A peer that is damaged, or means harm, and speaks to the module over an adopted link: it must lose the link, in words,
# and nothing else may happen: no byte changes, the primary goes on, the slot can be joined again. See the head of
# tests/vm/prog/badpeer.c for what the peer says.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/knode.sh
. "$(dirname "$0")/../knode.sh"
# shellcheck source=tests/vm/hostile.sh
. "$(dirname "$0")/../hostile.sh"

# What is below the peer's writes can be made slow.
dm_delay slow /dev/vdb 0 0 0
slow() { dm_reload slow "$(dm_delay_table /dev/vdb 0 "$1" "$2")"; } # WRITE_MS FLUSH_MS
modprobe tls
modprobe repl
brd_load 2 4
ok "a link beside all this" lasting_link /dev/ram0 /dev/ram1
knode_up /dev/vda /dev/mapper/slow
ok "a pair" knode_pair
pattern_put /dev/repl0 start $((2 << 20))
ok "whose other half is played from now on" knode leave 0 1
wait_for 20 "the gate opens" knode_is 0 gate 0
size=$(knode_get 0 size)

# Volume 0 is primary, and its peer in slot 1; volume 1 is secondary, and its peer in slot 0.
use() { # primary|secondary
	side=$1
	if [ "$1" = primary ]; then minor=0 slot=1 dev=/dev/vda; else minor=1 slot=0 dev=/dev/mapper/slow; fi
}
# All but the first 256 blocks, into which the primary is written meanwhile.
sha() { data_sha "$dev" $((size - (1 << 20))) $((1 << 20)); }

goes_on() { # WHAT : a primary, without its peer
	[ "$side" = primary ] || return 0
	ok "$side: $1: writes go on" dd if=/dev/urandom of=/dev/repl0 bs=4k count=1 oflag=direct,dsync conv=notrunc \
		seek=$((RANDOM % 128)) status=none
}
bad() { # WHAT WORDS STEP... : the link ends with these words; "seen" is what the peer saw
	local what=$1 words=$2
	shift 2
	seen=$(badpeer "$minor" "$slot" "$@" 2>&1) || fail "$side: $what: the peer could do it" "$seen"
	like "$seen" "reason: .*($words)" "$side: $what: the link has ended, for that reason"
	goes_on "$what"
}
good() { # WHAT SEEN STEP... : the link lives until the peer ends it
	local what=$1 expected=$2
	shift 2
	bad "$what" 'the peer has closed the link' "$@" 'send flush tag=999' 'answered 999' 'send close' closed
	like "${seen//$'\n'/ }" "^${expected:+$expected }answered: 0 closed" "$side: $what: it goes on"
}

write_when_live() { # ARG... : of dd; or when the peer has come and gone, so that this ends in any case
	until knode_is 0 slot1.link 1 || [ -e /tmp/played ]; do :; done
	exec dd "$@" of=/dev/repl0 oflag=direct conv=notrunc status=none
}
# A write that the peer has to answer, or to die over: it must end well.
bad_over_write() { # WHAT WORDS STEP...
	local rc=0 writer what=$1 sum
	dd if=/dev/urandom of=/tmp/piece bs=64k count=1 status=none
	sum=$(sha256sum </tmp/piece | cut -d' ' -f1)
	rm -f /tmp/played
	write_when_live if=/tmp/piece bs=64k seek=9 &
	writer=$!
	bad "$@"
	touch /tmp/played
	wait "$writer" || rc=$?
	is "$rc" 0 "$side: $what: the write ends well"
	is "$(data_sha "$dev" 65536 $((9 * 65536)))" "$sum" "$side: $what: and its bytes are here"
}

# --- frames that are none -----------------------------------------------------------------------------------------

M=1048576
frames() {
	local type
	bad "another magic" 'no frame' 'send beat magic=0x4c504553' closed
	bad "zeroes" 'no frame' 'bytes 4000 0' closed
	bad "text" 'no frame' 'bytes 40 0x47' closed
	bad "a damaged header" 'a damaged header' 'send beat hcrc=1' closed
	bad "a damaged header of a write" 'a damaged header' 'send write hcrc=0x80000000' closed
	bad "another cookie" 'a frame of another link' 'send beat cookie=78' closed
	bad "the cookie of a write with high bits" 'a frame of another link' 'send write cookie=0x10000004d' closed
	for type in 0 11 255; do
		bad "type $type" 'an unknown type' "send $type" closed
	done
	for type in write zeroes flush generation beat close settled; do
		bad "a status in $type" 'a status out of bounds' "send $type status=1" closed
	done
	bad "an answer with an unknown status" 'a status out of bounds' 'send answer status=5' closed
	for type in write zeroes; do
		bad "$type beyond the end" 'beyond the end' "send $type off=$size" closed
		bad "$type over the end" 'beyond the end' "send $type off=$((size - 4096)) len=8192" closed
		bad "$type at the end of 2^64" 'beyond the end' "send $type off=0xfffffffffffff000" closed
		bad "$type of nothing" 'a length out of bounds' "send $type len=0" closed
		bad "$type of 4 GiB" 'a length out of bounds' "send $type len=0xfffff000" closed
		bad "$type at half a block" 'no whole number of blocks' "send $type off=2048" closed
		bad "$type of half a block" 'no whole number of blocks' "send $type len=2048" closed
	done
	bad "a write that is too long" 'a length out of bounds' "send write len=$((M + 4096))" closed
	bad "zeroes that are too long" 'a length out of bounds' "send zeroes len=$((16 * M + 4096))" closed
	bad "a generation that is too long" 'a generation of the wrong length' 'send generation len=41' closed
	bad "a generation that is too short" 'a generation of the wrong length' 'send generation len=0' closed
	bad "a generation somewhere" 'a generation of the wrong length' 'send generation off=4096' closed
	bad "a settlement that is too long" 'a settlement of the wrong length' 'send settled len=81' closed
	bad "a settlement that is too short" 'a settlement of the wrong length' 'send settled len=0' closed
	bad "a settlement somewhere" 'a settlement of the wrong length' 'send settled off=4096' closed
	for type in flush beat answer close; do
		bad "$type with a length" 'a range where none belongs' "send $type len=4096" closed
		bad "$type with an offset" 'a range where none belongs' "send $type off=4096" closed
	done
	bad "a write with a flag of zeroes" 'flags that do not belong' 'send write flags=4' closed
	bad "zeroes with a flag of writes" 'flags that do not belong' 'send zeroes flags=8' closed
	bad "an unknown flag" 'flags that do not belong' 'send write flags=0x8008' closed
	bad "a flush with FUA" 'flags that do not belong' 'send flush flags=1' closed
	bad "a generation with FUA" 'flags that do not belong' 'send generation flags=9' closed
	bad "a settlement with FUA" 'flags that do not belong' 'send settled flags=9' closed
	bad "a beat with a flag" 'flags that do not belong' 'send beat flags=16' closed
}

# --- frames in the wrong place, and ends --------------------------------------------------------------------------

order() {
	local status
	bad "an answer to nothing" 'answered a request that was not made' 'send answer tag=5' closed
	for status in 1 2 3 4; do
		bad "an answer to nothing, status $status" '.' "send answer tag=5 status=$status" closed
	done
	bad "the end in the middle of a header" 'closed by the peer' 'bytes 20 0x52' shut closed
	bad "the end in the middle of a payload" 'closed by the peer|is primary' 'send write len=65536 payload=30000' shut closed
	bad "a payload that never comes" 'no byte from the peer for 500 ms' timeout=500 'send write len=65536 payload=30000' closed
	bad "half a header, then silence" 'no byte from the peer for 500 ms' timeout=500 'bytes 39 0x52' closed
	bad "silence" 'no byte from the peer for 500 ms' timeout=500 closed
	bad "a reset" 'receiving failed, error -104|sending failed, error -(104|32)' 'send beat' reset
	bad "the end at once" 'closed by the peer' shut closed
	bad "an orderly end" 'the peer has closed the link' 'send close' closed
	bad "a good write behind a bad frame" 'no frame' 'bytes 40 1' 'send write' closed
	bad "a good write behind the end" 'the peer has closed the link' 'send close' 'send write' closed
	good "frames again, after all that" '' 'send beat'
}

encrypted() {
	bad "bytes that are no TLS" 'receiving failed' tls-raw 'bytes 4000 0' closed
	bad "frames without the encryption that was agreed" 'receiving failed' tls-raw 'send beat' closed
	bad "another key" 'receiving failed' tls-wrong 'send write' closed
	bad "an alert" 'receiving failed' tls 'record 21 2' closed
	bad "a handshake record" 'receiving failed' tls 'record 22 100' closed
	bad "well encrypted, but no frame" 'no frame' tls 'bytes 40 1' closed
	bad "the end of TLS without a word" 'closed by the peer' tls shut closed
	good "frames, well encrypted" '' tls 'send beat'
}

for side in secondary primary; do
	use "$side"
	before=$(sha)
	frames
	is "$(sha)" "$before" "$side: bad frames have changed no byte"
	order
	is "$(sha)" "$before" "$side: frames in the wrong place have changed no byte"
	encrypted
	is "$(sha)" "$before" "$side: nor have those over TLS"
done

# --- toward a secondary -------------------------------------------------------------------------------------------

use secondary
block() { data_sha "$dev" 4096 $((4096 * $1)); } # NUMBER
filled() { head -c 4096 /dev/zero | tr '\0' "\\$1" | sha256sum | cut -d' ' -f1; } # OCTAL
before=$(block 10)
good "a damaged payload is asked for again, as often as it comes" 'answered: 3 answered: 3 answered: 3' \
	'send write off=40960 pcrc=1' 'answered 1' 'send write off=40960 pcrc=1 tag=2' 'answered 2' \
	'send write off=40960 pcrc=0xffffffff tag=3' 'answered 3'
is "$(block 10)" "$before" "secondary: no damaged payload is written"
good "the right one is taken" 'answered: 3 answered: 0' \
	'send write off=40960 byte=65 pcrc=1' 'answered 1' 'send write off=40960 byte=65 tag=2' 'answered 2'
is "$(block 10)" "$(filled 101)" "secondary: and written"
before=$(block 12)
bad "a good write before a bad one" 'no frame' \
	'send write off=45056 byte=66' 'answered 1' 'send write off=49152 magic=1' closed
like "$seen" 'answered: 0' "secondary: a good write before a bad one is answered"
is "$(block 11)" "$(filled 102)" "secondary: a good write before a bad one is there"
is "$(block 12)" "$before" "secondary: the bad one is not"

generation=$(knode_get 1 generation)
good "a generation that follows another one is refused" 'answered: 4' 'send generation prev=7 gen=8' 'answered 1'
good "a generation without an id is refused" 'answered: 4' 'send generation prev=own gen=0' 'answered 1'
good "a damaged generation is asked for again" 'answered: 3' 'send generation prev=own gen=8 pcrc=2' 'answered 1'
is "$(knode_get 1 generation)" "$generation" "secondary: its generation is what it was"
good "a settlement is noted, of whatever generation" 'answered: 0' 'send settled' 'answered 1'
good "a damaged settlement is asked for again" 'answered: 3' 'send settled pcrc=2' 'answered 1'
slow 3000 3000
bad "two generations at once" 'before the last one was answered' \
	'busy 5' 'send generation prev=own gen=8' 'send generation prev=own gen=9 tag=2' closed
slow 0 0
is "$(knode_get 1 generation)" "$generation" "secondary: its generation is what it was"
good "a generation that follows its own is taken" 'answered: 0' 'send generation prev=own gen=8' 'answered 1'
is "$(knode_get 1 generation)" "$(printf '08%.0s' {1..16})" "secondary: and recorded"

slow 0 3000
bad "more requests than may be open" 'more requests than it may leave unanswered' 'flood flush 5000' closed
slow 0 0
bad "requests without end, and nobody who reads the answers" 'more requests than it may leave unanswered' \
	'flood flush 300000'

bad "reads, and nobody who takes what was read" 'taken nothing for 1500 ms' stuck=1500 'flood read 48' beats

# --- toward a primary ---------------------------------------------------------------------------------------------

use primary
before=$(sha)
bad "a write" 'has sent a write, but this node is primary' 'send write' closed
bad "zeroes" 'has sent a write, but this node is primary' 'send zeroes' closed
bad "a read" 'has sent a read, but this node is primary' 'send read len=4096 off=2097152' closed
bad "a damaged write" 'has sent a write, but this node is primary' 'send write pcrc=1' closed
is "$(sha)" "$before" "primary: nothing that a peer writes is written"
good "a generation is refused" 'answered: 4' 'send generation prev=own gen=8' 'answered 1'
isnt "$(knode_get 0 generation)" "$(printf '08%.0s' {1..16})" "primary: and not taken"
good "a settlement is refused" 'answered: 4' 'send settled' 'answered 1'

bad_over_write "an answer twice" 'answered a request that was not made' 'await write' 'answer 0' 'answer 0' closed
bad_over_write "an answer with another tag" 'answered a request that was not made' 'await write' 'answer 0 4096' closed
bad_over_write "a failed disk" 'backing device has failed' 'await write' 'answer 1' closed
bad_over_write "a full disk" 'is full' 'await write' 'answer 2' closed
cmp_ok "$(knode_get 0 slot1.dirty)" -ge 16 "primary: what the peer has not taken counts as dirty"
bad_over_write "a refusal" 'has refused' 'await write' 'answer 4' closed
before=$(knode_get 0 resends)
bad_over_write "every payload is damaged" 'damaged again and again' 'await write' 'answer 3' resend
like "$seen" '^resent: 0 answers, 8 requests' "primary: it was sent nine times"
is $(($(knode_get 0 resends) - before)) 8 "primary: and that is counted"
bad_over_write "beats, but no answer" 'unanswered for 1000 ms' stuck=1000 beats
bad_over_write "silence instead of an answer" 'no byte from the peer for 3000 ms' timeout=3000 'await write' closed

dd if=/dev/urandom of=/tmp/big bs=1M count=3 status=none
rm -f /tmp/played
write_when_live if=/tmp/big bs=1M &
writer=$!
bad "a peer that reads nothing" 'unanswered for 1500 ms' stuck=1500 beats
touch /tmp/played
ended=0; wait "$writer" || ended=$?
is "$ended" 0 "primary: a peer that reads nothing: large writes end well"
goes_on "a peer that reads nothing"

# --- at random ----------------------------------------------------------------------------------------------------

outside() { printf '%s ' "$(data_sha "$dev" $((2 << 20)))" "$(data_sha "$dev" $((size - (4 << 20))) $((4 << 20)))"; }
random() { # ROUNDS : links on which right and wrong frames come as they fall
	local before
	before=$(outside)
	relay "$side: at random: " wirefuzz "$minor" "$slot" "$1" "$dev"
	is "$(outside)" "$before" "$side: at random: nothing else has changed"
}
for side in secondary primary; do
	use "$side"
	random 150
done

# --- and after it -------------------------------------------------------------------------------------------------

ok "in the end both copies are joined again" eval 'knode_copy 0 1 && knode_join 0 1 crc'
ok "a write" pattern_put /dev/repl0 after $((1 << 20))
ok "arrives" knode_equal 0 1
is "$(knode_get 100 slot0.link)" 1 "the link beside all this lives"
ok "down" eval 'knode_down && lasting_link_down'
dm_remove slow
done_testing
