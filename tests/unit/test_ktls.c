// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The keys that the kernel is given: derived as the standard says, equal on both sides, and
 * those that OpenSSL really uses.  The run over kernel TLS itself is tests/vm/t/ktls.t.
 */
/* needs: userspace/agent/tls.c userspace/agent/ktls.c */
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls_ends.h"

enum {
	RECORD_TAG	= 16,
	NONCE		= 12,
};

static void skip(const char *name, const char *why)
{
	ok(true, "%s # SKIP %s", name, why);
}

/* --------------------------------------------------------------------- keys -- */

static void test_known_answer(void)
{
	/* RFC 8448 section 3: the application traffic secrets and what follows from them. */
	static const struct tls_secrets secrets = {
		.suite = TLS_SUITE_AES_128_GCM_SHA256,
		.client_size = 32,
		.server_size = 32,
		.client = {
			0x9e, 0x40, 0x64, 0x6c, 0xe7, 0x9a, 0x7f, 0x9d, 0xc0, 0x5a, 0xf8,
			0x88, 0x9b, 0xce, 0x65, 0x52, 0x87, 0x5a, 0xfa, 0x0b, 0x06, 0xdf,
			0x00, 0x87, 0xf7, 0x92, 0xeb, 0xb7, 0xc1, 0x75, 0x04, 0xa5,
		},
		.server = {
			0xa1, 0x1a, 0xf9, 0xf0, 0x55, 0x31, 0xf8, 0x56, 0xad, 0x47, 0x11,
			0x6b, 0x45, 0xa9, 0x50, 0x32, 0x82, 0x04, 0xb4, 0xf4, 0x4b, 0xfb,
			0x6b, 0x3a, 0x4b, 0x4f, 0x1f, 0x3f, 0xcb, 0x63, 0x16, 0x43,
		},
	};
	static const struct tls12_crypto_info_aes_gcm_128 tx = {
		.info = { TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_128 },
		.key = {
			0x17, 0x42, 0x2d, 0xda, 0x59, 0x6e, 0xd5, 0xd9,
			0xac, 0xd8, 0x90, 0xe3, 0xc6, 0x3f, 0x50, 0x51,
		},
		.salt = { 0x5b, 0x78, 0x92, 0x3d },
		.iv = { 0xee, 0x08, 0x57, 0x90, 0x33, 0xe5, 0x23, 0xd9 },
	};
	static const struct tls12_crypto_info_aes_gcm_128 rx = {
		.info = { TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_128 },
		.key = {
			0x9f, 0x02, 0x28, 0x3b, 0x6c, 0x9c, 0x07, 0xef,
			0xc2, 0x6b, 0xb9, 0xf2, 0xac, 0x92, 0xe3, 0x56,
		},
		.salt = { 0xcf, 0x78, 0x2b, 0x88 },
		.iv = { 0xdd, 0x83, 0x54, 0x9a, 0xad, 0xf1, 0xe9, 0x84 },
	};
	struct ktls_keys keys;

	ok(!ktls_derive(&secrets, &keys, NULL) && keys.size == sizeof(tx) &&
	   !memcmp(&keys.tx, &tx, sizeof(tx)) && !memcmp(&keys.rx, &rx, sizeof(rx)),
	   "the published keys follow from the published secrets (RFC 8448)");
}

static void test_derive_refuses(void)
{
	static const struct ktls_keys zero;
	struct tls_secrets secrets = { .suite = 0x1304, .client_size = 32, .server_size = 32 };
	struct ktls_keys keys;
	struct err err;

	ok(ktls_derive(&secrets, &keys, &err) == -EINVAL && strstr(err.text, "0x1304"),
	   "a suite the kernel is not given: %s", err.text);
	secrets.suite = TLS_SUITE_AES_256_GCM_SHA384;
	ok(ktls_derive(&secrets, &keys, &err) == -EINVAL && strstr(err.text, "48 expected") &&
	   !memcmp(&keys, &zero, sizeof(keys)), "secrets of a wrong size: %s", err.text);
}

