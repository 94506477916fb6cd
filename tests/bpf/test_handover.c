/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that are handed to weft-proxy: the decision, and real sockets of a workload and of weft-proxy, which the test plays. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "agent/net/tcp.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/bpf/hooks_world.h"
#include "tests/bpf/last_flow.h"

enum { SERVICE = 9, SERVICE_INDEX = 4, TARGET = 10, TARGET_INDEX = 5, FIRST_ROUTE = 40, FIRST_BACKEND = 60, ROW = 32, SLOT = 70 };
#define PORT 8080
#define VIP4 "240.240.0.1"
#define VIP6 "2001:2::1"
static struct kernel_memory *memory;

static void name(uint32_t id, uint32_t ref)
{
	memory->directories[1].refs[id] = ref;
}

static struct route_record *route(void)
{
	return &memory->routes[FIRST_ROUTE];
}

static struct backend *backend(void)
{
	return &memory->backends[FIRST_BACKEND];
}

/* The workload's one backend is SERVICE, whose port is served by weft-proxy: both families, in this namespace. For connections without a
 * socket the port leads to TARGET. */
static int set_up(void **state __attribute__((unused)))
{
	const struct ip vip4 = ip(VIP4), vip6 = ip(VIP6);

	world_enter();
	memory = &world.kernel.memory;
	memory->nodes[WORLD_NODE_INDEX] = (struct node_record){ .flags = NODE_DROP_ALL, .first_backend = FIRST_BACKEND, .backend_count = 1 };
	memory->backends[FIRST_BACKEND] = (struct backend){ .service = SERVICE, .row = ROW, .row_count = 1 };
	memory->services[SERVICE_INDEX] = (struct service_record){ .first_route = FIRST_ROUTE, .port_count = 1, .ports = { htons(PORT) } };
	memory->routes[FIRST_ROUTE] = (struct route_record){ .flags = ROUTE_L7, .closed = REASON_NEEDS_PROXY };
	memory->targets[TARGET_INDEX] = (struct target_record){ .first = { 300, 301 }, .count = { 1, 1 } };
	memory->refs[300] = (struct endpoint_ref){ .address = ip("10.96.0.10"), .port = htons(PORT), .slot = SLOT, .incarnation = 1 };
	memory->refs[301] = (struct endpoint_ref){ .address = ip("fd00::53"), .port = htons(PORT), .slot = SLOT + 1, .incarnation = 1 };
	memory->endpoints[SLOT].incarnation = memory->endpoints[SLOT + 1].incarnation = memory->rows[ROW].incarnation = 1;
	name(SERVICE, REF(OBJECT_SERVICE, SERVICE_INDEX));
	name(TARGET, REF(OBJECT_TARGET, TARGET_INDEX));
	EXPECT_OK(kernel_vip_set(&world.kernel, &vip4, SERVICE));
	EXPECT_OK(kernel_vip_set(&world.kernel, &vip6, SERVICE));
	EXPECT_OK(proxy_place_set(&world.maps, world.netns_cookie, PROXY_PLACE_V4 | PROXY_PLACE_V6));
	return 0;
}

static int tear_down(void **state __attribute__((unused)))
{
	world_leave();
	EXPECT_OK(proxy_place_remove(&world.maps, world.netns_cookie));
	return 0;
}

/* --- the decision --------------------------------------------------------------------------------------------------------------- */

static struct decision decide(const char *vip, bool no_socket, uint64_t now_ns)
{
	struct explain request = {
		.flow = { .destination = ip(vip), .port = htons(PORT), .netns_cookie = world.netns_cookie, .node = WORLD_NODE, .is_tcp = 1,
			  .flags = no_socket ? FLOW_NO_SOCKET : 0 },
		.now_ns = now_ns,
	};

	EXPECT_OK(kernel_explain(&world.kernel, &request, NULL, NULL));
	return request.decision;
}

static enum reason reason_of(const char *vip)
{
	return decide(vip, false, 0).reason;
}

