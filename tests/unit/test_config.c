// SPDX-License-Identifier: GPL-2.0-or-later
/* The configuration: what is taken, and that every mistake is told with its line. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "tap.h"

enum { FUZZ_ROUNDS = 20000 };

#define KEY_A "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
#define KEY_B "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static const char good_agent[] =
	"\xef\xbb\xbf# this node\n"
	"[node]\n"
	"name = mail1\n"
	"key = /etc/repl/key\n"
	"  listen = 10.0.0.1:7000\r\n"
	"listen = [fd00::1]\n"
	"socket = /run/x.sock\n"
	"failover-socket = /run/f.sock\n"
	"\n"
	"[peer \"mail2\"]\n"
	"address = mail2.example.org   ; its cable\n"
	"public-key = " KEY_A "\n"
	"[peer \"mail3\"]\n"
	"address = [fd00::3]:7000\n"
	"public-key = " KEY_B "\n";

static const char good_volume[] =
	"[volume]\n"
	"device = /dev/vg0/spool\n"
	"metadata = /dev/vg0/meta\n"
	"minor = 7\n"
	"on-peer-loss = freeze\n"
	"join-limit = 500ms\n"
	"timeout = 5s\n"
	"stuck-timeout = 2min\n"
	"encryption = none\n"
	"rate-limit = 100 MiB/s\n"
	"save-dir = /srv/saved\n"
	"staging-dir = /srv/staging\n"
	"staging-size = 20 GiB\n"
	"direct-apply = no\n"
	"[peer \"mail2\"]\n"
	"mode = sync\n"
	"[peer \"mail3\"]\n";

/* -- reports --------------------------------------------------------------- */

struct reports {
	unsigned int count;
	char text[8192];
};

static void note(void *arg, const char *text)
{
	struct reports *r = arg;
	size_t used = strlen(r->text);

	r->count++;
	snprintf(r->text + used, sizeof(r->text) - used, "%s\n", text);
}

static struct reports reports;

static int parse_agent(const char *text, struct config_agent *a)
{
	memset(&reports, 0, sizeof(reports));
	return config_parse_agent(text, strlen(text), "agent.conf", a, note, &reports);
}

static int parse_volume(const char *text, struct config_volume *v)
{
	memset(&reports, 0, sizeof(reports));
	return config_parse_volume(text, strlen(text), "volumes/spool.conf", v, note, &reports);
}

/* Exactly one problem, these words. */
static void one_problem(int ret, const char *expected)
{
	if (!ok(ret == -EINVAL && reports.count == 1 && strstr(reports.text, expected), "%s", expected))
		printf("# got %d, %u problems: %s", ret, reports.count, reports.text);
}

static void bad_agent(const char *text, const char *expected)
{
	static struct config_agent a;

	one_problem(parse_agent(text, &a), expected);
}

static void bad_volume(const char *text, const char *expected)
{
	static struct config_volume v;

	one_problem(parse_volume(text, &v), expected);
}

/* -- what is taken --------------------------------------------------------- */

static void test_agent(void)
{
	static struct config_agent a;

	ok(parse_agent(good_agent, &a) == 0 && !reports.count, "a good agent.conf %s", reports.text);
	is_text(a.name, "mail1", "the node's name");
	is_text(a.key_path, "/etc/repl/key", "its key");
	is_text(a.socket, "/run/x.sock", "its socket");
	is_text(a.failover_socket, "/run/f.sock", "and its failover helper's");
	ok(a.listen_count == 2 && !strcmp(a.listen[0].host, "10.0.0.1") &&
	   !strcmp(a.listen[0].port, "7000"), "listen with a port, indented, CR at the end");
	ok(!strcmp(a.listen[1].host, "fd00::1") && !strcmp(a.listen[1].port, "7788"),
	   "listen on IPv6 with the default port");
	ok(a.peer_count == 2 && !strcmp(a.peer[0].address.host, "mail2.example.org") &&
	   !strcmp(a.peer[0].address.port, "7788"), "a peer, with a comment behind");
	ok(config_find_peer(&a, "mail3") == &a.peer[1] && !config_find_peer(&a, "mail4"),
	   "peers are found by name");
	ok(config_find_peer_key(&a, a.peer[0].key.b) == &a.peer[0] &&
	   !config_find_peer_key(&a, (const uint8_t[REPL_KEY_BYTES]) {}), "and by key");
	ok(!parse_agent("[node]\nname=a\nkey=/k\n", &a) && a.listen_count == 1 &&
	   !a.listen[0].host[0] && !strcmp(a.listen[0].port, "7788") &&
	   !strcmp(a.socket, CONFIG_SOCKET) &&
	   !strcmp(a.failover_socket, CONFIG_FAILOVER), "defaults");
}

