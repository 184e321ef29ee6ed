// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * life - write to a volume, and know what was acknowledged.
 *
 *	life write DEVICE ORACLE RATE	until SIGTERM, or an error: exit code 3; RATE writes a second
 *	life some DEVICE ORACLE COUNT	so many, then a flush
 *	life check DEVICE ORACLE [lossy]	every acknowledged write is there, and nothing that nobody wrote
 *
 * Each block says which write it is of, and each byte of it follows from that.  The oracle is a file, mapped, so
 * that it survives the writer: for each block the last write begun, and the last one acknowledged.  After a check what
 * was found counts as acknowledged: it must not change any more.  With "lossy" older writes may have come back, as
 * after a promotion by force; what was lost is counted.  The chunks of one thread are no other's, so the writes of
 * one block are one after the other.
 * link: static
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, CHUNK = 8, THREADS = 4, REPORTED = 5, WORDS = BLOCK / sizeof(uint64_t) };

#define MAGIC UINT64_C(0x6566696c6c706572)

struct entry {
	uint64_t begun, acked;	/* numbers of writes; 0: none */
	uint64_t zeroed;	/* the last one that wrote zeroes */
};

struct oracle {
	_Atomic uint64_t last;
	uint64_t blocks;
	struct entry entry[];
};

static struct oracle *oracle;
static int dev;
static long pause_ns;
static atomic_bool stop;
static atomic_int failed;

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static void stamp(uint64_t *block, uint64_t number, uint64_t write)
{
	block[0] = MAGIC;
	block[1] = number;
	block[2] = write;
	for (unsigned int i = 3; i < WORDS; i++)
		block[i] = mix(number * 1000003 + write * 7919 + i);
}

/* Which write the block is of; 0: zeroes.  Return: false when no write was ever like that. */
static bool recognise(const uint64_t *block, uint64_t number, uint64_t *write)
{
	static const uint64_t zeroes[WORDS];
	uint64_t expected[WORDS];

	*write = block[2];
	if (!memcmp(block, zeroes, BLOCK)) {
		*write = oracle->entry[number].zeroed;
		return true;
	}
	stamp(expected, number, block[2]);
	return !memcmp(block, expected, BLOCK);
}

/* ---------------------------------------------------------------- write -- */

static void stopped(int sig)
{
	(void)sig;
	stop = true;
}

static int write_once(uint64_t first, unsigned int count, uint64_t *buffer, bool zeroes, bool sync)
{
	uint64_t write = ++oracle->last;
	uint64_t range[2] = { first * BLOCK, (uint64_t)count * BLOCK };

	for (unsigned int i = 0; i < count; i++) {
		oracle->entry[first + i].begun = write;
		if (zeroes)
			oracle->entry[first + i].zeroed = write;
		else
			stamp(buffer + (size_t)i * WORDS, first + i, write);
	}
	if (zeroes ? ioctl(dev, BLKZEROOUT, range)
		   : pwrite(dev, buffer, range[1], (off_t)range[0]) != (ssize_t)range[1])
		return errno ? errno : EIO;
	if (sync && fdatasync(dev))
		return errno;
	for (unsigned int i = 0; i < count; i++)
		oracle->entry[first + i].acked = write;
	return 0;
}

static void *writer(void *arg)
{
	uintptr_t thread = (uintptr_t)arg;
	unsigned int seed = (unsigned int)time(NULL) * THREADS + (unsigned int)thread;
	uint64_t chunks = oracle->blocks / CHUNK / THREADS;
	uint64_t *buffer = aligned_alloc(BLOCK, (size_t)CHUNK * BLOCK);
	struct timespec pause = { .tv_nsec = pause_ns };
	int err = buffer ? 0 : ENOMEM;

	while (!err && !stop && !failed) {
		/* Half of all goes to a few chunks, so that the same is written again soon. */
		uint64_t chunk = (uint64_t)rand_r(&seed) % (rand_r(&seed) % 2 ? chunks : 8);
		unsigned int at = (unsigned int)rand_r(&seed) % CHUNK;
		unsigned int count = 1 + (unsigned int)rand_r(&seed) % (CHUNK - at);
		int kind = rand_r(&seed) % 32;

		err = write_once((chunk * THREADS + thread) * CHUNK + at, count, buffer, kind == 0,
				 kind >= 28);
		nanosleep(&pause, NULL);
	}
	if (err)
		failed = err;
	free(buffer);
	return NULL;
}

