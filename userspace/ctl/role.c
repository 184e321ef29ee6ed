// SPDX-License-Identifier: GPL-2.0-or-later
/* repl-ctl role: one word, from the kernel, for scripts. */
#include <errno.h>
#include <stdio.h>

#include "ctl.h"
#include "err.h"
#include "kernel.h"

int ctl_role(const struct ctl *ctl, int argc, char **argv)
{
	struct kernel_volume v;
	struct kernel *k;
	struct err e;
	int ret;

	if (argc != 2 || argv[1][0] == '-')
		return ctl_misuse(ctl, "exactly one volume is expected");
	ret = kernel_open(&k, &e);
	if (!ret) {
		ret = kernel_get(k, argv[1], &v, &e);
		kernel_close(k);
	}
	if (!ret) {
		puts(v.role == REPL_ROLE_PRIMARY ? "primary" : "secondary");
		return CTL_DONE;
	}
	/* Not there is an answer; not able to ask is none. */
	if (ret == -ENODEV || ret == -ENOENT)
		puts("down");
	return ctl_complain("%s: %s", argv[1], e.text);
}
