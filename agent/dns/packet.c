/* SPDX-License-Identifier: Apache-2.0 */
/* Reading never follows a compression pointer: names are only compared as bytes, skipped, or (in a question, where a pointer could
 * lead nowhere but into the header) refused with one. So there is nothing to go round in. */
#include "agent/dns/packet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/address.h"
#include "base/cleanup.h"

enum { /* of the header: offsets, then bits of its two bytes of flags */
	ID = 0,
	FLAGS = 2,
	QUESTIONS = 4,
	ANSWERS = 6,
	AUTHORITIES = 8,
	ADDITIONALS = 10,

	RESPONSE = 0x8000,
	OPCODE = 0x7800,
	AUTHORITATIVE = 0x0400,
	RECURSION_DESIRED = 0x0100,
	RECURSION_AVAILABLE = 0x0080,
	CHECKING_DISABLED = 0x0010,
	RCODE = 0x000f,
};
enum {
	NAME_MAX_BYTES = DNS_WIRE_NAME_BYTES,
	POINTER = 0xc0, /* the two bits that make a length the first byte of a pointer */
	QUESTION_NAME = 0xc00c, /* a pointer to the question's name */
	EDNS_DNSSEC_OK = 0x8000,
	EDNS_OUR_BYTES = 1232, /* what fits in any path's packets (DNS flag day 2020) */
};

struct reader {
	const uint8_t *bytes;
	size_t length, position;
};

