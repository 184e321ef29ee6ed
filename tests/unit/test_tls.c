// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The handshake between agents: who gets in, what is said to those who do not, and what
 * no damage on the way can bring about.
 */
/* needs: userspace/agent/tls.c userspace/agent/ktls.c */
#include "tls_ends.h"

enum { FUZZ_ROUNDS = 1500 };

static bool same_keys(const struct end *a, const struct end *b)
{
	const struct tls_secrets *sa = tls_secrets(a->tls, NULL);
	const struct tls_secrets *sb = tls_secrets(b->tls, NULL);
	struct ktls_keys ka, kb;

	return sa && sb && !ktls_derive(sa, &ka, NULL) && !ktls_derive(sb, &kb, NULL) &&
	       ka.size == kb.size && !memcmp(&ka.tx, &kb.rx, sizeof(ka.tx)) &&
	       !memcmp(&ka.rx, &kb.tx, sizeof(ka.rx)) && memcmp(&ka.tx, &ka.rx, ka.size);
}

/* --------------------------------------------------------------- handshake -- */

static void test_handshake(size_t chunk)
{
	const struct tls_secrets *secrets;
	struct pair pair;

	pair_open(&pair);
	pair_run(&pair, chunk);
	ok(end_done(&pair.client) && end_done(&pair.server),
	   "%zu bytes at a time: both sides know each other (%zu and %zu bytes)", chunk,
	   pair.sent[0], pair.sent[1]);
	ok(!pair.client.after && !pair.server.after, "nobody sends anything beyond its Finished");
	ok(same_keys(&pair.client, &pair.server), "both sides derive the same keys");
	secrets = tls_secrets(pair.client.tls, NULL);
	ok(secrets && secrets->suite == TLS_SUITE_AES_128_GCM_SHA256 && !secrets->is_server,
	   "AES-128-GCM is what two agents agree on");
	pair_close(&pair);
}

static void test_two_handshakes_differ(void)
{
	const struct tls_secrets *a, *b;
	struct pair one, two;

	pair_open(&one);
	pair_open(&two);
	pair_run(&one, CHUNK);
	pair_run(&two, CHUNK);
	a = tls_secrets(one.client.tls, NULL);
	b = tls_secrets(two.client.tls, NULL);
	ok(a && b && memcmp(a->client, b->client, a->client_size) &&
	   memcmp(a->server, b->server, a->server_size),
	   "a second connection of the same nodes has other keys");
	pair_close(&one);
	pair_close(&two);
}

/* A session carries whole volumes: its keys must not wear out in the middle. */
static void test_lasting(void)
{
	const struct tls_secrets *client, *server;
	struct pair pair;
	struct err err = { "" };

	pair_open(&pair);
	tls_free(pair.client.tls);
	pair.client.tls = tls_new_lasting(alice.ctx, end_known, &pair.client, &err);
	need(pair.client.tls, err.text);
	pair_run(&pair, CHUNK);
	ok(end_done(&pair.client) && end_done(&pair.server), "lasting keys: both ends are done");
	client = tls_secrets(pair.client.tls, &err);
	server = tls_secrets(pair.server.tls, &err);
	ok(client && server && client->suite == TLS_SUITE_CHACHA20_POLY1305_SHA256 &&
	   server->suite == client->suite, "and use ChaCha20-Poly1305");
	pair_close(&pair);
}

static void test_context_goes_first(void)
{
	struct node brief;
	struct pair pair;

	node_init(&brief, 0x77);
	pair_open(&pair);
	end_close(&pair.client);
	end_open(&pair.client, &brief, false, &bob);
	pair.server.wants = &brief;
	tls_ctx_free(brief.ctx);
	pair_run(&pair, CHUNK);
	ok(end_done(&pair.client) && end_done(&pair.server),
	   "a connection outlives the context it was made from");
	pair_close(&pair);
}

/* ----------------------------------------------------------------- refusals -- */

