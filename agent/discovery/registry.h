/* SPDX-License-Identifier: Apache-2.0 */
/* weft's own registry behind `awsCloudMap` discovery: instances of a service in a namespace, with attributes, kept in the
 * state. AWS_INSTANCE_IPV4, AWS_INSTANCE_IPV6 and AWS_INSTANCE_PORT mean what they mean in Cloud Map (API_RegisterInstance). */
#pragma once

#include <stdint.h>

#include "agent/state/state.h"
#include "base/error.h"
#include "base/json.h"
#include "maps/abi/types.h"

#define INSTANCE_ATTRIBUTES_MAX 30 /* Cloud Map's own bound */

struct instance {
	char *namespace_name; /* "production.local" */
	char *service_name; /* "checkout-v1" */
	char *id; /* "i-1" */
	const char *attributes; /* see instance_attribute(); what the caller of registry_put() gives is ignored */
	struct ip v4, v6; /* of the attributes, all zero: none; likewise */
	uint16_t port; /* likewise; 0: none, the listener's */
	uint64_t netns_cookie; /* the registrant's namespace; a loopback address is offered there only; 0: unknown */
	uint64_t workload; /* of `weft run`: the instance goes when this workload does; 0: stays until deregistered */
	char *zone; /* NULL: none */
};

/* NULL: it has none of that name. */
const char *instance_attribute(const struct instance *instance, const char *name);
json_t *instance_attributes(const struct instance *instance); /* an object, the caller's; NULL: no memory */

struct registry;

/* Reads what the state has; loopback instances of an earlier boot, whose namespaces are gone, are dropped. `changed` runs after
 * each change, for each service whose instances changed. */
typedef void registry_changed_fn(const char *namespace_name, const char *service_name, void *arg);
int registry_new(struct state *state, registry_changed_fn *changed, void *arg, struct registry **ret_registry, struct error *err);
struct registry *registry_free(struct registry *registry);

/* Adds or replaces; `attributes` is an object of strings. -EINVAL names the member: names 1..1024 characters without '/', id 1..64, at most 30 attributes, keys 1..255,
 * values 0..1024, at least one address that one can connect to, a port 1..65535 if there is one; -EINVAL as well for a loopback
 * address without a namespace. Copies. The same once more changes nothing. */
int registry_put(struct registry *registry, const struct instance *instance, const json_t *attributes, struct error *err);
int registry_remove(struct registry *registry, const char *namespace_name, const char *service_name, const char *id,
		    struct error *err); /* -ENOENT */
int registry_remove_workload(struct registry *registry, uint64_t workload);

/* Instances in order of namespace, service and id; NULL for a name: of any. Instances must not change meanwhile; a negative return
 * of `fn` ends the walk and is returned. */
typedef int registry_fn(const struct instance *instance, void *arg);
int registry_each(const struct registry *registry, const char *namespace_name, const char *service_name, registry_fn *fn, void *arg);
