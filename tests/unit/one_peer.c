// SPDX-License-Identifier: GPL-2.0-or-later
#include "one_peer.h"

#include <string.h>

#include "member.h"
#include "tap.h"

struct core core;
struct volume *volume;
struct pair *pair;
struct kernel_volume kernel;
const struct core_peer *peer;
struct sent sent[SENT];
unsigned int sent_count, closed, dials, taken;
struct op ops[SENT];
struct repl_extent marked;
unsigned int op_count, removed, helps;
bool detached;
char refusal[REPL_TEXT_MAX], answer[1024], notices[4096], surveyed[4096];
unsigned int surveys;
char warning[1024];
unsigned int warnings;

static uint64_t rng(void *arg)
{
	return random_next(arg);
}

struct repl_id id(uint8_t n)
{
	return (struct repl_id){ { n } };
}

void clear(void)
{
	sent_count = closed = dials = taken = op_count = helps = warnings = 0;
	refusal[0] = answer[0] = notices[0] = warning[0] = '\0';
}

/* "peer-lost mail2 secondary why;" */
static void note(const struct notice *n)
{
	size_t have = strlen(notices);

	snprintf(notices + have, sizeof(notices) - have, "%s%s%s %s%s%s%s%s;", notice_name(n->kind),
		 n->peer[0] ? " " : "", n->peer, n->role, n->was[0] ? " was " : "", n->was,
		 n->reason[0] ? " " : "", n->reason);
}

void settle(void)
{
	struct action *a;

	while ((a = action_take(&core.actions))) {
		switch (a->kind) {
		case ACTION_GET:
			core_snapshot(a->volume, detached ? NULL : &kernel);
			break;
		case ACTION_SEND:
			if (a->type == REPL_MSG_REFUSE)
				msg_text(refusal, a->data, a->length);
			sent[sent_count % SENT].type = a->type;
			memcpy(sent[sent_count % SENT].body, a->data,
			       a->length < 512 ? a->length : 512);
			sent_count++;
			break;
		case ACTION_CLOSE:
			closed++;
			break;
		case ACTION_DIAL:
			dials++;
			break;
		case ACTION_LINK_TAKE:
			taken++;
			break;
		case ACTION_OP:
			ops[op_count++ % SENT] = a->op;
			if (a->op.extent_count)
				marked = a->op.extents[0];
			break;
		case ACTION_REMOVED:
			removed++;
			core_volume_free(a->volume);
			break;
		case ACTION_FORGET:
			if (a->ok)
				member_free(a->pair);
			break;
		case ACTION_SURVEY:
			surveys++;
			break;
		case ACTION_SURVEYED:
			snprintf(surveyed + strlen(surveyed), sizeof(surveyed) - strlen(surveyed), "%s %u %zu %s;",
				 a->subject, a->type, a->length, a->text);
			break;
		case ACTION_LOG:
			if (a->level > LOG_LEVEL_WARN)
				break;
			warnings++;
			snprintf(warning, sizeof(warning), "%s", a->text);
			break;
		case ACTION_HELP:
			helps++;
			break;
		case ACTION_HOOK:
			note((const struct notice *)a->data);
			break;
		case ACTION_REPLY:
			snprintf(answer, sizeof(answer), "%d %s", a->ok, a->text);
			break;
		default:
			break;
		}
		action_free(a);
	}
}

void begin(bool lower)
{
	static uint64_t state;
	struct volume_settings set = { .join_limit_ms = 200, .timeout_ms = 10000 };
	uint8_t mine[REPL_KEY_BYTES] = { 5 }, theirs[REPL_KEY_BYTES] = { lower ? 9 : 2 };

	state = random_next(&state);
	core_init(&core, "mail1", mine, rng, &state);
	core.now = 1000;
	peer = core_peer_add(&core, "mail2", theirs);
	memset(&kernel, 0, sizeof(kernel));
	kernel.copy_id = id(21);
	kernel.uuid = id(11);
	kernel.generation = id(1);
	kernel.size = SIZE;
	kernel.lbs_shift = 12;
	kernel.slots = 4;
	kernel.role = REPL_ROLE_SECONDARY;
	kernel.sb_flags = REPL_SB_IDENTITY | REPL_SB_CONSISTENT | REPL_SB_MAPS;
	volume = core_volume_up(&core, "spool", &set, false, NULL);
	pair = core_pair_add(volume, peer);
	core_start(volume);
	settle();
	clear();
}

void end(void)
{
	core_exit(&core);
}

