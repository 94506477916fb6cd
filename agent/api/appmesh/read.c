/* SPDX-License-Identifier: Apache-2.0 */
/* Describe and list. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/api/appmesh/call.h"
#include "agent/api/appmesh/page.h"
#include "base/cleanup.h"

int appmesh_describe(struct appmesh_call *call, struct error *err)
{
	const struct appmesh_resource *resource;
	_cleanup_json_ json_t *record = NULL;
	int r = appmesh_get(call, &resource, err);

	if (r < 0)
		return r;
	record = appmesh_record(resource);
	call->answer->body = record ? appmesh_data(call->scope, &call->names, record, "ACTIVE") : NULL;
	return call->answer->body ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static const char *name_at(const void *list, size_t index)
{
	const struct appmesh_resource *const *resources = list;

	return resources[index]->name;
}

int appmesh_list(struct appmesh_call *call, struct error *err)
{
	const struct appmesh_names *names = &call->names;
	const struct appmesh_resource *const *list;
	_cleanup_json_ json_t *refs = json_array();
	struct page page;
	size_t count;
	int r = appmesh_check_parents(call, err);

	if (r < 0)
		return r;
	count = appmesh_children(call->state, call->scope, names->kind, names->mesh, names->parent, &list);
	r = page_begin(call, list, count, name_at, &page, err);
	if (r < 0)
		return r;
	for (size_t i = page.first; i < page.end; i++)
		if (json_array_append_new(refs, appmesh_ref(list[i])))
			return error_set(err, -ENOMEM, "out of memory");
	return page_answer(call, &page, refs, err);
}
