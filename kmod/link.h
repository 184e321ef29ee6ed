/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A link: one adopted socket over which live writes and their answers go, in
 * either direction, between the same two kernel instances until it dies.
 *
 * Locks: link->lock, inside volume->io_lock.  Interrupts off.
 *
 * Life: link_create() -> link_publish() makes it a slot's ->link -> link_kill(),
 * from any context and any number of times, makes it ->closing -> link_teardown()
 * on repl_teardown_wq stops both threads, sets the bits, ends the legs, and frees.
 * Who may still use a link: its two threads and its tick, until the teardown has
 * stopped them; an apply that came over it, counted in ->applying, for which the
 * teardown waits; and whoever finds it through a slot, under io_lock.
 */
#ifndef REPL_LINK_H
#define REPL_LINK_H

#include <linux/bio.h>
#include <linux/llist.h>
#include <linux/mempool.h>
#include <linux/net.h>
#include <linux/sched.h>
#include "frame.h"
#include "map.h"
#include "volume.h"

enum link_sizes {
	LINK_TAG_BITS		= 12,
	LINK_TAGS		= REPL_MAX_OUTSTANDING,
	LINK_TRIES		= 8,	/* of a payload that arrives damaged */
	LINK_RECEIVE_BYTES	= 16 << 20,	/* payload received, not yet on disk */
	LINK_SPARE_PAGES	= REPL_MAX_IO >> PAGE_SHIFT,	/* kept for what arrives next */
	LINK_ZERO_BYTES		= 256 << 20,	/* zeroing asked for, not yet answered */
	LINK_ZERO_LEGS		= REPL_MAX_OUTSTANDING / 4,	/* so many frames of it at most */
	LINK_BEAT_MS		= 500,	/* at least so often, whatever the peer's timeout is */
	LINK_FLUSH_SECONDS	= 5,	/* longest an answered write stays unflushed */
};

static_assert(LINK_TAGS == 1 << LINK_TAG_BITS);

enum leg_state { LEG_QUEUED, LEG_SENDING, LEG_SENT };

/* Only a GENERATION or a READ is refused without ending the link. */
enum leg_end { LEG_OK, LEG_LOST, LEG_REFUSED };

/*
 * A frame of this side that wants an answer.  Its owner keeps it, and the pages
 * of ->bio, until ->done: which is called once, without locks, when nothing of
 * the link looks at it any more.
 */
struct leg {
	struct list_head entry;		/* link->lock: on ->queue or ->zeroes, else on ->sent */
	void *owner;
	void (*done)(struct leg *leg, enum leg_end end);
	u64 offset;			/* bytes */
	u32 length;			/* bytes */
	u16 flags;			/* enum repl_frame_flags */
	u8 type;			/* enum repl_frame_type */
	struct bio *bio;		/* payload, or of a READ where it goes; NULL: ->data, or none */
	struct bvec_iter iter;
	const void *data;		/* payload of a GENERATION */

	/* Under link->lock. */
	enum leg_state state;
	bool answered;			/* while LEG_SENDING: the sender will end it */
	bool refused;
	bool again;			/* while LEG_SENDING: the sender will send it once more */
	bool filled;			/* a READ whose data have come; the receiver's */
	bool flushes;			/* a flush whose success empties the older set */
	u8 tries;
	u32 tag;
	unsigned long sent_at;		/* jiffies */
};

struct link {
	struct volume *volume;		/* a reference */
	struct slot *slot;
	struct socket *sock;
	u64 cookie;
	bool tls;
	bool crc;
	unsigned int timeout_ms, stuck_ms;
	struct task_struct *sender, *receiver;
	wait_queue_head_t wait;		/* the sender: something to send, or dead */

	spinlock_t lock;		/* protects everything down to ->stopped */
	struct list_head queue;		/* legs to send, but for ZEROES */
	struct list_head zeroes;	/* ZEROES to send: they may have to wait, others not for them */
	struct list_head sent;		/* legs that wait for an answer, oldest first */
	struct leg **by_tag;		/* LINK_TAGS */
	u16 *free_tags;			/* a stack of ->free indices into ->by_tag */
	unsigned int free;
	u32 tag_turn;			/* upper bits of the next tag: old answers do not match */
	struct list_head answers;	/* applies that are done */
	struct apply *generation;	/* received, not yet taken by control; at most one */
	struct map unflushed[2];	/* regions answered but not flushed */
	u8 filling;			/* which of the two takes new ones */
	bool flushing;			/* the other waits for a flush's answer */
	u64 in_flight_bytes;
	u64 zero_bytes;			/* of ZEROES that are sent, not answered */
	unsigned int zero_legs;		/* their number */
	u64 sent_bytes;
	unsigned int applying;		/* applies that still know this link */
	unsigned int applying_bytes;	/* their payload */
	bool stopped;			/* the threads are gone: nobody sends answers */

	bool dead;			/* volume->io_lock; read anywhere */
	bool polite;			/* ended on purpose: tell the peer */
	bool listening;			/* the receiver waits for the socket only; ->heard_at is newer */
	bool beat;			/* set by the tick, cleared by the sender */
	bool settles;			/* volume->io_lock: a SETTLED has come over it */
	u64 received_bytes;		/* receiver only */
	unsigned long heard_at;		/* jiffies: the receiver writes, the tick reads */
	unsigned long spoke_at;		/* jiffies: the sender writes, the tick reads */
	unsigned long flushed_at;	/* jiffies: tick only */
	wait_queue_head_t applied;
	struct delayed_work tick;
	struct work_struct teardown;
	struct leg own_flush;		/* the tick's; busy while own_flush.owner is set */
	struct repl_frame rx_frame;
	struct page *rx_page;		/* of ->pages; what came with rx_frame */
	unsigned int rx_at, rx_kept;	/* so much of it, from there on, has not been looked at */
	mempool_t pages;		/* of applies: holds a whole one, and ->rx_page */
	struct llist_head spare;	/* pages that were used before; the receiver takes them */
	atomic_t spares;
	struct page *tx_page;		/* headers: TLS wants pages */
	unsigned int frames, alone;	/* the sender's own, as is the next: see sender_policy() */
	bool pushes;
	struct bio_vec *tx_vec;		/* BIO_MAX_VECS + 1 */
};

int link_create(struct volume *v, u8 slot, int fd, u64 cookie, u32 flags, u32 timeout_ms,
		u32 stuck_ms, struct link **out, struct why *why);
void link_destroy(struct link *link);
int link_publish(struct link *link, struct why *why);
int link_start(struct link *link, struct why *why);
void link_abandon(struct link *link);
__printf(2, 3) void link_kill(struct link *link, const char *fmt, ...);
void link_kill_locked(struct link *link, const char *reason);
void link_close(struct volume *v, struct slot *slot, const char *reason);

u32 link_payload_crc(const struct bio *bio, struct bvec_iter part);
void link_queue(struct link *link, struct leg *leg);
struct leg *link_reading(struct link *link, const struct frame *frame);
void link_answered(struct link *link, u32 tag, u8 status);

int link_sender(void *link);
int link_receiver(void *link);

#endif /* REPL_LINK_H */
