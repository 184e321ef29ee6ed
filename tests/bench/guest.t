#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: kernel=6.1 icount=1 mem=1024 timeout=3600 with=fio,drbdsetup,drbdmeta,mdadm
#
# The half of the benchmark that runs inside the virtual machine. For each word of BENCH_CONFIGS
# in turn: empty RAM disks, set up, fill, wait until idle, measure, compare the copies, take
# everything down. Each finding is a line "# bench: {json}"; anything that fails ends the run.
#
# The word is NAME or NAME-VARIANT and is set up by setup-NAME.sh, which defines
#   bench_setup VARIANT    set up on /dev/ram0 and /dev/ram1, fully in sync, and set $dev to
#                          the device to measure
#   bench_idle             return once no background work is left
#   bench_legs             print "DEVICE OFFSET BYTES" of each copy's data; nothing if there is one
#   bench_secondary        print the device a secondary refuses to open; nothing if there is none
#   bench_teardown         leave no device, module or process behind
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/vm/lib.sh
. "$here/../vm/lib.sh"

readonly leg_mib=100		# size of each RAM disk
readonly area=$((96 << 20))	# what is written and read: fits beside everybody's metadata
readonly ramp=500ms runtime=2s

# The columns of the table. fdatasync=1 makes fio issue one after each write.
declare -rA jobs=(
	[w4q1]="--rw=randwrite --bs=4k --iodepth=1"
	[w4q32]="--rw=randwrite --bs=4k --iodepth=32"
	[w128q8]="--rw=write --bs=128k --iodepth=8"
	[r4q32]="--rw=randread --bs=4k --iodepth=32"
	[w4sync]="--rw=randwrite --bs=4k --iodepth=1 --fdatasync=1"
)
readonly job_order="w4q1 w4q32 w128q8 r4q32 w4sync"

die()
{
	diag "$config: $*" >&2
	exit 1
}

finding()
{
	diag "bench: $1"
}

# run_fio JOB OPTION...: the result goes to /tmp/fio.json.
run_fio()
{
	local job=$1

	shift
	fio --name="$job" --filename="$dev" --size="$area" --ioengine=libaio --direct=1 \
		--randrepeat=1 --lat_percentiles=1 --clat_percentiles=0 --percentile_list=50:99 \
		--eta=never --output-format=json --output=/tmp/fio.json "$@" ||
		die "fio failed in $job"
	jq -e '.jobs | length == 1 and .[0].error == 0' /tmp/fio.json > /dev/null ||
		die "fio reports I/O errors in $job"
}

measure_job()
{
	local job=$1 options

	read -ra options <<< "${jobs[$job]}"
	bench_idle
	run_fio "$job" "${options[@]}" --time_based --runtime="$runtime" --ramp_time="$ramp"
	finding "$(jq -c --arg config "$config" --arg job "$job" -f "$here/fio.jq" /tmp/fio.json)"
}

leg_sums()
{
	local leg offset bytes

	bench_legs | while read -r leg offset bytes; do
		((bytes >= area)) || die "only $bytes bytes of data on $leg"
		data_sha "$leg" "$bytes" "$offset"
	done
}

# The copies must hold the same bytes, and other bytes than before the measurement: two disks
# that nobody wrote to are equal as well.
check_legs()
{
	local before=$1 after=$2 sums

	[[ -n $after ]] || return 0
	mapfile -t sums <<< "$after"
	((${#sums[@]} == 2)) || die "${#sums[@]} copies instead of two"
	[[ ${sums[0]} == "${sums[1]}" ]] || die "the two copies differ after the measurement"
	[[ $before != "$after" ]] || die "the copies did not change during the measurement"
	finding "$(jq -cn --arg config "$config" --arg sha256 "${sums[0]}" \
		'{$config, legs: "equal", $sha256}')"
}

# How long a secondary takes to refuse an open. Failover software probes devices, and an open
# that hangs for seconds hangs the probe.
probe_open()
{
	local secondary times=() i t0 t1

	secondary=$(bench_secondary)
	[[ -n $secondary ]] || return 0
	for ((i = 0; i < 11; i++)); do
		t0=${EPOCHREALTIME/[.,]/}
		if { : < "$secondary"; } 2> /tmp/refusal; then
			die "$secondary is a secondary's and could be opened"
		fi
		t1=${EPOCHREALTIME/[.,]/}
		times+=("$((t1 - t0))")
	done
	finding "$(printf '%s\n' "${times[@]}" | jq -cs --arg config "$config" \
		--arg refusal "$(sed 's/.*: //' /tmp/refusal)" \
		'sort | {$config, probe: "open-secondary", median_ms: (.[5] / 1000),
			max_ms: (.[-1] / 1000), $refusal}')"
}

measure()
{
	local name=${config%%-*} variant="" job before dev

	[[ $config != *-* ]] || variant=${config#*-}
	[[ -f $here/setup-$name.sh ]] || die "there is no setup-$name.sh"
	# shellcheck source=/dev/null
	. "$here/setup-$name.sh"
	brd_load 2 "$leg_mib"
	bench_setup "$variant"
	# Every page of the disks, extent of the activity log and chunk of the bitmap is in use
	# before the first measurement.
	run_fio fill --rw=write --bs=1M --iodepth=4
	bench_idle
	before=$(leg_sums)
	for job in $job_order; do
		measure_job "$job"
	done
	bench_idle
	check_legs "$before" "$(leg_sums)"
	probe_open
	bench_teardown
	rmmod brd
}

# What udev loads where the processor has the instructions, as any server's does: for checksums and
# encryption. Nothing loads them here, and the generic code costs several times as much.
modprobe -a crc32c_intel aesni_intel ghash_clmulni_intel

for config in $BENCH_CONFIGS; do
	( measure )
	pass "$config measured"
done
done_testing
