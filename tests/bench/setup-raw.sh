# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034
#
# raw: the RAM disk itself. No mirror can be faster than this; it is the machine's yardstick.

bench_setup()
{
	dev=/dev/ram0
}

bench_idle()
{
	:
}

bench_legs()
{
	:
}

bench_secondary()
{
	:
}

bench_teardown()
{
	:
}
