// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent's core, whole, against a peer that proved who it is and then sends anything:
 * messages, from the first HELLO on, between answers of a kernel that obeys.
 *
 * The input is a list of steps: a byte that says which, two bytes of length, the body.
 * needs: userspace/agent/verify.c userspace/agent/judge.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c
 * needs: userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c userspace/agent/follow.c userspace/agent/task.c
 * needs: userspace/agent/resolve.c userspace/agent/promote.c userspace/agent/verdict.c
 * needs: userspace/agent/copy.c userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/arbiter.c
 * needs: userspace/agent/msg.c userspace/agent/action.c userspace/agent/suspect.c
 * needs: tests/fuzz/trap.c
 */
#include "core.h"
#include "pair.h"

#include <string.h>

#include "trap.h"

enum { SIZE = 64 << 20, CONN = 7, OPS = 64, STEPS = 64 };

static struct core core;
static struct volume *volume;
static struct kernel_volume kernel;
static struct { struct pair *pair; enum op_kind kind; uint32_t turn; } waiting[OPS];
static unsigned int waiting_count, actions;
static bool up;

static uint64_t numbers(void *arg)
{
	uint64_t *n = arg;

	return *n = *n * 6364136223846793005u + 1442695040888963407u;
}

static void take_op(const struct action *a)
{
	if (waiting_count == OPS)
		return;
	waiting[waiting_count].pair = a->pair;
	waiting[waiting_count].kind = a->op.kind;
	waiting[waiting_count++].turn = a->op.turn;
	if (a->op.kind == OP_SLOT_SET && a->op.slot < REPL_SLOTS_MAX) {
		struct kernel_slot *s = &kernel.slot[0];

		kernel.slot_count = 1;
		s->index = a->op.slot;
		s->kind = REPL_SLOT_PEER;
		s->copy_id = a->op.id;
		memcpy(s->key, a->op.key, sizeof(s->key));
	}
}

static void settle(void)
{
	struct action *a;

	/* An endless conversation with itself would never return. */
	for (unsigned int n = 0; (a = action_take(&core.actions)); n++) {
		trap_unless(n < 10000);
		actions++;
		if (a->kind == ACTION_GET)
			core_snapshot(a->volume, &kernel);
		else if (a->kind == ACTION_OP)
			take_op(a);
		else if (a->kind == ACTION_CLOSE && up) {
			up = false;
			core_session_down(&core, CONN, "closed");
		}
		action_free(a);
	}
}

static void answer_op(uint8_t how)
{
	struct op_result r = { .error = how & 0x80 ? -5 : 0, .text = "so" };
	unsigned int i;

	if (!waiting_count)
		return;
	i = how % waiting_count;
	waiting_count--;
	core_op_done(volume, waiting[i].pair, waiting[i].kind, waiting[i].turn, &r);
	memmove(&waiting[i], &waiting[i + 1], (waiting_count - i) * sizeof(waiting[0]));
	settle();
}

static void hear(uint16_t type, const uint8_t *body, uint32_t length)
{
	struct msg_header h;
	struct repl_msg m;
	struct err e = { "" };
	uint8_t copy[4096] __attribute__((aligned(8)));

	msg_pack_header(type, length, &m);
	if (msg_unpack_header(&h, &m, &e)) {
		trap_unless(e.text[0]);
		return;
	}
	memcpy(copy, body, length);
	core_message(&core, CONN, &h, copy);
	settle();
}

/* One step of the input. Return: how long it is. */
static size_t step(const uint8_t *data, size_t size)
{
	size_t length = (data[1] | (size_t)data[2] << 8) % 2048;

	if (length > size - 3)
		length = size - 3;
	if (data[0] >= 0xf0)
		kernel.slot[0].dirty_blocks = data[1];
	else if (data[0] >= 0xe0) {
		core.now += 100u << data[0] % 8;
		core_tick(&core);
	} else if (data[0] >= 0x80) {
		answer_op(data[1]);
		return 3;
	} else if (up) {
		hear(data[0], data + 3, (uint32_t)length);
		return 3 + length;
	}
	settle();
	return 3;
}

static void begin(void)
{
	static uint64_t state;
	struct volume_settings set = { .join_limit_ms = 200, .timeout_ms = 10000 };
	uint8_t mine[REPL_KEY_BYTES] = { 5 }, theirs[REPL_KEY_BYTES] = { 2 };
	const struct core_peer *peer;

	state = 1;
	core_init(&core, "mail1", mine, numbers, &state);
	core.now = 1000;
	peer = core_peer_add(&core, "mail2", theirs);
	kernel = (struct kernel_volume){
		.copy_id = { { 21 } }, .uuid = { { 11 } }, .generation = { { 1 } }, .size = SIZE,
		.lbs_shift = 12, .slots = 4, .role = REPL_ROLE_SECONDARY,
		.sb_flags = REPL_SB_IDENTITY | REPL_SB_CONSISTENT | REPL_SB_MAPS,
	};
	waiting_count = 0;
	volume = core_volume_up(&core, "spool", &set, false, NULL);
	core_pair_add(volume, peer);
	core_start(volume);
	settle();
	up = true;
	core_session_up(&core, CONN, peer, NULL);
	settle();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	for (unsigned int i = 0; i < STEPS && size > 3; i++) {
		size_t used = step(data, size);

		data += used;
		size -= used;
	}
	core_exit(&core);
	return 0;
}
