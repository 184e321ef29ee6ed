/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A node's identity: an Ed25519 key pair, and its form in files. */
#ifndef REPL_KEY_H
#define REPL_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include <repl/format.h>

#include "err.h"

enum key_limits {
	KEY_TEXT_MAX = 45,	/* 44 base64 characters and the zero */
};

struct key_public {
	uint8_t b[REPL_KEY_BYTES];
};

/* Wipe with key_wipe() before it goes out of scope. */
struct key_private {
	uint8_t b[REPL_KEY_BYTES];
};

/** key_generate - make a new private key. Return: 0 or -errno. */
int key_generate(struct key_private *priv, struct err *e);

/** key_derive_public - the public half of @priv. Return: 0 or -errno. */
int key_derive_public(const struct key_private *priv, struct key_public *pub, struct err *e);

/**
 * key_encode - 32 raw bytes of either half as base64
 * Return: @text.  The caller wipes it when it was a private key.
 */
char *key_encode(const uint8_t raw[REPL_KEY_BYTES], char text[KEY_TEXT_MAX]);

/**
 * key_decode - base64 of exactly 32 bytes, surrounding white space allowed
 * Return: 0, or -EINVAL; then @raw is zero.
 */
int key_decode(const char *text, uint8_t raw[REPL_KEY_BYTES]);

/**
 * key_load_private - read a private key file
 * @path: one line of base64; refused when it is no plain file, or when anybody
 *	but its owner may read or write it
 * Return: 0 or -errno, with words.
 */
int key_load_private(const char *path, struct key_private *priv, struct err *e);

/** key_public_equal - whether both are the same key */
bool key_public_equal(const struct key_public *a, const struct key_public *b);

/** key_wipe - overwrite a secret so that the compiler cannot leave it out */
void key_wipe(void *secret, unsigned int bytes);

#endif /* REPL_KEY_H */