TEST(a_port_that_needs_it_leads_to_weft_proxy_in_the_callers_family)
{
	static const struct {
		const char *vip, *address;
	} families[] = { { VIP4, "127.0.0.1" }, { VIP6, "::1" } };

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct decision d = decide(families[i].vip, false, 0);
		const struct ip address = ip(families[i].address);

		EXPECT_EQ(d.reason, REASON_PROXIED);
		EXPECT_EQ(reason_verdict(d.reason), VERDICT_ROUTE);
		EXPECT_EQ(ip_equal(&d.address, &address), true);
		EXPECT_EQ(d.port, htons(PROXY_OUTBOUND_PORT));
		EXPECT_EQ(d.flags, DECISION_PROXIED);
		EXPECT_EQ(d.service, SERVICE);
		EXPECT_EQ(d.target, 0);
		EXPECT_EQ(d.row, ACCOUNT_NONE);
		EXPECT_EQ(d.slot, ACCOUNT_NONE);
	}
}

TEST(an_unknown_address_on_a_port_of_an_http_backend_leads_to_weft_proxy_for_no_service_yet)
{
	struct node_record *node = &memory->nodes[WORLD_NODE_INDEX];
	struct decision d;

	EXPECT_EQ(reason_of("192.0.2.7"), REASON_NOT_IN_MESH);
	node->l7_port_count = 2;
	node->l7_ports[0] = htons(PORT - 1);
	node->l7_ports[1] = htons(PORT);
	d = decide("192.0.2.7", false, 0);
	EXPECT_EQ(d.reason, REASON_PROXIED);
	EXPECT_EQ(d.service, 0);
	EXPECT_EQ(d.slot, ACCOUNT_NONE);
	EXPECT_EQ(reason_of("2001:db8::7"), REASON_PROXIED);
	EXPECT_EQ(decide("192.0.2.7", true, 0).reason, REASON_NOT_IN_MESH); /* without a socket here there is no handing over */
	EXPECT_EQ(reason_of("127.0.0.1"), REASON_LOOPBACK); /* exemptions come first */
	node->flags = 0; /* ALLOW_ALL: Host may name the backend all the same */
	EXPECT_EQ(reason_of("192.0.2.7"), REASON_PROXIED);
	node->l7_ports[1] = htons(PORT + 1);
	EXPECT_EQ(reason_of("192.0.2.7"), REASON_ALLOW_ALL);
	node->l7_port_count = 0;
	node->flags = NODE_DROP_ALL;
}

TEST(where_weft_proxy_does_not_listen_the_door_is_closed)
{
	EXPECT_OK(proxy_place_set(&world.maps, world.netns_cookie, PROXY_PLACE_V4));
	EXPECT_EQ(reason_of(VIP4), REASON_PROXIED);
	EXPECT_EQ(reason_of(VIP6), REASON_PROXY_DOWN);
	EXPECT_OK(proxy_place_set(&world.maps, world.netns_cookie, PROXY_PLACE_V6));
	EXPECT_EQ(reason_of(VIP4), REASON_PROXY_DOWN);
	EXPECT_EQ(reason_of(VIP6), REASON_PROXIED);
	EXPECT_OK(proxy_place_remove(&world.maps, world.netns_cookie));
	EXPECT_EQ(reason_of(VIP4), REASON_PROXY_DOWN);
	EXPECT_EQ(reason_verdict(REASON_PROXY_DOWN), VERDICT_REFUSE);
	EXPECT_EQ(decide(VIP6, false, 0).slot, 0);
}

TEST(where_another_program_has_the_port_the_door_is_closed_by_that_name)
{
	EXPECT_OK(proxy_place_set(&world.maps, world.netns_cookie, PROXY_PLACE_TAKEN_V4 | PROXY_PLACE_V6));
	EXPECT_EQ(reason_of(VIP4), REASON_FOREIGN_REDIRECT);
	EXPECT_EQ(reason_of(VIP6), REASON_PROXIED);
	EXPECT_OK(proxy_place_set(&world.maps, world.netns_cookie, PROXY_PLACE_V4 | PROXY_PLACE_TAKEN_V6));
	EXPECT_EQ(reason_of(VIP4), REASON_PROXIED);
	EXPECT_EQ(reason_of(VIP6), REASON_FOREIGN_REDIRECT);
	EXPECT_EQ(reason_verdict(REASON_FOREIGN_REDIRECT), VERDICT_REFUSE);
}

