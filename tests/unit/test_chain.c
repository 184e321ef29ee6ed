// SPDX-License-Identifier: GPL-2.0-or-later
/* Which streams may be put over each other, and the names of marks. */
#include "chain.h"

#include <errno.h>

#include "id.h"
#include "mark.h"
#include "tap.h"

static struct stream_info full, one, two;

static void make(void)
{
	full = (struct stream_info){
		.kind = REPL_STREAM_FULL, .stream_id = id_random(), .uuid = id_random(),
		.data_size = 1 << 20, .lbs_shift = 12,
	};
	one = full;
	one.kind = REPL_STREAM_CHANGES;
	one.stream_id = id_random();
	one.parent_id = full.stream_id;
	two = one;
	two.stream_id = id_random();
	two.parent_id = one.stream_id;
	two.data_size = 2 << 20;
}

static void refused(const struct stream_info *before, const struct stream_info *i, const char *words,
		    const char *what)
{
	struct err e = { "" };
	int ret = before ? chain_next(before, "before", i, "this", &e) : chain_first(i, "this", true, &e);

	ok(ret == -EINVAL && strstr(e.text, words) && strstr(e.text, "this: "), "%s: %s", what, e.text);
}

static void test_chain(void)
{
	struct stream_info split;
	struct err e;

	make();
	ok(!chain_first(&full, "f", true, &e) && !chain_next(&full, "f", &one, "1", &e) &&
	   !chain_next(&one, "1", &two, "2", &e), "a full copy, and what changed since, also of a volume that grew");
	refused(&full, &two, "one is missing", "a missing link");
	refused(&two, &one, "one is missing", "another order");
	refused(&one, &one, "one is missing", "the same twice");
	refused(&one, &full, "begin with it", "a full copy in the middle");
	refused(NULL, &one, "name the full copy", "no full copy");
	split = one;
	split.parent_id = (struct repl_id){ { 0 } };
	refused(NULL, &split, "is no full copy", "changes of a split, and more");
	ok(!chain_first(&split, "s", false, &e), "alone it may be restored");
	one.uuid = id_random();
	refused(&full, &one, "another volume", "another volume");
	make();
	one.data_size = full.data_size / 2;
	refused(&full, &one, "never shrinks", "a smaller volume");
	make();
	one.lbs_shift = 9;
	refused(&full, &one, "never shrinks", "other blocks");
}

static void test_names(void)
{
	static const char *const bad[] = {
		"", ".", "-a", "a b", "a/b", "\xc3\xa4", "a\n", "0123456789012345678901234567890",
	};
	uint8_t key[REPL_KEY_BYTES];
	char name[MARK_NAME_MAX];
	enum mark_state state;
	bool all = true;

	ok(mark_valid_name("nightly") && mark_valid_name("a") && mark_valid_name("A.b_c-9") &&
	   mark_valid_name("012345678901234567890123456789"), "names");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		all &= !mark_valid_name(bad[i]);
	ok(all, "what is none");
	for (enum mark_state s = 0; s < MARK_STATES; s++) {
		mark_pack("012345678901234567890123456789", s, key);
		all &= mark_unpack(key, name, &state) && state == s &&
		       !strcmp(name, "012345678901234567890123456789");
	}
	ok(all, "what was packed is unpacked");
	mark_pack("nightly", MARK_PENDING, key);
	ok(!memcmp(key, "nightly\0", 8) && key[31] == MARK_PENDING, "as documented");
	key[31] = MARK_STATES;
	ok(!mark_unpack(key, name, &state), "an unknown state is not one of ours");
	key[31] = 0;
	key[20] = 'x';
	ok(!mark_unpack(key, name, &state), "nor is what stands behind the name");
	memset(key, 'x', sizeof(key));
	ok(!mark_unpack(key, name, &state), "nor a name without an end");
}

int main(void)
{
	test_chain();
	test_names();
	return tap_end();
}
