// SPDX-License-Identifier: GPL-2.0-or-later
#include "kernel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

enum kernel_limits {
	KERNEL_ANSWER_S		= 30,		/* commands only start things: far more than enough */
	KERNEL_MESSAGE_BYTES	= 64 << 10,
	KERNEL_EVENT_BUFFER	= 1 << 20,
};

struct kernel {
	struct nl_sock *sock;
	int family;
};

struct kernel_events {
	struct nl_sock *sock;
	int family;
	kernel_event_fn *fn;
	void *arg;
};

/* One request under way: what its answers are gathered into. */
struct request {
	struct kernel *kernel;
	struct err *e;
	bool done;
	int ret;
	int fd_attr;			/* REPL_A_TICKET, REPL_A_CUT_FD or 0 */
	int fd;
	struct kernel_volume *list;	/* GET appends here */
	size_t count;
};

/* -- requests -------------------------------------------------------------- */

/* The extended acknowledgement: a sentence after the (possibly capped) error message. */
static const char *ack_text(const struct nlmsghdr *nlh, const struct nlmsgerr *error)
{
	size_t skip = sizeof(*error);
	struct nlattr *attr;
	int left;

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
		skip += error->msg.nlmsg_len - sizeof(error->msg);
	if ((int)NLMSG_ALIGN(skip) > nlmsg_datalen(nlh))
		return NULL;
	attr = (struct nlattr *)((char *)nlmsg_data(nlh) + NLMSG_ALIGN(skip));
	left = nlmsg_datalen(nlh) - NLMSG_ALIGN(skip);
	for (; nla_ok(attr, left); attr = nla_next(attr, &left)) {
		int length = nla_len(attr);
		const char *text = nla_data(attr);

		if (nla_type(attr) == NLMSGERR_ATTR_MSG && length && !text[length - 1])
			return text;
	}
	return NULL;
}

static void note_error(struct request *r, const struct nlmsghdr *nlh, int error)
{
	const struct nlmsgerr *message = nlmsg_data(nlh);
	const char *text = ack_text(nlh, message);

	r->ret = error;
	if (text)
		err_set(r->e, -error, "%s", text);
	else if (error == -EPERM)
		err_set(r->e, EPERM, "the kernel refuses: this needs CAP_NET_ADMIN; run it as root");
	else
		err_set(r->e, -error, "the kernel refuses: %s", strerror(-error));
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *error, void *arg)
{
	struct request *r = arg;
	/* libnl hands out the payload; its header, with the flags, stands right before. */
	const struct nlmsghdr *nlh = (const void *)((char *)error - NLMSG_HDRLEN);

	(void)from;
	r->done = true;
	if (error->error)
		note_error(r, nlh, error->error);
	return NL_STOP;
}

static int on_ack(struct nl_msg *msg, void *arg)
{
	struct request *r = arg;

	(void)msg;
	r->done = true;
	return NL_STOP;
}

static int on_finish(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *nlh = nlmsg_hdr(msg);
	struct request *r = arg;

	r->done = true;
	/* A dump that failed ends with its errno. */
	if (nlmsg_datalen(nlh) >= (int)sizeof(int) && *(int *)nlmsg_data(nlh) < 0) {
		r->ret = *(int *)nlmsg_data(nlh);
		err_set(r->e, -r->ret, "the kernel could not list the volumes: %s",
			strerror(-r->ret));
	}
	return NL_STOP;
}

static int receive(struct request *r, int (*on_valid)(struct nl_msg *, void *))
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int ret = 0;

	if (!cb)
		return err_set(r->e, ENOMEM, "out of memory");
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, r);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_ack, r);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_finish, r);
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, r);
	while (!r->done && ret >= 0)
		ret = nl_recvmsgs(r->kernel->sock, cb);
	nl_cb_put(cb);
	if (!r->done)
		return err_set(r->e, EIO, "no answer from the repl module: %s", nl_geterror(ret));
	return r->ret;
}

static struct nl_msg *new_message(struct kernel *k, uint8_t cmd, int flags)
{
	struct nl_msg *msg = nlmsg_alloc_size(KERNEL_MESSAGE_BYTES);

	if (!msg)
		return NULL;
	if (!genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, k->family, 0, flags, cmd,
			 REPL_GENL_VERSION)) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

