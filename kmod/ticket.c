// SPDX-License-Identifier: GPL-2.0-only
#include <linux/anon_inodes.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include "ticket.h"

struct ticket {
	refcount_t ref;
	wait_queue_head_t wait;
	bool done;	/* set once, after ->result: released there, acquired by who reads it */
	struct repl_ticket_result result;
};

/**
 * why_set() - say why something is refused
 * @why: to fill in, unless words stand there already
 * @error: a negative errno
 * @fmt: the sentence: the object, the fact, the next step
 *
 * Return: @error.
 */
int why_set(struct why *why, int error, const char *fmt, ...)
{
	va_list args;

	if (!why->text[0]) {
		va_start(args, fmt);
		vscnprintf(why->text, sizeof(why->text), fmt, args);
		va_end(args);
	}
	return error;
}

static void ticket_put(struct ticket *ticket)
{
	if (refcount_dec_and_test(&ticket->ref))
		kfree(ticket);
}

static bool ticket_done(const struct ticket *ticket)
{
	/* Pairs with ticket_finish(): who sees it done sees the result. */
	return smp_load_acquire(&ticket->done);
}

static __poll_t ticket_poll(struct file *file, struct poll_table_struct *table)
{
	struct ticket *ticket = file->private_data;

	poll_wait(file, &ticket->wait, table);
	return ticket_done(ticket) ? EPOLLIN | EPOLLRDNORM : 0;
}

static ssize_t ticket_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	struct ticket *ticket = file->private_data;
	int err;

	if (size < sizeof(ticket->result))
		return -EINVAL;
	if (!ticket_done(ticket)) {
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(ticket->wait, ticket_done(ticket));
		if (err)
			return err;
	}
	if (copy_to_user(to, &ticket->result, sizeof(ticket->result)))
		return -EFAULT;
	return sizeof(ticket->result);
}

static int ticket_release(struct inode *inode, struct file *file)
{
	ticket_put(file->private_data);
	return 0;
}

static const struct file_operations ticket_fops = {
	.owner		= THIS_MODULE,
	.poll		= ticket_poll,
	.read		= ticket_read,
	.release	= ticket_release,
	.llseek		= noop_llseek,
};

/**
 * ticket_create() - make a ticket with the command's reference
 *
 * Context: may sleep.
 * Return: a ticket, or NULL without memory.
 */
struct ticket *ticket_create(void)
{
	struct ticket *ticket = kzalloc(sizeof(*ticket), GFP_KERNEL);

	if (!ticket)
		return NULL;
	refcount_set(&ticket->ref, 1);
	init_waitqueue_head(&ticket->wait);
	return ticket;
}

/**
 * ticket_install() - give the calling process a descriptor for a ticket
 * @ticket: whose second reference the descriptor takes
 *
 * Context: the process that asked; may sleep.
 * Return: a file descriptor, or a negative errno.
 */
int ticket_install(struct ticket *ticket)
{
	int fd;

	refcount_inc(&ticket->ref);
	fd = anon_inode_getfd("[repl-ticket]", &ticket_fops, ticket, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		ticket_put(ticket);
	return fd;
}

/**
 * ticket_finish() - tell the end of a command, and drop its reference
 * @ticket: the command's
 * @error: 0 or a negative errno
 * @why: the words that go with an error
 *
 * Context: any.
 */
void ticket_finish(struct ticket *ticket, int error, const struct why *why)
{
	ticket->result.error = error;
	if (error)
		strscpy(ticket->result.text, why->text, sizeof(ticket->result.text));
	/* Pairs with ticket_done(). */
	smp_store_release(&ticket->done, true);
	wake_up_all(&ticket->wait);
	ticket_put(ticket);
}
