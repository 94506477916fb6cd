/* SPDX-License-Identifier: Apache-2.0 */
/* The transaction of a write. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/appmesh/call.h"
#include "base/cleanup.h"

void appmesh_change_done(struct appmesh_change *change)
{
	for (size_t i = 0; i < change->compare_count; i++)
		free(change->compares[i].key);
	for (size_t i = 0; i < change->op_count; i++) {
		free(change->ops[i].key);
		free(change->ops[i].value);
	}
	*change = (struct appmesh_change){};
}

static int add_compare(struct appmesh_change *change, const char *key, uint64_t revision)
{
	char *copy = strdup(key);

	assert(change->compare_count < ARRAY_SIZE(change->compares));
	if (!copy)
		return -ENOMEM;
	change->compares[change->compare_count++] = (struct appmesh_compare){ copy, revision };
	return 0;
}

/* `value` NULL: delete. */
static int add_op(struct appmesh_change *change, const char *key, const json_t *value)
{
	_cleanup_free_ char *copy = strdup(key), *text = value ? json_dumps(value, JSON_COMPACT) : NULL;

	assert(change->op_count < ARRAY_SIZE(change->ops));
	if (!copy || (value && !text))
		return -ENOMEM;
	change->ops[change->op_count++] = (struct appmesh_op){ TAKE_PTR(copy), TAKE_PTR(text) };
	return 0;
}

static int change_guard(struct appmesh_call *call, const char *mesh, const json_t *value)
{
	char key[APPMESH_KEY_BYTES];
	int r;

	appmesh_guard_key(key, call->scope, mesh);
	r = add_compare(&call->answer->change, key, appmesh_guard_revision(call->state, key));
	return r < 0 ? r : add_op(&call->answer->change, key, value);
}

int appmesh_change_guard(struct appmesh_call *call, const char *mesh)
{
	/* what is in it differs from one write to the next: a store need not give a new revision to what stays the same */
	_cleanup_json_ json_t *value = json_pack("{s:s}", "by", call->request->uid);

	return value ? change_guard(call, mesh, value) : -ENOMEM;
}

int appmesh_change_guard_end(struct appmesh_call *call, const char *mesh)
{
	return change_guard(call, mesh, NULL);
}

int appmesh_change_resource(struct appmesh_call *call, const json_t *record)
{
	const struct appmesh_names *names = &call->names;
	const struct appmesh_resource *old =
		appmesh_find(call->state, call->scope, names->kind, names->mesh, names->parent, names->name);
	char key[APPMESH_KEY_BYTES];
	int r = appmesh_resource_key(key, call->scope, names->kind, names->mesh, names->parent, names->name);

	if (r == 0)
		r = add_compare(&call->answer->change, key, old ? old->revision : 0);
	return r < 0 ? r : add_op(&call->answer->change, key, record);
}

int appmesh_change_token(struct appmesh_call *call, const json_t *record)
{
	const struct appmesh_token *expired = NULL;
	char key[APPMESH_KEY_BYTES];
	const char *token = json_path_string(call->input, "clientToken");
	int r = 0;

	key[0] = '\0';
	if (token) {
		appmesh_token_key(key, call->scope, call->operation->name, token);
		r = add_op(&call->answer->change, key, record);
	}
	for (size_t i = 0; r == 0 && i < APPMESH_SWEPT_TOKENS; i++) {
		expired = appmesh_token_expired(call->state, appmesh_now_ms(call), expired);
		if (!expired)
			break;
		if (strcmp(expired->key, key) != 0)
			r = add_op(&call->answer->change, expired->key, NULL);
	}
	return r;
}
