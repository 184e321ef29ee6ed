/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's judgement, without input or output: events come in through the
 * functions below, actions come out of core->actions.  Time and random numbers
 * are inputs too, so that a run can be repeated.
 *
 *	struct core	this node: who it is, its peers, its volumes
 *	struct volume	one volume that is up here
 *	struct pair	one volume and one peer: dials, meets, copies, joins, lives
 *	struct session	one authenticated connection, bound to a pair by its HELLO
 *
 * One thread.  After each call the shell carries out all actions in order.
 */
#ifndef REPL_AGENT_CORE_H
#define REPL_AGENT_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <repl/format.h>

#include "action.h"
#include "copy.h"
#include "judge.h"
#include "kernel.h"
#include "notice.h"
#include "register.h"
#include "takeover.h"
#include "verdict.h"

enum core_limits {
	CORE_DIAL_MIN_MS	= 100,
	CORE_DIAL_MAX_MS	= 5000,
	CORE_HELLO_MS		= 5000,		/* from TLS to the end of the hello */
	CORE_PING_MS		= 2000,
	CORE_DEAD_MS		= 10000,	/* nothing at all was heard */
	CORE_CLOSING_MS		= 100,		/* look again whether a link has closed */
	CORE_CLOSING_MAX_MS	= 2000,
	CORE_RETRY_MIN_MS	= 100,		/* a procedure that failed */
	CORE_RETRY_MAX_MS	= 5000,
	CORE_CONSENT_MS		= 10000,
	CORE_CONSENT_LATE_MS	= 2000,		/* what is said or begun in the last of it may come after it */
	CORE_RESIZE_MS		= 60000,	/* for another node to grow */
	CORE_WORDS_MS		= 10000,	/* between two lines of progress, at most */
	CORE_WORDS_MIN_MS	= 1000,		/* and at least */
	CORE_WORN_MS		= 10000,	/* between two looks at what a link has carried */
	CORE_LINKS_MS		= 60000,	/* as many links as can be are live: between two passes */
	CORE_LINK_MS		= 12000,	/* to connect a link, both ends */
	CORE_SPLIT_MS		= 10000,	/* between two looks at what a split copy has alone */
	CORE_RESOLVE_MS		= 60000,	/* the other side of a resolve says nothing */
	CORE_STAGE_TRIES	= 4,		/* catching up that broke while it was staged, before it goes directly */
	CORE_FULL_MS		= 300000,	/* a delta did not fit where it is staged: before the next try */
	CORE_ASK_MIN_MS		= 500,		/* the arbiter gave no answer */
	CORE_ASK_MAX_MS		= 20000,
	CORE_ARBITER_MS		= 10000,	/* a person waits for its answer; it is asked on */
	CORE_TAKEOVER_MAX_MS	= 600000,	/* between two attempts to take over */
	CORE_FILL_MS		= 1000,		/* between two looks at a new disk that is filled */
	CORE_HELP_CHECK_MS	= 30000,	/* whether it could take a volume over */
	CORE_HELP_MS		= 600000,	/* to do it: check, mount, start everything */
	CORE_MARKS_MAX		= 8,		/* MARKs under way before MAPs must wait */
	CORE_ALLOWANCE_MAX	= 4,		/* passes between two attempts to join, at least so many */
	CORE_PASSES_MANY	= 64,		/* without becoming small: worth a line in the log */
	CORE_REASON_MAX		= 400,
	CORE_PATH_MAX		= 512,
	CORE_ARBITER_MAX	= 128,
};

/* Assumed until a delta was long enough to measure: bytes per second. */
#define CORE_RATE_GUESS		(16ULL << 20)
/* A delta shorter than this says nothing of the rate. */
#define CORE_RATE_BYTES		(1ULL << 20)

enum phase {
	PHASE_OFF,		/* no session */
	PHASE_LOOK,		/* reading the kernel, to tell the peer */
	PHASE_MEET,		/* told; the verdict decides, or waits */
	PHASE_UNLINK,		/* dropping a link that only one side has */
	PHASE_LIVE,
	PHASE_HOLD,		/* the volume is being taken down */

