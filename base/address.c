/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAPPED_BITS 96 /* what a v4-mapped address has before its IPv4 part */

static const unsigned char mapped_prefix[MAPPED_BITS / 8] = { [10] = 0xff, [11] = 0xff };

/* Decimal without sign, spaces or leading zeros, up to the end of the text. -1: it is none, or above `max` (below 10^6). */
static long parse_decimal(const char *text, long max)
{
	char *end;
	long value;

	if (!isdigit((unsigned char)text[0]) || (text[0] == '0' && text[1]) || strlen(text) > 6)
		return -1;
	value = strtol(text, &end, 10);
	return *end || value > max ? -1 : value;
}

/* AF_INET or AF_INET6, as it was written; 0: neither. */
static int parse(const char *text, struct ip *ret_ip)
{
	struct ip ip = {};

	memcpy(ip.bytes, mapped_prefix, sizeof(mapped_prefix));
	if (inet_pton(AF_INET, text, &ip.words[3]) == 1) {
		*ret_ip = ip;
		return AF_INET;
	}
	if (inet_pton(AF_INET6, text, ip.bytes) == 1) {
		*ret_ip = ip;
		return AF_INET6;
	}
	return 0;
}

int ip_parse(const char *text, struct ip *ret_ip)
{
	return parse(text, ret_ip) ? 0 : -EINVAL;
}

const char *ip_format(const struct ip *ip, char buffer[IP_TEXT_BYTES])
{
	if (ip_is_v4(ip))
		inet_ntop(AF_INET, &ip->words[3], buffer, IP_TEXT_BYTES);
	else
		inet_ntop(AF_INET6, ip->bytes, buffer, IP_TEXT_BYTES);
	return buffer;
}

int ip_port_parse(const char *text, struct ip *ret_ip, __be16 *ret_port)
{
	const char *colon = strrchr(text, ':');
	bool brackets = text[0] == '[';
	size_t length = colon ? (size_t)(colon - text) : 0;
	char address[IP_TEXT_BYTES];
	struct ip ip;
	long port;

	if (brackets) {
		if (length < 2 || text[length - 1] != ']')
			return -EINVAL;
		text++;
		length -= 2;
	}
	if (!colon || length >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, length);
	address[length] = '\0';
	port = parse_decimal(colon + 1, UINT16_MAX);
	if (port < 1 || parse(address, &ip) != (brackets ? AF_INET6 : AF_INET))
		return -EINVAL;
	*ret_ip = ip;
	*ret_port = htons((uint16_t)port);
	return 0;
}

const char *ip_port_format(const struct ip *ip, __be16 port, char buffer[ENDPOINT_TEXT_BYTES])
{
	char address[IP_TEXT_BYTES];

	snprintf(buffer, ENDPOINT_TEXT_BYTES, ip_is_v4(ip) ? "%s:%u" : "[%s]:%u", ip_format(ip, address), ntohs(port));
	return buffer;
}

int ip_prefix_parse(const char *text, struct ip *ret_network, struct ip *ret_mask)
{
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : 0;
	char address[IP_TEXT_BYTES];
	struct ip network, mask = {};
	int family;
	long bits;

	if (!slash || length >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, length);
	address[length] = '\0';
	family = parse(address, &network);
	bits = family ? parse_decimal(slash + 1, family == AF_INET ? 32 : 128) : -1;
	if (bits < 0)
		return -EINVAL;
	if (family == AF_INET)
		bits += MAPPED_BITS;
	for (long i = 0; i < bits; i++)
		mask.bytes[i / 8] |= (unsigned char)(0x80 >> i % 8);
	if (!ip_in_prefix(&network, &network, &mask))
		return -EINVAL;
	*ret_network = network;
	*ret_mask = mask;
	return 0;
}

bool ip_is_v4(const struct ip *ip)
{
	return !memcmp(ip->bytes, mapped_prefix, sizeof(mapped_prefix));
}

bool ip_is_loopback(const struct ip *ip)
{
	return ip_is_v4(ip) ? ip->bytes[12] == IN_LOOPBACKNET : !memcmp(ip->bytes, &in6addr_loopback, sizeof(ip->bytes));
}

bool ip_is_connectable(const struct ip *ip)
{
	static const struct ip unspecified4 = { .bytes = { [10] = 0xff, [11] = 0xff } }, unspecified6;
	const bool multicast = ip_is_v4(ip) ? ip->bytes[12] >= 224 : ip->bytes[0] == 0xff;

	return !multicast && !ip_equal(ip, &unspecified4) && !ip_equal(ip, &unspecified6);
}

bool ip_equal(const struct ip *a, const struct ip *b)
{
	return a->halves[0] == b->halves[0] && a->halves[1] == b->halves[1];
}

bool ip_in_prefix(const struct ip *ip, const struct ip *network, const struct ip *mask)
{
	return (ip->halves[0] & mask->halves[0]) == network->halves[0] && (ip->halves[1] & mask->halves[1]) == network->halves[1];
}

socklen_t ip_to_sockaddr(const struct ip *ip, __be16 port, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = ip->words[3] };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = port };

	memcpy(&v6.sin6_addr, ip->bytes, sizeof(v6.sin6_addr));
	if (ip_is_v4(ip))
		memcpy(ret_address, &v4, sizeof(v4));
	else
		memcpy(ret_address, &v6, sizeof(v6));
	return ip_is_v4(ip) ? sizeof(v4) : sizeof(v6);
}
