/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/routes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/cleanup.h"

/* Two prefixes overlap just when they agree on the bits that both fix. */
static bool overlap(const struct ip *a, const struct ip *a_mask, const struct ip *b, const struct ip *b_mask)
{
	for (int i = 0; i < 2; i++)
		if ((a->halves[i] ^ b->halves[i]) & a_mask->halves[i] & b_mask->halves[i])
			return false;
	return true;
}

static int report(const struct ip *route, unsigned length, const char *device, const char *field, struct error *err)
{
	char text[IP_TEXT_BYTES];

	return error_set_field(err, -EADDRINUSE, field, "this host routes %s/%u (%s) already, so VIPs cannot come from there",
			       ip_format(route, text), length, device);
}

static int check_v4(const struct ip *network, const struct ip *mask, const char *field, struct error *err)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/net/route", "re");
	char line[512], device[32];
	unsigned destination, route_mask, flags;

	while (f && fgets(line, sizeof(line), f)) {
		struct ip route = { .words = { 0, 0, htonl(0xffff), 0 } }, all = { .words = { ~0u, ~0u, ~0u, 0 } };

		if (sscanf(line, "%31s %x %*x %x %*d %*d %*d %x", device, &destination, &flags, &route_mask) != 4 || !route_mask)
			continue;
		route.words[3] = destination; /* in network order, printed as a native integer */
		all.words[3] = route_mask;
		if (overlap(network, mask, &route, &all))
			return report(&route, __builtin_popcount(route_mask), device, field, err);
	}
	return 0;
}

static int check_v6(const struct ip *network, const struct ip *mask, const char *field, struct error *err)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/net/ipv6_route", "re");
	char line[512], hex[33], device[32];
	unsigned length;

	while (f && fgets(line, sizeof(line), f)) {
		struct ip route = {}, route_mask = {};

		if (sscanf(line, "%32s %x %*s %*s %*s %*s %*s %*s %*s %31s", hex, &length, device) != 3 || !length || length > 128)
			continue;
		for (int i = 0; i < 16; i++)
			sscanf(hex + 2 * i, "%2hhx", &route.bytes[i]);
		for (unsigned i = 0; i < length; i++)
			route_mask.bytes[i / 8] |= 0x80 >> i % 8;
		if (overlap(network, mask, &route, &route_mask))
			return report(&route, length, device, field, err);
	}
	return 0;
}

int routes_check(const struct ip *network, const struct ip *mask, const char *field, struct error *err)
{
	return ip_is_v4(network) ? check_v4(network, mask, field, err) : check_v6(network, mask, field, err);
}
