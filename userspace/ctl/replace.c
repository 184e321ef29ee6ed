// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * repl-ctl replace: a disk that has failed gives its place to another one.
 *
 *	mkfs.repl	makes the new one a copy of the volume's shape, if nothing stands against it
 *	primary		the agent hands it to the kernel, which fills it while the volume is in use
 *	secondary	down, and up again: it gets a full copy, as any new one
 *	the file	says device = the new one, and metadata =, where they have one of their own
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "agent.h"
#include "config.h"
#include "ctl.h"
#include "edit.h"
#include "err.h"
#include "kernel.h"

extern char **environ;

struct replace {
	const struct ctl *ctl;
	const char *volume;
	const char *device;		/* NULL: the one in the volume's file */
	const char *metadata;		/* the same; "": on the same device */
	bool force;
	char path[PATH_MAX];		/* of the volume's file */
	char configured[PATH_MAX];
	char configured_metadata[PATH_MAX];
	struct kernel_volume k;
};

/* -- what there is --------------------------------------------------------- */

static void first_problem(void *arg, const char *text)
{
	struct err *e = arg;

	if (!e->text[0])
		err_set(e, EINVAL, "%s", text);
}

static int read_config(struct replace *r)
{
	struct config *c = calloc(1, sizeof(*c));
	const struct config_volume *cv;
	struct err e = { "" };
	int ret = CTL_DONE;

	if (!c)
		return ctl_complain("out of memory");
	if (config_load(r->ctl->config_dir, c, first_problem, &e))
		ret = ctl_complain("%s", e.text[0] ? e.text : "the configuration cannot be read");
	cv = ret ? NULL : config_find_volume(c, r->volume);
	if (cv) {
		snprintf(r->path, sizeof(r->path), "%s", cv->path);
		snprintf(r->configured, sizeof(r->configured), "%s", cv->device);
		snprintf(r->configured_metadata, sizeof(r->configured_metadata), "%s", cv->metadata);
		if (!r->device)
			r->device = r->configured;
		if (!r->metadata)
			r->metadata = r->configured_metadata;
	} else if (!ret) {
		ret = ctl_complain("%s: there is no %s/volumes/%s.conf: describe the volume there",
				   r->volume, r->ctl->config_dir, r->volume);
	}
	config_free(c);
	free(c);
	return ret;
}

static int read_kernel(struct replace *r)
{
	struct kernel *k;
	struct err e;
	int ret;

	if (kernel_open(&k, &e))
		return ctl_complain("%s: %s", r->volume, e.text);
	ret = kernel_get(k, r->volume, &r->k, &e);
	kernel_close(k);
	if (ret == -ENODEV)
		return ctl_complain("%s: is not up: make the new disk a copy (mkfs.repl --name %s DEVICE), name it in %s, then repl-ctl up %s",
				    r->volume, r->volume, r->path, r->volume);
	return ret ? ctl_complain("%s: %s", r->volume, e.text) : CTL_DONE;
}

static bool is_primary(const struct replace *r)
{
	return r->k.role == REPL_ROLE_PRIMARY;
}

/* -- what stands against it ------------------------------------------------ */

static int check_state(const struct replace *r)
{
	const struct kernel_volume *k = &r->k;

	if (k->flags & REPL_VF_REPLACING)
		return ctl_complain("%s: %s is being filled already: repl-ctl status %s shows how far it is",
				    r->volume, k->backing, r->volume);
	if (k->flags & REPL_VF_FAILING)
		return ctl_complain("%s: all I/O fails here, and no live peer is there to copy from: repl-ctl secondary %s --force, then, on a peer that was in sync: repl-ctl primary %s",
				    r->volume, r->volume, r->volume);
	if (!(k->flags & (REPL_VF_DISKLESS | REPL_VF_FAILED)))
		return ctl_complain("%s: its disk %s has not failed; to exchange it all the same: repl-ctl down %s on a node that is secondary, mkfs.repl --name %s NEW-DISK, device = NEW-DISK in its file, repl-ctl up %s",
				    r->volume, k->backing, r->volume, r->volume, r->volume);
	if (is_primary(r) && !(k->flags & REPL_VF_DISKLESS))
		return ctl_complain("%s: its disk %s has failed, but no peer was live then, so that it has the only copy: bring a peer in sync first, and give the role to it",
				    r->volume, k->backing);
	return CTL_DONE;
}

