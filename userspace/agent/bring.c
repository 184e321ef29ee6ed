// SPDX-License-Identifier: GPL-2.0-or-later
#include "bring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kops.h"
#include "log.h"

/* An attach under way. */
struct bring {
	struct bring *next;
	struct agent *agent;
	uint32_t request;
	char name[REPL_NAME_MAX];
	int data_fd;
	int meta_fd;
};

static struct bring *bringing;

static void first_problem(void *arg, const char *text)
{
	struct err *e = arg;

	log_error(NULL, "%s", text);
	if (!e->text[0])
		snprintf(e->text, sizeof(e->text), "%s", text);
}

static void learn_peers(struct agent *a)
{
	for (size_t i = 0; i < a->config.agent.peer_count; i++) {
		const struct config_peer *p = &a->config.agent.peer[i];

		if (core_peer_by_key(&a->core, p->key.b) || !memcmp(p->key.b, a->key.b, sizeof(a->key)))
			continue;
		if (!core_peer_add(&a->core, p->name, p->key.b))
			log_error(p->name, "too many peers were known since the agent started: "
				  "restart it");
	}
}

int bring_config(struct agent *a, struct err *e)
{
	struct config *fresh = calloc(1, sizeof(*fresh));
	int ret;

	if (!fresh)
		return err_set(e, ENOMEM, "out of memory");
	e->text[0] = '\0';
	ret = config_load(a->config.dir, fresh, first_problem, e);
	if (!ret && (strcmp(fresh->agent.name, a->config.agent.name) ||
		     strcmp(fresh->agent.key_path, a->config.agent.key_path)))
		log_warn(NULL, "agent.conf has another name or key file: that counts after a restart");
	if (ret) {
		config_free(fresh);
		free(fresh);
		return ret;
	}
	config_free(&a->config);
	a->config = *fresh;
	free(fresh);
	learn_peers(a);
	return 0;
}

static int open_device(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, errno, "%s cannot be opened for reading and writing: %s", path,
			       strerror(errno));
	return fd;
}

static void reply(struct bring *b, bool ok, const char *text)
{
	struct bring **at = &bringing;

	if (b->request)
		core_reply(&b->agent->core, b->request, ok, "%s", text);
	else if (!ok)
		log_error(b->name, "%s", text);
	while (*at && *at != b)
		at = &(*at)->next;
	if (*at)
		*at = b->next;
	if (b->meta_fd >= 0)
		close(b->meta_fd);
	if (b->data_fd >= 0)
		close(b->data_fd);
	free(b);
}

static struct pair_io *pair_io_new(struct agent *a, struct pair *p)
{
	struct pair_io *io = calloc(1, sizeof(*io));

	if (!io)
		abort();
	io->agent = a;
	io->pair = p;
	io->cut_fd = io->link_fd = -1;
	io->cut_watch.fd = -1;
	return io;
}

static void add_pairs(struct agent *a, struct volume *v, const struct config_volume *cv)
{
	for (size_t i = 0; i < cv->peer_count; i++) {
		const struct config_peer *cp = config_find_peer(&a->config.agent, cv->peer[i].name);
		const struct core_peer *peer = cp ? core_peer_by_key(&a->core, cp->key.b) : NULL;
		struct pair *p = peer ? core_pair_add(v, peer) : NULL;

		if (p)
			p->io = pair_io_new(a, p);
		else
			log_error(v->name, "peer %s cannot be used: see agent.conf", cv->peer[i].name);
	}
}

/* The kernel has it: the core's turn.  Takes the data descriptor. */
static void take_over(struct bring *b, bool unclean)
{
	struct agent *a = b->agent;
	const struct config_volume *cv = config_find_volume(&a->config, b->name);
	struct volume_io *vio = calloc(1, sizeof(*vio));
	struct volume_settings set;
	struct volume *v;

	if (!cv || !vio) {
		free(vio);
		reply(b, false, "the volume's file has gone while it came up");
		return;
	}
	vio->minor = cv->minor;
	vio->data_fd = b->data_fd;
	vio->rate_limit = cv->rate_limit;
	b->data_fd = -1;
	set = (struct volume_settings){
		.join_limit_ms = cv->join_limit_ms, .timeout_ms = cv->timeout_ms,
		.stuck_ms = cv->stuck_timeout_ms, .plain = cv->encryption == CONFIG_ENCRYPTION_NONE,
	};
	agent_now(a);
	v = core_volume_up(&a->core, b->name, &set, unclean, vio);
	if (!v)
		abort();
	add_pairs(a, v, cv);
	core_start(v);
	log_info(b->name, "up as /dev/repl%u, backing device %s", cv->minor, cv->device);
	reply(b, true, "");
}

