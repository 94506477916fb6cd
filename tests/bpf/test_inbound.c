/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners that weft-proxy serves, with real sockets: the test is the application, weft-proxy, and clients in the same namespace. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/time.h"
#include "loader/lookup.h"
#include "maps/intercept.h"
#include "maps/serving.h"
#include "tests/bpf/hooks_world.h"
#include "tests/bpf/last_flow.h"

enum { PORT = 8080, SERVER = 21, PLACE = 5 };

static char pins[160];

static struct serving_key listener_key(const char *address)
{
	struct serving_key key = { .netns_cookie = world.netns_cookie, .port = htons(PORT) };

	if (*address != '*')
		key.address = ip(address);
	return key;
}

static void intercept(const char *address)
{
	const struct serving_key key = listener_key(address);

	EXPECT_OK(intercept_set(&world.kernel, &key, &(struct intercept){ .node = SERVER }));
}

static int remove_one(const struct serving_key *key, const struct intercept *intercept __attribute__((unused)),
		      void *arg __attribute__((unused)))
{
	return intercept_remove(&world.kernel, key);
}

/* The program that refuses and gives is at the namespace, and port 8080 is weft-proxy's at every address but loopback ones. */
static int set_up(void **state __attribute__((unused)))
{
	_cleanup_close_ int netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	struct error err = {};

	world_enter();
	EXPECT_OK(kernel_pin_path(world.instance, pins, sizeof(pins), &err), &err);
	EXPECT_OK(lookup_attach(pins, world.netns_cookie, netns, &err), &err);
	intercept("*");
	return 0;
}

static int tear_down(void **state __attribute__((unused)))
{
	EXPECT_OK(intercept_each(&world.kernel, remove_one, NULL));
	lookup_detach(pins, world.netns_cookie);
	world_leave();
	return 0;
}

/* --- sockets -------------------------------------------------------------------------------------------------------------------- */

/* Families: of the application's socket, and of what comes in. */
static const struct way_in {
	int family, packets;
	const char *any, *address, *client, *proxy;
} ways_in[] = {
	{ AF_INET, AF_INET, "0.0.0.0", "10.96.0.10", "10.96.0.11", "127.0.0.1" },
	{ AF_INET6, AF_INET, "::", "10.96.0.10", "10.96.0.11", "127.0.0.1" },
	{ AF_INET6, AF_INET6, "::", "fd00::53", "fd00::53", "::1" },
};
#define FOR_EACH_WAY_IN(way) for (const struct way_in *way = ways_in; way < ways_in + ARRAY_SIZE(ways_in); way++)

static int application(int family, const char *address)
{
	return listening(family, address, PORT);
}

static int proxy_of(const struct way_in *way)
{
	const int fd = server(way->packets, SOCK_STREAM, way->proxy, PROXY_OUTBOUND_PORT);

	EXPECT_OK(proxy_inbound_set(&world.maps, world.netns_cookie, way->packets, fd));
	return fd;
}

/* Each time another one: where the other side still has the last connection of the same ends (TIME-WAIT) a SYN is looked up, and refused,
 * a second time. */
static int bind_to_fresh_port(int fd, int family, const char *address)
{
	static uint16_t last = 20000;

	return bind_to(fd, family, address, ++last);
}

/* Nobody's: its cgroup is not the instance's. */
static int client_to(const char *address, int packets, const char *from, int *ret_r)
{
	const int one = 1;
	int fd;

	enter_cgroup(world.home_cgroup);
	fd = new_socket(packets, SOCK_STREAM);
	EXPECT_OK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	EXPECT_OK(bind_to_fresh_port(fd, packets, from));
	*ret_r = connect_to(fd, packets, address, PORT);
	enter_cgroup(world.cgroup);
	return fd;
}

static int client_of(const struct way_in *way)
{
	int r, fd = client_to(way->address, way->packets, way->client, &r);

	EXPECT_OK(r);
	return fd;
}

static int accept_at(int listener, struct endpoint_address *ret_peer)
{
	int fd;

	*ret_peer = (struct endpoint_address){ .length = sizeof(ret_peer->v6) };
	EXPECT(readable(listener, WAIT_MS));
	fd = accept(listener, &ret_peer->any, &ret_peer->length);
	EXPECT(fd >= 0);
	return fd;
}

