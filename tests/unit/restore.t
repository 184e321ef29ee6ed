#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# repl-ctl restore on plain files. The streams come from an encoder of its own, written from docs/FORMAT.md.
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

gives() { # DESCRIPTION RC REGEX COMMAND...
	local what=$1 want=$2 words=$3
	shift 3
	run "$@"
	if [ "$rc" -eq "$want" ] && [[ $out =~ $words ]]; then
		pass "$what"
	else
		fail "$what" "exit code $rc: $out"
	fi
}

# KIND ID PARENT RECORD... of a volume of 2 MiB: d:BLOCK:EIGHT_CHARACTERS, a block of them; z:BLOCK:COUNT, zeros.
cat >encode.pl <<'PERL'
use strict;
use warnings;
use Digest::SHA qw(sha256);

my @table = map { my $c = $_; $c = $c & 1 ? $c >> 1 ^ 0x82f63b78 : $c >> 1 for 1 .. 8; $c } 0 .. 255;
sub crc { my $c = 0xffffffff; $c = $c >> 8 ^ $table[($c ^ $_) & 255] for unpack "C*", $_[0]; $c ^ 0xffffffff }

my ($kind, $name, $parent, @records) = @ARGV;
my $id = pack "C16", 1 .. 16;
sub header { pack "a8 V V Q< V V a16 a16 a16 a16 a16 Q< a16 a16 Q< Q< Q< C x7 a64 a64 x200", "REPLSTRM", 1, $_[0], 0, $kind, 1,
	$name, $parent eq "-" ? "" : $parent, $id, $id, $id, 3, $id, $id, 2, 2 << 20, 1700000000, 12, "spool", "mail2" }
