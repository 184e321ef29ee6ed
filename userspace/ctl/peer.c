// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * repl-ctl peer: one more copy of a volume on another node, or one less, while it is in use.
 *
 * The file comes first: an agent that dies between the two steps comes up with what the file
 * says.  What the agent refuses is taken back.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "agent.h"
#include "config.h"
#include "ctl.h"
#include "edit.h"
#include "err.h"

struct peering {
	const struct ctl *ctl;
	const char *volume;
	const char *node;
	const char *mode;	/* NULL: it goes */
	bool insists;		/* on that mode: it was said */
	bool force;
	char path[PATH_MAX];	/* of the volume's file */
};

static void keep_first(void *arg, const char *text)
{
	struct err *e = arg;

	if (!e->text[0])
		snprintf(e->text, sizeof(e->text), "%s", text);
}

/* Only who has an address and a key can be a peer of anything. */
static int check_known(const struct peering *p)
{
	struct config_agent *a = malloc(sizeof(*a));
	struct err e = { "" };
	int ret = CTL_DONE;

	if (!a)
		return ctl_complain("out of memory");
	if (config_load_agent(p->ctl->config_dir, a, keep_first, &e))
		ret = ctl_complain("%s: %s", p->volume, e.text);
	else if (!strcmp(a->name, p->node))
		ret = ctl_complain("%s: %s is this node: name the one that shall have another copy", p->volume,
				   p->node);
	else if (!config_find_peer(a, p->node))
		ret = ctl_complain("%s: %s has no section in %s; add [peer \"%s\"] with its address and public-key "
				   "there", p->volume, p->node, a->path, p->node);
	free(a);
	return ret;
}

/* Return: CTL_DONE, or CTL_FAILED after it was said why not. */
static int ask(const struct peering *p)
{
	json_t *request = json_pack("{s:s, s:s, s:s, s:b}", "cmd", p->mode ? "peer-add" : "peer-remove",
				    "volume", p->volume, "node", p->node, "force", p->force);
	size_t length = strlen(p->volume);
	const char *text;
	json_t *answer;
	struct err e;
	int ret;

	if (!request)
		return ctl_complain("%s: this is no text that can be sent as a name", p->node);
	ret = agent_ask(p->ctl->config_dir, request, 0, NULL, NULL, &answer, &e);
	json_decref(request);
	if (ret)
		return ctl_complain("%s: %s", p->volume, e.text);
	text = json_string_value(json_object_get(answer, "text"));
	if (text && !strncmp(text, p->volume, length) && !strncmp(text + length, ": ", 2))
		text += length + 2;
	if (!json_is_true(json_object_get(answer, "ok")))
		ret = ctl_complain("%s: %s", p->volume, text ? text : "refuses and gives no reason");
	else
		printf("%s: %s\n", p->volume, text ? text : "done");
	json_decref(answer);
	return ret;
}

/* The agent goes by the file, and would say that all is done. */
static int check_mode(const struct peering *p)
{
	struct config *c = malloc(sizeof(*c));
	const struct config_volume *v;
	int ret = CTL_DONE;

	if (!c || config_load(p->ctl->config_dir, c, NULL, NULL) == -ENOMEM) {
		free(c);
		return ctl_complain("out of memory");
	}
	v = config_find_volume(c, p->volume);
	for (size_t i = 0; v && i < v->peer_count; i++) {
		const char *mode = v->peer[i].mode == CONFIG_MODE_ROLLING ? "rolling" : "sync";

		if (!strcmp(v->peer[i].name, p->node) && strcmp(mode, p->mode))
			ret = ctl_complain("%s: %s is a peer already, and its file says mode = %s: change it there (%s:%u), "
					   "then repl-ctl reload", p->volume, p->node, mode, p->path, v->peer[i].line);
	}
	config_free(c);
	free(c);
	return ret;
}

static int take_back(const struct peering *p, const char *old)
{
	struct err e;

	if (old && edit_restore(p->path, old, &e))
		return ctl_complain("%s: %s; correct it: it %s %s now, and the agent has refused that", p->volume,
				    e.text, p->mode ? "names" : "does not name", p->node);
	if (old)
		fprintf(stderr, "  %s says what it said before\n", p->path);
	return CTL_FAILED;
}

static int change(struct peering *p)
{
	struct err e = { "" };
	char *old = NULL;
	int ret;

	if (snprintf(p->path, sizeof(p->path), "%s/volumes/%s.conf", p->ctl->config_dir, p->volume) >=
	    (int)sizeof(p->path))
		return ctl_complain("%s: the name of its file is too long", p->volume);
	ret = edit_peer(p->path, p->node, p->mode, &old, &e);
	if (ret && ret != (p->mode ? -EEXIST : -ENOENT))
		return ctl_complain("%s: %s", p->volume, e.text);
	/* What the file says already, the agent may not have been told yet. */
	if (ret)
		old = NULL;
	ret = ret && p->insists ? check_mode(p) : CTL_DONE;
	if (ret)
		return ret;
	ret = ask(p);
	if (ret)
		ret = take_back(p, old);
	free(old);
	return ret;
}

static int parse(struct peering *p, int argc, char **argv)
{
	static const struct option table[] = {
		{ "mode", required_argument, NULL, 'm' },
		{ "force", no_argument, NULL, 'f' },
		{}
	};
	bool adds, removes;
	int id;

	while ((id = getopt_long(argc, argv, ":", table, NULL)) >= 0) {
		if (id == 'm')
			p->mode = optarg;
		else if (id == 'f')
			p->force = true;
		else
			return ctl_misuse(p->ctl, id == ':' ? "%s needs a value" : "unknown option %s",
					  argv[optind - 1]);
	}
	adds = optind < argc && !strcmp(argv[optind], "add");
	removes = optind < argc && !strcmp(argv[optind], "remove");
	if (!adds && !removes)
		return ctl_misuse(p->ctl, "add or remove is expected");
	if (argc - optind != 3)
		return ctl_misuse(p->ctl, "name a volume and a node");
	if (adds ? p->force : !!p->mode)
		return ctl_misuse(p->ctl, adds ? "--force goes with remove" : "--mode goes with add");
	p->volume = argv[optind + 1];
	p->node = argv[optind + 2];
	p->insists = p->mode;
	if (adds && !p->mode)
		p->mode = "sync";
	if (!config_valid_name(p->volume) || !config_valid_name(p->node))
		return ctl_misuse(p->ctl, "%s %s: a name of a volume and one of a node are expected", p->volume,
				  p->node);
	return CTL_DONE;
}

int ctl_peer(const struct ctl *ctl, int argc, char **argv)
{
	struct peering p = { .ctl = ctl };
	int ret = parse(&p, argc, argv);

	if (!ret && p.mode)
		ret = check_known(&p);
	return ret ? ret : change(&p);
}
