// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every figure is taken under the lock that guards it, but the message as a whole
 * is no snapshot: a write may begin between two attributes.
 */
#include <linux/ktime.h>
#include "compat.h"
#include "link.h"
#include "replace.h"
#include "shape.h"
#include "slot.h"
#include "status.h"

static u64 ms_since(u64 ns)
{
	return div_u64(ktime_get_ns() - ns, NSEC_PER_MSEC);
}

/* What is copied out of a slot under io_lock. */
struct slot_view {
	u8 kind, cut, link;
	u64 dirty, cookie, in_flight, unflushed, sent, received, age_ms;
	char reason[REPL_TEXT_BYTES];
};

static void view_slot(struct volume *v, struct slot *slot, struct slot_view *view)
{
	struct link *link;

	memset(view, 0, sizeof(*view));
	spin_lock_irq(&v->io_lock);
	link = slot->link ?: slot->closing;
	view->kind = slot->kind;
	view->cut = slot->cut != NULL;
	view->dirty = slot_dirty(slot);
	view->link = slot->link ? REPL_LINK_LIVE : slot->closing ? REPL_LINK_CLOSING : REPL_LINK_NONE;
	view->age_ms = ms_since(slot->since);
	strscpy(view->reason, slot->reason, sizeof(view->reason));
	if (link) {
		spin_lock(&link->lock);
		view->cookie = link->cookie;
		view->in_flight = link->in_flight_bytes;
		view->unflushed = (link->unflushed[0].set + link->unflushed[1].set) <<
				  v->region_shift;
		view->sent = link->sent_bytes;
		view->received = READ_ONCE(link->received_bytes);
		spin_unlock(&link->lock);
	}
	spin_unlock_irq(&v->io_lock);
}

static int put_slot(struct sk_buff *msg, struct volume *v, unsigned int index,
		    const struct repl_super_slot *record)
{
	struct slot_view view;
	struct nlattr *nest;

	view_slot(v, &v->slot[index], &view);
	if (!view.kind)
		return 0;
	nest = nla_nest_start(msg, REPL_A_SLOT_INFO);
	if (!nest)
		return -EMSGSIZE;
	if (nla_put_u8(msg, REPL_S_INDEX, index) ||
	    nla_put_u8(msg, REPL_S_KIND, view.kind) ||
	    nla_put(msg, REPL_S_KEY, REPL_KEY_BYTES, record->key) ||
	    nla_put(msg, REPL_S_COPY_ID, sizeof(record->copy_id), &record->copy_id) ||
	    nla_put_u32(msg, REPL_S_FLAGS, le32_to_cpu(record->flags)) ||
	    nla_put(msg, REPL_S_GENERATION, sizeof(record->generation), &record->generation) ||
	    nla_put_u64_64bit(msg, REPL_S_EPOCH, le64_to_cpu(record->epoch), REPL_S_PAD) ||
	    nla_put_u64_64bit(msg, REPL_S_DIRTY_BLOCKS, view.dirty, REPL_S_PAD) ||
	    nla_put_u8(msg, REPL_S_CUT, view.cut) ||
	    nla_put_u8(msg, REPL_S_LINK, view.link) ||
	    nla_put_u64_64bit(msg, REPL_S_COOKIE, view.cookie, REPL_S_PAD) ||
	    nla_put_u64_64bit(msg, REPL_S_IN_FLIGHT_BYTES, view.in_flight, REPL_S_PAD) ||
	    nla_put_u64_64bit(msg, REPL_S_UNFLUSHED_BYTES, view.unflushed, REPL_S_PAD) ||
	    nla_put_u64_64bit(msg, REPL_S_SENT_BYTES, view.sent, REPL_S_PAD) ||
	    nla_put_u64_64bit(msg, REPL_S_RECEIVED_BYTES, view.received, REPL_S_PAD) ||
	    nla_put_u64_64bit(msg, REPL_S_LINK_AGE_MS, view.age_ms, REPL_S_PAD) ||
	    (view.reason[0] && nla_put_string(msg, REPL_S_REASON, view.reason)))
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}