	PHASE_L_FOLLOW,		/* leader: asked the peer to follow */
	PHASE_L_SLOT,
	PHASE_L_MAP,		/* taking in the follower's doubts */
	PHASE_L_TURN,		/* another peer of the volume is joining */
	PHASE_L_LINK,		/* both connect the link */
	PHASE_L_FREEZE,
	PHASE_L_CUT,
	PHASE_L_SEND,
	PHASE_L_DONE,		/* the follower applies and flushes */
	PHASE_L_COMMIT,
	PHASE_L_EPOCH,		/* frozen and cut: the generation ends */
	PHASE_L_COMMITTING,	/* the follower makes what it has staged its copy */
	PHASE_L_EQUAL,		/* it has: recorded here, too */
	PHASE_L_ADD,
	PHASE_L_ADOPT,		/* thawed; the follower adopts */
	PHASE_L_PAUSE,		/* before the next attempt to join */
	PHASE_L_ROLL,		/* until the next epoch is due */

	PHASE_F_LOOK,
	PHASE_F_SLOT,
	PHASE_F_CUT,
	PHASE_F_FOLLOW,
	PHASE_F_MAP,
	PHASE_F_READY,		/* the leader decides what comes next */
	PHASE_F_BEGIN,		/* stop using this copy, then apply */
	PHASE_F_APPLY,
	PHASE_F_LINK,
	PHASE_F_REDO,		/* what was staged becomes this copy */
	PHASE_F_COMMIT,
	PHASE_F_ADD,

	PHASE_S_LEND_CUT,	/* a split's kept copy tells the loser its map */
	PHASE_S_LEND,
	PHASE_S_SLOT,		/* a split's loser, before it follows */
	PHASE_S_MAP,
	PHASE_S_CUT,
	PHASE_S_SAVE,
};

struct core;
struct session;
struct survey;

struct core_peer {
	char name[REPL_NODE_MAX];
	uint8_t key[REPL_KEY_BYTES];
	bool lower;		/* this node's key is lower than the peer's: it dials */
	bool gone;		/* agent.conf has no such key any more */
};

/* What the leader of a pair, or its follower, is about. */
struct procedure {
	uint64_t nonce;			/* of the FOLLOW in force */
	bool equal;			/* nothing was to be copied */
	bool full;
	bool fresh;			/* leader: the follower has never held anything */
	bool followed;			/* this copy is durably the leader's */
	bool map_done;
	bool paused;			/* the session's messages wait */
	bool last;			/* the delta under way is the last one */
	bool last_done;			/* follower: applied it, or staged it */
	bool staged;			/* deltas wait in a file until the leader names an instant */
	bool cut_open;			/* follower: of its own doubts */
	bool adopting;			/* follower: the leader has adopted the link */
	uint64_t commit_nonce;		/* follower: of the COMMIT under way */
	uint64_t staged_bytes;		/* leader: since the last COMMIT */
	bool instant;			/* leader: this pass is cut and read in one freeze ... */
	bool ended;			/* ... in which the generation has ended ... */
	bool all_read;			/* ... and it was read ... */
	bool held;			/* ... before the freeze was over */
	struct copy epoch;		/* leader: what that generation was; follower: what it becomes */
	struct repl_id generation;	/* follower: of this copy, as agreed about or recorded since */
	bool frozen;			/* leader: asked for REPL_GATE_JOIN */
	bool link_open, link_ready;	/* this end of the link's connection, the other's */
	unsigned int opening;		/* follower: OP_LINK_OPENs, one for each offer */
	uint64_t cookie;
	uint64_t delta_id;
	struct msg_delta delta;
	struct copy sent;		/* leader: as told with the last delta */
	uint64_t began_at;		/* this pass */
	uint64_t rate;			/* bytes per second, measured; 0: not yet */
	unsigned int passes;		/* since the last attempt to join */
	bool rolled;			/* an epoch has ended because it was due */
	unsigned int allowance;		/* passes before the next attempt */
	unsigned int join_failures;
	/* For people. */
	uint64_t total_bytes;		/* when the copying began */
	uint64_t done_bytes;		/* of this pass */
	uint64_t left_bytes;		/* when this pass began */
	uint64_t start_at;
	uint64_t words_at;
	unsigned int words_percent;
};

/* What the last catching up, or the one under way, has moved: passes that were confirmed. */
struct copied {
	struct msg_moved moved;
	unsigned int passes;
};

enum resolve_step {
	RESOLVE_NONE,
	RESOLVE_ASKED,		/* keeps: the other side saves */
	RESOLVE_SAVING,		/* is discarded: what only this copy has goes to a file */
	RESOLVE_AGREED,		/* in force: the verdict is a leader */
};

