// SPDX-License-Identifier: GPL-2.0-or-later
#include "explain.h"

#include <stdarg.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "id.h"
#include "units.h"

enum {
	EXPLAIN_GATE_MS = 5000,		/* a join or a snapshot may hold writes for a moment */
	EXPLAIN_ROLLING_MS = 10000,	/* and an epoch may come late */
};

static void find(struct view_volume *vol, enum view_health health, const char *next,
		 const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void find(struct view_volume *vol, enum view_health health, const char *next,
		 const char *fmt, ...)
{
	struct view_finding *f;
	va_list args;

	if (health > vol->health)
		vol->health = health;
	if (vol->finding_count == VIEW_FINDINGS_MAX)
		return;
	f = &vol->finding[vol->finding_count++];
	f->health = health;
	va_start(args, fmt);
	vsnprintf(f->reason, sizeof(f->reason), fmt, args);
	va_end(args);
	snprintf(f->next, sizeof(f->next), "%s", next);
}

/* Words that carry the volume's name, or a peer's. */
static const char *words(char *text, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static const char *words(char *text, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, VIEW_WORDS_MAX, fmt, args);
	va_end(args);
	return text;
}

char *explain_gate(uint32_t gate, char *text, size_t size)
{
	static const struct {
		uint32_t bit;
		const char *word;
	} reasons[] = {
		{ REPL_GATE_JOIN, "join" },
		{ REPL_GATE_PEER_LOST, "peer-lost" },
		{ REPL_GATE_ADMIN, "administrator" },
		{ REPL_GATE_SNAPSHOT, "snapshot" },
		{ REPL_GATE_RESIZE, "resize" },
		{ REPL_GATE_DISK, "disk" },
		{ REPL_GATE_REPLACE, "replace" },
	};
	size_t used = 0;

	*text = '\0';
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if ((gate & reasons[i].bit) && used < size)
			used += snprintf(text + used, size - used, "%s%s", used ? ", " : "",
					 reasons[i].word);
	}
	return text;
}

/* The kernel knows what was written just now; the agent, what is staged there, which is dirty no more. */
int64_t explain_behind(const struct view_volume *vol, const struct view_peer *p)
{
	int64_t dirty;

	if (!p->slot)
		return vol->kernel ? (int64_t)vol->kernel->size : -1;
	dirty = (int64_t)(p->slot->dirty_blocks << REPL_BLOCK_SHIFT);
	return p->rolling.known && p->rolling.behind_bytes > dirty ? p->rolling.behind_bytes : dirty;
}

/* What its slot says of the replica itself is what that was when it last led. */
int64_t explain_epoch(const struct view_volume *vol, const struct view_peer *p)
{
	if (!p->rolling.known || p->rolling.age_ms < 0 || !p->slot || id_is_zero(&p->slot->generation) ||
	    !vol->kernel || vol->kernel->role != REPL_ROLE_PRIMARY)
		return -1;
	return (int64_t)p->slot->epoch;
}

static bool any_live(const struct view_volume *vol)
{
	for (size_t i = 0; i < vol->peer_count; i++) {
		if (vol->peer[i].state == VIEW_LIVE)
			return true;
	}
	return false;
}

/* -- findings -------------------------------------------------------------- */

static void explain_absent(const struct view *v, struct view_volume *vol)
{
	char next[VIEW_WORDS_MAX];

	if (v->elsewhere)
		find(vol, VIEW_DOWN, words(next, "there: repl-ctl up %s", vol->name), "is not up there");
	else if (!v->module)
		find(vol, VIEW_DOWN, words(next, "modprobe repl, then: repl-ctl up %s", vol->name),
		     "%s", v->module_problem);
	else if (v->agent == VIEW_AGENT_DEAD)
		find(vol, VIEW_DOWN, words(next, "systemctl start repl-agent, then: repl-ctl up %s",
					   vol->name), "is not up, and no agent runs");
	else if (v->agent == VIEW_AGENT_SILENT)
		find(vol, VIEW_DOWN, words(next, "systemctl restart repl-agent, then: repl-ctl up %s",
					   vol->name), "is not up, and the agent does not answer");
	else
		find(vol, VIEW_DOWN, words(next, "repl-ctl up %s", vol->name), "is not up on this node");
}

