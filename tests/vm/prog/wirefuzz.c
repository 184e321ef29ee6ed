// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * wirefuzz - be the peer of a slot for ROUNDS links, and say random things, right and wrong.
 *
 *	wirefuzz MINOR SLOT ROUNDS DEVICE	DEVICE: the volume's backing device
 *
 * SEED in the environment repeats what a run has said; it is printed.  After a frame that is
 * wrong the link must end; as long as none is, it must live, and each request is answered once.
 * Toward a secondary: a block is as it was, zeroed, or as a valid write made it, and nothing
 * changes outside of the megabyte that these go to.  Toward a primary: a process of its own
 * writes all the time; each write ends well and is read back.  Prints "ok ..." or "not ok ...".
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "../../unit/tap.h"
#include "peer.h"

enum {
	BLOCK		= 4096,
	AREA		= 2 << 20,	/* where valid frames write */
	AREA_BLOCKS	= 256,
	OWN_AREA	= 3 << 20,	/* where our own writer does */
	FRAMES		= 60,		/* of one link, at most */
	REASONS		= 40,
	POISON		= 0xee,		/* in payloads that must never be written */
};

static struct peer peer;
static uint64_t seed;
static uint8_t initial[AREA_BLOCKS * BLOCK];
static uint8_t expected[FRAMES + 1];	/* of each of our tags: the status that may come, or NONE */
static uint32_t tags, rights, wrongs, faults;
static bool generation_sent;

enum { NONE = 255, ANY = 254 };

static struct {
	char text[REPL_TEXT_BYTES];
	unsigned int times;
} reasons[REASONS];

#define BELOW(n) ((uint32_t)random_below(&seed, n))

static bool chance(unsigned int percent)
{
	return BELOW(100) < percent;
}

static void fault(const char *what, uint32_t number)
{
	printf("not ok %s (%u)\n", what, number);
	faults++;
}

/* -------------------------------------------------------------- frames --- */

static uint8_t content(uint32_t block)
{
	return (uint8_t)(1 + block % 199);
}

static uint32_t new_tag(uint8_t status)
{
	expected[++tags] = status;
	return tags;
}

static void set_range(struct repl_frame *f, uint32_t *first, uint32_t *blocks)
{
	*blocks = 1 + BELOW(chance(80) ? 4 : AREA_BLOCKS);
	*first = BELOW(AREA_BLOCKS + 1 - *blocks);
	f->offset = htole64(AREA + (uint64_t)*first * BLOCK);
	f->length = htole32(*blocks * BLOCK);
}

/* A right WRITE, or one whose payload is damaged on the way. Return: bytes of payload. */
static size_t make_write(struct repl_frame *f)
{
	static const uint16_t more[] = { REPL_FF_FUA, REPL_FF_PREFLUSH, REPL_FF_SYNC, 0 };
	bool damaged = chance(20), crc = damaged || chance(80);
	uint32_t first, blocks, i;

	*f = peer_frame(REPL_FRAME_WRITE, new_tag(damaged ? REPL_STATUS_RESEND : REPL_STATUS_OK));
	set_range(f, &first, &blocks);
	for (i = 0; i < blocks; i++)
		memset(peer.payload + (size_t)i * BLOCK, content(first + i), BLOCK);
	f->flags = htole16((uint16_t)(more[BELOW(4)] | (crc ? REPL_FF_CRC : 0)));
	f->payload_crc = htole32(super_crc32c(peer.payload, (size_t)blocks * BLOCK));
	if (damaged)
		peer.payload[BELOW(blocks * BLOCK)] ^= (uint8_t)(1u << BELOW(8));
	return (size_t)blocks * BLOCK;
}

static size_t make_generation(struct repl_frame *f)
{
	struct repl_frame_generation *g = (struct repl_frame_generation *)peer.payload;

	*f = peer_frame(REPL_FRAME_GENERATION, new_tag(ANY));
	memset(g, (int)BELOW(256), sizeof(*g));
	if (chance(30))
		g->previous = peer.generation;
	f->length = htole32(sizeof(*g));
	f->flags = htole16(REPL_FF_CRC);
	f->payload_crc = htole32(super_crc32c(g, sizeof(*g)));
	generation_sent = true;
	return sizeof(*g);
}