static void test_server_refuses(void)
{
	struct pair pair;

	pair_open(&pair);
	pair.server.wants = &mallory;
	pair_run(&pair, CHUNK);
	ok(end_failed(&pair.server, -EACCES, "is not in agent.conf") &&
	   strstr(pair.server.err.text, alice.text),
	   "an unknown client is refused with its key in words: %s", pair.server.err.text);
	ok(pair.server.asked == 1 && !tls_secrets(pair.server.tls, NULL),
	   "it was asked once, and no keys remain");
	ok(end_done(&pair.client) && pair.client.after > RECORD_HEADER,
	   "the refused client finds a record where it expected data: the alert");
	pair_close(&pair);
}

static void test_client_refuses(void)
{
	struct pair pair;

	pair_open(&pair);
	pair.client.wants = &mallory;
	pair_run(&pair, CHUNK);
	ok(end_failed(&pair.client, -EACCES, "is not in agent.conf") &&
	   strstr(pair.client.err.text, bob.text),
	   "an unknown server is refused with its key in words: %s", pair.client.err.text);
	ok(end_failed(&pair.server, -EACCES, "does not list this node's key") &&
	   strstr(pair.server.err.text, bob.text) && !pair.server.asked,
	   "the server hears it: %s", pair.server.err.text);
	pair_close(&pair);
}

/* @setup makes @f the peer that @words and @ret are about. */
static void foreign_refused(const char *name, bool foreign_serves,
			    void (*setup)(struct foreign *f), int ret, const char *words)
{
	struct foreign f;
	struct end end;

	foreign_open(&f, foreign_serves);
	setup(&f);
	foreign_start(&f);
	end_open(&end, &bob, !foreign_serves, &alice);
	foreign_run(&f, &end);
	ok(end_failed(&end, ret, words), "%s: %s", name, end.err.text);
	end_close(&end);
	foreign_close(&f);
}

static void be_old(struct foreign *f)
{
	foreign_be(f, &alice);
	need(SSL_CTX_set_max_proto_version(f->ctx, TLS1_2_VERSION) == 1, "TLS 1.2");
}

static void be_nobody(struct foreign *f)
{
	(void)f;
}

static void be_other_kind(struct foreign *f)
{
	EVP_PKEY *pkey = EVP_EC_gen("P-256");

	need(pkey, "a P-256 key");
	X509_free(foreign_certify(f, pkey, pkey));
	EVP_PKEY_free(pkey);
}

/* Holds mallory's key, but shows another one in its certificate. */
static void show_key(struct foreign *f, EVP_PKEY *shown)
{
	EVP_PKEY *own = node_pkey(&mallory);
	X509 *cert = foreign_certify(f, own, own);

	/* The context holds this very certificate: what it shows changes, its key does not. */
	need(X509_set_pubkey(cert, shown) && X509_sign(cert, own, NULL), "another key to show");
	X509_free(cert);
	EVP_PKEY_free(shown);
	EVP_PKEY_free(own);
}

static void be_thief(struct foreign *f)
{
	show_key(f, node_pkey(&alice));
}

/* As long as an Ed25519 key, but none. */
static void be_disguised(struct foreign *f)
{
	EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");

	need(pkey, "an X25519 key");
	show_key(f, pkey);
}

static void be_wrong_group(struct foreign *f)
{
	foreign_be(f, &alice);
	need(SSL_CTX_set1_groups_list(f->ctx, "P-256") == 1, "P-256");
}

static void test_foreigners(void)
{
	foreign_refused("a TLS 1.2 client", false, be_old, -EPROTO, "does not speak TLS 1.3");
	foreign_refused("a TLS 1.2 server", true, be_old, -EPROTO, "does not speak TLS 1.3");
	foreign_refused("a client without a certificate", false, be_nobody, -EPROTO,
			"shows no certificate");
	foreign_refused("a client with a P-256 key", false, be_other_kind, -EPROTO,
			"shows no certificate");
	foreign_refused("a server with a P-256 key", true, be_other_kind, -EPROTO, "TLS handshake");
	foreign_refused("a client that shows an X25519 key", false, be_disguised, -EPROTO,
			"not Ed25519");
	foreign_refused("a server that shows an X25519 key", true, be_disguised, -EPROTO,
			"not Ed25519");
	foreign_refused("a client that shows a key it does not own", false, be_thief, -EPROTO,
			"signature");
	foreign_refused("a server that shows a key it does not own", true, be_thief, -EPROTO,
			"signature");
	foreign_refused("a client without X25519", false, be_wrong_group, -EPROTO,
			"TLS handshake failed");
}

