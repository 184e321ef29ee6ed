/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Test Anything Protocol, and random numbers that can be repeated. */
#ifndef TESTS_UNIT_TAP_H
#define TESTS_UNIT_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static unsigned int tap_tests, tap_failures;

/** ok - one test: what must hold, and its name. Return: @pass. */
static inline bool __attribute__((format(printf, 2, 3))) ok(bool pass, const char *fmt, ...)
{
	va_list args;

	printf("%sok %u - ", pass ? "" : "not ", ++tap_tests);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	tap_failures += !pass;
	return pass;
}

/** is_text - the two are equal; says both when not */
static inline bool is_text(const char *got, const char *expected, const char *name)
{
	bool pass = strcmp(got, expected) == 0;

	ok(pass, "%s", name);
	if (!pass)
		printf("#      got: %s\n# expected: %s\n", got, expected);
	return pass;
}

/** is_number - the same for integers */
static inline bool is_number(long long got, long long expected, const char *name)
{
	bool pass = got == expected;

	ok(pass, "%s", name);
	if (!pass)
		printf("#      got: %lld\n# expected: %lld\n", got, expected);
	return pass;
}

/** need - what cannot fail unless the test itself is wrong */
static inline void need(bool fact, const char *what)
{
	if (fact)
		return;
	printf("Bail out! %s\n", what);
	exit(1);
}

/** tap_end - the plan. Return: the exit code of the program. */
static inline int tap_end(void)
{
	printf("1..%u\n", tap_tests);
	return tap_failures ? 1 : 0;
}

/** random_seed - $SEED, or the clock; printed, so that a failure can be repeated */
static inline uint64_t random_seed(void)
{
	const char *text = getenv("SEED");
	struct timespec now;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = text ? strtoull(text, NULL, 10) : (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
	printf("# SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

/** random_next - splitmix64: every seed is a good one */
static inline uint64_t random_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/** random_below - a number from 0 to @limit - 1 */
static inline uint64_t random_below(uint64_t *state, uint64_t limit)
{
	return random_next(state) % limit;
}

#endif /* TESTS_UNIT_TAP_H */
