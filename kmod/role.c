// SPDX-License-Identifier: GPL-2.0-only
/*
 * All of this runs as control, one step at a time, but for role_peer_lost() and
 * role_adopt_generation(), which only start a step.
 *
 * Two nodes that promote at once would each wait for the other's control to adopt
 * their generation.  So a node that is promoting refuses at once, in its receiver,
 * and both attempts fail: that is the rule of no two primaries, at its last stop.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/random.h>
#include <linux/slab.h>
#include "apply.h"
#include "gate.h"
#include "link.h"
#include "meta.h"
#include "netlink.h"
#include "request.h"
#include "role.h"
#include "slot.h"

enum role_limits {
	OPENERS_WAIT_MS	= 1000,	/* udev and its like look at a device and go */
	OPENERS_STEP_MS	= 20,
};

/* A frame to one live peer, and its end. */
struct peer_call {
	struct leg leg;
	struct completion ended;
	struct repl_frame_generation body;
	bool lost;
};

int role_alloc_calls(struct volume *v)
{
	v->calls = kcalloc(REPL_LINKS_MAX, sizeof(*v->calls), GFP_KERNEL);
	return v->calls ? 0 : -ENOMEM;
}

void role_free_calls(struct volume *v)
{
	kfree(v->calls);
}

static void call_ended(struct leg *leg, bool lost)
{
	struct peer_call *call = leg->owner;

	call->lost = lost;
	complete(&call->ended);
}

/*
 * One frame to each live peer; waits for all answers.  The timeouts of the links
 * bound the wait.  Return: how many were lost with their link.
 */
static unsigned int call_peers(struct volume *v, u8 type, const struct repl_frame_generation *body)
{
	unsigned int i, n = 0, lost = 0;

	spin_lock_irq(&v->io_lock);
	for (i = 0; i < v->slots; i++) {
		struct peer_call *call = &v->calls[n];

		if (!v->slot[i].link)
			continue;
		n++;
		memset(call, 0, sizeof(*call));
		init_completion(&call->ended);
		call->leg.owner = call;
		call->leg.done = call_ended;
		call->leg.type = type;
		if (body) {
			call->body = *body;
			call->leg.data = &call->body;
			call->leg.length = sizeof(call->body);
		}
		link_queue(v->slot[i].link, &call->leg);
	}
	spin_unlock_irq(&v->io_lock);
	for (i = 0; i < n; i++) {
		wait_for_completion(&v->calls[i].ended);
		lost += v->calls[i].lost;
	}
	return lost;
}

static void push_generation(struct repl_super *s, const struct repl_id *generation)
{
	if (!id_is_zero(&s->generation)) {
		memmove(&s->history[1], &s->history[0], sizeof(s->history) - sizeof(s->history[0]));
		s->history[0] = s->generation;
	}
	s->generation = *generation;
}

/*
 * A new generation: durable here, then on every live peer.  @set and @clear are
 * superblock flags that change with it.
 */
static int begin_generation(struct volume *v, u32 set, u32 clear, unsigned int *lost,
			    struct why *why)
{
	struct repl_frame_generation body = { .previous = v->super.generation };
	struct repl_super *s = meta_edit(v);
	unsigned int i;
	int err;

	get_random_bytes(&body.generation, sizeof(body.generation));
	body.epoch = s->epoch;
	push_generation(s, &body.generation);
	s->flags &= ~cpu_to_le32(clear);
	s->flags |= cpu_to_le32(set);
	spin_lock_irq(&v->io_lock);
	for (i = 0; i < v->slots; i++)
		if (v->slot[i].link)
			s->slot[i].generation = body.generation;
	spin_unlock_irq(&v->io_lock);
	err = meta_commit(v, why);
	if (err)
		return err;
	volume_count(v, REPL_C_GENERATIONS, 1);
	*lost = call_peers(v, REPL_FRAME_GENERATION, &body);
	netlink_event(v, REPL_EVENT_GENERATION, -1, "a new generation has begun");
	return 0;
}

/* ---------------------------------------------------- a peer was lost -- */

