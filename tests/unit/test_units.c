// SPDX-License-Identifier: GPL-2.0-or-later
/* Sizes, times and rates, in both directions. */
#include <errno.h>

#include "tap.h"
#include "units.h"

#define KIB 1024ULL
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define TIB (GIB * 1024)

struct reading {
	const char *text;
	uint64_t value;
	int ret;
};

static void test_readings(const struct reading *r, int (*parse)(const char *, uint64_t *),
			  const char *what)
{
	for (; r->text; r++) {
		uint64_t value = 4711;
		int ret = parse(r->text, &value);

		if (!ok(ret == r->ret && value == (ret ? 4711 : r->value), "%s \"%s\"", what, r->text))
			printf("# got %d, %llu\n", ret, (unsigned long long)value);
	}
}

static const struct reading sizes[] = {
	{ "0", 0, 0 }, { "4096", 4096, 0 }, { "4096B", 4096, 0 }, { "64K", 64 * KIB, 0 },
	{ "64KiB", 64 * KIB, 0 }, { " 1 MiB", MIB, 0 }, { "1.5G", GIB * 3 / 2, 0 },
	{ "0.5K", 512, 0 }, { "2T", 2 * TIB, 0 }, { "1PiB", TIB * 1024, 0 },
	{ "18446744073709551615", UINT64_MAX, 0 },
	{ "18446744073709551616", 0, -ERANGE }, { "16384P", 0, -ERANGE },
	{ "99999999999999999999999", 0, -ERANGE },
	{ "", 0, -EINVAL }, { "K", 0, -EINVAL }, { "-1", 0, -EINVAL }, { "1.", 0, -EINVAL },
	{ ".5K", 0, -EINVAL }, { "1.5", 0, -EINVAL }, { "1k", 0, -EINVAL }, { "1KB", 0, -EINVAL },
	{ "1 M x", 0, -EINVAL }, { "1e3", 0, -EINVAL }, { "0x10", 0, -EINVAL },
	{}
};

static const struct reading durations[] = {
	{ "0", 0, 0 }, { "200ms", 200, 0 }, { "10s", 10000, 0 }, { "10 s", 10000, 0 },
	{ "1.5s", 1500, 0 }, { "2min", 120000, 0 }, { "1h", 3600000, 0 },
	{ "10", 0, -EINVAL }, { "10m", 0, -EINVAL }, { "1.5ms", 0, -EINVAL }, { "s", 0, -EINVAL },
	{ "9999999999999999999h", 0, -ERANGE },
	{}
};

static const struct reading rates[] = {
	{ "none", 0, 0 }, { "100 MiB/s", 100 * MIB, 0 }, { "1.5K/s", 1536, 0 },
	{ "0 MiB/s", 0, -EINVAL }, { "100", 0, -EINVAL }, { "100 MiB", 0, -EINVAL },
	{ "unlimited", 0, -EINVAL },
	{}
};

static void test_bytes(uint64_t bytes, const char *expected)
{
	char text[UNITS_TEXT_MAX];

	is_text(units_format_bytes(bytes, text), expected, expected);
}

static void test_duration(uint64_t ms, const char *expected)
{
	char text[UNITS_TEXT_MAX];

	is_text(units_format_duration(ms, text), expected, expected);
}

int main(void)
{
	test_readings(sizes, units_parse_size, "size");
	test_readings(durations, units_parse_duration, "duration");
	test_readings(rates, units_parse_rate, "rate");
	test_bytes(0, "0 B");
	test_bytes(1023, "1023 B");
	test_bytes(4096, "4 KiB");
	test_bytes(MIB * 3 / 2, "1.50 MiB");
	test_bytes(GIB - 1, "1023.99 MiB");
	test_bytes(UINT64_MAX, "15.99 EiB");
	test_duration(0, "0 ms");
	test_duration(999, "999 ms");
	test_duration(1000, "1 s");
	test_duration(59999, "59 s");
	test_duration(185000, "3 min 5 s");
	test_duration(7200000, "2 h");
	test_duration(187200000, "2 d 4 h");
	return tap_end();
}
