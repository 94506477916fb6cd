/* SPDX-License-Identifier: Apache-2.0 */
/* Services that are exposed at addresses of this node, and devices that stand for virtual nodes: kept in the state under "exposed/" and
 * "attached/", put into the kernel's tables (maps/abi/edge.h), and their connections swept. Everything goes on in the kernel
 * while no agent runs, but for connections that fell silent. Thread: the loop's. */
#pragma once

#include <stddef.h>

#include "agent/compile/apply.h"
#include "agent/loop/loop.h"
#include "agent/state/state.h"
#include "base/error.h"
#include "base/json.h"
#include "maps/kernel.h"

struct edge;
struct edge_options {
	const char *instance;
	void (*changed)(void *arg); /* compile again: which services are exposed, or which nodes act here, has changed */
	void *arg;
};

/* Reads the state. Everything is borrowed. */
int edge_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct state *state, struct apply *apply,
	     const struct edge_options *options, struct edge **ret_edge, struct error *err);
/* Before `apply` and the offload thread end. NULL is fine. */
struct edge *edge_free(struct edge *edge);

/* The plan in force (apply_current()) has changed. */
void edge_sync(struct edge *edge);

/* For compile(): full names, services and nodes each in some order, maybe more than once. Borrowed until the next change. */
const char *const *edge_services(const struct edge *edge, size_t *ret_count);
const char *const *edge_nodes(const struct edge *edge, size_t *ret_count);

#define EDGE_DEVICES_MAX 8 /* of one exposed address */

struct edge_exposure {
	const char *service; /* full name */
	struct ip address;
	__be16 port;
	uint16_t service_port;
	size_t device_count; /* 0: the one that has the address */
	const char *devices[EDGE_DEVICES_MAX];
};
/* Adds, or replaces what was at the address. -EINVAL, -ENOENT and others name the member of the request. */
int edge_expose(struct edge *edge, const struct edge_exposure *exposure, struct error *err);
/* -ENOENT. Its open connections are denied from the next sweep on, some seconds from now. */
int edge_unexpose(struct edge *edge, const struct ip *address, __be16 port, struct error *err);
/* `node` is a full name. -EBUSY: the device has another role. */
int edge_attach(struct edge *edge, const char *device, const char *node, struct error *err);
int edge_detach(struct edge *edge, const char *device, struct error *err);

/* docs/local-api.md has what they look like. New references. */
json_t *edge_exposed_json(const struct edge *edge);
json_t *edge_attached_json(const struct edge *edge);