static void attached(void *arg, int error, const char *text)
{
	struct bring *b = arg;
	struct kernel_volume k;
	struct err e = { "" };

	if (error) {
		reply(b, false, text && text[0] ? text : strerror(-error));
		return;
	}
	if (kernel_get(b->agent->kernel, b->name, &k, &e)) {
		reply(b, false, e.text);
		return;
	}
	take_over(b, k.sb_flags & REPL_SB_CRASHED);
}

static void attach(struct bring *b, const struct config_volume *cv)
{
	struct agent *a = b->agent;
	struct kernel_attach at = {
		.minor = cv->minor, .name = cv->name, .key = a->key.b,
		.on_peer_loss = cv->on_peer_loss,
	};
	struct err e = { "" };

	b->meta_fd = cv->metadata[0] ? open_device(cv->metadata, &e) : -1;
	if (cv->metadata[0] && b->meta_fd < 0) {
		reply(b, false, e.text);
		return;
	}
	at.data_fd = b->data_fd;
	at.meta_fd = b->meta_fd;
	kops_ticket(a, kernel_attach(a->kernel, &at, &e), e.text, attached, b);
}

static struct bring *bring_new(struct agent *a, uint32_t request, const char *name)
{
	struct bring *b = calloc(1, sizeof(*b));

	if (!b)
		abort();
	b->agent = a;
	b->request = request;
	b->data_fd = b->meta_fd = -1;
	snprintf(b->name, sizeof(b->name), "%s", name);
	b->next = bringing;
	bringing = b;
	return b;
}

static bool is_bringing(const char *name)
{
	for (const struct bring *b = bringing; b; b = b->next)
		if (!strcmp(b->name, name))
			return true;
	return false;
}

/* Opens the device; then the kernel either has the volume already, or attaches it. */
static void begin(struct bring *b)
{
	struct agent *a = b->agent;
	const struct config_volume *cv = config_find_volume(&a->config, b->name);
	struct kernel_volume k;
	struct err e = { "" };
	int ret;

	if (!cv) {
		snprintf(e.text, sizeof(e.text), "%s: there is no %s/volumes/%s.conf", b->name,
			 a->config.dir, b->name);
		reply(b, false, e.text);
		return;
	}
	b->data_fd = open_device(cv->device, &e);
	if (b->data_fd < 0) {
		reply(b, false, e.text);
		return;
	}
	ret = kernel_get(a->kernel, b->name, &k, &e);
	if (!ret && k.minor == cv->minor) {
		take_over(b, k.sb_flags & REPL_SB_UNPROVEN);
	} else if (!ret) {
		snprintf(e.text, sizeof(e.text), "%s: it is up as minor %u, but its file says minor "
			 "%u: correct the file, or take it down first", b->name, k.minor, cv->minor);
		reply(b, false, e.text);
	} else if (ret == -ENODEV) {
		attach(b, cv);
	} else {
		reply(b, false, e.text);
	}
}

void bring_up(struct agent *a, uint32_t request, const char *name)
{
	struct err e = { "" };

	if (core_volume(&a->core, name)) {
		core_reply(&a->core, request, true, "%s", "");
	} else if (is_bringing(name)) {
		core_reply(&a->core, request, false, "%s: it is just coming up", name);
	} else if (bring_config(a, &e)) {
		core_reply(&a->core, request, false, "%s", e.text);
	} else {
		begin(bring_new(a, request, name));
	}
}

void bring_found(struct agent *a)
{
	struct kernel_volume *list = NULL;
	size_t count = 0;
	struct err e = { "" };

	learn_peers(a);
	if (kernel_list(a->kernel, &list, &count, &e)) {
		log_error(NULL, "%s", e.text);
		return;
	}
	for (size_t i = 0; i < count; i++)
		begin(bring_new(a, 0, list[i].name));
	free(list);
}

void bring_down(struct agent *a, struct volume *v)
{
	struct volume_io *vio = agent_volume_io(v);

	kops_forget(a, v, NULL);
	if (vio->data_fd >= 0)
		close(vio->data_fd);
	free(vio);
	v->io = NULL;
}
