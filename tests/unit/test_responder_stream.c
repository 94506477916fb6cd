/* SPDX-License-Identifier: Apache-2.0 */
/* DNS over TCP, to both sides. */
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
	given_name(&f->w, "mesh/shop", "both.example", "240.240.0.1", "2001:2::1");
	given_place(&f->w, RESOLVER);
	f->client = client_tcp(&f->w, RESOLVER);
}

static void done(struct fixture *f)
{
	fd_close(f->client);
	responder_world_done(&f->w);
}

/* What goes over the connection, with the length before it. */
static struct packet framed(const struct packet *p)
{
	struct packet message = { .length = 2 + p->length, .bytes = { (uint8_t)(p->length >> 8), (uint8_t)p->length } };

	memcpy(message.bytes + 2, p->bytes, p->length);
	return message;
}

static void send_part(struct fixture *f, int fd, const uint8_t *bytes, size_t length)
{
	if (length > 0)
		assert_int_equal(send(fd, bytes, length, MSG_NOSIGNAL), length);
	world_turns(&f->w, 2);
}

TEST(a_query_cut_at_any_byte_is_answered_when_it_is_whole)
{
	struct fixture f;
	const struct packet query = query_packet(7, "Both.example", DNS_TYPE_A), message = framed(&query);

	given(&f);
	for (size_t cut = 0; cut <= message.length; cut++) {
		struct packet answer;

		send_part(&f, f.client, message.bytes, cut);
		EXPECT_EQ(readable(f.client), cut == message.length);
		send_part(&f, f.client, message.bytes + cut, message.length - cut);
		answer = tcp_receive(&f.w, f.client);
		EXPECT_EQ(answer_count(&answer), 1);
		EXPECT_EQ(dns_id(answer.bytes), 7);
	}
	EXPECT_EQ(f.w.outcomes[DNS_ANSWERED], message.length + 1);
	done(&f);
}

TEST(an_answer_cut_at_any_byte_is_handed_on_when_it_is_whole)
{
	struct fixture f;
	const struct packet query = query_packet(7, "www.example", DNS_TYPE_A);
	int resolver = -1;

	given(&f);
	for (size_t cut = 0; cut < 47; cut++) {
		struct packet asked, answer;

		tcp_send(f.client, &query);
		if (resolver < 0)
			resolver = resolver_accept(&f.w);
		asked = tcp_receive(&f.w, resolver);
		EXPECT(!memcmp(asked.bytes + 2, query.bytes + 2, query.length - 2));
		answer = answer_packet(&asked, DNS_NOERROR, 1, 60);
		answer = framed(&answer);
		EXPECT(cut < answer.length);
		send_part(&f, resolver, answer.bytes, cut);
		EXPECT(!readable(f.client));
		send_part(&f, resolver, answer.bytes + cut, answer.length - cut);
		answer = tcp_receive(&f.w, f.client);
		EXPECT_EQ(dns_id(answer.bytes), 7);
		EXPECT_EQ(answer_count(&answer), 1);
	}
	EXPECT_EQ(f.w.outcomes[DNS_FORWARDED], 47);
	EXPECT(!readable(f.w.tcp_fd)); /* one connection for all */
	fd_close(resolver);
	done(&f);
}

TEST(queries_in_a_row_are_answered_as_their_answers_come)
{
	struct fixture f;
	const struct packet slow = query_packet(1, "slow.example", DNS_TYPE_A), same_id = query_packet(1, "fast.example", DNS_TYPE_A),
			    mesh = query_packet(3, "both.example", DNS_TYPE_A);
	struct packet asked[2], answer;
	int resolver;

	given(&f);
	tcp_send(f.client, &slow);
	tcp_send(f.client, &same_id);
	tcp_send(f.client, &mesh);
	answer = tcp_receive(&f.w, f.client);
	EXPECT_EQ(dns_id(answer.bytes), 3);
	resolver = resolver_accept(&f.w);
	asked[0] = tcp_receive(&f.w, resolver);
	asked[1] = tcp_receive(&f.w, resolver);
	for (int i = 1; i >= 0; i--) {
		answer = answer_packet(&asked[i], DNS_NOERROR, 1, 60);
		tcp_send(resolver, &answer);
		answer = tcp_receive(&f.w, f.client);
		EXPECT_EQ(dns_id(answer.bytes), 1);
		EXPECT_EQ(answer.bytes[DNS_HEADER_BYTES + 1], i ? 'f' : 's');
	}
	fd_close(resolver);
	done(&f);
}

