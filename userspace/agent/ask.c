// SPDX-License-Identifier: GPL-2.0-or-later
#include "ask.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conn.h"
#include "dial.h"
#include "id.h"
#include "log.h"
#include "record.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

static const char notes[] = "/var/lib/repl/asked";

extern char **environ;

/* One question. */
struct ask {
	struct agent *agent;
	struct volume *volume;
	struct repl_id expect, want;
	/* Of a witness. */
	const struct core_peer *peer;
	struct dial *dial;
	struct conn *conn;
	/* Of a program. */
	pid_t pid;			/* its process group, too; 0: none */
	struct loop_watch exited;	/* a pidfd */
	struct loop_watch output;
	char words[ASK_WORDS_MAX];
	size_t words_have;
	uint64_t deadline;		/* 0: the connection has its own */
};

/* -------------------------------------------------------------- notes --- */

static int write_note(const struct ask *k, struct err *e)
{
	char name[ID_TEXT_MAX], uuid[ID_TEXT_MAX], expect[ID_TEXT_MAX], want[ID_TEXT_MAX];
	char text[RECORD_MAX];

	snprintf(text, sizeof(text), "volume = %s\nexpect = %s\nwant = %s\n",
		 id_format(&k->volume->k.uuid, uuid), id_format(&k->expect, expect),
		 id_format(&k->want, want));
	return record_write(notes, id_format(&k->volume->k.copy_id, name), text, e);
}

void ask_done(struct volume *v)
{
	char name[ID_TEXT_MAX];
	struct err e;

	/* One that stays is found to be of no use at the next start. */
	if (record_remove(notes, id_format(&v->k.copy_id, name), &e))
		log_warn(v->name, "%s", e.text);
}

static bool parse_id(const char *text, const char *key, struct repl_id *id)
{
	char value[ID_TEXT_MAX];

	return !record_value(text, key, value, sizeof(value)) && !id_parse(value, id);
}

void ask_found(struct volume *v, const struct kernel_volume *k)
{
	struct repl_id uuid, expect, want;
	char text[RECORD_MAX], name[ID_TEXT_MAX], why[600];
	struct err e = { "" };
	int ret = record_read(notes, id_format(&k->copy_id, name), text, &e);

	if (ret == -ENOENT)
		return;
	if (!ret && (!parse_id(text, "volume", &uuid) || !parse_id(text, "expect", &expect) ||
		     !parse_id(text, "want", &want)))
		ret = err_set(&e, EBADMSG, "%s/%s says nothing of what was asked", notes, name);
	if (ret) {
		snprintf(why, sizeof(why), "%.400s: what this node has asked the arbiter for cannot be known, "
			 "and nothing else is asked; only if it is not the holder there, remove the file, and "
			 "take the volume down and up", e.text);
		core_arbiter_spoiled(v, why);
	} else if (id_equal(&uuid, &k->uuid)) {
		core_arbiter_found(v, &expect, &want);
	}
}

/* ------------------------------------------------------------- ending --- */

/* A program that was killed and has not ended: it may wait for a disk, or a server, for ever. */
struct left {
	struct left *next;
	pid_t pid;
	struct repl_id copy_id;
};

static struct left *left;

static bool has_ended(pid_t pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG) ? errno != EINTR : info.si_pid;
}

static void leave(const struct ask *k)
{
	struct left *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	*l = (struct left){ .next = left, .pid = k->pid, .copy_id = k->volume->k.copy_id };
	left = l;
}

/* Return: whether one of this copy is among those that have not ended. */
static bool sweep(const struct repl_id *copy_id)
{
	bool found = false;

	for (struct left **at = &left, *l; (l = *at);) {
		if (has_ended(l->pid)) {
			*at = l->next;
			free(l);
			continue;
		}
		found |= copy_id && id_equal(copy_id, &l->copy_id);
		at = &l->next;
	}
	return found;
}

