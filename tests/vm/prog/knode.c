// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * knode - drive the kernel module by hand, without an agent: one netlink command a call.
 *
 *	knode attach MINOR NAME DEVICE [freeze|end=META_END]
 *	knode detach|primary|secondary MINOR [force|peer-dead|alone]
 *	knode slot MINOR SLOT N [OTHER]	peer number N: a key of N bytes of value N; its copy that of minor OTHER; 0: free
 *	knode mark MINOR MASK [BLOCK COUNT]	without: of such lines on standard input
 *	knode cut MINOR SLOT commit|abort|list|hold|later
 *		hold: keeps it open until it is killed; later: commits it at the end of its input
 *	knode settle MINOR SLOT		drop the slot's dirty blocks: the copies are equal
 *	knode follow MINOR SLOT LEADER_MINOR [STAGED]	STAGED: the number of a staging file
 *	knode commit MINOR SLOT LEADER_MINOR	this copy has become that one's
 *	knode epoch MINOR		in a freeze of its own
 *	knode join MINOR SLOT PEER_MINOR PEER_SLOT [crc|plain [STUCK_MS [TIMEOUT_MS]]]
 *		a TCP connection over loopback, adopted at both ends; the first leads
 *	knode leave MINOR SLOT
 *	knode resize MINOR BYTES
 *	knode replace MINOR DEVICE [BYTES_PER_SECOND]
 *	knode freeze MINOR MS, knode thaw MINOR, knode resume MINOR
 *	knode get MINOR			key=value lines
 *	knode -				such a command on each line of standard input; after it "= CODE"
 *
 * The process is nowhere in the data path: what it adopted outlives it.
 * link: static
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel.h"

enum { WAIT_MS = 60000, MARKS = 256, WORDS = 10 };

static struct kernel *kernel;
static struct err err;

static int fail(int rc, const char *what)
{
	fprintf(stderr, "knode: %s: %s (%s)\n", what, err.text[0] ? err.text : "no words",
		strerror(-rc));
	return 1;
}

static int ticket(int fd, const char *what)
{
	int rc = kernel_ticket_wait(fd, WAIT_MS, &err);

	return rc ? fail(rc, what) : 0;
}

static uint32_t flags_of(const char *word)
{
	if (!word)
		return 0;
	if (!strcmp(word, "force"))
		return REPL_F_FORCE;
	if (!strcmp(word, "peer-dead"))
		return REPL_F_PEER_DEAD;
	return !strcmp(word, "alone") ? REPL_F_ALONE : 0;
}

static void key_of(unsigned int n, uint8_t key[REPL_KEY_BYTES])
{
	memset(key, (int)n, REPL_KEY_BYTES);
}

static int do_attach(uint32_t minor, char **arg)
{
	struct kernel_attach a = { .minor = minor, .name = arg[0], .meta_fd = -1 };
	uint8_t key[REPL_KEY_BYTES];
	uint64_t end;
	int rc;

	key_of(minor + 100, key);
	a.key = key;
	if (arg[2] && !strncmp(arg[2], "end=", 4)) {
		end = strtoull(arg[2] + 4, NULL, 0);
		a.meta_end = &end;
	} else if (arg[2]) {
		a.on_peer_loss = REPL_LOSS_FREEZE;
	}
	a.data_fd = open(arg[1], O_RDWR | O_CLOEXEC);
	if (a.data_fd < 0)
		return fail(-errno, arg[1]);
	rc = ticket(kernel_attach(kernel, &a, &err), "attach");
	close(a.data_fd);
	return rc;
}

static int do_replace(uint32_t minor, char **arg)
{
	struct kernel_replace r = { .minor = minor, .meta_fd = -1 };
	int rc;

	r.rate = arg[1] ? strtoull(arg[1], NULL, 0) : 0;
	r.data_fd = open(arg[0], O_RDWR | O_CLOEXEC);
	if (r.data_fd < 0)
		return fail(-errno, arg[0]);
	rc = ticket(kernel_replace(kernel, &r, &err), "replace");
	close(r.data_fd);
	return rc;
}

static int do_slot(uint32_t minor, char **arg)
{
	struct kernel_volume other;
	uint8_t key[REPL_KEY_BYTES];
	int rc;

	key_of((unsigned int)atoi(arg[1]), key);
	rc = arg[2] ? kernel_get_minor(kernel, (uint32_t)atoi(arg[2]), &other, &err) : 0;
	if (rc)
		return fail(rc, "slot");
	return ticket(kernel_slot_set(kernel, minor, (uint8_t)atoi(arg[0]),
				      atoi(arg[1]) ? REPL_SLOT_PEER : REPL_SLOT_FREE, key,
				      arg[2] ? &other.copy_id : NULL, &err), "slot");
}