const char *explain_begun(uint32_t sb_flags)
{
	if (sb_flags & REPL_SB_BY_FORCE)
		return "force";
	return sb_flags & REPL_SB_BY_PEER_DEAD ? "peer-dead" : NULL;
}

/* The others have a deadline, at which the module lets the writes go. */
static const char *gates_next(uint32_t gate)
{
	if (gate & (REPL_GATE_DISK | REPL_GATE_REPLACE | REPL_GATE_RESIZE))
		return "wait: disk, replace and resize end when the disks have written what is due; if one does not, see dmesg";
	return "wait: each of these ends by itself at its deadline";
}

/* What other nodes tell of their volumes is less than this node knows of its own. */
static bool elsewhere(const struct kernel_volume *k)
{
	return !k->backing[0];
}

static const char *device(const struct kernel_volume *k)
{
	return elsewhere(k) ? "there" : k->backing;
}

/* " 3 times", or nothing where the number is not known */
static const char *times(const struct kernel_volume *k, char to[UNITS_TEXT_MAX])
{
	*to = '\0';
	if (!elsewhere(k))
		snprintf(to, UNITS_TEXT_MAX, " %" PRIu64 " times", k->counter[REPL_C_ERRORS]);
	return to;
}

static const char *disk_of(const struct kernel_volume *k, char to[UNITS_TEXT_MAX])
{
	snprintf(to, UNITS_TEXT_MAX, "/dev/repl%u", k->minor);
	return to;
}

/* Frozen until the arbiter has said who goes on. */
static void explain_arbitration(struct view_volume *vol)
{
	const struct view_arbiter *a = &vol->arbiter;
	char next[VIEW_WORDS_MAX], age[UNITS_TEXT_MAX];

	units_format_duration(vol->kernel->gate_age_ms, age);
	if (elsewhere(vol->kernel)) {
		find(vol, VIEW_DOWN, words(next, "there: repl-ctl status %s", vol->name),
		     "writes have been frozen for %s: a peer was lost, and the arbiter has not let it go on", age);
		return;
	}
	words(next, "%s; to let what waits fail instead, and make this node secondary: repl-ctl resume %s --fail",
	      a->known ? "bring the peer back, or see that the arbiter answers" :
			 "start the agent: only it asks the arbiter", vol->name);
	find(vol, VIEW_DOWN, next, "writes have been frozen for %s: a peer was lost; arbiter%s%s: %s", age,
	     a->known ? " " : "", a->is, a->waits[0] ? a->waits : "has not been asked whether to go on");
}

/* What would only be found out when it is too late; and what a secondary waits for. */
static void explain_arbiter(struct view_volume *vol)
{
	const struct view_arbiter *a = &vol->arbiter;

	if (!a->known)
		return;
	if (a->waits[0] && vol->kernel->role != REPL_ROLE_PRIMARY)
		find(vol, VIEW_DEGRADED, "see that the arbiter answers; it is asked until it does",
		     "arbiter %s: %s", a->is, a->waits);
	else if (!strcmp(a->state, "idle") && a->said[0] && strcmp(a->answer, "granted") != 0 &&
		 vol->kernel->role == REPL_ROLE_PRIMARY)
		find(vol, VIEW_DEGRADED, "do what it asks for; until then a lost peer freezes the volume",
		     "the arbiter, %s, would not let this node go on without its peer: %s", a->is, a->said);
}

/* What is said of that peer says all there is to be said. */
static bool is_throttled(const struct view_volume *vol)
{
	for (size_t i = 0; i < vol->peer_count; i++)
		if (vol->peer[i].rolling.held_percent && !(vol->kernel->gate & ~(REPL_GATE_SNAPSHOT | REPL_GATE_JOIN)))
			return true;
	return false;
}

