/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Digests of blocks, by which two copies are compared without being sent.
 *
 * What lies in a volume is written by strangers: a mail may be made so that two of its
 * blocks collide under any function that is known beforehand.  So the function is drawn
 * anew for every delta, with a random key of which nothing but the two agents knows:
 * GMAC, a polynomial over GF(2^128), under which two different blocks of at most 4 KiB,
 * chosen without the key, collide with a probability of at most 257 / 2^128.  That
 * holds for any two blocks, it is not an assumption about a cipher; and every server's
 * processor has instructions that make it ten times faster than a cryptographic hash.
 * Both ends use one nonce for a block, which GMAC as a signature could not bear: here
 * nobody sees a digest who could not see the block.
 */
#ifndef REPL_AGENT_DIGEST_H
#define REPL_AGENT_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <repl/wire.h>

struct digest;

/** digest_new - for the deltas with @key. Return: it, or NULL. */
struct digest *digest_new(const uint8_t key[REPL_DIGEST_KEY_BYTES]);
void digest_free(struct digest *d);

/**
 * digest_blocks - one for each block of @data
 * @offset: where it lies in the volume, bytes
 * @length: the last block may be partial
 * Return: false when OpenSSL fails.
 */
bool digest_blocks(struct digest *d, uint64_t offset, const uint8_t *data, size_t length,
		   struct repl_digest *out);

/** digest_is_zero - whether @length bytes, at least one, are */
bool digest_is_zero(const uint8_t *p, size_t length);

#endif /* REPL_AGENT_DIGEST_H */
