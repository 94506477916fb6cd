/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/api/appmesh/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/sorted.h"

#define RESOURCE_PREFIX APPMESH_PREFIX "resource/"
#define GUARD_PREFIX APPMESH_PREFIX "guard/"
#define TOKEN_PREFIX APPMESH_PREFIX "token/"

struct guard {
	char *key;
	uint64_t revision;
	struct table_node node;
};

/* --- keys --------------------------------------------------------------------------------------------------------------------- */

static char *key_add(char *at, const char *end, const char *part)
{
	return text_put(text_put(at, end, part), end, "/");
}

/* Its length. */
static int collection_key(char key[APPMESH_KEY_BYTES], struct appmesh_scope scope, enum resource_kind kind, const char *mesh,
			  const char *parent)
{
	const char *end = key + APPMESH_KEY_BYTES;
	char *at = text_put(key, end, RESOURCE_PREFIX);

	at = key_add(at, end, scope.account);
	at = key_add(at, end, scope.region);
	at = key_add(at, end, resource_kinds[kind].path_word);
	if (kind != RESOURCE_MESH)
		at = key_add(at, end, mesh);
	if (kind != RESOURCE_MESH && resource_kinds[kind].parent != RESOURCE_MESH)
		at = key_add(at, end, parent);
	return at ? (int)(at - key) : -ENAMETOOLONG;
}

int appmesh_resource_key(char key[APPMESH_KEY_BYTES], struct appmesh_scope scope, enum resource_kind kind, const char *mesh,
			 const char *parent, const char *name)
{
	const int length = collection_key(key, scope, kind, mesh, parent);

	if (length < 0 || length + strlen(name) >= APPMESH_KEY_BYTES)
		return -ENAMETOOLONG;
	strcpy(key + length, name);
	return 0;
}

void appmesh_guard_key(char key[APPMESH_KEY_BYTES], struct appmesh_scope scope, const char *mesh)
{
	snprintf(key, APPMESH_KEY_BYTES, GUARD_PREFIX "%s/%s%s%s", scope.account, scope.region, mesh ? "/" : "", mesh ? mesh : "");
}

void appmesh_token_key(char key[APPMESH_KEY_BYTES], struct appmesh_scope scope, const char *operation, const char *token)
{
	snprintf(key, APPMESH_KEY_BYTES, TOKEN_PREFIX "%s/%s/%s/%s", scope.account, scope.region, operation, token);
}

static bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int kind_of_word(const char *word, enum resource_kind *ret_kind)
{
	for (enum resource_kind kind = 0; kind < RESOURCE_KIND_COUNT; kind++)
		if (strcmp(resource_kinds[kind].path_word, word) == 0) {
			*ret_kind = kind;
			return 0;
		}
	return -EINVAL;
}

struct parts {
	enum resource_kind kind;
	const char *account, *region, *mesh, *parent, *name; /* as in struct appmesh_resource and its collection */
};

/* Cuts "ACCOUNT/REGION/KIND/NAMES". */
static int take_parts(char *text, struct parts *ret_parts)
{
	struct parts parts = {};
	char *rest = text;
	const char *word;

	parts.account = strsep(&rest, "/");
	parts.region = strsep(&rest, "/");
	word = strsep(&rest, "/");
	if (!rest || kind_of_word(word, &parts.kind) < 0)
		return -EINVAL;
	if (parts.kind != RESOURCE_MESH)
		parts.mesh = strsep(&rest, "/");
	if (parts.kind != RESOURCE_MESH && resource_kinds[parts.kind].parent != RESOURCE_MESH)
		parts.parent = strsep(&rest, "/");
	parts.name = strsep(&rest, "/");
	if (!parts.name || rest)
		return -EINVAL;
	*ret_parts = parts;
	return 0;
}

/* --- life --------------------------------------------------------------------------------------------------------------------- */

void appmesh_state_init(struct appmesh_state *state, const char *home_region)
{
	*state = (struct appmesh_state){ .home_region = home_region };
	list_init(&state->token_list);
}

static struct appmesh_resource *resource_free(struct appmesh_resource *resource)
{
	if (!resource)
		return NULL;
	json_decref(resource->record);
	resource_unref(resource->resource);
	free(resource);
	return NULL;
}

