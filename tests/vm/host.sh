# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Host side of the test VMs, shared by run (one VM, one test) and multi.sh (VMs as nodes): which kernel, which
# QEMU arguments, and what counts as a dirty kernel log.

VM_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
VM_CACHE=${REPL_CACHE:-$HOME/.cache/repl}
# shellcheck disable=SC2034  # for those who source this file
VM_BUILD=${REPL_BUILD:-$VM_TOP/build}

vm_die() {
	printf 'vm: %s\n' "$*" >&2
	exit 1
}

# shellcheck source=tests/vm/accel.sh
. "$VM_TOP/tests/vm/accel.sh"

# --- kernels ------------------------------------------------------------------------------------------------------

vm_kernel_dir() { # KERNEL : a series that scripts/deps unpacked, or any directory of the same shape beside it
	local dir=$VM_CACHE/kernels/$1
	[ -s "$dir/version" ] || vm_die "no kernel '$1' in $VM_CACHE/kernels: run scripts/deps check"
	printf '%s\n' "$dir"
}

vm_kernel_build() { # KERNEL : where external modules are built for it
	local dir abi
	dir=$(vm_kernel_dir "$1")
	abi=$(cat "$dir/version")
	if [ -d "$dir/build" ]; then
		printf '%s\n' "$dir/build"
	else
		printf '%s\n' "/lib/modules/$abi/build"
	fi
}

