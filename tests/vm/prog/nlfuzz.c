// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * nlfuzz - COUNT random netlink messages to the module, or for SECONDS, while a process of its
 * own writes to the disks that come and go.
 *
 *	nlfuzz COUNT|SECONDSs DEVICE...	the Nth device holds metadata of a volume named vN
 *
 * SEED in the environment repeats the messages of a run (not the timing of the kernel); it is
 * printed.  Most messages are nearly right, so that they get far.  From time to time the
 * volumes are brought up again, and two of them joined, as they should be.  At the end
 * everything is taken down by force.  Prints "ok ..." and what was accepted.
 */
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "../../unit/tap.h"
#include "fds.h"
#include "nlraw.h"

enum {
	POOL		= 48,	/* descriptors at hand */
	MINORS		= 8,
	ROUND		= 64,	/* messages between two times that all is put right */
	COOKIE		= 77,
	IO_BYTES	= 4096,
};

static struct nlraw nl;
static uint64_t seed;
static int pool[POOL];
static char **device;
static unsigned int devices;
static unsigned long sent, accepted, refused, by_errno[256];

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define BELOW(n) random_below(&seed, n)

static bool chance(unsigned int percent)
{
	return BELOW(100) < percent;
}

/* ----------------------------------------------------------- descriptors -- */

static void keep(int fd)
{
	unsigned int i = BELOW(POOL);

	if (pool[i] >= 0)
		close(pool[i]);
	pool[i] = fd;
}

static void new_descriptor(void)
{
	static const char *const words[] = {
		"tcp", "tcp", "tcp", "tls", "tls-tx", "tcp-half", "tcp-idle", "tcp-listen", "udp",
		"unix", "netlink", "pipe", "epoll", "ro:/tmp", "rw:/dev/null",
	};
	char path[64];
	int fd, far = -1;

	if (chance(40)) {
		snprintf(path, sizeof(path), "%s:%s", chance(90) ? "rw" : "ro",
			 device[BELOW(devices)]);
		fd = fds_open(path, &far);
	} else {
		fd = fds_open(words[BELOW(COUNT(words))], &far);
	}
	keep(fd);
	if (far >= 0)
		keep(far);
}

/* Whatever the descriptor is: a ticket, a cut, a socket that a link may have. */
static void use_descriptor(void)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	static char bytes[8192];
	int fd = pool[BELOW(POOL)];
	struct repl_extent extent;

	switch (BELOW(12)) {
	case 0:
	case 1:
		ioctl(fd, REPL_CUT_IOC_COMMIT);
		break;
	case 9:
		extent.block = chance(90) ? BELOW(8192) : random_next(&seed);
		extent.count = chance(90) ? BELOW(1000) : random_next(&seed);
		ioctl(fd, REPL_CUT_IOC_RELEASE, chance(95) ? &extent : NULL);
		break;
	case 10:
		ioctl(fd, REPL_CUT_IOC_VALID);
		break;
	case 2:
		ioctl(fd, REPL_CUT_IOC_ABORT);
		break;
	case 3:
		ioctl(fd, 'R' << 8 | BELOW(256));
		break;
	case 4:
	case 5:
		recv(fd, bytes, BELOW(sizeof(bytes)), MSG_DONTWAIT);
		break;
	case 6:
		send(fd, bytes, BELOW(100), MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 7:
		shutdown(fd, (int)BELOW(3));
		break;
	case 8:
		connect(fd, &none, sizeof(none));
		break;
	default:
		keep(-1);
	}
}

/* A ticket, a cut, a disk.  No socket: a link may take the bytes between poll() and read(). */
static void read_descriptor(void)
{
	struct pollfd p = { .fd = pool[BELOW(POOL)], .events = POLLIN };
	struct repl_extent extents[64];
	struct stat st;

	if (p.fd >= 0 && !fstat(p.fd, &st) && !S_ISSOCK(st.st_mode) && poll(&p, 1, 0) == 1 &&
	    (p.revents & POLLIN) && read(p.fd, extents, BELOW(1025)) < 0)
		errno = 0;
}

/* -------------------------------------------------------------- messages -- */