static void test_certificate_details_do_not_count(void)
{
	EVP_PKEY *own = node_pkey(&alice);
	EVP_PKEY *other = node_pkey(&mallory);
	struct foreign f;
	struct end end;
	X509 *cert;

	foreign_open(&f, false);
	cert = foreign_certify(&f, own, other);
	need(X509_gmtime_adj(X509_getm_notAfter(cert), -3600) && X509_sign(cert, other, NULL),
	     "an expired certificate");
	foreign_start(&f);
	end_open(&end, &bob, true, &alice);
	foreign_run(&f, &end);
	ok(end_done(&end), "an expired certificate signed by somebody else counts by its key");
	end_close(&end);
	foreign_close(&f);
	X509_free(cert);
	EVP_PKEY_free(other);
	EVP_PKEY_free(own);
}

static void test_no_resumption(void)
{
	SSL_SESSION *session;
	struct foreign f;
	struct end end;

	foreign_open(&f, false);
	foreign_be(&f, &alice);
	foreign_start(&f);
	end_open(&end, &bob, true, &alice);
	foreign_run(&f, &end);
	session = SSL_get1_session(f.ssl);
	ok(end_done(&end) && session && !SSL_SESSION_is_resumable(session),
	   "a server gives nothing to resume from");
	SSL_SESSION_free(session);
	end_close(&end);
	foreign_close(&f);
}

/* -------------------------------------------------------------- other bytes -- */

static void test_plain_bytes(void)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: mail1\r\n\r\n";
	static const char plain[] = "REPLPLN1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
	struct end end;

	end_open(&end, &bob, true, &alice);
	end_feed(&end, http, strlen(http));
	ok(end_failed(&end, -EPROTO, "does not speak TLS"), "HTTP at a server: %s", end.err.text);
	end_close(&end);
	end_open(&end, &bob, false, &alice);
	end_feed(&end, http, strlen(http));
	ok(end_failed(&end, -EPROTO, "does not speak TLS"), "HTTP at a client: %s", end.err.text);
	end_close(&end);
	end_open(&end, &bob, true, &alice);
	end_feed(&end, plain, sizeof(plain));
	ok(end_failed(&end, -EPROTO, "not a repl-agent"), "a plain link's hello: %s",
	   end.err.text);
	ok(tls_feed(end.tls, http, 1, &end.err) == -EPROTO && strstr(end.err.text, "before"),
	   "after a failure every byte is refused");
	end_close(&end);
}

/* A handshake record announced but never finished must not grow for ever. */
static void test_endless(void)
{
	static const uint8_t header[] = { 22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb };
	static const uint8_t zeros[1024];
	unsigned int rounds = 0;
	struct end end;

	end_open(&end, &bob, true, &alice);
	end_feed(&end, header, sizeof(header));
	while (tls_state(end.tls) == TLS_HANDSHAKE && rounds < 100) {
		end_feed(&end, zeros, sizeof(zeros));
		rounds++;
	}
	ok(end_failed(&end, -EPROTO, "does not end") && rounds <= 16,
	   "a handshake without end is given up after %u KiB: %s", rounds, end.err.text);
	end_close(&end);
}

static void test_closed(void)
{
	struct end end;

	end_open(&end, &bob, true, &alice);
	end_feed(&end, NULL, 0);
	ok(end_failed(&end, -ECONNRESET, "hung up"), "a peer that says nothing: %s", end.err.text);
	end_close(&end);
}

