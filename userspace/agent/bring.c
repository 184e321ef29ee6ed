// SPDX-License-Identifier: GPL-2.0-or-later
#include "bring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "apply.h"
#include "ask.h"
#include "comeback.h"
#include "kops.h"
#include "lag.h"
#include "log.h"
#include "member.h"
#include "openers.h"
#include "place.h"
#include "roll.h"
#include "stage.h"

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

/* What is said of a mistake: the first one, but rather the first of this volume. */
struct mistake {
	const char *volume;	/* NULL: of any */
	struct err *e;
	bool its_own;
};

static void note_mistake(void *arg, const char *text)
{
	struct mistake *m = arg;
	char file[REPL_NAME_MAX + 8];
	bool its_own;

	log_error(NULL, "%s", text);
	snprintf(file, sizeof(file), "/%s.conf", m->volume ? m->volume : "");
	its_own = m->volume && !m->its_own && strstr(text, file);
	if (its_own || !m->e->text[0])
		snprintf(m->e->text, sizeof(m->e->text), "%s", text);
	m->its_own |= its_own;
}

static void stays(void *arg, const char *name)
{
	(void)arg;
	log_warn(name, "stays as it was, for the mistake in its file");
}

/* A mistake in another volume's file is none of this one's. */
static bool good_for(struct config *fresh, const struct config *old, const char *volume)
{
	const struct config_volume *cv = volume ? config_find_volume(fresh, volume) : NULL;

	return cv && !cv->bad && config_keep_good(fresh, old, stays, NULL);
}

/* A node is its key: that may have another name by now, and a name another key. */
static void learn_peers(struct agent *a)
{
	core_peers_gone(&a->core);
	for (size_t i = 0; i < a->config.agent.peer_count; i++) {
		const struct config_peer *p = &a->config.agent.peer[i];

		if (!memcmp(p->key.b, a->key.b, sizeof(a->key)))
			continue;
		if (!core_peer_add(&a->core, p->name, p->key.b))
			log_error(p->name, "too many peers were known since the agent started: "
				  "restart it");
	}
}

/*
 * What the file says is sound in itself.  But what the volume came up with counts until it is
 * down: a link that ends for good would freeze it, or ask the arbiter.
 */
static void learn_mode(struct pair *p, const struct config_volume_peer *cp)
{
	uint32_t interval = cp->mode == CONFIG_MODE_ROLLING ? cp->interval_ms : 0;
	const struct volume *v = p->volume;

	if (interval && (v->set.arbiter || v->k.on_peer_loss != REPL_LOSS_CONTINUE || v->pair_count > 1)) {
		log_warn(v->name, "it came up with an arbiter, on-peer-loss = freeze or more peers: that %s is to be "
			 "rolling counts when it comes up next", p->peer->name);
		return;
	}
	roll_set(p, interval);
	comeback_set(p, interval && cp->save_and_follow);
	lag_set(p, cp->throttle, cp->lag_bound_ms);
}

/* Whether its peers are rolling: what is up changes over to what the files say now. */
static void learn_modes(struct agent *a)
{
	for (struct volume *v = a->core.volumes; v; v = v->next) {
		const struct config_volume *cv = config_find_volume(&a->config, v->name);

		for (unsigned int i = 0; cv && i < v->pair_count; i++)
			for (size_t j = 0; j < cv->peer_count; j++)
				if (!strcmp(cv->peer[j].name, v->pair[i]->peer->name))
					learn_mode(v->pair[i], &cv->peer[j]);
		core_get(v);
	}
}

