// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * life - write to a volume, and know what was acknowledged.
 *
 *	life write DEVICE ORACLE RATE	until SIGTERM, or an error: exit code 3; RATE writes a second
 *	life some DEVICE ORACLE COUNT	so many, then a flush
 *	life check DEVICE ORACLE [MODE]	every acknowledged write is there, and nothing that nobody wrote
 *
 * Each block says which write it is of, and each byte of it follows from that.  The oracle is a file, mapped, so
 * that it survives the writer: for each block the last write begun, the last one acknowledged, and the last one of which
 * a flush that began after its acknowledgement has said that it is on stable media, or that was written with FUA.  After
 * a check what was found counts as acknowledged: it must not change any more; and "write" begins with a flush of it.
 * The chunks of one thread are no other's, so the writes of one block are one after the other.
 *
 * MODE is "flushed" where each copy that had all that was acknowledged has lost its power, and the cache of its disk: what
 * was not flushed may be older; and "lossy" after a promotion by force: anything may be.  What is older is counted.
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
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, CHUNK = 8, THREADS = 4, REPORTED = 5, WORDS = BLOCK / sizeof(uint64_t) };

#define MAGIC UINT64_C(0x6566696c6c706572)

enum mode { ALL, FLUSHED, LOSSY };

struct entry {
	uint64_t begun;		/* numbers of writes; 0: none */
	atomic_ullong acked;	/* read by threads that flush */
	uint64_t flushed;	/* with flush_lock */
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
static pthread_mutex_t flush_lock = PTHREAD_MUTEX_INITIALIZER;

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

static void note_flushed(uint64_t block, uint64_t write)
{
	pthread_mutex_lock(&flush_lock);
	if (oracle->entry[block].flushed < write)
		oracle->entry[block].flushed = write;
	pthread_mutex_unlock(&flush_lock);
}

/* It is about whatever any thread's write was acknowledged for before, and about nothing else. */
static int flush(void)
{
	uint64_t *seen = malloc(oracle->blocks * sizeof(*seen));
	int err = 0;

	for (uint64_t n = 0; seen && n < oracle->blocks; n++)
		seen[n] = oracle->entry[n].acked;
	if (!seen || fdatasync(dev))
		err = errno;
	for (uint64_t n = 0; n < oracle->blocks && !err; n++)
		note_flushed(n, seen[n]);
	free(seen);
	return err;
}

enum kind { PLAIN, ZEROES, FUA, SYNC };

static ssize_t put(enum kind kind, uint64_t *buffer, uint64_t range[2])
{
	struct iovec iov = { .iov_base = buffer, .iov_len = range[1] };

	if (kind == ZEROES)
		return ioctl(dev, BLKZEROOUT, range) ? -1 : (ssize_t)range[1];
	return pwritev2(dev, &iov, 1, (off_t)range[0], kind == FUA ? RWF_DSYNC : 0);
}

static int write_once(uint64_t first, unsigned int count, uint64_t *buffer, enum kind kind)
{
	uint64_t write = ++oracle->last;
	uint64_t range[2] = { first * BLOCK, (uint64_t)count * BLOCK };

	for (unsigned int i = 0; i < count; i++) {
		oracle->entry[first + i].begun = write;
		if (kind == ZEROES)
			oracle->entry[first + i].zeroed = write;
		else
			stamp(buffer + (size_t)i * WORDS, first + i, write);
	}
	if (put(kind, buffer, range) != (ssize_t)range[1])
		return errno ? errno : EIO;
	for (unsigned int i = 0; i < count; i++) {
		oracle->entry[first + i].acked = write;
		if (kind == FUA)
			note_flushed(first + i, write);
	}
	return kind == SYNC ? flush() : 0;
}

static enum kind draw_kind(unsigned int *seed)
{
	int r = rand_r(seed) % 32;

	return r == 0 ? ZEROES : r == 1 ? FUA : r < 4 ? SYNC : PLAIN;
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

		err = write_once((chunk * THREADS + thread) * CHUNK + at, count, buffer, draw_kind(&seed));
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
	failed = flush();
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
		enum kind kind = n % 8 == 4 ? ZEROES : n == 1 || n % 4 == 0 ? SYNC : PLAIN;
		int err = write_once(chunk * CHUNK + at, 1 + (unsigned int)rand_r(&seed) % (CHUNK - at), buffer, kind);

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
static const char *judge(const struct entry *e, uint64_t write, bool known, enum mode mode)
{
	if (!known)
		return "no write ever left it like this";
	if (write > e->begun)
		return "a write that was never begun";
	if (mode != LOSSY && write < e->flushed)
		return "a flushed write is lost";
	if (mode == ALL && write < e->acked)
		return "an acknowledged write is lost";
	return NULL;
}

static int do_check(enum mode mode)
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
		wrong = judge(e, write, known, mode);
		if (wrong && bad++ < REPORTED)
			printf("block %" PRIu64 ": %s: found %" PRIu64 ", flushed %" PRIu64
			       ", acknowledged %" PRIu64 ", begun %" PRIu64 "\n", n, wrong, write,
			       e->flushed, (uint64_t)e->acked, e->begun);
		lost += known && write < e->acked;
		if (!wrong) {
			e->begun = e->acked = write;
			if (e->flushed > write)
				e->flushed = write;
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
	static const char *const modes[] = { "all", "flushed", "lossy" };
	bool some = argc == 5 && !strcmp(argv[1], "some");
	bool writes = some || (argc == 5 && !strcmp(argv[1], "write"));
	enum mode mode = ALL;

	while (!writes && argc == 5 && mode <= LOSSY && strcmp(argv[4], modes[mode]))
		mode++;
	if (!writes && (argc < 4 || argc > 5 || strcmp(argv[1], "check") || mode > LOSSY))
		return 2;
	dev = open(argv[2], (writes ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	if (dev < 0 || map_oracle(argv[3])) {
		fprintf(stderr, "life: %s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	return some ? do_some(argv[4]) : writes ? do_write(argv[4]) : do_check(mode);
}