# Builds tests/crash/disk for a kernel, and says where it is.
vm_crash_disk() { # KERNEL
	local dir=$VM_BUILD/crash/$1
	mkdir -p "$dir"
	(
		flock 8
		cp -u "$VM_TOP"/tests/crash/disk/* "$dir/"
		make -s -C "$(vm_kernel_build "$1")" M="$dir" modules >"$dir/make.log" 2>&1 || {
			cat "$dir/make.log" >&2
			exit 1
		}
	) 8>"$dir/lock" || return 1
	printf '%s\n' "$dir/crash_disk.ko"
}

# What follows the series in the name of a kernel that tests/vm/kernel/build has built: debug, kcsan, or nothing.
vm_kernel_kind() { # KERNEL
	[[ $1 != *-* ]] || printf '%s\n' "${1##*-}"
}

vm_memory() { # KERNEL MEM : what a VM needs in which that much is enough for a stock kernel
	if [ -n "$(vm_kernel_kind "$1")" ]; then echo $((2 * $2)); else echo "$2"; fi
}

# --- QEMU ---------------------------------------------------------------------------------------------------------

# In a run of everything a test that is about no kernel runs on one: says so, and succeeds, when KERNEL is another.
vm_once_elsewhere() { # KERNEL ONCE
	[ -n "${REPL_VM_ONCE:-}" ] && [ -n "$2" ] && [ "$2" != "$1" ] || return 1
	echo "1..0 # SKIP on kernel $1: kernel $2 is enough in a run of everything (ONCE= runs it on each)"
}

# A virtual CPU with a thread of its own spins for one that the host does not run just now. On one thread they take turns,
# at every pause, so three VMs fit on two processors: what took two VMs of the other kind ten minutes took them seven.
# VM_THREADS=multi of a test that is about what happens at the same time.
vm_threads() {
	if [ -n "${VM_THREADS:-}" ]; then
		echo "$VM_THREADS"
	elif [ "$(nproc)" -lt 4 ]; then
		echo single
	else
		echo multi
	fi
}

# Sets vm_qemu to the arguments every VM has: no devices but serial lines, kernel log on the first. A panic ends QEMU.
# DIR/kmsg and DIR/monitor are sockets; everything the kernel printed is in DIR/console.log.
vm_qemu_args() { # DIR KERNEL SMP MEM ICOUNT(0|1)
	local dir=$1 kernel=$2 smp=$3 mem=$4 icount=$5 kdir append
	kdir=$(vm_kernel_dir "$kernel") || exit 1
	mem=$(vm_memory "$kernel" "$mem")
	append="console=ttyS0 quiet panic=-1 oops=panic mitigations=off sysrq_always_enabled log_buf_len=4M printk.devkmsg=on"
	append+=" cryptomgr.notests" # seconds of every boot under TCG
	vm_qemu=(qemu-system-x86_64 -M q35 -cpu max -m "$mem" -nodefaults -display none -no-reboot -nic none)
	if [ "$icount" = 1 ]; then
		vm_qemu+=(-accel tcg -icount "shift=0,sleep=off" -smp 1)
	elif vm_kvm_usable; then
		vm_qemu+=(-accel kvm -smp "$smp")
	else
		# A virtual CPU that the host does not run for a while is no stall of the guest.
		append+=" rcupdate.rcu_cpu_stall_timeout=60 watchdog_thresh=30"
		# Nor is its timer broken that did not tick in time while the kernel looked at it.
		append+=" no_timer_check"
		vm_qemu+=(-accel "tcg,thread=$(vm_threads)" -smp "$smp")
	fi
	vm_qemu+=(
		-kernel "$kdir/vmlinuz" -initrd "$dir/initrd" -append "$append"
		-chardev "socket,id=kmsg,path=$dir/kmsg,server=on,wait=off,logfile=$dir/console.log" -serial chardev:kmsg
		-chardev "socket,id=monitor,path=$dir/monitor,server=on,wait=off" -mon "chardev=monitor,mode=readline"
	)
}

vm_monitor() { # DIR COMMAND
	(
		cd "$1" || exit 1
		printf '%s\n' "$2" | socat -t 2 - UNIX-CONNECT:monitor >/dev/null
	)
}

# Complete when nothing more comes for two seconds.
vm_wait_quiet() { # FILE END (in SECONDS)
	local size=-1
	while [ "$SECONDS" -lt "$2" ] && [ "$size" != "$(stat -c %s "$1")" ]; do
		size=$(stat -c %s "$1")
		sleep 2
	done
}

# Asks the guest's kernel, which still answers when its userspace does not, what blocks (w) and what runs (l). A guest that
# the host hardly runs may miss the key after the break, or answer late: each is asked for until its heading is there.
vm_dump_tasks() { # DIR
	local key size=-1 end=$((SECONDS + 60))
	local -A heading=([w]='sysrq: Show Blocked State' [l]='sysrq: Show backtrace of all active CPUs')
	for key in w l; do
		while [ "$SECONDS" -lt "$end" ] && ! grep -q "${heading[$key]}" "$1/console.log"; do
			vm_monitor "$1" "chardev-send-break kmsg" || return 0
			(
				cd "$1" || exit 1
				printf '%s' "$key" | socat -t 1 - UNIX-CONNECT:kmsg >/dev/null
			) || return 0
			vm_wait_quiet "$1/console.log" "$end"
		done
	done
}

# --- kernel log ---------------------------------------------------------------------------------------------------

vm_klog_patterns=(
	'WARNING:' 'BUG:' 'kernel BUG at' 'Oops' 'Kernel panic' 'general protection fault' 'Call Trace:' 'INFO: task .* blocked'
	'INFO: possible' 'INFO: lockdep' 'possible (circular|recursive|irq)' 'inconsistent lock state' 'suspicious RCU usage'
	'rcu.*(stall|self-detected)' '(soft lockup|hard LOCKUP)' 'sleeping function called' 'scheduling while atomic'
	'Voluntary context switch within RCU' 'KASAN' 'KCSAN' 'UBSAN' 'kmemleak: ([0-9]+ new suspected|.*disabled)' 'refcount_t:' 'list_(add|del) corruption'
	'page allocation failure' 'Out of memory' 'objects remaining' 'still has objects' 'unregister_netdevice: waiting'
	'workqueue: .* is flushing' 'Memory corruption' 'DEBUG_LOCKS_WARN_ON' 'ODEBUG:' 'segfault at' 'traps:.*(trap|error)'
)

# A kernel log without carriage returns, registers and guessed frames.
vm_klog_text() { # FILE
	tr -d '\r' <"$1" | grep -vE '\] +\? |\] (R(AX|BX|CX|DX|SI|DI|BP|SP|[0-9]{2})|EFLAGS|FS|CS|CR2|DR[0-9]|PKRU|Code):|RIP: 00(33|23):'
}

# Prints what must not be in a kernel log, with the lines around it. Boot is not ours: the log begins at init's mark.
# Nor is what the harness asked the kernel to show.
vm_klog_bad() { # FILE [ALLOWED-REGEX...]
	local file=$1 allowed bad
	shift
	bad=$(printf '|%s' "${vm_klog_patterns[@]}")
	allowed=$(printf '|(%s)' "$@" '^$')
	vm_klog_text "$file" | sed '0,/vm: init$/d; /sysrq: Show Blocked State/,$d' | grep -vE -- "${allowed:1}" |
		grep -E -B 2 -A 20 -- "${bad:1}" | head -n 80
}
