#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 timeout=500
#
# Two VMs are two machines on one network, and killing one is a power cut.
# shellcheck source=tests/vm/multi.sh
. "$(dirname "$0")/../multi.sh"

vm_start one --disk 16M
vm_start two --disk 16M
is "$(vm_exec one 'hostname')" one "a command runs in the node it is meant for"
is "$(vm_exec two 'hostname')" two "and in the other"
rc=0
out=$(vm_exec one 'echo out; echo err >&2; exit 7' 2>"$multi_dir/err") || rc=$?
is "$rc $out $(cat "$multi_dir/err")" "7 out err" "exit code, output and errors come back"
is "$(vm_exec one 'head -c 300000 /dev/zero' | wc -c)" 300000 "so does much output"
ok "one reaches two" vm_exec one "ping -c 1 -W 5 $(vm_ip two)"
ok "two reaches one" vm_exec two "ping -c 1 -W 5 $(vm_ip one)"

vm_link_cut two
not_ok "nothing passes a cut link" vm_exec one "ping -c 1 -W 1 $(vm_ip two)"
vm_link_heal two
ok "a healed link carries again" wait_for 20 "ping" vm_exec one "ping -c 1 -W 1 $(vm_ip two)"

# An answer that comes too late must not be taken for the next one's.
rc=0
VM_EXEC_TIMEOUT=1 vm_exec two 'sleep 3; echo late' 2>/dev/null || rc=$?
is "$rc" 255 "a command that takes too long"
is "$(vm_exec two 'echo next')" next "does not answer for the next"

vm_exec two '. /repl/tests/vm/lib.sh; pattern_put /dev/vda seed 1048576'
vm_kill two
not_ok "a killed node does not run" vm_running two
not_ok "a killed node takes no command" vm_exec two true
not_ok "a killed node is not reached" vm_exec one "ping -c 1 -W 1 $(vm_ip two)"
vm_start two --disk 16M
is "$(vm_exec two '. /repl/tests/vm/lib.sh; data_sha /dev/vda 1048576')" \
	"$(vm_exec one '. /repl/tests/vm/lib.sh; pattern_sha seed 1048576')" "its disk survives the power cut"
ok "it is reached under its old address" wait_for 20 "ping" vm_exec one "ping -c 1 -W 1 $(vm_ip two)"

vm_exec one 'echo "BUG: planted" >/dev/kmsg'
not_ok "a bad kernel log is noticed" vm_log_clean one
ok "unless it was announced" vm_log_clean one 'BUG: planted'
multi_done 'BUG: planted'
