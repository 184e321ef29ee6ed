/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hand a finished handshake's keys to the kernel: from then on read, write and
 * io_uring on the descriptor move plaintext, and repl.ko can adopt the socket.
 *
 * Keys are set once: Linux 6.1 and 6.12 cannot replace them, and a peer's KeyUpdate
 * (no repl agent sends one) makes the next receive fail.  AES-GCM is good for
 * KTLS_AES_GCM_BYTES in each direction (RFC 8446 section 5.5: 2^24.5 full records);
 * the agent replaces a link before that.  ChaCha20-Poly1305 has no such limit, and
 * sessions are dialled with nothing else.
 */
#ifndef REPL_AGENT_KTLS_H
#define REPL_AGENT_KTLS_H

#include <linux/tls.h>
#include <stddef.h>

#include "tls.h"

/* 23,726,566 records of 16 KiB: 362 GiB, one way. */
#define KTLS_AES_GCM_BYTES	(23726566ull << 14)

/* One direction's keys as setsockopt(SOL_TLS) takes them. */
union ktls_crypto {
	struct tls_crypto_info				info;
	struct tls12_crypto_info_aes_gcm_128		aes_gcm_128;
	struct tls12_crypto_info_aes_gcm_256		aes_gcm_256;
	struct tls12_crypto_info_chacha20_poly1305	chacha20_poly1305;
};

struct ktls_keys {
	size_t			size;		/* bytes used of each union */
	const char		*cipher;	/* for people */
	const char		*module;	/* of the kernel, that has the cipher */
	union ktls_crypto	tx;
	union ktls_crypto	rx;
};

/**
 * ktls_derive() - record keys of both directions from the traffic secrets
 * @secrets:	of one side; the other side's give the same keys with tx and rx swapped
 * @keys:	filled, sequence numbers zero; the caller wipes it (OPENSSL_cleanse)
 * @err:	says why on failure
 *
 * Return: 0, -EINVAL (a suite the kernel does not speak, or secrets of a wrong size)
 * or -EIO (libcrypto failed).  On failure @keys is wiped.
 */
int ktls_derive(const struct tls_secrets *secrets, struct ktls_keys *keys, struct err *err);

/**
 * tls_install() - switch a socket to the keys of its handshake
 * @tls:	TLS_DONE, with everything of tls_take() sent
 * @fd:		the connected TCP socket that carried the handshake
 * @err:	says why on failure
 *
 * Both directions are installed with sequence number zero and the secrets wiped.  On
 * failure the socket may be half switched: close it.
 * Return: 0 or negative errno: -EINVAL the handshake is not over or bytes are left in
 * it; -ENOENT the kernel has no TLS, or not this cipher; what setsockopt() said.
 */
int tls_install(struct tls *tls, int fd, struct err *err);

/**
 * ktls_explain() - why the first receive on an installed socket failed
 * @fd:		the socket
 * @errnum:	what the receive failed with, positive; 0 for end of file
 * @err:	filled with a sentence
 *
 * A receive that meets an alert instead of data fails with EIO.  This fetches the
 * alert without waiting and names it; a server that does not list this node's key is
 * recognised by it.
 * Return: a negative errno, never 0: -EACCES for that server, else -EPROTO for another
 * alert, -ECONNRESET for an orderly end, -@errnum when there was no alert.
 */
int ktls_explain(int fd, int errnum, struct err *err);

#endif /* REPL_AGENT_KTLS_H */