/* A split that is being ended.  Nothing of it is durable before the loser follows. */
struct resolve {
	enum resolve_step step;
	struct resolution ids;
	bool keeps;			/* this copy is the one that is kept */
	bool remote;			/* the peer asked for it */
	bool no_save;
	uint32_t request;		/* who waits for it here; 0: nobody */
	uint64_t deadline;		/* 0: none */
	char save_to[CORE_PATH_MAX];	/* "": the volume's save-dir */
	char saved[CORE_PATH_MAX];	/* the file, once there is one */
};

enum verify_step {
	VERIFY_SLOT,		/* the mark gets one */
	VERIFY_OPEN,		/* digests */
	VERIFY_BEGIN,		/* the peer has to say READY */
	VERIFY_CUT,
	VERIFY_TAKE,		/* what was written since the last cut */
	VERIFY_COMMIT,
	VERIFY_FREEZE,
	VERIFY_QUIET,		/* until nothing is in flight */
	VERIFY_COMPARE,
	VERIFY_LOOK,		/* is the pair still live? */
	VERIFY_SEAL,
	/* A repair: the pair is not live. */
	VERIFY_UNLINK,
	VERIFY_MARK,
	VERIFY_REJOIN,
};

/* This copy is compared with the peer's; verify.c. */
struct verify {
	uint64_t id;			/* random: whose work it is that ends */
	enum verify_step step;
	uint32_t request;		/* who waits for it; 0: nobody */
	bool scrub;			/* what both have changed alike is wrong, too */
	bool stored;			/* digests of before are used */
	bool repair;
	bool fresh;			/* the first cut is still to come */
	bool barrier;			/* before the pass under way */
	bool frozen;			/* asked for REPL_GATE_SNAPSHOT */
	/* As it began.  Who is not primary knows by the generation that nobody has written. */
	uint8_t role;
	uint64_t size;
	struct repl_id generation;
	uint64_t timer;			/* 0: none; meaning by step */
	uint64_t moved_at;
	uint8_t key[REPL_DIGEST_KEY_BYTES];	/* a scrub's: as stored */
	struct judge *judge;
	char unstored[CORE_REASON_MAX];	/* why no digests are stored */
	/* For people. */
	uint64_t began_at, words_at;
	int words_percent;
	uint64_t blocks, pass_blocks;	/* compared so far, and before this pass */
};

enum { VERIFY_WORDS_RANGES = 16 };	/* in the log */

/* What the last verify has found; kept until it is repaired, or the next one has ended. */
struct verified {
	uint64_t at;			/* 0: never */
	bool scrub;
	uint64_t equal, differ, not_compared, repaired;	/* blocks */
	struct judge_range *range;
	size_t ranges;
	bool coarse;			/* some hold equal blocks, too */
};

/* Of a peer that is rolling, or shall be; roll.c. */
enum { ROLL_MINUTES = 60 };

struct rolling {
	uint32_t interval_ms;		/* 0: it is to be in sync */
	uint64_t most;			/* bytes to be read while writes wait; as it turns out */
	uint64_t begun_at;		/* the epoch under way */
	uint64_t equal_at;		/* the peer has this copy as it was then; 0: not known */
	uint64_t next_at;		/* no epoch before */
	uint64_t sent;			/* bytes: staged there, and not its copy yet, as far as is known here */
	unsigned int joins;		/* since the last epoch: what was missing there went directly */
	uint64_t keep_until;		/* the link that came of it */
	uint64_t minute;		/* of the newest in ->worst */
	uint64_t worst[ROLL_MINUTES];	/* ms; how old it was, minute by minute */
};

/* How old its copy may become; lag.c. */
struct lag {
	uint32_t bound_ms;		/* 0: as its interval has it */
	uint64_t since;			/* the copy is not newer than this moment, or was not known to be; 0: not rolling */
	bool known;			/* it is one that this primary was, and consistent */
	bool late;			/* it is too old, and that was said */
	uint64_t look_at;		/* 0: never */
	bool throttle;			/* writes wait for it */
	uint64_t held_until;		/* by the kernel's own deadline; 0: no write waits */
	uint64_t thaw_at;		/* a slice of time is over; 0: no slice */
	uint64_t slice_at;		/* none before */
};

