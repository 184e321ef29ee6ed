// SPDX-License-Identifier: GPL-2.0-or-later
#include "marks.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "ctl.h"
#include "id.h"
#include "units.h"

enum { TICKET_MS = 60000 };

const struct kernel_slot *marks_find(const struct kernel_volume *v, const char *name,
				     enum mark_state state)
{
	uint8_t key[REPL_KEY_BYTES];

	mark_pack(name, state, key);
	for (unsigned int i = 0; i < v->slot_count; i++)
		if (v->slot[i].kind == REPL_SLOT_MARK && !memcmp(v->slot[i].key, key, sizeof(key)))
			return &v->slot[i];
	return NULL;
}

int marks_lock(const struct kernel_volume *v, struct err *e)
{
	char path[64];
	int fd;

	/* Minors are the whole machine's, whatever the namespace. */
	snprintf(path, sizeof(path), "/run/repl-marks.%u.lock", v->minor);
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, errno, "%s: %s: marks are changed by root only", path, strerror(errno));
	while (flock(fd, LOCK_EX))
		if (errno != EINTR)
			break;
	return fd;
}

static int set(struct kernel *k, const struct kernel_volume *v, uint8_t slot,
	       enum repl_slot_kind kind, const uint8_t key[REPL_KEY_BYTES], const struct repl_id *id,
	       struct err *e)
{
	int ticket = kernel_slot_set(k, v->minor, slot, kind, key, id, e);

	return kernel_ticket_wait(ticket, TICKET_MS, e);
}

int marks_new(struct kernel *k, const struct kernel_volume *v, const char *name,
	      enum mark_state state, const struct repl_id *id, struct err *e)
{
	uint8_t key[REPL_KEY_BYTES];
	uint32_t used = 0;
	int ret;

	mark_pack(name, state, key);
	for (unsigned int i = 0; i < v->slot_count; i++)
		used |= 1u << v->slot[i].index;
	/* The agent begins at the other end. */
	for (int slot = v->slots - 1; slot >= 0; slot--) {
		if (used & 1u << slot)
			continue;
		ret = set(k, v, (uint8_t)slot, REPL_SLOT_MARK, key, id, e);
		if (ret != -EEXIST)
			return ret ? ret : slot;
	}
	return err_set(e, ENOSPC, "all %u slots are in use, and a mark needs one: remove a mark "
		       "(repl-ctl mark list %s)", v->slots, v->name);
}

int marks_rename(struct kernel *k, const struct kernel_volume *v, uint8_t slot, const char *name,
		 enum mark_state state, const struct repl_id *id, struct err *e)
{
	uint8_t key[REPL_KEY_BYTES];

	mark_pack(name, state, key);
	return set(k, v, slot, REPL_SLOT_MARK, key, id, e);
}

int marks_free(struct kernel *k, const struct kernel_volume *v, uint8_t slot, const char *name,
	       enum mark_state state, struct err *e)
{
	uint8_t key[REPL_KEY_BYTES];

	mark_pack(name, state, key);
	return set(k, v, slot, REPL_SLOT_FREE, key, NULL, e);
}

int marks_sweep(struct kernel *k, struct kernel_volume *v, struct err *e)
{
	char name[MARK_NAME_MAX];
	enum mark_state state;
	bool freed = false;
	int ret = 0;

	for (unsigned int i = 0; i < v->slot_count && !ret; i++) {
		const struct kernel_slot *s = &v->slot[i];

		if (s->kind != REPL_SLOT_MARK || s->cut || !mark_unpack(s->key, name, &state) ||
		    state != MARK_WRITING)
			continue;
		ret = marks_free(k, v, s->index, name, state, e);
		freed = true;
	}
	return ret || !freed ? ret : kernel_get_minor(k, v->minor, v, e);
}

/* -- the commands ---------------------------------------------------------- */

