/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spec/kind.h"

static const struct reference_rule references[] = {
	{ "provider.virtualNode.virtualNodeName", RESOURCE_VIRTUAL_NODE },
	{ "provider.virtualRouter.virtualRouterName", RESOURCE_VIRTUAL_ROUTER },
	{},
};

const struct kind_rules virtual_service_rules = { .references = references };
