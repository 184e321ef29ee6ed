// SPDX-License-Identifier: GPL-2.0-only
/* The table of volumes, their birth and their end, and the queue of control steps. */
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/xarray.h>
#include "detach.h"
#include "disk.h"
#include "gate.h"
#include "link.h"
#include "log.h"
#include "meta.h"
#include "netlink.h"
#include "read.h"
#include "replace.h"
#include "request.h"
#include "role.h"
#include "slot.h"
#include "volume.h"

struct workqueue_struct *repl_wq;
struct workqueue_struct *repl_teardown_wq;

enum { ZEROERS = 8 };	/* zeroing of one volume at a time */

/* Volumes by minor; protects volume->up and ->leaving too.  Control never holds it across I/O. */
static DEFINE_MUTEX(volumes_lock);
static DEFINE_XARRAY(volumes);

/* Volumes not yet freed; the module's end waits for zero. */
static atomic_t volumes_alive = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(volumes_gone);

/* ---------------------------------------------------------- references -- */

/* Does nothing know it any more that would still look at it? */
static bool volume_idle(const struct volume *v)
{
	return list_empty(&v->writes) && list_empty(&v->held) && list_empty(&v->drains) &&
	       list_empty(&v->waiting) && list_empty(&v->log.applies) &&
	       bio_list_empty(&v->parked) && RB_EMPTY_ROOT(&v->writes_by_range.rb_root) &&
	       !v->in_flight && !v->reading && !v->live && !atomic_read(&v->unsampled);
}

static void volume_free(struct work_struct *work)
{
	struct volume *v = container_of(work, struct volume, free);
	unsigned int i;

	/* Left as it is, and the module with it, whose end waits then: what is missing may come. */
	if (WARN_ON_ONCE(!volume_idle(v)))
		return;
	if (v->ops)
		destroy_workqueue(v->ops);
	if (v->logger)
		destroy_workqueue(v->logger);
	if (v->zeroing)
		destroy_workqueue(v->zeroing);
	for (i = 0; i < REPL_SLOTS_MAX; i++)
		slot_free_maps(&v->slot[i]);
	log_free(&v->log);
	if (v->meta_page)
		__free_page(v->meta_page);
	kfree(v->next);
	role_free_calls(v);
	request_exit_volume(v);
	read_exit_volume(v);
	free_percpu(v->stats);
	put_net_track(v->net, &v->net_tracker);
	kfree(v);
	if (atomic_dec_and_test(&volumes_alive))
		wake_up_all(&volumes_gone);
}

static void volume_release(struct kref *ref)
{
	struct volume *v = container_of(ref, struct volume, ref);

	/* The last reference may be a control step's, which cannot destroy its own queue. */
	queue_work(repl_wq, &v->free);
}

/**
 * volume_get() - another reference
 * @v: of which the caller has one
 */
void volume_get(struct volume *v)
{
	kref_get(&v->ref);
}

/**
 * volume_put() - give a reference back
 * @v: may be gone on return
 *
 * Context: any.
 */
void volume_put(struct volume *v)
{
	kref_put(&v->ref, volume_release);
}

static bool volume_visible(const struct volume *v, struct net *net)
{
	return v->up && !v->leaving && (!net || net_eq(v->net, net));
}

/**
 * volume_get_minor() - find a volume that is up
 * @net: it must be of this namespace; NULL: of any
 * @minor: its number
 *
 * Context: may sleep.
 * Return: the volume with a reference, or NULL.
 */
struct volume *volume_get_minor(struct net *net, u32 minor)
{
	struct volume *v;

	mutex_lock(&volumes_lock);
	v = xa_load(&volumes, minor);
	if (v && volume_visible(v, net))
		volume_get(v);
	else
		v = NULL;
	mutex_unlock(&volumes_lock);
	return v;
}

/**
 * volume_next() - walk through the volumes that are up
 * @net: of this namespace; NULL: of all
 * @minor: where to begin; on return that of the one found
 *
 * Context: may sleep.
 * Return: a volume with a reference, or NULL at the end.
 */
struct volume *volume_next(struct net *net, u32 *minor)
{
	unsigned long index = *minor;
	struct volume *v;