static bool loss_to_handle(struct volume *v, u64 *losses)
{
	bool handle;

	spin_lock_irq(&v->io_lock);
	handle = v->primary && !v->failing && (v->gate & REPL_GATE_PEER_LOST) &&
		 (v->on_peer_loss == REPL_LOSS_CONTINUE || v->resume_granted);
	*losses = v->losses;
	spin_unlock_irq(&v->io_lock);
	return handle;
}

/**
 * role_lost_work() - go on without a lost peer, if the policy allows
 * @work: volume->lost, on volume->ops
 *
 * A loss while the generation is being made keeps the gate shut: its own step follows.
 */
void role_lost_work(struct work_struct *work)
{
	struct volume *v = container_of(work, struct volume, lost);
	struct why why = {};
	unsigned int lost;
	u64 losses;
	int err;

	if (!loss_to_handle(v, &losses)) {
		netlink_event(v, REPL_EVENT_GATE, -1, "writes are frozen, or it is not primary");
		return;
	}
	err = begin_generation(v, 0, 0, &lost, &why);
	spin_lock_irq(&v->io_lock);
	if (err)
		v->failing = true;
	if (err || v->losses == losses) {
		v->resume_granted = false;
		gate_open(v, REPL_GATE_PEER_LOST);
	}
	spin_unlock_irq(&v->io_lock);
	if (err)
		netlink_event(v, REPL_EVENT_ERROR, -1, "I/O fails from now on: %s", why.text);
	if (!(READ_ONCE(v->gate) & REPL_GATE_PEER_LOST))
		request_release_held(v);
}

/**
 * role_peer_lost() - a link has ended, its bits are set
 * @v: the volume, primary or not
 *
 * Context: the teardown of the link.
 */
void role_peer_lost(struct volume *v)
{
	if (READ_ONCE(v->gate) & REPL_GATE_PEER_LOST)
		queue_work(v->ops, &v->lost);
}

/**
 * role_resume() - REPL_CMD_THAW of REPL_GATE_PEER_LOST
 * @op: control
 * @why: filled in on error
 */
int role_resume(struct op *op, struct why *why)
{
	struct volume *v = op->volume;

	if (!(READ_ONCE(v->gate) & REPL_GATE_PEER_LOST))
		return why_set(why, -ENOENT, "%s is not frozen for a lost peer", v->name);
	v->resume_granted = true;
	role_lost_work(&v->lost);
	if (READ_ONCE(v->failing))
		return why_set(why, -EIO, "%s: the new generation cannot be recorded", v->name);
	return 0;
}

/* --------------------------------------------- a peer's new generation -- */

static int adopt_generation(struct op *op, struct why *why)
{
	struct apply *apply = op->u.apply;
	struct volume *v = op->volume;
	struct repl_super *s;
	u8 status = REPL_STATUS_OK;

	if (v->primary || !id_equal(&v->super.generation, &apply->generation.previous)) {
		status = REPL_STATUS_REFUSED;
	} else {
		s = meta_edit(v);
		push_generation(s, &apply->generation.generation);
		s->epoch = apply->generation.epoch;
		s->flags &= ~cpu_to_le32(REPL_SB_BY_PEER_DEAD | REPL_SB_BY_FORCE);
		s->slot[apply->link->slot->index].generation = s->generation;
		if (meta_commit(v, why))
			status = REPL_STATUS_IO;
	}
	op->u.apply = NULL;
	apply_answer(apply, status);
	return 0;
}

static void adopt_drop(struct op *op)
{
	if (op->u.apply)
		apply_answer(op->u.apply, REPL_STATUS_IO);
}

/**
 * role_adopt_generation() - the peer begins a new generation
 * @apply: complete
 *
 * Context: the receiver.  Answered when it is durable here.
 */
void role_adopt_generation(struct apply *apply)
{
	struct volume *v = apply->link->volume;
	struct op *op = NULL;
	bool mine;

	spin_lock_irq(&v->io_lock);
	mine = v->primary || v->promoting;
	spin_unlock_irq(&v->io_lock);
	if (!mine)
		op = op_create(v, adopt_generation, GFP_NOIO);
	if (!op) {
		apply_answer(apply, mine ? REPL_STATUS_REFUSED : REPL_STATUS_IO);
		return;
	}
	op->drop = adopt_drop;
	op->u.apply = apply;
	op_queue(op);
}

/* ------------------------------------------------------------- promote -- */

