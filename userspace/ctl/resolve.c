// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * repl-ctl resolve: what each side of a split would lose, and whose copy is kept.
 *
 * The agent is told which generations were shown, and refuses when they are others by
 * then: nobody decides about what he has not seen.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <libsmartcols.h>

#include "agent.h"
#include "ctl.h"
#include "err.h"
#include "units.h"

enum { SHORT_ID = 8, STATUS_MS = 10000, LOSES_MAX = UNITS_TEXT_MAX + 24 };

struct resolve {
	const struct ctl *ctl;
	const char *volume;
	const char *keep;		/* NULL: only show */
	const char *save_to;
	bool no_save, force, yes;
	json_t *status;			/* the agent's */
};

/* -- what the agent says --------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static const json_t *side(const json_t *split, unsigned int n)
{
	return json_array_get(json_object_get(split, "sides"), n);
}

static uint64_t bytes_of(const json_t *s, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(s, key));
}

static int ask(const struct resolve *r, json_t *request, agent_progress *progress, json_t **answer)
{
	struct err e;
	int ret;

	if (!request)
		return ctl_complain("%s: this is no text that can be sent", r->volume);
	ret = agent_ask(r->ctl->config_dir, request, progress ? 0 : STATUS_MS, progress, (void *)r,
			answer, &e);
	json_decref(request);
	return ret ? ctl_complain("%s: %s", r->volume, e.text) : CTL_DONE;
}

/* The volume's object, or NULL. */
static const json_t *volume(const struct resolve *r)
{
	json_t *object;
	size_t i;

	json_array_foreach(json_object_get(r->status, "volumes"), i, object)
		if (!strcmp(text_of(object, "name"), r->volume))
			return object;
	return NULL;
}

/*
 * An agent of an older release counts only what the side's own map has.  That may be less than is
 * lost, and what it would save is as much less.
 */
static bool tells_losses(const json_t *s)
{
	return json_is_integer(json_object_get(s, "loses_bytes"));
}

static const char *losses(const json_t *s, char to[LOSES_MAX])
{
	char bytes[UNITS_TEXT_MAX];

	if (tells_losses(s))
		snprintf(to, LOSES_MAX, "up to %s", units_format_bytes(bytes_of(s, "loses_bytes"), bytes));
	else
		snprintf(to, LOSES_MAX, "how much is not known");
	return to;
}

/* -- telling --------------------------------------------------------------- */

enum column { COL_NODE, COL_ROLE, COL_GENERATION, COL_CHANGED, COL_SINCE, COL_LOSES, COL_COUNT };

static int add_side(struct libscols_table *table, const json_t *s)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	char generation[SHORT_ID + 1], changed[128], bytes[UNITS_TEXT_MAX], since[UNITS_TEXT_MAX + 8];
	char loses[LOSES_MAX];
	json_int_t blocks = json_integer_value(json_object_get(s, "blocks"));
	const json_t *alone = json_object_get(s, "alone_ms");

	snprintf(generation, sizeof(generation), "%s", text_of(s, "generation"));
	snprintf(changed, sizeof(changed), "%" JSON_INTEGER_FORMAT " block%s, %s", blocks,
		 blocks == 1 ? "" : "s", units_format_bytes(bytes_of(s, "bytes"), bytes));
	strcpy(since, "not known");
	if (json_is_integer(alone)) {
		units_format_duration((uint64_t)json_integer_value(alone), since);
		strcat(since, " ago");
	}
	if (!line || scols_line_set_data(line, COL_NODE, text_of(s, "node")) ||
	    scols_line_set_data(line, COL_ROLE, text_of(s, "role")) ||
	    scols_line_set_data(line, COL_GENERATION, generation) ||
	    scols_line_set_data(line, COL_CHANGED, changed) ||
	    scols_line_set_data(line, COL_SINCE, since) ||
	    scols_line_set_data(line, COL_LOSES, tells_losses(s) ? losses(s, loses) : "not known"))
		return -1;
	return 0;
}

static void print_table(const json_t *split)
{
	static const char *const heads[COL_COUNT] = {
		"NODE", "ROLE", "GENERATION", "KNOWS CHANGED", "LINK LOST", "WOULD LOSE",
	};
	struct libscols_table *table;
	bool good;

	scols_init_debug(0);
	table = scols_new_table();
	good = table;
	for (unsigned int i = 0; good && i < COL_COUNT; i++)
		good = scols_table_new_column(table, heads[i], 0, 0);
	good = good && !add_side(table, side(split, 0)) && !add_side(table, side(split, 1));
	if (good)
		scols_print_table(table);
	scols_unref_table(table);
}

