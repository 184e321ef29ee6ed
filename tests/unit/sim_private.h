/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the simulator share. */
#ifndef TESTS_UNIT_SIM_PRIVATE_H
#define TESTS_UNIT_SIM_PRIVATE_H

#include "sim.h"

enum { LATENCY_MS = 3, TIMEOUT_MS = 10000, LINK_OPEN_MS = 10000, CHUNK = 16 };

struct message {
	struct message *next;
	uint64_t at;
	uint16_t type;		/* 0: the connection ends */
	size_t length;
	uint64_t body[];
};

/* What BLOCKS and DIGESTS consist of here. */
struct sim_block {
	uint64_t block, value;
};

/* A session's connection: end 0 has dialled. */
struct sim_conn {
	struct sim_conn *next;
	uint32_t id;
	struct sim_node *node[2];
	unsigned int incarnation[2];
	bool open[2];			/* that end's core knows it */
	bool paused[2];
	struct message *first[2], **last[2];	/* on the way to that end */
};

struct sim_event {
	struct sim_event *next;
	uint64_t at, serial;
	struct sim_node *node;
	unsigned int incarnation;
	void (*run)(struct sim_event *ev);
	struct pair *pair;
	struct volume *volume;
	struct op op;
	uint64_t value;
};

/* sim.c */
void sim_broke(struct sim *s, const char *what, const char *detail);
struct sim_event *sim_event(struct sim_node *n, uint64_t after,
			    void (*run)(struct sim_event *ev));
void sim_op_done(struct sim_node *n, struct volume *v, struct pair *p, enum op_kind kind,
		 uint32_t turn, int error, const char *why);
void sim_settle(struct sim_node *n);
struct sim_node *sim_peer_node(struct sim *s, const struct core_peer *peer);

static inline struct sim_pair *sim_io(const struct pair *p)
{
	return p->io;
}

static inline bool sim_is_cut(const struct sim *s, const struct sim_node *a,
			      const struct sim_node *b)
{
	return s->cut[a->index][b->index];
}

/* sim_net.c */
void net_dial(struct sim_node *n, struct pair *p);
void net_post(struct sim_conn *c, unsigned int to, uint16_t type, const void *body,
	      size_t length);
struct sim_conn *net_find(struct sim *s, uint32_t id);
struct sim_conn *net_pair_conn(struct sim_node *n, const struct pair *p, unsigned int *end);
void net_close(struct sim_conn *c, unsigned int end);
void net_pump(struct sim *s, struct sim_conn *c);
void net_reap(struct sim *s);

/* sim_witness.c */
void witness_ask(struct sim_node *n, const struct action *a);
bool witness_outlives_agent(const struct sim_event *ev);

/* sim_work.c */
void work_begin(struct sim_node *n, struct action *a);
void work_drop(struct sim_node *n, struct sim_pair *io);
void work_forget(struct sim_node *n, struct sim_pair *io);	/* the agent has died */
void work_bulk(struct sim_node *n, struct pair *p, const struct message *m);
void work_start(struct sim_node *n);	/* the agent begins: what was staged and is whole */
void work_pump_links(struct sim *s);
void work_forget_link(struct sim *s, struct sk_link *l);
bool work_outlives_agent(const struct sim_event *ev);

#endif /* TESTS_UNIT_SIM_PRIVATE_H */
