/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the mesh, and where the responder's sockets are. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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
	given_name(&f->w, "mesh/shop", "four.example", "240.240.0.2", "");
	given_name(&f->w, "mesh/shop", "nothing.example", "", "");
	given_place(&f->w, RESOLVER);
	f->client = client_udp(&f->w, RESOLVER);
}

static void done(struct fixture *f)
{
	fd_close(f->client);
	responder_world_done(&f->w);
}

/* ---- names ---- */

TEST(names_of_the_mesh_are_answered_as_their_endpoints_have_addresses)
{
	static const struct {
		const char *name;
		uint16_t type;
		const char *address; /* NULL: no data */
	} cases[] = {
		{ "both.example", DNS_TYPE_A, "240.240.0.1" },
		{ "both.example", DNS_TYPE_AAAA, "2001:2::1" },
		{ "BoTh.Example", DNS_TYPE_A, "240.240.0.1" },
		{ "four.example", DNS_TYPE_A, "240.240.0.2" },
		{ "four.example", DNS_TYPE_AAAA, NULL },
		{ "nothing.example", DNS_TYPE_A, NULL },
		{ "both.example", DNS_TYPE_HTTPS, NULL },
		{ "both.example", DNS_TYPE_ANY, NULL },
		{ "both.example", 15, NULL },
	};
	struct fixture f;

	given(&f);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct packet query = query_packet((uint16_t)(i + 1), cases[i].name, cases[i].type);
		const struct packet answer = udp_ask(&f.w, f.client, &query);
		uint32_t ttl_seconds;

		EXPECT_EQ(dns_rcode(answer.bytes), DNS_NOERROR);
		EXPECT_EQ(dns_id(answer.bytes), i + 1);
		EXPECT(!memcmp(answer.bytes + DNS_HEADER_BYTES, query.bytes + DNS_HEADER_BYTES, query.length - DNS_HEADER_BYTES));
		EXPECT_EQ(answer_count(&answer), cases[i].address != NULL);
		if (cases[i].address) {
			const struct ip expected = ip_of(cases[i].address), found = first_address(&answer, &ttl_seconds);

			EXPECT(ip_equal(&found, &expected));
			EXPECT_EQ(ttl_seconds, DNS_TTL_SECONDS);
		} else {
			EXPECT_EQ(packet_u16(&answer, 8), 1); /* the SOA */
		}
	}
	EXPECT_EQ(f.w.outcomes[DNS_ANSWERED], 4);
	EXPECT_EQ(f.w.outcomes[DNS_NODATA], 5);
	EXPECT(!readable(f.w.udp_fd)); /* the resolver heard of nothing */
	done(&f);
}

TEST(many_queries_at_once_are_all_answered)
{
	struct fixture f;
	bool seen[100] = {};

	given(&f);
	for (uint16_t id = 0; id < ARRAY_SIZE(seen); id++) {
		const struct packet query = query_packet(id, "both.example", DNS_TYPE_A);

		udp_send(f.client, &query);
	}
	for (size_t i = 0; i < ARRAY_SIZE(seen); i++) {
		const struct packet answer = udp_receive(&f.w, f.client);

		EXPECT(!seen[dns_id(answer.bytes)]);
		seen[dns_id(answer.bytes)] = true;
	}
	EXPECT_EQ(f.w.outcomes[DNS_ANSWERED], ARRAY_SIZE(seen));
	done(&f);
}

