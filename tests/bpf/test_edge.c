/* SPDX-License-Identifier: Apache-2.0 */
/* Packets through the programs of devices, attached to none: what comes out, what the table keeps, and what is counted. */
#include "tests/bpf/edge_world.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include "base/time.h"
#include "weft.skel.h"

/* --- exposed services ------------------------------------------------------------------------------------------------------------ */

TEST(a_connection_to_an_exposed_address_goes_to_an_endpoint_and_its_answers_come_back_from_there)
{
	WITH_EDGE;
	given_exposed_service(&e);

	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), NEXT);
	expect_ends(&e, "198.51.100.7", 40000, "10.0.10.0", 8080);
	EXPECT_EQ(tcp_out(&e, tcp("10.0.10.0", 8080, "198.51.100.7", 40000, FRAME_SYN | FRAME_ACK)), NEXT);
	expect_ends(&e, "192.0.2.80", EXPOSED_PORT, "198.51.100.7", 40000);

	EXPECT_EQ(tcp_in(&e, tcp("2001:db8::7", 40000, "2001:db8::80", EXPOSED_PORT, FRAME_SYN)), NEXT);
	expect_ends(&e, "2001:db8::7", 40000, "fd00::a:1", 8080);
	EXPECT_EQ(tcp_out(&e, tcp("fd00::a:1", 8080, "2001:db8::7", 40000, FRAME_SYN | FRAME_ACK)), NEXT);
	expect_ends(&e, "2001:db8::80", EXPOSED_PORT, "2001:db8::7", 40000);
	EXPECT_EQ(row_of_route(&e)->open, 2);
	EXPECT_EQ(endpoint_of(&e.f, TARGET, 0)->open, 1); /* that of the first family */
}

TEST(packets_of_others_are_not_touched)
{
	WITH_EDGE;
	struct frame_tcp others[] = {
		tcp("198.51.100.7", 40000, "192.0.2.80", 81, FRAME_SYN),
		tcp("198.51.100.7", 40000, "192.0.2.81", EXPOSED_PORT, FRAME_SYN),
		tcp("198.51.100.7", 40000, "192.0.2.81", EXPOSED_PORT, FRAME_ACK),
	};

	given_exposed_service(&e);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		const struct frame in = frame_of(others[i]);

		EXPECT_EQ(come_in(&e, &in), NEXT);
		EXPECT_EQ(memcmp(e.out.bytes, in.bytes, in.length), 0);
		EXPECT_EQ(go_out(&e, &in), NEXT);
		EXPECT_EQ(memcmp(e.out.bytes, in.bytes, in.length), 0);
	}
	EXPECT_EQ(count_in_use(&e), 0);
}

TEST(a_refused_connection_is_reset_counted_and_told)
{
	WITH_EDGE;
	static const char *const clients[] = { "198.51.100.7", "2001:db8::7" }, *const exposed[] = { "192.0.2.80", "2001:db8::80" };
	struct frame_tcp t;

	given_exposed_service(&e);
	given_target(&e.f, TARGET, 0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		struct frame_tcp syn = tcp(clients[i], 40000, exposed[i], EXPOSED_PORT, FRAME_SYN);

		syn.payload_bytes = 7; /* as TCP Fast Open has it */
		EXPECT_EQ(tcp_in(&e, syn), SENT_BACK);
		expect_ends(&e, exposed[i], EXPOSED_PORT, clients[i], 40000);
		EXPECT(frame_read_tcp(&e.out, &t));
		EXPECT_EQ(t.flags, FRAME_RST | FRAME_ACK);
		EXPECT_EQ(t.sequence, 0);
		EXPECT_EQ(t.acknowledged, 1008);
		EXPECT_EQ(e.out.bytes[5], 2); /* to who sent it */
	}
	EXPECT_EQ(reason_count(&e, NODE, SERVICE, REASON_NO_ENDPOINT), 2);

	const struct flow_record record = last_record(&e);

	EXPECT_EQ(record.close, FLOW_REFUSED_HERE);
	EXPECT_EQ(record.reason, REASON_NO_ENDPOINT);
	EXPECT_EQ(record.source, NODE);
	EXPECT_EQ(record.asked_port, htons(EXPOSED_PORT));
	EXPECT_EQ(count_in_use(&e), 0);
}

TEST(a_packet_of_no_connection_to_an_exposed_address_is_reset)
{
	WITH_EDGE;
	struct frame_tcp ack = tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_ACK), t;

	given_exposed_service(&e);
	ack.acknowledged = 777;
	ack.payload_bytes = 100;

	EXPECT_EQ(tcp_in(&e, ack), SENT_BACK);

	expect_ends(&e, "192.0.2.80", EXPOSED_PORT, "198.51.100.7", 40000);
	EXPECT(frame_read_tcp(&e.out, &t));
	EXPECT_EQ(t.flags, FRAME_RST);
	EXPECT_EQ(t.sequence, 777);
	EXPECT_EQ(reason_count(&e, NODE, SERVICE, REASON_EDGE_UNKNOWN), 1);
	ack.flags = FRAME_RST;
	EXPECT_EQ(tcp_in(&e, ack), DROP); /* a reset is never answered */
}