static int use_cut(int fd, const char *how)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct repl_extent extent;

	if (poll(&p, 1, WAIT_MS) != 1)
		return fail(-ETIMEDOUT, "the cut is not drained");
	while (read(fd, &extent, sizeof(extent)) == sizeof(extent))
		if (!strcmp(how, "list"))
			printf("%llu %llu\n", (unsigned long long)extent.block,
			       (unsigned long long)extent.count);
	if (!strcmp(how, "hold"))
		pause();
	if (!strcmp(how, "later")) {
		puts("open");
		fflush(stdout);
		getchar();
	}
	if ((!strcmp(how, "commit") || !strcmp(how, "later")) && ioctl(fd, REPL_CUT_IOC_COMMIT))
		return fail(-errno, "commit");
	return 0;
}

static int do_cut(uint32_t minor, uint8_t slot, const char *how)
{
	int rc, fd = kernel_cut(kernel, minor, slot, REPL_CUT_UNFROZEN, 0, &err);

	if (fd < 0)
		return fail(fd, "cut");
	rc = use_cut(fd, how);
	close(fd);
	return rc;
}

static int do_follow(uint32_t minor, char **arg)
{
	struct kernel_volume leader;
	int rc = kernel_get_minor(kernel, (uint32_t)atoi(arg[1]), &leader, &err);

	return rc ? fail(rc, "follow") :
		    ticket(kernel_follow(kernel, minor, (uint8_t)atoi(arg[0]), &leader.uuid,
					 arg[2] ? strtoull(arg[2], NULL, 0) : 0, &err), "follow");
}

static int do_commit(uint32_t minor, char **arg)
{
	struct kernel_volume leader;
	int rc = kernel_get_minor(kernel, (uint32_t)atoi(arg[1]), &leader, &err);

	return rc ? fail(rc, "commit") :
		    ticket(kernel_commit(kernel, minor, (uint8_t)atoi(arg[0]), &leader.generation,
					 leader.epoch, leader.history, &err), "commit");
}

static int do_epoch(uint32_t minor)
{
	int rc = ticket(kernel_freeze(kernel, minor, REPL_GATE_JOIN, WAIT_MS, &err), "freeze");

	if (!rc)
		rc = ticket(kernel_epoch(kernel, minor, &err), "epoch");
	kernel_thaw(kernel, minor, REPL_GATE_JOIN, &err);
	return rc;
}

static int tcp_pair(int fd[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || fd[0] < 0 || bind(listener, (struct sockaddr *)&at, len) ||
	    listen(listener, 1) || getsockname(listener, (struct sockaddr *)&at, &len) ||
	    connect(fd[0], (struct sockaddr *)&at, len))
		return -errno;
	fd[1] = accept(listener, NULL, NULL);
	close(listener);
	return fd[1] < 0 ? -errno : 0;
}

static int do_join(uint32_t minor, char **arg)
{
	struct kernel_link lead = { .minor = minor, .slot = (uint8_t)atoi(arg[0]), .cookie = 77 };
	struct kernel_link follow = { .minor = (uint32_t)atoi(arg[1]),
				      .slot = (uint8_t)atoi(arg[2]), .cookie = 77 };
	struct kernel_volume v, other;
	int fd[2] = { -1, -1 }, rc;

	lead.flags = arg[3] && !strcmp(arg[3], "crc") ? REPL_LINK_CRC : 0;
	if (arg[3] && arg[4])
		lead.stuck_ms = follow.stuck_ms = (uint32_t)atoi(arg[4]);
	if (arg[3] && arg[4] && arg[5])
		lead.timeout_ms = follow.timeout_ms = (uint32_t)atoi(arg[5]);
	follow.flags = lead.flags | REPL_LINK_FOLLOW;
	rc = kernel_get_minor(kernel, minor, &v, &err);
	if (!rc)
		rc = kernel_get_minor(kernel, follow.minor, &other, &err);
	if (!rc)
		rc = tcp_pair(fd);
	if (rc)
		return fail(rc, "join");
	/* As the agents do: a copy of another generation is given up before it is caught up. */
	if (memcmp(&v.generation, &other.generation, sizeof(v.generation)))
		rc = ticket(kernel_follow(kernel, follow.minor, follow.slot, &v.uuid, 0, &err), "follow");
	follow.generation = v.generation;
	memcpy(follow.history, v.history, sizeof(follow.history));
	lead.sock_fd = fd[0];
	follow.sock_fd = fd[1];
	if (!rc && v.role == REPL_ROLE_PRIMARY)
		rc = ticket(kernel_freeze(kernel, minor, REPL_GATE_JOIN, 10000, &err), "freeze");
	if (!rc) {
		rc = ticket(kernel_link_add(kernel, &lead, &err), "leader's link") ||
		     ticket(kernel_link_add(kernel, &follow, &err), "follower's link");
		if (v.role == REPL_ROLE_PRIMARY && kernel_thaw(kernel, minor, REPL_GATE_JOIN, &err))
			rc = fail(-EIO, "thaw");
	}
	close(fd[0]);
	close(fd[1]);
	return rc;
}

