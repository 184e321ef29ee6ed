#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# image.sh - build the disk image of a mail node, unless it is in the cache; print its directory.
#
# In that directory: root.ext4, the root file system of both nodes, and id, the key that may log in as root. The
# directory's name is a hash of the package list and of image/, so a change of either builds a new one. Kernel, modules
# and the project's programs are not in it: node.sh lays them over it at each boot.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cache=${REPL_CACHE:-$HOME/.cache/repl}/demo
PATH=$PATH:/usr/sbin:/sbin

suite=bookworm
packages=(
	# the node
	systemd systemd-sysv udev kmod iproute2 openssh-server procps psmisc e2fsprogs util-linux
	# the mail server; msmtp-mta is the smallest package that fulfils its dependency on a mail transfer agent
	cyrus-imapd msmtp-mta sasl2-bin libsasl2-modules libsasl2-modules-db
	# libraries of the project's programs
	libblkid1 libinih1 libjansson4 libnl-3-200 libnl-genl-3-200 libsmartcols1 libssl3 libsystemd0 liburing2
)
size=1400M

say() { printf 'demo image: %s\n' "$*" >&2; }

image_key() {
	{
		printf '%s\n' "$suite" "$size" "${packages[@]}"
		cat "$here"/image/{setup,imapd.conf,cyrus.conf}
	} | sha256sum | cut -c1-16
}

# The guests get Debian from where this machine gets it.
sources() {
	# The format is apt's own language, not the shell's.
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		awk -v s="$suite" '$2 == "main" && ($1 == s || $1 == s "-updates" || $1 == s "-security") {
			print "deb " $3 " " $1 " main" }' | sort -u
}

unpack_tree() { # TAR PUBKEY : a Debian tree, as root where that is possible and in a user namespace where not
	local include
	include=$(IFS=,; echo "${packages[*]}")
	mmdebstrap --variant=minbase --include="$include" \
		--dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--aptopt='Acquire::Languages "none"' \
		--customize-hook="mkdir \"\$1/setup\"" \
		--customize-hook="copy-in $here/image/setup $here/image/imapd.conf $here/image/cyrus.conf $2 /setup" \
		--customize-hook="chroot \"\$1\" /setup/setup" --customize-hook="rm -r \"\$1/setup\"" \
		"$suite" "$1" - >&2
}

# fakeroot: owners are written as the archive names them, whoever builds.
make_disk() { # TAR DISK
	local tree=${1%.tar}
	mkdir "$tree"
	fakeroot bash -euo pipefail >&2 <<-EOF
		tar -C ${tree@Q} -xf ${1@Q} --exclude='./dev/*'
		mke2fs -q -t ext4 -E lazy_itable_init=1,nodiscard -d ${tree@Q} ${2@Q} $size
	EOF
}

build_image() { # DIR
	local tmp=$1.new list
	list=$(sources)
	[ -n "$list" ] || {
		say "no apt source for Debian $suite main on this machine: add one to /etc/apt and run this again"
		exit 1
	}
	rm -rf "$tmp"
	mkdir -p "$tmp"
	ssh-keygen -q -t ed25519 -N '' -C demo -f "$tmp/id"
	say "building a Debian $suite tree with Cyrus IMAP (once; kept in $1)"
	unpack_tree "$tmp/root.tar" "$tmp/id.pub" <<<"$list"
	say "writing the disk image"
	make_disk "$tmp/root.tar" "$tmp/root.ext4"
	rm -rf "$tmp/root.tar" "${tmp:?}/root"
	mv "$tmp" "$1"
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock -n 9 || {
	say "waiting for another build of the image"
	flock 9
}
dir=$cache/$(image_key)
[ -s "$dir/root.ext4" ] || build_image "$dir"
touch "$dir"
# Images that a month of runs did not use belong to older versions of the list.
find "$cache" -mindepth 1 -maxdepth 1 -type d -mtime +30 -exec rm -rf {} +
echo "$dir"
