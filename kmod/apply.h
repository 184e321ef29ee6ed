/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Something that arrived over a link and is being done here.  It knows its link
 * until its answer is sent; link->applying counts it so long.
 */
#ifndef REPL_APPLY_H
#define REPL_APPLY_H

#include <linux/bio.h>
#include "cut.h"
#include "frame.h"
#include "link.h"

struct apply {
	struct list_head entry;		/* link->answers, or volume->log.applies */
	struct link *link;
	struct frame frame;
	u8 status;			/* enum repl_frame_status */
	bool shared;			/* third copies may lack it: its regions are to be logged */
	bool alone;			/* counts in volume->unsampled; else ->shared counts in ->writes */
	bool logged;			/* log_enter() has said ->period */
	u8 period;
	struct sampled sample;
	struct cut_wait wait;		/* before it is sampled */
	union {
		struct work_struct work;		/* ZEROES */
		struct repl_frame_generation generation;
		struct repl_frame_settled settled;
	};
	struct bio bio;			/* last: bios follow */
};

/* An answer that carries what was read. */
static inline bool apply_has_data(const struct apply *apply)
{
	return apply->frame.type == REPL_FRAME_READ && apply->status == REPL_STATUS_OK;
}

struct apply *apply_alloc(struct link *link, const struct frame *frame);
void apply_submit(struct apply *apply);
void apply_answer(struct apply *apply, u8 status);
void apply_free(struct apply *apply);
struct apply *apply_take_generation(struct link *link);

int apply_init(void);
void apply_exit(void);

#endif /* REPL_APPLY_H */
