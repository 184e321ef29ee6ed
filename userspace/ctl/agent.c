// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "config.h"

static void find_socket(const char *config_dir, struct sockaddr_un *address)
{
	struct config_agent *a = malloc(sizeof(*a));

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	strcpy(address->sun_path, CONFIG_SOCKET);
	/* A mistake elsewhere in the file is the agent's to complain about. */
	if (a) {
		config_load_agent(config_dir, a, NULL, NULL);
		if (a->socket[0])
			strcpy(address->sun_path, a->socket);
	}
	free(a);
}

static int open_socket(const char *config_dir, int timeout_ms, struct err *e)
{
	struct timeval limit = {
		.tv_sec = timeout_ms / 1000,
		.tv_usec = timeout_ms % 1000 * 1000,
	};
	struct sockaddr_un address;
	int fd, ret;

	find_socket(config_dir, &address);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, errno, "cannot open a socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	ret = errno;
	close(fd);
	if (ret == ENOENT || ret == ECONNREFUSED)
		return err_set(e, ret, "no agent answers at %s; start it: systemctl start repl-agent",
			       address.sun_path);
	if (ret == EACCES)
		return err_set(e, ret, "%s: permission denied: see the mode of its directory", address.sun_path);
	return err_set(e, ret, "%s: %s", address.sun_path, strerror(ret));
}

static int send_request(int fd, json_t *request, struct err *e)
{
	char *text = json_dumps(request, JSON_COMPACT);
	struct iovec part[2];
	struct msghdr msg = { .msg_iov = part, .msg_iovlen = 2 };
	ssize_t put;

	if (!text)
		return err_set(e, ENOMEM, "out of memory");
	part[0] = (struct iovec){ text, strlen(text) };
	part[1] = (struct iovec){ "\n", 1 };
	/* Requests are far smaller than a socket's buffer: in one piece or not at all. */
	put = sendmsg(fd, &msg, MSG_NOSIGNAL);
	free(text);
	/* One that hangs up at once has said why. */
	if (put < 0 && errno != EPIPE)
		return err_set(e, errno, "asking the agent: %s", strerror(errno));
	return 0;
}

/* Return: 1 for the final answer, 0 for progress, or -errno. */
static int take_line(const char *line, agent_progress *progress, void *arg, json_t **answer,
		     struct err *e)
{
	json_t *root = json_loads(line, 0, NULL);
	const char *text;

	if (!json_is_object(root)) {
		json_decref(root);
		return err_set(e, EPROTO,
			       "cannot understand the agent's answer; agent and repl-ctl are of different versions");
	}
	text = json_string_value(json_object_get(root, "progress"));
	if (!text) {
		*answer = root;
		return 1;
	}
	if (progress)
		progress(arg, text);
	json_decref(root);
	return 0;
}

static int read_answer(int fd, agent_progress *progress, void *arg, json_t **answer,
		       struct err *e)
{
	FILE *f = fdopen(fd, "r");
	char *line = NULL;
	size_t size = 0;
	int ret = 0;

	if (!f) {
		ret = err_set(e, errno, "reading from the agent: %s", strerror(errno));
		close(fd);
		return ret;
	}
	while (!ret) {
		errno = 0;
		if (getline(&line, &size, f) > 0)
			ret = take_line(line, progress, arg, answer, e);
		else if (errno == EAGAIN)
			ret = err_set(e, ETIMEDOUT, "the agent does not answer in time: systemctl status repl-agent; restarting it stops no writes");
		else if (errno && errno != ECONNRESET)
			ret = err_set(e, errno, "reading from the agent: %s", strerror(errno));
		else
			ret = err_set(e, ECONNRESET,
				      "the agent ended before it answered; look into its log: journalctl -u repl-agent");
	}
	free(line);
	fclose(f);
	return ret < 0 ? ret : 0;
}

int agent_ask(const char *config_dir, json_t *request, int timeout_ms, agent_progress *progress,
	      void *arg, json_t **answer, struct err *e)
{
	int fd = open_socket(config_dir, timeout_ms, e);
	int ret;

	if (fd < 0)
		return fd;
	ret = send_request(fd, request, e);
	if (ret) {
		close(fd);
		return ret;
	}
	return read_answer(fd, progress, arg, answer, e);
}
