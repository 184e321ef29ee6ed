// SPDX-License-Identifier: GPL-2.0-or-later
/* pattern SEED BYTES - prints bytes that SEED, any text, determines, and that do not compress. link: static */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORDS = 8192 };

/* FNV-1a, 64 bits. */
static uint64_t hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	while (*text)
		h = (h ^ (uint8_t)*text++) * 0x100000001b3ULL;
	return h;
}

/* splitmix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators". */
static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

int main(int argc, char **argv)
{
	static uint64_t words[WORDS];
	uint64_t state, left;
	size_t now;

	if (argc != 3) {
		fprintf(stderr, "give SEED BYTES\n");
		return 2;
	}
	state = hash(argv[1]);
	for (left = strtoull(argv[2], NULL, 10); left; left -= now) {
		for (int i = 0; i < WORDS; i++)
			words[i] = next(&state);
		now = left < sizeof(words) ? (size_t)left : sizeof(words);
		if (fwrite(words, 1, now, stdout) != now)
			return 1;
	}
	return fflush(stdout) ? 1 : 0;
}