static void test_volume(void)
{
	static struct config_volume v;

	ok(parse_volume(good_volume, &v) == 0 && !reports.count, "a good volume %s", reports.text);
	is_text(v.name, "spool", "its name is the file's");
	ok(!strcmp(v.device, "/dev/vg0/spool") && !strcmp(v.metadata, "/dev/vg0/meta"), "devices");
	ok(v.minor == 7 && v.on_peer_loss == REPL_LOSS_FREEZE &&
	   v.encryption == CONFIG_ENCRYPTION_NONE, "minor and policies");
	ok(v.join_limit_ms == 500 && v.timeout_ms == 5000 && v.stuck_timeout_ms == 120000 &&
	   v.rate_limit == 100 << 20, "times and rate");
	is_text(v.save_dir, "/srv/saved", "where to save");
	is_text(v.staging_dir, "/srv/staging", "where deltas wait");
	ok(v.staging_size == 20ULL << 30 && !v.direct_apply, "how much of them, and nothing else");
	ok(v.peer_count == 2 && !strcmp(v.peer[1].name, "mail3") &&
	   v.peer[1].mode == CONFIG_MODE_SYNC && v.peer[1].line == 17, "peers");
	ok(!parse_volume("[volume]\ndevice=/d\nminor=0\n", &v) && v.on_peer_loss == 0 &&
	   v.join_limit_ms == 200 && v.timeout_ms == 10000 && v.stuck_timeout_ms == 60000 &&
	   v.encryption == CONFIG_ENCRYPTION_TLS && !v.rate_limit && !v.metadata[0], "defaults");
	is_text(v.save_dir, "/var/lib/repl/saved", "and where to save");
	is_text(v.staging_dir, "/var/lib/repl/staging", "and where deltas wait");
	ok(v.staging_size == 4ULL << 30 && v.direct_apply, "and how much; and in sync in any case");
}

#define TWO "[volume]\ndevice=/d\nminor=0\n"
#define PEER "[peer \"b\"]\n"