static uint16_t get_u16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static void set_u16(uint8_t *bytes, uint16_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static const uint8_t *take(struct reader *reader, size_t count)
{
	const uint8_t *bytes = reader->bytes + reader->position;

	if (count > reader->length - reader->position)
		return NULL;
	reader->position += count;
	return bytes;
}

/* To behind a name. -EBADMSG: not whole, too long, or of a kind of label that there is not. */
static int skip_name(struct reader *reader, bool pointers)
{
	const size_t start = reader->position;

	for (;;) {
		const uint8_t *length = take(reader, 1);

		if (!length || reader->position - start > NAME_MAX_BYTES)
			return -EBADMSG;
		if (!*length)
			return 0;
		if ((*length & POINTER) == POINTER)
			return pointers && take(reader, 1) ? 0 : -EBADMSG;
		if (*length & POINTER || !take(reader, *length))
			return -EBADMSG;
	}
}

struct record {
	uint16_t type, class;
	uint32_t ttl; /* of OPT: extended rcode, version, flags */
	const uint8_t *data;
	uint16_t data_bytes;
	bool root; /* whose name is the root */
};

static int take_record(struct reader *reader, struct record *ret_record)
{
	const size_t start = reader->position;
	struct record record = {};
	const uint8_t *fixed;

	if (skip_name(reader, true) < 0)
		return -EBADMSG;
	record.root = reader->position - start == 1;
	fixed = take(reader, 10);
	if (!fixed)
		return -EBADMSG;
	record.type = get_u16(fixed);
	record.class = get_u16(fixed + 2);
	record.ttl = (uint32_t)get_u16(fixed + 4) << 16 | get_u16(fixed + 6);
	record.data_bytes = get_u16(fixed + 8);
	record.data = take(reader, record.data_bytes);
	if (!record.data)
		return -EBADMSG;
	*ret_record = record;
	return 0;
}

/* ---- names and numbers as text ---- */

void dns_name_text(const uint8_t *name, size_t length, char text[DNS_NAME_TEXT_BYTES])
{
	size_t position = 0;
	char *end = text;

	while (position < length && name[position]) {
		const size_t label_end = position + 1 + name[position];

		if (position > 0)
			*end++ = '.';
		for (position++; position < label_end; position++) {
			const uint8_t byte = name[position];

			if (byte >= 'A' && byte <= 'Z')
				*end++ = (char)(byte - 'A' + 'a');
			else if (byte > ' ' && byte < 0x7f && byte != '.' && byte != '\\')
				*end++ = (char)byte;
			else
				end += sprintf(end, "\\%03u", byte);
		}
	}
	*end = '\0';
}

struct number_name {
	unsigned number;
	const char *name;
};

static const struct number_name types[] = {
	{ DNS_TYPE_A, "A" },	   { DNS_TYPE_NS, "NS" },	{ DNS_TYPE_CNAME, "CNAME" }, { DNS_TYPE_SOA, "SOA" },
	{ DNS_TYPE_PTR, "PTR" },   { 15, "MX" },		{ 16, "TXT" },		     { DNS_TYPE_AAAA, "AAAA" },
	{ 33, "SRV" },		   { DNS_TYPE_OPT, "OPT" },	{ 64, "SVCB" },		     { DNS_TYPE_HTTPS, "HTTPS" },
	{ DNS_TYPE_ANY, "ANY" },   {},
};
static const struct number_name rcodes[] = {
	{ DNS_NOERROR, "NOERROR" },   { DNS_FORMERR, "FORMERR" }, { DNS_SERVFAIL, "SERVFAIL" }, { DNS_NXDOMAIN, "NXDOMAIN" },
	{ DNS_NOTIMP, "NOTIMP" },     { DNS_REFUSED, "REFUSED" }, { DNS_BADVERS, "BADVERS" },	{},
};

static const char *number_name(const struct number_name *names, const char *prefix, unsigned number, char *buffer, size_t size)
{
	for (; names->name; names++)
		if (names->number == number)
			return names->name;
	snprintf(buffer, size, "%s%u", prefix, number);
	return buffer;
}

const char *dns_type_name(uint16_t type, char buffer[DNS_TYPE_TEXT_BYTES])
{
	return number_name(types, "TYPE", type, buffer, DNS_TYPE_TEXT_BYTES);
}

const char *dns_rcode_name(unsigned rcode, char buffer[DNS_RCODE_TEXT_BYTES])
{
	return number_name(rcodes, "RCODE", rcode, buffer, DNS_RCODE_TEXT_BYTES);
}

int dns_type_by_name(const char *name)
{
	unsigned long number;
	char *end;

	for (const struct number_name *row = types; row->name; row++)
		if (strcasecmp(row->name, name) == 0)
			return (int)row->number;
	if (strncasecmp(name, "TYPE", 4) != 0 || name[4] < '0' || name[4] > '9')
		return -EINVAL;
	number = strtoul(name + 4, &end, 10);
	return *end || number > UINT16_MAX ? -EINVAL : (int)number;
}

/* ---- queries ---- */

/* RFC 6891 section 6.1.2: options fill the data exactly. */
static int take_edns(const struct record *record, struct dns_query *query)
{
	struct reader options = { .bytes = record->data, .length = record->data_bytes };

	if (query->edns || !record->root)
		return -EINVAL;
	while (options.position < options.length) {
		const uint8_t *option = take(&options, 4);

		if (!option || !take(&options, get_u16(option + 2)))
			return -EINVAL;
	}
	query->edns = true;
	query->edns_bytes = MAX(record->class, DNS_UDP_BYTES);
	query->edns_version = (uint8_t)(record->ttl >> 16);
	query->dnssec_ok = record->ttl & EDNS_DNSSEC_OK;
	return 0;
}

static int take_question(struct reader *reader, struct dns_query *query)
{
	const uint8_t *fixed;

	if (skip_name(reader, false) < 0)
		return -EINVAL;
	dns_name_text(reader->bytes + DNS_HEADER_BYTES, reader->position - DNS_HEADER_BYTES, query->name);
	fixed = take(reader, 4);
	if (!fixed)
		return -EINVAL;
	query->type = get_u16(fixed);
	query->class = get_u16(fixed + 2);
	query->question_bytes = reader->position - DNS_HEADER_BYTES;
	return 0;
}

int dns_query_parse(const void *packet, size_t length, struct dns_query *ret_query)
{
	struct reader reader = { .bytes = packet, .length = length, .position = DNS_HEADER_BYTES };
	const uint8_t *header = packet;
	struct dns_query *query = ret_query;
	unsigned others, additionals;
	uint16_t flags;

	if (length < DNS_HEADER_BYTES || get_u16(header + FLAGS) & RESPONSE)
		return -EBADMSG;
	flags = get_u16(header + FLAGS);
	query->id = get_u16(header + ID);
	query->recursion_desired = flags & RECURSION_DESIRED;
	query->checking_disabled = flags & CHECKING_DISABLED;
	query->name[0] = '\0';
	query->type = query->class = 0;
	query->question_bytes = 0;
	query->edns = query->dnssec_ok = false;
	query->edns_bytes = DNS_UDP_BYTES;
	query->edns_version = 0;
	if (flags & OPCODE || get_u16(header + QUESTIONS) != 1)
		return -EOPNOTSUPP;
	if (take_question(&reader, query) < 0)
		return -EINVAL;
	others = (unsigned)get_u16(header + ANSWERS) + get_u16(header + AUTHORITIES);
	additionals = get_u16(header + ADDITIONALS);
	for (unsigned i = 0; i < others + additionals; i++) {
		struct record record;

		if (take_record(&reader, &record) < 0)
			return -EINVAL;
		if (record.type == DNS_TYPE_OPT && (i < others || take_edns(&record, query) < 0))
			return -EINVAL;
	}
	return 0;
}

/* ---- answers of our own ---- */

struct writer {
	uint8_t *bytes;
	size_t length;
};

static uint8_t *put(struct writer *writer, size_t count)
{
	uint8_t *bytes = writer->bytes + writer->length;

	writer->length += count;
	return bytes;
}

static void put_u16(struct writer *writer, uint16_t value)
{
	set_u16(put(writer, 2), value);
}

static void put_u32(struct writer *writer, uint32_t value)
{
	put_u16(writer, (uint16_t)(value >> 16));
	put_u16(writer, (uint16_t)value);
}

static void put_record(struct writer *writer, uint16_t type, uint32_t ttl_seconds, uint16_t data_bytes)
{
	put_u16(writer, QUESTION_NAME);
	put_u16(writer, type);
	put_u16(writer, DNS_CLASS_IN);
	put_u32(writer, ttl_seconds);
	put_u16(writer, data_bytes);
}

/* The header, and the question where there is one. */
static struct writer begin(uint8_t *answer, const void *packet, const struct dns_query *query, unsigned flags, unsigned rcode)
{
	const size_t question_bytes = query ? query->question_bytes : 0;
	struct writer writer = { .bytes = answer, .length = DNS_HEADER_BYTES };

	memset(answer, 0, DNS_HEADER_BYTES);
	memcpy(answer, packet, 2);
	flags |= get_u16((const uint8_t *)packet + FLAGS) & (OPCODE | RECURSION_DESIRED | CHECKING_DISABLED);
	set_u16(answer + FLAGS, (uint16_t)(RESPONSE | RECURSION_AVAILABLE | flags | (rcode & RCODE)));
	if (question_bytes) {
		set_u16(answer + QUESTIONS, 1);
		memcpy(put(&writer, question_bytes), (const uint8_t *)packet + DNS_HEADER_BYTES, question_bytes);
	}
	return writer;
}

static size_t finish(struct writer *writer, const struct dns_query *query, unsigned rcode)
{
	if (query && query->edns) {
		set_u16(writer->bytes + ADDITIONALS, 1);
		*put(writer, 1) = 0; /* the root */
		put_u16(writer, DNS_TYPE_OPT);
		put_u16(writer, EDNS_OUR_BYTES);
		put_u32(writer, (uint32_t)(rcode >> 4) << 24 | (query->dnssec_ok ? EDNS_DNSSEC_OK : 0));
		put_u16(writer, 0);
	}
	return writer->length;
}

size_t dns_answer_address(const void *packet, const struct dns_query *query, const struct ip *address, uint32_t ttl_seconds,
			  uint8_t answer[DNS_ANSWER_MAX_BYTES])
{
	const uint16_t bytes = query->type == DNS_TYPE_A ? 4 : 16;
	struct writer writer;

	if (query->edns_version)
		return dns_answer_error(packet, query, DNS_BADVERS, answer);
	writer = begin(answer, packet, query, AUTHORITATIVE, DNS_NOERROR);
	set_u16(answer + ANSWERS, 1);
	put_record(&writer, query->type, ttl_seconds, bytes);
	memcpy(put(&writer, bytes), address->bytes + 16 - bytes, bytes);
	return finish(&writer, query, DNS_NOERROR);
}

size_t dns_answer_nodata(const void *packet, const struct dns_query *query, uint32_t negative_ttl_seconds,
			 uint8_t answer[DNS_ANSWER_MAX_BYTES])
{
	struct writer writer;

	if (query->edns_version)
		return dns_answer_error(packet, query, DNS_BADVERS, answer);
	writer = begin(answer, packet, query, AUTHORITATIVE, DNS_NOERROR);
	set_u16(answer + AUTHORITIES, 1);
	put_record(&writer, DNS_TYPE_SOA, negative_ttl_seconds, 2 + 1 + 5 * 4);
	put_u16(&writer, QUESTION_NAME); /* each name of the mesh is a zone of its own */
	*put(&writer, 1) = 0; /* without a mailbox: the root */
	put_u32(&writer, 1); /* serial, refresh, retry, expire: nobody transfers it */
	put_u32(&writer, 3600);
	put_u32(&writer, 600);
	put_u32(&writer, 86400);
	put_u32(&writer, negative_ttl_seconds);
	return finish(&writer, query, DNS_NOERROR);
}

size_t dns_answer_error(const void *packet, const struct dns_query *query, unsigned rcode, uint8_t answer[DNS_ANSWER_MAX_BYTES])
{
	struct writer writer = begin(answer, packet, query, 0, rcode);

	return finish(&writer, query, rcode);
}

/* ---- answers of others ---- */

bool dns_answers(const void *answer, size_t answer_bytes, const void *packet, size_t question_bytes)
{
	const uint8_t *header = answer, *question = header + DNS_HEADER_BYTES;

	if (answer_bytes < DNS_HEADER_BYTES || !(get_u16(header + FLAGS) & RESPONSE) || get_u16(header + FLAGS) & OPCODE)
		return false;
	if (answer_bytes == DNS_HEADER_BYTES)
		return dns_rcode(answer) != DNS_NOERROR && !get_u16(header + QUESTIONS);
	return get_u16(header + QUESTIONS) == 1 && question_bytes <= answer_bytes - DNS_HEADER_BYTES &&
	       !memcmp(question, (const uint8_t *)packet + DNS_HEADER_BYTES, question_bytes);
}

uint16_t dns_id(const void *packet)
{
	return get_u16((const uint8_t *)packet + ID);
}

void dns_set_id(void *packet, uint16_t id)
{
	set_u16((uint8_t *)packet + ID, id);
}

unsigned dns_rcode(const void *packet)
{
	return get_u16((const uint8_t *)packet + FLAGS) & RCODE;
}

static bool record_address(const struct record *record, struct ip *ret_ip)
{
	static const struct ip mapped = { .bytes = { [10] = 0xff, [11] = 0xff } };
	const size_t bytes = record->type == DNS_TYPE_A ? 4 : record->type == DNS_TYPE_AAAA ? 16 : 0;
	struct ip ip = mapped;

	if (!bytes || record->class != DNS_CLASS_IN || record->data_bytes != bytes)
		return false;
	memcpy(ip.bytes + 16 - bytes, record->data, bytes);
	*ret_ip = ip;
	return true;
}

int dns_addresses_each(const void *answer, size_t length, dns_address_fn *fn, void *arg)
{
	struct reader reader = { .bytes = answer, .length = length, .position = DNS_HEADER_BYTES };
	const uint8_t *header = answer;

	if (length < DNS_HEADER_BYTES)
		return -EBADMSG;
	for (unsigned i = get_u16(header + QUESTIONS); i > 0; i--)
		if (skip_name(&reader, true) < 0 || !take(&reader, 4))
			return -EBADMSG;
	for (unsigned i = get_u16(header + ANSWERS); i > 0; i--) {
		struct record record;
		struct ip address;
		int r;

		if (take_record(&reader, &record) < 0)
			return -EBADMSG;
		if (!record_address(&record, &address))
			continue;
		/* RFC 2181 section 8: the highest bit set means 0. */
		r = fn(&address, record.ttl > INT32_MAX ? 0 : record.ttl, arg);
		if (r < 0)
			return r;
	}
	return 0;
}