static void cleanup_resource(struct appmesh_resource **resource)
{
	resource_free(*resource);
}

static struct appmesh_token *token_free(struct appmesh_token *token)
{
	if (!token)
		return NULL;
	json_decref(token->record);
	free(token->key);
	free(token);
	return NULL;
}

static void cleanup_token(struct appmesh_token **token)
{
	token_free(*token);
}

static void collection_free(struct appmesh_collection *collection)
{
	for (size_t i = 0; i < collection->count; i++)
		resource_free(collection->items[i]);
	free(collection->items);
	free(collection);
}

static void guard_free(struct guard *guard)
{
	free(guard->key);
	free(guard);
}

#define FREE_TABLE(table, type, free_one)                                                                                     \
	do {                                                                                                                   \
		for (struct table_node *node = table_first(table), *next; node; node = next) {                                 \
			next = table_next(table, node);                                                                        \
			free_one(container_of(node, type, node));                                                              \
		}                                                                                                              \
		table_done(table);                                                                                             \
	} while (0)

void appmesh_state_done(struct appmesh_state *state)
{
	FREE_TABLE(&state->collections, struct appmesh_collection, collection_free);
	FREE_TABLE(&state->guards, struct guard, guard_free);
	FREE_TABLE(&state->tokens, struct appmesh_token, token_free);
	appmesh_state_init(state, state->home_region);
}

/* --- collections -------------------------------------------------------------------------------------------------------------- */

static struct appmesh_collection *collection_get(const struct appmesh_state *state, const char *key)
{
	struct table_node *node = table_get(&state->collections, key);

	return node ? container_of(node, struct appmesh_collection, node) : NULL;
}

/* That of the resource's key, made where there is none: -EINVAL, -ENOMEM. */
static int collection_make(struct appmesh_state *state, const char *key, struct appmesh_collection **ret_collection, struct error *err)
{
	const size_t length = (size_t)(strrchr(key, '/') - key) + 1; /* the prefix ends so */
	struct appmesh_collection *collection;
	struct parts parts;
	char *texts;
	int r;

	collection = calloc(1, sizeof(*collection) + length + 1 + strlen(key) + 1);
	if (!collection)
		return -ENOMEM;
	memcpy(collection->key, key, length);
	*ret_collection = collection_get(state, collection->key);
	if (*ret_collection) {
		free(collection);
		return 0;
	}
	texts = collection->key + length + 1;
	strcpy(texts, key + strlen(RESOURCE_PREFIX));
	r = take_parts(texts, &parts);
	if (r < 0)
		error_set(err, r, "the key has not the parts of a resource's");
	else
		r = table_add(&state->collections, &collection->node, collection->key);
	if (r < 0) {
		free(collection);
		return r;
	}
	collection->kind = parts.kind;
	collection->account = parts.account;
	collection->region = parts.region;
	collection->mesh = parts.mesh;
	collection->parent = parts.parent;
	*ret_collection = collection;
	return 0;
}

/* Where the name is, or would be. */
static size_t place_of(const struct appmesh_collection *collection, const char *name)
{
	return SORTED_PLACE(collection->count, i, strcmp(collection->items[i]->name, name) < 0);
}

static struct appmesh_resource *resource_at(const struct appmesh_collection *collection, const char *name)
{
	const size_t place = place_of(collection, name);

	return place < collection->count && strcmp(collection->items[place]->name, name) == 0 ? collection->items[place] : NULL;
}

static int collection_add(struct appmesh_collection *collection, struct appmesh_resource *resource)
{
	const size_t place = place_of(collection, resource->name);

	if (collection->count == collection->capacity) {
		const size_t capacity = collection->capacity ? 2 * collection->capacity : 1; /* most routers have one route */
		struct appmesh_resource **grown = reallocarray(collection->items, capacity, sizeof(struct appmesh_resource *));

		if (!grown)
			return -ENOMEM;
		collection->items = grown;
		collection->capacity = capacity;
	}
	memmove(collection->items + place + 1, collection->items + place, (collection->count - place) * sizeof(*collection->items));
	collection->items[place] = resource;
	collection->count++;
	return 0;
}