/* Data right behind the handshake: read too early, it would be lost to the kernel. */
static void test_over_read(int eager)
{
	static const uint8_t record[] = { 23, 3, 3, 0, 1, 0 };
	struct end *victim;
	struct pair pair;
	uint8_t bytes[CHUNK];
	size_t n;

	pair_open(&pair);
	victim = eager ? &pair.client : &pair.server;
	pair_move(&pair, 0, CHUNK);
	if (!eager)
		pair_move(&pair, 1, CHUNK);
	n = tls_take(eager ? pair.server.tls : pair.client.tls, bytes, CHUNK - sizeof(record));
	memcpy(bytes + n, record, sizeof(record));
	end_feed(victim, bytes, n + sizeof(record));
	ok(end_failed(victim, -EPROTO, "before its turn"), "a %s that sends too early: %s",
	   eager ? "server" : "client", victim->err.text);
	ok(!tls_secrets(victim->tls, &victim->err), "and no keys remain: %s", victim->err.text);
	ok(!tls_pending_out(victim->tls), "nor a Finished that would tell the other it is done");
	pair_close(&pair);
}

static void test_feed_when_done(void)
{
	struct pair pair;

	pair_open(&pair);
	pair_run(&pair, CHUNK);
	ok(tls_feed(pair.client.tls, "x", 1, &pair.client.err) == -EPROTO &&
	   tls_state(pair.client.tls) == TLS_FAILED && !tls_peer_key(pair.client.tls) &&
	   !tls_secrets(pair.client.tls, NULL),
	   "a byte fed after the handshake ends it: %s", pair.client.err.text);
	pair_close(&pair);
}

/* ---------------------------------------------------------- damage and fuzz -- */

/*
 * What must hold whatever happened to the bytes: a side that is done knows the right
 * peer, a server is done only if the client is, and if both are, their keys agree.
 */
static bool sane(const struct pair *pair)
{
	bool client = tls_state(pair->client.tls) == TLS_DONE;
	bool server = tls_state(pair->server.tls) == TLS_DONE;

	if ((client && !end_done(&pair->client)) || (server && !end_done(&pair->server)))
		return false;
	return !server || (client && same_keys(&pair->client, &pair->server));
}

static void test_every_byte(size_t sizes[2])
{
	unsigned int survived = 0, insane = 0, wordless = 0;
	struct pair pair;

	for (int victim = 0; victim < 2; victim++) {
		for (size_t offset = 0; offset < sizes[victim]; offset++) {
			pair_open(&pair);
			pair.victim = victim;
			pair.offset = offset;
			pair.flip = (uint8_t)(1u << offset % 8);
			pair_run(&pair, CHUNK);
			insane += !sane(&pair);
			survived += tls_state(pair.server.tls) == TLS_DONE;
			wordless += pair.server.ret && !pair.server.err.text[0];
			pair_close(&pair);
		}
	}
	ok(!insane, "one bit changed in every byte of %zu: no wrong peer, no wrong keys",
	   sizes[0] + sizes[1]);
	/* Only the version bytes of the two records before encryption are bound by nothing. */
	ok(survived <= 4, "all but %u of these changes end the handshake", survived);
	ok(!wordless, "each failure has words");
}

static void test_every_cut(size_t sizes[2])
{
	unsigned int wrong = 0, done = 0;
	struct pair pair;

	for (int victim = 0; victim < 2; victim++) {
		for (size_t offset = 0; offset < sizes[victim]; offset++) {
			struct end *loser = victim ? &pair.client : &pair.server;

			pair_open(&pair);
			pair.victim = victim;
			pair.offset = offset;
			pair.cut = true;
			pair_run(&pair, CHUNK);
			wrong += loser->ret != -ECONNRESET || !sane(&pair);
			done += tls_state(pair.server.tls) == TLS_DONE;
			pair_close(&pair);
		}
	}
	ok(!wrong, "the stream cut at every byte of %zu: the reader says so", sizes[0] + sizes[1]);
	ok(!done, "and no server is ever done");
}