TEST(names_are_those_of_the_node_and_of_its_mesh_alone)
{
	static const char *const others[] = { "other.example", "elsewhere.example", "x.both.example", "both.example.search.example", "example",
					      "" };
	struct fixture f;
	struct packet query, answer;
	struct ip expected = ip_of("240.240.0.9"), found;
	uint32_t ttl_seconds;

	given(&f);
	given_name(&f.w, NODE, "mine.example", "240.240.0.9", "");
	given_name(&f.w, "mesh/shop/virtualNode/back", "other.example", "240.240.0.3", "");
	given_name(&f.w, "mesh/elsewhere", "elsewhere.example", "240.240.0.4", "");
	query = query_packet(1, "mine.example", DNS_TYPE_A);
	answer = udp_ask(&f.w, f.client, &query);
	found = first_address(&answer, &ttl_seconds);
	EXPECT(ip_equal(&found, &expected));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		query = query_packet(1, others[i], DNS_TYPE_A);
		udp_send(f.client, &query);
		resolver_receive(&f.w);
	}
	done(&f);
}

TEST(a_name_of_the_mesh_in_another_class_is_the_resolvers)
{
	struct fixture f;
	struct packet query = query_packet(1, "both.example", DNS_TYPE_A);

	given(&f);
	query.bytes[query.length - 1] = 3;
	udp_send(f.client, &query);
	resolver_receive(&f.w);
	done(&f);
}

TEST(what_cannot_be_read_is_answered_so_or_not_at_all)
{
	struct fixture f;
	struct packet bad = query_packet(1, "both.example", DNS_TYPE_A), update = query_packet(2, "both.example", DNS_TYPE_SOA);
	struct packet response = query_packet(3, "both.example", DNS_TYPE_A), stub = { .length = 11 }, empty = {};
	struct packet large = query_packet(4, "both.example", DNS_TYPE_A), answer;

	given(&f);
	bad.length--;
	answer = udp_ask(&f.w, f.client, &bad);
	EXPECT_EQ(dns_rcode(answer.bytes), DNS_FORMERR);
	large.length = 4097;
	answer = udp_ask(&f.w, f.client, &large);
	EXPECT_EQ(dns_rcode(answer.bytes), DNS_FORMERR);
	EXPECT_EQ(dns_id(answer.bytes), 4);
	update.bytes[2] = 5 << 3;
	answer = udp_ask(&f.w, f.client, &update);
	EXPECT_EQ(dns_rcode(answer.bytes), DNS_NOTIMP);

	response.bytes[2] |= 0x80;
	udp_send(f.client, &response);
	udp_send(f.client, &stub);
	udp_send(f.client, &empty);
	TURN_UNTIL(&f.w, f.w.outcomes[DNS_MALFORMED] == 5);
	EXPECT(!readable(f.client));
	EXPECT_EQ(f.w.outcomes[DNS_NOT_IMPLEMENTED], 1);
	done(&f);
}

TEST(a_later_version_of_edns_is_answered_badvers)
{
	static const uint8_t opt[] = { 0, 0, DNS_TYPE_OPT, 4, 0xd0, 0, 1, 0, 0, 0, 0 };
	struct fixture f;
	struct packet query = query_packet(1, "both.example", DNS_TYPE_A), answer;

	given(&f);
	memcpy(query.bytes + query.length, opt, sizeof(opt));
	query.length += sizeof(opt);
	query.bytes[11] = 1;
	answer = udp_ask(&f.w, f.client, &query);
	EXPECT_EQ(answer_count(&answer), 0);
	EXPECT_EQ(answer.bytes[answer.length - 6], 1); /* the extended rcode */
	EXPECT_EQ(f.w.outcomes[DNS_NOT_IMPLEMENTED], 1);
	done(&f);
}