static const uint8_t wanted[][8] = {
	[REPL_CMD_GET] = { REPL_A_MINOR },
	[REPL_CMD_ATTACH] = { REPL_A_MINOR, REPL_A_NAME, REPL_A_DATA_FD, REPL_A_KEY },
	[REPL_CMD_DETACH] = { REPL_A_MINOR, REPL_A_FLAGS },
	[REPL_CMD_ROLE] = { REPL_A_MINOR, REPL_A_ROLE, REPL_A_FLAGS },
	[REPL_CMD_FREEZE] = { REPL_A_MINOR, REPL_A_GATE, REPL_A_DEADLINE_MS },
	[REPL_CMD_THAW] = { REPL_A_MINOR, REPL_A_GATE },
	[REPL_CMD_SLOT_SET] = { REPL_A_MINOR, REPL_A_SLOT, REPL_A_KIND, REPL_A_KEY },
	[REPL_CMD_FOLLOW] = { REPL_A_MINOR, REPL_A_SLOT, REPL_A_UUID, REPL_A_STAGED },
	[REPL_CMD_MARK] = { REPL_A_MINOR, REPL_A_SLOT_MASK, REPL_A_EXTENTS },
	[REPL_CMD_CUT] = { REPL_A_MINOR, REPL_A_SLOT, REPL_A_CUT_FLAGS, REPL_A_HOLD_MS },
	[REPL_CMD_LINK_ADD] = { REPL_A_MINOR, REPL_A_SLOT, REPL_A_SOCK_FD, REPL_A_COOKIE,
				REPL_A_LINK_FLAGS, REPL_A_TIMEOUT_MS, REPL_A_STUCK_MS },
	[REPL_CMD_LINK_DEL] = { REPL_A_MINOR, REPL_A_SLOT },
	[REPL_CMD_RESIZE] = { REPL_A_MINOR, REPL_A_SIZE },
	[REPL_CMD_REPLACE] = { REPL_A_MINOR, REPL_A_DATA_FD },
	[REPL_CMD_EPOCH] = { REPL_A_MINOR },
	[REPL_CMD_COMMIT] = { REPL_A_MINOR, REPL_A_SLOT, REPL_A_GENERATION, REPL_A_EPOCH, REPL_A_HISTORY },
};

/* An id, a key, a text: mostly one of a few, so that two may be the same. */
static void put_bytes(struct nl_msg *msg, int type, int bytes)
{
	uint8_t value[256];

	memset(value, (int)BELOW(4), sizeof(value));
	nla_put(msg, type, bytes, value);
}

static void put_extents(struct nl_msg *msg)
{
	struct repl_extent extents[16];
	unsigned int i, n = BELOW(COUNT(extents) + 1);

	for (i = 0; i < n; i++) {
		extents[i].block = chance(90) ? BELOW(8192) : random_next(&seed);
		extents[i].count = chance(90) ? BELOW(100) : random_next(&seed);
	}
	nla_put(msg, REPL_A_EXTENTS, (int)(n * sizeof(*extents)), extents);
}

/* Mostly of the right kind. */
static int descriptor_for(int type)
{
	struct stat st;
	unsigned int i;
	int fd = -1;

	for (i = 0; i < 20; i++) {
		fd = pool[BELOW(POOL)];
		if (fd >= 0 && !fstat(fd, &st) &&
		    (type == REPL_A_SOCK_FD ? S_ISSOCK(st.st_mode) : S_ISBLK(st.st_mode)))
			break;
	}
	return chance(80) ? fd : chance(90) ? pool[BELOW(POOL)] : (int)BELOW(1 << 16);
}

static void put_name(struct nl_msg *msg)
{
	char name[REPL_NAME_MAX + 8];

	snprintf(name, sizeof(name), chance(95) ? "v%u" : "%060u", (unsigned int)BELOW(devices));
	nla_put_string(msg, REPL_A_NAME, name);
}

static uint32_t plausible_u32(int type)
{
	switch (type) {
	case REPL_A_MINOR:
		return BELOW(chance(95) ? devices : MINORS);
	case REPL_A_GATE:
		return chance(90) ? 1u << BELOW(5) : BELOW(64);
	case REPL_A_DEADLINE_MS:
		return chance(95) ? BELOW(100) : BELOW(70000);
	case REPL_A_TIMEOUT_MS:
	case REPL_A_STUCK_MS:
		return chance(95) ? REPL_TIMEOUT_MIN_MS : BELOW(700000);
	case REPL_A_SLOT_MASK:
		return BELOW(1 << 16);
	case REPL_A_CUT_FLAGS:
		return chance(90) ? 1u << BELOW(2) : BELOW(5);
	case REPL_A_HOLD_MS:
		return chance(95) ? 1 + BELOW(300) : BELOW(70000);
	default:
		return chance(90) ? BELOW(8) : (uint32_t)random_next(&seed);
	}
}

