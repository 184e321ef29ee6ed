// SPDX-License-Identifier: GPL-2.0-only
/* The life of a link; its threads are in send.c and receive.c.  Locks: link.h. */
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/slab.h>
#include <linux/tcp.h>
#include <net/sock.h>
#include <net/tcp.h>
#include <net/tls.h>
#include "apply.h"
#include "gate.h"
#include "link.h"
#include "log.h"
#include "netlink.h"
#include "request.h"
#include "role.h"
#include "share.h"
#include "slot.h"

/* ------------------------------------------------------------ adoption -- */

static bool tls_both_ways(struct sock *sk)
{
	struct tls_context *tls;
	bool both = false;

	if (!inet_csk_has_ulp(sk) || strcmp(inet_csk(sk)->icsk_ulp_ops->name, "tls"))
		return false;
	rcu_read_lock();
	tls = rcu_dereference(inet_csk(sk)->icsk_ulp_data);
	if (tls)
		both = tls->tx_conf != TLS_BASE && tls->rx_conf != TLS_BASE;
	rcu_read_unlock();
	return both;
}

static int check_socket(struct volume *v, struct socket *sock, bool tls, struct why *why)
{
	struct sock *sk = sock->sk;

	if (!sk_is_tcp(sk))
		return why_set(why, -EPROTOTYPE, "%s: the link's descriptor is no TCP socket",
			       v->name);
	if (sk->sk_state != TCP_ESTABLISHED)
		return why_set(why, -ENOTCONN, "%s: the link's socket is not connected", v->name);
	if (!net_eq(sock_net(sk), v->net))
		return why_set(why, -EXDEV,
			       "%s: the link's socket is of another network namespace", v->name);
	if (tls && !tls_both_ways(sk))
		return why_set(why, -EPROTO,
			       "%s: the link's socket has no TLS keys in both directions", v->name);
	if (!tls && inet_csk_has_ulp(sk))
		return why_set(why, -EPROTO, "%s: the link's socket has TLS, but was announced without",
			       v->name);
	return 0;
}

/* Writes of the volume, so of reclaim, wait for this socket: it may use the reserves. */
static void prepare_socket(struct socket *sock)
{
	struct sock *sk = sock->sk;

	tcp_sock_set_nodelay(sk);
	sk_set_memalloc(sk);
	lock_sock(sk);
	sk->sk_allocation = GFP_NOIO | __GFP_MEMALLOC;
#ifdef HAVE_TASK_FRAG_SWITCH
	sk->sk_use_task_frag = false;
#endif
	sk->sk_sndtimeo = HZ;	/* so that the sender looks at link->dead */
	sk->sk_rcvtimeo = MAX_SCHEDULE_TIMEOUT;
	release_sock(sk);
}

/*
 * What ->pages allocates: pages that have been used once are kept, because a fresh one is
 * cleared (init_on_alloc), which takes longer than to receive into it.  Each byte of them
 * that is looked at was received, or read from the disk, before.
 */
static void *spare_alloc(gfp_t gfp, void *data)
{
	struct link *link = data;
	struct llist_node *node = llist_del_first(&link->spare);

	if (!node)
		return alloc_page(gfp);
	atomic_dec(&link->spares);
	return virt_to_page(node);
}

static void spare_free(void *page, void *data)
{
	struct link *link = data;

	/* A few too many are no harm. */
	if (atomic_read(&link->spares) >= LINK_SPARE_PAGES) {
		__free_page(page);
		return;
	}
	atomic_inc(&link->spares);
	llist_add(page_address(page), &link->spare);
}

static void spare_exit(struct link *link)
{
	struct llist_node *node, *next;

	if (link->rx_page)
		mempool_free(link->rx_page, &link->pages);
	mempool_exit(&link->pages);
	llist_for_each_safe(node, next, llist_del_all(&link->spare))
		__free_page(virt_to_page(node));
}

