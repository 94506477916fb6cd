/* SPDX-License-Identifier: Apache-2.0 */
/* Which open connections may go on, by the kernel's rules, and the end of exactly those that may not. Sockets are in namespaces of the
 * test's own; what sock_ops tells of their end is in tests/net/test_drain.py. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include "agent/drain/destroy.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/bpf/fixture.h"
#include "tests/lib/socket.h"
#include "tests/lib/test.h"
#include "weft.skel.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#define DRAIN_NS (3600 * NSEC_PER_SEC)

static struct fixture f;

static int iterator(struct bpf_program *program)
{
	const int fd = bpf_link_create(bpf_program__fd(program), 0, BPF_TRACE_ITER, NULL);

	EXPECT_OK(fd < 0 ? -errno : 0);
	return fd;
}

static void enter_fresh_netns(void)
{
	EXPECT_OK(unshare(CLONE_NEWNET));
	EXPECT_OK(system("ip link set lo up"));
}

/* A node whose backends are SERVICE and OTHER_SERVICE, with a route of SERVICE to one target with an endpoint of each family. */
static int set_up(void **state __attribute__((unused)))
{
	enter_fresh_netns();
	fixture_init(&f);
	f.kernel.account_fd = bpf_map__fd(f.skeleton->maps.w_account);
	f.kernel.account_near_fd = bpf_map__fd(f.skeleton->maps.w_account_near);
	f.kernel.stat_fd = bpf_map__fd(f.skeleton->maps.w_stat);
	f.kernel.cpu_count = libbpf_num_possible_cpus();
	f.kernel.standing_prog_fd = bpf_program__fd(f.skeleton->progs.look_standing);
	f.kernel.end_iter_fd = iterator(f.skeleton->progs.iter_end);
	f.kernel.memory.config->drain_ns = DRAIN_NS;
	given_node(&f, 0, (uint32_t[]){ SERVICE, OTHER_SERVICE, 0 });
	given_service(&f, SERVICE, 80, 1, (unsigned[]){ 1 });
	given_service(&f, OTHER_SERVICE, 80, 1, (unsigned[]){ 1 });
	given_target(&f, TARGET, 1, 1);
	return 0;
}

static int tear_down(void **state __attribute__((unused)))
{
	fd_close(f.kernel.end_iter_fd);
	fixture_done(&f);
	return 0;
}

/* A connection over loopback: the caller's socket, and the peer's. */
struct pair {
	int client, server;
};

static void pair_close(struct pair *pair)
{
	fd_close(pair->client);
	fd_close(pair->server);
}

static struct pair connected(const char *address, int family)
{
	_cleanup_close_ int listener = socket(strchr(address, '.') ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pair pair = { .client = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	struct sockaddr_storage at = {};
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&at;
	struct sockaddr_in *v4 = (struct sockaddr_in *)&at;
	socklen_t size = sizeof(at);

	at.ss_family = strchr(address, '.') ? AF_INET : AF_INET6;
	EXPECT(inet_pton(at.ss_family, address, at.ss_family == AF_INET ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr) == 1);
	EXPECT_OK(bind(listener, (struct sockaddr *)&at, at.ss_family == AF_INET ? sizeof(*v4) : sizeof(*v6)));
	EXPECT_OK(listen(listener, 1));
	EXPECT_OK(getsockname(listener, (struct sockaddr *)&at, &size));
	if (at.ss_family == AF_INET && family == AF_INET6) {
		const struct sockaddr_in plain = *v4;

		*v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = plain.sin_port };
		v6->sin6_addr.s6_addr[10] = v6->sin6_addr.s6_addr[11] = 0xff;
		memcpy(&v6->sin6_addr.s6_addr[12], &plain.sin_addr, 4);
		size = sizeof(*v6);
	}
	EXPECT_OK(connect(pair.client, (struct sockaddr *)&at, size));
	pair.server = accept(listener, NULL, NULL);
	EXPECT_OK(pair.server);
	return pair;
}

static struct ip peer_of(int fd, __be16 *ret_port)
{
	struct sockaddr_storage at = {};
	const struct sockaddr_in *v4 = (struct sockaddr_in *)&at;
	const struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&at;
	socklen_t size = sizeof(at);
	struct ip ip = { .bytes = { [10] = 0xff, [11] = 0xff } };