void hear(uint32_t conn, uint16_t type, const void *body, uint32_t length)
{
	struct msg_header h = { .type = type, .length = length };

	core_message(&core, conn, &h, body);
	settle();
}

void hear_hello(uint32_t conn, uint16_t least, uint16_t most, const char *name)
{
	struct msg_hello h = { .version_min = least, .version = most, .node = "mail2" };
	struct repl_msg_hello m;

	snprintf(h.volume, sizeof(h.volume), "%s", name);
	msg_pack_hello(&h, &m);
	hear(conn, REPL_MSG_HELLO, &m, sizeof(m));
}

void come(uint32_t conn)
{
	core_session_up(&core, conn, peer, NULL);
	settle();
}

struct copy other_copy(void)
{
	struct copy c = {
		.copy_id = id(22), .uuid = id(11), .generation = id(1), .size = SIZE, .lbs_shift = 12,
		.flags = REPL_MV_IDENTITY | REPL_MV_CONSISTENT | REPL_MV_CLEAN,
	};

	return c;
}

void hear_copy(uint32_t conn, uint16_t type, const struct copy *c)
{
	struct repl_msg_volume m;

	copy_pack(c, &m);
	hear(conn, type, &m, sizeof(m));
}

void tick(uint64_t ms)
{
	core.now += ms;
	core_tick(&core);
	settle();
}

void done(enum op_kind kind, int error)
{
	const struct op *op = op_count ? &ops[(op_count - 1) % SENT] : NULL;
	struct op_result r = { .error = error };

	need(op && op->kind == kind, op_name(kind));
	core_op_done(volume, pair, kind, op->turn, &r);
	settle();
}

void equal_copies(struct copy *c)
{
	uint8_t key[REPL_KEY_BYTES];

	memcpy(key, peer->key, sizeof(key));
	kernel.slot_count = 1;
	kernel.slot[0] = (struct kernel_slot){
		.kind = REPL_SLOT_PEER, .copy_id = id(22), .generation = id(1), .flags = REPL_SS_LIVE,
	};
	memcpy(kernel.slot[0].key, key, sizeof(key));
	*c = other_copy();
	c->flags |= REPL_MV_SLOT | REPL_MV_SLOT_LIVE;
	c->slot_copy_id = id(21);
	c->slot_generation = id(1);
}

struct pair *third_node(uint32_t conn)
{
	const uint8_t key[REPL_KEY_BYTES] = { 1 };
	struct pair *third = core_pair_add(volume, core_peer_add(&core, "mail3", key));

	need(third, "a third node");
	if (conn) {
		core_session_up(&core, conn, third->peer, NULL);
		hear_hello(conn, 1, 1, "spool");
	}
	return third;
}

void third_live(void)
{
	const uint8_t key[REPL_KEY_BYTES] = { 1 };

	kernel.slot[1] = (struct kernel_slot){
		.index = 1, .kind = REPL_SLOT_PEER, .copy_id = id(23), .generation = id(1),
		.flags = REPL_SS_LIVE, .link = REPL_LINK_LIVE, .cookie = 9,
	};
	memcpy(kernel.slot[1].key, key, sizeof(key));
	kernel.slot_count = 2;
}

void follow(uint32_t conn)
{
	struct copy c;

	begin(false);
	equal_copies(&c);
	come(conn);
	hear_hello(conn, 1, 1, "spool");
	hear_copy(conn, REPL_MSG_VOLUME, &c);
	c.cookie = 77;
	hear_copy(conn, REPL_MSG_FOLLOW, &c);
	done(OP_CUT, 0);
	done(OP_MAP_SEND, 0);
	need(pair->phase == PHASE_F_READY, "this side follows");
	clear();
}

void offer(uint32_t conn, uint64_t cookie)
{
	struct msg_link l = { .cookie = cookie, .volume = "spool" };
	struct repl_msg_link m;

	msg_pack_link(&l, &m);
	hear(conn, REPL_MSG_LINK_OFFER, &m, sizeof(m));
}

void live(uint32_t conn, struct copy *c)
{
	begin(false);
	equal_copies(c);
	kernel.slot[0].link = REPL_LINK_LIVE;
	kernel.slot[0].cookie = c->cookie = 8;
	c->flags |= REPL_MV_LIVE;
	come(conn);
	hear_hello(conn, 1, 1, "spool");
	hear_copy(conn, REPL_MSG_VOLUME, c);
	need(pair->phase == PHASE_LIVE, "the pair is live");
	clear();
}
