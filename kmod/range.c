// SPDX-License-Identifier: GPL-2.0-only
#include <linux/interval_tree_generic.h>
#include "range.h"

#define START(range) ((range)->start)
#define LAST(range) ((range)->last)

INTERVAL_TREE_DEFINE(struct span, node, sector_t, subtree_last, START, LAST, static, range)

/**
 * range_busy() - is a write there, or somebody who keeps them away?
 * @v: the volume, io_lock held
 * @range: with ->start and ->last set
 */
bool range_busy(struct volume *v, const struct span *range)
{
	lockdep_assert_held(&v->io_lock);
	return range_iter_first(&v->writes_by_range, range->start, range->last);
}

/**
 * range_take() - keep writes away from a range
 * @v: the volume, io_lock held
 * @range: with ->start and ->last set
 *
 * Return: false when a write, or another one who keeps them away, is there.
 */
bool range_take(struct volume *v, struct span *range)
{
	lockdep_assert_held(&v->io_lock);
	if (range_busy(v, range))
		return false;
	range_insert(range, &v->writes_by_range);
	return true;
}

/**
 * range_claim() - enter a range, whoever is there; no write begins there any more
 * @v: the volume, io_lock held
 * @range: with ->start and ->last set
 */
void range_claim(struct volume *v, struct span *range)
{
	lockdep_assert_held(&v->io_lock);
	range_insert(range, &v->writes_by_range);
}

/**
 * range_alone() - have those ended that were in a claimed range?
 * @v: the volume, io_lock held; ->copy is queued at the next change if ->copy_waits is set
 * @range: claimed
 */
bool range_alone(struct volume *v, struct span *range)
{
	struct span *other;

	lockdep_assert_held(&v->io_lock);
	other = range_iter_first(&v->writes_by_range, range->start, range->last);
	while (other == range)
		other = range_iter_next(other, range->start, range->last);
	return !other;
}

/**
 * range_release() - let writes there go on
 * @v: the volume, io_lock held
 * @range: taken
 */
void range_release(struct volume *v, struct span *range)
{
	lockdep_assert_held(&v->io_lock);
	range_remove(range, &v->writes_by_range);
	if (v->overlap_waits) {
		v->overlap_waits = false;
		queue_work(repl_wq, &v->resume);
	}
	if (unlikely(v->copy_waits)) {
		v->copy_waits = false;
		mod_delayed_work(repl_wq, &v->copy, 0);
	}
}