/* A value that would do, most of the time. */
static void put_plausible(struct nl_msg *msg, int type)
{
	switch (type) {
	case REPL_A_NAME:
		put_name(msg);
		break;
	case REPL_A_KEY:
		put_bytes(msg, type, REPL_KEY_BYTES);
		break;
	case REPL_A_UUID:
	case REPL_A_COPY_ID:
	case REPL_A_GENERATION:
		put_bytes(msg, type, REPL_UUID_BYTES);
		break;
	case REPL_A_HISTORY:
		put_bytes(msg, type, (int)BELOW(17) * REPL_UUID_BYTES);
		break;
	case REPL_A_EPOCH:
	case REPL_A_STAGED:
	case REPL_A_META_END:
		nla_put_u64(msg, type, BELOW(1 << 14) << 12);
		break;
	case REPL_A_COOKIE:
		nla_put_u64(msg, type, COOKIE);
		break;
	case REPL_A_ROLE:
	case REPL_A_KIND:
	case REPL_A_SLOT:
	case REPL_A_ON_PEER_LOSS:
		nla_put_u8(msg, type, (uint8_t)BELOW(chance(95) ? 3 : 256));
		break;
	case REPL_A_DATA_FD:
	case REPL_A_META_FD:
	case REPL_A_SOCK_FD:
		nla_put_s32(msg, type, descriptor_for(type));
		break;
	case REPL_A_EXTENTS:
		put_extents(msg);
		break;
	default:
		nla_put_u32(msg, type, plausible_u32(type));
	}
}

/* Of any type, of any length, of any bytes. */
static void put_anything(struct nl_msg *msg)
{
	static const uint16_t bits[] = { 0, 0, 0, NLA_F_NESTED, NLA_F_NET_BYTEORDER };
	uint8_t bytes[512];
	unsigned int i, length = BELOW(chance(80) ? 40 : sizeof(bytes));

	for (i = 0; i < length; i++)
		bytes[i] = (uint8_t)random_next(&seed);
	nla_put(msg, (int)BELOW(REPL_A_MAX + 4) | bits[BELOW(COUNT(bits))], (int)length, bytes);
}

static struct nl_msg *random_message(void)
{
	/* What takes a volume away, or puts it up, is rarer: the others need one. */
	uint8_t cmd = (uint8_t)(!chance(98) ? BELOW(256) : chance(10) ?
				REPL_CMD_GET + BELOW(3) :
				REPL_CMD_ROLE + BELOW(REPL_CMD_COMMIT - REPL_CMD_ROLE + 1));
	struct nl_msg *msg = nlraw_message(&nl, cmd, chance(cmd == REPL_CMD_GET ? 50 : 1) ?
					   NLM_F_DUMP : NLM_F_ACK);
	unsigned int i;

	for (i = 0; cmd < COUNT(wanted) && i < COUNT(wanted[0]) && wanted[cmd][i]; i++)
		if (chance(97))
			put_plausible(msg, wanted[cmd][i]);
	if (chance(10))
		put_plausible(msg, REPL_A_COPY_ID);
	for (i = chance(10) ? BELOW(3) + 1 : 0; i; i--)
		put_plausible(msg, (int)BELOW(REPL_A_MAX + 1));
	if (chance(5))
		put_anything(msg);
	return msg;
}

/* The message as such is damaged: what it holds is cut off, or a length lies. */
static void damage(struct nl_msg *msg)
{
	struct nlmsghdr *nlh = nlmsg_hdr(msg);
	uint8_t *bytes = nlmsg_data(nlh);
	unsigned int body = (unsigned int)nlmsg_datalen(nlh);

	if (body > GENL_HDRLEN && chance(50))
		nlh->nlmsg_len -= (uint32_t)BELOW(body - GENL_HDRLEN) + 1;
	else if (body > GENL_HDRLEN)
		bytes[GENL_HDRLEN + BELOW(body - GENL_HDRLEN)] ^= 1u << BELOW(8);
}

