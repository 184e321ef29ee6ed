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

/**
 * edit_peer - let a volume's file name one more peer, or one less
 * @path: of the file
 * @node: the peer
 * @mode: of the peer, as the file has it; NULL: the peer goes
 * @old: what the file said, for edit_restore(); to be freed, if this returns 0
 *
 * The file is parsed before and after: a mistake, in words with file and line, changes nothing.
 * Return: 0 or -errno, with the file as it was: -EEXIST when it names the peer already,
 *	-ENOENT when it does not.
 */
int edit_peer(const char *path, const char *node, const char *mode, char **old, struct err *e);

/** edit_restore - let the file say @text again, durably. Return: 0 or -errno. */
int edit_restore(const char *path, const char *text, struct err *e);

#endif /* REPL_CTL_EDIT_H */
