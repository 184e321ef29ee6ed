/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that runs out when a test wants it to, and that is counted. */
#ifndef SHIM_LINUX_SLAB_H
#define SHIM_LINUX_SLAB_H

#include <errno.h>
#include <linux/types.h>

#define GFP_KERNEL	1u
#define GFP_ATOMIC	2u
#define __GFP_NOWARN	4u

#define SHIM_SLAB_NO_LIMIT	(~0u)

struct shim_slab {
	unsigned int grants;	/* allocations that will succeed before all others fail */
	unsigned long refused;	/* allocations that failed */
	unsigned long slept;	/* allocations that may sleep, refused or not */
	unsigned long live;	/* allocated and not yet freed */
};

extern struct shim_slab shim_slab;

void *shim_slab_alloc(size_t count, size_t bytes, unsigned int gfp);
void shim_slab_free(void *memory);

static inline void *kzalloc(size_t bytes, unsigned int gfp)
{
	return shim_slab_alloc(1, bytes, gfp);
}

static inline void *kvcalloc(size_t count, size_t bytes, unsigned int gfp)
{
	return shim_slab_alloc(count, bytes, gfp);
}

static inline void kfree(void *memory)
{
	shim_slab_free(memory);
}

static inline void kvfree(void *memory)
{
	shim_slab_free(memory);
}

#endif /* SHIM_LINUX_SLAB_H */