static void end_program(struct ask *k)
{
	int fd;

	if (k->pid) {
		kill(-k->pid, SIGKILL);
		leave(k);
		sweep(NULL);
	}
	k->pid = 0;
	fd = k->exited.fd;
	loop_unwatch(&k->agent->loop, &k->exited);
	if (fd >= 0)
		close(fd);
	fd = k->output.fd;
	loop_unwatch(&k->agent->loop, &k->output);
	if (fd >= 0)
		close(fd);
}

static void drop(struct ask *k)
{
	struct volume_io *vio = agent_volume_io(k->volume);

	if (vio->ask == k)
		vio->ask = NULL;
	dial_cancel(k->dial);
	if (k->conn) {
		k->conn->ask = NULL;
		conn_kill(k->conn, "no longer wanted");
	}
	end_program(k);
	free(k);
}

static void answer(struct ask *k, enum register_answer what, const char *text)
{
	struct volume *v = k->volume;
	struct repl_id want = k->want;
	char words[CORE_REASON_MAX];

	/* It may be the ask's own. */
	snprintf(words, sizeof(words), "%.*s", (int)sizeof(words) - 1, text);
	agent_now(k->agent);
	drop(k);
	core_answered(v, &want, what, words);
}

void ask_stop(struct volume *v)
{
	struct volume_io *vio = agent_volume_io(v);

	if (vio->ask)
		drop(vio->ask);
}

/* ------------------------------------------------------------ witness --- */

const struct core_peer *ask_peer(const struct ask *k)
{
	return k->peer;
}

void ask_failed(struct ask *k, const char *why)
{
	k->conn = NULL;
	answer(k, REGISTER_UNKNOWN, why);
}

static void heard_hello(struct ask *k, const struct repl_msg_hello *m)
{
	struct msg_hello h, mine = {
		.version_min = REPL_WIRE_VERSION_MIN, .version = REPL_WIRE_VERSION,
		.features = REPL_HF_ARBITER | REPL_HF_ASKS,
	};
	struct repl_msg_ask ask = {
		.volume = k->volume->k.uuid, .expect = k->expect, .want = k->want,
	};
	struct repl_msg_hello out;
	struct conn *c = k->conn;
	struct err e;

	if (msg_unpack_hello(&h, m, &e)) {
		conn_kill(c, "%s: %s", k->peer->name, e.text);
	} else if (h.version < REPL_WIRE_VERSION_MIN || h.version_min > REPL_WIRE_VERSION ||
		   !(h.features & REPL_HF_ARBITER)) {
		conn_kill(c, "the release on %s cannot be a witness: update it", k->peer->name);
	} else {
		snprintf(mine.node, sizeof(mine.node), "%s", k->agent->core.node);
		snprintf(mine.volume, sizeof(mine.volume), "%s", k->volume->name);
		msg_pack_hello(&mine, &out);
		greet_write(c, REPL_MSG_HELLO, &out, sizeof(out));
		if (c->stage != CONN_DEAD)
			greet_write(c, REPL_MSG_ASK, &ask, sizeof(ask));
	}
}

/* Only a primary says which generation to make an entry with: a secondary's may be an old one. */
static void no_entry(struct ask *k)
{
	char text[CORE_REASON_MAX], uuid[ID_TEXT_MAX], generation[ID_TEXT_MAX];

	if (k->volume->k.role == REPL_ROLE_PRIMARY)
		snprintf(text, sizeof(text), "%s has no entry for it: run there: repl-ctl witness add %s %s %s",
			 k->peer->name, k->volume->name, id_format(&k->volume->k.uuid, uuid),
			 id_format(&k->expect, generation));
	else
		snprintf(text, sizeof(text), "%s has no entry for it: repl-ctl status on the volume's primary "
			 "says how to make one", k->peer->name);
	answer(k, REGISTER_UNKNOWN, text);
}