static void collection_drop_if_empty(struct appmesh_state *state, struct appmesh_collection *collection)
{
	if (collection->count)
		return;
	table_remove(&state->collections, &collection->node);
	collection_free(collection);
}

static void resource_remove(struct appmesh_state *state, struct appmesh_resource *resource)
{
	struct appmesh_collection *collection = resource->collection;
	const size_t place = place_of(collection, resource->name);

	collection->count--;
	memmove(collection->items + place, collection->items + place + 1, (collection->count - place) * sizeof(*collection->items));
	resource_free(resource);
	state->resource_count--;
	collection_drop_if_empty(state, collection);
}

/* NULL: absent. */
static struct appmesh_resource *resource_get(const struct appmesh_state *state, const char *key)
{
	char prefix[APPMESH_KEY_BYTES];
	const char *slash = strrchr(key, '/');
	const struct appmesh_collection *collection;

	if (!slash || (size_t)(slash - key) + 2 > sizeof(prefix))
		return NULL;
	memcpy(prefix, key, (size_t)(slash - key) + 1);
	prefix[slash - key + 1] = '\0';
	collection = collection_get(state, prefix);
	return collection ? resource_at(collection, slash + 1) : NULL;
}

/* --- changes ------------------------------------------------------------------------------------------------------------------ */

static int check_record(const json_t *record, struct error *err)
{
	static const char *const integers[] = { "version", "createdAt", "lastUpdatedAt" };

	if (!json_path_string(record, "uid"))
		return error_set_field(err, -EINVAL, "uid", "must be a string");
	for (size_t i = 0; i < ARRAY_SIZE(integers); i++)
		if (!json_is_integer(json_object_get(record, integers[i])))
			return error_set_field(err, -EINVAL, integers[i], "must be an integer");
	if (!json_is_object(json_object_get(record, "spec")) || !json_is_object(json_object_get(record, "tags")))
		return error_set_field(err, -EINVAL, "spec", "and tags must be objects");
	return 0;
}

const struct resource_realm *appmesh_realm(const struct appmesh_state *state, struct appmesh_scope scope,
						    struct resource_realm *buffer)
{
	if (state->home_region && strcmp(state->home_region, scope.region) == 0)
		return NULL;
	*buffer = (struct resource_realm){ scope.account, scope.region };
	return buffer;
}

int appmesh_key_name(const struct appmesh_state *state, const char *key, char full_name[RESOURCE_FULL_NAME_BYTES])
{
	_cleanup_free_ char *parts = has_prefix(key, RESOURCE_PREFIX) ? strdup(key + strlen(RESOURCE_PREFIX)) : NULL;
	const struct resource_realm *scope;
	struct resource_realm buffer;
	struct parts of;
	int length = 0;

	if (!parts || take_parts(parts, &of) < 0)
		return -EINVAL;
	scope = appmesh_realm(state, (struct appmesh_scope){ of.account, of.region }, &buffer);
	if (scope)
		length = resource_realm_text(full_name, RESOURCE_FULL_NAME_BYTES, scope);
	return length < 0 ? length : resource_full_name(full_name + length, RESOURCE_FULL_NAME_BYTES - (size_t)length, of.mesh ?: of.name, of.kind,
							of.parent, of.name);
}

/* The tags of a record, {key: value}, as a creation has them. */
static json_t *tag_list(const json_t *record)
{
	json_t *list = json_array(), *value;
	const char *key;

	json_object_foreach(json_object_get(record, "tags"), key, value)
		if (json_array_append_new(list, json_pack("{s:s, s:O}", "key", key, "value", value))) {
			json_decref(list);
			return NULL;
		}
	return list;
}

/* The same in the form of a creation. */
static int make_resource(const struct appmesh_state *state, struct appmesh_resource *stored, json_t *record, struct resource **ret_resource,
			 struct error *err)
{
	const struct appmesh_collection *of = stored->collection;
	const struct resource_kind_info *info = &resource_kinds[of->kind];
	_cleanup_json_ json_t *document = json_pack("{s:s, s:O}", info->name_member, stored->name, "spec", json_object_get(record, "spec"));
	struct resource_realm buffer;

