// SPDX-License-Identifier: GPL-2.0-or-later
#include "control.h"

#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bring.h"
#include "id.h"
#include "log.h"
#include "nodes.h"
#include "status.h"
#include "survey.h"
#include "witness.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

enum { LOOK_MS = 100, TIMEOUT_MAX_S = 1000000000 };

struct client {
	struct client *next;
	struct control *control;
	struct loop_watch watch;
	int fd;
	bool may_change;
	uint32_t request;	/* under way; 0: none */
	json_t *nodes;		/* what the others have told so far; NULL: they are not asked */
	uint64_t moved_at;	/* bytes, in either direction */
	char in[CONTROL_LINE_MAX];
	size_t in_have;
	char *out;
	size_t out_have, out_sent;
};

struct control {
	struct agent *agent;
	struct loop_watch watch;
	int fd;
	struct client *clients;
	unsigned int count;
	unsigned int others;	/* of them, who may change nothing */
	uint32_t last_request;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void take_lines(struct client *c);

static void drop(struct client *c)
{
	struct control *ctl = c->control;
	struct client **at = &ctl->clients;

	if (c->request)
		core_request_gone(&ctl->agent->core, c->request);
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	ctl->count--;
	ctl->others -= !c->may_change;
	loop_unwatch(&ctl->agent->loop, &c->watch);
	close(c->fd);
	json_decref(c->nodes);
	free(c->out);
	free(c);
}

/* Words for one who is not served; whoever does not take them goes without. */
static void turn_away(int fd, const char *text)
{
	json_t *j = json_pack("{s:b, s:s, s:i}", "ok", 0, "text", text, "code", 1);
	char line[512];
	size_t length = json_dumpb(j, line, sizeof(line) - 1, JSON_COMPACT);

	json_decref(j);
	if (length >= sizeof(line))
		return;
	line[length] = '\n';
	send(fd, line, length + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* One request at a time, and the next one after its reply was read. */
static bool busy(const struct client *c)
{
	return c->request || c->out_have;
}

static void watch(struct client *c)
{
	uint32_t events = c->out_have ? EPOLLOUT : 0;

	if (c->in_have < sizeof(c->in))
		events |= EPOLLIN;
	loop_watch(&c->control->agent->loop, &c->watch, c->fd, events);
}

/* Return: false when the client is gone. */
static bool push(struct client *c)
{
	while (c->out_sent < c->out_have) {
		ssize_t n = send(c->fd, c->out + c->out_sent, c->out_have - c->out_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			watch(c);
			return true;
		}
		if (n <= 0) {
			drop(c);
			return false;
		}
		c->out_sent += (size_t)n;
		c->moved_at = loop_now();
	}
	free(c->out);
	c->out = NULL;
	c->out_have = c->out_sent = 0;
	watch(c);
	return true;
}

/* Whether @length bytes more may wait for @c, and for whoever else shares its bound. */
static bool has_room(const struct client *c, size_t length)
{
	size_t unread = c->out_have;

	for (const struct client *i = c->control->clients; i && !c->may_change; i = i->next)
		if (i != c && !i->may_change)
			unread += i->out_have;
	return unread + length <= CONTROL_UNREAD_MAX;
}

/*
 * Takes @j; NULL: there was no memory for it, since words of strangers come as plain ASCII.
 * Return: false when the client is gone.
 */
static bool say(struct client *c, json_t *j)
{
	const char *why = "the agent is out of memory";
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	size_t length = text ? strlen(text) : 0;
	char *out = NULL;

	json_decref(j);
	if (text && has_room(c, length + 1))
		out = realloc(c->out, c->out_have + length + 1);
	else if (text)
		why = "too much that was asked for is not read yet: try again";
	if (!out) {
		free(text);
		if (!c->out_have)
			turn_away(c->fd, why);
		drop(c);
		return false;
	}
	c->out = out;
	memcpy(out + c->out_have, text, length);
	out[c->out_have + length] = '\n';
	c->out_have += length + 1;
	free(text);
	return push(c);
}

static struct client *find(struct agent *a, uint32_t request)
{
	for (struct client *c = a->control->clients; c; c = c->next)
		if (request && c->request == request)
			return c;
	return NULL;
}

void control_progress(struct agent *a, uint32_t request, const char *text)
{
	struct client *c = find(a, request);

	if (c)
		say(c, json_pack("{s:s}", "progress", text));
}

static bool answer(struct client *c, bool ok, const char *text)
{
	json_t *j = json_object();

	json_object_set_new(j, "ok", json_boolean(ok));
	if (text && text[0])
		json_object_set_new(j, "text", json_string(text));
	if (!ok)
		json_object_set_new(j, "code", json_integer(1));
	if (c->nodes)
		json_object_set_new(j, "nodes", c->nodes);
	c->nodes = NULL;
	c->request = 0;
	c->moved_at = loop_now();
	return say(c, j);
}

void control_reply(struct agent *a, uint32_t request, bool ok, const char *text)
{
	struct client *c = find(a, request);

	if (c && answer(c, ok, text))
		take_lines(c);
}

void control_surveyed(struct agent *a, const struct action *act)
{
	struct client *c = find(a, act->request);

	if (c && c->nodes)
		json_array_append_new(c->nodes, nodes_json(a, act));
}

/* ------------------------------------------------------------ requests -- */

/* What a command gets; what it does not name is zero. */
struct request {
	struct core_request core;
	const char *what;	/* "for" */
	const char *device, *metadata;
	const char *node;
	bool check;
	uint64_t timeout_ms;	/* 0: for as long as it takes */
	struct core_resolution resolution;
	struct core_verify verify;
	const char *uuid, *generation;
};

static void do_up(struct client *c, struct request *r)
{
	bring_up(c->control->agent, r->core.id, r->core.volume);
}

static void do_down(struct client *c, struct request *r)
{
	core_down(&c->control->agent->core, &r->core);
}

static void do_primary(struct client *c, struct request *r)
{
	core_primary(&c->control->agent->core, &r->core);
}

static void do_secondary(struct client *c, struct request *r)
{
	core_secondary(&c->control->agent->core, &r->core);
}

static void do_resize(struct client *c, struct request *r)
{
	core_resize(&c->control->agent->core, &r->core);
}

static void do_replace(struct client *c, struct request *r)
{
	if ((r->device[0] && r->device[0] != '/') || (r->metadata[0] && r->metadata[0] != '/'))
		answer(c, false, "the device needs an absolute path");
	else
		bring_replace(c->control->agent, &r->core, r->device, r->metadata);
}

static void do_peer_add(struct client *c, struct request *r)
{
	bring_peer_add(c->control->agent, &r->core, r->node);
}

static void do_peer_remove(struct client *c, struct request *r)
{
	bring_peer_remove(c->control->agent, &r->core, r->node);
}

static void do_take_over(struct client *c, struct request *r)
{
	core_take_over(&c->control->agent->core, &r->core, r->node, r->check);
}

static void do_wait(struct client *c, struct request *r)
{
	static const struct {
		const char *name;
		enum wait_kind kind;
	} kinds[] = {
		{ "connected", WAIT_CONNECTED },
		{ "in-sync", WAIT_IN_SYNC },
		{ "primary", WAIT_PRIMARY },
		{ "secondary", WAIT_SECONDARY },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!strcmp(r->what, kinds[i].name)) {
			core_wait(&c->control->agent->core, &r->core, kinds[i].kind, r->timeout_ms);
			return;
		}
	}
	answer(c, false, "one can wait for connected, in-sync, primary or secondary");
}

static void do_resolve(struct client *c, struct request *r)
{
	const struct resolution *shown = &r->resolution.shown;

	if (!r->resolution.keep[0] || id_is_zero(&shown->keep) || id_is_zero(&shown->discard))
		answer(c, false, "resolve needs whom to keep, and both generations as status shows them");
	else if (r->resolution.save_to[0] && r->resolution.save_to[0] != '/')
		answer(c, false, "the directory needs an absolute path");
	else
		core_resolve(&c->control->agent->core, &r->core, &r->resolution);
}

static void do_verify(struct client *c, struct request *r)
{
	core_verify(&c->control->agent->core, &r->core, &r->verify);
}

static void do_scrub(struct client *c, struct request *r)
{
	r->verify.scrub = true;
	core_verify(&c->control->agent->core, &r->core, &r->verify);
}

static void do_status(struct client *c, struct request *r)
{
	c->request = 0;
	say(c, status_json(c->control->agent, r->core.volume));
}

static void do_nodes(struct client *c, struct request *r)
{
	c->nodes = json_array();
	survey_begin(&c->control->agent->core, r->core.id);
}

static void do_peers(struct client *c, struct request *r)
{
	(void)r;
	c->request = 0;
	say(c, status_peers(c->control->agent));
}

static void do_reload(struct client *c, struct request *r)
{
	struct err e = { "" };
	int ret = bring_config(c->control->agent, NULL, &e);

	(void)r;
	if (ret)
		err_set(&e, -ret, "%s; the configuration stays as it was", e.text);
	answer(c, !ret, ret ? e.text : "read: new peers and addresses count from now on, and a "
	       "peer's mode and interval; what else is said of a volume when it comes up next");
}

static void do_witness_add(struct client *c, struct request *r)
{
	struct repl_id uuid, generation;
	struct err e = { "" };
	int ret;

	if (id_parse(r->uuid, &uuid) || id_parse(r->generation, &generation) || id_is_zero(&uuid) ||
	    id_is_zero(&generation)) {
		answer(c, false, "a witness needs the volume's UUID and its generation, as repl-ctl status --json "
		       "shows them on the primary");
		return;
	}
	ret = witness_add(c->control->agent, r->core.volume, &uuid, &generation, r->core.force, &e);
	answer(c, !ret, ret ? e.text : "this node is a witness for it now");
}

static void do_witness_remove(struct client *c, struct request *r)
{
	struct err e = { "" };
	int ret = witness_remove(r->core.volume, &e);

	answer(c, !ret, ret ? e.text : "this node is no witness for it any more");
}

static void do_witness_list(struct client *c, struct request *r)
{
	(void)r;
	c->request = 0;
	say(c, witness_json(c->control->agent));
}

static const struct command {
	const char *name;
	void (*run)(struct client *c, struct request *r);
	bool changes, needs_volume;
} commands[] = {
	{ "up", do_up, true, true },
	{ "down", do_down, true, true },
	{ "primary", do_primary, true, true },
	{ "secondary", do_secondary, true, true },
	{ "resize", do_resize, true, true },
	{ "replace", do_replace, true, true },
	{ "peer-add", do_peer_add, true, true },
	{ "peer-remove", do_peer_remove, true, true },
	{ "take-over", do_take_over, true, true },
	{ "wait", do_wait, false, true },
	{ "resolve", do_resolve, true, true },
	{ "verify", do_verify, true, true },
	{ "scrub", do_scrub, true, true },
	{ "status", do_status, false, false },
	{ "nodes", do_nodes, false, false },
	{ "peers", do_peers, false, false },
	{ "reload", do_reload, true, false },
	{ "witness-add", do_witness_add, true, true },
	{ "witness-remove", do_witness_remove, true, true },
	{ "witness-list", do_witness_list, false, false },
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static const char *text_of(json_t *j, const char *key)
{
	const char *text = json_string_value(json_object_get(j, key));

	return text ? text : "";
}

/* A wait of no time at all is one look at the volume, and gets the time that this takes. */
static uint64_t timeout_of(const json_t *j)
{
	const json_t *timeout = json_object_get(j, "timeout");
	double s = json_number_value(timeout);

	if (!json_is_number(timeout) || s < 0)
		return 0;
	if (s > TIMEOUT_MAX_S)
		s = TIMEOUT_MAX_S;
	return s * 1000 < LOOK_MS ? LOOK_MS : (uint64_t)(s * 1000) + 1;
}

/* Return: false when the client is gone. */
static bool run(struct client *c, json_t *j)
{
	const struct command *cmd = find_command(text_of(j, "cmd"));
	struct request r = {
		.core = {
			.volume = text_of(j, "volume"), .force = json_is_true(json_object_get(j, "force")),
			.peer_dead = json_is_true(json_object_get(j, "peer_dead")),
			.size = (uint64_t)json_integer_value(json_object_get(j, "size")),
		},
		.what = text_of(j, "for"), .device = text_of(j, "device"),
		.metadata = text_of(j, "metadata"), .node = text_of(j, "node"),
		.check = json_is_true(json_object_get(j, "check")), .uuid = text_of(j, "uuid"),
		.generation = text_of(j, "generation"),
		.resolution = {
			.keep = text_of(j, "keep"), .save_to = text_of(j, "save_to"),
			.no_save = json_is_true(json_object_get(j, "no_save")),
		},
		.verify = {
			.peer = text_of(j, "peer"), .repair = text_of(j, "repair"),
			.stop = json_is_true(json_object_get(j, "stop")),
		},
	};
	struct control *ctl = c->control;

	id_parse(text_of(j, "keep_generation"), &r.resolution.shown.keep);
	id_parse(text_of(j, "discard_generation"), &r.resolution.shown.discard);
	if (!cmd)
		return answer(c, false, "this agent does not know that command");
	if (cmd->changes && !c->may_change)
		return answer(c, false, "only root, and the user the agent runs as, may change something: use sudo");
	if (cmd->needs_volume && !config_valid_name(r.core.volume))
		return answer(c, false, "the command needs the name of a volume");
	r.timeout_ms = timeout_of(j);
	do
		r.core.id = ++ctl->last_request;
	while (!r.core.id || find(ctl->agent, r.core.id));
	c->request = r.core.id;
	agent_now(ctl->agent);
	cmd->run(c, &r);
	for (struct client *i = ctl->clients; i; i = i->next)
		if (i == c)
			return true;
	return false;
}

static void take_lines(struct client *c)
{
	char *end;

	while (!busy(c) && (end = memchr(c->in, '\n', c->in_have))) {
		size_t length = (size_t)(end - c->in) + 1;
		json_error_t error;
		json_t *j;
		bool alive;

		*end = '\0';
		j = json_loads(c->in, JSON_REJECT_DUPLICATES, &error);
		memmove(c->in, c->in + length, c->in_have - length);
		c->in_have -= length;
		if (json_is_object(j))
			alive = run(c, j);
		else
			alive = answer(c, false, "a request is one JSON object on one line");
		json_decref(j);
		if (!alive)
			return;
	}
	if (!busy(c) && c->in_have == sizeof(c->in)) {
		c->in_have = 0;
		if (!answer(c, false, "the request is too long"))
			return;
	}
	watch(c);
}

static void readable(struct loop_watch *w, uint32_t events)
{
	struct client *c = container(w, struct client, watch);
	ssize_t n;

	if ((events & EPOLLOUT) && !push(c))
		return;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		n = read(c->fd, c->in + c->in_have, sizeof(c->in) - c->in_have);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			drop(c);
			return;
		}
		c->in_have += (size_t)n;
		c->moved_at = loop_now();
	}
	take_lines(c);
}

/* Why one more is not served; NULL: it is. */
static const char *no_place(const struct control *ctl, bool may_change)
{
	if (ctl->count >= CONTROL_CLIENTS_MAX)
		return "too many ask the agent at a time: try again";
	if (!may_change && ctl->others >= CONTROL_OTHERS_MAX)
		return "too many ask the agent at a time, and the last places are root's: try again";
	return NULL;
}

static void come(struct loop_watch *w, uint32_t events)
{
	struct control *ctl = container(w, struct control, watch);
	int fd = accept4(ctl->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred cred = { 0 };
	socklen_t length = sizeof(cred);
	const char *why = "the agent cannot tell who asks";
	struct client *c = NULL;
	bool may_change;

	(void)events;
	if (fd < 0)
		return;
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &length)) {
		may_change = cred.uid == 0 || cred.uid == geteuid();
		why = no_place(ctl, may_change);
		c = why ? NULL : calloc(1, sizeof(*c));
	}
	if (!c) {
		turn_away(fd, why ? why : "the agent is out of memory");
		close(fd);
		return;
	}
	c->control = ctl;
	c->fd = fd;
	c->may_change = may_change;
	c->moved_at = loop_now();
	c->watch.fd = -1;
	c->watch.ready = readable;
	c->next = ctl->clients;
	ctl->clients = c;
	ctl->count++;
	ctl->others += !may_change;
	if (loop_watch(&ctl->agent->loop, &c->watch, fd, EPOLLIN))
		drop(c);
}

