# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# For the tests that are hostile to the module. Include after lib.sh and knode.sh.

relay() { # PREFIX COMMAND [ARG...] : what the command reports line by line as "ok ..." or "not ok ..." are our tests
	local prefix=$1 line ended=
	shift
	{
		while IFS= read -r line; do
			case $line in
			'ok '*) pass "$prefix${line#ok }" ;;
			'not ok '*) fail "$prefix${line#not ok }" ;;
			'exit '*) ended=$line ;;
			*) diag "${line#\# }" ;;
			esac
		done < <("$@" 2>&1 <&3; echo "exit $?")
	} 3<&0
	is "$ended" "exit 0" "${prefix}the program ends in order"
}

# The kernel rewrites its own code when the first socket comes that may use the reserves, and when the last one goes.
# QEMU before 8.1 with several virtual CPUs may go on with what stood there while that was done, and the guest then
# dies of an int3. A link that stays all the time keeps thousands of others from doing this.
lasting_link() { # DEVICE DEVICE : minors 100 and 101
	local dev n=100
	for dev in "$@"; do
		run_quiet mkfs.repl --name "lasting$n" "$dev" && run_quiet knode attach $n "lasting$n" "$dev" || return 1
		n=$((n + 1))
	done
	run_quiet knode slot 100 0 2 && run_quiet knode slot 101 0 1 && run_quiet knode primary 100 force &&
		run_quiet knode settle 100 0 && run_quiet knode settle 101 0 && run_quiet knode join 100 0 101 0
}
lasting_link_down() { run_quiet knode detach 100 && run_quiet knode detach 101; }
