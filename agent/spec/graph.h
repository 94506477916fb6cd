/* SPDX-License-Identifier: Apache-2.0 */
/* What resources refer to. */
#pragma once

#include "agent/spec/resource.h"

/* Every name that a resource refers to: its mesh, its parent, and members of the spec, each with its field path. What can be
 * no resource's name is told as it is written. */
typedef void graph_reference_fn(const char *field, const char *full_name, void *arg);
void graph_references(const struct resource *from, graph_reference_fn *fn, void *arg);
/* The same, where its spec is at hand. On any thread. */
void graph_references_in(const struct resource *from, const json_t *spec, graph_reference_fn *fn, void *arg);

/* Whether a virtual service that keeps its HTTP in the kernel leads to a virtual node, by a route or without, or to a route. */
bool graph_has_l4_http(const struct resources *set, const struct resource *resource);
