/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spec/kind.h"

static const struct reference_rule references[] = {
	{ "provider.virtualNode.virtualNodeName", RESOURCE_VIRTUAL_NODE },
	{ "provider.virtualRouter.virtualRouterName", RESOURCE_VIRTUAL_ROUTER },
	{},
};

bool virtual_service_is_l4_http(const struct resource *service)
{
	return resource_has_tag(service, "weft/l4-http", "true");
}

const struct kind_rules virtual_service_rules = { .references = references };