static int put_counters(struct sk_buff *msg, struct volume *v)
{
	struct nlattr *nest = nla_nest_start(msg, REPL_A_COUNTERS);
	unsigned int what;

	if (!nest)
		return -EMSGSIZE;
	for (what = REPL_C_PAD + 1; what <= REPL_C_MAX; what++) {
		u64 sum = 0;
		int cpu;

		for_each_possible_cpu(cpu)
			sum += per_cpu_ptr(v->stats, cpu)->c[what];
		if (what == REPL_C_HOLD_MAX_MS)
			sum = READ_ONCE(v->hold_max_ms);
		if (nla_put_u64_64bit(msg, what, sum, REPL_C_PAD))
			return -EMSGSIZE;
	}
	nla_nest_end(msg, nest);
	return 0;
}

static int put_state(struct sk_buff *msg, struct volume *v)
{
	u64 since, replaced, replace_since;
	u32 gate, flags = 0;
	u8 role;

	spin_lock_irq(&v->io_lock);
	role = v->primary ? REPL_ROLE_PRIMARY : REPL_ROLE_SECONDARY;
	gate = v->gate;
	since = v->gate_since;
	if (v->zombie && disk_openers(v->disk))
		flags |= REPL_VF_ZOMBIE;
	if (v->broken)
		flags |= REPL_VF_FAILED;
	if (v->failing)
		flags |= REPL_VF_FAILING;
	if (v->diskless)
		flags |= REPL_VF_DISKLESS;
	if (replace_view(v, &replaced, &replace_since))
		flags |= REPL_VF_REPLACING;
	spin_unlock_irq(&v->io_lock);
	if (!compat_flushes(v->disk))
		flags |= REPL_VF_NO_FLUSH;
	if (!compat_stable(v->disk))
		flags |= REPL_VF_NO_STABLE;
	if (nla_put_u8(msg, REPL_A_ROLE, role) ||
	    nla_put_u32(msg, REPL_A_GATE, gate) ||
	    nla_put_u64_64bit(msg, REPL_A_GATE_AGE_MS, gate ? ms_since(since) : 0, REPL_A_PAD) ||
	    nla_put_u32(msg, REPL_A_OPENERS, disk_openers(v->disk)) ||
	    nla_put_u32(msg, REPL_A_VOLUME_FLAGS, flags) ||
	    nla_put_u8(msg, REPL_A_ON_PEER_LOSS, v->on_peer_loss))
		return -EMSGSIZE;
	if ((flags & REPL_VF_REPLACING) &&
	    (nla_put_u64_64bit(msg, REPL_A_REPLACED, replaced, REPL_A_PAD) ||
	     nla_put_u64_64bit(msg, REPL_A_REPLACE_MS, ms_since(replace_since), REPL_A_PAD)))
		return -EMSGSIZE;
	return 0;
}

/* Under super_lock. */
static int put_super(struct sk_buff *msg, struct volume *v)
{
	const struct repl_super *s = &v->super;
	u64 end = le64_to_cpu(s->meta_offset) + le64_to_cpu(s->meta_size);
	u64 room = shape_room(s, bdev_nr_bytes(v->data.bdev), bdev_nr_bytes(volume_meta(v)->bdev));
	unsigned int i;

	lockdep_assert_held(&v->super_lock);
	if (nla_put(msg, REPL_A_UUID, sizeof(s->uuid), &s->uuid) ||
	    nla_put(msg, REPL_A_COPY_ID, sizeof(s->copy_id), &s->copy_id) ||
	    nla_put(msg, REPL_A_GENERATION, sizeof(s->generation), &s->generation) ||
	    nla_put(msg, REPL_A_HISTORY, sizeof(s->history), s->history) ||
	    nla_put_u64_64bit(msg, REPL_A_EPOCH, le64_to_cpu(s->epoch), REPL_A_PAD) ||
	    nla_put_u32(msg, REPL_A_SB_FLAGS, le32_to_cpu(s->flags)) ||
	    nla_put_u64_64bit(msg, REPL_A_STAGED, le64_to_cpu(s->staged), REPL_A_PAD) ||
	    nla_put_u64_64bit(msg, REPL_A_META_END, end, REPL_A_PAD) ||
	    nla_put_u64_64bit(msg, REPL_A_ROOM, room, REPL_A_PAD))
		return -EMSGSIZE;
	for (i = 0; i < v->slots; i++)
		if (put_slot(msg, v, i, &s->slot[i]))
			return -EMSGSIZE;
	return 0;
}

