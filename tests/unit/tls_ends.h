/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the handshake and of its keys share: three nodes, agents' ends joined
 * in memory, and plain OpenSSL as the peer that is no agent.
 */
#ifndef TESTS_UNIT_TLS_ENDS_H
#define TESTS_UNIT_TLS_ENDS_H

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "key.h"
#include "ktls.h"
#include "tap.h"
#include "tls.h"

enum {
	CHUNK		= 4096,		/* bytes moved at once where it does not matter */
	RECORD_HEADER	= 5,
};

/* --------------------------------------------------------------- identity -- */

struct node {
	uint8_t private_key[REPL_KEY_BYTES];
	uint8_t public_key[REPL_KEY_BYTES];
	char text[KEY_TEXT_MAX];	/* of the public key */
	struct tls_ctx *ctx;
};

static struct node alice, bob, mallory;

static inline EVP_PKEY *node_pkey(const struct node *node)
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, node->private_key,
						      REPL_KEY_BYTES);

	need(pkey, "a private key");
	return pkey;
}

static inline void node_init(struct node *node, uint8_t seed)
{
	size_t size = REPL_KEY_BYTES;
	struct err err;
	EVP_PKEY *pkey;

	memset(node->private_key, seed, REPL_KEY_BYTES);
	pkey = node_pkey(node);
	need(EVP_PKEY_get_raw_public_key(pkey, node->public_key, &size) == 1, "a public key");
	EVP_PKEY_free(pkey);
	key_encode(node->public_key, node->text);
	node->ctx = tls_ctx_new(node->private_key, &err);
	need(node->ctx, err.text);
}

static inline void nodes_open(void)
{
	node_init(&alice, 0x11);
	node_init(&bob, 0x22);
	node_init(&mallory, 0x33);
}

static inline void nodes_close(void)
{
	tls_ctx_free(alice.ctx);
	tls_ctx_free(bob.ctx);
	tls_ctx_free(mallory.ctx);
}

/* ------------------------------------------------------------------- ends -- */

/* One agent's end. */
struct end {
	struct tls *tls;
	const struct node *wants;	/* the only peer it knows */
	unsigned int asked;
	int ret;			/* of the last feed */
	struct err err;
	size_t after;			/* bytes that arrived once it read no more */
};

static inline bool end_known(const uint8_t key[REPL_KEY_BYTES], void *arg)
{
	struct end *end = arg;

	end->asked++;
	return !memcmp(key, end->wants->public_key, REPL_KEY_BYTES);
}

static inline void end_open(struct end *end, const struct node *self, bool server,
			    const struct node *wants)
{
	memset(end, 0, sizeof(*end));
	end->wants = wants;
	end->tls = tls_new(self->ctx, server, end_known, end, &end->err);
	need(end->tls, end->err.text);
}

static inline void end_close(struct end *end)
{
	tls_free(end->tls);
	end->tls = NULL;
}

static inline void end_feed(struct end *end, const void *bytes, size_t n)
{
	if (tls_state(end->tls) == TLS_HANDSHAKE)
		end->ret = tls_feed(end->tls, bytes, n, &end->err);
	else
		end->after += n;
}

static inline bool end_failed(const struct end *end, int ret, const char *words)
{
	bool pass = tls_state(end->tls) == TLS_FAILED && end->ret == ret &&
		    strstr(end->err.text, words) && !tls_peer_key(end->tls);

	if (!pass)
		printf("# state %d, %s: \"%s\"\n", (int)tls_state(end->tls), strerror(-end->ret),
		       end->err.text);
	return pass;
}

static inline bool end_done(const struct end *end)
{
	return tls_state(end->tls) == TLS_DONE && !end->ret && end->asked == 1 &&
	       !memcmp(tls_peer_key(end->tls), end->wants->public_key, REPL_KEY_BYTES);
}

/* Two agents' ends and what happens between them. */
struct pair {
	struct end client, server;
	size_t sent[2];			/* bytes so far: by the client, by the server */
	int victim;			/* whose bytes are changed: 0, 1 or -1 for nobody's */
	size_t offset;			/* the byte */
	uint8_t flip;			/* exclusive or */
	bool cut;			/* the stream ends there instead */
};

static inline void pair_open(struct pair *pair)
{
	memset(pair, 0, sizeof(*pair));
	pair->victim = -1;
	end_open(&pair->client, &alice, false, &bob);
	end_open(&pair->server, &bob, true, &alice);
}

