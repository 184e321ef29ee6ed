/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A volume: one replicated block device and all that belongs to it.
 *
 * Two kinds of context touch a volume, and two rules follow:
 *
 * 1. The data path (submit_bio, bio completions, the threads of links) takes
 *    volume->io_lock, for short and with interrupts off, and never waits for I/O.
 *
 * 2. Control (attach, roles, slots, links, superblock) runs as struct op on
 *    volume->ops, an ordered workqueue: one at a time.  What only control
 *    changes therefore needs no lock against other control; what others read
 *    is changed under the lock named at the member.
 *
 * Lock order: disk->open_mutex, volume->super_lock, volume->io_lock, link->lock.
 *
 * Lifetime: the table holds a reference from attach to detach; each op, link, cut
 * and the gendisk hold one.  The last put frees, on repl_wq.  The table also holds the
 * module; files and the disk hold it by their ->owner.  ->disk and the devices go away
 * in volume_detach(), after the last write, under super_lock: who is neither a write nor
 * control looks at them under it, and finds NULL.
 */
#ifndef REPL_VOLUME_H
#define REPL_VOLUME_H

#include <linux/bio.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>
#include <repl/format.h>
#include <repl/wire.h>
#include <uapi/linux/repl.h>
#include "backing.h"
#include "map.h"
#include "pool.h"
#include "ticket.h"

struct cut;
struct link;
struct peer_call;
struct replacement;
struct retired;

enum volume_sizes {
	VOLUME_GATES	= 5,	/* bits of enum repl_gate */
};

/* One consumer of the volume's changes.  Guarded by volume->io_lock. */
struct slot {
	u8 index;
	u8 kind;		/* enum repl_slot_kind; not free: writes count for it */
	struct map map;		/* dirty blocks; empty while ->link is set */
	struct map settling;	/* dirty, too: came before the last SETTLED; share.c */
	unsigned long *touched;	/* a bit for each page of the maps that may differ on disk */
	struct cut *cut;	/* holds the blocks of the open cut, which are dirty too */
	struct link *link;	/* set: live, every write goes over it */
	struct link *closing;	/* dead, but I/O that came over it is not done */
	u64 since;		/* ktime_get_ns() of the last change of ->link */
	char reason[REPL_TEXT_BYTES];	/* why the last link ended */
};

/* Regions that may have changed since the maps on disk; log.c.  Guarded by volume->io_lock. */
struct region_log {
	u64 regions;
	unsigned long pages;
	unsigned long *logged;		/* durably */
	unsigned long *wanted;		/* writes wait for these */
	unsigned long *drop;		/* to be taken out, once ->dropping */
	unsigned long *busy[2];		/* written in this period, and in the one before */
	unsigned int in_flight[2];	/* writes that began in that period */
	u8 period;			/* index of the current one; control changes it */
	u64 losses;			/* ->losses when the current cleaning began */
	u64 seen;			/* ->sampled when the current cleaning began */
	u8 untold;			/* so many SETTLED until all peers know that they are equal */
	bool told;			/* one was sent right before this period began */
	bool on;			/* writes have to be logged: primary, and there is a slot */
	bool dropping;
	bool waits;			/* something on ->parked waits for ->write */
	struct list_head applies;	/* so do these, which came from a peer */
	bool failed;			/* ->write has, since they were looked at last */
	struct page *page;		/* ->write's */
	struct work_struct write;
	struct delayed_work clean;
};

/* Ends one freeze at its deadline. */
struct gate_timer {
	struct delayed_work work;
	struct volume *volume;
	u32 reason;
	unsigned long until;	/* jiffies; volume->io_lock */
};

/*
 * A write, the application's or a peer's, from its sample on: the step under io_lock in which
 * its bits are set, or its legs queued.  So for each cut it is before or after, never both.
 */
struct sampled {
	struct list_head entry;		/* volume->writes, until it is on the backing device */
	u64 number;
};

/* Somebody who waits until all writes sampled so far are on the backing device. */
struct drain {
	struct list_head entry;		/* volume->drains; empty: drained */
	u64 upto;			/* the last sample that counts */
	void (*done)(struct drain *drain);	/* under io_lock */
};

struct volume_stats {
	u64 c[__REPL_C_MAX];
};

struct volume {
	struct kref ref;
	u32 minor;
	char name[REPL_NAME_MAX];
	struct net *net;
	netns_tracker net_tracker;
	bool up;			/* volumes_lock: attach is done */
	bool leaving;			/* volumes_lock: detach has begun */

	/* Fixed from attach to detach; but replace.c gives a diskless primary other devices. */
	struct gendisk *disk;
	struct backing data;
	struct backing meta;		/* external metadata; ->bdev NULL: on ->data */
	u8 slots;
	u8 lbs_shift;
	u8 region_shift;
	struct volume_stats __percpu *stats;
	struct workqueue_struct *ops;	/* control, one at a time */
	struct workqueue_struct *logger;	/* writes the region log, alone */
	struct workqueue_struct *zeroing;	/* here and for peers: blocks, for minutes perhaps */

	u64 size;			/* bytes; control, under super_lock and io_lock: it may grow */

	/* Writes of a peer that count for no slot, and are not in ->writes: share.c. */
	atomic_t unsampled;