TEST(while_weft_proxy_has_not_beaten_for_two_seconds_the_door_is_closed)
{
	const uint64_t beat_ns = world.maps.state->beat_ns;

	EXPECT_EQ(decide(VIP4, false, beat_ns + PROXY_BEAT_MAX_NS).reason, REASON_PROXIED);
	EXPECT_EQ(decide(VIP4, false, beat_ns + PROXY_BEAT_MAX_NS + 1).reason, REASON_PROXY_DOWN);
	world.maps.state->beat_ns = 0;
	EXPECT_EQ(reason_of(VIP4), REASON_PROXY_DOWN);
}

TEST(authorization_and_tls_come_before_weft_proxy)
{
	backend()->tls_ports = 1;
	EXPECT_EQ(reason_of(VIP4), REASON_NEEDS_TLS);
	backend()->tls_ports = 2; /* another port's */
	EXPECT_EQ(reason_of(VIP4), REASON_PROXIED);
	backend()->service = SERVICE + 1;
	EXPECT_EQ(reason_of(VIP4), REASON_NOT_A_BACKEND);
	memory->services[SERVICE_INDEX].ports[0] = htons(PORT + 1);
	EXPECT_EQ(reason_of(VIP4), REASON_NO_LISTENER);
}

TEST(audit_mode_hands_over_what_is_no_backend_and_says_so)
{
	backend()->flags = BACKEND_AUDIT_ONLY;

	const struct decision d = decide(VIP4, false, 0);

	EXPECT_EQ(d.reason, REASON_AUDIT_NOT_A_BACKEND);
	EXPECT_EQ(d.flags, DECISION_PROXIED | DECISION_AUDIT);
	EXPECT_EQ(d.slot, ACCOUNT_NONE);
}

TEST(what_has_no_socket_here_gets_what_the_port_does_without_weft_proxy)
{
	EXPECT_EQ(decide(VIP4, true, 0).reason, REASON_NEEDS_PROXY);
	*route() = (struct route_record){ .flags = ROUTE_L7 | ROUTE_L7_AS_L4, .target_count = 1, .cumulative = { 1 }, .target = { TARGET } };
	EXPECT_EQ(decide(VIP4, true, 0).reason, REASON_ROUTED);
	EXPECT_EQ(decide(VIP4, true, 0).flags, DECISION_L7_AS_L4);
	EXPECT_EQ(decide(VIP6, true, 0).slot, SLOT + 1);
	EXPECT_EQ(reason_of(VIP4), REASON_PROXIED);
}

/* --- sockets -------------------------------------------------------------------------------------------------------------------- */

/* A family of sockets, a service's address, and what is seen of the connection. */
static const struct way {
	int family;
	const char *vip, *shown;
	int proxy_family;
	const char *proxy;
} ways[] = {
	{ AF_INET, VIP4, VIP4 ":8080", AF_INET, "127.0.0.1" },
	{ AF_INET6, VIP4, VIP4 ":8080", AF_INET, "127.0.0.1" },
	{ AF_INET6, VIP6, "[" VIP6 "]:8080", AF_INET6, "::1" },
};
#define FOR_EACH_WAY(way) for (const struct way *way = ways; way < ways + ARRAY_SIZE(ways); way++)

static int proxy(const struct way *way)
{
	return server(way->proxy_family, SOCK_STREAM, way->proxy, PROXY_OUTBOUND_PORT);
}

/* The key of the connection that `fd` was accepted for, as weft-proxy makes it. */
static struct handover_key key_of(int fd)
{
	struct endpoint_address peer = { .length = sizeof(peer.v6) };
	struct handover_key key = { .netns_cookie = world.netns_cookie };

	enter_cgroup(world.weft_cgroup);
	EXPECT_OK(getpeername(fd, &peer.any, &peer.length));
	enter_cgroup(world.cgroup);
	if (peer.any.sa_family == AF_INET)
		key.address = (struct ip){ .words = { 0, 0, htonl(0xffff), peer.v4.sin_addr.s_addr } };
	else
		memcpy(&key.address, &peer.v6.sin6_addr, sizeof(key.address));
	key.port = peer.any.sa_family == AF_INET ? peer.v4.sin_port : peer.v6.sin6_port;
	return key;
}

