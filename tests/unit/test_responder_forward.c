/* SPDX-License-Identifier: Apache-2.0 */
/* Queries that go on to the resolver, by UDP. */
#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "tests/unit/clock.h"
#include "tests/unit/responder_world.h"

#define RESOLVER "127.0.0.1"

struct fixture {
	struct responder_world w;
	int client;
};

static void given(struct fixture *f)
{
	responder_world_init(&f->w);
	given_place(&f->w, RESOLVER);
	f->client = client_udp(&f->w, RESOLVER);
}

static void done(struct fixture *f)
{
	fd_close(f->client);
	responder_world_done(&f->w);
}

/* Neither the client nor the resolver hears of anything in some turns, which work all of it off. */
static void expect_silence(struct fixture *f)
{
	world_turns(&f->w, 5);
	EXPECT(!readable(f->client));
}

TEST(a_query_is_forwarded_as_it_came_but_for_its_id_and_so_is_the_answer)
{
	struct fixture f;
	struct packet query = query_packet(0x1234, "WWW.example", DNS_TYPE_A), answer, expected;
	struct asked asked;

	given(&f);
	query.bytes[query.length - 1] = 3; /* any class, any bits */
	query.bytes[3] = 0x30;
	udp_send(f.client, &query);
	asked = resolver_receive(&f.w);
	EXPECT_EQ(asked.query.length, query.length);
	EXPECT(!memcmp(asked.query.bytes + 2, query.bytes + 2, query.length - 2));

	expected = answer_packet(&query, DNS_NXDOMAIN, 2, 60);
	answer = answer_packet(&asked.query, DNS_NXDOMAIN, 2, 60);
	resolver_answer(&f.w, &asked, &answer);
	answer = udp_receive(&f.w, f.client);
	EXPECT_EQ(answer.length, expected.length);
	EXPECT(!memcmp(answer.bytes, expected.bytes, expected.length));
	EXPECT_EQ(f.w.outcomes[DNS_FORWARDED], 1);
	done(&f);
}

TEST(ids_are_drawn_anew_and_ports_change)
{
	struct fixture f;
	uint16_t ports[1200];
	size_t distinct = 0, ids_kept = 0;

	given(&f);
	for (uint16_t i = 0; i < ARRAY_SIZE(ports); i++) {
		const struct packet query = query_packet(i, "www.example", DNS_TYPE_A);
		struct packet answer;
		struct asked asked;
		bool seen = false;

		udp_send(f.client, &query);
		asked = resolver_receive(&f.w);
		ids_kept += dns_id(asked.query.bytes) == i;
		ports[i] = asked.from.sin_port;
		for (size_t k = 0; k < i && !seen; k++)
			seen = ports[k] == ports[i];
		distinct += !seen;
		answer = answer_packet(&asked.query, DNS_NOERROR, 1, 60);
		resolver_answer(&f.w, &asked, &answer);
		answer = udp_receive(&f.w, f.client);
		EXPECT_EQ(dns_id(answer.bytes), i);
	}
	EXPECT(ids_kept < 10);
	EXPECT(distinct >= 5 && distinct <= 20); /* 4 at a time, each for 256 queries */
	EXPECT_EQ(f.w.outcomes[DNS_FORWARDED], ARRAY_SIZE(ports));
	done(&f);
}

