// SPDX-License-Identifier: GPL-2.0-or-later
/* repl-ctl status, check: what there is, how it is, what to do about it. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libsmartcols.h>

#include "cluster.h"
#include "ctl.h"
#include "explain.h"
#include "id.h"
#include "report.h"
#include "units.h"
#include "view.h"

/* -- tables ---------------------------------------------------------------- */

enum column { COL_PEER, COL_STATE, COL_BEHIND, COL_IN_FLIGHT, COL_SINCE, COL_AGE, COL_COUNT };

static const char *state_colour(enum view_state state)
{
	return state == VIEW_LIVE ? "green" : state == VIEW_DISCONNECTED ? "red" : "yellow";
}

static bool any_rolling(const struct view_volume *vol)
{
	for (size_t i = 0; i < vol->peer_count; i++)
		if (vol->peer[i].rolling.known)
			return true;
	return false;
}

static int add_line(struct libscols_table *table, const struct view_volume *vol, const struct view_peer *p)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	const struct kernel_slot *s = p->slot;
	char text[UNITS_TEXT_MAX];
	int ret;

	if (!line)
		return -ENOMEM;
	ret = scols_line_set_data(line, COL_PEER, p->name);
	ret |= scols_line_set_data(line, COL_STATE, view_state_word(p->state));
	ret |= scols_cell_set_color(scols_line_get_cell(line, COL_STATE), state_colour(p->state));
	ret |= scols_line_set_data(line, COL_BEHIND, !s ? "everything" :
				   units_format_bytes((uint64_t)explain_behind(vol, p), text));
	ret |= scols_line_set_data(line, COL_IN_FLIGHT, !s || s->link != REPL_LINK_LIVE ? "-" :
				   units_format_bytes(s->in_flight_bytes, text));
	ret |= scols_line_set_data(line, COL_SINCE, !s ? "-" :
				   units_format_duration(s->link_age_ms, text));
	/* That column is there only where a peer is rolling. */
	if (any_rolling(vol))
		ret |= scols_line_set_data(line, COL_AGE, p->rolling.age_ms < 0 || !p->rolling.known ? "-" :
					   units_format_duration(p->rolling.age_ms, text));
	return ret ? -ENOMEM : 0;
}

static int fill_table(struct libscols_table *table, const struct view_volume *vol)
{
	static const struct {
		const char *name;
		int flags;
	} columns[COL_COUNT] = {
		[COL_PEER] = { "PEER", 0 },
		[COL_STATE] = { "STATE", 0 },
		[COL_BEHIND] = { "BEHIND", SCOLS_FL_RIGHT },
		[COL_IN_FLIGHT] = { "IN FLIGHT", SCOLS_FL_RIGHT },
		[COL_SINCE] = { "SINCE", SCOLS_FL_RIGHT },
		[COL_AGE] = { "AGE", SCOLS_FL_RIGHT },
	};
	int ret = 0, count = any_rolling(vol) ? COL_COUNT : COL_AGE;

	for (int i = 0; i < count; i++) {
		if (!scols_table_new_column(table, columns[i].name, 0, columns[i].flags))
			return -ENOMEM;
	}
	for (size_t i = 0; i < vol->peer_count && !ret; i++)
		ret = add_line(table, vol, &vol->peer[i]);
	return ret;
}

/* The library cannot indent. */
static void print_indented(char *text)
{
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		printf("  %s\n", line);
}

static int print_peers(const struct ctl *ctl, const struct view_volume *vol)
{
	struct libscols_table *table;
	char *text = NULL;
	int ret;

	if (!vol->peer_count)
		return 0;
	table = scols_new_table();
	if (!table)
		return -ENOMEM;
	scols_table_enable_colors(table, ctl->colour);
	ret = fill_table(table, vol);
	if (!ret && scols_print_table_to_string(table, &text))
		ret = -ENOMEM;
	if (!ret)
		print_indented(text);
	free(text);
	scols_unref_table(table);
	return ret;
}

/* -- text ------------------------------------------------------------------ */

static const char *health_escape(enum view_health health)
{
	return health == VIEW_HEALTHY ? "\033[32m" : health == VIEW_DEGRADED ? "\033[33m" : "\033[31m";
}

static void print_details(const struct kernel_volume *k)
{
	char size[UNITS_TEXT_MAX], id[ID_TEXT_MAX], gate[64], age[UNITS_TEXT_MAX];

	printf("  %s on %s", units_format_bytes(k->size, size), k->backing);
	if (!id_is_zero(&k->generation))
		printf(", generation %.8s", id_format(&k->generation, id));
	if (explain_begun(k->sb_flags))
		printf(" (begun with --%s)", explain_begun(k->sb_flags));
	if (k->openers)
		printf(", open %u time%s", k->openers, k->openers == 1 ? "" : "s");
	if (k->gate)
		printf(", frozen for %s (%s)", units_format_duration(k->gate_age_ms, age),
		       explain_gate(k->gate, gate, sizeof(gate)));
	printf("\n");
}