static int check_promotion(struct volume *v, u32 flags, struct why *why)
{
	u32 sb = le32_to_cpu(v->super.flags);

	if (v->zombie && disk_openers(v->disk))
		return why_set(why, -EBUSY,
			       "%s: somebody still has it open since its forced demotion: end that first",
			       v->name);
	if (!(sb & REPL_SB_CONSISTENT) && !(flags & REPL_F_FORCE))
		return why_set(why, -ENODATA,
			       "%s: this copy is not consistent: let it catch up, or use --force",
			       v->name);
	if ((flags & REPL_F_ALONE) && v->live)
		return why_set(why, -EISCONN, "%s has a live link: its peer is not dead", v->name);
	return 0;
}

static bool any_closing(const struct volume *v)
{
	unsigned int i;

	for (i = 0; i < v->slots; i++)
		if (v->slot[i].closing)
			return true;
	return false;
}

static void promotion_flags(struct volume *v, u32 flags, u32 *set, u32 *clear)
{
	bool first = !(le32_to_cpu(v->super.flags) & REPL_SB_IDENTITY);

	*set = REPL_SB_PRIMARY | REPL_SB_CONSISTENT | REPL_SB_IDENTITY;
	*clear = REPL_SB_CLEAN | REPL_SB_BY_PEER_DEAD | REPL_SB_BY_FORCE;
	/* What has never held anything loses nothing by force. */
	if ((flags & REPL_F_FORCE) && !first)
		*set |= REPL_SB_BY_FORCE;
	if (flags & REPL_F_PEER_DEAD)
		*set |= REPL_SB_BY_PEER_DEAD;
	if (flags & (REPL_F_FORCE | REPL_F_PEER_DEAD))
		*clear |= REPL_SB_UNPROVEN;
}

/* The last step, against a link that dies at this moment. */
static bool become_primary(struct volume *v, u8 live)
{
	bool done;

	mutex_lock(&v->disk->open_mutex);
	spin_lock_irq(&v->io_lock);
	done = v->live == live;
	v->promoting = false;
	if (done) {
		v->primary = true;
		v->open_ok = true;
		v->zombie = false;
		v->failing = false;
	}
	spin_unlock_irq(&v->io_lock);
	mutex_unlock(&v->disk->open_mutex);
	return done;
}

static int promote(struct volume *v, u32 flags, struct why *why)
{
	unsigned int lost = 0;
	u32 set, clear;
	u8 live;
	int err;

	if (v->primary)
		return 0;
	err = check_promotion(v, flags, why);
	if (err)
		return err;
	promotion_flags(v, flags, &set, &clear);
	spin_lock_irq(&v->io_lock);
	/* Nothing that an earlier link brought may still be on its way to the disk. */
	wait_event_lock_irq(v->quiet, !any_closing(v), v->io_lock);
	v->promoting = true;
	live = v->live;
	spin_unlock_irq(&v->io_lock);

	if (!(le32_to_cpu(v->super.flags) & REPL_SB_IDENTITY))
		get_random_bytes(&v->super.uuid, sizeof(v->super.uuid));
	err = begin_generation(v, set, clear, &lost, why);
	if (!err && !lost && become_primary(v, live)) {
		set_disk_ro(v->disk, false);
		netlink_event(v, REPL_EVENT_ROLE, -1, "primary");
		return 0;
	}
	WRITE_ONCE(v->promoting, false);
	if (err)
		return err;
	meta_edit(v)->flags &= ~cpu_to_le32(REPL_SB_PRIMARY);
	meta_commit(v, why);
	return why_set(why, -ECONNABORTED,
		       "%s: a peer was lost, or refused, while it was told: look at status, and try again",
		       v->name);
}

/* -------------------------------------------------------------- demote -- */

/**
 * role_wait_quiet() - wait until no write is in flight
 * @v: not primary, or nobody has it open
 *
 * Context: control; may sleep.
 */
void role_wait_quiet(struct volume *v)
{
	spin_lock_irq(&v->io_lock);
	wait_event_lock_irq(v->quiet, !v->in_flight, v->io_lock);
	spin_unlock_irq(&v->io_lock);
}

