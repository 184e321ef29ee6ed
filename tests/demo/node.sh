# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# node.sh - the two virtual machines of the demo: what they boot from, start, kill, and commands in them.
# Sourced by scripts/demo, which sets top (the source tree), build (what was built of it), run (a directory for this
# run), image, kernel (and its series), node_cpus, port (a map) and with_repl.
# shellcheck disable=SC2154
#
#   mail1 eth1 10.77.0.1 ----- replication link (a socket between the two QEMU) ----- 10.77.0.2 eth1 mail2
#   eth0 of each is QEMU's user network: the host reaches ssh, LMTP and IMAP of each guest on ports of its own loopback.

PATH=$PATH:/usr/sbin:/sbin

data_size=256M
declare -A node_pid=()

# Modules that the guests need from the kernel's package: by folder, so that what is built on them resolves too.
module_folders=(
	arch/x86/crypto/aesni-intel.ko arch/x86/crypto/ghash-clmulni-intel.ko arch/x86/crypto/crc32c-intel.ko
	crypto lib net/tls net/core drivers/virtio drivers/block/virtio_blk.ko drivers/char/hw_random
	drivers/net/net_failover.ko drivers/net/virtio_net.ko
)
# What the initramfs loads to see disks and network; modprobe adds what they depend on.
boot_modules=(virtio_pci virtio_blk virtio_net)

# --- what the machines boot from ----------------------------------------------------------------------------------

# The kernel's modules that the guests need, with an index of their own; of the project's, what make install installs.
make_module_tree() { # TREE
	local abi from to path
	read -r abi <"$kernel/version"
	from=$kernel/lib/modules/$abi
	to=$1/usr/lib/modules/$abi
	mkdir -p "$to"
	for path in "${module_folders[@]}"; do
		mkdir -p "$to/kernel/$(dirname "$path")"
		[ -e "$from/kernel/$path" ] || path+=.xz
		cp -a "$from/kernel/$path" "$to/kernel/$path" || return
	done
	# Newer packages compress each module, which the initramfs cannot undo.
	find "$to" -name '*.ko.xz' -exec xz -d {} + || return
	cp "$from"/modules.{builtin,builtin.modinfo,order} "$to/" || return
	[ -z "$with_repl" ] || install_repl "$1" "$to" || return
	depmod -b "$1/usr" "$abi"
}

install_repl() { # TREE MODULES
	env -u MAKEFLAGS -u MAKELEVEL make -s -C "$top" install "BUILD=$build" "DESTDIR=$1" PREFIX=/usr \
		"KVER=$series" INSTALL_MOD_STRIP=1 || return
	# The guests' /lib is a link to /usr/lib.
	mv "$1"/lib/modules/*/* "$2/"
	rm -r "${1:?}/lib"
}

make_initrd() { # TREE-WITH-MODULES
	local root=$run/initrd abi module file
	read -r abi <"$kernel/version"
	mkdir -p "$root/bin" "$root/modules"
	cp "$(command -v busybox)" "$root/bin/busybox"
	cp "$top/tests/demo/image/init" "$root/init"
	for module in "${boot_modules[@]}"; do
		modprobe -d "$1/usr" -S "$abi" -D "$module" | awk '$1 == "insmod" { print $2 }' || exit
	done | awk '!seen[$0]++' | while read -r file; do
		cp "$file" "$root/modules/"
		basename "$file"
	done >"$root/modules/order" || return
	(cd "$root" && find . | cpio --quiet -R 0:0 -o -H newc) >"$run/initrd.img"
}

# The project's programs, units and rules, where a package would put them; the initramfs copies the tree over the root.
# The caller asks whether it worked, which switches errexit off in here: each step that can fail says so itself.
make_software_disk() {
	local tree=$run/software/tree
	mkdir -p "$tree"
	make_module_tree "$tree" || return
	make_initrd "$tree" || return
	fakeroot mke2fs -q -t ext4 -O ^has_journal -d "$run/software" "$run/software.ext4" 64M
}

make_node_disks() { # NODE
	qemu-img create -q -f qcow2 -F raw -b "$image/root.ext4" "$run/$1.root.qcow2"
	truncate -s "$data_size" "$run/$1.data"
}

# --- the machines -------------------------------------------------------------------------------------------------

free_ports() { # COUNT : ports of the loopback that nobody listens on, one a line
	python3 - "$1" <<-'EOF'
		import socket, sys
		held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
		print("\n".join(str(s.getsockname()[1]) for s in held))
	EOF
}

# mail2 is the listening end of the replication link: QEMU's listening end takes a new connection when the other
# machine is killed and comes back. The connecting end tries once only, so mail2 has to be started before mail1.
start_node() { # NODE
	local node=$1 n=${1#mail} link=connect accel="tcg,thread=multi"
	if vm_kvm_usable; then accel=kvm; fi
	[ "$node" = mail1 ] || link=listen
	qemu-system-x86_64 -name "$node" -M q35 -cpu max -accel "$accel" -smp "$node_cpus" -m 512 \
		-nodefaults -display none -no-reboot -serial "file:$run/$node.console" \
		-kernel "$kernel/vmlinuz" -initrd "$run/initrd.img" \
		-append "console=ttyS0 quiet panic=-1 mitigations=off net.ifnames=0 demo.node=$node \
systemd.machine_id=$(printf '%032x' "$n") systemd.condition-first-boot=no systemd.show_status=0" \
		-drive "file=$run/$node.root.qcow2,if=virtio,format=qcow2" \
		-drive "file=$run/$node.data,if=virtio,format=raw" \
		-drive "file=$run/software.ext4,if=virtio,format=raw,readonly=on" \
		-netdev "user,id=host,restrict=on,hostfwd=tcp:127.0.0.1:${port[$node.ssh]}-:22,\
hostfwd=tcp:127.0.0.1:${port[$node.lmtp]}-:24,hostfwd=tcp:127.0.0.1:${port[$node.imap]}-:143" \
		-device virtio-net-pci,netdev=host,mac=52:54:00:00:00:0"$n",romfile= \
		-netdev "socket,id=link,$link=127.0.0.1:${port[link]}" \
		-device virtio-net-pci,netdev=link,mac=52:54:00:00:01:0"$n",romfile= \
		-device virtio-rng-pci >"$run/$node.qemu" 2>&1 &
	node_pid[$node]=$!
}

link_listens() { [ -n "$(ss -Hltn "sport = :${port[link]}")" ]; }

node_alive() { # NODE
	[ -n "${node_pid[$1]:-}" ] && kill -0 "${node_pid[$1]}" 2>/dev/null
}

# A power cut: the process is gone between two instructions.
kill_node() { # NODE
	kill -9 "${node_pid[$1]}"
	wait "${node_pid[$1]}" 2>/dev/null || true
	unset "node_pid[$1]"
	ssh -F none -o ControlPath="$run/$1.ssh" -O exit "$1" 2>/dev/null || true
}

# Commands go over one kept connection: under emulation a key exchange takes a second, a command on it a tenth.
on() { # NODE COMMAND...
	local node=$1
	shift
	ssh -F none -i "$image/id" -p "${port[$node.ssh]}" -l root -o BatchMode=yes -o LogLevel=ERROR \
		-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=20 \
		-o ServerAliveInterval=10 -o ServerAliveCountMax=6 \
		-o ControlMaster=auto -o ControlPersist=600 -o ControlPath="$run/$node.ssh" \
		127.0.0.1 "$*"
}

node_answers() { # NODE : 0 once a command runs in it
	on "$1" true </dev/null 2>/dev/null
}
