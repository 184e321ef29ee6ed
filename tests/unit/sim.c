// SPDX-License-Identifier: GPL-2.0-or-later
#include "sim_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comeback.h"
#include "lag.h"
#include "roll.h"
#include "tap.h"

enum { SPIN = 100, DIALS = 12, OFFERS = 12, FOLLOWS = 12 };	/* in a millisecond; in a second */

uint64_t sim_random(struct sim *s, uint64_t below)
{
	return random_below(&s->rng, below);
}

static uint64_t rng(void *arg)
{
	struct sim *s = arg;

	return random_next(&s->rng);
}

void sim_broke(struct sim *s, const char *what, const char *detail)
{
	if (s->broken)
		return;
	s->broken = what;
	snprintf(s->detail, sizeof(s->detail), "%s", detail);
}

struct sim_event *sim_event(struct sim_node *n, uint64_t after,
			       void (*run)(struct sim_event *ev))
{
	struct sim *s = n->sim;
	struct sim_event *ev = calloc(1, sizeof(*ev)), **at = &s->events;

	ev->at = s->now + after;
	ev->serial = ++s->serial;
	ev->node = n;
	ev->incarnation = n->incarnation;
	ev->run = run;
	while (*at && (*at)->at <= ev->at)
		at = &(*at)->next;
	ev->next = *at;
	*at = ev;
	return ev;
}

void sim_op_done(struct sim_node *n, struct volume *v, struct pair *p, enum op_kind kind,
		    uint32_t turn, int error, const char *why)
{
	struct op_result r = { .error = error, .text = why };

	n->core.now = n->sim->now;
	core_op_done(v, p, kind, turn, &r);
}

struct sim_node *sim_peer_node(struct sim *s, const struct core_peer *peer)
{
	for (unsigned int i = 0; i < s->nodes; i++)
		if (!memcmp(s->node[i].key, peer->key, REPL_KEY_BYTES))
			return &s->node[i];
	abort();
}

/* --------------------------------------------------------------- shell -- */

static void count_message(struct sim_node *n, const struct action *a)
{
	for (struct session *x = n->core.sessions; x; x = x->next) {
		struct sim_pair *io = x->conn == a->conn && x->pair ? sim_io(x->pair) : NULL;

		if (io && a->type == REPL_MSG_FOLLOW && ++io->follows > FOLLOWS)
			sim_broke(n->sim, "retries are bounded", "FOLLOW");
		if (io && a->type == REPL_MSG_LINK_OFFER && ++io->offers > OFFERS)
			sim_broke(n->sim, "retries are bounded", "LINK_OFFER");
	}
}

static void send_message(struct sim_node *n, const struct action *a)
{
	struct sim_conn *c = net_find(n->sim, a->conn);
	unsigned int end;

	if (!c)
		return;
	end = c->node[0] == n ? 0 : 1;
	if (!c->open[end])
		return;
	count_message(n, a);
	net_post(c, !end, a->type, a->data, a->length);
}

static void conn_action(struct sim_node *n, const struct action *a)
{
	struct sim_conn *c = net_find(n->sim, a->conn);
	unsigned int end;

	if (!c)
		return;
	end = c->node[0] == n ? 0 : 1;
	if (a->kind == ACTION_CLOSE)
		net_close(c, end);
	else
		c->paused[end] = a->kind == ACTION_PAUSE;
}

/* A change is one: nothing is told that was told already. */
static void notice_told(struct sim_node *n, const struct notice *t)
{
	size_t have = strlen(n->told);

	snprintf(n->told + have, sizeof(n->told) - have, "%s%s%s;", notice_name(t->kind),
		 t->peer[0] ? " " : "", t->peer);
	if (t->kind == NOTICE_ROLE && !strcmp(t->role, t->was))
		sim_broke(n->sim, "what is told has changed", "role");
	if (t->kind != NOTICE_PEER_LOST && t->kind != NOTICE_PEER_BACK)
		return;
	for (unsigned int i = 0; i < n->sim->nodes; i++) {
		bool live = t->kind == NOTICE_PEER_BACK;

		if (strcmp(n->sim->node[i].name, t->peer))
			continue;
		if (n->told_any[i] && n->told_live[i] == live)
			sim_broke(n->sim, "what is told has changed", n->told);
		n->told_any[i] = true;
		n->told_live[i] = live;
	}
}

