/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dns/packet.h"

#include <errno.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

/* ---- packets, put together by hand ---- */

enum { QUERY_FLAGS = 0x0100, ANSWER_FLAGS = 0x8180 };

static void add_u16(struct buffer *b, unsigned value)
{
	buffer_append(b, (uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

static void add_header(struct buffer *b, unsigned flags, unsigned questions, unsigned answers, unsigned authorities, unsigned additionals)
{
	add_u16(b, 0x1234);
	add_u16(b, flags);
	add_u16(b, questions);
	add_u16(b, answers);
	add_u16(b, authorities);
	add_u16(b, additionals);
}

/* Labels as in text, without escapes. */
static void add_name(struct buffer *b, const char *name)
{
	while (*name) {
		const size_t length = strcspn(name, ".");
		const uint8_t byte = (uint8_t)length;

		buffer_append(b, &byte, 1);
		buffer_append(b, name, length);
		name += length + (name[length] == '.');
	}
	buffer_append(b, "", 1);
}

static void add_question(struct buffer *b, const char *name, unsigned type, unsigned class)
{
	add_name(b, name);
	add_u16(b, type);
	add_u16(b, class);
}

/* `version` and `options` as bytes. */
static void add_opt(struct buffer *b, unsigned size, unsigned version, bool dnssec_ok, const char *options, size_t option_bytes)
{
	buffer_append(b, "", 1);
	add_u16(b, DNS_TYPE_OPT);
	add_u16(b, size);
	add_u16(b, version);
	add_u16(b, dnssec_ok ? 0x8000 : 0);
	add_u16(b, (unsigned)option_bytes);
	buffer_append(b, options, option_bytes);
}

/* Behind a pointer to the question's name. */
static void add_record(struct buffer *b, unsigned type, uint32_t ttl, const void *data, size_t length)
{
	add_u16(b, 0xc00c);
	add_u16(b, type);
	add_u16(b, DNS_CLASS_IN);
	add_u16(b, ttl >> 16);
	add_u16(b, ttl & 0xffff);
	add_u16(b, (unsigned)length);
	buffer_append(b, data, length);
}

static struct buffer given_query(const char *name, unsigned type)
{
	struct buffer b = {};

	add_header(&b, QUERY_FLAGS, 1, 0, 0, 0);
	add_question(&b, name, type, DNS_CLASS_IN);
	return b;
}

static struct buffer given_edns_query(unsigned size, unsigned version, const char *options, size_t option_bytes)
{
	struct buffer b = {};

	add_header(&b, QUERY_FLAGS, 1, 0, 0, 1);
	add_question(&b, "a.example", DNS_TYPE_A, DNS_CLASS_IN);
	add_opt(&b, size, version, true, options, option_bytes);
	return b;
}

/* From memory of exactly that size, so that a sanitizer sees a read beyond it. */
static int parse(const struct buffer *b, size_t length, struct dns_query *ret_query)
{
	_cleanup_free_ char *exact = malloc(length ? length : 1);

	memcpy(exact, b->data, length);
	return dns_query_parse(exact, length, ret_query);
}

static unsigned count_of(const uint8_t *packet, size_t offset)
{
	return (unsigned)packet[offset] << 8 | packet[offset + 1];
}

/* ---- queries ---- */

TEST(a_query_tells_name_type_class_id_and_flags)
{
	_cleanup_(buffer_done) struct buffer b = given_query("Payment.Example.COM", DNS_TYPE_AAAA);
	struct dns_query q;

	EXPECT_OK(parse(&b, b.length, &q));
	EXPECT_EQ(q.id, 0x1234);
	EXPECT(q.recursion_desired && !q.checking_disabled);
	EXPECT_STR(q.name, "payment.example.com");
	EXPECT_EQ(q.type, DNS_TYPE_AAAA);
	EXPECT_EQ(q.class, DNS_CLASS_IN);
	EXPECT_EQ(q.question_bytes, b.length - DNS_HEADER_BYTES);
	EXPECT(!q.edns);
	EXPECT_EQ(q.edns_bytes, DNS_UDP_BYTES);
}

TEST(a_query_cut_at_any_byte_is_malformed_and_never_read_beyond)
{
	_cleanup_(buffer_done) struct buffer b = given_edns_query(1232, 0, "\0\12\0\4abcd", 8);
	struct dns_query q;

	for (size_t length = 0; length < b.length; length++)
		EXPECT_EQ(parse(&b, length, &q), length < DNS_HEADER_BYTES ? -EBADMSG : -EINVAL);
	EXPECT_OK(parse(&b, b.length, &q));
	EXPECT(q.edns && q.dnssec_ok);
	EXPECT_EQ(q.edns_bytes, 1232);
}

TEST(what_an_edns_client_takes_is_never_less_than_512_bytes)
{
	_cleanup_(buffer_done) struct buffer b = given_edns_query(100, 0, "", 0);
	struct dns_query q;

	EXPECT_OK(parse(&b, b.length, &q));
	EXPECT_EQ(q.edns_bytes, DNS_UDP_BYTES);
}

TEST(bytes_that_are_no_text_are_escaped_so_that_different_names_stay_different)
{
	_cleanup_(buffer_done) struct buffer b = {};
	struct dns_query q;

	add_header(&b, QUERY_FLAGS, 1, 0, 0, 0);
	buffer_append(&b, "\10a.b\\ \377\0Z\3com\0\0\1\0\1", 18);
	EXPECT_OK(parse(&b, b.length, &q));
	EXPECT_STR(q.name, "a\\046b\\092\\032\\255\\000z.com");
}

TEST(the_longest_name_fits_as_text_where_each_byte_is_escaped)
{
	_cleanup_(buffer_done) struct buffer b = {};
	uint8_t name[DNS_WIRE_NAME_BYTES];
	struct dns_query q;

	memset(name, 0xff, sizeof(name));
	name[0] = name[64] = name[128] = 63;
	name[192] = 61;
	name[254] = 0;
	add_header(&b, QUERY_FLAGS, 1, 0, 0, 0);
	buffer_append(&b, name, sizeof(name));
	add_u16(&b, DNS_TYPE_A);
	add_u16(&b, DNS_CLASS_IN);
	EXPECT_OK(parse(&b, b.length, &q));
	EXPECT_EQ(strlen(q.name), 250 * 4 + 3);
}

TEST(a_name_of_256_bytes_is_malformed)
{
	_cleanup_(buffer_done) struct buffer b = {};
	uint8_t name[DNS_WIRE_NAME_BYTES + 1];
	struct dns_query q;

	memset(name, 'a', sizeof(name));
	name[0] = name[64] = name[128] = 63;
	name[192] = 62;
	name[255] = 0;
	add_header(&b, QUERY_FLAGS, 1, 0, 0, 0);
	buffer_append(&b, name, sizeof(name));
	add_u16(&b, DNS_TYPE_A);
	add_u16(&b, DNS_CLASS_IN);
	EXPECT_EQ(parse(&b, b.length, &q), -EINVAL);
}

TEST(compression_and_unknown_label_kinds_in_a_question_are_malformed)
{
	static const char *const names[] = { "\300\14", "\300\20", "\1a\300\14", "\300\377", "\100a", "\200a" };
	struct dns_query q;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(buffer_done) struct buffer b = {};

		add_header(&b, QUERY_FLAGS, 1, 0, 0, 0);
		buffer_add(&b, names[i]);
		buffer_append(&b, "\0\0\1\0\1", 5);
		if (parse(&b, b.length, &q) != -EINVAL)
			fail_msg("name %zu was accepted", i);
	}
}

TEST(what_is_no_query_is_told_from_what_is_not_implemented)
{
	static const struct {
		unsigned flags, questions;
		int r;
	} cases[] = {
		{ 0x8000, 1, -EBADMSG }, /* an answer */
		{ 0x8000 | 5 << 11, 0, -EBADMSG },
		{ 0x2800, 1, -EOPNOTSUPP }, /* an update */
		{ 0x7800, 1, -EOPNOTSUPP },
		{ QUERY_FLAGS, 0, -EOPNOTSUPP },
		{ QUERY_FLAGS, 2, -EOPNOTSUPP },
		{ QUERY_FLAGS, 65535, -EOPNOTSUPP },
	};
	struct dns_query q;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(buffer_done) struct buffer b = {};

		add_header(&b, cases[i].flags, cases[i].questions, 0, 0, 0);
		add_question(&b, "a", DNS_TYPE_A, DNS_CLASS_IN);
		add_question(&b, "b", DNS_TYPE_A, DNS_CLASS_IN);
		EXPECT_EQ(parse(&b, b.length, &q), cases[i].r);
	}
}

TEST(another_class_is_parsed_and_told)
{
	_cleanup_(buffer_done) struct buffer b = {};
	struct dns_query q;

	add_header(&b, QUERY_FLAGS, 1, 0, 0, 0);
	add_question(&b, "version.bind", 16, 3);
	EXPECT_OK(parse(&b, b.length, &q));
	EXPECT_EQ(q.class, 3);
}

TEST(edns_that_is_not_once_at_the_root_in_the_additional_section_is_malformed)
{
	_cleanup_(buffer_done) struct buffer twice = {}, elsewhere = {}, named = {}, options = given_edns_query(1232, 0, "\0\3\0\5abcd", 8);
	struct dns_query q;

	add_header(&twice, QUERY_FLAGS, 1, 0, 0, 2);
	add_question(&twice, "a", DNS_TYPE_A, DNS_CLASS_IN);
	add_opt(&twice, 1232, 0, false, "", 0);
	add_opt(&twice, 1232, 0, false, "", 0);
	EXPECT_EQ(parse(&twice, twice.length, &q), -EINVAL);

	add_header(&elsewhere, QUERY_FLAGS, 1, 1, 0, 0);
	add_question(&elsewhere, "a", DNS_TYPE_A, DNS_CLASS_IN);
	add_opt(&elsewhere, 1232, 0, false, "", 0);
	EXPECT_EQ(parse(&elsewhere, elsewhere.length, &q), -EINVAL);

	add_header(&named, QUERY_FLAGS, 1, 0, 0, 1);
	add_question(&named, "a", DNS_TYPE_A, DNS_CLASS_IN);
	add_record(&named, DNS_TYPE_OPT, 0, "", 0);
	EXPECT_EQ(parse(&named, named.length, &q), -EINVAL);

	EXPECT_EQ(parse(&options, options.length, &q), -EINVAL); /* an option longer than the data */
}

TEST(other_records_of_a_query_are_let_be)
{
	_cleanup_(buffer_done) struct buffer b = {};
	struct dns_query q;

	add_header(&b, QUERY_FLAGS, 1, 0, 1, 2);
	add_question(&b, "a", DNS_TYPE_A, DNS_CLASS_IN);
	add_record(&b, DNS_TYPE_SOA, 0, "x", 1);
	add_record(&b, 250, 0, "signature", 9);
	add_opt(&b, 4096, 0, false, "", 0);
	EXPECT_OK(parse(&b, b.length, &q));
	EXPECT_EQ(q.edns_bytes, 4096);
}

/* ---- numbers ---- */

TEST(types_and_rcodes_have_names_and_those_without_have_numbers)
{
	char type[DNS_TYPE_TEXT_BYTES], rcode[DNS_RCODE_TEXT_BYTES];

	EXPECT_STR(dns_type_name(DNS_TYPE_A, type), "A");
	EXPECT_STR(dns_type_name(65535, type), "TYPE65535");
	EXPECT_STR(dns_rcode_name(DNS_NXDOMAIN, rcode), "NXDOMAIN");
	EXPECT_STR(dns_rcode_name(9, rcode), "RCODE9");
	for (unsigned number = 0; number <= UINT16_MAX; number++)
		EXPECT_EQ(dns_type_by_name(dns_type_name((uint16_t)number, type)), number);
	EXPECT_EQ(dns_type_by_name("aaaa"), DNS_TYPE_AAAA);
	EXPECT_EQ(dns_type_by_name("type65"), 65);
}

TEST(what_names_no_type_is_refused)
{
	static const char *const names[] = { "", "AA", "TYPE", "TYPE65536", "TYPE1x", "TYPE-1", "TYPE 1", "1" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		EXPECT_EQ(dns_type_by_name(names[i]), -EINVAL);
}

/* ---- our answers ---- */

struct found {
	size_t count;
	struct ip addresses[8];
	uint32_t ttls[8];
	size_t limit;
};

static int note_address(const struct ip *address, uint32_t ttl_seconds, void *arg)
{
	struct found *found = arg;

	if (found->count == found->limit)
		return -E2BIG;
	found->addresses[found->count] = *address;
	found->ttls[found->count++] = ttl_seconds;
	return 0;
}

static struct found addresses_of(const void *answer, size_t length)
{
	struct found found = { .limit = 8 };

	EXPECT_OK(dns_addresses_each(answer, length, note_address, &found));
	return found;
}

TEST(an_address_is_answered_with_the_question_as_it_came)
{
	static const struct {
		unsigned type;
		const char *address;
	} cases[] = { { DNS_TYPE_A, "240.240.0.7" }, { DNS_TYPE_AAAA, "2001:2::7" } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(buffer_done) struct buffer b = given_query("PayMent.example", cases[i].type);
		uint8_t answer[DNS_ANSWER_MAX_BYTES];
		struct dns_query q;
		struct found found;
		struct ip ip;
		size_t length;

		EXPECT_OK(ip_parse(cases[i].address, &ip));
		EXPECT_OK(parse(&b, b.length, &q));
		length = dns_answer_address(b.data, &q, &ip, 10, answer);

		EXPECT(dns_answers(answer, length, b.data, q.question_bytes));
		EXPECT_EQ(dns_id(answer), 0x1234);
		EXPECT_EQ(count_of(answer, 2), 0x8580); /* QR AA RD RA */
		EXPECT_EQ(count_of(answer, 10), 0); /* no EDNS where there was none */
		found = addresses_of(answer, length);
		EXPECT_EQ(found.count, 1);
		EXPECT(ip_equal(&found.addresses[0], &ip));
		EXPECT_EQ(found.ttls[0], 10);
	}
}

TEST(nodata_has_a_soa_with_the_negative_ttl)
{
	_cleanup_(buffer_done) struct buffer b = given_query("a.example", DNS_TYPE_HTTPS);
	uint8_t answer[DNS_ANSWER_MAX_BYTES];
	struct dns_query q;
	size_t length;

	EXPECT_OK(parse(&b, b.length, &q));
	length = dns_answer_nodata(b.data, &q, 3, answer);
	EXPECT_EQ(dns_rcode(answer), DNS_NOERROR);
	EXPECT_EQ(count_of(answer, 6), 0);
	EXPECT_EQ(count_of(answer, 8), 1);
	EXPECT_EQ(count_of(answer, b.length + 2), DNS_TYPE_SOA);
	EXPECT_EQ(count_of(answer, b.length + 8), 3); /* its TTL */
	EXPECT_EQ(count_of(answer, b.length + 10), length - b.length - 12); /* the data ends with the packet */
	EXPECT_EQ(count_of(answer, length - 2), 3); /* its minimum */
}

TEST(edns_is_echoed_with_our_size_and_the_dnssec_flag)
{
	_cleanup_(buffer_done) struct buffer b = given_edns_query(4096, 0, "\0\12\0\4abcd", 8);
	const struct ip ip = { .bytes = { [10] = 0xff, 0xff, 10, 0, 0, 1 } };
	uint8_t answer[DNS_ANSWER_MAX_BYTES];
	struct dns_query q;
	size_t length;

	EXPECT_OK(parse(&b, b.length, &q));
	length = dns_answer_address(b.data, &q, &ip, 10, answer);
	EXPECT_EQ(count_of(answer, 10), 1);
	EXPECT(!memcmp(answer + length - 11, "\0\0\51\4\320\0\0\200\0\0\0", 11)); /* size 1232, version 0, DO, no options */
}

TEST(another_edns_version_is_answered_badvers)
{
	_cleanup_(buffer_done) struct buffer b = given_edns_query(4096, 1, "", 0);
	const struct ip ip = {};
	uint8_t answers[2][DNS_ANSWER_MAX_BYTES];
	size_t lengths[2];
	struct dns_query q;

	EXPECT_OK(parse(&b, b.length, &q));
	EXPECT_EQ(q.edns_version, 1);
	lengths[0] = dns_answer_address(b.data, &q, &ip, 10, answers[0]);
	lengths[1] = dns_answer_nodata(b.data, &q, 1, answers[1]);
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(dns_rcode(answers[i]), 0);
		EXPECT_EQ(count_of(answers[i], 6), 0);
		EXPECT(!memcmp(answers[i] + lengths[i] - 11, "\0\0\51\4\320\1\0\200\0\0\0", 11)); /* 16 is 1 above the header's 4 bits */
	}
}

TEST(an_error_repeats_what_could_be_read_of_the_query)
{
	_cleanup_(buffer_done) struct buffer cut = given_query("a.example", DNS_TYPE_A), update = {};
	uint8_t answer[DNS_ANSWER_MAX_BYTES];
	struct dns_query q;

	EXPECT_EQ(parse(&cut, cut.length - 1, &q), -EINVAL);
	EXPECT_EQ(dns_answer_error(cut.data, &q, DNS_FORMERR, answer), DNS_HEADER_BYTES);
	EXPECT_EQ(dns_id(answer), 0x1234);
	EXPECT_EQ(dns_rcode(answer), DNS_FORMERR);
	EXPECT_EQ(count_of(answer, 4), 0);

	cut.data[11] = 1; /* claims a record that is not there */
	EXPECT_EQ(parse(&cut, cut.length, &q), -EINVAL);
	EXPECT_EQ(dns_answer_error(cut.data, &q, DNS_FORMERR, answer), cut.length);
	EXPECT_EQ(count_of(answer, 4), 1);

	add_header(&update, 0x2800, 1, 0, 0, 0);
	EXPECT_EQ(parse(&update, update.length, &q), -EOPNOTSUPP);
	EXPECT_EQ(dns_answer_error(update.data, NULL, DNS_NOTIMP, answer), DNS_HEADER_BYTES);
	EXPECT_EQ(count_of(answer, 2), 0x8000 | 0x2800 | 0x0080 | DNS_NOTIMP);
}

/* ---- answers of others ---- */

TEST(an_answer_is_one_to_this_question_in_this_very_case)
{
	_cleanup_(buffer_done) struct buffer query = given_query("wWw.example", DNS_TYPE_A);
	struct dns_query q;

	EXPECT_OK(parse(&query, query.length, &q));
	query.data[2] = (char)0x81;
	EXPECT(dns_answers(query.data, query.length, query.data, q.question_bytes));
	for (size_t i = 0; i < query.length; i++) {
		_cleanup_(buffer_done) struct buffer other = {};
		const bool matters = i == 2 || i == 4 || i == 5 || i >= DNS_HEADER_BYTES;

		buffer_append(&other, query.data, query.length);
		other.data[i] ^= i == 2 ? 0x80 : 0x20; /* of a letter: its case */
		EXPECT_EQ(dns_answers(other.data, other.length, query.data, q.question_bytes), !matters);
		EXPECT(i <= DNS_HEADER_BYTES || !dns_answers(query.data, i, query.data, q.question_bytes)); /* cut */
	}
}

TEST(an_error_that_is_a_header_alone_is_an_answer)
{
	static const uint8_t formerr[] = { 0, 1, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0 }, noerror[] = { 0, 1, 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0 };
	_cleanup_(buffer_done) struct buffer query = given_query("a", DNS_TYPE_A);
	struct dns_query q;

	EXPECT_OK(parse(&query, query.length, &q));
	EXPECT(dns_answers(formerr, sizeof(formerr), query.data, q.question_bytes));
	EXPECT(!dns_answers(noerror, sizeof(noerror), query.data, q.question_bytes));
	EXPECT(!dns_answers(formerr, sizeof(formerr) - 1, query.data, q.question_bytes));
}

static struct buffer given_answer(void)
{
	struct buffer b = {};

	add_header(&b, ANSWER_FLAGS, 1, 4, 0, 0);
	add_question(&b, "a.example", DNS_TYPE_A, DNS_CLASS_IN);
	add_record(&b, DNS_TYPE_CNAME, 60, "\1b\300\16", 4);
	add_record(&b, DNS_TYPE_A, 60, "\12\0\0\1", 4);
	add_record(&b, DNS_TYPE_A, 0x80000001, "\12\0\0\2", 4); /* RFC 2181: 0 */
	add_record(&b, DNS_TYPE_AAAA, 7, "\375\0\0\0\0\0\0\0\0\0\0\0\0\0\0\3", 16);
	return b;
}

TEST(addresses_of_an_answer_are_found_behind_aliases)
{
	_cleanup_(buffer_done) struct buffer b = given_answer();
	struct found found = addresses_of(b.data, b.length);
	char text[IP_TEXT_BYTES];

	EXPECT_EQ(found.count, 3);
	EXPECT_STR(ip_format(&found.addresses[0], text), "10.0.0.1");
	EXPECT_EQ(found.ttls[0], 60);
	EXPECT_STR(ip_format(&found.addresses[1], text), "10.0.0.2");
	EXPECT_EQ(found.ttls[1], 0);
	EXPECT_STR(ip_format(&found.addresses[2], text), "fd00::3");
}

TEST(a_cut_answer_gives_the_addresses_before_the_cut_and_says_so)
{
	_cleanup_(buffer_done) struct buffer b = given_answer();
	size_t most = 0;

	for (size_t length = 0; length < b.length; length++) {
		_cleanup_free_ char *exact = malloc(length ? length : 1);
		struct found found = { .limit = 8 };

		memcpy(exact, b.data, length);
		EXPECT_EQ(dns_addresses_each(exact, length, note_address, &found), -EBADMSG);
		EXPECT(found.count >= most);
		most = found.count;
	}
	EXPECT_EQ(most, 2);
}

TEST(pointers_of_any_kind_in_answers_are_stepped_over)
{
	static const char *const names[] = { "\300\377", /* forwards, to nowhere */ "\300\33", /* to itself */
					     "\1x\300\33", "\1x\1y\300\33" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(buffer_done) struct buffer b = {};
		struct found found;

		add_header(&b, ANSWER_FLAGS, 1, 1, 0, 0);
		add_question(&b, "a.example", DNS_TYPE_A, DNS_CLASS_IN);
		buffer_add(&b, names[i]);
		buffer_append(&b, "\0\1\0\1\0\0\0\1\0\4\12\0\0\1", 14);
		found = addresses_of(b.data, b.length);
		EXPECT_EQ(found.count, 1);
	}
}

TEST(addresses_of_the_wrong_size_or_class_are_none)
{
	_cleanup_(buffer_done) struct buffer b = {};

	add_header(&b, ANSWER_FLAGS, 1, 3, 0, 0);
	add_question(&b, "a", DNS_TYPE_A, DNS_CLASS_IN);
	add_record(&b, DNS_TYPE_A, 1, "\12\0\0", 3);
	add_record(&b, DNS_TYPE_AAAA, 1, "\12\0\0\1", 4);
	buffer_append(&b, "\300\14\0\1\0\3\0\0\0\1\0\4\12\0\0\1", 16); /* CHAOS */
	EXPECT_EQ(addresses_of(b.data, b.length).count, 0);
}

TEST(a_visitor_that_has_enough_ends_the_visit)
{
	_cleanup_(buffer_done) struct buffer b = given_answer();
	struct found found = { .limit = 1 };

	EXPECT_EQ(dns_addresses_each(b.data, b.length, note_address, &found), -E2BIG);
	EXPECT_EQ(found.count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_query_tells_name_type_class_id_and_flags),
		cmocka_unit_test(a_query_cut_at_any_byte_is_malformed_and_never_read_beyond),
		cmocka_unit_test(what_an_edns_client_takes_is_never_less_than_512_bytes),
		cmocka_unit_test(bytes_that_are_no_text_are_escaped_so_that_different_names_stay_different),
		cmocka_unit_test(the_longest_name_fits_as_text_where_each_byte_is_escaped),
		cmocka_unit_test(a_name_of_256_bytes_is_malformed),
		cmocka_unit_test(compression_and_unknown_label_kinds_in_a_question_are_malformed),
		cmocka_unit_test(what_is_no_query_is_told_from_what_is_not_implemented),
		cmocka_unit_test(another_class_is_parsed_and_told),
		cmocka_unit_test(edns_that_is_not_once_at_the_root_in_the_additional_section_is_malformed),
		cmocka_unit_test(other_records_of_a_query_are_let_be),
		cmocka_unit_test(types_and_rcodes_have_names_and_those_without_have_numbers),
		cmocka_unit_test(what_names_no_type_is_refused),
		cmocka_unit_test(an_address_is_answered_with_the_question_as_it_came),
		cmocka_unit_test(nodata_has_a_soa_with_the_negative_ttl),
		cmocka_unit_test(edns_is_echoed_with_our_size_and_the_dnssec_flag),
		cmocka_unit_test(another_edns_version_is_answered_badvers),
		cmocka_unit_test(an_error_repeats_what_could_be_read_of_the_query),
		cmocka_unit_test(an_answer_is_one_to_this_question_in_this_very_case),
		cmocka_unit_test(an_error_that_is_a_header_alone_is_an_answer),
		cmocka_unit_test(addresses_of_an_answer_are_found_behind_aliases),
		cmocka_unit_test(a_cut_answer_gives_the_addresses_before_the_cut_and_says_so),
		cmocka_unit_test(pointers_of_any_kind_in_answers_are_stepped_over),
		cmocka_unit_test(addresses_of_the_wrong_size_or_class_are_none),
		cmocka_unit_test(a_visitor_that_has_enough_ends_the_visit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
