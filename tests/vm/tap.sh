# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Results in TAP and waits for conditions, for test scripts on the host and in a VM. A test makes its checks and ends
# with done_testing. What a command prints becomes a diagnostic, so commands need no redirection.

TAP_COUNT=0
TAP_FAILED=0

# --- results ------------------------------------------------------------------------------------------------------

diag() { printf '# %s\n' "$@"; }

pass() { # DESCRIPTION
	TAP_COUNT=$((TAP_COUNT + 1))
	printf 'ok %d - %s\n' "$TAP_COUNT" "$1"
}

fail() { # DESCRIPTION [DIAGNOSTIC...]
	TAP_COUNT=$((TAP_COUNT + 1))
	TAP_FAILED=$((TAP_FAILED + 1))
	printf 'not ok %d - %s\n' "$TAP_COUNT" "$1"
	shift
	[ $# -eq 0 ] || diag "$@"
	diag "at $(caller 1 2>/dev/null || caller 0)"
}

# Runs COMMAND and shows its output only when it fails.
run_quiet() { # COMMAND [ARG...]
	local out rc=0
	out=$("$@" 2>&1) || rc=$?
	[ "$rc" -eq 0 ] || printf '%s\n' "$* : exit code $rc" "$out" | sed 's/^/# /'
	return "$rc"
}

ok() { # DESCRIPTION COMMAND [ARG...] : passes when the command succeeds
	local what=$1
	shift
	if run_quiet "$@"; then pass "$what"; else fail "$what"; fi
}

# A command that was not there, or could not be run, has not failed: nor has "wait", which knows no child in a subshell.
not_ok() { # DESCRIPTION COMMAND [ARG...] : passes when the command fails
	local what=$1 out rc=0
	shift
	out=$("$@" 2>&1) || rc=$?
	case $rc in
	0) fail "$what" "succeeded: $*" "$out" ;;
	126 | 127) fail "$what" "was not run: $*" "$out" ;;
	*) pass "$what" ;;
	esac
}

is() { # GOT EXPECTED DESCRIPTION
	if [ "$1" = "$2" ]; then pass "$3"; else fail "$3" "got:      $1" "expected: $2"; fi
}

isnt() { # GOT UNEXPECTED DESCRIPTION
	if [ "$1" != "$2" ]; then pass "$3"; else fail "$3" "got what it must not be: $1"; fi
}

like() { # GOT REGEX DESCRIPTION
	if [[ $1 =~ $2 ]]; then pass "$3"; else fail "$3" "got:   $1" "regex: $2"; fi
}

unlike() { # GOT REGEX DESCRIPTION
	if [[ ! $1 =~ $2 ]]; then pass "$3"; else fail "$3" "got:         $1" "must not be: $2"; fi
}

cmp_ok() { # LEFT OPERATOR RIGHT DESCRIPTION : operator of test, such as -ge
	if test "$1" "$2" "$3"; then pass "$4"; else fail "$4" "not true: $1 $2 $3"; fi
}

skip() { # REASON DESCRIPTION
	TAP_COUNT=$((TAP_COUNT + 1))
	printf 'ok %d - %s # SKIP %s\n' "$TAP_COUNT" "$2" "$1"
}

skip_all() { # REASON : only before the first result
	printf '1..0 # SKIP %s\n' "$1"
	exit 0
}

bail() { # REASON : nothing after this makes sense
	fail "$1"
	exit 1
}

done_testing() {
	printf '1..%d\n' "$TAP_COUNT"
	[ "$TAP_FAILED" -eq 0 ]
}

# --- time and conditions ------------------------------------------------------------------------------------------

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# Starts no program, which would cost more than the nap. Nobody ever writes to that pipe.
nap() { # SECONDS
	[ -n "${nap_fd:-}" ] || exec {nap_fd}<> <(:)
	read -r -t "$1" -u "$nap_fd" || true
}

# A VM on a slow kernel, or a slow machine, waits longer: VM_WAIT_SCALE, of tests/vm/run.
wait_for() { # SECONDS DESCRIPTION COMMAND [ARG...] : polls until the command succeeds
	local seconds=$(($1 * ${VM_WAIT_SCALE:-1})) what=$2 end
	shift 2
	end=$(($(now_ms) + seconds * 1000))
	until "$@" >/dev/null 2>&1; do
		if [ "$(now_ms)" -ge "$end" ]; then
			diag "waited $seconds s in vain for: $what ($*)"
			return 1
		fi
		nap 0.05
	done
}