static int accept_one(int listener)
{
	int fd;

	EXPECT(readable(listener, WAIT_MS));
	fd = accept(listener, NULL, NULL);
	EXPECT(fd >= 0);
	return fd;
}

static unsigned handover_count(void)
{
	struct handover_key key;
	unsigned count = 0;

	for (void *before = NULL; bpf_map_get_next_key(world.maps.handover_fd, before, &key) == 0; before = &key)
		count++;
	return count;
}

static struct flow_record last_record(void)
{
	return last_flow(world.kernel.flow_fd);
}

TEST(a_connection_is_handed_over_and_weft_proxy_learns_what_it_asked_for_while_it_lives)
{
	FOR_EACH_WAY(way) {
		_cleanup_close_ int listener = proxy(way), fd = new_socket(way->family, SOCK_STREAM), accepted = -1;
		const struct counts before = counts_now();
		const struct ip vip = ip(way->vip);
		struct handover_key key;
		struct handover h;

		EXPECT_OK(connect_to(fd, way->family, way->vip, PORT));
		accepted = accept_one(listener);
		EXPECT_STR(peer_of(fd), way->shown);
		key = key_of(accepted);
		EXPECT_OK(proxy_handover_get(&world.maps, &key, &h));
		EXPECT_EQ(h.generation, 1);
		EXPECT_EQ(ip_equal(&h.destination, &vip), true);
		EXPECT_EQ(h.port, htons(PORT));
		EXPECT_EQ(h.source, WORLD_NODE);
		EXPECT_EQ(h.service, SERVICE);
		EXPECT_EQ(h.audit, 0);
		EXPECT(h.socket_cookie);
		EXPECT_COUNTED(before, REASON_PROXIED, 1);
		accepted = fd_close(accepted);
		fd = fd_close(fd);
		WAIT_FOR(proxy_handover_get(&world.maps, &key, &h) == -ENOENT, WAIT_MS * NSEC_PER_MSEC);
	}
}

/* --- SO_ORIGINAL_DST ------------------------------------------------------------------------------------------------------------ */

#define ORIGINAL_DST 80 /* at SOL_IP and SOL_IPV6: SO_ORIGINAL_DST of linux/netfilter_ipv4.h, IP6T_SO_ORIGINAL_DST of ip6_tables.h */

/* As weft-proxy listens: its sockets belong to its cgroup. */
static int listening_in(const char *cgroup_path, const struct way *way)
{
	int fd;

	enter_cgroup(cgroup_path);
	fd = proxy(way);
	enter_cgroup(world.cgroup);
	return fd;
}

static int original_attach(void)
{
	int fd = -1;

	EXPECT_OK(proxy_original_attach(world.instance, world.weft_cgroup, &fd));
	return fd;
}

/* 0 or -errno, with as many bytes of room. */
static int original_of(int fd, int level, struct sockaddr_storage *ret_address, socklen_t *length)
{
	memset(ret_address, 0xa5, sizeof(*ret_address));
	return getsockopt(fd, level, ORIGINAL_DST, ret_address, length) < 0 ? -errno : 0;
}

static int level_of(const struct way *way)
{
	return way->proxy_family == AF_INET ? SOL_IP : SOL_IPV6;
}

