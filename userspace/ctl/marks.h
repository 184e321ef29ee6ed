/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The slots of a volume that are marks.  What has changed since a stream is in the slot's map;
 * lib/mark.h has what its key says, its copy id is the stream's.
 *
 * A stream that is being written has a slot of its own, which becomes the mark, and takes the
 * place of the one before, in one step of the kernel when the stream is safe.  So at every moment
 * the mark's map covers all that its stream does not have.
 *
 * The kernel is asked directly, not by the agent: both may give out slots at the same time,
 * since neither can take one that the other has given.
 */
#ifndef REPL_CTL_MARKS_H
#define REPL_CTL_MARKS_H

#include "kernel.h"
#include "mark.h"

/** marks_find - Return: the slot, or NULL. */
const struct kernel_slot *marks_find(const struct kernel_volume *v, const char *name,
				     enum mark_state state);

/**
 * marks_lock - nobody else makes or changes marks of this volume on this machine
 * Return: a descriptor to close, or -errno with words.
 */
int marks_lock(const struct kernel_volume *v, struct err *e);

/**
 * marks_sweep - free the slots of streams whose writers have died
 * @v: read again when something was freed
 * Return: 0 or -errno with words.
 */
int marks_sweep(struct kernel *k, struct kernel_volume *v, struct err *e);

/**
 * marks_new - a mark in a free slot, with every block dirty
 * @id: NULL: it stands for no stream
 * Return: the slot's index, or -errno with words: -ENOSPC when none is free.
 */
int marks_new(struct kernel *k, const struct kernel_volume *v, const char *name,
	      enum mark_state state, const struct repl_id *id, struct err *e);

/** marks_rename - the mark in @slot that stands for @id; another one of that name is freed */
int marks_rename(struct kernel *k, const struct kernel_volume *v, uint8_t slot, const char *name,
		 enum mark_state state, const struct repl_id *id, struct err *e);

/** marks_free - Return: 0 or -errno with words, -EBUSY while it is being read. */
int marks_free(struct kernel *k, const struct kernel_volume *v, uint8_t slot, const char *name,
	       enum mark_state state, struct err *e);

#endif /* REPL_CTL_MARKS_H */
