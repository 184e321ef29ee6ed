// SPDX-License-Identifier: GPL-2.0-or-later
#include "suspect.h"

void suspect_begin(struct suspect *s, enum suspect_kind kind)
{
	/* The first chunk is one of the sample. */
	*s = (struct suspect){ .kind = kind, .passed = SUSPECT_EVERY };
}

bool suspect_next(struct suspect *s)
{
	if (s->kind != SUSPECT_SAMPLE)
		return s->kind == SUSPECT_ALL;
	if (++s->passed < SUSPECT_EVERY)
		return false;
	s->passed = 0;
	return true;
}

static void change(struct suspect *s, enum suspect_kind kind)
{
	s->kind = kind;
	s->passed = 0;
	s->compared = s->equal = 0;
}

/* Answers to what was asked before the last change count, too: they are as true. */
void suspect_told(struct suspect *s, uint64_t bytes, uint64_t equal)
{
	if (s->kind == SUSPECT_SAMPLE) {
		if (equal >= bytes / SUSPECT_BACK)
			change(s, SUSPECT_ALL);
		return;
	}
	s->compared += bytes;
	s->equal += equal;
	if (s->compared < SUSPECT_WINDOW)
		return;
	if (s->equal < s->compared / SUSPECT_KEEP)
		change(s, SUSPECT_SAMPLE);
	else
		s->compared = s->equal = 0;
}
