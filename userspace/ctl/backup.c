// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * repl-ctl backup: a volume, or what has changed since a mark, into a stream of one instant.
 *
 * Done here and not by the agent: the kernel gives a cut to whoever asks, and it ends with
 * the process that has it.  So a backup goes on while agents die and come back, and whatever
 * kills a backup leaves the agent, and the marks, as they were.
 *
 *	lock		nobody else gives out slots or changes marks
 *	slot		one of the stream's own, if it is full or becomes a mark: all dirty
 *	cuts		that slot's, then the mark's: what comes later is dirty in the new slot
 *	read		while the volume is in use: the kernel holds writes to what is not read
 *	still valid?	else nothing has come of it, and all of it is tried again
 *	end, fsync	the file has its name only now
 *	mark		the stream's slot takes the mark's name, in one step
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "config.h"
#include "dir.h"
#include "id.h"
#include "marks.h"
#include "pump.h"
#include "source.h"
#include "units.h"

enum {
	TRIES		= 5,
	PAUSE_S		= 1,		/* after the first one; doubled after each */
	DRAIN_MS	= 60000,
	SHOW_MS		= 500,
	HOLD_TEXT	= 32,
};

struct backup {
	const struct ctl *ctl;
	const char *volume;
	const char *since, *mark;	/* NULL: everything; no mark */
	const char *output;		/* NULL: standard output */
	uint32_t hold_ms;		/* 0: the kernel's default */
	bool json, force;

	struct kernel *k;
	struct kernel_volume v;
	int lock;
	int own;			/* the stream's own slot; -1: none */
	char own_name[MARK_NAME_MAX];
	int source;			/* the slot whose blocks are read */
	int own_cut, source_cut;	/* the same, if the own slot is the source */
	int data_fd;
	int out_fd;
	char part[PATH_MAX];		/* "": standard output */

	struct stream_info info;
	struct stream_file *out;
	struct stream_totals totals;
	unsigned int tries;
	uint64_t expected, done;	/* bytes */
	uint64_t began, shown;		/* ms */
	bool line;			/* of progress, to be cleared */
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool is_full(const struct backup *b)
{
	return !b->since;
}

/* -- the file -------------------------------------------------------------- */

/* What a signal has to remove; set once, before it is there. */
static const char *volatile unfinished;

static void interrupted(int number)
{
	if (unfinished)
		unlink(unfinished);
	_exit(128 + number);
}

static void catch_signals(const struct backup *b)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction act = { .sa_handler = interrupted };