/* The suite's record protection done by hand, as the kernel does it, sequence number 0. */
static int record_crypt(bool encrypt, const union ktls_crypto *crypto, const uint8_t *in, int n,
			uint8_t header[RECORD_HEADER], uint8_t tag[RECORD_TAG], uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	const EVP_CIPHER *cipher = EVP_aes_128_gcm();
	const uint8_t *key = crypto->aes_gcm_128.key;
	uint8_t nonce[NONCE];
	int done = 0, last;
	bool good;

	memcpy(nonce, crypto->aes_gcm_128.salt, 4);
	memcpy(nonce + 4, crypto->aes_gcm_128.iv, 8);
	if (crypto->info.cipher_type == TLS_CIPHER_AES_GCM_256) {
		cipher = EVP_aes_256_gcm();
		key = crypto->aes_gcm_256.key;
		memcpy(nonce, crypto->aes_gcm_256.salt, 4);
		memcpy(nonce + 4, crypto->aes_gcm_256.iv, 8);
	} else if (crypto->info.cipher_type == TLS_CIPHER_CHACHA20_POLY1305) {
		cipher = EVP_chacha20_poly1305();
		key = crypto->chacha20_poly1305.key;
		memcpy(nonce, crypto->chacha20_poly1305.iv, NONCE);
	}
	need(ctx && EVP_CipherInit_ex(ctx, cipher, NULL, key, nonce, encrypt) == 1 &&
	     EVP_CipherUpdate(ctx, NULL, &done, header, RECORD_HEADER) == 1 &&
	     EVP_CipherUpdate(ctx, out, &done, in, n) == 1, "a cipher");
	if (!encrypt)
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, RECORD_TAG, tag);
	good = EVP_CipherFinal_ex(ctx, out + done, &last) == 1;
	if (encrypt && good)
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, RECORD_TAG, tag);
	EVP_CIPHER_CTX_free(ctx);
	return good ? done : -1;
}

/* @f sends a record: our receive keys must open it; we seal one: @f must read it. */
static bool records_match(struct foreign *f, const struct ktls_keys *keys)
{
	static const char words[] = "every byte of the mail";
	uint8_t header[RECORD_HEADER] = { 23, 3, 3, 0, sizeof(words) + 1 + RECORD_TAG };
	uint8_t record[CHUNK], text[CHUNK], tag[RECORD_TAG];
	int n;

	if (SSL_write(f->ssl, words, sizeof(words)) != sizeof(words))
		return false;
	n = BIO_read(f->out, record, sizeof(record));
	if (n != (int)(RECORD_HEADER + sizeof(words) + 1 + RECORD_TAG))
		return false;
	n -= RECORD_HEADER + RECORD_TAG;
	if (record_crypt(false, &keys->rx, record + RECORD_HEADER, n, record,
			 record + RECORD_HEADER + n, text) != n ||
	    memcmp(text, words, sizeof(words)) || text[n - 1] != 23)
		return false;

	memcpy(text, words, sizeof(words));
	text[sizeof(words)] = 23;
	n = record_crypt(true, &keys->tx, text, sizeof(words) + 1, header, tag, record);
	return BIO_write(f->in, header, sizeof(header)) == sizeof(header) &&
	       BIO_write(f->in, record, n) == n &&
	       BIO_write(f->in, tag, sizeof(tag)) == sizeof(tag) &&
	       SSL_read(f->ssl, record, sizeof(record)) == sizeof(words) &&
	       !memcmp(record, words, sizeof(words));
}

static void test_suite(const char *suite, bool foreign_serves)
{
	const struct tls_secrets *secrets;
	struct ktls_keys keys;
	struct foreign f;
	struct end end;

	foreign_open(&f, foreign_serves);
	foreign_be(&f, &alice);
	need(SSL_CTX_set_ciphersuites(f.ctx, suite) == 1 &&
	     SSL_CTX_set_num_tickets(f.ctx, 0) == 1, "a suite");
	foreign_start(&f);
	end_open(&end, &bob, !foreign_serves, &alice);
	foreign_run(&f, &end);
	secrets = tls_secrets(end.tls, &end.err);
	ok(end_done(&end) && secrets && !ktls_derive(secrets, &keys, &end.err) &&
	   records_match(&f, &keys), "%s with an OpenSSL %s: records of each open at the other",
	   suite, foreign_serves ? "server" : "client");
	end_close(&end);
	foreign_close(&f);
}