/* As the kernel prints it. */
static bool is_backing(const struct replace *r, dev_t number)
{
	char link[64], target[PATH_MAX], *slash;
	ssize_t n;

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(number), minor(number));
	n = readlink(link, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	slash = strrchr(target, '/');
	return slash && strcmp(slash + 1, r->k.backing) == 0;
}

static int check_device(const struct replace *r)
{
	struct stat st;

	if (stat(r->device, &st) < 0)
		return ctl_complain("%s: %s: %s; name the new disk with --device", r->volume, r->device,
				    strerror(errno));
	if (!S_ISBLK(st.st_mode))
		return ctl_complain("%s: %s is no block device", r->volume, r->device);
	if (is_backing(r, st.st_rdev))
		return ctl_complain("%s: %s is the disk that it has now: name the new one with --device; or, if it is to be used again: repl-ctl down %s on a secondary, mkfs.repl --force --name %s %s, repl-ctl up %s",
				    r->volume, r->device, r->volume, r->volume, r->device, r->volume);
	return CTL_DONE;
}

/*
 * The device that has the metadata now is the volume's until it goes down, whatever has
 * become of the disk beside it; the new copy is made while the volume is up.
 */
static int check_metadata(const struct replace *r)
{
	int fd;

	if (!r->metadata[0])
		return CTL_DONE;
	fd = open(r->metadata, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		return CTL_DONE;
	}
	if (errno != EBUSY)
		return ctl_complain("%s: %s: %s; name the new device for the metadata with --metadata", r->volume,
				    r->metadata, strerror(errno));
	if (strcmp(r->metadata, r->configured_metadata) != 0)
		return ctl_complain("%s: %s is in use: name another device for the metadata with --metadata",
				    r->volume, r->metadata);
	return ctl_complain("%s: its metadata lie on a device of their own, %s, which is in use until the volume goes down: name another one for the new disk's with --metadata",
			    r->volume, r->metadata);
}

/* -- making it a copy ------------------------------------------------------ */

/* What mkfs.repl has to say on standard output is about another way to go on. */
static int run_mkfs(char **argv)
{
	posix_spawn_file_actions_t actions;
	int status, ret;
	pid_t pid;

	fflush(stdout);
	if (posix_spawn_file_actions_init(&actions))
		return ctl_complain("out of memory");
	ret = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (!ret)
		ret = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (ret)
		return ctl_complain("%s cannot be run: %s", argv[0], strerror(ret));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return ctl_complain("%s: %s", argv[0], strerror(errno));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? CTL_DONE : CTL_FAILED;
}

static int make_copy(const struct replace *r)
{
	char size[32], slots[16], block[16], region[32];
	char *argv[20] = {
		"mkfs.repl", "--name", (char *)r->volume, "--size", size, "--slots", slots,
		"--block-size", block, "--region-size", region,
	};
	unsigned int n = 11;

	snprintf(size, sizeof(size), "%llu", (unsigned long long)r->k.size);
	snprintf(slots, sizeof(slots), "%u", r->k.slots);
	snprintf(block, sizeof(block), "%u", 1u << r->k.lbs_shift);
	snprintf(region, sizeof(region), "%llu", 1ULL << r->k.region_shift);
	if (r->metadata[0]) {
		argv[n++] = "--metadata";
		argv[n++] = (char *)r->metadata;
	}
	if (r->force)
		argv[n++] = "--force";
	argv[n] = (char *)r->device;
	if (run_mkfs(argv))
		return ctl_complain("%s: %s was not made a copy: nothing has changed", r->volume,
				    r->device);
	printf("%s: %s is prepared\n", r->volume, r->device);
	return CTL_DONE;
}

/* -- the exchange ---------------------------------------------------------- */