	EXPECT_OK(getpeername(fd, (struct sockaddr *)&at, &size));
	*ret_port = at.ss_family == AF_INET ? v4->sin_port : v6->sin6_port;
	memcpy(at.ss_family == AF_INET ? &ip.bytes[12] : ip.bytes, at.ss_family == AF_INET ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr,
	       at.ss_family == AF_INET ? 4 : 16);
	return ip;
}

static uint64_t cookie_option(int fd, int option)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);

	EXPECT_OK(getsockopt(fd, SOL_SOCKET, option, &cookie, &size));
	return cookie;
}

static uint64_t netns_cookie_here(int fd)
{
	return cookie_option(fd, SO_NETNS_COOKIE);
}

/* As connect() would have left it: routed to TARGET's endpoint of the address family. */
static struct account account_for(int fd, uint32_t service)
{
	struct account account = {
		.held = cookie_option(fd, SO_COOKIE),
		.started = 1,
		.established_ns = 1,
		.netns_cookie = netns_cookie_here(fd),
		.source = NODE,
		.service = service,
		.target = TARGET,
		.slot = ref_of(&f, TARGET, 0)->slot,
		.slot_incarnation = 1,
		.vip_port = htons(80),
		.reason = REASON_ROUTED,
	};

	account.address = peer_of(fd, &account.port);
	if (!ip_is_v4(&account.address))
		account.slot++; /* the second endpoint */
	return account;
}

/* Those of odd cookies have their place in the array, the others are in the table. */
static void set_account(int fd, const struct account *account)
{
	const uint64_t cookie = cookie_option(fd, SO_COOKIE);
	const struct near_account near = { .account = *account, .owner = cookie };
	const uint32_t place = cookie % NEAR_ACCOUNTS;

	if (cookie % 2)
		EXPECT_OK(bpf_map_update_elem(f.kernel.account_near_fd, &place, &near, BPF_ANY));
	else
		EXPECT_OK(bpf_map_update_elem(f.kernel.account_fd, &cookie, account, BPF_ANY));
}

static struct account get_account(int fd)
{
	const uint64_t cookie = cookie_option(fd, SO_COOKIE);
	const uint32_t place = cookie % NEAR_ACCOUNTS;
	struct near_account near = {};

	if (cookie % 2)
		EXPECT_OK(bpf_map_lookup_elem(f.kernel.account_near_fd, &place, &near));
	else
		EXPECT_OK(bpf_map_lookup_elem(f.kernel.account_fd, &cookie, &near.account));
	return near.account;
}

static struct pair routed(const char *address, int family, uint32_t service)
{
	struct pair pair = connected(address, family);
	const struct account account = account_for(pair.client, service);

	set_account(pair.client, &account);
	return pair;
}

struct asked {
	unsigned leaving, denied;
	uint64_t leave_ns;
	uint64_t netns_cookie;
};

static int take_leaving(const struct account *account, void *arg)
{
	struct asked *asked = arg;

	if (account->standing == STANDING_GOOD)
		return 0;
	asked->leaving += account->standing == STANDING_LEFT;
	asked->denied += account->standing == STANDING_DENIED;
	asked->leave_ns = account->leave_ns;
	asked->netns_cookie = account->netns_cookie;
	return 0;
}

static struct asked ask(void)
{
	struct asked asked = {};
	struct standing_look look;

	EXPECT_OK(kernel_standing_look(&f.kernel, time_now_ns(), &look));
	EXPECT_OK(kernel_socket_account_each(&f.kernel, take_leaving, &asked));
	EXPECT_EQ(look.left, asked.leaving);
	EXPECT_EQ(look.denied, asked.denied);
	return asked;
}

static uint64_t stat(enum statistic which)
{
	uint64_t stats[STAT_COUNT];

	EXPECT_OK(kernel_stats(&f.kernel, stats));
	return stats[which];
}

static struct destroyed end_here(void)
{
	_cleanup_close_ int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	struct destroyed destroyed = {};

	EXPECT_OK(here);
	EXPECT_OK(destroy_in_netns(&f.kernel, here, &destroyed));
	EXPECT_EQ(destroyed.failed, 0);
	EXPECT_EQ(stat(STAT_NOT_DESTROYED), 0);
	return destroyed;
}

#define EXPECT_DESTROYED(pair)                                                                                                 \
	do {                                                                                                                   \
		EXPECT_EQ(state_of((pair).client), ECONNABORTED);                                                              \
		EXPECT_EQ(state_of((pair).server), ECONNRESET);                                                                \
	} while (0)

/* --- the rules ------------------------------------------------------------------------------------------------------------- */

static void forget(uint32_t id)
{
	f.kernel.memory.directories[f.generation % RING_DIRECTORIES].refs[id] = 0;
}