static int do_write(const char *rate)
{
	pthread_t thread[THREADS];
	struct sigaction action = { .sa_handler = stopped };

	sigaction(SIGTERM, &action, NULL);
	pause_ns = 1000000000L / atol(rate) * THREADS - 1;
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&thread[i], NULL, writer, (void *)i))
			return 1;
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	if (!failed)
		return 0;
	fprintf(stderr, "life: a write has failed: %s\n", strerror(failed));
	return 3;
}

/* What has failed is not written again: the next ones go on. */
static int do_some(const char *count)
{
	uint64_t *buffer = aligned_alloc(BLOCK, (size_t)CHUNK * BLOCK);
	unsigned int seed = (unsigned int)oracle->last + 1;

	for (long n = atol(count); buffer && n; n--) {
		uint64_t chunk = (uint64_t)rand_r(&seed) % (oracle->blocks / CHUNK);
		unsigned int at = (unsigned int)rand_r(&seed) % CHUNK;
		int err = write_once(chunk * CHUNK + at, 1 + (unsigned int)rand_r(&seed) % (CHUNK - at),
				     buffer, n % 8 == 4, n == 1 || n % 4 == 0);

		failed = err ? err : failed;
	}
	free(buffer);
	if (!failed)
		return 0;
	fprintf(stderr, "life: a write has failed: %s\n", strerror(failed));
	return 3;
}

/* ---------------------------------------------------------------- check -- */

/* Return: what is wrong with the block, or NULL. */
static const char *judge(const struct entry *e, uint64_t write, bool known, bool lossy)
{
	if (!known)
		return "no write ever left it like this";
	if (write > e->begun)
		return "a write that was never begun";
	if (write < e->acked && !lossy)
		return "an acknowledged write is lost";
	return NULL;
}

static int do_check(bool lossy)
{
	uint64_t *buffer = aligned_alloc(BLOCK, (size_t)CHUNK * BLOCK);
	unsigned int bad = 0, lost = 0;

	for (uint64_t n = 0; buffer && n < oracle->blocks; n++) {
		const uint64_t *block = buffer + n % CHUNK * WORDS;
		struct entry *e = &oracle->entry[n];
		const char *wrong;
		uint64_t write;
		bool known;

		if (n % CHUNK == 0 && pread(dev, buffer, (size_t)CHUNK * BLOCK, (off_t)(n * BLOCK)) <= 0) {
			printf("block %" PRIu64 " cannot be read: %s\n", n, strerror(errno));
			return 1;
		}
		known = recognise(block, n, &write);
		wrong = judge(e, write, known, lossy);
		if (wrong && bad++ < REPORTED)
			printf("block %" PRIu64 ": %s: found %" PRIu64 ", acknowledged %" PRIu64
			       ", begun %" PRIu64 "\n", n, wrong, write, e->acked, e->begun);
		lost += known && write < e->acked;
		if (!wrong) {
			e->begun = e->acked = write;
			if (!write)
				e->zeroed = 0;
		}
	}
	printf("%u of %" PRIu64 " blocks are wrong, %u older than acknowledged, %" PRIu64 " writes so far\n",
	       bad, oracle->blocks, lost, (uint64_t)oracle->last);
	free(buffer);
	return !buffer || bad;
}

/* ----------------------------------------------------------------- main -- */

static int map_oracle(const char *path)
{
	uint64_t bytes = 0;
	size_t size;
	int fd;

	if (ioctl(dev, BLKGETSIZE64, &bytes))
		return -1;
	bytes -= bytes % (BLOCK * CHUNK * THREADS);
	size = sizeof(*oracle) + bytes / BLOCK * sizeof(struct entry);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)size))
		return -1;
	oracle = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (oracle == MAP_FAILED)
		return -1;
	oracle->blocks = bytes / BLOCK;
	return 0;
}

int main(int argc, char **argv)
{
	bool some = argc == 5 && !strcmp(argv[1], "some");
	bool writes = some || (argc == 5 && !strcmp(argv[1], "write"));
	bool lossy = argc == 5 && !strcmp(argv[4], "lossy");

	if (!writes && (argc < 4 || strcmp(argv[1], "check") || (argc == 5 && !lossy)))
		return 2;
	dev = open(argv[2], (writes ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	if (dev < 0 || map_oracle(argv[3])) {
		fprintf(stderr, "life: %s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	return some ? do_some(argv[4]) : writes ? do_write(argv[4]) : do_check(lossy);
}
