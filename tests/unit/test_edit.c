// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a command changes in a volume's file, and that it changes nothing else.
 * needs: userspace/ctl/edit.c
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "edit.h"
#include "tap.h"

static char directory[] = "/tmp/repl-edit-XXXXXX";
static char path[64];

static void put(const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	need(f && fputs(text, f) >= 0 && !fclose(f) && !chmod(path, mode), "the file is there");
}

static const char *get(void)
{
	static char text[1024];
	FILE *f = fopen(path, "r");

	need(f, "the file can be read");
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static void edits(void)
{
	struct stat st;
	struct err e;

	put("# the mail spool\n[volume]\nminor = 0\n  device=/dev/old ; died\n\n[peer \"mail2\"]\nmode = sync\n", 0640);
	is_number(edit_device(path, "/dev/new", NULL, &e), 0, "edited");
	is_text(get(), "# the mail spool\n[volume]\nminor = 0\ndevice = /dev/new\n\n[peer \"mail2\"]\nmode = sync\n",
		"one line is another");
	ok(!stat(path, &st) && (st.st_mode & 07777) == 0640, "its mode is what it was");
	put("[volume]\ndevice = /dev/old", 0600);
	is_number(edit_device(path, "/dev/new", NULL, &e), 0, "a last line without an end");
	is_text(get(), "[volume]\ndevice = /dev/new\n", "gets one");
}

static void edits_metadata(void)
{
	struct err e;

	put("[volume]\nmetadata : /dev/m ; an SSD\ndevice = /dev/old\nminor = 0\n", 0600);
	is_number(edit_device(path, "/dev/new", "/dev/n", &e), 0, "both devices");
	is_text(get(), "[volume]\nmetadata = /dev/n\ndevice = /dev/new\nminor = 0\n", "each in its place");
	is_number(edit_device(path, "/dev/old", NULL, &e), 0, "only one");
	is_text(get(), "[volume]\nmetadata = /dev/n\ndevice = /dev/old\nminor = 0\n", "the other stays");
	put("[volume]\ndevice = /dev/old\n[peer \"mail2\"]\nmode = sync\n", 0600);
	is_number(edit_device(path, "/dev/new", "/dev/n", &e), 0, "metadata that had no device of their own");
	is_text(get(), "[volume]\ndevice = /dev/new\nmetadata = /dev/n\n[peer \"mail2\"]\nmode = sync\n",
		"get a line in the same section");
	put("device = a\nmetadata = b\nmetadata = c\n", 0600);
	is_number(edit_device(path, "/dev/new", "/dev/n", &e), -EINVAL, "two of them");
	is_text(get(), "device = a\nmetadata = b\nmetadata = c\n", "nothing has changed");
}

static void edits_not(void)
{
	char fresh[80];
	struct err e;

	put("[volume]\ndevices = 3\n", 0600);
	is_number(edit_device(path, "/dev/new", NULL, &e), -EINVAL, "no such line");
	is_text(get(), "[volume]\ndevices = 3\n", "nothing has changed");
	put("device = a\ndevice = b\n", 0600);
	is_number(edit_device(path, "/dev/new", NULL, &e), -EINVAL, "two of them");
	is_text(get(), "device = a\ndevice = b\n", "nothing has changed");
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	ok(access(fresh, F_OK), "nothing is left beside it");
	unlink(path);
	is_number(edit_device(path, "/dev/new", NULL, &e), -ENOENT, "no file");
}

static const char two[] = "[volume]\ndevice = /dev/a\nminor = 0\n\n[peer \"mail2\"]\nmode = sync\n\n# the third\n[peer \"mail3\"]\n"
			  "mode = sync\n";

static void peers(void)
{
	struct err e;
	char *old;

	put(two, 0640);
	is_number(edit_peer(path, "mail4", "sync", &old, &e), 0, "one peer more");
	ok(strstr(get(), "mode = sync\n\n[peer \"mail4\"]\nmode = sync\n"), "at the end");
	is_text(old, two, "what it said is kept");
	free(old);
	is_number(edit_peer(path, "mail4", NULL, &old, &e), 0, "and one less");
	is_text(get(), two, "is what there was");
	free(old);
	is_number(edit_peer(path, "mail2", NULL, &old, &e), 0, "the first of two");
	is_text(get(), "[volume]\ndevice = /dev/a\nminor = 0\n\n# the third\n[peer \"mail3\"]\nmode = sync\n",
		"what is said of the next section stays");
	is_number(edit_restore(path, old, &e), 0, "taken back");
	is_text(get(), two, "all of it");
	free(old);
	put("[volume]\ndevice = /dev/a\nminor = 0", 0600);
	is_number(edit_peer(path, "mail2", "sync", &old, &e), 0, "after a last line without an end");
	is_text(get(), "[volume]\ndevice = /dev/a\nminor = 0\n\n[peer \"mail2\"]\nmode = sync\n", "which gets one");
	free(old);
}

static void peers_not(const char *text, const char *node, const char *mode, int ret, const char *words)
{
	struct err e = { "" };
	char *old;

	put(text, 0600);
	is_number(edit_peer(path, node, mode, &old, &e), ret, words);
	ok(strstr(e.text, words), "in words: %s", e.text);
	is_text(get(), text, "nothing has changed");
}

static void refused_peers(void)
{
	peers_not(two, "mail2", "sync", -EEXIST, "spool.conf:5: names mail2 already");
	peers_not(two, "mail4", NULL, -ENOENT, "does not name mail4");
	peers_not(two, "mail4", "perhaps", -EINVAL, "spool.conf:13: ");
	peers_not("[volume]\ndevice = here\nminor = 0\n", "mail2", "sync", -EINVAL, "spool.conf:2: ");
	peers_not("[volume]\ndevice = /dev/a\nminor = 0\narbiter = node:w\n[peer \"mail2\"]\n", "mail3", "sync", -EINVAL,
		  "an arbiter decides between this node and one peer");
	unlink(path);
}

int main(void)
{
	need(mkdtemp(directory), "a directory");
	snprintf(path, sizeof(path), "%s/spool.conf", directory);
	edits();
	edits_metadata();
	edits_not();
	peers();
	refused_peers();
	rmdir(directory);
	return tap_end();
}
