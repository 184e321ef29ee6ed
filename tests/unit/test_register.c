// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The arbiter's register: its rule in every case, and its file cut short at each step and
 * each byte.
 * needs: userspace/agent/register.c
 */
#include "register.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "id.h"
#include "record.h"
#include "tap.h"

enum { NODES = 2, IDS = 3, DEPTH = 4 };

static char root[] = "/tmp/test_register.XXXXXX";
static char dir[64];

/* The next call of these that must not happen: the process ends before it. */
static int steps_left = -1;
static char steps[16];
static unsigned int steps_made;

static void step(char what)
{
	if (steps_made < sizeof(steps) - 1)
		steps[steps_made++] = what;
	if (steps_left == 0)
		_exit(9);
	if (steps_left > 0)
		steps_left--;
}

int fsync(int fd)
{
	struct stat st;

	step(!fstat(fd, &st) && S_ISDIR(st.st_mode) ? 'd' : 'f');
	return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
	step('r');
	return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static struct repl_id id(uint8_t n)
{
	struct repl_id out = { { 0 } };

	out.b[0] = n;
	out.b[15] = (uint8_t)(n ? 0xaa : 0);
	return out;
}

/* --------------------------------------------------------------- rule --- */

struct ask {
	uint8_t node, expect, want;
};

/*
 * All sequences of asks by two nodes that never reuse a want for something else: of all who
 * expect the same at most one is ever granted, and whoever was granted is granted again
 * until somebody has gone on from there.
 */
static void all_sequences(struct register_entry r, unsigned int depth, unsigned int *taken,
			  bool *fair)
{
	if (!depth)
		return;
	for (uint8_t node = 0; node < NODES; node++) {
		for (uint8_t expect = 1; expect <= IDS; expect++) {
			/* A node's want is its own, and follows from what it expects. */
			uint8_t want = (uint8_t)(10 * expect + node);
			uint8_t key[REPL_KEY_BYTES] = { (uint8_t)(node + 1) };
			struct repl_id from = id(expect), to = id(want);
			struct register_entry next = r;
			bool reads = id_equal(&r.generation, &from);
			bool has = id_equal(&r.generation, &to);
			unsigned int before = taken[expect];
			bool granted = register_ask(&next, &from, &to, key);

			if (granted != (reads || has) ||
			    (!granted && memcmp(&next, &r, sizeof(r))) ||
			    (granted && (!id_equal(&next.generation, &to) ||
					 memcmp(next.holder, key, sizeof(key)))))
				*fair = false;
			if (granted && taken[expect] && taken[expect] != want)
				*fair = false;
			if (granted)
				taken[expect] = want;
			all_sequences(next, depth - 1, taken, fair);
			taken[expect] = before;
		}
	}
}

static void rule(void)
{
	static const uint8_t a[REPL_KEY_BYTES] = { 1 }, b[REPL_KEY_BYTES] = { 2 };
	struct register_entry r = { .generation = id(1) };
	struct repl_id g = id(1), w = id(2), x = id(3), zero = id(0);
	unsigned int taken[IDS + 1] = { 0 };
	bool fair = true;

	ok(!register_ask(&r, &x, &w, a) && id_equal(&r.generation, &g), "another expectation is denied");
	ok(!register_ask(&r, &zero, &w, a) && !register_ask(&r, &g, &zero, a),
	   "nothing is no generation, to expect or to want");
	ok(register_ask(&r, &g, &w, a) && id_equal(&r.generation, &w), "the expected one is swapped");
	ok(register_ask(&r, &g, &w, a), "the same again: granted again");
	ok(!register_ask(&r, &g, &w, b), "not to another node");
	ok(!register_ask(&r, &g, &x, a) && !register_ask(&r, &g, &x, b),
	   "what it does not read any more is denied, to the holder, too");
	ok(register_ask(&r, &w, &x, b) && !register_ask(&r, &g, &w, a),
	   "once somebody has gone on, the former grant is none");
	r = (struct register_entry){ .generation = id(1) };
	all_sequences(r, DEPTH, taken, &fair);
	ok(fair, "of all sequences of %d asks: at most one want for each expectation", DEPTH);
}

/* --------------------------------------------------------------- file --- */

static struct register_entry entry(uint8_t generation)
{
	struct register_entry r = { .volume = id(7), .name = "spool", .generation = id(generation),
				    .held = true };

	memset(r.holder, generation, sizeof(r.holder));
	return r;
}

static bool same(const struct register_entry *a, const struct register_entry *b)
{
	return id_equal(&a->volume, &b->volume) && id_equal(&a->generation, &b->generation) &&
	       a->held == b->held && !memcmp(a->holder, b->holder, sizeof(a->holder)) &&
	       !strcmp(a->name, b->name);
}

static void path_of(char path[192])
{
	struct repl_id volume = id(7);
	char name[ID_TEXT_MAX];

	snprintf(path, 192, "%s/%s", dir, id_format(&volume, name));
}

static void round_trip(void)
{
	struct register_entry r = entry(1), got, fresh = { .volume = id(7), .name = "spool",
							    .generation = id(4) };
	struct repl_id volume = id(7), other = id(8);
	struct err e = { "" };

	ok(register_load(dir, &volume, &got, &e) == -ENOENT && strstr(e.text, "no entry"),
	   "without an entry: %s", e.text);
	steps_made = 0;
	need(!register_store(dir, &r, &e), e.text);
	steps[steps_made] = '\0';
	is_text(steps, "dfrd", "its directory, the file, its name, the directory: in this order");
	ok(!register_load(dir, &volume, &got, &e) && same(&r, &got), "what was stored is read");
	need(!register_store(dir, &fresh, &e), e.text);
	ok(!register_load(dir, &volume, &got, &e) && same(&fresh, &got), "one that nobody holds, too");
	ok(register_load(dir, &other, &got, &e) == -ENOENT, "another volume has none");
	ok(!register_remove(dir, &volume, &e) && register_remove(dir, &volume, &e) == -ENOENT,
	   "removed, once: %s", e.text);
}

/* The process dies before each step: the entry is the old one or the new one, whole. */
static void deaths(void)
{
	struct register_entry old = entry(1), fresh = entry(2), got;
	struct repl_id volume = id(7);
	bool whole = true, seen_old = false, seen_new = false;
	struct err e = { "" };
	int n, status;

	for (n = 0; n < 10; n++) {
		pid_t child;

		steps_left = -1;
		need(!register_store(dir, &old, &e), e.text);
		child = fork();
		need(child >= 0, "fork");
		if (!child) {
			steps_left = n;
			_exit(register_store(dir, &fresh, &e) ? 1 : 0);
		}
		need(waitpid(child, &status, 0) == child, "waitpid");
		if (register_load(dir, &volume, &got, &e))
			whole = false;
		seen_old |= whole && same(&got, &old);
		seen_new |= whole && same(&got, &fresh);
		whole &= same(&got, &old) || same(&got, &fresh);
		if (WIFEXITED(status) && !WEXITSTATUS(status)) {
			ok(same(&got, &fresh), "told that it is stored: it is");
			break;
		}
	}
	ok(n == 3, "three steps to die before: %d", n);
	ok(whole && seen_old && seen_new, "whoever dies on the way leaves the old entry or the new one");
}

static void damage(void)
{
	struct register_entry r = entry(3), got;
	struct repl_id volume = id(7);
	unsigned int believed = 0, dumb = 0;
	struct err e = { "" };
	char path[192], bytes[1024], bent[1024];
	ssize_t length;
	int fd;

	path_of(path);
	need(!register_store(dir, &r, &e), e.text);
	fd = open(path, O_RDONLY);
	length = read(fd, bytes, sizeof(bytes));
	close(fd);
	need(length > 100, "the file");
	for (ssize_t at = 0; at < 2 * length; at++) {
		ssize_t n = at < length ? at : length;

		memcpy(bent, bytes, (size_t)length);
		if (at >= length)
			bent[at - length] ^= 1;
		fd = open(path, O_WRONLY | O_TRUNC);
		need(fd >= 0 && write(fd, bent, (size_t)n) == n, "bend it");
		close(fd);
		e.text[0] = '\0';
		believed += !register_load(dir, &volume, &got, &e);
		dumb += !strstr(e.text, path);
	}
	ok(!believed, "torn at any byte, or with any byte bent, it is not believed");
	ok(!dumb, "and the words name the file: %s", e.text);
	need(!register_store(dir, &r, &e), e.text);
}

static unsigned int listed, listed_bad;

static void count(void *arg, const struct register_entry *r, const char *why)
{
	(void)arg;
	(void)why;
	listed += !!r;
	listed_bad += !r;
}

static void list(void)
{
	struct register_entry r = entry(1);
	struct err e = { "" };
	char path[192];
	int fd;

	r.volume = id(9);
	need(!register_store(dir, &r, &e), e.text);
	r.volume = id(7);
	need(!register_store(dir, &r, &e), e.text);
	path_of(path);
	fd = open(path, O_WRONLY | O_TRUNC);
	close(fd);
	strcat(path, ".new");
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	close(fd);
	ok(!register_each(dir, count, NULL, &e) && listed == 1 && listed_bad == 1,
	   "listed: one that is good, one that is not, nothing else");
}

int main(void)
{
	char command[128];

	need(mkdtemp(root), "a directory");
	snprintf(dir, sizeof(dir), "%s/witness", root);
	rule();
	round_trip();
	deaths();
	damage();
	list();
	snprintf(command, sizeof(command), "rm -rf %s", root);
	need(!system(command), command);
	return tap_end();
}
