#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tests/crash/mail.sh DIRECTORY SEED ACKED... <IMAGE - is the mail of a swept point there? As root or not: nothing is mounted.
# What the next mount would do to the journal is done; then the file system is clean, and has each acknowledged message.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
dir=$1
shift
image=$dir/image
rm -rf "$dir/mail"
mkdir -p "$dir/mail"
cat >"$image"
rc=0
e2fsck -p "$image" >"$dir/out" 2>&1 || rc=$?
if [ "$rc" -gt 1 ] || ! e2fsck -fn "$image" >>"$dir/out" 2>&1; then
	tail -n 8 "$dir/out" | sed 's/^/#   /'
	exit 1
fi
# Whom the files belong to is not copied, and no matter.
debugfs -R "rdump / $dir/mail" "$image" >/dev/null 2>&1
"${REPL_BUILD:-build}/vm/prog/crashload" verify-mail "$dir/mail" "$@" | sed 's/^/#   /'