static void print_way(const struct resolve *r, const json_t *keep, const json_t *lose)
{
	char how_much[LOSES_MAX];

	printf("To keep %s: repl-ctl resolve %s --keep %s\n", text_of(keep, "node"), r->volume,
	       text_of(keep, "node"));
	if (!strcmp(text_of(lose, "role"), "primary"))
		printf("  %s is primary: end what uses it and make it secondary first\n",
		       text_of(lose, "node"));
	printf("  %s loses what it has written alone, %s: saved in a file on %s first\n",
	       text_of(lose, "node"), losses(lose, how_much), text_of(lose, "node"));
	if (!tells_losses(lose))
		printf("  but the repl-agent here is of an older release, and may save less: restart it, then look again\n");
}

static void print_split(const struct resolve *r, const json_t *split)
{
	const char *common = text_of(split, "common");

	printf("%s: split: both copies were written alone since they last were equal%s%.*s%s\n",
	       r->volume, *common ? " (generation " : "", SHORT_ID, common, *common ? ")" : "");
	print_table(split);
	puts("Blocks that were in doubt after a crash count as changed. What one node had sent, and the other "
	     "had not\nput to use, the other one knows of: so either may lose what both know of together.");
}

/* Why there is nothing to resolve, in the agent's words. */
static int no_split(const struct resolve *r, const json_t *v)
{
	json_t *peer;
	size_t i;

	if (!v)
		return ctl_complain("%s: is not up on this node; bring it up with repl-ctl up %s",
				    r->volume, r->volume);
	json_array_foreach(json_object_get(v, "peers"), i, peer)
		printf("%s: no split is known with %s: %s\n", r->volume, text_of(peer, "name"),
		       text_of(peer, "reason"));
	return r->keep ? ctl_complain("%s: nothing to resolve", r->volume) : CTL_DONE;
}

/* -- deciding -------------------------------------------------------------- */

static bool confirmed(const struct resolve *r, const json_t *keep, const json_t *lose)
{
	char line[16] = "", how_much[LOSES_MAX];

	if (r->yes)
		return true;
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
		ctl_complain("%s: nothing is changed: there is no terminal to ask at; say --yes", r->volume);
		return false;
	}
	fflush(stdout);
	fprintf(stderr, "%s is kept. What %s has written alone, %s, %s. Go on? [yes/no] ",
		text_of(keep, "node"), text_of(lose, "node"),
		losses(lose, how_much),
		r->no_save ? "is LOST, nothing is saved" : "is saved in a file on it and then overwritten");
	if (fgets(line, sizeof(line), stdin) && !strcmp(line, "yes\n"))
		return true;
	ctl_complain("%s: nothing is changed", r->volume);
	return false;
}

static void show_progress(void *arg, const char *text)
{
	const struct resolve *r = arg;

	if (r->ctl->progress)
		fprintf(stderr, "\r\033[K%s: %s", r->volume, text);
}

static int decide(const struct resolve *r, const json_t *keep, const json_t *lose)
{
	json_t *answer;
	int ret;

	if (!strcmp(text_of(lose, "role"), "primary"))
		return ctl_complain("%s: %s is primary, and its copy would go: end what uses it and make it secondary (there: repl-ctl secondary %s), then look again",
				    r->volume, text_of(lose, "node"), r->volume);
	if (!tells_losses(lose) && !r->no_save)
		return ctl_complain("%s: nothing is changed: the repl-agent here is of an older release, which may save less than is lost: restart it, then look again",
				    r->volume);
	if (!confirmed(r, keep, lose))
		return CTL_FAILED;
	ret = ask(r, json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:s}", "cmd", "resolve", "volume",
			       r->volume, "keep", r->keep, "keep_generation",
			       text_of(keep, "generation"), "discard_generation",
			       text_of(lose, "generation"), "no_save", r->no_save, "save_to",
			       r->save_to ? r->save_to : ""), show_progress, &answer);
	if (r->ctl->progress)
		fputs("\r\033[K", stderr);
	if (ret)
		return ret;
	if (json_is_true(json_object_get(answer, "ok"))) {
		printf("%s\n", text_of(answer, "text"));
		printf("to wait until both are equal: repl-ctl wait %s --for in-sync\n", r->volume);
	} else {
		ret = ctl_complain("%s", text_of(answer, "text"));
	}
	json_decref(answer);
	return ret;
}

