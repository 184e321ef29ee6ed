// SPDX-License-Identifier: GPL-2.0-only
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fdtable.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/sock.h>
#include "compat.h"
#include "cut.h"
#include "gate.h"
#include "link.h"
#include "meta.h"
#include "netlink.h"
#include "replace.h"
#include "resize.h"
#include "role.h"
#include "slot.h"
#include "status.h"

static struct genl_family family;

static struct netlink_range_validation deadline_range = {
	.min = 1, .max = REPL_DEADLINE_MAX_MS,
};

static struct netlink_range_validation hold_range = {
	.min = 1, .max = REPL_HOLD_MAX_MS,
};

static struct netlink_range_validation timeout_range = {
	.min = REPL_TIMEOUT_MIN_MS, .max = REPL_TIMEOUT_MAX_MS,
};

static const struct nla_policy policy[REPL_A_MAX + 1] = {
	[REPL_A_MINOR]		= NLA_POLICY_MAX(NLA_U32, REPL_MINORS_MAX - 1),
	[REPL_A_NAME]		= { .type = NLA_NUL_STRING, .len = REPL_NAME_MAX - 1 },
	[REPL_A_UUID]		= NLA_POLICY_EXACT_LEN(REPL_UUID_BYTES),
	[REPL_A_COPY_ID]	= NLA_POLICY_EXACT_LEN(REPL_UUID_BYTES),
	[REPL_A_ROLE]		= NLA_POLICY_RANGE(NLA_U8, REPL_ROLE_SECONDARY, REPL_ROLE_PRIMARY),
	[REPL_A_GENERATION]	= NLA_POLICY_EXACT_LEN(REPL_UUID_BYTES),
	[REPL_A_EPOCH]		= { .type = NLA_U64 },
	[REPL_A_HISTORY]	= { .type = NLA_BINARY, .len = REPL_HISTORY * REPL_UUID_BYTES },
	[REPL_A_GATE]		= NLA_POLICY_MASK(NLA_U32, REPL_GATE_USER | REPL_GATE_PEER_LOST),
	[REPL_A_META_END]	= { .type = NLA_U64 },
	[REPL_A_SIZE]		= { .type = NLA_U64 },
	[REPL_A_RATE]		= { .type = NLA_U64 },
	[REPL_A_ON_PEER_LOSS]	= NLA_POLICY_MAX(NLA_U8, REPL_LOSS_ARBITER),
	[REPL_A_FLAGS]		= NLA_POLICY_MASK(NLA_U32, REPL_F_ALL),
	[REPL_A_DATA_FD]	= { .type = NLA_S32 },
	[REPL_A_META_FD]	= { .type = NLA_S32 },
	[REPL_A_KEY]		= NLA_POLICY_EXACT_LEN(REPL_KEY_BYTES),
	[REPL_A_DEADLINE_MS]	= NLA_POLICY_FULL_RANGE(NLA_U32, &deadline_range),
	[REPL_A_SLOT]		= NLA_POLICY_MAX(NLA_U8, REPL_SLOTS_MAX - 1),
	[REPL_A_SLOT_MASK]	= NLA_POLICY_MASK(NLA_U32, (1u << REPL_SLOTS_MAX) - 1),
	[REPL_A_KIND]		= NLA_POLICY_MAX(NLA_U8, REPL_SLOT_MARK),
	[REPL_A_EXTENTS]	= { .type = NLA_BINARY,
				    .len = REPL_EXTENTS_MAX * sizeof(struct repl_extent) },
	[REPL_A_CUT_FLAGS]	= NLA_POLICY_MASK(NLA_U32, REPL_CUT_ALL),
	[REPL_A_SOCK_FD]	= { .type = NLA_S32 },
	[REPL_A_COOKIE]		= { .type = NLA_U64 },
	[REPL_A_LINK_FLAGS]	= NLA_POLICY_MASK(NLA_U32, REPL_LINK_ALL),
	[REPL_A_TIMEOUT_MS]	= NLA_POLICY_FULL_RANGE(NLA_U32, &timeout_range),
	[REPL_A_STUCK_MS]	= NLA_POLICY_FULL_RANGE(NLA_U32, &timeout_range),
	[REPL_A_HOLD_MS]	= NLA_POLICY_FULL_RANGE(NLA_U32, &hold_range),
	[REPL_A_STAGED]		= { .type = NLA_U64 },
};