static void nothing(void)
{
}

static void service_gone(void)
{
	forget(SERVICE);
}

static void node_gone(void)
{
	forget(NODE);
}

static void target_gone(void)
{
	forget(TARGET);
}

static void port_gone(void)
{
	given_service(&f, SERVICE, 81, 1, (unsigned[]){ 1 });
}

static void backend_gone(void)
{
	given_node(&f, 0, (uint32_t[]){ OTHER_SERVICE, 0 });
}

static void backend_gone_in_audit_mode(void)
{
	given_node(&f, NODE_AUDIT, (uint32_t[]){ OTHER_SERVICE, 0 });
}

static void backend_for_audit_only(void)
{
	f.kernel.memory.nodes[NODE].flags = NODE_AUDIT | NODE_DROP_ALL;
	backend_of(&f, 0)->flags = BACKEND_AUDIT_ONLY;
}

static void audit_mode_alone(void)
{
	f.kernel.memory.nodes[NODE].flags = NODE_AUDIT;
}

static void egress_filter_alone(void)
{
	f.kernel.memory.nodes[NODE].flags = NODE_DROP_ALL;
}

static void caller_demands_tls(void)
{
	backend_of(&f, 0)->tls_ports = 1;
}

static void caller_demands_tls_elsewhere(void)
{
	backend_of(&f, 0)->tls_ports = ~1u;
}

static void caller_demands_tls_in_audit_mode(void)
{
	audit_mode_alone();
	caller_demands_tls();
}

static void listener_demands_tls(void)
{
	target_of(&f, TARGET)->flags = TARGET_NEEDS_TLS;
}

static void route_leads_elsewhere(void)
{
	route_of(&f, SERVICE)->target[0] = TARGET + 1;
}

static void route_without_weight(void)
{
	route_of(&f, SERVICE)->cumulative[0] = 0;
}

static void route_closed(void)
{
	*route_of(&f, SERVICE) = (struct route_record){ .closed = REASON_NO_ROUTE };
}

static void endpoint_gone(void)
{
	endpoint_of(&f, TARGET, 0)->gone = 1;
}

static void endpoint_gone_in_audit_mode(void)
{
	backend_for_audit_only();
	endpoint_gone();
}

static void address_rotated(void)
{
	target_of(&f, TARGET)->flags = TARGET_ROTATES;
	endpoint_gone();
}

static void slot_of_another(void)
{
	endpoint_of(&f, TARGET, 0)->incarnation = 3;
}

static void port_is_for_weft_proxy(void)
{
	route_of(&f, SERVICE)->flags = ROUTE_L7;
}

static void endpoint_unhealthy(void)
{
	endpoint_of(&f, TARGET, 0)->health = HEALTH_DOWN;
}

TEST(each_change_lets_a_connection_go_on_drain_or_end)
{
	static const struct {
		void (*change)(void);
		unsigned leaving, denied, audited;
	} changes[] = {
		{ nothing },
		{ service_gone, .leaving = 1 },
		{ node_gone, .leaving = 1 },
		{ target_gone, .leaving = 1 },
		{ port_gone, .leaving = 1 },
		{ backend_gone, .denied = 1 },
		{ backend_gone_in_audit_mode, .audited = 1 },
		{ backend_for_audit_only, .audited = 1 },
		{ audit_mode_alone },
		{ egress_filter_alone },
		{ caller_demands_tls, .denied = 1 },
		{ caller_demands_tls_elsewhere },
		{ caller_demands_tls_in_audit_mode, .audited = 1 },
		{ listener_demands_tls, .denied = 1 },
		{ route_leads_elsewhere, .leaving = 1 },
		{ route_without_weight },
		{ route_closed, .leaving = 1 },
		{ port_is_for_weft_proxy, .leaving = 1 },
		{ endpoint_gone, .leaving = 1 },
		{ endpoint_gone_in_audit_mode, .leaving = 1, .audited = 1 },
		{ address_rotated },
		{ slot_of_another, .leaving = 1 },
		{ endpoint_unhealthy },
	};
	const struct kernel_memory *memory = &f.kernel.memory;
	_cleanup_(pair_close) struct pair pair = connected("127.0.0.1", AF_INET);
	const struct account account = account_for(pair.client, SERVICE);
	uint64_t audited = 0;

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		const struct endpoint endpoint = *endpoint_of(&f, TARGET, 0);
		struct asked asked;

		set_account(pair.client, &account);
		changes[i].change();
		audited += changes[i].audited;
		for (unsigned again = 0; again < 2; again++) { /* an audited one is counted once */
			asked = ask();
			if (asked.leaving != changes[i].leaving || asked.denied != changes[i].denied || stat(STAT_AUDIT_KEPT) != audited)
				fail_msg("change %zu: leaving %u, denied %u, audited %llu", i, asked.leaving, asked.denied,
					 (unsigned long long)(stat(STAT_AUDIT_KEPT) - audited));
		}
		given_node(&f, 0, (uint32_t[]){ SERVICE, OTHER_SERVICE, 0 });
		given_service(&f, SERVICE, 80, 1, (unsigned[]){ 1 });
		given_target(&f, TARGET, 1, 1);
		memory->endpoints[ref_of(&f, TARGET, 0)->slot] = endpoint;
		EXPECT_EQ(ask().leaving + ask().denied, 0);
	}
}

