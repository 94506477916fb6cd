/* SPDX-License-Identifier: Apache-2.0 */
/* The hooks for names, with real sockets: this process is a workload, in a network namespace and a cgroup of its own, and beside
 * that plays the responder and the resolvers. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/bpf/hooks_world.h"
#include "tests/lib/test.h"

enum { NODE = WORLD_NODE, NODE_INDEX = WORLD_NODE_INDEX, SERVICE = 9, QUIET_MS = 50 };

/* --- the world ---------------------------------------------------------------------------------------------------------------- */

static void given_resolver(const char *resolver, const char *responder, uint16_t port)
{
	const struct resolver_key key = { .netns_cookie = world.netns_cookie, .node = NODE, .address = ip(resolver) };

	EXPECT_OK(proxy_resolver_set(&world.maps, &key, &(struct resolver){ .address = ip(responder), .port = htons(port) }));
}

/* The workload has three resolvers. */
static int set_up(void **state __attribute__((unused)))
{
	world_enter();
	given_resolver("10.96.0.10", "127.53.0.1", DNS_PORT);
	given_resolver("fd00::53", "::1", DNS_PORT);
	given_resolver("fe80::53", "::1", DNS_PORT + 1);
	return 0;
}

static int remove_resolver(const struct resolver_key *key, const struct resolver *resolver __attribute__((unused)),
			   void *arg __attribute__((unused)))
{
	return proxy_resolver_remove(&world.maps, key);
}

static int tear_down(void **state __attribute__((unused)))
{
	world_leave();
	EXPECT_OK(proxy_resolver_each(&world.maps, remove_resolver, NULL));
	return 0;
}

/* Takes a datagram, and sends one back to where it came from. */
static bool serve(int fd)
{
	struct endpoint_address from = { .length = sizeof(from.v6) };
	char byte;

	if (!readable(fd, WAIT_MS) || recvfrom(fd, &byte, 1, 0, &from.any, &from.length) != 1)
		return false;
	enter_cgroup(world.weft_cgroup);
	EXPECT_EQ(sendto(fd, "a", 1, 0, &from.any, from.length), 1);
	enter_cgroup(world.cgroup);
	return true;
}

/* Where the next datagram is from, by recvmsg(). */
static const char *received_from(int fd)
{
	struct endpoint_address from = {};
	char byte;
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_name = &from.any, .msg_namelen = sizeof(from.v6), .msg_iov = &data, .msg_iovlen = 1 };

	if (!readable(fd, WAIT_MS))
		return "nothing came";
	EXPECT_EQ(recvmsg(fd, &message, 0), 1);
	return text_of(&from);
}

/* --- steering ----------------------------------------------------------------------------------------------------------------- */

/* A socket's family, a resolver, and where weft-proxy is for it. */
static const struct way {
	int family;
	const char *resolver, *shown; /* shown: with its port */
	int responder_family;
	const char *responder;
	uint16_t port;
} ways[] = {
	{ AF_INET, "10.96.0.10", "10.96.0.10:53", AF_INET, "127.53.0.1", DNS_PORT },
	{ AF_INET6, "10.96.0.10", "10.96.0.10:53", AF_INET, "127.53.0.1", DNS_PORT },
	{ AF_INET6, "fd00::53", "[fd00::53]:53", AF_INET6, "::1", DNS_PORT },
};
#define FOR_EACH_WAY(way) for (const struct way *way = ways; way < ways + ARRAY_SIZE(ways); way++)

TEST(a_udp_socket_that_connects_to_its_resolver_talks_to_the_responder_and_sees_the_resolver)
{
	FOR_EACH_WAY(way) {
		_cleanup_close_ int responder = server(way->responder_family, SOCK_DGRAM, way->responder, way->port);
		_cleanup_close_ int fd = new_socket(way->family, SOCK_DGRAM);
		const struct counts before = counts_now();

		EXPECT_OK(connect_to(fd, way->family, way->resolver, 53));
		EXPECT_STR(peer_of(fd), way->shown);
		EXPECT_EQ(send(fd, "q", 1, 0), 1);
		EXPECT(serve(responder));
		EXPECT_STR(received_from(fd), way->shown);
		EXPECT_COUNTED(before, REASON_DNS_BYPASS, 0);
	}
}