static int link_alloc(struct link *link)
{
	u64 regions = DIV_ROUND_UP_ULL(link->volume->size, 1ull << link->volume->region_shift);
	unsigned int i;

	link->by_tag = kvcalloc(LINK_TAGS, sizeof(*link->by_tag), GFP_KERNEL);
	link->free_tags = kvcalloc(LINK_TAGS, sizeof(*link->free_tags), GFP_KERNEL);
	link->tx_vec = kvcalloc(BIO_MAX_VECS + 1, sizeof(*link->tx_vec), GFP_KERNEL);
	link->tx_page = alloc_page(GFP_KERNEL);
	if (!link->by_tag || !link->free_tags || !link->tx_vec || !link->tx_page ||
	    mempool_init(&link->pages, (REPL_MAX_IO >> PAGE_SHIFT) + 1, spare_alloc, spare_free,
			 link) ||
	    map_init(&link->unflushed[0], regions) || map_init(&link->unflushed[1], regions))
		return -ENOMEM;
	link->rx_page = mempool_alloc(&link->pages, GFP_KERNEL);
	for (i = 0; i < LINK_TAGS; i++)
		link->free_tags[i] = LINK_TAGS - 1 - i;
	link->free = LINK_TAGS;
	return 0;
}

static void link_free(struct link *link)
{
	spare_exit(link);
	map_free(&link->unflushed[0]);
	map_free(&link->unflushed[1]);
	if (link->tx_page)
		__free_page(link->tx_page);
	kvfree(link->tx_vec);
	kvfree(link->free_tags);
	kvfree(link->by_tag);
	volume_put(link->volume);
	kfree(link);
}

/**
 * link_destroy() - undo link_create(); for a link that was never published
 * @link: the link
 *
 * Context: may sleep.
 */
void link_destroy(struct link *link)
{
	sk_clear_memalloc(link->sock->sk);
	sockfd_put(link->sock);
	link_free(link);
}

/* ------------------------------------------------------------ teardown -- */

static void link_mark_unflushed(struct link *link, struct map *regions)
{
	struct volume *v = link->volume;
	u64 first = 0, count = 0;

	while (map_next(regions, first + count, &first, &count))
		slot_mark(v, link->slot, first << v->region_shift, count << v->region_shift);
}

/* Everything of which the peer has not said that it is on stable media. */
static void link_mark_doubts(struct link *link)
{
	struct leg *leg;

	lockdep_assert_held(&link->volume->io_lock);
	list_splice_init(&link->queue, &link->sent);
	list_splice_init(&link->zeroes, &link->sent);
	list_for_each_entry(leg, &link->sent, entry)
		if (leg->type == REPL_FRAME_WRITE || leg->type == REPL_FRAME_ZEROES)
			slot_mark(link->volume, link->slot, leg->offset, leg->length);
	link_mark_unflushed(link, &link->unflushed[0]);
	link_mark_unflushed(link, &link->unflushed[1]);
}

/* The sender is gone: from here on an apply that is done frees itself. */
static void link_drop_answers(struct link *link)
{
	struct apply *apply, *next;
	LIST_HEAD(answers);

	spin_lock_irq(&link->lock);
	link->stopped = true;
	list_splice_init(&link->answers, &answers);
	spin_unlock_irq(&link->lock);
	list_for_each_entry_safe(apply, next, &answers, entry)
		apply_free(apply);
}

static void link_stop(struct link *link)
{
	struct sock *sk = link->sock->sk;
	struct apply *apply;

	cancel_delayed_work_sync(&link->tick);
	/* Wakes the threads wherever they wait in the socket. */
	kernel_sock_shutdown(link->sock, link->polite ? SHUT_RD : SHUT_RDWR);
	kthread_stop(link->sender);
	link_drop_answers(link);
	/* It may have waited for pages of the applies whose answers have just been dropped. */
	kthread_stop(link->receiver);
	share_drop(link);
	/*
	 * Pages that TCP still queues must not go out after their write has
	 * completed upward and they hold something else: abort purges them.
	 */
	if (!list_empty(&link->sent) || !link->polite)
		tcp_abort(sk, ECONNABORTED);
	else
		kernel_sock_shutdown(link->sock, SHUT_RDWR);
	apply = apply_take_generation(link);
	if (apply)
		apply_free(apply);
	spin_lock_irq(&link->lock);
	wait_event_lock_irq(link->applied, !link->applying, link->lock);
	spin_unlock_irq(&link->lock);
}

