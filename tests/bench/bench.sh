#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# bench.sh CONFIG... - boot the benchmark machine twice, print both tables and how far they are
# apart, and leave everything measured in build/bench.json. Fails when the two runs differ by
# more than 1 %: then something other than instructions was counted, and no figure is worth
# comparing. docs/PERFORMANCE.md says what the machine is.
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
build=${REPL_BUILD:-$top/build}
out=$build/bench
readonly here top build out
readonly kernel=6.1
readonly tolerance=0.01

die()
{
	echo "bench: $*" >&2
	exit 1
}

# run NUMBER CONFIG...: one boot; what it says goes to run-NUMBER.log, its findings to .json.
run()
{
	local n=$1 log=$out/run-$1.log f files=()

	shift
	for f in "$here"/setup-*.sh "$here/fio.jq"; do
		files+=(--file "$f:/repl/tests/bench/${f##*/}")
	done
	"$top/tests/vm/run" --kernel "$kernel" --env BENCH_CONFIGS="$*" "${files[@]}" \
		"$here/guest.t" > "$log" || die "run $n failed; see $log"
	sed -n 's/^# bench: //p' "$log" |
		jq -s --arg configs "$*" -f "$here/collect.jq" > "$out/run-$n.json" ||
		die "run $n gave no complete result; see $log"
}

# Two boots at once where there are two processors: instructions are counted, not time, so
# neither can disturb the other.
run_twice()
{
	local first second failed=0

	if (($(nproc) > 1)); then
		run 1 "$@" &
		first=$!
		run 2 "$@" &
		second=$!
		wait "$first" || failed=1
		wait "$second" || failed=1
		((failed == 0)) || exit 1
	else
		run 1 "$@"
		run 2 "$@"
	fi
}

print_table()
{
	echo "$1"
	jq -r -f "$here/table.jq" "$2" | column -t -s $'\t' -o ' | ' -R 2,3,4,5,6,7
	echo
}

report()
{
	local version

	version=$(< "${REPL_CACHE:-$HOME/.cache/repl}/kernels/$kernel/version")
	jq -n --arg kernel "$version" --slurpfile one "$out/run-1.json" \
		--slurpfile two "$out/run-2.json" \
		'{$kernel, runs: [$one[0], $two[0]]}' > "$out/runs.json"
	jq --argjson tolerance "$tolerance" --argjson largest \
		"$(jq -c -f "$here/compare.jq" "$out/runs.json")" \
		'. + {largest: $largest, reproducible: ($largest.difference <= $tolerance)}' \
		"$out/runs.json" > "$build/bench.json"
	print_table "Run 1, Linux $version, IOPS:" "$out/run-1.json"
	print_table "Run 2:" "$out/run-2.json"
	jq -r '.largest | "Largest difference: \(.difference * 100000 | round / 1000) %, " +
		"\(.config) \(.job)"' "$build/bench.json"
	jq -e '.reproducible' "$build/bench.json" > /dev/null ||
		die "the two runs differ by more than 1 %: not a benchmark"
}

(($# > 0)) || die "name the configurations to measure"
mkdir -p "$out"
rm -f "$build/bench.json" "$out"/run-[12].*
run_twice "$@"
report
