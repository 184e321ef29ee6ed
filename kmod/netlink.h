/* SPDX-License-Identifier: GPL-2.0-only */
/* The netlink family: translates, decides nothing.  include/uapi/linux/repl.h is its manual. */
#ifndef REPL_NETLINK_H
#define REPL_NETLINK_H

#include "volume.h"

__printf(4, 5) void netlink_event(struct volume *v, enum repl_event event, int slot,
				  const char *fmt, ...);
int netlink_init(void);
void netlink_exit(void);

#endif /* REPL_NETLINK_H */