static void carry_out(struct sim_node *n, struct action *a)
{
	struct kernel_volume k;

	switch (a->kind) {
	case ACTION_GET:
		sk_get(&n->kernel, &k, n->sim->now);
		core_snapshot(a->volume, &k);
		break;
	case ACTION_DIAL:
		if (++sim_io(a->pair)->dials > DIALS)
			sim_broke(n->sim, "retries are bounded", "dialling");
		net_dial(n, a->pair);
		break;
	case ACTION_SEND:
		send_message(n, a);
		break;
	case ACTION_CLOSE:
	case ACTION_PAUSE:
	case ACTION_RESUME:
		conn_action(n, a);
		break;
	case ACTION_ABORT:
		work_drop(n, sim_io(a->pair));
		break;
	case ACTION_THAW:
		sk_thaw(&n->kernel, a->op.flags, n->sim->now);
		break;
	case ACTION_HOLD:
		sk_hold(&n->kernel, a->op.flags, a->op.deadline_ms, n->sim->now);
		break;
	case ACTION_OP:
		work_begin(n, a);
		break;
	case ACTION_HOOK:
		notice_told(n, (const struct notice *)a->data);
		break;
	case ACTION_ASK:
		witness_ask(n, a);
		break;
	case ACTION_ASKED:
		n->noted = false;
		break;
	case ACTION_LOG:
		if (n->sim->verbose)
			printf("# %8llu %s %s: %s\n", (unsigned long long)n->sim->now, n->name,
			       a->subject, a->text);
		break;
	case ACTION_REPLY:
		n->request_ok = a->ok;
		snprintf(n->request_text, sizeof(n->request_text), "%s", a->text);
		n->request = 0;
		break;
	default:
		break;
	}
}

void sim_settle(struct sim_node *n)
{
	struct action *a;

	if (n->settling || n->late || !n->running)
		return;
	n->settling = true;
	n->core.now = n->sim->now;
	while ((a = action_take(&n->core.actions))) {
		carry_out(n, a);
		action_free(a);
	}
	n->settling = false;
}

/* --------------------------------------------------------------- nodes -- */

void sim_agent_start(struct sim_node *n)
{
	struct volume_settings set = {
		.join_limit_ms = n->sim->join_limit_ms, .timeout_ms = TIMEOUT_MS, .stuck_ms = 60000,
		.stages = n->sim->stage_most, .direct_apply = !n->sim->no_direct,
	};
	struct sim *s = n->sim;

	if (s->arbiter) {
		set.arbiter = REPL_MA_NODE;
		set.stages = false;
		snprintf(set.arbiter_is, sizeof(set.arbiter_is), "node:witness");
		set.takeover_ms = s->takeover_ms;
	}
	if (n->running || !n->powered)
		return;
	n->running = true;
	n->incarnation++;
	n->told[0] = '\0';
	memset(n->told_any, 0, sizeof(n->told_any));
	core_init(&n->core, n->name, n->key, rng, s);
	n->core.now = s->now;
	n->core.link_bytes = s->link_bytes;
	n->volume = core_volume_up(&n->core, "spool", &set, n->crashed, NULL);
	n->crashed = false;
	for (unsigned int i = 0; i < s->nodes; i++) {
		struct sim_pair *io;
		struct pair *p;

		if (&s->node[i] == n)
			continue;
		core_peer_add(&n->core, s->node[i].name, s->node[i].key);
		p = core_pair_add(n->volume, core_peer_by_key(&n->core, s->node[i].key));
		io = calloc(1, sizeof(*io));
		io->node = n;
		io->pair = p;
		io->cut_slot = -1;
		p->io = io;
		p->roll.interval_ms = s->interval_ms;
		lag_set(p, s->throttle, s->bound_ms);
		comeback_set(p, s->save_and_follow);
	}
	work_start(n);
	if (n->noted)
		core_arbiter_found(n->volume, &n->noted_expect, &n->noted_want);
	core_start(n->volume);
	sim_settle(n);
}

