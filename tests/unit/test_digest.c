// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Digests tell blocks apart, and which blocks are compared is decided by what was found.
 * needs: userspace/agent/digest.c userspace/agent/suspect.c
 */
#include "digest.h"

#include "suspect.h"
#include "tap.h"

enum { BLOCKS = 64 };

static uint8_t data[BLOCKS * REPL_BLOCK_BYTES];
static struct repl_digest first[BLOCKS], second[BLOCKS];

static bool same(const struct repl_digest *a, const struct repl_digest *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static void blocks(uint64_t *rng)
{
	static const uint8_t key[REPL_DIGEST_KEY_BYTES] = { 1 }, other_key[REPL_DIGEST_KEY_BYTES] = { 2 };
	struct digest *d = digest_new(key), *other = digest_new(other_key);
	unsigned int missed = 0, repeated = 0;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)random_next(rng);
	memcpy(data + 9 * REPL_BLOCK_BYTES, data + 8 * REPL_BLOCK_BYTES, REPL_BLOCK_BYTES);
	memset(data + 7 * REPL_BLOCK_BYTES, 0, REPL_BLOCK_BYTES);
	ok(digest_blocks(d, 0, data, sizeof(data), first) &&
	   digest_blocks(d, 0, data, sizeof(data), second) && !memcmp(first, second, sizeof(first)),
	   "the same bytes have the same digests");
	ok(digest_blocks(d, 5 * REPL_BLOCK_BYTES, data + 5 * REPL_BLOCK_BYTES, 3000, second) &&
	   !same(&second[0], &first[5]), "a partial block has another one than the whole");
	ok(digest_blocks(d, 8 * REPL_BLOCK_BYTES, data + 8 * REPL_BLOCK_BYTES, 2 * REPL_BLOCK_BYTES, second) &&
	   same(&second[0], &first[8]) && same(&second[1], &first[9]), "a block has one, whatever is before it");
	ok(!same(&first[8], &first[9]), "the same bytes in two places have two");
	ok(digest_blocks(other, 0, data, sizeof(data), second) && !same(&first[3], &second[3]),
	   "with another key they have others");
	ok(same(&first[7], &(struct repl_digest){ { 0 } }) && same(&first[7], &second[7]),
	   "zeroes have a digest of zeroes, with any key");
	for (unsigned int i = 0; i < 5000; i++) {
		size_t bit = random_below(rng, sizeof(data) * 8), block = bit / 8 / REPL_BLOCK_BYTES;

		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		digest_blocks(d, block * REPL_BLOCK_BYTES, data + block * REPL_BLOCK_BYTES,
			      REPL_BLOCK_BYTES, second);
		missed += same(&first[block], &second[0]);
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		digest_blocks(d, block * REPL_BLOCK_BYTES, data + block * REPL_BLOCK_BYTES,
			      REPL_BLOCK_BYTES, second);
		repeated += same(&first[block], &second[0]);
	}
	ok(!missed && repeated == 5000, "each of 5000 flipped bits is seen, and that it was flipped back");
	digest_free(d);
	digest_free(other);
	digest_free(NULL);
}

/* Of @chunks of 256 KiB, how many are compared, if @percent of each is equal. */
static unsigned int compared(struct suspect *s, unsigned int chunks, unsigned int percent)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < chunks; i++) {
		if (!suspect_next(s))
			continue;
		suspect_told(s, 256 << 10, (256 << 10) / 100 * percent);
		n++;
	}
	return n;
}

static void policy(void)
{
	struct suspect s;

	suspect_begin(&s, SUSPECT_NOTHING);
	is_number(compared(&s, 1000, 100), 0, "what was written just now is never compared");
	suspect_begin(&s, SUSPECT_ALL);
	is_number(compared(&s, 1000, 90), 1000, "what is mostly equal is compared to the end");
	is_number(compared(&s, 1000, 20), 1000, "so is what is equal by a fifth");
	is_number(compared(&s, 16, 2), 16, "a window of 4 MiB that is not");
	is_number(compared(&s, 640, 2), 10, "leaves a sample: one of 64");
	is_number(compared(&s, 64, 100), 1, "until one of it is equal");
	is_number(compared(&s, 100, 100), 100, "then all again");
	suspect_begin(&s, SUSPECT_SAMPLE);
	ok(suspect_next(&s) && !suspect_next(&s), "a sample begins with the first");
	suspect_told(&s, 4096, 0);
	ok(!suspect_next(&s), "that differs");
	suspect_told(&s, 4096, 4096);
	ok(suspect_next(&s) && suspect_next(&s), "one that does not");
}

int main(void)
{
	uint64_t rng = random_seed();

	blocks(&rng);
	policy();
	return tap_end();
}
