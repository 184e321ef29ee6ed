// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The file that a backup goes to, when others are at it at the same moment; and a copy that
 * becomes a later one around its cut.  The kernel is played.
 * needs: userspace/ctl/marks.c userspace/ctl/pump.c userspace/ctl/source.c
 */
#include <stdarg.h>
#include <stdbool.h>
#include <sys/file.h>

struct err;
struct kernel;
struct kernel_volume;

static int played_get(struct kernel *k, const char *name, struct kernel_volume *v, struct err *e);
static int played_cut(struct err *e);
static int played_flock(int fd);

/* All of it but what it asks of the kernel, and of the others' locks. */
#define kernel_get played_get
#define kernel_cut(k, minor, slot, flags, hold_ms, e) played_cut(e)
#define flock(fd, how) played_flock(fd)
#include "kernel.h"
#include "backup.c"
#undef flock
#include "tap.h"

static char root[] = "/tmp/test_backup.XXXXXX";
static char output[64], part[80];
static struct kernel_volume volume, later;
static void (*meanwhile)(void);		/* as the file is opened, and not locked yet */
static bool moves;			/* as the cut is taken */

int ctl_complain(const char *fmt, ...)
{
	(void)fmt;
	return CTL_FAILED;
}

int ctl_misuse(const struct ctl *ctl, const char *fmt, ...)
{
	(void)ctl, (void)fmt;
	return CTL_USAGE;
}

static int played_get(struct kernel *k, const char *name, struct kernel_volume *v, struct err *e)
{
	(void)k, (void)name, (void)e;
	*v = volume;
	return 0;
}

static int played_cut(struct err *e)
{
	int fd[2];

	(void)e;
	need(!pipe(fd), "a cut");
	/* It is drained, and there is nothing in it. */
	close(fd[1]);
	if (moves)
		volume = later;
	return fd[0];
}

static int played_flock(int fd)
{
	(void)fd;
	if (meanwhile)
		meanwhile();
	return 0;
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	need(f && fputs(text, f) >= 0 && !fclose(f), path);
}

static const char *get(const char *path)
{
	static char text[64];
	FILE *f = fopen(path, "r");

	if (!f)
		return "none";
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static void other_ends(void)
{
	need(!rename(part, output), "the other one keeps its file");
}

static void other_gives_up(void)
{
	need(!unlink(part), "the other one removes its file");
	put(part, "of a third");
}

static struct backup begin(bool force)
{
	return (struct backup){
		.output = output, .force = force, .lock = -1, .own = -1, .own_cut = -1, .source_cut = -1,
		.data_fd = -1, .out_fd = -1, .volume = "spool",
	};
}

static void end(struct backup *b)
{
	close_cuts(b);
	close_output(b);
	unlink(output);
	unlink(part);
	meanwhile = NULL;
}

static void opened_and_ended(void)
{
	struct backup b = begin(false);
	struct err e = { "" };

	put(part, "whole");
	meanwhile = other_ends;
	is_number(open_output(&b, &e), -EBUSY, "the other backup has ended as this one opened its file");
	is_text(get(output), "whole", "and its file stays as it is");
	end(&b);
	b = begin(false);
	put(part, "rest");
	meanwhile = other_gives_up;
	is_number(open_output(&b, &e), -EBUSY, "it has given up, and a third has begun");
	close_output(&b);
	is_text(get(part), "of a third", "whose file stays");
	end(&b);
	b = begin(false);
	put(part, "rest");
	ok(!open_output(&b, &e) && !strcmp(get(part), ""), "what a dead one has left is taken over");
	end(&b);
}

static void named(void)
{
	struct backup b = begin(false);
	struct err e = { "" };

	need(!open_output(&b, &e), "a file");
	need(write(b.out_fd, "mine", 4) == 4, "something in it");
	put(output, "theirs");
	ok(keep_file(&b, &e) == -EEXIST, "a file that has come there meanwhile: %s", e.text);
	is_text(get(output), "theirs", "stays");
	end(&b);
	b = begin(true);
	need(!open_output(&b, &e) && write(b.out_fd, "mine", 4) == 4, "a file");
	put(output, "theirs");
	is_number(keep_file(&b, &e), 0, "with --force it is replaced");
	is_text(get(output), "mine", "by the new one");
	end(&b);
	b = begin(false);
	need(!open_output(&b, &e) && write(b.out_fd, "mine", 4) == 4, "a file");
	is_number(keep_file(&b, &e), 0, "as usual");
	is_text(get(output), "mine", "it has its name");
	end(&b);
}

/* Return: of an attempt at a copy that is @from as it begins, and @to when the cut is there. */
static int attempts(uint8_t role, const struct kernel_volume *to, struct err *e)
{
	struct backup b = begin(false);
	int ret;

	volume = (struct kernel_volume){
		.role = role, .sb_flags = REPL_SB_CONSISTENT, .generation = { { 1 } }, .epoch = 4,
		.size = 1 << 20, .slots = 4, .slot_count = 1, .slot[0] = { .index = 1, .cut = true },
	};
	later = *to;
	later.role = role;
	moves = true;
	b.source = 1;
	b.v = volume;
	need(!open_output(&b, e), "a file");
	ret = attempt(&b, e);
	stream_file_free(b.out);
	end(&b);
	return ret;
}

static void moved(void)
{
	struct kernel_volume to = {
		.sb_flags = REPL_SB_CONSISTENT, .generation = { { 1 } }, .epoch = 4, .size = 1 << 20,
		.slots = 4, .slot_count = 1, .slot[0] = { .index = 1, .cut = true },
	};
	struct err e = { "" };

	ok(attempts(REPL_ROLE_SECONDARY, &to, &e) != -EAGAIN, "a copy that stays as it is: %s", e.text);
	to.epoch++;
	is_number(attempts(REPL_ROLE_SECONDARY, &to, &e), -EAGAIN, "one that has become a later epoch around the cut");
	ok(strstr(e.text, "brought up to date"), "is said to: %s", e.text);
	to.epoch--;
	to.generation.b[0]++;
	is_number(attempts(REPL_ROLE_SECONDARY, &to, &e), -EAGAIN, "one of a later generation");
	ok(attempts(REPL_ROLE_PRIMARY, &to, &e) != -EAGAIN, "that of a primary is the same with another name: %s", e.text);
	to.sb_flags = 0;
	is_number(attempts(REPL_ROLE_SECONDARY, &to, &e), -EAGAIN, "one that is on its way");
}

int main(void)
{
	need(mkdtemp(root), "a directory");
	snprintf(output, sizeof(output), "%s/spool", root);
	snprintf(part, sizeof(part), "%s.part", output);
	opened_and_ended();
	named();
	moved();
	ok(!rmdir(root), "nothing is left");
	return tap_end();
}