TEST(the_last_queries_are_kept_newest_first)
{
	struct fixture f;
	const struct packet query = query_packet(1, "Both.example", DNS_TYPE_AAAA), other = query_packet(2, "four.example", DNS_TYPE_HTTPS);
	struct packet bad = query_packet(3, "x", 1);
	json_t *queries;

	given(&f);
	udp_ask(&f.w, f.client, &query);
	udp_ask(&f.w, f.client, &other);
	bad.length--;
	udp_ask(&f.w, f.client, &bad);
	queries = responder_queries_json(f.w.responder, NODE, 10);
	EXPECT_EQ(json_array_size(queries), 3);
	EXPECT_EQ(json_typeof(json_object_get(json_array_get(queries, 0), "name")), JSON_NULL);
	EXPECT_STR(json_path_string(json_array_get(queries, 0), "rcode"), "FORMERR");
	EXPECT_STR(json_path_string(json_array_get(queries, 1), "outcome"), "nodata");
	EXPECT_STR(json_path_string(json_array_get(queries, 1), "type"), "HTTPS");
	EXPECT_STR(json_path_string(json_array_get(queries, 2), "name"), "both.example");
	EXPECT_STR(json_path_string(json_array_get(queries, 2), "node"), NODE);
	EXPECT_STR(json_path_string(json_array_get(queries, 2), "resolver"), RESOLVER);
	EXPECT_STR(json_path_string(json_array_get(queries, 2), "transport"), "udp");
	EXPECT_STR(json_path_string(json_array_get(queries, 2), "outcome"), "answered");
	EXPECT_STR(json_path_string(json_array_get(queries, 2), "rcode"), "NOERROR");
	json_decref(queries);

	queries = responder_queries_json(f.w.responder, "mesh/shop/virtualNode/back", 10);
	EXPECT_EQ(json_array_size(queries), 0);
	json_decref(queries);
	for (int i = 0; i < DNS_QUERIES_KEPT; i++)
		udp_ask(&f.w, f.client, &query);
	queries = responder_queries_json(f.w.responder, NULL, 2 * DNS_QUERIES_KEPT);
	EXPECT_EQ(json_array_size(queries), DNS_QUERIES_KEPT);
	EXPECT_STR(json_path_string(json_array_get(queries, DNS_QUERIES_KEPT - 1), "type"), "AAAA");
	json_decref(queries);
	done(&f);
}

/* ---- where the sockets are ---- */

static const char *reason_of(struct responder_world *w, size_t index, char *buffer, size_t size)
{
	_cleanup_json_ json_t *json = responder_json(w->responder);
	const char *reason = json_path_string(json_path_at(json_path_at(json, "places", 0), "resolvers", index), "reason");

	snprintf(buffer, size, "%s", reason ? reason : "");
	return buffer;
}

TEST(each_resolver_of_a_node_has_an_address_of_its_own_which_is_the_same_in_every_run)
{
	struct resolver first[3];

	for (int run = 0; run < 2; run++) {
		struct responder_world w;
		const char *const resolvers[] = { RESOLVER, "10.0.0.2", "fd00::53" };

		responder_world_init(&w);
		given_place(&w, "127.0.0.1 10.0.0.2 fd00::53");
		for (size_t i = 0; i < ARRAY_SIZE(first); i++) {
			const struct resolver *now = steered(&w, resolvers[i]);

			EXPECT(now && now->port);
			if (run == 0)
				first[i] = *now;
			EXPECT(!memcmp(&first[i], now, sizeof(*now)));
		}
		EXPECT_EQ(first[0].port, htons(TEST_PORT));
		EXPECT_EQ(first[0].address.bytes[12], 127);
		EXPECT_EQ(first[0].address.bytes[13], 53);
		EXPECT(!ip_equal(&first[0].address, &first[1].address));
		EXPECT(ntohs(first[2].port) >= TEST_PORT && ntohs(first[2].port) < TEST_PORT + DNS_PORTS);
		responder_world_done(&w);
		EXPECT_EQ(w.resolver_count, 0);
	}
}

TEST(an_ipv6_resolver_is_answered_for_at_its_port)
{
	struct fixture f;
	const struct packet query = query_packet(1, "both.example", DNS_TYPE_AAAA);
	struct packet answer;
	int client;

	given(&f);
	given_place(&f.w, RESOLVER " fd00::53");
	client = client_udp(&f.w, "fd00::53");
	answer = udp_ask(&f.w, client, &query);
	EXPECT_EQ(answer_count(&answer), 1);
	fd_close(client);
	done(&f);
}

