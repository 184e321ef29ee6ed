/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A volume's file, where a command changes what it says. */
#ifndef REPL_CTL_EDIT_H
#define REPL_CTL_EDIT_H

#include "err.h"

/**
 * edit_device - let a volume's file say another device; all else stays as it is
 * @path: of the file
 * @device: an absolute path
 * @metadata: the same for what it says of metadata, which is added if it says nothing;
 *	NULL: that stays, too
 *
 * The file is replaced by a whole new one, durably.
 * Return: 0 or -errno, with the file as it was.
 */
int edit_device(const char *path, const char *device, const char *metadata, struct err *e);

#endif /* REPL_CTL_EDIT_H */