TEST(a_datagram_to_a_resolver_reaches_the_responder_and_its_answer_comes_from_the_resolver)
{
	FOR_EACH_WAY(way) {
		_cleanup_close_ int responder = server(way->responder_family, SOCK_DGRAM, way->responder, way->port);
		_cleanup_close_ int fd = new_socket(way->family, SOCK_DGRAM);
		const struct counts before = counts_now();

		EXPECT_OK(send_to(fd, way->family, way->resolver, 53));
		EXPECT(serve(responder));
		EXPECT_STR(received_from(fd), way->shown);
		EXPECT_COUNTED(before, REASON_DNS_BYPASS, 0);
	}
}

TEST(a_tcp_connection_to_a_resolver_ends_at_the_responder_without_an_account_or_a_flow)
{
	FOR_EACH_WAY(way) {
		_cleanup_close_ int responder = server(way->responder_family, SOCK_STREAM, way->responder, way->port);
		const struct counts before = counts_now();
		{
			_cleanup_close_ int fd = new_socket(way->family, SOCK_STREAM);
			_cleanup_close_ int accepted = -1;

			EXPECT_OK(connect_to(fd, way->family, way->resolver, 53));
			accepted = accept(responder, NULL, NULL);
			EXPECT(accepted >= 0);
			EXPECT_STR(peer_of(fd), way->shown);
			EXPECT_EQ(account_count(), 0);
		}
		EXPECT_COUNTED(before, REASON_DNS_BYPASS, 0);
		EXPECT_EQ(counts_now().flows, before.flows);
	}
}

TEST(a_socket_bound_to_an_address_of_the_namespace_is_steered_and_answered)
{
	_cleanup_close_ int responder = server(AF_INET, SOCK_DGRAM, "127.53.0.1", DNS_PORT);
	_cleanup_close_ int fd = new_socket(AF_INET, SOCK_DGRAM);

	EXPECT_OK(bind_to(fd, AF_INET, "10.96.0.11", 0));
	EXPECT_OK(send_to(fd, AF_INET, "10.96.0.10", 53));
	EXPECT(serve(responder));
	EXPECT_STR(received_from(fd), "10.96.0.10:53");
}

TEST(another_port_of_a_resolver_is_no_query)
{
	_cleanup_close_ int responder = server(AF_INET, SOCK_DGRAM, "127.53.0.1", DNS_PORT);
	_cleanup_close_ int other = server(AF_INET, SOCK_DGRAM, "10.96.0.10", 5353);
	_cleanup_close_ int fd = new_socket(AF_INET, SOCK_DGRAM);

	EXPECT_OK(send_to(fd, AF_INET, "10.96.0.10", 5353));
	EXPECT(serve(other));
	EXPECT_STR(received_from(fd), "10.96.0.10:5353");
	EXPECT(!readable(responder, 0));
}

