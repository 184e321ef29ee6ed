# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests of the harness: each runs a guest test that goes wrong on purpose and looks at what run made of it.
set -euo pipefail

# shellcheck source=tests/vm/host.sh
. "$(dirname "${BASH_SOURCE[0]}")/../host.sh"
# shellcheck source=tests/vm/tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/../tap.sh"

meta_kernel=${REPL_VM_KERNEL:-6.1}
meta_dir=$VM_BUILD/vm/meta/$meta_kernel
meta_module=$meta_dir/repl_meta.ko

meta_build() {
	local source=$VM_TOP/tests/vm/meta build
	build=$(vm_kernel_build "$meta_kernel")
	mkdir -p "$meta_dir"
	exec 8>"$meta_dir/lock"
	flock 8
	cp -u "$source/Kbuild" "$source/repl_meta.c" "$meta_dir/"
	run_quiet make -s -C "$build" M="$meta_dir" modules
	exec 8>&-
}

# The test passes when run's exit code is as expected and its output matches every regular expression.
expect_errors=() # REGEX... of the next expect only, on standard error
expect() { # pass|fail DESCRIPTION GUEST-TEST "RUN-OPTIONS" REGEX...
	local want=$1 what=$2 guest=$3 rc=0 got out regex bad=()
	local -a options
	read -r -a options <<<"$4"
	shift 4
	out=$("$VM_TOP/tests/vm/run" --kernel "$meta_kernel" --file "$meta_module:/repl/repl_meta.ko" "${options[@]}" \
		"$VM_TOP/tests/vm/meta/guest/$guest" 2>"$meta_dir/errors.$$") || rc=$?
	got=pass
	[ "$rc" -eq 0 ] || got=fail
	[ "$got" = "$want" ] || bad+=("expected run to $want, its exit code is $rc")
	for regex in "$@"; do
		grep -qE -- "$regex" <<<"$out" || bad+=("not in the output: $regex")
	done
	# A run of everything shows only this: it must name what failed, and what that said of it.
	for regex in "${expect_errors[@]}"; do
		grep -qE -- "$regex" "$meta_dir/errors.$$" || bad+=("not in what is left of the failure: $regex")
	done
	expect_errors=()
	if [ "${#bad[@]}" -eq 0 ]; then
		pass "$what"
	else
		fail "$what" "${bad[@]}"
		{
			printf '%s\n' "$out"
			cat "$meta_dir/errors.$$"
		} | sed 's/^/#   | /'
	fi
}
