/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stable JSON form of a view: repl-ctl(8) documents it. */
#ifndef REPL_CTL_REPORT_H
#define REPL_CTL_REPORT_H

#include <jansson.h>

#include "view.h"

/** report_role - primary or secondary */
const char *report_role(const struct kernel_volume *k);

/** report_view - everything, as repl-ctl status --json prints it. Return: NULL without memory. */
json_t *report_view(const struct view *v);

#endif /* REPL_CTL_REPORT_H */