TEST(a_datagram_from_an_address_that_is_no_responder_is_shown_as_it_came)
{
	static const struct {
		int family;
		const char *address, *shown;
		uint16_t port;
	} others[] = {
		{ AF_INET, "127.53.0.2", "127.53.0.2:15053", DNS_PORT }, /* in the range, but nobody's */
		{ AF_INET, "127.53.0.1", "127.53.0.1:15061", DNS_PORT + DNS_PORTS },
		{ AF_INET, "127.54.0.1", "127.54.0.1:15053", DNS_PORT },
		{ AF_INET6, "::1", "[::1]:15055", DNS_PORT + 2 },
		{ AF_INET6, "fd00::53", "[fd00::53]:15053", DNS_PORT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		_cleanup_close_ int source = server(others[i].family, SOCK_DGRAM, others[i].address, others[i].port);
		_cleanup_close_ int fd = new_socket(others[i].family, SOCK_DGRAM);

		EXPECT_OK(send_to(fd, others[i].family, others[i].address, others[i].port));
		EXPECT(serve(source));
		EXPECT_STR(received_from(fd), others[i].shown);
	}
}

TEST(a_resolver_whose_address_stands_for_a_service_is_still_a_resolver)
{
	_cleanup_close_ int responder = server(AF_INET, SOCK_DGRAM, "127.53.0.1", DNS_PORT);
	_cleanup_close_ int connected = new_socket(AF_INET, SOCK_DGRAM), fd = new_socket(AF_INET, SOCK_DGRAM);
	const struct ip vip = ip("10.96.0.10");

	EXPECT_OK(kernel_vip_set(&world.kernel, &vip, SERVICE));
	EXPECT_OK(connect_to(connected, AF_INET, "10.96.0.10", 53));
	EXPECT_OK(send_to(fd, AF_INET, "10.96.0.10", 53));
	EXPECT(serve(responder));
	EXPECT_OK(kernel_vip_remove(&world.kernel, &vip));
}

/* --- bypass ------------------------------------------------------------------------------------------------------------------- */

/* The query goes to the resolver itself, both ways of UDP and by TCP, and each is counted as `reason`. */
static void expect_bypass(const struct way *way, enum reason reason)
{
	_cleanup_close_ int resolver = server(way->responder_family, SOCK_DGRAM, way->resolver, 53);
	_cleanup_close_ int listener = server(way->responder_family, SOCK_STREAM, way->resolver, 53);
	_cleanup_close_ int connected = new_socket(way->family, SOCK_DGRAM), fd = new_socket(way->family, SOCK_DGRAM);
	_cleanup_close_ int tcp = new_socket(way->family, SOCK_STREAM);
	const struct counts before = counts_now();

	EXPECT_OK(connect_to(connected, way->family, way->resolver, 53));
	EXPECT_STR(peer_of(connected), way->shown);
	EXPECT_EQ(send(connected, "q", 1, 0), 1);
	EXPECT(serve(resolver));
	EXPECT_OK(send_to(fd, way->family, way->resolver, 53));
	EXPECT(serve(resolver));
	EXPECT_STR(received_from(fd), way->shown);
	EXPECT_OK(connect_to(tcp, way->family, way->resolver, 53)); /* although the mesh drops all */
	EXPECT(readable(listener, WAIT_MS));
	/* send() on an AF_INET6 socket that is connected to an IPv4 address is a sendmsg() with a destination to the kernel */
	EXPECT_COUNTED(before, reason, way->family == way->responder_family ? 3 : 4);
	EXPECT_EQ(counts_now().flows, before.flows);
}

TEST(queries_go_to_the_resolver_when_the_proxy_has_not_beaten_for_two_seconds)
{
	FOR_EACH_WAY(way) {
		_cleanup_close_ int responder = server(way->responder_family, SOCK_DGRAM, way->responder, way->port);
		_cleanup_close_ int listener = server(way->responder_family, SOCK_STREAM, way->responder, way->port);

		world.maps.state->beat_ns = time_now_ns() - PROXY_BEAT_MAX_NS - 1;
		expect_bypass(way, REASON_DNS_BYPASS);
		world.maps.state->beat_ns = 0; /* there never was one */
		expect_bypass(way, REASON_DNS_BYPASS);
		EXPECT(!readable(responder, 0));
		EXPECT(!readable(listener, 0));

		world.maps.state->beat_ns = time_now_ns() - PROXY_BEAT_MAX_NS / 2;
		_cleanup_close_ int fd = new_socket(way->family, SOCK_DGRAM);
		EXPECT_OK(send_to(fd, way->family, way->resolver, 53));
		EXPECT(serve(responder));
		beat();
	}
}

TEST(queries_go_to_the_resolver_when_the_responder_has_no_socket_for_it)
{
	FOR_EACH_WAY(way)
		expect_bypass(way, REASON_DNS_BYPASS);
}

TEST(each_protocol_is_steered_by_its_own_socket)
{
	_cleanup_close_ int responder = server(AF_INET, SOCK_DGRAM, "127.53.0.1", DNS_PORT);
	_cleanup_close_ int listener = server(AF_INET, SOCK_STREAM, "10.96.0.10", 53);
	_cleanup_close_ int fd = new_socket(AF_INET, SOCK_DGRAM), tcp = new_socket(AF_INET, SOCK_STREAM);
	const struct counts before = counts_now();

	EXPECT_OK(send_to(fd, AF_INET, "10.96.0.10", 53));
	EXPECT(serve(responder));
	EXPECT_OK(connect_to(tcp, AF_INET, "10.96.0.10", 53));
	EXPECT(readable(listener, WAIT_MS));
	EXPECT_COUNTED(before, REASON_DNS_BYPASS, 1);
}

TEST(a_program_that_has_the_port_on_every_address_is_not_taken_for_the_responder)
{
	static const struct {
		int family;
		const char *any;
	} any[] = { { AF_INET, "0.0.0.0" }, { AF_INET, "0.0.0.0" }, { AF_INET6, "::" } };

	FOR_EACH_WAY(way) {
		_cleanup_close_ int udp = server(any[way - ways].family, SOCK_DGRAM, any[way - ways].any, DNS_PORT);
		_cleanup_close_ int tcp = server(any[way - ways].family, SOCK_STREAM, any[way - ways].any, DNS_PORT);

		expect_bypass(way, REASON_DNS_BYPASS);
		EXPECT(!readable(udp, 0));
		EXPECT(!readable(tcp, 0));
	}
}

TEST(a_socket_that_is_bound_to_a_device_asks_the_resolver_itself)
{
	FOR_EACH_WAY(way) {
		_cleanup_close_ int responder = server(way->responder_family, SOCK_DGRAM, way->responder, way->port);
		_cleanup_close_ int resolver = server(way->responder_family, SOCK_DGRAM, way->resolver, 53);
		_cleanup_close_ int fd = new_socket(way->family, SOCK_DGRAM);
		const struct counts before = counts_now();

		EXPECT_OK(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
		EXPECT_OK(send_to(fd, way->family, way->resolver, 53));
		EXPECT(serve(resolver));
		EXPECT_COUNTED(before, REASON_DNS_BYPASS, 1);
	}
}

TEST(a_socket_that_was_connected_to_its_resolver_before_the_proxy_came_stays_with_it)
{
	FOR_EACH_WAY(way) {
		_cleanup_close_ int resolver = server(way->responder_family, SOCK_DGRAM, way->resolver, 53);
		_cleanup_close_ int fd = new_socket(way->family, SOCK_DGRAM);

		EXPECT_OK(connect_to(fd, way->family, way->resolver, 53));
		_cleanup_close_ int responder = server(way->responder_family, SOCK_DGRAM, way->responder, way->port);
		EXPECT_EQ(send(fd, "q", 1, 0), 1);
		EXPECT(serve(resolver));
		EXPECT_STR(received_from(fd), way->shown);
		EXPECT_OK(send_to(fd, way->family, way->resolver, 53));
		EXPECT(serve(resolver));
		EXPECT_STR(received_from(fd), way->shown);
	}
}

TEST(a_connected_socket_that_names_its_resolver_again_is_steered)
{
	FOR_EACH_WAY(way) {
		_cleanup_close_ int responder = server(way->responder_family, SOCK_DGRAM, way->responder, way->port);
		_cleanup_close_ int fd = new_socket(way->family, SOCK_DGRAM);

		EXPECT_OK(connect_to(fd, way->family, way->resolver, 53));
		EXPECT_OK(send_to(fd, way->family, way->resolver, 53));
		EXPECT(serve(responder));
		EXPECT_STR(received_from(fd), way->shown);
	}
}

TEST(a_link_local_resolver_is_steered_for_connected_sockets_alone)
{
	_cleanup_close_ int responder = server(AF_INET6, SOCK_DGRAM, "::1", DNS_PORT + 1);
	_cleanup_close_ int resolver = server(AF_INET6, SOCK_DGRAM, "fe80::53", 53);
	_cleanup_close_ int connected = new_socket(AF_INET6, SOCK_DGRAM), fd = new_socket(AF_INET6, SOCK_DGRAM);
	const struct counts before = counts_now();

	EXPECT_OK(connect_to(connected, AF_INET6, "fe80::53", 53));
	EXPECT_EQ(send(connected, "q", 1, 0), 1);
	EXPECT(serve(responder));
	EXPECT_STR(received_from(connected), "[fe80::53]:53");
	EXPECT_OK(send_to(fd, AF_INET6, "fe80::53", 53));
	EXPECT(serve(resolver));
	EXPECT_COUNTED(before, REASON_DNS_BYPASS, 1);
}

/* --- what is not steered ------------------------------------------------------------------------------------------------------- */

TEST(a_query_to_a_resolver_that_is_not_the_workloads_is_counted_and_left_alone)
{
	_cleanup_close_ int responder = server(AF_INET, SOCK_DGRAM, "127.53.0.1", DNS_PORT);
	_cleanup_close_ int other = server(AF_INET, SOCK_DGRAM, "10.96.0.11", 53);
	_cleanup_close_ int connected = new_socket(AF_INET, SOCK_DGRAM), fd = new_socket(AF_INET, SOCK_DGRAM);
	struct counts before = counts_now();

	EXPECT_OK(connect_to(connected, AF_INET, "10.96.0.11", 53));
	EXPECT_OK(send_to(fd, AF_INET, "10.96.0.11", 53));
	EXPECT(serve(other));
	EXPECT_COUNTED(before, REASON_DNS_OTHER, 2);

	before = counts_now();
	world.maps.state->beat_ns = 0; /* nobody keeps the list of resolvers: it cannot be told */
	EXPECT_OK(send_to(fd, AF_INET, "10.96.0.11", 53));
	EXPECT(serve(other));
	EXPECT_COUNTED(before, REASON_DNS_BYPASS, 1);
}

TEST(a_connection_to_port_53_elsewhere_meets_the_egress_filter)
{
	const struct counts before = counts_now();
	_cleanup_close_ int fd = new_socket(AF_INET, SOCK_STREAM);

	EXPECT_EQ(connect_to(fd, AF_INET, "10.96.0.11", 53), -EPERM);
	EXPECT_COUNTED(before, REASON_NOT_IN_MESH, 1);
	EXPECT_EQ(counts_now().flows, before.flows + 1);
}

TEST(another_node_in_the_same_namespace_has_resolvers_of_its_own)
{
	_cleanup_close_ int responder = server(AF_INET, SOCK_DGRAM, "127.53.0.1", DNS_PORT);
	_cleanup_close_ int resolver = server(AF_INET, SOCK_DGRAM, "10.96.0.10", 53);
	_cleanup_close_ int fd = new_socket(AF_INET, SOCK_DGRAM);
	const struct counts before = counts_now();

	EXPECT_OK(kernel_netns_set(&world.kernel, world.netns_cookie, &(struct owner){ .node = NODE + 1 }));
	EXPECT_OK(send_to(fd, AF_INET, "10.96.0.10", 53));
	EXPECT(serve(resolver));
	EXPECT_COUNTED(before, REASON_DNS_OTHER, 1);
}

TEST(a_namespace_that_nobody_manages_is_left_alone)
{
	_cleanup_close_ int responder = server(AF_INET, SOCK_DGRAM, "127.53.0.1", DNS_PORT);
	_cleanup_close_ int resolver = server(AF_INET, SOCK_DGRAM, "10.96.0.10", 53);
	_cleanup_close_ int fd = new_socket(AF_INET, SOCK_DGRAM);
	const struct counts before = counts_now();

	EXPECT_OK(kernel_netns_remove(&world.kernel, world.netns_cookie));
	EXPECT_OK(send_to(fd, AF_INET, "10.96.0.10", 53));
	EXPECT(serve(resolver));
	EXPECT_COUNTED(before, REASON_DNS_BYPASS, 0);
}

/* --- weft's own processes ------------------------------------------------------------------------------------------------------ */

static void expect_nobodys_process(void)
{
	_cleanup_close_ int responder = server(AF_INET, SOCK_DGRAM, "127.53.0.1", DNS_PORT);
	_cleanup_close_ int resolver = server(AF_INET, SOCK_DGRAM, "10.96.0.10", 53);
	_cleanup_close_ int listener = server(AF_INET, SOCK_STREAM, "10.96.0.11", 8080);
	_cleanup_close_ int fd = new_socket(AF_INET, SOCK_DGRAM), connected = new_socket(AF_INET, SOCK_DGRAM);
	_cleanup_close_ int tcp = new_socket(AF_INET, SOCK_STREAM), vip = new_socket(AF_INET, SOCK_DGRAM);
	const struct counts before = counts_now();

	enter_cgroup(world.weft_cgroup);
	EXPECT_OK(send_to(fd, AF_INET, "10.96.0.10", 53));
	EXPECT(readable(resolver, WAIT_MS));
	EXPECT_OK(connect_to(tcp, AF_INET, "10.96.0.11", 8080)); /* which the mesh would deny */
	EXPECT_OK(send_to(vip, AF_INET, "240.240.0.10", 80));
	EXPECT_OK(connect_to(connected, AF_INET, "127.53.0.1", DNS_PORT));
	EXPECT_STR(peer_of(connected), "127.53.0.1:15053");
	EXPECT_EQ(send(connected, "q", 1, 0), 1);
	EXPECT(serve(responder));
	enter_cgroup(world.weft_cgroup);
	EXPECT_STR(received_from(connected), "127.53.0.1:15053");
	EXPECT_COUNTED(before, REASON_DNS_BYPASS, 0);
	EXPECT_EQ(counts_now().flows, before.flows);
}

TEST(the_proxys_own_sockets_are_no_workloads)
{
	expect_nobodys_process();
}

TEST(the_agents_own_sockets_are_no_workloads)
{
	world.maps.state->agent_cgroup_id = world.maps.state->cgroup_id;
	world.maps.state->cgroup_id = 0;
	expect_nobodys_process();
	world.maps.state->agent_cgroup_id = 0;
}

TEST(the_sockets_of_former_proxies_are_no_workloads)
{
	struct proxy_state *proxy = world.maps.state;

	for (size_t i = 0; i < PROXY_FORMERS_MAX; i++) {
		proxy->former_cgroup_ids[i] = proxy->cgroup_id;
		proxy->cgroup_id = 0;
		expect_nobodys_process();
		proxy->cgroup_id = proxy->former_cgroup_ids[i];
		proxy->former_cgroup_ids[i] = 0;
	}
}

TEST(a_workload_cannot_have_the_responders_ports_and_weft_can)
{
	static const struct {
		const char *any;
		int family;
	} families[] = { { "0.0.0.0", AF_INET }, { "::1", AF_INET6 } };

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct counts before = counts_now();

		for (uint16_t port = DNS_PORT - 1; port <= DNS_PORT + DNS_PORTS; port++) {
			_cleanup_close_ int fd = new_socket(families[i].family, SOCK_DGRAM), own = -1;
			const bool reserved = port >= DNS_PORT && port < DNS_PORT + DNS_PORTS;

			EXPECT_EQ(bind_to(fd, families[i].family, families[i].any, port), reserved ? -EPERM : 0);
			if (reserved)
				own = server(families[i].family, SOCK_DGRAM, families[i].any, port);
		}
		EXPECT_COUNTED(before, REASON_RESERVED_PORT, DNS_PORTS);
	}
}

/* --- datagrams to services ----------------------------------------------------------------------------------------------------- */

TEST(a_datagram_to_a_vip_is_refused_and_a_flow_but_connecting_to_sort_addresses_is_none)
{
	_cleanup_close_ int fd = new_socket(AF_INET, SOCK_DGRAM), tcp = new_socket(AF_INET, SOCK_STREAM);
	const struct counts before = counts_now();

	EXPECT_EQ(connect_to(fd, AF_INET, "240.240.0.10", 80), -ECONNREFUSED);
	EXPECT_EQ(connect_to(fd, AF_INET, "240.240.0.10", 53), -ECONNREFUSED); /* no resolver of the workload */
	EXPECT_COUNTED(before, REASON_VIP_NOT_TCP, 2);
	EXPECT_EQ(counts_now().flows, before.flows);

	EXPECT_EQ(send_to(fd, AF_INET, "240.240.0.10", 80), -ECONNREFUSED);
	EXPECT_EQ(send_to(fd, AF_INET, "240.240.0.10", 53), -ECONNREFUSED);
	EXPECT_COUNTED(before, REASON_VIP_NOT_TCP, 4);
	EXPECT_EQ(counts_now().flows, before.flows + 2);

	EXPECT_EQ(connect_to(tcp, AF_INET, "240.240.0.10", 53), -ECONNREFUSED);
	EXPECT_EQ(counts_now().flows, before.flows + 3);
}

/* --- probes -------------------------------------------------------------------------------------------------------------------- */

static const struct probe_family {
	int family;
	const char *address, *responder;
} probe_families[] = { { AF_INET, "240.240.0.0", "127.53.255.255" }, { AF_INET6, "2001:2::", "::ffff:127.53.255.255" } };

TEST(each_hook_tells_a_workloads_probe_that_it_is_there_and_writes_no_record)
{
	for (size_t i = 0; i < ARRAY_SIZE(probe_families); i++) {
		const struct probe_family *p = &probe_families[i];
		_cleanup_close_ int tcp = new_socket(p->family, SOCK_STREAM), udp = new_socket(p->family, SOCK_DGRAM);
		_cleanup_close_ int bound = new_socket(p->family, SOCK_DGRAM), named = new_socket(p->family, SOCK_DGRAM);
		const struct counts before = counts_now();

		EXPECT_EQ(connect_to(tcp, p->family, p->address, 1), -ECONNREFUSED);
		EXPECT_EQ(send_to(udp, p->family, p->address, 1), -ECONNREFUSED);
		EXPECT_EQ(bind_to(bound, p->family, p->address, DNS_PORT), -EPERM);
		EXPECT_COUNTED(before, REASON_PROBE, 3);
		EXPECT_EQ(counts_now().flows, before.flows);

		EXPECT_OK(connect_to(named, p->family, p->responder, DNS_PORT));
		EXPECT_STR(peer_of(named), "240.240.0.0:15053");
	}
}

TEST(a_probe_of_nobody_is_left_alone)
{
	_cleanup_close_ int named = new_socket(AF_INET, SOCK_DGRAM), bound = new_socket(AF_INET, SOCK_DGRAM);
	const struct counts before = counts_now();

	EXPECT_OK(kernel_netns_remove(&world.kernel, world.netns_cookie));
	EXPECT_OK(connect_to(named, AF_INET, "127.53.255.255", DNS_PORT));
	EXPECT_STR(peer_of(named), "127.53.255.255:15053");
	EXPECT_EQ(bind_to(bound, AF_INET, "240.240.0.0", DNS_PORT), -EADDRNOTAVAIL);
	EXPECT_COUNTED(before, REASON_PROBE, 0);
}

#define IN_A_WORKLOAD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_WORKLOAD(a_udp_socket_that_connects_to_its_resolver_talks_to_the_responder_and_sees_the_resolver),
		IN_A_WORKLOAD(a_datagram_to_a_resolver_reaches_the_responder_and_its_answer_comes_from_the_resolver),
		IN_A_WORKLOAD(a_tcp_connection_to_a_resolver_ends_at_the_responder_without_an_account_or_a_flow),
		IN_A_WORKLOAD(a_socket_bound_to_an_address_of_the_namespace_is_steered_and_answered),
		IN_A_WORKLOAD(another_port_of_a_resolver_is_no_query),
		IN_A_WORKLOAD(a_datagram_from_an_address_that_is_no_responder_is_shown_as_it_came),
		IN_A_WORKLOAD(a_resolver_whose_address_stands_for_a_service_is_still_a_resolver),
		IN_A_WORKLOAD(queries_go_to_the_resolver_when_the_proxy_has_not_beaten_for_two_seconds),
		IN_A_WORKLOAD(queries_go_to_the_resolver_when_the_responder_has_no_socket_for_it),
		IN_A_WORKLOAD(each_protocol_is_steered_by_its_own_socket),
		IN_A_WORKLOAD(a_program_that_has_the_port_on_every_address_is_not_taken_for_the_responder),
		IN_A_WORKLOAD(a_socket_that_is_bound_to_a_device_asks_the_resolver_itself),
		IN_A_WORKLOAD(a_socket_that_was_connected_to_its_resolver_before_the_proxy_came_stays_with_it),
		IN_A_WORKLOAD(a_connected_socket_that_names_its_resolver_again_is_steered),
		IN_A_WORKLOAD(a_link_local_resolver_is_steered_for_connected_sockets_alone),
		IN_A_WORKLOAD(a_query_to_a_resolver_that_is_not_the_workloads_is_counted_and_left_alone),
		IN_A_WORKLOAD(a_connection_to_port_53_elsewhere_meets_the_egress_filter),
		IN_A_WORKLOAD(another_node_in_the_same_namespace_has_resolvers_of_its_own),
		IN_A_WORKLOAD(a_namespace_that_nobody_manages_is_left_alone),
		IN_A_WORKLOAD(the_proxys_own_sockets_are_no_workloads),
		IN_A_WORKLOAD(the_agents_own_sockets_are_no_workloads),
		IN_A_WORKLOAD(the_sockets_of_former_proxies_are_no_workloads),
		IN_A_WORKLOAD(a_workload_cannot_have_the_responders_ports_and_weft_can),
		IN_A_WORKLOAD(a_datagram_to_a_vip_is_refused_and_a_flow_but_connecting_to_sort_addresses_is_none),
		IN_A_WORKLOAD(each_hook_tells_a_workloads_probe_that_it_is_there_and_writes_no_record),
		IN_A_WORKLOAD(a_probe_of_nobody_is_left_alone),
	};

	return cmocka_run_group_tests(tests, world_set_up, world_tear_down);
}
