/* SPDX-License-Identifier: Apache-2.0 */
/* App Mesh resources: seven kinds, each a validated JSON spec with its names. A `struct resources` is one consistent set, what
 * a directory of files or a store holds; it is built, checked as a whole, and then only read.
 *
 * Shapes and bounds come from tables generated from model.json (the API's own model); rules that span fields or resources
 * are in one file for each kind. Documented behaviour: App Mesh API 2019-01-25. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/list.h"

enum resource_kind {
	RESOURCE_MESH,
	RESOURCE_VIRTUAL_SERVICE,
	RESOURCE_VIRTUAL_NODE,
	RESOURCE_VIRTUAL_ROUTER,
	RESOURCE_ROUTE,
	RESOURCE_VIRTUAL_GATEWAY,
	RESOURCE_GATEWAY_ROUTE,
	RESOURCE_KIND_COUNT,
};

struct resource_kind_info {
	const char *path_word; /* "virtualNode", in names and ARNs */
	const char *name_member; /* "virtualNodeName", in bodies */
	const char *create_shape; /* "CreateVirtualNodeInput" */
	const char *spec_shape; /* "VirtualNodeSpec" */
	enum resource_kind parent; /* RESOURCE_VIRTUAL_ROUTER for routes …; RESOURCE_KIND_COUNT for meshes */
};
extern const struct resource_kind_info resource_kinds[RESOURCE_KIND_COUNT];

#define RESOURCE_NAME_CHARACTERS 255
struct resource {
	enum resource_kind kind;
	char *full_name; /* "mesh/M/virtualNode/N", "mesh/M/virtualRouter/R/route/T" */
	char *mesh; /* mesh name */
	char *parent; /* router or gateway name of a route; NULL for others */
	char *name;
	json_t *spec; /* validated; owned */
	json_t *tags; /* array or NULL; owned */
	char *source; /* file it came from, for messages; NULL: none */
	struct table_node node; /* by full_name */
	struct list link; /* in resources.list: as added, in order of full_name once checked */
};

struct resources {
	struct table by_name;
	struct list list;
	size_t count;
};

void resources_init(struct resources *set);
void resources_done(struct resources *set);
/* Moves what `from` holds to `to`, whose own is released. `from` is empty afterwards. */
void resources_move(struct resources *to, struct resources *from);

/* Validates one resource in the form that `aws appmesh create-* --cli-input-json` takes: the name members tell the kind, parent
 * names included; `clientToken` and `meshOwner` are accepted, unknown members refused, null members as if they were not there.
 * Adds it to the set. -EINVAL with the field path; -EEXIST when the set has the name already (the message names both sources).
 * `source` is copied; NULL: none. */
int resources_add_json(struct resources *set, const json_t *document, const char *source, struct error *err);

/* Puts the list in order, then checks rules that need more than one resource (kinds of routes against listeners, ports, several
 * listeners), where both ends exist. References to what does not exist are no error: see resources_unresolved(). -EINVAL: the
 * message begins with the source, if any, and the resource's name: `'route.json': mesh/M/virtualRouter/R/route/T: …`; the field
 * is the path. */
int resources_check(struct resources *set, struct error *err);
/* The rules of one resource against the others of the set. -EINVAL with the field path. */
int resource_check(const struct resources *set, const struct resource *resource, struct error *err);

/* Calls `fn` for every reference that names nothing: from, field path ("spec.provider…", "meshName", "virtualRouterName"), and the
 * full name of what it names. */
typedef void resources_unresolved_fn(const struct resource *from, const char *field, const char *missing, void *arg);
void resources_unresolved(const struct resources *set, resources_unresolved_fn *fn, void *arg);

/* Calls `fn` for every field that is accepted and stored but not in force in this version, with what that means
 * ("connectionPool: no limit is enforced yet"). */
typedef void resource_not_in_force_fn(const char *field, const char *meaning, void *arg);
void resource_not_in_force(const struct resource *resource, resource_not_in_force_fn *fn, void *arg);

const struct resource *resources_get(const struct resources *set, const char *full_name);
/* By parts: ("M", RESOURCE_ROUTE, "R", "T"), ("M", RESOURCE_VIRTUAL_NODE, NULL, "N"). NULL: absent. */
const struct resource *resources_find(const struct resources *set, const char *mesh, enum resource_kind kind, const char *parent,
				      const char *name);
/* Writes the full name ("mesh/M/virtualNode/N") of the parts. -ENAMETOOLONG. */
#define RESOURCE_FULL_NAME_BYTES 3328 /* three names of 255 characters of 4 bytes, and the words between them */
int resource_full_name(char *buffer, size_t size, const char *mesh, enum resource_kind kind, const char *parent, const char *name);

/* What every name must hold to, a virtual service's too: 1 to 255 characters, no "/", no control characters, neither "." nor "..".
 * -EINVAL; `member` is for the message. */
int resource_name_check(const char *member, const char *name, struct error *err);

/* Parses "mesh/M/virtualNode/N" or a full ARN of it (App Mesh user guide: the forms a proxy is started with); the mesh may be
 * "M@123456789012", a shared mesh with its owner's account. Writes the short form, "mesh/M/virtualNode/N". -EINVAL says what is
 * wrong. */
int resource_name_parse(const char *text, enum resource_kind kind, char *ret_full_name, size_t size, struct error *err);

/* The protocol a port mapping means: "https", which documents in the wild use, is http with TLS STRICT. */
struct port_mapping {
	uint16_t port;
	const char *protocol; /* "http", "http2", "grpc", "tcp" */
	bool implies_tls;
};
void port_mapping_read(const json_t *port_mapping, struct port_mapping *ret_mapping);

/* Whose and where the resource of a name is, as far as the name says: region and account of an ARN, and the account of the mesh's owner
 * in "M@123456789012". "" where it does not say; what is too long is cut, and so equals nothing. */
struct resource_scope {
	char region[32];
	char account[16];
	char mesh_owner[16];
};
void resource_name_scope(const char *text, struct resource_scope *ret_scope);