static void explain_gates(struct view_volume *vol)
{
	const struct kernel_volume *k = vol->kernel;
	char next[VIEW_WORDS_MAX], age[UNITS_TEXT_MAX], gate[64];

	units_format_duration(k->gate_age_ms, age);
	if (k->on_peer_loss == REPL_LOSS_ARBITER && k->role == REPL_ROLE_PRIMARY &&
	    (k->gate & (REPL_GATE_PEER_LOST | REPL_GATE_DISK)))
		explain_arbitration(vol);
	else if (k->gate & REPL_GATE_PEER_LOST)
		find(vol, VIEW_DOWN,
		     words(next, "bring the peer back; or, if it must go on alone and no other node is primary: "
			   "repl-ctl resume %s", vol->name),
		     "writes have been frozen for %s: a peer was lost, and on-peer-loss is freeze", age);
	else if (k->gate && k->gate_age_ms >= EXPLAIN_GATE_MS && !is_throttled(vol))
		find(vol, VIEW_DEGRADED, gates_next(k->gate),
		     "writes have been frozen for %s by: %s", age,
		     explain_gate(k->gate, gate, sizeof(gate)));
}

void explain_filling(const struct kernel_volume *k, struct view_progress *p)
{
	uint64_t left = k->size - k->replaced;

	memset(p, 0, sizeof(*p));
	if (!(k->flags & REPL_VF_REPLACING) || !k->size)
		return;
	p->known = true;
	p->percent = (double)k->replaced * 100 / (double)k->size;
	p->bytes_left = left;
	p->rate = k->replace_ms ? k->replaced * 1000 / k->replace_ms : 0;
	p->eta_s = p->rate ? (int64_t)(left / p->rate) : -1;
}

static void find_filling(struct view_volume *vol, const struct view_progress *p)
{
	char next[VIEW_WORDS_MAX], left[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX], eta[UNITS_TEXT_MAX];

	find(vol, VIEW_DEGRADED,
	     words(next, "nothing; to wait for it: repl-ctl wait %s --for in-sync", vol->name),
	     "the new disk %s is being filled from a live peer: %.0f %%, %s left, %s/s%s%s; until then there is no copy here",
	     vol->kernel->backing, p->percent, units_format_bytes(p->bytes_left, left),
	     units_format_bytes(p->rate, rate), p->eta_s >= 0 ? ", about " : "",
	     p->eta_s >= 0 ? units_format_duration(p->eta_s * 1000, eta) : "");
}

/* Those that the disk has now are in use as long as the volume is. */
static const char *metadata_option(const struct view_volume *vol)
{
	return vol->config && vol->config->metadata[0] ? " --metadata DEVICE" : "";
}

/* The volume goes on, or has gone elsewhere: nothing is lost yet, and no copy is here. */
static void explain_diskless(struct view_volume *vol)
{
	const struct kernel_volume *k = vol->kernel;
	struct view_progress filling;
	char next[VIEW_WORDS_MAX];

	explain_filling(k, &filling);
	if (filling.known && elsewhere(k)) {
		find(vol, VIEW_DEGRADED, words(next, "nothing; there: repl-ctl wait %s --for in-sync", vol->name),
		     "a new disk is being filled from a live peer; until then there is no copy there");
		return;
	}
	if (filling.known) {
		find_filling(vol, &filling);
		return;
	}
	words(next, "put another disk in, then: repl-ctl replace %s --device DEVICE%s%s", vol->name,
	      metadata_option(vol), k->role == REPL_ROLE_PRIMARY ? "; the volume stays in use meanwhile" :
					     "; it then gets a full copy");
	find(vol, VIEW_DEGRADED, next, "the backing device %s has failed: %sthere is no copy %s", device(k),
	     k->role == REPL_ROLE_PRIMARY ? "the volume goes on from its live peers, " : "",
	     elsewhere(k) ? "on that node" : "here");
}

