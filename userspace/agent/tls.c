// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * TLS 1.3 between two pinned keys, over memory buffers.  See tls.h for the rules.
 */
#include "tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "key.h"

/* Every choice is pinned: an agent talks to agents only, so nothing is left to agree. */
#define TLS_SUITE_LASTING	"TLS_CHACHA20_POLY1305_SHA256"
#define TLS_SUITES						\
	"TLS_AES_128_GCM_SHA256:"				\
	"TLS_AES_256_GCM_SHA384:"				\
	TLS_SUITE_LASTING
#define TLS_GROUPS	"X25519"
#define TLS_SIGNATURES	"ed25519"

#define NOT_AN_AGENT	"it is not a repl-agent; check address and port in agent.conf"

enum tls_own_limits {
	TLS_CERT_LIST_MAX	= 4096,		/* bytes; ours has about 250 */
};

struct tls_ctx {
	SSL_CTX *ssl_ctx;
};

struct tls {
	SSL *ssl;
	BIO *in;			/* both belong to ssl */
	BIO *out;
	bool (*known)(const uint8_t key[REPL_KEY_BYTES], void *arg);
	void *arg;
	enum tls_state state;
	size_t fed;			/* bytes of the peer, bounded by TLS_HANDSHAKE_MAX */
	bool peer_accepted;		/* known() said yes to peer_key */
	uint8_t peer_key[REPL_KEY_BYTES];
	int refused;			/* EPROTO no Ed25519 key, EACCES not known(); else 0 */
	struct tls_secrets secrets;
};

/* The raw key of @pkey; false when it is not an Ed25519 key. */
static bool raw_key(EVP_PKEY *pkey, uint8_t key[REPL_KEY_BYTES])
{
	size_t size = REPL_KEY_BYTES;

	return pkey && EVP_PKEY_is_a(pkey, "ED25519") &&
	       EVP_PKEY_get_raw_public_key(pkey, key, &size) == 1 && size == REPL_KEY_BYTES;
}

/* ------------------------------------------------------------- identity -- */

static bool fill_certificate(X509 *cert, EVP_PKEY *pkey)
{
	X509_NAME *name = X509_get_subject_name(cert);

	/* Dates that need no clock: the key, not the calendar, says who may connect. */
	return X509_set_version(cert, X509_VERSION_3) &&
	       ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
					  (const unsigned char *)"repl", -1, -1, 0) &&
	       X509_set_issuer_name(cert, name) &&
	       ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), "19700101000000Z") &&
	       ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), "99991231235959Z") &&
	       X509_set_pubkey(cert, pkey) && X509_sign(cert, pkey, NULL);
}

static bool use_identity(SSL_CTX *ssl_ctx, const uint8_t private_key[REPL_KEY_BYTES])
{
	EVP_PKEY *pkey;
	X509 *cert;
	bool ok;

	pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private_key, REPL_KEY_BYTES);
	cert = X509_new();
	ok = pkey && cert && fill_certificate(cert, pkey) &&
	     SSL_CTX_use_certificate(ssl_ctx, cert) == 1 &&
	     SSL_CTX_use_PrivateKey(ssl_ctx, pkey) == 1;
	X509_free(cert);
	EVP_PKEY_free(pkey);
	return ok;
}

static int refuse(struct tls *tls, X509_STORE_CTX *store, int errnum, int verdict)
{
	tls->refused = errnum;
	X509_STORE_CTX_set_error(store, verdict);
	return 0;
}

/* In place of the library's verification of chains, names and dates. */
static int verify_peer(X509_STORE_CTX *store, void *unused)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *tls = SSL_get_app_data(ssl);
	X509 *cert = X509_STORE_CTX_get0_cert(store);

	(void)unused;
	if (!raw_key(cert ? X509_get0_pubkey(cert) : NULL, tls->peer_key))
		return refuse(tls, store, EPROTO, X509_V_ERR_INVALID_PURPOSE);
	if (!tls->known(tls->peer_key, tls->arg))
		return refuse(tls, store, EACCES, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
	tls->peer_accepted = true;
	X509_STORE_CTX_set_error(store, X509_V_OK);
	return 1;
}

