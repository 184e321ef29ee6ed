/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel module's client: linux/repl.h in C.  Commands are short; what takes
 * time comes back as a ticket or a cut, a file descriptor to poll.
 *
 * Functions return 0, or a descriptor, or a negative errno with the kernel's own
 * words in struct err.  A volume belongs to the network namespace in which
 * kernel_open() was called.
 */
#ifndef REPL_KERNEL_H
#define REPL_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/repl.h>
#include <repl/format.h>

#include "err.h"

struct kernel;
struct kernel_events;

struct kernel_slot {
	uint8_t index;
	uint8_t kind;			/* enum repl_slot_kind */
	uint8_t link;			/* enum repl_link_state */
	bool cut;
	uint8_t key[REPL_KEY_BYTES];
	struct repl_id copy_id;
	struct repl_id generation;
	uint32_t flags;			/* enum repl_slot_flags */
	uint64_t epoch;
	uint64_t dirty_blocks;
	uint64_t cookie;
	uint64_t in_flight_bytes;
	uint64_t unflushed_bytes;
	uint64_t sent_bytes;
	uint64_t received_bytes;
	uint64_t link_age_ms;
	char reason[REPL_TEXT_BYTES];	/* why the last link ended; "" when unknown */
};

struct kernel_volume {
	uint32_t minor;
	char name[REPL_NAME_MAX];
	struct repl_id uuid;
	struct repl_id copy_id;
	struct repl_id generation;
	struct repl_id history[REPL_HISTORY];	/* newest first; the rest is zero */
	uint64_t epoch;
	uint64_t size;
	uint64_t meta_end;
	uint64_t room;			/* bytes that it could grow to now */
	uint64_t gate_age_ms;
	uint64_t replaced;		/* with REPL_VF_REPLACING: bytes copied so far ... */
	uint64_t replace_ms;		/* ... and in what time */
	uint64_t counter[REPL_C_MAX + 1];	/* by enum repl_counter */
	uint64_t staged;		/* the staging file that is being applied; 0: none */
	uint32_t sb_flags;		/* enum repl_super_flags */
	uint32_t gate;			/* enum repl_gate */
	uint32_t openers;
	uint32_t flags;			/* enum repl_volume_flags */
	uint8_t role;			/* enum repl_role */
	uint8_t on_peer_loss;		/* enum repl_on_peer_loss */
	uint8_t lbs_shift;
	uint8_t region_shift;
	uint8_t slots;			/* how many were reserved at mkfs */
	uint8_t slot_count;		/* how many are in use */
	char backing[64];
	struct kernel_slot slot[REPL_SLOTS_MAX];	/* those in use */
};

/**
 * kernel_open - connect to the module
 * Return: 0; -ENOENT when the module is not loaded; another -errno.
 */
int kernel_open(struct kernel **k, struct err *e);
void kernel_close(struct kernel *k);

/** kernel_get - read one volume by name. Return: 0, -ENODEV (no such volume) or -errno. */
int kernel_get(struct kernel *k, const char *name, struct kernel_volume *v, struct err *e);

/** kernel_get_minor - the same by minor number */
int kernel_get_minor(struct kernel *k, uint32_t minor, struct kernel_volume *v, struct err *e);

/**
 * kernel_list - read all volumes, ordered by minor
 * @list: free() it
 */
int kernel_list(struct kernel *k, struct kernel_volume **list, size_t *count, struct err *e);

struct kernel_attach {
	uint32_t minor;
	const char *name;
	int data_fd;
	int meta_fd;			/* -1: internal metadata */
	const uint8_t *key;		/* this node's public key */
	const uint64_t *meta_end;	/* bytes; NULL: the end of its device */
	enum repl_on_peer_loss on_peer_loss;
};

/* Other devices for a primary that goes on without its own. */
struct kernel_replace {
	uint32_t minor;
	int data_fd;
	int meta_fd;			/* -1: internal metadata */
	const uint64_t *meta_end;	/* bytes; NULL: the end of its device */
	uint64_t rate;			/* bytes per second at most; 0: any number */
};

struct kernel_link {
	uint32_t minor;
	uint8_t slot;
	int sock_fd;			/* stays the caller's; close it after the ticket */
	uint64_t cookie;
	uint32_t flags;			/* enum repl_link_flags */
	uint32_t timeout_ms;		/* 0: the kernel's default */
	uint32_t stuck_ms;		/* 0: the kernel's default */
	/* With REPL_LINK_FOLLOW, the leader's: */
	struct repl_id generation;
	uint64_t epoch;
	struct repl_id history[REPL_HISTORY];	/* newest first; a zero id ends it */
};

/*
 * Each of these returns a ticket or a negative errno.  See linux/repl.h for what
 * each does and refuses.
 */
int kernel_attach(struct kernel *k, const struct kernel_attach *a, struct err *e);
int kernel_detach(struct kernel *k, uint32_t minor, uint32_t flags, struct err *e);
/* @generation: the one to begin; NULL: the module makes one */
int kernel_role(struct kernel *k, uint32_t minor, enum repl_role role, uint32_t flags,
		const struct repl_id *generation, struct err *e);