	if (!document || json_object_set_new(document, resource_kinds[RESOURCE_MESH].name_member, json_string(appmesh_mesh_of(stored))) ||
	    (of->parent && json_object_set_new(document, resource_kinds[info->parent].name_member, json_string(of->parent))) ||
	    (json_object_size(json_object_get(record, "tags")) && json_object_set_new(document, "tags", tag_list(record))))
		return -ENOMEM;
	return resource_new(document, appmesh_realm(state, (struct appmesh_scope){ of->account, of->region }, &buffer), NULL,
			    ret_resource, err);
}

/* It is served as it is stored, also where it cannot be in force. */
static void take_record(const struct appmesh_state *state, const char *key, struct appmesh_resource *stored, json_t *record, uint64_t revision)
{
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	struct error err = {};

	json_decref(stored->record);
	resource_unref(stored->resource);
	stored->resource = NULL;
	stored->record = json_incref(record);
	stored->revision = revision;
	if (make_resource(state, stored, record, &stored->resource, &err) < 0)
		log_error("what is stored does not hold to the rules of this version, and is not in force", LOG_F("key", LOG_STR(key)),
			  LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
	else
		json_object_del(record, "spec"); /* the resource has it */
}

/* The one with the key, made where there is none: it has neither record nor resource yet. */
static int resource_make(struct appmesh_state *state, const char *key, struct appmesh_resource **ret_resource, struct error *err)
{
	_cleanup_(cleanup_resource) struct appmesh_resource *resource = NULL;
	struct appmesh_collection *collection;
	const char *name = strrchr(key, '/') + 1;
	int r;

	*ret_resource = resource_get(state, key);
	if (*ret_resource)
		return 0;
	r = collection_make(state, key, &collection, err);
	if (r < 0)
		return r;
	resource = calloc(1, sizeof(*resource) + strlen(name) + 1);
	if (resource)
		strcpy(resource->name, name);
	if (!resource || collection_add(collection, resource) < 0) {
		collection_drop_if_empty(state, collection);
		return -ENOMEM;
	}
	resource->collection = collection;
	state->resource_count++;
	*ret_resource = TAKE_PTR(resource);
	return 0;
}

static int resource_put(struct appmesh_state *state, const char *key, json_t *record, uint64_t revision, struct error *err)
{
	struct appmesh_resource *resource;
	int r = check_record(record, err);

	if (r == 0)
		r = resource_make(state, key, &resource, err);
	if (r == 0)
		take_record(state, key, resource, record, revision);
	return r;
}

static int guard_put(struct appmesh_state *state, const char *key, uint64_t revision)
{
	struct table_node *node = table_get(&state->guards, key);
	struct guard *guard = node ? container_of(node, struct guard, node) : calloc(1, sizeof(*guard));

	if (!guard)
		return -ENOMEM;
	guard->revision = revision;
	if (node)
		return 0;
	guard->key = strdup(key);
	if (!guard->key || table_add(&state->guards, &guard->node, guard->key) < 0) {
		guard_free(guard);
		return -ENOMEM;
	}
	return 0;
}

static int token_put(struct appmesh_state *state, const char *key, json_t *record, struct error *err)
{
	_cleanup_(cleanup_token) struct appmesh_token *token = NULL;
	int r;

	if (!json_path_string(record, "request") || !json_is_integer(json_object_get(record, "at")))
		return error_set(err, -EINVAL, "a token has \"request\" and \"at\"");
	appmesh_state_remove(state, key);
	token = calloc(1, sizeof(*token));
	if (!token || !(token->key = strdup(key)))
		return -ENOMEM;
	token->record = json_incref(record);
	token->at_ms = json_path_int(record, "at", 0);
	r = table_add(&state->tokens, &token->node, token->key);
	if (r < 0)
		return r;
	list_append(&state->token_list, &token->link);
	TAKE_PTR(token);
	return 0;
}

int appmesh_state_put(struct appmesh_state *state, const char *key, const void *value, size_t value_bytes, uint64_t revision,
		      struct error *err)
{
	_cleanup_json_ json_t *record = NULL;
	int r;

	if (has_prefix(key, GUARD_PREFIX))
		return guard_put(state, key, revision);
	if (!has_prefix(key, RESOURCE_PREFIX) && !has_prefix(key, TOKEN_PREFIX))
		return 0;
	r = json_parse(value, value_bytes, &record, err);
	if (r < 0)
		return r;
	return has_prefix(key, TOKEN_PREFIX) ? token_put(state, key, record, err) : resource_put(state, key, record, revision, err);
}

int appmesh_state_show(struct appmesh_state *state, const char *key, const struct resource *resource, int64_t now_ms)
{
	struct appmesh_resource *shown;
	int r = resource_make(state, key, &shown, NULL);

	if (r < 0)
		return r;
	resource_unref(shown->resource);
	shown->resource = resource_ref(resource);
	shown->shown_created_ms = shown->shown_version ? shown->shown_created_ms : now_ms;
	shown->shown_updated_ms = now_ms;
	shown->shown_version++;
	return 0;
}

bool appmesh_state_confirm(struct appmesh_state *state, const char *key, uint64_t revision)
{
	struct appmesh_resource *resource = resource_get(state, key);

	if (!resource || resource->revision || !resource->resource)
		return false;
	resource->revision = revision;
	return true;
}

void appmesh_state_remove(struct appmesh_state *state, const char *key)
{
	struct appmesh_resource *resource = resource_get(state, key);
	struct table_node *node;

	if (resource) {
		resource_remove(state, resource);
	} else if ((node = table_get(&state->guards, key))) {
		table_remove(&state->guards, node);
		guard_free(container_of(node, struct guard, node));
	} else if ((node = table_get(&state->tokens, key))) {
		struct appmesh_token *token = container_of(node, struct appmesh_token, node);

		table_remove(&state->tokens, node);
		list_remove(&token->link);
		token_free(token);
	}
}

/* --- reading ------------------------------------------------------------------------------------------------------------------ */

const struct appmesh_resource *appmesh_find(const struct appmesh_state *state, struct appmesh_scope scope, enum resource_kind kind,
					    const char *mesh, const char *parent, const char *name)
{
	char key[APPMESH_KEY_BYTES];
	const struct appmesh_collection *collection =
		collection_key(key, scope, kind, mesh, parent) < 0 ? NULL : collection_get(state, key);

	return collection ? resource_at(collection, name) : NULL;
}

const struct appmesh_resource *appmesh_find_key(const struct appmesh_state *state, const char *key)
{
	return resource_get(state, key);
}

size_t appmesh_children(const struct appmesh_state *state, struct appmesh_scope scope, enum resource_kind kind, const char *mesh,
			const char *parent, const struct appmesh_resource *const **ret_list)
{
	char key[APPMESH_KEY_BYTES];
	const struct appmesh_collection *collection =
		collection_key(key, scope, kind, mesh, parent) < 0 ? NULL : collection_get(state, key);

	if (ret_list)
		*ret_list = collection ? (const struct appmesh_resource *const *)collection->items : NULL;
	return collection ? collection->count : 0;
}

json_t *appmesh_spec(const struct appmesh_resource *resource)
{
	return resource->resource ? resource_spec(resource->resource) : json_incref(json_object_get(resource->record, "spec"));
}

uint64_t appmesh_guard_revision(const struct appmesh_state *state, const char *key)
{
	const struct table_node *node = table_get(&state->guards, key);

	return node ? container_of(node, struct guard, node)->revision : 0;
}

const struct appmesh_token *appmesh_token_find(const struct appmesh_state *state, const char *key)
{
	const struct table_node *node = table_get(&state->tokens, key);

	return node ? container_of(node, struct appmesh_token, node) : NULL;
}

const struct appmesh_token *appmesh_token_expired(const struct appmesh_state *state, int64_t now_ms, const struct appmesh_token *after)
{
	const struct list *next = after ? after->link.next : state->token_list.next;
	const struct appmesh_token *token = next == &state->token_list ? NULL : container_of(next, struct appmesh_token, link);

	return token && now_ms - token->at_ms > APPMESH_TOKEN_KEPT_MS ? token : NULL;
}