/* A frame that a peer in its role may send. */
static size_t make_right(struct repl_frame *f)
{
	uint32_t first, blocks, what = BELOW(peer.primary ? 2 : 8);

	/* A second one before the first is answered would end the link, rightly. */
	if (!generation_sent && chance(5))
		return make_generation(f);
	if (what == 0) {
		*f = peer_frame(REPL_FRAME_BEAT, (uint32_t)random_next(&seed));
		return 0;
	}
	if (what == 1) {
		*f = peer_frame(REPL_FRAME_FLUSH, new_tag(REPL_STATUS_OK));
		return 0;
	}
	if (what == 2) {
		*f = peer_frame(REPL_FRAME_ZEROES, new_tag(REPL_STATUS_OK));
		set_range(f, &first, &blocks);
		f->flags = htole16((uint16_t)BELOW(2) * REPL_FF_UNMAP);
		return 0;
	}
	return make_write(f);
}

/* A range that is none, for a frame that has one, or that has none. */
static void spoil_range(struct repl_frame *f)
{
	bool has = f->type == REPL_FRAME_WRITE || f->type == REPL_FRAME_ZEROES;

	switch (BELOW(4)) {
	case 0:
		f->offset = htole64((1ull << (20 + BELOW(44))) + (1ull << 40));
		break;
	case 1:
		f->offset = htole64(AREA + 1 + BELOW(BLOCK - 1));
		break;
	case 2:
		f->length = htole32(1 + BELOW(BLOCK - 1) + (has ? 0 : 64));
		break;
	default:
		f->length = htole32(has ? 0 : BLOCK << BELOW(20));
	}
}

/* Sealed again, but wrong in a way that no other field can make right. */
static void spoil(struct repl_frame *f)
{
	switch (BELOW(6)) {
	case 0:
		f->magic ^= htole32(1u << BELOW(32));
		break;
	case 1:
		f->cookie ^= htole64(1ull << BELOW(64));
		break;
	case 2:
		f->type = (uint8_t)(8 + BELOW(248));
		break;
	case 3:
		f->status = (uint8_t)(5 + BELOW(251));
		break;
	case 4:
		f->flags |= htole16((uint16_t)(1u << (5 + BELOW(11))));
		break;
	default:
		spoil_range(f);
	}
}

/* Something after which the link must end. */
static void send_wrong(void)
{
	size_t i, bytes = 40 + BELOW(5000);
	struct repl_frame f;

	wrongs++;
	if (chance(10)) {
		for (i = 0; i < bytes; i++)
			peer.payload[i] = (uint8_t)random_next(&seed);
		peer_send(&peer, peer.payload, bytes);
		return;
	}
	if (peer.primary && chance(20)) {
		bytes = make_write(&f);
	} else if (chance(10)) {
		f = peer_frame(REPL_FRAME_ANSWER, 0xfffff000u | BELOW(4096));
		bytes = 0;
	} else {
		bytes = make_right(&f);
		peer_seal(&f);
		if (chance(30)) {
			((uint8_t *)&f)[BELOW(sizeof(f))] ^= (uint8_t)(1u << BELOW(8));
			goto send;
		}
		spoil(&f);
	}
	peer_seal(&f);
send:
	memset(peer.payload, POISON, bytes);
	if (peer_send(&peer, &f, sizeof(f)) && bytes)
		peer_send(&peer, peer.payload, bytes);
}

static void send_right(void)
{
	struct repl_frame f;
	size_t bytes = make_right(&f);

	rights++;
	peer_seal(&f);
	if (peer_send(&peer, &f, sizeof(f)) && bytes)
		peer_send(&peer, peer.payload, bytes);
}

/* ------------------------------------------------------------- answers --- */

static void take_answer(void)
{
	uint32_t tag = le32toh(peer.got.tag);

	if (tag > tags || expected[tag] == NONE) {
		fault("an answer to nothing, or a second one", tag);
		return;
	}
	if (expected[tag] == ANY)
		generation_sent = false;
	else if (expected[tag] != peer.got.status)
		fault("an answer with the wrong status", peer.got.status);
	expected[tag] = NONE;
}

