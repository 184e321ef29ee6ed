# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Library of the tests that run on the host and use several VMs as nodes of one network, for what one VM cannot show:
# killing a VM is a power cut of that node.
#
#   VM eth0 ---- multicast group of this test alone ---- VM eth0
#      10.77.0.1/24                                         10.77.0.2/24
#
# A test sources it, starts VMs, makes its checks and ends with multi_done. REPL_VM_KERNEL says which kernel.
set -euo pipefail

# shellcheck source=tests/vm/host.sh
. "$(dirname "${BASH_SOURCE[0]}")/host.sh"
# shellcheck source=tests/vm/tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"

multi_kernel=${REPL_VM_KERNEL:-6.1}
multi_dir=$(mktemp -d "${TMPDIR:-/tmp}/repl-multi.XXXXXX")
multi_test=$(realpath --relative-to="$VM_TOP" "$0")
multi_logs=$VM_BUILD/vm/logs/$(tr / - <<<"${multi_test%.t}").$multi_kernel
multi_nodes=()
# One group for each test, so that tests in parallel do not hear each other.
multi_group=239.77.$((($$ >> 8) & 255)).$(($$ & 255)):$((20000 + $$ % 20000))

multi_cleanup() {
	local name
	for name in "${multi_nodes[@]}"; do
		[ ! -s "$multi_dir/$name/pid" ] || kill -9 "$(cat "$multi_dir/$name/pid")" 2>/dev/null || true
	done
	mkdir -p "$multi_logs"
	for name in "${multi_nodes[@]}"; do
		cat "$multi_dir/$name"/*.log >"$multi_logs/$name.console.log" 2>/dev/null || true
	done
	rm -rf "$multi_dir"
}
trap multi_cleanup EXIT
trap 'exit 130' INT TERM

multi_node_number() { # NAME : nodes are numbered as they were first started, from 1
	local i
	for i in "${!multi_nodes[@]}"; do
		[ "${multi_nodes[$i]}" != "$1" ] || echo $((i + 1))
	done
}

vm_ip() { echo "10.77.0.$(multi_node_number "$1")"; }

# Boots the node and returns when it takes commands. A node that was killed or stopped is started again with the
# same call: same address, same disks. Disks are files of the caller's or sizes; those of a size belong to the node.
vm_start() { # NAME [--mem MiB] [--smp N] [--disk FILE|SIZE]... [--with P,...] [--file SRC:DST]... [--timeout S]
	local name=$1 mem=512 smp=1 with='' limit=120 number disk n=0 dir line
	local -a disks=() files=() drives=()
	shift
	while [ $# -gt 0 ]; do
		case $1 in
		--mem) mem=$2 ;;
		--smp) smp=$2 ;;
		--with) with=$2 ;;
		--timeout) limit=$2 ;;
		--disk) disks+=("$2") ;;
		--file) files+=("$2") ;;
		*) vm_die "vm_start: unknown option $1" ;;
		esac
		shift 2
	done
	dir=$multi_dir/$name
	mkdir -p "$dir"
	[ -n "$(multi_node_number "$name")" ] || multi_nodes+=("$name")
	number=$(multi_node_number "$name")
	! vm_running "$name" || vm_die "vm_start: $name runs already"

	printf 'VM_MODE=exec VM_NAME=%q VM_NET=%q\n' "$name" "$(vm_ip "$name")/24" >"$dir/vm.conf"
	"$VM_TOP/tests/vm/image" "$dir/initrd" "$multi_kernel" "$with" "$dir/vm.conf:/vm.conf" "${files[@]}"
	for disk in "${disks[@]}"; do
		if [[ $disk =~ ^[0-9]+[KMG]?$ ]]; then
			[ -e "$dir/disk$n" ] || truncate -s "$disk" "$dir/disk$n"
			disk=$dir/disk$n
		fi
		# What the guest wrote is in the host's cache at once: it survives the death of QEMU.
		drives+=(-drive "file=$disk,if=virtio,format=raw,discard=unmap,cache=writeback")
		n=$((n + 1))
	done
	rm -f "$dir"/{exec.in,exec.out,kmsg,monitor}
	mkfifo "$dir/exec.in" "$dir/exec.out"
	: >"$dir/console.log"
	vm_qemu_args "$dir" "$multi_kernel" "$smp" "$mem" 0
	"${vm_qemu[@]}" "${drives[@]}" \
		-netdev "socket,id=net,mcast=$multi_group,localaddr=127.0.0.1" \
		-device "virtio-net-pci,id=nic,netdev=net,romfile=,mac=52:54:00:77:00:$(printf %02x "$number")" \
		-device virtio-serial-pci -chardev "pipe,id=exec,path=$dir/exec" \
		-device virtserialport,chardev=exec,name=exec </dev/null >"$dir/qemu.out" 2>&1 &
	echo $! >"$dir/pid"
	disown
	if ! IFS= read -r -t "$limit" line <>"$dir/exec.out" || [ "$line" != ready ]; then
		diag "$name is not ready after $limit s; the end of its console:"
		tail -n 20 "$dir/console.log" "$dir/qemu.out" | sed 's/^/# /'
		return 1
	fi
}

vm_running() { # NAME
	[ -s "$multi_dir/$1/pid" ] && kill -0 "$(cat "$multi_dir/$1/pid")" 2>/dev/null
}

# One request and its answer; an answer that came too late for an earlier request is passed over.
multi_request() { # NAME SECONDS WORD : prints "RC .OUT .ERR", both base64
	local name=$1 dir=$multi_dir/$1 id end line part=''
	id=$BASHPID.${EPOCHREALTIME/[.,]/}
	end=$((SECONDS + $2))
	exec 4>"$dir/exec.lock" 5<>"$dir/exec.in" 6<>"$dir/exec.out"
	flock 4
	printf '%s %s\n' "$id" "$3" >&5
	while :; do
		if IFS= read -r -t 1 -u 6 line; then
			line=$part$line part=''
			[[ $line != "$id "* ]] || break
			continue
		fi
		# A long answer does not come within one second.
		part+=$line
		if ! vm_running "$name" || [ "$SECONDS" -ge "$end" ]; then
			return 255
		fi
	done
	printf '%s\n' "${line#* }"
}

# Runs a bash command in the guest; its output and its exit code are the command's. 255: the VM died or did not answer
# in VM_EXEC_TIMEOUT seconds. What the command leaves in the background goes on; its output must be redirected.
vm_exec() { # NAME COMMAND
	local answer rc out err
	if ! vm_running "$1" || ! answer=$(multi_request "$1" "${VM_EXEC_TIMEOUT:-60}" "$(base64 -w0 <<<"$2")"); then
		echo "vm_exec: no answer from $1 to: $2" >&2
		return 255
	fi
	IFS=' ' read -r rc out err <<<"$answer"
	base64 -d <<<"${out#.}"
	base64 -d <<<"${err#.}" >&2
	return "$rc"
}

# The power cut: QEMU gets no chance to do anything more.
vm_kill() { # NAME
	kill -9 "$(cat "$multi_dir/$1/pid")" 2>/dev/null || true
	multi_ended "$1" 20
}

# The orderly end: what runs is ended, the modules must unload. Prints what they left.
vm_stop() { # NAME
	local left
	left=$(multi_request "$1" 60 end) || left="no answer"
	left=$(cut -d' ' -f2 <<<"$left" | tail -c +2 | base64 -d 2>/dev/null || echo "$left")
	if ! multi_ended "$1" 60; then
		vm_kill "$1"
	fi
	[ -z "$left" ] || printf '%s\n' "$left"
}

multi_ended() { # NAME SECONDS : waits for the end, and keeps the log of this boot
	local dir=$multi_dir/$1 n
	wait_for "$2" "the end of $1" eval "! vm_running $1" || return 1
	rm -f "$dir/pid"
	n=$(find "$dir" -name 'boot-*.log' | wc -l)
	mv "$dir/console.log" "$dir/boot-$((n + 1)).log"
}

# A pulled cable: nothing passes in either direction.
vm_link_cut() { vm_monitor "$multi_dir/$1" "set_link net off"; }
vm_link_heal() { vm_monitor "$multi_dir/$1" "set_link net on"; }

# Prints what is bad in the kernel log of any boot of the node; succeeds when nothing is.
vm_log_clean() { # NAME [ALLOWED-REGEX...]
	local log bad dir=$multi_dir/$1 rc=0
	shift
	for log in "$dir"/boot-*.log "$dir/console.log"; do
		[ -e "$log" ] || continue
		bad=$(vm_klog_bad "$log" "$@" || true)
		[ -n "$bad" ] || continue
		printf '%s:\n%s\n' "$(basename "$log")" "$bad"
		rc=1
	done
	return "$rc"
}

# Ends every node, and the test: modules unload, the kernel logs of all boots are clean.
multi_done() { # [ALLOWED-REGEX...]
	local name
	for name in "${multi_nodes[@]}"; do
		! vm_running "$name" || is "$(vm_stop "$name")" "" "$name: modules unload and leave nothing"
		ok "$name: kernel log is clean" vm_log_clean "$name" "$@"
	done
	done_testing
}
