/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One write of the application (or flush, discard, write-zeroes), from
 * submit_bio to its completion.  See request.c for its life.
 */
#ifndef REPL_REQUEST_H
#define REPL_REQUEST_H

#include <linux/bio.h>
#include "link.h"
#include "lower.h"
#include "range.h"
#include "volume.h"

struct request {
	struct lower lower;
	struct volume *volume;	/* the disk keeps it as long as a request lives */
	struct bio *upper;
	struct span range;		/* taken while ->tracked */
	struct sampled sample;		/* in its list until local is done; in ->held at last */
	atomic_t pending;		/* the local write and the legs */
	bool flush;			/* without data: nothing of it is in order with writes */
	bool tracked;
	bool lost;			/* a leg ended with its link */
	bool acked;			/* a peer has it */
	bool remote;			/* nothing is written here */
	bool logged;			/* counts in volume->log, in ->period */
	u8 period;
	blk_status_t status;		/* of the local write; written before its pending drops */
	unsigned long started;		/* jiffies */
	u8 legs;
	struct leg leg[REPL_LINKS_MAX];
	struct work_struct zero;	/* discard and write-zeroes */
};

void request_submit(struct volume *v, struct bio *bio);
void request_resume(struct work_struct *work);
void request_release_held(struct volume *v);
void request_fail_parked(struct volume *v);

int request_init_volume(struct volume *v);
void request_exit_volume(struct volume *v);

#endif /* REPL_REQUEST_H */