TEST(answers_to_nothing_or_to_another_question_are_dropped_and_counted)
{
	struct fixture f;
	const struct packet query = query_packet(1, "wWw.example", DNS_TYPE_A);
	struct packet right, wrong;
	struct asked asked;

	given(&f);
	udp_send(f.client, &query);
	asked = resolver_receive(&f.w);
	right = answer_packet(&asked.query, DNS_NOERROR, 1, 60);

	wrong = right;
	wrong.bytes[1] ^= 1; /* the id */
	resolver_answer(&f.w, &asked, &wrong);
	wrong = right;
	wrong.bytes[DNS_HEADER_BYTES + 1] ^= 0x20; /* the case of a letter */
	resolver_answer(&f.w, &asked, &wrong);
	wrong = right;
	wrong.bytes[DNS_HEADER_BYTES + 1] = 'x';
	resolver_answer(&f.w, &asked, &wrong);
	resolver_answer(&f.w, &asked, &asked.query); /* no answer at all */
	wrong.length = 3;
	resolver_answer(&f.w, &asked, &wrong);
	TURN_UNTIL(&f.w, f.w.outcomes[DNS_STRAY] == 5);
	expect_silence(&f);

	resolver_answer(&f.w, &asked, &right);
	udp_receive(&f.w, f.client);
	resolver_answer(&f.w, &asked, &right); /* twice */
	TURN_UNTIL(&f.w, f.w.outcomes[DNS_STRAY] == 6);
	EXPECT_EQ(f.w.outcomes[DNS_FORWARDED], 1);
	done(&f);
}

TEST(an_answer_from_another_address_is_not_heard)
{
	struct fixture f;
	const struct packet query = query_packet(1, "www.example", DNS_TYPE_A);
	struct sockaddr_in other = { .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0x7f000002) };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct packet answer;
	struct asked asked;

	given(&f);
	assert_int_equal(bind(fd, (struct sockaddr *)&other, sizeof(other)), 0);
	udp_send(f.client, &query);
	asked = resolver_receive(&f.w);
	answer = answer_packet(&asked.query, DNS_NOERROR, 1, 60);
	EXPECT(sendto(fd, answer.bytes, answer.length, 0, (struct sockaddr *)&asked.from, sizeof(asked.from)) > 0);
	expect_silence(&f);
	EXPECT_EQ(f.w.outcomes[DNS_FORWARDED], 0);
	done(&f);
}

TEST(where_nobody_listens_servfail_comes_at_once_for_all_that_wait)
{
	struct fixture f;
	const struct packet first = query_packet(1, "a.example", DNS_TYPE_A), second = query_packet(2, "b.example", DNS_TYPE_AAAA);
	struct packet answers[2];

	given(&f);
	world_resolver_close(&f.w);
	udp_send(f.client, &first);
	udp_send(f.client, &second);
	for (int i = 0; i < 2; i++) {
		answers[i] = udp_receive(&f.w, f.client);
		EXPECT_EQ(dns_rcode(answers[i].bytes), DNS_SERVFAIL);
		EXPECT_EQ(packet_u16(&answers[i], 4), 1);
	}
	EXPECT_EQ(dns_id(answers[0].bytes) + dns_id(answers[1].bytes), 3);
	EXPECT_EQ(f.w.outcomes[DNS_UPSTREAM_REFUSED], 2);
	done(&f);
}

TEST(a_resolver_without_a_route_gives_servfail_at_once)
{
	struct fixture f;
	const struct packet query = query_packet(1, "a.example", DNS_TYPE_A);
	struct packet answer;
	int client;

	given(&f);
	given_place(&f.w, RESOLVER " 192.0.2.1");
	client = client_udp(&f.w, "192.0.2.1");
	answer = udp_ask(&f.w, client, &query);
	EXPECT_EQ(dns_rcode(answer.bytes), DNS_SERVFAIL);
	EXPECT_EQ(f.w.outcomes[DNS_UPSTREAM_FAILED], 1);
	fd_close(client);
	done(&f);
}

TEST(a_resolver_that_is_back_is_asked_again)
{
	struct fixture f;
	const struct packet query = query_packet(1, "a.example", DNS_TYPE_A);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	given(&f);
	world_resolver_close(&f.w);
	for (int i = 0; i < 8; i++)
		udp_ask(&f.w, f.client, &query);
	f.w.udp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f.w.udp_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	for (int i = 0; i < 8; i++) {
		struct asked asked;
		struct packet answer;

		udp_send(f.client, &query);
		asked = resolver_receive(&f.w);
		answer = answer_packet(&asked.query, DNS_NOERROR, 1, 60);
		resolver_answer(&f.w, &asked, &answer);
		answer = udp_receive(&f.w, f.client);
		EXPECT_EQ(dns_rcode(answer.bytes), DNS_NOERROR);
	}
	done(&f);
}

