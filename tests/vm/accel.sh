# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Which of QEMU's accelerators runs a kernel here. Whoever includes this has set VM_CACHE.

# Some machines offer a /dev/kvm on which no kernel boots: asked once per boot of this machine, with a kernel that is
# to end in a panic for want of a root.
vm_kvm_boots() {
	local images=("$VM_CACHE"/kernels/*/vmlinuz) said
	said=$(timeout 20 qemu-system-x86_64 -M q35 -cpu max -m 256 -smp 2 -nodefaults -display none -no-reboot -nic none \
		-accel kvm -kernel "${images[0]}" -append "console=ttyS0 panic=-1" -serial stdio </dev/null 2>&1 | tr -d '\0') || true
	[[ $said == *"Kernel panic"* ]]
}

vm_kvm_usable() {
	local answer
	[ -r /dev/kvm ] && [ -w /dev/kvm ] || return 1
	answer=$VM_CACHE/kvm.$(cat /proc/sys/kernel/random/boot_id)
	(
		flock 9
		[ -s "$answer" ] || {
			rm -f "$VM_CACHE"/kvm.*-*
			if vm_kvm_boots; then echo yes; else echo no; fi >"$answer"
		}
	) 9>"$VM_CACHE/kvm.lock"
	[ "$(cat "$answer")" = yes ]
}
