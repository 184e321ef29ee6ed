// SPDX-License-Identifier: GPL-2.0-or-later
#include "digest.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

enum { NONCE_BYTES = 12 };

struct digest {
	EVP_CIPHER_CTX *ctx;
};

struct digest *digest_new(const uint8_t key[REPL_DIGEST_KEY_BYTES])
{
	struct digest *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->ctx = EVP_CIPHER_CTX_new();
	if (!d->ctx || EVP_EncryptInit_ex(d->ctx, EVP_aes_128_gcm(), NULL, key, NULL) != 1) {
		digest_free(d);
		return NULL;
	}
	return d;
}

void digest_free(struct digest *d)
{
	if (d)
		EVP_CIPHER_CTX_free(d->ctx);
	free(d);
}

bool digest_is_zero(const uint8_t *p, size_t length)
{
	return !p[0] && !memcmp(p, p + 1, length - 1);
}

static bool digest_block(struct digest *d, uint64_t block, const uint8_t *data, size_t length,
			 struct repl_digest *out)
{
	uint8_t nonce[NONCE_BYTES] = { 0 };
	uint64_t number = htole64(block);
	int n;

	memcpy(nonce, &number, sizeof(number));
	return EVP_EncryptInit_ex(d->ctx, NULL, NULL, NULL, nonce) == 1 &&
	       EVP_EncryptUpdate(d->ctx, NULL, &n, data, (int)length) == 1 &&
	       EVP_EncryptFinal_ex(d->ctx, out->b, &n) == 1 &&
	       EVP_CIPHER_CTX_ctrl(d->ctx, EVP_CTRL_AEAD_GET_TAG, sizeof(out->b), out->b) == 1;
}

bool digest_blocks(struct digest *d, uint64_t offset, const uint8_t *data, size_t length,
		   struct repl_digest *out)
{
	for (size_t at = 0; at < length; at += REPL_BLOCK_BYTES, out++) {
		size_t n = length - at < REPL_BLOCK_BYTES ? length - at : REPL_BLOCK_BYTES;

		if (digest_is_zero(data + at, n))
			memset(out, 0, sizeof(*out));
		else if (!digest_block(d, (offset + at) >> REPL_BLOCK_SHIFT, data + at, n, out))
			return false;
	}
	return true;
}