void sim_roll(struct sim *s, uint32_t interval_ms)
{
	s->interval_ms = interval_ms;
	for (unsigned int i = 0; i < s->nodes; i++) {
		struct sim_node *n = &s->node[i];

		if (!n->running)
			continue;
		for (unsigned int j = 0; j < n->volume->pair_count; j++) {
			roll_set(n->volume->pair[j], interval_ms);
			lag_set(n->volume->pair[j], s->throttle, s->bound_ms);
		}
		core_get(n->volume);
		sim_settle(n);
	}
}

static void stop_agent(struct sim_node *n)
{
	struct sim *s = n->sim;

	n->running = false;
	for (struct sim_conn *c = s->conns; c; c = c->next) {
		unsigned int end = c->node[0] == n ? 0 : 1;

		if (c->node[end] == n && c->open[end])
			net_close(c, end);
	}
	for (unsigned int i = 0; i < n->volume->pair_count; i++) {
		work_forget(n, sim_io(n->volume->pair[i]));
	}
	core_exit(&n->core);
	n->volume = NULL;
	n->request = 0;
}

void sim_agent_kill(struct sim_node *n)
{
	if (n->running)
		stop_agent(n);
}

void sim_power_off(struct sim_node *n)
{
	sim_agent_kill(n);
	if (n->powered)
		sk_reboot(&n->kernel);
	n->powered = false;
	n->crashed = true;
}

void sim_power_on(struct sim_node *n)
{
	n->powered = true;
	sim_agent_start(n);
}

void sim_partition(struct sim *s, unsigned int a, unsigned int b, bool cut)
{
	s->cut[a][b] = s->cut[b][a] = cut;
	s->cut_since[a][b] = s->cut_since[b][a] = s->now;
}

void sim_kill_links(struct sim_node *n)
{
	for (unsigned int i = 0; i < SK_SLOTS; i++)
		if (n->kernel.slot[i].link)
			n->kernel.slot[i].link->alive = false;
}

void sim_reset_sessions(struct sim_node *n)
{
	for (struct sim_conn *c = n->sim->conns; c; c = c->next) {
		for (unsigned int end = 0; end < 2; end++) {
			if (c->node[end] == n && c->open[end]) {
				net_close(c, end);
				sim_settle(n);
			}
		}
	}
}

void sim_primary(struct sim_node *n, bool force, bool peer_dead)
{
	struct core_request r = {
		.id = 1, .volume = "spool", .force = force, .peer_dead = peer_dead,
	};

	if (!n->running)
		return;
	n->request = 1;
	n->kernel.asserted = force || peer_dead;
	n->core.now = n->sim->now;
	core_primary(&n->core, &r);
	sim_settle(n);
}

void sim_secondary(struct sim_node *n)
{
	struct core_request r = { .id = 1, .volume = "spool" };

	if (!n->running)
		return;
	n->request = 1;
	n->core.now = n->sim->now;
	core_secondary(&n->core, &r);
	sim_settle(n);
}

void sim_resolve(struct sim_node *n, const char *keep, bool no_save)
{
	struct core_request r = { .id = 1, .volume = "spool" };
	struct core_resolution d = { .keep = keep, .no_save = no_save, .save_to = "" };
	const struct pair *p;

	if (!n->running)
		return;
	p = n->volume->pair[0];
	d.shown.keep = p->mine.generation;
	d.shown.discard = p->theirs.generation;
	if (strcmp(keep, n->name)) {
		d.shown.keep = p->theirs.generation;
		d.shown.discard = p->mine.generation;
	}
	n->request = 1;
	n->core.now = n->sim->now;
	core_resolve(&n->core, &r, &d);
	sim_settle(n);
}