/* An old primary that is back; comeback.c. */
struct comeback {
	bool follows;			/* by itself, when what only it has is saved */
	bool begun;
	unsigned int failures;
	uint64_t retry_at;		/* it could not be saved: not before */
	char why[CORE_REASON_MAX / 2];
};

/* What a copy that stages was before the join; until it has adopted the link it may be that still. */
struct staged_peer {
	struct repl_id generation;	/* zero: it is known what it is */
	uint64_t epoch;
};

struct pair {
	struct core *core;
	struct volume *volume;
	const struct core_peer *peer;
	void *io;			/* the shell's */
	enum phase phase;
	struct session *session;	/* NULL: none that said HELLO */

	bool dialling;
	uint64_t dial_at;		/* 0: not to be dialled */
	unsigned int dial_failures;

	struct copy mine;		/* as of the last GET */
	struct copy said;		/* as told last */
	struct copy theirs;		/* as heard last */
	uint64_t theirs_at;		/* when */
	uint64_t told_at;		/* the same, but only VOLUME and STATE */
	bool have_said, have_theirs;
	bool say;			/* tell it even if nothing changed */
	bool closing;			/* the slot's last link has I/O left */
	struct verdict verdict;
	bool judged;
	bool direct;			/* follower: the last delta could not be staged */
	unsigned int broken;		/* follower: procedures that broke with something staged, one after the other */
	uint64_t full_until;		/* follower: the same, and it may not be applied directly; 0: no */
	struct repl_id outrun;		/* generation of this copy in which the peer's was newer, or may be */
	uint64_t begins_until;		/* it may be because of a consent, whatever the peer said before this */
	struct rolling roll;
	struct lag lag;
	struct comeback comeback;
	struct staged_peer unsure;	/* leader: the peer has not said yet that it adopted the link */
	char logged[CORE_REASON_MAX];	/* the verdict as logged last */
	char reason[CORE_REASON_MAX];	/* for status: what it waits for */

	uint32_t turn;			/* of the procedure; answers of older ones only count */
	unsigned int pending;		/* ops under way */
	unsigned int failures;		/* procedures that failed since the last success */
	uint64_t retry_at;		/* no new procedure before */
	uint64_t timer;			/* 0: none; meaning by phase */
	void (*then)(struct pair *p);	/* goes on with the next snapshot */
	unsigned int looks;		/* for how long a link has been closing */
	struct procedure run;

	struct copied copied;
	struct resolve resolve;
	struct notice_pair noticed;
	struct takeover takeover;
	struct verify *verify;		/* NULL: nothing is compared from here */
	struct verified verified;
	bool serves;			/* the peer compares: OP_VERIFY_SERVE is under way */

	/* promotion: must consent, CONSENT_ASK was sent, has consented */
	bool asked, told, granted;
	struct msg_grow grown;		/* resize: what the peer said last */
	bool asks_room;			/* resize: the peer waits for this node's size and room */
};

struct volume_settings {
	uint32_t join_limit_ms;
	uint32_t timeout_ms;
	uint32_t stuck_ms;
	bool plain;
	bool stages;			/* there is a place for deltas to wait in */
	bool direct_apply;		/* what does not fit there is applied as it comes */
	uint8_t arbiter;		/* enum repl_msg_arbiter */
	uint8_t arbiter_tag[2];
	char arbiter_is[CORE_ARBITER_MAX];	/* for people: "node:mail3" */
	uint32_t takeover_ms;		/* the primary is gone for so long; 0: a person decides */
};

enum redo_step {
	REDO_NONE, REDO_SEAL, REDO_GIVE_UP, REDO_APPLY, REDO_RECORD, REDO_DROP,
	REDO_LOOK,			/* the next snapshot decides */
	REDO_WAIT,			/* until ->at; it has failed */
	REDO_FIND,			/* the file, which could not be read before */
	REDO_LEFT,			/* over, but the file cannot be removed: again at ->at */
};

/* What was staged becomes this copy; redo.h. */
struct redo {
	enum redo_step step;
	struct staged what;
	struct pair *pair;		/* which waits for it; NULL: none */
	uint32_t turn;			/* of that pair */
	uint64_t at;
	unsigned int failures;
	bool unread;			/* whether there is something to apply is not known: ->what is not filled */
	int error;
	char why[CORE_REASON_MAX];
};