static void print_arbiter(const struct view_arbiter *a)
{
	char age[UNITS_TEXT_MAX];

	if (!a->known)
		return;
	printf("  arbiter %s: ", a->is);
	if (a->waits[0])
		printf("%s\n", a->waits);
	else if (a->answer_age_ms < 0)
		printf("not asked since the agent started\n");
	else
		printf("%s, %s ago%s%s\n", a->answer, units_format_duration((uint64_t)a->answer_age_ms, age),
		       a->said[0] ? ": " : "", a->said);
}

static void print_staged(const json_t *staged)
{
	const char *state = json_string_value(json_object_get(staged, "state"));
	const char *reason = json_string_value(json_object_get(staged, "reason"));
	char bytes[UNITS_TEXT_MAX], limit[UNITS_TEXT_MAX];

	if (!state)
		return;
	printf("  staged: %s, %s of at most %s%s%s\n", state,
	       units_format_bytes((uint64_t)json_integer_value(json_object_get(staged, "bytes")), bytes),
	       units_format_bytes((uint64_t)json_integer_value(json_object_get(staged, "limit_bytes")), limit),
	       reason ? ": " : "", reason ? reason : "");
}

static void print_caught_up(const struct view_peer *p)
{
	const struct view_caught_up *c = &p->caught_up;
	char sent[UNITS_TEXT_MAX], zeroes[UNITS_TEXT_MAX];
	char compared[UNITS_TEXT_MAX], equal[UNITS_TEXT_MAX];

	if (!c->known)
		return;
	printf("  %s, last catching up: %s and %s of zeroes moved", p->name,
	       units_format_bytes(c->bytes, sent), units_format_bytes(c->zero_bytes, zeroes));
	if (c->compared_bytes)
		printf("; %s compared, %s of it equal", units_format_bytes(c->compared_bytes, compared),
		       units_format_bytes(c->equal_bytes, equal));
	printf("\n");
}

static void print_rolling(const struct view_volume *vol, const struct view_peer *p)
{
	const struct view_rolling *r = &p->rolling;
	char each[UNITS_TEXT_MAX], age[UNITS_TEXT_MAX], worst[UNITS_TEXT_MAX], behind[UNITS_TEXT_MAX];

	if (!r->known)
		return;
	units_format_duration(r->interval_ms, each);
	printf("  %s, rolling each %s", p->name, each);
	if (r->age_ms < 0) {
		printf("%s%s\n", p->state == VIEW_LIVE && p->reason[0] ? ": " : "", p->state == VIEW_LIVE ? p->reason : "");
		return;
	}
	printf(": its copy is ");
	if (explain_epoch(vol, p) >= 0)
		printf("epoch %lld, ", (long long)explain_epoch(vol, p));
	printf("%s old; %s at worst in the last hour; it lacks %s", units_format_duration(r->age_ms, age),
	       units_format_duration(r->worst_ms, worst),
	       units_format_bytes((uint64_t)explain_behind(vol, p), behind));
	if (r->policy[0] && r->bound_ms > 0)
		printf("; %s at %s", r->policy, units_format_duration((uint64_t)r->bound_ms, age));
	if (r->held_percent)
		printf(", writes wait for %u %% of the time", r->held_percent);
	printf("\n");
}

static void print_verify(const struct view_peer *p)
{
	const json_t *age = json_object_get(p->verify, "age_ms");
	const json_t *percent = json_object_get(p->verify, "percent");
	char equal[UNITS_TEXT_MAX], differ[UNITS_TEXT_MAX], missed[UNITS_TEXT_MAX], when[UNITS_TEXT_MAX];

	if (json_is_number(percent))
		printf("  %s, comparing: %.0f %%\n", p->name, json_number_value(percent));
	if (!json_is_number(age))
		return;
	units_format_bytes(json_number_value(json_object_get(p->verify, "equal_bytes")), equal);
	units_format_bytes(json_number_value(json_object_get(p->verify, "differ_bytes")), differ);
	units_format_bytes(json_number_value(json_object_get(p->verify, "not_compared_bytes")), missed);
	printf("  %s, compared %s ago: %s equal, %s differ, %s not compared\n", p->name,
	       units_format_duration(json_number_value(age), when), equal, differ, missed);
}