struct marks {
	const struct ctl *ctl;
	struct kernel *k;
	struct kernel_volume v;
	const char *name;
	bool json;
};

static int complain(const struct marks *m, const struct err *e)
{
	return ctl_complain("%s: %s: %s", m->v.name, m->name, e->text);
}

static int add(struct marks *m)
{
	struct err e = { "" };

	if (marks_find(&m->v, m->name, MARK_READY))
		return ctl_complain("%s: there is a mark %s already: repl-ctl mark list %s", m->v.name,
				    m->name, m->v.name);
	if (marks_new(m->k, &m->v, m->name, MARK_READY, NULL, &e) < 0)
		return complain(m, &e);
	printf("%s: the mark %s is there, and stands for no stream yet: repl-ctl backup %s --mark %s --output FILE\n",
	       m->v.name, m->name, m->v.name, m->name);
	return CTL_DONE;
}

static int remove_mark(struct marks *m)
{
	struct err e = { "" };
	bool any = false;

	for (enum mark_state state = 0; state < MARK_STATES; state++) {
		const struct kernel_slot *s = marks_find(&m->v, m->name, state);

		if (!s)
			continue;
		any = true;
		if (marks_free(m->k, &m->v, s->index, m->name, state, &e))
			return complain(m, &e);
	}
	if (!any)
		return ctl_complain("%s: there is no mark %s: repl-ctl mark list %s", m->v.name, m->name,
				    m->v.name);
	printf("%s: the mark %s is gone\n", m->v.name, m->name);
	return CTL_DONE;
}

static int commit(struct marks *m)
{
	const struct kernel_slot *s = marks_find(&m->v, m->name, MARK_PENDING);
	char id[ID_TEXT_MAX];
	struct err e = { "" };

	if (!s)
		return ctl_complain("%s: no stream waits for mark %s to be committed: repl-ctl mark list %s",
				    m->v.name, m->name, m->v.name);
	if (marks_rename(m->k, &m->v, s->index, m->name, MARK_READY, &s->copy_id, &e))
		return complain(m, &e);
	printf("%s: the mark %s stands for stream %s now\n", m->v.name, m->name,
	       id_format(&s->copy_id, id));
	return CTL_DONE;
}

static const char *state_word(const struct kernel_slot *s, enum mark_state state)
{
	if (state == MARK_WRITING)
		return s->cut ? "being written" : "abandoned";
	if (state == MARK_PENDING)
		return "not committed";
	return id_is_zero(&s->copy_id) ? "no stream yet" : "ready";
}

static int print_json(const struct marks *m)
{
	json_t *all = json_array();
	int ret;

	for (unsigned int i = 0; i < m->v.slot_count; i++) {
		const struct kernel_slot *s = &m->v.slot[i];
		char name[MARK_NAME_MAX], id[ID_TEXT_MAX];
		enum mark_state state;

		if (s->kind != REPL_SLOT_MARK || !mark_unpack(s->key, name, &state))
			continue;
		json_array_append_new(all, json_pack("{s:s, s:s, s:s?, s:I, s:b, s:i}", "name", name, "state",
						     state_word(s, state), "stream",
						     id_is_zero(&s->copy_id) ? NULL : id_format(&s->copy_id, id),
						     "changed_bytes",
						     (json_int_t)(s->dirty_blocks << REPL_BLOCK_SHIFT),
						     "read", s->cut, "slot", s->index));
	}
	all = json_pack("{s:s, s:o}", "volume", m->v.name, "marks", all);
	ret = all ? json_dumpf(all, stdout, JSON_COMPACT) : -1;
	json_decref(all);
	if (ret)
		return ctl_complain("%s: out of memory", m->v.name);
	putchar('\n');
	return CTL_DONE;
}