/* @n: one after the other, as far as there are any. */
static void print_ids(const char *name, const struct repl_id *id, unsigned int n)
{
	static const struct repl_id none;
	unsigned int i;

	printf("%s=", name);
	for (; n && memcmp(id, &none, sizeof(none)); n--, id++)
		for (i = 0; i < sizeof(id->b); i++)
			printf("%02x", id->b[i]);
	printf("\n");
}

static int do_get(uint32_t minor)
{
	struct kernel_volume v;
	unsigned int i;
	int rc = kernel_get_minor(kernel, minor, &v, &err);

	if (rc)
		return fail(rc, "get");
	printf("name=%s\nrole=%u\nsize=%" PRIu64 "\nroom=%" PRIu64 "\nsb_flags=%u\ngate=%u\nopeners=%u\nflags=%u\n",
	       v.name, v.role, v.size, v.room, v.sb_flags, v.gate, v.openers, v.flags);
	printf("backing=%s\nreplaced=%" PRIu64 "\n", v.backing, v.replaced);
	print_ids("generation", &v.generation, 1);
	print_ids("history", v.history, REPL_HISTORY);
	printf("staged=%" PRIu64 "\n", v.staged);
	printf("generations=%" PRIu64 "\noverlaps=%" PRIu64 "\ngate_waits=%" PRIu64 "\n",
	       v.counter[REPL_C_GENERATIONS], v.counter[REPL_C_OVERLAPS],
	       v.counter[REPL_C_GATE_WAITS]);
	printf("writes=%" PRIu64 "\nflushes=%" PRIu64 "\napplied=%" PRIu64 "\nresends=%" PRIu64 "\n",
	       v.counter[REPL_C_WRITES], v.counter[REPL_C_FLUSHES],
	       v.counter[REPL_C_APPLIED_WRITES], v.counter[REPL_C_RESENDS]);
	printf("remote_reads=%" PRIu64 "\nread_repairs=%" PRIu64 "\nerrors=%" PRIu64 "\n",
	       v.counter[REPL_C_REMOTE_READS], v.counter[REPL_C_READ_REPAIRS],
	       v.counter[REPL_C_ERRORS]);
	printf("log_waits=%" PRIu64 "\nlog_writes=%" PRIu64 "\n", v.counter[REPL_C_LOG_WAITS],
	       v.counter[REPL_C_LOG_WRITES]);
	printf("holds=%" PRIu64 "\nhold_max_ms=%" PRIu64 "\nvoids=%" PRIu64 "\n",
	       v.counter[REPL_C_HOLDS], v.counter[REPL_C_HOLD_MAX_MS], v.counter[REPL_C_VOIDS]);
	for (i = 0; i < v.slot_count; i++) {
		const struct kernel_slot *s = &v.slot[i];

		printf("slot%u.cut=%u\n", s->index, s->cut);
		printf("slot%u.link=%u\nslot%u.dirty=%" PRIu64 "\nslot%u.unflushed=%" PRIu64
		       "\nslot%u.in_flight=%" PRIu64 "\nslot%u.reason=%s\n", s->index, s->link,
		       s->index, s->dirty_blocks, s->index, s->unflushed_bytes, s->index,
		       s->in_flight_bytes, s->index, s->reason);
	}
	return 0;
}

static int do_mark(uint32_t minor, char **arg)
{
	uint32_t mask = (uint32_t)strtoul(arg[0], NULL, 0);
	struct repl_extent extent[MARKS];
	unsigned long long block, count;
	unsigned int n = 0;

	if (arg[1]) {
		extent[0].block = strtoull(arg[1], NULL, 0);
		extent[0].count = arg[2] ? strtoull(arg[2], NULL, 0) : 1;
		return ticket(kernel_mark(kernel, minor, mask, extent, 1, &err), "mark");
	}
	while (scanf("%llu %llu", &block, &count) == 2) {
		extent[n++] = (struct repl_extent){ .block = block, .count = count };
		if (n < MARKS)
			continue;
		if (ticket(kernel_mark(kernel, minor, mask, extent, n, &err), "mark"))
			return 1;
		n = 0;
	}
	return n ? ticket(kernel_mark(kernel, minor, mask, extent, n, &err), "mark") : 0;
}