	for (size_t i = 0; b->output && i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaction(numbers[i], &act, NULL);
	/* Nobody reads any more: an error like any other. */
	signal(SIGPIPE, SIG_IGN);
}

/* It was opened before it was locked: the one that ended in between may have kept it. */
static bool has_name(const struct backup *b)
{
	struct stat named, opened;

	return !lstat(b->part, &named) && !fstat(b->out_fd, &opened) && named.st_ino == opened.st_ino &&
	       named.st_dev == opened.st_dev;
}

static int open_output(struct backup *b, struct err *e)
{
	struct stat st;

	if (!b->output) {
		b->out_fd = STDOUT_FILENO;
		return 0;
	}
	if (!lstat(b->output, &st)) {
		if (!S_ISREG(st.st_mode))
			return err_set(e, EEXIST, "%s: is no plain file: for anything else use standard output",
				       b->output);
		if (!b->force)
			return err_set(e, EEXIST, "%s: is there already: name another file; --force replaces it when the new one is whole",
				       b->output);
	}
	if ((size_t)snprintf(b->part, sizeof(b->part), "%s.part", b->output) >= sizeof(b->part))
		return err_set(e, ENAMETOOLONG, "%s: the name is too long", b->output);
	b->out_fd = open(b->part, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (b->out_fd < 0)
		return err_set(e, errno, "%s: %s", b->part, strerror(errno));
	/* What a dead one has left is taken over, and nothing else. */
	if (flock(b->out_fd, LOCK_EX | LOCK_NB) || !has_name(b)) {
		close(b->out_fd);
		b->out_fd = -1;
		return err_set(e, EBUSY, "%s: another backup is being written there", b->part);
	}
	unfinished = b->part;
	if (ftruncate(b->out_fd, 0))
		return err_set(e, errno, "%s: %s", b->part, strerror(errno));
	return 0;
}

/* What came there meanwhile stays, unless --force was said. */
static int give_name(const struct backup *b)
{
	if (!b->force)
		return dir_rename_new(b->part, b->output);
	return rename(b->part, b->output) ? -errno : 0;
}

/* From here on the file is there, whatever happens. */
static int keep_file(struct backup *b, struct err *e)
{
	int ret;

	if (!b->output)
		return 0;
	if (fsync(b->out_fd))
		return err_set(e, errno, "%s: making it durable: %s", b->part, strerror(errno));
	ret = give_name(b);
	if (ret)
		return err_set(e, -ret, "%s: %s", b->output, strerror(-ret));
	unfinished = NULL;
	b->part[0] = '\0';
	ret = dir_sync_above(b->output);
	return ret ? err_set(e, -ret, "%s: making its name durable: %s", b->output, strerror(-ret)) : 0;
}

static void close_output(struct backup *b)
{
	if (b->part[0] && b->out_fd >= 0)
		unlink(b->part);
	if (b->output && b->out_fd >= 0)
		close(b->out_fd);
}

/* -- the volume ------------------------------------------------------------ */

static int refresh(struct backup *b, struct err *e)
{
	return kernel_get(b->k, b->volume, &b->v, e);
}

static int check_copy(const struct backup *b, struct err *e)
{
	const struct kernel_volume *v = &b->v;

	if (v->flags & (REPL_VF_DISKLESS | REPL_VF_FAILING))
		return err_set(e, EIO, "the disk here has failed: take the backup on another node, or see repl-ctl status %s",
			       b->volume);
	if (!(v->sb_flags & REPL_SB_CONSISTENT))
		return err_set(e, EAGAIN, "the copy here is not of one instant, it is catching up: repl-ctl wait %s --for in-sync, or take the backup on another node",
			       b->volume);
	return 0;
}

/* The kernel's name of the device below, which is where udev has not looked at it. */
static int open_backing(struct backup *b, struct err *e)
{
	char path[128], name[sizeof(b->v.backing)];
	unsigned int major_number, minor_number;
	struct stat st;
	FILE *f;
	int got;

	snprintf(path, sizeof(path), "/sys/class/block/%s/dev", b->v.backing);
	f = fopen(path, "re");
	got = f ? fscanf(f, "%u:%u", &major_number, &minor_number) : 0;
	if (f)
		fclose(f);
	if (got != 2)
		return err_set(e, ENODEV, "the device %s below is not known to this system", b->v.backing);
	snprintf(name, sizeof(name), "%s", b->v.backing);
	for (char *c = name; *c; c++)
		if (*c == '!')
			*c = '/';
	snprintf(path, sizeof(path), "/dev/%s", name);
	b->data_fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (b->data_fd < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	if (fstat(b->data_fd, &st) || !S_ISBLK(st.st_mode) ||
	    st.st_rdev != makedev(major_number, minor_number))
		return err_set(e, ENODEV, "%s: is not the device below any more", path);
	return 0;
}

/* -- slots and cuts -------------------------------------------------------- */

static int find_since(struct backup *b, struct err *e)
{
	const struct kernel_slot *s = marks_find(&b->v, b->since, MARK_READY);

	if (!s && marks_find(&b->v, b->since, MARK_PENDING))
		return err_set(e, ENOENT, "the stream of mark %s is not known to be safe yet: repl-ctl mark commit %s %s when it is, or repl-ctl mark remove",
			       b->since, b->volume, b->since);
	if (!s)
		return err_set(e, ENOENT, "there is no mark %s: repl-ctl mark list %s; take a full backup with --mark %s",
			       b->since, b->volume, b->since);
	if (id_is_zero(&s->copy_id))
		return err_set(e, ENOENT, "mark %s stands for no stream yet: take a full backup with --mark %s",
			       b->since, b->since);
	b->source = s->index;
	b->info.parent_id = s->copy_id;
	return 0;
}

/* Two backups that would become one mark cannot both. */
static int make_own(struct backup *b, struct err *e)
{
	const struct kernel_slot *s;
	char id[ID_TEXT_MAX];

	if (!b->mark && !is_full(b))
		return 0;
	if (b->mark)
		snprintf(b->own_name, sizeof(b->own_name), "%s", b->mark);
	else
		snprintf(b->own_name, sizeof(b->own_name), "full-%.8s", id_format(&b->info.stream_id, id));
	s = marks_find(&b->v, b->own_name, MARK_WRITING);
	if (s)
		return err_set(e, EBUSY, "another backup is under way that becomes mark %s: repl-ctl mark list %s",
			       b->mark, b->volume);
	b->own = marks_new(b->k, &b->v, b->own_name, MARK_WRITING, &b->info.stream_id, e);
	if (b->own < 0)
		return b->own;
	if (is_full(b))
		b->source = b->own;
	return 0;
}

static int prepare(struct backup *b, struct err *e)
{
	int ret;

	b->lock = marks_lock(&b->v, e);
	if (b->lock < 0)
		return b->lock;
	ret = refresh(b, e);
	if (!ret)
		ret = check_copy(b, e);
	if (!ret)
		ret = marks_sweep(b->k, &b->v, e);
	if (!ret && b->since)
		ret = find_since(b, e);
	return ret ? ret : make_own(b, e);
}

static void unlock(struct backup *b)
{
	if (b->lock >= 0)
		close(b->lock);
	b->lock = -1;
}

static void close_cuts(struct backup *b)
{
	if (b->own_cut >= 0 && b->own_cut != b->source_cut)
		close(b->own_cut);
	if (b->source_cut >= 0)
		close(b->source_cut);
	b->own_cut = b->source_cut = -1;
}

static int wait_drained(int cut, struct err *e)
{
	struct pollfd p = { .fd = cut, .events = POLLIN };
	int ret;

	do
		ret = poll(&p, 1, DRAIN_MS);
	while (ret < 0 && errno == EINTR);
	if (ret > 0)
		return 0;
	return err_set(e, ret ? errno : ETIMEDOUT, "writes from before the backup are not on the disk after %d s",
		       DRAIN_MS / 1000);
}

/* What is written between the two cuts is in the stream, and dirty in the mark that it becomes. */
static int cut(struct backup *b, struct err *e)
{
	int ret = 0;

	if (b->own >= 0 && b->own != b->source) {
		b->own_cut = kernel_cut(b->k, b->v.minor, (uint8_t)b->own, REPL_CUT_UNFROZEN, 0, e);
		if (b->own_cut < 0)
			return b->own_cut;
	}
	b->source_cut = kernel_cut(b->k, b->v.minor, (uint8_t)b->source, REPL_CUT_FROZEN, b->hold_ms, e);
	if (b->source_cut < 0)
		return b->source_cut;
	if (b->own == b->source)
		b->own_cut = b->source_cut;
	/* Now nobody takes the slot for an abandoned one. */
	unlock(b);
	if (b->own_cut >= 0)
		ret = wait_drained(b->own_cut, e);
	return ret ? ret : wait_drained(b->source_cut, e);
}

static const struct kernel_slot *slot_of(const struct kernel_volume *v, int index)
{
	for (unsigned int i = 0; i < v->slot_count; i++)
		if (v->slot[i].index == index)
			return &v->slot[i];
	return NULL;
}

/*
 * What is staged is applied block by block.  Blocks that a cut holds make it void then, but not
 * those that were announced before it was there; and when all of it is applied the copy counts
 * again, as a later one.
 */
static bool has_moved(const struct kernel_volume *before, const struct kernel_volume *now)
{
	return now->role != REPL_ROLE_PRIMARY &&
	       (!id_equal(&before->generation, &now->generation) || before->epoch != now->epoch);
}

/*
 * After the cut and at the end: the volume is the one that was opened, with the same disk,
 * and its copy one that counts.
 */
static int check_same(struct backup *b, struct err *e)
{
	struct kernel_volume before = b->v;
	const struct kernel_slot *s;
	int ret = refresh(b, e);

	if (ret)
		return ret;
	s = slot_of(&b->v, b->source);
	if (!s || !s->cut || !id_equal(&before.copy_id, &b->v.copy_id) || before.minor != b->v.minor)
		return err_set(e, EIO, "the volume was taken down meanwhile: repl-ctl up %s, then again", b->volume);
	if (strcmp(before.backing, b->v.backing))
		return err_set(e, EIO, "the disk was replaced meanwhile: run it again");
	if (before.size != b->v.size)
		return err_set(e, EAGAIN, "the volume has grown meanwhile: run it again");
	return check_copy(b, e);
}

/* -- reading and writing --------------------------------------------------- */

static int next(void *arg, struct repl_extent *extent, struct err *e)
{
	const struct backup *b = arg;
	ssize_t n;

	do
		n = read(b->source_cut, extent, sizeof(*extent));
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == ETIMEDOUT)
		return kernel_cut_valid(b->source_cut, e);
	if (n < 0)
		return err_set(e, errno, "the cut cannot be read: %s", strerror(errno));
	return n > 0;
}

static int release(void *arg, const struct repl_extent *extent, struct err *e)
{
	const struct backup *b = arg;

	return kernel_cut_release(b->source_cut, extent, e);
}

static void show(struct backup *b)
{
	char done[UNITS_TEXT_MAX], all[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX], left[UNITS_TEXT_MAX];
	uint64_t ms = now_ms() - b->began, speed = b->done * 1000 / (ms ? ms : 1);

	fprintf(stderr, "\r\033[K%s: %d %%, %s of %s, %s/s", b->volume,
		b->expected ? (int)(b->done * 100 / b->expected) : 100,
		units_format_bytes(b->done, done), units_format_bytes(b->expected, all),
		units_format_bytes(speed, rate));
	if (speed && b->done < b->expected)
		fprintf(stderr, ", %s left",
			units_format_duration((b->expected - b->done) / speed * 1000, left));
	b->line = true;
}

static void clear(struct backup *b)
{
	if (b->line)
		fputs("\r\033[K", stderr);
	b->line = false;
}

static void wrote(void *arg, uint64_t bytes)
{
	struct backup *b = arg;

	b->done += bytes;
	if (!b->ctl->progress || now_ms() < b->shown + SHOW_MS)
		return;
	b->shown = now_ms();
	show(b);
}

static void describe(struct backup *b)
{
	const struct kernel_slot *s = slot_of(&b->v, b->source);

	b->info.kind = is_full(b) ? REPL_STREAM_FULL : REPL_STREAM_CHANGES;
	b->info.flags = REPL_STREAM_CONSISTENT;
	b->info.features = REPL_STREAM_ANY_ORDER;
	b->info.uuid = b->v.uuid;
	b->info.copy_id = b->v.copy_id;
	b->info.generation = b->v.generation;
	b->info.epoch = b->v.epoch;
	b->info.data_size = b->v.size;
	b->info.lbs_shift = b->v.lbs_shift;
	b->info.time = (uint64_t)time(NULL);
	snprintf(b->info.name, sizeof(b->info.name), "%s", b->volume);
	b->expected = s ? s->dirty_blocks << REPL_BLOCK_SHIFT : 0;
	b->done = 0;
	b->began = b->shown = now_ms();
}

static int copy(struct backup *b, struct err *e)
{
	struct pump pump = {
		.data_fd = b->data_fd, .size = b->v.size, .next = next, .release = release,
		.wrote = wrote, .arg = b,
	};
	int ret;

	describe(b);
	b->out = stream_file_new(b->out_fd, b->output ? b->part : "standard output", &b->info, e);
	if (!b->out)
		return -EIO;
	pump.out = b->out;
	ret = pump_run(&pump, e);
	clear(b);
	/* All is read: from here on no write waits, and what is valid stays so. */
	if (!ret)
		ret = kernel_cut_valid(b->source_cut, e);
	return ret ? ret : check_same(b, e);
}

/* Return: 0, -EAGAIN or -ETIMEDOUT when it may be tried again, or another -errno. */
static int attempt(struct backup *b, struct err *e)
{
	struct kernel_volume before = b->v;
	int ret = check_copy(b, e);

	if (!ret)
		ret = cut(b, e);
	if (!ret)
		ret = check_same(b, e);
	if (!ret && has_moved(&before, &b->v))
		ret = err_set(e, EAGAIN, "the copy here was being brought up to date");
	return ret ? ret : copy(b, e);
}

/* Of what went into a pipe nothing can be taken back. */
static bool may_retry(const struct backup *b, int error)
{
	return (error == -ETIMEDOUT || error == -EAGAIN) && b->tries < TRIES &&
	       (b->output || !b->out || !stream_file_bytes(b->out));
}

static int start_again(struct backup *b, struct err *e)
{
	unsigned int pause = PAUSE_S << (b->tries - 1);

	fprintf(stderr, "repl-ctl: %s: %s; trying again in %u s (try %u of %d)\n", b->volume, e->text,
		pause, b->tries + 1, TRIES);
	stream_file_free(b->out);
	b->out = NULL;
	/* Held until the next cut: without one the slot would pass for an abandoned one. */
	if (b->lock < 0)
		b->lock = marks_lock(&b->v, e);
	if (b->lock < 0)
		return b->lock;
	close_cuts(b);
	sleep(pause);
	if (b->output && (ftruncate(b->out_fd, 0) || lseek(b->out_fd, 0, SEEK_SET)))
		return err_set(e, errno, "%s: %s", b->part, strerror(errno));
	return refresh(b, e);
}

static int read_all(struct backup *b, struct err *e)
{
	int ret;

	for (b->tries = 1; (ret = attempt(b, e)); b->tries++) {
		if (ret == -ETIMEDOUT && !may_retry(b, ret))
			return err_set(e, ETIMEDOUT, "%s%s; --hold lets writes wait longer", e->text,
				       b->output ? ", each time" : ", and a pipe cannot be begun again");
		if (!may_retry(b, ret))
			return ret;
		ret = start_again(b, e);
		if (ret)
			return ret;
	}
	return 0;
}

/* -- the end --------------------------------------------------------------- */

static int advance(struct backup *b, struct err *e)
{
	enum mark_state state = b->output ? MARK_READY : MARK_PENDING;
	int ret;

	if (b->own_cut >= 0 && b->mark && ioctl(b->own_cut, REPL_CUT_IOC_COMMIT))
		return err_set(e, errno, "the cut of the new mark cannot be ended: %s", strerror(errno));
	/* What was read is dirty in the old mark again, until the new one takes its place. */
	close_cuts(b);
	if (!b->mark)
		return 0;
	b->lock = marks_lock(&b->v, e);
	ret = b->lock < 0 ? b->lock : marks_rename(b->k, &b->v, (uint8_t)b->own, b->mark, state,
						   &b->info.stream_id, e);
	if (!ret)
		b->own = -1;
	unlock(b);
	return ret;
}

/* The stream is whole and safe, but the mark has not moved. */
static int not_advanced(const struct backup *b, struct err *e)
{
	return err_set(e, EIO, "%s is whole, but mark %s does not stand for it: %s; the next one since that mark has these changes, too",
		       b->output ? b->output : "the stream", b->mark, e->text);
}

static int finish(struct backup *b, struct err *e)
{
	int ret = stream_file_end(b->out, e);

	if (ret)
		return ret;
	b->totals = *stream_file_totals(b->out);
	ret = keep_file(b, e);
	if (ret)
		return ret;
	ret = advance(b, e);
	return ret && b->mark ? not_advanced(b, e) : ret;
}

/* Whatever has become of it, the slot is not needed any more. */
static void drop_own(struct backup *b)
{
	struct err e = { "" };

	close_cuts(b);
	if (b->own < 0)
		return;
	if (b->lock < 0)
		b->lock = marks_lock(&b->v, &e);
	if (marks_free(b->k, &b->v, (uint8_t)b->own, b->own_name, MARK_WRITING, &e))
		ctl_complain("%s: slot %d stays in use until the next backup: %s", b->volume, b->own, e.text);
}

static int tell_json(const struct backup *b)
{
	char id[ID_TEXT_MAX], parent[ID_TEXT_MAX];
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s?, s:I, s:I, s:I, s:I, s:s?, s:i, s:I}",
			      "volume", b->volume, "file", b->output, "kind", is_full(b) ? "full" : "changes",
			      "stream", id_format(&b->info.stream_id, id), "parent",
			      is_full(b) ? NULL : id_format(&b->info.parent_id, parent),
			      "time", (json_int_t)b->info.time, "bytes", (json_int_t)stream_file_bytes(b->out),
			      "data_bytes", (json_int_t)b->totals.data_bytes, "zero_bytes",
			      (json_int_t)b->totals.zero_bytes, "mark", b->mark, "tries", (int)b->tries,
			      "ms", (json_int_t)(now_ms() - b->began));
	int ret = j ? json_dumpf(j, stdout, JSON_COMPACT) : -1;

