// SPDX-License-Identifier: GPL-2.0-or-later
#include "key.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

enum key_sizes {
	KEY_BASE64_BYTES	= KEY_TEXT_MAX - 1,
	KEY_DECODED_MAX		= KEY_BASE64_BYTES / 4 * 3,
	KEY_FILE_MAX		= 256,
};

void key_wipe(void *secret, unsigned int bytes)
{
	OPENSSL_cleanse(secret, bytes);
}

bool key_public_equal(const struct key_public *a, const struct key_public *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

int key_generate(struct key_private *priv, struct err *e)
{
	/* An Ed25519 private key is any 32 random bytes: RFC 8032, 5.1.5. */
	if (RAND_priv_bytes(priv->b, sizeof(priv->b)) != 1)
		return err_set(e, EIO, "no random numbers for a new key: OpenSSL refuses");
	return 0;
}

int key_derive_public(const struct key_private *priv, struct key_public *pub, struct err *e)
{
	size_t bytes = sizeof(pub->b);
	EVP_PKEY *pkey;
	int ok;

	pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, priv->b, sizeof(priv->b));
	if (!pkey)
		return err_set(e, ENOMEM, "the private key: OpenSSL cannot load it");
	ok = EVP_PKEY_get_raw_public_key(pkey, pub->b, &bytes);
	EVP_PKEY_free(pkey);
	if (ok != 1 || bytes != sizeof(pub->b))
		return err_set(e, EIO, "the private key: OpenSSL cannot derive the public one");
	return 0;
}

char *key_encode(const uint8_t raw[REPL_KEY_BYTES], char text[KEY_TEXT_MAX])
{
	EVP_EncodeBlock((unsigned char *)text, raw, REPL_KEY_BYTES);
	return text;
}

int key_decode(const char *text, uint8_t raw[REPL_KEY_BYTES])
{
	unsigned char decoded[KEY_DECODED_MAX];
	char again[KEY_TEXT_MAX];
	size_t length;
	int ret = -EINVAL;

	memset(raw, 0, REPL_KEY_BYTES);
	while (isspace((unsigned char)*text))
		text++;
	length = strlen(text);
	while (length && isspace((unsigned char)text[length - 1]))
		length--;
	if (length != KEY_BASE64_BYTES)
		return -EINVAL;
	if (EVP_DecodeBlock(decoded, (const unsigned char *)text, KEY_BASE64_BYTES) < 0)
		goto wipe;
	/* Spelled in exactly one way, so that equal keys are equal text: no stray bits, one '='. */
	key_encode(decoded, again);
	if (memcmp(again, text, KEY_BASE64_BYTES) == 0) {
		memcpy(raw, decoded, REPL_KEY_BYTES);
		ret = 0;
	}
	key_wipe(again, sizeof(again));
wipe:
	key_wipe(decoded, sizeof(decoded));
	return ret;
}

static int read_key_file(int fd, const char *path, char text[KEY_FILE_MAX], struct err *e)
{
	struct stat st;
	ssize_t got;

	if (fstat(fd, &st) < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s: is no plain file; key= must name one", path);
	if (st.st_mode & 077)
		return err_set(e, EPERM,
			       "%s: others may read or write this private key (mode %04o); run chmod 600 %s",
			       path, st.st_mode & 07777, path);
	got = read(fd, text, KEY_FILE_MAX - 1);
	if (got < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	text[got] = '\0';
	return 0;
}

int key_load_private(const char *path, struct key_private *priv, struct err *e)
{
	char text[KEY_FILE_MAX];
	int ret;
	int fd;

	/* Not blocking: a FIFO by mistake must not hang the agent. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return err_set(e, ENOENT, "%s: no such key file; make one with: repl-ctl genkey %s",
			       path, path);
	/* Who made it as root has made it for root. */
	if (fd < 0 && errno == EACCES)
		return err_set(e, EACCES, "%s: you may not read it: run this as root; for the agent it must belong to the agent's user (chown repl %s)",
			       path, path);
	if (fd < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	ret = read_key_file(fd, path, text, e);
	close(fd);
	if (ret)
		goto wipe;
	if (key_decode(text, priv->b))
		ret = err_set(e, EINVAL,
			      "%s: is no private key: one line of 44 base64 characters is expected; make one with repl-ctl genkey",
			      path);
wipe:
	key_wipe(text, sizeof(text));
	return ret;
}