static void test_arbiter(void)
{
	static struct config_volume v;

	ok(!parse_volume(TWO PEER, &v) && !v.arbiter && v.on_peer_loss == REPL_LOSS_CONTINUE &&
	   !v.takeover && v.takeover_ms == 30000, "no arbiter by default");
	ok(!parse_volume(TWO "arbiter = none\non-peer-loss = continue\n" PEER, &v) && !v.arbiter &&
	   v.on_peer_loss == REPL_LOSS_CONTINUE, "none");
	ok(!parse_volume(TWO "arbiter = node:mail3\n" PEER, &v) && v.arbiter == CONFIG_ARBITER_NODE &&
	   !strcmp(v.arbiter_is, "mail3") && v.on_peer_loss == REPL_LOSS_ARBITER, "a node: %s",
	   reports.text);
	ok(!parse_volume(TWO "arbiter = command:/usr/local/sbin/ask\non-peer-loss = freeze\n"
			 "takeover = auto\ntakeover-after = 10s\n" PEER, &v) &&
	   v.arbiter == CONFIG_ARBITER_COMMAND && !strcmp(v.arbiter_is, "/usr/local/sbin/ask") &&
	   v.on_peer_loss == REPL_LOSS_ARBITER && v.takeover && v.takeover_ms == 10000,
	   "a command, and who takes over: %s", reports.text);
	bad_volume(TWO "arbiter = mail3\n" PEER, "spool.conf:4: arbiter = mail3: expected none, node:NAME");
	bad_volume(TWO "arbiter = node:\n" PEER, "spool.conf:4: arbiter = node:: expected none");
	bad_volume(TWO "arbiter = command:ask\n" PEER, "spool.conf:4: arbiter = command:ask: expected none");
	bad_volume(TWO "arbiter = node:c\non-peer-loss = continue\n" PEER,
		   "on-peer-loss = continue goes on without asking the arbiter");
	bad_volume(TWO "arbiter = node:b\n" PEER, "has a copy of the volume itself");
	bad_volume(TWO "arbiter = node:c\ndirect-apply = no\n" PEER, "direct-apply = no is not possible");
	bad_volume(TWO "arbiter = node:c\n", "and there are 0 peers");
	bad_volume(TWO "arbiter = node:c\n" PEER "[peer \"d\"]\n", "and there are 2 peers");
	bad_volume(TWO "takeover = auto\n" PEER, "takeover = auto needs an arbiter");
	bad_volume(TWO "takeover = yes\n" PEER, "spool.conf:4: takeover = yes: expected manual or auto");
	bad_volume(TWO "takeover-after = 10ms\n" PEER, "spool.conf:4: takeover-after = 10ms: expected a time");
}

static void test_addresses(void)
{
	static const char *const bad[] = {
		"", "a:", "a:0", "a:65536", "a:b", "a:+1", "a b:1", "[::1", "[::1]x", "[]:1", ":::1",
		"/run/x:1", "a:1:2", "a:123456", "[::1]:",
	};
	struct config_address a;

	ok(!config_parse_address("h", &a) && !strcmp(a.host, "h") && !strcmp(a.port, "7788"), "host");
	ok(!config_parse_address("h:1", &a) && !strcmp(a.host, "h") && !strcmp(a.port, "1"),
	   "host and port");
	ok(!config_parse_address(":65535", &a) && !a.host[0] && !strcmp(a.port, "65535"), "port alone");
	ok(!config_parse_address("[::]:80", &a) && !strcmp(a.host, "::") && !strcmp(a.port, "80"),
	   "IPv6 and port");
	ok(!config_parse_address("fd00::1", &a) && !strcmp(a.host, "fd00::1") && !strcmp(a.port, "7788"),
	   "bare IPv6");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(config_parse_address(bad[i], &a), "\"%s\" is no address", bad[i]);
}

/* -- what is refused ------------------------------------------------------- */

#define NODE "[node]\nname=a\nkey=/k\n"
#define VOLUME "[volume]\ndevice=/d\nminor=0\n"

static void test_bad_form(void)
{
	bad_agent("", "agent.conf: lacks the section [node]");
	bad_agent(NODE "nonsense\n", "agent.conf:4: neither [section] nor key = value");
	bad_agent("x = 1\n" NODE, "agent.conf:1: x stands before any [section]");
	bad_agent(NODE "colour = red\n", "agent.conf:4: unknown key colour in [node]; "
		  "expected name, key, listen, socket, failover-socket\n");
	bad_agent(NODE "[nodes]\nx=1\n", "agent.conf:4: [nodes]: unknown section; "
		  "expected [node], [peer \"NAME\"]\n");
	bad_agent(NODE "[node]\n", "agent.conf:4: [node] stands here a second time");
	bad_agent(NODE "name = b\n", "agent.conf:4: name stands here a second time");
	bad_agent(NODE "[peer]\n", "agent.conf:4: [peer]: expected [peer \"NAME\"]");
	bad_agent(NODE "[peer \"b]\nx=1\n", "agent.conf:4: [peer \"b]: a section is");
	bad_agent(NODE "[peer \"b\" c]\n", "agent.conf:4: [peer \"b\" c]: a section is");
	bad_agent(NODE "[peer \"b\n", "agent.conf:4: neither [section]");
	bad_agent(NODE "[node \"a\"]\n", "agent.conf:4: [node \"a\"]: expected [node]");
	bad_agent("[node]\nname = a\n", "agent.conf:1: [node] lacks key");
	bad_volume("", "volumes/spool.conf: lacks the section [volume]");
}

