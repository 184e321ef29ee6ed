// SPDX-License-Identifier: GPL-2.0-only
/* See pool.h for what a pool is. */
#include <linux/irqflags.h>
#include "pool.h"

enum pool_limits {
	/* For each processor; none where use after free is looked for: it would not be seen. */
	POOL_SPARE	= IS_ENABLED(CONFIG_KASAN) ? 0 : 64,
};

/**
 * pool_init() - make a pool
 * @pool: zeroes
 * @reserve: that many can be had at a time without memory
 * @bytes: of one object, at least a pointer's
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM; then pool_exit() has nothing to do, and may be called.
 */
int pool_init(struct pool *pool, unsigned int reserve, size_t bytes)
{
	int err = mempool_init_kmalloc_pool(&pool->reserve, reserve, bytes);

	if (err)
		return err;
	pool->spare = alloc_percpu(struct pool_spare);
	if (!pool->spare) {
		mempool_exit(&pool->reserve);
		return -ENOMEM;
	}
	return 0;
}

/**
 * pool_exit() - free all
 * @pool: all objects were given back; or zeroes
 */
void pool_exit(struct pool *pool)
{
	int cpu;

	if (!pool->spare)
		return;
	for_each_possible_cpu(cpu) {
		void *object = per_cpu_ptr(pool->spare, cpu)->first;

		while (object) {
			void *next = *(void **)object;

			mempool_free(object, &pool->reserve);
			object = next;
		}
	}
	free_percpu(pool->spare);
	pool->spare = NULL;
	mempool_exit(&pool->reserve);
}

/**
 * pool_get() - take an object, with anything in it
 * @pool: a pool
 * @gfp: whether to wait: with __GFP_DIRECT_RECLAIM until there is one
 *
 * Context: as @gfp says.
 * Return: the object; NULL only without __GFP_DIRECT_RECLAIM.
 */
void *pool_get(struct pool *pool, gfp_t gfp)
{
	struct pool_spare *spare;
	unsigned long flags;
	void *object;

	local_irq_save(flags);
	spare = this_cpu_ptr(pool->spare);
	object = spare->first;
	if (likely(object)) {
		spare->first = *(void **)object;
		spare->count--;
	}
	local_irq_restore(flags);
	return likely(object) ? object : mempool_alloc(&pool->reserve, gfp);
}

/**
 * pool_put() - give an object back
 * @pool: where it was taken
 * @object: nobody looks at it any more
 *
 * Context: any.
 */
void pool_put(struct pool *pool, void *object)
{
	struct pool_spare *spare;
	unsigned long flags;

	local_irq_save(flags);
	spare = this_cpu_ptr(pool->spare);
	if (likely(spare->count < POOL_SPARE &&
		   READ_ONCE(pool->reserve.curr_nr) >= pool->reserve.min_nr)) {
		*(void **)object = spare->first;
		spare->first = object;
		spare->count++;
		object = NULL;
	}
	local_irq_restore(flags);
	if (unlikely(object))
		mempool_free(object, &pool->reserve);
}