TEST(a_connection_is_counted_from_its_first_packet_to_its_last)
{
	WITH_EDGE;
	struct frame_tcp out, in;

	given_exposed_service(&e);
	given_connection(&e);
	EXPECT_EQ(row_of_route(&e)->established, 1);
	EXPECT_EQ(endpoint_of(&e.f, TARGET, 0)->connects, 1);

	in = tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_ACK);
	in.sequence = 1001;
	in.acknowledged = 5001;
	in.payload_bytes = 300;
	EXPECT_EQ(tcp_in(&e, in), NEXT);
	EXPECT_EQ(tcp_in(&e, in), NEXT); /* once more: the answer was lost */
	out = tcp("10.0.10.0", 8080, "198.51.100.7", 40000, FRAME_ACK);
	out.sequence = 5001;
	out.acknowledged = 1301;
	out.payload_bytes = 1000;
	EXPECT_EQ(tcp_out(&e, out), NEXT);
	in.sequence = 1301;
	in.acknowledged = 6001;
	in.payload_bytes = 0;
	in.flags = FRAME_ACK | FRAME_FIN;
	EXPECT_EQ(tcp_in(&e, in), NEXT);
	out.sequence = 6001;
	out.acknowledged = 1302;
	out.payload_bytes = 0;
	out.flags = FRAME_ACK | FRAME_FIN;
	EXPECT_EQ(tcp_out(&e, out), NEXT);
	EXPECT_EQ(row_of_route(&e)->open, 1);
	in.flags = FRAME_ACK;
	in.sequence = 1302;
	in.acknowledged = 6002;
	EXPECT_EQ(tcp_in(&e, in), NEXT);

	EXPECT_EQ(row_of_route(&e)->open, 0);
	EXPECT_EQ(endpoint_of(&e.f, TARGET, 0)->open, 0);
	EXPECT_EQ(row_of_route(&e)->closed, 1);
	EXPECT_EQ(row_of_route(&e)->bytes_sent, 300);
	EXPECT_EQ(row_of_route(&e)->bytes_received, 1000);
	EXPECT_EQ(row_of_route(&e)->retransmits, 1);
	const struct flow_record record = last_record(&e);

	EXPECT_EQ(record.close, FLOW_CLOSED);
	EXPECT_EQ(record.reason, REASON_ROUTED);
	EXPECT_EQ(record.bytes_sent, 300);
	EXPECT_EQ(record.bytes_received, 1000);
	EXPECT_EQ(ip_equal(&record.asked, &(struct ip){ .words = { 0, 0, htonl(0xffff), ip("192.0.2.80").words[3] } }), true);
	EXPECT_EQ(tcp_out(&e, out), NEXT); /* sent again */
	expect_ends(&e, "192.0.2.80", EXPOSED_PORT, "198.51.100.7", 40000);
	EXPECT_EQ(row_of_route(&e)->closed, 1);
}

TEST(each_end_of_a_connection_is_told_as_what_it_was)
{
	static const struct {
		bool established, from_client;
		enum flow_close how;
	} ends[] = {
		{ true, true, FLOW_ABORTED },
		{ true, false, FLOW_RESET_BY_PEER },
		{ false, true, FLOW_CONNECT_ABANDONED },
		{ false, false, FLOW_CONNECT_REFUSED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		WITH_EDGE;
		given_exposed_service(&e);
		if (ends[i].established)
			given_connection(&e);
		else
			EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), NEXT);
		if (ends[i].from_client)
			EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_RST)), NEXT);
		else
			EXPECT_EQ(tcp_out(&e, tcp("10.0.10.0", 8080, "198.51.100.7", 40000, FRAME_RST | FRAME_ACK)), NEXT);
		EXPECT_EQ(last_record(&e).close, ends[i].how);
		EXPECT_EQ(row_of_route(&e)->open, 0);
	}
}

TEST(a_bogus_acknowledgement_counts_no_bytes)
{
	WITH_EDGE;
	struct frame_tcp out = tcp("10.0.10.0", 8080, "198.51.100.7", 40000, FRAME_ACK);

	given_exposed_service(&e);
	given_connection(&e);
	out.sequence = 5001;
	out.acknowledged = 1001 + 1000000;
	EXPECT_EQ(tcp_out(&e, out), NEXT);
	EXPECT_EQ(tcp_out(&e, tcp("10.0.10.0", 8080, "198.51.100.7", 40000, FRAME_RST)), NEXT);
	EXPECT_EQ(last_record(&e).bytes_sent, 0);
}

TEST(a_client_that_uses_its_port_again_is_decided_anew)
{
	WITH_EDGE;
	given_exposed_service(&e);
	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), NEXT);
	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), NEXT);
	EXPECT_EQ(row_of_route(&e)->attempts, 1); /* the same again */
	EXPECT_EQ(tcp_out(&e, tcp("10.0.10.0", 8080, "198.51.100.7", 40000, FRAME_RST | FRAME_ACK)), NEXT);

	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), NEXT);

	EXPECT_EQ(row_of_route(&e)->attempts, 2);
	EXPECT_EQ(count_in_use(&e), 1);
	EXPECT_EQ(count_pairs(&e), 2);
}

TEST(bytes_are_counted_from_the_sequence_number_that_was_answered)
{
	WITH_EDGE;
	struct frame_tcp syn = tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN);

	given_exposed_service(&e);
	syn.sequence = 4000000000u; /* of a connection that came to nothing */
	EXPECT_EQ(tcp_in(&e, syn), NEXT);
	given_connection(&e);
	syn.flags = FRAME_RST;
	EXPECT_EQ(tcp_in(&e, syn), NEXT);
	EXPECT_EQ(last_record(&e).bytes_sent, 0);
	EXPECT_EQ(row_of_route(&e)->established, 1);
	EXPECT_EQ(row_of_route(&e)->retransmits, 0);
}