static void test_bad_long(void)
{
	char text[1024] = NODE "socket = /";

	memset(text + strlen(text), 'x', 300);
	bad_agent(text, "agent.conf:4: longer than");
	strcpy(text, NODE "socket = /");
	memset(text + strlen(text), 'x', 108);
	text[strlen(NODE) + strlen("socket = /") + 108] = '\0';
	bad_agent(text, "an absolute path of at most 107 bytes");
	strcpy(text, NODE "[");
	memset(text + strlen(text), 'x', 150);
	strcpy(text + strlen(NODE) + 151, "]\n");
	bad_agent(text, "agent.conf:4: the name of this section is too long");
}

static void test_bad_values(void)
{
	bad_agent("[node]\nname=a b\nkey=/k\n", "agent.conf:2: name = a b: expected a name");
	bad_agent("[node]\nname=-a\nkey=/k\n", "agent.conf:2: name = -a: expected a name");
	bad_agent("[node]\nname=a\nkey=k\n", "agent.conf:3: key = k: expected the absolute path");
	bad_agent(NODE "listen = a:b\n", "agent.conf:4: listen = a:b: expected address:port");
	bad_agent(NODE "[peer \"b\"]\naddress=:1\npublic-key=" KEY_A "\n",
		  "agent.conf:5: address = :1: expected host:port");
	bad_agent(NODE "[peer \"b\"]\naddress=b\npublic-key=abc\n",
		  "agent.conf:6: public-key = abc: expected the peer's public key");
	bad_agent(NODE "[peer \"a\"]\naddress=b\npublic-key=" KEY_A "\n",
		  "agent.conf:4: [peer \"a\"] is this node itself");
	bad_agent(NODE "[peer \"b\"]\naddress=b\npublic-key=" KEY_A "\n"
		  "[peer \"c\"]\naddress=c\npublic-key=" KEY_A "\n",
		  "agent.conf:7: [peer \"c\"] has the public key of [peer \"b\"]");
	bad_agent(NODE "[peer \"b\"]\naddress=b\npublic-key=" KEY_A "\n[peer \"b\"]\n",
		  "agent.conf:7: [peer \"b\"]: this peer has a section already");
	bad_agent(NODE "[peer \"../b\"]\n", "agent.conf:4: [peer \"../b\"]: is no name");
	bad_volume(VOLUME "on-peer-loss = panic\n", "spool.conf:4: on-peer-loss = panic: expected continue");
	bad_volume(VOLUME "encryption = ssl\n", "spool.conf:4: encryption = ssl: expected tls or none");
	bad_volume(VOLUME "timeout = 10\n", "spool.conf:4: timeout = 10: expected a time from 500ms");
	bad_volume(VOLUME "timeout = 1ms\n", "spool.conf:4: timeout = 1ms: expected a time from 500ms");
	bad_volume(VOLUME "join-limit = 0\n", "spool.conf:4: join-limit = 0: expected a time");
	bad_volume(VOLUME "rate-limit = 0 MiB/s\n", "spool.conf:4: rate-limit = 0 MiB/s: expected none");
	bad_volume(VOLUME "staging-size = 1 KiB\n", "spool.conf:4: staging-size = 1 KiB: expected a size");
	bad_volume(VOLUME "direct-apply = maybe\n", "spool.conf:4: direct-apply = maybe: expected yes or no");
	bad_volume(VOLUME "save-dir = saved\n", "spool.conf:4: save-dir = saved: expected the absolute");
	bad_volume(VOLUME "stuck-timeout = 5s\n", "stuck-timeout is shorter than timeout");
	bad_volume(VOLUME "metadata = /d\n", "device and metadata are both /d");
	bad_volume(VOLUME "[peer \"b\"]\nmode = async\n", "spool.conf:5: mode = async: expected sync or rolling");
	bad_volume(VOLUME "[peer \"b\"]\ninterval = 10ms\n", "spool.conf:5: interval = 10ms: expected a time from");
	bad_volume(TWO "arbiter = node:c\n[peer \"b\"]\nmode = rolling\n", "rolling is not possible with an arbiter");
	bad_volume(TWO "on-peer-loss = freeze\n[peer \"b\"]\nmode = rolling\n", "contradict each other");
	bad_volume(VOLUME "[peer \"b\"]\nmode = rolling\nlag-bound = 100ms\n", "spool.conf:6: lag-bound = 100ms: expected a time");
	bad_volume(VOLUME "[peer \"b\"]\nmode = rolling\ninterval = 1s\nlag-bound = 1900ms\n", "at least twice the interval");
	bad_volume(VOLUME "[peer \"b\"]\non-return = follow\n", "on-return = follow: expected wait or save-and-follow");
	bad_volume(VOLUME "[peer \"b\"]\non-lag = stop\n", "spool.conf:5: on-lag = stop: expected alarm or throttle");
	bad_volume(VOLUME "[peer \"b\"]\nmode = rolling\non-lag = throttle\n", "throttle needs lag-bound");
	bad_volume(VOLUME "[peer \"b\"]\n[peer \"c\"]\nmode = rolling\n", "spool.conf:5: mode = rolling is possible with one peer");
	bad_volume("[volume]\ndevice=/d\nminor=1024\n", "spool.conf:3: minor = 1024: expected a number");
	bad_volume("[volume]\ndevice=/d\nminor=-1\n", "spool.conf:3: minor = -1: expected a number");
	bad_volume("[volume]\ndevice=d\nminor=1\n", "spool.conf:2: device = d: expected the absolute");
}

