// SPDX-License-Identifier: GPL-2.0-or-later
#include "units.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t scale;
};

static const struct unit size_units[] = {
	{ "",	1 },
	{ "B",	1 },
	{ "K",	1ULL << 10 }, { "KiB", 1ULL << 10 },
	{ "M",	1ULL << 20 }, { "MiB", 1ULL << 20 },
	{ "G",	1ULL << 30 }, { "GiB", 1ULL << 30 },
	{ "T",	1ULL << 40 }, { "TiB", 1ULL << 40 },
	{ "P",	1ULL << 50 }, { "PiB", 1ULL << 50 },
	{}
};

static const struct unit rate_units[] = {
	{ "B/s",	1 },
	{ "KiB/s",	1ULL << 10 }, { "K/s", 1ULL << 10 },
	{ "MiB/s",	1ULL << 20 }, { "M/s", 1ULL << 20 },
	{ "GiB/s",	1ULL << 30 }, { "G/s", 1ULL << 30 },
	{}
};

static const struct unit duration_units[] = {
	{ "ms",		1 },
	{ "s",		1000 },
	{ "min",	60 * 1000 },
	{ "h",		60 * 60 * 1000 },
	{}
};

/* At most nine digits after the point are looked at: more than any unit here can tell apart. */
static int parse_number(const char **text, uint64_t *whole, uint32_t *nano)
{
	const char *at = *text;
	uint32_t place = 100 * 1000 * 1000;

	*whole = 0;
	*nano = 0;
	if (!isdigit((unsigned char)*at))
		return -EINVAL;
	for (; isdigit((unsigned char)*at); at++) {
		if (__builtin_mul_overflow(*whole, 10, whole) ||
		    __builtin_add_overflow(*whole, *at - '0', whole))
			return -ERANGE;
	}
	if (*at == '.') {
		if (!isdigit((unsigned char)*++at))
			return -EINVAL;
		for (; isdigit((unsigned char)*at); at++, place /= 10)
			*nano += (*at - '0') * place;
	}
	*text = at;
	return 0;
}

static int parse(const char *text, const struct unit *unit, uint64_t *result)
{
	uint64_t whole, part, scaled;
	uint32_t nano;
	int ret;

	while (isspace((unsigned char)*text))
		text++;
	ret = parse_number(&text, &whole, &nano);
	if (ret)
		return ret;
	while (isspace((unsigned char)*text))
		text++;
	while (unit->name && strcmp(unit->name, text) != 0)
		unit++;
	if (!unit->name)
		return -EINVAL;
	/* A fraction of the smallest unit is a slip of the pen, not a value. */
	if (nano && unit->scale == 1)
		return -EINVAL;
	part = (unsigned __int128)unit->scale * nano / 1000000000;
	if (__builtin_mul_overflow(whole, unit->scale, &scaled) ||
	    __builtin_add_overflow(scaled, part, &scaled))
		return -ERANGE;
	*result = scaled;
	return 0;
}

int units_parse_size(const char *text, uint64_t *bytes)
{
	return parse(text, size_units, bytes);
}

int units_parse_duration(const char *text, uint64_t *ms)
{
	if (strcmp(text, "0") == 0) {
		*ms = 0;
		return 0;
	}
	return parse(text, duration_units, ms);
}

int units_parse_rate(const char *text, uint64_t *bytes_per_s)
{
	uint64_t rate;
	int ret;

	if (strcmp(text, "none") == 0) {
		*bytes_per_s = 0;
		return 0;
	}
	ret = parse(text, rate_units, &rate);
	if (ret)
		return ret;
	if (!rate)
		return -EINVAL;
	*bytes_per_s = rate;
	return 0;
}

char *units_format_bytes(uint64_t bytes, char text[UNITS_TEXT_MAX])
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned int unit = 0;
	uint64_t scale = 1;
	uint64_t hundredths;

	while (unit + 1 < sizeof(names) / sizeof(names[0]) && bytes / scale >= 1024) {
		scale <<= 10;
		unit++;
	}
	/* Cut, not rounded: nothing here may look bigger than it is. */
	hundredths = (unsigned __int128)bytes * 100 / scale % 100;
	if (bytes % scale == 0)
		snprintf(text, UNITS_TEXT_MAX, "%llu %s", (unsigned long long)(bytes / scale),
			 names[unit]);
	else
		snprintf(text, UNITS_TEXT_MAX, "%llu.%02llu %s",
			 (unsigned long long)(bytes / scale), (unsigned long long)hundredths,
			 names[unit]);
	return text;
}

char *units_format_duration(uint64_t ms, char text[UNITS_TEXT_MAX])
{
	static const struct unit units[] = {
		{ "d", 24 * 3600 }, { "h", 3600 }, { "min", 60 }, { "s", 1 }, {}
	};
	const struct unit *unit = units;
	uint64_t s = ms / 1000;
	uint64_t rest;

	if (ms < 1000) {
		snprintf(text, UNITS_TEXT_MAX, "%llu ms", (unsigned long long)ms);
		return text;
	}
	while (s < unit->scale)
		unit++;
	rest = unit[1].name ? s % unit->scale / unit[1].scale : 0;
	if (rest)
		snprintf(text, UNITS_TEXT_MAX, "%llu %s %llu %s",
			 (unsigned long long)(s / unit->scale), unit->name,
			 (unsigned long long)rest, unit[1].name);
	else
		snprintf(text, UNITS_TEXT_MAX, "%llu %s", (unsigned long long)(s / unit->scale),
			 unit->name);
	return text;
}
