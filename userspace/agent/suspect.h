/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which blocks of a delta are compared by digests before they are sent.  Pure.
 *
 * A dirty bit may say less than "these differ": after a crash, a lost link or a broken
 * copy it says "nobody knows".  Comparing costs the follower a read, and both a digest;
 * sending costs the network and the follower a write.  So what is only suspected is
 * compared for as long as enough of it turns out to be equal, and of the rest a sample,
 * to notice when that changes.
 */
#ifndef REPL_AGENT_SUSPECT_H
#define REPL_AGENT_SUSPECT_H

#include <stdbool.h>
#include <stdint.h>

/* What is known of a delta before it is read. */
enum suspect_kind {
	SUSPECT_NOTHING,	/* it was written just now: compare nothing */
	SUSPECT_SAMPLE,		/* probably all of it differs: find out */
	SUSPECT_ALL,		/* may well be equal: begin with comparing */
};

enum suspect_limits {
	SUSPECT_WINDOW	= 4 << 20,	/* bytes compared, after which is judged */
	SUSPECT_KEEP	= 8,		/* of them an 8th must be equal to go on */
	SUSPECT_EVERY	= 64,		/* of what is not compared, each 64th chunk is, after all */
	SUSPECT_BACK	= 4,		/* and if a quarter of it is equal, everything again */
};

struct suspect {
	enum suspect_kind kind;		/* as things stand */
	unsigned int passed;		/* chunks since the last one of the sample */
	uint64_t compared, equal;	/* in this window, bytes */
};

void suspect_begin(struct suspect *s, enum suspect_kind kind);

/** suspect_next - Return: whether the next chunk is to be compared */
bool suspect_next(struct suspect *s);

/** suspect_told - of @bytes that were compared, @equal are */
void suspect_told(struct suspect *s, uint64_t bytes, uint64_t equal);

#endif /* REPL_AGENT_SUSPECT_H */