static void link_teardown(struct work_struct *work)
{
	struct link *link = container_of(work, struct link, teardown);
	struct slot *slot = link->slot;
	struct volume *v = link->volume;
	struct leg *leg, *next;
	LIST_HEAD(legs);

	link_stop(link);
	spin_lock_irq(&v->io_lock);
	link_mark_doubts(link);
	list_splice_init(&link->sent, &legs);
	spin_unlock_irq(&v->io_lock);
	list_for_each_entry_safe(leg, next, &legs, entry) {
		/* A read may go on to another link. */
		list_del(&leg->entry);
		leg->done(leg, LEG_LOST);
	}

	sk_clear_memalloc(link->sock->sk);
	sockfd_put(link->sock);
	netlink_event(v, REPL_EVENT_LINK_DOWN, slot->index, "%s", slot->reason);
	role_peer_lost(v);
	spin_lock_irq(&v->io_lock);
	slot->closing = NULL;
	wake_up_all(&v->quiet);
	spin_unlock_irq(&v->io_lock);
	link_free(link);
}

/**
 * link_kill_locked() - end a link; its slot is behind from now on
 * @link: dead already or not
 * @reason: in words, for status
 *
 * A primary's gate shuts in the same step: no write completes between the loss
 * and the new generation.
 *
 * Context: any; volume->io_lock held.
 */
void link_kill_locked(struct link *link, const char *reason)
{
	struct volume *v = link->volume;
	struct slot *slot = link->slot;

	lockdep_assert_held(&v->io_lock);
	if (link->dead)
		return;
	WRITE_ONCE(link->dead, true);
	strscpy(slot->reason, reason, sizeof(slot->reason));
	slot->since = ktime_get_ns();
	slot->link = NULL;
	slot->closing = link;
	v->live--;
	if (link->settles)
		share_end(v);
	if (v->primary) {
		v->losses++;
		/* What was granted was for those that were lost until then. */
		v->resume_granted = false;
		v->lost_slots |= 1u << slot->index;
		/* That was the last copy within reach. */
		v->failing |= v->diskless && !v->live;
		gate_shut(v, REPL_GATE_PEER_LOST);
	}
	wake_up_all(&link->wait);
	wake_up_all(&link->applied);
	queue_work(repl_teardown_wq, &link->teardown);
}

/**
 * link_kill() - end a link, with a reason that is printed
 * @link: one whose thread, tick or apply the caller is
 * @fmt: the reason, to follow the words "the link ended: "
 *
 * Context: any; no lock held.
 */
void link_kill(struct link *link, const char *fmt, ...)
{
	char reason[REPL_TEXT_BYTES];
	unsigned long flags;
	va_list args;

	va_start(args, fmt);
	vscnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	spin_lock_irqsave(&link->volume->io_lock, flags);
	link_kill_locked(link, reason);
	spin_unlock_irqrestore(&link->volume->io_lock, flags);
}

/**
 * link_close() - end a slot's link on purpose, and wait until all its I/O is done
 * @v: the volume
 * @slot: with or without a link
 * @reason: in words
 *
 * Context: control; may sleep.
 */
void link_close(struct volume *v, struct slot *slot, const char *reason)
{
	spin_lock_irq(&v->io_lock);
	if (slot->link) {
		slot->link->polite = true;
		link_kill_locked(slot->link, reason);
	}
	wait_event_lock_irq(v->quiet, !slot->closing, v->io_lock);
	spin_unlock_irq(&v->io_lock);
}

