/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spec/kind.h"

static const struct dormant_rule dormant[] = {
	{ "listeners[].portMapping", "https means http with TLS: connections are refused (needs-tls) until weft speaks TLS",
	  port_mapping_implies_tls },
	{},
};

const struct kind_rules virtual_router_rules = { .check = listeners_check, .dormant = dormant };
