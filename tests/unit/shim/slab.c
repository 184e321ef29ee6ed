// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <stdlib.h>
#include <linux/slab.h>

struct shim_slab shim_slab = { .grants = SHIM_SLAB_NO_LIMIT };

void *shim_slab_alloc(size_t count, size_t bytes, unsigned int gfp)
{
	void *memory;

	/* Only what says so may be called under a spinlock. */
	if (!(gfp & GFP_ATOMIC))
		shim_slab.slept++;
	if (!shim_slab.grants) {
		shim_slab.refused++;
		return NULL;
	}
	if (shim_slab.grants != SHIM_SLAB_NO_LIMIT)
		shim_slab.grants--;
	memory = calloc(count, bytes);
	if (!memory) {
		/* Not the shortage that a test asked for: what it concludes would be wrong. */
		puts("Bail out! out of memory");
		exit(1);
	}
	shim_slab.live++;
	return memory;
}

void shim_slab_free(void *memory)
{
	if (memory)
		shim_slab.live--;
	free(memory);
}
