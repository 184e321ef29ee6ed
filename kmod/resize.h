/* SPDX-License-Identifier: GPL-2.0-only */
/* A volume grows into devices that have grown below it. */
#ifndef REPL_RESIZE_H
#define REPL_RESIZE_H

#include "volume.h"

int resize(struct op *op, struct why *why);

#endif /* REPL_RESIZE_H */