my $crc = crc(header(0));
my $all = header($crc);
my ($sequence, $data, $zeros) = (0, 0, 0);
sub record { my ($type, $offset, $length, $payload) = @_;
	my $r = pack "V v v Q< Q< Q< V V V", 0x43525352, $type, 0, $sequence++, $offset, $length, $crc,
		defined $payload ? crc($payload) : 0, 0;
	$r . pack("V", crc($r)) . ($payload // "") }
for (@records) {
	my ($type, $block, $what) = split /:/;
	if ($type eq "d") { $all .= record(1, 4096 * $block, 4096, $what x 512); $data += 4096; }
	else { $all .= record(2, 4096 * $block, 4096 * $what); $zeros += 4096 * $what; }
}
my $end = pack("Q< Q< Q< Q<", scalar @records, $data, $zeros, 0) . sha256($all);
binmode STDOUT;
print $all . record(3, 0, length $end, $end);
PERL
perl encode.pl 2 split - d:1:abcdefgh z:5:4 d:300:01234567 >stream

block() { dd if="$1" bs=4096 skip="$2" count=1 status=none | sha256sum | cut -c1-16; }
letters=$(for _ in {1..512}; do printf abcdefgh; done | sha256sum | cut -c1-16)
digits=$(for _ in {1..512}; do printf 01234567; done | sha256sum | cut -c1-16)
zeros=$(head -c 4096 /dev/zero | sha256sum | cut -c1-16)

# --- looking ------------------------------------------------------------------------------------------------------

gives "a stream is listed" 0 'changed blocks of volume spool, read on mail2' repl-ctl restore --list stream
like "$out" 'holds +8 KiB of blocks and 16 KiB of zeros, for a volume of 2 MiB' "what it holds"
like "$out" 'whole and undamaged' "that it is whole"
gives "from a pipe, too" 0 'whole and undamaged' bash -c 'cat stream | repl-ctl restore --list -'

# --- writing ------------------------------------------------------------------------------------------------------

gives "to a file that is not there" 0 'has these blocks now; all others are as they were' repl-ctl restore stream fresh
is "$(stat -c %s fresh)" $((2 * mib)) "it becomes as large as the volume"
is "$(stat -c %a fresh)" 600 "and is nobody else's to read"
is "$(block fresh 1)" "$letters" "the first block is there"
is "$(block fresh 300)" "$digits" "the last block is there"
is "$(block fresh 2)" "$zeros" "nothing beside them"

head -c $((3 * mib)) /dev/zero | tr '\0' x >old
cp old before
gives "over data only when forced" 1 'holds data; --force' repl-ctl restore stream old
ok "and nothing is changed" cmp old before
gives "forced" 0 'held data' repl-ctl restore --force stream old
is "$(block old 1)" "$letters" "a block is there"
is "$(block old 6)" "$zeros" "zeros are there"
{ dd if=before bs=4096 count=1 && dd if=old bs=4096 skip=1 count=1 && dd if=before bs=4096 skip=2 count=3 &&
	head -c 16384 /dev/zero && dd if=before bs=4096 skip=9 count=291 && dd if=old bs=4096 skip=300 count=1 &&
	dd if=before bs=4096 skip=301; } >expected 2>/dev/null
ok "and all else is as it was" cmp old expected
gives "from a pipe" 0 'has these blocks now' bash -c 'cat stream | repl-ctl restore - piped'
ok "the same comes out" cmp piped fresh

truncate -s 1M small
gives "not to what is too small, forced or not" 1 'has 1048576 bytes, but the volume has 2097152' \
	repl-ctl restore --force stream small
gives "not to a directory" 1 'is no block device' repl-ctl restore stream /tmp
truncate -s 64M copy
mkfs.repl --force --name spool copy >/dev/null
gives "not over a copy" 1 'holds the metadata of repl volume "spool"' repl-ctl restore stream copy

# --- damage -------------------------------------------------------------------------------------------------------

# What does not verify writes nothing.
refused() { # DESCRIPTION REGEX STREAM
	cp before target
	gives "$1" 1 "$2" repl-ctl restore --force "$3" target
	if cmp -s before target; then pass "$1: nothing is written"; else fail "$1: nothing is written"; fi
}

head -c -1 stream >short
refused "a byte is missing at the end" 'ends after [0-9]+ bytes' short
head -c $((512 + 48 + 4096)) stream >half
refused "cut off between two records" 'it is not whole' half
cp stream bent
printf X | dd of=bent bs=1 seek=$((512 + 48 + 4096 + 48 + 48 + 100)) conv=notrunc status=none
refused "damaged in its last block" 'record 2: its data are damaged' bent
{ cat stream; echo; } >long
refused "something follows" 'something follows' long
refused "no stream at all" 'is no stream of repl' before
: >nothing
refused "an empty file" 'ends after 0 bytes' nothing
gives "a new file does not stay behind" 1 'not whole' repl-ctl restore short never
not_ok "it is not there" test -e never
cp before target
gives "in a pipe damage is found on the way" 1 'has been written to and is not complete' \
	bash -c 'cat bent | repl-ctl restore --force - target'

# --- chains -------------------------------------------------------------------------------------------------------

perl encode.pl 1 ID-0 - d:0:AAAAAAAA z:1:255 d:256:BBBBBBBB z:257:255 >full
perl encode.pl 2 ID-1 ID-0 d:0:CCCCCCCC d:7:DDDDDDDD >first
perl encode.pl 2 ID-2 ID-1 d:7:EEEEEEEE z:256:1 >second
perl encode.pl 2 ID-3 ID-2 d:9:FFFFFFFF >third
gives "a full copy and what changed since" 0 'chained: has these blocks now$' repl-ctl restore full first second third chained
{
	perl -e 'print "CCCCCCCC" x 512, "\0" x (6 * 4096), "EEEEEEEE" x 512, "\0" x 4096, "FFFFFFFF" x 512, "\0" x (2097152 - 10 * 4096)'
} >expected
ok "is the volume as it was last" cmp chained expected
links() { # DESCRIPTION REGEX STREAM...
	cp before target
	gives "$1" 1 "$2" repl-ctl restore --force "${@:3}" target
	if cmp -s before target; then pass "$1: nothing is written"; else fail "$1: nothing is written"; fi
}
links "a missing link" 'third: continues stream .*, but first is stream .*: one is missing' full first third
links "another order" 'one is missing, or they are in the wrong order' full second first
links "no full copy" 'first: has only what changed since stream .*: name the full copy' first second
links "two full copies" 'full: is a full copy: begin with it' full full
links "another branch" 'stream: continues stream .* but full is stream' full stream
head -c -1 second >short
links "one is not whole" 'short: ends after [0-9]+ bytes' full first short
cp second bent
printf X | dd of=bent bs=1 seek=$((512 + 48 + 100)) conv=notrunc status=none
links "one is damaged" 'bent: record 0: its data are damaged' full first bent third
cp before target
gives "one can be read only once" 1 'can be read only once' bash -c 'cat first | repl-ctl restore --force full - target'
ok "nothing is written" cmp before target
gives "alone it is not restored by mistake" 1 'has only what changed since' repl-ctl restore second alone
gives "but by force" 0 'all others are as they were' repl-ctl restore --force second alone

# --- marks and backups: what needs no kernel ---

gives "a backup does not go to a terminal" 2 'standard output is a terminal' script -qec 'repl-ctl backup spool' /dev/null
gives "a volume is named" 2 'exactly one volume' repl-ctl backup --output f
gives "a hold has an end" 2 'at most 60 s' repl-ctl backup spool --hold 2min --output f
gives "a mark has a name" 2 "a mark's name has at most 30" repl-ctl backup spool --mark a/b --output f
gives "JSON does not go where the stream goes" 2 'needs --output' bash -c 'repl-ctl backup spool --json | cat; exit ${PIPESTATUS[0]}'
gives "marks are added, listed, removed, committed" 2 'add, list, remove or commit' repl-ctl mark drop spool x
gives "verify's mark is not made by hand" 1 'what repl-ctl verify keeps its mark under' repl-ctl mark add spool verify
gives "nor by a backup" 1 'what repl-ctl verify keeps its mark under' repl-ctl backup spool --mark verify --output f
gives "a mark of a volume" 2 'name a volume and a mark' repl-ctl mark add spool

# --- command lines ------------------------------------------------------------------------------------------------

gives "a stream is needed" 2 'name a stream and where it goes' repl-ctl restore
gives "and a target" 2 'name a stream and where it goes' repl-ctl restore stream
gives "--list takes streams only" 1 'fresh: is no stream of repl' repl-ctl restore --list stream fresh
like "$out" 'whole and undamaged' "and lists those that are"
gives "so does backup --list" 0 'whole and undamaged' repl-ctl backup --list stream stream
gives "an unknown option" 2 'unknown option --no' repl-ctl restore --no stream fresh
gives "a stream that is not there" 1 'absent: No such file' repl-ctl restore absent fresh

done_testing