TEST(nodes_in_one_namespace_have_sockets_and_names_of_their_own)
{
	struct fixture f;
	struct responder_place other;
	const struct resolv_conf conf = conf_of(RESOLVER);
	struct error err = {};

	given(&f);
	other = world_place(&f.w);
	other.node_id = 8;
	other.node = "mesh/shop/virtualNode/back";
	EXPECT_OK(responder_set(f.w.responder, &other, &conf, &err), &err);
	EXPECT_EQ(f.w.resolver_count, 2);
	EXPECT(!ip_equal(&f.w.resolvers[0].value.address, &f.w.resolvers[1].value.address));
	EXPECT_EQ(f.w.resolvers[1].key.node, 8);

	responder_remove(f.w.responder, COOKIE, NODE_ID);
	EXPECT_EQ(f.w.resolver_count, 1);
	EXPECT_EQ(f.w.resolvers[0].key.node, 8);
	EXPECT_EQ(f.w.resolvers[0].key.netns_cookie, COOKIE);
	done(&f);
}

TEST(ports_on_ipv6_loopback_run_out_and_the_reason_is_told)
{
	struct responder_world w;
	struct responder_place other;
	const struct resolv_conf conf = conf_of("fd00::9");
	char reason[64];

	responder_world_init(&w);
	given_place(&w, "fd00::1 fd00::2 fd00::3 fd00::4 fd00::5 fd00::6 fd00::7 fd00::8");
	other = world_place(&w);
	other.node_id = 8;
	EXPECT_OK(responder_set(w.responder, &other, &conf, NULL));
	EXPECT_EQ(steered(&w, "fd00::9")->port, 0); /* in the map, without a socket: bypassed */
	responder_remove(w.responder, COOKIE, NODE_ID);
	clock_skip(NSEC_PER_SEC);
	TURN_UNTIL(&w, steered(&w, "fd00::9")->port);
	EXPECT_STR(reason_of(&w, 0, reason, sizeof(reason)), "");
	responder_world_done(&w);
}

static int squatter(const struct ip *address)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(TEST_PORT), .sin_addr.s_addr = address->words[3] };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	return fd;
}

TEST(where_another_program_is_bound_the_next_address_is_taken)
{
	struct responder_world w;
	struct ip first;
	int fd;

	responder_world_init(&w);
	given_place(&w, RESOLVER);
	first = steered(&w, RESOLVER)->address;
	responder_remove(w.responder, COOKIE, NODE_ID);
	fd = squatter(&first);
	given_place(&w, RESOLVER);
	EXPECT_EQ(steered(&w, RESOLVER)->port, htons(TEST_PORT));
	EXPECT(!ip_equal(&steered(&w, RESOLVER)->address, &first));
	fd_close(fd);
	responder_world_done(&w);
}

TEST(where_another_program_has_the_port_on_all_addresses_that_is_told_and_tried_again)
{
	const struct ip any = {};
	struct responder_world w;
	char reason[64];
	int fd;

	responder_world_init(&w);
	fd = squatter(&any);
	given_place(&w, RESOLVER);
	EXPECT_EQ(steered(&w, RESOLVER)->port, 0);
	EXPECT_STR(reason_of(&w, 0, reason, sizeof(reason)), "another program is bound there");
	fd_close(fd);
	clock_skip(NSEC_PER_SEC);
	TURN_UNTIL(&w, steered(&w, RESOLVER)->port);
	responder_world_done(&w);
}