/* Return: false when we have said something wrong. */
static bool give_answer(void)
{
	uint32_t tag = le32toh(peer.got.tag), how = BELOW(100);
	/* One complaint in a row, at most: the module tries nine times, and then gives up. */
	static bool complained;

	complained = !complained && peer.got.type == REPL_FRAME_WRITE && how < 30;
	if (complained) {
		peer_answer(&peer, tag, REPL_STATUS_RESEND);
		return true;
	}
	if (how < 96)
		return peer_answer(&peer, tag, REPL_STATUS_OK);
	wrongs++;
	if (how == 96)
		peer_answer(&peer, tag ^ 1u << BELOW(32), REPL_STATUS_OK);
	else if (how == 97)
		peer_answer(&peer, tag, REPL_STATUS_IO + (uint8_t)BELOW(2));
	else if (how == 98)
		peer_answer(&peer, tag, REPL_STATUS_REFUSED);
	else if (peer_answer(&peer, tag, REPL_STATUS_OK))
		peer_answer(&peer, tag, REPL_STATUS_OK);
	return false;
}

enum heard { QUIET, WRONG, ENDED };

/* Takes what has come, until nothing more does for @ms. */
static enum heard listen_to(int ms)
{
	struct pollfd p = { .fd = peer.fd, .events = POLLIN };

	while (poll(&p, 1, ms) == 1) {
		if (!peer_next(&peer, PEER_WAIT_MS))
			return ENDED;
		if (peer.got.type == REPL_FRAME_ANSWER)
			take_answer();
		else if (peer_is_request(&peer.got) && !give_answer())
			return WRONG;
	}
	return QUIET;
}

/* --------------------------------------------------------------- links --- */

static void count_reason(const char *text)
{
	unsigned int i;

	for (i = 0; i < REASONS - 1 && reasons[i].text[0]; i++)
		if (!strcmp(reasons[i].text, text))
			break;
	snprintf(reasons[i].text, sizeof(reasons[i].text), "%s", text);
	reasons[i].times++;
}

static void wait_gone(void)
{
	uint64_t end = peer_now_ms() + PEER_WAIT_MS;
	struct kernel_volume v;

	for (peer_get(&peer, &v); peer_slot(&peer, &v)->link != REPL_LINK_NONE; peer_get(&peer, &v)) {
		if (peer_now_ms() > end)
			peer_die("the link does not end", NULL);
		usleep(2000);
	}
	count_reason(peer_slot(&peer, &v)->reason);
}

/* After something wrong: whatever is on the way comes, and then the end. */
static void expect_end(void)
{
	uint64_t end = peer_now_ms() + PEER_WAIT_MS;

	while (peer_next(&peer, PEER_WAIT_MS)) {
		/* Frames that were sent before count; a writer may go on until it is noticed. */
		if (peer.got.type == REPL_FRAME_ANSWER)
			take_answer();
		if (peer_now_ms() > end)
			break;
	}
	if (errno == ETIMEDOUT || peer_now_ms() > end)
		fault("the link has outlived what was wrong", wrongs);
}

/* Every request so far must get its answer, and the link live. */
static void expect_life(void)
{
	uint64_t end = peer_now_ms() + PEER_WAIT_MS;
	enum heard heard = QUIET;
	uint32_t tag, open = 1;

	while (open && heard == QUIET && peer_now_ms() < end) {
		heard = listen_to(20);
		for (open = 0, tag = 1; tag <= tags; tag++)
			open += expected[tag] != NONE;
	}
	if (heard == WRONG)
		expect_end();
	else if (open)
		fault(heard == ENDED ? "the link has ended, and nothing was wrong" :
		      "requests have no answer", open);
}

static void leave(void)
{
	struct repl_frame f = peer_frame(REPL_FRAME_CLOSE, 0);
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	peer_seal(&f);
	if (chance(40))
		peer_send(&peer, &f, sizeof(f));
	else if (chance(30))
		setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(peer.fd);
}

static void one_link(void)
{
	uint32_t i, frames = 1 + BELOW(FRAMES - 1);
	enum heard heard = QUIET;

	tags = 0;
	generation_sent = false;
	peer_settle(&peer);
	peer_join(&peer);
	for (i = 0; i < frames && heard == QUIET; i++) {
		heard = listen_to(0);
		if (heard != QUIET)
			break;
		if (chance(4)) {
			send_wrong();
			heard = WRONG;
		} else {
			send_right();
		}
	}
	if (heard == WRONG)
		expect_end();
	else if (heard == ENDED)
		fault("the link has ended early, and nothing was wrong", i);
	else if (chance(80))
		expect_life();
	leave();
	wait_gone();
}

/* -------------------------------------------------------------- verdict --- */

