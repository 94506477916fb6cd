/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "agent/spec/kind.h"

bool ip_preference_mild(const json_t *preference)
{
	return strstr(json_string_value(preference), "_PREFERRED") != NULL;
}

static const struct dormant_rule dormant[] = {
	{ "serviceDiscovery.ipPreference", IP_PREFERENCE_MILD, ip_preference_mild },
	{},
};

const struct kind_rules mesh_rules = { .dormant = dormant };