static void explain_flags(struct view_volume *vol)
{
	const struct kernel_volume *k = vol->kernel;
	char next[VIEW_WORDS_MAX], often[UNITS_TEXT_MAX];

	if (k->flags & REPL_VF_FAILING)
		find(vol, VIEW_DOWN,
		     words(next, "%s: repl-ctl secondary %s --force; then, on a peer that was in sync: "
			   "repl-ctl primary %s", elsewhere(k) ? "there" : "here", vol->name, vol->name), "%s",
		     elsewhere(k) ?
		     "all I/O fails there: its disk has failed, and it reaches no peer that has everything" :
		     "all I/O fails: the disk here has failed, and no peer is within reach that has everything");
	else if (k->flags & REPL_VF_DISKLESS)
		explain_diskless(vol);
	else if ((k->flags & REPL_VF_FAILED) && k->role != REPL_ROLE_PRIMARY)
		find(vol, VIEW_DEGRADED,
		     words(next, "look at the disk (dmesg, smartctl); to put another one in its place: repl-ctl replace %s --device DEVICE%s",
			   vol->name, metadata_option(vol)),
		     "the backing device %s has failed a write of the peer; the disk has failed%s",
		     device(k), times(k, often));
	else if (k->flags & REPL_VF_FAILED)
		find(vol, VIEW_DEGRADED,
		     any_live(vol) ?
		     "look at the disk (dmesg, smartctl); a live peer has everything: move the work there" :
		     "look at the disk (dmesg, smartctl); no peer has everything: copy what matters now",
		     "the backing device %s has failed%s", device(k), times(k, often));
	if (k->flags & REPL_VF_ZOMBIE)
		find(vol, VIEW_DEGRADED,
		     words(next, "unmount or end them; this names them: repl-ctl down %s", vol->name),
		     "processes still hold %s open since its primary role was ended by force",
		     elsewhere(k) ? "its disk" : disk_of(k, often));
	if (k->flags & REPL_VF_NO_FLUSH)
		find(vol, VIEW_DEGRADED,
		     words(next, "echo 'write back' > /sys/block/repl%u/queue/write_cache", k->minor),
		     "somebody switched the disk's write cache flag off: fsync does not reach the peers");
	if (k->flags & REPL_VF_NO_STABLE)
		find(vol, VIEW_DEGRADED,
		     words(next, "echo 1 > /sys/block/repl%u/queue/stable_writes", k->minor),
		     "somebody switched stable pages off: the copies may come to differ");
}

/* Why what was staged cannot be applied; NULL: that is not so. */
static const char *stuck(const struct view_volume *vol)
{
	const char *state = json_string_value(json_object_get(vol->staged, "state"));

	return state && !strcmp(state, "stuck") ? json_string_value(json_object_get(vol->staged, "reason")) : NULL;
}

static void explain_copy(struct view_volume *vol)
{
	const struct kernel_volume *k = vol->kernel;
	char next[VIEW_WORDS_MAX];

	if (!(k->sb_flags & REPL_SB_IDENTITY))
		find(vol, VIEW_DEGRADED,
		     words(next, "start the node that has the data; or, if this is a new volume's first node: repl-ctl primary %s; "
			   "only if its peers cannot be reached yet, with --force", vol->name),
		     "this copy has never held any data");
	else if (!(k->sb_flags & REPL_SB_CONSISTENT) && stuck(vol))
		find(vol, VIEW_DEGRADED,
		     words(next, "mend that, it is tried again and again; or get it from the leader anew: repl-ctl down %s, "
			   "remove that file (status --json names it), repl-ctl up %s; only if no other copy is left: "
			   "repl-ctl primary %s --force, which takes this copy half changed",
			   vol->name, vol->name, vol->name),
		     "this copy is not consistent until what was staged for it is applied: %s", stuck(vol));
	else if (!(k->sb_flags & REPL_SB_CONSISTENT) && !(k->flags & REPL_VF_DISKLESS))
		find(vol, VIEW_DEGRADED,
		     words(next, "let it finish: repl-ctl wait %s --for in-sync", vol->name),
		     "this copy is not complete yet and cannot take over");
	if (k->sb_flags & REPL_SB_UNPROVEN)
		find(vol, VIEW_DEGRADED,
		     words(next, k->on_peer_loss == REPL_LOSS_ARBITER ?
			   "start the peer; or let the arbiter decide: repl-ctl primary %s" :
			   "start the peer; only if it is surely off: repl-ctl primary %s --peer-dead",
			   vol->name),
		     "%s node stopped uncleanly as primary, and no peer has confirmed its data since",
		     elsewhere(k) ? "that" : "this");
}