/* ---------------------------------------------------------------- tick -- */

static void own_flush_done(struct leg *leg, enum leg_end end)
{
	/* The teardown, or the receiver, has let go of it: the tick may use it again. */
	smp_store_release(&leg->owner, NULL);
}

static void tick_flush(struct link *link)
{
	struct volume *v = link->volume;

	if (time_before(jiffies, link->flushed_at + LINK_FLUSH_SECONDS * HZ))
		return;
	link->flushed_at = jiffies;
	if (map_empty(&link->unflushed[0]) && map_empty(&link->unflushed[1]))
		return;
	/* Pairs with own_flush_done(): nobody else looks at the leg any more. */
	if (smp_load_acquire(&link->own_flush.owner))
		return;
	spin_lock_irq(&v->io_lock);
	/* What a secondary had written before it became one stays in the sets: more bits, if it is lost. */
	if (!link->dead && v->primary) {
		link->own_flush.owner = link;
		link->own_flush.done = own_flush_done;
		link->own_flush.type = REPL_FRAME_FLUSH;
		link_queue(link, &link->own_flush);
	}
	spin_unlock_irq(&v->io_lock);
}

static bool tick_stuck(struct link *link)
{
	bool stuck = false;
	struct leg *leg;

	spin_lock_irq(&link->lock);
	leg = list_first_entry_or_null(&link->sent, struct leg, entry);
	if (leg)
		stuck = time_after(jiffies, leg->sent_at + msecs_to_jiffies(link->stuck_ms));
	spin_unlock_irq(&link->lock);
	return stuck;
}

/*
 * Any received byte is life, and the other kernel beats when it has nothing to
 * say: silence for the timeout means that it, or the way to it, is gone.
 */
static void link_tick(struct work_struct *work)
{
	struct link *link = container_of(to_delayed_work(work), struct link, tick);
	unsigned long timeout = msecs_to_jiffies(link->timeout_ms);
	unsigned long beat = min(timeout / 4, msecs_to_jiffies(LINK_BEAT_MS));

	if (READ_ONCE(link->dead))
		return;
	/*
	 * A receiver that waits for the backing device here proves nothing about the peer.
	 * Pairs with receive_iter(): ->heard_at is at least as new as ->listening.
	 */
	if (smp_load_acquire(&link->listening) &&
	    time_after(jiffies, READ_ONCE(link->heard_at) + timeout)) {
		link_kill(link, "no byte from the peer for %u ms", link->timeout_ms);
		return;
	}
	if (tick_stuck(link)) {
		link_kill(link, "the peer has left a request unanswered for %u ms",
			  link->stuck_ms);
		return;
	}
	/* It may owe no answer, and take none: the sender, and who waits for it, would wait for ever. */
	if (time_after(jiffies, READ_ONCE(link->spoke_at) +
				max(msecs_to_jiffies(link->stuck_ms), 4 * beat))) {
		link_kill(link, "the peer has taken nothing for %u ms", link->stuck_ms);
		return;
	}
	if (time_after(jiffies, READ_ONCE(link->spoke_at) + beat)) {
		WRITE_ONCE(link->beat, true);
		wake_up(&link->wait);
	}
	tick_flush(link);
	queue_delayed_work(repl_wq, &link->tick, max(beat / 2, 1ul));
}

/* --------------------------------------------------------------- start -- */

/**
 * link_create() - adopt a connected socket; nothing is sent yet
 * @v: the volume
 * @slot: which peer
 * @fd: the socket, of the calling process
 * @cookie: agreed by the agents
 * @flags: enum repl_link_flags
 * @timeout_ms: of silence
 * @stuck_ms: of one answer
 * @out: the link, which holds a reference to @v
 * @why: filled in on error
 *
 * Context: the process that asked; may sleep.
 */