enum arbiter_step {
	ARBITER_IDLE,
	ARBITER_UNLINK,		/* secondary: closes its link, then asks */
	ARBITER_ASKS,		/* 'want' is noted durably, and no answer is known */
	ARBITER_GRANTED,	/* not in use yet */
};

/* Of a volume that has one; arbiter.c. */
struct arbiter {
	enum arbiter_step step;
	bool promotes;			/* a secondary: granted, it becomes primary */
	bool asking;			/* ACTION_ASK is not answered */
	bool checking;			/* that one wants what there is */
	bool lost;			/* denied, and perhaps frozen still */
	enum op_kind using;		/* its op that is under way */
	struct repl_id expect, want;
	struct repl_id checked;		/* the generation that the register is known to read */
	uint64_t since;			/* the waiting began */
	uint64_t at;			/* when to try again; 0: not by time */
	unsigned int failures;
	enum register_answer answer;	/* the last one; 0: none yet */
	uint64_t answered_at;
	char last[CORE_REASON_MAX];	/* in words */
	char spoiled[CORE_REASON_MAX];	/* what was asked cannot be known: nothing is asked */
	struct repl_id led;		/* a primary led this copy in that generation; zero: none */
	uint64_t takeover_at;		/* 0: its primary is there, or there is none */
	unsigned int takeovers;
};

/* Things an administrator waits for, one at a time for each volume. */
enum task_kind {
	TASK_NONE,
	TASK_PRIMARY,
	TASK_SECONDARY,
	TASK_DOWN,
	TASK_RESIZE,		/* of all copies */
	TASK_GROW,		/* of this copy, for a peer's TASK_RESIZE */
	TASK_REPLACE,
	TASK_MEMBER,		/* a peer comes or goes */
};

/* How far this copy is with growing. */
enum resize_here { RESIZE_IDLE, RESIZE_HOLD, RESIZE_OP, RESIZE_DONE };

struct task {
	enum task_kind kind;
	uint32_t request;
	uint32_t flags;			/* of the kernel command */
	uint64_t deadline;		/* TASK_PRIMARY: for the consents */
	uint64_t good_until;		/* TASK_PRIMARY: after that they are asked for again; 0: none was needed */
	unsigned int asked_again;	/* TASK_PRIMARY: so often they have expired */
	bool forget;			/* TASK_PRIMARY: by force, and what is staged could not be applied by then */
	uint32_t ask;			/* TASK_PRIMARY: bit n: pair n must consent */
	uint32_t question;		/* TASK_PRIMARY: of this number; another's answer grants nothing */
	bool unlink;			/* links are dropped first */
	bool begun;			/* the kernel command is under way */
	bool arbiter;			/* TASK_PRIMARY: the arbiter decides, or has begun to */
	bool force, peer_dead;		/* what was said */
	unsigned int tries;		/* TASK_PRIMARY: so often a lost peer has broken it off */
	bool pauses;			/* TASK_PRIMARY: until ->deadline, when it is planned anew */

	/* TASK_RESIZE, TASK_GROW: */
	uint64_t size;			/* bytes */
	bool looked;			/* the kernel was read since it began */
	uint32_t waits;			/* bit n: for pair n's GROWN */
	unsigned int step;
	enum resize_here here;
	struct pair *asker;		/* TASK_GROW */
	const struct core_peer *member;	/* TASK_MEMBER, which has ->looked, too */
	bool comes;
	char failed[CORE_REASON_MAX];	/* told when this copy's part has ended */
};

enum wait_kind { WAIT_CONNECTED, WAIT_IN_SYNC, WAIT_PRIMARY, WAIT_SECONDARY };

struct waiter {
	struct waiter *next;
	struct volume *volume;
	uint32_t request;
	enum wait_kind what;
	uint64_t deadline;
};

