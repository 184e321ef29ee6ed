/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The handshake that opens every connection between two agents: TLS 1.3, both
 * sides known by their pinned Ed25519 key.  It moves no bytes itself: the caller
 * feeds what arrived and sends what is pending, over whatever carries it.
 *
 *	tls = tls_new(ctx, server, known, arg, err);
 *	loop:
 *		send everything of tls_take()
 *		tls_state() == TLS_HANDSHAKE: receive, tls_feed(), again
 *	TLS_DONE:   tls_peer_key(), tls_install() (ktls.h), tls_free(): from now on the
 *		    descriptor itself encrypts
 *	TLS_FAILED: send what is pending (the alert tells the peer why), close, tls_free()
 *
 * Nothing may be read from the socket once the state is no longer TLS_HANDSHAKE:
 * what follows belongs to the kernel, and a byte that was read too early is lost to
 * it.  Two rules make that impossible instead of unlikely:
 *
 *   - the server sends the first record after the handshake;
 *   - the client sends nothing after its Finished until that record has arrived.
 *
 * The client is done before the server is: its last bytes are still pending then.  So
 * the server cannot have sent anything beyond its Finished when the client stops
 * reading, and the client has sent nothing beyond its Finished when the server stops.
 * A peer that breaks the rule fails the handshake here.
 *
 * A server that refuses the client says so only after the client was done.  The
 * client then finds an alert where it expected the first record: ktls_explain().
 *
 * No tickets, resumption, early data, key update or renegotiation.  Of the peer's
 * certificate only its public key counts; its names, dates and signature do not.
 */
#ifndef REPL_AGENT_TLS_H
#define REPL_AGENT_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <repl/format.h>

struct err;
struct tls_ctx;
struct tls;

enum tls_limits {
	TLS_SECRET_MAX		= 48,		/* SHA-384 */
	TLS_HANDSHAKE_MAX	= 16 << 10,	/* bytes taken from a peer not known yet */
};

enum tls_state {
	TLS_HANDSHAKE,	/* send what is pending, feed what arrives */
	TLS_DONE,	/* the peer is known; send what is pending, read no more */
	TLS_FAILED,	/* send what is pending, then close */
};

/* IANA numbers of the cipher suites offered, most wanted first. */
enum tls_suite {
	TLS_SUITE_AES_128_GCM_SHA256		= 0x1301,
	TLS_SUITE_AES_256_GCM_SHA384		= 0x1302,
	TLS_SUITE_CHACHA20_POLY1305_SHA256	= 0x1303,
};

/* What ktls.c derives the record keys from. */
struct tls_secrets {
	enum tls_suite	suite;
	bool		is_server;		/* this side */
	size_t		client_size;		/* bytes; 0 until known, and once wiped */
	size_t		server_size;
	/* client_application_traffic_secret_0 of RFC 8446, and the server's */
	uint8_t		client[TLS_SECRET_MAX];
	uint8_t		server[TLS_SECRET_MAX];
};

/**
 * tls_ctx_new() - this node's identity for all its connections
 * @private_key:	raw Ed25519 private key; copied, the caller may wipe its own
 * @err:		says why on failure
 *
 * Makes the self-signed certificate that carries the public key.
 * Return: the context, or NULL.
 */
struct tls_ctx *tls_ctx_new(const uint8_t private_key[REPL_KEY_BYTES], struct err *err);

/**
 * tls_ctx_free() - forget the identity
 * @ctx:	may be NULL; its connections may still live, each holds its own reference
 */
void tls_ctx_free(struct tls_ctx *ctx);

/**
 * tls_new() - one end of one handshake
 * @ctx:	this node
 * @server:	true for the side that accepted the connection
 * @known:	asked once about the peer's public key: false refuses the peer
 * @arg:	handed to @known
 * @err:	says why on failure
 *
 * A client has bytes pending at once.
 * Return: the handshake, or NULL.
 */
struct tls *tls_new(struct tls_ctx *ctx, bool server,
		    bool (*known)(const uint8_t key[REPL_KEY_BYTES], void *arg), void *arg,
		    struct err *err);

/**
 * tls_new_lasting() - a client's end whose keys do not wear out
 *
 * As tls_new(), but ChaCha20-Poly1305 alone is offered: the kernel cannot replace keys,
 * and those of AES-GCM are good for KTLS_AES_GCM_BYTES (ktls.h).  A connection that
 * cannot end when it likes needs these; AES-GCM is faster where the CPU has it.
 */
struct tls *tls_new_lasting(struct tls_ctx *ctx,
			    bool (*known)(const uint8_t key[REPL_KEY_BYTES], void *arg), void *arg,
			    struct err *err);

/**
 * tls_free() - forget a handshake and wipe its secrets
 * @tls:	may be NULL
 *
 * Sends nothing.  Keys already installed into a socket stay there.
 */
void tls_free(struct tls *tls);

/**
 * tls_feed() - bytes arrived from the peer
 * @tls:	in state TLS_HANDSHAKE
 * @in:		the bytes
 * @n:		how many; 0 means that the peer closed the connection
 * @err:	why the handshake failed, in words for the administrator
 *
 * Look at tls_state() and tls_pending_out() after each call, a failed one too.
 * Return: 0, or negative errno with the state TLS_FAILED: -EACCES the peer's key is
 * not known, or ours is not known to the peer; -EPROTO anything else the peer did
 * wrong; -ECONNRESET it closed; -ENOMEM.
 */
int tls_feed(struct tls *tls, const void *in, size_t n, struct err *err);

/** tls_pending_out() - bytes that wait to be sent */
size_t tls_pending_out(const struct tls *tls);

/**
 * tls_take() - move pending bytes out, to be sent in this order
 * @tls:	the handshake
 * @out:	where to
 * @max:	room there, bytes
 *
 * Return: bytes moved, 0 when none are pending.
 */
size_t tls_take(struct tls *tls, void *out, size_t max);

/** tls_state() - where the handshake stands */
enum tls_state tls_state(const struct tls *tls);

/**
 * tls_peer_key() - who the peer proved to be
 * @tls:	the handshake
 *
 * Return: its raw Ed25519 public key, valid until tls_free(); NULL unless TLS_DONE.
 */
const uint8_t *tls_peer_key(const struct tls *tls);

/* For ktls.c. */

/**
 * tls_secrets() - the traffic secrets of a handshake that is over
 * @tls:	the handshake
 * @err:	says why not
 *
 * Refuses unless everything of the handshake was taken for sending and nothing read
 * from the peer is left inside: only then both sequence numbers are zero and the
 * stream stands at a record's start.
 * Return: the secrets, or NULL.
 */
const struct tls_secrets *tls_secrets(const struct tls *tls, struct err *err);

/** tls_wipe_secrets() - the kernel has them now; tls_secrets() refuses from here on */
void tls_wipe_secrets(struct tls *tls);

#endif /* REPL_AGENT_TLS_H */
