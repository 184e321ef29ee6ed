// SPDX-License-Identifier: GPL-2.0-or-later
#include "helper.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

struct helper {
	struct helper *next;
	struct agent *agent;
	struct pair *pair;
	struct loop_watch watch;
	uint64_t deadline;
	char line[REPL_TEXT_MAX];
	size_t have;
};

/* Takes it off the list: what the core does next may begin another one. */
static void end(struct helper *h, bool well, const char *text)
{
	struct helper **at = &h->agent->helpers;
	struct agent *a = h->agent;
	struct pair *p = h->pair;
	int fd = h->watch.fd;

	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	loop_unwatch(&a->loop, &h->watch);
	close(fd);
	agent_now(a);
	core_helper_done(p, well, text);
	free(h);
}

/* "repl-failover: spool: mounted ..." : who and what about is known where it is shown. */
static const char *plain(const struct helper *h, const char *line)
{
	const char *name = h->pair->volume->name;
	size_t length = strlen(name);

	if (!strncmp(line, "repl-failover: ", 15))
		line += 15;
	if (!strncmp(line, name, length) && !strncmp(line + length, ": ", 2))
		line += length + 2;
	return line;
}

/* Return: whether it was the last one, and @h is gone. */
static bool take_line(struct helper *h)
{
	char line[REPL_TEXT_MAX];

	memcpy(line, h->line, h->have);
	line[h->have] = '\0';
	h->have = 0;
	if (!strcmp(line, "done")) {
		end(h, true, "");
		return true;
	}
	if (!strncmp(line, "failed ", 7)) {
		end(h, false, plain(h, line + 7));
		return true;
	}
	agent_now(h->agent);
	core_helper_line(h->pair, plain(h, line));
	return false;
}

static void readable(struct loop_watch *w, uint32_t events)
{
	struct helper *h = container(w, struct helper, watch);
	char bytes[2048];
	ssize_t n = recv(w->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] != '\n' && h->have < sizeof(h->line) - 1)
			h->line[h->have++] = bytes[i];
		if (bytes[i] == '\n' && take_line(h))
			return;
	}
	if (n <= 0)
		end(h, false, "its repl-failover has ended without a word: see its journal there");
}

static const char *words(int error, char *text, size_t size)
{
	if (error == ENOENT || error == ECONNREFUSED)
		return "it takes nothing over when asked by others: run systemctl enable --now "
		       "repl-failover.socket there, see repl-failover(8)";
	snprintf(text, size, "its repl-failover cannot be asked: %s", strerror(error));
	return text;
}

static int reach(struct agent *a, const struct pair *p, bool check)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char line[REPL_NAME_MAX + 16];
	int ret;

	if (fd < 0)
		return -errno;
	memcpy(to.sun_path, a->config.agent.failover_socket, sizeof(to.sun_path));
	ret = snprintf(line, sizeof(line), "%s %s\n", check ? "check" : "take", p->volume->name);
	if (!connect(fd, (const struct sockaddr *)&to, sizeof(to)) &&
	    send(fd, line, (size_t)ret, MSG_NOSIGNAL) == ret)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

void helper_ask(struct agent *a, struct pair *p, bool check)
{
	struct helper *h = calloc(1, sizeof(*h));
	int fd = h ? reach(a, p, check) : -ENOMEM;
	int ret = fd;
	char text[128];

	if (fd >= 0) {
		*h = (struct helper){
			.agent = a, .pair = p, .watch = { .fd = -1, .ready = readable },
			.deadline = loop_now() + (check ? CORE_HELP_CHECK_MS : CORE_HELP_MS),
		};
		ret = loop_watch(&a->loop, &h->watch, fd, EPOLLIN);
	}
	if (ret >= 0) {
		h->next = a->helpers;
		a->helpers = h;
		return;
	}
	if (fd >= 0)
		close(fd);
	free(h);
	agent_now(a);
	core_helper_done(p, false, words(-ret, text, sizeof(text)));
}

void helper_forget(struct agent *a, const struct pair *p)
{
	for (struct helper **at = &a->helpers, *h; (h = *at);) {
		int fd = h->watch.fd;

		if (h->pair != p) {
			at = &h->next;
			continue;
		}
		*at = h->next;
		loop_unwatch(&a->loop, &h->watch);
		close(fd);
		free(h);
	}
}

void helper_tick(struct agent *a)
{
	struct helper *next;
	uint64_t now = loop_now();

	for (struct helper *h = a->helpers; h; h = next) {
		next = h->next;
		if (now >= h->deadline)
			end(h, false, "its repl-failover does not end, and may go on: see its journal there");
	}
}

uint64_t helper_deadline(const struct agent *a)
{
	uint64_t at = UINT64_MAX;

	for (const struct helper *h = a->helpers; h; h = h->next)
		if (h->deadline < at)
			at = h->deadline;
	return at;
}