TEST(two_connections_that_would_look_the_same_to_the_endpoint_get_different_ports)
{
	WITH_EDGE;
	struct frame_tcp t;
	char port_text[8];

	given_exposed_service(&e);
	given_exposed(&e, "192.0.2.90", 90);
	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), NEXT);
	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.90", 90, FRAME_SYN)), NEXT);
	EXPECT(frame_read_tcp(&e.out, &t));
	EXPECT(t.source_port != 40000 && t.source_port >= 1024);
	expect_ends(&e, "198.51.100.7", t.source_port, "10.0.10.0", 8080);
	snprintf(port_text, sizeof(port_text), "%u", t.source_port);

	EXPECT_EQ(tcp_out(&e, tcp("10.0.10.0", 8080, "198.51.100.7", t.source_port, FRAME_SYN | FRAME_ACK)), NEXT);
	expect_ends(&e, "192.0.2.90", 90, "198.51.100.7", 40000);
	EXPECT_EQ(tcp_out(&e, tcp("10.0.10.0", 8080, "198.51.100.7", 40000, FRAME_SYN | FRAME_ACK)), NEXT);
	expect_ends(&e, "192.0.2.80", EXPOSED_PORT, "198.51.100.7", 40000);
}

/* client:port -> endpoint, past every table. */
static struct frame_tcp direct(uint8_t flags)
{
	return tcp("198.51.100.7", 40000, "10.0.10.0", 8080, flags);
}

TEST(a_connection_past_the_table_does_not_suffer_from_one_that_is_over)
{
	WITH_EDGE;
	given_exposed_service(&e);
	given_connection(&e);
	EXPECT_EQ(tcp_in(&e, direct(FRAME_SYN)), SENT_BACK); /* while that one lives it would be part of it */
	EXPECT_EQ(reason_count(&e, NODE, SERVICE, REASON_EDGE_NO_PORT), 1);
	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_RST)), NEXT);

	EXPECT_EQ(tcp_in(&e, direct(FRAME_SYN)), NEXT);
	expect_ends(&e, "198.51.100.7", 40000, "10.0.10.0", 8080);
	EXPECT_EQ(tcp_out(&e, tcp("10.0.10.0", 8080, "198.51.100.7", 40000, FRAME_SYN | FRAME_ACK)), NEXT);
	expect_ends(&e, "10.0.10.0", 8080, "198.51.100.7", 40000);
	EXPECT_EQ(count_in_use(&e), 0);
}

TEST(a_connection_past_the_table_goes_on_when_its_port_is_used_for_a_service)
{
	WITH_EDGE;
	struct frame_tcp data = tcp("10.0.10.0", 8080, "198.51.100.7", 40000, FRAME_ACK), t;

	given_exposed_service(&e);
	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), NEXT);
	data.acknowledged = 77777;
	data.payload_bytes = 10;
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(tcp_out(&e, data), NEXT);
		expect_ends(&e, "10.0.10.0", 8080, "198.51.100.7", 40000);
	}
	EXPECT_EQ(stat_count(&e, STAT_EDGE_CLASHES), 1);
	EXPECT_EQ(row_of_route(&e)->open, 0);

	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), NEXT); /* sent again */
	EXPECT(frame_read_tcp(&e.out, &t));
	EXPECT(t.source_port != 40000);
	EXPECT_EQ(tcp_out(&e, data), NEXT);
	expect_ends(&e, "10.0.10.0", 8080, "198.51.100.7", 40000);
	data = tcp("10.0.10.0", 8080, "198.51.100.7", t.source_port, FRAME_SYN | FRAME_ACK);
	data.acknowledged = 1001;
	EXPECT_EQ(tcp_out(&e, data), NEXT);
	expect_ends(&e, "192.0.2.80", EXPOSED_PORT, "198.51.100.7", 40000);
}

TEST(a_service_may_be_exposed_at_the_address_of_its_endpoint)
{
	WITH_EDGE;
	given_exposed_service(&e);
	given_exposed(&e, "10.0.10.0", 8080);

	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "10.0.10.0", 8080, FRAME_SYN)), NEXT);
	expect_ends(&e, "198.51.100.7", 40000, "10.0.10.0", 8080);
	EXPECT_EQ(tcp_out(&e, tcp("10.0.10.0", 8080, "198.51.100.7", 40000, FRAME_RST | FRAME_ACK)), NEXT);

	expect_ends(&e, "10.0.10.0", 8080, "198.51.100.7", 40000);
	EXPECT_EQ(last_record(&e).close, FLOW_CONNECT_REFUSED);
}

/* --- endpoints elsewhere --------------------------------------------------------------------------------------------------------- */

