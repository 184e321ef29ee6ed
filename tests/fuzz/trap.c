// SPDX-License-Identifier: GPL-2.0-or-later
#include "trap.h"

#include <stdio.h>
#include <stdlib.h>

void trap(const char *file, int line, const char *fact)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, fact);
	abort();
}

void trap_silent(void *arg, const char *text)
{
	trap_unless(text && text[0]);
	++*(unsigned int *)arg;
}
