/* SPDX-License-Identifier: GPL-2.0-only */
/* What GET and events say of a volume, as netlink attributes. */
#ifndef REPL_STATUS_H
#define REPL_STATUS_H

#include <net/genetlink.h>
#include "volume.h"

enum status_sizes {
	STATUS_BYTES = 16 << 10,	/* the largest answer: all slots with words */
};

int status_put(struct sk_buff *msg, const struct genl_family *family, u32 portid, u32 seq,
	       int flags, struct volume *v);
struct sk_buff *status_event(const struct genl_family *family, struct volume *v,
			     enum repl_event event, int slot, const char *text);

#endif /* REPL_STATUS_H */