TEST(towards_an_endpoint_behind_an_exposing_device_the_client_is_this_host)
{
	WITH_EDGE;
	static const struct {
		const char *client, *exposed, *endpoint, *own;
	} families[] = {
		{ "198.51.100.7", "192.0.2.80", "10.0.10.0", "192.0.2.1" },
		{ "2001:db8::7", "2001:db8::80", "fd00::a:1", "2001:db8::1" },
	};
	struct frame_tcp t;
	uint16_t port;

	given_exposed_service(&e);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		EXPECT_EQ(tcp_in(&e, tcp(families[i].client, 40000, families[i].exposed, EXPOSED_PORT, FRAME_SYN)), NEXT);
		for (int again = 0; again < 2; again++) { /* the SYN, and the same SYN sent again */
			EXPECT_EQ(tcp_out(&e, tcp(families[i].client, 40000, families[i].endpoint, 8080, FRAME_SYN)), NEXT);
			EXPECT(frame_read_tcp(&e.out, &t));
			if (!again)
				port = t.source_port;
			EXPECT(port >= 61000);
			expect_ends(&e, families[i].own, port, families[i].endpoint, 8080);
		}
		EXPECT_EQ(tcp_in(&e, tcp(families[i].endpoint, 8080, families[i].own, port, FRAME_SYN | FRAME_ACK)), NEXT);
		expect_ends(&e, families[i].endpoint, 8080, families[i].client, 40000);
		EXPECT_EQ(tcp_out(&e, tcp(families[i].endpoint, 8080, families[i].client, 40000, FRAME_SYN | FRAME_ACK)), NEXT);
		expect_ends(&e, families[i].exposed, EXPOSED_PORT, families[i].client, 40000);
	}
}

TEST(a_device_without_an_address_gives_up_at_once)
{
	WITH_EDGE;
	const struct edge_device bare = {};

	given_exposed_service(&e);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(e.f.skeleton->maps.w_edge_device), &(uint32_t){ DEVICE }, &bare, 0), 0);
	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), NEXT);

	EXPECT_EQ(tcp_out(&e, tcp("198.51.100.7", 40000, "10.0.10.0", 8080, FRAME_SYN)), DROP);

	EXPECT_EQ(reason_count(&e, NODE, SERVICE, REASON_EDGE_NO_PORT), 1);
	EXPECT_EQ(row_of_route(&e)->open, 0);
}

/* --- ICMP, fragments, and what is no packet -------------------------------------------------------------------------------------- */

static void expect_quote(const struct edge *e, const char *source, uint16_t source_port, const char *destination, uint16_t destination_port,
			 const char *from, const char *to)
{
	struct ip error_source, error_destination;
	char text[IP_TEXT_BYTES];
	struct frame_tcp t;

	EXPECT(frame_read_error(&e->out, &t, &error_source, &error_destination));
	EXPECT_STR(ip_format(&t.source, text), source);
	EXPECT_EQ(t.source_port, source_port);
	EXPECT_STR(ip_format(&t.destination, text), destination);
	EXPECT_EQ(t.destination_port, destination_port);
	EXPECT_STR(ip_format(&error_source, text), from);
	EXPECT_STR(ip_format(&error_destination, text), to);
	EXPECT(frame_checksums_right(&e->out));
}

TEST(an_error_about_a_packet_tells_each_side_of_the_packet_that_it_knows)
{
	WITH_EDGE;
	static const struct {
		const char *client, *exposed, *endpoint, *router;
		uint8_t too_big, too_big_code;
	} families[] = {
		{ "198.51.100.7", "192.0.2.80", "10.0.10.0", "203.0.113.1", 3, 4 },
		{ "2001:db8::7", "2001:db8::80", "fd00::a:1", "2001:db8:1::1", 2, 0 },
	};

	given_exposed_service(&e);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct ip router = ip(families[i].router), endpoint = ip(families[i].endpoint);
		struct frame about, error;

		EXPECT_EQ(tcp_in(&e, tcp(families[i].client, 40000, families[i].exposed, EXPOSED_PORT, FRAME_SYN)), NEXT);

		/* an answer was too big for a router on its way to the client */
		about = frame_of(tcp(families[i].exposed, EXPOSED_PORT, families[i].client, 40000, FRAME_ACK));
		frame_make_error(&error, &router, families[i].too_big, families[i].too_big_code, &about);
		EXPECT_EQ(come_in(&e, &error), NEXT);
		expect_quote(&e, families[i].endpoint, 8080, families[i].client, 40000, families[i].router, families[i].endpoint);

		/* the endpoint's host refuses a packet of the client, and a router before it does */
		about = frame_of(tcp(families[i].client, 40000, families[i].endpoint, 8080, FRAME_ACK));
		frame_make_error(&error, &endpoint, families[i].too_big, families[i].too_big_code, &about);
		EXPECT_EQ(go_out(&e, &error), NEXT);
		expect_quote(&e, families[i].client, 40000, families[i].exposed, EXPOSED_PORT, families[i].exposed, families[i].client);
		frame_make_error(&error, &router, families[i].too_big, families[i].too_big_code, &about);
		EXPECT_EQ(go_out(&e, &error), NEXT);
		expect_quote(&e, families[i].client, 40000, families[i].exposed, EXPOSED_PORT, families[i].router, families[i].client);
	}
}

TEST(an_error_about_a_masqueraded_packet_finds_the_client)
{
	WITH_EDGE;
	const struct ip router = ip("203.0.113.1");
	struct frame about, error;
	struct frame_tcp t;

	given_exposed_service(&e);
	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), NEXT);
	EXPECT_EQ(tcp_out(&e, tcp("198.51.100.7", 40000, "10.0.10.0", 8080, FRAME_SYN)), NEXT);
	EXPECT(frame_read_tcp(&e.out, &t));
	about = e.out;
	frame_make_error(&error, &router, 3, 1, &about); /* host unreachable */

	EXPECT_EQ(come_in(&e, &error), NEXT);
	expect_quote(&e, "198.51.100.7", 40000, "10.0.10.0", 8080, "203.0.113.1", "198.51.100.7");
	error = e.out;
	EXPECT_EQ(go_out(&e, &error), NEXT);

	expect_quote(&e, "198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, "203.0.113.1", "198.51.100.7");
	EXPECT_EQ(last_record(&e).close, FLOW_CONNECT_UNREACHABLE);
	EXPECT_EQ(row_of_route(&e)->unreachable, 1);
}

