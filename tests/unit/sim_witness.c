// SPDX-License-Identifier: GPL-2.0-or-later
/* The witness: questions and answers that are lost, late or doubled, and its register. */
#include "sim_private.h"

#include <string.h>

enum { ANSWER_MS = 5000, LATE_MS = 30000 };

static void tell(struct sim_node *n, const struct repl_id *want, enum register_answer answer,
		 const char *why)
{
	struct sim *s = n->sim;

	if (!n->volume)
		return;
	if (answer == REGISTER_UNKNOWN && s->plant == PLANT_HOPEFUL)
		answer = REGISTER_GRANTED;
	n->core.now = s->now;
	core_answered(n->volume, want, answer, why);
}

static void answered(struct sim_event *ev)
{
	tell(ev->node, &ev->op.id, (enum register_answer)ev->value, "the register reads something else");
}

static void timed_out(struct sim_event *ev)
{
	tell(ev->node, &ev->op.id, REGISTER_UNKNOWN, "nobody answers");
}

/* A question has reached the witness, from somebody who may be dead by now. */
static void asked(struct sim_event *ev)
{
	struct sim_node *n = ev->node;
	struct sim *s = n->sim;
	struct sim_event *back;
	bool granted;

	if (s->witness_down || n->witness_cut)
		return;
	if (s->plant == PLANT_GENEROUS)
		s->witness.generation = ev->op.history[0];
	granted = register_ask(&s->witness, &ev->op.history[0], &ev->op.id, n->key);
	s->grants += granted;
	if (sim_random(s, 1000) < s->witness_loss || n->incarnation != ev->incarnation)
		return;
	back = sim_event(n, LATENCY_MS, answered);
	back->op.id = ev->op.id;
	back->value = granted ? REGISTER_GRANTED : REGISTER_DENIED;
}

static void send_question(struct sim_node *n, const struct action *a, uint64_t after)
{
	struct sim_event *ev = sim_event(n, after, asked);

	ev->op.id = a->want;
	ev->op.history[0] = a->expect;
}

/*
 * What a primary acknowledges after it, over a link that still stands, another may have begun without.
 * It may go on to ask what it has asked as a primary, whose peer has come back since.
 */
static bool asks_linked(const struct sim_node *n, const struct action *a)
{
	bool linked = false, again = n->noted && !memcmp(&n->noted_want, &a->want, sizeof(a->want));

	for (unsigned int i = 0; i < sizeof(n->kernel.slot) / sizeof(n->kernel.slot[0]); i++)
		linked |= n->kernel.slot[i].link != NULL;
	return linked && !again && !n->kernel.primary && memcmp(&a->expect, &a->want, sizeof(a->want));
}

void witness_ask(struct sim_node *n, const struct action *a)
{
	struct sim *s = n->sim;

	if (asks_linked(n, a))
		sim_broke(s, "a secondary asks the arbiter while its link stands", n->core.node);
	if (memcmp(&a->expect, &a->want, sizeof(a->want)) && s->plant != PLANT_FORGETFUL) {
		n->noted = true;
		n->noted_expect = a->expect;
		n->noted_want = a->want;
	}
	if (sim_random(s, 1000) >= s->witness_loss)
		send_question(n, a, LATENCY_MS + sim_random(s, 20));
	if (sim_random(s, 1000) < s->witness_loss)
		send_question(n, a, 1 + sim_random(s, LATE_MS));
	sim_event(n, ANSWER_MS, timed_out)->op.id = a->want;
}

bool witness_outlives_agent(const struct sim_event *ev)
{
	return ev->run == asked;
}