static int accept_one(int listener)
{
	struct endpoint_address peer;

	return accept_at(listener, &peer);
}

static struct proxy_way_key end_of(int fd)
{
	struct endpoint_address own = { .length = sizeof(own.v6) };
	struct proxy_way_key key = { .netns_cookie = world.netns_cookie };

	EXPECT_OK(getsockname(fd, &own.any, &own.length));
	if (own.any.sa_family == AF_INET)
		key.address = (struct ip){ .words = { 0, 0, htonl(0xffff), own.v4.sin_addr.s_addr } };
	else
		memcpy(&key.address, &own.v6.sin6_addr, sizeof(key.address));
	key.port = own.any.sa_family == AF_INET ? own.v4.sin_port : own.v6.sin6_port;
	return key;
}

/* As weft-proxy connects for `client`, whose end is shown; 0: for nobody. Not connected yet. */
static int own_way(const struct way_in *way, int client, struct proxy_way_key *ret_key)
{
	const struct proxy_way_key shown = client ? end_of(client) : (struct proxy_way_key){};
	int fd;

	enter_cgroup(world.weft_cgroup);
	fd = new_socket(way->packets, SOCK_STREAM);
	enter_cgroup(world.cgroup);
	EXPECT_OK(bind_to_fresh_port(fd, way->packets, way->address));
	*ret_key = end_of(fd);
	EXPECT_OK(proxy_way_set(&world.maps, ret_key, &shown.address, shown.port));
	return fd;
}

static int proxy_connects(int fd, const struct way_in *way)
{
	int r;

	enter_cgroup(world.weft_cgroup);
	r = connect_to(fd, way->packets, way->address, PORT);
	enter_cgroup(world.cgroup);
	return r;
}

static int through(const struct way_in *way, int client)
{
	struct proxy_way_key key;
	const int fd = own_way(way, client, &key);

	EXPECT_OK(proxy_connects(fd, way));
	return fd;
}

static const char *own_end_of(int fd)
{
	struct endpoint_address own = { .length = sizeof(own.v6) };

	EXPECT_OK(getsockname(fd, &own.any, &own.length));
	return text_of(&own);
}

static unsigned entry_count(const char *map)
{
	char path[200], key[64], *before = NULL;
	_cleanup_close_ int fd = -1;
	unsigned count = 0;

	snprintf(path, sizeof(path), "%s/%s", pins, map);
	fd = bpf_obj_get(path);
	EXPECT(fd >= 0);
	for (; bpf_map_get_next_key(fd, before, key) == 0; before = key)
		count++;
	return count;
}

static struct flow_record last_record(void)
{
	return last_flow(world.kernel.flow_fd);
}

static uint64_t refusals(enum reason reason)
{
	const struct reason_key key = { .service = SERVER, .reason = reason };
	uint64_t values[256] = {}, sum = 0;

	EXPECT(world.kernel.cpu_count <= 256);
	if (bpf_map_lookup_elem(world.kernel.reason_fd, &key, values) < 0)
		return 0;
	for (int i = 0; i < world.kernel.cpu_count; i++)
		sum += values[i];
	return sum;
}

/* --- who gets what -------------------------------------------------------------------------------------------------------------- */

TEST(what_comes_in_is_weft_proxys_and_it_sees_both_ends_as_they_are)
{
	FOR_EACH_WAY_IN(way) {
		_cleanup_close_ int app = application(way->family, way->any), proxy = proxy_of(way), client = client_of(way), taken = -1;
		char client_end[ENDPOINT_TEXT_BYTES], wanted[ENDPOINT_TEXT_BYTES];
		const struct ip address = ip(way->address);

		snprintf(client_end, sizeof(client_end), "%s", own_end_of(client));
		ip_port_format(&address, htons(PORT), wanted);
		taken = accept_one(proxy);
		EXPECT_STR(peer_of(taken), client_end);
		EXPECT_STR(own_end_of(taken), wanted);
		EXPECT(!readable(app, 0));
	}
}

