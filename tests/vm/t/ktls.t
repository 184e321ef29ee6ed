#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: mem=512 timeout=240 files=build/vm/prog/ktls_pair
#
# The agents' keys in the kernel: both directions carry what was sent, OpenSSL at the other end agrees about every
# record, and whatever comes instead of data is named.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"

pair=/repl/build/vm/prog/ktls_pair

# Loading the module on demand takes a capability that the agent may lack: then the words say what to do.
ok "without the module, and not allowed to load it: modprobe tls" \
	setpriv --bounding-set -net_admin,-sys_module "$pair" unavailable
modprobe tls

ok "two agents, 8 MiB each way at once" "$pair" agents 8388608
for suite in TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256; do
	ok "$suite with an OpenSSL client" "$pair" openssl "$suite" client 1048576
	ok "$suite with an OpenSSL server" "$pair" openssl "$suite" server 1048576
done

# Without udev nothing has loaded it; asynchronous on 6.1, so it takes other paths through the kernel's TLS.
modprobe aesni-intel
ok "the same with the CPU's own AES" "$pair" agents 8388608
ok "and with OpenSSL" "$pair" openssl TLS_AES_128_GCM_SHA256 server 1048576

ok "records that arrived before the client's keys are seen and read" "$pair" early
ok "a server that refuses this node's key is named by its alert" "$pair" refused open
ok "a server that refuses and hangs up is named, too" "$pair" refused closed
ok "an orderly end is named" "$pair" bye
ok "a key update is refused and named" "$pair" keyupdate
ok "a record that does not decrypt is named" "$pair" garbage
ok "keys are installed once" "$pair" twice

like "$(cat /proc/net/tls_stat)" 'TlsDecryptError[[:space:]]+1' "the kernel counted the one bad record"
done_testing