TEST(without_lo_queries_are_bypassed_until_it_is_up)
{
	struct responder_world w;
	char reason[64];

	responder_world_init(&w);
	lo_set(false);
	given_place(&w, RESOLVER " fd00::53");
	EXPECT_EQ(steered(&w, RESOLVER)->port, 0);
	EXPECT_EQ(steered(&w, "fd00::53")->port, 0);
	EXPECT_STR(reason_of(&w, 0, reason, sizeof(reason)), "lo is down");
	EXPECT_STR(reason_of(&w, 1, reason, sizeof(reason)), "lo is down");
	lo_set(true);
	TURN_UNTIL(&w, steered(&w, RESOLVER)->port && steered(&w, "fd00::53")->port);
	responder_world_done(&w);
}

TEST(when_lo_goes_down_sockets_close_and_come_back_with_it)
{
	struct fixture f;
	const struct packet query = query_packet(1, "both.example", DNS_TYPE_A), forwarded = query_packet(1, "x.example", DNS_TYPE_A);
	struct packet answer;
	struct resolver before;

	given(&f);
	before = *steered(&f.w, RESOLVER);
	udp_send(f.client, &forwarded);
	resolver_receive(&f.w);
	lo_set(false);
	TURN_UNTIL(&f.w, !steered(&f.w, RESOLVER)->port);
	EXPECT_EQ(f.w.outcomes[DNS_CLIENT_GONE], 1);
	clock_skip(2 * NSEC_PER_SEC);
	world_turns(&f.w, 3);
	EXPECT_EQ(steered(&f.w, RESOLVER)->port, 0);

	lo_set(true);
	TURN_UNTIL(&f.w, steered(&f.w, RESOLVER)->port);
	EXPECT(!memcmp(&before, steered(&f.w, RESOLVER), sizeof(before))); /* so the program's socket is good again */
	answer = udp_ask(&f.w, f.client, &query);
	EXPECT_EQ(answer_count(&answer), 1);
	done(&f);
}

TEST(a_full_table_refuses_the_resolver_and_is_tried_again)
{
	struct responder_world w;
	struct responder_place place;
	const struct resolv_conf conf = conf_of(RESOLVER);
	struct error err = {};
	char reason[64];

	responder_world_init(&w);
	place = world_place(&w);
	w.resolver_set_result = -E2BIG;
	EXPECT_EQ(responder_set(w.responder, &place, &conf, &err), -E2BIG);
	EXPECT_CONTAINS(err.message, RESOLVER);
	EXPECT_STR(reason_of(&w, 0, reason, sizeof(reason)), "the table of resolvers is full");
	w.resolver_set_result = 0;
	clock_skip(NSEC_PER_SEC);
	TURN_UNTIL(&w, steered(&w, RESOLVER) && steered(&w, RESOLVER)->port);
	responder_world_done(&w);
}

TEST(a_place_that_is_removed_closes_at_once_and_what_it_waited_for_is_counted)
{
	struct fixture f;
	const struct packet query = query_packet(1, "a.example", DNS_TYPE_A);

	given(&f);
	udp_send(f.client, &query);
	resolver_receive(&f.w);
	responder_remove(f.w.responder, COOKIE, NODE_ID);
	EXPECT_EQ(f.w.outcomes[DNS_CLIENT_GONE], 1);
	EXPECT_EQ(f.w.resolver_count, 0);
	EXPECT(send(f.client, query.bytes, query.length, 0) > 0);
	EXPECT(send(f.client, query.bytes, query.length, 0) < 0 && errno == ECONNREFUSED); /* nobody is bound there */
	responder_remove(f.w.responder, COOKIE, NODE_ID); /* again: nothing */
	done(&f);
}

TEST(a_node_with_a_new_id_keeps_its_sockets)
{
	struct fixture f;
	const struct packet query = query_packet(1, "both.example", DNS_TYPE_A);
	struct resolver before;

	given(&f);
	before = *steered(&f.w, RESOLVER);
	EXPECT_OK(responder_renumber(f.w.responder, COOKIE, NODE_ID, 99));
	EXPECT_EQ(f.w.resolver_count, 1);
	EXPECT_EQ(f.w.resolvers[0].key.node, 99);
	EXPECT(!memcmp(&before, steered(&f.w, RESOLVER), sizeof(before)));
	udp_ask(&f.w, f.client, &query);
	EXPECT_EQ(responder_renumber(f.w.responder, COOKIE, NODE_ID, 100), -ENOENT);
	done(&f);
}