/* @line is "LABEL client-random secret", the last two in hexadecimal. */
static void take_secret(const SSL *ssl, const char *line)
{
	struct tls *tls = SSL_get_app_data(ssl);
	const char *secret = strrchr(line, ' ');
	size_t *size;
	uint8_t *to;

	if (!secret)
		return;
	if (!strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", strlen("CLIENT_TRAFFIC_SECRET_0 "))) {
		to = tls->secrets.client;
		size = &tls->secrets.client_size;
	} else if (!strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", strlen("SERVER_TRAFFIC_SECRET_0 "))) {
		to = tls->secrets.server;
		size = &tls->secrets.server_size;
	} else {
		return;
	}
	/* What does not parse leaves the size 0, and finish() refuses that. */
	if (OPENSSL_hexstr2buf_ex(to, TLS_SECRET_MAX, size, secret + 1, '\0') != 1)
		*size = 0;
}

static bool configure(SSL_CTX *ssl_ctx)
{
	SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_TICKET);
#ifdef SSL_OP_NO_RX_CERTIFICATE_COMPRESSION
	SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_RX_CERTIFICATE_COMPRESSION |
			    SSL_OP_NO_TX_CERTIFICATE_COMPRESSION);
#endif
	/* Its dummy records serve middleboxes only. */
	SSL_CTX_clear_options(ssl_ctx, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
	SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_cert_list(ssl_ctx, TLS_CERT_LIST_MAX);
	SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(ssl_ctx, verify_peer, NULL);
	SSL_CTX_set_keylog_callback(ssl_ctx, take_secret);
	return SSL_CTX_set_min_proto_version(ssl_ctx, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_max_proto_version(ssl_ctx, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_num_tickets(ssl_ctx, 0) == 1 &&
	       SSL_CTX_set_ciphersuites(ssl_ctx, TLS_SUITES) == 1 &&
	       SSL_CTX_set1_groups_list(ssl_ctx, TLS_GROUPS) == 1 &&
	       SSL_CTX_set1_sigalgs_list(ssl_ctx, TLS_SIGNATURES) == 1 &&
	       SSL_CTX_set1_client_sigalgs_list(ssl_ctx, TLS_SIGNATURES) == 1;
}

/* The oldest entry of the library's error queue is the cause, later ones its callers. */
static const char *library_words(void)
{
	const char *words = ERR_reason_error_string(ERR_peek_error());

	return words ? words : "it gives no reason";
}

struct tls_ctx *tls_ctx_new(const uint8_t private_key[REPL_KEY_BYTES], struct err *err)
{
	struct tls_ctx *ctx = calloc(1, sizeof(*ctx));

	if (!ctx) {
		err_set(err, ENOMEM, "TLS identity: out of memory");
		return NULL;
	}
	ERR_clear_error();
	ctx->ssl_ctx = SSL_CTX_new(TLS_method());
	if (!ctx->ssl_ctx || !configure(ctx->ssl_ctx) || !use_identity(ctx->ssl_ctx, private_key)) {
		err_set(err, EIO, "TLS identity: OpenSSL refuses it, check openssl.cnf: %s",
			library_words());
		tls_ctx_free(ctx);
		return NULL;
	}
	return ctx;
}

void tls_ctx_free(struct tls_ctx *ctx)
{
	if (!ctx)
		return;
	SSL_CTX_free(ctx->ssl_ctx);
	free(ctx);
}

/* ------------------------------------------------------------ handshake -- */

/* This node's own key, for the peer's administrator to copy. */
static void own_key_words(const struct tls *tls, char out[KEY_TEXT_MAX])
{
	uint8_t key[REPL_KEY_BYTES];

	if (raw_key(SSL_get_privatekey(tls->ssl), key))
		key_encode(key, out);
	else
		strcpy(out, "(unreadable)");
}

/* What the administrator of either node has to add, with the key in words. */
static int explain_key(const struct tls *tls, bool own, struct err *err)
{
	char key[KEY_TEXT_MAX];

	if (own) {
		own_key_words(tls, key);
		return err_set(err, EACCES,
			       "peer does not list this node's key %s: add it to its agent.conf",
			       key);
	}
	key_encode(tls->peer_key, key);
	if (SSL_is_server(tls->ssl))
		return err_set(err, EACCES,
			       "peer's key %s is not in agent.conf: add a [peer] with it if wanted",
			       key);
	return err_set(err, EACCES,
		       "peer's key %s is not in agent.conf as that peer's public-key: correct it",
		       key);
}

/* Why SSL_do_handshake() failed: the library's reason in an administrator's words. */
static int explain(const struct tls *tls, struct err *err)
{
	unsigned long cause = ERR_peek_error();

	if (tls->refused == EACCES)
		return explain_key(tls, false, err);
	if (tls->refused)
		return err_set(err, tls->refused, "peer's key is not Ed25519: " NOT_AN_AGENT);
	if (ERR_GET_REASON(cause) == ERR_R_MALLOC_FAILURE)
		return err_set(err, ENOMEM, "TLS handshake: out of memory");
	switch (ERR_GET_LIB(cause) == ERR_LIB_SSL ? ERR_GET_REASON(cause) : 0) {
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
		return explain_key(tls, true, err);
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return err_set(err, EPROTO, "peer shows no certificate: " NOT_AN_AGENT);
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
		return err_set(err, EPROTO, "peer does not speak TLS 1.3: " NOT_AN_AGENT);
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_HTTP_REQUEST:
	case SSL_R_HTTPS_PROXY_REQUEST:
		return err_set(err, EPROTO, "peer does not speak TLS: " NOT_AN_AGENT);
	default:
		return err_set(err, EPROTO, "TLS handshake failed: %s; the peer's log may say more",
			       library_words());
	}
}

static int fail(struct tls *tls, int ret)
{
	tls->state = TLS_FAILED;
	tls_wipe_secrets(tls);
	return ret;
}

/*
 * Once the library is content, what is pending is this side's Finished and no alert: the
 * peer must not get it, or it would believe that both are done.
 */
static int fail_late(struct tls *tls, int ret)
{
	(void)BIO_reset(tls->out);
	return fail(tls, ret);
}

/* Bytes of the peer that the handshake did not consume. */
static bool left_over(const struct tls *tls)
{
	return BIO_ctrl_pending(tls->in) || SSL_has_pending(tls->ssl);
}

/* The library is content; it is done only when everything this file promises holds. */
static int finish(struct tls *tls, struct err *err)
{
	if (!tls->peer_accepted || !tls->secrets.client_size || !tls->secrets.server_size)
		return fail_late(tls, err_set(err, EPROTO,
					      "TLS handshake gave no keys: check openssl.cnf"));
	if (left_over(tls))
		return fail_late(tls, err_set(err, EPROTO,
					      "peer sent data before its turn: " NOT_AN_AGENT));
	tls->secrets.suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(tls->ssl));
	tls->secrets.is_server = SSL_is_server(tls->ssl);
	tls->state = TLS_DONE;
	return 0;
}

static int step(struct tls *tls, struct err *err)
{
	int ret;

	ERR_clear_error();
	ret = SSL_do_handshake(tls->ssl);
	if (ret == 1)
		return finish(tls, err);
	if (SSL_get_error(tls->ssl, ret) == SSL_ERROR_WANT_READ)
		return 0;
	return fail(tls, explain(tls, err));
}

static bool attach_buffers(struct tls *tls)
{
	tls->in = BIO_new(BIO_s_mem());
	tls->out = BIO_new(BIO_s_mem());
	if (!tls->in || !tls->out) {
		BIO_free(tls->in);
		BIO_free(tls->out);
		return false;
	}
	SSL_set_bio(tls->ssl, tls->in, tls->out);
	return true;
}

static struct tls *new_end(struct tls_ctx *ctx, bool server, const char *suites,
			   bool (*known)(const uint8_t key[REPL_KEY_BYTES], void *arg), void *arg,
			   struct err *err)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	if (!tls)
		goto no_memory;
	tls->known = known;
	tls->arg = arg;
	tls->ssl = SSL_new(ctx->ssl_ctx);
	if (!tls->ssl || !attach_buffers(tls) || SSL_set_app_data(tls->ssl, tls) != 1 ||
	    SSL_set_ciphersuites(tls->ssl, suites) != 1)
		goto no_memory;
	if (server) {
		SSL_set_accept_state(tls->ssl);
		return tls;
	}
	SSL_set_connect_state(tls->ssl);
	if (step(tls, err) < 0)
		goto free_tls;
	return tls;
no_memory:
	err_set(err, ENOMEM, "TLS handshake: out of memory");
free_tls:
	tls_free(tls);
	return NULL;
}

