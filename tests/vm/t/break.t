#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=768 timeout=700 disks=32M,32M with=fio
#
# Breaks, and what coming back from them costs, over TLS: see tests/vm/break.sh.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"
# shellcheck disable=SC2034
BREAK_ENCRYPTION=tls
# shellcheck source=tests/vm/break.sh
. "$(dirname "$0")/../break.sh"
