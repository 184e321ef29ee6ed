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
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include "apply.h"
#include "detach.h"
#include "gate.h"
#include "link.h"
#include "log.h"
#include "meta.h"
#include "netlink.h"
#include "replace.h"
#include "request.h"
#include "role.h"
#include "share.h"
#include "slot.h"

enum role_limits {
	OPENERS_WAIT_MS	= 1000,	/* udev and its like look at a device and go */
	OPENERS_STEP_MS	= 20,
};

/* A frame to one live peer, and its end. */
struct peer_call {
	struct leg leg;
	struct completion ended;
	union {
		struct repl_frame_generation generation;
		struct repl_frame_settled settled;
	} body;
	u8 slot;
	enum leg_end end;
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

static void call_ended(struct leg *leg, enum leg_end end)
{
	struct peer_call *call = leg->owner;

	call->end = end;
	complete(&call->ended);
}

/*
 * One frame to each live peer; waits for all answers.  The timeouts of the links
 * bound the wait.  Return: how many were called; ->calls says how each ended.
 */
static unsigned int call_peers(struct volume *v, u8 type, const void *body, u32 bytes)
{
	unsigned int i, n = 0;

	spin_lock_irq(&v->io_lock);
	for (i = 0; i < v->slots; i++) {
		struct peer_call *call = &v->calls[n];

		if (!v->slot[i].link)
			continue;
		n++;
		memset(call, 0, sizeof(*call));
		init_completion(&call->ended);
		call->slot = i;
		call->leg.owner = call;
		call->leg.done = call_ended;
		call->leg.type = type;
		if (body) {
			memcpy(&call->body, body, bytes);
			call->leg.data = &call->body;
			call->leg.length = bytes;
		}
		link_queue(v->slot[i].link, &call->leg);
	}
	spin_unlock_irq(&v->io_lock);
	for (i = 0; i < n; i++)
		wait_for_completion(&v->calls[i].ended);
	return n;
}

static void push_generation(struct repl_super *s, const struct repl_id *generation)
{
	if (!id_is_zero(&s->generation)) {
		memmove(&s->history[1], &s->history[0], sizeof(s->history) - sizeof(s->history[0]));
		s->history[0] = s->generation;
	}
	s->generation = *generation;
}

/* What the peers said about a generation. */
struct answers {
	unsigned int calls, adopted, lost, refused;
};

/* A peer has been equal in the new generation only once it has said so. */
static int record_adopted(struct volume *v, struct answers *answers, struct why *why)
{
	struct repl_super *s = meta_edit(v);
	unsigned int i;

	for (i = 0; i < answers->calls; i++) {
		switch (v->calls[i].end) {
		case LEG_OK:
			s->slot[v->calls[i].slot].generation = s->generation;
			answers->adopted++;
			break;
		case LEG_LOST:
			answers->lost++;
			break;
		case LEG_REFUSED:
			answers->refused++;
			break;
		}
	}
	return answers->adopted ? meta_commit(v, why) : 0;
}

/*
 * Who was equal in the last generation follows this copy in the next one: a power cut
 * must not take back what this copy has.  With internal metadata the superblock's own
 * flush does it.
 */
static int commit_generation(struct volume *v, struct why *why)
{
	int err = v->meta.bdev && !v->diskless ? detach_flush(v) : 0;

	if (!err)
		return meta_commit(v, why);
	return why_set(why, err, "%s: %pg cannot be flushed", v->name, v->data.bdev);
}

/*
 * A new generation: durable here, then on every live peer.  @set and @clear are
 * superblock flags that change with it, @epochs is how many the epoch counts up.  @given:
 * which; zero: a random one.
 */
static int begin_generation(struct volume *v, const struct repl_id *given, u32 set, u32 clear,
			    u64 epochs, struct answers *answers, struct why *why)
{
	struct repl_frame_generation body = {
		.generation = *given, .previous = v->super.generation,
	};
	struct repl_super *s = meta_edit(v);
	int err;

	if (id_is_zero(given))
		get_random_bytes(&body.generation, sizeof(body.generation));
	le64_add_cpu(&s->epoch, epochs);
	body.epoch = s->epoch;
	if (id_is_zero(&s->uuid))
		get_random_bytes(&s->uuid, sizeof(s->uuid));
	/* One that could not be recorded the last time is not pushed before itself. */
	if (id_equal(&s->generation, &body.generation))
		body.previous = s->history[0];
	else
		push_generation(s, &body.generation);
	s->flags &= ~cpu_to_le32(clear);
	s->flags |= cpu_to_le32(set);
	err = commit_generation(v, why);
	if (err)
		return err;
	volume_count(v, REPL_C_GENERATIONS, 1);
	spin_lock_irq(&v->io_lock);
	log_untold(v);
	spin_unlock_irq(&v->io_lock);
	answers->calls = call_peers(v, REPL_FRAME_GENERATION, &body, sizeof(body));
	netlink_event(v, REPL_EVENT_GENERATION, -1, "a new generation has begun");
	return record_adopted(v, answers, why);
}

/* A link between two generations would mirror writes that the other side cannot place. */
static void end_refusing(struct volume *v, unsigned int calls)
{
	unsigned int i;

	spin_lock_irq(&v->io_lock);
	for (i = 0; i < calls; i++) {
		struct slot *slot = &v->slot[v->calls[i].slot];

		if (v->calls[i].end == LEG_REFUSED && slot->link)
			link_kill_locked(slot->link, "the peer has refused the new generation");
	}
	spin_unlock_irq(&v->io_lock);
}

/* ---------------------------------------------------- a peer was lost -- */

static const struct repl_id no_generation;

/* The volume fails: what waits for a generation that will never be has failed, too. */
static void fail_waiting(struct volume *v)
{
	request_fail_parked(v);
	request_release_held(v);
	netlink_event(v, REPL_EVENT_ERROR, -1, "all I/O fails from now on: %pg has failed",
		      v->data.bdev);
}

/*
 * Which reasons a new generation will end.  Takes a grant, if one is needed: it is good for
 * one generation.  To go on without the own disk needs none: the peers have everything; but
 * where an arbiter is asked, it must know before a write is missing in the copy here.
 */
static u32 losses_to_handle(struct volume *v, const struct repl_id *given, u64 *losses)
{
	u32 reasons = 0;

	spin_lock_irq(&v->io_lock);
	if (v->primary && !v->failing)
		reasons = v->gate & GATE_GENERATION;
	if (v->on_peer_loss == REPL_LOSS_ARBITER && id_is_zero(given))
		reasons = 0;
	else if (v->on_peer_loss != REPL_LOSS_CONTINUE && !v->resume_granted && v->lost_slots)
		reasons &= ~REPL_GATE_PEER_LOST;
	v->resume_granted = false;
	*losses = v->losses;
	spin_unlock_irq(&v->io_lock);
	return reasons;
}

/*
 * With an arbiter: whoever was lost is live again in this generation, and none of its writes
 * has completed without them, so it goes on, and nobody needs to be asked.
 */
static bool all_back(struct volume *v)
{
	bool back;

	spin_lock_irq(&v->io_lock);
	back = v->on_peer_loss == REPL_LOSS_ARBITER && v->primary && v->live && !v->lost_slots &&
	       (v->gate & GATE_GENERATION) == REPL_GATE_PEER_LOST;
	if (back)
		gate_recorded(v, v->losses, REPL_GATE_PEER_LOST);
	spin_unlock_irq(&v->io_lock);
	if (back)
		request_release_held(v);
	return back;
}

/*
 * A loss while the generation is being made keeps the gate shut: its own step follows.
 * @given: the generation; zero: a random one, or none where only given ones count.
 */
static void go_on(struct volume *v, const struct repl_id *given)
{
	struct answers answers = {};
	struct why why = {};
	u32 reasons;
	u64 losses;
	int err;

	if (READ_ONCE(v->failing)) {
		fail_waiting(v);
		return;
	}
	if (id_is_zero(given) && all_back(v))
		return;
	reasons = losses_to_handle(v, given, &losses);
	if (!reasons) {
		if (READ_ONCE(v->gate) & REPL_GATE_PEER_LOST)
			netlink_event(v, REPL_EVENT_GATE, -1, "writes are frozen, or it is not primary");
		return;
	}
	err = begin_generation(v, given, 0, REPL_SB_BY_PEER_DEAD | REPL_SB_BY_FORCE, 0, &answers,
			       &why);
	/* Who has refused is live no more; its loss is handled by a step of its own. */
	if (!err)
		end_refusing(v, answers.calls);
	spin_lock_irq(&v->io_lock);
	/* When it could not be recorded here, but a peer is live, a step of its own follows. */
	if (err && !v->diskless)
		v->failing = true;
	if (v->failing || (!err && v->losses == losses))
		gate_recorded(v, losses, reasons);
	spin_unlock_irq(&v->io_lock);
	if (err && READ_ONCE(v->failing))
		netlink_event(v, REPL_EVENT_ERROR, -1, "I/O fails from now on: %s", why.text);
	request_release_held(v);
}

/**
 * role_lost_work() - go on without a lost peer, if the policy allows, or without the disk
 * @work: volume->lost, on volume->ops
 *
 * What a failed disk is told comes last: it may take minutes to refuse that, and writes wait
 * for the generation, which makes the copy there lose against any peer that is met.
 */
void role_lost_work(struct work_struct *work)
{
	struct volume *v = container_of(work, struct volume, lost);
	unsigned int noio = memalloc_noio_save();

	go_on(v, &no_generation);
	detach_record(v);
	memalloc_noio_restore(noio);
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
 * role_go_on() - make the new generation and go on without lost peers, whatever the policy
 * @v: frozen for a lost peer
 * @given: the generation; zero: a random one, but not with REPL_LOSS_ARBITER
 * @why: filled in on error
 *
 * Context: control; may sleep.
 */
int role_go_on(struct volume *v, const struct repl_id *given, struct why *why)
{
	spin_lock_irq(&v->io_lock);
	v->resume_granted = true;
	spin_unlock_irq(&v->io_lock);
	go_on(v, given);
	detach_record(v);
	if (READ_ONCE(v->failing))
		return why_set(why, -EIO, "%s: a device here has failed, all I/O fails: demote it by force",
			       v->name);
	return 0;
}

/**
 * role_resume() - REPL_CMD_THAW of REPL_GATE_PEER_LOST
 * @op: control
 * @why: filled in on error
 */
int role_resume(struct op *op, struct why *why)
{
	const struct repl_id *given = &op->u.role.generation;
	struct volume *v = op->volume;
	u32 mine = REPL_GATE_PEER_LOST;
	int err;

	if (v->on_peer_loss == REPL_LOSS_ARBITER) {
		mine = GATE_GENERATION;
		if (id_is_zero(given))
			return why_set(why, -EPERM, "%s has an arbiter: without its grant the I/O that waits can only fail, by a forced demotion",
				       v->name);
	}
	if (!(READ_ONCE(v->gate) & mine))
		return why_set(why, -ENOENT, "%s is not frozen for a lost peer", v->name);
	err = role_go_on(v, given, why);
	if (!err && (READ_ONCE(v->gate) & mine))
		return why_set(why, -EAGAIN, "%s: another peer was lost meanwhile: look at status, and resume again",
			       v->name);
	return err;
}

/* -------------------------------------------------------------- epochs -- */

static int check_frozen(struct volume *v, u64 *losses, struct why *why)
{
	int err = 0;

	spin_lock_irq(&v->io_lock);
	*losses = v->losses;
	if (!v->primary)
		err = why_set(why, -EINVAL, "%s is not primary: no epoch ends here", v->name);
	else if (v->failing || v->diskless)
		err = why_set(why, -EIO, "%s: its disk has failed", v->name);
	else if (!(v->gate & REPL_GATE_JOIN) || !list_empty(&v->writes))
		err = why_set(why, -EAGAIN,
			      "%s: writes go on: freeze it for the join, and wait for the ticket", v->name);
	else if (v->gate & GATE_GENERATION)
		err = why_set(why, -EAGAIN, "%s: its next generation waits for the lost peer", v->name);
	else if (v->on_peer_loss == REPL_LOSS_ARBITER)
		err = why_set(why, -EPERM,
			      "%s has an arbiter: no generation begins that was not granted", v->name);
	spin_unlock_irq(&v->io_lock);
	return err;
}

/**
 * role_epoch() - REPL_CMD_EPOCH
 * @op: control
 * @why: filled in on error
 *
 * The freeze may reach its deadline while the generation is being made.  Then a write may
 * have been complete in the old one that no cut of this freeze has, so the caller learns it.
 * Only the caller freezes for the join, so a gate that is still shut has not been open.
 *
 * Nor does it hold when a live peer is lost: a write in the cut may have been on its way to it,
 * whose copy is one of the same generation then, and lacks it.
 */
int role_epoch(struct op *op, struct why *why)
{
	struct volume *v = op->volume;
	struct answers answers = {};
	u64 losses;
	bool shut, lost;
	int err = check_frozen(v, &losses, why);

	if (!err)
		err = begin_generation(v, &no_generation, 0, REPL_SB_BY_PEER_DEAD | REPL_SB_BY_FORCE, 1,
				       &answers, why);
	if (err)
		return err;
	end_refusing(v, answers.calls);
	spin_lock_irq(&v->io_lock);
	shut = v->primary && (v->gate & REPL_GATE_JOIN);
	lost = v->losses != losses;
	spin_unlock_irq(&v->io_lock);
	return lost ? why_set(why, -ECONNABORTED, "%s: a live peer was lost meanwhile", v->name) :
	       shut ? 0 : why_set(why, -ETIMEDOUT, "%s: the freeze has ended meanwhile", v->name);
}

/* --------------------------------------------- a peer's new generation -- */

static struct apply *take_generation(struct op *op, struct volume *v)
{
	struct slot *slot = &v->slot[op->u.adopt.slot];
	struct apply *apply = NULL;

	spin_lock_irq(&v->io_lock);
	if (slot->link && slot->link->cookie == op->u.adopt.cookie)
		apply = apply_take_generation(slot->link);
	spin_unlock_irq(&v->io_lock);
	return apply;
}

/* A third node is not told: what it has is of the generation before. */
static void end_others(struct volume *v, u8 slot)
{
	unsigned int i;

	spin_lock_irq(&v->io_lock);
	for (i = 0; i < v->slots; i++)
		if (i != slot && v->slot[i].link)
			link_kill_locked(v->slot[i].link, "another node has begun a generation");
	spin_unlock_irq(&v->io_lock);
}

static u8 record_generation(struct volume *v, const struct repl_frame_generation *new, u8 slot,
			    struct why *why)
{
	struct repl_super *s;

	/* An id of zero means "none yet": nothing could ever be equal in it. */
	if (v->primary || id_is_zero(&new->generation) ||
	    !id_equal(&v->super.generation, &new->previous))
		return REPL_STATUS_REFUSED;
	end_others(v, slot);
	s = meta_edit(v);
	push_generation(s, &new->generation);
	s->epoch = new->epoch;
	s->flags &= ~cpu_to_le32(REPL_SB_BY_PEER_DEAD | REPL_SB_BY_FORCE | REPL_SB_PRIMARY);
	s->slot[slot].generation = s->generation;
	return commit_generation(v, why) ? REPL_STATUS_IO : REPL_STATUS_OK;
}

/*
 * While an apply is in hand here the link's teardown waits for this step, and so
 * this step waits for nothing of the link.  Before it runs, the link has the apply:
 * a step ahead in the queue may well be waiting for that teardown.
 */
static int adopt_generation(struct op *op, struct why *why)
{
	struct apply *apply = take_generation(op, op->volume);

	if (apply)
		apply_answer(apply, record_generation(op->volume, &apply->generation,
						      op->u.adopt.slot, why));
	return 0;
}

/**
 * role_adopt_generation() - the peer begins a new generation
 * @apply: complete
 *
 * Context: the receiver.  Answered when it is durable here.
 */
void role_adopt_generation(struct apply *apply)
{
	struct link *link = apply->link;
	struct volume *v = link->volume;
	struct op *op = NULL;
	bool mine, second;

	spin_lock_irq(&v->io_lock);
	mine = v->primary || v->promoting;
	spin_unlock_irq(&v->io_lock);
	if (!mine)
		op = op_create(v, adopt_generation, GFP_NOIO);
	if (!op) {
		apply_answer(apply, mine ? REPL_STATUS_REFUSED : REPL_STATUS_IO);
		return;
	}
	op->u.adopt.slot = link->slot->index;
	op->u.adopt.cookie = link->cookie;
	spin_lock_irq(&link->lock);
	second = link->generation;
	if (!second)
		link->generation = apply;
	spin_unlock_irq(&link->lock);
	if (!second) {
		op_queue(op);
		return;
	}
	op_discard(op);
	apply_free(apply);
	link_kill(link, "the peer has sent a generation before the last one was answered");
}

/* ------------------------------------------------------------- promote -- */

static int check_promotion(struct volume *v, u32 flags, const struct repl_id *given,
			   struct why *why)
{
	u32 sb = le32_to_cpu(v->super.flags);

	/* What has never held anything is no generation that somebody could go on from. */
	if (v->on_peer_loss == REPL_LOSS_ARBITER && id_is_zero(given) && (sb & REPL_SB_IDENTITY))
		return why_set(why, -EPERM, "%s has an arbiter: it becomes primary only in a generation that the arbiter has granted",
			       v->name);
	if (v->diskless)
		return detach_refuse(v, why);
	if (v->zombie && disk_openers(v->disk))
		return why_set(why, -EBUSY,
			       "%s: somebody still has it open since its forced demotion: end that first",
			       v->name);
	if ((!(sb & REPL_SB_CONSISTENT) || READ_ONCE(v->hole)) && !(flags & REPL_F_FORCE))
		return why_set(why, -ENODATA,
			       "%s: this copy is not consistent: let it catch up, or use --force",
			       v->name);
	if ((flags & REPL_F_ALONE) && v->live)
		return why_set(why, -EISCONN, "%s has a live link: its peer is not dead", v->name);
	return 0;
}

static void promotion_flags(struct volume *v, u32 flags, bool granted, u32 *set, u32 *clear)
{
	bool first = !(le32_to_cpu(v->super.flags) & REPL_SB_IDENTITY);

	*set = REPL_SB_PRIMARY | REPL_SB_CONSISTENT | REPL_SB_IDENTITY;
	*clear = REPL_SB_BY_PEER_DEAD | REPL_SB_BY_FORCE;
	/* What has never held anything loses nothing by force. */
	if ((flags & REPL_F_FORCE) && !first)
		*set |= REPL_SB_BY_FORCE;
	if (flags & REPL_F_PEER_DEAD)
		*set |= REPL_SB_BY_PEER_DEAD;
	/* Without a peer, past or present, there is nobody who could know more. */
	if (granted || (flags & (REPL_F_FORCE | REPL_F_PEER_DEAD)) || !slot_any_peer(&v->super))
		*clear |= REPL_SB_UNPROVEN | REPL_SB_CRASHED;
}

/* The last step: meanwhile a link may have died, or brought a write, or the disk has failed. */
static bool become_primary(struct volume *v, u8 live, bool force)
{
	bool done;

	/* Whoever sees that it is primary may mount it, and must not get it read-only. */
	set_disk_ro(v->disk, false);
	mutex_lock(&v->disk->open_mutex);
	spin_lock_irq(&v->io_lock);
	done = v->live == live && v->promoting && (!v->hole || force);
	v->promoting = false;
	if (done) {
		v->primary = true;
		v->open_ok = true;
		v->zombie = false;
		v->failing = false;
		v->hole = false;
		v->resume_granted = false;
		v->lost_slots = 0;
		v->recorded = v->losses;
		share_end(v);
		log_begin(v);
	}
	spin_unlock_irq(&v->io_lock);
	mutex_unlock(&v->disk->open_mutex);
	if (!done)
		set_disk_ro(v->disk, true);
	return done;
}

/*
 * A generation that everybody has refused has never been.  One that somebody has, or may
 * have, stays: whoever has it is equal to this copy then, and whoever lacks it follows.
 */
static void take_back(struct volume *v, const struct repl_super *before,
		      const struct answers *answers, struct why *why)
{
	struct repl_super *s = meta_edit(v);

	if (!answers->adopted && !answers->lost)
		*s = *before;
	else
		end_refusing(v, answers->calls);
	s->flags &= ~cpu_to_le32(REPL_SB_PRIMARY);
	if (READ_ONCE(v->hole))
		s->flags &= ~cpu_to_le32(REPL_SB_CONSISTENT);
	/* Harmless when it fails: this copy then claims to have stopped as primary, uncleanly. */
	meta_commit(v, why);
}

static int begin_term(struct volume *v, u32 flags, const struct repl_id *given, u8 live,
		      struct why *why)
{
	struct repl_super *before = kmemdup(&v->super, sizeof(v->super), GFP_KERNEL);
	struct answers answers = {};
	u32 set, clear;
	int err;

	if (!before)
		return why_set(why, -ENOMEM, "%s: no memory to promote it", v->name);
	promotion_flags(v, flags, !id_is_zero(given), &set, &clear);
	err = begin_generation(v, given, set, clear, 0, &answers, why);
	if (err || answers.lost || answers.refused ||
	    !become_primary(v, live, flags & REPL_F_FORCE)) {
		take_back(v, before, &answers, why);
		err = err ?: why_set(why, -ECONNABORTED,
				     "%s: a peer was lost, or refused, while it was told, or the disk here has failed: look at status, and try again",
				     v->name);
	}
	kfree(before);
	return err;
}

static int promote(struct volume *v, u32 flags, const struct repl_id *given, struct why *why)
{
	u8 live;
	int err;

	if (v->primary && READ_ONCE(v->failing))
		return why_set(why, -EIO, "%s: a device here has failed, all I/O fails: demote it by force",
			       v->name);
	if (v->primary)
		return 0;
	err = check_promotion(v, flags, given, why);
	if (err)
		return err;
	spin_lock_irq(&v->io_lock);
	/* Nothing that an earlier link brought may still be on its way to the disk. */
	wait_event_lock_irq(v->quiet, !slot_any_closing(v), v->io_lock);
	v->promoting = true;
	live = v->live;
	spin_unlock_irq(&v->io_lock);
	err = begin_term(v, flags, given, live, why);
	if (err) {
		spin_lock_irq(&v->io_lock);
		v->promoting = false;
		spin_unlock_irq(&v->io_lock);
		return err;
	}
	netlink_event(v, REPL_EVENT_ROLE, -1, "primary");
	return 0;
}

/* -------------------------------------------------------------- demote -- */

/**
 * role_wait_quiet() - wait until no write is in flight, nor a read from a peer
 * @v: not primary, or nobody has it open; a new disk is not filled to the end then
 *
 * Context: control; may sleep.
 */
void role_wait_quiet(struct volume *v)
{
	replace_end(v);
	spin_lock_irq(&v->io_lock);
	wait_event_lock_irq(v->quiet, !v->in_flight && !v->reading, v->io_lock);
	spin_unlock_irq(&v->io_lock);
}

static void set_door(struct volume *v, bool open)
{
	spin_lock_irq(&v->io_lock);
	v->open_ok = open;
	spin_unlock_irq(&v->io_lock);
}

/*
 * Shuts the door, if nobody is inside; opening takes the same mutex.  A last close
 * holds it while it writes its pages out, which may take a gate to open, which takes
 * control to run: so it is never waited for here.
 */
static bool close_door(struct volume *v)
{
	bool closed = false;

	if (!mutex_trylock(&v->disk->open_mutex))
		return false;
	if (!disk_openers(v->disk)) {
		set_door(v, false);
		closed = true;
	}
	mutex_unlock(&v->disk->open_mutex);
	return closed;
}

static int wait_for_openers(struct volume *v, struct why *why)
{
	unsigned int ms;

	for (ms = 0; ms < OPENERS_WAIT_MS; ms += OPENERS_STEP_MS) {
		if (close_door(v))
			return 0;
		msleep(OPENERS_STEP_MS);
	}
	return why_set(why, -EBUSY, "%s is open (%u openers): unmount it, or end who uses it",
		       v->name, disk_openers(v->disk));
}

/* An opener that has passed the door at this moment is a zombie like those before. */
static void fail_io(struct volume *v)
{
	unsigned int i;

	spin_lock_irq(&v->io_lock);
	v->open_ok = false;
	v->failing = true;
	v->zombie = true;
	spin_unlock_irq(&v->io_lock);
	request_fail_parked(v);
	for (i = 0; i < v->slots; i++)
		link_close(v, &v->slot[i], "this node was demoted by force");
	request_release_held(v);
	role_wait_quiet(v);
}

/**
 * role_flush_live() - flush here and, for a primary, on every live peer
 * @v: the volume
 * @why: filled in on error
 *
 * Context: control; may sleep.
 * Return: 0 when all have; what was answered before is on stable media everywhere then.
 */
int role_flush_live(struct volume *v, struct why *why)
{
	int err = detach_flush(v);
	unsigned int i, calls = 0;

	if (err)
		return why_set(why, err, "%s: %pg cannot be flushed", v->name, v->data.bdev);
	if (v->primary)
		calls = call_peers(v, REPL_FRAME_FLUSH, NULL, 0);
	for (i = 0; i < calls; i++)
		if (v->calls[i].end != LEG_OK)
			return why_set(why, -EIO, "%s: a peer was lost", v->name);
	return 0;
}

/**
 * role_tell_settled() - tell each live peer what the others have
 * @v: primary
 * @name: whether those that are live hold what came before the last time
 *
 * Context: control; waits for their answers.
 * Return: whether all have answered: none of them has received anything before it that was
 * written after this returns.
 */
bool role_tell_settled(struct volume *v, bool name)
{
	struct repl_frame_settled body = { .generation = v->super.generation };
	unsigned int i, calls, n = 0;
	bool all = true;

	spin_lock_irq(&v->io_lock);
	for (i = 0; name && i < v->slots && n < REPL_MAX_SETTLED; i++)
		if (v->slot[i].link)
			body.copy[n++] = v->super.slot[i].copy_id;
	spin_unlock_irq(&v->io_lock);
	calls = call_peers(v, REPL_FRAME_SETTLED, &body, sizeof(body));
	for (i = 0; i < calls; i++)
		all &= v->calls[i].end == LEG_OK;
	return all;
}

static int flush_everywhere(struct volume *v, struct why *why)
{
	int err = v->diskless ? 0 : detach_flush(v);
	unsigned int i, calls;

	/* A peer that is lost here has its unflushed regions marked. */
	calls = call_peers(v, REPL_FRAME_FLUSH, NULL, 0);
	if (!err && !v->diskless)
		return 0;
	for (i = 0; v->diskless && i < calls; i++)
		if (v->calls[i].end == LEG_OK)
			return 0;
	return why_set(why, err ?: -EIO, "%s: %pg cannot be flushed, and no live peer has been", v->name,
		       v->data.bdev);
}

static int record_secondary(struct volume *v, struct why *why)
{
	int err = v->broken ? 0 : meta_save_maps(v, why);

	if (err)
		return err;
	meta_edit(v)->flags &= ~cpu_to_le32(REPL_SB_PRIMARY);
	if (!v->broken)
		meta_maps_count(v->next);
	err = meta_commit(v, why);
	/* What a broken device has lost is in the log, as far as anybody knows. */
	return err || v->broken ? err : log_reset(v, why);
}

/*
 * An earlier demotion, or a promotion that failed, could not be recorded.  The log and
 * what is FULL still cover everything, and stay as they are.
 */
static int record_missed(struct volume *v, struct why *why)
{
	if (!(le32_to_cpu(v->super.flags) & REPL_SB_PRIMARY))
		return 0;
	meta_edit(v)->flags &= ~cpu_to_le32(REPL_SB_PRIMARY);
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
		return record_missed(v, why);
	if (force) {
		fail_io(v);
	} else {
		err = wait_for_openers(v, why);
		if (err)
			return err;
		/* Nobody has it open, so nothing can be in flight for long. */
		role_wait_quiet(v);
		err = flush_everywhere(v, why);
		if (err) {
			set_door(v, true);
			return err;
		}
	}
	spin_lock_irq(&v->io_lock);
	/* A link that has just died sets its bits first: they are about to be saved. */
	wait_event_lock_irq(v->quiet, !slot_any_closing(v), v->io_lock);
	v->primary = false;
	v->failing = false;
	v->resume_granted = false;
	v->lost_slots = 0;
	log_end(v);
	gate_open(v, GATE_GENERATION);
	spin_unlock_irq(&v->io_lock);
	request_fail_parked(v);
	set_disk_ro(v->disk, true);
	err = record_secondary(v, why);
	netlink_event(v, REPL_EVENT_ROLE, -1, "secondary");
	/* What the disk says then is an unclean stop as primary, which is the truth. */
	if (err && force) {
		netlink_event(v, REPL_EVENT_ERROR, -1, "the demotion is not recorded: %s", why->text);
		err = 0;
	}
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
		return promote(op->volume, op->u.role.flags, &op->u.role.generation, why);
	return role_demote(op->volume, op->u.role.flags & REPL_F_FORCE, why);
}