/* ------------------------------------------------------------- helpers -- */

/*
 * The extended ack keeps a pointer that is read when the answer is built, a few
 * instructions after the handler's return; a slot of the ring is written again
 * only after as many more refusals.
 */
enum { REFUSALS = 64 };

static int refuse(struct genl_info *info, int err, const struct why *why)
{
	static struct why ring[REFUSALS];
	static atomic_t turn = ATOMIC_INIT(0);
	struct why *slot = &ring[(unsigned int)atomic_inc_return(&turn) % REFUSALS];

	if (!err || !why->text[0])
		return err;
	*slot = *why;
	info->extack->_msg = slot->text;
	return err;
}

static bool missing(struct genl_info *info, const enum repl_attr *wanted, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (GENL_REQ_ATTR_CHECK(info, wanted[i]))
			return true;
	return false;
}

#define MISSING(info, ...) \
	missing(info, (const enum repl_attr[]){ __VA_ARGS__ }, \
		sizeof((const enum repl_attr[]){ __VA_ARGS__ }) / sizeof(enum repl_attr))

static u32 get_u32_or(struct genl_info *info, enum repl_attr attr, u32 other)
{
	return info->attrs[attr] ? nla_get_u32(info->attrs[attr]) : other;
}

static void get_id(struct genl_info *info, enum repl_attr attr, struct repl_id *id)
{
	nla_memcpy(id, info->attrs[attr], sizeof(*id));
}

/* The first namespace's root sees all. */
static struct net *scope(const struct net *net)
{
	return net_eq(net, &init_net) ? NULL : (struct net *)net;
}

static struct volume *find(struct genl_info *info, bool any_namespace)
{
	struct net *net = genl_info_net(info);
	struct volume *v;
	u32 minor = 0;

	if (info->attrs[REPL_A_MINOR]) {
		v = volume_get_minor(any_namespace ? scope(net) : net,
				     nla_get_u32(info->attrs[REPL_A_MINOR]));
		if (!v)
			NL_SET_ERR_MSG_MOD(info->extack, "no volume with this minor is up");
		return v;
	}
	if (info->attrs[REPL_A_NAME])
		for (; (v = volume_next(net, &minor)); minor++) {
			if (!nla_strcmp(info->attrs[REPL_A_NAME], v->name))
				return v;
			volume_put(v);
		}
	NL_SET_ERR_MSG_MOD(info->extack, "no volume of this name is up");
	return NULL;
}

/* A volume and, when the command has one, a slot within its bounds. */
static int find_slot(struct genl_info *info, struct volume **v, u8 *slot)
{
	if (MISSING(info, REPL_A_MINOR, REPL_A_SLOT))
		return -EINVAL;
	*v = find(info, false);
	if (!*v)
		return -ENODEV;
	*slot = nla_get_u8(info->attrs[REPL_A_SLOT]);
	if (*slot < (*v)->slots)
		return 0;
	NL_SET_ERR_MSG_MOD(info->extack, "the volume has fewer slots: mkfs.repl --slots");
	volume_put(*v);
	return -EINVAL;
}

static int reply_fd(struct genl_info *info, enum repl_attr attr, int fd)
{
	struct sk_buff *msg = genlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	void *head;

	if (!msg)
		return -ENOMEM;
	head = genlmsg_put_reply(msg, info, &family, 0, info->genlhdr->cmd);
	if (!head || nla_put_s32(msg, attr, fd)) {
		nlmsg_free(msg);
		return -EMSGSIZE;
	}
	genlmsg_end(msg, head);
	return genlmsg_reply(msg, info);
}

