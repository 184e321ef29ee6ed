// SPDX-License-Identifier: GPL-2.0-or-later
/* Identifiers: made, printed and read back. */
#include "err.h"
#include "id.h"
#include "tap.h"

static void test_text(void)
{
	static const char good[] = "00112233-4455-6677-8899-aabbccddeeff";
	static const char *const bad[] = {
		"", "0", "00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddeeff0",
		"0011223-34455-6677-8899-aabbccddeeff", "00112233445566778899aabbccddeeff",
		"g0112233-4455-6677-8899-aabbccddeeff", " 0112233-4455-6677-8899-aabbccddeeff",
	};
	struct repl_id id, again;
	char text[ID_TEXT_MAX];

	ok(!id_parse(good, &id) && id.b[0] == 0 && id.b[15] == 0xff, "an id is read");
	is_text(id_format(&id, text), good, "and printed the same");
	ok(!id_parse("00112233-4455-6677-8899-AABBCCDDEEFF", &again) && id_equal(&id, &again),
	   "upper case is the same id");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		again = id;
		ok(id_parse(bad[i], &again) && id_equal(&id, &again), "\"%s\" is no id", bad[i]);
	}
}

static void test_random(void)
{
	struct repl_id zero = {}, a = id_random(), b = id_random(), parsed;
	char text[ID_TEXT_MAX];

	ok(id_is_zero(&zero) && !id_is_zero(&a), "only the zero id is none");
	ok(!id_equal(&a, &b), "two new ids differ");
	ok(!id_parse(id_format(&a, text), &parsed) && id_equal(&a, &parsed),
	   "any id survives printing and reading");
}

static void test_err(void)
{
	struct err e;

	ok(err_set(NULL, 5, "nobody listens") == -5, "an error nobody wants is still an error");
	ok(err_set(&e, 7, "disk %d", 3) == -7, "the error number comes back negative");
	is_text(e.text, "disk 3", "with its words");
	err_set(&e, 7, "spool: %s; try again", e.text);
	is_text(e.text, "spool: disk 3; try again", "words can be put around words");
}

int main(void)
{
	test_text();
	test_random();
	test_err();
	return tap_end();
}
