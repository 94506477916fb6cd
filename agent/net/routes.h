/* SPDX-License-Identifier: Apache-2.0 */
/* What the host routes already. */
#pragma once

#include "base/error.h"
#include "maps/abi/types.h"

/* -EADDRINUSE naming `field` and the route, when a route of this namespace (the default route aside) overlaps the network: VIPs
 * must be addresses that nobody else has. Reads /proc/self/net/route and ipv6_route. */
int routes_check(const struct ip *network, const struct ip *mask, const char *field, struct error *err);