TEST(a_query_without_an_answer_is_given_up_after_ten_seconds)
{
	struct fixture f;
	const struct packet query = query_packet(1, "a.example", DNS_TYPE_A);
	struct packet answer;
	struct asked asked;

	given(&f);
	udp_send(f.client, &query);
	asked = resolver_receive(&f.w);
	clock_skip(9 * NSEC_PER_SEC);
	world_turns(&f.w, 3);
	EXPECT_EQ(f.w.outcomes[DNS_UPSTREAM_TIMEOUT], 0);
	clock_skip(2 * NSEC_PER_SEC);
	TURN_UNTIL(&f.w, f.w.outcomes[DNS_UPSTREAM_TIMEOUT] == 1);

	answer = answer_packet(&asked.query, DNS_NOERROR, 1, 60);
	resolver_answer(&f.w, &asked, &answer);
	expect_silence(&f);
	EXPECT_EQ(f.w.outcomes[DNS_FORWARDED], 0);
	done(&f);
}

TEST(in_a_flood_the_eldest_query_is_given_up)
{
	struct fixture f;
	struct packet answer;
	struct asked first;

	given(&f);
	for (unsigned i = 0; i <= 4096; i++) {
		const struct packet query = query_packet((uint16_t)i, "a.example", DNS_TYPE_A);

		udp_send(f.client, &query);
		if (i == 0)
			first = resolver_receive(&f.w);
		world_turns(&f.w, 1);
	}
	TURN_UNTIL(&f.w, f.w.outcomes[DNS_OVERLOADED] == 1);
	answer = answer_packet(&first.query, DNS_NOERROR, 1, 60);
	resolver_answer(&f.w, &first, &answer);
	TURN_UNTIL(&f.w, f.w.outcomes[DNS_STRAY] == 1);

	first = resolver_receive(&f.w); /* the second one is still answered */
	answer = answer_packet(&first.query, DNS_NOERROR, 1, 60);
	resolver_answer(&f.w, &first, &answer);
	answer = udp_receive(&f.w, f.client);
	EXPECT_EQ(dns_id(answer.bytes), 1);
	done(&f);
}

TEST(addresses_of_aws_names_are_exempted_before_the_answer_is_handed_on)
{
	static const struct {
		const char *name;
		uint32_t ttl_seconds;
		size_t exempted;
		uint64_t for_seconds;
	} cases[] = {
		{ "sqs.eu-west-1.amazonaws.com", 60, 2, 600 },
		{ "S3.AmazonAWS.com", 3600, 2, 3600 },
		{ "amazonaws.com", 60, 0, 0 },
		{ "amazonaws.com.evil.example", 60, 0, 0 },
		{ "xamazonaws.com", 60, 0, 0 },
		{ "www.example", 60, 0, 0 },
	};
	struct fixture f;

	given(&f);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct packet query = query_packet(1, cases[i].name, DNS_TYPE_A);
		struct packet answer;
		struct asked asked;
		uint64_t now_ns;

		f.w.exemption_count = 0;
		udp_send(f.client, &query);
		asked = resolver_receive(&f.w);
		answer = answer_packet(&asked.query, DNS_NOERROR, 2, cases[i].ttl_seconds);
		resolver_answer(&f.w, &asked, &answer);
		TURN_UNTIL(&f.w, readable(f.client) || f.w.exemption_count > 0);
		EXPECT_EQ(f.w.exemption_count, cases[i].exempted);
		udp_receive(&f.w, f.client);
		now_ns = test_now_ns();
		for (size_t k = 0; k < f.w.exemption_count; k++) {
			const struct ip expected = ip_of(k ? "10.0.0.2" : "10.0.0.1");
			const uint64_t left_ns = f.w.exemptions[k].until_ns - now_ns;

			EXPECT(ip_equal(&f.w.exemptions[k].address, &expected));
			EXPECT_EQ(f.w.exemptions[k].cookie, COOKIE);
			EXPECT(left_ns <= cases[i].for_seconds * NSEC_PER_SEC && left_ns > (cases[i].for_seconds - 5) * NSEC_PER_SEC);
		}
	}
	done(&f);
}

