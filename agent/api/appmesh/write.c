/* SPDX-License-Identifier: Apache-2.0 */
/* Create, update and delete, of every kind. */
#include <errno.h>
#include <string.h>

#include "agent/api/appmesh/call.h"
#include "base/cleanup.h"

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "out of memory");
}

/* The tags of a create request, as a record has them. */
static int take_tags(const struct appmesh_call *call, json_t **ret_tags, struct error *err)
{
	_cleanup_json_ json_t *tags = json_object();
	int r = tags ? appmesh_tags_add(tags, json_object_get(call->input, "tags"), err) : no_memory(err);

	if (r == 0)
		*ret_tags = TAKE_PTR(tags);
	return r;
}

/* What of the change depends on the kind: its mesh's guard, and that of all meshes where one comes or goes. */
static int change_guards(struct appmesh_call *call, bool mesh_ends)
{
	const bool is_mesh = call->names.kind == RESOURCE_MESH;
	int r = is_mesh ? appmesh_change_guard(call, NULL) : 0;

	if (r < 0)
		return r;
	return is_mesh && mesh_ends ? appmesh_change_guard_end(call, call->names.mesh) : appmesh_change_guard(call, call->names.mesh);
}

static int answer(struct appmesh_call *call, const json_t *record, const char *status, struct error *err)
{
	call->answer->body = appmesh_data(call->scope, &call->names, record, status);
	return call->answer->body ? 0 : no_memory(err);
}

/* A whole record that is written, and the answer to who wrote it. */
static int write_record(struct appmesh_call *call, const json_t *record, struct error *err)
{
	int r = change_guards(call, false);

	if (r == 0)
		r = appmesh_change_resource(call, record);
	if (r == 0)
		r = appmesh_token_keep(call, record);
	return r < 0 ? no_memory(err) : answer(call, record, "ACTIVE", err);
}

static int check_new(const struct appmesh_call *call, struct error *err)
{
	const struct appmesh_names *names = &call->names;
	const char *member = resource_kinds[names->kind].name_member;
	char key[APPMESH_KEY_BYTES];
	int r = appmesh_check_parents(call, err);

	if (r < 0)
		return r;
	if (appmesh_resource_key(key, call->scope, names->kind, names->mesh, names->parent, names->name) < 0 ||
	    strlen(key) > APPMESH_KEY_LIMIT)
		return error_set_field(err, -EINVAL, member, "is too long, with the names of what it belongs to: all together have %zu bytes",
				       strlen(names->mesh) + (names->parent ? strlen(names->parent) : 0) + strlen(names->name));
	if (appmesh_find(call->state, call->scope, names->kind, names->mesh, names->parent, names->name))
		return error_set_field(err, -EEXIST, member, "there is a %s with name %s already", NOUN(names->kind), names->name);
	return appmesh_check_count(call, err);
}

/* As it begins, or goes on from elsewhere. */
static json_t *first_record(const struct appmesh_call *call, json_t *spec, json_t *tags)
{
	static const struct appmesh_identity new;
	const struct appmesh_identity *identity = call->request->identity ?: &new;
	const int64_t created_ms = identity->created_ms ?: identity->updated_ms ?: appmesh_now_ms(call);

	return json_pack("{s:s, s:I, s:I, s:I, s:O, s:O}", "uid", *identity->uid ? identity->uid : call->request->uid, "version",
			 (json_int_t)(identity->version ?: 1), "createdAt", (json_int_t)created_ms, "lastUpdatedAt",
			 (json_int_t)(identity->updated_ms ?: created_ms), "spec", spec, "tags", tags);
}

int appmesh_create(struct appmesh_call *call, struct error *err)
{
	_cleanup_json_ json_t *spec = NULL, *tags = NULL, *record = NULL;
	int r = appmesh_check_document(call, call->input, &spec, err);

	if (r == 0)
		r = take_tags(call, &tags, err);
	if (r == 0)
		r = appmesh_token_check(call, spec, err);
	if (r == 0)
		r = check_new(call, err);
	if (r == 0)
		r = appmesh_check_quotas(call, spec, err);
	if (r == 0)
		r = appmesh_check_references(call, spec, err);
	if (r != 0)
		return MIN(r, 0);
	record = first_record(call, spec, tags);
	return record ? write_record(call, record, err) : no_memory(err);
}

/* The request as a document: its names and its spec. */
static json_t *document_of(const struct appmesh_call *call)
{
	json_t *document = json_copy(call->input);

	json_object_del(document, "clientToken"); /* no update of a kind has members that its creation has not */
	return document;
}

/* The record of before, as this write leaves it. */
static json_t *next_record(const struct appmesh_call *call, const json_t *old)
{
	_cleanup_json_ json_t *record = json_copy((json_t *)old);

	if (!record || json_object_set_new(record, "version", json_integer(json_path_int(old, "version", 0) + 1)) ||
	    json_object_set_new(record, "lastUpdatedAt", json_integer(appmesh_now_ms(call))))
		return NULL;
	return TAKE_PTR(record);
}

int appmesh_update(struct appmesh_call *call, struct error *err)
{
	_cleanup_json_ json_t *document = document_of(call), *spec = NULL, *before = NULL, *record = NULL;
	const struct appmesh_resource *resource = NULL;
	int r = document ? appmesh_check_document(call, document, &spec, err) : no_memory(err);

	if (r == 0)
		r = appmesh_token_check(call, spec, err);
	if (r == 0)
		r = appmesh_get(call, &resource, err);
	if (r == 0)
		r = appmesh_check_quotas(call, spec, err);
	if (r == 0)
		r = appmesh_check_references(call, spec, err);
	if (r != 0)
		return MIN(r, 0);
	before = appmesh_record(resource);
	record = next_record(call, before);
	if (!record || json_object_set(record, "spec", spec))
		return no_memory(err);
	return write_record(call, record, err);
}

int appmesh_delete(struct appmesh_call *call, struct error *err)
{
	const struct appmesh_resource *resource = NULL;
	_cleanup_json_ json_t *before = NULL, *record = NULL;
	int r = appmesh_get(call, &resource, err);

	if (r == 0)
		r = appmesh_check_unused(call, err);
	if (r < 0)
		return r;
	before = appmesh_record(resource);
	/* App Mesh counts the end of a resource as a version of it, but for meshes (its user guide's samples). */
	record = call->names.kind == RESOURCE_MESH ? json_incref(before) : next_record(call, before);
	if (!record || change_guards(call, true) < 0 || appmesh_change_resource(call, NULL) < 0 || appmesh_change_token(call, NULL) < 0)
		return no_memory(err);
	return answer(call, record, "DELETED", err);
}
