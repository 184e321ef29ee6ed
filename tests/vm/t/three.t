#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=768 timeout=400 disks=48M,48M,48M with=fio
#
# Three nodes, two live peers at once, over links with TLS: see tests/vm/three.sh.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"
# shellcheck disable=SC2034
THREE_ENCRYPTION=tls
# shellcheck source=tests/vm/three.sh
. "$(dirname "$0")/../three.sh"