	json_decref(j);
	if (ret)
		return ctl_complain("%s: %s is no name that JSON can have", b->volume, b->output);
	putchar('\n');
	return CTL_DONE;
}

static int tell(const struct backup *b)
{
	char data[UNITS_TEXT_MAX], zeros[UNITS_TEXT_MAX], took[UNITS_TEXT_MAX];
	FILE *to = b->output ? stdout : stderr;

	if (b->json)
		return tell_json(b);
	/* Of a pipe only what there is to do, and on a terminal what it was. */
	if (b->output || b->ctl->progress)
		fprintf(to, "%s: %s: %s, %s of blocks and %s of zeros in %s\n", b->volume,
			b->output ? b->output : "written",
			is_full(b) ? "a full copy" : "what has changed",
			units_format_bytes(b->totals.data_bytes, data),
			units_format_bytes(b->totals.zero_bytes, zeros),
			units_format_duration(now_ms() - b->began, took));
	if (b->mark && b->output)
		fprintf(to, "%s: the mark %s stands for it\n", b->volume, b->mark);
	else if (b->mark)
		fprintf(to, "%s: when it is safe where it went: repl-ctl mark commit %s %s\n", b->volume,
			b->volume, b->mark);
	return CTL_DONE;
}

/* -- the command line ------------------------------------------------------ */

