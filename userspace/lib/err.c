// SPDX-License-Identifier: GPL-2.0-or-later
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, int errnum, const char *fmt, ...)
{
	char text[sizeof(e->text)];
	va_list args;

	if (!e)
		return -errnum;
	/* Formatted aside: the arguments may lie in e->text. */
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	memcpy(e->text, text, sizeof(text));
	return -errnum;
}
