/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The digests of a copy that was found equal to its peer's, in a file: docs/FORMAT.md.
 *
 * A mark of the volume remembers which blocks were written since.  What the mark does not
 * name has the digest that is here, or has changed by itself.  So a digest is dropped, durably
 * where it has to be, before the mark's blocks are.
 *
 * The key of the digests is in the file: only root may read it.  8 bytes of each digest are
 * kept, 2 GiB for a volume of 1 TiB; in memory there is one page of 4 KiB.
 */
#ifndef REPL_AGENT_SUMS_H
#define REPL_AGENT_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <repl/format.h>
#include <repl/wire.h>

#include "err.h"

enum sums_limits {
	SUMS_HEADER_BYTES	= 4096,
	SUMS_PAGE_BYTES		= 4096,
	SUMS_PAGE_BLOCKS	= 511,	/* digests of a page */
};

/* What the file is about; all of it must be so when it is read again. */
struct sums_about {
	struct repl_id copy_id, uuid;
	uint64_t size;			/* of the volume, bytes */
};

struct sums;

/** sums_path - where the file of a copy is. Return: @path. */
char *sums_path(const char *dir, const struct repl_id *copy_id, char *path, size_t size);

/** sums_create - an empty one, durably in place of what was there. Return: it, or NULL with words. */
struct sums *sums_create(const char *path, const struct sums_about *about,
			 const uint8_t key[REPL_DIGEST_KEY_BYTES], struct err *e);

/** sums_load - one that was sealed; its key goes to @key. Return: it, or NULL with words. */
struct sums *sums_load(const char *path, const struct sums_about *about,
		       uint8_t key[REPL_DIGEST_KEY_BYTES], struct err *e);
void sums_close(struct sums *s);

/** sums_put - store the digests of @count blocks. Return: 0 or -errno. */
int sums_put(struct sums *s, uint64_t block, uint64_t count, const struct repl_digest *digest);

/** sums_drop - nothing is known of these blocks any more. Return: 0 or -errno. */
int sums_drop(struct sums *s, uint64_t block, uint64_t count);

/**
 * sums_get - what is stored for @block
 * Return: 0: nothing (or its page is damaged), 1: that of @digest, -1: another.
 */
int sums_get(struct sums *s, uint64_t block, const struct repl_digest *digest);

/** sums_fd - for who has to wait until all that was put and dropped is durable */
int sums_fd(const struct sums *s);

/** sums_seal - all is durable: from now on it counts. Return: 0 or -errno; durable after a sync. */
int sums_seal(struct sums *s);

#endif /* REPL_AGENT_SUMS_H */