/* Shuts the door, if nobody is inside; opening takes the same mutex. */
static bool close_door(struct volume *v, bool force)
{
	bool closed;

	mutex_lock(&v->disk->open_mutex);
	closed = force || !disk_openers(v->disk);
	if (closed) {
		spin_lock_irq(&v->io_lock);
		v->open_ok = false;
		spin_unlock_irq(&v->io_lock);
	}
	mutex_unlock(&v->disk->open_mutex);
	return closed;
}

static int wait_for_openers(struct volume *v, struct why *why)
{
	unsigned int ms;

	for (ms = 0; ms < OPENERS_WAIT_MS; ms += OPENERS_STEP_MS) {
		if (close_door(v, false))
			return 0;
		msleep(OPENERS_STEP_MS);
	}
	return why_set(why, -EBUSY, "%s is open (%u openers): unmount it, or end who uses it",
		       v->name, disk_openers(v->disk));
}

static void fail_io(struct volume *v)
{
	unsigned int i;

	spin_lock_irq(&v->io_lock);
	v->failing = true;
	v->zombie = true;
	spin_unlock_irq(&v->io_lock);
	request_fail_parked(v);
	for (i = 0; i < v->slots; i++)
		link_close(v, &v->slot[i], "this node was demoted by force");
	request_release_held(v);
	role_wait_quiet(v);
}

static int flush_everywhere(struct volume *v, struct why *why)
{
	int err = blkdev_issue_flush(v->data.bdev);

	if (err)
		return why_set(why, err, "%s: %pg cannot be flushed", v->name, v->data.bdev);
	/* A peer that is lost here has its unflushed regions marked. */
	call_peers(v, REPL_FRAME_FLUSH, NULL);
	return 0;
}

static bool maps_can_be_saved(const struct volume *v)
{
	unsigned int i, peers = 0;

	/* With a third node the next write that arrives over a link sets bits again. */
	for (i = 0; i < v->slots; i++) {
		peers += v->slot[i].kind == REPL_SLOT_PEER;
		if (v->slot[i].cut)
			return false;
	}
	return peers <= 1;
}

static int record_secondary(struct volume *v, struct why *why)
{
	struct repl_super *s;
	bool save = maps_can_be_saved(v);
	unsigned int i;
	int err;

	if (save) {
		err = meta_save_maps(v, why);
		if (err)
			return err;
	}
	s = meta_edit(v);
	s->flags &= ~cpu_to_le32(REPL_SB_PRIMARY);
	if (save) {
		s->flags |= cpu_to_le32(REPL_SB_CLEAN);
		for (i = 0; i < s->slots; i++)
			s->slot[i].flags &= ~cpu_to_le32(REPL_SS_FULL);
	}
	return meta_commit(v, why);
}

/**
 * role_demote() - become secondary
 * @v: primary or not
 * @force: fail the outstanding I/O and end all links, instead of waiting for openers
 * @why: filled in on error
 *
 * Context: control; may sleep.
 */
int role_demote(struct volume *v, bool force, struct why *why)
{
	int err;

	if (!v->primary)
		return 0;
	if (force) {
		close_door(v, true);
		fail_io(v);
	} else {
		err = wait_for_openers(v, why);
		if (err)
			return err;
		/* Nobody has it open, so nothing can be in flight for long. */
		role_wait_quiet(v);
		err = flush_everywhere(v, why);
		if (err)
			goto reopen;
	}
	spin_lock_irq(&v->io_lock);
	v->primary = false;
	gate_open(v, REPL_GATE_PEER_LOST);
	spin_unlock_irq(&v->io_lock);
	set_disk_ro(v->disk, true);
	err = record_secondary(v, why);
	netlink_event(v, REPL_EVENT_ROLE, -1, "secondary");
	return err;

reopen:
	spin_lock_irq(&v->io_lock);
	v->open_ok = true;
	spin_unlock_irq(&v->io_lock);
	return err;
}

/**
 * role_change() - REPL_CMD_ROLE
 * @op: control
 * @why: filled in on error
 */
int role_change(struct op *op, struct why *why)
{
	if (op->u.role.role == REPL_ROLE_PRIMARY)
		return promote(op->volume, op->u.role.flags, why);
	return role_demote(op->volume, op->u.role.flags & REPL_F_FORCE, why);
}