static void expect_original(int fd, const struct way *way, const char *address, uint16_t port)
{
	const struct ip expected = ip(address);
	struct sockaddr_storage said;
	socklen_t length = sizeof(said);
	struct ip is;
	__be16 is_port;

	EXPECT_OK(original_of(fd, level_of(way), &said, &length));
	EXPECT_EQ(length, way->proxy_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
	EXPECT_EQ(said.ss_family, way->proxy_family);
	tcp_address_read((struct sockaddr *)&said, &is, &is_port);
	EXPECT_EQ(ip_equal(&is, &expected), true);
	EXPECT_EQ(is_port, htons(port));
}

TEST(so_original_dst_of_weft_proxys_socket_is_what_the_program_asked_for)
{
	_cleanup_close_ int link = original_attach();

	FOR_EACH_WAY(way) {
		_cleanup_close_ int listener = listening_in(world.weft_cgroup, way), fd = new_socket(way->family, SOCK_STREAM), accepted = -1;

		EXPECT_OK(connect_to(fd, way->family, way->vip, PORT));
		accepted = accept_one(listener);
		expect_original(accepted, way, way->vip, PORT);
		expect_original(accepted, way, way->vip, PORT);
	}
}

TEST(so_original_dst_is_an_address_that_the_mesh_does_not_know_as_well)
{
	_cleanup_close_ int link = original_attach();
	struct node_record *node = &memory->nodes[WORLD_NODE_INDEX];
	static const char *const unknown[] = { "192.0.2.7", "192.0.2.7", "2001:db8::7" };

	node->l7_port_count = 1;
	node->l7_ports[0] = htons(PORT);
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		_cleanup_close_ int listener = listening_in(world.weft_cgroup, &ways[i]), fd = new_socket(ways[i].family, SOCK_STREAM), accepted = -1;

		EXPECT_OK(connect_to(fd, ways[i].family, unknown[i], PORT));
		accepted = accept_one(listener);
		expect_original(accepted, &ways[i], unknown[i], PORT);
	}
}

TEST(so_original_dst_needs_room_for_the_address_and_its_own_level)
{
	_cleanup_close_ int link = original_attach();

	FOR_EACH_WAY(way) {
		const socklen_t room = way->proxy_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
		_cleanup_close_ int listener = listening_in(world.weft_cgroup, way), fd = new_socket(way->family, SOCK_STREAM), accepted = -1;
		struct sockaddr_storage said;
		socklen_t length;

		EXPECT_OK(connect_to(fd, way->family, way->vip, PORT));
		accepted = accept_one(listener);
		for (length = 0; length < room; length++) {
			socklen_t given = length;

			EXPECT_EQ(original_of(accepted, level_of(way), &said, &given), -EINVAL);
			EXPECT_EQ(said.ss_family, 0xa5a5);
		}
		EXPECT_OK(original_of(accepted, level_of(way), &said, &length));
		length = sizeof(said);
		EXPECT(original_of(accepted, way->proxy_family == AF_INET ? SOL_IPV6 : SOL_IP, &said, &length) < 0);
		EXPECT_EQ(said.ss_family, 0xa5a5);
	}
}

TEST(so_original_dst_of_what_was_not_handed_over_is_what_it_is_without_weft)
{
	FOR_EACH_WAY(way) {
		_cleanup_close_ int listener = listening_in(world.weft_cgroup, way), fd = new_socket(way->family, SOCK_STREAM), accepted = -1;
		_cleanup_close_ int own = new_socket(way->proxy_family, SOCK_STREAM), direct = -1, link = -1;
		struct sockaddr_storage said;
		socklen_t length = sizeof(said);
		int without, before;

		enter_cgroup(world.weft_cgroup);
		EXPECT_OK(connect_to(own, way->proxy_family, way->proxy, PROXY_OUTBOUND_PORT));
		enter_cgroup(world.cgroup);
		direct = accept_one(listener);
		EXPECT_OK(connect_to(fd, way->family, way->vip, PORT));
		accepted = accept_one(listener);
		before = original_of(accepted, level_of(way), &said, &length); /* nothing is attached yet */
		without = original_of(direct, level_of(way), &said, &length);
		EXPECT(without < 0);
		EXPECT_EQ(before, without);

		link = original_attach();
		EXPECT_EQ(original_of(direct, level_of(way), &said, &length), without);
		EXPECT_EQ(original_of(own, level_of(way), &said, &length), without);
		EXPECT_EQ(original_of(fd, level_of(way), &said, &length), without); /* the program's own */
		EXPECT_EQ(original_of(listener, level_of(way), &said, &length), without);
		link = fd_close(link);
		EXPECT_EQ(original_of(accepted, level_of(way), &said, &length), without);
	}
}

