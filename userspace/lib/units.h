/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes, times and rates as people write and read them. */
#ifndef REPL_UNITS_H
#define REPL_UNITS_H

#include <stdint.h>

enum units_limits {
	UNITS_TEXT_MAX = 64,	/* any text that the functions below write */
};

/**
 * units_parse_size - "64K", "1 GiB", "1.5T", "4096"
 * @text: a decimal number and at most one unit: B, K, M, G, T, P, each also as
 *	KiB and so on; always powers of 1024
 * @bytes: the result
 * Return: 0, -EINVAL (not a size) or -ERANGE (does not fit 64 bits).
 */
int units_parse_size(const char *text, uint64_t *bytes);

/**
 * units_parse_duration - "200ms", "10 s", "2min", "1.5h"; a bare 0 is zero
 * @text: a decimal number and a unit: ms, s, min, h
 * @ms: the result, milliseconds
 * Return: 0, -EINVAL (not a time; a number without a unit) or -ERANGE.
 */
int units_parse_duration(const char *text, uint64_t *ms);

/**
 * units_parse_rate - "none", "100 MiB/s"
 * @bytes_per_s: the result; 0 means no limit
 * Return: 0, -EINVAL (not a rate, or zero) or -ERANGE.
 */
int units_parse_rate(const char *text, uint64_t *bytes_per_s);

/** units_format_bytes - "0 B", "4 KiB", "1.50 GiB". Return: @text. */
char *units_format_bytes(uint64_t bytes, char text[UNITS_TEXT_MAX]);

/** units_format_duration - "250 ms", "12 s", "3 min 5 s", "2 d 4 h". Return: @text. */
char *units_format_duration(uint64_t ms, char text[UNITS_TEXT_MAX]);

#endif /* REPL_UNITS_H */
