// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * badpeer - become the peer of a volume's slot, and say by hand what no peer would.
 *
 *	badpeer MINOR SLOT [timeout=MS] [stuck=MS] [tls|tls-wrong|tls-raw] STEP...
 *
 * A primary's slot is settled and joined as a leader's is, a secondary's as a follower's, with
 * its own generation.  tls: the link is encrypted, by the keys of both ends; by a wrong key of
 * ours; by the module alone.  Each STEP is one argument:
 *
 *	send TYPE [KEY=VALUE...]	a frame: write, zeroes, flush, generation, settled, beat, answer,
 *		close, or a number.  flags, status, cookie, tag, len, off, magic: of the header;
 *		unless told, it is right, and about the block at 2 MiB.
 *		hcrc, pcrc: bits to be flipped.  payload: so many bytes follow.  byte: their value.
 *		prev, gen: a byte that the id of a generation consists of, or own: the volume's.
 *	bytes N VALUE		so many bytes of no frame
 *	await TYPE		receive until such a request comes; others are answered in order
 *	answer STATUS [ADD]	to the request awaited; ADD is added to its tag
 *	answered TAG		receive until the answer to our request TAG, and print its status
 *	resend			complain of each payload as damaged, until the end; print how many
 *	serve			answer everything in order until the end of the connection
 *	beats			nothing but beats, and read nothing, until the end
 *	closed			receive until the end of the connection; print how many answers came
 *	shut, reset		our end: no more from here; at once, with all that is under way
 *	flood TYPE N		so many requests without reading, or fewer, when it ends before; a
 *				read is as long as may be
 *	busy SLOT		let control of the volume work on another slot, without waiting
 *	record TYPE N		with tls: a record of that content type
 *
 * At the end our side closes the connection, and the reason why the link has ended is printed
 * once the module has let go of it.  Exit code 0 when every step could be done; each prints
 * what it has seen.
 */
#include "peer.h"

enum {
	WORDS	= 16,
	SCRATCH	= 2 << 20,	/* where to write when a step does not say */
};

static struct peer peer;
static char *word[WORDS];
static unsigned int words;

