// SPDX-License-Identifier: GPL-2.0-or-later
#include "register.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "id.h"
#include "key.h"
#include "record.h"

bool register_ask(struct register_entry *r, const struct repl_id *expect,
		  const struct repl_id *want, const uint8_t node[REPL_KEY_BYTES])
{
	if (id_is_zero(expect) || id_is_zero(want))
		return false;
	if (r->held && id_equal(&r->generation, want) && !memcmp(r->holder, node, REPL_KEY_BYTES))
		return true;
	if (!id_equal(&r->generation, expect))
		return false;
	r->generation = *want;
	r->held = true;
	memcpy(r->holder, node, REPL_KEY_BYTES);
	return true;
}

static int parse(const char *text, const struct repl_id *volume, struct register_entry *r)
{
	char value[KEY_TEXT_MAX + ID_TEXT_MAX];

	*r = (struct register_entry){ 0 };
	if (record_value(text, "volume", value, sizeof(value)) || id_parse(value, &r->volume) ||
	    !id_equal(&r->volume, volume) || record_value(text, "name", r->name, sizeof(r->name)) ||
	    record_value(text, "generation", value, sizeof(value)) ||
	    id_parse(value, &r->generation) || id_is_zero(&r->generation) ||
	    record_value(text, "holder", value, sizeof(value)))
		return -EBADMSG;
	r->held = strcmp(value, "nobody");
	return r->held ? key_decode(value, r->holder) : 0;
}

int register_load(const char *dir, const struct repl_id *volume, struct register_entry *r,
		  struct err *e)
{
	char text[RECORD_MAX], name[ID_TEXT_MAX];
	int ret = record_read(dir, id_format(volume, name), text, e);

	if (ret == -ENOENT)
		return err_set(e, ENOENT, "there is no entry for volume %s", name);
	if (ret)
		return ret;
	if (parse(text, volume, r))
		return err_set(e, EBADMSG, "%s/%s is not the register of this volume", dir, name);
	return 0;
}

int register_store(const char *dir, const struct register_entry *r, struct err *e)
{
	char text[RECORD_MAX], volume[ID_TEXT_MAX], generation[ID_TEXT_MAX], key[KEY_TEXT_MAX];

	id_format(&r->volume, volume);
	snprintf(text, sizeof(text), "volume = %s\nname = %s\ngeneration = %s\nholder = %s\n", volume,
		 r->name, id_format(&r->generation, generation),
		 r->held ? key_encode(r->holder, key) : "nobody");
	return record_write(dir, volume, text, e);
}

int register_remove(const char *dir, const struct repl_id *volume, struct err *e)
{
	char text[RECORD_MAX], name[ID_TEXT_MAX];

	if (record_read(dir, id_format(volume, name), text, e) == -ENOENT)
		return err_set(e, ENOENT, "there is no entry for volume %s", name);
	return record_remove(dir, name, e);
}

int register_each(const char *dir, void (*fn)(void *arg, const struct register_entry *r,
					      const char *why), void *arg, struct err *e)
{
	DIR *d = opendir(dir);
	struct dirent *entry;

	if (!d)
		return errno == ENOENT ? 0 : err_set(e, errno, "%s: %s", dir, strerror(errno));
	while ((entry = readdir(d))) {
		struct register_entry r;
		struct repl_id volume;
		struct err why;

		/* "UUID.new" is one whose writing was cut short. */
		if (id_parse(entry->d_name, &volume))
			continue;
		if (register_load(dir, &volume, &r, &why))
			fn(arg, NULL, why.text);
		else
			fn(arg, &r, NULL);
	}
	closedir(d);
	return 0;
}

const char *register_answer_name(enum register_answer answer)
{
	switch (answer) {
	case REGISTER_GRANTED:
		return "granted";
	case REGISTER_DENIED:
		return "denied";
	case REGISTER_UNKNOWN:
		break;
	}
	return "no answer";
}