	mutex_lock(&volumes_lock);
	for (v = xa_find(&volumes, &index, ULONG_MAX, XA_PRESENT); v && !volume_visible(v, net);)
		v = xa_find_after(&volumes, &index, ULONG_MAX, XA_PRESENT);
	if (v)
		volume_get(v);
	mutex_unlock(&volumes_lock);
	*minor = index;
	return v;
}

/* ------------------------------------------------------------- control -- */

/* Metadata I/O may stand in the way of a write: nothing here may wait for reclaim. */
static void op_work(struct work_struct *work)
{
	struct op *op = container_of(work, struct op, work);
	unsigned int noio = memalloc_noio_save();
	int err = op->volume->leaving && op->run != volume_detach ? -ESHUTDOWN : 0;

	if (err)
		why_set(&op->why, err, "%s is being taken down", op->volume->name);
	else
		err = op->run(op, &op->why);
	memalloc_noio_restore(noio);
	if (op->ticket)
		ticket_finish(op->ticket, err, &op->why);
	op->ticket = NULL;
	op_discard(op);
}

/**
 * op_create() - prepare a step of control
 * @v: the volume; the step takes its own reference
 * @run: what it does
 * @gfp: for its memory
 *
 * Return: NULL without memory.
 */
struct op *op_create(struct volume *v, int (*run)(struct op *op, struct why *why), gfp_t gfp)
{
	struct op *op = kzalloc(sizeof(*op), gfp);

	if (!op)
		return NULL;
	INIT_WORK(&op->work, op_work);
	volume_get(v);
	op->volume = v;
	op->run = run;
	return op;
}

/**
 * op_queue() - run a step, after those before it
 * @op: which frees itself
 *
 * Context: any.
 */
void op_queue(struct op *op)
{
	queue_work(op->volume->ops, &op->work);
}

/**
 * op_discard() - free a step that has run, or will not
 * @op: the step
 */
void op_discard(struct op *op)
{
	if (op->drop)
		op->drop(op);
	volume_put(op->volume);
	kfree(op);
}

/* ------------------------------------------------------ birth and end -- */

static int volume_alloc_parts(struct volume *v)
{
	v->stats = alloc_percpu(struct volume_stats);
	v->meta_page = alloc_page(GFP_KERNEL);
	v->next = kzalloc(sizeof(*v->next), GFP_KERNEL);
	v->ops = alloc_ordered_workqueue("repl%u-ops", WQ_MEM_RECLAIM, v->minor);
	v->logger = alloc_ordered_workqueue("repl%u-log", WQ_MEM_RECLAIM | WQ_HIGHPRI, v->minor);
	v->zeroing = alloc_workqueue("repl%u-zero", WQ_MEM_RECLAIM | WQ_UNBOUND, ZEROERS, v->minor);
	if (!v->stats || !v->meta_page || !v->next || !v->ops || !v->logger ||
	    !v->zeroing || role_alloc_calls(v) || request_init_volume(v) || read_init_volume(v))
		return -ENOMEM;
	return 0;
}

static struct volume *volume_alloc(struct net *net, u32 minor, const char *name, u8 on_peer_loss)
{
	struct volume *v = kzalloc(sizeof(*v), GFP_KERNEL);

	if (!v)
		return NULL;
	kref_init(&v->ref);
	v->minor = minor;
	strscpy(v->name, name, sizeof(v->name));
	v->net = get_net_track(net, &v->net_tracker, GFP_KERNEL);
	v->on_peer_loss = on_peer_loss;
	spin_lock_init(&v->io_lock);
	v->writes_by_range = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&v->writes);
	INIT_LIST_HEAD(&v->drains);
	INIT_LIST_HEAD(&v->waiting);
	INIT_LIST_HEAD(&v->held);
	bio_list_init(&v->parked);
	init_waitqueue_head(&v->quiet);
	INIT_WORK(&v->resume, request_resume);
	INIT_WORK(&v->lost, role_lost_work);
	gate_init(v);
	log_prepare(v);
	replace_init(v);
	mutex_init(&v->super_lock);
	INIT_WORK(&v->free, volume_free);
	atomic_inc(&volumes_alive);
	if (!volume_alloc_parts(v))
		return v;
	volume_put(v);
	return NULL;
}

static bool name_taken(struct net *net, const char *name)
{
	unsigned long index;
	struct volume *v;

	xa_for_each(&volumes, index, v)
		if (net_eq(v->net, net) && !strcmp(v->name, name))
			return true;
	return false;
}