TEST(weft_proxy_reaches_the_application_which_sees_the_client)
{
	FOR_EACH_WAY_IN(way) {
		_cleanup_close_ int app = application(way->family, way->any), proxy = proxy_of(way), client = client_of(way), taken = -1;
		_cleanup_close_ int inner = -1, served = -1;
		char client_end[ENDPOINT_TEXT_BYTES], wanted[ENDPOINT_TEXT_BYTES], bytes[8];
		const struct ip address = ip(way->address);
		struct endpoint_address seen;

		snprintf(client_end, sizeof(client_end), "%s", own_end_of(client));
		ip_port_format(&address, htons(PORT), wanted);
		taken = accept_one(proxy);
		inner = through(way, client);
		served = accept_at(app, &seen);
		EXPECT_STR(text_of(&seen), client_end);
		EXPECT_STR(peer_of(served), client_end);
		EXPECT_STR(own_end_of(served), wanted);
		EXPECT_EQ(entry_count("w_way"), 0);
		EXPECT_EQ(write(inner, "to", 2), 2);
		EXPECT_EQ(read(served, bytes, sizeof(bytes)), 2);
		EXPECT_EQ(write(served, "back", 4), 4);
		EXPECT_EQ(read(inner, bytes, sizeof(bytes)), 4);
		EXPECT(!readable(proxy, 0));
		inner = fd_close(inner);
		served = fd_close(served);
		WAIT_FOR(entry_count("w_real_peer") == 0, WAIT_MS * NSEC_PER_MSEC);
	}
}

TEST(where_weft_proxy_names_no_client_the_application_sees_weft_proxy)
{
	FOR_EACH_WAY_IN(way) {
		_cleanup_close_ int app = application(way->family, way->any), inner = through(way, 0), served = accept_one(app);
		char own_end[ENDPOINT_TEXT_BYTES];

		snprintf(own_end, sizeof(own_end), "%s", own_end_of(inner));
		EXPECT_STR(peer_of(served), own_end);
		EXPECT_EQ(entry_count("w_way"), 0);
		EXPECT_EQ(entry_count("w_real_peer"), 0);
	}
}

TEST(nobody_gets_by_weft_proxy_by_being_in_the_same_namespace_or_cgroup)
{
	const struct way_in *way = &ways_in[0];
	_cleanup_close_ int app = application(way->family, way->any), proxy = proxy_of(way), fd = -1, taken = -1;

	enter_cgroup(world.weft_cgroup);
	fd = new_socket(AF_INET, SOCK_STREAM);
	EXPECT_OK(connect_to(fd, AF_INET, way->address, PORT));
	enter_cgroup(world.cgroup);
	taken = accept_one(proxy);
	EXPECT(!readable(app, 0));
}

TEST(a_way_that_was_not_taken_for_long_is_none_and_is_cleaned_away)
{
	const struct way_in *way = &ways_in[0];
	_cleanup_close_ int app = application(way->family, way->any), proxy = proxy_of(way), taken = -1, inner = -1;
	const uint64_t now_ns = time_now_ns();
	struct proxy_way_key key;

	inner = own_way(way, 0, &key);
	EXPECT_OK(proxy_ways_clean(&world.maps, now_ns));
	EXPECT_EQ(entry_count("w_way"), 1);
	EXPECT_OK(bpf_map_update_elem(world.maps.way_fd, &key, &(struct proxy_way){ .since_ns = now_ns - WAY_MAX_NS }, BPF_ANY));
	EXPECT_OK(proxy_connects(inner, way));
	taken = accept_one(proxy);
	EXPECT(!readable(app, 0));
	EXPECT_OK(proxy_ways_clean(&world.maps, time_now_ns()));
	EXPECT_EQ(entry_count("w_way"), 0);
}

TEST(an_application_that_does_not_listen_is_told_to_weft_proxy_alone)
{
	const struct way_in *way = &ways_in[0];
	_cleanup_close_ int proxy = proxy_of(way), client = client_of(way), taken = accept_one(proxy);
	struct proxy_way_key key;
	_cleanup_close_ int inner = own_way(way, client, &key);

	EXPECT(taken >= 0);
	EXPECT_EQ(proxy_connects(inner, way), -ECONNREFUSED);
	EXPECT_EQ(entry_count("w_way"), 1);
	EXPECT_OK(proxy_way_remove(&world.maps, &key));
	EXPECT_OK(proxy_way_remove(&world.maps, &key));
	EXPECT_EQ(entry_count("w_way"), 0);
}

