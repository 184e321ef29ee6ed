// SPDX-License-Identifier: GPL-2.0-or-later
#include "openers.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum openers_limits {
	OPENERS_COMMAND_MAX	= 64,
	OPENERS_PATH_MAX	= 128,	/* of a path below /proc or /sys */
};

struct search {
	dev_t device;
	openers_fn *fn;
	void *arg;
	int found;
	ino_t *namespace;	/* mount namespaces whose mounts were read */
	size_t namespaces;
};

static void tell(struct search *s, enum opener_kind kind, pid_t pid, const char *text)
{
	struct opener opener = { .kind = kind, .pid = pid, .text = text };

	s->found++;
	s->fn(s->arg, &opener);
}

static bool is_device(const struct search *s, const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == s->device;
}

/* The kernel writes space, tab, newline and backslash in paths as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && isdigit((unsigned char)text[1]) &&
		    isdigit((unsigned char)text[2]) && isdigit((unsigned char)text[3])) {
			*to++ = (text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0');
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

static void check_mount(struct search *s, pid_t pid, char *line)
{
	unsigned int major_number, minor_number;
	char *rest, *point, *source;

	if (sscanf(line, "%*u %*u %u:%u", &major_number, &minor_number) != 2)
		return;
	rest = strstr(line, " - ");
	if (!rest)
		return;
	*rest = '\0';
	strtok(rest + 3, " ");			/* type */
	source = strtok(NULL, " ");
	strtok(line, " ");			/* id, parent, device, root */
	for (int i = 0; i < 3; i++)
		strtok(NULL, " ");
	point = strtok(NULL, " ");
	if (!source || !point)
		return;
	unescape(source);
	unescape(point);
	/* Some file systems report a device number of their own: then the source tells. */
	if (makedev(major_number, minor_number) == s->device || is_device(s, source))
		tell(s, OPENER_MOUNT, pid, point);
}

static void read_mounts(struct search *s, pid_t pid)
{
	char path[OPENERS_PATH_MAX];
	size_t size = 0;
	char *line = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid);
	f = fopen(path, "re");
	if (!f)
		return;
	while (getline(&line, &size, f) > 0)
		check_mount(s, pid, line);
	free(line);
	fclose(f);
}

/* Services with private mounts keep a volume mounted that nobody else sees. */
static void read_mounts_once(struct search *s, pid_t pid)
{
	char path[OPENERS_PATH_MAX];
	struct stat st;
	ino_t *grown;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	if (stat(path, &st) < 0)
		return;
	for (size_t i = 0; i < s->namespaces; i++) {
		if (s->namespace[i] == st.st_ino)
			return;
	}
	grown = reallocarray(s->namespace, s->namespaces + 1, sizeof(*grown));
	if (!grown)
		return;
	s->namespace = grown;
	s->namespace[s->namespaces++] = st.st_ino;
	read_mounts(s, pid);
}

static void read_command(pid_t pid, char command[OPENERS_COMMAND_MAX])
{
	char path[OPENERS_PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	strcpy(command, "?");
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(command, OPENERS_COMMAND_MAX, f))
		command[strcspn(command, "\n")] = '\0';
	fclose(f);
}

static void read_descriptors(struct search *s, pid_t pid)
{
	char command[OPENERS_COMMAND_MAX];
	char path[OPENERS_PATH_MAX];
	struct dirent *d;
	struct stat st;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return;
	while ((d = readdir(dir))) {
		if (fstatat(dirfd(dir), d->d_name, &st, 0) < 0 || !S_ISBLK(st.st_mode) ||
		    st.st_rdev != s->device)
			continue;
		read_command(pid, command);
		tell(s, OPENER_PROCESS, pid, command);
		break;
	}
	closedir(dir);
}

static void read_swaps(struct search *s)
{
	FILE *f = fopen("/proc/swaps", "re");
	size_t size = 0;
	char *line = NULL;

	if (!f)
		return;
	while (getline(&line, &size, f) > 0) {
		line[strcspn(line, " \t\n")] = '\0';
		unescape(line);
		if (is_device(s, line))
			tell(s, OPENER_SWAP, 0, line);
	}
	free(line);
	fclose(f);
}

static void read_holders(struct search *s)
{
	char path[OPENERS_PATH_MAX];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders", major(s->device),
		 minor(s->device));
	dir = opendir(path);
	if (!dir)
		return;
	while ((d = readdir(dir))) {
		if (d->d_name[0] != '.')
			tell(s, OPENER_HOLDER, 0, d->d_name);
	}
	closedir(dir);
}

int openers_list(dev_t device, openers_fn *fn, void *arg)
{
	struct search s = { .device = device, .fn = fn, .arg = arg };
	DIR *proc = opendir("/proc");
	struct dirent *d;

	if (!proc)
		return -errno;
	/* Its own mounts first, so that a mount point is told as this caller sees it. */
	read_mounts_once(&s, getpid());
	while ((d = readdir(proc))) {
		pid_t pid = atoi(d->d_name);

		if (pid <= 0 || pid == getpid())
			continue;
		read_mounts_once(&s, pid);
		read_descriptors(&s, pid);
	}
	closedir(proc);
	read_swaps(&s);
	read_holders(&s);
	free(s.namespace);
	return s.found;
}

void openers_describe(const struct opener *opener, char *text, size_t size)
{
	switch (opener->kind) {
	case OPENER_PROCESS:
		snprintf(text, size, "open in %s (pid %d)", opener->text, opener->pid);
		break;
	case OPENER_MOUNT:
		if (opener->pid == getpid())
			snprintf(text, size, "mounted on %s", opener->text);
		else
			snprintf(text, size, "mounted on %s in the mount namespace of pid %d",
				 opener->text, opener->pid);
		break;
	case OPENER_SWAP:
		snprintf(text, size, "used as swap space");
		break;
	case OPENER_HOLDER:
		snprintf(text, size, "used by /dev/%s", opener->text);
		break;
	}
}