/* A link outlives its agents: what they cannot agree on shows only once it breaks. */
static void explain_session(const struct view *v, struct view_volume *vol,
			    const struct view_peer *p)
{
	if (v->agent == VIEW_AGENT_ANSWERS && p->reason[0] && p->session[0] &&
	    strcmp(p->session, "connected") != 0)
		find(vol, VIEW_HEALTHY,
		     "see what the reason says, and the agent there: until they meet, nothing that is lost comes back",
		     "%s is live, but the agents are not connected: %s", p->name, p->reason);
}

static uint64_t verify_bytes(const struct view_peer *p, const char *key)
{
	return p->verify ? (uint64_t)json_number_value(json_object_get(p->verify, key)) : 0;
}

/* Nobody can tell by itself which side is right, so nothing is repaired by itself. */
static void explain_verify(struct view_volume *vol, const struct view_peer *p)
{
	char next[VIEW_WORDS_MAX], differ[UNITS_TEXT_MAX];
	uint64_t bytes = verify_bytes(p, "differ_bytes");

	if (bytes)
		find(vol, VIEW_DEGRADED,
		     words(next, "find out which side is right (status --json has the ranges), make it primary, and there: "
			   "repl-ctl verify %s --repair ITS-NAME (with --peer, if there are several)", vol->name),
		     "%s of the copy on %s differs from the one here, as the last verify has found",
		     units_format_bytes(bytes, differ), p->name);
}

/* Of more than two copies the secondaries go with one node, not with each other. */
static bool rests(const struct view_volume *vol, const struct view_peer *p)
{
	return vol->kernel->role == REPL_ROLE_SECONDARY && any_live(vol) && strcmp(p->verdict, "split") != 0;
}

/* It is late by an interval and what sending takes; by much more, it does not keep up. */
static void explain_rolling(struct view_volume *vol, const struct view_peer *p)
{
	const struct view_rolling *r = &p->rolling;
	char age[UNITS_TEXT_MAX], bound[UNITS_TEXT_MAX], next[VIEW_WORDS_MAX];
	uint64_t most = r->bound_ms > 0 ? (uint64_t)r->bound_ms : 10 * r->interval_ms + EXPLAIN_ROLLING_MS;

	if (!r->late && (r->age_ms < 0 || (uint64_t)r->age_ms <= most))
		return;
	units_format_duration(most, bound);
	if (r->age_ms < 0)
		strcpy(age, "too");
	else
		units_format_duration(r->age_ms, age);
	words(next, r->held_percent ? "look at the link and the disk there, or bring the peer back; to let writes go on, which "
	      "are lost if this node is: on-lag = alarm in the volume's file, then repl-ctl reload" :
	      "look at the link and the disk there: what is written does not get there as fast");
	find(vol, VIEW_DEGRADED, next,
	     "the copy on %s is %s old, it should never be older than %s (lag-bound), and what was written since is lost "
	     "if this node is%s", p->name, age, bound, r->held_percent == 100 ? ": writes wait until it is younger" : "");
}

