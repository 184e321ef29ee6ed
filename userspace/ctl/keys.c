// SPDX-License-Identifier: GPL-2.0-or-later
/* repl-ctl genkey, pubkey: a node's identity. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "err.h"
#include "key.h"

enum { KEY_LINE_MAX = 256 };

static int print_public(const struct key_private *priv)
{
	char text[KEY_TEXT_MAX];
	struct key_public pub;
	struct err e;

	if (key_derive_public(priv, &pub, &e))
		return ctl_complain("%s", e.text);
	puts(key_encode(pub.b, text));
	return CTL_DONE;
}

/* Never over an existing file: the peers know the old key. */
static int save_key(const char *path, const char *line)
{
	size_t length = strlen(line);
	ssize_t put;
	int fd;

	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return ctl_complain("%s: exists; a new key would make this node a stranger to its peers. Print the public key of the one you have with: repl-ctl pubkey %s",
				    path, path);
	if (fd < 0)
		return ctl_complain("%s: %s", path, strerror(errno));
	put = write(fd, line, length);
	if (put == (ssize_t)length && fsync(fd) == 0 && close(fd) == 0)
		return CTL_DONE;
	ctl_complain("%s: cannot write the key: %s", path,
		     put >= 0 && put < (ssize_t)length ? "no space" : strerror(errno));
	unlink(path);
	return CTL_FAILED;
}

static void warn_if_readable(void)
{
	struct stat st;

	if (fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077))
		ctl_complain("warning: others may read the file that this private key goes to; run chmod 600 on it, or use: repl-ctl genkey FILE");
}

int ctl_genkey(const struct ctl *ctl, int argc, char **argv)
{
	char line[KEY_TEXT_MAX + 1];
	struct key_private priv;
	struct err e;
	int ret;

	if (argc > 2 || (argc == 2 && argv[1][0] == '-'))
		return ctl_misuse(ctl, "at most one file is expected");
	if (key_generate(&priv, &e))
		return ctl_complain("%s", e.text);
	key_encode(priv.b, line);
	strcat(line, "\n");
	if (argc == 2) {
		ret = save_key(argv[1], line);
		if (ret == CTL_DONE)
			ret = print_public(&priv);
	} else {
		warn_if_readable();
		ret = fputs(line, stdout) < 0 ? CTL_FAILED : CTL_DONE;
		/* Now, so that no copy stays behind in a buffer that nobody wipes. */
		fflush(stdout);
	}
	key_wipe(line, sizeof(line));
	key_wipe(&priv, sizeof(priv));
	return ret;
}

static int read_stdin(struct key_private *priv)
{
	char line[KEY_LINE_MAX];
	int ret = CTL_DONE;

	if (!fgets(line, sizeof(line), stdin))
		return ctl_complain("standard input: a private key is expected, 44 base64 characters");
	if (key_decode(line, priv->b))
		ret = ctl_complain("standard input: is no private key: 44 base64 characters are expected");
	key_wipe(line, sizeof(line));
	return ret;
}

int ctl_pubkey(const struct ctl *ctl, int argc, char **argv)
{
	struct key_private priv;
	struct err e;
	int ret = CTL_DONE;

	if (argc > 2 || (argc == 2 && argv[1][0] == '-'))
		return ctl_misuse(ctl, "at most one file is expected");
	if (argc == 1)
		ret = read_stdin(&priv);
	else if (key_load_private(argv[1], &priv, &e))
		ret = ctl_complain("%s", e.text);
	if (ret == CTL_DONE)
		ret = print_public(&priv);
	key_wipe(&priv, sizeof(priv));
	return ret;
}
