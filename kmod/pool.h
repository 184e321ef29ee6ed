/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A pool: objects of one size that the data path takes and gives back all the time.
 *
 * Behind it is a mempool, so one is always had in the end; before it each processor has a
 * few spare ones, which cost a tenth of an allocation (a kernel with init_on_alloc clears
 * every one).  The reserve is filled before anything is spared: whoever waits for memory
 * waits for the reserve.
 *
 * Locks: none; interrupts off around a look at this processor's spare ones.
 */
#ifndef REPL_POOL_H
#define REPL_POOL_H

#include <linux/mempool.h>
#include <linux/percpu.h>

struct pool_spare {
	void *first;		/* each begins with a pointer to the next one */
	unsigned int count;
};

struct pool {
	mempool_t reserve;
	struct pool_spare __percpu *spare;
};

int pool_init(struct pool *pool, unsigned int reserve, size_t bytes);
void pool_exit(struct pool *pool);
void *pool_get(struct pool *pool, gfp_t gfp);
void pool_put(struct pool *pool, void *object);

#endif /* REPL_POOL_H */