TEST(other_options_of_weft_proxys_sockets_are_as_ever)
{
	_cleanup_close_ int link = original_attach(), listener = listening_in(world.weft_cgroup, &ways[0]);
	char room[3 * 4096] = {};
	socklen_t length = sizeof(room);

	EXPECT_OK(getsockopt(listener, SOL_SOCKET, SO_TYPE, room, &length)); /* more room than a program is shown */
	EXPECT_EQ(length, sizeof(int));
	EXPECT_EQ(*(int *)room, SOCK_STREAM);
	length = 3;
	EXPECT_OK(getsockopt(listener, IPPROTO_TCP, TCP_CONGESTION, room, &length));
	EXPECT_EQ(length, 3);
}

TEST(a_connection_that_is_handed_over_has_an_account_and_a_flow_record_but_no_row_and_no_endpoint)
{
	FOR_EACH_WAY(way) {
		_cleanup_close_ int listener = proxy(way), fd = new_socket(way->family, SOCK_STREAM), accepted = -1;
		const uint64_t rows = stat_now(STAT_ROW_MISMATCH), slots = stat_now(STAT_SLOT_MISMATCH);
		const struct ip vip = ip(way->vip), address = ip(way->proxy);
		struct flow_record record;
		char bytes[16];

		EXPECT_OK(connect_to(fd, way->family, way->vip, PORT));
		accepted = accept_one(listener);
		EXPECT_EQ(account_count(), 1);
		EXPECT_EQ(write(fd, "request", 7), 7);
		EXPECT_EQ(read(accepted, bytes, sizeof(bytes)), 7);
		EXPECT_EQ(write(accepted, "an answer", 9), 9);
		EXPECT_EQ(read(fd, bytes, sizeof(bytes)), 9);
		accepted = fd_close(accepted);
		EXPECT_EQ(read(fd, bytes, sizeof(bytes)), 0);
		fd = fd_close(fd);
		WAIT_FOR(account_count() == 0, WAIT_MS * NSEC_PER_MSEC);
		record = last_record();
		EXPECT_EQ(record.reason, REASON_PROXIED);
		EXPECT_EQ(record.close, FLOW_CLOSED);
		EXPECT_EQ(record.bytes_sent, 7);
		EXPECT_EQ(record.bytes_received, 9);
		EXPECT_EQ(record.source, WORLD_NODE);
		EXPECT_EQ(record.service, SERVICE);
		EXPECT_EQ(record.target, 0);
		EXPECT_EQ(ip_equal(&record.asked, &vip), true);
		EXPECT_EQ(ip_equal(&record.address, &address), true);
		EXPECT_EQ(record.port, htons(PROXY_OUTBOUND_PORT));
		EXPECT_EQ(record.pid, getpid());
		EXPECT_EQ(stat_now(STAT_ROW_MISMATCH), rows);
		EXPECT_EQ(stat_now(STAT_SLOT_MISMATCH), slots);
		EXPECT_EQ(memory->endpoints[SLOT].open, 0);
		EXPECT_EQ(memory->rows[ROW].attempts, 0);
		EXPECT_EQ(handover_count(), 0); /* nobody took it */
	}
}

TEST(what_passes_in_audit_mode_alone_is_told_to_weft_proxy)
{
	_cleanup_close_ int listener = proxy(&ways[0]), fd = new_socket(AF_INET, SOCK_STREAM), accepted = -1;
	const struct counts before = counts_now();
	struct handover_key key;
	struct handover h;

	backend()->flags = BACKEND_AUDIT_ONLY;
	EXPECT_OK(connect_to(fd, AF_INET, VIP4, PORT));
	accepted = accept_one(listener);
	key = key_of(accepted);
	EXPECT_OK(proxy_handover_get(&world.maps, &key, &h));
	EXPECT_EQ(h.audit, 1);
	EXPECT_COUNTED(before, REASON_AUDIT_NOT_A_BACKEND, 1);
}

TEST(a_socket_that_is_bound_to_an_address_of_the_namespace_is_handed_over_with_it)
{
	_cleanup_close_ int listener = proxy(&ways[0]), fd = new_socket(AF_INET, SOCK_STREAM), accepted = -1;
	const struct ip own = ip("10.96.0.11");
	struct handover_key key;
	struct handover h;

	EXPECT_OK(bind_to(fd, AF_INET, "10.96.0.11", 0));
	EXPECT_OK(connect_to(fd, AF_INET, VIP4, PORT));
	accepted = accept_one(listener);
	key = key_of(accepted);
	EXPECT_EQ(ip_equal(&key.address, &own), true);
	EXPECT_OK(proxy_handover_get(&world.maps, &key, &h));
}