struct tls *tls_new(struct tls_ctx *ctx, bool server,
		    bool (*known)(const uint8_t key[REPL_KEY_BYTES], void *arg), void *arg,
		    struct err *err)
{
	return new_end(ctx, server, TLS_SUITES, known, arg, err);
}

struct tls *tls_new_lasting(struct tls_ctx *ctx,
			    bool (*known)(const uint8_t key[REPL_KEY_BYTES], void *arg), void *arg,
			    struct err *err)
{
	return new_end(ctx, false, TLS_SUITE_LASTING, known, arg, err);
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	OPENSSL_cleanse(tls, sizeof(*tls));
	free(tls);
}

int tls_feed(struct tls *tls, const void *in, size_t n, struct err *err)
{
	size_t written;

	if (tls->state == TLS_FAILED)
		return err_set(err, EPROTO, "TLS handshake failed before: close the connection");
	if (!n)
		return fail(tls, err_set(err, ECONNRESET,
					 "peer hung up during the TLS handshake: see its log"));
	if (tls->state == TLS_DONE)
		return fail_late(tls, err_set(err, EPROTO,
					      "data was read behind the TLS handshake: close it"));
	if (n > TLS_HANDSHAKE_MAX - tls->fed)
		return fail(tls, err_set(err, EPROTO,
					 "peer's TLS handshake does not end: " NOT_AN_AGENT));
	tls->fed += n;
	if (BIO_write_ex(tls->in, in, n, &written) != 1 || written != n)
		return fail(tls, err_set(err, ENOMEM, "TLS handshake: out of memory"));
	return step(tls, err);
}

