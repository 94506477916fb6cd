/* SPDX-License-Identifier: Apache-2.0 */
/* Which resources of a mesh name which, by the reference rules of their kinds. */
#pragma once

#include "agent/api/appmesh/state.h"

/* `name` is that of a resource of `kind` in the same mesh. `field`: where it is named, "spec.provider...". */
typedef void appmesh_reference_fn(enum resource_kind kind, const char *name, const char *field, void *arg);
void appmesh_references(enum resource_kind from, const json_t *spec, appmesh_reference_fn *fn, void *arg);

/* Every virtual service, route and gateway route of the mesh that names the resource: what may name others at any time, a virtual
 * node's backends, is left out. */
typedef void appmesh_referrer_fn(const struct appmesh_resource *from, const char *field, void *arg);
void appmesh_referrers(const struct appmesh_state *state, struct appmesh_scope scope, const char *mesh, enum resource_kind kind,
		       const char *name, appmesh_referrer_fn *fn, void *arg);
