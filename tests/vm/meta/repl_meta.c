// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Misbehaves on request, so that the harness can be seen to notice. Never part of the product: the
 * name begins with repl only because the harness unloads, and looks for leftovers of, such modules.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>

static char *fault = "none";
module_param(fault, charp, 0444);
MODULE_PARM_DESC(fault, "none, warn, oops, panic, lockup, stuck, pin, cache, leak, inversion, use-after-free or sleep");

/* A cache with a constructor is never merged with another one, so its name shows. */
static void construct(void *object)
{
}

static int leave_cache(void)
{
	struct kmem_cache *cache = kmem_cache_create("repl_left", 200, 0, 0, construct);

	return cache ? 0 : -ENOMEM;
}

static noinline void lock_up(void)
{
	preempt_disable();
	for (;;)
		cpu_relax();
}

/* Several: a forgotten pointer may still lie on a stack when leaks are looked for. */
static void leak(void)
{
	unsigned int i;

	for (i = 0; i < 16; i++)
		if (!kmalloc(1000, GFP_KERNEL))
			pr_info("nothing to leak\n");
}

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);

static void invert(struct mutex *a, struct mutex *b)
{
	mutex_lock(a);
	mutex_lock(b);
	mutex_unlock(b);
	mutex_unlock(a);
}

static void invert_both(void)
{
	invert(&first, &second);
	invert(&second, &first);
}

static void use_after_free(void)
{
	int *gone = kmalloc(sizeof(*gone), GFP_KERNEL | __GFP_NOFAIL);

	kfree(gone);
	WRITE_ONCE(*gone, 1);
}

static DEFINE_SPINLOCK(held);

static void sleep_in_atomic(void)
{
	spin_lock(&held);
	might_sleep();
	spin_unlock(&held);
}

static int __init meta_init(void)
{
	if (!strcmp(fault, "warn"))
		WARN(1, "planted warning\n");
	else if (!strcmp(fault, "oops"))
		*(int *)8L = 1;
	else if (!strcmp(fault, "panic"))
		panic("planted panic");
	else if (!strcmp(fault, "lockup"))
		lock_up();
	else if (!strcmp(fault, "stuck"))
		ssleep(100000);
	else if (!strcmp(fault, "pin"))
		__module_get(THIS_MODULE);
	else if (!strcmp(fault, "leak"))
		leak();
	else if (!strcmp(fault, "inversion"))
		invert_both();
	else if (!strcmp(fault, "use-after-free"))
		use_after_free();
	else if (!strcmp(fault, "sleep"))
		sleep_in_atomic();
	else if (!strcmp(fault, "cache"))
		return leave_cache();
	return 0;
}
module_init(meta_init);

static void __exit meta_exit(void)
{
}
module_exit(meta_exit);

MODULE_DESCRIPTION("Faults for the tests of the test harness");
MODULE_LICENSE("GPL");