static void heard_answer(struct ask *k, const void *body, size_t length)
{
	const struct repl_msg_answer *m = body;
	char words[REPL_TEXT_MAX], text[CORE_REASON_MAX];
	struct msg_answer a;
	struct err e;

	if (msg_unpack_answer(&a, m, &e)) {
		conn_kill(k->conn, "%s: %s", k->peer->name, e.text);
		return;
	}
	if (!id_equal(&a.want, &k->want)) {
		conn_kill(k->conn, "%s answers another question", k->peer->name);
		return;
	}
	msg_text(words, m + 1, length - sizeof(*m));
	snprintf(text, sizeof(text), "%s: %.300s", k->peer->name, words);
	if (a.answer == REPL_MN_NO_ENTRY)
		no_entry(k);
	else
		answer(k, a.answer == REPL_MN_GRANTED ? REGISTER_GRANTED :
		       a.answer == REPL_MN_DENIED ? REGISTER_DENIED : REGISTER_UNKNOWN, text);
}

void ask_message(struct conn *c, const struct msg_header *h, const void *body)
{
	struct ask *k = c->ask;
	char text[REPL_TEXT_MAX];

	if (!k)
		return;
	if (h->type == REPL_MSG_REFUSE) {
		msg_text(text, body, h->length);
		conn_kill(c, "%s refuses: %s", k->peer->name, text);
	} else if (h->type == REPL_MSG_HELLO) {
		heard_hello(k, body);
	} else if (h->type == REPL_MSG_ANSWER) {
		heard_answer(k, body, h->length);
	} else {
		conn_kill(c, "%s answers with %s", k->peer->name, msg_name(h->type));
	}
}

static void resolved(void *arg, const struct sockaddr *address, socklen_t length,
		     const char *where, const char *why)
{
	struct ask *k = arg;

	if (why) {
		answer(k, REGISTER_UNKNOWN, why);
		return;
	}
	k->conn = conn_new(k->agent, -1, CONN_ASK);
	if (!k->conn) {
		answer(k, REGISTER_UNKNOWN, "out of memory");
		return;
	}
	snprintf(k->conn->where, sizeof(k->conn->where), "%s", where);
	k->conn->ask = k;
	greet_connect(k->conn, address, length);
}

static void ask_witness(struct ask *k)
{
	const struct volume_io *vio = agent_volume_io(k->volume);
	const struct config_peer *cp = config_find_peer(&k->agent->config.agent, vio->arbiter_is);

	k->peer = cp ? core_peer_by_key(&k->agent->core, cp->key.b) : NULL;
	if (k->peer)
		dial_start(k->agent, k->peer, resolved, k, &k->dial);
	else
		answer(k, REGISTER_UNKNOWN, "agent.conf has no such peer any more");
}

/* ------------------------------------------------------------ program --- */

static void take_output(struct ask *k)
{
	char waste[512];
	ssize_t n;

	while (k->output.fd >= 0 && (n = read(k->output.fd, waste, sizeof(waste))) > 0) {
		size_t room = sizeof(k->words) - 1 - k->words_have;
		size_t take = (size_t)n < room ? (size_t)n : room;

		memcpy(k->words + k->words_have, waste, take);
		k->words_have += take;
	}
}

static void printed(struct loop_watch *w, uint32_t events)
{
	struct ask *k = container(w, struct ask, output);
	int fd = w->fd;

	take_output(k);
	if (!(events & EPOLLHUP))
		return;
	loop_unwatch(&k->agent->loop, w);
	close(fd);
}

/* Its first line, as one that a log can take. */
static void tell(struct ask *k, enum register_answer what, const char *how)
{
	char words[REPL_TEXT_MAX], text[CORE_REASON_MAX];

	take_output(k);
	msg_text(words, k->words, strcspn(k->words, "\n"));
	if (words[0])
		snprintf(text, sizeof(text), "%s%s%.300s", how, how[0] ? ": " : "", words);
	else
		snprintf(text, sizeof(text), "%s", how[0] ? how : "it says no more");
	answer(k, what, text);
}

static void exited(struct loop_watch *w, uint32_t events)
{
	struct ask *k = container(w, struct ask, exited);
	siginfo_t info = { 0 };
	char how[64];

	(void)events;
	if (waitid(P_PID, (id_t)k->pid, &info, WEXITED | WNOHANG) || !info.si_pid)
		return;
	k->pid = 0;
	if (info.si_code == CLD_EXITED && info.si_status == 0) {
		tell(k, REGISTER_GRANTED, "");
	} else if (info.si_code == CLD_EXITED && info.si_status == 1) {
		tell(k, REGISTER_DENIED, "");
	} else {
		snprintf(how, sizeof(how), info.si_code == CLD_EXITED ? "it ended with status %d"
								    : "it was killed by signal %d",
			 info.si_status);
		tell(k, REGISTER_UNKNOWN, how);
	}
}

