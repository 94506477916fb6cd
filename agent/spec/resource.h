/* SPDX-License-Identifier: Apache-2.0 */
/* App Mesh resources: seven kinds, each a validated JSON spec with its names. A resource is immutable and shared. A `struct
 * resources` is a set of them, by full name, that knows which name is referred to by whom, also where nothing has that name yet.
 * It changes one resource at a time; changes are looked at together by resources_check(), and then kept, all or none, by
 * resources_commit() or resources_rollback(). All of it costs as much as what changes, whatever else the set holds. One thread,
 * but for resource_parse().
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
#include "base/span.h"

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

/* Whose a resource is, and where: resources of two realms know nothing of each other. */
struct resource_realm {
	const char *account; /* "123456789012": the mesh's owner */
	const char *region; /* "eu-central-1" */
};

#define RESOURCE_NAME_CHARACTERS 255
struct resource {
	enum resource_kind kind;
	unsigned holders; /* see resource_ref() */
	const char *full_name; /* "mesh/M/virtualNode/N", "mesh/M/virtualRouter/R/route/T"; an ARN, which ends so, in a realm that is not home */
	const char *scope; /* what full_name has before "mesh/": "" at home */
	const char *account, *region; /* NULL at home */
	const char *mesh; /* mesh name */
	const char *parent; /* router or gateway name of a route; NULL for others */
	const char *name;
	const char *source; /* file it came from, for messages; NULL: none */
	/* Validated, without null members, as compact JSON with the members in their order: a tree of it would take ten times as much. To be read
	 * by resource_spec() and resource_tags(). */
	const char *spec_text;
	const char *tags_text; /* an array; NULL: none */
	uint64_t spec_hash; /* json_hash() */

	struct recent_spec *recent; /* resource.c's; NULL: it is none of those whose spec was asked for last */
};

/* Validates one resource in the form that `aws appmesh create-* --cli-input-json` takes: the name members tell the kind, parent
 * names included; `clientToken` and `meshOwner` are accepted, unknown members refused, null members as if they were not there.
 * `realm` NULL: home, the node's own account and region, whose names are short. `source` NULL: none. Both are copied; the spec is
 * shared with the document for a while, in which nobody changes it any more. The caller holds what it gets. -EINVAL with the field path;
 * -ENOMEM. */
int resource_new(const json_t *document, const struct resource_realm *realm, const char *source, struct resource **ret_resource,
		 struct error *err);
/* The same on any thread, whatever others do, for resources_add_parsed(). The full names that it refers to are the caller's to free: each with its
 * NUL, and an empty one at the end. */
int resource_parse(const json_t *document, const struct resource_realm *realm, const char *source, struct resource **ret_resource,
		   char **ret_references, struct error *err);
/* Its spec, which the caller owns and does not change: of those that were asked for last it is there, of others parsed anew, some microseconds
 * for each kilobyte. Never NULL: without memory the program ends, as who went on would take the resource for an empty one. */
json_t *resource_spec(const struct resource *resource);
/* None is there any more, for one that is asked for seldom. Who has one keeps it. */
void resource_specs_forget(void);
/* The same of its tags; NULL: it has none. */
json_t *resource_tags(const struct resource *resource);
bool resource_has_tag(const struct resource *resource, const char *key, const char *value);
/* Whether the HTTP ports of a virtual service stay the kernel's, which balances connections by weights and looks into none: by its tag
 * "weft/l4-http", whose value is "true" then. */
bool virtual_service_is_l4_http(const struct resource *service);
/* The document it was made from, by members that count. The caller owns it, and does not change what is in it. NULL: no memory. */
json_t *resource_document(const struct resource *resource);
struct resource *resource_ref(const struct resource *resource);
struct resource *resource_unref(const struct resource *resource); /* NULL is fine. Returns NULL */
bool resource_same_mesh(const struct resource *a, const struct resource *b);
/* But for the source. */
bool resource_equal(const struct resource *a, const struct resource *b);
bool resource_same_spec(const struct resource *a, const struct resource *b);

struct resources {
	struct table entries; /* by full name: resources, and names that are referred to */
	struct list touched; /* entries that changed since the last commit */
	const struct resource **ordered; /* what resources_each() made; NULL: not valid */
	size_t count;
};

void resources_init(struct resources *set);
void resources_done(struct resources *set);

/* The set holds the resource, in place of what had its name. 0 or -ENOMEM, and nothing has changed. */
int resources_put(struct resources *set, const struct resource *resource);
/* The same for a name that must be new: -EEXIST names both sources. */
int resources_add(struct resources *set, const struct resource *resource, struct error *err);
/* The same of what resource_parse() made: its spec is not looked at. */
int resources_add_parsed(struct resources *set, const struct resource *resource, const char *references, struct error *err);
/* resource_new() at home, and resources_add(). */
int resources_add_json(struct resources *set, const json_t *document, const char *source, struct error *err);
int resources_remove(struct resources *set, const char *full_name); /* 0, -ENOENT or -ENOMEM */

