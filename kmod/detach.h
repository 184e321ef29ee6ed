/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A device here that has failed.  Three cases:
 *
 *   primary with a live peer	volume->diskless: from that step on nothing is read from or
 *				written to the devices here; writes go to the live peers,
 *				reads come from one.  The gate is shut in the same step, and
 *				opens when the disk says that its copy is not to be trusted (if
 *				it still can) and every live peer has made a new generation
 *				durable.  When the last live peer goes, the volume is failing.
 *				A new disk ends it: replace.c.
 *   primary without one	the error goes up, as that of a plain disk does.
 *   secondary			the peer is told, and ends the link; the copy is durably no
 *				longer consistent, until it has caught up: volume->hole, from
 *				the failure to the next REPL_CMD_FOLLOW.
 *
 * Whoever flushes the data's device for reasons of the module's own calls detach_flush(), or
 * detach_write_log(): the device reports a cache that it has lost to nobody else.
 *
 * ->diskless is set, and taken back, under io_lock.  Who reads it without has begun before
 * the failure, as far as anybody can tell; or reads from a peer what a new disk has, too.
 */
#ifndef REPL_DETACH_H
#define REPL_DETACH_H

#include "volume.h"

void detach_begin(struct volume *v);
bool detach_locked(struct volume *v);
void detach_failed(struct volume *v, u64 offset, u64 length);
void detach_doubt(struct volume *v);
void detach_flush_lost(struct volume *v, const char *reason);
int detach_flush(struct volume *v);
int detach_write_log(struct volume *v, u64 offset, struct page *page);
void detach_record(struct volume *v);
void detach_mended(struct volume *v);
int detach_hole(struct volume *v, struct why *why);
int detach_refuse(struct volume *v, struct why *why);

#endif /* REPL_DETACH_H */