TEST(a_socket_that_is_bound_to_a_device_does_not_reach_weft_proxy_and_is_refused)
{
	_cleanup_close_ int listener = proxy(&ways[0]), fd = new_socket(AF_INET, SOCK_STREAM);
	const struct counts before = counts_now();

	EXPECT_OK(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
	EXPECT_EQ(connect_to(fd, AF_INET, VIP4, PORT), -ECONNREFUSED);
	EXPECT_COUNTED(before, REASON_PROXY_DOWN, 1);
	EXPECT_EQ(account_count(), 0);
	EXPECT(!readable(listener, 0));
}

TEST(while_weft_proxy_is_away_a_connection_is_refused_at_once_and_told)
{
	FOR_EACH_WAY(way) {
		_cleanup_close_ int fd = new_socket(way->family, SOCK_STREAM);
		const struct counts before = counts_now();
		struct flow_record record;

		world.maps.state->beat_ns = 0;
		EXPECT_EQ(connect_to(fd, way->family, way->vip, PORT), -ECONNREFUSED);
		EXPECT_COUNTED(before, REASON_PROXY_DOWN, 1);
		record = last_record();
		EXPECT_EQ(record.reason, REASON_PROXY_DOWN);
		EXPECT_EQ(record.close, FLOW_REFUSED_HERE);
		EXPECT_EQ(record.service, SERVICE);
		EXPECT_EQ(account_count(), 0);
	}
}

TEST(where_another_proxys_rules_redirect_what_is_for_weft_proxy_is_refused_and_nothing_else)
{
	const struct owner foreign = { .node = WORLD_NODE, .flags = OWNER_FOREIGN }, own = { .node = WORLD_NODE };

	EXPECT_OK(kernel_netns_set(&world.kernel, world.netns_cookie, &foreign));
	FOR_EACH_WAY(way) {
		_cleanup_close_ int listener = proxy(way), fd = new_socket(way->family, SOCK_STREAM);
		const struct counts before = counts_now();

		EXPECT_EQ(connect_to(fd, way->family, way->vip, PORT), -ECONNREFUSED);
		EXPECT_COUNTED(before, REASON_FOREIGN_REDIRECT, 1);
		EXPECT_EQ(last_record().reason, REASON_FOREIGN_REDIRECT);
		EXPECT_EQ(account_count(), 0);
		EXPECT(!readable(listener, 0));
	}
	*route() = (struct route_record){ .target_count = 1, .cumulative = { 1 }, .target = { TARGET } }; /* the kernel's */
	EXPECT_EQ(reason_of(VIP4), REASON_ROUTED);
	*route() = (struct route_record){ .flags = ROUTE_L7, .closed = REASON_NEEDS_PROXY };
	EXPECT_OK(kernel_netns_set(&world.kernel, world.netns_cookie, &own));
	EXPECT_EQ(reason_of(VIP4), REASON_PROXIED);
}

TEST(a_socket_that_failed_to_connect_may_try_again_and_is_told_anew)
{
	_cleanup_close_ int fd = new_socket(AF_INET, SOCK_STREAM), listener = -1, accepted = -1;
	struct handover_key key;
	struct handover h;

	EXPECT_EQ(connect_to(fd, AF_INET, VIP4, PORT), -ECONNREFUSED); /* nobody listens */
	EXPECT_EQ(handover_count(), 0);
	EXPECT_EQ(last_record().close, FLOW_CONNECT_REFUSED);
	listener = proxy(&ways[0]);
	EXPECT_OK(connect_to(fd, AF_INET, VIP4, PORT));
	accepted = accept_one(listener);
	key = key_of(accepted);
	EXPECT_OK(proxy_handover_get(&world.maps, &key, &h));
}

TEST(weft_proxys_own_connections_are_never_handed_over)
{
	_cleanup_close_ int listener = proxy(&ways[0]), fd = new_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
	const struct counts before = counts_now();

	enter_cgroup(world.weft_cgroup);
	connect_to(fd, AF_INET, VIP4, PORT);
	enter_cgroup(world.cgroup);
	EXPECT_COUNTED(before, REASON_PROXIED, 0);
	EXPECT_EQ(account_count(), 0);
	EXPECT(!readable(listener, 0));
}

TEST(no_workload_may_have_the_port_of_weft_proxy)
{
	static const int families[] = { AF_INET, AF_INET6 };
	static const char *const any[] = { "0.0.0.0", "::" }, *const loopback[] = { "127.0.0.1", "::1" };

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		_cleanup_close_ int fd = new_socket(families[i], SOCK_STREAM), own = -1;
		const struct counts before = counts_now();

		EXPECT_EQ(bind_to(fd, families[i], any[i], PROXY_OUTBOUND_PORT), -EPERM);
		EXPECT_EQ(bind_to(fd, families[i], loopback[i], PROXY_OUTBOUND_PORT), -EPERM);
		EXPECT_COUNTED(before, REASON_RESERVED_PORT, 2);
		own = server(families[i], SOCK_STREAM, loopback[i], PROXY_OUTBOUND_PORT);
		EXPECT(own >= 0);
	}
}

