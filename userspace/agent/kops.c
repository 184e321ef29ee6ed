// SPDX-License-Identifier: GPL-2.0-or-later
#include "kops.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bring.h"
#include "stage.h"
#include "id.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* A ticket that is watched. */
struct ticket {
	struct ticket *next;
	struct agent *agent;
	struct loop_watch watch;
	struct volume *volume;	/* NULL: forgotten, or somebody else's */
	struct pair *pair;
	enum op_kind kind;
	uint32_t turn;
	kops_fn *fn;
	void *arg;
};

static struct ticket *tickets;

static void end(struct ticket *t, int error, const char *text)
{
	struct agent *a = t->agent;

	for (struct ticket **at = &tickets; *at; at = &(*at)->next) {
		if (*at == t) {
			*at = t->next;
			break;
		}
	}
	if (t->fn)
		t->fn(t->arg, error, text);
	else if (t->volume)
		agent_op_done(a, t->volume, t->pair, t->kind, t->turn, error, text);
	free(t);
}

static void ready(struct loop_watch *w, uint32_t events)
{
	struct ticket *t = container(w, struct ticket, watch);
	struct repl_ticket_result result = { 0 };
	int fd = w->fd;
	int ret = kernel_ticket_read(fd, &result);

	(void)events;
	if (ret == -EAGAIN)
		return;
	loop_unwatch(&t->agent->loop, w);
	close(fd);
	if (ret)
		end(t, ret, "the kernel's answer cannot be read");
	else
		end(t, result.error, result.text);
}

static void watch(struct ticket *t, int fd, const char *why)
{
	int ret;

	t->watch.fd = -1;
	t->watch.ready = ready;
	t->next = tickets;
	tickets = t;
	if (fd < 0) {
		end(t, fd, why);
		return;
	}
	ret = loop_watch(&t->agent->loop, &t->watch, fd, EPOLLIN);
	if (ret) {
		close(fd);
		end(t, ret, "the kernel's answer cannot be watched");
	}
}

static struct ticket *ticket_new(struct agent *a)
{
	struct ticket *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	t->agent = a;
	return t;
}

void kops_ticket(struct agent *a, int ticket, const char *why, kops_fn *fn, void *arg)
{
	struct ticket *t = ticket_new(a);

	t->fn = fn;
	t->arg = arg;
	watch(t, ticket, why);
}

static int link_add(struct agent *a, struct volume *v, struct pair *p, const struct op *op,
		    struct err *e)
{
	struct pair_io *io = agent_pair_io(p);
	struct kernel_link l = {
		.minor = agent_volume_io(v)->minor, .slot = op->slot, .sock_fd = io->link_fd,
		.cookie = op->cookie, .flags = op->flags, .timeout_ms = v->set.timeout_ms,
		.stuck_ms = v->set.stuck_ms, .generation = op->id, .epoch = op->epoch,
	};

	memcpy(l.history, op->history, sizeof(l.history));
	if (io->link_fd < 0)
		return err_set(e, ENOTCONN, "the link's connection is gone");
	return kernel_link_add(a->kernel, &l, e);
}

static int begin(struct agent *a, struct volume *v, struct pair *p, const struct op *op,
		 struct err *e)
{
	uint32_t minor = agent_volume_io(v)->minor;

	switch (op->kind) {
	case OP_SLOT_SET:
		return kernel_slot_set(a->kernel, minor, op->slot, (enum repl_slot_kind)op->flags,
				       op->key, &op->id, e);
	case OP_FOLLOW:
		/* One that cannot be removed is void, too: the superblock names none then. */
		if (p)
			stage_clear(agent_volume_io(v));
		return kernel_follow(a->kernel, minor, op->slot, &op->id, op->staged.file, e);
	case OP_MARK:
		return kernel_mark(a->kernel, minor, op->mask, op->extents, op->extent_count, e);
	case OP_FREEZE:
		return kernel_freeze(a->kernel, minor, (enum repl_gate)op->flags, op->deadline_ms, e);
	case OP_EPOCH:
		return kernel_epoch(a->kernel, minor, e);
	case OP_RECORD:
		return kernel_commit(a->kernel, minor, op->slot, &op->id, op->epoch,
				     op->follow ? op->history : NULL, e);
	case OP_LINK_ADD:
		return link_add(a, v, p, op, e);
	case OP_LINK_DEL:
		return kernel_link_del(a->kernel, minor, op->slot, e);
	case OP_ROLE:
		return kernel_role(a->kernel, minor, op->role, op->flags,
				   id_is_zero(&op->id) ? NULL : &op->id, e);
	case OP_RESUME:
		return kernel_resume(a->kernel, minor, &op->id, e);
	case OP_RESIZE:
		return kernel_resize(a->kernel, minor, op->size, e);
	case OP_REPLACE:
		return bring_replace_begin(a, v, e);
	case OP_DETACH:
		return kernel_detach(a->kernel, minor, op->flags, e);
	default:
		return err_set(e, ENOTSUP, "cannot %s", op_name(op->kind));
	}
}