/* ------------------------------------------------------------------ install -- */

static void test_install_refuses(void)
{
	struct pair pair;
	struct err err;
	int fds[2];

	need(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "a socket pair");
	pair_open(&pair);
	ok(tls_install(pair.client.tls, fds[0], &err) == -EINVAL && strstr(err.text, "not over"),
	   "no keys before the handshake is over: %s", err.text);
	pair_move(&pair, 0, CHUNK);
	pair_move(&pair, 1, CHUNK);
	ok(tls_state(pair.client.tls) == TLS_DONE &&
	   tls_install(pair.client.tls, fds[0], &err) == -EINVAL &&
	   strstr(err.text, "wait to be sent"), "nor before its last bytes went out: %s", err.text);
	pair_run(&pair, CHUNK);
	ok(tls_install(pair.client.tls, fds[0], &err) < 0 && err.text[0],
	   "nor into what is no TCP socket: %s", err.text);
	tls_wipe_secrets(pair.client.tls);
	ok(tls_install(pair.client.tls, fds[0], &err) == -EINVAL && strstr(err.text, "used before"),
	   "nor twice: %s", err.text);
	pair_close(&pair);
	close(fds[0]);
	close(fds[1]);
}

static void tcp_pair(int fds[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	need(listener >= 0 && !bind(listener, (struct sockaddr *)&address, size) &&
	     !listen(listener, 1) && !getsockname(listener, (struct sockaddr *)&address, &size),
	     "a listening socket on the loopback device");
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	need(fds[0] >= 0 && !connect(fds[0], (struct sockaddr *)&address, size), "a connection");
	fds[1] = accept(listener, NULL, NULL);
	need(fds[1] >= 0, "an accepted connection");
	close(listener);
}

/* The full run over kernel TLS is tests/vm/t/ktls.t; here the kernel may have none. */
static void test_install(void)
{
	static const char words[] = "sent by the kernel";
	struct pair pair;
	char got[64];
	struct err err;
	int fds[2];
	int ret;

	tcp_pair(fds);
	pair_open(&pair);
	pair_run(&pair, CHUNK);
	ret = tls_install(pair.server.tls, fds[1], &err);
	if (ret == -ENOENT) {
		ok(strstr(err.text, "modprobe"), "without kernel TLS: %s", err.text);
		skip("kernel TLS carries data", "this kernel has no TLS for sockets");
	} else {
		skip("without kernel TLS the words name the module", "this kernel has it");
		ok(!ret && !tls_install(pair.client.tls, fds[0], &err) &&
		   send(fds[1], words, sizeof(words), 0) == sizeof(words) &&
		   recv(fds[0], got, sizeof(got), 0) == sizeof(words) &&
		   !memcmp(got, words, sizeof(words)), "kernel TLS carries data");
	}
	ok(ktls_explain(fds[0], 0, &err) == -ECONNRESET && strstr(err.text, "hung up") &&
	   ktls_explain(fds[0], ETIMEDOUT, &err) == -ETIMEDOUT &&
	   strstr(err.text, strerror(ETIMEDOUT)), "other ends of a connection are named");
	pair_close(&pair);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	static const char *const suites[] = {
		"TLS_AES_128_GCM_SHA256",
		"TLS_AES_256_GCM_SHA384",
		"TLS_CHACHA20_POLY1305_SHA256",
		NULL
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	nodes_open();
	test_known_answer();
	test_derive_refuses();
	for (size_t i = 0; suites[i]; i++) {
		test_suite(suites[i], false);
		test_suite(suites[i], true);
	}
	test_install_refuses();
	test_install();
	nodes_close();
	return tap_end();
}
