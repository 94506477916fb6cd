/* SPDX-License-Identifier: Apache-2.0 */
/* What is stored for the App Mesh API, in memory and parsed: resources by their place, guards, client tokens. It is filled from the
 * store, key by key, and holds what is committed, nothing else. One thread.
 *
 *   config/resource/ACCOUNT/REGION/virtualNode/MESH/NAME  {"uid", "version", "createdAt", "lastUpdatedAt", "spec", "tags"}: times are
 *                                                         ms since the epoch. A route has its router's name before its own
 *   config/guard/ACCOUNT/REGION/MESH                      written by each change to the mesh, so that two changes that do not know of
 *                                                         each other cannot both hold; without MESH: meshes come and go
 *   config/token/ACCOUNT/REGION/OPERATION/TOKEN           a clientToken and what it stood for (token.c)
 */
#pragma once

#include "agent/spec/resource.h"

#define APPMESH_PREFIX "config/"
#define APPMESH_KEY_LIMIT 1024 /* of a store: names of letters, digits and signs fit in any case */
#define APPMESH_KEY_BYTES (RESOURCE_FULL_NAME_BYTES + 160)
#define APPMESH_TOKEN_KEPT_MS (24 * 3600 * 1000ll)

/* Where names are looked for. Borrowed. */
struct appmesh_scope {
	const char *account, *region;
};

struct appmesh_resource;

/* The resources of one kind under one parent: never none. */
struct appmesh_collection {
	enum resource_kind kind;
	const char *account, *region, *mesh, *parent; /* mesh: NULL for meshes; parent: NULL but for routes */
	struct appmesh_resource **items; /* by name, in byte order */
	size_t count, capacity;
	struct table_node node; /* by key: that of its resources, up to the last '/' */
	char key[];
};

struct appmesh_resource { /* a node may have them by the ten thousand */
	struct appmesh_collection *collection;
	json_t *record; /* without its spec where `resource` has that: see appmesh_record(). NULL: it is shown */
	int64_t shown_version, shown_created_ms, shown_updated_ms;
	struct resource *resource; /* the same for those who compile; NULL: what an older version took and this one does not */
	uint64_t revision; /* of the store's key */
	char name[];
};

struct appmesh_token {
	char *key;
	json_t *record;
	int64_t at_ms;
	struct table_node node;
	struct list link; /* as they came */
};

struct appmesh_state {
	const char *home_region; /* borrowed: what is there has short names (resource_new()); NULL: nothing */
	struct table collections, guards, tokens;
	struct list token_list;
	size_t resource_count;
};

void appmesh_state_init(struct appmesh_state *state, const char *home_region);
void appmesh_state_done(struct appmesh_state *state);

/* The key was written, or is gone. Keys that are none of those above are left alone. -EINVAL: no record, which is left out;
 * -ENOMEM. */
int appmesh_state_put(struct appmesh_state *state, const char *key, const void *value, size_t value_bytes, uint64_t revision,
		      struct error *err);
/* The same for a resource's key, of what comes from elsewhere: the resource, which is shared, has one version more than what had the key
 * before. Of a node's many resources few are ever asked for: their records are made then. -ENOMEM. */
int appmesh_state_show(struct appmesh_state *state, const char *key, const struct resource *resource, int64_t now_ms);
/* The resource that was put there as it was planned (revision 0) is committed, the same to the byte. False: it is another, or has to be
 * put again. */
bool appmesh_state_confirm(struct appmesh_state *state, const char *key, uint64_t revision);
void appmesh_state_remove(struct appmesh_state *state, const char *key);

/* By parts, as resources_sibling(): a mesh is (mesh, RESOURCE_MESH, NULL, mesh). NULL: absent. */
const struct appmesh_resource *appmesh_find(const struct appmesh_state *state, struct appmesh_scope scope, enum resource_kind kind,
					    const char *mesh, const char *parent, const char *name);
const struct appmesh_resource *appmesh_find_key(const struct appmesh_state *state, const char *key); /* NULL: absent */
static inline const char *appmesh_mesh_of(const struct appmesh_resource *resource) /* a mesh is its own */
{
	return resource->collection->mesh ?: resource->name;
}
/* Of one kind under one parent (RESOURCE_MESH: mesh is NULL), in byte order of their names. Borrowed until the state changes. */
size_t appmesh_children(const struct appmesh_state *state, struct appmesh_scope scope, enum resource_kind kind, const char *mesh,
			const char *parent, const struct appmesh_resource *const **ret_list);
json_t *appmesh_spec(const struct appmesh_resource *resource); /* the caller owns it, and does not change it */
/* The revision of a guard or of any key that the state keeps; 0: absent. */
uint64_t appmesh_guard_revision(const struct appmesh_state *state, const char *key);
const struct appmesh_token *appmesh_token_find(const struct appmesh_state *state, const char *key);
/* The oldest token where it is older than is kept. NULL: none. */
const struct appmesh_token *appmesh_token_expired(const struct appmesh_state *state, int64_t now_ms, const struct appmesh_token *after);

/* The full name, as struct resource has it, of what a key is of. -EINVAL: it is no resource's. */
int appmesh_key_name(const struct appmesh_state *state, const char *key, char full_name[RESOURCE_FULL_NAME_BYTES]);
/* NULL: at home. */
const struct resource_realm *appmesh_realm(const struct appmesh_state *state, struct appmesh_scope scope,
						    struct resource_realm *buffer);
/* -ENAMETOOLONG. */
int appmesh_resource_key(char key[APPMESH_KEY_BYTES], struct appmesh_scope scope, enum resource_kind kind, const char *mesh,
			 const char *parent, const char *name);
void appmesh_guard_key(char key[APPMESH_KEY_BYTES], struct appmesh_scope scope, const char *mesh); /* NULL: that of meshes */
void appmesh_token_key(char key[APPMESH_KEY_BYTES], struct appmesh_scope scope, const char *operation, const char *token);