TEST(answers_to_nothing_or_to_another_question_are_dropped_and_counted)
{
	struct fixture f;
	const struct packet query = query_packet(1, "www.example", DNS_TYPE_A);
	struct packet asked, right, wrong;
	int resolver;

	given(&f);
	tcp_send(f.client, &query);
	resolver = resolver_accept(&f.w);
	asked = tcp_receive(&f.w, resolver);
	right = answer_packet(&asked, DNS_NOERROR, 1, 60);
	wrong = right;
	wrong.bytes[0] ^= 1;
	tcp_send(resolver, &wrong);
	wrong = right;
	wrong.bytes[DNS_HEADER_BYTES + 1] ^= 0x20;
	tcp_send(resolver, &wrong);
	wrong.length = 0;
	tcp_send(resolver, &wrong);
	TURN_UNTIL(&f.w, f.w.outcomes[DNS_STRAY] == 3);
	EXPECT(!readable(f.client));
	tcp_send(resolver, &right);
	tcp_receive(&f.w, f.client);
	fd_close(resolver);
	done(&f);
}

TEST(a_client_that_has_said_all_still_gets_its_answers)
{
	struct fixture f;
	const struct packet query = query_packet(1, "www.example", DNS_TYPE_A), mesh = query_packet(2, "both.example", DNS_TYPE_A);
	struct packet asked, answer;
	int resolver;

	given(&f);
	tcp_send(f.client, &query);
	tcp_send(f.client, &mesh);
	assert_int_equal(shutdown(f.client, SHUT_WR), 0);
	answer = tcp_receive(&f.w, f.client);
	EXPECT_EQ(dns_id(answer.bytes), 2);
	resolver = resolver_accept(&f.w);
	asked = tcp_receive(&f.w, resolver);
	answer = answer_packet(&asked, DNS_NOERROR, 1, 60);
	tcp_send(resolver, &answer);
	answer = tcp_receive(&f.w, f.client);
	EXPECT_EQ(dns_id(answer.bytes), 1);
	EXPECT(tcp_ended(&f.w, f.client));
	EXPECT(tcp_ended(&f.w, resolver));
	fd_close(resolver);
	done(&f);
}

TEST(a_resolver_that_closes_without_an_answer_gives_servfail_to_all_that_wait)
{
	struct fixture f;
	struct packet answer;
	int resolver;

	given(&f);
	for (uint16_t id = 1; id <= 2; id++) {
		const struct packet query = query_packet(id, "www.example", DNS_TYPE_A);

		tcp_send(f.client, &query);
	}
	resolver = resolver_accept(&f.w);
	tcp_receive(&f.w, resolver);
	tcp_receive(&f.w, resolver);
	fd_close(resolver);
	for (uint16_t id = 1; id <= 2; id++) {
		answer = tcp_receive(&f.w, f.client);
		EXPECT_EQ(dns_id(answer.bytes), id);
		EXPECT_EQ(dns_rcode(answer.bytes), DNS_SERVFAIL);
	}
	EXPECT_EQ(f.w.outcomes[DNS_UPSTREAM_FAILED], 2);
	done(&f);
}

TEST(a_resolver_that_closes_after_an_answer_is_asked_for_the_rest_once_more)
{
	struct fixture f;
	const struct packet first = query_packet(1, "a.example", DNS_TYPE_A), second = query_packet(2, "b.example", DNS_TYPE_A);
	struct packet asked, answer;
	int resolver;

	given(&f);
	tcp_send(f.client, &first);
	tcp_send(f.client, &second);
	for (int i = 0; i < 2; i++) {
		resolver = resolver_accept(&f.w);
		asked = tcp_receive(&f.w, resolver);
		answer = answer_packet(&asked, DNS_NOERROR, 1, 60);
		tcp_send(resolver, &answer);
		fd_close(resolver);
		answer = tcp_receive(&f.w, f.client);
		EXPECT_EQ(dns_id(answer.bytes), i + 1);
		EXPECT_EQ(dns_rcode(answer.bytes), DNS_NOERROR);
	}
	EXPECT_EQ(f.w.outcomes[DNS_FORWARDED], 2);
	done(&f);
}