/* Consumes @op on every path. */
static int start(struct genl_info *info, struct op *op)
{
	int fd, err;

	op->ticket = ticket_create();
	if (!op->ticket) {
		op_discard(op);
		return -ENOMEM;
	}
	fd = ticket_install(op->ticket);
	if (fd < 0) {
		err = fd;
	} else {
		err = reply_fd(info, REPL_A_TICKET, fd);
		if (!err) {
			op_queue(op);
			return 0;
		}
		/* The caller never learns the number: it must not stay open. */
		close_fd(fd);
	}
	ticket_finish(op->ticket, err, &op->why);
	op->ticket = NULL;
	op_discard(op);
	return err;
}

static struct op *op_for(struct genl_info *info, int (*run)(struct op *op, struct why *why),
			 int *err)
{
	struct volume *v = find(info, false);
	struct op *op;

	if (!v) {
		*err = -ENODEV;
		return NULL;
	}
	op = op_create(v, run, GFP_KERNEL);
	volume_put(v);
	*err = op ? 0 : -ENOMEM;
	return op;
}

static struct op *op_for_slot(struct genl_info *info, int (*run)(struct op *op, struct why *why),
			      u8 *slot, int *err)
{
	struct volume *v;
	struct op *op;

	*err = find_slot(info, &v, slot);
	if (*err)
		return NULL;
	op = op_create(v, run, GFP_KERNEL);
	volume_put(v);
	*err = op ? 0 : -ENOMEM;
	return op;
}

/* ------------------------------------------------------------ commands -- */

/* The devices of an ATTACH, or of a REPLACE. */
static int get_devices(struct genl_info *info, dev_t *data, dev_t *meta, struct why *why)
{
	int err = backing_devt(nla_get_s32(info->attrs[REPL_A_DATA_FD]), data, "data", why);

	if (err || !info->attrs[REPL_A_META_FD])
		return err;
	return backing_devt(nla_get_s32(info->attrs[REPL_A_META_FD]), meta, "metadata", why);
}

static void set_devices(struct genl_info *info, struct op *op, dev_t data, dev_t meta)
{
	op->u.attach.data = data;
	op->u.attach.meta = meta;
	op->u.attach.has_meta = info->attrs[REPL_A_META_FD];
	op->u.attach.has_end = info->attrs[REPL_A_META_END];
	if (op->u.attach.has_end)
		op->u.attach.meta_end = nla_get_u64(info->attrs[REPL_A_META_END]);
}

static int do_attach(struct sk_buff *skb, struct genl_info *info)
{
	struct why why = {};
	struct volume *v;
	struct op *op;
	dev_t data, meta = 0;
	int err;

	if (MISSING(info, REPL_A_MINOR, REPL_A_NAME, REPL_A_DATA_FD, REPL_A_KEY))
		return -EINVAL;
	err = get_devices(info, &data, &meta, &why);
	if (err)
		return refuse(info, err, &why);
	err = volume_create(genl_info_net(info), nla_get_u32(info->attrs[REPL_A_MINOR]),
			    nla_data(info->attrs[REPL_A_NAME]),
			    info->attrs[REPL_A_ON_PEER_LOSS] ?
			    nla_get_u8(info->attrs[REPL_A_ON_PEER_LOSS]) : REPL_LOSS_CONTINUE,
			    &v, &why);
	if (err)
		return refuse(info, err, &why);
	op = op_create(v, volume_attach, GFP_KERNEL);
	if (!op) {
		volume_forget(v);
		volume_put(v);
		return -ENOMEM;
	}
	op->drop = volume_attach_drop;
	set_devices(info, op, data, meta);
	nla_memcpy(op->u.attach.key, info->attrs[REPL_A_KEY], REPL_KEY_BYTES);
	volume_put(v);
	return start(info, op);
}

static int do_detach(struct sk_buff *skb, struct genl_info *info)
{
	struct volume *v;
	struct op *op;

	if (MISSING(info, REPL_A_MINOR))
		return -EINVAL;
	v = find(info, true);
	if (!v)
		return -ENODEV;
	op = op_create(v, volume_detach, GFP_KERNEL);
	volume_put(v);
	if (!op)
		return -ENOMEM;
	op->u.role.flags = get_u32_or(info, REPL_A_FLAGS, 0);
	return start(info, op);
}