TEST(an_address_is_weft_proxys_where_it_is_listed_and_loopback_ones_only_by_themselves)
{
	const struct way_in *way = &ways_in[0];
	_cleanup_close_ int app = application(AF_INET, "0.0.0.0"), proxy = proxy_of(way);
	static const struct {
		const char *listed, *asked;
		bool is_proxys;
	} addresses[] = {
		{ "*", "10.96.0.10", true },   { "*", "10.96.0.11", true },	      { "*", "127.0.0.1", false },
		{ "10.96.0.10", "10.96.0.10", true }, { "10.96.0.10", "10.96.0.11", false }, { "127.0.0.1", "127.0.0.1", true },
		{ "127.0.0.1", "127.0.0.2", false },  { "127.0.0.1", "10.96.0.10", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		_cleanup_close_ int client = -1, taken = -1;
		int r;

		EXPECT_OK(intercept_each(&world.kernel, remove_one, NULL));
		intercept(addresses[i].listed);
		client = client_to(addresses[i].asked, AF_INET, "10.96.0.11", &r);
		EXPECT_OK(r);
		taken = accept_one(addresses[i].is_proxys ? proxy : app);
		EXPECT(!readable(addresses[i].is_proxys ? app : proxy, 0));
	}
}

TEST(weft_proxy_finds_the_listener_that_a_connection_came_to)
{
	static const struct {
		const char *asked, *entry;
		uint16_t listener; /* 0: none */
	} rows[] = {
		{ "10.96.0.10", "10.96.0.10", 8080 },
		{ "10.96.0.11", "*", 80 },
		{ "fd00::53", "*", 80 },
		{ "127.0.0.1", "127.0.0.1", 81 },
		{ "127.0.0.2", NULL, 0 },
	};
	const struct serving_key any = listener_key("*"), own = listener_key("10.96.0.10"), loopback = listener_key("127.0.0.1");

	EXPECT_OK(intercept_set(&world.kernel, &any, &(struct intercept){ .node = SERVER, .listener = 80 }));
	EXPECT_OK(intercept_set(&world.kernel, &own, &(struct intercept){ .node = SERVER, .listener = 8080 }));
	EXPECT_OK(intercept_set(&world.kernel, &loopback, &(struct intercept){ .node = SERVER, .listener = 81 }));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct serving_key key = listener_key(rows[i].asked), entry;
		struct intercept found = {};

		EXPECT_EQ(proxy_intercept_get(&world.maps, &key, &found), rows[i].listener ? 0 : -ENOENT);
		EXPECT_EQ(found.listener, rows[i].listener);
		if (!rows[i].listener)
			continue;
		entry = listener_key(rows[i].entry);
		EXPECT_EQ(memcmp(&key, &entry, sizeof(key)), 0);
		EXPECT_EQ(found.node, SERVER);
	}
}

TEST(what_is_no_longer_intercepted_goes_to_the_application_with_the_next_connection)
{
	const struct way_in *way = &ways_in[0];
	_cleanup_close_ int app = application(way->family, way->any), proxy = proxy_of(way), before = client_of(way), taken = accept_one(proxy);
	_cleanup_close_ int after = -1, served = -1;
	char bytes[4];

	EXPECT_OK(intercept_each(&world.kernel, remove_one, NULL));
	after = client_of(way);
	served = accept_one(app);
	EXPECT_EQ(write(before, "on", 2), 2);
	EXPECT_EQ(read(taken, bytes, sizeof(bytes)), 2);
}

TEST(hooks_look_for_what_is_weft_proxys_only_where_they_are_told_that_there_is_some)
{
	FOR_EACH_WAY_IN(way) {
		_cleanup_close_ int app = application(way->family, way->any), proxy = proxy_of(way), client = -1, served = -1;
		char client_end[ENDPOINT_TEXT_BYTES];

		world.kernel.memory.config->serving = SERVING_LIMITED;
		client = client_of(way);
		snprintf(client_end, sizeof(client_end), "%s", own_end_of(client));
		served = accept_one(app);
		EXPECT(!readable(proxy, 0));
		EXPECT_STR(peer_of(served), client_end);
		intercept("*");
		fd_close(client_of(way));
		served = fd_close(served);
		served = accept_one(proxy);
		EXPECT(!readable(app, 0));
	}
	serving_look(&world.kernel, false);
}