TEST(a_redirect_that_would_tell_of_the_endpoint_is_dropped)
{
	WITH_EDGE;
	const struct ip host = ip("192.0.2.1");
	struct frame about, error;

	given_exposed_service(&e);
	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), NEXT);
	about = frame_of(tcp("198.51.100.7", 40000, "10.0.10.0", 8080, FRAME_SYN));
	frame_make_error(&error, &host, 5, 1, &about);

	EXPECT_EQ(go_out(&e, &error), DROP);
	EXPECT_EQ(stat_count(&e, STAT_EDGE_REDIRECTS), 1);
}

/* The frame's IP packet becomes the first of several, or one of the middle. */
static struct frame fragment_of(struct frame_tcp t, uint16_t offset_and_flags)
{
	struct frame frame = frame_of(t);
	uint8_t *ip = frame_ip(&frame);
	uint32_t sum = 0;

	ip[6] = offset_and_flags >> 8;
	ip[7] = offset_and_flags;
	ip[10] = ip[11] = 0;
	for (int i = 0; i < 20; i += 2)
		sum += ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	ip[10] = ~sum >> 8;
	ip[11] = ~sum;
	return frame;
}

TEST(a_fragment_for_an_exposed_address_is_dropped_and_counted)
{
	WITH_EDGE;
	struct frame fragment;

	given_exposed_service(&e);
	fragment = fragment_of(tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_ACK), 0x2000);
	EXPECT_EQ(come_in(&e, &fragment), DROP);
	EXPECT_EQ(reason_count(&e, NODE, 0, REASON_EDGE_FRAGMENT), 1);
	given_connection(&e);
	EXPECT_EQ(come_in(&e, &fragment), DROP);
	fragment = fragment_of(tcp("10.0.10.0", 8080, "198.51.100.7", 40000, FRAME_ACK), 0x2000);
	EXPECT_EQ(go_out(&e, &fragment), DROP);
	EXPECT_EQ(reason_count(&e, NODE, SERVICE, REASON_EDGE_FRAGMENT), 2);
	fragment = fragment_of(tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_ACK), 100); /* of the middle: no ports */
	EXPECT_EQ(come_in(&e, &fragment), NEXT);
	fragment = fragment_of(tcp("198.51.100.7", 40000, "192.0.2.99", EXPOSED_PORT, FRAME_ACK), 0x2000);
	EXPECT_EQ(come_in(&e, &fragment), NEXT);
}

TEST(a_packet_with_extension_headers_is_translated_behind_them)
{
	WITH_EDGE;
	struct frame plain, in;
	struct frame_tcp syn = tcp("2001:db8::7", 40000, "2001:db8::80", EXPOSED_PORT, FRAME_SYN);

	given_exposed_service(&e);
	plain = frame_of(syn);
	in = plain;
	memcpy(in.bytes + 14 + 40, "\x06\x00\x01\x04\x00\x00\x00\x00", 8); /* destination options, padding alone */
	memcpy(in.bytes + 14 + 40 + 8, plain.bytes + 14 + 40, 20);
	in.bytes[14 + 6] = 60;
	in.bytes[14 + 5] += 8;
	in.length += 8;

	EXPECT_EQ(come_in(&e, &in), NEXT);

	EXPECT_EQ(e.out.bytes[14 + 24], 0xfd); /* the endpoint's */
	EXPECT_EQ(e.out.bytes[14 + 40 + 8 + 2] << 8 | e.out.bytes[14 + 40 + 8 + 3], 8080);
	memmove(e.out.bytes + 14 + 40, e.out.bytes + 14 + 40 + 8, 20); /* without them again */
	e.out.length -= 8;
	e.out.bytes[14 + 5] -= 8;
	e.out.bytes[14 + 6] = 6;
	expect_ends(&e, "2001:db8::7", 40000, "fd00::a:1", 8080);
}

/* --- attached devices ------------------------------------------------------------------------------------------------------------ */

