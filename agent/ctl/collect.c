/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/collect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/progress.h"
#include "base/cleanup.h"

#define PAGE 100

void collection_done(struct collection *c)
{
	for (size_t i = 0; i < c->count; i++) {
		target_done(&c->list[i].target);
		json_decref(c->list[i].body);
		json_decref(c->list[i].tags);
	}
	free(c->list);
	*c = (struct collection){};
}

int collection_add(struct collection *c, struct target *target, json_t *body)
{
	struct collected *grown = reallocarray(c->list, c->count + 1, sizeof(*grown));

	if (!grown) {
		target_done(target);
		return -ENOMEM;
	}
	c->list = grown;
	grown[c->count++] = (struct collected){ .target = *target, .body = json_incref(body) };
	*target = (struct target){};
	return 0;
}

static int add_page(struct collection *c, enum resource_kind kind, const json_t *list, struct error *err)
{
	json_t *ref;
	size_t i;

	json_array_foreach((json_t *)list, i, ref) {
		struct target target;
		int r = target_of(&target, kind, ref, err);

		if (r < 0)
			return r;
		if (collection_add(c, &target, ref) < 0)
			return error_set(err, -ENOMEM, "out of memory");
		progress_show("listed", c->count, 0);
	}
	return 0;
}

/* The list of the answer: its only member that is one. */
static const json_t *list_of(const json_t *answer)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)answer, name, value)
		if (json_is_array(value))
			return value;
	return NULL;
}

/* Every page of a kind; `parent`: whose. */
static int list_kind(struct remote *remote, struct collection *c, enum resource_kind kind, const json_t *parent, struct error *err)
{
	_cleanup_json_ json_t *input = parent ? json_copy((json_t *)parent) : json_object();
	int r = json_object_set_new(input, "limit", json_integer(PAGE)) < 0 ? error_set(err, -ENOMEM, "out of memory") : 0;

	while (r == 0) {
		const struct remote_call call = { .verb = OPERATION_LIST, .kind = kind, .input = input };
		_cleanup_json_ json_t *answer = NULL;

		r = remote_call(remote, &call, &answer, err);
		if (r == 0)
			r = add_page(c, kind, list_of(answer), err);
		if (r < 0 || !json_object_get(answer, "nextToken"))
			break;
		if (json_object_set(input, "nextToken", json_object_get(answer, "nextToken")) < 0)
			r = error_set(err, -ENOMEM, "out of memory");
	}
	return r;
}

static int list_below(struct remote *remote, struct collection *c, enum resource_kind parent, const json_t *input, struct error *err)
{
	int r = 0;

	for (enum resource_kind kind = 0; kind < RESOURCE_KIND_COUNT && r == 0; kind++) {
		const size_t first = c->count;

		if (kind == RESOURCE_MESH || resource_kinds[kind].parent != parent)
			continue;
		r = list_kind(remote, c, kind, input, err);
		for (size_t i = first, end = c->count; i < end && r == 0; i++) {
			_cleanup_json_ json_t *own = json_incref(c->list[i].target.input);

			r = list_below(remote, c, kind, own, err);
		}
	}
	return r;
}

static int list_meshes(struct remote *remote, struct collection *c, const char *mesh, struct error *err)
{
	const struct remote_call call = { .verb = OPERATION_DESCRIBE, .kind = RESOURCE_MESH };
	struct remote_call own = call;
	_cleanup_json_ json_t *answer = NULL;
	struct target target;
	int r;

	if (!mesh)
		return list_kind(remote, c, RESOURCE_MESH, NULL, err);
	r = target_init(&target, RESOURCE_MESH, mesh, NULL, mesh);
	if (r < 0)
		return error_set(err, r, "out of memory");
	own.input = target.input;
	r = remote_call(remote, &own, &answer, err);
	if (r == 0)
		return collection_add(c, &target, answer) < 0 ? error_set(err, -ENOMEM, "out of memory") : 0;
	target_done(&target);
	return r;
}

static int describe(struct remote *remote, struct collected *one, struct error *err)
{
	const struct remote_call call = { .verb = OPERATION_DESCRIBE, .kind = one->target.kind, .input = one->target.input };
	json_t *answer;
	int r = remote_call(remote, &call, &answer, err);

	if (r < 0)
		return r;
	json_decref(one->body);
	one->body = answer;
	return 0;
}

int collect_tags(struct remote *remote, const char *arn, json_t **ret_tags, struct error *err)
{
	_cleanup_json_ json_t *input = json_pack("{s:s, s:i}", "resourceArn", arn, "limit", 50), *tags = json_array();
	int r = input && tags ? 0 : error_set(err, -ENOMEM, "out of memory");

	while (r == 0) {
		const struct remote_call call = { .verb = OPERATION_LIST_TAGS, .kind = RESOURCE_KIND_COUNT, .input = input };
		_cleanup_json_ json_t *answer = NULL;

		r = remote_call(remote, &call, &answer, err);
		if (r == 0 && json_array_extend(tags, json_object_get(answer, "tags")) < 0)
			r = error_set(err, -EPROTO, "the API answered with no list of tags");
		if (r < 0 || !json_object_get(answer, "nextToken"))
			break;
		if (json_object_set(input, "nextToken", json_object_get(answer, "nextToken")) < 0)
			r = error_set(err, -ENOMEM, "out of memory");
	}
	if (r == 0)
		*ret_tags = TAKE_PTR(tags);
	return r;
}

static void drop(struct collection *c, size_t index)
{
	target_done(&c->list[index].target);
	json_decref(c->list[index].body);
	json_decref(c->list[index].tags);
	c->count--;
	memmove(&c->list[index], &c->list[index + 1], (c->count - index) * sizeof(*c->list));
}

static int complete(struct remote *remote, struct collection *c, enum collect_what what, struct error *err)
{
	for (size_t i = 0; i < c->count;) {
		struct collected *one = &c->list[i];
		int r = describe(remote, one, err);

		if (r == 0 && what == COLLECT_WITH_TAGS)
			r = collect_tags(remote, json_path_string(one->body, "metadata.arn") ?: "", &one->tags, err);
		if (r < 0 && r != -ENOENT)
			return r;
		if (r == -ENOENT)
			drop(c, i);
		else
			progress_show("described", ++i, c->count);
	}
	return 0;
}

int collect(struct remote *remote, enum collect_what what, const char *mesh, struct collection *ret_collection, struct error *err)
{
	_cleanup_(collection_done) struct collection c = {};
	size_t meshes;
	int r = list_meshes(remote, &c, mesh, err);

	meshes = c.count;
	for (size_t i = 0; i < meshes && r == 0; i++) {
		_cleanup_json_ json_t *input = json_incref(c.list[i].target.input);

		r = list_below(remote, &c, RESOURCE_MESH, input, err);
	}
	if (r == 0 && what != COLLECT_REFS)
		r = complete(remote, &c, what, err);
	progress_clear();
	if (r < 0)
		return r;
	*ret_collection = c;
	c = (struct collection){};
	return 0;
}
