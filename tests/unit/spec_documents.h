/* SPDX-License-Identifier: Apache-2.0 */
/* Documents that the tests of rules and of sets share. */
#pragma once

#include "tests/unit/test_spec.h"

/* Frames for a spec, or for the part of one that a test is about. */
#define NODE(spec) "{'meshName': 'm', 'virtualNodeName': 'n', 'spec': " spec "}"
#define ROUTER(spec) "{'meshName': 'm', 'virtualRouterName': 'r', 'spec': " spec "}"
#define ROUTE(spec) "{'meshName': 'm', 'virtualRouterName': 'r', 'routeName': 't', 'spec': " spec "}"
#define PORT(port, protocol) "'portMapping': {'port': " #port ", 'protocol': '" protocol "'}"
#define ROUTER_1(protocol) ROUTER("{'listeners': [{" PORT(80, protocol) "}]}")
#define ROUTE_ON(kind, port, target_port)                                                                                     \
	ROUTE("{'" kind "': {'match': {" port "}, 'action': {'weightedTargets': ["                                            \
	      "{'virtualNode': 'elsewhere', 'weight': 1}, {'virtualNode': 'n', 'weight': 1" target_port "}]}}}")
#define HTTP_ON(port, target_port) ROUTE_ON("httpRoute", "'prefix': '/'" port, target_port)
#define ROUTE_NAME "mesh/m/virtualRouter/r/route/t"

/* A set of these, up to NULL. */
static inline void given_all(struct resources *set, const char *const *documents)
{
	resources_init(set);
	for (; *documents; documents++)
		given(set, *documents);
}
