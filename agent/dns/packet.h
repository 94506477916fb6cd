/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages (RFC 1035 section 4, EDNS by RFC 6891): what the responder must understand of a query, the answers it gives of its
 * own, and the addresses in the answers of others. Pure: bytes in, bytes out; no input makes it read or write out of bounds. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "maps/abi/types.h"

#define DNS_HEADER_BYTES 12
#define DNS_WIRE_NAME_BYTES 255 /* RFC 1035 section 2.3.4 */
#define DNS_NAME_TEXT_BYTES 1017 /* 253 bytes, each as \DDD at worst, dots, and NUL */
#define DNS_UDP_BYTES 512 /* the most that a client without EDNS takes (RFC 1035 section 4.2.1) */
#define DNS_MESSAGE_MAX_BYTES 65535
#define DNS_ANSWER_MAX_BYTES 512 /* no answer of our own is longer */

enum { DNS_TYPE_A = 1, DNS_TYPE_NS = 2, DNS_TYPE_CNAME = 5, DNS_TYPE_SOA = 6, DNS_TYPE_PTR = 12, DNS_TYPE_AAAA = 28, DNS_TYPE_OPT = 41,
       DNS_TYPE_HTTPS = 65, DNS_TYPE_ANY = 255 };
enum { DNS_CLASS_IN = 1 };
enum { DNS_NOERROR = 0, DNS_FORMERR = 1, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_NOTIMP = 4, DNS_REFUSED = 5, DNS_BADVERS = 16 };

struct dns_query {
	uint16_t id;
	bool recursion_desired, checking_disabled;
	char name[DNS_NAME_TEXT_BYTES]; /* in lower case, without a dot at the end; "" is the root; odd bytes as \DDD */
	uint16_t type, class;
	size_t question_bytes; /* the question section as it came, for answers: case is kept (0x20) */
	bool edns;
	uint16_t edns_bytes; /* the client's UDP payload size, at least 512; DNS_UDP_BYTES without EDNS */
	uint8_t edns_version;
	bool dnssec_ok;
};

/* 0; -EINVAL: malformed, to be answered FORMERR; -EOPNOTSUPP: NOTIMP (another opcode, not exactly one question); -EBADMSG: shorter
 * than a header, or no query at all: answering would be wrong (two responders could do so for ever). `ret_query->id` and the two
 * flags are set in the first three cases. */
int dns_query_parse(const void *packet, size_t length, struct dns_query *ret_query);

/* "A", "AAAA", "TYPE65"; a number's name for people. Returns `buffer` or a constant. */
#define DNS_TYPE_TEXT_BYTES 12
const char *dns_type_name(uint16_t type, char buffer[DNS_TYPE_TEXT_BYTES]);
int dns_type_by_name(const char *name); /* "A", "aaaa", "TYPE65"; -EINVAL */
/* "NOERROR", "RCODE9"; likewise. */
#define DNS_RCODE_TEXT_BYTES 16
const char *dns_rcode_name(unsigned rcode, char buffer[DNS_RCODE_TEXT_BYTES]);
/* A name without compression, as it stands in the question of a query that was parsed, as dns_query.name says. */
void dns_name_text(const uint8_t *name, size_t length, char text[DNS_NAME_TEXT_BYTES]);

/* Each writes one whole answer to the query in `packet` (as parsed, or as far as that went) into `answer` and returns its length.
 * Recursion available, EDNS echoed with our size 1232; the first two authoritative, and BADVERS where the client's EDNS version
 * is not 0. */
size_t dns_answer_address(const void *packet, const struct dns_query *query, const struct ip *address, uint32_t ttl_seconds,
			  uint8_t answer[DNS_ANSWER_MAX_BYTES]); /* one A or AAAA by query->type */
/* NOERROR without an answer; the SOA makes resolvers forget it after `negative_ttl_seconds` (RFC 2308 section 5). */
size_t dns_answer_nodata(const void *packet, const struct dns_query *query, uint32_t negative_ttl_seconds,
			 uint8_t answer[DNS_ANSWER_MAX_BYTES]);
/* `query` may be NULL: then the answer is a header alone, with the packet's id. */
size_t dns_answer_error(const void *packet, const struct dns_query *query, unsigned rcode, uint8_t answer[DNS_ANSWER_MAX_BYTES]);

/* Whether `answer` is a response to the query in `packet`: same question, bytes for bytes, case included (0x20); or an error that is
 * a header alone, as servers give who know no EDNS. Its id is not looked at. */
bool dns_answers(const void *answer, size_t answer_bytes, const void *packet, size_t question_bytes);
uint16_t dns_id(const void *packet);
void dns_set_id(void *packet, uint16_t id);
unsigned dns_rcode(const void *packet);

/* Addresses (A and AAAA, whoever owns them: CNAMEs were followed by the resolver) in the answer section, with their TTL. Stops at what it
 * cannot read: -EBADMSG after what came before; or at a negative return of `fn`, which is returned. */
typedef int dns_address_fn(const struct ip *address, uint32_t ttl_seconds, void *arg);
int dns_addresses_each(const void *answer, size_t length, dns_address_fn *fn, void *arg);
