/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Netlink messages to the repl module that no client of ours would send, and what
 * comes back in full: the errno, the sentence, the attribute that was missing.
 */
#ifndef TESTS_VM_PROG_NLRAW_H
#define TESTS_VM_PROG_NLRAW_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/repl.h>
#include <netlink/attr.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <repl/format.h>

enum {
	NLRAW_BYTES	= 256 << 10,	/* of the largest answer, and of a snapshot */
	NLRAW_TICKET_MS	= 60000,
};

struct nlraw {
	struct nl_sock *sock;
	int family;
};

/* What became of one message. */
struct nlraw_answer {
	int error;		/* 0 or a positive errno */
	char text[256];		/* the sentence; "" without one */
	int missing;		/* the attribute that was; 0: not told */
	int fd;			/* a ticket or a cut; -1 */
};

typedef void nlraw_fn(void *arg, struct nlmsghdr *nlh);

static inline void __attribute__((noreturn)) nlraw_die(const char *what)
{
	printf("not ok %s: %s\n", what, strerror(errno));
	exit(1);
}

static inline void nlraw_open(struct nlraw *nl)
{
	struct timeval limit = { .tv_sec = 120 };
	int on = 1;

	nl->sock = nl_socket_alloc();
	if (!nl->sock || genl_connect(nl->sock) < 0)
		nlraw_die("a netlink socket");
	nl->family = genl_ctrl_resolve(nl->sock, REPL_GENL_NAME);
	if (nl->family < 0)
		nlraw_die("the family of the module");
	setsockopt(nl_socket_get_fd(nl->sock), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(nl_socket_get_fd(nl->sock), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	setsockopt(nl_socket_get_fd(nl->sock), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

static inline struct nl_msg *nlraw_message(const struct nlraw *nl, uint8_t cmd, int flags)
{
	struct nl_msg *msg = nlmsg_alloc_size(NLRAW_BYTES);

	if (!msg || !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, nl->family, 0,
				 NLM_F_REQUEST | flags, cmd, REPL_GENL_VERSION))
		nlraw_die("memory for a message");
	return msg;
}

/* With NETLINK_CAP_ACK the attributes follow the bare header of the request. */
static inline void nlraw_take_error(struct nlraw_answer *answer, struct nlmsghdr *nlh)
{
	const struct nlmsgerr *error = nlmsg_data(nlh);
	struct nlattr *attr = (struct nlattr *)((char *)error + NLMSG_ALIGN(sizeof(*error)));
	int left = nlmsg_datalen(nlh) - (int)NLMSG_ALIGN(sizeof(*error));

	answer->error = -error->error;
	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	for (; nla_ok(attr, left); attr = nla_next(attr, &left)) {
		if (nla_type(attr) == NLMSGERR_ATTR_MSG)
			nla_strlcpy(answer->text, attr, sizeof(answer->text));
		if (nla_type(attr) == NLMSGERR_ATTR_MISS_TYPE)
			answer->missing = (int)nla_get_u32(attr);
	}
}

static inline void nlraw_take_fd(struct nlraw_answer *answer, struct nlmsghdr *nlh)
{
	struct nlattr *a[REPL_A_MAX + 1];

	if (genlmsg_parse(nlh, 0, a, REPL_A_MAX, NULL) < 0)
		return;
	if (a[REPL_A_TICKET])
		answer->fd = nla_get_s32(a[REPL_A_TICKET]);
	if (a[REPL_A_CUT_FD])
		answer->fd = nla_get_s32(a[REPL_A_CUT_FD]);
}

/* Receives until the end of what @seq asked for; false when the kernel falls silent. */
static inline bool nlraw_receive(struct nlraw *nl, uint32_t seq, struct nlraw_answer *answer,
				 nlraw_fn *fn, void *arg)
{
	static char bytes[NLRAW_BYTES] __attribute__((aligned(8)));

	for (;;) {
		struct nlmsghdr *nlh = (struct nlmsghdr *)bytes;
		ssize_t n = recv(nl_socket_get_fd(nl->sock), bytes, sizeof(bytes), 0);
		int left = (int)n;

		if (n < 0)
			return false;
		for (; nlmsg_ok(nlh, left); nlh = nlmsg_next(nlh, &left)) {
			if (nlh->nlmsg_seq != seq)
				continue;
			if (nlh->nlmsg_type == NLMSG_ERROR)
				nlraw_take_error(answer, nlh);
			if (nlh->nlmsg_type == NLMSG_ERROR || nlh->nlmsg_type == NLMSG_DONE)
				return true;
			nlraw_take_fd(answer, nlh);
			if (fn)
				fn(arg, nlh);
		}
	}
}

/* Sends @msg, frees it, and waits for the kernel's answer to it. */
static inline void nlraw_ask(struct nlraw *nl, struct nl_msg *msg, struct nlraw_answer *answer,
			     nlraw_fn *fn, void *arg)
{
	uint32_t seq;

	*answer = (struct nlraw_answer){ .fd = -1 };
	nl_complete_msg(nl->sock, msg);
	seq = nlmsg_hdr(msg)->nlmsg_seq;
	if (nl_send(nl->sock, msg) < 0)
		nlraw_die("sending");
	nlmsg_free(msg);
	if (!nlraw_receive(nl, seq, answer, fn, arg))
		nlraw_die("the kernel has not answered");
}

/* Waits for the end of a command that was begun, and closes the ticket. */
static inline void nlraw_ticket(struct nlraw_answer *answer)
{
	struct repl_ticket_result result;
	struct pollfd p = { .fd = answer->fd, .events = POLLIN };

	if (answer->fd < 0)
		return;
	if (poll(&p, 1, NLRAW_TICKET_MS) != 1 ||
	    read(answer->fd, &result, sizeof(result)) != sizeof(result))
		nlraw_die("waiting for a ticket");
	close(answer->fd);
	answer->fd = -1;
	answer->error = -result.error;
	snprintf(answer->text, sizeof(answer->text), "%s", result.text);
}

/* ----------------------------------------------------------- snapshots -- */

struct nlraw_state {
	bool counters;			/* compare them, too */
	size_t bytes, volumes;
	char at[NLRAW_BYTES];
};

static inline void nlraw_blank(struct nlattr *attr)
{
	memset(nla_data(attr), 0, nla_len(attr));
}

/* Ages, and the region log, which is cleaned when it is time to. */
static inline bool nlraw_fleeting(int outer, int inner)
{
	return outer == REPL_A_COUNTERS ? inner == REPL_C_LOG_WAITS || inner == REPL_C_LOG_WRITES :
					  inner == REPL_S_LINK_AGE_MS;
}

/* What changes by itself, when nothing happens, counts for nothing. */
static inline void nlraw_note(void *arg, struct nlmsghdr *nlh)
{
	struct nlraw_state *state = arg;
	struct nlattr *attr, *inner;
	int left, rest, type;

	attr = genlmsg_attrdata(nlmsg_data(nlh), 0);
	left = genlmsg_attrlen(nlmsg_data(nlh), 0);
	nla_for_each_attr(attr, attr, left, left) {
		type = nla_type(attr);
		if (type == REPL_A_GATE_AGE_MS || (type == REPL_A_COUNTERS && !state->counters))
			nlraw_blank(attr);
		else if (type == REPL_A_SLOT_INFO || type == REPL_A_COUNTERS)
			nla_for_each_nested(inner, attr, rest)
				if (nlraw_fleeting(type, nla_type(inner)))
					nlraw_blank(inner);
	}
	if (state->bytes + nlmsg_datalen(nlh) > sizeof(state->at))
		nlraw_die("room for a snapshot");
	memcpy(state->at + state->bytes, nlmsg_data(nlh), nlmsg_datalen(nlh));
	state->bytes += nlmsg_datalen(nlh);
	state->volumes++;
}

/* Everything that GET tells of all volumes that @nl sees. */
static inline void nlraw_snapshot(struct nlraw *nl, struct nlraw_state *state, bool counters)
{
	struct nlraw_answer answer;

	state->counters = counters;
	state->bytes = 0;
	state->volumes = 0;
	nlraw_ask(nl, nlraw_message(nl, REPL_CMD_GET, NLM_F_DUMP), &answer, nlraw_note, state);
}

static inline bool nlraw_equal(const struct nlraw_state *a, const struct nlraw_state *b)
{
	return a->bytes == b->bytes && !memcmp(a->at, b->at, a->bytes);
}

#endif /* TESTS_VM_PROG_NLRAW_H */