static void ignore(void *arg, const char *text)
{
	(void)arg, (void)text;
}

/* A name for people; without a readable configuration the machine's does. */
static void name_node(struct backup *b)
{
	struct config *c = calloc(1, sizeof(*c));

	if (c) {
		config_load(b->ctl->config_dir, c, ignore, NULL);
		snprintf(b->info.node, sizeof(b->info.node), "%s", c->agent.name);
		config_free(c);
		free(c);
	}
	if (!b->info.node[0] && gethostname(b->info.node, sizeof(b->info.node) - 1))
		b->info.node[0] = '\0';
}

static int run(struct backup *b)
{
	struct err e = { "" };
	int ret = kernel_open(&b->k, &e);

	if (!ret)
		ret = refresh(b, &e);
	if (!ret) {
		catch_signals(b);
		name_node(b);
		b->info.stream_id = id_random();
		ret = open_output(b, &e);
	}
	if (!ret)
		ret = open_backing(b, &e);
	if (!ret)
		ret = prepare(b, &e);
	if (!ret)
		ret = read_all(b, &e);
	if (!ret)
		ret = finish(b, &e);
	if (b->k)
		drop_own(b);
	unlock(b);
	close_output(b);
	if (b->data_fd >= 0)
		close(b->data_fd);
	kernel_close(b->k);
	ret = ret ? ctl_complain("%s: %s", b->volume, e.text) : tell(b);
	stream_file_free(b->out);
	return ret;
}

