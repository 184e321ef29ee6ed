#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# scripts/deps: which kernel it takes. For some hours after an update the newest headers have no image yet.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/../vm/tap.sh
. "$here/../vm/tap.sh"
deps=$here/../../scripts/deps

box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
mkdir "$box/bin" "$box/cache"

fake() { # COMMAND : its text comes from standard input
	{
		echo '#!/usr/bin/env bash'
		cat
	} >"$box/bin/$1"
	chmod 755 "$box/bin/$1"
}

# An archive of which the test says, a name to a line, what it has. Like the real one, apt-cache does not fail at a name
# that others only refer to: it says nothing. What is fetched is written down, and then the script may end as it likes.
fake apt-cache <<-'EOF'
	case $1 in
	pkgnames) grep "^$2" "$ARCHIVE" ;;
	show) for name in "${@:3}"; do grep -qx "$name" "$ARCHIVE" && echo "Package: $name"; done ;;
	esac
	exit 0
EOF
fake apt-get <<-'EOF'
	echo "${@: -1}" >>"$FETCHED"
	case "$*" in *download*) exit 1 ;; esac
EOF
fake dpkg <<<'echo amd64'
fake dpkg-query <<-'EOF'
	for name in "${@:4}"; do
		case $name in linux-*) ;; *) echo "$name installed" ;; esac
	done
EOF
fake sudo <<<'exec "$@"'

archive() { printf '%s\n' "$@" >"$box/archive"; }

run() { # sets $code and $fetched
	: >"$box/fetched"
	code=0
	PATH=$box/bin:$PATH ARCHIVE=$box/archive FETCHED=$box/fetched REPL_CACHE=$box/cache "$deps" build >"$box/words" 2>&1 || code=$?
	fetched=$(tr '\n' ' ' <"$box/fetched")
}

archive linux-{headers,image}-6.1.0-{9,55,56}-cloud-amd64
run
is "$fetched" 'update linux-headers-6.1.0-56-cloud-amd64 linux-image-6.1.0-56-cloud-amd64 ' 'the newest kernel is taken, by number'
archive linux-{headers,image}-6.1.0-{55,56}-cloud-amd64 linux-headers-6.1.0-57-cloud-amd64 linux-image-6.1.0-57-cloud-amd64-unsigned
run
is "$fetched" 'update linux-headers-6.1.0-56-cloud-amd64 linux-image-6.1.0-56-cloud-amd64 ' 'but for one that has headers and no image yet'
not_ok 'an image that cannot be fetched is a failure' [ "$code" -eq 0 ]
is "$(find "$box/cache" -name version)" '' 'after which no kernel counts as there'

done_testing