TEST(what_comes_from_an_attached_device_is_its_nodes)
{
	WITH_EDGE;
	given_route(&e, 1, 1);
	given_device(&e, NODE);

	EXPECT_EQ(tcp_in(&e, tcp("10.9.9.9", 40000, "240.240.0.2", PORT, FRAME_SYN)), NEXT);
	expect_ends(&e, "10.9.9.9", 40000, "10.0.10.0", 8080);
	EXPECT_EQ(tcp_out(&e, tcp("10.0.10.0", 8080, "10.9.9.9", 40000, FRAME_SYN | FRAME_ACK)), NEXT);
	expect_ends(&e, "240.240.0.2", PORT, "10.9.9.9", 40000);
	EXPECT_EQ(tcp_in(&e, tcp("fd09::9", 40000, "2001:2::2", PORT, FRAME_SYN)), NEXT);
	expect_ends(&e, "fd09::9", 40000, "fd00::a:1", 8080);

	EXPECT_EQ(tcp_in(&e, tcp("10.9.9.9", 40001, "203.0.113.5", 443, FRAME_SYN)), SENT_BACK);
	EXPECT_EQ(reason_count(&e, NODE, 0, REASON_NOT_IN_MESH), 1);
	EXPECT_EQ(tcp_in(&e, tcp("10.9.9.9", 40001, "203.0.113.5", 443, FRAME_ACK)), NEXT); /* of one that was let pass before */
	EXPECT_EQ(tcp_in(&e, tcp("10.9.9.9", 40001, "240.240.0.2", PORT, FRAME_ACK)), SENT_BACK);
	EXPECT_EQ(reason_count(&e, NODE, SERVICE, REASON_EDGE_UNKNOWN), 1);
	e.f.kernel.memory.nodes[NODE].flags = 0;
	EXPECT_EQ(tcp_in(&e, tcp("10.9.9.9", 40001, "203.0.113.5", 443, FRAME_SYN)), NEXT);
	EXPECT_EQ(reason_count(&e, NODE, 0, REASON_ALLOW_ALL), 1);
}

/* Of a mesh with these flags, what has been let out of it by ALLOW_ALL before. */
static void given_let_out(struct edge *e, const char *client, const char *to, uint32_t flags)
{
	e->f.kernel.memory.nodes[NODE].flags = 0;
	EXPECT_EQ(tcp_in(e, tcp(client, 40000, to, 443, FRAME_SYN)), NEXT);
	EXPECT_EQ(tcp_in(e, tcp(client, 40000, to, 443, FRAME_ACK)), NEXT);
	e->f.kernel.memory.nodes[NODE].flags = flags;
}

TEST(what_left_the_mesh_from_an_attached_device_is_reset_when_the_filter_closes)
{
	static const struct {
		const char *client, *to;
	} families[] = { { "10.9.9.9", "203.0.113.5" }, { "fd09::9", "2001:db8::5" } };
	WITH_EDGE;

	given_route(&e, 1, 1);
	given_device(&e, NODE);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const char *client = families[i].client, *to = families[i].to;
		const struct ip asked = ip(to);
		struct flow_record record;

		given_let_out(&e, client, to, NODE_DROP_ALL);
		last_record(&e);
		for (unsigned n = 0; n < 2; n++) { /* where the first reset is lost */
			EXPECT_EQ(tcp_in(&e, tcp(client, 40000, to, 443, FRAME_ACK)), SENT_BACK);
			EXPECT_EQ(stat_count(&e, STAT_POLICY_CHANGED), i + 1);
		}
		record = last_record(&e);
		EXPECT_EQ(record.reason, REASON_ALLOW_ALL);
		EXPECT_EQ(record.close, FLOW_POLICY_CHANGED);
		EXPECT_EQ(record.source, NODE);
		EXPECT_EQ(ip_equal(&record.asked, &asked), true);
		EXPECT_EQ(record.asked_port, htons(443));
		EXPECT_EQ(tcp_in(&e, tcp(client, 40000, to, 443, FRAME_RST)), NEXT); /* by which the other side learns of it */
	}
}

TEST(what_comes_from_an_attached_device_otherwise_goes_on_when_the_filter_closes)
{
	const struct ip address = ip("203.0.113.5");
	WITH_EDGE;

	given_route(&e, 1, 1);
	given_device(&e, NODE);
	given_let_out(&e, "10.9.9.9", "203.0.113.5", NODE_DROP_ALL | NODE_AUDIT);
	for (unsigned n = 0; n < 2; n++) {
		EXPECT_EQ(tcp_in(&e, tcp("10.9.9.9", 40000, "203.0.113.5", 443, FRAME_ACK)), NEXT);
		EXPECT_EQ(stat_count(&e, STAT_AUDIT_KEPT), 1);
	}
	e.f.kernel.memory.nodes[NODE].flags = NODE_DROP_ALL;
	EXPECT_EQ(tcp_in(&e, tcp("10.9.9.9", 443, "203.0.113.5", 40000, FRAME_ACK)), NEXT); /* it was connected to */
	EXPECT_OK(kernel_exempt_set(&e.f.kernel, &address, &(struct exemption){ .reason = REASON_IGNORED_IP }));
	EXPECT_EQ(tcp_in(&e, tcp("10.9.9.9", 40000, "203.0.113.5", 443, FRAME_ACK)), NEXT);
	EXPECT_EQ(tcp_in(&e, tcp("10.9.9.9", 40000, "203.0.113.5", 443, FRAME_SYN)), NEXT); /* connected anew, by the exemption */
	EXPECT_OK(kernel_exempt_remove(&e.f.kernel, &address));
	EXPECT_EQ(tcp_in(&e, tcp("10.9.9.9", 40000, "203.0.113.5", 443, FRAME_ACK)), NEXT);
	given_let_out(&e, "10.9.9.9", "203.0.113.5", 0);
	EXPECT_EQ(tcp_in(&e, tcp("10.9.9.9", 40000, "203.0.113.5", 443, FRAME_ACK | FRAME_FIN)), NEXT);
	e.f.kernel.memory.nodes[NODE].flags = NODE_DROP_ALL;
	EXPECT_EQ(tcp_in(&e, tcp("10.9.9.9", 40000, "203.0.113.5", 443, FRAME_ACK)), NEXT); /* it ends by itself */
	given_let_out(&e, "10.9.9.9", "203.0.113.5", NODE_DROP_ALL);
	given_device(&e, NODE + 1); /* somebody else's by now */
	EXPECT_EQ(tcp_in(&e, tcp("10.9.9.9", 40000, "203.0.113.5", 443, FRAME_ACK)), NEXT);
	EXPECT_EQ(stat_count(&e, STAT_POLICY_CHANGED), 0);
}