static int do_role(struct sk_buff *skb, struct genl_info *info)
{
	struct op *op;
	int err;

	if (MISSING(info, REPL_A_MINOR, REPL_A_ROLE))
		return -EINVAL;
	op = op_for(info, role_change, &err);
	if (!op)
		return err;
	op->u.role.role = nla_get_u8(info->attrs[REPL_A_ROLE]);
	op->u.role.flags = get_u32_or(info, REPL_A_FLAGS, 0);
	if (info->attrs[REPL_A_GENERATION])
		get_id(info, REPL_A_GENERATION, &op->u.role.generation);
	return start(info, op);
}

static int check_one_gate(struct genl_info *info, u32 allowed, u32 *reason)
{
	*reason = nla_get_u32(info->attrs[REPL_A_GATE]);
	if (hweight32(*reason) == 1 && !(*reason & ~allowed))
		return 0;
	NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[REPL_A_GATE],
			    "exactly one reason, of those that user space may hold");
	return -EINVAL;
}

static int do_freeze(struct sk_buff *skb, struct genl_info *info)
{
	struct ticket *ticket;
	struct why why = {};
	struct volume *v;
	u32 reason;
	int err, fd;

	if (MISSING(info, REPL_A_MINOR, REPL_A_GATE, REPL_A_DEADLINE_MS))
		return -EINVAL;
	err = check_one_gate(info, REPL_GATE_USER, &reason);
	if (err)
		return err;
	v = find(info, false);
	if (!v)
		return -ENODEV;
	ticket = ticket_create();
	if (!ticket) {
		err = -ENOMEM;
		goto put;
	}
	fd = ticket_install(ticket);
	if (fd < 0) {
		err = fd;
		goto finish;
	}
	err = gate_freeze(v, reason, nla_get_u32(info->attrs[REPL_A_DEADLINE_MS]), ticket, &why);
	if (err) {
		close_fd(fd);
		goto finish;
	}
	err = reply_fd(info, REPL_A_TICKET, fd);
	if (err) {
		gate_thaw(v, reason, &why);
		close_fd(fd);
	}
	volume_put(v);
	return err;

finish:
	ticket_finish(ticket, err, &why);
put:
	volume_put(v);
	return refuse(info, err, &why);
}

static int do_thaw(struct sk_buff *skb, struct genl_info *info)
{
	struct why why = {};
	struct volume *v;
	struct op *op;
	u32 reason;
	int err;

	if (MISSING(info, REPL_A_MINOR, REPL_A_GATE))
		return -EINVAL;
	err = check_one_gate(info, REPL_GATE_USER | REPL_GATE_PEER_LOST, &reason);
	if (err)
		return err;
	if (reason == REPL_GATE_PEER_LOST) {
		op = op_for(info, role_resume, &err);
		if (!op)
			return err;
		if (info->attrs[REPL_A_GENERATION])
			get_id(info, REPL_A_GENERATION, &op->u.role.generation);
		return start(info, op);
	}
	v = find(info, false);
	if (!v)
		return -ENODEV;
	err = gate_thaw(v, reason, &why);
	volume_put(v);
	return refuse(info, err, &why);
}

static int do_slot_set(struct sk_buff *skb, struct genl_info *info)
{
	struct op *op;
	int err;
	u8 slot;

	if (MISSING(info, REPL_A_KIND, REPL_A_KEY))
		return -EINVAL;
	op = op_for_slot(info, slot_set, &slot, &err);
	if (!op)
		return err;
	op->u.slot.slot = slot;
	op->u.slot.kind = nla_get_u8(info->attrs[REPL_A_KIND]);
	nla_memcpy(op->u.slot.key, info->attrs[REPL_A_KEY], REPL_KEY_BYTES);
	op->u.slot.has_copy = info->attrs[REPL_A_COPY_ID];
	if (op->u.slot.has_copy)
		get_id(info, REPL_A_COPY_ID, &op->u.slot.copy);
	return start(info, op);
}

