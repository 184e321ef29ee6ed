/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where copies have their metadata.  They lie at the end of a device; when that is made
 * larger below them they lie in its middle, and only who has noted the place finds them.
 * The agent notes it; repl-ctl up and fsck.repl look there, too.
 *
 * One file for each copy in PLACE_DIR, named by the copy's id: a place counts for
 * the copy that has this id, whatever its device is called today.
 */
#ifndef REPL_PLACE_H
#define REPL_PLACE_H

#include <stdint.h>

#include <repl/format.h>

#include "err.h"

#define PLACE_DIR "/var/lib/repl"

/**
 * place_note - remember that the copy's metadata end at byte @end of their device
 * Return: 0 or -errno.
 */
int place_note(const struct repl_id *copy_id, uint64_t end, struct err *e);

/**
 * place_find - where the metadata on a device end
 * @fd: the device, open for reading, with or without O_DIRECT
 * @size: its bytes
 *
 * Of the places that are noted and the device's end, the one that holds a superblock that
 * was noted there; of several, the one with the highest sequence number.
 * Return: bytes; when nothing is found, the device's last whole 4 KiB.
 */
uint64_t place_find(int fd, uint64_t size);

#endif /* REPL_PLACE_H */