#define IN_A_WORKLOAD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_WORKLOAD(a_port_that_needs_it_leads_to_weft_proxy_in_the_callers_family),
		IN_A_WORKLOAD(an_unknown_address_on_a_port_of_an_http_backend_leads_to_weft_proxy_for_no_service_yet),
		IN_A_WORKLOAD(where_weft_proxy_does_not_listen_the_door_is_closed),
		IN_A_WORKLOAD(where_another_program_has_the_port_the_door_is_closed_by_that_name),
		IN_A_WORKLOAD(while_weft_proxy_has_not_beaten_for_two_seconds_the_door_is_closed),
		IN_A_WORKLOAD(authorization_and_tls_come_before_weft_proxy),
		IN_A_WORKLOAD(audit_mode_hands_over_what_is_no_backend_and_says_so),
		IN_A_WORKLOAD(what_has_no_socket_here_gets_what_the_port_does_without_weft_proxy),
		IN_A_WORKLOAD(a_connection_is_handed_over_and_weft_proxy_learns_what_it_asked_for_while_it_lives),
		IN_A_WORKLOAD(so_original_dst_of_weft_proxys_socket_is_what_the_program_asked_for),
		IN_A_WORKLOAD(so_original_dst_is_an_address_that_the_mesh_does_not_know_as_well),
		IN_A_WORKLOAD(so_original_dst_needs_room_for_the_address_and_its_own_level),
		IN_A_WORKLOAD(so_original_dst_of_what_was_not_handed_over_is_what_it_is_without_weft),
		IN_A_WORKLOAD(other_options_of_weft_proxys_sockets_are_as_ever),
		IN_A_WORKLOAD(a_connection_that_is_handed_over_has_an_account_and_a_flow_record_but_no_row_and_no_endpoint),
		IN_A_WORKLOAD(what_passes_in_audit_mode_alone_is_told_to_weft_proxy),
		IN_A_WORKLOAD(a_socket_that_is_bound_to_an_address_of_the_namespace_is_handed_over_with_it),
		IN_A_WORKLOAD(a_socket_that_is_bound_to_a_device_does_not_reach_weft_proxy_and_is_refused),
		IN_A_WORKLOAD(while_weft_proxy_is_away_a_connection_is_refused_at_once_and_told),
		IN_A_WORKLOAD(where_another_proxys_rules_redirect_what_is_for_weft_proxy_is_refused_and_nothing_else),
		IN_A_WORKLOAD(a_socket_that_failed_to_connect_may_try_again_and_is_told_anew),
		IN_A_WORKLOAD(weft_proxys_own_connections_are_never_handed_over),
		IN_A_WORKLOAD(no_workload_may_have_the_port_of_weft_proxy),
	};

	return cmocka_run_group_tests_name("handover", tests, world_set_up, world_tear_down);
}