static inline void pair_close(struct pair *pair)
{
	end_close(&pair->client);
	end_close(&pair->server);
}

/* Return: whether anything moved. */
static inline bool pair_move(struct pair *pair, int from, size_t max)
{
	struct end *src = from ? &pair->server : &pair->client;
	struct end *dst = from ? &pair->client : &pair->server;
	size_t start = pair->sent[from];
	uint8_t bytes[CHUNK];
	size_t n = tls_take(src->tls, bytes, max);

	if (!n)
		return false;
	pair->sent[from] += n;
	if (pair->victim != from || pair->offset >= start + n) {
		end_feed(dst, bytes, n);
		return true;
	}
	if (!pair->cut) {
		if (pair->offset >= start)
			bytes[pair->offset - start] ^= pair->flip;
		end_feed(dst, bytes, n);
		return true;
	}
	if (pair->offset > start)
		end_feed(dst, bytes, pair->offset - start);
	end_feed(dst, NULL, 0);
	pair->victim = -1;
	return true;
}

static inline void pair_run(struct pair *pair, size_t max)
{
	bool moved;

	do {
		moved = pair_move(pair, 0, max);
		moved |= pair_move(pair, 1, max);
	} while (moved);
}

/* --------------------------------------------------------------- foreigners -- */

/* A peer that is no agent: plain OpenSSL that trusts everybody. */
struct foreign {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in, *out;
};

static inline int trust_all(X509_STORE_CTX *store, void *unused)
{
	(void)store;
	(void)unused;
	return 1;
}

static inline void foreign_open(struct foreign *f, bool server)
{
	f->ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	need(f->ctx, "an OpenSSL context");
	SSL_CTX_set_verify(f->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(f->ctx, trust_all, NULL);
	f->ssl = NULL;
}

/* Give @f a certificate of @key, signed by @signer. */
static inline X509 *foreign_certify(struct foreign *f, EVP_PKEY *key, EVP_PKEY *signer)
{
	bool edwards = EVP_PKEY_is_a(signer, "ED25519");
	X509 *cert = X509_new();

	need(cert && X509_gmtime_adj(X509_getm_notBefore(cert), 0) &&
	     X509_gmtime_adj(X509_getm_notAfter(cert), 60) && X509_set_pubkey(cert, key) &&
	     X509_sign(cert, signer, edwards ? NULL : EVP_sha256()), "a certificate");
	need(SSL_CTX_use_certificate(f->ctx, cert) == 1 &&
	     SSL_CTX_use_PrivateKey(f->ctx, key) == 1, "a certificate in use");
	return cert;
}

static inline void foreign_be(struct foreign *f, const struct node *node)
{
	EVP_PKEY *pkey = node_pkey(node);

	X509_free(foreign_certify(f, pkey, pkey));
	EVP_PKEY_free(pkey);
}

static inline void foreign_start(struct foreign *f)
{
	f->ssl = SSL_new(f->ctx);
	f->in = BIO_new(BIO_s_mem());
	f->out = BIO_new(BIO_s_mem());
	need(f->ssl && f->in && f->out, "an OpenSSL connection");
	SSL_set_bio(f->ssl, f->in, f->out);
	if (SSL_CTX_get_ssl_method(f->ctx) == TLS_server_method())
		SSL_set_accept_state(f->ssl);
	else
		SSL_set_connect_state(f->ssl);
}

static inline void foreign_close(struct foreign *f)
{
	SSL_free(f->ssl);
	SSL_CTX_free(f->ctx);
}

/* Everything in both directions until nothing moves. */
static inline void foreign_run(struct foreign *f, struct end *end)
{
	uint8_t bytes[CHUNK];
	bool moved;
	int n;

	do {
		SSL_do_handshake(f->ssl);
		ERR_clear_error();
		moved = false;
		n = BIO_read(f->out, bytes, sizeof(bytes));
		if (n > 0) {
			end_feed(end, bytes, (size_t)n);
			moved = true;
		}
		n = (int)tls_take(end->tls, bytes, sizeof(bytes));
		if (n > 0) {
			need(BIO_write(f->in, bytes, n) == n, "room in a memory buffer");
			moved = true;
		}
	} while (moved);
}

#endif /* TESTS_UNIT_TLS_ENDS_H */