TEST(from_an_attached_device_nothing_slips_by_in_pieces)
{
	WITH_EDGE;
	struct frame frame;

	given_route(&e, 1, 0);
	given_device(&e, NODE);
	frame = fragment_of(tcp("10.9.9.9", 40000, "203.0.113.5", 443, FRAME_SYN), 0x2000);
	EXPECT_EQ(come_in(&e, &frame), DROP);
	frame = fragment_of(tcp("10.9.9.9", 40000, "203.0.113.5", 443, FRAME_SYN), 100);
	EXPECT_EQ(come_in(&e, &frame), DROP);
	EXPECT_EQ(reason_count(&e, NODE, 0, REASON_EDGE_FRAGMENT), 2);
	frame = frame_of(tcp("10.9.9.9", 40000, "203.0.113.5", 443, FRAME_SYN));
	frame_l4(&frame)[12] = 0x40; /* a header shorter than there is */
	EXPECT_EQ(come_in(&e, &frame), DROP);
	EXPECT_EQ(reason_count(&e, NODE, 0, REASON_EDGE_MALFORMED), 1);
	frame = frame_of(tcp("10.9.9.9", 40000, "240.240.0.2", PORT, FRAME_SYN));
	frame_ip(&frame)[9] = IPPROTO_UDP;
	EXPECT_EQ(come_in(&e, &frame), DROP);
	EXPECT_EQ(reason_count(&e, NODE, SERVICE, REASON_VIP_NOT_TCP), 1);
	frame = frame_of(tcp("10.9.9.9", 40000, "203.0.113.5", 53, 0));
	frame_ip(&frame)[9] = IPPROTO_UDP;
	EXPECT_EQ(come_in(&e, &frame), NEXT);
}

TEST(a_node_is_never_sent_to_itself_behind_its_device)
{
	WITH_EDGE;
	given_route(&e, 1, 0);
	given_device(&e, NODE);

	EXPECT_EQ(tcp_in(&e, tcp("10.0.10.0", 40000, "240.240.0.2", PORT, FRAME_SYN)), SENT_BACK);

	EXPECT_EQ(reason_count(&e, NODE, SERVICE, REASON_EDGE_SELF), 1);
	EXPECT_EQ(row_of_route(&e)->open, 0);
	EXPECT_EQ(count_in_use(&e), 0);
}

/* --- the table ------------------------------------------------------------------------------------------------------------------- */

TEST(silence_ends_each_state_after_its_time)
{
	static const struct {
		bool established;
		uint64_t after_s;
		enum flow_close how;
	} silences[] = {
		{ false, 10, FLOW_CONNECT_TIMED_OUT },
		{ true, 6 * 3600, FLOW_ABORTED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(silences); i++) {
		WITH_EDGE;
		given_exposed_service(&e);
		if (silences[i].established)
			given_connection(&e);
		else
			EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), NEXT);

		const uint64_t now_ns = time_now_ns();

		EXPECT_EQ(sweep(&e, now_ns + (silences[i].after_s - 1) * NSEC_PER_SEC).ended, 0);
		EXPECT_EQ(sweep(&e, now_ns + silences[i].after_s * NSEC_PER_SEC).ended, 1);
		EXPECT_EQ(last_record(&e).close, silences[i].how);
		EXPECT_EQ(last_record(&e).end_ns, 0);
		EXPECT_EQ(row_of_route(&e)->open, 0);
		EXPECT_EQ(count_in_use(&e), 0);
		EXPECT_EQ(count_pairs(&e), 0);
		EXPECT_EQ(stat_count(&e, STAT_EDGE_EXPIRED), 1);
	}
}

TEST(a_change_of_policy_and_an_endpoint_that_left_end_connections)
{
	for (int denied = 0; denied < 2; denied++) {
		WITH_EDGE;
		given_exposed_service(&e);
		e.f.kernel.memory.config->drain_ns = 5 * NSEC_PER_SEC;
		given_connection(&e);
		if (denied)
			given_node(&e.f, NODE_DROP_ALL, (uint32_t[]){ OTHER_SERVICE, 0 });
		else
			endpoint_of(&e.f, TARGET, 0)->gone = 1;
		const uint64_t now_ns = time_now_ns();

		EXPECT_EQ(sweep(&e, now_ns).ended, denied);
		EXPECT_EQ(sweep(&e, now_ns + 6 * NSEC_PER_SEC).ended, !denied);
		EXPECT_EQ(last_record(&e).close, denied ? FLOW_POLICY_CHANGED : FLOW_DRAINED);
		EXPECT_EQ(row_of_route(&e)->open, 0);
		EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_ACK)), SENT_BACK);
	}
}

