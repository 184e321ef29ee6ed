# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034
#
# md-nvme: md RAID1 with an internal write-intent bitmap over /dev/ram0 and a remote disk:
# /dev/ram1, exported by the kernel's NVMe target over TCP on loopback and attached again by
# the kernel's NVMe host. mdadm's, nvmet's and nvme-tcp's defaults.

readonly nvmet=/sys/kernel/config/nvmet
readonly nqn=bench

nvme_export()
{
	local subsystem=$nvmet/subsystems/$nqn port=$nvmet/ports/1

	[[ -d $nvmet ]] || mount -t configfs none /sys/kernel/config
	mkdir "$subsystem"
	echo 1 > "$subsystem/attr_allow_any_host"
	mkdir "$subsystem/namespaces/1"
	echo /dev/ram1 > "$subsystem/namespaces/1/device_path"
	echo 1 > "$subsystem/namespaces/1/enable"
	mkdir "$port"
	echo tcp > "$port/addr_trtype"
	echo ipv4 > "$port/addr_adrfam"
	echo 127.0.0.1 > "$port/addr_traddr"
	echo 4420 > "$port/addr_trsvcid"
	ln -s "$subsystem" "$port/subsystems/$nqn"
}

nvme_unexport()
{
	rm "$nvmet/ports/1/subsystems/$nqn"
	rmdir "$nvmet/ports/1"
	rmdir "$nvmet/subsystems/$nqn/namespaces/1"
	rmdir "$nvmet/subsystems/$nqn"
}

md_idle()
{
	[[ $(< /sys/block/md0/md/sync_action) == idle ]] &&
	[[ $(< /sys/block/md0/md/degraded) == 0 ]] &&
	[[ $(< /sys/block/md0/md/array_state) == clean ]]
}

bench_setup()
{
	dev=/dev/md0
	modprobe -a nvmet-tcp nvme-tcp raid1
	nvme_export
	echo "transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=$nqn" > /dev/nvme-fabrics
	wait_for 10 "/dev/nvme0n1" test -b /dev/nvme0n1
	mdadm --create /dev/md0 --run --level=1 --raid-devices=2 --bitmap=internal \
		/dev/ram0 /dev/nvme0n1 2> /dev/null
	wait_for 300 "md in sync" md_idle
}

bench_idle()
{
	wait_for 60 "md idle" md_idle
}

# md keeps its superblock and bitmap in front of the data.
bench_legs()
{
	local bytes

	bytes=$(blockdev --getsize64 /dev/md0)
	echo "/dev/ram0 $(($(< /sys/block/md0/md/rd0/offset) * 512)) $bytes"
	echo "/dev/ram1 $(($(< /sys/block/md0/md/rd1/offset) * 512)) $bytes"
}

bench_secondary()
{
	:
}

bench_teardown()
{
	mdadm --stop /dev/md0 2> /dev/null
	echo 1 > /sys/class/nvme/nvme0/delete_controller
	wait_for 10 "/dev/nvme0n1 gone" test ! -e /dev/nvme0n1
	nvme_unexport
	rmmod raid1 nvme_tcp nvmet_tcp
}