/* Takes over the caller's module reference. */
static int store(struct volume *v, u32 minor)
{
	int err = xa_err(xa_store(&volumes, minor, v, GFP_KERNEL));

	if (err)
		module_put(THIS_MODULE);
	return err;
}

/**
 * volume_create() - reserve a minor and a name for a volume to be attached
 * @net: the caller's namespace
 * @minor: of the disk
 * @name: of the volume
 * @on_peer_loss: enum repl_on_peer_loss
 * @out: the volume, with a reference for the caller beside the table's
 * @why: filled in on error
 *
 * Context: may sleep.
 */
int volume_create(struct net *net, u32 minor, const char *name, u8 on_peer_loss,
		  struct volume **out, struct why *why)
{
	struct volume *v = volume_alloc(net, minor, name, on_peer_loss);
	struct volume *other;
	int err;

	if (!v)
		return why_set(why, -ENOMEM, "%s: no memory for a volume", name);
	mutex_lock(&volumes_lock);
	other = xa_load(&volumes, minor);
	if (other)
		err = why_set(why, -EEXIST, "%s: minor %u is taken by volume '%s': choose another",
			      name, minor, net_eq(other->net, net) ? other->name : "of another namespace");
	else if (name_taken(net, name))
		err = why_set(why, -EEXIST, "%s is up already", name);
	else if (!try_module_get(THIS_MODULE))
		err = why_set(why, -ENODEV, "%s: the module is being unloaded", name);
	else
		err = store(v, minor);
	if (!err)
		volume_get(v);
	mutex_unlock(&volumes_lock);
	if (err)
		volume_put(v);
	else
		*out = v;
	return err;
}

/**
 * volume_forget() - take a volume out of the table
 * @v: whose table reference goes; the caller has another
 *
 * Context: may sleep.
 */
void volume_forget(struct volume *v)
{
	mutex_lock(&volumes_lock);
	xa_erase(&volumes, v->minor);
	mutex_unlock(&volumes_lock);
	volume_put(v);
	/* The caller still runs here: volume_exit() waits for what it holds. */
	module_put(THIS_MODULE);
}

/* Both would share queues and reserves: each could wait for what only the other can give. */
static int refuse_own_disk(struct volume *v, dev_t devt, struct why *why)
{
	if (!disk_is_ours(devt))
		return 0;
	return why_set(why, -EINVAL,
		       "%s: device %u:%u is a replicated volume itself: give it a disk or a logical volume",
		       v->name, MAJOR(devt), MINOR(devt));
}

static int open_devices(struct volume *v, const struct op *op, struct why *why)
{
	int err = refuse_own_disk(v, op->u.attach.data, why);

	/* The claim is by holder, who may have it twice. */
	if (!err && op->u.attach.has_meta && op->u.attach.meta == op->u.attach.data)
		err = why_set(why, -EINVAL, "%s: device %u:%u cannot hold the data and be their external metadata",
			      v->name, MAJOR(op->u.attach.data), MINOR(op->u.attach.data));
	if (!err && op->u.attach.has_meta)
		err = refuse_own_disk(v, op->u.attach.meta, why);
	if (!err)
		err = backing_open(&v->data, op->u.attach.data, v, why);
	if (!err && op->u.attach.has_meta)
		err = backing_open(&v->meta, op->u.attach.meta, v, why);
	return err;
}

/* Under super_lock, for GET. */
static void close_devices(struct volume *v)
{
	mutex_lock(&v->super_lock);
	replace_close_retired(v);
	backing_close(&v->meta);
	backing_close(&v->data);
	mutex_unlock(&v->super_lock);
}

static int record_attach(struct volume *v, const struct op *op, struct why *why)
{
	struct repl_super *s = meta_edit(v);
	u32 flags = le32_to_cpu(s->flags);

	memcpy(s->key, op->u.attach.key, sizeof(s->key));
	/* A primary that did not stop cleanly may hold what nobody else has, or lack what others have. */
	if (!(flags & REPL_SB_STOPPED)) {
		s->flags |= cpu_to_le32(REPL_SB_CRASHED);
		if (flags & REPL_SB_PRIMARY)
			s->flags |= cpu_to_le32(REPL_SB_UNPROVEN);
	}
	s->flags &= ~cpu_to_le32(REPL_SB_PRIMARY | REPL_SB_STOPPED);
	return meta_commit(v, why);
}