static int put_volume(struct sk_buff *msg, struct volume *v)
{
	char backing[BDEVNAME_SIZE];

	lockdep_assert_held(&v->super_lock);
	snprintf(backing, sizeof(backing), "%pg", v->data.bdev);
	if (nla_put_u32(msg, REPL_A_MINOR, v->minor) ||
	    nla_put_string(msg, REPL_A_NAME, v->name) ||
	    nla_put_u64_64bit(msg, REPL_A_SIZE, v->size, REPL_A_PAD) ||
	    nla_put_u8(msg, REPL_A_LBS_SHIFT, v->lbs_shift) ||
	    nla_put_u8(msg, REPL_A_REGION_SHIFT, v->region_shift) ||
	    nla_put_u8(msg, REPL_A_SLOTS, v->slots) ||
	    nla_put_string(msg, REPL_A_BACKING, backing) ||
	    put_state(msg, v) || put_counters(msg, v))
		return -EMSGSIZE;
	return put_super(msg, v);
}

/**
 * status_put() - append one volume as a GET answer
 * @msg: to append to
 * @family: ours
 * @portid: of the one who asked
 * @seq: of the question
 * @flags: NLM_F_*
 * @v: a volume that was up when the caller found it
 *
 * Context: may sleep.
 * Return: 0, or with nothing appended -EMSGSIZE, or -ENODEV when it has gone down.
 */
int status_put(struct sk_buff *msg, const struct genl_family *family, u32 portid, u32 seq,
	       int flags, struct volume *v)
{
	void *head = genlmsg_put(msg, portid, seq, family, flags, REPL_CMD_GET);
	int err;

	if (!head)
		return -EMSGSIZE;
	/* Taking the volume down needs this lock to take its disk and devices away. */
	mutex_lock(&v->super_lock);
	err = v->disk ? put_volume(msg, v) : -ENODEV;
	mutex_unlock(&v->super_lock);
	if (err)
		genlmsg_cancel(msg, head);
	else
		genlmsg_end(msg, head);
	return err;
}

/**
 * status_event() - make an event message
 * @family: ours
 * @v: the volume
 * @event: what has happened
 * @slot: whose, or negative
 * @text: in words
 *
 * Writes may be waiting for what comes after an event, so it waits for no memory.
 *
 * Return: the message, or NULL: events may be lost.
 */
struct sk_buff *status_event(const struct genl_family *family, struct volume *v,
			     enum repl_event event, int slot, const char *text)
{
	struct sk_buff *msg = genlmsg_new(NLMSG_GOODSIZE, GFP_NOWAIT | __GFP_NOWARN);
	void *head;

	if (!msg)
		return NULL;
	head = genlmsg_put(msg, 0, 0, family, 0, REPL_CMD_EVENT);
	if (!head || nla_put_u32(msg, REPL_A_MINOR, v->minor) ||
	    nla_put_u32(msg, REPL_A_EVENT, event) ||
	    (slot >= 0 && nla_put_u8(msg, REPL_A_SLOT, slot)) ||
	    nla_put_string(msg, REPL_A_TEXT, text)) {
		nlmsg_free(msg);
		return NULL;
	}
	genlmsg_end(msg, head);
	return msg;
}
