// SPDX-License-Identifier: GPL-2.0-or-later
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *log_program = "repl";
static enum log_level log_max = LOG_LEVEL_INFO;
static bool log_journal;

/* The variable alone is not enough: it is inherited by children whose stderr goes elsewhere. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void log_open(const char *program, enum log_level level)
{
	log_program = program;
	log_max = level;
	log_journal = stderr_is_journal();
}

bool log_wants(enum log_level level)
{
	return level <= log_max;
}

static const char *level_word(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error: ";
	case LOG_LEVEL_WARN:
		return "warning: ";
	case LOG_LEVEL_DEBUG:
		return "debug: ";
	case LOG_LEVEL_INFO:
		break;
	}
	return "";
}

void log_line(enum log_level level, const char *subject, const char *fmt, ...)
{
	const char *colon = subject ? ": " : "";
	int saved = errno;
	char text[1024];
	va_list args;

	if (!log_wants(level))
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	subject = subject ? subject : "";
	if (log_journal)
		dprintf(STDERR_FILENO, "<%d>%s%s%s\n", (int)level, subject, colon, text);
	else
		dprintf(STDERR_FILENO, "%s: %s%s%s%s\n", log_program, level_word(level), subject,
			colon, text);
	errno = saved;
}