/* ---- handing over ---- */

struct handed {
	struct responder_sockets sockets[4];
	size_t count;
};

static int take_sockets(const struct responder_place *place, const struct responder_sockets *sockets, size_t count, void *arg)
{
	struct handed *handed = arg;

	EXPECT_STR(place->node, NODE);
	EXPECT_EQ(place->netns_cookie, COOKIE);
	for (size_t i = 0; i < count; i++) {
		handed->sockets[i] = sockets[i];
		handed->sockets[i].udp_fd = fcntl(sockets[i].udp_fd, F_DUPFD_CLOEXEC, 0); /* as if by SCM_RIGHTS */
		handed->sockets[i].tcp_fd = fcntl(sockets[i].tcp_fd, F_DUPFD_CLOEXEC, 0);
	}
	handed->count = count;
	return 0;
}

static void note_idle(void *arg)
{
	*(bool *)arg = true;
}

TEST(a_successor_takes_over_without_losing_a_query)
{
	struct fixture f;
	const struct packet waiting = query_packet(1, "a.example", DNS_TYPE_A), queued = query_packet(2, "both.example", DNS_TYPE_A);
	struct responder_place place;
	struct responder *successor;
	struct handed handed = {};
	struct packet answer;
	struct asked asked;
	bool idle = false;

	given(&f);
	place = world_place(&f.w);
	udp_send(f.client, &waiting);
	asked = resolver_receive(&f.w);
	EXPECT_OK(responder_export(f.w.responder, take_sockets, &handed));
	EXPECT_EQ(handed.count, 1);
	responder_stop(f.w.responder, note_idle, &idle);
	udp_send(f.client, &queued);
	world_turns(&f.w, 3);
	EXPECT(!readable(f.client)); /* the predecessor reads no more */
	EXPECT(!idle);

	EXPECT_OK(responder_new(f.w.loop, &f.w.maps, TEST_PORT, &successor));
	EXPECT_OK(responder_adopt(successor, &place, handed.sockets, handed.count, NULL));
	answer = udp_receive(&f.w, f.client);
	EXPECT_EQ(dns_id(answer.bytes), 2);

	answer = answer_packet(&asked.query, DNS_NOERROR, 1, 60);
	resolver_answer(&f.w, &asked, &answer);
	answer = udp_receive(&f.w, f.client);
	EXPECT_EQ(dns_id(answer.bytes), 1);
	TURN_UNTIL(&f.w, idle);
	f.w.responder = responder_free(f.w.responder);
	EXPECT_EQ(f.w.resolver_count, 1); /* the successor's now */
	given_name(&f.w, "mesh/shop", "new.example", "240.240.0.8", "");
	f.w.responder = successor;
	udp_ask(&f.w, f.client, &queued);
	done(&f);
}

TEST(resolvers_on_their_way_out_are_not_handed_over_and_never_many)
{
	struct fixture f;
	const struct packet query = query_packet(1, "a.example", DNS_TYPE_A);
	struct handed handed = {};

	given(&f);
	for (int i = 0; i < 12; i++) { /* each with a query that waits */
		char resolver[32];
		int client;

		snprintf(resolver, sizeof(resolver), "127.0.1.%d", i);
		given_place(&f.w, resolver);
		client = client_udp(&f.w, resolver);
		udp_send(client, &query);
		world_turns(&f.w, 1);
		fd_close(client);
	}
	EXPECT_EQ(f.w.resolver_count, 1 + RESOLVERS_MAX);
	EXPECT_OK(responder_export(f.w.responder, take_sockets, &handed));
	EXPECT_EQ(handed.count, 1);
	EXPECT(ip_equal(&handed.sockets[0].resolver, &(struct ip){ .bytes = { [10] = 0xff, 0xff, 127, 0, 1, 11 } }));
	fd_close(handed.sockets[0].udp_fd);
	fd_close(handed.sockets[0].tcp_fd);
	done(&f);
}