static bool add_line(struct libscols_table *table, const struct kernel_slot *s)
{
	struct libscols_line *line;
	char name[MARK_NAME_MAX], id[ID_TEXT_MAX] = "-", changed[UNITS_TEXT_MAX];
	enum mark_state state;

	if (s->kind != REPL_SLOT_MARK || !mark_unpack(s->key, name, &state))
		return true;
	line = scols_table_new_line(table, NULL);
	if (!id_is_zero(&s->copy_id))
		id_format(&s->copy_id, id);
	units_format_bytes(s->dirty_blocks << REPL_BLOCK_SHIFT, changed);
	return line && !scols_line_set_data(line, 0, name) &&
	       !scols_line_set_data(line, 1, state_word(s, state)) &&
	       !scols_line_set_data(line, 2, changed) && !scols_line_set_data(line, 3, id);
}

static int list(struct marks *m)
{
	static const char *const heads[] = { "MARK", "STATE", "CHANGED SINCE", "STREAM" };
	struct libscols_table *table;
	bool good;

	if (m->json)
		return print_json(m);
	scols_init_debug(0);
	table = scols_new_table();
	good = table;
	for (unsigned int i = 0; good && i < 4; i++)
		good = scols_table_new_column(table, heads[i], 0, 0);
	for (unsigned int i = 0; good && i < m->v.slot_count; i++)
		good = add_line(table, &m->v.slot[i]);
	if (good && scols_table_get_nlines(table))
		good = !scols_print_table(table);
	else if (good)
		printf("%s: no marks\n", m->v.name);
	scols_unref_table(table);
	return good ? CTL_DONE : ctl_complain("%s: out of memory", m->v.name);
}

static const struct {
	const char *name;
	int (*run)(struct marks *m);
	bool changes;
} commands[] = {
	{ "add", add, true },
	{ "list", list, false },
	{ "remove", remove_mark, true },
	{ "commit", commit, true },
	{}
};

static int run(struct marks *m, unsigned int command, const char *volume)
{
	struct err e = { "" };
	int lock = -1, ret;

	if (kernel_open(&m->k, &e))
		return ctl_complain("%s: %s", volume, e.text);
	ret = kernel_get(m->k, volume, &m->v, &e);
	if (!ret && commands[command].changes) {
		lock = marks_lock(&m->v, &e);
		ret = lock < 0 ? lock : kernel_get(m->k, volume, &m->v, &e);
	}
	if (ret)
		ret = ctl_complain("%s: %s", volume, e.text);
	else
		ret = commands[command].run(m);
	if (lock >= 0)
		close(lock);
	kernel_close(m->k);
	return ret;
}

int ctl_mark(const struct ctl *ctl, int argc, char **argv)
{
	struct marks m = { .ctl = ctl };
	const char *word[3] = { NULL };
	unsigned int words = 0, command = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			m.json = true;
		else if (argv[i][0] == '-')
			return ctl_misuse(ctl, "unknown option %s", argv[i]);
		else if (words < 3)
			word[words++] = argv[i];
		else
			return ctl_misuse(ctl, "%s is too much", argv[i]);
	}
	while (words && commands[command].name && strcmp(commands[command].name, word[0]))
		command++;
	if (!words || !commands[command].name)
		return ctl_misuse(ctl, "add, list, remove or commit is expected");
	if (words != (commands[command].changes ? 3u : 2u))
		return ctl_misuse(ctl, commands[command].changes ? "name a volume and a mark"
								 : "exactly one volume is expected");
	if (m.json && commands[command].changes)
		return ctl_misuse(ctl, "--json goes with list");
	if (commands[command].run == add && !strcmp(word[2], MARK_VERIFY))
		return ctl_complain("%s: the name %s is what repl-ctl verify keeps its mark under: take another one",
				    word[1], word[2]);
	if (word[2] && !mark_valid_name(word[2]))
		return ctl_misuse(ctl, "%s: a mark's name has at most %d letters, digits, and . _ - after the first",
				  word[2], MARK_NAME_MAX - 1);
	m.name = word[2];
	return run(&m, command, word[1]);
}
