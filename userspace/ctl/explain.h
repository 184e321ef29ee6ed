/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Judging what view.h shows: how bad it is, why, and what to do next. */
#ifndef REPL_CTL_EXPLAIN_H
#define REPL_CTL_EXPLAIN_H

#include "view.h"

/**
 * explain_volume - fill health and findings of one volume
 *
 * Pure: looks at nothing but its arguments.
 */
void explain_volume(const struct view *v, struct view_volume *vol);

/** explain_gate - the reasons why writes wait, in words: "peer-lost, snapshot" */
char *explain_gate(uint32_t gate, char *text, size_t size);

/**
 * explain_begun - what the current generation rests on, when it is no peer's consent
 * Return: "peer-dead", "force", or NULL.
 */
const char *explain_begun(uint32_t sb_flags);

/** explain_filling - how far a new disk is filled; not known when there is none */
void explain_filling(const struct kernel_volume *k, struct view_progress *p);

/**
 * explain_behind - how many bytes a peer lacks
 * Return: all of the volume's for one that was never met; -1: not known, since the volume is down.
 */
int64_t explain_behind(const struct view_volume *vol, const struct view_peer *p);

/** explain_epoch - Return: of which epoch a rolling peer's copy is; -1: not known */
int64_t explain_epoch(const struct view_volume *vol, const struct view_peer *p);

#endif /* REPL_CTL_EXPLAIN_H */