static bool parse_hold(const char *text, uint32_t *ms)
{
	char with_unit[HOLD_TEXT];
	uint64_t value;

	/* A bare number is milliseconds. */
	snprintf(with_unit, sizeof(with_unit), "%s%s", text, strspn(text, "0123456789") == strlen(text) ? "ms" : "");
	if (units_parse_duration(with_unit, &value) || !value || value > REPL_HOLD_MAX_MS)
		return false;
	*ms = (uint32_t)value;
	return true;
}

static int misused(const struct backup *b)
{
	const char *names[] = { b->since, b->mark };

	for (int i = 0; i < 2; i++)
		if (names[i] && !mark_valid_name(names[i]))
			return ctl_misuse(b->ctl, "%s: a mark's name has at most %d letters, digits, and . _ - after the first",
					  names[i], MARK_NAME_MAX - 1);
	if (b->mark && !strcmp(b->mark, MARK_VERIFY))
		return ctl_complain("%s: the name is what repl-ctl verify keeps its mark under: take another one",
				    b->mark);
	if (b->json && !b->output)
		return ctl_misuse(b->ctl, "--json needs --output: standard output has the stream");
	if (b->force && !b->output)
		return ctl_misuse(b->ctl, "--force is about the file of --output");
	if (!b->output && isatty(STDOUT_FILENO))
		return ctl_misuse(b->ctl, "standard output is a terminal: name a file with --output, or say where it goes");
	return CTL_DONE;
}

