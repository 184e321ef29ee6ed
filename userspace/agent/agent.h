/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shell around the core: what the files that do input and output share.
 *
 *	agent.c		carries out the core's actions
 *	listen.c dial.c	where connections come from
 *	greet.c		TLS and the first message, byte-exact
 *	conn.c		a session's bytes, on the ring
 *	link.c		a link's connection, up to its hand-over to the kernel
 *	kops.c		the kernel's tickets and cuts
 *	delta.c mapsend.c apply.c	bulk data
 *	stage.c		deltas that wait until, in one step, they become this copy
 *	save.c		what a split's loser has alone, into a file
 *	helper.c	who mounts and starts what is taken over
 *	hook.c		programs that are told of changes
 *	compare.c sums.c	what a verify reads, and the digests it stores
 *	ask.c		a volume's arbiter is asked
 *	witness.c	this node is the arbiter of others' volumes
 *	bring.c		devices: up, and what is found at start
 *	control.c status.c	the administrator's socket
 */
#ifndef REPL_AGENT_AGENT_H
#define REPL_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "core.h"
#include "kernel.h"
#include "loop.h"
#include "tls.h"

struct conn;
struct control;
struct compare;
struct delta;
struct mapsend;
struct apply;
struct ask;
struct dial;
struct helper;
struct hooks;
struct linkopen;
struct listener;
struct resolver;
struct save;
struct stage;

/* What the shell keeps for a pair. */
struct pair_io {
	struct agent *agent;
	struct pair *pair;
	int cut_fd;			/* -1: none */
	struct loop_watch cut_watch;	/* until it is drained */
	uint32_t cut_turn;
	bool cut_waiting;		/* OP_CUT is not answered yet */
	struct delta *delta;
	struct mapsend *mapsend;
	struct apply *apply;
	struct save *save;
	struct compare *compare;
	struct dial *dial;		/* the session's address is looked up */
	struct linkopen *linkopen;
	int link_fd;			/* a proven link's connection; -1: none */
};

/* What the shell keeps for a volume. */
struct volume_io {
	uint32_t minor;
	int data_fd;			/* O_RDWR | O_DIRECT; -1: the disk is gone */
	int fresh_fd, fresh_meta_fd;	/* held ready for OP_REPLACE; -1: none */
	uint64_t noted_end;		/* where the metadata end, as noted; 0: nobody notes it */
	uint64_t rate_limit;		/* bytes per second of catch-up; 0: none */
	char save_dir[CONFIG_SAVE_DIR_MAX];
	struct repl_id copy_id;
	struct stage *stage;		/* the staging file; NULL: none is open */
	struct apply *replay;		/* what is in it is being applied */
	char staging_dir[CONFIG_STAGING_DIR_MAX];
	uint64_t staging_size;		/* bytes that it may have */
	enum config_arbiter arbiter;
	char arbiter_is[PATH_MAX];	/* as in struct config_volume */
	struct ask *ask;		/* under way; or NULL */
};

struct agent {
	struct loop loop;
	struct core core;
	struct config config;
	struct key_public key;
	struct tls_ctx *tls;
	struct kernel *kernel;
	struct kernel_events *events;
	struct loop_watch event_watch;
	struct loop_watch signal_watch;
	struct listener *listeners;
	struct resolver *resolver;
	struct conn *conns;
	uint32_t last_conn;
	unsigned int strangers;		/* accepted, not authenticated yet */
	struct control *control;
	struct hooks *hooks;
	struct helper *helpers;
	bool settling;
	bool quit;
	bool reload;
};

/** agent_settle - carry out every action of the core */
void agent_settle(struct agent *a);

/** agent_volume_io, agent_pair_io - what hangs on the core's objects */
static inline struct volume_io *agent_volume_io(const struct volume *v)
{
	return v->io;
}

static inline struct pair_io *agent_pair_io(const struct pair *p)
{
	return p->io;
}

/** agent_now - refresh the core's clock */
void agent_now(struct agent *a);

/** agent_op_done - hand an op's end to the core */
void agent_op_done(struct agent *a, struct volume *v, struct pair *p, enum op_kind kind,
		   uint32_t turn, int error, const char *text);

/** agent_events - the kernel's events are readable */
void agent_events(struct loop_watch *w, uint32_t events);

/** agent_peer_address - where to connect to a peer; NULL: no longer configured */
const struct config_address *agent_peer_address(const struct agent *a,
						const struct core_peer *peer);

#endif /* REPL_AGENT_AGENT_H */
