// SPDX-License-Identifier: GPL-2.0-or-later
#include "loop.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

enum { ENTRIES = 512, BATCH = 64 };

uint64_t loop_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

struct io_uring_sqe *loop_sqe(struct loop *l, struct loop_op *op)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&l->ring)))
		io_uring_submit(&l->ring);
	io_uring_sqe_set_data(sqe, op);
	return sqe;
}

static void deliver_watches(struct loop *l)
{
	struct epoll_event ev[BATCH];
	int n = epoll_wait(l->epoll_fd, ev, BATCH, 0);

	for (int i = 0; i < n; i++)
		l->delivering[i] = ev[i].data.ptr;
	for (int i = 0; i < n; i++) {
		struct loop_watch *w = l->delivering[i];

		l->delivering[i] = NULL;
		if (w)
			w->ready(w, ev[i].events);
	}
}

static void arm_poll(struct loop *l)
{
	struct io_uring_sqe *sqe = loop_sqe(l, &l->poll_op);

	io_uring_prep_poll_add(sqe, l->epoll_fd, POLLIN);
	io_uring_sqe_set_data(sqe, &l->poll_op);
}

static void poll_done(struct loop_op *op, int res)
{
	struct loop *l = (struct loop *)((char *)op - offsetof(struct loop, poll_op));

	if (res < 0 && res != -EINTR && res != -ECANCELED)
		log_error(NULL, "the event loop cannot poll: %s", strerror(-res));
	deliver_watches(l);
	arm_poll(l);
}

int loop_init(struct loop *l, struct err *e)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_CLAMP,
	};
	int ret;

	memset(l, 0, sizeof(*l));
	ret = io_uring_queue_init_params(ENTRIES, &l->ring, &p);
	if (ret)
		return err_set(e, -ret, "io_uring cannot be set up (%s): the kernel must have it "
			       "and kernel.io_uring_disabled must be 0", strerror(-ret));
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		ret = err_set(e, errno, "epoll: %s", strerror(errno));
		io_uring_queue_exit(&l->ring);
		return ret;
	}
	l->poll_op.done = poll_done;
	arm_poll(l);
	return 0;
}

void loop_exit(struct loop *l)
{
	io_uring_queue_exit(&l->ring);
	close(l->epoll_fd);
}

int loop_watch(struct loop *l, struct loop_watch *w, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };
	int ret;

	if (w->fd == fd && w->events == events)
		return 0;
	ret = epoll_ctl(l->epoll_fd, w->fd == fd ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev);
	if (ret)
		return -errno;
	w->fd = fd;
	w->events = events;
	return 0;
}

void loop_unwatch(struct loop *l, struct loop_watch *w)
{
	if (w->fd < 0)
		return;
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->fd = -1;
	for (int i = 0; i < BATCH; i++)
		if (l->delivering[i] == w)
			l->delivering[i] = NULL;
}

void loop_run(struct loop *l, uint64_t timeout_ms)
{
	struct __kernel_timespec ts = {
		.tv_sec = (long long)(timeout_ms / 1000),
		.tv_nsec = (long long)(timeout_ms % 1000) * 1000000,
	};
	struct io_uring_cqe *cqe;
	int ret;

	ret = io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1, &ts, NULL);
	if (ret < 0 && ret != -ETIME && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY)
		log_error(NULL, "the event loop cannot wait: %s", strerror(-ret));
	while (!io_uring_peek_cqe(&l->ring, &cqe)) {
		struct loop_op *op = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&l->ring, cqe);
		if (op)
			op->done(op, res);
	}
}
