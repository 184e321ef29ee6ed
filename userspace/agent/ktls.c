// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From traffic secrets to a socket that encrypts by itself.
 *
 * OpenSSL 3.0 offloads only sending with TLS 1.3, and a link needs both directions, so
 * the record keys are derived here (RFC 8446 section 7.3) and installed by hand.
 */
#include "ktls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

#include "err.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

enum ktls_limits {
	KTLS_NONCE_BYTES	= 12,	/* the kernel splits it into salt and iv */
	KTLS_ALERT_BYTES	= 2,	/* level, description */
};

/* Where the parts of one suite lie in the kernel's struct. */
struct layout {
	enum tls_suite suite;
	uint16_t cipher;
	const char *name;		/* for people */
	const char *module;		/* of the kernel, that has the cipher */
	const char *digest;
	size_t secret_size;		/* bytes, as all below */
	size_t size;
	size_t key, key_size;
	size_t salt, salt_size;
	size_t iv;
};

#define LAYOUT(type, salt_bytes)						\
	.size = sizeof(struct tls12_crypto_info_##type),			\
	.key = offsetof(struct tls12_crypto_info_##type, key),			\
	.key_size = sizeof(((struct tls12_crypto_info_##type *)0)->key),	\
	.salt = offsetof(struct tls12_crypto_info_##type, salt),		\
	.salt_size = (salt_bytes),						\
	.iv = offsetof(struct tls12_crypto_info_##type, iv)

static const struct layout layouts[] = {
	{
		.suite = TLS_SUITE_AES_128_GCM_SHA256,
		.cipher = TLS_CIPHER_AES_GCM_128,
		.name = "AES-128-GCM",
		.module = "gcm",
		.digest = "SHA256",
		.secret_size = 32,
		LAYOUT(aes_gcm_128, TLS_CIPHER_AES_GCM_128_SALT_SIZE),
	},
	{
		.suite = TLS_SUITE_AES_256_GCM_SHA384,
		.cipher = TLS_CIPHER_AES_GCM_256,
		.name = "AES-256-GCM",
		.module = "gcm",
		.digest = "SHA384",
		.secret_size = 48,
		LAYOUT(aes_gcm_256, TLS_CIPHER_AES_GCM_256_SALT_SIZE),
	},
	{
		.suite = TLS_SUITE_CHACHA20_POLY1305_SHA256,
		.cipher = TLS_CIPHER_CHACHA20_POLY1305,
		.name = "ChaCha20-Poly1305",
		.module = "chacha20poly1305",
		.digest = "SHA256",
		.secret_size = 32,
		LAYOUT(chacha20_poly1305, TLS_CIPHER_CHACHA20_POLY1305_SALT_SIZE),
	},
};

enum { LAYOUTS = sizeof(layouts) / sizeof(layouts[0]) };

static const struct layout *layout_of(enum tls_suite suite)
{
	for (size_t i = 0; i < LAYOUTS; i++)
		if (layouts[i].suite == suite)
			return &layouts[i];
	return NULL;
}

/* ------------------------------------------------------------ derivation -- */

static bool expand_label(EVP_KDF *kdf, const struct layout *l, const uint8_t *secret,
			 const char *label, uint8_t *out, size_t size)
{
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)l->digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)secret,
						  l->secret_size),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (void *)"tls13 ",
						  strlen("tls13 ")),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (void *)label,
						  strlen(label)),
		OSSL_PARAM_construct_end(),
	};
	bool ok = ctx && EVP_KDF_derive(ctx, out, size, params) == 1;

	EVP_KDF_CTX_free(ctx);
	return ok;
}

/* @crypto must be zero: its sequence number stays so. */
static bool derive_direction(EVP_KDF *kdf, const struct layout *l, const uint8_t *secret,
			     union ktls_crypto *crypto)
{
	uint8_t nonce[KTLS_NONCE_BYTES];
	uint8_t *base = (uint8_t *)crypto;
	bool ok;

	crypto->info.version = TLS_1_3_VERSION;
	crypto->info.cipher_type = l->cipher;
	ok = expand_label(kdf, l, secret, "key", base + l->key, l->key_size) &&
	     expand_label(kdf, l, secret, "iv", nonce, sizeof(nonce));
	if (ok) {
		memcpy(base + l->salt, nonce, l->salt_size);
		memcpy(base + l->iv, nonce + l->salt_size, sizeof(nonce) - l->salt_size);
	}
	OPENSSL_cleanse(nonce, sizeof(nonce));
	return ok;
}

int ktls_derive(const struct tls_secrets *secrets, struct ktls_keys *keys, struct err *err)
{
	const struct layout *l = layout_of(secrets->suite);
	EVP_KDF *kdf;
	bool ok;

	memset(keys, 0, sizeof(*keys));
	if (!l)
		return err_set(err, EINVAL,
			       "TLS keys: the kernel is not given cipher suite 0x%04x",
			       (unsigned int)secrets->suite);
	if (secrets->client_size != l->secret_size || secrets->server_size != l->secret_size)
		return err_set(err, EINVAL, "TLS keys: secrets of %zu and %zu bytes, %zu expected",
			       secrets->client_size, secrets->server_size, l->secret_size);
	kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
	ok = kdf && derive_direction(kdf, l, secrets->is_server ? secrets->server : secrets->client,
				     &keys->tx) &&
	     derive_direction(kdf, l, secrets->is_server ? secrets->client : secrets->server,
			      &keys->rx);
	EVP_KDF_free(kdf);
	if (!ok) {
		OPENSSL_cleanse(keys, sizeof(*keys));
		return err_set(err, EIO,
			       "TLS keys: OpenSSL has no TLS13-KDF: check openssl.cnf");
	}
	keys->size = l->size;
	keys->cipher = l->name;
	keys->module = l->module;
	return 0;
}

/* ---------------------------------------------------------- installation -- */

static int attach_tls(int fd, struct err *err)
{
	if (!setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")))
		return 0;
	switch (errno) {
	case ENOENT:
		return err_set(err, ENOENT,
			       "kernel has no TLS for sockets: modprobe tls, at boot too");
	case ENOTCONN:
		return err_set(err, ENOTCONN,
			       "peer hung up at once: it may not list this node's key, see its log");
	case EEXIST:
		return err_set(err, EEXIST, "TLS keys of this socket are installed already");
	default:
		return err_set(err, errno, "kernel refuses TLS on this socket: %s",
			       strerror(errno));
	}
}

static int set_keys(int fd, int direction, const struct ktls_keys *keys, struct err *err)
{
	const union ktls_crypto *crypto = direction == TLS_TX ? &keys->tx : &keys->rx;

	if (!setsockopt(fd, SOL_TLS, direction, crypto, (socklen_t)keys->size))
		return 0;
	if (errno == ENOENT)
		return err_set(err, ENOENT, "kernel has no %s for TLS: modprobe %s", keys->cipher,
			       keys->module);
	return err_set(err, errno, "kernel refuses the TLS keys for %s with %s: %s",
		       direction == TLS_TX ? "sending" : "receiving", keys->cipher,
		       strerror(errno));
}

int tls_install(struct tls *tls, int fd, struct err *err)
{
	const struct tls_secrets *secrets = tls_secrets(tls, err);
	struct ktls_keys keys;
	int ret;

	if (!secrets)
		return -EINVAL;
	ret = ktls_derive(secrets, &keys, err);
	if (ret < 0)
		return ret;
	ret = attach_tls(fd, err);
	if (!ret)
		ret = set_keys(fd, TLS_TX, &keys, err);
	if (!ret)
		ret = set_keys(fd, TLS_RX, &keys, err);
	if (!ret)
		tls_wipe_secrets(tls);
	OPENSSL_cleanse(&keys, sizeof(keys));
	return ret;
}

/* ---------------------------------------------------------------- alerts -- */

/* One waiting record that is not data: its type, or -1 when there is none. */
static int take_control_record(int fd, uint8_t *body, size_t max, size_t *size)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(unsigned char))];
	} control;
	struct iovec iov = { .iov_base = body, .iov_len = max };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	ssize_t n;

	n = recvmsg(fd, &msg, MSG_DONTWAIT);
	if (n < 0)
		return -1;
	*size = (size_t)n;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_level != SOL_TLS || cmsg->cmsg_type != TLS_GET_RECORD_TYPE ||
	    cmsg->cmsg_len < CMSG_LEN(sizeof(unsigned char)))
		return -1;
	return *CMSG_DATA(cmsg);
}

