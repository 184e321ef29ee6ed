// SPDX-License-Identifier: GPL-2.0-or-later
/* Keys: known answers, their text, and which files are refused. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "key.h"
#include "tap.h"

enum { NOBODY = 65534 };

static char directory[] = "/tmp/repl-key-XXXXXX";
static char path[64];

/* RFC 8032, 7.1, test 1. */
static const struct key_private known = { {
	0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
	0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
} };
static const struct key_public known_public = { {
	0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
	0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
} };
static const char known_text[] = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";

static void test_keys(void)
{
	struct key_private a, b;
	struct key_public pub;
	struct err e;

	ok(!key_derive_public(&known, &pub, &e) && key_public_equal(&pub, &known_public),
	   "the published public key follows from the published private one (RFC 8032)");
	ok(!key_generate(&a, &e) && !key_generate(&b, &e) && memcmp(&a, &b, sizeof(a)),
	   "two new keys differ");
	ok(!key_derive_public(&a, &pub, &e) && !key_public_equal(&pub, &known_public),
	   "and have a public half");
	key_wipe(&a, sizeof(a));
	ok(a.b[0] == 0 && memcmp(a.b, a.b + 1, sizeof(a.b) - 1) == 0, "a wiped key is gone");
}

static void test_text(void)
{
	static const char *const bad[] = {
		"", "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
		"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A==",
		"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2B=",	/* bits nobody reads */
		"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyufw==",
		"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2AA",
		"nWGxne/9WmC6hEr0kuw xERJxWl7MmkZcDusAxyuf2A=",
		"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=",
	};
	uint8_t raw[REPL_KEY_BYTES];
	char text[KEY_TEXT_MAX];

	is_text(key_encode(known.b, text), known_text, "a key as text");
	ok(!key_decode(known_text, raw) && !memcmp(raw, known.b, sizeof(raw)), "and back");
	ok(!key_decode("  nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=\r\n", raw) &&
	   !memcmp(raw, known.b, sizeof(raw)), "white space around it does not count");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(raw, 1, sizeof(raw));
		ok(key_decode(bad[i], raw) == -EINVAL && !raw[0] && !raw[31], "\"%s\" is no key",
		   bad[i]);
	}
}

static void write_file(const char *text, mode_t mode)
{
	int fd;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	need(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "a key file");
	need(fchmod(fd, mode) == 0 && close(fd) == 0, "its mode");
}

static void refused(const char *name, const char *words)
{
	struct key_private key;
	struct err e = {};
	int ret = key_load_private(path, &key, &e);

	if (!ok(ret < 0 && strstr(e.text, words) && strstr(e.text, path), "%s", name))
		printf("# got %d: %s\n", ret, e.text);
}

static void test_files(void)
{
	struct key_private key;
	struct err e;

	need(mkdtemp(directory), "a directory");
	snprintf(path, sizeof(path), "%s/key", directory);
	refused("a missing file: how to make one", "repl-ctl genkey");
	write_file("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=\n", 0600);
	ok(!key_load_private(path, &key, &e) && !memcmp(&key, &known, sizeof(key)),
	   "a key file is read");
	write_file("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=\n", 0640);
	refused("a file that the group may read", "chmod 600");
	write_file("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=\n", 0602);
	refused("a file that others may write", "chmod 600");
	write_file("", 0600);
	refused("an empty file", "44 base64 characters");
	write_file("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=\nand more\n", 0600);
	refused("a file with more than a key", "44 base64 characters");
	write_file("", 0600);
	need(chmod(directory, 0711) == 0 && chmod(path, 0) == 0, "a file of somebody else's");
	need(geteuid() || !seteuid(NOBODY), "another user");
	refused("a key that is another user's", "chown repl /tmp/");
	need(getuid() || !seteuid(0), "this one again");
	unlink(path);
	need(mkdir(path, 0700) == 0, "a directory in its place");
	refused("a directory", "plain file");
	rmdir(path);
	need(mkfifo(path, 0600) == 0, "a FIFO in its place");
	refused("a FIFO does not hang", "plain file");
	unlink(path);
	rmdir(directory);
}

int main(void)
{
	test_keys();
	test_text();
	test_files();
	return tap_end();
}