static void start_all(struct sim *s, unsigned int nodes, uint64_t seed)
{
	s->rng = seed;
	s->nodes = nodes;
	s->now = 1000;
	s->join_limit_ms = 200;
	s->stage_most = SIM_STAGE_MAX;
	for (unsigned int i = 0; i < nodes; i++) {
		struct sim_node *n = &s->node[i];

		n->sim = s;
		n->index = i;
		snprintf(n->name, sizeof(n->name), "node%u", i);
		memset(n->key, (int)i + 1, sizeof(n->key));
		sk_init(&n->kernel, rng, s);
		n->kernel.arbiter = s->arbiter && s->plant != PLANT_ADRIFT;
		n->powered = true;
	}
	for (unsigned int i = 0; i < nodes; i++)
		sim_agent_start(&s->node[i]);
}

void sim_init(struct sim *s, unsigned int nodes, uint64_t seed)
{
	memset(s, 0, sizeof(*s));
	start_all(s, nodes, seed);
}

void sim_init_arbiter(struct sim *s, uint64_t seed, uint32_t takeover_ms)
{
	enum sim_plant plant = s->plant;

	memset(s, 0, sizeof(*s));
	s->arbiter = true;
	s->plant = plant;
	s->takeover_ms = takeover_ms;
	start_all(s, 2, seed);
}

void sim_exit(struct sim *s)
{
	for (unsigned int i = 0; i < s->nodes; i++)
		sim_power_off(&s->node[i]);
	for (unsigned int i = 0; i < sizeof(s->links) / sizeof(s->links[0]); i++)
		if (s->links[i])
			work_forget_link(s, s->links[i]);
	while (s->events) {
		struct sim_event *ev = s->events;

		s->events = ev->next;
		free(ev->op.extents);
		free(ev);
	}
	for (struct sim_conn *c = s->conns; c; c = c->next)
		c->open[0] = c->open[1] = false;
	net_reap(s);
}

/* --------------------------------------------------------------- running -- */

static void note_write(struct sim *s, uint64_t block)
{
	s->written++;
	if (!s->ordered)
		return;
	if (s->written >= SIM_LOG_MAX) {
		sim_broke(s, "the log of writes is long enough", "");
		return;
	}
	s->log_block[s->written] = (uint16_t)block;
	s->log_before[s->written] = s->log_last[block];
	s->log_last[block] = (uint32_t)s->written;
}

uint64_t sim_newest(const struct sim_node *n)
{
	uint64_t newest = 0;

	for (unsigned int b = 0; b < SK_BLOCKS; b++)
		if (n->kernel.data[b] > newest)
			newest = n->kernel.data[b];
	return newest;
}

void sim_forget(struct sim *s)
{
	uint64_t newest = 0;

	for (unsigned int i = 0; i < s->nodes; i++)
		if (sim_newest(&s->node[i]) > newest)
			newest = sim_newest(&s->node[i]);
	for (unsigned int b = 0; b < SK_BLOCKS; b++)
		while (s->log_last[b] > newest)
			s->log_last[b] = s->log_before[s->log_last[b]];
}

bool sim_prefix(const struct sim *s, const struct sim_node *n)
{
	uint64_t newest = sim_newest(n);

	for (unsigned int b = 0; b < SK_BLOCKS; b++) {
		uint64_t want = s->log_last[b];

		while (want > newest)
			want = s->log_before[want];
		if (n->kernel.data[b] != want)
			return false;
	}
	return true;
}

static void application(struct sim *s)
{
	for (unsigned int i = 0; i < s->nodes; i++) {
		struct sk *k = &s->node[i].kernel;
		bool answered = k->write_pending && !k->gate_lost;

		for (unsigned int slot = 0; slot < SK_SLOTS; slot++)
			answered &= !k->slot[slot].pending;
		if (answered) {
			k->write_pending = false;
			s->acked[k->write_block] = k->write_value;
		}
		if (s->writing && k->primary && s->node[i].powered && !sim_random(s, 4)) {
			uint64_t block = sim_random(s, SK_BLOCKS);

			if (sk_write(k, block, s->written + 1, s->now))
				note_write(s, block);
		}
		if (s->node[i].powered && !sim_random(s, 16))
			sk_settle(k);
		if (s->node[i].powered && !sim_random(s, 8))
			sk_go_on(k);
	}
}