/* --- while weft-proxy is away --------------------------------------------------------------------------------------------------- */

static void expect_refused(const struct way_in *way)
{
	const uint64_t refused = refusals(REASON_PROXY_DOWN);
	const struct ip address = ip(way->address), from = ip(way->client);
	struct flow_record record;
	_cleanup_close_ int client = -1;
	int r;

	client = client_to(way->address, way->packets, way->client, &r);
	EXPECT_EQ(r, -ECONNREFUSED);
	EXPECT_EQ(refusals(REASON_PROXY_DOWN), refused + 1);
	record = last_record();
	EXPECT_EQ(record.reason, REASON_PROXY_DOWN);
	EXPECT_EQ(record.close, FLOW_REFUSED_HERE);
	EXPECT_EQ(record.service, SERVER);
	EXPECT_EQ(ip_equal(&record.asked, &address), true);
	EXPECT_EQ(record.asked_port, htons(PORT));
	EXPECT_EQ(ip_equal(&record.address, &from), true);
	EXPECT_EQ(record.netns_cookie, world.netns_cookie);
}

TEST(while_weft_proxy_is_away_clients_are_refused_and_none_gets_to_the_application)
{
	FOR_EACH_WAY_IN(way) {
		_cleanup_close_ int app = application(way->family, way->any), proxy = -1, client = -1;

		beat();
		expect_refused(way); /* it never listened */
		proxy = proxy_of(way);
		client = client_of(way);
		world.maps.state->beat_ns = time_now_ns() - PROXY_BEAT_MAX_NS - 1; /* it hangs */
		expect_refused(way);
		beat();
		proxy = fd_close(proxy); /* it was killed */
		expect_refused(way);
		EXPECT_EQ(entry_count("w_inbound"), 0);
		EXPECT(!readable(app, 0));
	}
}

TEST(a_successor_takes_over_by_the_same_socket_or_by_its_own)
{
	const struct way_in *way = &ways_in[0];
	_cleanup_close_ int proxy = proxy_of(way), kept = fcntl(proxy, F_DUPFD_CLOEXEC, 0), first = -1, second = -1, other = -1, third = -1;
	_cleanup_close_ int taken = -1;

	proxy = fd_close(proxy);
	first = client_of(way);
	taken = accept_one(kept);
	other = server(AF_INET, SOCK_STREAM, "127.0.0.2", PROXY_OUTBOUND_PORT);
	EXPECT_OK(proxy_inbound_set(&world.maps, world.netns_cookie, AF_INET, other));
	second = client_of(way);
	taken = fd_close(taken);
	taken = accept_one(other);
	EXPECT(!readable(kept, 0));
	EXPECT_OK(proxy_inbound_remove(&world.maps, world.netns_cookie, AF_INET));
	EXPECT_OK(proxy_inbound_remove(&world.maps, world.netns_cookie, AF_INET));
	expect_refused(way);
}

/* --- limits --------------------------------------------------------------------------------------------------------------------- */