struct volume {
	struct core *core;
	struct volume *next;
	void *io;			/* the shell's */
	char name[REPL_NAME_MAX];
	struct volume_settings set;
	struct kernel_volume k;
	bool known;			/* ->k is filled */
	uint64_t known_at;		/* when, last */
	bool unclean;			/* stopped so, and no peer has agreed since */
	struct pair *pair[REPL_SLOTS_MAX];
	unsigned int pair_count;
	struct pair *joining;		/* holds or is about to hold REPL_GATE_JOIN */
	const struct pair *served;	/* secondary here, and this pair's peer is primary and live */
	struct task task;
	struct redo redo;
	bool stage_left;		/* that a staging file cannot be removed was said */
	struct arbiter arbiter;
	unsigned int pending;		/* ops of the volume itself */
	const struct core_peer *consent_to;
	uint64_t consent_until;
	struct repl_id consent_from;	/* the generation that it may end */
	uint64_t disclaim_at;		/* when to say that this node has not begun; 0: never */
	/* A new disk that is being filled; replace.c. */
	bool filling;
	uint64_t get_at;		/* when to ask the kernel again that gave no answer; 0: never */
	unsigned int get_failures;	/* one after the other */
	uint64_t fill_at;		/* when to look again; 0: never */
	uint64_t fill_words_at;
	unsigned int fill_percent;	/* as said last */
	struct notice_volume noticed;
	bool gone;			/* taken down: freed when that was carried out */
};

struct session {
	struct session *next;
	struct core *core;
	uint32_t conn;
	const struct core_peer *peer;
	struct pair *pair;		/* a dialled one: at once; else by HELLO */
	bool server;
	uint64_t features;		/* of the peer: enum of wire.h, REPL_HF_... */
	bool asks;			/* of no pair: the other side asks this node as a witness */
	bool open;			/* both HELLOs were exchanged */
	bool closing;			/* refused: nothing more is heard */
	char why[REPL_NODE_MAX + 32];	/* this side closed it */
	uint64_t since;
	uint64_t heard_at;
	uint64_t ping_at;
};

struct core {
	char node[REPL_NODE_MAX];
	uint8_t key[REPL_KEY_BYTES];
	uint64_t now;			/* ms, monotonic */
	uint32_t questions;		/* for consent, so far */
	uint64_t link_bytes;		/* a TLS link's keys are good for, one way; 0: any number */
	uint64_t (*random)(void *arg);
	void *random_arg;
	struct core_peer peer[32];
	unsigned int peer_count;
	struct volume *volumes;
	struct session *sessions;
	struct waiter *waiters;
	struct survey *surveys;
	struct action_queue actions;
};

/**
 * core_init - an agent that knows nobody yet
 * @random: 64 random bits; unpredictable ones, tokens are made of them
 */
void core_init(struct core *c, const char *node, const uint8_t key[REPL_KEY_BYTES],
	       uint64_t (*random)(void *arg), void *arg);

/** core_exit - forget everything; emits nothing more */
void core_exit(struct core *c);

/** core_peers_gone - all of them, but for those that core_peer_add() names after it */
void core_peers_gone(struct core *c);

/**
 * core_peer_add - a node that may connect; one with that key has that name from now on
 * Return: it, or NULL when there are too many.
 */
const struct core_peer *core_peer_add(struct core *c, const char *name,
				      const uint8_t key[REPL_KEY_BYTES]);
const struct core_peer *core_peer_by_key(const struct core *c,
					 const uint8_t key[REPL_KEY_BYTES]);

/**
 * core_volume_up - the kernel has it attached; its peers are added next
 * @unclean: the superblock was not clean when it was attached
 */
struct volume *core_volume_up(struct core *c, const char *name,
			      const struct volume_settings *set, bool unclean, void *io);
struct volume *core_volume(const struct core *c, const char *name);

/** core_volume_free - at ACTION_REMOVED: nothing refers to it any more */
void core_volume_free(struct volume *v);

/** core_pair_add - the volume has a copy on @peer. Return: it, or NULL when there are too many. */
struct pair *core_pair_add(struct volume *v, const struct core_peer *peer);

/** core_staged - before core_start(): a whole staging file of this copy was found */
void core_staged(struct volume *v, const struct staged *what);

/** core_unread - the same: there may be one, but it cannot be read, @why; it is tried again */
void core_unread(struct volume *v, const char *why);

/*
 * Events.  Set core->now first.
 */

/** core_start - after all pairs of a volume were added: begin */
void core_start(struct volume *v);

/** core_pair_start - a pair that was added to a volume which has begun: begin */
void core_pair_start(struct pair *p);

/** core_tick - a deadline has passed */
void core_tick(struct core *c);

/** core_deadline - when core_tick() wants to be called next, ms; UINT64_MAX: never */
uint64_t core_deadline(const struct core *c);

/** core_snapshot - the answer to ACTION_GET; @k is NULL when the volume is gone */
void core_snapshot(struct volume *v, const struct kernel_volume *k);
/**
 * core_no_snapshot - ACTION_GET failed, which may mean no more than that memory is short
 * Return: whether it is the first time, so that it is worth a line
 */