static int list(const struct backup *b, char **path, int count)
{
	if (b->since || b->mark || b->output || b->json || b->force || b->hold_ms)
		return ctl_misuse(b->ctl, "--list takes files and nothing else");
	if (!count)
		return ctl_misuse(b->ctl, "name a stream");
	return source_list(b->ctl, path, count);
}

int ctl_backup(const struct ctl *ctl, int argc, char **argv)
{
	static const struct option table[] = {
		{ "since", required_argument, NULL, 's' },
		{ "mark", required_argument, NULL, 'm' },
		{ "output", required_argument, NULL, 'o' },
		{ "hold", required_argument, NULL, 'h' },
		{ "list", no_argument, NULL, 'l' },
		{ "json", no_argument, NULL, 'j' },
		{ "force", no_argument, NULL, 'f' },
		{}
	};
	struct backup b = {
		.ctl = ctl, .lock = -1, .own = -1, .source = -1, .own_cut = -1, .source_cut = -1,
		.data_fd = -1, .out_fd = -1,
	};
	bool only_list = false;
	int id, ret;

	while ((id = getopt_long(argc, argv, ":", table, NULL)) >= 0) {
		switch (id) {
		case 's':
			b.since = optarg;
			break;
		case 'm':
			b.mark = optarg;
			break;
		case 'o':
			b.output = optarg;
			break;
		case 'l':
			only_list = true;
			break;
		case 'j':
			b.json = true;
			break;
		case 'f':
			b.force = true;
			break;
		case 'h':
			if (!parse_hold(optarg, &b.hold_ms))
				return ctl_misuse(ctl, "--hold %s: a time of at most 60 s is expected, as in 500ms or 5s",
						  optarg);
			break;
		default:
			return ctl_misuse(ctl, id == ':' ? "%s needs a value" : "unknown option %s", argv[optind - 1]);
		}
	}
	if (only_list)
		return list(&b, argv + optind, argc - optind);
	if (argc - optind != 1)
		return ctl_misuse(ctl, "exactly one volume is expected");
	b.volume = argv[optind];
	ret = misused(&b);
	return ret ? ret : run(&b);
}