static void timeouts(struct sim *s)
{
	for (unsigned int a = 0; a < s->nodes; a++) {
		for (unsigned int slot = 0; slot < SK_SLOTS; slot++) {
			struct sk_link *l = s->node[a].kernel.slot[slot].link;

			for (unsigned int b = 0; l && b < s->nodes; b++)
				if (b != a && s->cut[a][b] && s->now >= s->cut_since[a][b] + TIMEOUT_MS &&
				    (l->end[0] == &s->node[b].kernel || l->end[1] == &s->node[b].kernel))
					l->alive = false;
		}
	}
}

static void check_links(struct sim *s)
{
	for (unsigned int i = 0; i < sizeof(s->links) / sizeof(s->links[0]); i++)
		if (s->link_bytes && s->links[i] && s->links[i]->bytes > s->link_bytes)
			sim_broke(s, "no link carries more than its keys are good for", "");
}

static const struct sk_slot *slot_for(const struct sim_node *n, const struct sim_node *peer)
{
	for (unsigned int i = 0; i < SK_SLOTS; i++) {
		const struct sk_slot *slot = &n->kernel.slot[i];

		if (slot->kind && !memcmp(slot->key, peer->key, REPL_KEY_BYTES))
			return slot;
	}
	return NULL;
}

/*
 * Two copies of one volume, neither of which has a link: of each block that differs one
 * of the two knows that it may, in its map or in a cut that is open.  So nothing but a
 * copy that was confirmed, and is on stable media, has cleared a bit.
 */
static void check_doubts(struct sim *s, const struct sim_node *one, const struct sim_node *other)
{
	const struct sk *a = &one->kernel, *b = &other->kernel;
	const struct sk_slot *x = slot_for(one, other);
	const struct sk_slot *y = slot_for(other, one);
	char text[64];

	if (!x || !y || x->link || y->link ||
	    memcmp(&x->copy_id, &b->copy_id, sizeof(b->copy_id)) ||
	    memcmp(&y->copy_id, &a->copy_id, sizeof(a->copy_id)))
		return;
	for (unsigned int i = 0; i < SK_BLOCKS; i++) {
		if (a->data[i] == b->data[i] || x->dirty[i] || y->dirty[i] ||
		    (x->cut_open && x->cut[i]) || (y->cut_open && y->cut[i]))
			continue;
		snprintf(text, sizeof(text), "block %u of %s and %s", i, one->name, other->name);
		sim_broke(s, "what differs is dirty", text);
	}
}

/* What went over the link has arrived, and nothing is under way: the copies are the same. */
static void check_live(struct sim *s, const struct sim_node *one, const struct sim_node *other)
{
	const struct sk_slot *x = slot_for(one, other), *y = slot_for(other, one);

	if (!x || !y || !x->link || x->link != y->link || !x->link->alive || x->link->frames)
		return;
	if (memcmp(one->kernel.data, other->kernel.data, sizeof(one->kernel.data)))
		sim_broke(s, "what is live is equal", one->name);
}