	spinlock_t io_lock;	/* protects everything down to ->replacement */
	bool primary;		/* writes are accepted */
	bool promoting;		/* will be, if nothing fails: a peer's writes are not */
	bool resume_granted;	/* go on without the lost peer although the policy is to freeze */
	bool open_ok;		/* the disk may be opened; also under disk->open_mutex */
	bool failing;		/* I/O fails: forced demotion, or nothing is left to go on from */
	bool zombie;		/* openers of a forcibly ended term may remain */
	bool broken;		/* a device here has failed a write or a flush; detach.h */
	bool diskless;		/* the live peers hold the only copies; read anywhere */
	bool detaching;		/* ->diskless is not recorded yet */
	bool replacing;		/* diskless, but a new disk is being filled: writes go there, too */
	bool copy_waits;	/* ->copy waits for a write to end */
	bool hole;		/* a secondary's copy has lost something since it began to follow */
	bool doubt;		/* that is not recorded yet */
	bool gate_stopped;	/* nobody can freeze it any more */
	u8 on_peer_loss;
	u8 live;		/* slots with a link */
	u32 gate;		/* enum repl_gate; not 0: writes wait */
	u64 gate_since;		/* ktime_get_ns() */
	u64 losses;		/* links lost so far while primary */
	u64 recorded;		/* so many of them when the generation in force began */
	u32 lost_slots;		/* bit n: slot n was lost while primary, and is not back */
	u32 used;		/* bit n: slot n is not free */
	u64 sampled;		/* writes so far, a peer's included if they are dirty for others */
	unsigned int in_flight;	/* writes sampled, not yet completed upward */
	unsigned int reading;	/* reads from peers: those that are not, and of ->copy */
	struct slot slot[REPL_SLOTS_MAX];
	struct rb_root_cached writes_by_range;	/* in flight, while ->live; repairs; copying */
	struct list_head writes;	/* struct sampled, oldest first */
	struct list_head drains;
	unsigned int frozen;	/* cuts whose blocks stand still; not 0: cut_holds() is asked */
	struct list_head waiting;	/* struct cut_wait, oldest first */
	u64 hold_max_ms;	/* the longest that one has waited */
	struct bio_list parked;		/* wait for the gate, an overlap, or the log */
	bool overlap_waits;		/* something on ->parked waits for a write to end */
	struct list_head held;		/* done, but for the gate to open */
	struct repl_frame_settled settled;	/* to be recorded: share.c */
	bool settled_queued;
	struct region_log log;

	struct replacement *replacement;	/* control, too */

	wait_queue_head_t quiet;	/* ->in_flight or ->reading is 0, a link is gone */
	struct work_struct resume;	/* parked writes go on */
	struct work_struct free;	/* after the last put */
	struct pool requests;		/* see request.c */
	struct pool reads;		/* see read.c */
	struct bio_set write_clones;	/* see lower.h */
	struct bio_set read_clones;
	struct gate_timer deadline[VOLUME_GATES];

	struct mutex super_lock;	/* for a copy or a change of ->super, not across I/O */
	struct repl_super super;	/* as it is on disk */
	u8 super_copy;			/* control: where it lies */

	/* Control's own. */
	struct repl_super *next;	/* being edited: meta_edit(), meta_commit() */
	struct page *meta_page;		/* for metadata I/O */
	struct peer_call *calls;	/* REPL_LINKS_MAX; role.c */
	struct work_struct lost;	/* a link was lost while primary */
	struct retired *retired;	/* devices that were replaced; replace.c */
	struct delayed_work copy;	/* on repl_wq: fills a new disk */
	struct delayed_work settle;	/* on ->ops: it is full, or cannot be filled */
};

/* A step of control. */
struct op {
	struct work_struct work;
	struct volume *volume;		/* a reference */
	struct ticket *ticket;		/* NULL: nobody asks */
	int (*run)(struct op *op, struct why *why);
	void (*drop)(struct op *op);	/* frees what ->u holds; NULL: nothing */
	struct why why;
	union {
		struct {
			dev_t data, meta;
			bool has_meta, has_end, ran;
			u64 meta_end, rate;
			u8 key[REPL_KEY_BYTES];
		} attach;
		struct {
			u8 role;
			u32 flags;
			struct repl_id generation;	/* to begin; zero: a random one */
		} role;
		struct {
			u8 slot, kind;
			bool has_copy;
			u8 key[REPL_KEY_BYTES];
			struct repl_id copy;
			u64 staged;
		} slot;
		struct {
			u32 mask;
			unsigned int count;
			struct repl_extent *extents;
		} mark;
		struct {
			u8 slot;
			u32 flags;
			u64 epoch;
			struct repl_id generation;
			struct repl_id history[REPL_HISTORY];
			struct link *link;
		} link;
		struct {
			u8 slot;
			u64 cookie;
		} adopt;
		u32 gate;
		u64 size;
	} u;
};

extern struct workqueue_struct *repl_wq;	/* data path work; reclaim-safe, never long */
/* Waits for a link's threads and applies, which may need what is queued on the other one. */
extern struct workqueue_struct *repl_teardown_wq;

struct volume *volume_get_minor(struct net *net, u32 minor);
struct volume *volume_next(struct net *net, u32 *minor);
void volume_get(struct volume *v);
void volume_put(struct volume *v);

struct op *op_create(struct volume *v, int (*run)(struct op *op, struct why *why), gfp_t gfp);
void op_queue(struct op *op);
void op_discard(struct op *op);

int volume_create(struct net *net, u32 minor, const char *name, u8 on_peer_loss,
		  struct volume **out, struct why *why);
void volume_forget(struct volume *v);
int volume_attach(struct op *op, struct why *why);
void volume_attach_drop(struct op *op);
int volume_detach(struct op *op, struct why *why);

int volume_init(void);
void volume_exit(void);

static inline void volume_count(struct volume *v, enum repl_counter what, u64 by)
{
	this_cpu_add(v->stats->c[what], by);
}

static inline struct backing *volume_meta(struct volume *v)
{
	return v->meta.bdev ? &v->meta : &v->data;
}

#endif /* REPL_VOLUME_H */