static int print_volume(const struct ctl *ctl, const struct view_volume *vol, bool only)
{
	const struct kernel_volume *k = vol->kernel;
	int ret = 0;

	printf("%s", vol->name);
	if (k)
		printf("  /dev/repl%u  %s", k->minor, report_role(k));
	printf("  %s%s%s\n", ctl->colour ? health_escape(vol->health) : "",
	       view_health_word(vol->health), ctl->colour ? "\033[m" : "");
	if (k) {
		print_details(k);
		print_arbiter(&vol->arbiter);
		ret = print_peers(ctl, vol);
	}
	if (only)
		print_staged(vol->staged);
	for (size_t i = 0; only && i < vol->peer_count; i++) {
		print_caught_up(&vol->peer[i]);
		print_rolling(vol, &vol->peer[i]);
		print_verify(&vol->peer[i]);
	}
	for (size_t i = 0; i < vol->finding_count; i++)
		printf("  why:  %s\n  next: %s\n", vol->finding[i].reason, vol->finding[i].next);
	return ret;
}

/* What concerns no volume alone. */
static void print_notes(const struct view *v)
{
	fflush(stdout);
	if (!v->config_good)
		fprintf(stderr, "repl-ctl: %s (repl-agent --check tells all that is wrong)\n",
			v->config_problem);
	if (v->agent == VIEW_AGENT_UNKNOWN || v->agent == VIEW_AGENT_SILENT)
		fprintf(stderr, "repl-ctl: without what the agent knows: %s\n", v->agent_problem);
}

static int print_text(const struct ctl *ctl, const struct view *v, bool only)
{
	for (size_t i = 0; i < v->count; i++) {
		if (i)
			putchar('\n');
		if (print_volume(ctl, &v->volume[i], only))
			return ctl_complain("out of memory");
	}
	print_notes(v);
	return CTL_DONE;
}

static int print_json(const struct view *v)
{
	json_t *root = report_view(v);
	int ret;

	if (!root)
		return ctl_complain("out of memory");
	ret = json_dumpf(root, stdout, JSON_INDENT(2));
	json_decref(root);
	putchar('\n');
	return ret ? ctl_complain("standard output: cannot write") : CTL_DONE;
}

/* -- commands -------------------------------------------------------------- */

struct options {
	const char *only;
	bool json;
	bool check;
	bool all_nodes;
};

/*
 * A monitoring check that finds nothing to look at must not say that all is well; nor one of all
 * volumes, as long as a file has a mistake: whose that is may not even be among them.
 */
static int check_code(const struct view *v, const char *only)
{
	enum view_health worst = v->config_good || only ? VIEW_HEALTHY : VIEW_DEGRADED;

	if (!v->count && !v->config_good)
		return CTL_DOWN;
	for (size_t i = 0; i < v->count; i++) {
		if (v->volume[i].health > worst)
			worst = v->volume[i].health;
	}
	return worst == VIEW_HEALTHY ? CTL_DONE : worst == VIEW_DEGRADED ? CTL_DEGRADED : CTL_DOWN;
}

static int show(const struct ctl *ctl, const struct options *o, const struct view *v)
{
	int ret;

	if (o->only && !v->count) {
		print_notes(v);
		ctl_complain("%s: no such volume is configured or up here%s%s", o->only,
			     v->module ? "" : "; ", v->module_problem);
		return o->check ? CTL_DOWN : CTL_FAILED;
	}
	if (!v->count && !o->json)
		printf("no volumes\n");
	ret = o->json ? print_json(v) : print_text(ctl, v, o->only);
	return !ret && o->check ? check_code(v, o->only) : ret;
}

static int run(const struct ctl *ctl, const struct options *o)
{
	struct view *v;
	int ret;

	if (o->all_nodes)
		return cluster_status(ctl, o->only, o->json, o->check);
	v = malloc(sizeof(*v));
	if (!v || view_open(v, ctl->config_dir, o->only)) {
		free(v);
		return ctl_complain("out of memory");
	}
	ret = show(ctl, o, v);
	view_close(v);
	free(v);
	return ret;
}

static int parse(const struct ctl *ctl, int argc, char **argv, struct options *o)
{
	static const struct option table[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "check", no_argument, NULL, 'c' },
		{ "all-nodes", no_argument, NULL, 'a' },
		{}
	};
	int id;

	while ((id = getopt_long(argc, argv, ":", table, NULL)) >= 0) {
		if (id == 'j')
			o->json = true;
		else if (id == 'c')
			o->check = true;
		else if (id == 'a')
			o->all_nodes = true;
		else
			return ctl_misuse(ctl, "unknown option %s", argv[optind - 1]);
	}
	if (argc - optind > 1)
		return ctl_misuse(ctl, "at most one volume is expected");
	o->only = argv[optind];
	return CTL_DONE;
}

int ctl_status(const struct ctl *ctl, int argc, char **argv)
{
	struct options o = {};
	int ret = parse(ctl, argc, argv, &o);

	return ret ? ret : run(ctl, &o);
}

int ctl_check(const struct ctl *ctl, int argc, char **argv)
{
	struct options o = { .check = true };
	int ret = parse(ctl, argc, argv, &o);

	return ret ? ret : run(ctl, &o);
}