void control_tick(struct agent *a, uint64_t now)
{
	struct client *next;

	for (struct client *c = a->control->clients; c; c = next) {
		next = c->next;
		if (!c->request && now >= c->moved_at + CONTROL_IDLE_MS)
			drop(c);
	}
}

uint64_t control_deadline(const struct agent *a)
{
	uint64_t at = UINT64_MAX;

	for (const struct client *c = a->control->clients; c; c = c->next)
		if (!c->request && c->moved_at + CONTROL_IDLE_MS < at)
			at = c->moved_at + CONTROL_IDLE_MS;
	return at;
}

/* ------------------------------------------------------------- socket --- */

/* A socket that nobody answers at is a dead agent's. */
static int clear_path(const struct sockaddr_un *addr, struct err *e)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return err_set(e, errno, "socket: %s", strerror(errno));
	ret = connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
	close(fd);
	if (!ret)
		return err_set(e, EADDRINUSE, "another agent answers at %s: stop it first",
			       addr->sun_path);
	unlink(addr->sun_path);
	return 0;
}

static void make_directory(const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return;
	*slash = '\0';
	mkdir(dir, 0755);
}

int control_start(struct agent *a, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct control *ctl = calloc(1, sizeof(*ctl));
	int ret;

	if (!ctl)
		return err_set(e, ENOMEM, "out of memory");
	ctl->agent = a;
	ctl->watch.fd = -1;
	ctl->watch.ready = come;
	snprintf(ctl->path, sizeof(ctl->path), "%s", a->config.agent.socket);
	memcpy(addr.sun_path, ctl->path, sizeof(addr.sun_path));
	make_directory(ctl->path);
	ret = clear_path(&addr, e);
	if (ret)
		goto free_control;
	ctl->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ctl->fd < 0 || bind(ctl->fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    chmod(ctl->path, 0666) || listen(ctl->fd, 32) ||
	    loop_watch(&a->loop, &ctl->watch, ctl->fd, EPOLLIN)) {
		ret = err_set(e, errno, "%s: %s", ctl->path, strerror(errno));
		goto close_socket;
	}
	a->control = ctl;
	return 0;

close_socket:
	if (ctl->fd >= 0)
		close(ctl->fd);
free_control:
	free(ctl);
	return ret;
}

void control_stop(struct agent *a)
{
	struct control *ctl = a->control;

	while (ctl->clients) {
		ctl->clients->request = 0;
		drop(ctl->clients);
	}
	loop_unwatch(&a->loop, &ctl->watch);
	close(ctl->fd);
	unlink(ctl->path);
	free(ctl);
	a->control = NULL;
}