/* Sends @msg, frees it, and gathers the answers. */
static int transact(struct request *r, struct nl_msg *msg,
		    int (*on_valid)(struct nl_msg *, void *))
{
	int ret = nl_send_auto(r->kernel->sock, msg);

	nlmsg_free(msg);
	if (ret < 0)
		return err_set(r->e, EIO, "cannot send to the repl module: %s", nl_geterror(ret));
	return receive(r, on_valid);
}

static int on_descriptor(struct nl_msg *msg, void *arg)
{
	struct nlattr *attrs[REPL_A_MAX + 1];
	struct request *r = arg;

	if (genlmsg_parse(nlmsg_hdr(msg), 0, attrs, REPL_A_MAX, NULL) < 0)
		return NL_SKIP;
	if (r->fd_attr && attrs[r->fd_attr] &&
	    nla_len(attrs[r->fd_attr]) == (int)sizeof(int32_t))
		r->fd = nla_get_s32(attrs[r->fd_attr]);
	return NL_OK;
}

/* Sends a command of which a descriptor comes back; takes over @msg, NULL included. */
static int command(struct kernel *k, struct nl_msg *msg, int fd_attr, struct err *e)
{
	struct request r = { .kernel = k, .e = e, .fd_attr = fd_attr, .fd = -1 };
	int ret;

	if (!msg)
		return err_set(e, ENOMEM, "out of memory");
	ret = transact(&r, msg, on_descriptor);
	if (ret && r.fd >= 0)
		close(r.fd);
	if (ret)
		return ret;
	if (fd_attr && r.fd < 0)
		return err_set(e, EPROTO,
			       "the repl module gave no descriptor back; module and tools are of different versions");
	return fd_attr ? r.fd : 0;
}

/* A message about one volume; NULL when there is no memory for it. */
static struct nl_msg *volume_message(struct kernel *k, uint8_t cmd, uint32_t minor)
{
	struct nl_msg *msg = new_message(k, cmd, NLM_F_REQUEST | NLM_F_ACK);

	if (msg && nla_put_u32(msg, REPL_A_MINOR, minor) == 0)
		return msg;
	nlmsg_free(msg);
	return NULL;
}

static int no_room(struct nl_msg *msg, struct err *e)
{
	nlmsg_free(msg);
	return err_set(e, EMSGSIZE, "too much for one command to the repl module");
}

/* -- opening --------------------------------------------------------------- */

static struct nl_sock *open_socket(int *family, struct err *e)
{
	struct timeval limit = { .tv_sec = KERNEL_ANSWER_S };
	struct nl_sock *sock = nl_socket_alloc();
	int on = 1;
	int ret;