int kernel_freeze(struct kernel *k, uint32_t minor, enum repl_gate gate, uint32_t deadline_ms,
		  struct err *e);
int kernel_slot_set(struct kernel *k, uint32_t minor, uint8_t slot, enum repl_slot_kind kind,
		    const uint8_t key[REPL_KEY_BYTES], const struct repl_id *copy_id,
		    struct err *e);
/* @staged: the staging file that is applied then; 0: it is copied directly */
int kernel_follow(struct kernel *k, uint32_t minor, uint8_t slot, const struct repl_id *uuid,
		  uint64_t staged, struct err *e);
int kernel_mark(struct kernel *k, uint32_t minor, uint32_t slot_mask,
		const struct repl_extent *extents, size_t count, struct err *e);
int kernel_epoch(struct kernel *k, uint32_t minor, struct err *e);
int kernel_link_add(struct kernel *k, const struct kernel_link *l, struct err *e);
int kernel_link_del(struct kernel *k, uint32_t minor, uint8_t slot, struct err *e);
int kernel_resize(struct kernel *k, uint32_t minor, uint64_t size, struct err *e);
int kernel_replace(struct kernel *k, const struct kernel_replace *r, struct err *e);

/**
 * kernel_commit - the slot's copy and this one were equal at the end of a generation
 * @history: the leader's, REPL_HISTORY ids: it is this copy that has become equal; NULL: the other
 * Return: a ticket or -errno.
 */
int kernel_commit(struct kernel *k, uint32_t minor, uint8_t slot, const struct repl_id *generation,
		  uint64_t epoch, const struct repl_id *history, struct err *e);

/**
 * kernel_resume - go on without the lost peers
 * @generation: the one to begin; NULL: the module makes one
 * Return: a ticket or -errno.
 */
int kernel_resume(struct kernel *k, uint32_t minor, const struct repl_id *generation,
		  struct err *e);

/**
 * kernel_thaw - take back a reason to wait that user space gave
 * Return: 0 or -errno; there is no ticket.
 */
int kernel_thaw(struct kernel *k, uint32_t minor, enum repl_gate gate, struct err *e);

/**
 * kernel_cut - take the changes of a slot up to now
 * @flags: exactly one of enum repl_cut_flags
 * @hold_ms: of REPL_CUT_FROZEN: how long a write may wait for this reader; 0: REPL_HOLD_MS
 * Return: the cut's descriptor or -errno.
 */
int kernel_cut(struct kernel *k, uint32_t minor, uint8_t slot, uint32_t flags, uint32_t hold_ms,
	       struct err *e);

/**
 * kernel_cut_release - blocks of a frozen cut have been read: writes there go on
 * @cut: the cut's descriptor
 * @extent: blocks; those that are not in the cut, or were released before, are ignored
 * Return: 0, also of a cut that is void, or -errno.
 */
int kernel_cut_release(int cut, const struct repl_extent *extent, struct err *e);

/**
 * kernel_cut_valid - was all that was read and then released of one instant?
 * @cut: the cut's descriptor
 * Return: 0; -ETIMEDOUT when it is void, since a write waited too long; or another -errno.
 */
int kernel_cut_valid(int cut, struct err *e);

/**
 * kernel_ticket_read - what became of it
 * Return: 0 and @result filled, -EAGAIN while it is not done, or -errno.
 */
int kernel_ticket_read(int ticket, struct repl_ticket_result *result);

/**
 * kernel_ticket_wait - wait for a ticket and close it, whatever happens
 * @ticket: a descriptor; a negative value is returned as it is, so calls nest
 * @timeout_ms: -1 waits for ever
 * Return: 0, the ticket's own error with its words, -ETIMEDOUT (it goes on in the
 *	kernel) or another -errno.
 */
int kernel_ticket_wait(int ticket, int timeout_ms, struct err *e);

struct kernel_event {
	uint32_t event;		/* enum repl_event; REPL_EVENT_UNSPEC: some were lost */
	uint32_t minor;
	int slot;		/* -1: of the whole volume */
	char text[REPL_TEXT_BYTES];
};

typedef void kernel_event_fn(void *arg, const struct kernel_event *event);

/** kernel_events_open - subscribe to this namespace's events. Return: 0 or -errno. */
int kernel_events_open(struct kernel_events **ev, struct err *e);
void kernel_events_close(struct kernel_events *ev);

/** kernel_events_fd - poll it for reading */
int kernel_events_fd(const struct kernel_events *ev);

/**
 * kernel_events_read - pass on all that has arrived; never waits
 *
 * Events may be lost: then @fn gets one REPL_EVENT_UNSPEC, upon which it reads
 * every volume again.
 * Return: 0 or -errno.
 */
int kernel_events_read(struct kernel_events *ev, kernel_event_fn *fn, void *arg, struct err *e);

#endif /* REPL_KERNEL_H */