static void read_area(const char *path, uint8_t *to)
{
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	void *bytes = aligned_alloc(BLOCK, AREA_BLOCKS * BLOCK);

	if (fd < 0 || pread(fd, bytes, AREA_BLOCKS * BLOCK, AREA) != AREA_BLOCKS * BLOCK)
		peer_die(path, NULL);
	memcpy(to, bytes, AREA_BLOCKS * BLOCK);
	free(bytes);
	close(fd);
}

static bool is_filled(const uint8_t *block, uint8_t value)
{
	return block[0] == value && !memcmp(block, block + 1, BLOCK - 1);
}

static void check_area(const char *path)
{
	static uint8_t now[AREA_BLOCKS * BLOCK];
	uint32_t i, bad = 0, written = 0;

	read_area(path, now);
	for (i = 0; i < AREA_BLOCKS; i++) {
		const uint8_t *block = now + (size_t)i * BLOCK;
		bool same = !memcmp(block, initial + (size_t)i * BLOCK, BLOCK);
		bool ours = is_filled(block, content(i));

		written += ours && !same;
		bad += !same && !ours && !is_filled(block, 0);
	}
	if (peer.primary)
		written = !written;
	printf("%sok %u blocks hold what nobody may have written\n", bad ? "not " : "", bad);
	printf("%sok blocks were written if and only if the node is secondary\n", written ? "" : "not ");
}

static volatile sig_atomic_t enough;

static void on_enough(int signal)
{
	(void)signal;
	enough = 1;
}

/* Writes counters to blocks of its own, and in the end reads them all back. */
static int write_all_the_time(const char *path)
{
	static uint64_t shadow[AREA_BLOCKS];
	uint64_t *bytes = aligned_alloc(BLOCK, BLOCK), n = 0;
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC), bad = fd < 0;
	uint32_t i, block;

	while (!enough && !bad) {
		block = BELOW(AREA_BLOCKS);
		shadow[block] = ++n;
		for (i = 0; i < BLOCK / sizeof(n); i++)
			bytes[i] = n;
		bad = pwrite(fd, bytes, BLOCK, OWN_AREA + (off_t)block * BLOCK) != BLOCK ||
		      (n % 16 == 0 && fdatasync(fd));
	}
	for (block = 0; block < AREA_BLOCKS && !bad; block++)
		bad = shadow[block] &&
		      (pread(fd, bytes, BLOCK, OWN_AREA + (off_t)block * BLOCK) != BLOCK ||
		       bytes[0] != shadow[block] || bytes[BLOCK / sizeof(n) - 1] != shadow[block]);
	printf("# %llu writes\n", (unsigned long long)n);
	return bad || n < 10;
}

static pid_t begin_writer(void)
{
	pid_t writer = fork();
	char path[32];

	if (writer)
		return writer;
	signal(SIGTERM, on_enough);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(path, sizeof(path), "/dev/repl%u", peer.minor);
	exit(write_all_the_time(path));
}

static void end_writer(pid_t writer)
{
	int status = 1;

	kill(writer, SIGTERM);
	waitpid(writer, &status, 0);
	printf("%sok every write meanwhile has ended well, and is read back\n", status ? "not " : "");
}

int main(int argc, char **argv)
{
	struct kernel_volume v;
	struct err e = { 0 };
	pid_t writer = 0;
	int i, rounds;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 5)
		return 2;
	peer.minor = (uint32_t)atoi(argv[1]);
	peer.slot = (uint8_t)atoi(argv[2]);
	rounds = atoi(argv[3]);
	seed = random_seed();
	read_area(argv[4], initial);
	if (kernel_open(&peer.kernel, &e))
		peer_die("netlink", &e);
	peer_get(&peer, &v);
	peer.primary = v.role == REPL_ROLE_PRIMARY;
	if (peer.primary)
		writer = begin_writer();
	for (i = 0; i < rounds; i++)
		one_link();
	if (writer)
		end_writer(writer);
	check_area(argv[4]);
	printf("%sok %d links, %u right frames, %u wrong ones: each had its consequence\n",
	       faults || wrongs < (uint32_t)rounds / 8 || rights < (uint32_t)rounds ? "not " : "",
	       rounds, rights, wrongs);
	for (i = 0; i < REASONS && reasons[i].text[0]; i++)
		printf("# %u x %s\n", reasons[i].times, reasons[i].text);
	return 0;
}