bool core_no_snapshot(struct volume *v);

/** core_event - the kernel says that something changed; @v NULL: everything may have */
void core_event(struct core *c, struct volume *v);

/** core_session_up - TLS stands; @pair is the dialled one, or NULL on the side that accepted */
void core_session_up(struct core *c, uint32_t conn, const struct core_peer *peer,
		     struct pair *pair);

/** core_dial_failed - ACTION_DIAL did not lead to a session */
void core_dial_failed(struct pair *p, const char *why);

/** core_session_down - a connection is gone; also after ACTION_CLOSE */
void core_session_down(struct core *c, uint32_t conn, const char *why);

/** core_heard - bytes arrived */
void core_heard(struct core *c, uint32_t conn);

/** core_message - a whole message, but those that carry a delta: they are the bulk ops' */
void core_message(struct core *c, uint32_t conn, const struct msg_header *h, const void *body);

/**
 * core_op_done - an op has ended
 * @p: its pair, or NULL: of the volume itself
 */
void core_op_done(struct volume *v, struct pair *p, enum op_kind kind, uint32_t turn,
		  const struct op_result *r);

/**
 * core_answered - the end of ACTION_ASK
 * @want: as in the action
 * @text: unless it was granted, why
 */
void core_answered(struct volume *v, const struct repl_id *want, enum register_answer answer,
		   const char *text);

/** core_arbiter_found - before core_start(): what an ACTION_ASK without ACTION_ASKED had noted */
void core_arbiter_found(struct volume *v, const struct repl_id *expect, const struct repl_id *want);

/** core_arbiter_spoiled - before core_start(): that note cannot be read */
void core_arbiter_spoiled(struct volume *v, const char *why);

/** core_progress - bulk work of the pair has moved on by @bytes */
void core_progress(struct pair *p, uint64_t bytes);

struct core_request {
	uint32_t id;
	const char *volume;
	bool force, peer_dead;
	uint64_t size;		/* bytes; 0: as large as it can be */
};

void core_primary(struct core *c, const struct core_request *r);
void core_secondary(struct core *c, const struct core_request *r);
void core_down(struct core *c, const struct core_request *r);
void core_resize(struct core *c, const struct core_request *r);

/** core_replace - a primary without a disk gets the one that the shell holds ready; answers when it is being filled */
void core_replace(struct core *c, const struct core_request *r);

/** core_wait - answers when it is so. @timeout_ms: 0 waits for ever */
void core_wait(struct core *c, const struct core_request *r, enum wait_kind what,
	       uint64_t timeout_ms);

struct core_resolution {
	const char *keep;		/* a node's name */
	struct resolution shown;	/* what the person has seen */
	bool no_save;
	const char *save_to;		/* a directory; "": the volume's */
};

/** core_resolve - end a split; answers when the discarded copy follows, durably */
void core_resolve(struct core *c, const struct core_request *r, const struct core_resolution *d);

struct core_verify {
	const char *peer;		/* a node's name; "": the only peer */
	const char *repair;		/* whose blocks are right; "": repair nothing */
	bool scrub, stop;
};

/** core_verify - compare this copy with a peer's; answers when that has ended */
void core_verify(struct core *c, const struct core_request *r, const struct core_verify *d);

/** core_compared - an OP_VERIFY_COMPARE has moved on by @blocks; the pair has a verify */
void core_compared(struct pair *p, uint64_t blocks);

/** core_request_gone - nobody waits for that answer any more; what was begun goes on */
void core_request_gone(struct core *c, uint32_t id);

/* For the parts of the core only. */

/** core_log - "volume/peer: sentence" */
void core_log(struct core *c, enum log_level level, const struct volume *v,
	      const struct pair *p, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void core_get(struct volume *v);
unsigned int core_count_live(const struct volume *v);	/* links that are live */
void core_op(struct volume *v, struct pair *p, const struct op *op);
void core_reply(struct core *c, uint32_t request, bool ok, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
uint64_t core_random(struct core *c);

/** core_backoff - @least doubled @failures times, at most @most, with up to a quarter of jitter */
uint64_t core_backoff(struct core *c, uint64_t least, uint64_t most, unsigned int failures);

#endif /* REPL_AGENT_CORE_H */