TEST(a_predecessor_is_idle_after_ten_seconds_whatever_waits)
{
	struct fixture f;
	const struct packet query = query_packet(1, "a.example", DNS_TYPE_A);
	bool idle = false;

	given(&f);
	udp_send(f.client, &query);
	resolver_receive(&f.w);
	responder_stop(f.w.responder, note_idle, &idle);
	world_turns(&f.w, 3);
	EXPECT(!idle);
	clock_skip(10 * NSEC_PER_SEC);
	TURN_UNTIL(&f.w, idle);
	done(&f);
}

TEST(sockets_that_cannot_be_adopted_stay_the_callers)
{
	struct fixture f;
	struct responder_place place;
	struct responder *successor;
	struct handed handed = {};
	struct error err = {};

	given(&f);
	place = world_place(&f.w);
	EXPECT_OK(responder_export(f.w.responder, take_sockets, &handed));
	EXPECT_EQ(responder_adopt(f.w.responder, &place, handed.sockets, handed.count, &err), -EEXIST);
	EXPECT_OK(responder_new(f.w.loop, &f.w.maps, TEST_PORT, &successor));
	f.w.resolver_set_result = -E2BIG;
	EXPECT_EQ(responder_adopt(successor, &place, handed.sockets, handed.count, &err), -E2BIG);
	EXPECT_CONTAINS(err.message, NODE);
	EXPECT_EQ(close(handed.sockets[0].udp_fd), 0);
	EXPECT_EQ(close(handed.sockets[0].tcp_fd), 0);
	responder_free(successor);
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_the_mesh_are_answered_as_their_endpoints_have_addresses),
		cmocka_unit_test(many_queries_at_once_are_all_answered),
		cmocka_unit_test(names_are_those_of_the_node_and_of_its_mesh_alone),
		cmocka_unit_test(a_name_of_the_mesh_in_another_class_is_the_resolvers),
		cmocka_unit_test(what_cannot_be_read_is_answered_so_or_not_at_all),
		cmocka_unit_test(a_later_version_of_edns_is_answered_badvers),
		cmocka_unit_test(the_last_queries_are_kept_newest_first),
		cmocka_unit_test(each_resolver_of_a_node_has_an_address_of_its_own_which_is_the_same_in_every_run),
		cmocka_unit_test(an_ipv6_resolver_is_answered_for_at_its_port),
		cmocka_unit_test(nodes_in_one_namespace_have_sockets_and_names_of_their_own),
		cmocka_unit_test(ports_on_ipv6_loopback_run_out_and_the_reason_is_told),
		cmocka_unit_test(where_another_program_is_bound_the_next_address_is_taken),
		cmocka_unit_test(where_another_program_has_the_port_on_all_addresses_that_is_told_and_tried_again),
		cmocka_unit_test(without_lo_queries_are_bypassed_until_it_is_up),
		cmocka_unit_test(when_lo_goes_down_sockets_close_and_come_back_with_it),
		cmocka_unit_test(a_full_table_refuses_the_resolver_and_is_tried_again),
		cmocka_unit_test(a_place_that_is_removed_closes_at_once_and_what_it_waited_for_is_counted),
		cmocka_unit_test(a_node_with_a_new_id_keeps_its_sockets),
		cmocka_unit_test(a_successor_takes_over_without_losing_a_query),
		cmocka_unit_test(resolvers_on_their_way_out_are_not_handed_over_and_never_many),
		cmocka_unit_test(a_predecessor_is_idle_after_ten_seconds_whatever_waits),
		cmocka_unit_test(sockets_that_cannot_be_adopted_stay_the_callers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