static void check(struct sim *s)
{
	unsigned int primaries = 0;

	check_links(s);
	for (unsigned int i = 0; s->ordered && i < s->nodes; i++)
		if ((s->node[i].kernel.flags & REPL_SB_CONSISTENT) && !sim_prefix(s, &s->node[i]))
			sim_broke(s, "a consistent copy is a past state of the volume", s->node[i].name);
	for (unsigned int i = 0; i < s->nodes; i++)
		for (unsigned int n = 0; n < i; n++) {
			check_doubts(s, &s->node[n], &s->node[i]);
			check_live(s, &s->node[n], &s->node[i]);
		}
	for (unsigned int i = 0; i < s->nodes; i++)
		primaries += s->node[i].kernel.primary && s->node[i].kernel.by_consent;
	/* With an arbiter one that is frozen has yet to learn what it has become of. */
	if (primaries > 1 && !s->arbiter)
		sim_broke(s, "never two primaries by consent", "");
	primaries = 0;
	for (unsigned int i = 0; i < s->nodes; i++)
		primaries += sk_completes(&s->node[i].kernel);
	if (primaries > 1 && s->arbiter)
		sim_broke(s, "never two primaries that complete writes", "");
	if (s->now < s->counters_at)
		return;
	s->counters_at = s->now + SIM_COUNTERS_MS;
	for (unsigned int i = 0; i < s->nodes; i++) {
		for (unsigned int p = 0; s->node[i].running && p < s->node[i].volume->pair_count; p++) {
			struct sim_pair *io = sim_io(s->node[i].volume->pair[p]);

			io->dials = io->offers = io->follows = 0;
		}
	}
}

static void tick(struct sim_node *n)
{
	struct sim *s = n->sim;

	n->late = false;
	if (n->kernel.changed && n->running) {
		n->kernel.changed = false;
		n->core.now = s->now;
		core_event(&n->core, n->volume);
	}
	sim_settle(n);
	n->ticks = 0;
	while (n->running && core_deadline(&n->core) <= s->now) {
		n->core.now = s->now;
		core_tick(&n->core);
		sim_settle(n);
		if (++n->ticks > SPIN) {
			sim_broke(s, "no deadline lies in the past for ever", n->name);
			return;
		}
	}
}

static void step(struct sim *s)
{
	s->now++;
	/* But for messages, the loop takes all that has come before it carries out what is decided of it. */
	for (unsigned int i = 0; i < s->nodes; i++)
		s->node[i].late = !sim_random(s, 3);
	for (struct sim_conn *c = s->conns; c; c = c->next)
		net_pump(s, c);
	while (s->events && s->events->at <= s->now) {
		struct sim_event *ev = s->events;

		s->events = ev->next;
		if (work_outlives_agent(ev) || (ev->node->running &&
					      ev->incarnation == ev->node->incarnation)) {
			ev->run(ev);
			sim_settle(ev->node);
		} else {
			free(ev->op.extents);
		}
		free(ev);
	}
	timeouts(s);
	work_pump_links(s);
	application(s);
	for (unsigned int i = 0; i < s->nodes; i++)
		tick(&s->node[i]);
	net_reap(s);
	check(s);
}

void sim_run(struct sim *s, uint64_t ms)
{
	for (uint64_t end = s->now + ms; s->now < end && !s->broken;)
		step(s);
}

bool sim_until(struct sim *s, bool (*fn)(const struct sim *s), uint64_t ms)
{
	for (uint64_t end = s->now + ms; s->now < end && !s->broken;) {
		if (fn(s))
			return true;
		step(s);
	}
	return !s->broken && fn(s);
}

struct sim_node *sim_primary_node(struct sim *s)
{
	for (unsigned int i = 0; i < s->nodes; i++)
		if (s->node[i].kernel.primary)
			return &s->node[i];
	return NULL;
}

bool sim_all_live(const struct sim *s)
{
	const struct sim_node *primary = sim_primary_node((struct sim *)s);

	for (unsigned int i = 0; i < s->nodes; i++) {
		const struct sim_node *n = &s->node[i];

		if (!n->running || (primary && n != primary))
			continue;
		for (unsigned int p = 0; p < n->volume->pair_count; p++)
			if (n->volume->pair[p]->phase != PHASE_LIVE)
				return false;
	}
	return true;
}

bool sim_answered(const struct sim *s)
{
	for (unsigned int i = 0; i < s->nodes; i++)
		if (s->node[i].request)
			return false;
	return true;
}

bool sim_equal(const struct sim *s)
{
	for (unsigned int b = 0; b < SK_BLOCKS; b++) {
		for (unsigned int i = 0; i < s->nodes; i++)
			if (s->node[i].kernel.data[b] != s->node[0].kernel.data[b] ||
			    s->node[i].kernel.data[b] < s->acked[b])
				return false;
	}
	return true;
}
