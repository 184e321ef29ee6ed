# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034
#
# repl-plain: two nodes, a (primary, /dev/ram0) and b (secondary, /dev/ram1), each in a network
#             namespace with an agent of its own, in sync and live; the link in the clear.
# repl-tls:   the same, link encrypted, which is the default.
# repl-alone: repl-plain after the peer has left: every write is marked for it.
# The namespaces are joined by a veth pair, the nearest thing to loopback that two nodes with the
# same volume can have. All other settings are the defaults.
# shellcheck source=tests/vm/repl.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/repl.sh"

repl_network()
{
	local node

	ip netns add a
	ip netns add b
	ip link add eth0 netns a type veth peer name eth0 netns b
	for node in a b; do
		in_node "$node" ip link set lo up
		# As the loopback device that the others use.
		in_node "$node" ip link set eth0 mtu 65535 up
	done
	in_node a ip addr add 10.0.0.1/24 dev eth0
	in_node b ip addr add 10.0.0.2/24 dev eth0
}

repl_pair_idle()
{
	both_live a b &&
	[[ $(status_of a '[.peers[] | .dirty_bytes, .in_flight_bytes] | add') == 0 ]]
}

repl_alone()
{
	peer_is a b disconnected || peer_is a b connecting
}

bench_setup()
{
	repl_variant=$1
	dev=/dev/repl0
	repl_network
	repl_node a /dev/ram0
	repl_node b /dev/ram1
	case $repl_variant in
	alone | plain)
		repl_config "encryption = none"
		;;
	tls)
		repl_config "encryption = tls"
		;;
	*)
		die "repl is measured as 'alone', 'plain' or 'tls'"
		;;
	esac
	repl_mkfs a b
	repl_start a
	if [[ $repl_variant == alone ]]; then
		run_quiet ctl b down "$REPL_VOLUME"
		agent_kill b TERM
	fi
}

bench_idle()
{
	if [[ $repl_variant == alone ]]; then
		wait_for 60 "repl alone" repl_alone
	else
		wait_for 60 "repl live and idle" repl_pair_idle
	fi
}

# The metadata lies behind the data.
bench_legs()
{
	local bytes

	[[ $repl_variant != alone ]] || return 0
	bytes=$(volume_bytes a)
	echo "/dev/ram0 0 $bytes"
	echo "/dev/ram1 0 $bytes"
}

bench_secondary()
{
	[[ $repl_variant != alone ]] || return 0
	node_disk b
}

repl_take_down()
{
	if [[ $repl_variant == alone ]]; then
		run_quiet ctl a down "$REPL_VOLUME" && agent_kill a TERM
	else
		repl_stop
	fi
}

bench_teardown()
{
	if ! repl_take_down; then
		diag "log of a:" && sed 's/^/# /' "$(node_dir a)/log"
		diag "log of b:" && sed 's/^/# /' "$(node_dir b)/log"
		die "the volume does not go down"
	fi
	rmmod repl
	ip netns del a
	ip netns del b
	rm -r "$(node_dir a)" "$(node_dir b)"
}
