#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Of the benchmark's own judgement: a run with something missing is refused, the distance between
# two runs is what arithmetic says, and a table shows what was measured. Needs no VM.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
count=0 failed=0

is()
{
	count=$((count + 1))
	if [[ $1 == "$2" ]]; then
		echo "ok $count - $3"
	else
		failed=1
		printf 'not ok %d - %s\n# got:      %s\n# expected: %s\n' "$count" "$3" "$1" "$2"
	fi
}

# findings CONFIG IOPS JOB...: what guest.t would print.
findings()
{
	local config=$1 iops=$2 job

	shift 2
	for job in "$@"; do
		jq -cn --arg config "$config" --arg job "$job" --argjson iops "$iops" \
			'{$config, $job, $iops, ios: 1}'
	done
}

collect()
{
	jq -s --arg configs "$1" -f "$here/collect.jq" 2> /dev/null
}

refused()
{
	if collect "$1" > /dev/null; then
		echo no
	else
		echo yes
	fi
}

all_jobs=(w4q1 w4q32 w128q8 r4q32 w4sync)
raw=$(findings raw 1000 "${all_jobs[@]}")
drbd=$(findings drbd-c 1234567.6 "${all_jobs[@]}"
	echo '{"config":"drbd-c","legs":"equal","sha256":"x"}'
	echo '{"config":"drbd-c","probe":"open-secondary","median_ms":0.25}')
faster=$(findings raw 1020 "${all_jobs[@]}")

is "$(refused "raw" <<< "$raw")" no "a whole run is taken"
is "$(refused "raw" < /dev/null)" yes "a run without results is refused"
is "$(findings raw 1 "${all_jobs[@]:0:4}" | refused "raw")" yes "a missing job is refused"
is "$(refused "raw drbd-c" <<< "$raw")" yes "a missing configuration is refused"
is "$(refused "raw" <<< "$raw$raw")" yes "results given twice are refused"
is "$(refused "drbd-c" <<< "${drbd/legs/lags}")" yes "a mirror whose copies nobody compared is refused"

one=$(collect "raw drbd-c" <<< "$raw$drbd")
two=$(collect "raw drbd-c" <<< "$faster$drbd")
is "$(jq -r '.[1].open_secondary.median_ms' <<< "$one")" 0.25 "the refused open belongs to its row"
is "$(jq -n --argjson a "$one" --argjson b "$two" '{runs: [$a, $b]}' |
	jq -r -f "$here/compare.jq" | jq -r '"\(.config) \(.difference * 1000 | round)"')" \
	"raw 20" "the largest difference is found, whichever run is faster"
is "$(jq -n --argjson a "$one" '{runs: [$a, $a]}' | jq -f "$here/compare.jq" | jq .difference)" 0 \
	"equal runs differ by nothing"
is "$(jq -r -f "$here/table.jq" <<< "$one" | tail -n 1)" \
	"$(printf 'DRBD 8.4, protocol C%s\t0.25' "$(printf '\t1,234,568%.0s' {1..5})")" \
	"a row of the table"
is "$(env -u MAKEFLAGS -u MAKELEVEL make -C "$here/../.." -pn bench DEPS_DONE=1 2> /dev/null | grep -c '^bench:.* vm-programs' || :)" 1 \
	"a fresh tree gets the programs that the VM needs"
echo "1..$count"
exit "$failed"