TEST(a_limit_counts_each_connection_once_where_the_application_has_it)
{
	FOR_EACH_WAY_IN(way) {
		struct serving *serving = &world.kernel.servings[PLACE];
		const struct serving_key key = listener_key(way->address);
		_cleanup_close_ int app = application(way->family, way->any), proxy = proxy_of(way), refused = -1;
		int clients[3], taken[3], inner[2], served[2];
		struct proxy_way_key third;

		*serving = (struct serving){ .incarnation = 1, .max_connections = 2, .node = SERVER };
		EXPECT_OK(serving_set(&world.kernel, &key, PLACE));
		serving_look(&world.kernel, true);
		for (size_t i = 0; i < ARRAY_SIZE(clients); i++) { /* weft-proxy may queue them */
			clients[i] = client_of(way);
			taken[i] = accept_one(proxy);
		}
		EXPECT_EQ(serving->open + (uint32_t)serving->handshakes[0] + (uint32_t)serving->handshakes[1], 0);
		for (size_t i = 0; i < ARRAY_SIZE(inner); i++) {
			inner[i] = through(way, clients[i]);
			served[i] = accept_one(app);
			EXPECT_EQ(serving->open, i + 1);
		}
		EXPECT_EQ(serving->accepted, 2);
		refused = own_way(way, clients[2], &third);
		EXPECT_EQ(proxy_connects(refused, way), -ECONNREFUSED);
		EXPECT_EQ(serving->refused, 1);
		EXPECT_EQ(last_record().reason, REASON_OVER_MAX_CONNECTIONS);
		EXPECT_OK(proxy_way_remove(&world.maps, &third));
		inner[0] = fd_close(inner[0]);
		served[0] = fd_close(served[0]);
		WAIT_FOR(serving->open == 1, WAIT_MS * NSEC_PER_MSEC);
		inner[0] = through(way, clients[2]);
		served[0] = accept_one(app);
		EXPECT_EQ(serving->open, 2);
		for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
			fd_close(clients[i]);
			fd_close(taken[i]);
		}
		EXPECT_EQ(serving->open, 2);
		for (size_t i = 0; i < ARRAY_SIZE(inner); i++) {
			fd_close(inner[i]);
			fd_close(served[i]);
		}
		WAIT_FOR(serving->open == 0, WAIT_MS * NSEC_PER_MSEC);
		EXPECT_OK(serving_remove(&world.kernel, &key));
		serving_look(&world.kernel, false);
	}
}

TEST(the_refusal_of_a_full_listener_names_the_client)
{
	const struct way_in *way = &ways_in[0];
	const struct serving_key key = listener_key(way->address);
	_cleanup_close_ int app = application(way->family, way->any), proxy = proxy_of(way), client = client_of(way), taken = accept_one(proxy);
	struct proxy_way_key own;
	_cleanup_close_ int inner = own_way(way, client, &own);
	const struct proxy_way_key end = end_of(client);
	struct flow_record record;

	EXPECT(app >= 0 && taken >= 0);
	world.kernel.servings[PLACE] = (struct serving){ .incarnation = 1, .max_connections = 1, .node = SERVER, .open = 1 };
	EXPECT_OK(serving_set(&world.kernel, &key, PLACE));
	EXPECT_EQ(proxy_connects(inner, way), -ECONNREFUSED);
	record = last_record();
	EXPECT_EQ(record.reason, REASON_OVER_MAX_CONNECTIONS);
	EXPECT_EQ(ip_equal(&record.address, &end.address), true);
	EXPECT_EQ(record.port, end.port);
	EXPECT_OK(proxy_way_remove(&world.maps, &own));
	EXPECT_OK(serving_remove(&world.kernel, &key));
}

#define IN_A_WORKLOAD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_WORKLOAD(what_comes_in_is_weft_proxys_and_it_sees_both_ends_as_they_are),
		IN_A_WORKLOAD(weft_proxy_reaches_the_application_which_sees_the_client),
		IN_A_WORKLOAD(where_weft_proxy_names_no_client_the_application_sees_weft_proxy),
		IN_A_WORKLOAD(nobody_gets_by_weft_proxy_by_being_in_the_same_namespace_or_cgroup),
		IN_A_WORKLOAD(a_way_that_was_not_taken_for_long_is_none_and_is_cleaned_away),
		IN_A_WORKLOAD(an_application_that_does_not_listen_is_told_to_weft_proxy_alone),
		IN_A_WORKLOAD(an_address_is_weft_proxys_where_it_is_listed_and_loopback_ones_only_by_themselves),
		IN_A_WORKLOAD(weft_proxy_finds_the_listener_that_a_connection_came_to),
		IN_A_WORKLOAD(what_is_no_longer_intercepted_goes_to_the_application_with_the_next_connection),
		IN_A_WORKLOAD(hooks_look_for_what_is_weft_proxys_only_where_they_are_told_that_there_is_some),
		IN_A_WORKLOAD(while_weft_proxy_is_away_clients_are_refused_and_none_gets_to_the_application),
		IN_A_WORKLOAD(a_successor_takes_over_by_the_same_socket_or_by_its_own),
		IN_A_WORKLOAD(a_limit_counts_each_connection_once_where_the_application_has_it),
		IN_A_WORKLOAD(the_refusal_of_a_full_listener_names_the_client),
	};

	return cmocka_run_group_tests_name("inbound", tests, world_set_up, world_tear_down);
}