TEST(where_nobody_listens_servfail_comes_at_once)
{
	struct fixture f;
	const struct packet query = query_packet(1, "www.example", DNS_TYPE_A);
	struct packet answer;

	given(&f);
	world_resolver_close(&f.w);
	tcp_send(f.client, &query);
	answer = tcp_receive(&f.w, f.client);
	EXPECT_EQ(dns_rcode(answer.bytes), DNS_SERVFAIL);
	EXPECT_EQ(f.w.outcomes[DNS_UPSTREAM_REFUSED], 1);
	tcp_send(f.client, &query); /* the connection is good for more */
	tcp_receive(&f.w, f.client);
	done(&f);
}

TEST(a_connection_that_does_not_come_about_fails_after_five_seconds)
{
	struct fixture f;
	const struct packet query = query_packet(1, "www.example", DNS_TYPE_A);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct packet answer;
	int fillers[4];

	given(&f);
	assert_int_equal(listen(f.w.tcp_fd, 0), 0); /* full with one that nobody accepts: further ones are not answered */
	for (size_t i = 0; i < ARRAY_SIZE(fillers); i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		EXPECT(connect(fillers[i], (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EINPROGRESS);
	}
	tcp_send(f.client, &query);
	world_turns(&f.w, 5);
	EXPECT(!readable(f.client));
	clock_skip(6 * NSEC_PER_SEC);
	answer = tcp_receive(&f.w, f.client);
	EXPECT_EQ(dns_rcode(answer.bytes), DNS_SERVFAIL);
	EXPECT_EQ(f.w.outcomes[DNS_UPSTREAM_FAILED], 1);
	for (size_t i = 0; i < ARRAY_SIZE(fillers); i++)
		fd_close(fillers[i]);
	done(&f);
}

TEST(a_query_without_an_answer_is_given_up_after_ten_seconds_and_the_connection_goes_on)
{
	struct fixture f;
	const struct packet query = query_packet(1, "www.example", DNS_TYPE_A), mesh = query_packet(2, "both.example", DNS_TYPE_A);
	struct packet answer;
	int resolver;

	given(&f);
	tcp_send(f.client, &query);
	resolver = resolver_accept(&f.w);
	tcp_receive(&f.w, resolver);
	clock_skip(11 * NSEC_PER_SEC);
	TURN_UNTIL(&f.w, f.w.outcomes[DNS_UPSTREAM_TIMEOUT] == 1);
	tcp_send(f.client, &mesh);
	answer = tcp_receive(&f.w, f.client);
	EXPECT_EQ(dns_id(answer.bytes), 2);
	fd_close(resolver);
	done(&f);
}

TEST(no_more_than_64_queries_of_a_connection_are_under_way_and_none_is_lost)
{
	struct fixture f;
	struct packet asked, answer;
	int resolver;
	bool seen[150] = {};

	given(&f);
	for (uint16_t id = 0; id < ARRAY_SIZE(seen); id++) {
		const struct packet query = query_packet(id, "www.example", DNS_TYPE_A);

		tcp_send(f.client, &query);
	}
	resolver = resolver_accept(&f.w);
	for (int i = 0; i < 64; i++)
		asked = tcp_receive(&f.w, resolver);
	world_turns(&f.w, 5);
	EXPECT(!readable(resolver));
	for (size_t i = 64; i <= ARRAY_SIZE(seen); i++) { /* one answer, one more query */
		answer = answer_packet(&asked, DNS_NOERROR, 1, 60);
		tcp_send(resolver, &answer);
		answer = tcp_receive(&f.w, f.client);
		EXPECT(!seen[dns_id(answer.bytes)]);
		seen[dns_id(answer.bytes)] = true;
		if (i < ARRAY_SIZE(seen))
			asked = tcp_receive(&f.w, resolver);
	}
	fd_close(resolver);
	done(&f);
}

TEST(a_client_that_does_not_read_is_not_read_from)
{
	enum { AT_ONCE = 100, SENDS_MAX = 10000 };
	struct fixture f;
	const struct packet query = query_packet(1, "both.example", DNS_TYPE_A), message = framed(&query);
	uint8_t queries[AT_ONCE * 64], answers[16384];
	const size_t answer_bytes = message.length + 16, queries_bytes = AT_ONCE * message.length;
	const int buffer_bytes = 65536;
	size_t sent_bytes = 0, received_bytes = 0;

	given(&f);
	assert_int_equal(setsockopt(f.client, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(buffer_bytes)), 0);
	assert_int_equal(setsockopt(f.client, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof(buffer_bytes)), 0);
	for (size_t i = 0; i < AT_ONCE; i++)
		memcpy(queries + i * message.length, message.bytes, message.length);
	/* Until nothing is taken any more: what the kernel holds for both sides is some megabytes. */
	for (int refused = 0; refused < 50; world_turns(&f.w, 1)) {
		const size_t begun = sent_bytes % queries_bytes;
		ssize_t n = send(f.client, queries + begun, queries_bytes - begun, MSG_DONTWAIT | MSG_NOSIGNAL);

		refused = n < 0 ? refused + 1 : 0;
		sent_bytes += n < 0 ? 0 : (size_t)n;
		EXPECT(sent_bytes < SENDS_MAX * queries_bytes);
	}
	EXPECT(f.w.outcomes[DNS_ANSWERED] < sent_bytes / message.length);
	while (received_bytes < sent_bytes / message.length * answer_bytes) {
		ssize_t n;

		TURN_UNTIL(&f.w, readable(f.client));
		n = recv(f.client, answers, sizeof(answers), 0);
		EXPECT(n > 0);
		received_bytes += (size_t)n;
	}
	EXPECT_EQ(f.w.outcomes[DNS_ANSWERED], sent_bytes / message.length);
	done(&f);
}

TEST(of_65_connections_the_idlest_goes)
{
	struct fixture f;
	const struct packet query = query_packet(1, "both.example", DNS_TYPE_A);
	int clients[64];

	given(&f);
	for (size_t i = 0; i < ARRAY_SIZE(clients) - 1; i++) {
		clients[i] = client_tcp(&f.w, RESOLVER);
		world_turns(&f.w, 2);
	}
	tcp_send(f.client, &query); /* the eldest is no longer the idlest */
	tcp_receive(&f.w, f.client);
	clients[63] = client_tcp(&f.w, RESOLVER);
	EXPECT(tcp_ended(&f.w, clients[0]));
	for (size_t i = 1; i < ARRAY_SIZE(clients); i++) {
		tcp_send(clients[i], &query);
		tcp_receive(&f.w, clients[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		fd_close(clients[i]);
	done(&f);
}

TEST(an_idle_connection_is_closed_after_thirty_seconds)
{
	struct fixture f;
	const struct packet query = query_packet(1, "both.example", DNS_TYPE_A);

	given(&f);
	tcp_send(f.client, &query);
	tcp_receive(&f.w, f.client);
	clock_skip(29 * NSEC_PER_SEC);
	world_turns(&f.w, 3);
	EXPECT(!readable(f.client));
	clock_skip(2 * NSEC_PER_SEC);
	EXPECT(tcp_ended(&f.w, f.client));
	done(&f);
}

TEST(a_client_that_goes_is_counted_for_what_it_asked)
{
	struct fixture f;
	const struct packet query = query_packet(1, "www.example", DNS_TYPE_A);
	const struct linger reset = { .l_onoff = 1 };
	int resolver;

	given(&f);
	tcp_send(f.client, &query);
	resolver = resolver_accept(&f.w);
	tcp_receive(&f.w, resolver);
	assert_int_equal(setsockopt(f.client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	f.client = fd_close(f.client);
	TURN_UNTIL(&f.w, f.w.outcomes[DNS_CLIENT_GONE] == 1);
	EXPECT(tcp_ended(&f.w, resolver));
	fd_close(resolver);
	done(&f);
}

TEST(what_cannot_be_read_is_answered_and_a_message_too_long_ends_the_connection)
{
	struct fixture f;
	struct packet bad = query_packet(1, "both.example", DNS_TYPE_A), long_one = query_packet(2, "both.example", DNS_TYPE_A), none = {};
	struct packet answer;

	given(&f);
	bad.length--;
	tcp_send(f.client, &none);
	tcp_send(f.client, &bad);
	answer = tcp_receive(&f.w, f.client);
	EXPECT_EQ(dns_id(answer.bytes), 1);
	EXPECT_EQ(dns_rcode(answer.bytes), DNS_FORMERR);
	long_one.length = 4097;
	tcp_send(f.client, &long_one);
	answer = tcp_receive(&f.w, f.client);
	EXPECT_EQ(dns_id(answer.bytes), 2);
	EXPECT_EQ(dns_rcode(answer.bytes), DNS_FORMERR);
	EXPECT(tcp_ended(&f.w, f.client));
	EXPECT_EQ(f.w.outcomes[DNS_MALFORMED], 3);
	done(&f);
}

TEST(addresses_of_aws_names_are_exempted)
{
	struct fixture f;
	const struct packet query = query_packet(1, "sqs.amazonaws.com", DNS_TYPE_A);
	struct packet asked, answer;
	int resolver;

	given(&f);
	tcp_send(f.client, &query);
	resolver = resolver_accept(&f.w);
	asked = tcp_receive(&f.w, resolver);
	answer = answer_packet(&asked, DNS_NOERROR, 3, 60);
	tcp_send(resolver, &answer);
	tcp_receive(&f.w, f.client);
	EXPECT_EQ(f.w.exemption_count, 3);
	fd_close(resolver);
	done(&f);
}

static void note_idle(void *arg)
{
	*(bool *)arg = true;
}

TEST(a_predecessor_answers_what_its_connections_ask_and_closes_them_when_they_are_quiet)
{
	struct fixture f;
	const struct packet query = query_packet(1, "www.example", DNS_TYPE_A), mesh = query_packet(2, "both.example", DNS_TYPE_A);
	struct packet asked, answer;
	bool idle = false;
	int resolver, late;

	given(&f);
	late = client_tcp(&f.w, RESOLVER);
	world_turns(&f.w, 1); /* it is accepted */
	tcp_send(f.client, &query);
	resolver = resolver_accept(&f.w);
	asked = tcp_receive(&f.w, resolver);
	responder_stop(f.w.responder, note_idle, &idle);
	tcp_send(late, &mesh);
	tcp_receive(&f.w, late);
	EXPECT(!idle);
	answer = answer_packet(&asked, DNS_NOERROR, 1, 60);
	tcp_send(resolver, &answer);
	tcp_receive(&f.w, f.client);
	clock_skip(NSEC_PER_SEC);
	EXPECT(tcp_ended(&f.w, f.client));
	EXPECT(tcp_ended(&f.w, late));
	TURN_UNTIL(&f.w, idle);
	fd_close(late);
	fd_close(resolver);
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_query_cut_at_any_byte_is_answered_when_it_is_whole),
		cmocka_unit_test(an_answer_cut_at_any_byte_is_handed_on_when_it_is_whole),
		cmocka_unit_test(queries_in_a_row_are_answered_as_their_answers_come),
		cmocka_unit_test(answers_to_nothing_or_to_another_question_are_dropped_and_counted),
		cmocka_unit_test(a_client_that_has_said_all_still_gets_its_answers),
		cmocka_unit_test(a_resolver_that_closes_without_an_answer_gives_servfail_to_all_that_wait),
		cmocka_unit_test(a_resolver_that_closes_after_an_answer_is_asked_for_the_rest_once_more),
		cmocka_unit_test(where_nobody_listens_servfail_comes_at_once),
		cmocka_unit_test(a_connection_that_does_not_come_about_fails_after_five_seconds),
		cmocka_unit_test(a_query_without_an_answer_is_given_up_after_ten_seconds_and_the_connection_goes_on),
		cmocka_unit_test(no_more_than_64_queries_of_a_connection_are_under_way_and_none_is_lost),
		cmocka_unit_test(a_client_that_does_not_read_is_not_read_from),
		cmocka_unit_test(of_65_connections_the_idlest_goes),
		cmocka_unit_test(an_idle_connection_is_closed_after_thirty_seconds),
		cmocka_unit_test(a_client_that_goes_is_counted_for_what_it_asked),
		cmocka_unit_test(what_cannot_be_read_is_answered_and_a_message_too_long_ends_the_connection),
		cmocka_unit_test(addresses_of_aws_names_are_exempted),
		cmocka_unit_test(a_predecessor_answers_what_its_connections_ask_and_closes_them_when_they_are_quiet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
