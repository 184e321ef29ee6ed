// SPDX-License-Identifier: GPL-2.0-or-later
/* repl-ctl witness: of which volumes this node is the arbiter. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "agent.h"
#include "ctl.h"
#include "err.h"
#include "id.h"

/* Takes @request. */
static int ask(const struct ctl *ctl, json_t *request, const char *subject, json_t **answer)
{
	const char *text;
	struct err e;
	int ret;

	if (!request)
		return ctl_complain("%s: this is no text that can be sent as a name", subject);
	ret = agent_ask(ctl->config_dir, request, 0, NULL, NULL, answer, &e);
	json_decref(request);
	if (ret)
		return ctl_complain("%s: %s", subject, e.text);
	if (json_is_true(json_object_get(*answer, "ok")))
		return CTL_DONE;
	text = json_string_value(json_object_get(*answer, "text"));
	ret = ctl_complain("%s: %s", subject, text ? text : "refuses and gives no reason");
	json_decref(*answer);
	return ret;
}

static int change(const struct ctl *ctl, json_t *request, const char *subject)
{
	json_t *answer;
	const char *text;
	int ret = ask(ctl, request, subject, &answer);

	if (ret)
		return ret;
	text = json_string_value(json_object_get(answer, "text"));
	if (text)
		printf("%s: %s\n", subject, text);
	json_decref(answer);
	return CTL_DONE;
}

static const char *member(const json_t *entry, const char *key)
{
	const char *text = json_string_value(json_object_get(entry, key));

	return text ? text : "";
}

static int list(const struct ctl *ctl, bool json)
{
	int ret, worst = CTL_DONE;
	json_t *answer, *entries, *entry;
	size_t i;

	ret = ask(ctl, json_pack("{s:s}", "cmd", "witness-list"), "witness", &answer);
	if (ret)
		return ret;
	entries = json_object_get(answer, "witness");
	if (json) {
		json_dumpf(entries, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
		putchar('\n');
	}
	json_array_foreach(entries, i, entry) {
		if (json_object_get(entry, "damaged"))
			worst = ctl_complain("%s", member(entry, "damaged"));
		else if (!json)
			printf("%s  %s  reads %s, held by %s\n", member(entry, "name"), member(entry, "uuid"),
			       member(entry, "generation"), member(entry, "holder"));
	}
	if (!json && !json_array_size(entries))
		printf("this node is a witness for no volume\n");
	json_decref(answer);
	return worst;
}

static int add(const struct ctl *ctl, char **argv, bool force)
{
	struct repl_id uuid, generation;

	if (id_parse(argv[1], &uuid))
		return ctl_misuse(ctl, "%s: a UUID is expected, as repl-ctl status --json shows it on the volume's primary",
				  argv[1]);
	if (id_parse(argv[2], &generation))
		return ctl_misuse(ctl, "%s: a generation is expected, as repl-ctl status --json shows it on the volume's primary",
				  argv[2]);
	return change(ctl, json_pack("{s:s, s:s, s:s, s:s, s:b}", "cmd", "witness-add", "volume", argv[0],
				     "uuid", argv[1], "generation", argv[2], "force", force), argv[0]);
}

int ctl_witness(const struct ctl *ctl, int argc, char **argv)
{
	static const struct option table[] = {
		{ "force", no_argument, NULL, 'f' },
		{ "json", no_argument, NULL, 'j' },
		{}
	};
	bool force = false, json = false;
	const char *what;
	int id, left;

	while ((id = getopt_long(argc, argv, ":", table, NULL)) >= 0) {
		if (id != 'f' && id != 'j')
			return ctl_misuse(ctl, "unknown option %s", argv[optind - 1]);
		force |= id == 'f';
		json |= id == 'j';
	}
	if (optind == argc)
		return ctl_misuse(ctl, "add, remove or list is expected");
	what = argv[optind++];
	left = argc - optind;
	argv += optind;
	if (!strcmp(what, "add") && left == 3 && !json)
		return add(ctl, argv, force);
	if (!strcmp(what, "remove") && left == 1 && !json && !force)
		return change(ctl, json_pack("{s:s, s:s}", "cmd", "witness-remove", "volume", argv[0]), argv[0]);
	if (!strcmp(what, "list") && !left && !force)
		return list(ctl, json);
	return ctl_misuse(ctl, "add VOLUME UUID GENERATION, remove VOLUME or list is expected");
}