TEST(a_port_for_weft_proxy_is_for_packets_what_it_would_be_without_it)
{
	WITH_EDGE;
	given_exposed_service(&e);
	route_of(&e.f, SERVICE)->flags = ROUTE_L7 | ROUTE_L7_AS_L4;
	given_connection(&e);
	expect_ends(&e, "198.51.100.7", 40000, "10.0.10.0", 8080);
	EXPECT_EQ(sweep(&e, time_now_ns()).ended, 0);
	EXPECT_EQ(row_of_route(&e)->open, 1);
	*route_of(&e.f, SERVICE) = (struct route_record){ .flags = ROUTE_L7, .closed = REASON_NEEDS_PROXY };
	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40001, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), SENT_BACK);
	EXPECT_EQ(reason_count(&e, NODE, SERVICE, REASON_NEEDS_PROXY), 1);
}

/* Every place but `left`, as if some connection in this state had it. */
static void fill_table(struct edge *e, enum edge_state state, uint64_t seen_ns)
{
	for (uint32_t i = 0; i < MAX_EDGE_CONNECTIONS; i++)
		if (e->connections[i].state == EDGE_FREE)
			e->connections[i] = (struct edge_connection){
				.state = state, .seen_ns = seen_ns, .client = { .words = { 1, 2, 3, i } }, .client_port = 1,
			};
}

TEST(in_a_full_table_half_open_connections_make_room_and_live_ones_do_not)
{
	WITH_EDGE;
	const uint64_t now_ns = time_now_ns();

	given_exposed_service(&e);
	fill_table(&e, EDGE_ESTABLISHED, now_ns);
	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), SENT_BACK);
	EXPECT_EQ(reason_count(&e, NODE, SERVICE, REASON_EDGE_FULL), 1);
	EXPECT_EQ(row_of_route(&e)->open, 0);

	for (uint32_t i = 0; i < MAX_EDGE_CONNECTIONS; i += 16)
		e.connections[i].state = EDGE_SYN_SENT;
	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), NEXT);
	EXPECT_EQ(stat_count(&e, STAT_EDGE_EVICTED), 1);
	EXPECT_EQ(row_of_route(&e)->open, 1);
	EXPECT_EQ(count_in_use(&e), MAX_EDGE_CONNECTIONS);
}

TEST(in_a_full_table_connections_that_were_quiet_for_a_minute_make_room)
{
	WITH_EDGE;
	given_exposed_service(&e);
	fill_table(&e, EDGE_ESTABLISHED, time_now_ns() - EDGE_EVICT_IDLE_NS - NSEC_PER_SEC);

	EXPECT_EQ(tcp_in(&e, tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN)), NEXT);
	EXPECT_EQ(stat_count(&e, STAT_EDGE_EVICTED), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connection_to_an_exposed_address_goes_to_an_endpoint_and_its_answers_come_back_from_there),
		cmocka_unit_test(packets_of_others_are_not_touched),
		cmocka_unit_test(a_refused_connection_is_reset_counted_and_told),
		cmocka_unit_test(a_packet_of_no_connection_to_an_exposed_address_is_reset),
		cmocka_unit_test(a_connection_is_counted_from_its_first_packet_to_its_last),
		cmocka_unit_test(each_end_of_a_connection_is_told_as_what_it_was),
		cmocka_unit_test(a_bogus_acknowledgement_counts_no_bytes),
		cmocka_unit_test(a_client_that_uses_its_port_again_is_decided_anew),
		cmocka_unit_test(bytes_are_counted_from_the_sequence_number_that_was_answered),
		cmocka_unit_test(two_connections_that_would_look_the_same_to_the_endpoint_get_different_ports),
		cmocka_unit_test(a_connection_past_the_table_does_not_suffer_from_one_that_is_over),
		cmocka_unit_test(a_connection_past_the_table_goes_on_when_its_port_is_used_for_a_service),
		cmocka_unit_test(a_service_may_be_exposed_at_the_address_of_its_endpoint),
		cmocka_unit_test(towards_an_endpoint_behind_an_exposing_device_the_client_is_this_host),
		cmocka_unit_test(a_device_without_an_address_gives_up_at_once),
		cmocka_unit_test(an_error_about_a_packet_tells_each_side_of_the_packet_that_it_knows),
		cmocka_unit_test(an_error_about_a_masqueraded_packet_finds_the_client),
		cmocka_unit_test(a_redirect_that_would_tell_of_the_endpoint_is_dropped),
		cmocka_unit_test(a_fragment_for_an_exposed_address_is_dropped_and_counted),
		cmocka_unit_test(a_packet_with_extension_headers_is_translated_behind_them),
		cmocka_unit_test(what_comes_from_an_attached_device_is_its_nodes),
		cmocka_unit_test(what_left_the_mesh_from_an_attached_device_is_reset_when_the_filter_closes),
		cmocka_unit_test(what_comes_from_an_attached_device_otherwise_goes_on_when_the_filter_closes),
		cmocka_unit_test(from_an_attached_device_nothing_slips_by_in_pieces),
		cmocka_unit_test(a_node_is_never_sent_to_itself_behind_its_device),
		cmocka_unit_test(silence_ends_each_state_after_its_time),
		cmocka_unit_test(a_change_of_policy_and_an_endpoint_that_left_end_connections),
		cmocka_unit_test(a_port_for_weft_proxy_is_for_packets_what_it_would_be_without_it),
		cmocka_unit_test(in_a_full_table_half_open_connections_make_room_and_live_ones_do_not),
		cmocka_unit_test(in_a_full_table_connections_that_were_quiet_for_a_minute_make_room),
	};

	return cmocka_run_group_tests_name("edge", tests, NULL, NULL);
}
