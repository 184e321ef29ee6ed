/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Streams that belong together: a full copy, and what changed since, in order. */
#ifndef REPL_LIB_CHAIN_H
#define REPL_LIB_CHAIN_H

#include "stream.h"

/**
 * chain_first - may a restore begin with it?
 * @name: the stream's, for words
 * @more: others follow
 * Return: 0, or -EINVAL with words: it is worth nothing without others before it.
 */
int chain_first(const struct stream_info *i, const char *name, bool more, struct err *e);

/**
 * chain_next - does it continue the one before it?
 * Return: 0, or -EINVAL with words: what is missing, or in the wrong place.
 */
int chain_next(const struct stream_info *before, const char *name_before,
	       const struct stream_info *i, const char *name, struct err *e);

#endif /* REPL_LIB_CHAIN_H */
