/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines on standard error, for a person or for the journal. */
#ifndef REPL_LOG_H
#define REPL_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR	= 3,	/* the numbers are syslog's */
	LOG_LEVEL_WARN	= 4,
	LOG_LEVEL_INFO	= 6,
	LOG_LEVEL_DEBUG	= 7,
};

/**
 * log_open - say who is talking, and how much is wanted
 * @program: stands before each line; must outlive the program's last line
 * @level: lines of this level and the more urgent ones are written
 *
 * When standard error is the journal (JOURNAL_STREAM names it), a line carries
 * its level as "<n>" and no program name: the journal knows it.
 */
void log_open(const char *program, enum log_level level);

/** log_wants - whether lines of @level are written: saves preparing them */
bool log_wants(enum log_level level);

/**
 * log_line - write one line
 * @level: how urgent
 * @subject: a volume, a peer or a file that the line is about; or NULL
 * @fmt: the sentence, without a newline
 *
 * Keeps errno.  One write per line, so lines of several threads never mix.
 */
void log_line(enum log_level level, const char *subject, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(subject, ...)	log_line(LOG_LEVEL_ERROR, subject, __VA_ARGS__)
#define log_warn(subject, ...)	log_line(LOG_LEVEL_WARN, subject, __VA_ARGS__)
#define log_info(subject, ...)	log_line(LOG_LEVEL_INFO, subject, __VA_ARGS__)
#define log_debug(subject, ...)	log_line(LOG_LEVEL_DEBUG, subject, __VA_ARGS__)

#endif /* REPL_LOG_H */
