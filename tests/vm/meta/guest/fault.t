#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: smp=1 mem=256
#
# Goes wrong in the way FAULT says; tests/vm/meta/*.t expect the harness to notice.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../../lib.sh"

pass "the script runs"
case $FAULT in
module-*) insmod /repl/repl_meta.ko fault="${FAULT#module-}" ;;
not-ok) is 1 2 "one is two" ;;
missing) not_ok "it fails" there-is-no-such-program ;;
words) ok "a command fails" bash -c 'echo "words of its own"; exit 1' ;;
dies) false ;;
hangs) sleep 1000 ;;
half) exit 0 ;;
plan) echo "1..7" && exit 0 ;;
powers-off) busybox poweroff -f && sleep 1000 ;;
segfault) bash -c 'ulimit -c 0; exec 2>/dev/null; kill -s SEGV $$' || bash -c 'ulimit -s 8; f() { f; }; f' || true ;;
klog) echo "BUG: planted" >/dev/kmsg ;;
klog-allowed)
	klog_allow '^.*BUG: planted$'
	echo "BUG: planted" >/dev/kmsg
	;;
esac
done_testing