/* The agent blocks signals and ignores SIGPIPE: what it starts must not. */
static int spawn(struct ask *k, const char *path, char *const argv[], int out)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int ret;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
				 POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, out, 1);
	posix_spawn_file_actions_adddup2(&files, out, 2);
	ret = posix_spawn(&k->pid, path, &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	if (ret)
		k->pid = 0;
	return ret;
}

static void run_program(struct ask *k)
{
	const struct volume *v = k->volume;
	struct volume_io *vio = agent_volume_io(v);
	char uuid[ID_TEXT_MAX], expect[ID_TEXT_MAX], want[ID_TEXT_MAX], text[CORE_REASON_MAX];
	char *argv[] = {
		vio->arbiter_is, (char *)v->name, id_format(&v->k.uuid, uuid),
		id_format(&k->expect, expect), id_format(&k->want, want), k->agent->core.node, NULL,
	};
	int out[2], ret, fd;

	if (sweep(&v->k.copy_id)) {
		answer(k, REGISTER_UNKNOWN, "the one that was asked before was killed, and has not ended yet");
		return;
	}
	if (pipe2(out, O_CLOEXEC)) {
		answer(k, REGISTER_UNKNOWN, strerror(errno));
		return;
	}
	ret = spawn(k, vio->arbiter_is, argv, out[1]);
	close(out[1]);
	if (ret) {
		close(out[0]);
		snprintf(text, sizeof(text), "it cannot be run: %s", strerror(ret));
		answer(k, REGISTER_UNKNOWN, text);
		return;
	}
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	if (loop_watch(&k->agent->loop, &k->output, out[0], EPOLLIN)) {
		close(out[0]);
		answer(k, REGISTER_UNKNOWN, "what it prints cannot be watched");
		return;
	}
	k->deadline = loop_now() + ASK_COMMAND_MS;
	fd = (int)syscall(SYS_pidfd_open, k->pid, 0);
	if (fd >= 0 && !loop_watch(&k->agent->loop, &k->exited, fd, EPOLLIN))
		return;
	if (fd >= 0)
		close(fd);
	answer(k, REGISTER_UNKNOWN, "its end cannot be watched");
}

/* -------------------------------------------------------------- start --- */

void ask_start(struct agent *a, struct volume *v, const struct repl_id *expect,
	       const struct repl_id *want)
{
	struct volume_io *vio = agent_volume_io(v);
	struct ask *k = calloc(1, sizeof(*k));
	struct err e;

	ask_stop(v);
	if (!k)
		abort();
	k->agent = a;
	k->volume = v;
	k->expect = *expect;
	k->want = *want;
	k->exited = (struct loop_watch){ .fd = -1, .ready = exited };
	k->output = (struct loop_watch){ .fd = -1, .ready = printed };
	vio->ask = k;
	if (!id_equal(expect, want) && write_note(k, &e))
		answer(k, REGISTER_UNKNOWN, e.text);
	else if (vio->arbiter == CONFIG_ARBITER_NODE)
		ask_witness(k);
	else
		run_program(k);
}

void ask_tick(struct agent *a)
{
	uint64_t now = loop_now();

	sweep(NULL);
	for (struct volume *v = a->core.volumes; v; v = v->next) {
		struct ask *k = agent_volume_io(v)->ask;

		if (k && k->deadline && now >= k->deadline)
			tell(k, REGISTER_UNKNOWN, "it did not end within 60 s");
	}
}

uint64_t ask_deadline(const struct agent *a)
{
	uint64_t at = UINT64_MAX;

	for (const struct volume *v = a->core.volumes; v; v = v->next) {
		const struct ask *k = agent_volume_io(v)->ask;

		if (k && k->deadline && k->deadline < at)
			at = k->deadline;
	}
	return at;
}