int link_create(struct volume *v, u8 slot, int fd, u64 cookie, u32 flags, u32 timeout_ms,
		u32 stuck_ms, struct link **out, struct why *why)
{
	struct link *link = kzalloc(sizeof(*link), GFP_KERNEL);
	int err = -ENOTSOCK;

	if (!link)
		return why_set(why, -ENOMEM, "%s: no memory for a link", v->name);
	volume_get(v);
	link->volume = v;
	link->slot = &v->slot[slot];
	link->cookie = cookie;
	link->tls = flags & REPL_LINK_TLS;
	link->crc = flags & REPL_LINK_CRC;
	link->timeout_ms = timeout_ms;
	link->stuck_ms = stuck_ms;
	init_waitqueue_head(&link->wait);
	init_waitqueue_head(&link->applied);
	spin_lock_init(&link->lock);
	INIT_LIST_HEAD(&link->queue);
	INIT_LIST_HEAD(&link->zeroes);
	INIT_LIST_HEAD(&link->sent);
	INIT_LIST_HEAD(&link->answers);
	INIT_DELAYED_WORK(&link->tick, link_tick);
	INIT_WORK(&link->teardown, link_teardown);

	link->sock = sockfd_lookup(fd, &err);
	if (!link->sock) {
		why_set(why, err, "%s: the link's descriptor is no socket", v->name);
		goto free;
	}
	err = check_socket(v, link->sock, link->tls, why);
	if (err)
		goto put_sock;
	err = link_alloc(link);
	if (err) {
		why_set(why, err, "%s: no memory for a link", v->name);
		goto put_sock;
	}
	prepare_socket(link->sock);
	*out = link;
	return 0;

put_sock:
	sockfd_put(link->sock);
free:
	link_free(link);
	return err;
}

/**
 * link_start() - make the threads, asleep
 * @link: not published
 * @why: filled in on error
 *
 * Context: may sleep.
 */
int link_start(struct link *link, struct why *why)
{
	struct volume *v = link->volume;
	struct task_struct *task;

	task = kthread_create(link_sender, link, "repl%u-tx%u", v->minor, link->slot->index);
	if (IS_ERR(task))
		return why_set(why, PTR_ERR(task), "%s: no thread for the link", v->name);
	link->sender = task;
	task = kthread_create(link_receiver, link, "repl%u-rx%u", v->minor, link->slot->index);
	if (IS_ERR(task)) {
		kthread_stop(link->sender);
		return why_set(why, PTR_ERR(task), "%s: no thread for the link", v->name);
	}
	link->receiver = task;
	return 0;
}

/**
 * link_abandon() - undo link_start(); for a link that was not published
 * @link: its threads have never run
 *
 * Context: may sleep.
 */
void link_abandon(struct link *link)
{
	kthread_stop(link->receiver);
	kthread_stop(link->sender);
}

/**
 * link_publish() - from here on every write goes over the link
 * @link: started
 * @why: filled in on error; the link is still the caller's then
 *
 * Context: control; may sleep.
 */
int link_publish(struct link *link, struct why *why)
{
	struct volume *v = link->volume;
	struct slot *slot = link->slot;

	spin_lock_irq(&v->io_lock);
	if (slot_not_joinable(v, slot, why)) {
		spin_unlock_irq(&v->io_lock);
		return -EBUSY;
	}
	slot->link = link;
	slot->since = ktime_get_ns();
	slot->reason[0] = '\0';
	v->live++;
	v->lost_slots &= ~(1u << slot->index);
	log_untold(v);
	link->heard_at = jiffies;
	link->spoke_at = jiffies;
	link->flushed_at = jiffies;
	/* Under the lock: who kills the link needs it too, so the teardown comes later. */
	wake_up_process(link->sender);
	wake_up_process(link->receiver);
	queue_delayed_work(repl_wq, &link->tick, 1);
	spin_unlock_irq(&v->io_lock);
	return 0;
}