static int alert_words(uint8_t description, struct err *err)
{
	switch (description) {
	case SSL3_AD_CLOSE_NOTIFY:
		return err_set(err, ECONNRESET, "peer closed the connection");
	case TLS1_AD_UNKNOWN_CA:
		return err_set(err, EACCES,
			       "peer does not list this node's key: add it to its agent.conf");
	default:
		return err_set(err, EPROTO,
			       "peer ended the connection with TLS alert \"%s\": see its log",
			       SSL_alert_desc_string_long(description));
	}
}

int ktls_explain(int fd, int errnum, struct err *err)
{
	uint8_t body[KTLS_ALERT_BYTES];
	size_t size = 0;
	int type;

	if (!errnum)
		return err_set(err, ECONNRESET,
			       "peer hung up right after the TLS handshake: see its log");
	if (errnum == EBADMSG)
		return err_set(err, EBADMSG,
			       "a TLS record does not decrypt: it was changed on the way");
	type = errnum == EIO ? take_control_record(fd, body, sizeof(body), &size) : -1;
	if (type == SSL3_RT_ALERT && size == sizeof(body))
		return alert_words(body[1], err);
	if (type >= 0 && type != SSL3_RT_APPLICATION_DATA)
		return err_set(err, EPROTO,
			       "peer sent a TLS record of type %d, not data: no repl-agent", type);
	return err_set(err, errnum, "receiving from the peer failed: %s", strerror(errnum));
}
