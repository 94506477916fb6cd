/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spec/kind.h"

static int check(const json_t *spec, struct error *err)
{
	int r = listeners_check(spec, err);

	if (r == 0)
		r = client_policy_check(json_path(spec, "backendDefaults.clientPolicy.tls"), "spec.backendDefaults.clientPolicy.tls", err);
	return r < 0 ? r : logging_check(spec, err);
}

static const struct dormant_rule dormant[] = {
	{ "", "virtual gateways are not served yet", NULL },
	{},
};

const struct kind_rules virtual_gateway_rules = { .check = check, .dormant = dormant };
