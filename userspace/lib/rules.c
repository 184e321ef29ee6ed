// SPDX-License-Identifier: GPL-2.0-or-later
#include "rules.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <ini.h>

enum rules_limits {
	RULES_TITLE_MAX	= 128,	/* of what stands between [ and ] */
	RULES_TEXT_MAX	= 512,
};

struct parser {
	const char *path;
	const char *at;
	const char *end;
	unsigned int line;
	const struct rules_section *sections;
	unsigned int seen_sections;
	const struct rules_section *section;	/* NULL: none, or one that was refused */
	bool outside;				/* no section has begun yet */
	char title[RULES_TITLE_MAX];
	unsigned int section_line;
	void *object;
	unsigned int seen_keys;
	void *root;
	rules_report *report;
	void *arg;
	unsigned int problems;
};

static void problem(struct parser *p, unsigned int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void problem(struct parser *p, unsigned int line, const char *fmt, ...)
{
	char text[RULES_TEXT_MAX];
	va_list args;
	int used;

	if (line)
		used = snprintf(text, sizeof(text), "%s:%u: ", p->path, line);
	else
		used = snprintf(text, sizeof(text), "%s: ", p->path);
	if (used < (int)sizeof(text)) {
		va_start(args, fmt);
		vsnprintf(text + used, sizeof(text) - used, fmt, args);
		va_end(args);
	}
	p->problems++;
	if (p->report)
		p->report(p->arg, text);
}

static void close_section(struct parser *p)
{
	const struct rules_key *key;

	if (!p->section)
		return;
	for (key = p->section->keys; key->name; key++) {
		if ((key->flags & RULES_REQUIRED) &&
		    !(p->seen_keys & 1u << (key - p->section->keys)))
			problem(p, p->section_line, "[%s] lacks %s; expected %s", p->title, key->name,
				key->expected);
	}
	p->section = NULL;
}

/* Takes "LABEL" off a title of the form: name "LABEL". */
static bool split_label(char *title, char **label)
{
	char *quote = strchr(title, '"');
	size_t length;

	*label = NULL;
	if (!quote)
		return true;
	length = strlen(quote);
	if (quote == title || length < 2 || quote[length - 1] != '"')
		return false;
	quote[length - 1] = '\0';
	if (strchr(quote + 1, '"'))
		return false;
	*label = quote + 1;
	while (quote > title && isspace((unsigned char)quote[-1]))
		quote--;
	*quote = '\0';
	return true;
}

static const char *list_sections(const struct rules_section *section, char text[RULES_TEXT_MAX])
{
	size_t used = 0;

	for (text[0] = '\0'; section->name && used < RULES_TEXT_MAX; section++)
		used += snprintf(text + used, RULES_TEXT_MAX - used, "%s[%s%s]", used ? ", " : "",
				 section->name, section->labelled ? " \"NAME\"" : "");
	return text;
}

static const char *list_keys(const struct rules_key *key, char text[RULES_TEXT_MAX])
{
	size_t used = 0;

	for (text[0] = '\0'; key->name && used < RULES_TEXT_MAX; key++)
		used += snprintf(text + used, RULES_TEXT_MAX - used, "%s%s", used ? ", " : "",
				 key->name);
	return text;
}

static void open_section(struct parser *p, const char *title)
{
	const struct rules_section *section = p->sections;
	const char *why = "refused";
	char name[RULES_TITLE_MAX], known[RULES_TEXT_MAX];
	char *label;

	close_section(p);
	p->outside = false;
	p->section_line = p->line;
	p->seen_keys = 0;
	snprintf(p->title, sizeof(p->title), "%s", title);
	snprintf(name, sizeof(name), "%s", title);
	if (!split_label(name, &label)) {
		problem(p, p->line, "[%s]: a section is [name] or [name \"label\"]", title);
		return;
	}
	while (section->name && strcmp(section->name, name) != 0)
		section++;
	if (!section->name) {
		problem(p, p->line, "[%s]: unknown section; expected %s", title,
			list_sections(p->sections, known));
		return;
	}
	if (section->labelled != !!label) {
		problem(p, p->line, "[%s]: expected [%s%s]", title, section->name,
			section->labelled ? " \"NAME\"" : "");
		return;
	}
	if (!label && (p->seen_sections & 1u << (section - p->sections))) {
		problem(p, p->line, "[%s] stands here a second time; join the two", title);
		return;
	}
	p->seen_sections |= 1u << (section - p->sections);
	p->object = section->open(p->root, label, p->line, &why);
	if (!p->object) {
		problem(p, p->line, "[%s]: %s", title, why);
		return;
	}
	p->section = section;
}

/*
 * The library does not tell its handler of lines or of the start of sections,
 * and cuts long section names.  Both are noted here, where lines pass by.
 */
static void note_section(struct parser *p, const char *line)
{
	const char *close = strchr(line, ']');
	char title[RULES_TITLE_MAX];

	if (*line != '[')
		return;
	if (!close || close - line - 1 >= (ptrdiff_t)sizeof(title)) {
		/* Without a ] the library reports the line; keys below belong to nobody. */
		close_section(p);
		p->outside = false;
		if (close)
			problem(p, p->line, "the name of this section is too long");
		return;
	}
	memcpy(title, line + 1, close - line - 1);
	title[close - line - 1] = '\0';
	open_section(p, title);
}

/* Like fgets(), except that a line is never split and leading white space goes. */
static char *read_line(char *buffer, int size, void *stream)
{
	struct parser *p = stream;
	const char *start = p->at;
	const char *newline;
	size_t length;

	if (start == p->end)
		return NULL;
	newline = memchr(start, '\n', p->end - start);
	p->at = newline ? newline + 1 : p->end;
	p->line++;
	length = (newline ? newline : p->end) - start;
	/* A key must start its line: the library takes an indented one for a continuation. */
	while (length && isspace((unsigned char)*start)) {
		start++;
		length--;
	}
	if (memchr(start, '\0', length)) {
		problem(p, p->line, "holds a zero byte; this is no text file");
		length = 0;
	} else if (length + 2 > (size_t)size) {
		problem(p, p->line, "longer than %d bytes", size - 2);
		length = 0;
	}
	memcpy(buffer, start, length);
	buffer[length] = '\0';
	note_section(p, buffer);
	return buffer;
}

static int take_value(void *user, const char *unused, const char *name, const char *value)
{
	struct parser *p = user;
	const struct rules_key *key;
	char known[RULES_TEXT_MAX];
	unsigned int bit;

	(void)unused;
	if (!p->section) {
		if (p->outside)
			problem(p, p->line, "%s stands before any [section]", name);
		return 1;
	}
	key = p->section->keys;
	while (key->name && strcmp(key->name, name) != 0)
		key++;
	if (!key->name) {
		problem(p, p->line, "unknown key %s in [%s]; expected %s", name, p->title,
			list_keys(p->section->keys, known));
		return 1;
	}
	bit = 1u << (key - p->section->keys);
	if ((p->seen_keys & bit) && !(key->flags & RULES_REPEAT)) {
		problem(p, p->line, "%s stands here a second time in [%s]", name, p->title);
		return 1;
	}
	p->seen_keys |= bit;
	if (key->set((char *)p->object + key->offset, value))
		problem(p, p->line, "%s = %s: expected %s", name, value, key->expected);
	return 1;
}

unsigned int rules_parse(const char *text, size_t length, const char *path,
			 const struct rules_section *sections, void *root,
			 rules_report *report, void *arg)
{
	struct parser p = {
		.path = path,
		.at = text,
		.end = text + length,
		.sections = sections,
		.outside = true,
		.root = root,
		.report = report,
		.arg = arg,
	};
	static const char mark[] = "\xef\xbb\xbf";	/* that some editors put first */
	const struct rules_section *section;
	int bad_line;

	if (length >= 3 && memcmp(text, mark, 3) == 0)
		p.at += 3;
	bad_line = ini_parse_stream(read_line, &p, take_value, &p);
	close_section(&p);
	if (bad_line > 0)
		problem(&p, bad_line, "neither [section] nor key = value");
	else if (bad_line < 0)
		problem(&p, 0, "cannot be parsed: out of memory");
	for (section = sections; section->name; section++) {
		if ((section->flags & RULES_REQUIRED) &&
		    !(p.seen_sections & 1u << (section - sections)))
			problem(&p, 0, "lacks the section [%s]", section->name);
	}
	return p.problems;
}