/* As connect() would have left one that is handed over. */
static struct account account_handed_over(int fd)
{
	struct account account = account_for(fd, SERVICE);

	account.target = 0;
	account.row = account.slot = ACCOUNT_NONE;
	account.reason = REASON_PROXIED;
	return account;
}

TEST(what_weft_proxy_has_goes_on_while_connect_would_hand_it_over)
{
	static const struct {
		void (*change)(void);
		bool still; /* the port is for weft-proxy afterwards */
		unsigned leaving, denied, audited;
	} changes[] = {
		{ nothing, true },
		{ nothing, .leaving = 1 }, /* the port is for weights alone now */
		{ service_gone, true, .leaving = 1 },
		{ node_gone, true, .leaving = 1 },
		{ port_gone, true, .leaving = 1 },
		{ target_gone, true },
		{ route_leads_elsewhere, true },
		{ endpoint_gone, true },
		{ listener_demands_tls, true }, /* weft-proxy's matter */
		{ caller_demands_tls, true, .denied = 1 },
		{ caller_demands_tls_in_audit_mode, true, .audited = 1 },
		{ backend_gone, true, .denied = 1 },
		{ backend_gone_in_audit_mode, true, .audited = 1 },
		{ backend_for_audit_only, true, .audited = 1 },
	};
	_cleanup_(pair_close) struct pair pair = connected("127.0.0.1", AF_INET);
	const struct account account = account_handed_over(pair.client);
	uint64_t audited = 0;

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct asked asked;

		set_account(pair.client, &account);
		changes[i].change();
		if (changes[i].still)
			port_is_for_weft_proxy();
		audited += changes[i].audited;
		asked = ask();
		if (asked.leaving != changes[i].leaving || asked.denied != changes[i].denied || stat(STAT_AUDIT_KEPT) != audited)
			fail_msg("change %zu: leaving %u, denied %u", i, asked.leaving, asked.denied);
		given_node(&f, 0, (uint32_t[]){ SERVICE, OTHER_SERVICE, 0 });
		given_service(&f, SERVICE, 80, 1, (unsigned[]){ 1 });
		given_target(&f, TARGET, 1, 1);
	}
}

TEST(the_time_for_draining_begins_once_and_ends_when_the_endpoint_is_back)
{
	_cleanup_(pair_close) struct pair pair = routed("127.0.0.1", AF_INET, SERVICE);
	const uint64_t before_ns = time_now_ns();
	struct asked first, second;

	endpoint_gone();
	first = ask();
	EXPECT_EQ(first.leaving, 1);
	EXPECT(first.leave_ns >= before_ns + DRAIN_NS && first.leave_ns <= time_now_ns() + DRAIN_NS);
	EXPECT_EQ(first.netns_cookie, netns_cookie_here(pair.client));
	f.kernel.memory.config->drain_ns = 1; /* of another agent: what runs goes on as it began */
	EXPECT_EQ(ask().leave_ns, first.leave_ns);

	endpoint_of(&f, TARGET, 0)->gone = 0;
	EXPECT_EQ(ask().leaving, 0);
	EXPECT_EQ(get_account(pair.client).leave_ns, 0);
	endpoint_gone();
	second = ask();
	EXPECT(second.leave_ns < first.leave_ns);
}

TEST(an_account_that_is_closed_is_not_asked_about)
{
	_cleanup_(pair_close) struct pair pair = connected("127.0.0.1", AF_INET);
	struct account account = account_for(pair.client, SERVICE);

	account.held = 0;
	set_account(pair.client, &account);
	service_gone();
	EXPECT_EQ(ask().leaving, 0);
}

