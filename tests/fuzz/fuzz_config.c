// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Configuration files of both kinds: what is refused is told, what is taken is freed.
 * needs: tests/fuzz/trap.c
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "trap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config c = { 0 };
	unsigned int reports = 0;
	const char *text;
	int ret;

	if (!size)
		return 0;
	text = (const char *)data + 1;
	if (data[0] & 1) {
		ret = config_parse_agent(text, size - 1, "agent.conf", &c.agent, trap_silent, &reports);
	} else {
		c.volume = calloc(1, sizeof(*c.volume));
		c.volume_count = 1;
		trap_unless(c.volume);
		ret = config_parse_volume(text, size - 1, "volumes/spool.conf", c.volume, trap_silent,
					  &reports);
	}
	trap_unless(!ret == !reports);
	config_free(&c);
	return 0;
}