/* The others must be served: who is one too many is said, and waits. */
static void test_too_many(void)
{
	static struct config_volume v;

	ok(!parse_volume(VOLUME "[peer \"b\"]\n[peer \"c\"]\n[peer \"d\"]\n[peer \"e\"]\nmode = sync\n[peer \"f\"]\n", &v),
	   "with more peers than can be live a volume is served all the same");
	is_number(sense_live(&v, note, &reports), 1, "but that is a mistake");
	ok(strstr(reports.text, "spool.conf:9: f is one peer too many: at most 4 can be live"), "in words: %s", reports.text);
}

static void test_several(void)
{
	static struct config_volume v;
	static const char zero[] = "[volume]\nde\0vice=/d\ndevice=/d\nminor=1\n";

	parse_volume("[volume]\nx=1\nminor=z\n[what]\n", &v);
	is_text(reports.text,
		"volumes/spool.conf:2: unknown key x in [volume]; expected device, metadata, minor, "
		"on-peer-loss, arbiter, takeover, takeover-after, encryption, join-limit, timeout, "
		"stuck-timeout, rate-limit, save-dir, staging-dir, staging-size, direct-apply\n"
		"volumes/spool.conf:3: minor = z: expected a number from 0 to 1023: the N of /dev/replN\n"
		"volumes/spool.conf:1: [volume] lacks device; expected the absolute path of the backing device\n"
		"volumes/spool.conf:4: [what]: unknown section; expected [volume], [peer \"NAME\"]\n",
		"every mistake is told, not only the first");
	memset(&reports, 0, sizeof(reports));
	ok(config_parse_volume(zero, sizeof(zero) - 1, "spool.conf", &v, note, &reports) == -EINVAL &&
	   reports.count == 1 && strstr(reports.text, "spool.conf:2: holds a zero byte"), "a zero byte");
	memset(&reports, 0, sizeof(reports));
	ok(config_parse_volume(VOLUME, strlen(VOLUME), ".conf", &v, note, &reports) &&
	   strstr(reports.text, "gives no volume name"), "a file without a name");
}

