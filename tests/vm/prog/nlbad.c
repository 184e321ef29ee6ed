// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * nlbad - send the module netlink messages, right and wrong, and look at what it says.
 *
 *	nlbad [--in NETNS] <CASES
 *
 * A case is a line ERRNO | WORDS | COMMAND ATTRIBUTE=VALUE...
 *
 *	ERRNO	what must come back, at once or by the ticket: EINVAL; two with a slash between:
 *		either; 0: it must succeed; =: it must succeed and change nothing; ~ before it: what
 *		it did may be seen in the counters, and nowhere else
 *	WORDS	must be in the sentence, which must be there; "missing:NAME": that attribute must
 *		be named instead; -: no sentence
 *
 *	each-missing | | COMMAND...	without each of its attributes in turn: refused, and named
 *	each-length | | COMMAND...	with each attribute of a fixed size a byte too short, a
 *					byte too long, and empty: refused
 *
 *	NAME=VALUE	a number, a text, a byte that is repeated for keys and ids, a word of fds.h
 *	NAME~N*HEX	N bytes of that value instead, whatever the attribute is; NAME: a number,
 *			with # before it, or a name
 *	COMMAND>X	keeps the descriptor that comes back: commit X, abort X, read X BYTES, close X
 *
 * After each refusal the state of all volumes, as GET tells it, must be what it was before,
 * counters and superblock writes included.  Prints "ok ..." or "not ok ..." for each case.
 */
#include <ctype.h>
#include <sys/ioctl.h>

#include "fds.h"
#include "nlraw.h"

enum { WORDS_MAX = 24, LINE_MAX = 1024 };

enum kind { U8, U32, U64, FD, BYTES, TEXT, EXTENTS };

static const struct attribute {
	const char *name;
	uint16_t type;
	enum kind kind;
	uint16_t bytes;
} attributes[] = {
	{ "minor", REPL_A_MINOR, U32, 4 },
	{ "name", REPL_A_NAME, TEXT, 0 },
	{ "uuid", REPL_A_UUID, BYTES, REPL_UUID_BYTES },
	{ "copy_id", REPL_A_COPY_ID, BYTES, REPL_UUID_BYTES },
	{ "size", REPL_A_SIZE, U64, 8 },
	{ "openers", REPL_A_OPENERS, U32, 4 },
	{ "role", REPL_A_ROLE, U8, 1 },
	{ "generation", REPL_A_GENERATION, BYTES, REPL_UUID_BYTES },
	{ "epoch", REPL_A_EPOCH, U64, 8 },
	{ "history", REPL_A_HISTORY, BYTES, REPL_UUID_BYTES },
	{ "gate", REPL_A_GATE, U32, 4 },
	{ "meta_end", REPL_A_META_END, U64, 8 },
	{ "on_peer_loss", REPL_A_ON_PEER_LOSS, U8, 1 },
	{ "flags", REPL_A_FLAGS, U32, 4 },
	{ "data_fd", REPL_A_DATA_FD, FD, 4 },
	{ "meta_fd", REPL_A_META_FD, FD, 4 },
	{ "key", REPL_A_KEY, BYTES, REPL_KEY_BYTES },
	{ "deadline_ms", REPL_A_DEADLINE_MS, U32, 4 },
	{ "rate", REPL_A_RATE, U64, 8 },
	{ "slot", REPL_A_SLOT, U8, 1 },
	{ "slot_mask", REPL_A_SLOT_MASK, U32, 4 },
	{ "kind", REPL_A_KIND, U8, 1 },
	{ "extents", REPL_A_EXTENTS, EXTENTS, 0 },
	{ "cut_flags", REPL_A_CUT_FLAGS, U32, 4 },
	{ "sock_fd", REPL_A_SOCK_FD, FD, 4 },
	{ "cookie", REPL_A_COOKIE, U64, 8 },
	{ "link_flags", REPL_A_LINK_FLAGS, U32, 4 },
	{ "timeout_ms", REPL_A_TIMEOUT_MS, U32, 4 },
	{ "stuck_ms", REPL_A_STUCK_MS, U32, 4 },
	{ "hold_ms", REPL_A_HOLD_MS, U32, 4 },
	{ "staged", REPL_A_STAGED, U64, 8 },
};