static int simple(const char *cmd, uint32_t minor, char **arg)
{
	int rc;

	if (!strcmp(cmd, "detach"))
		return ticket(kernel_detach(kernel, minor, flags_of(arg[0]), &err), cmd);
	if (!strcmp(cmd, "primary"))
		return ticket(kernel_role(kernel, minor, REPL_ROLE_PRIMARY, flags_of(arg[0]), NULL, &err),
			      cmd);
	if (!strcmp(cmd, "secondary"))
		return ticket(kernel_role(kernel, minor, REPL_ROLE_SECONDARY, flags_of(arg[0]), NULL,
					  &err), cmd);
	if (!strcmp(cmd, "leave"))
		return ticket(kernel_link_del(kernel, minor, (uint8_t)atoi(arg[0]), &err), cmd);
	if (!strcmp(cmd, "freeze"))
		return ticket(kernel_freeze(kernel, minor, REPL_GATE_ADMIN,
					    (uint32_t)atoi(arg[0]), &err), cmd);
	if (!strcmp(cmd, "resize"))
		return ticket(kernel_resize(kernel, minor, strtoull(arg[0], NULL, 0), &err), cmd);
	if (!strcmp(cmd, "resume"))
		return ticket(kernel_resume(kernel, minor, NULL, &err), cmd);
	rc = kernel_thaw(kernel, minor, REPL_GATE_ADMIN, &err);
	return rc ? fail(rc, cmd) : 0;
}

static const struct {
	const char *name;
	int args;	/* after the minor, at least */
} commands[] = {
	{ "attach", 2 }, { "detach", 0 }, { "primary", 0 }, { "secondary", 0 }, { "slot", 2 },
	{ "mark", 1 }, { "cut", 2 }, { "settle", 1 }, { "follow", 2 }, { "commit", 2 }, { "epoch", 0 },
	{ "join", 3 }, { "leave", 1 }, { "freeze", 1 }, { "thaw", 0 }, { "resume", 0 }, { "resize", 1 }, { "replace", 1 }, { "get", 0 },
};

/* Return: the exit code. */
static int command(int argc, char **argv)
{
	uint32_t minor;
	size_t i;

	for (i = 0; argc > 1 && i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(argv[0], commands[i].name) && argc - 2 >= commands[i].args)
			break;
	if (argc < 2 || i == sizeof(commands) / sizeof(*commands)) {
		fprintf(stderr, "usage: see the head of tests/vm/prog/knode.c\n");
		return 2;
	}
	minor = (uint32_t)atoi(argv[1]);
	if (!strcmp(argv[0], "attach"))
		return do_attach(minor, argv + 2);
	if (!strcmp(argv[0], "replace"))
		return do_replace(minor, argv + 2);
	if (!strcmp(argv[0], "slot"))
		return do_slot(minor, argv + 2);
	if (!strcmp(argv[0], "cut"))
		return do_cut(minor, (uint8_t)atoi(argv[2]), argv[3]);
	if (!strcmp(argv[0], "settle"))
		return do_cut(minor, (uint8_t)atoi(argv[2]), "commit");
	if (!strcmp(argv[0], "mark"))
		return do_mark(minor, argv + 2);
	if (!strcmp(argv[0], "follow"))
		return do_follow(minor, argv + 2);
	if (!strcmp(argv[0], "commit"))
		return do_commit(minor, argv + 2);
	if (!strcmp(argv[0], "epoch"))
		return do_epoch(minor);
	if (!strcmp(argv[0], "join"))
		return do_join(minor, argv + 2);
	if (!strcmp(argv[0], "get"))
		return do_get(minor);
	return simple(argv[0], minor, argv + 2);
}

/* To start a program takes an emulated processor longer than what most commands do. */
static int commands_of_input(void)
{
	char line[512], *word[WORDS + 1];
	int n;

	while (fgets(line, sizeof(line), stdin)) {
		memset(word, 0, sizeof(word));
		for (n = 0; n < WORDS; n++) {
			word[n] = strtok(n ? NULL : line, " \n");
			if (!word[n])
				break;
		}
		memset(&err, 0, sizeof(err));
		printf("= %d\n", command(n, word));
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	int rc = kernel_open(&kernel, &err);

	if (rc)
		return fail(rc, "netlink");
	if (argc == 2 && !strcmp(argv[1], "-"))
		return commands_of_input();
	return command(argc - 1, argv + 1);
}