static void explain_syncing(struct view_volume *vol, const struct view_peer *p)
{
	char next[VIEW_WORDS_MAX], left[UNITS_TEXT_MAX], eta[UNITS_TEXT_MAX];

	words(next, "nothing; to wait for it: repl-ctl wait %s --for in-sync", vol->name);
	if (!p->progress.known)
		find(vol, VIEW_DEGRADED, next, "%s is catching up", p->name);
	else
		find(vol, VIEW_DEGRADED, next, "%s is catching up: %.0f %%, %s left%s%s", p->name,
		     p->progress.percent, units_format_bytes(p->progress.bytes_left, left),
		     p->progress.eta_s >= 0 ? ", about " : "",
		     p->progress.eta_s >= 0 ? units_format_duration(p->progress.eta_s * 1000, eta) : "");
}

static void explain_peer(const struct view *v, struct view_volume *vol, const struct view_peer *p)
{
	char next[VIEW_WORDS_MAX];
	const char *colon = p->reason[0] ? ": " : "";

	switch (p->state) {
	case VIEW_LIVE:
		explain_session(v, vol, p);
		explain_verify(vol, p);
		break;
	case VIEW_ROLLING:
		explain_rolling(vol, p);
		explain_verify(vol, p);
		break;
	case VIEW_SYNCING:
		explain_syncing(vol, p);
		explain_rolling(vol, p);
		break;
	case VIEW_BEHIND:
		if (rests(vol, p)) {
			find(vol, VIEW_HEALTHY, "nothing: the secondaries of a volume go with one node, not with each other",
			     "%s is behind%s%s", p->name, colon, p->reason);
			break;
		}
		/* The one reason that asks for nothing, since only a person can know what. */
		if (strcmp(p->verdict, "split") == 0)
			words(next, "nothing is thrown away by itself; what each side would lose: repl-ctl resolve %s",
			      vol->name);
		else
			words(next, p->reason[0] ?
			      "if the reason names something to do, do that; else wait, it goes on by itself" :
			      "nothing: it starts to catch up by itself");
		find(vol, VIEW_DEGRADED, next, "%s is connected but behind%s%s", p->name, colon,
		     p->reason);
		explain_rolling(vol, p);
		break;
	case VIEW_CONNECTING:
	case VIEW_DISCONNECTED:
		if (v->agent == VIEW_AGENT_DEAD)
			words(next, "systemctl start repl-agent (on this node)");
		else
			words(next, "see that %s is on, its agent runs, its volume is up and the network between works; it then catches up by itself",
			      p->name);
		find(vol, VIEW_DEGRADED, next, "%s is not connected%s%s", p->name, colon, p->reason);
		explain_rolling(vol, p);
		break;
	}
}

static void explain_agent(const struct view *v, struct view_volume *vol)
{
	if (v->agent == VIEW_AGENT_DEAD)
		find(vol, VIEW_DEGRADED, "systemctl start repl-agent",
		     "no agent runs: what is live goes on, but nothing that is lost comes back");
	else if (v->agent == VIEW_AGENT_SILENT)
		find(vol, VIEW_DEGRADED, "systemctl restart repl-agent",
		     "the agent does not answer: what is live goes on, but nothing that is lost comes back");
}

/* A mistake in another volume's file is that volume's: the agent goes on without it alone. */
static void explain_config(const struct view *v, struct view_volume *vol)
{
	if (v->config_good || (v->config.agent_good && !(vol->config && vol->config->bad)))
		return;
	find(vol, VIEW_DEGRADED, "repl-agent --check", "the configuration has a mistake: %s", v->config_problem);
}

void explain_volume(const struct view *v, struct view_volume *vol)
{
	vol->health = VIEW_HEALTHY;
	vol->finding_count = 0;
	if (!vol->kernel) {
		explain_absent(v, vol);
		explain_config(v, vol);
		return;
	}
	explain_gates(vol);
	explain_flags(vol);
	explain_copy(vol);
	explain_arbiter(vol);
	explain_agent(v, vol);
	explain_config(v, vol);
	for (size_t i = 0; i < vol->peer_count; i++)
		explain_peer(v, vol, &vol->peer[i]);
}