static const struct {
	const char *name;
	uint8_t cmd;
} commands[] = {
	{ "get", REPL_CMD_GET }, { "attach", REPL_CMD_ATTACH }, { "detach", REPL_CMD_DETACH },
	{ "role", REPL_CMD_ROLE }, { "freeze", REPL_CMD_FREEZE }, { "thaw", REPL_CMD_THAW },
	{ "slot_set", REPL_CMD_SLOT_SET }, { "follow", REPL_CMD_FOLLOW },
	{ "mark", REPL_CMD_MARK }, { "cut", REPL_CMD_CUT }, { "link_add", REPL_CMD_LINK_ADD },
	{ "link_del", REPL_CMD_LINK_DEL }, { "resize", REPL_CMD_RESIZE },
	{ "replace", REPL_CMD_REPLACE }, { "epoch", REPL_CMD_EPOCH }, { "record", REPL_CMD_COMMIT },
	{ "event", REPL_CMD_EVENT }, { "none", 0 },
	{ "after_last", __REPL_CMD_MAX }, { "255", 255 },
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static struct nlraw nl, watch;		/* where the cases are sent, and who sees all volumes */
static int kept[128];			/* by letter */
static int lent[2 * WORDS_MAX];		/* descriptors of the case at hand */
static unsigned int lents;

static void __attribute__((noreturn)) bad_case(const char *what, const char *word)
{
	printf("not ok the case is written wrongly: %s '%s'\n", what, word);
	exit(1);
}

/* ------------------------------------------------------------ messages -- */

static const struct attribute *attribute_of(const char *word, size_t length)
{
	size_t i;

	for (i = 0; i < COUNT(attributes); i++)
		if (strlen(attributes[i].name) == length &&
		    !strncmp(attributes[i].name, word, length))
			return &attributes[i];
	return NULL;
}

static int32_t lend(const char *word)
{
	int far = -1, fd;

	if (isdigit((unsigned char)*word) || *word == '-')
		return atoi(word);
	fd = fds_open(word, &far);
	if (fd < 0)
		bad_case("no such descriptor", word);
	lent[lents++] = fd;
	if (far >= 0)
		lent[lents++] = far;
	return fd;
}

/* BLOCK+COUNT,BLOCK+COUNT... */
static void put_extents(struct nl_msg *msg, const char *text)
{
	struct repl_extent extents[REPL_EXTENTS_MAX];
	unsigned int n = 0;
	char *end;

	while (*text && n < REPL_EXTENTS_MAX) {
		extents[n].block = strtoull(text, &end, 0);
		extents[n++].count = strtoull(end + 1, &end, 0);
		text = *end ? end + 1 : end;
	}
	nla_put(msg, REPL_A_EXTENTS, (int)(n * sizeof(*extents)), extents);
}

static void put_value(struct nl_msg *msg, const struct attribute *a, const char *value)
{
	uint8_t bytes[64];

	switch (a->kind) {
	case U8:
		nla_put_u8(msg, a->type, (uint8_t)strtoul(value, NULL, 0));
		break;
	case U32:
		nla_put_u32(msg, a->type, (uint32_t)strtoul(value, NULL, 0));
		break;
	case U64:
		nla_put_u64(msg, a->type, strtoull(value, NULL, 0));
		break;
	case FD:
		nla_put_s32(msg, a->type, lend(value));
		break;
	case BYTES:
		memset(bytes, (int)strtoul(value, NULL, 0), sizeof(bytes));
		nla_put(msg, a->type, a->bytes, bytes);
		break;
	case TEXT:
		nla_put_string(msg, a->type, value);
		break;
	case EXTENTS:
		put_extents(msg, value);
		break;
	}
}

static void put_bytes(struct nl_msg *msg, int type, size_t count, int value)
{
	uint8_t *bytes = malloc(count + 1);

	if (!bytes)
		nlraw_die("memory");
	memset(bytes, value, count);
	if (nla_put(msg, type, (int)count, bytes))
		bad_case("no room for an attribute of", "so many bytes");
	free(bytes);
}

static void put_word(struct nl_msg *msg, const char *word)
{
	size_t length = strcspn(word, "=~");
	const struct attribute *a = attribute_of(word, length);
	unsigned int count, value;

	if (word[length] == '=' && a) {
		put_value(msg, a, word + length + 1);
		return;
	}
	if ((!a && *word != '#') || sscanf(word + length, "~%u*%x", &count, &value) != 2)
		bad_case("no such attribute", word);
	put_bytes(msg, a ? a->type : atoi(word + 1), count, (int)value);
}

static uint8_t command_of(const char *word)
{
	size_t i, length = strcspn(word, ">");

	for (i = 0; i < COUNT(commands); i++)
		if (strlen(commands[i].name) == length &&
		    !strncmp(commands[i].name, word, length))
			return commands[i].cmd;
	bad_case("no such command", word);
}

/* @skip: leave this word out; @instead: bytes for it, unless negative. */
static void send_words(char **words, unsigned int n, unsigned int skip, int instead,
		       struct nlraw_answer *answer)
{
	struct nl_msg *msg = nlraw_message(&nl, command_of(words[0]), NLM_F_ACK);
	unsigned int i;

	for (i = 1; i < n; i++)
		if (i != skip)
			put_word(msg, words[i]);
		else if (instead >= 0)
			put_bytes(msg, attribute_of(words[i], strcspn(words[i], "="))->type,
				  (size_t)instead, 0);
	nlraw_ask(&nl, msg, answer, NULL, NULL);
	if (strncmp(words[0], "cut", 3))
		nlraw_ticket(answer);
	while (lents)
		close(lent[--lents]);
}

/* ------------------------------------------------------------- verdict -- */

/* One of the names with a slash between. */
static bool errno_is(int error, const char *wanted)
{
	const char *name = error ? strerrorname_np(error) : "0";
	size_t length = strlen(name);
	const char *at;

	for (at = wanted; (at = strstr(at, name)); at += length)
		if ((at == wanted || at[-1] == '/') && (!at[length] || at[length] == '/'))
			return true;
	return false;
}

static bool words_are(const struct nlraw_answer *answer, const char *wanted)
{
	const struct attribute *a;

	if (!strncmp(wanted, "missing:", 8)) {
		a = attribute_of(wanted + 8, strlen(wanted + 8));
		return a && answer->missing == a->type;
	}
	if (!strcmp(wanted, "-"))
		return !answer->text[0];
	return answer->text[0] && strstr(answer->text, wanted);
}

static void report(bool pass, const char *what, const struct nlraw_answer *answer, bool same)
{
	printf("%sok %s\n", pass ? "" : "not ", what);
	if (pass)
		return;
	printf("# got %s, \"%s\"", answer->error ? strerrorname_np(answer->error) : "success",
	       answer->text);
	if (answer->missing)
		printf(", missing attribute %d", answer->missing);
	printf(", %s\n", same ? "nothing changed" : "and the state has changed");
}

/* Sends, compares and reports.  @wanted "=": success, and nothing changed. */
static void one(char **words, unsigned int n, unsigned int skip, int instead, const char *wanted,
		const char *text, const char *what)
{
	static struct nlraw_state before, after;
	const char *keep = strchr(words[0], '>');
	bool same, success = !strcmp(wanted, "=") || !strcmp(wanted, "0");
	/* Counters move by themselves: the region log is cleaned now and then. */
	bool tilde = *wanted == '~';
	struct nlraw_answer answer;

	wanted += tilde;
	nlraw_snapshot(&watch, &before, false);
	send_words(words, n, skip, instead, &answer);
	nlraw_snapshot(&watch, &after, false);
	same = nlraw_equal(&before, &after);
	if (success)
		report(!answer.error && (*wanted == '0' || same), what, &answer, same);
	else
		report(errno_is(answer.error, wanted) && words_are(&answer, text) && same, what,
		       &answer, same);
	if (keep)
		kept[keep[1] & 127] = answer.fd;
	else if (answer.fd >= 0)
		close(answer.fd);
}

static void each_missing(char **words, unsigned int n)
{
	char what[256], missing[64];
	unsigned int i;

	for (i = 1; i < n; i++) {
		snprintf(missing, sizeof(missing), "missing:%.*s", (int)strcspn(words[i], "="),
			 words[i]);
		snprintf(what, sizeof(what), "%s without %s", words[0], missing + 8);
		one(words, n, i, -1, "EINVAL", missing, what);
	}
}

static void each_length(char **words, unsigned int n)
{
	const struct attribute *a;
	char what[256];
	unsigned int i, k;

	for (i = 1; i < n; i++) {
		a = attribute_of(words[i], strcspn(words[i], "="));
		if (!a)
			bad_case("no such attribute", words[i]);
		for (k = 0; a->bytes && k < 3; k++) {
			int bytes = k == 0 ? 0 : k == 1 ? a->bytes - 1 : a->bytes + 1;

			if ((k == 1 && !bytes) || (k == 0 && a->type == REPL_A_HISTORY))
				continue;	/* twice the same; nobody has a history at first */
			snprintf(what, sizeof(what), "%s with %d bytes of %s", words[0], bytes,
				 a->name);
			one(words, n, i, bytes, "EINVAL/ERANGE", "", what);
		}
	}
}

/* What is done with a descriptor that was kept. */
static bool on_kept(char **words, unsigned int n, const char *wanted, const char *what)
{
	static const struct repl_extent whole = { .count = UINT64_MAX };
	static char bytes[1 << 16];
	struct nlraw_answer answer = { .fd = -1 };
	int fd = n > 1 ? kept[words[1][0] & 127] : -1;
	long rc;

	if (!strcmp(words[0], "commit"))
		rc = ioctl(fd, REPL_CUT_IOC_COMMIT);
	else if (!strcmp(words[0], "abort"))
		rc = ioctl(fd, REPL_CUT_IOC_ABORT);
	else if (!strcmp(words[0], "valid"))
		rc = ioctl(fd, REPL_CUT_IOC_VALID);
	else if (!strcmp(words[0], "release"))
		rc = ioctl(fd, REPL_CUT_IOC_RELEASE, n > 2 ? &whole : NULL);
	else if (!strcmp(words[0], "ioctl"))
		rc = ioctl(fd, 0x5200 + 77);
	else if (!strcmp(words[0], "write"))
		rc = write(fd, bytes, 16);
	else if (!strcmp(words[0], "read"))
		rc = read(fd, bytes, n > 2 ? strtoul(words[2], NULL, 0) : 0);
	else if (!strcmp(words[0], "close"))
		rc = close(fd);
	else
		return false;
	answer.error = rc < 0 ? errno : 0;
	report(errno_is(answer.error, wanted), what, &answer, true);
	return true;
}

/* --------------------------------------------------------------- lines -- */

static char *field(char **line)
{
	char *start = *line, *end = strchr(start, '|'), *last;

	if (end)
		*end = '\0';
	*line = end ? end + 1 : start + strlen(start);
	while (isspace((unsigned char)*start))
		start++;
	last = start + strlen(start);
	while (last > start && isspace((unsigned char)last[-1]))
		*--last = '\0';
	return start;
}

static void run_line(char *line)
{
	char *words[WORDS_MAX], *wanted, *text, *rest, *save = NULL, *word, what[LINE_MAX];
	unsigned int n = 0;

	wanted = field(&line);
	text = field(&line);
	rest = field(&line);
	snprintf(what, sizeof(what), "%s: %s", wanted, rest);
	for (word = strtok_r(rest, " ", &save); word && n < WORDS_MAX;
	     word = strtok_r(NULL, " ", &save))
		words[n++] = word;
	if (!n)
		bad_case("no command", what);
	if (!strcmp(wanted, "each-missing"))
		each_missing(words, n);
	else if (!strcmp(wanted, "each-length"))
		each_length(words, n);
	else if (!on_kept(words, n, wanted, what))
		one(words, n, 0, -1, wanted, text, what);
}

int main(int argc, char **argv)
{
	char line[LINE_MAX];
	int netns;

	setvbuf(stdout, NULL, _IOLBF, 0);
	nlraw_open(&watch);
	if (argc == 3 && !strcmp(argv[1], "--in")) {
		netns = open(argv[2], O_RDONLY | O_CLOEXEC);
		if (netns < 0 || setns(netns, CLONE_NEWNET))
			nlraw_die(argv[2]);
		close(netns);
	}
	nlraw_open(&nl);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] && line[0] != '#')
			run_line(line);
	}
	return 0;
}
