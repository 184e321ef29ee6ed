// SPDX-License-Identifier: GPL-2.0-or-later
#include "chain.h"

#include <errno.h>
#include <inttypes.h>

#include "id.h"

int chain_first(const struct stream_info *i, const char *name, bool more, struct err *e)
{
	char parent[ID_TEXT_MAX];

	if (i->kind == REPL_STREAM_FULL)
		return 0;
	if (!id_is_zero(&i->parent_id))
		return err_set(e, EINVAL, "%s: has only what changed since stream %s: name the full copy, "
			       "and all between, before it", name, id_format(&i->parent_id, parent));
	if (more)
		return err_set(e, EINVAL, "%s: is no full copy, so others cannot be put over it", name);
	return 0;
}

int chain_next(const struct stream_info *before, const char *name_before,
	       const struct stream_info *i, const char *name, struct err *e)
{
	char parent[ID_TEXT_MAX], id[ID_TEXT_MAX];

	if (!id_equal(&i->uuid, &before->uuid))
		return err_set(e, EINVAL, "%s: is of another volume than %s", name, name_before);
	if (i->kind == REPL_STREAM_FULL)
		return err_set(e, EINVAL, "%s: is a full copy: begin with it, and leave out what is before it",
			       name);
	if (!id_equal(&i->parent_id, &before->stream_id))
		return err_set(e, EINVAL, "%s: continues stream %s, but %s is stream %s: one is missing, or "
			       "they are in the wrong order", name, id_format(&i->parent_id, parent),
			       name_before, id_format(&before->stream_id, id));
	if (i->lbs_shift != before->lbs_shift || i->data_size < before->data_size)
		return err_set(e, EINVAL, "%s: is of a volume of %" PRIu64 " bytes, but %s of one of %" PRIu64
			       ": a volume never shrinks", name, i->data_size, name_before,
			       before->data_size);
	return 0;
}