int bring_config(struct agent *a, const char *volume, struct err *e)
{
	struct mistake mistake = { .volume = volume, .e = e };
	struct config *fresh = calloc(1, sizeof(*fresh));
	int ret;

	if (!fresh)
		return err_set(e, ENOMEM, "out of memory");
	e->text[0] = '\0';
	ret = config_load(a->config.dir, fresh, note_mistake, &mistake);
	if (ret == -EINVAL && good_for(fresh, &a->config, volume)) {
		e->text[0] = '\0';
		ret = 0;
	}
	if (!ret && (strcmp(fresh->agent.name, a->config.agent.name) ||
		     strcmp(fresh->agent.key_path, a->config.agent.key_path)))
		log_warn(NULL, "agent.conf has another name or key file: that counts after a restart");
	if (ret) {
		log_error(NULL, "the configuration stays as it was");
		config_free(fresh);
		free(fresh);
		return ret;
	}
	config_free(&a->config);
	a->config = *fresh;
	free(fresh);
	learn_peers(a);
	learn_modes(a);
	return 0;
}

static void keep_first(void *arg, const struct opener *opener)
{
	struct err *who = arg;

	if (!who->text[0])
		openers_describe(opener, who->text, sizeof(who->text));
}

/* As the kernel prints it. Return: false when there is no such device. */
static bool kernel_name(dev_t number, char name[NAME_MAX + 1])
{
	char path[64], target[PATH_MAX], *slash;
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(number), minor(number));
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	slash = strrchr(target, '/');
	snprintf(name, NAME_MAX + 1, "%.*s", NAME_MAX, slash ? slash + 1 : target);
	return true;
}

/* The kernel's claim has no process: the volume on top is found by the device's name. */
static void name_volume(struct agent *a, dev_t number, struct err *who)
{
	struct kernel_volume *list = NULL;
	char name[NAME_MAX + 1];
	size_t count = 0;

	if (!kernel_name(number, name) || kernel_list(a->kernel, &list, &count, NULL))
		return;
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i].backing, name))
			snprintf(who->text, sizeof(who->text), "used by volume %s", list[i].name);
	free(list);
}