/* The kernel holds the socket now, or refused it: either way it is not the agent's. */
static void link_added(void *arg, int error, const char *text)
{
	struct ticket *t = arg;
	struct pair_io *io = t->volume ? agent_pair_io(t->pair) : NULL;

	if (io && io->link_fd >= 0) {
		close(io->link_fd);
		io->link_fd = -1;
	}
	if (t->volume)
		agent_op_done(t->agent, t->volume, t->pair, t->kind, t->turn, error, text);
}

static void replaced(void *arg, int error, const char *text)
{
	struct ticket *t = arg;

	if (!t->volume)
		return;
	bring_replaced(t->volume, !error);
	agent_op_done(t->agent, t->volume, NULL, t->kind, t->turn, error, text);
}

void kops_begin(struct agent *a, struct volume *v, struct pair *p, const struct op *op)
{
	struct ticket *t = ticket_new(a);
	struct err e = { "" };

	t->volume = v;
	t->pair = p;
	t->kind = op->kind;
	t->turn = op->turn;
	if (op->kind == OP_LINK_ADD) {
		t->fn = link_added;
		t->arg = t;
	} else if (op->kind == OP_REPLACE) {
		t->fn = replaced;
		t->arg = t;
	}
	watch(t, begin(a, v, p, op, &e), e.text);
}

void kops_forget(struct agent *a, struct volume *v, struct pair *p)
{
	for (struct ticket *t = tickets; t; t = t->next)
		if (t->agent == a && t->volume == v && t->pair == p)
			t->volume = NULL;
}

void kops_exit(struct agent *a)
{
	while (tickets) {
		struct ticket *t = tickets;
		int fd = t->watch.fd;

		tickets = t->next;
		loop_unwatch(&a->loop, &t->watch);
		if (fd >= 0)
			close(fd);
		free(t);
	}
}

/* --------------------------------------------------------------- cuts --- */

static void cut_answer(struct pair_io *io, int error, const char *text)
{
	if (!io->cut_waiting)
		return;
	io->cut_waiting = false;
	agent_op_done(io->agent, io->pair->volume, io->pair, OP_CUT, io->cut_turn, error, text);
}

static void drained(struct loop_watch *w, uint32_t events)
{
	struct pair_io *io = container(w, struct pair_io, cut_watch);

	(void)events;
	loop_unwatch(&io->agent->loop, w);
	cut_answer(io, 0, NULL);
}

void kops_abort(struct pair_io *io)
{
	loop_unwatch(&io->agent->loop, &io->cut_watch);
	if (io->cut_fd >= 0)
		close(io->cut_fd);
	io->cut_fd = -1;
	cut_answer(io, -ECANCELED, "given up");
}

void kops_cut(struct pair_io *io, const struct op *op)
{
	struct agent *a = io->agent;
	struct err e = { "" };
	int ret;

	kops_abort(io);
	io->cut_turn = op->turn;
	io->cut_waiting = true;
	io->cut_watch.ready = drained;
	ret = kernel_cut(a->kernel, agent_volume_io(io->pair->volume)->minor, op->slot, op->flags,
			 0, &e);
	if (ret < 0) {
		cut_answer(io, ret, e.text);
		return;
	}
	io->cut_fd = ret;
	ret = loop_watch(&a->loop, &io->cut_watch, io->cut_fd, EPOLLIN);
	if (ret)
		kops_abort(io);
}

void kops_commit(struct pair_io *io, const struct op *op)
{
	int error = io->cut_fd < 0 ? -EBADF : 0;

	if (!error && ioctl(io->cut_fd, REPL_CUT_IOC_COMMIT))
		error = -errno;
	kops_abort(io);
	agent_op_done(io->agent, io->pair->volume, io->pair, OP_COMMIT, op->turn, error,
		      error ? strerror(-error) : NULL);
}
