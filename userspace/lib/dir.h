/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directories, such that what was put there is found after a power cut. */
#ifndef REPL_DIR_H
#define REPL_DIR_H

/** dir_sync - the entries of @dir are on stable media. Return: 0 or -errno. */
int dir_sync(const char *dir);

/** dir_sync_above - the directory in which @path is an entry. Return: 0 or -errno. */
int dir_sync_above(const char *path);

/** dir_make - if it is not there; durably. What is above it must be. Return: 0 or -errno. */
int dir_make(const char *dir);

/** dir_make_all - with all that is above it. Return: 0, also when @dir is there and no directory, or -errno. */
int dir_make_all(const char *dir);

/** dir_rename_new - rename a file to what nothing is called yet. Return: 0, -EEXIST, or another -errno. */
int dir_rename_new(const char *from, const char *to);

#endif /* REPL_DIR_H */