/* -- directories ----------------------------------------------------------- */

static char directory[] = "/tmp/repl-config-XXXXXX";

static void write_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "w");
	need(f && fputs(text, f) >= 0 && fclose(f) == 0, path);
}

static void remove_file(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	need(remove(path) == 0, path);
}

static int load(struct config *c)
{
	memset(&reports, 0, sizeof(reports));
	return config_load(directory, c, note, &reports);
}

static struct reports left_out;

static void note_left_out(void *arg, const char *name)
{
	note(arg, name);
}

/* "beta" and "spool" ask for the same; "alpha" is good. */
static void test_keep_good(struct config *c)
{
	struct config old = { 0 };

	old.volume = calloc(1, sizeof(*old.volume));
	need(old.volume, "memory");
	old.volume_count = 1;
	old.volume[0] = *config_find_volume(c, "spool");
	old.volume[0].minor = 77;
	old.volume[0].bad = false;
	ok(config_keep_good(c, &old, note_left_out, &left_out) && left_out.count == 2 &&
	   strstr(left_out.text, "beta\n") && strstr(left_out.text, "spool\n"),
	   "of two that ask for the same, both are bad");
	ok(c->volume_count == 2 && config_find_volume(c, "alpha") &&
	   config_find_volume(c, "spool")->minor == 77, "what is bad stays as it was");
	c->volume[1].bad = true;
	ok(config_keep_good(c, NULL, note_left_out, &left_out) && c->volume_count == 1 &&
	   config_find_volume(c, "alpha"), "or is left out");
	config_free(&old);
}

static void test_directory(void)
{
	char path[64];
	struct config c;

	need(mkdtemp(directory), "a directory");
	ok(load(&c) == -EINVAL && strstr(reports.text, "agent.conf: No such file"), "no agent.conf");
	config_free(&c);
	write_file("agent.conf", good_agent);
	ok(load(&c) == 0 && c.volume_count == 0, "a node without volumes");
	config_free(&c);
	snprintf(path, sizeof(path), "%s/volumes", directory);
	need(mkdir(path, 0700) == 0, path);
	write_file("volumes/spool.conf", good_volume);
	write_file("volumes/alpha.conf", "[volume]\ndevice=/dev/a\nminor=1\n");
	write_file("volumes/spool.conf~", "an editor's leftover\n");
	ok(load(&c) == 0 && c.volume_count == 2 && !strcmp(c.volume[0].name, "alpha") &&
	   config_find_volume(&c, "spool") == &c.volume[1] && !config_find_volume(&c, "beta"),
	   "two volumes %s", reports.text);
	config_free(&c);
	write_file("volumes/beta.conf",
		   "[volume]\ndevice=/dev/vg0/spool\nminor=7\n[peer \"mail9\"]\n");
	ok(load(&c) == -EINVAL && reports.count == 3, "three mistakes across files");
	printf("# %s", reports.text);
	ok(strstr(reports.text, "spool.conf: minor 7 is also asked for by ") &&
	   strstr(reports.text, "beta.conf"), "the same minor: both files are named");
	ok(strstr(reports.text, "spool.conf: device /dev/vg0/spool is also used by "), "the same device");
	ok(strstr(reports.text, "beta.conf:4: peer mail9 has no section in "), "an unknown peer");
	test_keep_good(&c);
	config_free(&c);
	snprintf(path, sizeof(path), "%s/volumes/odd.conf", directory);
	need(mkdir(path, 0700) == 0, path);
	ok(load(&c) == -EINVAL && config_find_volume(&c, "odd") && config_find_volume(&c, "odd")->bad,
	   "a file that cannot be read is that of a bad volume");
	config_free(&c);
	rmdir(path);
	write_file("agent.conf", "[node]\nname = mail1\n");
	ok(load(&c) == -EINVAL && !config_keep_good(&c, NULL, note_left_out, &left_out),
	   "with a mistake in agent.conf there is nothing to go on with");
	config_free(&c);
	write_file("agent.conf", good_agent);
	remove_file("volumes/beta.conf");
	ok(load(&c) == 0, "and without that file all is well");
	memset(&reports, 0, sizeof(reports));
	ok(config_check_devices(&c, note, &reports) == -EINVAL && reports.count == 4 &&
	   strstr(reports.text, "alpha.conf: device /dev/a: No such file") &&
	   strstr(reports.text, "agent.conf: key: "), "devices and key are looked for");
	config_free(&c);
	remove_file("volumes/spool.conf");
	remove_file("volumes/spool.conf~");
	remove_file("volumes/alpha.conf");
	remove_file("volumes");
	remove_file("agent.conf");
	remove_file("");
}