static int ask(const struct replace *r, const char *command)
{
	json_t *request = json_pack("{s:s, s:s, s:s, s:s}", "cmd", command, "volume", r->volume,
				    "device", r->device, "metadata", r->metadata);
	size_t length = strlen(r->volume);
	json_t *answer = NULL;
	const char *text;
	struct err e;
	int ret;

	if (!request)
		return ctl_complain("%s: this is no text that can be sent as a name", r->volume);
	ret = agent_ask(r->ctl->config_dir, request, 0, NULL, NULL, &answer, &e);
	json_decref(request);
	if (ret)
		return ctl_complain("%s: %s: %s", r->volume, command, e.text);
	text = json_string_value(json_object_get(answer, "text"));
	if (text && strncmp(text, r->volume, length) == 0 && strncmp(text + length, ": ", 2) == 0)
		text += length + 2;
	if (!json_is_true(json_object_get(answer, "ok")))
		ret = ctl_complain("%s: %s: %s", r->volume, command,
				   text ? text : "refused, with no reason given");
	else if (text && *text)
		printf("%s: %s\n", r->volume, text);
	json_decref(answer);
	return ret ? CTL_FAILED : CTL_DONE;
}

/* Without it the next up would take the disk that has failed. */
static int note_device(const struct replace *r)
{
	bool moved = strcmp(r->metadata, r->configured_metadata) != 0;
	const char *words = moved ? ", metadata = " : "", *metadata = moved ? r->metadata : "";
	struct err e;

	if (!moved && strcmp(r->device, r->configured) == 0)
		return CTL_DONE;
	if (edit_device(r->path, r->device, moved ? r->metadata : NULL, &e))
		return ctl_complain("%s: %s; write device = %s%s%s there before the volume comes up the next time",
				    r->volume, e.text, r->device, words, metadata);
	printf("%s: %s says device = %s%s%s now\n", r->volume, r->path, r->device, words, metadata);
	return CTL_DONE;
}

static int exchange(const struct replace *r)
{
	int ret;

	if (is_primary(r)) {
		ret = ask(r, "replace");
		return ret ? ret : note_device(r);
	}
	ret = ask(r, "down");
	if (!ret)
		ret = note_device(r);
	if (!ret)
		ret = ask(r, "up");
	if (!ret)
		printf("%s: up with %s, which gets a full copy; repl-ctl status %s shows how far it is\n",
		       r->volume, r->device, r->volume);
	return ret;
}

static int run(struct replace *r)
{
	int ret = read_config(r);

	if (!ret)
		ret = read_kernel(r);
	if (!ret)
		ret = check_state(r);
	if (!ret)
		ret = check_device(r);
	if (!ret)
		ret = check_metadata(r);
	if (!ret)
		ret = make_copy(r);
	return ret ? ret : exchange(r);
}

int ctl_replace(const struct ctl *ctl, int argc, char **argv)
{
	static const struct option table[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "metadata", required_argument, NULL, 'm' },
		{ "force", no_argument, NULL, 'f' },
		{}
	};
	struct replace *r;
	int id, ret;

	r = calloc(1, sizeof(*r));
	if (!r)
		return ctl_complain("out of memory");
	r->ctl = ctl;
	while ((id = getopt_long(argc, argv, ":", table, NULL)) >= 0) {
		if (id == 'd')
			r->device = optarg;
		else if (id == 'm')
			r->metadata = optarg;
		else if (id == 'f')
			r->force = true;
		else
			break;
	}
	if (id >= 0)
		ret = ctl_misuse(ctl, id == ':' ? "%s needs a value" : "unknown option %s",
				 argv[optind - 1]);
	else if (argc - optind != 1)
		ret = ctl_misuse(ctl, "exactly one volume is expected");
	else if (r->device && r->device[0] != '/')
		ret = ctl_misuse(ctl, "--device %s: an absolute path is expected", r->device);
	else if (r->metadata && r->metadata[0] != '/')
		ret = ctl_misuse(ctl, "--metadata %s: an absolute path is expected", r->metadata);
	else
		ret = CTL_DONE;
	if (!ret) {
		r->volume = argv[optind];
		ret = run(r);
	}
	free(r);
	return ret;
}