TEST(a_resolver_no_longer_configured_still_answers_what_it_was_asked)
{
	struct fixture f;
	const struct packet query = query_packet(1, "a.example", DNS_TYPE_A);
	struct packet answer;
	struct asked asked;

	given(&f);
	udp_send(f.client, &query);
	asked = resolver_receive(&f.w);
	given_place(&f.w, "127.0.0.9");
	EXPECT(steered(&f.w, "127.0.0.9"));
	clock_skip(2 * NSEC_PER_SEC);
	world_turns(&f.w, 2);
	EXPECT(steered(&f.w, RESOLVER)); /* or the program would not be shown where the answer is from */

	answer = answer_packet(&asked.query, DNS_NOERROR, 1, 60);
	resolver_answer(&f.w, &asked, &answer);
	udp_receive(&f.w, f.client);
	clock_skip(2 * NSEC_PER_SEC);
	TURN_UNTIL(&f.w, !steered(&f.w, RESOLVER));
	EXPECT_EQ(f.w.outcomes[DNS_FORWARDED], 1);
	done(&f);
}

TEST(a_resolver_no_longer_configured_is_closed_after_ten_seconds_whatever_waits)
{
	struct fixture f;
	const struct packet query = query_packet(1, "a.example", DNS_TYPE_A);

	given(&f);
	given_place(&f.w, "127.0.0.9");
	for (int i = 0; i < 12 && steered(&f.w, RESOLVER); i++) { /* there is always one that waits */
		udp_send(f.client, &query);
		resolver_receive(&f.w);
		clock_skip(NSEC_PER_SEC);
		world_turns(&f.w, 2);
	}
	EXPECT(!steered(&f.w, RESOLVER));
	EXPECT(f.w.outcomes[DNS_CLIENT_GONE] > 0);
	done(&f);
}

TEST(a_resolver_that_is_configured_again_stays)
{
	struct fixture f;

	given(&f);
	given_place(&f.w, "127.0.0.9");
	given_place(&f.w, "127.0.0.9 " RESOLVER);
	clock_skip(11 * NSEC_PER_SEC);
	world_turns(&f.w, 2);
	EXPECT(steered(&f.w, RESOLVER));
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_query_is_forwarded_as_it_came_but_for_its_id_and_so_is_the_answer),
		cmocka_unit_test(ids_are_drawn_anew_and_ports_change),
		cmocka_unit_test(answers_to_nothing_or_to_another_question_are_dropped_and_counted),
		cmocka_unit_test(an_answer_from_another_address_is_not_heard),
		cmocka_unit_test(where_nobody_listens_servfail_comes_at_once_for_all_that_wait),
		cmocka_unit_test(a_resolver_without_a_route_gives_servfail_at_once),
		cmocka_unit_test(a_resolver_that_is_back_is_asked_again),
		cmocka_unit_test(a_query_without_an_answer_is_given_up_after_ten_seconds),
		cmocka_unit_test(in_a_flood_the_eldest_query_is_given_up),
		cmocka_unit_test(addresses_of_aws_names_are_exempted_before_the_answer_is_handed_on),
		cmocka_unit_test(a_resolver_no_longer_configured_still_answers_what_it_was_asked),
		cmocka_unit_test(a_resolver_no_longer_configured_is_closed_after_ten_seconds_whatever_waits),
		cmocka_unit_test(a_resolver_that_is_configured_again_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