static void ask(struct nl_msg *msg, struct nlraw_answer *answer)
{
	nlraw_ask(&nl, msg, answer, NULL, NULL);
	sent++;
	if (answer->error)
		refused++;
	else
		accepted++;
	by_errno[answer->error & 255]++;
}

static void send_one(void)
{
	struct nl_msg *msg = random_message();
	struct nlraw_answer answer;

	if (chance(3))
		damage(msg);
	ask(msg, &answer);
	if (answer.fd >= 0)
		keep(answer.fd);
}

/* --------------------------------------------------------- put it right -- */

static struct nl_msg *to(uint8_t cmd, uint32_t minor)
{
	struct nl_msg *msg = nlraw_message(&nl, cmd, NLM_F_ACK);

	nla_put_u32(msg, REPL_A_MINOR, minor);
	return msg;
}

/* Waits for the ticket. Return: the errno. */
static int done(struct nl_msg *msg)
{
	struct nlraw_answer answer;

	nlraw_ask(&nl, msg, &answer, NULL, NULL);
	nlraw_ticket(&answer);
	return answer.error;
}

static void thaw(uint32_t minor, uint32_t gate)
{
	struct nl_msg *msg = to(REPL_CMD_THAW, minor);

	nla_put_u32(msg, REPL_A_GATE, gate);
	done(msg);
}

static int attach(uint32_t minor)
{
	struct nl_msg *msg = to(REPL_CMD_ATTACH, minor);
	int rc, fd = open(device[minor], O_RDWR | O_CLOEXEC);
	char name[16];

	snprintf(name, sizeof(name), "v%u", minor);
	nla_put_string(msg, REPL_A_NAME, name);
	nla_put_s32(msg, REPL_A_DATA_FD, fd);
	put_bytes(msg, REPL_A_KEY, REPL_KEY_BYTES);
	rc = done(msg);
	close(fd);
	return rc;
}

static int role(uint32_t minor, uint8_t role)
{
	struct nl_msg *msg = to(REPL_CMD_ROLE, minor);

	nla_put_u8(msg, REPL_A_ROLE, role);
	nla_put_u32(msg, REPL_A_FLAGS, REPL_F_FORCE);
	return done(msg);
}

/* Every volume is up, thawed, and has done what it was told so far. */
static void put_right(void)
{
	uint32_t minor;

	for (minor = 0; minor < devices; minor++) {
		thaw(minor, REPL_GATE_JOIN);
		thaw(minor, REPL_GATE_ADMIN);
		thaw(minor, REPL_GATE_SNAPSHOT);
		thaw(minor, REPL_GATE_PEER_LOST);
		attach(minor);
	}
}

static void settle(uint32_t minor, uint8_t slot)
{
	struct nl_msg *msg = to(REPL_CMD_SLOT_SET, minor);
	struct nlraw_answer answer;

	nla_put_u8(msg, REPL_A_SLOT, slot);
	nla_put_u8(msg, REPL_A_KIND, REPL_SLOT_PEER);
	put_bytes(msg, REPL_A_KEY, REPL_KEY_BYTES);
	done(msg);
	msg = to(REPL_CMD_CUT, minor);
	nla_put_u8(msg, REPL_A_SLOT, slot);
	nla_put_u32(msg, REPL_A_CUT_FLAGS, REPL_CUT_UNFROZEN);
	nlraw_ask(&nl, msg, &answer, NULL, NULL);
	if (answer.fd < 0)
		return;
	ioctl(answer.fd, REPL_CUT_IOC_COMMIT);
	close(answer.fd);
}

static int adopt(uint32_t minor, uint8_t slot, int fd, uint32_t flags)
{
	struct nl_msg *msg = to(REPL_CMD_LINK_ADD, minor);

	nla_put_u8(msg, REPL_A_SLOT, slot);
	nla_put_s32(msg, REPL_A_SOCK_FD, fd);
	nla_put_u64(msg, REPL_A_COOKIE, COOKIE);
	nla_put_u32(msg, REPL_A_LINK_FLAGS, flags);
	nla_put_u32(msg, REPL_A_TIMEOUT_MS, REPL_TIMEOUT_MIN_MS);
	put_bytes(msg, REPL_A_GENERATION, REPL_UUID_BYTES);
	nla_put_u64(msg, REPL_A_EPOCH, 0);
	put_bytes(msg, REPL_A_HISTORY, REPL_UUID_BYTES);
	return done(msg);
}