	if (!sock) {
		errno = -err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	ret = genl_connect(sock);
	if (ret < 0) {
		errno = -err_set(e, EIO, "cannot open a netlink socket: %s", nl_geterror(ret));
		goto free_sock;
	}
	*family = genl_ctrl_resolve(sock, REPL_GENL_NAME);
	if (*family < 0) {
		errno = -err_set(e, ENOENT, "the repl kernel module is not loaded; run: modprobe repl; if there is no such module for this kernel, build it (README, A new kernel)");
		goto free_sock;
	}
	setsockopt(nl_socket_get_fd(sock), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(nl_socket_get_fd(sock), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	setsockopt(nl_socket_get_fd(sock), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	nl_socket_set_msg_buf_size(sock, KERNEL_MESSAGE_BYTES);
	return sock;

free_sock:
	nl_socket_free(sock);
	return NULL;
}

int kernel_open(struct kernel **kernel, struct err *e)
{
	struct kernel *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return err_set(e, ENOMEM, "out of memory");
	k->sock = open_socket(&k->family, e);
	if (!k->sock) {
		ret = -errno;
		free(k);
		return ret;
	}
	*kernel = k;
	return 0;
}

void kernel_close(struct kernel *k)
{
	if (!k)
		return;
	nl_socket_free(k->sock);
	free(k);
}

/* -- reading volumes ------------------------------------------------------- */

static uint64_t get_u64(struct nlattr *attr)
{
	return attr && nla_len(attr) >= (int)sizeof(uint64_t) ? nla_get_u64(attr) : 0;
}

static uint32_t get_u32(struct nlattr *attr)
{
	return attr && nla_len(attr) >= (int)sizeof(uint32_t) ? nla_get_u32(attr) : 0;
}

static uint8_t get_u8(struct nlattr *attr)
{
	return attr && nla_len(attr) >= 1 ? nla_get_u8(attr) : 0;
}

static void get_bytes(struct nlattr *attr, void *to, size_t bytes)
{
	if (attr && nla_len(attr) == (int)bytes)
		memcpy(to, nla_data(attr), bytes);
}

static void get_text(struct nlattr *attr, char *to, size_t size)
{
	if (attr)
		nla_strlcpy(to, attr, size);
}

static void read_slot(struct nlattr *nested, struct kernel_slot *s)
{
	struct nlattr *a[REPL_S_MAX + 1];

	memset(s, 0, sizeof(*s));
	if (nla_parse_nested(a, REPL_S_MAX, nested, NULL) < 0)
		return;
	s->index = get_u8(a[REPL_S_INDEX]);
	s->kind = get_u8(a[REPL_S_KIND]);
	s->link = get_u8(a[REPL_S_LINK]);
	s->cut = get_u8(a[REPL_S_CUT]);
	get_bytes(a[REPL_S_KEY], s->key, sizeof(s->key));
	get_bytes(a[REPL_S_COPY_ID], &s->copy_id, sizeof(s->copy_id));
	get_bytes(a[REPL_S_GENERATION], &s->generation, sizeof(s->generation));
	s->flags = get_u32(a[REPL_S_FLAGS]);
	s->epoch = get_u64(a[REPL_S_EPOCH]);
	s->dirty_blocks = get_u64(a[REPL_S_DIRTY_BLOCKS]);
	s->cookie = get_u64(a[REPL_S_COOKIE]);
	s->in_flight_bytes = get_u64(a[REPL_S_IN_FLIGHT_BYTES]);
	s->unflushed_bytes = get_u64(a[REPL_S_UNFLUSHED_BYTES]);
	s->sent_bytes = get_u64(a[REPL_S_SENT_BYTES]);
	s->received_bytes = get_u64(a[REPL_S_RECEIVED_BYTES]);
	s->link_age_ms = get_u64(a[REPL_S_LINK_AGE_MS]);
	get_text(a[REPL_S_REASON], s->reason, sizeof(s->reason));
}

static void read_history(struct nlattr *attr, struct kernel_volume *v)
{
	size_t bytes = attr ? nla_len(attr) : 0;

	if (bytes > sizeof(v->history))
		bytes = sizeof(v->history);
	if (bytes)
		memcpy(v->history, nla_data(attr), bytes - bytes % sizeof(v->history[0]));
}

static void read_counters(struct nlattr *nested, struct kernel_volume *v)
{
	struct nlattr *a[REPL_C_MAX + 1];

	if (!nested || nla_parse_nested(a, REPL_C_MAX, nested, NULL) < 0)
		return;
	for (int i = 0; i <= REPL_C_MAX; i++)
		v->counter[i] = get_u64(a[i]);
}

/* REPL_A_SLOT_INFO stands once per slot, which an indexed parse would lose. */
static void read_slots(struct nlmsghdr *nlh, struct kernel_volume *v)
{
	struct nlattr *attr = genlmsg_attrdata(nlmsg_data(nlh), 0);
	int left = genlmsg_attrlen(nlmsg_data(nlh), 0);

	nla_for_each_attr(attr, attr, left, left) {
		if (nla_type(attr) == REPL_A_SLOT_INFO && v->slot_count < REPL_SLOTS_MAX)
			read_slot(attr, &v->slot[v->slot_count++]);
	}
}

static int read_volume(struct nlmsghdr *nlh, struct kernel_volume *v)
{
	struct nlattr *a[REPL_A_MAX + 1];

	memset(v, 0, sizeof(*v));
	if (genlmsg_parse(nlh, 0, a, REPL_A_MAX, NULL) < 0 || !a[REPL_A_MINOR])
		return -EPROTO;
	v->minor = get_u32(a[REPL_A_MINOR]);
	get_text(a[REPL_A_NAME], v->name, sizeof(v->name));
	get_bytes(a[REPL_A_UUID], &v->uuid, sizeof(v->uuid));
	get_bytes(a[REPL_A_COPY_ID], &v->copy_id, sizeof(v->copy_id));
	get_bytes(a[REPL_A_GENERATION], &v->generation, sizeof(v->generation));
	read_history(a[REPL_A_HISTORY], v);
	v->epoch = get_u64(a[REPL_A_EPOCH]);
	v->size = get_u64(a[REPL_A_SIZE]);
	v->meta_end = get_u64(a[REPL_A_META_END]);
	v->room = get_u64(a[REPL_A_ROOM]);
	v->gate_age_ms = get_u64(a[REPL_A_GATE_AGE_MS]);
	v->replaced = get_u64(a[REPL_A_REPLACED]);
	v->replace_ms = get_u64(a[REPL_A_REPLACE_MS]);
	v->staged = get_u64(a[REPL_A_STAGED]);
	v->sb_flags = get_u32(a[REPL_A_SB_FLAGS]);
	v->gate = get_u32(a[REPL_A_GATE]);
	v->openers = get_u32(a[REPL_A_OPENERS]);
	v->flags = get_u32(a[REPL_A_VOLUME_FLAGS]);
	v->role = get_u8(a[REPL_A_ROLE]);
	v->on_peer_loss = get_u8(a[REPL_A_ON_PEER_LOSS]);
	v->lbs_shift = get_u8(a[REPL_A_LBS_SHIFT]);
	v->region_shift = get_u8(a[REPL_A_REGION_SHIFT]);
	v->slots = get_u8(a[REPL_A_SLOTS]);
	get_text(a[REPL_A_BACKING], v->backing, sizeof(v->backing));
	read_counters(a[REPL_A_COUNTERS], v);
	read_slots(nlh, v);
	return 0;
}

static int on_volume(struct nl_msg *msg, void *arg)
{
	struct request *r = arg;
	struct kernel_volume *grown;

	grown = reallocarray(r->list, r->count + 1, sizeof(*grown));
	if (!grown) {
		r->ret = err_set(r->e, ENOMEM, "out of memory");
		return NL_OK;
	}
	r->list = grown;
	if (read_volume(nlmsg_hdr(msg), &grown[r->count]))
		r->ret = err_set(r->e, EPROTO, "cannot understand the repl module's answer");
	else
		r->count++;
	return NL_OK;
}

/* Takes over @msg, NULL included. */
static int get_one(struct kernel *k, struct nl_msg *msg, struct kernel_volume *v, struct err *e)
{
	struct request r = { .kernel = k, .e = e };
	int ret;

	if (!msg)
		return err_set(e, ENOMEM, "out of memory");
	ret = transact(&r, msg, on_volume);
	if (!ret && r.count != 1)
		ret = err_set(e, EPROTO, "the repl module answered with %zu volumes instead of one",
			      r.count);
	if (!ret)
		*v = r.list[0];
	free(r.list);
	return ret;
}

int kernel_get(struct kernel *k, const char *name, struct kernel_volume *v, struct err *e)
{
	struct nl_msg *msg = new_message(k, REPL_CMD_GET, NLM_F_REQUEST | NLM_F_ACK);
	int ret;

	if (msg && nla_put_string(msg, REPL_A_NAME, name))
		return no_room(msg, e);
	ret = get_one(k, msg, v, e);
	return ret != -ENODEV ? ret :
	       err_set(e, ENODEV, "is not up on this node: repl-ctl up %s, or see repl-ctl status for the names", name);
}

int kernel_get_minor(struct kernel *k, uint32_t minor, struct kernel_volume *v, struct err *e)
{
	return get_one(k, volume_message(k, REPL_CMD_GET, minor), v, e);
}

static int by_minor(const void *a, const void *b)
{
	const struct kernel_volume *va = a, *vb = b;

	return (va->minor > vb->minor) - (va->minor < vb->minor);
}

int kernel_list(struct kernel *k, struct kernel_volume **list, size_t *count, struct err *e)
{
	struct nl_msg *msg = new_message(k, REPL_CMD_GET, NLM_F_REQUEST | NLM_F_DUMP);
	struct request r = { .kernel = k, .e = e };
	int ret;

	if (!msg)
		return err_set(e, ENOMEM, "out of memory");
	ret = transact(&r, msg, on_volume);
	if (ret) {
		free(r.list);
		return ret;
	}
	if (r.count)
		qsort(r.list, r.count, sizeof(*r.list), by_minor);
	*list = r.list;
	*count = r.count;
	return 0;
}

/* -- commands -------------------------------------------------------------- */

int kernel_attach(struct kernel *k, const struct kernel_attach *a, struct err *e)
{
	struct nl_msg *msg = volume_message(k, REPL_CMD_ATTACH, a->minor);

	if (!msg)
		return err_set(e, ENOMEM, "out of memory");
	NLA_PUT_STRING(msg, REPL_A_NAME, a->name);
	NLA_PUT_S32(msg, REPL_A_DATA_FD, a->data_fd);
	NLA_PUT(msg, REPL_A_KEY, REPL_KEY_BYTES, a->key);
	if (a->meta_fd >= 0)
		NLA_PUT_S32(msg, REPL_A_META_FD, a->meta_fd);
	if (a->meta_end)
		NLA_PUT_U64(msg, REPL_A_META_END, *a->meta_end);
	NLA_PUT_U8(msg, REPL_A_ON_PEER_LOSS, a->on_peer_loss);
	return command(k, msg, REPL_A_TICKET, e);

nla_put_failure:
	return no_room(msg, e);
}

int kernel_detach(struct kernel *k, uint32_t minor, uint32_t flags, struct err *e)
{
	struct nl_msg *msg = volume_message(k, REPL_CMD_DETACH, minor);

	if (msg && flags && nla_put_u32(msg, REPL_A_FLAGS, flags))
		return no_room(msg, e);
	return command(k, msg, REPL_A_TICKET, e);
}

int kernel_resize(struct kernel *k, uint32_t minor, uint64_t size, struct err *e)
{
	struct nl_msg *msg = volume_message(k, REPL_CMD_RESIZE, minor);

	if (msg && nla_put_u64(msg, REPL_A_SIZE, size))
		return no_room(msg, e);
	return command(k, msg, REPL_A_TICKET, e);
}

int kernel_replace(struct kernel *k, const struct kernel_replace *r, struct err *e)
{
	struct nl_msg *msg = volume_message(k, REPL_CMD_REPLACE, r->minor);

	if (!msg)
		return err_set(e, ENOMEM, "out of memory");
	NLA_PUT_S32(msg, REPL_A_DATA_FD, r->data_fd);
	if (r->meta_fd >= 0)
		NLA_PUT_S32(msg, REPL_A_META_FD, r->meta_fd);
	if (r->meta_end)
		NLA_PUT_U64(msg, REPL_A_META_END, *r->meta_end);
	if (r->rate)
		NLA_PUT_U64(msg, REPL_A_RATE, r->rate);
	return command(k, msg, REPL_A_TICKET, e);

nla_put_failure:
	return no_room(msg, e);
}

int kernel_role(struct kernel *k, uint32_t minor, enum repl_role role, uint32_t flags,
		const struct repl_id *generation, struct err *e)
{
	struct nl_msg *msg = volume_message(k, REPL_CMD_ROLE, minor);

	if (!msg)
		return err_set(e, ENOMEM, "out of memory");
	NLA_PUT_U8(msg, REPL_A_ROLE, role);
	if (flags)
		NLA_PUT_U32(msg, REPL_A_FLAGS, flags);
	if (generation)
		NLA_PUT(msg, REPL_A_GENERATION, sizeof(*generation), generation);
	return command(k, msg, REPL_A_TICKET, e);

nla_put_failure:
	return no_room(msg, e);
}

int kernel_freeze(struct kernel *k, uint32_t minor, enum repl_gate gate, uint32_t deadline_ms,
		  struct err *e)
{
	struct nl_msg *msg = volume_message(k, REPL_CMD_FREEZE, minor);

	if (!msg)
		return err_set(e, ENOMEM, "out of memory");
	NLA_PUT_U32(msg, REPL_A_GATE, gate);
	NLA_PUT_U32(msg, REPL_A_DEADLINE_MS, deadline_ms);
	return command(k, msg, REPL_A_TICKET, e);

nla_put_failure:
	return no_room(msg, e);
}

static int thaw(struct kernel *k, uint32_t minor, enum repl_gate gate,
		const struct repl_id *generation, int answer, struct err *e)
{
	struct nl_msg *msg = volume_message(k, REPL_CMD_THAW, minor);

	if (msg && (nla_put_u32(msg, REPL_A_GATE, gate) ||
		    (generation && nla_put(msg, REPL_A_GENERATION, sizeof(*generation), generation))))
		return no_room(msg, e);
	return command(k, msg, answer, e);
}

int kernel_resume(struct kernel *k, uint32_t minor, const struct repl_id *generation,
		  struct err *e)
{
	return thaw(k, minor, REPL_GATE_PEER_LOST, generation, REPL_A_TICKET, e);
}

int kernel_thaw(struct kernel *k, uint32_t minor, enum repl_gate gate, struct err *e)
{
	return thaw(k, minor, gate, NULL, 0, e);
}

int kernel_slot_set(struct kernel *k, uint32_t minor, uint8_t slot, enum repl_slot_kind kind,
		    const uint8_t key[REPL_KEY_BYTES], const struct repl_id *copy_id,
		    struct err *e)
{
	struct nl_msg *msg = volume_message(k, REPL_CMD_SLOT_SET, minor);

	if (!msg)
		return err_set(e, ENOMEM, "out of memory");
	NLA_PUT_U8(msg, REPL_A_SLOT, slot);
	NLA_PUT_U8(msg, REPL_A_KIND, kind);
	NLA_PUT(msg, REPL_A_KEY, REPL_KEY_BYTES, key);
	if (copy_id)
		NLA_PUT(msg, REPL_A_COPY_ID, sizeof(*copy_id), copy_id);
	return command(k, msg, REPL_A_TICKET, e);

nla_put_failure:
	return no_room(msg, e);
}

int kernel_follow(struct kernel *k, uint32_t minor, uint8_t slot, const struct repl_id *uuid,
		  uint64_t staged, struct err *e)
{
	struct nl_msg *msg = volume_message(k, REPL_CMD_FOLLOW, minor);

	if (!msg)
		return err_set(e, ENOMEM, "out of memory");
	NLA_PUT_U8(msg, REPL_A_SLOT, slot);
	NLA_PUT(msg, REPL_A_UUID, sizeof(*uuid), uuid);
	if (staged)
		NLA_PUT_U64(msg, REPL_A_STAGED, staged);
	return command(k, msg, REPL_A_TICKET, e);

nla_put_failure:
	return no_room(msg, e);
}

int kernel_mark(struct kernel *k, uint32_t minor, uint32_t slot_mask,
		const struct repl_extent *extents, size_t count, struct err *e)
{
	struct nl_msg *msg = volume_message(k, REPL_CMD_MARK, minor);

	if (!msg)
		return err_set(e, ENOMEM, "out of memory");
	if (!count || count > REPL_EXTENTS_MAX)
		return no_room(msg, e);
	NLA_PUT_U32(msg, REPL_A_SLOT_MASK, slot_mask);
	NLA_PUT(msg, REPL_A_EXTENTS, count * sizeof(*extents), extents);
	return command(k, msg, REPL_A_TICKET, e);

nla_put_failure:
	return no_room(msg, e);
}

int kernel_cut(struct kernel *k, uint32_t minor, uint8_t slot, uint32_t flags, uint32_t hold_ms,
	       struct err *e)
{
	struct nl_msg *msg = volume_message(k, REPL_CMD_CUT, minor);

	if (!msg)
		return err_set(e, ENOMEM, "out of memory");
	NLA_PUT_U8(msg, REPL_A_SLOT, slot);
	NLA_PUT_U32(msg, REPL_A_CUT_FLAGS, flags);
	if (hold_ms)
		NLA_PUT_U32(msg, REPL_A_HOLD_MS, hold_ms);
	return command(k, msg, REPL_A_CUT_FD, e);

nla_put_failure:
	return no_room(msg, e);
}

int kernel_cut_release(int cut, const struct repl_extent *extent, struct err *e)
{
	if (!ioctl(cut, REPL_CUT_IOC_RELEASE, extent))
		return 0;
	return err_set(e, errno, "blocks of the cut cannot be released: %s", strerror(errno));
}

int kernel_cut_valid(int cut, struct err *e)
{
	if (!ioctl(cut, REPL_CUT_IOC_VALID))
		return 0;
	if (errno == ETIMEDOUT)
		return err_set(e, ETIMEDOUT,
			       "the cut is void: a write waited too long for its blocks to be read");
	return err_set(e, errno, "the cut cannot be used: %s", strerror(errno));
}

static int put_history(struct nl_msg *msg, const struct repl_id *history)
{
	static const struct repl_id zero;
	int count = 0;

	while (count < REPL_HISTORY && memcmp(&history[count], &zero, sizeof(zero)))
		count++;
	return nla_put(msg, REPL_A_HISTORY, count * (int)sizeof(*history), history);
}

int kernel_epoch(struct kernel *k, uint32_t minor, struct err *e)
{
	return command(k, volume_message(k, REPL_CMD_EPOCH, minor), REPL_A_TICKET, e);
}

int kernel_commit(struct kernel *k, uint32_t minor, uint8_t slot, const struct repl_id *generation,
		  uint64_t epoch, const struct repl_id *history, struct err *e)
{
	struct nl_msg *msg = volume_message(k, REPL_CMD_COMMIT, minor);

	if (!msg)
		return err_set(e, ENOMEM, "out of memory");
	NLA_PUT_U8(msg, REPL_A_SLOT, slot);
	NLA_PUT(msg, REPL_A_GENERATION, sizeof(*generation), generation);
	NLA_PUT_U64(msg, REPL_A_EPOCH, epoch);
	if (history && put_history(msg, history))
		goto nla_put_failure;
	return command(k, msg, REPL_A_TICKET, e);

nla_put_failure:
	return no_room(msg, e);
}

static int put_follow(struct nl_msg *msg, const struct kernel_link *l)
{
	NLA_PUT(msg, REPL_A_GENERATION, sizeof(l->generation), &l->generation);
	NLA_PUT_U64(msg, REPL_A_EPOCH, l->epoch);
	return put_history(msg, l->history);

nla_put_failure:
	return -EMSGSIZE;
}

int kernel_link_add(struct kernel *k, const struct kernel_link *l, struct err *e)
{
	struct nl_msg *msg = volume_message(k, REPL_CMD_LINK_ADD, l->minor);

	if (!msg)
		return err_set(e, ENOMEM, "out of memory");
	NLA_PUT_U8(msg, REPL_A_SLOT, l->slot);
	NLA_PUT_S32(msg, REPL_A_SOCK_FD, l->sock_fd);
	NLA_PUT_U64(msg, REPL_A_COOKIE, l->cookie);
	NLA_PUT_U32(msg, REPL_A_LINK_FLAGS, l->flags);
	if (l->timeout_ms)
		NLA_PUT_U32(msg, REPL_A_TIMEOUT_MS, l->timeout_ms);
	if (l->stuck_ms)
		NLA_PUT_U32(msg, REPL_A_STUCK_MS, l->stuck_ms);
	if ((l->flags & REPL_LINK_FOLLOW) && put_follow(msg, l))
		goto nla_put_failure;
	return command(k, msg, REPL_A_TICKET, e);

nla_put_failure:
	return no_room(msg, e);
}

int kernel_link_del(struct kernel *k, uint32_t minor, uint8_t slot, struct err *e)
{
	struct nl_msg *msg = volume_message(k, REPL_CMD_LINK_DEL, minor);

	if (msg && nla_put_u8(msg, REPL_A_SLOT, slot))
		return no_room(msg, e);
	return command(k, msg, REPL_A_TICKET, e);
}

/* -- tickets --------------------------------------------------------------- */

int kernel_ticket_read(int ticket, struct repl_ticket_result *result)
{
	struct pollfd p = { .fd = ticket, .events = POLLIN };
	ssize_t got;

	/* Asked first, so that a ticket need not be opened non-blocking. */
	if (poll(&p, 1, 0) < 0)
		return -errno;
	if (!p.revents)
		return -EAGAIN;
	got = read(ticket, result, sizeof(*result));
	if (got < 0)
		return -errno;
	if (got != (ssize_t)sizeof(*result))
		return -EPROTO;
	result->text[sizeof(result->text) - 1] = '\0';
	return 0;
}

int kernel_ticket_wait(int ticket, int timeout_ms, struct err *e)
{
	struct pollfd p = { .fd = ticket, .events = POLLIN };
	struct repl_ticket_result result;
	int ret;

	if (ticket < 0)
		return ticket;
	do {
		ret = poll(&p, 1, timeout_ms);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0) {
		ret = err_set(e, errno, "waiting for the kernel: %s", strerror(errno));
		goto close_ticket;
	}
	if (ret == 0) {
		ret = err_set(e, ETIMEDOUT, "the kernel has not finished after %d ms; it goes on",
			      timeout_ms);
		goto close_ticket;
	}
	ret = kernel_ticket_read(ticket, &result);
	if (ret)
		err_set(e, -ret, "reading the kernel's answer: %s", strerror(-ret));
	else if (result.error)
		ret = err_set(e, -result.error, "%s",
			      result.text[0] ? result.text : strerror(-result.error));
close_ticket:
	close(ticket);
	return ret;
}

/* -- events ---------------------------------------------------------------- */

int kernel_events_open(struct kernel_events **events, struct err *e)
{
	struct kernel_events *ev = calloc(1, sizeof(*ev));
	int group, ret;

	if (!ev)
		return err_set(e, ENOMEM, "out of memory");
	ev->sock = open_socket(&ev->family, e);
	if (!ev->sock) {
		ret = -errno;
		goto free_events;
	}
	group = genl_ctrl_resolve_grp(ev->sock, REPL_GENL_NAME, REPL_GENL_GROUP);
	ret = group < 0 ? group : nl_socket_add_membership(ev->sock, group);
	if (ret < 0) {
		ret = err_set(e, EIO, "cannot subscribe to the repl module's events: %s",
			      nl_geterror(ret));
		goto free_sock;
	}
	nl_socket_disable_seq_check(ev->sock);
	nl_socket_set_nonblocking(ev->sock);
	nl_socket_set_buffer_size(ev->sock, KERNEL_EVENT_BUFFER, 0);
	*events = ev;
	return 0;

free_sock:
	nl_socket_free(ev->sock);
free_events:
	free(ev);
	return ret;
}

void kernel_events_close(struct kernel_events *ev)
{
	if (!ev)
		return;
	nl_socket_free(ev->sock);
	free(ev);
}

int kernel_events_fd(const struct kernel_events *ev)
{
	return nl_socket_get_fd(ev->sock);
}

static int on_event(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *nlh = nlmsg_hdr(msg);
	struct nlattr *a[REPL_A_MAX + 1];
	struct kernel_event event = { .slot = -1 };
	struct kernel_events *ev = arg;

	if (nlh->nlmsg_type != ev->family || genlmsg_parse(nlh, 0, a, REPL_A_MAX, NULL) < 0 ||
	    !a[REPL_A_EVENT] || !a[REPL_A_MINOR])
		return NL_SKIP;
	event.event = get_u32(a[REPL_A_EVENT]);
	event.minor = get_u32(a[REPL_A_MINOR]);
	if (a[REPL_A_SLOT])
		event.slot = get_u8(a[REPL_A_SLOT]);
	get_text(a[REPL_A_TEXT], event.text, sizeof(event.text));
	ev->fn(ev->arg, &event);
	return NL_OK;
}

int kernel_events_read(struct kernel_events *ev, kernel_event_fn *fn, void *arg, struct err *e)
{
	static const struct kernel_event lost = { .slot = -1 };
	int ret;

	ev->fn = fn;
	ev->arg = arg;
	nl_socket_modify_cb(ev->sock, NL_CB_VALID, NL_CB_CUSTOM, on_event, ev);
	for (;;) {
		struct pollfd p = { .fd = kernel_events_fd(ev), .events = POLLIN };

		/* A pending ENOBUFS shows as POLLERR. */
		if (poll(&p, 1, 0) <= 0)
			return 0;
		errno = 0;
		ret = nl_recvmsgs_default(ev->sock);
		if (ret == -NLE_AGAIN)
			return 0;
		if (ret < 0 && errno == ENOBUFS)
			fn(arg, &lost);
		else if (ret < 0)
			return err_set(e, EIO, "reading the repl module's events: %s",
				       nl_geterror(ret));
	}
}