static int do_follow(struct sk_buff *skb, struct genl_info *info)
{
	struct op *op;
	int err;
	u8 slot;

	if (MISSING(info, REPL_A_UUID))
		return -EINVAL;
	op = op_for_slot(info, slot_follow, &slot, &err);
	if (!op)
		return err;
	op->u.slot.slot = slot;
	get_id(info, REPL_A_UUID, &op->u.slot.copy);
	if (info->attrs[REPL_A_STAGED])
		op->u.slot.staged = nla_get_u64(info->attrs[REPL_A_STAGED]);
	return start(info, op);
}

static void mark_drop(struct op *op)
{
	kfree(op->u.mark.extents);
}

static int do_mark(struct sk_buff *skb, struct genl_info *info)
{
	struct op *op;
	int err;

	if (MISSING(info, REPL_A_MINOR, REPL_A_SLOT_MASK, REPL_A_EXTENTS))
		return -EINVAL;
	if (nla_len(info->attrs[REPL_A_EXTENTS]) % sizeof(struct repl_extent)) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[REPL_A_EXTENTS],
				    "not a whole number of extents");
		return -EINVAL;
	}
	op = op_for(info, slot_mark_extents, &err);
	if (!op)
		return err;
	op->u.mark.mask = nla_get_u32(info->attrs[REPL_A_SLOT_MASK]);
	op->u.mark.count = nla_len(info->attrs[REPL_A_EXTENTS]) / sizeof(struct repl_extent);
	op->u.mark.extents = nla_memdup(info->attrs[REPL_A_EXTENTS], GFP_KERNEL);
	op->drop = mark_drop;
	if (op->u.mark.extents)
		return start(info, op);
	op_discard(op);
	return -ENOMEM;
}

static int do_cut(struct sk_buff *skb, struct genl_info *info)
{
	struct why why = {};
	struct volume *v;
	int err, fd;
	u8 slot;

	if (MISSING(info, REPL_A_CUT_FLAGS))
		return -EINVAL;
	err = find_slot(info, &v, &slot);
	if (err)
		return err;
	fd = cut_create(v, slot, nla_get_u32(info->attrs[REPL_A_CUT_FLAGS]),
			get_u32_or(info, REPL_A_HOLD_MS, REPL_HOLD_MS), &why);
	volume_put(v);
	if (fd < 0)
		return refuse(info, fd, &why);
	err = reply_fd(info, REPL_A_CUT_FD, fd);
	if (err)
		close_fd(fd);
	return err;
}

static int get_leader(struct genl_info *info, struct op *op)
{
	struct nlattr *history = info->attrs[REPL_A_HISTORY];

	if (MISSING(info, REPL_A_GENERATION, REPL_A_EPOCH, REPL_A_HISTORY))
		return -EINVAL;
	if (nla_len(history) % sizeof(struct repl_id)) {
		NL_SET_ERR_MSG_ATTR(info->extack, history, "not a whole number of generations");
		return -EINVAL;
	}
	get_id(info, REPL_A_GENERATION, &op->u.link.generation);
	op->u.link.epoch = nla_get_u64(info->attrs[REPL_A_EPOCH]);
	nla_memcpy(op->u.link.history, history, sizeof(op->u.link.history));
	return 0;
}

static int do_epoch(struct sk_buff *skb, struct genl_info *info)
{
	struct op *op;
	int err;

	if (MISSING(info, REPL_A_MINOR))
		return -EINVAL;
	op = op_for(info, role_epoch, &err);
	return op ? start(info, op) : err;
}

static int do_commit(struct sk_buff *skb, struct genl_info *info)
{
	struct op *op;
	int err;
	u8 slot;

	if (MISSING(info, REPL_A_GENERATION, REPL_A_EPOCH))
		return -EINVAL;
	op = op_for_slot(info, slot_commit, &slot, &err);
	if (!op)
		return err;
	op->u.link.slot = slot;
	get_id(info, REPL_A_GENERATION, &op->u.link.generation);
	op->u.link.epoch = nla_get_u64(info->attrs[REPL_A_EPOCH]);
	if (info->attrs[REPL_A_HISTORY]) {
		op->u.link.flags = REPL_LINK_FOLLOW;
		err = get_leader(info, op);
	}
	if (!err)
		return start(info, op);
	op_discard(op);
	return err;
}