/* Two volumes get a real link, so that what comes next meets one. Return: whether it worked. */
static bool join(void)
{
	uint32_t a = BELOW(devices), b = (a + 1) % devices;
	uint8_t slot = (uint8_t)BELOW(2);
	struct nl_msg *msg;
	int fd[2], rc = -1;

	role(b, REPL_ROLE_SECONDARY);
	role(a, REPL_ROLE_PRIMARY);
	settle(b, slot);
	settle(a, slot);
	msg = to(REPL_CMD_FREEZE, a);
	nla_put_u32(msg, REPL_A_GATE, REPL_GATE_JOIN);
	nla_put_u32(msg, REPL_A_DEADLINE_MS, 2000);
	done(msg);
	settle(a, slot);
	if (fds_tcp_pair(fd)) {
		rc = adopt(a, slot, fd[0], REPL_LINK_CRC) ?:
		     adopt(b, slot, fd[1], REPL_LINK_CRC | REPL_LINK_FOLLOW);
		keep(fd[0]);
		keep(fd[1]);
	}
	thaw(a, REPL_GATE_JOIN);
	return !rc;
}

/* ---------------------------------------------------------------- writer -- */

static void write_for_ever(void)
{
	void *bytes = aligned_alloc(IO_BYTES, IO_BYTES);
	char path[32];
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(bytes, 0x5a, IO_BYTES);
	for (;;) {
		snprintf(path, sizeof(path), "/dev/repl%u", (unsigned int)BELOW(devices));
		fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
		if (fd < 0) {
			usleep(1000);
			continue;
		}
		if (pwrite(fd, bytes, IO_BYTES, (off_t)BELOW(1024) * IO_BYTES) > 0 && chance(20))
			fsync(fd);
		close(fd);
	}
}

static size_t volumes(void)
{
	static struct nlraw_state state;

	nlraw_snapshot(&nl, &state, true);
	return state.volumes;
}

/* @others: how many volumes there were before us. */
static void end(pid_t writer, size_t others)
{
	uint32_t minor;
	int status;

	kill(writer, SIGKILL);
	for (minor = 0; minor < MINORS; minor++) {
		struct nl_msg *msg = to(REPL_CMD_DETACH, minor);

		nla_put_u32(msg, REPL_A_FLAGS, REPL_F_FORCE);
		done(msg);
	}
	/* A write that was forgotten keeps it in the kernel for ever. */
	waitpid(writer, &status, 0);
	printf("%sok every volume comes down by force, and no write is forgotten\n",
	       volumes() == others ? "" : "not ");
}

static time_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

int main(int argc, char **argv)
{
	char *unit = "";
	unsigned long i, count = argc > 2 ? strtoul(argv[1], &unit, 0) : 0, joins = 0;
	time_t until = *unit == 's' ? seconds() + (time_t)count : 0;
	unsigned int e;
	size_t others;
	pid_t writer;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!count || argc - 2 > MINORS)
		return 2;
	device = argv + 2;
	devices = (unsigned int)argc - 2;
	seed = random_seed();
	memset(pool, -1, sizeof(pool));
	writer = fork();
	if (!writer)
		write_for_ever();
	nlraw_open(&nl);
	others = volumes();
	for (i = 0; until ? seconds() < until : i < count; i++) {
		if (i % ROUND == 0) {
			put_right();
			joins += chance(50) && join();
		}
		if (i % 1000 == 999)
			printf("# %lu messages, %lu accepted, %lu joins\n", sent, accepted, joins);
		if (chance(20))
			new_descriptor();
		if (chance(20))
			use_descriptor();
		if (chance(20))
			read_descriptor();
		send_one();
	}
	end(writer, others);
	printf("%sok %lu messages: %lu accepted, %lu refused, %lu joins\n",
	       accepted > i / 20 && refused > i / 20 && joins ? "" : "not ", sent, accepted,
	       refused, joins);
	for (e = 1; e < COUNT(by_errno); e++)
		if (by_errno[e])
			printf("# %s %lu\n", strerrorname_np((int)e) ?: "?", by_errno[e]);
	return 0;
}