static void test_garbage_at_stages(size_t sizes[2])
{
	unsigned int wrong = 0, stages = 0;
	uint8_t bytes[CHUNK];
	struct pair pair;

	for (size_t moved = 0; moved + 32 < sizes[0] + sizes[1]; moved += 16, stages++) {
		pair_open(&pair);
		while (pair.sent[0] + pair.sent[1] < moved)
			if (!pair_move(&pair, 0, 16) && !pair_move(&pair, 1, 16))
				break;
		memset(bytes, 0xa5, sizeof(bytes));
		for (int i = 0; i < 5; i++) {
			end_feed(&pair.client, bytes, sizeof(bytes));
			end_feed(&pair.server, bytes, sizeof(bytes));
		}
		wrong += tls_state(pair.server.tls) != TLS_FAILED || !sane(&pair);
		pair_close(&pair);
	}
	ok(!wrong, "garbage at %u stages of the handshake fails it", stages);
}

static void damage(uint64_t *random, uint8_t *bytes, size_t *n)
{
	size_t at = random_below(random, *n);

	switch (random_below(random, 5)) {
	case 0:
		bytes[at] = (uint8_t)random_next(random);
		break;
	case 1:		/* drop the rest */
		*n = at;
		break;
	case 2:		/* drop one */
		memmove(bytes + at, bytes + at + 1, *n - at - 1);
		(*n)--;
		break;
	case 3:		/* say it twice */
		if (*n * 2 > CHUNK)
			break;
		memcpy(bytes + *n, bytes, *n);
		*n *= 2;
		break;
	default:
		for (size_t i = at; i < *n; i++)
			bytes[i] = (uint8_t)random_next(random);
	}
}

static void fuzz_once(struct pair *pair, uint64_t *random)
{
	uint8_t bytes[CHUNK];
	unsigned int idle = 0;
	size_t n;

	while (idle < 2) {
		bool from_server = random_below(random, 2);
		struct end *src = from_server ? &pair->server : &pair->client;
		struct end *dst = from_server ? &pair->client : &pair->server;

		n = tls_take(src->tls, bytes, 1 + random_below(random, CHUNK));
		idle = n || tls_pending_out(dst->tls) ? 0 : idle + 1;
		if (!n)
			continue;
		if (random_below(random, 4) == 0)
			damage(random, bytes, &n);
		if (random_below(random, 16) == 0)
			dst = src;	/* its own words back */
		if (n)
			end_feed(dst, bytes, n);
	}
}

static void test_fuzz(void)
{
	unsigned int insane = 0, done = 0;
	uint64_t random = random_seed();
	struct pair pair;

	for (unsigned int i = 0; i < FUZZ_ROUNDS; i++) {
		pair_open(&pair);
		fuzz_once(&pair, &random);
		insane += !sane(&pair);
		done += tls_state(pair.server.tls) == TLS_DONE;
		pair_close(&pair);
	}
	ok(!insane, "%d damaged handshakes: no wrong peer, no wrong keys (%u undamaged)",
	   FUZZ_ROUNDS, done);
	ok(done > 0 && done < FUZZ_ROUNDS, "the damage reached some handshakes, not all");
}

int main(void)
{
	size_t sizes[2];
	struct pair pair;

	setvbuf(stdout, NULL, _IOLBF, 0);
	nodes_open();
	test_handshake(CHUNK);
	test_handshake(1);
	test_two_handshakes_differ();
	test_lasting();
	test_context_goes_first();
	test_server_refuses();
	test_client_refuses();
	test_foreigners();
	test_certificate_details_do_not_count();
	test_no_resumption();
	test_plain_bytes();
	test_endless();
	test_closed();
	test_over_read(0);
	test_over_read(1);
	test_feed_when_done();

	pair_open(&pair);
	pair_run(&pair, CHUNK);
	memcpy(sizes, pair.sent, sizeof(sizes));
	pair_close(&pair);
	test_every_byte(sizes);
	test_every_cut(sizes);
	test_garbage_at_stages(sizes);
	test_fuzz();

	nodes_close();
	return tap_end();
}
