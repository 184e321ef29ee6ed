# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034
#
# drbd-c:     DRBD 8.4, internal metadata, with its peer on the same machine, protocol C, over
#             loopback: minor 0 (resource r0, /dev/ram0, port 7001) is primary, minor 1 (r1,
#             /dev/ram1, port 7002) secondary.
# drbd-alone: the same after the peer has left. A DRBD that never had a peer splits every
#             request into 4 KiB, because it does not know yet what its peer can take; that
#             would be no fair picture of it.
# Everything is at DRBD's defaults but max-buffers, which its manual says to raise for speed.

drbd_minor()
{
	local i=$1

	drbdmeta --force "$i" v08 "/dev/ram$i" internal create-md > /dev/null
	drbdsetup new-resource "r$i"
	drbdsetup new-minor "r$i" "$i" 0
	drbdsetup attach "$i" "/dev/ram$i" "/dev/ram$i" internal
}

drbd_connect()
{
	local net=(--protocol=C --max-buffers=8000)

	drbdsetup connect r0 ipv4:127.0.0.1:7001 ipv4:127.0.0.1:7002 "${net[@]}"
	drbdsetup connect r1 ipv4:127.0.0.1:7002 ipv4:127.0.0.1:7001 "${net[@]}"
}

# /proc/drbd has a line of states and a line of counters for each minor.
drbd_in_sync()
{
	grep -q '^ 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C ' /proc/drbd &&
	grep -q '^ 1: cs:Connected ro:Secondary/Primary ds:UpToDate/UpToDate C ' /proc/drbd
}

drbd_nothing_in_flight()
{
	! grep -Eq '(lo|pe|ua|ap):[1-9]' /proc/drbd
}

drbd_alone()
{
	grep -q '^ 0: cs:StandAlone ro:Primary/Unknown ds:UpToDate/' /proc/drbd
}

bench_setup()
{
	drbd_variant=$1
	dev=/dev/drbd0
	[[ $drbd_variant == alone || $drbd_variant == c ]] ||
		die "DRBD is measured as 'alone' or 'c'"
	mkdir -p /var/lock /var/lib/drbd
	modprobe drbd minor_count=4 usermode_helper=disabled
	drbd_minor 0
	drbd_minor 1
	drbdsetup primary 0 --force
	drbd_connect
	wait_for 300 "DRBD in sync" drbd_in_sync
	if [[ $drbd_variant == alone ]]; then
		drbdsetup down r1
		drbdsetup disconnect ipv4:127.0.0.1:7001 ipv4:127.0.0.1:7002
		wait_for 10 "DRBD alone" drbd_alone
	fi
}

bench_idle()
{
	if [[ $drbd_variant == alone ]]; then
		wait_for 10 "DRBD alone" drbd_alone
	else
		wait_for 60 "DRBD in sync" drbd_in_sync
	fi
	wait_for 60 "DRBD without I/O in flight" drbd_nothing_in_flight
}

# Internal metadata lies behind the data.
bench_legs()
{
	local bytes

	[[ $drbd_variant == c ]] || return 0
	bytes=$(blockdev --getsize64 /dev/drbd0)
	echo "/dev/ram0 0 $bytes"
	echo "/dev/ram1 0 $bytes"
}

bench_secondary()
{
	[[ $drbd_variant == c ]] || return 0
	echo /dev/drbd1
}

bench_teardown()
{
	drbdsetup down r0
	[[ $drbd_variant == alone ]] || drbdsetup down r1
	rmmod drbd
}
