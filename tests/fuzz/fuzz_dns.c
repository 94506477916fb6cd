/* SPDX-License-Identifier: Apache-2.0 */
/* DNS packets: whatever parses is answered, and each answer is one to the question, with what was put into it. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/dns/packet.h"
#include "base/address.h"

static void expect(bool condition)
{
	if (!condition)
		abort();
}

static int count_addresses(const struct ip *address, uint32_t ttl_seconds, void *arg)
{
	struct ip *last = arg;

	expect(ttl_seconds <= INT32_MAX);
	*last = *address;
	return 0;
}

/* Our answers are packets that we could read ourselves: as a query, once they no longer say that they are none. */
static void check_answer(const uint8_t *packet, const struct dns_query *query, const uint8_t *answer, size_t length)
{
	uint8_t as_query[DNS_ANSWER_MAX_BYTES];
	struct dns_query back;

	expect(length <= DNS_ANSWER_MAX_BYTES);
	expect(dns_answers(answer, length, packet, query->question_bytes));
	expect(dns_id(answer) == query->id);
	memcpy(as_query, answer, length);
	as_query[2] &= 0x7f;
	expect(dns_query_parse(as_query, length, &back) == 0);
	expect(!strcmp(back.name, query->name) && back.type == query->type && back.class == query->class);
	expect(back.edns == query->edns && back.dnssec_ok == query->dnssec_ok && back.edns_version == 0);
	expect(back.recursion_desired == query->recursion_desired && back.checking_disabled == query->checking_disabled);
}

static void check_answers(const uint8_t *packet, struct dns_query *query)
{
	const struct ip address = { .bytes = { [10] = 0xff, 0xff, 240, 240, 1, 2 } };
	uint8_t answer[DNS_ANSWER_MAX_BYTES];
	struct ip found = {};
	size_t length;

	check_answer(packet, query, answer, dns_answer_nodata(packet, query, 1, answer));
	check_answer(packet, query, answer, dns_answer_error(packet, query, DNS_SERVFAIL, answer));
	expect(dns_rcode(answer) == DNS_SERVFAIL);
	if (query->type != DNS_TYPE_A && query->type != DNS_TYPE_AAAA)
		return;
	length = dns_answer_address(packet, query, &address, 10, answer);
	check_answer(packet, query, answer, length);
	expect(dns_addresses_each(answer, length, count_addresses, &found) == 0);
	expect(query->edns_version || ip_equal(&found, &address));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t answer[DNS_ANSWER_MAX_BYTES];
	struct dns_query query;
	struct ip last;
	int r = dns_query_parse(bytes, size, &query);

	if (r == 0)
		check_answers(bytes, &query);
	else if (r == -EINVAL || r == -EOPNOTSUPP)
		expect(dns_answer_error(bytes, &query, DNS_FORMERR, answer) >= DNS_HEADER_BYTES);
	dns_addresses_each(bytes, size, count_addresses, &last);
	/* The second half as an answer to the first. */
	if (dns_query_parse(bytes, size / 2, &query) == 0)
		dns_answers(bytes + size / 2, size - size / 2, bytes, query.question_bytes);
	return 0;
}