static bool is_free(const char *path)
{
	int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static int busy(struct agent *a, const char *path, struct err *e)
{
	struct err who = { "" };
	struct stat st;

	if (!stat(path, &st)) {
		name_volume(a, st.st_rdev, &who);
		if (!who.text[0])
			openers_list(st.st_rdev, keep_first, &who);
	}
	return err_set(e, EBUSY, "%s is in use: %s; free it, or correct the volume's file", path,
		       who.text[0] ? who.text : "something has mounted or claimed it");
}

static int open_device(struct agent *a, const char *path, struct err *e)
{
	struct stat st;
	int fd;

	if (stat(path, &st))
		return err_set(e, errno, "%s: %s; create it, or correct the volume's file", path,
			       strerror(errno));
	if (!S_ISBLK(st.st_mode))
		return err_set(e, ENOTBLK, "%s is no block device; correct the volume's file", path);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	if (errno == EBUSY)
		return busy(a, path, e);
	return err_set(e, errno, "%s cannot be opened for reading and writing: %s; let the agent's "
		       "user do so, or correct the volume's file", path, strerror(errno));
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

static void note(const char *name, struct volume_io *vio, const struct kernel_volume *k)
{
	struct err e;

	/* Tried once: whether it was noted or not, it works until the device grows. */
	vio->noted_end = k->meta_end;
	if (place_note(&k->copy_id, k->meta_end, &e))
		log_warn(name, "%s", e.text);
}

void bring_moved(struct volume *v, const struct kernel_volume *k)
{
	struct volume_io *vio = agent_volume_io(v);

	if (vio->noted_end && vio->noted_end != k->meta_end)
		note(v->name, vio, k);
}

/*
 * A volume that is up already has the policy that it came up with: an arbiter counts with it
 * only, and a file that has changed since counts when it comes up next.
 */
static void set_arbiter(struct agent *a, const struct config_volume *cv,
			const struct kernel_volume *k, struct volume_io *vio,
			struct volume_settings *set)
{
	bool has = k->on_peer_loss == REPL_LOSS_ARBITER;
	const struct config_peer *cp;

	if (has != (cv->arbiter != CONFIG_ARBITER_NONE))
		log_warn(cv->name, "came up %s an arbiter, and its file says otherwise now: that counts "
			 "when it comes up next", has ? "with" : "without");
	if (!has || !cv->arbiter)
		return;
	vio->arbiter = cv->arbiter;
	snprintf(vio->arbiter_is, sizeof(vio->arbiter_is), "%s", cv->arbiter_is);
	set->takeover_ms = cv->takeover ? cv->takeover_ms : 0;
	set->arbiter = REPL_MA_COMMAND;
	snprintf(set->arbiter_is, sizeof(set->arbiter_is), "command:%.*s", CORE_ARBITER_MAX - 9,
		 cv->arbiter_is);
	if (cv->arbiter != CONFIG_ARBITER_NODE)
		return;
	set->arbiter = REPL_MA_NODE;
	snprintf(set->arbiter_is, sizeof(set->arbiter_is), "node:%.*s", REPL_NODE_MAX,
		 cv->arbiter_is);
	cp = config_find_peer(&a->config.agent, cv->arbiter_is);
	if (cp)
		memcpy(set->arbiter_tag, cp->key.b, sizeof(set->arbiter_tag));
}

static void find_staged(struct volume *v, const struct kernel_volume *k)
{
	struct staged staged;
	struct err e = { "" };
	int ret = stage_find(agent_volume_io(v), v->name, &staged, &e);

	if (ret > 0)
		core_staged(v, &staged);
	else if (ret && k->staged)
		core_unread(v, e.text);
	else if (ret)
		log_warn(v->name, "%s; this copy does not need it", e.text);
	else if (k->staged)
		log_warn(v->name, "what was being applied is not in %s, and this copy is not consistent without "
			 "it, until it has caught up: if it lies on a file system that is not mounted, mount that, and "
			 "restart the agent before it has begun to", agent_volume_io(v)->staging_dir);
}

/* The kernel has it: the core's turn.  Takes the data descriptor. */
static void take_over(struct bring *b, const struct kernel_volume *k, bool unclean)
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
	vio->fresh_fd = vio->fresh_meta_fd = -1;
	vio->rate_limit = cv->rate_limit;
	memcpy(vio->save_dir, cv->save_dir, sizeof(vio->save_dir));
	memcpy(vio->staging_dir, cv->staging_dir, sizeof(vio->staging_dir));
	vio->staging_size = cv->staging_size;
	vio->copy_id = k->copy_id;
	note(b->name, vio, k);
	b->data_fd = -1;
	set = (struct volume_settings){
		.join_limit_ms = cv->join_limit_ms, .timeout_ms = cv->timeout_ms,
		.stuck_ms = cv->stuck_timeout_ms, .plain = cv->encryption == CONFIG_ENCRYPTION_NONE,
		/* An epoch ends with a generation, and each of those would have to be granted. */
		.stages = !cv->arbiter, .direct_apply = cv->direct_apply,
	};
	set_arbiter(a, cv, k, vio, &set);
	agent_now(a);
	v = core_volume_up(&a->core, b->name, &set, unclean, vio);
	if (!v)
		abort();
	v->k.on_peer_loss = k->on_peer_loss;	/* the rest comes with the first snapshot */
	add_pairs(a, v, cv);
	learn_modes(a);
	if (k->role == REPL_ROLE_SECONDARY)
		find_staged(v, k);
	if (set.arbiter)
		ask_found(v, k);
	core_start(v);
	log_info(b->name, "up as /dev/repl%u, backing device %s", cv->minor, k->backing);
	reply(b, true, "");
}

/* The kernel knows a number; a person wants the path, and who is in the way. */
static bool explain_busy(const struct bring *b, struct err *e)
{
	const struct config_volume *cv = config_find_volume(&b->agent->config, b->name);

	if (!cv)
		return false;
	busy(b->agent, cv->metadata[0] && is_free(cv->device) ? cv->metadata : cv->device, e);
	return true;
}

static void attached(void *arg, int error, const char *text)
{
	struct bring *b = arg;
	struct kernel_volume k;
	struct err e = { "" };

	if (error == -EBUSY && explain_busy(b, &e)) {
		reply(b, false, e.text);
		return;
	}
	if (error) {
		reply(b, false, text && text[0] ? text : strerror(-error));
		return;
	}
	if (kernel_get(b->agent->kernel, b->name, &k, &e)) {
		reply(b, false, e.text);
		return;
	}
	take_over(b, &k, k.sb_flags & REPL_SB_CRASHED);
}

static void attach(struct bring *b, const struct config_volume *cv)
{
	struct agent *a = b->agent;
	struct kernel_attach at = {
		.minor = cv->minor, .name = cv->name, .key = a->key.b,
		.on_peer_loss = cv->on_peer_loss,
	};
	struct err e = { "" };
	uint64_t end;
	off_t size;

	b->meta_fd = cv->metadata[0] ? open_device(a, cv->metadata, &e) : -1;
	if (cv->metadata[0] && b->meta_fd < 0) {
		reply(b, false, e.text);
		return;
	}
	/* The device may have been made larger since. */
	size = lseek(b->meta_fd >= 0 ? b->meta_fd : b->data_fd, 0, SEEK_END);
	if (size > 0) {
		end = place_find(b->meta_fd >= 0 ? b->meta_fd : b->data_fd, (uint64_t)size);
		at.meta_end = &end;
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

/*
 * The device that the kernel uses, which may be another than the file says since a disk was
 * replaced.  Without a disk there is none to open.
 */
static int open_backing(struct agent *a, const struct config_volume *cv,
			const struct kernel_volume *k, struct err *e)
{
	char path[sizeof(k->backing) + 8], name[NAME_MAX + 1];
	bool gone = k->flags & REPL_VF_DISKLESS;
	struct stat st;

	if (!stat(cv->device, &st) && kernel_name(st.st_rdev, name)) {
		if (!strcmp(name, k->backing))
			return open_device(a, cv->device, e);
		log_warn(cv->name, "its file says device = %s, but the volume lies on %s: correct the "
			 "file before it goes down", cv->device, k->backing);
	}
	snprintf(path, sizeof(path), "/dev/%s", k->backing);
	for (char *c = path; *c; c++)
		if (*c == '!')
			*c = '/';
	return gone && access(path, F_OK) ? -1 : open_device(a, path, e);
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
		snprintf(e.text, sizeof(e.text), "%s: there is no %s/volumes/%s.conf: describe the "
			 "volume there, or correct the name", b->name, a->config.dir, b->name);
		reply(b, false, e.text);
		return;
	}
	ret = kernel_get(a->kernel, b->name, &k, &e);
	b->data_fd = ret ? open_device(a, cv->device, &e) : open_backing(a, cv, &k, &e);
	if (b->data_fd < 0 && (ret || !(k.flags & REPL_VF_DISKLESS))) {
		reply(b, false, e.text);
		return;
	}
	if (!ret && k.minor == cv->minor) {
		take_over(b, &k, k.sb_flags & REPL_SB_UNPROVEN);
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
	} else if (bring_config(a, name, &e)) {
		core_reply(&a->core, request, false, "%s", e.text);
	} else {
		begin(bring_new(a, request, name));
	}
}

/* What the file says by now.  Return: whether it names the node; if it cannot be read, answered with -1. */
static int read_peers(struct agent *a, const struct core_request *r, const char *node)
{
	const struct config_volume *cv;
	struct err e = { "" };

	if (bring_config(a, r->volume, &e)) {
		core_reply(&a->core, r->id, false, "%s", e.text);
		return -1;
	}
	cv = config_find_volume(&a->config, r->volume);
	for (size_t i = 0; cv && i < cv->peer_count; i++)
		if (!strcmp(cv->peer[i].name, node))
			return 1;
	return 0;
}

void bring_peer_add(struct agent *a, const struct core_request *r, const char *node)
{
	int named = read_peers(a, r, node);
	const struct config_peer *cp;
	const struct core_peer *peer;
	struct pair *p;

	if (named < 0)
		return;
	cp = config_find_peer(&a->config.agent, node);
	peer = cp ? core_peer_by_key(&a->core, cp->key.b) : NULL;
	if (!named || !peer) {
		core_reply(&a->core, r->id, false, "%s: %s", node, named ? "it cannot be used: see agent.conf" :
			   "the volume's file does not name it");
		return;
	}
	p = member_new(&a->core, r, peer);
	if (!p)
		return;
	p->io = pair_io_new(a, p);
	/* It was no pair yet when the file was read. */
	learn_modes(a);
	member_begin(p, r->id);
}

void bring_peer_remove(struct agent *a, const struct core_request *r, const char *node)
{
	int named = read_peers(a, r, node);

	if (named > 0)
		core_reply(&a->core, r->id, false, "%s: the volume's file names it still", node);
	else if (!named)
		member_remove(&a->core, r, node);
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

/* ------------------------------------------------------- another disk --- */

static void drop_fresh(struct volume_io *vio)
{
	if (vio->fresh_fd >= 0)
		close(vio->fresh_fd);
	if (vio->fresh_meta_fd >= 0)
		close(vio->fresh_meta_fd);
	vio->fresh_fd = vio->fresh_meta_fd = -1;
}

/* "": what the volume's file says. */
static int open_fresh(struct agent *a, struct volume *v, const char *device, const char *metadata,
		      struct err *e)
{
	struct volume_io *vio = agent_volume_io(v);
	const struct config_volume *cv;
	int ret = bring_config(a, v->name, e);

	if (ret)
		return ret;
	cv = config_find_volume(&a->config, v->name);
	if (!cv)
		return err_set(e, ENOENT, "there is no %s/volumes/%s.conf any more: describe the volume there",
			       a->config.dir, v->name);
	if (!metadata[0])
		metadata = cv->metadata;
	drop_fresh(vio);
	vio->fresh_fd = open_device(a, device[0] ? device : cv->device, e);
	if (vio->fresh_fd < 0)
		return vio->fresh_fd;
	if (metadata[0])
		vio->fresh_meta_fd = open_device(a, metadata, e);
	return metadata[0] && vio->fresh_meta_fd < 0 ? vio->fresh_meta_fd : 0;
}

void bring_replace(struct agent *a, const struct core_request *r, const char *device,
		   const char *metadata)
{
	struct volume *v = core_volume(&a->core, r->volume);
	struct err e = { "" };

	/* Another request may hold a device ready. */
	if (v && v->task.kind == TASK_NONE && open_fresh(a, v, device, metadata, &e)) {
		drop_fresh(agent_volume_io(v));
		core_reply(&a->core, r->id, false, "%s: %s", v->name, e.text);
		return;
	}
	core_replace(&a->core, r);
	if (v && v->task.kind != TASK_REPLACE)
		drop_fresh(agent_volume_io(v));
}

int bring_replace_begin(struct agent *a, struct volume *v, struct err *e)
{
	struct volume_io *vio = agent_volume_io(v);
	struct kernel_replace r = {
		.minor = vio->minor, .data_fd = vio->fresh_fd, .meta_fd = vio->fresh_meta_fd,
		.rate = vio->rate_limit,
	};

	if (vio->fresh_fd < 0)
		return err_set(e, EBADF, "the new device is not open");
	return kernel_replace(a->kernel, &r, e);
}

void bring_replaced(struct volume *v, bool done)
{
	struct volume_io *vio = agent_volume_io(v);

	/* By number: what reads of the old disk, in vain, may still know it. */
	if (done && (vio->data_fd < 0 || dup3(vio->fresh_fd, vio->data_fd, O_CLOEXEC) < 0)) {
		vio->data_fd = vio->fresh_fd;
		vio->fresh_fd = -1;
	}
	drop_fresh(vio);
}

void bring_down(struct agent *a, struct volume *v)
{
	struct volume_io *vio = agent_volume_io(v);

	kops_forget(a, v, NULL);
	apply_forget(vio);
	stage_forget(vio);
	ask_stop(v);
	drop_fresh(vio);
	if (vio->data_fd >= 0)
		close(vio->data_fd);
	free(vio);
	v->io = NULL;
}