/* One of the two is kept, by its name. */
static int resolve(const struct resolve *r, const json_t *split)
{
	for (unsigned int n = 0; n < 2; n++)
		if (!strcmp(text_of(side(split, n), "node"), r->keep))
			return decide(r, side(split, n), side(split, !n));
	return ctl_complain("%s: %s is neither %s nor %s", r->volume, r->keep,
			    text_of(side(split, 0), "node"), text_of(side(split, 1), "node"));
}

/* The split that is meant; NULL: none, or several (then it was said). */
static const json_t *choose(const struct resolve *r, const json_t *v, unsigned int *count)
{
	const json_t *found = NULL, *split;
	json_t *peer;
	size_t i;

	*count = 0;
	json_array_foreach(json_object_get(v, "peers"), i, peer) {
		split = json_object_get(peer, "split");
		if (!json_is_object(split))
			continue;
		if (r->keep && !strcmp(r->keep, text_of(side(split, 1), "node"))) {
			*count = 1;
			return split;
		}
		(*count)++;
		found = split;
	}
	return found;
}

static int show_all(const struct resolve *r, const json_t *v)
{
	json_t *peer;
	size_t i;

	json_array_foreach(json_object_get(v, "peers"), i, peer) {
		const json_t *split = json_object_get(peer, "split");

		if (!json_is_object(split))
			continue;
		print_split(r, split);
		print_way(r, side(split, 0), side(split, 1));
		print_way(r, side(split, 1), side(split, 0));
	}
	return CTL_DONE;
}

static int run(struct resolve *r)
{
	json_t *request = json_pack("{s:s, s:s}", "cmd", "status", "volume", r->volume);
	const json_t *v, *split;
	unsigned int count;
	int ret = ask(r, request, NULL, &r->status);

	if (ret)
		return ret;
	v = volume(r);
	split = choose(r, v, &count);
	if (!split)
		ret = no_split(r, v);
	else if (!r->keep)
		ret = show_all(r, v);
	else if (count > 1)
		ret = ctl_complain("%s: it is split with %u nodes: run this on each whose copy shall go",
				   r->volume, count);
	if (split && r->keep && count == 1) {
		print_split(r, split);
		ret = resolve(r, split);
	}
	json_decref(r->status);
	return ret;
}

/* -- the command line ------------------------------------------------------ */

static int parse(struct resolve *r, int argc, char **argv)
{
	static const struct option table[] = {
		{ "keep", required_argument, NULL, 'k' },
		{ "save-to", required_argument, NULL, 's' },
		{ "no-save", no_argument, NULL, 'n' },
		{ "force", no_argument, NULL, 'f' },
		{ "yes", no_argument, NULL, 'y' },
		{}
	};
	int id;

	while ((id = getopt_long(argc, argv, ":", table, NULL)) >= 0) {
		if (id == 'k')
			r->keep = optarg;
		else if (id == 's')
			r->save_to = optarg;
		else if (id == 'n')
			r->no_save = true;
		else if (id == 'f')
			r->force = true;
		else if (id == 'y')
			r->yes = true;
		else
			return ctl_misuse(r->ctl, id == ':' ? "%s needs a value" : "unknown option %s",
					  argv[optind - 1]);
	}
	if (argc - optind != 1)
		return ctl_misuse(r->ctl, "exactly one volume is expected");
	r->volume = argv[optind];
	if (!r->keep && (r->save_to || r->no_save || r->force || r->yes))
		return ctl_misuse(r->ctl, "--keep is missing: whose copy shall stay?");
	if (r->no_save && r->save_to)
		return ctl_misuse(r->ctl, "--save-to and --no-save exclude each other");
	if (r->no_save != r->force)
		return ctl_misuse(r->ctl, r->no_save ?
				  "--no-save loses what one side has written alone: it needs --force, too" :
				  "--force is only for --no-save");
	return CTL_DONE;
}

/* The agent's working directory is another one, and what is not there yet it makes. */
static char *absolute_path(const char *path)
{
	char *real = realpath(path, NULL), *cwd;

	if (real || errno != ENOENT)
		return real;
	cwd = getcwd(NULL, 0);
	if (!cwd || asprintf(&real, "%s/%s", cwd, path) < 0)
		real = NULL;
	free(cwd);
	return real;
}

int ctl_resolve(const struct ctl *ctl, int argc, char **argv)
{
	struct resolve r = { .ctl = ctl };
	char *absolute = NULL;
	int ret = parse(&r, argc, argv);

	if (ret)
		return ret;
	if (r.save_to && *r.save_to != '/') {
		absolute = absolute_path(r.save_to);
		if (!absolute)
			return ctl_complain("%s: %m", r.save_to);
		r.save_to = absolute;
	}
	ret = run(&r);
	free(absolute);
	return ret;
}