/**
 * volume_attach_drop() - give the reservation back, unless the step has run
 * @op: of volume_attach()
 */
void volume_attach_drop(struct op *op)
{
	if (!op->u.attach.ran)
		volume_forget(op->volume);
}

/**
 * volume_attach() - REPL_CMD_ATTACH, after volume_create()
 * @op: control
 * @why: filled in on error
 */
int volume_attach(struct op *op, struct why *why)
{
	struct volume *v = op->volume;
	int err;

	op->u.attach.ran = true;
	err = open_devices(v, op, why);
	if (!err)
		err = meta_read(v, op->u.attach.has_end ? &op->u.attach.meta_end : NULL, why);
	if (!err)
		err = meta_load_maps(v, why);
	if (!err)
		err = disk_create(v, why);
	/* Last: what could not be attached has not been stopped uncleanly either. */
	if (!err) {
		err = record_attach(v, op, why);
		if (err)
			disk_destroy(v);
	}
	if (err) {
		/* A superblock that could not be written may have queued it. */
		cancel_work_sync(&v->lost);
		close_devices(v);
		volume_forget(v);
		return err;
	}
	mutex_lock(&volumes_lock);
	v->up = true;
	mutex_unlock(&volumes_lock);
	netlink_event(v, REPL_EVENT_ATTACHED, -1, "up");
	return 0;
}

static void close_links(struct volume *v)
{
	unsigned int i;

	for (i = 0; i < v->slots; i++)
		link_close(v, &v->slot[i], "the volume was taken down");
}

/* The last superblock of this term. */
static int record_down(struct volume *v, struct why *why)
{
	int err;

	if (v->broken) {
		/* The device may have refused that before. */
		if (v->hole)
			meta_distrust(v, why);
		return 0;
	}
	err = meta_save_maps(v, why);
	if (err)
		return err;
	meta_edit(v)->flags |= cpu_to_le32(REPL_SB_STOPPED);
	meta_maps_count(v->next);
	err = meta_commit(v, why);
	return err ?: log_reset(v, why);
}

/**
 * volume_detach() - REPL_CMD_DETACH
 * @op: control
 * @why: filled in on error; then the volume is up as before, or has stopped uncleanly
 */
int volume_detach(struct op *op, struct why *why)
{
	struct volume *v = op->volume;
	bool force = op->u.role.flags & REPL_F_FORCE;
	int err;

	if (v->leaving)
		return why_set(why, -ESHUTDOWN, "%s is being taken down already", v->name);
	err = role_demote(v, force, why);
	if (err && !force)
		return err;
	mutex_lock(&volumes_lock);
	v->leaving = true;
	mutex_unlock(&volumes_lock);
	close_links(v);
	request_fail_parked(v);
	role_wait_quiet(v);
	/* Of what failed in the meantime; the step that was queued for it is about to be dropped. */
	detach_record(v);
	err = record_down(v, why);
	/* And of what has failed in this. */
	detach_record(v);
	gate_stop(v);
	log_stop(v);
	replace_stop(v);
	cancel_work_sync(&v->resume);
	/* It may have been about to try some again, and has not been able to ask for another turn. */
	request_fail_parked(v);
	cancel_work_sync(&v->lost);
	netlink_event(v, REPL_EVENT_DETACHED, -1, "down");
	disk_destroy(v);
	/* A write that passed the door before del_gendisk() may have asked for it again. */
	cancel_work_sync(&v->resume);
	close_devices(v);
	volume_forget(v);
	return force ? 0 : err;
}

static void destroy_queues(void)
{
	/* A teardown may drop the last reference, which queues there. */
	if (repl_teardown_wq)
		destroy_workqueue(repl_teardown_wq);
	if (repl_wq)
		destroy_workqueue(repl_wq);
}

int volume_init(void)
{
	const unsigned int flags = WQ_MEM_RECLAIM | WQ_HIGHPRI | WQ_UNBOUND;

	repl_wq = alloc_workqueue("repl", flags, 0);
	repl_teardown_wq = alloc_workqueue("repl_teardown", flags, 0);
	if (repl_wq && repl_teardown_wq)
		return 0;
	destroy_queues();
	return -ENOMEM;
}

void volume_exit(void)
{
	wait_event(volumes_gone, !atomic_read(&volumes_alive));
	destroy_queues();
}