static int do_link_add(struct sk_buff *skb, struct genl_info *info)
{
	struct why why = {};
	struct op *op;
	int err;
	u8 slot;

	if (MISSING(info, REPL_A_SOCK_FD, REPL_A_COOKIE, REPL_A_LINK_FLAGS))
		return -EINVAL;
	op = op_for_slot(info, slot_join, &slot, &err);
	if (!op)
		return err;
	op->u.link.slot = slot;
	op->u.link.flags = nla_get_u32(info->attrs[REPL_A_LINK_FLAGS]);
	if (op->u.link.flags & REPL_LINK_FOLLOW)
		err = get_leader(info, op);
	if (!err)
		err = link_create(op->volume, slot, nla_get_s32(info->attrs[REPL_A_SOCK_FD]),
				  nla_get_u64(info->attrs[REPL_A_COOKIE]), op->u.link.flags,
				  get_u32_or(info, REPL_A_TIMEOUT_MS, REPL_TIMEOUT_MS),
				  get_u32_or(info, REPL_A_STUCK_MS, REPL_STUCK_MS),
				  &op->u.link.link, &why);
	if (err) {
		op_discard(op);
		return refuse(info, err, &why);
	}
	op->drop = slot_join_drop;
	return start(info, op);
}

static int do_link_del(struct sk_buff *skb, struct genl_info *info)
{
	struct op *op;
	int err;
	u8 slot;

	op = op_for_slot(info, slot_leave, &slot, &err);
	if (!op)
		return err;
	op->u.slot.slot = slot;
	return start(info, op);
}

static int do_resize(struct sk_buff *skb, struct genl_info *info)
{
	struct op *op;
	int err;

	if (MISSING(info, REPL_A_MINOR, REPL_A_SIZE))
		return -EINVAL;
	op = op_for(info, resize, &err);
	if (!op)
		return err;
	op->u.size = nla_get_u64(info->attrs[REPL_A_SIZE]);
	return start(info, op);
}

static int do_replace(struct sk_buff *skb, struct genl_info *info)
{
	struct why why = {};
	dev_t data, meta = 0;
	struct op *op;
	int err;

	if (MISSING(info, REPL_A_MINOR, REPL_A_DATA_FD))
		return -EINVAL;
	err = get_devices(info, &data, &meta, &why);
	if (err)
		return refuse(info, err, &why);
	op = op_for(info, replace, &err);
	if (!op)
		return err;
	set_devices(info, op, data, meta);
	if (info->attrs[REPL_A_RATE])
		op->u.attach.rate = nla_get_u64(info->attrs[REPL_A_RATE]);
	return start(info, op);
}

static int do_get(struct sk_buff *skb, struct genl_info *info)
{
	struct sk_buff *msg;
	struct volume *v;
	int err;

	v = find(info, true);
	if (!v)
		return -ENODEV;
	msg = genlmsg_new(STATUS_BYTES, GFP_KERNEL);
	err = msg ? status_put(msg, &family, info->snd_portid, info->snd_seq, 0, v) : -ENOMEM;
	volume_put(v);
	if (err) {
		nlmsg_free(msg);
		return err;
	}
	return genlmsg_reply(msg, info);
}

static int dump_start(struct netlink_callback *cb)
{
	cb->min_dump_alloc = STATUS_BYTES;
	return 0;
}

static int dump_get(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct net *net = scope(sock_net(skb->sk));
	u32 minor = cb->args[0];
	struct volume *v;
	int err = 0;

	for (; !err && (v = volume_next(net, &minor)); minor += !err) {
		err = status_put(skb, &family, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
				 NLM_F_MULTI, v);
		volume_put(v);
		if (err == -ENODEV)
			err = 0;
	}
	cb->args[0] = minor;
	/* A message that did not fit comes first in the next one. */
	return skb->len ? skb->len : err;
}