/* Checks rules that need more than one resource (kinds of routes against listeners, ports, several listeners), where both ends
 * exist and one of them changed since the last commit. References to what does not exist are no error: see
 * resources_unresolved(). -EINVAL: the message begins with the source, if any, and the resource's name:
 * `'route.json': mesh/M/virtualRouter/R/route/T: …`; the field is the path. Of several faults the first by full name. */
int resources_check(struct resources *set, struct error *err);
/* The rules of one resource against the others of the set. -EINVAL with the field path. */
int resource_check(const struct resources *set, const struct resource *resource, struct error *err);
/* Keeps the changes since the last commit, and calls `fn` (NULL: nobody) with each: what had a name before and has it now, NULL where
 * nothing did or does; equal ones are no change. Both are valid during the call. */
typedef void resources_changed_fn(const struct resource *before, const struct resource *now, void *arg);
void resources_commit(struct resources *set, resources_changed_fn *fn, void *arg);
/* Undoes them. */
void resources_rollback(struct resources *set);

const struct resource *resources_get(const struct resources *set, const char *full_name);
/* Of the same mesh as `of`, by parts: (RESOURCE_ROUTE, "R", "T"), (RESOURCE_VIRTUAL_NODE, NULL, "N"). NULL: absent. */
const struct resource *resources_sibling(const struct resources *set, const struct resource *of, enum resource_kind kind,
					 const char *parent, const char *name);
/* In order of full name. `fn` changes nothing; a negative return ends the walk and is returned. -ENOMEM. */
typedef int resources_each_fn(const struct resource *resource, void *arg);
int resources_each(const struct resources *set, resources_each_fn *fn, void *arg);
/* Whoever refers to a name, which may be nobody's: by a member of the spec, as its parent, or as its mesh. Once for each time. In
 * no order; `fn` changes nothing. */
typedef void resources_referrer_fn(const struct resource *from, void *arg);
void resources_referrers(const struct resources *set, const char *full_name, resources_referrer_fn *fn, void *arg);

/* Calls `fn` for every reference of `from` that names nothing in the set: the field path ("spec.provider…", "meshName",
 * "virtualRouterName"), and the full name of what it names. */
typedef void resources_unresolved_fn(const struct resource *from, const char *field, const char *missing, void *arg);
void resources_unresolved(const struct resources *set, const struct resource *from, resources_unresolved_fn *fn, void *arg);

/* Calls `fn` for every field of a resource that is accepted and stored but not in force in this version, with what that means
 * ("connectionPool: no limit is enforced yet"). For some that depends on which services of the set lead to it. */
typedef void resource_not_in_force_fn(const char *field, const char *meaning, void *arg);
void resource_not_in_force(const struct resources *set, const struct resource *resource, resource_not_in_force_fn *fn, void *arg);

/* Writes the full name ("mesh/M/virtualNode/N") of the parts. -ENAMETOOLONG. */
#define RESOURCE_FULL_NAME_BYTES 3328 /* three names of 255 characters of 4 bytes, the words between them, and a scope */
int resource_full_name(char *buffer, size_t size, const char *mesh, enum resource_kind kind, const char *parent, const char *name);
/* The full name of what a member of `from` names, a virtual service by name or by ARN: of the same scope, whatever an ARN says of
 * account and region. -ENAMETOOLONG; -EINVAL: an ARN of something else. */
int resource_reference_name(char *buffer, size_t size, const struct resource *from, enum resource_kind kind, const char *text);

/* The full name of the router of a route, or the gateway of a gateway route. */
void resource_parent_name(const struct resource *resource, char buffer[RESOURCE_FULL_NAME_BYTES]);

/* What full names in the realm begin with. The length, or -ENAMETOOLONG. */
int resource_realm_text(char *buffer, size_t size, const struct resource_realm *realm);

/* What every name must hold to, a virtual service's too: 1 to 255 characters, no "/", no control characters, neither "." nor "..".
 * -EINVAL; `member` is for the message. */
int resource_name_check(const char *member, const char *name, struct error *err);

/* The parts of a full name, in it: of "mesh/M/virtualNode/N" M, "virtualNode" and N, whatever is before them in another realm, and "N:8080"
 * where a port is behind it. False: it has no such parts. */
struct resource_name_parts {
	struct span mesh, kind, name;
};
bool resource_name_split(const char *full_name, struct resource_name_parts *ret_parts);

/* Parses "mesh/M/virtualNode/N" or a full ARN of it (App Mesh user guide: the forms a proxy is started with); the mesh may be
 * "M@123456789012", a shared mesh with its owner's account. Writes the short form, "mesh/M/virtualNode/N". -EINVAL says what is
 * wrong. */
int resource_name_parse(const char *text, enum resource_kind kind, char *ret_full_name, size_t size, struct error *err);

/* Which kind of what workloads act for the text names, in one of these forms: RESOURCE_VIRTUAL_NODE or RESOURCE_VIRTUAL_GATEWAY;
 * RESOURCE_KIND_COUNT: neither. */
enum resource_kind resource_actor_kind(const char *text);

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