static const struct {
	const char *name;
	uint8_t type;
} types[] = {
	{ "write", REPL_FRAME_WRITE }, { "zeroes", REPL_FRAME_ZEROES },
	{ "flush", REPL_FRAME_FLUSH }, { "generation", REPL_FRAME_GENERATION },
	{ "beat", REPL_FRAME_BEAT }, { "answer", REPL_FRAME_ANSWER },
	{ "close", REPL_FRAME_CLOSE }, { "settled", REPL_FRAME_SETTLED },
	{ "read", REPL_FRAME_READ },
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static uint8_t type_of(const char *name)
{
	size_t i;

	for (i = 0; i < COUNT(types); i++)
		if (!strcmp(types[i].name, name))
			return types[i].type;
	return (uint8_t)atoi(name);
}

static const char *text_of(const char *key)
{
	size_t length = strlen(key);
	unsigned int i;

	for (i = 0; i < words; i++)
		if (!strncmp(word[i], key, length) && word[i][length] == '=')
			return word[i] + length + 1;
	return NULL;
}

static uint64_t number_of(const char *key, uint64_t otherwise)
{
	const char *text = text_of(key);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

/* The argument after the step's name. */
static uint64_t argument(unsigned int n, uint64_t otherwise)
{
	return n < words ? strtoull(word[n], NULL, 0) : otherwise;
}

/* ---------------------------------------------------------------- send --- */

static void fill_id(struct repl_id *id, const char *text, int otherwise)
{
	if (text && !strcmp(text, "own"))
		*id = peer.generation;
	else
		memset(id, text ? atoi(text) : otherwise, sizeof(*id));
}

static size_t fill_payload(uint8_t type, size_t length)
{
	struct repl_frame_generation *g = (struct repl_frame_generation *)peer.payload;

	memset(peer.payload, (int)number_of("byte", 0xbb), sizeof(peer.payload));
	if (type == REPL_FRAME_GENERATION) {
		fill_id(&g->previous, text_of("prev"), 0xee);
		fill_id(&g->generation, text_of("gen"), 0xdd);
		g->epoch = 0;
	}
	length = peer_has_payload(type) ? length : 0;
	return number_of("payload", length > sizeof(peer.payload) ? 4096 : length);
}

static size_t usual_length(uint8_t type)
{
	switch (type) {
	case REPL_FRAME_GENERATION:
		return sizeof(struct repl_frame_generation);
	case REPL_FRAME_SETTLED:
		return sizeof(struct repl_frame_settled);
	default:
		return type <= REPL_FRAME_ZEROES ? 4096 : 0;
	}
}

static void step_send(void)
{
	uint8_t type = type_of(word[1]);
	bool data = peer_has_payload(type);
	struct repl_frame f = peer_frame(type, (uint32_t)number_of("tag", 1));
	uint32_t length = (uint32_t)number_of("len", usual_length(type));
	size_t bytes = fill_payload(type, length);

	f.magic = htole32((uint32_t)number_of("magic", REPL_FRAME_MAGIC));
	f.status = (uint8_t)number_of("status", 0);
	f.flags = htole16((uint16_t)number_of("flags", data ? REPL_FF_CRC : 0));
	f.cookie = htole64(number_of("cookie", PEER_COOKIE));
	f.length = htole32(length);
	f.offset = htole64(number_of("off", type <= REPL_FRAME_ZEROES ? SCRATCH : 0));
	if (data)
		f.payload_crc = htole32(super_crc32c(peer.payload, bytes) ^
					(uint32_t)number_of("pcrc", 0));
	peer_seal(&f);
	f.header_crc ^= htole32((uint32_t)number_of("hcrc", 0));
	/* The module may have closed it already: that is for a later step to say. */
	if (peer_send(&peer, &f, sizeof(f)))
		peer_send(&peer, peer.payload, bytes);
}

static void step_bytes(void)
{
	memset(peer.payload, (int)argument(2, 0), sizeof(peer.payload));
	peer_send(&peer, peer.payload, argument(1, 0));
}

static void step_flood(void)
{
	struct repl_frame f;
	uint64_t i, n = argument(2, 0);

	for (i = 0; i < n; i++) {
		f = peer_frame(type_of(word[1]), (uint32_t)i);
		f.length = htole32(f.type == REPL_FRAME_READ ? REPL_MAX_IO : 0);
		peer_seal(&f);
		if (!peer_send(&peer, &f, sizeof(f)))
			break;
	}
	printf("flood: %s\n", i == n ? "all" : "ended");
}

static void step_beats(void)
{
	struct repl_frame f = peer_frame(REPL_FRAME_BEAT, 0);
	struct pollfd poll_fd = { .fd = peer.fd, .events = POLLRDHUP };

	peer_seal(&f);
	/* 50 ms between two: well below any timeout. */
	while (peer_send(&peer, &f, sizeof(f)))
		if (poll(&poll_fd, 1, 50) == 1)
			break;
	printf("beats: ended\n");
}

static void step_record(void)
{
	char control[CMSG_SPACE(1)] = { 0 };
	struct iovec iov = { .iov_base = peer.payload, .iov_len = argument(2, 2) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	memset(peer.payload, 1, sizeof(peer.payload));
	c->cmsg_level = SOL_TLS;
	c->cmsg_type = TLS_SET_RECORD_TYPE;
	c->cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(c) = (uint8_t)argument(1, 21);
	if (sendmsg(peer.fd, &msg, MSG_NOSIGNAL) < 0)
		peer_die("a record", NULL);
}

static void step_reset(void)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(peer.fd);
	peer.fd = -1;
}

/* ------------------------------------------------------------- receive --- */

static void step_await(void)
{
	uint8_t type = type_of(word[1]);

	while (peer_next(&peer, PEER_WAIT_MS)) {
		if (peer.got.type == type)
			return;
		if (peer_is_request(&peer.got))
			peer_answer(&peer, le32toh(peer.got.tag), REPL_STATUS_OK);
	}
	peer_die("awaited in vain", NULL);
}

static void step_answer(void)
{
	peer_answer(&peer, le32toh(peer.got.tag) + (uint32_t)argument(2, 0), (uint8_t)argument(1, 0));
}

static void step_answered(void)
{
	while (peer_next(&peer, PEER_WAIT_MS)) {
		if (peer.got.type != REPL_FRAME_ANSWER ||
		    le32toh(peer.got.tag) != (uint32_t)argument(1, 0))
			continue;
		printf("answered: %u\n", peer.got.status);
		return;
	}
	peer_die("no answer", NULL);
}

/* Until the end; silence for a minute is a failure. */
static void until_end(int status, const char *name)
{
	unsigned int answers = 0, requests = 0;

	while (peer_next(&peer, PEER_WAIT_MS)) {
		answers += peer.got.type == REPL_FRAME_ANSWER;
		requests += peer_is_request(&peer.got);
		if (status >= 0 && peer_is_request(&peer.got))
			peer_answer(&peer, le32toh(peer.got.tag), (uint8_t)status);
	}
	if (errno == ETIMEDOUT)
		peer_die("the module does not close the connection", NULL);
	printf("%s: %u answers, %u requests\n", name, answers, requests);
}

static void step_closed(void)
{
	until_end(-1, "closed");
}

static void step_serve(void)
{
	until_end(REPL_STATUS_OK, "served");
}

static void step_resend(void)
{
	until_end(REPL_STATUS_RESEND, "resent");
}

static void step_shut(void)
{
	shutdown(peer.fd, SHUT_WR);
}

static void step_busy(void)
{
	uint8_t key[REPL_KEY_BYTES];
	struct err e = { 0 };
	int fd;

	memset(key, 200, sizeof(key));
	fd = kernel_slot_set(peer.kernel, peer.minor, (uint8_t)argument(1, 5), REPL_SLOT_PEER, key,
			     NULL, &e);
	if (fd < 0)
		peer_die("busy", &e);
	close(fd);
}

static const struct {
	const char *name;
	void (*run)(void);
} steps[] = {
	{ "send", step_send }, { "bytes", step_bytes }, { "await", step_await },
	{ "answer", step_answer }, { "answered", step_answered }, { "resend", step_resend },
	{ "serve", step_serve }, { "beats", step_beats }, { "closed", step_closed },
	{ "shut", step_shut }, { "reset", step_reset }, { "flood", step_flood },
	{ "busy", step_busy }, { "record", step_record },
};

static void run_step(char *step)
{
	char *save = NULL, *next;
	size_t i;

	words = 0;
	for (next = strtok_r(step, " ", &save); next && words < WORDS;
	     next = strtok_r(NULL, " ", &save))
		word[words++] = next;
	for (i = 0; words && i < COUNT(steps); i++)
		if (!strcmp(steps[i].name, word[0])) {
			steps[i].run();
			return;
		}
	peer_die("no such step", NULL);
}

static void print_reason(void)
{
	uint64_t end = peer_now_ms() + PEER_WAIT_MS;
	struct kernel_volume v;

	for (peer_get(&peer, &v); peer_slot(&peer, &v)->link != REPL_LINK_NONE; peer_get(&peer, &v)) {
		if (peer_now_ms() > end)
			peer_die("the link does not end", NULL);
		usleep(5000);
	}
	printf("reason: %s\n", peer_slot(&peer, &v)->reason);
}

int main(int argc, char **argv)
{
	struct err e = { 0 };
	int i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 4)
		return 2;
	peer.minor = (uint32_t)atoi(argv[1]);
	peer.slot = (uint8_t)atoi(argv[2]);
	for (i = 3; i < argc; i++) {
		if (!strncmp(argv[i], "timeout=", 8))
			peer.timeout_ms = (uint32_t)atoi(argv[i] + 8);
		else if (!strncmp(argv[i], "stuck=", 6))
			peer.stuck_ms = (uint32_t)atoi(argv[i] + 6);
		else if (!strncmp(argv[i], "tls", 3))
			peer.tls = argv[i];
		else
			break;
	}
	if (kernel_open(&peer.kernel, &e))
		peer_die("netlink", &e);
	peer_join(&peer);
	for (; i < argc; i++)
		run_step(argv[i]);
	if (peer.fd >= 0)
		close(peer.fd);
	print_reason();
	return 0;
}