size_t tls_pending_out(const struct tls *tls)
{
	return BIO_ctrl_pending(tls->out);
}

size_t tls_take(struct tls *tls, void *out, size_t max)
{
	size_t taken;

	/* An empty buffer reads as "try again": no bytes. */
	return BIO_read_ex(tls->out, out, max, &taken) == 1 ? taken : 0;
}

enum tls_state tls_state(const struct tls *tls)
{
	return tls->state;
}

const uint8_t *tls_peer_key(const struct tls *tls)
{
	return tls->state == TLS_DONE ? tls->peer_key : NULL;
}

/* --------------------------------------------------------------- secrets -- */

const struct tls_secrets *tls_secrets(const struct tls *tls, struct err *err)
{
	const char *why = NULL;

	if (tls->state != TLS_DONE)
		why = "it is not over";
	else if (tls_pending_out(tls))
		why = "bytes of it wait to be sent";
	else if (left_over(tls))
		why = "data was read behind it";
	else if (!tls->secrets.client_size)
		why = "they were used before";
	if (why) {
		err_set(err, EINVAL, "keys of this TLS handshake cannot be used: %s", why);
		return NULL;
	}
	return &tls->secrets;
}

void tls_wipe_secrets(struct tls *tls)
{
	OPENSSL_cleanse(&tls->secrets, sizeof(tls->secrets));
}