/* -- random damage --------------------------------------------------------- */

static size_t damage(char *text, size_t length, size_t size, uint64_t *state)
{
	static const char interesting[] = "[]\"=:;#\n\r\t \0\\\x80z0";
	uint64_t count = 1 + random_below(state, 6);

	while (count--) {
		size_t at = random_below(state, length);
		size_t span = random_below(state, length - at);

		switch (random_below(state, 4)) {
		case 0:		/* change one byte */
			text[at] = interesting[random_below(state, sizeof(interesting) - 1)];
			break;
		case 1:		/* leave a piece out */
			memmove(text + at, text + at + span, length - at - span);
			length -= span;
			break;
		case 2:		/* repeat a piece */
			if (length + span > size)
				break;
			memmove(text + at + span, text + at, length - at);
			length += span;
			break;
		case 3:
			text[at] = random_next(state);
			break;
		}
		if (!length)
			return 0;
	}
	return length;
}

static bool terminated(const char *text, size_t size)
{
	return memchr(text, 0, size);
}

/* Whatever the file says: no overrun (the sanitizers watch), and what is taken is sane. */
static void test_fuzz(uint64_t seed)
{
	static struct config_agent a;
	static struct config_volume v;
	uint64_t state = seed;
	int insane = 0, taken = 0;
	char text[4096];

	for (int i = 0; i < FUZZ_ROUNDS; i++) {
		bool volume = i & 1;
		const char *good = volume ? good_volume : good_agent;
		size_t length = strlen(good);
		char *exact;

		memcpy(text, good, length);
		length = damage(text, length, sizeof(text), &state);
		/* On the heap and no byte longer, so that reading past the end is noticed. */
		exact = malloc(length);
		need(exact || !length, "memory");
		if (length)
			memcpy(exact, text, length);
		if (volume && !config_parse_volume(exact, length, "a.conf", &v, NULL, NULL)) {
			taken++;
			insane += v.minor >= REPL_MINORS_MAX || v.device[0] != '/' ||
				  v.peer_count > REPL_SLOTS_MAX || v.timeout_ms < 500;
		}
		if (!volume && !config_parse_agent(exact, length, "agent.conf", &a, NULL, NULL)) {
			taken++;
			insane += !config_valid_name(a.name) || !terminated(a.socket, sizeof(a.socket)) ||
				  a.peer_count > CONFIG_PEERS_MAX || !a.listen_count;
		}
		free(exact);
	}
	is_number(insane, 0, "no damaged file is taken with values out of bounds");
	ok(taken > 0 && taken < FUZZ_ROUNDS, "the damage mattered: %d of %d were still good", taken,
	   FUZZ_ROUNDS);
}

int main(void)
{
	test_agent();
	test_volume();
	test_arbiter();
	test_addresses();
	test_bad_form();
	test_bad_long();
	test_bad_values();
	test_too_many();
	test_several();
	test_directory();
	test_fuzz(random_seed());
	return tap_end();
}