/* -------------------------------------------------------------- family -- */

static const struct genl_ops get_ops[] = {
	{ .cmd = REPL_CMD_GET, .doit = do_get, .start = dump_start, .dumpit = dump_get },
};

static const struct genl_small_ops ops[] = {
	{ .cmd = REPL_CMD_ATTACH,	.doit = do_attach,	.flags = GENL_ADMIN_PERM },
	{ .cmd = REPL_CMD_DETACH,	.doit = do_detach,	.flags = GENL_ADMIN_PERM },
	{ .cmd = REPL_CMD_ROLE,		.doit = do_role,	.flags = GENL_ADMIN_PERM },
	{ .cmd = REPL_CMD_FREEZE,	.doit = do_freeze,	.flags = GENL_ADMIN_PERM },
	{ .cmd = REPL_CMD_THAW,		.doit = do_thaw,	.flags = GENL_ADMIN_PERM },
	{ .cmd = REPL_CMD_SLOT_SET,	.doit = do_slot_set,	.flags = GENL_ADMIN_PERM },
	{ .cmd = REPL_CMD_FOLLOW,	.doit = do_follow,	.flags = GENL_ADMIN_PERM },
	{ .cmd = REPL_CMD_MARK,		.doit = do_mark,	.flags = GENL_ADMIN_PERM },
	{ .cmd = REPL_CMD_CUT,		.doit = do_cut,		.flags = GENL_ADMIN_PERM },
	{ .cmd = REPL_CMD_LINK_ADD,	.doit = do_link_add,	.flags = GENL_ADMIN_PERM },
	{ .cmd = REPL_CMD_LINK_DEL,	.doit = do_link_del,	.flags = GENL_ADMIN_PERM },
	{ .cmd = REPL_CMD_RESIZE,	.doit = do_resize,	.flags = GENL_ADMIN_PERM },
	{ .cmd = REPL_CMD_REPLACE,	.doit = do_replace,	.flags = GENL_ADMIN_PERM },
	{ .cmd = REPL_CMD_EPOCH,	.doit = do_epoch,	.flags = GENL_ADMIN_PERM },
	{ .cmd = REPL_CMD_COMMIT,	.doit = do_commit,	.flags = GENL_ADMIN_PERM },
};

static const struct genl_multicast_group groups[] = {
	{ .name = REPL_GENL_GROUP },
};

static struct genl_family family __ro_after_init = {
	.name		= REPL_GENL_NAME,
	.version	= REPL_GENL_VERSION,
	.maxattr	= REPL_A_MAX,
	.policy		= policy,
	.netnsok	= true,
	.module		= THIS_MODULE,
	.ops		= get_ops,
	.n_ops		= ARRAY_SIZE(get_ops),
	.small_ops	= ops,
	.n_small_ops	= ARRAY_SIZE(ops),
	.mcgrps		= groups,
	.n_mcgrps	= ARRAY_SIZE(groups),
};

/**
 * netlink_event() - tell those who listen that something has changed
 * @v: the volume
 * @event: what
 * @slot: whose, or negative
 * @fmt: in words, for people
 *
 * Context: may sleep; no lock held.
 */
void netlink_event(struct volume *v, enum repl_event event, int slot, const char *fmt, ...)
{
	char text[REPL_TEXT_BYTES];
	struct sk_buff *msg;
	va_list args;

	va_start(args, fmt);
	vscnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (slot >= 0)
		pr_info("%s: slot %d: %s\n", v->name, slot, text);
	else
		pr_info("%s: %s\n", v->name, text);
	msg = status_event(&family, v, event, slot, text);
	/* Nobody listens, or a listener's buffer is full: it will read again. */
	if (msg)
		genlmsg_multicast_netns(&family, v->net, msg, 0, 0, GFP_NOWAIT | __GFP_NOWARN);
}

int netlink_init(void)
{
	return genl_register_family(&family);
}

void netlink_exit(void)
{
	genl_unregister_family(&family);
}