/* --- the end --------------------------------------------------------------------------------------------------------------- */

TEST(what_is_due_is_destroyed_and_nothing_else)
{
	static const struct {
		const char *address;
		int family;
	} forms[] = { { "127.0.0.1", AF_INET }, { "127.0.0.1", AF_INET6 }, { "::1", AF_INET6 } };

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		const char *address = forms[i].address;
		_cleanup_(pair_close) struct pair denied = routed(address, forms[i].family, SERVICE);
		_cleanup_(pair_close) struct pair other = routed(address, forms[i].family, OTHER_SERVICE);
		_cleanup_(pair_close) struct pair foreign = connected(address, forms[i].family);
		struct destroyed destroyed;

		EXPECT_EQ(end_here().policy_changed, 0);
		EXPECT_OPEN(denied);
		backend_gone();
		destroyed = end_here();
		EXPECT_EQ(destroyed.policy_changed, 1);
		EXPECT_EQ(destroyed.drained, 0);
		EXPECT_DESTROYED(denied);
		EXPECT_EQ(get_account(denied.client).ending, FLOW_POLICY_CHANGED);
		EXPECT_OPEN(other);
		EXPECT_OPEN(foreign);
		EXPECT_EQ(get_account(other.client).ending, 0);
		given_node(&f, 0, (uint32_t[]){ SERVICE, OTHER_SERVICE, 0 });
	}
}

TEST(a_connection_that_drains_is_destroyed_when_its_time_is_over)
{
	_cleanup_(pair_close) struct pair pair = routed("127.0.0.1", AF_INET, SERVICE);
	_cleanup_(pair_close) struct pair v6 = routed("::1", AF_INET6, SERVICE); /* has another endpoint */
	struct account account;

	endpoint_gone();
	EXPECT_EQ(end_here().drained, 0); /* nobody has said until when */
	EXPECT_EQ(ask().leaving, 1);
	EXPECT_EQ(end_here().drained, 0);
	EXPECT_OPEN(pair);
	account = get_account(pair.client);
	account.leave_ns = time_now_ns();
	set_account(pair.client, &account);
	EXPECT_EQ(end_here().drained, 1);
	EXPECT_DESTROYED(pair);
	EXPECT_EQ(get_account(pair.client).ending, FLOW_DRAINED);
	EXPECT_OPEN(v6);
}

TEST(only_the_namespace_that_is_entered_is_walked)
{
	_cleanup_(pair_close) struct pair there = routed("127.0.0.1", AF_INET, SERVICE), here;
	_cleanup_close_ int other = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	struct destroyed destroyed = {};

	enter_fresh_netns();
	here = routed("127.0.0.1", AF_INET, SERVICE);
	backend_gone();
	EXPECT_EQ(ask().denied, 2);
	EXPECT_EQ(end_here().policy_changed, 1);
	EXPECT_DESTROYED(here);
	EXPECT_OPEN(there);
	EXPECT_OK(destroy_in_netns(&f.kernel, other, &destroyed));
	EXPECT_EQ(destroyed.policy_changed, 1);
	EXPECT_DESTROYED(there);
	pair_close(&here);
	here = connected("127.0.0.1", AF_INET); /* and this thread is back where it was */
	EXPECT(netns_cookie_here(here.client) != netns_cookie_here(there.client));
	pair_close(&here);
}

enum { MANY = 400 }; /* their records fill what the kernel gives at a time more than once */

TEST(all_of_many_are_destroyed_and_told_once)
{
	struct pair pairs[MANY];

	for (unsigned i = 0; i < MANY; i++)
		pairs[i] = routed(i % 2 ? "127.0.0.1" : "::1", i % 2 ? AF_INET : AF_INET6, SERVICE);
	backend_gone();
	EXPECT_EQ(ask().denied, MANY);
	EXPECT_EQ(end_here().policy_changed, MANY);
	for (unsigned i = 0; i < MANY; i++) {
		EXPECT_DESTROYED(pairs[i]);
		pair_close(&pairs[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_change_lets_a_connection_go_on_drain_or_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_weft_proxy_has_goes_on_while_connect_would_hand_it_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_time_for_draining_begins_once_and_ends_when_the_endpoint_is_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_account_that_is_closed_is_not_asked_about, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_due_is_destroyed_and_nothing_else, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_connection_that_drains_is_destroyed_when_its_time_is_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_the_namespace_that_is_entered_is_walked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(all_of_many_are_destroyed_and_told_once, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
